/* replication/join.c: shares, their chains, and how a node comes in.
 *
 * A joiner sends its CLAIM on every connection; a hub queues it for
 * registrars and passes it to other hubs once; the registrar's host answers
 * RX_CLAIM with a grant (RE_MEMBER). Whoever's chain grew tells every member it
 * is connected to: those that speak get the new records, a member that has not
 * spoken yet (the joiner) gets the whole chain.  The joiner accepts the chain
 * if its genesis hashes to the share id and names the invited registrar, and
 * persists it once it finds itself granted.
 *
 * A record is believed for its signatures, whoever carries it; a peer whose
 * record does not verify is closed. */
#include "replication/repl_internal.h"

#include "store/base/mem.h"

/* Longer than the writes still under way when one failed. */
#define JOIN_AGAIN_MS 5000u

#define CHAIN_BYTES_MAX (512 * KIB) /* records in one MLOG */

struct share *
share_find(const struct repl *r, const struct share_id *id)
{
	for (uint32_t i = 0; i < r->n_shares; i++) {
		if (memcmp(&r->shares[i]->id, id, sizeof(*id)) == 0)
			return r->shares[i];
	}
	return NULL;
}

void
share_free(struct share *s)
{
	for (uint32_t i = 0; i < s->n_comps; i++)
		comp_free(s->comps[i]);
	member_free(s->m);
	statement_free(s);
	mem_free(s->comps);
	mem_free(s->claims);
	mem_free(s);
}

bool
share_has(const struct share *s, const struct cry_sign_pk *d)
{
	return s->m != NULL && member_is_member(s->m, d);
}

bool
share_has_device(const struct share *s, const struct cry_device_pub *d)
{
	return s->m != NULL && member_is_device(s->m, d);
}

static struct share *
share_new(struct repl *r, const struct share_id *id)
{
	struct share *s;
	void *q;

	REQUIRE(r->n_shares < LIM_SHARES);
	if ((s = repl_alloc(r, 1, sizeof(*s))) == NULL)
		return NULL;
	q = repl_regrow(r, r->shares, r->n_shares + 1u, sizeof(struct share *));
	if (q == NULL) {
		mem_free(s);
		return NULL;
	}
	r->shares = q;
	s->id = *id;
	s->index = r->n_shares;
	r->shares[r->n_shares++] = s;
	return s;
}

static void
links_new(struct repl *r, struct share *s)
{
	for (uint32_t i = 0; i < r->n_peers && r->err == ERR_OK; i++) {
		link_init(r, r->peers[i], s);
		r->peers[i]->dirty = true;
	}
}

/* --- telling --- */

/* One message of records, from where the last one ended. */
static void
page_send(struct repl *r, struct link *l)
{
	const struct member *m = l->share->m;
	struct msg out = { .type = MSG_MLOG, .tag = l->tx, .seq = l->page };
	struct buf items = BUF_MAX(LIM_MESSAGE_BYTES);

	while (l->page < l->pages && out.n < MSG_RECORDS_MAX &&
	       items.n < CHAIN_BYTES_MAX) {
		msg_blob_put(member_record(m, l->page++), &items);
		out.n++;
	}
	out.items = buf_slice(&items);
	if (repl_ok(r, buf_err(&items)))
		peer_send(r, l->peer, &out);
	buf_fini(&items);
}

static void
pages_send(struct repl *r, struct link *l)
{
	while (l->page < l->pages && peer_can_send(l->peer, SESS_OPS) &&
	       !l->peer->closing && r->err == ERR_OK)
		page_send(r, l);
}

/* Pages wait here, not in a queue: a chain may be longer than any queue. */
void
join_pump(struct repl *r, struct peer *p)
{
	for (uint32_t i = 0; i < p->n_links; i++)
		pages_send(r, &p->links[i]);
}

/* Records from..end go as the peer gives credit. */
static void
chain_push_to(struct repl *r, struct link *l, uint64_t from, uint64_t end)
{
	if (l->page >= l->pages || from < l->page)
		l->page = from;
	if (l->pages < end + 1)
		l->pages = end + 1;
	l->pushed = end + 1;
	pages_send(r, l);
}

static void
chain_push(struct repl *r, struct link *l, uint64_t from)
{
	chain_push_to(r, l, from, member_seq(l->share->m));
}

/* Whom a record put out is told that record, and what came before it; no more
 * of the share. */
void
join_tell_revoked(struct repl *r, struct link *l, uint64_t its_seq)
{
	uint64_t by = l->share->m == NULL
			  ? 0
			  : member_revoked_by(l->share->m, &l->peer->pub.sign);

	if (by == 0 || its_seq >= by || l->pushed > by)
		return;
	chain_push_to(r, l, its_seq + 1, by);
}

static void
claim_send(struct repl *r, struct link *l, const struct claim *c)
{
	struct msg m = { .type = MSG_CLAIM, .tag = l->tx };

	m.bytes = slice_of(c->b, c->n);
	peer_send(r, l->peer, &m);
}

/* To registrars; what a joiner gave us also to other hubs, one of which may
 * have a registrar. */
void
join_forward_claims(struct repl *r, struct link *l)
{
	struct share *s = l->share;
	bool registrar;

	if (l->state != LINK_LIVE)
		return;
	registrar = member_is_registrar(s->m, &l->peer->pub.sign);
	if (!registrar && !member_is_hub(s->m, &l->peer->pub.sign))
		return;
	if (s->n_claims > l->claims_out + REPL_CLAIMS_MAX)
		l->claims_out = s->n_claims - REPL_CLAIMS_MAX;
	while (l->claims_out < s->n_claims) {
		const struct claim *c =
		    &s->claims[l->claims_out++ % REPL_CLAIMS_MAX];

		if (registrar || !c->from_hub)
			claim_send(r, l, c);
	}
}

/* Speak, if both ends are members by our chain. */
static void
offer(struct repl *r, struct link *l)
{
	struct share *s = l->share;

	if (!s->open || !share_has_device(s, &l->peer->pub))
		return;
	sync_send_open(r, l);
	if (l->state != LINK_SILENT)
		return;
	link_move(l, LINK_OFFERED);
	l->chain_due_ms = r->now_ms + REPL_CHAIN_MS;
	repl_wake(r, l->chain_due_ms);
}

static void
chain_ask(struct repl *r, struct link *l)
{
	struct msg m = { .type = MSG_MLOG_REQ, .tag = l->tx };

	m.seq = member_seq(l->share->m) + 1;
	peer_send(r, l->peer, &m);
}

void
join_link_up(struct repl *r, struct link *l)
{
	struct share *s = l->share;

	offer(r, l);
	if (!s->joining || share_has(s, &r->o.me.sign))
		return;
	if (s->m != NULL)
		chain_ask(r, l); /* a connection broke: go on from there */
	claim_send(r, l, &s->claim);
}

/* What the peer said before we could judge it. */
static void
replay_open(struct repl *r, struct link *l)
{
	struct msg held;

	if (l->held_open.n == 0)
		return;
	if (msg_decode(MSG_OPEN, buf_slice(&l->held_open), &held) == ERR_OK)
		sync_on_open(r, l, &held, slice_of(NULL, 0));
	buf_fini(&l->held_open);
	l->held_open = BUF_MAX(MSG_CONTROL_BYTES_MAX);
}

/* It was a member and is none any more: nothing of the share goes to it, what
 * was asked of it is asked of others. */
static void
link_out(struct repl *r, struct link *l)
{
	if (l->state == LINK_SILENT)
		return;
	if (l->state == LINK_LIVE)
		join_tell_revoked(r, l, l->peer_seq);
	link_move(l, LINK_SILENT);
	l->chain_due_ms = 0;
	content_peer_gone(r, l->peer);
	sync_peer_gone(r, l->peer);
}

/* Our chain grew, or we came in. */
static void
link_refresh(struct repl *r, struct link *l)
{
	struct share *s = l->share;
	bool fresh = l->state == LINK_SILENT;

	if (!s->open)
		return;
	if (!share_has_device(s, &l->peer->pub)) {
		link_out(r, l);
		return;
	}
	offer(r, l);
	if (fresh)
		replay_open(r, l);
	if (l->state == LINK_LIVE && l->peer_seq < member_seq(s->m)) {
		chain_push(r, l, l->peer_seq + 1);
		l->peer_seq = member_seq(s->m);
	} else if (l->state == LINK_OFFERED && l->pushed <= member_seq(s->m)) {
		chain_push(r, l, l->pushed);
		l->chain_due_ms = 0;
	}
}

void
share_moved(struct repl *r, struct share *s)
{
	bound_share(r, s);
	for (uint32_t i = 0; i < s->n_comps; i++)
		witnesses_touch(r, s->comps[i]);
	for (uint32_t i = 0; i < r->n_peers && r->err == ERR_OK; i++) {
		struct peer *p = r->peers[i];

		if (p->closing)
			continue;
		link_refresh(r, peer_link(p, s));
		p->dirty = true;
	}
}

void
join_link_tick(struct repl *r, struct link *l)
{
	if (l->state != LINK_OFFERED || l->chain_due_ms == 0)
		return;
	if (r->now_ms < l->chain_due_ms) {
		repl_wake(r, l->chain_due_ms);
		return;
	}
	l->chain_due_ms = 0;
	if (l->pushed <= member_seq(l->share->m))
		chain_push(r, l, l->pushed);
}

/* --- coming to know shares --- */

static void
open_if_member(struct repl *r, struct share *s)
{
	if (s->open || !share_has(s, &r->o.me.sign) ||
	    s->durable <= member_seq(s->m))
		return;
	s->open = true;
	s->joining = false;
	share_moved(r, s);
}

void
join_share(struct repl *r, const struct repl_event *ev)
{
	struct share *s = share_find(r, &ev->share);
	bool fresh = s == NULL;
	uint32_t i = 0;

	if (ev->n_records == 0 || (!fresh && s->m != NULL))
		return;
	if (fresh && (s = share_new(r, &ev->share)) == NULL)
		return;
	if (!repl_ok(r, member_new(ev->records[0], &s->m)))
		return;
	for (i = 1; i < ev->n_records; i++) {
		if (!repl_ok(r, member_apply(s->m, ev->records[i])))
			break;
	}
	s->emitted = s->durable = member_seq(s->m) + 1;
	if (fresh)
		links_new(r, s);
	open_if_member(r, s);
}

void
join_start(struct repl *r, const struct repl_event *ev)
{
	struct share *s = share_find(r, &ev->share);
	bool fresh = s == NULL;

	if (ev->bytes.n == 0 || ev->bytes.n > CLAIM_BYTES_MAX)
		return;
	if (fresh && (s = share_new(r, &ev->share)) == NULL)
		return;
	if (share_has(s, &r->o.me.sign))
		return;
	s->joining = true;
	s->registrar = ev->registrar;
	memcpy(s->claim.b, ev->bytes.p, ev->bytes.n);
	s->claim.n = (uint16_t)ev->bytes.n;
	if (fresh) {
		links_new(r, s);
		return;
	}
	for (uint32_t i = 0; i < r->n_peers; i++)
		join_link_up(r, peer_link(r->peers[i], s));
}

void
join_signed(struct repl *r, const struct repl_event *ev)
{
	struct share *s = share_find(r, &ev->share);
	struct slice rec = ev->n_records > 0 ? ev->records[0] : ev->bytes;

	if (s == NULL || s->m == NULL)
		return;
	if (!repl_ok(r, member_apply(s->m, rec)))
		return;
	s->emitted = s->durable = member_seq(s->m) + 1;
	open_if_member(r, s);
	share_moved(r, s);
}

/* --- records from peers --- */

/* Records we may keep go to disk in order: all of them once we are in. */
static void
persist_records(struct repl *r, struct share *s)
{
	/* Also what puts us out: that we know why. */
	if (!share_has(s, &r->o.me.sign) &&
	    !member_is_revoked(s->m, &r->o.me.sign))
		return;
	while (s->emitted <= member_seq(s->m)) {
		struct persist *ps = persist_new(r, PERSIST_MEMBER);
		struct repl_effect *fx;

		if (ps == NULL)
			return;
		ps->share = s;
		fx = repl_fx(r, RX_PERSIST_MEMBER);
		fx->token = ps->token;
		fx->share = s->id;
		fx->seq = s->emitted;
		fx->bytes = member_record(s->m, s->emitted);
		s->emitted++;
	}
}

void
join_persisted(struct repl *r, struct share *s)
{
	if (s->durable < s->emitted) /* not of a branch that was dropped */
		s->durable++;
	open_if_member(r, s);
}

void
join_not_persisted(struct repl *r, struct share *s)
{
	s->emitted = s->durable;
	s->again_ms = r->now_ms + JOIN_AGAIN_MS;
	repl_wake(r, s->again_ms);
}

void
join_tick(struct repl *r, struct share *s)
{
	if (s->again_ms == 0)
		return;
	if (r->now_ms < s->again_ms) {
		repl_wake(r, s->again_ms);
		return;
	}
	s->again_ms = 0;
	if (s->m != NULL)
		persist_records(r, s);
}

static enum err
first_record(struct share *s, struct slice rec)
{
	struct member *m;
	enum err e;

	if (!s->joining)
		return ERR_AGAIN;
	if ((e = member_new(rec, &m)) != ERR_OK)
		return e;
	if (memcmp(member_share(m), &s->id, sizeof(s->id)) != 0 ||
	    !member_is_registrar(m, &s->registrar)) {
		member_free(m);
		return ERR_AUTH;
	}
	s->m = m;
	return ERR_OK;
}

/* One record; false ends the message. */
static bool
take_record(struct repl *r, struct link *l, uint64_t seq, struct slice rec)
{
	struct share *s = l->share;
	enum err e;

	if (s->halted)
		return false;
	if (s->m == NULL)
		e = seq == 0 ? first_record(s, rec) : ERR_AGAIN;
	else
		e = member_apply(s->m, rec);
	if (e == ERR_OK || e == ERR_EXISTS)
		return true;
	if (e == ERR_DENIED) /* nobody can tell which holds: rulings.md 21 */
		statement_halt(r, s, rec);
	else if (e == ERR_NOMEM)
		r->err = e;
	else if (e != ERR_AGAIN && e != ERR_UNSUPPORTED && e != ERR_LIMIT)
		peer_close(r, l->peer, e, "bad membership record");
	/* A gap shows again in OPEN; a record newer than we are waits for
	 * our next version. */
	return false;
}

void
join_on_mlog(struct repl *r, struct link *l, const struct msg *m)
{
	struct share *s = l->share;
	struct peer *p = l->peer;
	uint64_t before = s->m == NULL ? 0 : member_seq(s->m) + 1;
	uint64_t seq = m->seq;
	size_t at = 0;

	if (!share_has_device(s, &p->pub)) {
		/* Verifying costs: strangers get a budget. */
		p->sigs += m->n;
		if (p->sigs > REPL_SIGS_STRANGER_MAX) {
			peer_close(r, p, ERR_LIMIT, "too many records");
			return;
		}
	}
	for (uint32_t i = 0; i < m->n && r->err == ERR_OK; i++, seq++) {
		if (!take_record(r, l, seq, msg_blob_next(m, &at)))
			break;
	}
	if (s->m == NULL || r->err != ERR_OK)
		return;
	if (l->state == LINK_LIVE && seq > 0 && l->peer_seq < seq - 1)
		l->peer_seq = seq - 1;
	if (member_seq(s->m) + 1 == before)
		return;
	persist_records(r, s);
	if (s->open)
		share_moved(r, s);
	statement_early(r, s);
}

void
join_ask_chain(struct repl *r, struct link *l, uint64_t their_seq)
{
	if (l->share->halted || their_seq <= member_seq(l->share->m) ||
	    their_seq <= l->asked_seq)
		return;
	l->asked_seq = their_seq;
	chain_ask(r, l);
}

/* Its head is not our record of that number: one of two signed records shows
 * that, a claim does not.  Asked once: it may be a lie. */
void
join_ask_branch(struct repl *r, struct link *l)
{
	struct msg m = { .type = MSG_MLOG_REQ, .tag = l->tx, .seq = 1 };

	if (l->share->halted || l->asked_branch)
		return;
	l->asked_branch = true;
	peer_send(r, l->peer, &m);
}

void
join_on_mlog_req(struct repl *r, struct link *l, const struct msg *m)
{
	/* A joiner asks before it is one by its own chain. */
	if (l->state == LINK_SILENT || m->seq > member_seq(l->share->m))
		return;
	chain_push(r, l, m->seq);
	l->chain_due_ms = 0;
	l->peer_seq = member_seq(l->share->m);
}

/* --- claims --- */

static void
claim_queue(struct repl *r, struct link *from, struct slice bytes)
{
	struct share *s = from->share;
	struct claim *c;
	uint32_t held =
	    s->n_claims < REPL_CLAIMS_MAX ? s->n_claims : REPL_CLAIMS_MAX;

	if (s->claims == NULL) {
		s->claims = repl_alloc(r, REPL_CLAIMS_MAX, sizeof(*c));
		if (s->claims == NULL)
			return;
	}
	for (uint32_t i = 0; i < held; i++) {
		c = &s->claims[i];
		if (slice_eq(slice_of(c->b, c->n), bytes))
			return; /* sent again after a reconnect */
	}
	c = &s->claims[s->n_claims++ % REPL_CLAIMS_MAX];
	memcpy(c->b, bytes.p, bytes.n);
	c->n = (uint16_t)bytes.n;
	c->from_hub = share_has_device(s, &from->peer->pub) &&
		      member_is_hub(s->m, &from->peer->pub.sign);
	for (uint32_t i = 0; i < r->n_peers; i++)
		join_forward_claims(r, peer_link(r->peers[i], s));
}

void
join_on_claim(struct repl *r, struct link *l, const struct msg *m)
{
	struct share *s = l->share;
	struct repl_effect *fx;
	struct invite_id id;

	if (!s->open)
		return;
	if (++l->claims_in > REPL_CLAIMS_PEER_MAX &&
	    !share_has_device(s, &l->peer->pub)) {
		peer_close(r, l->peer, ERR_LIMIT, "too many claims");
		return;
	}
	if (claim_invite(m->bytes, &id) != ERR_OK) {
		peer_close(r, l->peer, ERR_MALFORMED, "malformed claim");
		return;
	}
	if (l->state == LINK_OFFERED) { /* granted already: it lacks that */
		/* What was pushed before it knew the share it passed over. */
		if (l->page >= l->pages)
			chain_push(r, l, 0);
		l->chain_due_ms = 0;
	}
	if (!member_is_registrar(s->m, &r->o.me.sign)) {
		claim_queue(r, l, m->bytes);
		return;
	}
	fx = repl_fx(r, RX_CLAIM);
	fx->conn = l->peer->conn;
	fx->share = s->id;
	fx->bytes = m->bytes;
}
