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

/* --- rows of CHUNK --- */

enum err
blob_chunk_row_read(struct slice v, struct chunk_row *out)
{
	struct rd r = rd_init(v);

	rd_copy(&r, out->cid.b, sizeof(out->cid.b));
	out->loc = store_loc_read(&r);
	out->refs = rd_u32(&r);
	out->since = r.left > 0 ? rd_u64(&r) : 0;
	return rd_end(&r) == ERR_OK ? ERR_OK : ERR_CORRUPT;
}

static void
row_write(struct buf *b, const struct chunk_row *row)
{
	buf_put(b, row->cid.b, sizeof(row->cid.b));
	store_loc_put(b, &row->loc);
	buf_u32(b, row->refs);
	if (row->since != 0)
		buf_u64(b, row->since);
}

enum err
blob_chunk_row_put(struct db_txn *txn, uint64_t no, const struct chunk_row *row)
{
	struct buf b = BUF_MAX(64);
	uint8_t key[8];
	enum err e;

	enc_be64(no, key);
	row_write(&b, row);
	e = buf_err(&b);
	if (e == ERR_OK)
		e = db_put(txn, DB_CHUNK, slice_of(key, 8), buf_slice(&b));
	buf_fini(&b);
	return e;
}

enum err
blob_chunk_row_no(struct db_txn *txn, uint64_t no, struct chunk_row *out)
{
	struct slice v;
	uint8_t key[8];
	enum err e;

	enc_be64(no, key);
	e = db_get(txn, DB_CHUNK, slice_of(key, 8), &v);
	return e == ERR_OK ? blob_chunk_row_read(v, out) : e;
}

enum err
blob_chunk_no(struct db_txn *txn, const uint8_t cid16[16], uint64_t *no)
{
	struct slice v;
	enum err e = db_get(txn, DB_CIDX, slice_of(cid16, CID_KEY), &v);

	if (e == ERR_OK && v.n != 8)
		e = ERR_CORRUPT;
	if (e == ERR_OK)
		*no = dec_be64(v.p);
	return e;
}

enum err
blob_chunk_row(struct db_txn *txn, const struct cry_id *cid, uint64_t *no,
    struct chunk_row *out)
{
	enum err e = blob_chunk_no(txn, cid->b, no);

	if (e != ERR_OK)
		return e;
	e = blob_chunk_row_no(txn, *no, out);
	if (e != ERR_OK)
		return e == ERR_NOTFOUND ? ERR_CORRUPT : e;
	return memcmp(out->cid.b, cid->b, sizeof(cid->b)) == 0 ? ERR_OK
							       : ERR_NOTFOUND;
}

enum err
blob_chunk_find(
    struct db_txn *txn, const struct cry_id *cid, struct store_loc *loc)
{
	struct chunk_row row;
	uint64_t no;
	enum err e = blob_chunk_row(txn, cid, &no, &row);

	if (e == ERR_OK && row.loc.seg == 0)
		e = ERR_NOTFOUND; /* lost, and wanted (blob_chunk_lose) */
	if (e == ERR_OK)
		*loc = row.loc;
	return e;
}

enum err
blob_chunk_have(struct db_txn *txn, const struct cry_id *cid)
{
	struct store_loc loc;

	return blob_chunk_find(txn, cid, &loc);
}

enum err
blob_chunk_load(struct store *s, struct db_txn *txn, const struct cry_id *cid,
    struct buf *out)
{
	struct store_loc loc;
	struct rec_header h;
	size_t start = out->n;
	enum err e = blob_chunk_find(txn, cid, &loc);

	if (e != ERR_OK)
		return e;
	e = store_rec_load(s, &loc, &h, out);
	if (e == ERR_OK && h.kind != REC_CHUNK) {
		out->n = start;
		e = ERR_CORRUPT;
	}
	if (e == ERR_CORRUPT)
		blob_suspect_note(s, cid);
	return e;
}

enum err
blob_chunk_get(struct store *s, struct db_txn *txn, const struct cry_id *cid,
    struct buf *out)
{
	struct cry_id is;
	size_t start = out->n;
	enum err e = blob_chunk_load(s, txn, cid, out);

	if (e != ERR_OK)
		return e;
	cry_hash(slice_of(out->p + start, out->n - start), &is);
	if (memcmp(is.b, cid->b, sizeof(is.b)) == 0)
		return ERR_OK;
	out->n = start;
	blob_suspect_note(s, cid);
	return ERR_CORRUPT;
}

/* One more than the last chunk number. */
static enum err
chunk_next(struct db_txn *txn, uint64_t *no)
{
	struct db_cur *c;
	struct slice k, v;
	enum err e = db_cur_open(txn, DB_CHUNK, slice_of(NULL, 0), &c);

	if (e != ERR_OK)
		return e;
	*no = 0;
	e = db_cur_last(c, &k, &v);
	if (e == ERR_OK && k.n != 8)
		e = ERR_CORRUPT;
	if (e == ERR_OK)
		*no = dec_be64(k.p) + 1;
	db_cur_close(c);
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

static enum err
chunk_index(
    struct store_txn *t, const struct cry_id *cid, const struct store_loc *loc)
{
	struct chunk_row row = { .cid = *cid, .loc = *loc };
	struct db_txn *txn = store_txn_db(t);
	struct buf b = BUF_MAX(64);
	uint8_t key[8];
	uint64_t no;
	enum err e = chunk_next(txn, &no);

	if (e != ERR_OK)
		return e;
	enc_be64(no, key);
	row_write(&b, &row);
	e = buf_err(&b);
	if (e == ERR_OK)
		e = db_append(txn, DB_CHUNK, slice_of(key, 8), buf_slice(&b));
	if (e == ERR_OK)
		e = db_put(
		    txn, DB_CIDX, slice_of(cid->b, CID_KEY), slice_of(key, 8));
	if (e == ERR_OK)
		store_ref_fresh(t, no);
	buf_fini(&b);
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
blob_chunk_place(struct store_txn *t, const struct cry_id *cid,
    const struct store_loc *loc, struct store_loc *was)
{
	struct chunk_row row;
	uint64_t no;
	enum err e = blob_chunk_row(t->db, cid, &no, &row);

	*was = (struct store_loc){ 0 };
	if (e == ERR_NOTFOUND)
		return prefix_taken(t->db, cid) ? ERR_UNSUPPORTED
						: chunk_index(t, cid, loc);
	if (e != ERR_OK)
		return e;
	*was = row.loc;
	row.loc = *loc;
	return blob_chunk_row_put(t->db, no, &row);
}

/* Found damaged before, and it still is. */
static enum err
chunk_rotten(struct store_txn *t, const struct cry_id *cid, bool *yes)
{
	struct buf c = BUF_MAX(STORE_BODY_MAX);
	enum err e;

	*yes = false;
	if (!blob_suspect(t->s, cid))
		return ERR_OK;
	e = blob_chunk_get(t->s, t->db, cid, &c);
	buf_fini(&c);
	*yes = e == ERR_CORRUPT;
	return e == ERR_CORRUPT ? ERR_OK : e;
}

enum err
blob_chunk_store(
    struct store_txn *t, const struct cry_id *cid, struct slice ciphertext)
{
	struct db_txn *txn = store_txn_db(t);
	struct store_loc loc;
	struct chunk_row row;
	uint64_t no;
	enum err e = blob_chunk_row(txn, cid, &no, &row);
	bool lost = e == ERR_OK && row.loc.seg == 0;

	if (e == ERR_OK && !lost) {
		e = chunk_rotten(t, cid, &lost);
		if (e == ERR_OK && lost)
			e = store_rec_dead(t, &row.loc);
	}
	if (e != ERR_NOTFOUND && (e != ERR_OK || !lost))
		return e;
	if (!lost && prefix_taken(txn, cid))
		return ERR_UNSUPPORTED;
	e = store_rec_put(t, REC_CHUNK, cid, ciphertext, &loc);
	if (e != ERR_OK || !lost)
		return e == ERR_OK ? chunk_index(t, cid, &loc) : e;
	row.loc = loc;
	return blob_chunk_row_put(txn, no, &row);
}

enum err
blob_chunk_lose(struct store_txn *t, const struct cry_id *cid, uint32_t *c_len)
{
	struct store *s = store_txn_store(t);
	struct buf c = BUF_MAX(STORE_BODY_MAX);
	struct chunk_row row;
	uint64_t no;
	enum err e = blob_chunk_row(t->db, cid, &no, &row);

	if (e != ERR_OK)
		return e;
	*c_len = row.loc.len;
	if (row.loc.seg == 0)
		return ERR_OK; /* lost already */
	e = blob_chunk_get(s, t->db, cid, &c);
	buf_fini(&c);
	if (e != ERR_CORRUPT)
		return e == ERR_OK ? ERR_EXISTS : e;
	e = store_rec_dead(t, &row.loc);
	row.loc = (struct store_loc){ .len = row.loc.len };
	return e == ERR_OK ? blob_chunk_row_put(t->db, no, &row) : e;
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

/* Every row begins with BE u64 chunk number.  Of a piece, found by its hash,
 * and of a bundle, found by its cid: then sealed, first 8 bytes of the cid
 * (numbers may be used again after a collection), ck, and what the entry says
 * of the piece.  Of a part of a bundle: first 8 bytes of the cid, off,
 * raw_len; there are many of them, so the rest stands once, with the bundle.
 * cid and ciphertext length come from CHUNK. */
#define PIDX_CID 8u
#define PIDX_PLAIN (PIDX_CID + 32u + 2u * 4u + 1u + 2u)
#define PIDX_ROW_MAX 128u

/* id: a plaintext hash, or the cid of a bundle. */
static struct slice
pidx_key(const struct store *s, const struct cry_id *id, enum blob_pidx kind,
    uint8_t out[16])
{
	static const char *const domain[] = { [BLOB_PIDX_WHOLE] = "psc.pidx.1",
		[BLOB_PIDX_PART] = "psc.pidx.2",
		[BLOB_PIDX_BUNDLE] = "psc.pidx.3" };
	struct slice part = slice_of(id->b, sizeof(id->b));

	cry_hash_parts(&s->pidx_key, domain[kind], &part, 1, out, 16);
	return slice_of(out, 16);
}

/* The chunk a row names, if it still is the one that was meant.  One that
 * nothing refers to may go before who asks can refer to it: it is made anew,
 * and found to be here when it is put. */
static enum err
pidx_chunk(struct store *s, struct db_txn *txn, uint64_t no,
    const uint8_t cid[PIDX_CID], struct blob_entry *e)
{
	struct chunk_row row;
	enum err err = blob_chunk_row_no(txn, no, &row);

	if (err != ERR_OK)
		return err;
	if (memcmp(row.cid.b, cid, PIDX_CID) != 0 ||
	    (row.refs == 0 && s->owners != NULL) || row.loc.seg == 0 ||
	    blob_suspect(s, &row.cid))
		return ERR_NOTFOUND;
	e->cid = row.cid;
	e->c_len = row.loc.len;
	return ERR_OK;
}

static void
pidx_plain_put(struct buf *b, const struct blob_entry *e)
{
	buf_put(b, e->cid.b, PIDX_CID);
	buf_put(b, e->ck.b, sizeof(e->ck.b));
	buf_u32(b, e->z_len);
	buf_u32(b, e->p_len);
	buf_u8(b, e->codec);
	buf_u16(b, e->row);
}

static enum err
pidx_plain_read(struct slice in, uint8_t cid[PIDX_CID], struct blob_entry *e)
{
	struct rd r = rd_init(in);

	rd_copy(&r, cid, PIDX_CID);
	rd_copy(&r, e->ck.b, sizeof(e->ck.b));
	e->z_len = rd_u32(&r);
	e->p_len = e->raw_len = rd_u32(&r);
	e->codec = rd_u8(&r);
	e->row = rd_u16(&r);
	return rd_end(&r);
}

/* The entry of a whole piece, without its hash. */
static enum err
pidx_sealed_get(
    struct store *s, struct db_txn *txn, struct slice key, struct blob_entry *e)
{
	struct buf b = BUF_MAX(PIDX_PLAIN);
	uint8_t cid[PIDX_CID];
	struct slice v;
	struct rd r;
	uint64_t no;
	enum err err = db_get(txn, DB_PIDX, key, &v);

	if (err != ERR_OK)
		return err;
	r = rd_init(v);
	no = rd_be64(&r);
	if (cry_box_local_open(&s->pent_key, key, rd_rest(&r), &b) != ERR_OK ||
	    pidx_plain_read(buf_slice(&b), cid, e) != ERR_OK)
		err = ERR_CORRUPT;
	if (err == ERR_OK)
		err = pidx_chunk(s, txn, no, cid, e);
	buf_wipe(&b);
	return err;
}

static enum err
pidx_part_get(
    struct store *s, struct db_txn *txn, struct slice key, struct blob_entry *e)
{
	uint8_t cid[PIDX_CID], raw[16];
	uint32_t off, raw_len;
	struct slice v;
	struct rd r;
	uint64_t no;
	enum err err = db_get(txn, DB_PIDX, key, &v);

	if (err != ERR_OK)
		return err;
	r = rd_init(v);
	no = rd_be64(&r);
	rd_copy(&r, cid, sizeof(cid));
	off = rd_u32(&r);
	raw_len = rd_u32(&r);
	if (rd_end(&r) != ERR_OK)
		return ERR_CORRUPT;
	if ((err = pidx_chunk(s, txn, no, cid, e)) != ERR_OK)
		return err;
	key = pidx_key(s, &e->cid, BLOB_PIDX_BUNDLE, raw);
	err = pidx_sealed_get(s, txn, key, e);
	e->off = off;
	e->raw_len = raw_len;
	return err;
}

enum err
blob_pidx_get(struct store *s, struct db_txn *txn, const struct cry_id *id,
    enum blob_pidx kind, struct blob_entry *out)
{
	struct blob_entry entry = { .hp = *id };
	uint8_t raw[16];
	struct slice key = pidx_key(s, id, kind, raw);
	enum err e = kind == BLOB_PIDX_PART
			 ? pidx_part_get(s, txn, key, &entry)
			 : pidx_sealed_get(s, txn, key, &entry);

	if (e == ERR_OK && blob_entry_check(&entry) != ERR_OK)
		e = ERR_CORRUPT;
	if (e == ERR_OK)
		*out = entry;
	cry_wipe(&entry, sizeof(entry));
	return e;
}

static enum err
pidx_put(struct store_txn *t, const struct cry_id *id, enum blob_pidx kind,
    const struct blob_entry *e)
{
	struct store *s = store_txn_store(t);
	struct buf plain = BUF_MAX(PIDX_PLAIN), row = BUF_MAX(PIDX_ROW_MAX);
	uint8_t raw[16];
	struct slice key = pidx_key(s, id, kind, raw), number;
	enum err err;

	err = db_get(
	    store_txn_db(t), DB_CIDX, slice_of(e->cid.b, CID_KEY), &number);
	if (err != ERR_OK)
		return err;
	buf_put_slice(&row, number);
	if (kind == BLOB_PIDX_PART) {
		buf_put(&row, e->cid.b, PIDX_CID);
		buf_u32(&row, e->off);
		buf_u32(&row, e->raw_len);
	} else {
		pidx_plain_put(&plain, e);
		cry_box_local_seal(&s->pent_key, key, buf_slice(&plain), &row);
	}
	err = buf_err(&plain);
	if (err == ERR_OK)
		err = buf_err(&row);
	if (err == ERR_OK)
		err = db_put(store_txn_db(t), DB_PIDX, key, buf_slice(&row));
	buf_wipe(&plain);
	buf_fini(&row);
	return err;
}

static enum err
pidx_learn(struct store_txn *t, const struct cry_id *id, enum blob_pidx kind,
    const struct blob_entry *e)
{
	struct blob_entry have;
	enum err err =
	    blob_pidx_get(store_txn_store(t), store_txn_db(t), id, kind, &have);

	cry_wipe(&have, sizeof(have));
	return err == ERR_OK ? ERR_OK /* ours is as good */
			     : pidx_put(t, id, kind, e);
}

enum err
blob_entry_learn(struct store_txn *t, const struct blob_entry *e)
{
	enum err err = blob_entry_check(e);

	if (err == ERR_OK)
		err = blob_chunk_have(store_txn_db(t), &e->cid);
	if (err != ERR_OK)
		return err;
	if (!blob_entry_is_part(e))
		return pidx_learn(t, &e->hp, BLOB_PIDX_WHOLE, e);
	err = pidx_learn(t, &e->cid, BLOB_PIDX_BUNDLE, e);
	return err == ERR_OK ? pidx_learn(t, &e->hp, BLOB_PIDX_PART, e) : err;
}
