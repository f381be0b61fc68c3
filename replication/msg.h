/* replication/msg.h: the messages two cores exchange, as bytes.
 *
 * Every type is one row of a table {class, bounds, fields}; encoder and
 * decoder walk the same row, so they cannot disagree.  docs/protocol.md
 * section 10 lists them.  Decoding allocates nothing: slices borrow. */
#ifndef PSC_REPLICATION_MSG_H
#define PSC_REPLICATION_MSG_H

#include "replication/op.h"
#include "replication/session.h"

enum msg_type {
	MSG_OPEN = 0x03,      /* tag, chain seq, chain head, roots */
	MSG_CREDIT = 0x04,    /* bytes given back, per class */
	MSG_PING = 0x05,      /* number */
	MSG_PONG = 0x06,      /* the same number */
	MSG_MLOG_REQ = 0x10,  /* tag, from seq */
	MSG_MLOG = 0x11,      /* tag, from seq, records */
	MSG_STATEMENT = 0x12, /* tag, statement or proof */
	MSG_ROOT = 0x20,      /* tag, compartment, root, ops */
	MSG_FRONT = 0x21,     /* tag, compartment, flags, base, feed entries */
	MSG_OPS_REQ = 0x22,   /* tag, compartment, feeds and from where */
	MSG_OPS = 0x23,       /* tag, compartment, signature, ops: asked for */
	MSG_PUSH = 0x24,      /* tag, feed, signature, ops: along the tree */
	MSG_IHAVE = 0x25,     /* tag, compartment, feed entries */
	MSG_GRAFT = 0x26,     /* as OPS_REQ; and be eager with me again */
	MSG_PRUNE = 0x27,     /* tag, compartment: be lazy with me */
	MSG_RBSR = 0x28,      /* tag, compartment, ranges of feeds (rbsr.h) */
	MSG_NEED = 0x29,      /* tag, compartment, feeds we cannot name */
	MSG_OPS_NONE = 0x2B,  /* tag, feed, from */
	MSG_HAVE = 0x31,      /* tag, compartment, cids */
	MSG_GET = 0x32,       /* tag, compartment, flags, cids */
	MSG_CHUNK = 0x33,     /* cid, c_len, offset, bytes */
	MSG_CANCEL = 0x34,    /* tag, compartment, cids: of GET */
	MSG_NOT_HAVE = 0x35,  /* tag, compartment, cids */
	MSG_BUSY = 0x36,      /* tag, compartment, ms, cids: of GET */
	MSG_CHALLENGE = 0x37, /* tag, compartment, nonce, one cid */
	MSG_PROOF = 0x38,     /* tag, compartment, nonce, one {cid, hash} */
	MSG_WITNESS = 0x3B,   /* tag, signed statement */
	MSG_WITNESSES = 0x3C, /* tag, compartment, flags, sum, who said which */
	MSG_CLAIM = 0x50,     /* tag, claim */
};

#define FRONT_MORE 1u     /* another page follows */
#define FRONT_DELTA 2u    /* only what may be news; no answer expected */
#define FRONT_SINCE 4u    /* only what is new since the root that base names */
#define GET_CLASS 3u      /* enum repl_class */
#define WITNESSES_LIST 1u /* and not the sum alone */

#define MSG_FRONT_MAX 512u
#define MSG_SHORTS_MAX 1024u
#define MSG_CIDS_MAX 256u
#define MSG_RECORDS_MAX 1024u
#define MSG_CONTROL_BYTES_MAX (48 * KIB)
#define MSG_CHUNK_HEAD_BYTES 40u
/* Payload of one CHUNK message. */
#define MSG_CHUNK_BYTES_MAX (LIM_MESSAGE_BYTES - 64u)

/* Names a share inside one session only. */
struct msg_tag {
	uint8_t b[16];
};

struct msg {
	uint8_t type;
	struct msg_tag tag;
	uint16_t compartment;
	uint8_t flags;
	uint64_t seq;     /* chain seq; from; ops of a root; ping number */
	struct cry_id id; /* chain head; root; cid; nonce */
	struct cry_sign_pk device;
	uint64_t incarnation;
	uint64_t base;       /* FRONT: the first 8 bytes of a root both had */
	struct op_head head; /* OPS, PUSH: of the last op */
	uint32_t credit[SESS_CLASSES];
	uint32_t c_len, off; /* BUSY: c_len is milliseconds */
	uint32_t n;          /* items */
	struct slice items;  /* encoded; msg_*_at, msg_*_next read them */
	uint32_t n_shorts;
	struct slice shorts; /* encoded; msg_short_next reads them */
	struct slice bytes;  /* claim, chunk piece, ranges */
};

/* ERR_UNSUPPORTED: no such type; else as rd.h. */
enum err msg_decode(
    uint8_t type, struct slice body, struct msg *out) PSC_MUST_USE;
enum err msg_encode(const struct msg *m, struct buf *out) PSC_MUST_USE;
enum sess_class msg_class(uint8_t type);
/* Flow control itself is not flow controlled. */
bool msg_is_free(uint8_t type);

/* Items of OPEN. */
struct msg_root {
	uint16_t compartment;
	struct cry_id root;
	uint64_t ops;
};
#define MSG_ROOT_BYTES 42u
void msg_root_put(const struct msg_root *r, struct buf *items);
struct msg_root msg_root_at(const struct msg *m, uint32_t i);

/* Items of FRONT and IHAVE: a feed as far as the sender holds it, by its full
 * name. */
struct msg_front {
	struct cry_sign_pk device;
	uint64_t incarnation;
	uint64_t seq;
};
#define MSG_FRONT_BYTES 48u
void msg_front_put(const struct msg_front *f, struct buf *items);
struct msg_front msg_front_at(const struct msg *m, uint32_t i);

/* Shorts of FRONT, OPS_REQ, NEED: a feed by the first 8 bytes of its id, and
 * a number of it.  Who makes two feeds with one short name harms those two:
 * what is said of a short name is said of all feeds it fits. */
struct msg_short {
	uint8_t feed[8];
	uint64_t seq;
};
#define MSG_SHORT_BYTES_MAX 18u
void msg_short_put(const struct msg_short *f, struct buf *shorts);
/* Walks a decoded message's shorts: start with *at = 0. */
struct msg_short msg_short_next(const struct msg *m, size_t *at);

/* Items of HAVE, GET, CANCEL, NOT_HAVE, BUSY, CHALLENGE. */
struct cry_id msg_cid_at(const struct msg *m, uint32_t i);

/* Items of PROOF; a hash of zeros: not here. */
struct msg_proof {
	struct cry_id cid;
	struct cry_id hash;
};
#define MSG_PROOF_BYTES 64u
void msg_proof_put(const struct msg_proof *p, struct buf *items);
struct msg_proof msg_proof_at(const struct msg *m, uint32_t i);

/* Items of MLOG: u32 length + bytes. */
void msg_blob_put(struct slice blob, struct buf *items);
/* Walks a decoded message's items: start with *at = 0. */
struct slice msg_blob_next(const struct msg *m, size_t *at);
/* Items of OPS and PUSH: ops, one after the other; an op tells its length. */
struct slice msg_op_next(const struct msg *m, size_t *at);

#endif
