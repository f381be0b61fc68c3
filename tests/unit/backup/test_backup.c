/* A file that changes between the check and the copy is noticed; the rate of
 * a backup; a recovery copy opens by its key alone. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <setjmp.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "crypto/identity.h"
#include "node/backup/backup_internal.h"

static char top[64];

static void
path_of(char out[BACKUP_PATH_MAX], const char *name)
{
	(void)snprintf(out, BACKUP_PATH_MAX, "%s/%s", top, name);
}

static int
setup(void **state)
{
	(void)state;
	(void)snprintf(top, sizeof(top), "/tmp/psc-backup-XXXXXX");
	return cry_init() == ERR_OK && mkdtemp(top) != NULL ? 0 : -1;
}

static int
teardown(void **state)
{
	char cmd[128];

	(void)state;
	(void)snprintf(cmd, sizeof(cmd), "rm -rf '%s'", top);
	return system(cmd);
}

static void
file_put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	(void)close(fd);
}

/* A backup of one file. */
static void
backup_put(const char *dir, struct backup_list *l, char file[BACKUP_PATH_MAX])
{
	static const char text[] = "site: a\n";

	(void)mkdir(dir, 0700);
	assert_int_equal(backup_folder(dir, "home"), ERR_OK);
	l->n_files = 1;
	(void)snprintf(
	    l->file[0].name, sizeof(l->file[0].name), "pesscara.yaml");
	l->file[0].bytes = strlen(text);
	cry_hash(slice_str(text), &l->file[0].hash);
	assert_int_equal(backup_file_path(file, dir, &l->file[0]), ERR_OK);
	file_put(file, text);
	assert_int_equal(backup_list_write(dir, l, NULL), ERR_OK);
}

static void
test_changed_while_restored(void **state)
{
	struct backup_list *l = mem_new(sizeof(*l));
	char dir[BACKUP_PATH_MAX], home[BACKUP_PATH_MAX];
	char file[BACKUP_PATH_MAX], mark[BACKUP_PATH_MAX];
	struct backup_report r;

	(void)state;
	path_of(dir, "backup");
	path_of(home, "home");
	path_of(mark, "home/" BACKUP_RESTORING);
	backup_put(dir, l, file);
	assert_int_equal(backup_restore(dir, home, &r, NULL), ERR_OK);
	file_put(file, "site: b\n"); /* of the same length */
	assert_int_equal(backup_files_restore(dir, home, l), ERR_CORRUPT);
	/* What is not whole is written over; whole, the mark goes. */
	assert_int_equal(access(mark, F_OK), 0);
	assert_int_equal(backup_restore(dir, home, &r, NULL), ERR_CORRUPT);
	file_put(file, "site: a\n");
	assert_int_equal(backup_restore(dir, home, &r, NULL), ERR_OK);
	assert_int_equal(backup_restored(home), ERR_OK);
	assert_int_not_equal(access(mark, F_OK), 0);
	assert_int_equal(backup_restore(dir, home, &r, NULL), ERR_EXISTS);
	mem_free(l);
}

static void
test_pace(void **state)
{
	struct backup_pace p = { .bytes_per_s = 10 * MIB, .began_ms = 5000 };

	(void)state;
	assert_int_equal(backup_pace_wait_ms(&p, 5000), 0);
	p.bytes = 30 * MIB;
	assert_in_range(backup_pace_wait_ms(&p, 5000), 2990, 3010);
	assert_in_range(backup_pace_wait_ms(&p, 7000), 990, 1010);
	assert_int_equal(backup_pace_wait_ms(&p, 8100), 0);
	p.bytes = (uint64_t)1 << 62; /* nothing overflows */
	assert_true(backup_pace_wait_ms(&p, 5000) > 1000000);
	p.bytes_per_s = 0;
	assert_int_equal(backup_pace_wait_ms(&p, 5000), 0);
	p.bytes_per_s = 1;
	p.bytes = 3;
	assert_int_equal(backup_pace_wait_ms(&p, 5000), 3000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_changed_while_restored),
		cmocka_unit_test(test_pace),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
