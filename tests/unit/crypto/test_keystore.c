/* The keystore file: what was saved is loaded, and every other file, secret
 * or mode is refused for its own reason. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <setjmp.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "crypto/keyfile.h"
#include "crypto/keystore_internal.h"
#include "store/base/mem.h"

#define CHEAP                                                                  \
	{                                                                      \
		.passes = 1, .kib = 64                                         \
	}

static struct cry_identity id;
static char dir[64], path[96], cred[96], spare[96];

static enum err
save(const char *passphrase, const char *credential)
{
	const struct keystore_save_params p = { .path = path,
		.id = &id,
		.passphrase = passphrase,
		.credential_path = credential,
		.cost = CHEAP };

	return keystore_save(&p, NULL);
}

static enum err
load(const char *passphrase, const char *credential, struct cry_identity *out)
{
	struct errmsg em = { 0 };
	enum err e = cry_keystore_load(path, passphrase, credential, out, &em);

	/* Who is refused is told why and what to do. */
	if (e != ERR_OK && e != ERR_NOMEM) {
		assert_int_equal(em.code, e);
		assert_true(em.cause[0] != '\0' && em.next[0] != '\0');
	}
	return e;
}

static size_t
file_get(const char *name, uint8_t *out, size_t cap)
{
	FILE *f = fopen(name, "rb");
	size_t n;

	assert_non_null(f);
	n = fread(out, 1, cap, f);
	(void)fclose(f);
	return n;
}

static void
file_put(const char *name, const uint8_t *p, size_t n)
{
	FILE *f = fopen(name, "wb");

	assert_non_null(f);
	assert_int_equal(fwrite(p, 1, n, f), n);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(name, 0600), 0);
}

static void
test_passphrase_round_trip(void **state)
{
	struct cry_identity got;

	(void)state;
	assert_int_equal(save("correct horse", NULL), 0);
	assert_int_equal(load("correct horse", NULL, &got), 0);
	assert_memory_equal(&got, &id, sizeof(got));
}

static void
test_wrong_missing_or_empty_passphrase_is_auth(void **state)
{
	struct cry_identity got, before;

	(void)state;
	memset(&got, 0xA5, sizeof(got));
	before = got;
	assert_int_equal(save("correct horse", NULL), 0);
	assert_int_equal(load("correct hors", NULL, &got), ERR_AUTH);
	assert_int_equal(load("", NULL, &got), ERR_AUTH);
	assert_int_equal(load(NULL, NULL, &got), ERR_AUTH);
	assert_int_equal(load(NULL, cred, &got), ERR_AUTH);
	/* Nothing was given out. */
	assert_memory_equal(&got, &before, sizeof(got));
}

static void
test_credential_is_made_once_and_opens(void **state)
{
	uint8_t a[64], b[64];
	struct cry_identity got;
	struct stat st;

	(void)state;
	assert_int_equal(save(NULL, cred), 0);
	assert_int_equal(stat(cred, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(file_get(cred, a, sizeof(a)), 32);
	assert_int_equal(load(NULL, cred, &got), 0);
	assert_memory_equal(&got, &id, sizeof(got));
	/* A second save keeps the credential. */
	assert_int_equal(save(NULL, cred), 0);
	assert_int_equal(file_get(cred, b, sizeof(b)), 32);
	assert_memory_equal(a, b, 32);
}

static void
test_wrong_absent_or_short_credential_is_refused(void **state)
{
	uint8_t bad[33] = { 1, 2, 3 };
	struct cry_identity got;

	(void)state;
	assert_int_equal(save(NULL, cred), 0);
	file_put(spare, bad, 32);
	assert_int_equal(load(NULL, spare, &got), ERR_AUTH);
	file_put(spare, bad, 31);
	assert_int_equal(load(NULL, spare, &got), ERR_AUTH);
	file_put(spare, bad, 33);
	assert_int_equal(load(NULL, spare, &got), ERR_AUTH);
	assert_int_equal(unlink(spare), 0);
	assert_int_equal(load(NULL, spare, &got), ERR_NOTFOUND);
	/* Loading never makes one. */
	assert_int_equal(access(spare, F_OK), -1);
	assert_int_equal(load("passphrase", NULL, &got), ERR_AUTH);
}

/* rulings.md 8: an unattended start runs no Argon2. */
static void
test_credential_file_names_no_argon2_cost(void **state)
{
	uint8_t file[1024];

	(void)state;
	assert_int_equal(save(NULL, cred), 0);
	(void)file_get(path, file, sizeof(file));
	assert_int_equal(file[5], 2);
	assert_memory_equal(file + 8, "\0\0\0\0\0\0\0\0", 8);
}

static void
test_truncated_or_grown_file_is_corrupt(void **state)
{
	uint8_t file[1024];
	struct cry_identity got;
	size_t n, i;

	(void)state;
	assert_int_equal(save(NULL, cred), 0);
	n = file_get(path, file, sizeof(file));
	for (i = 0; i < n; i += 13) {
		file_put(path, file, i);
		assert_int_equal(load(NULL, cred, &got), ERR_CORRUPT);
	}
	file[n] = 0;
	file_put(path, file, n + 1);
	assert_int_equal(load(NULL, cred, &got), ERR_CORRUPT);
	file_put(path, file, n);
	assert_int_equal(load(NULL, cred, &got), 0);
}

static void
test_flipped_bit_is_corrupt_not_a_wrong_passphrase(void **state)
{
	uint8_t file[1024];
	struct cry_identity got;
	size_t n, i;

	(void)state;
	assert_int_equal(save("p", NULL), 0);
	n = file_get(path, file, sizeof(file));
	for (i = 0; i < n; i++) {
		file[i] ^= (uint8_t)(1u << (i % 8));
		file_put(path, file, n);
		assert_int_equal(load("p", NULL, &got), ERR_CORRUPT);
		file[i] ^= (uint8_t)(1u << (i % 8));
	}
}

/* Rewrite a field and make the checksum fit: what an attacker would do. */
static void
forge(size_t at, uint8_t v)
{
	uint8_t file[1024];
	struct cry_id sum;
	size_t n = file_get(path, file, sizeof(file));

	file[at] = v;
	cry_hash(slice_of(file, n - 32), &sum);
	memcpy(file + n - 32, sum.b, 32);
	file_put(path, file, n);
}

static void
test_forged_header_is_refused(void **state)
{
	struct cry_identity got;

	(void)state;
	assert_int_equal(save("p", NULL), 0);
	forge(11, 0x7f); /* passes: billions; must not be run */
	assert_int_equal(load("p", NULL, &got), ERR_CORRUPT);
	assert_int_equal(save("p", NULL), 0);
	forge(15, 0x7f); /* terabytes of memory */
	assert_int_equal(load("p", NULL, &got), ERR_CORRUPT);
	assert_int_equal(save("p", NULL), 0);
	forge(8, 0); /* no passes at all */
	assert_int_equal(load("p", NULL, &got), ERR_CORRUPT);
	assert_int_equal(save("p", NULL), 0);
	forge(4, 2); /* a version of the future */
	assert_int_equal(load("p", NULL, &got), ERR_UNSUPPORTED);
	assert_int_equal(save("p", NULL), 0);
	forge(5, 3); /* a kind of the future */
	assert_int_equal(load("p", NULL, &got), ERR_UNSUPPORTED);
	assert_int_equal(save("p", NULL), 0);
	forge(0, 'X');
	assert_int_equal(load("p", NULL, &got), ERR_CORRUPT);
	assert_int_equal(save("p", NULL), 0);
	forge(20, 0); /* salt, then ciphertext */
	forge(21, 0);
	assert_int_equal(load("p", NULL, &got), ERR_AUTH);
	assert_int_equal(save("p", NULL), 0);
	forge(100, 0);
	forge(101, 0);
	assert_int_equal(load("p", NULL, &got), ERR_AUTH);
}

static void
test_modes_too_open_are_denied(void **state)
{
	static const mode_t open_modes[] = { 0640, 0604, 0620, 0602, 0644 };
	struct cry_identity got;
	size_t i;

	(void)state;
	assert_int_equal(save(NULL, cred), 0);
	for (i = 0; i < sizeof(open_modes) / sizeof(open_modes[0]); i++) {
		assert_int_equal(chmod(path, open_modes[i]), 0);
		assert_int_equal(load(NULL, cred, &got), ERR_DENIED);
		assert_int_equal(chmod(path, 0600), 0);
		assert_int_equal(chmod(cred, open_modes[i]), 0);
		assert_int_equal(load(NULL, cred, &got), ERR_DENIED);
		assert_int_equal(chmod(cred, 0600), 0);
	}
	assert_int_equal(chmod(cred, 0400), 0);
	assert_int_equal(load(NULL, cred, &got), 0);
	assert_int_equal(chmod(cred, 0600), 0);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(load(NULL, cred, &got), ERR_DENIED);
	assert_int_equal(rmdir(path), 0);
}

static void
test_absent_file_is_notfound(void **state)
{
	struct cry_identity got;

	(void)state;
	(void)unlink(path);
	assert_int_equal(load("p", NULL, &got), ERR_NOTFOUND);
}

static void
test_save_is_atomic_and_private(void **state)
{
	uint8_t before[1024], after[1024];
	char temp[128];
	struct cry_identity got;
	struct stat st;
	size_t n;

	(void)state;
	assert_int_equal(save("old", NULL), 0);
	n = file_get(path, before, sizeof(before));
	/* A stale temp file of a crash, even a readable one, is replaced. */
	(void)snprintf(temp, sizeof(temp), "%s.new", path);
	file_put(temp, before, 5);
	assert_int_equal(chmod(temp, 0666), 0);
	assert_int_equal(save("new", NULL), 0);
	assert_int_equal(access(temp, F_OK), -1);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(load("new", NULL, &got), 0);
	assert_int_equal(load("old", NULL, &got), ERR_AUTH);
	/* When the temp file cannot be made, the old file stays whole. */
	n = file_get(path, before, sizeof(before));
	assert_int_equal(mkdir(temp, 0700), 0);
	assert_int_not_equal(save("newer", NULL), 0);
	assert_int_equal(file_get(path, after, sizeof(after)), n);
	assert_memory_equal(before, after, n);
	assert_int_equal(rmdir(temp), 0);
}

static void
test_save_without_folder_or_secret_fails(void **state)
{
	struct errmsg em = { 0 };

	(void)state;
	assert_int_equal(
	    keyfile_write("/proc/none/x", SLICE_LIT("x"), &em), ERR_NOTFOUND);
	assert_int_equal(em.code, ERR_NOTFOUND);
	assert_int_equal(save(NULL, NULL), ERR_AUTH);
}

static void
test_no_secret_stands_in_clear_in_the_file(void **state)
{
	const uint8_t *secrets[] = { id.site_sk.b, id.sign_sk.b, id.box_sk.b,
		id.local.b, id.convergence.b };
	uint8_t file[1024];
	size_t n, i;

	(void)state;
	assert_int_equal(save("p", NULL), 0);
	n = file_get(path, file, sizeof(file));
	for (i = 0; i < 5; i++)
		assert_null(memmem(file, n, secrets[i], 16));
	/* Positive control: the search finds what is there. */
	assert_non_null(memmem(file, n, "PSCK", 4));
}

static void
test_every_failing_allocation_is_reported(void **state)
{
	struct cry_identity got;
	enum err e = ERR_NOMEM;
	long n;

	(void)state;
	for (n = 0; n < 50 && e != ERR_OK; n++) {
		mem_fail_at(n);
		e = save(NULL, cred);
		mem_fail_at(-1);
		assert_true(e == ERR_OK || e == ERR_NOMEM);
	}
	assert_true(e == ERR_OK && n > 3);
	for (n = 0, e = ERR_NOMEM; n < 50 && e != ERR_OK; n++) {
		mem_fail_at(n);
		e = load(NULL, cred, &got);
		mem_fail_at(-1);
		assert_true(e == ERR_OK || e == ERR_NOMEM);
	}
	assert_true(e == ERR_OK && n > 2);
}

/* One run at the real cost, so that it is known to work. */
static void
test_production_cost_saves_and_loads(void **state)
{
	struct cry_identity got;

	(void)state;
	assert_int_equal(cry_keystore_save(path, &id, "p", NULL, NULL), 0);
	assert_int_equal(load("p", NULL, &got), 0);
	assert_memory_equal(&got, &id, sizeof(got));
}

static int
setup(void **state)
{
	struct cry_box_sk recovery;

	(void)state;
	if (cry_init() != ERR_OK)
		return -1;
	cry_identity_new(&id, &recovery);
	(void)snprintf(dir, sizeof(dir), "/tmp/psc_keystore.XXXXXX");
	if (mkdtemp(dir) == NULL)
		return -1;
	(void)snprintf(path, sizeof(path), "%s/keystore", dir);
	(void)snprintf(cred, sizeof(cred), "%s/credential", dir);
	(void)snprintf(spare, sizeof(spare), "%s/spare", dir);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	(void)unlink(path);
	(void)unlink(cred);
	(void)unlink(spare);
	return rmdir(dir); /* fails if a temp file was left */
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_passphrase_round_trip),
		cmocka_unit_test(
		    test_wrong_missing_or_empty_passphrase_is_auth),
		cmocka_unit_test(test_credential_is_made_once_and_opens),
		cmocka_unit_test(
		    test_wrong_absent_or_short_credential_is_refused),
		cmocka_unit_test(test_credential_file_names_no_argon2_cost),
		cmocka_unit_test(test_truncated_or_grown_file_is_corrupt),
		cmocka_unit_test(
		    test_flipped_bit_is_corrupt_not_a_wrong_passphrase),
		cmocka_unit_test(test_forged_header_is_refused),
		cmocka_unit_test(test_modes_too_open_are_denied),
		cmocka_unit_test(test_absent_file_is_notfound),
		cmocka_unit_test(test_save_is_atomic_and_private),
		cmocka_unit_test(test_save_without_folder_or_secret_fails),
		cmocka_unit_test(test_no_secret_stands_in_clear_in_the_file),
		cmocka_unit_test(test_every_failing_allocation_is_reported),
		cmocka_unit_test(test_production_cost_saves_and_loads),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
