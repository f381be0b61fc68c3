/* replication/statement.c: what is said beside the chain.
 *
 * A freeze is believed for its signature, whoever brings it, also from one
 * that is frozen itself; it goes to disk and on to every member we speak
 * with, and with each OPEN.  A record that proves equivocation (rulings.md
 * 21) halts the chain here and travels the same way, so that it halts alike
 * everywhere, and after a restart.  Then each node tells its branch, so that
 * registrars can choose; the checkpoint that they sign takes the place of the
 * chain wherever it is heard, and the chain goes on.  A draft (member_draft.c)
 * goes to all, too, until the chain is past it: a registrar may be several
 * nodes away. */
#include "replication/repl_internal.h"

#include "store/base/mem.h"

#define DRAFTS_BY_MAX 8u /* of one registrar that wait */
#define BRANCHES_MAX 32u /* of a share; each is signed */
#define OWN_BRANCH_BYTES ((size_t)200 * KIB)
/* freezes of a share, drafts, branches, one proof */
#define STATEMENTS_MAX                                                         \
	(257u + BRANCHES_MAX + DRAFTS_BY_MAX * MEMBER_REGISTRARS_MAX)

void
statement_free(struct share *s)
{
	for (uint32_t i = 0; i < REPL_EARLY_MAX; i++)
		buf_fini(&s->early[i]);
	while (s->statements != NULL) {
		struct statement *st = s->statements;

		s->statements = st->next;
		buf_fini(&st->b);
		mem_free(st);
	}
}

static struct statement *
keep(struct repl *r, struct share *s, struct slice bytes)
{
	struct statement *st;

	if (s->n_statements >= STATEMENTS_MAX ||
	    (st = repl_alloc(r, 1, sizeof(*st))) == NULL)
		return NULL;
	st->b = BUF_MAX(LIM_MEMBER_RECORD_BYTES);
	buf_put_slice(&st->b, bytes);
	if (!repl_ok(r, buf_err(&st->b))) {
		mem_free(st);
		return NULL;
	}
	st->next = s->statements;
	s->statements = st;
	s->n_statements++;
	return st;
}

static void
send_one(struct repl *r, struct link *l, const struct statement *st)
{
	struct msg m = { .type = MSG_STATEMENT, .tag = l->tx };

	m.bytes = buf_slice(&st->b);
	peer_send(r, l->peer, &m);
}

/* A freeze that was ended since is not said again, nor a draft of the past. */
static bool
holds(struct share *s, struct slice bytes)
{
	struct member_draft d;

	if (member_is_draft(bytes))
		return member_draft_read(s->m, bytes, &d) == ERR_OK;
	return !member_is_statement(bytes) || /* of a halt: gone with it */
	       member_freeze(s->m, bytes) == ERR_EXISTS;
}

static void
send_branch(struct repl *r, struct link *l, uint64_t from, bool open)
{
	struct buf b = BUF_MAX(LIM_MEMBER_RECORD_BYTES);
	struct msg m = { .type = MSG_STATEMENT, .tag = l->tx };

	if (repl_ok(r, member_branch_build(l->share->m, from, open, &b))) {
		m.bytes = buf_slice(&b);
		peer_send(r, l->peer, &m);
	}
	buf_fini(&b);
}

/* From the fork on; before it, too, where that fits: it may lie deeper. */
static void
send_own_branch(struct repl *r, struct link *l)
{
	const struct share *s = l->share;
	uint64_t from = s->fork;
	size_t bytes = 0;

	while (from > member_settled(s->m) + 1 && from <= member_seq(s->m)) {
		bytes += member_record(s->m, from - 1).n;
		if (bytes > OWN_BRANCH_BYTES / 2)
			break;
		from--;
	}
	if (from > 0 && from <= member_seq(s->m))
		send_branch(r, l, from, true);
}

/* Is the peer known to have our last checkpoint? */
static bool
has_checkpoint(const struct link *l)
{
	const struct member *m = l->share->m;

	return l->peer_seq >= member_settled(m) &&
	       l->peer_seq <= member_seq(m) &&
	       member_is_ours(m, l->peer_seq, &l->peer_head);
}

void
statement_send_all(struct repl *r, struct link *l)
{
	if (l->share->halted)
		send_own_branch(r, l);
	else if (member_settled(l->share->m) > 0 && !has_checkpoint(l))
		send_branch(r, l, member_branch_from(l->share->m), false);
	for (struct statement *st = l->share->statements; st != NULL;
	     st = st->next) {
		if (holds(l->share, buf_slice(&st->b)))
			send_one(r, l, st);
	}
}

static void
tell(struct repl *r, struct share *s, const struct statement *st)
{
	for (uint32_t i = 0; i < r->n_peers && r->err == ERR_OK; i++) {
		struct link *l = peer_link(r->peers[i], s);

		if (l != NULL && !l->peer->closing && l->state == LINK_LIVE)
			send_one(r, l, st);
	}
}

static void
accept(struct repl *r, struct share *s, struct slice bytes, bool durable)
{
	struct statement *st = keep(r, s, bytes);
	struct repl_effect *fx;

	if (st == NULL)
		return;
	if (!durable) {
		fx = repl_fx(r, RX_STATEMENT);
		fx->share = s->id;
		fx->bytes = buf_slice(&st->b);
	}
	if (s->open)
		share_moved(r, s);
	tell(r, s, st);
}

static void
tell_own_branch(struct repl *r, struct share *s)
{
	for (uint32_t i = 0; i < r->n_peers && r->err == ERR_OK; i++) {
		struct link *l = peer_link(r->peers[i], s);

		if (l != NULL && !l->peer->closing && l->state == LINK_LIVE)
			send_own_branch(r, l);
	}
}

static void
halt(struct repl *r, struct share *s, struct slice record, bool durable)
{
	struct share_id id;

	if (s->halted)
		return;
	s->halted = true;
	/* Not below its number: it may grow on records we have not seen. */
	if (member_record_place(record, &id, &s->fork) != ERR_OK ||
	    s->fork > member_seq(s->m))
		s->fork = member_seq(s->m);
	accept(r, s, record, durable);
	tell_own_branch(r, s);
}

/* What was said of the former branch is past; freezes are said again. */
static void
statements_anew(struct repl *r, struct share *s)
{
	struct statement **at = &s->statements, *st;

	while ((st = *at) != NULL) {
		if (member_is_statement(buf_slice(&st->b))) {
			if (member_freeze(s->m, buf_slice(&st->b)) == ERR_NOMEM)
				r->err = ERR_NOMEM;
			at = &st->next;
			continue;
		}
		*at = st->next;
		buf_fini(&st->b);
		mem_free(st);
		s->n_statements--;
	}
}

/* What came under keys that the former branch knew nothing of was dropped: it
 * is asked for again. */
static void
pulls_anew(struct repl *r, struct share *s)
{
	for (uint32_t i = 0; i < s->n_comps; i++) {
		struct comp *c = s->comps[i];

		for (uint32_t k = 0; k < c->n && c->pulls > 0; k++)
			sync_pull_end(r, c, &c->feeds[k]);
		for (uint32_t k = 0; k < c->n; k++)
			sync_pull_others(r, c, k);
	}
}

/* A checkpoint: m is the chain from now on. */
static void
branch_hold(struct repl *r, struct share *s, struct member *m,
    struct slice bytes, bool durable)
{
	struct repl_effect *fx;

	member_free(s->m);
	s->m = m;
	s->halted = false;
	s->emitted = s->durable = member_seq(m) + 1;
	statements_anew(r, s);
	if (!durable) {
		fx = repl_fx(r, RX_STATEMENT);
		fx->share = s->id;
		fx->bytes = bytes;
	}
	for (uint32_t i = 0; i < r->n_peers && r->err == ERR_OK; i++) {
		struct link *l = peer_link(r->peers[i], s);

		if (l == NULL)
			continue;
		l->asked_seq = 0;
		l->asked_branch = false;
		l->page = l->pages = 0; /* of the former branch */
		if (l->pushed > member_branch_from(m))
			l->pushed = member_branch_from(m);
		if (l->peer->closing || l->state != LINK_LIVE)
			continue;
		send_branch(r, l, member_branch_from(m), false);
		l->peer_seq = member_seq(m); /* its chain, too, then */
	}
	if (s->open)
		share_moved(r, s);
	pulls_anew(r, s);
}

static bool
branch_room(const struct share *s, struct slice bytes)
{
	uint32_t n = 0;

	for (const struct statement *st = s->statements; st != NULL;
	     st = st->next) {
		if (slice_eq(buf_slice(&st->b), bytes))
			return false;
		n += member_is_branch(buf_slice(&st->b));
	}
	return n < BRANCHES_MAX;
}

/* Records that are no part of our chain, all signed. */
static enum err
branch_on(struct repl *r, struct share *s, struct slice bytes, bool durable)
{
	struct member_branch b = { 0 };
	struct member *m = NULL;
	enum err e;

	if (!branch_room(s, bytes))
		return ERR_EXISTS;
	e = member_branch_take(s->m, bytes, &m);
	if (e == ERR_OK) {
		branch_hold(r, s, m, bytes, durable);
		return e;
	}
	if (e != ERR_NOTFOUND && e != ERR_DENIED && e != ERR_UNSUPPORTED)
		return e;
	if ((e = member_branch_read(s->m, bytes, &b)) != ERR_OK)
		return e;
	/* It only goes on where our chain ends: records come by MLOG. */
	if (!b.checkpoint && b.fork > member_seq(s->m))
		return ERR_AGAIN;
	if (b.fork <= member_seq(s->m)) {
		s->fork = s->halted && s->fork < b.fork ? s->fork : b.fork;
		if (!s->halted) {
			s->halted = true;
			tell_own_branch(r, s);
		}
	}
	accept(r, s, bytes, durable);
	return ERR_OK;
}

void
statement_halt(struct repl *r, struct share *s, struct slice record)
{
	halt(r, s, record, false);
}

/* Drafts that the chain is past make room. */
static void
drafts_prune(struct share *s)
{
	struct statement **at = &s->statements, *st;

	while ((st = *at) != NULL) {
		if (!member_is_draft(buf_slice(&st->b)) ||
		    holds(s, buf_slice(&st->b))) {
			at = &st->next;
			continue;
		}
		*at = st->next;
		buf_fini(&st->b);
		mem_free(st);
		s->n_statements--;
	}
}

/* ERR_EXISTS: we have it, or the chain is past it. */
static enum err
judge_draft(struct share *s, struct slice bytes)
{
	struct member_draft d, o;
	uint32_t by = 0;
	enum err e = member_draft_read(s->m, bytes, &d);

	if (e != ERR_OK)
		return e;
	drafts_prune(s);
	for (struct statement *st = s->statements; st != NULL; st = st->next) {
		if (!member_is_draft(buf_slice(&st->b)))
			continue;
		if (slice_eq(buf_slice(&st->b), bytes))
			return ERR_EXISTS;
		if (member_draft_read(s->m, buf_slice(&st->b), &o) == ERR_OK &&
		    o.signer == d.signer)
			by++;
	}
	if (by >= DRAFTS_BY_MAX)
		return ERR_LIMIT;
	e = member_draft_stands(s->m, bytes);
	return e == ERR_OK || e == ERR_NOMEM ? e : ERR_DENIED;
}

/* Of a freeze, what member_freeze says; ERR_DENIED of a record: proof. */
static enum err
judge(struct share *s, struct slice bytes)
{
	if (member_is_draft(bytes))
		return judge_draft(s, bytes);
	return member_is_statement(bytes) ? member_freeze(s->m, bytes)
					  : member_apply(s->m, bytes);
}

/* Or else a record, which is looked at as a proof. */
static bool
beside(struct slice bytes)
{
	return member_is_statement(bytes) || member_is_draft(bytes);
}

void
statement_known(struct repl *r, const struct repl_event *ev)
{
	struct share *s = share_find(r, &ev->share);
	enum err e;

	if (s == NULL || s->m == NULL)
		return;
	if (member_is_branch(ev->bytes)) {
		if (branch_on(r, s, ev->bytes, true) == ERR_NOMEM)
			r->err = ERR_NOMEM;
		return;
	}
	e = judge(s, ev->bytes);
	if (e == ERR_NOMEM)
		r->err = e;
	else if (beside(ev->bytes) && e == ERR_OK)
		accept(r, s, ev->bytes, true);
	else if (!beside(ev->bytes) && e == ERR_DENIED)
		halt(r, s, ev->bytes, true);
}

/* It names records that are on their way: they are asked for, and it is looked
 * at again when the chain has moved.  The oldest goes when there are many. */
static void
early_keep(struct repl *r, struct link *l, struct slice bytes)
{
	struct share *s = l->share;
	struct msg m = { .type = MSG_MLOG_REQ, .tag = l->tx };
	struct buf *b = &s->early[s->early_at++ % REPL_EARLY_MAX];

	for (uint32_t i = 0; i < REPL_EARLY_MAX; i++) {
		if (slice_eq(buf_slice(&s->early[i]), bytes))
			return;
	}
	buf_fini(b);
	*b = BUF_MAX(LIM_MEMBER_RECORD_BYTES);
	buf_put_slice(b, bytes);
	if (!repl_ok(r, buf_err(b)) || s->halted)
		return;
	m.seq = member_seq(s->m) + 1;
	peer_send(r, l->peer, &m);
}

void
statement_early(struct repl *r, struct share *s)
{
	for (uint32_t i = 0; i < REPL_EARLY_MAX && r->err == ERR_OK; i++) {
		struct buf had = s->early[i];
		enum err e;

		if (had.n == 0)
			continue;
		s->early[i] = (struct buf){ 0 };
		e = judge(s, buf_slice(&had));
		if (e == ERR_OK)
			accept(r, s, buf_slice(&had), false);
		else if (e == ERR_NOMEM)
			r->err = e;
		if (e == ERR_AGAIN && s->early[i].n == 0)
			s->early[i] = had;
		else
			buf_fini(&had);
	}
}

void
statement_on(struct repl *r, struct link *l, const struct msg *m)
{
	struct share *s = l->share;
	struct peer *p = l->peer;
	bool said = beside(m->bytes), draft = member_is_draft(m->bytes);
	bool branch = member_is_branch(m->bytes);
	enum err e;

	if (s->m == NULL || !s->open ||
	    (s->halted && !member_is_statement(m->bytes) && !branch))
		return;
	/* Verifying one costs more than one signature. */
	if ((draft || branch) && !share_has_device(s, &p->pub))
		return;
	if (!share_has_device(s, &p->pub) &&
	    ++p->sigs > REPL_SIGS_STRANGER_MAX) {
		peer_close(r, p, ERR_LIMIT, "too many statements");
		return;
	}
	/* A record is only looked at as a proof: chains come by MLOG. */
	if (!said && !branch) {
		struct share_id id;
		uint64_t seq;

		if (member_record_place(m->bytes, &id, &seq) != ERR_OK ||
		    seq > member_seq(s->m))
			return;
	}
	e = branch ? branch_on(r, s, m->bytes, false) : judge(s, m->bytes);
	if (e == ERR_NOMEM)
		r->err = e;
	else if (said && e == ERR_OK)
		accept(r, s, m->bytes, false);
	else if (said && e == ERR_AGAIN && share_has_device(s, &p->pub))
		early_keep(r, l, m->bytes);
	else if (!said && !branch && e == ERR_DENIED)
		halt(r, s, m->bytes, false);
	else if (e == ERR_AUTH || e == ERR_MALFORMED)
		peer_close(r, p, e, "bad statement");
}
