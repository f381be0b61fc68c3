/* tests/lib/receive_bench.h: a real sender, the real confined helper, and
 * the test in the node's place.  A header only, because other tests do not
 * link the imaging room. */
#ifndef PSC_TESTS_RECEIVE_BENCH_H
#define PSC_TESTS_RECEIVE_BENCH_H

#pragma GCC diagnostic ignored "-Wunused-function"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "node/imaging/imaging.h"
#include "store/base/clock.h"
#include "store/base/mem.h"

#define DATA PSC_SOURCE_DIR "/tests/data/dicom/"
#define GE DATA "mr_ge_t1_deidentified/in/IM001.dcm"
#define GE2 DATA "mr_ge_t1_deidentified/in/IM002.dcm"
#define HELPER PSC_BIN_DIR "/pesscara-imaging"
#define WAIT_MS 20000u

extern char **environ;

struct bench {
	int listener;
	char port[8];
	pid_t sender;
	int accepted;
	struct imaging *im;
};

static int
bench_setup(void **state)
{
	struct bench *b = mem_new(sizeof(*b));
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t n = sizeof(a);

	assert_non_null(b);
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	b->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(b->listener >= 0);
	assert_int_equal(
	    bind(b->listener, (struct sockaddr *)(void *)&a, sizeof(a)), 0);
	assert_int_equal(listen(b->listener, 4), 0);
	assert_int_equal(
	    getsockname(b->listener, (struct sockaddr *)(void *)&a, &n), 0);
	(void)snprintf(b->port, sizeof(b->port), "%u", ntohs(a.sin_port));
	b->accepted = -1;
	*state = b;
	return 0;
}

static int
bench_teardown(void **state)
{
	struct bench *b = *state;

	imaging_close(b->im);
	if (b->sender > 0) {
		(void)kill(b->sender, SIGKILL);
		(void)waitpid(b->sender, NULL, 0);
	}
	if (b->accepted >= 0)
		(void)close(b->accepted);
	(void)close(b->listener);
	mem_free(b);
	return 0;
}

/* Start a sender program; its chatter is not ours. */
static void
bench_send(struct bench *b, const char *const *argv)
{
	posix_spawn_file_actions_t fa;
	union {
		const char *const *in;
		char *const *out;
	} v = { .in = argv };

	(void)posix_spawn_file_actions_init(&fa);
	(void)posix_spawn_file_actions_addopen(
	    &fa, 1, "/dev/null", O_WRONLY, 0);
	(void)posix_spawn_file_actions_addopen(
	    &fa, 2, "/dev/null", O_WRONLY, 0);
	assert_int_equal(
	    posix_spawnp(&b->sender, argv[0], &fa, NULL, v.out, environ), 0);
	(void)posix_spawn_file_actions_destroy(&fa);
}

static int
bench_exit(struct bench *b)
{
	int st = 0;

	assert_int_equal(waitpid(b->sender, &st, 0), b->sender);
	b->sender = 0;
	return WIFEXITED(st) ? WEXITSTATUS(st) : 128 + WTERMSIG(st);
}

static void
bench_start(struct bench *b, struct imaging_opts *o)
{
	struct timeval patience = { .tv_sec = WAIT_MS / 1000 };
	struct errmsg em;

	(void)setsockopt(
	    b->listener, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	b->accepted = accept4(b->listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(b->accepted >= 0);
	o->program = HELPER;
	o->mode = IMAGING_RECEIVE;
	o->accepted_fd = b->accepted;
	o->called_ae = "PESSCARA";
	if (o->idle_ms == 0)
		o->idle_ms = 5000;
	assert_int_equal(imaging_spawn(o, &b->im, &em), ERR_OK);
	(void)close(b->accepted);
	b->accepted = -1;
}

/* A plain TCP client of our own, for senders no tool would play. */
static int
bench_connect(struct bench *b)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t n = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(
	    getsockname(b->listener, (struct sockaddr *)(void *)&a, &n), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)(void *)&a, n), 0);
	return fd;
}

static void
bench_next(struct bench *b, enum img_msg_kind kind, struct img_msg *m)
{
	assert_int_equal(imaging_next(b->im, WAIT_MS, m), ERR_OK);
	assert_int_equal(m->kind, kind);
}

static void
bench_admit(struct bench *b, struct img_msg *m)
{
	bench_next(b, IMG_ASSOC, m);
	assert_int_equal(
	    imaging_answer_assoc(b->im, IMG_ADMITTED, (struct slice){ 0 }),
	    ERR_OK);
}

/* Every UID gets a new one that the test can recognise. */
static void
bench_context(struct bench *b, const struct img_identity *id)
{
	const char **map = mem_array(id->n_uids, sizeof(*map));
	char(*text)[IMG_UID_MAX + 1] = mem_array(id->n_uids, sizeof(*text));
	struct img_context ctx = {
		.profile = "basic", .subject = "003-0142", .n_uids = id->n_uids
	};
	uint32_t i;

	assert_true(id->n_uids > 0);
	for (i = 0; i < id->n_uids; i++) {
		(void)snprintf(text[i], sizeof(text[i]), "2.25.7%u", i);
		map[i] = text[i];
	}
	ctx.new_uids = map;
	assert_int_equal(imaging_answer_identity(b->im, &ctx), ERR_OK);
	mem_free(map);
	mem_free(text);
}

static struct slice
read_file(const char *path)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint8_t *p;

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	p = mem_new((size_t)st.st_size);
	assert_int_equal(read(fd, p, (size_t)st.st_size), st.st_size);
	(void)close(fd);
	return slice_of(p, (size_t)st.st_size);
}

static void
free_file(struct slice s)
{
	union {
		const uint8_t *in;
		void *out;
	} u = { .in = s.p };

	mem_free(u.out);
}

/* Offset of the dataset behind the file meta. */
static size_t
dataset_at(struct slice f)
{
	assert_true(f.n > 144 && memcmp(f.p + 128, "DICM", 4) == 0);
	return 144 + (size_t)(f.p[140] | f.p[141] << 8 | f.p[142] << 16);
}

static bool
has_bytes(struct slice in, const char *what)
{
	return memmem(in.p, in.n, what, strlen(what)) != NULL;
}

static void
check_plan(const struct img_piece *p, uint32_t n, size_t bytes)
{
	uint64_t at = 0;
	uint32_t i;

	assert_true(n > 0);
	for (i = 0; i < n; i++) {
		assert_int_equal(p[i].off, at);
		at += p[i].len;
	}
	assert_int_equal(at, bytes);
}

#define T(f) cmocka_unit_test_setup_teardown(f, bench_setup, bench_teardown)

#endif
