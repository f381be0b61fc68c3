/* The core against one peer, honest or not: what it says, what it keeps, and
 * what makes it hang up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "replication/msg.h"
#include "replication/repl.h"
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
	bool hold_persists;
};

static void feed(struct end *e, struct repl_event *ev);

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

struct answer {
	struct repl_event ev[64];
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
	case RX_CLAIM: e->claims++; return;
	case RX_PERSIST_OPS: e->ops_persisted += fx->ops.n_ops; break;
	case RX_PERSIST_CHUNK: e->chunks_persisted++; break;
	case RX_PERSIST_MEMBER: e->records_persisted++; break;
	case RX_FETCH_OPS:
		e->fetch_ops++;
		ev.kind = RE_FETCHED;
		ev.ops = e->serve_ops;
		ev.err = e->serve_ops.n_ops == 0 ? ERR_NOTFOUND : ERR_OK;
		a->ev[a->n++] = ev;
		return;
	case RX_FETCH_CHUNK:
		e->fetch_chunks++;
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
	struct answer a = { .n = 0 };
	struct repl_effects fx;

	ev->now_ms = e->now;
	assert_int_equal(repl_step(e->core, ev, &fx), ERR_OK);
	for (uint32_t i = 0; i < fx.n; i++)
		carry_out(e, &fx.fx[i], &a);
	for (uint32_t i = 0; i < a.n; i++)
		feed(e, &a.ev[i]);
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
		struct op_header h = { .kind = OP_TAG_ADD,
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
tell_ops(struct end *e, repl_conn c, const struct run *r)
{
	struct buf items = BUF_MAX(LIM_MESSAGE_BYTES);
	struct msg m = { .type = MSG_OPS,
		.tag = tag(true),
		.compartment = r->ops.feed.compartment,
		.device = r->ops.feed.device,
		.incarnation = r->ops.feed.incarnation,
		.head = r->ops.head,
		.n = r->ops.n_ops };

	for (uint32_t i = 0; i < m.n; i++)
		msg_blob_put(r->ops.ops[i], &items);
	m.items = buf_slice(&items);
	tell(e, c, &m);
	buf_fini(&items);
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

/* --- the tests --- */

static void
test_in_sync_is_one_round_trip_and_few_bytes(void **state)
{
	struct member_grant g = { hub.pub, ROLE_HUB, COMPARTMENT_ALL };
	struct member *was = chain;
	struct slice recs[130];
	struct buf rec = BUF_MAX(MIB);
	struct end a, b;
	struct repl_event ev = { .kind = RE_SHARE, .records = recs };

	(void)state;
	assert_int_equal(
	    member_build_genesis(&reg, "s", "l", false, &rec), ERR_OK);
	assert_int_equal(member_new(buf_slice(&rec), &chain), ERR_OK);
	for (int i = 0; i < 100; i++) {
		buf_reset(&rec);
		assert_int_equal(
		    member_build_compartment(chain, &reg, &keys, "c", &rec),
		    ERR_OK);
		assert_int_equal(member_apply(chain, buf_slice(&rec)), ERR_OK);
	}
	buf_reset(&rec);
	assert_int_equal(
	    member_build_grant(chain, &reg, &keys, &g, "h", &rec), ERR_OK);
	assert_int_equal(member_apply(chain, buf_slice(&rec)), ERR_OK);
	ev.share = *member_share(chain);
	ev.n_records = (uint32_t)member_seq(chain) + 1;
	for (uint32_t i = 0; i < ev.n_records; i++)
		recs[i] = member_record(chain, i);
	end_new(&a, &reg);
	end_new(&b, &hub);
	feed(&a, &ev);
	feed(&b, &ev);
	join(&a, &reg, &b, &hub);
	/* one message each way, nothing after, 64 bytes a compartment */
	assert_int_equal(a.n_sent, 1);
	assert_int_equal(b.n_sent, 1);
	assert_true(bytes_sent(&a) <= 64 * 100);
	assert_true(bytes_sent(&b) <= 64 * 100);
	assert_true(repl_in_sync(a.core));
	end_free(&a);
	end_free(&b);
	member_free(chain);
	chain = was;
	buf_fini(&rec);
}

static void
test_missing_ops_are_pulled_and_new_ones_pushed(void **state)
{
	struct run old, fresh;
	struct end a, b;

	(void)state;
	end_new(&a, &wr);
	end_new(&b, &hub);
	end_share(&a, member_seq(chain) + 1);
	end_share(&b, member_seq(chain) + 1);
	run_make(&old, &wr, 1, 1, 5);
	local(&a, &old);
	join(&a, &wr, &b, &hub);
	assert_int_equal(b.ops_persisted, 5);
	assert_int_equal(a.fetch_ops, 1);
	run_make(&fresh, &wr, 1, 2, 3);
	local(&a, &fresh);
	settle(&a, &b);
	assert_int_equal(b.ops_persisted, 8);
	assert_int_equal(a.fetch_ops, 1); /* pushed, not asked for */
	tick(&a, 200);
	tick(&b, 200);
	settle(&a, &b);
	assert_true(repl_in_sync(a.core));
	assert_true(repl_in_sync(b.core));
	end_free(&a);
	end_free(&b);
	run_free(&old);
	run_free(&fresh);
}

static void
test_ops_that_do_not_verify_close_the_peer(void **state)
{
	(void)state;
	for (int what = 0; what < 5; what++) {
		struct run r;
		struct end e;

		live(&e, &rd, &wr);
		run_make(&r, &wr, 1, 1, 3);
		if (what == 0)
			r.b[1].p[r.b[1].n - 1] ^= 1; /* payload */
		else if (what == 1)
			r.ops.head.sig.b[0] ^= 1;
		else if (what == 2)
			r.ops.head.seq = 4;
		else if (what == 3)
			r.s[1] = r.s[0]; /* does not chain */
		else
			op_head_sign(&r.ops.head, &rd.sign_sk);
		tell_ops(&e, 1, &r);
		assert_int_equal(e.closed, 1);
		assert_true(
		    e.close_err == ERR_AUTH || e.close_err == ERR_MALFORMED);
		assert_int_equal(e.ops_persisted, 0);
		/* closing: nothing more is taken from it */
		run_free(&r);
		run_make(&r, &wr, 1, 2, 1);
		tell_ops(&e, 1, &r);
		assert_int_equal(e.ops_persisted, 0);
		run_free(&r);
		end_free(&e);
	}
}

static void
test_ops_without_the_right_to_write_are_not_kept(void **state)
{
	const struct cry_identity *who[] = { &rd, &reg, &hub, &out };

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		struct run r;
		struct end e;

		live(&e, &reg, &wr);
		run_make(&r, who[i], 1, 1, 2);
		tell_ops(&e, 1, &r);
		assert_int_equal(e.ops_persisted, 0);
		assert_int_equal(e.closed, 0);
		run_free(&r);
		end_free(&e);
	}
}

static void
test_ops_before_the_grant_come_back_after_it(void **state)
{
	struct run r;
	struct end a, b;

	(void)state;
	/* b's chain ends before the writer's grant (record 2) */
	end_new(&a, &hub);
	end_new(&b, &reg);
	end_share(&a, member_seq(chain) + 1);
	run_make(&r, &wr, 1, 1, 4);
	local(&a, &r);
	end_share(&b, 2);
	join(&a, &hub, &b, &reg);
	/* the hub is no member by b's chain: silence, until a, unanswered,
	 * shows the chain */
	assert_int_equal(b.n_sent, 0);
	assert_int_equal(b.ops_persisted, 0);
	tick(&a, 1100);
	settle(&a, &b);
	assert_int_equal(b.records_persisted, member_seq(chain) - 1);
	assert_int_equal(b.ops_persisted, 4);
	end_free(&a);
	end_free(&b);
	run_free(&r);
}

static void
test_foreign_compartment_is_never_served(void **state)
{
	struct msg req = { .type = MSG_OPS_REQ,
		.tag = tag(true),
		.compartment = 2,
		.seq = 1,
		.to = 9 };
	struct msg get = {
		.type = MSG_GET, .tag = tag(true), .compartment = 2, .n = 1
	};
	struct cry_id cid = { .b = { 1 } };
	struct run r;
	struct end e;
	uint32_t before;

	(void)state;
	/* the registrar holds compartment 2, the reader of 1 asks for it */
	live(&e, &reg, &rd);
	run_make(&r, &wr, 2, 1, 2);
	local(&e, &r);
	e.serve_chunk = SLICE_LIT("secret");
	req.device = wr.pub.sign;
	req.incarnation = 1;
	get.items = slice_of(cid.b, 32);
	assert_int_equal(count(&e, MSG_OPS), 0);
	tell(&e, 1, &req);
	before = e.n_sent;
	tell(&e, 1, &get);
	assert_int_equal(e.n_sent, before);
	assert_int_equal(count(&e, MSG_OPS), 0);
	assert_int_equal(count(&e, MSG_FRONT), 0);
	assert_int_equal(e.fetch_ops, 0);
	assert_int_equal(e.fetch_chunks, 0);
	/* control: its own compartment is served */
	get.compartment = 1;
	tell(&e, 1, &get);
	assert_int_equal(e.fetch_chunks, 1);
	end_free(&e);
	run_free(&r);
}

static void
test_unknown_and_forbidden_share_look_the_same(void **state)
{
	struct end e, f;

	(void)state;
	/* e has the share and the outsider knows its id; f never heard of
	 * it.  Both say nothing at all. */
	end_new(&e, &hub);
	end_share(&e, member_seq(chain) + 1);
	conn_up(&e, 1, &out, false);
	tell_open(&e, 1);
	end_new(&f, &hub);
	conn_up(&f, 1, &out, false);
	tell_open(&f, 1);
	tick(&e, 2000);
	tick(&f, 2000);
	assert_int_equal(e.n_sent, 0);
	assert_int_equal(f.n_sent, 0);
	assert_int_equal(e.closed, 0);
	assert_int_equal(f.closed, 0);
	end_free(&e);
	end_free(&f);
}

static void
test_malformed_messages_close(void **state)
{
	struct repl_event ev = { .kind = RE_MSG, .conn = 1 };

	(void)state;
	for (int type = 0; type < 256; type++) {
		struct end e;

		live(&e, &rd, &wr);
		ev.type = (uint8_t)type;
		ev.bytes = SLICE_LIT("?");
		feed(&e, &ev);
		assert_int_equal(e.closed, 1);
		end_free(&e);
	}
}

static void
want(struct end *e, const struct cry_id *cid, uint32_t len)
{
	struct repl_event ev = { .kind = RE_WANT,
		.share = *member_share(chain),
		.compartment = 1,
		.cid = *cid,
		.c_len = len };

	feed(e, &ev);
}

static void
chunk_piece(struct end *e, repl_conn c, const struct cry_id *cid, uint32_t len,
    uint32_t off, struct slice piece)
{
	struct msg m = { .type = MSG_CHUNK,
		.id = *cid,
		.c_len = len,
		.off = off,
		.bytes = piece };

	tell(e, c, &m);
}

static void
test_wrong_chunk_bytes_close_and_go_to_another(void **state)
{
	struct slice good = SLICE_LIT("the right bytes");
	struct cry_id cid;
	struct end e;

	(void)state;
	cry_hash(good, &cid);
	live(&e, &rd, &wr);
	want(&e, &cid, (uint32_t)good.n);
	assert_int_equal(count(&e, MSG_GET), 1);
	conn_up(&e, 2, &hub, false);
	tell_open(&e, 2);
	assert_int_equal(count(&e, MSG_GET), 1); /* one source per chunk */
	chunk_piece(
	    &e, 1, &cid, (uint32_t)good.n, 0, SLICE_LIT("the wrong bytes"));
	assert_int_equal(e.closed, 1);
	assert_int_equal(e.close_err, ERR_AUTH);
	assert_int_equal(e.chunks_persisted, 0);
	assert_int_equal(count(&e, MSG_GET), 2);
	assert_int_equal(e.sent[e.n_sent - 1].conn, 2);
	chunk_piece(&e, 2, &cid, (uint32_t)good.n, 0, good);
	assert_int_equal(e.chunks_persisted, 1);
	end_free(&e);
}

static void
test_piece_out_of_place_or_length_closes(void **state)
{
	struct slice good = SLICE_LIT("the right bytes");
	struct cry_id cid;

	(void)state;
	cry_hash(good, &cid);
	for (int what = 0; what < 3; what++) {
		struct end e;
		uint32_t len = (uint32_t)good.n;

		live(&e, &rd, &wr);
		want(&e, &cid, len);
		if (what == 0)
			chunk_piece(&e, 1, &cid, len, 1, SLICE_LIT("x"));
		else if (what == 1)
			chunk_piece(&e, 1, &cid, len + 1, 0, SLICE_LIT("x"));
		else
			chunk_piece(&e, 1, &cid, len, 0,
			    SLICE_LIT("more bytes than it has"));
		assert_int_equal(e.closed, 1);
		end_free(&e);
	}
}

static void
test_only_unfinished_chunks_are_asked_again(void **state)
{
	struct slice body[2] = { SLICE_LIT("first chunk"),
		SLICE_LIT("second chunk") };
	struct cry_id cid[2];
	struct msg m;
	struct end e;

	(void)state;
	live(&e, &rd, &wr);
	for (int i = 0; i < 2; i++) {
		cry_hash(body[i], &cid[i]);
		want(&e, &cid[i], (uint32_t)body[i].n);
	}
	chunk_piece(&e, 1, &cid[0], (uint32_t)body[0].n, 0, body[0]);
	/* the peer is killed in the middle of the second */
	chunk_piece(
	    &e, 1, &cid[1], (uint32_t)body[1].n, 0, slice_of(body[1].p, 4));
	assert_int_equal(e.chunks_persisted, 1);
	conn_down(&e, 1);
	conn_up(&e, 2, &wr, false);
	tell_open(&e, 2);
	assert_int_equal(e.sent[e.n_sent - 1].type, MSG_GET);
	assert_int_equal(
	    msg_decode(MSG_GET, buf_slice(&e.sent[e.n_sent - 1].body), &m),
	    ERR_OK);
	assert_int_equal(m.n, 1);
	assert_memory_equal(m.items.p, cid[1].b, 32);
	chunk_piece(&e, 2, &cid[1], (uint32_t)body[1].n, 0, body[1]);
	assert_int_equal(e.chunks_persisted, 2);
	end_free(&e);
}

static void
test_not_have_is_remembered_and_have_told(void **state)
{
	struct slice body = SLICE_LIT("chunk that comes later");
	struct cry_id cid;
	struct end e;
	struct msg get = {
		.type = MSG_GET, .tag = tag(true), .compartment = 1, .n = 1
	};

	(void)state;
	cry_hash(body, &cid);
	get.items = slice_of(cid.b, 32);
	live(&e, &hub, &wr);
	conn_up(&e, 2, &rd, false);
	tell_open(&e, 2);
	tell(&e, 2, &get);
	assert_int_equal(count(&e, MSG_NOT_HAVE), 1);
	want(&e, &cid, (uint32_t)body.n);
	chunk_piece(&e, 1, &cid, (uint32_t)body.n, 0, body);
	assert_int_equal(e.chunks_persisted, 1);
	assert_int_equal(count(&e, MSG_HAVE), 1);
	end_free(&e);
}

static void
test_window_bounds_what_is_asked_at_once(void **state)
{
	struct end e;

	(void)state;
	live(&e, &rd, &wr);
	for (uint8_t i = 1; i <= 20; i++) {
		struct cry_id cid = { .b = { i } };

		want(&e, &cid, 100);
	}
	assert_int_equal(count(&e, MSG_GET), 4); /* chunk_window */
	end_free(&e);
}

static void
test_sending_beyond_credit_closes(void **state)
{
	static uint8_t bytes[MSG_CHUNK_BYTES_MAX];
	struct slice big = slice_of(bytes, sizeof(bytes));
	struct cry_id cid = { .b = { 7 } };
	struct end e;
	int n;

	(void)state;
	/* chunks that arrive but do not become durable give no credit */
	live(&e, &rd, &wr);
	e.hold_persists = true;
	cry_hash(big, &cid);
	for (n = 0; n < 20 && e.closed == 0; n++) {
		bytes[0] = (uint8_t)n;
		cry_hash(big, &cid);
		want(&e, &cid, (uint32_t)big.n);
		chunk_piece(&e, 1, &cid, (uint32_t)big.n, 0, big);
	}
	assert_int_equal(e.closed, 1);
	assert_int_equal(e.close_err, ERR_LIMIT);
	assert_true(n >= 8 && n <= 10);
	end_free(&e);
}

static void
test_credit_that_was_not_owed_closes(void **state)
{
	struct msg m = { .type = MSG_CREDIT, .credit = { 0, 1, 0, 0 } };
	struct end e;

	(void)state;
	live(&e, &rd, &wr);
	tell(&e, 1, &m);
	assert_int_equal(e.closed, 1);
	end_free(&e);
}

static void
test_fork_is_noticed_and_the_first_op_stays(void **state)
{
	struct run a, b;
	struct end e;

	(void)state;
	live(&e, &rd, &wr);
	run_make(&a, &wr, 1, 1, 3);
	tell_ops(&e, 1, &a);
	assert_int_equal(e.ops_persisted, 3);
	tell_ops(&e, 1, &a); /* the same again: nothing new */
	assert_int_equal(e.ops_persisted, 3);
	/* same feed, other ops: as after a restored backup */
	wall_ms = 1;
	for (uint32_t n = 3; n <= 4; n++) {
		run_make(&b, &wr, 1, 1, n);
		tell_ops(&e, 1, &b);
		run_free(&b);
	}
	wall_ms = 0;
	assert_int_equal(e.ops_persisted, 3);
	assert_int_equal(e.closed, 0);
	/* the honest continuation is off the fast path as well */
	run_free(&a);
	run_make(&a, &wr, 1, 1, 5);
	tell_ops(&e, 1, &a);
	assert_int_equal(e.ops_persisted, 3);
	run_free(&a);
	end_free(&e);
}

static void
test_joiner_checks_the_registrar_of_the_invite(void **state)
{
	(void)state;
	for (int wrong = 0; wrong < 2; wrong++) {
		struct invite v = { .share = *member_share(chain) };
		struct buf claim = BUF_MAX(KIB);
		struct end a, b;
		struct repl_event ev = { .kind = RE_JOIN,
			.share = *member_share(chain) };

		v.registrar = wrong ? out.pub.sign : reg.pub.sign;
		assert_int_equal(claim_build(&v, &wr, "site", &claim), ERR_OK);
		ev.registrar = v.registrar;
		ev.bytes = buf_slice(&claim);
		end_new(&a, &wr);
		end_new(&b, &hub);
		end_share(&b, member_seq(chain) + 1);
		feed(&a, &ev);
		join(&a, &wr, &b, &hub);
		assert_int_equal(count(&a, MSG_CLAIM), 1);
		if (wrong) {
			assert_int_equal(a.records_persisted, 0);
			assert_int_equal(a.closed, 1);
			assert_int_equal(a.close_err, ERR_AUTH);
		} else {
			assert_int_equal(
			    a.records_persisted, member_seq(chain) + 1);
			assert_true(repl_in_sync(a.core));
		}
		end_free(&a);
		end_free(&b);
		buf_fini(&claim);
	}
}

static void
test_registrar_gets_claims_and_hubs_queue_them(void **state)
{
	struct invite v = { .share = *member_share(chain),
		.registrar = reg.pub.sign };
	struct buf claim = BUF_MAX(KIB);
	struct end h, r;
	struct msg m = { .type = MSG_CLAIM, .tag = tag(true) };

	(void)state;
	assert_int_equal(claim_build(&v, &out, "late", &claim), ERR_OK);
	m.bytes = buf_slice(&claim);
	end_new(&h, &hub);
	end_share(&h, member_seq(chain) + 1);
	conn_up(&h, 2, &out, false);
	tell(&h, 2, &m);
	tell(&h, 2, &m); /* twice the same counts once */
	assert_int_equal(h.n_sent, 0);
	end_new(&r, &reg);
	end_share(&r, member_seq(chain) + 1);
	join(&r, &reg, &h, &hub);
	assert_int_equal(r.claims, 1);
	end_free(&h);
	end_free(&r);
	buf_fini(&claim);
}

static void
test_equivocating_registrar_halts_the_chain(void **state)
{
	struct member_grant g = { out.pub, ROLE_READER, 1 };
	struct buf two = BUF_MAX(MIB), items = BUF_MAX(MIB);
	struct msg m = { .type = MSG_MLOG, .tag = tag(true), .n = 1 };
	struct member *other;
	struct end e;

	(void)state;
	/* another record with the number of the last one */
	assert_int_equal(member_new(member_record(chain, 0), &other), ERR_OK);
	for (uint64_t i = 1; i < member_seq(chain); i++)
		assert_int_equal(
		    member_apply(other, member_record(chain, i)), ERR_OK);
	assert_int_equal(
	    member_build_grant(other, &reg, &keys, &g, "x", &two), ERR_OK);
	live(&e, &rd, &hub);
	msg_blob_put(buf_slice(&two), &items);
	m.seq = member_seq(chain);
	m.items = buf_slice(&items);
	tell(&e, 1, &m);
	assert_int_equal(e.records_persisted, 0);
	assert_int_equal(e.closed, 0); /* the carrier is not the liar */
	assert_memory_equal(
	    member_head(repl_member(e.core, member_share(chain))),
	    member_head(chain), sizeof(struct cry_id));
	/* a record that is merely forged does close */
	two.p[two.n - 1] ^= 1;
	buf_reset(&items);
	msg_blob_put(buf_slice(&two), &items);
	m.items = buf_slice(&items);
	end_free(&e);
	live(&e, &rd, &hub);
	tell(&e, 1, &m);
	assert_int_equal(e.closed, 1);
	end_free(&e);
	member_free(other);
	buf_fini(&two);
	buf_fini(&items);
}

static void
test_silent_peer_is_pinged_then_dropped(void **state)
{
	struct end e;

	(void)state;
	live(&e, &rd, &wr);
	for (int i = 0; i < 3; i++)
		tick(&e, 25001);
	assert_true(count(&e, MSG_PING) >= 2);
	tick(&e, 25001);
	assert_int_equal(e.closed, 1);
	assert_int_equal(e.close_err, ERR_TIMEOUT);
	end_free(&e);
}

/* Every allocation may fail: the step says so and nothing leaks. */
static void
test_out_of_memory_is_an_answer(void **state)
{
	struct run r;
	long n, last = 0;

	(void)state;
	run_make(&r, &wr, 1, 1, 3);
	for (n = 0; n < 400; n++) {
		struct repl_opts o = { .me = rd.pub, .seed = 1 };
		struct slice recs[32];
		struct repl_event ev[3] = {
			{ .kind = RE_SHARE,
			    .share = *member_share(chain),
			    .records = recs,
			    .n_records = (uint32_t)member_seq(chain) + 1 },
			{ .kind = RE_CONN_UP,
			    .conn = 1,
			    .peer = wr.pub,
			    .hash = hash64 },
			{ .kind = RE_LOCAL, .ops = r.ops },
		};
		struct repl_effects fx;
		struct repl *core = NULL;
		enum err e;

		for (uint64_t i = 0; i <= member_seq(chain); i++)
			recs[i] = member_record(chain, i);
		mem_fail_at(n);
		e = repl_new(&o, &core);
		for (int i = 0; i < 3 && e == ERR_OK; i++)
			e = repl_step(core, &ev[i], &fx);
		mem_fail_at(-1);
		repl_free(core);
		if (e == ERR_OK)
			break;
		assert_int_equal(e, ERR_NOMEM);
		last = n;
	}
	assert_true(last > 10);
	run_free(&r);
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

#define T cmocka_unit_test

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_in_sync_is_one_round_trip_and_few_bytes),
		T(test_missing_ops_are_pulled_and_new_ones_pushed),
		T(test_ops_that_do_not_verify_close_the_peer),
		T(test_ops_without_the_right_to_write_are_not_kept),
		T(test_ops_before_the_grant_come_back_after_it),
		T(test_foreign_compartment_is_never_served),
		T(test_unknown_and_forbidden_share_look_the_same),
		T(test_malformed_messages_close),
		T(test_wrong_chunk_bytes_close_and_go_to_another),
		T(test_piece_out_of_place_or_length_closes),
		T(test_only_unfinished_chunks_are_asked_again),
		T(test_not_have_is_remembered_and_have_told),
		T(test_window_bounds_what_is_asked_at_once),
		T(test_sending_beyond_credit_closes),
		T(test_credit_that_was_not_owed_closes),
		T(test_fork_is_noticed_and_the_first_op_stays),
		T(test_joiner_checks_the_registrar_of_the_invite),
		T(test_registrar_gets_claims_and_hubs_queue_them),
		T(test_equivocating_registrar_halts_the_chain),
		T(test_silent_peer_is_pinged_then_dropped),
		T(test_out_of_memory_is_an_answer),
	};

	if (cry_init() != ERR_OK)
		return 1;
	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
