/* store/blob/blob_codec.c: making pieces smaller, exactly reversibly.
 *
 *   predictor: r[i] = x[i] - mean(left, up), zig-zag        (16-bit samples)
 *   shuffle:   all first bytes, all second bytes, ..., odd tail as it is
 *   zstd:      one frame with its content size
 *
 * Encoding tries the codecs that the hint allows on a sample and keeps the
 * best only if it saves 5 %.  Decoding never believes a frame: size, window
 * and number of frames are checked before anything is allocated for it. */
#include "store/blob/blob_internal.h"

#include <zstd.h>

#define ZSTD_LEVEL_PIXELS 1
#define ZSTD_LEVEL_SMALL 3 /* headers: few bytes, much text */
#define MIN_RAW 64u

struct codec {
	int level;
	ZSTD_CCtx *zc;
	struct buf tmp; /* filtered samples */
};

struct codec *
codec_new(void)
{
	struct codec *c = mem_new(sizeof(*c));

	if (c == NULL)
		return NULL;
	c->tmp = BUF_MAX(LIM_PIECE_BYTES);
	c->zc = ZSTD_createCCtx();
	if (c->zc == NULL) {
		mem_free(c);
		return NULL;
	}
	return c;
}

void
codec_free(struct codec *c)
{
	if (c == NULL)
		return;
	ZSTD_freeCCtx(c->zc);
	buf_wipe(&c->tmp);
	mem_free(c);
}

/* --- filters --- */

static inline uint16_t
sample_get(const uint8_t *p, size_t i)
{
	return (uint16_t)(p[2 * i] | p[2 * i + 1] << 8);
}

/* The mean along the shorter way round, so that it is the plain mean for
 * signed and for unsigned samples alike. */
static inline uint16_t
mean16(uint16_t a, uint16_t b)
{
	int16_t d = (int16_t)(uint16_t)(b - a);

	return (uint16_t)(a + (d >> 1));
}

static inline uint16_t
zigzag(uint16_t d)
{
	uint16_t sign = (uint16_t)(0 - (d >> 15));

	return (uint16_t)((uint16_t)(d << 1) ^ sign);
}

static inline uint16_t
unzigzag(uint16_t z)
{
	return (uint16_t)((z >> 1) ^ (uint16_t)(0 - (z & 1)));
}

static inline uint16_t
residual_get(const uint8_t *lo, const uint8_t *hi, size_t i)
{
	return unzigzag((uint16_t)(lo[i] | hi[i] << 8));
}

static inline void
residual_put(uint8_t *lo, uint8_t *hi, size_t i, uint16_t d)
{
	uint16_t z = zigzag(d);

	lo[i] = (uint8_t)z;
	hi[i] = (uint8_t)(z >> 8);
}

static inline void
sample_put(uint8_t *p, size_t i, uint16_t v)
{
	p[2 * i] = (uint8_t)v;
	p[2 * i + 1] = (uint8_t)(v >> 8);
}

/* lo and hi get the two halves of each residual: predictor and shuffle in
 * one pass.  up is NULL in the first row; n > 0. */
static void
pred_row(
    const uint8_t *x, const uint8_t *up, size_t n, uint8_t *lo, uint8_t *hi)
{
	uint16_t first = up == NULL ? 0 : sample_get(up, 0);
	size_t i;

	residual_put(lo, hi, 0, (uint16_t)(sample_get(x, 0) - first));
	if (up == NULL) {
		for (i = 1; i < n; i++)
			residual_put(lo, hi, i,
			    (uint16_t)(sample_get(x, i) -
				       sample_get(x, i - 1)));
		return;
	}
	for (i = 1; i < n; i++)
		residual_put(lo, hi, i,
		    (uint16_t)(sample_get(x, i) - mean16(sample_get(x, i - 1),
						      sample_get(up, i))));
}

static void
unpred_row(uint8_t *x, const uint8_t *up, size_t n, const uint8_t *lo,
    const uint8_t *hi)
{
	uint16_t left = up == NULL ? 0 : sample_get(up, 0);
	size_t i;

	left = (uint16_t)(left + residual_get(lo, hi, 0));
	sample_put(x, 0, left);
	if (up == NULL) {
		for (i = 1; i < n; i++) {
			left = (uint16_t)(left + residual_get(lo, hi, i));
			sample_put(x, i, left);
		}
		return;
	}
	for (i = 1; i < n; i++) {
		left = (uint16_t)(mean16(left, sample_get(up, i)) +
				  residual_get(lo, hi, i));
		sample_put(x, i, left);
	}
}

static void
pred_filter(struct slice in, size_t row, uint8_t *out)
{
	size_t m = in.n / 2, i;
	const uint8_t *up = NULL;

	for (i = 0; i < m; i += row) {
		const uint8_t *x = in.p + 2 * i;
		size_t n = m - i < row ? m - i : row;

		pred_row(x, up, n, out + i, out + m + i);
		up = x;
	}
	if (in.n % 2 != 0)
		out[in.n - 1] = in.p[in.n - 1];
}

static void
pred_undo(struct slice in, size_t row, uint8_t *out)
{
	size_t m = in.n / 2, i;
	const uint8_t *up = NULL;

	for (i = 0; i < m; i += row) {
		uint8_t *x = out + 2 * i;
		size_t n = m - i < row ? m - i : row;

		unpred_row(x, up, n, in.p + i, in.p + m + i);
		up = x;
	}
	if (in.n % 2 != 0)
		out[in.n - 1] = in.p[in.n - 1];
}

static void
shuffle(struct slice in, size_t k, uint8_t *out)
{
	size_t m = in.n / k, i, j;

	for (j = 0; j < k; j++) {
		for (i = 0; i < m; i++)
			out[j * m + i] = in.p[i * k + j];
	}
	for (i = m * k; i < in.n; i++)
		out[i] = in.p[i];
}

static void
unshuffle(struct slice in, size_t k, uint8_t *out)
{
	size_t m = in.n / k, i, j;

	for (i = 0; i < m; i++) {
		for (j = 0; j < k; j++)
			out[i * k + j] = in.p[j * m + i];
	}
	for (i = m * k; i < in.n; i++)
		out[i] = in.p[i];
}

static void
filter(struct codec_choice how, struct slice in, uint8_t *out)
{
	switch (how.id) {
	case BLOB_SHUFFLE2_ZSTD: shuffle(in, 2, out); break;
	case BLOB_SHUFFLE4_ZSTD: shuffle(in, 4, out); break;
	case BLOB_PRED16_ZSTD: pred_filter(in, how.row, out); break;
	case BLOB_RAW:
	case BLOB_ZSTD:
	default: memcpy(out, in.p, in.n); break;
	}
}

static void
unfilter(struct codec_choice how, struct slice in, uint8_t *out)
{
	switch (how.id) {
	case BLOB_SHUFFLE2_ZSTD: unshuffle(in, 2, out); break;
	case BLOB_SHUFFLE4_ZSTD: unshuffle(in, 4, out); break;
	case BLOB_PRED16_ZSTD: pred_undo(in, how.row, out); break;
	case BLOB_RAW:
	case BLOB_ZSTD:
	default: memcpy(out, in.p, in.n); break;
	}
}

/* --- encoding --- */

static enum err
encode_as(
    struct codec *c, struct codec_choice how, struct slice raw, struct buf *out)
{
	size_t bound = ZSTD_compressBound(raw.n);
	struct slice in = raw;
	uint8_t *to;
	size_t n;

	if (how.id != BLOB_ZSTD) {
		buf_reset(&c->tmp);
		if ((to = buf_room(&c->tmp, raw.n)) == NULL)
			return buf_err(&c->tmp);
		filter(how, raw, to);
		in = slice_of(to, raw.n);
	}
	if ((to = buf_room(out, bound)) == NULL)
		return buf_err(out);
	n = ZSTD_compressCCtx(c->zc, to, bound, in.p, in.n, c->level);
	if (ZSTD_isError(n))
		return ERR_FOREIGN;
	buf_grew(out, n);
	return ERR_OK;
}

/* From the middle, where an image is not air; whole rows if they are known. */
static struct slice
sample_of(struct slice raw, struct codec_hint hint)
{
	size_t unit = hint.bits >= 8 ? hint.bits / 8u : 1;
	size_t off;

	if (raw.n <= CODEC_SAMPLE_BYTES)
		return raw;
	if (hint.w > 0 && hint.w * unit <= CODEC_SAMPLE_BYTES)
		unit *= hint.w;
	off = (raw.n - CODEC_SAMPLE_BYTES) / 2 / unit * unit;
	return slice_of(raw.p + off, CODEC_SAMPLE_BYTES);
}

static size_t
candidates(struct codec_hint hint, struct codec_choice out[3])
{
	size_t n = 0;

	if (hint.bits == 16 && hint.w > 0)
		out[n++] = (struct codec_choice){ BLOB_PRED16_ZSTD, hint.w };
	if (hint.bits == 16)
		out[n++] = (struct codec_choice){ BLOB_SHUFFLE2_ZSTD, 0 };
	if (hint.bits == 32)
		out[n++] = (struct codec_choice){ BLOB_SHUFFLE4_ZSTD, 0 };
	out[n++] = (struct codec_choice){ BLOB_ZSTD, 0 };
	return n;
}

/* 5 % smaller, or it is not worth decoding. */
static bool
worth(size_t z, size_t raw)
{
	return z <= raw - raw / 20 && z < raw;
}

static enum err
encode_best(struct codec *c, struct slice raw, struct codec_hint hint,
    struct codec_choice *used, struct buf *out)
{
	struct slice sample = sample_of(raw, hint);
	struct codec_choice cand[3];
	size_t n = candidates(hint, cand), best_n = SIZE_MAX, i;

	c->level =
	    raw.n <= CODEC_SAMPLE_BYTES ? ZSTD_LEVEL_SMALL : ZSTD_LEVEL_PIXELS;
	for (i = 0; i < n; i++) {
		enum err e;

		out->n = 0;
		e = encode_as(c, cand[i], sample, out);
		if (e != ERR_OK)
			return e;
		if (out->n < best_n) {
			best_n = out->n;
			*used = cand[i];
		}
	}
	if (!worth(best_n, sample.n)) {
		used->id = BLOB_RAW;
		return ERR_OK;
	}
	out->n = 0;
	return encode_as(c, *used, raw, out);
}

enum err
codec_encode(struct codec *c, struct slice raw, struct codec_hint hint,
    struct codec_choice *used, struct buf *out)
{
	struct codec_choice how = { BLOB_RAW, 0 };
	enum err e;

	REQUIRE(raw.n > 0 && raw.n <= LIM_PIECE_BYTES && out->n == 0);
	if (raw.n >= MIN_RAW) {
		e = encode_best(c, raw, hint, &how, out);
		if (e != ERR_OK)
			return e;
	}
	if (how.id == BLOB_RAW || !worth(out->n, raw.n)) {
		how = (struct codec_choice){ BLOB_RAW, 0 };
		out->n = 0;
		buf_put_slice(out, raw);
	}
	*used = how;
	return buf_err(out);
}

/* --- decoding --- */

/* RFC 8878 section 3.1.1.1: the window a frame asks for; 0: not a frame. */
static uint64_t
frame_window(struct slice z)
{
	static const uint8_t magic[4] = { 0x28, 0xb5, 0x2f, 0xfd };
	uint64_t base;

	if (z.n < 6 || memcmp(z.p, magic, sizeof(magic)) != 0)
		return 0;
	if ((z.p[4] & 0x20) != 0)
		return 1; /* single segment: the window is the content */
	base = (uint64_t)1 << (10 + (z.p[5] >> 3));
	return base + base / 8 * (z.p[5] & 7);
}

static enum err
frame_check(struct slice z, uint32_t raw_len)
{
	uint64_t window = frame_window(z);

	if (window == 0 || ZSTD_getFrameContentSize(z.p, z.n) != raw_len)
		return ERR_MALFORMED;
	if (window > CODEC_WINDOW_MAX)
		return ERR_LIMIT;
	if (ZSTD_findFrameCompressedSize(z.p, z.n) != z.n)
		return ERR_MALFORMED; /* one frame, nothing after it */
	return ERR_OK;
}

static enum err
zstd_decode(struct slice z, uint32_t raw_len, uint8_t *out)
{
	size_t n = ZSTD_decompress(out, raw_len, z.p, z.n);
	return ZSTD_isError(n) || n != raw_len ? ERR_MALFORMED : ERR_OK;
}

static enum err
filtered_decode(
    struct codec_choice how, struct slice z, uint32_t raw_len, uint8_t *out)
{
	uint8_t *tmp;
	enum err e;

	if ((tmp = mem_new(raw_len)) == NULL)
		return ERR_NOMEM;
	e = zstd_decode(z, raw_len, tmp);
	if (e == ERR_OK)
		unfilter(how, slice_of(tmp, raw_len), out);
	mem_free(tmp);
	return e;
}

enum err
codec_decode(
    struct codec_choice how, struct slice z, uint32_t raw_len, struct buf *out)
{
	uint8_t *to;
	enum err e;

	if (raw_len == 0 || raw_len > LIM_PIECE_BYTES || z.n > LIM_PIECE_BYTES)
		return ERR_LIMIT;
	if ((how.id == BLOB_PRED16_ZSTD) != (how.row > 0))
		return ERR_MALFORMED;
	if (how.id != BLOB_RAW && (e = frame_check(z, raw_len)) != ERR_OK)
		return e;
	if ((to = buf_room(out, raw_len)) == NULL)
		return buf_err(out);
	switch (how.id) {
	case BLOB_RAW:
		if (z.n != raw_len)
			return ERR_MALFORMED;
		memcpy(to, z.p, z.n);
		e = ERR_OK;
		break;
	case BLOB_ZSTD: e = zstd_decode(z, raw_len, to); break;
	case BLOB_SHUFFLE2_ZSTD:
	case BLOB_SHUFFLE4_ZSTD:
	case BLOB_PRED16_ZSTD: e = filtered_decode(how, z, raw_len, to); break;
	default: return ERR_UNSUPPORTED;
	}
	if (e == ERR_OK)
		buf_grew(out, raw_len);
	return e;
}
