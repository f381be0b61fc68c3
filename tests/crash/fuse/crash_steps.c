/* tests/crash/fuse/crash_steps.c: the steps of steps.h on a folder, and the
 * look at it afterwards.
 *
 *   crash_steps run FOLDER POS      does them; tells each begin and answer
 *                                   with the text of the file POS
 *   crash_steps check FOLDER OUTCOMES
 *       a digit for each step: 0 not begun, 1 on its way, 2 done, 3 refused
 *   crash_steps steps               prints how many there are */
#include "../blob/steps.h"

static const char *pos_path;
static const char *given;
static char folder[TMPDIR_MAX];

static void
tell(const char *what, unsigned i)
{
	char pos[64];
	FILE *f = fopen(pos_path, "r");

	if (f == NULL || fgets(pos, sizeof(pos), f) == NULL)
		abort();
	fclose(f);
	pos[strcspn(pos, "\n")] = '\0';
	printf("%s %u %s\n", what, i, pos);
	fflush(stdout);
}

static void
begun(unsigned i)
{
	tell("begun", i);
}

static void
answered(unsigned i, enum err e)
{
	if (e != (step_of(i).kind == STEP_REFUSED ? ERR_CANCELLED : ERR_OK))
		abort();
	tell(e == ERR_OK ? "done" : "refused", i);
}

static void
steps_are_done(void **state)
{
	struct world w = { .s = NULL };
	struct steps run = {
		.w = &w, .last = STEPS, .begun = begun, .answered = answered
	};

	(void)state;
	snprintf(w.dir, sizeof(w.dir), "%s", folder);
	steps_world(&w);
	world_open(&w);
	assert_true(steps_run(&run));
	store_close(w.s);
}

static void
store_holds_what_was_acknowledged(void **state)
{
	enum outcome outcome[STEPS + 1] = { NOT_BEGUN };
	struct world w = { .s = NULL };
	unsigned i;

	(void)state;
	assert_int_equal(strlen(given), STEPS);
	for (i = 1; i <= STEPS; i++)
		outcome[i] = (enum outcome)(given[i - 1] - '0');
	snprintf(w.dir, sizeof(w.dir), "%s", folder);
	steps_world(&w);
	world_open(&w);
	steps_check(&w, outcome);
	store_close(w.s);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest run[] = { cmocka_unit_test(steps_are_done) };
	const struct CMUnitTest check[] = { cmocka_unit_test(
	    store_holds_what_was_acknowledged) };

	if (argc == 2) {
		printf("%u\n", STEPS);
		return 0;
	}
	if (argc != 4)
		return 2;
	snprintf(folder, sizeof(folder), "%s", argv[2]);
	pos_path = given = argv[3];
	if (strcmp(argv[1], "run") == 0)
		return cmocka_run_group_tests(run, NULL, NULL);
	return cmocka_run_group_tests(check, NULL, NULL);
}
