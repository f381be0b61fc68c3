/* crypto/hash_lanes.c: the BLAKE2b compression function (RFC 7693 section
 * 3.2) on 8 (AVX-512) or 4 (AVX2) messages at once, one per 64-bit element
 * of a register.  A block of every message is loaded and transposed, so that
 * register i holds word i of all; then the rounds are those of one message.
 *
 * Only these functions are compiled for the wide registers; hash_lanes_of()
 * asks the processor before it hands one out. */
#include "crypto/hash_lanes.h"

#if defined(__x86_64__)

#include <immintrin.h>

static const uint64_t iv[8] = { 0x6a09e667f3bcc908, 0xbb67ae8584caa73b,
	0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1, 0x510e527fade682d1,
	0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179 };

/* clang-format off */
static const uint8_t sigma[12][16] = {
	{ 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 },
	{ 14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3 },
	{ 11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4 },
	{ 7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8 },
	{ 9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13 },
	{ 2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9 },
	{ 12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11 },
	{ 13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10 },
	{ 6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5 },
	{ 10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0 },
	{ 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 },
	{ 14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3 },
};
/* clang-format on */

/* Arguments are names and places in arrays.
 * NOLINTBEGIN(bugprone-macro-parentheses)
 *
 * The eight quarter rounds of a round: columns, then diagonals. */
#define ROUND(G, v, m, s)                                                      \
	do {                                                                   \
		G(v, 0, 4, 8, 12, m[(s)[0]], m[(s)[1]]);                       \
		G(v, 1, 5, 9, 13, m[(s)[2]], m[(s)[3]]);                       \
		G(v, 2, 6, 10, 14, m[(s)[4]], m[(s)[5]]);                      \
		G(v, 3, 7, 11, 15, m[(s)[6]], m[(s)[7]]);                      \
		G(v, 0, 5, 10, 15, m[(s)[8]], m[(s)[9]]);                      \
		G(v, 1, 6, 11, 12, m[(s)[10]], m[(s)[11]]);                    \
		G(v, 2, 7, 8, 13, m[(s)[12]], m[(s)[13]]);                     \
		G(v, 3, 4, 9, 14, m[(s)[14]], m[(s)[15]]);                     \
	} while (0)

#define WIDE512 __attribute__((target("avx512f")))
#define WIDE256 __attribute__((target("avx2")))

/* --- eight lanes --- */

#define G512(v, a, b, c, d, x, y)                                              \
	do {                                                                   \
		v[a] = _mm512_add_epi64(_mm512_add_epi64(v[a], v[b]), x);      \
		v[d] = _mm512_ror_epi64(_mm512_xor_si512(v[d], v[a]), 32);     \
		v[c] = _mm512_add_epi64(v[c], v[d]);                           \
		v[b] = _mm512_ror_epi64(_mm512_xor_si512(v[b], v[c]), 24);     \
		v[a] = _mm512_add_epi64(_mm512_add_epi64(v[a], v[b]), y);      \
		v[d] = _mm512_ror_epi64(_mm512_xor_si512(v[d], v[a]), 16);     \
		v[c] = _mm512_add_epi64(v[c], v[d]);                           \
		v[b] = _mm512_ror_epi64(_mm512_xor_si512(v[b], v[c]), 63);     \
	} while (0)

/* m[i] = word i of each of the eight messages, from 64 bytes of each. */
static inline WIDE512 void
load512(const struct hash_lanes *l, size_t off, __m512i m[8])
{
	__m512i a[8], b[8];
	unsigned i;

#pragma GCC unroll 8
	for (i = 0; i < 8; i++)
		a[i] = _mm512_loadu_si512(l->p[i] + off);
#pragma GCC unroll 8
	for (i = 0; i < 8; i += 2) {
		b[i] = _mm512_unpacklo_epi64(a[i], a[i + 1]);
		b[i + 1] = _mm512_unpackhi_epi64(a[i], a[i + 1]);
	}
#pragma GCC unroll 2
	for (i = 0; i < 2; i++) {
		a[i] = _mm512_shuffle_i64x2(b[i], b[i + 2], 0x88);
		a[i + 2] = _mm512_shuffle_i64x2(b[i], b[i + 2], 0xdd);
		a[i + 4] = _mm512_shuffle_i64x2(b[i + 4], b[i + 6], 0x88);
		a[i + 6] = _mm512_shuffle_i64x2(b[i + 4], b[i + 6], 0xdd);
	}
#pragma GCC unroll 4
	for (i = 0; i < 4; i++) {
		m[i] = _mm512_shuffle_i64x2(a[i], a[i + 4], 0x88);
		m[i + 4] = _mm512_shuffle_i64x2(a[i], a[i + 4], 0xdd);
	}
}

static WIDE512 void /* NOLINTNEXTLINE(readability-function-size): macros */
compress512(struct hash_lanes *l, size_t blocks)
{
	__m512i h[8], v[16], m[16], t = _mm512_loadu_si512(l->t);
	size_t i, k;

#pragma GCC unroll 8
	for (i = 0; i < 8; i++)
		h[i] = _mm512_loadu_si512(l->h[i]);
	for (k = 0; k < blocks; k++) {
		load512(l, k * HASH_BLOCK_BYTES, m);
		load512(l, k * HASH_BLOCK_BYTES + 64, m + 8);
		t = _mm512_add_epi64(t, _mm512_loadu_si512(l->step));
#pragma GCC unroll 8
		for (i = 0; i < 8; i++) {
			v[i] = h[i];
			v[i + 8] = _mm512_set1_epi64((long long)iv[i]);
		}
		v[12] = _mm512_xor_si512(v[12], t);
		v[14] = _mm512_xor_si512(v[14], _mm512_loadu_si512(l->last));
#pragma GCC unroll 12
		for (i = 0; i < 12; i++)
			ROUND(G512, v, m, sigma[i]);
#pragma GCC unroll 8
		for (i = 0; i < 8; i++)
			h[i] = _mm512_xor_si512(
			    h[i], _mm512_xor_si512(v[i], v[i + 8]));
	}
#pragma GCC unroll 8
	for (i = 0; i < 8; i++) {
		_mm512_storeu_si512(l->h[i], h[i]);
		l->p[i] += blocks * HASH_BLOCK_BYTES;
	}
	_mm512_storeu_si512(l->t, t);
}

/* --- four lanes --- */

#define LOAD256(p) _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define STORE256(p, x) _mm256_storeu_si256((__m256i *)(void *)(p), x)

static inline WIDE256 __m256i
ror256_bytes(__m256i x, __m256i order)
{
	return _mm256_shuffle_epi8(x, order);
}

static inline WIDE256 __m256i
ror256_63(__m256i x)
{
	return _mm256_xor_si256(
	    _mm256_srli_epi64(x, 63), _mm256_add_epi64(x, x));
}

#define G256(v, a, b, c, d, x, y)                                              \
	do {                                                                   \
		v[a] = _mm256_add_epi64(_mm256_add_epi64(v[a], v[b]), x);      \
		v[d] =                                                         \
		    _mm256_shuffle_epi32(_mm256_xor_si256(v[d], v[a]), 0xb1);  \
		v[c] = _mm256_add_epi64(v[c], v[d]);                           \
		v[b] = ror256_bytes(_mm256_xor_si256(v[b], v[c]), r24);        \
		v[a] = _mm256_add_epi64(_mm256_add_epi64(v[a], v[b]), y);      \
		v[d] = ror256_bytes(_mm256_xor_si256(v[d], v[a]), r16);        \
		v[c] = _mm256_add_epi64(v[c], v[d]);                           \
		v[b] = ror256_63(_mm256_xor_si256(v[b], v[c]));                \
	} while (0)

/* m[i] = word i of each of the four messages, from 32 bytes of each. */
static inline WIDE256 void
load256(const struct hash_lanes *l, size_t off, __m256i m[4])
{
	__m256i a = LOAD256(l->p[0] + off), b = LOAD256(l->p[1] + off);
	__m256i c = LOAD256(l->p[2] + off), d = LOAD256(l->p[3] + off);
	__m256i e = _mm256_unpacklo_epi64(a, b),
		f = _mm256_unpackhi_epi64(a, b);
	__m256i g = _mm256_unpacklo_epi64(c, d),
		h = _mm256_unpackhi_epi64(c, d);

	m[0] = _mm256_permute2x128_si256(e, g, 0x20);
	m[1] = _mm256_permute2x128_si256(f, h, 0x20);
	m[2] = _mm256_permute2x128_si256(e, g, 0x31);
	m[3] = _mm256_permute2x128_si256(f, h, 0x31);
}

static WIDE256 void /* NOLINTNEXTLINE(readability-function-size): macros */
compress256(struct hash_lanes *l, size_t blocks)
{
	const __m256i r24 =
	    _mm256_setr_epi8(3, 4, 5, 6, 7, 0, 1, 2, 11, 12, 13, 14, 15, 8, 9,
		10, 3, 4, 5, 6, 7, 0, 1, 2, 11, 12, 13, 14, 15, 8, 9, 10);
	const __m256i r16 =
	    _mm256_setr_epi8(2, 3, 4, 5, 6, 7, 0, 1, 10, 11, 12, 13, 14, 15, 8,
		9, 2, 3, 4, 5, 6, 7, 0, 1, 10, 11, 12, 13, 14, 15, 8, 9);
	__m256i h[8], v[16], m[16], t = LOAD256(l->t);
	size_t i, k;

#pragma GCC unroll 8
	for (i = 0; i < 8; i++)
		h[i] = LOAD256(l->h[i]);
	for (k = 0; k < blocks; k++) {
#pragma GCC unroll 4
		for (i = 0; i < 4; i++)
			load256(l, k * HASH_BLOCK_BYTES + 32 * i, m + 4 * i);
		t = _mm256_add_epi64(t, LOAD256(l->step));
#pragma GCC unroll 8
		for (i = 0; i < 8; i++) {
			v[i] = h[i];
			v[i + 8] = _mm256_set1_epi64x((long long)iv[i]);
		}
		v[12] = _mm256_xor_si256(v[12], t);
		v[14] = _mm256_xor_si256(v[14], LOAD256(l->last));
#pragma GCC unroll 12
		for (i = 0; i < 12; i++)
			ROUND(G256, v, m, sigma[i]);
#pragma GCC unroll 8
		for (i = 0; i < 8; i++)
			h[i] = _mm256_xor_si256(
			    h[i], _mm256_xor_si256(v[i], v[i + 8]));
	}
#pragma GCC unroll 8
	for (i = 0; i < 8; i++)
		STORE256(l->h[i], h[i]);
#pragma GCC unroll 4
	for (i = 0; i < 4; i++)
		l->p[i] += blocks * HASH_BLOCK_BYTES;
	STORE256(l->t, t);
}

hash_lanes_fn
hash_lanes_of(enum hash_path path, unsigned *lanes)
{
	if (path == HASH_AVX512 && __builtin_cpu_supports("avx512f")) {
		*lanes = 8;
		return compress512;
	}
	if (path == HASH_AVX2 && __builtin_cpu_supports("avx2")) {
		*lanes = 4;
		return compress256;
	}
	return NULL;
}

/* NOLINTEND(bugprone-macro-parentheses) */

#else

hash_lanes_fn
hash_lanes_of(enum hash_path path, unsigned *lanes)
{
	(void)path;
	(void)lanes;
	return NULL;
}

#endif
