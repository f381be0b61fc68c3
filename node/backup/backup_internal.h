/* node/backup/backup_internal.h: the list of a backup, and files. */
#ifndef PSC_BACKUP_INTERNAL_H
#define PSC_BACKUP_INTERNAL_H

#include "node/backup/backup.h"
#include "node/conf/json.h"
#include "store/base/limits.h"
#include "store/base/mem.h"

#define BACKUP_FORMAT 1u
#define BACKUP_PATH_MAX 2048u
#define BACKUP_BLOCK ((uint64_t)4096) /* of segments: store-format.md */
#define BACKUP_PIECE ((size_t)1 * MIB)
#define BACKUP_FILES_MAX 260u /* profiles among them */
#define BACKUP_SEGMENTS_MAX 1000000u
#define BACKUP_SEGMENT_END_MAX ((uint64_t)1 << 41)
#define BACKUP_LIST "backup.json"
#define BACKUP_PART "part" /* a file of the home on its way */

struct backup_seg {
	uint32_t no;
	uint64_t end;
	struct cry_id hash; /* of bytes 0..end */
};
struct backup_file { /* of the home; its hash is a part of its path */
	char name[64];
	uint64_t bytes;
	struct cry_id hash;
};
struct backup_list {
	struct backup_report r;
	struct cry_sign_pk node;
	struct backup_seg *seg; /* ascending */
	uint32_t n_seg;
	struct backup_file file[BACKUP_FILES_MAX];
	uint32_t n_files;
};
void backup_list_fini(struct backup_list *l);
/* ERR_NOTFOUND: there is no backup; ERR_CORRUPT. */
enum err backup_list_read(
    const char *dir, struct backup_list *out, struct errmsg *em) PSC_MUST_USE;
/* The list in the text of a backup.json; checked against its check. */
enum err backup_list_parse(
    struct slice text, struct backup_list *out) PSC_MUST_USE;
enum err backup_list_text(
    const struct backup_list *l, struct buf *out) PSC_MUST_USE;
/* Durable when it returns: written aside, synced, renamed. */
enum err backup_list_write(const char *dir, const struct backup_list *l,
    struct errmsg *em) PSC_MUST_USE;

/* --- files (backup_file.c) --- */
extern const char *const backup_home_files[]; /* NULL at the end */
/* Of the home, in a backup: one of those, or "profiles/NAME.yaml". */
#define BACKUP_PROFILES "profiles"
bool backup_holds(const char *name);
enum err backup_path(
    char out[BACKUP_PATH_MAX], const char *dir, const char *name) PSC_MUST_USE;
enum err backup_seg_path(
    char out[BACKUP_PATH_MAX], const char *dir, uint32_t no) PSC_MUST_USE;
/* DIR/home/NAME.HASH (16 digits): another content is another file, so that
 * the backup before keeps its own. */
enum err backup_file_path(char out[BACKUP_PATH_MAX], const char *dir,
    const struct backup_file *f) PSC_MUST_USE;
enum err backup_folder(const char *dir, const char *sub) PSC_MUST_USE;
enum err backup_sync(const char *dir, const char *sub) PSC_MUST_USE;
/* Copies exactly bytes of from (UINT64_MAX: all) to a new file, synced; gives
 * the hash and length of what was copied. */
enum err backup_copy(const char *from, const char *to, uint64_t bytes,
    struct cry_id *hash, uint64_t *copied) PSC_MUST_USE;
/* Hash of the first bytes of a file.  ERR_SHORT: it has fewer. */
enum err backup_hash(
    const char *path, uint64_t bytes, struct cry_id *hash) PSC_MUST_USE;
enum err backup_errno(void);

/* The files of the home.  ERR_CORRUPT: one is not what the list says, though it
 * may have been when it was looked at before. */
enum err backup_files_restore(const char *dir, const char *home,
    const struct backup_list *l) PSC_MUST_USE;

/* --- not faster than it may (backup_pace.c) --- */
struct backup_pace {
	uint64_t bytes_per_s; /* 0: no bound */
	uint64_t began_ms;    /* monotonic */
	uint64_t bytes;       /* read since */
};
/* How long to wait at now_ms so that the rate is kept. */
uint64_t backup_pace_wait_ms(const struct backup_pace *p, uint64_t now_ms);

#endif
