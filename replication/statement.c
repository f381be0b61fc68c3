/* replication/statement.c: what is said beside the chain.
 *
 * A freeze is believed for its signature, whoever brings it, also from one
 * that is frozen itself; it goes to disk and on to every member we speak
 * with, and with each OPEN.  A record that proves equivocation (rulings.md
 * 21) halts the chain here and travels the same way, so that it halts alike
 * everywhere, and after a restart. */
#include "replication/repl_internal.h"

#include "store/base/mem.h"

#define STATEMENTS_MAX 257u /* freezes of a share, and one proof */

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

/* A freeze that was ended since is not said again. */
void
statement_send_all(struct repl *r, struct link *l)
{
	for (struct statement *st = l->share->statements; st != NULL;
	     st = st->next) {
		if (!member_is_statement(buf_slice(&st->b)) ||
		    member_freeze(l->share->m, buf_slice(&st->b)) == ERR_EXISTS)
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

/* Of a freeze, what member_freeze says; ERR_DENIED of a record: proof. */
static enum err
judge(struct share *s, struct slice bytes)
{
	return member_is_statement(bytes) ? member_freeze(s->m, bytes)
					  : member_apply(s->m, bytes);
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
	else if (member_is_statement(ev->bytes) && e == ERR_OK)
		accept(r, s, ev->bytes, true);
	else if (!member_is_statement(ev->bytes) && e == ERR_DENIED)
		halt(r, s, ev->bytes, true);
}

void
statement_on(struct repl *r, struct link *l, const struct msg *m)
{
	struct share *s = l->share;
	struct peer *p = l->peer;
	bool freeze = member_is_statement(m->bytes);
	enum err e;

	if (s->m == NULL || !s->open || (!freeze && s->halted))
		return;
	if (!share_has_device(s, &p->pub) &&
	    ++p->sigs > REPL_SIGS_STRANGER_MAX) {
		peer_close(r, p, ERR_LIMIT, "too many statements");
		return;
	}
	/* A record is only looked at as a proof: chains come by MLOG. */
	if (!freeze) {
		struct share_id id;
		uint64_t seq;

		if (member_record_place(m->bytes, &id, &seq) != ERR_OK ||
		    seq > member_seq(s->m))
			return;
	}
	e = judge(s, m->bytes);
	if (e == ERR_NOMEM)
		r->err = e;
	else if (freeze && e == ERR_OK)
		accept(r, s, m->bytes, false);
	else if (!freeze && e == ERR_DENIED)
		halt(r, s, m->bytes, false);
	else if (e == ERR_AUTH || e == ERR_MALFORMED)
		peer_close(r, p, e, "bad statement");
}
