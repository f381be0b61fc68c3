/* Claim: a process that is killed at any moment of collecting and emptying
 * segments leaves a store that opens, verifies, counts rightly and holds what
 * was acknowledged, byte for byte; and what was deleted stays deleted. */
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/gc_lib.h"

#define FILES 32u
#define ROUNDS 12u

/* One change, told before it is asked for and again when it is durable. */
struct ack {
	uint8_t no, there, durable;
};

static void *
collect_always(void *arg)
{
	struct gcw *w = arg;
	struct store_gc_opts o = { .no_pause = true };
	struct store_gc_report r;

	while (store_gc(w->s, &o, &r) == ERR_OK)
		;
	abort();
}

static void
tell(int fd, struct ack a)
{
	if (write(fd, &a, sizeof(a)) != (ssize_t)sizeof(a))
		_exit(1);
}

static void
child_run(struct gcw *w, uint64_t seed, int fd)
{
	struct prng p = { seed };
	pthread_t t;

	gcw_open(w);
	if (pthread_create(&t, NULL, collect_always, w) != 0)
		_exit(1);
	for (;;) {
		struct ack a = { (uint8_t)prng_below(&p, FILES),
			prng_below(&p, 2) == 0, 0 };

		tell(fd, a);
		if (a.there)
			gcw_file_put(w, a.no);
		else
			(void)gcw_file_del(w, a.no);
		a.durable = 1;
		tell(fd, a);
	}
}

/* -1: may be either, the kill came between. */
static void
acks_read(int fd, int there[FILES])
{
	struct ack a;

	while (read(fd, &a, sizeof(a)) == (ssize_t)sizeof(a))
		there[a.no] = a.durable ? a.there : -1;
}

static void
expect_store(struct gcw *w, int there[FILES])
{
	struct store_gc_opts o = { .no_pause = true };
	struct store_gc_report r;
	unsigned bad = 0;
	uint32_t no;

	gcw_open(w);
	assert_int_equal(gcw_refs_bad(w), 0);
	assert_int_equal(store_verify(w->s, true, gcw_bad, &bad, NULL), ERR_OK);
	assert_int_equal(bad, 0);
	for (no = 0; no < FILES; no++) {
		enum err e = gcw_file_get(w, no);

		if (there[no] == -1)
			there[no] = e == ERR_OK;
		assert_int_equal(e, there[no] ? ERR_OK : ERR_NOTFOUND);
	}
	assert_int_equal(store_gc(w->s, &o, &r), ERR_OK);
	assert_int_equal(r.damaged, 0);
	for (no = 0; no < FILES; no++)
		assert_int_equal(
		    gcw_file_get(w, no), there[no] ? ERR_OK : ERR_NOTFOUND);
	store_close(w->s);
}

static void
test_killed_while_emptying(void **state)
{
	struct gcw w = { .o = { .segment_bytes = 128 * KIB } };
	struct prng p = { 77 };
	int there[FILES] = { 0 };
	uint32_t i;

	(void)state;
	tmpdir_make(w.dir);
	for (i = 0; i < ROUNDS; i++) {
		int fd[2];
		pid_t pid;

		assert_int_equal(pipe(fd), 0);
		pid = fork();
		assert_true(pid >= 0);
		if (pid == 0) {
			close(fd[0]);
			child_run(&w, i + 1, fd[1]);
		}
		close(fd[1]);
		(void)usleep(40000 + prng_below(&p, 160000));
		(void)kill(pid, SIGKILL);
		acks_read(fd[0], there);
		close(fd[0]);
		(void)waitpid(pid, NULL, 0);
		expect_store(&w, there);
	}
	tmpdir_remove(w.dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_killed_while_emptying),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
