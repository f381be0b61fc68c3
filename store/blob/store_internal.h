/* store/blob/store_internal.h: what the files of an open store share, and the
 * hook by which tests make the disk fail. */
#ifndef PSC_BLOB_STORE_INTERNAL_H
#define PSC_BLOB_STORE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "store/base/enc.h"
#include "store/base/limits.h"
#include "store/base/mem.h"
#include "store/blob/gc.h"
#include "store/blob/store.h"

#define STORE_FORMAT 1u
#define STORE_BLOCK ((uint64_t)4096) /* a commit starts on a fresh one */
#define STORE_ALIGN ((uint64_t)64)   /* records inside a commit */
#define STORE_REC_HEADER 64u
#define STORE_REC_MAGIC 0x52435350u /* "PSCR" */
#define STORE_SEG_MAGIC "PSCSEG01"
/* One record: a 4 MiB piece, padded, and its tag fit well below. */
#define STORE_BODY_MAX ((size_t)8 * MIB)
/* The record that ends a commit: number of its records, CRC of theirs. */
#define STORE_END_BODY 8u
#define STORE_END_BYTES ((uint64_t)128)
#define STORE_ROW_VALUE_MAX ((size_t)4 * MIB)
/* Sealed row values up to here are kept in the index as well. */
#define STORE_ROW_INLINE_MAX 1024u
#define STORE_BATCH_JOBS 2000u
#define STORE_BATCH_BYTES ((uint64_t)16 * MIB)
/* Records wait here to be written in one large aligned call. */
#define STORE_STAGE_BYTES ((size_t)4 * MIB)
#define STORE_FD_SLOTS 64u

static inline uint64_t
store_round(uint64_t n, uint64_t to)
{
	return (n + to - 1) / to * to;
}

/* Bytes of the log that nobody wrote. */
static inline bool
store_all_zero(const uint8_t *p, size_t n)
{
	uint8_t acc = 0;
	size_t i;

	for (i = 0; i < n; i++)
		acc |= p[i];
	return acc == 0;
}

/* Where a test can make the disk fail: returns an errno, or 0. */
enum store_point {
	STORE_AT_RESERVE, /* allocating a segment or index space */
	STORE_AT_PWRITE,
	STORE_AT_SYNC,
	STORE_AT_COMMIT,
};
typedef int (*store_fault_fn)(void *ctx, enum store_point at);

struct store_job {
	store_job_fn fn;
	store_done_fn done;
	void *ctx;
	enum err e;
	struct store_job *next;
};

/* The open end of the log.  Writer thread only, after store_open. */
struct seg_tail {
	uint32_t seg; /* 0: none yet */
	int fd;
	uint64_t cap;     /* bytes the file may use */
	uint64_t pos;     /* where the next record goes */
	uint64_t flushed; /* stage.p[0] belongs at this offset */
	uint64_t dirty;   /* end of what was ever written to the file */
	uint64_t live;    /* bytes of its records that the index needs */
	struct buf stage; /* bytes of [flushed, pos) */
	bool unsynced;
	uint32_t recs; /* records of this commit, and the CRC of theirs */
	uint32_t sum;
};

struct seg_slot {
	uint32_t seg; /* 0: empty */
	int fd;
	uint32_t users;
};

#define STORE_HOOKS_MAX 8u
/* Chunks that were read and found damaged, for as long as the store is open;
 * the oldest is forgotten. */
#define STORE_SUSPECTS 1024u
struct suspects {
	pthread_mutex_t lock;
	_Atomic uint32_t n; /* ever noted; 0: the lock is not needed */
	struct cry_id cid[STORE_SUSPECTS];
};

struct store_hook {
	store_commit_fn fn; /* NULL: free */
	void *ctx;
};

struct store {
	struct db *db;
	int dir_fd; /* segments/ */
	size_t segment_bytes;
	uint32_t queue_max;
	uint64_t quota_bytes;    /* 0: none */
	struct cry_key row_key;  /* seals local rows */
	struct cry_key pidx_key; /* places entries of the P index */
	struct cry_key pent_key; /* seals them */
	struct cry_key convergence;
	uint64_t gear[256]; /* FastCDC, keyed by the convergence secret */
	struct codec_pool *codecs;

	struct seg_tail tail;
	bool left;
	uint32_t left_seg; /* first segment this job left, and how far */
	uint64_t left_end; /* it had been written: for its rollback */
	uint64_t batch_bytes;
	uint64_t commit_no;
	_Atomic uint64_t commits;

	pthread_mutex_t fd_lock; /* also guards held */
	struct seg_slot fds[STORE_FD_SLOTS];
	struct seg_hold *held;

	pthread_mutex_t lock; /* the queue */
	pthread_cond_t wake;
	struct store_job *head, *last;
	uint32_t queued;
	bool closing;
	bool started;
	pthread_t writer;

	pthread_mutex_t hook_lock; /* held while hooks run */
	struct store_hook hook[STORE_HOOKS_MAX];

	const struct store_owners *owners; /* NULL: nothing is collected */
	pthread_mutex_t lease_lock;
	struct store_lease *lease_first, *lease_last; /* in order of begin */
	struct suspects suspects;
	struct rebuild *rebuild; /* NULL: an ordinary open */
	pthread_mutex_t gc_lock; /* one pass at a time */
	uint64_t gc_stale;       /* chunks collected since PIDX was swept */

	_Atomic(store_fault_fn) fault;
	void *fault_ctx;
};

struct store_txn {
	struct store *s;
	struct db_txn *db;
	enum err e; /* first failed write: the job fails even if it forgot */
	/* chunks this job added, by number, and how many of them have had no
	 * reference yet */
	uint64_t fresh_first, fresh_end;
	uint64_t fresh_zero;
	/* what it changes in struct store_chunk_sums */
	int64_t grace_chunks, grace_bytes, absent;
};

/* Set before the store is used by other threads; NULL turns it off. */
void store_set_fault(struct store *s, store_fault_fn fn, void *ctx);
int store_fault(struct store *s, enum store_point at);
/* The disk failed after a commit began: says so and stops the process. */
void store_die(const char *what, int sys) __attribute__((noreturn));

/* --- store.c --- */
/* Folders, keys and index, without the open end and the writer.  Takes r,
 * also when it fails. */
enum err store_init(const struct store_opts *o, const char *index,
    struct rebuild *r, struct store **out, struct errmsg *em) PSC_MUST_USE;
enum err store_dir_sync(const char *dir, const char *sub) PSC_MUST_USE;

/* --- store_rebuild.c --- */
void store_rebuild_free(struct rebuild *r); /* NULL ok */

/* --- store_rebuild_bad.c: what it finds damaged, told when it is known --- */
struct rebuild_bads {
	store_bad_fn fn;
	void *ctx;
	struct store_bad *held; /* found in a commit that is open */
	uint32_t n_held, cap_held;
	struct store_bad *rows; /* "where" is the hex of the record's id */
	uint32_t n_rows, cap_rows;
	bool rows_done; /* the log is read */
};
void rebuild_bads_fini(struct rebuild_bads *b);
/* hold: until it is flushed or dropped. */
void rebuild_bads_add(
    struct rebuild_bads *b, const struct store_bad *bad, bool hold);
void rebuild_bads_flush(struct rebuild_bads *b);
void rebuild_bads_drop(struct rebuild_bads *b);
/* The log is read: tells of the rows, by their keys where another record of
 * theirs holds. */
enum err rebuild_bads_rows(
    struct store *s, struct rebuild_bads *b) PSC_MUST_USE;
/* Of a row's records. */
struct cry_id store_row_id(struct slice rkey);

/* --- store_seg.c: files and the open end --- */
enum err store_seg_open_tail(struct store *s, struct errmsg *em) PSC_MUST_USE;
void store_seg_close_all(struct store *s);
/* Start of a group commit: move to a fresh block. */
void store_seg_begin(struct store *s);
/* Room for n bytes at tail.pos, in a new segment if need be: ERR_FULL. */
enum err store_seg_room(
    struct store *s, struct db_txn *txn, uint64_t n) PSC_MUST_USE;
void store_seg_stage_flush(struct store *s, bool all);
/* Take back what was appended since mark (a copy of the tail). */
void store_seg_rollback(struct store *s, const struct seg_tail *mark);
/* Write and sync all that is staged and note the new end in txn. */
enum err store_seg_finish(struct store *s, struct db_txn *txn) PSC_MUST_USE;
enum err store_seg_read(struct store *s, uint32_t seg, uint64_t off,
    uint8_t *out, size_t n) PSC_MUST_USE;

enum seg_state {
	SEG_OPEN = 0,
	SEG_SEALED = 1,
	SEG_DEAD = 2, /* nothing needs it; the file goes, then the row */
};
struct seg_row {
	uint8_t state;
	uint64_t cap;
	uint64_t used; /* end of the last indexed record */
	uint64_t live; /* bytes of records that the index still needs */
	/* sealed: records below have been copied forward or are dead; 0: not
	 * begun */
	uint64_t moved;
};
enum err store_seg_row_get(
    struct db_txn *txn, uint32_t seg, struct seg_row *out) PSC_MUST_USE;
enum err store_seg_row_put(
    struct db_txn *txn, uint32_t seg, const struct seg_row *row) PSC_MUST_USE;
/* The first segment from seg on: numbers have gaps.  ERR_NOTFOUND: no more;
 * ERR_CORRUPT with *no set: its row is damaged. */
enum err store_seg_row_from(struct db_txn *txn, uint32_t seg, uint32_t *no,
    struct seg_row *out) PSC_MUST_USE;
enum err store_seg_header_check(struct store *s, uint32_t seg) PSC_MUST_USE;
/* Numbers of the files in segments/, ascending; freed by mem_free. */
enum err store_seg_list(
    struct store *s, uint32_t **list, uint32_t *n) PSC_MUST_USE;
uint64_t store_seg_file_bytes(struct store *s, uint32_t seg); /* 0: none */
/* Whoever reads a segment without a read transaction that names it holds it:
 * taken while such a transaction is open, the file stays until the release. */
struct seg_hold {
	uint32_t seg;
	struct seg_hold *prev, *next;
};
void store_seg_hold(struct store *s, uint32_t seg, struct seg_hold *h);
void store_seg_release(struct store *s, struct seg_hold *h);
/* Removes the files of dead segments that no reader holds, then their rows;
 * waits at most wait_ms for readers.  Adds what went to *n and *bytes. */
enum err store_seg_bury(struct store *s, uint32_t wait_ms, uint32_t *n,
    uint64_t *bytes) PSC_MUST_USE;
/* Unlinks the file, for good when it returns ERR_OK: a power cut does not
 * bring it back, where its old records would stand for new ones. */
enum err store_seg_remove(struct store *s, uint32_t seg) PSC_MUST_USE;
/* The file of a segment that nothing is written to any more ends there;
 * durable on return. */
enum err store_seg_cut(
    struct store *s, uint32_t seg, uint64_t end) PSC_MUST_USE;
/* The same at open: nobody reads yet, and there is no writer. */
enum err store_seg_bury_open(struct store *s) PSC_MUST_USE;

/* --- store_rec.c --- */
struct rec_header {
	uint16_t kind;
	uint32_t len;
	uint32_t crc;
	struct cry_id id;
	uint64_t commit;
};
/* Magic, version, place and bounds, not the crc.  ERR_CORRUPT. */
enum err store_rec_header_read(const uint8_t *raw, uint32_t seg, uint64_t off,
    struct rec_header *out) PSC_MUST_USE;
uint32_t store_rec_crc(const uint8_t *raw, struct slice body);
/* In a job: the index no longer needs the record at l. */
enum err store_rec_dead(
    struct store_txn *t, const struct store_loc *l) PSC_MUST_USE;
/* Bytes a record of this body length takes in a segment. */
uint64_t store_rec_bytes(uint32_t body_len);
/* Ends the commit that is being written; nothing if it has no record. */
void store_rec_end(struct store *s);
/* As store_rec_get, and gives the header. */
enum err store_rec_load(struct store *s, const struct store_loc *l,
    struct rec_header *h, struct buf *body) PSC_MUST_USE;

/* --- store_row.c --- */
/* rkey, v: a row of table ROW.  Its record and its copy in the index must
 * open to the same bytes. */
enum err store_row_check(
    struct store *s, struct slice rkey, struct slice v) PSC_MUST_USE;

/* Take the change of a record's body into the index; *was is where the row's
 * record lay, seg 0 if there was none.  ERR_CORRUPT: it does not parse;
 * ERR_AUTH: another key sealed it. */
enum err store_row_replay(struct store_txn *t, struct slice body,
    const struct store_loc *loc, struct store_loc *was) PSC_MUST_USE;

/* --- store_ref.c --- */
struct chunk_row;
/* This job added chunk number no, which has no reference yet. */
void store_ref_fresh(struct store_txn *t, uint64_t no);
/* End of a job: what it left without a reference goes to the queue. */
enum err store_ref_settle(struct store_txn *t) PSC_MUST_USE;
enum err store_grace_enter(
    struct store_txn *t, uint64_t no, struct chunk_row *row) PSC_MUST_USE;
enum err store_grace_leave(
    struct store_txn *t, uint64_t no, struct chunk_row *row) PSC_MUST_USE;
struct store_chunk_sums {
	uint64_t grace_chunks; /* in the queue */
	uint64_t grace_bytes;
	uint64_t absent; /* rows of chunks that are not here */
};
enum err store_chunk_sums_get(
    struct db_txn *t, struct store_chunk_sums *out) PSC_MUST_USE;
const struct store_row_owner *store_row_owner(
    const struct store *s, const char *tag); /* NULL: nobody */
/* The chunks of a row's value: count them, or count them no more. */
enum err store_row_hold(struct store_txn *t, const struct store_row_owner *o,
    struct slice value) PSC_MUST_USE;
enum err store_row_release(struct store_txn *t, const struct store_row_owner *o,
    struct slice value) PSC_MUST_USE;
/* The commit at which the oldest lease began; UINT64_MAX: there is none. */
uint64_t store_lease_oldest(struct store *s);

/* --- store_row.c, for compaction --- */
/* Does the index need this record of a row, in a segment that is to go? */
enum err store_row_rec_live(struct store *s, struct db_txn *t,
    struct slice body, const struct store_loc *at, bool *live) PSC_MUST_USE;
/* In a job: the record lies at to now. */
enum err store_row_rec_move(struct store_txn *t, struct slice body,
    const struct store_loc *to) PSC_MUST_USE;

/* --- store_writer.c --- */
enum err store_writer_start(struct store *s) PSC_MUST_USE;
void store_writer_stop(struct store *s);

#endif
