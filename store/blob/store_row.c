/* store/blob/store_row.c: local rows, sealed under the local key.
 *
 * Each change is a record (rulings.md 1), a deletion too, so that the rows
 * can be rebuilt from the segments alone.  The index keeps the place and, for
 * small values, the sealed bytes.  The seal binds tag, key and the kind of
 * change: bytes moved to another row do not open (ERR_AUTH). */
#include "store/blob/store_internal.h"

#define TAG_MAX 8u
#define ROW_PUT 1u
#define ROW_DEL 2u
#define ROW_BODY_MAX (STORE_ROW_VALUE_MAX + 256)

/* u8 length of tag, tag, key: the key of table ROW. */
static enum err
row_key(const char *tag, struct slice key, struct buf *out)
{
	size_t n = strlen(tag);

	if (n == 0 || n > TAG_MAX || n + key.n > DB_KEY_MAX - 2)
		return ERR_LIMIT;
	*out = BUF_MAX(DB_KEY_MAX);
	buf_u8(out, (uint8_t)n);
	buf_put(out, tag, n);
	buf_put_slice(out, key);
	return buf_err(out);
}

/* Associated data: what was done, to which row. */
static void
row_ad(uint8_t what, struct slice rkey, uint8_t *ad)
{
	ad[0] = what;
	memcpy(ad + 1, rkey.p, rkey.n);
}

/* Where the row's record is now; seg 0: there is no such row. */
static enum err
row_place(struct store_txn *t, struct slice rkey, struct store_loc *loc)
{
	struct slice v;
	struct rd r;
	enum err e = db_get(t->db, DB_ROW, rkey, &v);

	*loc = (struct store_loc){ 0 };
	if (e != ERR_OK)
		return e == ERR_NOTFOUND ? ERR_OK : e;
	r = rd_init(v);
	*loc = store_loc_read(&r);
	return r.err == ERR_OK ? ERR_OK : ERR_CORRUPT;
}

struct cry_id
store_row_id(struct slice rkey)
{
	struct cry_id id;

	cry_hash_parts(NULL, "psc.row.1", &rkey, 1, id.b, sizeof(id.b));
	return id;
}

/* body = what, u8 length of row key, row key, sealed value */
static enum err
row_record(struct store_txn *t, uint8_t what, struct slice rkey,
    struct slice sealed, struct store_loc *loc)
{
	struct buf b = BUF_MAX(ROW_BODY_MAX);
	struct cry_id id = store_row_id(rkey);
	enum err e;

	buf_u8(&b, what);
	buf_u8(&b, (uint8_t)rkey.n);
	buf_put_slice(&b, rkey);
	buf_put_slice(&b, sealed);
	e = buf_err(&b);
	if (e == ERR_OK)
		e = store_rec_put(t, REC_ROW, &id, buf_slice(&b), loc);
	buf_fini(&b);
	return e;
}

static enum err
row_seal(struct store *s, uint8_t what, struct slice rkey, struct slice value,
    struct buf *out)
{
	uint8_t ad[1 + DB_KEY_MAX];

	row_ad(what, rkey, ad);
	cry_box_local_seal(&s->row_key, slice_of(ad, 1 + rkey.n), value, out);
	return buf_err(out);
}

static enum err
row_index(struct store_txn *t, struct slice rkey, const struct store_loc *loc,
    struct slice sealed)
{
	struct buf v = BUF_MAX(DB_VALUE_MAX);
	enum err e;

	store_loc_put(&v, loc);
	if (sealed.n <= STORE_ROW_INLINE_MAX)
		buf_put_slice(&v, sealed);
	e = buf_err(&v);
	if (e == ERR_OK)
		e = db_put(t->db, DB_ROW, rkey, buf_slice(&v));
	buf_fini(&v);
	return e;
}

static enum err
row_open(
    struct store *s, struct slice rkey, struct slice sealed, struct buf *out)
{
	uint8_t ad[1 + DB_KEY_MAX];

	row_ad(ROW_PUT, rkey, ad);
	return cry_box_local_open(
	    &s->row_key, slice_of(ad, 1 + rkey.n), sealed, out);
}

/* The sealed value out of a record's body; the body must name this row. */
static enum err
row_body_open(
    struct store *s, struct slice rkey, struct slice body, struct buf *out)
{
	struct rd r = rd_init(body);
	uint8_t what = rd_u8(&r);
	struct slice name = rd_bytes(&r, rd_u8(&r));
	struct slice sealed = rd_rest(&r);

	if (rd_end(&r) != ERR_OK || what != ROW_PUT || !slice_eq(name, rkey))
		return ERR_CORRUPT;
	return row_open(s, rkey, sealed, out);
}

/* v: the row's value in the index. */
static enum err
row_read(struct store *s, struct slice rkey, struct slice v, struct buf *out)
{
	struct buf body = BUF_MAX(ROW_BODY_MAX);
	struct rd r = rd_init(v);
	struct store_loc loc = store_loc_read(&r);
	struct slice sealed = rd_rest(&r);
	enum err e = rd_end(&r);

	if (e != ERR_OK)
		return ERR_CORRUPT;
	if (sealed.n > 0)
		return row_open(s, rkey, sealed, out);
	e = store_rec_get(s, &loc, REC_ROW, &body);
	if (e == ERR_OK)
		e = row_body_open(s, rkey, buf_slice(&body), out);
	buf_fini(&body);
	return e;
}

/* What the row holds now goes: its chunks, and its record's place. */
static enum err
row_let_go(struct store_txn *t, const struct store_row_owner *own,
    struct slice rkey, const struct store_loc *was)
{
	struct buf old = BUF_MAX(ROW_BODY_MAX);
	struct slice v;
	enum err e = ERR_OK;

	if (own != NULL)
		e = db_get(t->db, DB_ROW, rkey, &v);
	if (own != NULL && e == ERR_OK)
		e = row_read(t->s, rkey, v, &old);
	if (own != NULL && e == ERR_OK)
		e = store_row_release(t, own, buf_slice(&old));
	buf_wipe(&old);
	return e == ERR_OK ? store_rec_dead(t, was) : e;
}

/* First what the new value holds: a chunk that both name never is at zero. */
static enum err
row_replace(
    struct store_txn *t, const char *tag, struct slice rkey, struct slice value)
{
	const struct store_row_owner *own = store_row_owner(t->s, tag);
	struct store_loc was;
	enum err e = row_place(t, rkey, &was);

	if (e == ERR_OK && own != NULL)
		e = store_row_hold(t, own, value);
	if (e == ERR_OK && was.seg != 0)
		e = row_let_go(t, own, rkey, &was);
	return e;
}

enum err
store_row_put(
    struct store_txn *t, const char *tag, struct slice key, struct slice value)
{
	struct buf sealed = BUF_MAX(ROW_BODY_MAX);
	struct buf rkey = BUF_EMPTY;
	struct store_loc loc;
	enum err e;

	if (value.n > STORE_ROW_VALUE_MAX)
		return ERR_LIMIT;
	if ((e = row_key(tag, key, &rkey)) != ERR_OK)
		goto out;
	e = row_replace(t, tag, buf_slice(&rkey), value);
	if (e == ERR_OK)
		e = row_seal(t->s, ROW_PUT, buf_slice(&rkey), value, &sealed);
	if (e != ERR_OK)
		goto out;
	e = row_record(t, ROW_PUT, buf_slice(&rkey), buf_slice(&sealed), &loc);
	if (e == ERR_OK)
		e = row_index(t, buf_slice(&rkey), &loc, buf_slice(&sealed));
out:
	buf_fini(&sealed);
	buf_fini(&rkey);
	return e;
}

/* A deletion says how far puts of the row may lie: once no segment up to
 * there is left, compaction drops it. */
static enum err
row_seal_del(struct store_txn *t, struct slice rkey, struct buf *sealed)
{
	struct buf upto = BUF_MAX(4);
	enum err e;

	buf_u32(&upto, t->s->tail.seg);
	e = buf_err(&upto);
	if (e == ERR_OK)
		e = row_seal(t->s, ROW_DEL, rkey, buf_slice(&upto), sealed);
	buf_fini(&upto);
	return e;
}

enum err
store_row_del(struct store_txn *t, const char *tag, struct slice key)
{
	struct buf sealed = BUF_MAX(256);
	struct buf rkey = BUF_EMPTY;
	struct store_loc loc;
	enum err e;

	if ((e = row_key(tag, key, &rkey)) != ERR_OK ||
	    (e = row_place(t, buf_slice(&rkey), &loc)) != ERR_OK)
		goto out;
	e = ERR_NOTFOUND;
	if (loc.seg == 0)
		goto out;
	e = row_let_go(t, store_row_owner(t->s, tag), buf_slice(&rkey), &loc);
	if (e == ERR_OK)
		e = db_del(t->db, DB_ROW, buf_slice(&rkey));
	if (e == ERR_OK)
		e = row_seal_del(t, buf_slice(&rkey), &sealed);
	if (e == ERR_OK)
		e = row_record(
		    t, ROW_DEL, buf_slice(&rkey), buf_slice(&sealed), &loc);
out:
	buf_fini(&sealed);
	buf_fini(&rkey);
	return e;
}

enum err
store_row_check(struct store *s, struct slice rkey, struct slice v)
{
	struct buf body = BUF_MAX(ROW_BODY_MAX);
	struct buf a = BUF_MAX(ROW_BODY_MAX);
	struct buf b = BUF_MAX(ROW_BODY_MAX);
	struct rd r = rd_init(v);
	struct store_loc loc = store_loc_read(&r);
	enum err e = row_read(s, rkey, v, &a);

	if (e == ERR_OK)
		e = store_rec_get(s, &loc, REC_ROW, &body);
	if (e == ERR_OK)
		e = row_body_open(s, rkey, buf_slice(&body), &b);
	if (e == ERR_OK && !slice_eq(buf_slice(&a), buf_slice(&b)))
		e = ERR_CORRUPT;
	buf_wipe(&a);
	buf_wipe(&b);
	buf_fini(&body);
	return e;
}

enum err
store_row_replay(struct store_txn *t, struct slice body,
    const struct store_loc *loc, struct store_loc *was)
{
	struct buf plain = BUF_MAX(ROW_BODY_MAX);
	uint8_t ad[1 + DB_KEY_MAX];
	struct rd r = rd_init(body);
	uint8_t what = rd_u8(&r);
	struct slice rkey = rd_bytes(&r, rd_u8(&r));
	struct slice sealed = rd_rest(&r);
	enum err e;

	if (rd_end(&r) != ERR_OK || (what != ROW_PUT && what != ROW_DEL) ||
	    rkey.n < 2 || rkey.n > DB_KEY_MAX)
		return ERR_CORRUPT;
	row_ad(what, rkey, ad);
	e = cry_box_local_open(
	    &t->s->row_key, slice_of(ad, 1 + rkey.n), sealed, &plain);
	buf_wipe(&plain);
	if (e == ERR_OK)
		e = row_place(t, rkey, was);
	if (e != ERR_OK)
		return e;
	if (what == ROW_PUT)
		return row_index(t, rkey, loc, sealed);
	e = db_del(t->db, DB_ROW, rkey);
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

enum err
store_row_get(struct store *s, struct db_txn *txn, const char *tag,
    struct slice key, struct buf *out)
{
	struct buf rkey = BUF_EMPTY;
	struct slice v;
	enum err e = row_key(tag, key, &rkey);

	if (e == ERR_OK)
		e = db_get(txn, DB_ROW, buf_slice(&rkey), &v);
	if (e == ERR_OK)
		e = row_read(s, buf_slice(&rkey), v, out);
	buf_fini(&rkey);
	return e;
}

enum err
store_row_there(struct db_txn *txn, const char *tag, struct slice key)
{
	struct buf rkey = BUF_EMPTY;
	struct slice v;
	enum err e = row_key(tag, key, &rkey);

	if (e == ERR_OK)
		e = db_get(txn, DB_ROW, buf_slice(&rkey), &v);
	buf_fini(&rkey);
	return e;
}

/* Rows under prefix, from a key inside it on (empty: all). */
struct row_range {
	size_t tag_n; /* bytes of a key that fn does not see */
	struct slice prefix, from;
};

static enum err
row_walk(struct store *s, struct db_txn *txn, const struct row_range *r,
    store_row_fn fn, void *ctx)
{
	struct buf value = BUF_MAX(ROW_BODY_MAX);
	struct db_cur *c = NULL;
	struct slice k, v;
	enum err e = db_cur_open(txn, DB_ROW, r->prefix, &c);

	if (e == ERR_OK)
		e = db_cur_seek(c, r->from.n > 0 ? r->from : r->prefix, &k, &v);
	while (e == ERR_OK) {
		uint8_t key[DB_KEY_MAX]; /* fn may change the table */

		memcpy(key, k.p, k.n);
		buf_reset(&value);
		e = row_read(s, slice_of(key, k.n), v, &value);
		if (e == ERR_OK)
			e = (enum err)fn(ctx,
			    slice_of(key + r->tag_n, k.n - r->tag_n),
			    buf_slice(&value));
		if (e != ERR_OK)
			goto out; /* also when fn says NOTFOUND */
		e = db_cur_next(c, &k, &v);
	}
	if (e == ERR_NOTFOUND)
		e = ERR_OK;
out:
	db_cur_close(c);
	buf_wipe(&value);
	return (int)e > 0 ? ERR_OK : e; /* fn asked to stop: no error */
}

enum err
store_row_each(struct store *s, struct db_txn *txn, const char *tag,
    struct slice prefix, store_row_fn fn, void *ctx)
{
	struct row_range r = { .tag_n = 1 + strlen(tag) };
	struct buf rkey = BUF_EMPTY;
	enum err e = row_key(tag, prefix, &rkey);

	r.prefix = buf_slice(&rkey);
	if (e == ERR_OK)
		e = row_walk(s, txn, &r, fn, ctx);
	buf_fini(&rkey);
	return e;
}

enum err
store_row_from(struct store *s, struct db_txn *txn, const char *tag,
    struct slice from, store_row_fn fn, void *ctx)
{
	struct row_range r = { .tag_n = 1 + strlen(tag) };
	struct buf rkey = BUF_EMPTY, at = BUF_EMPTY;
	enum err e = row_key(tag, slice_of(NULL, 0), &rkey);

	if (e == ERR_OK)
		e = row_key(tag, from, &at);
	r.prefix = buf_slice(&rkey);
	r.from = buf_slice(&at);
	if (e == ERR_OK)
		e = row_walk(s, txn, &r, fn, ctx);
	buf_fini(&rkey);
	buf_fini(&at);
	return e;
}

enum err
store_row_last(struct db_txn *txn, const char *tag, struct buf *out)
{
	size_t tag_n = 1 + strlen(tag);
	struct buf rkey = BUF_EMPTY;
	struct db_cur *c = NULL;
	struct slice k, v;
	enum err e = row_key(tag, slice_of(NULL, 0), &rkey);

	if (e == ERR_OK)
		e = db_cur_open(txn, DB_ROW, buf_slice(&rkey), &c);
	if (e == ERR_OK)
		e = db_cur_last(c, &k, &v);
	if (e == ERR_OK) {
		buf_put(out, k.p + tag_n, k.n - tag_n);
		e = buf_err(out);
	}
	db_cur_close(c);
	buf_fini(&rkey);
	return e;
}

/* --- compaction --- */

/* Is there another segment up to this number that may hold an earlier put? */
static enum err
segs_before(struct db_txn *t, uint32_t upto, uint32_t without, bool *there)
{
	struct seg_row row;
	uint32_t seg = 0;
	enum err e;

	do {
		e = store_seg_row_from(t, seg + 1, &seg, &row);
	} while (e == ERR_OK && seg == without);
	*there = e == ERR_OK && seg <= upto;
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

/* A deletion is needed while the row is not there again and an earlier record
 * of it may still be on disk. */
static enum err
del_live(struct store *s, struct db_txn *t, struct slice rkey,
    struct slice sealed, const struct store_loc *at, bool *live)
{
	struct buf upto = BUF_MAX(4);
	uint8_t ad[1 + DB_KEY_MAX];
	struct slice v;
	struct rd r;
	enum err e = db_get(t, DB_ROW, rkey, &v);

	*live = false;
	if (e != ERR_NOTFOUND)
		return e;
	row_ad(ROW_DEL, rkey, ad);
	e = cry_box_local_open(
	    &s->row_key, slice_of(ad, 1 + rkey.n), sealed, &upto);
	r = rd_init(buf_slice(&upto));
	if (e == ERR_OK)
		e = segs_before(t, rd_u32(&r), at->seg, live);
	if (e == ERR_OK && rd_end(&r) != ERR_OK)
		e = ERR_CORRUPT;
	buf_fini(&upto);
	return e;
}

/* u8 what, u8 n, n bytes row key, sealed value */
static enum err
body_read(
    struct slice body, uint8_t *what, struct slice *rkey, struct slice *sealed)
{
	struct rd r = rd_init(body);

	*what = rd_u8(&r);
	*rkey = rd_bytes(&r, rd_u8(&r));
	*sealed = rd_rest(&r);
	if (rd_end(&r) != ERR_OK || rkey->n > DB_KEY_MAX ||
	    (*what != ROW_PUT && *what != ROW_DEL))
		return ERR_CORRUPT;
	return ERR_OK;
}

enum err
store_row_rec_live(struct store *s, struct db_txn *t, struct slice body,
    const struct store_loc *at, bool *live)
{
	struct slice rkey, sealed, v;
	struct store_loc loc;
	struct rd r;
	uint8_t what;
	enum err e = body_read(body, &what, &rkey, &sealed);

	*live = false;
	if (e != ERR_OK)
		return e;
	if (what == ROW_DEL)
		return del_live(s, t, rkey, sealed, at, live);
	e = db_get(t, DB_ROW, rkey, &v);
	if (e != ERR_OK)
		return e == ERR_NOTFOUND ? ERR_OK : e;
	r = rd_init(v);
	loc = store_loc_read(&r);
	*live = loc.seg == at->seg && loc.off == at->off;
	return r.err == ERR_OK ? ERR_OK : ERR_CORRUPT;
}

enum err
store_row_rec_move(
    struct store_txn *t, struct slice body, const struct store_loc *to)
{
	struct slice rkey, sealed;
	uint8_t what;
	enum err e = body_read(body, &what, &rkey, &sealed);

	if (e != ERR_OK || what == ROW_DEL)
		return e;
	return row_index(t, rkey, to, sealed);
}

/* Sealed bytes stay what they are when a record is moved. */
static enum err
row_hash(
    struct store *s, struct slice key, struct slice v, struct cry_hasher *h)
{
	struct buf body = BUF_MAX(ROW_BODY_MAX);
	struct rd r = rd_init(v);
	struct store_loc loc = store_loc_read(&r);
	struct slice sealed = rd_rest(&r);
	uint8_t n[2] = { (uint8_t)key.n, 0 };
	enum err e = rd_end(&r) == ERR_OK ? ERR_OK : ERR_CORRUPT;

	if (e == ERR_OK && sealed.n == 0) {
		e = store_rec_get(s, &loc, REC_ROW, &body);
		if (e == ERR_OK && body.n < 2 + key.n)
			e = ERR_CORRUPT;
		if (e == ERR_OK)
			sealed =
			    slice_of(body.p + 2 + key.n, body.n - 2 - key.n);
	}
	if (e == ERR_OK) {
		struct cry_id id;

		cry_hash(sealed, &id);
		cry_hasher_add(h, slice_of(n, sizeof(n)));
		cry_hasher_add(h, key);
		cry_hasher_add(h, slice_of(id.b, sizeof(id.b)));
	}
	buf_fini(&body);
	return e;
}

enum err
store_rows_hash(struct store *s, struct db_txn *txn, struct cry_id *out)
{
	struct cry_hasher h;
	struct db_cur *c;
	struct slice k, v;
	enum err e = db_cur_open(txn, DB_ROW, slice_of(NULL, 0), &c);

	cry_hasher_init(&h);
	while (e == ERR_OK && (e = db_cur_next(c, &k, &v)) == ERR_OK)
		e = row_hash(s, k, v, &h);
	db_cur_close(c);
	if (e != ERR_NOTFOUND)
		return e;
	cry_hasher_end(&h, out);
	return ERR_OK;
}

/* --- repair --- */

static enum err
row_again(struct store_txn *t, struct slice rkey, struct slice sealed,
    const struct store_loc *was)
{
	struct store_loc loc;
	enum err e = row_record(t, ROW_PUT, rkey, sealed, &loc);

	if (e == ERR_OK)
		e = store_rec_dead(t, was);
	return e == ERR_OK ? row_index(t, rkey, &loc, sealed) : e;
}

static enum err
row_repair_one(struct store_txn *t, struct slice rkey, struct slice v)
{
	struct buf sealed = BUF_MAX(ROW_BODY_MAX), plain = sealed;
	struct buf body = BUF_MAX(ROW_BODY_MAX);
	struct rd r = rd_init(v);
	struct store_loc loc = store_loc_read(&r);
	enum err e = store_row_check(t->s, rkey, v);

	if (e == ERR_OK)
		return ERR_EXISTS;
	buf_put_slice(&sealed, rd_rest(&r));
	e = rd_end(&r) != ERR_OK || sealed.n == 0
		? ERR_CORRUPT
		: row_open(t->s, rkey, buf_slice(&sealed), &plain);
	if (e == ERR_OK) /* the record is what is damaged */
		e = row_again(t, rkey, buf_slice(&sealed), &loc);
	else if (store_rec_get(t->s, &loc, REC_ROW, &body) == ERR_OK)
		e = store_row_replay(t, buf_slice(&body), &loc, &loc);
	buf_fini(&sealed);
	buf_wipe(&plain);
	buf_fini(&body);
	return e == ERR_AUTH ? ERR_CORRUPT : e;
}

enum err
store_row_repair(struct store_txn *t, struct slice prefix)
{
	uint8_t key[DB_KEY_MAX];
	struct buf value = BUF_MAX(DB_VALUE_MAX);
	struct db_cur *c = NULL;
	struct slice k, v;
	size_t n = 0;
	enum err e = db_cur_open(t->db, DB_ROW, prefix, &c);

	if (e == ERR_OK)
		e = db_cur_next(c, &k, &v);
	if (e == ERR_OK) {
		memcpy(key, k.p, k.n); /* the repair writes to the table */
		n = k.n;
		buf_put_slice(&value, v);
		e = buf_err(&value);
	}
	db_cur_close(c);
	if (e == ERR_OK)
		e = row_repair_one(t, slice_of(key, n), buf_slice(&value));
	buf_fini(&value);
	return e;
}
