/* replication/core.c: one event in, effects out.
 *
 * A step frees what the last one lent, takes the event to its room, runs
 * timers that are due, then lets every touched peer send, serve and ask. */
#include "replication/repl_internal.h"

#include "store/base/mem.h"

void *
repl_alloc(struct repl *r, size_t count, size_t size)
{
	void *p = mem_array(count, size);

	if (p == NULL)
		r->err = ERR_NOMEM;
	return p;
}

void *
repl_regrow(struct repl *r, void *p, size_t count, size_t size)
{
	void *q = mem_grow(p, count, size);

	if (q == NULL)
		r->err = ERR_NOMEM;
	return q;
}

bool
repl_ok(struct repl *r, enum err e)
{
	if (e == ERR_NOMEM)
		r->err = e;
	return e == ERR_OK;
}

struct repl_effect *
repl_fx(struct repl *r, enum repl_fx_kind kind)
{
	static struct repl_effect sink; /* out of memory: the step has failed */
	uint32_t cap = r->cap_fx == 0 ? 16 : r->cap_fx * 2;
	void *p;

	if (r->n_fx == r->cap_fx) {
		p = repl_regrow(r, r->fx, cap, sizeof(*r->fx));
		if (p == NULL)
			return &sink;
		r->fx = p;
		r->cap_fx = cap;
	}
	r->fx[r->n_fx] = (struct repl_effect){ .kind = kind };
	return &r->fx[r->n_fx++];
}

void
repl_trash(struct repl *r, void *p)
{
	struct trash *t;

	if (p == NULL)
		return;
	if ((t = repl_alloc(r, 1, sizeof(*t))) == NULL) {
		/* the step fails, so nobody will read its effects */
		mem_free(p);
		return;
	}
	t->p = p;
	t->next = r->trash;
	r->trash = t;
}

static void
trash_empty(struct repl *r)
{
	struct trash *t, *next;

	for (t = r->trash; t != NULL; t = next) {
		next = t->next;
		mem_free(t->p);
		mem_free(t);
	}
	r->trash = NULL;
}

void
repl_wake(struct repl *r, uint64_t at_ms)
{
	if (at_ms < r->wake_ms)
		r->wake_ms = at_ms;
}

/* xorshift64*: spreads timers, never a secret. */
uint64_t
repl_random(struct repl *r, uint64_t below)
{
	uint64_t x = r->rng;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	r->rng = x;
	return (x * 0x2545F4914F6CDD1Du >> 16) % below;
}

bool
same_key(const struct cry_sign_pk *a, const struct cry_sign_pk *b)
{
	return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

bool
same_id(const struct cry_id *a, const struct cry_id *b)
{
	return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

enum err
repl_new(const struct repl_opts *o, struct repl **out)
{
	struct repl *r = mem_new(sizeof(*r));

	if (r == NULL)
		return ERR_NOMEM;
	r->o = *o;
	if (r->o.chunk_window == 0)
		r->o.chunk_window = 16;
	r->rng = o->seed | 1;
	r->now_ms = o->now_ms;
	r->wake_ms = UINT64_MAX;
	r->next_token = 1;
	r->persists_last = &r->persists;
	*out = r;
	return ERR_OK;
}

void
repl_free(struct repl *r)
{
	struct persist *ps;
	struct fetch *f;

	if (r == NULL)
		return;
	for (uint32_t i = 0; i < r->n_peers; i++)
		peer_free(r->peers[i]);
	content_free(r);
	while ((ps = r->persists) != NULL) {
		r->persists = ps->next;
		persist_free(ps);
	}
	while ((f = r->fetches) != NULL) {
		r->fetches = f->next;
		serve_free(f->serve);
		mem_free(f);
	}
	for (uint32_t i = 0; i < r->n_shares; i++)
		share_free(r->shares[i]);
	trash_empty(r);
	mem_free(r->shares);
	mem_free(r->peers);
	mem_free(r->fx);
	mem_free(r);
}

static void
on_msg(struct repl *r, const struct repl_event *ev)
{
	struct peer *p = peer_find(r, ev->conn);

	if (p == NULL || p->closing)
		return; /* on its way when we closed */
	peer_msg(r, p, ev->type, ev->bytes);
}

static void
on_fetched(struct repl *r, const struct repl_event *ev)
{
	struct fetch **at = &r->fetches, *f;

	while (*at != NULL && (*at)->token != ev->token)
		at = &(*at)->next;
	if ((f = *at) == NULL)
		return;
	*at = f->next;
	if (f->serve != NULL)
		content_fetched(r, f, ev);
	else
		ops_fetched(r, f, ev);
	mem_free(f);
}

static void
on_persisted(struct repl *r, const struct repl_event *ev)
{
	struct persist **at = &r->persists, *ps;

	while (*at != NULL && (*at)->token != ev->token)
		at = &(*at)->next;
	if ((ps = *at) == NULL)
		return;
	*at = ps->next;
	if (r->persists_last == &ps->next)
		r->persists_last = at;
	r->n_persists--;
	if (ps->kind == PERSIST_OPS)
		ops_persisted(r, ps, ev->err);
	else if (ps->kind == PERSIST_CHUNK)
		content_persisted(r, ps, ev->err);
	else if (ps->kind == PERSIST_WITNESS)
		witnesses_persisted(r, ps, ev->err);
	else if (ev->err == ERR_OK)
		join_persisted(r, ps->share);
	else
		join_not_persisted(r, ps->share);
	persist_free(ps);
}

static void
on_sent(struct repl *r, const struct repl_event *ev)
{
	struct peer *p = peer_find(r, ev->conn);

	if (p == NULL)
		return;
	content_sent(r, p);
	p->dirty = true;
}

static void
dispatch(struct repl *r, const struct repl_event *ev)
{
	switch (ev->kind) {
	case RE_TICK: break;
	case RE_SHARE: join_share(r, ev); break;
	case RE_FEED: ops_feed_known(r, ev); break;
	case RE_JOIN: join_start(r, ev); break;
	case RE_MEMBER: join_signed(r, ev); break;
	case RE_STATEMENT: statement_known(r, ev); break;
	case RE_WITNESS: witnesses_known(r, ev); break;
	case RE_SIGNED: witnesses_signed(r, ev); break;
	case RE_LOCAL: ops_local(r, ev); break;
	case RE_WANT: want_add(r, ev); break;
	case RE_UNWANT: want_remove(r, ev); break;
	case RE_PROVE: prove_ask(r, ev); break;
	case RE_LIMIT: content_limit(r, ev->rate); break;
	case RE_CONN_UP: peer_up(r, ev); break;
	case RE_CONN_DOWN: peer_down(r, ev->conn); break;
	case RE_MSG: on_msg(r, ev); break;
	case RE_SENT: on_sent(r, ev); break;
	case RE_FETCHED: on_fetched(r, ev); break;
	case RE_PERSISTED: on_persisted(r, ev); break;
	default: REQUIRE(!"an event of no known kind");
	}
}

static void
timers(struct repl *r)
{
	r->wake_ms = UINT64_MAX;
	for (uint32_t i = 0; i < r->n_peers; i++)
		peer_tick(r, r->peers[i]);
	for (uint32_t i = 0; i < r->n_shares; i++) {
		struct share *s = r->shares[i];

		join_tick(r, s);
		for (uint32_t c = 0; c < s->n_comps; c++) {
			sync_comp_tick(r, s->comps[c]);
			gossip_tick(r, s->comps[c]);
			witnesses_tick(r, s->comps[c]);
		}
	}
	content_tick(r);
}

/* Hubs are asked for content before others: they are there for it. */
static bool
is_hub(const struct peer *p)
{
	for (uint32_t i = 0; i < p->n_links; i++) {
		const struct link *l = &p->links[i];

		if (l->state == LINK_LIVE &&
		    member_is_hub(l->share->m, &p->pub.sign))
			return true;
	}
	return false;
}

static void
ask_hubs(struct repl *r)
{
	for (uint32_t i = 0; i < r->n_peers && r->err == ERR_OK; i++) {
		struct peer *p = r->peers[i];

		if (p->dirty && !p->closing && is_hub(p))
			content_ask(r, p);
	}
}

static void
pump(struct repl *r)
{
	if (r->n_wants > 0)
		ask_hubs(r);
	for (uint32_t i = 0; i < r->n_peers && r->err == ERR_OK; i++) {
		struct peer *p = r->peers[i];

		if (!p->dirty || p->closing)
			continue;
		p->dirty = false;
		content_ask(r, p);
		ops_serve(r, p);
		content_serve(r, p);
		peer_pump(r, p);
		join_pump(r, p);
		front_pump(r, p);
		witnesses_pump(r, p);
	}
}

enum err
repl_step(struct repl *r, const struct repl_event *ev, struct repl_effects *out)
{
	out->fx = NULL;
	out->n = 0;
	if (r->err != ERR_OK)
		return r->err;
	trash_empty(r);
	r->n_fx = 0;
	if (ev->now_ms > r->now_ms)
		r->now_ms = ev->now_ms;
	dispatch(r, ev);
	if (r->err == ERR_OK && r->now_ms >= r->wake_ms)
		timers(r);
	if (r->err == ERR_OK)
		pump(r);
	if (r->err != ERR_OK)
		return r->err;
	out->fx = r->fx;
	out->n = r->n_fx;
	return ERR_OK;
}

uint64_t
repl_deadline_ms(const struct repl *r)
{
	return r->wake_ms;
}
