/* store/catalog/query_eval.c: does one asset match?
 *
 * A field's value is the asset's own or, if it has none, that of the nearest
 * asset above it.  Of a multi-valued field any value may match; "!=" is true
 * when the field is there and no value equals. */
#include "store/base/clock.h"
#include "store/base/enc.h"
#include "store/catalog/query_internal.h"

/* Row i of the chain, read if need be; NULL above the top. */
static enum err
chain_row(struct query_run *r, uint32_t i, const struct asset_row **out)
{
	*out = NULL;
	while (r->n <= i) {
		uint32_t up = r->rows[r->n - 1].parent;
		enum err e;

		if (up == 0 || r->n == QUERY_CHAIN_MAX)
			return ERR_OK;
		e = row_asset_get(r->t, up, &r->rows[r->n]);
		if (e != ERR_OK)
			return e == ERR_NOTFOUND ? ERR_CORRUPT : e;
		r->nos[r->n++] = up;
	}
	*out = &r->rows[i];
	return ERR_OK;
}

struct scan {
	enum query_op op;
	const struct query_lit *lit;
};

static int
scan_one(void *ctx, const struct val *v)
{
	const struct scan *s = ctx;

	return query_value_match(s->op, s->lit, v);
}

static enum err
eval_value(const struct query_node *n, struct slice value, bool *out)
{
	bool ne = n->op == QOP_NE;
	struct scan s = { ne ? QOP_EQ : n->op, &n->lit };
	int hit = 0;
	enum err e = field_scalars(value, scan_one, &s, &hit);

	*out = (hit != 0) != ne;
	return e;
}

static enum err
eval_field(struct query_run *r, const struct query_node *n, bool *out)
{
	const struct asset_row *row;
	struct slice value;
	uint32_t i;
	enum err e;

	*out = false;
	for (i = 0;; i++) {
		e = chain_row(r, i, &row);
		if (e != ERR_OK || row == NULL)
			return e;
		if (n->level[0] != '\0' && strcmp(n->level, row->level) != 0)
			continue;
		e = field_get(r->t, r->nos[i], row, &n->field, &value);
		if (e == ERR_OK && value.n == 0)
			return ERR_OK; /* an edit took it away */
		if (e == ERR_OK)
			return eval_value(n, value, out);
		if (e != ERR_NOTFOUND)
			return e;
	}
}

static bool
eval_scalar(const struct query_node *n, const struct val *v)
{
	if (n->op == QOP_NE)
		return !query_value_match(QOP_EQ, &n->lit, v);
	return query_value_match(n->op, &n->lit, v);
}

static bool
eval_id(const struct query_node *n, struct slice id)
{
	char text[ENC_B32_LEN(32) + 1];
	size_t i, len = ENC_B32_LEN(id.n);
	bool same = n->lit.text.n <= len;

	enc_b32(id, text);
	for (i = 0; same && i < n->lit.text.n; i++) {
		uint8_t c = n->lit.text.p[i];

		if (c >= 'A' && c <= 'Z')
			c = (uint8_t)(c - 'A' + 'a');
		same = c == (uint8_t)text[i];
	}
	return same == (n->op == QOP_EQ);
}

enum err
query_retired(struct query_run *r, bool *out)
{
	const struct asset_row *row;
	uint32_t i;
	enum err e;

	*out = false;
	for (i = 0; !*out; i++) {
		e = chain_row(r, i, &row);
		if (e != ERR_OK || row == NULL)
			return e;
		*out = row->retired;
	}
	return ERR_OK;
}

enum err
query_any_retired(struct db_txn *t, bool *out)
{
	struct field_hash h;
	struct key first = { 0 };
	enum err e;

	field_hash_pseudo("retired", &h);
	e = key_first(t, DB_IX, slice_of(h.b, sizeof(h.b)), NULL, &first);
	*out = e == ERR_OK;
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

enum err
query_hidden(struct query_run *r, bool retired, bool *out)
{
	*out = !r->q->says_context &&
	       strcmp(r->rows[0].level, CAT_LEVEL_CONTEXT) == 0;
	if (*out || !retired || r->q->says_retired)
		return ERR_OK;
	return query_retired(r, out);
}

static enum err
eval_retired(struct query_run *r, const struct query_node *n, bool *out)
{
	bool want = slice_eq(n->lit.text, SLICE_LIT("true"));
	bool is = false;
	enum err e = query_retired(r, &is);

	*out = (is == want) == (n->op == QOP_EQ);
	return e;
}

static enum err
eval_cmp(struct query_run *r, const struct query_node *n, bool *out)
{
	const struct asset_row *row = &r->rows[0];
	char text[CLOCK_TEXT_LEN + 1];
	struct val v = { .kind = VAL_NUM, .num = row->compartment };

	switch (n->of) {
	case OF_FIELD: return eval_field(r, n, out);
	case OF_RETIRED: return eval_retired(r, n, out);
	case OF_ID: *out = eval_id(n, slice_of(row->id.b, 20)); break;
	case OF_SHARE: *out = eval_id(n, slice_of(row->share.b, 32)); break;
	case OF_COMPARTMENT: *out = eval_scalar(n, &v); break;
	case OF_LEVEL:
		val_of_text(slice_str(row->level), &v);
		*out = eval_scalar(n, &v);
		break;
	case OF_CREATED:
		clock_text(row->created_ms, text);
		val_of_text(slice_str(text), &v);
		*out = eval_scalar(n, &v);
		break;
	}
	return ERR_OK;
}

struct tag_scan {
	struct db_txn *t;
	const struct query_node *n;
	bool found;
};

static int
tag_visit(void *ctx, struct slice tag)
{
	struct tag_scan *s = ctx;
	struct slice name, value;

	(void)field_tag_split(tag, &name, &value);
	s->found = slice_eq(name, s->n->tag) &&
		   (!s->n->has_lit || slice_eq(value, s->n->lit.text));
	return s->found;
}

static int
tag_group(void *ctx, uint32_t group)
{
	struct tag_scan *s = ctx;
	enum err e = field_tags(s->t, group, tag_visit, s);

	return e != ERR_OK ? (int)e : s->found;
}

/* Its own, or of a group it is a member of. */
static enum err
eval_tag(struct query_run *r, const struct query_node *n, bool *out)
{
	struct tag_scan s = { .t = r->t, .n = n };
	enum err e = field_tags(r->t, r->nos[0], tag_visit, &s);

	if (e == ERR_OK && !s.found)
		e = fact_groups(r->t, &r->rows[0].id, tag_group, &s);
	*out = s.found;
	return e;
}

/* The tree has at most QUERY_NODES_MAX nodes, so this ends. */
enum err
query_eval(struct query_run *r, uint16_t node, bool *out)
{
	const struct query_node *n = &r->q->nodes[node];
	enum err e;

	switch (n->kind) {
	case QUERY_ALL: *out = true; return ERR_OK;
	case QUERY_CMP: return eval_cmp(r, n, out);
	case QUERY_TAG: return eval_tag(r, n, out);
	case QUERY_NOT:
		e = query_eval(r, n->a, out);
		*out = !*out;
		return e;
	case QUERY_AND:
	case QUERY_OR:
		e = query_eval(r, n->a, out);
		if (e != ERR_OK || *out == (n->kind == QUERY_OR))
			return e;
		return query_eval(r, n->b, out);
	}
	return ERR_OK;
}
