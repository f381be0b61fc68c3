/* replication/member.h: a share's membership: one signed hash chain, and
 * what it says about who may do what.  Pure.
 *
 * Records (docs/protocol.md section 6, rulings.md 19-22, 33): GENESIS POLICY
 * COMPARTMENT GRANT REVOKE ROTATE REGISTRARS HUB CHECKPOINT PURGE FREEZE THAW
 * ADOPT; today GENESIS, COMPARTMENT and GRANT are written and accepted, in the
 * final k-of-n form with k = n = 1.  A record is clear only in keys, roles,
 * compartment numbers and epochs; texts are sealed under the share's name
 * key, which grants seal to every member that is not a hub. */
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
	MEMBER_GRANT = 4
};

#define COMPARTMENT_ALL 0xFFFFu /* grants of registrar, admin, hub */

struct member; /* the state after applying a chain */

/* Starts from the genesis record.  ERR_MALFORMED, ERR_AUTH. */
enum err member_new(struct slice genesis, struct member **out) PSC_MUST_USE;
void member_free(struct member *m); /* NULL ok */
/* Apply the next record: checks sequence, previous hash, signatures (k of n
 * registrars) and meaning; on any error the state is unchanged.
 * ERR_EXISTS: we have this very record; ERR_AGAIN: gap; ERR_DENIED: another
 * record with this sequence number (equivocation: keep both, halt). */
enum err member_apply(struct member *m, struct slice record) PSC_MUST_USE;

/* Share and number of a record as it says, unchecked: a chain is checked as
 * it is applied.  ERR_MALFORMED. */
enum err member_record_place(
    struct slice record, struct share_id *share, uint64_t *seq) PSC_MUST_USE;

const struct share_id *member_share(const struct member *m);
uint64_t member_seq(const struct member *m); /* of the last record; genesis 0 */
const struct cry_id *member_head(const struct member *m); /* its hash */
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
};
uint32_t member_n_grants(const struct member *m);
const struct member_grant *member_grant(const struct member *m, uint32_t i);
bool member_is_registrar(const struct member *m, const struct cry_sign_pk *d);
bool member_is_member(const struct member *m, const struct cry_sign_pk *d);
/* Is it granted with exactly these keys?  A certificate alone proves only
 * that some site root certified them, and anybody may make a root: who speaks
 * on a connection is a member only if site, signing and box key are those a
 * registrar granted. */
bool member_is_device(const struct member *m, const struct cry_device_pub *d);
/* May this device receive this compartment's ops (hubs: ciphertext)? */
bool member_may_receive(
    const struct member *m, const struct cry_sign_pk *d, uint16_t compartment);
/* May it be served the compartment's chunks? (not an auditor) */
bool member_may_fetch(
    const struct member *m, const struct cry_sign_pk *d, uint16_t compartment);
bool member_is_hub(const struct member *m, const struct cry_sign_pk *d);
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
struct member_keys {
	struct cry_key name; /* opens sealed texts */
	uint32_t n;
	struct member_epoch_key {
		uint16_t compartment;
		uint32_t epoch;
		struct cry_key content; /* E_e */
		struct cry_key ladder;  /* L_e */
	} k[LIM_COMPARTMENTS];
};
/* Open what the chain's grants seal to us; merges over all records. */
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
/* Grant with full history; for a hub nothing is sealed. */
enum err member_build_grant(const struct member *m,
    const struct cry_identity *me, const struct member_keys *keys,
    const struct member_grant *grant, const char *site_name,
    struct buf *out) PSC_MUST_USE;
bool member_allow_identified(const struct member *m);

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
