/* node/share/share_late.c: ops that were kept and could not be read, when
 * their key comes at last.
 *
 * A key that is new here leaves a row (share_late_mark): ops of its epoch may
 * lie in the log, passed over when they came.  shares_settle takes it up:
 * the compartment is looked through in short reads, and what has that epoch
 * is applied as on arrival, events and all, in jobs of a few ops; then the row
 * goes.  Failure modes: stopped or failed, the row stays and the next call
 * begins again; applying an op twice changes nothing and tells nothing. */
#include "node/share/share_internal.h"

#include "store/catalog/remake.h"

#define OPS_A_READ 1000u
#define OPS_A_JOB 64u

struct late {
	struct shares *sh;
	struct share_id id;
	uint16_t no;
	uint32_t epoch;
	bool found; /* a row */
	struct cat_told *told;
	struct db_txn *txn;
	uint64_t at; /* ops up to here were looked at */
	uint32_t left;
	uint64_t op[OPS_A_JOB];
	uint32_t n;
};

static enum err
row_key(struct buf *key, const struct share_id *id, uint16_t no, uint32_t epoch)
{
	share_row_key(key, id);
	buf_u16(key, no);
	buf_u32(key, epoch);
	return buf_err(key);
}

enum err
share_late_mark(
    struct store_txn *t, const struct share_id *id, uint16_t no, uint32_t epoch)
{
	static const uint8_t version = SHARE_ROW_VERSION;
	struct buf key;
	enum err e = row_key(&key, id, no, epoch);

	if (e == ERR_OK)
		e = store_row_put(
		    t, SHARE_TAG_LATE, buf_slice(&key), slice_of(&version, 1));
	buf_fini(&key);
	return e;
}

/* --- looking through the log --- */

static int
look_one(void *ctx, uint64_t lseq)
{
	struct late *x = ctx;
	struct buf op = BUF_MAX(SHARE_OP_BYTES_MAX);
	struct op_view *v = mem_new(sizeof(*v));
	enum err e = v == NULL ? ERR_NOMEM : ERR_OK;

	if (e == ERR_OK)
		e = oplog_op_get_lseq(x->sh->store, x->txn, lseq, &op);
	if (e == ERR_OK)
		e = op_decode(buf_slice(&op), v);
	if (e == ERR_OK && v->h.epoch == x->epoch)
		x->op[x->n++] = lseq;
	mem_free(v);
	buf_fini(&op);
	if (e != ERR_OK)
		return e;
	x->at = lseq;
	return --x->left == 0 || x->n == OPS_A_JOB;
}

static enum err
apply_job(struct store_txn *t, void *ctx)
{
	struct late *x = ctx;
	enum err e = ERR_OK;

	for (uint32_t i = 0; i < x->n && e == ERR_OK; i++)
		e = share_op_late(t, x->sh, x->op[i], x->told);
	x->sh->touched = true;
	return e;
}

static enum err
done_job(struct store_txn *t, void *ctx)
{
	struct late *x = ctx;
	struct buf key;
	enum err e = row_key(&key, &x->id, x->no, x->epoch);

	if (e == ERR_OK)
		e = store_row_del(t, SHARE_TAG_LATE, buf_slice(&key));
	buf_fini(&key);
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

static enum err
late_begin(struct late *x, uint32_t *share_no)
{
	struct cry_id id = share_cry_id(&x->id);
	struct db_txn *txn = NULL;
	enum err e = store_read(x->sh->store, &txn);

	if (e == ERR_OK)
		e = oplog_share_no(txn, &id, share_no);
	if (e == ERR_OK)
		e = cat_told_load(x->sh->store, txn, &x->told);
	db_abort(txn);
	return e;
}

static enum err
late_key(struct late *x, bool (*stop)(void *ctx), void *ctx)
{
	uint32_t share_no = 0;
	enum err e = late_begin(x, &share_no);

	do {
		x->n = 0;
		x->left = OPS_A_READ;
		if (e == ERR_OK)
			e = store_read(x->sh->store, &x->txn);
		if (e != ERR_OK)
			break;
		e = cat_ops_each(x->txn, share_no, x->no, x->at, look_one, x);
		db_abort(x->txn);
		if (e == ERR_OK && x->n > 0)
			e = store_write(x->sh->store, apply_job, x);
		if (e == ERR_OK && stop != NULL && stop(ctx))
			e = ERR_CANCELLED;
	} while (e == ERR_OK && (x->left == 0 || x->n == OPS_A_JOB));
	return e == ERR_OK ? store_write(x->sh->store, done_job, x) : e;
}

/* --- rows --- */

static int
row_take(void *ctx, struct slice key, struct slice value)
{
	struct late *x = ctx;
	struct rd r = rd_init(key);

	(void)value;
	rd_copy(&r, x->id.b, sizeof(x->id.b));
	x->no = rd_u16(&r);
	x->epoch = rd_u32(&r);
	x->found = true;
	return rd_end(&r) == ERR_OK ? 1 : ERR_CORRUPT;
}

static enum err
row_next(struct late *x)
{
	struct db_txn *txn = NULL;
	enum err e = store_read(x->sh->store, &txn);
	int rc;

	if (e != ERR_OK)
		return e;
	rc = (int)store_row_each(x->sh->store, txn, SHARE_TAG_LATE,
	    (struct slice){ 0 }, row_take, x);
	db_abort(txn);
	return rc < 0 ? (enum err)rc : ERR_OK;
}

bool
share_late_due(struct shares *sh)
{
	struct late *x = mem_new(sizeof(*x));
	bool found = false;

	if (x == NULL)
		return false;
	x->sh = sh;
	found = row_next(x) == ERR_OK && x->found;
	mem_free(x);
	return found;
}

enum err
share_late_run(struct shares *sh, bool (*stop)(void *ctx), void *ctx)
{
	struct late *x = NULL;
	enum err e = ERR_OK;
	bool found = true;

	while (e == ERR_OK && found) {
		if ((x = mem_new(sizeof(*x))) == NULL)
			return ERR_NOMEM;
		x->sh = sh;
		e = row_next(x);
		found = x->found;
		if (e == ERR_OK && found) {
			e = late_key(x, stop, ctx);
			atomic_store(&sh->select_from, 0);
		}
		cat_told_free(x->told);
		mem_free(x);
	}
	return e;
}
