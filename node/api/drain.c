/* node/api/drain.c: may this hub be switched off? */
#include "node/api/api_internal.h"

#include <time.h>

#include "store/base/clock.h"

#define DRAIN_AGAIN_MS 500u

struct drain_wait {
	struct api_call *c;
	uint64_t until;
};

static bool
drain_gone(void *ctx)
{
	struct drain_wait *w = ctx;

	return w->c->out->gone(w->c->out->ctx);
}

static bool
safe(const struct net_drained *d)
{
	return d->alone == 0 && d->behind == 0;
}

/* Pass after pass; the last one counts. */
static enum err
drain(struct drain_wait *w, struct net_drained *d)
{
	const struct net_drain_opts o = { drain_gone, w };
	const struct timespec nap = { 0, (long)DRAIN_AGAIN_MS * 1000000 };
	enum err e;

	for (;;) {
		e = net_drain(w->c->a->o.net, &o, d, &w->c->em);
		if (e != ERR_OK || safe(d) || clock_mono_ms() >= w->until ||
		    drain_gone(w))
			return e;
		(void)nanosleep(&nap, NULL);
	}
}

enum err
api_h_drain(struct api_call *c)
{
	static const char *const keys[] = { "i:timeout_ms", NULL };
	struct drain_wait wait = { .c = c };
	struct net_drained d = { 0 };
	struct buf b = BUF_MAX(4096);
	struct jw w;
	int64_t ms;
	enum err e;

	if ((e = api_body(c)) != ERR_OK || (e = api_only(c, keys)) != ERR_OK)
		return e;
	ms = json_get_int(c->body, "timeout_ms", 60000);
	if (ms < 0 || ms > (int64_t)API_WAIT_MS)
		return errmsg_set(&c->em, ERR_LIMIT, "Wait less long.",
		    "timeout_ms must be from 0 to %u", API_WAIT_MS);
	wait.until = clock_mono_ms() + (uint64_t)ms;
	if ((e = drain(&wait, &d)) != ERR_OK)
		return e;
	jw_init(&w, &b);
	jw_obj(&w, NULL);
	jw_bool(&w, "safe", safe(&d));
	jw_u64(&w, "chunks", d.chunks);
	jw_u64(&w, "alone", d.alone);
	jw_u64(&w, "behind", d.behind);
	jw_end(&w);
	e = api_answer(c, &b);
	buf_fini(&b);
	return e;
}
