/* crypto/random.c: start of the library, randomness, wiping, comparing.
 *
 * The only failure is a machine without entropy, reported once by cry_init;
 * libsodium aborts by itself if the kernel later refuses random bytes. */
#include "crypto/crypto_internal.h"

enum err
cry_init(void)
{
	return sodium_init() < 0 ? ERR_FOREIGN : ERR_OK;
}

void
cry_wipe(void *p, size_t n)
{
	sodium_memzero(p, n);
}

void
cry_random(void *out, size_t n)
{
	randombytes_buf(out, n);
}

bool
cry_equal(const void *a, const void *b, size_t n)
{
	return sodium_memcmp(a, b, n) == 0;
}
