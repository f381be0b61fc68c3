/* node/backup/backup.h: a copy of a home from which it can be made again.
 *
 * DIR/
 *   backup.json        what belongs to the backup; written last
 *   segments/NNNNNNNN.seg  the log, each up to the end that backup.json names
 *   home/NAME.HASH     pesscara.yaml, keys; a changed one is another file
 *
 * The index is not copied: it is rebuilt from the log.  Segments only grow,
 * so a later backup into the same DIR copies what is new.  A backup that is
 * cut off leaves the one before it whole: bytes behind the ends that its
 * backup.json names do not belong to it.
 *
 * Nothing in it is readable without a secret that is not in it: content, ops
 * and local rows are encrypted, the keystore is closed.  The credential file
 * of an unattended node is left out for that: such a backup opens by the
 * recovery key.
 *
 * No read transaction is open while files are copied, so the index does not
 * grow for it; collected segments stay on disk until the backup is done. */
#ifndef PSC_BACKUP_BACKUP_H
#define PSC_BACKUP_BACKUP_H

#include "store/blob/store.h"

/* A home while it is restored, for as long as it is not whole: a file. */
#define BACKUP_RESTORING "RESTORING"

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
	const struct cry_sign_pk
	    *node;               /* its signing key: whose backup it is */
	const char *dir;         /* made if it is not there; else a backup */
	uint64_t bytes_per_s;    /* read at most so many; 0: no bound */
	bool (*stop)(void *ctx); /* asked between pieces; may be NULL */
	void *ctx;
};
/* While the node runs; blocks.  ERR_BUSY: another backup writes there;
 * ERR_EXISTS: something else lies there; ERR_DENIED: dir lies in home;
 * ERR_FULL. */
enum err backup_make(const struct backup_opts *o, struct backup_report *out,
    struct errmsg *em) PSC_MUST_USE;

/* Checks every byte of the backup in dir, then copies it into home, which
 * must be absent, empty, or what a restore left that was cut short: config,
 * keys, and a store without an index.  HOME/RESTORING stays until
 * backup_restored().  A home with that file is written over.
 * ERR_CORRUPT: the backup is damaged, em names the file. */
enum err backup_restore(const char *dir, const char *home,
    struct backup_report *out, struct errmsg *em) PSC_MUST_USE;
/* Where a file of the home lies in the backup ("keys/keystore"): out holds
 * cap bytes.  ERR_NOTFOUND: the backup has none. */
enum err backup_home_file(const char *dir, const char *name, char *out,
    size_t cap, struct errmsg *em) PSC_MUST_USE;
/* The home is whole. */
enum err backup_restored(const char *home) PSC_MUST_USE;

#endif
