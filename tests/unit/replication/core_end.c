/* A core, its host in miniature, and a peer driven by hand.  Included by the
 * tests of the core, each of which is one program. */
#include "replication/msg.h"
#include "replication/repl.h"
#include "replication/witness.h"
#include "store/base/mem.h"

/* reg: registrar; wr: writer of 1; rd: reader of 1; hub; out: nobody. */
static struct cry_identity reg, wr, rd, hub, out;
static struct member *chain;
static struct member_keys keys;
static const struct cry_key epoch = { .b = { 5 } };
static const uint8_t hash64[64] = { 9, 9, 9 };

#define SENT_MAX 512

/* A core and what its host saw.  Persists succeed at once. */
struct end {
	struct repl *core;
	uint64_t now;
	struct sent {
		repl_conn conn;
		uint8_t type;
		struct buf body;
	} sent[SENT_MAX];
	uint32_t n_sent, read;
	uint32_t closed;
	enum err close_err;
	uint32_t ops_persisted, chunks_persisted, records_persisted;
	uint32_t fetch_chunks, fetch_ops, claims;
	struct slice serve_chunk; /* answer to chunk reads; empty: not here */
	struct repl_ops serve_ops;
	struct repl_effect proof; /* the last */
	uint32_t proofs;
	uint32_t full; /* so many records find no space */
	bool hold_persists;
	bool hold_fetches;                 /* chunk reads are not answered */
	uint64_t held;                     /* token of the last one */
	const struct cry_identity *signer; /* of its statements; NULL: none */
	const struct cry_identity *keep;   /* whose row is kept; NULL: none */
	struct buf sign, kept;
	uint32_t witnesses;
};

static void feed(struct end *e, struct repl_event *ev);

static bool
same_sign_key(const struct cry_sign_pk *d, const struct cry_identity *who)
{
	return who != NULL && memcmp(d, &who->pub.sign, sizeof(*d)) == 0;
}

static void
record_send(struct end *e, const struct repl_effect *fx)
{
	struct sent *s = &e->sent[e->n_sent++];

	assert_true(e->n_sent <= SENT_MAX);
	s->conn = fx->conn;
	s->type = fx->type;
	s->body = BUF_MAX(LIM_MESSAGE_BYTES);
	buf_put_slice(&s->body, fx->bytes);
}

#define ANSWERS_MAX 1024u /* to one step: a record each of a long chain */

struct answer {
	struct repl_event *ev;
	uint32_t n;
};

static void
carry_out(struct end *e, const struct repl_effect *fx, struct answer *a)
{
	struct repl_event ev = { .token = fx->token };

	switch (fx->kind) {
	case RX_SEND: record_send(e, fx); return;
	case RX_CLOSE:
		e->closed = fx->conn;
		e->close_err = fx->err;
		return;
	case RX_STATEMENT: return;
	case RX_SIGN:
		if (e->signer == NULL)
			return;
		buf_fini(&e->sign);
		e->sign = BUF_MAX(WITNESS_BYTES_MAX);
		buf_put_slice(&e->sign, fx->bytes);
		assert_int_equal(
		    witness_sign(&e->sign, e->now, &e->signer->sign_sk),
		    ERR_OK);
		ev.kind = RE_SIGNED;
		ev.share = fx->share;
		ev.compartment = fx->compartment;
		ev.bytes = buf_slice(&e->sign);
		a->ev[a->n++] = ev;
		return;
	case RX_WITNESS:
		e->witnesses++;
		if (same_sign_key(&fx->device, e->keep)) {
			buf_fini(&e->kept);
			e->kept = BUF_MAX(16 * KIB);
			buf_put_slice(&e->kept, fx->bytes);
		}
		break;
	case RX_CLAIM: e->claims++; return;
	case RX_PROOF:
		e->proof = *fx;
		e->proofs++;
		return;
	case RX_PERSIST_OPS: e->ops_persisted += fx->ops.n_ops; break;
	case RX_PERSIST_CHUNK: e->chunks_persisted++; break;
	case RX_PERSIST_MEMBER:
		if (e->full > 0) {
			e->full--;
			ev.err = ERR_FULL;
		} else {
			e->records_persisted++;
		}
		break;
	case RX_FETCH_OPS:
		e->fetch_ops++;
		ev.kind = RE_FETCHED;
		ev.ops = e->serve_ops;
		ev.err = e->serve_ops.n_ops == 0 ? ERR_NOTFOUND : ERR_OK;
		a->ev[a->n++] = ev;
		return;
	case RX_FETCH_CHUNK:
		e->fetch_chunks++;
		e->held = fx->token;
		if (e->hold_fetches)
			return;
		ev.kind = RE_FETCHED;
		ev.bytes = e->serve_chunk;
		ev.err = e->serve_chunk.n == 0 ? ERR_NOTFOUND : ERR_OK;
		a->ev[a->n++] = ev;
		return;
	}
	ev.kind = RE_PERSISTED;
	if (!e->hold_persists)
		a->ev[a->n++] = ev;
}

static void
feed(struct end *e, struct repl_event *ev)
{
	struct answer a = { .ev = mem_array(ANSWERS_MAX, sizeof(*a.ev)) };
	struct repl_effects fx;

	assert_non_null(a.ev);
	ev->now_ms = e->now;
	assert_int_equal(repl_step(e->core, ev, &fx), ERR_OK);
	for (uint32_t i = 0; i < fx.n; i++)
		carry_out(e, &fx.fx[i], &a);
	assert_true(a.n <= ANSWERS_MAX);
	for (uint32_t i = 0; i < a.n; i++)
		feed(e, &a.ev[i]);
	mem_free(a.ev);
}

static void
end_share(struct end *e, uint64_t records)
{
	struct slice recs[32];
	struct repl_event ev = { .kind = RE_SHARE,
		.share = *member_share(chain),
		.records = recs,
		.n_records = (uint32_t)records };

	for (uint64_t i = 0; i < records; i++)
		recs[i] = member_record(chain, i);
	feed(e, &ev);
}

static void
end_new(struct end *e, const struct cry_identity *me)
{
	struct repl_opts o = { .me = me->pub, .seed = 1, .chunk_window = 4 };

	memset(e, 0, sizeof(*e));
	e->now = 1;
	assert_int_equal(repl_new(&o, &e->core), ERR_OK);
}

static void
end_free(struct end *e)
{
	for (uint32_t i = 0; i < e->n_sent; i++)
		buf_fini(&e->sent[i].body);
	buf_fini(&e->sign);
	buf_fini(&e->kept);
	repl_free(e->core);
}

static void
conn_up(struct end *e, repl_conn c, const struct cry_identity *peer, bool init)
{
	struct repl_event ev = { .kind = RE_CONN_UP,
		.conn = c,
		.initiator = init,
		.peer = peer->pub,
		.hash = hash64 };

	feed(e, &ev);
}

static void
conn_down(struct end *e, repl_conn c)
{
	struct repl_event ev = { .kind = RE_CONN_DOWN, .conn = c };

	feed(e, &ev);
}

static void
tick(struct end *e, uint64_t ms)
{
	struct repl_event ev = { .kind = RE_TICK };

	e->now += ms;
	feed(e, &ev);
}

/* A message by hand to e, as its peer would send it. */
static void
tell(struct end *e, repl_conn c, const struct msg *m)
{
	struct buf b = BUF_MAX(LIM_MESSAGE_BYTES);
	struct repl_event ev = { .kind = RE_MSG, .conn = c, .type = m->type };

	assert_int_equal(msg_encode(m, &b), ERR_OK);
	ev.bytes = buf_slice(&b);
	feed(e, &ev);
	buf_fini(&b);
}

/* The tag our peer (the other direction) uses for the share. */
static struct msg_tag
tag(bool from_initiator)
{
	struct cry_key key;
	struct msg_tag t;
	uint8_t dir = from_initiator ? 0 : 1;
	struct slice parts[2] = { slice_of(hash64, 64), slice_of(&dir, 1) };

	memcpy(key.b, member_share(chain)->b, sizeof(key.b));
	cry_hash_parts(&key, "psc.tag.1", parts, 2, t.b, sizeof(t.b));
	return t;
}

/* Pass messages between a (dialled, conn 1) and b until both are quiet. */
static void
settle(struct end *a, struct end *b)
{
	bool more = true;

	while (more) {
		struct end *from[2] = { a, b }, *to[2] = { b, a };

		more = false;
		for (int k = 0; k < 2; k++) {
			while (from[k]->read < from[k]->n_sent) {
				struct sent *s =
				    &from[k]->sent[from[k]->read++];
				struct repl_event ev = { .kind = RE_MSG,
					.conn = 1,
					.type = s->type,
					.bytes = buf_slice(&s->body) };

				more = true;
				feed(to[k], &ev);
			}
		}
	}
}

static void
join(struct end *a, const struct cry_identity *ida, struct end *b,
    const struct cry_identity *idb)
{
	conn_up(b, 1, ida, false);
	conn_up(a, 1, idb, true);
	settle(a, b);
}

static uint32_t
count(const struct end *e, uint8_t type)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < e->n_sent; i++)
		n += e->sent[i].type == type;
	return n;
}

static size_t
bytes_sent(const struct end *e)
{
	size_t n = 0;

	for (uint32_t i = 0; i < e->n_sent; i++)
		n += e->sent[i].body.n;
	return n;
}

/* --- runs of ops --- */

struct run {
	struct buf b[8];
	struct slice s[8];
	struct repl_ops ops;
};

static uint64_t wall_ms; /* other times make other ops */

static void
run_make(struct run *r, const struct cry_identity *who, uint16_t comp,
    uint64_t incarnation, uint32_t n)
{
	struct cry_id prev = { 0 };

	memset(r, 0, sizeof(*r));
	r->ops.feed = (struct op_feed){ .share = *member_share(chain),
		.compartment = comp,
		.device = who->pub.sign,
		.incarnation = incarnation };
	for (uint32_t i = 0; i < n; i++) {
		struct op_header h = { .kind = OP_EDIT,
			.epoch = 1,
			.seq = i + 1,
			.lamport = i + 1,
			.wall_ms = wall_ms,
			.prev = prev };

		op_feed_id(&r->ops.feed, &h.feed);
		r->b[i] = BUF_MAX(MIB);
		assert_int_equal(op_build(&h, &epoch, SLICE_LIT("x"),
				     slice_of(NULL, 0), &r->b[i], &prev),
		    ERR_OK);
		r->s[i] = buf_slice(&r->b[i]);
		r->ops.head.feed = h.feed;
		r->ops.head.seq = h.seq;
		r->ops.head.lamport = h.lamport;
		r->ops.head.id = prev;
	}
	r->ops.ops = r->s;
	r->ops.n_ops = n;
	op_head_sign(&r->ops.head, &who->sign_sk);
}

static void
run_free(struct run *r)
{
	for (int i = 0; i < 8; i++)
		buf_fini(&r->b[i]);
}

static void
local(struct end *e, struct run *r)
{
	struct repl_event ev = { .kind = RE_LOCAL, .ops = r->ops };

	feed(e, &ev);
	e->serve_ops = r->ops;
}

static void
tell_run(struct end *e, repl_conn c, const struct run *r, uint8_t type)
{
	struct buf items = BUF_MAX(LIM_MESSAGE_BYTES);
	struct msg m = { .type = type,
		.tag = tag(true),
		.compartment = r->ops.feed.compartment,
		.device = r->ops.feed.device,
		.incarnation = r->ops.feed.incarnation,
		.head = r->ops.head,
		.n = r->ops.n_ops };

	for (uint32_t i = 0; i < m.n; i++)
		buf_put_slice(&items, r->ops.ops[i]);
	m.items = buf_slice(&items);
	tell(e, c, &m);
	buf_fini(&items);
}

static void
tell_ops(struct end *e, repl_conn c, const struct run *r)
{
	tell_run(e, c, r, MSG_OPS);
}

/* A peer that dialled e says OPEN with the current chain and no roots. */
static void
tell_open(struct end *e, repl_conn c)
{
	struct msg m = { .type = MSG_OPEN,
		.tag = tag(true),
		.seq = member_seq(chain),
		.id = *member_head(chain) };

	tell(e, c, &m);
}

/* e as a reader with a live link to one hand-driven writer. */
static void
live(struct end *e, const struct cry_identity *me,
    const struct cry_identity *peer)
{
	end_new(e, me);
	end_share(e, member_seq(chain) + 1);
	conn_up(e, 1, peer, false);
	tell_open(e, 1);
}

static void
chain_add(struct buf *rec)
{
	assert_int_equal(member_apply(chain, buf_slice(rec)), ERR_OK);
	buf_reset(rec);
}

static void
chain_grant(const struct cry_identity *who, enum role role, uint16_t comp)
{
	struct member_grant g = { who->pub, role, comp };
	struct buf rec = BUF_MAX(MIB);

	assert_int_equal(
	    member_build_grant(chain, &reg, &keys, &g, "x", &rec), ERR_OK);
	chain_add(&rec);
	buf_fini(&rec);
}

static int
group_setup(void **state)
{
	struct cry_identity *ids[] = { &reg, &wr, &rd, &hub, &out };
	struct cry_box_sk recovery;
	struct buf rec = BUF_MAX(MIB);

	(void)state;
	for (size_t i = 0; i < 5; i++)
		cry_identity_new(ids[i], &recovery);
	assert_int_equal(
	    member_build_genesis(&reg, "s", "lab", false, &rec), ERR_OK);
	assert_int_equal(member_new(buf_slice(&rec), &chain), ERR_OK);
	buf_reset(&rec);
	assert_int_equal(
	    member_open_keys(chain, &reg.pub, &reg.box_sk, &keys), ERR_OK);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(
		    member_build_compartment(chain, &reg, &keys, "c", &rec),
		    ERR_OK);
		chain_add(&rec);
		if (i == 0)
			chain_grant(&wr, ROLE_WRITER, 1);
	}
	chain_grant(&wr, ROLE_WRITER, 2);
	chain_grant(&rd, ROLE_READER, 1);
	chain_grant(&hub, ROLE_HUB, COMPARTMENT_ALL);
	buf_fini(&rec);
	return 0;
}

static int
group_teardown(void **state)
{
	(void)state;
	member_free(chain);
	return 0;
}
