/* store/blob/store.h: an open store: index + append-only segments + the
 * writer thread that owns every write.
 *
 * Acknowledged means durable: a job's done callback runs only after the
 * segment was synced and the index transaction committed (in this order).
 * Group commit without a timer: a batch is what arrived while the last
 * commit ran.  An I/O error after a commit began stops the process.
 *
 * Threads: store_submit and all reads from any thread; jobs and done
 * callbacks run on the writer thread.  docs/store-format.md says every byte
 * that reaches the disk. */
#ifndef PSC_BLOB_STORE_H
#define PSC_BLOB_STORE_H

#include "crypto/crypto.h"
#include "store/base/rd.h"
#include "store/db/db.h"

struct store;
struct store_txn;    /* what a job writes through */
struct store_owners; /* gc.h: who refers to chunks */

struct store_opts {
	const char *dir;            /* created if absent: db/ and segments/ */
	struct cry_key local;       /* seals local rows; keys the P index */
	struct cry_key convergence; /* chunk keys (protocol.md section 7) */
	size_t segment_bytes;       /* 0: 1 GiB; tests use small ones */
	size_t map_bytes;           /* 0: 64 GiB */
	uint32_t queue_max;         /* jobs waiting; 0: 4096 */
	uint64_t quota_bytes;       /* 0: none; see store_quota_full */
	/* NULL: nothing is ever collected */
	const struct store_owners *owners;
};

/* Takes an exclusive lock on dir (ERR_BUSY: another process holds it).
 * Truncates the open segment at its last indexed record. */
enum err store_open(const struct store_opts *o, struct store **out,
    struct errmsg *em) PSC_MUST_USE;
/* Runs what is queued, then closes. NULL ok. */
void store_close(struct store *s);

/* A job changes the store through t.  It runs in a child transaction: when
 * it returns an error, nothing it did remains and its done gets that error.
 * It must not block on anything but the disk. */
typedef enum err (*store_job_fn)(struct store_txn *t, void *ctx);
typedef void (*store_done_fn)(enum err e, void *ctx);

/* done may be NULL.  ERR_BUSY: queue full; ERR_FULL: no space, admission
 * refused (store keeps serving reads); ERR_CANCELLED: closing. */
enum err store_submit(struct store *s, store_job_fn job, store_done_fn done,
    void *ctx) PSC_MUST_USE;
/* Submit and wait until durable.  Not from the loop or a done callback. */
enum err store_write(struct store *s, store_job_fn job, void *ctx) PSC_MUST_USE;

/* fn runs on the writer thread after each batch is durable, before its done
 * callbacks: for state in memory that must only ever follow what is durable.
 * ERR_LIMIT: too many.  store_off_commit returns when fn is not running and
 * will not be called again; not from fn. */
typedef void (*store_commit_fn)(void *ctx);
enum err store_on_commit(
    struct store *s, store_commit_fn fn, void *ctx) PSC_MUST_USE;
void store_off_commit(struct store *s, store_commit_fn fn, void *ctx);

struct db_txn *store_txn_db(struct store_txn *t);
struct store *store_txn_store(struct store_txn *t);
enum err store_read(struct store *s, struct db_txn **out) PSC_MUST_USE;
/* End of a read: db_abort(). */

/* --- records: what cannot be derived goes into the segment --- */
enum rec_kind {
	REC_CHUNK = 1,  /* id = cid, body = ciphertext */
	REC_OP = 2,     /* id = op id, body = header, payload, packing list */
	REC_HEAD = 3,   /* signed head of a feed */
	REC_MEMBER = 4, /* membership record of a share */
	REC_ROW = 5,    /* local row, sealed under the local key */
	REC_END = 6,    /* end of a group commit; only the store writes it */
};
struct store_loc {
	uint32_t seg;
	uint64_t off;
	uint32_t len;
};
#define STORE_LOC_BYTES 16u
void store_loc_put(struct buf *b, const struct store_loc *l);
struct store_loc store_loc_read(struct rd *r); /* sticky error in r */

/* Append one record to the open segment. */
enum err store_rec_put(struct store_txn *t, enum rec_kind kind,
    const struct cry_id *id, struct slice body,
    struct store_loc *out) PSC_MUST_USE;
/* Read a record's body; checks header, crc and kind. ERR_CORRUPT. */
enum err store_rec_get(struct store *s, const struct store_loc *l,
    enum rec_kind kind, struct buf *body) PSC_MUST_USE;

/* --- local rows (vault, keys, tasks, map ...): sealed, rebuildable --- */
/* tag names the row type ("vault", "ekey", ...), 1..8 characters; tag and key
 * together fit DB_KEY_MAX - 2.  The sealed value is kept in the segment and
 * the index holds it too when it is small. */
enum err store_row_put(struct store_txn *t, const char *tag, struct slice key,
    struct slice value) PSC_MUST_USE;
enum err store_row_del(
    struct store_txn *t, const char *tag, struct slice key) PSC_MUST_USE;
/* value is appended to out. txn may be a job's (store_txn_db) or a read. */
enum err store_row_get(struct store *s, struct db_txn *txn, const char *tag,
    struct slice key, struct buf *out) PSC_MUST_USE;
/* ERR_OK, ERR_NOTFOUND. */
enum err store_row_there(
    struct db_txn *txn, const char *tag, struct slice key) PSC_MUST_USE;
/* Calls fn for each row of tag whose key starts with prefix, in key order,
 * until it returns non-zero: an enum err is returned, a positive value only
 * stops. */
typedef int (*store_row_fn)(void *ctx, struct slice key, struct slice value);
enum err store_row_each(struct store *s, struct db_txn *txn, const char *tag,
    struct slice prefix, store_row_fn fn, void *ctx) PSC_MUST_USE;
/* The same for the rows of tag whose key is not below from. */
enum err store_row_from(struct store *s, struct db_txn *txn, const char *tag,
    struct slice from, store_row_fn fn, void *ctx) PSC_MUST_USE;
/* The highest key of tag, appended to out.  ERR_NOTFOUND: no row. */
enum err store_row_last(
    struct db_txn *txn, const char *tag, struct buf *out) PSC_MUST_USE;

/* --- figures and checks --- */
struct store_stats {
	uint64_t chunks;
	uint64_t stored_bytes; /* segments up to their end + index */
	uint64_t segment_bytes;
	uint64_t index_bytes;
	uint64_t commits;
	uint64_t live_bytes;  /* records in use */
	uint64_t dead_bytes;  /* the rest of the segments up to their end */
	uint64_t grace_bytes; /* live, but nothing refers to it */
	uint64_t grace_chunks;
};
enum err store_stats(struct store *s, struct store_stats *out) PSC_MUST_USE;
/* Live bytes and index have reached the quota: who is about to take in
 * content refuses it.  The store itself goes on: what was begun is finished,
 * and letting go needs space too. */
bool store_quota_full(struct store *s);

/* Number of the commit that txn sees. */
enum err store_commit_no(struct db_txn *txn, uint64_t *out) PSC_MUST_USE;
/* All local rows, as sealed. */
enum err store_rows_hash(
    struct store *s, struct db_txn *txn, struct cry_id *out) PSC_MUST_USE;

struct store_bad {
	char what[16]; /* "chunk", "op", "row", "segment", "index" */
	char where[96];
	bool repairable;
};
typedef void (*store_bad_fn)(void *ctx, const struct store_bad *bad);
/* deep: reads and checks every byte of every record; else bounds and the
 * record headers.  checked counts records.  progress may be NULL. */
enum err store_verify(struct store *s, bool deep, store_bad_fn fn, void *ctx,
    uint64_t *checked) PSC_MUST_USE;

/* In a job: a local row whose record and copy in the index differ or of which
 * one is damaged is written again from the other.  rkey: as verify names it
 * (hex of at most 32 bytes of the row key: a prefix).  ERR_CORRUPT: both are
 * damaged; ERR_EXISTS: it is sound. */
enum err store_row_repair(struct store_txn *t, struct slice rkey) PSC_MUST_USE;

/* --- scrub: the log read over and over, a little at a time --- */
struct store_scrub {
	uint32_t seg;    /* 0: begin with the first */
	uint64_t off;    /* where the next record starts */
	uint64_t rounds; /* times the end was passed */
};
/* Reads and checks about `bytes` of the log from *at on, and moves it. */
enum err store_scrub_step(struct store *s, struct store_scrub *at,
    uint64_t bytes, store_bad_fn fn, void *ctx, uint64_t *read) PSC_MUST_USE;

/* --- the log up to one commit, for a backup while writes go on --- */
struct seg_hold;
struct store_snapshot_seg {
	uint32_t no;
	uint64_t end; /* bytes of it that belong to the snapshot */
};
struct store_snapshot {
	struct store *s;
	uint64_t commit; /* the last one in it */
	struct store_snapshot_seg *seg;
	uint32_t n;
	struct seg_hold *holds;
};
/* As t sees it.  The files stay until it is closed; t may end before. */
enum err store_snapshot_open(struct store *s, struct db_txn *t,
    struct store_snapshot **out) PSC_MUST_USE;
void store_snapshot_close(struct store_snapshot *p); /* NULL ok */
/* Bytes of the i-th segment, as they lie on disk. */
enum err store_snapshot_read(const struct store_snapshot *p, uint32_t i,
    uint64_t off, uint8_t *out, size_t n) PSC_MUST_USE;

/* --- rebuild: a new index from the log alone --- */
struct store_rebuild_opts {
	store_bad_fn bad; /* damaged parts: told, skipped, never believed */
	/* The log ended in a commit that did not end, as a crash leaves it:
	 * it was left out from there on.  That is no damage. */
	void (*cut)(void *ctx, uint32_t seg, uint64_t off);
	void (*progress)(void *ctx, uint64_t done, uint64_t bytes);
	void *ctx; /* each may be NULL */
};
/* Scans every segment in log order into a new index beside the old one: SEG,
 * CHUNK, CIDX and ROW.  *out takes jobs; what other rooms derive is theirs to
 * add (store_rebuild_each).  Until store_rebuild_end() the old index stays
 * what it was, so a rebuild that was cut short is simply run again.
 * ERR_BUSY: the store is in use; ERR_AUTH: not the keystore of this store. */
enum err store_rebuild_begin(const struct store_opts *o,
    const struct store_rebuild_opts *ro, struct store **out,
    struct errmsg *em) PSC_MUST_USE;
/* Ops, heads and membership records of the log, in log order. */
typedef enum err (*store_rebuild_fn)(
    void *ctx, enum rec_kind kind, const struct store_loc *l);
enum err store_rebuild_each(
    struct store *s, store_rebuild_fn fn, void *ctx) PSC_MUST_USE;
/* A damage that another room found. */
void store_rebuild_bad(struct store *s, const struct store_bad *bad);
/* Closes s and puts its index in the place of the old one, which is kept as
 * db.old when keep_old.  s is freed either way. */
enum err store_rebuild_end(
    struct store *s, bool keep_old, struct errmsg *em) PSC_MUST_USE;
/* fn with each row of a tag, in jobs of a bounded number of rows. */
typedef enum err (*store_learn_fn)(struct store_txn *t, struct slice value);
enum err store_rebuild_rows(
    struct store *s, const char *tag, store_learn_fn fn) PSC_MUST_USE;
/* As store_rec_get, and gives the record's id. */
enum err store_rec_get_id(struct store *s, const struct store_loc *l,
    enum rec_kind kind, struct cry_id *id, struct buf *body) PSC_MUST_USE;

#endif
