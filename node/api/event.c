/* node/api/event.c: events, verification, workflows and their runs.
 *
 * Events are read in batches, each in a transaction of its own.  Following
 * looks again every API_FOLLOW_MS: it costs one index seek. */
#include "node/api/api_internal.h"

#include <time.h>

#include "store/base/mem.h"

struct events_run {
	struct api_call *c;
	struct api_shares shares;
	struct api_rows rows;
	uint64_t after;
	uint32_t n;
};

static int
event_row(void *ctx, const struct cat_event *ev)
{
	struct events_run *r = ctx;
	struct jw *w;

	if (r->n == API_BATCH)
		return 1;
	w = api_row(&r->rows);
	jw_u64(w, "no", ev->no);
	api_jw_time(w, "time", ev->wall_ms);
	jw_str(w, "type", ev->type);
	if (ev->has_asset)
		api_jw_asset(w, "asset", &ev->asset);
	else
		jw_null(w, "asset");
	jw_str(w, "share", api_share_name(&r->shares, &ev->share));
	jw_str(w, "compartment",
	    api_compartment_name(&r->shares, &ev->share, ev->compartment));
	jw_str(w, "detail", ev->detail[0] != '\0' ? ev->detail : NULL);
	api_row_end(&r->rows);
	r->after = ev->no;
	r->n++;
	return 0;
}

/* r->n: how many came; less than API_BATCH: no more now. */
static enum err
events_batch(struct events_run *r)
{
	struct db_txn *t = NULL;
	enum err e = store_read(r->c->a->o.store, &t);

	if (e != ERR_OK)
		return e;
	r->n = 0;
	e = cat_events_each(r->c->a->o.store, t, r->after, event_row, r);
	db_abort(t);
	return e == ERR_OK || r->n == API_BATCH ? api_rows_flush(&r->rows) : e;
}

static void
events_pause(void)
{
	struct timespec ts = { 0, (long)API_FOLLOW_MS * 1000000L };

	(void)nanosleep(&ts, NULL);
}

static enum err
events_go(struct events_run *r, bool follow)
{
	struct api_out *out = r->c->out;
	enum err e;

	for (;;) {
		e = events_batch(r);
		if (e != ERR_OK || out->gone(out->ctx))
			return e;
		if (r->n == API_BATCH)
			continue;
		if (!follow)
			return ERR_OK;
		events_pause();
		/* New shares may have come with the events. */
		api_shares_free(&r->shares);
		if ((e = api_shares_load(r->c, &r->shares)) != ERR_OK)
			return e;
	}
}

enum err
api_h_events(struct api_call *c)
{
	struct events_run r = { .c = c };
	bool follow = api_arg_flag(c, "follow") || c->r->event_stream;
	enum err e = api_arg_u64(c, "after", UINT64_MAX, &r.after);

	if (e != ERR_OK || (e = api_shares_load(c, &r.shares)) != ERR_OK)
		return e;
	api_rows_init(&r.rows, c, API_LIST_BYTES);
	e = events_go(&r, follow);
	api_rows_fini(&r.rows);
	api_shares_free(&r.shares);
	return e;
}

/* --- verify --- */
struct verify_run {
	struct jw w;
	uint32_t n;
};

static void
verify_bad(void *ctx, const struct store_bad *bad)
{
	struct verify_run *v = ctx;

	if (v->n++ >= API_BAD_MAX)
		return;
	jw_obj(&v->w, NULL);
	jw_str(&v->w, "what", bad->what);
	jw_str(&v->w, "where", bad->where);
	jw_bool(&v->w, "repairable", bad->repairable);
	jw_end(&v->w);
}

enum err
api_h_verify(struct api_call *c)
{
	static const char *const keys[] = { "b:deep", NULL };
	struct buf b = BUF_MAX(API_ROW_BYTES);
	struct verify_run v = { .n = 0 };
	uint64_t checked = 0, refs = 0;
	bool deep;
	enum err e;

	if ((e = api_body(c)) != ERR_OK || (e = api_only(c, keys)) != ERR_OK)
		return e;
	deep = json_get_bool(c->body, "deep", false);
	jw_init(&v.w, &b);
	jw_obj(&v.w, NULL);
	jw_arr(&v.w, "bad");
	e = store_verify(c->a->o.store, deep, verify_bad, &v, &checked);
	if (e == ERR_OK && deep)
		e = store_refs_check(c->a->o.store, verify_bad, &v, &refs);
	if (e == ERR_UNSUPPORTED) /* a store whose references nobody counts */
		e = ERR_OK;
	jw_end(&v.w);
	jw_u64(&v.w, "checked", checked);
	jw_u64(&v.w, "bad_count", v.n);
	jw_end(&v.w);
	if (e == ERR_OK)
		e = api_answer(c, &b);
	buf_fini(&b);
	return e;
}

enum err
api_h_root(struct api_call *c)
{
	struct store *s = c->a->o.store;
	struct buf b = BUF_MAX(4096);
	struct db_txn *t = NULL;
	struct cry_id root;
	uint64_t commit = 0;
	struct jw w;
	enum err e = store_read(s, &t);

	if (e == ERR_OK)
		e = store_commit_no(t, &commit);
	if (e == ERR_OK)
		e = shares_root(s, t, &root);
	db_abort(t);
	if (e != ERR_OK)
		return e;
	jw_init(&w, &b);
	jw_obj(&w, NULL);
	api_jw_id32(&w, "root", root.b);
	jw_u64(&w, "commit", commit);
	jw_end(&w);
	e = api_answer(c, &b);
	buf_fini(&b);
	return e;
}

/* --- workflows --- */
static int
workflow_row(void *ctx, const struct workflow_info *i)
{
	struct api_rows *s = ctx;
	struct jw *w = api_row(s);

	jw_str(w, "name", i->name);
	jw_str(w, "share", i->share);
	jw_str(w, "hash", i->hash);
	api_jw_time(w, "added", i->added_ms);
	api_row_end(s);
	return buf_err(&s->b) == ERR_OK ? 0 : 1;
}

enum err
api_h_workflows(struct api_call *c)
{
	struct api_rows s;
	enum err e;

	api_rows_init(&s, c, API_LIST_BYTES);
	e = workflows_each(c->a->o.workflows, workflow_row, &s);
	if (e == ERR_OK || buf_err(&s.b) != ERR_OK)
		e = api_rows_flush(&s);
	api_rows_fini(&s);
	return e;
}

static enum err
workflow_answer(struct api_call *c, const char *name)
{
	struct buf b = BUF_MAX(4096);
	struct jw w;
	enum err e;

	jw_init(&w, &b);
	jw_obj(&w, NULL);
	jw_str(&w, "name", name);
	jw_bool(&w, "ok", true);
	jw_end(&w);
	e = api_answer(c, &b);
	buf_fini(&b);
	return e;
}

enum err
api_h_workflow_check(struct api_call *c)
{
	char name[LIM_NAME_BYTES + 1] = "";
	enum err e = workflow_check(c->r->body, name, &c->em);

	return e == ERR_OK ? workflow_answer(c, name) : e;
}

enum err
api_h_workflow_add(struct api_call *c)
{
	const char *share = api_arg(c, "share");
	char name[LIM_NAME_BYTES + 1] = "";
	char actor[API_ACTOR_BYTES];
	enum err e;

	if (share == NULL)
		return errmsg_set(&c->em, ERR_MALFORMED, "Give --share S.",
		    "share is missing");
	api_actor(c, actor);
	e = workflow_add(
	    c->a->o.workflows, c->r->body, share, actor, name, &c->em);
	return e == ERR_OK ? workflow_answer(c, name) : e;
}

static int
run_row(void *ctx, const struct workflow_run *r)
{
	struct api_rows *s = ctx;
	struct jw *w = api_row(s);

	jw_u64(w, "id", r->id);
	jw_str(w, "workflow", r->workflow);
	jw_str(w, "state", r->state);
	jw_str(w, "input", r->input[0] != '\0' ? r->input : NULL);
	jw_str(w, "output", r->output[0] != '\0' ? r->output : NULL);
	jw_str(w, "reason", r->reason[0] != '\0' ? r->reason : NULL);
	api_jw_time(w, "started", r->started_ms);
	api_jw_time(w, "ended", r->ended_ms);
	jw_u64(w, "attempt", r->attempt);
	api_row_end(s);
	return buf_err(&s->b) == ERR_OK ? 0 : 1;
}

enum err
api_h_runs(struct api_call *c)
{
	struct api_rows s;
	enum err e;

	api_rows_init(&s, c, API_LIST_BYTES);
	e = workflow_runs_each(c->a->o.workflows, run_row, &s);
	if (e == ERR_OK || buf_err(&s.b) != ERR_OK)
		e = api_rows_flush(&s);
	api_rows_fini(&s);
	return e;
}
