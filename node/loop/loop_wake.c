/* node/loop/loop_wake.c: how another thread makes the loop look. */
#include "node/loop/loop_internal.h"

struct loop_wake {
	uv_async_t uv;
	loop_fn fn;
	void *ctx;
};

static void
wake_cb(uv_async_t *h)
{
	struct loop_wake *w = h->data;

	w->fn(w->ctx);
}

static void
wake_closed_cb(uv_handle_t *h)
{
	mem_free(h->data);
}

enum err
loop_wake_new(struct loop *l, loop_fn fn, void *ctx, struct loop_wake **out)
{
	struct loop_wake *w = mem_new(sizeof(*w));
	int rc;

	if (w == NULL)
		return ERR_NOMEM;
	rc = uv_async_init(&l->uv, &w->uv, wake_cb);
	if (rc != 0) {
		mem_free(w);
		return loop_err(rc);
	}
	w->uv.data = w;
	w->fn = fn;
	w->ctx = ctx;
	*out = w;
	return ERR_OK;
}

void
loop_wake_send(struct loop_wake *w)
{
	(void)uv_async_send(&w->uv);
}

void
loop_wake_close(struct loop_wake *w)
{
	if (w != NULL)
		uv_close((uv_handle_t *)&w->uv, wake_closed_cb);
}
