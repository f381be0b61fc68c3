/* store/catalog/oplog_evict.c: content that no subscription wants any more.
 *
 * Looking is done in short read transactions, letting go in jobs of a bounded
 * number of chunks.  A CREF row that said "here" says "missing" again, as
 * before the chunk arrived, and the op counts it: so a later subscription
 * asks for exactly what went.  The chunk itself goes when nothing else refers
 * to it and its grace is over. */
#include "store/base/enc.h"
#include "store/catalog/catalog_internal.h"

#define LOOK_ROWS 2048u

static struct key
evict_lseq_key(uint64_t lseq)
{
	struct key k = { 0 };

	key_be64(&k, lseq);
	return k;
}

static bool
evict_wanted(const struct oplog_evict *v, const struct op_row *row)
{
	uint32_t n = row->packing / OPLOG_PACKING_ITEM;
	uint32_t i;

	if (row->share != v->share || row->compartment != v->compartment ||
	    row->missing >= n)
		return false;
	for (i = 0; i < v->n_keep; i++) {
		if (v->keep[i] == row->feed)
			return false;
	}
	return true;
}

enum err
oplog_evict_find(struct db_txn *t, struct oplog_evict *v, bool *more)
{
	struct key from = evict_lseq_key(v->lseq);
	struct db_cur *c = NULL;
	struct op_row row;
	struct slice k, val;
	uint32_t i;
	enum err e = db_cur_open(t, DB_OP, slice_of(NULL, 0), &c);

	v->found = *more = false;
	if (e == ERR_OK)
		e = db_cur_seek(c, key_slice(&from), &k, &val);
	for (i = 0; e == ERR_OK; i++, e = db_cur_next(c, &k, &val)) {
		if (k.n != 8 || (e = oplog_row_decode(val, &row)) != ERR_OK) {
			e = ERR_CORRUPT;
			break;
		}
		v->found = evict_wanted(v, &row);
		if (v->lseq != dec_be64(k.p))
			v->item = 0;
		v->lseq = dec_be64(k.p);
		*more = true;
		if (v->found || i == LOOK_ROWS)
			break;
		v->lseq++;
		v->item = 0;
	}
	db_cur_close(c);
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

/* The next chunk of the op; c->missing: it is not here. */
static enum err
evict_item(struct db_txn *db, const struct oplog_evict *v, struct rd *r,
    struct cry_id *cid, struct cref *c)
{
	enum err e;

	*c = (struct cref){ .share = v->share,
		.compartment = v->compartment,
		.lseq = v->lseq };
	rd_copy(r, cid->b, sizeof(cid->b));
	(void)rd_u32(r);
	if (r->err != ERR_OK)
		return ERR_CORRUPT;
	e = blob_chunk_number(db, cid, &c->chunk);
	if (e != ERR_OK)
		return e == ERR_NOTFOUND ? ERR_CORRUPT : e;
	return cref_get(db, c);
}

static enum err
evict_one(
    struct store_txn *t, const struct oplog_evict *v, struct rd *r, bool *went)
{
	struct db_txn *db = store_txn_db(t);
	struct cry_id cid;
	struct cref c;
	enum err e = evict_item(db, v, r, &cid, &c);

	*went = e == ERR_OK && !c.missing;
	if (!*went)
		return e;
	c.missing = true;
	e = cref_set(db, &c);
	return e == ERR_OK ? store_ref_drop_no(t, c.chunk) : e;
}

static enum err
evict_items(struct store_txn *t, struct oplog_evict *v, struct slice packing,
    uint32_t *went)
{
	struct rd r = rd_init(packing);
	uint32_t n = 0;
	enum err e = ERR_OK;

	(void)rd_bytes(&r, (size_t)v->item * OPLOG_PACKING_ITEM);
	while (e == ERR_OK && r.left > 0 && n++ < OPLOG_EVICT_CHUNKS) {
		bool gone = false;

		e = evict_one(t, v, &r, &gone);
		v->item++;
		*went += gone;
	}
	if (e == ERR_OK && r.left == 0) {
		v->lseq++;
		v->item = 0;
	}
	return e;
}

/* The op and the packing at its end, which borrows op. */
static enum err
evict_op(struct store *s, struct db_txn *db, uint64_t no, struct op_row *row,
    struct buf *op, struct slice *packing)
{
	enum err e = oplog_row_get(db, no, row);

	if (e == ERR_OK)
		e = store_rec_get(s, &row->loc, REC_OP, op);
	if (e == ERR_OK && row->packing > op->n)
		e = ERR_CORRUPT;
	if (e == ERR_OK)
		*packing = slice_of(op->p + op->n - row->packing, row->packing);
	return e;
}

enum err
oplog_evict_chunks(struct store *s, struct db_txn *t,
    const struct oplog_evict *v, struct cry_id *cid, uint32_t *n)
{
	struct buf op = BUF_MAX(64 * MIB);
	struct slice packing = { 0 };
	struct op_row row;
	struct cref c;
	struct rd r;
	enum err e = evict_op(s, t, v->lseq, &row, &op, &packing);

	*n = 0;
	r = rd_init(packing);
	if (e == ERR_OK)
		(void)rd_bytes(&r, (size_t)v->item * OPLOG_PACKING_ITEM);
	for (uint32_t i = 0;
	     e == ERR_OK && r.left > 0 && i < OPLOG_EVICT_CHUNKS; i++) {
		e = evict_item(t, v, &r, &cid[*n], &c);
		*n += e == ERR_OK && !c.missing;
	}
	buf_fini(&op);
	return e;
}

enum err
oplog_evict_step(struct store_txn *t, struct oplog_evict *v, uint64_t *lseq)
{
	struct db_txn *db = store_txn_db(t);
	struct buf op = BUF_MAX(64 * MIB);
	struct slice packing = { 0 };
	struct op_row row;
	uint64_t no = v->lseq;
	uint32_t went = 0;
	enum err e = evict_op(store_txn_store(t), db, no, &row, &op, &packing);

	*lseq = 0;
	if (e == ERR_OK)
		e = evict_items(t, v, packing, &went);
	buf_fini(&op);
	if (e != ERR_OK || went == 0)
		return e;
	if (row.missing == 0)
		*lseq = no; /* was whole until now */
	row.missing += went;
	v->chunks += went;
	return oplog_row_put(db, no, &row);
}
