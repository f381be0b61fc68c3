/* store/blob/blob_chunk.c: chunks in the index: by number, by cid, by what
 * they mean.
 *
 * CHUNK is append-ordered and dense; CIDX finds a number by the first half of
 * a cid; PIDX finds the entry for a plaintext hash, keyed and sealed, because
 * it holds the chunk's key.  There is a row for each piece ever stored, so it
 * names the chunk by number and says only what CHUNK does not.  A chunk's
 * bytes are believed only if they hash to its cid. */
#include "store/blob/blob_internal.h"
#include "store/blob/store_internal.h"

#define CID_KEY 16u

/* Padme (Nikitin et al. 2019): the low bits of a length are rounded away, so
 * that it tells an observer only O(log log n) bits. */
uint32_t
blob_padded(uint32_t z_len)
{
	uint32_t e = 0, s = 0, mask, n;

	for (n = z_len; n > 1; n >>= 1)
		e++;
	for (n = e; n > 0; n >>= 1)
		s++;
	if (e <= s)
		return z_len;
	mask = ((uint32_t)1 << (e - s)) - 1;
	return (z_len + mask) & ~mask;
}

/* key: BE u64 number. */
static enum err
chunk_row(struct db_txn *txn, struct slice key, struct cry_id *cid,
    struct store_loc *loc)
{
	struct slice row;
	struct rd r;
	enum err e = db_get(txn, DB_CHUNK, key, &row);

	if (e != ERR_OK)
		return e;
	r = rd_init(row);
	rd_copy(&r, cid->b, sizeof(cid->b));
	*loc = store_loc_read(&r);
	return rd_end(&r) == ERR_OK ? ERR_OK : ERR_CORRUPT;
}

enum err
blob_chunk_find(
    struct db_txn *txn, const struct cry_id *cid, struct store_loc *loc)
{
	struct slice number;
	struct cry_id have;
	enum err e = db_get(txn, DB_CIDX, slice_of(cid->b, CID_KEY), &number);

	if (e != ERR_OK)
		return e;
	e = chunk_row(txn, number, &have, loc);
	if (e != ERR_OK)
		return e == ERR_NOTFOUND ? ERR_CORRUPT : e;
	return memcmp(have.b, cid->b, sizeof(have.b)) == 0 ? ERR_OK
							   : ERR_NOTFOUND;
}

enum err
blob_chunk_have(struct db_txn *txn, const struct cry_id *cid)
{
	struct store_loc loc;

	return blob_chunk_find(txn, cid, &loc);
}

enum err
blob_chunk_get(struct store *s, struct db_txn *txn, const struct cry_id *cid,
    struct buf *out)
{
	struct store_loc loc;
	struct rec_header h;
	struct cry_id is;
	size_t start = out->n;
	enum err e = blob_chunk_find(txn, cid, &loc);

	if (e == ERR_OK)
		e = store_rec_load(s, &loc, &h, out);
	if (e != ERR_OK)
		return e;
	cry_hash(slice_of(out->p + start, out->n - start), &is);
	if (h.kind == REC_CHUNK && memcmp(is.b, cid->b, sizeof(is.b)) == 0)
		return ERR_OK;
	out->n = start;
	return ERR_CORRUPT;
}

/* One more than the last chunk number, as a key. */
static enum err
chunk_next(struct db_txn *txn, struct buf *key)
{
	struct db_cur *c;
	struct slice k, v;
	uint64_t n = 0;
	enum err e = db_cur_open(txn, DB_CHUNK, slice_of(NULL, 0), &c);

	if (e != ERR_OK)
		return e;
	e = db_cur_last(c, &k, &v);
	if (e == ERR_OK) {
		struct rd r = rd_init(k);

		n = rd_be64(&r) + 1;
		e = rd_end(&r);
	} else if (e == ERR_NOTFOUND) {
		e = ERR_OK;
	}
	db_cur_close(c);
	if (e != ERR_OK)
		return e;
	buf_be64(key, n);
	return buf_err(key);
}

static enum err
chunk_index(
    struct db_txn *txn, const struct cry_id *cid, const struct store_loc *loc)
{
	struct buf key = BUF_MAX(8), row = BUF_MAX(64);
	enum err e = chunk_next(txn, &key);

	buf_put(&row, cid->b, sizeof(cid->b));
	store_loc_put(&row, loc);
	if (e == ERR_OK)
		e = buf_err(&row);
	if (e == ERR_OK)
		e = db_append(txn, DB_CHUNK, buf_slice(&key), buf_slice(&row));
	if (e == ERR_OK)
		e = db_put(
		    txn, DB_CIDX, slice_of(cid->b, CID_KEY), buf_slice(&key));
	buf_fini(&key);
	buf_fini(&row);
	return e;
}

/* The first half of the cid is taken by another chunk: nobody meets this by
 * chance, and it must not overwrite what is there. */
static bool
prefix_taken(struct db_txn *txn, const struct cry_id *cid)
{
	struct slice v;

	return db_get(txn, DB_CIDX, slice_of(cid->b, CID_KEY), &v) == ERR_OK;
}

enum err
blob_chunk_store(
    struct store_txn *t, const struct cry_id *cid, struct slice ciphertext)
{
	struct db_txn *txn = store_txn_db(t);
	struct store_loc loc;
	enum err e = blob_chunk_have(txn, cid);

	if (e != ERR_NOTFOUND)
		return e;
	if (prefix_taken(txn, cid))
		return ERR_UNSUPPORTED;
	e = store_rec_put(t, REC_CHUNK, cid, ciphertext, &loc);
	return e == ERR_OK ? chunk_index(txn, cid, &loc) : e;
}

enum err
blob_chunk_put(
    struct store_txn *t, const struct cry_id *cid, struct slice ciphertext)
{
	struct cry_id is;

	if (ciphertext.n <= CRY_TAG_BYTES || ciphertext.n > BLOB_C_MAX)
		return ERR_LIMIT;
	cry_hash(ciphertext, &is);
	if (memcmp(is.b, cid->b, sizeof(is.b)) != 0)
		return ERR_AUTH;
	return blob_chunk_store(t, cid, ciphertext);
}

/* --- plaintext hash -> entry --- */

/* Row: BE u64 chunk number, then sealed: first 8 bytes of the cid (numbers
 * may be used again after a collection), ck, what the entry says of the
 * piece.  cid and ciphertext length come from CHUNK. */
#define PIDX_CID 8u
#define PIDX_PLAIN (PIDX_CID + 32u + 4u * 4u + 1u + 2u)
#define PIDX_ROW_MAX 128u

static struct slice
pidx_key(const struct store *s, const struct cry_id *hp, enum blob_pidx kind,
    uint8_t out[16])
{
	struct slice part = slice_of(hp->b, sizeof(hp->b));
	const char *domain =
	    kind == BLOB_PIDX_PART ? "psc.pidx.2" : "psc.pidx.1";

	cry_hash_parts(&s->pidx_key, domain, &part, 1, out, 16);
	return slice_of(out, 16);
}

static void
pidx_plain_put(struct buf *b, const struct blob_entry *e)
{
	buf_put(b, e->cid.b, PIDX_CID);
	buf_put(b, e->ck.b, sizeof(e->ck.b));
	buf_u32(b, e->z_len);
	buf_u32(b, e->p_len);
	buf_u32(b, e->off);
	buf_u32(b, e->raw_len);
	buf_u8(b, e->codec);
	buf_u16(b, e->row);
}

static enum err
pidx_plain_read(struct slice in, struct blob_entry *e)
{
	struct rd r = rd_init(in);

	rd_copy(&r, e->cid.b, PIDX_CID);
	rd_copy(&r, e->ck.b, sizeof(e->ck.b));
	e->z_len = rd_u32(&r);
	e->p_len = rd_u32(&r);
	e->off = rd_u32(&r);
	e->raw_len = rd_u32(&r);
	e->codec = rd_u8(&r);
	e->row = rd_u16(&r);
	return rd_end(&r);
}

static enum err
pidx_open(struct store *s, struct slice key, struct slice sealed,
    struct blob_entry *out)
{
	struct buf b = BUF_MAX(PIDX_PLAIN);
	enum err e = cry_box_local_open(&s->pent_key, key, sealed, &b);

	if (e == ERR_OK)
		e = pidx_plain_read(buf_slice(&b), out);
	buf_wipe(&b);
	return e == ERR_OK ? ERR_OK : ERR_CORRUPT;
}

/* The chunk a row names, if it still is the one that was meant. */
static enum err
pidx_chunk(struct db_txn *txn, struct slice number, struct blob_entry *e)
{
	struct store_loc loc;
	struct cry_id cid;
	enum err err = chunk_row(txn, number, &cid, &loc);

	if (err != ERR_OK)
		return err;
	if (memcmp(cid.b, e->cid.b, PIDX_CID) != 0)
		return ERR_NOTFOUND;
	e->cid = cid;
	e->c_len = loc.len;
	return blob_entry_check(e) == ERR_OK ? ERR_OK : ERR_CORRUPT;
}

enum err
blob_pidx_get(struct store *s, struct db_txn *txn, const struct cry_id *hp,
    enum blob_pidx kind, struct blob_entry *out)
{
	struct blob_entry entry = { .hp = *hp };
	uint8_t raw[16];
	struct slice key = pidx_key(s, hp, kind, raw), v, number;
	struct rd r;
	enum err e = db_get(txn, DB_PIDX, key, &v);

	if (e != ERR_OK)
		return e;
	r = rd_init(v);
	number = rd_bytes(&r, 8);
	e = pidx_open(s, key, rd_rest(&r), &entry);
	if (e == ERR_OK)
		e = pidx_chunk(txn, number, &entry);
	if (e == ERR_OK)
		*out = entry;
	cry_wipe(&entry, sizeof(entry));
	return e;
}

static enum err
pidx_put(struct store_txn *t, const struct blob_entry *e, enum blob_pidx kind)
{
	struct store *s = store_txn_store(t);
	struct buf plain = BUF_MAX(PIDX_PLAIN), row = BUF_MAX(PIDX_ROW_MAX);
	uint8_t raw[16];
	struct slice key = pidx_key(s, &e->hp, kind, raw), number;
	enum err err;

	err = db_get(
	    store_txn_db(t), DB_CIDX, slice_of(e->cid.b, CID_KEY), &number);
	if (err != ERR_OK)
		return err;
	buf_put_slice(&row, number);
	pidx_plain_put(&plain, e);
	err = buf_err(&plain);
	if (err == ERR_OK) {
		cry_box_local_seal(&s->pent_key, key, buf_slice(&plain), &row);
		err = buf_err(&row);
	}
	if (err == ERR_OK)
		err = db_put(store_txn_db(t), DB_PIDX, key, buf_slice(&row));
	buf_wipe(&plain);
	buf_fini(&row);
	return err;
}

enum err
blob_entry_learn(struct store_txn *t, const struct blob_entry *e)
{
	enum blob_pidx kind =
	    blob_entry_is_part(e) ? BLOB_PIDX_PART : BLOB_PIDX_WHOLE;
	struct blob_entry have;
	enum err err = blob_entry_check(e);

	if (err == ERR_OK)
		err = blob_chunk_have(store_txn_db(t), &e->cid);
	if (err != ERR_OK)
		return err;
	err = blob_pidx_get(
	    store_txn_store(t), store_txn_db(t), &e->hp, kind, &have);
	if (err == ERR_OK)
		return ERR_OK; /* ours is as good */
	return pidx_put(t, e, kind);
}
