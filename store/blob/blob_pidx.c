/* store/blob/blob_pidx.c: from what bytes are to where they lie.
 *
 * PIDX finds the entry for a plaintext hash, keyed and sealed, because it
 * holds the chunk's key.  There is a row for each piece ever stored, so it
 * names the chunk by number and says only what CHUNK does not. */
#include "store/blob/blob_internal.h"
#include "store/blob/store_internal.h"

/* Every row begins with BE u64 chunk number.  Of a piece, found by its hash,
 * and of a bundle, found by its cid: then sealed, first 8 bytes of the cid
 * (numbers may be used again after a collection), ck, what the entry says of
 * the piece, the cids of its bases, and, of pixels, where the headers lie that
 * stand before them.  Of a part of a bundle: first 8 bytes of the cid, off,
 * raw_len; there are many of them, so the rest stands once, with the bundle.
 * cid and ciphertext length come from CHUNK. */
#define PIDX_CID 8u
#define PIDX_PLAIN 256u
#define PIDX_ROW_MAX (PIDX_PLAIN + 64u)

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

/* --- what a row says --- */

static void
place_put(struct buf *b, const struct blob_place *p, uint8_t form)
{
	buf_u8(b, form);
	buf_u64(b, p->no);
	buf_put(b, p->cid, sizeof(p->cid));
	buf_u32(b, p->off);
	buf_u32(b, p->raw_len);
}

static void
more_put(struct buf *b, const struct blob_found *f)
{
	uint8_t i, n = 0;

	for (i = 0; i < BLOB_FORMS; i++)
		n = (uint8_t)(n + (f->header[i].raw_len > 0));
	if (f->n_bases + n == 0)
		return;
	buf_u8(b, (uint8_t)f->n_bases);
	for (i = 0; i < f->n_bases; i++)
		buf_put(b, f->base[i].cid.b, sizeof(f->base[i].cid.b));
	buf_u8(b, n);
	for (i = 0; i < BLOB_FORMS; i++) {
		if (f->header[i].raw_len > 0)
			place_put(b, &f->header[i], i);
	}
}

static void
plain_put(struct buf *b, const struct blob_found *f)
{
	buf_put(b, f->e.cid.b, PIDX_CID);
	buf_put(b, f->e.ck.b, sizeof(f->e.ck.b));
	buf_u32(b, f->e.z_len);
	buf_u32(b, f->e.p_len);
	buf_u8(b, f->e.codec);
	buf_u16(b, f->e.row);
	more_put(b, f);
}

static void
place_read(struct rd *r, struct blob_found *f)
{
	struct blob_place p;
	uint8_t form = rd_u8(r);

	p.no = rd_u64(r);
	rd_copy(r, p.cid, sizeof(p.cid));
	p.off = rd_u32(r);
	p.raw_len = rd_u32(r);
	if (form < BLOB_FORMS)
		f->header[form] = p;
	else
		rd_fail(r, ERR_MALFORMED);
}

static void
more_read(struct rd *r, struct blob_found *f)
{
	uint32_t i, n;

	f->n_bases = rd_u8(r);
	if (f->n_bases > BLOB_BASES_MAX) {
		f->n_bases = 0;
		rd_fail(r, ERR_MALFORMED);
	}
	for (i = 0; i < f->n_bases; i++)
		rd_copy(r, f->base[i].cid.b, sizeof(f->base[i].cid.b));
	n = rd_u8(r);
	for (i = 0; i < n && r->err == ERR_OK; i++)
		place_read(r, f);
}

static enum err
plain_read(struct slice in, uint8_t cid[PIDX_CID], struct blob_found *f)
{
	struct rd r = rd_init(in);

	rd_copy(&r, cid, PIDX_CID);
	rd_copy(&r, f->e.ck.b, sizeof(f->e.ck.b));
	f->e.z_len = rd_u32(&r);
	f->e.p_len = f->e.raw_len = rd_u32(&r);
	f->e.codec = rd_u8(&r);
	f->e.row = rd_u16(&r);
	if (r.left > 0)
		more_read(&r, f);
	return rd_end(&r);
}

/* --- finding --- */

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

/* What is said of a whole piece, without its hash; of bases, their cids. */
static enum err
sealed_get(
    struct store *s, struct db_txn *txn, struct slice key, struct blob_found *f)
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
	    plain_read(buf_slice(&b), cid, f) != ERR_OK)
		err = ERR_CORRUPT;
	if (err == ERR_OK)
		err = pidx_chunk(s, txn, no, cid, &f->e);
	buf_wipe(&b);
	return err;
}

/* A bundle, by its cid. */
static enum err
bundle_get(struct store *s, struct db_txn *txn, const struct cry_id *cid,
    struct blob_found *f)
{
	uint8_t raw[16];

	return sealed_get(s, txn, pidx_key(s, cid, BLOB_PIDX_BUNDLE, raw), f);
}

/* The bases of f, of which only the cids are known. */
static enum err
bases_get(struct store *s, struct db_txn *txn, struct blob_found *f)
{
	struct blob_found one;
	uint32_t i;
	enum err err = ERR_OK;

	for (i = 0; i < f->n_bases && err == ERR_OK; i++) {
		one = (struct blob_found){ 0 };
		err = bundle_get(s, txn, &f->base[i].cid, &one);
		one.e.raw_len = 0;
		if (err == ERR_OK && blob_entry_check(&one.e) != ERR_OK)
			err = ERR_CORRUPT;
		if (err == ERR_OK &&
		    memcmp(&one.e.cid, &f->base[i].cid, 32) != 0)
			err = ERR_CORRUPT;
		f->base[i] = one.e;
	}
	cry_wipe(&one, sizeof(one));
	return err;
}

static enum err
place_get(struct store *s, struct db_txn *txn, const struct blob_place *p,
    struct blob_found *f)
{
	enum err err = pidx_chunk(s, txn, p->no, p->cid, &f->e);

	if (err == ERR_OK)
		err = bundle_get(s, txn, &f->e.cid, f);
	f->e.off = p->off;
	f->e.raw_len = p->raw_len;
	if (err == ERR_OK &&
	    (p->raw_len == 0 || blob_entry_check(&f->e) != ERR_OK))
		err = ERR_CORRUPT;
	return err;
}

static enum err
part_get(
    struct store *s, struct db_txn *txn, struct slice key, struct blob_found *f)
{
	struct blob_place p;
	struct slice v;
	struct rd r;
	enum err err = db_get(txn, DB_PIDX, key, &v);

	if (err != ERR_OK)
		return err;
	r = rd_init(v);
	p.no = rd_be64(&r);
	rd_copy(&r, p.cid, sizeof(p.cid));
	p.off = rd_u32(&r);
	p.raw_len = rd_u32(&r);
	if (rd_end(&r) != ERR_OK)
		return ERR_CORRUPT;
	err = place_get(s, txn, &p, f);
	if (err == ERR_OK && (f->e.codec == BLOB_DELTA) != (f->n_bases > 0))
		err = ERR_CORRUPT; /* whoever names it must name them */
	return err == ERR_OK ? bases_get(s, txn, f) : err;
}

enum err
blob_pidx_find(struct store *s, struct db_txn *txn, const struct cry_id *id,
    enum blob_pidx kind, struct blob_found *out)
{
	struct blob_found f = { .e.hp = *id };
	uint8_t raw[16];
	struct slice key = pidx_key(s, id, kind, raw);
	enum err e = kind == BLOB_PIDX_PART ? part_get(s, txn, key, &f)
					    : sealed_get(s, txn, key, &f);

	if (e == ERR_OK && blob_entry_check(&f.e) != ERR_OK)
		e = ERR_CORRUPT;
	if (e == ERR_OK)
		*out = f;
	cry_wipe(&f, sizeof(f));
	return e;
}

enum err
blob_pidx_get(struct store *s, struct db_txn *txn, const struct cry_id *id,
    enum blob_pidx kind, struct blob_entry *out)
{
	struct blob_found f;
	enum err e = blob_pidx_find(s, txn, id, kind, &f);

	if (e == ERR_OK)
		*out = f.e;
	cry_wipe(&f, sizeof(f));
	return e;
}

enum err
blob_pidx_place(struct store *s, struct db_txn *txn,
    const struct blob_place *at, struct blob_entry *out)
{
	struct blob_found f = { 0 };
	enum err e = place_get(s, txn, at, &f);

	if (e == ERR_OK && f.e.codec == BLOB_DELTA)
		e = ERR_NOTFOUND;
	if (e == ERR_OK)
		*out = f.e;
	cry_wipe(&f, sizeof(f));
	return e;
}

enum err
blob_place_of(
    struct db_txn *txn, const struct blob_entry *e, struct blob_place *out)
{
	enum err err = blob_chunk_number(txn, &e->cid, &out->no);

	memcpy(out->cid, e->cid.b, sizeof(out->cid));
	out->off = e->off;
	out->raw_len = err == ERR_OK && e->codec != BLOB_DELTA ? e->raw_len : 0;
	return err;
}

/* --- learning --- */

static enum err
pidx_put(struct store_txn *t, const struct cry_id *id, enum blob_pidx kind,
    const struct blob_found *f)
{
	struct store *s = store_txn_store(t);
	struct buf plain = BUF_MAX(PIDX_PLAIN), row = BUF_MAX(PIDX_ROW_MAX);
	uint8_t raw[16];
	struct slice key = pidx_key(s, id, kind, raw);
	uint64_t no;
	enum err err = blob_chunk_number(store_txn_db(t), &f->e.cid, &no);

	if (err != ERR_OK)
		return err;
	buf_be64(&row, no);
	if (kind == BLOB_PIDX_PART) {
		buf_put(&row, f->e.cid.b, PIDX_CID);
		buf_u32(&row, f->e.off);
		buf_u32(&row, f->e.raw_len);
	} else {
		plain_put(&plain, f);
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
    const struct blob_found *f)
{
	struct blob_entry have;
	enum err err =
	    blob_pidx_get(store_txn_store(t), store_txn_db(t), id, kind, &have);

	cry_wipe(&have, sizeof(have));
	return err == ERR_OK ? ERR_OK /* ours is as good */
			     : pidx_put(t, id, kind, f);
}

enum err
blob_found_learn(struct store_txn *t, const struct blob_found *f, bool again)
{
	const struct blob_entry *e = &f->e;
	enum err err = blob_entry_check(e);

	if (err == ERR_OK)
		err = blob_chunk_have(store_txn_db(t), &e->cid);
	if (err != ERR_OK)
		return err;
	if (blob_entry_is_base(e))
		return pidx_learn(t, &e->cid, BLOB_PIDX_BUNDLE, f);
	if (!blob_entry_is_part(e))
		return again ? pidx_put(t, &e->hp, BLOB_PIDX_WHOLE, f)
			     : pidx_learn(t, &e->hp, BLOB_PIDX_WHOLE, f);
	err = pidx_learn(t, &e->cid, BLOB_PIDX_BUNDLE, f);
	return err == ERR_OK ? pidx_learn(t, &e->hp, BLOB_PIDX_PART, f) : err;
}

enum err
blob_entry_learn(struct store_txn *t, const struct blob_entry *e)
{
	struct blob_found f = { .e = *e };
	enum err err = blob_found_learn(t, &f, false);

	cry_wipe(&f, sizeof(f));
	return err;
}
