/* node/app/home.h: a home's keys and store, as every verb that works without
 * a running node opens them. */
#ifndef PSC_APP_HOME_H
#define PSC_APP_HOME_H

#include "node/app/app.h"
#include "store/blob/store.h"

/* The identity, by the credential file or the passphrase.  ERR_NOTFOUND: not
 * initialised. */
enum err app_keys(const struct app_args *a, struct cry_identity *id,
    bool *unattended, struct errmsg *em) PSC_MUST_USE;

/* ERR_EXISTS: a restore into it was cut short, and nothing else can be done
 * with it. */
enum err app_home_whole(
    const struct app_args *a, struct errmsg *em) PSC_MUST_USE;

struct app_store {
	struct store_opts opts; /* holds keys: wipe it */
	char dir[APP_PATH_MAX];
};
void app_store_opts(const struct app_args *a, const struct conf *c,
    const struct cry_identity *id, struct app_store *out);

/* What the store found damaged, printed as it is found or kept for JSON. */
#define APP_BAD_MAX 1000u
struct app_bad {
	const struct app_args *a;
	uint64_t n;
	struct store_bad *list; /* the first APP_BAD_MAX; freed by _fini */
	bool progress;          /* a line of progress stands there */
	uint64_t shown;
	bool cut; /* the log ended in a commit that did not end */
};
void app_bad_note(void *ctx, const struct store_bad *bad); /* store_bad_fn */
void app_bad_cut(void *ctx, uint32_t seg, uint64_t off);
void app_bad_progress(void *ctx, uint64_t done, uint64_t bytes);
void app_bad_fini(struct app_bad *b);

/* rebuild.c: a new index from the log; the store's own old one is kept when
 * anything was damaged. */
enum err app_rebuild_store(const struct app_args *a, const struct conf *c,
    const struct cry_identity *id, struct app_bad *bad,
    struct errmsg *em) PSC_MUST_USE;
/* Opens the store as a node does and asks for its root hash. */
#define APP_ROOT_TEXT 64u /* hex */
enum err app_store_root(const struct app_args *a, const struct conf *c,
    const struct cry_identity *id, char root[APP_ROOT_TEXT + 1],
    struct store_stats *st, struct errmsg *em) PSC_MUST_USE;

#endif
