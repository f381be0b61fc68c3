/* buf: bounded growth and the sticky error. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "store/base/buf.h"
#include "store/base/mem.h"

static void
test_fills_to_max_and_refuses_max_plus_one(void **state)
{
	struct buf b = BUF_MAX(100);
	uint8_t x[101] = { 0 };

	(void)state;
	buf_put(&b, x, 100);
	assert_int_equal(buf_err(&b), ERR_OK);
	assert_int_equal(b.n, 100);
	buf_u8(&b, 1);
	assert_int_equal(buf_err(&b), ERR_LIMIT);
	assert_int_equal(b.n, 100);
	buf_fini(&b);
	b = BUF_MAX(100);
	buf_put(&b, x, 101);
	assert_int_equal(buf_err(&b), ERR_LIMIT);
	assert_int_equal(b.n, 0);
	buf_fini(&b);
}

static void
test_after_an_error_every_put_does_nothing(void **state)
{
	struct buf b = BUF_MAX(4);

	(void)state;
	buf_u32(&b, 7);
	buf_u64(&b, 1);
	assert_int_equal(buf_err(&b), ERR_LIMIT);
	buf_reset(&b);
	buf_u16(&b, 0x0102);
	buf_put_str(&b, "abc");
	buf_u8(&b, 9); /* would fit, but comes after the failure */
	assert_int_equal(b.n, 2);
	assert_null(buf_room(&b, 0));
	buf_fini(&b);
}

static void
test_empty_buf_holds_nothing_and_fini_is_safe(void **state)
{
	struct buf b = BUF_EMPTY;

	(void)state;
	buf_put(&b, "", 0);
	assert_int_equal(buf_err(&b), ERR_OK);
	buf_u8(&b, 1);
	assert_int_equal(buf_err(&b), ERR_LIMIT);
	buf_fini(&b);
	buf_fini(&b);
	buf_wipe(&b);
	assert_null(b.p);
}

static void
test_huge_sizes_do_not_wrap(void **state)
{
	struct buf b = BUF_MAX(SIZE_MAX);

	(void)state;
	buf_u64(&b, 1);
	assert_null(buf_room(&b, SIZE_MAX));
	assert_int_equal(buf_err(&b), ERR_LIMIT);
	buf_fini(&b);
}

static void
test_integers_have_the_documented_byte_order(void **state)
{
	static const uint8_t want[] = { 1, 3, 2, 7, 6, 5, 4, 15, 14, 13, 12, 11,
		10, 9, 8, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };
	struct buf b = BUF_MAX(64);

	(void)state;
	buf_u8(&b, 1);
	buf_u16(&b, 0x0203);
	buf_u32(&b, 0x04050607);
	buf_u64(&b, 0x08090a0b0c0d0e0f);
	buf_be32(&b, 0x04050607);
	buf_be64(&b, 0x08090a0b0c0d0e0f);
	assert_int_equal(b.n, sizeof(want));
	assert_memory_equal(b.p, want, sizeof(want));
	buf_fini(&b);
}

static void
test_printf_appends_and_keeps_the_limit(void **state)
{
	struct buf b = BUF_MAX(8);

	(void)state;
	buf_printf(&b, "%d-%s", 12, "ab");
	assert_true(slice_eq(buf_slice(&b), SLICE_LIT("12-ab")));
	buf_printf(&b, "%s", "xy");
	assert_int_equal(buf_err(&b), ERR_OK);
	buf_printf(&b, "%s", "z"); /* the eighth: no room for its NUL */
	assert_int_equal(buf_err(&b), ERR_LIMIT);
	assert_true(slice_eq(buf_slice(&b), SLICE_LIT("12-abxy")));
	buf_fini(&b);
	b = BUF_MAX(4);
	buf_printf(&b, "%s", "far too long");
	assert_int_equal(buf_err(&b), ERR_LIMIT);
	buf_fini(&b);
}

static void
test_cstr_ends_the_text_without_counting_it(void **state)
{
	struct buf b = BUF_MAX(4);

	(void)state;
	assert_string_equal(buf_cstr(&b), "");
	buf_put_str(&b, "abc");
	assert_string_equal(buf_cstr(&b), "abc");
	assert_int_equal(b.n, 3);
	buf_u8(&b, 'd');
	assert_string_equal(buf_cstr(&b), "");
	assert_int_equal(buf_err(&b), ERR_LIMIT);
	buf_fini(&b);
}

static void
test_shift_drops_the_head(void **state)
{
	struct buf b = BUF_MAX(64);

	(void)state;
	buf_shift(&b, 0);
	buf_put_str(&b, "abcdef");
	buf_shift(&b, 2);
	assert_true(slice_eq(buf_slice(&b), SLICE_LIT("cdef")));
	buf_shift(&b, 4);
	assert_int_equal(b.n, 0);
	buf_put_zero(&b, 3);
	assert_true(slice_eq(buf_slice(&b), SLICE_LIT("\0\0\0")));
	buf_fini(&b);
}

static void
test_growth_keeps_bytes_and_survives_no_memory(void **state)
{
	struct buf b = BUF_MAX(100000);
	uint32_t i;

	(void)state;
	for (i = 0; i < 1000; i++)
		buf_u32(&b, i);
	for (i = 0; i < 1000; i++)
		assert_int_equal(b.p[4 * i] | b.p[4 * i + 1] << 8, i);
	mem_fail_at(0);
	buf_put_zero(&b, 50000);
	mem_fail_at(-1);
	assert_int_equal(buf_err(&b), ERR_NOMEM);
	assert_int_equal(b.n, 4000);
	assert_int_equal(b.p[4 * 999] | b.p[4 * 999 + 1] << 8, 999);
	buf_fini(&b);
}

static void
test_slices_compare_like_database_keys(void **state)
{
	(void)state;
	assert_int_equal(slice_cmp(SLICE_LIT("a"), SLICE_LIT("a")), 0);
	assert_true(slice_cmp(SLICE_LIT("a"), SLICE_LIT("ab")) < 0);
	assert_true(slice_cmp(SLICE_LIT("b"), SLICE_LIT("ab")) > 0);
	assert_true(slice_cmp(SLICE_LIT("\x80"), SLICE_LIT("\x7f")) > 0);
	assert_int_equal(
	    slice_cmp((struct slice){ 0 }, (struct slice){ 0 }), 0);
	assert_true(slice_cmp((struct slice){ 0 }, SLICE_LIT("a")) < 0);
	assert_true(slice_eq((struct slice){ 0 }, SLICE_LIT("")));
	assert_false(slice_eq(SLICE_LIT("a"), SLICE_LIT("b")));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fills_to_max_and_refuses_max_plus_one),
		cmocka_unit_test(test_after_an_error_every_put_does_nothing),
		cmocka_unit_test(test_empty_buf_holds_nothing_and_fini_is_safe),
		cmocka_unit_test(test_huge_sizes_do_not_wrap),
		cmocka_unit_test(test_integers_have_the_documented_byte_order),
		cmocka_unit_test(test_printf_appends_and_keeps_the_limit),
		cmocka_unit_test(test_cstr_ends_the_text_without_counting_it),
		cmocka_unit_test(test_shift_drops_the_head),
		cmocka_unit_test(
		    test_growth_keeps_bytes_and_survives_no_memory),
		cmocka_unit_test(test_slices_compare_like_database_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
