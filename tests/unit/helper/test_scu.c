/* The asking side of an association, byte for byte: what it asks for, what it
 * believes of an answer, and that no cut, size or lie of a peer gets past
 * it. */
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <stdarg.h>
#include <cmocka.h>

#include <sys/socket.h>
#include <unistd.h>

#include "node/imaging/helper/scu.h"

#define FIND "1.2.840.10008.5.1.4.1.2.2.1"
#define CT "1.2.840.10008.5.1.4.1.1.2"
#define EXPLICIT "1.2.840.10008.1.2.1"

static const char *const implicit_only[] = { SCU_IMPLICIT };
static const char *const both[] = { EXPLICIT, SCU_IMPLICIT };
static const struct scu_want wants[] = {
	{ FIND, implicit_only, 1, false },
	{ CT, both, 2, true },
	{ CT, implicit_only, 1, true },
};
static const struct scu_request request = { "ME", "ARCHIVE", wants, 3 };

static bool
holds(const struct buf *b, const char *bytes, size_t n)
{
	return memmem(b->p, b->n, bytes, n) != NULL;
}

static void
test_a_request_holds_contexts_titles_and_one_role_a_class(void **state)
{
	static const char role[] = "\x54\0\0\x1d\0\x19" CT "\0\1";
	struct buf b = BUF_MAX(64 * KIB);
	const uint8_t *at;

	(void)state;
	scu_put_request(&b, &request);
	assert_int_equal(buf_err(&b), ERR_OK);
	assert_int_equal(b.p[0], 1);
	assert_int_equal((size_t)b.p[4] << 8 | b.p[5], b.n - 6);
	assert_memory_equal(b.p + 10, "ARCHIVE         ME              ", 32);
	assert_true(holds(&b, "\x20\0\0\x38\1\0\0\0\x30\0\0\x1b" FIND, 39));
	assert_true(holds(&b, "\3\0\0\0\x30\0\0\x19" CT, 33));
	at = memmem(b.p, b.n, role, sizeof(role) - 1);
	assert_non_null(at);
	assert_null(memmem(
	    at + 1, b.n - (size_t)(at + 1 - b.p), role, sizeof(role) - 1));
	buf_fini(&b);
}

/* Body of an A-ASSOCIATE-AC: context 1 and 5 accepted, 3 refused. */
static void
put_accept(struct buf *b)
{
	buf_put_zero(b, 68);
	buf_put(b,
	    "\x10\0\0\3"
	    "1.2",
	    7);
	buf_put(b, "\x21\0\0\x19\1\0\0\0\x40\0\0\x11" SCU_IMPLICIT, 29);
	buf_put(b,
	    "\x21\0\0\x09\3\0\3\0\x40\0\0\1"
	    "1",
	    13);
	buf_put(b, "\x21\0\0\x1b\5\0\0\0\x40\0\0\x13" EXPLICIT, 31);
	buf_put(b, "\x50\0\0\x08\x51\0\0\4\0\0\x40\0", 12);
}

static void
test_an_accept_is_read_and_no_cut_of_it_is_believed_whole(void **state)
{
	struct buf b = BUF_MAX(1 * KIB);
	struct scu_accepted a;
	size_t n;

	(void)state;
	put_accept(&b);
	assert_int_equal(scu_get_accept(buf_slice(&b), &a), ERR_OK);
	assert_string_equal(a.syntax[0], SCU_IMPLICIT);
	assert_string_equal(a.syntax[1], "");
	assert_string_equal(a.syntax[2], EXPLICIT);
	assert_int_equal(a.max_pdu, 16384);
	for (n = 0; n < b.n; n++) {
		struct scu_accepted less;

		if (scu_get_accept(slice_of(b.p, n), &less) != ERR_OK)
			continue;
		/* between two items */
		assert_int_equal(less.max_pdu, 0);
	}
	b.p[68 + 7 + 4] = 2; /* an even context id */
	assert_int_equal(scu_get_accept(buf_slice(&b), &a), ERR_MALFORMED);
	buf_fini(&b);
}

/* A peer whose answer to the request is these bytes, and then it closes. */
static enum err
answered(struct scu *s, const void *p, size_t n, char why[64])
{
	int sv[2];
	enum err e;

	*s = (struct scu){ .fd = -1 };
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	assert_int_equal(write(sv[1], p, n), (ssize_t)n);
	(void)shutdown(sv[1], SHUT_WR);
	e = scu_open(s, sv[0], 2000, &request, why);
	(void)close(sv[1]);
	return e;
}

static void
put_pdu(struct buf *b, uint8_t type, struct slice body)
{
	buf_u8(b, type);
	buf_u8(b, 0);
	buf_be32(b, (uint32_t)body.n);
	buf_put_slice(b, body);
}

static void
test_answers_to_the_request(void **state)
{
	static const struct {
		const char *bytes;
		size_t n;
		enum err e;
		const char *why;
	} t[] = {
		{ "\3\0\0\0\0\4\0\1\1\7", 10, ERR_DENIED,
		    "rejected: called AE title not recognised" },
		{ "\3\0\0\0\0\4\0\1\1\3", 10, ERR_DENIED,
		    "rejected: calling AE title not recognised" },
		{ "\3\0\0\0\0\4\0\2\3\2", 10, ERR_DENIED,
		    "rejected: local limit exceeded" },
		{ "\3\0\0\0\0\4\0\1\1\xff", 10, ERR_DENIED,
		    "rejected: no reason given" },
		{ "\3\0\0\0\0\0", 6, ERR_DENIED, "rejected: no reason given" },
		{ "\7\0\0\0\0\4\0\0\0\0", 10, ERR_IO, "" },
		{ "\2\0\0\0\0\4\0\1\1\7", 10, ERR_MALFORMED, "" },
		{ "\2\0\xff\xff\xff\xff", 6, ERR_MALFORMED, "" },
		{ "HTTP/1.1 400 Bad", 16, ERR_MALFORMED, "" },
		{ "\2\0", 2, ERR_IO, "" },
		{ "", 0, ERR_IO, "" },
	};
	char why[64];
	struct scu s;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		assert_int_equal(answered(&s, t[i].bytes, t[i].n, why), t[i].e);
		assert_string_equal(why, t[i].why);
		scu_close(&s);
	}
}

static void
expect_pdv(const void *pdus, size_t n, enum err want)
{
	struct buf b = BUF_MAX(4 * KIB), body = BUF_MAX(1 * KIB);
	struct scu_pdv pdv;
	char why[64];
	struct scu s;
	enum err e;

	put_accept(&body);
	put_pdu(&b, 2, buf_slice(&body));
	buf_put(&b, pdus, n);
	assert_int_equal(answered(&s, b.p, b.n, why), ERR_OK);
	assert_string_equal(s.accepted.syntax[2], EXPLICIT);
	e = scu_next_pdv(&s, &pdv);
	assert_int_equal(e, want);
	if (e == ERR_OK) {
		assert_int_equal(pdv.context_id, 5);
		assert_true(pdv.command && pdv.last);
		assert_true(slice_eq(pdv.data, SLICE_LIT("abc")));
		/* the second of the same PDU */
		assert_int_equal(scu_next_pdv(&s, &pdv), ERR_OK);
		assert_true(!pdv.command && !pdv.last);
		assert_int_equal(pdv.data.n, 0);
		assert_int_equal(scu_next_pdv(&s, &pdv), ERR_IO);
	}
	scu_close(&s);
	buf_fini(&b);
	buf_fini(&body);
}

static void
test_pdvs(void **state)
{
	(void)state;
	expect_pdv("\4\0\0\0\0\x0f\0\0\0\5\5\3"
		   "abc\0\0\0\2\7\0",
	    21, ERR_OK);
	expect_pdv("\4\0\0\0\0\6\0\0\0\5\5\3", 12, ERR_MALFORMED);
	expect_pdv("\4\0\0\0\0\6\0\0\0\1\5\3", 12, ERR_MALFORMED);
	expect_pdv("\4\0\0\0\0\3\0\0\0", 9, ERR_MALFORMED);
	expect_pdv("\4\0\0\2\0\1", 6, ERR_MALFORMED); /* 128 KiB and 1 */
	expect_pdv("\5\0\0\0\0\4\0\0\0\0", 10, ERR_NOTFOUND);
	expect_pdv("\7\0\0\0\0\4\0\0\0\0", 10, ERR_IO);
	expect_pdv("\1\0\0\0\0\4\0\0\0\0", 10, ERR_MALFORMED);
	expect_pdv("\4\0\0\0\0\x0f\0\0", 8, ERR_IO);
}

static void
test_a_silent_peer_is_left(void **state)
{
	char why[64];
	struct scu s = { .fd = -1 };
	int sv[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	assert_int_equal(scu_open(&s, sv[0], 50, &request, why), ERR_TIMEOUT);
	scu_close(&s);
	(void)close(sv[1]);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    test_a_request_holds_contexts_titles_and_one_role_a_class),
		cmocka_unit_test(
		    test_an_accept_is_read_and_no_cut_of_it_is_believed_whole),
		cmocka_unit_test(test_answers_to_the_request),
		cmocka_unit_test(test_pdvs),
		cmocka_unit_test(test_a_silent_peer_is_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
