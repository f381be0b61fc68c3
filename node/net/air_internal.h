/* node/net/air_internal.h: the parts of the air gap: air_out.c writes files,
 * air_in.c reads them, air_link.c is the session a file has with the core,
 * air_told.c keeps what a reader said that it holds. */
#ifndef PSC_NET_AIR_INTERNAL_H
#define PSC_NET_AIR_INTERNAL_H

#include "node/net/net_internal.h"
#include "replication/air.h"
#include "replication/msg.h"

#define NET_TAG_AIR "air"
#define AIR_TOLD_BYTES_MAX (16 * MIB) /* of one peer; more costs only bytes */
#define AIR_WANTS_MAX 65536u          /* told in one file */
#define AIR_ASKS_MAX 1024u

/* --- air_told.c: what a peer said in its last file --- */
struct air_feed {
	struct feed_id id;
	uint64_t seq;
};
struct air_wish {
	struct cry_id cid;
	uint16_t compartment;
};
struct air_told { /* of one share */
	bool any;
	uint64_t chain_seq;
	struct air_feed *feed; /* by id */
	uint32_t n_feeds, cap_feeds;
	struct air_wish *wish;
	uint32_t n_wishes, cap_wishes;
};
enum err air_told_load(struct store *s, const struct cry_box_pk *peer,
    const struct share_id *share, struct air_told *out) PSC_MUST_USE;
void air_told_fini(struct air_told *t);
uint64_t air_told_seq(const struct air_told *t, const struct feed_id *f);
/* Rows to be: OPEN, FRONT and GET messages of one file. */
struct air_rows {
	struct buf bytes; /* {share 16, type u8, compartment u16, length u32,
			     value}* */
	uint32_t n;
	uint32_t wants;
};
void air_rows_add(
    struct air_rows *r, const struct share_id *share, const struct msg *m);
/* In place of all that this peer told before. */
enum err air_rows_keep(struct store *s, const struct cry_box_pk *peer,
    const struct air_rows *r) PSC_MUST_USE;

/* --- air_link.c: the session, in any one thread but the loop's --- */
struct air_ask {
	struct msg_tag tag; /* as the core sends it */
	uint16_t compartment;
	struct cry_id cid;
};
struct net_air {
	struct net *n;
	repl_conn conn; /* loop */
	struct cry_device_pub peer;
	uint8_t hash[64];
	bool (*stop)(void *ctx);
	void *stop_ctx;
	/* loop: owed to the core */
	uint32_t owed[SESS_CLASSES];
	bool due, ping;
	uint64_t ping_no;
	/* under box_lock */
	uint64_t used[SESS_CLASSES]; /* sent to the core, not given back */
	struct air_ask ask[AIR_ASKS_MAX];
	uint32_t ask_at, n_asks;
	const char *why; /* the core closed it; NULL: it did not */
};
/* ERR_BUSY: another file is at it. */
enum err air_link_open(struct net_air *a) PSC_MUST_USE;
void air_link_close(struct net_air *a);
/* Takes body.  ERR_DENIED: closed, a->why; ERR_CANCELLED: stop said so. */
enum err air_link_send(
    struct net_air *a, uint8_t type, struct buf *body) PSC_MUST_USE;
/* All that was sent has had its effect, also on disk. */
enum err air_link_flush(struct net_air *a) PSC_MUST_USE;
/* The next that the core asks for; waits up to ms.  ERR_TIMEOUT. */
enum err air_link_asked(
    struct net_air *a, uint32_t ms, struct air_ask *out) PSC_MUST_USE;

#endif
