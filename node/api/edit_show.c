/* node/api/edit_show.c: what was said of an asset, as JSON. */
#include "node/api/api_internal.h"

#include "store/base/clock.h"
#include "store/base/mem.h"

struct edits_show {
	struct jw *w;
	struct db_txn *t;
	const struct asset_id *id;
};

/* Who said it, when and why. */
static void
fact_said(struct jw *w, const struct cat_fact *f)
{
	jw_str(w, "actor", f->actor);
	jw_str(w, "site", f->site);
	api_jw_time(w, "created", f->created_ms);
	jw_str(w, "reason", f->reason[0] != '\0' ? f->reason : NULL);
}

static void
fact_value(struct jw *w, const char *key, struct slice value)
{
	if (value.n > 0)
		jw_mp(w, key, value);
	else
		jw_null(w, key);
}

static int
show_set(void *ctx, const struct cat_fact *f)
{
	struct edits_show *s = ctx;
	struct buf b = BUF_MAX(4 * KIB);
	struct jw *w = s->w;
	enum err e;

	jw_obj(w, NULL);
	jw_strn(w, "name", f->name);
	fact_value(w, "value", f->value);
	jw_str(w, "type", cat_type_text(f->type));
	jw_bool(w, "stands", f->stands);
	fact_said(w, f);
	e = cat_field_original(s->t, s->id, f->name, &b);
	if (e == ERR_OK)
		jw_mp(w, "original", buf_slice(&b));
	else
		jw_null(w, "original");
	buf_fini(&b);
	jw_end(w);
	return e == ERR_NOTFOUND ? 0 : (int)e;
}

static int
show_note(void *ctx, const struct cat_fact *f)
{
	struct edits_show *s = ctx;

	jw_obj(s->w, NULL);
	fact_value(s->w, "text", f->value);
	fact_said(s->w, f);
	jw_end(s->w);
	return 0;
}

static int
show_link(void *ctx, const struct cat_fact *f)
{
	struct edits_show *s = ctx;

	jw_obj(s->w, NULL);
	jw_strn(s->w, "as", f->name);
	api_jw_asset(s->w, "to", &f->to);
	fact_said(s->w, f);
	jw_end(s->w);
	return 0;
}

static int
show_link_in(void *ctx, const struct asset_id *from, struct slice name)
{
	struct edits_show *s = ctx;

	jw_obj(s->w, NULL);
	jw_strn(s->w, "as", name);
	api_jw_asset(s->w, "from", from);
	jw_end(s->w);
	return 0;
}

void
api_jw_lock(struct jw *w, const struct cat_fact *f)
{
	jw_strn(w, "holder", f->name);
	fact_value(w, "note", f->value);
	api_jw_time(w, "until", f->until_ms);
	jw_bool(w, "expired", f->until_ms < clock_wall_ms());
	fact_said(w, f);
}

static int
show_lock(void *ctx, const struct cat_fact *f)
{
	struct edits_show *s = ctx;

	jw_obj(s->w, NULL);
	api_jw_lock(s->w, f);
	jw_end(s->w);
	return 0;
}

static int
show_fact(void *ctx, const struct cat_fact *f)
{
	static const struct asset_id none;
	struct edits_show *s = ctx;
	struct jw *w = s->w;

	jw_obj(w, NULL);
	api_jw_id32(w, "edit", f->op.b);
	jw_u64(w, "lamport", f->lamport);
	jw_str(w, "kind", cat_edit_text(f->kind));
	jw_strn(w, "name", f->name);
	fact_value(w, "value", f->value);
	jw_str(w, "type", cat_type_text(f->type));
	if (memcmp(&f->to, &none, sizeof(none)) != 0)
		api_jw_asset(w, "to", &f->to);
	jw_bool(w, "live", f->live);
	jw_bool(w, "stands", f->stands);
	jw_bool(w, "with_version", f->by_put);
	fact_said(w, f);
	jw_end(w);
	return buf_err(w->b) == ERR_OK ? 0 : ERR_LIMIT;
}

enum err
api_jw_edits(
    struct jw *w, struct db_txn *t, const struct asset_id *id, bool history)
{
	struct edits_show s = { w, t, id };
	static const struct {
		const char *key;
		enum cat_edit_kind kind;
		cat_fact_fn fn;
	} parts[] = {
		{ "set", CAT_FIELD_SET, show_set },
		{ "notes", CAT_NOTE, show_note },
		{ "links", CAT_LINK_ADD, show_link },
		{ "locks", CAT_LOCK, show_lock },
	};
	size_t i;
	enum err e = ERR_OK;

	for (i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		jw_arr(w, parts[i].key);
		if (e == ERR_OK)
			e = cat_facts_each(
			    t, id, parts[i].kind, true, parts[i].fn, &s);
		jw_end(w);
	}
	jw_arr(w, "linked_from");
	if (e == ERR_OK)
		e = cat_links_in_each(t, id, show_link_in, &s);
	jw_end(w);
	if (!history)
		return e;
	jw_arr(w, "history");
	if (e == ERR_OK)
		e = cat_facts_each(t, id, 0, false, show_fact, &s);
	jw_end(w);
	return e;
}
