/* store/catalog/asset.c: reading assets, versions, fields, tags, children. */
#include "store/base/enc.h"
#include "store/catalog/catalog_internal.h"

#define CHAIN_MAX 8u     /* levels above an asset; paths have at most 5 */
#define FIELDS_MAX 4096u /* shown of one asset, inherited ones included */

enum err
cat_asset_of_op(struct db_txn *t, uint64_t lseq, struct asset_id *out)
{
	struct asset_row row = { 0 };
	struct op_row op;
	enum err e = oplog_row_get(t, lseq, &op);

	if (e != ERR_OK)
		return e;
	if (op.asset == 0)
		return ERR_NOTFOUND;
	e = row_asset_get(t, op.asset, &row);
	if (e == ERR_OK)
		*out = row.id;
	return e;
}

/* --- ids and their prefixes --- */

struct resolve {
	char text[ASSET_ID_TEXT + 1];
	size_t n;
	struct asset_id id;
	uint32_t found;
};

static int
resolve_visit(void *ctx, struct slice k, struct slice v)
{
	struct resolve *r = ctx;
	char text[ASSET_ID_TEXT + 1];

	(void)v;
	if (k.n != sizeof(r->id.b))
		return ERR_CORRUPT;
	enc_b32(k, text);
	if (memcmp(text, r->text, r->n) != 0)
		return 0;
	memcpy(r->id.b, k.p, sizeof(r->id.b));
	return ++r->found > 1;
}

static bool
resolve_text(struct resolve *r, struct slice text)
{
	size_t i;

	if (text.n < 8 || text.n > ASSET_ID_TEXT)
		return false;
	for (i = 0; i < text.n; i++) {
		uint8_t c = text.p[i];

		if (c >= 'A' && c <= 'Z')
			c = (uint8_t)(c - 'A' + 'a');
		r->text[i] = (char)c;
	}
	r->n = text.n;
	return true;
}

enum err
cat_asset_resolve(struct db_txn *t, struct slice text, struct asset_id *out)
{
	struct resolve r = { 0 };
	uint8_t prefix[5]; /* 8 characters are 40 bits */
	enum err e;

	if (!resolve_text(&r, text) ||
	    dec_b32(slice_of(r.text, 8), prefix, sizeof(prefix)) != ERR_OK)
		return ERR_NOTFOUND;
	e = key_walk(
	    t, DB_ASSETX, slice_of(prefix, sizeof(prefix)), resolve_visit, &r);
	if (e != ERR_OK)
		return e;
	if (r.found != 1)
		return r.found == 0 ? ERR_NOTFOUND : ERR_LIMIT;
	*out = r.id;
	return ERR_OK;
}

/* --- assets --- */

/* An image of a table: what is known of it is in its series. */
static enum err
fill_member(
    struct db_txn *t, const struct asset_row *row, struct cat_asset *out)
{
	struct asset_row series = { 0 };
	enum err e = row_asset_get(t, row->parent, &series);

	if (e == ERR_OK)
		e = row_version_get(
		    t, row->parent, &series.images_by, &out->head);
	if (e != ERR_OK)
		return e == ERR_NOTFOUND ? ERR_CORRUPT : e;
	out->head.number = 1;
	out->head.hash = row->member_hash;
	out->head.bytes = row->member_bytes;
	out->head.members = 1;
	out->head.n_parents = 0;
	out->n_versions = 1;
	out->is_member = true;
	out->member = row->member;
	return ERR_OK;
}

enum err
asset_fill(struct db_txn *t, uint32_t no, const struct asset_row *row,
    struct cat_asset *out)
{
	struct asset_row parent = { 0 };
	enum err e = ERR_OK;

	memset(out, 0, sizeof(*out));
	out->id = row->id;
	memcpy(out->level, row->level, sizeof(out->level));
	memcpy(out->key, row->key, sizeof(out->key));
	out->share = row->share;
	out->share_no = row->share_no;
	out->compartment = row->compartment;
	out->created_ms = row->created_ms;
	out->retired = row->retired;
	out->n_versions = row->n_versions;
	if (row->has_source)
		out->source = row->source;
	if (row->parent != 0) {
		e = row_asset_get(t, row->parent, &parent);
		out->parent = parent.id;
	}
	if (e == ERR_OK && row->n_versions > 0) {
		e = row_version_get(t, no, &row->head, &out->head);
		out->head.number = row->n_versions;
	} else if (e == ERR_OK && row->is_member) {
		e = fill_member(t, row, out);
	}
	return e;
}

static enum err
row_of_id(struct db_txn *t, const struct asset_id *id, uint32_t *no,
    struct asset_row *row)
{
	enum err e = row_asset_no(t, id, no);

	return e == ERR_OK ? row_asset_get(t, *no, row) : e;
}

enum err
cat_asset_get(struct store *s, struct db_txn *t, const struct asset_id *id,
    struct cat_asset *out)
{
	struct asset_row row = { 0 };
	uint32_t no;
	enum err e = row_of_id(t, id, &no, &row);

	(void)s;
	return e == ERR_OK ? asset_fill(t, no, &row, out) : e;
}

struct versions_walk {
	cat_version_fn fn;
	void *ctx;
	uint32_t number;
};

static int
versions_visit(void *ctx, struct slice k, struct slice v)
{
	struct versions_walk *w = ctx;
	struct cat_version ver;
	enum err e = row_version_read(k, v, &ver);

	if (e != ERR_OK)
		return e;
	ver.number = ++w->number;
	return w->fn(w->ctx, &ver);
}

enum err
cat_versions_each(struct store *s, struct db_txn *t, const struct asset_id *id,
    cat_version_fn fn, void *ctx)
{
	struct versions_walk w = { .fn = fn, .ctx = ctx };
	struct cat_asset a;
	struct key k = { 0 };
	uint32_t no;
	enum err e = cat_asset_get(s, t, id, &a);

	if (e != ERR_OK)
		return e;
	if (a.is_member) {
		int r = fn(ctx, &a.head);

		return r < 0 ? (enum err)r : ERR_OK;
	}
	e = row_asset_no(t, id, &no);
	if (e != ERR_OK)
		return e;
	key_be32(&k, no);
	return key_walk(t, DB_VERSION, key_slice(&k), versions_visit, &w);
}

static enum err
body_of(struct store *s, struct db_txn *t, const struct asset_id *id,
    struct buf *manifest, struct buf *provenance)
{
	struct cat_asset a;
	enum err e = cat_asset_get(s, t, id, &a);

	if (e != ERR_OK)
		return e;
	if (a.n_versions == 0)
		return ERR_NOTFOUND;
	e = row_body_get(s, t, &a.head.op_id, manifest, provenance);
	return e == ERR_NOTFOUND ? ERR_CORRUPT : e;
}

enum err
cat_manifest(struct store *s, struct db_txn *t, const struct asset_id *id,
    struct buf *out)
{
	return body_of(s, t, id, out, NULL);
}

enum err
cat_provenance(struct store *s, struct db_txn *t, const struct asset_id *id,
    struct buf *out)
{
	return body_of(s, t, id, NULL, out);
}

/* --- fields: the asset's own, then those of what it lies in --- */

struct fields {
	struct field_row *v;
	uint32_t n, cap;
	enum { OWN_FIELDS, OWN_TAGS, COMMON_FIELDS } what;
};

static bool
fields_sought(const struct fields *f, uint8_t src)
{
	switch (f->what) {
	case OWN_FIELDS: return src != FIELD_TAG && src != FIELD_COMMON;
	case OWN_TAGS: return src == FIELD_TAG;
	case COMMON_FIELDS: return src == FIELD_COMMON;
	}
	return false;
}

static bool
fields_has(const struct fields *f, struct slice name)
{
	uint32_t i;

	for (i = 0; i < f->n; i++) {
		if (slice_eq(f->v[i].name, name))
			return true;
	}
	return false;
}

static int
fields_visit(void *ctx, struct slice k, struct slice v)
{
	struct fields *f = ctx;
	struct field_row row;
	uint8_t src = k.n > 0 ? k.p[k.n - 1] : UINT8_MAX;
	enum err e;

	if (!fields_sought(f, src))
		return 0;
	e = field_row_read(src, v, &row);
	if (e != ERR_OK)
		return e;
	if (fields_has(f, row.name))
		return 0; /* the nearer one wins */
	if (f->n >= FIELDS_MAX)
		return ERR_LIMIT;
	if (f->n == f->cap) {
		uint32_t cap = 2 * f->cap + 32;
		struct field_row *p = mem_grow(f->v, cap, sizeof(*p));

		if (p == NULL)
			return ERR_NOMEM;
		f->v = p;
		f->cap = cap;
	}
	f->v[f->n++] = row;
	return 0;
}

static int
field_row_cmp(const void *a, const void *b)
{
	const struct field_row *x = a, *y = b;

	return slice_cmp(x->name, y->name);
}

/* Of one asset: what it has, and what it has in common with other images. */
static enum err
fields_of(struct db_txn *t, uint32_t no, const struct asset_row *row,
    struct fields *f)
{
	struct key k = { 0 };
	enum err e;

	key_be32(&k, no);
	e = key_walk(t, DB_FIELD, key_slice(&k), fields_visit, f);
	if (e != ERR_OK || f->what != OWN_FIELDS || !row->is_member)
		return e;
	k.n = 0;
	key_be32(&k, row->parent);
	f->what = COMMON_FIELDS;
	e = key_walk(t, DB_FIELD, key_slice(&k), fields_visit, f);
	f->what = OWN_FIELDS;
	return e;
}

static enum err
fields_collect(struct db_txn *t, const struct asset_id *id, struct fields *f)
{
	struct asset_row row = { 0 };
	uint32_t no, depth;
	enum err e = row_of_id(t, id, &no, &row);

	for (depth = 0; e == ERR_OK && depth < CHAIN_MAX; depth++) {
		e = fields_of(t, no, &row, f);
		if (f->what == OWN_TAGS || row.parent == 0)
			break;
		no = row.parent;
		if (e == ERR_OK)
			e = row_asset_get(t, no, &row);
	}
	if (e == ERR_OK && f->n > 1)
		qsort(f->v, f->n, sizeof(*f->v), field_row_cmp);
	return e;
}

enum err
cat_fields_each(
    struct db_txn *t, const struct asset_id *id, cat_field_fn fn, void *ctx)
{
	struct fields f = { 0 };
	uint32_t i;
	enum err e = fields_collect(t, id, &f);
	int stop = 0;

	for (i = 0; e == ERR_OK && stop == 0 && i < f.n; i++) {
		if (f.v[i].value.n > 0) /* none: an edit took it away */
			stop = fn(ctx, f.v[i].name, f.v[i].value);
	}
	mem_free(f.v);
	return e == ERR_OK && stop < 0 ? (enum err)stop : e;
}

enum err
cat_tags_each(
    struct db_txn *t, const struct asset_id *id, cat_tag_fn fn, void *ctx)
{
	struct fields f = { .what = OWN_TAGS };
	uint32_t i;
	enum err e = fields_collect(t, id, &f);
	int stop = 0;

	for (i = 0; e == ERR_OK && stop == 0 && i < f.n; i++)
		stop = fn(ctx, f.v[i].name);
	mem_free(f.v);
	return e == ERR_OK && stop < 0 ? (enum err)stop : e;
}

/* --- children --- */

struct children_walk {
	struct db_txn *t;
	cat_child_fn fn;
	void *ctx;
};

static int
children_visit(void *ctx, struct slice k, struct slice v)
{
	struct children_walk *w = ctx;
	struct asset_row row = { 0 };
	struct rd r = rd_init(k);
	uint32_t no;
	enum err e;

	(void)v;
	(void)rd_bytes(&r, 4 + 1);
	no = rd_be32(&r);
	e = key_decoded(&r);
	if (e == ERR_OK)
		e = row_asset_get(w->t, no, &row);
	if (e != ERR_OK)
		return e == ERR_NOTFOUND ? ERR_CORRUPT : e;
	return w->fn(w->ctx, &row.id);
}

enum err
cat_children_each(
    struct db_txn *t, const struct asset_id *id, cat_child_fn fn, void *ctx)
{
	struct children_walk w = { t, fn, ctx };
	struct key k = { 0 };
	uint32_t no;
	enum err e = row_asset_no(t, id, &no);

	if (e != ERR_OK)
		return e;
	key_be32(&k, no);
	return key_walk(t, DB_CHILD, key_slice(&k), children_visit, &w);
}
