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

#define T cmocka_unit_test

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_wrong_chunk_bytes_close_and_go_to_another),
		T(test_piece_out_of_place_or_length_closes),
		T(test_only_unfinished_chunks_are_asked_again),
		T(test_not_have_is_remembered_and_have_told),
		T(test_have_is_told_when_the_chunk_came_during_the_look),
		T(test_window_bounds_what_is_asked_at_once),
		T(test_sending_beyond_credit_closes),
		T(test_credit_that_was_not_owed_closes),
	};

	if (cry_init() != ERR_OK)
		return 1;
	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
