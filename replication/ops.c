/* replication/ops.c: runs of ops, in and out.
 *
 * A run is consecutive ops of one feed that end at a signed head.  It is
 * taken only if its device may write there, every op hashes and chains, the
 * head's signature fits and the run continues what we hold; then it goes to
 * disk, and only when it is durable does the frontier move, is credit given
 * back and is the run passed on to others.
 *
 * Honest nodes never send a run that does not verify: that closes the peer.
 * A run we may not take yet (rights), or that does not continue ours, is
 * dropped; roots bring it back. */
#include "replication/repl_internal.h"

#include "store/base/mem.h"

struct persist *
persist_new(struct repl *r, enum persist_kind kind)
{
	struct persist *ps = repl_alloc(r, 1, sizeof(*ps));

	if (ps == NULL)
		return NULL;
	ps->kind = kind;
	ps->token = r->next_token++;
	*r->persists_last = ps;
	r->persists_last = &ps->next;
	r->n_persists++;
	return ps;
}

void
persist_free(struct persist *ps)
{
	buf_fini(&ps->bytes);
	mem_free(ps->ops);
	mem_free(ps);
}

struct fetch *
fetch_new(struct repl *r, struct peer *p)
{
	struct fetch *f = repl_alloc(r, 1, sizeof(*f));

	if (f == NULL)
		return NULL;
	f->token = r->next_token++;
	f->conn = p->conn;
	f->next = r->fetches;
	r->fetches = f;
	return f;
}

/* --- sending --- */

size_t
ops_run_bytes(const struct repl_ops *run)
{
	size_t n = 0;

	for (uint32_t i = 0; i < run->n_ops; i++)
		n += run->ops[i].n;
	return n;
}

bool
ops_send(struct repl *r, struct link *l, uint8_t type, uint16_t compartment,
    const struct repl_ops *run)
{
	struct buf items = BUF_MAX(LIM_MESSAGE_BYTES);
	struct msg m = { .type = type,
		.tag = l->tx,
		.compartment = compartment,
		.device = run->feed.device,
		.incarnation = run->feed.incarnation,
		.head = run->head,
		.n = run->n_ops };
	bool ok;

	for (uint32_t i = 0; i < run->n_ops; i++)
		buf_put_slice(&items, run->ops[i]);
	m.items = buf_slice(&items);
	ok = repl_ok(r, buf_err(&items));
	if (ok)
		peer_send(r, l->peer, &m);
	buf_fini(&items);
	return ok;
}

static uint64_t
run_first(const struct repl_ops *run)
{
	return run->head.seq - run->n_ops + 1;
}

/* --- from the host --- */

static void
feed_set(struct comp *c, struct feed *f, const struct op_head *h)
{
	front_moved(c, f);
	f->seq = f->tip_seq = h->seq;
	f->lamport = f->tip_lamport = h->lamport;
	f->head = f->tip = h->id;
}

void
ops_feed_known(struct repl *r, const struct repl_event *ev)
{
	const struct op_feed *of = &ev->ops.feed;
	struct share *s = share_find(r, &of->share);
	struct feed *f;
	struct comp *c;
	uint32_t i;

	if (s == NULL || (c = comp_get(r, s, of->compartment)) == NULL)
		return;
	f = feed_get(r, c, &of->device, of->incarnation, &i);
	if (f == NULL || f->seq >= ev->ops.head.seq)
		return;
	feed_set(c, f, &ev->ops.head);
	bound_feed(c, f);
	sync_changed(r, c);
}

void
ops_local(struct repl *r, const struct repl_event *ev)
{
	const struct op_feed *of = &ev->ops.feed;
	struct share *s = share_find(r, &of->share);
	struct feed *f;
	struct comp *c;
	uint32_t i;

	if (s == NULL || (c = comp_get(r, s, of->compartment)) == NULL)
		return;
	f = feed_get(r, c, &of->device, of->incarnation, &i);
	if (f == NULL || f->seq >= ev->ops.head.seq)
		return;
	feed_set(c, f, &ev->ops.head);
	sync_changed(r, c);
	if (ev->ops.n_ops > 0)
		gossip_push(r, c, i, &ev->ops);
	for (i = 0; i < r->n_peers; i++)
		r->peers[i]->dirty = true;
}

/* --- serving --- */

static void
none_send(
    struct repl *r, struct link *l, const struct op_feed *f, uint64_t from)
{
	struct msg m = { .type = MSG_OPS_NONE,
		.tag = l->tx,
		.compartment = f->compartment,
		.device = f->device,
		.incarnation = f->incarnation,
		.seq = from };

	peer_send(r, l->peer, &m);
}

static void
serve_add(struct repl *r, struct link *l, struct pcomp *pc, uint32_t feed,
    uint64_t from)
{
	struct feed *f = &pc->comp->feeds[feed];
	struct peer *p = l->peer;
	struct serve_ops *q;

	if (p->so_n == REPL_SERVE_OPS_MAX) {
		peer_close(r, p, ERR_LIMIT, "too many open requests");
		return;
	}
	if (f->seq < from || f->held) {
		none_send(r, l, &f->f, from);
		return;
	}
	if (p->so == NULL &&
	    (p->so = repl_alloc(r, REPL_SERVE_OPS_MAX, sizeof(*q))) == NULL)
		return;
	q = &p->so[(p->so_first + p->so_n++) % REPL_SERVE_OPS_MAX];
	q->comp = pc->comp;
	q->feed = feed;
	q->next = from;
	q->one_run = false;
	q->to = f->seq;
}

void
ops_on_req(struct repl *r, struct link *l, const struct msg *m)
{
	struct pcomp *pc = pc_allowed(r, l, m->compartment);
	size_t at = 0;

	for (uint32_t i = 0; i < m->n_shorts && !l->peer->closing; i++) {
		struct msg_short e = msg_short_next(m, &at);
		uint32_t k = pc == NULL ? 0 : feed_first(pc->comp, e.feed);

		if (e.seq == 0)
			peer_close(r, l->peer, ERR_MALFORMED, "no such op");
		for (; pc != NULL && !l->peer->closing &&
		       feed_is(pc->comp, k, e.feed);
		     k++)
			serve_add(r, l, pc, pc->comp->order[k], e.seq);
	}
}

void
ops_serve(struct repl *r, struct peer *p)
{
	struct repl_effect *fx;
	struct serve_ops *q;
	struct fetch *f;

	if (p->so_n == 0 || p->fetch_ops > 0 || !peer_can_send(p, SESS_OPS))
		return;
	q = &p->so[p->so_first];
	if ((f = fetch_new(r, p)) == NULL)
		return;
	f->comp = q->comp;
	f->feed = q->feed;
	p->fetch_ops++;
	fx = repl_fx(r, RX_FETCH_OPS);
	fx->token = f->token;
	fx->share = q->comp->share->id;
	fx->compartment = q->comp->no;
	fx->feed = q->comp->feeds[q->feed].id;
	fx->from_seq = q->next;
	fx->bytes_max = q->one_run ? 1 : OP_RUN_BYTES_MAX;
}

static void
serve_next(struct peer *p)
{
	p->so_first = (p->so_first + 1) % REPL_SERVE_OPS_MAX;
	p->so_n--;
}

/* Is this what we asked the host for? */
static bool
answer_ok(const struct serve_ops *q, const struct repl_event *ev)
{
	return ev->err == ERR_OK && ev->ops.n_ops > 0 &&
	       ev->ops.head.seq >= ev->ops.n_ops &&
	       run_first(&ev->ops) == q->next;
}

static bool
answer_fits(const struct repl_event *ev)
{
	return ev->ops.n_ops <= LIM_HEAD_OPS &&
	       ops_run_bytes(&ev->ops) <= OP_RUN_BYTES_MAX;
}

void
ops_fetched(struct repl *r, struct fetch *fe, const struct repl_event *ev)
{
	struct peer *p = peer_find(r, fe->conn);
	struct serve_ops *q;
	struct repl_ops run = ev->ops;
	struct pcomp *pc;
	struct link *l;

	if (p == NULL || p->closing)
		return;
	p->fetch_ops--;
	p->dirty = true;
	q = &p->so[p->so_first];
	l = peer_link(p, fe->comp->share);
	if (answer_ok(q, ev) && !answer_fits(ev) && !q->one_run) {
		q->one_run = true; /* several heads' runs in one answer */
		return;
	}
	if ((pc = pc_allowed(r, l, fe->comp->no)) == NULL ||
	    !answer_ok(q, ev) || !answer_fits(ev)) {
		none_send(r, l, &fe->comp->feeds[fe->feed].f, q->next);
		serve_next(p);
		return;
	}
	run.feed = fe->comp->feeds[fe->feed].f;
	if (!ops_send(r, l, MSG_OPS, fe->comp->no, &run))
		return;
	pc_set_have(r, pc, fe->feed, run.head.seq);
	q->next = run.head.seq + 1;
	q->one_run = false;
	if (q->next > q->to)
		serve_next(p);
}

void
ops_on_none(struct repl *r, struct link *l, const struct msg *m)
{
	struct pcomp *pc = pc_allowed(r, l, m->compartment);
	struct op_feed of = { .share = l->share->id,
		.compartment = m->compartment,
		.device = m->device,
		.incarnation = m->incarnation };
	struct feed_id id;
	struct feed *f;
	uint32_t i;

	op_feed_id(&of, &id);
	if (pc == NULL || (f = feed_find(pc->comp, &id, &i)) == NULL ||
	    f->pull_conn != l->peer->conn)
		return;
	sync_pull_end(r, pc->comp, f);
	if (i < pc->n_have)
		pc->have[i] = f->tip_seq;
	sync_pull_others(r, pc->comp, i);
	sync_pull(r, l, pc);
}

/* --- receiving --- */

/* Every op decodes, belongs to the feed and continues the one before; the
 * head signs the last.  ops points into bytes. */
static enum err
run_check(const struct msg *m, const struct feed_id *id,
    const struct cry_sign_pk *device, struct slice *ops, uint32_t *epoch)
{
	struct op_view prev = { 0 }, v;
	size_t at = 0;
	enum err e;

	*epoch = 0;
	for (uint32_t i = 0; i < m->n; i++) {
		ops[i] = msg_op_next(m, &at);
		if ((e = op_decode(ops[i], &v)) != ERR_OK)
			return e;
		if (memcmp(&v.h.feed, id, sizeof(*id)) != 0)
			return ERR_MALFORMED;
		if (i > 0 && (v.h.seq != prev.h.seq + 1 ||
				 !same_id(&v.h.prev, &prev.id) ||
				 v.h.lamport <= prev.h.lamport))
			return ERR_MALFORMED;
		if (v.h.epoch > *epoch)
			*epoch = v.h.epoch;
		prev = v;
	}
	return op_head_verify(&m->head, device);
}

enum fit { FIT_YES, FIT_HAVE, FIT_GAP, FIT_FORK };

/* Does the run continue what we accepted?  *skip: ops we have already. */
static enum fit
run_fit(const struct feed *f, const struct persist *ps, uint32_t *skip)
{
	uint64_t first = run_first(&ps->run), last = ps->run.head.seq;
	struct op_view v;

	*skip = 0;
	if (first > f->tip_seq + 1)
		return FIT_GAP;
	if (last < f->tip_seq)
		return FIT_HAVE;
	if (last == f->tip_seq)
		return same_id(&ps->run.head.id, &f->tip) ? FIT_HAVE : FIT_FORK;
	*skip = (uint32_t)(f->tip_seq + 1 - first);
	if (op_decode(ps->ops[*skip], &v) != ERR_OK)
		return FIT_GAP; /* checked before: cannot be */
	if (f->tip_seq > 0 && !same_id(&v.h.prev, &f->tip))
		return FIT_FORK;
	if (v.h.lamport <= f->tip_lamport)
		return FIT_FORK;
	return FIT_YES;
}

static void
run_persist(struct repl *r, struct persist *ps, struct feed *f, uint32_t skip)
{
	struct repl_effect *fx = repl_fx(r, RX_PERSIST_OPS);

	ps->run.ops = ps->ops + skip;
	ps->run.n_ops -= skip;
	f->tip_seq = ps->run.head.seq;
	f->tip_lamport = ps->run.head.lamport;
	f->tip = ps->run.head.id;
	fx->token = ps->token;
	fx->share = ps->comp->share->id;
	fx->compartment = ps->comp->no;
	fx->feed = f->id;
	fx->ops = ps->run;
}

/* The message's own copy, its ops as slices into it. */
static struct persist *
run_copy(struct repl *r, struct slice body, struct msg *m)
{
	struct persist *ps = repl_alloc(r, 1, sizeof(*ps));

	if (ps == NULL)
		return NULL;
	ps->kind = PERSIST_OPS;
	ps->bytes = BUF_MAX(LIM_MESSAGE_BYTES);
	buf_put_slice(&ps->bytes, body);
	ps->ops = repl_alloc(r, m->n, sizeof(*ps->ops));
	if (ps->ops == NULL || !repl_ok(r, buf_err(&ps->bytes)) ||
	    msg_decode(m->type, buf_slice(&ps->bytes), m) != ERR_OK) {
		persist_free(ps);
		return NULL;
	}
	return ps;
}

static void
persist_link(struct repl *r, struct persist *ps)
{
	ps->token = r->next_token++;
	*r->persists_last = ps;
	r->persists_last = &ps->next;
	r->n_persists++;
}

static void
after_run(struct repl *r, struct link *l, struct pcomp *pc, uint32_t feed)
{
	struct feed *f = &pc->comp->feeds[feed];

	if (f->pull_conn == l->peer->conn) {
		f->pull_ms = r->now_ms;
		if (f->tip_seq < f->pull_to)
			return;
		sync_pull_end(r, pc->comp, f);
		sync_pull_others(r, pc->comp, feed);
		sync_pull(r, l, pc);
	} else if (f->pull_conn == 0 && pc_have(pc, feed) > f->tip_seq) {
		sync_pull(r, l, pc); /* a push that shows a gap */
	}
}

/* A verified run meets the feed: *later tells that it went to disk. */
static void
run_meet(struct repl *r, struct link *l, struct pcomp *pc, struct persist *ps,
    bool *later)
{
	const struct op_feed *of = &ps->run.feed;
	struct feed *f;
	uint32_t skip, i;
	enum fit fit;

	f = feed_get(r, pc->comp, &of->device, of->incarnation, &i);
	if (f == NULL) {
		persist_free(ps);
		return;
	}
	pc_set_have(r, pc, i, ps->run.head.seq);
	fit = f->forked ? FIT_HAVE : run_fit(f, ps, &skip);
	if (fit == FIT_FORK)
		f->forked = true; /* data stays, fast path ends */
	if (fit == FIT_YES && r->err == ERR_OK) {
		if (f->tip_seq == 0 && l->peer->unknown_feeds > 0)
			l->peer->unknown_feeds--; /* it was no invention */
		f->from = l->peer->conn;
		ps->comp = pc->comp;
		ps->feed = i;
		persist_link(r, ps);
		run_persist(r, ps, f, skip);
		*later = true;
	} else {
		persist_free(ps);
	}
	if (r->err == ERR_OK)
		after_run(r, l, pc, i);
}

/* A run we hold already costs no signature check: most pushes that come by
 * a second way end here. */
static bool
run_known(struct repl *r, struct link *l, struct pcomp *pc, const struct msg *m,
    const struct feed_id *id)
{
	struct feed *f;
	uint32_t i;

	if ((f = feed_find(pc->comp, id, &i)) == NULL ||
	    m->head.seq > f->tip_seq ||
	    (m->head.seq == f->tip_seq && !same_id(&m->head.id, &f->tip)))
		return false;
	pc_set_have(r, pc, i, m->head.seq);
	if (m->type == MSG_PUSH)
		gossip_twice(r, l, pc, f);
	after_run(r, l, pc, i);
	return true;
}

/* PUSH says whose feed it is; OPS was asked for, so we know. */
static bool
run_feed(struct pcomp *pc, const struct msg *m, struct op_feed *out)
{
	struct feed *f;
	uint32_t i;

	*out = (struct op_feed){ .share = pc->comp->share->id,
		.compartment = m->compartment,
		.device = m->device,
		.incarnation = m->incarnation };
	if (m->type == MSG_PUSH)
		return true;
	if ((f = feed_find(pc->comp, &m->head.feed, &i)) == NULL)
		return false;
	*out = f->f;
	return true;
}

bool
ops_on_ops(
    struct repl *r, struct link *l, const struct msg *m, struct slice body)
{
	struct pcomp *pc = pc_allowed(r, l, m->compartment);
	struct msg own = *m;
	struct op_feed of;
	struct feed_id id;
	struct persist *ps;
	bool later = false;
	uint32_t epoch;
	enum err e;

	if (pc == NULL || !run_feed(pc, m, &of) ||
	    m->head.seq > bound_seq(l->share, &of))
		return false; /* comes again when the chain has moved */
	if (m->head.seq < m->n) {
		peer_close(r, l->peer, ERR_MALFORMED, "run before the first");
		return false;
	}
	op_feed_id(&of, &id);
	if (run_known(r, l, pc, m, &id) ||
	    (ps = run_copy(r, body, &own)) == NULL)
		return false;
	if ((e = run_check(&own, &id, &of.device, ps->ops, &epoch)) != ERR_OK) {
		persist_free(ps);
		peer_close(r, l->peer, e, "ops do not verify");
		return false;
	}
	if (epoch > member_epoch(l->share->m, m->compartment)) {
		/* Our chain is behind: as for a right we do not know of. */
		persist_free(ps);
		return false;
	}
	ps->run = (struct repl_ops){
		.feed = of, .ops = ps->ops, .n_ops = own.n, .head = own.head
	};
	ps->conn = l->peer->conn;
	ps->credit = (uint32_t)body.n;
	run_meet(r, l, pc, ps, &later);
	if (later && m->type == MSG_PUSH)
		gossip_once(pc);
	return later;
}

void
ops_persisted(struct repl *r, struct persist *ps, enum err e)
{
	struct peer *p = peer_find(r, ps->conn);
	struct feed *f = &ps->comp->feeds[ps->feed];

	if (p != NULL && !p->closing) {
		peer_owe(r, p, SESS_OPS, ps->credit);
		p->dirty = true;
	}
	if (e != ERR_OK || run_first(&ps->run) != f->seq + 1) {
		/* Not on disk: accept it again when it comes again. */
		f->tip_seq = f->seq;
		f->tip_lamport = f->lamport;
		f->tip = f->head;
		return;
	}
	front_moved(ps->comp, f);
	f->seq = ps->run.head.seq;
	f->lamport = ps->run.head.lamport;
	f->head = ps->run.head.id;
	bound_feed(ps->comp, f);
	sync_changed(r, ps->comp);
	if (f->seq == ps->run.head.seq)
		gossip_push(r, ps->comp, ps->feed, &ps->run);
}
