/* replication/statement.c: what is said beside the chain.
 *
 * A freeze is believed for its signature, whoever brings it, also from one
 * that is frozen itself; it goes to disk and on to every member we speak
 * with, and with each OPEN.  A record that proves equivocation (rulings.md
 * 21) halts the chain here and travels the same way, so that it halts alike
 * everywhere, and after a restart.  A draft (member_draft.c) goes to all, too,
 * until the chain is past it: a registrar may be several nodes away. */
#include "replication/repl_internal.h"

#include "store/base/mem.h"

#define DRAFTS_BY_MAX 8u /* of one registrar that wait */
/* freezes of a share, drafts, one proof */
#define STATEMENTS_MAX (257u + DRAFTS_BY_MAX * MEMBER_REGISTRARS_MAX)

void
statement_free(struct share *s)
{
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
	return !member_is_statement(bytes) ||
	       member_freeze(s->m, bytes) == ERR_EXISTS;
}

void
statement_send_all(struct repl *r, struct link *l)
{
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
halt(struct repl *r, struct share *s, struct slice record, bool durable)
{
	if (s->halted)
		return;
	s->halted = true;
	accept(r, s, record, durable);
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
	return by < DRAFTS_BY_MAX ? ERR_OK : ERR_LIMIT;
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
	e = judge(s, ev->bytes);
	if (e == ERR_NOMEM)
		r->err = e;
	else if (beside(ev->bytes) && e == ERR_OK)
		accept(r, s, ev->bytes, true);
	else if (!beside(ev->bytes) && e == ERR_DENIED)
		halt(r, s, ev->bytes, true);
}

void
statement_on(struct repl *r, struct link *l, const struct msg *m)
{
	struct share *s = l->share;
	struct peer *p = l->peer;
	bool said = beside(m->bytes), draft = member_is_draft(m->bytes);
	enum err e;

	if (s->m == NULL || !s->open ||
	    (s->halted && !member_is_statement(m->bytes)))
		return;
	/* Verifying one costs more than one signature. */
	if (draft && !share_has_device(s, &p->pub))
		return;
	if (!share_has_device(s, &p->pub) &&
	    ++p->sigs > REPL_SIGS_STRANGER_MAX) {
		peer_close(r, p, ERR_LIMIT, "too many statements");
		return;
	}
	/* A record is only looked at as a proof: chains come by MLOG. */
	if (!said) {
		struct share_id id;
		uint64_t seq;

		if (member_record_place(m->bytes, &id, &seq) != ERR_OK ||
		    seq > member_seq(s->m))
			return;
	}
	e = judge(s, m->bytes);
	if (e == ERR_NOMEM)
		r->err = e;
	else if (said && e == ERR_OK)
		accept(r, s, m->bytes, false);
	else if (!said && e == ERR_DENIED)
		halt(r, s, m->bytes, false);
	else if (e == ERR_AUTH || e == ERR_MALFORMED)
		peer_close(r, p, e, "bad statement");
}
