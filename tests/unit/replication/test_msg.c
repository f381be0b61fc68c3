/* Messages: every type decodes to what was encoded, to the byte, within its
 * bounds, and the bytes never change (golden). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "replication/msg.h"
#include "store/base/enc.h"

static const uint8_t types[] = {
	MSG_OPEN,
	MSG_CREDIT,
	MSG_PING,
	MSG_PONG,
	MSG_MLOG_REQ,
	MSG_MLOG,
	MSG_ROOT,
	MSG_FRONT,
	MSG_OPS_REQ,
	MSG_OPS,
	MSG_OPS_NONE,
	MSG_HAVE,
	MSG_GET,
	MSG_CHUNK,
	MSG_NOT_HAVE,
	MSG_CLAIM,
	MSG_PUSH,
	MSG_IHAVE,
	MSG_GRAFT,
	MSG_PRUNE,
	MSG_CANCEL,
	MSG_BUSY,
	MSG_CHALLENGE,
	MSG_PROOF,
	MSG_STATEMENT,
	MSG_RBSR,
	MSG_NEED,
	MSG_WITNESS,
	MSG_WITNESSES,
};

#define N_TYPES (sizeof(types) / sizeof(types[0]))

/* As much of an op as a decoder of messages looks at: its header, a payload
 * and a packing list. */
static void
op_like(uint8_t seq, struct buf *b)
{
	uint8_t h[154] = { 1, 1 };

	h[4] = 1; /* epoch */
	memset(h + 8, 0xD4, 16);
	h[24] = seq;
	h[32] = seq;
	h[144] = 3;
	h[148] = 2;
	buf_put(b, h, sizeof(h));
	buf_put(b, "abcde", 5);
}

static void
shorts(struct buf *b)
{
	struct msg_short f = { .seq = 5 };

	memset(f.feed, 0xE5, sizeof(f.feed));
	msg_short_put(&f, b);
	f.seq = 300;
	msg_short_put(&f, b);
}

/* A message of the type with every field set to something. */
static struct msg
sample(uint8_t type, struct buf *items, struct buf *names)
{
	struct msg m = { .type = type,
		.compartment = 0x0102,
		.flags = 1,
		.seq = 0x1122334455667788,
		.incarnation = 7,
		.base = 0x3344556677889900,
		.c_len = 1000,
		.off = 10,
		.n = 2 };

	*items = BUF_MAX(MIB);
	if (type == MSG_CHALLENGE || type == MSG_PROOF)
		m.n = 1;
	*names = BUF_MAX(MIB);
	shorts(names);
	m.n_shorts = 2;
	m.shorts = buf_slice(names);
	memset(m.head.sig.b, 0xF6, sizeof(m.head.sig.b));
	memset(m.tag.b, 0xA1, sizeof(m.tag.b));
	memset(m.id.b, 0xB2, sizeof(m.id.b));
	memset(m.device.b, 0xC3, sizeof(m.device.b));
	for (uint32_t i = 0; i < SESS_CLASSES; i++)
		m.credit[i] = 100 + i;
	m.bytes = SLICE_LIT("bytes");
	for (uint16_t i = 0; i < m.n; i++) {
		struct msg_root root = { .compartment = i, .ops = 9 };
		struct msg_front front = { .incarnation = 5, .seq = 6 };

		if (type == MSG_OPEN)
			msg_root_put(&root, items);
		else if (type == MSG_FRONT || type == MSG_IHAVE)
			msg_front_put(&front, items);
		else if (type == MSG_MLOG)
			msg_blob_put(SLICE_LIT("blob"), items);
		else if (type == MSG_OPS || type == MSG_PUSH)
			op_like((uint8_t)(i + 1), items);
		else
			buf_put_zero(
			    items, type == MSG_PROOF ? MSG_PROOF_BYTES : 32);
	}
	m.items = buf_slice(items);
	return m;
}

static void
encode(uint8_t type, struct buf *out)
{
	struct buf items, names;
	struct msg m = sample(type, &items, &names);

	*out = BUF_MAX(MIB);
	assert_int_equal(msg_encode(&m, out), ERR_OK);
	buf_fini(&items);
	buf_fini(&names);
}

static void
test_every_type_round_trips(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_TYPES; i++) {
		struct buf a, b = BUF_MAX(MIB);
		struct msg m;

		encode(types[i], &a);
		assert_int_equal(
		    msg_decode(types[i], buf_slice(&a), &m), ERR_OK);
		assert_int_equal(m.type, types[i]);
		assert_int_equal(msg_encode(&m, &b), ERR_OK);
		assert_true(slice_eq(buf_slice(&a), buf_slice(&b)));
		buf_fini(&a);
		buf_fini(&b);
	}
}

static void
test_every_truncation_and_any_tail_is_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_TYPES; i++) {
		/* these end in "the rest", so a shorter rest is fine */
		bool open_end = types[i] == MSG_CHUNK ||
				types[i] == MSG_CLAIM ||
				types[i] == MSG_STATEMENT ||
				types[i] == MSG_RBSR || types[i] == MSG_WITNESS;
		struct buf a;
		struct msg m;

		encode(types[i], &a);
		for (size_t n = 0; n < a.n; n++) {
			if (open_end && n + 4 >= a.n)
				break;
			assert_int_not_equal(
			    msg_decode(types[i], slice_of(a.p, n), &m), ERR_OK);
		}
		if (!open_end) {
			buf_u8(&a, 0);
			assert_int_equal(
			    msg_decode(types[i], buf_slice(&a), &m),
			    ERR_TRAILING);
		}
		buf_fini(&a);
	}
}

static void
test_unknown_types_are_refused(void **state)
{
	struct msg m;

	(void)state;
	for (int t = 0; t < 256; t++) {
		bool known = false;

		for (size_t i = 0; i < N_TYPES; i++)
			known |= types[i] == t;
		if (!known)
			assert_int_equal(
			    msg_decode((uint8_t)t, SLICE_LIT(""), &m),
			    ERR_UNSUPPORTED);
	}
}

static void
put_list(struct buf *b, uint8_t type, uint32_t n, size_t item)
{
	buf_reset(b);
	buf_put_zero(b, 16); /* tag */
	if (type == MSG_OPEN)
		buf_put_zero(b, 40);
	else
		buf_put_zero(b, 2);
	if (type == MSG_GET || type == MSG_FRONT)
		buf_u8(b, 0);
	if (type == MSG_FRONT)
		buf_put_zero(b, 8 + 4); /* base, no shorts */
	buf_u32(b, n);
	buf_put_zero(b, n * item);
}

static void
test_lists_at_and_above_their_limits(void **state)
{
	static const struct {
		uint8_t type;
		uint32_t max;
		size_t item;
	} rows[] = {
		{ MSG_OPEN, LIM_COMPARTMENTS, MSG_ROOT_BYTES },
		{ MSG_FRONT, MSG_FRONT_MAX, MSG_FRONT_BYTES },
		{ MSG_HAVE, MSG_CIDS_MAX, 32 },
		{ MSG_GET, MSG_CIDS_MAX, 32 },
		{ MSG_NOT_HAVE, MSG_CIDS_MAX, 32 },
		{ MSG_CANCEL, MSG_CIDS_MAX, 32 },
	};
	struct buf b = BUF_MAX(MIB);
	struct msg m;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		put_list(&b, rows[i].type, rows[i].max, rows[i].item);
		assert_int_equal(
		    msg_decode(rows[i].type, buf_slice(&b), &m), ERR_OK);
		assert_int_equal(m.n, rows[i].max);
		put_list(&b, rows[i].type, rows[i].max + 1, rows[i].item);
		assert_int_equal(
		    msg_decode(rows[i].type, buf_slice(&b), &m), ERR_LIMIT);
	}
	buf_fini(&b);
}

static void
test_claim_and_chunk_bytes_at_and_above_their_limits(void **state)
{
	struct buf b = BUF_MAX(2 * MIB);
	struct msg m;

	(void)state;
	buf_put_zero(&b, 16 + 512);
	assert_int_equal(msg_decode(MSG_CLAIM, buf_slice(&b), &m), ERR_OK);
	buf_u8(&b, 0);
	assert_int_equal(msg_decode(MSG_CLAIM, buf_slice(&b), &m), ERR_LIMIT);
	buf_reset(&b);
	buf_put_zero(&b, 40 + MSG_CHUNK_BYTES_MAX);
	assert_int_equal(msg_decode(MSG_CHUNK, buf_slice(&b), &m), ERR_OK);
	buf_u8(&b, 0);
	assert_int_equal(msg_decode(MSG_CHUNK, buf_slice(&b), &m), ERR_LIMIT);
	buf_fini(&b);
}

static void
test_blobs_walk_in_order(void **state)
{
	struct buf items = BUF_MAX(KIB), b = BUF_MAX(KIB);
	struct msg in = { .type = MSG_MLOG, .n = 3 }, m;
	size_t at = 0;

	(void)state;
	msg_blob_put(SLICE_LIT("a"), &items);
	msg_blob_put(SLICE_LIT("bcd"), &items);
	msg_blob_put(SLICE_LIT("ef"), &items);
	in.items = buf_slice(&items);
	assert_int_equal(msg_encode(&in, &b), ERR_OK);
	assert_int_equal(msg_decode(MSG_MLOG, buf_slice(&b), &m), ERR_OK);
	assert_true(slice_eq(msg_blob_next(&m, &at), SLICE_LIT("a")));
	assert_true(slice_eq(msg_blob_next(&m, &at), SLICE_LIT("bcd")));
	assert_true(slice_eq(msg_blob_next(&m, &at), SLICE_LIT("ef")));
	buf_fini(&items);
	buf_fini(&b);
}

static void
test_golden_bytes_of_every_type(void **state)
{
	static const char *const want[N_TYPES] = {
#include "golden_msg.inc"
	};
	char hex[65];

	(void)state;
	for (size_t i = 0; i < N_TYPES; i++) {
		struct cry_id id;
		struct buf a;

		encode(types[i], &a);
		cry_hash(buf_slice(&a), &id);
		enc_hex(slice_of(id.b, sizeof(id.b)), hex);
		assert_string_equal(hex, want[i]);
		buf_fini(&a);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_type_round_trips),
		cmocka_unit_test(test_every_truncation_and_any_tail_is_refused),
		cmocka_unit_test(test_unknown_types_are_refused),
		cmocka_unit_test(test_lists_at_and_above_their_limits),
		cmocka_unit_test(
		    test_claim_and_chunk_bytes_at_and_above_their_limits),
		cmocka_unit_test(test_blobs_walk_in_order),
		cmocka_unit_test(test_golden_bytes_of_every_type),
	};

	if (cry_init() != ERR_OK)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
