/* node/net/net_store.c: FETCH from the store, PERSIST into it.
 *
 * Ops are read on the loop in one short read transaction; chunks, which are
 * checked against their id as they are read, on a pool thread.  Writes are
 * jobs that own copies of their bytes, so nothing of the core is touched off
 * the loop; their end comes back as mail. */
#include "node/net/net_internal.h"

#include "node/ops/log.h"

/* --- runs of ops --- */

void
net_run_ops_fini(struct net_run_ops *r)
{
	buf_fini(&r->bytes);
	mem_free(r->ops);
	r->ops = NULL;
	r->n_ops = 0;
}

struct share_seek {
	uint32_t no;
	struct share_id id;
	bool found;
};

static int
share_seek_one(void *ctx, uint32_t no, const struct cry_id *share)
{
	struct share_seek *s = ctx;

	if (no != s->no)
		return 0;
	memcpy(s->id.b, share->b, sizeof(s->id.b));
	s->found = true;
	return 1;
}

static enum err
run_feed(struct db_txn *txn, const struct oplog_feed *f, struct op_feed *out)
{
	struct share_seek s = { .no = f->share };
	enum err e = oplog_shares_each(txn, share_seek_one, &s);

	if (e == ERR_OK && !s.found)
		e = ERR_CORRUPT;
	out->share = s.id;
	out->compartment = f->compartment;
	memcpy(out->device.b, f->device, sizeof(out->device.b));
	out->incarnation = f->incarnation;
	return e;
}

static enum err
run_op(struct net *n, struct db_txn *txn, uint32_t feed, uint64_t seq,
    struct net_run_ops *out)
{
	size_t at = out->bytes.n;
	struct slice *v;
	enum err e = oplog_op_get(n->store, txn, feed, seq, &out->bytes);

	if (e != ERR_OK)
		return e;
	if (out->n_ops % 64 == 0) {
		v = mem_grow(out->ops, (size_t)out->n_ops + 64, sizeof(*v));
		if (v == NULL)
			return ERR_NOMEM;
		out->ops = v;
	}
	/* Lengths now; places when the buffer stands still. */
	out->ops[out->n_ops++] = slice_of(NULL, out->bytes.n - at);
	return ERR_OK;
}

/* Whole head runs until bytes_max is reached; at least one. */
static enum err
run_read(struct net *n, struct db_txn *txn, const struct oplog_feed *f,
    uint64_t seq, size_t bytes_max, struct net_run_ops *out)
{
	struct oplog_head h;
	enum err e;

	do {
		e = oplog_head_at(txn, f->no, seq, &h);
		if (e == ERR_NOTFOUND && out->n_ops > 0)
			return ERR_OK; /* the feed ends here */
		for (; e == ERR_OK && seq <= h.seq; seq++)
			e = run_op(n, txn, f->no, seq, out);
		if (e == ERR_OK)
			e = op_head_decode(
			    slice_of(h.bytes, sizeof(h.bytes)), &out->head);
	} while (e == ERR_OK && out->bytes.n < bytes_max &&
		 out->n_ops < LIM_HEAD_OPS);
	return e;
}

enum err
net_store_run(struct net *n, const struct feed_id *feed, uint64_t from_seq,
    size_t bytes_max, struct net_run_ops *out)
{
	struct db_txn *txn = NULL;
	struct oplog_feed f;
	size_t at = 0;
	uint32_t i;
	enum err e;

	memset(out, 0, sizeof(*out));
	out->bytes = BUF_MAX(NET_RUN_BYTES_MAX);
	if ((e = store_read(n->store, &txn)) != ERR_OK)
		return e;
	e = oplog_feed_find(txn, feed->b, &f);
	if (e == ERR_OK)
		e = run_feed(txn, &f, &out->feed);
	if (e == ERR_OK)
		e = run_read(n, txn, &f, from_seq, bytes_max, out);
	db_abort(txn);
	for (i = 0; i < out->n_ops; i++) {
		out->ops[i].p = out->bytes.p + at;
		at += out->ops[i].n;
	}
	if (e != ERR_OK)
		net_run_ops_fini(out);
	return e;
}

void
net_store_fetch_ops(struct net *n, const struct net_todo *t)
{
	struct repl_event ev = { .kind = RE_FETCHED, .token = t->token };
	struct net_run_ops run;

	ev.err = net_store_run(n, &t->feed, t->from_seq, t->bytes_max, &run);
	if (ev.err == ERR_OK) {
		ev.ops.feed = run.feed;
		ev.ops.ops = run.ops;
		ev.ops.n_ops = run.n_ops;
		ev.ops.head = run.head;
	}
	net_step(n, &ev);
	if (ev.err == ERR_OK)
		net_run_ops_fini(&run);
}

/* --- chunks --- */

struct chunk_work {
	struct net *n;
	uint64_t token;
	struct cry_id share;
	uint16_t compartment;
	struct cry_id cid;
	struct buf bytes;
	enum err err;
};

static void
chunk_read(void *ctx)
{
	struct chunk_work *w = ctx;
	struct db_txn *txn = NULL;
	uint32_t no;
	enum err e;

	w->err = store_read(w->n->store, &txn);
	if (w->err != ERR_OK)
		return;
	e = oplog_share_no(txn, &w->share, &no);
	if (e == ERR_OK) /* only what was given there, not what is named */
		e = oplog_cref_check(txn, no, w->compartment, &w->cid);
	if (e == ERR_OK)
		e = blob_chunk_get(w->n->store, txn, &w->cid, &w->bytes);
	db_abort(txn);
	w->err = e;
}

static void
chunk_done(void *ctx)
{
	struct chunk_work *w = ctx;
	struct net *n = w->n;
	struct repl_event ev = { .kind = RE_FETCHED,
		.token = w->token,
		.err = w->err,
		.cid = w->cid,
		.bytes = buf_slice(&w->bytes) };

	n->works--;
	if (w->err == ERR_CORRUPT)
		log_error("net", "a stored chunk is damaged",
		    "next=\"run pesscara verify --deep\"");
	net_step(n, &ev);
	buf_fini(&w->bytes);
	mem_free(w);
	net_run(n);
}

void
net_store_fetch_chunk(struct net *n, const struct repl_effect *fx)
{
	struct net_todo t = {
		.kind = DUE_FETCH_FAILED, .token = fx->token, .err = ERR_BUSY
	};
	struct chunk_work *w = mem_new(sizeof(*w));

	if (w != NULL) {
		w->n = n;
		w->token = fx->token;
		memcpy(w->share.b, fx->share.b, sizeof(w->share.b));
		w->compartment = fx->compartment;
		w->cid = fx->cid;
		w->bytes = BUF_MAX(2 * LIM_PIECE_BYTES);
		if (loop_work(n->loop, chunk_read, chunk_done, w) == ERR_OK) {
			n->works++;
			return;
		}
		mem_free(w);
	}
	net_todo_add(n, &t);
}

/* --- views follow the membership --- */

static bool
settle_stop(void *ctx)
{
	struct net *n = ctx;

	return atomic_load(&n->settle_stop);
}

static void
settle_run(void *ctx)
{
	struct net *n = ctx;
	enum err e = shares_settle(n->shares, settle_stop, n);

	if (e != ERR_OK && e != ERR_CANCELLED)
		log_error("net", "ops of a revoked device are not set aside",
		    "error=\"%s\" next=\"restart the node\"", err_text(e));
}

static void
settle_done(void *ctx)
{
	struct net *n = ctx;

	n->works--;
	n->settling = false;
	if (n->settle_again)
		net_settle(n);
	net_run(n);
}

void
net_settle(struct net *n)
{
	n->settle_again = n->settling;
	if (n->settling || atomic_load(&n->settle_stop) ||
	    !shares_unsettled(n->shares))
		return;
	if (loop_work(n->loop, settle_run, settle_done, n) != ERR_OK)
		return; /* at the next record, or start */
	n->settling = true;
	n->works++;
}

/* --- writing --- */

struct persist {
	struct net *n;
	struct net_mail *mail;
	enum repl_fx_kind kind;
	struct share_id share;
	uint16_t compartment;
	uint64_t seq;
	struct cry_id cid;
	struct cry_sign_pk device;
	struct repl_ops ops;
	struct slice *slices;
	struct buf bytes;
};

static void
persist_free(struct persist *p)
{
	if (p == NULL)
		return;
	buf_fini(&p->bytes);
	mem_free(p->slices);
	mem_free(p->mail);
	mem_free(p);
}

static enum err
persist_job(struct store_txn *t, void *ctx)
{
	struct persist *p = ctx;
	struct shares *sh = p->n->shares;
	struct slice bytes = buf_slice(&p->bytes);

	switch (p->kind) {
	case RX_PERSIST_OPS: return shares_put_ops(t, sh, &p->ops);
	case RX_PERSIST_CHUNK:
		return shares_put_chunk(
		    t, sh, &p->share, p->compartment, &p->cid, bytes);
	case RX_PERSIST_MEMBER:
		return shares_put_member(t, sh, &p->share, p->seq, bytes);
	case RX_STATEMENT: return shares_put_statement(t, sh, &p->share, bytes);
	case RX_CLAIM: return shares_claim(t, sh, &p->share, bytes);
	case RX_WITNESS:
		return shares_put_witness(
		    t, &p->share, p->compartment, &p->device, bytes);
	case RX_SEND:
	case RX_CLOSE:
	case RX_FETCH_OPS:
	case RX_FETCH_CHUNK:
	case RX_SIGN:
	case RX_PROOF: break;
	}
	return ERR_UNSUPPORTED;
}

static void
persist_done(enum err e, void *ctx)
{
	struct persist *p = ctx;
	struct net_mail *m = p->mail;
	struct net *n = p->n;

	m->err = e;
	p->mail = NULL;
	persist_free(p);
	net_post(n, m);
}

static enum err
persist_copy_ops(struct persist *p, const struct repl_ops *ops)
{
	size_t at = 0;
	uint32_t i;

	p->ops = *ops;
	p->slices =
	    mem_array(ops->n_ops > 0 ? ops->n_ops : 1, sizeof(struct slice));
	if (p->slices == NULL)
		return ERR_NOMEM;
	for (i = 0; i < ops->n_ops; i++)
		buf_put_slice(&p->bytes, ops->ops[i]);
	if (buf_err(&p->bytes) != ERR_OK)
		return buf_err(&p->bytes);
	for (i = 0; i < ops->n_ops; i++) {
		p->slices[i] = slice_of(p->bytes.p + at, ops->ops[i].n);
		at += ops->ops[i].n;
	}
	p->ops.ops = p->slices;
	return ERR_OK;
}

static enum err
persist_new(struct net *n, const struct repl_effect *fx, struct persist **out)
{
	struct persist *p = mem_new(sizeof(*p));
	enum err e = ERR_OK;

	if (p == NULL)
		return ERR_NOMEM;
	p->n = n;
	p->kind = fx->kind;
	p->share = fx->share;
	p->compartment = fx->compartment;
	p->seq = fx->seq;
	p->cid = fx->cid;
	p->device = fx->device;
	p->bytes = BUF_MAX(NET_RUN_BYTES_MAX);
	if ((p->mail = mem_new(sizeof(*p->mail))) == NULL)
		e = ERR_NOMEM;
	else if (fx->kind == RX_PERSIST_OPS)
		e = persist_copy_ops(p, &fx->ops);
	else
		buf_put_slice(&p->bytes, fx->bytes);
	if (e == ERR_OK)
		e = buf_err(&p->bytes);
	if (e != ERR_OK) {
		persist_free(p);
		return e;
	}
	p->mail->kind = MAIL_PERSISTED;
	p->mail->token = fx->token;
	p->mail->bytes = p->bytes.n;
	p->mail->member = fx->kind == RX_PERSIST_MEMBER;
	p->mail->claim = fx->kind == RX_CLAIM;
	p->mail->statement = fx->kind == RX_STATEMENT;
	p->mail->witness = fx->kind == RX_WITNESS;
	p->mail->chunk = fx->kind == RX_PERSIST_CHUNK;
	p->mail->cid = fx->cid;
	*out = p;
	return ERR_OK;
}

void
net_store_persist(struct net *n, const struct repl_effect *fx)
{
	struct net_todo t = { .kind = DUE_PERSIST_FAILED, .token = fx->token };
	struct persist *p = NULL;
	size_t bytes = 0;
	bool member = fx->kind == RX_PERSIST_MEMBER;
	enum err e;

	/* Asked for before the quota was reached: tried again now and then. */
	e = fx->kind == RX_PERSIST_CHUNK && store_quota_full(n->store)
		? ERR_FULL
		: persist_new(n, fx, &p);
	if (e == ERR_OK) {
		bytes = p->bytes.n;
		e = store_submit(n->store, persist_job, persist_done, p);
		if (e != ERR_OK)
			persist_free(p);
	}
	if (e == ERR_OK) {
		n->jobs++;
		n->member_jobs += member;
		n->persist_bytes += bytes;
		return;
	}
	n->disk = e;
	log_warn("net", "not stored", "error=\"%s\"", err_text(e));
	if (fx->kind == RX_CLAIM || fx->kind == RX_STATEMENT)
		return; /* the joiner claims again; peers say it again */
	t.err = e;
	net_todo_add(n, &t);
}
