/* cli: the command line, what reaches a terminal, and how paths are written. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/expect_page.h"
#include "cli/cli_internal.h"

static struct cli c; /* 40 KB */
static struct errmsg em;

/* "a b c" apart at spaces; no quoting is needed here. */
static enum err
parse(const char *line)
{
	static char text[512];
	static char *argv[64];
	int argc = 0;
	char *at = text, *word;

	(void)snprintf(text, sizeof(text), "%s", line);
	while ((word = strsep(&at, " ")) != NULL && argc < 63)
		argv[argc++] = word;
	argv[argc] = NULL;
	return cli_args_parse(argc, argv, &c.args, &em);
}

static void
expect_bad(const char *line, const char *cause)
{
	assert_int_equal(parse(line), ERR_MALFORMED);
	if (strstr(em.cause, cause) == NULL)
		fail_msg("\"%s\": %s", line, em.cause);
}

static void
test_the_longest_verb_wins_and_options_stand_anywhere(void **state)
{
	(void)state;
	assert_int_equal(parse("pesscara --json share create T --home /h "
			       "--compartment a --compartment=b "
			       "--allow-identified"),
	    ERR_OK);
	assert_string_equal(c.args.verb->name, "share create");
	assert_string_equal(cli_word(&c, 0), "T");
	assert_null(cli_word(&c, 1));
	assert_true(c.args.json);
	assert_string_equal(c.args.home, "/h");
	assert_string_equal(cli_opt_at(&c, "compartment", 0), "a");
	assert_string_equal(cli_opt_at(&c, "compartment", 1), "b");
	assert_null(cli_opt_at(&c, "compartment", 2));
	assert_string_equal(cli_opt(&c, "compartment"), "b");
	assert_true(cli_flag(&c, "allow-identified"));
	assert_int_equal(parse("pesscara deid lookup import F"), ERR_OK);
	assert_string_equal(c.args.verb->name, "deid lookup import");
	assert_int_equal(parse("pesscara --home=/x get A B -o D"), ERR_OK);
	assert_string_equal(cli_opt(&c, "o"), "D");
	assert_int_equal(c.args.n_words, 2);
	assert_int_equal(parse("pesscara get A -oD"), ERR_OK);
	assert_string_equal(cli_opt(&c, "o"), "D");
	assert_int_equal(parse("pesscara import --share s -- --odd"), ERR_OK);
	assert_string_equal(cli_word(&c, 0), "--odd");
}

static void
test_wrong_usage_says_what_is_wrong(void **state)
{
	(void)state;
	expect_bad("pesscara", "no command");
	expect_bad("pesscara impotr x", "did you mean import");
	expect_bad("pesscara share", "needs another word");
	expect_bad("pesscara share crate x", "did you mean share create");
	expect_bad("pesscara share frobnicate", "\"share frobnicate\"");
	expect_bad("pesscara shar list", "did you mean share");
	expect_bad("pesscara deid lookup", "needs another word");
	expect_bad("pesscara find", "find needs QUERY");
	expect_bad("pesscara find a b", "takes only QUERY");
	expect_bad("pesscara status x", "takes no arguments");
	expect_bad("pesscara find q --shar s", "did you mean --share");
	expect_bad("pesscara find q --share", "needs a value");
	expect_bad("pesscara find q --count=1", "takes no value");
	expect_bad("pesscara find q -x", "unknown option -x");
	expect_bad("pesscara find q \xff", "not UTF-8");
	expect_bad("pesscara frobnicate --x", "unknown command");
}

static void
test_help_and_version_need_nothing_else(void **state)
{
	(void)state;
	assert_int_equal(parse("pesscara --help"), ERR_OK);
	assert_true(c.args.help);
	assert_int_equal(parse("pesscara help"), ERR_OK);
	assert_true(c.args.help);
	assert_int_equal(parse("pesscara share --help"), ERR_OK);
	assert_string_equal(c.args.group, "share");
	assert_int_equal(parse("pesscara find --help"), ERR_OK);
	assert_string_equal(c.args.verb->name, "find");
	assert_int_equal(parse("pesscara --version"), ERR_OK);
	assert_true(c.args.version);
}

static void
test_every_verb_has_help_and_a_unique_name(void **state)
{
	uint32_t i, k;

	(void)state;
	for (i = 0; i < cli_n_verbs; i++) {
		assert_true(strlen(cli_verbs[i].help) > 5);
		assert_non_null(cli_verbs[i].run);
		assert_true(cli_verbs[i].min <= cli_verbs[i].max);
		assert_true(
		    (cli_verbs[i].max == 0) == (cli_verbs[i].args[0] == '\0'));
		for (k = 0; k < i; k++)
			assert_string_not_equal(
			    cli_verbs[i].name, cli_verbs[k].name);
	}
}

/* What f prints. */
static const char *
printed(void (*print)(FILE *to, const char *s), const char *s)
{
	static char text[256];
	FILE *to = fmemopen(text, sizeof(text), "w");

	assert_non_null(to);
	print(to, s);
	(void)fputc('\0', to);
	assert_int_equal(fclose(to), 0);
	return text;
}

static void
test_no_control_character_reaches_the_terminal(void **state)
{
	(void)state;
	assert_string_equal(
	    printed(cli_print_text, "a\x1b[31mb\r\n\x07\x7f\xc2\x9b"
				    "31mc"),
	    "a?[31mb?????31mc");
	assert_string_equal(printed(cli_print_text, "M\xc3\xbcnchen \xc2\xb5"),
	    "M\xc3\xbcnchen \xc2\xb5");
}

static void
test_cells(void **state)
{
	static const struct {
		const char *json, *cell;
	} cases[] = { { "\"x\"", "x" }, { "\"\"", "-" }, { "null", "-" },
		{ "7", "7" }, { "1.5", "1.5" }, { "true", "yes" },
		{ "[]", "-" }, { "[1,\"a\"]", "1,a" },
		{ "{\"k\":1}", "{\"k\":1}" } };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		json_t *j = json_loads(cases[i].json, JSON_DECODE_ANY, NULL);
		struct buf b = BUF_MAX(256);

		cli_cell(&b, j);
		assert_string_equal(buf_cstr(&b), cases[i].cell);
		buf_fini(&b);
		json_decref(j);
	}
}

static void
test_paths_are_escaped(void **state)
{
	struct buf b = BUF_MAX(256);

	(void)state;
	buf_put_str(&b, "/assets");
	cli_path_arg(&b, "query", "A=\"x y\"&b");
	cli_path_arg(&b, "none", NULL);
	cli_path_arg(&b, "limit", "3");
	assert_string_equal(
	    buf_cstr(&b), "/assets?query=A%3D%22x%20y%22%26b&limit=3");
	buf_reset(&b);
	cli_path_add(&b, "../a/b?\xc3\xa4");
	assert_string_equal(buf_cstr(&b), "/..%2Fa%2Fb%3F%C3%A4");
	buf_fini(&b);
}

static void
test_sizes_for_people(void **state)
{
	char text[16];

	(void)state;
	cli_bytes_text(0, text);
	assert_string_equal(text, "0 B");
	cli_bytes_text(999, text);
	assert_string_equal(text, "999 B");
	cli_bytes_text(1500, text);
	assert_string_equal(text, "1.5 KB");
	cli_bytes_text(UINT64_MAX, text);
	assert_string_equal(text, "18447 PB");
}

static int
run(const char *line, char *err, size_t cap)
{
	char cmd[512];
	FILE *p;
	size_t n;

	(void)snprintf(cmd, sizeof(cmd), "%s/pesscara %s 2>&1 >/dev/null",
	    PSC_BIN_DIR, line);
	p = popen(cmd, "r");
	assert_non_null(p);
	n = fread(err, 1, cap - 1, p);
	err[n] = '\0';
	return pclose(p) >> 8;
}

static void
test_exit_status_and_error_shape(void **state)
{
	char err[1024];
	json_t *j;

	(void)state;
	if (access(PSC_BIN_DIR "/pesscara", X_OK) != 0)
		skip();
	assert_int_equal(run("--help", err, sizeof(err)), 0);
	assert_string_equal(err, "");
	assert_int_equal(run("--home /tmp find", err, sizeof(err)), 2);
	assert_int_equal(
	    run("--home /nonexistent --json status", err, sizeof(err)), 1);
	j = json_loads(err, 0, NULL);
	assert_non_null(json_string_value(json_object_get(j, "error")));
	assert_non_null(json_string_value(json_object_get(j, "cause")));
	assert_non_null(json_string_value(json_object_get(j, "next")));
	json_decref(j);
}

static void
test_docs_cli_md_is_current(void **state)
{
	char *text = NULL;
	size_t n = 0;
	FILE *to = open_memstream(&text, &n);

	(void)state;
	assert_non_null(to);
	cli_doc(to);
	assert_int_equal(fclose(to), 0);
	expect_page(PSC_SOURCE_DIR "/docs/cli.md", text);
	free(text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    test_the_longest_verb_wins_and_options_stand_anywhere),
		cmocka_unit_test(test_wrong_usage_says_what_is_wrong),
		cmocka_unit_test(test_help_and_version_need_nothing_else),
		cmocka_unit_test(test_every_verb_has_help_and_a_unique_name),
		cmocka_unit_test(
		    test_no_control_character_reaches_the_terminal),
		cmocka_unit_test(test_cells),
		cmocka_unit_test(test_paths_are_escaped),
		cmocka_unit_test(test_sizes_for_people),
		cmocka_unit_test(test_exit_status_and_error_shape),
		cmocka_unit_test(test_docs_cli_md_is_current),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
