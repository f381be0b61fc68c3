/* Claims: every codec undoes itself on any length; incompressible pieces stay
 * as they are; hostile frames are refused before memory is taken; lengths are
 * padded as Padme says; cuts depend on content and key alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>

#include "lib/store_lib.h"
#include "store/base/mem.h"
#include "store/blob/blob_internal.h"

static enum err
decode(struct codec_choice how, struct slice z, uint32_t raw_len)
{
	struct buf out = BUF_MAX(LIM_PIECE_BYTES);
	struct codec *c = codec_new();
	enum err e;

	e = c == NULL ? ERR_NOMEM : codec_decode(c, how, z, raw_len, &out);
	if (e != ERR_OK)
		assert_int_equal(out.n, 0);
	codec_free(c);
	buf_fini(&out);
	return e;
}

static void
expect_codec(struct codec *c, struct slice raw, struct codec_hint hint,
    enum blob_codec want)
{
	struct buf z = BUF_MAX(2 * LIM_PIECE_BYTES);
	struct buf back = BUF_MAX(LIM_PIECE_BYTES);
	struct codec_choice used;

	assert_int_equal(codec_encode(c, raw, hint, &used, &z), ERR_OK);
	assert_int_equal(used.id, want);
	assert_true(z.n <= raw.n);
	assert_int_equal(
	    codec_decode(c, used, buf_slice(&z), (uint32_t)raw.n, &back),
	    ERR_OK);
	assert_true(slice_eq(buf_slice(&back), raw));
	buf_fini(&z);
	buf_fini(&back);
}

static void
test_each_codec_wins_where_it_should_and_undoes_itself(void **state)
{
	struct codec *c = codec_new();
	struct prng p = { 1 };
	size_t n = 256 * 300 * 2, i;
	uint8_t *d = malloc(n + 3);

	(void)state;
	prng_image(&p, d, n + 3, 256, 1);
	for (i = 0; i <= 3; i++) {
		struct slice s = slice_of(d, n + i);

		expect_codec(c, s, (struct codec_hint){ 16, 256 }, BLOB_WAVE);
		expect_codec(
		    c, s, (struct codec_hint){ 16, 0 }, BLOB_SHUFFLE2_ZSTD);
	}
	for (i = 0; i + 4 <= n; i += 4) { /* floats: 1.0 .. 2.0 */
		float f = 1.0f + (float)prng_below(&p, 4096) / 4096.0f;

		memcpy(d + i, &f, 4);
	}
	for (i = 0; i <= 3; i++)
		expect_codec(c, slice_of(d, n + i),
		    (struct codec_hint){ 32, 0 }, BLOB_SHUFFLE4_ZSTD);
	memset(d, 'a', n);
	expect_codec(c, slice_of(d, n), (struct codec_hint){ 0, 0 }, BLOB_ZSTD);
	prng_fill(&p, d, n);
	expect_codec(
	    c, slice_of(d, n), (struct codec_hint){ 16, 256 }, BLOB_RAW);
	expect_codec(
	    c, slice_of(d, 1), (struct codec_hint){ 16, 256 }, BLOB_RAW);
	free(d);
	codec_free(c);
}

/* A frame header that claims 2^27 bytes of window, then n of content. */
static void
test_hostile_frames_are_refused(void **state)
{
	static const uint8_t wide[] = { 0x28, 0xb5, 0x2f, 0xfd, 0x80, 0x88,
		0x10, 0, 0, 0, 1, 0, 0 };
	static const uint8_t bomb[] = { 0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0xff,
		0xff, 0xff, 0x7f, 1, 0, 0 };
	static const uint8_t skip[] = { 0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1,
		2, 3, 4 };
	struct codec_choice zstd = { BLOB_ZSTD, 0 };
	struct codec *c = codec_new();
	struct buf z = BUF_MAX(MIB);
	struct codec_choice used;
	uint8_t flat[1000] = { 0 };

	(void)state;
	assert_int_equal(
	    decode(zstd, slice_of(wide, sizeof(wide)), 16), ERR_LIMIT);
	assert_int_equal(
	    decode(zstd, slice_of(bomb, sizeof(bomb)), 16), ERR_MALFORMED);
	assert_int_equal(
	    decode(zstd, slice_of(bomb, sizeof(bomb)), 0x7fffffff), ERR_LIMIT);
	assert_int_equal(
	    decode(zstd, slice_of(skip, sizeof(skip)), 16), ERR_MALFORMED);
	assert_int_equal(decode(zstd, slice_of(NULL, 0), 16), ERR_MALFORMED);
	assert_int_equal(codec_encode(c, slice_of(flat, sizeof(flat)),
			     (struct codec_hint){ 0, 0 }, &used, &z),
	    ERR_OK);
	assert_int_equal(decode(used, buf_slice(&z), 1000), ERR_OK);
	assert_int_equal(decode(used, buf_slice(&z), 999), ERR_MALFORMED);
	assert_int_equal(decode(used, buf_slice(&z), 1001), ERR_MALFORMED);
	buf_put(&z, z.p, z.n); /* two frames */
	assert_int_equal(decode(used, buf_slice(&z), 1000), ERR_MALFORMED);
	used.id = (enum blob_codec)4;
	z.n /= 2;
	assert_int_equal(decode(used, buf_slice(&z), 1000), ERR_UNSUPPORTED);
	used.id = BLOB_WAVE;
	assert_int_equal(decode(used, buf_slice(&z), 1000), ERR_MALFORMED);
	buf_fini(&z);
	codec_free(c);
}

static void
test_raw_piece_limits(void **state)
{
	struct codec_choice raw = { BLOB_RAW, 0 };
	uint8_t *d = calloc(1, LIM_PIECE_BYTES + 1);

	(void)state;
	assert_int_equal(
	    decode(raw, slice_of(d, LIM_PIECE_BYTES), LIM_PIECE_BYTES), ERR_OK);
	assert_int_equal(
	    decode(raw, slice_of(d, LIM_PIECE_BYTES + 1), LIM_PIECE_BYTES + 1),
	    ERR_LIMIT);
	assert_int_equal(decode(raw, slice_of(d, 0), 0), ERR_LIMIT);
	assert_int_equal(decode(raw, slice_of(d, 3), 4), ERR_MALFORMED);
	free(d);
}

static void
test_padding_is_padme(void **state)
{
	/* values from the definition: E = floor(log2 L), S = bits of E */
	static const uint32_t pairs[][2] = { { 1, 1 }, { 2, 2 }, { 8, 8 },
		{ 9, 10 }, { 17, 18 }, { 1000, 1024 }, { 1024, 1024 },
		{ 1025, 1088 }, { 100000, 100352 }, { 524288, 524288 },
		{ 524289, 540672 }, { 4194304, 4194304 } };
	size_t i;
	uint32_t n;

	(void)state;
	for (i = 0; i < sizeof(pairs) / sizeof(*pairs); i++)
		assert_int_equal(blob_padded(pairs[i][0]), pairs[i][1]);
	for (n = 1; n < 5000000; n += 7919) {
		assert_true(blob_padded(n) >= n);
		assert_true(blob_padded(n) <= n + n / 8 + 1);
		assert_int_equal(blob_padded(blob_padded(n)), blob_padded(n));
	}
}

static void
test_cuts_are_bounded_and_follow_key_and_content(void **state)
{
	struct prng p = { 3 };
	uint64_t gear[256], other[256];
	size_t n = 8 * MIB, at = 0, cuts = 0, same = 0, k;
	uint8_t *d = malloc(n);

	(void)state;
	prng_fill(&p, d, n);
	prng_fill(&p, gear, sizeof(gear));
	prng_fill(&p, other, sizeof(other));
	while (at < n) {
		struct slice rest = slice_of(d + at, n - at);

		k = cdc_cut(gear, rest, 18);
		assert_int_equal(k, cdc_cut(gear, rest, 18));
		assert_true(k <= MIB);
		assert_true(k > 64 * KIB || k == rest.n);
		same += k == cdc_cut(other, rest, 18);
		cuts++;
		at += k;
	}
	assert_true(cuts >= 15 && cuts <= 60); /* about 256 KiB each */
	assert_true(same < cuts / 3);
	memset(d, 0, n); /* no cut points at all: the maximum bounds it */
	assert_int_equal(cdc_cut(gear, slice_of(d, n), 18), MIB);
	assert_int_equal(cdc_cut(gear, slice_of(d, n), 19), 2 * MIB);
	assert_int_equal(cdc_cut(gear, slice_of(d, 1), 18), 1);
	free(d);
}

static void
test_out_of_memory_is_an_error(void **state)
{
	struct codec *c = codec_new();
	struct buf z = BUF_MAX(MIB);
	struct codec_choice used;
	uint8_t d[5000] = { 0 };
	enum err e = ERR_NOMEM;
	long n;

	(void)state;
	for (n = 0; n < 50 && e != ERR_OK; n++) {
		buf_fini(&z);
		z = BUF_MAX(MIB);
		mem_fail_at(n);
		e = codec_encode(c, slice_of(d, sizeof(d)),
		    (struct codec_hint){ 16, 50 }, &used, &z);
		mem_fail_at(-1);
		assert_true(e == ERR_OK || e == ERR_NOMEM);
	}
	assert_int_equal(e, ERR_OK);
	mem_fail_at(0);
	assert_int_equal(decode(used, buf_slice(&z), sizeof(d)), ERR_NOMEM);
	mem_fail_at(-1);
	buf_fini(&z);
	codec_free(c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    test_each_codec_wins_where_it_should_and_undoes_itself),
		cmocka_unit_test(test_hostile_frames_are_refused),
		cmocka_unit_test(test_raw_piece_limits),
		cmocka_unit_test(test_padding_is_padme),
		cmocka_unit_test(
		    test_cuts_are_bounded_and_follow_key_and_content),
		cmocka_unit_test(test_out_of_memory_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
