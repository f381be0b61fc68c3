/* node/api/expect.c: which series exams are expected to have, and which exams
 * lack some: the missing report (domain.md 16, 29).
 *
 * Every member computes it from the same rules and the same ops; the site that
 * wrote the exam's newest series is the one to ask. */
#include "node/api/api_internal.h"

#include "store/base/mem.h"

/* --- saying it --- */

struct expect_call {
	struct share_by by;
	struct share_where w;
	char actor[API_ACTOR_BYTES];
};

/* Texts go to every member: checked as all that does (domain.md 11). */
static enum err
expect_open(struct api_call *c, const char *const *keys,
    const char *const *texts, struct expect_call *x)
{
	const char *v;
	enum err e = api_body(c);

	if (e == ERR_OK)
		e = api_only(c, keys);
	if (e == ERR_OK)
		e = api_where(c, c->param[0], &x->w);
	for (; e == ERR_OK && *texts != NULL; texts++) {
		v = json_get_str(c->body, *texts, NULL);
		if (v != NULL)
			e = ingest_gate(
			    c->a->o.ingest, &x->w.share, slice_str(v), &c->em);
	}
	api_actor(c, x->actor);
	x->by.actor = x->actor;
	x->by.reason =
	    e == ERR_OK ? json_get_str(c->body, "reason", NULL) : NULL;
	return e;
}

static enum err
query_copy(struct api_call *c, const char *key, char *out)
{
	const char *v = json_get_str(c->body, key, "");

	if (strlen(v) > CAT_EXPECT_QUERY)
		return errmsg_set(&c->em, ERR_LIMIT, "Make it shorter.",
		    "%s has more than %u bytes", key, CAT_EXPECT_QUERY);
	memcpy(out, v, strlen(v) + 1);
	return ERR_OK;
}

static uint32_t
count_of(const struct api_call *c, const char *key, int64_t def)
{
	int64_t v = json_get_int(c->body, key, def);

	return v < 0 || v > UINT32_MAX ? UINT32_MAX : (uint32_t)v;
}

enum err
api_h_expect_set(struct api_call *c)
{
	static const char *const keys[] = { "s:name", "s:compartment",
		"s:where", "s:exams", "i:series", "i:images", "b:remove",
		"s:reason", NULL };
	static const char *const texts[] = { "name", "where", "exams", "reason",
		NULL };
	struct cat_expect x = { .series = 0 };
	struct expect_call call = { 0 };
	const char *name = NULL;
	bool gone;
	enum err e = expect_open(c, keys, texts, &call);

	if (e == ERR_OK)
		e = api_need(c, "name", &name);
	if (e == ERR_OK)
		e = query_copy(c, "where", x.where);
	if (e == ERR_OK)
		e = query_copy(c, "exams", x.exams);
	if (e != ERR_OK)
		return e;
	x.series = count_of(c, "series", 1);
	x.images = count_of(c, "images", 0);
	gone = json_get_bool(c->body, "remove", false);
	e = shares_edit_expect(
	    c->a->o.shares, &call.by, &call.w, name, gone ? NULL : &x, &c->em);
	return e == ERR_OK ? api_answer_ok(c) : e;
}

enum err
api_h_contact_set(struct api_call *c)
{
	static const char *const keys[] = { "s:site", "s:contact",
		"s:compartment", "s:reason", NULL };
	static const char *const texts[] = { "site", "contact", "reason",
		NULL };
	struct expect_call call = { 0 };
	const char *site = NULL, *text;
	enum err e = expect_open(c, keys, texts, &call);

	if (e == ERR_OK)
		e = api_need(c, "site", &site);
	if (e != ERR_OK)
		return e;
	text = json_get_str(c->body, "contact", "");
	e = shares_edit_contact(
	    c->a->o.shares, &call.by, &call.w, site, text, &c->em);
	return e == ERR_OK ? api_answer_ok(c) : e;
}

/* --- telling it --- */

struct report {
	struct api_rows rows;
	struct api_shares names;
	struct share_info share;
	struct cry_id id; /* its */
	struct db_txn *t;
	struct cat_expects *x; /* of the compartment at hand */
	uint16_t compartment;
	bool all;
	const char *site; /* NULL: of any */
	enum err e;
};

static const char *
report_compartment(const struct report *r)
{
	return api_compartment_name(&r->names, &r->id, r->compartment);
}

static void
rule_row(struct report *r, const struct cat_expect *x)
{
	struct jw *w = api_row(&r->rows);

	jw_str(w, "compartment", report_compartment(r));
	jw_str(w, "name", x->name);
	jw_str(w, "where", x->where);
	jw_str(w, "exams", x->exams[0] != '\0' ? x->exams : NULL);
	jw_u64(w, "series", x->series);
	jw_u64(w, "images", x->images);
	api_row_end(&r->rows);
}

static enum err
report_rules(struct report *r)
{
	for (uint32_t i = 0; i < cat_expects_count(r->x); i++)
		rule_row(r, cat_expects_rule(r->x, i));
	return ERR_OK;
}

/* "t1-post 0 of 1; flair 0 of 1, one has 12 of 40 images" */
static void
jw_detail(struct jw *w, const struct cat_expects *x, const struct cat_exam *ex)
{
	struct buf b = BUF_MAX(16 * KIB);
	char one[256];

	for (uint32_t i = 0; i < cat_expects_count(x); i++) {
		const struct cat_expect *r = cat_expects_rule(x, i);
		const struct cat_expected *n = &ex->rule[i];
		int len;

		if (cat_expect_holds(r, n))
			continue;
		len = snprintf(one, sizeof(one), "%s%s %u of %u",
		    b.n > 0 ? "; " : "", r->name, n->series, r->series);
		if (n->few > 0)
			(void)snprintf(one + len, sizeof(one) - (size_t)len,
			    ", one has %u of %u images", n->most, r->images);
		buf_put_str(&b, one);
	}
	jw_str(w, "detail", b.n > 0 ? buf_cstr(&b) : NULL);
	buf_fini(&b);
}

static int
exam_field(void *ctx, struct slice name, struct slice value)
{
	struct jw *w = ctx;

	if (slice_eq(name, SLICE_LIT("PatientID")))
		jw_mp(w, "PatientID", value);
	else if (slice_eq(name, SLICE_LIT("StudyDate")))
		jw_mp(w, "StudyDate", value);
	return 0;
}

static enum err
exam_row(struct report *r, const struct asset_id *id, const struct cat_exam *ex)
{
	char contact[CAT_CONTACT_MAX + 1] = "";
	struct jw *w = api_row(&r->rows);
	enum err e = ERR_OK;

	api_jw_asset(w, "exam", id);
	jw_str(w, "compartment", report_compartment(r));
	e = cat_fields_each(r->t, id, exam_field, w);
	if (e == ERR_OK && ex->site[0] != '\0')
		e = cat_contact(
		    r->t, &r->id, r->compartment, ex->site, contact);
	jw_str(w, "site", ex->site[0] != '\0' ? ex->site : NULL);
	jw_str(w, "contact", contact[0] != '\0' ? contact : NULL);
	if (ex->newest_ms > 0)
		api_jw_time(w, "newest", ex->newest_ms);
	else
		jw_null(w, "newest");
	jw_u64(w, "series", ex->series);
	jw_bool(w, "complete", ex->missing == 0);
	jw_arr(w, "missing");
	for (uint32_t i = 0; i < cat_expects_count(r->x); i++) {
		if (!cat_expect_holds(cat_expects_rule(r->x, i), &ex->rule[i]))
			jw_str(w, NULL, cat_expects_rule(r->x, i)->name);
	}
	jw_end(w);
	jw_detail(w, r->x, ex);
	api_row_end(&r->rows);
	return e == ERR_OK ? buf_err(&r->rows.b) : e;
}

static int
report_exam(void *ctx, const struct cat_asset *a)
{
	struct report *r = ctx;
	struct cat_exam *ex;

	if (a->compartment != r->compartment)
		return 0;
	if ((ex = mem_new(sizeof(*ex))) == NULL) {
		r->e = ERR_NOMEM;
		return 1;
	}
	r->e = cat_expects_exam(r->x, r->rows.c->a->o.store, r->t, &a->id, ex);
	if (r->e == ERR_OK && (r->all || ex->missing > 0) &&
	    (r->site == NULL || strcmp(r->site, ex->site) == 0))
		r->e = exam_row(r, &a->id, ex);
	mem_free(ex);
	return r->e != ERR_OK;
}

static enum err
report_exams(struct report *r)
{
	struct cat_find_opts o = { .share = &r->id, .level = "exam" };
	struct cat_query *q = NULL;
	enum err e;

	if (cat_expects_count(r->x) == 0)
		return ERR_OK;
	e = cat_query_parse(SLICE_LIT("level=exam"), &q, NULL);
	if (e == ERR_OK)
		e = cat_find(
		    r->rows.c->a->o.store, r->t, q, &o, report_exam, r);
	cat_query_free(q);
	return e == ERR_OK ? r->e : e;
}

static enum err
report_share(struct report *r, enum err (*each)(struct report *))
{
	enum err e = store_read(r->rows.c->a->o.store, &r->t);

	if (e != ERR_OK)
		return e;
	for (uint32_t i = 0; e == ERR_OK && i < r->share.n_compartments; i++) {
		r->compartment = r->share.c[i].no;
		e = cat_expects_load(r->t, &r->id, r->compartment, &r->x);
		if (e == ERR_OK)
			e = each(r);
		cat_expects_free(r->x);
		r->x = NULL;
	}
	db_abort(r->t);
	return e;
}

static enum err
report_run(
    struct api_call *c, struct report *r, enum err (*each)(struct report *))
{
	enum err e =
	    shares_find(c->a->o.shares, c->param[0], &r->share, &c->em);

	if (e != ERR_OK)
		return e;
	memcpy(r->id.b, r->share.id.b, sizeof(r->id.b));
	api_rows_init(&r->rows, c, API_LIST_BYTES);
	e = api_shares_load(c, &r->names);
	if (e == ERR_OK)
		e = report_share(r, each);
	if (e == ERR_CORRUPT)
		e = errmsg_set(&c->em, e,
		    "see `pesscara expect list`; this node may be too old for "
		    "a rule of another",
		    "a rule cannot be read");
	if (e == ERR_OK)
		e = api_rows_flush(&r->rows);
	api_rows_fini(&r->rows);
	api_shares_free(&r->names);
	share_info_fini(&r->share);
	return e;
}

enum err
api_h_expected(struct api_call *c)
{
	struct report r = { .e = ERR_OK };

	return report_run(c, &r, report_rules);
}

enum err
api_h_missing(struct api_call *c)
{
	struct report r = { .e = ERR_OK };

	r.all = api_arg_flag(c, "all");
	r.site = api_arg(c, "site");
	return report_run(c, &r, report_exams);
}
