/* tests/sim/replication/sim_evil.c: members that are not honest.  Included by
 * the test.  What they say is made of what an honest node would say, so it
 * stays hostile when messages change their form. */
#include "sim/replication/sim.h"

static struct sim_node *
a_site(struct sim *s)
{
	return &s->nodes[s->o.hubs + 1 + sim_rand(s, s->o.sites)];
}

/* Two machines of one device, which write into one feed. */
static void
twins(struct sim *s)
{
	struct sim_node *a = &s->nodes[s->o.hubs + 1], *b = a + 1;

	REQUIRE(s->o.sites >= 2);
	b->id = a->id;
	b->comp = a->comp;
	b->comp2 = a->comp2;
	a->twin = b->no;
	b->twin = a->no;
	a->evil = b->evil = EVIL_TWIN;
}

void
evil_choose(struct sim *s)
{
	struct sim_node *n;

	switch (s->o.evil) {
	case EVIL_NONE:
	case EVIL_KINDS: return;
	case EVIL_TWIN: twins(s); return;
	case EVIL_WITHHOLD:
		s->nodes[sim_rand(s, s->o.hubs)].evil = EVIL_WITHHOLD;
		s->victim = a_site(s)->no;
		return;
	case EVIL_REVOKED:
		n = a_site(s);
		n->evil = EVIL_REVOKED;
		s->victim = n->no;
		sim_push(s, s->o.active_ms / 2, SE_REVOKE, 0);
		return;
	case EVIL_LIE:
	case EVIL_FLOOD:
		n = sim_rand(s, 2) == 0 ? a_site(s)
					: &s->nodes[sim_rand(s, s->o.hubs)];
		n->evil = s->o.evil;
		for (uint64_t ms = 2000; ms < s->o.active_ms; ms += 250) {
			if (n->evil == EVIL_FLOOD)
				sim_push(s, ms, SE_FLOOD, n->no);
		}
		return;
	}
}

/* The registrar revokes it with what it holds of it as cuts. */
void
evil_revoke(struct sim *s)
{
	struct sim_node *l = lab(s);
	struct member_cut cuts[64];
	struct member_revoke v = { .device = s->nodes[s->victim].id.pub,
		.cuts = cuts,
		.reason = "left" };
	struct sim_ev *e;

	if (l->core == NULL || l->granting) {
		sim_push(s, s->now + 100, SE_REVOKE, 0);
		return;
	}
	for (uint32_t i = 0; i < l->disk.n_feeds && v.n_cuts < 64; i++) {
		const struct sim_feed *f = &l->disk.feeds[i];

		if (f->seq > 0 && same_key(&f->f.device, &v.device.sign))
			cuts[v.n_cuts++] = (struct member_cut){ f->f, f->head };
	}
	e = sim_push(s, s->now + 3, SE_GRANT, l->no);
	e->bytes = BUF_MAX(MIB);
	REQUIRE(
	    member_build_revoke(repl_member(l->core, member_share(s->chain)),
		&l->id, &s->keys, &v, &e->bytes) == ERR_OK);
	l->granting = true;
	for (uint16_t c = 1; c <= SIM_COMPS; c++)
		sim_push(s, s->now + 100, SE_ROTATE, 0)->conn = c;
}

/* Then it changes the keys, one compartment after the other. */
void
evil_rotate(struct sim *s, uint16_t comp)
{
	struct sim_node *l = lab(s);
	const struct member *m =
	    l->core == NULL ? NULL
			    : repl_member(l->core, member_share(s->chain));
	struct sim_ev *e;

	if (m == NULL || l->granting) {
		sim_push(s, s->now + 100, SE_ROTATE, 0)->conn = comp;
		return;
	}
	if (member_epoch(m, comp) > 1)
		return; /* done, and durable or tried again */
	e = sim_push(s, s->now + 3, SE_GRANT, l->no);
	e->bytes = BUF_MAX(MIB);
	REQUIRE(member_build_rotate(m, &l->id, &s->keys, comp, &e->bytes) ==
		ERR_OK);
	l->granting = true;
	s->res->rotations++;
	sim_push(s, s->now + 300, SE_ROTATE, 0)->conn = comp;
}

uint64_t
evil_left_out(struct sim *s)
{
	const struct sim_disk *d = &s->nodes[s->victim].disk;
	struct share *sh = lab(s)->core == NULL ? NULL
						: share_find(lab(s)->core,
						      member_share(s->chain));
	uint64_t n = 0;

	for (uint32_t i = 0; i < d->n_feeds && sh != NULL; i++) {
		const struct sim_feed *f = &d->feeds[i];
		struct comp *c = comp_find(sh, f->f.compartment);
		const struct feed *at;
		uint32_t k;

		if (c == NULL ||
		    !same_key(&f->f.device, &s->nodes[s->victim].id.pub.sign))
			continue;
		at = feed_find(c, &f->id, &k);
		n += f->seq - (at == NULL ? 0 : at->seq);
	}
	return n;
}

/* Ops of twins fork: who got which first keeps it.  Of a revoked writer's
 * disks may hold more than its cut; roots tell what counts. */
bool
evil_feed(const struct sim *s, const struct op_feed *f)
{
	for (uint32_t i = 0; i < s->n; i++) {
		if ((s->nodes[i].evil == EVIL_TWIN ||
			s->nodes[i].evil == EVIL_REVOKED) &&
		    same_key(&s->nodes[i].id.pub.sign, &f->device))
			return true;
	}
	return false;
}

static bool
has_bytes(struct slice in, const uint8_t *p, size_t n)
{
	return in.n >= n && memmem(in.p, in.n, p, n) != NULL;
}

/* Does it speak of the victim, by key or by the name of a feed? */
static bool
names_victim(const struct sim *s, const struct sim_node *n, struct slice body)
{
	const struct cry_sign_pk *pk = &s->nodes[s->victim].id.pub.sign;

	if (has_bytes(body, pk->b, sizeof(pk->b)))
		return true;
	for (uint32_t i = 0; i < n->disk.n_feeds; i++) {
		const struct sim_feed *f = &n->disk.feeds[i];

		if (same_key(&f->f.device, pk) && has_bytes(body, f->id.b, 8))
			return true;
	}
	return false;
}

static void
lie(struct sim *s, struct buf *body)
{
	if (body->n <= 18 || sim_rand(s, 2) == 0)
		return;
	for (uint64_t k = 1 + sim_rand(s, 3); k > 0; k--)
		body->p[18 + sim_rand(s, body->n - 18)] =
		    (uint8_t)sim_rand(s, 256);
}

static void
remember(struct sim *s, uint8_t type, struct slice body)
{
	struct sim_said *w = &s->said[s->n_said++ % SIM_SAID];

	buf_fini(&w->body);
	w->body = BUF_MAX(LIM_MESSAGE_BYTES);
	w->type = type;
	buf_put_slice(&w->body, body);
	REQUIRE(buf_err(&w->body) == ERR_OK);
}

bool
evil_says(struct sim *s, struct sim_node *n, uint8_t type, struct buf *body)
{
	bool ops = type >= MSG_ROOT && type < MSG_HAVE;

	switch (n->evil) {
	case EVIL_NONE:
	case EVIL_TWIN:
	case EVIL_REVOKED:
	case EVIL_KINDS: return true;
	case EVIL_WITHHOLD: return !ops || !names_victim(s, n, buf_slice(body));
	case EVIL_LIE:
		if (ops && msg_class(type) == SESS_CONTROL)
			lie(s, body);
		return true;
	case EVIL_FLOOD:
		if (!msg_is_free(type))
			remember(s, type, buf_slice(body));
		return true;
	}
	return true;
}

/* Again and often, on every connection, under this session's tag. */
static void
flood_conn(struct sim *s, uint32_t conn, uint32_t side)
{
	uint32_t held = s->n_said < SIM_SAID ? s->n_said : SIM_SAID;
	struct msg_tag tag;
	bool ok = false;

	for (uint32_t i = 0; i < s->n_heap && !ok; i++) {
		const struct sim_ev *e = s->heap[i];

		ok = e->kind == SE_MSG && e->conn == conn &&
		     e->side == 1 - side && e->bytes.n > sizeof(tag) &&
		     e->type >= MSG_MLOG_REQ && e->type != MSG_CHUNK;
		if (ok)
			memcpy(tag.b, e->bytes.p, sizeof(tag));
	}
	for (uint32_t k = 0; k < 20 && held > 0; k++) {
		struct sim_said *w = &s->said[sim_rand(s, held)];

		if (ok && w->type != MSG_CHUNK && w->body.n >= sizeof(tag))
			memcpy(w->body.p, tag.b, sizeof(tag));
		sim_post(s, conn, side, w->type, buf_slice(&w->body));
	}
}

void
evil_flood(struct sim *s, struct sim_node *n)
{
	if (n->core == NULL)
		return;
	for (uint32_t i = 0; i < s->n_conns; i++) {
		const struct sim_conn *c = &s->conns[i];
		uint32_t side = side_of(c, n);

		if (c->end[side] == n->no && c->up[side] && c->up[1 - side])
			flood_conn(s, i, side);
	}
}
