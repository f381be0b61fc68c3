/* store/catalog/hash.c: one digest over what a compartment's ops made.
 *
 * Walks assets by id, which is the same everywhere, and takes in what the
 * set of ops decides; local numbers, and images and completeness (they hang
 * on which content is here) stay out. */
#include "store/catalog/catalog_internal.h"

struct hash_walk {
	struct db_txn *t;
	uint32_t share;
	uint16_t compartment;
	struct cry_hasher h;
	struct buf b; /* one item */
};

static void
hash_item(struct hash_walk *w)
{
	uint8_t n[4] = { (uint8_t)w->b.n, (uint8_t)(w->b.n >> 8),
		(uint8_t)(w->b.n >> 16), (uint8_t)(w->b.n >> 24) };

	cry_hasher_add(&w->h, slice_of(n, sizeof(n)));
	cry_hasher_add(&w->h, buf_slice(&w->b));
}

static int
hash_version(void *ctx, struct slice k, struct slice v)
{
	struct hash_walk *w = ctx;
	struct cat_version ver;
	uint32_t i;
	enum err e = row_version_read(k, v, &ver);

	if (e != ERR_OK)
		return e;
	buf_reset(&w->b);
	buf_u8(&w->b, 'v');
	buf_u64(&w->b, ver.lamport);
	buf_put(&w->b, ver.op_id.b, sizeof(ver.op_id.b));
	buf_u64(&w->b, ver.created_ms);
	buf_put(&w->b, ver.hash.b, sizeof(ver.hash.b));
	buf_u64(&w->b, ver.bytes);
	buf_u32(&w->b, ver.members);
	buf_u8(&w->b, ver.derived ? 1 : 0);
	buf_put(&w->b, ver.actor, strlen(ver.actor) + 1);
	buf_put(&w->b, ver.site, strlen(ver.site) + 1);
	for (i = 0; i < ver.n_parents; i++)
		buf_put(&w->b, ver.parents[i].b, 32);
	if (buf_err(&w->b) == ERR_OK)
		hash_item(w);
	return buf_err(&w->b);
}

static int
hash_field(void *ctx, struct slice k, struct slice v)
{
	struct hash_walk *w = ctx;

	if (k.n < 5 || k.p[k.n - 1] == FIELD_MEMBER ||
	    k.p[k.n - 1] == FIELD_COMMON)
		return 0;
	buf_reset(&w->b);
	buf_u8(&w->b, 'f');
	buf_put(&w->b, k.p + 4, k.n - 4); /* without the asset number */
	buf_put_slice(&w->b, v);
	if (buf_err(&w->b) == ERR_OK)
		hash_item(w);
	return buf_err(&w->b);
}

/* Without local numbers: the asset's, and lseq. */
static int
hash_fact(void *ctx, struct slice k, struct slice v)
{
	struct hash_walk *w = ctx;

	if (k.n < 4 || (v.n > 2 && v.n < FACT_LSEQ_AT + 8))
		return ERR_CORRUPT;
	buf_reset(&w->b);
	buf_u8(&w->b, 'e');
	buf_put(&w->b, k.p + 4, k.n - 4);
	if (v.n <= 2) {
		buf_put_slice(&w->b, v);
	} else {
		buf_put(&w->b, v.p, FACT_LSEQ_AT);
		buf_put(&w->b, v.p + FACT_LSEQ_AT + 8, v.n - FACT_LSEQ_AT - 8);
	}
	if (buf_err(&w->b) == ERR_OK)
		hash_item(w);
	return buf_err(&w->b);
}

static enum err
hash_row(struct hash_walk *w, const struct asset_row *row)
{
	static const struct stamp none = { 0 };
	struct asset_row parent = { 0 };
	enum err e = ERR_OK;

	/* A parent that only a member table gave hangs on content. */
	if (row->parent != 0 && stamp_cmp(&row->parent_by, &none) != 0)
		e = row_asset_get(w->t, row->parent, &parent);
	if (e != ERR_OK)
		return e;
	buf_reset(&w->b);
	buf_u8(&w->b, 'a');
	buf_put(&w->b, row->id.b, sizeof(row->id.b));
	buf_put(&w->b, row->level, strlen(row->level) + 1);
	buf_put(&w->b, row->key, strlen(row->key) + 1);
	buf_put(&w->b, parent.id.b, sizeof(parent.id.b));
	buf_u8(&w->b, row->has_source ? 1 : 0);
	buf_put(&w->b, row->source.b, sizeof(row->source.b));
	buf_u64(&w->b, row->created_ms);
	buf_u32(&w->b, row->n_versions);
	buf_u8(&w->b, row->retired ? 1 : 0);
	if (buf_err(&w->b) == ERR_OK)
		hash_item(w);
	return buf_err(&w->b);
}

static int
hash_asset(void *ctx, struct slice k, struct slice v)
{
	struct hash_walk *w = ctx;
	struct asset_row row = { 0 };
	struct rd r = rd_init(v);
	struct key prefix = { 0 };
	uint32_t no = rd_u32(&r);
	enum err e = key_decoded(&r);

	(void)k;
	if (e == ERR_OK)
		e = row_asset_get(w->t, no, &row);
	if (e != ERR_OK)
		return e;
	if (row.share_no != w->share || row.compartment != w->compartment ||
	    !row.mentioned)
		return 0;
	key_be32(&prefix, no);
	e = hash_row(w, &row);
	if (e == ERR_OK)
		e = key_walk(
		    w->t, DB_VERSION, key_slice(&prefix), hash_version, w);
	if (e == ERR_OK)
		e = key_walk(w->t, DB_FIELD, key_slice(&prefix), hash_field, w);
	if (e == ERR_OK)
		e = key_walk(w->t, DB_FACT, key_slice(&prefix), hash_fact, w);
	return e;
}

enum err
cat_hash(struct store *s, struct db_txn *t, uint32_t share,
    uint16_t compartment, struct cry_id *out)
{
	struct hash_walk w = { .t = t,
		.share = share,
		.compartment = compartment,
		.b = BUF_MAX(4 * KIB) };
	enum err e;

	(void)s;
	cry_hasher_init(&w.h);
	e = key_walk(t, DB_ASSETX, (struct slice){ 0 }, hash_asset, &w);
	if (e == ERR_OK)
		cry_hasher_end(&w.h, out);
	buf_fini(&w.b);
	return e;
}
