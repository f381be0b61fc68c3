/* tests/sim/replication/sim_run.c: the world's events and its end.  Included
 * by the test. */
#include "sim/replication/sim.h"

/* --- durable, or not --- */

static bool
crash_now(struct sim *s)
{
	return !s->calm && s->o.crashes > 0 && sim_rand(s, 4000) < s->o.crashes;
}

/* How long after it was written a run came to be durable here. */
static void
count_news(struct sim *s, const struct repl_ops *run)
{
	for (uint32_t i = 0; i < s->n_acks; i++) {
		const struct sim_ack *k = &s->acks[i];
		uint64_t ms = s->now - k->at_ms;

		if (k->seq != run->head.seq ||
		    memcmp(&k->feed, &run->head.feed, sizeof(k->feed)) != 0)
			continue;
		s->res->news++;
		s->res->late[ms < SIM_LATE_MS ? ms : SIM_LATE_MS]++;
		return;
	}
}

static void
count_msg(struct sim *s, uint8_t type)
{
	switch (type) {
	case MSG_OPS:
	case MSG_PUSH: s->res->payloads++; break;
	case MSG_IHAVE: s->res->ihaves++; break;
	case MSG_GRAFT: s->res->grafts++; break;
	case MSG_PRUNE: s->res->prunes++; break;
	default: break;
	}
}

void
sim_persist_apply(
    struct sim *s, struct sim_node *n, const struct repl_effect *fx)
{
	if (fx->kind == RX_PERSIST_MEMBER) {
		if (fx->seq != n->disk.n_records)
			sim_fail(s, "records out of order");
		else
			disk_add_record(&n->disk, fx->bytes);
	} else if (fx->kind == RX_PERSIST_OPS) {
		count_news(s, &fx->ops);
		if (!continues_disk(n, &fx->ops))
			return;
		disk_add_run(s, &n->disk, &fx->ops, fx->compartment);
	} else if (fx->kind == RX_STATEMENT) {
		disk_add_said(&n->disk, fx->bytes);
	} else if (fx->kind == RX_WITNESS) {
		disk_add_witness(
		    &n->disk, fx->compartment, &fx->device, fx->bytes);
	} else {
		for (uint32_t i = 0; i < s->n_chunks; i++) {
			if (memcmp(&s->chunks[i].cid, &fx->cid, 32) != 0)
				continue;
			s->res->chunk_deliveries++;
			s->res->chunk_repeats += n->disk.chunk[i];
			n->disk.chunk[i] = true;
			n->disk.rotten[i] = false;
		}
	}
}

static void
on_persist(struct sim *s, struct sim_node *n, struct sim_ev *e)
{
	struct repl_event ev = { .kind = RE_PERSISTED, .token = e->fx.token };
	bool lie = s->o.bug == BUG_LIE_PERSIST && n->role == SIM_HUB &&
		   e->fx.kind == RX_PERSIST_CHUNK && sim_rand(s, 4) == 0;

	if (n->full_until > s->now) {
		ev.err = ERR_FULL;
		sim_step(s, n, &ev);
		return;
	}
	if (crash_now(s)) { /* before it is durable */
		n->nothing_more = true;
		sim_crash(s, n);
		return;
	}
	if (!lie)
		sim_persist_apply(s, n, &e->fx);
	if (crash_now(s)) { /* after, but nobody heard */
		sim_crash(s, n);
		return;
	}
	sim_step(s, n, &ev);
	if (e->fx.kind == RX_PERSIST_OPS)
		want_missing(s, n);
	if (s->o.bug == BUG_REFETCH && n->role <= SIM_LAB &&
	    e->fx.kind == RX_PERSIST_CHUNK && sim_rand(s, 3) == 0) {
		struct repl_event w = { .kind = RE_WANT,
			.share = e->fx.share,
			.compartment = e->fx.compartment,
			.cid = e->fx.cid };

		for (uint32_t i = 0; i < s->n_chunks; i++) {
			if (memcmp(&s->chunks[i].cid, &w.cid, 32) == 0)
				w.c_len = (uint32_t)s->chunks[i].bytes.n;
		}
		sim_step(s, n, &w);
	}
}

static void
fetch_ops(
    struct sim_node *n, const struct repl_effect *fx, struct repl_event *ev)
{
	ev->err = ERR_NOTFOUND;
	for (uint32_t i = 0; i < n->disk.n_feeds; i++) {
		struct sim_feed *f = &n->disk.feeds[i];

		if (memcmp(&f->id, &fx->feed, sizeof(f->id)) != 0)
			continue;
		for (uint32_t k = 0; k < f->n; k++) {
			struct sim_run_bytes *b = &f->runs[k];
			uint32_t skip;

			if (b->head.seq < fx->from_seq)
				continue;
			skip = (uint32_t)(fx->from_seq - b->first);
			ev->ops.feed = f->f;
			ev->ops.ops = b->ops + skip;
			ev->ops.n_ops = b->n - skip;
			ev->ops.head = b->head;
			ev->err = ERR_OK;
			return;
		}
	}
}

static void
on_fetch(struct sim *s, struct sim_node *n, struct sim_ev *e)
{
	struct repl_event ev = { .kind = RE_FETCHED, .token = e->fx.token };
	uint8_t bit = (uint8_t)(1u << e->fx.compartment);
	static const uint8_t rot[4 * MIB];
	bool again = false;

	if (e->fx.kind == RX_FETCH_OPS) {
		fetch_ops(n, &e->fx, &ev);
		sim_step(s, n, &ev);
		return;
	}
	ev.err = ERR_NOTFOUND;
	for (uint32_t i = 0; i < s->n_chunks; i++) {
		if (memcmp(&s->chunks[i].cid, &e->fx.cid, 32) != 0)
			continue;
		if (!n->disk.chunk[i] || (n->disk.named[i] & bit) == 0)
			continue; /* rulings.md 18: a live op must name it */
		ev.err = ERR_OK;
		ev.bytes = buf_slice(&s->chunks[i].bytes);
		if (!n->disk.rotten[i])
			continue;
		if (s->o.bug == BUG_SERVE_ROT) {
			ev.bytes = slice_of(rot, ev.bytes.n);
			continue;
		}
		ev.err = ERR_NOTFOUND; /* its hash is not its name */
		n->disk.chunk[i] = n->disk.rotten[i] = false;
		again = true;
	}
	sim_step(s, n, &ev);
	if (again)
		want_missing(s, n);
}

/* --- connections --- */

static void
dial_later(struct sim *s, uint32_t dial)
{
	sim_push(s, s->now + 200 + sim_rand(s, 1500), SE_DIAL, 0)->conn = dial;
}

static void
conn_up(struct sim *s, uint32_t conn, uint32_t side)
{
	struct sim_conn *c = &s->conns[conn];
	struct sim_node *n = &s->nodes[c->end[side]];
	struct repl_event ev = { .kind = RE_CONN_UP,
		.conn = conn + 1,
		.initiator = side == 0,
		.peer = s->nodes[c->end[1 - side]].id.pub,
		.hash = c->hash };

	c->up[side] = true;
	c->gen[side] = n->gen;
	sim_step(s, n, &ev);
}

static void
on_dial(struct sim *s, uint32_t dial)
{
	struct sim_dial *d = &s->dials[dial];
	struct sim_conn *c;

	if (d->busy)
		return;
	if (s->nodes[d->from].core == NULL || s->nodes[d->to].core == NULL ||
	    sim_blocked(s, d->from, d->to) > s->now ||
	    sim_blocked(s, d->to, d->from) > s->now) {
		dial_later(s, dial);
		return;
	}
	if (s->n_conns == s->cap_conns) {
		s->cap_conns = s->cap_conns == 0 ? 1024 : s->cap_conns * 2;
		s->conns =
		    must(mem_grow(s->conns, s->cap_conns, sizeof(*s->conns)));
	}
	c = &s->conns[s->n_conns];
	memset(c, 0, sizeof(*c));
	c->end[0] = d->from;
	c->end[1] = d->to;
	c->dial = dial;
	d->busy = true;
	for (size_t i = 0; i < sizeof(c->hash); i++)
		c->hash[i] = (uint8_t)sim_rand(s, 256);
	s->n_conns++;
	/* the responder is up first, by one message of the handshake */
	conn_up(s, s->n_conns - 1, 1);
	conn_up(s, s->n_conns - 1, 0);
}

static void
on_down(struct sim *s, struct sim_ev *e)
{
	struct sim_conn *c = &s->conns[e->conn];
	struct sim_node *n = &s->nodes[c->end[e->side]];
	struct repl_event ev = { .kind = RE_CONN_DOWN, .conn = e->conn + 1 };

	if (!c->up[e->side] || c->gen[e->side] != n->gen)
		return;
	c->up[e->side] = false;
	sim_step(s, n, &ev);
	if (c->up[1 - e->side]) {
		conn_down_at(
		    s, e->conn, 1 - e->side, s->now + 1 + sim_rand(s, 200));
		return;
	}
	s->dials[c->dial].busy = false;
	dial_later(s, c->dial);
}

static void
on_msg_ev(struct sim *s, struct sim_ev *e)
{
	struct sim_conn *c = &s->conns[e->conn];
	struct sim_node *n = &s->nodes[c->end[e->side]];
	struct repl_event ev = { .kind = RE_MSG,
		.conn = e->conn + 1,
		.type = e->type,
		.bytes = buf_slice(&e->bytes) };

	if (!c->up[e->side] || c->gen[e->side] != n->gen)
		return;
	if (n->evil == EVIL_REVOKED && e->type == MSG_MLOG)
		return; /* it will not know */
	count_msg(s, e->type);
	sim_step(s, n, &ev);
}

/* --- faults --- */

static void
on_partition(struct sim *s)
{
	uint64_t until = s->now + 1000 + sim_rand(s, 15000);
	uint64_t cut = sim_rand(s, UINT64_MAX);
	uint32_t mode = (uint32_t)sim_rand(s, 3); /* out, in, both */

	if (s->calm)
		return;
	s->res->partitions++;
	for (uint32_t a = 0; a < s->n; a++) {
		for (uint32_t b = 0; b < s->n; b++) {
			bool in_a = cut >> (a % 64) & 1;
			bool in_b = cut >> (b % 64) & 1;

			if (in_a == in_b || (mode == 0 && in_b) ||
			    (mode == 1 && in_a))
				continue;
			s->blocked[(size_t)a * s->n + b] = until;
		}
	}
	for (uint32_t i = 0; i < s->n_conns; i++) {
		struct sim_conn *c = &s->conns[i];

		if ((c->up[0] || c->up[1]) &&
		    sim_blocked(s, c->end[0], c->end[1]) > s->now &&
		    sim_rand(s, 3) == 0) {
			struct sim_ev *e = sim_push(s,
			    s->now + sim_rand(s, until - s->now), SE_BREAK, 0);

			e->conn = i;
		}
	}
}

/* Faults end: whoever is down comes back, whatever was cut is whole. */
static void
heal(struct sim *s)
{
	s->calm = true;
	fault_heal(s);
	if (s->blocked != NULL)
		memset(
		    s->blocked, 0, (size_t)s->n * s->n * sizeof(*s->blocked));
	for (uint32_t i = 0; i < s->n; i++) {
		struct sim_node *n = &s->nodes[i];

		if (n->core == NULL)
			sim_push(s, s->now, SE_START, i);
	}
}

static void
schedule(struct sim *s)
{
	const struct sim_opts *o = &s->o;
	uint64_t from = o->writes_from_ms == 0 ? 1000 : o->writes_from_ms;

	for (uint32_t i = 0; i < s->n; i++) {
		sim_push(s, sim_rand(s, 2000), SE_START, i);
		if (s->nodes[i].role >= SIM_JOINER)
			sim_push(s, sim_rand(s, o->active_ms / 2), SE_JOIN, i);
	}
	if (o->writes_from_ms > 0) {
		sim_push(s, o->writes_from_ms / 2, SE_WRITE, 0);
		sim_push(s, o->writes_from_ms, SE_MARK, 0);
	}
	for (uint32_t i = 0; i < o->writes; i++)
		sim_push(
		    s, from + sim_rand(s, o->active_ms - from), SE_WRITE, 0);
	for (uint32_t i = 0; i < o->crashes; i++)
		sim_push(s, sim_rand(s, o->active_ms), SE_CRASH,
		    (uint32_t)sim_rand(s, s->n));
	for (uint32_t i = 0; i < o->partitions; i++)
		sim_push(s, sim_rand(s, o->active_ms), SE_PARTITION, 0);
	fault_schedule(s);
	sim_push(s, o->active_ms, SE_HEAL, 0);
}

/* Events that belong to one life of a node. */
static void
node_event(struct sim *s, struct sim_ev *e)
{
	struct sim_node *n = &s->nodes[e->node];
	struct repl_event tick = { .kind = RE_TICK };

	if (n->core == NULL || e->gen != n->gen)
		return;
	switch (e->kind) { // the rest is world_event's
	case SE_TICK: sim_step(s, n, &tick); break;
	case SE_PERSIST: on_persist(s, n, e); break;
	case SE_FETCH: on_fetch(s, n, e); break;
	case SE_LOCAL: on_local(s, n, e); break;
	case SE_CLAIM: on_claim(s, n, e); break;
	case SE_GRANT: on_grant(s, n, e); break;
	case SE_SIGN: on_sign(s, n, e); break;
	default: break;
	}
}

/* The tree has formed. */
static void
mark(struct sim_result *r)
{
	r->forming = (double)r->payloads / (double)r->news;
	r->payloads = r->news = r->ihaves = r->grafts = r->prunes = 0;
	memset(r->late, 0, sizeof(r->late));
}

static void
world_event(struct sim *s, struct sim_ev *e)
{
	struct sim_node *n = &s->nodes[e->node];

	switch (e->kind) {
	case SE_DIAL: on_dial(s, e->conn); break;
	case SE_DOWN: on_down(s, e); break;
	case SE_MSG: on_msg_ev(s, e); break;
	case SE_WRITE: on_write(s); break;
	case SE_CRASH:
		if (!s->calm)
			sim_crash(s, n);
		break;
	case SE_START:
		if (n->core == NULL)
			sim_start(s, n);
		break;
	case SE_JOIN: on_join(s, n); break;
	case SE_PARTITION: on_partition(s); break;
	case SE_HEAL: heal(s); break;
	case SE_BREAK: conn_break(s, e->conn); break;
	case SE_MARK: mark(s->res); break;
	default:
		if (!fault_event(s, e))
			node_event(s, e);
		break;
	}
}

static void
trace(struct sim *s, const struct sim_ev *e)
{
	uint64_t v = e->at * 1000003 + e->kind * 7919 + e->node * 131 +
		     e->type * 17 + e->conn;

	s->res->trace = (s->res->trace ^ v) * 0x100000001b3u;
	s->res->events++;
}

static void
ev_free(struct sim_ev *e)
{
	buf_fini(&e->bytes);
	buf_fini(&e->run.bytes);
	mem_free(e->run.ops);
	mem_free(e);
}

static void
run_until(struct sim *s, uint64_t t)
{
	while (
	    s->n_heap > 0 && s->heap[0]->at <= t && s->res->failed[0] == '\0') {
		struct sim_ev *e = heap_pop(s);

		s->now = e->at;
		trace(s, e);
		world_event(s, e);
		ev_free(e);
	}
	s->now = t;
}

/* A planted leak: a reader's disk holds what it was never granted. */
static void
plant_leak(struct sim *s)
{
	struct sim_node *from = &s->nodes[s->o.hubs];
	struct sim_node *to = &s->nodes[s->o.hubs + 1];

	for (uint32_t i = 0; i < from->disk.n_feeds; i++) {
		struct sim_feed *f = &from->disk.feeds[i];
		struct repl_ops run;

		if (f->n == 0 || f->f.compartment == to->comp ||
		    f->f.compartment == to->comp2)
			continue;
		run = (struct repl_ops){ .feed = f->f,
			.ops = f->runs[0].ops,
			.n_ops = f->runs[0].n,
			.head = f->runs[0].head };
		disk_add_run(s, &to->disk, &run, f->f.compartment);
		return;
	}
}

/* A planted excess: more asked of a peer than may be. */
static void
plant_queue(struct sim *s)
{
	struct sim_node *n = lab(s);

	if (n->core == NULL || n->core->n_peers == 0)
		return;
	n->core->peers[0]->pulls = REPL_PULLS_MAX + 1;
	s->res->events -= s->res->events % 16;
	sim_check_core(s, n);
}

void
sim_run(const struct sim_opts *o, struct sim_result *out)
{
	struct sim *s = must(mem_new(sizeof(*s)));
	uint64_t end = o->active_ms + 60000;

	memset(out, 0, sizeof(*out));
	s->o = *o;
	s->res = out;
	s->rng = o->seed * 0x9E3779B97F4A7C15u | 1;
	world_make(s);
	schedule(s);
	run_until(s, o->active_ms);
	while (s->now < end && out->failed[0] == '\0' && !sim_converged(s))
		run_until(s, s->now + 250);
	out->converged_ms = s->now - o->active_ms;
	if (o->bug == BUG_LEAK)
		plant_leak(s);
	if (o->bug == BUG_QUEUE)
		plant_queue(s);
	sim_check(s);
	if (o->evil == EVIL_REVOKED)
		out->left_out = evil_left_out(s);
	out->nodes = s->n;
	out->acked = s->n_acks;
	out->chunks = s->n_chunks;
	world_free(s);
}
