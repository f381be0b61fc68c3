/* tests/lib/store_lib.c: seeded data for the tests of the store. */
#include "lib/store_lib.h"

#include <string.h>

uint64_t
prng_next(struct prng *p)
{
	uint64_t z = (p->s += 0x9e3779b97f4a7c15u); /* splitmix64 */

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

uint32_t
prng_below(struct prng *p, uint32_t n)
{
	return (uint32_t)(prng_next(p) % n);
}

void
prng_fill(struct prng *p, void *out, size_t n)
{
	uint8_t *o = out;

	while (n > 0) {
		uint64_t v = prng_next(p);
		size_t k = n < 8 ? n : 8;

		memcpy(o, &v, k);
		o += k;
		n -= k;
	}
}

void
prng_image(
    struct prng *p, uint8_t *out, size_t bytes, size_t width, int is_signed)
{
	size_t i;

	for (i = 0; i < bytes / 2; i++) {
		long x = (long)(i % width), y = (long)(i / width);
		long v = 400 + (x * x + y * y) / 400 % 2000;

		v += (long)prng_below(p, 12);
		if (is_signed)
			v -= 1000;
		out[2 * i] = (uint8_t)v;
		out[2 * i + 1] = (uint8_t)(v >> 8);
	}
	if (bytes % 2 != 0)
		out[bytes - 1] = 0x5a;
}
