/* Claims: content that is not subscribed to goes, if others wrote it, and
 * comes again when it is wanted again; what was written here, what else
 * refers to and what is pinned stays; counts stay right; ops, heads and
 * membership records outlive the segments they were written to. */
#include "lib/carry.h"
#include "store/base/mem.h"
#include "store/blob/blob_internal.h"
#include "store/blob/store_internal.h"

#define BYTES 150000u

static struct site lab, site1;

static int
setup(void **state)
{
	static const char *const names[] = { "centre1", "centre2" };
	struct errmsg em = { 0 };

	(void)state;
	lab.segment_bytes = MIB;
	site_new(&lab, "lab");
	site_new(&site1, "centre-one");
	assert_ok(shares_create(lab.sh, "trial", names, 2, false, &em));
	carry_join(&lab, &site1, ROLE_WRITER, "centre1");
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	site_end(&lab);
	site_end(&site1);
	return 0;
}

static void
put(struct site *s, const char *subject, uint8_t *bytes, struct asset_id *asset)
{
	struct prng g = { (uint64_t)subject[2] * 31 + (uint64_t)s->name[0] };
	struct site_put p = { .s = s,
		.share = "trial",
		.compartment = "centre1",
		.subject = subject,
		.bytes = bytes,
		.n = BYTES };

	prng_fill(&g, bytes, BYTES);
	assert_ok(site_put(&p));
	*asset = p.asset;
}

static void
subscribe(enum share_content content, enum err expect)
{
	struct errmsg em = { 0 };

	assert_int_equal(
	    shares_subscribe(lab.sh, "trial", "centre1", content, &em), expect);
}

/* What others say of what they hold; fn NULL: nobody is asked. */
static struct {
	share_proven_fn fn;
	enum err says;
	uint32_t asked; /* chunks */
} others;

static enum err
others_say(void *ctx, const struct share_id *share, uint16_t compartment,
    const struct cry_id *cid, uint32_t n)
{
	(void)ctx;
	(void)share;
	assert_true(compartment != 0);
	assert_true(cid != NULL && n > 0 && n <= OPLOG_EVICT_CHUNKS);
	others.asked += n;
	return others.says;
}

static struct share_evicted
evict(struct site *s)
{
	const struct share_evict_opts o = { .proven = others.fn,
		.proven_ctx = &others };
	struct share_evicted out;

	others.asked = 0;
	assert_ok(shares_evict(s->sh, &o, &out));
	return out;
}

static void
count_bad(void *ctx, const struct store_bad *bad)
{
	fprintf(stderr, "bad %s %s\n", bad->what, bad->where);
	(*(unsigned *)ctx)++;
}

static struct store_gc_report
collect(struct site *s)
{
	struct store_gc_opts o = { .no_pause = true };
	struct store_gc_report r;
	unsigned bad = 0;

	assert_ok(store_gc(s->st, &o, &r));
	assert_int_equal(r.damaged, 0);
	assert_ok(store_refs_check(s->st, count_bad, &bad, NULL));
	assert_ok(store_verify(s->st, true, count_bad, &bad, NULL));
	assert_int_equal(bad, 0);
	return r;
}

static bool
complete(struct site *s, const struct asset_id *id)
{
	struct cat_asset *a = mem_new(sizeof(*a));
	struct db_txn *t;
	bool is;

	assert_ok(store_read(s->st, &t));
	assert_ok(cat_asset_get(s->st, t, id, a));
	db_abort(t);
	is = a->head.complete;
	mem_free(a);
	return is;
}

/* One chunk of what the lab holds. */
static int
first_chunk(void *ctx, const struct oplog_want *w)
{
	*(struct cry_id *)ctx = w->cid;
	return 1;
}

static bool
counted_on(const struct cry_id *cid)
{
	struct share_info i = site_share(&lab, "trial");
	struct db_txn *t;
	enum err e;

	assert_ok(store_read(lab.st, &t));
	e = oplog_cref_check(t, i.no, 1, cid);
	db_abort(t);
	share_info_fini(&i);
	return e == ERR_OK;
}

/* Two that let go at once would each count the other's copy, which waits
 * for its grace to end. */
static void
what_was_let_go_is_nobodys_proof_though_its_bytes_are_here(void **state)
{
	uint8_t bytes[BYTES];
	struct asset_id asset;
	struct cry_id cid;
	struct db_txn *t;

	(void)state;
	put(&site1, "S-7", bytes, &asset);
	assert_true(carry_ops(&site1, &lab) > 0);
	assert_ok(store_read(lab.st, &t));
	assert_ok(oplog_wants_each(t, first_chunk, &cid));
	db_abort(t);
	assert_false(counted_on(&cid));
	assert_true(carry_chunks(&site1, &lab) > 0);
	assert_true(counted_on(&cid));
	subscribe(SHARE_NONE, ERR_OK);
	assert_int_equal(evict(&lab).versions, 1);
	assert_true(site_chunks(&lab) > 0);
	assert_false(counted_on(&cid));
	subscribe(SHARE_ALL, ERR_OK);
	assert_true(counted_on(&cid));
}

static void
evicted_content_goes_and_comes_again(void **state)
{
	uint8_t bytes[BYTES];
	struct asset_id asset;
	uint64_t before;

	(void)state;
	put(&site1, "S-1", bytes, &asset);
	assert_true(carry_ops(&site1, &lab) > 0);
	assert_true(carry_chunks(&site1, &lab) > 0);
	assert_true(site_has(&lab, &asset, bytes, BYTES));
	assert_int_equal(evict(&lab).chunks, 0); /* subscribed */
	assert_int_equal(collect(&lab).chunks, 0);
	before = site_chunks(&lab);
	subscribe(SHARE_NONE, ERR_OK);
	assert_true(evict(&lab).chunks > 0);
	assert_false(complete(&lab, &asset));
	assert_int_equal(collect(&lab).chunks, before);
	assert_int_equal(site_chunks(&lab), 0);
	assert_false(site_has(&lab, &asset, bytes, BYTES));
	assert_int_equal(evict(&lab).chunks, 0); /* once is enough */
	subscribe(SHARE_ALL, ERR_OK);
	assert_true(carry_chunks(&site1, &lab) > 0);
	assert_true(site_has(&lab, &asset, bytes, BYTES));
	assert_true(complete(&lab, &asset));
	assert_int_equal(collect(&lab).chunks, 0);
}

static void
a_change_of_mind_within_grace_fetches_nothing(void **state)
{
	uint8_t bytes[BYTES];
	struct asset_id asset;

	(void)state;
	put(&site1, "S-2", bytes, &asset);
	assert_true(carry_ops(&site1, &lab) > 0);
	assert_true(carry_chunks(&site1, &lab) > 0);
	subscribe(SHARE_NONE, ERR_OK);
	assert_int_equal(evict(&lab).versions, 1);
	subscribe(SHARE_ALL, ERR_OK);
	assert_int_equal(site_table(&lab, DB_WANT), 0);
	assert_true(complete(&lab, &asset));
	assert_int_equal(collect(&lab).chunks, 0);
	assert_true(site_has(&lab, &asset, bytes, BYTES));
}

/* A copy goes only against proof that others hold it (protocol.md, goal of
 * 5): nothing goes unproven, nobody there ends the round, proof lets go. */
static void
what_nobody_proves_to_hold_stays(void **state)
{
	uint8_t bytes[2][BYTES];
	struct asset_id asset[2];
	struct share_evicted out;

	(void)state;
	put(&site1, "S-8", bytes[0], &asset[0]);
	put(&site1, "S-9", bytes[1], &asset[1]);
	assert_true(carry_ops(&site1, &lab) > 0);
	assert_true(carry_chunks(&site1, &lab) > 0);
	subscribe(SHARE_NONE, ERR_OK);
	others.fn = others_say;
	others.says = ERR_DENIED;
	out = evict(&lab);
	assert_int_equal(out.chunks, 0);
	assert_int_equal(out.kept, 2);
	assert_true(others.asked >= 2);
	others.says = ERR_TIMEOUT;
	out = evict(&lab);
	assert_int_equal(out.chunks, 0);
	assert_int_equal(out.kept, 1); /* the rest waits too */
	assert_true(site_has(&lab, &asset[0], bytes[0], BYTES));
	assert_true(site_has(&lab, &asset[1], bytes[1], BYTES));
	others.says = ERR_OK;
	out = evict(&lab);
	assert_int_equal(out.versions, 2);
	assert_int_equal(out.chunks, others.asked); /* all were asked for */
	assert_int_equal(out.kept, 0);
	others.fn = NULL;
}

static void
what_was_written_here_stays(void **state)
{
	uint8_t bytes[BYTES];
	struct asset_id asset;
	struct errmsg em = { 0 };

	(void)state;
	assert_ok(shares_grant(
	    lab.sh, "trial", &lab.me.pub, ROLE_WRITER, "centre1", &em));
	put(&lab, "S-3", bytes, &asset);
	subscribe(SHARE_NONE, ERR_OK);
	assert_int_equal(evict(&lab).chunks, 0);
	site_close(&lab); /* a new incarnation is still us */
	site_open(&lab);
	assert_int_equal(evict(&lab).chunks, 0);
	assert_int_equal(collect(&lab).chunks, 0);
	assert_true(site_has(&lab, &asset, bytes, BYTES));
}

static void
what_is_pinned_stays(void **state)
{
	uint8_t bytes[BYTES];
	struct asset_id asset;
	struct share_info i;

	(void)state;
	put(&site1, "S-4", bytes, &asset);
	assert_true(carry_ops(&site1, &lab) > 0);
	assert_true(carry_chunks(&site1, &lab) > 0);
	subscribe(SHARE_PIN, ERR_OK);
	i = site_share(&lab, "trial");
	assert_true(i.c[0].content && i.c[0].pinned);
	share_info_fini(&i);
	subscribe(SHARE_NONE, ERR_DENIED);
	assert_int_equal(evict(&lab).chunks, 0);
	assert_int_equal(collect(&lab).chunks, 0);
	subscribe(SHARE_ALL, ERR_OK);
	subscribe(SHARE_NONE, ERR_OK);
	assert_int_equal(evict(&lab).versions, 1);
}

/* The same bytes by both: ours keeps what theirs lets go. */
static void
a_second_reference_keeps_chunks(void **state)
{
	uint8_t bytes[BYTES];
	struct asset_id asset;
	struct slice whole = slice_of(bytes, BYTES);
	struct buf got = BUF_MAX(MIB);

	(void)state;
	put(&site1, "S-5", bytes, &asset);
	assert_true(carry_ops(&site1, &lab) > 0);
	assert_true(carry_chunks(&site1, &lab) > 0);
	/* site1 keeps its own; the lab lets go of it */
	subscribe(SHARE_NONE, ERR_OK);
	assert_int_equal(evict(&site1).chunks, 0);
	assert_int_equal(evict(&lab).versions, 1);
	(void)collect(&site1);
	assert_ok(site_read(&site1, &asset, &got));
	assert_true(slice_eq(buf_slice(&got), whole));
	buf_fini(&got);
}

static uint64_t
ops_readable(struct site *s)
{
	struct buf b = BUF_MAX(64 * MIB);
	uint64_t lseq, n = site_table(s, DB_OP);
	struct db_txn *t;

	assert_ok(store_read(s->st, &t));
	for (lseq = 1; lseq <= n; lseq++) {
		buf_reset(&b);
		assert_ok(oplog_op_get_lseq(s->st, t, lseq, &b));
	}
	db_abort(t);
	buf_fini(&b);
	return n;
}

static uint32_t
first_segment(struct site *s)
{
	struct seg_row row;
	struct db_txn *t;
	uint32_t seg = 0;

	assert_ok(store_read(s->st, &t));
	assert_ok(store_seg_row_from(t, 1, &seg, &row));
	db_abort(t);
	return seg;
}

static void
the_log_outlives_its_segments(void **state)
{
	uint8_t bytes[BYTES];
	char subject[] = "S-a";
	struct asset_id asset[12];
	struct store_gc_report r;
	struct share_info i;
	uint32_t k;

	(void)state;
	for (k = 0; k < 12; k++, subject[2]++) {
		put(&site1, subject, bytes, &asset[k]);
		assert_true(carry_ops(&site1, &lab) > 0);
		assert_true(carry_chunks(&site1, &lab) > 0);
	}
	subscribe(SHARE_NONE, ERR_OK);
	assert_int_equal(evict(&lab).versions, 12);
	r = collect(&lab);
	assert_true(r.segments > 0);
	assert_true(r.copied_bytes < MIB);
	assert_int_equal(ops_readable(&lab), 12);
	site_close(&lab);
	site_open(&lab); /* loads the chain from records that were moved */
	i = site_share(&lab, "trial");
	assert_true(i.registrar);
	share_info_fini(&i);
	assert_int_equal(ops_readable(&lab), 12);
	if (r.segments > 1)
		assert_true(first_segment(&lab) > 1);
	subscribe(SHARE_ALL, ERR_OK);
	assert_true(carry_chunks(&site1, &lab) > 0);
	assert_true(site_has(&lab, &asset[11], bytes, BYTES));
	assert_int_equal(collect(&lab).chunks, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		TEST(
		    what_was_let_go_is_nobodys_proof_though_its_bytes_are_here),
		TEST(evicted_content_goes_and_comes_again),
		TEST(a_change_of_mind_within_grace_fetches_nothing),
		TEST(what_nobody_proves_to_hold_stays),
		TEST(what_was_written_here_stays),
		TEST(what_is_pinned_stays),
		TEST(a_second_reference_keeps_chunks),
		TEST(the_log_outlives_its_segments),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
