/* store/blob/wave_internal.h: what the parts of the wavefront codec share.
 *
 * wave.c container, wave_frame.c one frame, wave_table.c frequency tables,
 * wave_preset.c ready tables, wave_fit.c weights; then the pixel loops:
 * wave_scalar.c (the reference), wave_avx512.c and wave_avx2.c
 * (wave_lanes.inc.h on two widths of vectors), wave_tile.c (pixels in and out
 * of those).
 *
 * Order of coding.  A block is `lanes` rows.  Lane k codes row lanes * b + k
 * and is two pixels behind lane k - 1; when its row ends it goes on with the
 * same lane of the next block, so that lanes wait only at the ends of a frame:
 *
 *   step    0  1  2  3  4  5 ...     P  P+1 ...
 *   lane 0  x0 x1 x2 x3 x4 x5        x0' x1'       ' = block 1
 *   lane 1  .  .  x0 x1 x2 x3        x(w-2) ...
 *   lane 2  .  .  .  .  x0 x1        x(w-4) ...
 *
 * What a pixel needs of the two rows above is what the lane above held one to
 * three steps ago: a shift by one lane, no memory. */
#ifndef PSC_BLOB_WAVE_INTERNAL_H
#define PSC_BLOB_WAVE_INTERNAL_H

#include "store/base/limits.h"
#include "store/base/rd.h"
#include "store/blob/wave.h"

#define WAVE_CTX 27u     /* contexts: two an octave of error energy */
#define WAVE_TOKENS 164u /* 128 residuals, 36 escapes */
#define WAVE_ROW 256u    /* stride of a context in encoder tables */
#define WAVE_ESCAPE 128u /* first escape token */
#define WAVE_BITS 11u    /* of a probability */
#define WAVE_ONE (1u << WAVE_BITS)
#define WAVE_STATE_MIN 65536u /* a coder state is this much or more */
#define WAVE_SIDE_MAX 16384u  /* pixels a row */
#define WAVE_LANES_MAX 64u
#define WAVE_TILE 64u       /* steps at a time in vector paths */
#define WAVE_ERROR_MAX 2047 /* of one pixel, as contexts see it */

enum wave_method {
	WAVE_STORED = 0,
	WAVE_CONSTANT = 1,
	WAVE_MED = 2, /* median edge detector */
	/* 8 neighbours with weights of the frame; MED where it did better */
	WAVE_SWITCH = 3,
};

/* One frame as the pixel loops see it. */
struct wave_geom {
	uint32_t w, h;
	uint32_t lanes;
	uint32_t period; /* steps a block */
	uint32_t steps;
	uint32_t full_from, full_to; /* steps at which all lanes are inside */
};

struct wave_model {
	enum wave_method method;
	uint16_t base; /* pixels are coded as int16(sample - base) */
	int16_t lo;    /* what the rows above the frame hold */
	int16_t wt[8]; /* of L T TL TR TT LL TTR TLL, Q12, sum 4096 */
};

/* Last row of the block above, one a column: vector paths. */
struct wave_feed {
	int16_t p; /* pixel of the last lane */
	int16_t t; /* pixel above it */
	int16_t e; /* its error */
	int16_t d; /* which predictor did better, and by how much */
};

struct wave_tables {
	uint32_t hist[2][WAVE_CTX * WAVE_ROW];
	uint32_t enc[WAVE_CTX * WAVE_ROW]; /* frequency << 16 | start */
	/* frequency | offset << 12 | symbol << 24, see wave_table.c */
	uint32_t dec[WAVE_CTX << WAVE_BITS];
	bool dec_preset[WAVE_CTX]; /* dec holds the preset of this context */
	uint16_t preset[WAVE_CTX][WAVE_TOKENS];
	uint16_t lg[WAVE_ONE + 1]; /* log2 in 1/256 */
	/* For each set of 8 lanes, bytes: the lanes in it, from the lowest; and
	 * of each lane how many below it are in it. */
	uint64_t lanes_in[256], rank_of[256];
};

/* Bits, least significant first; the writer needs 8 bytes of slack. */
struct wave_bits_out {
	uint8_t *p;
	uint64_t acc;
	unsigned n;
};
struct wave_bits_in {
	const uint8_t *p;
	size_t pos, bits;
	bool bad; /* read past the end */
};

/* The coded parts a decoder takes from. */
struct wave_src {
	const uint8_t *extra; /* followed by at least 4 bytes of the input */
	size_t extra_pos, extra_bits;
	const uint8_t *words, *end;
	uint32_t x[WAVE_LANES_MAX];
};

struct wave_path;

struct wave {
	const struct wave_path *path;
	struct wave_tables tab;
	/* encoder */
	uint16_t *symbols; /* context << 8 | token, a step and lane */
	uint8_t *extra, *words, *bits;
	uint16_t *plane; /* samples that are not 16-bit little-endian */
	/* vector paths */
	struct wave_feed *feed;
	uint16_t *tile; /* WAVE_TILE x lanes */
	/* scalar path: errors and differences of the last 128 rows */
	int16_t *err, *dif;
	struct wave_room {
		void *p;
		size_t n;
	} room[8]; /* what the pointers above are in */
};

/* Pixels x to end of a row; two rows are above it. */
struct wave_span {
	const uint16_t *px; /* pixel 0 of the row */
	uint32_t w;         /* from one row to the next */
	uint32_t x, end;
	uint16_t base;
};

/* The pixel loops of one kind of machine. */
struct wave_path {
	const char *name;
	bool (*usable)(void);
	bool vector;
	/* Smallest and largest sample, as unsigned and as signed numbers. */
	void (*range)(
	    const uint16_t *px, size_t n, uint16_t u[2], int16_t s[2]);
	/* Adds sums of products for the fit, upper triangle; *n: how many
	 * pixels say something. */
	void (*gram)(const struct wave_span *s, int32_t sum[8][8], uint32_t *n);
	void (*model)(struct wave *c, const uint16_t *px,
	    const struct wave_geom *g, const struct wave_model *m,
	    struct wave_bits_out *extra);
	/* Writes words downwards from end, returns the first. */
	uint8_t *(*code)(struct wave *c, const struct wave_geom *g, uint32_t *x,
	    uint8_t *end);
	/* False: the input ends too soon. */
	bool (*decode)(struct wave *c, uint16_t *px, const struct wave_geom *g,
	    const struct wave_model *m, struct wave_src *src);
};

extern const struct wave_path wave_path_scalar;
#if defined(__x86_64__)
extern const struct wave_path wave_path_avx2;
extern const struct wave_path wave_path_avx512;
#endif
/* Test hook: the paths this machine can run, slowest first; NULL ends. */
const struct wave_path *wave_path_at(unsigned i);
void wave_path_force(struct wave *c, const struct wave_path *p);

/* --- wave_frame.c --- */
struct wave_how {
	unsigned bytes; /* a sample: 1 or 2 */
	bool fast;
};
enum err wave_frame_encode(struct wave *c, const uint16_t *px, uint32_t w,
    uint32_t h, struct wave_how how, struct buf *out) PSC_MUST_USE;
enum err wave_frame_decode(struct wave *c, struct slice in, unsigned bytes,
    uint16_t *px, uint32_t w, uint32_t h) PSC_MUST_USE;
/* Scratch for slot i of at least n bytes, 64-aligned; NULL: no memory. */
void *wave_room_get(struct wave *c, unsigned i, size_t n);
struct wave_geom wave_geometry(uint32_t w, uint32_t h);

/* --- wave_table.c --- */
void wave_table_init(struct wave_tables *t);
void wave_table_put(struct wave_tables *t, struct wave_bits_out *b);
bool wave_table_get(struct wave_tables *t, struct wave_bits_in *b);
void wave_normalise(const uint32_t *h, uint32_t n, uint16_t *f);
uint32_t wave_unlevel(uint32_t level);
uint8_t *wave_bits_flush(struct wave_bits_out *b);
uint32_t wave_bits_get(struct wave_bits_in *b, unsigned n);

/* --- wave_preset.c --- */
void wave_preset_fill(uint16_t preset[WAVE_CTX][WAVE_TOKENS]);

/* --- wave_fit.c --- */
/* Weights of a frame; false: too little to go by. */
bool wave_fit(const struct wave_path *path, const uint16_t *px,
    const struct wave_geom *g, uint16_t base, int16_t wt[8]);

/* --- integers that all paths share --- */

static inline int
wave_log2(uint32_t v)
{
	return 31 - __builtin_clz(v);
}

static inline uint16_t
wave_zigzag(int r)
{
	uint16_t s = (uint16_t)r;

	return (uint16_t)((uint16_t)(s << 1) ^ (uint16_t)(0 - (s >> 15)));
}

static inline int16_t
wave_unzigzag(uint16_t z)
{
	return (int16_t)(uint16_t)((z >> 1) ^ (uint16_t)(0 - (z & 1)));
}

static inline void
wave_bits_put(struct wave_bits_out *b, uint32_t v, unsigned n)
{
	b->acc |= (uint64_t)v << b->n;
	b->n += n;
	if (b->n >= 32) {
		memcpy(b->p, &b->acc, 4);
		b->p += 4;
		b->acc >>= 32;
		b->n -= 32;
	}
}

/* The token of z >= WAVE_ESCAPE: octave and two bits; the rest is written. */
static inline uint32_t
wave_escape_put(struct wave_bits_out *extra, uint32_t z)
{
	uint32_t e = (uint32_t)wave_log2(z);
	uint32_t n = e - 2;

	wave_bits_put(extra, z & ((1u << n) - 1), n);
	return WAVE_ESCAPE + 4 * (e - 7) + ((z >> n) & 3);
}

/* The residual of an escape; false: no bits left. */
static inline bool
wave_escape_get(struct wave_src *s, uint32_t escape, int16_t *r)
{
	uint32_t n = 5 + escape / 4, v;

	if (s->extra_pos + n > s->extra_bits)
		return false;
	memcpy(&v, s->extra + (s->extra_pos >> 3), 4);
	v = v >> (s->extra_pos & 7) & ((1u << n) - 1);
	s->extra_pos += n;
	*r = wave_unzigzag((uint16_t)((4 + (escape & 3)) << n | v));
	return true;
}

static inline uint64_t
wave_below(uint32_t n)
{
	return n >= 64 ? ~(uint64_t)0 : ((uint64_t)1 << n) - 1;
}

/* Rows of block b, 0 outside the frame. */
static inline uint32_t
wave_block_rows(const struct wave_geom *g, uint32_t b)
{
	uint32_t y = b * g->lanes;

	if (y >= g->h)
		return 0;
	return g->h - y < g->lanes ? g->h - y : g->lanes;
}

/* Lanes inside the frame at step q of block b: lane k is at x = q - 2k of it,
 * or, if that is negative, at x + period of the block before. */
static inline uint64_t
wave_active(const struct wave_geom *g, uint32_t b, uint32_t q)
{
	uint32_t here = wave_block_rows(g, b), m = q / 2 + 1, past;
	uint64_t out;

	past = q >= g->w ? (q - g->w) / 2 + 1 : 0;
	out = wave_below(here < m ? here : m) & ~wave_below(past);
	if (b == 0)
		return out;
	past = (q + g->period - g->w) / 2 + 1;
	past = past > m ? past : m;
	return out |
	       (wave_below(wave_block_rows(g, b - 1)) & ~wave_below(past));
}

#endif
