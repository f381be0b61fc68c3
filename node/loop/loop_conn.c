/* node/loop/loop_conn.c: a TCP connection.
 *
 * Happy path: dial (resolve, connect) or take from a listener, read on,
 * writes queue in libuv, close.  Any failure closes the connection with a
 * reason; `closed` is called once, when nothing refers to it any more. */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "node/loop/loop_tcp.h"

struct conn_write {
	uv_write_t uv;
	struct loop_conn *c;
	struct buf b;
};

static void
conn_release(struct loop_conn *c)
{
	REQUIRE(c->busy > 0);
	if (--c->busy > 0)
		return;
	c->cb.closed(c->ctx, c->why, c->text);
	mem_free(c);
}

static void
conn_closed_cb(uv_handle_t *h)
{
	conn_release(h->data);
}

static void
conn_fail(struct loop_conn *c, enum err why, const char *text)
{
	if (c->closing)
		return;
	c->closing = true;
	c->why = why;
	(void)snprintf(c->text, sizeof(c->text), "%s", text);
	if (c->resolving)
		(void)uv_cancel((uv_req_t *)&c->resolve);
	uv_close((uv_handle_t *)&c->uv, conn_closed_cb);
}

void
loop_conn_close(struct loop_conn *c)
{
	if (c != NULL)
		conn_fail(c, ERR_OK, "closed");
}

enum err
loop_tcp_new(struct loop *l, const struct loop_conn_cb *cb, void *ctx,
    struct loop_conn **out)
{
	struct loop_conn *c = mem_new(sizeof(*c));
	int rc;

	if (c == NULL)
		return ERR_NOMEM;
	rc = uv_tcp_init(&l->uv, &c->uv);
	if (rc != 0) {
		mem_free(c);
		return loop_err(rc);
	}
	c->uv.data = c;
	c->loop = l;
	c->cb = *cb;
	c->ctx = ctx;
	c->busy = 1;
	*out = c;
	return ERR_OK;
}

void
loop_tcp_ready(struct loop_conn *c)
{
	struct sockaddr_storage sa;
	int n = (int)sizeof(sa);

	(void)uv_tcp_nodelay(&c->uv, 1);
	(void)uv_tcp_keepalive(&c->uv, 1, 30);
	if (uv_tcp_getpeername(&c->uv, (struct sockaddr *)&sa, &n) == 0)
		loop_addr_text((struct sockaddr *)&sa, c->addr);
	c->up = true;
}

static void
conn_connect_cb(uv_connect_t *req, int status)
{
	struct loop_conn *c = req->data;

	if (c->closing)
		return;
	if (status != 0) {
		conn_fail(c, loop_err(status), uv_strerror(status));
		return;
	}
	loop_tcp_ready(c);
	c->cb.up(c->ctx);
}

static void
conn_connect(struct loop_conn *c, const struct sockaddr *sa)
{
	int rc;

	c->connect.data = c;
	rc = uv_tcp_connect(&c->connect, &c->uv, sa, conn_connect_cb);
	if (rc != 0)
		conn_fail(c, loop_err(rc), uv_strerror(rc));
}

static void
conn_resolve_cb(uv_getaddrinfo_t *req, int status, struct addrinfo *res)
{
	struct loop_conn *c = req->data;
	const struct addrinfo *ai;
	struct sockaddr_storage sa = { 0 };
	uint32_t n = 0, pick;

	c->resolving = false;
	if (status != 0)
		conn_fail(c, loop_err(status), uv_strerror(status));
	for (ai = res; ai != NULL; ai = ai->ai_next)
		n++;
	if (!c->closing && n > 0) {
		ai = res;
		for (pick = c->attempt % n; pick > 0; pick--)
			ai = ai->ai_next;
		memcpy(&sa, ai->ai_addr, ai->ai_addrlen);
		loop_addr_set_port(&sa, c->port);
		conn_connect(c, (const struct sockaddr *)&sa);
	}
	uv_freeaddrinfo(res);
	conn_release(c);
}

static int
conn_resolve(struct loop_conn *c, const char *host)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	int rc;

	c->resolve.data = c;
	rc = uv_getaddrinfo(
	    &c->loop->uv, &c->resolve, conn_resolve_cb, host, NULL, &hints);
	if (rc == 0) {
		c->busy++;
		c->resolving = true;
	}
	return rc;
}

enum err
loop_conn_dial(struct loop *l, const struct loop_dial *d,
    const struct loop_conn_cb *cb, void *ctx, struct loop_conn **out)
{
	struct sockaddr_storage sa;
	struct loop_conn *c = NULL;
	enum err e;
	int rc;

	if ((e = loop_tcp_new(l, cb, ctx, &c)) != ERR_OK)
		return e;
	REQUIRE(c != NULL);
	c->port = d->port;
	c->attempt = d->attempt;
	if (loop_addr_numeric(d->host, d->port, &sa) == ERR_OK) {
		conn_connect(c, (const struct sockaddr *)&sa);
	} else {
		rc = conn_resolve(c, d->host);
		if (rc != 0)
			conn_fail(c, loop_err(rc), uv_strerror(rc));
	}
	*out = c;
	return ERR_OK;
}

static void
conn_alloc_cb(uv_handle_t *h, size_t hint, uv_buf_t *into)
{
	struct loop_conn *c = h->data;

	(void)hint;
	*into = uv_buf_init((char *)c->in, (unsigned)sizeof(c->in));
}

static void
conn_read_cb(uv_stream_t *h, ssize_t n, const uv_buf_t *into)
{
	struct loop_conn *c = h->data;

	(void)into; /* always c->in */
	if (n == UV_EOF)
		conn_fail(c, ERR_IO, "the other side closed the connection");
	else if (n < 0)
		conn_fail(c, loop_err((int)n), uv_strerror((int)n));
	else if (n > 0)
		c->cb.read(c->ctx, slice_of(c->in, (size_t)n));
}

void
loop_conn_read(struct loop_conn *c, bool on)
{
	int rc;

	if (c->closing || !c->up || c->reading == on)
		return;
	c->reading = on;
	if (!on) {
		(void)uv_read_stop((uv_stream_t *)&c->uv);
		return;
	}
	rc = uv_read_start((uv_stream_t *)&c->uv, conn_alloc_cb, conn_read_cb);
	if (rc != 0)
		conn_fail(c, loop_err(rc), uv_strerror(rc));
}

static void
conn_write_cb(uv_write_t *req, int status)
{
	struct conn_write *w = req->data;
	struct loop_conn *c = w->c;

	buf_fini(&w->b);
	mem_free(w);
	if (c->closing)
		return;
	if (status != 0)
		conn_fail(c, loop_err(status), uv_strerror(status));
	else
		c->cb.wrote(c->ctx);
}

enum err
loop_conn_write(struct loop_conn *c, struct buf *b)
{
	struct conn_write *w;
	uv_buf_t part;
	int rc;

	if (c->closing || !c->up || b->n == 0) {
		buf_fini(b);
		return ERR_OK;
	}
	if ((w = mem_new(sizeof(*w))) == NULL) {
		buf_fini(b);
		return ERR_NOMEM;
	}
	w->uv.data = w;
	w->c = c;
	w->b = *b;
	*b = BUF_EMPTY;
	part = uv_buf_init((char *)w->b.p, (unsigned)w->b.n);
	rc = uv_write(&w->uv, (uv_stream_t *)&c->uv, &part, 1, conn_write_cb);
	if (rc != 0) {
		buf_fini(&w->b);
		mem_free(w);
		conn_fail(c, loop_err(rc), uv_strerror(rc));
	}
	return loop_err(rc);
}

size_t
loop_conn_pending(const struct loop_conn *c)
{
	return uv_stream_get_write_queue_size((const uv_stream_t *)&c->uv);
}

void
loop_conn_unsent(struct loop_conn *c, size_t bytes)
{
	int n = (int)bytes;
	uv_os_fd_t fd;

	if (uv_fileno((const uv_handle_t *)&c->uv, &fd) == 0)
		(void)setsockopt(
		    fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &n, sizeof(n));
}

void
loop_conn_addr(const struct loop_conn *c, char out[LOOP_ADDR_TEXT])
{
	memcpy(out, c->addr, LOOP_ADDR_TEXT);
}
