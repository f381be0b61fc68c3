/* tests/sim/replication/sim_check.c: what must hold after, and during, every
 * run.  Included by the test. */
#include "sim/replication/sim.h"

/* The registrar's chain is the last word. */
const struct member *
sim_chain(struct sim *s)
{
	struct sim_node *l = lab(s);

	return l->core == NULL ? NULL
			       : repl_member(l->core, member_share(s->chain));
}

static bool
entitled(struct sim *s, const struct sim_node *n, uint16_t comp)
{
	return member_may_receive(sim_chain(s), &n->id.pub.sign, comp);
}

/* Every chunk this node's policy wants and its ops name is on its disk. */
static bool
has_chunks(struct sim *s, const struct sim_node *n)
{
	for (uint32_t i = 0; i < s->n_chunks; i++) {
		uint16_t comp = s->chunks[i].comp;

		if (entitled(s, n, comp) && wants_content(n, comp) &&
		    !s->chunks[i].gone && (n->disk.named[i] >> comp & 1) != 0 &&
		    !n->disk.chunk[i])
			return false;
	}
	return true;
}

static bool
same_sets(struct sim *s, uint16_t comp, uint32_t *who)
{
	struct cry_id want, got;

	disk_set_hash(s, &lab(s)->disk, comp, &want);
	for (uint32_t i = 0; i < s->n; i++) {
		if (!entitled(s, &s->nodes[i], comp) ||
		    s->nodes[i].evil != EVIL_NONE)
			continue;
		disk_set_hash(s, &s->nodes[i].disk, comp, &got);
		if (memcmp(&want, &got, sizeof(want)) != 0) {
			*who = i;
			return false;
		}
	}
	return true;
}

static bool
has_chain(struct sim *s, const struct sim_node *n)
{
	const struct member *m;

	if (n->role == SIM_OUTSIDER || n->core == NULL)
		return true;
	m = repl_member(n->core, member_share(s->chain));
	return m != NULL && member_seq(m) == member_seq(sim_chain(s));
}

/* What counts is the same everywhere, cuts and all. */
static bool
same_roots(struct sim *s, uint16_t comp, uint32_t *who)
{
	struct cry_id want, got;
	uint64_t n;

	if (s->o.evil == EVIL_TWIN || lab(s)->core == NULL)
		return true; /* forks keep roots apart */
	repl_root(lab(s)->core, member_share(s->chain), comp, &want, &n);
	for (*who = 0; *who < s->n; ++*who) {
		const struct sim_node *i = &s->nodes[*who];

		if (i->core == NULL || i->evil != EVIL_NONE ||
		    !entitled(s, i, comp) || n == 0)
			continue;
		repl_root(i->core, member_share(s->chain), comp, &got, &n);
		if (!same_id(&want, &got))
			return false;
	}
	return true;
}

bool
sim_converged(struct sim *s)
{
	uint32_t who;

	for (uint32_t i = 0; i < s->n; i++) {
		if (s->nodes[i].evil != EVIL_NONE)
			continue;
		if (s->nodes[i].core == NULL || s->nodes[i].writing)
			return false;
		if (member_is_frozen(sim_chain(s), &s->nodes[i].id.pub.sign))
			return false; /* its ops come when it is thawed */
		if (s->nodes[i].role == SIM_JOINER &&
		    s->nodes[i].disk.n_records == 0)
			return false;
	}
	for (uint16_t c = 1; c <= SIM_COMPS; c++) {
		if (!same_sets(s, c, &who) || !same_roots(s, c, &who))
			return false;
	}
	for (uint32_t i = 0; i < s->n; i++) {
		if (s->nodes[i].evil == EVIL_NONE &&
		    (!has_chunks(s, &s->nodes[i]) ||
			!has_chain(s, &s->nodes[i])))
			return false;
	}
	return true;
}

static bool
holds(const struct sim_disk *d, const struct sim_ack *k)
{
	for (uint32_t f = 0; f < d->n_feeds; f++) {
		if (memcmp(&d->feeds[f].id, &k->feed, sizeof(k->feed)) == 0)
			return d->feeds[f].seq >= k->seq;
	}
	return false;
}

static void
check_acks(struct sim *s)
{
	for (uint32_t a = 0; a < s->n_acks; a++) {
		const struct sim_ack *k = &s->acks[a];

		for (uint32_t i = 0; i < s->n && !k->gone; i++) {
			if (s->nodes[i].evil == EVIL_NONE &&
			    entitled(s, &s->nodes[i], k->comp) &&
			    !holds(&s->nodes[i].disk, k))
				sim_fail(
				    s, "acknowledged op lost at node %u", i);
		}
	}
}

/* Nobody holds what it was not granted; the outsider holds nothing. */
static void
check_leaks(struct sim *s)
{
	for (uint32_t i = 0; i < s->n; i++) {
		struct sim_node *n = &s->nodes[i];

		if (n->evil == EVIL_REVOKED)
			continue; /* it keeps what it had */
		for (uint32_t f = 0; f < n->disk.n_feeds; f++) {
			uint16_t comp = n->disk.feeds[f].f.compartment;

			if (!entitled(s, n, comp))
				sim_fail(s, "node %u holds ops of %u", i, comp);
		}
		for (uint32_t c = 0; c < s->n_chunks; c++) {
			if (n->disk.chunk[c] &&
			    !entitled(s, n, s->chunks[c].comp))
				sim_fail(s, "node %u holds a chunk of %u", i,
				    s->chunks[c].comp);
		}
		if (n->role == SIM_OUTSIDER && n->disk.n_records > 0)
			sim_fail(s, "the outsider holds the chain");
	}
}

/* Some op of the compartment, wherever it lies. */
static bool
some_op(struct sim *s, uint16_t comp, struct op_view *out)
{
	const struct sim_disk *d = &lab(s)->disk;

	for (uint32_t f = 0; f < d->n_feeds; f++) {
		if (d->feeds[f].f.compartment == comp && d->feeds[f].n > 0)
			return op_decode(d->feeds[f].runs[0].ops[0], out) ==
			       ERR_OK;
	}
	return false;
}

/* Even who is handed all ciphertext opens what it was granted, no more. */
static void
opens(struct sim *s, const struct sim_node *n, const struct member_keys *keys,
    uint16_t comp)
{
	bool may = member_may_read(sim_chain(s), &n->id.pub.sign, comp);
	bool does = false;
	struct op_view v;

	if (!some_op(s, comp, &v))
		return;
	for (uint32_t k = 0; k < keys->n && !does; k++) {
		struct buf text = BUF_MAX(MIB);

		does = op_open(&v, &keys->k[k].content, &text) == ERR_OK;
		buf_fini(&text);
	}
	if (does && !may)
		sim_fail(s, "node %u reads plaintext of %u", n->no, comp);
	if (may && !does)
		sim_fail(s, "node %u cannot read %u", n->no, comp);
}

/* Keys that came after it was put out are not among those it can open. */
static void
check_shut_out(struct sim *s)
{
	const struct sim_node *n = &s->nodes[s->victim];
	struct member_keys keys = { .n = 0 };
	enum err e;

	if (n->evil != EVIL_REVOKED)
		return;
	e = member_open_keys(sim_chain(s), &n->id.pub, &n->id.box_sk, &keys);
	REQUIRE(e == ERR_OK || e == ERR_NOTFOUND);
	for (uint32_t k = 0; k < keys.n; k++) {
		if (keys.k[k].epoch > 1)
			sim_fail(s, "the revoked node has a new key");
	}
	member_keys_fini(&keys);
}

static void
check_plaintext(struct sim *s)
{
	for (uint32_t i = 0; i < s->n && !s->o.crowd; i++) {
		const struct sim_node *n = &s->nodes[i];
		struct member_keys keys = { .n = 0 };
		enum err e;

		if (n->evil == EVIL_REVOKED)
			continue;
		e = member_open_keys(
		    sim_chain(s), &n->id.pub, &n->id.box_sk, &keys);

		REQUIRE(e == ERR_OK || e == ERR_NOTFOUND);
		if (s->o.bug == BUG_KEYS && n->role == SIM_SITE)
			REQUIRE(member_keys_add(&keys,
				    &s->keys.k[n->comp % SIM_COMPS]) == ERR_OK);
		for (uint16_t c = 1; c <= SIM_COMPS; c++)
			opens(s, n, &keys, c);
		member_keys_fini(&keys);
	}
}

static const struct sim_node *
node_of(const struct sim *s, const struct cry_sign_pk *d)
{
	for (uint32_t i = 0; i < s->n; i++) {
		if (same_key(&s->nodes[i].id.pub.sign, d))
			return &s->nodes[i];
	}
	return NULL;
}

/* Who took its word back was put back, or is no honest node. */
static void
check_words(struct sim *s)
{
	static struct repl_words_row row[4096];
	bool *named = must(mem_array(s->n, sizeof(*named)));

	for (uint32_t i = 0; i < s->n && !s->o.crowd; i++) {
		const struct sim_node *n = &s->nodes[i];
		uint32_t k = n->core == NULL || n->evil != EVIL_NONE
				 ? 0
				 : repl_words(n->core, row, 4096);

		for (REQUIRE(k <= 4096); k-- > 0;) {
			const struct sim_node *of = node_of(s, &row[k].device);

			if (row[k].what != REPL_WORD_PUT_BACK)
				continue;
			named[of->no] = true;
			if (!of->put_back && of->evil == EVIL_NONE)
				sim_fail(s, "node %u says that %u was put back",
				    i, of->no);
		}
	}
	for (uint32_t i = 0; i < s->n; i++) {
		s->res->put_back += s->nodes[i].put_back;
		s->res->named += named[i];
	}
	mem_free(named);
}

void
sim_check(struct sim *s)
{
	uint32_t who = 0;

	if (sim_chain(s) == NULL) {
		sim_fail(s, "the registrar is down at the end");
		return;
	}
	check_leaks(s);
	check_acks(s);
	check_plaintext(s);
	check_shut_out(s);
	check_words(s);
	for (uint16_t c = 1; c <= SIM_COMPS; c++) {
		if (!same_roots(s, c, &who))
			sim_fail(s, "node %u has another root of %u", who, c);
		if (!same_sets(s, c, &who))
			sim_fail(
			    s, "node %u differs in compartment %u", who, c);
	}
	for (uint32_t i = 0; i < s->n; i++) {
		if (s->nodes[i].evil != EVIL_NONE)
			continue;
		if (!has_chunks(s, &s->nodes[i]))
			sim_fail(s, "node %u lacks a wanted chunk", i);
		if (!has_chain(s, &s->nodes[i]))
			sim_fail(s, "node %u has not the whole chain", i);
	}
	/* Finished chunks come once; < 5 % may come again. */
	if (s->res->chunk_repeats * 20 > s->res->chunk_deliveries)
		sim_fail(s, "%llu of %llu chunks came twice",
		    (unsigned long long)s->res->chunk_repeats,
		    (unsigned long long)s->res->chunk_deliveries);
}

/* Bounds of one core's queues, after every step (sampled). */
void
sim_check_core(struct sim *s, struct sim_node *n)
{
	if (s->res->events % 16 != 0 || n->core == NULL)
		return;
	if (n->core->n_persists > SIM_PERSISTS_MAX)
		sim_fail(s, "node %u: %u writes under way", n->no,
		    n->core->n_persists);
	for (uint32_t i = 0; i < n->core->n_peers; i++) {
		const struct peer *p = n->core->peers[i];

		if (p->queued[SESS_CONTROL] >
			REPL_QUEUE_CONTROL_MAX + MSG_CONTROL_BYTES_MAX ||
		    p->queued[SESS_OPS] > REPL_QUEUE_OPS_MAX + MIB ||
		    p->rx_used[SESS_CONTROL] > 128 * KIB ||
		    p->rx_used[SESS_OPS] > 2 * MIB ||
		    p->rx_used[SESS_BULK] > 9 * MIB ||
		    p->ct.asked_n > n->core->o.chunk_window ||
		    p->pulls > REPL_PULLS_MAX)
			sim_fail(
			    s, "node %u: a queue is above its bound", n->no);
	}
}
