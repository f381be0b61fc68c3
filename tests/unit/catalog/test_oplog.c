/* tests/unit/catalog/test_oplog.c: the op log keeps what it is given, finds
 * it again, refuses what breaks order, and settles chunks exactly once. */
#include "lib/catalog_lib.h"

static const uint8_t CHUNK_A[] = "ciphertext of chunk a";
static const uint8_t CHUNK_B[] = "ciphertext of chunk b";

struct job {
	enum err (*fn)(struct store_txn *t, struct job *j);
	struct oplog_op op;
	uint64_t lseq;
	uint32_t missing;
	uint32_t no;
	struct oplog_feed feed;
	struct oplog_head head;
	struct slice bytes;
	uint16_t through; /* the compartment a chunk comes through */
	uint64_t seq;
	struct cry_id id;
	uint64_t done[8];
	uint32_t n_done;
};

static enum err
run(struct store_txn *t, void *ctx)
{
	struct job *j = ctx;

	return j->fn(t, j);
}

static enum err
go(struct cl *c, struct job *j,
    enum err (*fn)(struct store_txn *, struct job *))
{
	j->fn = fn;
	return store_write(c->s, run, j);
}

static enum err
do_share(struct store_txn *t, struct job *j)
{
	return oplog_share_add(t, &j->id, &j->no);
}

static enum err
do_member(struct store_txn *t, struct job *j)
{
	return oplog_member_put(t, j->no, j->seq, j->bytes);
}

static enum err
do_feed(struct store_txn *t, struct job *j)
{
	return oplog_feed_add(t, &j->feed);
}

static enum err
do_head(struct store_txn *t, struct job *j)
{
	return oplog_head_put(t, j->feed.no, &j->head);
}

static enum err
do_op(struct store_txn *t, struct job *j)
{
	struct cry_id share = cl_id("share", 1);
	enum err e = oplog_share_add(t, &share, &j->no);

	if (e != ERR_OK)
		return e;
	return oplog_op_put(t, &j->op, &j->lseq, &j->missing);
}

static void
on_complete(void *ctx, uint64_t lseq)
{
	struct job *j = ctx;

	assert_true(j->n_done < 8);
	j->done[j->n_done++] = lseq;
}

static enum err
do_chunk(struct store_txn *t, struct job *j)
{
	struct oplog_arrival a = { .share = 1,
		.compartment = j->through,
		.cid = j->id,
		.ciphertext = j->bytes };

	return oplog_chunk_put(t, &a, on_complete, j);
}

static enum err
do_chunk_elsewhere(struct store_txn *t, struct job *j)
{
	return blob_chunk_put(t, &j->id, j->bytes);
}

static enum err
do_lost(struct store_txn *t, struct job *j)
{
	return oplog_chunk_lost(t, &j->id, &j->no);
}

static enum err
do_settle(struct store_txn *t, struct job *j)
{
	return oplog_wants_settle(t, on_complete, j);
}

static int
count_share(void *ctx, uint32_t no, const struct cry_id *share)
{
	(void)share;
	*(uint32_t *)ctx += no;
	return 0;
}

static void
test_shares_get_dense_numbers(void **state)
{
	struct cl c;
	struct job j = { .id = cl_id("share", 1) };
	struct db_txn *t;
	uint32_t no = 0, sum = 0;

	(void)state;
	cl_init(&c);
	assert_int_equal(go(&c, &j, do_share), ERR_OK);
	assert_int_equal(j.no, 1);
	j.id = cl_id("share", 2);
	assert_int_equal(go(&c, &j, do_share), ERR_OK);
	assert_int_equal(j.no, 2);
	assert_int_equal(go(&c, &j, do_share), ERR_OK); /* again: the same */
	assert_int_equal(j.no, 2);
	t = cl_read(&c);
	assert_int_equal(oplog_share_no(t, &j.id, &no), ERR_OK);
	assert_int_equal(no, 2);
	j.id = cl_id("share", 3);
	assert_int_equal(oplog_share_no(t, &j.id, &no), ERR_NOTFOUND);
	assert_int_equal(oplog_shares_each(t, count_share, &sum), ERR_OK);
	assert_int_equal(sum, 3);
	db_abort(t);
	cl_fini(&c);
}

static void
test_member_records_are_dense_and_verbatim(void **state)
{
	struct cl c;
	struct job j = { .no = 1, .bytes = SLICE_LIT("genesis") };
	struct buf out = BUF_MAX(100);
	struct db_txn *t;

	(void)state;
	cl_init(&c);
	j.seq = 1;
	assert_int_equal(go(&c, &j, do_member), ERR_AGAIN);
	j.seq = 0;
	assert_int_equal(go(&c, &j, do_member), ERR_OK);
	assert_int_equal(go(&c, &j, do_member), ERR_EXISTS);
	j.seq = 1;
	j.bytes = SLICE_LIT("grant");
	assert_int_equal(go(&c, &j, do_member), ERR_OK);
	t = cl_read(&c);
	assert_int_equal(oplog_member_get(c.s, t, 1, 1, &out), ERR_OK);
	assert_string_equal(buf_cstr(&out), "grant");
	assert_int_equal(oplog_member_get(c.s, t, 1, 2, &out), ERR_NOTFOUND);
	db_abort(t);
	buf_fini(&out);
	cl_fini(&c);
}

static int
count_feed(void *ctx, const struct oplog_feed *f, const struct oplog_head *h)
{
	uint64_t *sum = ctx;

	*sum += f->incarnation + (h != NULL ? h->seq : 0);
	return 0;
}

static void
test_feeds_and_their_heads(void **state)
{
	struct cl c;
	struct job j = { .id = cl_id("share", 1) };
	struct oplog_feed f;
	struct oplog_head h;
	struct db_txn *t;
	uint64_t sum = 0;

	(void)state;
	cl_init(&c);
	assert_int_equal(go(&c, &j, do_share), ERR_OK);
	j.feed = (struct oplog_feed){
		.share = j.no, .compartment = 7, .incarnation = 1000
	};
	memset(j.feed.id, 9, sizeof(j.feed.id));
	memset(j.feed.device, 8, sizeof(j.feed.device));
	assert_int_equal(go(&c, &j, do_feed), ERR_OK);
	assert_int_equal(j.feed.no, 1);
	assert_int_equal(go(&c, &j, do_feed), ERR_OK);
	assert_int_equal(j.feed.no, 1);
	t = cl_read(&c);
	assert_int_equal(oplog_feed_head(t, 1, &h), ERR_NOTFOUND);
	db_abort(t);
	j.head = (struct oplog_head){ .seq = 3, .lamport = 30 };
	j.head.bytes[127] = 0xaa;
	assert_int_equal(go(&c, &j, do_head), ERR_OK);
	assert_int_equal(go(&c, &j, do_head), ERR_OK);
	j.head.op_id = cl_id("other", 1);
	assert_int_equal(go(&c, &j, do_head), ERR_EXISTS);
	j.head.seq = 8;
	assert_int_equal(go(&c, &j, do_head), ERR_OK);
	t = cl_read(&c);
	assert_int_equal(oplog_feed_find(t, j.feed.id, &f), ERR_OK);
	assert_int_equal(f.compartment, 7);
	assert_memory_equal(f.device, j.feed.device, 32);
	assert_int_equal(oplog_feed_head(t, 1, &h), ERR_OK);
	assert_int_equal(h.seq, 8);
	assert_int_equal(oplog_head_at(t, 1, 2, &h), ERR_OK);
	assert_int_equal(h.seq, 3);
	assert_int_equal(h.bytes[127], 0xaa);
	assert_int_equal(oplog_head_at(t, 1, 4, &h), ERR_OK);
	assert_int_equal(h.seq, 8);
	assert_int_equal(oplog_head_at(t, 1, 9, &h), ERR_NOTFOUND);
	assert_int_equal(oplog_feeds_each(t, count_feed, &sum), ERR_OK);
	assert_int_equal(sum, 1008);
	db_abort(t);
	cl_fini(&c);
}

/* --- ops and their chunks --- */

static void
packing_add(struct buf *b, const struct cry_id *cid, size_t n)
{
	buf_put(b, cid->b, sizeof(cid->b));
	buf_u32(b, (uint32_t)n);
}

static struct cry_id
cid_of(const uint8_t *p, size_t n)
{
	struct cry_id id;

	cry_hash(slice_of(p, n), &id);
	return id;
}

/* An op in compartment c that names chunks a and (if two) b. */
static void
op_make(struct job *j, struct buf *b, uint64_t seq, uint16_t comp, bool two)
{
	struct cry_id x = cid_of(CHUNK_A, sizeof(CHUNK_A));
	struct cry_id y = cid_of(CHUNK_B, sizeof(CHUNK_B));

	*b = BUF_MAX(1000);
	buf_put_str(b, "header+payload");
	packing_add(b, &x, sizeof(CHUNK_A));
	if (two)
		packing_add(b, &y, sizeof(CHUNK_B));
	j->op = (struct oplog_op){ .share = 1,
		.compartment = comp,
		.feed = 1,
		.seq = seq,
		.lamport = seq,
		.id = cl_id("op", seq),
		.bytes = buf_slice(b),
		.packing = slice_of(b->p + 14, b->n - 14),
		.want_content = true };
}

static void
test_op_is_kept_verbatim_and_once(void **state)
{
	struct cl c;
	struct job j = { 0 };
	struct buf b, out = BUF_MAX(1000);
	struct db_txn *t;

	(void)state;
	cl_init(&c);
	op_make(&j, &b, 1, 1, true);
	assert_int_equal(go(&c, &j, do_op), ERR_OK);
	assert_int_equal(j.lseq, 1);
	assert_int_equal(j.missing, 2);
	assert_int_equal(go(&c, &j, do_op), ERR_EXISTS);
	j.op.id = cl_id("op", 99); /* another op in the same place: a fork */
	assert_int_equal(go(&c, &j, do_op), ERR_EXISTS);
	j.op.packing.n--;
	assert_int_equal(go(&c, &j, do_op), ERR_MALFORMED);
	t = cl_read(&c);
	assert_int_equal(oplog_op_get(c.s, t, 1, 1, &out), ERR_OK);
	assert_true(slice_eq(buf_slice(&out), buf_slice(&b)));
	assert_int_equal(oplog_op_get(c.s, t, 1, 2, &out), ERR_NOTFOUND);
	assert_int_equal(oplog_op_get_lseq(c.s, t, 2, &out), ERR_NOTFOUND);
	db_abort(t);
	buf_fini(&b);
	buf_fini(&out);
	cl_fini(&c);
}

static int
want_sum(void *ctx, const struct oplog_want *w)
{
	uint32_t *sum = ctx;

	*sum += w->c_len + w->compartment * 1000u;
	return 0;
}

static void
chunk(struct job *j, const uint8_t *p, size_t n)
{
	j->id = cid_of(p, n);
	j->bytes = slice_of(p, n);
}

static void
test_last_chunk_completes_each_op_once(void **state)
{
	struct cl c;
	struct job j = { 0 };
	struct buf one, two;
	struct db_txn *t;
	uint64_t wants = 0;
	uint32_t sum = 0, missing = 0;

	(void)state;
	cl_init(&c);
	op_make(&j, &one, 1, 1, true);
	assert_int_equal(go(&c, &j, do_op), ERR_OK);
	op_make(&j, &two, 2, 2, false);
	assert_int_equal(go(&c, &j, do_op), ERR_OK);
	t = cl_read(&c);
	assert_int_equal(oplog_wants_count(t, &wants), ERR_OK);
	assert_int_equal(wants, 3); /* a for both compartments, b for one */
	assert_int_equal(oplog_wants_each(t, want_sum, &sum), ERR_OK);
	assert_int_equal(sum, 4000 + 3 * sizeof(CHUNK_A));
	db_abort(t);

	j.through = 1;
	chunk(&j, CHUNK_B, sizeof(CHUNK_B));
	assert_int_equal(go(&c, &j, do_chunk), ERR_OK);
	assert_int_equal(j.n_done, 0);
	chunk(&j, CHUNK_A, sizeof(CHUNK_A));
	assert_int_equal(go(&c, &j, do_chunk), ERR_OK);
	assert_int_equal(j.n_done, 1);
	assert_int_equal(j.done[0], 1);
	j.through = 2;
	assert_int_equal(go(&c, &j, do_chunk), ERR_OK);
	assert_int_equal(j.n_done, 2);
	assert_int_equal(j.done[1], 2);
	assert_int_equal(go(&c, &j, do_chunk), ERR_OK); /* and never again */
	assert_int_equal(j.n_done, 2);
	t = cl_read(&c);
	assert_int_equal(oplog_wants_count(t, &wants), ERR_OK);
	assert_int_equal(wants, 0);
	assert_int_equal(oplog_op_missing(t, 1, &missing), ERR_OK);
	assert_int_equal(missing, 0);
	db_abort(t);
	/* An op that comes after its chunks lacks nothing. */
	buf_fini(&two);
	op_make(&j, &two, 3, 1, true);
	assert_int_equal(go(&c, &j, do_op), ERR_OK);
	assert_int_equal(j.missing, 0);
	buf_fini(&one);
	buf_fini(&two);
	cl_fini(&c);
}

static void
test_wrong_bytes_settle_nothing(void **state)
{
	struct cl c;
	struct job j = { 0 };
	struct buf b;
	struct db_txn *t;
	uint64_t wants = 0;

	(void)state;
	cl_init(&c);
	op_make(&j, &b, 1, 1, false);
	assert_int_equal(go(&c, &j, do_op), ERR_OK);
	chunk(&j, CHUNK_A, sizeof(CHUNK_A));
	j.bytes = slice_of(CHUNK_B, sizeof(CHUNK_B));
	assert_int_equal(go(&c, &j, do_chunk), ERR_AUTH);
	assert_int_equal(j.n_done, 0);
	t = cl_read(&c);
	assert_int_equal(oplog_wants_count(t, &wants), ERR_OK);
	assert_int_equal(wants, 1);
	db_abort(t);
	buf_fini(&b);
	cl_fini(&c);
}

static bool
served(struct cl *c, uint16_t compartment, const struct cry_id *cid)
{
	struct db_txn *t = cl_read(c);
	enum err e = oplog_cref_check(t, 1, compartment, cid);

	db_abort(t);
	assert_true(e == ERR_OK || e == ERR_NOTFOUND);
	return e == ERR_OK;
}

static uint64_t
wanted(struct cl *c)
{
	struct db_txn *t = cl_read(c);
	uint64_t n = 9;

	assert_int_equal(oplog_wants_count(t, &n), ERR_OK);
	db_abort(t);
	return n;
}

/* Imported, or come through another compartment: who names it there has not
 * shown that it may have it. */
static void
test_naming_a_chunk_that_is_here_gives_no_right_to_it(void **state)
{
	struct cry_id a = cid_of(CHUNK_A, sizeof(CHUNK_A));
	struct cl c;
	struct job j = { 0 };
	struct buf b[4];
	uint32_t i;

	(void)state;
	cl_init(&c);
	chunk(&j, CHUNK_A, sizeof(CHUNK_A));
	assert_int_equal(go(&c, &j, do_chunk_elsewhere), ERR_OK);
	op_make(&j, &b[0], 1, 1, false);
	assert_int_equal(go(&c, &j, do_op), ERR_OK);
	assert_int_equal(j.missing, 1);
	assert_int_equal(go(&c, &j, do_settle), ERR_OK);
	assert_int_equal(j.n_done, 0);
	assert_false(served(&c, 1, &a));
	/* Written by us in 2: given there, and there only. */
	op_make(&j, &b[1], 2, 2, false);
	j.op.own = true;
	assert_int_equal(go(&c, &j, do_op), ERR_OK);
	assert_int_equal(j.missing, 0);
	assert_true(served(&c, 2, &a));
	assert_false(served(&c, 1, &a));
	op_make(&j, &b[2], 3, 2, false); /* by another, of the same */
	assert_int_equal(go(&c, &j, do_op), ERR_OK);
	assert_int_equal(j.missing, 0);
	/* A member of 1 had it after all. */
	assert_int_equal(wanted(&c), 1);
	j.through = 1;
	assert_int_equal(go(&c, &j, do_chunk), ERR_OK);
	assert_int_equal(j.n_done, 1);
	assert_int_equal(j.done[0], 1);
	assert_true(served(&c, 1, &a));
	assert_int_equal(wanted(&c), 0);
	op_make(&j, &b[3], 4, 3, false);
	assert_int_equal(go(&c, &j, do_op), ERR_OK);
	assert_int_equal(j.missing, 1);
	assert_false(served(&c, 3, &a));
	for (i = 0; i < 4; i++)
		buf_fini(&b[i]);
	cl_fini(&c);
}

static void
test_chunk_is_for_compartments_that_were_given_it(void **state)
{
	struct cl c;
	struct job j = { 0 };
	struct cry_id a = cid_of(CHUNK_A, sizeof(CHUNK_A));
	struct cry_id b = cid_of(CHUNK_B, sizeof(CHUNK_B));
	struct buf buf;
	struct db_txn *t;

	(void)state;
	cl_init(&c);
	op_make(&j, &buf, 1, 5, false);
	assert_int_equal(go(&c, &j, do_op), ERR_OK);
	assert_false(served(&c, 5, &a));
	chunk(&j, CHUNK_A, sizeof(CHUNK_A));
	j.through = 5;
	assert_int_equal(go(&c, &j, do_chunk), ERR_OK);
	assert_true(served(&c, 5, &a));
	assert_false(served(&c, 4, &a));
	assert_false(served(&c, 5, &b));
	t = cl_read(&c);
	assert_int_equal(oplog_cref_check(t, 2, 5, &a), ERR_NOTFOUND);
	db_abort(t);
	buf_fini(&buf);
	cl_fini(&c);
}

/* Turns one byte of a stored chunk over. */
static void
rot(struct cl *c, const uint8_t *p, size_t n)
{
	char path[TMPDIR_MAX + 32];
	static uint8_t bytes[MIB];
	size_t got, i;
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/segments/00000001.seg", c->dir);
	f = fopen(path, "r+be");
	assert_non_null(f);
	got = fread(bytes, 1, sizeof(bytes), f);
	for (i = 0; i + n <= got && memcmp(bytes + i, p, n) != 0; i++)
		;
	assert_true(i + n <= got);
	assert_int_equal(fseek(f, (long)i, SEEK_SET), 0);
	assert_true(fputc(p[0] ^ 1, f) != EOF);
	assert_int_equal(fclose(f), 0);
}

static void
test_lost_chunk_is_missing_to_an_op_that_names_it(void **state)
{
	struct cl c;
	struct job j = { 0 };
	struct buf one, two;
	struct db_txn *t;
	uint64_t wants = 0;

	(void)state;
	cl_init(&c);
	op_make(&j, &one, 1, 1, false);
	assert_int_equal(go(&c, &j, do_op), ERR_OK);
	chunk(&j, CHUNK_A, sizeof(CHUNK_A));
	j.through = 1;
	assert_int_equal(go(&c, &j, do_chunk), ERR_OK);
	assert_int_equal(j.n_done, 1);
	rot(&c, CHUNK_A, sizeof(CHUNK_A));
	assert_int_equal(go(&c, &j, do_lost), ERR_OK);
	assert_int_equal(j.no, 1);
	op_make(&j, &two, 2, 1, false);
	assert_int_equal(go(&c, &j, do_op), ERR_OK);
	assert_int_equal(j.missing, 1);
	/* It comes again: the second op is whole now, the first was told. */
	assert_int_equal(go(&c, &j, do_chunk), ERR_OK);
	assert_int_equal(j.n_done, 2);
	assert_int_equal(j.done[1], 2);
	t = cl_read(&c);
	assert_int_equal(oplog_wants_count(t, &wants), ERR_OK);
	assert_int_equal(wants, 0);
	db_abort(t);
	buf_fini(&one);
	buf_fini(&two);
	cl_fini(&c);
}

static enum err
do_name(struct store_txn *t, struct job *j)
{
	bool here;

	return blob_chunk_name(t, &j->id, 100, &j->seq, &here);
}

static void
test_a_name_that_is_half_of_a_chunks_does_not_hinder_it(void **state)
{
	struct cry_id a = cid_of(CHUNK_A, sizeof(CHUNK_A));
	struct job j = { 0 };
	struct buf out = BUF_MAX(MIB);
	struct db_txn *t;
	uint64_t no = 0;
	struct cl c;

	(void)state;
	cl_init(&c);
	j.id = a;
	j.id.b[31] ^= 1;
	assert_int_equal(go(&c, &j, do_name), ERR_OK);
	t = cl_read(&c);
	assert_int_equal(blob_chunk_number(t, &a, &no), ERR_NOTFOUND);
	assert_int_equal(blob_chunk_number(t, &j.id, &no), ERR_OK);
	assert_int_equal(no, j.seq);
	db_abort(t);
	chunk(&j, CHUNK_A, sizeof(CHUNK_A));
	assert_int_equal(go(&c, &j, do_chunk), ERR_OK);
	t = cl_read(&c);
	assert_int_equal(blob_chunk_get(c.s, t, &a, &out), ERR_OK);
	assert_int_equal(blob_chunk_number(t, &a, &no), ERR_OK);
	assert_true(no != j.seq);
	db_abort(t);
	buf_fini(&out);
	cl_fini(&c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shares_get_dense_numbers),
		cmocka_unit_test(test_member_records_are_dense_and_verbatim),
		cmocka_unit_test(test_feeds_and_their_heads),
		cmocka_unit_test(test_op_is_kept_verbatim_and_once),
		cmocka_unit_test(test_last_chunk_completes_each_op_once),
		cmocka_unit_test(test_wrong_bytes_settle_nothing),
		cmocka_unit_test(
		    test_naming_a_chunk_that_is_here_gives_no_right_to_it),
		cmocka_unit_test(
		    test_chunk_is_for_compartments_that_were_given_it),
		cmocka_unit_test(
		    test_lost_chunk_is_missing_to_an_op_that_names_it),
		cmocka_unit_test(
		    test_a_name_that_is_half_of_a_chunks_does_not_hinder_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
