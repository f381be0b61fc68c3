/* The membership chain: what registrars sign stands, nothing else does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "replication/member.h"
#include "store/base/mem.h"

struct world {
	struct cry_identity reg, writer, hub, stranger;
	struct member *m;
	struct member_keys keys;
	struct buf rec;
};

static struct world w;

static int
setup(void **state)
{
	struct cry_box_sk recovery;

	(void)state;
	cry_identity_new(&w.reg, &recovery);
	cry_identity_new(&w.writer, &recovery);
	cry_identity_new(&w.hub, &recovery);
	cry_identity_new(&w.stranger, &recovery);
	w.rec = BUF_MAX(MIB);
	assert_int_equal(
	    member_build_genesis(&w.reg, "trial", "lab", false, &w.rec),
	    ERR_OK);
	assert_int_equal(member_new(buf_slice(&w.rec), &w.m), ERR_OK);
	assert_int_equal(
	    member_open_keys(w.m, &w.reg.pub, &w.reg.box_sk, &w.keys), ERR_OK);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	member_free(w.m);
	member_keys_fini(&w.keys);
	buf_fini(&w.rec);
	return 0;
}

static void
add_compartment(const char *name)
{
	buf_reset(&w.rec);
	assert_int_equal(
	    member_build_compartment(w.m, &w.reg, &w.keys, name, &w.rec),
	    ERR_OK);
	assert_int_equal(member_apply(w.m, buf_slice(&w.rec)), ERR_OK);
	assert_int_equal(
	    member_open_keys(w.m, &w.reg.pub, &w.reg.box_sk, &w.keys), ERR_OK);
}

static void
build_grant(const struct cry_identity *who, enum role role, uint16_t comp)
{
	struct member_grant g = { who->pub, role, comp };

	buf_reset(&w.rec);
	assert_int_equal(
	    member_build_grant(w.m, &w.reg, &w.keys, &g, "site", &w.rec),
	    ERR_OK);
}

static void
grant(const struct cry_identity *who, enum role role, uint16_t comp)
{
	build_grant(who, role, comp);
	assert_int_equal(member_apply(w.m, buf_slice(&w.rec)), ERR_OK);
}

static void
test_rights_follow_roles_and_compartments(void **state)
{
	const struct cry_sign_pk *wr = &w.writer.pub.sign;
	const struct cry_sign_pk *hub = &w.hub.pub.sign;

	(void)state;
	add_compartment("centre a");
	add_compartment("centre b");
	grant(&w.writer, ROLE_WRITER, 1);
	grant(&w.hub, ROLE_HUB, COMPARTMENT_ALL);
	assert_true(member_may_write_original(w.m, wr, 1));
	assert_true(member_may_read(w.m, wr, 1));
	assert_false(member_may_receive(w.m, wr, 2));
	assert_false(member_may_write(w.m, wr, 2));
	assert_false(member_may_receive(w.m, wr, 3)); /* there is no 3 */
	assert_true(member_may_receive(w.m, hub, 2));
	assert_false(member_may_read(w.m, hub, 2));
	assert_false(member_may_write(w.m, hub, 1));
	assert_true(member_is_hub(w.m, hub));
	assert_true(member_may_read(w.m, &w.reg.pub.sign, 2));
	assert_false(member_may_write(w.m, &w.reg.pub.sign, 2));
	assert_false(member_is_member(w.m, &w.stranger.pub.sign));
	grant(&w.stranger, ROLE_AUDITOR, 2);
	assert_true(member_may_receive(w.m, &w.stranger.pub.sign, 2));
	assert_false(member_may_fetch(w.m, &w.stranger.pub.sign, 2));
	assert_true(member_may_fetch(w.m, hub, 2));
	grant(&w.reg, ROLE_RUNNER, 1);
	assert_true(member_may_write(w.m, &w.reg.pub.sign, 1));
	assert_false(member_may_write_original(w.m, &w.reg.pub.sign, 1));
}

static void
test_keys_reach_members_and_never_hubs(void **state)
{
	static struct member_keys got;
	char name[LIM_NAME_BYTES + 1];

	(void)state;
	add_compartment("centre a");
	add_compartment("centre b");
	grant(&w.writer, ROLE_WRITER, 2);
	grant(&w.hub, ROLE_HUB, COMPARTMENT_ALL);
	assert_int_equal(
	    member_open_keys(w.m, &w.writer.pub, &w.writer.box_sk, &got),
	    ERR_OK);
	assert_int_equal(got.n, 1);
	assert_int_equal(got.k[0].compartment, 2);
	assert_memory_equal(
	    &got.k[0].content, &w.keys.k[1].content, sizeof(struct cry_key));
	assert_int_equal(member_share_name(w.m, &got.name, name), ERR_OK);
	assert_string_equal(name, "trial");
	assert_int_equal(
	    member_compartment_name(w.m, 2, &got.name, name), ERR_OK);
	assert_string_equal(name, "centre b");
	assert_int_equal(member_grant_name(w.m, 1, &got.name, name), ERR_OK);
	assert_string_equal(name, "site");
	assert_int_equal(member_open_keys(w.m, &w.hub.pub, &w.hub.box_sk, &got),
	    ERR_NOTFOUND);
	assert_int_equal(member_share_name(w.m, &got.name, name), ERR_AUTH);
}

static void
test_admin_gets_keys_of_compartments_made_later(void **state)
{
	static struct member_keys got;

	(void)state;
	grant(&w.writer, ROLE_ADMIN, COMPARTMENT_ALL);
	add_compartment("later");
	assert_int_equal(
	    member_open_keys(w.m, &w.writer.pub, &w.writer.box_sk, &got),
	    ERR_OK);
	assert_int_equal(got.n, 1);
}

static void
test_recovery_key_opens_what_the_registrar_may_read(void **state)
{
	static struct member_keys got;
	struct cry_box_sk recovery;
	struct cry_device_pub as;
	struct cry_identity id;
	struct member *m;
	struct buf rec = BUF_MAX(MIB);

	(void)state;
	cry_identity_new(&id, &recovery);
	assert_int_equal(
	    member_build_genesis(&id, "s", "lab", true, &rec), ERR_OK);
	assert_int_equal(member_new(buf_slice(&rec), &m), ERR_OK);
	assert_true(member_allow_identified(m));
	as = id.pub;
	as.box = id.recovery;
	assert_int_equal(member_open_keys(m, &as, &recovery, &got), ERR_OK);
	member_free(m);
	buf_fini(&rec);
}

static void
test_forged_signature_changes_nothing(void **state)
{
	struct member_grant g = { w.stranger.pub, ROLE_READER, 1 };
	struct cry_identity fake = w.stranger;

	(void)state;
	add_compartment("a");
	/* a stranger who claims the registrar's name but not its key */
	fake.pub = w.reg.pub;
	buf_reset(&w.rec);
	assert_int_equal(
	    member_build_grant(w.m, &fake, &w.keys, &g, "x", &w.rec), ERR_OK);
	assert_int_equal(member_apply(w.m, buf_slice(&w.rec)), ERR_AUTH);
	assert_int_equal(member_seq(w.m), 1);
	assert_int_equal(
	    member_build_grant(w.m, &w.stranger, &w.keys, &g, "x", &w.rec),
	    ERR_DENIED);
}

static void
test_every_flipped_byte_of_a_record_is_refused(void **state)
{
	(void)state;
	add_compartment("a");
	build_grant(&w.writer, ROLE_WRITER, 1);
	for (size_t i = 0; i < w.rec.n; i++) {
		enum err e;

		w.rec.p[i] ^= 0x10;
		e = member_apply(w.m, buf_slice(&w.rec));
		assert_int_not_equal(e, ERR_OK);
		assert_int_equal(member_seq(w.m), 1);
		w.rec.p[i] ^= 0x10;
	}
	for (size_t n = 0; n < w.rec.n; n++)
		assert_int_not_equal(
		    member_apply(w.m, slice_of(w.rec.p, n)), ERR_OK);
	assert_int_equal(member_apply(w.m, buf_slice(&w.rec)), ERR_OK);
	assert_int_equal(member_apply(w.m, buf_slice(&w.rec)), ERR_EXISTS);
}

static void
test_gap_and_equivocation_are_told_apart(void **state)
{
	struct member *other;
	struct buf second = BUF_MAX(MIB);
	struct member_grant g;

	(void)state;
	add_compartment("a");
	assert_int_equal(member_new(member_record(w.m, 0), &other), ERR_OK);
	assert_int_equal(member_apply(other, member_record(w.m, 1)), ERR_OK);
	/* the registrar signs two records number 2 */
	g = (struct member_grant){ w.writer.pub, ROLE_READER, 1 };
	assert_int_equal(
	    member_build_grant(other, &w.reg, &w.keys, &g, "x", &second),
	    ERR_OK);
	grant(&w.hub, ROLE_HUB, COMPARTMENT_ALL);
	assert_int_equal(member_apply(w.m, buf_slice(&second)), ERR_DENIED);
	assert_int_equal(member_seq(w.m), 2);
	grant(&w.writer, ROLE_READER, 1);
	assert_int_equal(member_apply(other, member_record(w.m, 3)), ERR_AGAIN);
	/* on the other branch, the next record does not fit */
	assert_int_equal(member_apply(other, buf_slice(&second)), ERR_OK);
	assert_int_equal(
	    member_apply(other, member_record(w.m, 3)), ERR_DENIED);
	member_free(other);
	buf_fini(&second);
}

static void
test_grants_that_make_no_sense_are_refused(void **state)
{
	struct member_grant g = { w.writer.pub, ROLE_WRITER, 9 };

	(void)state;
	add_compartment("a");
	assert_int_equal(
	    member_build_grant(w.m, &w.reg, &w.keys, &g, "x", &w.rec),
	    ERR_MALFORMED);
	g.role = ROLE_HUB;
	g.compartment = 1;
	assert_int_equal(
	    member_build_grant(w.m, &w.reg, &w.keys, &g, "x", &w.rec),
	    ERR_MALFORMED);
	g.role = ROLE_REGISTRAR;
	g.compartment = COMPARTMENT_ALL;
	assert_int_equal(
	    member_build_grant(w.m, &w.reg, &w.keys, &g, "x", &w.rec),
	    ERR_UNSUPPORTED);
}

static void
apply(void)
{
	assert_int_equal(member_apply(w.m, buf_slice(&w.rec)), ERR_OK);
	assert_int_equal(
	    member_open_keys(w.m, &w.reg.pub, &w.reg.box_sk, &w.keys), ERR_OK);
}

static void
rotate(uint16_t comp)
{
	buf_reset(&w.rec);
	assert_int_equal(
	    member_build_rotate(w.m, &w.reg, &w.keys, comp, &w.rec), ERR_OK);
	apply();
}

/* The head of the writer's feed of this incarnation, signed by it. */
static struct member_cut
cut_of(uint64_t incarnation, uint64_t seq)
{
	struct member_cut c = { .feed = { .share = *member_share(w.m),
				    .compartment = 1,
				    .device = w.writer.pub.sign,
				    .incarnation = incarnation } };

	op_feed_id(&c.feed, &c.head.feed);
	c.head.seq = seq;
	c.head.lamport = seq;
	memset(c.head.id.b, (int)seq, sizeof(c.head.id.b));
	op_head_sign(&c.head, &w.writer.sign_sk);
	return c;
}

static enum err
revoke(const struct member_cut *cuts, uint32_t n)
{
	struct member_revoke v = { w.writer.pub, cuts, n, "lost" };

	buf_reset(&w.rec);
	assert_int_equal(
	    member_build_revoke(w.m, &w.reg, &w.keys, &v, &w.rec), ERR_OK);
	return member_apply(w.m, buf_slice(&w.rec));
}

static void
test_revoked_device_has_no_right_and_its_feeds_end_at_their_cuts(void **state)
{
	struct member_cut c[2] = { cut_of(9, 4), cut_of(5, 7) };
	const struct cry_sign_pk *d = &w.writer.pub.sign;
	struct member_revoke v = { w.writer.pub, NULL, 1, "" };
	struct member_cut later = cut_of(9, 6), back = cut_of(9, 5);
	struct op_feed unknown = c[0].feed;
	struct op_head cut;

	(void)state;
	add_compartment("a");
	grant(&w.writer, ROLE_WRITER, 1);
	assert_int_equal(member_feed(w.m, &c[0].feed, &cut), MEMBER_FEED_OPEN);
	assert_int_equal(revoke(c, 2), ERR_OK);
	assert_false(member_is_member(w.m, d));
	assert_false(member_is_device(w.m, &w.writer.pub));
	assert_false(member_may_write(w.m, d, 1));
	assert_false(member_may_read(w.m, d, 1));
	assert_false(member_may_fetch(w.m, d, 1));
	assert_false(member_may_receive(w.m, d, 1));
	assert_true(member_might_write_original(w.m, d, 1));
	assert_int_equal(member_feed(w.m, &c[0].feed, &cut), MEMBER_FEED_CUT);
	assert_int_equal(cut.seq, 4);
	unknown.incarnation = 77;
	assert_int_equal(member_feed(w.m, &unknown, &cut), MEMBER_FEED_CUT);
	assert_int_equal(cut.seq, 0);
	unknown.device = w.stranger.pub.sign;
	assert_int_equal(member_feed(w.m, &unknown, &cut), MEMBER_FEED_NONE);
	/* adopted: a later head in place of the cut, never an earlier one */
	v.cuts = &later;
	buf_reset(&w.rec);
	assert_int_equal(
	    member_build_adopt(w.m, &w.reg, &w.keys, &v, &w.rec), ERR_OK);
	assert_int_equal(member_apply(w.m, buf_slice(&w.rec)), ERR_OK);
	v.cuts = &back;
	buf_reset(&w.rec);
	assert_int_equal(
	    member_build_adopt(w.m, &w.reg, &w.keys, &v, &w.rec), ERR_OK);
	assert_int_equal(member_apply(w.m, buf_slice(&w.rec)), ERR_OK);
	assert_int_equal(member_feed(w.m, &c[0].feed, &cut), MEMBER_FEED_CUT);
	assert_int_equal(cut.seq, 6);
}

static void
test_revocations_that_make_no_sense_are_refused(void **state)
{
	struct member_cut c[2] = { cut_of(9, 4), cut_of(9, 4) };
	struct member_revoke v = { w.reg.pub, NULL, 0, "" };
	uint64_t seq;

	(void)state;
	add_compartment("a");
	assert_int_equal(revoke(NULL, 0), ERR_MALFORMED); /* no member */
	grant(&w.writer, ROLE_WRITER, 1);
	seq = member_seq(w.m);
	assert_int_equal(revoke(c, 2), ERR_MALFORMED); /* one feed twice */
	c[0].head.id.b[0] ^= 1;                        /* not as signed */
	assert_int_equal(revoke(c, 1), ERR_AUTH);
	c[0] = cut_of(9, 4);
	c[0].feed.incarnation = 8; /* the head is of another feed */
	assert_int_equal(revoke(c, 1), ERR_MALFORMED);
	buf_reset(&w.rec);
	assert_int_equal(
	    member_build_revoke(w.m, &w.reg, &w.keys, &v, &w.rec), ERR_OK);
	assert_int_equal(member_apply(w.m, buf_slice(&w.rec)), ERR_MALFORMED);
	assert_int_equal(member_seq(w.m), seq);
	assert_true(member_is_registrar(w.m, &w.reg.pub.sign));
}

/* What the revoked device holds: its box key, and all records. */
static void
test_new_epoch_is_closed_to_the_revoked_and_old_one_stays_readable(void **state)
{
	static struct member_keys got;
	struct cry_key old;

	(void)state;
	add_compartment("a");
	grant(&w.writer, ROLE_WRITER, 1);
	grant(&w.stranger, ROLE_READER, 1);
	old = w.keys.k[0].content;
	assert_int_equal(revoke(NULL, 0), ERR_OK);
	rotate(1);
	assert_int_equal(member_epoch(w.m, 1), 2);
	assert_non_null(member_key(&w.keys, 1, 1));
	assert_non_null(member_key(&w.keys, 1, 2));
	assert_int_equal(
	    member_open_keys(w.m, &w.stranger.pub, &w.stranger.box_sk, &got),
	    ERR_OK);
	assert_non_null(member_key(&got, 1, 2));
	assert_memory_equal(
	    &member_key(&got, 1, 1)->content, &old, sizeof(old));
	/* as if it still had the right: no seal opens, no ladder leads up */
	buf_reset(&w.rec);
	(void)member_open_keys(w.m, &w.writer.pub, &w.writer.box_sk, &got);
	assert_null(member_key(&got, 1, 2));
	assert_null(memmem(member_record(w.m, member_seq(w.m)).p,
	    member_record(w.m, member_seq(w.m)).n, w.writer.pub.box.b, 32));
}

static void
test_history_climbs_down_the_ladder_and_none_does_not(void **state)
{
	static struct member_keys got;
	struct member_grant g = { w.writer.pub, ROLE_READER, 1, true };

	(void)state;
	add_compartment("a");
	rotate(1);
	rotate(1);
	grant(&w.stranger, ROLE_READER, 1); /* with history */
	buf_reset(&w.rec);
	assert_int_equal(
	    member_build_grant(w.m, &w.reg, &w.keys, &g, "x", &w.rec), ERR_OK);
	apply();
	rotate(1);
	assert_int_equal(
	    member_open_keys(w.m, &w.stranger.pub, &w.stranger.box_sk, &got),
	    ERR_OK);
	assert_int_equal(got.n, 4);
	for (uint32_t e = 1; e <= 4; e++)
		assert_memory_equal(&member_key(&got, 1, e)->content,
		    &member_key(&w.keys, 1, e)->content,
		    sizeof(struct cry_key));
	assert_int_equal(
	    member_open_keys(w.m, &w.writer.pub, &w.writer.box_sk, &got),
	    ERR_OK);
	assert_int_equal(got.n, 2);
	assert_non_null(member_key(&got, 1, 3));
	assert_non_null(member_key(&got, 1, 4));
}

static enum err
freeze(const struct cry_identity *by, const struct cry_identity *whom)
{
	struct member_freeze_opts o = { whom->pub.sign, "seen on a screen" };

	buf_reset(&w.rec);
	assert_int_equal(
	    member_build_freeze(w.m, by, &w.keys, &o, &w.rec), ERR_OK);
	return member_freeze(w.m, buf_slice(&w.rec));
}

static void
thaw(const struct cry_identity *whom)
{
	struct member_freeze_opts o = { whom->pub.sign, NULL };
	struct buf rec = BUF_MAX(MIB);

	assert_int_equal(
	    member_build_thaw(w.m, &w.reg, &w.keys, &o, &rec), ERR_OK);
	assert_int_equal(member_apply(w.m, buf_slice(&rec)), ERR_OK);
	buf_fini(&rec);
}

static void
test_frozen_device_has_no_right_until_it_is_thawed(void **state)
{
	const struct cry_sign_pk *d = &w.writer.pub.sign;
	struct op_feed f = {
		.share = *member_share(w.m), .compartment = 1, .device = *d
	};
	struct op_head cut;

	(void)state;
	add_compartment("a");
	grant(&w.stranger, ROLE_ADMIN, COMPARTMENT_ALL);
	grant(&w.writer, ROLE_WRITER, 1);
	assert_int_equal(freeze(&w.stranger, &w.writer), ERR_OK);
	assert_int_equal(member_freeze(w.m, buf_slice(&w.rec)), ERR_EXISTS);
	assert_true(member_is_frozen(w.m, d));
	assert_false(member_is_device(w.m, &w.writer.pub));
	assert_false(member_may_write(w.m, d, 1));
	assert_false(member_may_receive(w.m, d, 1));
	assert_false(member_may_fetch(w.m, d, 1));
	assert_false(member_may_read(w.m, d, 1));
	assert_int_equal(member_feed(w.m, &f, &cut), MEMBER_FEED_HELD);
	thaw(&w.writer);
	assert_true(member_may_write(w.m, d, 1));
	assert_int_equal(member_feed(w.m, &f, &cut), MEMBER_FEED_OPEN);
	/* what was said before the thaw comes late, and is over */
	assert_int_equal(member_freeze(w.m, buf_slice(&w.rec)), ERR_DENIED);
	assert_false(member_is_frozen(w.m, d));
	assert_int_equal(freeze(&w.stranger, &w.writer), ERR_OK);
	assert_int_equal(revoke(NULL, 0), ERR_OK); /* frozen, and then out */
	assert_true(member_is_revoked(w.m, d));
}

static void
test_two_admins_who_freeze_each_other_both_are(void **state)
{
	struct buf a = BUF_MAX(MIB), b = BUF_MAX(MIB);
	struct member_freeze_opts of_hub = { w.hub.pub.sign, NULL };
	struct member_freeze_opts of_writer = { w.writer.pub.sign, NULL };

	(void)state;
	grant(&w.writer, ROLE_ADMIN, COMPARTMENT_ALL);
	grant(&w.hub, ROLE_ADMIN, COMPARTMENT_ALL);
	assert_int_equal(
	    member_build_freeze(w.m, &w.writer, &w.keys, &of_hub, &a), ERR_OK);
	assert_int_equal(
	    member_build_freeze(w.m, &w.hub, &w.keys, &of_writer, &b), ERR_OK);
	assert_int_equal(member_freeze(w.m, buf_slice(&a)), ERR_OK);
	assert_int_equal(member_freeze(w.m, buf_slice(&b)), ERR_OK);
	assert_true(member_is_frozen(w.m, &w.writer.pub.sign));
	assert_true(member_is_frozen(w.m, &w.hub.pub.sign));
	buf_fini(&a);
	buf_fini(&b);
}

static void
test_freezes_by_those_who_may_not_are_refused(void **state)
{
	struct buf ahead = BUF_MAX(MIB);
	struct member_freeze_opts o = { w.writer.pub.sign, NULL };
	struct member *other;

	(void)state;
	add_compartment("a");
	grant(&w.writer, ROLE_WRITER, 1);
	grant(&w.hub, ROLE_HUB, COMPARTMENT_ALL);
	assert_int_equal(freeze(&w.writer, &w.hub), ERR_DENIED);
	assert_int_equal(freeze(&w.hub, &w.writer), ERR_DENIED);
	assert_int_equal(freeze(&w.stranger, &w.writer), ERR_DENIED);
	assert_int_equal(freeze(&w.reg, &w.reg), ERR_DENIED);
	assert_int_equal(freeze(&w.reg, &w.stranger), ERR_DENIED);
	assert_int_equal(freeze(&w.reg, &w.writer), ERR_OK);
	/* every byte is signed or checked */
	thaw(&w.writer);
	assert_int_equal(
	    member_build_freeze(w.m, &w.reg, &w.keys, &o, &ahead), ERR_OK);
	for (size_t i = 0; i < ahead.n; i++) {
		ahead.p[i] ^= 1;
		assert_int_not_equal(
		    member_freeze(w.m, buf_slice(&ahead)), ERR_OK);
		ahead.p[i] ^= 1;
	}
	/* a node that lacks the record it names waits for that */
	assert_int_equal(member_new(member_record(w.m, 0), &other), ERR_OK);
	assert_int_equal(member_freeze(other, buf_slice(&ahead)), ERR_AGAIN);
	member_free(other);
	assert_int_equal(member_freeze(w.m, buf_slice(&ahead)), ERR_OK);
	buf_fini(&ahead);
}

/* --- the table of docs/access-control.md --- */

enum act {
	ACT_RECEIVE,
	ACT_FETCH,
	ACT_READ,
	ACT_WRITE,
	ACT_DERIVE,
	ACT_SETTINGS,
	ACT_FREEZE,
	ACT_GRANT,
	ACT_COMPARTMENT,
	ACT_REVOKE,
	ACT_ROTATE,
	ACT_THAW,
	ACT_REGISTRARS,
	ACTS
};

/* Signs the record itself, with whatever keys it has: does it stand? */
static bool
record_stands(const struct cry_identity *me, enum act act)
{
	struct member_grant g = { w.stranger.pub, ROLE_READER, 1, false };
	struct member_revoke v = { w.hub.pub, NULL, 0, NULL };
	struct member_freeze_opts o = { w.hub.pub.sign, NULL };
	struct member_registrars r = { 1, 1, { w.reg.pub } };
	struct member *m = NULL;
	enum err e = ERR_OK;

	buf_reset(&w.rec);
	switch (act) {
	case ACT_GRANT:
		e = member_build_grant(w.m, me, &w.keys, &g, "x", &w.rec);
		break;
	case ACT_COMPARTMENT:
		e = member_build_compartment(w.m, me, &w.keys, "x", &w.rec);
		break;
	case ACT_REVOKE:
		e = member_build_revoke(w.m, me, &w.keys, &v, &w.rec);
		break;
	case ACT_ROTATE:
		e = member_build_rotate(w.m, me, &w.keys, 1, &w.rec);
		break;
	case ACT_THAW:
		e = member_build_thaw(w.m, me, &w.keys, &o, &w.rec);
		break;
	case ACT_REGISTRARS:
		e = member_build_registrars(w.m, me, &w.keys, &r, &w.rec);
		break;
	case ACT_FREEZE:
		e = member_build_freeze(w.m, me, &w.keys, &o, &w.rec);
		break;
	case ACT_RECEIVE:
	case ACT_FETCH:
	case ACT_READ:
	case ACT_WRITE:
	case ACT_DERIVE:
	case ACT_SETTINGS:
	case ACTS: return false;
	}
	/* on a copy: every act meets the same chain */
	for (uint64_t i = 0; e == ERR_OK && i <= member_seq(w.m); i++)
		e = i == 0 ? member_new(member_record(w.m, 0), &m)
			   : member_apply(m, member_record(w.m, i));
	if (e == ERR_OK)
		e = act == ACT_FREEZE ? member_freeze(m, buf_slice(&w.rec))
				      : member_apply(m, buf_slice(&w.rec));
	member_free(m);
	return e == ERR_OK;
}

static bool
may(const struct cry_identity *me, enum act act)
{
	const struct cry_sign_pk *d = &me->pub.sign;

	switch (act) {
	case ACT_RECEIVE: return member_may_receive(w.m, d, 1);
	case ACT_FETCH: return member_may_fetch(w.m, d, 1);
	case ACT_READ: return member_may_read(w.m, d, 1);
	case ACT_WRITE: return member_may_write_original(w.m, d, 1);
	case ACT_DERIVE: return member_may_write(w.m, d, 1);
	case ACT_SETTINGS: return member_may_admin(w.m, d, 1);
	case ACT_FREEZE:
	case ACT_GRANT:
	case ACT_COMPARTMENT:
	case ACT_REVOKE:
	case ACT_ROTATE:
	case ACT_THAW:
	case ACT_REGISTRARS: return record_stands(me, act);
	case ACTS: break;
	}
	return false;
}

/* Does a cell of the row say yes?  Cells: role | act | act ... */
static bool
cell(const char *row, uint32_t column)
{
	const char *p = row;

	for (uint32_t i = 0; p != NULL && i < column + 1; i++)
		p = strchr(p + 1, '|');
	return p != NULL && strncmp(p, "| yes", 5) == 0;
}

static char *
table_row(char *doc, const char *role)
{
	char start[32];

	(void)snprintf(start, sizeof(start), "\n| %s ", role);
	return strstr(doc, start);
}

static void
test_every_act_in_every_role_is_as_the_documentation_says(void **state)
{
	static char doc[64 * 1024];
	FILE *f = fopen(PSC_SOURCE_DIR "/docs/access-control.md", "rb");
	struct cry_box_sk recovery;
	uint32_t yes = 0;

	(void)state;
	assert_non_null(f);
	assert_true(fread(doc, 1, sizeof(doc) - 1, f) > 0);
	(void)fclose(f);
	add_compartment("a");
	grant(&w.hub, ROLE_HUB, COMPARTMENT_ALL);
	assert_int_equal(freeze(&w.reg, &w.hub), ERR_OK);
	thaw(&w.hub);
	for (int r = ROLE_REGISTRAR; r <= ROLE_HUB; r++) {
		bool wide = r == ROLE_ADMIN || r == ROLE_HUB;
		struct cry_identity who;
		char *row = table_row(doc, role_text((enum role)r));

		assert_non_null(row);
		cry_identity_new(&who, &recovery);
		if (r == ROLE_REGISTRAR)
			who = w.reg;
		else
			grant(&who, (enum role)r, wide ? COMPARTMENT_ALL : 1);
		for (uint32_t a = 0; a < ACTS; a++) {
			bool want = cell(row + 1, a);

			if (may(&who, (enum act)a) != want)
				fail_msg("%s, act %u: the table says %s",
				    role_text((enum role)r), a,
				    want ? "yes" : "no");
			yes += want;
		}
	}
	assert_true(yes > 20); /* the table was read */
	/* and a frozen one may nothing */
	grant(&w.writer, ROLE_WRITER, 1);
	assert_int_equal(freeze(&w.reg, &w.writer), ERR_OK);
	for (uint32_t a = 0; a < ACTS; a++)
		assert_false(may(&w.writer, (enum act)a));
}

static void
test_records_hide_names(void **state)
{
	(void)state;
	add_compartment("oncology-secret");
	assert_null(memmem(w.rec.p, w.rec.n, "oncology", 8));
	assert_non_null(memmem("an oncology text", 16, "oncology", 8));
}

static void
test_role_names_round_trip(void **state)
{
	enum role r;

	(void)state;
	for (int i = ROLE_REGISTRAR; i <= ROLE_HUB; i++) {
		assert_int_equal(
		    role_parse(slice_str(role_text((enum role)i)), &r), ERR_OK);
		assert_int_equal(r, i);
	}
	assert_int_equal(role_parse(SLICE_LIT("root"), &r), ERR_MALFORMED);
	assert_string_equal(role_text((enum role)99), "?");
}

static void
test_allocation_failure_leaves_the_chain_as_it_was(void **state)
{
	long n;
	enum err e = ERR_NOMEM;

	(void)state;
	add_compartment("a");
	build_grant(&w.writer, ROLE_WRITER, 1);
	for (n = 0; e == ERR_NOMEM && n < 100; n++) {
		mem_fail_at(n);
		e = member_apply(w.m, buf_slice(&w.rec));
		mem_fail_at(-1);
		assert_int_equal(member_seq(w.m), e == ERR_OK ? 2 : 1);
	}
	assert_int_equal(e, ERR_OK);
	assert_true(n > 1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_rights_follow_roles_and_compartments),
		T(test_keys_reach_members_and_never_hubs),
		T(test_admin_gets_keys_of_compartments_made_later),
		T(test_recovery_key_opens_what_the_registrar_may_read),
		T(test_forged_signature_changes_nothing),
		T(test_every_flipped_byte_of_a_record_is_refused),
		T(test_gap_and_equivocation_are_told_apart),
		T(test_grants_that_make_no_sense_are_refused),
		T(test_revoked_device_has_no_right_and_its_feeds_end_at_their_cuts),
		T(test_revocations_that_make_no_sense_are_refused),
		T(test_new_epoch_is_closed_to_the_revoked_and_old_one_stays_readable),
		T(test_history_climbs_down_the_ladder_and_none_does_not),
		T(test_frozen_device_has_no_right_until_it_is_thawed),
		T(test_two_admins_who_freeze_each_other_both_are),
		T(test_freezes_by_those_who_may_not_are_refused),
		T(test_every_act_in_every_role_is_as_the_documentation_says),
		T(test_records_hide_names),
		T(test_role_names_round_trip),
		T(test_allocation_failure_leaves_the_chain_as_it_was),
	};

	if (cry_init() != ERR_OK)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
