/* rd: reads stay inside the input and the first error sticks. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "store/base/rd.h"

static void
test_reads_fields_in_order_and_ends(void **state)
{
	static const uint8_t in[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13,
		14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28 };
	struct rd r = rd_init(slice_of(in, sizeof(in)));
	struct slice rest;

	(void)state;
	assert_int_equal(rd_u8(&r), 1);
	assert_int_equal(rd_u16(&r), 0x0302);
	assert_int_equal(rd_u32(&r), 0x07060504);
	assert_true(rd_u64(&r) == 0x0f0e0d0c0b0a0908);
	assert_int_equal(rd_be32(&r), 0x10111213);
	assert_true(rd_be64(&r) == 0x1415161718191a1b);
	assert_int_equal(rd_end(&r), ERR_TRAILING);
	rest = rd_rest(&r);
	assert_int_equal(rest.n, 1);
	assert_ptr_equal(rest.p, in + 27);
	assert_int_equal(rd_end(&r), ERR_OK);
}

static void
test_every_short_input_yields_zero_and_sticks(void **state)
{
	static const uint8_t in[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
	size_t n;

	(void)state;
	for (n = 0; n < 8; n++) {
		struct rd r = rd_init(slice_of(in, n));

		assert_true(rd_u64(&r) == 0);
		assert_int_equal(r.err, ERR_SHORT);
		/* The bytes that are there are not handed out any more. */
		assert_int_equal(rd_u8(&r), 0);
		assert_int_equal(rd_end(&r), ERR_SHORT);
	}
}

static void
test_huge_length_does_not_wrap(void **state)
{
	static const uint8_t in[4] = { 1, 2, 3, 4 };
	struct rd r = rd_init(slice_of(in, 4));
	struct slice s;

	(void)state;
	(void)rd_u8(&r);
	s = rd_bytes(&r, SIZE_MAX);
	assert_null(s.p);
	assert_int_equal(s.n, 0);
	assert_int_equal(rd_end(&r), ERR_SHORT);
}

static void
test_empty_input_of_no_bytes_is_whole(void **state)
{
	struct rd r = rd_init((struct slice){ 0 });
	struct slice s = rd_bytes(&r, 0);

	(void)state;
	assert_int_equal(s.n, 0);
	assert_int_equal(rd_end(&r), ERR_OK);
}

static void
test_copy_zeroes_on_failure(void **state)
{
	uint8_t out[4] = { 9, 9, 9, 9 };
	static const uint8_t in[4] = { 1, 2, 3, 4 }, zero[4] = { 0 };
	struct rd r = rd_init(slice_of(in, 4));

	(void)state;
	rd_copy(&r, out, 4);
	assert_memory_equal(out, in, 4);
	rd_copy(&r, out, 4);
	assert_memory_equal(out, zero, 4);
	assert_int_equal(rd_end(&r), ERR_SHORT);
}

static uint32_t
count_of(uint32_t claimed, size_t bytes, uint32_t max, size_t item, enum err *e)
{
	uint8_t in[64] = { 0 };
	struct rd r;
	uint32_t n;

	in[0] = (uint8_t)claimed;
	in[1] = (uint8_t)(claimed >> 8);
	in[2] = (uint8_t)(claimed >> 16);
	in[3] = (uint8_t)(claimed >> 24);
	r = rd_init(slice_of(in, 4 + bytes));
	n = rd_count(&r, max, item);
	*e = r.err;
	return n;
}

static void
test_count_needs_its_bytes_and_its_limit(void **state)
{
	enum err e;

	(void)state;
	assert_int_equal(count_of(5, 20, 5, 4, &e), 5);
	assert_int_equal(e, ERR_OK);
	assert_int_equal(count_of(6, 24, 5, 4, &e), 0);
	assert_int_equal(e, ERR_LIMIT);
	assert_int_equal(count_of(5, 19, 5, 4, &e), 0);
	assert_int_equal(e, ERR_SHORT);
	/* A product that would wrap 32 or 64 bits. */
	assert_int_equal(
	    count_of(UINT32_MAX, 8, UINT32_MAX, SIZE_MAX / 2, &e), 0);
	assert_int_equal(e, ERR_SHORT);
}

static void
test_first_reason_stays(void **state)
{
	static const uint8_t in[1] = { 1 };
	struct rd r = rd_init(slice_of(in, 1));

	(void)state;
	rd_fail(&r, ERR_LIMIT);
	rd_fail(&r, ERR_MALFORMED);
	(void)rd_u32(&r);
	assert_int_equal(rd_end(&r), ERR_LIMIT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reads_fields_in_order_and_ends),
		cmocka_unit_test(test_every_short_input_yields_zero_and_sticks),
		cmocka_unit_test(test_huge_length_does_not_wrap),
		cmocka_unit_test(test_empty_input_of_no_bytes_is_whole),
		cmocka_unit_test(test_copy_zeroes_on_failure),
		cmocka_unit_test(test_count_needs_its_bytes_and_its_limit),
		cmocka_unit_test(test_first_reason_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
