/* node/api/gc.c: give space back, on request. */
#include "node/api/api_internal.h"

static bool
gc_gone(void *ctx)
{
	struct api_call *c = ctx;

	return c->out->gone(c->out->ctx);
}

static void
gc_report(struct jw *w, const struct store_gc_report *r,
    const struct share_evicted *gone, bool dry)
{
	jw_obj(w, NULL);
	jw_bool(w, "dry_run", dry);
	jw_u64(w, "let_go_versions", gone->versions);
	jw_u64(w, "kept_unproven", gone->kept);
	jw_u64(w, "chunks", r->chunks);
	jw_u64(w, "bytes", r->bytes);
	jw_u64(w, "waiting_chunks", r->waiting_chunks);
	jw_u64(w, "waiting_bytes", r->waiting_bytes);
	jw_u64(w, "segments", r->segments);
	jw_u64(w, "freed_bytes", r->freed_bytes);
	jw_u64(w, "copied_bytes", r->copied_bytes);
	jw_u64(w, "damaged_segments", r->damaged);
	jw_end(w);
}

enum err
api_h_gc(struct api_call *c)
{
	static const char *const keys[] = { "b:dry_run", NULL };
	struct store_gc_opts o = { .stop = gc_gone, .ctx = c };
	struct net_proven others = { c->a->o.net,
		(uint32_t)c->a->o.conf->store_copies };
	const struct share_evict_opts evict = { .stop = gc_gone,
		.ctx = c,
		.proven = others.copies > 0 ? net_proven : NULL,
		.proven_ctx = &others };
	struct buf b = BUF_MAX(API_ROW_BYTES);
	struct share_evicted gone = { 0 };
	struct store_gc_report r;
	struct jw w;
	enum err e;

	if ((e = api_body(c)) != ERR_OK || (e = api_only(c, keys)) != ERR_OK)
		return e;
	o.dry_run = json_get_bool(c->body, "dry_run", false);
	o.grace_ms = c->a->o.conf->gc_grace_hours * 3600 * 1000;
	e = o.dry_run ? ERR_OK : shares_evict(c->a->o.shares, &evict, &gone);
	if (e == ERR_OK)
		e = store_gc(c->a->o.store, &o, &r);
	if (e == ERR_FULL)
		return errmsg_set(&c->em, e,
		    "Free some space on the disk, then run it again.",
		    "there is no space to copy what is in use forward");
	if (e != ERR_OK)
		return e;
	jw_init(&w, &b);
	gc_report(&w, &r, &gone, o.dry_run);
	e = api_answer(c, &b);
	buf_fini(&b);
	return e;
}
