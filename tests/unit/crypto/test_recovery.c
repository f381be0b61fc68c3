/* The recovery copy: the recovery key opens it, nothing else does, and every
 * byte that changed is noticed. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <setjmp.h>
#include <fcntl.h>
#include <unistd.h>
#include <cmocka.h>

#include "crypto/identity.h"

static struct cry_identity id;
static struct cry_box_sk rsk;
static char dir[64], path[96], secret[96];

static void
text_put(const char *name, const void *p, size_t n)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, p, n), n);
	(void)close(fd);
}

static void
secret_put(const struct cry_box_sk *sk, const char *end)
{
	char text[CRY_RECOVERY_TEXT_LEN + 8];

	cry_recovery_text(sk, text);
	(void)snprintf(text + CRY_RECOVERY_TEXT_LEN, 8, "%s", end);
	text_put(secret, text, strlen(text));
}

static int
setup(void **state)
{
	(void)state;
	(void)snprintf(dir, sizeof(dir), "/tmp/psc-recovery-XXXXXX");
	if (cry_init() != ERR_OK || mkdtemp(dir) == NULL)
		return -1;
	(void)snprintf(path, sizeof(path), "%s/recovery", dir);
	(void)snprintf(secret, sizeof(secret), "%s/secret", dir);
	cry_identity_new(&id, &rsk);
	return cry_recovery_save(path, &id, NULL) == ERR_OK ? 0 : -1;
}

static int
teardown(void **state)
{
	(void)state;
	(void)unlink(path);
	(void)unlink(secret);
	return rmdir(dir);
}

static void
test_opens(void **state)
{
	struct cry_identity got = { 0 };

	(void)state;
	secret_put(&rsk, "\n");
	assert_int_equal(cry_recovery_load(path, secret, &got, NULL), ERR_OK);
	assert_memory_equal(&got, &id, sizeof(id));
}

static void
test_refused(void **state)
{
	struct cry_identity other, got = { 0 }, none = { 0 };
	struct cry_box_sk osk;
	struct errmsg em = { 0 };

	(void)state;
	cry_identity_new(&other, &osk);
	secret_put(&osk, "");
	assert_int_equal(cry_recovery_load(path, secret, &got, &em), ERR_AUTH);
	assert_true(em.cause[0] != '\0' && em.next[0] != '\0');
	secret_put(&rsk, "x");
	assert_int_equal(cry_recovery_load(path, secret, &got, NULL), ERR_AUTH);
	text_put(secret, "", 0);
	assert_int_equal(cry_recovery_load(path, secret, &got, NULL), ERR_AUTH);
	assert_memory_equal(&got, &none, sizeof(got));
}

static void
test_every_byte(void **state)
{
	uint8_t raw[1024];
	struct cry_identity got = { 0 };
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, raw, sizeof(raw)), i;

	(void)state;
	(void)close(fd);
	assert_int_equal(n, 550);
	secret_put(&rsk, "");
	for (i = 0; i < n; i++) {
		raw[i] ^= 4;
		text_put(path, raw, (size_t)n);
		assert_int_not_equal(
		    cry_recovery_load(path, secret, &got, NULL), ERR_OK);
		raw[i] ^= 4;
	}
	text_put(path, raw, (size_t)n - 1);
	assert_int_equal(
	    cry_recovery_load(path, secret, &got, NULL), ERR_CORRUPT);
	text_put(path, raw, (size_t)n);
	assert_int_equal(cry_recovery_load(path, secret, &got, NULL), ERR_OK);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_opens),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_every_byte),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
