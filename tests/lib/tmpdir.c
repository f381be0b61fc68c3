/* tests/lib/tmpdir.c: temporary folders. */
#include "lib/tmpdir.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void
tmpdir_make(char *out)
{
	const char *base = getenv("TMPDIR");

	snprintf(out, TMPDIR_MAX, "%s/psc_test_XXXXXX",
	    base != NULL ? base : "/tmp");
	if (mkdtemp(out) == NULL) {
		perror("mkdtemp");
		abort();
	}
}

static int
entry_remove(
    const char *path, const struct stat *st, int flag, struct FTW *where)
{
	(void)st;
	(void)flag;
	(void)where;
	return remove(path);
}

void
tmpdir_remove(const char *dir)
{
	if (nftw(dir, entry_remove, 16, FTW_DEPTH | FTW_PHYS) != 0)
		perror(dir);
}
