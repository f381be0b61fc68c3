/* replication/sync.c: who has what: roots and pulls.
 *
 * Both ends send OPEN with a root per common compartment.  Equal roots end
 * it.  Different roots: each side tells what it holds (front.c) and asks
 * (OPS_REQ) for what it lacks, one peer per feed at a time.  When ops became
 * durable the new root is told (ROOT, delayed a little so that a burst costs
 * one); a mismatch that stays is looked into again with doubling delays.
 * Roots decide, remembered frontiers only save work (docs/protocol.md section
 * 11). */
#include "replication/repl_internal.h"

#include "store/base/mem.h"

/* --- compartments and feeds --- */

struct comp *
comp_find(const struct share *s, uint16_t no)
{
	for (uint32_t i = 0; i < s->n_comps; i++) {
		if (s->comps[i]->no == no)
			return s->comps[i];
	}
	return NULL;
}

struct comp *
comp_get(struct repl *r, struct share *s, uint16_t no)
{
	struct comp *c = comp_find(s, no);
	void *q;

	if (c != NULL)
		return c;
	if ((c = repl_alloc(r, 1, sizeof(*c))) == NULL)
		return NULL;
	q = repl_regrow(r, s->comps, s->n_comps + 1u, sizeof(struct comp *));
	if (q == NULL) {
		mem_free(c);
		return NULL;
	}
	s->comps = q;
	s->comps[s->n_comps++] = c;
	c->share = s;
	c->no = no;
	c->dirty = true;
	return c;
}

void
comp_free(struct comp *c)
{
	mem_free(c->feeds);
	mem_free(c->order);
	mem_free(c->news);
	mem_free(c->missing);
	mem_free(c->pasts);
	mem_free(c->bases);
	witnesses_free(c);
	mem_free(c);
}

/* Root = hash over {feed id, seq, head} of every feed that has ops, sorted
 * by feed id. */
void
comp_refresh(struct comp *c)
{
	struct cry_hasher h;
	uint8_t row[16 + 8 + 32];

	if (!c->dirty)
		return;
	c->dirty = false;
	c->ops = c->lamport = 0;
	cry_hasher_init(&h);
	cry_hasher_add(&h, SLICE_LIT("psc.root.1"));
	for (uint32_t i = 0; i < c->n; i++) {
		const struct feed *f = &c->feeds[c->order[i]];

		if (f->seq == 0 || f->held)
			continue;
		memcpy(row, f->id.b, 16);
		for (int b = 0; b < 8; b++)
			row[16 + b] = (uint8_t)(f->seq >> (8 * b));
		memcpy(row + 24, f->head.b, 32);
		cry_hasher_add(&h, slice_of(row, sizeof(row)));
		c->ops += f->seq;
		if (f->lamport > c->lamport)
			c->lamport = f->lamport;
	}
	cry_hasher_end(&h, &c->root);
}

/* Where id is, or would go, in the sorted order. */
static uint32_t
feed_slot(const struct comp *c, const struct feed_id *id)
{
	uint32_t lo = 0, hi = c->n;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (memcmp(&c->feeds[c->order[mid]].id, id, sizeof(*id)) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

uint32_t
feed_first(const struct comp *c, const uint8_t *name)
{
	struct feed_id id = { 0 };

	memcpy(id.b, name, 8);
	return feed_slot(c, &id);
}

bool
feed_is(const struct comp *c, uint32_t at, const uint8_t *name)
{
	return at < c->n && memcmp(c->feeds[c->order[at]].id.b, name, 8) == 0;
}

struct feed *
feed_find(struct comp *c, const struct feed_id *id, uint32_t *index)
{
	uint32_t at = feed_slot(c, id);

	if (at == c->n ||
	    memcmp(&c->feeds[c->order[at]].id, id, sizeof(*id)) != 0)
		return NULL;
	*index = c->order[at];
	return &c->feeds[*index];
}

static bool
feeds_room(struct repl *r, struct comp *c)
{
	uint32_t cap = c->cap == 0 ? 4 : c->cap * 2;
	void *q;

	if (c->n < c->cap)
		return true;
	if ((q = repl_regrow(r, c->feeds, cap, sizeof(*c->feeds))) == NULL)
		return false;
	c->feeds = q;
	if ((q = repl_regrow(r, c->order, cap, sizeof(*c->order))) == NULL)
		return false;
	c->order = q;
	c->cap = cap;
	return true;
}

/* The place of a feed that was only announced is given to another. */
static uint32_t
feed_reuse(struct repl *r, struct comp *c)
{
	uint32_t i = c->empty_at, at;

	REQUIRE(c->feeds != NULL); /* one of them is empty */
	while (!c->feeds[i].empty)
		i = (i + 1) % c->n;
	c->empty_at = i;
	at = feed_slot(c, &c->feeds[i].id);
	REQUIRE(c->order[at] == i);
	memmove(c->order + at, c->order + at + 1,
	    (c->n - at - 1) * sizeof(*c->order));
	for (uint32_t k = 0; k < r->n_peers; k++) {
		struct link *l = peer_link(r->peers[k], c->share);
		struct pcomp *pc = l == NULL ? NULL : pc_find(l, c);

		if (pc != NULL && i < pc->n_have)
			pc->have[i] = pc->tell[i] = 0;
	}
	c->n_empty--;
	return i;
}

static void
feed_insert(
    struct comp *c, uint32_t i, uint32_t n_order, const struct feed *new)
{
	uint32_t n = c->n, at;

	c->n = n_order; /* feed_slot looks at so many */
	at = feed_slot(c, &new->id);
	c->n = n;
	memmove(c->order + at + 1, c->order + at,
	    (n_order - at) * sizeof(*c->order));
	c->order[at] = i;
	c->feeds[i] = *new;
}

struct feed *
feed_get(struct repl *r, struct comp *c, const struct cry_sign_pk *device,
    uint64_t incarnation, uint32_t *index)
{
	struct op_feed of = { .share = c->share->id,
		.compartment = c->no,
		.device = *device,
		.incarnation = incarnation };
	struct feed new = { .f = of };
	struct feed *f;

	op_feed_id(&of, &new.id);
	if ((f = feed_find(c, &new.id, index)) != NULL) {
		c->n_empty -= f->empty;
		f->empty = false;
		return f;
	}
	if (c->n_empty > 0) {
		*index = feed_reuse(r, c);
		feed_insert(c, *index, c->n - 1, &new);
		return &c->feeds[*index];
	}
	if (c->n >= REPL_FEEDS_MAX || !feeds_room(r, c))
		return NULL;
	REQUIRE(c->feeds != NULL && c->order != NULL);
	*index = c->n;
	feed_insert(c, c->n, c->n, &new);
	c->n++;
	return &c->feeds[*index];
}

/* --- per peer --- */

uint64_t
pc_have(const struct pcomp *pc, uint32_t feed)
{
	return feed < pc->n_have ? pc->have[feed] : 0;
}

void
pc_set_have(struct repl *r, struct pcomp *pc, uint32_t f, uint64_t seq)
{
	uint32_t n = pc->comp->cap;
	void *q;

	if (f >= pc->n_have) {
		q = repl_regrow(r, pc->have, n, sizeof(*pc->have));
		if (q == NULL)
			return;
		pc->have = q;
		if ((q = repl_regrow(r, pc->tell, n, 1)) == NULL)
			return;
		pc->tell = q;
		memset(pc->tell + pc->n_have, 0, n - pc->n_have);
		memset(pc->have + pc->n_have, 0,
		    (n - pc->n_have) * sizeof(*pc->have));
		pc->n_have = n;
	}
	if (pc->have[f] < seq)
		pc->have[f] = seq;
}

struct pcomp *
pc_find(struct link *l, const struct comp *c)
{
	for (uint32_t i = 0; i < l->n_pc; i++) {
		if (l->pc[i].comp == c)
			return &l->pc[i];
	}
	return NULL;
}

struct pcomp *
pc_allowed(struct repl *r, struct link *l, uint16_t no)
{
	struct share *s = l->share;
	struct pcomp *pc;
	struct comp *c;
	void *q;

	if (!member_may_receive(s->m, &r->o.me.sign, no) ||
	    !member_may_receive(s->m, &l->peer->pub.sign, no))
		return NULL;
	if ((c = comp_get(r, s, no)) == NULL)
		return NULL;
	if ((pc = pc_find(l, c)) != NULL)
		return pc;
	q = repl_regrow(r, l->pc, l->n_pc + 1u, sizeof(*l->pc));
	if (q == NULL)
		return NULL;
	l->pc = q;
	pc = &l->pc[l->n_pc++];
	memset(pc, 0, sizeof(*pc));
	pc->comp = c;
	pc->backoff_ms = REPL_CHECK_MS;
	return pc;
}

bool
pc_equal(struct pcomp *pc)
{
	comp_refresh(pc->comp);
	return pc->got_root && pc->ops == pc->comp->ops &&
	       same_id(&pc->root, &pc->comp->root);
}

static void
check_later(struct repl *r, struct pcomp *pc, uint32_t in_ms)
{
	pc->check_ms = r->now_ms + in_ms;
	repl_wake(r, pc->check_ms);
}

/* Roots differ: say what we hold, and look again. */
static void
compare(struct repl *r, struct link *l, struct pcomp *pc)
{
	check_later(
	    r, pc, pc->backoff_ms + (uint32_t)repl_random(r, REPL_CHECK_MS));
	if (pc->backoff_ms < REPL_CHECK_MAX_MS)
		pc->backoff_ms *= 2;
	front_compare(r, l, pc);
}

static void
agreed(struct repl *r, struct link *l, struct pcomp *pc)
{
	pc->check_ms = 0;
	pc->level = true;
	pc->backoff_ms = REPL_CHECK_MS;
	front_agreed(r, l, pc);
}

static void
root_seen(struct repl *r, struct link *l, struct pcomp *pc,
    const struct msg_root *root, bool at_once)
{
	pc->got_root = true;
	pc->root = root->root;
	pc->ops = root->ops;
	if (pc_equal(pc))
		agreed(r, l, pc);
	else if (at_once)
		compare(r, l, pc);
	else if (pc->check_ms == 0)
		check_later(r, pc, pc->backoff_ms);
}

/* --- OPEN and ROOT --- */

void
sync_send_open(struct repl *r, struct link *l)
{
	const struct member *mb = l->share->m;
	struct msg m = { .type = MSG_OPEN, .tag = l->tx };
	struct buf items = BUF_MAX((size_t)LIM_COMPARTMENTS * MSG_ROOT_BYTES);

	m.seq = member_seq(mb);
	m.id = *member_head(mb);
	for (uint32_t i = 0; i < member_n_compartments(mb); i++) {
		struct pcomp *pc = pc_allowed(r, l, member_compartment(mb, i));
		struct msg_root root;

		if (pc == NULL)
			continue;
		comp_refresh(pc->comp);
		front_told(r, pc->comp);
		root = (struct msg_root){ .compartment = pc->comp->no,
			.root = pc->comp->root,
			.ops = pc->comp->ops };
		msg_root_put(&root, &items);
		pc->sent_root = true;
		pc->last_sent = pc->comp->root;
		pc->root_due_ms = 0;
		m.n++;
	}
	m.items = buf_slice(&items);
	if (repl_ok(r, buf_err(&items)))
		peer_send(r, l->peer, &m);
	buf_fini(&items);
	l->ae_ms = r->now_ms + REPL_AE_MS - REPL_AE_MS / 8 +
		   repl_random(r, REPL_AE_MS / 4);
	repl_wake(r, l->ae_ms);
}

/* We cannot judge the peer yet (our chain is behind, or not on disk): its
 * last OPEN waits.  To the peer that looks like an unknown share. */
static void
open_hold(struct repl *r, struct link *l, struct slice body)
{
	buf_reset(&l->held_open);
	buf_put_slice(&l->held_open, body);
	(void)repl_ok(r, buf_err(&l->held_open));
}

void
sync_on_open(
    struct repl *r, struct link *l, const struct msg *m, struct slice body)
{
	struct share *s = l->share;

	if (l->state == LINK_SILENT) {
		open_hold(r, l, body);
		join_tell_revoked(r, l, m->seq);
		return;
	}
	link_move(l, LINK_LIVE);
	l->peer_seq = m->seq;
	l->peer_head = m->id;
	if (m->seq == member_seq(s->m) && !same_id(&m->id, member_head(s->m)))
		join_ask_branch(r, l); /* two chains? (rulings.md 21) */
	join_ask_chain(r, l, m->seq);
	join_forward_claims(r, l);
	statement_send_all(r, l);
	for (uint32_t i = 0; i < m->n && !l->peer->closing; i++) {
		struct msg_root root = msg_root_at(m, i);
		struct pcomp *pc = pc_allowed(r, l, root.compartment);

		if (pc == NULL)
			continue;
		root_seen(r, l, pc, &root, true);
		witnesses_meet(r, l, pc);
	}
	content_link_live(r, l);
}

void
sync_on_root(struct repl *r, struct link *l, const struct msg *m)
{
	struct pcomp *pc = pc_allowed(r, l, m->compartment);
	struct msg_root root = {
		.compartment = m->compartment, .root = m->id, .ops = m->seq
	};

	if (pc != NULL)
		root_seen(r, l, pc, &root, false);
}

void
sync_changed(struct repl *r, struct comp *c)
{
	c->dirty = true;
	witnesses_touch(r, c);
	for (uint32_t i = 0; i < r->n_peers; i++) {
		struct link *l = peer_link(r->peers[i], c->share);
		struct pcomp *pc;

		if (l == NULL || l->state != LINK_LIVE ||
		    (pc = pc_find(l, c)) == NULL)
			continue;
		pc->backoff_ms = REPL_CHECK_MS;
		if (pc->root_due_ms != 0)
			continue;
		pc->root_due_ms = r->now_ms + REPL_ROOT_DELAY_MS;
		repl_wake(r, pc->root_due_ms);
	}
}

static void
root_tell(struct repl *r, struct link *l, struct pcomp *pc)
{
	struct msg m = {
		.type = MSG_ROOT, .tag = l->tx, .compartment = pc->comp->no
	};

	pc->root_due_ms = 0;
	comp_refresh(pc->comp);
	if (pc->sent_root && same_id(&pc->last_sent, &pc->comp->root))
		return;
	pc->sent_root = true;
	pc->last_sent = pc->comp->root;
	m.id = pc->comp->root;
	m.seq = pc->comp->ops;
	front_told(r, pc->comp);
	peer_send(r, l->peer, &m);
	if (pc_equal(pc))
		agreed(r, l, pc);
}

/* --- pulls --- */

void
sync_pull_end(struct repl *r, struct comp *c, struct feed *f)
{
	struct peer *p = peer_find(r, f->pull_conn);

	if (f->pull_conn == 0)
		return;
	f->pull_conn = 0;
	c->pulls--;
	if (p != NULL && p->pulls > 0)
		p->pulls--;
}

static void
pull_mark(
    struct repl *r, struct link *l, struct comp *c, struct feed *f, uint64_t to)
{
	f->pull_conn = l->peer->conn;
	f->pull_to = to;
	f->pull_ms = r->now_ms;
	c->pulls++;
	l->peer->pulls++;
	repl_wake(r, r->now_ms + REPL_STALL_MS);
}

/* May this feed be asked of the peer, and is there something to ask for? */
static bool
pull_wanted(const struct pcomp *pc, uint32_t i)
{
	const struct comp *c = pc->comp;
	const struct feed *f = &c->feeds[i];

	return f->pull_conn == 0 && !f->forked && pc->have[i] > f->tip_seq &&
	       bound_seq(c->share, &f->f) > f->tip_seq;
}

static void
pull_put(const struct feed *f, struct msg *m, struct buf *shorts)
{
	struct msg_short e = { .seq = f->tip_seq + 1 };

	memcpy(e.feed, f->id.b, sizeof(e.feed));
	msg_short_put(&e, shorts);
	m->n_shorts++;
}

void
sync_graft(
    struct repl *r, struct link *l, struct comp *c, struct feed *f, uint64_t to)
{
	struct buf shorts = BUF_MAX(MSG_SHORT_BYTES_MAX);
	struct msg m = {
		.type = MSG_GRAFT, .tag = l->tx, .compartment = c->no
	};

	pull_mark(r, l, c, f, to);
	pull_put(f, &m, &shorts);
	m.shorts = buf_slice(&shorts);
	if (repl_ok(r, buf_err(&shorts)))
		peer_send(r, l->peer, &m);
	buf_fini(&shorts);
}

/* One request for all feeds of which the peer has more. */
void
sync_pull(struct repl *r, struct link *l, struct pcomp *pc)
{
	struct comp *c = pc->comp;
	uint32_t n = pc->n_have < c->n ? pc->n_have : c->n;
	struct buf shorts =
	    BUF_MAX((size_t)REPL_PULLS_MAX * MSG_SHORT_BYTES_MAX);
	struct msg m = {
		.type = MSG_OPS_REQ, .tag = l->tx, .compartment = c->no
	};

	for (uint32_t k = 0; k < n; k++) {
		uint32_t i = (pc->pull_at + k) % n;
		uint64_t to;

		if (l->peer->pulls >= REPL_PULLS_MAX || l->peer->closing) {
			pc->pull_at = i; /* go on here */
			break;
		}
		if (!pull_wanted(pc, i))
			continue;
		to = bound_seq(c->share, &c->feeds[i].f);
		if (pc->have[i] < to)
			to = pc->have[i];
		pull_mark(r, l, c, &c->feeds[i], to);
		pull_put(&c->feeds[i], &m, &shorts);
	}
	m.shorts = buf_slice(&shorts);
	if (repl_ok(r, buf_err(&shorts)) && m.n_shorts > 0)
		peer_send(r, l->peer, &m);
	buf_fini(&shorts);
}

void
sync_pull_others(struct repl *r, struct comp *c, uint32_t feed)
{
	struct feed *f = &c->feeds[feed];

	for (uint32_t i = 0; i < r->n_peers && f->pull_conn == 0; i++) {
		struct link *l = peer_link(r->peers[i], c->share);
		struct pcomp *pc;

		if (r->peers[i]->closing || l == NULL ||
		    l->state != LINK_LIVE || (pc = pc_find(l, c)) == NULL)
			continue;
		if (pc_have(pc, feed) > f->tip_seq)
			sync_pull(r, l, pc);
	}
}

static void
comp_peer_gone(struct repl *r, struct comp *c, repl_conn conn)
{
	for (uint32_t f = 0; c->pulls > 0 && f < c->n; f++) {
		if (c->feeds[f].pull_conn != conn)
			continue;
		sync_pull_end(r, c, &c->feeds[f]);
		sync_pull_others(r, c, f);
	}
}

static bool
feed_claimed(struct repl *r, struct comp *c, uint32_t feed)
{
	for (uint32_t k = 0; k < r->n_peers; k++) {
		struct link *l = peer_link(r->peers[k], c->share);
		struct pcomp *pc = l == NULL ? NULL : pc_find(l, c);

		if (!r->peers[k]->closing && pc != NULL &&
		    pc_have(pc, feed) > 0)
			return true;
	}
	for (struct persist *ps = r->persists; ps != NULL; ps = ps->next) {
		if (ps->kind == PERSIST_OPS && ps->comp == c &&
		    ps->feed == feed)
			return true;
	}
	return false;
}

/* What a peer announced and nobody else does: a liar who comes again and
 * again must not use up the places of real feeds. */
static void
comp_forget(struct repl *r, struct comp *c)
{
	for (uint32_t i = 0; i < c->n; i++) {
		struct feed *f = &c->feeds[i];

		if (f->empty || f->seq > 0 || f->tip_seq > 0 ||
		    f->pull_conn != 0 || feed_claimed(r, c, i))
			continue;
		f->empty = true;
		c->n_empty++;
	}
}

void
sync_peer_gone(struct repl *r, struct peer *p)
{
	for (uint32_t k = 0; k < p->n_links; k++) {
		struct share *s = p->links[k].share;

		for (uint32_t i = 0; i < s->n_comps; i++) {
			comp_peer_gone(r, s->comps[i], p->conn);
			comp_forget(r, s->comps[i]);
		}
	}
}

/* --- time --- */

static void
pc_tick(struct repl *r, struct link *l, struct pcomp *pc)
{
	if (pc->root_due_ms != 0 && r->now_ms >= pc->root_due_ms)
		root_tell(r, l, pc);
	if (pc->check_ms != 0 && r->now_ms >= pc->check_ms) {
		pc->check_ms = 0;
		if (pc->got_root && !pc_equal(pc))
			compare(r, l, pc);
	}
	if (pc->root_due_ms != 0)
		repl_wake(r, pc->root_due_ms);
	if (pc->check_ms != 0)
		repl_wake(r, pc->check_ms);
}

void
sync_link_tick(struct repl *r, struct link *l)
{
	if (l->state != LINK_LIVE)
		return;
	for (uint32_t i = 0; i < l->n_pc && !l->peer->closing; i++)
		pc_tick(r, l, &l->pc[i]);
	if (r->now_ms >= l->ae_ms)
		sync_send_open(r, l);
	repl_wake(r, l->ae_ms);
}

/* A peer that was asked and sent nothing for long is passed over. */
void
sync_comp_tick(struct repl *r, struct comp *c)
{
	for (uint32_t i = 0; c->pulls > 0 && i < c->n; i++) {
		struct feed *f = &c->feeds[i];
		struct peer *p;
		struct pcomp *pc;

		if (f->pull_conn == 0)
			continue;
		if (r->now_ms < f->pull_ms + REPL_STALL_MS) {
			repl_wake(r, f->pull_ms + REPL_STALL_MS);
			continue;
		}
		p = peer_find(r, f->pull_conn);
		sync_pull_end(r, c, f);
		if (p != NULL &&
		    (pc = pc_find(peer_link(p, c->share), c)) != NULL &&
		    i < pc->n_have)
			pc->have[i] = f->tip_seq;
		sync_pull_others(r, c, i);
	}
}
