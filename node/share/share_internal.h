/* node/share/share_internal.h: shared inside the room.
 *
 * Each share is held twice.  `pub` is what is durable: the writer thread
 * moves it on after a commit, under the mutex, and everybody may read it.
 * `wrk` belongs to jobs on the writer thread: it follows the transaction they
 * see, and is checked against it before each use, so that a job or a batch
 * that was undone leaves no trace. */
#ifndef PSC_SHARE_INTERNAL_H
#define PSC_SHARE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "node/share/share.h"
#include "node/share/share_edit.h"
#include "store/base/mem.h"
#include "store/base/rd.h"

#define SHARE_TAG_KEY "ekey"        /* share, compartment, epoch -> keys */
#define SHARE_TAG_JOIN "join"       /* share -> registrar, claim */
#define SHARE_TAG_INVITE "invite"   /* share, invite id -> what it grants */
#define SHARE_TAG_SUB "sub"         /* share, compartment: content u8, query */
#define SHARE_TAG_REQUEST "request" /* share, invite id: who claims it */
#define SHARE_TAG_SAID "said"       /* share, hash: freeze, or proof */
#define SHARE_TAG_DRAFT "draft"     /* share, draft, signer: records */
#define SHARE_TAG_WITNESS "witness" /* share, compartment, device */
#define SHARE_TAG_LATE "late"       /* share, compartment, epoch: a new key */
#define SHARE_TAG_ASIDE "aside"     /* share, device: views to make anew */
#define SHARE_ROW_VERSION 1u
#define SHARE_KEY_MAX 64u
#define SHARE_SUB_MAX 8192u /* content u8, query */

/* A membership chain and the keys it gave us. */
struct share_state {
	struct member *m;
	bool halted;   /* two records with one number were signed */
	bool has_name; /* keys.name is known */
	struct member_keys keys;
	struct buf draft; /* of this job: m has its records */
	bool no_content[LIM_COMPARTMENTS + 1]; /* unsubscribed, by number */
	bool pinned[LIM_COMPARTMENTS + 1];
	bool lazy[LIM_COMPARTMENTS + 1];
	char *where[LIM_COMPARTMENTS + 1]; /* NULL: all of it */
};

struct share_slot {
	struct share_id id;
	uint32_t no;
	struct share_state *pub; /* NULL: nothing is durable yet */
	struct share_state *wrk; /* writer thread only; NULL: not loaded */
};

struct shares {
	struct store *store;
	const struct cry_identity *me;
	char site[LIM_NAME_BYTES + 1];
	uint64_t incarnation;
	_Atomic uint64_t wants_gen, drops_gen;
	/* Ops from here on are to be looked at by the selectors. */
	_Atomic uint64_t select_from;
	_Atomic bool selects; /* there is a selector */

	pthread_mutex_t settling; /* one shares_settle at a time */
	uint64_t select_edits;    /* under it: edits up to this op are seen */
	pthread_mutex_t lock;     /* slot (array, pub) and notice */
	struct share_slot **slot;
	uint32_t n, cap;
	shares_notice_fn notice;
	void *notice_ctx;

	/* writer thread: what the jobs since the last commit touched */
	bool touched;
	bool touched_members;
	bool touched_wants, touched_drops;
};

/* --- share_state.c --- */
void share_state_free(struct share_state *s); /* NULL ok */
/* Bring *s (NULL: load) up to what txn holds.  ERR_NOTFOUND: no chain. */
enum err share_state_sync(struct shares *sh, struct db_txn *txn,
    const struct share_slot *slot, struct share_state **s) PSC_MUST_USE;
/* Store the rows of keys that the chain gives us and that are not kept. */
enum err share_keys_keep(struct store_txn *t, struct shares *sh,
    const struct share_id *id, struct share_state *s) PSC_MUST_USE;
/* The rows of keys beyond those that the state `at` had move aside: of this
 * epoch another key may stand from now on.  share_open finds both. */
enum err share_keys_drop(struct store_txn *t, const struct share_id *id,
    const struct member *at, uint32_t era) PSC_MUST_USE;
/* Opens an op.  ERR_NOTFOUND: its key is not ours. */
enum err share_open(const struct share_state *s, uint16_t compartment,
    const struct op_view *v, struct buf *out) PSC_MUST_USE;
const struct member_epoch_key *share_key(const struct share_state *s,
    uint16_t compartment, uint32_t epoch); /* NULL: not ours */

/* --- share.c --- */
struct share_slot *share_slot_find(
    struct shares *sh, const struct share_id *id);
/* Finds or adds. */
enum err share_slot_add(struct shares *sh, const struct share_id *id,
    uint32_t no, struct share_slot **out) PSC_MUST_USE;
/* In a job: the share's working state, as the transaction sees it. */
enum err share_work(struct store_txn *t, struct shares *sh,
    const struct share_id *id, struct share_slot **out) PSC_MUST_USE;
enum err share_work_no(struct store_txn *t, struct shares *sh, uint32_t no,
    struct share_slot **out) PSC_MUST_USE;
struct cry_id share_cry_id(const struct share_id *id);
struct share_id share_id_of(const struct cry_id *id);

/* --- share_info.c --- */
/* "site-" and 8 characters: for those whose name we do not know. */
void share_id_name(
    const char *word, struct slice id, char out[LIM_NAME_BYTES + 1]);
/* The name, or "share-" and 8 characters of the id. */
void share_name(const struct share_state *s, const struct share_id *id,
    char out[LIM_NAME_BYTES + 1]);
void share_compartment_text(
    const struct share_state *s, uint16_t no, char out[LIM_NAME_BYTES + 1]);
bool share_is_hub(const struct shares *sh, const struct share_state *s);
/* Committed slot by name or id prefix; lock is held. */
enum err share_slot_named(struct shares *sh, const char *name,
    struct share_slot **out, struct errmsg *em) PSC_MUST_USE;
enum err share_name_check(
    const char *what, const char *name, struct errmsg *em) PSC_MUST_USE;

/* --- share_draft.c --- */
/* A record of our own: as share_record_put if our signature is enough; or it
 * becomes the next record of this job's draft. */
enum err share_record_own(struct store_txn *t, struct shares *sh,
    struct share_slot *slot, struct slice record,
    struct errmsg *em) PSC_MUST_USE;
/* A draft that a registrar signed; the records stand if that was the last. */
enum err share_draft_take(struct store_txn *t, struct shares *sh,
    const struct share_id *share, struct slice bytes) PSC_MUST_USE;
typedef enum err (*share_draft_fn)(
    void *ctx, const struct member_draft *d, struct slice bytes);
/* Those that continue the chain, ascending by name, then signer. */
enum err share_drafts_each(struct shares *sh, struct db_txn *txn,
    const struct share_id *id, const struct member *m, share_draft_fn fn,
    void *ctx) PSC_MUST_USE;
/* Signs the one whose name begins so.  ERR_NOTFOUND: there is none. */
enum err share_draft_approve(struct store_txn *t, struct shares *sh,
    const struct share_id *share, const char *name, bool instead,
    struct errmsg *em) PSC_MUST_USE;
/* Forgets drafts that do not continue this chain. */
enum err share_drafts_sweep(struct store_txn *t, struct shares *sh,
    const struct share_id *id, const struct member *m) PSC_MUST_USE;
const char *share_draft_word(enum member_kind kind);
void share_draft_name(const struct member_draft *d, char out[33]);

/* --- share_member.c --- */
/* Apply a record to the working state and put it. */
enum err share_record_put(struct store_txn *t, struct shares *sh,
    struct share_slot *slot, struct slice record) PSC_MUST_USE;
/* Compartment number for a grant of this role; NULL for roles of all. */
enum err share_grant_compartment(const struct share_state *s, enum role role,
    const char *name, uint16_t *no, struct errmsg *em) PSC_MUST_USE;
bool share_has_grant(const struct share_state *s, const struct member_grant *g);
/* A hub is nothing beside. */
enum err share_hub_check(const struct member *m, const struct member_grant *g,
    struct errmsg *em) PSC_MUST_USE;

/* --- share_invite.c --- */
/* Sign the grant that a claim asks for, or draft it. */
enum err share_claim_grant(struct store_txn *t, struct shares *sh,
    struct share_slot *slot, const struct member_grant *grant, const char *site,
    struct errmsg *em) PSC_MUST_USE;
/* The invite with this row key is good for nobody else from now on. */
enum err share_invite_spend(struct store_txn *t, struct slice key,
    const struct cry_sign_pk *by) PSC_MUST_USE;
/* --- share_request.c --- */
/* A claim waits for shares_approve.  ERR_EXISTS: it does so already;
 * ERR_DENIED: another device claimed the invite first. */
enum err share_request_put(struct store_txn *t, struct slice key,
    const struct member_grant *g, const char *site) PSC_MUST_USE;

/* --- share_checkpoint.c --- */
/* A branch that a peer brought: kept to choose from; one with a checkpoint
 * that is signed takes the place of the chain. */
enum err share_branch_take(struct store_txn *t, struct shares *sh,
    const struct share_id *share, struct slice bytes) PSC_MUST_USE;

/* --- share_freeze.c --- */
/* A row of what was said. */
enum err share_said_put(struct store_txn *t, struct shares *sh,
    const struct share_id *share, struct slice bytes) PSC_MUST_USE;
/* What was said beside the chain, into the state. */
enum err share_said_load(struct shares *sh, struct db_txn *txn,
    const struct share_id *id, struct share_state *s) PSC_MUST_USE;

/* --- share_aside.c --- */
/* In the job that put a revoke or an adopt record of this device: heads of
 * the cuts, and a row that shares_settle finds. */
enum err share_aside_mark(struct store_txn *t, struct shares *sh,
    struct share_slot *slot, const struct cry_sign_pk *device) PSC_MUST_USE;

/* --- share_late.c --- */
/* In the job that keeps a key: ops of its epoch may be here already. */
enum err share_late_mark(struct store_txn *t, const struct share_id *id,
    uint16_t no, uint32_t epoch) PSC_MUST_USE;
bool share_late_due(struct shares *sh);
/* Applies them.  Under the lock `settling`. */
enum err share_late_run(
    struct shares *sh, bool (*stop)(void *ctx), void *ctx) PSC_MUST_USE;

/* --- share_chunk.c --- */
/* Wants of chunks that are here; what becomes whole by that is complete. */
enum err share_wants_settle(
    struct store_txn *t, struct shares *sh) PSC_MUST_USE;

/* --- share_evict.c --- */
/* What is wanted of a compartment, as txn has it.  The query is appended to
 * where (nothing: all); NULL ok. */
enum err share_sub_get(struct shares *sh, struct db_txn *t,
    const struct share_id *id, uint16_t no, enum share_content *out,
    struct buf *where) PSC_MUST_USE;

/* --- share_select.c --- */
/* Does a selector keep the content of this op?  What this site cannot read
 * matches nothing. */
enum err share_selects(struct shares *sh, struct db_txn *t,
    const struct cat_query *q, uint64_t lseq, bool *out) PSC_MUST_USE;
/* Is a selector to look at ops? */
bool share_select_due(struct shares *sh);
/* Under the lock `settling`. */
enum err share_select_run(
    struct shares *sh, bool (*stop)(void *ctx), void *ctx) PSC_MUST_USE;
/* Rest as long as the last bounded piece of work took. */
void share_rest(uint64_t us);

/* --- share_chunk.c --- */
/* In a job: wants of one op; what becomes whole by that is complete. */
enum err share_want_op(
    struct store_txn *t, struct shares *sh, uint64_t lseq) PSC_MUST_USE;

/* --- row keys --- */
void share_row_key(struct buf *b, const struct share_id *id);

/* --- share_ops.c --- */
#define SHARE_PACKING_ITEM 36u /* of the store: cid 32, c_len u32 LE */
#define SHARE_OP_BYTES_MAX ((size_t)64 * MIB)
/* The store's view of a packing list: its items, without our header. */
enum err share_packing_items(
    struct slice packing, struct slice *out) PSC_MUST_USE;
/* Why an op by the owner of this feed may not stand; NULL: it may.  *content:
 * it carries some. */
const char *share_put_fault(const struct member *m, const struct op_feed *f,
    struct slice payload, bool *content);
/* ERR_NOMEM only: no memory is not the author's fault. */
enum err share_edit_fault(const struct member *m, const struct op_feed *f,
    struct slice payload, const char **fault) PSC_MUST_USE;
/* Content that its author made wrongly is an event, not a failure of ours. */
enum err share_content_complete(struct store_txn *t, const struct cat_origin *o,
    const struct asset_id *asset) PSC_MUST_USE;
/* In a rebuild: an op whose record lies at `at` is indexed and applied.  id:
 * what the record says; it must be the op's. */
enum err share_op_replay(struct store_txn *t, struct shares *sh,
    const struct cry_id *id, struct slice bytes, const struct store_loc *at,
    const struct cat_told *told) PSC_MUST_USE;
/* An op that is in the log is applied if it counts, without events. */
enum err share_op_again(struct store_txn *t, struct shares *sh, uint64_t lseq,
    const struct cat_told *told) PSC_MUST_USE;
/* An op that was set aside counts again: its content is wanted as that of
 * others. */
enum err share_op_back(
    struct store_txn *t, struct shares *sh, uint64_t lseq) PSC_MUST_USE;
/* An op that was kept unread is applied as if it came now. */
enum err share_op_late(struct store_txn *t, struct shares *sh, uint64_t lseq,
    const struct cat_told *told) PSC_MUST_USE;
/* Where an op comes from, read from its bytes. */
enum err share_origin(struct db_txn *txn, struct shares *sh, uint64_t lseq,
    struct cat_origin *out) PSC_MUST_USE;

/* --- share_act.c --- */
struct share_act {
	struct shares *sh;
	const struct share_by *by;
	struct cat_asset a; /* what it is about */
	struct cat_edit *e;
	uint32_t n, cap;
	struct errmsg *em;
	struct asset_id out;
};
enum err share_act_new(struct shares *sh, const struct share_by *by,
    struct errmsg *em, struct share_act **out) PSC_MUST_USE;
void share_act_free(struct share_act *act); /* NULL ok */
struct cat_place share_act_place(const struct share_act *act);
/* The asset, and whether its level permits the method. */
enum err share_act_load(struct share_act *act, const struct asset_id *id,
    const char *method) PSC_MUST_USE;
/* One more edit of the asset; what it borrows must live until the run. */
enum err share_act_add(struct share_act *act, enum cat_edit_kind kind,
    struct cat_edit **out) PSC_MUST_USE;
enum err share_act_job(struct store_txn *t, void *act) PSC_MUST_USE;
enum err share_act_run(struct share_act *act) PSC_MUST_USE;
enum err share_act_denied(const struct share_act *act) PSC_MUST_USE;
enum err share_act_name_bad(struct share_act *act, const char *what,
    struct slice name, const char *next) PSC_MUST_USE;

#endif
