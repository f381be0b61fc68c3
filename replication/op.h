/* replication/op.h: feeds, ops and signed heads.  Pure.
 *
 * An op on the wire and on disk is one byte string:
 *   header | payload (nonce 24, ciphertext, tag 16) | packing list
 * Header: fixed little-endian fields, layout in docs/protocol.md section 4.
 * Op id = BLAKE2b-256("psc.op.1", header).  rulings.md 15, 16, 18. */
#ifndef PSC_REPLICATION_OP_H
#define PSC_REPLICATION_OP_H

#include "crypto/crypto.h"
#include "store/base/limits.h"

/* Chunks one op may name; a bigger series is several ops. */
#define OP_CHUNKS_MAX 16384u
/* One chunk's ciphertext: a piece of LIM_PIECE_BYTES, padding and tag. */
#define OP_CHUNK_BYTES_MAX (LIM_PIECE_BYTES + 256 * KIB)
#define OP_PACKING_BYTES_MAX (5u + 36u * OP_CHUNKS_MAX)
/* All ops under one signed head travel in one message: authors sign a head
 * before a run's ops add up to more than this. */
#define OP_RUN_BYTES_MAX (LIM_MESSAGE_BYTES - 32 * KIB)

struct share_id {
	uint8_t b[32];
}; /* BLAKE2b-256 of the genesis record */
struct feed_id {
	uint8_t b[16];
};

/* Who writes: one device's log in one compartment, one incarnation. */
struct op_feed {
	struct share_id share;
	uint16_t compartment;
	struct cry_sign_pk device;
	uint64_t incarnation;
};
void op_feed_id(const struct op_feed *f, struct feed_id *out);

enum op_kind {
	OP_ASSET_PUT = 1, /* a version of an asset */
	OP_EDIT = 2,      /* what is said of an asset: fields, tags, ... */
	OP_RUN = 8,       /* workflow run event */
};

struct op_header {
	uint8_t kind;
	uint16_t flags; /* 0; unknown critical flags (high byte) are refused */
	uint32_t epoch;
	struct feed_id feed;
	uint64_t seq; /* from 1, dense */
	uint64_t lamport;
	uint64_t wall_ms;   /* shown, never decides */
	struct cry_id prev; /* op id of seq - 1; zero for seq 1 */
	struct cry_id payload_hash;
	struct cry_id packing_hash; /* zero when there is no packing list */
	uint32_t payload_len;       /* nonce and tag included */
	uint32_t packing_len;
	uint16_t n_deps;
	struct cry_id deps[LIM_OP_DEPS];
};

/* An op taken apart; slices borrow the op's bytes. */
struct op_view {
	struct op_header h;
	struct cry_id id;
	struct slice header;
	struct slice payload; /* nonce, ciphertext, tag */
	struct slice packing;
};

/* The length of the op that in begins with, by its own fields; nothing else
 * of it is checked.  ERR_SHORT: in is shorter.  ERR_LIMIT. */
#define OP_BYTES_MIN 154u
enum err op_span(struct slice in, size_t *bytes) PSC_MUST_USE;

/* Checks form, lengths and both hashes. */
enum err op_decode(struct slice op, struct op_view *out) PSC_MUST_USE;

/* Clear signed packing list: chunks an op names, sorted by cid. */
struct op_chunk {
	struct cry_id cid;
	uint32_t c_len;
};
enum err op_packing_encode(const struct op_chunk *c, uint32_t n,
    struct buf *out) PSC_MUST_USE; /* sorts and drops doubles itself */
/* *n chunks; item i by op_packing_at. */
enum err op_packing_check(struct slice packing, uint32_t *n) PSC_MUST_USE;
struct op_chunk op_packing_at(struct slice packing, uint32_t i);

/* Author an op: h needs kind, flags, epoch, feed, seq, lamport, wall_ms,
 * prev, deps; the rest is filled in.  plain is padded, then sealed under a
 * subkey of epoch_key with a synthetic nonce. */
enum err op_build(struct op_header *h, const struct cry_key *epoch_key,
    struct slice plain, struct slice packing, struct buf *out,
    struct cry_id *id) PSC_MUST_USE;
/* Decrypt the payload: appended to out without padding. ERR_AUTH. */
enum err op_open(const struct op_view *v, const struct cry_key *epoch_key,
    struct buf *out) PSC_MUST_USE;

/* One signature for the chain up to seq. */
#define OP_HEAD_BYTES (16u + 8u + 32u + 8u + 64u)
struct op_head {
	struct feed_id feed;
	uint64_t seq;
	struct cry_id id;
	uint64_t lamport;
	struct cry_sig sig;
};
void op_head_sign(struct op_head *h, const struct cry_sign_sk *sk);
enum err op_head_verify(
    const struct op_head *h, const struct cry_sign_pk *device) PSC_MUST_USE;
void op_head_encode(const struct op_head *h, struct buf *out);
/* What the head of an op (of which op_span took the length) says, but for
 * the signature, which is zero. */
void op_head_of(struct slice op, struct op_head *out);
enum err op_head_decode(struct slice in, struct op_head *out) PSC_MUST_USE;

#endif
