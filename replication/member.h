/* replication/member.h: a share's membership: one signed hash chain, and
 * what it says about who may do what.  Pure.
 *
 * Records (docs/protocol.md section 6, rulings.md 19-22, 33): GENESIS POLICY
 * COMPARTMENT GRANT REVOKE ROTATE REGISTRARS HUB CHECKPOINT PURGE FREEZE THAW
 * ADOPT.  A record is clear only in keys, roles, compartment numbers, epochs
 * and cuts; texts are sealed under the share's name key, which grants seal to
 * every member that is not a hub. */
#ifndef PSC_REPLICATION_MEMBER_H
#define PSC_REPLICATION_MEMBER_H

#include "crypto/identity.h"
#include "replication/op.h"

enum role {
	ROLE_REGISTRAR = 1,
	ROLE_ADMIN = 2,
	ROLE_WRITER = 3,
	ROLE_RUNNER = 4, /* reads, writes derived versions only */
	ROLE_READER = 5,
	ROLE_AUDITOR = 6, /* metadata and logs */
	ROLE_HUB = 7,     /* ciphertext only, every compartment */
};
const char *role_text(enum role r); /* "writer" ...; "?" if unknown */
enum err role_parse(struct slice text, enum role *out) PSC_MUST_USE;

enum member_kind {
	MEMBER_GENESIS = 1,
	MEMBER_COMPARTMENT = 3,
	MEMBER_GRANT = 4,
	MEMBER_REVOKE = 5,
	MEMBER_ROTATE = 6,
	MEMBER_REGISTRARS = 7,
	MEMBER_CHECKPOINT = 9, /* which branch holds */
	MEMBER_FREEZE = 11,    /* a statement beside the chain */
	MEMBER_THAW = 12,
	MEMBER_ADOPT = 13,
	MEMBER_DRAFT = 14,  /* a statement: records that want signatures */
	MEMBER_BRANCH = 15, /* a statement: records of another branch */
};

#define COMPARTMENT_ALL 0xFFFFu /* grants of registrar, admin, hub */

struct member; /* the state after applying a chain */

/* Starts from the genesis record.  ERR_MALFORMED, ERR_AUTH. */
enum err member_new(struct slice genesis, struct member **out) PSC_MUST_USE;
void member_free(struct member *m); /* NULL ok */
/* Apply the next record: checks sequence, previous hash, signatures (k of n
 * registrars) and meaning; on any error the state is unchanged.
 * ERR_EXISTS: we have this very record, or a checkpoint told that it does not
 * hold; ERR_AGAIN: gap; ERR_DENIED: another record with this sequence number
 * (equivocation: keep both, halt). */
enum err member_apply(struct member *m, struct slice record) PSC_MUST_USE;

/* Share and number of a record as it says, unchecked: a chain is checked as
 * it is applied.  ERR_MALFORMED. */
enum err member_record_place(
    struct slice record, struct share_id *share, uint64_t *seq) PSC_MUST_USE;

/* Whom a REVOKE or ADOPT record is about.  ERR_MALFORMED: another kind. */
enum err member_record_device(
    struct slice record, struct cry_sign_pk *out) PSC_MUST_USE;

const struct share_id *member_share(const struct member *m);
uint64_t member_seq(const struct member *m); /* of the last record; genesis 0 */
const struct cry_id *member_head(const struct member *m); /* its hash */
/* Has our record of this number this hash? */
bool member_is_ours(
    const struct member *m, uint64_t seq, const struct cry_id *id);
/* Record i (0 = genesis) as it was signed; owned by m. */
struct slice member_record(const struct member *m, uint64_t i);

uint32_t member_n_compartments(const struct member *m);
/* The i-th compartment's number (1, 2, ...). */
uint16_t member_compartment(const struct member *m, uint32_t i);
uint32_t member_epoch(const struct member *m, uint16_t compartment);

struct member_grant {
	struct cry_device_pub device;
	enum role role;
	uint16_t compartment; /* or COMPARTMENT_ALL */
	bool no_history;      /* keys of this epoch and those to come, only */
};
/* Grants that stand; those of revoked devices are not among them. */
uint32_t member_n_grants(const struct member *m);
const struct member_grant *member_grant(const struct member *m, uint32_t i);
bool member_is_registrar(const struct member *m, const struct cry_sign_pk *d);
/* A record stands with the signatures of k of these n. */
#define MEMBER_REGISTRARS_MAX 16u
uint8_t member_k(const struct member *m);
uint8_t member_n_registrars(const struct member *m);
const struct cry_device_pub *member_registrar(
    const struct member *m, uint8_t i);
bool member_is_member(const struct member *m, const struct cry_sign_pk *d);
/* Is it granted with exactly these keys?  A certificate alone proves only
 * that some site root certified them, and anybody may make a root: who speaks
 * on a connection is a member only if site, signing and box key are those a
 * registrar granted. */
bool member_is_device(const struct member *m, const struct cry_device_pub *d);
/* May it be given this role beside those it has?  A hub has no other: it gets
 * no key. */
bool member_hub_alone(
    const struct member *m, const struct cry_sign_pk *d, enum role role);
/* A device with --history none would come to read what was before. */
bool member_grant_widens(const struct member *m, const struct member_grant *g);
/* May this device receive this compartment's ops (hubs: ciphertext)? */
bool member_may_receive(
    const struct member *m, const struct cry_sign_pk *d, uint16_t compartment);
/* May it be served the compartment's chunks? (not an auditor) */
bool member_may_fetch(
    const struct member *m, const struct cry_sign_pk *d, uint16_t compartment);
bool member_is_hub(const struct member *m, const struct cry_sign_pk *d);

/* --- frozen: no right but to be named, until thawed or revoked --- */
bool member_is_frozen(const struct member *m, const struct cry_sign_pk *d);
bool member_may_freeze(const struct member *m, const struct cry_sign_pk *d);
#define MEMBER_STATEMENT_MAX 1024u
/* A statement of an admin or registrar.  ERR_EXISTS: it is so; ERR_AGAIN: it
 * names a record we have not; ERR_DENIED: its author may not, or it was ended
 * since; ERR_AUTH, ERR_MALFORMED: it is none. */
enum err member_freeze(struct member *m, struct slice statement) PSC_MUST_USE;
bool member_is_statement(struct slice bytes); /* or else a record */

/* --- what of a device's feeds counts (rulings.md 17) --- */
bool member_is_revoked(const struct member *m, const struct cry_sign_pk *d);
/* Number of the record that revoked it; 0: none did. */
uint64_t member_revoked_by(const struct member *m, const struct cry_sign_pk *d);
struct member_cut {
	struct op_feed feed; /* of the device */
	struct op_head head; /* as it signed it; travels with the record */
};
enum member_feed {
	MEMBER_FEED_NONE, /* it never had the right to write there */
	MEMBER_FEED_OPEN, /* all of it, also what is to come */
	MEMBER_FEED_CUT,  /* up to *cut; seq 0: none of it */
	MEMBER_FEED_HELD, /* its device is frozen: nothing moves */
};
/* The same answer at every node with this chain: ops beyond the cut are set
 * aside wherever they are. */
enum member_feed member_feed(const struct member *m, const struct op_feed *f,
    struct op_head *cut) PSC_MUST_USE;
/* The i-th cut of a device: false after the last. */
bool member_cut_at(const struct member *m, const struct cry_sign_pk *d,
    uint32_t i, struct member_cut *out);
/* Grows with each record that changes an answer of member_feed. */
uint64_t member_feeds_gen(const struct member *m);
/* As member_may_* below, of what a device may or might before it was revoked:
 * for ops that its cut lets stand. */
bool member_might_write(
    const struct member *m, const struct cry_sign_pk *d, uint16_t compartment);
bool member_might_write_original(
    const struct member *m, const struct cry_sign_pk *d, uint16_t compartment);
bool member_might_admin(
    const struct member *m, const struct cry_sign_pk *d, uint16_t compartment);
/* May it hold the compartment's key? (never a hub) */
bool member_may_read(
    const struct member *m, const struct cry_sign_pk *d, uint16_t compartment);
/* May an op of this kind by this device stand?  derived: the op says it is a
 * derived version (runner). */
bool member_may_write(
    const struct member *m, const struct cry_sign_pk *d, uint16_t compartment);
bool member_may_write_original(
    const struct member *m, const struct cry_sign_pk *d, uint16_t compartment);
/* Registrar or admin, and somebody who writes ops there. */
bool member_may_admin(
    const struct member *m, const struct cry_sign_pk *d, uint16_t compartment);

/* --- keys and texts, for members that are not hubs --- */
#define MEMBER_KEYS_MAX 65536u
struct member_keys {
	struct cry_key name; /* opens sealed texts */
	uint32_t n, cap;
	struct member_epoch_key {
		uint16_t compartment;
		uint32_t epoch;
		struct cry_key content; /* E_e */
		struct cry_key ladder;  /* L_e; zero: no history before it */
	} * k;
};
void member_keys_fini(struct member_keys *k); /* wipes; zeroed is fine */
enum err member_keys_add(
    struct member_keys *k, const struct member_epoch_key *key) PSC_MUST_USE;
/* NULL: not there. */
const struct member_epoch_key *member_key(
    const struct member_keys *k, uint16_t compartment, uint32_t epoch);
/* Open what the chain seals to us, and what its ladder leads to; merges over
 * all records.  *out is zeroed or holds what an earlier call put there. */
enum err member_open_keys(const struct member *m,
    const struct cry_device_pub *me, const struct cry_box_sk *sk,
    struct member_keys *out) PSC_MUST_USE; /* ERR_NOTFOUND: nothing for us */
enum err member_share_name(const struct member *m, const struct cry_key *name,
    char out[LIM_NAME_BYTES + 1]) PSC_MUST_USE;
enum err member_compartment_name(const struct member *m, uint16_t compartment,
    const struct cry_key *name, char out[LIM_NAME_BYTES + 1]) PSC_MUST_USE;
/* The site name a grant carries, sealed. */
enum err member_grant_name(const struct member *m, uint32_t i,
    const struct cry_key *name, char out[LIM_NAME_BYTES + 1]) PSC_MUST_USE;

/* --- writing records (by a registrar) --- */
/* A fresh share: random name key and first registrar's own grant included
 * (role registrar, all compartments).  allow_identified: domain.md 12. */
enum err member_build_genesis(const struct cry_identity *me,
    const char *share_name, const char *site_name, bool allow_identified,
    struct buf *out) PSC_MUST_USE;
/* The next compartment with a random epoch-1 key, sealed to the registrar. */
enum err member_build_compartment(const struct member *m,
    const struct cry_identity *me, const struct member_keys *keys,
    const char *name, struct buf *out) PSC_MUST_USE;
/* The keys of each epoch that is current go with it, and the ladder below
 * them unless no_history; for a hub nothing is sealed. */
enum err member_build_grant(const struct member *m,
    const struct cry_identity *me, const struct member_keys *keys,
    const struct member_grant *grant, const char *site_name,
    struct buf *out) PSC_MUST_USE;
bool member_allow_identified(const struct member *m);
/* The device is out: what it wrote up to the cuts stands, nothing else does.
 * A feed without a cut counts for nothing. */
#define MEMBER_CUTS_MAX 1024u /* of one record */
struct member_revoke {
	struct cry_device_pub device;
	const struct member_cut *cuts;
	uint32_t n_cuts;
	const char *reason; /* at most LIM_NAME_BYTES bytes; sealed */
};
enum err member_build_revoke(const struct member *m,
    const struct cry_identity *me, const struct member_keys *keys,
    const struct member_revoke *v, struct buf *out) PSC_MUST_USE;
/* Lets ops of a revoked device stand that its cuts left out: the heads given
 * become its cuts.  A cut never goes back. */
enum err member_build_adopt(const struct member *m,
    const struct cry_identity *me, const struct member_keys *keys,
    const struct member_revoke *v, struct buf *out) PSC_MUST_USE;
struct member_freeze_opts {
	struct cry_sign_pk device;
	const char *reason; /* as of a revoke */
};
enum err member_build_freeze(const struct member *m,
    const struct cry_identity *me, const struct member_keys *keys,
    const struct member_freeze_opts *o, struct buf *out) PSC_MUST_USE;
enum err member_build_thaw(const struct member *m,
    const struct cry_identity *me, const struct member_keys *keys,
    const struct member_freeze_opts *o, struct buf *out) PSC_MUST_USE;
/* The next epoch of a compartment: a fresh key, sealed to all who may read it
 * now.  ERR_NOTFOUND: we do not hold the key there is. */
enum err member_build_rotate(const struct member *m,
    const struct cry_identity *me, const struct member_keys *keys,
    uint16_t compartment, struct buf *out) PSC_MUST_USE;

/* Who signs from the next record on.  Each is a member, and no hub; 2k > n, so
 * that two records with one number need a registrar that signed both. */
struct member_registrars {
	uint8_t k, n;
	struct cry_device_pub device[MEMBER_REGISTRARS_MAX];
};
enum err member_build_registrars(const struct member *m,
    const struct cry_identity *me, const struct member_keys *keys,
    const struct member_registrars *v, struct buf *out) PSC_MUST_USE;

/* --- drafts: records in a row, signed by one registrar each time --- */
/* Applies a record that one registrar signed at least: to see what records
 * would do, and to build the next.  Errors as of member_apply. */
enum err member_apply_draft(struct member *m, struct slice record) PSC_MUST_USE;
bool member_is_draft(struct slice bytes);
void member_draft_begin(struct buf *out);
void member_draft_add(struct buf *draft, struct slice record);
struct member_draft {
	struct cry_id id; /* hash of the last record */
	uint64_t seq;     /* of the first */
	uint8_t signer;   /* registrar's index */
	uint32_t n;
	enum member_kind kind;        /* of the first record, as the rest */
	struct cry_device_pub device; /* zero: it is of none */
	enum role role;               /* of a grant */
	uint16_t compartment;         /* of a grant, rotate; or 0 */
	bool no_history;              /* of a grant */
};
/* Continues our chain, each record signed by the same registrar; of one
 * decision: a revoke with its adopts and new keys, new keys, or one record.
 * What else the records mean is not looked at.  ERR_EXISTS: our chain is past
 * it; ERR_AGAIN: ours is behind it; ERR_DENIED: it grows on another branch;
 * ERR_AUTH, ERR_MALFORMED: it is none. */
enum err member_draft_read(const struct member *m, struct slice draft,
    struct member_draft *out) PSC_MUST_USE;
/* Would its records stand, with enough signatures?  It was read before.
 * ERR_MALFORMED and others: not. */
enum err member_draft_stands(
    const struct member *m, struct slice draft) PSC_MUST_USE;
/* The same draft signed by another registrar, appended. */
enum err member_draft_sign(const struct member *m,
    const struct cry_identity *me, struct slice draft,
    struct buf *out) PSC_MUST_USE;
/* Record i with the signatures of all these copies of one draft. */
enum err member_draft_join(const struct slice *drafts, uint32_t n, uint32_t i,
    struct buf *out) PSC_MUST_USE;

/* --- branches and checkpoints (rulings.md 21) --- */
/* Number of the last checkpoint, 0: none; how many there are. */
uint64_t member_settled(const struct member *m);
uint32_t member_era(const struct member *m);
/* Where the branches parted that the last checkpoint settled; 0: none. */
uint64_t member_branch_from(const struct member *m);
bool member_is_branch(struct slice bytes);
bool member_is_checkpoint(struct slice record);
/* A record's hash, and that of the record before it.  ERR_MALFORMED. */
enum err member_record_link(struct slice record, struct cry_id *id,
    struct cry_id *prev, uint32_t *era) PSC_MUST_USE;
struct member_branch {
	uint32_t n;           /* records */
	uint64_t first, last; /* their numbers */
	uint64_t fork;        /* of the first that is not ours */
	struct cry_id base;   /* the record before the first */
	struct cry_id head;   /* the last record it keeps */
	struct cry_id id;     /* the last record */
	enum member_kind kind;
	uint64_t wall_ms; /* of the last */
	bool checkpoint;  /* the last is one, and has n_sigs of k */
	bool orders;      /* it is one more than we know of */
	uint32_t era;
	uint8_t n_sigs, k;
};
/* Records in a row that grow on one of ours and are signed; of a checkpoint
 * at the end one signature is enough.  ERR_EXISTS: our chain has them, or told
 * since that they do not hold; ERR_AGAIN: it grows on what we have not. */
enum err member_branch_read(const struct member *m, struct slice branch,
    struct member_branch *out) PSC_MUST_USE;
/* The chain as a checkpoint has it, which is to take the place of ours:
 * without freezes.  ERR_NOTFOUND: it is a branch, but orders nothing;
 * ERR_DENIED: another checkpoint of that count is ours; ERR_UNSUPPORTED: it
 * would drop other registrars than those who signed it. */
enum err member_branch_take(const struct member *m, struct slice branch,
    struct member **out) PSC_MUST_USE;
/* Our records from this number on, as many as fit; open: with room for a
 * checkpoint. */
enum err member_branch_build(const struct member *m, uint64_t from, bool open,
    struct buf *out) PSC_MUST_USE;
/* Its record of this number.  ERR_NOTFOUND. */
enum err member_branch_at(
    struct slice branch, uint64_t seq, struct slice *out) PSC_MUST_USE;
/* One record as a branch.  ERR_AGAIN: it grows on none of ours. */
enum err member_branch_of(
    const struct member *m, struct slice record, struct buf *out) PSC_MUST_USE;
/* The state after our first n records, without freezes. */
enum err member_prefix(
    const struct member *m, uint64_t n, struct member **out) PSC_MUST_USE;
/* The branch (empty: what is before the fork) with a checkpoint that we sign.
 * ERR_DENIED: we are no registrar of the fork. */
enum err member_build_checkpoint(const struct member *m,
    const struct cry_identity *me, struct slice branch, uint64_t fork,
    struct buf *out) PSC_MUST_USE;
/* The same with our signature, too.  ERR_EXISTS: it has it. */
enum err member_checkpoint_sign(const struct member *m,
    const struct cry_identity *me, struct slice branch,
    struct buf *out) PSC_MUST_USE;
/* Two copies with signatures of both. */
enum err member_branch_join(
    struct slice one, struct slice other, struct buf *out) PSC_MUST_USE;

/* --- invites and claims (rulings.md 22) --- */
struct invite_addr {
	char host[128];
	uint16_t port;
	struct cry_box_pk key;
};
struct invite {
	struct share_id share;
	struct cry_sign_pk registrar; /* device key of the registrar */
	uint64_t expires_s;           /* unix time */
	uint8_t secret[16];
	uint32_t n_addrs;
	struct invite_addr addrs[4];
};
/* Hosts refuse claims on an expired invite; a clock is theirs. */
bool invite_expired(const struct invite *v, uint64_t now_s);
/* "psi1" + base32, with a check value. */
enum err invite_encode(const struct invite *v, struct buf *out) PSC_MUST_USE;
enum err invite_decode(struct slice text, struct invite *out) PSC_MUST_USE;
#define CLAIM_BYTES_MAX 512u
/* Public id of an invite: hash of its secret. */
struct invite_id {
	uint8_t b[16];
};
void invite_id(const struct invite *v, struct invite_id *out);
/* The joiner's claim: certificate, site name, authenticated and sealed by the
 * secret, so that the hub that carries it learns neither. */
enum err claim_build(const struct invite *v, const struct cry_identity *me,
    const char *site_name, struct buf *out) PSC_MUST_USE;
/* Which invite a claim is for (clear), to look up the secret. */
enum err claim_invite(struct slice claim, struct invite_id *out) PSC_MUST_USE;
enum err claim_open(struct slice claim, const struct invite *v,
    struct cry_device_pub *device,
    char site_name[LIM_NAME_BYTES + 1]) PSC_MUST_USE;

#endif
