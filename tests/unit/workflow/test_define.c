/* The workflow loader is the validator: what it refuses, and how it says so. */
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <stdarg.h>
#include <cmocka.h>

#include "node/workflow/workflow_internal.h"

#define GOOD_HEAD "name: to-nifti\nversion: 1\n"
#define GOOD_TRIGGER                                                           \
	"trigger:\n  arrival:\n    where: level=series and Modality=MR\n"
#define GOOD_STEPS "steps:\n  - id: nifti\n    builtin: convert\n"

static void
test_shipped_example_is_good(void **state)
{
	char text[4096], path[512], name[LIM_NAME_BYTES + 1];
	struct errmsg em = { 0 };
	size_t n;
	FILE *f;

	(void)state;
	(void)snprintf(path, sizeof(path),
	    "%s/tests/data/workflows/to-nifti.yaml", PSC_SOURCE_DIR);
	f = fopen(path, "r");
	assert_non_null(f);
	n = fread(text, 1, sizeof(text), f);
	(void)fclose(f);
	assert_int_equal(workflow_check(slice_of(text, n), name, &em), ERR_OK);
	assert_string_equal(name, "to-nifti");
}

struct bad {
	const char *yaml;
	const char *says; /* must be in the cause */
};

static void
test_each_mistake_is_refused_and_named(void **state)
{
	static const struct bad bad[] = {
		{ "", "" },
		{ "name: [unclosed", "" },
		{ GOOD_HEAD GOOD_TRIGGER GOOD_STEPS "colour: red\n", "colour" },
		{ "name: a b\nversion: 1\n" GOOD_TRIGGER GOOD_STEPS, "a b" },
		{ "name: x\nversion: 2\n" GOOD_TRIGGER GOOD_STEPS, "version" },
		{ GOOD_HEAD GOOD_STEPS, "trigger" },
		{ GOOD_HEAD "trigger:\n  sunrise:\n    where: "
			    "level=series\n" GOOD_STEPS,
		    "sunrise" },
		{ GOOD_HEAD
		    "trigger:\n  arrival:\n    where: 'level=='\n" GOOD_STEPS,
		    "" },
		{ GOOD_HEAD GOOD_TRIGGER "steps: []\n", "steps" },
		{ GOOD_HEAD GOOD_TRIGGER
		    "steps:\n  - id: n\n    builtin: transmogrify\n",
		    "transmogrify" },
		{ GOOD_HEAD GOOD_TRIGGER GOOD_STEPS
		    "    with:\n      to: papyrus\n",
		    "papyrus" },
		{ GOOD_HEAD GOOD_TRIGGER
		    "steps:\n  - id: a-name-longer-than-24-bytes\n"
		    "    builtin: convert\n",
		    "id" },
	};
	char name[LIM_NAME_BYTES + 1];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct errmsg em = { 0 };

		assert_int_not_equal(
		    workflow_check(slice_str(bad[i].yaml), name, &em), ERR_OK);
		assert_true(em.cause[0] != '\0');
		assert_non_null(strstr(em.cause, bad[i].says));
	}
}

static void
test_size_is_bounded(void **state)
{
	struct buf b = BUF_MAX(WF_YAML_MAX + 100);
	char name[LIM_NAME_BYTES + 1];
	struct errmsg em = { 0 };

	(void)state;
	buf_put_str(&b, GOOD_HEAD GOOD_TRIGGER GOOD_STEPS "# ");
	while (b.n < WF_YAML_MAX)
		buf_u8(&b, 'x');
	assert_int_equal(workflow_check(buf_slice(&b), name, &em), ERR_OK);
	buf_u8(&b, 'x');
	assert_int_equal(workflow_check(buf_slice(&b), name, &em), ERR_LIMIT);
	buf_fini(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shipped_example_is_good),
		cmocka_unit_test(test_each_mistake_is_refused_and_named),
		cmocka_unit_test(test_size_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
