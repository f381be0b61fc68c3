/* Chunks and credit: one source each, checked against its id, never twice,
 * never more than the window. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "unit/replication/core_end.c"

static void
want_in(struct end *e, uint16_t comp, const struct cry_id *cid, uint32_t len)
{
	struct repl_event ev = { .kind = RE_WANT,
		.share = *member_share(chain),
		.compartment = comp,
		.cls = REPL_BACKFILL,
		.cid = *cid,
		.c_len = len };

	feed(e, &ev);
}

static void
want(struct end *e, const struct cry_id *cid, uint32_t len)
{
	want_in(e, 1, cid, len);
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
		if (what == 0) {
			chunk_piece(&e, 1, &cid, len, 0, SLICE_LIT("t"));
			chunk_piece(&e, 1, &cid, len, 3, SLICE_LIT("x"));
		} else if (what == 1)
			chunk_piece(&e, 1, &cid, len + 1, 0,
			    SLICE_LIT("the right bytes?"));
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

/* That another compartment has it would be told by HAVE. */
static void
test_have_is_told_of_the_compartment_it_came_through_only(void **state)
{
	struct slice body = SLICE_LIT("chunk that two compartments name");
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
	want_in(&e, 2, &cid, (uint32_t)body.n);
	chunk_piece(&e, 1, &cid, (uint32_t)body.n, 0, body);
	assert_int_equal(e.chunks_persisted, 1);
	assert_int_equal(count(&e, MSG_HAVE), 0);
	want_in(&e, 1, &cid, (uint32_t)body.n);
	chunk_piece(&e, 1, &cid, (uint32_t)body.n, 0, body);
	assert_int_equal(e.chunks_persisted, 2);
	assert_int_equal(count(&e, MSG_HAVE), 1);
	end_free(&e);
}

static void
test_a_chunk_is_asked_for_in_each_compartment_that_wants_it(void **state)
{
	struct slice body = SLICE_LIT("chunk that is wanted twice");
	struct cry_id cid;
	struct end e;

	(void)state;
	cry_hash(body, &cid);
	live(&e, &hub, &wr);
	want_in(&e, 1, &cid, (uint32_t)body.n);
	want_in(&e, 2, &cid, (uint32_t)body.n);
	assert_int_equal(count(&e, MSG_GET), 1);
	chunk_piece(&e, 1, &cid, (uint32_t)body.n, 0, body);
	assert_int_equal(e.chunks_persisted, 1);
	assert_int_equal(count(&e, MSG_GET), 2);
	chunk_piece(&e, 1, &cid, (uint32_t)body.n, 0, body);
	assert_int_equal(e.chunks_persisted, 2);
	tick(&e, 60000);
	assert_int_equal(count(&e, MSG_GET), 2);
	end_free(&e);
}

/* Looked for, then it came, then the look's answer: it was not here. */
static void
test_have_is_told_when_the_chunk_came_during_the_look(void **state)
{
	struct slice body = SLICE_LIT("chunk that comes meanwhile");
	struct repl_event absent = { .kind = RE_FETCHED, .err = ERR_NOTFOUND };
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
	e.hold_fetches = true;
	tell(&e, 2, &get);
	want(&e, &cid, (uint32_t)body.n);
	chunk_piece(&e, 1, &cid, (uint32_t)body.n, 0, body);
	assert_int_equal(e.chunks_persisted, 1);
	assert_int_equal(count(&e, MSG_HAVE), 0);
	absent.token = e.held;
	feed(&e, &absent);
	assert_int_equal(count(&e, MSG_NOT_HAVE), 1);
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

/* --- several peers, classes, time --- */

static void
unwant(struct end *e, const struct cry_id *cid)
{
	struct repl_event ev = { .kind = RE_UNWANT,
		.share = *member_share(chain),
		.compartment = 1 };

	if (cid != NULL)
		ev.cid = *cid;
	else
		ev.all = true;
	feed(e, &ev);
}

/* How many cids this connection was asked for, or told of, in such messages. */
static uint32_t
cids_sent(const struct end *e, repl_conn c, uint8_t type)
{
	uint32_t n = 0;
	struct msg m;

	for (uint32_t i = 0; i < e->n_sent; i++) {
		const struct sent *s = &e->sent[i];

		if (s->conn != c || s->type != type)
			continue;
		assert_int_equal(
		    msg_decode(type, buf_slice(&s->body), &m), ERR_OK);
		n += m.n;
	}
	return n;
}

static void
tell_cids(struct end *e, repl_conn c, uint8_t type, uint16_t comp,
    const struct cry_id *cid)
{
	struct msg m = { .type = type,
		.tag = tag(true),
		.compartment = comp,
		.c_len = 500,
		.n = 1,
		.items = slice_of(cid->b, 32) };

	tell(e, c, &m);
}

static void
two_peers(struct end *e)
{
	live(e, &rd, &wr);
	conn_up(e, 2, &hub, false);
	tell_open(e, 2);
}

static void
test_several_peers_work_at_once_on_different_chunks(void **state)
{
	struct end e;

	(void)state;
	two_peers(&e);
	for (uint8_t i = 1; i <= 20; i++) {
		struct cry_id cid = { .b = { i } };

		want(&e, &cid, 100);
	}
	assert_int_equal(cids_sent(&e, 1, MSG_GET), 4);
	assert_int_equal(cids_sent(&e, 2, MSG_GET), 4);
	end_free(&e);
}

static void
test_a_slow_peers_chunks_go_to_another(void **state)
{
	struct slice body = SLICE_LIT("quick"), late = SLICE_LIT("late");
	struct cry_id cid[2];
	struct end e;

	(void)state;
	live(&e, &rd, &wr);
	cry_hash(body, &cid[0]);
	cry_hash(late, &cid[1]);
	want(&e, &cid[0], (uint32_t)body.n);
	tick(&e, 20);
	chunk_piece(&e, 1, &cid[0], (uint32_t)body.n, 0, body);
	want(&e, &cid[1], (uint32_t)late.n);
	conn_up(&e, 2, &hub, false);
	tell_open(&e, 2);
	tick(&e, 50);
	assert_int_equal(cids_sent(&e, 2, MSG_GET), 0);
	/* chunks took 21 ms: after a second it is passed over */
	tick(&e, 2000);
	assert_int_equal(cids_sent(&e, 2, MSG_GET), 1);
	chunk_piece(&e, 2, &cid[1], (uint32_t)late.n, 0, late);
	assert_int_equal(e.chunks_persisted, 2);
	assert_int_equal(cids_sent(&e, 1, MSG_CANCEL), 1);
	/* what comes too late does no harm */
	chunk_piece(&e, 1, &cid[1], (uint32_t)late.n, 0, late);
	assert_int_equal(e.closed, 0);
	assert_int_equal(e.chunks_persisted, 2);
	end_free(&e);
}

/* The same beginning ten times a second is not on its way. */
static void
test_a_beginning_over_and_over_holds_no_want(void **state)
{
	struct slice body = SLICE_LIT("never to its end");
	struct cry_id cid;
	struct end e;

	(void)state;
	live(&e, &rd, &wr);
	cry_hash(body, &cid);
	want(&e, &cid, (uint32_t)body.n);
	for (int i = 0; i < 650; i++) {
		tick(&e, 100);
		chunk_piece(
		    &e, 1, &cid, (uint32_t)body.n, 0, slice_of(body.p, 4));
	}
	/* given up after 30 s, and tried again after as long */
	assert_int_equal(e.closed, 0);
	assert_int_equal(cids_sent(&e, 1, MSG_GET), 2);
	end_free(&e);
}

/* 100 chunks of 40,000 bytes at 100,000 bytes a second: what has been asked
 * for follows the clock; what somebody waits for does not. */
static void
test_a_limit_paces_what_is_asked_but_not_what_is_waited_for(void **state)
{
	static uint8_t body[40000];
	struct repl_event limit = { .kind = RE_LIMIT, .rate = 100000 };
	struct repl_event now = { .kind = RE_WANT,
		.share = *member_share(chain),
		.compartment = 1,
		.cls = REPL_INTERACTIVE,
		.c_len = 15 };
	struct cry_id cid[100];
	struct end e;
	uint32_t came = 0;

	(void)state;
	live(&e, &rd, &wr);
	feed(&e, &limit);
	for (uint32_t i = 0; i < 100; i++) {
		body[0] = (uint8_t)i;
		cry_hash(slice_of(body, sizeof(body)), &cid[i]);
		want(&e, &cid[i], sizeof(body));
	}
	for (uint32_t ms = 0; ms < 20000; ms += 20) {
		uint32_t asked = cids_sent(&e, 1, MSG_GET);
		uint64_t bytes = (uint64_t)asked * sizeof(body);
		uint64_t due = (uint64_t)ms * 100;

		assert_true(bytes <= due + sizeof(body) + 16384);
		assert_true(bytes + sizeof(body) >= due);
		for (; came < asked; came++) {
			body[0] = (uint8_t)came;
			chunk_piece(&e, 1, &cid[came], sizeof(body), 0,
			    slice_of(body, sizeof(body)));
		}
		assert_true(repl_held(e.core));
		tick(&e, 20);
	}
	cry_hash(SLICE_LIT("wanted at once!"), &now.cid);
	came = cids_sent(&e, 1, MSG_GET);
	feed(&e, &now);
	assert_int_equal(cids_sent(&e, 1, MSG_GET), came + 1);
	limit.rate = 0;
	feed(&e, &limit);
	assert_false(repl_held(e.core));
	chunk_piece(&e, 1, &now.cid, 15, 0, SLICE_LIT("wanted at once!"));
	for (came--; came < 100; came++) { /* as fast as they come */
		body[0] = (uint8_t)came;
		chunk_piece(&e, 1, &cid[came], sizeof(body), 0,
		    slice_of(body, sizeof(body)));
	}
	assert_int_equal(e.chunks_persisted, 101);
	end_free(&e);
}

static void
test_endgame_is_two_copies_then_cancel(void **state)
{
	struct slice body = SLICE_LIT("the last chunk of all");
	struct cry_id cid;
	struct end e;

	(void)state;
	two_peers(&e);
	cry_hash(body, &cid);
	want(&e, &cid, (uint32_t)body.n);
	assert_int_equal(count(&e, MSG_GET), 1);
	for (int i = 0; i < 5; i++)
		tick(&e, 100);
	assert_int_equal(cids_sent(&e, 1, MSG_GET), 1);
	assert_int_equal(cids_sent(&e, 2, MSG_GET), 1);
	chunk_piece(&e, 2, &cid, (uint32_t)body.n, 0, body);
	assert_int_equal(e.chunks_persisted, 1);
	assert_int_equal(cids_sent(&e, 1, MSG_CANCEL), 1);
	assert_int_equal(cids_sent(&e, 2, MSG_CANCEL), 0);
	end_free(&e);
}

static void
test_busy_is_waited_for(void **state)
{
	struct cry_id cid = { .b = { 3 } };
	struct end e;

	(void)state;
	live(&e, &rd, &wr);
	want(&e, &cid, 100);
	tell_cids(&e, 1, MSG_BUSY, 1, &cid);
	assert_int_equal(count(&e, MSG_GET), 1);
	tick(&e, 400);
	assert_int_equal(count(&e, MSG_GET), 1);
	tick(&e, 200);
	assert_int_equal(count(&e, MSG_GET), 2);
	end_free(&e);
}

static void
test_a_full_queue_says_busy(void **state)
{
	static struct cry_id cids[256];
	struct msg get = { .type = MSG_GET,
		.tag = tag(true),
		.compartment = 1,
		.n = 256,
		.items = slice_of((const uint8_t *)cids, sizeof(cids)) };
	struct end e;

	(void)state;
	live(&e, &hub, &wr);
	e.hold_fetches = true;
	for (int i = 0; i < 5; i++)
		tell(&e, 1, &get);
	assert_int_equal(cids_sent(&e, 1, MSG_BUSY), 256);
	assert_int_equal(e.closed, 0);
	end_free(&e);
}

static void
test_interactive_overtakes_backfill(void **state)
{
	struct cry_id cid = { .b = { 99 } };
	struct repl_event ev = { .kind = RE_WANT,
		.share = *member_share(chain),
		.compartment = 1,
		.cls = REPL_BACKFILL,
		.c_len = 100 };
	struct msg m;
	struct end e;

	(void)state;
	live(&e, &rd, &wr);
	for (uint8_t i = 1; i <= 20; i++) {
		ev.cid.b[0] = i;
		feed(&e, &ev);
	}
	ev.cid = cid;
	ev.cls = REPL_INTERACTIVE;
	feed(&e, &ev);
	/* one is not there: its place goes to the interactive one */
	ev.cid = (struct cry_id){ .b = { 1 } };
	tell_cids(&e, 1, MSG_NOT_HAVE, 1, &ev.cid);
	assert_int_equal(
	    msg_decode(MSG_GET, buf_slice(&e.sent[e.n_sent - 1].body), &m),
	    ERR_OK);
	assert_int_equal(m.flags, REPL_INTERACTIVE);
	assert_memory_equal(m.items.p, cid.b, 32);
	end_free(&e);
}

/* A server with a paced host: in the middle of a backfill chunk. */
static void
test_interactive_piece_goes_before_the_rest_of_a_chunk(void **state)
{
	static uint8_t bytes[MIB];
	struct repl_event sent = { .kind = RE_SENT, .conn = 1 };
	struct cry_id big = { .b = { 1 } }, now = { .b = { 2 } };
	struct repl_opts o = {
		.me = hub.pub, .seed = 1, .chunk_window = 4, .paced = true
	};
	struct msg get = { .type = MSG_GET,
		.tag = tag(true),
		.compartment = 1,
		.flags = REPL_BACKFILL,
		.n = 1,
		.items = slice_of(big.b, 32) };
	struct msg m;
	struct end e;
	uint32_t before;

	(void)state;
	end_new(&e, &hub);
	repl_free(e.core);
	assert_int_equal(repl_new(&o, &e.core), ERR_OK);
	end_share(&e, member_seq(chain) + 1);
	conn_up(&e, 1, &wr, false);
	tell_open(&e, 1);
	e.serve_chunk = slice_of(bytes, sizeof(bytes));
	tell(&e, 1, &get);
	assert_true(count(&e, MSG_CHUNK) >= 1 && count(&e, MSG_CHUNK) < 8);
	e.serve_chunk = SLICE_LIT("wanted at once");
	get.flags = REPL_INTERACTIVE;
	get.items = slice_of(now.b, 32);
	tell(&e, 1, &get);
	before = e.n_sent;
	feed(&e, &sent);
	assert_true(e.n_sent > before);
	assert_int_equal(
	    msg_decode(MSG_CHUNK, buf_slice(&e.sent[before].body), &m), ERR_OK);
	assert_memory_equal(m.id.b, now.b, 32);
	/* CANCEL ends what is left of the big one */
	before = count(&e, MSG_CHUNK);
	tell_cids(&e, 1, MSG_CANCEL, 1, &big);
	feed(&e, &sent);
	assert_int_equal(count(&e, MSG_CHUNK), before);
	end_free(&e);
}

static void
test_what_is_not_wanted_any_more_is_cancelled(void **state)
{
	struct cry_id a = { .b = { 1 } }, b = { .b = { 2 } };
	uint64_t bytes;
	struct end e;

	(void)state;
	live(&e, &rd, &wr);
	want(&e, &a, 100);
	want(&e, &b, 100);
	unwant(&e, &a);
	assert_int_equal(cids_sent(&e, 1, MSG_CANCEL), 1);
	assert_int_equal(repl_wanted(e.core, &bytes), 1);
	assert_int_equal(bytes, 100);
	unwant(&e, NULL);
	assert_int_equal(cids_sent(&e, 1, MSG_CANCEL), 2);
	assert_int_equal(repl_wanted(e.core, &bytes), 0);
	assert_int_equal(bytes, 0);
	end_free(&e);
}

/* Nobody of the first compartment has it; somebody of the second has. */
static void
test_a_want_is_asked_for_in_every_compartment(void **state)
{
	struct repl_event ev = { .kind = RE_WANT,
		.share = *member_share(chain),
		.cid = { .b = { 8 } },
		.c_len = 100 };
	struct msg m;
	struct end e;

	(void)state;
	live(&e, &hub, &wr);
	ev.compartment = 1;
	feed(&e, &ev);
	tell_cids(&e, 1, MSG_NOT_HAVE, 1, &ev.cid);
	assert_int_equal(count(&e, MSG_GET), 1);
	ev.compartment = 2;
	feed(&e, &ev);
	assert_int_equal(count(&e, MSG_GET), 2);
	assert_int_equal(
	    msg_decode(MSG_GET, buf_slice(&e.sent[e.n_sent - 1].body), &m),
	    ERR_OK);
	assert_int_equal(m.compartment, 2);
	end_free(&e);
}

static void
test_possession_is_proven_under_the_asked_nonce(void **state)
{
	struct slice body = SLICE_LIT("the chunk in question");
	struct repl_event ev = { .kind = RE_PROVE,
		.share = *member_share(chain),
		.compartment = 1,
		.nonce = { .b = { 7, 7 } } };
	struct cry_id want, other;
	struct end a, b;

	(void)state;
	cry_hash(body, &ev.cid);
	end_new(&a, &rd);
	end_share(&a, member_seq(chain) + 1);
	end_new(&b, &wr);
	end_share(&b, member_seq(chain) + 1);
	join(&a, &rd, &b, &wr);
	b.serve_chunk = body;
	feed(&a, &ev);
	settle(&a, &b);
	assert_int_equal(a.proofs, 1);
	assert_memory_equal(a.proof.nonce.b, ev.nonce.b, 32);
	repl_proof_hash(&ev.nonce, &wr.pub.sign, body, &want);
	assert_memory_equal(a.proof.hash.b, want.b, 32);
	/* neither another device's answer nor another nonce's will do */
	repl_proof_hash(&ev.nonce, &rd.pub.sign, body, &other);
	assert_memory_not_equal(other.b, want.b, 32);
	b.serve_chunk = slice_of(NULL, 0); /* gone there */
	feed(&a, &ev);
	settle(&a, &b);
	assert_int_equal(a.proofs, 2);
	memset(&want, 0, sizeof(want));
	assert_memory_equal(a.proof.hash.b, want.b, 32);
	end_free(&a);
	end_free(&b);
}

#define T cmocka_unit_test

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_wrong_chunk_bytes_close_and_go_to_another),
		T(test_piece_out_of_place_or_length_closes),
		T(test_only_unfinished_chunks_are_asked_again),
		T(test_not_have_is_remembered_and_have_told),
		T(test_have_is_told_of_the_compartment_it_came_through_only),
		T(test_a_chunk_is_asked_for_in_each_compartment_that_wants_it),
		T(test_have_is_told_when_the_chunk_came_during_the_look),
		T(test_window_bounds_what_is_asked_at_once),
		T(test_sending_beyond_credit_closes),
		T(test_credit_that_was_not_owed_closes),
		T(test_several_peers_work_at_once_on_different_chunks),
		T(test_a_slow_peers_chunks_go_to_another),
		T(test_a_beginning_over_and_over_holds_no_want),
		T(test_a_limit_paces_what_is_asked_but_not_what_is_waited_for),
		T(test_endgame_is_two_copies_then_cancel),
		T(test_busy_is_waited_for),
		T(test_a_full_queue_says_busy),
		T(test_interactive_overtakes_backfill),
		T(test_interactive_piece_goes_before_the_rest_of_a_chunk),
		T(test_what_is_not_wanted_any_more_is_cancelled),
		T(test_a_want_is_asked_for_in_every_compartment),
		T(test_possession_is_proven_under_the_asked_nonce),
	};

	if (cry_init() != ERR_OK)
		return 1;
	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
