/* node/workflow/trigger.c: events become queued runs, each exactly once.
 *
 * A batch of events after the cursor is matched against every definition;
 * one job writes the new runs and moves the cursor.  A crash before that job
 * repeats the matching, a crash after it does not; "runkey" catches a version
 * that was announced twice. */
#include "node/ops/log.h"
#include "node/workflow/workflow_internal.h"
#include "store/base/clock.h"
#include "store/base/mem.h"

#define TRIGGER_BATCH 64u

struct trigger {
	struct workflows *w;
	struct wf_def *defs;
	uint32_t n_defs;
	struct cat_event events[TRIGGER_BATCH];
	uint32_t n_events;
	uint64_t last; /* number of the last event looked at */
	struct wf_run *runs;
	uint32_t n_runs;
};

static int
trigger_event(void *ctx, const struct cat_event *e)
{
	struct trigger *g = ctx;

	g->last = e->no;
	if (strcmp(e->type, "content.complete") == 0 && e->has_asset)
		g->events[g->n_events++] = *e;
	return g->n_events >= TRIGGER_BATCH;
}

static enum err
trigger_collect(struct trigger *g)
{
	struct db_txn *t;
	uint64_t after;
	enum err e = store_read(g->w->o.store, &t);

	if (e != ERR_OK)
		return e;
	e = cat_cursor_get(g->w->o.store, t, "workflow", &after);
	g->last = after;
	if (e == ERR_OK)
		e = cat_events_each(g->w->o.store, t, after, trigger_event, g);
	db_abort(t);
	if (e == ERR_OK && g->last == after)
		e = ERR_NOTFOUND; /* nothing new */
	return e;
}

/* May this node add derived versions where the asset lies? */
static bool
may_write(struct workflows *w, const struct cat_asset *a)
{
	struct share_info *list = NULL;
	uint32_t n = 0, i, k;
	bool ok = false;

	if (shares_list(w->o.shares, &list, &n) != ERR_OK)
		return false;
	for (i = 0; i < n; i++) {
		if (memcmp(list[i].id.b, a->share.b, 32) != 0)
			continue;
		for (k = 0; k < list[i].n_compartments; k++) {
			if (list[i].c[k].no == a->compartment)
				ok = list[i].c[k].may_write;
		}
	}
	shares_list_free(list, n);
	return ok;
}

/* Do those who run the share permit this workflow for such assets? */
static enum err
permitted(struct db_txn *t, const struct wf_def *d, const struct cat_asset *a,
    bool *ok)
{
	struct cat_place place = { .share = &a->share,
		.compartment = a->compartment,
		.level = a->level };

	return cat_permitted(t, &place, "workflows", slice_str(d->name), ok);
}

static enum err
trigger_match(struct trigger *g, struct db_txn *t, const struct cat_event *ev,
    const struct wf_def *d)
{
	struct store *s = g->w->o.store;
	struct cat_query *q = NULL;
	struct cat_asset *a = NULL;
	struct wf_run *r;
	bool hit = false;
	enum err e;

	if (memcmp(d->share.b, ev->share.b, 32) != 0)
		return ERR_OK;
	e = cat_query_parse(slice_str(d->where), &q, NULL);
	if (e == ERR_OK)
		e = cat_match(s, t, q, &ev->asset, &hit);
	cat_query_free(q);
	if (e != ERR_OK || !hit)
		return e;
	a = mem_new(sizeof(*a));
	if (a == NULL)
		return ERR_NOMEM;
	e = cat_asset_get(s, t, &ev->asset, a);
	if (e == ERR_OK)
		e = permitted(t, d, a, &hit);
	if (e == ERR_OK && !hit)
		log_info("workflow", "not permitted",
		    "workflow=%s level=%s next=\"pesscara context show\"",
		    d->name, a->level);
	/* A newer version whose content is on its way announces itself. */
	if (e == ERR_OK && hit && a->head.complete && may_write(g->w, a)) {
		r = &g->runs[g->n_runs++];
		memset(r, 0, sizeof(*r));
		r->def = d->key;
		memcpy(r->workflow, d->name, sizeof(r->workflow));
		(void)snprintf(r->state, sizeof(r->state), "queued");
		r->input = ev->asset;
		r->input_op = a->head.op_id;
	}
	mem_free(a);
	return e;
}

static enum err
run_add(struct store_txn *t, struct wf_run *r)
{
	struct store *s = store_txn_store(t);
	struct slice parts[2] = { slice_of(r->def.b, 16),
		slice_of(r->input_op.b, 32) };
	struct buf b = BUF_MAX(64);
	struct wf_key key;
	uint8_t no[8];
	enum err e;

	wf_key_of(parts, 2, &key);
	e = store_row_get(
	    s, store_txn_db(t), "runkey", slice_of(key.b, 16), &b);
	if (e != ERR_NOTFOUND) {
		buf_fini(&b);
		return e; /* there already, or an error */
	}
	e = store_row_get(s, store_txn_db(t), "runseq", SLICE_LIT("n"), &b);
	if (e != ERR_OK && e != ERR_NOTFOUND)
		return e;
	r->no = wf_no_of(buf_slice(&b)) + 1;
	buf_fini(&b);
	wf_no_key(r->no, no);
	r->started_ms = clock_wall_ms();
	e = store_row_put(t, "runseq", SLICE_LIT("n"), slice_of(no, 8));
	if (e == ERR_OK)
		e = store_row_put(
		    t, "runkey", slice_of(key.b, 16), slice_of(no, 8));
	if (e == ERR_OK)
		e = store_row_put(t, "runq", slice_of(no, 8), SLICE_LIT("1"));
	return e == ERR_OK ? wf_run_put(t, r) : e;
}

static enum err
trigger_job(struct store_txn *t, void *ctx)
{
	struct trigger *g = ctx;
	enum err e = ERR_OK;
	uint32_t i;

	for (i = 0; e == ERR_OK && i < g->n_runs; i++)
		e = run_add(t, &g->runs[i]);
	return e == ERR_OK ? cat_cursor_put(t, "workflow", g->last) : e;
}

static enum err
trigger_all(struct trigger *g)
{
	struct db_txn *t;
	uint32_t i, k;
	enum err e;

	if (g->n_events == 0 || g->n_defs == 0)
		return ERR_OK;
	g->runs = mem_array((size_t)g->n_events * g->n_defs, sizeof(*g->runs));
	if (g->runs == NULL)
		return ERR_NOMEM;
	if ((e = store_read(g->w->o.store, &t)) != ERR_OK)
		return e;
	for (i = 0; i < g->n_events; i++) {
		for (k = 0; e == ERR_OK && k < g->n_defs; k++)
			e = trigger_match(g, t, &g->events[i], &g->defs[k]);
	}
	db_abort(t);
	return e;
}

enum err
wf_trigger(struct workflows *w, bool *more)
{
	struct trigger *g = mem_new(sizeof(*g));
	enum err e;

	*more = false;
	if (g == NULL)
		return ERR_NOMEM;
	g->w = w;
	e = trigger_collect(g);
	if (e == ERR_NOTFOUND) {
		mem_free(g);
		return ERR_OK;
	}
	if (e == ERR_OK)
		e = wf_defs(w, &g->defs, &g->n_defs);
	if (e == ERR_OK)
		e = trigger_all(g);
	if (e == ERR_OK)
		e = store_write(w->o.store, trigger_job, g);
	*more = e == ERR_OK;
	mem_free(g->runs);
	mem_free(g->defs);
	mem_free(g);
	return e;
}
