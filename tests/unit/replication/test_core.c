/* The core against one peer, honest or not: membership, ops, silence, and
 * what makes it hang up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "unit/replication/core_end.c"

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
			r.ops.feed.incarnation = 2; /* another feed */
		else if (what == 3)
			r.s[1] = r.s[0]; /* does not chain */
		else
			op_head_sign(&r.ops.head, &rd.sign_sk);
		tell_run(&e, 1, &r, MSG_PUSH);
		assert_int_equal(e.closed, 1);
		assert_true(
		    e.close_err == ERR_AUTH || e.close_err == ERR_MALFORMED);
		assert_int_equal(e.ops_persisted, 0);
		/* closing: nothing more is taken from it */
		run_free(&r);
		run_make(&r, &wr, 1, 2, 1);
		tell_run(&e, 1, &r, MSG_PUSH);
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
		tell_run(&e, 1, &r, MSG_PUSH);
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
		.n_shorts = 1 };
	struct msg_short from = { .seq = 1 };
	struct buf shorts = BUF_MAX(KIB);
	struct feed_id id;
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
	op_feed_id(&r.ops.feed, &id);
	memcpy(from.feed, id.b, sizeof(from.feed));
	msg_short_put(&from, &shorts);
	req.shorts = buf_slice(&shorts);
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
	buf_fini(&shorts);
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
test_fork_is_noticed_and_the_first_op_stays(void **state)
{
	struct run a, b;
	struct end e;

	(void)state;
	live(&e, &rd, &wr);
	run_make(&a, &wr, 1, 1, 3);
	tell_run(&e, 1, &a, MSG_PUSH);
	assert_int_equal(e.ops_persisted, 3);
	tell_run(&e, 1, &a, MSG_PUSH); /* the same again: nothing new */
	assert_int_equal(e.ops_persisted, 3);
	/* same feed, other ops: as after a restored backup */
	wall_ms = 1;
	for (uint32_t n = 3; n <= 4; n++) {
		run_make(&b, &wr, 1, 1, n);
		tell_run(&e, 1, &b, MSG_PUSH);
		run_free(&b);
	}
	wall_ms = 0;
	assert_int_equal(e.ops_persisted, 3);
	assert_int_equal(e.closed, 0);
	/* the honest continuation is off the fast path as well */
	run_free(&a);
	run_make(&a, &wr, 1, 1, 5);
	tell_run(&e, 1, &a, MSG_PUSH);
	assert_int_equal(e.ops_persisted, 3);
	run_free(&a);
	end_free(&e);
}

/* A long frontier goes out page by page as credit comes back. */
static void
test_thousands_of_feeds_are_told_within_credit(void **state)
{
	struct msg root = {
		.type = MSG_ROOT, .tag = tag(true), .compartment = 1, .seq = 1
	};
	struct msg credit = { .type = MSG_CREDIT }, m;
	struct end e;
	uint32_t pages = 0, told = 0, read = 0;

	(void)state;
	live(&e, &hub, &rd);
	for (uint64_t i = 1; i <= 5000; i++) {
		struct repl_event ev = { .kind = RE_FEED };

		ev.ops.feed = (struct op_feed){ .share = *member_share(chain),
			.compartment = 1,
			.device = wr.pub.sign,
			.incarnation = i };
		ev.ops.head.seq = ev.ops.head.lamport = 1;
		feed(&e, &ev);
	}
	tell(&e, 1, &root);
	tick(&e, 1100);
	m.flags = FRONT_MORE;
	while (read < e.n_sent) {
		struct sent *s = &e.sent[read++];

		if (s->type != MSG_CREDIT)
			credit.credit[SESS_CONTROL] += (uint32_t)s->body.n;
		if (s->type == MSG_FRONT) {
			assert_int_equal(
			    msg_decode(s->type, buf_slice(&s->body), &m),
			    ERR_OK);
			pages++;
			told += m.n + m.n_shorts;
		}
		if (read == e.n_sent && m.flags != 0) {
			assert_true(credit.credit[0] < 160 * KIB);
			tell(&e, 1, &credit);
			memset(credit.credit, 0, sizeof(credit.credit));
		}
	}
	assert_int_equal(told, 5000);
	assert_int_equal(pages, 10);
	assert_int_equal(m.flags, 0);
	assert_int_equal(e.closed, 0);
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
test_records_that_found_no_space_are_kept_later(void **state)
{
	struct invite v = { .share = *member_share(chain),
		.registrar = reg.pub.sign };
	struct repl_event ev = { .kind = RE_JOIN,
		.share = *member_share(chain),
		.registrar = reg.pub.sign };
	struct repl_event tick = { .kind = RE_TICK };
	struct buf claim = BUF_MAX(KIB);
	struct end a, b;

	(void)state;
	assert_int_equal(claim_build(&v, &wr, "site", &claim), ERR_OK);
	ev.bytes = buf_slice(&claim);
	end_new(&a, &wr);
	end_new(&b, &hub);
	end_share(&b, member_seq(chain) + 1);
	a.full = (uint32_t)member_seq(chain) + 1;
	feed(&a, &ev);
	join(&a, &wr, &b, &hub);
	assert_int_equal(a.full, 0);
	assert_int_equal(a.records_persisted, 0);
	a.now = repl_deadline_ms(a.core);
	while (a.now < 6000 && a.records_persisted == 0) {
		feed(&a, &tick);
		a.now = repl_deadline_ms(a.core);
	}
	assert_int_equal(a.records_persisted, member_seq(chain) + 1);
	end_free(&a);
	end_free(&b);
	buf_fini(&claim);
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

/* It names a record that we have not: that is asked for, and it holds then. */
static void
test_a_freeze_that_overtakes_its_record_holds_when_that_comes(void **state)
{
	struct member_freeze_opts o = { wr.pub.sign, NULL };
	struct buf said = BUF_MAX(MIB), items = BUF_MAX(MIB);
	struct msg m = { .type = MSG_STATEMENT, .tag = tag(true) };
	uint32_t asked;
	struct end e;

	(void)state;
	assert_int_equal(
	    member_build_freeze(chain, &reg, &keys, &o, &said), ERR_OK);
	end_new(&e, &rd);
	end_share(&e, member_seq(chain));
	conn_up(&e, 1, &wr, false);
	tell_open(&e, 1);
	asked = count(&e, MSG_MLOG_REQ);
	m.bytes = buf_slice(&said);
	tell(&e, 1, &m);
	tell(&e, 1, &m); /* twice is once */
	assert_int_equal(count(&e, MSG_MLOG_REQ), asked + 1);
	assert_false(member_is_frozen(
	    repl_member(e.core, member_share(chain)), &wr.pub.sign));
	msg_blob_put(member_record(chain, member_seq(chain)), &items);
	m = (struct msg){ .type = MSG_MLOG, .tag = tag(true), .n = 1 };
	m.seq = member_seq(chain);
	m.items = buf_slice(&items);
	tell(&e, 1, &m);
	assert_true(member_is_frozen(
	    repl_member(e.core, member_share(chain)), &wr.pub.sign));
	assert_int_equal(e.closed, 0);
	end_free(&e);
	buf_fini(&said);
	buf_fini(&items);
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
	assert_true(repl_halted(e.core, member_share(chain)));
	/* told on, and which records are ours */
	assert_int_equal(count(&e, MSG_STATEMENT), 2);
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
		T(test_fork_is_noticed_and_the_first_op_stays),
		T(test_thousands_of_feeds_are_told_within_credit),
		T(test_joiner_checks_the_registrar_of_the_invite),
		T(test_records_that_found_no_space_are_kept_later),
		T(test_registrar_gets_claims_and_hubs_queue_them),
		T(test_a_freeze_that_overtakes_its_record_holds_when_that_comes),
		T(test_equivocating_registrar_halts_the_chain),
		T(test_silent_peer_is_pinged_then_dropped),
		T(test_out_of_memory_is_an_answer),
	};

	if (cry_init() != ERR_OK)
		return 1;
	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
