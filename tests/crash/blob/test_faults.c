/* Claim: whichever single call to the disk fails, with EIO, with no space from
 * there on, or by writing only a part, the store refuses in words and lives on
 * or stops in words; and the next start has all that was acknowledged, whole.
 *
 * A child does the steps of steps.h; its n-th call fails (LMDB's calls count
 * too), for n = 1, 2, ... until a run has fewer calls than n. */
#include "rec.h"
#include "steps.h"

#include <sys/resource.h>

#define RUN_STEPS 15u
#define WORKERS 2u
#define CALLS_MAX 5000u
#define REFUSED_OPEN 3

struct note {
	uint32_t step;
	int32_t e; /* 1: begun */
};

static int note_fd;

static void
note_send(unsigned step, int e)
{
	struct note n = { step, e };

	if (syscall(SYS_write, note_fd, &n, sizeof(n)) != sizeof(n))
		_exit(9);
}

static void
begun(unsigned i)
{
	note_send(i, 1);
}

static void
answered(unsigned i, enum err e)
{
	note_send(i, e);
}

/* Says in words why not. */
static void
refused_open(const struct errmsg *em)
{
	_exit(em->cause[0] != '\0' ? REFUSED_OPEN : 8);
}

static void
child(struct world *w, unsigned n, int sys, bool stay)
{
	struct errmsg em = { .code = ERR_OK };
	struct rlimit no_core = { 0, 0 };
	struct steps run = {
		.w = w, .last = RUN_STEPS, .begun = begun, .answered = answered
	};

	setrlimit(RLIMIT_CORE, &no_core);
	snprintf(rec.root, sizeof(rec.root), "%s", w->dir);
	snprintf(w->dir + strlen(w->dir), 8, "/store");
	fault.at = n;
	fault.sys = sys;
	fault.stay = stay;
	fault.on = true;
	if (store_open(&w->o, &w->s, &em) != ERR_OK)
		refused_open(&em);
	if (!steps_run(&run))
		refused_open(&run.em);
	store_close(w->s);
	note_send(0, fault.calls >= n);
	_exit(0);
}

static void
notes_read(int fd, enum outcome *outcome, bool *touched)
{
	struct note n;

	*touched = true;
	while (read(fd, &n, sizeof(n)) == sizeof(n)) {
		if (n.step == 0)
			*touched = n.e != 0;
		else if (n.e == 1)
			outcome[n.step] = ON_ITS_WAY;
		else
			outcome[n.step] = n.e == ERR_OK ? DONE : REFUSED;
	}
}

/* What the child said; the first line names the call that failed. */
static const char *
log_read(const char *log)
{
	static char text[4096];
	FILE *f = fopen(log, "r");

	assert_non_null(f);
	text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
	fclose(f);
	return text;
}

/* A process that stopped itself must have said so. */
static void
end_check(int status, const char *said)
{
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT &&
	    strstr(said, "stopping, so that nothing is acknowledged") != NULL)
		return;
	if (status == 0 ||
	    (WIFEXITED(status) && WEXITSTATUS(status) == REFUSED_OPEN))
		return;
	fail_msg("status %x: %s", (unsigned)status, said);
}

/* Where the root page of the index could not be written LMDB puts half of the
 * old one back, which looks like rot: such an index is refused in words, and
 * made anew from the log. */
static void
opened_again(struct world *w)
{
	struct errmsg em = { .code = ERR_OK };
	enum err e = store_open(&w->o, &w->s, &em);

	if (e == ERR_OK)
		return;
	assert_int_equal(e, ERR_CORRUPT);
	assert_non_null(strstr(em.next, "rebuild"));
	index_rebuild(w);
	world_open(w);
}

static void
after_check(struct world *w, const enum outcome *outcome)
{
	snprintf(w->dir + strlen(w->dir), 8, "/store");
	opened_again(w);
	steps_check(w, outcome);
	assert_int_equal(file_put(w->s, 3), ERR_OK);
	assert_int_equal(file_get(w->s, 3), ERR_OK);
	store_close(w->s);
	*strrchr(w->dir, '/') = '\0';
}

/* Was the n-th call reached? */
static bool
run_with_fault(unsigned n, int sys, bool stay)
{
	enum outcome outcome[STEPS + 1] = { NOT_BEGUN };
	char log[TMPDIR_MAX + 8];
	struct world w = { .s = NULL };
	const char *said;
	int notes[2], status;
	bool touched;
	pid_t pid;

	tmpdir_make(w.dir);
	steps_world(&w);
	snprintf(log, sizeof(log), "%s.log", w.dir);
	assert_int_equal(pipe(notes), 0);
	pid = fork();
	if (pid == 0) {
		close(notes[0]);
		note_fd = notes[1];
		if (freopen(log, "w", stderr) == NULL)
			_exit(7);
		setvbuf(stderr, NULL, _IONBF, 0);
		child(&w, n, sys, stay);
	}
	close(notes[1]);
	notes_read(notes[0], outcome, &touched);
	close(notes[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	said = log_read(log);
	end_check(status, said);
	after_check(&w, outcome);
	tmpdir_remove(w.dir);
	assert_int_equal(unlink(log), 0);
	return touched;
}

/* Each call in its turn; a worker takes every second one. */
static void
worker(unsigned me, int sys, bool stay)
{
	unsigned n;

	for (n = 1 + me; n < CALLS_MAX; n += WORKERS) {
		if (!run_with_fault(n, sys, stay))
			break;
	}
	assert_true(n > 40 && n < CALLS_MAX);
	if (me == 0)
		print_message("about %u calls\n", n);
}

static void
every_call(int sys, bool stay)
{
	static bool is_worker; /* which failed, and went on to here */
	pid_t pid[WORKERS];
	unsigned i;

	if (is_worker)
		_exit(1);
	for (i = 0; i < WORKERS; i++) {
		pid[i] = fork();
		assert_true(pid[i] >= 0);
		if (pid[i] == 0) {
			is_worker = true;
			worker(i, sys, stay);
			fflush(NULL);
			_exit(0);
		}
	}
	for (i = 0; i < WORKERS; i++) {
		int status;

		assert_int_equal(waitpid(pid[i], &status, 0), pid[i]);
		assert_int_equal(status, 0);
	}
}

static void
test_io_error_of_any_call_loses_nothing_acknowledged(void **state)
{
	(void)state;
	every_call(EIO, false);
}

static void
test_no_space_from_any_call_on_loses_nothing_acknowledged(void **state)
{
	(void)state;
	every_call(ENOSPC, true);
}

static void
test_write_of_only_a_part_loses_nothing_acknowledged(void **state)
{
	(void)state;
	every_call(0, false);
}

static bool
long_run(void)
{
	const char *all = getenv("PSC_LONG");

	return all != NULL && *all != '\0';
}

static void
test_no_space_for_any_single_call_loses_nothing_acknowledged(void **state)
{
	(void)state;
	if (!long_run())
		skip();
	every_call(ENOSPC, false);
}

static void
test_io_errors_from_any_call_on_lose_nothing_acknowledged(void **state)
{
	(void)state;
	if (!long_run())
		skip();
	every_call(EIO, true);
}

static int
memory_folder(void **state)
{
	(void)state;
	if (getenv("TMPDIR") == NULL && access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 1);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    test_io_error_of_any_call_loses_nothing_acknowledged),
		cmocka_unit_test(
		    test_no_space_from_any_call_on_loses_nothing_acknowledged),
		cmocka_unit_test(
		    test_write_of_only_a_part_loses_nothing_acknowledged),
		cmocka_unit_test(
		    test_no_space_for_any_single_call_loses_nothing_acknowledged),
		cmocka_unit_test(
		    test_io_errors_from_any_call_on_lose_nothing_acknowledged),
	};

	return cmocka_run_group_tests(tests, memory_folder, NULL);
}
