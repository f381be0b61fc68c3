/* tests/unit/helper/test_window.c: the asynchronous operations window, byte
 * for byte. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "node/imaging/helper/window.h"
#include "store/base/buf.h"

/* An association PDU with a context and this user information. */
static void
put_pdu(struct buf *b, uint8_t type, const char *user, size_t n)
{
	buf_u8(b, type);
	buf_u8(b, 0);
	buf_be32(b, (uint32_t)(68 + 4 + 3 + 4 + n));
	buf_put_zero(b, 68);
	buf_put(b,
	    "\x10\0\0\3"
	    "1.2",
	    7);
	buf_put(b, "\x50\0\0", 3);
	buf_u8(b, (uint8_t)n);
	buf_put(b, user, n);
}

#define LENGTH "\x51\0\0\4\0\0\x40\0"
#define WINDOW "\x53\0\0\4\0\7\0\1"

static uint16_t
asked(uint8_t type, const char *user, size_t n)
{
	struct buf b = BUF_MAX(512);
	uint16_t got;

	put_pdu(&b, type, user, n);
	got = window_asked(b.p, b.n);
	buf_fini(&b);
	return got;
}

static void
test_a_request_says_its_window(void **state)
{
	(void)state;
	assert_int_equal(asked(1, LENGTH WINDOW, 16), 7);
	assert_int_equal(asked(1, WINDOW LENGTH, 16), 7);
	assert_int_equal(asked(1, LENGTH "\x53\0\0\4\0\0\0\0", 16), 0);
	assert_int_equal(asked(1, LENGTH, 8), 1);
	assert_int_equal(asked(1, LENGTH "\x53\0\0\2\0\7", 14), 1);
	assert_int_equal(asked(1, LENGTH "\x53\0\0\5\0\7\0\1", 16), 1);
	assert_int_equal(asked(2, LENGTH WINDOW, 16), 1);
	assert_int_equal(window_asked(NULL, 0), 1);
}

static void
test_every_cut_asks_for_nothing(void **state)
{
	struct buf b = BUF_MAX(512);
	size_t n;

	(void)state;
	put_pdu(&b, 1, LENGTH WINDOW, 16);
	for (n = 0; n < b.n; n++)
		assert_int_equal(window_asked(b.p, n), 1);
	buf_fini(&b);
}

static void
test_a_grant_is_the_last_of_the_user_information(void **state)
{
	struct buf b = BUF_MAX(512), want = BUF_MAX(512);
	uint8_t out[512];

	(void)state;
	put_pdu(&b, 2, LENGTH, 8);
	put_pdu(&want, 2, LENGTH WINDOW, 16);
	assert_int_equal(window_grant(b.p, b.n, 7, out), want.n);
	assert_memory_equal(out, want.p, want.n);
	b.p[0] = 3; /* a rejection */
	assert_int_equal(window_grant(b.p, b.n, 7, out), 0);
	buf_fini(&b);
	buf_fini(&want);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_request_says_its_window),
		cmocka_unit_test(test_every_cut_asks_for_nothing),
		cmocka_unit_test(
		    test_a_grant_is_the_last_of_the_user_information),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
