/* Claims: verify names what is damaged, by kind; quick finds what is missing
 * or out of place, deep also what is altered; more segments than descriptors
 * in the cache are read all the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/store_lib.h"
#include "lib/tmpdir.h"
#include "store/blob/blob_internal.h"
#include "store/blob/store_internal.h"

struct world {
	char dir[TMPDIR_MAX];
	struct store_opts o;
	struct store *s;
	struct store_loc chunk, op, head, small, large; /* one of each kind */
};

/* --- one record of each kind --- */

static enum err
row_loc(struct store_txn *t, const char *key, struct store_loc *out)
{
	struct slice v;
	struct rd r;
	enum err e = db_get(store_txn_db(t), DB_ROW, slice_of(key, 3), &v);

	if (e != ERR_OK)
		return e;
	r = rd_init(v);
	*out = store_loc_read(&r);
	return ERR_OK;
}

static enum err
fill_job(struct store_txn *t, void *ctx)
{
	static const uint8_t body[3000] = { 9 };
	struct slice b = slice_of(body, sizeof(body));
	struct world *w = ctx;
	struct cry_id id = { { 3 } };
	enum err e = store_rec_put(t, REC_OP, &id, b, &w->op);

	if (e == ERR_OK)
		e = store_rec_put(t, REC_HEAD, &id, b, &w->head);
	cry_hash(b, &id);
	if (e == ERR_OK)
		e = blob_chunk_put(t, &id, b);
	if (e == ERR_OK)
		e = blob_chunk_find(store_txn_db(t), &id, &w->chunk);
	if (e == ERR_OK)
		e = store_row_put(t, "t", SLICE_LIT("s"), SLICE_LIT("small"));
	if (e == ERR_OK)
		e = store_row_put(t, "t", SLICE_LIT("l"), b);
	if (e == ERR_OK)
		e = row_loc(t, "\1ts", &w->small);
	return e == ERR_OK ? row_loc(t, "\1tl", &w->large) : e;
}

static int
setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	tmpdir_make(w->dir);
	w->o.dir = w->dir;
	w->o.segment_bytes = 64 * KIB;
	memset(w->o.local.b, 1, 32);
	assert_int_equal(cry_init(), ERR_OK);
	assert_int_equal(store_open(&w->o, &w->s, NULL), ERR_OK);
	assert_int_equal(store_write(w->s, fill_job, w), ERR_OK);
	*state = w;
	return 0;
}

static int
teardown(void **state)
{
	struct world *w = *state;

	store_close(w->s);
	tmpdir_remove(w->dir);
	free(w);
	return 0;
}

struct found {
	unsigned n;
	char kinds[256];
};

static void
bad_note(void *ctx, const struct store_bad *bad)
{
	struct found *f = ctx;
	size_t at = strlen(f->kinds);

	f->n++;
	snprintf(f->kinds + at, sizeof(f->kinds) - at, "%s ", bad->what);
}

static struct found
verify(struct world *w, bool deep, uint64_t *checked)
{
	struct found f = { .n = 0 };

	assert_int_equal(
	    store_verify(w->s, deep, bad_note, &f, checked), ERR_OK);
	return f;
}

static void
flip(struct world *w, uint32_t seg, uint64_t off)
{
	char path[TMPDIR_MAX + 32];
	uint8_t b;
	int fd;

	snprintf(
	    path, sizeof(path), "%s/segments/%08x.seg", w->dir, (unsigned)seg);
	fd = open(path, O_RDWR);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &b, 1, (off_t)off), 1);
	b ^= 1;
	assert_int_equal(pwrite(fd, &b, 1, (off_t)off), 1);
	close(fd);
}

static void
test_intact_store_is_clean_quick_and_deep(void **state)
{
	struct world *w = *state;
	uint64_t checked;

	assert_int_equal(verify(w, false, &checked).n, 0);
	assert_int_equal(checked, 3); /* a chunk, two rows */
	assert_int_equal(verify(w, true, &checked).n, 0);
	assert_int_equal(checked, 5);
}

static void
expect_kind(struct world *w, const struct store_loc *l, const char *kinds)
{
	struct found f;

	flip(w, l->seg, l->off + STORE_REC_HEADER + 5);
	f = verify(w, true, NULL);
	assert_string_equal(f.kinds, kinds);
	assert_int_equal(verify(w, false, NULL).n, 0); /* bytes: deep only */
	flip(w, l->seg, l->off + STORE_REC_HEADER + 5);
	assert_int_equal(verify(w, true, NULL).n, 0);
}

static void
test_altered_body_is_named_by_kind(void **state)
{
	struct world *w = *state;

	expect_kind(w, &w->chunk, "chunk ");
	expect_kind(w, &w->op, "op ");
	expect_kind(w, &w->head, "op ");
	/* the record, and the row that needs it */
	expect_kind(w, &w->small, "row row ");
	expect_kind(w, &w->large, "row row ");
}

static void
test_quick_finds_damaged_headers(void **state)
{
	struct world *w = *state;

	flip(w, w->chunk.seg, w->chunk.off + 20);
	assert_string_equal(verify(w, false, NULL).kinds, "chunk ");
	flip(w, w->chunk.seg, w->chunk.off + 20);
	flip(w, w->large.seg, w->large.off);
	assert_string_equal(verify(w, false, NULL).kinds, "row ");
	flip(w, w->large.seg, w->large.off);
	flip(w, 1, 17);
	assert_string_equal(verify(w, false, NULL).kinds, "segment ");
	flip(w, 1, 17);
	assert_int_equal(verify(w, false, NULL).n, 0);
}

static void
test_quick_finds_a_segment_that_is_too_short(void **state)
{
	struct world *w = *state;
	char path[TMPDIR_MAX + 32];
	struct found f;

	snprintf(path, sizeof(path), "%s/segments/00000001.seg", w->dir);
	assert_int_equal(truncate(path, 8192), 0);
	f = verify(w, false, NULL);
	assert_int_equal(memcmp(f.kinds, "segment ", 8), 0);
	assert_non_null(strstr(f.kinds, "chunk "));
	assert_non_null(strstr(f.kinds, "row "));
}

static enum err
wrong_place_job(struct store_txn *t, void *ctx)
{
	struct world *w = ctx;
	struct buf v = BUF_MAX(64);
	struct store_loc l = w->large;
	enum err e;

	l.seg += 7; /* no such segment */
	store_loc_put(&v, &l);
	e = db_put(store_txn_db(t), DB_ROW, SLICE_LIT("\1tl"), buf_slice(&v));
	v.n = 0;
	l = w->large;
	l.off = 1 << 30;
	store_loc_put(&v, &l);
	if (e == ERR_OK)
		e = db_put(
		    store_txn_db(t), DB_ROW, SLICE_LIT("\1tz"), buf_slice(&v));
	if (e == ERR_OK)
		e = db_put(
		    store_txn_db(t), DB_ROW, SLICE_LIT("\1ty"), SLICE_LIT("x"));
	buf_fini(&v);
	return e;
}

static void
test_row_that_points_nowhere_is_found(void **state)
{
	struct world *w = *state;

	assert_int_equal(store_write(w->s, wrong_place_job, w), ERR_OK);
	assert_string_equal(verify(w, false, NULL).kinds, "row row row ");
}

static void
test_altered_index_value_is_found(void **state)
{
	struct world *w = *state;
	char path[TMPDIR_MAX + 16];
	uint8_t sealed[20], *p, *at;
	struct stat st;
	struct db_txn *t;
	struct slice v;
	struct found f;
	int fd;

	assert_int_equal(store_read(w->s, &t), ERR_OK);
	assert_int_equal(db_get(t, DB_ROW, SLICE_LIT("\1ts"), &v), ERR_OK);
	memcpy(sealed, v.p + STORE_LOC_BYTES, sizeof(sealed));
	db_abort(t);
	store_close(w->s);
	snprintf(path, sizeof(path), "%s/db/data.mdb", w->dir);
	fd = open(path, O_RDWR);
	assert_int_equal(fstat(fd, &st), 0);
	p = malloc((size_t)st.st_size);
	assert_int_equal(pread(fd, p, (size_t)st.st_size, 0), st.st_size);
	at = memmem(p, (size_t)st.st_size, sealed, sizeof(sealed));
	assert_non_null(at);
	*at ^= 1;
	assert_int_equal(pwrite(fd, at, 1, at - p), 1);
	free(p);
	close(fd);
	assert_int_equal(store_open(&w->o, &w->s, NULL), ERR_OK);
	f = verify(w, true, NULL);
	assert_string_equal(f.kinds, "index ");
}

/* --- many segments --- */

#define MANY 150u

struct many {
	struct store_loc loc[MANY];
	uint8_t body[60 * 1024];
};

static enum err
many_job(struct store_txn *t, void *ctx)
{
	struct many *m = ctx;
	struct cry_id id = { { 1 } };
	enum err e = ERR_OK;
	unsigned i;

	for (i = 0; i < MANY && e == ERR_OK; i++) {
		m->body[0] = (uint8_t)i;
		e = store_rec_put(t, REC_OP, &id,
		    slice_of(m->body, sizeof(m->body)), &m->loc[i]);
	}
	return e;
}

static void
test_more_segments_than_cached_descriptors_are_read(void **state)
{
	struct world *w = *state;
	struct many *m = calloc(1, sizeof(*m));
	struct buf b = BUF_MAX(sizeof(m->body));
	uint64_t checked;
	unsigned i;

	assert_int_equal(store_write(w->s, many_job, m), ERR_OK);
	assert_true(m->loc[MANY - 1].seg > 2 * STORE_FD_SLOTS);
	for (i = 0; i < 3 * MANY; i++) {
		unsigned k = i * 67 % MANY;

		buf_reset(&b);
		assert_int_equal(
		    store_rec_get(w->s, &m->loc[k], REC_OP, &b), ERR_OK);
		assert_int_equal(b.p[0], (uint8_t)k);
	}
	assert_int_equal(verify(w, true, &checked).n, 0);
	assert_int_equal(checked, MANY + 5);
	buf_fini(&b);
	free(m);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_intact_store_is_clean_quick_and_deep),
		T(test_altered_body_is_named_by_kind),
		T(test_quick_finds_damaged_headers),
		T(test_quick_finds_a_segment_that_is_too_short),
		T(test_row_that_points_nowhere_is_found),
		T(test_altered_index_value_is_found),
		T(test_more_segments_than_cached_descriptors_are_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
