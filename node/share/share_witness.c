/* node/share/share_witness.c: what members said that they hold: a row for
 * each member of a compartment, as the replication core wants it kept
 * (replication/witnesses.c).  A row of its own that is lost would look like a
 * node that was put back: rows are part of the log and survive a rebuild. */
#include "node/share/share_internal.h"

static void
row_key(struct buf *key, const struct share_id *share, uint16_t compartment,
    const struct cry_sign_pk *device)
{
	share_row_key(key, share);
	buf_u16(key, compartment);
	buf_put(key, device->b, 16);
}

enum err
shares_put_witness(struct store_txn *t, const struct share_id *share,
    uint16_t compartment, const struct cry_sign_pk *device, struct slice kept)
{
	struct buf key, val = BUF_MAX(16 * KIB);
	enum err e;

	row_key(&key, share, compartment, device);
	buf_u8(&val, SHARE_ROW_VERSION);
	buf_put(&val, device->b, sizeof(device->b)); /* whole */
	buf_put_slice(&val, kept);
	e = buf_err(&key) != ERR_OK ? buf_err(&key) : buf_err(&val);
	if (e == ERR_OK)
		e = store_row_put(
		    t, SHARE_TAG_WITNESS, buf_slice(&key), buf_slice(&val));
	buf_fini(&key);
	buf_fini(&val);
	return e;
}

struct walk {
	shares_witness_fn fn;
	void *ctx;
};

static int
walk_row(void *ctx, struct slice key, struct slice value)
{
	struct walk *w = ctx;
	struct rd rk = rd_init(key), r = rd_init(value);
	struct share_witness row;

	rd_copy(&rk, row.share.b, sizeof(row.share.b));
	row.compartment = rd_u16(&rk);
	if (rd_u8(&r) != SHARE_ROW_VERSION)
		rd_fail(&r, ERR_UNSUPPORTED);
	rd_copy(&r, row.device.b, sizeof(row.device.b));
	row.kept = rd_rest(&r);
	if (rk.err != ERR_OK || r.err != ERR_OK)
		return ERR_CORRUPT;
	return w->fn(w->ctx, &row);
}

enum err
shares_witnesses_each(struct shares *sh, shares_witness_fn fn, void *ctx)
{
	struct walk w = { fn, ctx };
	struct db_txn *txn = NULL;
	enum err e = store_read(sh->store, &txn);
	int rc = 0;

	if (e == ERR_OK)
		rc = (int)store_row_each(sh->store, txn, SHARE_TAG_WITNESS,
		    (struct slice){ 0 }, walk_row, &w);
	db_abort(txn);
	return rc < 0 ? (enum err)rc : e;
}
