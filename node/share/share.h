/* node/share/share.h: the shares this node takes part in: their keys, their
 * membership, writing ops into them and applying ops that arrived.
 *
 * The pure rules are in replication/; the bytes at rest in store/catalog.
 * This room joins the two.  Thread-safe: state is guarded by one mutex and
 * refreshed after commits.  Functions with a store_txn run in a job on the
 * writer thread; functions with an errmsg block until durable and must not be
 * called from the loop or the writer thread. */
#ifndef PSC_SHARE_SHARE_H
#define PSC_SHARE_SHARE_H

#include "replication/repl.h"
#include "store/catalog/catalog.h"
#include "store/catalog/edit.h"

struct shares;

struct shares_opts {
	struct store *store;
	const struct cry_identity *me; /* outlives it */
	const char *site;              /* name, sealed into grants */
};
/* Loads chains, keys (local rows, tag "ekey"), subscriptions, pending joins.
 * Opens a new incarnation for this start (rulings.md 24). */
enum err shares_open(const struct shares_opts *o, struct shares **out,
    struct errmsg *em) PSC_MUST_USE;
void shares_close(struct shares *sh); /* NULL ok */

/* In a rebuild of the store (store_rebuild_begin): indexes membership, feeds,
 * ops and heads from the log and applies the ops.  What damage took is told
 * by store_rebuild_bad(). */
enum err shares_rebuild(
    const struct shares_opts *o, struct errmsg *em) PSC_MUST_USE;

/* For struct store_owners: verify asks. */
enum err shares_rec_known(struct store *s, struct db_txn *t, enum rec_kind kind,
    const struct cry_id *id, struct slice body,
    const struct store_loc *loc) PSC_MUST_USE;

/* One hash over all that the store holds as t sees it: equal for a rebuilt
 * index and a restored backup. */
enum err shares_root(
    struct store *s, struct db_txn *t, struct cry_id *out) PSC_MUST_USE;

/* --- asking --- */
struct share_compartment {
	uint16_t no;
	char name[LIM_NAME_BYTES + 1]; /* "" at a hub */
	bool may_read, may_write, may_write_original;
	bool content; /* subscribed: content is fetched */
	bool pinned;
	bool lazy;   /* fetched when it is opened */
	char *where; /* what of it is kept; NULL: all.  Of share_info */
};
struct share_info {
	struct share_id id;
	uint32_t no;
	char name[LIM_NAME_BYTES + 1]; /* at a hub: "share-" + 8 of the id */
	bool pending;                  /* joined, but not granted yet */
	bool registrar;
	uint8_t k, n_registrars; /* so many of so many sign */
	bool hub;
	bool allow_identified;
	bool halted;   /* membership stands still: two records, one number */
	bool frozen;   /* this site is */
	bool revoked;  /* this site is */
	char role[16]; /* our widest role */
	uint32_t n_compartments;
	struct share_compartment *c; /* freed by share_info_fini */
};
void share_info_fini(struct share_info *i);
/* Snapshot of all shares. *list is freed by shares_list_free. */
enum err shares_list(
    struct shares *sh, struct share_info **list, uint32_t *n) PSC_MUST_USE;
void shares_list_free(struct share_info *list, uint32_t n);
/* By name or id prefix (>= 8 base32 characters). ERR_NOTFOUND with text. */
enum err shares_find(struct shares *sh, const char *name,
    struct share_info *out, struct errmsg *em) PSC_MUST_USE;
/* Compartment number by name; NULL name: the only one we may write. */
enum err share_compartment_find(const struct share_info *i, const char *name,
    uint16_t *no, struct errmsg *em) PSC_MUST_USE;

struct share_member_info {
	struct cry_device_pub device;
	char site[LIM_NAME_BYTES + 1];
	char role[16];
	char compartment[LIM_NAME_BYTES + 1]; /* "*" for all */
	bool frozen;
};
enum err shares_members(struct shares *sh, const struct share_id *id,
    struct share_member_info **list, uint32_t *n) PSC_MUST_USE;
void shares_members_free(struct share_member_info *list);
/* Of these, who may hold content of a compartment; each device once. */
enum err shares_holders(struct shares *sh, const struct share_id *id,
    uint16_t no, struct share_member_info **list, uint32_t *n) PSC_MUST_USE;

/* --- changing membership --- */
enum err shares_create(struct shares *sh, const char *name,
    const char *const *compartments, uint32_t n, bool allow_identified,
    struct errmsg *em) PSC_MUST_USE;
struct share_invite_opts {
	enum role role;
	const char *compartment; /* NULL: needed unless role is hub */
	uint64_t expires_in_s;
	bool approve;    /* a claim waits for shares_approve */
	bool no_history; /* what was written before stays closed */
	const struct invite_addr *addrs; /* where the share can be met */
	uint32_t n_addrs;
};
/* Text is appended to out; the invite is kept (local row "invite"). */
enum err shares_invite(struct shares *sh, const char *share,
    const struct share_invite_opts *o, struct buf *out,
    struct errmsg *em) PSC_MUST_USE;
/* Keeps the join (row "join") and hands its addresses to the caller (the
 * node adds them as peers). ERR_EXISTS: already a member. */
enum err shares_join(struct shares *sh, const char *invite_text,
    struct invite *out, struct errmsg *em) PSC_MUST_USE;
struct share_grant_opts {
	struct cry_device_pub device;
	enum role role;
	const char *compartment; /* NULL: needed unless the role is for all */
	bool no_history;         /* what was written before stays closed */
};
enum err shares_grant_with(struct shares *sh, const char *share,
    const struct share_grant_opts *o, struct errmsg *em) PSC_MUST_USE;
enum err shares_grant(struct shares *sh, const char *share,
    const struct cry_device_pub *device, enum role role,
    const char *compartment, struct errmsg *em) PSC_MUST_USE;
/* The device is out for good: its ops up to what we hold stand, and each
 * compartment that it could read gets new keys.  reason may be NULL. */
enum err shares_revoke(struct shares *sh, const char *share,
    const struct cry_device_pub *device, const char *reason,
    struct errmsg *em) PSC_MUST_USE;
/* What this node holds of a revoked device's writing counts after all. */
enum err shares_adopt(struct shares *sh, const char *share,
    const struct cry_device_pub *device, const char *reason,
    struct errmsg *em) PSC_MUST_USE;
/* What waits in one share: claims of invites that need approval, and drafts
 * of registrars that need signatures. */
struct share_request {
	char what[16];      /* "claim"; of a draft "grant", "revoke" ... */
	char signed_by[16]; /* of a draft: "1 of 2" */
	bool ours;          /* this site signed it */
	char id[33];        /* names it for shares_approve */
	struct cry_device_pub device;
	char site[LIM_NAME_BYTES + 1]; /* as the joiner says */
	char role[16];
	char compartment[LIM_NAME_BYTES + 1];
	char history[8];  /* of claim and grant: "all", "none" */
	bool widens;      /* the device holds it with history none */
	uint64_t wall_ms; /* when it came */
};
enum err shares_requests(struct shares *sh, const char *share,
    struct share_request **list, uint32_t *n, struct errmsg *em) PSC_MUST_USE;
void shares_requests_free(struct share_request *list);
enum share_answer {
	SHARE_YES,     /* grant what is claimed; sign a draft.  A claim that
			  would open to its device what a grant keeps closed
			  is refused (ERR_DENIED): shares_grant_with says so */
	SHARE_NO,      /* let a claim go and its invite with it */
	SHARE_INSTEAD, /* sign a draft though we signed another of its number:
			  if both get their signatures the chain halts */
};
/* id: at least 8 of its characters. */
enum err shares_approve(struct shares *sh, const char *share, const char *id,
    enum share_answer answer, struct errmsg *em) PSC_MUST_USE;
/* Who signs from now on, all of them, and how many must.  Each is a member. */
enum err shares_registrars(struct shares *sh, const char *share,
    const struct member_registrars *to, struct errmsg *em) PSC_MUST_USE;
/* At once, everywhere it is heard, until a registrar thaws or revokes it: the
 * device has no right, and what it writes is not taken.  For admins, too. */
enum err shares_freeze(struct shares *sh, const char *share,
    const struct cry_device_pub *device, const char *reason,
    struct errmsg *em) PSC_MUST_USE;
enum err shares_thaw(struct shares *sh, const char *share,
    const struct cry_device_pub *device, const char *reason,
    struct errmsg *em) PSC_MUST_USE;
/* Freezes and proofs that are kept, of one share. */
typedef int (*shares_statement_fn)(
    void *ctx, const struct share_id *share, struct slice bytes);
enum err shares_statements_each(struct shares *sh, const struct share_id *share,
    shares_statement_fn fn, void *ctx) PSC_MUST_USE;
/* In a job: one that a peer brought (RX_STATEMENT). */
enum err shares_put_statement(struct store_txn *t, struct shares *sh,
    const struct share_id *share, struct slice bytes) PSC_MUST_USE;
/* What a member said last that it holds (RX_WITNESS), one row each. */
struct share_witness {
	struct share_id share;
	uint16_t compartment;
	struct cry_sign_pk device;
	struct slice kept; /* the core's */
};
typedef int (*shares_witness_fn)(void *ctx, const struct share_witness *w);
enum err shares_witnesses_each(
    struct shares *sh, shares_witness_fn fn, void *ctx) PSC_MUST_USE;
enum err shares_put_witness(struct store_txn *t, const struct share_id *share,
    uint16_t compartment, const struct cry_sign_pk *device,
    struct slice kept) PSC_MUST_USE; /* in a job */
/* A share whose chain stands still: what there is to choose from. */
struct share_branch {
	char id[33];          /* of its last record */
	uint64_t first, last; /* records */
	char what[16];        /* the last one's kind */
	uint64_t wall_ms;
	bool here;          /* this node's chain */
	char signed_by[16]; /* "1 of 2": a checkpoint waits; "" */
};
enum err shares_branches(struct shares *sh, const char *share,
    struct share_branch **list, uint32_t *n, struct errmsg *em) PSC_MUST_USE;
void shares_branches_free(struct share_branch *list);
/* Signs that this branch holds (at least 8 characters of its id; "fork": what
 * is before the branches part, and none of them), by a registrar of the
 * fork.  instead: though this site signed for another.  *waits: for other
 * registrars' signatures. */
enum err shares_checkpoint(struct shares *sh, const char *share,
    const char *keep, bool instead, bool *waits,
    struct errmsg *em) PSC_MUST_USE;
/* If the chain has more checkpoints than these: the last as a branch, appended
 * to out. */
enum err shares_settled(struct shares *sh, const struct share_id *share,
    uint32_t era, struct buf *out) PSC_MUST_USE;
/* New keys for a compartment; NULL: for all. */
enum err shares_rotate(struct shares *sh, const char *share,
    const char *compartment, struct errmsg *em) PSC_MUST_USE;
/* Makes views follow what records said of ops that are here already, and
 * wants follow the selectors.  Blocks; bounded reads and jobs; stop, asked
 * between them, may be NULL.
 * What was left undone is done by the next call. */
enum err shares_settle(
    struct shares *sh, bool (*stop)(void *ctx), void *ctx) PSC_MUST_USE;
/* Is there something to settle? */
bool shares_unsettled(struct shares *sh);
/* Content of a compartment (NULL: every one we may read).  NONE: it is not
 * fetched, and what came from others goes with shares_evict; LAZY: it is
 * fetched when it is opened, and stays; PIN: as ALL, and NONE and LAZY are
 * refused (ERR_DENIED) until ALL was said. */
enum share_content { SHARE_NONE, SHARE_ALL, SHARE_PIN, SHARE_LAZY };
enum err shares_subscribe(struct shares *sh, const char *share,
    const char *compartment, enum share_content content,
    struct errmsg *em) PSC_MUST_USE;
/* As shares_subscribe, for the versions of assets that match a query (NULL:
 * of all); of the others nothing is fetched unless it is opened, and what came
 * goes with shares_evict.  Not with NONE; a pinned compartment is not narrowed
 * (ERR_DENIED).  Errors of the query name the column. */
enum err shares_subscribe_where(struct shares *sh, const char *share,
    const char *compartment, enum share_content content, const char *where,
    struct errmsg *em) PSC_MUST_USE;
/* Do enough others hold these chunks, proven now?  ERR_DENIED: not all of
 * them; ERR_TIMEOUT: nobody is there to ask.  Called with nothing held. */
typedef enum err (*share_proven_fn)(void *ctx, const struct share_id *share,
    uint16_t compartment, const struct cry_id *cid, uint32_t n);

/* Lets go of content that is not subscribed to.  What was written here stays,
 * and what its author can no longer give: it may be the only copy; and what
 * others do not prove to hold.  Bounded jobs. */
struct share_evict_opts {
	bool (*stop)(void *ctx); /* asked between jobs; NULL: never */
	void *ctx;
	share_proven_fn proven; /* NULL: nothing is asked */
	void *proven_ctx;
};
struct share_evicted {
	uint64_t versions; /* that were complete until now */
	uint64_t chunks;   /* references let go */
	uint64_t kept;     /* versions that nobody else proved to hold */
};
enum err shares_evict(struct shares *sh, const struct share_evict_opts *o,
    struct share_evicted *out) PSC_MUST_USE;

/* --- jobs --- */
/* A claim came from the network (RX_CLAIM): check the invite (known, unused,
 * not expired), write the grant record.  ERR_DENIED, ERR_EXISTS, ERR_AUTH. */
enum err shares_claim(struct store_txn *t, struct shares *sh,
    const struct share_id *share, struct slice claim) PSC_MUST_USE;
/* Membership records from peers, in order; seq 0 completes a join. */
enum err shares_put_member(struct store_txn *t, struct shares *sh,
    const struct share_id *share, uint64_t seq,
    struct slice record) PSC_MUST_USE;
/* Our own new version: writes the op to our feed, signs its head, applies it
 * to the catalog.  The content's batch was put by the same job before. */
enum err shares_append_put(struct store_txn *t, struct shares *sh,
    uint32_t share_no, uint16_t compartment, const struct cat_put *put,
    struct slice packing, struct asset_id *asset) PSC_MUST_USE;
/* Our own edit (store/catalog/edit.h), written and applied as above; what it
 * takes the place of is found here, as the transaction sees it.  Advisory lock:
 *   struct cat_edit e = { .kind = CAT_LOCK, .level = a.level, .key = a.key,
 *       .name = slice_str(actor), .until_ms = ..., .actor = actor,
 *       .site = site };
 *   shares_append_edit(t, sh, a.share_no, a.compartment, &e, &id);
 * ERR_DENIED: this site may not say this; ERR_MALFORMED: not an edit. */
enum err shares_append_edit(struct store_txn *t, struct shares *sh,
    uint32_t share_no, uint16_t compartment, const struct cat_edit *edit,
    struct asset_id *asset) PSC_MUST_USE;
/* A new version with the content of an earlier one (lseq of its op); no byte
 * of it moves.  ERR_DENIED, ERR_NOTFOUND: not the op of a version. */
enum err shares_append_again(struct store_txn *t, struct shares *sh,
    uint64_t lseq, const struct cat_again *by,
    struct asset_id *asset) PSC_MUST_USE;
/* Ops from a peer, verified by the core.  ERR_AGAIN: ops before these are
 * missing; ERR_DENIED: the author may not write there. */
enum err shares_put_ops(struct store_txn *t, struct shares *sh,
    const struct repl_ops *ops) PSC_MUST_USE;
/* A chunk that a member of the compartment sent, checked against its cid. */
enum err shares_put_chunk(struct store_txn *t, struct shares *sh,
    const struct share_id *share, uint16_t compartment,
    const struct cry_id *cid, struct slice bytes) PSC_MUST_USE;
/* A chunk whose bytes on disk are wrong: it is asked of peers again.  As
 * oplog_chunk_lost. */
enum err shares_chunk_lost(struct store_txn *t, struct shares *sh,
    const struct cry_id *cid, uint32_t *wanted) PSC_MUST_USE;
/* Decrypt an op we may read (provenance, show).  Appended to out. */
enum err shares_open_op(struct shares *sh, struct db_txn *t, uint64_t lseq,
    struct buf *out) PSC_MUST_USE;

/* --- for the network --- */
/* Called on the writer thread after a commit that changed something that
 * replication must know (new heads, records, joins, wants). */
typedef void (*shares_notice_fn)(void *ctx);
void shares_set_notice(struct shares *sh, shares_notice_fn fn, void *ctx);
/* Our feeds of this run: the incarnation opened at start. */
uint64_t shares_incarnation(const struct shares *sh);
/* Counts commits that may have added wants: scan again when it moved. */
uint64_t shares_wants_gen(const struct shares *sh);
/* Counts commits that dropped wants: what is asked for is told anew. */
uint64_t shares_drops_gen(const struct shares *sh);
/* What is wanted of a compartment's content; of a hub, ALL. */
enum share_content shares_content(
    struct shares *sh, const struct share_id *id, uint16_t no);
/* Pending joins, for RE_JOIN after start. */
typedef int (*shares_join_fn)(void *ctx, const struct share_id *share,
    const struct cry_sign_pk *registrar, struct slice claim);
enum err shares_joins_each(
    struct shares *sh, shares_join_fn fn, void *ctx) PSC_MUST_USE;

#endif
