/* replication/gossip.c: new runs on their way through the tree (Plumtree,
 * Leitao, Pereira and Rodrigues, SRDS 2007).
 *
 * Per compartment every connection is a branch or lazy.  Along branches a
 * small new run is pushed at once; lazy links are told of it by IHAVE,
 * gathered for 50 ms.  Who is told of a run and is not pushed it for 150 ms
 * asks with GRAFT, which makes the link a branch again; who is pushed what it
 * had answers PRUNE.  All start as branches, so the first run floods and
 * leaves a tree; from then on a run comes about once to every node.
 *
 * The tree is per compartment, not per share: a member that may not receive a
 * compartment cannot be on the way of its runs.
 *
 * Hubs prefer hubs: a site that reached two of them must not become the
 * bridge between them, so of two branches to a hub, the one from a hub stays.
 *
 * This only saves time: whatever gossip misses, roots bring (sync.c). */
#include "replication/repl_internal.h"

#include "store/base/mem.h"

static struct pcomp *
live(struct repl *r, struct peer *p, const struct comp *c)
{
	struct link *l = peer_link(p, c->share);

	if (p->closing || l == NULL || l->state != LINK_LIVE)
		return NULL;
	return pc_allowed(r, l, c->no);
}

/* --- out --- */

/* Lazy links hear of the feed when the batch is over. */
static void
news_add(struct repl *r, struct comp *c, uint32_t feed)
{
	if (c->feeds[feed].news || c->n_news == GOSSIP_NEWS_MAX)
		return; /* above: the roots will differ */
	if (c->news == NULL && (c->news = repl_alloc(r, GOSSIP_NEWS_MAX,
				    sizeof(*c->news))) == NULL)
		return;
	c->feeds[feed].news = true;
	c->news[c->n_news++] = feed;
	if (c->news_ms == 0)
		c->news_ms = r->now_ms + GOSSIP_BATCH_MS;
	repl_wake(r, c->news_ms);
}

/* Does it continue what the peer holds, as far as anybody can know? */
static bool
continues(const struct pcomp *pc, uint32_t feed, const struct repl_ops *run)
{
	uint64_t first = run->head.seq - run->n_ops + 1;

	return pc->level || pc_have(pc, feed) + 1 >= first;
}

static void
push_one(struct repl *r, struct link *l, struct pcomp *pc, uint32_t feed,
    const struct repl_ops *run)
{
	if (pc_have(pc, feed) >= run->head.seq)
		return;
	if (ops_run_bytes(run) > REPL_EAGER_BYTES_MAX ||
	    run->n_ops > LIM_HEAD_OPS)
		front_announce(r, l, pc, feed); /* it asks, of whom it likes */
	else if (pc->lazy || l->peer->queued[SESS_OPS] > 0 ||
		 !continues(pc, feed, run))
		news_add(r, pc->comp, feed);
	else if (ops_send(r, l, MSG_PUSH, pc->comp->no, run))
		pc_set_have(r, pc, feed, run->head.seq);
}

void
gossip_push(
    struct repl *r, struct comp *c, uint32_t feed, const struct repl_ops *run)
{
	for (uint32_t i = 0; i < r->n_peers && r->err == ERR_OK; i++) {
		struct pcomp *pc = live(r, r->peers[i], c);

		if (pc != NULL)
			push_one(
			    r, peer_link(r->peers[i], c->share), pc, feed, run);
	}
}

static void
ihave_send(struct repl *r, struct link *l, struct pcomp *pc)
{
	struct comp *c = pc->comp;
	struct msg m = {
		.type = MSG_IHAVE, .tag = l->tx, .compartment = c->no
	};
	struct buf items = BUF_MAX((size_t)MSG_FRONT_MAX * MSG_FRONT_BYTES);

	if (l->peer->queued[SESS_CONTROL] > REPL_QUEUE_CONTROL_MAX / 2)
		return; /* it is slow: the next root will tell it */
	for (uint32_t i = 0; i < c->n_news; i++) {
		const struct feed *f = &c->feeds[c->news[i]];

		if (pc_have(pc, c->news[i]) >= f->seq)
			continue;
		front_name_put(f, &items);
		m.n++;
	}
	m.items = buf_slice(&items);
	if (repl_ok(r, buf_err(&items)) && m.n > 0)
		peer_send(r, l->peer, &m);
	buf_fini(&items);
}

static void
news_tell(struct repl *r, struct comp *c)
{
	for (uint32_t i = 0; i < r->n_peers && r->err == ERR_OK; i++) {
		struct pcomp *pc = live(r, r->peers[i], c);

		if (pc != NULL)
			ihave_send(r, peer_link(r->peers[i], c->share), pc);
	}
	for (uint32_t i = 0; i < c->n_news; i++)
		c->feeds[c->news[i]].news = false;
	c->n_news = 0;
	c->news_ms = 0;
}

/* --- the shape of the tree --- */

static void
prune_send(struct repl *r, struct link *l, struct pcomp *pc)
{
	struct msg m = {
		.type = MSG_PRUNE, .tag = l->tx, .compartment = pc->comp->no
	};

	pc->lazy = true;
	peer_send(r, l->peer, &m);
}

void
gossip_twice(
    struct repl *r, struct link *l, struct pcomp *pc, const struct feed *f)
{
	const struct member *m = l->share->m;
	struct peer *first = peer_find(r, f->from);
	struct pcomp *other = first == NULL ? NULL : live(r, first, pc->comp);

	if (other != NULL && first != l->peer &&
	    member_is_hub(m, &r->o.me.sign) &&
	    member_is_hub(m, &l->peer->pub.sign) &&
	    !member_is_hub(m, &first->pub.sign)) {
		pc->lazy = false;
		prune_send(r, peer_link(first, l->share), other);
		return;
	}
	prune_send(r, l, pc);
}

void
gossip_once(struct pcomp *pc)
{
	pc->lazy = false;
}

void
gossip_on_prune(struct repl *r, struct link *l, const struct msg *m)
{
	struct pcomp *pc = pc_allowed(r, l, m->compartment);

	if (pc != NULL)
		pc->lazy = true;
}

void
gossip_on_graft(struct repl *r, struct link *l, const struct msg *m)
{
	struct pcomp *pc = pc_allowed(r, l, m->compartment);

	if (pc != NULL)
		pc->lazy = false;
	ops_on_req(r, l, m);
}

/* --- in --- */

static void
missing_add(struct repl *r, struct link *l, struct pcomp *pc, uint32_t feed)
{
	struct comp *c = pc->comp;
	struct missing_run *m;

	if (c->feeds[feed].missing)
		return;
	if (c->missing == NULL &&
	    (c->missing = repl_alloc(
		 r, GOSSIP_MISSING_MAX, sizeof(*c->missing))) == NULL)
		return;
	if (c->n_missing == GOSSIP_MISSING_MAX) {
		sync_pull(r, l, pc);
		return;
	}
	c->feeds[feed].missing = true;
	m = &c->missing[c->n_missing++];
	*m = (struct missing_run){ .feed = feed,
		.to = pc_have(pc, feed),
		.due_ms = r->now_ms + GOSSIP_GRAFT_MS };
	repl_wake(r, m->due_ms);
}

void
gossip_on_ihave(struct repl *r, struct link *l, const struct msg *m)
{
	struct pcomp *pc = pc_allowed(r, l, m->compartment);

	if (pc == NULL)
		return;
	for (uint32_t i = 0; i < m->n && r->err == ERR_OK; i++) {
		struct msg_front e = msg_front_at(m, i);
		uint32_t feed;

		if (front_heard(r, l, pc, &e, &feed) &&
		    pc->comp->feeds[feed].tip_seq < e.seq)
			missing_add(r, l, pc, feed);
	}
}

/* Somebody who has more of the feed; who was asked last only if nobody else
 * has. */
static struct link *
graft_peer(struct repl *r, struct comp *c, uint32_t feed)
{
	const struct feed *f = &c->feeds[feed];
	struct link *again = NULL;
	uint32_t at =
	    r->n_peers == 0 ? 0 : (uint32_t)repl_random(r, r->n_peers);

	for (uint32_t k = 0; k < r->n_peers; k++) {
		struct peer *p = r->peers[(at + k) % r->n_peers];
		struct pcomp *pc = live(r, p, c);

		if (pc == NULL || p->pulls >= REPL_PULLS_MAX ||
		    pc_have(pc, feed) <= f->tip_seq)
			continue;
		if (p->conn != f->pull_conn)
			return peer_link(p, c->share);
		again = peer_link(p, c->share);
	}
	return again;
}

/* True: no more to be done for it here. */
static bool
graft(struct repl *r, struct comp *c, struct missing_run *m)
{
	struct feed *f = &c->feeds[m->feed];
	struct pcomp *pc;
	struct link *l;

	if (f->tip_seq >= m->to || f->forked)
		return true;
	m->due_ms = r->now_ms + GOSSIP_RETRY_MS;
	if (f->pull_conn != 0 && r->now_ms < f->pull_ms + GOSSIP_RETRY_MS)
		return ++m->tries > GOSSIP_TRIES; /* it is on its way */
	if (m->tries++ == GOSSIP_TRIES) {
		sync_pull_end(r, c, f); /* whom frontiers name may be asked */
		return true;
	}
	if ((l = graft_peer(r, c, m->feed)) == NULL)
		return true;
	pc = pc_find(l, c);
	REQUIRE(pc != NULL);
	pc->lazy = false;
	sync_pull_end(r, c, f);
	sync_graft(r, l, c, f, pc_have(pc, m->feed));
	return false;
}

static void
missing_ask(struct repl *r, struct comp *c)
{
	uint32_t left = 0;

	for (uint32_t i = 0; i < c->n_missing && r->err == ERR_OK; i++) {
		struct missing_run m = c->missing[i];

		if (r->now_ms >= m.due_ms && graft(r, c, &m)) {
			c->feeds[m.feed].missing = false;
			continue;
		}
		c->missing[left++] = m;
		repl_wake(r, m.due_ms);
	}
	c->n_missing = left;
}

void
gossip_tick(struct repl *r, struct comp *c)
{
	if (c->news_ms != 0 && r->now_ms >= c->news_ms)
		news_tell(r, c);
	if (c->news_ms != 0)
		repl_wake(r, c->news_ms);
	missing_ask(r, c);
}
