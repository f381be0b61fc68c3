/* crypto/crypto.h: the only door to libsodium.
 *
 * All functions are thread-safe and hold no state between calls.  Secrets are
 * wiped by the caller with cry_wipe().  Primitives and their uses are listed
 * in docs/protocol.md section 1. */
#ifndef PSC_CRYPTO_CRYPTO_H
#define PSC_CRYPTO_CRYPTO_H

#include "store/base/buf.h"

struct cry_id {
	uint8_t b[32];
}; /* a BLAKE2b-256 digest: cid, op id ... */
struct cry_key {
	uint8_t b[32];
}; /* a symmetric key */
struct cry_sign_pk {
	uint8_t b[32];
}; /* Ed25519 */
struct cry_sign_sk {
	uint8_t b[64];
};
struct cry_box_pk {
	uint8_t b[32];
}; /* X25519 */
struct cry_box_sk {
	uint8_t b[32];
};
struct cry_sig {
	uint8_t b[64];
};

#define CRY_TAG_BYTES 16u   /* Poly1305 */
#define CRY_NONCE_BYTES 24u /* XChaCha20 */
#define CRY_SEAL_BYTES 48u  /* crypto_box_seal overhead */
#define CRY_DOMAIN_MAX 64u  /* characters of a domain name */

/* Once per process, before anything else; ERR_FOREIGN if there is no entropy.
 */
enum err cry_init(void) PSC_MUST_USE;
void cry_wipe(void *p, size_t n);
void cry_random(void *out, size_t n);
bool cry_equal(const void *a, const void *b, size_t n); /* constant time */

/* --- hashing (BLAKE2b, RFC 7693) --- */
/* BLAKE2b-256 of the bytes, no key, no domain: cids and file hashes. */
void cry_hash(struct slice in, struct cry_id *out);
/* cry_hash of n messages that do not depend on each other: out[i] is that of
 * in[i].  They may overlap in memory and differ in length.  Several at once
 * cost about as much as one where the machine has wide registers, so hand
 * over together what is there together. */
void cry_hash_many(const struct slice *in, size_t n, struct cry_id *out);
/* BLAKE2b(out_n <= 64) with key (NULL: none) over
 * u8 len(domain), domain, then each part as u64 LE length + bytes. */
void cry_hash_parts(const struct cry_key *key, const char *domain,
    const struct slice *parts, size_t n_parts, uint8_t *out, size_t out_n);
/* Streaming BLAKE2b-256; same digest as cry_hash.  May live anywhere and be
 * copied: the library's alignment wish is met inside. */
struct cry_hasher {
	uint8_t state[384];
};
void cry_hasher_init(struct cry_hasher *h);
void cry_hasher_add(struct cry_hasher *h, struct slice in);
void cry_hasher_end(struct cry_hasher *h, struct cry_id *out);
/* SHA-256, for export manifests only (rulings.md 6). */
void cry_sha256(struct slice in, uint8_t out[32]);
/* The same in parts, for files that are streamed out. */
struct cry_sha256_hasher {
	uint8_t state[128];
};
void cry_sha256_init(struct cry_sha256_hasher *h);
void cry_sha256_add(struct cry_sha256_hasher *h, struct slice in);
void cry_sha256_end(struct cry_sha256_hasher *h, uint8_t out[32]);
/* Subkey number id of key in an 8-character context (crypto_kdf). */
void cry_subkey(const struct cry_key *key, const char ctx[8], uint64_t id,
    struct cry_key *out);

/* --- AEAD --- */
/* ChaCha20-Poly1305 IETF with nonce 0: content chunks only, where the key is
 * derived from the plaintext.  out grows by in.n + CRY_TAG_BYTES. */
void cry_chunk_seal(const struct cry_key *k, struct slice in, struct buf *out);
enum err cry_chunk_open(const struct cry_key *k, struct slice in,
    struct buf *out) PSC_MUST_USE; /* ERR_AUTH */
/* XChaCha20-Poly1305 with a caller-given nonce (ops: synthetic). */
void cry_aead_seal(const struct cry_key *k,
    const uint8_t nonce[CRY_NONCE_BYTES], struct slice ad, struct slice in,
    struct buf *out);
enum err cry_aead_open(const struct cry_key *k,
    const uint8_t nonce[CRY_NONCE_BYTES], struct slice ad, struct slice in,
    struct buf *out) PSC_MUST_USE; /* ERR_AUTH */
/* Random nonce, prefixed to the output: local rows. */
void cry_box_local_seal(
    const struct cry_key *k, struct slice ad, struct slice in, struct buf *out);
enum err cry_box_local_open(const struct cry_key *k, struct slice ad,
    struct slice in, struct buf *out) PSC_MUST_USE;

/* --- public keys --- */
void cry_sign_keypair(struct cry_sign_pk *pk, struct cry_sign_sk *sk);
void cry_sign_keypair_seed(
    const uint8_t seed[32], struct cry_sign_pk *pk, struct cry_sign_sk *sk);
/* Ed25519 over "psc.sig." domain NUL BLAKE2b-512(bytes): a signature made for
 * one kind of record never fits another, and signing allocates nothing.
 * domain is at most CRY_DOMAIN_MAX characters. */
void cry_sign(const struct cry_sign_sk *sk, const char *domain, struct slice in,
    struct cry_sig *out);
enum err cry_verify(const struct cry_sign_pk *pk, const char *domain,
    struct slice in, const struct cry_sig *sig) PSC_MUST_USE; /* ERR_AUTH */
void cry_box_keypair(struct cry_box_pk *pk, struct cry_box_sk *sk);
void cry_box_keypair_seed(
    const uint8_t seed[32], struct cry_box_pk *pk, struct cry_box_sk *sk);
/* A recipient key of low order sets the sticky error of out (ERR_AUTH). */
void cry_seal(const struct cry_box_pk *to, struct slice in, struct buf *out);
enum err cry_unseal(const struct cry_box_pk *pk, const struct cry_box_sk *sk,
    struct slice in, struct buf *out) PSC_MUST_USE; /* ERR_AUTH */

#endif
