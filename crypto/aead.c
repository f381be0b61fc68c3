/* crypto/aead.c: authenticated encryption.
 *
 * Sealing appends ciphertext and tag to a buf; the only failure is the buf's
 * own (limit, memory), which is sticky there.  Opening appends the plaintext
 * only after the tag was found right; otherwise out keeps its length. */
#include "crypto/crypto_internal.h"

_Static_assert(CRY_TAG_BYTES == crypto_aead_chacha20poly1305_ietf_ABYTES,
    "tag of ChaCha20-Poly1305");
_Static_assert(CRY_TAG_BYTES == crypto_aead_xchacha20poly1305_ietf_ABYTES,
    "tag of XChaCha20-Poly1305");
_Static_assert(CRY_NONCE_BYTES == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES,
    "nonce of XChaCha20-Poly1305");
_Static_assert(
    sizeof(struct cry_key) == crypto_aead_chacha20poly1305_ietf_KEYBYTES,
    "key of ChaCha20-Poly1305");

static const uint8_t chunk_nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES];

void
cry_chunk_seal(const struct cry_key *k, struct slice in, struct buf *out)
{
	uint8_t *at = NULL;

	REQUIRE(in.n <= SIZE_MAX - CRY_TAG_BYTES);
	at = buf_room(out, in.n + CRY_TAG_BYTES);
	if (at == NULL)
		return;
	(void)crypto_aead_chacha20poly1305_ietf_encrypt(
	    at, NULL, in.p, in.n, NULL, 0, NULL, chunk_nonce, k->b);
	buf_grew(out, in.n + CRY_TAG_BYTES);
}

enum err
cry_chunk_open(const struct cry_key *k, struct slice in, struct buf *out)
{
	uint8_t *at = NULL;

	if (in.n < CRY_TAG_BYTES)
		return ERR_AUTH;
	at = buf_room(out, in.n - CRY_TAG_BYTES);
	if (at == NULL)
		return buf_err(out);
	if (crypto_aead_chacha20poly1305_ietf_decrypt(
		at, NULL, NULL, in.p, in.n, NULL, 0, chunk_nonce, k->b) != 0)
		return ERR_AUTH;
	buf_grew(out, in.n - CRY_TAG_BYTES);
	return ERR_OK;
}

void
cry_aead_seal(const struct cry_key *k, const uint8_t nonce[CRY_NONCE_BYTES],
    struct slice ad, struct slice in, struct buf *out)
{
	uint8_t *at = NULL;

	REQUIRE(in.n <= SIZE_MAX - CRY_TAG_BYTES);
	at = buf_room(out, in.n + CRY_TAG_BYTES);
	if (at == NULL)
		return;
	(void)crypto_aead_xchacha20poly1305_ietf_encrypt(
	    at, NULL, in.p, in.n, ad.p, ad.n, NULL, nonce, k->b);
	buf_grew(out, in.n + CRY_TAG_BYTES);
}

enum err
cry_aead_open(const struct cry_key *k, const uint8_t nonce[CRY_NONCE_BYTES],
    struct slice ad, struct slice in, struct buf *out)
{
	uint8_t *at = NULL;

	if (in.n < CRY_TAG_BYTES)
		return ERR_AUTH;
	at = buf_room(out, in.n - CRY_TAG_BYTES);
	if (at == NULL)
		return buf_err(out);
	if (crypto_aead_xchacha20poly1305_ietf_decrypt(
		at, NULL, NULL, in.p, in.n, ad.p, ad.n, nonce, k->b) != 0)
		return ERR_AUTH;
	buf_grew(out, in.n - CRY_TAG_BYTES);
	return ERR_OK;
}

void
cry_box_local_seal(
    const struct cry_key *k, struct slice ad, struct slice in, struct buf *out)
{
	uint8_t nonce[CRY_NONCE_BYTES];

	/* 192 random bits: no two rows ever meet the same nonce. */
	randombytes_buf(nonce, sizeof(nonce));
	buf_put(out, nonce, sizeof(nonce));
	cry_aead_seal(k, nonce, ad, in, out);
}

enum err
cry_box_local_open(
    const struct cry_key *k, struct slice ad, struct slice in, struct buf *out)
{
	if (in.n < CRY_NONCE_BYTES + CRY_TAG_BYTES)
		return ERR_AUTH;
	return cry_aead_open(k, in.p, ad,
	    slice_of(in.p + CRY_NONCE_BYTES, in.n - CRY_NONCE_BYTES), out);
}
