/* Claims, on a real series and the store's size on disk (segments up to their
 * end, and the index): an identical copy of a series adds less than 0.1 % of
 * its bytes; a copy with every header rewritten to another length, pixels
 * equal, adds less than 1 %.
 *
 * The series of tests/data are 7 to 9 MB; three times as many slices, each
 * with noise of its own, make the fixed costs (4 KiB a commit, index pages)
 * what they are for a clinical series.  The rewriting is de-identification. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "lib/split_lib.h"
#include "lib/store_lib.h"
#include "lib/tmpdir.h"
#include "node/imaging/helper/deid.h"

#define SLICES 256u
#define TIMES 3u /* slices made of one */

struct series {
	struct slice file[SLICES];
	uint32_t n;
	uint64_t bytes;
};

struct world {
	char dir[TMPDIR_MAX];
	struct store *s;
	struct prng p;
	struct split *plan;
};

static int
setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct store_opts o = { .dir = w->dir };
	struct errmsg em;

	assert_int_equal(cry_init(), ERR_OK);
	tmpdir_make(w->dir);
	assert_int_equal(store_open(&o, &w->s, &em), ERR_OK);
	w->p.s = 1;
	w->plan = calloc(SLICES, sizeof(*w->plan));
	*state = w;
	return 0;
}

static int
teardown(void **state)
{
	struct world *w = *state;

	store_close(w->s);
	tmpdir_remove(w->dir);
	free(w->plan);
	free(w);
	return 0;
}

/* The same header, pixels with another noise in their two low bits. */
static struct slice
noisy(struct prng *p, struct slice in)
{
	struct dcm_file *f = NULL;
	uint8_t *out = malloc(in.n);
	size_t at, end;

	memcpy(out, in.p, in.n);
	assert_int_equal(dcm_open(in, &f, NULL), ERR_OK);
	at = (size_t)f->e[f->pixels].val;
	end = at + (size_t)f->e[f->pixels].len;
	for (; at < end; at += 2)
		out[at] ^= (uint8_t)prng_below(p, 4);
	dcm_close(f);
	return slice_of(out, in.n);
}

static void
series_add(struct series *to, struct slice file)
{
	to->file[to->n++] = file;
	to->bytes += file.n;
}

static struct series *
series_read(struct world *w, const char *name)
{
	struct series *to = calloc(1, sizeof(*to));
	struct split_files *files = calloc(1, sizeof(*files));
	char dir[512];
	uint32_t i, k;

	(void)snprintf(
	    dir, sizeof(dir), PSC_SOURCE_DIR "/tests/data/dicom/%s/in", name);
	split_find(files, dir);
	assert_true(files->n > 5 && files->n * TIMES <= SLICES);
	for (i = 0; i < files->n; i++) {
		struct slice one = split_read(files->path[i]);

		for (k = 1; k < TIMES; k++)
			series_add(to, noisy(&w->p, one));
		series_add(to, one);
	}
	split_files_fini(files);
	free(files);
	return to;
}

static struct slice
retag(struct slice in)
{
	struct img_context ctx = { .profile = "basic", .subject = "SUBJECT-7" };
	struct deid_result r = { .n_findings = 0 };
	struct dcm_file *f = NULL;
	struct img_identity id;
	const char **uids;
	struct slice out;
	uint32_t k;

	assert_int_equal(dcm_open(in, &f, NULL), ERR_OK);
	assert_int_equal(deid_identity(f, &id), ERR_OK);
	uids = calloc(id.n_uids + 1, sizeof(*uids));
	for (k = 0; k < id.n_uids; k++)
		uids[k] = "2.25.329800735698586629295641978511506172918";
	ctx.new_uids = uids;
	ctx.n_uids = id.n_uids;
	assert_int_equal(deid_apply(f, &id, &ctx, &r, NULL), ERR_OK);
	out = slice_of(malloc(r.file.n), r.file.n);
	memcpy((void *)(uintptr_t)out.p, r.file.p, out.n);
	free((void *)uids);
	deid_result_fini(&r);
	deid_identity_fini(&id);
	dcm_close(f);
	return out;
}

static void
series_free(struct series *s)
{
	while (s->n > 0)
		split_free(s->file[--s->n]);
	free(s);
}

static enum err
put_job(struct store_txn *t, void *ctx)
{
	return blob_batch_put(t, ctx);
}

/* Stores all in one batch, reads all again; bytes the store grew by. */
static uint64_t
series_put(struct world *w, const struct series *s)
{
	struct blob_file f[SLICES] = { { .n_plan = 0 } };
	struct blob_batch *b = blob_batch_new(w->s);
	struct blob_reader *r = blob_reader_new(w->s);
	struct store_stats had, has;
	uint32_t i;

	assert_int_equal(store_stats(w->s, &had), ERR_OK);
	for (i = 0; i < s->n; i++) {
		split_plan(s->file[i], &w->plan[i]);
		assert_true(w->plan[i].n >= 2);
		f[i].bytes = s->file[i];
		f[i].plan = w->plan[i].p;
		f[i].n_plan = w->plan[i].n;
	}
	assert_int_equal(blob_batch_add_many(b, f, s->n), ERR_OK);
	assert_int_equal(blob_batch_seal(b), ERR_OK);
	assert_int_equal(store_write(w->s, put_job, b), ERR_OK);
	assert_int_equal(store_stats(w->s, &has), ERR_OK);
	for (i = 0; i < s->n; i++) {
		struct buf man = BUF_MAX(MIB);

		assert_int_equal(blob_batch_manifest(b, f[i].no, &man), ERR_OK);
		assert_int_equal(
		    split_joins(r, buf_slice(&man), s->file[i]), ERR_OK);
		buf_fini(&man);
	}
	blob_reader_free(r);
	blob_batch_free(b);
	return has.stored_bytes - had.stored_bytes;
}

static void
copies_cost_little(struct world *w, const char *name)
{
	struct series *s = series_read(w, name);
	struct series *copy = calloc(1, sizeof(*copy));
	uint64_t first, same, other, same_len = 0;
	uint32_t i;

	for (i = 0; i < s->n; i++) {
		series_add(copy, retag(s->file[i]));
		same_len += copy->file[i].n == s->file[i].n;
	}
	assert_int_equal(same_len, 0); /* every header has another length */
	first = series_put(w, s);
	same = series_put(w, s);
	other = series_put(w, copy);
	print_message("%s: %u slices, %llu bytes: stored %llu, identical copy "
		      "+%llu (%.3f %%), re-tagged copy +%llu (%.3f %%)\n",
	    name, s->n, (unsigned long long)s->bytes, (unsigned long long)first,
	    (unsigned long long)same, 100.0 * (double)same / (double)s->bytes,
	    (unsigned long long)other,
	    100.0 * (double)other / (double)s->bytes);
	assert_true(first < s->bytes);
	assert_true(same * 1000 < s->bytes);
	assert_true(other * 100 < s->bytes);
	/* also of what the series itself took */
	assert_true(other * 100 < first * 2);
	series_free(s);
	series_free(copy);
}

static void
test_copies_of_a_ct_series(void **state)
{
	copies_cost_little(*state, "ct_philips_head_tilt");
}

static void
test_copies_of_an_mr_series(void **state)
{
	copies_cost_little(*state, "mr_t1_axial_7t_defaced");
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_copies_of_a_ct_series),
		T(test_copies_of_an_mr_series),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
