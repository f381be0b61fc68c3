/* Claim: whatever the disk kept of unsynced writes when the power went, all
 * that was acknowledged is there and the store is whole.
 *
 * rec.h records what the steps of steps.h do to the disk, from an empty
 * folder on.  Then the folder is built again as it could look after a cut at
 * every point of that history: all done so far; only what was synced; random
 * parts of the rest, torn at sectors of 512 and of 4096 bytes.  Each is opened
 * and looked through, and takes a write; some get a new index from the log
 * before.
 *
 * PSC_CRASH_STATES sets how many states are tried, PSC_LONG tries many. */
#include "rec.h"
#include "steps.h"

#include "store/base/num.h"

#define STATES_DEFAULT 2000u
#define STATES_LONG 12000u
#define WORKERS 2u
#define REBUILD_EVERY 7u
#define BIRTH 60u /* events */

static void
begun(unsigned i)
{
	note_step(EV_BEGIN, i);
}

static void
answered(unsigned i, enum err e)
{
	if (e != (step_of(i).kind == STEP_REFUSED ? ERR_CANCELLED : ERR_OK))
		abort();
	note_step(EV_ACK, i);
}

static void
workload(struct world *w)
{
	struct steps run = {
		.w = w, .last = STEPS, .begun = begun, .answered = answered
	};

	snprintf(rec.root, sizeof(rec.root), "%s", w->dir);
	snprintf(w->dir + strlen(w->dir), 8, "/store");
	rec.on = true;
	world_open(w);
	assert_true(steps_run(&run));
	store_close(w->s);
	rec.on = false;
	snprintf(w->dir, sizeof(w->dir), "%s", rec.root);
}

static void
outcomes(unsigned cut, enum outcome *out)
{
	unsigned i;

	for (i = 0; i < cut; i++) {
		unsigned step = rec.ev[i].file;

		if (rec.ev[i].kind == EV_BEGIN)
			out[step] = ON_ITS_WAY;
		else if (rec.ev[i].kind == EV_ACK)
			out[step] =
			    step_of(step).kind == STEP_REFUSED ? REFUSED : DONE;
	}
}

static bool
any_done(const enum outcome *outcome)
{
	unsigned i;

	for (i = 1; i <= STEPS; i++) {
		if (outcome[i] == DONE)
			return true;
	}
	return false;
}

static void
state_check(struct state *s, const struct world *like, bool rebuild)
{
	enum outcome outcome[STEPS + 1] = { NOT_BEGUN };
	struct world w = { .o = like->o };

	tmpdir_make(w.dir);
	state_build(s, w.dir);
	outcomes(s->cut, outcome);
	snprintf(w.dir + strlen(w.dir), 8, "/store");
	w.o.dir = w.dir;
	if (rebuild && any_done(outcome))
		index_rebuild(&w);
	world_open(&w);
	steps_check(&w, outcome);
	assert_int_equal(file_put(w.s, 3), ERR_OK);
	assert_int_equal(file_get(w.s, 3), ERR_OK);
	store_close(w.s);
	*strrchr(w.dir, '/') = '\0';
	tmpdir_remove(w.dir);
}

static uint64_t
states_wanted(void)
{
	const char *want = getenv("PSC_CRASH_STATES");
	const char *all = getenv("PSC_LONG");
	uint64_t n = all != NULL && *all != '\0' ? STATES_LONG : STATES_DEFAULT;

	if (want != NULL)
		assert_int_equal(
		    num_u64(slice_str(want), 1, 1000000, &n), ERR_OK);
	return n;
}

/* Every WORKERS-th state: those of one cut differ in fate. */
static void
worker(unsigned me, uint64_t states, const struct world *w)
{
	struct state s = { .img = calloc(1, FILE_MAX_STATE) };
	uint64_t i;

	for (i = me; i < states; i += WORKERS) {
		s.p.s = i + 1;
		s.salt = i * 0x9e3779b97f4a7c15u;
		s.fate = (enum fate)(i % FATES);
		s.cut = 1 + (unsigned)(i * rec.n / states);
		if (i % 16 >= FATES * 3) /* the birth of a store is short */
			s.cut = 1 + prng_below(&s.p, BIRTH);
		snprintf(steps_where, sizeof(steps_where),
		    "cut %u, fate %d, rebuild %d", s.cut, (int)s.fate,
		    i % REBUILD_EVERY == 0);
		state_check(&s, w, i % REBUILD_EVERY == 0);
	}
	free(s.img);
}

static void
test_no_power_cut_loses_what_was_acknowledged(void **state)
{
	uint64_t states = states_wanted();
	struct world w = { .s = NULL };
	pid_t pid[WORKERS];
	unsigned i, removed = 0;

	(void)state;
	tmpdir_make(w.dir);
	steps_world(&w);
	workload(&w);
	tmpdir_remove(w.dir);
	for (i = 0; i < WORKERS; i++) {
		pid[i] = fork();
		assert_true(pid[i] >= 0);
		if (pid[i] == 0) {
			worker(i, states, &w);
			_exit(0);
		}
	}
	for (i = 0; i < WORKERS; i++) {
		int status;

		assert_int_equal(waitpid(pid[i], &status, 0), pid[i]);
		assert_int_equal(status, 0);
	}
	for (i = 0; i < rec.names; i++)
		removed += rec.name[i].gone != UINT_MAX &&
			   strstr(rec.name[i].path, ".seg") != NULL;
	print_message("%u events, %u names, %u segments removed, %u states\n",
	    rec.n, rec.names, removed, (unsigned)states);
	assert_true(removed > 0);     /* by the collector */
	assert_true(rec.names >= 10); /* segments were changed */
	assert_true(states < STATES_DEFAULT || states * 3 / 4 >= rec.n);
	rec_free();
}

/* States lie in memory: thousands of them would wear a disk. */
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
		cmocka_unit_test(test_no_power_cut_loses_what_was_acknowledged),
	};

	return cmocka_run_group_tests(tests, memory_folder, NULL);
}
