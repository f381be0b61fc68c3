/* crypto/sign.c: signatures, X25519 and sealing to a public key.
 *
 * Keys that come from outside may be any 32 bytes: those of low order are
 * refused wherever they would make a known secret. */
#include "crypto/crypto_internal.h"

_Static_assert(sizeof(struct cry_sign_pk) == crypto_sign_PUBLICKEYBYTES, "pk");
_Static_assert(sizeof(struct cry_sign_sk) == crypto_sign_SECRETKEYBYTES, "sk");
_Static_assert(sizeof(struct cry_sig) == crypto_sign_BYTES, "sig");
_Static_assert(sizeof(struct cry_box_pk) == crypto_box_PUBLICKEYBYTES, "pk");
_Static_assert(sizeof(struct cry_box_sk) == crypto_box_SECRETKEYBYTES, "sk");
_Static_assert(CRY_SEAL_BYTES == crypto_box_SEALBYTES, "sealed box");

#define SIG_PREFIX "psc.sig."
#define SIG_HASH_BYTES 64u
#define SIG_TEXT_MAX                                                           \
	(sizeof(SIG_PREFIX) - 1 + CRY_DOMAIN_MAX + 1 + SIG_HASH_BYTES)

void
cry_sign_keypair(struct cry_sign_pk *pk, struct cry_sign_sk *sk)
{
	(void)crypto_sign_keypair(pk->b, sk->b);
}

void
cry_sign_keypair_seed(
    const uint8_t seed[32], struct cry_sign_pk *pk, struct cry_sign_sk *sk)
{
	(void)crypto_sign_seed_keypair(pk->b, sk->b, seed);
}

/* What is signed, in out; its length is returned. */
static size_t
sign_text(const char *domain, struct slice in, uint8_t out[SIG_TEXT_MAX])
{
	size_t n = strlen(domain), at = sizeof(SIG_PREFIX) - 1;

	REQUIRE(n <= CRY_DOMAIN_MAX);
	memcpy(out, SIG_PREFIX, at);
	memcpy(out + at, domain, n + 1); /* with its NUL */
	at += n + 1;
	(void)crypto_generichash(out + at, SIG_HASH_BYTES, in.p, in.n, NULL, 0);
	return at + SIG_HASH_BYTES;
}

void
cry_sign(const struct cry_sign_sk *sk, const char *domain, struct slice in,
    struct cry_sig *out)
{
	uint8_t text[SIG_TEXT_MAX];
	size_t n = sign_text(domain, in, text);

	(void)crypto_sign_detached(out->b, NULL, text, n, sk->b);
}

enum err
cry_verify(const struct cry_sign_pk *pk, const char *domain, struct slice in,
    const struct cry_sig *sig)
{
	uint8_t text[SIG_TEXT_MAX];
	size_t n = sign_text(domain, in, text);

	if (crypto_sign_verify_detached(sig->b, text, n, pk->b) != 0)
		return ERR_AUTH;
	return ERR_OK;
}

void
cry_box_keypair(struct cry_box_pk *pk, struct cry_box_sk *sk)
{
	(void)crypto_box_keypair(pk->b, sk->b);
}

void
cry_box_keypair_seed(
    const uint8_t seed[32], struct cry_box_pk *pk, struct cry_box_sk *sk)
{
	(void)crypto_box_seed_keypair(pk->b, sk->b, seed);
}

void
cry_seal(const struct cry_box_pk *to, struct slice in, struct buf *out)
{
	uint8_t *at = NULL;

	REQUIRE(in.n <= SIZE_MAX - CRY_SEAL_BYTES);
	at = buf_room(out, in.n + CRY_SEAL_BYTES);
	if (at == NULL)
		return;
	if (crypto_box_seal(at, in.p, in.n, to->b) != 0) {
		out->err = ERR_AUTH;
		return;
	}
	buf_grew(out, in.n + CRY_SEAL_BYTES);
}

enum err
cry_unseal(const struct cry_box_pk *pk, const struct cry_box_sk *sk,
    struct slice in, struct buf *out)
{
	uint8_t *at = NULL;

	if (in.n < CRY_SEAL_BYTES)
		return ERR_AUTH;
	at = buf_room(out, in.n - CRY_SEAL_BYTES);
	if (at == NULL)
		return buf_err(out);
	if (crypto_box_seal_open(at, in.p, in.n, pk->b, sk->b) != 0)
		return ERR_AUTH;
	buf_grew(out, in.n - CRY_SEAL_BYTES);
	return ERR_OK;
}

enum err
cry_dh(
    const struct cry_box_sk *sk, const struct cry_box_pk *pk, uint8_t out[32])
{
	return crypto_scalarmult(out, sk->b, pk->b) != 0 ? ERR_AUTH : ERR_OK;
}

bool
cry_box_pk_ok(const struct cry_box_pk *pk)
{
	/* Any scalar will do: clamping makes each a multiple of the cofactor,
	 * so points of low order and only they give zero. */
	static const struct cry_box_sk one = { { 1 } };
	uint8_t shared[32];

	return cry_dh(&one, pk, shared) == ERR_OK;
}

bool
cry_sign_pk_ok(const struct cry_sign_pk *pk)
{
	return crypto_core_ed25519_is_valid_point(pk->b) == 1;
}
