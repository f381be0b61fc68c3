/* tests/unit/share/test_draft.c: where two registrars of three sign, what one
 * does stands when another has signed it, and not before. */
#include "lib/carry.h"
#include "store/base/mem.h"

static struct site lab, two, three, bad;

static int
setup(void **state)
{
	static const char *const names[] = { "images" };
	struct member_registrars r = { .k = 2, .n = 3 };
	struct errmsg em = { 0 };

	(void)state;
	site_new(&lab, "lab");
	site_new(&two, "two");
	site_new(&three, "three");
	site_new(&bad, "bad");
	assert_ok(shares_create(lab.sh, "trial", names, 1, false, &em));
	carry_join(&lab, &two, ROLE_WRITER, "images");
	carry_join(&lab, &three, ROLE_WRITER, "images");
	carry_join(&lab, &bad, ROLE_WRITER, "images");
	r.device[0] = lab.me.pub;
	r.device[1] = two.me.pub;
	r.device[2] = three.me.pub;
	assert_ok(shares_registrars(lab.sh, "trial", &r, &em));
	carry_members(&lab, &two);
	carry_members(&lab, &three);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	site_end(&lab);
	site_end(&two);
	site_end(&three);
	site_end(&bad);
	return 0;
}

/* --- looking --- */

static bool
member_of(struct site *s, const struct cry_device_pub *d)
{
	struct share_info i = site_share(s, "trial");
	struct share_member_info *list;
	bool found = false;
	uint32_t n;

	assert_ok(shares_members(s->sh, &i.id, &list, &n));
	for (uint32_t k = 0; k < n; k++)
		found |= memcmp(&list[k].device, d, sizeof(*d)) == 0;
	shares_members_free(list);
	share_info_fini(&i);
	return found;
}

/* The only thing that waits; its count of signatures. */
static void
waits(struct site *s, const char *what, const char *signed_by, char id[33])
{
	struct share_request *list;
	struct errmsg em = { 0 };
	uint32_t n;

	assert_ok(shares_requests(s->sh, "trial", &list, &n, &em));
	assert_int_equal(n, 1);
	assert_string_equal(list[0].what, what);
	assert_string_equal(list[0].signed_by, signed_by);
	memcpy(id, list[0].id, 33);
	shares_requests_free(list);
}

static uint32_t
waiting(struct site *s)
{
	struct share_request *list;
	struct errmsg em = { 0 };
	uint32_t n;

	assert_ok(shares_requests(s->sh, "trial", &list, &n, &em));
	shares_requests_free(list);
	return n;
}

/* --- tests --- */

static void
revocation_stands_with_the_second_signature(void **state)
{
	struct errmsg em = { 0 };
	char id[33], at_two[33];

	(void)state;
	assert_ok(shares_revoke(lab.sh, "trial", &bad.me.pub, "lost", &em));
	waits(&lab, "revoke", "1 of 2", id);
	assert_true(member_of(&lab, &bad.me.pub));
	site_close(&lab); /* it is kept */
	site_open(&lab);
	carry_said(&lab, &two);
	waits(&two, "revoke", "1 of 2", at_two);
	assert_string_equal(id, at_two);
	assert_true(member_of(&two, &bad.me.pub));
	assert_int_equal(
	    shares_approve(lab.sh, "trial", id, SHARE_YES, &em), ERR_EXISTS);
	assert_ok(shares_approve(two.sh, "trial", id, SHARE_YES, &em));
	assert_false(member_of(&two, &bad.me.pub));
	assert_int_equal(waiting(&two), 0);
	carry_members(&two, &lab);
	assert_false(member_of(&lab, &bad.me.pub));
	assert_int_equal(waiting(&lab), 0);
	/* and the chain goes on under the new keys */
	assert_ok(shares_rotate(lab.sh, "trial", NULL, &em));
	waits(&lab, "rotate", "1 of 2", id);
}

static void
copies_signed_by_others_meet_anywhere(void **state)
{
	struct errmsg em = { 0 };
	char id[33];

	(void)state;
	assert_ok(shares_rotate(lab.sh, "trial", NULL, &em));
	carry_said(&lab, &two);
	carry_said(&lab, &three);
	waits(&two, "rotate", "1 of 2", id);
	assert_ok(shares_approve(two.sh, "trial", id, SHARE_YES, &em));
	assert_ok(shares_approve(three.sh, "trial", id, SHARE_YES, &em));
	/* one record, though two pairs signed it */
	carry_members(&two, &lab);
	carry_members(&three, &lab);
	carry_members(&two, &three);
	assert_int_equal(waiting(&lab), 0);
}

static void
no_node_signs_two_for_one_place_unless_told(void **state)
{
	struct share_request *list;
	struct errmsg em = { 0 };
	char mine[33], other[33];
	uint32_t n;

	(void)state;
	assert_ok(shares_rotate(lab.sh, "trial", NULL, &em));
	waits(&lab, "rotate", "1 of 2", mine);
	assert_int_equal(shares_rotate(lab.sh, "trial", NULL, &em), ERR_DENIED);
	assert_ok(shares_revoke(two.sh, "trial", &bad.me.pub, NULL, &em));
	waits(&two, "revoke", "1 of 2", other);
	carry_said(&two, &lab);
	assert_ok(shares_requests(lab.sh, "trial", &list, &n, &em));
	assert_int_equal(n, 2);
	shares_requests_free(list);
	assert_int_equal(
	    shares_approve(lab.sh, "trial", other, SHARE_YES, &em), ERR_DENIED);
	assert_ok(shares_approve(lab.sh, "trial", other, SHARE_INSTEAD, &em));
	assert_false(member_of(&lab, &bad.me.pub));
	assert_int_equal(waiting(&lab), 0); /* ours is void */
}

static void
who_is_no_registrar_signs_nothing(void **state)
{
	struct member_registrars r = { .k = 1, .n = 2 };
	struct errmsg em = { 0 };
	char id[33];

	(void)state;
	carry_members(&lab, &bad);
	assert_ok(shares_rotate(lab.sh, "trial", NULL, &em));
	carry_said(&lab, &bad);
	waits(&bad, "rotate", "1 of 2", id);
	assert_int_equal(
	    shares_approve(bad.sh, "trial", id, SHARE_YES, &em), ERR_DENIED);
	/* half is not enough */
	r.device[0] = two.me.pub;
	r.device[1] = lab.me.pub;
	assert_int_equal(
	    shares_registrars(two.sh, "trial", &r, &em), ERR_MALFORMED);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(revocation_stands_with_the_second_signature),
		T(copies_signed_by_others_meet_anywhere),
		T(no_node_signs_two_for_one_place_unless_told),
		T(who_is_no_registrar_signs_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
