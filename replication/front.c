/* replication/front.c: telling a peer what we hold, at the cost of what is
 * new (docs/protocol.md section 11).
 *
 * Roots differ.  If the peer's root is one we had, or we remember when we
 * last agreed with it, only feeds that moved since are told (FRONT_SINCE).
 * Else all of them if they are few; if they are many, range-based set
 * reconciliation finds the ones that differ (rbsr.h).  Feeds go by 8 bytes of
 * their id where the peer should know the name; what it does not know it
 * NEEDs, and gets by its full name.
 *
 * All of this are hints that save bytes.  Roots decide; a mismatch that stays
 * ends in a whole frontier. */
#include "replication/rbsr.h"
#include "replication/repl_internal.h"

#include "store/base/mem.h"

/* --- what both had --- */

static uint64_t
root_name(const struct cry_id *root)
{
	uint64_t v = 0;

	for (int i = 7; i >= 0; i--)
		v = v << 8 | root->b[i];
	return v;
}

void
front_moved(struct comp *c, struct feed *f)
{
	f->moved = ++c->moves;
	if (f->born == 0)
		f->born = f->moved;
}

void
front_told(struct repl *r, struct comp *c)
{
	uint64_t name = root_name(&c->root);

	if (c->pasts == NULL &&
	    (c->pasts = repl_alloc(r, REPL_PASTS, sizeof(*c->pasts))) == NULL)
		return;
	if (c->n_pasts > 0 &&
	    c->pasts[(c->n_pasts - 1) % REPL_PASTS].root == name)
		return;
	c->pasts[c->n_pasts++ % REPL_PASTS] =
	    (struct past){ .root = name, .at = c->moves };
}

static struct base *
base_of(struct comp *c, const struct peer *p)
{
	for (uint32_t i = 0; i < c->n_bases && i < REPL_BASES; i++) {
		if (same_key(&c->bases[i].peer, &p->pub.sign))
			return &c->bases[i];
	}
	return NULL;
}

static struct base *
base_add(struct repl *r, struct comp *c, const struct peer *p)
{
	struct base *b;
	void *q;

	if (c->n_bases < REPL_BASES) {
		q = repl_regrow(r, c->bases, c->n_bases + 1u, sizeof(*b));
		if (q == NULL)
			return NULL;
		c->bases = q;
	}
	b = &c->bases[c->n_bases++ % REPL_BASES]; /* the oldest goes */
	b->peer = p->pub.sign;
	return b;
}

/* Equal roots: the peer holds exactly what we hold. */
void
front_agreed(struct repl *r, struct link *l, struct pcomp *pc)
{
	struct comp *c = pc->comp;
	struct base *b = base_of(c, l->peer);

	pc->tries = 0;
	pc->told = TOLD_NONE;
	pc->rbsr_in = 0;
	for (uint32_t i = 0; i < c->n; i++) {
		if (c->feeds[i].seq > 0 && !c->feeds[i].held)
			pc_set_have(r, pc, i, c->feeds[i].seq);
	}
	if (b == NULL && (b = base_add(r, c, l->peer)) == NULL)
		return;
	b->root = root_name(&c->root);
	b->at = c->moves;
}

/* When did we hold exactly what this root stands for? */
static bool
past_find(struct comp *c, const struct peer *p, uint64_t name, uint64_t *at)
{
	const struct base *b = base_of(c, p);
	uint32_t n = c->n_pasts < REPL_PASTS ? c->n_pasts : REPL_PASTS;

	for (uint32_t i = 0; i < n; i++) {
		if (c->pasts[i].root == name) {
			*at = c->pasts[i].at;
			return true;
		}
	}
	if (b == NULL || b->root != name)
		return false;
	*at = b->at;
	return true;
}

/* The peer has all that we had then; what it has of later ones is not known. */
static void
level_at(struct repl *r, struct pcomp *pc, uint64_t at)
{
	pc->named_after = at;
	for (uint32_t i = 0; i < pc->comp->n; i++) {
		const struct feed *f = &pc->comp->feeds[i];

		pc_set_have(r, pc, i, 0); /* makes the room */
		if (r->err != ERR_OK)
			return;
		pc->have[i] = f->moved <= at ? f->seq : 0;
	}
}

/* --- out --- */

void
front_name_put(const struct feed *f, struct buf *named)
{
	struct msg_front e = { .device = f->f.device,
		.incarnation = f->f.incarnation,
		.seq = f->seq };

	msg_front_put(&e, named);
}

static void
short_put(const struct feed_id *id, uint64_t seq, struct buf *shorts)
{
	struct msg_short e = { .seq = seq };

	memcpy(e.feed, id->b, sizeof(e.feed));
	msg_short_put(&e, shorts);
}

static enum front_tell
asked(const struct pcomp *pc, uint32_t i)
{
	return i < pc->n_have ? (enum front_tell)pc->tell[i] : TELL_NOT;
}

/* To be told of this feed in the pages under way? */
static bool
due(const struct pcomp *pc, uint32_t i)
{
	const struct feed *f = &pc->comp->feeds[i];

	if (f->seq == 0 || f->held)
		return false;
	if (pc->front == FRONT_SEND_ALL || asked(pc, i) != TELL_NOT)
		return true;
	return pc->front == FRONT_SEND_NEWS && pc_have(pc, i) < f->seq;
}

struct page {
	struct buf shorts, named;
	uint32_t n_shorts, n_named;
};

static void
page_put(struct pcomp *pc, uint32_t i, struct page *pg)
{
	const struct feed *f = &pc->comp->feeds[i];
	bool full = asked(pc, i) == TELL_NAMED ||
		    (pc_have(pc, i) == 0 && f->born > pc->named_after);

	if (full) {
		front_name_put(f, &pg->named);
		pg->n_named++;
	} else {
		short_put(&f->id, f->seq, &pg->shorts);
		pg->n_shorts++;
	}
	if (i < pc->n_have)
		pc->tell[i] = TELL_NOT;
}

static uint8_t
page_flags(const struct pcomp *pc)
{
	if (pc->front == FRONT_SEND_ALL)
		return 0;
	return pc->base != 0 ? FRONT_SINCE : FRONT_DELTA;
}

/* The last page is out; what was asked for meanwhile has its own. */
static void
pages_end(struct pcomp *pc)
{
	pc->front = pc->tell_more ? FRONT_SEND_TOLD : FRONT_SEND_NONE;
	pc->tell_more = false;
	pc->front_at = 0;
	pc->base = 0;
}

/* One page of our feeds, from where the last page ended.  The last page says
 * so by its flags. */
static void
page_send(struct repl *r, struct link *l, struct pcomp *pc)
{
	struct comp *c = pc->comp;
	struct page pg = { .shorts = BUF_MAX(
			       (size_t)MSG_FRONT_MAX * MSG_SHORT_BYTES_MAX),
		.named = BUF_MAX((size_t)MSG_FRONT_MAX * MSG_FRONT_BYTES) };
	struct msg m = { .type = MSG_FRONT,
		.tag = l->tx,
		.compartment = c->no,
		.flags = page_flags(pc),
		.base = pc->base };

	for (; pc->front_at < c->n; pc->front_at++) {
		if (pg.n_named + pg.n_shorts == MSG_FRONT_MAX)
			break;
		if (due(pc, pc->front_at))
			page_put(pc, pc->front_at, &pg);
	}
	if (pc->front_at < c->n)
		m.flags |= FRONT_MORE;
	else
		pages_end(pc);
	m.n = pg.n_named;
	m.items = buf_slice(&pg.named);
	m.n_shorts = pg.n_shorts;
	m.shorts = buf_slice(&pg.shorts);
	if (repl_ok(r, buf_err(&pg.named)) && repl_ok(r, buf_err(&pg.shorts)) &&
	    (m.n + m.n_shorts > 0 || (m.flags & FRONT_DELTA) == 0))
		peer_send(r, l->peer, &m);
	buf_fini(&pg.named);
	buf_fini(&pg.shorts);
}

/* Pages wait here, not in a queue: memory is one page however many feeds. */
void
front_pump(struct repl *r, struct peer *p)
{
	for (uint32_t i = 0; i < p->n_links; i++) {
		struct link *l = &p->links[i];

		for (uint32_t k = 0; k < l->n_pc && p->fronts > 0; k++) {
			while (l->pc[k].front != FRONT_SEND_NONE &&
			       peer_can_send(p, SESS_CONTROL) && !p->closing &&
			       r->err == ERR_OK) {
				page_send(r, l, &l->pc[k]);
				p->fronts -= l->pc[k].front == FRONT_SEND_NONE;
			}
		}
	}
}

/* A whole frontier replaces news, news replace what was asked for. */
static void
pages_start(struct link *l, struct pcomp *pc, enum front_send what)
{
	l->peer->dirty = true;
	if (what == FRONT_SEND_TOLD && pc->front != FRONT_SEND_NONE) {
		pc->tell_more = true;
		return;
	}
	if (pc->front > what)
		return;
	l->peer->fronts += pc->front == FRONT_SEND_NONE;
	pc->front = what;
	pc->front_at = 0;
	pc->base = 0;
}

void
front_announce(struct repl *r, struct link *l, struct pcomp *pc, uint32_t feed)
{
	struct msg m = { .type = MSG_FRONT,
		.tag = l->tx,
		.compartment = pc->comp->no,
		.flags = FRONT_DELTA,
		.n = 1 };
	struct buf named = BUF_MAX(MSG_FRONT_BYTES);

	if (l->peer->queued[SESS_CONTROL] > REPL_QUEUE_CONTROL_MAX / 2)
		return; /* it is slow: the next root will tell it */
	front_name_put(&pc->comp->feeds[feed], &named);
	m.items = buf_slice(&named);
	if (repl_ok(r, buf_err(&named)))
		peer_send(r, l->peer, &m);
	buf_fini(&named);
}

static void
told(struct repl *r, struct pcomp *pc, enum front_told what, uint64_t at)
{
	pc->told = what;
	pc->told_at = at;
	pc->told_ms = r->now_ms;
}

/* --- reconciliation of many feeds --- */

/* Ours, sorted: {feed id; seq, first bytes of the head}. */
static struct rbsr_item *
items_new(struct repl *r, const struct comp *c, uint32_t *n)
{
	struct rbsr_item *it = repl_alloc(r, c->n + 1u, sizeof(*it));

	*n = 0;
	for (uint32_t i = 0; it != NULL && i < c->n; i++) {
		const struct feed *f = &c->feeds[c->order[i]];
		struct rbsr_item *at = &it[*n];

		if (f->seq == 0 || f->held)
			continue;
		memcpy(at->key, f->id.b, sizeof(at->key));
		for (int b = 0; b < 8; b++)
			at->val[b] = (uint8_t)(f->seq >> (8 * b));
		memcpy(at->val + 8, f->head.b, 8);
		(*n)++;
	}
	return it;
}

static void
rbsr_send(struct repl *r, struct link *l, struct pcomp *pc, struct slice out)
{
	struct msg m = { .type = MSG_RBSR,
		.tag = l->tx,
		.compartment = pc->comp->no,
		.bytes = out };

	peer_send(r, l->peer, &m);
}

/* Both ends hash under the tag that the dialler sends. */
static struct slice
rbsr_salt(const struct link *l)
{
	const struct msg_tag *t = l->peer->initiator ? &l->tx : &l->rx;

	return slice_of(t->b, sizeof(t->b));
}

static void
rbsr_start(struct repl *r, struct link *l, struct pcomp *pc)
{
	struct buf out = BUF_MAX(RBSR_MESSAGE_MAX);
	struct rbsr_set set = { .salt = rbsr_salt(l) };
	struct rbsr_item *items = items_new(r, pc->comp, &set.n);

	if (items == NULL)
		return;
	set.items = items;
	told(r, pc, TOLD_ALL, 0);
	rbsr_begin(&set, &out);
	if (repl_ok(r, buf_err(&out)))
		rbsr_send(r, l, pc, buf_slice(&out));
	buf_fini(&out);
	mem_free(items);
}

struct found {
	struct repl *r;
	struct link *l;
	struct pcomp *pc;
	struct buf need;
	uint32_t n_need;
};

static uint64_t
item_seq(const struct rbsr_item *it)
{
	uint64_t v = 0;

	for (int b = 7; b >= 0; b--)
		v = v << 8 | it->val[b];
	return v;
}

static void
need_add(struct found *fd, const uint8_t *feed)
{
	struct feed_id id = { 0 };

	if (fd->n_need == MSG_SHORTS_MAX)
		return;
	memcpy(id.b, feed, 8);
	short_put(&id, 0, &fd->need);
	fd->n_need++;
}

static void
need_send(struct found *fd)
{
	struct msg m = { .type = MSG_NEED,
		.tag = fd->l->tx,
		.compartment = fd->pc->comp->no,
		.n_shorts = fd->n_need,
		.shorts = buf_slice(&fd->need) };

	if (repl_ok(fd->r, buf_err(&fd->need)) && fd->n_need > 0)
		peer_send(fd->r, fd->l->peer, &m);
	buf_fini(&fd->need);
}

static void
tell(struct repl *r, struct pcomp *pc, uint32_t i, enum front_tell how)
{
	pc_set_have(r, pc, i, 0); /* makes the room */
	if (r->err == ERR_OK)
		pc->tell[i] = (uint8_t)how;
}

static void
rbsr_found(
    void *ctx, const struct rbsr_item *mine, const struct rbsr_item *theirs)
{
	struct found *fd = ctx;
	struct comp *c = fd->pc->comp;
	uint64_t seq = theirs == NULL ? 0 : item_seq(theirs);
	struct feed_id id;
	struct feed *f;
	uint32_t i;

	REQUIRE(mine != NULL || theirs != NULL);
	memcpy(id.b, mine != NULL ? mine->key : theirs->key, sizeof(id.b));
	if ((f = feed_find(c, &id, &i)) == NULL) {
		need_add(fd, id.b);
		return;
	}
	pc_set_have(fd->r, fd->pc, i, 0);
	if (fd->r->err != ERR_OK)
		return;
	fd->pc->have[i] = seq;
	if (f->seq > seq && !f->held)
		tell(fd->r, fd->pc, i, seq == 0 ? TELL_NAMED : TELL_SHORT);
}

void
front_on_rbsr(struct repl *r, struct link *l, const struct msg *m)
{
	struct pcomp *pc = pc_allowed(r, l, m->compartment);
	struct buf out = BUF_MAX(RBSR_MESSAGE_MAX);
	struct rbsr_set set = { .salt = rbsr_salt(l) };
	struct rbsr_item *items;
	struct found fd = { .r = r, .l = l, .pc = pc };
	enum err e;

	if (pc == NULL || pc->rbsr_in++ > REPL_RBSR_ROUNDS ||
	    (items = items_new(r, pc->comp, &set.n)) == NULL)
		return;
	fd.need = BUF_MAX((size_t)MSG_SHORTS_MAX * MSG_SHORT_BYTES_MAX);
	set.items = items;
	e = rbsr_answer(&set, m->bytes, &out, rbsr_found, &fd);
	mem_free(items);
	if (e != ERR_OK && e != ERR_NOMEM) {
		peer_close(r, l->peer, e, "malformed ranges");
	} else if (repl_ok(r, e)) {
		if (out.n > 0)
			rbsr_send(r, l, pc, buf_slice(&out));
		pages_start(l, pc, FRONT_SEND_TOLD);
		sync_pull(r, l, pc);
	}
	need_send(&fd);
	buf_fini(&out);
}

/* --- roots differ: how to go on --- */

static void
start_all(struct repl *r, struct link *l, struct pcomp *pc)
{
	pages_start(l, pc, FRONT_SEND_ALL);
	pc->named_after = pc->ops == 0 ? 0 : UINT64_MAX;
	told(r, pc, TOLD_ALL, 0);
}

/* Too many feeds to tell all of, and a good part of them known there? */
static bool
many(const struct pcomp *pc)
{
	uint64_t mine = pc->comp->ops, theirs = pc->ops;

	return pc->comp->n - pc->comp->n_empty > REPL_FRONT_ALL &&
	       pc->tries <= 2 && mine / 2 <= theirs && theirs / 2 <= mine;
}

static void
start_whole(struct repl *r, struct link *l, struct pcomp *pc)
{
	if (many(pc))
		rbsr_start(r, l, pc);
	else
		start_all(r, l, pc);
}

static void
start_since(struct repl *r, struct link *l, struct pcomp *pc, uint64_t name,
    uint64_t at)
{
	level_at(r, pc, at);
	pages_start(l, pc, FRONT_SEND_NEWS);
	if (pc->front == FRONT_SEND_NEWS && pc->front_at == 0)
		pc->base = name;
	told(r, pc, TOLD_SINCE, at);
}

void
front_compare(struct repl *r, struct link *l, struct pcomp *pc)
{
	uint64_t name = root_name(&pc->root), at;
	const struct base *b = base_of(pc->comp, l->peer);

	pc->tries++;
	if (pc->tries <= 2 && past_find(pc->comp, l->peer, name, &at))
		start_since(r, l, pc, name, at);
	else if (pc->tries <= 2 && b != NULL)
		start_since(r, l, pc, b->root, b->at);
	else if (!many(pc) || l->peer->initiator || pc->tries > 1)
		start_whole(r, l, pc);
}

/* --- in --- */

bool
front_heard(struct repl *r, struct link *l, struct pcomp *pc,
    const struct msg_front *e, uint32_t *index)
{
	struct comp *c = pc->comp;
	uint32_t known = c->n - c->n_empty;

	/* A feed we may not accept: the chain may move, then roots are told
	 * again. */
	if (e->seq == 0 || !member_might_write(c->share->m, &e->device, c->no))
		return false;
	if (l->peer->unknown_feeds >= REPL_UNKNOWN_FEEDS_MAX)
		return false; /* the next comparison brings it again */
	if (feed_get(r, c, &e->device, e->incarnation, index) == NULL)
		return false;
	l->peer->unknown_feeds += c->n - c->n_empty - known;
	pc_set_have(r, pc, *index, e->seq);
	return true;
}

static void
heard_shorts(
    struct repl *r, struct link *l, struct pcomp *pc, const struct msg *m)
{
	struct found fd = { .r = r, .l = l, .pc = pc };
	size_t at = 0;

	fd.need = BUF_MAX((size_t)MSG_SHORTS_MAX * MSG_SHORT_BYTES_MAX);
	for (uint32_t i = 0; i < m->n_shorts && r->err == ERR_OK; i++) {
		struct msg_short e = msg_short_next(m, &at);
		uint32_t k = feed_first(pc->comp, e.feed);

		if (!feed_is(pc->comp, k, e.feed))
			need_add(&fd, e.feed);
		for (; feed_is(pc->comp, k, e.feed); k++)
			pc_set_have(r, pc, pc->comp->order[k], e.seq);
	}
	need_send(&fd);
}

void
front_on_need(struct repl *r, struct link *l, const struct msg *m)
{
	struct pcomp *pc = pc_allowed(r, l, m->compartment);
	size_t at = 0;

	for (uint32_t i = 0; pc != NULL && i < m->n_shorts; i++) {
		struct msg_short e = msg_short_next(m, &at);
		uint32_t k = feed_first(pc->comp, e.feed);

		for (; feed_is(pc->comp, k, e.feed) && r->err == ERR_OK; k++)
			tell(r, pc, pc->comp->order[k], TELL_NAMED);
	}
	if (pc != NULL)
		pages_start(l, pc, FRONT_SEND_TOLD);
}

/* What the peer says it holds begins anew, or from what we both had: *at. */
static bool
heard_base(struct repl *r, struct pcomp *pc, const struct peer *p,
    const struct msg *m, uint64_t *at)
{
	bool first = !pc->in_pages;

	*at = 0;
	if ((m->flags & FRONT_DELTA) != 0)
		return true;
	pc->in_pages = (m->flags & FRONT_MORE) != 0;
	if ((m->flags & FRONT_SINCE) != 0) {
		if (!past_find(pc->comp, p, m->base, at))
			return false;
		if (first)
			level_at(r, pc, *at);
		return true;
	}
	if (first && pc->n_have > 0)
		memset(pc->have, 0, pc->n_have * sizeof(*pc->have));
	pc->named_after = 0; /* what it does not list it does not know */
	return true;
}

/* Its frontier is complete: ours in return, as far as it was not told. */
static void
answer(
    struct repl *r, struct link *l, struct pcomp *pc, bool known, uint64_t at)
{
	if (pc->told != TOLD_NONE && r->now_ms >= pc->told_ms + REPL_CHECK_MS)
		pc->told = TOLD_NONE; /* did not cross theirs */
	if (pc->told == TOLD_ALL)
		return;
	if (!known) {
		start_whole(r, l, pc);
	} else if (pc->told == TOLD_NONE || at < pc->told_at) {
		pages_start(l, pc, FRONT_SEND_NEWS);
		told(r, pc, TOLD_SINCE, at);
	}
}

void
front_on_front(struct repl *r, struct link *l, const struct msg *m)
{
	struct pcomp *pc = pc_allowed(r, l, m->compartment);
	uint64_t at;
	bool known;

	if (pc == NULL)
		return;
	known = heard_base(r, pc, l->peer, m, &at);
	for (uint32_t i = 0; i < m->n; i++) {
		struct msg_front e = msg_front_at(m, i);
		uint32_t feed;

		(void)front_heard(r, l, pc, &e, &feed);
	}
	heard_shorts(r, l, pc, m);
	if (l->peer->closing || r->err != ERR_OK)
		return;
	sync_pull(r, l, pc);
	if ((m->flags & (FRONT_DELTA | FRONT_MORE)) != 0)
		return;
	answer(r, l, pc, known, at);
}
