/* replication/witness.h: what a member says, signed, that it has seen of a
 * compartment: its root, how much of its own it wrote, the chain, and whose
 * statements it heard (docs/protocol.md section 6).
 *
 * Latest-only per member and compartment; beside the log, in no root.  A pure
 * codec; who keeps and passes them on is witnesses.c. */
#ifndef PSC_REPLICATION_WITNESS_H
#define PSC_REPLICATION_WITNESS_H

#include "replication/op.h"

#define WITNESS_HEARD_MAX 64u
#define WITNESS_HEARD_BYTES 16u
#define WITNESS_BYTES_MIN 285u
#define WITNESS_BYTES_MAX                                                      \
	(WITNESS_BYTES_MIN + WITNESS_HEARD_MAX * WITNESS_HEARD_BYTES)
#define WITNESS_PUT_BACK 1u /* its author found that it was put back */

/* That the author holds statement `no` of the device whose key begins so. */
struct witness_heard {
	uint8_t device[8];
	uint64_t no;
};

struct witness {
	uint8_t flags;
	struct share_id share;
	uint16_t compartment;
	struct cry_sign_pk device; /* author */
	uint64_t no;               /* from 1; a later one is greater */
	uint64_t wall_ms;          /* shown, never decides */
	uint64_t chain_seq;
	struct cry_id chain_head;
	struct cry_id root;
	uint64_t ops;
	uint64_t own_ops; /* of all its feeds here */
	uint64_t incarnation, seq;
	struct cry_id head; /* of its own feed that holds most; or zero */
	uint8_t n_heard;
	struct witness_heard heard[WITNESS_HEARD_MAX];
};

/* All but the signature. */
void witness_encode(const struct witness *w, struct buf *out);
/* Sets the clock of an unsigned one, signs and completes it. */
enum err witness_sign(struct buf *bytes, uint64_t wall_ms,
    const struct cry_sign_sk *sk) PSC_MUST_USE;
/* Bounds and form; the signature is not looked at. */
enum err witness_decode(struct slice in, struct witness *out) PSC_MUST_USE;
enum err witness_verify(struct slice in, const struct witness *w) PSC_MUST_USE;
/* Of one author and compartment: `later` takes back what `earlier` said. */
bool witness_takes_back(
    const struct witness *earlier, const struct witness *later);

#endif
