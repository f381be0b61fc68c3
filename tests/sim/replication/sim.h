/* tests/sim/replication/sim.h: many nodes, one process, one seed.
 *
 * Virtual clock and event heap; each node is a real core with a host made of
 * arrays.  What a host calls durable survives a crash, nothing else does.
 * Links have delay; a lost, doubled or reordered message ends the session, as
 * it does under Noise; partitions may be one-way; nodes crash at any persist
 * and come back from what was durable. */
#ifndef PSC_TESTS_SIM_H
#define PSC_TESTS_SIM_H

#include "replication/member.h"
#include "replication/repl.h"
#include "replication/repl_internal.h"
#include "replication/witness.h"
#include "store/base/mem.h"

#define SIM_NODES_MAX 8192
#define SIM_COMPS 4
#define SIM_CHUNKS_MAX 512
#define SIM_FEEDS_MAX 1024
#define SIM_ACKS_MAX 2048
#define SIM_SAID 32
/* One window of ops and of chunks from each peer, and some to spare. */
#define SIM_PERSISTS_MAX 4096u

/* Faults planted in a host, to see that the checks bite. */
enum sim_bug {
	BUG_NONE,
	BUG_DROP_ACKED,  /* a site acknowledges ops and forgets them */
	BUG_LIE_PERSIST, /* a hub says durable and is not */
	BUG_LEAK,        /* a reader is handed another compartment's ops */
	BUG_REFETCH,     /* lab and hubs forget that they have chunks */
	BUG_REUSE,       /* put back from a snapshot it goes on in its feed */
	BUG_SERVE_ROT,   /* rotten bytes are served unchecked */
	BUG_KEYS,        /* a site has a key of another compartment */
	BUG_QUEUE,       /* a queue grows above its bound */
};

/* One member that is no honest node. */
enum sim_evil {
	EVIL_NONE,
	EVIL_TWIN,     /* one device, two machines, one feed: equivocates */
	EVIL_WITHHOLD, /* a hub that says nothing of one writer */
	EVIL_LIE,      /* frontiers, roots, announcements: some bytes false */
	EVIL_FLOOD,    /* says everything often, and what it said before */
	EVIL_REVOKED,  /* a writer that goes on after its revoke */
	EVIL_KINDS
};

struct sim_opts {
	uint64_t seed;
	uint32_t sites, hubs, joiners;
	uint32_t writes;
	uint64_t active_ms; /* faults and writes */
	uint32_t crashes, partitions;
	uint32_t rewinds; /* nodes put back from a snapshot */
	uint32_t losses;  /* disks lost whole */
	uint32_t fulls;   /* disks full for some seconds */
	uint32_t rots;    /* chunks that rot */
	uint32_t jumps;   /* clocks that jump by up to ten years */
	uint32_t freezes; /* sites frozen for some seconds */
	enum sim_evil evil;
	uint32_t fault_per_mille_x10; /* messages that break a session */
	enum sim_bug bug;
	bool big_chunk;
	bool crowd;     /* one chain object for all: many nodes */
	uint32_t comps; /* that have writers; 0: all */
	bool no_chunks;
	uint32_t writes_from_ms;
	uint32_t lost_per_mille; /* messages TCP has to send again */
	uint32_t gone_per_mille; /* gossip messages that never come */
};

#define SIM_LATE_MS 60000u

struct sim_result {
	char failed[160]; /* "" : all checks held */
	uint64_t trace;   /* same seed, same number */
	uint64_t events, messages, converged_ms;
	uint32_t nodes, crashes, partitions, breaks, acked, chunks;
	uint32_t rewinds, losses, fulls, rots, jumps, shut;
	uint32_t freezes, rotations;
	uint32_t put_back, named; /* nodes; seen by others to have been */
	uint64_t left_out; /* ops of a revoked writer that count nowhere */
	uint64_t chunk_deliveries, chunk_repeats;
	uint64_t payloads; /* runs that reached a node, wanted or not */
	uint64_t news;     /* of them news there */
	double forming;    /* payloads a node before SE_MARK */
	uint64_t ihaves, grafts, prunes;
	uint32_t late[SIM_LATE_MS + 1]; /* news by ms since it was written */
};

/* Runs one world to its end. */
void sim_run(const struct sim_opts *o, struct sim_result *out);

/* --- inside --- */
enum sim_role { SIM_HUB, SIM_LAB, SIM_SITE, SIM_JOINER, SIM_OUTSIDER };

struct sim_run_bytes { /* one stored run */
	struct buf bytes;
	struct slice *ops;
	uint32_t n;
	uint64_t first;
	struct op_head head;
};

struct sim_feed {
	struct op_feed f;
	struct feed_id id;
	struct sim_run_bytes *runs;
	uint32_t n;
	struct cry_hasher set; /* all op bytes in order */
	uint64_t seq;
	struct op_head head;
};

struct sim_wit { /* a row: what a member said last */
	uint16_t comp;
	struct cry_sign_pk device;
	struct buf kept;
};

struct sim_disk {
	struct sim_wit *wits;
	uint32_t n_wits;
	struct buf *said; /* beside the chain: freezes */
	uint32_t n_said;
	struct buf *records;
	uint32_t n_records;
	struct sim_feed *feeds;
	uint32_t n_feeds;
	bool chunk[SIM_CHUNKS_MAX];
	bool rotten[SIM_CHUNKS_MAX];
	uint8_t named[SIM_CHUNKS_MAX]; /* compartments, as bits */
};

struct sim_node {
	uint32_t no;
	enum sim_role role;
	struct cry_identity id;
	uint16_t comp, comp2; /* writes; reads too (0: none) */
	struct repl *core;    /* NULL: down */
	uint32_t gen;         /* counts starts: old events are void */
	struct sim_disk disk;
	uint64_t tick_at, persist_at;
	uint64_t incarnation, seq, lamport;
	struct cry_id prev;
	bool writing, granting;
	bool joined; /* joiner: has run join */
	struct invite invite;
	struct buf claim;
	enum sim_evil evil;
	uint32_t twin;       /* shares this node's identity; 0: none */
	uint64_t full_until; /* disk */
	bool nothing_more;   /* of what is under way came to the disk */
	uint64_t skew;       /* of its clock */
	struct sim_disk *snapshot;
	bool put_back; /* its disk was older, or another, once */
};

struct sim_conn {
	uint32_t end[2];
	uint32_t gen[2];
	bool up[2];
	uint32_t dial;
	uint64_t last[2][SESS_CLASSES];
	uint64_t line[2]; /* TCP waits for what it sends again */
	uint8_t hash[64];
};

struct sim_dial {
	uint32_t from, to;
	bool busy;
};

struct sim_chunk {
	struct cry_id cid;
	uint16_t comp;
	struct buf bytes;
	bool gone; /* its only disk was lost */
};

struct sim_ack {
	uint16_t comp;
	struct feed_id feed;
	uint64_t seq, at_ms;
	bool gone; /* its only disk was lost */
};

enum sim_ev_kind {
	SE_TICK,
	SE_DIAL,
	SE_UP,
	SE_DOWN,
	SE_MSG,
	SE_PERSIST,
	SE_FETCH,
	SE_WRITE,
	SE_LOCAL,
	SE_CRASH,
	SE_START,
	SE_PARTITION,
	SE_HEAL,
	SE_CLAIM,
	SE_GRANT,
	SE_JOIN,
	SE_BREAK,
	SE_MARK, /* count from here */
	SE_SNAPSHOT,
	SE_REWIND,
	SE_LOSS,
	SE_FULL,
	SE_ROT,
	SE_CLOCK,
	SE_FLOOD,
	SE_REVOKE,
	SE_SIGN,
	SE_FREEZE,
	SE_THAW,
	SE_ROTATE,
};

struct sim_ev {
	uint64_t at, order;
	enum sim_ev_kind kind;
	uint32_t node, gen, conn, side;
	uint8_t type;
	struct buf bytes;
	struct repl_effect fx;
	struct sim_run_bytes run;
	struct op_feed feed;
};

struct sim {
	struct sim_opts o;
	struct sim_result *res;
	uint64_t now, rng, order;
	struct sim_ev **heap;
	uint32_t n_heap, cap_heap;
	struct sim_node *nodes;
	uint32_t n;
	struct sim_conn *conns;
	uint32_t n_conns;
	uint32_t cap_conns;
	struct sim_dial *dials;
	uint32_t n_dials;
	struct sim_chunk chunks[SIM_CHUNKS_MAX];
	uint32_t n_chunks;
	struct sim_ack acks[SIM_ACKS_MAX];
	uint32_t n_acks;
	uint64_t *blocked;    /* from * n + to: until; NULL: never */
	struct member *chain; /* as set up */
	struct member_keys keys;
	bool calm;       /* no more faults */
	uint32_t victim; /* of whom a withholding hub does not speak */
	struct sim_said {
		uint8_t type;
		struct buf body;
	} said[SIM_SAID]; /* by the flooder */
	uint32_t n_said;
};

uint64_t sim_rand(struct sim *s, uint64_t below);
void sim_fail(struct sim *s, const char *fmt, ...) PSC_PRINTF(2, 3);
struct sim_ev *sim_push(
    struct sim *s, uint64_t at, enum sim_ev_kind kind, uint32_t node);
void sim_step(struct sim *s, struct sim_node *n, struct repl_event *ev);
uint64_t sim_blocked(const struct sim *s, uint32_t from, uint32_t to);
void sim_start(struct sim *s, struct sim_node *n);
void sim_crash(struct sim *s, struct sim_node *n);
/* disk */
struct sim_feed *disk_feed(struct sim_disk *d, const struct op_feed *f);
void disk_add_run(struct sim *s, struct sim_disk *d, const struct repl_ops *run,
    uint16_t comp);
void disk_add_witness(struct sim_disk *d, uint16_t comp,
    const struct cry_sign_pk *device, struct slice kept);
void disk_add_record(struct sim_disk *d, struct slice rec);
void disk_add_said(struct sim_disk *d, struct slice statement);
void disk_free(struct sim_disk *d);
void disk_set_hash(
    const struct sim *s, struct sim_disk *d, uint16_t comp, struct cry_id *out);
void disk_copy(struct sim *s, const struct sim_disk *from, struct sim_disk *to);
void want_missing(struct sim *s, struct sim_node *n);
void sim_persist_apply(
    struct sim *s, struct sim_node *n, const struct repl_effect *fx);
/* faults */
void fault_schedule(struct sim *s);
bool fault_event(struct sim *s, struct sim_ev *e);
/* What was not yet durable when the power went: some of it is, in order. */
void fault_torn(struct sim *s, struct sim_node *n);
void fault_heal(struct sim *s);
/* adversaries */
void evil_choose(struct sim *s);
/* What n is about to say; false: it does not say it. */
bool evil_says(
    struct sim *s, struct sim_node *n, uint8_t type, struct buf *body);
void evil_revoke(struct sim *s);
void evil_rotate(struct sim *s, uint16_t comp);
uint64_t evil_left_out(struct sim *s);
void evil_flood(struct sim *s, struct sim_node *n);
bool evil_feed(const struct sim *s, const struct op_feed *f);
void sim_post(struct sim *s, uint32_t conn, uint32_t side, uint8_t type,
    struct slice body);
/* checks */
const struct member *sim_chain(struct sim *s);
bool sim_converged(struct sim *s);
void sim_check(struct sim *s);
void sim_check_core(struct sim *s, struct sim_node *n);

#endif
