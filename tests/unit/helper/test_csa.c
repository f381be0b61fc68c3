/* csa: only numbers of known fields get through, whatever stands around them,
 * wherever the bytes break off; what stays reads the same again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "node/imaging/helper/csa.h"

static void
put_field(struct buf *b, const char *name, const char *junk, uint32_t n)
{
	size_t len = strlen(name);

	buf_put(b, name, len);
	buf_u8(b, 0);
	buf_put_str(b, junk); /* padding is never clean in real files */
	buf_put_zero(b, 63 - len - strlen(junk));
	buf_u32(b, 1);
	buf_put(b, "FD\0\0", 4);
	buf_u32(b, 4);
	buf_u32(b, n);
	buf_u32(b, 77);
}

/* add: what layout 1 adds to a length. */
static void
put_item(struct buf *b, const char *v, uint32_t add)
{
	uint32_t n = (uint32_t)strlen(v);

	buf_u32(b, n + add);
	buf_u32(b, n);
	buf_u32(b, 77);
	buf_u32(b, n);
	buf_put_str(b, v);
	buf_put_zero(b, (4 - n % 4) % 4);
}

static void
make(struct buf *b, bool second)
{
	uint32_t add = second ? 0 : 2;

	if (second)
		buf_put(b, "SV10\4\3\2\1", 8);
	buf_u32(b, 4);
	buf_u32(b, 77);
	put_field(b, "B_value", "Smith", 2);
	put_item(b, "1000", add);
	put_item(b, "Smith^John", add);
	put_field(b, "PatientName", "", 1);
	put_item(b, "Smith^John", add);
	put_field(b, "SliceNormalVector", "", 3);
	put_item(b, "-0.25", add);
	put_item(b, " 1e-3 Smith", add);
	put_item(b, "", add);
	put_field(b, "MrPhoenixProtocol", "", 1);
	put_item(b, "sPatient = Smith", add);
}

static bool
has(const struct buf *b, const char *s)
{
	return memmem(b->p, b->n, s, strlen(s)) != NULL;
}

static void
test_numbers_of_known_fields_stay_in_both_layouts(void **state)
{
	(void)state;
	for (int second = 0; second < 2; second++) {
		struct buf in = BUF_MAX(65536), out = BUF_MAX(65536);
		struct buf again = BUF_MAX(65536);

		make(&in, second);
		assert_true(has(&in, "Smith"));
		assert_true(csa_reduce(buf_slice(&in), &out));
		assert_true(out.n <= CSA_ROOM(in.n));
		assert_false(has(&out, "Smith"));
		assert_false(has(&out, "PatientName"));
		assert_false(has(&out, "Phoenix"));
		assert_true(has(&out, "1000"));
		assert_true(has(&out, "-0.25"));
		assert_true(has(&out, "1e-3"));
		assert_int_equal(out.p[8], 2); /* fields */
		assert_true(csa_reduce(buf_slice(&out), &again));
		assert_true(slice_eq(buf_slice(&out), buf_slice(&again)));
		buf_fini(&in);
		buf_fini(&out);
		buf_fini(&again);
	}
}

/* A field that breaks off is gone as a whole; those before it stay. */
static void
test_what_breaks_off_leaves_whole_fields(void **state)
{
	struct buf in = BUF_MAX(65536), out = BUF_MAX(65536);
	struct buf again = BUF_MAX(65536);
	uint32_t kept = 0;

	(void)state;
	make(&in, true);
	for (size_t n = 0; n < in.n; n++) {
		buf_reset(&out);
		buf_reset(&again);
		if (!csa_reduce(slice_of(in.p, n), &out)) {
			assert_int_equal(out.n, 0);
			continue;
		}
		kept++;
		assert_true(csa_reduce(buf_slice(&out), &again));
		assert_true(slice_eq(buf_slice(&out), buf_slice(&again)));
	}
	assert_true(kept > 100);
	buf_fini(&in);
	buf_fini(&out);
	buf_fini(&again);
}

static void
test_what_is_no_csa_header_leaves_nothing(void **state)
{
	static const char *const v[] = { "", "SV10", "SV10\4\3\2\1",
		"<CSA>text of another kind</CSA>" };
	struct buf out = BUF_MAX(4096), in = BUF_MAX(4096);

	(void)state;
	for (size_t k = 0; k < sizeof(v) / sizeof(v[0]); k++)
		assert_false(csa_reduce(slice_str(v[k]), &out));
	buf_put(&in, "SV10\4\3\2\1", 8);
	buf_u32(&in, 1);
	buf_u32(&in, 77);
	put_field(&in, "B_value", "", UINT32_MAX); /* a promise */
	assert_false(csa_reduce(buf_slice(&in), &out));
	assert_int_equal(out.n, 0);
	buf_fini(&in);
	buf_fini(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    test_numbers_of_known_fields_stay_in_both_layouts),
		cmocka_unit_test(test_what_breaks_off_leaves_whole_fields),
		cmocka_unit_test(test_what_is_no_csa_header_leaves_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
