/* node/web/web_answer.c: the queue between a handler and the connection.
 *
 * Happy path: the handler begins with a status, writes pieces, returns; the
 * connection's thread takes bytes as the client reads them.  A stream's
 * writer waits while WEB_QUEUE_BYTES are not taken, so a slow client costs
 * this much and no more.  When the client goes away or the node stops, `gone`
 * makes every write fail at once and the handler gives up. */
#include "node/web/web_internal.h"

#include <errno.h>
#include <time.h>

enum err
web_answer_init(struct web_answer *a)
{
	pthread_condattr_t attr;
	enum err e = ERR_NOMEM;

	buf_init(&a->q, WEB_ANSWER_BYTES);
	if (pthread_condattr_init(&attr) != 0)
		return e;
	if (pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) != 0 ||
	    pthread_mutex_init(&a->mu, NULL) != 0)
		goto out;
	if (pthread_cond_init(&a->more, &attr) != 0)
		goto out_mu;
	if (pthread_cond_init(&a->room, &attr) == 0) {
		e = ERR_OK;
		goto out;
	}
	(void)pthread_cond_destroy(&a->more);
out_mu:
	(void)pthread_mutex_destroy(&a->mu);
out:
	(void)pthread_condattr_destroy(&attr);
	return e;
}

void
web_answer_fini(struct web_answer *a)
{
	buf_fini(&a->q);
	(void)pthread_cond_destroy(&a->room);
	(void)pthread_cond_destroy(&a->more);
	(void)pthread_mutex_destroy(&a->mu);
}

static enum err
answer_begin(void *ctx, unsigned status, const char *type)
{
	struct web_answer *a = ctx;

	(void)pthread_mutex_lock(&a->mu);
	REQUIRE(!a->begun);
	a->status = status;
	(void)snprintf(a->type, sizeof(a->type), "%s", type);
	a->begun = true;
	(void)pthread_cond_signal(&a->more);
	(void)pthread_mutex_unlock(&a->mu);
	return ERR_OK;
}

/* Make the head of the queue free again; called with mu held. */
static void
answer_pack(struct web_answer *a)
{
	buf_shift(&a->q, a->at);
	a->at = 0;
}

static enum err
answer_put(struct web_answer *a, struct slice s)
{
	while (s.n > 0 && !a->gone) {
		size_t used = a->q.n - a->at, n = s.n;

		if (a->bounded && used >= WEB_QUEUE_BYTES) {
			(void)pthread_cond_wait(&a->room, &a->mu);
			continue;
		}
		if (a->bounded && n > WEB_QUEUE_BYTES - used)
			n = WEB_QUEUE_BYTES - used;
		answer_pack(a);
		buf_put(&a->q, s.p, n);
		if (buf_err(&a->q) != ERR_OK)
			return buf_err(&a->q);
		s = slice_of(s.p + n, s.n - n);
		(void)pthread_cond_signal(&a->more);
	}
	return a->gone ? ERR_CANCELLED : ERR_OK;
}

static enum err
answer_write(void *ctx, struct slice s)
{
	struct web_answer *a = ctx;
	enum err e;

	(void)pthread_mutex_lock(&a->mu);
	REQUIRE(a->begun);
	e = answer_put(a, s);
	(void)pthread_mutex_unlock(&a->mu);
	return e;
}

static void
answer_trailer(void *ctx, const char *name, const char *value)
{
	struct web_answer *a = ctx;

	(void)pthread_mutex_lock(&a->mu);
	(void)snprintf(a->trailer_name, sizeof(a->trailer_name), "%s", name);
	(void)snprintf(a->trailer_value, sizeof(a->trailer_value), "%s", value);
	(void)pthread_mutex_unlock(&a->mu);
}

static bool
answer_gone(void *ctx)
{
	struct web_answer *a = ctx;
	bool gone;

	(void)pthread_mutex_lock(&a->mu);
	gone = a->gone;
	(void)pthread_mutex_unlock(&a->mu);
	return gone;
}

static void
answer_abort(void *ctx)
{
	struct web_answer *a = ctx;

	(void)pthread_mutex_lock(&a->mu);
	a->aborted = true;
	(void)pthread_cond_signal(&a->more);
	(void)pthread_mutex_unlock(&a->mu);
}

struct api_out
web_answer_out(struct web_answer *a)
{
	struct api_out out = {
		.begin = answer_begin,
		.write = answer_write,
		.trailer = answer_trailer,
		.gone = answer_gone,
		.abort = answer_abort,
		.ctx = a,
	};

	return out;
}

void
web_answer_done(struct web_answer *a)
{
	(void)pthread_mutex_lock(&a->mu);
	a->done = true;
	(void)pthread_cond_signal(&a->more);
	(void)pthread_mutex_unlock(&a->mu);
}

void
web_answer_drop(struct web_answer *a)
{
	(void)pthread_mutex_lock(&a->mu);
	a->gone = true;
	(void)pthread_cond_broadcast(&a->room);
	(void)pthread_cond_broadcast(&a->more);
	(void)pthread_mutex_unlock(&a->mu);
}

static void
answer_pulse(struct timespec *at)
{
	(void)clock_gettime(CLOCK_MONOTONIC, at);
	at->tv_sec += WEB_PULSE_MS / 1000;
	at->tv_nsec += (long)(WEB_PULSE_MS % 1000) * 1000000;
	if (at->tv_nsec >= 1000000000) {
		at->tv_sec++;
		at->tv_nsec -= 1000000000;
	}
}

ssize_t
web_answer_take(struct web_answer *a, char *to, size_t cap, enum err *e)
{
	struct timespec until;
	ssize_t got = 0;
	int rc = 0;

	answer_pulse(&until);
	*e = ERR_OK;
	(void)pthread_mutex_lock(&a->mu);
	while (a->at == a->q.n && !a->done && !a->aborted && !a->gone &&
	       rc != ETIMEDOUT)
		rc = pthread_cond_timedwait(&a->more, &a->mu, &until);
	if (a->gone || a->aborted) {
		*e = ERR_CANCELLED;
		got = -1;
	} else if (a->at < a->q.n) {
		size_t n = a->q.n - a->at < cap ? a->q.n - a->at : cap;

		memcpy(to, a->q.p + a->at, n);
		a->at += n;
		got = (ssize_t)n;
		(void)pthread_cond_signal(&a->room);
	} else if (a->done) {
		got = -1;
	}
	(void)pthread_mutex_unlock(&a->mu);
	return got;
}

void
web_answer_await(struct web_answer *a)
{
	(void)pthread_mutex_lock(&a->mu);
	while (!a->begun && !a->done)
		(void)pthread_cond_wait(&a->more, &a->mu);
	(void)pthread_mutex_unlock(&a->mu);
}
