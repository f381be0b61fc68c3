/* store/catalog/remake.c: forgetting what is known of assets, and what is
 * left of them when the ops that count were applied again.
 *
 * An asset keeps its number while its views are made anew: rows of others
 * point to it.  Images of a series stay where they are until a version that
 * counts brings its table; if none does they go.  What came from a member
 * table is no op's and stays. */
#include "store/catalog/remake.h"

#include "store/catalog/catalog_internal.h"

#define REMAKE_ASSETS_MAX 4194304u
#define WIPE_BATCH 64u

struct cat_remake {
	struct asset_id *v;
	uint32_t n, cap, sorted;
};

enum err
cat_remake_new(struct cat_remake **out)
{
	*out = mem_new(sizeof(**out));
	return *out == NULL ? ERR_NOMEM : ERR_OK;
}

void
cat_remake_free(struct cat_remake *x)
{
	if (x != NULL)
		mem_free(x->v);
	mem_free(x);
}

static int
id_cmp(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct asset_id));
}

static bool
has(const struct cat_remake *x, const struct asset_id *id)
{
	if (x->sorted > 0 &&
	    bsearch(id, x->v, x->sorted, sizeof(*x->v), id_cmp) != NULL)
		return true;
	for (uint32_t i = x->sorted; i < x->n; i++) {
		if (id_cmp(&x->v[i], id) == 0)
			return true;
	}
	return false;
}

static enum err
add(struct cat_remake *x, const struct asset_id *id)
{
	if (has(x, id))
		return ERR_OK;
	if (x->n == x->cap) {
		uint32_t cap = 2 * x->cap + 64;
		struct asset_id *p;

		if (x->n >= REMAKE_ASSETS_MAX)
			return ERR_LIMIT;
		if ((p = mem_grow(x->v, cap, sizeof(*p))) == NULL)
			return ERR_NOMEM;
		x->v = p;
		x->cap = cap;
	}
	x->v[x->n++] = *id;
	/* The unsorted end stays short: most look-ups are by halves. */
	if (x->n - x->sorted > 256) {
		qsort(x->v, x->n, sizeof(*x->v), id_cmp);
		x->sorted = x->n;
	}
	return ERR_OK;
}

/* --- what an op speaks of --- */

typedef enum err (*named_fn)(void *ctx, const struct asset_id *id);

static enum err
put_named(const struct cat_remake_op *op, named_fn fn, void *ctx)
{
	struct put_view *v = mem_new(sizeof(*v));
	struct mp_doc doc = { 0 };
	struct asset_id id;
	enum err e =
	    v == NULL ? ERR_NOMEM : mp_parse(op->payload, &put_limits, &doc);

	if (e == ERR_OK)
		e = put_view(&doc, v);
	for (uint32_t i = 0; e == ERR_OK && i < v->n_path; i++) {
		cat_asset_id(op->share, op->compartment, v->path[i].level,
		    v->path[i].key, &id);
		e = fn(ctx, &id);
	}
	mp_doc_fini(&doc);
	mem_free(v);
	return e;
}

static enum err
edit_named(const struct cat_remake_op *op, named_fn fn, void *ctx)
{
	struct edit_view *v = mem_new(sizeof(*v));
	struct asset_id id;
	enum err e = v == NULL ? ERR_NOMEM : edit_parse(op->payload, v);

	if (e == ERR_OK) {
		cat_asset_id(op->share, op->compartment, v->level, v->key, &id);
		e = fn(ctx, &id);
		buf_fini(&v->value);
	}
	mem_free(v);
	return e;
}

static enum err
named(const struct cat_remake_op *op, named_fn fn, void *ctx)
{
	enum err e =
	    op->edit ? edit_named(op, fn, ctx) : put_named(op, fn, ctx);

	return e == ERR_NOMEM || e == ERR_OK ? e : ERR_OK;
}

static enum err
note_one(void *ctx, const struct asset_id *id)
{
	enum err e = add(ctx, id);

	return e == ERR_LIMIT ? ERR_NOMEM : e;
}

enum err
cat_remake_note(struct cat_remake *x, const struct cat_remake_op *op)
{
	return named(op, note_one, x);
}

struct hit {
	const struct cat_remake *x;
	bool found;
};

static enum err
hit_one(void *ctx, const struct asset_id *id)
{
	struct hit *h = ctx;

	h->found |= has(h->x, id);
	return ERR_OK;
}

enum err
cat_remake_hit(
    const struct cat_remake *x, const struct cat_remake_op *op, bool *hit)
{
	struct hit h = { x, false };
	enum err e = named(op, hit_one, &h);

	*hit = h.found;
	return e;
}

/* --- forgetting --- */

struct wipe {
	struct store_txn *t;
	struct db_txn *db;
	uint32_t no;
	struct key k[WIPE_BATCH];
	struct asset_id to[WIPE_BATCH]; /* of links */
	struct buf names;               /* of tags */
	uint64_t bytes;
	uint32_t n;
};

static int
wipe_collect(void *ctx, struct slice k, struct slice v)
{
	struct wipe *w = ctx;
	struct key *out = &w->k[w->n];

	(void)v;
	out->n = 0;
	key_put(out, k.p, k.n);
	return ++w->n == WIPE_BATCH;
}

static int
wipe_version(void *ctx, struct slice k, struct slice v)
{
	struct wipe *w = ctx;
	struct cat_version ver;
	enum err e = row_version_read(k, v, &ver);

	if (e != ERR_OK)
		return e;
	w->bytes += ver.bytes;
	return wipe_collect(ctx, k, v);
}

static int
wipe_fact(void *ctx, struct slice k, struct slice v)
{
	struct wipe *w = ctx;
	struct fact_row row;
	enum err e = fact_row_read(k, v, &row);

	if (e != ERR_OK)
		return e;
	memset(&w->to[w->n], 0, sizeof(w->to[w->n]));
	if (row.place == 'L' && !row.marker)
		w->to[w->n] = row.f.to;
	return wipe_collect(ctx, k, v);
}

/* A link's row the other way: what it points to, asset, hash of its place. */
static enum err
wipe_link(const struct wipe *w, uint32_t i)
{
	struct key k = { 0 };
	enum err e;

	if (w->k[i].b[4] != 'L')
		return ERR_OK;
	key_put(&k, w->to[i].b, sizeof(w->to[i].b));
	key_be32(&k, w->no);
	key_put(&k, w->k[i].b + 5, FIELD_HASH_BYTES);
	e = db_del(w->db, DB_LINKX, key_slice(&k));
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

static enum err
wipe_table(struct wipe *w, enum db_table tab, key_walk_fn fn)
{
	struct key prefix = { 0 };
	enum err e;

	key_be32(&prefix, w->no);
	do {
		w->n = 0;
		e = key_walk(w->db, tab, key_slice(&prefix), fn, w);
		for (uint32_t i = 0; i < w->n && e == ERR_OK; i++) {
			if (tab == DB_FACT)
				e = wipe_link(w, i);
			if (e == ERR_OK)
				e = db_del(w->db, tab, key_slice(&w->k[i]));
		}
	} while (e == ERR_OK && w->n == WIPE_BATCH);
	return e;
}

static int
wipe_tag(void *ctx, struct slice tag)
{
	struct wipe *w = ctx;

	buf_u8(&w->names, (uint8_t)tag.n);
	buf_put_slice(&w->names, tag);
	return buf_err(&w->names);
}

static enum err
wipe_fields(struct wipe *w)
{
	static const enum field_src src[] = { FIELD_EDIT, FIELD_OWN,
		FIELD_PATH };
	struct rd r;
	enum err e = field_tags(w->db, w->no, wipe_tag, w);

	r = rd_init(buf_slice(&w->names));
	while (e == ERR_OK && r.left > 0)
		e = field_tag_remove(w->db, w->no, rd_bytes(&r, rd_u8(&r)));
	buf_fini(&w->names);
	for (uint32_t i = 0; i < 3 && e == ERR_OK; i++)
		e = field_replace(w->db, w->no, src[i], NULL, NULL);
	return e;
}

static enum err
wipe_flags(struct wipe *w)
{
	static const char *const what[] = { "retired", "locked" };
	struct field_hash h;
	struct ix_code c;
	enum err e = ERR_OK;

	ix_code_text(SLICE_LIT("true"), &c);
	for (uint32_t i = 0; i < 2 && e == ERR_OK; i++) {
		field_hash_pseudo(what[i], &h);
		e = ix_del(w->db, &h, &c, w->no, FIELD_EDIT);
	}
	return e;
}

static enum err
wipe_row(struct wipe *w)
{
	static const struct stamp none;
	struct asset_row row = { 0 };
	enum err e = row_asset_get(w->db, w->no, &row);

	if (e != ERR_OK)
		return e;
	if (!row.is_member) /* where an image lies its table says, too */
		e = apply_parent(w->db, w->no, &row, 0);
	row.parent_by = none;
	row.has_source = false;
	memset(&row.source, 0, sizeof(row.source));
	row.n_versions = 0;
	row.head = none;
	row.images_by = none;
	row.mentioned = false;
	row.retired = false;
	return e == ERR_OK ? row_asset_put(w->db, w->no, &row, false) : e;
}

static enum err
wipe_asset(struct wipe *w)
{
	enum err e;

	w->names = BUF_MAX(4 * MIB);
	w->bytes = 0;
	e = wipe_table(w, DB_VERSION, wipe_version);
	if (e == ERR_OK)
		e = row_totals_add(w->db, 0 - w->bytes);
	if (e == ERR_OK)
		e = wipe_table(w, DB_LAY, wipe_collect);
	if (e == ERR_OK)
		e = wipe_fields(w);
	if (e == ERR_OK)
		e = wipe_table(w, DB_FACT, wipe_fact);
	if (e == ERR_OK)
		e = wipe_flags(w);
	return e == ERR_OK ? wipe_row(w) : e;
}

enum err
cat_remake_wipe(struct store_txn *t, const struct cat_remake *x)
{
	struct wipe *w = mem_new(sizeof(*w));
	enum err e = w == NULL ? ERR_NOMEM : ERR_OK;

	for (uint32_t i = 0; i < x->n && e == ERR_OK; i++) {
		w->t = t;
		w->db = store_txn_db(t);
		e = row_asset_no(w->db, &x->v[i], &w->no);
		if (e == ERR_OK)
			e = wipe_asset(w);
		else if (e == ERR_NOTFOUND)
			e = ERR_OK; /* never applied here */
	}
	mem_free(w);
	return e;
}

/* --- what is left --- */

static enum err
end_one(struct db_txn *t, const struct asset_id *id, enum level_rank rank)
{
	static const struct stamp none;
	struct asset_row row = { 0 };
	struct key child = { 0 }, found;
	uint32_t no;
	enum err e = row_asset_no(t, id, &no);

	if (e == ERR_OK)
		e = row_asset_get(t, no, &row);
	if (e != ERR_OK)
		return e == ERR_NOTFOUND ? ERR_OK : e;
	if (level_rank(row.level) != rank)
		return ERR_OK;
	if (rank == LEVEL_SERIES && stamp_cmp(&row.images_by, &none) == 0)
		e = images_drop(t, no);
	if (e != ERR_OK || row.mentioned || row.is_member)
		return e;
	key_be32(&child, no);
	e = key_first(t, DB_CHILD, key_slice(&child), NULL, &found);
	if (e == ERR_NOTFOUND)
		return apply_remove(t, no, &row);
	return e;
}

/* From the leaves up: what has nothing below it any more goes. */
enum err
cat_remake_end(struct store_txn *t, const struct cat_remake *x)
{
	static const enum level_rank order[] = { LEVEL_FREE, LEVEL_IMAGE,
		LEVEL_SERIES, LEVEL_EXAM, LEVEL_SUBJECT, LEVEL_PROJECT };
	enum err e = ERR_OK;

	for (size_t k = 0; k < sizeof(order) / sizeof(order[0]); k++) {
		for (uint32_t i = 0; i < x->n && e == ERR_OK; i++)
			e = end_one(store_txn_db(t), &x->v[i], order[k]);
	}
	return e;
}

enum err
cat_remake_unput(struct store_txn *t, uint64_t lseq)
{
	struct op_row op;
	enum err e = oplog_row_get(store_txn_db(t), lseq, &op);

	if (e != ERR_OK || op.asset == 0)
		return e;
	op.asset = 0;
	return oplog_row_put(store_txn_db(t), lseq, &op);
}

/* --- walking the log --- */

struct ops_walk {
	uint32_t share;
	uint16_t compartment;
	cat_remake_fn fn;
	void *ctx;
};

static int
ops_visit(const struct ops_walk *w, struct slice k, struct slice v)
{
	struct rd r = rd_init(k);
	uint64_t lseq = rd_be64(&r);
	struct op_row row;
	enum err e = key_decoded(&r);

	if (e == ERR_OK)
		e = oplog_row_decode(v, &row);
	if (e != ERR_OK)
		return e;
	if (row.share != w->share || row.compartment != w->compartment)
		return 0;
	return w->fn(w->ctx, lseq);
}

enum err
/* NOLINTNEXTLINE(readability-function-size): one walk, six inputs */
cat_ops_each(struct db_txn *t, uint32_t share_no, uint16_t compartment,
    uint64_t after, cat_remake_fn fn, void *ctx)
{
	struct ops_walk w = { share_no, compartment, fn, ctx };
	struct db_cur *c = NULL;
	struct key from = { 0 };
	struct slice k, v;
	int stop = 0;
	enum err e = db_cur_open(t, DB_OP, (struct slice){ 0 }, &c);

	if (e != ERR_OK)
		return e;
	key_be64(&from, after + 1);
	for (e = db_cur_seek(c, key_slice(&from), &k, &v); e == ERR_OK;
	     e = db_cur_next(c, &k, &v)) {
		stop = ops_visit(&w, k, v);
		if (stop != 0)
			break;
	}
	db_cur_close(c);
	if (stop != 0)
		return stop < 0 ? (enum err)stop : ERR_OK;
	return e == ERR_NOTFOUND ? ERR_OK : e;
}
