/* crypto/noise.c: Noise_XK_25519_ChaChaPoly_BLAKE2b, Noise revision 34.
 *
 * Happy path: noise_new mixes name, prologue and the responder's static key
 * (section 5.3, pre-message "<- s"); three messages move `step` from 0 to 3;
 * noise_split makes the two ciphers (section 5.2).  Even steps are written by
 * the initiator, odd ones by the responder:
 *
 *	step   0: -> e, es    1: <- e, ee    2: -> s, se    3: done
 *
 * After any failure in a read the handshake is dead: every later call fails,
 * because half of the symmetric state has moved on. */
#include "crypto/noise.h"

#include "crypto/crypto_internal.h"
#include "store/base/limits.h"
#include "store/base/mem.h"

#define NOISE_NAME "Noise_XK_25519_ChaChaPoly_BLAKE2b"
#define NOISE_HASH 64u
#define NOISE_BLOCK 128u /* of BLAKE2b, for HMAC */
#define NOISE_DONE 3u
#define NOISE_DEAD 4u
#define NOISE_NONCE_LAST UINT64_MAX /* reserved for rekey: section 5.1 */

_Static_assert(sizeof(NOISE_NAME) - 1 <= NOISE_HASH, "name fits h: 5.2");

struct noise {
	uint8_t ck[NOISE_HASH];
	uint8_t h[NOISE_HASH];
	struct noise_cipher c; /* of the symmetric state */
	bool has_key;
	bool initiator;
	unsigned step;
	struct cry_box_pk s_pk, e_pk, rs, re;
	struct cry_box_sk s_sk, e_sk;
};

/* --- hash functions, section 4.3 --- */

static void
hash2(struct slice a, struct slice b, uint8_t out[NOISE_HASH])
{
	crypto_generichash_state st;

	(void)crypto_generichash_init(&st, NULL, 0, NOISE_HASH);
	(void)crypto_generichash_update(&st, a.p, a.n);
	(void)crypto_generichash_update(&st, b.p, b.n);
	(void)crypto_generichash_final(&st, out, NOISE_HASH);
	sodium_memzero(&st, sizeof(st));
}

/* HMAC of RFC 2104; keys here are never longer than a hash. */
static void
hmac(const uint8_t key[NOISE_HASH], struct slice in, uint8_t out[NOISE_HASH])
{
	uint8_t pad[NOISE_BLOCK], inner[NOISE_HASH];
	size_t i;

	memset(pad, 0x36, sizeof(pad));
	for (i = 0; i < NOISE_HASH; i++)
		pad[i] ^= key[i];
	hash2(slice_of(pad, sizeof(pad)), in, inner);
	for (i = 0; i < sizeof(pad); i++)
		pad[i] ^= 0x36 ^ 0x5c;
	hash2(slice_of(pad, sizeof(pad)), slice_of(inner, sizeof(inner)), out);
	sodium_memzero(pad, sizeof(pad));
	sodium_memzero(inner, sizeof(inner));
}

/* HKDF with two outputs; out1 may be ck itself. */
static void
hkdf2(const uint8_t ck[NOISE_HASH], struct slice ikm, uint8_t out1[NOISE_HASH],
    uint8_t out2[NOISE_HASH])
{
	uint8_t temp[NOISE_HASH], next[NOISE_HASH + 1];
	const uint8_t one = 1;

	hmac(ck, ikm, temp);
	hmac(temp, slice_of(&one, 1), next);
	next[NOISE_HASH] = 2;
	hmac(temp, slice_of(next, sizeof(next)), out2);
	memcpy(out1, next, NOISE_HASH);
	sodium_memzero(temp, sizeof(temp));
	sodium_memzero(next, sizeof(next));
}

/* --- cipher, sections 4.2 and 5.1 --- */

static void
cipher_nonce(uint64_t n, uint8_t out[12])
{
	size_t i;

	memset(out, 0, 4);
	for (i = 0; i < 8; i++)
		out[4 + i] = (uint8_t)(n >> (8 * i));
}

static enum err
cipher_seal(
    struct noise_cipher *c, struct slice ad, struct slice in, struct buf *out)
{
	uint8_t nonce[12];
	uint8_t *at = NULL;

	if (c->n == NOISE_NONCE_LAST ||
	    in.n > LIM_NOISE_MSG_BYTES - CRY_TAG_BYTES)
		return ERR_LIMIT;
	at = buf_room(out, in.n + CRY_TAG_BYTES);
	if (at == NULL)
		return buf_err(out);
	cipher_nonce(c->n, nonce);
	(void)crypto_aead_chacha20poly1305_ietf_encrypt(
	    at, NULL, in.p, in.n, ad.p, ad.n, NULL, nonce, c->k.b);
	buf_grew(out, in.n + CRY_TAG_BYTES);
	c->n++;
	return ERR_OK;
}

static enum err
cipher_open(
    struct noise_cipher *c, struct slice ad, struct slice in, struct buf *out)
{
	uint8_t nonce[12];
	uint8_t *at = NULL;

	if (c->n == NOISE_NONCE_LAST || in.n > LIM_NOISE_MSG_BYTES)
		return ERR_LIMIT;
	if (in.n < CRY_TAG_BYTES)
		return ERR_AUTH;
	at = buf_room(out, in.n - CRY_TAG_BYTES);
	if (at == NULL)
		return buf_err(out);
	cipher_nonce(c->n, nonce);
	if (crypto_aead_chacha20poly1305_ietf_decrypt(
		at, NULL, NULL, in.p, in.n, ad.p, ad.n, nonce, c->k.b) != 0)
		return ERR_AUTH;
	buf_grew(out, in.n - CRY_TAG_BYTES);
	c->n++;
	return ERR_OK;
}

enum err
noise_encrypt(struct noise_cipher *c, struct slice in, struct buf *out)
{
	return cipher_seal(c, (struct slice){ 0 }, in, out);
}

enum err
noise_decrypt(struct noise_cipher *c, struct slice in, struct buf *out)
{
	return cipher_open(c, (struct slice){ 0 }, in, out);
}

void
noise_rekey(struct noise_cipher *c)
{
	static const uint8_t zeros[32];
	uint8_t nonce[12], out[32 + CRY_TAG_BYTES];

	cipher_nonce(NOISE_NONCE_LAST, nonce);
	(void)crypto_aead_chacha20poly1305_ietf_encrypt(
	    out, NULL, zeros, sizeof(zeros), NULL, 0, NULL, nonce, c->k.b);
	memcpy(c->k.b, out, sizeof(c->k.b));
	sodium_memzero(out, sizeof(out));
}

/* --- symmetric state, section 5.2 --- */

static void
mix_hash(struct noise *hs, struct slice in)
{
	hash2(slice_of(hs->h, sizeof(hs->h)), in, hs->h);
}

static enum err
mix_dh(
    struct noise *hs, const struct cry_box_sk *sk, const struct cry_box_pk *pk)
{
	uint8_t shared[32], key[NOISE_HASH];
	enum err e = cry_dh(sk, pk, shared);

	if (e == ERR_OK) {
		hkdf2(hs->ck, slice_of(shared, sizeof(shared)), hs->ck, key);
		memcpy(hs->c.k.b, key, sizeof(hs->c.k.b));
		hs->c.n = 0;
		hs->has_key = true;
	}
	sodium_memzero(shared, sizeof(shared));
	sodium_memzero(key, sizeof(key));
	return e;
}

static enum err
seal_and_hash(struct noise *hs, struct slice in, struct buf *out)
{
	size_t from = out->n;
	enum err e;

	REQUIRE(hs->has_key); /* in XK every payload comes after a DH */
	e = cipher_seal(&hs->c, slice_of(hs->h, sizeof(hs->h)), in, out);
	if (e == ERR_OK)
		mix_hash(hs, slice_of(out->p + from, out->n - from));
	return e;
}

static enum err
open_and_hash(struct noise *hs, struct slice in, struct buf *out)
{
	enum err e;

	REQUIRE(hs->has_key);
	e = cipher_open(&hs->c, slice_of(hs->h, sizeof(hs->h)), in, out);
	if (e == ERR_OK)
		mix_hash(hs, in);
	return e;
}

/* --- handshake, section 5.3 --- */

enum err
noise_new(const struct noise_params *p, struct noise **out)
{
	struct noise *hs = mem_new(sizeof(*hs));

	if (hs == NULL)
		return ERR_NOMEM;
	memcpy(hs->h, NOISE_NAME, sizeof(NOISE_NAME) - 1);
	memcpy(hs->ck, hs->h, sizeof(hs->ck));
	hs->initiator = p->initiator;
	hs->s_pk = p->static_pk;
	hs->s_sk = p->static_sk;
	if (p->initiator)
		hs->rs = p->remote_static;
	if (p->fixed_ephemeral != NULL) {
		hs->e_sk = *p->fixed_ephemeral;
		(void)crypto_scalarmult_base(hs->e_pk.b, hs->e_sk.b);
	} else {
		cry_box_keypair(&hs->e_pk, &hs->e_sk);
	}
	mix_hash(hs, p->prologue);
	mix_hash(hs,
	    p->initiator ? slice_of(hs->rs.b, 32) : slice_of(hs->s_pk.b, 32));
	*out = hs;
	return ERR_OK;
}

void
noise_free(struct noise *hs)
{
	if (hs == NULL)
		return;
	sodium_memzero(hs, sizeof(*hs));
	mem_free(hs);
}

bool
noise_my_turn(const struct noise *hs)
{
	return hs->step < NOISE_DONE && (hs->step % 2 == 0) == hs->initiator;
}

bool
noise_done(const struct noise *hs)
{
	return hs->step == NOISE_DONE;
}

/* The DH of this step: es, ee, se (section 7.5). */
static enum err
step_dh(struct noise *hs)
{
	bool i = hs->initiator;

	switch (hs->step) {
	case 0:
		return i ? mix_dh(hs, &hs->e_sk, &hs->rs)
			 : mix_dh(hs, &hs->s_sk, &hs->re);
	case 1: return mix_dh(hs, &hs->e_sk, &hs->re);
	default:
		return i ? mix_dh(hs, &hs->s_sk, &hs->re)
			 : mix_dh(hs, &hs->e_sk, &hs->rs);
	}
}

static enum err
step_write(struct noise *hs, struct slice payload, struct buf *out)
{
	enum err e = ERR_OK;

	if (hs->step == 2) {
		e = seal_and_hash(hs, slice_of(hs->s_pk.b, 32), out);
	} else {
		buf_put(out, hs->e_pk.b, sizeof(hs->e_pk.b));
		mix_hash(hs, slice_of(hs->e_pk.b, sizeof(hs->e_pk.b)));
		e = buf_err(out);
	}
	if (e == ERR_OK)
		e = step_dh(hs);
	return e == ERR_OK ? seal_and_hash(hs, payload, out) : e;
}

/* Bytes before the payload: a clear key, or a sealed one. */
static size_t
step_key_bytes(const struct noise *hs)
{
	return hs->step == 2 ? 32u + CRY_TAG_BYTES : 32u;
}

enum err
noise_write(struct noise *hs, struct slice payload, struct buf *out)
{
	size_t from = out->n;
	enum err e;

	if (hs->step == NOISE_DEAD)
		return ERR_AUTH;
	REQUIRE(noise_my_turn(hs));
	if (payload.n >
	    LIM_NOISE_MSG_BYTES - step_key_bytes(hs) - CRY_TAG_BYTES)
		return ERR_LIMIT;
	e = step_write(hs, payload, out);
	if (e != ERR_OK) {
		out->n = from; /* no half message */
		hs->step = NOISE_DEAD;
		return e;
	}
	hs->step++;
	return ERR_OK;
}

static enum err
read_key(struct noise *hs, struct slice in)
{
	struct buf b = BUF_MAX(32);
	enum err e;

	if (hs->step != 2) {
		memcpy(hs->re.b, in.p, sizeof(hs->re.b));
		mix_hash(hs, in);
		return ERR_OK;
	}
	e = open_and_hash(hs, in, &b);
	if (e == ERR_OK)
		memcpy(hs->rs.b, b.p, sizeof(hs->rs.b));
	buf_wipe(&b);
	return e;
}

static enum err
step_read(struct noise *hs, struct slice msg, struct buf *payload)
{
	size_t key = step_key_bytes(hs);
	enum err e;

	if (msg.n > LIM_NOISE_MSG_BYTES)
		return ERR_LIMIT;
	if (msg.n < key + CRY_TAG_BYTES)
		return ERR_SHORT;
	e = read_key(hs, slice_of(msg.p, key));
	if (e == ERR_OK)
		e = step_dh(hs);
	if (e == ERR_OK)
		e = open_and_hash(
		    hs, slice_of(msg.p + key, msg.n - key), payload);
	return e;
}

enum err
noise_read(struct noise *hs, struct slice msg, struct buf *payload)
{
	enum err e;

	if (hs->step >= NOISE_DONE || noise_my_turn(hs)) {
		hs->step = NOISE_DEAD; /* the peer spoke out of turn */
		return ERR_AUTH;
	}
	e = step_read(hs, msg, payload);
	if (e == ERR_OK)
		hs->step++;
	else
		hs->step = NOISE_DEAD;
	return e;
}

const struct cry_box_pk *
noise_remote_static(const struct noise *hs)
{
	REQUIRE(hs->initiator || noise_done(hs));
	return &hs->rs;
}

void
noise_split(struct noise *hs, struct noise_cipher *tx, struct noise_cipher *rx,
    uint8_t hash[64])
{
	uint8_t k1[NOISE_HASH], k2[NOISE_HASH];
	struct noise_cipher *first = hs->initiator ? tx : rx;
	struct noise_cipher *second = hs->initiator ? rx : tx;

	REQUIRE(noise_done(hs));
	hkdf2(hs->ck, (struct slice){ 0 }, k1, k2);
	memcpy(first->k.b, k1, sizeof(first->k.b));
	memcpy(second->k.b, k2, sizeof(second->k.b));
	first->n = 0;
	second->n = 0;
	memcpy(hash, hs->h, NOISE_HASH);
	sodium_memzero(k1, sizeof(k1));
	sodium_memzero(k2, sizeof(k2));
}
