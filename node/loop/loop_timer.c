/* node/loop/loop_timer.c: one-shot timers. */
#include "node/loop/loop_internal.h"

struct loop_timer {
	uv_timer_t uv;
	loop_fn fn;
	void *ctx;
};

static void
timer_cb(uv_timer_t *h)
{
	struct loop_timer *t = h->data;

	t->fn(t->ctx);
}

static void
timer_closed_cb(uv_handle_t *h)
{
	mem_free(h->data);
}

enum err
loop_timer_new(struct loop *l, loop_fn fn, void *ctx, struct loop_timer **out)
{
	struct loop_timer *t = mem_new(sizeof(*t));

	if (t == NULL)
		return ERR_NOMEM;
	REQUIRE(uv_timer_init(&l->uv, &t->uv) == 0); /* cannot fail */
	t->uv.data = t;
	t->fn = fn;
	t->ctx = ctx;
	*out = t;
	return ERR_OK;
}

void
loop_timer_start(struct loop_timer *t, uint64_t ms)
{
	REQUIRE(uv_timer_start(&t->uv, timer_cb, ms, 0) == 0);
}

void
loop_timer_stop(struct loop_timer *t)
{
	(void)uv_timer_stop(&t->uv);
}

void
loop_timer_close(struct loop_timer *t)
{
	if (t != NULL)
		uv_close((uv_handle_t *)&t->uv, timer_closed_cb);
}
