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
	struct blob_found bases;  /* those of the manifest so far */
	struct blob_entry before; /* the piece before; raw_len 0: none */
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

/* e is not known: it is, with what stands around it. */
static enum err
entry_learn(struct learning *l, const struct blob_entry *e)
{
	struct blob_found f = { .e = *e };
	enum err err = l->proven ? ERR_OK : entry_prove(l, e);

	if (e->codec == BLOB_DELTA) {
		f = l->bases;
		f.e = *e;
	} else if (l->proven && !blob_entry_is_part(e) &&
		   l->before.raw_len > 0) {
		/* Not being able to say where it lies does no harm. */
		if (blob_place_of(
			store_txn_db(l->t), &l->before, &f.header[0]) != ERR_OK)
			f.header[0].raw_len = 0;
	}
	if (err == ERR_OK)
		err = blob_found_learn(l->t, &f, false);
	cry_wipe(&f, sizeof(f));
	return err;
}

static enum err
base_learn(struct learning *l, const struct blob_entry *e)
{
	if (!l->proven)
		return ERR_OK;
	if (l->bases.n_bases < BLOB_BASES_MAX)
		l->bases.base[l->bases.n_bases++] = *e;
	return blob_entry_learn(l->t, e);
}

static enum err
piece_learn(struct learning *l, const struct blob_entry *e)
{
	struct blob_entry have;
	bool part = blob_entry_is_part(e);
	enum err err;

	if (part && !l->proven)
		return ERR_OK; /* what is shared has whole pieces */
	err = blob_pidx_get(store_txn_store(l->t), store_txn_db(l->t), &e->hp,
	    part ? BLOB_PIDX_PART : BLOB_PIDX_WHOLE, &have);
	cry_wipe(&have, sizeof(have));
	return err == ERR_OK ? ERR_OK /* found already */ : entry_learn(l, e);
}

static enum err
learn_entry(void *ctx, const struct blob_entry *e, uint8_t depth)
{
	struct learning *l = ctx;
	enum err err =
	    blob_entry_is_base(e) ? base_learn(l, e) : piece_learn(l, e);

	l->before = (struct blob_entry){ 0 };
	if (depth == 0 && blob_entry_is_part(e) && !blob_entry_is_base(e))
		l->before = *e;
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
	cry_wipe(&l, sizeof(l));
	return e;
}
