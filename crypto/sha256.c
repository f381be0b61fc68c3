/* crypto/sha256.c: SHA-256 in parts.  The state is copied in and out, so
 * that the caller's struct may live anywhere. */
#include "crypto/crypto.h"

#include <sodium.h>

_Static_assert(
    sizeof(crypto_hash_sha256_state) <= sizeof(struct cry_sha256_hasher),
    "state fits");

void
cry_sha256_init(struct cry_sha256_hasher *h)
{
	crypto_hash_sha256_state st;

	(void)crypto_hash_sha256_init(&st);
	memcpy(h->state, &st, sizeof(st));
}

void
cry_sha256_add(struct cry_sha256_hasher *h, struct slice in)
{
	crypto_hash_sha256_state st;

	memcpy(&st, h->state, sizeof(st));
	(void)crypto_hash_sha256_update(&st, in.p, in.n);
	memcpy(h->state, &st, sizeof(st));
}

void
cry_sha256_end(struct cry_sha256_hasher *h, uint8_t out[32])
{
	crypto_hash_sha256_state st;

	memcpy(&st, h->state, sizeof(st));
	(void)crypto_hash_sha256_final(&st, out);
	sodium_memzero(&st, sizeof(st));
	sodium_memzero(h->state, sizeof(h->state));
}
