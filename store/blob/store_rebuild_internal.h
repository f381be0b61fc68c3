/* store/blob/store_rebuild_internal.h: a rebuild at work, which three files
 * share: the log is read (store_rebuild_log.c), what is believed is taken into
 * the new index (store_rebuild_take.c), and that takes the old one's name
 * (store_rebuild.c). */
#ifndef PSC_BLOB_STORE_REBUILD_INTERNAL_H
#define PSC_BLOB_STORE_REBUILD_INTERNAL_H

#include "store/blob/store_internal.h"

#define PATH_BYTES 4096u

/* One record, before its commit is known to have ended. */
struct found {
	struct store_loc loc;
	uint32_t crc;
	uint16_t kind;
	struct cry_id id;
};

/* For the rooms above; 16 bytes each, there may be millions. */
struct noted {
	uint32_t seg, at, len, kind; /* at: offset / STORE_ALIGN */
};

struct seg_live {
	uint32_t seg;
	struct seg_row row;
	bool cut; /* what lies behind row.used was never committed */
};

struct rebuild {
	struct store_rebuild_opts o;
	int lock_fd; /* of the old index; -1: there is none */
	char dir[PATH_BYTES];
	struct db_txn *txn;
	uint32_t taken;        /* records in txn */
	uint64_t closed;       /* number of the last commit that ended */
	uint64_t commit;       /* of the records in pend */
	struct seg_live *segs; /* ascending */
	uint32_t n_segs;
	struct found *pend;
	uint32_t n_pend, cap_pend;
	uint32_t begin_seg; /* where this commit began; 0: between commits */
	uint64_t begin_off;
	bool hurt; /* something damaged was met in this commit */
	bool gap;  /* zeros in this segment where it should go on */
	bool torn; /* a sector of zeros in it */
	struct noted *note;
	size_t n_note, cap_note;
	uint64_t rows_good, rows_alien;
	uint64_t done, bytes; /* for the progress */
	struct buf body;
	struct rebuild_bads bads;
};

/* --- store_rebuild_log.c --- */
/* Every segment, in order; all of it is committed on success. */
enum err rebuild_log_walk(struct store *s, struct errmsg *em) PSC_MUST_USE;

/* --- store_rebuild_take.c --- */
/* While a commit is open it is not known whether it ever ended: what is found
 * in it waits. */
void rebuild_bad(
    struct rebuild *r, const char *what, bool repairable, const char *where);
void rebuild_bad_at(
    struct rebuild *r, uint32_t seg, uint64_t off, const char *why);
/* A transaction is open after begin; end commits it if there is one. */
enum err rebuild_txn_begin(struct store *s) PSC_MUST_USE;
enum err rebuild_txn_end(struct store *s) PSC_MUST_USE;
/* A record of a commit that ended. */
enum err rebuild_take(struct store *s, const struct found *f) PSC_MUST_USE;

#endif
