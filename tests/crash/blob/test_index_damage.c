/* Claims: of a bit flipped anywhere in the index, its inner pages included,
 * nothing wrong is served: the store does not open, or deep verify tells, or
 * the bit meant nothing (a free page, the unused part of a page) and all is
 * there; and looking does not crash.
 *
 * Each flip is looked at by a child on the same files. */
#include "steps.h"

#include "store/base/num.h"

#define FLIPS 200u
#define ROWS 1500u
#define FLIPS_LONG 2000u
#define PAGE ((size_t)4096)
#define EXIT_BASE 50 /* a sanitizer exits with 1 */

enum verdict { MEANT_NOTHING, TOLD, REFUSED_OPEN, WRONG, VERDICTS };

struct index_file {
	char path[TMPDIR_MAX + 32];
	uint8_t *p;
	size_t n; /* pages in use */
};

static void
begun(unsigned i)
{
	(void)i;
}

static void
answered(unsigned i, enum err e)
{
	assert_int_equal(
	    e, step_of(i).kind == STEP_REFUSED ? ERR_CANCELLED : ERR_OK);
}

/* Enough rows for trees with inner pages. */
static enum err
rows_job(struct store_txn *t, void *ctx)
{
	enum err e = ERR_OK;
	uint8_t key[4];
	uint32_t i;

	(void)ctx;
	for (i = 0; i < ROWS && e == ERR_OK; i++)
		e = store_row_put(t, "many", file_key(i * 7919, key),
		    slice_of(key, sizeof(key)));
	return e;
}

static void
filled(struct world *w, struct index_file *f)
{
	struct steps run = {
		.w = w, .last = STEPS, .begun = begun, .answered = answered
	};
	struct store_stats st;
	int fd;

	tmpdir_make(w->dir);
	steps_world(w);
	world_open(w);
	assert_true(steps_run(&run));
	assert_int_equal(store_write(w->s, rows_job, NULL), ERR_OK);
	assert_int_equal(store_stats(w->s, &st), ERR_OK);
	store_close(w->s);
	snprintf(f->path, sizeof(f->path), "%s/db/data.mdb", w->dir);
	f->n = (size_t)st.index_bytes;
	f->p = malloc(f->n);
	fd = open(f->path, O_RDONLY);
	assert_int_equal(read(fd, f->p, f->n), f->n);
	close(fd);
}

static void
index_put(const struct index_file *f)
{
	int fd = open(f->path, O_WRONLY);

	assert_int_equal(pwrite(fd, f->p, f->n, 0), f->n);
	close(fd);
}

static bool
key_is(struct store *s, struct db_txn *t, unsigned k, uint32_t want)
{
	struct buf man = BUF_MAX(MIB), out = BUF_MAX(FILE_MAX);
	struct blob_manifest m = { 0 };
	uint8_t key[4];
	uint32_t no = 0;
	enum err e = store_row_get(s, t, "file", file_key(k, key), &man);

	if (e == ERR_OK)
		e = blob_manifest_decode(buf_slice(&man), &m);
	if (e == ERR_OK)
		e = blob_join(s, &m, &out);
	if (e == ERR_OK)
		no = number_of(buf_slice(&out));
	blob_manifest_fini(&m);
	buf_fini(&man);
	buf_fini(&out);
	if (e != ERR_OK && e != ERR_NOTFOUND)
		return true; /* refused to serve */
	return no == want;
}

/* In the child. */
static enum verdict
look(struct world *w, bool deep)
{
	struct contents want = { .no = { 0 } };
	struct errmsg em;
	struct db_txn *t;
	bool right = true;
	unsigned bad = 0, i;

	for (i = 1; i <= STEPS; i++)
		step_apply(i, &want);
	if (store_open(&w->o, &w->s, &em) != ERR_OK)
		return REFUSED_OPEN;
	if (store_verify(w->s, deep, bad_count, &bad, NULL) != ERR_OK)
		bad++;
	if (bad > 0)
		return TOLD;
	if (store_read(w->s, &t) != ERR_OK)
		return TOLD;
	for (i = 0; i < KEYS; i++)
		right = key_is(w->s, t, i, want.no[i]) && right;
	db_abort(t);
	store_close(w->s);
	return right ? MEANT_NOTHING : WRONG;
}

/* Half of them in what a page begins with: its number, its flags, its places;
 * some in the two pages that say where the trees are. */
static size_t
place_of(struct prng *p, const struct index_file *f, unsigned i)
{
	size_t page = prng_below(p, (uint32_t)(f->n / PAGE));

	if (i % 8 == 0)
		page = i / 8 % 2;
	if (i % 2 == 0)
		return page * PAGE + prng_below(p, 200);
	return page * PAGE + prng_below(p, PAGE);
}

static int
flip_and_look(
    struct world *w, struct index_file *f, size_t at, unsigned bit, bool deep)
{
	int status;
	pid_t pid;

	f->p[at] ^= (uint8_t)(1u << bit);
	index_put(f);
	f->p[at] ^= (uint8_t)(1u << bit);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(EXIT_BASE + (int)look(w, deep));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void
test_flipped_bits_of_the_index_are_told_and_nothing_wrong_is_served(
    void **state)
{
	const char *all = getenv("PSC_LONG");
	unsigned n = all != NULL && *all != '\0' ? FLIPS_LONG : FLIPS, i;
	unsigned seen[VERDICTS] = { 0 }, crashed = 0;
	struct world w = { .s = NULL };
	struct index_file f;
	struct prng p = { 5 };

	(void)state;
	filled(&w, &f);
	for (i = 0; i < n; i++) {
		size_t at = place_of(&p, &f, i);
		unsigned bit = prng_below(&p, 8);
		int status = flip_and_look(&w, &f, at, bit, true);

		if (!WIFEXITED(status) || WEXITSTATUS(status) < EXIT_BASE) {
			print_message("page %zu offset %zu bit %u: crash\n",
			    at / PAGE, at % PAGE, bit);
			crashed++;
			continue;
		}
		seen[WEXITSTATUS(status) - EXIT_BASE]++;
		if (WEXITSTATUS(status) == EXIT_BASE + WRONG)
			print_message("page %zu offset %zu bit %u: wrong\n",
			    at / PAGE, at % PAGE, bit);
	}
	print_message("%u flips: %u told, %u refused, %u meant nothing\n", n,
	    seen[TOLD], seen[REFUSED_OPEN], seen[MEANT_NOTHING]);
	assert_int_equal(seen[WRONG], 0);
	assert_int_equal(crashed, 0);
	assert_true(seen[TOLD] > n / 8 && seen[REFUSED_OPEN] > n / 40);
	index_put(&f);
	assert_int_equal(look(&w, true), MEANT_NOTHING);
	free(f.p);
	tmpdir_remove(w.dir);
}

/* An inner page that lost its last entries hides all keys below them: a quick
 * verify tells it, as a deep one does. */
static void
test_quick_verify_tells_of_inner_pages(void **state)
{
	unsigned quick = 0, deep = 0, n = 0;
	struct world w = { .s = NULL };
	struct index_file f;
	size_t page;

	(void)state;
	filled(&w, &f);
	for (page = 2; page < f.n / PAGE; page++) {
		uint8_t *p = f.p + page * PAGE, *lower = p + 12;

		if (p[10] != 1 || *lower < 20 || p[0] != (uint8_t)page)
			continue;
		n++;
		*lower = (uint8_t)(*lower - 2);
		deep += flip_and_look(&w, &f, page * PAGE + 8, 0, true) ==
			(EXIT_BASE + TOLD) << 8;
		quick += flip_and_look(&w, &f, page * PAGE + 8, 0, false) ==
			 (EXIT_BASE + TOLD) << 8;
		*lower = (uint8_t)(*lower + 2);
	}
	print_message(
	    "%u inner pages: %u told deep, %u quick\n", n, deep, quick);
	assert_true(deep > 0);
	assert_int_equal(quick, deep);
	free(f.p);
	tmpdir_remove(w.dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    test_flipped_bits_of_the_index_are_told_and_nothing_wrong_is_served),
		cmocka_unit_test(test_quick_verify_tells_of_inner_pages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
