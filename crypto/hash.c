/* crypto/hash.c: BLAKE2b (RFC 7693), SHA-256, subkeys.
 *
 * Nothing here can fail: the output lengths are constants checked by REQUIRE,
 * and an empty slice is a valid input. */
#include "crypto/crypto_internal.h"

_Static_assert(sizeof(struct cry_hasher) == sizeof(crypto_generichash_state),
    "cry_hasher holds libsodium's state");
_Static_assert(sizeof(struct cry_id) <= crypto_generichash_BYTES_MAX,
    "BLAKE2b can make a cry_id");
_Static_assert(sizeof(struct cry_key) == crypto_kdf_KEYBYTES, "kdf key");
_Static_assert(crypto_kdf_CONTEXTBYTES == 8, "kdf context");

void
cry_hash(struct slice in, struct cry_id *out)
{
	(void)crypto_generichash(out->b, sizeof(out->b), in.p, in.n, NULL, 0);
}

static void
hash_u64(crypto_generichash_state *st, uint64_t v)
{
	uint8_t t[8];
	size_t i;

	for (i = 0; i < sizeof(t); i++)
		t[i] = (uint8_t)(v >> (8 * i));
	(void)crypto_generichash_update(st, t, sizeof(t));
}

void
cry_hash_parts(const struct cry_key *key, const char *domain,
    const struct slice *parts, size_t n_parts, uint8_t *out, size_t out_n)
{
	crypto_generichash_state st;
	size_t n = strlen(domain), i;
	uint8_t len = (uint8_t)n;

	REQUIRE(n <= CRY_DOMAIN_MAX);
	REQUIRE(out_n >= crypto_generichash_BYTES_MIN);
	REQUIRE(out_n <= crypto_generichash_BYTES_MAX);
	(void)crypto_generichash_init(&st, key == NULL ? NULL : key->b,
	    key == NULL ? 0 : sizeof(key->b), out_n);
	(void)crypto_generichash_update(&st, &len, 1);
	(void)crypto_generichash_update(&st, (const uint8_t *)domain, n);
	for (i = 0; i < n_parts; i++) {
		hash_u64(&st, parts[i].n);
		(void)crypto_generichash_update(&st, parts[i].p, parts[i].n);
	}
	(void)crypto_generichash_final(&st, out, out_n);
	sodium_memzero(&st, sizeof(st));
}

/* libsodium wants its state 64-byte aligned, which a struct inside somebody's
 * heap object is not: work on an aligned copy. */
void
cry_hasher_init(struct cry_hasher *h)
{
	crypto_generichash_state st;

	(void)crypto_generichash_init(&st, NULL, 0, sizeof(struct cry_id));
	memcpy(h->state, &st, sizeof(st));
}

void
cry_hasher_add(struct cry_hasher *h, struct slice in)
{
	crypto_generichash_state st;

	memcpy(&st, h->state, sizeof(st));
	(void)crypto_generichash_update(&st, in.p, in.n);
	memcpy(h->state, &st, sizeof(st));
}

void
cry_hasher_end(struct cry_hasher *h, struct cry_id *out)
{
	crypto_generichash_state st;

	memcpy(&st, h->state, sizeof(st));
	(void)crypto_generichash_final(&st, out->b, sizeof(out->b));
	sodium_memzero(&st, sizeof(st));
	sodium_memzero(h->state, sizeof(h->state));
}

void
cry_sha256(struct slice in, uint8_t out[32])
{
	(void)crypto_hash_sha256(out, in.p, in.n);
}

void
cry_subkey(const struct cry_key *key, const char ctx[8], uint64_t id,
    struct cry_key *out)
{
	(void)crypto_kdf_derive_from_key(
	    out->b, sizeof(out->b), id, ctx, key->b);
}
