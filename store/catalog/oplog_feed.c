/* store/catalog/oplog_feed.c: feeds and their signed heads.
 *
 * FEEDX maps a feed's id to its number, FEED holds what it is, HEAD every
 * signed head by sequence number.  A feed's device and incarnation cannot be
 * derived from its ops, so they are also kept as a local row ("feed"); heads
 * are records of their own. */
#include "store/catalog/catalog_internal.h"

static enum err
feed_read(uint32_t no, struct slice v, struct oplog_feed *out)
{
	struct rd r = rd_init(v);

	*out = (struct oplog_feed){ .no = no };
	out->share = rd_u32(&r);
	out->compartment = rd_u16(&r);
	rd_copy(&r, out->device, sizeof(out->device));
	out->incarnation = rd_u64(&r);
	rd_copy(&r, out->id, sizeof(out->id));
	return key_decoded(&r);
}

static enum err
feed_get(struct db_txn *t, uint32_t no, struct oplog_feed *out)
{
	struct key k = { 0 };
	struct slice v;
	enum err e;

	key_be32(&k, no);
	e = db_get(t, DB_FEED, key_slice(&k), &v);
	return e == ERR_OK ? feed_read(no, v, out) : e;
}

enum err
oplog_feed_find(struct db_txn *t, const uint8_t id[16], struct oplog_feed *out)
{
	struct slice v;
	struct rd r;
	uint32_t no;
	enum err e = db_get(t, DB_FEEDX, slice_of(id, 16), &v);

	if (e != ERR_OK)
		return e;
	r = rd_init(v);
	no = rd_u32(&r);
	if (key_decoded(&r) != ERR_OK)
		return ERR_CORRUPT;
	e = feed_get(t, no, out);
	return e == ERR_NOTFOUND ? ERR_CORRUPT : e;
}

static void
feed_write(struct buf *v, const struct oplog_feed *f)
{
	buf_u32(v, f->share);
	buf_u16(v, f->compartment);
	buf_put(v, f->device, sizeof(f->device));
	buf_u64(v, f->incarnation);
	buf_put(v, f->id, sizeof(f->id));
}

static enum err
feed_keep(struct store_txn *t, const struct oplog_feed *f)
{
	struct buf v = BUF_MAX(256);
	struct key k = { 0 };
	struct slice share;
	enum err e;

	key_u8(&k, 'n');
	key_be32(&k, f->share);
	e = db_get(store_txn_db(t), DB_SHARE, key_slice(&k), &share);
	if (e != ERR_OK)
		return e;
	buf_put_slice(&v, share); /* numbers are local; the id is not */
	feed_write(&v, f);
	e = buf_err(&v);
	if (e == ERR_OK)
		e = store_row_put(
		    t, "feed", slice_of(f->id, sizeof(f->id)), buf_slice(&v));
	buf_fini(&v);
	return e;
}

static enum err
feed_index(struct db_txn *db, struct oplog_feed *f)
{
	struct buf v = BUF_MAX(128), x = BUF_MAX(4);
	struct key k = { 0 }, kx = { 0 };
	uint32_t last;
	enum err e = key_last_be32(db, DB_FEED, (struct slice){ 0 }, &last);

	if (e != ERR_OK)
		return e;
	key_be32(&k, last + 1);
	feed_write(&v, f);
	e = key_store_last(db, DB_FEED, &k, &v);
	if (e != ERR_OK)
		return e;
	key_put(&kx, f->id, sizeof(f->id));
	buf_u32(&x, last + 1);
	e = key_store(db, DB_FEEDX, &kx, &x);
	if (e == ERR_OK)
		f->no = last + 1;
	return e;
}

enum err
oplog_feed_add(struct store_txn *t, struct oplog_feed *f)
{
	struct db_txn *db = store_txn_db(t);
	struct oplog_feed old;
	enum err e = oplog_feed_find(db, f->id, &old);

	if (e == ERR_OK)
		f->no = old.no;
	if (e != ERR_NOTFOUND)
		return e;
	e = feed_keep(t, f);
	return e == ERR_OK ? feed_index(db, f) : e;
}

static int
feed_restore(void *ctx, struct slice key, struct slice value)
{
	struct store_txn *t = ctx;
	struct rd r = rd_init(value);
	struct oplog_feed f;
	struct cry_id share;
	enum err e;

	(void)key;
	rd_copy(&r, share.b, sizeof(share.b));
	e = feed_read(0, rd_rest(&r), &f);
	if (e == ERR_OK)
		e = oplog_share_add(t, &share, &f.share);
	return e == ERR_OK ? (int)feed_index(store_txn_db(t), &f) : (int)e;
}

enum err
oplog_feeds_restore(struct store_txn *t)
{
	return store_row_each(store_txn_store(t), store_txn_db(t), "feed",
	    (struct slice){ 0 }, feed_restore, t);
}

/* --- heads --- */

static enum err
head_read(struct slice k, struct slice v, struct oplog_head *out)
{
	struct rd rk = rd_init(k), r = rd_init(v);

	(void)rd_be32(&rk);
	out->seq = rd_be64(&rk);
	rd_copy(&r, out->op_id.b, sizeof(out->op_id.b));
	out->lamport = rd_u64(&r);
	rd_copy(&r, out->bytes, sizeof(out->bytes));
	if (rd_end(&rk) != ERR_OK)
		return ERR_CORRUPT;
	return key_decoded(&r);
}

static struct key
head_key(uint32_t feed, uint64_t seq)
{
	struct key k = { 0 };

	key_be32(&k, feed);
	key_be64(&k, seq);
	return k;
}

static enum err
head_put(
    struct store_txn *t, uint32_t feed, const struct oplog_head *h, bool logged)
{
	struct db_txn *db = store_txn_db(t);
	struct key k = head_key(feed, h->seq);
	struct buf v = BUF_MAX(256);
	struct oplog_head old;
	struct store_loc loc;
	struct cry_id id;
	struct slice there;
	enum err e = db_get(db, DB_HEAD, key_slice(&k), &there);

	if (e == ERR_OK) {
		e = head_read(key_slice(&k), there, &old);
		if (e != ERR_OK)
			return e;
		return memcmp(&old.op_id, &h->op_id, sizeof(old.op_id)) == 0
			   ? ERR_OK
			   : ERR_EXISTS; /* a fork: the caller's evidence */
	}
	if (e != ERR_NOTFOUND)
		return e;
	cry_hash(slice_of(h->bytes, sizeof(h->bytes)), &id);
	if (!logged) {
		e = store_rec_put(t, REC_HEAD, &id,
		    slice_of(h->bytes, sizeof(h->bytes)), &loc);
		if (e != ERR_OK)
			return e;
	}
	buf_put(&v, h->op_id.b, sizeof(h->op_id.b));
	buf_u64(&v, h->lamport);
	buf_put(&v, h->bytes, sizeof(h->bytes));
	return key_store(db, DB_HEAD, &k, &v);
}

enum err
oplog_head_put(struct store_txn *t, uint32_t feed, const struct oplog_head *h)
{
	return head_put(t, feed, h, false);
}

enum err
oplog_head_index(struct store_txn *t, uint32_t feed, const struct oplog_head *h)
{
	return head_put(t, feed, h, true);
}

enum err
oplog_heads_cut(struct store_txn *t, uint32_t feed, uint64_t seq)
{
	struct db_txn *db = store_txn_db(t);
	struct key prefix = { 0 }, from = head_key(feed, seq), k = { 0 };
	enum err e = ERR_OK;

	key_be32(&prefix, feed);
	while (e == ERR_OK) {
		e = key_first(db, DB_HEAD, key_slice(&prefix), &from, &k);
		if (e == ERR_OK)
			e = db_del(db, DB_HEAD, key_slice(&k));
	}
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

enum err
oplog_feed_head(struct db_txn *t, uint32_t feed, struct oplog_head *out)
{
	struct db_cur *c = NULL;
	struct key k = { 0 };
	struct slice kk, v;
	enum err e;

	key_be32(&k, feed);
	e = db_cur_open(t, DB_HEAD, key_slice(&k), &c);
	if (e != ERR_OK)
		return e;
	e = db_cur_last(c, &kk, &v);
	if (e == ERR_OK)
		e = head_read(kk, v, out);
	db_cur_close(c);
	return e;
}

enum err
oplog_head_at(
    struct db_txn *t, uint32_t feed, uint64_t seq, struct oplog_head *out)
{
	struct db_cur *c = NULL;
	struct key prefix = { 0 }, at = head_key(feed, seq);
	struct slice k, v;
	enum err e;

	key_be32(&prefix, feed);
	e = db_cur_open(t, DB_HEAD, key_slice(&prefix), &c);
	if (e != ERR_OK)
		return e;
	e = db_cur_seek(c, key_slice(&at), &k, &v);
	if (e == ERR_OK)
		e = head_read(k, v, out);
	db_cur_close(c);
	return e;
}

struct feed_walk {
	struct db_txn *t;
	oplog_feed_fn fn;
	void *ctx;
};

static int
feed_visit(void *ctx, struct slice k, struct slice v)
{
	struct feed_walk *w = ctx;
	struct rd r = rd_init(k);
	struct oplog_feed f;
	struct oplog_head h;
	enum err e = feed_read(rd_be32(&r), v, &f);

	if (e != ERR_OK)
		return e;
	e = oplog_feed_head(w->t, f.no, &h);
	if (e != ERR_OK && e != ERR_NOTFOUND)
		return e;
	return w->fn(w->ctx, &f, e == ERR_OK ? &h : NULL);
}

enum err
oplog_feeds_each(struct db_txn *t, oplog_feed_fn fn, void *ctx)
{
	struct feed_walk w = { t, fn, ctx };

	return key_walk(t, DB_FEED, (struct slice){ 0 }, feed_visit, &w);
}
