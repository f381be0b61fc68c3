/* replication/content.h: wants, sources and service of chunks; inside the
 * core, for want.c, content.c, receive.c, serve.c and prove.c.
 *
 * A want is one chunk.  It has a place in the list of every compartment it
 * is wanted for, so any member of any of them may be asked.  While it is
 * asked it has a copy under way from one peer, at the end from two. */
#ifndef PSC_REPLICATION_CONTENT_H
#define PSC_REPLICATION_CONTENT_H

#include "replication/msg.h"
#include "replication/repl.h"

struct repl;
struct peer;
struct link;
struct comp;
struct fetch;
struct persist;

#define CONTENT_COPIES_MAX 2u   /* of one chunk under way at once */
#define CONTENT_SERVE_MAX 1024u /* cids waiting from one peer */
#define CONTENT_READS_MAX 2u    /* chunks in memory for a peer, and */
/* as many interactive ones */
#define CONTENT_MISSING_MAX 8192u /* NOT_HAVE remembered for one peer */
#define CONTENT_SCAN_MAX 256u     /* wants looked at for a peer at once */
#define CONTENT_WINDOW_MIN (512 * KIB)
#define CONTENT_RTT_MIN_MS 5u     /* shorter ones are taken for this */
#define CONTENT_METER_MS 100u     /* a rate is measured over this */
#define CONTENT_SLOW_MIN_MS 1000u /* reassign: 4 chunk times, within */
#define CONTENT_SLOW_MAX_MS 30000u
#define CONTENT_RETRY_MS 30000u    /* nobody had it: ask again */
#define CONTENT_BUSY_MS 1000u      /* what BUSY says when a queue is full */
#define CONTENT_BUSY_MAX_MS 60000u /* what we believe of another's BUSY */
#define CONTENT_ENDGAME_MS 100u    /* no second copy of a younger asking */
#define CONTENT_PIECE_MIN ((size_t)16 * 1000) /* of a chunk: fits one frame */
#define CONTENT_PIECE_MAX ((size_t)256 * 1024)
#define CONTENT_PIECE_MS 10u /* of the link's time */
#define CONTENT_TELL_MAX 64u /* proofs asked for and not here */

struct want_list {
	struct place *first, *last;
};

/* A want in the list of one compartment. */
struct place {
	struct want *want;
	struct comp *comp;
	struct place *prev, *next;
	struct want_list *list;
	struct place *more;  /* the want's next place */
	repl_conn *not_have; /* connected peers that lack it there */
	uint32_t n_not_have, cap_not_have;
};

/* A chunk under way from one peer, in that peer's list, oldest first. */
struct copy {
	struct want *want;
	struct peer *peer; /* NULL: none */
	struct comp *comp; /* it was asked for in */
	struct copy *prev, *next;
	uint64_t asked_ms;
	struct buf data;
	size_t most; /* it ever held: beginning anew is no progress */
};

enum want_state { WANT_IDLE, WANT_PARKED, WANT_ASKED, WANT_STORING };

struct want {
	struct cry_id cid;
	uint32_t c_len;
	enum repl_class cls;
	enum want_state state;
	bool dropped; /* unwanted while it was being stored */
	uint64_t retry_ms;
	struct place at; /* the first; at.more the others */
	struct copy copy[CONTENT_COPIES_MAX];
	struct want *hash_next;
};

/* Something asked of us. */
struct serve {
	struct serve *next;
	struct comp *comp;
	struct cry_id cid;
	enum repl_class cls;
	bool cancelled;
	bool prove; /* a CHALLENGE: the answer is a hash */
	uint8_t nonce[32];
	struct buf bytes; /* once read */
	size_t sent;
};
struct serve_list {
	struct serve *first, **last; /* last NULL: never used */
};

/* cids this peer asked for and we lacked: told later by HAVE. */
struct missing_chunk {
	struct comp *comp; /* NULL: free */
	struct cry_id cid;
};
struct missing {
	struct missing_chunk *slot; /* open addressing */
	uint32_t n, cap;
};

/* What a peer sends us, or we send it, as measured. */
struct meter {
	uint64_t since_ms, bytes; /* now being measured; since 0: nothing */
	uint64_t rate;            /* bytes a second; 0: not known yet */
};

/* Content as seen with one peer. */
struct content_peer {
	struct copy *asked, *asked_last;
	uint32_t asked_n;
	uint64_t asked_bytes;
	struct meter rx, tx;
	uint64_t first_ms; /* asked while nothing was under way; 0: came */
	uint32_t rtt_ms;   /* shortest seen lately; 0: not known */
	uint32_t chunk_ms; /* smoothed time a chunk takes */
	uint64_t bulk_ms, done_ms;       /* last new byte, last whole chunk */
	uint64_t busy_ms;                /* not asked before */
	int64_t ask_share[REPL_CLASSES]; /* deficit round robin */
	uint32_t comp_at;                /* where the next round begins */

	struct serve_list waiting[REPL_CLASSES], ready[REPL_CLASSES];
	uint32_t waiting_n;        /* and ready and being read */
	uint32_t reads, reads_now; /* read or in memory; interactive ones */
	int64_t serve_share[REPL_CLASSES];
	size_t burst;    /* bytes handed out since the host's RE_SENT */
	uint32_t proofs; /* challenges out */
	struct missing missing;
};

/* --- want.c --- */
void want_add(struct repl *r, const struct repl_event *ev);
void want_remove(struct repl *r, const struct repl_event *ev);
struct want *want_find(const struct repl *r, const struct cry_id *cid);
void want_drop(struct repl *r, struct want *w);
/* It came through comp.  True: other compartments want it still, for what one
 * is given the others are not; false: nobody does, it can be dropped. */
bool want_came(struct repl *r, struct want *w, struct comp *comp);
/* Into the lists: to be asked; or nobody has it and it waits. */
void want_idle(struct repl *r, struct want *w);
void want_park(struct repl *r, struct want *w);
void want_settle(struct repl *r, struct want *w); /* whichever is true */
void want_unlist(struct want *w);
void place_last(struct place *pl); /* to the end of its list */
bool place_lacks(const struct place *pl, repl_conn conn);
void place_lacks_add(struct repl *r, struct place *pl, repl_conn conn);
struct place *want_place(struct want *w, const struct comp *c);
/* Is there a connected peer, other than this one, that may still have it? */
bool want_hopeful(struct repl *r, const struct want *w, const struct peer *but);
/* May this peer be asked for chunks of this compartment? */
bool content_may_hold(struct repl *r, struct peer *p, const struct comp *c);
void content_on_have(struct repl *r, struct link *l, const struct msg *m);
void content_link_live(struct repl *r, struct link *l);
void want_tick(struct repl *r);
void content_free(struct repl *r);

/* --- content.c: asking --- */
void content_ask(struct repl *r, struct peer *p);
void content_on_not_have(struct repl *r, struct link *l, const struct msg *m);
void content_on_busy(struct repl *r, struct link *l, const struct msg *m);
void content_peer_gone(struct repl *r, struct peer *p);
void content_tick(struct repl *r);
void content_limit(struct repl *r, uint64_t rate);
struct copy *want_copy(struct want *w, const struct peer *p);
/* A copy is given up: its bytes are free again. */
void content_unask(struct repl *r, struct copy *c);
void content_cancel(struct repl *r, struct copy *c); /* and say so */
uint64_t content_window(const struct content_peer *ct);

/* --- receive.c --- */
bool content_on_chunk(struct repl *r, struct peer *p, const struct msg *m);
void content_persisted(struct repl *r, struct persist *ps, enum err e);
void meter_add(struct meter *m, uint64_t now_ms, size_t bytes);

/* --- serve.c --- */
void content_on_get(struct repl *r, struct link *l, const struct msg *m);
void content_on_cancel(struct repl *r, struct link *l, const struct msg *m);
void content_serve(struct repl *r, struct peer *p);
void content_fetched(
    struct repl *r, struct fetch *f, const struct repl_event *ev);
/* A chunk that came through a compartment became durable: who was told
 * NOT_HAVE there is told HAVE. */
void content_came(struct repl *r, struct comp *comp, const struct cry_id *cid);
void content_cids_send(struct repl *r, struct peer *p, const struct msg *head,
    const struct comp *c, const struct cry_id *cid);
void serve_free(struct serve *s);
void serve_queue(struct peer *p, struct serve *s);
/* RE_SENT: the host's queues are nearly empty again. */
void content_sent(struct repl *r, struct peer *p);
void content_peer_free(struct peer *p);

/* --- prove.c --- */
void prove_ask(struct repl *r, const struct repl_event *ev);
void prove_on_challenge(struct repl *r, struct link *l, const struct msg *m);
void prove_on_proof(struct repl *r, struct link *l, const struct msg *m);
void prove_answer(struct repl *r, struct peer *p, const struct serve *s);

#endif
