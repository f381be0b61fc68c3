/* store/blob/wave_avx512.c: the pixel loops on 512-bit vectors: 32 pixels or
 * 16 coder states in one (AVX-512 F, BW, DQ, VL; asked for at run time). */
#if defined(__x86_64__)
#include <immintrin.h>

#include "store/blob/wave_internal.h"

#define VTARGET                                                                \
	__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,bmi,bmi2,"   \
			      "lzcnt,popcnt")))
#define VFN static inline __attribute__((always_inline)) VTARGET
#define VLANES 32u
#define XLANES 16u
#define vec __m512i
#define xvec __m512i

VFN vec
v_load(const void *p)
{
	return _mm512_loadu_si512(p);
}
VFN void
v_store(void *p, vec v)
{
	_mm512_storeu_si512(p, v);
}
VFN vec
v_set1(int16_t v)
{
	return _mm512_set1_epi16(v);
}
VFN vec
v_set32(int v)
{
	return _mm512_set1_epi32(v);
}
VFN vec
v_zero(void)
{
	return _mm512_setzero_si512();
}
#define v_add _mm512_add_epi16
#define v_sub _mm512_sub_epi16
#define v_min _mm512_min_epi16
#define v_max _mm512_max_epi16
#define v_minu _mm512_min_epu16
#define v_abs _mm512_abs_epi16
#define v_or _mm512_or_si512
#define v_xor _mm512_xor_si512
#define v_shl _mm512_slli_epi16
#define v_sra _mm512_srai_epi16
#define v_unlo _mm512_unpacklo_epi16
#define v_unhi _mm512_unpackhi_epi16
#define v_madd _mm512_madd_epi16
#define v_add32 _mm512_add_epi32
#define v_sra32 _mm512_srai_epi32
#define v_packs _mm512_packs_epi32

VFN vec
v_shift(vec v, vec prev)
{
	static const uint16_t from[32] = { 63, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10,
		11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26,
		27, 28, 29, 30 };

	return _mm512_permutex2var_epi16(v, v_load(from), prev);
}
VFN vec
v_pick(uint32_t bits, vec a, vec b)
{
	return _mm512_mask_mov_epi16(b, bits, a);
}
VFN vec
v_pick_neg(vec c, vec a, vec b)
{
	return _mm512_mask_mov_epi16(b, _mm512_movepi16_mask(c), a);
}
VFN vec
v_pick_eq(vec c, vec d, vec e, vec a, vec b)
{
	return _mm512_mask_mov_epi16(b,
	    _mm512_mask_cmpeq_epi16_mask(_mm512_cmpeq_epi16_mask(c, d), c, e),
	    a);
}
VFN uint32_t
v_over(vec v, int16_t n)
{
	return _mm512_cmpgt_epi16_mask(v, v_set1(n));
}
VFN uint32_t
v_big(vec z)
{
	return _mm512_cmpge_epu16_mask(z, v_set1(WAVE_ESCAPE));
}

/* Context of sixteen energies: the exponent of a float and the first bit of
 * its fraction are floor(log2) and the bit below the leading one; exact. */
VFN xvec
context16(__m256i energy)
{
	__m512i n = _mm512_add_epi32(
	    _mm512_cvtepu16_epi32(energy), _mm512_set1_epi32(1));

	n = _mm512_castps_si512(_mm512_cvtepi32_ps(n));
	return _mm512_sub_epi32(
	    _mm512_srli_epi32(n, 22), _mm512_set1_epi32(254));
}
VFN xvec
x_context(vec energy, uint32_t i)
{
	return context16(i == 0 ? _mm512_castsi512_si256(energy)
				: _mm512_extracti64x4_epi64(energy, 1));
}
VFN vec
v_context(vec energy)
{
	static const uint16_t low[32] = { 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20,
		22, 24, 26, 28, 30, 32, 34, 36, 38, 40, 42, 44, 46, 48, 50, 52,
		54, 56, 58, 60, 62 };

	return _mm512_permutex2var_epi16(
	    x_context(energy, 0), v_load(low), x_context(energy, 1));
}
/* Last lanes of p t e d, in this order, to 8 bytes. */
VFN void
v_store_last(void *out, vec p, vec t, vec e, vec d)
{
	__m512i pt = _mm512_unpackhi_epi16(p, t);
	__m512i ed = _mm512_unpackhi_epi16(e, d);
	__m128i all =
	    _mm512_extracti32x4_epi32(_mm512_unpackhi_epi32(pt, ed), 3);

	_mm_storel_epi64(out, _mm_unpackhi_epi64(all, all));
}

#define x_load v_load
#define x_store v_store
#define DOWN (_MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC)

/* One symbol of sixteen states, encoder.  x / f by floats rounded down: the
 * quotient is below 2^21 and at most one too small; the remainder tells. */
VFN xvec
x_put(xvec x, const uint16_t *sym, uint32_t act, const struct wave_tables *t,
    uint8_t **end)
{
	__mmask16 in = (__mmask16)act, out, low;
	__m512i at =
	    _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)sym));
	__m512i e = _mm512_mask_i32gather_epi32(
	    _mm512_set1_epi32(1 << 16), in, at, t->enc, 4);
	__m512i f = _mm512_srli_epi32(e, 16), q, r;
	__m512 xf, ff;
	uint32_t n;

	out = _mm512_mask_cmpge_epu32_mask(
	    in, _mm512_srli_epi32(x, 32 - WAVE_BITS), f);
	n = (uint32_t)__builtin_popcount(out);
	*end -= (size_t)2 * n;
	_mm256_mask_storeu_epi16(*end, (__mmask16)((1u << n) - 1),
	    _mm512_cvtepi32_epi16(_mm512_maskz_compress_epi32(out, x)));
	r = _mm512_mask_srli_epi32(x, out, x, 16);
	xf = _mm512_cvt_roundepu32_ps(r, DOWN);
	ff = _mm512_cvtepi32_ps(f);
	q = _mm512_cvttps_epu32(_mm512_div_round_ps(xf, ff, DOWN));
	r = _mm512_sub_epi32(r, _mm512_mullo_epi32(q, f));
	low = _mm512_cmpge_epu32_mask(r, f);
	r = _mm512_mask_sub_epi32(r, low, r, f);
	q = _mm512_mask_add_epi32(q, low, q, _mm512_set1_epi32(1));
	q = _mm512_add_epi32(_mm512_slli_epi32(q, WAVE_BITS), r);
	return _mm512_mask_add_epi32(
	    x, in, q, _mm512_and_si512(e, _mm512_set1_epi32(0xffff)));
}

/* One symbol of sixteen states, decoder.  False: no words left. */
VFN bool
x_get(xvec *state, xvec ctx, uint32_t act, const struct wave_tables *t,
    struct wave_src *src, xvec *entry)
{
	const __m512i low = _mm512_set1_epi32(4095);
	__mmask16 in = (__mmask16)act, need;
	__m512i x = *state, slot, e, y;
	ptrdiff_t bytes;
	__m256i words;

	slot = _mm512_and_si512(x, _mm512_set1_epi32(WAVE_ONE - 1));
	slot = _mm512_or_si512(_mm512_slli_epi32(ctx, WAVE_BITS), slot);
	e = _mm512_i32gather_epi32(slot, t->dec, 4);
	y = _mm512_mullo_epi32(
	    _mm512_srli_epi32(x, WAVE_BITS), _mm512_and_si512(e, low));
	x = _mm512_mask_add_epi32(
	    x, in, y, _mm512_and_si512(_mm512_srli_epi32(e, 12), low));
	need = _mm512_mask_cmplt_epu32_mask(
	    in, x, _mm512_set1_epi32(WAVE_STATE_MIN));
	bytes = 2 * (ptrdiff_t)__builtin_popcount(need);
	if (__builtin_expect(src->end - src->words >= 32, 1)) {
		words = _mm256_loadu_si256((const void *)src->words);
	} else {
		if (src->end - src->words < bytes)
			return false;
		words = _mm256_maskz_loadu_epi16(
		    (__mmask16)((1u << bytes / 2) - 1), src->words);
	}
	src->words += bytes;
	*state = _mm512_mask_or_epi32(x, need, _mm512_slli_epi32(x, 16),
	    _mm512_maskz_expand_epi32(need, _mm512_cvtepu16_epi32(words)));
	*entry = e;
	return true;
}
/* Top bytes of the entries of 32 lanes, as signed numbers. */
VFN vec
x_residuals(const xvec e[2])
{
	static const uint16_t high[32] = { 1, 3, 5, 7, 9, 11, 13, 15, 17, 19,
		21, 23, 25, 27, 29, 31, 33, 35, 37, 39, 41, 43, 45, 47, 49, 51,
		53, 55, 57, 59, 61, 63 };

	return v_sra(_mm512_permutex2var_epi16(e[0], v_load(high), e[1]), 8);
}

#include "store/blob/wave_lanes.inc.h"

static bool
avx512_usable(void)
{
	return __builtin_cpu_supports("avx512f") &&
	       __builtin_cpu_supports("avx512bw") &&
	       __builtin_cpu_supports("avx512dq") &&
	       __builtin_cpu_supports("avx512vl") &&
	       __builtin_cpu_supports("bmi2") &&
	       __builtin_cpu_supports("popcnt");
}

static VTARGET void
avx512_range(const uint16_t *px, size_t n, uint16_t u[2], int16_t s[2])
{
	vec ulo = v_set1((int16_t)px[0]), uhi = ulo, slo = ulo, shi = ulo;
	uint16_t few[5][VLANES];
	size_t i;

	for (i = 0; i + VLANES <= n; i += VLANES) {
		vec v = v_load(px + i);

		ulo = _mm512_min_epu16(ulo, v);
		uhi = _mm512_max_epu16(uhi, v);
		slo = _mm512_min_epi16(slo, v);
		shi = _mm512_max_epi16(shi, v);
	}
	v_store(few[0], ulo);
	v_store(few[1], uhi);
	v_store(few[2], slo);
	v_store(few[3], shi);
	v_store(few[4], ulo); /* and the rest over it */
	memcpy(few[4], px + i, (n - i) * sizeof(*px));
	wave_path_scalar.range(few[0], (size_t)5 * VLANES, u, s);
}

/* Sixteen samples at p, those of the lanes in m; the others are all equal. */
VFN __m512i
gram_row(const uint16_t *p, __mmask16 m, uint16_t base)
{
	return _mm512_cvtepi16_epi32(_mm256_sub_epi16(
	    _mm256_maskz_loadu_epi16(m, p), _mm256_set1_epi16((short)base)));
}

/* The scaled differences of up to sixteen pixels, as scalar_gram has them. */
VFN void
gram_vars(const uint16_t *p, uint32_t w, uint32_t count, uint16_t base,
    __m512i v[8], uint32_t *n)
{
	static const int8_t dy[8] = { 0, 1, 1, 2, 0, 2, 1, 0 };
	static const int8_t dx[8] = { -1, -1, 1, 0, -2, 1, -2, 0 };
	const __m512i eight = _mm512_set1_epi32(8);
	__mmask16 m = (__mmask16)wave_below(count);
	__m512i t = gram_row(p - w, m, base), act = eight, s, r;
	unsigned i;

	WAVE_UNROLL
	for (i = 0; i < 8; i++) {
		v[i] = _mm512_sub_epi32(
		    gram_row(p - (ptrdiff_t)w * dy[i] + dx[i], m, base), t);
		if (i < 7)
			act = _mm512_add_epi32(act, _mm512_abs_epi32(v[i]));
	}
	*n +=
	    (uint32_t)__builtin_popcount(_mm512_cmpneq_epi32_mask(act, eight) |
					 _mm512_test_epi32_mask(v[7], v[7]));
	s = _mm512_castps_si512(_mm512_cvtepi32_ps(act)); /* floor(log2) */
	s = _mm512_sub_epi32(_mm512_srli_epi32(s, 23), _mm512_set1_epi32(127));
	r = _mm512_srli_epi32(_mm512_sllv_epi32(_mm512_set1_epi32(1), s), 1);
	WAVE_UNROLL
	for (i = 0; i < 8; i++)
		v[i] = _mm512_srav_epi32(
		    _mm512_add_epi32(_mm512_slli_epi32(v[i], 8), r), s);
	v[7] = _mm512_min_epi32(v[7], _mm512_set1_epi32(1023));
	v[7] = _mm512_max_epi32(v[7], _mm512_set1_epi32(-1023));
}

/* Integers, so the order of the sums does not matter. */
static VTARGET void
avx512_gram(const struct wave_span *s, int32_t sum[8][8], uint32_t *n)
{
	__m512i acc[8][8], v[8], v2[8];
	unsigned i, j;
	uint32_t x;

	for (i = 0; i < 8; i++)
		for (j = i; j < 8; j++)
			acc[i][j] = v_zero();
	for (x = s->x; x < s->end; x += 32) {
		uint32_t left = s->end - x;
		const uint16_t *p = s->px + x;

		gram_vars(p, s->w, left, s->base, v, n);
		gram_vars(
		    p + 16, s->w, left > 16 ? left - 16 : 0, s->base, v2, n);
		WAVE_UNROLL
		for (i = 0; i < 8; i++)
			v[i] = _mm512_mask_blend_epi16(
			    0xaaaaaaaa, v[i], _mm512_slli_epi32(v2[i], 16));
		WAVE_UNROLL
		for (i = 0; i < 8; i++) {
			WAVE_UNROLL
			for (j = i; j < 8; j++)
				acc[i][j] =
				    v_add32(acc[i][j], v_madd(v[i], v[j]));
		}
	}
	for (i = 0; i < 8; i++)
		for (j = i; j < 8; j++)
			sum[i][j] += _mm512_reduce_add_epi32(acc[i][j]);
}

const struct wave_path wave_path_avx512 = {
	.name = "avx512",
	.usable = avx512_usable,
	.vector = true,
	.range = avx512_range,
	.gram = avx512_gram,
	.model = lanes_model,
	.code = lanes_code,
	.decode = lanes_decode,
};
#endif
