/* Members and strangers that lie in ways the form of a message allows:
 * borrowed keys, records of another share, heads and lengths that are not
 * true.  None of it may pass for a member, or stop honest ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "unit/replication/core_end.c"

/* A site of one's own certifies anybody's signing key, with a box key of
 * one's own beside it: Noise and certificate both hold. */
static void
test_borrowed_signing_key_makes_no_member(void **state)
{
	const struct cry_identity *victim[] = { &reg, &wr, &hub };

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct cry_identity fake = out;
		struct cry_device_pub seen;
		struct end e;

		fake.pub.sign = victim[i]->pub.sign;
		cry_cert_issue(&out.site_sk, &fake.pub, 1, &fake.cert);
		assert_int_equal(
		    cry_cert_check(
			slice_of(fake.cert.b, sizeof(fake.cert.b)), &seen),
		    ERR_OK);
		end_new(&e, &rd);
		end_share(&e, member_seq(chain) + 1);
		conn_up(&e, 1, &fake, false);
		tell_open(&e, 1);
		tick(&e, 2000);
		assert_int_equal(e.n_sent, 0); /* as any stranger */
		end_free(&e);
		/* control: the device itself is spoken to */
		live(&e, &rd, victim[i]);
		assert_true(count(&e, MSG_OPEN) > 0);
		end_free(&e);
	}
}

/* The last record of the chain, by hand. */
static void
tell_record(struct end *e, uint64_t seq, struct slice rec)
{
	struct buf items = BUF_MAX(MIB);
	struct msg m = {
		.type = MSG_MLOG, .tag = tag(true), .seq = seq, .n = 1
	};

	msg_blob_put(rec, &items);
	m.items = buf_slice(&items);
	tell(e, 1, &m);
	buf_fini(&items);
}

/* e, one record behind, still takes the chain's last one. */
static void
assert_chain_moves(struct end *e)
{
	uint64_t last = member_seq(chain);

	tell_record(e, last, member_record(chain, last));
	assert_int_equal(e->records_persisted, 1);
}

static void
behind(struct end *e)
{
	struct msg m = {
		.type = MSG_OPEN, .tag = tag(true), .seq = member_seq(chain)
	};

	end_new(e, &rd);
	end_share(e, member_seq(chain)); /* the hub's grant is missing */
	conn_up(e, 1, &wr, false);
	m.id = *member_head(chain);
	tell(e, 1, &m);
}

static void
test_records_of_another_share_do_not_halt_this_one(void **state)
{
	struct buf rec = BUF_MAX(MIB);
	struct member *other;
	struct member_keys *k = mem_new(sizeof(*k));
	struct end e;

	(void)state;
	assert_non_null(k);
	/* the same registrar's other share */
	assert_int_equal(
	    member_build_genesis(&reg, "t", "lab", false, &rec), ERR_OK);
	assert_int_equal(member_new(buf_slice(&rec), &other), ERR_OK);
	buf_reset(&rec);
	assert_int_equal(
	    member_open_keys(other, &reg.pub, &reg.box_sk, k), ERR_OK);
	assert_int_equal(
	    member_build_compartment(other, &reg, k, "c", &rec), ERR_OK);
	behind(&e);
	tell_record(&e, 1, buf_slice(&rec));
	assert_int_equal(e.closed, 1);
	assert_int_equal(e.close_err, ERR_MALFORMED);
	conn_down(&e, 1);
	conn_up(&e, 1, &wr, false);
	assert_chain_moves(&e);
	end_free(&e);
	member_free(other);
	member_keys_fini(k);
	mem_free(k);
	buf_fini(&rec);
}

/* Only two signed records prove that a registrar equivocates. */
static void
test_a_head_that_is_only_claimed_halts_nothing(void **state)
{
	struct msg m = { .type = MSG_OPEN, .tag = tag(true) };
	struct end e;

	(void)state;
	behind(&e);
	m.seq = member_seq(chain) - 1; /* ours is another, signed one */
	m.id.b[0] = 1;
	tell(&e, 1, &m);
	/* it is asked to show its chain */
	assert_int_equal(count(&e, MSG_MLOG_REQ), 2);
	assert_chain_moves(&e);
	end_free(&e);
}

/* An op's packing list may name an honest chunk with a false length. */
static void
test_false_length_of_a_chunk_blames_nobody_who_serves_it(void **state)
{
	struct slice good = SLICE_LIT("the right bytes");

	(void)state;
	for (int d = -3; d <= 3; d += 6) {
		uint32_t len = (uint32_t)good.n;
		struct repl_event ev = { .kind = RE_WANT,
			.share = *member_share(chain),
			.compartment = 1,
			.c_len = (uint32_t)((int)len + d) };
		struct msg m = { .type = MSG_CHUNK, .c_len = len };
		uint64_t bytes;
		struct end e;

		cry_hash(good, &ev.cid);
		live(&e, &rd, &wr);
		feed(&e, &ev);
		m.id = ev.cid;
		m.bytes = slice_of(good.p, 5);
		tell(&e, 1, &m);
		m.off = 5;
		m.bytes = slice_of(good.p + 5, good.n - 5);
		tell(&e, 1, &m);
		assert_int_equal(e.closed, 0);
		assert_int_equal(e.chunks_persisted, 1);
		assert_int_equal(repl_wanted(e.core, &bytes), 0);
		assert_int_equal(bytes, 0);
		end_free(&e);
	}
}

/* Feeds of a real writer that do not exist, until none more fits. */
static void
announce(struct end *e, uint64_t *incarnation, uint32_t pages)
{
	for (uint32_t p = 0; p < pages; p++) {
		struct buf items = BUF_MAX(MSG_CONTROL_BYTES_MAX);
		struct msg m = { .type = MSG_FRONT,
			.tag = tag(true),
			.compartment = 1,
			.flags = FRONT_DELTA,
			.n = MSG_FRONT_MAX };
		struct msg_front f = { .device = wr.pub.sign, .seq = 9 };

		for (uint32_t i = 0; i < m.n; i++) {
			f.incarnation = ++*incarnation;
			msg_front_put(&f, &items);
		}
		m.items = buf_slice(&items);
		tell(e, 1, &m);
		buf_fini(&items);
	}
}

static void
forget_sent(struct end *e)
{
	for (uint32_t i = 0; i < e->n_sent; i++)
		buf_fini(&e->sent[i].body);
	e->n_sent = 0;
}

static void
test_invented_feeds_use_up_no_places(void **state)
{
	uint64_t incarnation = 1000;
	struct cry_id root[2];
	uint64_t ops;
	struct run r;
	struct end e, f;

	(void)state;
	end_new(&e, &reg);
	end_share(&e, member_seq(chain) + 1);
	for (int round = 0; round < 20; round++) {
		conn_up(&e, 1, &rd, false);
		tell_open(&e, 1);
		announce(&e, &incarnation, 16);
		conn_down(&e, 1);
		forget_sent(&e);
	}
	/* the writer's new feeds still find theirs, and hash the same */
	conn_up(&e, 1, &wr, false);
	tell_open(&e, 1);
	live(&f, &reg, &wr);
	for (uint64_t i = 1; i <= 3; i++) {
		run_make(&r, &wr, 1, i, 2);
		tell_run(&e, 1, &r, MSG_PUSH);
		tell_run(&f, 1, &r, MSG_PUSH);
		run_free(&r);
	}
	assert_int_equal(e.ops_persisted, 6);
	repl_root(e.core, member_share(chain), 1, &root[0], &ops);
	assert_int_equal(ops, 6);
	repl_root(f.core, member_share(chain), 1, &root[1], &ops);
	assert_memory_equal(&root[0], &root[1], sizeof(root[0]));
	end_free(&e);
	end_free(&f);
}

int
main(void)
{
#define T(t) cmocka_unit_test(t)
	const struct CMUnitTest tests[] = {
		T(test_borrowed_signing_key_makes_no_member),
		T(test_records_of_another_share_do_not_halt_this_one),
		T(test_a_head_that_is_only_claimed_halts_nothing),
		T(test_false_length_of_a_chunk_blames_nobody_who_serves_it),
		T(test_invented_feeds_use_up_no_places),
	};

	if (cry_init() != ERR_OK)
		return 1;
	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
