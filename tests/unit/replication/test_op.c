/* Ops, packing lists and heads: what is built opens, what is touched fails. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "replication/op.h"
#include "store/base/enc.h"

static const struct cry_key epoch_key = { .b = { 1, 2, 3 } };

static struct op_header
header(void)
{
	struct op_header h = { .kind = OP_ASSET_PUT,
		.epoch = 1,
		.seq = 1,
		.lamport = 1,
		.wall_ms = 1700000000000 };

	memset(h.feed.b, 7, sizeof(h.feed.b));
	return h;
}

static void
build(struct slice plain, struct slice packing, struct buf *out)
{
	struct op_header h = header();
	struct cry_id id;

	*out = BUF_MAX(MIB);
	assert_int_equal(
	    op_build(&h, &epoch_key, plain, packing, out, &id), ERR_OK);
}

static void
test_op_round_trip_for_every_padding_class(void **state)
{
	static const size_t sizes[] = { 0, 1, 62, 63, 64, 65, 1000, 1023, 1024,
		1025, 70000, 240000 };
	static uint8_t plain[240000];

	(void)state;
	for (size_t i = 0; i < sizeof(plain); i++)
		plain[i] = (uint8_t)(i * 31);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct slice in = slice_of(plain, sizes[i]);
		struct buf op, back = BUF_MAX(MIB);
		struct op_view v;

		build(in, slice_of(NULL, 0), &op);
		assert_int_equal(op_decode(buf_slice(&op), &v), ERR_OK);
		assert_int_equal(op_open(&v, &epoch_key, &back), ERR_OK);
		assert_true(slice_eq(in, buf_slice(&back)));
		assert_true(v.payload.n >= sizes[i] + 41);
		assert_true(v.payload.n <= sizes[i] + sizes[i] / 8 + 41 + 64);
		buf_fini(&op);
		buf_fini(&back);
	}
}

static void
test_op_size_does_not_show_small_differences(void **state)
{
	struct buf a, b;

	(void)state;
	build(SLICE_LIT("x"), slice_of(NULL, 0), &a);
	build(SLICE_LIT("a rather longer text"), slice_of(NULL, 0), &b);
	assert_int_equal(a.n, b.n);
	buf_fini(&a);
	buf_fini(&b);
}

static void
test_op_every_flipped_bit_is_refused_or_changes_the_id(void **state)
{
	struct op_chunk c = { .c_len = 77 };
	struct buf op, packing = BUF_MAX(KIB), plain = BUF_MAX(KIB);
	struct op_view v, w;

	(void)state;
	assert_int_equal(op_packing_encode(&c, 1, &packing), ERR_OK);
	build(SLICE_LIT("payload"), buf_slice(&packing), &op);
	assert_int_equal(op_decode(buf_slice(&op), &v), ERR_OK);
	for (size_t i = 0; i < op.n * 8; i++) {
		op.p[i / 8] ^= (uint8_t)(1 << i % 8);
		if (op_decode(buf_slice(&op), &w) == ERR_OK) {
			/* only in the header, and then it is another op */
			assert_true(i / 8 < v.header.n);
			assert_memory_not_equal(&v.id, &w.id, sizeof(v.id));
			buf_reset(&plain);
			assert_int_equal(
			    op_open(&w, &epoch_key, &plain), ERR_AUTH);
		}
		op.p[i / 8] ^= (uint8_t)(1 << i % 8);
	}
	buf_fini(&op);
	buf_fini(&packing);
	buf_fini(&plain);
}

static void
test_op_every_truncation_is_refused(void **state)
{
	struct buf op;
	struct op_view v;

	(void)state;
	build(SLICE_LIT("payload"), slice_of(NULL, 0), &op);
	for (size_t n = 0; n < op.n; n++)
		assert_int_not_equal(op_decode(slice_of(op.p, n), &v), ERR_OK);
	buf_u8(&op, 0);
	assert_int_equal(op_decode(buf_slice(&op), &v), ERR_TRAILING);
	buf_fini(&op);
}

static void
test_op_wrong_key_does_not_open(void **state)
{
	struct cry_key other = { .b = { 9 } };
	struct buf op, plain = BUF_MAX(KIB);
	struct op_view v;

	(void)state;
	build(SLICE_LIT("payload"), slice_of(NULL, 0), &op);
	assert_int_equal(op_decode(buf_slice(&op), &v), ERR_OK);
	assert_int_equal(op_open(&v, &other, &plain), ERR_AUTH);
	assert_int_equal(plain.n, 0);
	buf_fini(&op);
	buf_fini(&plain);
}

static void
test_op_refuses_critical_flags_and_bad_form(void **state)
{
	struct op_header h;
	struct buf out = BUF_MAX(MIB);
	struct cry_id id;
	static uint8_t big[LIM_OP_PAYLOAD_BYTES];

	(void)state;
	h = header();
	h.flags = 0x0100;
	assert_int_equal(op_build(&h, &epoch_key, SLICE_LIT(""),
			     slice_of(NULL, 0), &out, &id),
	    ERR_UNSUPPORTED);
	h = header();
	h.seq = 2; /* prev missing */
	assert_int_equal(op_build(&h, &epoch_key, SLICE_LIT(""),
			     slice_of(NULL, 0), &out, &id),
	    ERR_MALFORMED);
	h = header();
	h.n_deps = LIM_OP_DEPS + 1;
	assert_int_equal(op_build(&h, &epoch_key, SLICE_LIT(""),
			     slice_of(NULL, 0), &out, &id),
	    ERR_LIMIT);
	h = header();
	assert_int_equal(op_build(&h, &epoch_key, slice_of(big, sizeof(big)),
			     slice_of(NULL, 0), &out, &id),
	    ERR_LIMIT);
	assert_int_equal(out.n, 0);
	buf_fini(&out);
}

/* The format is final: these bytes never change. */
static void
test_op_golden_header_and_id(void **state)
{
	static const char want_id[] =
	    "046d6b6c4411ed49d509544f8abfc3dc53ef507f6b6b11bb47ee7d74f8aa85c6";
	char hex[65];
	struct buf op;
	struct op_view v;

	(void)state;
	build(SLICE_LIT("golden"), slice_of(NULL, 0), &op);
	assert_int_equal(op_decode(buf_slice(&op), &v), ERR_OK);
	assert_int_equal(v.header.n, 154);
	assert_int_equal(v.payload.n, 24 + 64 + 16);
	enc_hex(slice_of(v.id.b, sizeof(v.id.b)), hex);
	assert_string_equal(hex, want_id);
	buf_fini(&op);
}

static void
test_packing_sorts_drops_doubles_and_bounds(void **state)
{
	struct op_chunk c[4] = { 0 }, lie[2] = { 0 };
	struct buf out = BUF_MAX(MIB);
	uint32_t n;

	(void)state;
	for (int i = 0; i < 4; i++)
		c[i].c_len = 100;
	c[0].cid.b[0] = 9;
	c[1].cid.b[0] = 3;
	c[2].cid.b[0] = 9;
	c[3].cid.b[0] = 5;
	assert_int_equal(op_packing_encode(c, 4, &out), ERR_OK);
	assert_int_equal(op_packing_check(buf_slice(&out), &n), ERR_OK);
	assert_int_equal(n, 3);
	assert_int_equal(op_packing_at(buf_slice(&out), 0).cid.b[0], 3);
	assert_int_equal(op_packing_at(buf_slice(&out), 2).cid.b[0], 9);
	out.p[5] = 0xff; /* order broken */
	assert_int_equal(op_packing_check(buf_slice(&out), &n), ERR_MALFORMED);
	buf_reset(&out);
	lie[0].c_len = 1;
	lie[1].c_len = 2;
	assert_int_equal(op_packing_encode(lie, 2, &out), ERR_MALFORMED);
	lie[1].c_len = OP_CHUNK_BYTES_MAX + 1;
	assert_int_equal(op_packing_encode(lie + 1, 1, &out), ERR_LIMIT);
	lie[1].c_len = OP_CHUNK_BYTES_MAX;
	assert_int_equal(op_packing_encode(lie + 1, 1, &out), ERR_OK);
	buf_fini(&out);
}

static void
test_packing_count_at_and_above_its_limit(void **state)
{
	static struct op_chunk c[OP_CHUNKS_MAX + 1];
	struct buf out = BUF_MAX(MIB);

	(void)state;
	for (uint32_t i = 0; i <= OP_CHUNKS_MAX; i++) {
		c[i].cid.b[0] = (uint8_t)(i >> 16);
		c[i].cid.b[1] = (uint8_t)(i >> 8);
		c[i].cid.b[2] = (uint8_t)i;
		c[i].c_len = 1;
	}
	assert_int_equal(op_packing_encode(c, OP_CHUNKS_MAX, &out), ERR_OK);
	assert_int_equal(out.n, OP_PACKING_BYTES_MAX);
	buf_reset(&out);
	assert_int_equal(
	    op_packing_encode(c, OP_CHUNKS_MAX + 1, &out), ERR_LIMIT);
	buf_fini(&out);
}

static void
test_head_signature_covers_every_byte(void **state)
{
	struct op_head h = { .seq = 3, .lamport = 5 }, back;
	struct cry_sign_pk pk;
	struct cry_sign_sk sk;
	struct buf b = BUF_MAX(KIB);

	(void)state;
	cry_sign_keypair(&pk, &sk);
	op_head_sign(&h, &sk);
	op_head_encode(&h, &b);
	assert_int_equal(b.n, OP_HEAD_BYTES);
	assert_int_equal(op_head_decode(buf_slice(&b), &back), ERR_OK);
	assert_int_equal(op_head_verify(&back, &pk), ERR_OK);
	for (size_t i = 0; i < b.n; i++) {
		b.p[i] ^= 1;
		if (op_head_decode(buf_slice(&b), &back) == ERR_OK)
			assert_int_equal(op_head_verify(&back, &pk), ERR_AUTH);
		b.p[i] ^= 1;
	}
	buf_fini(&b);
}

/* Computed apart from the code, from docs/protocol.md section 3. */
static void
test_golden_feed_id(void **state)
{
	struct op_feed f = { .compartment = 0x0203,
		.incarnation = 0x0102030405060708 };
	struct feed_id id;
	char hex[33];

	(void)state;
	memset(f.share.b, 0x11, sizeof(f.share.b));
	memset(f.device.b, 0x44, sizeof(f.device.b));
	op_feed_id(&f, &id);
	enc_hex(slice_of(id.b, sizeof(id.b)), hex);
	assert_string_equal(hex, "0783a3e49f9333847526e92df01ed38f");
}

static void
test_feed_id_depends_on_every_part(void **state)
{
	struct op_feed f = { .compartment = 1, .incarnation = 1 }, g;
	struct feed_id a, b;

	(void)state;
	op_feed_id(&f, &a);
	for (int i = 0; i < 4; i++) {
		g = f;
		if (i == 0)
			g.share.b[0] = 1;
		else if (i == 1)
			g.compartment = 2;
		else if (i == 2)
			g.device.b[0] = 1;
		else
			g.incarnation = 2;
		op_feed_id(&g, &b);
		assert_memory_not_equal(&a, &b, sizeof(a));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_op_round_trip_for_every_padding_class),
		cmocka_unit_test(test_op_size_does_not_show_small_differences),
		cmocka_unit_test(
		    test_op_every_flipped_bit_is_refused_or_changes_the_id),
		cmocka_unit_test(test_op_every_truncation_is_refused),
		cmocka_unit_test(test_op_wrong_key_does_not_open),
		cmocka_unit_test(test_op_refuses_critical_flags_and_bad_form),
		cmocka_unit_test(test_op_golden_header_and_id),
		cmocka_unit_test(test_packing_sorts_drops_doubles_and_bounds),
		cmocka_unit_test(test_packing_count_at_and_above_its_limit),
		cmocka_unit_test(test_head_signature_covers_every_byte),
		cmocka_unit_test(test_golden_feed_id),
		cmocka_unit_test(test_feed_id_depends_on_every_part),
	};

	if (cry_init() != ERR_OK)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
