/* node/net/net.h: binds the replication core to sockets and the store.
 *
 * One loop thread owns the core, the connections and the timers.  It listens
 * on peers.listen, dials every known peer that has an address (again after
 * 0.2 s doubling to 30 s), carries out the core's effects: SEND and CLOSE on
 * connections, FETCH from the store, PERSIST as store jobs.  Functions here
 * may be called from any other thread; they post to the loop and wait, or
 * read a snapshot. */
#ifndef PSC_NET_NET_H
#define PSC_NET_NET_H

#include "node/conf/conf.h"
#include "node/share/share.h"

struct net;
struct net_opts {
	struct store *store;
	struct shares *shares;
	const struct cry_identity *me;
	const char *listen;      /* "HOST:PORT", port 0 = any free, or "off" */
	const char *proxy;       /* peers.proxy; NULL: off */
	const char *proxy_login; /* "user:password"; NULL: none */
	const struct conf *conf; /* limits; NULL: none.  Outlives the net */
};
/* Binds (ERR_BUSY: port taken), then starts the loop thread. */
enum err net_start(
    const struct net_opts *o, struct net **out, struct errmsg *em) PSC_MUST_USE;
void net_stop(struct net *n); /* drains up to 2 s; NULL ok */
/* "127.0.0.1:7433", or "off". */
void net_listen_text(struct net *n, char *out, size_t cap);

/* Peers (local rows "peer").  key: full device key, or only its box key
 * known from an invite. */
struct net_peer {
	char host[128];
	uint16_t port;                /* 0: it dials us */
	struct cry_device_pub device; /* zero parts: not known yet */
	bool connected;
	uint64_t last_contact_ms; /* wall */
	uint64_t lag_ops, lag_bytes;
	bool in_sync;
	uint64_t bytes_rx, bytes_tx; /* on the wire, this run */
	uint64_t chunks_rx, chunks_tx;
	uint64_t rate;   /* received, bytes a second, of late */
	char error[120]; /* why the last dial failed, "" if it did not */
};
/*
 * device->box must be set.  Without device->sign (from an invite) it does not
 * replace an address that was given with one: ERR_EXISTS.
 */
enum err net_peer_add(struct net *n, const char *host, uint16_t port,
    const struct cry_device_pub *device, struct errmsg *em) PSC_MUST_USE;
enum err net_peer_remove(
    struct net *n, const char *address_or_key, struct errmsg *em) PSC_MUST_USE;
enum err net_peers(
    struct net *n, struct net_peer **list, uint32_t *count) PSC_MUST_USE;
void net_peers_free(struct net_peer *list);

/* What stands between us and a connected peer, a row a compartment. */
struct net_lag {
	struct cry_device_pub device;
	struct repl_lag lag;
};
enum err net_lags(
    struct net *n, struct net_lag **list, uint32_t *count) PSC_MUST_USE;
void net_lags_free(struct net_lag *list);

/* What members signed that they hold, as of the last second. */
enum err net_words(
    struct net *n, struct repl_words_row **list, uint32_t *count) PSC_MUST_USE;
void net_words_free(struct repl_words_row *list);

struct net_root {
	struct share_id share;
	uint16_t compartment;
	uint64_t ops;
	struct cry_id root;
};
enum err net_roots(
    struct net *n, struct net_root **list, uint32_t *count) PSC_MUST_USE;
void net_roots_free(struct net_root *list);

struct net_sync {
	bool in_sync; /* rulings.md 27 */
	uint32_t connected;
	uint64_t wanted_chunks, wanted_bytes;
	enum err disk;  /* why what came last was not stored, or ERR_OK */
	bool held_down; /* content that is wanted waits for peers.limit */
	char held[64];  /* "" or "held by peers.limit until 22:00" */
};
void net_sync_status(struct net *n, struct net_sync *out);
/* Waits until in sync with at least one peer connected. ERR_TIMEOUT. */
enum err net_sync_wait(
    struct net *n, uint64_t timeout_ms, struct net_sync *out) PSC_MUST_USE;
/* Fetches chunks that somebody waits for, before all else, from connected
 * members of the compartment, hubs first; peers that are not connected are
 * dialled.  Blocks until all are durable.  ERR_TIMEOUT: nothing came for
 * quiet_ms, *left chunks are missing; ERR_FULL: the quota is reached. */
struct net_fetch_opts {
	struct share_id share;
	uint16_t compartment;
	const struct op_chunk *chunk; /* ascending by cid; borrowed */
	uint32_t n;
	uint64_t quiet_ms;
};
enum err net_fetch(
    struct net *n, const struct net_fetch_opts *o, uint32_t *left) PSC_MUST_USE;
/* Do at least `copies` other members hold each chunk?  Each that is connected
 * and may hold it is challenged; an answer counts if it is what the chunk here
 * gives under our nonce and the answerer's key.  Blocks.  ERR_DENIED: not all
 * are held by enough; ERR_TIMEOUT: nobody is there to ask, or nobody answered
 * for quiet_ms. */
#define NET_PROVE_CHUNKS 64u
struct net_prove_opts {
	struct share_id share;
	uint16_t compartment;
	const struct cry_id *cid; /* borrowed */
	uint32_t n;               /* at most NET_PROVE_CHUNKS */
	uint32_t copies;
	uint64_t quiet_ms;
};
enum err net_prove(struct net *n, const struct net_prove_opts *o) PSC_MUST_USE;
/* The same as a share_proven_fn; ctx: struct net_proven. */
struct net_proven {
	struct net *net;
	uint32_t copies; /* of store.copies */
};
enum err net_proven(void *ctx, const struct share_id *share,
    uint16_t compartment, const struct cry_id *cid, uint32_t n) PSC_MUST_USE;
/* --- the air gap: what a session would carry, in a file --- */
struct net_air_done {
	struct cry_device_pub peer; /* the reader; the writer */
	uint32_t shares;            /* both are members of, or one joins */
	uint64_t records, ops, chunks, bytes; /* in the file */
	uint64_t new_ops, new_chunks;         /* that were not here */
	uint64_t refused_ops; /* of devices without a right here, or forked */
};
struct net_air_opts {
	const char *path; /* of this machine */
	struct cry_device_pub to;
	bool all;        /* also what it said that it has */
	bool no_content; /* ops and records only */
	bool (*stop)(void *ctx);
	void *stop_ctx;
};
/* A new file (ERR_EXISTS), sealed to o->to.  Blocks. */
enum err net_air_export(struct net *n, const struct net_air_opts *o,
    struct net_air_done *out, struct errmsg *em) PSC_MUST_USE;
/* Takes what is new in the file o->path; as often as one likes.  Nothing is
 * taken from a file that is not whole, or not for this node. */
enum err net_air_import(struct net *n, const struct net_air_opts *o,
    struct net_air_done *out, struct errmsg *em) PSC_MUST_USE;

/* --- emptying a hub: one look at whether it may go --- */
struct net_drain_opts {
	bool (*stop)(void *ctx);
	void *ctx;
};
struct net_drained {
	uint64_t chunks; /* here, that ops name; once an op */
	uint64_t alone;  /* of these nobody proved to hold */
	uint32_t behind; /* compartments with ops, level with nobody */
};
/* Blocks.  ERR_DENIED: this node is no hub. */
enum err net_drain(struct net *n, const struct net_drain_opts *o,
    struct net_drained *out, struct errmsg *em) PSC_MUST_USE;

/* Redial at once every peer that is not connected. */
void net_sync_now(struct net *n);

#endif
