/* cli/http.c: one request to the node's unix socket.
 *
 * Happy path: status 200, the answer's lines go to the row callback as they
 * come.  Failure: the node's {error,
 * cause, next} is printed, whether it came as the whole answer or as the last
 * line of a stream; a node that does not answer is named with the command
 * that starts it; an answer cut short is a failure.  A socket path longer
 * than sun_path goes through /proc/self/fd of its folder. */
#include "cli/cli_internal.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/un.h>
#include <unistd.h>

#include "store/base/clock.h"

#define HTTP_BASE "http://node/api/v1"
#define HTTP_SOCKET "pesscara.sock"

struct http_run {
	struct cli *c;
	struct cli_request *q;
	CURL *curl;
	struct buf line; /* what came since the last newline */
	long status;
	bool stopped;    /* the callback wants no more */
	bool failed;     /* an error row came and was printed */
	bool unreadable; /* a line too long, or not JSON */
};

static long
http_status(struct http_run *r)
{
	if (r->status == 0)
		(void)curl_easy_getinfo(
		    r->curl, CURLINFO_RESPONSE_CODE, &r->status);
	return r->status;
}

static bool
http_error_row(struct http_run *r, const json_t *row)
{
	const char *error = json_string_value(json_object_get(row, "error"));
	const char *cause = json_string_value(json_object_get(row, "cause"));

	if (error == NULL || cause == NULL ||
	    (http_status(r) < 400 && json_object_get(row, "next") == NULL))
		return false;
	/* A peer row has "error" too, but no "cause". */
	cli_progress_end(r->c);
	cli_error_print(r->c->args.json, error, cause, cli_str(row, "next"));
	r->failed = true;
	return true;
}

static void
http_line(struct http_run *r)
{
	const char *text = buf_cstr(&r->line);
	json_t *row;

	if (r->line.n == 0 || r->stopped)
		return;
	row = json_loadb(text, r->line.n, JSON_DECODE_ANY, NULL);
	if (row == NULL) /* not JSON: not an answer of ours */
		r->unreadable = http_status(r) < 400;
	else if (!http_error_row(r, row) && http_status(r) < 400 &&
		 r->q->row != NULL)
		r->stopped = r->q->row(r->q->ctx, row, text) != 0;
	json_decref(row);
}

static void
http_lines(struct http_run *r, struct slice in)
{
	while (in.n > 0 && !r->stopped && !r->unreadable) {
		const uint8_t *nl = memchr(in.p, '\n', in.n);
		size_t n = nl != NULL ? (size_t)(nl - in.p) : in.n;

		buf_put(&r->line, in.p, n);
		if (buf_err(&r->line) != ERR_OK) {
			r->unreadable = true;
			return;
		}
		if (nl != NULL) {
			http_line(r);
			buf_reset(&r->line);
			n++;
		}
		in = slice_of(in.p + n, in.n - n);
	}
}

static size_t
http_write(char *p, size_t size, size_t n, void *ctx)
{
	struct http_run *r = ctx;
	struct slice in = slice_of(p, size * n);

	http_lines(r, in);
	return r->stopped || r->unreadable ? 0 : in.n;
}

static int
http_tick(void *ctx, curl_off_t dt, curl_off_t dn, curl_off_t ut, curl_off_t un)
{
	struct http_run *r = ctx;

	(void)dt;
	(void)dn;
	(void)ut;
	(void)un;
	cli_progress_show(r->c);
	return 0;
}

/* The socket's path as it fits into sun_path; *dir is closed by the caller. */
static bool
http_socket_path(const struct cli *c, char *out, size_t cap, int *dir)
{
	struct sockaddr_un at;
	int n = snprintf(out, cap, "%s/" HTTP_SOCKET, c->home);

	*dir = -1;
	if (n > 0 && (size_t)n < sizeof(at.sun_path))
		return true;
	*dir = open(c->home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*dir < 0)
		return false;
	(void)snprintf(out, cap, "/proc/self/fd/%d/" HTTP_SOCKET, *dir);
	return true;
}

static void
http_set(struct http_run *r, const char *url, const char *sock,
    struct curl_slist *headers)
{
	CURL *h = r->curl;

	curl_easy_reset(h);
	(void)curl_easy_setopt(h, CURLOPT_URL, url);
	(void)curl_easy_setopt(h, CURLOPT_UNIX_SOCKET_PATH, sock);
	(void)curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, r->q->method);
	(void)curl_easy_setopt(h, CURLOPT_HTTPHEADER, headers);
	(void)curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, http_write);
	(void)curl_easy_setopt(h, CURLOPT_WRITEDATA, r);
	(void)curl_easy_setopt(h, CURLOPT_XFERINFOFUNCTION, http_tick);
	(void)curl_easy_setopt(h, CURLOPT_XFERINFODATA, r);
	(void)curl_easy_setopt(h, CURLOPT_NOPROGRESS, 0L);
	(void)curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(h, CURLOPT_PROXY, "");
	(void)curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT, 10L);
}

static void
http_set_body(struct http_run *r, struct slice body)
{
	if (strcmp(r->q->method, "GET") == 0)
		return;
	(void)curl_easy_setopt(
	    r->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.n);
	(void)curl_easy_setopt(r->curl, CURLOPT_POSTFIELDS,
	    body.n > 0 ? (const char *)body.p : "");
}

/* Nothing listens: is there a node at all? */
static enum cli_exit
http_no_node(const struct cli *c)
{
	char path[4200];

	(void)snprintf(path, sizeof(path), "%s/RESTORING", c->home);
	if (access(path, F_OK) == 0)
		return cli_fail(c, ERR_NOTFOUND,
		    "Run `pesscara --home DIR restore BACKUP` again.",
		    "a restore into %.300s was cut short", c->home);
	(void)snprintf(path, sizeof(path), "%s/pesscara.yaml", c->home);
	if (access(path, R_OK) != 0 && errno == EACCES)
		return cli_fail(c, ERR_DENIED, "Be the user who owns the node.",
		    "%.300s: permission denied", c->home);
	if (access(path, F_OK) != 0)
		return cli_fail(c, ERR_NOTFOUND,
		    "Make one with `pesscara init --site NAME`, or name "
		    "another --home.",
		    "no node was made at %.300s", c->home);
	(void)snprintf(path, sizeof(path),
	    "Start it with `pesscarad --home %.300s`, or name another --home.",
	    c->home);
	return cli_fail(
	    c, ERR_NOTFOUND, path, "no node answers at %.300s", c->home);
}

static enum cli_exit
http_result(struct http_run *r, CURLcode rc)
{
	const struct cli *c = r->c;

	if (r->failed)
		return CLI_FAILED;
	if (r->stopped)
		return CLI_FAILED; /* the callback said why */
	if (rc == CURLE_COULDNT_CONNECT || rc == CURLE_COULDNT_RESOLVE_HOST)
		return http_no_node(c);
	if (r->unreadable)
		return cli_fail(
		    c, ERR_MALFORMED, "", "the node's answer cannot be read");
	if (rc != CURLE_OK)
		return cli_fail(c, ERR_IO,
		    "Look at the node's log; it may have stopped.",
		    "the node's answer was cut short");
	if (http_status(r) >= 400)
		return cli_fail(
		    c, ERR_IO, "", "the node answered status %ld", r->status);
	return CLI_OK;
}

static enum cli_exit
http_perform(struct http_run *r, const char *url, struct slice body)
{
	struct curl_slist *headers = NULL, *more;
	char sock[4200];
	int dir = -1;
	CURLcode rc = CURLE_OUT_OF_MEMORY;

	if (!http_socket_path(r->c, sock, sizeof(sock), &dir))
		return http_no_node(r->c);
	headers = curl_slist_append(NULL, "Content-Type: application/json");
	more = headers != NULL ? curl_slist_append(headers, "Expect:") : NULL;
	if (more != NULL && r->c->person.n > 0)
		more = curl_slist_append(headers, buf_cstr(&r->c->person));
	if (more != NULL) {
		http_set(r, url, sock, more);
		http_set_body(r, body);
		rc = curl_easy_perform(r->curl);
		/* An answer that ends without a newline. */
		if (rc == CURLE_OK)
			http_line(r);
	}
	curl_slist_free_all(headers);
	if (dir >= 0)
		(void)close(dir);
	return http_result(r, rc);
}

enum cli_exit
cli_send(struct cli *c, struct cli_request *q)
{
	struct http_run r = { .c = c, .q = q };
	struct buf url = BUF_MAX(256 * KIB);
	char *text = NULL;
	struct slice body = q->body;
	enum cli_exit rc;

	buf_init(&r.line, CLI_LINE_BYTES);
	if (c->curl == NULL)
		c->curl = curl_easy_init();
	r.curl = c->curl;
	buf_put_str(&url, HTTP_BASE);
	buf_put_str(&url, q->path);
	(void)buf_cstr(&url);
	if (q->json != NULL) {
		text = json_dumps(q->json, JSON_COMPACT);
		body = text != NULL ? slice_str(text) : (struct slice){ 0 };
	}
	if (r.curl == NULL || buf_err(&url) != ERR_OK ||
	    (q->json != NULL && text == NULL))
		rc = cli_fail(c, ERR_NOMEM, "", "out of memory");
	else
		rc = http_perform(&r, buf_cstr(&url), body);
	json_decref(q->json);
	q->json = NULL;
	free(text);
	buf_fini(&url);
	buf_fini(&r.line);
	return rc;
}

enum cli_exit
cli_get(struct cli *c, const char *path, cli_row_fn fn, void *ctx)
{
	struct cli_request q = {
		.method = "GET", .path = path, .row = fn, .ctx = ctx
	};

	return cli_send(c, &q);
}

enum cli_exit
cli_post(
    struct cli *c, const char *path, json_t *body, cli_row_fn fn, void *ctx)
{
	struct cli_request q = { .method = "POST",
		.path = path,
		.json = body,
		.row = fn,
		.ctx = ctx };

	if (body == NULL)
		return cli_fail(c, ERR_MALFORMED, "Check the arguments.",
		    "an argument is not UTF-8 text");
	return cli_send(c, &q);
}

static void
path_escape(struct buf *path, const char *s)
{
	for (; *s != '\0'; s++) {
		bool plain =
		    (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') ||
		    (*s >= '0' && *s <= '9') || strchr("-_.~", *s) != NULL;

		if (plain)
			buf_u8(path, (uint8_t)*s);
		else
			buf_printf(path, "%%%02X", (unsigned)(uint8_t)*s);
	}
}

void
cli_path_add(struct buf *path, const char *segment)
{
	buf_u8(path, '/');
	path_escape(path, segment);
}

void
cli_path_arg(struct buf *path, const char *name, const char *value)
{
	bool first = memchr(path->p, '?', path->n) == NULL;

	if (value == NULL)
		return;
	buf_printf(path, "%c%s=", first ? '?' : '&', name);
	path_escape(path, value);
}
