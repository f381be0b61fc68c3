/* replication/peer.c: one connection: credit, queues, who may speak of what.
 *
 * Link (one per share and peer):
 *
 *   SILENT --we are both members: OPEN sent--> OFFERED --their OPEN--> LIVE
 *   either --the peer was revoked--> SILENT
 *
 * Credit: a side may send a class while less than its window is unreturned,
 * so at most a window and one message are under way.  Whoever receives gives
 * bytes back when they are dealt with: control at once, ops and bulk when
 * they are durable. */
#include "replication/repl_internal.h"

#include "store/base/mem.h"

static const uint64_t windows[SESS_CLASSES] = {
	[SESS_CONTROL] = 64 * KIB,
	[SESS_OPS] = 1 * MIB,
	[SESS_BULK] = REPL_WINDOW_BULK,
	[SESS_RELAY] = 1 * MIB,
};

#define ST(s) (1u << (s))
static const uint32_t link_next[LINK_STATES] = {
	[LINK_SILENT] = ST(LINK_OFFERED),
	[LINK_OFFERED] = ST(LINK_LIVE) | ST(LINK_SILENT),
	[LINK_LIVE] = ST(LINK_LIVE) | ST(LINK_SILENT),
};

/* A link that speaks has a share that is open and a peer that is a member;
 * a live one knows the peer's chain. */
static void
link_invariant(const struct link *l)
{
	if (l->state == LINK_SILENT)
		return;
	REQUIRE(l->share->open);
	REQUIRE(member_is_device(l->share->m, &l->peer->pub));
}

void
link_move(struct link *l, enum link_state next)
{
	REQUIRE((link_next[l->state] & ST(next)) != 0);
	l->state = next;
	link_invariant(l);
}

struct peer *
peer_find(struct repl *r, repl_conn conn)
{
	for (uint32_t i = 0; i < r->n_peers; i++) {
		if (r->peers[i]->conn == conn)
			return r->peers[i];
	}
	return NULL;
}

struct link *
peer_link(struct peer *p, const struct share *s)
{
	return s->index < p->n_links ? &p->links[s->index] : NULL;
}

/* Tag = hash of {handshake, direction} under the share's id: it means
 * nothing outside this session and to nobody who lacks the id. */
void
repl_tag(const struct share_id *share, const uint8_t hash[64],
    bool from_initiator, uint8_t out[16])
{
	struct cry_key key;
	uint8_t dir = from_initiator ? 0 : 1;
	struct slice parts[2] = { slice_of(hash, 64), slice_of(&dir, 1) };

	memcpy(key.b, share->b, sizeof(key.b));
	cry_hash_parts(&key, "psc.tag.1", parts, 2, out, 16);
}

struct link *
peer_tagged(struct peer *p, const struct msg_tag *tag)
{
	for (uint32_t i = 0; i < p->n_links; i++) {
		if (memcmp(p->links[i].rx.b, tag->b, sizeof(tag->b)) == 0)
			return &p->links[i];
	}
	return NULL;
}

void
link_init(struct repl *r, struct peer *p, struct share *s)
{
	struct link *l;
	void *q;

	REQUIRE(s->index == p->n_links);
	q = repl_regrow(r, p->links, p->n_links + 1u, sizeof(*p->links));
	if (q == NULL)
		return;
	p->links = q;
	l = &p->links[p->n_links++];
	memset(l, 0, sizeof(*l));
	l->peer = p;
	l->share = s;
	l->held_open = BUF_MAX(MSG_CONTROL_BYTES_MAX);
	repl_tag(&s->id, p->hash, p->initiator, l->tx.b);
	repl_tag(&s->id, p->hash, !p->initiator, l->rx.b);
	join_link_up(r, l);
}

static void
out_free(struct out_item *i)
{
	buf_fini(&i->body);
	mem_free(i);
}

void
peer_free(struct peer *p)
{
	for (int c = 0; c < SESS_CLASSES; c++) {
		struct out_item *i, *next;

		for (i = p->out[c]; i != NULL; i = next) {
			next = i->next;
			out_free(i);
		}
	}
	for (uint32_t i = 0; i < p->n_links; i++) {
		for (uint32_t k = 0; k < p->links[i].n_pc; k++) {
			mem_free(p->links[i].pc[k].have);
			mem_free(p->links[i].pc[k].tell);
			mem_free(p->links[i].pc[k].wit_due);
		}
		mem_free(p->links[i].pc);
		buf_fini(&p->links[i].held_open);
	}
	mem_free(p->links);
	mem_free(p->so);
	content_peer_free(p);
	mem_free(p);
}

void
peer_up(struct repl *r, const struct repl_event *ev)
{
	struct peer *p;
	void *q;

	REQUIRE(ev->conn != 0 && peer_find(r, ev->conn) == NULL);
	if ((p = repl_alloc(r, 1, sizeof(*p))) == NULL)
		return;
	q = repl_regrow(r, r->peers, r->n_peers + 1u, sizeof(struct peer *));
	if (q == NULL) {
		mem_free(p);
		return;
	}
	r->peers = q;
	r->peers[r->n_peers++] = p;
	p->conn = ev->conn;
	p->initiator = ev->initiator;
	p->unlimited = ev->all;
	p->pub = ev->peer;
	memcpy(p->hash, ev->hash, sizeof(p->hash));
	p->up_ms = p->rx_ms = p->tx_ping_ms = r->now_ms;
	for (int c = 0; c < SESS_CLASSES; c++)
		p->out_last[c] = &p->out[c];
	p->dirty = true;
	repl_wake(r, r->now_ms + REPL_PING_MS);
	for (uint32_t i = 0; i < r->n_shares && r->err == ERR_OK; i++)
		link_init(r, p, r->shares[i]);
}

/* What was asked of it goes to others; what it asked is forgotten. */
static void
peer_detach(struct repl *r, struct peer *p)
{
	content_peer_gone(r, p);
	sync_peer_gone(r, p);
}

void
peer_down(struct repl *r, repl_conn conn)
{
	struct peer *p = peer_find(r, conn);

	if (p == NULL)
		return;
	for (uint32_t i = 0; i < r->n_peers; i++) {
		if (r->peers[i] != p)
			continue;
		r->peers[i] = r->peers[--r->n_peers];
		break;
	}
	if (!p->closing) {
		p->closing = true;
		peer_detach(r, p);
	}
	peer_free(p);
}

void
peer_close(struct repl *r, struct peer *p, enum err e, const char *why)
{
	struct repl_effect *fx;

	if (p->closing)
		return;
	p->closing = true;
	fx = repl_fx(r, RX_CLOSE);
	fx->conn = p->conn;
	fx->err = e;
	fx->why = why;
	peer_detach(r, p);
}

/* --- sending --- */

static void
emit(struct repl *r, struct peer *p, uint8_t type, struct buf *body)
{
	enum sess_class c = msg_class(type);
	struct repl_effect *fx = repl_fx(r, RX_SEND);

	fx->conn = p->conn;
	fx->cls = c;
	fx->type = type;
	fx->bytes = buf_slice(body);
	if (!msg_is_free(type))
		p->tx_used[c] += body->n;
	p->bytes_tx += body->n;
	repl_trash(r, body->p);
	*body = BUF_EMPTY;
}

bool
peer_can_send(const struct peer *p, enum sess_class c)
{
	return p->out[c] == NULL && p->tx_used[c] < windows[c];
}

static bool
queue_full(const struct peer *p, enum sess_class c)
{
	if (c == SESS_CONTROL)
		return p->queued[c] > REPL_QUEUE_CONTROL_MAX;
	if (c == SESS_OPS)
		return p->queued[c] > REPL_QUEUE_OPS_MAX;
	return p->queued[c] > REPL_QUEUE_BULK_MAX;
}

static void
enqueue(struct repl *r, struct peer *p, uint8_t type, struct buf *body)
{
	enum sess_class c = msg_class(type);
	struct out_item *i;

	if (queue_full(p, c)) {
		buf_fini(body);
		peer_close(r, p, ERR_BUSY, "peer gives no credit");
		return;
	}
	if ((i = repl_alloc(r, 1, sizeof(*i))) == NULL) {
		buf_fini(body);
		return;
	}
	i->type = type;
	i->body = *body;
	*p->out_last[c] = i;
	p->out_last[c] = &i->next;
	p->queued[c] += body->n;
}

void
peer_send(struct repl *r, struct peer *p, const struct msg *m)
{
	struct buf body = BUF_MAX(LIM_MESSAGE_BYTES);

	if (p->closing || r->err != ERR_OK)
		return;
	if (!repl_ok(r, msg_encode(m, &body))) {
		/* NOMEM is kept; too long cannot be, senders check */
		REQUIRE(r->err == ERR_NOMEM);
		buf_fini(&body);
		return;
	}
	if (msg_is_free(m->type) || peer_can_send(p, msg_class(m->type)))
		emit(r, p, m->type, &body);
	else
		enqueue(r, p, m->type, &body);
}

/* Messages that waited for credit. */
static void
drain(struct repl *r, struct peer *p, enum sess_class c)
{
	struct out_item *i;

	while ((i = p->out[c]) != NULL && p->tx_used[c] < windows[c]) {
		p->out[c] = i->next;
		if (p->out[c] == NULL)
			p->out_last[c] = &p->out[c];
		p->queued[c] -= i->body.n;
		emit(r, p, i->type, &i->body);
		mem_free(i);
	}
}

static void
credit_give(struct repl *r, struct peer *p)
{
	struct msg m = { .type = MSG_CREDIT };
	bool due = false;

	for (int c = 0; c < SESS_CLASSES; c++)
		due |= p->rx_owed[c] >= windows[c] / 4;
	if (!due)
		return;
	for (int c = 0; c < SESS_CLASSES; c++) {
		m.credit[c] = (uint32_t)p->rx_owed[c];
		p->rx_used[c] -= p->rx_owed[c];
		p->rx_owed[c] = 0;
	}
	peer_send(r, p, &m);
}

void
peer_owe(struct repl *r, struct peer *p, enum sess_class c, uint64_t n)
{
	REQUIRE(p->rx_owed[c] <= p->rx_used[c]);
	if (n > p->rx_used[c] - p->rx_owed[c])
		n = p->rx_used[c] - p->rx_owed[c];
	p->rx_owed[c] += n;
	credit_give(r, p);
}

static void
on_credit(struct repl *r, struct peer *p, const struct msg *m)
{
	for (int c = 0; c < SESS_CLASSES; c++) {
		if (m->credit[c] > p->tx_used[c]) {
			peer_close(r, p, ERR_MALFORMED, "credit not owed");
			return;
		}
		p->tx_used[c] -= m->credit[c];
	}
	p->dirty = true;
}

void
peer_pump(struct repl *r, struct peer *p)
{
	for (int c = 0; c < SESS_CLASSES; c++)
		drain(r, p, (enum sess_class)c);
}

/* --- receiving --- */

typedef void (*link_msg_fn)(
    struct repl *r, struct link *l, const struct msg *m);

static link_msg_fn
live_handler(uint8_t type)
{
	switch (type) {
	case MSG_ROOT: return sync_on_root;
	case MSG_FRONT: return front_on_front;
	case MSG_NEED: return front_on_need;
	case MSG_RBSR: return front_on_rbsr;
	case MSG_OPS_REQ: return ops_on_req;
	case MSG_OPS_NONE: return ops_on_none;
	case MSG_IHAVE: return gossip_on_ihave;
	case MSG_GRAFT: return gossip_on_graft;
	case MSG_PRUNE: return gossip_on_prune;
	case MSG_HAVE: return content_on_have;
	case MSG_GET: return content_on_get;
	case MSG_CANCEL: return content_on_cancel;
	case MSG_NOT_HAVE: return content_on_not_have;
	case MSG_BUSY: return content_on_busy;
	case MSG_CHALLENGE: return prove_on_challenge;
	case MSG_PROOF: return prove_on_proof;
	case MSG_WITNESS: return witnesses_on;
	case MSG_WITNESSES: return witnesses_on_sums;
	default: return NULL;
	}
}

/* Messages that name a share.  An unknown tag and a share the peer has no
 * part in are answered alike: not at all. */
static bool
on_tagged(
    struct repl *r, struct peer *p, const struct msg *m, struct slice body)
{
	struct link *l = peer_tagged(p, &m->tag);
	link_msg_fn fn;

	if (l == NULL)
		return false;
	switch (m->type) {
	case MSG_OPEN: sync_on_open(r, l, m, body); return false;
	case MSG_MLOG: join_on_mlog(r, l, m); return false;
	case MSG_MLOG_REQ: join_on_mlog_req(r, l, m); return false;
	case MSG_STATEMENT: statement_on(r, l, m); return false;
	case MSG_CLAIM: join_on_claim(r, l, m); return false;
	default: break;
	}
	if (l->state != LINK_LIVE)
		return false;
	if (m->type == MSG_OPS || m->type == MSG_PUSH)
		return ops_on_ops(r, l, m, body);
	if ((fn = live_handler(m->type)) != NULL)
		fn(r, l, m);
	return false;
}

/* True: credit is given back later. */
static bool
take(struct repl *r, struct peer *p, const struct msg *m, struct slice body)
{
	struct msg pong = { .type = MSG_PONG, .seq = m->seq };

	switch (m->type) {
	case MSG_CREDIT: on_credit(r, p, m); return false;
	case MSG_PING: peer_send(r, p, &pong); return false;
	case MSG_PONG: return false;
	case MSG_CHUNK: return content_on_chunk(r, p, m);
	default: return on_tagged(r, p, m, body);
	}
}

void
peer_msg(struct repl *r, struct peer *p, uint8_t type, struct slice body)
{
	enum sess_class c = msg_class(type);
	struct msg m;
	enum err e;

	p->rx_ms = r->now_ms;
	p->bytes_rx += body.n;
	p->dirty = true;
	if ((e = msg_decode(type, body, &m)) != ERR_OK) {
		peer_close(r, p, e, "malformed message");
		return;
	}
	if (!msg_is_free(type)) {
		if (p->rx_used[c] >= windows[c]) {
			peer_close(r, p, ERR_LIMIT, "sent beyond its credit");
			return;
		}
		p->rx_used[c] += body.n;
	}
	if (take(r, p, &m, body) || msg_is_free(type) || p->closing)
		return;
	peer_owe(r, p, c, body.n);
}

/* --- time --- */

static void
keepalive(struct repl *r, struct peer *p)
{
	struct msg ping = { .type = MSG_PING, .seq = r->now_ms };
	uint64_t quiet = r->now_ms - p->rx_ms;

	if (quiet >= REPL_DEAD_MS) {
		peer_close(r, p, ERR_TIMEOUT, "nothing heard");
		return;
	}
	if (quiet >= REPL_PING_MS &&
	    r->now_ms - p->tx_ping_ms >= REPL_PING_MS) {
		p->tx_ping_ms = r->now_ms;
		peer_send(r, p, &ping);
	}
	repl_wake(r, r->now_ms + REPL_PING_MS);
}

void
peer_tick(struct repl *r, struct peer *p)
{
	if (p->closing)
		return;
	keepalive(r, p);
	for (uint32_t i = 0; i < p->n_links && !p->closing; i++) {
		join_link_tick(r, &p->links[i]);
		sync_link_tick(r, &p->links[i]);
	}
	p->dirty = true;
}
