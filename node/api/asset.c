/* node/api/asset.c: one asset: fields, tags, versions. */
#include "node/api/api_internal.h"

#include "store/base/mem.h"

struct show_run {
	struct api_call *c;
	struct db_txn *t;
	struct cat_asset a;
	struct cry_id heads[8];
	uint32_t n_heads;
	bool retired; /* or what it lies in is */
	struct jw *w;
};

enum err
api_resolve(struct api_call *c, struct db_txn *t, const char *text,
    struct asset_id *out)
{
	enum err e = cat_asset_resolve(t, slice_str(text), out);

	if (e == ERR_NOTFOUND)
		return errmsg_set(&c->em, e,
		    "Find it with: pesscara find QUERY",
		    "no asset has this id");
	if (e == ERR_LIMIT)
		return errmsg_set(&c->em, e,
		    "Give more characters (8 or more).",
		    "several assets begin so");
	if (e == ERR_MALFORMED)
		return errmsg_set(&c->em, e,
		    "Give 8 or more characters of an id.",
		    "this is not an asset id");
	return e;
}

static int
show_field(void *ctx, struct slice name, struct slice value)
{
	struct show_run *r = ctx;
	char key[CAT_FIELD_MAX + 1];

	if (name.n > CAT_FIELD_MAX)
		return 0;
	memcpy(key, name.p, name.n);
	key[name.n] = '\0';
	jw_mp(r->w, key, value);
	return 0;
}

static int
show_tag(void *ctx, struct slice tag)
{
	struct show_run *r = ctx;

	jw_strn(r->w, NULL, tag);
	return 0;
}

static void
show_sha256(struct show_run *r, const struct cat_version *v)
{
	struct buf b = BUF_MAX(64);
	enum err e = store_row_get(r->c->a->o.store, r->t, API_SHA_TAG,
	    slice_of(v->op_id.b, sizeof(v->op_id.b)), &b);

	if (e == ERR_OK && b.n == 32)
		api_jw_id32(r->w, "sha256", b.p);
	else
		jw_null(r->w, "sha256");
	buf_fini(&b);
}

/* The head's is kept as a view; older ones are read out of their op. */
static void
show_provenance(struct show_run *r, const struct cat_version *v)
{
	struct buf b = BUF_MAX(API_ROW_BYTES), node = BUF_MAX(API_ROW_BYTES);
	struct api *a = r->c->a;
	struct mp_doc d = { 0 };
	bool head = memcmp(&v->op_id, &r->a.head.op_id, 32) == 0;
	enum err e;

	if (head) {
		e = cat_provenance(a->o.store, r->t, &r->a.id, &node);
	} else {
		e = shares_open_op(a->o.shares, r->t, v->lseq, &b);
		if (e == ERR_OK)
			e = cat_put_parse(buf_slice(&b), &d);
		if (e == ERR_OK)
			mp_w_node(&node, mp_get(d.root, "prov"));
		if (d.zone != NULL)
			mp_doc_fini(&d);
	}
	if (e == ERR_OK)
		jw_mp(r->w, "provenance", buf_slice(&node));
	else
		jw_null(r->w, "provenance");
	buf_fini(&node);
	buf_fini(&b);
}

static bool
show_is_head(const struct show_run *r, const struct cat_version *v)
{
	uint32_t i;

	for (i = 0; i < r->n_heads; i++) {
		if (memcmp(&r->heads[i], &v->op_id, sizeof(v->op_id)) == 0)
			return true;
	}
	return false;
}

static int
show_version(void *ctx, const struct cat_version *v)
{
	struct show_run *r = ctx;
	struct jw *w = r->w;
	uint32_t i;

	jw_obj(w, NULL);
	api_jw_id32(w, "version", v->op_id.b);
	jw_u64(w, "number", v->number);
	jw_arr(w, "parents");
	for (i = 0; i < v->n_parents; i++)
		api_jw_id32(w, NULL, v->parents[i].b);
	jw_end(w);
	jw_str(w, "actor", v->actor);
	jw_str(w, "site", v->site);
	api_jw_time(w, "created", v->created_ms);
	api_jw_id32(w, "hash", v->hash.b);
	show_sha256(r, v);
	jw_u64(w, "bytes", v->bytes);
	jw_u64(w, "members", v->members);
	jw_bool(w, "complete", v->complete);
	jw_bool(w, "derived", v->derived);
	jw_bool(w, "head", show_is_head(r, v));
	show_provenance(r, v);
	jw_end(w);
	return buf_err(w->b) == ERR_OK ? 0 : 1;
}

static void
show_names(struct show_run *r, const struct api_shares *names)
{
	struct jw *w = r->w;

	api_jw_asset(w, "id", &r->a.id);
	jw_str(w, "level", r->a.level);
	jw_str(w, "key", r->a.key);
	api_jw_asset(w, "parent", &r->a.parent);
	api_jw_asset(w, "source", &r->a.source);
	jw_str(w, "share", api_share_name(names, &r->a.share));
	jw_str(w, "compartment",
	    api_compartment_name(names, &r->a.share, r->a.compartment));
	api_jw_time(w, "created", r->a.created_ms);
	jw_bool(w, "retired", r->retired);
}

static enum err
show_members(struct show_run *r, const struct api_shares *names)
{
	struct store *s = r->c->a->o.store;
	struct jw *w = r->w;
	uint32_t i;
	enum err e = cat_heads(s, r->t, &r->a.id, r->heads, 8, &r->n_heads);

	if (e != ERR_OK)
		return e;
	jw_obj(w, NULL);
	show_names(r, names);
	jw_obj(w, "fields");
	e = cat_fields_each(r->t, &r->a.id, show_field, r);
	jw_end(w);
	jw_arr(w, "tags");
	if (e == ERR_OK)
		e = cat_tags_each(r->t, &r->a.id, show_tag, r);
	jw_end(w);
	jw_arr(w, "heads");
	for (i = 0; i < r->n_heads; i++)
		api_jw_id32(w, NULL, r->heads[i].b);
	jw_end(w);
	jw_arr(w, "versions");
	if (e == ERR_OK)
		e = cat_versions_each(s, r->t, &r->a.id, show_version, r);
	jw_end(w);
	if (e == ERR_OK)
		e = api_jw_edits(
		    w, r->t, &r->a.id, api_arg_flag(r->c, "history"));
	jw_end(w);
	return e;
}

enum err
api_h_asset(struct api_call *c)
{
	struct show_run *r = mem_new(sizeof(*r));
	struct api_shares names = { 0 };
	struct buf b = BUF_MAX(API_LIST_BYTES);
	struct asset_id id;
	struct jw w;
	enum err e;

	if (r == NULL)
		return ERR_NOMEM;
	jw_init(&w, &b);
	r->c = c;
	r->w = &w;
	if ((e = api_shares_load(c, &names)) != ERR_OK ||
	    (e = store_read(c->a->o.store, &r->t)) != ERR_OK)
		goto out;
	e = api_resolve(c, r->t, c->param[0], &id);
	if (e == ERR_OK)
		e = cat_asset_get(c->a->o.store, r->t, &id, &r->a);
	if (e == ERR_OK)
		e = cat_is_retired(r->t, &id, &r->retired);
	if (e == ERR_OK)
		e = show_members(r, &names);
	db_abort(r->t);
	if (e == ERR_OK)
		e = api_answer(c, &b);
out:
	api_shares_free(&names);
	buf_fini(&b);
	mem_free(r);
	return e;
}
