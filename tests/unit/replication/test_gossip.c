/* Live gossip: what is pushed, told and asked for, branch by branch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "unit/replication/core_end.c"

/* Messages of a type to one connection. */
static uint32_t
told(const struct end *e, repl_conn c, uint8_t type)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < e->n_sent; i++)
		n += e->sent[i].conn == c && e->sent[i].type == type;
	return n;
}

static void
second(struct end *e, repl_conn c, const struct cry_identity *who)
{
	conn_up(e, c, who, false);
	tell_open(e, c);
}

static void
say(struct end *e, repl_conn c, uint8_t type)
{
	struct msg m = { .type = type, .tag = tag(true), .compartment = 1 };

	tell(e, c, &m);
}

static void
ihave(struct end *e, repl_conn c, const struct run *r)
{
	struct buf items = BUF_MAX(KIB);
	struct msg_front f = { .device = r->ops.feed.device,
		.incarnation = r->ops.feed.incarnation,
		.seq = r->ops.head.seq };
	struct msg m = {
		.type = MSG_IHAVE, .tag = tag(true), .compartment = 1, .n = 1
	};

	msg_front_put(&f, &items);
	m.items = buf_slice(&items);
	tell(e, c, &m);
	buf_fini(&items);
}

static void
test_a_new_run_goes_along_branches_at_once(void **state)
{
	struct end e;
	struct run r;

	(void)state;
	live(&e, &hub, &reg);
	second(&e, 2, &rd);
	run_make(&r, &wr, 1, 1, 2);
	tell_run(&e, 1, &r, MSG_PUSH);
	assert_int_equal(e.ops_persisted, 2);
	assert_int_equal(told(&e, 2, MSG_PUSH), 1);
	assert_int_equal(told(&e, 1, MSG_PUSH), 0); /* it sent it */
	tick(&e, 60);
	assert_int_equal(count(&e, MSG_IHAVE), 0); /* nobody is left to tell */
	end_free(&e);
	run_free(&r);
}

static void
test_a_pruned_link_is_told_after_50_ms_and_not_pushed(void **state)
{
	struct end e;
	struct run r, q;

	(void)state;
	live(&e, &hub, &reg);
	second(&e, 2, &rd);
	say(&e, 2, MSG_PRUNE);
	run_make(&r, &wr, 1, 1, 2);
	run_make(&q, &wr, 1, 2, 1);
	tell_run(&e, 1, &r, MSG_PUSH);
	tick(&e, 30);
	tell_run(&e, 1, &q, MSG_PUSH);
	assert_int_equal(told(&e, 2, MSG_PUSH), 0);
	assert_int_equal(told(&e, 2, MSG_IHAVE), 0);
	tick(&e, 20);
	assert_int_equal(told(&e, 2, MSG_IHAVE), 1); /* both in one */
	assert_int_equal(told(&e, 1, MSG_IHAVE), 0);
	end_free(&e);
	run_free(&r);
	run_free(&q);
}

static void
test_a_second_copy_is_answered_by_prune(void **state)
{
	struct end e;
	struct run r, q;

	(void)state;
	live(&e, &rd, &wr);
	second(&e, 2, &reg);
	run_make(&r, &wr, 1, 1, 2);
	run_make(&q, &wr, 1, 2, 1);
	tell_run(&e, 1, &r, MSG_PUSH);
	assert_int_equal(count(&e, MSG_PRUNE), 0);
	tell_run(&e, 2, &r, MSG_PUSH);
	assert_int_equal(told(&e, 2, MSG_PRUNE), 1);
	assert_int_equal(e.ops_persisted, 2);
	/* what was asked for is no second branch */
	tell_ops(&e, 2, &r);
	assert_int_equal(count(&e, MSG_PRUNE), 1);
	assert_int_equal(told(&e, 2, MSG_PUSH), 1); /* r, the other way */
	tell_run(&e, 1, &q, MSG_PUSH);
	assert_int_equal(told(&e, 2, MSG_PUSH), 1);
	end_free(&e);
	run_free(&r);
	run_free(&q);
}

static void
test_between_two_hubs_a_site_is_no_bridge(void **state)
{
	struct cry_identity hub2;
	struct cry_box_sk recovery;
	struct end e;
	struct run r;

	(void)state;
	cry_identity_new(&hub2, &recovery);
	chain_grant(&hub2, ROLE_HUB, COMPARTMENT_ALL);
	live(&e, &hub, &rd);
	second(&e, 2, &hub2);
	run_make(&r, &wr, 1, 1, 2);
	tell_run(&e, 1, &r, MSG_PUSH); /* the site was quicker */
	tell_run(&e, 2, &r, MSG_PUSH);
	assert_int_equal(told(&e, 2, MSG_PRUNE), 0);
	assert_int_equal(told(&e, 1, MSG_PRUNE), 1);
	end_free(&e);
	run_free(&r);
}

static void
test_announced_and_not_pushed_is_grafted_and_asked_elsewhere(void **state)
{
	struct end e;
	struct run r;
	repl_conn first, other;

	(void)state;
	live(&e, &rd, &wr);
	second(&e, 2, &reg);
	second(&e, 3, &hub);
	run_make(&r, &wr, 1, 1, 2);
	ihave(&e, 1, &r);
	ihave(&e, 2, &r);
	tick(&e, 140);
	assert_int_equal(count(&e, MSG_GRAFT), 0);
	tick(&e, 10);
	assert_int_equal(count(&e, MSG_GRAFT), 1);
	assert_int_equal(told(&e, 3, MSG_GRAFT), 0);
	first = told(&e, 1, MSG_GRAFT) == 1 ? 1 : 2;
	other = 3 - first;
	tick(&e, 400);
	assert_int_equal(count(&e, MSG_GRAFT), 1);
	tick(&e, 150);
	assert_int_equal(told(&e, other, MSG_GRAFT), 1);
	tell_ops(&e, other, &r);
	assert_int_equal(e.ops_persisted, 2);
	for (int i = 0; i < 5; i++)
		tick(&e, 1000);
	assert_int_equal(count(&e, MSG_GRAFT), 2);
	end_free(&e);
	run_free(&r);
}

static void
test_announced_and_pushed_in_time_is_not_asked_for(void **state)
{
	struct end e;
	struct run r;

	(void)state;
	live(&e, &rd, &wr);
	second(&e, 2, &reg);
	run_make(&r, &wr, 1, 1, 2);
	ihave(&e, 2, &r);
	tick(&e, 100);
	tell_run(&e, 1, &r, MSG_PUSH);
	tick(&e, 60);
	tick(&e, 1000);
	assert_int_equal(count(&e, MSG_GRAFT), 0);
	assert_int_equal(count(&e, MSG_OPS_REQ), 0);
	end_free(&e);
	run_free(&r);
}

static void
test_graft_is_served_and_makes_a_branch(void **state)
{
	struct msg m = { .type = MSG_GRAFT,
		.tag = tag(true),
		.compartment = 1,
		.n_shorts = 1 };
	struct msg_short from = { .seq = 1 };
	struct buf shorts = BUF_MAX(KIB);
	struct feed_id id;
	struct end e;
	struct run r, q;

	(void)state;
	live(&e, &wr, &hub);
	say(&e, 1, MSG_PRUNE);
	run_make(&r, &wr, 1, 1, 2);
	run_make(&q, &wr, 1, 2, 1);
	local(&e, &r);
	assert_int_equal(count(&e, MSG_PUSH), 0);
	op_feed_id(&r.ops.feed, &id);
	memcpy(from.feed, id.b, sizeof(from.feed));
	msg_short_put(&from, &shorts);
	m.shorts = buf_slice(&shorts);
	tell(&e, 1, &m);
	buf_fini(&shorts);
	assert_int_equal(count(&e, MSG_OPS), 1);
	local(&e, &q);
	assert_int_equal(count(&e, MSG_PUSH), 1);
	end_free(&e);
	run_free(&r);
	run_free(&q);
}

/* A liar's IHAVEs cost it three questions at most, and no feed its place. */
static void
test_announced_by_a_liar_is_given_up(void **state)
{
	struct end e;
	struct run r;

	(void)state;
	live(&e, &rd, &wr);
	run_make(&r, &wr, 1, 1, 1);
	for (uint64_t i = 1; i <= 2000; i++) {
		r.ops.feed.incarnation = i;
		ihave(&e, 1, &r);
	}
	for (int i = 0; i < 60; i++)
		tick(&e, 1000);
	assert_true(count(&e, MSG_GRAFT) + count(&e, MSG_OPS_REQ) <= 64 * 3);
	assert_int_equal(e.closed, 0);
	end_free(&e);
	run_free(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_new_run_goes_along_branches_at_once),
		cmocka_unit_test(
		    test_a_pruned_link_is_told_after_50_ms_and_not_pushed),
		cmocka_unit_test(test_a_second_copy_is_answered_by_prune),
		cmocka_unit_test(
		    test_announced_and_not_pushed_is_grafted_and_asked_elsewhere),
		cmocka_unit_test(
		    test_announced_and_pushed_in_time_is_not_asked_for),
		cmocka_unit_test(test_graft_is_served_and_makes_a_branch),
		cmocka_unit_test(test_announced_by_a_liar_is_given_up),
		cmocka_unit_test(test_between_two_hubs_a_site_is_no_bridge),
	};

	if (cry_init() != ERR_OK)
		return 1;
	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
