/* store/catalog/remake.h: views made anew when ops stop counting.
 *
 * Ops that a membership record sets aside were applied already at some nodes.
 * Views are functions of the set of ops that count, so the way out is to make
 * those of the assets these ops speak of again: forget them, apply every op
 * that speaks of one of them and still counts, drop what nobody names.  The
 * result is that of a node which never saw the others (cat_hash).
 *
 *   note each op set aside; scan all ops of the compartment for
 *   cat_remake_hit; in one job: cat_remake_wipe, apply the hits (quiet, in
 *   any order), cat_remake_end. */
#ifndef PSC_CATALOG_REMAKE_H
#define PSC_CATALOG_REMAKE_H

#include "store/catalog/catalog.h"

struct cat_remake;

enum err cat_remake_new(struct cat_remake **out) PSC_MUST_USE;
void cat_remake_free(struct cat_remake *x); /* NULL ok */
/* A decrypted payload of this compartment, of a put or an edit.  One that
 * does not parse speaks of nothing. */
struct cat_remake_op {
	const struct cry_id *share;
	uint16_t compartment;
	bool edit;
	struct slice payload;
};
enum err cat_remake_note(
    struct cat_remake *x, const struct cat_remake_op *op) PSC_MUST_USE;
/* Does it speak of an asset that was noted? */
enum err cat_remake_hit(const struct cat_remake *x,
    const struct cat_remake_op *op, bool *hit) PSC_MUST_USE;
enum err cat_remake_wipe(
    struct store_txn *t, const struct cat_remake *x) PSC_MUST_USE;
enum err cat_remake_end(
    struct store_txn *t, const struct cat_remake *x) PSC_MUST_USE;
/* In a job: this op put no version any more. */
enum err cat_remake_unput(struct store_txn *t, uint64_t lseq) PSC_MUST_USE;
/* Ops of a compartment after lseq, in local order; fn as those of oplog.h. */
typedef int (*cat_remake_fn)(void *ctx, uint64_t lseq);
enum err cat_ops_each(struct db_txn *t, uint32_t share_no, uint16_t compartment,
    uint64_t after, cat_remake_fn fn, void *ctx) PSC_MUST_USE;

#endif
