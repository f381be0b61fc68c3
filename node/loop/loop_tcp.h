/* node/loop/loop_tcp.h: a connection, for loop_conn.c and loop_listen.c. */
#ifndef PSC_LOOP_TCP_H
#define PSC_LOOP_TCP_H

#include "node/loop/loop_internal.h"
#include "store/base/limits.h"

/* One read; several frames of the peer protocol fit. */
#define LOOP_READ_BYTES (64 * KIB)

struct loop_conn {
	uv_tcp_t uv;
	struct loop *loop;
	struct loop_conn_cb cb;
	void *ctx;
	uint32_t busy; /* handle open, resolving: freed at 0 */
	bool up;
	bool reading;
	bool closing;
	bool resolving;
	enum err why;
	char text[96];
	char addr[LOOP_ADDR_TEXT];
	/* dialling */
	uv_getaddrinfo_t resolve;
	uv_connect_t connect;
	uint16_t port;
	uint32_t attempt;
	uint8_t in[LOOP_READ_BYTES];
};

/* A connection with an initialised handle, not yet connected. */
enum err loop_tcp_new(struct loop *l, const struct loop_conn_cb *cb, void *ctx,
    struct loop_conn **out) PSC_MUST_USE;
/* The socket is connected: options, address. */
void loop_tcp_ready(struct loop_conn *c);

#endif
