/* tests/fuzz/blob/fuzz_wave.c: any bytes as rows of samples that were coded.
 *
 *   u8 kind of trial, u8 width, u16 rows, then Z or samples
 *
 * Every path of this machine gives the same verdict and the same bytes; what
 * is coded is the same bytes from every path and decodes to itself. */
#include <stdlib.h>

#include "store/base/rd.h"
#include "store/blob/wave_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void
same(const struct buf *a, const struct buf *b, enum err ea, enum err eb)
{
	REQUIRE(ea == eb);
	REQUIRE(slice_eq(buf_slice(a), buf_slice(b)));
}

/* Decoded by each path; the first is the reference. */
static enum err
decode_all(struct wave *c, struct slice z, uint32_t raw_len, struct buf *first)
{
	struct buf next = BUF_MAX(LIM_PIECE_BYTES);
	const struct wave_path *p;
	enum err e = ERR_OK, en;
	unsigned i;

	for (i = 0; (p = wave_path_at(i)) != NULL; i++) {
		wave_path_force(c, p);
		if (i == 0) {
			e = wave_decode(c, z, raw_len, first);
			REQUIRE(first->n == (e == ERR_OK ? raw_len : 0));
			continue;
		}
		buf_reset(&next);
		en = wave_decode(c, z, raw_len, &next);
		same(first, &next, e, en);
	}
	buf_fini(&next);
	return e;
}

static void
encode_all(struct wave *c, const struct wave_shape *sh, struct slice raw)
{
	struct buf z = BUF_MAX(3 * LIM_PIECE_BYTES), next = z;
	struct buf back = BUF_MAX(LIM_PIECE_BYTES);
	const struct wave_path *p;
	enum err e = ERR_OK, en;
	unsigned i;

	for (i = 0; (p = wave_path_at(i)) != NULL; i++) {
		wave_path_force(c, p);
		if (i == 0) {
			e = wave_encode(c, sh, raw, &z);
			continue;
		}
		buf_reset(&next);
		en = wave_encode(c, sh, raw, &next);
		same(&z, &next, e, en);
	}
	if (e == ERR_OK) {
		e = decode_all(c, buf_slice(&z), (uint32_t)raw.n, &back);
		REQUIRE(e == ERR_OK && slice_eq(buf_slice(&back), raw));
	}
	buf_fini(&z);
	buf_fini(&next);
	buf_fini(&back);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct rd r = rd_init(slice_of(data, n));
	uint8_t kind = rd_u8(&r), w = rd_u8(&r);
	uint16_t h = rd_u16(&r);
	struct slice rest = rd_rest(&r);
	struct buf out = BUF_MAX(LIM_PIECE_BYTES);
	uint8_t *copy;
	struct wave *c;

	if (r.err != ERR_OK || rest.n == 0 || rest.n > LIM_PIECE_BYTES)
		return 0;
	copy = malloc(rest.n); /* its end is guarded */
	memcpy(copy, rest.p, rest.n);
	c = wave_new();
	REQUIRE(c != NULL);
	if (kind % 2 == 0) {
		uint32_t len = (uint32_t)w * h * (kind % 4 == 0 ? 2 : 1);

		if (decode_all(c, slice_of(copy, rest.n), len, &out) == ERR_OK)
			REQUIRE(out.n == len);
	} else {
		struct wave_shape sh = { (enum wave_samples)(kind / 2 % 3), w,
			(kind & 64) != 0 };

		encode_all(c, &sh, slice_of(copy, rest.n));
	}
	wave_free(c);
	free(copy);
	buf_fini(&out);
	return 0;
}
