/* store/catalog/row.c: rows of ASSET, ASSETX, VERSION and CHILD, and the
 * sealed row that keeps a version's manifest.
 *
 * Rows start with a format byte and are plain little-endian fields.  Keys of
 * VERSION sort by (asset, lamport, op id), so the order of versions is the
 * same at every node and the default head is the last key. */
#include "store/catalog/catalog_internal.h"

#define ROW_FORMAT 1u
#define BODY_BYTES_MAX (LIM_OP_PAYLOAD_BYTES + 64)

enum asset_flag {
	ASSET_SOURCE = 1,
	ASSET_MENTIONED = 2,
	ASSET_MEMBER = 4,
	ASSET_RETIRED = 8,
	ASSET_PLACED = 16, /* has parent_by */
	ASSET_HEAD = 32,
	ASSET_IMAGES = 64, /* has images_by */
};
enum version_flag { VERSION_COMPLETE = 1, VERSION_DERIVED = 2 };

int
stamp_cmp(const struct stamp *a, const struct stamp *b)
{
	if (a->lamport != b->lamport)
		return a->lamport < b->lamport ? -1 : 1;
	return memcmp(a->op.b, b->op.b, sizeof(a->op.b));
}

/* --- small fields --- */

static void
text_put(struct buf *b, const char *s)
{
	size_t n = strlen(s);

	REQUIRE(n <= UINT8_MAX);
	buf_u8(b, (uint8_t)n);
	buf_put(b, s, n);
}

static void
text_read(struct rd *r, char *out, size_t cap)
{
	struct slice s = rd_bytes(r, rd_u8(r));

	out[0] = '\0';
	if (s.n >= cap) {
		rd_fail(r, ERR_LIMIT);
		return;
	}
	if (s.n > 0)
		memcpy(out, s.p, s.n);
	out[s.n] = '\0';
}

static bool
stamp_there(const struct stamp *s)
{
	static const struct stamp none = { 0 };

	return stamp_cmp(s, &none) != 0;
}

static void
stamp_put(struct buf *b, const struct stamp *s)
{
	if (!stamp_there(s))
		return;
	buf_u64(b, s->lamport);
	buf_put(b, s->op.b, sizeof(s->op.b));
}

static void
stamp_read(struct rd *r, struct stamp *s, bool there)
{
	memset(s, 0, sizeof(*s));
	if (!there)
		return;
	s->lamport = rd_u64(r);
	rd_copy(r, s->op.b, sizeof(s->op.b));
}

/* --- assets --- */

enum err
row_asset_get(struct db_txn *t, uint32_t no, struct asset_row *out)
{
	struct key k = { 0 };
	struct slice v;
	struct rd r;
	uint8_t format, flags;
	enum err e;

	key_be32(&k, no);
	e = db_get(t, DB_ASSET, key_slice(&k), &v);
	if (e != ERR_OK)
		return e;
	r = rd_init(v);
	format = rd_u8(&r);
	flags = rd_u8(&r);
	out->has_source = (flags & ASSET_SOURCE) != 0;
	out->mentioned = (flags & ASSET_MENTIONED) != 0;
	out->is_member = (flags & ASSET_MEMBER) != 0;
	out->retired = (flags & ASSET_RETIRED) != 0;
	rd_copy(&r, out->id.b, sizeof(out->id.b));
	text_read(&r, out->level, sizeof(out->level));
	text_read(&r, out->key, sizeof(out->key));
	out->share_no = rd_u32(&r);
	rd_copy(&r, out->share.b, sizeof(out->share.b));
	out->compartment = rd_u16(&r);
	out->parent = rd_u32(&r);
	stamp_read(&r, &out->parent_by, (flags & ASSET_PLACED) != 0);
	memset(&out->source, 0, sizeof(out->source));
	if (out->has_source)
		rd_copy(&r, out->source.b, sizeof(out->source.b));
	out->created_ms = rd_u64(&r);
	out->n_versions = rd_u32(&r);
	stamp_read(&r, &out->head, (flags & ASSET_HEAD) != 0);
	stamp_read(&r, &out->images_by, (flags & ASSET_IMAGES) != 0);
	out->member = 0;
	out->member_bytes = 0;
	memset(&out->member_hash, 0, sizeof(out->member_hash));
	if (out->is_member) {
		out->member = rd_u32(&r);
		rd_copy(&r, out->member_hash.b, sizeof(out->member_hash.b));
		out->member_bytes = rd_u64(&r);
	}
	return format == ROW_FORMAT ? key_decoded(&r) : ERR_CORRUPT;
}

static void
asset_write(struct buf *b, const struct asset_row *row)
{
	int flags = (row->has_source ? ASSET_SOURCE : 0) |
		    (row->mentioned ? ASSET_MENTIONED : 0) |
		    (row->is_member ? ASSET_MEMBER : 0) |
		    (row->retired ? ASSET_RETIRED : 0) |
		    (stamp_there(&row->parent_by) ? ASSET_PLACED : 0) |
		    (stamp_there(&row->head) ? ASSET_HEAD : 0) |
		    (stamp_there(&row->images_by) ? ASSET_IMAGES : 0);

	buf_u8(b, ROW_FORMAT);
	buf_u8(b, (uint8_t)flags);
	buf_put(b, row->id.b, sizeof(row->id.b));
	text_put(b, row->level);
	text_put(b, row->key);
	buf_u32(b, row->share_no);
	buf_put(b, row->share.b, sizeof(row->share.b));
	buf_u16(b, row->compartment);
	buf_u32(b, row->parent);
	stamp_put(b, &row->parent_by);
	if (row->has_source)
		buf_put(b, row->source.b, sizeof(row->source.b));
	buf_u64(b, row->created_ms);
	buf_u32(b, row->n_versions);
	stamp_put(b, &row->head);
	stamp_put(b, &row->images_by);
	if (!row->is_member)
		return;
	buf_u32(b, row->member);
	buf_put(b, row->member_hash.b, sizeof(row->member_hash.b));
	buf_u64(b, row->member_bytes);
}

enum err
row_asset_put(
    struct db_txn *t, uint32_t no, const struct asset_row *row, bool fresh)
{
	struct buf b = BUF_MAX(1024);
	struct key k = { 0 };

	key_be32(&k, no);
	asset_write(&b, row);
	return fresh ? key_store_last(t, DB_ASSET, &k, &b)
		     : key_store(t, DB_ASSET, &k, &b);
}

enum err
row_asset_no(struct db_txn *t, const struct asset_id *id, uint32_t *no)
{
	struct slice v;
	struct rd r;
	enum err e = db_get(t, DB_ASSETX, slice_of(id->b, sizeof(id->b)), &v);

	if (e != ERR_OK)
		return e;
	r = rd_init(v);
	*no = rd_u32(&r);
	return key_decoded(&r);
}

enum err
row_asset_last(struct db_txn *t, uint32_t *no)
{
	return key_last_be32(t, DB_ASSET, (struct slice){ 0 }, no);
}

/* --- versions --- */

void
row_version_key(uint32_t no, const struct stamp *s, struct key *out)
{
	out->n = 0;
	key_be32(out, no);
	key_be64(out, s->lamport);
	key_put(out, s->op.b, sizeof(s->op.b));
}

enum err
row_version_read(struct slice key, struct slice value, struct cat_version *v)
{
	struct rd rk = rd_init(key), r = rd_init(value);
	uint8_t format, flags;
	uint32_t i;

	memset(v, 0, sizeof(*v));
	(void)rd_be32(&rk);
	v->lamport = rd_be64(&rk);
	rd_copy(&rk, v->op_id.b, sizeof(v->op_id.b));
	format = rd_u8(&r);
	flags = rd_u8(&r);
	v->lseq = rd_u64(&r);
	v->created_ms = rd_u64(&r);
	rd_copy(&r, v->hash.b, sizeof(v->hash.b));
	v->bytes = rd_u64(&r);
	v->members = rd_u32(&r);
	text_read(&r, v->actor, sizeof(v->actor));
	text_read(&r, v->site, sizeof(v->site));
	v->n_parents = rd_count(&r, PUT_PARENTS_MAX, 32);
	for (i = 0; i < v->n_parents; i++)
		rd_copy(&r, v->parents[i].b, 32);
	v->complete = (flags & VERSION_COMPLETE) != 0;
	v->derived = (flags & VERSION_DERIVED) != 0;
	if (format != ROW_FORMAT || rd_end(&rk) != ERR_OK)
		return ERR_CORRUPT;
	return key_decoded(&r);
}

enum err
row_version_get(struct db_txn *t, uint32_t no, const struct stamp *s,
    struct cat_version *out)
{
	struct key k = { 0 };
	struct slice v;
	enum err e;

	row_version_key(no, s, &k);
	e = db_get(t, DB_VERSION, key_slice(&k), &v);
	return e == ERR_OK ? row_version_read(key_slice(&k), v, out) : e;
}

enum err
row_version_put(struct db_txn *t, uint32_t no, const struct cat_version *v)
{
	struct stamp s = { .lamport = v->lamport, .op = v->op_id };
	int flags = (v->complete ? VERSION_COMPLETE : 0) |
		    (v->derived ? VERSION_DERIVED : 0);
	struct buf b = BUF_MAX(1024);
	struct key k = { 0 };
	uint32_t i;

	row_version_key(no, &s, &k);
	buf_u8(&b, ROW_FORMAT);
	buf_u8(&b, (uint8_t)flags);
	buf_u64(&b, v->lseq);
	buf_u64(&b, v->created_ms);
	buf_put(&b, v->hash.b, sizeof(v->hash.b));
	buf_u64(&b, v->bytes);
	buf_u32(&b, v->members);
	text_put(&b, v->actor);
	text_put(&b, v->site);
	buf_u32(&b, v->n_parents);
	for (i = 0; i < v->n_parents; i++)
		buf_put(&b, v->parents[i].b, 32);
	return key_store(t, DB_VERSION, &k, &b);
}

/* --- manifests hold chunk keys, so they lie sealed, not in the index --- */

enum err
row_body_put(struct store_txn *t, const struct cry_id *op,
    struct slice manifest, struct slice provenance)
{
	struct buf b = BUF_MAX(BODY_BYTES_MAX);
	struct slice k = slice_of(op->b, sizeof(op->b));
	enum err e = store_row_there(store_txn_db(t), "version", k);

	/* The op alone decides it: a rebuild finds it as it was. */
	if (e != ERR_NOTFOUND)
		return e;
	buf_u8(&b, ROW_FORMAT);
	buf_u32(&b, (uint32_t)manifest.n);
	buf_put_slice(&b, manifest);
	buf_put_slice(&b, provenance);
	e = buf_err(&b);
	if (e == ERR_OK)
		e = store_row_put(t, "version", k, buf_slice(&b));
	buf_fini(&b);
	return e;
}

enum err
row_body_read(struct slice row, struct slice *manifest, struct slice *prov)
{
	struct rd r = rd_init(row);
	uint8_t format = rd_u8(&r);
	struct slice m = rd_bytes(&r, rd_u32(&r));
	struct slice p = rd_rest(&r);

	if (format != ROW_FORMAT || rd_end(&r) != ERR_OK)
		return ERR_CORRUPT;
	*manifest = m;
	if (prov != NULL)
		*prov = p;
	return ERR_OK;
}

enum err
row_body_get(struct store *s, struct db_txn *t, const struct cry_id *op,
    struct buf *manifest, struct buf *provenance)
{
	struct buf b = BUF_MAX(BODY_BYTES_MAX);
	struct slice k = slice_of(op->b, sizeof(op->b));
	struct slice m, p;
	enum err e = store_row_get(s, t, "version", k, &b);

	if (e == ERR_OK)
		e = row_body_read(buf_slice(&b), &m, &p);
	if (manifest != NULL && e == ERR_OK) {
		buf_put_slice(manifest, m);
		e = buf_err(manifest);
	}
	if (provenance != NULL && e == ERR_OK) {
		buf_put_slice(provenance, p);
		e = buf_err(provenance);
	}
	buf_fini(&b);
	return e;
}

/* --- children and totals --- */

void
row_child_key(
    uint32_t parent, enum level_rank rank, uint32_t child, struct key *out)
{
	out->n = 0;
	key_be32(out, parent);
	key_u8(out, (uint8_t)rank);
	key_be32(out, child);
}

static enum err
totals_get(struct db_txn *t, uint64_t *bytes)
{
	struct slice v;
	struct rd r;
	enum err e = db_get(t, DB_META, SLICE_LIT("catalog.bytes"), &v);

	*bytes = 0;
	if (e != ERR_OK)
		return e == ERR_NOTFOUND ? ERR_OK : e;
	r = rd_init(v);
	*bytes = rd_u64(&r);
	return key_decoded(&r);
}

enum err
row_totals_add(struct db_txn *t, uint64_t bytes)
{
	struct buf b = BUF_MAX(8);
	struct key k = { 0 };
	uint64_t sum;
	enum err e = totals_get(t, &sum);

	if (e != ERR_OK)
		return e;
	key_put(&k, "catalog.bytes", strlen("catalog.bytes"));
	buf_u64(&b, sum + bytes);
	return key_store(t, DB_META, &k, &b);
}

enum err
cat_totals(struct db_txn *t, uint64_t *logical_bytes, uint64_t *assets)
{
	uint64_t bytes = 0, n = 0;
	enum err e = totals_get(t, &bytes);

	if (e == ERR_OK)
		e = db_count(t, DB_ASSET, &n);
	if (e != ERR_OK)
		return e;
	*logical_bytes = bytes;
	*assets = n;
	return ERR_OK;
}
