/* node/net/net_internal.h: shared inside the room.
 *
 * All of struct net belongs to the loop thread, except what is named under
 * one of its two mutexes: the mailbox (posts from other threads) and the
 * snapshot (what other threads read).
 *
 * One entry from the loop does: record, step the core, net_run().  net_run
 * carries out what the steps left behind until nothing is left, so that the
 * core is never stepped while its effects are read. */
#ifndef PSC_NET_INTERNAL_H
#define PSC_NET_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "node/loop/loop.h"
#include "node/net/net.h"
#include "node/net/proxy.h"
#include "replication/bucket.h"
#include "store/base/limits.h"
#include "store/base/mem.h"
#include "store/base/rd.h"

#define NET_TAG_PEER "peer"
/* What is in a socket's write queue, or in the kernel's, cannot be overtaken
 * any more: each holds what the link carries in NET_QUEUE_MS, as measured,
 * within these bounds. */
#define NET_QUEUE_MS 10u
#define NET_QUEUE_MIN (16 * KIB)
#define NET_QUEUE_MAX (256 * KIB)
#define NET_METER_MS 100u
/* The core hears RE_SENT when a session holds less content than this. */
#define NET_BACKLOG_LOW (8 * KIB)
/* Reading stops while this much waits for the disk. */
#define NET_PERSIST_HIGH (48 * MIB)
#define NET_PERSIST_LOW (24 * MIB)
/* Connections that have not said who they are. */
#define NET_STRANGERS_MAX 64u
/* Handshakes of one address: so many at once, and so many a second after. */
#define NET_GATE_BURST 128u
#define NET_GATE_RATE 8u
#define NET_GATE_SLOTS 256u
#define NET_GATE_HOST 64u
/* Connections of devices that are in no share of ours and in no row: anybody
 * can make such a device, and each may hold some MiB of half messages. */
#define NET_GUESTS_MAX 64u
#define NET_LINKS_MAX 1024u
#define NET_PEERS_MAX 1024u
#define NET_HANDSHAKE_MS 10000u
#define NET_BACKOFF_MIN_MS 200u
#define NET_BACKOFF_MAX_MS 30000u
/* Who is asked to be dialled now is dialled so often at most. */
#define NET_NOW_MS 1000u
/* A connection that lived this long was a good one. */
#define NET_GOOD_MS 5000u
#define NET_DRAIN_MS 2000u
#define NET_SNAP_MS 40u
#define NET_WANTS_MS 250u
#define NET_WANTS_LOW 1024u
#define NET_WANTS_MAX 65536u
#define NET_CHUNK_WINDOW 256u
/* Ops read for one RE_LOCAL. */
#define NET_LOCAL_BYTES (256 * KIB)
/* One head's run as the wire allows it, far below what memory allows. */
#define NET_RUN_BYTES_MAX (64 * MIB)

/* A node we know: from a row, or because it dialled us. */
struct net_rec {
	char host[128];
	uint16_t port;
	struct cry_device_pub device;
	bool kept; /* has a row */
	bool drop; /* its row is gone: mark of a reload */
	struct net_link *link;
	struct net_link *dialling;
	uint64_t next_ms;  /* when to dial */
	uint64_t tried_ms; /* when it last was */
	uint64_t backoff_ms;
	uint32_t attempts;
	uint64_t contact_ms; /* wall */
	uint64_t rx, tx;     /* of connections that are gone */
	uint64_t chunks_rx, chunks_tx;
	uint64_t rate, rate_rx, rate_ms; /* bytes a second; since when */
	char error[120];
};

struct net_link {
	struct net *net;
	struct net_link *next;
	repl_conn conn;
	struct loop_conn *tcp;
	struct sess *sess;
	struct net_rec *rec;
	struct proxy_talk *proxy; /* until its tunnel is open */
	bool initiator;
	bool up; /* told to the core */
	bool closing;
	bool dirty; /* may have something to send */
	bool sent;  /* RE_SENT is owed */
	uint64_t since_ms;
	uint64_t rx, tx;
	uint64_t meter_ms, meter_tx; /* tx at meter_ms */
	size_t queue;                /* bytes, see NET_QUEUE_MS */
	bool held;                   /* waits for net->up */
};

enum net_todo_kind {
	DUE_FETCH_OPS,
	DUE_FETCH_FAILED,
	DUE_SENT,
	DUE_DOWN,
	DUE_PERSIST_FAILED,
	DUE_SIGN,
	DUE_AIR
};
struct net_todo {
	struct net_todo *next;
	enum net_todo_kind kind;
	repl_conn conn;
	uint64_t token;
	struct feed_id feed;
	uint64_t from_seq;
	size_t bytes_max;
	enum err err;
	struct share_id share; /* DUE_SIGN */
	uint16_t compartment;
	struct buf bytes; /* freed with it */
};

enum net_mail_kind {
	MAIL_PERSISTED,
	MAIL_PEERS,
	MAIL_BARRIER,
	MAIL_NOW,
	MAIL_FETCH,
	MAIL_FETCH_END,
	MAIL_PROVE,
	MAIL_PROVE_END,
	MAIL_AIR_UP,
	MAIL_AIR_MSG,
	MAIL_AIR_DOWN,
	MAIL_STOP
};
struct net_mail {
	struct net_mail *next;
	enum net_mail_kind kind;
	uint64_t token;
	enum err err;
	size_t bytes;
	bool member, claim, chunk, statement, witness;
	struct cry_id cid; /* chunk: which */
	struct net_fetch *fetch;
	struct net_prove *prove;
	struct net_air *air;
	uint8_t type;    /* AIR_MSG */
	struct buf body; /* AIR_MSG; freed by net_air_mail */
	bool *done;      /* a waiter's flag, under box_lock */
};

/* net_gate.c */
struct net_gate_slot {
	char host[NET_GATE_HOST]; /* "": free */
	uint64_t at_ms;
	uint32_t left; /* thousandths of a knock */
	bool told;
};

/* How far the core was told of one of our own feeds. */
struct net_own {
	struct share_id share;
	uint16_t compartment;
	struct op_feed feed;
	struct feed_id id;
	uint64_t seq;
};

struct net_snap {
	struct net_peer *peer;
	uint32_t n_peers;
	struct net_lag *lag;
	uint32_t n_lags;
	struct net_root *root;
	uint32_t n_roots;
	struct repl_words_row *word;
	uint32_t n_words;
	uint64_t words_ms; /* when they were looked at */
	struct net_sync sync;
};

struct net {
	struct store *store;
	struct shares *shares;
	const struct cry_identity *me;
	char listen_text[LOOP_ADDR_TEXT];
	struct conf_proxy proxy;
	char proxy_login[PROXY_LOGIN_MAX + 1]; /* "": none */
	pthread_t thread;
	bool started;

	struct loop *loop;
	struct loop_wake *wake;
	struct loop_timer *timer;
	struct loop_listen *listen;
	struct repl *core;
	bool broken; /* the core failed */
	uint64_t rng;

	struct net_link *links;
	uint32_t n_links, n_strangers;
	repl_conn last_conn;
	struct net_rec **rec;
	uint32_t n_recs, cap_recs;

	struct net_todo *todo, **todo_end;
	bool running;         /* inside net_run */
	uint32_t jobs, works; /* on their way */
	_Atomic bool settle_stop;
	bool settling, settle_again;
	uint32_t member_jobs;
	size_t persist_bytes;
	enum err disk; /* of the last one */
	bool paused;

	/* what the core was told */
	struct net_own *own;
	uint32_t n_own;
	struct share_id *join;
	uint32_t n_joins;
	uint64_t wants_gen, drops_gen;
	uint64_t wants_next_ms;
	bool wants_more;
	bool wants_told;           /* at least once */
	struct net_fetch *fetches; /* somebody waits for these */
	struct net_prove *proves;  /* and for proof of these */
	struct net_gate_slot gate[NET_GATE_SLOTS];
	struct net_air *air; /* the file that is read, or NULL */
	uint64_t db_wants;

	/* limits of the line */
	const struct conf *conf;
	struct bucket up;
	bool up_held;        /* some link is */
	uint64_t up_held_ms; /* when it last was; 0: never */
	repl_conn up_turn;   /* the link that sent last under the limit */
	struct conf_limits lim;
	int64_t lim_until; /* unix seconds; 0: never */
	uint64_t lim_look_ms;

	bool stopping;
	uint64_t stop_ms;
	bool closed;

	_Atomic bool news; /* notice from the shares */
	pthread_mutex_t box_lock;
	pthread_cond_t box_cond;
	bool air_busy; /* under box_lock: a file is read */
	struct net_mail *box, **box_end;

	uint64_t snap_ms;
	bool snap_stale;
	pthread_mutex_t snap_lock;
	pthread_cond_t snap_cond;
	struct net_snap snap;
	uint64_t snap_no;
};

/* --- net_core.c --- */
/* Step the core and note what is to be done; then call net_run. */
void net_step(struct net *n, struct repl_event *ev);
void net_run(struct net *n);
/* Post from any thread; takes the mail. */
void net_post(struct net *n, struct net_mail *m);
/* Post from another thread and wait until the loop has done it. */
void net_call(struct net *n, enum net_mail_kind kind);
/* Not while the effects of a step are read. */
void net_todo_run(struct net *n);
void net_todo_add(struct net *n, const struct net_todo *what);

/* --- net.c --- */
/* Goes on with a stop that was asked for. */
void net_stop_step(struct net *n);

/* --- net_link.c --- */
struct net_link *net_link_find(struct net *n, repl_conn conn);
void net_link_accept(void *ctx);
/* addr: HOST:PORT.  False: it has knocked too often. */
bool net_gate_knock(struct net *n, const char *addr, uint64_t now_ms);
void net_link_dial(struct net *n, struct net_rec *rec);
void net_link_send(struct net_link *l, const struct repl_effect *fx);
void net_link_pump(struct net_link *l);
void net_link_close(struct net_link *l, const char *why);
/* Handshakes that take too long; when to look again. */
uint64_t net_link_deadlines(struct net *n, uint64_t now_ms);
void net_link_pause(struct net *n);

/* --- net_limit.c: peers.limit and peers.schedule --- */
void net_limit_start(struct net *n);
/* Which limits hold by now; links that may send again do; when to look. */
void net_limit_tick(struct net *n);
uint64_t net_limit_due(const struct net *n);
/* Bytes that may leave now on this link; 0: it is held. */
size_t net_limit_room(struct net_link *l);
void net_limit_sent(struct net_link *l, size_t bytes);
void net_limit_text(const struct net *n, struct net_sync *out);

/* --- net_book.c --- */
enum err net_book_load(struct net *n) PSC_MUST_USE;
struct net_rec *net_book_find(struct net *n, const struct cry_box_pk *box);
/* NULL: the book is full. */
struct net_rec *net_book_add(struct net *n, const struct cry_device_pub *d);
/* Dial whom it is time to dial; when to look again. */
uint64_t net_book_dial(struct net *n, uint64_t now_ms);
void net_book_failed(
    struct net *n, struct net_rec *r, bool good, const char *why);
void net_book_now(struct net *n);
void net_book_free(struct net *n);

/* --- net_store.c --- */
void net_store_fetch_ops(struct net *n, const struct net_todo *t);
void net_store_fetch_chunk(struct net *n, const struct repl_effect *fx);
/* Ops that a record set aside leave the views, on a pool thread. */
void net_settle(struct net *n);
void net_store_persist(struct net *n, const struct repl_effect *fx);
struct net_run_ops { /* a run of ops read from the store */
	struct op_feed feed;
	struct buf bytes;
	struct slice *ops;
	uint32_t n_ops;
	struct op_head head;
};
enum err net_store_run(struct net *n, const struct feed_id *feed,
    uint64_t from_seq, size_t bytes_max, struct net_run_ops *out) PSC_MUST_USE;
void net_run_ops_fini(struct net_run_ops *r);

/* --- net_scan.c --- */
enum err net_scan_start(struct net *n) PSC_MUST_USE;
void net_scan(struct net *n, uint64_t now_ms);

/* --- net_fetch.c: on the loop --- */
void net_fetch_begin(struct net *n, struct net_fetch *f);
void net_fetch_end(struct net *n, struct net_fetch *f);
void net_fetch_came(struct net *n, const struct cry_id *cid);
void net_prove_begin(struct net *n, struct net_prove *p);
void net_prove_end(struct net *n, struct net_prove *p);
void net_prove_came(struct net *n, const struct repl_effect *fx);
/* Wants of a compartment were dropped: tell those that are waited for. */
void net_fetch_again(struct net *n);

/* --- air_link.c: on the loop --- */
void net_air_mail(struct net *n, struct net_mail *m);
bool net_air_is(const struct net *n, repl_conn conn);
void net_air_heard(struct net *n, const struct repl_effect *fx);
void net_air_closed(struct net *n, const char *why);
void net_air_answer(struct net *n);

/* --- net_status.c --- */
void net_status_refresh(struct net *n);
void net_snap_fini(struct net_snap *s);

#endif
