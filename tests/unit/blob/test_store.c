/* Claims: a job that fails leaves nothing; done means durable; records and
 * rows come back as they went in, also inside the job that wrote them; rows
 * are sealed; the queue and every size are bounded; verify is quiet on an
 * intact store. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/store_lib.h"
#include "lib/tmpdir.h"
#include "store/blob/store_internal.h"

struct world {
	char dir[TMPDIR_MAX];
	struct store_opts o;
	struct store *s;
	struct prng p;
};

static int
setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct errmsg em;

	tmpdir_make(w->dir);
	w->p.s = 5;
	w->o.dir = w->dir;
	w->o.segment_bytes = 256 * KIB;
	w->o.queue_max = 8;
	memset(w->o.local.b, 1, 32);
	memset(w->o.convergence.b, 2, 32);
	assert_int_equal(cry_init(), ERR_OK);
	assert_int_equal(store_open(&w->o, &w->s, &em), ERR_OK);
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

static void
reopen(struct world *w)
{
	struct errmsg em;

	store_close(w->s);
	assert_int_equal(store_open(&w->o, &w->s, &em), ERR_OK);
}

static void
print_bad(void *ctx, const struct store_bad *bad)
{
	unsigned *n = ctx;

	fprintf(stderr, "bad %s %s\n", bad->what, bad->where);
	(*n)++;
}

static uint64_t
expect_clean(struct world *w, bool deep)
{
	unsigned bad = 0;
	uint64_t checked;

	assert_int_equal(
	    store_verify(w->s, deep, print_bad, &bad, &checked), ERR_OK);
	assert_int_equal(bad, 0);
	return checked;
}

/* --- records --- */

struct rec_job {
	struct slice body;
	struct store_loc loc;
	unsigned times;
	enum err fail_with;
	bool read_back;
};

static enum err
rec_write(struct store_txn *t, void *ctx)
{
	struct rec_job *j = ctx;
	struct cry_id id = { { 7 } };
	enum err e = ERR_OK;
	unsigned i;

	for (i = 0; i < j->times && e == ERR_OK; i++)
		e = store_rec_put(t, REC_OP, &id, j->body, &j->loc);
	if (e == ERR_OK && j->read_back) {
		struct buf b = BUF_MAX(STORE_BODY_MAX);

		e = store_rec_get(store_txn_store(t), &j->loc, REC_OP, &b);
		if (e == ERR_OK && !slice_eq(buf_slice(&b), j->body))
			e = ERR_CORRUPT;
		buf_fini(&b);
	}
	return e == ERR_OK ? j->fail_with : e;
}

static void
expect_record(struct world *w, const struct store_loc *l, struct slice body)
{
	struct buf b = BUF_MAX(STORE_BODY_MAX);

	assert_int_equal(store_rec_get(w->s, l, REC_OP, &b), ERR_OK);
	assert_true(slice_eq(buf_slice(&b), body));
	buf_reset(&b);
	assert_int_equal(store_rec_get(w->s, l, REC_HEAD, &b), ERR_CORRUPT);
	assert_int_equal(b.n, 0);
	buf_fini(&b);
}

static void
test_records_of_all_sizes_come_back_in_and_after_the_job(void **state)
{
	static const size_t sizes[] = { 0, 1, 63, 64, 4032, 4033, 100000,
		400000 /* above a segment */, STORE_BODY_MAX };
	struct world *w = *state;
	uint8_t *data = malloc(STORE_BODY_MAX);
	struct rec_job j[sizeof(sizes) / sizeof(*sizes)];
	size_t i;

	prng_fill(&w->p, data, STORE_BODY_MAX);
	for (i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		j[i] = (struct rec_job){ .body = slice_of(data, sizes[i]),
			.times = 1,
			.read_back = true };
		assert_int_equal(store_write(w->s, rec_write, &j[i]), ERR_OK);
		assert_int_equal(j[i].loc.off % STORE_BLOCK, 0);
	}
	reopen(w);
	for (i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
		expect_record(w, &j[i].loc, j[i].body);
	assert_int_equal(expect_clean(w, true), i);
	free(data);
}

static void
test_record_above_the_limit_is_refused(void **state)
{
	struct world *w = *state;
	uint8_t *data = calloc(1, STORE_BODY_MAX + 1);
	struct rec_job j = { .body = slice_of(data, STORE_BODY_MAX + 1),
		.times = 1 };

	assert_int_equal(store_write(w->s, rec_write, &j), ERR_LIMIT);
	expect_clean(w, true);
	free(data);
}

static void
test_failed_job_leaves_nothing_even_across_segments(void **state)
{
	struct world *w = *state;
	static uint8_t data[50000];
	struct rec_job good = { .body = slice_of(data, sizeof(data)),
		.times = 1 };
	struct rec_job bad = good, last = good;
	struct store_stats before, after;
	char seg2[TMPDIR_MAX + 32];

	prng_fill(&w->p, data, sizeof(data));
	bad.times = 200; /* 10 MB: many segments, past the stage */
	bad.fail_with = ERR_DENIED;
	assert_int_equal(store_write(w->s, rec_write, &bad), ERR_DENIED);
	assert_int_equal(store_write(w->s, rec_write, &good), ERR_OK);
	assert_int_equal(store_stats(w->s, &before), ERR_OK);
	assert_int_equal(store_write(w->s, rec_write, &bad), ERR_DENIED);
	assert_int_equal(store_stats(w->s, &after), ERR_OK);
	assert_int_equal(before.segment_bytes, after.segment_bytes);
	snprintf(seg2, sizeof(seg2), "%s/segments/00000002.seg", w->dir);
	assert_int_not_equal(access(seg2, F_OK), 0);
	assert_int_equal(store_write(w->s, rec_write, &last), ERR_OK);
	expect_record(w, &good.loc, good.body);
	expect_record(w, &last.loc, last.body);
	assert_int_equal(expect_clean(w, true), 2);
	reopen(w);
	expect_record(w, &last.loc, last.body);
	assert_int_equal(expect_clean(w, true), 2);
}

/* What a rebuild would meet after the end: nothing but zeros. */
static void
test_bytes_of_a_failed_job_are_wiped_by_the_next_commit(void **state)
{
	struct world *w = *state;
	uint8_t *data = malloc(6 * MIB);
	struct rec_job bad = { .body = slice_of(data, 6 * MIB),
		.times = 1,
		.fail_with = ERR_DENIED };
	struct rec_job good = { .body = slice_of(data, 100), .times = 1 };
	char path[TMPDIR_MAX + 32];
	struct stat st;
	uint8_t *p;
	off_t i;
	int fd;

	store_close(w->s);
	w->o.segment_bytes = 16 * MIB;
	w->s = NULL;
	assert_int_equal(store_open(&w->o, &w->s, NULL), ERR_OK);
	prng_fill(&w->p, data, 6 * MIB);
	assert_int_equal(store_write(w->s, rec_write, &good), ERR_OK);
	assert_int_equal(store_write(w->s, rec_write, &bad), ERR_DENIED);
	assert_int_equal(store_write(w->s, rec_write, &good), ERR_OK);
	snprintf(path, sizeof(path), "%s/segments/00000001.seg", w->dir);
	fd = open(path, O_RDONLY);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, 16 * MIB);
	p = malloc((size_t)st.st_size);
	assert_int_equal(pread(fd, p, (size_t)st.st_size, 0), st.st_size);
	for (i = (off_t)good.loc.off + 64 + 100; i < st.st_size; i++)
		assert_int_equal(p[i], 0);
	free(p);
	close(fd);
	free(data);
}

static int
segment_fd(const struct world *w, uint32_t seg)
{
	char path[TMPDIR_MAX + 32];
	int fd;

	snprintf(
	    path, sizeof(path), "%s/segments/%08x.seg", w->dir, (unsigned)seg);
	fd = open(path, O_RDWR);
	assert_true(fd >= 0);
	return fd;
}

static void
test_altered_or_misplaced_record_is_never_given_out(void **state)
{
	struct world *w = *state;
	uint8_t body[1000], block[STORE_BLOCK], b;
	struct rec_job j = { .body = slice_of(body, sizeof(body)), .times = 1 };
	struct buf out = BUF_MAX(STORE_BODY_MAX);
	struct store_loc moved;
	off_t at;
	int fd;

	prng_fill(&w->p, body, sizeof(body));
	assert_int_equal(store_write(w->s, rec_write, &j), ERR_OK);
	fd = segment_fd(w, j.loc.seg);
	for (at = 0; at < 64 + 1000; at += 7) {
		assert_int_equal(pread(fd, &b, 1, (off_t)j.loc.off + at), 1);
		b ^= 0x10;
		assert_int_equal(pwrite(fd, &b, 1, (off_t)j.loc.off + at), 1);
		assert_int_equal(
		    store_rec_get(w->s, &j.loc, REC_OP, &out), ERR_CORRUPT);
		b ^= 0x10;
		assert_int_equal(pwrite(fd, &b, 1, (off_t)j.loc.off + at), 1);
	}
	expect_record(w, &j.loc, j.body);
	/* the same bytes one block further: a misdirected write */
	moved = j.loc;
	moved.off += STORE_BLOCK;
	assert_int_equal(pread(fd, block, sizeof(block), (off_t)j.loc.off),
	    (ssize_t)sizeof(block));
	assert_int_equal(pwrite(fd, block, sizeof(block), (off_t)moved.off),
	    (ssize_t)sizeof(block));
	assert_int_equal(
	    store_rec_get(w->s, &moved, REC_OP, &out), ERR_CORRUPT);
	assert_int_equal(out.n, 0);
	close(fd);
	buf_fini(&out);
}

/* --- group commit --- */

struct gate {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool open;
	unsigned done, failed;
};

static enum err
gate_job(struct store_txn *t, void *ctx)
{
	struct gate *g = ctx;

	(void)t;
	pthread_mutex_lock(&g->lock);
	while (!g->open)
		pthread_cond_wait(&g->cond, &g->lock);
	pthread_mutex_unlock(&g->lock);
	return ERR_OK;
}

static void
gate_done(enum err e, void *ctx)
{
	struct gate *g = ctx;

	pthread_mutex_lock(&g->lock);
	g->done++;
	g->failed += e != ERR_OK;
	pthread_mutex_unlock(&g->lock);
}

static enum err
fail_job(struct store_txn *t, void *ctx)
{
	(void)ctx;
	if (store_row_put(t, "t", SLICE_LIT("lost"), SLICE_LIT("x")) != ERR_OK)
		return ERR_IO;
	return ERR_MALFORMED;
}

static enum err
row_job(struct store_txn *t, void *ctx)
{
	(void)ctx;
	return store_row_put(t, "t", SLICE_LIT("kept"), SLICE_LIT("y"));
}

static void
test_queue_is_bounded_and_close_runs_what_waits(void **state)
{
	struct world *w = *state;
	struct gate g = { .open = false };
	struct store_stats st;
	struct db_txn *t;
	struct buf b = BUF_MAX(10);
	unsigned i;

	pthread_mutex_init(&g.lock, NULL);
	pthread_cond_init(&g.cond, NULL);
	assert_int_equal(store_submit(w->s, gate_job, gate_done, &g), ERR_OK);
	do { /* until the writer took it */
		usleep(1000);
		pthread_mutex_lock(&w->s->lock);
		i = w->s->queued;
		pthread_mutex_unlock(&w->s->lock);
	} while (i != 0);
	for (i = 0; i < 8; i++)
		assert_int_equal(store_submit(w->s, i == 3 ? fail_job : row_job,
				     gate_done, &g),
		    ERR_OK);
	assert_int_equal(store_submit(w->s, row_job, gate_done, &g), ERR_BUSY);
	pthread_mutex_lock(&g.lock);
	g.open = true;
	pthread_cond_signal(&g.cond);
	pthread_mutex_unlock(&g.lock);
	reopen(w);
	assert_int_equal(g.done, 9);
	assert_int_equal(g.failed, 1);
	assert_int_equal(store_stats(w->s, &st), ERR_OK);
	assert_int_equal(st.commits, 1); /* one group */
	assert_int_equal(store_read(w->s, &t), ERR_OK);
	assert_int_equal(
	    store_row_get(w->s, t, "t", SLICE_LIT("kept"), &b), ERR_OK);
	assert_int_equal(
	    store_row_get(w->s, t, "t", SLICE_LIT("lost"), &b), ERR_NOTFOUND);
	db_abort(t);
	buf_fini(&b);
	expect_clean(w, true);
	pthread_mutex_destroy(&g.lock);
	pthread_cond_destroy(&g.cond);
}

struct watch {
	unsigned told;    /* by the commit hook */
	unsigned at_done; /* what told was when done ran */
};

static void
watch_commit(void *ctx)
{
	((struct watch *)ctx)->told++;
}

static enum err
watch_job(struct store_txn *t, void *ctx)
{
	(void)ctx;
	return store_row_put(t, "t", SLICE_LIT("w"), SLICE_LIT("y"));
}

static void
watch_done(enum err e, void *ctx)
{
	struct watch *x = ctx;

	if (e == ERR_OK)
		x->at_done = x->told;
}

static void
test_commit_hook_runs_before_done_until_taken_off(void **state)
{
	struct world *w = *state;
	struct watch x = { 0, 0 };

	assert_int_equal(store_on_commit(w->s, watch_commit, &x), ERR_OK);
	assert_int_equal(store_submit(w->s, watch_job, watch_done, &x), ERR_OK);
	reopen(w);
	assert_int_equal(x.told, 1);
	assert_int_equal(x.at_done, 1);
	assert_int_equal(store_on_commit(w->s, watch_commit, &x), ERR_OK);
	assert_int_equal(store_write(w->s, fail_job, NULL), ERR_MALFORMED);
	assert_int_equal(x.told, 1);
	store_off_commit(w->s, watch_commit, &x);
	assert_int_equal(store_write(w->s, row_job, NULL), ERR_OK);
	assert_int_equal(x.told, 1);
}

/* --- rows --- */

struct row {
	const char *tag;
	struct slice key, value;
};

static enum err
put_row(struct store_txn *t, void *ctx)
{
	struct row *r = ctx;
	struct buf b = BUF_MAX(STORE_ROW_VALUE_MAX);
	enum err e = store_row_put(t, r->tag, r->key, r->value);

	if (e == ERR_OK)
		e = store_row_get(
		    store_txn_store(t), store_txn_db(t), r->tag, r->key, &b);
	if (e == ERR_OK && !slice_eq(buf_slice(&b), r->value))
		e = ERR_CORRUPT;
	buf_fini(&b);
	return e;
}

static enum err
del_row(struct store_txn *t, void *ctx)
{
	struct row *r = ctx;

	return store_row_del(t, r->tag, r->key);
}

static enum err
get_row(struct world *w, const struct row *r)
{
	struct buf b = BUF_MAX(STORE_ROW_VALUE_MAX);
	struct db_txn *t;
	enum err e;

	assert_int_equal(store_read(w->s, &t), ERR_OK);
	e = store_row_get(w->s, t, r->tag, r->key, &b);
	db_abort(t);
	if (e == ERR_OK)
		assert_true(slice_eq(buf_slice(&b), r->value));
	buf_fini(&b);
	return e;
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

/* --- opening --- */

static void
test_wrong_key_is_refused_in_words(void **state)
{
	struct world *w = *state;
	struct errmsg em;
	struct store_opts o = w->o;
	struct store *s = NULL;

	store_close(w->s);
	w->s = NULL;
	o.local.b[0] ^= 1;
	assert_int_equal(store_open(&o, &s, &em), ERR_AUTH);
	assert_non_null(strstr(em.cause, "keystore"));
	assert_null(s);
	assert_int_equal(store_open(&w->o, &w->s, &em), ERR_OK);
}

static void
test_second_open_of_the_same_folder_is_busy(void **state)
{
	struct world *w = *state;
	struct errmsg em;
	struct store *s = NULL;

	assert_int_equal(store_open(&w->o, &s, &em), ERR_BUSY);
	assert_non_null(strstr(em.cause, "in use by another process"));
}

static void
test_open_answers_when_memory_runs_out(void **state)
{
	struct world *w = *state;
	struct errmsg em;
	enum err e = ERR_NOMEM;
	long n;

	store_close(w->s);
	w->s = NULL;
	for (n = 0; n < 200 && e != ERR_OK; n++) {
		mem_fail_at(n);
		e = store_open(&w->o, &w->s, &em);
		mem_fail_at(-1);
		if (e != ERR_OK)
			assert_int_equal(e, ERR_NOMEM);
	}
	assert_int_equal(e, ERR_OK);
	assert_true(n > 3);
}

static void
test_write_answers_when_memory_runs_out(void **state)
{
	struct world *w = *state;
	struct row r = { "t", SLICE_LIT("k"), SLICE_LIT("v") };
	enum err e = ERR_NOMEM;
	long n;

	for (n = 0; n < 200 && e != ERR_OK; n++) {
		mem_fail_at(n);
		e = store_write(w->s, put_row, &r);
		mem_fail_at(-1);
		if (e != ERR_OK)
			assert_int_equal(get_row(w, &r), ERR_NOTFOUND);
	}
	assert_int_equal(e, ERR_OK);
	assert_true(n > 3);
	assert_int_equal(get_row(w, &r), ERR_OK);
	expect_clean(w, true);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_records_of_all_sizes_come_back_in_and_after_the_job),
		T(test_record_above_the_limit_is_refused),
		T(test_failed_job_leaves_nothing_even_across_segments),
		T(test_bytes_of_a_failed_job_are_wiped_by_the_next_commit),
		T(test_altered_or_misplaced_record_is_never_given_out),
		T(test_commit_hook_runs_before_done_until_taken_off),
		T(test_queue_is_bounded_and_close_runs_what_waits),
		T(test_rows_small_and_large_survive_and_can_be_deleted),
		T(test_row_tag_and_key_limits),
		T(test_each_walks_one_tag_and_prefix_in_order),
		T(test_each_may_change_the_rows_it_walks),
		T(test_row_values_are_not_readable_on_disk),
		T(test_value_moved_to_another_row_does_not_open),
		T(test_wrong_key_is_refused_in_words),
		T(test_second_open_of_the_same_folder_is_busy),
		T(test_open_answers_when_memory_runs_out),
		T(test_write_answers_when_memory_runs_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
