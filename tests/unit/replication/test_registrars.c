/* Registrars k of n: who signs follows the chain, and drafts become records
 * only with the signatures of k. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "replication/member.h"
#include "store/base/mem.h"

static struct world {
	struct cry_identity a, b, c, hub;
	struct member *m;
	struct member_keys keys;
	struct buf rec, draft[3];
} w;

static void
apply(void)
{
	assert_int_equal(member_apply(w.m, buf_slice(&w.rec)), ERR_OK);
	assert_int_equal(
	    member_open_keys(w.m, &w.a.pub, &w.a.box_sk, &w.keys), ERR_OK);
	buf_reset(&w.rec);
}

static void
grant(const struct cry_identity *who, enum role role)
{
	struct member_grant g = { who->pub, role,
		role == ROLE_HUB ? COMPARTMENT_ALL : 1, false };

	assert_int_equal(
	    member_build_grant(w.m, &w.a, &w.keys, &g, "site", &w.rec), ERR_OK);
	apply();
}

static int
setup(void **state)
{
	struct cry_box_sk recovery;

	(void)state;
	memset(&w, 0, sizeof(w));
	cry_identity_new(&w.a, &recovery);
	cry_identity_new(&w.b, &recovery);
	cry_identity_new(&w.c, &recovery);
	cry_identity_new(&w.hub, &recovery);
	w.rec = BUF_MAX(MIB);
	for (int i = 0; i < 3; i++)
		w.draft[i] = BUF_MAX(MIB);
	assert_int_equal(
	    member_build_genesis(&w.a, "trial", "lab", false, &w.rec), ERR_OK);
	assert_int_equal(member_new(buf_slice(&w.rec), &w.m), ERR_OK);
	assert_int_equal(
	    member_open_keys(w.m, &w.a.pub, &w.a.box_sk, &w.keys), ERR_OK);
	buf_reset(&w.rec);
	assert_int_equal(
	    member_build_compartment(w.m, &w.a, &w.keys, "images", &w.rec),
	    ERR_OK);
	apply();
	grant(&w.b, ROLE_READER);
	grant(&w.c, ROLE_READER);
	grant(&w.hub, ROLE_HUB);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	member_free(w.m);
	member_keys_fini(&w.keys);
	buf_fini(&w.rec);
	for (int i = 0; i < 3; i++)
		buf_fini(&w.draft[i]);
	return 0;
}

static void
two_of_three(void)
{
	struct member_registrars r = { 2, 3, { w.a.pub, w.b.pub, w.c.pub } };

	assert_int_equal(
	    member_build_registrars(w.m, &w.a, &w.keys, &r, &w.rec), ERR_OK);
	apply();
}

/* A rotation drafted by a; signed by b and c, too. */
static void
drafted(void)
{
	struct slice d;

	assert_int_equal(
	    member_build_rotate(w.m, &w.a, &w.keys, 1, &w.rec), ERR_OK);
	member_draft_begin(&w.draft[0]);
	member_draft_add(&w.draft[0], buf_slice(&w.rec));
	d = buf_slice(&w.draft[0]);
	assert_int_equal(member_draft_sign(w.m, &w.b, d, &w.draft[1]), ERR_OK);
	assert_int_equal(member_draft_sign(w.m, &w.c, d, &w.draft[2]), ERR_OK);
}

static void
join(uint32_t first, uint32_t n)
{
	struct slice copies[3] = { { 0 } };

	for (uint32_t i = 0; i < n; i++)
		copies[i] = buf_slice(&w.draft[(first + i) % 3]);
	buf_reset(&w.rec);
	assert_int_equal(member_draft_join(copies, n, 0, &w.rec), ERR_OK);
}

static void
one_signature_is_not_enough_and_twice_one_is_not_two(void **state)
{
	struct slice same[2];

	(void)state;
	two_of_three();
	drafted();
	join(0, 1);
	assert_int_equal(member_apply(w.m, buf_slice(&w.rec)), ERR_AUTH);
	same[0] = same[1] = buf_slice(&w.draft[1]);
	buf_reset(&w.rec);
	assert_int_equal(member_draft_join(same, 2, 0, &w.rec), ERR_OK);
	assert_int_equal(member_apply(w.m, buf_slice(&w.rec)), ERR_MALFORMED);
	join(1, 2);
	assert_int_equal(member_apply(w.m, buf_slice(&w.rec)), ERR_OK);
	/* the same record, signed by another pair */
	join(2, 2);
	assert_int_equal(member_apply(w.m, buf_slice(&w.rec)), ERR_EXISTS);
}

static void
who_becomes_registrar_reads_all_and_who_is_left_out_signs_no_more(void **state)
{
	struct member_registrars r = { 1, 1, { w.b.pub } };
	static struct member_keys got;
	struct cry_identity *me = &w.a;

	(void)state;
	assert_int_equal(
	    member_build_registrars(w.m, me, &w.keys, &r, &w.rec), ERR_OK);
	assert_int_equal(member_apply(w.m, buf_slice(&w.rec)), ERR_OK);
	assert_true(member_is_registrar(w.m, &w.b.pub.sign));
	assert_false(member_is_registrar(w.m, &w.a.pub.sign));
	assert_false(member_is_member(w.m, &w.a.pub.sign));
	assert_int_equal(
	    member_open_keys(w.m, &w.b.pub, &w.b.box_sk, &got), ERR_OK);
	assert_non_null(member_key(&got, 1, 1));
	buf_reset(&w.rec);
	assert_int_equal(
	    member_build_rotate(w.m, me, &w.keys, 1, &w.rec), ERR_DENIED);
	assert_int_equal(
	    member_build_rotate(w.m, &w.b, &got, 1, &w.rec), ERR_OK);
	assert_int_equal(member_apply(w.m, buf_slice(&w.rec)), ERR_OK);
}

/* A second record of a time when a alone signed is still proof. */
static void
records_are_judged_by_those_who_signed_then(void **state)
{
	struct member_grant g = { w.b.pub, ROLE_AUDITOR, 1, false };
	struct buf second = BUF_MAX(MIB);
	struct member *m;

	(void)state;
	assert_int_equal(member_new(member_record(w.m, 0), &m), ERR_OK);
	assert_int_equal(member_apply(m, member_record(w.m, 1)), ERR_OK);
	assert_int_equal(
	    member_build_grant(m, &w.a, &w.keys, &g, "x", &second), ERR_OK);
	two_of_three();
	assert_int_equal(member_apply(w.m, buf_slice(&second)), ERR_DENIED);
	member_free(m);
	buf_fini(&second);
}

static void
registrars_that_make_no_sense_are_refused(void **state)
{
	struct member_registrars half = { 1, 2, { w.a.pub, w.b.pub } };
	struct member_registrars twice = { 2, 2, { w.a.pub, w.a.pub } };
	struct member_registrars hub = { 2, 2, { w.a.pub, w.hub.pub } };
	struct member_registrars odd = { 2, 2, { w.a.pub, w.b.pub } };
	struct member_registrars none = { 0, 0, { w.a.pub } };

	(void)state;
	odd.device[1].box = w.c.pub.box; /* not the keys it was granted with */
	assert_int_equal(
	    member_build_registrars(w.m, &w.a, &w.keys, &half, &w.rec),
	    ERR_MALFORMED);
	assert_int_equal(
	    member_build_registrars(w.m, &w.a, &w.keys, &twice, &w.rec),
	    ERR_MALFORMED);
	assert_int_equal(
	    member_build_registrars(w.m, &w.a, &w.keys, &hub, &w.rec),
	    ERR_NOTFOUND);
	assert_int_equal(
	    member_build_registrars(w.m, &w.a, &w.keys, &odd, &w.rec),
	    ERR_NOTFOUND);
	assert_int_equal(
	    member_build_registrars(w.m, &w.a, &w.keys, &none, &w.rec),
	    ERR_MALFORMED);
}

static void
every_flipped_byte_of_a_draft_is_refused(void **state)
{
	struct member_draft d;
	struct buf *b = &w.draft[0];

	(void)state;
	two_of_three();
	drafted();
	assert_int_equal(member_draft_read(w.m, buf_slice(b), &d), ERR_OK);
	assert_int_equal(d.kind, MEMBER_ROTATE);
	assert_int_equal(d.compartment, 1);
	for (size_t i = 0; i < b->n; i++) {
		b->p[i] ^= 1;
		assert_int_not_equal(
		    member_draft_read(w.m, buf_slice(b), &d), ERR_OK);
		b->p[i] ^= 1;
	}
	for (size_t n = 0; n < b->n; n++)
		assert_int_not_equal(
		    member_draft_read(w.m, slice_of(b->p, n), &d), ERR_OK);
	join(0, 2);
	assert_int_equal(member_apply(w.m, buf_slice(&w.rec)), ERR_OK);
	assert_int_equal(member_draft_read(w.m, buf_slice(b), &d), ERR_EXISTS);
}

/* Drafts cross the records of the chain on their way: who is behind, or ahead,
 * has other registrars and may not take it for a forgery. */
static void
a_draft_of_a_chain_of_another_length_is_no_forgery(void **state)
{
	struct member_registrars alone = { 1, 1, { w.a.pub } };
	struct member_draft d;
	struct member *behind;

	(void)state;
	assert_int_equal(member_new(member_record(w.m, 0), &behind), ERR_OK);
	two_of_three();
	drafted(); /* draft[2] is signed by number 2 */
	assert_int_equal(
	    member_draft_read(behind, buf_slice(&w.draft[2]), &d), ERR_AGAIN);
	buf_reset(&w.rec);
	assert_int_equal(
	    member_build_registrars(w.m, &w.a, &w.keys, &alone, &w.rec),
	    ERR_OK);
	assert_int_equal(member_apply_draft(w.m, buf_slice(&w.rec)), ERR_OK);
	assert_int_equal(
	    member_draft_read(w.m, buf_slice(&w.draft[2]), &d), ERR_EXISTS);
	member_free(behind);
}

/* The same chain as ours, and the statement after it. */
static void
assert_late_agrees(struct slice said, const struct cry_sign_pk *d)
{
	struct member *late;

	assert_int_equal(member_new(member_record(w.m, 0), &late), ERR_OK);
	for (uint64_t i = 1; i <= member_seq(w.m); i++)
		assert_int_equal(
		    member_apply(late, member_record(w.m, i)), ERR_OK);
	assert_int_equal(member_freeze(late, said), ERR_DENIED);
	assert_int_equal(member_is_frozen(late, d), member_is_frozen(w.m, d));
	member_free(late);
}

/* Who hears of the record first refuses the freeze, and so does every restart,
 * which reads the chain first: who had it before may not hold on to it. */
static void
a_freeze_ends_with_the_right_of_its_author(void **state)
{
	struct member_registrars r = { .k = 1, .n = 1 };
	struct member_freeze_opts o = { w.c.pub.sign, NULL };
	struct cry_box_sk recovery;
	struct cry_identity next;
	struct member_grant admin;
	struct member_revoke v = { w.b.pub, NULL, 0, "lost" };
	struct buf said = BUF_MAX(MIB);

	(void)state;
	cry_identity_new(&next, &recovery);
	grant(&next, ROLE_READER);
	r.device[0] = next.pub;
	admin = (struct member_grant){ w.b.pub, ROLE_ADMIN, COMPARTMENT_ALL,
		false };
	assert_int_equal(
	    member_build_grant(w.m, &w.a, &w.keys, &admin, "site", &w.rec),
	    ERR_OK);
	apply();
	for (int by_b = 1; by_b >= 0; by_b--) {
		buf_reset(&said);
		assert_int_equal(
		    member_build_freeze(
			w.m, by_b != 0 ? &w.b : &w.a, &w.keys, &o, &said),
		    ERR_OK);
		assert_int_equal(member_freeze(w.m, buf_slice(&said)), ERR_OK);
		assert_true(member_is_frozen(w.m, &w.c.pub.sign));
		buf_reset(&w.rec);
		assert_int_equal(by_b != 0 ? member_build_revoke(
						 w.m, &w.a, &w.keys, &v, &w.rec)
					   : member_build_registrars(w.m, &w.a,
						 &w.keys, &r, &w.rec),
		    ERR_OK);
		apply();
		assert_false(member_is_frozen(w.m, &w.c.pub.sign));
		assert_late_agrees(buf_slice(&said), &w.c.pub.sign);
	}
	buf_fini(&said);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

/* Frozen, then a registrar, then none: the freeze is over, also for who hears
 * of it last or starts again. */
static void
who_was_a_registrar_is_frozen_no_more(void **state)
{
	struct member_registrars in = { 2, 3, { w.a.pub, w.b.pub, w.c.pub } };
	struct member_registrars out = { 1, 1, { w.a.pub } };
	struct member_freeze_opts o = { w.c.pub.sign, NULL };
	struct buf said = BUF_MAX(MIB), own = BUF_MAX(MIB);
	struct slice copies[2];

	(void)state;
	assert_int_equal(
	    member_build_freeze(w.m, &w.a, &w.keys, &o, &said), ERR_OK);
	assert_int_equal(member_freeze(w.m, buf_slice(&said)), ERR_OK);
	assert_true(member_is_frozen(w.m, &w.c.pub.sign));
	assert_int_equal(
	    member_build_registrars(w.m, &w.a, &w.keys, &in, &w.rec), ERR_OK);
	apply();
	assert_int_equal(
	    member_build_registrars(w.m, &w.a, &w.keys, &out, &w.rec), ERR_OK);
	member_draft_begin(&own);
	member_draft_add(&own, buf_slice(&w.rec));
	assert_int_equal(member_draft_stands(w.m, buf_slice(&own)), ERR_OK);
	assert_int_equal(
	    member_draft_sign(w.m, &w.b, buf_slice(&own), &w.draft[1]), ERR_OK);
	copies[0] = buf_slice(&own);
	copies[1] = buf_slice(&w.draft[1]);
	buf_reset(&w.rec);
	assert_int_equal(member_draft_join(copies, 2, 0, &w.rec), ERR_OK);
	apply();
	assert_false(member_is_frozen(w.m, &w.c.pub.sign));
	assert_late_agrees(buf_slice(&said), &w.c.pub.sign);
	buf_fini(&said);
	buf_fini(&own);
}

/* A registrar signs what could not stand: nobody passes it on. */
static void
a_draft_without_sense_is_told_apart(void **state)
{
	struct buf draft = BUF_MAX(MIB);

	(void)state;
	two_of_three();
	assert_int_equal(
	    member_build_rotate(w.m, &w.a, &w.keys, 1, &w.rec), ERR_OK);
	member_draft_begin(&draft);
	member_draft_add(&draft, buf_slice(&w.rec));
	assert_int_equal(member_draft_stands(w.m, buf_slice(&draft)), ERR_OK);
	/* a thaw by b of nobody stands; half a record does not */
	assert_int_not_equal(
	    member_draft_stands(w.m, slice_of(draft.p, draft.n - 1)), ERR_OK);
	buf_fini(&draft);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(one_signature_is_not_enough_and_twice_one_is_not_two),
		T(who_becomes_registrar_reads_all_and_who_is_left_out_signs_no_more),
		T(records_are_judged_by_those_who_signed_then),
		T(registrars_that_make_no_sense_are_refused),
		T(every_flipped_byte_of_a_draft_is_refused),
		T(a_freeze_ends_with_the_right_of_its_author),
		T(who_was_a_registrar_is_frozen_no_more),
		T(a_draft_without_sense_is_told_apart),
		T(a_draft_of_a_chain_of_another_length_is_no_forgery),
	};

	if (cry_init() != ERR_OK)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
