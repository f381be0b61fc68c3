/* node/api/edit.c: what people say of assets: fields, tags, notes, links,
 * retire, undo, locks, groups, and what is declared or permitted for levels.
 *
 * Each handler reads its body, has every text checked against the site's
 * identifiers (domain.md 11), and calls the act in node/share. */
#include "node/api/api_internal.h"

#include "store/base/mem.h"

#define EDIT_LOCK_S 28800 /* 8 hours: a day's reading */

struct edit_call {
	struct asset_id id;
	struct cry_id share;
	struct share_by by;
	char actor[API_ACTOR_BYTES];
	const struct json *list; /* texts at hand */
	struct slice *text;
	uint32_t n;
};

/* --- what all have in common --- */

static enum err
edit_gate(struct api_call *c, const struct cry_id *share, struct slice text)
{
	return ingest_gate(c->a->o.ingest, share, text, &c->em);
}

static enum err
edit_body(struct api_call *c, const char *const *keys, struct edit_call *x)
{
	enum err e = api_body(c);

	memset(x, 0, sizeof(*x));
	if (e == ERR_OK)
		e = api_only(c, keys);
	if (e != ERR_OK)
		return e;
	api_actor(c, x->actor);
	x->by.actor = x->actor;
	x->by.reason = json_get_str(c->body, "reason", NULL);
	return ERR_OK;
}

/* The body, the asset that the path names, and the reason's words. */
static enum err
edit_open(struct api_call *c, const char *const *keys, struct edit_call *x)
{
	struct cat_asset *a = mem_new(sizeof(*a));
	struct db_txn *t = NULL;
	enum err e = a == NULL ? ERR_NOMEM : edit_body(c, keys, x);

	if (e == ERR_OK)
		e = store_read(c->a->o.store, &t);
	if (e == ERR_OK)
		e = api_resolve(c, t, c->param[0], &x->id);
	if (e == ERR_OK)
		e = cat_asset_get(c->a->o.store, t, &x->id, a);
	db_abort(t);
	if (e == ERR_OK) {
		x->share = a->share;
		if (x->by.reason != NULL)
			e = edit_gate(c, &x->share, slice_str(x->by.reason));
	}
	mem_free(a);
	return e;
}

static enum err
edit_done(struct api_call *c, const struct asset_id *id)
{
	struct buf b = BUF_MAX(256);
	struct jw w;
	enum err e;

	jw_init(&w, &b);
	jw_obj(&w, NULL);
	api_jw_asset(&w, "asset", id);
	jw_bool(&w, "ok", true);
	jw_end(&w);
	e = api_answer(c, &b);
	buf_fini(&b);
	return e;
}

/* The texts of a list in the body; absent: none. */
static enum err
edit_texts(struct api_call *c, const struct cry_id *share, const char *key,
    struct slice **out, uint32_t *n)
{
	const struct json *list = json_get(c->body, key);
	size_t i, len = json_len(list);
	struct slice *v;
	enum err e = ERR_OK;

	*out = NULL;
	*n = 0;
	if (len == 0)
		return ERR_OK;
	if (len > SHARE_EDITS_MAX)
		return errmsg_set(&c->em, ERR_LIMIT, "Do it in parts.",
		    "%s has more than %u items", key, SHARE_EDITS_MAX);
	if ((v = mem_array(len, sizeof(*v))) == NULL)
		return ERR_NOMEM;
	for (i = 0; i < len && e == ERR_OK; i++) {
		const char *s = json_str(json_at(list, i));

		if (s == NULL)
			e = errmsg_set(&c->em, ERR_MALFORMED,
			    "Send a list of texts.",
			    "%s is not a list of "
			    "texts",
			    key);
		else
			v[i] = slice_str(s);
		if (e == ERR_OK)
			e = edit_gate(c, share, v[i]);
	}
	if (e != ERR_OK) {
		mem_free(v);
		return e;
	}
	*out = v;
	*n = (uint32_t)len;
	return ERR_OK;
}

/* --- fields --- */

struct fields_call {
	struct share_field *f;
	uint32_t n;
	struct slice *value; /* all values, those of one name together */
};

static bool
field_split(struct slice text, struct slice *name, struct slice *value)
{
	const uint8_t *eq = text.n > 0 ? memchr(text.p, '=', text.n) : NULL;

	if (eq == NULL)
		return false;
	*name = slice_of(text.p, (size_t)(eq - text.p));
	*value = slice_of(eq + 1, text.n - name->n - 1);
	return true;
}

static bool
field_seen(const struct fields_call *f, struct slice name)
{
	uint32_t i;

	for (i = 0; i < f->n; i++) {
		if (slice_eq(f->f[i].name, name))
			return true;
	}
	return false;
}

/* Values of one name stand together, in the order in which they came. */
static enum err
fields_gather(struct api_call *c, const struct slice *text, uint32_t n,
    struct fields_call *f)
{
	struct slice name, value, other;
	struct slice *at = f->value;
	uint32_t i, k;

	for (i = 0; i < n; i++) {
		struct share_field *one = &f->f[f->n];

		if (!field_split(text[i], &name, &value))
			return errmsg_set(&c->em, ERR_MALFORMED,
			    "For example: grade=3",
			    "a field is set by "
			    "NAME=VALUE");
		if (field_seen(f, name))
			continue;
		*one = (struct share_field){ .name = name, .text = at };
		for (k = i; k < n; k++) {
			if (field_split(text[k], &other, &value) &&
			    slice_eq(other, name) && value.n > 0) {
				*at++ = value;
				one->n++;
			}
		}
		f->n++;
	}
	return ERR_OK;
}

static enum err
fields_type(struct api_call *c, enum cat_type *out)
{
	const char *type = json_get_str(c->body, "type", NULL);

	*out = CAT_TYPE_NONE;
	if (type == NULL || cat_type_parse(slice_str(type), out) == ERR_OK)
		return ERR_OK;
	return errmsg_set(&c->em, ERR_MALFORMED,
	    "text, number, date, code or uid", "there is no such type");
}

enum err
api_h_fields_set(struct api_call *c)
{
	static const char *const keys[] = { "l:fields", "s:type", "s:reason",
		NULL };
	struct fields_call f = { 0 };
	struct slice *text = NULL;
	struct edit_call x;
	enum cat_type type = CAT_TYPE_NONE;
	uint32_t n = 0;
	enum err e = edit_open(c, keys, &x);

	if (e == ERR_OK)
		e = edit_texts(c, &x.share, "fields", &text, &n);
	if (e == ERR_OK && n == 0)
		e = errmsg_set(&c->em, ERR_MALFORMED, "For example: grade=3",
		    "no field is named");
	if (e == ERR_OK)
		e = fields_type(c, &type);
	if (e == ERR_OK) {
		f.f = mem_array(n, sizeof(*f.f));
		f.value = mem_array(n, sizeof(*f.value));
		e = f.f == NULL || f.value == NULL
			? ERR_NOMEM
			: fields_gather(c, text, n, &f);
	}
	if (e == ERR_OK)
		e = shares_edit_fields(
		    c->a->o.shares, &x.by, &x.id, f.f, f.n, type, &c->em);
	if (e == ERR_OK)
		e = edit_done(c, &x.id);
	mem_free(f.f);
	mem_free(f.value);
	mem_free(text);
	return e;
}

/* --- tags --- */

enum err
api_h_tags_set(struct api_call *c)
{
	static const char *const keys[] = { "l:add", "l:remove", "s:reason",
		NULL };
	struct slice *add = NULL, *remove = NULL;
	struct share_tags tags = { 0 };
	struct edit_call x;
	uint32_t done = 0;
	enum err e = edit_open(c, keys, &x);

	if (e == ERR_OK)
		e = edit_texts(c, &x.share, "add", &add, &tags.n_add);
	if (e == ERR_OK)
		e = edit_texts(c, &x.share, "remove", &remove, &tags.n_remove);
	tags.add = add;
	tags.remove = remove;
	if (e == ERR_OK)
		e = shares_edit_tags(
		    c->a->o.shares, &x.by, &x.id, &tags, &done, &c->em);
	if (e == ERR_OK)
		e = edit_done(c, &x.id);
	mem_free(add);
	mem_free(remove);
	return e;
}

/* --- notes and links --- */

enum err
api_h_note(struct api_call *c)
{
	static const char *const keys[] = { "s:text", NULL };
	const char *text = NULL;
	struct edit_call x;
	enum err e = edit_open(c, keys, &x);

	if (e == ERR_OK)
		e = api_need(c, "text", &text);
	if (e == ERR_OK)
		e = edit_gate(c, &x.share, slice_str(text));
	if (e == ERR_OK)
		e = shares_edit_note(
		    c->a->o.shares, &x.by, &x.id, slice_str(text), &c->em);
	return e == ERR_OK ? edit_done(c, &x.id) : e;
}

enum err
api_h_link(struct api_call *c)
{
	static const char *const keys[] = { "s:to", "s:as", "b:remove",
		"s:reason", NULL };
	struct share_link l = { .remove = false };
	const char *to = NULL, *as = NULL;
	struct db_txn *t = NULL;
	struct edit_call x;
	enum err e = edit_open(c, keys, &x);

	if (e == ERR_OK)
		e = api_need(c, "to", &to);
	if (e == ERR_OK)
		e = api_need(c, "as", &as);
	if (e == ERR_OK)
		e = edit_gate(c, &x.share, slice_str(as));
	if (e == ERR_OK)
		e = store_read(c->a->o.store, &t);
	if (e == ERR_OK)
		e = api_resolve(c, t, to, &l.to);
	db_abort(t);
	if (e != ERR_OK)
		return e;
	l.name = slice_str(as);
	l.remove = json_get_bool(c->body, "remove", false);
	e = shares_edit_link(c->a->o.shares, &x.by, &x.id, &l, &c->em);
	return e == ERR_OK ? edit_done(c, &x.id) : e;
}

/* --- retire, undo --- */

static enum err
retire(struct api_call *c, bool on)
{
	static const char *const keys[] = { "s:reason", NULL };
	struct edit_call x;
	enum err e = edit_open(c, keys, &x);

	if (e == ERR_OK)
		e = shares_edit_retire(
		    c->a->o.shares, &x.by, &x.id, on, &c->em);
	return e == ERR_OK ? edit_done(c, &x.id) : e;
}

enum err
api_h_retire(struct api_call *c)
{
	return retire(c, true);
}

enum err
api_h_unretire(struct api_call *c)
{
	return retire(c, false);
}

enum err
api_h_undo(struct api_call *c)
{
	static const char *const keys[] = { "s:to", "s:reason", NULL };
	struct buf b = BUF_MAX(512);
	struct edit_call x;
	struct cry_id was;
	struct jw w;
	enum err e = edit_open(c, keys, &x);

	if (e == ERR_OK)
		e = shares_edit_undo(c->a->o.shares, &x.by, &x.id,
		    json_get_str(c->body, "to", NULL), &was, &c->em);
	if (e != ERR_OK)
		return e;
	jw_init(&w, &b);
	jw_obj(&w, NULL);
	api_jw_asset(&w, "asset", &x.id);
	api_jw_id32(&w, "content_of", was.b);
	jw_end(&w);
	e = api_answer(c, &b);
	buf_fini(&b);
	return e;
}

/* --- locks --- */

enum err
api_h_lock(struct api_call *c)
{
	static const char *const keys[] = { "i:for_s", "s:note", NULL };
	const char *note;
	struct edit_call x;
	int64_t for_s;
	enum err e = edit_open(c, keys, &x);

	if (e != ERR_OK)
		return e;
	note = json_get_str(c->body, "note", "");
	for_s = json_get_int(c->body, "for_s", EDIT_LOCK_S);
	e = edit_gate(c, &x.share, slice_str(note));
	if (e == ERR_OK)
		e = shares_edit_lock(c->a->o.shares, &x.by, &x.id,
		    slice_str(note), for_s > 0 ? (uint64_t)for_s : 0, &c->em);
	return e == ERR_OK ? edit_done(c, &x.id) : e;
}

enum err
api_h_unlock(struct api_call *c)
{
	static const char *const keys[] = { "b:all", NULL };
	struct edit_call x;
	enum err e = edit_open(c, keys, &x);

	if (e == ERR_OK)
		e = shares_edit_unlock(c->a->o.shares, &x.by, &x.id,
		    json_get_bool(c->body, "all", false), &c->em);
	return e == ERR_OK ? edit_done(c, &x.id) : e;
}

struct locks_run {
	struct api_rows rows;
	struct api_shares names;
	struct cat_asset a;
	struct db_txn *t;
};

static int
lock_row(void *ctx, const struct cat_fact *f)
{
	struct locks_run *r = ctx;
	struct jw *w = api_row(&r->rows);

	api_jw_asset(w, "asset", &r->a.id);
	jw_str(w, "level", r->a.level);
	jw_str(w, "key", r->a.key);
	jw_str(w, "share", api_share_name(&r->names, &r->a.share));
	api_jw_lock(w, f);
	api_row_end(&r->rows);
	return buf_err(&r->rows.b) == ERR_OK ? 0 : ERR_LIMIT;
}

static int
locks_asset(void *ctx, const struct asset_id *id)
{
	struct locks_run *r = ctx;
	enum err e = cat_asset_get(r->rows.c->a->o.store, r->t, id, &r->a);

	return e == ERR_OK
		   ? cat_facts_each(r->t, id, CAT_LOCK, true, lock_row, r)
		   : e;
}

enum err
api_h_locks(struct api_call *c)
{
	struct locks_run *r = mem_new(sizeof(*r));
	enum err e;

	if (r == NULL)
		return ERR_NOMEM;
	api_rows_init(&r->rows, c, API_LIST_BYTES);
	e = api_shares_load(c, &r->names);
	if (e == ERR_OK)
		e = store_read(c->a->o.store, &r->t);
	if (e == ERR_OK) {
		e = cat_locked_each(r->t, locks_asset, r);
		db_abort(r->t);
	}
	if (e == ERR_OK)
		e = api_rows_flush(&r->rows);
	api_rows_fini(&r->rows);
	api_shares_free(&r->names);
	mem_free(r);
	return e;
}

/* --- groups and contexts --- */

enum err
api_where(struct api_call *c, const char *share, struct share_where *out)
{
	const char *name = json_get_str(c->body, "compartment", NULL);
	struct share_info i = { 0 };
	enum err e = shares_find(c->a->o.shares, share, &i, &c->em);

	if (e != ERR_OK)
		return e;
	out->share_no = i.no;
	memcpy(out->share.b, i.id.b, sizeof(out->share.b));
	e = share_compartment_find(&i, name, &out->compartment, &c->em);
	share_info_fini(&i);
	return e;
}

enum err
api_h_group(struct api_call *c)
{
	static const char *const keys[] = { "s:share", "s:compartment",
		"s:name", NULL };
	const char *share = NULL, *name = NULL;
	struct share_where w = { 0 };
	struct asset_id id;
	struct edit_call x;
	enum err e = edit_body(c, keys, &x);

	if (e == ERR_OK)
		e = api_need(c, "share", &share);
	if (e == ERR_OK)
		e = api_need(c, "name", &name);
	if (e == ERR_OK)
		e = api_where(c, share, &w);
	if (e == ERR_OK)
		e = edit_gate(c, &w.share, slice_str(name));
	if (e == ERR_OK)
		e = shares_edit_group(
		    c->a->o.shares, &x.by, &w, name, &id, &c->em);
	return e == ERR_OK ? edit_done(c, &id) : e;
}

/* A name that is none would forbid all the others, silently. */
static enum err
methods_check(struct api_call *c, const struct slice *names, uint32_t n)
{
	static const char *const known[] = { "set", "tag", "untag", "note",
		"link", "unlink", "group", "retire", "undo", "lock",
		"checkin" };
	uint32_t i, k;

	for (i = 0; i < n; i++) {
		for (k = 0; k < sizeof(known) / sizeof(known[0]); k++) {
			if (slice_eq(names[i], slice_str(known[k])))
				break;
		}
		if (k == sizeof(known) / sizeof(known[0]))
			return errmsg_set(&c->em, ERR_MALFORMED,
			    "set, tag, untag, note, link, unlink, group, "
			    "retire, undo, lock or checkin",
			    "there is no such method");
	}
	return ERR_OK;
}

static enum err
context_permit(struct api_call *c, const struct edit_call *x,
    const struct share_where *w, struct share_permit *p, const char *all)
{
	struct slice *names = NULL;
	enum err e;

	p->all = all != NULL && json_get_bool(c->body, all, false);
	if (!p->all && json_get(c->body, p->what) == NULL)
		return ERR_OK;
	e = edit_texts(c, &w->share, p->what, &names, &p->n);
	p->names = names;
	if (e == ERR_OK && strcmp(p->what, "workflows") != 0)
		e = methods_check(c, names, p->n);
	if (e == ERR_OK)
		e = shares_edit_permit(c->a->o.shares, &x->by, w, p, &c->em);
	mem_free(names);
	return e;
}

static enum err
context_type(struct api_call *c, const struct edit_call *x,
    const struct share_where *w, const char *level)
{
	const char *field = json_get_str(c->body, "field", NULL);
	enum cat_type type;
	enum err e;

	if (field == NULL)
		return ERR_OK;
	if ((e = fields_type(c, &type)) != ERR_OK)
		return e;
	if (type == CAT_TYPE_NONE)
		return errmsg_set(&c->em, ERR_MALFORMED,
		    "text, number, date, code or uid", "type is missing");
	if ((e = edit_gate(c, &w->share, slice_str(field))) != ERR_OK)
		return e;
	return shares_edit_type(
	    c->a->o.shares, &x->by, w, level, slice_str(field), type, &c->em);
}

enum err
api_h_context_set(struct api_call *c)
{
	static const char *const keys[] = { "s:level", "s:compartment",
		"s:field", "s:type", "l:workflows", "l:methods",
		"b:all_workflows", "b:all_methods", "l:reasons", "s:reason",
		NULL };
	struct share_permit p = { .what = "workflows" };
	struct share_where w = { 0 };
	const char *level = NULL;
	struct edit_call x;
	enum err e = edit_body(c, keys, &x);

	if (e == ERR_OK)
		e = api_need(c, "level", &level);
	if (e == ERR_OK)
		e = api_where(c, c->param[0], &w);
	if (e == ERR_OK && x.by.reason != NULL)
		e = edit_gate(c, &w.share, slice_str(x.by.reason));
	if (e == ERR_OK)
		e = context_type(c, &x, &w, level);
	p.level = level;
	if (e == ERR_OK)
		e = context_permit(c, &x, &w, &p, "all_workflows");
	p = (struct share_permit){ .level = level, .what = "methods" };
	if (e == ERR_OK)
		e = context_permit(c, &x, &w, &p, "all_methods");
	p = (struct share_permit){ .level = level, .what = "reasons" };
	if (e == ERR_OK)
		e = context_permit(c, &x, &w, &p, NULL);
	return e == ERR_OK ? api_answer_ok(c) : e;
}

struct contexts_run {
	struct api_rows rows;
	struct api_shares names;
	const struct cat_asset *a;
	struct db_txn *t;
	enum err e;
};

static int
context_row(void *ctx, const struct cat_fact *f)
{
	struct contexts_run *r = ctx;
	struct jw *w = api_row(&r->rows);
	bool type = f->kind == CAT_FIELD_TYPE;

	jw_str(w, "compartment",
	    api_compartment_name(&r->names, &r->a->share, r->a->compartment));
	jw_str(w, "level", r->a->key);
	jw_str(w, "what", type ? "field" : "permit");
	jw_strn(w, "name", f->name);
	if (type)
		jw_str(w, "value", cat_type_text(f->type));
	else if (f->value.n > 0)
		jw_mp(w, "value", f->value);
	else
		jw_null(w, "value");
	jw_bool(w, "stands", f->stands);
	jw_str(w, "actor", f->actor);
	jw_str(w, "site", f->site);
	api_jw_time(w, "created", f->created_ms);
	api_row_end(&r->rows);
	return buf_err(&r->rows.b) == ERR_OK ? 0 : ERR_LIMIT;
}

static int
contexts_asset(void *ctx, const struct cat_asset *a)
{
	struct contexts_run *r = ctx;

	r->a = a;
	r->e =
	    cat_facts_each(r->t, &a->id, CAT_FIELD_TYPE, true, context_row, r);
	if (r->e == ERR_OK)
		r->e = cat_facts_each(
		    r->t, &a->id, CAT_CONTEXT, true, context_row, r);
	return r->e != ERR_OK;
}

static enum err
contexts_find(struct contexts_run *r, const struct cry_id *share)
{
	struct store *s = r->rows.c->a->o.store;
	struct cat_find_opts o = { .share = share, .retired = true };
	struct cat_query *q = NULL;
	enum err e =
	    cat_query_parse(SLICE_LIT("level=context"), &q, &r->rows.c->em);

	if (e == ERR_OK)
		e = store_read(s, &r->t);
	if (e == ERR_OK) {
		e = cat_find(s, r->t, q, &o, contexts_asset, r);
		db_abort(r->t);
	}
	cat_query_free(q);
	return e == ERR_OK ? r->e : e;
}

enum err
api_h_contexts(struct api_call *c)
{
	struct contexts_run r = { .a = NULL };
	struct share_info i = { 0 };
	struct cry_id share;
	enum err e = shares_find(c->a->o.shares, c->param[0], &i, &c->em);

	if (e != ERR_OK)
		return e;
	memcpy(share.b, i.id.b, sizeof(share.b));
	share_info_fini(&i);
	api_rows_init(&r.rows, c, API_LIST_BYTES);
	e = api_shares_load(c, &r.names);
	if (e == ERR_OK)
		e = contexts_find(&r, &share);
	if (e == ERR_OK)
		e = api_rows_flush(&r.rows);
	api_rows_fini(&r.rows);
	api_shares_free(&r.names);
	return e;
}
