/* api: the table of routes, its OpenAPI document, permissions and errors, by
 * requests that never reach another room. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/expect_page.h"
#include "node/api/api_internal.h"

/* --- a client in memory --- */
struct client {
	struct buf got;
	unsigned status;
	char type[64];
	bool aborted;
	const char *args[8]; /* name, value, ... */
};

static enum err
c_begin(void *ctx, unsigned status, const char *type)
{
	struct client *c = ctx;

	assert_int_equal(c->status, 0); /* once */
	c->status = status;
	(void)snprintf(c->type, sizeof(c->type), "%s", type);
	return ERR_OK;
}

static enum err
c_write(void *ctx, struct slice s)
{
	struct client *c = ctx;

	assert_int_not_equal(c->status, 0);
	buf_put_slice(&c->got, s);
	return buf_err(&c->got);
}

static void
c_trailer(void *ctx, const char *name, const char *value)
{
	(void)ctx;
	(void)name;
	(void)value;
}

static bool
c_gone(void *ctx)
{
	(void)ctx;
	return false;
}

static void
c_abort(void *ctx)
{
	((struct client *)ctx)->aborted = true;
}

static const char *
c_arg(void *ctx, const char *name)
{
	struct client *c = ctx;
	int i;

	for (i = 0; i < 8 && c->args[i] != NULL; i += 2) {
		if (strcmp(c->args[i], name) == 0)
			return c->args[i + 1];
	}
	return NULL;
}

static struct conf conf;
static struct api *api;

static int
setup(void **state)
{
	struct api_opts o = { .conf = &conf, .unattended = true };

	(void)state;
	conf_defaults(&conf);
	(void)snprintf(conf.site, sizeof(conf.site), "centre-a");
	return api_new(&o, &api) == ERR_OK ? 0 : -1;
}

static int
teardown(void **state)
{
	(void)state;
	api_free(api);
	return 0;
}

/* The answer as JSON; freed by the caller. */
static struct json *
ask(struct client *c, const char *method, const char *path, const char *body,
    bool local)
{
	struct api_request r = { .method = method,
		.path = path,
		.arg = c_arg,
		.arg_ctx = c,
		.body = slice_str(body),
		.local = local,
		.uid = getuid() };
	struct api_out out = { c_begin, c_write, c_trailer, c_gone, c_abort,
		c };
	struct json *j = NULL;

	buf_init(&c->got, MIB);
	api_handle(api, &r, &out);
	assert_false(c->aborted);
	assert_int_equal(json_parse(buf_slice(&c->got), &j, NULL), ERR_OK);
	buf_fini(&c->got);
	return j;
}

static void
expect_error(const char *method, const char *path, const char *body,
    unsigned status, const char *cause)
{
	struct client c = { 0 };
	struct json *j = ask(&c, method, path, body, true);

	assert_int_equal(c.status, status);
	assert_string_equal(c.type, "application/json");
	assert_non_null(json_get_str(j, "error", NULL));
	assert_non_null(json_get_str(j, "next", NULL));
	if (strstr(json_get_str(j, "cause", ""), cause) == NULL)
		fail_msg("%s", json_get_str(j, "cause", ""));
	json_free(j);
}

static void
test_every_route_is_in_the_openapi_document(void **state)
{
	struct client c = { 0 };
	struct json *j = ask(&c, "GET", API_ROOT "/openapi.json", "", false);
	const struct json *paths = json_get(j, "paths");
	const char *method, *pattern;
	uint32_t i, listed = 0;
	size_t k;

	(void)state;
	assert_int_equal(c.status, 200);
	for (i = 0; api_route_at(i, &method, &pattern); i++) {
		char low[8] = "";
		const struct json *op;

		for (k = 0; method[k] != '\0'; k++)
			low[k] = (char)(method[k] + 32);
		op = json_get(json_get(paths, pattern), low);
		if (op == NULL)
			fail_msg("%s %s is not listed", method, pattern);
		assert_non_null(json_get_str(op, "summary", NULL));
		assert_non_null(json_get(op, "responses"));
	}
	for (k = 0; k < json_len(paths); k++) {
		const char *name;

		listed += (uint32_t)json_len(json_member(paths, k, &name));
	}
	assert_int_equal(listed, i); /* and nothing else */
	json_free(j);
}

static void
test_no_two_routes_take_the_same_request(void **state)
{
	const char *m1, *p1, *m2, *p2;
	uint32_t i, k;

	(void)state;
	for (i = 0; api_route_at(i, &m1, &p1); i++) {
		for (k = 0; k < i && api_route_at(k, &m2, &p2); k++)
			assert_false(
			    strcmp(m1, m2) == 0 && strcmp(p1, p2) == 0);
	}
}

static void
test_router_takes_parameters_and_nothing_beside(void **state)
{
	char param[API_PARAMS_MAX][API_PARAM_BYTES];
	char longer[400] = API_ROOT "/shares/";
	const struct api_route *r;
	bool known;

	(void)state;
	r = api_route_find(
	    "GET", API_ROOT "/assets/abc/files/7", param, &known);
	assert_non_null(r);
	assert_string_equal(param[0], "abc");
	assert_string_equal(param[1], "7");
	assert_true(api_streams("GET", API_ROOT "/assets/abc/files/7"));
	assert_false(api_streams("GET", API_ROOT "/status"));
	assert_null(api_route_find("GET", API_ROOT "/assets/", param, &known));
	assert_null(
	    api_route_find("GET", API_ROOT "/assets//files", param, &known));
	assert_null(api_route_find("GET", API_ROOT "/status/", param, &known));
	assert_null(api_route_find("GET", API_ROOT "/statu", param, &known));
	assert_null(api_route_find("GET", "/status", param, &known));
	assert_null(api_route_find("GET", "", param, &known));
	assert_false(known);
	memset(longer + strlen(longer), 'x', 255);
	assert_non_null(api_route_find("GET", longer, param, &known));
	assert_int_equal(strlen(param[0]), 255);
	longer[strlen(longer)] = 'x'; /* one more than a parameter holds */
	assert_null(api_route_find("GET", longer, param, &known));
}

static void
test_unknown_paths_and_methods_are_told_apart(void **state)
{
	(void)state;
	expect_error("GET", API_ROOT "/nothing", "", 404, "no such path");
	expect_error("GET", "/", "", 404, "no such path");
	expect_error("DELETE", API_ROOT "/status", "", 405, "method");
}

static void
test_acts_of_the_owner_are_refused_over_tcp(void **state)
{
	static const char *const paths[] = { "/imports", "/deid/lookup",
		"/quarantine/x/release", "/quarantine/x/reject",
		"/shares/x/grants", "/shares/x/invites" };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		struct client c = { 0 };
		char path[64];
		struct json *j;

		(void)snprintf(path, sizeof(path), API_ROOT "%s", paths[i]);
		j = ask(&c, "POST", path, "{\"reason\":\"x\"}", false);
		assert_int_equal(c.status, 403);
		json_free(j);
	}
}

static void
test_bodies_are_checked_before_any_room_is_asked(void **state)
{
	(void)state;
	expect_error("POST", API_ROOT "/shares", "{\"name\":", 400, "line 1");
	expect_error("POST", API_ROOT "/shares", "[]", 400, "JSON object");
	expect_error("POST", API_ROOT "/shares", "", 400, "name is missing");
	expect_error("POST", API_ROOT "/shares", "{\"nmae\":\"x\"}", 422,
	    "\"nmae\" is not known");
	expect_error("PUT", API_ROOT "/shares/s/subscription",
	    "{\"content\":\"all\",\"compartment\":7}", 400, "wrong type");
	expect_error("POST", API_ROOT "/sync/wait", "{\"timeout_ms\":1e3}", 400,
	    "wrong type");
	expect_error(
	    "POST", API_ROOT "/verify", "{\"deep\":1}", 400, "wrong type");
	expect_error("POST", API_ROOT "/shares",
	    "{\"name\":\"x\",\"compartments\":[1]}", 400, "list of names");
	expect_error("POST", API_ROOT "/peers",
	    "{\"address\":\"x\",\"key\":\"k\"}", 400, "HOST:PORT");
	expect_error("POST", API_ROOT "/peers",
	    "{\"address\":\"x:1\",\"key\":\"k\"}", 400, "not a Pesscara key");
	expect_error("POST", API_ROOT "/shares/s/invites",
	    "{\"role\":\"king\"}", 400, "role \"king\"");
	expect_error("POST", API_ROOT "/shares/s/invites",
	    "{\"role\":\"writer\",\"expires\":\"366d\"}", 400, "duration");
	expect_error("PUT", API_ROOT "/shares/s/subscription",
	    "{\"content\":\"some\"}", 422, "none, lazy, all or pin");
	expect_error(
	    "POST", API_ROOT "/imports", "{\"share\":\"s\"}", 400, "paths");
	expect_error("POST", API_ROOT "/imports",
	    "{\"share\":\"s\",\"paths\":[\"rel\"]}", 400, "absolute");
	expect_error("POST", API_ROOT "/imports",
	    "{\"share\":\"s\",\"paths\":[\"/x\"],\"no_deid\":true}", 400,
	    "reason");
	expect_error("POST", API_ROOT "/quarantine/x/reject", "{}", 400,
	    "reason is missing");
	expect_error("POST", API_ROOT "/quarantine/x/release",
	    "{\"reason\":{\"a\":1}}", 400, "wrong type");
	expect_error("POST", API_ROOT "/sync/wait", "{\"timeout_ms\":-1}", 400,
	    "timeout_ms");
	expect_error("GET", API_ROOT "/assets", "", 400, "query is missing");
	expect_error("GET", API_ROOT "/assets/x/files/-1", "", 400, "numbered");
}

static void
test_arguments_are_checked(void **state)
{
	struct client c = { .args = {
				"query", "level=series", "limit", "ten" } };
	struct json *j = ask(&c, "GET", API_ROOT "/assets", "", true);

	(void)state;
	assert_int_equal(c.status, 400);
	json_free(j);
	c = (struct client){ .args = { "as", "dvd" } };
	j = ask(&c, "GET", API_ROOT "/assets/abcdefgh/files", "", true);
	assert_int_equal(c.status, 422);
	json_free(j);
}

static void
test_config_is_shown_as_it_is(void **state)
{
	struct client c = { 0 };
	struct json *j = ask(&c, "GET", API_ROOT "/config", "", true);

	(void)state;
	assert_int_equal(c.status, 200);
	assert_string_equal(json_get_str(j, "site", ""), "centre-a");
	assert_string_equal(
	    json_get_str(json_get(j, "release"), "policy", ""), "manual");
	json_free(j);
}

static void
test_every_error_code_has_a_failing_status(void **state)
{
	int e;

	(void)state;
	assert_int_equal(api_status_of(ERR_OK), 200);
	for (e = ERR_FOREIGN; e < ERR_OK; e++)
		assert_in_range(api_status_of((enum err)e), 400, 599);
}

static void
test_actor_names_user_and_site(void **state)
{
	struct api_request r = { .uid = 0 };
	struct api_call c = { .a = api, .r = &r };
	char actor[API_ACTOR_BYTES];

	(void)state;
	api_actor(&c, actor);
	assert_string_equal(actor, "root@centre-a");
	r.uid = 3999999999u; /* nobody has it */
	api_actor(&c, actor);
	assert_string_equal(actor, "uid3999999999@centre-a");
}

static void
test_docs_rest_md_is_current(void **state)
{
	struct buf b = BUF_MAX(65000);

	(void)state;
	assert_int_equal(api_doc(&b), ERR_OK);
	expect_page(PSC_SOURCE_DIR "/docs/rest.md", buf_cstr(&b));
	buf_fini(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_route_is_in_the_openapi_document),
		cmocka_unit_test(test_no_two_routes_take_the_same_request),
		cmocka_unit_test(
		    test_router_takes_parameters_and_nothing_beside),
		cmocka_unit_test(test_unknown_paths_and_methods_are_told_apart),
		cmocka_unit_test(test_acts_of_the_owner_are_refused_over_tcp),
		cmocka_unit_test(
		    test_bodies_are_checked_before_any_room_is_asked),
		cmocka_unit_test(test_arguments_are_checked),
		cmocka_unit_test(test_config_is_shown_as_it_is),
		cmocka_unit_test(test_every_error_code_has_a_failing_status),
		cmocka_unit_test(test_actor_names_user_and_site),
		cmocka_unit_test(test_docs_rest_md_is_current),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
