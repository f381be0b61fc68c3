/* node/net/proxy.h: the way out through a proxy: HTTP CONNECT (RFC 9110
 * section 9.3.6, Basic of RFC 7617) and SOCKS5 (RFC 1928, 1929).
 *
 * Pure: bytes in, bytes out, no socket.  After the proxy said yes the
 * connection is a tunnel and the Noise handshake begins in it, so a proxy
 * sees what any observer sees.  The proxy is not trusted: its answer is
 * bounded, and nothing of it but a status number reaches a message. */
#ifndef PSC_NET_PROXY_H
#define PSC_NET_PROXY_H

#include "node/conf/conf.h"
#include "store/base/buf.h"

#define PROXY_ANSWER_MAX 4096u /* bytes before the tunnel is open */

struct proxy_talk {
	enum conf_proxy_kind kind;
	const char *host; /* where to; borrowed */
	uint16_t port;
	const char *login; /* "user:password"; NULL: none; borrowed */
	uint32_t step;
	uint32_t n; /* bytes in seen */
	uint8_t seen[PROXY_ANSWER_MAX];
	char why[96]; /* after a failure: cause and next act */
};

#define PROXY_LOGIN_MAX 511u
/* "user:password", each of 1 to 255 bytes, no controls. */
enum err proxy_login_check(const char *login) PSC_MUST_USE;
/* The first bytes for the proxy; t->login may be set before.  ERR_LIMIT: the
 * host is too long. */
enum err proxy_begin(struct proxy_talk *t, enum conf_proxy_kind kind,
    const char *host, uint16_t port, struct buf *out) PSC_MUST_USE;
/* Takes from *in what belongs to the proxy; out: what to send it.  ERR_AGAIN:
 * more of its answer is needed; ERR_OK: the tunnel is open and the rest of
 * *in came through it; else refused, see why. */
enum err proxy_feed(
    struct proxy_talk *t, struct slice *in, struct buf *out) PSC_MUST_USE;

#endif
