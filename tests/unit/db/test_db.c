/* Claims: keys and values have hard limits; a child undoes only itself; a
 * prefix bounds a cursor; a value that was altered on disk is never given
 * out; a second opener is refused; no space refuses a transaction and not a
 * commit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/tmpdir.h"
#include "store/base/limits.h"
#include "store/base/mem.h"
#include "store/db/db.h"

struct world {
	char dir[TMPDIR_MAX];
	struct db_opts o;
	struct db *d;
};

static int
setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct errmsg em;

	tmpdir_make(w->dir);
	w->o = (struct db_opts){ w->dir, 256 * MIB, MIB };
	assert_int_equal(db_open(&w->o, &w->d, &em), ERR_OK);
	*state = w;
	return 0;
}

static int
teardown(void **state)
{
	struct world *w = *state;

	db_close(w->d);
	tmpdir_remove(w->dir);
	free(w);
	return 0;
}

static void
put_one(struct world *w, const char *key, const char *val)
{
	struct db_txn *t;

	assert_int_equal(db_write(w->d, &t), ERR_OK);
	assert_int_equal(
	    db_put(t, DB_META, slice_str(key), slice_str(val)), ERR_OK);
	assert_int_equal(db_commit(t), ERR_OK);
}

static void
expect_meta(struct world *w, const char *key, const char *val)
{
	struct slice v;
	struct db_txn *t;

	assert_int_equal(db_read(w->d, &t), ERR_OK);
	if (val == NULL) {
		assert_int_equal(
		    db_get(t, DB_META, slice_str(key), &v), ERR_NOTFOUND);
	} else {
		assert_int_equal(
		    db_get(t, DB_META, slice_str(key), &v), ERR_OK);
		assert_true(slice_eq(v, slice_str(val)));
	}
	db_abort(t);
}

static void
test_values_survive_reopen(void **state)
{
	struct world *w = *state;
	struct errmsg em;

	put_one(w, "a", "one");
	put_one(w, "a", "two");
	put_one(w, "b", "");
	db_close(w->d);
	assert_int_equal(db_open(&w->o, &w->d, &em), ERR_OK);
	expect_meta(w, "a", "two");
	expect_meta(w, "b", "");
	expect_meta(w, "c", NULL);
}

static void
test_key_and_value_limits_hold_at_the_limit_and_beyond(void **state)
{
	struct world *w = *state;
	static uint8_t key[DB_KEY_MAX + 1], val[DB_VALUE_MAX + 1];
	struct db_txn *t;
	struct slice v;

	assert_int_equal(db_write(w->d, &t), ERR_OK);
	assert_int_equal(db_put(t, DB_META, slice_of(key, DB_KEY_MAX),
			     slice_of(val, DB_VALUE_MAX)),
	    ERR_OK);
	assert_int_equal(
	    db_put(t, DB_META, slice_of(key, DB_KEY_MAX + 1), slice_of(val, 1)),
	    ERR_LIMIT);
	assert_int_equal(db_put(t, DB_META, slice_of(key, 1),
			     slice_of(val, DB_VALUE_MAX + 1)),
	    ERR_LIMIT);
	assert_int_equal(
	    db_put(t, DB_META, slice_of(key, 0), slice_of(val, 1)), ERR_LIMIT);
	assert_int_equal(db_get(t, DB_META, slice_of(key, 0), &v), ERR_LIMIT);
	assert_int_equal(
	    db_get(t, DB_META, slice_of(key, DB_KEY_MAX), &v), ERR_OK);
	assert_int_equal(v.n, DB_VALUE_MAX);
	db_abort(t);
}

static void
test_aborted_child_undoes_only_its_own_changes(void **state)
{
	struct world *w = *state;
	struct db_txn *t, *c;

	assert_int_equal(db_write(w->d, &t), ERR_OK);
	assert_int_equal(
	    db_put(t, DB_META, SLICE_LIT("p"), SLICE_LIT("1")), ERR_OK);
	assert_int_equal(db_child(t, &c), ERR_OK);
	assert_int_equal(
	    db_put(c, DB_META, SLICE_LIT("x"), SLICE_LIT("1")), ERR_OK);
	assert_int_equal(db_del(c, DB_META, SLICE_LIT("p")), ERR_OK);
	db_abort(c);
	assert_int_equal(db_child(t, &c), ERR_OK);
	assert_int_equal(
	    db_put(c, DB_META, SLICE_LIT("y"), SLICE_LIT("2")), ERR_OK);
	assert_int_equal(db_commit(c), ERR_OK);
	assert_int_equal(db_commit(t), ERR_OK);
	expect_meta(w, "p", "1");
	expect_meta(w, "x", NULL);
	expect_meta(w, "y", "2");
}

static void
test_reader_keeps_its_snapshot(void **state)
{
	struct world *w = *state;
	struct db_txn *r;
	struct slice v;

	put_one(w, "a", "old");
	assert_int_equal(db_read(w->d, &r), ERR_OK);
	put_one(w, "a", "new");
	assert_int_equal(db_get(r, DB_META, SLICE_LIT("a"), &v), ERR_OK);
	assert_true(slice_eq(v, SLICE_LIT("old")));
	db_abort(r);
	expect_meta(w, "a", "new");
}

static void
test_append_refuses_a_key_out_of_order(void **state)
{
	struct world *w = *state;
	struct db_txn *t;

	assert_int_equal(db_write(w->d, &t), ERR_OK);
	assert_int_equal(
	    db_append(t, DB_OP, SLICE_LIT("b"), SLICE_LIT("")), ERR_OK);
	assert_int_equal(
	    db_append(t, DB_OP, SLICE_LIT("a"), SLICE_LIT("")), ERR_EXISTS);
	assert_int_equal(
	    db_append(t, DB_OP, SLICE_LIT("c"), SLICE_LIT("")), ERR_OK);
	assert_int_equal(db_commit(t), ERR_OK);
}

static void
test_deleting_what_is_not_there_says_so(void **state)
{
	struct world *w = *state;
	struct db_txn *t;

	assert_int_equal(db_write(w->d, &t), ERR_OK);
	assert_int_equal(db_del(t, DB_META, SLICE_LIT("no")), ERR_NOTFOUND);
	db_abort(t);
}

/* Keys with the prefix, as one string, by next. */
static void
expect_walk(struct db_txn *t, struct slice prefix, const char *want)
{
	char got[64] = "";
	struct db_cur *c;
	struct slice k, v;
	size_t n = 0;
	enum err e;

	assert_int_equal(db_cur_open(t, DB_ROW, prefix, &c), ERR_OK);
	while ((e = db_cur_next(c, &k, &v)) == ERR_OK) {
		got[n++] = (char)v.p[0];
		assert_true(n < sizeof(got));
	}
	assert_int_equal(e, ERR_NOTFOUND);
	assert_string_equal(got, want);
	e = db_cur_last(c, &k, &v);
	if (n == 0) {
		assert_int_equal(e, ERR_NOTFOUND);
	} else {
		assert_int_equal(e, ERR_OK);
		assert_int_equal(v.p[0], want[n - 1]);
	}
	db_cur_close(c);
}

static void
test_cursor_stays_inside_its_prefix(void **state)
{
	static const struct {
		const char *key, *val;
	} rows[] = { { "a", "1" }, { "ab", "2" }, { "abc", "3" }, { "b", "4" },
		{ "\xff", "5" }, { "\xff\xff", "6" }, { "\xff\xff\x01", "7" } };
	struct world *w = *state;
	struct db_txn *t;
	struct db_cur *c;
	struct slice k, v;
	size_t i;

	assert_int_equal(db_write(w->d, &t), ERR_OK);
	for (i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		assert_int_equal(db_put(t, DB_ROW, slice_str(rows[i].key),
				     slice_str(rows[i].val)),
		    ERR_OK);
	expect_walk(t, slice_of(NULL, 0), "1234567");
	expect_walk(t, SLICE_LIT("a"), "123");
	expect_walk(t, SLICE_LIT("ab"), "23");
	expect_walk(t, SLICE_LIT("ac"), "");
	expect_walk(t, SLICE_LIT("b"), "4");
	expect_walk(t, SLICE_LIT("\xff"), "567");
	expect_walk(t, SLICE_LIT("\xff\xff"), "67");
	expect_walk(t, SLICE_LIT("\xff\xff\xff"), "");
	assert_int_equal(db_cur_open(t, DB_ROW, SLICE_LIT("a"), &c), ERR_OK);
	assert_int_equal(db_cur_seek(c, SLICE_LIT("abb"), &k, &v), ERR_OK);
	assert_true(slice_eq(k, SLICE_LIT("abc")));
	assert_int_equal(
	    db_cur_seek(c, SLICE_LIT("abd"), &k, &v), ERR_NOTFOUND);
	assert_int_equal(db_cur_seek(c, SLICE_LIT("A"), &k, &v), ERR_OK);
	assert_true(slice_eq(k, SLICE_LIT("a")));
	db_cur_close(c);
	db_abort(t);
}

/* Flips one bit of the only place where needle stands in the file. */
static void
file_flip(const char *dir, const char *needle)
{
	char path[TMPDIR_MAX + 16];
	struct stat st;
	uint8_t *p, *at;
	int fd, found = 0;

	snprintf(path, sizeof(path), "%s/data.mdb", dir);
	fd = open(path, O_RDWR);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	p = malloc((size_t)st.st_size);
	assert_int_equal(pread(fd, p, (size_t)st.st_size, 0), st.st_size);
	for (at = p; (at = memmem(at, (size_t)(p + st.st_size - at), needle,
			  strlen(needle))) != NULL;
	     at++) {
		uint8_t b = *at ^ 4;

		assert_int_equal(pwrite(fd, &b, 1, at - p), 1);
		found++;
	}
	assert_true(found > 0);
	free(p);
	close(fd);
}

static void
test_flipped_bit_in_a_value_is_never_given_out(void **state)
{
	struct world *w = *state;
	struct errmsg em;
	struct slice k, v;
	struct db_cur *c;
	struct db_txn *t;

	put_one(w, "intact", "fine");
	put_one(w, "rotten", "a value that will rot on disk");
	db_close(w->d);
	file_flip(w->dir, "a value that will rot");
	assert_int_equal(db_open(&w->o, &w->d, &em), ERR_OK);
	expect_meta(w, "intact", "fine");
	assert_int_equal(db_read(w->d, &t), ERR_OK);
	assert_int_equal(
	    db_get(t, DB_META, SLICE_LIT("rotten"), &v), ERR_CORRUPT);
	assert_int_equal(db_cur_open(t, DB_META, SLICE_LIT("r"), &c), ERR_OK);
	assert_int_equal(db_cur_next(c, &k, &v), ERR_CORRUPT);
	db_cur_close(c);
	db_abort(t);
}

static void
test_second_opener_is_refused_with_a_reason(void **state)
{
	struct world *w = *state;
	struct errmsg em;
	struct db *d2;

	assert_int_equal(db_open(&w->o, &d2, &em), ERR_BUSY);
	assert_non_null(strstr(em.cause, "in use by another process"));
	assert_true(em.next[0] != '\0');
	db_close(w->d);
	assert_int_equal(db_open(&w->o, &w->d, &em), ERR_OK);
}

static void
test_missing_folder_is_an_error(void **state)
{
	struct world *w = *state;
	struct db_opts o = w->o;
	struct errmsg em;
	struct db *d2;

	o.dir = "/proc/self/no such folder";
	assert_int_equal(db_open(&o, &d2, &em), ERR_IO);
}

static void
test_damaged_meta_pages_are_reported_at_open(void **state)
{
	struct world *w = *state;
	static const uint8_t junk[8192] = { 1, 2, 3 };
	char path[TMPDIR_MAX + 16];
	struct errmsg em;
	struct db *d = NULL;
	int fd;

	put_one(w, "a", "b");
	db_close(w->d);
	w->d = NULL;
	snprintf(path, sizeof(path), "%s/data.mdb", w->dir);
	fd = open(path, O_RDWR);
	assert_int_equal(pwrite(fd, junk, sizeof(junk), 0), sizeof(junk));
	close(fd);
	assert_int_equal(db_open(&w->o, &d, &em), ERR_CORRUPT);
	assert_string_equal(em.next, "run `pesscara rebuild`");
	assert_null(d);
}

static void
test_a_cut_index_is_reported_at_open(void **state)
{
	struct world *w = *state;
	static const off_t sizes[] = { 1, 5000, 8192, 12288 };
	char path[TMPDIR_MAX + 16];
	struct errmsg em;
	struct db *d = NULL;
	size_t i;

	put_one(w, "a", "b");
	db_close(w->d);
	w->d = NULL;
	snprintf(path, sizeof(path), "%s/data.mdb", w->dir);
	for (i = sizeof(sizes) / sizeof(sizes[0]); i-- > 0;) {
		assert_int_equal(truncate(path, sizes[i]), 0);
		assert_int_equal(db_open(&w->o, &d, &em), ERR_CORRUPT);
		assert_string_equal(em.next, "run `pesscara rebuild`");
		assert_null(d);
	}
}

static void
test_full_map_refuses_and_reads_go_on(void **state)
{
	struct world *w = *state;
	static uint8_t val[2000];
	struct errmsg em;
	enum err e = ERR_OK;
	struct db_txn *t;
	unsigned i;

	db_close(w->d);
	w->o.map_bytes = 6 * MIB;
	assert_int_equal(db_open(&w->o, &w->d, &em), ERR_OK);
	put_one(w, "before", "kept");
	for (i = 0; i < 4000 && e == ERR_OK; i++) {
		uint8_t key[4];

		memcpy(key, &i, 4);
		e = db_write(w->d, &t);
		if (e != ERR_OK)
			break;
		e = db_put(
		    t, DB_OP, slice_of(key, 4), slice_of(val, sizeof(val)));
		if (e == ERR_OK)
			assert_int_equal(db_commit(t), ERR_OK);
		else
			db_abort(t);
	}
	assert_int_equal(e, ERR_FULL);
	assert_true(i > 100);
	assert_true(db_disk_bytes(w->d) < 6 * MIB);
	expect_meta(w, "before", "kept");
}

/* Jobs of one batch: those that were refused or failed take no room from the
 * ones behind them. */
static void
test_what_was_undone_takes_no_room_from_the_rest(void **state)
{
	struct world *w = *state;
	static uint8_t val[2000];
	struct db_txn *t, *child;
	struct errmsg em;
	uint32_t i;
	uint16_t n;

	db_close(w->d);
	w->o.map_bytes = 6 * MIB;
	assert_int_equal(db_open(&w->o, &w->d, &em), ERR_OK);
	assert_int_equal(db_write(w->d, &t), ERR_OK);
	for (i = 0; i < 100; i++) {
		assert_int_equal(db_child(t, &child), ERR_OK);
		for (n = 0; n < 20; n++)
			assert_int_equal(db_put(child, DB_OP,
					     slice_of((uint8_t *)&n, sizeof(n)),
					     slice_of(val, sizeof(val))),
			    ERR_OK);
		db_abort(child);
	}
	assert_int_equal(db_commit(t), ERR_OK);
}

static void
test_no_disk_space_refuses_and_works_again_after(void **state)
{
	struct world *w = *state;
	struct rlimit old, lim;
	struct stat st;
	char path[TMPDIR_MAX + 16];
	struct db_txn *t;
	enum err e = ERR_OK;
	static uint8_t val[2000];
	unsigned i;

	signal(SIGXFSZ, SIG_IGN);
	put_one(w, "before", "kept");
	snprintf(path, sizeof(path), "%s/data.mdb", w->dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	lim = old;
	lim.rlim_cur = (rlim_t)st.st_size;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &lim), 0);
	for (i = 0; i < 4000 && e == ERR_OK; i++) {
		uint8_t key[4];

		memcpy(key, &i, 4);
		if ((e = db_write(w->d, &t)) != ERR_OK)
			break;
		e = db_put(
		    t, DB_OP, slice_of(key, 4), slice_of(val, sizeof(val)));
		if (e == ERR_OK)
			assert_int_equal(db_commit(t), ERR_OK);
		else
			db_abort(t);
	}
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(e, ERR_FULL);
	expect_meta(w, "before", "kept");
	put_one(w, "after", "space is back");
	expect_meta(w, "after", "space is back");
}

static void
test_out_of_memory_is_an_error_everywhere(void **state)
{
	struct world *w = *state;
	struct errmsg em;
	struct db_txn *t;
	struct db_cur *c;
	struct db *d2;

	mem_fail_at(0);
	assert_int_equal(db_open(&w->o, &d2, &em), ERR_NOMEM);
	mem_fail_at(0);
	assert_int_equal(db_read(w->d, &t), ERR_NOMEM);
	mem_fail_at(0);
	assert_int_equal(db_write(w->d, &t), ERR_NOMEM);
	mem_fail_at(-1);
	assert_int_equal(db_read(w->d, &t), ERR_OK);
	mem_fail_at(0);
	assert_int_equal(
	    db_cur_open(t, DB_META, slice_of(NULL, 0), &c), ERR_NOMEM);
	mem_fail_at(-1);
	db_abort(t);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_values_survive_reopen),
		T(test_key_and_value_limits_hold_at_the_limit_and_beyond),
		T(test_aborted_child_undoes_only_its_own_changes),
		T(test_reader_keeps_its_snapshot),
		T(test_append_refuses_a_key_out_of_order),
		T(test_deleting_what_is_not_there_says_so),
		T(test_cursor_stays_inside_its_prefix),
		T(test_flipped_bit_in_a_value_is_never_given_out),
		T(test_second_opener_is_refused_with_a_reason),
		T(test_missing_folder_is_an_error),
		T(test_damaged_meta_pages_are_reported_at_open),
		T(test_a_cut_index_is_reported_at_open),
		T(test_full_map_refuses_and_reads_go_on),
		T(test_what_was_undone_takes_no_room_from_the_rest),
		T(test_no_disk_space_refuses_and_works_again_after),
		T(test_out_of_memory_is_an_error_everywhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
