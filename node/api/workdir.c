/* node/api/workdir.c: check-out, diff, check-in of working directories.
 *
 * Paths are opened by the node: these routes are for its own machine only.
 * Rows go out as the work is done; {progress} rows tell how far it is. */
#include "node/api/api_internal.h"

#include "store/base/clock.h"
#include "store/base/mem.h"

#define WORKDIR_WORDS_MAX 4096u
#define WORKDIR_PROGRESS_MS 200u

struct workdir_run {
	struct api_rows rows;
	uint64_t told_ms; /* progress */
	uint64_t n[5];    /* by enum workdir_state; check-out: [0] assets */
	uint64_t files, bytes, behind;
	enum err e; /* why rows could not be written */
};

static enum err
workdir_gate(
    void *ctx, const struct cry_id *share, struct slice text, struct errmsg *em)
{
	return ingest_gate(ctx, share, text, em);
}

static struct workdir_env
workdir_env(const struct api *a)
{
	return (struct workdir_env){ .store = a->o.store,
		.shares = a->o.shares,
		.site = a->o.conf->site,
		.helper = a->o.helper,
		.home = a->o.home,
		.gate = workdir_gate,
		.gate_ctx = a->o.ingest };
}

static int
workdir_flush(struct workdir_run *r)
{
	r->e = api_rows_flush(&r->rows);
	return r->e == ERR_OK ? 0 : 1;
}

static int
workdir_progress(void *ctx, uint64_t files, uint64_t bytes)
{
	struct workdir_run *r = ctx;
	uint64_t now = clock_mono_ms();
	struct jw *w;

	if (now - r->told_ms < WORKDIR_PROGRESS_MS)
		return 0;
	r->told_ms = now;
	w = api_row(&r->rows);
	jw_obj(w, "progress");
	jw_u64(w, "files", files);
	jw_u64(w, "bytes", bytes);
	jw_end(w);
	api_row_end(&r->rows);
	return workdir_flush(r);
}

/* --- check-out --- */
static int
checkout_row(void *ctx, const struct workdir_out *o)
{
	struct workdir_run *r = ctx;
	struct jw *w = api_row(&r->rows);

	r->n[0]++;
	r->files += o->files;
	r->bytes += o->bytes;
	api_jw_asset(w, "asset", &o->id);
	jw_str(w, "level", o->level);
	jw_str(w, "path", o->path);
	jw_str(w, "state", o->state);
	api_jw_id32(w, "version", o->version.b);
	jw_u64(w, "files", o->files);
	jw_u64(w, "bytes", o->bytes);
	jw_str(w, "lock", o->lock);
	jw_str(w, "locked_by", o->locked_by);
	api_jw_time(w, "locked", o->locked_by != NULL ? o->locked_ms : 0);
	api_row_end(&r->rows);
	return workdir_flush(r);
}

static enum err
checkout_words(struct api_call *c, const char ***out, uint32_t *n)
{
	const struct json *list = json_get(c->body, "what");
	size_t i, len = json_len(list);
	const char **p;

	if (!json_is_array(list) || len == 0 || len > WORKDIR_WORDS_MAX)
		return errmsg_set(&c->em, ERR_MALFORMED, "Name assets.",
		    "what must be a list of asset ids, or of one query");
	p = mem_array(len, sizeof(*p));
	if (p == NULL)
		return ERR_NOMEM;
	for (i = 0; i < len; i++) {
		p[i] = json_str(json_at(list, i));
		if (p[i] == NULL) {
			mem_free(p);
			return errmsg_set(&c->em, ERR_MALFORMED, "Name assets.",
			    "what must be a list of texts");
		}
	}
	*out = p;
	*n = (uint32_t)len;
	return ERR_OK;
}

static enum err
checkout_summary(struct workdir_run *r)
{
	struct jw *w = api_row(&r->rows);

	jw_obj(w, "summary");
	jw_u64(w, "assets", r->n[0]);
	jw_u64(w, "files", r->files);
	jw_u64(w, "bytes", r->bytes);
	jw_end(w);
	api_row_end(&r->rows);
	return api_rows_flush(&r->rows);
}

enum err
api_h_checkout(struct api_call *c)
{
	static const char *const keys[] = { "s:dir", "l:what", "s:as",
		"b:no_lock", NULL };
	struct workdir_env env = workdir_env(c->a);
	struct workdir_run run = { .told_ms = clock_mono_ms() };
	struct workdir_fns fns = { checkout_row, workdir_progress, &run };
	struct workdir_checkout_opts o = { .lock = false };
	char actor[API_ACTOR_BYTES];
	const char **what = NULL;
	enum err e;

	if ((e = api_body(c)) != ERR_OK || (e = api_only(c, keys)) != ERR_OK ||
	    (e = api_need(c, "dir", &o.dir)) != ERR_OK ||
	    (e = api_files_as(c, json_get_str(c->body, "as", NULL), &o.as)) !=
		ERR_OK ||
	    (e = checkout_words(c, &what, &o.n_what)) != ERR_OK)
		return e;
	api_actor(c, actor);
	o.actor = actor;
	o.what = what;
	o.lock = !json_get_bool(c->body, "no_lock", false);
	api_rows_init(&run.rows, c, API_ROW_BYTES);
	e = workdir_checkout(&env, &o, &fns, &c->em);
	if (run.e != ERR_OK)
		e = run.e;
	if (e == ERR_OK)
		e = checkout_summary(&run);
	api_rows_fini(&run.rows);
	mem_free(what);
	return e;
}

/* --- diff --- */
static void
item_path(struct jw *w, const char *folder, const char *name)
{
	struct buf b = BUF_MAX(8 * KIB);

	if (strcmp(folder, ".") != 0)
		buf_printf(&b, "%s/", folder);
	buf_put_str(&b, name);
	jw_str(w, "path", buf_cstr(&b));
	buf_fini(&b);
}

static int
diff_row(void *ctx, const struct workdir_item *it)
{
	struct workdir_run *r = ctx;
	struct jw *w = api_row(&r->rows);

	r->n[it->state]++;
	jw_str(w, "state", workdir_state_text(it->state));
	item_path(w, it->folder, it->name);
	if (it->asset != NULL)
		api_jw_asset(w, "asset", it->asset);
	else
		jw_null(w, "asset");
	if (it->hash != NULL) {
		jw_u64(w, "bytes", it->bytes);
		api_jw_id32(w, "hash", it->hash->b);
	}
	if (it->why != NULL)
		jw_str(w, "cause", it->why);
	api_row_end(&r->rows);
	return workdir_flush(r);
}

static int
behind_row(void *ctx, const struct workdir_behind *b)
{
	struct workdir_run *r = ctx;
	struct jw *w = api_row(&r->rows);

	r->behind++;
	jw_str(w, "state", "behind");
	jw_str(w, "path", b->folder);
	api_jw_asset(w, "asset", &b->asset);
	api_jw_id32(w, "version", b->head->op_id.b);
	jw_str(w, "actor", b->head->actor);
	api_jw_time(w, "created", b->head->created_ms);
	api_row_end(&r->rows);
	return workdir_flush(r);
}

static enum err
diff_summary(struct workdir_run *r)
{
	struct jw *w = api_row(&r->rows);
	int i;

	jw_obj(w, "summary");
	for (i = WORKDIR_SAME; i <= WORKDIR_REFUSED; i++)
		jw_u64(w, workdir_state_text((enum workdir_state)i), r->n[i]);
	jw_u64(w, "behind", r->behind);
	jw_end(w);
	api_row_end(&r->rows);
	return api_rows_flush(&r->rows);
}

enum err
api_h_workdir_diff(struct api_call *c)
{
	static const char *const keys[] = { "s:dir", NULL };
	struct workdir_env env = workdir_env(c->a);
	struct workdir_run run = { .files = 0 };
	struct workdir_diff_fns fns = { diff_row, behind_row, &run };
	const char *dir;
	enum err e;

	if ((e = api_body(c)) != ERR_OK || (e = api_only(c, keys)) != ERR_OK ||
	    (e = api_need(c, "dir", &dir)) != ERR_OK)
		return e;
	api_rows_init(&run.rows, c, API_ROW_BYTES);
	e = workdir_diff(&env, dir, &fns, &c->em);
	if (run.e != ERR_OK)
		e = run.e;
	if (e == ERR_OK)
		e = diff_summary(&run);
	api_rows_fini(&run.rows);
	return e;
}

/* --- check-in --- */
static int
checkin_row(void *ctx, const struct workdir_in *v)
{
	struct workdir_run *r = ctx;
	struct jw *w = api_row(&r->rows);

	jw_str(w, "state", v->state);
	if (v->asset != NULL)
		api_jw_asset(w, "asset", v->asset);
	else
		jw_null(w, "asset");
	jw_str(w, "level", v->level);
	jw_str(w, "path", v->folder);
	api_jw_asset(w, "source", v->source);
	if (v->version != NULL)
		api_jw_id32(w, "version", v->version->b);
	else
		jw_null(w, "version");
	jw_u64(w, "files", v->files);
	jw_u64(w, "bytes", v->bytes);
	jw_u64(w, "heads", v->heads);
	api_row_end(&r->rows);
	return workdir_flush(r);
}

static enum err
checkin_summary(
    struct workdir_run *r, const struct workdir_checkin_sum *sum, bool dry_run)
{
	struct jw *w = api_row(&r->rows);

	jw_obj(w, "summary");
	jw_u64(w, "versions", sum->versions);
	jw_u64(w, "files", sum->files);
	jw_u64(w, "bytes", sum->bytes);
	jw_u64(w, "unlocked", sum->unlocked);
	jw_u64(w, "left_out", r->n[WORKDIR_REFUSED]);
	jw_bool(w, "dry_run", dry_run);
	jw_end(w);
	api_row_end(&r->rows);
	return api_rows_flush(&r->rows);
}

static enum err
checkin_opts(struct api_call *c, struct workdir_checkin_opts *o)
{
	static const char *const keys[] = { "s:dir", "s:note", "s:reason",
		"s:tool", "s:level", "s:source", "b:dry_run", "b:keep_lock",
		NULL };
	enum err e;

	if ((e = api_body(c)) != ERR_OK || (e = api_only(c, keys)) != ERR_OK ||
	    (e = api_need(c, "dir", &o->dir)) != ERR_OK)
		return e;
	o->note = json_get_str(c->body, "note", "");
	o->reason = json_get_str(c->body, "reason", "");
	o->tool = json_get_str(c->body, "tool", NULL);
	o->level = json_get_str(c->body, "level", NULL);
	o->source = json_get_str(c->body, "source", NULL);
	o->dry_run = json_get_bool(c->body, "dry_run", false);
	o->keep_lock = json_get_bool(c->body, "keep_lock", false);
	return ERR_OK;
}

enum err
api_h_checkin(struct api_call *c)
{
	struct workdir_env env = workdir_env(c->a);
	struct workdir_run run = { .told_ms = clock_mono_ms() };
	struct workdir_checkin_fns fns = { checkin_row, diff_row,
		workdir_progress, &run };
	struct workdir_checkin_opts o = { .dir = NULL };
	struct workdir_checkin_sum sum;
	char actor[API_ACTOR_BYTES];
	enum err e = checkin_opts(c, &o);

	if (e != ERR_OK)
		return e;
	api_actor(c, actor);
	o.actor = actor;
	api_rows_init(&run.rows, c, API_ROW_BYTES);
	e = workdir_checkin(&env, &o, &fns, &sum, &c->em);
	if (run.e != ERR_OK)
		e = run.e;
	if (e == ERR_OK)
		e = checkin_summary(&run, &sum, o.dry_run);
	api_rows_fini(&run.rows);
	return e;
}
