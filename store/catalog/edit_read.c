/* store/catalog/edit_read.c: what was said of an asset, read. */
#include "store/catalog/catalog_internal.h"

#define CHAIN_MAX 8u

static enum err
no_of(struct db_txn *t, const struct asset_id *id, struct key *prefix,
    uint32_t *no)
{
	enum err e = row_asset_no(t, id, no);

	if (e == ERR_OK)
		key_be32(prefix, *no);
	return e;
}

/* --- facts --- */

struct facts_walk {
	struct db_txn *t;
	cat_fact_fn fn;
	void *ctx;
	bool live;
};

static int
facts_visit(void *ctx, struct slice k, struct slice v)
{
	struct facts_walk *w = ctx;
	struct fact_row row;
	enum err e = fact_row_read(k, v, &row);

	if (e != ERR_OK)
		return e;
	if (row.marker || (w->live && !row.live))
		return 0;
	if (row.live && (e = fact_row_stands(w->t, k, &row.f.stands)) != ERR_OK)
		return e;
	return w->fn(w->ctx, &row.f);
}

enum err
cat_facts_each(struct db_txn *t, const struct asset_id *id,
    enum cat_edit_kind kind, bool live, cat_fact_fn fn, void *ctx)
{
	struct facts_walk w = { t, fn, ctx, live };
	struct key prefix = { 0 };
	struct fact_at at;
	uint32_t no = 0;
	enum err e = no_of(t, id, &prefix, &no);

	if (e != ERR_OK)
		return e;
	if (kind != 0) {
		fact_at_edit(no, kind, (struct slice){ 0 }, id, &at);
		key_u8(&prefix, at.place);
	}
	return key_walk(t, DB_FACT, key_slice(&prefix), facts_visit, &w);
}

/* --- links to an asset --- */

struct links_in {
	cat_link_fn fn;
	void *ctx;
};

static int
links_in_visit(
    void *ctx, const struct asset_row *from, uint32_t no, struct slice name)
{
	struct links_in *w = ctx;

	(void)no;
	return w->fn(w->ctx, &from->id, name);
}

enum err
cat_links_in_each(
    struct db_txn *t, const struct asset_id *id, cat_link_fn fn, void *ctx)
{
	struct links_in w = { fn, ctx };

	return fact_links(t, id, (struct slice){ 0 }, links_in_visit, &w);
}

/* --- the value that came --- */

enum err
cat_field_original(struct db_txn *t, const struct asset_id *id,
    struct slice name, struct buf *out)
{
	struct asset_row row = { 0 };
	struct key prefix = { 0 };
	struct field_hash h;
	struct slice value;
	uint32_t no = 0, depth;
	enum err e = no_of(t, id, &prefix, &no);

	field_hash(name, &h);
	if (e == ERR_OK)
		e = row_asset_get(t, no, &row);
	if (e == ERR_OK)
		e = field_get_came(t, no, &row, &h, &value);
	for (depth = 0; e == ERR_NOTFOUND && depth < CHAIN_MAX; depth++) {
		no = row.parent;
		if (no == 0 || row_asset_get(t, no, &row) != ERR_OK)
			return ERR_NOTFOUND;
		e = field_get(t, no, &row, &h, &value);
	}
	if (e != ERR_OK)
		return e;
	if (value.n == 0)
		return ERR_NOTFOUND;
	buf_put_slice(out, value);
	return buf_err(out);
}

/* --- heads of the version graph --- */

struct heads {
	struct cry_id *op;     /* versions */
	struct cry_id *parent; /* of any version */
	uint32_t n, n_parents, cap, cap_parents;
	enum err err;
};

static bool
heads_add(
    struct cry_id **list, uint32_t *n, uint32_t *cap, const struct cry_id *id)
{
	if (*n == *cap) {
		struct cry_id *p =
		    mem_grow(*list, 2 * (size_t)*cap + 16, sizeof(*p));

		if (p == NULL)
			return false;
		*list = p;
		*cap = 2 * *cap + 16;
	}
	(*list)[(*n)++] = *id;
	return true;
}

static int
heads_visit(void *ctx, const struct cat_version *v)
{
	struct heads *h = ctx;
	bool ok = heads_add(&h->op, &h->n, &h->cap, &v->op_id);
	uint32_t i;

	for (i = 0; ok && i < v->n_parents; i++)
		ok = heads_add(
		    &h->parent, &h->n_parents, &h->cap_parents, &v->parents[i]);
	return ok ? 0 : ERR_NOMEM;
}

static int
id_cmp(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct cry_id));
}

/* Latest first. */
enum err
cat_heads(struct store *s, struct db_txn *t, const struct asset_id *id,
    struct cry_id *out, uint32_t max, uint32_t *n)
{
	struct heads h = { 0 };
	uint32_t i;
	enum err e = cat_versions_each(s, t, id, heads_visit, &h);

	*n = 0;
	if (e == ERR_OK && h.n_parents > 1)
		qsort(h.parent, h.n_parents, sizeof(*h.parent), id_cmp);
	for (i = h.n; e == ERR_OK && i > 0 && *n < max; i--) {
		const struct cry_id *op = &h.op[i - 1];

		if (h.n_parents == 0 || bsearch(op, h.parent, h.n_parents,
					    sizeof(*op), id_cmp) == NULL)
			out[(*n)++] = *op;
	}
	mem_free(h.op);
	mem_free(h.parent);
	return e;
}

/* --- retired, locked --- */

enum err
cat_is_retired(struct db_txn *t, const struct asset_id *id, bool *out)
{
	struct asset_row row = { 0 };
	struct key prefix = { 0 };
	uint32_t no = 0, depth;
	enum err e = no_of(t, id, &prefix, &no);

	*out = false;
	for (depth = 0; e == ERR_OK && depth < CHAIN_MAX && no != 0; depth++) {
		e = row_asset_get(t, no, &row);
		*out = e == ERR_OK && row.retired;
		no = *out ? 0 : row.parent;
	}
	return e;
}

struct locked_walk {
	struct db_txn *t;
	cat_asset_fn fn;
	void *ctx;
};

static int
locked_visit(void *ctx, struct slice k, struct slice v)
{
	struct locked_walk *w = ctx;
	struct asset_row row = { 0 };
	struct rd r;
	enum err e;

	(void)v;
	if (k.n < 5)
		return ERR_CORRUPT;
	r = rd_init(slice_of(k.p + k.n - 5, 4)); /* asset, source */
	e = row_asset_get(w->t, rd_be32(&r), &row);
	if (e != ERR_OK)
		return e == ERR_NOTFOUND ? ERR_CORRUPT : e;
	return w->fn(w->ctx, &row.id);
}

enum err
cat_locked_each(struct db_txn *t, cat_asset_fn fn, void *ctx)
{
	struct locked_walk w = { t, fn, ctx };
	struct field_hash h;

	field_hash_pseudo("locked", &h);
	return key_walk(t, DB_IX, slice_of(h.b, sizeof(h.b)), locked_visit, &w);
}

/* --- what is declared and permitted for a level --- */

void
cat_context_id(const struct cat_place *p, struct asset_id *out)
{
	cat_asset_id(p->share, p->compartment, CAT_LEVEL_CONTEXT,
	    level_canonical(p->level), out);
}

static enum err
context_fact(struct db_txn *t, const struct cat_place *p,
    enum cat_edit_kind kind, struct slice name, struct buf *out,
    struct fact_row *row)
{
	static const struct asset_id none;
	struct asset_id id;
	struct fact_at at;
	uint32_t no = 0;
	enum err e;

	cat_context_id(p, &id);
	e = row_asset_no(t, &id, &no);
	if (e != ERR_OK)
		return e;
	fact_at_edit(no, kind, name, &none, &at);
	return fact_stands(t, &at, out, row);
}

enum err
cat_field_type(struct db_txn *t, const struct cat_place *p, struct slice name,
    enum cat_type *out)
{
	struct buf b = BUF_MAX(DB_VALUE_MAX);
	struct fact_row row;
	enum err e = context_fact(t, p, CAT_FIELD_TYPE, name, &b, &row);

	*out = e == ERR_OK ? row.f.type : CAT_TYPE_NONE;
	buf_fini(&b);
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

/* *said: somebody made a list; *in: the name is on it. */
static enum err
context_lists(struct db_txn *t, const struct cat_place *p, const char *what,
    struct slice name, bool *said, bool *in)
{
	struct mp_limits lim = { DB_VALUE_MAX, 64, 2 };
	struct buf b = BUF_MAX(DB_VALUE_MAX);
	struct mp_doc d = { 0 };
	struct fact_row row;
	uint32_t i;
	enum err e = context_fact(t, p, CAT_CONTEXT, slice_str(what), &b, &row);

	*said = e == ERR_OK && row.f.value.n > 0;
	*in = false;
	if (*said)
		e = mp_parse(row.f.value, &lim, &d);
	for (i = 0; e == ERR_OK && *said && !*in && i < mp_len(d.root); i++)
		*in = slice_eq(
		    name, mp_str(&d, mp_at(d.root, i), LIM_NAME_BYTES));
	mp_doc_fini(&d);
	buf_fini(&b);
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

enum err
cat_permitted(struct db_txn *t, const struct cat_place *p, const char *what,
    struct slice name, bool *out)
{
	bool said, in;
	enum err e = context_lists(t, p, what, name, &said, &in);

	*out = e == ERR_OK && (!said || in);
	return e;
}

enum err
cat_reason_needed(
    struct db_txn *t, const struct cat_place *p, struct slice method, bool *out)
{
	bool said;
	enum err e = context_lists(t, p, "reasons", method, &said, out);

	return e;
}
