/* store/catalog/expect.c: expected series: rules as facts, exams held against
 * them.
 *
 * Happy path: the standing rules of a compartment are read and their queries
 * parsed once; then each series of an exam is asked each query.  A rule whose
 * query this version cannot parse is ERR_CORRUPT: to pass it over would call
 * an exam complete. */
#include "store/catalog/catalog_internal.h"

struct expect_rule {
	struct cat_expect x;
	struct cat_query *where;
	struct cat_query *exams; /* NULL: all */
};
struct cat_expects {
	uint32_t n;
	struct expect_rule rule[CAT_EXPECT_RULES];
};

static const struct mp_limits expect_limits = {
	.bytes_max = CAT_EDIT_VALUE_MAX,
	.count_max = 16,
	.depth_max = 2,
};

/* --- one rule --- */

void
cat_expect_encode(const struct cat_expect *x, struct buf *out)
{
	mp_w_map(out, 4);
	mp_kv_cstr(out, "where", x->where);
	mp_kv_cstr(out, "exams", x->exams);
	mp_kv_u64(out, "series", x->series);
	mp_kv_u64(out, "images", x->images);
}

static enum err
expect_read(const struct mp_node *m, struct cat_expect *out)
{
	struct mp_doc d = { 0 };

	mp_text(&d, mp_get(m, "where"), out->where, sizeof(out->where));
	mp_text(&d, mp_get(m, "exams"), out->exams, sizeof(out->exams));
	out->series =
	    (uint32_t)mp_u64(&d, mp_get(m, "series"), CAT_EXPECT_SERIES);
	out->images =
	    (uint32_t)mp_u64(&d, mp_get(m, "images"), CAT_EXPECT_IMAGES);
	if (d.err != ERR_OK || out->series == 0 || out->where[0] == '\0' ||
	    !put_lines_valid(slice_str(out->where)) ||
	    !put_lines_valid(slice_str(out->exams)))
		return ERR_MALFORMED;
	return ERR_OK;
}

bool
expect_value_valid(const struct mp_node *value)
{
	struct cat_expect x;

	return mp_type(value) == MP_MAP && expect_read(value, &x) == ERR_OK;
}

bool
cat_expect_holds(const struct cat_expect *x, const struct cat_expected *e)
{
	return !e->applies || e->series >= x->series;
}

/* --- those of a compartment --- */

static void
context_of_exams(
    const struct cry_id *share, uint16_t compartment, struct asset_id *out)
{
	struct cat_place place = {
		.share = share, .compartment = compartment, .level = "exam"
	};

	cat_context_id(&place, out);
}

static enum err
rule_parse(const struct cat_fact *f, struct expect_rule *r)
{
	struct mp_doc d = { 0 };
	enum err e = mp_parse(f->value, &expect_limits, &d);

	if (e == ERR_OK)
		e = expect_read(d.root, &r->x);
	mp_doc_fini(&d);
	if (e != ERR_OK || f->name.n >= sizeof(r->x.name))
		return e == ERR_NOMEM ? e : ERR_CORRUPT;
	memcpy(r->x.name, f->name.p, f->name.n);
	e = cat_query_parse(slice_str(r->x.where), &r->where, NULL);
	if (e == ERR_OK && r->x.exams[0] != '\0')
		e = cat_query_parse(slice_str(r->x.exams), &r->exams, NULL);
	return e == ERR_OK || e == ERR_NOMEM ? e : ERR_CORRUPT;
}

static int
rule_fact(void *ctx, const struct cat_fact *f)
{
	struct cat_expects *x = ctx;

	if (!f->stands || f->value.n == 0)
		return 0;
	if (x->n == CAT_EXPECT_RULES)
		return ERR_LIMIT;
	return rule_parse(f, &x->rule[x->n++]);
}

enum err
cat_expects_load(struct db_txn *t, const struct cry_id *share,
    uint16_t compartment, struct cat_expects **out)
{
	struct cat_expects *x = mem_new(sizeof(*x));
	struct asset_id id;
	enum err e;

	*out = NULL;
	if (x == NULL)
		return ERR_NOMEM;
	context_of_exams(share, compartment, &id);
	e = cat_facts_each(t, &id, CAT_EXPECT, true, rule_fact, x);
	if (e != ERR_OK && e != ERR_NOTFOUND) {
		cat_expects_free(x);
		return e;
	}
	*out = x;
	return ERR_OK;
}

void
cat_expects_free(struct cat_expects *x)
{
	if (x == NULL)
		return;
	for (uint32_t i = 0; i < x->n; i++) {
		cat_query_free(x->rule[i].where);
		cat_query_free(x->rule[i].exams);
	}
	mem_free(x);
}

uint32_t
cat_expects_count(const struct cat_expects *x)
{
	return x->n;
}

const struct cat_expect *
cat_expects_rule(const struct cat_expects *x, uint32_t i)
{
	REQUIRE(i < x->n);
	return &x->rule[i].x;
}

/* --- an exam held against them --- */

struct exam_walk {
	const struct cat_expects *x;
	struct store *s;
	struct db_txn *t;
	struct cat_exam *out;
	struct cat_asset *a;
};

static enum err
series_count(const struct exam_walk *w, uint32_t i)
{
	const struct expect_rule *r = &w->x->rule[i];
	struct cat_expected *n = &w->out->rule[i];
	uint32_t images = w->a->head.members;
	bool hit = false;
	enum err e;

	if (!n->applies)
		return ERR_OK;
	e = cat_match(w->s, w->t, r->where, &w->a->id, &hit);
	if (e != ERR_OK || !hit)
		return e;
	if (images >= r->x.images) {
		n->series++;
		return ERR_OK;
	}
	n->few++;
	n->most = images > n->most ? images : n->most;
	return ERR_OK;
}

static int
exam_child(void *ctx, const struct asset_id *child)
{
	struct exam_walk *w = ctx;
	bool retired = false;
	enum err e = cat_asset_get(w->s, w->t, child, w->a);

	if (e != ERR_OK)
		return e;
	if (strcmp(w->a->level, "series") != 0 || w->a->n_versions == 0)
		return 0;
	if ((e = cat_is_retired(w->t, child, &retired)) != ERR_OK)
		return e;
	if (retired)
		return 0;
	w->out->series++;
	if (w->a->head.created_ms >= w->out->newest_ms) {
		w->out->newest_ms = w->a->head.created_ms;
		memcpy(w->out->site, w->a->head.site, sizeof(w->out->site));
	}
	for (uint32_t i = 0; e == ERR_OK && i < w->x->n; i++)
		e = series_count(w, i);
	return e;
}

static enum err
exam_applies(const struct exam_walk *w, const struct asset_id *exam)
{
	enum err e = ERR_OK;

	for (uint32_t i = 0; e == ERR_OK && i < w->x->n; i++) {
		w->out->rule[i].applies = true;
		if (w->x->rule[i].exams != NULL)
			e = cat_match(w->s, w->t, w->x->rule[i].exams, exam,
			    &w->out->rule[i].applies);
	}
	return e;
}

enum err
cat_expects_exam(const struct cat_expects *x, struct store *s, struct db_txn *t,
    const struct asset_id *exam, struct cat_exam *out)
{
	struct exam_walk w = { .x = x, .s = s, .t = t, .out = out };
	enum err e;

	memset(out, 0, sizeof(*out));
	w.a = mem_new(sizeof(*w.a));
	if (w.a == NULL)
		return ERR_NOMEM;
	e = exam_applies(&w, exam);
	if (e == ERR_OK)
		e = cat_children_each(t, exam, exam_child, &w);
	for (uint32_t i = 0; i < x->n; i++)
		out->missing += !cat_expect_holds(&x->rule[i].x, &out->rule[i]);
	mem_free(w.a);
	return e;
}

/* --- whom to ask --- */

struct contact {
	struct slice site;
	char *out;
};

static int
contact_fact(void *ctx, const struct cat_fact *f)
{
	struct mp_limits lim = { CAT_EDIT_VALUE_MAX, 4, 1 };
	const struct contact *c = ctx;
	struct mp_doc d = { 0 };
	enum err e;

	if (!f->stands || f->value.n == 0 || !slice_eq(f->name, c->site))
		return 0;
	e = mp_parse(f->value, &lim, &d);
	if (e == ERR_OK) {
		mp_text(&d, d.root, c->out, CAT_CONTACT_MAX + 1);
		e = d.err == ERR_OK ? ERR_OK : ERR_CORRUPT;
	}
	mp_doc_fini(&d);
	return e;
}

enum err
cat_contact(struct db_txn *t, const struct cry_id *share, uint16_t compartment,
    const char *site, char out[CAT_CONTACT_MAX + 1])
{
	struct contact c = { slice_str(site), out };
	struct asset_id id;
	enum err e;

	out[0] = '\0';
	context_of_exams(share, compartment, &id);
	e = cat_facts_each(t, &id, CAT_CONTACT, true, contact_fact, &c);
	return e == ERR_NOTFOUND ? ERR_OK : e;
}
