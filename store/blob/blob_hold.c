/* store/blob/blob_hold.c: which chunks a manifest needs, and what they mean. */
#include "store/blob/blob_internal.h"
#include "store/blob/gc.h"
#include "store/blob/store_internal.h"

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

struct sounding {
	struct store *s;
	struct db_txn *t;
};

/* It may have been stored again since it was found damaged. */
static enum err
sound_chunk(void *ctx, const struct cry_id *cid)
{
	const struct sounding *x = ctx;
	struct buf c = BUF_MAX(STORE_BODY_MAX);
	enum err e;

	if (!blob_suspect(x->s, cid))
		return blob_chunk_have(x->t, cid);
	e = blob_chunk_get(x->s, x->t, cid, &c);
	buf_fini(&c);
	return e;
}

enum err
blob_manifest_sound(struct store *s, struct db_txn *t, struct slice manifest)
{
	struct sounding x = { s, t };
	enum err e = blob_manifest_hold(s, t, manifest, sound_chunk, &x);

	return e == ERR_NOTFOUND || e == ERR_AUTH ? ERR_CORRUPT : e;
}

/* --- learning --- */

struct learning {
	struct store_txn *t;
	struct blob_reader *r;
	bool proven;
};

/* Opened as who reads it would: what it says of its bytes is so. */
static enum err
entry_prove(struct learning *l, const struct blob_entry *e)
{
	struct buf out = BUF_MAX(LIM_PIECE_BYTES);
	enum err err = blob_reader_read(l->r, store_txn_db(l->t), e, &out);

	buf_wipe(&out);
	return err;
}

static enum err
learn_entry(void *ctx, const struct blob_entry *e, uint8_t depth)
{
	struct learning *l = ctx;
	struct blob_entry have;
	bool part = blob_entry_is_part(e);
	enum err err;

	(void)depth;
	if (part && !l->proven)
		return ERR_OK; /* what is shared has whole pieces */
	err = blob_pidx_get(store_txn_store(l->t), store_txn_db(l->t), &e->hp,
	    part ? BLOB_PIDX_PART : BLOB_PIDX_WHOLE, &have);
	cry_wipe(&have, sizeof(have));
	if (err == ERR_OK)
		return ERR_OK; /* found already */
	err = l->proven ? ERR_OK : entry_prove(l, e);
	if (err == ERR_OK)
		err = blob_entry_learn(l->t, e);
	/* Not here, or not what its author says it is. */
	return err == ERR_NOTFOUND || err == ERR_AUTH || err == ERR_CORRUPT
		   ? ERR_OK
		   : err;
}

enum err
blob_manifest_learn(struct store_txn *t, struct slice manifest, bool proven)
{
	struct learning l = { .t = t, .proven = proven };
	struct blob_manifest m = { 0 };
	enum err e;

	if (manifest.n == 0)
		return ERR_OK;
	if ((e = blob_manifest_decode(manifest, &m)) != ERR_OK)
		return e;
	l.r = blob_reader_new(store_txn_store(t));
	e = l.r == NULL
		? ERR_NOMEM
		: blob_reader_each(l.r, store_txn_db(t), &m, learn_entry, &l);
	blob_reader_free(l.r);
	blob_manifest_fini(&m);
	return e;
}
