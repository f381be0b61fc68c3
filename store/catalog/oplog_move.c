/* store/catalog/oplog_move.c: records of the op log that the store moves when
 * it gives space back.
 *
 * An op's place is in its OP row.  A head's record is found by nobody: all of
 * a head is in HEAD, the record is what a rebuild reads, so each is needed
 * for good.  A membership record's place is in MLOG, a short table. */
#include "store/catalog/catalog_internal.h"

static bool
loc_same(const struct store_loc *a, const struct store_loc *b)
{
	return a->seg == b->seg && a->off == b->off;
}

static enum err
op_find(struct db_txn *t, const struct cry_id *id, uint64_t *lseq,
    struct op_row *row)
{
	struct slice v;
	struct rd r;
	enum err e = db_get(t, DB_OPID, slice_of(id->b, 16), &v);

	if (e != ERR_OK)
		return e;
	r = rd_init(v);
	*lseq = rd_u64(&r);
	if (key_decoded(&r) != ERR_OK)
		return ERR_CORRUPT;
	e = oplog_row_get(t, *lseq, row);
	return e == ERR_NOTFOUND ? ERR_CORRUPT : e;
}

static enum err
op_move(struct db_txn *t, const struct cry_id *id, const struct store_loc *from,
    const struct store_loc *to)
{
	struct op_row row;
	uint64_t lseq;
	enum err e = op_find(t, id, &lseq, &row);

	if (e != ERR_OK)
		return e;
	if (!loc_same(&row.loc, from))
		return ERR_NOTFOUND;
	if (to == NULL)
		return ERR_OK;
	row.loc = *to;
	return oplog_row_put(t, lseq, &row);
}

enum err
oplog_op_place(struct db_txn *t, const struct cry_id *id, struct store_loc *out)
{
	struct op_row row;
	uint64_t lseq;
	enum err e = op_find(t, id, &lseq, &row);

	if (e != ERR_OK)
		return e;
	if (memcmp(&row.id, id, sizeof(row.id)) != 0 ||
	    !oplog_op_there(t, row.feed, row.seq))
		return ERR_CORRUPT;
	*out = row.loc;
	return ERR_OK;
}

struct member_find {
	const struct store_loc *from;
	struct key key;
	bool found;
};

static int
member_visit(void *ctx, struct slice k, struct slice v)
{
	struct member_find *f = ctx;
	struct rd r = rd_init(v);
	struct store_loc loc = store_loc_read(&r);

	if (key_decoded(&r) != ERR_OK)
		return ERR_CORRUPT;
	f->found = loc_same(&loc, f->from);
	if (f->found)
		key_put(&f->key, k.p, k.n);
	return f->found;
}

static enum err
member_move(
    struct db_txn *t, const struct store_loc *from, const struct store_loc *to)
{
	struct member_find f = { .from = from };
	struct buf v = BUF_MAX(STORE_LOC_BYTES);
	enum err e =
	    key_walk(t, DB_MLOG, (struct slice){ 0 }, member_visit, &f);

	if (e != ERR_OK || !f.found)
		return e != ERR_OK ? e : ERR_NOTFOUND;
	if (to == NULL)
		return ERR_OK;
	store_loc_put(&v, to);
	return key_store(t, DB_MLOG, &f.key, &v);
}

enum err
oplog_rec_move(struct db_txn *t, enum rec_kind kind, const struct cry_id *id,
    const struct store_loc *from, const struct store_loc *to)
{
	if (kind == REC_OP)
		return op_move(t, id, from, to);
	if (kind == REC_MEMBER)
		return member_move(t, from, to);
	return kind == REC_HEAD ? ERR_OK : ERR_UNSUPPORTED;
}
