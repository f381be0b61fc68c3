/* Claims: a job that fails leaves nothing; done means durable; records come
 * back as they went in, also inside the job that wrote them; the queue and
 * every size are bounded; verify is quiet on an intact store. */
#include "store_world.h"

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
	for (i = (off_t)(good.loc.off + 192 + STORE_END_BYTES); i < st.st_size;
	     i++)
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

/* Rows until there is no room for another. */
static enum err
flood_job(struct store_txn *t, void *ctx)
{
	uint8_t key[4], value[200] = { 0 };
	enum err e = ERR_OK;
	uint32_t i;

	(void)ctx;
	for (i = 0; i < 100000 && e == ERR_OK; i++) {
		memcpy(key, &i, sizeof(key));
		e = store_row_put(t, "flood", slice_of(key, sizeof(key)),
		    slice_of(value, sizeof(value)));
	}
	return e;
}

/* What a commit itself writes to the index has its room even when a job took
 * all of it: the job is refused, others of the batch are kept. */
static void
test_job_that_fills_the_index_fails_alone(void **state)
{
	struct world *w = *state;
	struct row kept = { "t", SLICE_LIT("kept"), SLICE_LIT("y") };
	struct gate g = { .done = 0 };

	store_close(w->s);
	w->s = NULL;
	w->o.map_bytes = 8 * MIB;
	assert_int_equal(store_open(&w->o, &w->s, NULL), ERR_OK);
	pthread_mutex_init(&g.lock, NULL);
	pthread_cond_init(&g.cond, NULL);
	assert_int_equal(store_submit(w->s, gate_job, gate_done, &g), ERR_OK);
	assert_int_equal(store_submit(w->s, row_job, gate_done, &g), ERR_OK);
	assert_int_equal(store_submit(w->s, flood_job, gate_done, &g), ERR_OK);
	pthread_mutex_lock(&g.lock);
	g.open = true;
	pthread_cond_signal(&g.cond);
	pthread_mutex_unlock(&g.lock);
	assert_int_equal(store_write(w->s, flood_job, &g), ERR_FULL);
	reopen(w);
	assert_int_equal(g.done, 3);
	assert_int_equal(g.failed, 1);
	assert_int_equal(get_row(w, &kept), ERR_OK);
	pthread_cond_destroy(&g.cond);
	pthread_mutex_destroy(&g.lock);
	expect_clean(w, true);
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
		T(test_job_that_fills_the_index_fails_alone),
		T(test_queue_is_bounded_and_close_runs_what_waits),
		T(test_wrong_key_is_refused_in_words),
		T(test_second_open_of_the_same_folder_is_busy),
		T(test_open_answers_when_memory_runs_out),
		T(test_write_answers_when_memory_runs_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
