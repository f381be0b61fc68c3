/* replication/rbsr.h: where do two sorted sets differ?  (range-based set
 * reconciliation, Meyer 2023)
 *
 * Two ends hold items sorted by key.  One begins with fingerprints of ranges;
 * who gets a fingerprint that is not its own answers with those of smaller
 * ranges, or, where few items are left, with the items.  Ranges that agree
 * are passed over in silence, so bytes and rounds follow the difference.
 *
 * Pure: no state between messages, nothing is kept.  A liar can hide or
 * invent differences, never forge equality of what is decided elsewhere (the
 * root of a compartment). */
#ifndef PSC_REPLICATION_RBSR_H
#define PSC_REPLICATION_RBSR_H

#include "store/base/buf.h"
#include "store/base/err.h"
#include "store/base/slice.h"

#define RBSR_BRANCH 16u         /* a range is split into so many */
#define RBSR_LEAF 32u           /* so many items are sent as they are */
#define RBSR_RANGES_MAX 1024u   /* of one message */
#define RBSR_MESSAGE_MAX 20480u /* never RBSR_RANGES_MAX ranges */
#define RBSR_KEY_BYTES 16u

struct rbsr_item {
	uint8_t key[RBSR_KEY_BYTES];
	uint8_t val[16];
};

struct rbsr_set {
	const struct rbsr_item *items; /* strictly ascending by key */
	uint32_t n;
	struct slice salt; /* the same at both ends, new in each session */
};

/* One difference, seen from here: mine NULL: we lack it; theirs NULL: they
 * do; both: same key, other value. */
typedef void (*rbsr_diff_fn)(
    void *ctx, const struct rbsr_item *mine, const struct rbsr_item *theirs);

/* The first message: at most RBSR_MESSAGE_MAX bytes. */
void rbsr_begin(const struct rbsr_set *s, struct buf *out);
/* Reads a message; diff is called in the order of keys.  What is to be
 * answered is appended to out, at most RBSR_MESSAGE_MAX bytes; nothing: this
 * message needs no answer.  Errors as rd.h, ERR_MALFORMED; out and what diff
 * heard are void then. */
enum err rbsr_answer(const struct rbsr_set *s, struct slice in, struct buf *out,
    rbsr_diff_fn diff, void *ctx) PSC_MUST_USE;

#endif
