/* node/app/gc.c: a pass of the collector every so often.
 *
 * What it collects is told in one log line; a pass that fails is told and
 * tried again the next time.  Stopping ends a pass between two of its jobs. */
#include "node/app/gc.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <time.h>

#include "node/ops/log.h"
#include "store/base/mem.h"

#define HOUR_MS ((uint64_t)3600 * 1000)

struct app_gc {
	struct store *store;
	struct shares *shares;
	struct net_proven others;
	uint64_t grace_ms;
	uint64_t interval_s;
	pthread_t thread;
	pthread_mutex_t mu;
	pthread_cond_t wake;
	bool stopping; /* guarded by mu */
};

static bool
gc_stopping(void *ctx)
{
	struct app_gc *g = ctx;
	bool stopping;

	pthread_mutex_lock(&g->mu);
	stopping = g->stopping;
	pthread_mutex_unlock(&g->mu);
	return stopping;
}

static void
gc_pass(struct app_gc *g)
{
	struct store_gc_opts o = {
		.grace_ms = g->grace_ms, .stop = gc_stopping, .ctx = g
	};
	struct store_gc_report r = { 0 };
	const struct share_evict_opts evict = { .stop = gc_stopping,
		.ctx = g,
		.proven = g->others.copies > 0 ? net_proven : NULL,
		.proven_ctx = &g->others };
	struct share_evicted gone;
	enum err e = shares_evict(g->shares, &evict, &gone);

	if (e == ERR_OK)
		e = store_gc(g->store, &o, &r);
	if (e == ERR_CANCELLED)
		return;
	if (e != ERR_OK)
		log_error("gc", "a pass failed", "error=\"%s\"", err_text(e));
	else if (r.damaged > 0)
		log_error("gc", "segments were kept: damaged",
		    "segments=%" PRIu32 " next=\"pesscara verify --deep\"",
		    r.damaged);
	if (gone.versions > 0)
		log_info("gc", "content not subscribed to was let go",
		    "versions=%" PRIu64, gone.versions);
	if (gone.kept > 0)
		log_info("gc",
		    "content not subscribed to was kept: not enough "
		    "others prove to hold it",
		    "versions=%" PRIu64 " copies=%" PRIu32, gone.kept,
		    g->others.copies);
	if (r.chunks > 0 || r.segments > 0)
		log_info("gc", "space given back",
		    "chunks=%" PRIu64 " segments=%" PRIu32 " freed=%" PRIu64
		    " copied=%" PRIu64,
		    r.chunks, r.segments, r.freed_bytes, r.copied_bytes);
}

static void *
gc_main(void *arg)
{
	struct app_gc *g = arg;
	struct timespec t;
	int rc;

	pthread_mutex_lock(&g->mu);
	while (!g->stopping) {
		(void)clock_gettime(CLOCK_MONOTONIC, &t);
		t.tv_sec += (time_t)g->interval_s;
		for (rc = 0; !g->stopping && rc != ETIMEDOUT;)
			rc = pthread_cond_timedwait(&g->wake, &g->mu, &t);
		if (g->stopping)
			break;
		pthread_mutex_unlock(&g->mu);
		gc_pass(g);
		pthread_mutex_lock(&g->mu);
	}
	pthread_mutex_unlock(&g->mu);
	return NULL;
}

static void
gc_free(struct app_gc *g)
{
	pthread_cond_destroy(&g->wake);
	pthread_mutex_destroy(&g->mu);
	mem_free(g);
}

enum err
app_gc_start(struct store *s, struct shares *shares, struct net *net,
    const struct conf *conf, struct app_gc **out)
{
	pthread_condattr_t mono;
	struct app_gc *g;

	*out = NULL;
	if (conf->gc_interval_minutes == 0)
		return ERR_OK;
	if ((g = mem_new(sizeof(*g))) == NULL)
		return ERR_NOMEM;
	g->store = s;
	g->shares = shares;
	g->others = (struct net_proven){ net, (uint32_t)conf->store_copies };
	g->grace_ms = conf->gc_grace_hours * HOUR_MS;
	g->interval_s = conf->gc_interval_minutes * 60;
	pthread_mutex_init(&g->mu, NULL);
	pthread_condattr_init(&mono);
	pthread_condattr_setclock(&mono, CLOCK_MONOTONIC);
	pthread_cond_init(&g->wake, &mono);
	pthread_condattr_destroy(&mono);
	if (pthread_create(&g->thread, NULL, gc_main, g) != 0) {
		gc_free(g);
		return ERR_NOMEM;
	}
	*out = g;
	return ERR_OK;
}

void
app_gc_stop(struct app_gc *g)
{
	if (g == NULL)
		return;
	pthread_mutex_lock(&g->mu);
	g->stopping = true;
	pthread_cond_signal(&g->wake);
	pthread_mutex_unlock(&g->mu);
	pthread_join(g->thread, NULL);
	gc_free(g);
}
