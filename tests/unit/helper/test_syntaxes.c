/* docs/receiver.md names every transfer syntax that we take, and no other. */
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <stdarg.h>
#include <cmocka.h>

#include <string.h>

#include "node/imaging/helper/dcm_shim.h"

#define ROOT "1.2.840.10008.1.2"

static void
test_the_guide_lists_what_is_taken(void **state)
{
	static char text[1 << 16];
	FILE *f = fopen(PSC_SOURCE_DIR "/docs/receiver.md", "r");
	const char *uid, *at;
	size_t n, i, rows = 0;
	char row[64];

	(void)state;
	assert_non_null(f);
	n = fread(text, 1, sizeof(text) - 1, f);
	(void)fclose(f);
	text[n] = '\0';
	for (i = 0; (uid = shim_syntax_at(i)) != NULL; i++) {
		assert_true(shim_syntax_known(uid));
		assert_memory_equal(uid, ROOT, sizeof(ROOT) - 1);
		(void)snprintf(row, sizeof(row), "\n| %s | ",
		    uid[sizeof(ROOT) - 1] == '\0' ? "(none)"
						  : uid + sizeof(ROOT) - 1);
		if (strstr(text, row) == NULL)
			fail_msg("docs/receiver.md lacks %s", uid);
	}
	for (at = text; (at = strstr(at, "\n| .")) != NULL; at++)
		rows++;
	assert_int_equal(rows + 1, i);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_guide_lists_what_is_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
