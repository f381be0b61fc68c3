/* Claims: whatever a store acknowledged before it was killed is there
 * afterwards, and the store is whole: (1) kill -9 at random moments, (2) the
 * process ends at each single point where it touches the disk, (3) a failed
 * write, sync or commit stops the process itself, in words. */
#include "crash_lib.h"

#define ROUNDS 20
#define IN_FLIGHT 8
#define SEEN_MAX 100000u

static void
acked(enum err e, void *ctx)
{
	struct file_put *f = ctx;

	if (e != ERR_OK)
		abort();
	if (write(f->ack_fd, &f->no, sizeof(f->no)) != sizeof(f->no))
		abort();
	file_put_free(f);
}

/* Never returns: writes until it is killed. */
static void
child_write(struct world *w, uint32_t from, int ack_fd)
{
	struct errmsg em;
	uint32_t no;

	if (store_open(&w->o, &w->s, &em) != ERR_OK)
		abort();
	for (no = from;; no++) {
		struct file_put *f = file_prepare(w->s, no);

		f->ack_fd = ack_fd;
		while (store_submit(w->s, file_job, acked, f) == ERR_BUSY)
			usleep(200);
	}
}

static void
test_kill_at_random_moments_loses_nothing_acknowledged(void **state)
{
	struct world w = { .s = NULL };
	struct prng p = { 42 };
	uint32_t *seen = calloc(SEEN_MAX, sizeof(*seen));
	uint32_t n = 0, no, from = 1, i;
	int round;

	(void)state;
	tmpdir_make(w.dir);
	world_opts(&w);
	w.o.queue_max = IN_FLIGHT;
	for (round = 0; round < ROUNDS; round++) {
		int pipe_fd[2], status;
		pid_t pid;

		assert_int_equal(pipe(pipe_fd), 0);
		pid = fork();
		if (pid == 0) {
			close(pipe_fd[0]);
			child_write(&w, from, pipe_fd[1]);
		}
		close(pipe_fd[1]);
		usleep(60000 + prng_below(&p, 120000));
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		while (read(pipe_fd[0], &no, sizeof(no)) == sizeof(no)) {
			assert_true(n < SEEN_MAX);
			seen[n++] = no;
			from = no >= from ? no + 1 : from;
		}
		from += IN_FLIGHT + 2;
		close(pipe_fd[0]);
		world_open(&w);
		assert_int_equal(deep_bad(w.s), 0);
		/* this round's, and some of the older ones */
		for (i = n > 60 ? n - 60 : 0; i < n; i++)
			assert_int_equal(file_get(w.s, seen[i]), ERR_OK);
		store_close(w.s);
	}
	world_open(&w);
	for (i = 0; i < n; i++)
		assert_int_equal(file_get(w.s, seen[i]), ERR_OK);
	store_close(w.s);
	print_message(
	    "%u files acknowledged in %d rounds\n", (unsigned)n, ROUNDS);
	assert_true(n >= ROUNDS);
	free(seen);
	tmpdir_remove(w.dir);
}

/* --- ending at the n-th touch of the disk --- */

struct trip {
	int left;              /* touches that still pass */
	int sys;               /* what to return then; 0: end the process */
	enum store_point only; /* with sys: which kind of touch */
};

static int
trip_fault(void *ctx, enum store_point at)
{
	struct trip *t = ctx;

	if (t->sys != 0 && at != t->only)
		return 0;
	if (t->left-- > 0)
		return 0;
	if (t->sys == 0)
		_exit(99);
	return t->sys;
}

/* Writes files 1.. and tells each acknowledged number. */
static void
child_trip(struct world *w, struct trip *t, uint32_t count, int ack_fd)
{
	struct errmsg em;
	uint32_t no;

	if (store_open(&w->o, &w->s, &em) != ERR_OK)
		abort();
	store_set_fault(w->s, trip_fault, t);
	for (no = 1; no <= count; no++) {
		if (file_put(w->s, no * 4) != ERR_OK)
			break;
		if (write(ack_fd, &no, sizeof(no)) != sizeof(no))
			abort();
	}
	_exit(no > count ? 0 : 1);
}

/* Runs the child on an empty store; how it ended, and what it acknowledged. */
static int
trip_run(struct world *w, struct trip t, uint32_t count, uint32_t *acks)
{
	int pipe_fd[2], status;
	uint32_t no;
	pid_t pid;

	*acks = 0;
	assert_int_equal(pipe(pipe_fd), 0);
	pid = fork();
	if (pid == 0)
		child_trip(w, &t, count, pipe_fd[1]);
	close(pipe_fd[1]);
	while (read(pipe_fd[0], &no, sizeof(no)) == sizeof(no))
		*acks = no;
	close(pipe_fd[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void
expect_kept(struct world *w, uint32_t acks, uint32_t count)
{
	uint32_t no;

	world_open(w);
	assert_int_equal(deep_bad(w->s), 0);
	for (no = 1; no <= acks; no++)
		assert_int_equal(file_get(w->s, no * 4), ERR_OK);
	/* and it goes on from there */
	assert_int_equal(file_put(w->s, count * 4 + 4), ERR_OK);
	assert_int_equal(file_get(w->s, count * 4 + 4), ERR_OK);
	assert_int_equal(deep_bad(w->s), 0);
	store_close(w->s);
}

static void
test_end_at_every_single_touch_of_the_disk(void **state)
{
	int n, status = -1;
	uint32_t acks = 0;

	(void)state;
	for (n = 0; n < 200 && status != 0; n++) {
		struct world w = { .s = NULL };
		struct trip t = { .left = n };

		tmpdir_make(w.dir);
		world_opts(&w);
		status = trip_run(&w, t, 6, &acks);
		assert_true(WIFEXITED(status));
		assert_true(
		    WEXITSTATUS(status) == 99 || WEXITSTATUS(status) == 0);
		expect_kept(&w, acks, 6);
		tmpdir_remove(w.dir);
	}
	assert_int_equal(status, 0);
	assert_int_equal(acks, 6);
	print_message("%d points\n", n - 1);
	assert_true(n > 20);
}

static void
expect_stop(enum store_point at, const char *said)
{
	struct world w = { .s = NULL };
	struct trip t = { .left = 2, .sys = EIO, .only = at };
	char path[TMPDIR_MAX], text[4096] = "";
	int status, fd, saved;
	uint32_t acks;

	tmpdir_make(w.dir);
	world_opts(&w);
	snprintf(path, sizeof(path), "/tmp/psc_said_%d", (int)getpid());
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	saved = dup(2);
	dup2(fd, 2);
	status = trip_run(&w, t, 6, &acks);
	dup2(saved, 2);
	close(saved);
	assert_true(pread(fd, text, sizeof(text) - 1, 0) > 0);
	close(fd);
	unlink(path);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	assert_true(acks > 0 && acks < 6);
	assert_non_null(strstr(text, said));
	expect_kept(&w, acks, 6);
	tmpdir_remove(w.dir);
}

static void
test_failed_write_sync_or_commit_stops_the_process(void **state)
{
	(void)state;
	expect_stop(STORE_AT_PWRITE, "writing a segment failed");
	expect_stop(STORE_AT_SYNC, "syncing a segment failed");
	expect_stop(STORE_AT_COMMIT, "committing the index failed");
}

/* --- order --- */

struct order {
	unsigned unsynced, commits, wrong;
};

static int
order_note(void *ctx, enum store_point at)
{
	struct order *o = ctx;

	switch (at) {
	case STORE_AT_PWRITE: o->unsynced++; break;
	case STORE_AT_SYNC: o->unsynced = 0; break;
	case STORE_AT_COMMIT:
		o->commits++;
		o->wrong += o->unsynced != 0;
		break;
	case STORE_AT_RESERVE:
	default: break;
	}
	return 0;
}

static void
test_every_commit_comes_after_the_sync_of_its_records(void **state)
{
	struct world w = { .s = NULL };
	struct order o = { 0 };
	uint32_t no;

	(void)state;
	tmpdir_make(w.dir);
	world_opts(&w);
	world_open(&w);
	store_set_fault(w.s, order_note, &o);
	for (no = 1; no <= 20; no++)
		assert_int_equal(file_put(w.s, no), ERR_OK);
	store_close(w.s);
	assert_int_equal(o.commits, 20);
	assert_int_equal(o.wrong, 0);
	tmpdir_remove(w.dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    test_kill_at_random_moments_loses_nothing_acknowledged),
		cmocka_unit_test(test_end_at_every_single_touch_of_the_disk),
		cmocka_unit_test(
		    test_failed_write_sync_or_commit_stops_the_process),
		cmocka_unit_test(
		    test_every_commit_comes_after_the_sync_of_its_records),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
