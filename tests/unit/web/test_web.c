/* web: who is let in, what is bounded, and that a slow or vanished client
 * neither grows memory nor holds up the stop. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "node/web/web_internal.h"

static struct conf conf;

struct fix {
	char dir[256];
	char sock[300];
	struct api *api;
	struct web *web;
	uint16_t port;
};

static enum err
start(struct fix *f, struct web **out, struct errmsg *em)
{
	struct web_opts o = { f->dir, "127.0.0.1:0", f->api };

	return web_start(&o, out, em);
}

static uint16_t
port_of(struct fix *f)
{
	const union MHD_DaemonInfo *i =
	    MHD_get_daemon_info(f->web->tcp.daemon, MHD_DAEMON_INFO_LISTEN_FD);
	struct sockaddr_in at;
	socklen_t n = sizeof(at);

	assert_int_equal(
	    getsockname(i->listen_fd, (struct sockaddr *)&at, &n), 0);
	return ntohs(at.sin_port);
}

static int
setup(void **state)
{
	static struct fix f;
	struct api_opts o = { .conf = &conf };

	f = (struct fix){ 0 };
	conf_defaults(&conf);
	(void)snprintf(f.dir, sizeof(f.dir), "/tmp/psc_web_XXXXXX");
	assert_non_null(mkdtemp(f.dir));
	(void)snprintf(f.sock, sizeof(f.sock), "%s/pesscara.sock", f.dir);
	assert_int_equal(api_new(&o, &f.api), ERR_OK);
	assert_int_equal(start(&f, &f.web, NULL), ERR_OK);
	f.port = port_of(&f);
	*state = &f;
	return 0;
}

static int
teardown(void **state)
{
	struct fix *f = *state;
	char path[300];

	web_stop(f->web);
	api_free(f->api);
	(void)snprintf(path, sizeof(path), "%s/rest-token", f->dir);
	(void)unlink(path);
	return rmdir(f->dir); /* fails if the socket is still there */
}

static int
dial_unix(const char *path)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int s = socket(AF_UNIX, SOCK_STREAM, 0);

	(void)snprintf(at.sun_path, sizeof(at.sun_path), "%s", path);
	assert_int_equal(connect(s, (struct sockaddr *)&at, sizeof(at)), 0);
	return s;
}

static int
dial_tcp(uint16_t port)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int s = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(connect(s, (struct sockaddr *)&at, sizeof(at)), 0);
	return s;
}

static void
put(int s, const char *p, size_t n)
{
	while (n > 0) {
		ssize_t k = send(s, p, n, MSG_NOSIGNAL);

		if (k < 0)
			return; /* refused early: the answer says so */
		p += k;
		n -= (size_t)k;
	}
}

/* The status of the answer; the text of it in out. */
static int
answer(int s, char *out, size_t cap)
{
	size_t n = 0;
	ssize_t k;

	while ((k = recv(s, out + n, cap - 1 - n, 0)) > 0)
		n += (size_t)k;
	out[n] = '\0';
	(void)close(s);
	return n > 12 ? (out[9] - '0') * 100 + (out[10] - '0') * 10 +
			    (out[11] - '0')
		      : 0;
}

static int
get(int s, const char *path, const char *token, char *out, size_t cap)
{
	char req[512];

	(void)snprintf(req, sizeof(req),
	    "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s%s%s\r\n",
	    path, token != NULL ? "Authorization: Bearer " : "",
	    token != NULL ? token : "", token != NULL ? "\r\n" : "");
	put(s, req, strlen(req));
	return answer(s, out, cap);
}

static void
test_the_owner_gets_in_by_the_socket(void **state)
{
	const struct fix *f = *state;
	struct stat st;
	char out[65536];

	assert_int_equal(stat(f->sock, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(get(dial_unix(f->sock), "/api/v1/openapi.json", NULL,
			     out, sizeof(out)),
	    200);
	assert_non_null(strstr(out, "\"openapi\":\"3.0.3\""));
	assert_int_equal(
	    get(dial_unix(f->sock), "/api/v1/x", NULL, out, sizeof(out)), 404);
	assert_non_null(strstr(out, "\"cause\":"));
}

static void
test_tcp_needs_the_token(void **state)
{
	const struct fix *f = *state;
	char out[65536], token[65], path[300];
	struct stat st;

	memcpy(token, f->web->token, 65);
	(void)snprintf(path, sizeof(path), "%s/rest-token", f->dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(
	    get(dial_tcp(f->port), "/api/v1/config", NULL, out, sizeof(out)),
	    401);
	assert_null(strstr(out, token));
	token[63] = token[63] == '0' ? '1' : '0';
	assert_int_equal(
	    get(dial_tcp(f->port), "/api/v1/config", token, out, sizeof(out)),
	    401);
	token[63] = '\0';
	assert_int_equal(
	    get(dial_tcp(f->port), "/api/v1/config", token, out, sizeof(out)),
	    401);
	assert_int_equal(get(dial_tcp(f->port), "/api/v1/config", f->web->token,
			     out, sizeof(out)),
	    200);
}

static void
post_bytes(const struct fix *f, size_t n, int want)
{
	char head[160], *body = calloc(1, n), out[4096];
	int s = dial_unix(f->sock);

	assert_non_null(body);
	memset(body, ' ', n);
	(void)snprintf(head, sizeof(head),
	    "POST /api/v1/shares HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
	    "Content-Length: %zu\r\n\r\n",
	    n);
	put(s, head, strlen(head));
	put(s, body, n);
	free(body);
	assert_int_equal(answer(s, out, sizeof(out)), want);
}

static void
test_bodies_are_bounded(void **state)
{
	const struct fix *f = *state;
	char out[4096], chunk[4200];
	int s, i;

	post_bytes(f, LIM_REST_BODY_BYTES, 400); /* read whole: blanks */
	post_bytes(f, LIM_REST_BODY_BYTES + 1, 413);
	/* No length told beforehand. */
	s = dial_unix(f->sock);
	(void)snprintf(out, sizeof(out),
	    "POST /api/v1/shares HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
	    "Transfer-Encoding: chunked\r\n\r\n");
	put(s, out, strlen(out));
	for (i = 0; i < 257; i++) {
		memcpy(chunk, "1000\r\n", 6);
		memset(chunk + 6, ' ', 4096);
		memcpy(chunk + 4102, "\r\n", 2);
		put(s, chunk, 4104);
	}
	put(s, "0\r\n\r\n", 5);
	assert_int_equal(answer(s, out, sizeof(out)), 413);
}

static void
test_a_second_node_is_refused_and_a_stale_socket_replaced(void **state)
{
	struct fix *f = *state;
	struct web *second = NULL;
	struct errmsg em = { 0 };
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	char out[65536];
	int s;

	assert_int_equal(start(f, &second, &em), ERR_BUSY);
	assert_non_null(strstr(em.cause, "another node"));
	assert_int_equal(
	    get(dial_unix(f->sock), "/api/v1/config", NULL, out, sizeof(out)),
	    200);
	web_stop(f->web);
	f->web = NULL;
	assert_int_equal(access(f->sock, F_OK), -1);
	/* What a killed node leaves behind. */
	s = socket(AF_UNIX, SOCK_STREAM, 0);
	(void)snprintf(at.sun_path, sizeof(at.sun_path), "%s", f->sock);
	assert_int_equal(bind(s, (struct sockaddr *)&at, sizeof(at)), 0);
	(void)close(s);
	assert_int_equal(start(f, &f->web, &em), ERR_OK);
	assert_int_equal(
	    get(dial_unix(f->sock), "/api/v1/config", NULL, out, sizeof(out)),
	    200);
}

static void
test_the_token_survives_and_must_be_private(void **state)
{
	struct fix *f = *state;
	struct errmsg em = { 0 };
	char token[65], path[300];

	memcpy(token, f->web->token, 65);
	web_stop(f->web);
	f->web = NULL;
	assert_int_equal(start(f, &f->web, &em), ERR_OK);
	assert_string_equal(token, f->web->token);
	web_stop(f->web);
	f->web = NULL;
	(void)snprintf(path, sizeof(path), "%s/rest-token", f->dir);
	assert_int_equal(chmod(path, 0644), 0);
	assert_int_equal(start(f, &f->web, &em), ERR_DENIED);
	assert_null(f->web);
}

static void
test_stop_does_not_wait_for_idle_clients(void **state)
{
	struct fix *f = *state;
	int a = dial_unix(f->sock), b = dial_tcp(f->port);
	time_t before = time(NULL);

	put(a, "GET /api/v1/con", 15); /* half a request */
	web_stop(f->web);
	f->web = NULL;
	assert_true(time(NULL) - before < 5);
	(void)close(a);
	(void)close(b);
}

static void
test_a_home_with_a_long_path_has_a_socket(void **state)
{
	struct fix *f = *state;
	struct web *w = NULL;
	struct errmsg em = { 0 };
	char dir[256], path[300];

	(void)snprintf(dir, sizeof(dir), "%s/%0150d", f->dir, 0);
	assert_int_equal(mkdir(dir, 0700), 0);
	assert_int_equal(
	    web_start(&(struct web_opts){ dir, "off", f->api }, &w, &em),
	    ERR_OK);
	(void)snprintf(path, sizeof(path), "%s/pesscara.sock", dir);
	assert_int_equal(access(path, F_OK), 0);
	web_stop(w);
	assert_int_equal(access(path, F_OK), -1);
	(void)snprintf(path, sizeof(path), "%s/rest-token", dir);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(dir), 0);
}

/* --- the queue of a stream --- */
struct producer {
	struct web_answer a;
	size_t written;
	enum err e;
};

static void *
produce(void *arg)
{
	static const uint8_t piece[64 * 1024];
	struct producer *p = arg;
	struct api_out out = web_answer_out(&p->a);
	int i;

	p->e = out.begin(out.ctx, 200, "application/octet-stream");
	for (i = 0; i < 64 && p->e == ERR_OK; i++) {
		p->e = out.write(out.ctx, slice_of(piece, sizeof(piece)));
		if (p->e == ERR_OK)
			p->written += sizeof(piece);
	}
	web_answer_done(&p->a);
	return NULL;
}

static void
test_a_slow_reader_holds_the_writer_back(void **state)
{
	static struct producer p;
	static char to[100000];
	pthread_t t;
	size_t got = 0;
	ssize_t n;
	enum err e;

	(void)state;
	assert_int_equal(web_answer_init(&p.a), ERR_OK);
	p.a.bounded = true;
	assert_int_equal(pthread_create(&t, NULL, produce, &p), 0);
	web_answer_await(&p.a);
	while ((n = web_answer_take(&p.a, to, sizeof(to), &e)) >= 0) {
		got += (size_t)n;
		(void)pthread_mutex_lock(&p.a.mu);
		assert_true(p.a.q.n - p.a.at <= WEB_QUEUE_BYTES);
		assert_true(p.a.q.cap <= 2 * WEB_QUEUE_BYTES);
		(void)pthread_mutex_unlock(&p.a.mu);
	}
	assert_int_equal(e, ERR_OK);
	assert_int_equal(got, 64 * 64 * 1024);
	assert_int_equal(pthread_join(t, NULL), 0);
	assert_int_equal(p.e, ERR_OK);
	web_answer_fini(&p.a);
}

static void
test_a_reader_that_goes_away_frees_the_writer(void **state)
{
	static struct producer p;
	static char to[1000];
	pthread_t t;
	enum err e;

	(void)state;
	assert_int_equal(web_answer_init(&p.a), ERR_OK);
	p.a.bounded = true;
	assert_int_equal(pthread_create(&t, NULL, produce, &p), 0);
	web_answer_await(&p.a);
	while (web_answer_take(&p.a, to, sizeof(to), &e) <= 0)
		;
	web_answer_drop(&p.a);
	assert_int_equal(pthread_join(t, NULL), 0);
	assert_int_equal(p.e, ERR_CANCELLED);
	assert_true(p.written <= WEB_QUEUE_BYTES + 64 * 1024);
	assert_true(web_answer_take(&p.a, to, sizeof(to), &e) < 0);
	assert_int_equal(e, ERR_CANCELLED);
	web_answer_fini(&p.a);
}

int
main(void)
{
#define WITH(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	const struct CMUnitTest tests[] = {
		WITH(test_the_owner_gets_in_by_the_socket),
		WITH(test_tcp_needs_the_token),
		WITH(test_bodies_are_bounded),
		WITH(test_a_second_node_is_refused_and_a_stale_socket_replaced),
		WITH(test_the_token_survives_and_must_be_private),
		WITH(test_stop_does_not_wait_for_idle_clients),
		WITH(test_a_home_with_a_long_path_has_a_socket),
		cmocka_unit_test(test_a_slow_reader_holds_the_writer_back),
		cmocka_unit_test(test_a_reader_that_goes_away_frees_the_writer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
