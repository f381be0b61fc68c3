/* node/share/share_chunk.c: content arrives.
 *
 * The last missing chunk of a version makes it complete; hubs have no
 * versions, only ops, and stop at the first question. */
#include "node/share/share_internal.h"

struct done_ops {
	uint64_t *v;
	uint32_t n, cap;
	enum err e;
};

static void
done_add(void *ctx, uint64_t lseq)
{
	struct done_ops *d = ctx;
	uint64_t *v;

	if (d->n == d->cap) {
		v = mem_grow(d->v, d->cap + 16, sizeof(*v));
		if (v == NULL) {
			d->e = ERR_NOMEM;
			return;
		}
		d->v = v;
		d->cap += 16;
	}
	d->v[d->n++] = lseq;
}

static enum err
chunk_complete(struct store_txn *t, struct shares *sh, uint64_t lseq)
{
	struct cat_origin o;
	struct asset_id asset;
	enum err e;

	e = cat_asset_of_op(store_txn_db(t), lseq, &asset);
	if (e == ERR_NOTFOUND)
		return ERR_OK; /* a hub, or an op set aside */
	if (e == ERR_OK)
		e = share_origin(store_txn_db(t), sh, lseq, &o);
	if (e == ERR_OK)
		e = share_content_complete(t, &o, &asset);
	return e;
}

enum err
/* NOLINTNEXTLINE(readability-function-size): one act, six inputs */
shares_put_chunk(struct store_txn *t, struct shares *sh,
    const struct share_id *share, uint16_t compartment,
    const struct cry_id *cid, struct slice bytes)
{
	struct oplog_arrival a = {
		.compartment = compartment, .cid = *cid, .ciphertext = bytes
	};
	struct done_ops d = { .e = ERR_OK };
	struct cry_id id = share_cry_id(share);
	uint32_t i;
	enum err e = oplog_share_no(store_txn_db(t), &id, &a.share);

	if (e == ERR_OK)
		e = oplog_chunk_put(t, &a, done_add, &d);
	if (e == ERR_OK)
		e = d.e;
	for (i = 0; e == ERR_OK && i < d.n; i++)
		e = chunk_complete(t, sh, d.v[i]);
	sh->touched |= d.n > 0;
	sh->touched_wants |= a.more; /* the core has dropped its want */
	mem_free(d.v);
	return e;
}

enum err
share_wants_settle(struct store_txn *t, struct shares *sh)
{
	struct done_ops d = { .e = ERR_OK };
	uint32_t i;
	enum err e = oplog_wants_settle(t, done_add, &d);

	if (e == ERR_OK)
		e = d.e;
	for (i = 0; e == ERR_OK && i < d.n; i++)
		e = chunk_complete(t, sh, d.v[i]);
	mem_free(d.v);
	return e;
}

enum err
share_want_op(struct store_txn *t, struct shares *sh, uint64_t lseq)
{
	struct done_ops d = { .e = ERR_OK };
	uint32_t i;
	enum err e = oplog_want_op(t, lseq, done_add, &d);

	if (e == ERR_OK)
		e = d.e;
	for (i = 0; e == ERR_OK && i < d.n; i++)
		e = chunk_complete(t, sh, d.v[i]);
	mem_free(d.v);
	return e;
}

enum err
shares_chunk_lost(struct store_txn *t, struct shares *sh,
    const struct cry_id *cid, uint32_t *wanted)
{
	enum err e = oplog_chunk_lost(t, cid, wanted);

	if (e == ERR_OK && *wanted > 0)
		sh->touched = sh->touched_wants = true;
	return e;
}
