/* tests/unit/share/test_share.c: what the share room promises, with real
 * stores and no network: records, ops and chunks are carried by hand. */
#include <unistd.h>

#include "lib/carry.h"
#include "store/base/mem.h"

static struct site lab, site1, hub;

static int
setup(void **state)
{
	static const char *const names[] = { "centre1", "centre2" };
	struct errmsg em = { 0 };

	(void)state;
	site_new(&lab, "lab");
	site_new(&site1, "centre-one");
	site_new(&hub, "hub");
	assert_ok(shares_create(lab.sh, "trial", names, 2, false, &em));
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	site_end(&lab);
	site_end(&site1);
	site_end(&hub);
	return 0;
}

/* --- joining by hand --- */

static int
join_one(void *ctx, const struct share_id *share,
    const struct cry_sign_pk *registrar, struct slice claim)
{
	struct buf *b = ctx;

	(void)share;
	assert_memory_equal(registrar->b, lab.me.pub.sign.b, 32);
	buf_reset(b);
	buf_put_slice(b, claim);
	return 0;
}

static void
invite_text(
    enum role role, const char *compartment, uint64_t expires, struct buf *text)
{
	struct invite_addr a = { .host = "127.0.0.1", .port = 1 };
	struct share_invite_opts o = { .role = role,
		.compartment = compartment,
		.expires_in_s = expires,
		.addrs = &a,
		.n_addrs = 1 };
	struct errmsg em = { 0 };

	assert_ok(shares_invite(lab.sh, "trial", &o, text, &em));
	assert_non_null(buf_cstr(text));
}

static enum err
claim_at_lab(struct slice claim)
{
	struct share_info i = site_share(&lab, "trial");
	struct carry c = { .to = &lab, .share = i.id, .bytes = claim };

	share_info_fini(&i);
	return store_write(lab.st, claim_job, &c);
}

/* The joiner's claim for an invite, left in claim. */
static void
join_claim(struct site *s, const char *text, struct buf *claim)
{
	struct errmsg em = { 0 };
	struct invite v;

	assert_ok(shares_join(s->sh, text, &v, &em));
	assert_int_equal(v.n_addrs, 1);
	assert_ok(shares_joins_each(s->sh, join_one, claim));
	assert_true(claim->n > 0);
}

static void
join(struct site *s, enum role role, const char *compartment)
{
	struct buf text = BUF_MAX(4096), claim = BUF_MAX(4096);

	invite_text(role, compartment, 60, &text);
	join_claim(s, buf_cstr(&text), &claim);
	assert_ok(claim_at_lab(buf_slice(&claim)));
	carry_members(&lab, s);
	buf_fini(&text);
	buf_fini(&claim);
}

static void
lab_writes(void)
{
	struct errmsg em = { 0 };

	assert_ok(shares_grant(
	    lab.sh, "trial", &lab.me.pub, ROLE_WRITER, "centre1", &em));
	assert_int_equal(shares_grant(lab.sh, "trial", &lab.me.pub, ROLE_WRITER,
			     "centre1", &em),
	    ERR_EXISTS);
}

/* --- tests --- */

static void
created_share_is_listed_and_survives_reopen(void **state)
{
	struct share_info i;
	int round;

	(void)state;
	for (round = 0; round < 2; round++) {
		i = site_share(&lab, "trial");
		assert_true(i.registrar);
		assert_false(i.pending);
		assert_false(i.hub);
		assert_string_equal(i.role, "registrar");
		assert_int_equal(i.n_compartments, 2);
		assert_string_equal(i.c[0].name, "centre1");
		assert_string_equal(i.c[1].name, "centre2");
		assert_true(i.c[0].may_read);
		assert_false(i.c[0].may_write);
		share_info_fini(&i);
		/* name key and two epoch keys */
		assert_int_equal(site_rows(&lab, "ekey"), 3);
		site_close(&lab);
		site_open(&lab);
	}
}

static void
names_are_checked_and_unique(void **state)
{
	static const char *const twice[] = { "a", "a" };
	static const char *const one[] = { "a" };
	struct errmsg em = { 0 };

	(void)state;
	assert_int_equal(
	    shares_create(lab.sh, "trial", one, 1, false, &em), ERR_EXISTS);
	assert_int_equal(
	    shares_create(lab.sh, "x", twice, 2, false, &em), ERR_EXISTS);
	assert_int_equal(shares_create(lab.sh, "two words", one, 1, false, &em),
	    ERR_MALFORMED);
	assert_int_equal(
	    shares_create(lab.sh, "", one, 1, false, &em), ERR_LIMIT);
	assert_int_equal(
	    shares_create(lab.sh, "x", one, 0, false, &em), ERR_LIMIT);
}

static void
own_version_is_in_log_catalog_and_readable(void **state)
{
	uint8_t bytes[70000];
	struct prng g = { 1 };
	struct site_put p = { .s = &lab,
		.share = "trial",
		.compartment = "centre1",
		.subject = "S-1",
		.bytes = bytes,
		.n = sizeof(bytes) };
	struct buf plain = BUF_MAX(LIM_OP_PAYLOAD_BYTES);
	struct cat_asset a;
	struct db_txn *txn = NULL;
	struct mp_doc doc;

	(void)state;
	prng_fill(&g, bytes, sizeof(bytes));
	lab_writes();
	assert_ok(site_put(&p));
	assert_true(site_has(&lab, &p.asset, bytes, sizeof(bytes)));
	assert_int_equal(site_events(&lab, "asset.put").n, 1);
	assert_int_equal(site_events(&lab, "content.complete").n, 1);
	assert_ok(store_read(lab.st, &txn));
	assert_ok(cat_asset_get(lab.st, txn, &p.asset, &a));
	assert_ok(shares_open_op(lab.sh, txn, a.head.lseq, &plain));
	db_abort(txn);
	assert_ok(cat_put_parse(buf_slice(&plain), &doc));
	mp_doc_fini(&doc);
	buf_fini(&plain);
}

/* Two appends of one job: the second sees the first. */
static enum err
two_job(struct store_txn *t, void *ctx)
{
	struct site_put *p = ctx;
	struct cat_node path[1] = { { .level = "subject", .key = "T-1" } };
	struct cat_put put = {
		.path = path, .n_path = 1, .actor = "a@b", .site = "lab"
	};
	enum err e;

	e = shares_append_put(t, lab.sh, p->share_no, p->c_no, &put,
	    (struct slice){ 0 }, &p->asset);
	path[0].key = "T-2";
	if (e == ERR_OK)
		e = shares_append_put(t, lab.sh, p->share_no, p->c_no, &put,
		    (struct slice){ 0 }, &p->asset);
	return e;
}

static void
ops_of_one_batch_chain(void **state)
{
	struct share_info i = site_share(&lab, "trial");
	struct site_put p = { .share_no = i.no, .c_no = i.c[0].no };
	struct op_feed of = { .share = i.id,
		.compartment = i.c[0].no,
		.device = lab.me.pub.sign };
	struct buf one = BUF_MAX(MIB), two = BUF_MAX(MIB);
	struct op_view v1, v2;
	struct oplog_feed f;
	struct oplog_head h;
	struct op_head head;
	struct feed_id id;
	struct db_txn *txn = NULL;

	(void)state;
	lab_writes();
	assert_ok(store_write(lab.st, two_job, &p));
	of.incarnation = shares_incarnation(lab.sh);
	op_feed_id(&of, &id);
	assert_ok(store_read(lab.st, &txn));
	assert_ok(oplog_feed_find(txn, id.b, &f));
	assert_ok(oplog_feed_head(txn, f.no, &h));
	assert_int_equal(h.seq, 2);
	assert_ok(oplog_op_get(lab.st, txn, f.no, 1, &one));
	assert_ok(oplog_op_get(lab.st, txn, f.no, 2, &two));
	db_abort(txn);
	assert_ok(op_decode(buf_slice(&one), &v1));
	assert_ok(op_decode(buf_slice(&two), &v2));
	assert_memory_equal(v2.h.prev.b, v1.id.b, 32);
	assert_int_equal(v1.h.lamport, 1);
	assert_int_equal(v2.h.lamport, 2);
	assert_int_equal(v2.h.n_deps, 0);
	assert_ok(op_head_decode(slice_of(h.bytes, 128), &head));
	assert_ok(op_head_verify(&head, &lab.me.pub.sign));
	buf_fini(&one);
	buf_fini(&two);
	share_info_fini(&i);
}

static void
invite_makes_a_member_with_one_compartment(void **state)
{
	struct share_member_info *m = NULL;
	struct share_info i;
	uint32_t n = 0, k, seen = 0;
	struct errmsg em = { 0 };
	uint16_t no;

	(void)state;
	join(&site1, ROLE_WRITER, "centre1");
	i = site_share(&site1, "trial");
	assert_false(i.pending);
	assert_string_equal(i.role, "writer");
	assert_int_equal(i.n_compartments, 1);
	assert_string_equal(i.c[0].name, "centre1");
	assert_true(i.c[0].may_write_original);
	assert_ok(share_compartment_find(&i, NULL, &no, &em));
	assert_int_equal(no, i.c[0].no);
	assert_int_equal(
	    share_compartment_find(&i, "centre2", &no, &em), ERR_NOTFOUND);
	/* name and its own compartment, not the other's */
	assert_int_equal(site_rows(&site1, "ekey"), 2);
	assert_int_equal(site_rows(&site1, "join"), 0);
	assert_ok(shares_members(site1.sh, &i.id, &m, &n));
	for (k = 0; k < n; k++)
		seen += strcmp(m[k].site, "centre-one") == 0 &&
			strcmp(m[k].compartment, "centre1") == 0;
	assert_int_equal(seen, 1);
	shares_members_free(m);
	share_info_fini(&i);
}

static void
used_expired_unknown_and_forged_claims_are_refused(void **state)
{
	struct buf text = BUF_MAX(4096), claim = BUF_MAX(4096);
	struct buf other = BUF_MAX(4096);
	struct errmsg em = { 0 };
	struct invite v;

	(void)state;
	invite_text(ROLE_WRITER, "centre1", 60, &text);
	join_claim(&site1, buf_cstr(&text), &claim);
	join_claim(&hub, buf_cstr(&text), &other);
	assert_ok(claim_at_lab(buf_slice(&claim)));
	/* again: the same device is told so, another is refused */
	assert_int_equal(claim_at_lab(buf_slice(&claim)), ERR_EXISTS);
	assert_int_equal(claim_at_lab(buf_slice(&other)), ERR_DENIED);
	/* forged: one bit of a fresh claim */
	buf_reset(&text);
	invite_text(ROLE_WRITER, "centre2", 60, &text);
	join_claim(&hub, buf_cstr(&text), &claim);
	claim.p[claim.n - 1] ^= 1;
	assert_int_equal(claim_at_lab(buf_slice(&claim)), ERR_AUTH);
	/* wrong secret: no invite of ours has it */
	assert_ok(invite_decode(buf_slice(&text), &v));
	v.secret[0] ^= 1;
	buf_reset(&claim);
	assert_ok(claim_build(&v, &hub.me, "hub", &claim));
	assert_int_equal(claim_at_lab(buf_slice(&claim)), ERR_DENIED);
	/* expired between join and claim */
	buf_reset(&text);
	invite_text(ROLE_WRITER, "centre2", 1, &text);
	join_claim(&hub, buf_cstr(&text), &claim);
	sleep(2);
	assert_int_equal(claim_at_lab(buf_slice(&claim)), ERR_DENIED);
	assert_int_equal(
	    shares_join(hub.sh, buf_cstr(&text), &v, &em), ERR_DENIED);
	assert_int_equal(
	    shares_join(hub.sh, "psi1nonsense", &v, &em), ERR_MALFORMED);
	buf_fini(&text);
	buf_fini(&claim);
	buf_fini(&other);
}

static enum err
claim_then_fail_job(struct store_txn *t, void *ctx)
{
	struct carry *c = ctx;

	c->e = shares_claim(t, c->to->sh, &c->share, c->bytes);
	return ERR_CANCELLED;
}

static void
undone_job_leaves_no_trace_in_memory(void **state)
{
	struct buf text = BUF_MAX(4096), claim = BUF_MAX(4096);
	struct share_info i = site_share(&lab, "trial");
	struct carry c = { .to = &lab, .share = i.id };
	struct share_member_info *m = NULL;
	uint32_t n = 0;

	(void)state;
	invite_text(ROLE_WRITER, "centre1", 60, &text);
	join_claim(&site1, buf_cstr(&text), &claim);
	c.bytes = buf_slice(&claim);
	assert_int_equal(
	    store_write(lab.st, claim_then_fail_job, &c), ERR_CANCELLED);
	assert_ok(c.e); /* it had worked */
	assert_ok(shares_members(lab.sh, &i.id, &m, &n));
	assert_int_equal(n, 1); /* the registrar alone */
	shares_members_free(m);
	assert_ok(claim_at_lab(buf_slice(&claim)));
	assert_ok(shares_members(lab.sh, &i.id, &m, &n));
	assert_int_equal(n, 2);
	shares_members_free(m);
	share_info_fini(&i);
	buf_fini(&text);
	buf_fini(&claim);
}

static void
genesis_nobody_asked_for_is_refused(void **state)
{
	struct share_info i = site_share(&lab, "trial");
	struct buf rec = BUF_MAX(LIM_MEMBER_RECORD_BYTES);
	struct carry c = { .to = &hub, .share = i.id };
	struct db_txn *txn = NULL;

	(void)state;
	assert_ok(store_read(lab.st, &txn));
	assert_ok(oplog_member_get(lab.st, txn, i.no, 0, &rec));
	db_abort(txn);
	c.bytes = buf_slice(&rec);
	assert_int_equal(store_write(hub.st, member_job, &c), ERR_DENIED);
	assert_int_equal(site_table(&hub, DB_MLOG), 0);
	buf_fini(&rec);
	share_info_fini(&i);
}

static void
reader_gets_bytes_bit_for_bit_and_an_equal_catalog(void **state)
{
	uint8_t bytes[300000];
	struct prng g = { 2 };
	struct site_put p = { .s = &site1,
		.share = "trial",
		.compartment = "centre1",
		.subject = "S-1",
		.bytes = bytes,
		.n = sizeof(bytes) };
	struct share_info i, l;
	struct cry_id h1, h2;
	struct db_txn *txn = NULL;

	(void)state;
	prng_fill(&g, bytes, sizeof(bytes));
	join(&site1, ROLE_WRITER, "centre1");
	assert_ok(site_put(&p));
	assert_int_equal(carry_ops(&site1, &lab), 1);
	assert_int_equal(site_events(&lab, "content.complete").n, 0);
	assert_false(site_has(&lab, &p.asset, bytes, sizeof(bytes)));
	assert_true(carry_chunks(&site1, &lab) > 0);
	assert_int_equal(site_events(&lab, "content.complete").n, 1);
	assert_true(site_has(&lab, &p.asset, bytes, sizeof(bytes)));
	assert_int_equal(carry_chunks(&site1, &lab), 0);
	/* again: nothing new, nothing twice */
	assert_int_equal(carry_ops(&site1, &lab), 1);
	assert_int_equal(site_events(&lab, "asset.put").n, 1);
	i = site_share(&site1, "trial");
	l = site_share(&lab, "trial");
	assert_ok(store_read(site1.st, &txn));
	assert_ok(cat_hash(site1.st, txn, i.no, i.c[0].no, &h1));
	db_abort(txn);
	assert_ok(store_read(lab.st, &txn));
	assert_ok(cat_hash(lab.st, txn, l.no, i.c[0].no, &h2));
	db_abort(txn);
	assert_memory_equal(h1.b, h2.b, 32);
	share_info_fini(&i);
	share_info_fini(&l);
}

/* An op as a member with modified software would write it. */
static void
forged_op(const struct cry_key *key, const struct cat_put *put, struct buf *op,
    struct repl_ops *run, struct slice *slice)
{
	struct share_info i = site_share(&site1, "trial");
	struct op_header h = {
		.kind = OP_ASSET_PUT, .epoch = 1, .seq = 1, .lamport = 1
	};
	struct buf plain = BUF_MAX(LIM_OP_PAYLOAD_BYTES);
	struct cry_id id;

	if (put != NULL)
		assert_ok(cat_put_encode(put, &plain));
	else
		buf_put_str(&plain, "junk");
	run->feed.share = i.id;
	run->feed.compartment = i.c[0].no;
	run->feed.device = site1.me.pub.sign;
	run->feed.incarnation++;
	op_feed_id(&run->feed, &h.feed);
	buf_reset(op);
	assert_ok(
	    op_build(&h, key, buf_slice(&plain), (struct slice){ 0 }, op, &id));
	*slice = buf_slice(op);
	run->ops = slice;
	run->n_ops = 1;
	run->head = (struct op_head){
		.feed = h.feed, .seq = 1, .id = id, .lamport = 1
	};
	op_head_sign(&run->head, &site1.me.sign_sk);
	buf_fini(&plain);
	share_info_fini(&i);
}

static void
run_of_ops_behind_a_gap_is_refused(void **state)
{
	struct cat_node path[1] = { { .level = "subject", .key = "X" } };
	struct cat_put put = {
		.path = path, .n_path = 1, .actor = "a@b", .site = "x"
	};
	struct cry_key any = { { 7 } };
	struct buf op = BUF_MAX(MIB);
	struct repl_ops run = { 0 };
	struct carry c = { .to = &lab, .ops = &run };
	struct slice slice;

	(void)state;
	join(&site1, ROLE_WRITER, "centre1");
	forged_op(&any, &put, &op, &run, &slice);
	run.head.seq = 3;
	assert_int_equal(store_write(lab.st, ops_job, &c), ERR_AGAIN);
	assert_int_equal(site_table(&lab, DB_OP), 0);
	run.head.seq = 1;
	assert_ok(store_write(lab.st, ops_job, &c));
	assert_int_equal(site_table(&lab, DB_OP), 1);
	buf_fini(&op);
}

static void
listing_survives_failing_memory(void **state)
{
	struct share_info *list = NULL;
	uint32_t n = 0;
	enum err e = ERR_NOMEM;
	long at;

	(void)state;
	join(&site1, ROLE_WRITER, "centre1");
	for (at = 0; e != ERR_OK; at++) {
		assert_true(at < 1000);
		mem_fail_at(at);
		e = shares_list(lab.sh, &list, &n);
		mem_fail_at(-1);
		assert_true(e == ERR_OK || e == ERR_NOMEM);
	}
	assert_true(at > 1);
	assert_int_equal(n, 1);
	shares_list_free(list, n);
}

static void
hub_stores_and_reads_nothing(void **state)
{
	uint8_t bytes[5000];
	struct prng g = { 3 };
	struct site_put p = { .s = &lab,
		.share = "trial",
		.compartment = "centre1",
		.subject = "S-1",
		.bytes = bytes,
		.n = sizeof(bytes) };
	struct buf plain = BUF_MAX(LIM_OP_PAYLOAD_BYTES);
	struct share_info *list = NULL;
	struct db_txn *txn = NULL;
	uint32_t n = 0;

	(void)state;
	prng_fill(&g, bytes, sizeof(bytes));
	lab_writes();
	join(&hub, ROLE_HUB, NULL);
	assert_ok(site_put(&p));
	assert_int_equal(carry_ops(&lab, &hub), 1);
	assert_true(carry_chunks(&lab, &hub) > 0);
	assert_ok(shares_list(hub.sh, &list, &n));
	assert_int_equal(n, 1);
	assert_true(list[0].hub);
	assert_string_equal(list[0].role, "hub");
	assert_memory_equal(list[0].name, "share-", 6);
	assert_int_equal(list[0].n_compartments, 2);
	assert_string_equal(list[0].c[0].name, "");
	shares_list_free(list, n);
	assert_int_equal(site_rows(&hub, "ekey"), 0);
	assert_int_equal(site_table(&hub, DB_OP), 1);
	assert_int_equal(site_table(&hub, DB_ASSET), 0);
	assert_int_equal(site_rows(&hub, "event"), 0);
	assert_true(site_chunks(&hub) > 0);
	assert_ok(store_read(hub.st, &txn));
	assert_int_equal(shares_open_op(hub.sh, txn, 1, &plain), ERR_DENIED);
	db_abort(txn);
	buf_fini(&plain);
}

static void
writing_without_the_right_is_denied(void **state)
{
	uint8_t bytes[10] = { 1 };
	struct site_put p = { .s = &site1,
		.share = "trial",
		.compartment = "centre1",
		.subject = "S-1",
		.bytes = bytes,
		.n = sizeof(bytes) };

	(void)state;
	join(&site1, ROLE_RUNNER, "centre1");
	assert_int_equal(site_put(&p), ERR_DENIED);
	p.derived = true;
	assert_ok(site_put(&p));
	assert_int_equal(site_table(&site1, DB_OP), 1);
}

struct first_key {
	struct share_id share;
	struct cry_key k;
};

static int
first_key_row(void *ctx, struct slice key, struct slice value)
{
	struct first_key *f = ctx;

	if (key.p[33] == 0) /* compartment 0: the name key */
		return 0;
	memcpy(f->k.b, value.p + 1, 32);
	return 1;
}

static void
bad_payloads_and_rights_are_set_aside(void **state)
{
	struct cat_node path[1] = { { .level = "subject", .key = "X" } };
	struct cat_put put = {
		.path = path, .n_path = 1, .actor = "a@b", .site = "x"
	};
	struct buf op = BUF_MAX(MIB);
	struct repl_ops run = { 0 };
	struct carry c = { .to = &lab, .ops = &run };
	struct cry_key wrong = { { 7 } };
	struct first_key right = { 0 };
	struct db_txn *txn = NULL;
	struct slice slice;
	struct site_count ev;

	(void)state;
	join(&site1, ROLE_RUNNER, "centre1");
	assert_ok(store_read(site1.st, &txn));
	assert_true((int)store_row_each(site1.st, txn, "ekey",
			(struct slice){ 0 }, first_key_row, &right) >= 0);
	db_abort(txn);
	/* under a key that is not the epoch's */
	forged_op(&wrong, &put, &op, &run, &slice);
	assert_ok(store_write(lab.st, ops_job, &c));
	ev = site_events(&lab, "op.aside");
	assert_int_equal(ev.n, 1);
	assert_string_equal(ev.detail, "payload does not open");
	/* not a payload */
	forged_op(&right.k, NULL, &op, &run, &slice);
	assert_ok(store_write(lab.st, ops_job, &c));
	ev = site_events(&lab, "op.aside");
	assert_int_equal(ev.n, 2);
	assert_string_equal(ev.detail, "payload does not parse");
	/* an original by a runner */
	forged_op(&right.k, &put, &op, &run, &slice);
	assert_ok(store_write(lab.st, ops_job, &c));
	ev = site_events(&lab, "op.aside");
	assert_int_equal(ev.n, 3);
	assert_string_equal(
	    ev.detail, "the author may write derived versions only");
	/* the same, derived, stands: the control */
	put.derived = true;
	path[0].level = "nifti";
	forged_op(&right.k, &put, &op, &run, &slice);
	assert_ok(store_write(lab.st, ops_job, &c));
	assert_int_equal(site_events(&lab, "op.aside").n, 3);
	assert_int_equal(site_events(&lab, "asset.put").n, 1);
	/* all four are in the log */
	assert_int_equal(site_table(&lab, DB_OP), 4);
	buf_fini(&op);
}

static void
unsubscribed_reader_wants_no_content_until_it_does(void **state)
{
	uint8_t bytes[100000];
	struct prng g = { 4 };
	struct site_put p = { .s = &site1,
		.share = "trial",
		.compartment = "centre1",
		.subject = "S-1",
		.bytes = bytes,
		.n = sizeof(bytes) };
	struct errmsg em = { 0 };
	struct share_info i;
	uint64_t gen;

	(void)state;
	prng_fill(&g, bytes, sizeof(bytes));
	join(&site1, ROLE_WRITER, "centre1");
	assert_ok(shares_subscribe(lab.sh, "trial", NULL, false, &em));
	i = site_share(&lab, "trial");
	assert_false(i.c[0].content);
	share_info_fini(&i);
	assert_ok(site_put(&p));
	assert_int_equal(carry_ops(&site1, &lab), 1);
	assert_int_equal(carry_chunks(&site1, &lab), 0);
	gen = shares_wants_gen(lab.sh);
	assert_ok(shares_subscribe(lab.sh, "trial", "centre1", true, &em));
	assert_true(shares_wants_gen(lab.sh) > gen);
	assert_true(carry_chunks(&site1, &lab) > 0);
	assert_true(site_has(&lab, &p.asset, bytes, sizeof(bytes)));
	assert_int_equal(
	    shares_subscribe(lab.sh, "trial", "nowhere", true, &em),
	    ERR_NOTFOUND);
}

static void
epoch_keys_open_with_the_recovery_key(void **state)
{
	struct buf plain = BUF_MAX(128), row = BUF_MAX(512), key;
	struct share_info i = site_share(&lab, "trial");
	struct db_txn *txn = NULL;
	static const uint8_t tail[6] = { 0, 1, 0, 0, 0, 1 };

	(void)state;
	key = BUF_MAX(64);
	buf_put(&key, i.id.b, 32);
	buf_put(&key, tail, sizeof(tail)); /* compartment 1, epoch 1 */
	assert_ok(store_read(lab.st, &txn));
	assert_ok(store_row_get(lab.st, txn, "ekey", buf_slice(&key), &row));
	db_abort(txn);
	assert_int_equal(row.n, 1 + 64 + 64 + CRY_SEAL_BYTES);
	assert_ok(cry_unseal(&lab.me.recovery, &lab.recovery,
	    slice_of(row.p + 65, row.n - 65), &plain));
	assert_int_equal(plain.n, 64);
	assert_memory_equal(plain.p, row.p + 1, 64);
	buf_fini(&plain);
	buf_fini(&row);
	buf_fini(&key);
	share_info_fini(&i);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(created_share_is_listed_and_survives_reopen),
		T(names_are_checked_and_unique),
		T(own_version_is_in_log_catalog_and_readable),
		T(ops_of_one_batch_chain),
		T(invite_makes_a_member_with_one_compartment),
		T(used_expired_unknown_and_forged_claims_are_refused),
		T(undone_job_leaves_no_trace_in_memory),
		T(genesis_nobody_asked_for_is_refused),
		T(reader_gets_bytes_bit_for_bit_and_an_equal_catalog),
		T(run_of_ops_behind_a_gap_is_refused),
		T(listing_survives_failing_memory),
		T(hub_stores_and_reads_nothing),
		T(writing_without_the_right_is_denied),
		T(bad_payloads_and_rights_are_set_aside),
		T(unsubscribed_reader_wants_no_content_until_it_does),
		T(epoch_keys_open_with_the_recovery_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
