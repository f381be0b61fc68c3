/* node/workflow/workflow.h: workflows on arriving data.
 *
 * Today: one trigger (arrival: content of an asset is complete, with a query
 * in `where`) and one built-in step (convert: DICOM series -> NIfTI).  A run
 * is a local row; its state changes in the same transaction as what it
 * describes, so that each event has its effect exactly once. */
#ifndef PSC_WORKFLOW_WORKFLOW_H
#define PSC_WORKFLOW_WORKFLOW_H

#include "node/conf/conf.h"
#include "node/imaging/imaging.h"
#include "node/share/share.h"

struct workflows;
struct workflows_opts {
	struct store *store;
	struct shares *shares;
	const char *helper;
	const char *site;
};
enum err workflows_start(const struct workflows_opts *o, struct workflows **out,
    struct errmsg *em) PSC_MUST_USE;
void workflows_stop(struct workflows *w); /* NULL ok */
/* Wake the runner: something was committed.  Any thread. */
void workflows_wake(struct workflows *w);

/* Parse and check YAML without keeping it; em names line and column. */
enum err workflow_check(struct slice yaml, char name[LIM_NAME_BYTES + 1],
    struct errmsg *em) PSC_MUST_USE;
enum err workflow_add(struct workflows *w, struct slice yaml, const char *share,
    const char *actor, char name[LIM_NAME_BYTES + 1],
    struct errmsg *em) PSC_MUST_USE;
struct workflow_info {
	char name[LIM_NAME_BYTES + 1];
	char share[LIM_NAME_BYTES + 1];
	char hash[65];
	uint64_t added_ms;
};
typedef int (*workflow_fn)(void *ctx, const struct workflow_info *w);
enum err workflows_each(
    struct workflows *w, workflow_fn fn, void *ctx) PSC_MUST_USE;
struct workflow_run {
	uint64_t id;
	char workflow[LIM_NAME_BYTES + 1];
	char state[16]; /* queued running done failed */
	char input[ASSET_ID_TEXT + 1];
	char output[ASSET_ID_TEXT + 1];
	char reason[160];
	uint64_t started_ms, ended_ms;
	uint32_t attempt;
};
typedef int (*workflow_run_fn)(void *ctx, const struct workflow_run *r);
enum err workflow_runs_each(
    struct workflows *w, workflow_run_fn fn, void *ctx) PSC_MUST_USE;

#endif
