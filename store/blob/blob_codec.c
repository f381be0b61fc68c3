/* store/blob/blob_codec.c: making pieces smaller, exactly reversibly.
 *
 *   wave:      rows of samples, see wave.h
 *   shuffle:   all first bytes, all second bytes, ..., odd tail as it is
 *   zstd:      one frame with its content size
 *
 * Rows of samples go to the wave codec; where it does unusually well (label
 * maps, flat drawings) or badly, and for everything else, the codecs that the
 * hint allows are tried on a sample.  The best is kept if it saves 5 %.
 * Decoding never believes a frame: size, window and number of frames are
 * checked before anything is allocated for it. */
#include "store/blob/blob_internal.h"
#include "store/blob/wave.h"

#include <zstd.h>

#define ZSTD_LEVEL_PIXELS 1
#define ZSTD_LEVEL_SMALL 3 /* headers: few bytes, much text */
#define MIN_RAW 64u
#define WAVE_Z_MAX (2 * LIM_PIECE_BYTES + 64 * KIB)
/* Ratios of the wave codec between which nothing else is tried: photographs
 * of something, where byte codecs lose by far. */
#define WAVE_SURE_MIN_10 13u /* tenths */
#define WAVE_SURE_MAX_10 60u
#define LOOK_STRIPS 4u
#define LOOK_STRIP_BYTES 2048u

struct codec {
	int level;
	ZSTD_CCtx *zc;
	ZSTD_DCtx *zd;
	struct wave *wave;
	struct buf tmp;    /* filtered samples */
	struct buf wave_z; /* may pass the length of the piece */
};

struct codec *
codec_new(void)
{
	struct codec *c = mem_new(sizeof(*c));

	if (c == NULL)
		return NULL;
	c->tmp = BUF_MAX(LIM_PIECE_BYTES);
	c->wave_z = BUF_MAX(WAVE_Z_MAX);
	c->zc = ZSTD_createCCtx();
	c->zd = ZSTD_createDCtx();
	c->wave = wave_new();
	if (c->zc == NULL || c->zd == NULL || c->wave == NULL) {
		codec_free(c);
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
	ZSTD_freeDCtx(c->zd);
	wave_free(c->wave);
	buf_wipe(&c->tmp);
	buf_wipe(&c->wave_z);
	mem_free(c);
}

size_t
codec_bytes(const struct codec *c)
{
	return ZSTD_sizeof_CCtx(c->zc) + ZSTD_sizeof_DCtx(c->zd) +
	       wave_bytes(c->wave) + c->tmp.cap + c->wave_z.cap;
}

/* --- filters --- */

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
	case BLOB_RAW:
	case BLOB_ZSTD:
	case BLOB_WAVE:
	case BLOB_DELTA:
	default: memcpy(out, in.p, in.n); break;
	}
}

static void
unfilter(struct codec_choice how, struct slice in, uint8_t *out)
{
	switch (how.id) {
	case BLOB_SHUFFLE2_ZSTD: unshuffle(in, 2, out); break;
	case BLOB_SHUFFLE4_ZSTD: unshuffle(in, 4, out); break;
	case BLOB_RAW:
	case BLOB_ZSTD:
	case BLOB_WAVE:
	case BLOB_DELTA:
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

/* 5 % smaller, or it is not worth decoding. */
static bool
worth(size_t z, size_t raw)
{
	return z <= raw - raw / 20 && z < raw;
}

/* Z of one shape in c->wave_z; ERR_UNSUPPORTED: not rows it codes. */
static enum err
wave_as(
    struct codec *c, enum wave_samples samples, uint16_t w, struct slice raw)
{
	struct wave_shape sh = { samples, w, false };

	buf_reset(&c->wave_z);
	return wave_encode(c->wave, &sh, raw, &c->wave_z);
}

/* Z of rows of samples, appended to out if that makes it smaller. */
static enum err
encode_wave(
    struct codec *c, struct slice raw, struct codec_hint hint, struct buf *out)
{
	enum wave_samples samples = hint.bits == 16 ? WAVE_16 : WAVE_8;
	uint16_t w = hint.w;
	enum err e;

	if (w == 0 || (hint.bits != 8 && hint.bits != 16))
		return ERR_UNSUPPORTED;
	if (samples == WAVE_8 && w % 3 == 0) { /* three bytes a pixel? */
		struct slice sample = sample_of(raw, hint);
		size_t plain;

		if ((e = wave_as(c, WAVE_8, w, sample)) != ERR_OK)
			return e;
		plain = c->wave_z.n;
		if (wave_as(c, WAVE_RGB, w / 3, sample) == ERR_OK &&
		    c->wave_z.n < plain) {
			samples = WAVE_RGB;
			w /= 3;
		}
	}
	if ((e = wave_as(c, samples, w, raw)) != ERR_OK)
		return e;
	if (!worth(c->wave_z.n, raw.n))
		return ERR_UNSUPPORTED;
	buf_put_slice(out, buf_slice(&c->wave_z));
	return buf_err(out);
}

static size_t
candidates(struct codec_hint hint, struct codec_choice out[2])
{
	size_t n = 0;

	if (hint.bits == 16)
		out[n++] = (struct codec_choice){ BLOB_SHUFFLE2_ZSTD, 0 };
	if (hint.bits == 32)
		out[n++] = (struct codec_choice){ BLOB_SHUFFLE4_ZSTD, 0 };
	out[n++] = (struct codec_choice){ BLOB_ZSTD, 0 };
	return n;
}

/* The byte codec that does best on a sample; used->id BLOB_RAW: none helps. */
static enum err
choose_bytes(struct codec *c, struct slice sample, struct codec_hint hint,
    struct codec_choice *used, size_t *z_n)
{
	struct buf z = BUF_MAX(2 * CODEC_SAMPLE_BYTES + KIB);
	struct codec_choice cand[2];
	size_t n = candidates(hint, cand), i;
	enum err e = ERR_OK;

	*z_n = SIZE_MAX;
	for (i = 0; i < n && e == ERR_OK; i++) {
		buf_reset(&z);
		e = encode_as(c, cand[i], sample, &z);
		if (e == ERR_OK && z.n < *z_n) {
			*z_n = z.n;
			*used = cand[i];
		}
	}
	buf_wipe(&z);
	if (!worth(*z_n, sample.n))
		used->id = BLOB_RAW;
	return e;
}

/* Could bytes beat rows of samples that took wave_n?  Strips from all over the
 * piece tell, at a tenth of the price of trying: by half as much again off. */
static enum err
bytes_may_win(struct codec *c, struct slice raw, struct codec_hint hint,
    size_t wave_n, bool *yes)
{
	uint8_t strips[LOOK_STRIPS * LOOK_STRIP_BYTES];
	struct codec_choice used = { BLOB_RAW, 0 };
	size_t apart = raw.n / LOOK_STRIPS / 4 * 4, i, z_n;
	enum err e;

	*yes = true;
	if (apart < (size_t)4 * LOOK_STRIP_BYTES)
		return ERR_OK; /* as dear as trying */
	for (i = 0; i < LOOK_STRIPS; i++)
		memcpy(strips + i * LOOK_STRIP_BYTES, raw.p + i * apart,
		    LOOK_STRIP_BYTES);
	c->level = ZSTD_LEVEL_PIXELS;
	e = choose_bytes(
	    c, slice_of(strips, sizeof(strips)), hint, &used, &z_n);
	cry_wipe(strips, sizeof(strips));
	*yes = z_n * (raw.n / sizeof(strips)) < wave_n + wave_n / 2;
	return e;
}

/* Rows of samples are in out already or out is empty: is there better? */
static enum err
encode_bytes(struct codec *c, struct slice raw, struct codec_hint hint,
    struct codec_choice *used, struct buf *out)
{
	struct slice sample = sample_of(raw, hint);
	struct codec_choice bytes = { BLOB_RAW, 0 };
	size_t wave_n = out->n, z_n;
	bool may = true;
	enum err e = ERR_OK;

	if (wave_n > 0)
		e = bytes_may_win(c, raw, hint, wave_n, &may);
	if (e != ERR_OK || !may)
		return e;
	c->level = raw.n <= CODEC_SAMPLE_BYTES || hint.bits == 0
		       ? ZSTD_LEVEL_SMALL
		       : ZSTD_LEVEL_PIXELS;
	e = choose_bytes(c, sample, hint, &bytes, &z_n);
	if (e != ERR_OK || bytes.id == BLOB_RAW)
		return e;
	if (wave_n > 0 && z_n * (raw.n / sample.n) >= wave_n)
		return ERR_OK;
	out->n = 0;
	if ((e = encode_as(c, bytes, raw, out)) != ERR_OK)
		return e;
	if (wave_n > 0 && out->n >= wave_n) {
		out->n = 0;
		buf_put_slice(out, buf_slice(&c->wave_z));
		return buf_err(out);
	}
	*used = bytes;
	return ERR_OK;
}

static enum err
encode_best(struct codec *c, struct slice raw, struct codec_hint hint,
    struct codec_choice *used, struct buf *out)
{
	enum err e = encode_wave(c, raw, hint, out);

	if (e == ERR_OK) {
		size_t ratio = 10 * raw.n / out->n;

		used->id = BLOB_WAVE;
		if (ratio > WAVE_SURE_MIN_10 && ratio < WAVE_SURE_MAX_10)
			return ERR_OK;
	} else if (e != ERR_UNSUPPORTED) {
		return e;
	}
	return encode_bytes(c, raw, hint, used, out);
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
zstd_decode(struct codec *c, struct slice z, uint32_t raw_len, uint8_t *out)
{
	size_t n = ZSTD_decompressDCtx(c->zd, out, raw_len, z.p, z.n);

	return ZSTD_isError(n) || n != raw_len ? ERR_MALFORMED : ERR_OK;
}

static enum err
filtered_decode(struct codec *c, struct codec_choice how, struct slice z,
    uint32_t raw_len, uint8_t *out)
{
	uint8_t *tmp;
	enum err e;

	buf_reset(&c->tmp);
	if ((tmp = buf_room(&c->tmp, raw_len)) == NULL)
		return buf_err(&c->tmp);
	e = zstd_decode(c, z, raw_len, tmp);
	if (e == ERR_OK)
		unfilter(how, slice_of(tmp, raw_len), out);
	return e;
}

enum err
codec_decode(struct codec *c, struct codec_choice how, struct slice z,
    uint32_t raw_len, struct buf *out)
{
	uint8_t *to;
	enum err e;

	if (raw_len == 0 || raw_len > LIM_PIECE_BYTES || z.n > LIM_PIECE_BYTES)
		return ERR_LIMIT;
	if (how.row != 0)
		return ERR_MALFORMED;
	if (how.id == BLOB_DELTA)
		return ERR_UNSUPPORTED; /* no codec alone: blob_reader.c */
	if (how.id == BLOB_WAVE)
		return wave_decode(c->wave, z, raw_len, out);
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
	case BLOB_ZSTD: e = zstd_decode(c, z, raw_len, to); break;
	case BLOB_SHUFFLE2_ZSTD:
	case BLOB_SHUFFLE4_ZSTD:
		e = filtered_decode(c, how, z, raw_len, to);
		break;
	case BLOB_WAVE:
	case BLOB_DELTA:
	default: return ERR_UNSUPPORTED;
	}
	if (e == ERR_OK)
		buf_grew(out, raw_len);
	return e;
}

/* --- plain frames --- */

enum err
codec_squeeze(struct codec *c, struct slice in, struct buf *out)
{
	struct codec_choice how = { BLOB_ZSTD, 0 };

	c->level = ZSTD_LEVEL_SMALL;
	return encode_as(c, how, in, out);
}

enum err
codec_unsqueeze(struct codec *c, struct slice z, uint32_t max, struct buf *out)
{
	unsigned long long n = ZSTD_getFrameContentSize(z.p, z.n);
	struct codec_choice how = { BLOB_ZSTD, 0 };

	if (n == 0 || n > max) /* also: unknown, or no frame */
		return ERR_MALFORMED;
	return codec_decode(c, how, z, (uint32_t)n, out);
}
