/* store/blob/blob_manifest.c: the list of entries that joins to one file.
 *
 * 16-byte header, then 120 bytes an entry, little-endian.  A manifest comes
 * out of an op another site wrote: every length is bounded and has to agree
 * with the others before an entry is believed. */
#include "store/blob/blob_internal.h"

#define MANIFEST_VERSION 1u

void
blob_entry_put(struct buf *b, const struct blob_entry *e)
{
	buf_put(b, e->cid.b, sizeof(e->cid.b));
	buf_put(b, e->ck.b, sizeof(e->ck.b));
	buf_put(b, e->hp.b, sizeof(e->hp.b));
	buf_u32(b, e->z_len);
	buf_u32(b, e->p_len);
	buf_u32(b, e->c_len);
	buf_u32(b, e->off);
	buf_u32(b, e->raw_len);
	buf_u8(b, e->codec);
	buf_u8(b, 0);
	buf_u16(b, e->row);
}

struct blob_entry
blob_entry_read(struct rd *r)
{
	struct blob_entry e;

	rd_copy(r, e.cid.b, sizeof(e.cid.b));
	rd_copy(r, e.ck.b, sizeof(e.ck.b));
	rd_copy(r, e.hp.b, sizeof(e.hp.b));
	e.z_len = rd_u32(r);
	e.p_len = rd_u32(r);
	e.c_len = rd_u32(r);
	e.off = rd_u32(r);
	e.raw_len = rd_u32(r);
	e.codec = rd_u8(r);
	if (rd_u8(r) != 0)
		rd_fail(r, ERR_MALFORMED);
	e.row = rd_u16(r);
	return e;
}

enum err
blob_entry_check(const struct blob_entry *e)
{
	static const struct cry_id none = { { 0 } };
	bool raw = e->codec == BLOB_RAW;

	if (e->codec > BLOB_DELTA || e->codec == 4) /* no 4 */
		return ERR_UNSUPPORTED;
	if (e->p_len > LIM_PIECE_BYTES)
		return ERR_LIMIT;
	if (e->p_len == 0 || e->raw_len > e->p_len ||
	    e->off > e->p_len - e->raw_len)
		return ERR_MALFORMED;
	/* A base has no base: one step back is all. */
	if (blob_entry_is_base(e) &&
	    (e->off != 0 || e->codec == BLOB_DELTA ||
		memcmp(&e->hp, &none, sizeof(none)) != 0))
		return ERR_MALFORMED;
	if (e->z_len == 0 || e->z_len > e->p_len ||
	    raw != (e->z_len == e->p_len) || e->row != 0 ||
	    e->c_len != blob_padded(e->z_len) + CRY_TAG_BYTES)
		return ERR_MALFORMED;
	return ERR_OK;
}

void
blob_manifest_put(struct buf *out, uint32_t n, uint64_t raw_len, uint8_t depth)
{
	buf_u8(out, MANIFEST_VERSION);
	buf_u8(out, depth);
	buf_u16(out, 0);
	buf_u32(out, n);
	buf_u64(out, raw_len);
}

/* Do the entries make a file of raw_len bytes?  Those of a deeper manifest
 * yield manifests: each holds one entry at least, so none is for nothing. */
static enum err
entries_agree(const struct blob_manifest *m)
{
	uint64_t sum = 0;
	uint32_t i;

	for (i = 0; i < m->n; i++) {
		uint32_t n = m->e[i].raw_len;

		sum += n;
		if (m->depth > 0 && !blob_inner_len_valid(n))
			return ERR_MALFORMED;
	}
	if (m->raw_len > LIM_FILE_BYTES)
		return ERR_LIMIT;
	if (m->depth > 0)
		return m->raw_len > 0 ? ERR_OK : ERR_MALFORMED;
	return sum == m->raw_len ? ERR_OK : ERR_MALFORMED;
}

enum err
blob_manifest_encode(const struct blob_manifest *m, struct buf *out)
{
	uint32_t i;
	enum err e;

	if (m->n > LIM_MANIFEST_ENTRIES || m->depth > LIM_MANIFEST_DEPTH)
		return ERR_LIMIT;
	blob_manifest_put(out, m->n, m->raw_len, m->depth);
	for (i = 0; i < m->n; i++) {
		if ((e = blob_entry_check(&m->e[i])) != ERR_OK)
			return e;
		blob_entry_put(out, &m->e[i]);
	}
	e = entries_agree(m);
	return e == ERR_OK ? buf_err(out) : e;
}

static enum err
entries_read(struct rd *r, struct blob_manifest *m)
{
	uint32_t i;
	enum err e;

	for (i = 0; i < m->n; i++) {
		m->e[i] = blob_entry_read(r);
		if (r->err != ERR_OK)
			return r->err;
		if ((e = blob_entry_check(&m->e[i])) != ERR_OK)
			return e;
	}
	e = entries_agree(m);
	return e == ERR_OK ? rd_end(r) : e;
}

enum err
blob_manifest_decode(struct slice in, struct blob_manifest *out)
{
	struct blob_manifest m = { 0 };
	struct rd r = rd_init(in);
	uint8_t version = rd_u8(&r);
	uint16_t zero;
	enum err e;

	m.depth = rd_u8(&r);
	zero = rd_u16(&r);

	if (r.err == ERR_OK &&
	    (version != MANIFEST_VERSION || m.depth > LIM_MANIFEST_DEPTH))
		return ERR_UNSUPPORTED;
	if (zero != 0)
		return ERR_MALFORMED;
	/* The count stands before the total; the entries follow both. */
	m.n = rd_u32(&r);
	m.raw_len = rd_u64(&r);
	if (r.err != ERR_OK)
		return r.err;
	if (m.n > LIM_MANIFEST_ENTRIES)
		return ERR_LIMIT;
	if (m.n > r.left / BLOB_ENTRY_BYTES)
		return ERR_SHORT;
	if (m.n > 0) {
		m.e = mem_array(m.n, sizeof(*m.e));
		if (m.e == NULL)
			return ERR_NOMEM;
	}
	e = entries_read(&r, &m);
	if (e != ERR_OK) {
		blob_manifest_fini(&m);
		return e;
	}
	*out = m;
	return ERR_OK;
}

void
blob_manifest_fini(struct blob_manifest *m)
{
	if (m->e != NULL)
		cry_wipe(m->e, m->n * sizeof(*m->e));
	mem_free(m->e);
	*m = (struct blob_manifest){ 0 };
}
