/* tests/unit/catalog/test_values.c: what a value reads as, which texts may
 * come in, and which content tables are refused. */
#include "lib/catalog_lib.h"
#include "store/catalog/query_internal.h"

/* --- readings --- */

static void
test_texts_read_as_numbers_and_dates(void **state)
{
	static const struct {
		const char *text;
		bool plain, iso;
		const char *date;
	} cases[] = {
		{ "1.5", true, false, "" },
		{ "-0.25", true, false, "" },
		{ "0", true, false, "" },
		{ "003", false, false, "" },
		{ "-01", false, false, "" },
		{ "063Y", false, false, "" },
		{ "", false, false, "" },
		{ "20240131", true, false, "20240131" },
		{ "20241331", true, false, "" },
		{ "20240100", true, false, "" },
		{ "00240131", false, false, "" },
		{ "20240131093000", true, false, "20240131093000" },
		{ "20240131093000.5+0100", false, false, "20240131093000" },
		{ "20240131093000x", false, false, "" },
		{ "2024-01-31", false, true, "20240131" },
		{ "2024-01-31T09:30:00Z", false, true, "20240131093000" },
		{ "2024-01-31 09:30:00", false, true, "20240131093000" },
		{ "2024-01-31T09:30", false, false, "" },
		{ "2024-99-31", false, false, "" },
	};
	struct val v;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		val_of_text(slice_str(cases[i].text), &v);
		assert_int_equal(v.plain, cases[i].plain);
		assert_int_equal(v.iso, cases[i].iso);
		assert_string_equal(v.date, cases[i].date);
	}
}

static void
codes_rise(double a, double b)
{
	struct ix_code x, y;

	ix_code_num('n', a, &x);
	ix_code_num('n', b, &y);
	assert_int_equal(
	    slice_cmp(slice_of(x.b, x.n), slice_of(y.b, y.n)) < 0, a < b);
	assert_int_equal(
	    slice_eq(slice_of(x.b, x.n), slice_of(y.b, y.n)), a == b);
}

static void
test_number_codes_sort_as_numbers(void **state)
{
	static const double v[] = { -1e300, -2, -1.5, -1e-300, -0.0, 0.0,
		1e-300, 1, 1.5, 1e300 };
	size_t i, k;

	(void)state;
	for (i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		for (k = 0; k < sizeof(v) / sizeof(v[0]); k++)
			codes_rise(v[i], v[k]);
	}
}

/* --- one field, one query --- */

static bool
matches(struct buf *value, const char *query)
{
	struct cat_node path[1] = { { .level = "series", .key = "R" } };
	struct cl_put p = { .payload = BUF_MAX(LIM_OP_PAYLOAD_BYTES),
		.o = { .share = cl_id("share", 1), .lamport = 1 } };
	struct cat_put put;
	struct cat_query *q = NULL;
	struct buf f = BUF_MAX(4096);
	struct db_txn *t;
	struct cl c;
	bool yes = false;

	cl_init(&c);
	mp_w_map(&f, 1);
	mp_w_cstr(&f, "F");
	buf_put_slice(&f, buf_slice(value));
	path[0].fields = buf_slice(&f);
	put = cl_put_of(path, 1);
	assert_int_equal(cat_put_encode(&put, &p.payload), ERR_OK);
	assert_int_equal(store_write(c.s, cl_put_job, &p), ERR_OK);
	assert_int_equal(cat_query_parse(slice_str(query), &q, NULL), ERR_OK);
	t = cl_read(&c);
	assert_int_equal(cat_match(c.s, t, q, &p.asset, &yes), ERR_OK);
	db_abort(t);
	cat_query_free(q);
	buf_fini(&p.payload);
	buf_fini(&f);
	cl_fini(&c);
	buf_reset(value);
	return yes;
}

static void
test_other_types_compare(void **state)
{
	struct buf v = BUF_MAX(1000);

	(void)state;
	mp_w_bool(&v, true);
	assert_true(matches(&v, "F=true"));
	mp_w_bool(&v, false);
	assert_false(matches(&v, "F=true"));
	mp_w_nil(&v);
	assert_false(matches(&v, "F=0"));
	mp_w_nil(&v);
	assert_false(matches(&v, "F~''"));
	mp_w_u64(&v, 20240131);
	assert_true(matches(&v, "F=2024-01-31"));
	mp_w_u64(&v, 20240131);
	assert_true(matches(&v, "F<2024-02-01"));
	mp_w_i64(&v, -3);
	assert_true(matches(&v, "F=-3"));
	mp_w_i64(&v, -3);
	assert_false(matches(&v, "F=abc"));
	mp_w_i64(&v, -3);
	assert_false(matches(&v, "F>=2024-01-01"));
	mp_w_cstr(&v, "2024-01-31");
	assert_true(matches(&v, "F>99"));
	mp_w_cstr(&v, "word");
	assert_false(matches(&v, "F>99"));
	mp_w_cstr(&v, "20240131093000.25");
	assert_true(matches(&v, "F>2024-01-31T09:00:00"));
	mp_w_cstr(&v, "20240131");
	assert_true(matches(&v, "F<2024-01-31T09:00:00"));
	buf_fini(&v);
}

/* --- texts that may come in --- */

static bool
text_ok(const char *s, size_t n)
{
	return put_text_valid(slice_of(s, n), 100);
}

static void
test_keys_are_whole_utf8_without_controls(void **state)
{
	(void)state;
	assert_true(text_ok("a", 1));
	assert_true(text_ok("\xc3\xa9", 2));
	assert_true(text_ok("\xe2\x82\xac", 3));
	assert_true(text_ok("\xf0\x9f\x98\x80", 4));
	assert_false(text_ok("", 0));
	assert_false(text_ok("\n", 1));
	assert_false(text_ok("\x7f", 1));
	assert_false(text_ok("\0", 1));
	assert_false(text_ok("\xc3", 1));             /* cut off */
	assert_false(text_ok("\xc3(", 2));            /* no continuation */
	assert_false(text_ok("\xc0\xaf", 2));         /* overlong */
	assert_false(text_ok("\xe0\x80\xaf", 3));     /* overlong */
	assert_false(text_ok("\xed\xa0\x80", 3));     /* surrogate */
	assert_false(text_ok("\xf4\x90\x80\x80", 4)); /* above 10FFFF */
	assert_false(text_ok("\xff", 1));
}

/* --- content tables --- */

struct table {
	const char *names[2];
	uint64_t v;
	uint64_t head;   /* of the first member */
	uint64_t length; /* of the first member */
	bool as_map;
};

static enum err
table_take(const struct table *x)
{
	struct buf b = BUF_MAX(4096);
	struct content *c = NULL;
	uint8_t hash[32] = { 0 };
	enum err e;
	int i;

	mp_w_map(&b, 3);
	mp_kv_u64(&b, "v", x->v);
	mp_kv_bin(&b, "bundle", (struct slice){ 0 });
	if (x->as_map)
		mp_kv_map(&b, "members", 0);
	else
		mp_kv_array(&b, "members", 2);
	for (i = 0; i < 2 && !x->as_map; i++) {
		mp_w_array(&b, 6);
		mp_w_cstr(&b, x->names[i]);
		mp_w_u64(&b, i == 0 ? x->length : 0);
		mp_w_bin(&b, slice_of(hash, sizeof(hash)));
		mp_w_u64(&b, i == 0 ? x->head : 0);
		mp_w_bin(&b, (struct slice){ 0 });
		mp_w_bin(&b, (struct slice){ 0 });
	}
	e = content_table_take(&b, &c);
	if (e == ERR_OK)
		content_close(c);
	return e;
}

static void
test_bad_tables_are_refused(void **state)
{
	static const struct {
		struct table t;
		enum err e;
	} cases[] = {
		{ { { "a", "b" }, 1, 0, 0, false }, ERR_OK },
		{ { { "a", "b" }, 2, 0, 0, false }, ERR_UNSUPPORTED },
		{ { { "a", "a" }, 1, 0, 0, false }, ERR_MALFORMED },
		{ { { "x/y", "x_y" }, 1, 0, 0, false }, ERR_MALFORMED },
		{ { { "a", "b" }, 1, 5, 4, false }, ERR_MALFORMED },
		{ { { "a", "b" }, 1, 4, 4, false }, ERR_MALFORMED },
		{ { { "a", "b" }, 1, 0, 0, true }, ERR_MALFORMED },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(table_take(&cases[i].t), cases[i].e);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_texts_read_as_numbers_and_dates),
		cmocka_unit_test(test_number_codes_sort_as_numbers),
		cmocka_unit_test(test_other_types_compare),
		cmocka_unit_test(test_keys_are_whole_utf8_without_controls),
		cmocka_unit_test(test_bad_tables_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
