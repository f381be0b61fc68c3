/* mp: what is written is read back; hostile bytes are refused before any
 * memory is spent on them. */
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <setjmp.h>
#include <cmocka.h>

#include "store/base/clock.h"
#include "store/base/limits.h"
#include "store/base/mem.h"
#include "store/base/mp.h"

static const struct mp_limits lim = {
	.bytes_max = 2 * MIB, .count_max = 100000, .depth_max = 8
};

static enum err
parse(struct slice in)
{
	struct mp_doc d = { 0 };
	enum err e = mp_parse(in, &lim, &d);

	mp_doc_fini(&d);
	return e;
}

#define PARSE(lit) parse(SLICE_LIT(lit))

static void
put_sample(struct buf *b)
{
	mp_w_map(b, 9);
	mp_kv_u64(b, "u", UINT64_MAX);
	mp_kv_i64(b, "i", INT64_MIN);
	mp_kv_f64(b, "f", 0.5);
	mp_kv_bool(b, "b", true);
	mp_kv_cstr(b, "s", "text");
	mp_kv_bin(b, "x", SLICE_LIT("\0\1\2"));
	mp_kv_array(b, "a", 2);
	mp_w_i64(b, -1);
	mp_w_nil(b);
	mp_kv_map(b, "m", 1);
	mp_kv_str(b, "k", (struct slice){ 0 });
	mp_w_cstr(b, "n");
	mp_w_nil(b);
}

static void
test_every_type_round_trips(void **state)
{
	struct buf b = BUF_MAX(1024);
	const struct mp_node *root, *a;
	struct mp_doc d;
	uint8_t fixed[3];
	char text[5];

	(void)state;
	put_sample(&b);
	assert_int_equal(buf_err(&b), 0);
	assert_int_equal(mp_parse(buf_slice(&b), &lim, &d), 0);
	root = d.root;
	assert_int_equal(mp_len(root), 9);
	assert_true(mp_u64(&d, mp_get(root, "u"), UINT64_MAX) == UINT64_MAX);
	assert_true(mp_i64(&d, mp_get(root, "i")) == INT64_MIN);
	assert_true(mp_f64(&d, mp_get(root, "f")) == 0.5);
	assert_true(mp_bool(&d, mp_get(root, "b")));
	mp_text(&d, mp_get(root, "s"), text, sizeof(text));
	assert_string_equal(text, "text");
	mp_fixed(&d, mp_get(root, "x"), fixed, 3);
	assert_memory_equal(fixed, "\0\1\2", 3);
	a = mp_get(root, "a");
	assert_int_equal(mp_len(a), 2);
	assert_true(mp_i64(&d, mp_at(a, 0)) == -1);
	assert_true(mp_f64(&d, mp_at(a, 0)) == -1);
	assert_int_equal(mp_type(mp_at(a, 1)), MP_NIL);
	assert_null(mp_at(a, 2));
	assert_int_equal(mp_str(&d, mp_get(mp_get(root, "m"), "k"), 0).n, 0);
	assert_true(mp_has(root, "n"));
	assert_false(mp_has(root, "absent"));
	assert_int_equal(d.err, ERR_OK);
	mp_doc_fini(&d);
	buf_fini(&b);
}

static void
test_strings_borrow_the_input(void **state)
{
	struct buf b = BUF_MAX(64);
	struct slice s, key;
	struct mp_doc d;

	(void)state;
	mp_w_map(&b, 1);
	mp_kv_bin(&b, "key", SLICE_LIT("bytes"));
	assert_int_equal(mp_parse(buf_slice(&b), &lim, &d), 0);
	s = mp_bin(&d, mp_member(d.root, 0, &key), 5);
	assert_true(slice_eq(key, SLICE_LIT("key")));
	assert_true(s.p > b.p && s.p + s.n == b.p + b.n);
	assert_null(mp_member(d.root, 1, &key));
	assert_int_equal(key.n, 0);
	mp_doc_fini(&d);
	buf_fini(&b);
}

static void
test_getters_fail_once_and_stay_total(void **state)
{
	struct buf b = BUF_MAX(256);
	struct mp_doc d;
	uint8_t fixed[4] = { 1, 1, 1, 1 };
	char text[4] = "zzz";

	(void)state;
	put_sample(&b);
	assert_int_equal(mp_parse(buf_slice(&b), &lim, &d), 0);
	assert_true(mp_u64(&d, mp_get(d.root, "u"), 5) == 0);
	assert_int_equal(d.err, ERR_LIMIT);
	assert_true(mp_u64(&d, NULL, 5) == 0);
	assert_int_equal(d.err, ERR_LIMIT); /* the first stays */
	d.err = ERR_OK;
	assert_true(mp_u64(&d, mp_get(d.root, "i"), UINT64_MAX) == 0);
	assert_int_equal(d.err, ERR_MALFORMED);
	d.err = ERR_OK;
	assert_true(mp_i64(&d, mp_get(d.root, "u")) == 0);
	assert_int_equal(d.err, ERR_LIMIT);
	d.err = ERR_OK;
	mp_fixed(&d, mp_get(d.root, "x"), fixed, 4);
	assert_int_equal(d.err, ERR_MALFORMED);
	assert_memory_equal(fixed, "\0\0\0\0", 4);
	d.err = ERR_OK;
	mp_text(&d, mp_get(d.root, "s"), text, sizeof(text));
	assert_int_equal(d.err, ERR_LIMIT);
	assert_string_equal(text, "");
	d.err = ERR_OK;
	assert_int_equal(mp_bin(&d, mp_get(d.root, "s"), 99).n, 0);
	assert_int_equal(d.err, ERR_MALFORMED); /* str is not bin */
	d.err = ERR_OK;
	assert_false(mp_bool(&d, mp_get(d.root, "u")));
	assert_int_equal(d.err, ERR_MALFORMED);
	assert_null(mp_get(mp_get(d.root, "s"), "k"));
	assert_null(mp_get(NULL, "k"));
	assert_int_equal(mp_len(NULL), 0);
	assert_int_equal(mp_type(NULL), MP_NONE);
	mp_doc_fini(&d);
	buf_fini(&b);
}

static void
test_text_with_a_nul_is_refused(void **state)
{
	struct mp_doc d;
	char text[8];

	(void)state;
	assert_int_equal(mp_parse(SLICE_LIT("\xa3"
					    "a\0b"),
			     &lim, &d),
	    0);
	mp_text(&d, d.root, text, sizeof(text));
	assert_int_equal(d.err, ERR_LIMIT);
	assert_string_equal(text, "");
	mp_doc_fini(&d);
}

static void
test_every_truncation_is_short_and_any_tail_is_trailing(void **state)
{
	struct buf b = BUF_MAX(1024);
	size_t n;

	(void)state;
	put_sample(&b);
	for (n = 0; n < b.n; n++)
		assert_int_equal(parse(slice_of(b.p, n)), ERR_SHORT);
	assert_int_equal(parse(buf_slice(&b)), ERR_OK);
	buf_u8(&b, 0);
	assert_int_equal(parse(buf_slice(&b)), ERR_TRAILING);
	buf_fini(&b);
}

/* Five bytes that claim 2^32 items: refused without an allocation. */
static void
test_hostile_counts_cost_nothing(void **state)
{
	(void)state;
	mem_fail_at(0); /* any allocation would show as NOMEM */
	assert_int_equal(PARSE("\xdd\xff\xff\xff\xff"), ERR_LIMIT);
	assert_int_equal(PARSE("\xdf\xff\xff\xff\xff"), ERR_LIMIT);
	assert_int_equal(PARSE("\xdd\x00\x01\x86\xa1"), ERR_LIMIT);
	assert_int_equal(PARSE("\xdd\x00\x01\x86\xa0"), ERR_SHORT);
	assert_int_equal(PARSE("\xdc\xff\xff"), ERR_SHORT);
	assert_int_equal(PARSE("\xde\x00\x02\xa1"
			       "a\x01\xa1"),
	    ERR_SHORT);
	assert_int_equal(PARSE("\xdb\xff\xff\xff\xff"), ERR_SHORT);
	assert_int_equal(PARSE("\xc6\xff\xff\xff\xff"
			       "abc"),
	    ERR_SHORT);
	assert_int_equal(PARSE("\xbf"
			       "abc"),
	    ERR_SHORT);
	assert_int_equal(PARSE("\xcf\x00"), ERR_SHORT);
	assert_int_equal(parse((struct slice){ 0 }), ERR_SHORT);
	mem_fail_at(-1);
}

static enum err
nested(size_t depth, uint8_t open, struct mp_limits l)
{
	uint8_t in[64];
	struct mp_doc d = { 0 };
	enum err e;

	memset(in, open, depth);
	in[depth] = 0xc0;
	e = mp_parse(slice_of(in, depth + 1), &l, &d);
	mp_doc_fini(&d);
	return e;
}

static void
test_depth_is_held_at_max_and_max_plus_one(void **state)
{
	struct mp_limits l = lim;

	(void)state;
	assert_int_equal(nested(8, 0x91, l), ERR_OK);
	assert_int_equal(nested(9, 0x91, l), ERR_LIMIT);
	l.depth_max = 16;
	assert_int_equal(nested(16, 0x91, l), ERR_OK);
	assert_int_equal(nested(17, 0x91, l), ERR_LIMIT);
	l.depth_max = 0;
	assert_int_equal(nested(0, 0x91, l), ERR_OK);
	assert_int_equal(nested(1, 0x91, l), ERR_LIMIT);
}

static void
test_size_and_count_are_held_at_max_and_max_plus_one(void **state)
{
	struct mp_limits l = { .bytes_max = 4, .count_max = 3, .depth_max = 1 };
	struct mp_doc d = { 0 };

	(void)state;
	assert_int_equal(mp_parse(SLICE_LIT("\x93\1\2\3"), &l, &d), ERR_OK);
	mp_doc_fini(&d);
	l.bytes_max = 3;
	assert_int_equal(mp_parse(SLICE_LIT("\x93\1\2\3"), &l, &d), ERR_LIMIT);
	l.bytes_max = 5;
	assert_int_equal(
	    mp_parse(SLICE_LIT("\x94\1\2\3\4"), &l, &d), ERR_LIMIT);
}

static void
test_extension_types_and_reserved_byte_are_malformed(void **state)
{
	(void)state;
	assert_int_equal(PARSE("\xc1"), ERR_MALFORMED);
	assert_int_equal(PARSE("\xc7\x01\x00\x00"), ERR_MALFORMED);
	assert_int_equal(PARSE("\xd4\x00\x00"), ERR_MALFORMED);
	assert_int_equal(PARSE("\xd8\x00"), ERR_MALFORMED);
}

static void
test_keys_must_be_strings_and_unique(void **state)
{
	(void)state;
	assert_int_equal(PARSE("\x81\x01\x02"), ERR_MALFORMED);
	assert_int_equal(PARSE("\x81\xc4\x01"
			       "a\x02"),
	    ERR_MALFORMED);
	assert_int_equal(PARSE("\x81\x90\x02"), ERR_MALFORMED);
	assert_int_equal(PARSE("\x82\xa1"
			       "a\x01\xa1"
			       "b\x01"),
	    ERR_OK);
	assert_int_equal(PARSE("\x82\xa1"
			       "a\x01\xa1"
			       "a\x02"),
	    ERR_MALFORMED);
	/* The same key spelt with another length form. */
	assert_int_equal(PARSE("\x82\xa1"
			       "a\x01\xd9\x01"
			       "a\x02"),
	    ERR_MALFORMED);
	/* Deep inside. */
	assert_int_equal(PARSE("\x91\x81\xa1"
			       "m\x82\xa1"
			       "k\x01\xa1"
			       "k\x02"),
	    ERR_MALFORMED);
}

static void
put_wide_map(struct buf *b, uint32_t n, uint32_t twin)
{
	uint32_t i;

	mp_w_map(b, n);
	for (i = 0; i < n; i++) {
		uint32_t k = i == twin ? n - 1 : i;
		uint8_t key[3] = { (uint8_t)(k >> 16), (uint8_t)(k >> 8),
			(uint8_t)k };

		mp_w_str(b, slice_of(key, 3));
		mp_w_nil(b);
	}
}

static void
test_wide_maps_are_checked_quickly(void **state)
{
	struct buf b = BUF_MAX(2 * MIB);
	uint64_t start = clock_mono_ms();
	struct mp_doc d;

	(void)state;
	put_wide_map(&b, 100000, UINT32_MAX);
	assert_int_equal(parse(buf_slice(&b)), ERR_OK);
	buf_reset(&b);
	put_wide_map(&b, 100000, 17);
	assert_int_equal(parse(buf_slice(&b)), ERR_MALFORMED);
	/* A square would take 5 * 10^9 comparisons. */
	assert_true(clock_mono_ms() - start < 5000);
	/* At the change from the stack to the heap. */
	for (uint32_t n = 14; n < 20; n++) {
		buf_reset(&b);
		put_wide_map(&b, n, UINT32_MAX);
		assert_int_equal(mp_parse(buf_slice(&b), &lim, &d), ERR_OK);
		assert_int_equal(mp_len(d.root), n);
		mp_doc_fini(&d);
		buf_reset(&b);
		put_wide_map(&b, n, 0);
		assert_int_equal(parse(buf_slice(&b)), ERR_MALFORMED);
	}
	buf_fini(&b);
}

static void
test_every_failing_allocation_is_reported(void **state)
{
	struct buf b = BUF_MAX(1024);
	enum err e = ERR_NOMEM;
	long n;

	(void)state;
	put_wide_map(&b, 40, UINT32_MAX);
	for (n = 0; n < 20 && e != ERR_OK; n++) {
		mem_fail_at(n);
		e = parse(buf_slice(&b));
		mem_fail_at(-1);
		assert_true(e == ERR_OK || e == ERR_NOMEM);
	}
	assert_true(e == ERR_OK && n == 3);
	buf_fini(&b);
}

static void
test_writer_keeps_the_buffer_error(void **state)
{
	struct buf b = BUF_MAX(3);

	(void)state;
	mp_w_cstr(&b, "abc");
	assert_int_equal(buf_err(&b), ERR_LIMIT);
	buf_fini(&b);
}

static void
test_floats_of_both_widths_are_read(void **state)
{
	struct mp_doc d;

	(void)state;
	assert_int_equal(
	    mp_parse(SLICE_LIT("\xca\x3f\x00\x00\x00"), &lim, &d), 0);
	assert_true(mp_f64(&d, d.root) == 0.5);
	assert_int_equal(d.err, 0);
	mp_doc_fini(&d);
	assert_int_equal(
	    mp_parse(SLICE_LIT("\xcb\x7f\xf8\0\0\0\0\0\0"), &lim, &d), 0);
	assert_true(isnan(mp_f64(&d, d.root)));
	mp_doc_fini(&d);
}

static void
test_a_read_value_can_be_written_again(void **state)
{
	struct buf b = BUF_MAX(1024), again = BUF_MAX(1024);
	struct mp_doc d;

	(void)state;
	put_sample(&b);
	assert_int_equal(mp_parse(buf_slice(&b), &lim, &d), 0);
	mp_w_node(&again, d.root);
	assert_true(slice_eq(buf_slice(&b), buf_slice(&again)));
	buf_reset(&again);
	mp_w_node(&again, NULL);
	assert_true(slice_eq(buf_slice(&again), SLICE_LIT("\xc0")));
	mp_doc_fini(&d);
	buf_fini(&b);
	buf_fini(&again);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_type_round_trips),
		cmocka_unit_test(test_strings_borrow_the_input),
		cmocka_unit_test(test_getters_fail_once_and_stay_total),
		cmocka_unit_test(test_text_with_a_nul_is_refused),
		cmocka_unit_test(
		    test_every_truncation_is_short_and_any_tail_is_trailing),
		cmocka_unit_test(test_hostile_counts_cost_nothing),
		cmocka_unit_test(test_depth_is_held_at_max_and_max_plus_one),
		cmocka_unit_test(
		    test_size_and_count_are_held_at_max_and_max_plus_one),
		cmocka_unit_test(
		    test_extension_types_and_reserved_byte_are_malformed),
		cmocka_unit_test(test_keys_must_be_strings_and_unique),
		cmocka_unit_test(test_wide_maps_are_checked_quickly),
		cmocka_unit_test(test_every_failing_allocation_is_reported),
		cmocka_unit_test(test_writer_keeps_the_buffer_error),
		cmocka_unit_test(test_floats_of_both_widths_are_read),
		cmocka_unit_test(test_a_read_value_can_be_written_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
