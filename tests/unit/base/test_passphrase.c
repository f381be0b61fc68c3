/* A secret in a file: only its owner may read it, and a refusal names the
 * file that is meant. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "store/base/passphrase.h"

static void
test_a_refusal_names_the_file(void **state)
{
	char path[] = "/tmp/psc-secret-XXXXXX";
	struct buf b = BUF_MAX((size_t)PASSPHRASE_BYTES_MAX * 2);
	struct errmsg em = { 0 };
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "a:b\n", 4), 4);
	assert_int_equal(fchmod(fd, 0644), 0);
	(void)close(fd);
	assert_int_equal(
	    passphrase_file(path, "keys/proxy", &b, &em), ERR_DENIED);
	assert_non_null(strstr(em.cause, "keys/proxy can be read by others"));
	assert_int_equal(chmod(path, 0600), 0);
	assert_int_equal(passphrase_file(path, "keys/proxy", &b, &em), ERR_OK);
	assert_true(slice_eq(buf_slice(&b), slice_str("a:b")));
	buf_wipe(&b);
	assert_int_equal(unlink(path), 0);
	em = (struct errmsg){ 0 };
	assert_int_equal(
	    passphrase_file(path, "keys/proxy", &b, &em), ERR_NOTFOUND);
	assert_non_null(strstr(em.cause, "keys/proxy"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_refusal_names_the_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
