/* tests/bench/bench_sync.c: what two nodes say to find out that they are
 * level, or what each lacks.
 *
 *   bench_sync
 *
 * Two cores in one process, without sockets and disks, a hub and a reader of
 * one compartment.  Feeds are known by their heads, so N ops cost no memory;
 * ops that are sent are real ones, checked as in a node.  Prints, both
 * ways together: messages; legs (half round trips until quiet); bytes of ops
 * with their heads as they are stored; bytes of messages beyond those (less
 * than none: a head travels as its signature); what 16 KiB frames add, 21
 * bytes each; CPU of both ends. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "replication/msg.h"
#include "replication/repl.h"
#include "store/base/limits.h"
#include "store/base/mem.h"

#define FRAME_BYTES 21u
#define FRAME_BODY (16384u - 21u)
#define AUTHORS 20u
#define NEWS 50u /* new ops of an author */

static struct cry_identity reg, hub, lab, wr;
static struct member *chain;
static const struct cry_key epoch = { .b = { 5 } };
static const uint8_t hash64[64] = { 9 };

struct note { /* a message under way */
	uint8_t type;
	struct buf body;
};

struct end {
	struct repl *core;
	struct note *q; /* sent, not delivered */
	uint32_t first, n, cap;
	uint32_t msgs;
	uint64_t bytes, frames, op_bytes;
};

struct run {
	struct buf b[NEWS];
	struct slice s[NEWS];
	struct repl_ops ops;
};

static struct run runs[AUTHORS];
static uint64_t now = 1;

static void
must(enum err e, const char *what)
{
	if (e == ERR_OK)
		return;
	fprintf(stderr, "bench_sync: %s: %s\n", what, err_text(e));
	exit(1);
}

static double
cpu_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

static void feed(struct end *e, struct repl_event *ev);

static void
post(struct end *e, const struct repl_effect *fx)
{
	struct note *t;

	if (e->n == e->cap) {
		e->cap = e->cap == 0 ? 64 : e->cap * 2;
		e->q = mem_grow(e->q, e->cap, sizeof(*e->q));
		must(e->q == NULL ? ERR_NOMEM : ERR_OK, "memory");
	}
	t = &e->q[e->n++];
	t->type = fx->type;
	t->body = BUF_MAX(LIM_MESSAGE_BYTES);
	buf_put_slice(&t->body, fx->bytes);
	e->msgs++;
	e->bytes += fx->bytes.n;
	e->frames += FRAME_BYTES * (1 + fx->bytes.n / FRAME_BODY);
}

static const struct run *
run_of(const struct feed_id *id)
{
	for (uint32_t i = 0; i < AUTHORS; i++) {
		if (memcmp(&runs[i].ops.head.feed, id, sizeof(*id)) == 0)
			return &runs[i];
	}
	return NULL;
}

static void
answer(struct end *e, const struct repl_effect *fx)
{
	struct repl_event ev = { .token = fx->token };
	const struct run *r;

	if (fx->kind == RX_FETCH_OPS) {
		ev.kind = RE_FETCHED;
		ev.err =
		    (r = run_of(&fx->feed)) == NULL ? ERR_NOTFOUND : ERR_OK;
		if (r != NULL)
			ev.ops = r->ops;
		feed(e, &ev);
	} else if (fx->kind == RX_PERSIST_OPS) {
		ev.kind = RE_PERSISTED;
		for (uint32_t i = 0; i < fx->ops.n_ops; i++)
			e->op_bytes += fx->ops.ops[i].n;
		e->op_bytes += OP_HEAD_BYTES;
		feed(e, &ev);
	} else if (fx->kind == RX_CLOSE) {
		must(fx->err, fx->why);
	}
}

static void
feed(struct end *e, struct repl_event *ev)
{
	struct repl_effects fx;
	struct repl_effect *copy;

	ev->now_ms = now;
	must(repl_step(e->core, ev, &fx), "step");
	if (fx.n == 0)
		return;
	copy = mem_array(fx.n, sizeof(*copy));
	must(copy == NULL ? ERR_NOMEM : ERR_OK, "memory");
	memcpy(copy, fx.fx, fx.n * sizeof(*copy));
	for (uint32_t i = 0; i < fx.n; i++) {
		if (copy[i].kind == RX_SEND)
			post(e, &copy[i]);
	}
	for (uint32_t i = 0, n = fx.n; i < n; i++) {
		if (copy[i].kind != RX_SEND)
			answer(e, &copy[i]);
	}
	mem_free(copy);
}

static void
end_new(struct end *e, const struct cry_identity *me)
{
	struct repl_opts o = { .me = me->pub, .seed = 1 };
	struct slice recs[8];
	struct repl_event ev = { .kind = RE_SHARE,
		.share = *member_share(chain),
		.records = recs,
		.n_records = (uint32_t)member_seq(chain) + 1 };

	memset(e, 0, sizeof(*e));
	must(repl_new(&o, &e->core), "core");
	for (uint32_t i = 0; i < ev.n_records; i++)
		recs[i] = member_record(chain, i);
	feed(e, &ev);
}

static void
end_free(struct end *e)
{
	for (; e->first < e->n; e->first++)
		buf_fini(&e->q[e->first].body);
	mem_free(e->q);
	repl_free(e->core);
}

static void
deliver(struct end *from, struct end *to, uint32_t n)
{
	for (; from->first < n; from->first++) {
		struct note t = from->q[from->first];
		struct repl_event ev = { .kind = RE_MSG,
			.conn = 1,
			.type = t.type,
			.bytes = buf_slice(&t.body) };

		feed(to, &ev);
		buf_fini(&t.body);
	}
}

/* Half round trips until both are quiet. */
static uint32_t
settle(struct end *a, struct end *b)
{
	uint32_t half = 0;

	while (a->first < a->n || b->first < b->n) {
		uint32_t na = a->n, nb = b->n; /* these cross */

		deliver(a, b, na);
		deliver(b, a, nb);
		half++;
	}
	return half;
}

static void
tick(struct end *e)
{
	struct repl_event ev = { .kind = RE_TICK };

	feed(e, &ev);
}

struct cost {
	double cpu;
	uint64_t bytes, frames, ops;
	uint32_t msgs, half;
};

static struct cost
meet(struct end *a, struct end *b)
{
	struct repl_event up = {
		.kind = RE_CONN_UP, .conn = 1, .hash = hash64
	};
	struct repl_event down = { .kind = RE_CONN_DOWN, .conn = 1 };
	struct cost c = { 0 };
	double t = cpu_ms();

	a->bytes = b->bytes = a->op_bytes = b->op_bytes = 0;
	a->frames = b->frames = 0;
	a->msgs = b->msgs = 0;
	up.peer = hub.pub;
	feed(b, &up);
	up.peer = lab.pub;
	up.initiator = true;
	feed(a, &up);
	c.half = settle(a, b);
	for (int i = 0; i < 60 && !repl_in_sync(a->core); i++) {
		now += 100; /* roots are told when changes settle */
		tick(a);
		tick(b);
		(void)settle(a, b);
	}
	c.cpu = cpu_ms() - t;
	if (!repl_in_sync(a->core) || !repl_in_sync(b->core))
		must(ERR_TIMEOUT, "not level");
	c.ops = a->op_bytes + b->op_bytes;
	c.bytes = a->bytes + b->bytes;
	c.frames = a->frames + b->frames;
	c.msgs = a->msgs + b->msgs;
	feed(a, &down);
	feed(b, &down);
	(void)settle(a, b);
	return c;
}

static struct op_feed
feed_of(uint64_t incarnation)
{
	return (struct op_feed){ .share = *member_share(chain),
		.compartment = 1,
		.device = wr.pub.sign,
		.incarnation = incarnation };
}

static void
known(struct end *e, uint64_t incarnation, uint64_t seq)
{
	struct repl_event ev = { .kind = RE_FEED };

	ev.ops.feed = feed_of(incarnation);
	ev.ops.head.seq = ev.ops.head.lamport = seq;
	ev.ops.head.id.b[0] = 1;
	feed(e, &ev);
}

/* New real ops of one feed, after what both know of it. */
static void
run_make(struct run *r, uint64_t incarnation, uint64_t have)
{
	static const uint8_t text[600];
	struct cry_id prev = { .b = { 1 } };

	r->ops.feed = feed_of(incarnation);
	op_feed_id(&r->ops.feed, &r->ops.head.feed);
	for (uint64_t i = 0; i < NEWS; i++) {
		struct op_header h = { .kind = OP_ASSET_PUT,
			.epoch = 1,
			.feed = r->ops.head.feed,
			.seq = have + 1 + i,
			.lamport = have + 1 + i,
			.prev = prev };

		buf_fini(&r->b[i]);
		r->b[i] = BUF_MAX(64 * KIB);
		must(op_build(&h, &epoch, slice_of(text, sizeof(text)),
			 slice_of(NULL, 0), &r->b[i], &prev),
		    "op");
		r->s[i] = buf_slice(&r->b[i]);
		r->ops.head.seq = h.seq;
		r->ops.head.lamport = h.lamport;
	}
	r->ops.head.id = prev;
	r->ops.ops = r->s;
	r->ops.n_ops = NEWS;
	op_head_sign(&r->ops.head, &wr.sign_sk);
}

static void
news(struct end *a, uint32_t feeds, uint64_t have)
{
	for (uint32_t i = 0; i < AUTHORS; i++) {
		struct repl_event ev = { .kind = RE_LOCAL };

		run_make(&runs[i], 1 + i * (feeds / AUTHORS), have);
		ev.ops = runs[i].ops;
		feed(a, &ev);
	}
}

static void
print(const char *what, uint64_t ops, uint32_t feeds, const struct cost *c)
{
	printf("%-30s %8llu %6u %5u %4u %7llu %9lld %7llu %8.2f\n", what,
	    (unsigned long long)ops, feeds, c->msgs, c->half,
	    (unsigned long long)c->ops, (long long)(c->bytes - c->ops),
	    (unsigned long long)c->frames, c->cpu);
}

static void
one(uint64_t ops, uint32_t feeds)
{
	uint64_t have = ops / feeds;
	struct end a, b;
	struct cost c;

	end_new(&a, &hub);
	end_new(&b, &lab);
	for (uint32_t i = 1; i <= feeds; i++) {
		known(&a, i, have);
		known(&b, i, have);
	}
	c = meet(&a, &b);
	c = meet(&a, &b);
	print("reconnect, level", ops, feeds, &c);
	news(&a, feeds, have);
	c = meet(&a, &b);
	print("1,000 new ops of 20 authors", ops, feeds, &c);
	end_free(&a);
	end_free(&b);
	end_new(&a, &hub); /* a restart: nothing is remembered */
	end_new(&b, &lab);
	for (uint32_t i = 1; i <= feeds; i++) {
		known(&a, i, have);
		known(&b, i, have);
	}
	news(&a, feeds, have);
	c = meet(&a, &b);
	print("the same, nothing remembered", ops, feeds, &c);
	end_free(&a);
	end_free(&b);
}

static void
world(void)
{
	struct cry_identity *ids[] = { &reg, &hub, &lab, &wr };
	struct member_grant g[] = { { .role = ROLE_HUB,
					.compartment = COMPARTMENT_ALL },
		{ .role = ROLE_READER, .compartment = 1 },
		{ .role = ROLE_WRITER, .compartment = 1 } };
	static struct member_keys keys;
	struct cry_box_sk recovery;
	struct buf rec = BUF_MAX(MIB);

	must(cry_init(), "crypto");
	for (size_t i = 0; i < 4; i++)
		cry_identity_new(ids[i], &recovery);
	must(member_build_genesis(&reg, "s", "l", false, &rec), "genesis");
	must(member_new(buf_slice(&rec), &chain), "chain");
	must(member_open_keys(chain, &reg.pub, &reg.box_sk, &keys), "keys");
	buf_reset(&rec);
	must(member_build_compartment(chain, &reg, &keys, "c", &rec), "comp");
	must(member_apply(chain, buf_slice(&rec)), "apply");
	for (size_t i = 0; i < 3; i++) {
		g[i].device = ids[i + 1]->pub;
		buf_reset(&rec);
		must(member_build_grant(chain, &reg, &keys, &g[i], "x", &rec),
		    "grant");
		must(member_apply(chain, buf_slice(&rec)), "apply");
	}
	buf_fini(&rec);
}

int
main(void)
{
	static const uint64_t ops[] = { 1000, 10000, 100000, 1000000 };

	world();
	printf("%-30s %8s %6s %5s %4s %7s %9s %7s %8s\n", "both ways", "ops",
	    "feeds", "msgs", "legs", "ops B", "beyond B", "frame B", "CPU ms");
	for (size_t i = 0; i < 4; i++)
		one(ops[i], 20);
	for (size_t i = 0; i < 4; i++)
		one(ops[i], 1000);
	one(1000000, 20000);
	for (size_t i = 0; i < AUTHORS; i++) {
		for (size_t k = 0; k < NEWS; k++)
			buf_fini(&runs[i].b[k]);
	}
	member_free(chain);
	return 0;
}
