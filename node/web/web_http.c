/* node/web/web_http.c: from HTTP to struct api_request and back.
 *
 * Happy path: the head is checked (who, how much), the body collected, the
 * request handed to api; the answer goes out as one buffer or as a stream.
 * Failure: who may not gets 401 or 403 before the body is read; a body above
 * LIM_REST_BODY_BYTES gets 413; a stream that cannot be finished is cut
 * without its last chunk, so that the client sees it. */
#include "node/web/web_internal.h"

#include <poll.h>
#include <sys/socket.h>

#include "node/ops/log.h"
#include "store/base/enc.h"
#include "store/base/mem.h"
#include "store/base/passphrase.h"
#include "store/base/num.h"

#define WEB_JSON "application/json"

static enum MHD_Result
web_send(struct web_req *r, unsigned status, struct MHD_Response *resp,
    const char *type)
{
	enum MHD_Result ok = MHD_YES;

	if (resp == NULL)
		return MHD_NO;
	if (*type != '\0')
		ok = MHD_add_response_header(resp, "Content-Type", type);
	if (ok == MHD_YES && status == 401)
		ok =
		    MHD_add_response_header(resp, "WWW-Authenticate", "Bearer");
	if (ok == MHD_YES)
		ok = MHD_add_response_header(resp, "Cache-Control", "no-store");
	if (ok == MHD_YES)
		ok = MHD_add_response_header(
		    resp, "X-Content-Type-Options", "nosniff");
	if (ok == MHD_YES)
		ok = MHD_queue_response(r->conn, status, resp);
	MHD_destroy_response(resp);
	return ok;
}

/* The answer is in r->a.q, which lives until web_completed(). */
static enum MHD_Result
web_send_buffer(struct web_req *r)
{
	return web_send(r, r->a.status,
	    MHD_create_response_from_buffer(
		r->a.q.n, r->a.q.p, MHD_RESPMEM_PERSISTENT),
	    r->a.type);
}

static enum MHD_Result
web_refuse(struct web_req *r, unsigned status, const struct errmsg *em)
{
	buf_reset(&r->a.q);
	api_error_json(em, &r->a.q);
	r->a.status = status;
	(void)snprintf(r->a.type, sizeof(r->a.type), "%s", WEB_JSON);
	r->handled = true;
	return web_send_buffer(r);
}

/* --- the head --- */
static bool
web_peer_uid(struct MHD_Connection *conn, uid_t *uid)
{
	const union MHD_ConnectionInfo *ci =
	    MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct ucred cred;
	socklen_t n = sizeof(cred);

	if (ci == NULL ||
	    getsockopt(ci->connect_fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) != 0)
		return false;
	*uid = cred.uid;
	return true;
}

static const char *
web_header(struct MHD_Connection *conn, const char *name)
{
	return MHD_lookup_connection_value(conn, MHD_HEADER_KIND, name);
}

/* 0: may go on; else the status of the refusal. */
static unsigned
web_admit(struct web_req *r, struct errmsg *em)
{
	const char *auth = web_header(r->conn, "Authorization");

	r->uid = r->w->owner;
	if (r->local) {
		if (web_peer_uid(r->conn, &r->uid) && r->uid == r->w->owner)
			return 0;
		(void)errmsg_set(em, ERR_DENIED,
		    "Run the command as the user who owns the node.",
		    "this socket belongs to another user");
		return 403;
	}
	if (auth != NULL && strncasecmp(auth, "Bearer ", 7) == 0 &&
	    web_token_equal(r->w->token, auth + 7))
		return 0;
	(void)errmsg_set(em, ERR_AUTH,
	    "Send the header Authorization: Bearer TOKEN; the token is in "
	    "the file rest-token of the node's home.",
	    "a token is needed here");
	return 401;
}

static bool
web_body_fits(struct web_req *r)
{
	const char *len = web_header(r->conn, "Content-Length");
	uint64_t n;

	return len == NULL ||
	       num_u64(slice_str(len), 0, LIM_REST_BODY_BYTES, &n) == ERR_OK;
}

/* False: the node stops. */
static bool
web_enlist(struct web_req *r)
{
	struct web *w = r->w;
	bool ok;

	(void)pthread_mutex_lock(&w->mu);
	ok = !w->stopping;
	if (ok) {
		r->next = w->live;
		if (w->live != NULL)
			w->live->prev = r;
		w->live = r;
	}
	(void)pthread_mutex_unlock(&w->mu);
	return ok;
}

static void
web_delist(struct web_req *r)
{
	struct web *w = r->w;

	(void)pthread_mutex_lock(&w->mu);
	if (r->prev != NULL)
		r->prev->next = r->next;
	else if (w->live == r)
		w->live = r->next;
	if (r->next != NULL)
		r->next->prev = r->prev;
	(void)pthread_mutex_unlock(&w->mu);
}

static enum MHD_Result
web_head(struct web_side *side, struct MHD_Connection *conn, const char *url,
    const char *method, void **req)
{
	struct web_req *r = mem_new(sizeof(*r));
	struct errmsg em = { 0 };
	const char *accept = web_header(conn, "Accept");
	unsigned status;

	if (r == NULL)
		return MHD_NO;
	*r = (struct web_req){ .w = side->w,
		.conn = conn,
		.url = url,
		.method = method,
		.local = side->local };
	buf_init(&r->body, LIM_REST_BODY_BYTES);
	if (web_answer_init(&r->a) != ERR_OK) {
		mem_free(r);
		return MHD_NO;
	}
	if (!web_enlist(r)) {
		web_answer_fini(&r->a);
		mem_free(r);
		return MHD_NO;
	}
	*req = r; /* web_completed() frees it from here on */
	r->event_stream =
	    accept != NULL && strstr(accept, "text/event-stream") != NULL;
	status = web_admit(r, &em);
	if (status == 0 && !web_body_fits(r)) {
		(void)errmsg_set(&em, ERR_LIMIT, "Send less at once.",
		    "the body is larger than %zu bytes", LIM_REST_BODY_BYTES);
		status = 413;
	}
	return status == 0 ? MHD_YES : web_refuse(r, status, &em);
}

/* --- the answer --- */
static const char *
web_arg(void *ctx, const char *name)
{
	return MHD_lookup_connection_value(ctx, MHD_GET_ARGUMENT_KIND, name);
}

/* The owner's passphrase comes as hex, so that any byte fits a header. */
static const char *
web_passphrase(struct web_req *r, char out[PASSPHRASE_BYTES_MAX + 1])
{
	const char *hex = web_header(r->conn, "X-Pesscara-Passphrase");
	size_t n = hex != NULL ? strlen(hex) / 2 : 0;

	if (n == 0 || n > PASSPHRASE_BYTES_MAX ||
	    dec_hex(slice_str(hex), (uint8_t *)out, n) != ERR_OK)
		return NULL;
	out[n] = '\0';
	return out;
}

static void
web_handle(struct web_req *r)
{
	char passphrase[PASSPHRASE_BYTES_MAX + 1];
	struct api_request q = {
		.method = r->method,
		.path = r->url,
		.arg = web_arg,
		.arg_ctx = r->conn,
		.body = buf_slice(&r->body),
		.local = r->local,
		.passphrase = web_passphrase(r, passphrase),
		.event_stream = r->event_stream,
		.uid = r->uid,
	};
	struct api_out out = web_answer_out(&r->a);

	api_handle(r->w->api, &q, &out);
	explicit_bzero(passphrase, sizeof(passphrase));
	web_answer_done(&r->a);
}

static void *
web_produce(void *arg)
{
	web_handle(arg);
	return NULL;
}

static bool
web_client_gone(struct web_req *r)
{
	const union MHD_ConnectionInfo *ci =
	    MHD_get_connection_info(r->conn, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct pollfd p = { .events = POLLRDHUP };

	if (ci == NULL)
		return true;
	p.fd = ci->connect_fd;
	return poll(&p, 1, 0) > 0 &&
	       (p.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

/* A sign of life for readers of lines and events, who skip empty ones. */
static ssize_t
web_beat(struct web_req *r, char *to, size_t cap)
{
	bool events = strncmp(r->a.type, "text/event-stream", 17) == 0;

	if (++r->silent < WEB_BEAT_PULSES || cap < 3)
		return 0;
	r->silent = 0;
	if (!events && strncmp(r->a.type, "application/x-ndjson", 20) != 0)
		return 0;
	memcpy(to, events ? ":\n\n" : "\n", events ? 3 : 1);
	return events ? 3 : 1;
}

static ssize_t
web_read(void *cls, uint64_t pos, char *to, size_t cap)
{
	struct web_req *r = cls;
	ssize_t n = 0;
	enum err e;

	(void)pos;
	while (n == 0) {
		n = web_answer_take(&r->a, to, cap, &e);
		if (n > 0)
			r->silent = 0;
		if (n == 0 && web_client_gone(r))
			return MHD_CONTENT_READER_END_WITH_ERROR;
		if (n == 0)
			n = web_beat(r, to, cap);
	}
	if (n > 0)
		return n;
	if (e != ERR_OK)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	if (r->a.trailer_name[0] != '\0' &&
	    MHD_add_response_footer(
		r->response, r->a.trailer_name, r->a.trailer_value) != MHD_YES)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	return MHD_CONTENT_READER_END_OF_STREAM;
}

static enum MHD_Result
web_stream(struct web_req *r)
{
	pthread_attr_t attr;
	struct errmsg em = { 0 };
	int rc;

	r->a.bounded = true;
	if (pthread_attr_init(&attr) != 0)
		return MHD_NO;
	rc = pthread_attr_setstacksize(&attr, WEB_STACK_BYTES);
	if (rc == 0)
		rc = pthread_create(&r->thread, &attr, web_produce, r);
	(void)pthread_attr_destroy(&attr);
	if (rc != 0) {
		(void)errmsg_set(
		    &em, ERR_BUSY, "Try again.", "too many requests at once");
		return web_refuse(r, 503, &em);
	}
	r->threaded = true;
	web_answer_await(&r->a);
	if (!r->a.begun)
		return MHD_NO;
	r->response = MHD_create_response_from_callback(
	    MHD_SIZE_UNKNOWN, WEB_BLOCK_BYTES, web_read, r, NULL);
	return web_send(r, r->a.status, r->response, r->a.type);
}

static enum MHD_Result
web_body_done(struct web_req *r)
{
	struct errmsg em = { 0 };

	r->handled = true;
	if (r->too_big) {
		(void)errmsg_set(&em, ERR_LIMIT, "Send less at once.",
		    "the body is larger than %zu bytes", LIM_REST_BODY_BYTES);
		return web_refuse(r, 413, &em);
	}
	if (api_streams(r->method, r->url))
		return web_stream(r);
	web_handle(r);
	if (r->a.aborted || !r->a.begun)
		return MHD_NO;
	return web_send_buffer(r);
}

/* MHD decides how many parameters this has. */
enum MHD_Result /* NOLINTNEXTLINE(readability-function-size) */
web_access(void *cls, struct MHD_Connection *conn, const char *url,
    const char *method, const char *version, const char *upload,
    size_t *upload_n, void **req)
{
	struct web_req *r = *req;

	(void)version;
	if (r == NULL)
		return web_head(cls, conn, url, method, req);
	if (*upload_n > 0) {
		buf_put(&r->body, upload, *upload_n);
		if (buf_err(&r->body) != ERR_OK)
			r->too_big = true;
		*upload_n = 0;
		return MHD_YES;
	}
	return r->handled ? MHD_YES : web_body_done(r);
}

void
web_completed(void *cls, struct MHD_Connection *conn, void **req,
    enum MHD_RequestTerminationCode why)
{
	struct web_req *r = *req;

	(void)cls;
	(void)conn;
	(void)why;
	if (r == NULL)
		return;
	*req = NULL;
	web_answer_drop(&r->a);
	if (r->threaded)
		(void)pthread_join(r->thread, NULL);
	web_delist(r);
	buf_fini(&r->body);
	web_answer_fini(&r->a);
	mem_free(r);
}
