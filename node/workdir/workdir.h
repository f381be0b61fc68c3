/* node/workdir/workdir.h: working directories: what was checked out into a
 * folder, what changed there, and back into the share as new versions.
 *
 *   DIR/.pesscara           the manifest: which files of which versions
 *   DIR/FOLDER/NAME         one folder an asset
 *
 * The node opens the paths itself, as import does; callers are its owner.
 * Whether a file changed is decided by its hash alone.  Names that begin
 * with a dot are nobody's: they are left alone.  Symbolic links are never
 * followed below DIR, and a folder is one level deep.
 *
 * Functions block (hashing, disk) and may run on any thread but the loop and
 * the writer; one act at a time in a directory, others get ERR_BUSY. */
#ifndef PSC_WORKDIR_WORKDIR_H
#define PSC_WORKDIR_WORKDIR_H

#include "node/conf/conf.h"
#include "node/imaging/imaging.h"
#include "node/share/share.h"

/* What the acts stand on; all of it outlives them. */
struct workdir_env {
	struct store *store;
	struct shares *shares;
	const char *site;
	const char *helper; /* path of pesscara-imaging */
	const char *home;   /* files are copied there while checked in */
	/* Does a text name a patient of this site?  ERR_DENIED with em if so
	 * (domain.md 11); asked of notes, file names and files of text. */
	enum err (*gate)(void *ctx, const struct cry_id *share,
	    struct slice text, struct errmsg *em);
	void *gate_ctx;
};

/* --- which assets have the files --- */
enum workdir_as { WORKDIR_ORIGINAL, WORKDIR_DICOM, WORKDIR_NIFTI };
struct workdir_ids {
	struct asset_id *id;
	uint32_t n, cap;
};
void workdir_ids_fini(struct workdir_ids *l);
/* The asset itself if it has files, else those below it, appended. */
enum err workdir_collect(struct store *s, struct db_txn *t,
    const struct asset_id *id, enum workdir_as as, struct workdir_ids *out,
    struct errmsg *em) PSC_MUST_USE;

/* Sorted, each once. */
void workdir_ids_unique(struct workdir_ids *l);

/* --- files alone, without a manifest: DIR/ASSET/NAME --- */
struct workdir_get_opts {
	const char *dir; /* absolute; made if its parent is there */
	const struct workdir_ids *ids; /* each once */
	bool sha256;
	unsigned umask; /* of what is made */
};
struct workdir_got { /* one file was written, or could not be read */
	struct asset_id id;
	struct cry_id version;
	bool alone;         /* it is all that the version has */
	const char *folder; /* of the asset, in DIR */
	const char *name;   /* NULL: err is of the whole asset */
	uint64_t bytes;
	struct cry_id hash;
	const uint8_t *sha256; /* 32 bytes; NULL: was not asked for */
	enum err err;          /* ERR_OK, or why it is not there (ERR_CORRUPT,
				  ERR_NOTFOUND: its content is not on this node ...) */
};
struct workdir_get_fns {
	/* From any of several threads, one at a time; non-zero stops the act
	 * (ERR_CANCELLED). */
	int (*file)(void *ctx, const struct workdir_got *f);
	void *ctx;
};
/* In no order, on all cores, 16 MiB a core.  What had the name of a file is
 * replaced; each file comes whole and checked, or not at all.  Any number at
 * once in one directory. */
enum err workdir_get(const struct workdir_env *env,
    const struct workdir_get_opts *o, const struct workdir_get_fns *fns,
    struct errmsg *em) PSC_MUST_USE;

/* --- check-out --- */
struct workdir_checkout_opts {
	const char *dir;         /* absolute; made if its parent is there */
	const char *const *what; /* asset ids, or one query */
	uint32_t n_what;
	enum workdir_as as;
	bool lock;
	const char *actor;
};
struct workdir_out { /* one asset was written */
	struct asset_id id;
	const char *level;
	const char *path;  /* its folder in DIR */
	const char *state; /* "new", "current", "updated" */
	struct cry_id version;
	uint32_t files;
	uint64_t bytes;
	const char *lock;      /* "taken", "yours" (since before), "none" */
	const char *locked_by; /* somebody else, too; NULL: nobody */
	uint64_t locked_ms;
};
struct workdir_fns {
	int (*out)(void *ctx, const struct workdir_out *o);
	/* So far; non-zero stops the act (ERR_CANCELLED). */
	int (*progress)(void *ctx, uint64_t files, uint64_t bytes);
	void *ctx;
};
/* Writes the files, then the manifest.  Killed in between, it can be
 * repeated.  ERR_EXISTS: DIR holds something else, or changes that would be
 * lost (em names the first). */
enum err workdir_checkout(const struct workdir_env *env,
    const struct workdir_checkout_opts *o, const struct workdir_fns *fns,
    struct errmsg *em) PSC_MUST_USE;

/* --- what changed --- */
enum workdir_state {
	WORKDIR_SAME,
	WORKDIR_CHANGED,
	WORKDIR_ADDED,
	WORKDIR_REMOVED,
	WORKDIR_REFUSED, /* cannot be checked in; why says it */
};
const char *workdir_state_text(enum workdir_state s);
struct workdir_item {
	enum workdir_state state;
	const struct asset_id *asset; /* NULL: no asset's */
	const char *folder;           /* "." : DIR itself */
	const char *name;             /* as on disk, any bytes */
	uint64_t bytes;
	const struct cry_id *hash; /* NULL: was not read */
	const char *why;           /* refused */
};
struct workdir_behind { /* the node has a later version */
	struct asset_id asset;
	const char *folder;
	const struct cat_version *head;
};
struct workdir_diff_fns {
	int (*item)(void *ctx, const struct workdir_item *it);
	int (*behind)(void *ctx, const struct workdir_behind *b);
	void *ctx;
};
enum err workdir_diff(const struct workdir_env *env, const char *dir,
    const struct workdir_diff_fns *fns, struct errmsg *em) PSC_MUST_USE;

/* --- check-in --- */
struct workdir_checkin_opts {
	const char *dir;
	const char *note;   /* "" : none; kept in the provenance */
	const char *reason; /* for what no program can check; kept, audited */
	const char *tool;   /* what made the files */
	const char *level;  /* of what is added; NULL: by the type of file */
	const char *source; /* asset that files in DIR itself belong to */
	bool dry_run;
	bool keep_lock;
	const char *actor;
};
struct workdir_in {                   /* one version was made (or would be) */
	const struct asset_id *asset; /* NULL: dry run of a new one */
	const struct asset_id *source;
	const char *level;
	const char *folder;
	const char *state; /* "version" of what was there, "derived" asset,
			      "known": an earlier check-in made it */
	const struct cry_id *version; /* NULL: dry run */
	uint32_t files;               /* all of the version */
	uint64_t bytes;
	uint32_t heads; /* > 1: others made versions meanwhile */
};
struct workdir_checkin_fns {
	int (*in)(void *ctx, const struct workdir_in *v);
	/* What is left out, and why. */
	int (*left)(void *ctx, const struct workdir_item *it);
	int (*progress)(void *ctx, uint64_t files, uint64_t bytes);
	void *ctx;
};
struct workdir_checkin_sum {
	uint32_t versions;
	uint32_t unlocked; /* locks given back */
	uint64_t files, bytes;
};
/* All of what changed in one job, or nothing.  A file that changes while it is
 * read: ERR_AGAIN.  ERR_DENIED: the gate or the share does not let it in. */
enum err workdir_checkin(const struct workdir_env *env,
    const struct workdir_checkin_opts *o, const struct workdir_checkin_fns *fns,
    struct workdir_checkin_sum *out, struct errmsg *em) PSC_MUST_USE;

#endif
