/* node/backup/scrub.c: the log read over and over, within a bandwidth.
 *
 * A step a second reads what may be read in a second; a round begins at most
 * once an hour, so a small log is not read without end.  How far it came is
 * kept as a local row, every ten minutes at most: a record of its own each
 * time would be log to read again.  The same damage is told once a run. */
#include <errno.h>
#include <pthread.h>
#include <time.h>

#include "node/backup/scrub.h"
#include "node/ops/log.h"
#include "store/base/clock.h"
#include "store/base/mem.h"
#include "store/catalog/catalog.h"

#define SCRUB_TAG "scrub"
#define TOLD_MAX 256u
#define KEEP_MS 600000u
#define ROUND_MS 3600000u

struct scrub {
	struct store *s;
	uint64_t rate;
	struct store_scrub at;
	uint64_t kept_ms;  /* monotonic, of the row */
	uint64_t round_ms; /* when this round began */
	bool resting;      /* until the next one */
	pthread_t thread;
	pthread_mutex_t mu;
	pthread_cond_t wake;
	bool stopping;          /* guarded by mu */
	struct scrub_status st; /* guarded by mu */
	struct store_bad told[TOLD_MAX];
	uint32_t n_told;
};

static enum err
at_read(struct store *s, struct store_scrub *at)
{
	struct buf b = BUF_MAX(64);
	struct db_txn *t = NULL;
	struct rd r;
	enum err e = store_read(s, &t);

	if (e == ERR_OK)
		e = store_row_get(s, t, SCRUB_TAG, SLICE_LIT("at"), &b);
	db_abort(t);
	r = rd_init(buf_slice(&b));
	if (e == ERR_OK) {
		at->seg = rd_u32(&r);
		at->rounds = rd_u64(&r);
	}
	buf_fini(&b);
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

static enum err
at_job(struct store_txn *t, void *ctx)
{
	const struct store_scrub *at = ctx;
	struct buf b = BUF_MAX(16);
	enum err e;

	buf_u32(&b, at->seg);
	buf_u64(&b, at->rounds);
	e = buf_err(&b);
	if (e == ERR_OK)
		e = store_row_put(t, SCRUB_TAG, SLICE_LIT("at"), buf_slice(&b));
	buf_fini(&b);
	return e;
}

static enum err
bad_job(struct store_txn *t, void *ctx)
{
	const struct store_bad *bad = ctx;
	struct cat_event ev = { .wall_ms = clock_wall_ms(),
		.type = "store.damaged" };

	(void)snprintf(
	    ev.detail, sizeof(ev.detail), "%s %s", bad->what, bad->where);
	return cat_event_append(t, &ev);
}

static void
bad_found(void *ctx, const struct store_bad *bad)
{
	struct scrub *g = ctx;
	struct store_bad copy = *bad;
	uint32_t i;

	for (i = 0; i < g->n_told; i++) {
		if (strcmp(g->told[i].where, bad->where) == 0)
			return;
	}
	if (g->n_told < TOLD_MAX)
		g->told[g->n_told++] = *bad;
	log_error("scrub", "the store is damaged",
	    "what=%s where=\"%s\" next=\"pesscara repair\"", bad->what,
	    bad->where);
	if (store_write(g->s, bad_job, &copy) != ERR_OK)
		log_error(
		    "scrub", "the event was not kept", "what=%s", bad->what);
	pthread_mutex_lock(&g->mu);
	g->st.bad++;
	(void)snprintf(
	    g->st.last, sizeof(g->st.last), "%s %s", bad->what, bad->where);
	pthread_mutex_unlock(&g->mu);
}

static void
scrub_step(struct scrub *g)
{
	uint64_t read = 0, rounds = g->at.rounds, now = clock_mono_ms();
	enum err e;

	if (g->resting && now - g->round_ms < ROUND_MS)
		return;
	if (g->resting)
		g->round_ms = now;
	e = store_scrub_step(g->s, &g->at, g->rate, bad_found, g, &read);
	g->resting = e == ERR_OK && g->at.rounds != rounds;
	if (e == ERR_OK && now - g->kept_ms >= KEEP_MS) {
		g->kept_ms = now;
		e = store_write(g->s, at_job, &g->at);
	}
	if (e != ERR_OK)
		log_warn("scrub", "a step failed", "error=\"%s\"", err_text(e));
	pthread_mutex_lock(&g->mu);
	g->st.bytes += read;
	g->st.rounds = g->at.rounds;
	pthread_mutex_unlock(&g->mu);
}

static void *
scrub_main(void *arg)
{
	struct scrub *g = arg;
	struct timespec t;
	int rc;

	pthread_mutex_lock(&g->mu);
	while (!g->stopping) {
		(void)clock_gettime(CLOCK_MONOTONIC, &t);
		t.tv_sec++;
		for (rc = 0; !g->stopping && rc != ETIMEDOUT;)
			rc = pthread_cond_timedwait(&g->wake, &g->mu, &t);
		if (g->stopping)
			break;
		pthread_mutex_unlock(&g->mu);
		scrub_step(g);
		pthread_mutex_lock(&g->mu);
	}
	pthread_mutex_unlock(&g->mu);
	return NULL;
}

enum err
scrub_start(struct store *s, uint64_t bytes_per_s, struct scrub **out,
    struct errmsg *em)
{
	pthread_condattr_t attr;
	struct scrub *g;
	enum err e;

	*out = NULL;
	if (bytes_per_s == 0)
		return ERR_OK;
	if ((g = mem_new(sizeof(*g))) == NULL)
		return errmsg_set(em, ERR_NOMEM, "", "out of memory");
	g->s = s;
	g->rate = bytes_per_s;
	g->st.on = true;
	pthread_mutex_init(&g->mu, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&g->wake, &attr);
	pthread_condattr_destroy(&attr);
	g->kept_ms = g->round_ms = clock_mono_ms();
	e = at_read(s, &g->at);
	g->st.rounds = g->at.rounds;
	if (e == ERR_OK && pthread_create(&g->thread, NULL, scrub_main, g) != 0)
		e = ERR_NOMEM;
	if (e != ERR_OK) {
		pthread_cond_destroy(&g->wake);
		pthread_mutex_destroy(&g->mu);
		mem_free(g);
		return errmsg_set(em, e, "run `pesscara rebuild`",
		    "the scrub did not start: %s", err_text(e));
	}
	*out = g;
	return ERR_OK;
}

void
scrub_stop(struct scrub *g)
{
	if (g == NULL)
		return;
	pthread_mutex_lock(&g->mu);
	g->stopping = true;
	pthread_cond_signal(&g->wake);
	pthread_mutex_unlock(&g->mu);
	(void)pthread_join(g->thread, NULL);
	pthread_cond_destroy(&g->wake);
	pthread_mutex_destroy(&g->mu);
	mem_free(g);
}

void
scrub_status(struct scrub *g, struct scrub_status *out)
{
	*out = (struct scrub_status){ .on = false };
	if (g == NULL)
		return;
	pthread_mutex_lock(&g->mu);
	*out = g->st;
	pthread_mutex_unlock(&g->mu);
}
