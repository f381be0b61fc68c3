/* Claims: a row of an owned tag counts each chunk its manifest names, once an
 * entry; replacing and deleting it takes them back; a chunk that no row names
 * waits in the grace queue, and leaves it when one does; a job that fails
 * changes no count; a recount finds a wrong count and a rebuild mends it; a
 * chunk without references is not found by who prepares the same bytes. */
#include "lib/gc_lib.h"

static void
test_rows_count_what_they_hold(void **state)
{
	struct gcw *w = *state;
	struct gcw_put a, b;

	gcw_prepare(w, &a, 0);
	assert_int_equal(store_write(w->s, gcw_put_job, &a), ERR_OK);
	assert_int_equal(gcw_refs(w, &a.man, 0), 1);
	gcw_prepare(w, &b, 1); /* shares its first piece */
	assert_int_equal(store_write(w->s, gcw_put_job, &b), ERR_OK);
	assert_int_equal(gcw_refs(w, &a.man, 0), 2);
	assert_int_equal(gcw_refs(w, &b.man, 1), 1);
	assert_int_equal(gcw_stats(w).grace_chunks, 0);

	assert_int_equal(gcw_file_del(w, 0), ERR_OK);
	assert_int_equal(gcw_refs(w, &a.man, 0), 1);
	assert_int_equal(gcw_refs(w, &a.man, 1), 0);
	assert_int_equal(gcw_stats(w).grace_chunks, 1);
	assert_true(gcw_stats(w).grace_bytes >= GCW_FILE / 2);
	assert_int_equal(gcw_refs_bad(w), 0);

	/* The same row again: out of the queue. */
	assert_int_equal(store_write(w->s, gcw_put_job, &a), ERR_OK);
	assert_int_equal(gcw_stats(w).grace_chunks, 0);
	assert_int_equal(gcw_stats(w).grace_bytes, 0);
	/* And once more, over itself: counts stay. */
	assert_int_equal(store_write(w->s, gcw_put_job, &a), ERR_OK);
	assert_int_equal(gcw_refs(w, &a.man, 0), 2);
	assert_int_equal(gcw_refs_bad(w), 0);
	gcw_put_free(&a);
	gcw_put_free(&b);
}

static void
test_chunks_that_nothing_names_wait(void **state)
{
	struct gcw *w = *state;
	struct gcw_put a, again;

	gcw_prepare(w, &a, 4);
	a.row = false;
	assert_int_equal(store_write(w->s, gcw_put_job, &a), ERR_OK);
	assert_int_equal(gcw_stats(w).grace_chunks, 2);
	assert_int_equal(gcw_refs_bad(w), 0);

	/* Who prepares the same bytes brings them: they may go meanwhile. */
	gcw_prepare(w, &again, 4);
	assert_true(blob_batch_new_bytes(again.b) >= GCW_FILE);
	assert_int_equal(store_write(w->s, gcw_put_job, &again), ERR_OK);
	assert_int_equal(gcw_stats(w).grace_chunks, 0);
	assert_int_equal(gcw_stats(w).chunks, 2);
	gcw_put_free(&again);
	gcw_prepare(w, &again, 4);
	assert_int_equal(blob_batch_new_bytes(again.b), 0);
	gcw_put_free(&again);
	gcw_put_free(&a);
}

static void
test_a_failed_job_counts_nothing(void **state)
{
	struct gcw *w = *state;
	struct gcw_put a, b;
	struct store_stats before, after;

	gcw_prepare(w, &a, 6);
	assert_int_equal(store_write(w->s, gcw_put_job, &a), ERR_OK);
	before = gcw_stats(w);
	gcw_prepare(w, &b, 7);
	b.end = ERR_CANCELLED;
	assert_int_equal(store_write(w->s, gcw_put_job, &b), ERR_CANCELLED);
	after = gcw_stats(w);
	assert_int_equal(gcw_refs(w, &a.man, 0), 1);
	assert_int_equal(after.live_bytes, before.live_bytes);
	assert_int_equal(after.chunks, before.chunks);
	assert_int_equal(after.grace_chunks, 0);
	gcw_put_free(&a);
	gcw_put_free(&b);
	gcw_reopen(w);
	assert_int_equal(gcw_stats(w).live_bytes, before.live_bytes);
	assert_int_equal(gcw_refs_bad(w), 0);
}

struct spoil {
	struct cry_id cid;
	uint32_t refs;
};

static enum err
spoil_job(struct store_txn *t, void *ctx)
{
	struct spoil *p = ctx;
	struct chunk_row row;
	uint64_t no;
	enum err e = blob_chunk_row(store_txn_db(t), &p->cid, &no, &row);

	row.refs = p->refs;
	return e == ERR_OK ? blob_chunk_row_put(store_txn_db(t), no, &row) : e;
}

static void
test_a_recount_finds_and_mends_a_wrong_count(void **state)
{
	struct gcw *w = *state;
	struct blob_manifest m;
	struct gcw_put a;
	struct spoil p = { .refs = 5 };

	gcw_prepare(w, &a, 8);
	assert_int_equal(store_write(w->s, gcw_put_job, &a), ERR_OK);
	assert_int_equal(blob_manifest_decode(buf_slice(&a.man), &m), ERR_OK);
	p.cid = m.e[0].cid;
	assert_int_equal(store_write(w->s, spoil_job, &p), ERR_OK);
	assert_int_equal(gcw_refs_bad(w), 1);
	assert_int_equal(store_refs_rebuild(w->s), ERR_OK);
	assert_int_equal(gcw_refs_bad(w), 0);
	p.refs = 0; /* at zero, yet not in the queue: two faults in one */
	assert_int_equal(store_write(w->s, spoil_job, &p), ERR_OK);
	assert_int_equal(gcw_refs_bad(w), 1);
	assert_int_equal(store_refs_rebuild(w->s), ERR_OK);
	assert_int_equal(gcw_refs_bad(w), 0);
	assert_int_equal(gcw_stats(w).grace_chunks, 0);
	blob_manifest_fini(&m);
	gcw_put_free(&a);
}

static void
test_live_bytes_are_those_of_records_in_use(void **state)
{
	struct gcw *w = *state;
	uint64_t full;
	uint32_t no;

	for (no = 0; no < 40; no++) /* over several segments */
		gcw_file_put(w, no);
	full = gcw_stats(w).live_bytes;
	assert_true(full > 40 * GCW_FILE / 2);
	for (no = 0; no < 40; no++)
		gcw_file_put(w, no);
	/* The same rows again: the old records are dead, the new as long. */
	assert_int_equal(gcw_stats(w).live_bytes, full);
	assert_true(gcw_stats(w).dead_bytes > 0);
	gcw_reopen(w);
	assert_int_equal(gcw_stats(w).live_bytes, full);
	assert_int_equal(gcw_refs_bad(w), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, gcw_setup, gcw_teardown)
		TEST(test_rows_count_what_they_hold),
		TEST(test_chunks_that_nothing_names_wait),
		TEST(test_a_failed_job_counts_nothing),
		TEST(test_a_recount_finds_and_mends_a_wrong_count),
		TEST(test_live_bytes_are_those_of_records_in_use),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
