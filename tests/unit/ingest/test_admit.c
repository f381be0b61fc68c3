/* What is held together: one image counts once, one series is of one
 * patient, whoever sends at the same moment. */
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <stdarg.h>
#include <cmocka.h>

#include <fcntl.h>
#include <unistd.h>

#include "lib/store_lib.h"
#include "lib/tmpdir.h"
#include "node/ingest/ingest_internal.h"
#include "store/base/mem.h"
#include "store/blob/gc.h"

static const struct store_row_owner owner = { "vi", ingest_vault_chunks };
static const struct store_owners owners = { .rows = &owner, .n_rows = 1 };

struct world {
	char dir[TMPDIR_MAX];
	struct cry_identity me;
	struct conf conf;
	struct ingest g;
	struct sink sink;
};

static int
setup(void **state)
{
	struct store_opts o = { .segment_bytes = 1 << 20,
		.map_bytes = (size_t)1 << 28 };
	struct world *w = mem_new(sizeof(*w));
	struct cry_box_sk recovery;
	struct errmsg em = { 0 };

	assert_non_null(w);
	tmpdir_make(w->dir);
	cry_identity_new(&w->me, &recovery);
	conf_defaults(&w->conf);
	w->g.o.me = &w->me;
	w->g.o.conf = &w->conf;
	memset(w->sink.share.b, 7, 32);
	(void)snprintf(
	    w->sink.calling_ae, sizeof(w->sink.calling_ae), "SCANNER");
	o.dir = w->dir;
	o.owners = &owners;
	o.local = w->me.local;
	o.convergence = w->me.convergence;
	assert_int_equal(store_open(&o, &w->g.o.store, &em), ERR_OK);
	*state = w;
	return 0;
}

static int
teardown(void **state)
{
	struct world *w = *state;

	store_close(w->g.o.store);
	tmpdir_remove(w->dir);
	mem_free(w);
	return 0;
}

static struct admitted
admit(struct world *w, const char *series, const char *sop, const char *subject)
{
	struct img_object o = { .parsed = true, .releasable = true };
	struct admitted out = { 0 };

	o.original = slice_str(sop);
	o.deid = SLICE_LIT("de-identified");
	(void)snprintf(o.series_uid, sizeof(o.series_uid), "%s", series);
	(void)snprintf(o.sop_uid, sizeof(o.sop_uid), "%s", sop);
	(void)snprintf(o.deid_sop_uid, sizeof(o.deid_sop_uid), "2.25.1");
	assert_int_equal(
	    admit_object(&w->g, &w->sink, &o, subject, &out), ERR_OK);
	return out;
}

static struct q_item
item(struct world *w, uint64_t no)
{
	struct db_txn *t = NULL;
	struct q_item q;

	assert_int_equal(store_read(w->g.o.store, &t), ERR_OK);
	assert_int_equal(q_get(w->g.o.store, t, no, &q), ERR_OK);
	db_abort(t);
	return q;
}

static void
test_a_series_with_two_patients_is_not_releasable(void **state)
{
	struct world *w = *state;
	struct admitted a = admit(w, "1.2.3", "1.2.3.1", "S-1");
	struct admitted b = admit(w, "1.2.3", "1.2.3.2", "S-1");
	struct q_item q;

	assert_int_equal(a.state, ADMIT_STORED);
	assert_int_equal(b.state, ADMIT_STORED);
	assert_int_equal(a.item, b.item);
	assert_false(item(w, a.item).blocked);
	b = admit(w, "1.2.3", "1.2.3.3", "S-2");
	assert_int_equal(b.state, ADMIT_QUARANTINED);
	assert_int_equal(b.item, a.item);
	q = item(w, a.item);
	assert_true(q.blocked);
	assert_int_equal(q.instances, 3);
	assert_string_equal(q.findings[0].kind, "two-patients");
	/* control: another series of the second patient */
	b = admit(w, "1.2.4", "1.2.4.1", "S-2");
	assert_int_equal(b.state, ADMIT_STORED);
}

static void
test_identified_and_deidentified_are_never_taken_for_each_other(void **state)
{
	struct world *w = *state;
	struct admitted a, b;

	w->sink.no_deid = true;
	a = admit(w, "1.2.3", "1.2.3.1", "S-1");
	assert_int_equal(a.state, ADMIT_STORED);
	assert_int_equal(
	    admit(w, "1.2.3", "1.2.3.1", "S-1").state, ADMIT_DUPLICATE);
	/* the slip is put right: the same file, de-identified */
	w->sink.no_deid = false;
	b = admit(w, "1.2.3", "1.2.3.1", "S-1");
	assert_int_equal(b.state, ADMIT_STORED);
	assert_int_not_equal(a.item, b.item);
	assert_memory_not_equal(item(w, a.item).family.b,
	    item(w, b.item).family.b, sizeof(struct key16));
}

/* An object of a group: its bytes are its name. */
static void
object(struct img_object *o, const char *series, const char *sop)
{
	*o = (struct img_object){ .parsed = true, .releasable = true };
	o->original = slice_str(sop);
	o->deid = SLICE_LIT("de-identified");
	(void)snprintf(o->series_uid, sizeof(o->series_uid), "%s", series);
	(void)snprintf(o->sop_uid, sizeof(o->sop_uid), "%s", sop);
	(void)snprintf(o->deid_sop_uid, sizeof(o->deid_sop_uid), "2.25.1");
}

static uint32_t
images_of(struct world *w, uint64_t no, uint32_t *pages)
{
	struct buf row = BUF_MAX(V_PAGE_BYTES);
	struct db_txn *t = NULL;
	uint32_t n = 0;
	uint8_t key[12] = { 0 };
	struct v_page p;

	assert_int_equal(store_read(w->g.o.store, &t), ERR_OK);
	q_key(no, key);
	for (*pages = 0;; (*pages)++) {
		key[11] = (uint8_t)n;
		buf_reset(&row);
		if (store_row_get(w->g.o.store, t, "vi", slice_of(key, 12),
			&row) != ERR_OK)
			break;
		assert_int_equal(v_page_decode(buf_slice(&row), &p), ERR_OK);
		n += p.n;
		v_page_fini(&p);
	}
	db_abort(t);
	buf_fini(&row);
	return n;
}

/* One commit, one page an item; the same image twice counts once. */
static void
test_a_group_is_one_commit_and_decides_between_its_own(void **state)
{
	struct world *w = *state;
	struct img_object o[5];
	struct admit_one list[5];
	struct store_stats before, after;
	uint32_t i, pages;

	object(&o[0], "1.2.3", "1.2.3.1");
	object(&o[1], "1.2.3", "1.2.3.2");
	object(&o[2], "1.2.4", "1.2.4.1");
	object(&o[3], "1.2.3", "1.2.3.1"); /* the first again */
	object(&o[4], "1.2.3", "1.2.3.2"); /* the name of another */
	o[4].original = SLICE_LIT("other bytes");
	for (i = 0; i < 5; i++)
		list[i] = (struct admit_one){ .o = &o[i], .subject = "S-1" };
	assert_int_equal(store_stats(w->g.o.store, &before), ERR_OK);
	admit_many(&w->g, &w->sink, list, 5);
	assert_int_equal(store_stats(w->g.o.store, &after), ERR_OK);
	assert_int_equal(after.commits, before.commits + 1);
	for (i = 0; i < 5; i++)
		assert_int_equal(list[i].e, ERR_OK);
	assert_int_equal(list[3].out.state, ADMIT_DUPLICATE);
	assert_int_equal(list[3].out.item, list[0].out.item);
	assert_int_equal(list[2].out.state, ADMIT_STORED);
	assert_int_not_equal(list[2].out.item, list[0].out.item);
	assert_int_equal(list[4].out.state, ADMIT_QUARANTINED);
	assert_string_equal(
	    item(w, list[0].out.item).findings[0].kind, "same-uid-other-bytes");
	assert_int_equal(item(w, list[0].out.item).instances, 3);
	assert_int_equal(images_of(w, list[0].out.item, &pages), 3);
	assert_int_equal(pages, 1);
	/* all of it again: no commit at all */
	for (i = 0; i < 5; i++)
		list[i] = (struct admit_one){ .o = &o[i], .subject = "S-1" };
	admit_many(&w->g, &w->sink, list, 5);
	for (i = 0; i < 5; i++)
		assert_int_equal(list[i].out.state, ADMIT_DUPLICATE);
	assert_int_equal(store_stats(w->g.o.store, &before), ERR_OK);
	assert_int_equal(after.commits, before.commits);
}

static void
test_one_bad_object_of_a_group_costs_only_itself(void **state)
{
	static const struct img_piece lie = { .off = 3, .len = 9000 };
	struct world *w = *state;
	struct img_object o[3];
	struct admit_one list[3];
	uint32_t i, pages;

	object(&o[0], "1.2.3", "1.2.3.1");
	object(&o[1], "1.2.3", "1.2.3.2");
	object(&o[2], "1.2.3", "1.2.3.3");
	o[1].original_plan = &lie; /* does not tile the file */
	o[1].n_original_plan = 1;
	for (i = 0; i < 3; i++)
		list[i] = (struct admit_one){ .o = &o[i], .subject = "S-1" };
	admit_many(&w->g, &w->sink, list, 3);
	assert_int_equal(list[0].e, ERR_OK);
	assert_int_equal(list[1].e, ERR_MALFORMED);
	assert_int_equal(list[2].e, ERR_OK);
	assert_int_equal(item(w, list[0].out.item).instances, 2);
	assert_int_equal(images_of(w, list[0].out.item, &pages), 2);
}

static int
clear_row(struct db_txn *t, enum db_table tab)
{
	struct db_cur *c = NULL;
	struct slice k, v;
	uint8_t key[DB_KEY_MAX];
	size_t n;

	assert_int_equal(db_cur_open(t, tab, (struct slice){ 0 }, &c), ERR_OK);
	if (db_cur_next(c, &k, &v) != ERR_OK) {
		db_cur_close(c);
		return 0;
	}
	n = k.n;
	memcpy(key, k.p, n);
	db_cur_close(c);
	assert_int_equal(db_del(t, tab, slice_of(key, n)), ERR_OK);
	return 1;
}

static enum err
forget_job(struct store_txn *t, void *ctx)
{
	uint32_t *n = ctx;

	while (clear_row(store_txn_db(t), DB_HELD))
		(*n)++;
	return ERR_OK;
}

/* The index was rebuilt: what is here is known from the vault's own rows. */
static void
test_what_is_held_is_known_again_without_its_table(void **state)
{
	struct world *w = *state;
	uint32_t n = 0;

	(void)admit(w, "1.2.3", "1.2.3.1", "S-1");
	(void)admit(w, "1.2.3", "1.2.3.2", "S-1");
	assert_int_equal(store_write(w->g.o.store, forget_job, &n), ERR_OK);
	assert_int_equal(n, 2);
	/* control: without it the image would be taken twice */
	assert_int_equal(
	    admit(w, "1.2.3", "1.2.3.1", "S-1").state, ADMIT_STORED);
	assert_int_equal(store_write(w->g.o.store, forget_job, &n), ERR_OK);
	assert_int_equal(held_restore(&w->g), ERR_OK);
	assert_int_equal(
	    admit(w, "1.2.3", "1.2.3.1", "S-1").state, ADMIT_DUPLICATE);
	assert_int_equal(
	    admit(w, "1.2.3", "1.2.3.2", "S-1").state, ADMIT_DUPLICATE);
}

/* One bit in the middle of every chunk's record. */
static void
damage_chunks(struct world *w)
{
	char path[TMPDIR_MAX + 64];
	struct db_cur *c = NULL;
	struct db_txn *t = NULL;
	struct slice k, v;

	assert_int_equal(store_read(w->g.o.store, &t), ERR_OK);
	assert_int_equal(
	    db_cur_open(t, DB_CHUNK, (struct slice){ 0 }, &c), ERR_OK);
	while (db_cur_next(c, &k, &v) == ERR_OK) {
		struct rd r = rd_init(slice_of(v.p + 32, v.n - 32));
		struct store_loc l = store_loc_read(&r);
		off_t at = (off_t)(l.off + 64 + l.len / 2);
		uint8_t b;
		int fd;

		(void)snprintf(
		    path, sizeof(path), "%s/segments/%08x.seg", w->dir, l.seg);
		fd = open(path, O_RDWR | O_CLOEXEC);
		assert_true(fd >= 0);
		assert_int_equal(pread(fd, &b, 1, at), 1);
		b ^= 4;
		assert_int_equal(pwrite(fd, &b, 1, at), 1);
		(void)close(fd);
	}
	db_cur_close(c);
	db_abort(t);
}

static void
count_bad(void *ctx, const struct store_bad *bad)
{
	(void)bad;
	(*(uint32_t *)ctx)++;
}

static uint32_t
bad_found(struct world *w)
{
	uint32_t n = 0;

	assert_int_equal(
	    store_verify(w->g.o.store, true, count_bad, &n, NULL), ERR_OK);
	return n;
}

/* The original of image i of an item's first page, as the vault has it. */
static enum err
original_read(struct world *w, uint64_t no, uint32_t i, struct buf *out)
{
	struct blob_manifest m = { 0 };
	struct buf row = BUF_MAX(V_PAGE_BYTES);
	struct db_txn *t = NULL;
	uint8_t key[12] = { 0 };
	struct v_page p;
	enum err e;

	q_key(no, key);
	assert_int_equal(store_read(w->g.o.store, &t), ERR_OK);
	assert_int_equal(
	    store_row_get(w->g.o.store, t, "vi", slice_of(key, 12), &row),
	    ERR_OK);
	db_abort(t);
	assert_int_equal(v_page_decode(buf_slice(&row), &p), ERR_OK);
	assert_true(i < p.n);
	assert_int_equal(blob_manifest_decode(p.v[i].original, &m), ERR_OK);
	*out = BUF_MAX(1 * MIB);
	e = blob_join(w->g.o.store, &m, out);
	blob_manifest_fini(&m);
	v_page_fini(&p);
	buf_fini(&row);
	return e;
}

/* A bundle of small ones, and one that is large: every chunk is damaged, and
 * what comes again is whole afterwards. */
static void
test_bytes_that_come_again_mend_what_is_damaged(void **state)
{
	static uint8_t large[100 * 1024];
	struct world *w = *state;
	struct prng p = { 7 };
	struct img_object o[3];
	struct admit_one list[3] = { 0 };
	struct buf back;
	uint32_t i, pages;

	prng_fill(&p, large, sizeof(large));
	object(&o[0], "1.2.3", "1.2.3.1");
	object(&o[1], "1.2.3", "1.2.3.2");
	object(&o[2], "1.2.3", "1.2.3.3");
	o[2].original = slice_of(large, sizeof(large));
	for (i = 0; i < 3; i++)
		list[i] = (struct admit_one){ .o = &o[i], .subject = "S-1" };
	admit_many(&w->g, &w->sink, list, 3);
	damage_chunks(w);
	/* nobody has looked: nothing is known of it */
	admit_many(&w->g, &w->sink, list, 3);
	assert_int_equal(list[2].out.state, ADMIT_DUPLICATE);
	assert_false(list[2].out.mended);
	assert_int_equal(
	    original_read(w, list[2].out.item, 2, &back), ERR_CORRUPT);
	buf_fini(&back);
	assert_true(bad_found(w) >= 2);
	for (i = 0; i < 3; i += 2) {
		admit_many(&w->g, &w->sink, &list[i], 1);
		assert_int_equal(list[i].e, ERR_OK);
		assert_int_equal(list[i].out.state, ADMIT_DUPLICATE);
		assert_true(list[i].out.mended);
		assert_int_equal(
		    original_read(w, list[i].out.item, i, &back), ERR_OK);
		assert_true(slice_eq(buf_slice(&back), o[i].original));
		buf_fini(&back);
	}
	/* control: nobody brought this one */
	assert_int_equal(
	    original_read(w, list[1].out.item, 1, &back), ERR_CORRUPT);
	buf_fini(&back);
	assert_int_equal(images_of(w, list[0].out.item, &pages), 3);
	assert_int_equal(item(w, list[0].out.item).instances, 3);
	/* what is whole again is an ordinary duplicate */
	admit_many(&w->g, &w->sink, &list[2], 1);
	assert_int_equal(list[2].out.state, ADMIT_DUPLICATE);
	assert_false(list[2].out.mended);
}

struct sender {
	struct world *w;
	pthread_barrier_t *start;
	struct admitted out;
};

static void *
sender_main(void *arg)
{
	struct sender *s = arg;

	(void)pthread_barrier_wait(s->start);
	s->out = admit(s->w, "1.2.3", "1.2.3.1", "S-1");
	return NULL;
}

static void
test_one_image_from_eight_senders_counts_once(void **state)
{
	struct world *w = *state;
	pthread_barrier_t start;
	struct sender s[8];
	pthread_t th[8];
	uint32_t i, stored = 0;

	assert_int_equal(pthread_barrier_init(&start, NULL, 8), 0);
	for (i = 0; i < 8; i++) {
		s[i] = (struct sender){ .w = w, .start = &start };
		assert_int_equal(
		    pthread_create(&th[i], NULL, sender_main, &s[i]), 0);
	}
	for (i = 0; i < 8; i++) {
		assert_int_equal(pthread_join(th[i], NULL), 0);
		stored += s[i].out.state == ADMIT_STORED;
	}
	assert_int_equal(stored, 1);
	assert_int_equal(item(w, 1).instances, 1);
	(void)pthread_barrier_destroy(&start);
}

static enum err
note_cut_short(struct store_txn *t, void *ctx)
{
	return store_row_put(t, "qfree", slice_of(ctx, 8), SLICE_LIT(""));
}

static uint64_t
collected(struct world *w)
{
	struct store_gc_opts o = { .no_pause = true };
	struct store_gc_report r = { 0 };

	assert_int_equal(store_gc(w->g.o.store, &o, &r), ERR_OK);
	return r.chunks;
}

/* A derived piece too large for a bundle: nothing but the copy names it. */
static void
test_the_derived_copy_of_a_rejected_item_goes(void **state)
{
	struct world *w = *state;
	struct ingest_item said;
	struct errmsg em = { 0 };
	struct img_object o;
	struct admitted a;
	struct prng r = { 11 };
	uint8_t *deid = malloc(300000), *original = malloc(300000);
	uint64_t n;
	uint32_t bad = 0;
	char id[40];

	assert_non_null(deid);
	assert_non_null(original);
	prng_fill(&r, deid, 300000);
	prng_fill(&r, original, 300000);
	object(&o, "1.2.3", "1.2.3.1");
	o.original = slice_of(original, 300000);
	o.deid = slice_of(deid, 300000);
	assert_int_equal(admit_object(&w->g, &w->sink, &o, "S-1", &a), ERR_OK);
	assert_int_equal(collected(w), 0);
	q_text(a.item, id);
	assert_int_equal(
	    ingest_reject(&w->g, id, "me", "no consent", &said, &em), ERR_OK);
	n = collected(w);
	assert_true(n > 0);
	/* what is left is the original's */
	assert_int_equal(
	    store_verify(w->g.o.store, true, count_bad, &bad, NULL), ERR_OK);
	assert_int_equal(
	    store_refs_check(w->g.o.store, count_bad, &bad, NULL), ERR_OK);
	assert_int_equal(bad, 0);
	/* sent again: stored again, and only what had gone */
	assert_int_equal(admit_object(&w->g, &w->sink, &o, "S-1", &a), ERR_OK);
	assert_int_equal(a.state, ADMIT_STORED);
	assert_int_equal(collected(w), 0);
	free(deid);
	free(original);
}

/* Killed between the job that says so and the pages. */
static void
test_a_reject_that_was_cut_short_goes_on_at_the_next_start(void **state)
{
	struct world *w = *state;
	struct admitted a = admit(w, "1.2.3", "1.2.3.1", "S-1");
	struct db_txn *t;
	uint8_t key[8];
	struct buf row = BUF_MAX(V_PAGE_BYTES);
	struct v_page p;
	uint8_t page[12] = { 0 };

	q_key(a.item, key);
	q_key(a.item, page);
	assert_int_equal(
	    store_write(w->g.o.store, note_cut_short, key), ERR_OK);
	reject_resume(&w->g);
	assert_int_equal(store_read(w->g.o.store, &t), ERR_OK);
	assert_int_equal(
	    store_row_get(w->g.o.store, t, "qfree", slice_of(key, 8), &row),
	    ERR_NOTFOUND);
	assert_int_equal(
	    store_row_get(w->g.o.store, t, "vi", slice_of(page, 12), &row),
	    ERR_OK);
	db_abort(t);
	assert_int_equal(v_page_decode(buf_slice(&row), &p), ERR_OK);
	assert_int_equal(p.v[0].deid.n, 0);
	assert_true(p.v[0].original.n > 0);
	v_page_fini(&p);
	buf_fini(&row);
}

int
main(void)
{
#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_a_series_with_two_patients_is_not_releasable),
		T(test_identified_and_deidentified_are_never_taken_for_each_other),
		T(test_a_group_is_one_commit_and_decides_between_its_own),
		T(test_one_bad_object_of_a_group_costs_only_itself),
		T(test_what_is_held_is_known_again_without_its_table),
		T(test_bytes_that_come_again_mend_what_is_damaged),
		T(test_one_image_from_eight_senders_counts_once),
		T(test_the_derived_copy_of_a_rejected_item_goes),
		T(test_a_reject_that_was_cut_short_goes_on_at_the_next_start),
	};

	if (cry_init() != ERR_OK)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
