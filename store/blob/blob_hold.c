/* store/blob/blob_hold.c: which chunks a manifest needs, and what they mean. */
#include "store/blob/blob_internal.h"
#include "store/blob/gc.h"

struct holding {
	store_hold_fn hold;
	void *ctx;
};

static enum err
hold_entry(void *ctx, const struct blob_entry *e, uint8_t depth)
{
	struct holding *h = ctx;

	(void)depth;
	return h->hold(h->ctx, &e->cid);
}

enum err
blob_manifest_hold(struct store *s, struct db_txn *t, struct slice manifest,
    store_hold_fn hold, void *ctx)
{
	struct holding h = { hold, ctx };
	struct blob_manifest m = { 0 };
	struct blob_reader *r;
	enum err e;

	if (manifest.n == 0)
		return ERR_OK;
	if ((e = blob_manifest_decode(manifest, &m)) != ERR_OK)
		return e;
	r = blob_reader_new(s); /* of inner manifests */
	e = r == NULL ? ERR_NOMEM : blob_reader_each(r, t, &m, hold_entry, &h);
	blob_reader_free(r);
	blob_manifest_fini(&m);
	return e;
}

/* --- learning --- */

static enum err
learn_entry(void *ctx, const struct blob_entry *e, uint8_t depth)
{
	enum err err = blob_entry_learn(ctx, e);

	(void)depth;
	return err == ERR_NOTFOUND ? ERR_OK : err; /* it is not here */
}

enum err
blob_manifest_learn(struct store_txn *t, struct slice manifest)
{
	struct blob_manifest m = { 0 };
	struct blob_reader *r;
	enum err e;

	if (manifest.n == 0)
		return ERR_OK;
	if ((e = blob_manifest_decode(manifest, &m)) != ERR_OK)
		return e;
	r = blob_reader_new(store_txn_store(t));
	e = r == NULL
		? ERR_NOMEM
		: blob_reader_each(r, store_txn_db(t), &m, learn_entry, t);
	blob_reader_free(r);
	blob_manifest_fini(&m);
	return e;
}
