/* node/app/lay.c: large content tables, read beside the writer.
 *
 * Looks a few times a second whether a table waits; reads one, lays its images
 * job by job, and looks again.  What cannot be read is told, and tried again a
 * minute after. */
#include "node/app/lay.h"

#include <pthread.h>
#include <time.h>

#include "node/ops/log.h"
#include "store/base/mem.h"
#include "store/catalog/images.h"

#define LAY_LOOK_MS 250
#define LAY_AGAIN_MS 60000

struct app_lay {
	struct store *store;
	pthread_t thread;
	pthread_mutex_t mu;
	pthread_cond_t wake;
	bool stopping; /* guarded by mu */
};

struct lay_step {
	struct cat_laying *l;
	bool more;
};

static enum err
lay_job(struct store_txn *t, void *ctx)
{
	struct lay_step *s = ctx;

	return cat_laying_step(t, s->l, &s->more);
}

/* Waits so long, or not if it is time to stop; is it? */
static bool
lay_stopping(struct app_lay *a, long ms)
{
	struct timespec until;
	bool stop;

	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += ms % 1000 * 1000000;
	until.tv_sec += ms / 1000 + until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	pthread_mutex_lock(&a->mu);
	if (!a->stopping && ms > 0)
		(void)pthread_cond_timedwait(&a->wake, &a->mu, &until);
	stop = a->stopping;
	pthread_mutex_unlock(&a->mu);
	return stop;
}

/* All that waits.  ERR_NOTFOUND: nothing does any more. */
static enum err
lay_all(struct app_lay *a)
{
	struct lay_step s;
	enum err e = ERR_OK;

	while (e == ERR_OK && !lay_stopping(a, 0)) {
		e = cat_laying_open(a->store, &s.l);
		if (e != ERR_OK)
			return e;
		do
			e = store_write(a->store, lay_job, &s);
		while (e == ERR_OK && s.more && !lay_stopping(a, 0));
		cat_laying_close(s.l);
	}
	return e;
}

static void *
lay_main(void *arg)
{
	struct app_lay *a = arg;
	long wait = LAY_LOOK_MS;
	enum err e;

	while (!lay_stopping(a, wait)) {
		e = lay_all(a);
		wait = LAY_LOOK_MS;
		if (e == ERR_OK || e == ERR_NOTFOUND || e == ERR_CANCELLED)
			continue;
		log_error("catalog", "images of a series were not indexed",
		    "error=\"%s\" next=\"pesscara verify --deep\"",
		    err_text(e));
		wait = LAY_AGAIN_MS;
	}
	return NULL;
}

static void
lay_free(struct app_lay *a)
{
	pthread_cond_destroy(&a->wake);
	pthread_mutex_destroy(&a->mu);
	mem_free(a);
}

enum err
app_lay_start(struct store *s, struct app_lay **out)
{
	struct app_lay *a = mem_new(sizeof(*a));
	pthread_condattr_t mono;

	if (a == NULL)
		return ERR_NOMEM;
	a->store = s;
	pthread_mutex_init(&a->mu, NULL);
	pthread_condattr_init(&mono);
	pthread_condattr_setclock(&mono, CLOCK_MONOTONIC);
	pthread_cond_init(&a->wake, &mono);
	pthread_condattr_destroy(&mono);
	if (pthread_create(&a->thread, NULL, lay_main, a) != 0) {
		lay_free(a);
		return ERR_NOMEM;
	}
	*out = a;
	return ERR_OK;
}

void
app_lay_stop(struct app_lay *a)
{
	if (a == NULL)
		return;
	pthread_mutex_lock(&a->mu);
	a->stopping = true;
	pthread_cond_signal(&a->wake);
	pthread_mutex_unlock(&a->mu);
	pthread_join(a->thread, NULL);
	lay_free(a);
}
