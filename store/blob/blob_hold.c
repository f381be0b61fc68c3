/* store/blob/blob_hold.c: which chunks a manifest needs. */
#include "store/blob/blob_internal.h"
#include "store/blob/gc.h"

enum err
blob_manifest_hold(struct store *s, struct db_txn *t, struct slice manifest,
    store_hold_fn hold, void *ctx)
{
	struct blob_manifest m = { 0 };
	uint32_t i;
	enum err e;

	(void)s;
	(void)t;
	if (manifest.n == 0)
		return ERR_OK;
	e = blob_manifest_decode(manifest, &m);
	for (i = 0; e == ERR_OK && i < m.n; i++)
		e = hold(ctx, &m.e[i].cid);
	blob_manifest_fini(&m);
	return e;
}
