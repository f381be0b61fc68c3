/* node/net/net_drain.c: may this hub be switched off?
 *
 * One pass: every compartment that has ops is level with a connected member,
 * and a connected member proves that it holds each chunk that ops name and
 * that is here.  Others fetch what they lack by themselves; the caller passes
 * again until nothing is held here alone.  Reads op by op, in short
 * transactions; at most NET_PROVE_CHUNKS chunks are asked about at a time. */
#include "node/net/net_internal.h"

struct drain {
	struct net *n;
	const struct net_drain_opts *o;
	struct net_drained *out;
	struct cry_id cid[NET_PROVE_CHUNKS];
	uint32_t n_cids;
	struct share_id share; /* of cid */
	uint16_t compartment;
};

/* --- chunks --- */

static enum err
prove(struct drain *d, uint32_t from, uint32_t n)
{
	struct net_proven k = { d->n, 1 };

	return net_proven(&k, &d->share, d->compartment, d->cid + from, n);
}

/* All in one go; if not, which of them. */
static enum err
batch(struct drain *d)
{
	uint32_t n = d->n_cids;
	enum err e;

	d->n_cids = 0;
	if (n == 0)
		return ERR_OK;
	d->out->chunks += n;
	e = prove(d, 0, n);
	if (e == ERR_TIMEOUT) {
		d->out->alone += n; /* nobody is there to hold them */
		return ERR_OK;
	}
	if (e != ERR_DENIED)
		return e;
	for (uint32_t i = 0; i < n; i++) {
		if (d->o->stop(d->o->ctx))
			return ERR_CANCELLED;
		e = prove(d, i, 1);
		d->out->alone += e != ERR_OK;
	}
	return ERR_OK;
}

static bool
is_here(struct drain *d, uint32_t share, const struct cry_id *cid)
{
	struct db_txn *txn = NULL;
	enum err e = store_read(d->n->store, &txn);

	if (e == ERR_OK)
		e = oplog_cref_check(txn, share, d->compartment, cid);
	db_abort(txn);
	return e == ERR_OK;
}

static enum err
op_chunks(struct drain *d, const struct oplog_at *at, struct slice bytes)
{
	struct op_view v;
	struct op_chunk c;
	uint32_t n = 0;
	enum err e = op_decode(bytes, &v);

	if (e == ERR_OK)
		e = op_packing_check(v.packing, &n);
	if (e != ERR_OK)
		return ERR_CORRUPT;
	d->compartment = at->compartment;
	for (uint32_t i = 0; i < n && e == ERR_OK; i++) {
		c = op_packing_at(v.packing, i);
		if (is_here(d, at->share, &c.cid))
			d->cid[d->n_cids++] = c.cid;
		if (d->n_cids == NET_PROVE_CHUNKS)
			e = batch(d);
		if (e == ERR_OK && d->o->stop(d->o->ctx))
			e = ERR_CANCELLED;
	}
	return e == ERR_OK ? batch(d) : e;
}

/* --- ops --- */

static int
next_content(void *ctx, const struct oplog_at *op)
{
	struct oplog_at *at = ctx;

	*at = *op;
	return op->content ? 1 : 0;
}

struct named {
	uint32_t no;
	struct share_id *out;
};

static int
share_named(void *ctx, uint32_t no, const struct cry_id *share)
{
	struct named *s = ctx;

	if (no != s->no)
		return 0;
	memcpy(s->out->b, share->b, sizeof(share->b));
	return 1;
}

/* ERR_NOTFOUND: that was the last. */
static enum err
next_op(struct drain *d, uint64_t from, struct oplog_at *at, struct buf *bytes)
{
	struct named name = { 0, &d->share };
	struct db_txn *txn = NULL;
	enum err e = store_read(d->n->store, &txn);

	memset(at, 0, sizeof(*at));
	if (e == ERR_OK)
		e = oplog_ops_from(txn, from, next_content, at);
	if (e == ERR_OK && !at->content)
		e = ERR_NOTFOUND;
	name.no = at->share;
	if (e == ERR_OK)
		e = oplog_shares_each(txn, share_named, &name);
	if (e == ERR_OK)
		e = oplog_op_get_lseq(d->n->store, txn, at->lseq, bytes);
	db_abort(txn);
	return e;
}

static enum err
contents(struct drain *d)
{
	struct buf bytes = BUF_MAX(2 * LIM_MESSAGE_BYTES);
	struct oplog_at at = { 0 };
	enum err e = ERR_OK;

	while (e == ERR_OK) {
		buf_reset(&bytes);
		e = next_op(d, at.lseq + 1, &at, &bytes);
		if (e == ERR_OK)
			e = op_chunks(d, &at, buf_slice(&bytes));
	}
	buf_fini(&bytes);
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

/* --- compartments --- */

static bool
is_level(const struct net_root *r, const struct net_lag *lag, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		if (lag[i].lag.in_sync &&
		    lag[i].lag.compartment == r->compartment &&
		    memcmp(&lag[i].lag.share, &r->share, sizeof(r->share)) == 0)
			return true;
	}
	return false;
}

static enum err
levels(struct drain *d)
{
	struct net_root *root = NULL;
	struct net_lag *lag = NULL;
	uint32_t n_roots = 0, n_lags = 0;
	enum err e = net_roots(d->n, &root, &n_roots);

	if (e == ERR_OK)
		e = net_lags(d->n, &lag, &n_lags);
	for (uint32_t i = 0; e == ERR_OK && i < n_roots; i++) {
		if (root[i].ops > 0 && !is_level(&root[i], lag, n_lags))
			d->out->behind++;
	}
	net_roots_free(root);
	net_lags_free(lag);
	return e;
}

/* What another site keeps beside shares is nowhere else. */
static enum err
is_hub(struct drain *d)
{
	struct share_info *list = NULL;
	uint32_t n = 0;
	enum err e = shares_list(d->n->shares, &list, &n);

	for (uint32_t i = 0; e == ERR_OK && i < n; i++) {
		if (!list[i].hub)
			e = ERR_DENIED;
	}
	shares_list_free(list, n);
	return e;
}

enum err
net_drain(struct net *n, const struct net_drain_opts *o,
    struct net_drained *out, struct errmsg *em)
{
	struct drain *d = mem_new(sizeof(*d));
	enum err e = d == NULL ? ERR_NOMEM : ERR_OK;

	memset(out, 0, sizeof(*out));
	if (e == ERR_OK) {
		d->n = n;
		d->o = o;
		d->out = out;
		e = is_hub(d);
	}
	if (e == ERR_DENIED) {
		e = errmsg_set(em, e, "Keep it by: pesscara backup DIR",
		    "this node is no hub: what it received and did not release "
		    "is nowhere else");
		goto out;
	}
	if (e == ERR_OK)
		e = levels(d);
	if (e == ERR_OK)
		e = contents(d);
	if (e != ERR_OK)
		(void)errmsg_set(
		    em, e, "", "not looked at to the end: %s", err_text(e));
out:
	mem_free(d);
	return e;
}
