/* store/catalog/oplog_share.c: shares' local numbers and their membership
 * records.
 *
 * SHARE holds 'i' id -> number and 'n' number -> id; MLOG holds where each
 * record lies in the segments.  Records of a share are dense: a gap is
 * refused (ERR_AGAIN), so a reader can walk them until ERR_NOTFOUND. */
#include "store/catalog/catalog_internal.h"

static struct key
id_key(const struct cry_id *share)
{
	struct key k = { 0 };

	key_u8(&k, 'i');
	key_put(&k, share->b, sizeof(share->b));
	return k;
}

enum err
oplog_share_no(struct db_txn *t, const struct cry_id *share, uint32_t *no)
{
	struct key k = id_key(share);
	struct slice v;
	struct rd r;
	enum err e = db_get(t, DB_SHARE, key_slice(&k), &v);

	if (e != ERR_OK)
		return e;
	r = rd_init(v);
	*no = rd_u32(&r);
	return key_decoded(&r);
}

enum err
oplog_share_id(struct db_txn *t, uint32_t no, struct cry_id *out)
{
	struct key k = { 0 };
	struct slice v;
	struct rd r;
	enum err e;

	key_u8(&k, 'n');
	key_be32(&k, no);
	e = db_get(t, DB_SHARE, key_slice(&k), &v);
	if (e != ERR_OK)
		return e;
	r = rd_init(v);
	rd_copy(&r, out->b, sizeof(out->b));
	return key_decoded(&r);
}

static enum err
share_new(struct db_txn *t, const struct cry_id *share, uint32_t *no)
{
	struct key by_id = id_key(share), by_no = { 0 };
	struct buf v = BUF_MAX(4);
	uint32_t last;
	enum err e = key_last_be32(t, DB_SHARE, SLICE_LIT("n"), &last);

	if (e != ERR_OK)
		return e;
	if (last >= LIM_SHARES)
		return ERR_LIMIT;
	key_u8(&by_no, 'n');
	key_be32(&by_no, last + 1);
	e = db_put(t, DB_SHARE, key_slice(&by_no),
	    slice_of(share->b, sizeof(share->b)));
	if (e != ERR_OK)
		return e;
	buf_u32(&v, last + 1);
	e = key_store(t, DB_SHARE, &by_id, &v);
	if (e == ERR_OK)
		*no = last + 1;
	return e;
}

enum err
oplog_share_add(struct store_txn *t, const struct cry_id *share, uint32_t *no)
{
	struct db_txn *db = store_txn_db(t);
	enum err e = oplog_share_no(db, share, no);

	return e == ERR_NOTFOUND ? share_new(db, share, no) : e;
}

struct share_walk {
	oplog_share_fn fn;
	void *ctx;
};

static int
share_visit(void *ctx, struct slice k, struct slice v)
{
	struct share_walk *w = ctx;
	struct rd rk = rd_init(k), rv = rd_init(v);
	struct cry_id id;
	uint32_t no;

	(void)rd_u8(&rk);
	no = rd_be32(&rk);
	rd_copy(&rv, id.b, sizeof(id.b));
	if (rd_end(&rk) != ERR_OK || rd_end(&rv) != ERR_OK)
		return ERR_CORRUPT;
	return w->fn(w->ctx, no, &id);
}

enum err
oplog_shares_each(struct db_txn *t, oplog_share_fn fn, void *ctx)
{
	struct share_walk w = { fn, ctx };

	return key_walk(t, DB_SHARE, SLICE_LIT("n"), share_visit, &w);
}

/* --- membership records --- */

static struct key
member_key(uint32_t share, uint64_t seq)
{
	struct key k = { 0 };

	key_be32(&k, share);
	key_be64(&k, seq);
	return k;
}

/* Its place is free and the one before is taken. */
static enum err
member_fits(struct db_txn *db, uint32_t share, uint64_t seq)
{
	struct key k = member_key(share, seq);
	bool there = false;
	enum err e = key_there(db, DB_MLOG, &k, &there);
	if (e != ERR_OK || there)
		return e != ERR_OK ? e : ERR_EXISTS;
	if (seq > 0) {
		struct key before = member_key(share, seq - 1);

		e = key_there(db, DB_MLOG, &before, &there);
		if (e != ERR_OK || !there)
			return e != ERR_OK ? e : ERR_AGAIN;
	}
	return ERR_OK;
}

enum err
oplog_member_index(struct store_txn *t, uint32_t share, uint64_t seq,
    const struct store_loc *at)
{
	struct db_txn *db = store_txn_db(t);
	struct key k = member_key(share, seq);
	struct buf v = BUF_MAX(STORE_LOC_BYTES);
	enum err e = member_fits(db, share, seq);

	if (e != ERR_OK)
		return e;
	store_loc_put(&v, at);
	return key_store(db, DB_MLOG, &k, &v);
}

enum err
oplog_member_put(
    struct store_txn *t, uint32_t share, uint64_t seq, struct slice record)
{
	struct store_loc loc;
	struct cry_id id;
	enum err e;

	if (record.n > LIM_MEMBER_RECORD_BYTES)
		return ERR_LIMIT;
	if ((e = member_fits(store_txn_db(t), share, seq)) != ERR_OK)
		return e;
	cry_hash(record, &id);
	e = store_rec_put(t, REC_MEMBER, &id, record, &loc);
	return e == ERR_OK ? oplog_member_index(t, share, seq, &loc) : e;
}

enum err
oplog_member_cut(struct store_txn *t, uint32_t share, uint64_t from)
{
	enum err e = ERR_OK;

	for (; e == ERR_OK; from++) {
		struct key k = member_key(share, from);

		e = db_del(store_txn_db(t), DB_MLOG, key_slice(&k));
	}
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

enum err
oplog_member_get(struct store *s, struct db_txn *t, uint32_t share,
    uint64_t seq, struct buf *out)
{
	struct key k = member_key(share, seq);
	struct store_loc loc;
	struct slice v;
	struct rd r;
	enum err e = db_get(t, DB_MLOG, key_slice(&k), &v);

	if (e != ERR_OK)
		return e;
	r = rd_init(v);
	loc = store_loc_read(&r);
	if (key_decoded(&r) != ERR_OK)
		return ERR_CORRUPT;
	return store_rec_get(s, &loc, REC_MEMBER, out);
}
