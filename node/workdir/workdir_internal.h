/* node/workdir/workdir_internal.h: the manifest and the walk. */
#ifndef PSC_WORKDIR_INTERNAL_H
#define PSC_WORKDIR_INTERNAL_H

#include <dirent.h>
#include <sys/stat.h>

#include "node/workdir/workdir.h"

#define WD_MANIFEST ".pesscara"
#define WD_MANIFEST_PART ".pesscara.part"
#define WD_FORMAT 1
#define WD_MASK 077u /* of files checked out: the node's own */
#define WD_TOP "."   /* the folder of files that lie in DIR itself */
#define WD_ASSETS_MAX 10000u
#define WD_FILES_MAX 250000u
#define WD_MANIFEST_BYTES (96 * MIB)
#define WD_VALUES_MAX (5u * WD_FILES_MAX)

struct wd_file {
	char *name;
	uint64_t bytes;
	struct cry_id hash;
};
/* Several assets may share a folder: what was checked in from it stays. */
struct wd_asset {
	struct asset_id id;
	struct cry_id version;
	char level[CAT_LEVEL_MAX + 1];
	char share[LIM_NAME_BYTES + 1];
	char compartment[LIM_NAME_BYTES + 1];
	char path[CONTENT_NAME_MAX + 1];
	bool derived;
	bool lock; /* this check-out holds its lock */
	struct wd_file *f;
	uint32_t n, cap;
};
struct wd_manifest {
	char site[LIM_NAME_BYTES + 1];
	struct wd_asset *a;
	uint32_t n, cap;
};

/* manifest.c */
void wd_manifest_fini(struct wd_manifest *m);
/* Every name is one component and clean, ids and hashes are whole, nothing
 * occurs twice: what comes out names nothing outside DIR. */
enum err wd_manifest_parse(
    struct slice text, struct wd_manifest *out, struct errmsg *em) PSC_MUST_USE;
enum err wd_manifest_encode(
    const struct wd_manifest *m, struct buf *out) PSC_MUST_USE;
/* ERR_NOTFOUND: DIR has none. */
enum err wd_manifest_read(
    int dir, struct wd_manifest *out, struct errmsg *em) PSC_MUST_USE;
/* Whole or not at all, and durable. */
enum err wd_manifest_write(
    int dir, const struct wd_manifest *m, struct errmsg *em) PSC_MUST_USE;
/* ERR_EXISTS: another node's check-out. */
enum err wd_manifest_ours(const struct workdir_env *env,
    const struct wd_manifest *m, struct errmsg *em) PSC_MUST_USE;
/* NULL: no memory.  Pointers move when one is added. */
struct wd_asset *wd_asset_add(struct wd_manifest *m);
struct wd_asset *wd_asset_find(
    const struct wd_manifest *m, const struct asset_id *id);
enum err wd_file_add(struct wd_asset *a, const char *name, uint64_t bytes,
    const struct cry_id *hash) PSC_MUST_USE;
void wd_files_clear(struct wd_asset *a);
void wd_asset_drop(struct wd_manifest *m, uint32_t i);

/* dir.c */
/* Opens DIR and takes it for this act (ERR_BUSY: another is at work). */
enum err wd_dir_open(
    const char *path, bool make, int *fd, struct errmsg *em) PSC_MUST_USE;
/* DIR for writing, made if its parent is there; many may. mask: of modes. */
enum err wd_dir_make(
    const char *path, unsigned mask, int *fd, struct errmsg *em) PSC_MUST_USE;
/* A folder of DIR, made unless it is there. */
enum err wd_folder_make(
    int dir, const char *path, unsigned mask, int *fd) PSC_MUST_USE;
/* A folder of DIR, "." included; never through a symbolic link. */
enum err wd_folder_open(int dir, const char *path, int *fd) PSC_MUST_USE;
/* A regular file for reading. ERR_UNSUPPORTED: it is something else. */
enum err wd_file_open(
    int folder, const char *name, int *fd, struct stat *st) PSC_MUST_USE;
/* Same file, same bytes as far as the file system tells? */
bool wd_stat_same(const struct stat *a, const struct stat *b);
/* ERR_AGAIN: it changed while it was read. */
enum err wd_file_hash(int folder, const char *name, struct cry_id *hash,
    uint64_t *bytes) PSC_MUST_USE;
/* Names in a folder, sorted, those with a leading dot left out. */
struct wd_names {
	struct dirent **d; /* from the C library: wd_names_fini */
	uint32_t n;
};
enum err wd_names_read(int folder, struct wd_names *out) PSC_MUST_USE;
void wd_names_fini(struct wd_names *l);
enum err wd_dir_empty(int dir, bool *out) PSC_MUST_USE;
enum err wd_errno(int e);

/* part.c */
struct wd_part { /* a file being written */
	int fd;
	char name[32]; /* "": none */
};
enum err wd_part_open(
    int folder, unsigned mask, struct wd_part *p) PSC_MUST_USE;
enum err wd_part_write(struct wd_part *p, struct slice in) PSC_MUST_USE;
/* Whole: under its name at once, in place of what had it.  Ends p. */
enum err wd_part_give(
    int folder, struct wd_part *p, const char *name) PSC_MUST_USE;
void wd_part_drop(int folder, struct wd_part *p);

/* names.c: share and compartment by name, never empty. */
void wd_names_of(const struct share_info *shares, uint32_t n,
    const struct cat_asset *a, struct wd_asset *w);

/* lock.c */
struct wd_lock { /* of one asset */
	struct asset_id id;
	bool wanted; /* this act takes it */
	bool mine;   /* the actor holds it */
	char by[96]; /* the latest other who does; "": nobody */
	uint64_t since_ms;
};
enum err wd_lock_look(struct db_txn *t, const struct asset_id *id,
    const char *actor, struct wd_lock *out) PSC_MUST_USE;
struct wd_lock_act {
	const struct asset_id *id;
	const char *actor;
	bool release;
};
/* In a job. ERR_DENIED: this site may not say so. */
enum err wd_lock_edit(struct store_txn *t, const struct workdir_env *env,
    const struct wd_lock_act *act) PSC_MUST_USE;
/* May this site write where the asset is: derived versions, or originals? */
bool wd_may_write(const struct share_info *shares, uint32_t n,
    const struct cat_asset *a, bool original);

/* walk.c */
struct wd_found {
	enum workdir_state state;
	uint32_t asset; /* in the manifest; WD_NONE */
	uint32_t file;  /* of it; WD_NONE */
	const char *folder;
	const char *name;
	uint64_t bytes;
	struct cry_id hash;
	bool hashed;
	/* refused: */
	const char *why;
	bool is_file;  /* a regular one, which somebody may miss */
	bool changing; /* while it was read */
};
#define WD_NONE UINT32_MAX
typedef int (*wd_found_fn)(void *ctx, const struct wd_found *f);
/* All that lies in DIR beside what the manifest says, folder by folder. */
enum err wd_walk(int dir, const struct wd_manifest *m, wd_found_fn fn,
    void *ctx) PSC_MUST_USE;
/* Do two names stand for parts of one thing ("a.nii.gz", "a.json")? */
bool wd_same_stem(const char *a, const char *b);

#endif
