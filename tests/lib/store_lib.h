/* tests/lib/store_lib.h: small things the tests of the store share. */
#ifndef PSC_TESTS_STORE_LIB_H
#define PSC_TESTS_STORE_LIB_H

#include <stdint.h>
#include <stddef.h>

/* A generator with a seed of its own, so that a run can be repeated. */
struct prng {
	uint64_t s;
};
uint64_t prng_next(struct prng *p);
uint32_t prng_below(struct prng *p, uint32_t n); /* n > 0 */
void prng_fill(struct prng *p, void *out, size_t n);
/* 16-bit samples like a slice of an MR volume: smooth, with noise; signed
 * ones cross zero. */
void prng_image(
    struct prng *p, uint8_t *out, size_t bytes, size_t width, int is_signed);

#endif
