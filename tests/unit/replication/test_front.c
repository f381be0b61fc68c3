/* Telling what is held costs what is new: with a remembered root only the
 * feeds that moved, without one and with many feeds only those that differ;
 * unknown names are asked for; a hint that is wrong costs bytes, not data. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "unit/replication/core_end.c"

/* A feed as known at start; heads are invented, nobody fetches here. */
static void
known(struct end *e, uint64_t incarnation, uint64_t seq)
{
	struct repl_event ev = { .kind = RE_FEED };

	ev.ops.feed = (struct op_feed){ .share = *member_share(chain),
		.compartment = 1,
		.device = wr.pub.sign,
		.incarnation = incarnation };
	ev.ops.head.seq = ev.ops.head.lamport = seq;
	ev.ops.head.id.b[0] = (uint8_t)seq;
	feed(e, &ev);
}

static void
pair(struct end *a, struct end *b, uint32_t feeds)
{
	end_new(a, &hub);
	end_new(b, &rd);
	end_share(a, member_seq(chain) + 1);
	end_share(b, member_seq(chain) + 1);
	for (uint32_t i = 1; i <= feeds; i++) {
		known(a, i, 3);
		known(b, i, 3);
	}
}

static void
part(struct end *a, struct end *b)
{
	conn_down(a, 1);
	conn_down(b, 1);
	a->read = a->n_sent;
	b->read = b->n_sent;
}

static void
again(struct end *a, struct end *b)
{
	conn_up(b, 1, &hub, false);
	conn_up(a, 1, &rd, true);
	settle(a, b);
}

/* Feeds that e asked ops of since message number at. */
static uint32_t
asked(const struct end *e, uint32_t at)
{
	uint32_t n = 0;

	for (; at < e->n_sent; at++) {
		struct msg m;

		if (e->sent[at].type != MSG_OPS_REQ)
			continue;
		assert_int_equal(
		    msg_decode(MSG_OPS_REQ, buf_slice(&e->sent[at].body), &m),
		    ERR_OK);
		n += m.n_shorts;
	}
	return n;
}

/* What finding out cost: nobody here has ops to send. */
static size_t
bytes_since(const struct end *e, uint32_t at)
{
	size_t n = 0;

	for (; at < e->n_sent; at++) {
		if (e->sent[at].type != MSG_OPS_NONE)
			n += e->sent[at].body.n;
	}
	return n;
}

static void
test_a_remembered_root_makes_only_news_be_told(void **state)
{
	struct end a, b;
	uint32_t at_a, at_b;

	(void)state;
	pair(&a, &b, 1000);
	again(&a, &b);
	assert_true(repl_in_sync(a.core));
	part(&a, &b);
	for (uint32_t i = 1; i <= 20; i++)
		known(&a, i * 40, 53);
	at_a = a.n_sent;
	at_b = b.n_sent;
	again(&a, &b);
	assert_int_equal(asked(&b, at_b), 20);
	assert_int_equal(asked(&a, at_a), 0);
	assert_true(bytes_since(&a, at_a) < 400); /* OPEN, FRONT */
	assert_true(bytes_since(&b, at_b) < 400); /* OPEN, FRONT, OPS_REQ */
	end_free(&a);
	end_free(&b);
}

static void
test_news_at_both_ends_meet(void **state)
{
	struct end a, b;
	uint32_t at_a, at_b;

	(void)state;
	pair(&a, &b, 400);
	again(&a, &b);
	part(&a, &b);
	for (uint32_t i = 1; i <= 5; i++) {
		known(&a, i, 4);
		known(&b, 100 + i, 4);
	}
	known(&a, 9000, 1); /* a name that b does not know */
	at_a = a.n_sent;
	at_b = b.n_sent;
	again(&a, &b);
	assert_int_equal(asked(&b, at_b), 6);
	assert_int_equal(asked(&a, at_a), 5);
	assert_true(bytes_since(&a, at_a) < 500);
	end_free(&a);
	end_free(&b);
}

static void
test_many_feeds_and_no_memory_are_reconciled_by_ranges(void **state)
{
	struct end a, b;

	(void)state;
	pair(&a, &b, 2000);
	for (uint32_t i = 1; i <= 5; i++) {
		known(&a, i * 100, 7);
		known(&b, i * 100 + 1, 7);
	}
	known(&a, 9000, 1);
	known(&b, 9001, 1);
	again(&a, &b);
	assert_true(count(&a, MSG_RBSR) > 0);
	assert_int_equal(asked(&b, 0), 6);
	assert_int_equal(asked(&a, 0), 6);
	assert_true(bytes_sent(&a) + bytes_sent(&b) < 16 * KIB);
	end_free(&a);
	end_free(&b);
}

/* b was put back: it knows neither the root a names nor the feeds. */
static void
test_a_base_the_peer_has_lost_ends_in_a_whole_frontier(void **state)
{
	struct end a, b;

	(void)state;
	pair(&a, &b, 30);
	again(&a, &b);
	part(&a, &b);
	end_free(&b);
	end_new(&b, &rd);
	end_share(&b, member_seq(chain) + 1);
	known(&b, 1, 2);
	known(&b, 77, 2);
	known(&a, 2, 5);
	again(&a, &b);
	assert_int_equal(asked(&b, 0), 30);
	assert_int_equal(count(&b, MSG_NEED), 1);
	assert_int_equal(asked(&a, 0), 1);
	end_free(&a);
	end_free(&b);
}

static void
test_few_feeds_and_an_empty_peer_need_no_question(void **state)
{
	struct end a, b;

	(void)state;
	pair(&a, &b, 0);
	for (uint32_t i = 1; i <= 50; i++)
		known(&a, i, 3);
	again(&a, &b);
	assert_int_equal(asked(&b, 0), 50);
	assert_int_equal(count(&b, MSG_NEED), 0);
	end_free(&a);
	end_free(&b);
}

/* What two ends tell each other for hours stays bounded: the ring of roots
 * and the rounds of ranges. */
static void
test_ranges_without_end_are_not_answered(void **state)
{
	static const uint8_t all[] = { 1, 0, 255, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10,
		11, 12, 13, 14, 15, 16 };
	struct msg m = { .type = MSG_RBSR,
		.tag = tag(true),
		.compartment = 1,
		.bytes = slice_of(all, sizeof(all)) };
	struct end e;

	(void)state;
	live(&e, &hub, &rd);
	known(&e, 1, 1);
	for (uint32_t i = 0; i < 3 * 64u; i++)
		tell(&e, 1, &m);
	assert_true(count(&e, MSG_RBSR) <= 64u + 1);
	assert_int_equal(e.closed, 0);
	m.bytes = slice_of(all, 5);
	end_free(&e);
	live(&e, &hub, &rd);
	tell(&e, 1, &m);
	assert_int_equal(e.closed, 1);
	end_free(&e);
}

/* The one row of the one peer. */
static struct repl_lag
lag_row(const struct end *e)
{
	struct repl_lag row;

	assert_int_equal(repl_lags(e->core, 0, NULL, 0), 1);
	assert_int_equal(repl_lags(e->core, 0, &row, 1), 1);
	return row;
}

static void
test_what_stands_between_two_ends_is_said(void **state)
{
	struct end a, b;
	struct repl_lag row;

	(void)state;
	pair(&a, &b, 3);
	again(&a, &b);
	row = lag_row(&a);
	assert_true(row.in_sync);
	assert_int_equal(row.why, REPL_WHY_NONE);
	part(&a, &b);
	/* b has more, and cannot serve it here */
	known(&b, 2, 9);
	a.hold_fetches = b.hold_fetches = true;
	again(&a, &b);
	row = lag_row(&a);
	assert_false(row.in_sync);
	assert_int_equal(row.lag_ops, 6);
	assert_int_equal(lag_row(&b).ahead_ops, 6);
	part(&a, &b);
	/* only one end speaks */
	conn_up(&a, 1, &rd, true);
	row = lag_row(&a);
	assert_int_equal(row.why, REPL_WHY_NO_ANSWER);
	assert_int_equal(row.compartment, 0);
	end_free(&a);
	end_free(&b);
}

static void
test_a_fork_is_said(void **state)
{
	struct msg root = {
		.type = MSG_ROOT, .tag = tag(true), .compartment = 1, .seq = 9
	};
	struct run r, other;
	struct repl_lag row;
	struct end e;

	(void)state;
	live(&e, &rd, &wr);
	run_make(&r, &wr, 1, 1, 2);
	tell_run(&e, 1, &r, MSG_PUSH);
	wall_ms = 1; /* as after a restored backup */
	run_make(&other, &wr, 1, 1, 3);
	wall_ms = 0;
	tell_run(&e, 1, &other, MSG_PUSH);
	tell(&e, 1, &root);
	row = lag_row(&e);
	assert_false(row.in_sync);
	assert_int_equal(row.forked, 1);
	assert_int_equal(row.why, REPL_WHY_FORK);
	end_free(&e);
	run_free(&r);
	run_free(&other);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    test_a_remembered_root_makes_only_news_be_told),
		cmocka_unit_test(test_news_at_both_ends_meet),
		cmocka_unit_test(
		    test_many_feeds_and_no_memory_are_reconciled_by_ranges),
		cmocka_unit_test(
		    test_a_base_the_peer_has_lost_ends_in_a_whole_frontier),
		cmocka_unit_test(
		    test_few_feeds_and_an_empty_peer_need_no_question),
		cmocka_unit_test(test_what_stands_between_two_ends_is_said),
		cmocka_unit_test(test_a_fork_is_said),
		cmocka_unit_test(test_ranges_without_end_are_not_answered),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
