/* mem: the failure hook and the checked product; err: texts and messages. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <setjmp.h>
#include <cmocka.h>

#include "store/base/err.h"
#include "store/base/mem.h"

static void
test_hook_fails_exactly_the_chosen_allocation(void **state)
{
	void *a, *b, *c;

	(void)state;
	mem_fail_at(1);
	a = mem_new(1);
	b = mem_new(1);
	c = mem_new(1);
	mem_fail_at(-1);
	assert_non_null(a);
	assert_null(b);
	assert_non_null(c);
	mem_free(a);
	mem_free(c);
}

static void
test_hook_covers_every_allocator(void **state)
{
	void *p = mem_new(8);

	(void)state;
	mem_fail_at(0);
	assert_null(mem_array(2, 2));
	mem_fail_at(0);
	assert_null(mem_grow(p, 2, 8));
	mem_fail_at(0);
	assert_null(mem_strdup("x"));
	mem_fail_at(-1);
	memset(p, 1, 8); /* still ours after the failed growth */
	mem_free(p);
	mem_free(NULL);
}

static void
test_memory_is_zeroed_and_grows_keeping_bytes(void **state)
{
	static const uint8_t zero[64] = { 0 };
	uint8_t *p = mem_array(8, 8);

	(void)state;
	assert_non_null(p);
	assert_memory_equal(p, zero, 64);
	p[63] = 7;
	p = mem_grow(p, 1000, 8);
	assert_non_null(p);
	assert_int_equal(p[63], 7);
	mem_free(p);
}

static void
test_product_that_overflows_is_refused(void **state)
{
	(void)state;
	assert_null(mem_grow(NULL, SIZE_MAX / 2, 3));
	assert_null(mem_grow(NULL, 0, 3));
}

static void
test_every_code_has_a_text_of_its_own(void **state)
{
	int a, b;

	(void)state;
	for (a = 0; a >= ERR_FOREIGN; a--) {
		assert_string_not_equal(err_text((enum err)a), "unknown error");
		for (b = 0; b > a; b--)
			assert_string_not_equal(
			    err_text((enum err)a), err_text((enum err)b));
	}
	assert_string_equal(
	    err_text((enum err)(ERR_FOREIGN - 1)), "unknown error");
	assert_string_equal(err_text((enum err)1), "unknown error");
}

static void
test_message_is_filled_and_cut_to_its_room(void **state)
{
	struct errmsg em;
	char longer[400];

	(void)state;
	assert_int_equal(errmsg_set(NULL, ERR_IO, "", "%s", "x"), ERR_IO);
	assert_int_equal(
	    errmsg_set(&em, ERR_FULL, "free space", "disk %d", 3), ERR_FULL);
	assert_int_equal(em.code, ERR_FULL);
	assert_string_equal(em.cause, "disk 3");
	assert_string_equal(em.next, "free space");
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	assert_int_equal(errmsg_set(&em, ERR_IO, longer, "%s", longer), ERR_IO);
	assert_int_equal(strlen(em.cause), sizeof(em.cause) - 1);
	assert_int_equal(strlen(em.next), sizeof(em.next) - 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hook_fails_exactly_the_chosen_allocation),
		cmocka_unit_test(test_hook_covers_every_allocator),
		cmocka_unit_test(test_memory_is_zeroed_and_grows_keeping_bytes),
		cmocka_unit_test(test_product_that_overflows_is_refused),
		cmocka_unit_test(test_every_code_has_a_text_of_its_own),
		cmocka_unit_test(test_message_is_filled_and_cut_to_its_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
