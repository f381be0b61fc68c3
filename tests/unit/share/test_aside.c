/* tests/unit/share/test_aside.c: a device is revoked while some nodes hold
 * ops of it that others never saw.  Afterwards all of them show the same, and
 * it reads nothing new. */
#include "lib/carry.h"
#include "node/share/share_edit.h"
#include "store/base/mem.h"

static struct site lab, bad, other, late;

/* --- coming in --- */

static int
setup(void **state)
{
	static const char *const names[] = { "images", "notes" };
	struct errmsg em = { 0 };

	(void)state;
	site_new(&lab, "lab");
	site_new(&bad, "centre-bad");
	site_new(&other, "centre-other");
	site_new(&late, "centre-late");
	assert_ok(shares_create(lab.sh, "trial", names, 2, false, &em));
	assert_ok(shares_grant(
	    lab.sh, "trial", &lab.me.pub, ROLE_WRITER, "images", &em));
	carry_join(&lab, &bad, ROLE_WRITER, "images");
	carry_join(&lab, &other, ROLE_WRITER, "images");
	carry_members(&lab, &bad);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	site_end(&lab);
	site_end(&bad);
	site_end(&other);
	site_end(&late);
	return 0;
}

/* --- doing and looking --- */

static struct asset_id
put(struct site *s, const char *subject, const char *text)
{
	struct site_put p = { .s = s,
		.share = "trial",
		.compartment = "images",
		.subject = subject,
		.bytes = (const uint8_t *)text,
		.n = strlen(text) };

	assert_ok(site_put(&p));
	return p.asset;
}

static void
tag(struct site *s, const struct asset_id *id, const char *name)
{
	struct share_by by = { "tester@site", "" };
	struct slice t = slice_str(name);
	struct share_tags tags = { .add = &t, .n_add = 1 };
	struct errmsg em = { 0 };
	uint32_t done;

	assert_ok(shares_edit_tags(s->sh, &by, id, &tags, &done, &em));
}

static void
views(struct site *s, struct cry_id *out)
{
	struct share_info i = site_share(s, "trial");
	struct db_txn *txn = NULL;

	assert_ok(store_read(s->st, &txn));
	assert_ok(cat_hash(s->st, txn, i.no, 1, out));
	db_abort(txn);
	share_info_fini(&i);
}

static void
same_views(struct site *a, struct site *b)
{
	struct cry_id x, y;

	views(a, &x);
	views(b, &y);
	assert_memory_equal(x.b, y.b, sizeof(x.b));
}

static bool
shows(struct site *s, const struct asset_id *id)
{
	struct db_txn *txn = NULL;
	struct cat_asset a;
	enum err e;

	assert_ok(store_read(s->st, &txn));
	e = cat_asset_get(s->st, txn, id, &a);
	db_abort(txn);
	return e == ERR_OK;
}

struct last_run {
	struct site *from, *to;
	enum err e;
};

/* The feed's runs, offered as they are; what came of the last. */
static int
offer(void *ctx, const struct oplog_feed *f, const struct oplog_head *head)
{
	struct last_run *l = ctx;
	struct share_info i = site_share(l->from, "trial");
	struct buf op = BUF_MAX(MIB);
	struct repl_ops run = { .n_ops = 1 };
	struct carry c = { .to = l->to, .ops = &run };
	struct db_txn *txn = NULL;
	struct slice bytes;

	assert_non_null(head);
	assert_ok(store_read(l->from->st, &txn));
	assert_ok(oplog_op_get(l->from->st, txn, f->no, head->seq, &op));
	db_abort(txn);
	bytes = buf_slice(&op);
	run.ops = &bytes;
	run.feed.share = i.id;
	run.feed.compartment = f->compartment;
	memcpy(run.feed.device.b, f->device, 32);
	run.feed.incarnation = f->incarnation;
	assert_ok(op_head_decode(slice_of(head->bytes, 128), &run.head));
	l->e = store_write(l->to->st, ops_job, &c);
	buf_fini(&op);
	share_info_fini(&i);
	return 0;
}

static enum err
statement_job(struct store_txn *t, void *ctx)
{
	struct carry *c = ctx;

	return shares_put_statement(t, c->to->sh, &c->share, c->bytes);
}

/* --- tests --- */

/* bad writes A, all see it; then another version of A, a tag on it and B,
 * which only `other` gets.  The lab revokes bad at A. */
static struct asset_id a_id, b_id;

static void
story(void)
{
	struct errmsg em = { 0 };

	a_id = put(&bad, "subject-a", "first words");
	carry_ops(&bad, &lab);
	carry_ops(&bad, &other);
	(void)put(&bad, "subject-a", "other words");
	tag(&bad, &a_id, "forged");
	b_id = put(&bad, "subject-b", "never to be seen");
	carry_ops(&bad, &other);
	tag(&other, &a_id, "seen");
	assert_true(shows(&other, &b_id));
	assert_ok(shares_revoke(lab.sh, "trial", &bad.me.pub, "stolen", &em));
	carry_members(&lab, &other);
}

static void
ops_beyond_the_cut_leave_the_views_where_they_were_applied(void **state)
{
	(void)state;
	story();
	assert_true(shares_unsettled(other.sh));
	assert_ok(shares_settle(other.sh, NULL, NULL));
	assert_false(shares_unsettled(other.sh));
	assert_false(shows(&other, &b_id));
	assert_true(shows(&other, &a_id));
	carry_ops_of(&other, &lab, &other.me.pub.sign);
	same_views(&lab, &other);
	/* and it stays so */
	site_close(&other);
	site_open(&other);
	same_views(&lab, &other);
}

/* Of the first chunk that a site's last op names. */
static struct cry_id
last_chunk(struct site *s)
{
	struct buf op = BUF_MAX(MIB);
	struct db_txn *txn = NULL;
	struct cry_id cid;
	uint64_t lseq = 0;

	assert_ok(store_read(s->st, &txn));
	assert_ok(oplog_ops_last(txn, &lseq));
	assert_ok(oplog_op_get_lseq(s->st, txn, lseq, &op));
	db_abort(txn);
	assert_true(op.n > OPLOG_PACKING_ITEM);
	memcpy(cid.b, op.p + op.n - OPLOG_PACKING_ITEM, sizeof(cid.b));
	buf_fini(&op);
	return cid;
}

static bool
serves(struct site *s, const struct cry_id *cid)
{
	struct share_info i = site_share(s, "trial");
	struct db_txn *txn = NULL;
	enum err e;

	assert_ok(store_read(s->st, &txn));
	e = oplog_cref_check(txn, i.no, 1, cid);
	db_abort(txn);
	share_info_fini(&i);
	assert_true(e == ERR_OK || e == ERR_NOTFOUND);
	return e == ERR_OK;
}

static uint64_t
wants(struct site *s)
{
	struct db_txn *txn = NULL;
	uint64_t n = 0;

	assert_ok(store_read(s->st, &txn));
	assert_ok(oplog_wants_count(txn, &n));
	db_abort(txn);
	return n;
}

static void adopt_all(void);
static void index_made_anew(struct site *s);

static void
content_of_ops_set_aside_is_neither_wanted_nor_served(void **state)
{
	struct errmsg em = { 0 };
	struct cry_id early, late_one;
	uint64_t all;

	(void)state;
	(void)put(&bad, "subject-a", "what counts");
	early = last_chunk(&bad);
	carry_ops(&bad, &lab);
	carry_ops(&bad, &other);
	assert_true(carry_chunks(&bad, &other) > 0);
	(void)put(&bad, "subject-b", "what does not");
	late_one = last_chunk(&bad);
	carry_ops(&bad, &other);
	assert_true(carry_chunks(&bad, &other) > 0);
	assert_true(serves(&other, &late_one));
	(void)put(&bad, "subject-c", "nor this, which did not come");
	carry_ops(&bad, &other);
	all = wants(&other);
	assert_true(all > 0);
	assert_ok(shares_revoke(lab.sh, "trial", &bad.me.pub, NULL, &em));
	carry_members(&lab, &other);
	assert_ok(shares_settle(other.sh, NULL, NULL));
	for (int again = 0; again < 2; again++) {
		assert_true(serves(&other, &early));
		assert_false(serves(&other, &late_one));
		assert_int_equal(wants(&other), 0);
		assert_ok(shares_subscribe(
		    other.sh, "trial", "images", SHARE_NONE, &em));
		assert_ok(shares_subscribe(
		    other.sh, "trial", "images", SHARE_ALL, &em));
		assert_int_equal(wants(&other), 0);
		if (again == 0)
			index_made_anew(&other);
	}
	/* A registrar says that all of it counts. */
	adopt_all();
	carry_members(&lab, &other);
	assert_ok(shares_settle(other.sh, NULL, NULL));
	assert_true(serves(&other, &late_one));
	assert_int_equal(wants(&other), all);
}

static void
index_made_anew(struct site *s)
{
	struct store_opts so = { .dir = s->dir,
		.local = s->me.local,
		.convergence = s->me.convergence,
		.owners = &site_owners,
		.segment_bytes = 64 * MIB,
		.map_bytes = 512 * MIB };
	struct shares_opts o = { .me = &s->me, .site = s->name };
	struct store_rebuild_opts ro = { 0 };
	struct errmsg em = { 0 };

	site_close(s);
	assert_ok(store_rebuild_begin(&so, &ro, &o.store, &em));
	assert_ok(shares_rebuild(&o, &em));
	assert_ok(store_refs_rebuild(o.store));
	assert_ok(store_rebuild_end(o.store, false, &em));
	site_open(s);
}

/* Ops that were set aside lie in the log, and a rebuild reads all of it. */
static void
a_rebuilt_index_shows_what_counts(void **state)
{
	struct cry_id before, after;

	(void)state;
	story();
	assert_ok(shares_settle(other.sh, NULL, NULL));
	views(&other, &before);
	index_made_anew(&other);
	assert_ok(shares_settle(other.sh, NULL, NULL));
	views(&other, &after);
	assert_memory_equal(before.b, after.b, sizeof(before.b));
	assert_false(shows(&other, &b_id));
	carry_ops_of(&other, &lab, &other.me.pub.sign);
	same_views(&lab, &other);
}

/* Stopped before its views followed: they do when the index is made anew. */
static void
a_rebuild_before_views_followed_shows_what_counts(void **state)
{
	(void)state;
	story();
	assert_true(shows(&other, &b_id));
	index_made_anew(&other);
	assert_ok(shares_settle(other.sh, NULL, NULL));
	assert_false(shows(&other, &b_id));
	assert_true(shows(&other, &a_id));
	carry_ops_of(&other, &lab, &other.me.pub.sign);
	same_views(&lab, &other);
}

static void
backdated_ops_are_refused_once_the_cut_is_known(void **state)
{
	struct last_run l = { .from = &bad, .to = &lab };
	struct db_txn *txn = NULL;

	(void)state;
	story();
	assert_ok(store_read(bad.st, &txn));
	assert_ok(oplog_feeds_each(txn, offer, &l));
	db_abort(txn);
	assert_int_equal(l.e, ERR_DENIED);
	assert_false(shows(&lab, &b_id));
}

static void
who_joins_late_sees_the_same(void **state)
{
	(void)state;
	story();
	assert_ok(shares_settle(other.sh, NULL, NULL));
	carry_ops_of(&other, &lab, &other.me.pub.sign);
	carry_join(&lab, &late, ROLE_READER, "images");
	carry_ops(&lab, &late);
	same_views(&lab, &late);
	same_views(&other, &late);
}

static void
new_ops_are_closed_to_the_revoked_and_open_to_the_others(void **state)
{
	struct asset_id c;

	(void)state;
	story();
	assert_ok(shares_settle(other.sh, NULL, NULL));
	c = put(&lab, "subject-c", "after the rotation");
	/* a colluding hub hands over records and ciphertext */
	carry_members(&lab, &bad);
	carry_ops(&lab, &bad);
	carry_ops(&lab, &other);
	assert_false(shows(&bad, &c));
	assert_true(shows(&other, &c));
}

/* First the quick stop, then the revoke: the keys go round all the same. */
static void
a_frozen_device_can_be_revoked_and_reads_nothing_new(void **state)
{
	struct errmsg em = { 0 };
	struct asset_id c;

	(void)state;
	assert_ok(shares_freeze(lab.sh, "trial", &bad.me.pub, "stolen", &em));
	assert_ok(shares_revoke(lab.sh, "trial", &bad.me.pub, "stolen", &em));
	carry_members(&lab, &other);
	c = put(&lab, "subject-c", "after the rotation");
	carry_members(&lab, &bad);
	carry_ops(&lab, &bad);
	carry_ops(&lab, &other);
	assert_false(shows(&bad, &c));
	assert_true(shows(&other, &c));
}

/* The last head of each feed, as the device signed it. */
static int
cut_take(void *ctx, const struct oplog_feed *f, const struct oplog_head *head)
{
	struct member_cut *cut = ctx;

	if (memcmp(f->device, bad.me.pub.sign.b, 32) != 0)
		return 0;
	cut->feed.compartment = f->compartment;
	cut->feed.incarnation = f->incarnation;
	cut->feed.device = bad.me.pub.sign;
	assert_non_null(head);
	assert_ok(op_head_decode(slice_of(head->bytes, 128), &cut->head));
	return 0;
}

static struct member *
chain_of(struct site *s, const struct share_info *i, struct buf *rec)
{
	struct member *m = NULL;
	struct db_txn *txn = NULL;
	enum err e = ERR_OK;

	assert_ok(store_read(s->st, &txn));
	for (uint64_t seq = 0; e == ERR_OK; seq++) {
		buf_reset(rec);
		e = oplog_member_get(s->st, txn, i->no, seq, rec);
		if (e == ERR_OK)
			assert_ok(seq == 0 ? member_new(buf_slice(rec), &m)
					   : member_apply(m, buf_slice(rec)));
	}
	db_abort(txn);
	assert_int_equal(e, ERR_NOTFOUND);
	return m;
}

/* All that bad wrote counts after all, says the lab. */
static void
adopt_all(void)
{
	struct share_info i = site_share(&lab, "trial");
	struct member_cut cut = { .feed = { .share = i.id } };
	struct member_revoke v = { bad.me.pub, &cut, 1, "found again" };
	struct carry c = { .to = &other, .share = i.id };
	struct member_keys keys = { 0 };
	struct buf rec = BUF_MAX(MIB);
	struct member *m = chain_of(&lab, &i, &rec);
	struct db_txn *txn = NULL;

	assert_ok(store_read(bad.st, &txn));
	assert_ok(oplog_feeds_each(txn, cut_take, &cut));
	db_abort(txn);
	assert_ok(member_open_keys(m, &lab.me.pub, &lab.me.box_sk, &keys));
	buf_reset(&rec);
	assert_ok(member_build_adopt(m, &lab.me, &keys, &v, &rec));
	c.seq = member_seq(m) + 1;
	c.bytes = buf_slice(&rec);
	assert_ok(store_write(other.st, member_job, &c));
	member_free(m);
	member_keys_fini(&keys);
	buf_fini(&rec);
	share_info_fini(&i);
}

/* Asked once a pass, two passes a compartment. */
static bool
adopt_when_images_are_done(void *ctx)
{
	uint32_t *asked = ctx;

	if (++*asked == 3)
		adopt_all();
	return false;
}

static void
a_record_that_comes_while_views_follow_is_followed_too(void **state)
{
	struct errmsg em = { 0 };
	uint32_t asked = 0;

	(void)state;
	assert_ok(shares_grant(
	    lab.sh, "trial", &bad.me.pub, ROLE_WRITER, "notes", &em));
	story();
	assert_ok(shares_settle(other.sh, adopt_when_images_are_done, &asked));
	assert_true(asked > 3);
	assert_false(shares_unsettled(other.sh));
	assert_true(shows(&other, &b_id));
}

static void
revoked_site_writes_nothing_and_comes_back_only_with_new_keys(void **state)
{
	struct site_put p = { .s = &bad,
		.share = "trial",
		.compartment = "images",
		.subject = "subject-d",
		.bytes = (const uint8_t *)"x",
		.n = 1 };
	struct errmsg em = { 0 };

	(void)state;
	story();
	carry_members(&lab, &bad);
	p.c_no = 1;
	assert_int_equal(shares_grant(lab.sh, "trial", &bad.me.pub, ROLE_READER,
			     "images", &em),
	    ERR_DENIED);
	assert_int_equal(shares_revoke(lab.sh, "trial", &bad.me.pub, NULL, &em),
	    ERR_NOTFOUND);
	assert_int_equal(
	    shares_revoke(lab.sh, "trial", &lab.me.pub, NULL, &em), ERR_DENIED);
}

/* The lab's last record but one had another after it, signed too. */
static void
a_registrar_that_signs_twice_halts_the_share_also_after_a_restart(void **state)
{
	struct share_info i = site_share(&lab, "trial");
	struct member_grant g = { late.me.pub, ROLE_READER, 1, false };
	struct member_keys keys = { 0 };
	struct buf rec = BUF_MAX(MIB);
	struct carry c = { .to = &other, .share = i.id };
	struct member *m = NULL;
	struct db_txn *txn = NULL;
	struct errmsg em = { 0 };
	uint64_t seq;

	(void)state;
	assert_ok(store_read(lab.st, &txn));
	for (seq = 0; seq < 2; seq++) {
		buf_reset(&rec);
		assert_ok(oplog_member_get(lab.st, txn, i.no, seq, &rec));
		assert_ok(seq == 0 ? member_new(buf_slice(&rec), &m)
				   : member_apply(m, buf_slice(&rec)));
	}
	db_abort(txn);
	assert_ok(member_open_keys(m, &lab.me.pub, &lab.me.box_sk, &keys));
	buf_reset(&rec);
	assert_ok(member_build_grant(m, &lab.me, &keys, &g, "x", &rec));
	c.bytes = buf_slice(&rec);
	assert_ok(store_write(other.st, statement_job, &c));
	c.to = &lab;
	assert_ok(store_write(lab.st, statement_job, &c));
	for (int round = 0; round < 2; round++) {
		struct share_info o = site_share(&other, "trial");

		assert_true(o.halted);
		share_info_fini(&o);
		site_close(&other);
		site_open(&other);
	}
	assert_int_equal(shares_grant(lab.sh, "trial", &late.me.pub,
			     ROLE_READER, "images", &em),
	    ERR_DENIED);
	member_free(m);
	member_keys_fini(&keys);
	buf_fini(&rec);
	share_info_fini(&i);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(ops_beyond_the_cut_leave_the_views_where_they_were_applied),
		T(content_of_ops_set_aside_is_neither_wanted_nor_served),
		T(a_rebuilt_index_shows_what_counts),
		T(a_rebuild_before_views_followed_shows_what_counts),
		T(backdated_ops_are_refused_once_the_cut_is_known),
		T(who_joins_late_sees_the_same),
		T(new_ops_are_closed_to_the_revoked_and_open_to_the_others),
		T(a_registrar_that_signs_twice_halts_the_share_also_after_a_restart),
		T(a_frozen_device_can_be_revoked_and_reads_nothing_new),
		T(a_record_that_comes_while_views_follow_is_followed_too),
		T(revoked_site_writes_nothing_and_comes_back_only_with_new_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
