/* tests/unit/net/test_proxy.c: what is said to a proxy is what the RFCs ask
 * for; what it answers is bounded and its refusals are told apart. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>

#include "node/net/proxy.h"

static struct proxy_talk t;

static void
begin(enum conf_proxy_kind kind, const char *host, struct slice want)
{
	struct buf out = BUF_MAX(1024);

	assert_int_equal(proxy_begin(&t, kind, host, 443, &out), ERR_OK);
	assert_int_equal(out.n, want.n);
	assert_memory_equal(out.p, want.p, want.n);
	buf_fini(&out);
}

static enum err
feed(struct slice *in, struct slice want)
{
	struct buf out = BUF_MAX(1024);
	enum err e = proxy_feed(&t, in, &out);

	assert_int_equal(out.n, want.n);
	if (want.n > 0)
		assert_memory_equal(out.p, want.p, want.n);
	buf_fini(&out);
	return e;
}

static enum err
http(const char *answer)
{
	struct slice in = slice_str(answer);

	begin(CONF_PROXY_HTTP, "hub.example",
	    SLICE_LIT("CONNECT hub.example:443 HTTP/1.1\r\n"
		      "Host: hub.example:443\r\n\r\n"));
	return feed(&in, SLICE_LIT(""));
}

static void
connect_opens_and_keeps_what_follows(void **state)
{
	struct slice in = SLICE_LIT("HTTP/1.0 200 ok\r\nA: b\r\n\r\n\x01\x02");

	(void)state;
	begin(CONF_PROXY_HTTP, "::1",
	    SLICE_LIT("CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]:443\r\n\r\n"));
	assert_int_equal(feed(&in, SLICE_LIT("")), ERR_OK);
	assert_int_equal(in.n, 2);
}

static void
connect_refusals_are_told_apart(void **state)
{
	(void)state;
	assert_int_equal(http("HTTP/1.1 200\r\n\r\n"), ERR_OK);
	assert_int_equal(http("HTTP/1.1 200 so"), ERR_AGAIN);
	assert_int_equal(http("HTTP/1.1 407 auth\r\n\r\n"), ERR_DENIED);
	assert_non_null(strstr(t.why, "password"));
	assert_int_equal(http("HTTP/1.1 403 no\r\n\r\n"), ERR_DENIED);
	assert_non_null(strstr(t.why, "allowed"));
	assert_int_equal(http("HTTP/1.1 502 no\r\n\r\n"), ERR_IO);
	assert_non_null(strstr(t.why, "502"));
	assert_int_equal(http("SSH-2.0-OpenSSH\r\n\r\n"), ERR_MALFORMED);
	assert_int_equal(http("HTTP/1.1 2x0 no\r\n\r\n"), ERR_MALFORMED);
	assert_int_equal(http("\r\n\r\n"), ERR_MALFORMED);
}

static void
an_endless_answer_is_refused(void **state)
{
	static uint8_t many[PROXY_ANSWER_MAX + 1];
	struct slice in = slice_of(many, sizeof(many));

	(void)state;
	memset(many, 'a', sizeof(many));
	assert_int_equal(http(""), ERR_AGAIN);
	assert_int_equal(feed(&in, SLICE_LIT("")), ERR_LIMIT);
}

static void
socks_asks_by_name_and_by_number(void **state)
{
	struct slice yes = SLICE_LIT("\5\0"), in = yes;

	(void)state;
	begin(CONF_PROXY_SOCKS5, "hub.example", SLICE_LIT("\5\1\0"));
	assert_int_equal(
	    feed(&in, SLICE_LIT("\5\1\0\3\13hub.example\1\273")), ERR_AGAIN);
	in = SLICE_LIT("\5\0\0\3\2ab\0\0xy");
	assert_int_equal(feed(&in, SLICE_LIT("")), ERR_OK);
	assert_int_equal(in.n, 2);

	begin(CONF_PROXY_SOCKS5, "127.0.0.1", SLICE_LIT("\5\1\0"));
	in = yes;
	assert_int_equal(
	    feed(&in, SLICE_LIT("\5\1\0\1\177\0\0\1\1\273")), ERR_AGAIN);
	in = SLICE_LIT("\5\0\0\1\0\0\0\0\0\0");
	assert_int_equal(feed(&in, SLICE_LIT("")), ERR_OK);
	assert_int_equal(in.n, 0);
}

static enum err
socks(struct slice reply)
{
	struct slice in = SLICE_LIT("\5\0");

	begin(CONF_PROXY_SOCKS5, "127.0.0.1", SLICE_LIT("\5\1\0"));
	assert_int_equal(
	    feed(&in, SLICE_LIT("\5\1\0\1\177\0\0\1\1\273")), ERR_AGAIN);
	return feed(&reply, SLICE_LIT(""));
}

static void
socks_refusals_are_told_apart(void **state)
{
	struct slice in = SLICE_LIT("\5\377");

	(void)state;
	begin(CONF_PROXY_SOCKS5, "127.0.0.1", SLICE_LIT("\5\1\0"));
	assert_int_equal(feed(&in, SLICE_LIT("")), ERR_DENIED);
	assert_non_null(strstr(t.why, "password"));
	begin(CONF_PROXY_SOCKS5, "127.0.0.1", SLICE_LIT("\5\1\0"));
	in = SLICE_LIT("HTTP");
	assert_int_equal(feed(&in, SLICE_LIT("")), ERR_MALFORMED);
	assert_int_equal(socks(SLICE_LIT("\5\2\0\1\0\0\0\0\0\0")), ERR_DENIED);
	assert_int_equal(socks(SLICE_LIT("\5\5\0\1\0\0\0\0\0\0")), ERR_IO);
	assert_int_equal(socks(SLICE_LIT("\5\0\0\7\0\0")), ERR_MALFORMED);
	assert_int_equal(socks(SLICE_LIT("\5\0\0\1\0\0\0\0")), ERR_AGAIN);
}

static void
a_password_is_given_where_it_is_asked_for(void **state)
{
	struct slice in = SLICE_LIT("\5\2");

	(void)state;
	t.login = "Aladdin:open sesame"; /* RFC 7617 section 2 */
	begin(CONF_PROXY_HTTP, "a",
	    SLICE_LIT("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n"
		      "Proxy-Authorization: Basic "
		      "QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n"));
	t.login = "u:pw:";
	begin(CONF_PROXY_SOCKS5, "127.0.0.1", SLICE_LIT("\5\2\0\2"));
	assert_int_equal(feed(&in, SLICE_LIT("\1\1u\3pw:")), ERR_AGAIN);
	in = SLICE_LIT("\1\0");
	assert_int_equal(
	    feed(&in, SLICE_LIT("\5\1\0\1\177\0\0\1\1\273")), ERR_AGAIN);
	in = SLICE_LIT("\5\0\0\1\0\0\0\0\0\0");
	assert_int_equal(feed(&in, SLICE_LIT("")), ERR_OK);

	begin(CONF_PROXY_SOCKS5, "127.0.0.1", SLICE_LIT("\5\2\0\2"));
	in = SLICE_LIT("\5\2");
	assert_int_equal(feed(&in, SLICE_LIT("\1\1u\3pw:")), ERR_AGAIN);
	in = SLICE_LIT("\1\1");
	assert_int_equal(feed(&in, SLICE_LIT("")), ERR_DENIED);
	assert_non_null(strstr(t.why, "refuses the password"));
	t.login = NULL;
	assert_int_equal(proxy_login_check("a:b"), ERR_OK);
	assert_int_not_equal(proxy_login_check("ab"), ERR_OK);
	assert_int_not_equal(proxy_login_check(":b"), ERR_OK);
	assert_int_not_equal(proxy_login_check("a:"), ERR_OK);
	assert_int_not_equal(proxy_login_check("a:b\r\nX: y"), ERR_OK);
}

static void
only_a_proxy_is_one(void **state)
{
	static const char *const bad[] = { "", "http://", "hub:80",
		"https://a:1", "http://u:p@a:1", "http://a:0", "http://a:1/",
		"socks5://a", "socks5://[::1" };
	struct conf_proxy p;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_not_equal(conf_proxy(bad[i], &p), ERR_OK);
	assert_int_equal(conf_proxy("socks5://[::1]:1080", &p), ERR_OK);
	assert_string_equal(p.host, "::1");
	assert_int_equal(p.port, 1080);
	assert_int_equal(p.kind, CONF_PROXY_SOCKS5);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(connect_opens_and_keeps_what_follows),
		cmocka_unit_test(connect_refusals_are_told_apart),
		cmocka_unit_test(an_endless_answer_is_refused),
		cmocka_unit_test(socks_asks_by_name_and_by_number),
		cmocka_unit_test(socks_refusals_are_told_apart),
		cmocka_unit_test(a_password_is_given_where_it_is_asked_for),
		cmocka_unit_test(only_a_proxy_is_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
