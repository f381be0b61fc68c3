/* tests/unit/net/test_strangers.c: who is nobody's member may take neither
 * all places nor all memory of a node that listens. */
#include <arpa/inet.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/site.h"
#include "node/net/net.h"
#include "store/base/mem.h"

#define N 80
#define BOUND 64
#define FLOOD 300

static struct site lab;
static struct net *net;
static uint16_t port;

static int
setup(void **state)
{
	struct net_opts o = { .listen = "127.0.0.1:0" };
	struct errmsg em = { 0 };
	char text[80];

	(void)state;
	site_new(&lab, "lab");
	o.store = lab.st;
	o.shares = lab.sh;
	o.me = &lab.me;
	assert_ok(net_start(&o, &net, &em));
	net_listen_text(net, text, sizeof(text));
	port = (uint16_t)strtoul(strrchr(text, ':') + 1, NULL, 10);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	net_stop(net);
	site_end(&lab);
	return 0;
}

static int
dial_from(uint32_t own)
{
	struct sockaddr_in sa = { .sin_family = AF_INET };
	struct sockaddr_in from = { .sin_family = AF_INET };
	struct timeval tv = { .tv_sec = 3 };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_true(fd >= 0);
	from.sin_addr.s_addr = htonl(own);
	assert_int_equal(bind(fd, (struct sockaddr *)&from, sizeof(from)), 0);
	sa.sin_port = htons(port);
	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	return fd;
}

static int
dial(void)
{
	return dial_from(INADDR_LOOPBACK);
}

static void
flush(struct sess *s, int fd)
{
	struct buf b = BUF_MAX(64 * KIB);

	assert_ok(sess_pull(s, 64 * KIB, &b));
	if (b.n > 0)
		(void)send(fd, b.p, b.n, MSG_NOSIGNAL);
	buf_fini(&b);
}

/* A device that some site of its own certified.  True: it got in. */
static bool
guest(int fd)
{
	struct cry_identity *me = mem_new(sizeof(*me));
	struct sess_params p = {
		.initiator = true, .me = me, .remote_static = lab.me.pub.box
	};
	struct cry_box_sk recovery;
	struct sess *s = NULL;
	uint8_t in[2048];
	bool up;
	ssize_t n;

	assert_non_null(me);
	cry_identity_new(me, &recovery);
	assert_ok(sess_new(&p, &s));
	flush(s, fd);
	n = recv(fd, in, sizeof(in), 0);
	if (n > 0)
		assert_ok(sess_recv(s, slice_of(in, (size_t)n)));
	up = n > 0 && sess_up(s);
	if (up)
		flush(s, fd);
	sess_free(s);
	mem_free(me);
	return up;
}

static uint32_t
still_open(const int *fd, uint32_t n)
{
	uint32_t i, open = 0;
	char c[256];

	for (i = 0; i < n; i++)
		open += recv(fd[i], c, sizeof(c), MSG_DONTWAIT) != 0;
	return open;
}

static void
fall_to(const int *fd, uint32_t n, uint32_t want)
{
	uint64_t until = clock_mono_ms() + 5000;

	while (still_open(fd, n) > want && clock_mono_ms() < until)
		(void)poll(NULL, 0, 20);
	assert_int_equal(still_open(fd, n), want);
}

static void
end(const int *fd, uint32_t n)
{
	uint32_t i;

	for (i = 0; i < n; i++)
		(void)close(fd[i]);
}

static void
silent_connections_keep_nobody_out(void **state)
{
	int fd[N + 1], i;

	(void)state;
	for (i = 0; i < N; i++)
		fd[i] = dial();
	fd[N] = dial();
	assert_true(guest(fd[N]));
	fall_to(fd, N + 1, BOUND);
	end(fd, N + 1);
}

static void
guests_are_bounded_and_the_newest_gets_in(void **state)
{
	int fd[N], i;

	(void)state;
	for (i = 0; i < N; i++) {
		fd[i] = dial();
		assert_true(guest(fd[i]));
	}
	fall_to(fd, N, BOUND);
	/* the oldest went */
	assert_int_equal(still_open(fd, N - BOUND), 0);
	end(fd, N);
}

/* An address that floods is hung up on before any of it costs a handshake;
 * others get in meanwhile, and it does again when it waits. */
static void
who_knocks_too_often_waits_and_others_do_not(void **state)
{
	uint64_t until = clock_mono_ms() + 10000;
	int fd[FLOOD], other, late, i;
	bool in = false;

	(void)state;
	for (i = 0; i < FLOOD; i++)
		fd[i] = dial();
	/* of the last ones nobody is even heard: no tokens, no handshake */
	assert_false(guest(fd[FLOOD - 1]));
	other = dial_from(INADDR_LOOPBACK + 1);
	assert_true(guest(other));
	(void)close(other);
	end(fd, FLOOD);
	while (!in && clock_mono_ms() < until) {
		(void)poll(NULL, 0, 200);
		late = dial();
		in = guest(late);
		(void)close(late);
	}
	assert_true(in);
}

int
main(void)
{
#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(silent_connections_keep_nobody_out),
		T(guests_are_bounded_and_the_newest_gets_in),
		T(who_knocks_too_often_waits_and_others_do_not),
	};

	if (cry_init() != ERR_OK)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
