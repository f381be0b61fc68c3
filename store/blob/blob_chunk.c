/* store/blob/blob_chunk.c: chunks in the index: by number, by cid, by what
 * they mean.
 *
 * A chunk has a number from when it is stored or first named by an op, so
 * that what tables above this room say of it lies in order of arrival.  CHUNK
 * is append-ordered; a row with segment 0 is of a chunk that is not here: it
 * was named only, went when nothing referred to it, or is lost.  CIDX finds a
 * number by the first half of a cid, or by all of it where another cid has
 * taken that half (an op may name any 32 bytes).  A chunk's bytes are
 * believed only if they hash to its cid. */
#include "store/blob/blob_internal.h"
#include "store/blob/store_internal.h"

#define CID_KEY 16u
#define ROW_NAMED 1u

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
	uint8_t flags;

	rd_copy(&r, out->cid.b, sizeof(out->cid.b));
	out->loc = store_loc_read(&r);
	out->refs = rd_u32(&r);
	flags = rd_u8(&r);
	out->named = (flags & ROW_NAMED) != 0;
	out->since = r.left > 0 ? rd_u64(&r) : 0;
	return rd_end(&r) == ERR_OK ? ERR_OK : ERR_CORRUPT;
}

static void
row_write(struct buf *b, const struct chunk_row *row)
{
	buf_put(b, row->cid.b, sizeof(row->cid.b));
	store_loc_put(b, &row->loc);
	buf_u32(b, row->refs);
	buf_u8(b, row->named ? ROW_NAMED : 0);
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

/* One row of CIDX. */
static enum err
cidx_get(struct db_txn *txn, const struct cry_id *cid, size_t half,
    uint64_t *no, struct chunk_row *out)
{
	struct slice v;
	enum err e = db_get(txn, DB_CIDX, slice_of(cid->b, half), &v);

	if (e == ERR_OK && v.n != 8)
		e = ERR_CORRUPT;
	if (e != ERR_OK)
		return e;
	*no = dec_be64(v.p);
	e = blob_chunk_row_no(txn, *no, out);
	if (e != ERR_OK)
		return e == ERR_NOTFOUND ? ERR_CORRUPT : e;
	return memcmp(out->cid.b, cid->b, sizeof(cid->b)) == 0 ? ERR_OK
							       : ERR_NOTFOUND;
}

enum err
blob_chunk_row(struct db_txn *txn, const struct cry_id *cid, uint64_t *no,
    struct chunk_row *out)
{
	enum err e = cidx_get(txn, cid, CID_KEY, no, out);

	return e == ERR_NOTFOUND ? cidx_get(txn, cid, sizeof(cid->b), no, out)
				 : e;
}

static enum err
cidx_put(struct db_txn *txn, const struct cry_id *cid, struct slice no)
{
	struct slice half = slice_of(cid->b, CID_KEY), v;
	enum err e = db_get(txn, DB_CIDX, half, &v);

	if (e == ERR_OK) /* of another cid */
		return db_put(
		    txn, DB_CIDX, slice_of(cid->b, sizeof(cid->b)), no);
	return e == ERR_NOTFOUND ? db_put(txn, DB_CIDX, half, no) : e;
}

enum err
blob_cidx_del(struct db_txn *txn, const struct cry_id *cid, uint64_t no)
{
	struct slice half = slice_of(cid->b, CID_KEY), v;
	enum err e = db_get(txn, DB_CIDX, half, &v);

	if (e == ERR_OK && (v.n != 8 || dec_be64(v.p) != no))
		e = ERR_NOTFOUND;
	if (e == ERR_NOTFOUND)
		return db_del(txn, DB_CIDX, slice_of(cid->b, sizeof(cid->b)));
	return e == ERR_OK ? db_del(txn, DB_CIDX, half) : e;
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

/* Gives the next number. */
static enum err
chunk_add(struct db_txn *txn, const struct chunk_row *row, uint64_t *no)
{
	struct buf b = BUF_MAX(64);
	uint8_t key[8];
	enum err e = chunk_next(txn, no);

	if (e != ERR_OK)
		return e;
	enc_be64(*no, key);
	row_write(&b, row);
	e = buf_err(&b);
	if (e == ERR_OK)
		e = cidx_put(txn, &row->cid, slice_of(key, 8));
	if (e == ERR_OK)
		e = db_append(txn, DB_CHUNK, slice_of(key, 8), buf_slice(&b));
	buf_fini(&b);
	return e;
}

static enum err
chunk_index(
    struct store_txn *t, const struct cry_id *cid, const struct store_loc *loc)
{
	struct chunk_row row = { .cid = *cid, .loc = *loc };
	uint64_t no;
	enum err e = chunk_add(store_txn_db(t), &row, &no);

	if (e == ERR_OK)
		store_ref_fresh(t, no);
	return e;
}

/* The chunk of a row without a place has come. */
static enum err
chunk_fill(struct store_txn *t, uint64_t no, struct chunk_row *row,
    const struct store_loc *loc)
{
	enum err e = ERR_OK;

	row->loc = *loc;
	t->absent--;
	if (row->refs == 0 && t->s->owners != NULL)
		e = store_grace_enter(t, no, row); /* until it is referred to */
	if (e == ERR_OK)
		e = blob_chunk_row_put(t->db, no, row);
	if (e == ERR_OK && row->named && t->s->owners != NULL &&
	    t->s->owners->chunk_came != NULL)
		e = t->s->owners->chunk_came(t, no);
	return e;
}

enum err
blob_chunk_name(struct store_txn *t, const struct cry_id *cid, uint32_t c_len,
    uint64_t *no, bool *here)
{
	struct chunk_row row;
	enum err e = blob_chunk_row(t->db, cid, no, &row);

	*here = e == ERR_OK && row.loc.seg != 0;
	if (e == ERR_NOTFOUND) {
		row = (struct chunk_row){
			.cid = *cid, .loc.len = c_len, .named = true
		};
		t->absent++;
		return chunk_add(t->db, &row, no);
	}
	if (e != ERR_OK || row.named)
		return e;
	row.named = true;
	return blob_chunk_row_put(t->db, *no, &row);
}

enum err
blob_chunk_number(struct db_txn *txn, const struct cry_id *cid, uint64_t *no)
{
	struct chunk_row row;

	return blob_chunk_row(txn, cid, no, &row);
}

enum err
blob_chunk_numbered(
    struct db_txn *txn, uint64_t no, struct cry_id *cid, bool *here)
{
	struct chunk_row row;
	enum err e = blob_chunk_row_no(txn, no, &row);

	if (e != ERR_OK)
		return e;
	*cid = row.cid;
	*here = row.loc.seg != 0;
	return ERR_OK;
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
		return chunk_index(t, cid, loc);
	if (e != ERR_OK)
		return e;
	if (row.loc.seg == 0)
		return chunk_fill(t, no, &row, loc);
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
	bool there = e == ERR_OK, absent = there && row.loc.seg == 0;
	bool rotten = false;

	if (there && !absent) {
		e = chunk_rotten(t, cid, &rotten);
		if (e != ERR_OK || !rotten)
			return e;
		e = store_rec_dead(t, &row.loc);
	}
	if (e != ERR_OK && e != ERR_NOTFOUND)
		return e;
	e = store_rec_put(t, REC_CHUNK, cid, ciphertext, &loc);
	if (e != ERR_OK)
		return e;
	if (!there)
		return chunk_index(t, cid, &loc);
	if (absent)
		return chunk_fill(t, no, &row, &loc);
	row.loc = loc;
	return blob_chunk_row_put(txn, no, &row);
}

enum err
blob_chunk_gone(struct store_txn *t, uint64_t no, struct chunk_row *row)
{
	enum err e = ERR_OK;

	if (row->since != 0)
		e = store_grace_leave(t, no, row);
	row->loc = (struct store_loc){ .len = row->loc.len };
	t->absent++;
	return e == ERR_OK ? blob_chunk_row_put(t->db, no, row) : e;
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
	if (row.loc.seg == 0) /* lost already, or nothing here needs it */
		return row.refs > 0 ? ERR_OK : ERR_NOTFOUND;
	e = blob_chunk_get(s, t->db, cid, &c);
	buf_fini(&c);
	if (e != ERR_CORRUPT)
		return e == ERR_OK ? ERR_EXISTS : e;
	e = store_rec_dead(t, &row.loc);
	return e == ERR_OK ? blob_chunk_gone(t, no, &row) : e;
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
