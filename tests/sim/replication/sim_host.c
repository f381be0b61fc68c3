/* tests/sim/replication/sim_host.c: what a node's host does with effects, and
 * the life of a node: start, write, crash.  Included by the test. */
#include "sim/replication/sim.h"

/* --- event heap --- */

static bool
earlier(const struct sim_ev *a, const struct sim_ev *b)
{
	return a->at != b->at ? a->at < b->at : a->order < b->order;
}

struct sim_ev *
sim_push(struct sim *s, uint64_t at, enum sim_ev_kind kind, uint32_t node)
{
	struct sim_ev *e = must(mem_new(sizeof(*e)));
	uint32_t i = s->n_heap;

	e->at = at < s->now ? s->now : at;
	e->order = s->order++;
	e->kind = kind;
	e->node = node;
	e->gen = s->nodes[node].gen;
	if (s->n_heap == s->cap_heap) {
		s->cap_heap = s->cap_heap == 0 ? 256 : s->cap_heap * 2;
		s->heap = must(
		    mem_grow(s->heap, s->cap_heap, sizeof(struct sim_ev *)));
	}
	s->heap[s->n_heap++] = e;
	while (i > 0 && earlier(s->heap[i], s->heap[(i - 1) / 2])) {
		struct sim_ev *t = s->heap[i];

		s->heap[i] = s->heap[(i - 1) / 2];
		s->heap[(i - 1) / 2] = t;
		i = (i - 1) / 2;
	}
	return e;
}

static struct sim_ev *
heap_pop(struct sim *s)
{
	struct sim_ev *top = s->heap[0];
	uint32_t i = 0, k;

	s->heap[0] = s->heap[--s->n_heap];
	while ((k = 2 * i + 1) < s->n_heap) {
		struct sim_ev *t = s->heap[i];

		if (k + 1 < s->n_heap && earlier(s->heap[k + 1], s->heap[k]))
			k++;
		if (!earlier(s->heap[k], t))
			break;
		s->heap[i] = s->heap[k];
		s->heap[k] = t;
		i = k;
	}
	return top;
}

/* --- network --- */

/* Which end of the connection the node is. */
static uint32_t
side_of(const struct sim_conn *c, const struct sim_node *n)
{
	return c->end[0] == n->no ? 0 : 1;
}

static void
conn_down_at(struct sim *s, uint32_t conn, uint32_t side, uint64_t at)
{
	struct sim_conn *c = &s->conns[conn];
	struct sim_ev *e = sim_push(s, at, SE_DOWN, c->end[side]);

	e->conn = conn;
	e->side = side;
	e->gen = c->gen[side];
}

/* The session is over; the two ends notice at different times. */
static void
conn_break(struct sim *s, uint32_t conn)
{
	for (uint32_t side = 0; side < 2; side++) {
		if (s->conns[conn].up[side])
			conn_down_at(
			    s, conn, side, s->now + 1 + sim_rand(s, 300));
	}
	s->res->breaks++;
}

static uint64_t
arrival(struct sim *s, struct sim_conn *c, uint32_t side, enum sess_class cls,
    size_t bytes)
{
	uint32_t from = c->end[side], to = c->end[1 - side];
	uint64_t delay = 5 + (from * 7 + to * 13) % 40 + sim_rand(s, 10);
	uint64_t at = s->now + delay + bytes / 4000; /* 4 MB/s */

	if (sim_blocked(s, from, to) > s->now) /* held back, then sent again */
		at = sim_blocked(s, from, to) + delay + sim_rand(s, 200);
	if (s->o.lost_per_mille > 0) {
		for (uint64_t rto = 200; rto < 10000; rto *= 2) {
			if (sim_rand(s, 1000) >= s->o.lost_per_mille)
				break;
			at += rto;
		}
		if (at < c->line[side])
			at = c->line[side];
		c->line[side] = at; /* and all that follows */
	}
	if (at < c->last[side][cls])
		at = c->last[side][cls];
	c->last[side][cls] = at;
	return at;
}

void
sim_post(struct sim *s, uint32_t conn, uint32_t side, uint8_t type,
    struct slice body)
{
	struct sim_conn *c = &s->conns[conn];
	struct sim_ev *e =
	    sim_push(s, arrival(s, c, side, msg_class(type), body.n), SE_MSG,
		c->end[1 - side]);

	e->conn = conn;
	e->side = 1 - side;
	e->gen = c->gen[1 - side];
	e->type = type;
	e->bytes = BUF_MAX(LIM_MESSAGE_BYTES);
	buf_put_slice(&e->bytes, body);
	REQUIRE(buf_err(&e->bytes) == ERR_OK);
}

static void
fx_send(struct sim *s, struct sim_node *n, const struct repl_effect *fx)
{
	struct sim_conn *c = &s->conns[fx->conn - 1];
	uint32_t side = side_of(c, n);
	struct buf body = BUF_MAX(LIM_MESSAGE_BYTES);

	if (!c->up[side])
		return;
	s->res->messages++;
	if (s->nodes[c->end[1 - side]].role == SIM_OUTSIDER &&
	    !msg_is_free(fx->type) && !(fx->type == MSG_CLAIM && n->joined))
		sim_fail(s, "node %u told an outsider something (0x%02x)",
		    n->no, fx->type);
	if (!s->calm && sim_rand(s, 10000) < s->o.fault_per_mille_x10) {
		conn_break(s, fx->conn - 1); /* lost, doubled or reordered */
		return;
	}
	if (fx->type >= MSG_PUSH && fx->type <= MSG_PRUNE &&
	    sim_rand(s, 1000) < s->o.gone_per_mille)
		return;
	buf_put_slice(&body, fx->bytes);
	if (evil_says(s, n, fx->type, &body))
		sim_post(s, fx->conn - 1, side, fx->type, buf_slice(&body));
	buf_fini(&body);
}

static void
fx_close(struct sim *s, struct sim_node *n, const struct repl_effect *fx)
{
	struct sim_conn *c = &s->conns[fx->conn - 1];

	s->res->shut += fx->err != ERR_TIMEOUT;
	/* An honest node may not be accused. */
	if (fx->err != ERR_TIMEOUT && n->evil == EVIL_NONE &&
	    s->nodes[c->end[1 - side_of(c, n)]].evil == EVIL_NONE)
		sim_fail(
		    s, "node %u closed an honest peer: %s", n->no, fx->why);
	conn_down_at(s, fx->conn - 1, side_of(c, n), s->now);
	conn_break(s, fx->conn - 1);
}

/* --- storage --- */

static void
fx_persist(struct sim *s, struct sim_node *n, const struct repl_effect *fx)
{
	struct sim_ev *e;
	uint64_t at = s->now + 1 + sim_rand(s, 4);

	if (at < n->persist_at)
		at = n->persist_at; /* one journal, in order */
	n->persist_at = at;
	e = sim_push(s, at, SE_PERSIST, n->no);
	e->fx = *fx;
	if (fx->kind != RX_WITNESS && fx->kind != RX_STATEMENT)
		return;
	e->bytes = BUF_MAX(MIB); /* the core lends them for a step */
	buf_put_slice(&e->bytes, fx->bytes);
	e->fx.bytes = buf_slice(&e->bytes);
}

static void
fx_fetch(struct sim *s, struct sim_node *n, const struct repl_effect *fx)
{
	sim_push(s, s->now + sim_rand(s, 3), SE_FETCH, n->no)->fx = *fx;
}

static void
fx_sign(struct sim *s, struct sim_node *n, const struct repl_effect *fx)
{
	struct sim_ev *e = sim_push(s, s->now, SE_SIGN, n->no);

	e->fx = *fx;
	e->bytes = BUF_MAX(WITNESS_BYTES_MAX);
	buf_put_slice(&e->bytes, fx->bytes);
}

static void
on_sign(struct sim *s, struct sim_node *n, struct sim_ev *e)
{
	struct repl_event ev = { .kind = RE_SIGNED,
		.share = e->fx.share,
		.compartment = e->fx.compartment };

	/* a wall clock may say anything */
	REQUIRE(witness_sign(&e->bytes, sim_rand(s, UINT64_MAX),
		    &n->id.sign_sk) == ERR_OK);
	ev.bytes = buf_slice(&e->bytes);
	sim_step(s, n, &ev);
}

static void
effect(struct sim *s, struct sim_node *n, const struct repl_effect *fx)
{
	struct sim_ev *e;

	switch (fx->kind) {
	case RX_SEND: fx_send(s, n, fx); break;
	case RX_CLOSE: fx_close(s, n, fx); break;
	case RX_FETCH_OPS:
	case RX_FETCH_CHUNK: fx_fetch(s, n, fx); break;
	case RX_PERSIST_OPS:
	case RX_PERSIST_CHUNK:
	case RX_PERSIST_MEMBER:
	case RX_STATEMENT:
	case RX_WITNESS: fx_persist(s, n, fx); break;
	case RX_SIGN: fx_sign(s, n, fx); break;
	case RX_PROOF: break; /* nobody asks for proofs here */
	case RX_CLAIM:
		e = sim_push(s, s->now + 1, SE_CLAIM, n->no);
		e->bytes = BUF_MAX(CLAIM_BYTES_MAX);
		buf_put_slice(&e->bytes, fx->bytes);
		break;
	}
}

void
sim_step(struct sim *s, struct sim_node *n, struct repl_event *ev)
{
	struct repl_effects out;
	uint64_t due;

	ev->now_ms = s->now + n->skew;
	REQUIRE(repl_step(n->core, ev, &out) == ERR_OK);
	for (uint32_t i = 0; i < out.n; i++)
		effect(s, n, &out.fx[i]);
	due = repl_deadline_ms(n->core);
	if (due != UINT64_MAX)
		due -= due < n->skew ? due : n->skew;
	if (due != UINT64_MAX && (due < n->tick_at || n->tick_at <= s->now)) {
		n->tick_at = due <= s->now ? s->now + 1 : due;
		sim_push(s, n->tick_at, SE_TICK, n->no);
	}
	sim_check_core(s, n);
}

/* --- wants: what the host's policy fetches --- */

static bool
wants_content(const struct sim_node *n, uint16_t comp)
{
	return n->role == SIM_HUB || n->role == SIM_LAB || n->comp == comp ||
	       n->comp2 == comp;
}

void
want_missing(struct sim *s, struct sim_node *n)
{
	for (uint32_t i = 0; i < s->n_chunks; i++) {
		uint16_t comp = s->chunks[i].comp;
		struct repl_event ev = { .kind = RE_WANT,
			.share = *member_share(s->chain),
			.compartment = comp,
			.cid = s->chunks[i].cid,
			.c_len = (uint32_t)s->chunks[i].bytes.n };

		if (n->disk.chunk[i] || (n->disk.named[i] >> comp & 1) == 0 ||
		    !wants_content(n, comp))
			continue;
		ev.cls = i % 5 == 0 ? REPL_INTERACTIVE : REPL_BACKFILL;
		sim_step(s, n, &ev);
	}
}

/* --- start and crash --- */

/* A chain of a thousand grants, checked by each of a thousand nodes, is a
 * million signatures that say nothing new: they look at one. */
static void
start_crowd(struct sim *s, struct sim_node *n)
{
	struct slice genesis = member_record(s->chain, 0);
	struct repl_event ev = { .kind = RE_SHARE,
		.share = *member_share(s->chain),
		.records = &genesis,
		.n_records = 1 };
	struct share *sh;

	if (n->role == SIM_OUTSIDER)
		return;
	sim_step(s, n, &ev);
	sh = share_find(n->core, &ev.share);
	REQUIRE(sh != NULL && n->core->n_peers == 0);
	member_free(sh->m);
	sh->m = s->chain;
	sh->emitted = sh->durable = member_seq(s->chain) + 1;
	sh->open = true;
}

static void
start_share(struct sim *s, struct sim_node *n)
{
	struct slice *recs =
	    must(mem_array(n->disk.n_records + 1u, sizeof(*recs)));
	struct repl_event ev = { .kind = RE_SHARE,
		.share = *member_share(s->chain),
		.records = recs,
		.n_records = n->disk.n_records };

	for (uint32_t i = 0; i < n->disk.n_records; i++)
		recs[i] = buf_slice(&n->disk.records[i]);
	if (n->disk.n_records > 0)
		sim_step(s, n, &ev);
	mem_free(recs);
	if (s->o.crowd)
		start_crowd(s, n);
	for (uint32_t i = 0; i < n->disk.n_feeds; i++) {
		struct repl_event fe = { .kind = RE_FEED };

		if (n->disk.feeds[i].seq == 0)
			continue;
		fe.ops.feed = n->disk.feeds[i].f;
		fe.ops.head = n->disk.feeds[i].head;
		sim_step(s, n, &fe);
	}
	for (uint32_t i = 0; i < n->disk.n_said; i++) {
		struct repl_event se = { .kind = RE_STATEMENT,
			.share = ev.share,
			.bytes = buf_slice(&n->disk.said[i]) };

		sim_step(s, n, &se);
	}
	for (uint32_t i = 0; i < n->disk.n_wits; i++) {
		struct repl_event we = { .kind = RE_WITNESS,
			.share = ev.share,
			.compartment = n->disk.wits[i].comp,
			.bytes = buf_slice(&n->disk.wits[i].kept) };

		we.ops.feed.device = n->disk.wits[i].device;
		sim_step(s, n, &we);
	}
	if (n->joined) {
		struct repl_event je = { .kind = RE_JOIN,
			.share = n->invite.share,
			.registrar = n->invite.registrar,
			.bytes = buf_slice(&n->claim) };

		sim_step(s, n, &je);
	}
}

/* A new incarnation with each start; the planted fault goes on in its feed
 * where its disk says it ended. */
static void
feed_open(struct sim *s, struct sim_node *n)
{
	bool reuse = s->o.bug == BUG_REUSE;

	n->seq = 0;
	memset(&n->prev, 0, sizeof(n->prev));
	n->incarnation = s->o.seed << 24 | (uint64_t)n->no << 8 | n->gen;
	if (n->twin != 0) /* both think they are the only one */
		n->incarnation = s->o.seed << 24 | 0xFFFF00 | n->gen;
	if (reuse)
		n->incarnation = n->no + 1u;
	for (uint32_t i = 0; i < n->disk.n_feeds && reuse; i++) {
		const struct sim_feed *f = &n->disk.feeds[i];

		if (!same_key(&f->f.device, &n->id.pub.sign))
			continue;
		n->seq = f->seq;
		n->prev = f->head.id;
		n->lamport = f->head.lamport;
	}
}

void
sim_start(struct sim *s, struct sim_node *n)
{
	struct repl_opts o = { .me = n->id.pub,
		.seed = s->o.seed * 1000 + n->no * 10 + n->gen,
		.chunk_window = 8,
		.witness_ms = s->o.crowd ? UINT64_MAX : 4000,
		.now_ms = s->now + n->skew };

	REQUIRE(n->core == NULL);
	REQUIRE(repl_new(&o, &n->core) == ERR_OK);
	feed_open(s, n);
	n->writing = n->granting = false;
	n->tick_at = n->persist_at = 0;
	start_share(s, n);
	want_missing(s, n);
}

void
sim_crash(struct sim *s, struct sim_node *n)
{
	if (n->core == NULL)
		return;
	fault_torn(s, n);
	node_stop(s, n);
	n->gen++;
	s->res->crashes++;
	for (uint32_t i = 0; i < s->n_conns; i++) {
		struct sim_conn *c = &s->conns[i];
		uint32_t side;

		if (!c->up[0] && !c->up[1])
			continue;
		if (c->end[0] != n->no && c->end[1] != n->no)
			continue;
		side = side_of(c, n);
		c->up[side] = false;
		if (c->up[1 - side])
			conn_down_at(
			    s, i, 1 - side, s->now + 5 + sim_rand(s, 500));
		else
			s->dials[c->dial].busy = false;
		sim_push(s, s->now + 300 + sim_rand(s, 1000), SE_DIAL, 0)
		    ->conn = c->dial;
	}
	sim_push(s, s->now + 300 + sim_rand(s, 8000), SE_START, n->no)->gen =
	    n->gen;
}

/* --- writing --- */

static void
chunk_make(struct sim *s, uint16_t comp, size_t n, struct op_chunk *out)
{
	struct sim_chunk *c = &s->chunks[s->n_chunks++];
	uint64_t *w;

	n = (n + 7) / 8 * 8;
	c->bytes = BUF_MAX(4 * MIB);
	w = must((void *)buf_room(&c->bytes, n));
	for (size_t i = 0; i < n / 8; i++)
		w[i] = sim_rand(s, UINT64_MAX);
	buf_grew(&c->bytes, n);
	c->comp = comp;
	cry_hash(buf_slice(&c->bytes), &c->cid);
	out->cid = c->cid;
	out->c_len = (uint32_t)n;
}

static const struct cry_key *
comp_key(const struct sim *s, uint16_t comp, uint32_t epoch)
{
	for (uint32_t i = 0; i < s->keys.n; i++) {
		if (s->keys.k[i].compartment == comp &&
		    s->keys.k[i].epoch == epoch)
			return &s->keys.k[i].content;
	}
	REQUIRE(!"a compartment without a key");
	return NULL;
}

static void
op_make(struct sim *s, struct sim_node *n, struct sim_ev *e, struct buf *op)
{
	/* a wall clock decides nothing, so it may say anything */
	struct op_header h = { .kind = OP_ASSET_PUT,
		.epoch = member_epoch(
		    repl_member(n->core, member_share(s->chain)), n->comp),
		.wall_ms = sim_rand(s, UINT64_MAX) };
	struct buf packing = BUF_MAX(MIB);
	struct op_chunk c[2];
	uint32_t k = (uint32_t)sim_rand(s, 3);

	op_feed_id(&e->feed, &h.feed);
	h.seq = ++n->seq;
	h.lamport = ++n->lamport;
	h.prev = n->prev;
	if (s->n_chunks + k >= SIM_CHUNKS_MAX || s->o.no_chunks ||
	    n->evil == EVIL_TWIN || n->evil == EVIL_REVOKED)
		k = 0;
	for (uint32_t i = 0; i < k; i++) {
		size_t len = 500 + sim_rand(s, 30000);

		if (s->o.big_chunk && s->n_chunks == 3)
			len = 2500000; /* three pieces */
		chunk_make(s, n->comp, len, &c[i]);
		n->disk.chunk[s->n_chunks - 1] = true;
	}
	REQUIRE(op_packing_encode(c, k, &packing) == ERR_OK);
	REQUIRE(
	    op_build(&h, comp_key(s, n->comp, h.epoch), SLICE_LIT("simulated"),
		buf_slice(&packing), op, &n->prev) == ERR_OK);
	e->run.head.feed = h.feed;
	e->run.head.seq = h.seq;
	e->run.head.id = n->prev;
	e->run.head.lamport = h.lamport;
	buf_fini(&packing);
}

/* A batch of ops: chunks first, then the signed run, then, durable, RE_LOCAL.
 */
static void
node_write(struct sim *s, struct sim_node *n)
{
	struct sim_ev *e;
	struct buf ops[8];
	size_t at = 0;
	uint64_t lam = repl_lamport(n->core, member_share(s->chain), n->comp);

	if (lam > n->lamport)
		n->lamport = lam;
	n->writing = true;
	e = sim_push(s, s->now + 2 + sim_rand(s, 5), SE_LOCAL, n->no);
	e->feed = (struct op_feed){ .share = *member_share(s->chain),
		.compartment = n->comp,
		.device = n->id.pub.sign,
		.incarnation = n->incarnation };
	e->run.n = 1 + (uint32_t)sim_rand(s, 8);
	e->run.bytes = BUF_MAX(4 * MIB);
	e->run.ops = must(mem_array(e->run.n, sizeof(struct slice)));
	for (uint32_t i = 0; i < e->run.n; i++) {
		ops[i] = BUF_MAX(MIB);
		op_make(s, n, e, &ops[i]);
		buf_put_slice(&e->run.bytes, buf_slice(&ops[i]));
	}
	for (uint32_t i = 0; i < e->run.n; i++) {
		e->run.ops[i] = slice_of(e->run.bytes.p + at, ops[i].n);
		at += ops[i].n;
		buf_fini(&ops[i]);
	}
	op_head_sign(&e->run.head, &n->id.sign_sk);
}

static void
on_write(struct sim *s)
{
	struct sim_node *n;
	const struct member *m;

	for (uint32_t tries = 0; tries < 50; tries++) {
		n = &s->nodes[sim_rand(s, s->n)];
		if (n->core == NULL || n->writing || n->role == SIM_HUB ||
		    n->full_until > s->now || n->role == SIM_OUTSIDER)
			continue;
		m = repl_member(n->core, member_share(s->chain));
		if (m == NULL || !member_may_write(m, &n->id.pub.sign, n->comp))
			continue;
		node_write(s, n);
		return;
	}
}

/* Only a twin is ever told otherwise. */
static bool
continues_disk(struct sim_node *n, const struct repl_ops *run)
{
	return n->evil != EVIL_TWIN || disk_feed(&n->disk, &run->feed)->seq ==
					   run->head.seq - run->n_ops;
}

static void
on_local(struct sim *s, struct sim_node *n, struct sim_ev *e)
{
	struct repl_event ev = { .kind = RE_LOCAL };

	ev.ops = (struct repl_ops){ .feed = e->feed,
		.ops = e->run.ops,
		.n_ops = e->run.n,
		.head = e->run.head };
	if (s->n_acks < SIM_ACKS_MAX && n->evil == EVIL_NONE)
		s->acks[s->n_acks++] = (struct sim_ack){ .comp = n->comp,
			.feed = e->run.head.feed,
			.seq = e->run.head.seq,
			.at_ms = s->now };
	if (s->o.bug == BUG_DROP_ACKED && s->n_acks % 7 == 3) {
		n->seq = 0; /* carries on in a new feed, nobody knows why */
		n->incarnation += (uint64_t)1 << 40;
		memset(&n->prev, 0, sizeof(n->prev));
		n->writing = false;
		return;
	}
	n->writing = false;
	if (!continues_disk(n, &ev.ops))
		return; /* its twin's came first */
	disk_add_run(s, &n->disk, &ev.ops, n->comp);
	sim_step(s, n, &ev);
}

/* --- granting --- */

static void
on_claim(struct sim *s, struct sim_node *n, struct sim_ev *e)
{
	const struct member *m = repl_member(n->core, member_share(s->chain));
	struct cry_device_pub dev;
	char name[LIM_NAME_BYTES + 1];
	struct sim_ev *g;

	if (n->granting) { /* one at a time */
		g = sim_push(s, s->now + 10, SE_CLAIM, n->no);
		g->bytes = e->bytes;
		e->bytes = BUF_EMPTY;
		return;
	}
	for (uint32_t i = 0; i < s->n; i++) {
		struct sim_node *j = &s->nodes[i];
		struct member_grant gr = { .role = ROLE_WRITER };

		if (j->role != SIM_JOINER ||
		    claim_open(buf_slice(&e->bytes), &j->invite, &dev, name) !=
			ERR_OK)
			continue;
		if (member_is_member(m, &dev.sign))
			return; /* a second copy of the claim */
		gr.device = dev;
		gr.compartment = j->comp;
		g = sim_push(s, s->now + 3, SE_GRANT, n->no);
		g->bytes = BUF_MAX(MIB);
		REQUIRE(member_build_grant(m, &n->id, &s->keys, &gr, name,
			    &g->bytes) == ERR_OK);
		n->granting = true;
		return;
	}
}

static void
on_grant(struct sim *s, struct sim_node *n, struct sim_ev *e)
{
	struct repl_event ev = { .kind = RE_MEMBER,
		.share = *member_share(s->chain),
		.bytes = buf_slice(&e->bytes) };

	disk_add_record(&n->disk, ev.bytes);
	n->granting = false;
	sim_step(s, n, &ev);
	/* keys of a new epoch, for whoever writes under it */
	REQUIRE(member_open_keys(repl_member(n->core, &ev.share), &n->id.pub,
		    &n->id.box_sk, &s->keys) == ERR_OK);
}

static void
on_join(struct sim *s, struct sim_node *n)
{
	struct repl_event ev = { .kind = RE_JOIN,
		.share = n->invite.share,
		.registrar = n->invite.registrar,
		.bytes = buf_slice(&n->claim) };

	n->joined = true; /* durable before the core hears of it */
	if (n->core != NULL)
		sim_step(s, n, &ev);
}
