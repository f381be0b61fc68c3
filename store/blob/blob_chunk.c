/* store/blob/blob_chunk.c: chunks in the index: by number, by cid, by what
 * they mean.
 *
 * CHUNK is append-ordered and dense; CIDX finds a number by the first half of
 * a cid; PIDX finds the entry for a plaintext hash, keyed and sealed, because
 * it holds the chunk's key.  A chunk's bytes are believed only if they hash
 * to its cid. */
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

enum err
blob_chunk_find(
    struct db_txn *txn, const struct cry_id *cid, struct store_loc *loc)
{
	struct slice number, row;
	struct cry_id have;
	struct rd r;
	enum err e = db_get(txn, DB_CIDX, slice_of(cid->b, CID_KEY), &number);

	if (e != ERR_OK)
		return e;
	e = db_get(txn, DB_CHUNK, number, &row);
	if (e != ERR_OK)
		return e == ERR_NOTFOUND ? ERR_CORRUPT : e;
	r = rd_init(row);
	rd_copy(&r, have.b, sizeof(have.b));
	*loc = store_loc_read(&r);
	if (rd_end(&r) != ERR_OK)
		return ERR_CORRUPT;
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

static struct slice
pidx_key(const struct store *s, const struct cry_id *hp, uint8_t out[16])
{
	struct slice part = slice_of(hp->b, sizeof(hp->b));

	cry_hash_parts(&s->pidx_key, "psc.pidx.1", &part, 1, out, 16);
	return slice_of(out, 16);
}

static enum err
pidx_open(struct store *s, struct slice key, struct slice sealed,
    struct blob_entry *out)
{
	struct buf b = BUF_MAX(BLOB_ENTRY_BYTES);
	struct rd r;
	enum err e = cry_box_local_open(&s->pent_key, key, sealed, &b);

	if (e == ERR_OK) {
		r = rd_init(buf_slice(&b));
		*out = blob_entry_read(&r);
		e = rd_end(&r);
	}
	buf_wipe(&b);
	return e == ERR_OK ? blob_entry_check(out) : ERR_CORRUPT;
}

enum err
blob_pidx_get(struct store *s, struct db_txn *txn, const struct cry_id *hp,
    struct blob_entry *out)
{
	uint8_t raw[16];
	struct slice key = pidx_key(s, hp, raw), v;
	enum err e = db_get(txn, DB_PIDX, key, &v);

	if (e == ERR_OK)
		e = pidx_open(s, key, v, out);
	if (e != ERR_OK)
		return e;
	if (memcmp(out->hp.b, hp->b, sizeof(hp->b)) != 0)
		return ERR_CORRUPT;
	return blob_chunk_have(txn, &out->cid);
}

enum err
blob_pidx_put(struct store_txn *t, const struct blob_entry *e)
{
	struct store *s = store_txn_store(t);
	struct buf plain = BUF_MAX(BLOB_ENTRY_BYTES), sealed = BUF_MAX(256);
	uint8_t raw[16];
	struct slice key = pidx_key(s, &e->hp, raw);
	enum err err;

	blob_entry_put(&plain, e);
	err = buf_err(&plain);
	if (err == ERR_OK) {
		cry_box_local_seal(
		    &s->pent_key, key, buf_slice(&plain), &sealed);
		err = buf_err(&sealed);
	}
	if (err == ERR_OK)
		err = db_put(store_txn_db(t), DB_PIDX, key, buf_slice(&sealed));
	buf_wipe(&plain);
	buf_fini(&sealed);
	return err;
}

enum err
blob_entry_learn(struct store_txn *t, const struct blob_entry *e)
{
	struct blob_entry have;
	enum err err = blob_entry_check(e);

	if (err != ERR_OK)
		return err;
	err = blob_pidx_get(store_txn_store(t), store_txn_db(t), &e->hp, &have);
	if (err == ERR_OK)
		return ERR_OK; /* ours is as good */
	return blob_pidx_put(t, e);
}
