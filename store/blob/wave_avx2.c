/* store/blob/wave_avx2.c: the pixel loops on 256-bit vectors: 16 pixels or 8
 * coder states in one (AVX2; asked for at run time). */
#if defined(__x86_64__)
#include <immintrin.h>

#include "store/blob/wave_internal.h"

#define VTARGET __attribute__((target("avx2,bmi,lzcnt,popcnt")))
#define VFN static inline __attribute__((always_inline)) VTARGET
#define VLANES 16u
#define XLANES 8u
#define vec __m256i
#define xvec __m256i

VFN vec
v_load(const void *p)
{
	return _mm256_loadu_si256(p);
}
VFN void
v_store(void *p, vec v)
{
	_mm256_storeu_si256(p, v);
}
VFN vec
v_set1(int16_t v)
{
	return _mm256_set1_epi16(v);
}
VFN vec
v_set32(int v)
{
	return _mm256_set1_epi32(v);
}
VFN vec
v_zero(void)
{
	return _mm256_setzero_si256();
}
#define v_add _mm256_add_epi16
#define v_sub _mm256_sub_epi16
#define v_min _mm256_min_epi16
#define v_max _mm256_max_epi16
#define v_minu _mm256_min_epu16
#define v_abs _mm256_abs_epi16
#define v_or _mm256_or_si256
#define v_xor _mm256_xor_si256
#define v_shl _mm256_slli_epi16
#define v_sra _mm256_srai_epi16
#define v_unlo _mm256_unpacklo_epi16
#define v_unhi _mm256_unpackhi_epi16
#define v_madd _mm256_madd_epi16
#define v_add32 _mm256_add_epi32
#define v_sra32 _mm256_srai_epi32
#define v_packs _mm256_packs_epi32

VFN vec
v_shift(vec v, vec prev)
{
	return _mm256_alignr_epi8(
	    v, _mm256_permute2x128_si256(prev, v, 0x21), 14);
}
VFN vec
v_pick(uint32_t bits, vec a, vec b)
{
	const vec lane = _mm256_setr_epi16(1, 2, 4, 8, 16, 32, 64, 128, 256,
	    512, 1024, 2048, 4096, 8192, 16384, -32768);
	vec m = _mm256_and_si256(_mm256_set1_epi16((short)bits), lane);

	return _mm256_blendv_epi8(b, a, _mm256_cmpeq_epi16(m, lane));
}
VFN vec
v_pick_neg(vec c, vec a, vec b)
{
	return _mm256_blendv_epi8(b, a, v_sra(c, 15));
}
VFN vec
v_pick_eq(vec c, vec d, vec e, vec a, vec b)
{
	return _mm256_blendv_epi8(b, a,
	    _mm256_and_si256(
		_mm256_cmpeq_epi16(c, d), _mm256_cmpeq_epi16(c, e)));
}
/* One bit a lane of a mask of whole lanes. */
VFN uint32_t
v_bits(vec m)
{
	return (uint32_t)_mm_movemask_epi8(_mm_packs_epi16(
	    _mm256_castsi256_si128(m), _mm256_extracti128_si256(m, 1)));
}
VFN uint32_t
v_over(vec v, int16_t n)
{
	return v_bits(_mm256_cmpgt_epi16(v, v_set1(n)));
}
VFN uint32_t
v_big(vec z)
{
	vec high = _mm256_srli_epi16(z, 7); /* WAVE_ESCAPE is 128 */

	return ~v_bits(_mm256_cmpeq_epi16(high, v_zero())) & 0xffff;
}

/* As in wave_avx512.c. */
VFN xvec
context8(__m256i energy)
{
	__m256i n = _mm256_add_epi32(energy, _mm256_set1_epi32(1));

	n = _mm256_castps_si256(_mm256_cvtepi32_ps(n));
	return _mm256_sub_epi32(
	    _mm256_srli_epi32(n, 22), _mm256_set1_epi32(254));
}
VFN xvec
x_context(vec energy, uint32_t i)
{
	return context8(_mm256_cvtepu16_epi32(
	    i == 0 ? _mm256_castsi256_si128(energy)
		   : _mm256_extracti128_si256(energy, 1)));
}
VFN vec
v_context(vec energy)
{
	return v_packs(context8(v_unlo(energy, v_zero())),
	    context8(v_unhi(energy, v_zero())));
}
VFN void
v_store_last(void *out, vec p, vec t, vec e, vec d)
{
	__m128i all = _mm256_extracti128_si256(
	    _mm256_unpackhi_epi32(v_unhi(p, t), v_unhi(e, d)), 1);

	_mm_storel_epi64(out, _mm_unpackhi_epi64(all, all));
}

#define x_load v_load
#define x_store v_store

/* Lanes of x by the bytes of where. */
VFN xvec
x_permute(xvec x, uint64_t where)
{
	return _mm256_permutevar8x32_epi32(
	    x, _mm256_cvtepu8_epi32(_mm_cvtsi64_si128((long long)where)));
}
/* All ones in the lanes of a set. */
VFN xvec
x_lanes(uint32_t act)
{
	const xvec lane = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);

	return _mm256_cmpeq_epi32(
	    _mm256_and_si256(_mm256_set1_epi32((int)act), lane), lane);
}
VFN uint32_t
x_bits(xvec m)
{
	return (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(m));
}
/* x / f in doubles: both are exact there, and no quotient of 32 bits by 11 is
 * within rounding of the next integer. */
VFN __m128i
divide4(__m128i x, __m128i f)
{
	__m256d xd =
	    _mm256_cvtepi32_pd(_mm_xor_si128(x, _mm_set1_epi32(INT32_MIN)));

	xd = _mm256_add_pd(xd, _mm256_set1_pd(2147483648.0));
	return _mm256_cvttpd_epi32(_mm256_div_pd(xd, _mm256_cvtepi32_pd(f)));
}
VFN xvec
x_divide(xvec x, xvec f)
{
	__m128i lo =
	    divide4(_mm256_castsi256_si128(x), _mm256_castsi256_si128(f));
	__m128i hi = divide4(
	    _mm256_extracti128_si256(x, 1), _mm256_extracti128_si256(f, 1));

	return _mm256_set_m128i(hi, lo);
}

/* One symbol of eight states, encoder.  The words of the lanes that are too
 * full go to the end of a vector, so that what is stored besides lies where
 * the next words will. */
VFN xvec
x_put(xvec x, const uint16_t *sym, uint32_t act, const struct wave_tables *t,
    uint8_t **end)
{
	const xvec low = _mm256_set1_epi32(0xffff);
	xvec in = x_lanes(act), out, e, f, q, r, words;
	uint32_t set, n;
	uint64_t at;

	e = _mm256_mask_i32gather_epi32(_mm256_set1_epi32(1 << 16),
	    (const void *)t->enc,
	    _mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)sym)), in, 4);
	f = _mm256_srli_epi32(e, 16);
	out = _mm256_cmpgt_epi32(f, _mm256_srli_epi32(x, 32 - WAVE_BITS));
	out = _mm256_andnot_si256(out, in);
	set = x_bits(out);
	n = (uint32_t)__builtin_popcount(set);
	at = n == 0 ? 0 : t->lanes_in[set] << (64 - 8 * n);
	words = x_permute(_mm256_and_si256(x, low), at);
	_mm_storeu_si128(
	    (void *)(*end - 16), _mm_packus_epi32(_mm256_castsi256_si128(words),
				     _mm256_extracti128_si256(words, 1)));
	*end -= (size_t)2 * n;
	r = _mm256_blendv_epi8(x, _mm256_srli_epi32(x, 16), out);
	q = x_divide(r, f);
	r = _mm256_sub_epi32(r, _mm256_mullo_epi32(q, f));
	r = _mm256_add_epi32(r, _mm256_slli_epi32(q, WAVE_BITS));
	r = _mm256_add_epi32(r, _mm256_and_si256(e, low));
	return _mm256_blendv_epi8(x, r, in);
}

/* One symbol of eight states, decoder.  False: no words left. */
VFN bool
x_get(xvec *state, xvec ctx, uint32_t act, const struct wave_tables *t,
    struct wave_src *src, xvec *entry)
{
	const xvec low = _mm256_set1_epi32(4095);
	xvec in = x_lanes(act), x = *state, slot, e, y, need, words;
	ptrdiff_t bytes;
	uint32_t set;
	__m128i next;

	slot = _mm256_and_si256(x, _mm256_set1_epi32(WAVE_ONE - 1));
	slot = _mm256_or_si256(_mm256_slli_epi32(ctx, WAVE_BITS), slot);
	e = _mm256_i32gather_epi32((const void *)t->dec, slot, 4);
	y = _mm256_mullo_epi32(
	    _mm256_srli_epi32(x, WAVE_BITS), _mm256_and_si256(e, low));
	y = _mm256_add_epi32(
	    y, _mm256_and_si256(_mm256_srli_epi32(e, 12), low));
	x = _mm256_blendv_epi8(x, y, in);
	need = _mm256_cmpeq_epi32(_mm256_srli_epi32(x, 16), v_zero());
	need = _mm256_and_si256(need, in);
	set = x_bits(need);
	bytes = 2 * (ptrdiff_t)__builtin_popcount(set);
	if (__builtin_expect(src->end - src->words >= 16, 1)) {
		next = _mm_loadu_si128((const void *)src->words);
	} else {
		uint8_t last[16] = { 0 };

		if (src->end - src->words < bytes)
			return false;
		memcpy(last, src->words, (size_t)(src->end - src->words));
		next = _mm_loadu_si128((const void *)last);
	}
	src->words += bytes;
	words = x_permute(_mm256_cvtepu16_epi32(next), t->rank_of[set]);
	y = _mm256_or_si256(_mm256_slli_epi32(x, 16), words);
	*state = _mm256_blendv_epi8(x, y, need);
	*entry = e;
	return true;
}
/* Top bytes of the entries of 16 lanes, as signed numbers. */
VFN vec
x_residuals(const xvec e[2])
{
	return _mm256_permute4x64_epi64(
	    v_packs(v_sra32(e[0], 24), v_sra32(e[1], 24)), 0xd8);
}

#include "store/blob/wave_lanes.inc.h"

static bool
avx2_usable(void)
{
	return __builtin_cpu_supports("avx2") &&
	       __builtin_cpu_supports("bmi") &&
	       __builtin_cpu_supports("popcnt");
}

static VTARGET void
avx2_range(const uint16_t *px, size_t n, uint16_t u[2], int16_t s[2])
{
	vec ulo = v_set1((int16_t)px[0]), uhi = ulo, slo = ulo, shi = ulo;
	uint16_t few[5][VLANES];
	size_t i;

	for (i = 0; i + VLANES <= n; i += VLANES) {
		vec v = v_load(px + i);

		ulo = _mm256_min_epu16(ulo, v);
		uhi = _mm256_max_epu16(uhi, v);
		slo = _mm256_min_epi16(slo, v);
		shi = _mm256_max_epi16(shi, v);
	}
	v_store(few[0], ulo);
	v_store(few[1], uhi);
	v_store(few[2], slo);
	v_store(few[3], shi);
	v_store(few[4], ulo);
	memcpy(few[4], px + i, (n - i) * sizeof(*px));
	wave_path_scalar.range(few[0], (size_t)5 * VLANES, u, s);
}

/* The scaled differences of eight pixels, as scalar_gram has them. */
VFN void
gram_vars(
    const uint16_t *p, uint32_t w, uint16_t base, __m256i v[8], uint32_t *n)
{
	static const int8_t dy[8] = { 0, 1, 1, 2, 0, 2, 1, 0 };
	static const int8_t dx[8] = { -1, -1, 1, 0, -2, 1, -2, 0 };
	const __m256i eight = _mm256_set1_epi32(8), zero = v_zero();
	const __m128i b = _mm_set1_epi16((short)base);
	__m256i t, act = eight, s, r;
	unsigned i;

	t = _mm256_cvtepi16_epi32(
	    _mm_sub_epi16(_mm_loadu_si128((const void *)(p - w)), b));
	WAVE_UNROLL
	for (i = 0; i < 8; i++) {
		const uint16_t *at = p - (ptrdiff_t)w * dy[i] + dx[i];

		v[i] = _mm256_sub_epi32(
		    _mm256_cvtepi16_epi32(
			_mm_sub_epi16(_mm_loadu_si128((const void *)at), b)),
		    t);
		if (i < 7)
			act = _mm256_add_epi32(act, _mm256_abs_epi32(v[i]));
	}
	r = _mm256_and_si256(
	    _mm256_cmpeq_epi32(act, eight), _mm256_cmpeq_epi32(v[7], zero));
	*n += 8 - (uint32_t)__builtin_popcount(x_bits(r));
	s = _mm256_castps_si256(_mm256_cvtepi32_ps(act)); /* floor(log2) */
	s = _mm256_sub_epi32(_mm256_srli_epi32(s, 23), _mm256_set1_epi32(127));
	r = _mm256_srli_epi32(_mm256_sllv_epi32(_mm256_set1_epi32(1), s), 1);
	WAVE_UNROLL
	for (i = 0; i < 8; i++)
		v[i] = _mm256_srav_epi32(
		    _mm256_add_epi32(_mm256_slli_epi32(v[i], 8), r), s);
	v[7] = _mm256_min_epi32(v[7], _mm256_set1_epi32(1023));
	v[7] = _mm256_max_epi32(v[7], _mm256_set1_epi32(-1023));
}

static VTARGET void
avx2_gram(const struct wave_span *s, int32_t sum[8][8], uint32_t *n)
{
	struct wave_span rest = *s;
	__m256i acc[8][8], v[8], v2[8];
	int32_t few[8];
	unsigned i, j, k;

	for (i = 0; i < 8; i++)
		for (j = i; j < 8; j++)
			acc[i][j] = v_zero();
	for (; rest.x + 16 <= s->end; rest.x += 16) {
		const uint16_t *p = s->px + rest.x;

		gram_vars(p, s->w, s->base, v, n);
		gram_vars(p + 8, s->w, s->base, v2, n);
		WAVE_UNROLL
		for (i = 0; i < 8; i++)
			v[i] = _mm256_blend_epi16(
			    v[i], _mm256_slli_epi32(v2[i], 16), 0xaa);
		for (i = 0; i < 8; i++)
			for (j = i; j < 8; j++)
				acc[i][j] =
				    v_add32(acc[i][j], v_madd(v[i], v[j]));
	}
	for (i = 0; i < 8; i++) {
		for (j = i; j < 8; j++) {
			v_store(few, acc[i][j]);
			for (k = 0; k < 8; k++)
				sum[i][j] += few[k];
		}
	}
	wave_path_scalar.gram(&rest, sum, n);
}

const struct wave_path wave_path_avx2 = {
	.name = "avx2",
	.usable = avx2_usable,
	.vector = true,
	.range = avx2_range,
	.gram = avx2_gram,
	.model = lanes_model,
	.code = lanes_code,
	.decode = lanes_decode,
};
#endif
