/* node/workflow/workflow_internal.h: definitions, runs, the runner thread.
 *
 * Local rows (sealed), by tag:
 *   "wf"     hash16(share, name)              -> struct wf_def
 *   "run"    be64 run number                  -> struct wf_run
 *   "runq"   be64 run number                  -> "" while queued or running
 *   "runkey" hash16(definition, op of input)  -> run number: one effect an
 *            event, however often it is seen
 *   "runseq" "n"                              -> last run number
 * The events consumed so far: catalog cursor "workflow". */
#ifndef PSC_WORKFLOW_INTERNAL_H
#define PSC_WORKFLOW_INTERNAL_H

#include <pthread.h>

#include "node/workflow/workflow.h"

#define WF_YAML_MAX (64 * KIB)
#define WF_ATTEMPTS_MAX 3u
#define WF_RETRY_MS 2000u /* times the attempt */
/* A step's id; with asset id and workflow name it makes a natural key. */
#define WF_STEP_MAX 24u

struct wf_key {
	uint8_t b[16];
};

struct wf_def { /* as kept; yaml is the definition */
	struct wf_key key;
	char name[LIM_NAME_BYTES + 1];
	char share_name[LIM_NAME_BYTES + 1];
	struct cry_id share;
	struct cry_id hash; /* of the YAML */
	uint64_t added_ms;
	char where[512];
	char step[WF_STEP_MAX + 1];
};

struct wf_run {
	uint64_t no;
	struct wf_key def;
	char workflow[LIM_NAME_BYTES + 1];
	char state[16];
	struct asset_id input;
	struct cry_id input_op; /* the version that arrived */
	struct asset_id output;
	char reason[160];
	uint64_t started_ms, ended_ms;
	uint32_t attempt;
};

struct workflows {
	struct workflows_opts o;
	pthread_t thread;
	bool running;
	uint64_t retry_at_ms; /* monotonic; the runner thread's */
	pthread_mutex_t mu;
	pthread_cond_t wake;
	bool stopping; /* guarded by mu */
	bool woken;    /* guarded by mu */
	int helper;    /* pid at work, else 0; guarded by mu */
};

/* define.c */
enum err wf_parse(
    struct slice yaml, struct wf_def *out, struct errmsg *em) PSC_MUST_USE;

/* rows.c */
enum err wf_def_put(struct store_txn *t, const struct wf_def *d,
    struct slice yaml) PSC_MUST_USE;
enum err wf_def_decode(
    struct slice key, struct slice value, struct wf_def *out) PSC_MUST_USE;
enum err wf_run_put(struct store_txn *t, const struct wf_run *r) PSC_MUST_USE;
enum err wf_run_get(struct store *s, struct db_txn *t, uint64_t no,
    struct wf_run *out) PSC_MUST_USE;
enum err wf_run_decode(struct slice value, struct wf_run *out) PSC_MUST_USE;
void wf_no_key(uint64_t no, uint8_t key[8]);
uint64_t wf_no_of(struct slice key);
void wf_key_of(const struct slice *parts, size_t n, struct wf_key *out);
/* All definitions; *list is freed with mem_free. */
enum err wf_defs(
    struct workflows *w, struct wf_def **list, uint32_t *n) PSC_MUST_USE;

/* trigger.c: events since the cursor become queued runs. */
enum err wf_trigger(struct workflows *w, bool *more) PSC_MUST_USE;

/* convert.c: carry out one run; the result is appended and the run closed in
 * one job.  ERR_CANCELLED: the node stops. */
enum err wf_convert(struct workflows *w, struct wf_run *r) PSC_MUST_USE;

#endif
