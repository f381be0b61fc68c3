/* node/tls/tls.h: TLS for those who connect to us, ended in the node
 * (rulings.md 13): behind it lies a plain socket that a confined helper may
 * have, which never sees a key.
 *
 * TLS 1.2 and 1.3 with forward secrecy only (BCP 195, PS3.15 B.9).  A server
 * is immutable; any number of threads may open connections with it. */
#ifndef PSC_TLS_TLS_H
#define PSC_TLS_TLS_H

#include "store/base/err.h"

struct tls_files {           /* PEM */
	const char *cert;    /* ours, and those that signed it */
	const char *key;     /* mode 0600 or tighter */
	const char *clients; /* who signs our callers; NULL: anybody may call */
};

struct tls_server;
enum err tls_server_new(const struct tls_files *f, struct tls_server **out,
    struct errmsg *em) PSC_MUST_USE;
void tls_server_free(struct tls_server *s); /* NULL ok; no connection left */

/* Blocks for the handshake, up to 10 s; fd stays the caller's, and open until
 * tls_close().  *plain is the caller's, to be read and written as the peer
 * would be.  em: why a handshake failed. */
struct tls_conn;
enum err tls_open(struct tls_server *s, int fd, int *plain,
    struct tls_conn **out, struct errmsg *em) PSC_MUST_USE;
/* What was written to plain is sent before; then both sides are cut. */
void tls_close(struct tls_conn *c); /* NULL ok */

#endif
