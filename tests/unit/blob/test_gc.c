/* Claims: a chunk goes when nothing refers to it, its grace is over and no
 * lease is older, and not before; what is referred to never goes; segments
 * under half live are emptied, their files removed, and all that is left
 * reads the same, also after a restart and after the index was rebuilt from
 * the log; deletions stay deletions; a segment stays while a reader may have
 * a place in it; the writer never gets a larger job than the bound; a damaged
 * record is never dropped with its segment. */
#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include "lib/gc_lib.h"

#define FILES 40u

static struct store_gc_report
gc_run(struct gcw *w, uint64_t grace_ms, bool dry)
{
	struct store_gc_opts o = {
		.grace_ms = grace_ms, .dry_run = dry, .no_pause = true
	};
	struct store_gc_report r;

	assert_int_equal(store_gc(w->s, &o, &r), ERR_OK);
	assert_true(r.job_records_max <= STORE_GC_JOB_RECORDS);
	assert_true(r.job_bytes_max <= STORE_GC_JOB_BYTES + STORE_BODY_MAX);
	assert_int_equal(gcw_refs_bad(w), 0);
	return r;
}

static unsigned
segment_files(struct gcw *w)
{
	char path[TMPDIR_MAX + 16];
	struct dirent *d;
	unsigned n = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/segments", w->dir);
	dir = opendir(path);
	while ((d = readdir(dir)) != NULL)
		n += strstr(d->d_name, ".seg") != NULL;
	closedir(dir);
	return n;
}

static void
expect_clean(struct gcw *w)
{
	unsigned bad = 0;

	assert_int_equal(store_verify(w->s, true, gcw_bad, &bad, NULL), ERR_OK);
	assert_int_equal(bad, 0);
}

static void
test_grace_and_references_decide(void **state)
{
	struct gcw *w = *state;
	struct store_gc_report r;

	gcw_file_put(w, 0);
	gcw_file_put(w, 1);
	r = gc_run(w, 0, false);
	assert_int_equal(r.chunks, 0);
	assert_int_equal(gcw_file_del(w, 0), ERR_OK);
	r = gc_run(w, 60000, false);
	assert_int_equal(r.chunks, 0);
	assert_int_equal(r.waiting_chunks, 1);
	r = gc_run(w, 0, true);
	assert_int_equal(r.chunks, 1);
	assert_int_equal(gcw_stats(w).chunks, 3);
	r = gc_run(w, 0, false);
	assert_int_equal(r.chunks, 1);
	assert_true(r.bytes >= GCW_FILE / 2);
	assert_int_equal(r.waiting_chunks, 0);
	assert_int_equal(gcw_stats(w).chunks, 2);
	assert_int_equal(gcw_file_get(w, 1), ERR_OK);
	expect_clean(w);
	/* The same content again is stored again. */
	gcw_file_put(w, 0);
	assert_int_equal(gcw_file_get(w, 0), ERR_OK);
	assert_int_equal(gcw_stats(w).chunks, 3);
}

static void
test_a_batch_keeps_what_it_found(void **state)
{
	struct gcw *w = *state;
	struct gcw_put late;
	struct store_lease young;

	gcw_file_put(w, 2);
	gcw_prepare(w, &late, 2);
	assert_int_equal(blob_batch_new_bytes(late.b), 0);
	assert_int_equal(gcw_file_del(w, 2), ERR_OK);
	assert_int_equal(gc_run(w, 0, false).chunks, 0);
	assert_int_equal(store_write(w->s, gcw_put_job, &late), ERR_OK);
	assert_int_equal(gcw_file_get(w, 2), ERR_OK);
	gcw_put_free(&late);
	/* A lease that began later does not keep it. */
	assert_int_equal(gcw_file_del(w, 2), ERR_OK);
	store_lease_begin(w->s, &young);
	assert_int_equal(gc_run(w, 0, false).chunks, 2);
	store_lease_end(w->s, &young);
}

static void
test_without_owners_nothing_goes(void **state)
{
	struct gcw *w = *state;
	struct store_gc_opts o = { .no_pause = true };
	struct store_gc_report r;
	struct errmsg em;

	store_close(w->s);
	w->o.owners = NULL;
	assert_int_equal(store_open(&w->o, &w->s, &em), ERR_OK);
	assert_int_equal(store_gc(w->s, &o, &r), ERR_UNSUPPORTED);
}

/* FILES files, of which every fourth stays. */
static void
fill(struct gcw *w)
{
	uint32_t no;

	for (no = 0; no < FILES; no++)
		gcw_file_put(w, no);
	for (no = 0; no < FILES; no++) {
		if (no % 4 != 0)
			assert_int_equal(gcw_file_del(w, no), ERR_OK);
	}
}

static void
expect_fourths(struct gcw *w)
{
	uint32_t no;

	for (no = 0; no < FILES; no++)
		assert_int_equal(
		    gcw_file_get(w, no), no % 4 == 0 ? ERR_OK : ERR_NOTFOUND);
}

static void
test_segments_are_emptied(void **state)
{
	struct gcw *w = *state;
	struct store_gc_report dry, r;
	unsigned before;

	fill(w);
	before = segment_files(w);
	dry = gc_run(w, 0, true);
	assert_int_equal(segment_files(w), before);
	r = gc_run(w, 0, false);
	assert_int_equal(r.chunks, dry.chunks);
	assert_true(r.segments > 0);
	assert_true(r.freed_bytes > r.copied_bytes);
	assert_int_equal(r.damaged, 0);
	assert_true(segment_files(w) < before);
	expect_fourths(w);
	expect_clean(w);
	gcw_reopen(w);
	expect_fourths(w);
	expect_clean(w);
	assert_int_equal(gcw_refs_bad(w), 0);
	/* Twice is once: what was copied forward is dense. */
	r = gc_run(w, 0, false);
	assert_int_equal(r.chunks, 0);
	assert_true(r.segments <= 1);
}

static void
index_rebuild(struct gcw *w)
{
	struct store_rebuild_opts ro = { .bad = NULL };
	struct errmsg em = { .code = ERR_OK };

	store_close(w->s);
	assert_int_equal(store_rebuild_begin(&w->o, &ro, &w->s, &em), ERR_OK);
	assert_int_equal(store_refs_rebuild(w->s), ERR_OK);
	assert_int_equal(store_rebuild_end(w->s, false, &em), ERR_OK);
	gcw_open(w);
}

static void
test_deletions_outlive_compaction_and_rebuild(void **state)
{
	struct gcw *w = *state;
	uint32_t no;
	int round;

	for (round = 0; round < 2; round++) {
		fill(w);
		(void)gc_run(w, 0, false);
		/* Rows put and deleted again, so that deletions get old. */
		for (no = 100; no < 120; no++)
			gcw_file_put(w, no);
		for (no = 100; no < 120; no++)
			assert_int_equal(gcw_file_del(w, no), ERR_OK);
		(void)gc_run(w, 0, false);
	}
	index_rebuild(w);
	expect_fourths(w);
	for (no = 100; no < 120; no++)
		assert_int_equal(gcw_file_get(w, no), ERR_NOTFOUND);
	expect_clean(w);
	assert_int_equal(gcw_refs_bad(w), 0);
	(void)gc_run(w, 0, false);
	expect_fourths(w);
	expect_clean(w);
}

/* The put lies in a segment that stays, the deletion in one that goes. */
static void
test_a_deletion_outlives_its_segment(void **state)
{
	struct gcw *w = *state;
	uint32_t no;

	gcw_file_put(w, 500);
	for (no = 0; no < 10; no++) /* the rest of the first segment */
		gcw_file_put(w, 2 * no);
	for (no = 200; no < 206; no++)
		gcw_file_put(w, no);
	assert_int_equal(gcw_file_del(w, 500), ERR_OK);
	for (no = 206; no < 240; no++)
		gcw_file_put(w, no);
	for (no = 200; no < 240; no++)
		assert_int_equal(gcw_file_del(w, no), ERR_OK);
	assert_true(gc_run(w, 0, false).segments > 0);
	index_rebuild(w);
	assert_int_equal(gcw_file_get(w, 500), ERR_NOTFOUND);
	for (no = 0; no < 10; no++)
		assert_int_equal(gcw_file_get(w, 2 * no), ERR_OK);
	for (no = 200; no < 240; no++)
		assert_int_equal(gcw_file_get(w, no), ERR_NOTFOUND);
	expect_clean(w);
	assert_int_equal(gcw_refs_bad(w), 0);
}

/* A place taken from the index is good as long as the transaction lives. */
static void
test_a_reader_keeps_its_segment(void **state)
{
	struct gcw *w = *state;
	struct store_gc_report r;
	struct db_txn *t;
	struct buf man = BUF_MAX(MIB), piece = BUF_MAX(MIB);
	struct blob_manifest m;
	uint8_t key[4] = { 0 };
	unsigned before;

	fill(w);
	assert_int_equal(store_read(w->s, &t), ERR_OK);
	before = segment_files(w);
	r = gc_run(w, 0, false);
	assert_int_equal(r.segments, 0); /* emptied, but there */
	assert_true(segment_files(w) >= before);
	assert_int_equal(
	    store_row_get(w->s, t, "man", slice_of(key, 4), &man), ERR_OK);
	assert_int_equal(blob_manifest_decode(buf_slice(&man), &m), ERR_OK);
	assert_int_equal(blob_read(w->s, t, &m.e[0], &piece), ERR_OK);
	db_abort(t);
	r = gc_run(w, 0, false);
	assert_true(r.segments > 0);
	assert_true(segment_files(w) < before);
	expect_fourths(w);
	blob_manifest_fini(&m);
	buf_fini(&man);
	buf_fini(&piece);
}

static void
test_emptied_segments_go_at_open(void **state)
{
	struct gcw *w = *state;
	struct db_txn *t;
	unsigned before;

	fill(w);
	assert_int_equal(store_read(w->s, &t), ERR_OK);
	(void)gc_run(w, 0, false);
	before = segment_files(w);
	db_abort(t);
	gcw_reopen(w); /* as after a crash between commit and removal */
	assert_true(segment_files(w) < before);
	expect_fourths(w);
	expect_clean(w);
	(void)gc_run(w, 0, false);
	expect_clean(w);
}

static void
test_a_damaged_record_keeps_its_segment(void **state)
{
	struct gcw *w = *state;
	char path[TMPDIR_MAX + 32];
	struct chunk_row row;
	struct buf man = BUF_MAX(MIB);
	struct blob_manifest m;
	uint8_t key[4] = { 0 }, byte;
	struct db_txn *t;
	uint64_t no;
	int fd;

	fill(w);
	assert_int_equal(store_read(w->s, &t), ERR_OK);
	assert_int_equal(
	    store_row_get(w->s, t, "man", slice_of(key, 4), &man), ERR_OK);
	assert_int_equal(blob_manifest_decode(buf_slice(&man), &m), ERR_OK);
	assert_int_equal(blob_chunk_row(t, &m.e[0].cid, &no, &row), ERR_OK);
	db_abort(t);
	snprintf(path, sizeof(path), "%s/segments/%08x.seg", w->dir,
	    (unsigned)row.loc.seg);
	fd = open(path, O_RDWR);
	assert_int_equal(pread(fd, &byte, 1, (off_t)row.loc.off + 500), 1);
	byte ^= 1;
	assert_int_equal(pwrite(fd, &byte, 1, (off_t)row.loc.off + 500), 1);
	close(fd);
	assert_true(gc_run(w, 0, false).damaged > 0);
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(gcw_file_get(w, 0), ERR_CORRUPT);
	assert_int_equal(gcw_file_get(w, 4), ERR_OK);
	blob_manifest_fini(&m);
	buf_fini(&man);
}

static void
test_a_quota_is_told_and_ends_when_content_goes(void **state)
{
	struct gcw *w = *state;
	struct store_stats st;
	uint32_t no;

	assert_false(store_quota_full(w->s)); /* none */
	fill(w);
	(void)gc_run(w, 0, false);
	st = gcw_stats(w);
	w->o.quota_bytes = st.live_bytes + st.index_bytes - 100000;
	gcw_reopen(w);
	assert_true(store_quota_full(w->s));
	for (no = 0; no < FILES; no += 4)
		assert_int_equal(gcw_file_del(w, no), ERR_OK);
	(void)gc_run(w, 0, false);
	assert_false(store_quota_full(w->s));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, gcw_setup, gcw_teardown)
		TEST(test_grace_and_references_decide),
		TEST(test_a_batch_keeps_what_it_found),
		TEST(test_without_owners_nothing_goes),
		TEST(test_segments_are_emptied),
		TEST(test_deletions_outlive_compaction_and_rebuild),
		TEST(test_a_deletion_outlives_its_segment),
		TEST(test_a_reader_keeps_its_segment),
		TEST(test_emptied_segments_go_at_open),
		TEST(test_a_quota_is_told_and_ends_when_content_goes),
		TEST(test_a_damaged_record_keeps_its_segment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
