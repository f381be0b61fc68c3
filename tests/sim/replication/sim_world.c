/* tests/sim/replication/sim_world.c: nodes, their disks, the share they have
 * in common.  Included by the test, which is one program. */
#include "sim/replication/sim.h"

#include <stdarg.h>
#include <stdio.h>

uint64_t
sim_rand(struct sim *s, uint64_t below)
{
	uint64_t x = s->rng;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	s->rng = x;
	return (x * 0x2545F4914F6CDD1Du >> 16) % below;
}

void
sim_fail(struct sim *s, const char *fmt, ...)
{
	va_list ap;

	if (s->res->failed[0] != '\0')
		return; /* the first one tells most */
	va_start(ap, fmt);
	vsnprintf(s->res->failed, sizeof(s->res->failed), fmt, ap);
	va_end(ap);
}

static void *
must(void *p)
{
	REQUIRE(p != NULL);
	return p;
}

/* --- disk --- */

struct sim_feed *
disk_feed(struct sim_disk *d, const struct op_feed *f)
{
	struct feed_id id;
	struct sim_feed *n;

	op_feed_id(f, &id);
	for (uint32_t i = 0; i < d->n_feeds; i++) {
		if (memcmp(&d->feeds[i].id, &id, sizeof(id)) == 0)
			return &d->feeds[i];
	}
	REQUIRE(d->n_feeds < SIM_FEEDS_MAX);
	d->feeds = must(mem_grow(d->feeds, d->n_feeds + 1u, sizeof(*n)));
	n = &d->feeds[d->n_feeds++];
	memset(n, 0, sizeof(*n));
	n->f = *f;
	n->id = id;
	cry_hasher_init(&n->set);
	return n;
}

static struct sim_run_bytes
run_dup(const struct repl_ops *run)
{
	struct sim_run_bytes b = { .n = run->n_ops,
		.first = run->head.seq - run->n_ops + 1,
		.head = run->head,
		.bytes = BUF_MAX(2 * MIB) };
	size_t at = 0;

	b.ops = must(mem_array(run->n_ops, sizeof(*b.ops)));
	for (uint32_t i = 0; i < run->n_ops; i++)
		buf_put_slice(&b.bytes, run->ops[i]);
	REQUIRE(buf_err(&b.bytes) == ERR_OK);
	for (uint32_t i = 0; i < run->n_ops; i++) {
		b.ops[i] = slice_of(b.bytes.p + at, run->ops[i].n);
		at += run->ops[i].n;
	}
	return b;
}

static void
names(struct sim *s, struct sim_disk *d, struct slice op, uint16_t comp)
{
	struct op_view v;
	uint32_t n = 0;

	REQUIRE(op_decode(op, &v) == ERR_OK);
	if (v.packing.n > 0)
		REQUIRE(op_packing_check(v.packing, &n) == ERR_OK);
	for (uint32_t i = 0; i < n; i++) {
		struct op_chunk c = op_packing_at(v.packing, i);

		for (uint32_t k = 0; k < s->n_chunks; k++) {
			if (memcmp(&s->chunks[k].cid, &c.cid, 32) == 0)
				d->named[k] |= (uint8_t)(1u << comp);
		}
	}
}

void
disk_add_run(struct sim *s, struct sim_disk *d, const struct repl_ops *run,
    uint16_t comp)
{
	struct sim_feed *f = disk_feed(d, &run->feed);
	uint64_t first = run->head.seq - run->n_ops + 1;

	if (first != f->seq + 1) {
		sim_fail(s, "core let a gap through to disk");
		return;
	}
	f->runs = must(mem_grow(f->runs, f->n + 1u, sizeof(*f->runs)));
	f->runs[f->n++] = run_dup(run);
	f->seq = run->head.seq;
	f->head = run->head;
	for (uint32_t i = 0; i < run->n_ops; i++) {
		cry_hasher_add(&f->set, run->ops[i]);
		names(s, d, run->ops[i], comp);
	}
}

void
disk_add_record(struct sim_disk *d, struct slice rec)
{
	struct buf *b;

	d->records =
	    must(mem_grow(d->records, d->n_records + 1u, sizeof(*d->records)));
	b = &d->records[d->n_records++];
	*b = BUF_MAX(MIB);
	buf_put_slice(b, rec);
	REQUIRE(buf_err(b) == ERR_OK);
}

void
disk_add_witness(struct sim_disk *d, uint16_t comp,
    const struct cry_sign_pk *device, struct slice kept)
{
	struct sim_wit *w = NULL;

	for (uint32_t i = 0; i < d->n_wits; i++) {
		if (d->wits[i].comp == comp &&
		    same_key(&d->wits[i].device, device))
			w = &d->wits[i];
	}
	if (w == NULL) {
		d->wits = must(mem_grow(d->wits, d->n_wits + 1u, sizeof(*w)));
		w = &d->wits[d->n_wits++];
		*w = (struct sim_wit){ .comp = comp, .device = *device };
	}
	buf_fini(&w->kept);
	w->kept = BUF_MAX(MIB);
	buf_put_slice(&w->kept, kept);
	REQUIRE(buf_err(&w->kept) == ERR_OK);
}

void
disk_add_said(struct sim_disk *d, struct slice statement)
{
	struct buf *b;

	for (uint32_t i = 0; i < d->n_said; i++) {
		if (slice_eq(buf_slice(&d->said[i]), statement))
			return;
	}
	d->said = must(mem_grow(d->said, d->n_said + 1u, sizeof(*b)));
	b = &d->said[d->n_said++];
	*b = BUF_MAX(MIB);
	buf_put_slice(b, statement);
	REQUIRE(buf_err(b) == ERR_OK);
}

void
disk_free(struct sim_disk *d)
{
	for (uint32_t i = 0; i < d->n_said; i++)
		buf_fini(&d->said[i]);
	mem_free(d->said);
	for (uint32_t i = 0; i < d->n_wits; i++)
		buf_fini(&d->wits[i].kept);
	mem_free(d->wits);
	for (uint32_t i = 0; i < d->n_records; i++)
		buf_fini(&d->records[i]);
	mem_free(d->records);
	for (uint32_t i = 0; i < d->n_feeds; i++) {
		struct sim_feed *f = &d->feeds[i];

		for (uint32_t k = 0; k < f->n; k++) {
			buf_fini(&f->runs[k].bytes);
			mem_free(f->runs[k].ops);
		}
		mem_free(f->runs);
	}
	mem_free(d->feeds);
}

void
disk_copy(struct sim *s, const struct sim_disk *from, struct sim_disk *to)
{
	memset(to, 0, sizeof(*to));
	for (uint32_t i = 0; i < from->n_records; i++)
		disk_add_record(to, buf_slice(&from->records[i]));
	for (uint32_t i = 0; i < from->n_feeds; i++) {
		const struct sim_feed *f = &from->feeds[i];

		for (uint32_t k = 0; k < f->n; k++) {
			struct repl_ops run = { .feed = f->f,
				.ops = f->runs[k].ops,
				.n_ops = f->runs[k].n,
				.head = f->runs[k].head };

			disk_add_run(s, to, &run, f->f.compartment);
		}
	}
	for (uint32_t i = 0; i < from->n_said; i++)
		disk_add_said(to, buf_slice(&from->said[i]));
	for (uint32_t i = 0; i < from->n_wits; i++) {
		const struct sim_wit *w = &from->wits[i];

		disk_add_witness(to, w->comp, &w->device, buf_slice(&w->kept));
	}
	memcpy(to->chunk, from->chunk, sizeof(to->chunk));
	memcpy(to->rotten, from->rotten, sizeof(to->rotten));
}

/* Hash of all op bytes of a compartment, independent of arrival order. */
void
disk_set_hash(
    const struct sim *s, struct sim_disk *d, uint16_t comp, struct cry_id *out)
{
	struct cry_id sum = { 0 };

	for (uint32_t i = 0; i < d->n_feeds; i++) {
		struct cry_hasher h = d->feeds[i].set;
		struct cry_id one, part;
		struct slice parts[2];

		if (d->feeds[i].f.compartment != comp || d->feeds[i].seq == 0 ||
		    evil_feed(s, &d->feeds[i].f))
			continue;
		cry_hasher_end(&h, &one);
		parts[0] = slice_of(d->feeds[i].id.b, 16);
		parts[1] = slice_of(one.b, sizeof(one.b));
		cry_hash_parts(NULL, "sim", parts, 2, part.b, sizeof(part.b));
		for (size_t b = 0; b < sizeof(sum.b); b++)
			sum.b[b] ^= part.b[b];
	}
	*out = sum;
}

/* --- setting up --- */

static void
identity(struct sim *s, struct sim_node *n)
{
	uint8_t seed[32];
	struct cry_identity *id = &n->id;

	for (size_t i = 0; i < sizeof(seed); i++)
		seed[i] = (uint8_t)sim_rand(s, 256);
	cry_sign_keypair_seed(seed, &id->pub.site, &id->site_sk);
	seed[0] ^= 1;
	cry_sign_keypair_seed(seed, &id->pub.sign, &id->sign_sk);
	seed[0] ^= 2;
	cry_box_keypair_seed(seed, &id->pub.box, &id->box_sk);
	seed[0] ^= 4;
	cry_box_keypair_seed(
	    seed, &id->recovery, &(struct cry_box_sk){ { 0 } });
	cry_cert_issue(&id->site_sk, &id->pub, 1, &id->cert);
}

static struct sim_node *
lab(struct sim *s)
{
	return &s->nodes[s->o.hubs];
}

static void
chain_add(struct sim *s, struct buf *rec)
{
	REQUIRE(member_apply(s->chain, buf_slice(rec)) == ERR_OK);
	buf_reset(rec);
}

static void
chain_grant(struct sim *s, struct sim_node *n, enum role role, uint16_t comp,
    struct buf *rec)
{
	struct member_grant g = { n->id.pub, role, comp };

	REQUIRE(member_build_grant(s->chain, &lab(s)->id, &s->keys, &g, "site",
		    rec) == ERR_OK);
	chain_add(s, rec);
}

/* Genesis, compartments, and grants for all but joiners and outsiders. */
static void
chain_make(struct sim *s)
{
	struct buf rec = BUF_MAX(MIB);
	struct cry_identity *reg = &lab(s)->id;

	REQUIRE(
	    member_build_genesis(reg, "trial", "lab", false, &rec) == ERR_OK);
	REQUIRE(member_new(buf_slice(&rec), &s->chain) == ERR_OK);
	buf_reset(&rec);
	REQUIRE(member_open_keys(s->chain, &reg->pub, &reg->box_sk, &s->keys) ==
		ERR_OK);
	for (uint16_t c = 1; c <= SIM_COMPS; c++) {
		REQUIRE(member_build_compartment(
			    s->chain, reg, &s->keys, "c", &rec) == ERR_OK);
		chain_add(s, &rec);
		REQUIRE(member_open_keys(s->chain, &reg->pub, &reg->box_sk,
			    &s->keys) == ERR_OK);
		chain_grant(s, lab(s), ROLE_RUNNER, c, &rec);
	}
	for (uint32_t i = 0; i < s->n; i++) {
		struct sim_node *n = &s->nodes[i];

		if (n->role == SIM_HUB)
			chain_grant(s, n, ROLE_HUB, COMPARTMENT_ALL, &rec);
		if (n->role != SIM_SITE)
			continue;
		if (n->twin < i && n->evil == EVIL_TWIN)
			continue; /* granted already */
		chain_grant(s, n, ROLE_WRITER, n->comp, &rec);
		if (n->comp2 != 0)
			chain_grant(s, n, ROLE_READER, n->comp2, &rec);
	}
	buf_fini(&rec);
}

/* Members start with the chain as it was some time after their grant. */
static void
chain_hand_out(struct sim *s, struct sim_node *n)
{
	uint64_t own = 0, all = member_seq(s->chain), to;
	struct member *m;

	if (n->role == SIM_JOINER || n->role == SIM_OUTSIDER || s->o.crowd)
		return;
	REQUIRE(member_new(member_record(s->chain, 0), &m) == ERR_OK);
	while (!member_is_member(m, &n->id.pub.sign))
		REQUIRE(
		    member_apply(m, member_record(s->chain, ++own)) == ERR_OK);
	member_free(m);
	to = own + sim_rand(s, all - own + 1);
	if (n->role != SIM_SITE)
		to = all;
	for (uint64_t i = 0; i <= to; i++)
		disk_add_record(&n->disk, member_record(s->chain, i));
}

static void
joiner_make(struct sim *s, struct sim_node *n)
{
	struct invite *v = &n->invite;

	v->share = *member_share(s->chain);
	v->registrar = lab(s)->id.pub.sign;
	v->expires_s = 2000000000;
	for (size_t i = 0; i < sizeof(v->secret); i++)
		v->secret[i] = (uint8_t)sim_rand(s, 256);
	n->claim = BUF_MAX(KIB);
	REQUIRE(claim_build(v, &n->id, "late site", &n->claim) == ERR_OK);
}

static void
dial_add(struct sim *s, uint32_t from, uint32_t to)
{
	s->dials = must(mem_grow(s->dials, s->n_dials + 1u, sizeof(*s->dials)));
	s->dials[s->n_dials] = (struct sim_dial){ .from = from, .to = to };
	sim_push(s, sim_rand(s, 3000), SE_DIAL, 0)->conn = s->n_dials++;
}

static void
world_nodes(struct sim *s)
{
	const struct sim_opts *o = &s->o;

	s->n = o->hubs + 1 + o->sites + o->joiners + 1;
	REQUIRE(s->n <= SIM_NODES_MAX);
	s->nodes = must(mem_array(s->n, sizeof(*s->nodes)));
	if (o->partitions > 0)
		s->blocked =
		    must(mem_array((size_t)s->n * s->n, sizeof(*s->blocked)));
	for (uint32_t i = 0; i < s->n; i++) {
		struct sim_node *n = &s->nodes[i];

		n->no = i;
		n->role = SIM_SITE;
		if (i < o->hubs)
			n->role = SIM_HUB;
		else if (i == o->hubs)
			n->role = SIM_LAB;
		else if (i == s->n - 1)
			n->role = SIM_OUTSIDER;
		else if (i > o->hubs + o->sites)
			n->role = SIM_JOINER;
		n->comp = (uint16_t)(1 + sim_rand(s, o->comps == 0 ? SIM_COMPS
								   : o->comps));
		if (n->role == SIM_SITE && sim_rand(s, 4) == 0)
			n->comp2 = (uint16_t)(1 + n->comp % SIM_COMPS);
		identity(s, n);
	}
}

static void
world_dials(struct sim *s)
{
	uint32_t h = s->o.hubs;

	for (uint32_t i = 0; i < h; i++) {
		for (uint32_t k = 0; k < i; k++)
			dial_add(s, i, k);
	}
	for (uint32_t i = h; i < s->n; i++) {
		uint32_t first = (uint32_t)sim_rand(s, h);

		dial_add(s, i, first);
		if (h > 1)
			dial_add(s, i, (first + 1) % h);
	}
}

static void
world_make(struct sim *s)
{
	world_nodes(s);
	evil_choose(s);
	chain_make(s);
	for (uint32_t i = 0; i < s->n; i++) {
		chain_hand_out(s, &s->nodes[i]);
		if (s->nodes[i].role >= SIM_JOINER)
			joiner_make(s, &s->nodes[i]);
	}
	world_dials(s);
}

uint64_t
sim_blocked(const struct sim *s, uint32_t from, uint32_t to)
{
	return s->blocked == NULL ? 0 : s->blocked[(size_t)from * s->n + to];
}

/* A crowd's cores look at one chain, which is not theirs to free. */
static void
node_stop(struct sim *s, struct sim_node *n)
{
	struct share *sh;

	if (n->core == NULL)
		return;
	sh = share_find(n->core, member_share(s->chain));
	if (s->o.crowd && sh != NULL && sh->m == s->chain)
		sh->m = NULL;
	repl_free(n->core);
	n->core = NULL;
}

static void
world_free(struct sim *s)
{
	for (uint32_t i = 0; i < s->n; i++) {
		node_stop(s, &s->nodes[i]);
		disk_free(&s->nodes[i].disk);
		buf_fini(&s->nodes[i].claim);
		if (s->nodes[i].snapshot != NULL)
			disk_free(s->nodes[i].snapshot);
		mem_free(s->nodes[i].snapshot);
	}
	for (uint32_t i = 0; i < s->n_chunks; i++)
		buf_fini(&s->chunks[i].bytes);
	for (uint32_t i = 0; i < s->n_heap; i++) {
		buf_fini(&s->heap[i]->bytes);
		buf_fini(&s->heap[i]->run.bytes);
		mem_free(s->heap[i]->run.ops);
		mem_free(s->heap[i]);
	}
	for (uint32_t i = 0; i < SIM_SAID; i++)
		buf_fini(&s->said[i].body);
	mem_free(s->heap);
	mem_free(s->conns);
	mem_free(s->dials);
	mem_free(s->blocked);
	mem_free(s->nodes);
	member_keys_fini(&s->keys);
	member_free(s->chain);
	mem_free(s);
}
