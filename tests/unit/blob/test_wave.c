/* Claims: what the wave codec codes it decodes to itself, for every kind of
 * sample, size and content; every path of this machine writes the same bytes
 * and reads the others'; Z grows by some bytes at most; damaged input gets the
 * same verdict and the same pixels from every path, and nothing outside the
 * input is read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>

#include "lib/store_lib.h"
#include "store/base/mem.h"
#include "store/blob/wave_internal.h"

#define GROWTH 64u

struct world {
	struct wave *c;
	struct buf z, other, back;
};

static int
setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	w->c = wave_new();
	w->z = w->other = w->back = BUF_MAX(4 * LIM_PIECE_BYTES);
	*state = w;
	return 0;
}

static int
teardown(void **state)
{
	struct world *w = *state;

	wave_free(w->c);
	buf_fini(&w->z);
	buf_fini(&w->other);
	buf_fini(&w->back);
	free(w);
	return 0;
}

/* Every path codes raw alike, and decodes what came out. */
static void
check(struct world *w, struct wave_shape sh, struct slice raw)
{
	const struct wave_path *p;
	unsigned i;

	for (i = 0; (p = wave_path_at(i)) != NULL; i++) {
		struct buf *to = i == 0 ? &w->z : &w->other;

		wave_path_force(w->c, p);
		buf_reset(to);
		assert_int_equal(wave_encode(w->c, &sh, raw, to), ERR_OK);
		assert_true(to->n <= raw.n + GROWTH);
		assert_true(slice_eq(buf_slice(to), buf_slice(&w->z)));
		buf_reset(&w->back);
		assert_int_equal(wave_decode(w->c, buf_slice(&w->z),
				     (uint32_t)raw.n, &w->back),
		    ERR_OK);
		assert_true(slice_eq(buf_slice(&w->back), raw));
	}
	assert_true(i >= 1);
}

enum pattern {
	NOISE,
	SMALL_NOISE,
	CONSTANT,
	EXTREMES,
	CHECKERS,
	RAMP,
	STRIPES,
	AROUND_ZERO,
	SPECKS,
	PATTERNS
};

static uint16_t
pattern_at(struct prng *p, enum pattern k, uint32_t x, uint32_t y)
{
	uint32_t r = (uint32_t)prng_next(p);

	switch (k) {
	case NOISE: return (uint16_t)r;
	case SMALL_NOISE: return (uint16_t)(1000 + r % 16);
	case CONSTANT: return 0xabcd;
	case EXTREMES: return r % 2 != 0 ? 0 : 0xffff;
	case CHECKERS: return (x + y) % 2 != 0 ? 0x8000 : 0x7fff;
	case RAMP: return (uint16_t)(x * 300 + y * 7);
	case STRIPES: return (uint16_t)(y % 2 * 40000 + x / 3);
	case AROUND_ZERO: return (uint16_t)(r % 9 - 4);
	case SPECKS: return r % 97 == 0 ? (uint16_t)(r >> 8) : 17;
	case PATTERNS:
	default: return 0;
	}
}

static void
pattern_fill(
    struct prng *p, enum pattern k, uint32_t w, uint32_t h, uint8_t *out)
{
	uint32_t x, y;

	for (y = 0; y < h; y++) {
		for (x = 0; x < w; x++, out += 2) {
			uint16_t v = pattern_at(p, k, x, y);

			memcpy(out, &v, 2);
		}
	}
}

static void
test_patterns_of_all_sizes_in_16_bits(void **state)
{
	static const uint16_t sizes[][2] = { { 1, 1 }, { 1, 70 }, { 70, 1 },
		{ 2, 2 }, { 3, 5 }, { 5, 3 }, { 31, 33 }, { 32, 32 },
		{ 33, 31 }, { 63, 65 }, { 64, 64 }, { 65, 63 }, { 66, 200 },
		{ 100, 4 }, { 127, 130 }, { 128, 32 }, { 128, 33 }, { 129, 65 },
		{ 130, 129 }, { 500, 3 }, { 128, 512 },
		{ 300, 219 } }; /* the last two: 64 lanes */
	struct world *w = *state;
	struct prng p = { 11 };
	unsigned s, k;

	for (s = 0; s < sizeof(sizes) / sizeof(*sizes); s++) {
		uint32_t wd = sizes[s][0], h = sizes[s][1];
		size_t n = (size_t)wd * h * 2;
		uint8_t *d = malloc(n + 1);

		for (k = 0; k < PATTERNS; k++) {
			struct wave_shape sh = { WAVE_16, (uint16_t)wd,
				(s + k) % 3 == 0 };

			pattern_fill(&p, (enum pattern)k, wd, h, d);
			d[n] = 0x5a; /* half a sample too much */
			check(w, sh, slice_of(d, n + (k & 1)));
		}
		free(d);
	}
}

static void
test_bytes_and_colours(void **state)
{
	static const uint16_t widths[] = { 1, 5, 64, 100, 131 };
	struct world *w = *state;
	struct prng p = { 12 };
	size_t n = 131 * 3 * 70 + 5, i;
	uint8_t *d = malloc(n);
	unsigned k, s;

	for (k = 0; k < 3; k++) {
		for (i = 0; i < n; i++)
			d[i] = k == 0 ? (uint8_t)prng_next(&p)
				      : (uint8_t)(i / 3 + i % 3 * 20 +
						  prng_below(&p, 3));
		for (s = 0; s < sizeof(widths) / sizeof(*widths); s++) {
			size_t row = widths[s];
			struct wave_shape sh = { WAVE_8, widths[s], k == 2 };

			check(w, sh, slice_of(d, row < 16 ? 900 : n));
			sh.samples = WAVE_RGB;
			check(w, sh, slice_of(d, row < 16 ? 900 : n));
		}
	}
	free(d);
}

static void
test_images_shrink_whichever_end_comes_first(void **state)
{
	struct world *w = *state;
	struct wave_shape sh = { WAVE_16, 256, false };
	struct prng p = { 13 };
	size_t n = 256 * 300 * 2, i, little;
	uint8_t *d = malloc(n);

	prng_image(&p, d, n, 256, 1);
	check(w, sh, slice_of(d, n));
	little = w->z.n;
	assert_true(little < n / 2);
	for (i = 0; i < n; i += 2) {
		uint8_t b = d[i];

		d[i] = d[i + 1];
		d[i + 1] = b;
	}
	check(w, sh, slice_of(d, n));
	assert_int_equal(w->z.n, little);
	free(d);
}

static void
test_shapes_it_does_not_code_are_refused(void **state)
{
	static const uint8_t d[200000];
	static const struct {
		struct wave_shape sh;
		size_t n;
	} no[] = { { { WAVE_16, 0, false }, 100 },
		{ { WAVE_16, 51, false }, 100 },
		{ { WAVE_16, WAVE_SIDE_MAX + 1, false }, 100000 },
		{ { WAVE_RGB, 34, false }, 100 },
		{ { WAVE_8, 1, false }, 5000 } };
	struct world *w = *state;
	size_t i;

	for (i = 0; i < sizeof(no) / sizeof(*no); i++) {
		buf_reset(&w->z);
		assert_int_equal(
		    wave_encode(w->c, &no[i].sh, slice_of(d, no[i].n), &w->z),
		    ERR_UNSUPPORTED);
		assert_int_equal(w->z.n, 0);
	}
}

/* All paths on bytes that are no Z, in a block of exactly their size. */
static void
expect_agreement(struct world *w, struct slice z, uint32_t raw_len)
{
	uint8_t *exact = malloc(z.n > 0 ? z.n : 1);
	const struct wave_path *p;
	enum err first = ERR_OK;
	unsigned i;

	memcpy(exact, z.p, z.n);
	for (i = 0; (p = wave_path_at(i)) != NULL; i++) {
		struct buf *to = i == 0 ? &w->other : &w->back;
		enum err e;

		wave_path_force(w->c, p);
		buf_reset(to);
		e = wave_decode(w->c, slice_of(exact, z.n), raw_len, to);
		assert_int_equal(to->n, e == ERR_OK ? raw_len : 0);
		if (i == 0)
			first = e;
		assert_int_equal(e, first);
		assert_true(slice_eq(buf_slice(to), buf_slice(&w->other)));
	}
	free(exact);
}

static void
test_damage_gets_one_verdict(void **state)
{
	struct world *w = *state;
	struct prng p = { 14 };
	size_t n = 140 * 470 * 2;
	uint8_t *d = malloc(n);
	unsigned round, i;

	prng_image(&p, d, n, 140, 1);
	for (round = 0; round < 1500; round++) {
		unsigned k = round % 5;
		struct wave_shape sh = { k < 3   ? WAVE_16
					 : k < 4 ? WAVE_8
						 : WAVE_RGB,
			k == 1 ? 20 : 140, k == 0 };
		uint32_t len = (uint32_t)(k == 1 ? 20 * 2 * 40 : n);

		if (round < 5 || round % 50 < 5) {
			buf_reset(&w->z);
			assert_int_equal(
			    wave_encode(w->c, &sh, slice_of(d, len), &w->z),
			    ERR_OK);
		} else {
			continue;
		}
		for (i = 0; i < 12; i++) {
			struct buf z = BUF_MAX(w->z.n);
			uint64_t cut = prng_below(&p, 4);
			size_t at;

			buf_put_slice(&z, buf_slice(&w->z));
			if (cut == 0)
				z.n = prng_below(&p, z.n);
			at = prng_below(&p, 2) != 0 ? prng_below(&p, z.n + 1)
						    : prng_below(&p, 300);
			if (at < z.n)
				z.p[at] ^= (uint8_t)(1u << prng_below(&p, 8));
			expect_agreement(
			    w, buf_slice(&z), i == 11 ? len + 1 : len);
			buf_fini(&z);
		}
	}
	free(d);
}

static void
test_out_of_memory_is_an_error(void **state)
{
	struct wave_shape sh = { WAVE_RGB, 40, false };
	struct prng p = { 15 };
	struct buf z = BUF_MAX(MIB);
	enum err e = ERR_NOMEM;
	struct wave *c = NULL;
	uint8_t d[40 * 3 * 40];
	long n;

	(void)state;
	prng_image(&p, d, sizeof(d), 60, 1);
	for (n = 0; n < 50 && e != ERR_OK; n++) {
		wave_free(c);
		buf_fini(&z);
		z = BUF_MAX(MIB);
		mem_fail_at(n);
		c = wave_new();
		e = c == NULL ? ERR_NOMEM
			      : wave_encode(c, &sh, slice_of(d, sizeof(d)), &z);
		mem_fail_at(-1);
		assert_true(e == ERR_OK || e == ERR_NOMEM);
	}
	assert_int_equal(e, ERR_OK);
	wave_free(c);
	buf_fini(&z);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_patterns_of_all_sizes_in_16_bits),
		T(test_bytes_and_colours),
		T(test_images_shrink_whichever_end_comes_first),
		T(test_shapes_it_does_not_code_are_refused),
		T(test_damage_gets_one_verdict),
		T(test_out_of_memory_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
