/* store/blob/wave_tile.c: pixels between the frame and tiles of steps x lanes,
 * in squares of 8 x 8 that are transposed in registers (SSE2, which every
 * x86-64 has). */
#if defined(__x86_64__)
#include "store/blob/wave_tile.h"

#include <emmintrin.h>

/* Eight pixels of one lane from step q of block b on. */
struct run {
	uint32_t x, y; /* of the first */
	bool whole;    /* all inside the frame and one row */
};

/* q may be below zero or one period too far. */
static inline struct run
run_at(const struct wave_geom *g, uint32_t b, uint32_t q, uint32_t lane)
{
	int64_t x = (int64_t)q - 2 * (int64_t)lane, blk = b;
	struct run r = { 0, UINT32_MAX, false };

	if (x < 0) {
		x += g->period;
		blk--;
	} else if (x >= g->period) {
		x -= g->period;
		blk++;
	}
	r.x = (uint32_t)x;
	if (blk < 0)
		return r; /* enters at most within the run: pixel by pixel */
	r.y = (uint32_t)blk * g->lanes + lane;
	r.whole = r.y < g->h && r.x + 8 <= g->w;
	return r;
}

/* Index of pixel j of a run, SIZE_MAX outside the frame. */
static size_t
run_index(
    const struct wave_geom *g, const struct run *r, uint32_t lane, uint32_t j)
{
	uint32_t x = r->x + j, y = r->y;

	if (x >= g->period) {
		x -= g->period;
		y = y == UINT32_MAX ? lane : y + g->lanes;
	}
	return y < g->h && x < g->w ? (size_t)y * g->w + x : SIZE_MAX;
}

static inline void
transpose(__m128i v[8])
{
	__m128i a[8], b[8];
	size_t i;

	WAVE_UNROLL
	for (i = 0; i < 4; i++) {
		a[2 * i] = _mm_unpacklo_epi16(v[2 * i], v[2 * i + 1]);
		a[2 * i + 1] = _mm_unpackhi_epi16(v[2 * i], v[2 * i + 1]);
	}
	WAVE_UNROLL
	for (i = 0; i < 2; i++) {
		b[4 * i] = _mm_unpacklo_epi32(a[4 * i], a[4 * i + 2]);
		b[4 * i + 1] = _mm_unpackhi_epi32(a[4 * i], a[4 * i + 2]);
		b[4 * i + 2] = _mm_unpacklo_epi32(a[4 * i + 1], a[4 * i + 3]);
		b[4 * i + 3] = _mm_unpackhi_epi32(a[4 * i + 1], a[4 * i + 3]);
	}
	WAVE_UNROLL
	for (i = 0; i < 4; i++) {
		v[2 * i] = _mm_unpacklo_epi64(b[i], b[i + 4]);
		v[2 * i + 1] = _mm_unpackhi_epi64(b[i], b[i + 4]);
	}
}

/* Are the eight runs of lanes l to l + 7 whole, and in one block?  Then the
 * pixels of lane l begin at *at, and each other lane's w - 2 further on. */
static inline bool
square_at(
    const struct wave_geom *g, uint32_t b, uint32_t q, uint32_t l, size_t *at)
{
	uint32_t first = 2 * (l + 7), y = b * g->lanes + l;

	if (q < first || q - 2 * l + 8 > g->w || y + 8 > g->h)
		return false;
	*at = (size_t)y * g->w + (q - 2 * l);
	return true;
}

/* Pixels of eight lanes, one lane a vector; w: from one lane to the next. */
static inline void
gather(const uint16_t *px, size_t w, __m128i v[8])
{
	uint32_t k;

	WAVE_UNROLL
	for (k = 0; k < 8; k++, px += w)
		v[k] = _mm_loadu_si128((const void *)px);
}

static void
gather_slow(const uint16_t *px, const struct wave_geom *g, uint32_t b,
    uint32_t q, uint32_t l, __m128i v[8])
{
	uint32_t k, j;

	for (k = 0; k < 8; k++) {
		struct run r = run_at(g, b, q, l + k);
		uint16_t few[8] = { 0 };
		const uint16_t *from = few;

		if (r.whole)
			from = px + (size_t)r.y * g->w + r.x;
		for (j = 0; j < 8 && !r.whole; j++) {
			size_t at = run_index(g, &r, l + k, j);

			if (at != SIZE_MAX)
				few[j] = px[at];
		}
		v[k] = _mm_loadu_si128((const void *)from);
	}
}

static void
scatter_slow(uint16_t *px, const struct wave_geom *g, uint32_t b, uint32_t q,
    uint32_t l, const __m128i v[8])
{
	uint32_t k, j;

	for (k = 0; k < 8; k++) {
		struct run r = run_at(g, b, q, l + k);
		uint16_t few[8];

		if (r.whole) {
			_mm_storeu_si128(
			    (void *)(px + (size_t)r.y * g->w + r.x), v[k]);
			continue;
		}
		_mm_storeu_si128((void *)few, v[k]);
		for (j = 0; j < 8; j++) {
			size_t at = run_index(g, &r, l + k, j);

			if (at != SIZE_MAX)
				px[at] = few[j];
		}
	}
}

void
wave_tile_in(const uint16_t *px, const struct wave_steps *s, uint16_t *tile)
{
	__m128i vbase = _mm_set1_epi16((short)s->base), v[8];
	const struct wave_geom *g = s->g;
	const size_t lanes = g->lanes;
	uint32_t l, i, k;
	size_t at;

	for (l = 0; l < lanes; l += 8) {
		for (i = 0; i < s->n; i += 8) {
			uint16_t *to = tile + i * lanes + l;

			if (square_at(g, s->b, s->q + i, l, &at))
				gather(px + at, g->w - 2, v);
			else
				gather_slow(px, g, s->b, s->q + i, l, v);
			transpose(v);
			WAVE_UNROLL
			for (k = 0; k < 8; k++)
				_mm_storeu_si128((void *)(to + k * lanes),
				    _mm_sub_epi16(v[k], vbase));
		}
	}
}

void
wave_tile_out(uint16_t *px, const struct wave_steps *s, const uint16_t *tile)
{
	__m128i vbase = _mm_set1_epi16((short)s->base), v[8];
	const struct wave_geom *g = s->g;
	const size_t lanes = g->lanes;
	uint32_t l, i, k;
	size_t at;

	for (l = 0; l < lanes; l += 8) {
		for (i = 0; i < s->n; i += 8) {
			const uint16_t *from = tile + i * lanes + l;

			WAVE_UNROLL
			for (k = 0; k < 8; k++)
				v[k] = _mm_add_epi16(vbase,
				    _mm_loadu_si128(
					(const void *)(from + k * lanes)));
			transpose(v);
			if (!square_at(g, s->b, s->q + i, l, &at)) {
				scatter_slow(px, g, s->b, s->q + i, l, v);
				continue;
			}
			WAVE_UNROLL
			for (k = 0; k < 8; k++, at += g->w - 2)
				_mm_storeu_si128((void *)(px + at), v[k]);
		}
	}
}
#endif
