/* num: whole-input numbers at, inside and beyond their bounds. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "store/base/num.h"

static enum err
u64(const char *s, uint64_t min, uint64_t max, uint64_t *v)
{
	return num_u64(slice_str(s), min, max, v);
}

static void
test_u64_takes_the_whole_input_and_nothing_else(void **state)
{
	static const char *const bad[] = { "", " 1", "1 ", "+1", "-1", "0x10",
		"1e3", "1.0", "1\n", "abc", "１" };
	uint64_t v = 77;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(u64(bad[i], 0, UINT64_MAX, &v), ERR_MALFORMED);
	assert_int_equal(num_u64(slice_of("1\0", 2), 0, 9, &v), ERR_MALFORMED);
	assert_int_equal(v, 77);
	assert_int_equal(u64("007", 0, 7, &v), ERR_OK);
	assert_int_equal(v, 7);
}

static void
test_u64_bounds_hold_at_max_and_max_plus_one(void **state)
{
	uint64_t v = 0;

	(void)state;
	assert_int_equal(u64("18446744073709551615", 0, UINT64_MAX, &v), 0);
	assert_true(v == UINT64_MAX);
	assert_int_equal(
	    u64("18446744073709551616", 0, UINT64_MAX, &v), ERR_LIMIT);
	assert_int_equal(
	    u64("99999999999999999999", 0, UINT64_MAX, &v), ERR_LIMIT);
	assert_int_equal(u64("5", 5, 6, &v), 0);
	assert_int_equal(u64("6", 5, 6, &v), 0);
	assert_int_equal(u64("4", 5, 6, &v), ERR_LIMIT);
	assert_int_equal(u64("7", 5, 6, &v), ERR_LIMIT);
}

static void
test_i64_covers_its_whole_range(void **state)
{
	int64_t v = 0;

	(void)state;
	assert_int_equal(
	    num_i64(SLICE_LIT("9223372036854775807"), INT64_MIN, INT64_MAX, &v),
	    0);
	assert_true(v == INT64_MAX);
	assert_int_equal(num_i64(SLICE_LIT("-9223372036854775808"), INT64_MIN,
			     INT64_MAX, &v),
	    0);
	assert_true(v == INT64_MIN);
	assert_int_equal(
	    num_i64(SLICE_LIT("9223372036854775808"), INT64_MIN, INT64_MAX, &v),
	    ERR_LIMIT);
	assert_int_equal(num_i64(SLICE_LIT("-9223372036854775809"), INT64_MIN,
			     INT64_MAX, &v),
	    ERR_LIMIT);
	assert_int_equal(num_i64(SLICE_LIT("-"), -9, 9, &v), ERR_MALFORMED);
	assert_int_equal(num_i64(SLICE_LIT("--1"), -9, 9, &v), ERR_MALFORMED);
	assert_int_equal(num_i64(SLICE_LIT("-10"), -9, 9, &v), ERR_LIMIT);
	assert_int_equal(num_i64(SLICE_LIT("-9"), -9, 9, &v), 0);
	assert_int_equal(v, -9);
}

static void
test_f64_takes_decimals_only(void **state)
{
	static const char *const bad[] = { "", "nan", "inf", "-inf", "0x1p3",
		" 1", "1 ", "1,5", "1e999", "e", ".", "1.2.3", "--1" };
	double v = 7;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(num_f64(slice_str(bad[i]), &v), ERR_MALFORMED);
	assert_true(v == 7);
	assert_int_equal(num_f64(SLICE_LIT("-1.5e2"), &v), 0);
	assert_true(v == -150);
	assert_int_equal(num_f64(SLICE_LIT("+.25"), &v), 0);
	assert_true(v == 0.25);
	assert_int_equal(num_f64(slice_of("1\0", 2), &v), ERR_MALFORMED);
}

static void
test_f64_refuses_more_than_its_buffer(void **state)
{
	char text[65];
	double v;

	(void)state;
	memset(text, '1', sizeof(text));
	assert_int_equal(num_f64(slice_of(text, 63), &v), 0);
	assert_int_equal(num_f64(slice_of(text, 64), &v), ERR_MALFORMED);
}

static void
test_durations_and_sizes_scale_and_stay_bounded(void **state)
{
	uint64_t v = 0;

	(void)state;
	assert_int_equal(num_duration_s(SLICE_LIT("90s"), 100, &v), 0);
	assert_int_equal(v, 90);
	assert_int_equal(num_duration_s(SLICE_LIT("15m"), 900, &v), 0);
	assert_int_equal(v, 900);
	assert_int_equal(num_duration_s(SLICE_LIT("2h"), 7200, &v), 0);
	assert_int_equal(v, 7200);
	assert_int_equal(num_duration_s(SLICE_LIT("7d"), 604800, &v), 0);
	assert_int_equal(v, 604800);
	assert_int_equal(num_duration_s(SLICE_LIT("16m"), 900, &v), ERR_LIMIT);
	assert_int_equal(num_duration_s(SLICE_LIT("s"), 9, &v), ERR_MALFORMED);
	assert_int_equal(num_duration_s(SLICE_LIT("5"), 9, &v), ERR_MALFORMED);
	assert_int_equal(num_duration_s(SLICE_LIT("5w"), 9, &v), ERR_MALFORMED);
	assert_int_equal(
	    num_duration_s(SLICE_LIT("213503982334602d"), UINT64_MAX, &v),
	    ERR_LIMIT);
	assert_int_equal(num_bytes(SLICE_LIT("512"), 512, &v), 0);
	assert_int_equal(num_bytes(SLICE_LIT("64k"), 65536, &v), 0);
	assert_int_equal(v, 65536);
	assert_int_equal(num_bytes(SLICE_LIT("2g"), UINT64_MAX, &v), 0);
	assert_true(v == 2147483648u);
	assert_int_equal(
	    num_bytes(SLICE_LIT("17179869184g"), UINT64_MAX, &v), ERR_LIMIT);
	assert_int_equal(num_bytes(SLICE_LIT("k"), 9, &v), ERR_MALFORMED);
	assert_int_equal(num_bytes(SLICE_LIT(""), 9, &v), ERR_MALFORMED);
}

static void
test_add_and_mul_say_when_they_overflow(void **state)
{
	size_t v;

	(void)state;
	assert_true(num_add(SIZE_MAX - 1, 1, &v) && v == SIZE_MAX);
	assert_false(num_add(SIZE_MAX, 1, &v));
	assert_true(num_mul(SIZE_MAX / 2, 2, &v));
	assert_false(num_mul(SIZE_MAX / 2 + 1, 2, &v));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    test_u64_takes_the_whole_input_and_nothing_else),
		cmocka_unit_test(test_u64_bounds_hold_at_max_and_max_plus_one),
		cmocka_unit_test(test_i64_covers_its_whole_range),
		cmocka_unit_test(test_f64_takes_decimals_only),
		cmocka_unit_test(test_f64_refuses_more_than_its_buffer),
		cmocka_unit_test(
		    test_durations_and_sizes_scale_and_stay_bounded),
		cmocka_unit_test(test_add_and_mul_say_when_they_overflow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
