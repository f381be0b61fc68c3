/* node/net/proxy.c: what is said to a proxy and what it may answer.
 *
 * CONNECT: one request; the answer is a header that ends with an empty line,
 * its first line "HTTP/1.x NNN ..." with NNN 2xx.  SOCKS5: greeting, choice
 * of method, request, reply.  An answer is taken byte by byte until it is
 * whole, so that nothing of the tunnel is eaten.  Failures: another protocol
 * answers, the proxy refuses, its answer is longer than PROXY_ANSWER_MAX. */
#include <arpa/inet.h>

#include "node/net/proxy.h"
#include "store/base/num.h"

#define SOCKS_VERSION 5u
#define SOCKS_NO_PASSWORD 0u
#define SOCKS_PASSWORD 2u
#define SOCKS_CONNECT 1u
#define SOCKS_V4 1u
#define SOCKS_NAME 3u
#define SOCKS_V6 4u
#define SOCKS_HEAD 5u /* of a reply: to the first byte of the address */

#define WRONG_LOGIN "the proxy refuses the password: mend keys/proxy"
#define LOGIN_WANTED                                                           \
	"the proxy wants a password: put user:password into keys/proxy"

enum proxy_step { WAIT_HEADER, WAIT_METHOD, WAIT_LOGIN, WAIT_REPLY, OPEN };

static enum err
refuse(struct proxy_talk *t, enum err e, const char *why)
{
	(void)snprintf(t->why, sizeof(t->why), "%s", why);
	return e;
}

enum err
proxy_login_check(const char *login)
{
	const char *colon = strchr(login, ':'), *s;
	size_t user, n = strlen(login);

	if (colon == NULL)
		return ERR_MALFORMED;
	user = (size_t)(colon - login);
	if (user == 0 || user > 255 || n - user - 1 == 0 || n - user - 1 > 255)
		return ERR_LIMIT;
	for (s = login; *s != '\0'; s++) {
		if ((unsigned char)*s < ' ' || *s == 0x7f)
			return ERR_MALFORMED;
	}
	return ERR_OK;
}

/* --- HTTP CONNECT --- */

/* RFC 4648 section 4. */
static void
put_base64(struct buf *out, struct slice in)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				       "abcdefghijklmnopqrstuvwxyz"
				       "0123456789+/";
	uint32_t v, k;
	size_t i, n;

	for (i = 0; i < in.n; i += 3) {
		n = in.n - i < 3 ? in.n - i : 3;
		v = (uint32_t)in.p[i] << 16;
		v |= n > 1 ? (uint32_t)in.p[i + 1] << 8 : 0;
		v |= n > 2 ? in.p[i + 2] : 0u;
		for (k = 0; k < 4; k++)
			buf_u8(out,
			    k <= n ? (uint8_t)alphabet[v >> (18 - 6 * k) & 63]
				   : (uint8_t)'=');
	}
}

static void
connect_request(const struct proxy_talk *t, struct buf *out)
{
	bool v6 = strchr(t->host, ':') != NULL;
	uint32_t i;

	for (i = 0; i < 2; i++) {
		buf_put_str(out, i == 0 ? "CONNECT " : "Host: ");
		buf_printf(out, v6 ? "[%s]:%u" : "%s:%u", t->host, t->port);
		buf_put_str(out, i == 0 ? " HTTP/1.1\r\n" : "\r\n");
	}
	if (t->login != NULL) {
		buf_put_str(out, "Proxy-Authorization: Basic ");
		put_base64(out, slice_str(t->login));
		buf_put_str(out, "\r\n");
	}
	buf_put_str(out, "\r\n");
}

static enum err
connect_status(struct proxy_talk *t)
{
	uint64_t code;

	if (t->n < 13 || memcmp(t->seen, "HTTP/1.", 7) != 0 ||
	    t->seen[8] != ' ' ||
	    num_u64(slice_of(t->seen + 9, 3), 100, 999, &code) != ERR_OK)
		return refuse(t, ERR_MALFORMED,
		    "peers.proxy is no HTTP proxy: check its port and kind");
	if (code / 100 == 2)
		return ERR_OK;
	if (code == 407)
		return refuse(t, ERR_DENIED,
		    t->login == NULL ? LOGIN_WANTED : WRONG_LOGIN);
	(void)snprintf(t->why, sizeof(t->why),
	    code == 403 || code == 405
		? "the proxy refuses (%u): have this address and port allowed"
		: "the proxy cannot reach it (%u): check the peer's address",
	    (unsigned)code);
	return code == 403 || code == 405 ? ERR_DENIED : ERR_IO;
}

static bool
header_whole(const struct proxy_talk *t)
{
	return t->n >= 4 && memcmp(t->seen + t->n - 4, "\r\n\r\n", 4) == 0;
}

/* --- SOCKS5 --- */

static void
socks_request(const struct proxy_talk *t, struct buf *out)
{
	uint8_t a[16];
	size_t n = strlen(t->host);

	buf_u8(out, SOCKS_VERSION);
	buf_u8(out, SOCKS_CONNECT);
	buf_u8(out, 0);
	if (inet_pton(AF_INET, t->host, a) == 1) {
		buf_u8(out, SOCKS_V4);
		buf_put(out, a, 4);
	} else if (inet_pton(AF_INET6, t->host, a) == 1) {
		buf_u8(out, SOCKS_V6);
		buf_put(out, a, 16);
	} else { /* the proxy resolves it */
		buf_u8(out, SOCKS_NAME);
		buf_u8(out, (uint8_t)n);
		buf_put(out, t->host, n);
	}
	buf_u8(out, (uint8_t)(t->port >> 8));
	buf_u8(out, (uint8_t)t->port);
}

/* RFC 1929. */
static void
socks_login(const struct proxy_talk *t, struct buf *out)
{
	const char *colon = strchr(t->login, ':');

	REQUIRE(colon != NULL);
	buf_u8(out, 1);
	buf_u8(out, (uint8_t)(colon - t->login));
	buf_put(out, t->login, (size_t)(colon - t->login));
	buf_u8(out, (uint8_t)strlen(colon + 1));
	buf_put_str(out, colon + 1);
}

static enum err
socks_login_answer(struct proxy_talk *t, struct buf *out)
{
	if (t->seen[0] != 1 || t->seen[1] != 0)
		return refuse(t, ERR_DENIED, WRONG_LOGIN);
	socks_request(t, out);
	t->step = WAIT_REPLY;
	t->n = 0;
	return ERR_AGAIN;
}

static enum err
socks_method(struct proxy_talk *t, struct buf *out)
{
	if (t->seen[0] != SOCKS_VERSION)
		return refuse(t, ERR_MALFORMED,
		    "peers.proxy is no SOCKS5 proxy: check its port and kind");
	if (t->seen[1] == SOCKS_PASSWORD && t->login != NULL) {
		socks_login(t, out);
		t->step = WAIT_LOGIN;
		t->n = 0;
		return ERR_AGAIN;
	}
	if (t->seen[1] != SOCKS_NO_PASSWORD)
		return refuse(t, ERR_DENIED,
		    t->login == NULL ? LOGIN_WANTED : WRONG_LOGIN);
	socks_request(t, out);
	t->step = WAIT_REPLY;
	t->n = 0;
	return ERR_AGAIN;
}

/* How long the reply is, as far as can be told; 0: of no known form. */
static uint32_t
socks_reply_bytes(const struct proxy_talk *t)
{
	if (t->n < SOCKS_HEAD)
		return SOCKS_HEAD;
	switch (t->seen[3]) {
	case SOCKS_V4: return 4 + 4 + 2;
	case SOCKS_NAME: return 5 + t->seen[4] + 2u;
	case SOCKS_V6: return 4 + 16 + 2;
	default: return 0;
	}
}

static enum err
socks_reply(struct proxy_talk *t)
{
	/* RFC 1928 section 6 */
	if (t->seen[0] != SOCKS_VERSION)
		return refuse(t, ERR_MALFORMED,
		    "peers.proxy is no SOCKS5 proxy: check its port and kind");
	if (t->seen[1] == 0)
		return ERR_OK;
	(void)snprintf(t->why, sizeof(t->why),
	    t->seen[1] == 2
		? "the proxy refuses (%u): have this address and port allowed"
		: "the proxy cannot reach it (%u): check the peer's address",
	    (unsigned)t->seen[1]);
	return t->seen[1] == 2 ? ERR_DENIED : ERR_IO;
}

/* --- both --- */

/* Called after each byte: is what we wait for whole, and what then? */
static enum err
answer_look(struct proxy_talk *t, struct buf *out)
{
	uint32_t want;

	if (t->step == WAIT_HEADER)
		return header_whole(t) ? connect_status(t) : ERR_AGAIN;
	if (t->step == WAIT_METHOD)
		return t->n == 2 ? socks_method(t, out) : ERR_AGAIN;
	if (t->step == WAIT_LOGIN)
		return t->n == 2 ? socks_login_answer(t, out) : ERR_AGAIN;
	want = socks_reply_bytes(t);
	if (want == 0)
		return refuse(t, ERR_MALFORMED,
		    "peers.proxy is no SOCKS5 proxy: check its port and kind");
	return t->n == want ? socks_reply(t) : ERR_AGAIN;
}

enum err
proxy_begin(struct proxy_talk *t, enum conf_proxy_kind kind, const char *host,
    uint16_t port, struct buf *out)
{
	REQUIRE(kind != CONF_PROXY_OFF);
	memset(t->why, 0, sizeof(t->why));
	t->n = 0;
	t->kind = kind;
	t->host = host;
	t->port = port;
	if (strlen(host) > 255)
		return refuse(t, ERR_LIMIT, "the host's name is too long");
	if (kind == CONF_PROXY_HTTP) {
		t->step = WAIT_HEADER;
		connect_request(t, out);
	} else {
		t->step = WAIT_METHOD;
		buf_u8(out, SOCKS_VERSION);
		buf_u8(out, t->login == NULL ? 1 : 2);
		buf_u8(out, SOCKS_NO_PASSWORD);
		if (t->login != NULL)
			buf_u8(out, SOCKS_PASSWORD);
	}
	return buf_err(out);
}

enum err
proxy_feed(struct proxy_talk *t, struct slice *in, struct buf *out)
{
	enum err e = ERR_AGAIN;

	REQUIRE(t->step != OPEN);
	while (e == ERR_AGAIN && in->n > 0) {
		if (t->n == PROXY_ANSWER_MAX)
			return refuse(t, ERR_LIMIT,
			    "the proxy's answer is too long: check its port");
		t->seen[t->n++] = in->p[0];
		*in = slice_of(in->p + 1, in->n - 1);
		e = answer_look(t, out);
	}
	if (e == ERR_OK)
		t->step = OPEN;
	return e == ERR_OK || e == ERR_AGAIN
		   ? (buf_err(out) != ERR_OK ? buf_err(out) : e)
		   : e;
}
