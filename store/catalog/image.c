/* store/catalog/image.c: the images of a series, as rows.
 *
 * rulings.md 7: the series version is the op; image rows are views of its
 * member table, made when its content is here and replaced when a later
 * version's is.  An image that ops name too keeps what they say.
 *
 * Happy path: a first walk over the table finds the fields that all images
 * have alike, which lie once at the series; a second lays a row an image
 * with what is its own.  For a large table cat_laying_step() does it in many
 * jobs: first what was there goes, then the images come; the version is
 * complete with the last.
 * Failure modes: whatever happens to the series between two steps shows in
 * its row or in that of LAY: the steps begin again, or end. */
#include "store/catalog/images.h"

#include "store/catalog/catalog_internal.h"

#define IMAGE_BATCH 64u
#define COMMON_MAX 64u /* the first fields of a table's first image */

static const struct mp_limits image_limits = {
	.bytes_max = 64 * KIB,
	.count_max = 1024,
	.depth_max = 3,
};

struct image_batch {
	uint32_t no[IMAGE_BATCH];
	uint32_t n;
	uint32_t after; /* child numbers up to here are done */
};

static int
image_note(void *ctx, struct slice k, struct slice v)
{
	struct image_batch *b = ctx;
	struct rd r = rd_init(k);
	uint32_t no;

	(void)v;
	(void)rd_bytes(&r, 4 + 1);
	no = rd_be32(&r);
	if (key_decoded(&r) != ERR_OK)
		return ERR_CORRUPT;
	if (no <= b->after)
		return 0;
	b->no[b->n++] = no;
	return b->n == IMAGE_BATCH;
}

static enum err
image_drop(struct db_txn *t, uint32_t no)
{
	struct asset_row row = { 0 };
	enum err e = row_asset_get(t, no, &row);

	if (e != ERR_OK || !row.is_member)
		return e;
	if (!row.mentioned)
		return apply_remove(t, no, &row);
	row.is_member = false;
	row.member = 0;
	row.member_bytes = 0;
	memset(&row.member_hash, 0, sizeof(row.member_hash));
	e = field_replace(t, no, FIELD_MEMBER, NULL, NULL);
	return e == ERR_OK ? row_asset_put(t, no, &row, false) : e;
}

/* The next few after b->after; fewer than IMAGE_BATCH: no more, and what they
 * had alike goes too. */
static enum err
images_drop_some(struct db_txn *t, uint32_t series, struct image_batch *b)
{
	struct key prefix = { 0 };
	uint32_t i;
	enum err e;

	key_be32(&prefix, series);
	key_u8(&prefix, LEVEL_IMAGE);
	b->n = 0;
	e = key_walk(t, DB_CHILD, key_slice(&prefix), image_note, b);
	for (i = 0; i < b->n && e == ERR_OK; i++) {
		b->after = b->no[i];
		e = image_drop(t, b->no[i]);
	}
	if (e == ERR_OK && b->n < IMAGE_BATCH)
		e = field_replace(t, series, FIELD_COMMON, NULL, NULL);
	return e;
}

enum err
images_drop(struct db_txn *t, uint32_t series)
{
	struct image_batch b = { .n = 0 };
	enum err e;

	do
		e = images_drop_some(t, series, &b);
	while (e == ERR_OK && b.n == IMAGE_BATCH);
	return e;
}

/* The image's natural key: its SOP instance UID (rulings.md 9). */
static bool
image_key(const struct mp_node *fields, char *out, size_t cap)
{
	struct mp_doc d = { 0 };

	if (!put_fields_valid(fields))
		return false;
	mp_text(&d, mp_get(fields, "SOPInstanceUID"), out, cap);
	return d.err == ERR_OK && put_text_valid(slice_str(out), CAT_KEY_MAX);
}

/* fn(image i of the table, its key, its fields).  A file that is no image we
 * know is passed over: it is still there to export. */
typedef enum err (*image_fn)(void *ctx, uint32_t i,
    const struct content_member *m, const char *key,
    const struct mp_node *fields);

static enum err
image_visit(const struct content *c, uint32_t i, image_fn fn, void *ctx)
{
	struct mp_doc doc = { 0 };
	struct content_member m;
	char key[CAT_KEY_MAX + 1];
	enum err e;

	content_member(c, i, &m);
	if (m.fields.n == 0)
		return ERR_OK;
	e = mp_parse(m.fields, &image_limits, &doc);
	if (e == ERR_OK && image_key(doc.root, key, sizeof(key)))
		e = fn(ctx, i, &m, key, doc.root);
	else if (e != ERR_NOMEM)
		e = ERR_OK;
	mp_doc_fini(&doc);
	return e;
}

static enum err
images_each(const struct content *c, image_fn fn, void *ctx)
{
	uint32_t i, n = content_n(c);
	enum err e = ERR_OK;

	for (i = 0; i < n && e == ERR_OK; i++)
		e = image_visit(c, i, fn, ctx);
	return e;
}

/* --- what all images have alike --- */

struct common_field {
	char name[CAT_FIELD_MAX + 1];
	struct buf value; /* encoded */
};

struct common {
	struct common_field f[COMMON_MAX];
	uint32_t n;
	uint32_t images;
};

static void
common_drop(struct common *c, uint32_t k)
{
	buf_fini(&c->f[k].value);
	c->f[k] = c->f[--c->n];
}

static void
common_fini(struct common *c)
{
	while (c->n > 0)
		common_drop(c, 0);
}

static enum err
common_begin(struct common *c, const struct mp_node *fields)
{
	struct slice name;
	uint32_t i;
	enum err e = ERR_OK;

	for (i = 0; i < mp_len(fields) && i < COMMON_MAX && e == ERR_OK; i++) {
		const struct mp_node *v = mp_member(fields, i, &name);
		struct common_field *f = &c->f[c->n++];

		memcpy(f->name, name.p, name.n);
		f->name[name.n] = '\0';
		f->value = BUF_MAX(PUT_VALUE_BYTES);
		mp_w_node(&f->value, v);
		e = buf_err(&f->value);
	}
	return e;
}

static bool
common_same(
    const struct common_field *f, const struct mp_node *value, struct buf *tmp)
{
	if (value == NULL)
		return false;
	buf_reset(tmp);
	mp_w_node(tmp, value);
	return slice_eq(buf_slice(tmp), buf_slice(&f->value));
}

static enum err
common_image(void *ctx, uint32_t i, const struct content_member *m,
    const char *key, const struct mp_node *fields)
{
	struct common *c = ctx;
	struct buf tmp = BUF_MAX(PUT_VALUE_BYTES);
	uint32_t k = c->n;
	enum err e;

	(void)i;
	(void)m;
	(void)key;
	if (c->images++ == 0)
		return common_begin(c, fields);
	for (; k > 0; k--) {
		const struct common_field *f = &c->f[k - 1];

		if (!common_same(f, mp_get(fields, f->name), &tmp))
			common_drop(c, k - 1);
	}
	e = buf_err(&tmp);
	buf_fini(&tmp);
	return e;
}

static enum err
common_find(struct common *common, const struct content *c)
{
	enum err e = images_each(c, common_image, common);

	if (common->images < 2) /* each has its own */
		common_fini(common);
	return e;
}

static bool
common_has(const struct common *c, struct slice name)
{
	for (uint32_t k = 0; k < c->n; k++) {
		if (slice_eq(slice_str(c->f[k].name), name))
			return true;
	}
	return false;
}

/* --- the rows --- */

struct image_at {
	struct db_txn *t;
	struct apply_at at;
	uint32_t series;
	const struct stamp *by;
	struct common common;
};

static enum err
image_fields(
    const struct image_at *x, uint32_t no, const struct mp_node *fields)
{
	struct slice name;
	uint32_t i;
	enum err e = field_replace(x->t, no, FIELD_MEMBER, NULL, NULL);

	for (i = 0; i < mp_len(fields) && e == ERR_OK; i++) {
		const struct mp_node *v = mp_member(fields, i, &name);

		if (!common_has(&x->common, name))
			e = field_set(x->t, no, FIELD_MEMBER, x->by, name, v);
	}
	return e;
}

static enum err
common_put(struct image_at *x)
{
	enum err e = ERR_OK;

	for (uint32_t k = 0; k < x->common.n && e == ERR_OK; k++) {
		const struct common_field *f = &x->common.f[k];

		e = field_set_raw(x->t, x->series, FIELD_COMMON, x->by,
		    slice_str(f->name), buf_slice(&f->value));
	}
	return e;
}

static enum err
image_put(void *ctx, uint32_t i, const struct content_member *m,
    const char *key, const struct mp_node *fields)
{
	static const struct stamp nobody = { 0 };
	const struct image_at *x = ctx;
	struct asset_row row = { 0 };
	uint32_t no;
	enum err e = apply_asset(x->t, &x->at, "image", key, &no);

	if (e == ERR_OK)
		e = row_asset_get(x->t, no, &row);
	/* An edit names an image, but not where it lies. */
	if (e == ERR_OK && stamp_cmp(&row.parent_by, &nobody) == 0)
		e = apply_parent(x->t, no, &row, x->series);
	if (e != ERR_OK)
		return e;
	if (row.parent != x->series)
		return ERR_OK; /* an op says that it belongs elsewhere */
	row.is_member = true;
	row.member = i;
	row.member_hash = m->hash;
	row.member_bytes = m->len;
	e = row_asset_put(x->t, no, &row, false);
	return e == ERR_OK ? image_fields(x, no, fields) : e;
}

enum err
image_index(struct db_txn *t, uint32_t series, struct asset_row *row,
    const struct content *c, const struct stamp *by)
{
	struct image_at *x;
	enum err e;

	if (stamp_cmp(by, &row->images_by) <= 0)
		return ERR_OK; /* a later version's images are shown */
	x = mem_new(sizeof(*x));
	if (x == NULL)
		return ERR_NOMEM;
	x->t = t;
	x->at = (struct apply_at){ .share_no = row->share_no,
		.share = &row->share,
		.compartment = row->compartment,
		.created_ms = row->created_ms };
	x->series = series;
	x->by = by;
	e = images_drop(t, series);
	if (e == ERR_OK)
		e = common_find(&x->common, c);
	if (e == ERR_OK)
		e = common_put(x);
	if (e == ERR_OK)
		e = images_each(c, image_put, x);
	common_fini(&x->common);
	mem_free(x);
	row->images_by = *by;
	return e == ERR_OK ? row_asset_put(t, series, row, false) : e;
}

/* --- a large table --- */

struct cat_laying {
	struct key key; /* of its row in LAY */
	uint32_t no;
	struct asset_id id;
	struct stamp by;
	struct cry_id share;
	struct content *c; /* NULL: its author wrote it badly */
	struct image_at x;
	/* What the steps have done, and what the series' row said when they
	 * began. */
	bool begun;
	struct stamp base;
	struct image_batch gone;
	bool dropped;
	uint32_t at;
};

enum err
images_later(struct db_txn *t, uint32_t no, const struct cat_origin *o)
{
	struct stamp by = { .lamport = o->lamport, .op = o->op_id };
	bool quiet =
	    o->quiet || cat_told_has(o->told, "content.complete", &o->op_id);
	struct buf v = BUF_MAX(16);
	struct key k = { 0 };

	row_version_key(no, &by, &k);
	buf_u8(&v, quiet);
	buf_u64(&v, o->wall_ms);
	return key_store(t, DB_LAY, &k, &v);
}

enum err
images_not(struct db_txn *t, uint32_t no, const struct stamp *by)
{
	struct key k = { 0 };
	enum err e;

	row_version_key(no, by, &k);
	e = db_del(t, DB_LAY, key_slice(&k));
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

/* The first key after the one that is there. */
static int
laying_next(void *ctx, struct slice k, struct slice v)
{
	struct key *out = ctx;

	(void)v;
	if (out->n == k.n && memcmp(k.p, out->b, k.n) <= 0)
		return 0;
	out->n = 0;
	key_put(out, k.p, k.n);
	return 1;
}

static enum err
laying_key_read(struct cat_laying *l)
{
	struct rd r = rd_init(key_slice(&l->key));
	struct slice op;

	l->no = rd_be32(&r);
	l->by.lamport = rd_be64(&r);
	op = rd_bytes(&r, sizeof(l->by.op.b));
	if (key_decoded(&r) != ERR_OK)
		return ERR_CORRUPT;
	memcpy(l->by.op.b, op.p, op.n);
	return ERR_OK;
}

static enum err
laying_find(struct store *s, struct db_txn *t, struct cat_laying *l)
{
	struct buf manifest = BUF_MAX(LIM_OP_PAYLOAD_BYTES);
	struct asset_row row = { 0 };
	enum err e = laying_key_read(l);

	if (e == ERR_OK)
		e = row_asset_get(t, l->no, &row);
	if (e != ERR_OK)
		return e;
	l->id = row.id;
	l->share = row.share;
	l->x.series = l->no;
	l->x.by = &l->by;
	l->x.at = (struct apply_at){ .share_no = row.share_no,
		.share = &l->share,
		.compartment = row.compartment,
		.created_ms = row.created_ms };
	e = row_body_get(s, t, &l->by.op, &manifest, NULL);
	if (e == ERR_OK)
		e = content_open_in(s, t, buf_slice(&manifest), &l->c);
	buf_fini(&manifest);
	return e;
}

/* *more: there is one after the key that l has; it may be ERR_NOTFOUND. */
static enum err
laying_read(struct store *s, struct cat_laying *l, bool *more)
{
	struct key last = l->key;
	struct db_txn *t;
	enum err e = store_read(s, &t);

	*more = false;
	if (e != ERR_OK)
		return e;
	e = key_walk(t, DB_LAY, (struct slice){ 0 }, laying_next, &l->key);
	*more = e == ERR_OK && !slice_eq(key_slice(&l->key), key_slice(&last));
	if (*more)
		e = laying_find(s, t, l);
	db_abort(t);
	if (*more && e == ERR_OK)
		e = common_find(&l->x.common, l->c);
	return images_table_bad(e) ? ERR_OK : e;
}

enum err
cat_laying_open(struct store *s, struct cat_laying **out)
{
	struct cat_laying *l = mem_new(sizeof(*l));
	bool more;
	enum err e;

	if (l == NULL)
		return ERR_NOMEM;
	/* One whose chunks have gone again waits until they are back. */
	do
		e = laying_read(s, l, &more);
	while (more && e == ERR_NOTFOUND);
	if (more && e == ERR_OK) {
		*out = l;
		return ERR_OK;
	}
	cat_laying_close(l);
	return e == ERR_OK ? ERR_NOTFOUND : e;
}

void
cat_laying_close(struct cat_laying *l)
{
	if (l == NULL)
		return;
	common_fini(&l->x.common);
	content_close(l->c);
	mem_free(l);
}

/* The version is complete; waits: its row of LAY, which goes. */
static enum err
laying_end(struct store_txn *t, const struct cat_laying *l,
    struct cat_version *v, struct slice waits)
{
	static const struct slice none;
	struct db_txn *db = store_txn_db(t);
	struct cat_origin o = { .share = l->share,
		.compartment = l->x.at.compartment,
		.op_id = l->by.op };
	const char *type = l->c == NULL ? "content.bad" : "content.complete";
	struct rd r = rd_init(waits);
	enum err e;

	o.quiet = rd_u8(&r) != 0;
	o.wall_ms = rd_u64(&r);
	if ((e = key_decoded(&r)) != ERR_OK)
		return e;
	v->complete = true;
	e = row_version_put(db, l->no, v);
	if (e == ERR_OK)
		e = images_not(db, l->no, &l->by);
	return e == ERR_OK ? apply_event(t, &o, &l->id, type, none) : e;
}

/* Another version's images came in between: what there is now goes first. */
static void
laying_begin(struct cat_laying *l, const struct asset_row *row)
{
	if (l->begun && stamp_cmp(&l->base, &row->images_by) == 0)
		return;
	l->begun = true;
	l->base = row->images_by;
	l->gone.after = 0;
	l->dropped = false;
	l->at = 0;
}

static enum err
laying_drop(struct cat_laying *l, struct asset_row *row)
{
	enum err e = ERR_OK;
	uint32_t n = 0;

	for (; n < CAT_LAY_STEP && !l->dropped && e == ERR_OK; n += l->gone.n) {
		e = images_drop_some(l->x.t, l->no, &l->gone);
		l->dropped = l->gone.n < IMAGE_BATCH;
	}
	if (e != ERR_OK || !l->dropped)
		return e;
	/* From here on the images are this version's. */
	row->images_by = l->base = l->by;
	e = row_asset_put(l->x.t, l->no, row, false);
	return e == ERR_OK ? common_put(&l->x) : e;
}

static enum err
laying_put(struct cat_laying *l)
{
	uint32_t n = content_n(l->c) - l->at, i;
	enum err e = ERR_OK;

	n = n < CAT_LAY_STEP ? n : CAT_LAY_STEP;
	for (i = 0; i < n && e == ERR_OK; i++)
		e = image_visit(l->c, l->at++, image_put, &l->x);
	return e;
}

static enum err
laying_go_on(
    struct store_txn *t, struct cat_laying *l, struct slice waits, bool *more)
{
	struct asset_row row = { 0 };
	struct cat_version v;
	enum err e = row_asset_get(l->x.t, l->no, &row);

	if (e == ERR_OK)
		e = row_version_get(l->x.t, l->no, &l->by, &v);
	if (e != ERR_OK)
		return e;
	/* A later version's images are shown, or there is nothing to show. */
	if (l->c == NULL || stamp_cmp(&l->by, &row.images_by) < 0)
		return laying_end(t, l, &v, waits);
	laying_begin(l, &row);
	*more = !l->dropped || l->at < content_n(l->c);
	if (!*more)
		return laying_end(t, l, &v, waits);
	return l->dropped ? laying_put(l) : laying_drop(l, &row);
}

enum err
cat_laying_step(struct store_txn *t, struct cat_laying *l, bool *more)
{
	struct buf waits = BUF_MAX(16);
	struct slice v;
	enum err e = db_get(store_txn_db(t), DB_LAY, key_slice(&l->key), &v);

	*more = false;
	if (e != ERR_OK) /* settled by others: the content is gone, say */
		return e == ERR_NOTFOUND ? ERR_OK : e;
	buf_put_slice(&waits, v); /* v ends with the first write */
	l->x.t = store_txn_db(t);
	e = buf_err(&waits);
	if (e == ERR_OK)
		e = laying_go_on(t, l, buf_slice(&waits), more);
	buf_fini(&waits);
	return e;
}
