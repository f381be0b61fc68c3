/* replication/repl.h: the replication core: event in, effects out.
 *
 * No socket, clock, thread or database: the host (node/net, or the simulator)
 * feeds events and carries out effects.  One core per node, used from one
 * thread.  Memory is bounded by the members, feeds and wants it is told of.
 *
 * Walk: CONN_UP -> both sides send OPEN per share {tag, membership head,
 * per compartment: root, op count}.  Equal: done, one round trip.  The side
 * whose membership chain is behind asks for it first.  Roots differ: feed
 * frontiers are exchanged, each side asks (OPS_REQ) for what it lacks, in
 * feed order; ops are verified (chain, head signature, right to write) and
 * persisted before the frontier moves.  New ops, local or received, are
 * pushed to connected members.  Chunks are pulled: GET from a connected
 * member of the compartment, NOT_HAVE remembers the asker, HAVE tells it
 * later.  Bulk flows under byte credits returned after persisting. */
#ifndef PSC_REPLICATION_REPL_H
#define PSC_REPLICATION_REPL_H

#include "replication/member.h"
#include "replication/session.h"

struct repl;
typedef uint32_t repl_conn; /* host's number for a connection: never 0,
			    never used twice */

struct repl_opts {
	struct cry_device_pub me;
	uint64_t seed;         /* all randomness of the core */
	uint32_t chunk_window; /* chunks asked and not yet here, a peer */
	bool paced; /* RE_SENT tells when a connection takes more chunks */
	/* Between two witness statements; 0: an hour, UINT64_MAX: never. */
	uint64_t witness_ms;
	uint64_t now_ms;
};

struct repl_ops { /* a run of one feed's ops that ends at a signed head */
	struct op_feed feed;
	const struct slice *ops;
	uint32_t n_ops;
	struct op_head head;
};

/* What is fetched first; each has its part of the link (docs/protocol.md
 * 11.6).  Also the number on the wire. */
enum repl_class {
	REPL_INTERACTIVE, /* somebody waits for it */
	REPL_FRESH,       /* just written */
	REPL_BACKFILL,    /* history */
	REPL_REPAIR,      /* damaged here */
	REPL_CLASSES
};

enum repl_ev_kind {
	RE_TICK = 1,
	RE_SHARE,  /* member chain known at start, or just joined: records */
	RE_FEED,   /* feed known at start: feed + head */
	RE_JOIN,   /* we want to join: share, registrar, claim */
	RE_MEMBER, /* a membership record we signed is durable: share, record */
	RE_STATEMENT, /* one that is on disk: share, bytes */
	RE_WITNESS,   /* share, compartment, ops.feed.device, bytes: at start,
			 as the last RX_WITNESS of that device had them */
	RE_SIGNED,    /* share, compartment, bytes: of RX_SIGN, with clock and
			 signature; or err */
	RE_LOCAL,     /* ops we wrote are durable: ops */
	RE_WANT,      /* share, compartment, cid, c_len, cls */
	RE_UNWANT,    /* share, compartment, cid; all: every one of it */
	RE_PROVE,     /* share, compartment, cid, nonce: who else holds it? */
	RE_LIMIT,     /* rate: content asked, bytes/s on average; 0: any */
	RE_CONN_UP,   /* conn, initiator, peer, hash; all: no limit holds */
	RE_CONN_DOWN, /* conn */
	RE_MSG,       /* conn, type, bytes */
	RE_SENT,      /* conn's backlog fell below the low mark */
	RE_FETCHED,   /* token, err, ops | bytes */
	RE_PERSISTED, /* token, err */
};

struct repl_event {
	enum repl_ev_kind kind;
	uint64_t now_ms;
	uint64_t token;
	enum err err;
	repl_conn conn;
	bool initiator;
	enum repl_class cls;
	bool all;
	uint8_t type;
	struct cry_device_pub peer;
	const uint8_t *hash; /* 64 bytes */
	struct share_id share;
	uint16_t compartment;
	struct cry_sign_pk registrar;
	const struct slice *records;
	uint32_t n_records;
	struct slice bytes; /* message body, claim, record, chunk */
	struct cry_id cid, nonce;
	uint32_t c_len;
	uint64_t rate;
	struct repl_ops ops;
};

enum repl_fx_kind {
	RX_SEND = 1,    /* conn, cls, type, bytes */
	RX_CLOSE,       /* conn, err, why */
	RX_FETCH_OPS,   /* token, feed, from_seq, bytes_max: answer ops up to a
			   signed head, at least one head's run */
	RX_FETCH_CHUNK, /* token, share, compartment, cid: only if a live op
			   of the compartment names it, else ERR_NOTFOUND */
	RX_PERSIST_OPS, /* token, ops */
	RX_PERSIST_CHUNK,  /* token, cid, bytes */
	RX_PERSIST_MEMBER, /* token, share, seq, bytes; seq 0: a share joined */
	RX_STATEMENT,      /* share, bytes: keep it; nothing waits for that */
	RX_SIGN,           /* share, compartment, bytes: witness_sign() them */
	RX_WITNESS, /* share, compartment, device, bytes: keep them, in place
		       of the last; token not 0: it waits for that */
	RX_CLAIM,   /* share, bytes: decide, and send RE_MEMBER if so */
	RX_PROOF,   /* share, compartment, cid, nonce, device, hash: compare
		       with repl_proof_hash() */
};

/* Valid until the next repl_step; slices borrow the core's memory, which is
 * kept until then (PERSIST_*: until the matching RE_PERSISTED). */
struct repl_effect {
	enum repl_fx_kind kind;
	uint64_t token;
	repl_conn conn;
	enum sess_class cls;
	uint8_t type;
	enum err err;
	const char *why;
	struct share_id share;
	uint16_t compartment;
	uint64_t seq;
	struct feed_id feed;
	uint64_t from_seq;
	size_t bytes_max;
	struct cry_id cid, nonce, hash;
	struct cry_sign_pk device;
	struct slice bytes;
	struct repl_ops ops;
};

struct repl_effects {
	const struct repl_effect *fx;
	uint32_t n;
};

enum err repl_new(const struct repl_opts *o, struct repl **out) PSC_MUST_USE;
void repl_free(struct repl *r); /* NULL ok */
/* ERR_NOMEM is the only failure; the core is unusable after it. */
enum err repl_step(struct repl *r, const struct repl_event *ev,
    struct repl_effects *out) PSC_MUST_USE;
/* When the next RE_TICK is due; UINT64_MAX: no deadline. */
uint64_t repl_deadline_ms(const struct repl *r);

/* How many peers RE_PROVE would ask. */
uint32_t repl_provers(
    struct repl *r, const struct share_id *share, uint16_t compartment);
/* The name of a share inside one session, whose handshake has this hash, in
 * what the dialler sends or the other end does (docs/protocol.md 10). */
void repl_tag(const struct share_id *share, const uint8_t hash[64],
    bool from_initiator, uint8_t out[16]);

/* What a node proves a chunk with (docs/protocol.md 10). */
void repl_proof_hash(const struct cry_id *nonce,
    const struct cry_sign_pk *device, struct slice chunk, struct cry_id *out);

/* --- questions --- */
/* Two records with one number were signed: the chain stands still. */
bool repl_halted(const struct repl *r, const struct share_id *share);
const struct member *repl_member(
    const struct repl *r, const struct share_id *share); /* NULL: not ours */
/* Frontier root and op count of a compartment (docs/protocol.md 11). */
void repl_root(const struct repl *r, const struct share_id *share,
    uint16_t compartment, struct cry_id *root, uint64_t *ops);
/* Heads of a compartment's feeds: the deps and lamport of a new op. */
uint64_t repl_lamport(
    const struct repl *r, const struct share_id *share, uint16_t compartment);

struct repl_peer_status {
	repl_conn conn;
	struct cry_device_pub peer;
	uint64_t lag_ops; /* they have and we lack, as far as known */
	bool in_sync;     /* roots of all common compartments equal */
	uint64_t bytes_rx, bytes_tx; /* message bodies */
	uint64_t chunks_rx, chunks_tx;
	uint64_t rate_rx, rate_tx; /* content, bytes/s; 0: none seen */
	uint32_t rtt_ms;           /* of asking for content; 0: not known */
	bool busy;                 /* it said so, or was passed over */
};
uint32_t repl_n_peers(const struct repl *r);
/* Is the other end a member of a share of ours, as far as we know? */
bool repl_speaks(const struct repl *r, repl_conn conn);
void repl_peer(const struct repl *r, uint32_t i, struct repl_peer_status *out);

/* What stands between us and a peer in one compartment. */
enum repl_why {
	REPL_WHY_NONE,
	REPL_WHY_JOINING,   /* our join waits for its grant */
	REPL_WHY_NO_ANSWER, /* a member that has not opened the share */
	REPL_WHY_CHAIN,     /* one of us has membership records to get */
	REPL_WHY_HALTED,    /* two records with one number: chain stands */
	REPL_WHY_FORK,      /* feeds with two ops of one number */
	REPL_WHY_NO_RIGHT,  /* it holds ops that our chain does not allow */
	REPL_WHY_CREDIT,    /* it takes nothing more from us for now */
	REPL_WHY_DISK,      /* what came is on its way to disk */
	REPL_WHY_MOVING,    /* asked for, or about to be compared */
	REPL_WHYS
};
const char *repl_why_text(enum repl_why why); /* "" for NONE */
struct repl_lag {
	struct share_id share;
	uint16_t compartment; /* 0: the share as a whole */
	bool in_sync;
	uint64_t lag_ops;   /* they hold and we lack, as far as known */
	uint64_t ahead_ops; /* we hold and they lack, as far as known */
	uint32_t forked;    /* feeds */
	enum repl_why why;  /* NONE if in sync */
};
/* Writes up to max rows of peer i (out NULL: none); returns how many there
 * are: one a compartment of the shares that both speak of, or one a share
 * that is not spoken of though it should be. */
uint32_t repl_lags(
    const struct repl *r, uint32_t i, struct repl_lag *out, uint32_t max);
/* What members signed that they hold, against what we do. */
enum repl_word {
	REPL_WORD_OK,
	REPL_WORD_PUT_BACK, /* it took back what it had signed */
	REPL_WORD_OWN,      /* n ops of its own have not come */
	REPL_WORD_MORE,     /* n ops of anybody's have not come */
	REPL_WORD_CHAIN,    /* n records have not come */
	REPL_WORD_BRANCH,   /* it has another chain */
	REPL_WORD_UNHEARD,  /* others heard more of it than we did */
	REPL_WORDS
};
const char *repl_word_text(enum repl_word w); /* "" for OK */
struct repl_words_row {
	struct share_id share;
	uint16_t compartment;
	struct cry_sign_pk device;
	uint64_t no;      /* of its last statement; 0: none came */
	uint64_t wall_ms; /* by its clock */
	enum repl_word what;
	uint64_t n;
	uint64_t own_ops; /* it wrote, by its statement */
};
/* Writes up to max rows; returns how many there are: one a member and
 * compartment whose statement is here, or is missed. */
uint32_t repl_words(
    const struct repl *r, struct repl_words_row *out, uint32_t max);
/* Something is wanted and not asked for because of RE_LIMIT. */
bool repl_held(const struct repl *r);
uint64_t repl_wanted(const struct repl *r, uint64_t *bytes); /* chunks */
/* sync wait (rulings.md 27): roots equal to those of every connected peer,
 * nothing wanted, nothing on its way to disk. */
bool repl_in_sync(const struct repl *r);

#endif
