/* Sessions: whatever the wire does to the bytes, messages arrive whole, in
 * order within a class, control first, or the session ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "replication/session.h"
#include "store/base/mem.h"

static struct cry_identity alice, bob;

struct pair {
	struct sess *a, *b; /* a dials */
};

static void
pair_new(struct pair *p)
{
	struct sess_params pa = {
		.initiator = true, .me = &alice, .remote_static = bob.pub.box
	};
	struct sess_params pb = { .me = &bob };

	assert_int_equal(sess_new(&pa, &p->a), ERR_OK);
	assert_int_equal(sess_new(&pb, &p->b), ERR_OK);
}

static void
pair_free(struct pair *p)
{
	sess_free(p->a);
	sess_free(p->b);
}

static size_t
pass(struct sess *from, struct sess *to)
{
	struct buf w = BUF_MAX(16 * MIB);
	size_t n;

	assert_int_equal(sess_pull(from, 16 * MIB, &w), ERR_OK);
	n = w.n;
	for (size_t at = 0; at < w.n; at += 60000) {
		size_t k = w.n - at < 60000 ? w.n - at : 60000;

		assert_int_equal(sess_recv(to, slice_of(w.p + at, k)), ERR_OK);
	}
	buf_fini(&w);
	return n;
}

static void
shake(struct pair *p)
{
	pass(p->a, p->b);
	pass(p->b, p->a);
	pass(p->a, p->b);
	assert_true(sess_up(p->a));
	assert_true(sess_up(p->b));
}

static void
test_both_ends_learn_the_other_and_one_hash(void **state)
{
	struct pair p;

	(void)state;
	pair_new(&p);
	assert_false(sess_up(p.a));
	shake(&p);
	assert_memory_equal(sess_peer(p.a), &bob.pub, sizeof(bob.pub));
	assert_memory_equal(sess_peer(p.b), &alice.pub, sizeof(alice.pub));
	assert_memory_equal(sess_hash(p.a), sess_hash(p.b), 64);
	pair_free(&p);
}

static void
test_wrong_static_key_meets_silence(void **state)
{
	struct sess_params pa = {
		.initiator = true, .me = &alice, .remote_static = alice.pub.box
	};
	struct sess_params pb = { .me = &bob };
	struct buf w = BUF_MAX(KIB);
	struct pair p;

	(void)state;
	assert_int_equal(sess_new(&pa, &p.a), ERR_OK);
	assert_int_equal(sess_new(&pb, &p.b), ERR_OK);
	assert_int_equal(sess_pull(p.a, KIB, &w), ERR_OK);
	assert_int_equal(sess_recv(p.b, buf_slice(&w)), ERR_AUTH);
	buf_reset(&w);
	assert_int_equal(sess_pull(p.b, KIB, &w), ERR_AUTH);
	assert_int_equal(w.n, 0);
	buf_fini(&w);
	pair_free(&p);
}

/* domain: two versions of the wire format (docs/protocol.md 8). */
static void
test_both_speak_the_newest_they_share_or_say_that_there_is_none(void **state)
{
	static const struct {
		uint8_t a[2], b[2]; /* oldest, newest */
		uint8_t version;    /* 0: none */
	} v[] = { { { 1, 1 }, { 1, 1 }, 1 }, { { 1, 2 }, { 1, 1 }, 1 },
		{ { 1, 3 }, { 2, 9 }, 3 }, { { 2, 2 }, { 1, 1 }, 0 },
		{ { 1, 1 }, { 2, 3 }, 0 }, { { 5, 4 }, { 1, 9 }, 0 } };

	(void)state;
	for (size_t k = 0; k < sizeof(v) / sizeof(v[0]); k++) {
		struct sess_params pa = { .initiator = true,
			.me = &alice,
			.remote_static = bob.pub.box,
			.oldest = v[k].a[0],
			.newest = v[k].a[1] };
		struct sess_params pb = {
			.me = &bob, .oldest = v[k].b[0], .newest = v[k].b[1]
		};
		struct buf w = BUF_MAX(KIB);
		struct pair p;
		enum err e;

		assert_int_equal(sess_new(&pa, &p.a), ERR_OK);
		assert_int_equal(sess_new(&pb, &p.b), ERR_OK);
		pass(p.a, p.b);
		assert_int_equal(sess_pull(p.b, KIB, &w), ERR_OK);
		e = sess_recv(p.a, buf_slice(&w));
		assert_int_equal(
		    e, v[k].version == 0 ? ERR_UNSUPPORTED : ERR_OK);
		if (e == ERR_OK) {
			pass(p.a, p.b);
			assert_int_equal(sess_version(p.a), v[k].version);
			assert_int_equal(sess_version(p.b), v[k].version);
		}
		buf_fini(&w);
		pair_free(&p);
	}
}

static void
test_certificate_must_name_the_static_key(void **state)
{
	struct cry_identity thief = alice;
	struct sess_params pa = {
		.initiator = true, .me = &thief, .remote_static = bob.pub.box
	};
	struct sess_params pb = { .me = &bob };
	struct buf w = BUF_MAX(KIB);
	struct pair p;

	(void)state;
	thief.cert = bob.cert; /* well signed, but of another key */
	assert_int_equal(sess_new(&pa, &p.a), ERR_OK);
	assert_int_equal(sess_new(&pb, &p.b), ERR_OK);
	pass(p.a, p.b);
	pass(p.b, p.a);
	assert_int_equal(sess_pull(p.a, KIB, &w), ERR_OK);
	assert_int_equal(sess_recv(p.b, buf_slice(&w)), ERR_AUTH);
	assert_false(sess_up(p.b));
	buf_fini(&w);
	pair_free(&p);
}

static void
send(struct sess *s, enum sess_class c, uint8_t type, size_t n)
{
	uint8_t *body = mem_array(n + 1, 1);

	assert_non_null(body);
	for (size_t i = 0; i < n; i++)
		body[i] = (uint8_t)(i * 7 + type);
	assert_int_equal(sess_send(s, c, type, slice_of(body, n)), ERR_OK);
	mem_free(body);
}

static void
check(const struct sess_msg *m, enum sess_class c, uint8_t type, size_t n)
{
	assert_int_equal(m->cls, c);
	assert_int_equal(m->type, type);
	assert_int_equal(m->body.n, n);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(m->body.p[i], (uint8_t)(i * 7 + type));
}

static void
test_stream_split_at_every_byte(void **state)
{
	struct buf w = BUF_MAX(MIB);
	struct sess_msg m;
	struct pair p;

	(void)state;
	pair_new(&p);
	/* handshake itself byte by byte */
	for (int turn = 0; turn < 3; turn++) {
		struct sess *from = turn == 1 ? p.b : p.a;
		struct sess *to = turn == 1 ? p.a : p.b;

		buf_reset(&w);
		assert_int_equal(sess_pull(from, MIB, &w), ERR_OK);
		for (size_t i = 0; i < w.n; i++)
			assert_int_equal(
			    sess_recv(to, slice_of(w.p + i, 1)), ERR_OK);
	}
	assert_true(sess_up(p.b));
	for (size_t cut = 1;; cut++) {
		uint8_t type = (uint8_t)cut;

		send(p.a, SESS_CONTROL, type, 5);
		send(p.a, SESS_OPS, type, 0);
		send(p.a, SESS_BULK, type, 40);
		buf_reset(&w);
		assert_int_equal(sess_pull(p.a, MIB, &w), ERR_OK);
		if (cut >= w.n) {
			assert_int_equal(sess_recv(p.b, buf_slice(&w)), ERR_OK);
			break;
		}
		assert_int_equal(sess_recv(p.b, slice_of(w.p, cut)), ERR_OK);
		assert_int_equal(
		    sess_recv(p.b, slice_of(w.p + cut, w.n - cut)), ERR_OK);
		assert_int_equal(sess_next(p.b, &m), ERR_OK);
		check(&m, SESS_CONTROL, type, 5);
		assert_int_equal(sess_next(p.b, &m), ERR_OK);
		check(&m, SESS_OPS, type, 0);
		assert_int_equal(sess_next(p.b, &m), ERR_OK);
		check(&m, SESS_BULK, type, 40);
		assert_int_equal(sess_next(p.b, &m), ERR_AGAIN);
	}
	buf_fini(&w);
	pair_free(&p);
}

static void
test_sizes_around_the_frame_and_the_largest(void **state)
{
	static const size_t sizes[] = { 16364, 16365, 16366, 32730, 32731,
		LIM_MESSAGE_BYTES };
	static uint8_t big[LIM_MESSAGE_BYTES + 1];
	struct sess_msg m;
	struct pair p;

	(void)state;
	pair_new(&p);
	shake(&p);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		send(p.a, SESS_BULK, 9, sizes[i]);
		pass(p.a, p.b);
		assert_int_equal(sess_next(p.b, &m), ERR_OK);
		check(&m, SESS_BULK, 9, sizes[i]);
	}
	assert_int_equal(
	    sess_send(p.a, SESS_BULK, 1, slice_of(big, sizeof(big))),
	    ERR_LIMIT);
	assert_int_equal(
	    sess_send(p.a, SESS_CONTROL, 1, slice_of(big, 64 * KIB + 1)),
	    ERR_LIMIT);
	pair_free(&p);
}

static void
test_every_tampered_byte_ends_the_session(void **state)
{
	struct buf w = BUF_MAX(KIB);
	size_t n = 0;

	(void)state;
	for (size_t i = 0; i <= n; i++) {
		struct sess_msg m;
		struct pair p;
		enum err e;

		pair_new(&p);
		shake(&p);
		send(p.a, SESS_OPS, 3, 20);
		buf_reset(&w);
		assert_int_equal(sess_pull(p.a, KIB, &w), ERR_OK);
		n = w.n - 1;
		w.p[i] ^= 1;
		e = sess_recv(p.b, buf_slice(&w));
		if (e == ERR_OK)
			e = sess_next(p.b, &m);
		/* a longer length waits for bytes that fail then */
		if (e == ERR_AGAIN) {
			assert_true(i < 2);
			assert_int_equal(sess_recv(p.b, buf_slice(&w)), ERR_OK);
			for (int k = 0; k < 400 && e == ERR_AGAIN; k++) {
				assert_int_equal(
				    sess_recv(p.b, buf_slice(&w)), ERR_OK);
				e = sess_next(p.b, &m);
			}
		}
		assert_true(e == ERR_AUTH || e == ERR_MALFORMED);
		/* and it stays dead */
		assert_int_equal(sess_recv(p.b, buf_slice(&w)), e);
		assert_int_equal(sess_next(p.b, &m), e);
		assert_int_equal(
		    sess_send(p.b, SESS_OPS, 1, SLICE_LIT("x")), e);
		pair_free(&p);
	}
	buf_fini(&w);
}

static void
test_replayed_or_dropped_frame_ends_the_session(void **state)
{
	struct buf w = BUF_MAX(KIB);
	struct sess_msg m;
	struct pair p;

	(void)state;
	pair_new(&p);
	shake(&p);
	send(p.a, SESS_OPS, 3, 20);
	assert_int_equal(sess_pull(p.a, KIB, &w), ERR_OK);
	assert_int_equal(sess_recv(p.b, buf_slice(&w)), ERR_OK);
	assert_int_equal(sess_next(p.b, &m), ERR_OK);
	assert_int_equal(sess_recv(p.b, buf_slice(&w)), ERR_OK);
	assert_int_equal(sess_next(p.b, &m), ERR_AUTH);
	pair_free(&p);
	pair_new(&p);
	shake(&p);
	send(p.a, SESS_OPS, 3, 20);
	buf_reset(&w);
	assert_int_equal(sess_pull(p.a, KIB, &w), ERR_OK); /* lost */
	send(p.a, SESS_OPS, 3, 20);
	buf_reset(&w);
	assert_int_equal(sess_pull(p.a, KIB, &w), ERR_OK);
	assert_int_equal(sess_recv(p.b, buf_slice(&w)), ERR_OK);
	assert_int_equal(sess_next(p.b, &m), ERR_AUTH);
	buf_fini(&w);
	pair_free(&p);
}

static void
test_control_overtakes_queued_bulk(void **state)
{
	struct buf w = BUF_MAX(4 * MIB);
	struct sess_msg m;
	struct pair p;

	(void)state;
	pair_new(&p);
	shake(&p);
	send(p.a, SESS_BULK, 1, MIB);
	send(p.a, SESS_OPS, 2, 200000);
	/* some frames of bulk are on the wire already */
	assert_int_equal(sess_pull(p.a, 50000, &w), ERR_OK);
	send(p.a, SESS_CONTROL, 3, 10);
	assert_int_equal(sess_pull(p.a, 1, &w), ERR_OK); /* one frame more */
	assert_int_equal(sess_recv(p.b, buf_slice(&w)), ERR_OK);
	assert_int_equal(sess_next(p.b, &m), ERR_OK);
	check(&m, SESS_CONTROL, 3, 10);
	assert_int_equal(sess_next(p.b, &m), ERR_AGAIN);
	/* ops and bulk take turns: the shorter is whole first */
	pass(p.a, p.b);
	assert_int_equal(sess_next(p.b, &m), ERR_OK);
	check(&m, SESS_OPS, 2, 200000);
	assert_int_equal(sess_next(p.b, &m), ERR_OK);
	check(&m, SESS_BULK, 1, MIB);
	buf_fini(&w);
	pair_free(&p);
}

static void
test_queues_are_bounded_per_class(void **state)
{
	static uint8_t body[64 * KIB];
	struct pair p;
	enum err e = ERR_OK;
	int n;

	(void)state;
	pair_new(&p);
	shake(&p);
	for (n = 0; e == ERR_OK && n < 1000; n++)
		e = sess_send(
		    p.a, SESS_CONTROL, 1, slice_of(body, sizeof(body)));
	assert_int_equal(e, ERR_BUSY);
	assert_true(sess_backlog(p.a) <= 600 * KIB);
	/* another class still has room, and the session lives on */
	send(p.a, SESS_BULK, 2, 10);
	pair_free(&p);
}

static void
test_keys_change_every_65536_frames(void **state)
{
	struct sess_msg m;
	struct pair p;

	(void)state;
	pair_new(&p);
	shake(&p);
	for (uint32_t i = 0; i < 65536 + 10; i += 64) {
		for (int k = 0; k < 64; k++)
			send(p.a, SESS_OPS, 5, 1);
		pass(p.a, p.b);
		for (int k = 0; k < 64; k++)
			assert_int_equal(sess_next(p.b, &m), ERR_OK);
	}
	pair_free(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_both_ends_learn_the_other_and_one_hash),
		cmocka_unit_test(test_wrong_static_key_meets_silence),
		cmocka_unit_test(
		    test_both_speak_the_newest_they_share_or_say_that_there_is_none),
		cmocka_unit_test(test_certificate_must_name_the_static_key),
		cmocka_unit_test(test_stream_split_at_every_byte),
		cmocka_unit_test(test_sizes_around_the_frame_and_the_largest),
		cmocka_unit_test(test_every_tampered_byte_ends_the_session),
		cmocka_unit_test(
		    test_replayed_or_dropped_frame_ends_the_session),
		cmocka_unit_test(test_control_overtakes_queued_bulk),
		cmocka_unit_test(test_queues_are_bounded_per_class),
		cmocka_unit_test(test_keys_change_every_65536_frames),
	};
	struct cry_box_sk recovery;

	if (cry_init() != ERR_OK)
		return 1;
	cry_identity_new(&alice, &recovery);
	cry_identity_new(&bob, &recovery);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
