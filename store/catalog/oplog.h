/* store/catalog/oplog.h: ops, heads and membership records at rest.
 *
 * Bytes are kept verbatim in segments; tables SHARE, MLOG, FEED, FEEDX, OP,
 * OPX, OPID, HEAD, CREF and WANT index them.  This room does not verify
 * signatures or decrypt: the replication core and node/share did.  Functions
 * taking a store_txn run in a job; those taking a db_txn read.
 *
 * Callbacks of the *_each functions, here and in catalog.h: non-zero stops;
 * a negative value (an enum err) is returned, a positive one is ERR_OK.
 * They must not write, and what they are given lives until they return. */
#ifndef PSC_CATALOG_OPLOG_H
#define PSC_CATALOG_OPLOG_H

#include "store/blob/blob.h"
#include "store/blob/gc.h"

/* Shares get a dense local number at first sight; all keys use it. */
enum err oplog_share_no(struct db_txn *t, const struct cry_id *share,
    uint32_t *no) PSC_MUST_USE; /* ERR_NOTFOUND */
enum err oplog_share_add(struct store_txn *t, const struct cry_id *share,
    uint32_t *no) PSC_MUST_USE; /* finds or adds */
typedef int (*oplog_share_fn)(
    void *ctx, uint32_t no, const struct cry_id *share);
enum err oplog_shares_each(
    struct db_txn *t, oplog_share_fn fn, void *ctx) PSC_MUST_USE;

/* Membership records, seq 0 = genesis, dense. */
enum err oplog_member_put(
    struct store_txn *t, uint32_t share, uint64_t seq, struct slice record)
    PSC_MUST_USE; /* ERR_EXISTS: same seq there; ERR_AGAIN: gap */
/* Records from this number on are of a branch that was dropped. */
enum err oplog_member_cut(
    struct store_txn *t, uint32_t share, uint64_t from) PSC_MUST_USE;
enum err oplog_member_get(struct store *s, struct db_txn *t, uint32_t share,
    uint64_t seq, struct buf *out) PSC_MUST_USE; /* ERR_NOTFOUND: past end */

struct oplog_feed {
	uint32_t no; /* local, dense */
	uint32_t share;
	uint16_t compartment;
	uint8_t device[32];
	uint64_t incarnation;
	uint8_t id[16];
};
struct oplog_head { /* the signed head, verbatim, and what it says */
	uint64_t seq;
	struct cry_id op_id;
	uint64_t lamport;
	uint8_t bytes[128];
};
/* Finds or adds by id; f->no is set. */
enum err oplog_feed_add(struct store_txn *t, struct oplog_feed *f) PSC_MUST_USE;
enum err oplog_feed_find(struct db_txn *t, const uint8_t id[16],
    struct oplog_feed *out) PSC_MUST_USE;
/* The highest head of a feed. ERR_NOTFOUND: empty feed. */
enum err oplog_feed_head(
    struct db_txn *t, uint32_t feed, struct oplog_head *out) PSC_MUST_USE;
/* The first head at or above seq. */
enum err oplog_head_at(struct db_txn *t, uint32_t feed, uint64_t seq,
    struct oplog_head *out) PSC_MUST_USE;
typedef int (*oplog_feed_fn)(
    void *ctx, const struct oplog_feed *f, const struct oplog_head *head);
enum err oplog_feeds_each(
    struct db_txn *t, oplog_feed_fn fn, void *ctx) PSC_MUST_USE;

/* What came of one author in one compartment. */
struct oplog_received {
	uint32_t share;
	uint16_t compartment;
	uint8_t device[32];
	uint64_t ops;
	uint64_t versions; /* ops with content */
	uint64_t whole;    /* of them, all of it is here */
	uint64_t first;    /* lseq of the first that is not; 0: none */
};
/* Counts all ops, in read transactions of a bounded number of rows: what
 * comes meanwhile may be in it.  *out: mem_free. */
enum err oplog_received(
    struct store *s, struct oplog_received **out, uint32_t *n) PSC_MUST_USE;

/* One op to keep.  packing: n chunks of {cid 32, c_len u32 LE}, sorted. */
struct oplog_op {
	uint32_t share;
	uint16_t compartment;
	uint32_t feed;
	uint64_t seq;
	uint64_t lamport;
	struct cry_id id;
	struct slice bytes;   /* header | payload | packing, verbatim */
	struct slice packing; /* borrowed part of bytes */
	bool want_content;    /* chunks not given here go to WANT */
	bool own;             /* of content that is written here: it is given */
};
/* Stores the op, its chunk references and wants.  *lseq: local number.
 * *missing: chunks of its packing list not here.  ERR_EXISTS. */
enum err oplog_op_put(struct store_txn *t, const struct oplog_op *op,
    uint64_t *lseq, uint32_t *missing) PSC_MUST_USE;
enum err oplog_head_put(struct store_txn *t, uint32_t feed,
    const struct oplog_head *h) PSC_MUST_USE;
/* Op bytes by feed and seq, or by lseq; appended to out. */
enum err oplog_op_get(struct store *s, struct db_txn *t, uint32_t feed,
    uint64_t seq, struct buf *out) PSC_MUST_USE;
enum err oplog_op_get_lseq(struct store *s, struct db_txn *t, uint64_t lseq,
    struct buf *out) PSC_MUST_USE;
/* Chunks of this op's packing list that are not here yet. */
enum err oplog_op_missing(
    struct db_txn *t, uint64_t lseq, uint32_t *missing) PSC_MUST_USE;

/* --- content references and wants --- */
/* May a member of this compartment be given this chunk?  Only if it came
 * through the compartment or was written there by us, and an op that counts
 * names it and has not let go of it: naming a chunk gives no right to it, and
 * nobody counts on a copy that is about to go.  ERR_OK/NOTFOUND. */
enum err oplog_cref_check(struct db_txn *t, uint32_t share,
    uint16_t compartment, const struct cry_id *cid) PSC_MUST_USE;
/* For struct store_owners: each (op, chunk) whose chunk is here counts one
 * reference. */
enum err oplog_refs_each(struct db_txn *t,
    enum err (*fn)(void *ctx, uint64_t no), void *ctx) PSC_MUST_USE;
/* Likewise: places of ops, heads and membership records. */
enum err oplog_rec_move(struct db_txn *t, enum rec_kind kind,
    const struct cry_id *id, const struct store_loc *from,
    const struct store_loc *to) PSC_MUST_USE;
/* Where the op of this id lies.  ERR_NOTFOUND; ERR_CORRUPT: the tables of the
 * op log do not agree. */
enum err oplog_op_place(struct db_txn *t, const struct cry_id *id,
    struct store_loc *out) PSC_MUST_USE;
/* Likewise: a chunk that ops name is stored. */
enum err oplog_chunk_came(struct store_txn *t, uint64_t chunk) PSC_MUST_USE;
/* A chunk that a member of a compartment sent: stores it (blob_chunk_put),
 * drops the compartment's want, and calls complete for each of its ops whose
 * last missing chunk it was. */
struct oplog_arrival {
	uint32_t share;
	uint16_t compartment;
	struct cry_id cid;
	struct slice ciphertext;
	bool more; /* out: other compartments want it still */
};
typedef void (*oplog_complete_fn)(void *ctx, uint64_t lseq);
enum err oplog_chunk_put(struct store_txn *t, struct oplog_arrival *a,
    oplog_complete_fn complete, void *ctx) PSC_MUST_USE;
/* Add wants for every chunk that ops of a compartment count as missing
 * (subscribing later), also for those that are here (oplog_wants_settle); or
 * drop them (unsubscribing). */
enum err oplog_want_all(
    struct store_txn *t, uint32_t share, uint16_t compartment) PSC_MUST_USE;
enum err oplog_want_none(
    struct store_txn *t, uint32_t share, uint16_t compartment) PSC_MUST_USE;
/* Where a selector decides, op by op: all ops from a number on, in order. */
struct oplog_at {
	uint64_t lseq;
	uint32_t share;
	uint16_t compartment;
	bool content;     /* it names chunks */
	uint32_t missing; /* of them */
};
typedef int (*oplog_at_fn)(void *ctx, const struct oplog_at *op);
enum err oplog_ops_from(
    struct db_txn *t, uint64_t lseq, oplog_at_fn fn, void *ctx) PSC_MUST_USE;
enum err oplog_ops_last(
    struct db_txn *t, uint64_t *lseq) PSC_MUST_USE; /* 0: no op */
/* Of the chunks that an op counts as missing: how many are wanted, and how
 * many of these no other op of the compartment names. */
struct oplog_op_wants {
	uint32_t missing, wanted, alone;
};
enum err oplog_op_wants(struct store *s, struct db_txn *t, uint64_t lseq,
    struct oplog_op_wants *out) PSC_MUST_USE;
/* All that it misses is wanted; calls complete as oplog_wants_settle does. */
enum err oplog_want_op(struct store_txn *t, uint64_t lseq,
    oplog_complete_fn complete, void *ctx) PSC_MUST_USE;
/* Nothing is, but what other ops name, too. */
enum err oplog_unwant_op(struct store_txn *t, uint64_t lseq) PSC_MUST_USE;
/* The op lies beyond a cut (or counts again): what only such ops name is
 * neither wanted nor served.  References and bytes stay. */
enum err oplog_op_aside(
    struct store_txn *t, uint64_t lseq, bool aside) PSC_MUST_USE;
/* Content that is here, of a compartment that is not subscribed to: looked
 * for op by op, let go in jobs of at most OPLOG_EVICT_CHUNKS chunks. */
#define OPLOG_PACKING_ITEM 36u /* cid 32, ciphertext length u32 LE */
#define OPLOG_EVICT_CHUNKS 64u
struct oplog_evict {
	uint32_t share;
	uint16_t compartment;
	const uint32_t *keep; /* feeds whose content stays */
	uint32_t n_keep;
	/* where it stands; zero to begin with */
	uint64_t lseq;
	uint32_t item;
	bool found;
	uint64_t chunks; /* references let go */
};
/* Goes on to the next op of which something is here.  v->found: step it;
 * !*more: that was the last. */
enum err oplog_evict_find(
    struct db_txn *t, struct oplog_evict *v, bool *more) PSC_MUST_USE;
/* The chunks the next step would let go: at most OPLOG_EVICT_CHUNKS, in the
 * order of the op. */
enum err oplog_evict_chunks(struct store *s, struct db_txn *t,
    const struct oplog_evict *v, struct cry_id *cid, uint32_t *n) PSC_MUST_USE;
/* *lseq: of an op that was whole until now; 0: none. */
enum err oplog_evict_step(
    struct store_txn *t, struct oplog_evict *v, uint64_t *lseq) PSC_MUST_USE;
struct oplog_want {
	uint32_t share;
	uint16_t compartment;
	struct cry_id cid;
	uint32_t c_len;
};
typedef int (*oplog_want_fn)(void *ctx, const struct oplog_want *w);
enum err oplog_wants_each(
    struct db_txn *t, oplog_want_fn fn, void *ctx) PSC_MUST_USE;
enum err oplog_wants_count(struct db_txn *t, uint64_t *n) PSC_MUST_USE;
/* In a job: a chunk whose bytes are wrong (blob_chunk_lose) is wanted by each
 * compartment whose ops name it.  *wanted: by how many; 0: nobody else ever
 * had it, and nothing was changed.  ERR_EXISTS: it is sound. */
enum err oplog_chunk_lost(struct store_txn *t, const struct cry_id *cid,
    uint32_t *wanted) PSC_MUST_USE;
/* Drops the wants of chunks that are here and were given in the compartment
 * (they had been let go, and were not gone), calling complete as
 * oplog_chunk_put does. */
enum err oplog_wants_settle(
    struct store_txn *t, oplog_complete_fn complete, void *ctx) PSC_MUST_USE;

/* --- rebuilding the index: records that are in the log already --- */
/* As the functions of the same name that put; at: where the record lies. */
enum err oplog_member_index(struct store_txn *t, uint32_t share, uint64_t seq,
    const struct store_loc *at) PSC_MUST_USE;
enum err oplog_op_index(struct store_txn *t, const struct oplog_op *op,
    const struct store_loc *at, uint64_t *lseq, uint32_t *missing) PSC_MUST_USE;
enum err oplog_head_index(struct store_txn *t, uint32_t feed,
    const struct oplog_head *h) PSC_MUST_USE;
/* Feeds from their local rows, and the shares these name. */
enum err oplog_feeds_restore(struct store_txn *t) PSC_MUST_USE;
/* Is the op of this place here? */
bool oplog_op_there(struct db_txn *t, uint32_t feed, uint64_t seq);
/* Forget the heads of a feed from seq on: a peer is asked for them again. */
enum err oplog_heads_cut(
    struct store_txn *t, uint32_t feed, uint64_t seq) PSC_MUST_USE;

#endif
