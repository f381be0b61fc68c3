/* Claims, over seeded random runs: whatever was put, put again, deleted,
 * prepared and dropped, failed, collected and reopened, every count equals a
 * recount, every file that is there reads exactly, and after a pass without
 * grace only chunks of files that are there are left.  The same while
 * writers, readers and the collector run at once. */
#include <pthread.h>
#include <stdatomic.h>

#include "lib/gc_lib.h"
#include "store/base/clock.h"

#define FILES 24u
#define STEPS 80u

struct model {
	struct gcw w;
	struct prng p;
	bool there[FILES];
};

static void
pass(struct model *m, uint64_t grace_ms)
{
	struct store_gc_opts o = { .grace_ms = grace_ms, .no_pause = true };
	struct store_gc_report r;

	assert_int_equal(store_gc(m->w.s, &o, &r), ERR_OK);
	assert_int_equal(r.damaged, 0);
}

static void
put_and_fail(struct model *m, uint32_t no, bool row)
{
	struct gcw_put p;

	gcw_prepare(&m->w, &p, no);
	p.row = row;
	p.end = row ? ERR_CANCELLED : ERR_OK;
	assert_int_equal(store_write(m->w.s, gcw_put_job, &p), p.end);
	gcw_put_free(&p);
}

static void
step(struct model *m)
{
	uint32_t no = prng_below(&m->p, FILES);

	switch (prng_below(&m->p, 12)) {
	case 0:
	case 1:
	case 2:
	case 3:
		gcw_file_put(&m->w, no);
		m->there[no] = true;
		break;
	case 4:
	case 5:
	case 6:
		assert_int_equal(gcw_file_del(&m->w, no),
		    m->there[no] ? ERR_OK : ERR_NOTFOUND);
		m->there[no] = false;
		break;
	case 7: put_and_fail(m, no, true); break;
	case 8: put_and_fail(m, no, false); break;
	case 9: pass(m, 0); break;
	case 10: pass(m, 100000); break;
	default: gcw_reopen(&m->w); break;
	}
}

static void
expect_model(struct model *m)
{
	uint32_t no, chunks = 0;
	unsigned bad = 0;

	for (no = 0; no < FILES; no++) {
		assert_int_equal(gcw_file_get(&m->w, no),
		    m->there[no] ? ERR_OK : ERR_NOTFOUND);
		chunks += m->there[no];
		chunks += no % 2 == 0 && (m->there[no] || m->there[no + 1]);
	}
	pass(m, 0);
	assert_int_equal(gcw_stats(&m->w).chunks, chunks);
	assert_int_equal(gcw_stats(&m->w).grace_chunks, 0);
	assert_int_equal(gcw_refs_bad(&m->w), 0);
	assert_int_equal(
	    store_verify(m->w.s, true, gcw_bad, &bad, NULL), ERR_OK);
	assert_int_equal(bad, 0);
	for (no = 0; no < FILES; no++)
		assert_int_equal(gcw_file_get(&m->w, no),
		    m->there[no] ? ERR_OK : ERR_NOTFOUND);
}

static void
test_random_runs_keep_counts_and_files(void **state)
{
	uint64_t seed;
	uint32_t i;

	(void)state;
	for (seed = 1; seed <= 3; seed++) {
		struct model m = { .p = { seed } };

		m.w.o.segment_bytes = 128 * KIB;
		tmpdir_make(m.w.dir);
		gcw_open(&m.w);
		for (i = 0; i < STEPS; i++) {
			step(&m);
			if (gcw_refs_bad(&m.w) != 0)
				fail_msg("seed %u step %u", (unsigned)seed, i);
		}
		expect_model(&m);
		store_close(m.w.s);
		tmpdir_remove(m.w.dir);
	}
}

/* --- the log alone --- */

struct view {
	struct cry_id rows;
	uint64_t refs;
	uint32_t chunks; /* with a reference */
};

static void
view_chunks(struct view *v, struct db_txn *t)
{
	struct chunk_row row;
	struct slice k, val;
	struct db_cur *c;

	assert_int_equal(
	    db_cur_open(t, DB_CHUNK, slice_of(NULL, 0), &c), ERR_OK);
	while (db_cur_next(c, &k, &val) == ERR_OK) {
		assert_int_equal(blob_chunk_row_read(val, &row), ERR_OK);
		v->refs += row.refs;
		v->chunks += row.refs > 0;
	}
	db_cur_close(c);
}

static struct view
view_of(struct model *m)
{
	struct view v = { .refs = 0 };
	struct db_txn *t;

	assert_int_equal(store_read(m->w.s, &t), ERR_OK);
	assert_int_equal(store_rows_hash(m->w.s, t, &v.rows), ERR_OK);
	view_chunks(&v, t);
	db_abort(t);
	return v;
}

/* Files of segments that are dead stay, as after a crash before they went. */
static void
pass_that_buries_nothing(struct model *m)
{
	struct store_snapshot *held;
	struct db_txn *t;

	assert_int_equal(store_read(m->w.s, &t), ERR_OK);
	assert_int_equal(store_snapshot_open(m->w.s, t, &held), ERR_OK);
	db_abort(t);
	pass(m, 0);
	store_snapshot_close(held);
}

static void
rebuild(struct model *m)
{
	struct store_rebuild_opts ro = { .bad = gcw_bad };
	char path[TMPDIR_MAX + 8];
	struct store *s = NULL;
	unsigned bad = 0;

	ro.ctx = &bad;
	store_close(m->w.s);
	snprintf(path, sizeof(path), "%s/db", m->w.dir);
	tmpdir_remove(path);
	assert_int_equal(store_rebuild_begin(&m->w.o, &ro, &s, NULL), ERR_OK);
	assert_int_equal(store_refs_rebuild(s), ERR_OK);
	assert_int_equal(store_rebuild_end(s, false, NULL), ERR_OK);
	assert_int_equal(bad, 0);
	gcw_open(&m->w);
}

static void
expect_same_after_rebuild(struct model *m)
{
	struct view before, after;
	uint32_t no;

	before = view_of(m);
	rebuild(m);
	after = view_of(m);
	assert_memory_equal(&before.rows, &after.rows, sizeof(after.rows));
	assert_int_equal(before.refs, after.refs);
	assert_int_equal(before.chunks, after.chunks);
	assert_int_equal(gcw_refs_bad(&m->w), 0);
	for (no = 0; no < FILES; no++)
		assert_int_equal(gcw_file_get(&m->w, no),
		    m->there[no] ? ERR_OK : ERR_NOTFOUND);
}

/* Any history, and the log says the same as the index: rows, references,
 * files.  What was collected may be there again, without a reference. */
static void
test_rebuilt_after_any_history_it_is_the_same(void **state)
{
	uint64_t seed;
	uint32_t i;

	(void)state;
	for (seed = 1; seed <= 2; seed++) {
		struct model m = { .p = { 7000 + seed } };

		m.w.o.segment_bytes = 64 * KIB;
		tmpdir_make(m.w.dir);
		gcw_open(&m.w);
		for (i = 1; i <= STEPS; i++) {
			step(&m);
			if (i % 9 == 0)
				pass_that_buries_nothing(&m);
			if (i % 7 == 0)
				expect_same_after_rebuild(&m);
		}
		expect_model(&m);
		store_close(m.w.s);
		tmpdir_remove(m.w.dir);
	}
}

/* --- all at once --- */

#define RUN_MS 1500u

struct crowd {
	struct gcw *w;
	_Atomic bool over;
	_Atomic uint32_t reads, passes, writes, wrong;
};

struct member {
	struct crowd *c;
	uint64_t seed;
};

static void *
writer(void *arg)
{
	struct member *me = arg;
	struct prng p = { me->seed };

	while (!atomic_load(&me->c->over)) {
		/* Each has numbers of its own; pieces are shared. */
		uint32_t no =
		    prng_below(&p, FILES) * 2 + (uint32_t)(me->seed & 1);

		if (prng_below(&p, 2) == 0)
			gcw_file_put(me->c->w, no);
		else if (gcw_file_del(me->c->w, no) == ERR_CORRUPT)
			atomic_fetch_add(&me->c->wrong, 1);
		atomic_fetch_add(&me->c->writes, 1);
	}
	return NULL;
}

static void *
reader(void *arg)
{
	struct member *me = arg;
	struct prng p = { me->seed };

	while (!atomic_load(&me->c->over)) {
		uint32_t no = prng_below(&p, FILES * 2);
		struct store_lease l;
		enum err e;

		store_lease_begin(me->c->w->s, &l);
		e = gcw_file_get(me->c->w, no);
		store_lease_end(me->c->w->s, &l);
		if (e != ERR_OK && e != ERR_NOTFOUND)
			atomic_fetch_add(&me->c->wrong, 1);
		atomic_fetch_add(&me->c->reads, e == ERR_OK);
	}
	return NULL;
}

static void *
collector(void *arg)
{
	struct member *me = arg;
	struct store_gc_opts o = { .no_pause = true };
	struct store_gc_report r;

	while (!atomic_load(&me->c->over)) {
		if (store_gc(me->c->w->s, &o, &r) != ERR_OK || r.damaged != 0)
			atomic_fetch_add(&me->c->wrong, 1);
		atomic_fetch_add(&me->c->passes, r.segments);
	}
	return NULL;
}

static void
test_all_at_once(void **state)
{
	void *(*const roles[])(void *) = { writer, writer, reader, collector };
	struct gcw w = { .o = { .segment_bytes = 128 * KIB } };
	struct crowd c = { .w = &w };
	struct member m[4];
	pthread_t t[4];
	uint64_t until;
	unsigned bad = 0;
	size_t i;

	(void)state;
	tmpdir_make(w.dir);
	gcw_open(&w);
	for (i = 0; i < 4; i++) {
		m[i] = (struct member){ &c, 10 + i };
		assert_int_equal(
		    pthread_create(&t[i], NULL, roles[i], &m[i]), 0);
	}
	until = clock_mono_ms() + RUN_MS;
	while (clock_mono_ms() < until)
		(void)usleep(10000);
	atomic_store(&c.over, true);
	for (i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(atomic_load(&c.wrong), 0);
	assert_true(atomic_load(&c.reads) > 0);
	assert_true(atomic_load(&c.passes) > 0);
	assert_int_equal(gcw_refs_bad(&w), 0);
	assert_int_equal(store_verify(w.s, true, gcw_bad, &bad, NULL), ERR_OK);
	assert_int_equal(bad, 0);
	store_close(w.s);
	tmpdir_remove(w.dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_runs_keep_counts_and_files),
		cmocka_unit_test(test_rebuilt_after_any_history_it_is_the_same),
		cmocka_unit_test(test_all_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
