/* store/blob/store_gc.c: one pass of the collector, and its manners.
 *
 * Everything that takes time (walking, reading, checking) is done on the
 * caller's thread; the writer gets jobs of bounded size, and between two of
 * them a rest as long as the last one took, so that it has at least every
 * second turn for others. */
#include <time.h>

#include "store/base/clock.h"
#include "store/blob/gc_internal.h"

#define REST_MAX_US ((uint64_t)50000)
#define BURY_WAIT_MS 1000u

static void
gc_rest(const struct gc *g, uint64_t us)
{
	struct timespec t;

	if (g->o->no_pause)
		return;
	if (us > REST_MAX_US)
		us = REST_MAX_US;
	t.tv_sec = 0;
	t.tv_nsec = (long)us * 1000;
	(void)nanosleep(&t, NULL);
}

enum err
gc_job(struct gc *g, store_job_fn fn, void *ctx, struct gc_cost *cost)
{
	struct store_gc_report *r = g->rep;
	uint64_t t0 = clock_mono_us();
	enum err e;

	if (g->o->stop != NULL && g->o->stop(g->o->ctx))
		return ERR_CANCELLED;
	e = store_write(g->s, fn, ctx);
	r->jobs++;
	if (cost->bytes > r->job_bytes_max)
		r->job_bytes_max = cost->bytes;
	if (cost->records > r->job_records_max)
		r->job_records_max = cost->records;
	if (cost->us > r->job_us_max)
		r->job_us_max = cost->us;
	gc_rest(g, clock_mono_us() - t0);
	return e;
}

static enum err
gc_waiting(struct gc *g)
{
	struct store_chunk_sums sum;
	struct db_txn *t;
	enum err e = store_read(g->s, &t);

	if (e != ERR_OK)
		return e;
	e = store_chunk_sums_get(t, &sum);
	db_abort(t);
	g->rep->waiting_chunks = sum.grace_chunks;
	g->rep->waiting_bytes = sum.grace_bytes;
	return e;
}

static enum err
gc_pass(struct gc *g)
{
	enum err e = gc_collect(g);

	if (e == ERR_OK)
		e = gc_sweep(g);
	if (e == ERR_OK)
		e = gc_compact(g);
	if (e == ERR_OK && !g->o->dry_run)
		e = store_seg_bury(g->s, BURY_WAIT_MS, &g->rep->segments,
		    &g->rep->freed_bytes);
	return e == ERR_OK ? gc_waiting(g) : e;
}

enum err
store_gc(
    struct store *s, const struct store_gc_opts *o, struct store_gc_report *out)
{
	struct gc g = { .s = s, .o = o, .rep = out, .now_ms = clock_wall_ms() };
	enum err e;

	*out = (struct store_gc_report){ 0 };
	if (s->owners == NULL)
		return ERR_UNSUPPORTED; /* nobody counts: nothing may go */
	pthread_mutex_lock(&s->gc_lock);
	e = gc_pass(&g);
	pthread_mutex_unlock(&s->gc_lock);
	return e;
}
