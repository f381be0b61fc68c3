/* replication/member_internal.h: membership records taken apart; shared by
 * member_*.c, not for other rooms.  Layout: docs/protocol.md section 6. */
#ifndef PSC_REPLICATION_MEMBER_INTERNAL_H
#define PSC_REPLICATION_MEMBER_INTERNAL_H

#include "replication/member.h"
#include "store/base/rd.h"

#define MEMBER_VERSION 1u
#define MEMBER_SIG_DOMAIN "member.1"
#define MEMBER_SIGNERS_MAX MEMBER_REGISTRARS_MAX
/* A share's life: each record is a decision of a person. */
#define MEMBER_RECORDS_MAX 16384u
#define MEMBER_SEALS_MAX 1100u
#define MEMBER_SEALED_TEXT_MAX (CRY_NONCE_BYTES + 128u + CRY_TAG_BYTES)

/* The clear start of every record. */
struct member_record {
	uint8_t kind;
	uint16_t flags;
	struct share_id share; /* zero in the genesis */
	uint64_t seq;
	struct cry_id prev;
	uint64_t wall_ms;
	struct slice content;
	struct slice body; /* the signed bytes */
	uint8_t n_sigs;    /* signatures follow the body */
	struct slice sigs; /* n * {u8 signer, 64} */
	struct cry_id id;  /* hash of the body */
};

#define GENESIS_IDENTIFIED 1u /* policy bit: identified data allowed */

struct genesis {
	uint8_t policy;
	uint8_t k, n;
	struct cry_device_pub registrar[MEMBER_SIGNERS_MAX];
	struct slice share_name; /* sealed */
	struct slice site_name;  /* sealed, of registrar 0 */
	struct slice seals;
};

struct compartment_rec {
	uint16_t number;
	uint32_t epoch;
	struct slice name;
	struct slice seals;
};

struct grant_rec {
	struct cry_device_pub device;
	uint8_t role;
	uint16_t compartment;
	bool no_history;
	struct slice site_name;
	struct slice seals;
};

#define CUT_BYTES (2u + 8u + OP_HEAD_BYTES)
#define CUTS_TOTAL_MAX 65536u /* of a share */
/* revoke, adopt */
struct revoke_rec {
	struct cry_device_pub device;
	uint16_t n;
	struct slice cuts; /* n * {compartment, incarnation, head} */
	struct slice reason;
};

#define LADDER_BYTES (CRY_NONCE_BYTES + 64u + CRY_TAG_BYTES)
struct rotate_rec {
	uint16_t compartment;
	uint32_t epoch;      /* the new one */
	struct slice ladder; /* the former keys under the new ladder key */
	struct slice seals;
};

struct registrars_rec {
	struct member_registrars to;
	struct slice seals;
};

/* One key sealed to one box key. */
struct seal_rec {
	struct cry_box_pk to;
	struct slice box;
};

enum err record_decode(struct slice in, struct member_record *out) PSC_MUST_USE;
enum err genesis_decode(struct slice content, struct genesis *out) PSC_MUST_USE;
enum err compartment_decode(
    struct slice content, struct compartment_rec *out) PSC_MUST_USE;
enum err grant_decode(struct slice content, struct grant_rec *out) PSC_MUST_USE;
enum err revoke_decode(
    struct slice content, struct revoke_rec *out) PSC_MUST_USE;
enum err registrars_decode(
    struct slice content, struct registrars_rec *out) PSC_MUST_USE;
enum err rotate_decode(
    struct slice content, struct rotate_rec *out) PSC_MUST_USE;
void cut_read(struct rd *r, const struct share_id *share,
    const struct cry_sign_pk *device, struct member_cut *out);
void cut_write(const struct member_cut *c, struct buf *out);
/* The seals of any known record; empty for others. */
enum err record_seals(
    const struct member_record *r, struct slice *out) PSC_MUST_USE;
/* Walk a checked seals field: false at the end. */
bool seals_next(struct rd *r, struct seal_rec *out);

/* Clear start up to and without the content. */
void record_begin(const struct member_record *r, struct buf *out);
/* Append content with its length, then one signature by this signer. */
enum err record_finish(struct buf *out, struct slice content, uint8_t signer,
    const struct cry_sign_sk *sk) PSC_MUST_USE;
/* Texts, sealed under the name key, length hidden below 64 characters. */
void text_seal(const struct cry_key *name, const char *text, struct buf *out);
enum err text_open(const struct cry_key *name, struct slice sealed,
    char out[LIM_NAME_BYTES + 1]) PSC_MUST_USE;
void device_get(struct rd *r, struct cry_device_pub *d);
bool name_ok(const char *s); /* 1 to LIM_NAME_BYTES bytes, no control */

/* The content of a seal. */
void keys_encode(
    const struct share_id *share, const struct member_keys *k, struct buf *out);
enum err keys_decode(struct slice in, const struct share_id *share,
    struct member_keys *out) PSC_MUST_USE;

/* Ladder of an epoch: the keys of the one before it. */
enum err ladder_seal(const struct share_id *share,
    const struct member_epoch_key *now, const struct member_epoch_key *before,
    struct buf *out) PSC_MUST_USE;
enum err ladder_open(const struct share_id *share,
    const struct member_epoch_key *now, struct slice sealed,
    struct member_epoch_key *before) PSC_MUST_USE;

/* May this grant be made as the chain stands? */
enum err member_grant_check(
    const struct member *m, const struct member_grant *g) PSC_MUST_USE;

struct compartment_state {
	uint16_t number;
	uint32_t epoch;
	uint32_t record;
};

struct member {
	struct share_id share;
	bool identified;
	struct registrar_set {
		uint64_t from; /* the first record they sign */
		struct member_registrars r;
	} * sets;
	uint32_t n_sets, cap_sets;
	struct record_bytes {
		uint8_t *p;
		size_t n;
		struct cry_id id;
	} * records;
	uint32_t n_records, cap_records;
	struct compartment_state compartments[LIM_COMPARTMENTS];
	uint32_t n_compartments;
	struct grant_state {
		struct member_grant g;
		uint32_t record;
	} * grants;
	uint32_t n_grants, cap_grants;
	struct grant_state *past; /* of revoked devices */
	uint32_t n_past, cap_past;
	struct revoked_state {
		struct cry_sign_pk device;
		uint64_t seq; /* of the record */
	} * revoked;
	uint32_t n_revoked, cap_revoked;
	struct member_cut *cuts;
	uint32_t n_cuts, cap_cuts;
	uint64_t feeds_gen;
	struct freeze_state {
		struct cry_sign_pk device, by;
		uint64_t seq; /* named by the freeze; of the thaw */
	} * freezes, *thaws;
	uint32_t n_freezes, cap_freezes, n_thaws, cap_thaws;
	struct unheld_state {
		struct cry_sign_pk by; /* might freeze before this record */
		uint64_t seq;
	} * unheld;
	uint32_t n_unheld, cap_unheld;
	uint32_t era;     /* checkpoints so far */
	uint64_t settled; /* number of the last; 0: none */
};

/* --- member.c, for member_revoke.c --- */
enum err member_record_add(struct member *m, const struct member_record *r,
    struct slice raw) PSC_MUST_USE;
/* Room for more elements; p is left as it is on error. */
enum err member_room(void *p, uint32_t n, uint32_t more, uint32_t *cap,
    size_t size) PSC_MUST_USE;
bool same_sign(const struct cry_sign_pk *a, const struct cry_sign_pk *b);
struct compartment_state *compartment_find(struct member *m, uint16_t no);
/* --- member_registrars.c --- */
enum err registrars_set(struct member *m, uint64_t from,
    const struct member_registrars *r) PSC_MUST_USE;
/* Those who sign this record. */
const struct member_registrars *registrars_at(
    const struct member *m, uint64_t seq);
enum err apply_registrars(struct member *m, const struct member_record *r,
    struct slice raw) PSC_MUST_USE;
/* --- member_checkpoint.c --- */
enum err checkpoint_signed(const struct member *m,
    const struct member_record *r, uint8_t need) PSC_MUST_USE;
enum err apply_checkpoint(struct member *m, const struct member_record *r,
    struct slice raw) PSC_MUST_USE;
/* Proves that of one count there are two. */
bool checkpoint_other(const struct member *m, const struct member_record *r);
/* member.c: a record that was checked before. */
enum err member_apply_known(struct member *m, struct slice record) PSC_MUST_USE;
/* --- member_revoke.c --- */
enum err apply_revoke(struct member *m, const struct member_record *r,
    struct slice raw) PSC_MUST_USE;
enum err apply_adopt(struct member *m, const struct member_record *r,
    struct slice raw) PSC_MUST_USE;
enum err apply_rotate(struct member *m, const struct member_record *r,
    struct slice raw) PSC_MUST_USE;
/* --- member_freeze.c --- */
enum err apply_thaw(struct member *m, const struct member_record *r,
    struct slice raw) PSC_MUST_USE;
void freezes_end(struct member *m, const struct cry_sign_pk *device);
/* As a thaw by this record does.  Room was made in m->thaws. */
void freezes_thaw(
    struct member *m, const struct cry_sign_pk *device, uint64_t seq);
/* Those whose author may freeze no more, as they are refused from then on,
 * also if it may again one day. */
void freezes_end_unheld(struct member *m);
/* --- member_build.c, for member_build_more.c --- */
struct seals { /* under construction: count first, patched at the end */
	struct buf body;
	uint16_t n;
};
enum err seals_add(struct seals *s, const struct share_id *share,
    const struct cry_box_pk *to, const struct member_keys *keys) PSC_MUST_USE;
void seals_put(const struct seals *s, struct buf *out);
enum err seals_own(struct seals *s, const struct share_id *share,
    const struct cry_identity *me, const struct member_keys *keys) PSC_MUST_USE;
/* What a grant hands over, sealed to its device. */
enum err grant_seal(struct seals *s, const struct member *m,
    const struct member_keys *keys, const struct member_grant *g) PSC_MUST_USE;
struct member_record next_record(const struct member *m, enum member_kind kind);
void device_put(struct buf *b, const struct cry_device_pub *d);
enum err build_finish(const struct member *m, struct member_record *r,
    struct buf *content, const struct cry_identity *me,
    struct buf *out) PSC_MUST_USE;

#endif
