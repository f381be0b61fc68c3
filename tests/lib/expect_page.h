/* tests/lib/expect_page.h: pages of docs/ that are made from tables. */
#ifndef PSC_TESTS_EXPECT_PAGE_H
#define PSC_TESTS_EXPECT_PAGE_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

/* The page in docs/ is what the table says; PSC_UPDATE_DOCS writes it. */
static void
expect_page(const char *path, const char *want)
{
	static char have[65536];
	FILE *f;
	size_t n;

	if (getenv("PSC_UPDATE_DOCS") != NULL) {
		f = fopen(path, "w");
		assert_non_null(f);
		assert_true(fputs(want, f) >= 0);
		assert_int_equal(fclose(f), 0);
	}
	f = fopen(path, "r");
	assert_non_null(f);
	n = fread(have, 1, sizeof(have) - 1, f);
	have[n] = '\0';
	assert_int_equal(fclose(f), 0);
	assert_string_equal(have, want);
}

#endif
