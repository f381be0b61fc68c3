/* store/blob/gc.h: what keeps chunks alive, and how the space of those that
 * nothing keeps comes back.
 *
 * A chunk's references are counted in its CHUNK row, in the transaction that
 * adds or removes what refers to it:
 *   - one for each entry of a manifest in a local row whose tag has an owner,
 *   - one for each op that names it and has it here (the catalog counts).
 * At zero a chunk waits in the grace queue.  It goes when the grace period is
 * over, it still has no reference, and no lease is older than its last one.
 *
 * Thread-safe; functions with a store_txn run in a job. */
#ifndef PSC_BLOB_GC_H
#define PSC_BLOB_GC_H

#include "store/blob/blob.h"

/* --- references --- */
enum err store_ref_add(struct store_txn *t,
    const struct cry_id *cid) PSC_MUST_USE; /* ERR_NOTFOUND: not here */
/* The same for a chunk whose number (blob_chunk_name) is known; also if it
 * is lost. */
enum err store_ref_add_no(struct store_txn *t, uint64_t no) PSC_MUST_USE;
/* A chunk that is not here has nothing to lose: ERR_OK. */
enum err store_ref_drop(
    struct store_txn *t, const struct cry_id *cid) PSC_MUST_USE;
enum err store_ref_drop_no(struct store_txn *t, uint64_t no) PSC_MUST_USE;
/* References of a chunk that is here.  ERR_NOTFOUND. */
enum err store_ref_count(
    struct db_txn *t, const struct cry_id *cid, uint32_t *refs) PSC_MUST_USE;

typedef enum err (*store_hold_fn)(void *ctx, const struct cry_id *cid);
/* hold() for each chunk a manifest needs: once an entry, so a chunk that
 * holds many small files is given many times. */
enum err blob_manifest_hold(struct store *s, struct db_txn *t,
    struct slice manifest, store_hold_fn hold, void *ctx) PSC_MUST_USE;

/* Who, above this room, owns rows that hold chunks.  The store calls chunks
 * with the old and the new value of each row of the tag; it must give the same
 * chunks for the same value. */
struct store_row_owner {
	const char *tag;
	enum err (*chunks)(struct store *s, struct db_txn *t,
	    struct slice value, store_hold_fn hold, void *ctx);
};
/* All that refers to chunks and records from outside this room; given at
 * store_open, outlives the store.  Without it nothing is ever collected. */
struct store_owners {
	const struct store_row_owner *rows;
	uint32_t n_rows;
	/* Gives the chunk number of each reference that tables above this
	 * room count. */
	enum err (*refs_each)(struct db_txn *t,
	    enum err (*fn)(void *ctx, uint64_t no), void *ctx);
	/* A chunk that ops name, and that was not here, is stored.  May be
	 * NULL. */
	enum err (*chunk_came)(struct store_txn *t, uint64_t no);
	/* Ops, heads, membership records: ERR_OK if the index needs the record
	 * at from, ERR_NOTFOUND if not; to, unless NULL: it lies there now. */
	enum err (*rec_move)(struct db_txn *t, enum rec_kind kind,
	    const struct cry_id *id, const struct store_loc *from,
	    const struct store_loc *to);
	/* A sound record of one of these kinds lies at loc: ERR_OK if the
	 * index leads to it or to another copy of it; ERR_NOTFOUND,
	 * ERR_CORRUPT.  NULL: nobody can say. */
	enum err (*rec_known)(struct store *s, struct db_txn *t,
	    enum rec_kind kind, const struct cry_id *id, struct slice body,
	    const struct store_loc *loc);
};

/* --- leases: for whoever looked something up and will rely on it --- */
/* While it lasts, no chunk goes whose last reference was dropped after it
 * began.  What is looked up must begin after the lease. */
struct store_lease {
	uint64_t commit; /* the last durable one when it began */
	struct store_lease *prev, *next;
};
void store_lease_begin(struct store *s, struct store_lease *l);
void store_lease_end(struct store *s, struct store_lease *l);

/* --- giving space back --- */
/* The writer never works longer for it than one such job takes; a record
 * that is larger goes alone. */
#define STORE_GC_JOB_BYTES ((size_t)2 * 1024 * 1024)
#define STORE_GC_JOB_RECORDS 128u
struct store_gc_opts {
	uint64_t grace_ms; /* how long a chunk waits without a reference */
	bool dry_run;      /* count what would go, change nothing */
	bool no_pause;     /* tests: no rest between jobs */
	/* asked between jobs; true: stop here (ERR_CANCELLED).  May be NULL */
	bool (*stop)(void *ctx);
	void *ctx;
};
struct store_gc_report {
	uint64_t chunks;                        /* collected */
	uint64_t bytes;                         /* of their records */
	uint64_t waiting_chunks, waiting_bytes; /* in the queue afterwards */
	uint32_t segments;                      /* emptied and removed */
	uint64_t freed_bytes;  /* of their files, up to their end */
	uint64_t copied_bytes; /* live records copied forward */
	uint32_t damaged;      /* segments left as they are: run verify */
	/* the jobs it gave the writer */
	uint64_t jobs, job_bytes_max, job_records_max, job_us_max;
};
/* One whole pass on the caller's thread: collects what is due, then copies
 * the live records of segments that are under half live forward and removes
 * those.  Rests between jobs.  Another pass runs: waits for it. */
enum err store_gc(struct store *s, const struct store_gc_opts *o,
    struct store_gc_report *out) PSC_MUST_USE;

/* --- recount --- */
/* Counts every reference anew, in one read transaction, and compares: each
 * chunk that differs is reported as "refs".  ERR_UNSUPPORTED: no owners. */
enum err store_refs_check(struct store *s, store_bad_fn fn, void *ctx,
    uint64_t *checked) PSC_MUST_USE;
/* The same, and writes the counts: the end of a rebuild.  Nothing else may
 * write meanwhile. */
enum err store_refs_rebuild(struct store *s) PSC_MUST_USE;

#endif
