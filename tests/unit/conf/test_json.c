/* json, yaml, jw: hostile text is refused with its place and never repeated;
 * good text gives one and the same tree from JSON and from YAML. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "node/conf/json.h"
#include "store/base/limits.h"
#include "store/base/mem.h"
#include "store/base/mp.h"

static const char *
dump(struct buf *b, const struct json *j)
{
	struct jw w;

	buf_init(b, MIB);
	jw_init(&w, b);
	jw_json(&w, NULL, j);
	return buf_cstr(b);
}

static void
expect_bad(enum err (*parse)(struct slice, struct json **, struct errmsg *),
    const char *text, enum err want, const char *cause)
{
	struct json *j = NULL;
	struct errmsg em = { 0 };

	assert_int_equal(parse(slice_str(text), &j, &em), want);
	assert_null(j);
	assert_int_equal(em.code, want);
	assert_non_null(strstr(em.cause, cause));
}

static void
test_json_refuses_hostile_text(void **state)
{
	char deep[200];

	(void)state;
	expect_bad(json_parse, "{\"a\":1,\"a\":2}", ERR_MALFORMED, "twice");
	expect_bad(json_parse, "[NaN]", ERR_MALFORMED, "line 1");
	expect_bad(json_parse, "[1e400]", ERR_MALFORMED, "range");
	expect_bad(
	    json_parse, "[99999999999999999999]", ERR_MALFORMED, "range");
	expect_bad(json_parse, "[\"\xff\"]", ERR_MALFORMED, "UTF-8");
	expect_bad(json_parse, "[\"\\u0000\"]", ERR_MALFORMED, "NUL");
	expect_bad(json_parse, "[1] x", ERR_MALFORMED, "follows");
	expect_bad(json_parse, "", ERR_MALFORMED, "line");
	expect_bad(json_parse, "{\"a\":", ERR_MALFORMED, "early");
	memset(deep, '[', 65);
	memset(deep + 65, ']', 65);
	deep[130] = '\0';
	expect_bad(json_parse, deep, ERR_LIMIT, "deeper");
}

static void
test_no_text_at_all_is_an_error(void **state)
{
	struct json *j = NULL;
	struct errmsg em = { 0 };

	(void)state;
	assert_int_equal(
	    json_parse((struct slice){ 0 }, &j, &em), ERR_MALFORMED);
	assert_non_null(strstr(em.cause, "line 1"));
	assert_int_equal(
	    yaml_parse((struct slice){ 0 }, &j, &em), ERR_MALFORMED);
	assert_non_null(strstr(em.cause, "line 1"));
}

static void
test_depth_and_nodes_at_the_bound_pass(void **state)
{
	struct buf b = BUF_MAX(MIB);
	char deep[200];
	struct json *j;
	uint32_t i;

	(void)state;
	memset(deep, '[', 64);
	memset(deep + 64, ']', 64);
	assert_int_equal(json_parse(slice_of(deep, 128), &j, NULL), ERR_OK);
	json_free(j);
	assert_int_equal(yaml_parse(slice_of(deep, 128), &j, NULL), ERR_OK);
	json_free(j);
	buf_put_str(&b, "[1");
	for (i = 0; i < 99998; i++)
		buf_put_str(&b, ",1");
	buf_put_str(&b, "]");
	assert_int_equal(json_parse(buf_slice(&b), &j, NULL), ERR_OK);
	assert_int_equal(json_len(j), 99999);
	json_free(j);
	b.n--;
	buf_put_str(&b, ",1,1]");
	assert_int_equal(json_parse(buf_slice(&b), &j, NULL), ERR_LIMIT);
	buf_fini(&b);
}

static void
test_messages_never_repeat_the_text(void **state)
{
	struct errmsg em = { 0 };
	struct json *j = NULL;

	(void)state;
	assert_int_equal(
	    json_parse(slice_str("{\"a\": Doe^Jane}"), &j, &em), ERR_MALFORMED);
	assert_null(strstr(em.cause, "Doe"));
	assert_int_equal(yaml_parse(slice_str("a: 'Doe^Jane\nb: ["), &j, &em),
	    ERR_MALFORMED);
	assert_null(strstr(em.cause, "Doe"));
}

static void
test_yaml_refuses_hostile_text(void **state)
{
	(void)state;
	expect_bad(
	    yaml_parse, "a: &x 1\nb: *x\n", ERR_UNSUPPORTED, "line 1 col 4");
	expect_bad(
	    yaml_parse, "a: !!python/object x\n", ERR_UNSUPPORTED, "tags");
	expect_bad(yaml_parse, "a: 1\nb: 2\na: 3\n", ERR_MALFORMED,
	    "line 3 col 1: a key occurs twice");
	expect_bad(yaml_parse, "? [a]\n: 1\n", ERR_UNSUPPORTED, "key");
	expect_bad(yaml_parse, "a: 1\n---\nb: 2\n", ERR_UNSUPPORTED, "second");
	expect_bad(yaml_parse, "", ERR_MALFORMED, "empty");
	expect_bad(yaml_parse, "a: \"\\0\"\n", ERR_MALFORMED, "NUL");
	expect_bad(yaml_parse, "\"a\\0b\": 1\n", ERR_MALFORMED, "NUL");
	expect_bad(yaml_parse, "a: [1, 2\nb: 3\n", ERR_MALFORMED, "line");
	expect_bad(yaml_parse, "a: \xff\n", ERR_MALFORMED, "line");
}

static void
test_yaml_scalars_follow_the_1_2_core_schema(void **state)
{
	struct json *j = NULL;
	struct buf b;

	(void)state;
	assert_int_equal(
	    yaml_parse(slice_str("no: no\non: on\nt: true\nz: 0123\nn: ~\n"
				 "f: 1.5\ns: '5'\ne: 1e3\nx: -7\nd: 1.2.3\n"),
		&j, NULL),
	    ERR_OK);
	assert_string_equal(dump(&b, j),
	    "{\"no\":\"no\",\"on\":\"on\",\"t\":true,\"z\":123,\"n\":null,"
	    "\"f\":1.5,\"s\":\"5\",\"e\":1000.0,\"x\":-7,\"d\":\"1.2.3\"}");
	assert_string_equal(json_get_str(j, "no", ""), "no");
	assert_int_equal(json_get_int(j, "x", 0), -7);
	assert_true(json_get_bool(j, "t", false));
	assert_false(json_get_bool(j, "no", false));
	buf_fini(&b);
	json_free(j);
}

static void
test_one_text_gives_one_tree_by_both_parsers(void **state)
{
	static const char text[] =
	    "{\"b\": [1, {\"x\": \"\\u00e4 \\\"q\\\"\"}, null], \"a\": {}}";
	struct json *a = NULL, *y = NULL;
	struct buf ba, by;

	(void)state;
	assert_int_equal(json_parse(SLICE_LIT(text), &a, NULL), ERR_OK);
	assert_int_equal(yaml_parse(SLICE_LIT(text), &y, NULL), ERR_OK);
	assert_string_equal(dump(&ba, a), dump(&by, y));
	assert_string_equal(buf_cstr(&ba),
	    "{\"b\":[1,{\"x\":\"\xc3\xa4 \\\"q\\\"\"},null],\"a\":{}}");
	buf_fini(&ba);
	buf_fini(&by);
	json_free(a);
	json_free(y);
}

static void
test_getters_are_total(void **state)
{
	struct json *j = NULL;
	const char *key = "x";

	(void)state;
	assert_int_equal(
	    json_parse(SLICE_LIT("[1,{\"k\":\"v\"}]"), &j, NULL), ERR_OK);
	assert_null(json_get(NULL, "a"));
	assert_null(json_get(j, "a"));
	assert_null(json_at(j, 2));
	assert_null(json_at(NULL, 0));
	assert_null(json_str(NULL));
	assert_int_equal(json_len(NULL), 0);
	assert_false(json_is_map(NULL));
	assert_false(json_is_array(NULL));
	assert_true(json_is_array(j));
	assert_null(json_member(j, 0, &key));
	assert_null(key);
	assert_string_equal(json_str(json_member(json_at(j, 1), 0, &key)), "v");
	assert_string_equal(key, "k");
	assert_null(json_member(json_at(j, 1), 1, &key));
	json_free(j);
	json_free(NULL);
}

static void
test_writer_escapes_and_replaces(void **state)
{
	struct buf b = BUF_MAX(4096);
	struct jw w;

	(void)state;
	jw_init(&w, &b);
	jw_obj(&w, NULL);
	jw_str(&w, "t", "a\"\\\n\x01\x7f\xed\xa0\x80\xc0\xaf\xe2\x82");
	jw_str(&w, "n", NULL);
	jw_f64(&w, "i", 1.0 / 0.0);
	jw_f64(&w, "f", 0.1);
	jw_u64(&w, "u", UINT64_MAX);
	jw_arr(&w, "l");
	jw_bool(&w, NULL, false);
	jw_obj(&w, NULL);
	jw_end(&w);
	jw_end(&w);
	jw_end(&w);
	assert_int_equal(buf_err(&b), ERR_OK);
	assert_string_equal(buf_cstr(&b),
	    "{\"t\":\"a\\\"\\\\\\n\\u0001\\u007f"
	    "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"
	    "\xef\xbf\xbd\xef\xbf\xbd\",\"n\":null,\"i\":null,"
	    "\"f\":0.1,\"u\":18446744073709551615,"
	    "\"l\":[false,{}]}");
	buf_fini(&b);
}

static void
test_writer_turns_msgpack_into_json(void **state)
{
	struct buf m = BUF_MAX(4096), b = BUF_MAX(4096);
	struct jw w;

	(void)state;
	mp_w_map(&m, 3);
	mp_kv_cstr(&m, "Modality", "MR");
	mp_kv_array(&m, "v", 3);
	mp_w_i64(&m, -1);
	mp_w_u64(&m, UINT64_MAX);
	mp_w_f64(&m, 2.5);
	mp_kv_bin(&m, "b", SLICE_LIT("\x01\xff"));
	jw_init(&w, &b);
	jw_mp(&w, NULL, buf_slice(&m));
	assert_string_equal(buf_cstr(&b),
	    "{\"Modality\":\"MR\",\"v\":[-1,18446744073709551615,2.5],"
	    "\"b\":\"01ff\"}");
	buf_reset(&b);
	jw_init(&w, &b);
	jw_mp(&w, NULL, SLICE_LIT("\x81"));
	assert_string_equal(buf_cstr(&b), "null");
	buf_fini(&m);
	buf_fini(&b);
}

static void
test_writer_refuses_to_nest_without_bound(void **state)
{
	struct buf b = BUF_MAX(4096);
	struct jw w;
	int i;

	(void)state;
	jw_init(&w, &b);
	for (i = 0; i < (int)JW_DEPTH_MAX - 1; i++)
		jw_arr(&w, NULL);
	assert_int_equal(buf_err(&b), ERR_OK);
	jw_arr(&w, NULL);
	assert_int_equal(buf_err(&b), ERR_LIMIT);
	for (i = 0; i < (int)JW_DEPTH_MAX; i++)
		jw_end(&w);
	buf_fini(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_json_refuses_hostile_text),
		cmocka_unit_test(test_no_text_at_all_is_an_error),
		cmocka_unit_test(test_depth_and_nodes_at_the_bound_pass),
		cmocka_unit_test(test_messages_never_repeat_the_text),
		cmocka_unit_test(test_yaml_refuses_hostile_text),
		cmocka_unit_test(test_yaml_scalars_follow_the_1_2_core_schema),
		cmocka_unit_test(test_one_text_gives_one_tree_by_both_parsers),
		cmocka_unit_test(test_getters_are_total),
		cmocka_unit_test(test_writer_escapes_and_replaces),
		cmocka_unit_test(test_writer_turns_msgpack_into_json),
		cmocka_unit_test(test_writer_refuses_to_nest_without_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
