/* Claims: the index rebuilt from the log alone equals the one that was lost;
 * a lost index is refused, not written over; damage is named and the rest is
 * there; a commit that did not end is left out; a rebuild that fails leaves
 * the old index as it was. */
#include "store_world.h"

#include "store/blob/blob_internal.h"

#define CHUNKS 40u

struct fill {
	struct prng *p;
	unsigned from;
	struct store_loc chunk; /* of the first chunk of this job */
};

static enum err
fill_job(struct store_txn *t, void *ctx)
{
	struct fill *f = ctx;
	uint8_t body[20000];
	struct cry_id cid;
	unsigned i;
	enum err e = ERR_OK;

	for (i = 0; i < 10 && e == ERR_OK; i++) {
		struct slice b = slice_of(body, 500 + 1900 * (size_t)i);
		uint8_t key = (uint8_t)((f->from + i) % 17);

		prng_fill(f->p, body, b.n);
		cry_hash(b, &cid);
		e = blob_chunk_put(t, &cid, b);
		if (e == ERR_OK && i == 0)
			e = blob_chunk_find(store_txn_db(t), &cid, &f->chunk);
		if (e == ERR_OK)
			e = store_row_put(
			    t, "t", slice_of(&key, 1), slice_of(body, 100));
		if (e == ERR_OK && i % 4 == 3)
			e = store_row_del(t, "t", slice_of(&key, 1));
		if (e == ERR_OK && i == 5)
			e = store_row_put(t, "large", slice_of(&key, 1), b);
		if (e == ERR_OK && i == 7)
			e = store_rec_put(t, REC_OP, &cid, b, &f->chunk);
	}
	return e;
}

static struct store_loc
fill(struct world *w)
{
	struct fill f = { .p = &w->p };

	for (; f.from < CHUNKS; f.from += 10)
		assert_int_equal(store_write(w->s, fill_job, &f), ERR_OK);
	return f.chunk;
}

static struct cry_id
table_hash(struct world *w, enum db_table tab)
{
	struct cry_hasher h;
	struct db_cur *c;
	struct db_txn *t;
	struct slice k, v;
	struct cry_id id;

	cry_hasher_init(&h);
	assert_int_equal(store_read(w->s, &t), ERR_OK);
	assert_int_equal(db_cur_open(t, tab, slice_of(NULL, 0), &c), ERR_OK);
	while (db_cur_next(c, &k, &v) == ERR_OK) {
		cry_hasher_add(&h, k);
		cry_hasher_add(&h, v);
	}
	db_cur_close(c);
	db_abort(t);
	cry_hasher_end(&h, &id);
	return id;
}

static const enum db_table tables[] = { DB_SEG, DB_CHUNK, DB_CIDX, DB_ROW };
#define TABLES (sizeof(tables) / sizeof(*tables))

struct told {
	unsigned n, cuts;
	char text[4096];
};

static void
tell(void *ctx, const struct store_bad *bad)
{
	struct told *x = ctx;
	size_t at = strlen(x->text);

	x->n++;
	snprintf(x->text + at, sizeof(x->text) - at, "%s %s\n", bad->what,
	    bad->where);
}

static void
tell_cut(void *ctx, uint32_t seg, uint64_t off)
{
	struct told *x = ctx;

	assert_true(seg > 0 && off % 4096 == 0);
	x->cuts++;
}

static void
shut(struct world *w)
{
	store_close(w->s);
	w->s = NULL;
}

static enum err
rebuild(struct world *w, struct told *x)
{
	struct store_rebuild_opts ro = {
		.bad = tell, .cut = tell_cut, .ctx = x
	};
	struct errmsg em;
	enum err e;

	memset(x, 0, sizeof(*x));
	e = store_rebuild_begin(&w->o, &ro, &w->s, &em);
	if (e == ERR_OK) {
		struct store *s = w->s;

		w->s = NULL;
		e = store_rebuild_end(s, false, &em);
	}
	return e;
}

static void
lose_index(struct world *w)
{
	char path[TMPDIR_MAX + 32];

	snprintf(path, sizeof(path), "%s/db", w->dir);
	tmpdir_remove(path);
	assert_int_not_equal(access(path, F_OK), 0);
}

static void
scribble(struct world *w, const char *name, off_t off, size_t n)
{
	char path[TMPDIR_MAX + 64];
	uint8_t b;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", w->dir, name);
	fd = open(path, O_RDWR);
	assert_true(fd >= 0);
	for (; n > 0; n--, off++) {
		assert_int_equal(pread(fd, &b, 1, off), 1);
		b ^= (uint8_t)(1 + prng_below(&w->p, 255));
		assert_int_equal(pwrite(fd, &b, 1, off), 1);
	}
	close(fd);
}

static void
zero(struct world *w, const char *name, off_t off, size_t n)
{
	static const uint8_t zeros[4096];
	char path[TMPDIR_MAX + 64];
	int fd;

	assert_true(n <= sizeof(zeros));
	snprintf(path, sizeof(path), "%s/%s", w->dir, name);
	fd = open(path, O_RDWR);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, zeros, n, off), (ssize_t)n);
	close(fd);
}

static void
test_rebuilt_index_equals_the_lost_one(void **state)
{
	struct world *w = *state;
	struct cry_id before[TABLES], after;
	struct told x;
	size_t i;

	fill(w);
	for (i = 0; i < TABLES; i++)
		before[i] = table_hash(w, tables[i]);
	shut(w);
	lose_index(w);
	assert_int_equal(rebuild(w, &x), ERR_OK);
	assert_int_equal(x.n, 0);
	assert_int_equal(store_open(&w->o, &w->s, NULL), ERR_OK);
	for (i = 0; i < TABLES; i++) {
		after = table_hash(w, tables[i]);
		assert_memory_equal(&before[i], &after, sizeof(after));
	}
	expect_clean(w, true);
	fill(w); /* and it goes on */
	expect_clean(w, true);
}

static void
test_lost_index_is_refused_and_the_log_is_not_written_over(void **state)
{
	struct world *w = *state;
	struct errmsg em = { .code = ERR_OK };
	struct told x;

	fill(w);
	shut(w);
	lose_index(w);
	assert_int_equal(store_open(&w->o, &w->s, &em), ERR_CORRUPT);
	assert_non_null(strstr(em.next, "rebuild"));
	assert_int_equal(rebuild(w, &x), ERR_OK);
	assert_int_equal(store_open(&w->o, &w->s, NULL), ERR_OK);
	expect_clean(w, true);
}

static void
test_scribbled_index_is_rebuilt(void **state)
{
	struct world *w = *state;
	struct cry_id before, after;
	struct errmsg em = { .code = ERR_OK };
	struct told x;

	fill(w);
	before = table_hash(w, DB_ROW);
	shut(w);
	scribble(w, "db/data.mdb", 0, 8192);
	assert_int_equal(store_open(&w->o, &w->s, &em), ERR_CORRUPT);
	assert_non_null(strstr(em.next, "rebuild"));
	assert_int_equal(rebuild(w, &x), ERR_OK);
	assert_int_equal(x.n, 0);
	assert_int_equal(store_open(&w->o, &w->s, NULL), ERR_OK);
	after = table_hash(w, DB_ROW);
	assert_memory_equal(&before, &after, sizeof(after));
}

static void
test_damaged_record_is_named_and_the_rest_is_there(void **state)
{
	struct world *w = *state;
	struct store_stats st;
	struct store_loc l;
	struct told x;
	char seg[32];

	l = fill(w); /* of the op in the last commit */
	shut(w);
	snprintf(seg, sizeof(seg), "segments/%08x.seg", (unsigned)l.seg);
	scribble(w, seg, (off_t)l.off + 64 + 10, 3); /* a body */
	lose_index(w);
	assert_int_equal(rebuild(w, &x), ERR_OK);
	assert_int_equal(x.n, 1);
	assert_non_null(strstr(x.text, "op "));
	assert_int_equal(store_open(&w->o, &w->s, NULL), ERR_OK);
	assert_int_equal(store_stats(w->s, &st), ERR_OK);
	assert_int_equal(st.chunks, CHUNKS);
}

/* Of the last commit, in the first segment. */
static uint64_t
last_end(struct world *w)
{
	struct seg_row row;
	struct db_txn *t;

	assert_int_equal(store_read(w->s, &t), ERR_OK);
	assert_int_equal(store_seg_row_get(t, 1, &row), ERR_OK);
	db_abort(t);
	return row.used;
}

/* The last record of a row rots: its earlier value holds, and that is said;
 * the only record of another: it is lost. */
static void
test_row_that_fell_back_is_told_as_a_lost_change(void **state)
{
	struct world *w = *state;
	struct row old = { "fell", SLICE_LIT("k"), SLICE_LIT("old") };
	struct row new = { "fell", SLICE_LIT("k"), SLICE_LIT("new") };
	struct row gone = { "gone", SLICE_LIT("k"), SLICE_LIT("x") };
	struct row end = { "t", SLICE_LIT("end"), SLICE_LIT("x") };
	struct buf b = BUF_MAX(64);
	struct db_txn *t;
	struct told x;
	uint64_t used[4];
	unsigned i;

	for (i = 0; i < 4; i++) {
		struct row *one[] = { &old, &new, &gone, &end };

		assert_int_equal(store_write(w->s, put_row, one[i]), ERR_OK);
		used[i] = last_end(w);
	}
	shut(w);
	for (i = 1; i < 3; i++) /* the body of the first record of its commit */
		scribble(w, "segments/00000001.seg",
		    (off_t)((used[i - 1] + 4095) / 4096 * 4096 + 64 + 12), 1);
	lose_index(w);
	assert_int_equal(rebuild(w, &x), ERR_OK);
	assert_int_equal(x.n, 2);
	assert_non_null(strstr(x.text, "row 0466656c6c6b: a change is lost"));
	assert_int_equal(store_open(&w->o, &w->s, NULL), ERR_OK);
	assert_int_equal(store_read(w->s, &t), ERR_OK);
	assert_int_equal(
	    store_row_get(w->s, t, "fell", SLICE_LIT("k"), &b), ERR_OK);
	assert_true(slice_eq(buf_slice(&b), SLICE_LIT("old")));
	assert_int_equal(
	    store_row_there(t, "gone", SLICE_LIT("k")), ERR_NOTFOUND);
	db_abort(t);
	buf_fini(&b);
}

/* torn: how its last sectors look.  The end of the last commit lies 128 bytes
 * before the last used byte. */
static void
expect_left_out(struct world *w,
    void (*hurt)(struct world *w, const char *seg, off_t op, off_t end))
{
	struct cry_id before, after;
	struct seg_row row;
	struct store_loc l;
	struct db_txn *t;
	struct fill f = { .p = &w->p };
	struct told x;
	char seg[32];

	fill(w);
	before = table_hash(w, DB_ROW);
	assert_int_equal(store_write(w->s, fill_job, &f), ERR_OK);
	l = f.chunk;
	assert_int_equal(store_read(w->s, &t), ERR_OK);
	assert_int_equal(store_seg_row_get(t, l.seg, &row), ERR_OK);
	db_abort(t);
	shut(w);
	snprintf(seg, sizeof(seg), "segments/%08x.seg", (unsigned)l.seg);
	hurt(w, seg, (off_t)l.off, (off_t)(row.used - STORE_END_BYTES));
	lose_index(w);
	assert_int_equal(rebuild(w, &x), ERR_OK);
	/* A crash leaves such a log: nothing is damaged. */
	assert_int_equal(x.cuts, 1);
	if (x.n != 0)
		print_message("%s", x.text);
	assert_int_equal(x.n, 0);
	assert_int_equal(store_open(&w->o, &w->s, NULL), ERR_OK);
	after = table_hash(w, DB_ROW);
	assert_memory_equal(&before, &after, sizeof(after));
	expect_clean(w, true);
	fill(w);
	shut(w);
	lose_index(w);
	assert_int_equal(rebuild(w, &x), ERR_OK);
	assert_int_equal(x.n, 0);
	assert_int_equal(store_open(&w->o, &w->s, NULL), ERR_OK);
	expect_clean(w, true);
}

static void
no_end(struct world *w, const char *seg, off_t op, off_t end)
{
	(void)op;
	zero(w, seg, end, 128);
}

static void
no_middle(struct world *w, const char *seg, off_t op, off_t end)
{
	(void)end;
	zero(w, seg, (op + 4095) / 4096 * 4096, 4096);
}

static void
test_commit_that_did_not_end_is_left_out_whole(void **state)
{
	expect_left_out(*state, no_end);
}

static void
test_commit_with_a_sector_that_never_came_is_left_out_whole(void **state)
{
	expect_left_out(*state, no_middle);
}

static enum err
wide_job(struct store_txn *t, void *ctx)
{
	struct fill *f = ctx;
	unsigned i;
	enum err e = ERR_OK;

	for (i = 0; i < 4 && e == ERR_OK; i++, f->from += 10)
		e = fill_job(t, f);
	return e;
}

/* What was left out lies in a segment that nothing is written to any more:
 * no later rebuild may take it for a part of the commit that follows. */
static void
test_commit_over_two_segments_that_did_not_end_never_comes_back(void **state)
{
	struct world *w = *state;
	struct row after = { "t", SLICE_LIT("after"), SLICE_LIT("v") };
	struct fill f = { .p = &w->p, .from = 100 };
	struct cry_id before, now;
	struct seg_row row;
	struct db_txn *t;
	struct told x;
	uint32_t first;
	char seg[32];

	fill(w);
	before = table_hash(w, DB_ROW);
	first = w->s->tail.seg;
	assert_int_equal(store_write(w->s, wide_job, &f), ERR_OK);
	assert_true(f.chunk.seg > first);
	assert_int_equal(store_read(w->s, &t), ERR_OK);
	assert_int_equal(store_seg_row_get(t, f.chunk.seg, &row), ERR_OK);
	db_abort(t);
	shut(w);
	snprintf(seg, sizeof(seg), "segments/%08x.seg", (unsigned)f.chunk.seg);
	zero(w, seg, (off_t)(row.used - STORE_END_BYTES), 128);
	lose_index(w);
	assert_int_equal(rebuild(w, &x), ERR_OK);
	/* A crash leaves such a log: nothing is damaged. */
	assert_int_equal(x.cuts, 1);
	if (x.n != 0)
		print_message("%s", x.text);
	assert_int_equal(x.n, 0);
	assert_int_equal(store_open(&w->o, &w->s, NULL), ERR_OK);
	now = table_hash(w, DB_ROW);
	assert_memory_equal(&before, &now, sizeof(now));
	assert_int_equal(store_write(w->s, put_row, &after), ERR_OK);
	before = table_hash(w, DB_ROW);
	expect_clean(w, true);
	shut(w);
	lose_index(w);
	assert_int_equal(rebuild(w, &x), ERR_OK);
	assert_int_equal(x.n, 0);
	assert_int_equal(store_open(&w->o, &w->s, NULL), ERR_OK);
	now = table_hash(w, DB_ROW);
	assert_memory_equal(&before, &now, sizeof(now));
	expect_clean(w, true);
}

static void
test_another_keystore_is_refused_and_the_old_index_stays(void **state)
{
	struct world *w = *state;
	struct store_opts o = w->o;
	struct told x;

	fill(w);
	shut(w);
	memset(w->o.local.b, 7, 32);
	assert_int_equal(rebuild(w, &x), ERR_AUTH);
	w->o = o;
	assert_int_equal(store_open(&w->o, &w->s, NULL), ERR_OK);
	expect_clean(w, true);
}

static void
test_rebuild_of_a_store_in_use_is_busy(void **state)
{
	struct world *w = *state;
	struct store *held = w->s;
	struct told x;

	fill(w);
	assert_int_equal(rebuild(w, &x), ERR_BUSY);
	w->s = held;
	expect_clean(w, true);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(test_rebuilt_index_equals_the_lost_one),
		T(test_lost_index_is_refused_and_the_log_is_not_written_over),
		T(test_scribbled_index_is_rebuilt),
		T(test_damaged_record_is_named_and_the_rest_is_there),
		T(test_row_that_fell_back_is_told_as_a_lost_change),
		T(test_commit_that_did_not_end_is_left_out_whole),
		T(test_commit_with_a_sector_that_never_came_is_left_out_whole),
		T(test_commit_over_two_segments_that_did_not_end_never_comes_back),
		T(test_another_keystore_is_refused_and_the_old_index_stays),
		T(test_rebuild_of_a_store_in_use_is_busy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
