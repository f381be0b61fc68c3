/* The membership chain: what registrars sign stands, nothing else does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
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
test_records_hide_names(void **state)
{
	(void)state;
	add_compartment("oncology-secret");
	assert_null(memmem(w.rec.p, w.rec.n, "oncology", 8));
	/* control: the search itself works on the clear text */
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
		T(test_records_hide_names),
		T(test_role_names_round_trip),
		T(test_allocation_failure_leaves_the_chain_as_it_was),
	};

	if (cry_init() != ERR_OK)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
