/* node/ingest/import.h: the workers of one import.
 *
 * A worker is a thread with a helper process of its own.  It takes runs of
 * files, has each opened up by the helper, and commits them together: at most
 * ADMIT_MANY files or ADMIT_MANY_BYTES, so that memory is bounded by the
 * number of workers.  As many workers as cores, started when there is work
 * for them.  All functions belong to the thread that made the pool; only it
 * calls fn. */
#ifndef PSC_INGEST_IMPORT_H
#define PSC_INGEST_IMPORT_H

#include "node/ingest/ingest_internal.h"

struct work_pool;
/* sink outlives the pool.  root: -1, or a folder that paths are below and
 * where no symbolic link is followed (folder.h). */
enum err work_pool_new(struct ingest *g, const struct sink *sink, int root,
    ingest_imported_fn fn, void *ctx, struct work_pool **out) PSC_MUST_USE;
/* One file; waits while enough of them wait, and tells what is done.
 * ERR_CANCELLED: fn wants no more; ERR_NOMEM. */
enum err work_pool_add(struct work_pool *p, const char *path) PSC_MUST_USE;
/* A refusal that needs no worker. */
enum err work_pool_say(
    struct work_pool *p, const char *path, const char *reason) PSC_MUST_USE;
/* Waits for all, tells the rest, frees p.  The first failure that was not a
 * file's own; ERR_OK also when fn wanted no more. */
enum err work_pool_end(struct work_pool *p) PSC_MUST_USE;

#endif
