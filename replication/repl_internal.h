/* replication/repl_internal.h: the core's state; shared by core.c, peer.c,
 * join.c, bound.c, sync.c, front.c, ops.c, gossip.c, content.c, witnesses.c,
 * status.c, not for other rooms.
 *
 *   repl --- shares --- compartments --- feeds, wants
 *        \-- peers  --- links (one per share) --- pcomps (one per compartment)
 *
 * One failure is possible, out of memory: it is kept in repl.err and ends
 * the step.  Everything a peer says is bounded before it is believed. */
#ifndef PSC_REPLICATION_INTERNAL_H
#define PSC_REPLICATION_INTERNAL_H

#include "replication/bucket.h"
#include "replication/content.h"
#include "replication/msg.h"
#include "replication/repl.h"
#include "replication/witness.h"

/* --- bounds and times; docs/protocol.md section 12 --- */
#define REPL_FEEDS_MAX 65536u         /* per compartment */
#define REPL_FRONT_ALL 256u           /* so many feeds are told one by one */
#define REPL_PASTS 64u                /* own roots remembered */
#define REPL_BASES 1024u              /* peers whose agreement is remembered */
#define REPL_RBSR_ROUNDS 64u          /* answered between two agreements */
#define REPL_UNKNOWN_FEEDS_MAX 8192u  /* learnt from one connection */
#define REPL_CLAIMS_MAX 64u           /* queued for registrars, per share */
#define REPL_CLAIMS_PEER_MAX 32u      /* accepted from one connection */
#define REPL_SIGS_STRANGER_MAX 20000u /* verified for a non-member */
#define REPL_PULLS_MAX 64u            /* OPS_REQ open towards one peer */
#define REPL_SERVE_OPS_MAX 256u       /* OPS_REQ waiting from one peer */
#define REPL_QUEUE_CONTROL_MAX (256 * KIB)
#define REPL_QUEUE_OPS_MAX (4 * MIB)
#define REPL_QUEUE_BULK_MAX (4 * MIB)
#define REPL_EAGER_BYTES_MAX (16 * KIB) /* bigger runs are announced */
#define REPL_WINDOW_BULK (8 * MIB)
#define REPL_ROOT_DELAY_MS 100u /* changes settle before a root is sent */
#define REPL_CHECK_MS 1000u     /* first re-check of a mismatch; doubles */
#define REPL_CHECK_MAX_MS 30000u
#define REPL_PING_MS 25000u
#define REPL_DEAD_MS 75000u
#define REPL_STALL_MS 30000u /* ops asked for and nothing came */
#define REPL_CHAIN_MS 1000u  /* no OPEN came back: send the chain */
#define REPL_AE_MS 300000u   /* roots compared anew, with jitter */
#define REPL_GRACE_MS 5000u  /* a member that says nothing is waited for */

struct feed {
	struct op_feed f;
	struct feed_id id;
	uint64_t seq, lamport; /* durable */
	struct cry_id head;
	uint64_t tip_seq, tip_lamport; /* accepted, maybe not yet durable */
	struct cry_id tip;
	repl_conn from;      /* who brought the last run; 0 nobody */
	repl_conn pull_conn; /* whom we asked; 0 nobody */
	uint64_t pull_to, pull_ms;
	uint64_t born, moved; /* of comp.moves: first op, last op */
	bool held;            /* its device is frozen */
	bool forked;          /* two ops with one number: off the fast path */
	bool empty; /* only ever announced, by peers that left: reusable */
	bool news, missing; /* listed in comp.news, comp.missing */
};

/* A root we told, and what we held then. */
struct past {
	uint64_t root; /* its first 8 bytes */
	uint64_t at;   /* comp.moves */
};

/* The root we last agreed on with a peer, connected or not. */
struct base {
	struct cry_sign_pk peer;
	uint64_t root, at;
};

/* A run that some peer announced and nobody brought. */
struct missing_run {
	uint32_t feed, tries;
	uint64_t to, due_ms;
};

/* What a member said last of a compartment. */
struct wit {
	struct cry_sign_pk device;
	struct buf b;            /* as it was signed */
	struct buf older, newer; /* newer takes older back, or says so */
	uint64_t no;             /* of b; 0: none */
	uint64_t heard_ms, turn; /* when; one after the other, this run */
};

struct comp {
	struct share *share;
	uint16_t no;
	struct feed *feeds; /* index is stable */
	uint32_t *order;    /* indexes by feed id */
	uint32_t n, cap;
	uint32_t n_empty, empty_at; /* reusable feeds; where to look for one */
	uint32_t pulls;             /* feeds with pull_conn */
	bool dirty;                 /* root is out of date */
	struct cry_id root;
	uint64_t ops, lamport;
	uint64_t moves;     /* times a feed grew */
	struct past *pasts; /* ring of REPL_PASTS; n_pasts: ever told */
	uint32_t n_pasts;
	struct base *bases; /* ring above REPL_BASES; n_bases: ever added */
	uint32_t n_bases;
	struct want_list idle[REPL_CLASSES], parked;
	uint32_t *news; /* feeds to tell lazy links of, at news_ms */
	uint32_t n_news;
	uint64_t news_ms; /* 0: none */
	struct missing_run *missing;
	uint32_t n_missing;
	struct wit *wits;    /* index is stable */
	uint32_t *wit_order; /* indexes by device */
	uint32_t n_wits;
	uint64_t wit_due_ms;  /* when to say something; 0: nothing to say */
	uint64_t wit_said_ms; /* last, this run; 0: not yet said */
	bool wit_waits;       /* for its signature, or the disk */
	bool wit_confess, wit_confessed; /* that we were put back */
};

struct claim {
	uint8_t b[CLAIM_BYTES_MAX];
	uint16_t n;
	bool from_hub; /* goes to registrars only, not to hubs again */
};

struct share {
	struct share_id id;
	uint32_t index;
	struct member *m; /* NULL: joining, chain not seen yet */
	bool open;        /* we are a member and the chain is durable */
	bool halted;      /* equivocation: chain stands still */
	uint64_t fork;    /* halted: the branches part here, or before */
	bool any_held;    /* somebody is frozen */
	struct statement {
		struct statement *next;
		struct buf b;
	} * statements; /* freezes that hold, and what proves a halt */
	uint32_t n_statements;
#define REPL_EARLY_MAX 16u
	struct buf early[REPL_EARLY_MAX]; /* statements ahead of our chain */
	uint32_t early_at;
	bool joining;
	struct cry_sign_pk registrar; /* joining */
	struct claim claim;
	uint64_t feeds_gen; /* of the chain, as feeds follow it */
	uint64_t emitted;   /* records handed to RX_PERSIST_MEMBER */
	uint64_t durable;   /* records on disk */
	uint64_t again_ms;  /* when to hand them out again; 0: not waiting */
	struct comp **comps;
	uint32_t n_comps;
	struct claim *claims; /* ring, for registrars */
	uint32_t n_claims;    /* ever queued */
};

enum front_send {
	FRONT_SEND_NONE,
	FRONT_SEND_TOLD, /* feeds in pcomp.tell */
	FRONT_SEND_NEWS, /* of which the peer lacks ops */
	FRONT_SEND_ALL,
};
enum front_tell { TELL_NOT, TELL_SHORT, TELL_NAMED };
/* What the peer heard from us since the roots last agreed. */
enum front_told { TOLD_NONE, TOLD_SINCE, TOLD_ALL };

/* A compartment as seen with one peer. */
struct pcomp {
	struct comp *comp;
	uint64_t *have; /* per feed index: what the peer holds, as known */
	uint8_t *tell;  /* per feed index: enum front_tell */
	uint32_t n_have;
	bool lazy;  /* no branch of the tree: IHAVE instead of PUSH */
	bool level; /* roots agreed once: what is new continues theirs */
	bool got_root;
	struct cry_id root; /* theirs, last told */
	uint64_t ops;
	bool sent_root;
	struct cry_id last_sent;
	enum front_told told;
	uint64_t told_ms;      /* one of long ago tells nothing */
	uint64_t told_at;      /* SINCE: from when on, of comp.moves */
	enum front_send front; /* pages still to go */
	uint32_t front_at;     /* next feed of the next page */
	bool tell_more;        /* and those in tell once more after them */
	uint64_t base;         /* those pages are news since this root */
	uint64_t named_after;  /* feeds born later go by their full name */
	bool in_pages;         /* pages of the peer's frontier go on */
	uint32_t tries;        /* comparisons since the roots last agreed */
	uint32_t rbsr_in;      /* RBSR heard since then */
	uint32_t pull_at;      /* where to look for the next pull */
	uint64_t root_due_ms, check_ms;
	uint32_t backoff_ms;
	uint8_t *wit_due; /* per witness: to be sent */
	uint32_t n_wit_due;
	bool wit_out; /* any */
};

enum link_state { LINK_SILENT, LINK_OFFERED, LINK_LIVE, LINK_STATES };

/* A share as seen with one peer. */
struct link {
	struct peer *peer;
	struct share *share;
	struct msg_tag tx, rx;
	enum link_state state;
	uint64_t peer_seq;       /* LIVE: their chain */
	struct cry_id peer_head; /* as their OPEN had it */
	uint64_t pushed;         /* records sent here, or about to be */
	uint64_t page, pages;    /* next of them to go, and behind the last */
	uint64_t asked_seq;      /* chain asked for up to this */
	bool asked_branch;       /* and once for a chain that is not ours */
	uint64_t chain_due_ms;   /* OFFERED: send the chain then */
	uint64_t ae_ms;
	uint32_t claims_in;   /* received here */
	uint32_t claims_out;  /* of share.n_claims, forwarded here */
	struct buf held_open; /* came before we could judge it */
	struct pcomp *pc;
	uint32_t n_pc;
};

struct out_item {
	struct out_item *next;
	uint8_t type;
	struct buf body;
};

struct serve_ops {
	struct comp *comp;
	uint32_t feed;
	uint64_t next, to;
	bool one_run; /* the host's longer answer did not fit a message */
};

struct peer {
	repl_conn conn;
	bool initiator, closing, dirty;
	bool unlimited; /* what it sends does not come over the line */
	struct cry_device_pub pub;
	uint8_t hash[64];
	uint64_t up_ms, rx_ms, tx_ping_ms;
	struct link *links; /* by share index */
	uint32_t n_links;
	struct out_item *out[SESS_CLASSES], **out_last[SESS_CLASSES];
	size_t queued[SESS_CLASSES];
	uint64_t tx_used[SESS_CLASSES]; /* sent, credit not back */
	uint64_t rx_used[SESS_CLASSES]; /* received, credit not given */
	uint64_t rx_owed[SESS_CLASSES]; /* of rx_used, ready to give */
	struct serve_ops *so;
	uint32_t so_first, so_n;
	uint32_t fetch_ops; /* reads on their way */
	struct content_peer ct;
	uint32_t pulls;
	uint32_t fronts; /* pcomps with pages to send */
	uint32_t unknown_feeds, sigs;
	uint64_t bytes_rx, bytes_tx, chunks_rx, chunks_tx;
};

struct fetch {
	struct fetch *next;
	uint64_t token;
	repl_conn conn;
	struct serve *serve; /* NULL: of ops */
	bool came;           /* the chunk became durable since */
	struct comp *comp;
	uint32_t feed;
};

enum persist_kind {
	PERSIST_OPS,
	PERSIST_CHUNK,
	PERSIST_MEMBER,
	PERSIST_WITNESS
};

struct persist {
	struct persist *next;
	uint64_t token;
	enum persist_kind kind;
	struct buf bytes; /* what the effect's slices borrow */
	struct slice *ops;
	struct repl_ops run;
	struct comp *comp;
	uint32_t feed;
	struct share *share;
	struct want *want;
	repl_conn conn;  /* whom to give credit, 0 nobody */
	uint32_t credit; /* bytes of its message */
};

struct trash {
	struct trash *next;
	void *p;
};

struct repl {
	struct repl_opts o;
	enum err err;
	uint64_t now_ms, wake_ms, rng, next_token;
	struct share **shares;
	uint32_t n_shares;
	struct peer **peers;
	uint32_t n_peers;
	struct repl_effect *fx;
	uint32_t n_fx, cap_fx;
	struct trash *trash; /* freed at the next step */
	struct fetch *fetches;
	struct persist *persists, **persists_last;
	uint32_t n_persists;
	struct want **want_hash;
	uint32_t want_cap, n_wants;
	uint64_t want_bytes;
	struct bucket down; /* what may be asked for */
	bool held;          /* it is why a want was not */
	uint64_t wit_turn;
};

/* --- core.c --- */
void *repl_alloc(struct repl *r, size_t count, size_t size); /* NULL: r->err */
void *repl_regrow(struct repl *r, void *p, size_t count, size_t size);
bool repl_ok(struct repl *r, enum err e); /* keeps NOMEM */
struct repl_effect *repl_fx(struct repl *r, enum repl_fx_kind kind);
/* Free p (or a buffer's memory) when the next step begins. */
void repl_trash(struct repl *r, void *p);
void repl_wake(struct repl *r, uint64_t at_ms);
uint64_t repl_random(struct repl *r, uint64_t below);
bool same_key(const struct cry_sign_pk *a, const struct cry_sign_pk *b);
bool same_id(const struct cry_id *a, const struct cry_id *b);

/* --- peer.c --- */
struct peer *peer_find(struct repl *r, repl_conn conn);
void peer_up(struct repl *r, const struct repl_event *ev);
void peer_down(struct repl *r, repl_conn conn);
void peer_free(struct peer *p);
void peer_close(struct repl *r, struct peer *p, enum err e, const char *why);
void peer_send(struct repl *r, struct peer *p, const struct msg *m);
void peer_msg(struct repl *r, struct peer *p, uint8_t type, struct slice body);
void peer_owe(struct repl *r, struct peer *p, enum sess_class c, uint64_t n);
bool peer_can_send(const struct peer *p, enum sess_class c);
void peer_pump(struct repl *r, struct peer *p);
void peer_tick(struct repl *r, struct peer *p);
struct link *peer_link(struct peer *p, const struct share *s);
struct link *peer_tagged(struct peer *p, const struct msg_tag *tag);
void link_move(struct link *l, enum link_state next);
void link_init(struct repl *r, struct peer *p, struct share *s);

/* --- join.c: shares, chains, claims --- */
struct share *share_find(const struct repl *r, const struct share_id *id);
void share_free(struct share *s);
void join_share(struct repl *r, const struct repl_event *ev);
void join_start(struct repl *r, const struct repl_event *ev);
void join_signed(struct repl *r, const struct repl_event *ev);
void join_persisted(struct repl *r, struct share *s);
/* A record could not be kept (no space, say): all that are not on disk are
 * handed out again later. */
void join_not_persisted(struct repl *r, struct share *s);
void join_tick(struct repl *r, struct share *s);
void join_link_up(struct repl *r, struct link *l);
void join_link_tick(struct repl *r, struct link *l);
void join_pump(struct repl *r, struct peer *p); /* records, by credit */
void join_on_mlog_req(struct repl *r, struct link *l, const struct msg *m);
void join_on_mlog(struct repl *r, struct link *l, const struct msg *m);
void join_on_claim(struct repl *r, struct link *l, const struct msg *m);
void join_tell_revoked(struct repl *r, struct link *l, uint64_t its_seq);
void join_ask_chain(struct repl *r, struct link *l, uint64_t their_seq);
void join_forward_claims(struct repl *r, struct link *l);
void join_ask_branch(struct repl *r, struct link *l);
bool share_has(const struct share *s, const struct cry_sign_pk *d);
/* For who speaks on a connection: see member_is_device. */
bool share_has_device(const struct share *s, const struct cry_device_pub *d);

/* --- bound.c: how far feeds count --- */
/* The last number that may stand; 0: none. */
uint64_t bound_seq(const struct share *s, const struct op_feed *f);
void bound_feed(struct comp *c, struct feed *f);
void bound_share(struct repl *r, struct share *s); /* the chain moved */

/* --- statement.c: freezes and proofs, beside the chain --- */
void statement_known(struct repl *r, const struct repl_event *ev);
void statement_on(struct repl *r, struct link *l, const struct msg *m);
void statement_halt(struct repl *r, struct share *s, struct slice record);
void statement_send_all(struct repl *r, struct link *l);
void statement_free(struct share *s);
void statement_early(struct repl *r, struct share *s); /* the chain moved */
/* The chain grew, or somebody was frozen. */
void share_moved(struct repl *r, struct share *s);

/* --- witnesses.c: what members say that they hold --- */
/* latest and two that prove something, u16 lengths */
#define REPL_WITNESS_KEPT_MAX (8 * KIB)
#define REPL_WITS_MAX MSG_SHORTS_MAX /* of a compartment; a list names them */
/* By a device's key, or its first n bytes; NULL: not here. */
struct wit *wit_find(const struct comp *c, const uint8_t *key, size_t n);
/* What we keep decodes. */
struct witness wit_word(const struct buf *b);
void witnesses_known(struct repl *r, const struct repl_event *ev);
void witnesses_signed(struct repl *r, const struct repl_event *ev);
void witnesses_persisted(struct repl *r, struct persist *ps, enum err e);
void witnesses_touch(struct repl *r, struct comp *c); /* it changed */
void witnesses_tick(struct repl *r, struct comp *c);
void witnesses_meet(struct repl *r, struct link *l, struct pcomp *pc);
void witnesses_on(struct repl *r, struct link *l, const struct msg *m);
void witnesses_on_sums(struct repl *r, struct link *l, const struct msg *m);
void witnesses_pump(struct repl *r, struct peer *p);
void witnesses_free(struct comp *c);

/* --- sync.c: roots, pulls --- */
struct comp *comp_get(struct repl *r, struct share *s, uint16_t no);
struct comp *comp_find(const struct share *s, uint16_t no);
void comp_free(struct comp *c);
void comp_refresh(struct comp *c); /* root, ops */
struct feed *feed_get(struct repl *r, struct comp *c,
    const struct cry_sign_pk *device, uint64_t incarnation, uint32_t *index);
struct feed *feed_find(
    struct comp *c, const struct feed_id *id, uint32_t *index);
/* The feeds with this short name are order[at], at from feed_first as long as
 * feed_is holds. */
uint32_t feed_first(const struct comp *c, const uint8_t *name);
bool feed_is(const struct comp *c, uint32_t at, const uint8_t *name);
uint64_t pc_have(const struct pcomp *pc, uint32_t feed);
void pc_set_have(struct repl *r, struct pcomp *pc, uint32_t f, uint64_t seq);
struct pcomp *pc_find(struct link *l, const struct comp *c);
/* The pcomp if both ends may receive this compartment, else NULL. */
struct pcomp *pc_allowed(struct repl *r, struct link *l, uint16_t no);
bool pc_equal(struct pcomp *pc);
void sync_send_open(struct repl *r, struct link *l);
void sync_on_open(
    struct repl *r, struct link *l, const struct msg *m, struct slice body);
void sync_on_root(struct repl *r, struct link *l, const struct msg *m);
void sync_changed(struct repl *r, struct comp *c); /* roots will be told */
void sync_pull(struct repl *r, struct link *l, struct pcomp *pc);
/* Ask l for f's ops after our tip, up to to, as a branch of the tree. */
void sync_graft(struct repl *r, struct link *l, struct comp *c, struct feed *f,
    uint64_t to);
void sync_pull_end(struct repl *r, struct comp *c, struct feed *f);
void sync_pull_others(struct repl *r, struct comp *c, uint32_t feed);
void sync_link_tick(struct repl *r, struct link *l);
void sync_comp_tick(struct repl *r, struct comp *c);
void sync_peer_gone(struct repl *r, struct peer *p);

/* --- front.c: telling what we hold --- */
void front_moved(struct comp *c, struct feed *f); /* it has more ops */
void front_told(struct repl *r, struct comp *c);  /* our root goes out */
void front_agreed(struct repl *r, struct link *l, struct pcomp *pc);
void front_compare(struct repl *r, struct link *l, struct pcomp *pc);
void front_announce(
    struct repl *r, struct link *l, struct pcomp *pc, uint32_t feed);
void front_name_put(const struct feed *f, struct buf *named);
/* An entry of FRONT or IHAVE: the feed's index; false: not to be heard. */
bool front_heard(struct repl *r, struct link *l, struct pcomp *pc,
    const struct msg_front *e, uint32_t *index);
void front_on_front(struct repl *r, struct link *l, const struct msg *m);
void front_on_need(struct repl *r, struct link *l, const struct msg *m);
void front_on_rbsr(struct repl *r, struct link *l, const struct msg *m);
void front_pump(struct repl *r, struct peer *p);

/* --- ops.c: runs of ops in and out --- */
void ops_feed_known(struct repl *r, const struct repl_event *ev);
void ops_local(struct repl *r, const struct repl_event *ev);
void ops_on_req(struct repl *r, struct link *l, const struct msg *m);
void ops_on_none(struct repl *r, struct link *l, const struct msg *m);
/* Returns true when credit for the message is given later. */
bool ops_on_ops(
    struct repl *r, struct link *l, const struct msg *m, struct slice body);
void ops_serve(struct repl *r, struct peer *p);
void ops_fetched(struct repl *r, struct fetch *f, const struct repl_event *ev);
void ops_persisted(struct repl *r, struct persist *ps, enum err e);
struct persist *persist_new(struct repl *r, enum persist_kind kind);
void persist_free(struct persist *ps);
struct fetch *fetch_new(struct repl *r, struct peer *p);

size_t ops_run_bytes(const struct repl_ops *run);
bool ops_send(struct repl *r, struct link *l, uint8_t type,
    uint16_t compartment, const struct repl_ops *run);

/* --- gossip.c: new runs through the tree --- */
#define GOSSIP_BATCH_MS 50u  /* IHAVEs are gathered */
#define GOSSIP_GRAFT_MS 150u /* announced and not pushed: asked for */
#define GOSSIP_RETRY_MS 500u /* grafted and nothing came: another peer */
#define GOSSIP_TRIES 3u      /* then roots bring it */
#define GOSSIP_NEWS_MAX 512u
#define GOSSIP_MISSING_MAX 1024u
/* A run that is durable here and may be news to others. */
void gossip_push(
    struct repl *r, struct comp *c, uint32_t feed, const struct repl_ops *run);
/* A PUSH brought what we had: one branch too many. */
void gossip_twice(
    struct repl *r, struct link *l, struct pcomp *pc, const struct feed *f);
/* A PUSH brought news: the branch stays. */
void gossip_once(struct pcomp *pc);
void gossip_on_ihave(struct repl *r, struct link *l, const struct msg *m);
void gossip_on_graft(struct repl *r, struct link *l, const struct msg *m);
void gossip_on_prune(struct repl *r, struct link *l, const struct msg *m);
void gossip_tick(struct repl *r, struct comp *c);

#endif
