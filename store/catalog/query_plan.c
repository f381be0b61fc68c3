/* store/catalog/query_plan.c: which index entries to start from.
 *
 * A plan is a set of index ranges that every match is in (or lies below).
 * "and" takes the cheaper side, "or" both sides, "not", "!=" and "~" have
 * none.  Costs are counted in the index, up to a bound. */
#include "store/catalog/query_internal.h"

#define COST_MAX 10000u /* entries counted at most: beyond, all are "many" */

/* --- ranges --- */

struct bounds {
	struct field_hash h;
	struct ix_code lo, hi; /* both inside */
};

static void
bounds_open(struct bounds *b, enum query_op op, uint8_t kind)
{
	size_t i;

	if (op == QOP_LT || op == QOP_LE) {
		b->lo.b[0] = kind;
		b->lo.n = 1;
	}
	if (op == QOP_GT || op == QOP_GE) {
		b->hi.b[0] = kind;
		for (i = 1; i <= 8; i++) /* above any UTF-8 and any number */
			b->hi.b[i] = 0xff;
		b->hi.n = 9;
	}
}

static void
bounds_set(
    const struct query_index *x, const struct query_range *r, struct bounds *b)
{
	const struct query_node *n =
	    r->node == UINT16_MAX ? NULL : &x->q->nodes[r->node];
	uint8_t kind = 't';

	memset(b, 0, sizeof(*b));
	REQUIRE(n != NULL || r->kind == RANGE_LEVEL);
	switch (r->kind) {
	case RANGE_LEVEL:
		field_hash_pseudo("level", &b->h);
		ix_code_text(
		    n != NULL ? n->lit.text : slice_str(x->level), &b->lo);
		break;
	case RANGE_TAG:
		field_hash_pseudo("tag", &b->h);
		ix_code_text(n->tag, &b->lo);
		break;
	case RANGE_RETIRED:
		field_hash_pseudo("retired", &b->h);
		ix_code_text(SLICE_LIT("true"), &b->lo);
		break;
	case RANGE_TEXT:
		b->h = n->field;
		ix_code_text(n->lit.text, &b->lo);
		break;
	case RANGE_NUM:
		kind = 'n';
		b->h = n->field;
		ix_code_num(kind, n->lit.num, &b->lo);
		break;
	case RANGE_DATE:
		kind = 'd';
		b->h = n->field;
		ix_code_num(kind, val_date_num(&n->lit.v), &b->lo);
		break;
	case RANGE_ID: break;
	}
	b->hi = b->lo;
	if (r->kind == RANGE_TEXT || r->kind == RANGE_NUM ||
	    r->kind == RANGE_DATE)
		bounds_open(b, n->op, kind);
}

static struct slice
code_of(struct slice key)
{
	size_t tail = 4 + 1; /* asset number, source */

	if (key.n < FIELD_HASH_BYTES + tail)
		return (struct slice){ 0 };
	return slice_of(
	    key.p + FIELD_HASH_BYTES, key.n - FIELD_HASH_BYTES - tail);
}

static uint32_t
no_of(struct slice key)
{
	struct rd r = rd_init(slice_of(key.p + key.n - 5, 4));

	return rd_be32(&r);
}

static enum err
bounds_walk(
    struct db_txn *t, const struct bounds *b, query_range_fn fn, void *ctx)
{
	struct slice hi = slice_of(b->hi.b, b->hi.n), k, v;
	struct key prefix = { 0 }, from = { 0 };
	struct db_cur *c = NULL;
	enum err e;
	int stop = 0;

	key_put(&prefix, b->h.b, sizeof(b->h.b));
	key_u8(&prefix, b->hi.b[0]);
	key_put(&from, b->h.b, sizeof(b->h.b));
	key_put(&from, b->lo.b, b->lo.n);
	e = db_cur_open(t, DB_IX, key_slice(&prefix), &c);
	if (e != ERR_OK)
		return e;
	e = db_cur_seek(c, key_slice(&from), &k, &v);
	while (e == ERR_OK && stop == 0 && slice_cmp(code_of(k), hi) <= 0) {
		stop = fn(ctx, no_of(k));
		if (stop == 0)
			e = db_cur_next(c, &k, &v);
	}
	db_cur_close(c);
	if (stop < 0)
		return (enum err)stop;
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

/* Ids are found in ASSETX; their first characters are its key's prefix. */
static enum err
id_walk(const struct query_index *x, const struct query_node *n,
    query_range_fn fn, void *ctx)
{
	struct asset_id id;
	uint32_t no;
	enum err e = cat_asset_resolve(x->t, n->lit.text, &id);

	if (e == ERR_OK)
		e = row_asset_no(x->t, &id, &no);
	if (e == ERR_OK) {
		int stop = fn(ctx, no);

		return stop < 0 ? (enum err)stop : ERR_OK;
	}
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

enum err
query_range_walk(const struct query_index *x, const struct query_range *r,
    query_range_fn fn, void *ctx)
{
	struct bounds b;

	if (r->kind == RANGE_ID)
		return id_walk(x, &x->q->nodes[r->node], fn, ctx);
	bounds_set(x, r, &b);
	return bounds_walk(x->t, &b, fn, ctx);
}

bool
query_range_inherits(const struct query_range *r)
{
	return r->kind == RANGE_TEXT || r->kind == RANGE_NUM ||
	       r->kind == RANGE_DATE || r->kind == RANGE_RETIRED;
}

/* --- choosing --- */

static int
cost_count(void *ctx, uint32_t no)
{
	(void)no;
	return ++*(uint64_t *)ctx >= COST_MAX;
}

static enum err
plan_range(const struct query_index *x, uint16_t node, enum range_kind kind,
    struct query_plan *p)
{
	struct query_range r = { node, kind };

	REQUIRE(p->n < PLAN_RANGES_MAX);
	p->r[p->n++] = r;
	p->ok = true;
	return query_range_walk(x, &r, cost_count, &p->cost);
}

/* The readings under which a stored value can satisfy this literal
 * (query_value.c): each has codes of its own in the index. */
static enum err
plan_field(const struct query_index *x, uint16_t node, struct query_plan *p)
{
	const struct query_lit *lit = &x->q->nodes[node].lit;
	bool number = lit->v.plain && !lit->quoted;
	enum err e = ERR_OK;

	if (lit->dated)
		e = plan_range(x, node, RANGE_DATE, p);
	if (e == ERR_OK && lit->num_ok && !lit->v.iso)
		e = plan_range(x, node, RANGE_NUM, p);
	if (e == ERR_OK && !number && !lit->v.iso)
		e = plan_range(x, node, RANGE_TEXT, p);
	return e;
}

/* What is not retired is most of all there is: no plan. */
static enum err
plan_retired(const struct query_index *x, uint16_t node, struct query_plan *p)
{
	const struct query_node *n = &x->q->nodes[node];
	bool yes = slice_eq(n->lit.text, SLICE_LIT("true"));

	if (yes != (n->op == QOP_EQ))
		return ERR_OK;
	return plan_range(x, node, RANGE_RETIRED, p);
}

static enum err
plan_cmp(const struct query_index *x, uint16_t node, struct query_plan *p)
{
	const struct query_node *n = &x->q->nodes[node];

	if (n->of == OF_RETIRED)
		return plan_retired(x, node, p);
	if (n->op == QOP_NE || n->op == QOP_HAS)
		return ERR_OK;
	if (n->of == OF_FIELD)
		return plan_field(x, node, p);
	if (n->of == OF_LEVEL && n->op == QOP_EQ)
		return plan_range(x, node, RANGE_LEVEL, p);
	if (n->of == OF_ID && n->op == QOP_EQ && n->lit.text.n == ASSET_ID_TEXT)
		return plan_range(x, node, RANGE_ID, p);
	return ERR_OK;
}

static void
plan_better(struct query_plan *p, const struct query_plan *b)
{
	if (b->ok && (!p->ok || b->cost < p->cost))
		*p = *b;
}

static void
plan_both(struct query_plan *p, const struct query_plan *b)
{
	uint32_t i;

	p->ok = p->ok && b->ok && p->n + b->n <= PLAN_RANGES_MAX;
	for (i = 0; p->ok && i < b->n; i++)
		p->r[p->n++] = b->r[i];
	p->cost += b->cost;
}

static enum err
plan_node(const struct query_index *x, uint16_t node, struct query_plan *p)
{
	const struct query_node *n = &x->q->nodes[node];
	struct query_plan b = { 0 };
	enum err e;

	*p = (struct query_plan){ 0 };
	switch (n->kind) {
	case QUERY_CMP: return plan_cmp(x, node, p);
	case QUERY_TAG: return plan_range(x, node, RANGE_TAG, p);
	case QUERY_AND:
	case QUERY_OR:
		e = plan_node(x, n->a, p);
		if (e == ERR_OK)
			e = plan_node(x, n->b, &b);
		if (e == ERR_OK && n->kind == QUERY_AND)
			plan_better(p, &b);
		else if (e == ERR_OK)
			plan_both(p, &b);
		return e;
	case QUERY_ALL:
	case QUERY_NOT: return ERR_OK;
	}
	return ERR_OK;
}

enum err
query_plan(struct db_txn *t, const struct cat_query *q, const char *level,
    struct query_plan *out)
{
	struct query_index x = { t, q, level };
	struct query_plan b = { 0 };
	enum err e = plan_node(&x, q->root, out);

	if (e == ERR_OK && level != NULL) {
		e = plan_range(&x, UINT16_MAX, RANGE_LEVEL, &b);
		plan_better(out, &b);
	}
	return e;
}

static bool
level_of(const struct cat_query *q, uint16_t node, char *buf)
{
	const struct query_node *n = &q->nodes[node];

	if (n->kind == QUERY_AND)
		return level_of(q, n->a, buf) || level_of(q, n->b, buf);
	if (n->kind != QUERY_CMP || n->of != OF_LEVEL || n->op != QOP_EQ ||
	    n->lit.text.n > CAT_LEVEL_MAX || n->lit.text.n == 0)
		return false;
	memcpy(buf, n->lit.text.p, n->lit.text.n);
	buf[n->lit.text.n] = '\0';
	return true;
}

const char *
query_level(const struct cat_query *q, char buf[CAT_LEVEL_MAX + 1])
{
	return level_of(q, q->root, buf) ? buf : NULL;
}
