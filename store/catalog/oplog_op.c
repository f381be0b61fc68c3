/* store/catalog/oplog_op.c: ops at rest.
 *
 * Happy path: the op's bytes become a record in the segment; OP (local
 * number -> place and header fields), OPX (feed, seq) and OPID (op id) find
 * it; each chunk of its packing list gets a CREF row that says whether the
 * chunk was missing then, and a WANT row if content is to be fetched.
 * Failure modes: an op id or a (feed, seq) that is there already is
 * ERR_EXISTS and changes nothing. */
#include "store/catalog/catalog_internal.h"

static struct key
lseq_key(uint64_t lseq)
{
	struct key k = { 0 };

	key_be64(&k, lseq);
	return k;
}

static struct key
feed_seq_key(uint32_t feed, uint64_t seq)
{
	struct key k = { 0 };

	key_be32(&k, feed);
	key_be64(&k, seq);
	return k;
}

enum err
oplog_row_decode(struct slice v, struct op_row *out)
{
	struct rd r = rd_init(v);

	out->loc = store_loc_read(&r);
	out->share = rd_u32(&r);
	out->compartment = rd_u16(&r);
	out->feed = rd_u32(&r);
	out->seq = rd_u64(&r);
	out->lamport = rd_u64(&r);
	rd_copy(&r, out->id.b, sizeof(out->id.b));
	out->missing = rd_u32(&r);
	out->asset = rd_u32(&r);
	out->packing = rd_u32(&r);
	out->want = rd_u8(&r) != 0;
	return key_decoded(&r);
}

enum err
oplog_row_get(struct db_txn *t, uint64_t lseq, struct op_row *out)
{
	struct key k = lseq_key(lseq);
	struct slice v;
	enum err e = db_get(t, DB_OP, key_slice(&k), &v);

	return e == ERR_OK ? oplog_row_decode(v, out) : e;
}

static void
row_write(struct buf *v, const struct op_row *row)
{
	store_loc_put(v, &row->loc);
	buf_u32(v, row->share);
	buf_u16(v, row->compartment);
	buf_u32(v, row->feed);
	buf_u64(v, row->seq);
	buf_u64(v, row->lamport);
	buf_put(v, row->id.b, sizeof(row->id.b));
	buf_u32(v, row->missing);
	buf_u32(v, row->asset);
	buf_u32(v, row->packing);
	buf_u8(v, row->want ? 1 : 0);
}

enum err
oplog_row_put(struct db_txn *t, uint64_t lseq, const struct op_row *row)
{
	struct key k = lseq_key(lseq);
	struct buf v = BUF_MAX(256);

	row_write(&v, row);
	return key_store(t, DB_OP, &k, &v);
}

/* --- putting --- */

struct chunk_naming {
	const struct oplog_op *op;
	uint64_t lseq;
	bool replay; /* the op was here before; its index is made anew */
};

static enum err
op_known(struct db_txn *t, const struct oplog_op *op)
{
	struct key by_seq = feed_seq_key(op->feed, op->seq), by_id = { 0 };
	bool there = false;
	enum err e;

	key_put(&by_id, op->id.b, 16);
	e = key_there(t, DB_OPID, &by_id, &there);
	if (e == ERR_OK && !there)
		e = key_there(t, DB_OPX, &by_seq, &there);
	if (e != ERR_OK)
		return e;
	return there ? ERR_EXISTS : ERR_OK;
}

/* Was the chunk of *ref given in its compartment?  In a rebuild what is here
 * was, unless a row says that it was not. */
static enum err
chunk_given(struct store_txn *t, const struct chunk_naming *n, bool here,
    struct cref *ref)
{
	struct db_txn *db = store_txn_db(t);
	bool alien = false, named;
	enum err e = ERR_OK;

	ref->given = false;
	if (n->replay && here) {
		e = cref_alien(
		    db, ref->chunk, ref->share, ref->compartment, &alien);
		ref->given = !alien;
		return e;
	}
	e = cref_first(db, ref);
	named = e == ERR_OK;
	if ((e != ERR_OK && e != ERR_NOTFOUND) || ref->given || !here)
		return e == ERR_NOTFOUND ? ERR_OK : e;
	ref->given = n->op->own;
	if (!ref->given)
		return cref_alien_put(
		    t, ref->chunk, ref->share, ref->compartment);
	return named ? cref_give(t, ref->chunk, ref->share, ref->compartment)
		     : ERR_OK;
}

/* The next item of the packing list. */
static enum err
chunk_ref(struct store_txn *st, const struct chunk_naming *n, struct rd *r,
    uint32_t *missing)
{
	struct db_txn *t = store_txn_db(st);
	struct cref ref = { .share = n->op->share,
		.compartment = n->op->compartment,
		.lseq = n->lseq };
	struct cry_id cid;
	uint32_t c_len;
	bool here;
	enum err e;

	rd_copy(r, cid.b, sizeof(cid.b));
	c_len = rd_u32(r);
	if (r->err != ERR_OK)
		return r->err;
	e = blob_chunk_name(st, &cid, c_len, &ref.chunk, &here);
	if (e == ERR_OK)
		e = chunk_given(st, n, here, &ref);
	ref.missing = !here || !ref.given;
	if (e == ERR_OK && !ref.missing)
		e = store_ref_add_no(st, ref.chunk);
	if (e == ERR_OK)
		e = cref_set(t, &ref);
	if (e == ERR_OK && ref.missing && n->op->want_content)
		e = oplog_want_put(t, &ref, c_len);
	*missing += ref.missing;
	return e;
}

static enum err
chunk_refs(struct store_txn *t, const struct chunk_naming *n, uint32_t *missing)
{
	struct rd r = rd_init(n->op->packing);
	enum err e = ERR_OK;

	while (e == ERR_OK && r.left > 0)
		e = chunk_ref(t, n, &r, missing);
	return e;
}

static enum err
op_index(struct db_txn *t, const struct oplog_op *op, uint64_t lseq,
    const struct op_row *row)
{
	struct key by_seq = feed_seq_key(op->feed, op->seq), by_id = { 0 };
	struct key at = lseq_key(lseq);
	struct buf v = BUF_MAX(256), x = BUF_MAX(8), y = BUF_MAX(8);
	enum err e;

	row_write(&v, row);
	e = key_store_last(t, DB_OP, &at, &v);
	if (e != ERR_OK)
		return e;
	buf_u64(&x, lseq);
	e = key_store(t, DB_OPX, &by_seq, &x);
	if (e != ERR_OK)
		return e;
	key_put(&by_id, op->id.b, 16);
	buf_u64(&y, lseq);
	return key_store(t, DB_OPID, &by_id, &y);
}

/* at: where its record lies already; NULL: it is written. */
static enum err
op_put(struct store_txn *t, const struct oplog_op *op,
    const struct store_loc *at, uint64_t *lseq, uint32_t *missing)
{
	struct db_txn *db = store_txn_db(t);
	struct op_row row = { .share = op->share,
		.compartment = op->compartment,
		.feed = op->feed,
		.seq = op->seq,
		.lamport = op->lamport,
		.id = op->id,
		.packing = (uint32_t)op->packing.n,
		.want = op->want_content };
	uint64_t no;
	enum err e;

	if (op->packing.n % OPLOG_PACKING_ITEM != 0)
		return ERR_MALFORMED;
	e = op_known(db, op);
	if (e == ERR_OK)
		e = key_last_be64(db, DB_OP, &no);
	if (e != ERR_OK)
		return e;
	no++;
	if (at != NULL)
		row.loc = *at;
	else
		e = store_rec_put(t, REC_OP, &op->id, op->bytes, &row.loc);
	if (e == ERR_OK)
		e = chunk_refs(t, &(struct chunk_naming){ op, no, at != NULL },
		    &row.missing);
	if (e == ERR_OK)
		e = op_index(db, op, no, &row);
	if (e != ERR_OK)
		return e;
	*lseq = no;
	*missing = row.missing;
	return ERR_OK;
}

enum err
oplog_op_put(struct store_txn *t, const struct oplog_op *op, uint64_t *lseq,
    uint32_t *missing)
{
	return op_put(t, op, NULL, lseq, missing);
}

enum err
oplog_op_index(struct store_txn *t, const struct oplog_op *op,
    const struct store_loc *at, uint64_t *lseq, uint32_t *missing)
{
	return op_put(t, op, at, lseq, missing);
}

bool
oplog_op_there(struct db_txn *t, uint32_t feed, uint64_t seq)
{
	struct key k = feed_seq_key(feed, seq);
	struct slice v;

	return db_get(t, DB_OPX, key_slice(&k), &v) == ERR_OK;
}

/* --- reading --- */

enum err
oplog_op_get_lseq(
    struct store *s, struct db_txn *t, uint64_t lseq, struct buf *out)
{
	struct op_row row;
	enum err e = oplog_row_get(t, lseq, &row);

	return e == ERR_OK ? store_rec_get(s, &row.loc, REC_OP, out) : e;
}

enum err
oplog_op_get(struct store *s, struct db_txn *t, uint32_t feed, uint64_t seq,
    struct buf *out)
{
	struct key k = feed_seq_key(feed, seq);
	struct slice v;
	struct rd r;
	uint64_t lseq;
	enum err e = db_get(t, DB_OPX, key_slice(&k), &v);

	if (e != ERR_OK)
		return e;
	r = rd_init(v);
	lseq = rd_u64(&r);
	if (key_decoded(&r) != ERR_OK)
		return ERR_CORRUPT;
	return oplog_op_get_lseq(s, t, lseq, out);
}

enum err
oplog_op_missing(struct db_txn *t, uint64_t lseq, uint32_t *missing)
{
	struct op_row row;
	enum err e = oplog_row_get(t, lseq, &row);

	if (e == ERR_OK)
		*missing = row.missing;
	return e;
}
