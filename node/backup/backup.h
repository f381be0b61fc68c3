/* node/backup/backup.h: a copy of a home from which it can be made again.
 *
 * DIR/
 *   backup.json        what belongs to the backup; written last
 *   segments/NNNNNNNN.seg  the log, each up to the end that backup.json names
 *   home/NAME.HASH     pesscara.yaml, keys/; a changed one is another file
 *
 * The index is not copied: it is rebuilt from the log.  Segments only grow,
 * so a later backup into the same DIR copies what is new.  A backup that is
 * cut off leaves the one before it whole: bytes behind the ends that its
 * backup.json names do not belong to it. */
#ifndef PSC_BACKUP_BACKUP_H
#define PSC_BACKUP_BACKUP_H

#include "store/blob/store.h"

struct backup_report {
	uint64_t commit;       /* the last one in it */
	uint64_t bytes;        /* of the log, in all */
	uint64_t copied_bytes; /* this time */
	uint32_t segments;
	struct cry_id root; /* shares_root() at that commit */
	uint64_t wall_ms;   /* when it was made */
};

struct backup_opts {
	struct store *store;
	const char *home;
	const char *dir;         /* made if it is not there; else a backup */
	bool (*stop)(void *ctx); /* asked between pieces; may be NULL */
	void *ctx;
};
/* While the node runs; blocks.  ERR_BUSY: another backup writes there;
 * ERR_EXISTS: something else lies there; ERR_FULL. */
enum err backup_make(const struct backup_opts *o, struct backup_report *out,
    struct errmsg *em) PSC_MUST_USE;

/* Checks every byte of the backup in dir, then copies it into home, which
 * must be absent or empty: config, keys, and a store without an index.
 * ERR_CORRUPT: the backup is damaged, em names the file. */
enum err backup_restore(const char *dir, const char *home,
    struct backup_report *out, struct errmsg *em) PSC_MUST_USE;

#endif
