/* store/blob/gc_internal.h: one pass of the collector. */
#ifndef PSC_BLOB_GC_INTERNAL_H
#define PSC_BLOB_GC_INTERNAL_H

#include "store/blob/blob_internal.h"
#include "store/blob/gc.h"
#include "store/blob/store_internal.h"

struct gc {
	struct store *s;
	const struct store_gc_opts *o;
	struct store_gc_report *rep;
	uint64_t now_ms;
};

/* What a job did, for the report. */
struct gc_cost {
	uint64_t bytes, records, us;
};
/* Runs a job and rests as long as it took.  ERR_CANCELLED: asked to stop. */
enum err gc_job(struct gc *g, store_job_fn fn, void *ctx,
    struct gc_cost *cost) PSC_MUST_USE;

/* --- store_collect.c --- */
enum err gc_collect(struct gc *g) PSC_MUST_USE;
/* Entries of PIDX whose chunk is gone. */
enum err gc_sweep(struct gc *g) PSC_MUST_USE;

/* --- store_compact.c --- */
enum err gc_compact(struct gc *g) PSC_MUST_USE;

#endif
