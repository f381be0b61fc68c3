/* node/loop/loop_work.c: a function on a pool thread, its end on the loop. */
#include "node/loop/loop_internal.h"

struct loop_job {
	uv_work_t uv;
	loop_fn fn;
	loop_fn done;
	void *ctx;
};

static void
work_cb(uv_work_t *req)
{
	struct loop_job *j = req->data;

	j->fn(j->ctx);
}

static void
work_done_cb(uv_work_t *req, int status)
{
	struct loop_job *j = req->data;

	(void)status; /* never cancelled */
	j->done(j->ctx);
	mem_free(j);
}

enum err
loop_work(struct loop *l, loop_fn fn, loop_fn done, void *ctx)
{
	struct loop_job *j = mem_new(sizeof(*j));
	int rc;

	if (j == NULL)
		return ERR_NOMEM;
	j->uv.data = j;
	j->fn = fn;
	j->done = done;
	j->ctx = ctx;
	rc = uv_queue_work(&l->uv, &j->uv, work_cb, work_done_cb);
	if (rc != 0)
		mem_free(j);
	return loop_err(rc);
}
