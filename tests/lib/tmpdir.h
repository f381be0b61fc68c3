/* tests/lib/tmpdir.h: a folder of its own for a test that touches the disk. */
#ifndef PSC_TESTS_TMPDIR_H
#define PSC_TESTS_TMPDIR_H

/* Makes an empty folder below $TMPDIR or /tmp; fails the process if it
 * cannot.  out holds TMPDIR_MAX bytes. */
#define TMPDIR_MAX 256
void tmpdir_make(char *out);
/* Removes it and all that is in it. */
void tmpdir_remove(const char *dir);

#endif
