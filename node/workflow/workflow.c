/* node/workflow/workflow.c: the runner thread, and what people ask for.
 *
 * One thread: events -> queued runs -> carried out one after another.  A run
 * that was going on when the node died is queued still and starts again, at
 * most WF_ATTEMPTS_MAX times; its output is appended by the job that closes
 * it, so it is there once or not at all. */
#include <signal.h>

#include "node/ops/log.h"
#include "node/workflow/workflow_internal.h"
#include "store/base/clock.h"
#include "store/base/enc.h"
#include "store/base/mem.h"

#define WAKE_MS 1000u

/* --- carrying out --- */

static int
first_row(void *ctx, struct slice key, struct slice value)
{
	uint64_t *no = ctx;

	(void)value;
	*no = wf_no_of(key);
	return 1;
}

static enum err
run_next(struct workflows *w, struct wf_run *r)
{
	struct db_txn *t;
	uint64_t no = 0;
	enum err e = store_read(w->o.store, &t);

	if (e != ERR_OK)
		return e;
	e = store_row_each(
	    w->o.store, t, "runq", (struct slice){ 0 }, first_row, &no);
	if (e == ERR_OK)
		e = no == 0 ? ERR_NOTFOUND : wf_run_get(w->o.store, t, no, r);
	db_abort(t);
	return e;
}

static enum err
run_begin_job(struct store_txn *t, void *ctx)
{
	return wf_run_put(t, ctx);
}

static enum err
run_fail_job(struct store_txn *t, void *ctx)
{
	struct wf_run *r = ctx;
	struct cat_event ev = { .type = "run.failed",
		.has_asset = true,
		.wall_ms = clock_wall_ms() };
	uint8_t key[8];
	enum err e;

	wf_no_key(r->no, key);
	ev.asset = r->input;
	(void)snprintf(ev.detail, sizeof(ev.detail), "%.100s: %.90s",
	    r->workflow, r->reason);
	if ((e = wf_run_put(t, r)) != ERR_OK)
		return e;
	if ((e = store_row_del(t, "runq", slice_of(key, 8))) != ERR_OK)
		return e;
	return cat_event_append(t, &ev);
}

static enum err
run_fail(struct workflows *w, struct wf_run *r)
{
	(void)snprintf(r->state, sizeof(r->state), "failed");
	r->ended_ms = clock_wall_ms();
	log_warn("workflow", "run failed", "workflow=%s run=%llu cause=\"%s\"",
	    r->workflow, (unsigned long long)r->no, r->reason);
	return store_write(w->o.store, run_fail_job, r);
}

static enum err
run_one(struct workflows *w, struct wf_run *r)
{
	enum err e;

	if (r->attempt >= WF_ATTEMPTS_MAX) {
		if (r->reason[0] == '\0')
			(void)snprintf(r->reason, sizeof(r->reason),
			    "gave up after %u attempts", r->attempt);
		return run_fail(w, r);
	}
	r->attempt++;
	(void)snprintf(r->state, sizeof(r->state), "running");
	if ((e = store_write(w->o.store, run_begin_job, r)) != ERR_OK)
		return e;
	e = wf_convert(w, r);
	if (e == ERR_OK) {
		log_info("workflow", "run done", "workflow=%s run=%llu",
		    r->workflow, (unsigned long long)r->no);
		return ERR_OK;
	}
	if (e == ERR_CANCELLED) { /* we stop: this was no attempt */
		r->attempt--;
		(void)snprintf(r->state, sizeof(r->state), "queued");
		return store_write(w->o.store, run_begin_job, r);
	}
	if (r->reason[0] == '\0')
		(void)snprintf(r->reason, sizeof(r->reason), "%s", err_text(e));
	/* What the data themselves forbid will not change by itself. */
	if (e == ERR_UNSUPPORTED || e == ERR_MALFORMED || e == ERR_DENIED)
		return run_fail(w, r);
	w->retry_at_ms = clock_mono_ms() + (uint64_t)WF_RETRY_MS * r->attempt;
	return ERR_OK; /* queued still: a later round tries again */
}

static enum err
runner_round(struct workflows *w, bool *more)
{
	struct wf_run *r = mem_new(sizeof(*r));
	enum err e;

	if (r == NULL)
		return ERR_NOMEM;
	e = wf_trigger(w, more);
	if (e == ERR_OK)
		e = clock_mono_ms() < w->retry_at_ms ? ERR_NOTFOUND
						     : run_next(w, r);
	if (e == ERR_OK) {
		*more = true;
		e = run_one(w, r);
	}
	mem_free(r);
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

static bool
runner_wait(struct workflows *w, bool more)
{
	struct timespec until;
	bool go;

	(void)clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += WAKE_MS / 1000;
	pthread_mutex_lock(&w->mu);
	if (!more && !w->woken && !w->stopping)
		(void)pthread_cond_timedwait(&w->wake, &w->mu, &until);
	w->woken = false;
	go = !w->stopping;
	pthread_mutex_unlock(&w->mu);
	return go;
}

static void *
runner_main(void *arg)
{
	struct workflows *w = arg;
	bool more = true;
	enum err e;

	while (runner_wait(w, more)) {
		more = false;
		e = runner_round(w, &more);
		if (e != ERR_OK) {
			log_warn("workflow", "round failed", "cause=\"%s\"",
			    err_text(e));
			more = false;
		}
	}
	return NULL;
}

enum err
workflows_start(
    const struct workflows_opts *o, struct workflows **out, struct errmsg *em)
{
	struct workflows *w = mem_new(sizeof(*w));

	if (w == NULL)
		return errmsg_set(em, ERR_NOMEM, "", "out of memory");
	w->o = *o;
	(void)pthread_mutex_init(&w->mu, NULL);
	(void)pthread_cond_init(&w->wake, NULL);
	if (pthread_create(&w->thread, NULL, runner_main, w) != 0) {
		mem_free(w);
		return errmsg_set(em, ERR_NOMEM, "", "no thread left");
	}
	w->running = true;
	*out = w;
	return ERR_OK;
}

void
workflows_stop(struct workflows *w)
{
	if (w == NULL)
		return;
	pthread_mutex_lock(&w->mu);
	w->stopping = true;
	if (w->helper > 0) /* not reaped before it is forgotten here */
		(void)kill(w->helper, SIGKILL);
	pthread_cond_signal(&w->wake);
	pthread_mutex_unlock(&w->mu);
	(void)pthread_join(w->thread, NULL);
	(void)pthread_mutex_destroy(&w->mu);
	(void)pthread_cond_destroy(&w->wake);
	mem_free(w);
}

void
workflows_wake(struct workflows *w)
{
	pthread_mutex_lock(&w->mu);
	w->woken = true;
	pthread_cond_signal(&w->wake);
	pthread_mutex_unlock(&w->mu);
}

/* --- asking --- */

struct add {
	struct wf_def def;
	struct slice yaml;
	const char *actor;
};

static enum err
add_job(struct store_txn *t, void *ctx)
{
	struct add *a = ctx;
	enum err e = wf_def_put(t, &a->def, a->yaml);

	if (e != ERR_OK)
		return e;
	return cat_audit_append(
	    t, a->actor, "workflow.add", a->def.name, a->def.share_name);
}

enum err
workflow_add(struct workflows *w, struct slice yaml, const char *share,
    const char *actor, char name[LIM_NAME_BYTES + 1], struct errmsg *em)
{
	struct add *a = mem_new(sizeof(*a));
	struct share_info info;
	struct slice parts[2];
	enum err e;

	if (a == NULL)
		return errmsg_set(em, ERR_NOMEM, "", "out of memory");
	a->yaml = yaml;
	a->actor = actor;
	if ((e = wf_parse(yaml, &a->def, em)) != ERR_OK)
		goto out;
	if ((e = shares_find(w->o.shares, share, &info, em)) != ERR_OK)
		goto out;
	memcpy(a->def.share.b, info.id.b, 32);
	memcpy(a->def.share_name, info.name, sizeof(info.name));
	share_info_fini(&info);
	a->def.added_ms = clock_wall_ms();
	parts[0] = slice_of(a->def.share.b, 32);
	parts[1] = slice_str(a->def.name);
	wf_key_of(parts, 2, &a->def.key);
	e = store_write(w->o.store, add_job, a);
	if (e == ERR_OK)
		memcpy(name, a->def.name, sizeof(a->def.name));
	else
		(void)errmsg_set(
		    em, e, "try again", "not added: %s", err_text(e));
out:
	mem_free(a);
	return e;
}

enum err
workflows_each(struct workflows *w, workflow_fn fn, void *ctx)
{
	struct workflow_info info;
	struct wf_def *list = NULL;
	uint32_t n = 0, i;
	enum err e = wf_defs(w, &list, &n);

	for (i = 0; e == ERR_OK && i < n; i++) {
		memset(&info, 0, sizeof(info));
		memcpy(info.name, list[i].name, sizeof(info.name));
		memcpy(info.share, list[i].share_name, sizeof(info.share));
		enc_hex(slice_of(list[i].hash.b, 32), info.hash);
		info.added_ms = list[i].added_ms;
		if (fn(ctx, &info) != 0)
			break;
	}
	mem_free(list);
	return e;
}

struct runs {
	workflow_run_fn fn;
	void *ctx;
	enum err err;
};

static void
asset_text(const struct asset_id *id, char *out)
{
	static const struct asset_id none;

	out[0] = '\0';
	if (memcmp(id, &none, sizeof(none)) != 0)
		enc_b32(slice_of(id->b, 20), out);
}

static int
runs_row(void *ctx, struct slice key, struct slice value)
{
	struct runs *w = ctx;
	struct workflow_run out = { 0 };
	struct wf_run r;

	(void)key;
	w->err = wf_run_decode(value, &r);
	if (w->err != ERR_OK)
		return 1;
	out.id = r.no;
	memcpy(out.workflow, r.workflow, sizeof(out.workflow));
	memcpy(out.state, r.state, sizeof(out.state));
	memcpy(out.reason, r.reason, sizeof(out.reason));
	asset_text(&r.input, out.input);
	asset_text(&r.output, out.output);
	out.started_ms = r.started_ms;
	out.ended_ms = r.ended_ms;
	out.attempt = r.attempt;
	return w->fn(w->ctx, &out);
}

enum err
workflow_runs_each(struct workflows *w, workflow_run_fn fn, void *ctx)
{
	struct runs rows = { fn, ctx, ERR_OK };
	struct db_txn *t;
	enum err e = store_read(w->o.store, &t);

	if (e != ERR_OK)
		return e;
	e = store_row_each(
	    w->o.store, t, "run", (struct slice){ 0 }, runs_row, &rows);
	db_abort(t);
	return e != ERR_OK ? e : rows.err;
}
