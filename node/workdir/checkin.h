/* node/workdir/checkin.h: one check-in at work.
 *
 *   walk -> ci_file -> ci_group (one version each) -> content -> one job
 *
 * plan.c makes files and groups, take.c content, gate.c says what may in,
 * checkin.c commits. */
#ifndef PSC_WORKDIR_CHECKIN_H
#define PSC_WORKDIR_CHECKIN_H

#include "node/workdir/workdir_internal.h"

#define CI_FILES_MAX 100000u
#define CI_ABOVE_MAX 4u  /* levels above an asset */
#define CI_TEXT_MAX 400u /* note, reason, tool: as much as the audit keeps */

struct ci_file { /* on disk, to go in; or gone (removed) */
	enum workdir_state state;
	uint32_t asset; /* of the manifest; WD_NONE: o->source */
	uint32_t file;
	uint32_t group;
	char *name;
	char folder[CONTENT_NAME_MAX + 1];
	uint64_t bytes;
	struct cry_id hash;
	struct stat st; /* as it was read */
	bool taken;     /* its place among the members is filled */
};

struct ci_base { /* an asset as the store has it, at the version checked out */
	bool known; /* it has that version */
	struct cat_asset a;
	struct cat_version v;
};

struct ci_node {
	char level[CAT_LEVEL_MAX + 1];
	char key[CAT_KEY_MAX + 1];
};

struct ci_group {      /* becomes one version */
	bool derived;  /* of a new asset; else of the asset that changed */
	uint32_t base; /* index in bases: the asset, or its source */
	char folder[CONTENT_NAME_MAX + 1];
	char stem[CONTENT_NAME_MAX + 1];
	struct ci_node path[CI_ABOVE_MAX + 2]; /* the asset itself last */
	uint32_t n_path;
	struct buf fields; /* of the asset itself */
	struct asset_id source;
	struct content_done done;
	struct wd_asset entry; /* as the manifest will have it */
	struct buf provenance;
	/* after the job */
	struct asset_id id;
	struct cry_id version;
	uint32_t heads;
	bool was_there; /* an earlier check-in made this version */
};

struct checkin {
	const struct workdir_env *env;
	const struct workdir_checkin_opts *o;
	const struct workdir_checkin_fns *fns;
	struct errmsg *em;
	int dir;
	struct wd_manifest m;
	struct share_info *shares;
	uint32_t n_shares;
	struct ci_base *
	    *base;       /* one an asset of the manifest, then o->source */
	uint32_t n_base; /* assets of the manifest as it was read */
	struct ci_file *f;
	uint32_t n, cap;
	struct ci_group *g;
	uint32_t n_g, cap_g;
	struct imaging *helper; /* of the gate; NULL until it is needed */
	struct blob_batch *batch;
	uint64_t done_files, done_bytes;
	uint32_t unlocked;
	enum err walk_err;
};

/* plan.c */
enum err ci_plan(struct checkin *k) PSC_MUST_USE;
/* take.c: every group's content into the batch. */
enum err ci_take(struct checkin *k) PSC_MUST_USE;
/* The table of the version that was checked out. */
enum err ci_base_open(struct checkin *k, const struct ci_base *b,
    struct content **out) PSC_MUST_USE;
/* A file of the node's home without a name. */
enum err ci_spool_new(const char *home, int *out) PSC_MUST_USE;
enum err ci_spool_write(int fd, struct slice s) PSC_MUST_USE;
/* Is every file still what was read? ERR_AGAIN. */
enum err ci_still(struct checkin *k) PSC_MUST_USE;
/* gate.c */
enum err ci_gate(struct checkin *k, const struct ci_group *g,
    const struct ci_file *f, int fd) PSC_MUST_USE;
void ci_gate_end(struct checkin *k);
/* Before any file is read: is a check-in permitted at its level, and do note,
 * reason and tool name no patient? */
enum err ci_gate_group(
    struct checkin *k, const struct ci_group *g) PSC_MUST_USE;
/* The level of what is added, by its files' names. */
const char *ci_level(const char *name);

#endif
