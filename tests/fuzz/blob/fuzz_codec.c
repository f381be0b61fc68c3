/* tests/fuzz/blob/fuzz_codec.c: any bytes as a coded piece, under any header:
 * u8 codec, u8 zero, u16 row, u32 raw length, then Z.  Besides, the same
 * bytes as plaintext: what is encoded decodes to itself. */
#include <stdlib.h>

#include "store/base/rd.h"
#include "store/blob/blob_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void
hostile(struct codec *c, struct slice in)
{
	struct rd r = rd_init(in);
	struct codec_choice how;
	struct buf out = BUF_MAX(LIM_PIECE_BYTES);
	uint32_t raw_len;
	struct slice z;

	how.id = (enum blob_codec)rd_u8(&r);
	rd_u8(&r);
	how.row = rd_u16(&r);
	raw_len = rd_u32(&r);
	z = rd_rest(&r);
	if (codec_decode(c, how, z, raw_len, &out) == ERR_OK)
		REQUIRE(out.n == raw_len);
	else
		REQUIRE(out.n == 0);
	buf_fini(&out);
}

static void
round_trip(struct codec *c, struct slice in)
{
	struct codec_hint hint = { (uint8_t)(in.p[0] % 5 * 8),
		(uint16_t)(in.p[0] % 50) };
	struct buf z = BUF_MAX(2 * LIM_PIECE_BYTES), out = BUF_MAX(in.n);
	struct codec_choice used;

	REQUIRE(codec_encode(c, in, hint, &used, &z) == ERR_OK);
	REQUIRE(codec_decode(c, used, buf_slice(&z), (uint32_t)in.n, &out) ==
		ERR_OK);
	REQUIRE(slice_eq(buf_slice(&out), in));
	buf_fini(&z);
	buf_fini(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct codec *c;
	uint8_t *copy;

	if (n == 0 || n > LIM_PIECE_BYTES)
		return 0;
	c = codec_new();
	REQUIRE(c != NULL);
	copy = malloc(n); /* its end is guarded */
	memcpy(copy, data, n);
	hostile(c, slice_of(copy, n));
	round_trip(c, slice_of(copy, n));
	codec_free(c);
	free(copy);
	return 0;
}
