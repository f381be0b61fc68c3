/* Claims: rows come back as they went in, also inside the job that wrote
 * them; they are sealed and bound to their place; walking them is ordered,
 * bounded by tag and prefix, and may change them. */
#include "store_world.h"

static enum err
del_row(struct store_txn *t, void *ctx)
{
	struct row *r = ctx;

	return store_row_del(t, r->tag, r->key);
}

static void
test_rows_small_and_large_survive_and_can_be_deleted(void **state)
{
	static const size_t sizes[] = { 0, 1, 900, 1024, 2000, 100000,
		STORE_ROW_VALUE_MAX };
	struct world *w = *state;
	uint8_t *data = malloc(STORE_ROW_VALUE_MAX + 1);
	struct row r = { .tag = "vault" };
	uint8_t i;

	prng_fill(&w->p, data, STORE_ROW_VALUE_MAX);
	r.key = slice_of(&i, 1);
	for (i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		r.value = slice_of(data, sizes[i]);
		assert_int_equal(store_write(w->s, put_row, &r), ERR_OK);
	}
	reopen(w);
	for (i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		r.value = slice_of(data, sizes[i]);
		assert_int_equal(get_row(w, &r), ERR_OK);
	}
	expect_clean(w, true);
	i = 2;
	assert_int_equal(store_write(w->s, del_row, &r), ERR_OK);
	assert_int_equal(store_write(w->s, del_row, &r), ERR_NOTFOUND);
	reopen(w);
	assert_int_equal(get_row(w, &r), ERR_NOTFOUND);
	r.value = slice_of(data, STORE_ROW_VALUE_MAX + 1);
	assert_int_equal(store_write(w->s, put_row, &r), ERR_LIMIT);
	expect_clean(w, true);
	free(data);
}

static void
test_row_tag_and_key_limits(void **state)
{
	struct world *w = *state;
	static uint8_t key[64];
	struct row r = { "12345678", slice_of(key, 54), SLICE_LIT("v") };

	assert_int_equal(store_write(w->s, put_row, &r), ERR_OK);
	r.key.n = 55;
	assert_int_equal(store_write(w->s, put_row, &r), ERR_LIMIT);
	r.key.n = 1;
	r.tag = "123456789";
	assert_int_equal(store_write(w->s, put_row, &r), ERR_LIMIT);
	r.tag = "";
	assert_int_equal(store_write(w->s, put_row, &r), ERR_LIMIT);
}

static int
row_collect(void *ctx, struct slice key, struct slice value)
{
	struct buf *b = ctx;

	buf_put_slice(b, key);
	buf_u8(b, '=');
	buf_put_slice(b, value);
	buf_u8(b, ' ');
	return value.n == 1 && value.p[0] == '!' ? ERR_CANCELLED : 0;
}

static enum err
each(struct world *w, const char *tag, struct slice prefix, struct buf *out)
{
	struct db_txn *t;
	enum err e;

	buf_reset(out);
	assert_int_equal(store_read(w->s, &t), ERR_OK);
	e = store_row_each(w->s, t, tag, prefix, row_collect, out);
	db_abort(t);
	return e;
}

static void
test_each_walks_one_tag_and_prefix_in_order(void **state)
{
	struct world *w = *state;
	struct row rows[] = { { "k", SLICE_LIT("b2"), SLICE_LIT("4") },
		{ "k", SLICE_LIT("a1"), SLICE_LIT("1") },
		{ "kk", SLICE_LIT("a0"), SLICE_LIT("9") },
		{ "k", SLICE_LIT("b1"), SLICE_LIT("!") },
		{ "k", SLICE_LIT("a2"), SLICE_LIT("2") } };
	struct buf b = BUF_MAX(1000);
	size_t i;

	for (i = 0; i < 5; i++)
		assert_int_equal(store_write(w->s, put_row, &rows[i]), ERR_OK);
	assert_int_equal(each(w, "k", SLICE_LIT("a"), &b), ERR_OK);
	assert_string_equal(buf_cstr(&b), "a1=1 a2=2 ");
	assert_int_equal(each(w, "k", SLICE_LIT(""), &b), ERR_CANCELLED);
	assert_string_equal(buf_cstr(&b), "a1=1 a2=2 b1=! ");
	assert_int_equal(each(w, "kk", SLICE_LIT(""), &b), ERR_OK);
	assert_string_equal(buf_cstr(&b), "a0=9 ");
	assert_int_equal(each(w, "none", SLICE_LIT(""), &b), ERR_OK);
	assert_int_equal(b.n, 0);
	buf_fini(&b);
}

struct sweep {
	struct store_txn *t;
	unsigned seen;
	uint32_t last;
	bool in_order;
};

/* Deletes every second row and makes the others longer, while walking. */
static int
sweep_row(void *ctx, struct slice key, struct slice value)
{
	static const uint8_t longer[900];
	struct sweep *s = ctx;
	struct rd r = rd_init(key);
	uint32_t no = rd_be32(&r);

	(void)value;
	s->in_order = s->in_order && (s->seen == 0 || no > s->last);
	s->last = no;
	s->seen++;
	if (no % 2 == 0)
		return store_row_del(s->t, "s", key);
	return store_row_put(s->t, "s", key, slice_of(longer, sizeof(longer)));
}

static enum err
sweep_job(struct store_txn *t, void *ctx)
{
	struct sweep *s = ctx;

	s->t = t;
	return store_row_each(store_txn_store(t), store_txn_db(t), "s",
	    slice_of(NULL, 0), sweep_row, s);
}

#define SWEEP_ROWS 400u

static enum err
sweep_fill(struct store_txn *t, void *ctx)
{
	enum err e = ERR_OK;
	uint32_t i;

	(void)ctx;
	for (i = 0; i < SWEEP_ROWS && e == ERR_OK; i++) {
		uint8_t key[4] = { 0, 0, (uint8_t)(i >> 8), (uint8_t)i };

		e = store_row_put(t, "s", slice_of(key, 4), SLICE_LIT("v"));
	}
	return e;
}

static void
test_each_may_change_the_rows_it_walks(void **state)
{
	struct world *w = *state;
	struct sweep s = { .in_order = true };
	struct buf b = BUF_MAX(MIB);

	assert_int_equal(store_write(w->s, sweep_fill, NULL), ERR_OK);
	assert_int_equal(store_write(w->s, sweep_job, &s), ERR_OK);
	assert_int_equal(s.seen, SWEEP_ROWS);
	assert_true(s.in_order);
	assert_int_equal(each(w, "s", SLICE_LIT(""), &b), ERR_OK);
	assert_int_equal(b.n, SWEEP_ROWS / 2 * (4 + 1 + 900 + 1));
	buf_fini(&b);
	expect_clean(w, true);
}

static bool
file_holds(const char *path, const char *needle)
{
	struct stat st;
	uint8_t *p;
	bool found;
	int fd = open(path, O_RDONLY);

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	p = malloc((size_t)st.st_size);
	assert_int_equal(pread(fd, p, (size_t)st.st_size, 0), st.st_size);
	found = memmem(p, (size_t)st.st_size, needle, strlen(needle)) != NULL;
	free(p);
	close(fd);
	return found;
}

static void
test_row_values_are_not_readable_on_disk(void **state)
{
	struct world *w = *state;
	struct row r = { "vault", SLICE_LIT("row-key-in-clear"),
		SLICE_LIT("a very private value") };
	char seg[TMPDIR_MAX + 32], db[TMPDIR_MAX + 32];

	assert_int_equal(store_write(w->s, put_row, &r), ERR_OK);
	snprintf(seg, sizeof(seg), "%s/segments/00000001.seg", w->dir);
	snprintf(db, sizeof(db), "%s/db/data.mdb", w->dir);
	/* positive control: the search does find what is in clear */
	assert_true(file_holds(seg, "row-key-in-clear"));
	assert_true(file_holds(db, "row-key-in-clear"));
	assert_false(file_holds(seg, "very private"));
	assert_false(file_holds(db, "very private"));
}

static enum err
swap_rows(struct store_txn *t, void *ctx)
{
	struct slice v;
	uint8_t copy[DB_VALUE_MAX];
	enum err e;

	(void)ctx;
	e = db_get(store_txn_db(t), DB_ROW, SLICE_LIT("\1ta"), &v);
	if (e != ERR_OK)
		return e;
	memcpy(copy, v.p, v.n);
	return db_put(
	    store_txn_db(t), DB_ROW, SLICE_LIT("\1tb"), slice_of(copy, v.n));
}

static void
test_value_moved_to_another_row_does_not_open(void **state)
{
	struct world *w = *state;
	struct row a = { "t", SLICE_LIT("a"), SLICE_LIT("of a") };
	struct row b = { "t", SLICE_LIT("b"), SLICE_LIT("of b") };
	unsigned bad = 0;

	assert_int_equal(store_write(w->s, put_row, &a), ERR_OK);
	assert_int_equal(store_write(w->s, put_row, &b), ERR_OK);
	assert_int_equal(store_write(w->s, swap_rows, NULL), ERR_OK);
	assert_int_equal(get_row(w, &a), ERR_OK);
	assert_int_equal(get_row(w, &b), ERR_AUTH);
	assert_int_equal(
	    store_verify(w->s, true, print_bad, &bad, NULL), ERR_OK);
	assert_int_equal(bad, 1);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_rows_small_and_large_survive_and_can_be_deleted),
		T(test_row_tag_and_key_limits),
		T(test_each_walks_one_tag_and_prefix_in_order),
		T(test_each_may_change_the_rows_it_walks),
		T(test_row_values_are_not_readable_on_disk),
		T(test_value_moved_to_another_row_does_not_open),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
