/* tests/sim/replication/sim_fault.c: what befalls disks and clocks.  Included
 * by the test. */
#include "sim/replication/sim.h"

/* --- what is lost for good --- */

static bool
ack_held(const struct sim *s, const struct sim_ack *k)
{
	for (uint32_t i = 0; i < s->n; i++) {
		const struct sim_disk *d = &s->nodes[i].disk;
		bool counts = s->nodes[i].evil == EVIL_NONE;

		for (uint32_t f = 0; f < d->n_feeds && counts; f++) {
			if (memcmp(&d->feeds[f].id, &k->feed,
				sizeof(k->feed)) == 0 &&
			    d->feeds[f].seq >= k->seq)
				return true;
		}
	}
	return false;
}

static bool
chunk_held(const struct sim *s, uint32_t c)
{
	for (uint32_t i = 0; i < s->n; i++) {
		if (s->nodes[i].evil == EVIL_NONE &&
		    s->nodes[i].disk.chunk[c] && !s->nodes[i].disk.rotten[c])
			return true;
	}
	return false;
}

/* Durable is what is on an honest node's disk.  If that was the only one,
 * nobody is to blame. */
static void
excuse(struct sim *s)
{
	for (uint32_t i = 0; i < s->n_acks; i++)
		s->acks[i].gone |= !ack_held(s, &s->acks[i]);
	for (uint32_t i = 0; i < s->n_chunks; i++)
		s->chunks[i].gone |= !chunk_held(s, i);
}

/* --- the power goes --- */

static int
by_time(const void *a, const void *b)
{
	const struct sim_ev *x = *(struct sim_ev *const *)a;
	const struct sim_ev *y = *(struct sim_ev *const *)b;

	return earlier(x, y) ? -1 : 1;
}

/* Writes reach the disk in order.  Some of those under way did, and nobody
 * heard of it; one more is torn: its head is missing or its hash is not what
 * it should be, so the host does not know it again; the others never were. */
void
fault_torn(struct sim *s, struct sim_node *n)
{
	struct sim_ev **due =
	    must(mem_array(s->n_heap + 1u, sizeof(struct sim_ev *)));
	uint32_t m = 0, k;

	for (uint32_t i = 0; i < s->n_heap; i++) {
		struct sim_ev *e = s->heap[i];

		if (e->kind == SE_PERSIST && e->node == n->no &&
		    e->gen == n->gen)
			due[m++] = e;
	}
	qsort(due, m, sizeof(struct sim_ev *), by_time);
	k = n->nothing_more ? 0 : (uint32_t)sim_rand(s, m + 1u);
	n->nothing_more = false;
	for (uint32_t i = 0; i < k && n->full_until <= s->now; i++)
		sim_persist_apply(s, n, &due[i]->fx);
	mem_free(due);
}

/* --- snapshots and losses --- */

static void
snapshot(struct sim *s, struct sim_node *n)
{
	if (n->snapshot != NULL)
		disk_free(n->snapshot);
	else
		n->snapshot = must(mem_new(sizeof(*n->snapshot)));
	disk_copy(s, &n->disk, n->snapshot);
}

static void
rewind_node(struct sim *s, struct sim_node *n)
{
	if (n->snapshot == NULL || s->calm)
		return;
	sim_crash(s, n);
	disk_free(&n->disk);
	disk_copy(s, n->snapshot, &n->disk);
	n->put_back = true;
	excuse(s);
	s->res->rewinds++;
}

/* Keys and invite are kept elsewhere, on paper say; all data are gone. */
static void
lose_node(struct sim *s, struct sim_node *n)
{
	if (s->calm)
		return;
	sim_crash(s, n);
	disk_free(&n->disk);
	memset(&n->disk, 0, sizeof(n->disk));
	n->put_back = true;
	if (n->role != SIM_OUTSIDER && n->claim.n == 0)
		joiner_make(s, n);
	n->joined = n->role != SIM_OUTSIDER;
	excuse(s);
	s->res->losses++;
}

/* --- small ones --- */

static void
rot(struct sim *s, struct sim_node *n)
{
	uint32_t at, c;

	if (s->n_chunks == 0)
		return;
	at = (uint32_t)sim_rand(s, s->n_chunks);
	for (uint32_t i = 0; i < s->n_chunks; i++) {
		c = (at + i) % s->n_chunks;
		if (!n->disk.chunk[c] || n->disk.rotten[c])
			continue;
		n->disk.rotten[c] = true;
		s->res->rots++;
		excuse(s);
		return;
	}
}

/* A machine that slept or whose clock was set: forward, by up to ten years.
 * The loop's clock never goes back; a wall clock does and decides nothing. */
static void
jump(struct sim *s, struct sim_node *n)
{
	struct repl_event tick = { .kind = RE_TICK };

	n->skew += sim_rand(s, (uint64_t)10 * 365 * 86400 * 1000);
	s->res->jumps++;
	if (n->core != NULL)
		sim_step(s, n, &tick);
}

/* The lab freezes a site; what it wrote comes when it is thawed. */
static void
freeze(struct sim *s, const struct sim_node *who)
{
	struct sim_node *l = lab(s);
	const struct cry_sign_pk *d = &who->id.pub.sign;
	struct member_freeze_opts o = { .device = *d, .reason = "odd" };
	struct repl_event ev = { .kind = RE_STATEMENT,
		.share = *member_share(s->chain) };
	const struct member *m =
	    l->core == NULL ? NULL : repl_member(l->core, &ev.share);
	struct buf b = BUF_MAX(MIB);

	if (m == NULL || s->calm || who->role != SIM_SITE ||
	    who->evil != EVIL_NONE || !member_is_member(m, d) ||
	    member_is_frozen(m, d) || member_is_registrar(m, d))
		return;
	REQUIRE(member_build_freeze(m, &l->id, &s->keys, &o, &b) == ERR_OK);
	disk_add_said(&l->disk, buf_slice(&b));
	ev.bytes = buf_slice(&b);
	sim_step(s, l, &ev);
	s->res->freezes++;
	sim_push(s, s->now + 500 + sim_rand(s, 6000), SE_THAW, who->no);
	buf_fini(&b);
}

/* Until it is so: the lab may crash before the record is on disk. */
static void
thaw(struct sim *s, const struct sim_node *who)
{
	struct sim_node *l = lab(s);
	struct member_freeze_opts o = { .device = who->id.pub.sign,
		.reason = "fine" };
	const struct member *m =
	    l->core == NULL ? NULL
			    : repl_member(l->core, member_share(s->chain));
	struct sim_ev *e;

	if (m != NULL && !member_is_frozen(m, &o.device))
		return;
	sim_push(s, s->now + 200, SE_THAW, who->no);
	if (m == NULL || l->granting)
		return;
	e = sim_push(s, s->now + 3, SE_GRANT, l->no);
	e->bytes = BUF_MAX(MIB);
	REQUIRE(
	    member_build_thaw(m, &l->id, &s->keys, &o, &e->bytes) == ERR_OK);
	l->granting = true;
}

bool
fault_event(struct sim *s, struct sim_ev *e)
{
	struct sim_node *n = &s->nodes[e->node];

	switch (e->kind) { // the rest is others'
	case SE_SNAPSHOT: snapshot(s, n); return true;
	case SE_REWIND: rewind_node(s, n); return true;
	case SE_LOSS: lose_node(s, n); return true;
	case SE_FULL:
		n->full_until = s->now + 2000 + sim_rand(s, 10000);
		s->res->fulls++;
		return true;
	case SE_ROT: rot(s, n); return true;
	case SE_CLOCK: jump(s, n); return true;
	case SE_REVOKE: evil_revoke(s); return true;
	case SE_ROTATE: evil_rotate(s, (uint16_t)e->conn); return true;
	case SE_FREEZE: freeze(s, n); return true;
	case SE_THAW: thaw(s, n); return true;
	case SE_FLOOD: evil_flood(s, n); return true;
	default: return false;
	}
}

/* The registrar's disk stays: a registrar put back must ask for the chain
 * before it signs, which is its host's part. */
static uint32_t
anybody_but_the_lab(struct sim *s)
{
	uint32_t i = (uint32_t)sim_rand(s, s->n - 1u);

	return i >= s->o.hubs ? i + 1 : i;
}

static void
some(struct sim *s, uint32_t n, enum sim_ev_kind kind)
{
	for (uint32_t i = 0; i < n; i++)
		sim_push(s, sim_rand(s, s->o.active_ms), kind,
		    anybody_but_the_lab(s));
}

void
fault_schedule(struct sim *s)
{
	const struct sim_opts *o = &s->o;

	for (uint32_t i = 0; i < o->rewinds; i++) {
		uint32_t who = anybody_but_the_lab(s);
		uint64_t at = sim_rand(s, o->active_ms);

		sim_push(s, at / 2, SE_SNAPSHOT, who);
		sim_push(s, at, SE_REWIND, who);
	}
	some(s, o->losses, SE_LOSS);
	some(s, o->fulls, SE_FULL);
	some(s, o->rots, SE_ROT);
	some(s, o->jumps, SE_CLOCK);
	some(s, o->freezes, SE_FREEZE);
}

/* Room again everywhere, and a scrub that finds what is rotten. */
void
fault_heal(struct sim *s)
{
	for (uint32_t i = 0; i < s->n; i++) {
		struct sim_node *n = &s->nodes[i];

		n->full_until = 0;
		for (uint32_t c = 0; c < s->n_chunks; c++) {
			if (n->disk.rotten[c])
				n->disk.chunk[c] = n->disk.rotten[c] = false;
		}
		if (n->core != NULL)
			want_missing(s, n);
	}
}
