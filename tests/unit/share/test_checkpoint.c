/* tests/unit/share/test_checkpoint.c: a registrar's node signed two records
 * with one number.  A checkpoint says which holds, and all nodes come to the
 * same chain, whichever they had. */
#include "lib/carry.h"
#include "store/base/mem.h"

static struct site lab, two, other, out;

static int
setup(void **state)
{
	static const char *const names[] = { "images" };
	struct errmsg em = { 0 };

	(void)state;
	site_new(&lab, "lab");
	site_new(&two, "two");
	site_new(&other, "other");
	site_new(&out, "out");
	assert_ok(shares_create(lab.sh, "trial", names, 1, false, &em));
	carry_join(&lab, &two, ROLE_WRITER, "images");
	carry_join(&lab, &other, ROLE_WRITER, "images");
	carry_members(&lab, &two);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	site_end(&lab);
	site_end(&two);
	site_end(&other);
	site_end(&out);
	return 0;
}

/* --- chains --- */

static struct member *
chain(struct site *s)
{
	struct share_info i = site_share(s, "trial");
	struct buf rec = BUF_MAX(MIB);
	struct db_txn *txn = NULL;
	struct member *m = NULL;
	enum err e = ERR_OK;

	assert_ok(store_read(s->st, &txn));
	for (uint64_t seq = 0; e == ERR_OK; seq++) {
		buf_reset(&rec);
		e = oplog_member_get(s->st, txn, i.no, seq, &rec);
		if (e == ERR_OK)
			assert_ok(seq == 0 ? member_new(buf_slice(&rec), &m)
					   : member_apply(m, buf_slice(&rec)));
	}
	db_abort(txn);
	assert_int_equal(e, ERR_NOTFOUND);
	buf_fini(&rec);
	share_info_fini(&i);
	return m;
}

static bool
alike(struct site *a, struct site *b)
{
	struct member *x = chain(a), *y = chain(b);
	bool same =
	    memcmp(member_head(x), member_head(y), sizeof(struct cry_id)) == 0;

	member_free(x);
	member_free(y);
	return same;
}

static bool
has_role(struct site *s, const struct cry_device_pub *d, enum role role)
{
	struct member *m = chain(s);
	bool found = false;

	for (uint32_t i = 0; i < member_n_grants(m); i++)
		found |=
		    memcmp(&member_grant(m, i)->device, d, sizeof(*d)) == 0 &&
		    member_grant(m, i)->role == role;
	member_free(m);
	return found;
}

/* The registrars' old copies sign a grant with the next number for `who`, and
 * `to` takes it. */
static void
sign_again(struct member *old, const struct cry_identity *by, struct site *to)
{
	struct share_info i = site_share(to, "trial");
	struct member_grant g = { out.me.pub, ROLE_AUDITOR, 1, false };
	struct member_keys keys = { 0 };
	struct buf rec = BUF_MAX(MIB);
	struct carry c = { .to = to, .share = i.id };

	assert_ok(member_open_keys(old, &by->pub, &by->box_sk, &keys));
	assert_ok(member_build_grant(old, by, &keys, &g, "x", &rec));
	c.seq = member_seq(old) + 1;
	c.bytes = buf_slice(&rec);
	assert_ok(store_write(to->st, member_job, &c));
	assert_ok(member_apply(old, buf_slice(&rec)));
	member_keys_fini(&keys);
	buf_fini(&rec);
	share_info_fini(&i);
}

static enum err
give(struct site *to, struct slice bytes)
{
	struct share_info i = site_share(to, "trial");
	struct carry c = { .to = to, .share = i.id, .bytes = bytes };
	enum err e = store_write(to->st, carry_statement_job, &c);

	share_info_fini(&i);
	return e;
}

/* As a node whose chain stands still tells it. */
static void
tell_branch(struct site *from, uint64_t first, struct site *to)
{
	struct member *m = chain(from);
	struct buf b = BUF_MAX(MIB);

	assert_ok(member_branch_build(m, first, true, &b));
	assert_ok(give(to, buf_slice(&b)));
	member_free(m);
	buf_fini(&b);
}

static void
tell_settled(struct site *from, struct site *to)
{
	struct share_info i = site_share(from, "trial");
	struct buf b = BUF_MAX(MIB);

	assert_ok(shares_settled(from->sh, &i.id, 0, &b));
	assert_true(b.n > 0);
	assert_ok(give(to, buf_slice(&b)));
	buf_fini(&b);
	share_info_fini(&i);
}

static bool
halted(struct site *s)
{
	struct share_info i = site_share(s, "trial");
	bool h = i.halted;

	share_info_fini(&i);
	return h;
}

/* The branch that is this node's own, or not. */
static uint32_t
branches(struct site *s, bool here, struct share_branch *found)
{
	struct share_branch *list;
	struct errmsg em = { 0 };
	uint32_t n;

	memset(found, 0, sizeof(*found));
	assert_ok(shares_branches(s->sh, "trial", &list, &n, &em));
	for (uint32_t i = 0; i < n; i++) {
		if (list[i].here == here && list[i].last >= found->last)
			*found = list[i];
	}
	shares_branches_free(list);
	return n;
}

static enum err
keep(struct site *s, const char *id, bool *waits)
{
	struct errmsg em = { 0 };

	return shares_checkpoint(s->sh, "trial", id, false, waits, &em);
}

/* lab and two: a revocation of nobody, a rotation; other: a grant. */
static uint64_t
fork_it(void)
{
	struct member *old = chain(&lab);
	uint64_t fork = member_seq(old) + 1;
	struct errmsg em = { 0 };

	carry_members(&lab, &other);
	assert_ok(shares_rotate(lab.sh, "trial", NULL, &em));
	assert_ok(shares_grant(
	    lab.sh, "trial", &two.me.pub, ROLE_READER, "images", &em));
	carry_members(&lab, &two);
	sign_again(old, &lab.me, &other);
	member_free(old);
	tell_branch(&lab, fork, &other);
	tell_branch(&other, fork, &lab);
	assert_true(halted(&lab));
	assert_true(halted(&other));
	return fork;
}

/* --- tests --- */

static void
the_branch_that_is_named_holds_everywhere(void **state)
{
	struct share_branch b;
	struct errmsg em = { 0 };
	bool waits;

	(void)state;
	(void)fork_it();
	assert_true(branches(&lab, true, &b) >= 2);
	assert_ok(keep(&lab, b.id, &waits));
	assert_false(waits);
	assert_false(halted(&lab));
	tell_settled(&lab, &other);
	tell_settled(&lab, &two);
	for (int round = 0; round < 2; round++) {
		assert_false(halted(&other));
		assert_true(alike(&lab, &other));
		assert_true(alike(&lab, &two));
		assert_false(has_role(&other, &out.me.pub, ROLE_AUDITOR));
		site_close(&other); /* and after a restart */
		site_open(&other);
	}
	/* the chain goes on, with the keys of the branch that holds */
	assert_ok(shares_rotate(lab.sh, "trial", NULL, &em));
	carry_members(&lab, &other);
	assert_true(alike(&lab, &other));
	/* and is the same to who comes in now */
	carry_join(&lab, &out, ROLE_READER, "images");
	assert_true(alike(&lab, &out));
}

static void
the_others_branch_may_hold(void **state)
{
	struct share_branch b;
	bool waits;

	(void)state;
	(void)fork_it();
	assert_true(branches(&lab, false, &b) >= 2);
	assert_ok(keep(&lab, b.id, &waits));
	assert_false(halted(&lab));
	assert_true(has_role(&lab, &out.me.pub, ROLE_AUDITOR));
	assert_false(has_role(&lab, &two.me.pub, ROLE_READER));
	tell_settled(&lab, &two); /* which heard of nothing */
	tell_settled(&lab, &other);
	assert_true(alike(&lab, &two));
	assert_true(alike(&lab, &other));
}

static void
neither_may_hold(void **state)
{
	uint64_t fork;
	struct member *m;
	bool waits;

	(void)state;
	fork = fork_it();
	assert_ok(keep(&lab, "fork", &waits));
	tell_settled(&lab, &two);
	tell_settled(&lab, &other);
	assert_true(alike(&lab, &two));
	assert_true(alike(&lab, &other));
	m = chain(&lab);
	assert_int_equal(member_seq(m), fork);
	member_free(m);
}

static void
who_is_no_registrar_settles_nothing(void **state)
{
	struct share_branch b;
	bool waits;

	(void)state;
	(void)fork_it();
	(void)branches(&other, true, &b);
	assert_int_equal(keep(&other, b.id, &waits), ERR_DENIED);
	assert_true(halted(&other));
	assert_int_equal(keep(&two, b.id, &waits), ERR_NOTFOUND); /* not so */
}

/* What lab's device key could sign, its site's root key must. */
static void
a_checkpoint_by_the_device_key_alone_is_none(void **state)
{
	struct cry_identity half = lab.me;
	struct buf b = BUF_MAX(MIB), all = BUF_MAX(MIB);
	struct member *m;
	uint64_t fork;

	(void)state;
	fork = fork_it();
	m = chain(&lab);
	assert_ok(member_branch_build(m, fork, true, &b));
	half.site_sk = half.sign_sk;
	assert_ok(member_build_checkpoint(m, &half, buf_slice(&b), fork, &all));
	assert_int_equal(give(&other, buf_slice(&all)), ERR_AUTH);
	assert_true(halted(&other));
	/* nor by any other site's */
	half = two.me;
	half.pub = lab.me.pub;
	buf_reset(&all);
	assert_ok(member_build_checkpoint(m, &half, buf_slice(&b), fork, &all));
	assert_int_equal(give(&other, buf_slice(&all)), ERR_AUTH);
	assert_true(halted(&other));
	/* nor with a byte of what it names changed */
	buf_reset(&all);
	assert_ok(
	    member_build_checkpoint(m, &lab.me, buf_slice(&b), fork, &all));
	for (size_t at = 2; at < all.n; at += 97) {
		all.p[at] ^= 1;
		assert_int_not_equal(give(&other, buf_slice(&all)), ERR_OK);
		all.p[at] ^= 1;
		assert_true(halted(&other));
	}
	assert_ok(give(&other, buf_slice(&all)));
	assert_false(halted(&other));
	member_free(m);
	buf_fini(&b);
	buf_fini(&all);
}

static void
two_checkpoints_halt_again_and_a_third_settles_them(void **state)
{
	struct buf b = BUF_MAX(MIB), first = BUF_MAX(MIB);
	struct buf second = BUF_MAX(MIB);
	struct share_branch sb;
	struct member *m;
	uint64_t fork;
	bool waits;

	(void)state;
	fork = fork_it();
	m = chain(&lab);
	assert_ok(member_branch_build(m, fork, true, &b));
	assert_ok(
	    member_build_checkpoint(m, &lab.me, buf_slice(&b), fork, &first));
	buf_reset(&b);
	member_free(m);
	m = chain(&other);
	assert_ok(member_branch_build(m, fork, true, &b));
	assert_ok(
	    member_build_checkpoint(m, &lab.me, buf_slice(&b), fork, &second));
	member_free(m);
	assert_ok(give(&lab, buf_slice(&first)));
	assert_ok(give(&other, buf_slice(&second)));
	assert_false(halted(&lab));
	assert_false(halted(&other));
	assert_false(alike(&lab, &other));
	assert_ok(give(&lab, buf_slice(&second)));
	assert_ok(give(&other, buf_slice(&first)));
	assert_true(halted(&lab));
	assert_true(halted(&other));
	site_close(&lab);
	site_open(&lab);
	assert_true(halted(&lab));
	(void)branches(&lab, true, &sb);
	assert_ok(keep(&lab, sb.id, &waits));
	tell_settled(&lab, &other);
	assert_false(halted(&other));
	assert_true(alike(&lab, &other));
	buf_fini(&b);
	buf_fini(&first);
	buf_fini(&second);
}

/* --- two of three sign --- */

/* Of an old copy: a rotation that lab and two signed. */
static void
sign_again_both(struct member *old, struct site *to)
{
	struct share_info i = site_share(to, "trial");
	struct buf rec = BUF_MAX(MIB), own = BUF_MAX(MIB), both = BUF_MAX(MIB);
	struct buf draft = BUF_MAX(MIB);
	struct carry c = { .to = to, .share = i.id };
	struct member_keys keys = { 0 };
	struct slice copies[2];

	assert_ok(member_open_keys(old, &lab.me.pub, &lab.me.box_sk, &keys));
	assert_ok(member_build_rotate(old, &lab.me, &keys, 1, &rec));
	member_draft_begin(&draft);
	member_draft_add(&draft, buf_slice(&rec));
	assert_ok(member_draft_sign(old, &two.me, buf_slice(&draft), &own));
	copies[0] = buf_slice(&draft);
	copies[1] = buf_slice(&own);
	assert_ok(member_draft_join(copies, 2, 0, &both));
	c.seq = member_seq(old) + 1;
	c.bytes = buf_slice(&both);
	assert_ok(store_write(to->st, member_job, &c));
	member_keys_fini(&keys);
	buf_fini(&rec);
	buf_fini(&own);
	buf_fini(&both);
	buf_fini(&draft);
	share_info_fini(&i);
}

static void
where_two_of_three_sign_two_settle_it(void **state)
{
	struct member_registrars r = { .k = 2, .n = 3 };
	struct share_branch b;
	struct errmsg em = { 0 };
	struct member *old;
	char id[33];
	bool waits;

	(void)state;
	r.device[0] = lab.me.pub;
	r.device[1] = two.me.pub;
	r.device[2] = other.me.pub;
	assert_ok(shares_registrars(lab.sh, "trial", &r, &em));
	carry_members(&lab, &two);
	carry_members(&lab, &other);
	old = chain(&lab);
	sign_again_both(old, &lab);
	sign_again_both(old, &other);
	carry_members(&lab, &two);
	tell_branch(&lab, member_seq(old) + 1, &other);
	tell_branch(&other, member_seq(old) + 1, &lab);
	tell_branch(&other, member_seq(old) + 1, &two);
	assert_true(halted(&lab) && halted(&other) && halted(&two));
	(void)branches(&lab, true, &b);
	memcpy(id, b.id, sizeof(id));
	assert_ok(keep(&lab, id, &waits));
	assert_true(waits);
	assert_true(halted(&lab));
	assert_int_equal(keep(&lab, id, &waits), ERR_EXISTS);
	(void)branches(&lab, false, &b);
	assert_int_equal(keep(&lab, b.id, &waits), ERR_DENIED);
	carry_said(&lab, &other);
	assert_true(halted(&other));
	assert_ok(keep(&other, id, &waits));
	assert_false(waits);
	assert_false(halted(&other));
	tell_settled(&other, &lab);
	tell_settled(&other, &two);
	assert_true(alike(&lab, &other));
	assert_true(alike(&two, &other));
	member_free(old);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_branch_that_is_named_holds_everywhere),
		T(the_others_branch_may_hold),
		T(neither_may_hold),
		T(who_is_no_registrar_settles_nothing),
		T(a_checkpoint_by_the_device_key_alone_is_none),
		T(where_two_of_three_sign_two_settle_it),
		T(two_checkpoints_halt_again_and_a_third_settles_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
