/* node/loop/loop_listen.c: a listening socket. */
#include "node/loop/loop_tcp.h"

#define LISTEN_BACKLOG 64

struct loop_listen {
	uv_tcp_t uv;
	struct loop *loop;
	loop_fn fn;
	void *ctx;
};

static void
listen_cb(uv_stream_t *h, int status)
{
	struct loop_listen *s = h->data;

	if (status == 0)
		s->fn(s->ctx);
}

static void
listen_closed_cb(uv_handle_t *h)
{
	mem_free(h->data);
}

/* Set-up runs before the loop does, so a name may be resolved in place. */
static int
listen_address(struct loop *l, const char *host, uint16_t port,
    struct sockaddr_storage *out)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	uv_getaddrinfo_t req;
	int rc;

	if (loop_addr_numeric(host, port, out) == ERR_OK)
		return 0;
	rc = uv_getaddrinfo(&l->uv, &req, NULL, host, NULL, &hints);
	if (rc != 0)
		return rc;
	memcpy(out, req.addrinfo->ai_addr, req.addrinfo->ai_addrlen);
	loop_addr_set_port(out, port);
	uv_freeaddrinfo(req.addrinfo);
	return 0;
}

enum err
loop_listen_new(struct loop *l, const char *host, uint16_t port, loop_fn fn,
    void *ctx, struct loop_listen **out)
{
	struct sockaddr_storage sa = { 0 };
	struct loop_listen *s = mem_new(sizeof(*s));
	int rc;

	if (s == NULL)
		return ERR_NOMEM;
	s->loop = l;
	s->fn = fn;
	s->ctx = ctx;
	s->uv.data = s;
	rc = listen_address(l, host, port, &sa);
	if (rc == 0)
		rc = uv_tcp_init(&l->uv, &s->uv);
	if (rc != 0) {
		mem_free(s);
		return loop_err(rc);
	}
	rc = uv_tcp_bind(&s->uv, (const struct sockaddr *)&sa, 0);
	if (rc == 0)
		rc =
		    uv_listen((uv_stream_t *)&s->uv, LISTEN_BACKLOG, listen_cb);
	if (rc != 0) {
		loop_listen_close(s);
		return loop_err(rc);
	}
	*out = s;
	return ERR_OK;
}

enum err
loop_listen_take(struct loop_listen *s, const struct loop_conn_cb *cb,
    void *ctx, struct loop_conn **out)
{
	struct loop_conn *c;
	enum err e;
	int rc;

	if ((e = loop_tcp_new(s->loop, cb, ctx, &c)) != ERR_OK)
		return e;
	rc = uv_accept((uv_stream_t *)&s->uv, (uv_stream_t *)&c->uv);
	if (rc != 0) {
		loop_conn_close(c); /* `closed` tells the caller's ctx */
		*out = c;
		return ERR_OK;
	}
	loop_tcp_ready(c);
	*out = c;
	return ERR_OK;
}

void
loop_listen_addr(const struct loop_listen *s, char out[LOOP_ADDR_TEXT])
{
	struct sockaddr_storage sa;
	int n = (int)sizeof(sa);

	out[0] = '\0';
	if (uv_tcp_getsockname(&s->uv, (struct sockaddr *)&sa, &n) == 0)
		loop_addr_text((struct sockaddr *)&sa, out);
}

void
loop_listen_close(struct loop_listen *s)
{
	if (s != NULL)
		uv_close((uv_handle_t *)&s->uv, listen_closed_cb);
}
