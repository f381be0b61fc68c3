/* Claim: whatever bytes come, the plan that is made for them and the store
 * that cuts them join to the very same bytes: every file of tests/data, every
 * file below PSC_DATA if that is set, and 20,000 mutations of them (100,000
 * with PSC_LONG=1).  Mutations are of shrunk copies, real headers and a few
 * rows of pixels, so that most hit what plans depend on.  PSC_SEED repeats a
 * run. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "lib/split_lib.h"
#include "lib/store_lib.h"
#include "lib/tmpdir.h"
#include "store/base/num.h"

#define GROUP 64u /* files of one batch */
#define MUTATIONS 20000u
#define MUTATIONS_LONG 100000u
#define SHRUNK_ROWS 4u
#define SEED_BYTES (20 * KIB)

struct world {
	char dir[TMPDIR_MAX];
	struct store *s;
	struct split_files files;
	struct split *plan[GROUP];
	struct prng p;
	uint32_t dicom, nifti, planned;
};

static int
setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct store_opts o = { .segment_bytes = 64 * MIB };
	const char *more = getenv("PSC_DATA"), *seed = getenv("PSC_SEED");
	struct errmsg em;
	uint32_t i;

	assert_int_equal(cry_init(), ERR_OK);
	tmpdir_make(w->dir);
	o.dir = w->dir;
	assert_int_equal(store_open(&o, &w->s, &em), ERR_OK);
	split_find(&w->files, PSC_SOURCE_DIR "/tests/data");
	split_find(&w->files, PSC_SOURCE_DIR "/tests/fuzz/corpus/fuzz_plan");
	if (more != NULL)
		split_find(&w->files, more);
	for (i = 0; i < GROUP; i++)
		w->plan[i] = malloc(sizeof(*w->plan[i]));
	w->p.s = 1;
	if (seed != NULL)
		assert_int_equal(
		    num_u64(slice_str(seed), 1, UINT64_MAX, &w->p.s), ERR_OK);
	*state = w;
	return 0;
}

static int
teardown(void **state)
{
	struct world *w = *state;
	uint32_t i;

	for (i = 0; i < GROUP; i++)
		free(w->plan[i]);
	split_files_fini(&w->files);
	store_close(w->s);
	tmpdir_remove(w->dir);
	free(w);
	return 0;
}

static enum err
put_job(struct store_txn *t, void *ctx)
{
	return blob_batch_put(t, ctx);
}

struct group {
	struct slice bytes[GROUP];
	uint32_t n;
};

/* Plans, adds and reads again; stored: from the disk, else from the batch.
 * The number of the first file that is wrong, n if none. */
static uint32_t
group_run(struct world *w, struct group *g, bool stored)
{
	struct blob_file f[GROUP] = { { .n_plan = 0 } };
	struct blob_batch *b = blob_batch_new(w->s);
	struct blob_reader *r = blob_reader_over(b);
	uint32_t i;

	for (i = 0; i < g->n; i++) {
		split_plan(g->bytes[i], w->plan[i]);
		w->dicom += w->plan[i]->dicom;
		w->nifti += w->plan[i]->nifti;
		w->planned += w->plan[i]->n > 1;
		f[i] = (struct blob_file){ .bytes = g->bytes[i],
			.plan = w->plan[i]->p,
			.n_plan = w->plan[i]->n,
			.apart = prng_below(&w->p, 4) == 0 };
	}
	assert_int_equal(blob_batch_add_many(b, f, g->n), ERR_OK);
	assert_int_equal(blob_batch_seal(b), ERR_OK);
	if (stored) {
		assert_int_equal(store_write(w->s, put_job, b), ERR_OK);
		blob_reader_free(r);
		r = blob_reader_new(w->s);
	}
	for (i = 0; i < g->n; i++) {
		struct buf man = BUF_MAX(2 * MIB);
		enum err e = blob_batch_manifest(b, f[i].no, &man);

		if (e == ERR_OK)
			e = split_joins(r, buf_slice(&man), g->bytes[i]);
		buf_fini(&man);
		if (e != ERR_OK)
			break;
	}
	blob_reader_free(r);
	blob_batch_free(b);
	return i;
}

static void
test_every_file_of_the_data_sets_joins(void **state)
{
	struct world *w = *state;
	struct group *g = calloc(1, sizeof(*g));
	uint32_t i, k, bad;

	assert_true(w->files.n > 80);
	for (i = 0; i < w->files.n; i += g->n) {
		g->n = w->files.n - i < 8 ? w->files.n - i : 8;
		for (k = 0; k < g->n; k++)
			g->bytes[k] = split_read(w->files.path[i + k]);
		bad = group_run(w, g, true);
		if (bad < g->n)
			fail_msg("%s", w->files.path[i + bad]);
		for (k = 0; k < g->n; k++)
			split_free(g->bytes[k]);
	}
	print_message("%u files: %u DICOM, %u NIfTI, %u cut\n", w->files.n,
	    w->dicom, w->nifti, w->planned);
	assert_true(w->dicom > 60);
	assert_true(w->nifti >= 5);
	free(g);
}

/* --- mutations --- */

static uint32_t
le(const uint8_t *p, size_t n)
{
	uint32_t v = 0;

	while (n-- > 0)
		v = v << 8 | p[n];
	return v;
}

/* A copy with the pixels of a few rows, its header telling so; of files that
 * are no native DICOM the beginning. */
static struct slice
shrink(struct slice in)
{
	struct dcm_file *f = NULL;
	uint32_t rows, px;
	size_t n = in.n, row;
	uint8_t *p;

	if (n > SEED_BYTES)
		n = SEED_BYTES;
	p = malloc(SEED_BYTES);
	if (dcm_open(in, &f, NULL) == ERR_OK && f->pixels != DCM_NONE &&
	    !f->e[f->pixels].undefined && f->syntax != SYNTAX_BIG &&
	    (rows = dcm_find(f, 0x00280010)) != DCM_NONE) {
		uint32_t had = le(in.p + f->e[rows].val, 2);
		size_t at = (size_t)f->e[f->pixels].val;

		px = (uint32_t)f->e[f->pixels].len;
		row = had == 0 ? 0 : px / had;
		if (row > 0 && at + SHRUNK_ROWS * row <= SEED_BYTES) {
			n = at + SHRUNK_ROWS * row;
			memcpy(p, in.p, n);
			p[f->e[rows].val] = SHRUNK_ROWS;
			p[f->e[rows].val + 1] = 0;
			px = (uint32_t)(SHRUNK_ROWS * row);
			memcpy(p + at - 4, &px, 4);
			dcm_close(f);
			return slice_of(p, n);
		}
	}
	dcm_close(f);
	memcpy(p, in.p, n);
	return slice_of(p, n);
}

/* A mutated copy, in a block of its very size. */
static struct slice
mutate(struct prng *p, struct slice in)
{
	static const uint8_t odd[] = { 0, 1, 0xff, 0x7f, 0x80, 0xfe };
	uint8_t *out = malloc(in.n + 64);
	size_t n = in.n, at, k;
	uint32_t i, times = 1 + prng_below(p, 5);

	memcpy(out, in.p, n);
	for (i = 0; i < times && n > 16; i++) {
		at = prng_below(p, (uint32_t)n);
		switch (prng_below(p, 40)) {
		case 0: /* gone */
			k = 1 + prng_below(p, 8);
			k = k < n - at ? k : n - at;
			memmove(out + at, out + at + k, n - at - k);
			n -= k;
			break;
		case 1: /* in between */
			if (n + 8 > in.n + 64)
				break;
			memmove(out + at + 8, out + at, n - at);
			prng_fill(p, out + at, 8);
			n += 8;
			break;
		case 2: /* the rest */ n = at; break;
		case 3:
		case 4:
		case 5:
		case 6:
		case 7: /* lengths and counts are 2 or 4 bytes */
			for (k = at & ~(size_t)1; k < n && k < at + 4; k++)
				out[k] = odd[prng_below(p, sizeof(odd))];
			break;
		case 8:
		case 9:
		case 10: out[at] = odd[prng_below(p, sizeof(odd))]; break;
		default: out[at] ^= (uint8_t)(1u << prng_below(p, 8)); break;
		}
	}
	return slice_of(realloc(out, n > 0 ? n : 1), n);
}

static void
test_mutated_files_join(void **state)
{
	struct world *w = *state;
	const char *more = getenv("PSC_LONG");
	uint32_t todo =
	    more != NULL && more[0] == '1' ? MUTATIONS_LONG : MUTATIONS;
	struct slice *seeds = calloc(w->files.n, sizeof(*seeds));
	struct group *g = calloc(1, sizeof(*g));
	uint32_t i, k, bad, done;

	for (i = 0; i < w->files.n; i++) {
		struct slice whole = split_read(w->files.path[i]);

		seeds[i] = shrink(whole);
		split_free(whole);
	}
	w->dicom = w->nifti = w->planned = 0;
	for (done = 0; done < todo; done += g->n) {
		uint64_t seed = w->p.s;

		g->n = todo - done < GROUP ? todo - done : GROUP;
		for (k = 0; k < g->n; k++)
			g->bytes[k] =
			    mutate(&w->p, seeds[prng_below(&w->p, w->files.n)]);
		bad = group_run(w, g, done % (GROUP * 16) == 0);
		if (bad < g->n)
			fail_msg("PSC_SEED=%llu, file %u",
			    (unsigned long long)seed, bad);
		for (k = 0; k < g->n; k++)
			split_free(g->bytes[k]);
	}
	print_message("%u mutations: %u DICOM still, %u NIfTI, %u cut\n", done,
	    w->dicom, w->nifti, w->planned);
	assert_true(w->planned > todo / 10); /* else the test proves little */
	for (i = 0; i < w->files.n; i++)
		split_free(seeds[i]);
	free(seeds);
	free(g);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_every_file_of_the_data_sets_joins),
		T(test_mutated_files_join),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
