/* node/workdir/checkout.h: one check-out at work: what its files share. */
#ifndef PSC_WORKDIR_CHECKOUT_H
#define PSC_WORKDIR_CHECKOUT_H

#include "node/workdir/workdir_internal.h"

struct checkout {
	const struct workdir_env *env;
	const struct workdir_checkout_opts *o;
	const struct workdir_fns *fns;
	struct errmsg *em;
	int dir;
	struct wd_manifest m;
	struct workdir_ids ids;
	struct share_info *shares;
	uint32_t n_shares;
	struct wd_lock *locks; /* one an id, in their order */
	uint32_t n_wanted;
	bool locked; /* they are set: look no more */
	uint64_t files, bytes;
	struct checkout_job { /* the asset at hand */
		struct cat_asset a;
		struct content *content;
		char path[CONTENT_NAME_MAX + 1];
		int fd; /* of its folder; -1 */
		uint32_t written;
	} job;
};

/* names.c */
/* The folder it has in the manifest, or a new one: readable, clean, its own.
 * "SUBJECT_LEVEL_MODALITY_ID". */
enum err wd_folder_name(const struct checkout *k, struct db_txn *t,
    const struct cat_asset *a, char out[CONTENT_NAME_MAX + 1]) PSC_MUST_USE;
/* lock.c */
/* Who has the i-th asset, and shall this act take it? */
enum err wd_lock_plan(
    struct checkout *k, struct db_txn *t, uint32_t i) PSC_MUST_USE;
/* All that were planned, or none. */
enum err wd_lock_take(struct checkout *k) PSC_MUST_USE;

#endif
