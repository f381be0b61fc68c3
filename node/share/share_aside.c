/* node/share/share_aside.c: views follow the cuts.
 *
 * A record about a device leaves a row; shares_settle takes it up.  Happy
 * path: find the device's ops beyond its cuts, then every op that counts and
 * speaks of the same assets; in one job make those assets anew
 * (store/catalog/remake.h), and forget the row.  The log is read in short
 * transactions before that job, which reads only what came meanwhile.
 * Failure modes: stopped or failed, the row stays and the next call begins
 * again; nothing was changed. */
#include "node/share/share_internal.h"

#include "store/base/clock.h"
#include "store/catalog/remake.h"

#define OPS_A_READ 1000u
#define MARK_DEVICE_BYTES 16u
#define WHY "written beyond the cut of a revoked device"

struct lseqs {
	uint64_t *v;
	uint32_t n, cap;
};

struct settle {
	struct shares *sh;
	struct share_id id;
	struct cry_sign_pk device;
	struct share_slot *slot;
	struct share_state *s; /* our own, as the transaction has it */
	struct db_txn *txn;
	struct cat_told *told;
	struct cat_remake *remake;
	struct lseqs aside, again;
	bool second;      /* pass: first notes, second finds what it hits */
	uint64_t at[2];   /* where each pass stands */
	uint64_t seq;     /* of the chain when the first pass began */
	uint16_t no;      /* compartment */
	uint32_t left;    /* ops in this read */
	uint32_t feed_no; /* whose answer is known */
	enum member_feed feed_state;
	struct op_feed feed;
	struct op_head cut;
	struct op_view v;
};

static enum err
lseqs_add(struct lseqs *l, uint64_t lseq)
{
	if (l->n == l->cap) {
		uint32_t cap = 2 * l->cap + 64;
		uint64_t *v = mem_grow(l->v, cap, sizeof(*v));

		if (v == NULL)
			return ERR_NOMEM;
		l->v = v;
		l->cap = cap;
	}
	l->v[l->n++] = lseq;
	return ERR_OK;
}

/* --- marking --- */

static enum err
mark_key(struct buf *key, const struct share_id *id,
    const struct cry_sign_pk *device)
{
	*key = BUF_MAX(SHARE_KEY_MAX);
	buf_put(key, id->b, sizeof(id->b));
	buf_put(key, device->b, MARK_DEVICE_BYTES); /* whole in the value */
	return buf_err(key);
}

/* Whoever holds the op of a cut can sign for what lies below it. */
static enum err
mark_head(struct store_txn *t, struct shares *sh, const struct member_cut *c)
{
	struct oplog_head row = { .seq = c->head.seq,
		.op_id = c->head.id,
		.lamport = c->head.lamport };
	struct buf op = BUF_MAX(SHARE_OP_BYTES_MAX), b = BUF_MAX(256);
	struct op_view *v = mem_new(sizeof(*v));
	struct oplog_feed f;
	enum err e = v == NULL ? ERR_NOMEM : ERR_OK;

	if (e == ERR_OK)
		e = oplog_feed_find(store_txn_db(t), c->head.feed.b, &f);
	if (e == ERR_OK)
		e = oplog_op_get(
		    sh->store, store_txn_db(t), f.no, c->head.seq, &op);
	if (e == ERR_OK)
		e = op_decode(buf_slice(&op), v);
	if (e == ERR_OK && memcmp(&v->id, &c->head.id, sizeof(v->id)) == 0) {
		op_head_encode(&c->head, &b);
		if ((e = buf_err(&b)) == ERR_OK) {
			memcpy(row.bytes, b.p, sizeof(row.bytes));
			e = oplog_head_put(t, f.no, &row);
		}
	}
	buf_fini(&b);
	buf_fini(&op);
	mem_free(v);
	return e == ERR_NOTFOUND || e == ERR_EXISTS ? ERR_OK : e;
}

enum err
share_aside_mark(struct store_txn *t, struct shares *sh,
    struct share_slot *slot, const struct cry_sign_pk *device)
{
	struct member_cut c;
	struct buf key, val = BUF_MAX(64);
	enum err e = mark_key(&key, &slot->id, device);

	buf_u8(&val, SHARE_ROW_VERSION);
	buf_put(&val, device->b, sizeof(device->b));
	if (e == ERR_OK)
		e = buf_err(&val);
	if (e == ERR_OK)
		e = store_row_put(
		    t, SHARE_TAG_ASIDE, buf_slice(&key), buf_slice(&val));
	for (uint32_t i = 0;
	     e == ERR_OK && member_cut_at(slot->wrk->m, device, i, &c); i++)
		e = mark_head(t, sh, &c);
	buf_fini(&key);
	buf_fini(&val);
	return e;
}

/* --- looking through the log --- */

/* What the chain says of the feed this op is in.  A feed whose op at the cut
 * is another one lies on the wrong branch: none of it counts. */
static enum err
look_feed(struct settle *x)
{
	struct buf op = BUF_MAX(SHARE_OP_BYTES_MAX);
	struct op_view *v = NULL;
	struct oplog_feed f;
	enum err e = oplog_feed_find(x->txn, x->v.h.feed.b, &f);

	if (e != ERR_OK || f.no == x->feed_no)
		return e == ERR_NOTFOUND ? ERR_CORRUPT : e;
	x->feed_no = f.no;
	x->feed.share = x->id;
	x->feed.compartment = f.compartment;
	x->feed.incarnation = f.incarnation;
	memcpy(x->feed.device.b, f.device, sizeof(f.device));
	x->feed_state = member_feed(x->s->m, &x->feed, &x->cut);
	if (x->feed_state != MEMBER_FEED_CUT || x->cut.seq == 0)
		return ERR_OK;
	e = oplog_op_get(x->sh->store, x->txn, f.no, x->cut.seq, &op);
	if (e == ERR_OK && (v = mem_new(sizeof(*v))) == NULL)
		e = ERR_NOMEM;
	if (e == ERR_OK)
		e = op_decode(buf_slice(&op), v);
	if (e == ERR_OK && memcmp(&v->id, &x->cut.id, sizeof(v->id)) != 0)
		x->cut.seq = 0;
	mem_free(v);
	buf_fini(&op);
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

static enum err
look_payload(struct settle *x, uint64_t lseq, bool counts)
{
	struct buf plain = BUF_MAX(LIM_OP_PAYLOAD_BYTES);
	struct cry_id share = share_cry_id(&x->id);
	struct cat_remake_op op = { .share = &share,
		.compartment = x->no,
		.edit = x->v.h.kind == OP_EDIT };
	bool hit = false;
	enum err e = share_open(x->s, x->no, &x->v, &plain);

	op.payload = buf_slice(&plain);
	if (e != ERR_OK)
		e = e == ERR_NOMEM ? e : ERR_OK; /* not ours to read */
	else if (!x->second)
		e = cat_remake_note(x->remake, &op);
	else
		e = cat_remake_hit(x->remake, &op, &hit);
	if (e == ERR_OK && counts && hit)
		e = lseqs_add(&x->again, lseq);
	buf_wipe(&plain);
	return e;
}

static enum err
look_op(struct settle *x, uint64_t lseq)
{
	bool ours, counts, told;
	enum err e = look_feed(x);

	if (e != ERR_OK)
		return e;
	counts = x->feed_state == MEMBER_FEED_OPEN ||
		 x->feed_state == MEMBER_FEED_HELD ||
		 (x->feed_state == MEMBER_FEED_CUT && x->v.h.seq <= x->cut.seq);
	ours = memcmp(&x->feed.device, &x->device, sizeof(x->device)) == 0;
	told = cat_told_has(x->told, "op.aside", &x->v.id) &&
	       !cat_told_has(x->told, "op.adopted", &x->v.id);
	if (!x->second && ours && !counts) {
		e = lseqs_add(&x->aside, lseq);
		return e == ERR_OK ? look_payload(x, lseq, false) : e;
	}
	if (!x->second || !counts)
		return ERR_OK;
	if (ours) /* adopted, perhaps: applying twice does nothing */
		return lseqs_add(&x->again, lseq);
	return told ? ERR_OK : look_payload(x, lseq, true);
}

static int
look_one(void *ctx, uint64_t lseq)
{
	struct settle *x = ctx;
	struct buf op = BUF_MAX(SHARE_OP_BYTES_MAX);
	enum err e = oplog_op_get_lseq(x->sh->store, x->txn, lseq, &op);

	if (e == ERR_OK)
		e = op_decode(buf_slice(&op), &x->v);
	if (e == ERR_OK)
		e = look_op(x, lseq);
	buf_fini(&op);
	if (e != ERR_OK)
		return e;
	x->at[x->second] = lseq;
	return --x->left == 0;
}

/* A pass in short reads; *stop ends it. */
static enum err
look_all(struct settle *x, bool (*stop)(void *ctx), void *ctx)
{
	enum err e;

	do {
		x->left = OPS_A_READ;
		e = store_read(x->sh->store, &x->txn);
		if (e == ERR_OK)
			e = cat_ops_each(x->txn, x->slot->no, x->no,
			    x->at[x->second], look_one, x);
		db_abort(x->txn);
		if (e == ERR_OK && stop != NULL && stop(ctx))
			e = ERR_CANCELLED;
	} while (e == ERR_OK && x->left == 0);
	return e;
}

/* --- the job --- */

static enum err
tail_look(struct settle *x, struct store_txn *t)
{
	enum err e = ERR_OK;

	x->txn = store_txn_db(t);
	for (int pass = 0; pass < 2 && e == ERR_OK; pass++) {
		x->second = pass == 1;
		x->left = UINT32_MAX;
		e = cat_ops_each(
		    x->txn, x->slot->no, x->no, x->at[pass], look_one, x);
	}
	return e;
}

static enum err
tell(struct store_txn *t, const struct settle *x, uint64_t lseq,
    const char *type, const char *why)
{
	struct cat_event ev = { .wall_ms = clock_wall_ms(),
		.share = share_cry_id(&x->id),
		.compartment = x->no };
	struct cat_origin o;
	enum err e = share_origin(store_txn_db(t), x->sh, lseq, &o);

	if (e != ERR_OK || cat_told_has(x->told, type, &o.op_id))
		return e;
	ev.op = o.op_id;
	(void)snprintf(ev.type, sizeof(ev.type), "%s", type);
	(void)snprintf(ev.detail, sizeof(ev.detail), "%s", why);
	return cat_event_append(t, &ev);
}

static enum err
job_again(struct store_txn *t, const struct settle *x, uint64_t lseq)
{
	struct cat_origin o;
	enum err e = share_origin(store_txn_db(t), x->sh, lseq, &o);
	bool back = e == ERR_OK && cat_told_has(x->told, "op.aside", &o.op_id);

	if (back)
		e = tell(t, x, lseq, "op.adopted", "");
	if (e == ERR_OK)
		e = share_op_again(t, x->sh, lseq, x->told);
	return e == ERR_OK && back ? share_op_back(t, x->sh, lseq) : e;
}

/* What came meanwhile may speak of what pass two did not look for: then its
 * pass begins at the start again, in the job. */
static enum err
settle_job(struct store_txn *t, void *ctx)
{
	struct settle *x = ctx;
	uint32_t had = x->aside.n;
	enum err e = share_work(t, x->sh, &x->id, &x->slot);

	if (e == ERR_OK) /* the chain may have grown */
		e = share_state_sync(x->sh, store_txn_db(t), x->slot, &x->s);
	x->feed_no = 0;
	if (e == ERR_OK)
		e = tail_look(x, t);
	if (e == ERR_OK && x->aside.n != had) {
		x->again.n = 0;
		x->at[1] = 0;
		e = tail_look(x, t);
	}
	if (e == ERR_OK)
		e = cat_remake_wipe(t, x->remake);
	for (uint32_t i = 0; i < x->aside.n && e == ERR_OK; i++) {
		e = cat_remake_unput(t, x->aside.v[i]);
		if (e == ERR_OK)
			e = oplog_op_aside(t, x->aside.v[i], true);
		if (e == ERR_OK)
			e = tell(t, x, x->aside.v[i], "op.aside", WHY);
	}
	for (uint32_t i = 0; i < x->again.n && e == ERR_OK; i++)
		e = job_again(t, x, x->again.v[i]);
	if (e == ERR_OK)
		e = cat_remake_end(t, x->remake);
	x->sh->touched = true;
	x->sh->touched_drops = true; /* of wants */
	return e;
}

static void
settle_reset(struct settle *x)
{
	cat_remake_free(x->remake);
	x->remake = NULL;
	x->aside.n = x->again.n = 0;
	x->at[0] = x->at[1] = 0;
	x->feed_no = 0;
}

static enum err
settle_compartment(struct settle *x, bool (*stop)(void *ctx), void *ctx)
{
	enum err e = cat_remake_new(&x->remake);

	for (int pass = 0; pass < 2 && e == ERR_OK; pass++) {
		x->second = pass == 1;
		e = look_all(x, stop, ctx);
	}
	if (e == ERR_OK)
		e = store_write(x->sh->store, settle_job, x);
	settle_reset(x);
	return e;
}

/* A record that came meanwhile may have left this very row, when some
 * compartments were done: then the row stays, and all is looked at again. */
static enum err
done_job(struct store_txn *t, void *ctx)
{
	struct settle *x = ctx;
	struct buf key;
	enum err e = mark_key(&key, &x->id, &x->device);

	if (e == ERR_OK && x->slot != NULL)
		e = share_work(t, x->sh, &x->id, &x->slot);
	if (e == ERR_OK && x->slot != NULL &&
	    member_seq(x->slot->wrk->m) != x->seq)
		goto out;
	if (e == ERR_OK)
		e = store_row_del(t, SHARE_TAG_ASIDE, buf_slice(&key));
out:
	buf_fini(&key);
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

static enum err
settle_load(struct settle *x)
{
	enum err e = store_read(x->sh->store, &x->txn);

	if (e != ERR_OK)
		return e;
	e = share_state_sync(x->sh, x->txn, x->slot, &x->s);
	if (e == ERR_OK)
		x->seq = member_seq(x->s->m);
	if (e == ERR_OK)
		e = cat_told_load(x->sh->store, x->txn, &x->told);
	db_abort(x->txn);
	return e;
}

static enum err
settle_device(struct settle *x, bool (*stop)(void *ctx), void *ctx)
{
	enum err e = ERR_OK;

	pthread_mutex_lock(&x->sh->lock);
	x->slot = share_slot_find(x->sh, &x->id);
	pthread_mutex_unlock(&x->sh->lock);
	if (x->slot != NULL)
		e = settle_load(x);
	for (uint32_t no = 1; x->slot != NULL && e == ERR_OK &&
			      no <= member_n_compartments(x->s->m);
	     no++) {
		x->no = (uint16_t)no;
		if (member_might_write(x->s->m, &x->device, x->no))
			e = settle_compartment(x, stop, ctx);
	}
	if (e == ERR_OK)
		e = store_write(x->sh->store, done_job, x);
	return e;
}

/* --- rows --- */

static int
row_take(void *ctx, struct slice key, struct slice value)
{
	struct settle *x = ctx;
	struct rd rk = rd_init(key), r = rd_init(value);

	rd_copy(&rk, x->id.b, sizeof(x->id.b));
	if (rd_u8(&r) != SHARE_ROW_VERSION)
		rd_fail(&r, ERR_UNSUPPORTED);
	rd_copy(&r, x->device.b, sizeof(x->device.b));
	return rd_end(&r) == ERR_OK ? 1 : ERR_CORRUPT;
}

static enum err
row_next(struct shares *sh, struct settle *x, bool *found)
{
	static const struct cry_sign_pk none;
	struct db_txn *txn = NULL;
	enum err e = store_read(sh->store, &txn);
	int rc;

	if (e != ERR_OK)
		return e;
	rc = (int)store_row_each(
	    sh->store, txn, SHARE_TAG_ASIDE, (struct slice){ 0 }, row_take, x);
	db_abort(txn);
	*found = memcmp(&x->device, &none, sizeof(none)) != 0;
	return rc < 0 ? (enum err)rc : ERR_OK;
}

bool
shares_unsettled(struct shares *sh)
{
	struct settle *x = mem_new(sizeof(*x));
	bool found = false;

	if (x == NULL)
		return false;
	if (row_next(sh, x, &found) != ERR_OK)
		found = false;
	mem_free(x);
	return found || share_late_due(sh) || share_select_due(sh);
}

enum err
shares_settle(struct shares *sh, bool (*stop)(void *ctx), void *ctx)
{
	struct settle *x;
	bool found = true;
	enum err e = ERR_OK;

	pthread_mutex_lock(&sh->settling);
	while (e == ERR_OK && found) {
		if ((x = mem_new(sizeof(*x))) == NULL) {
			e = ERR_NOMEM;
			break;
		}
		x->sh = sh;
		e = row_next(sh, x, &found);
		if (e == ERR_OK && found) {
			e = settle_device(x, stop, ctx);
			atomic_store(&sh->select_from, 0);
		}
		cat_told_free(x->told);
		share_state_free(x->s);
		mem_free(x->aside.v);
		mem_free(x->again.v);
		mem_free(x);
	}
	if (e == ERR_OK)
		e = share_late_run(sh, stop, ctx);
	if (e == ERR_OK)
		e = share_select_run(sh, stop, ctx);
	pthread_mutex_unlock(&sh->settling);
	return e;
}
