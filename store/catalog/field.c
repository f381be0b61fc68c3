/* store/catalog/field.c: fields at rest and their index.
 *
 * FIELD key: asset be32, hash8 of the name, source; value: name, the stamp
 * of the op that set it, and the value as msgpack.  IX key: hash8 of the
 * name, code of the value, asset be32, source.  The index may name assets
 * that no longer match; it never lacks one that does, or one above it.
 *
 * What a member table says has no stamp: its series has it (images_by).  A
 * field that all images of a table have alike lies once, at the series with
 * source FIELD_COMMON, and is read as if each image had it (rulings.md 9). */
#include "store/catalog/catalog_internal.h"

#define FIELD_ROW_BYTES 2048u

/* Values were checked when they came in (put.c); this bounds the walk. */
static const struct mp_limits value_limits = {
	.bytes_max = FIELD_ROW_BYTES,
	.count_max = FIELD_ROW_BYTES,
	.depth_max = 2,
};

static void
hash_name(const char *domain, struct slice name, struct field_hash *out)
{
	uint8_t h[16];

	cry_hash_parts(NULL, domain, &name, 1, h, sizeof(h));
	memcpy(out->b, h, sizeof(out->b));
}

void
field_hash(struct slice name, struct field_hash *out)
{
	hash_name("psc.field.1", name, out);
}

void
field_hash_pseudo(const char *what, struct field_hash *out)
{
	hash_name("psc.pseudo.1", slice_str(what), out);
}

/* --- the index --- */

void
ix_key(const struct field_hash *h, const struct ix_code *c, uint32_t no,
    enum field_src src, struct key *out)
{
	out->n = 0;
	key_put(out, h->b, sizeof(h->b));
	key_put(out, c->b, c->n);
	key_be32(out, no);
	key_u8(out, (uint8_t)src);
}

enum err
ix_put(struct db_txn *t, const struct field_hash *h, const struct ix_code *c,
    uint32_t no, enum field_src src)
{
	struct key k = { 0 };

	ix_key(h, c, no, src, &k);
	return db_put(t, DB_IX, key_slice(&k), (struct slice){ 0 });
}

enum err
ix_del(struct db_txn *t, const struct field_hash *h, const struct ix_code *c,
    uint32_t no, enum field_src src)
{
	struct key k = { 0 };
	enum err e;

	ix_key(h, c, no, src, &k);
	e = db_del(t, DB_IX, key_slice(&k));
	/* Two values of one field may share a code: gone already. */
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

/* --- scalars of an encoded value --- */

enum err
field_scalars(struct slice value, field_scalar_fn fn, void *ctx, int *result)
{
	struct mp_doc doc = { 0 };
	struct val v;
	uint32_t i;
	enum err e;

	*result = 0;
	if (value.n == 0) /* an edit says that the field is gone */
		return ERR_OK;
	e = mp_parse(value, &value_limits, &doc);
	if (e != ERR_OK)
		return e == ERR_NOMEM ? e : ERR_CORRUPT;
	if (mp_type(doc.root) != MP_ARRAY) {
		val_of_node(doc.root, &v);
		*result = fn(ctx, &v);
	}
	for (i = 0; mp_type(doc.root) == MP_ARRAY && *result == 0 &&
		    i < mp_len(doc.root);
	     i++) {
		val_of_node(mp_at(doc.root, i), &v);
		*result = fn(ctx, &v);
	}
	mp_doc_fini(&doc);
	return ERR_OK;
}

struct ix_change {
	struct db_txn *t;
	struct field_hash h;
	uint32_t no;
	enum field_src src;
	bool add;
};

static int
ix_change_one(void *ctx, const struct val *v)
{
	struct ix_change *c = ctx;
	struct ix_code codes[IX_CODES_MAX];
	uint32_t n = ix_codes(v, codes), i;
	enum err e = ERR_OK;

	for (i = 0; i < n && e == ERR_OK; i++)
		e = c->add ? ix_put(c->t, &c->h, &codes[i], c->no, c->src)
			   : ix_del(c->t, &c->h, &codes[i], c->no, c->src);
	return e;
}

static enum err
ix_change(struct ix_change *c, struct slice value)
{
	int result = 0;
	enum err e = field_scalars(value, ix_change_one, c, &result);

	return e != ERR_OK ? e : (enum err)result;
}

/* --- rows --- */

static struct key
field_key(uint32_t no, const struct field_hash *h, enum field_src src)
{
	struct key k = { 0 };

	key_be32(&k, no);
	key_put(&k, h->b, sizeof(h->b));
	key_u8(&k, (uint8_t)src);
	return k;
}

/* Where a stamp decides, or is shown to do so by cat_hash. */
static bool
stamped(uint8_t src)
{
	return src != FIELD_MEMBER && src != FIELD_COMMON;
}

enum err
field_row_read(uint8_t src, struct slice value, struct field_row *out)
{
	struct rd r = rd_init(value);

	out->name = rd_bytes(&r, rd_u8(&r));
	memset(&out->by, 0, sizeof(out->by));
	if (stamped(src)) {
		out->by.lamport = rd_u64(&r);
		rd_copy(&r, out->by.op.b, sizeof(out->by.op.b));
	}
	out->value = rd_rest(&r);
	return key_decoded(&r);
}

/* Removes a row and its index entries, if it is there. */
static enum err
field_drop(struct db_txn *t, const struct key *k)
{
	struct ix_change c = { .t = t };
	struct buf copy = BUF_MAX(FIELD_ROW_BYTES);
	struct rd r = rd_init(key_slice(k));
	struct field_row row;
	struct slice v;
	enum err e = db_get(t, DB_FIELD, key_slice(k), &v);

	if (e != ERR_OK)
		return e == ERR_NOTFOUND ? ERR_OK : e;
	c.no = rd_be32(&r);
	rd_copy(&r, c.h.b, sizeof(c.h.b));
	c.src = (enum field_src)rd_u8(&r);
	e = key_decoded(&r);
	buf_put_slice(&copy, v); /* the map moves when we write */
	if (e == ERR_OK)
		e = buf_err(&copy);
	if (e == ERR_OK)
		e = field_row_read((uint8_t)c.src, buf_slice(&copy), &row);
	if (e == ERR_OK && c.src != FIELD_TAG)
		e = ix_change(&c, row.value);
	if (e == ERR_OK)
		e = db_del(t, DB_FIELD, key_slice(k));
	buf_fini(&copy);
	return e;
}

static void
field_row_write(struct buf *b, enum field_src src, const struct stamp *by,
    struct slice name)
{
	REQUIRE(name.n <= UINT8_MAX);
	buf_u8(b, (uint8_t)name.n);
	buf_put_slice(b, name);
	if (!stamped((uint8_t)src))
		return;
	buf_u64(b, by->lamport);
	buf_put(b, by->op.b, sizeof(by->op.b));
}

enum err
field_set_raw(struct db_txn *t, uint32_t no, enum field_src src,
    const struct stamp *by, struct slice name, struct slice value)
{
	struct ix_change c = { .t = t, .no = no, .src = src, .add = true };
	struct buf b = BUF_MAX(FIELD_ROW_BYTES);
	struct key k;
	enum err e;

	field_hash(name, &c.h);
	k = field_key(no, &c.h, src);
	field_row_write(&b, src, by, name);
	buf_put_slice(&b, value);
	e = field_drop(t, &k);
	if (e == ERR_OK)
		e = key_store(t, DB_FIELD, &k, &b);
	if (e == ERR_OK)
		e = ix_change(&c, value);
	buf_fini(&b);
	return e;
}

enum err
field_set(struct db_txn *t, uint32_t no, enum field_src src,
    const struct stamp *by, struct slice name, const struct mp_node *value)
{
	struct buf v = BUF_MAX(PUT_VALUE_BYTES);
	enum err e;

	mp_w_node(&v, value);
	e = buf_err(&v);
	if (e == ERR_OK)
		e = field_set_raw(t, no, src, by, name, buf_slice(&v));
	buf_fini(&v);
	return e;
}

enum err
field_unset(
    struct db_txn *t, uint32_t no, enum field_src src, struct slice name)
{
	struct field_hash h;
	struct key k;

	field_hash(name, &h);
	k = field_key(no, &h, src);
	return field_drop(t, &k);
}

static enum err
register_one(struct db_txn *t, uint32_t no, const struct stamp *by,
    struct slice name, const struct mp_node *value)
{
	struct field_hash h;
	struct field_row old;
	struct key k;
	struct slice v;
	enum err e;

	field_hash(name, &h);
	k = field_key(no, &h, FIELD_PATH);
	e = db_get(t, DB_FIELD, key_slice(&k), &v);
	if (e == ERR_OK)
		e = field_row_read(FIELD_PATH, v, &old);
	if (e != ERR_OK && e != ERR_NOTFOUND)
		return e;
	if (e == ERR_OK && stamp_cmp(&old.by, by) >= 0)
		return ERR_OK;
	return field_set(t, no, FIELD_PATH, by, name, value);
}

enum err
field_register(struct db_txn *t, uint32_t no, const struct stamp *by,
    const struct mp_node *fields)
{
	struct slice name;
	uint32_t i;
	enum err e = ERR_OK;

	for (i = 0; i < mp_len(fields) && e == ERR_OK; i++) {
		const struct mp_node *v = mp_member(fields, i, &name);

		e = register_one(t, no, by, name, v);
	}
	return e;
}

/* The next row of one source, at or after *k. */
static enum err
next_of_src(struct db_txn *t, uint32_t no, enum field_src src, struct key *k)
{
	struct key prefix = { 0 };
	struct db_cur *c = NULL;
	struct slice kk, v;
	enum err e;

	key_be32(&prefix, no);
	e = db_cur_open(t, DB_FIELD, key_slice(&prefix), &c);
	if (e != ERR_OK)
		return e;
	e = db_cur_seek(c, key_slice(k), &kk, &v);
	while (e == ERR_OK && kk.p[kk.n - 1] != (uint8_t)src)
		e = db_cur_next(c, &kk, &v);
	if (e == ERR_OK) {
		k->n = 0;
		key_put(k, kk.p, kk.n);
	}
	db_cur_close(c);
	return e;
}

static enum err
fields_drop(struct db_txn *t, uint32_t no, enum field_src src)
{
	struct key k = { 0 };
	enum err e;

	key_be32(&k, no);
	while ((e = next_of_src(t, no, src, &k)) == ERR_OK) {
		e = field_drop(t, &k);
		if (e != ERR_OK)
			return e;
	}
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

enum err
field_replace(struct db_txn *t, uint32_t no, enum field_src src,
    const struct stamp *by, const struct mp_node *fields)
{
	struct slice name;
	uint32_t i;
	enum err e = fields_drop(t, no, src);

	for (i = 0; i < mp_len(fields) && e == ERR_OK; i++) {
		const struct mp_node *v = mp_member(fields, i, &name);

		e = field_set(t, no, src, by, name, v);
	}
	return e;
}

static enum err
get_one(struct db_txn *t, const struct key *k, struct slice *value)
{
	struct field_row row;
	struct slice v;
	enum err e = db_get(t, DB_FIELD, key_slice(k), &v);

	if (e == ERR_OK)
		e = field_row_read(k->b[k->n - 1], v, &row);
	if (e == ERR_OK)
		*value = row.value;
	return e;
}

enum err
field_get_came(struct db_txn *t, uint32_t no, const struct asset_row *row,
    const struct field_hash *h, struct slice *value)
{
	enum err e = ERR_NOTFOUND;
	struct key k;
	uint32_t src;

	for (src = FIELD_OWN; src <= FIELD_MEMBER && e == ERR_NOTFOUND; src++) {
		k = field_key(no, h, (enum field_src)src);
		e = get_one(t, &k, value);
	}
	if (e != ERR_NOTFOUND || !row->is_member)
		return e;
	k = field_key(row->parent, h, FIELD_COMMON);
	return get_one(t, &k, value);
}

enum err
field_get(struct db_txn *t, uint32_t no, const struct asset_row *row,
    const struct field_hash *h, struct slice *value)
{
	struct key k = field_key(no, h, FIELD_EDIT);
	enum err e = get_one(t, &k, value);

	return e == ERR_NOTFOUND ? field_get_came(t, no, row, h, value) : e;
}

/* --- tags: views of the facts that live (fact.c) --- */

bool
field_tag_split(struct slice tag, struct slice *name, struct slice *value)
{
	const uint8_t *eq = tag.n > 0 ? memchr(tag.p, '=', tag.n) : NULL;
	size_t n = eq != NULL ? (size_t)(eq - tag.p) : tag.n;

	*name = slice_of(tag.p, n);
	*value =
	    eq != NULL ? slice_of(eq + 1, tag.n - n - 1) : (struct slice){ 0 };
	return n > 0;
}

enum err
field_tag_add(struct db_txn *t, uint32_t no, struct slice tag)
{
	static const struct stamp none = { 0 };
	struct buf b = BUF_MAX(FIELD_ROW_BYTES);
	struct field_hash h, ix;
	struct slice name, value;
	struct ix_code c;
	struct key k;
	enum err e;

	REQUIRE(tag.n <= PUT_TAG_BYTES && field_tag_split(tag, &name, &value));
	field_hash(tag, &h);
	k = field_key(no, &h, FIELD_TAG);
	field_row_write(&b, FIELD_TAG, &none, tag);
	e = key_store(t, DB_FIELD, &k, &b);
	if (e != ERR_OK)
		return e;
	field_hash_pseudo("tag", &ix);
	ix_code_text(name, &c);
	return ix_put(t, &ix, &c, no, FIELD_TAG);
}

struct tags_walk {
	field_tag_fn fn;
	void *ctx;
};

static int
tags_visit(void *ctx, struct slice k, struct slice v)
{
	struct tags_walk *w = ctx;
	struct field_row row;
	enum err e;

	if (k.n == 0 || k.p[k.n - 1] != FIELD_TAG)
		return 0;
	e = field_row_read(FIELD_TAG, v, &row);
	return e == ERR_OK ? w->fn(w->ctx, row.name) : e;
}

enum err
field_tags(struct db_txn *t, uint32_t no, field_tag_fn fn, void *ctx)
{
	struct tags_walk w = { fn, ctx };
	struct key prefix = { 0 };

	key_be32(&prefix, no);
	return key_walk(t, DB_FIELD, key_slice(&prefix), tags_visit, &w);
}

struct tag_name {
	struct slice name;
	bool found;
};

static int
tag_name_visit(void *ctx, struct slice tag)
{
	struct tag_name *n = ctx;
	struct slice name, value;

	(void)field_tag_split(tag, &name, &value);
	n->found = slice_eq(name, n->name);
	return n->found;
}

/* The index knows names only: another value of it may still be there. */
enum err
field_tag_remove(struct db_txn *t, uint32_t no, struct slice tag)
{
	struct tag_name left = { .found = false };
	struct field_hash h, ix;
	struct ix_code c;
	struct slice value;
	struct key k;
	enum err e;

	REQUIRE(field_tag_split(tag, &left.name, &value));
	field_hash(tag, &h);
	k = field_key(no, &h, FIELD_TAG);
	e = db_del(t, DB_FIELD, key_slice(&k));
	if (e != ERR_OK)
		return e == ERR_NOTFOUND ? ERR_OK : e;
	e = field_tags(t, no, tag_name_visit, &left);
	if (e != ERR_OK || left.found)
		return e;
	field_hash_pseudo("tag", &ix);
	ix_code_text(left.name, &c);
	return ix_del(t, &ix, &c, no, FIELD_TAG);
}
