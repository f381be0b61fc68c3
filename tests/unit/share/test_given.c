/* Claims: a writer of one compartment who names chunks of another gets none
 * of them from a node that has both; who sends the bytes has shown that it
 * has them; and what a chunk was given for, and what is wanted, comes out of
 * the log alone as it was. */
#include <stdlib.h>

#include "lib/carry.h"
#include "store/base/enc.h"
#include "store/base/mem.h"

#define WIDE 150u

static struct site lab, liar;
static uint64_t feeds;

static int
setup(void **state)
{
	static const char *const names[] = { "centre1", "centre2" };
	struct errmsg em = { 0 };
	uint32_t i;

	(void)state;
	site_new(&lab, "lab");
	site_new(&liar, "liar");
	assert_ok(shares_create(lab.sh, "trial", names, 2, false, &em));
	for (i = 0; i < 2; i++)
		assert_ok(shares_grant(
		    lab.sh, "trial", &lab.me.pub, ROLE_WRITER, names[i], &em));
	assert_ok(shares_grant(
	    lab.sh, "trial", &liar.me.pub, ROLE_WRITER, "centre2", &em));
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	site_end(&lab);
	site_end(&liar);
	return 0;
}

static struct cry_id
secret_put(uint8_t fill)
{
	uint8_t bytes[5000];
	struct site_put p = { .s = &lab,
		.share = "trial",
		.compartment = "centre1",
		.subject = "S-1",
		.bytes = bytes,
		.n = sizeof(bytes) };
	struct buf op = BUF_MAX(MIB);
	struct db_txn *txn = NULL;
	uint64_t lseq = 0;
	struct cry_id cid;

	memset(bytes, fill, sizeof(bytes));
	assert_ok(site_put(&p));
	assert_ok(store_read(lab.st, &txn));
	while (oplog_op_get_lseq(lab.st, txn, lseq + 1, &op) == ERR_OK) {
		lseq++;
		memcpy(cid.b, op.p + op.n - OPLOG_PACKING_ITEM, sizeof(cid.b));
		buf_reset(&op);
	}
	db_abort(txn);
	buf_fini(&op);
	return cid;
}

static uint16_t
compartment(uint32_t i)
{
	struct share_info s = site_share(&lab, "trial");
	uint16_t no = s.c[i].no;

	share_info_fini(&s);
	return no;
}

/* An op of the liar that names cid; what it says is no matter. */
static void
name_in(const char *share, uint32_t no, const struct cry_id *cid)
{
	struct share_info i = site_share(&lab, share);
	struct op_header h = {
		.kind = OP_ASSET_PUT, .epoch = 1, .seq = 1, .lamport = 1
	};
	struct op_chunk ch = { .cid = *cid, .c_len = 100 };
	struct buf op = BUF_MAX(MIB), packing = BUF_MAX(MIB);
	struct repl_ops run = { .n_ops = 1 };
	struct carry c = { .to = &lab, .ops = &run };
	struct cry_key key = { { 7 } };
	struct slice bytes;
	struct cry_id id;

	run.feed = (struct op_feed){ .share = i.id,
		.compartment = i.c[no].no,
		.device = liar.me.pub.sign,
		.incarnation = ++feeds };
	op_feed_id(&run.feed, &h.feed);
	assert_ok(op_packing_encode(&ch, 1, &packing));
	assert_ok(
	    op_build(&h, &key, SLICE_LIT("x"), buf_slice(&packing), &op, &id));
	bytes = buf_slice(&op);
	run.ops = &bytes;
	run.head = (struct op_head){
		.feed = h.feed, .seq = 1, .id = id, .lamport = 1
	};
	op_head_sign(&run.head, &liar.me.sign_sk);
	assert_ok(store_write(lab.st, ops_job, &c));
	buf_fini(&op);
	buf_fini(&packing);
	share_info_fini(&i);
}

static void
name_it(const struct cry_id *cid)
{
	name_in("trial", 1, cid);
}

static bool
served(uint32_t c, const struct cry_id *cid)
{
	struct share_info i = site_share(&lab, "trial");
	struct db_txn *txn = NULL;
	enum err e;

	assert_ok(store_read(lab.st, &txn));
	e = oplog_cref_check(txn, i.no, i.c[c].no, cid);
	db_abort(txn);
	share_info_fini(&i);
	assert_true(e == ERR_OK || e == ERR_NOTFOUND);
	return e == ERR_OK;
}

/* --- the tables, whatever numbers chunks have --- */

static int
line_cmp(const void *a, const void *b)
{
	return memcmp(a, b, 64);
}

/* Rows as cid, rest of the key, value: 64 bytes each, sorted. */
static void
table_read(enum db_table tab, struct buf *out)
{
	struct db_txn *txn = NULL;
	struct db_cur *c = NULL;
	struct slice k, v;
	enum err e;

	assert_ok(store_read(lab.st, &txn));
	assert_ok(db_cur_open(txn, tab, (struct slice){ 0 }, &c));
	e = db_cur_seek(c, (struct slice){ 0 }, &k, &v);
	for (; e == ERR_OK; e = db_cur_next(c, &k, &v)) {
		uint8_t line[64] = { 0 };
		struct cry_id cid;
		bool here;

		assert_ok(blob_chunk_numbered(txn, dec_be64(k.p), &cid, &here));
		memcpy(line, cid.b, sizeof(cid.b));
		assert_true(k.n - 8 + v.n < 31);
		memcpy(line + 32, k.p + 8, k.n - 8);
		memcpy(line + 32 + k.n - 8, v.p, v.n);
		line[63] = here;
		buf_put(out, line, sizeof(line));
	}
	assert_int_equal(e, ERR_NOTFOUND);
	db_cur_close(c);
	db_abort(txn);
	assert_ok(buf_err(out));
	if (out->n > 0)
		qsort(out->p, out->n / 64, 64, line_cmp);
}

static void
index_made_anew(void)
{
	struct store_opts so = { .dir = lab.dir,
		.local = lab.me.local,
		.convergence = lab.me.convergence,
		.owners = &site_owners,
		.segment_bytes = 64 * MIB,
		.map_bytes = 512 * MIB };
	struct shares_opts o = { .me = &lab.me, .site = lab.name };
	struct store_rebuild_opts ro = { 0 };
	struct errmsg em = { 0 };

	site_close(&lab);
	assert_ok(store_rebuild_begin(&so, &ro, &o.store, &em));
	assert_ok(shares_rebuild(&o, &em));
	assert_ok(store_refs_rebuild(o.store));
	assert_ok(store_rebuild_end(o.store, false, &em));
	site_open(&lab);
}

static void
same_after_rebuild(void)
{
	struct buf cref[2] = { BUF_MAX(MIB), BUF_MAX(MIB) };
	struct buf want[2] = { BUF_MAX(MIB), BUF_MAX(MIB) };
	uint64_t checked = 0;
	uint32_t i;

	table_read(DB_CREF, &cref[0]);
	table_read(DB_WANT, &want[0]);
	assert_true(cref[0].n > 0);
	index_made_anew();
	table_read(DB_CREF, &cref[1]);
	table_read(DB_WANT, &want[1]);
	assert_true(slice_eq(buf_slice(&cref[0]), buf_slice(&cref[1])));
	assert_true(slice_eq(buf_slice(&want[0]), buf_slice(&want[1])));
	assert_ok(store_refs_check(lab.st, NULL, NULL, &checked));
	for (i = 0; i < 2; i++) {
		buf_fini(&cref[i]);
		buf_fini(&want[i]);
	}
}

/* --- claims --- */

static void
give(const struct cry_id *cid)
{
	struct share_info i = site_share(&lab, "trial");
	struct carry c = {
		.to = &lab, .share = i.id, .compartment = i.c[1].no, .cid = *cid
	};
	struct buf b = BUF_MAX(MIB);
	struct db_txn *txn = NULL;

	assert_ok(store_read(lab.st, &txn));
	assert_ok(blob_chunk_get(lab.st, txn, cid, &b));
	db_abort(txn);
	c.bytes = buf_slice(&b);
	assert_ok(store_write(lab.st, chunk_job, &c));
	buf_fini(&b);
	share_info_fini(&i);
}

static void
naming_a_chunk_does_not_serve_it(void **state)
{
	struct cry_id cid = secret_put(3), nowhere = { { 9 } };

	(void)state;
	assert_true(served(0, &cid));
	name_it(&cid);
	name_it(&nowhere);
	assert_false(served(1, &cid));
	assert_true(served(0, &cid));
	assert_int_equal(site_table(&lab, DB_WANT), 2);
	same_after_rebuild();
	assert_false(served(1, &cid));
	assert_true(served(0, &cid));
	name_it(&cid); /* once more does not help */
	assert_false(served(1, &cid));
	same_after_rebuild();
	assert_false(served(1, &cid));
}

static void
who_sends_the_bytes_has_them(void **state)
{
	struct cry_id cid = secret_put(4);

	(void)state;
	name_it(&cid);
	assert_false(served(1, &cid));
	give(&cid);
	assert_true(served(1, &cid));
	assert_int_equal(site_table(&lab, DB_WANT), 0);
	name_it(&cid);
	assert_int_equal(site_table(&lab, DB_WANT), 0);
	same_after_rebuild();
	assert_true(served(1, &cid));
	assert_int_equal(site_table(&lab, DB_WANT), 0);
}

/* Named before it is here, then stored here, for the vault. */
static enum err
store_job(struct store_txn *t, void *ctx)
{
	struct carry *c = ctx;

	return blob_chunk_put(t, &c->cid, c->bytes);
}

static void
a_name_that_was_first_has_no_right_either(void **state)
{
	static const uint8_t bytes[] = "ciphertext that the vault makes";
	struct carry c = { .bytes = slice_of(bytes, sizeof(bytes)) };

	(void)state;
	cry_hash(c.bytes, &c.cid);
	name_it(&c.cid);
	assert_ok(store_write(lab.st, store_job, &c));
	assert_int_equal(site_chunks(&lab), 1);
	assert_false(served(1, &c.cid));
	same_after_rebuild();
	assert_false(served(1, &c.cid));
}

/* More compartments than are looked at together. */
static void
every_compartment_that_names_a_chunk_is_noted(void **state)
{
	struct errmsg em = { 0 };
	char name[WIDE][8];
	const char *names[WIDE];
	uint8_t bytes[100] = { 42 };
	struct carry c = { .to = &lab, .bytes = slice_of(bytes, 100) };
	struct share_info i;

	(void)state;
	for (uint32_t k = 0; k < WIDE; k++) {
		snprintf(name[k], sizeof(name[k]), "c%u", k);
		names[k] = name[k];
	}
	assert_ok(shares_create(lab.sh, "wide", names, WIDE, false, &em));
	cry_hash(c.bytes, &c.cid);
	for (uint32_t k = 0; k < WIDE; k++) {
		assert_ok(shares_grant(
		    lab.sh, "wide", &liar.me.pub, ROLE_WRITER, names[k], &em));
		name_in("wide", k, &c.cid);
	}
	name_it(&c.cid);
	assert_int_equal(site_rows(&lab, "notgiven"), 0);
	i = site_share(&lab, "trial");
	c.share = i.id;
	c.compartment = compartment(1);
	assert_ok(store_write(lab.st, chunk_job, &c));
	assert_int_equal(site_rows(&lab, "notgiven"), WIDE);
	share_info_fini(&i);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
		    naming_a_chunk_does_not_serve_it, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    who_sends_the_bytes_has_them, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    a_name_that_was_first_has_no_right_either, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    every_compartment_that_names_a_chunk_is_noted, setup,
		    teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
