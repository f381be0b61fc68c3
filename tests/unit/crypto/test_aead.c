/* Authenticated encryption, sealing and signatures: what fits opens, and any
 * change of key, nonce, context or bytes is refused. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "crypto/crypto.h"
#include "store/base/enc.h"
#include "store/base/mem.h"

static const struct cry_key key = { { 1, 2, 3 } }, other = { { 1, 2, 4 } };
static const uint8_t nonce[CRY_NONCE_BYTES] = { 9 };

static void
test_chunk_round_trip_and_every_flip_refused(void **state)
{
	struct buf c = BUF_MAX(1024), p = BUF_MAX(1024);
	size_t i;

	(void)state;
	cry_chunk_seal(&key, SLICE_LIT("plain bytes"), &c);
	assert_int_equal(buf_err(&c), 0);
	assert_int_equal(c.n, 11 + CRY_TAG_BYTES);
	for (i = 0; i < c.n * 8; i++) {
		c.p[i / 8] ^= (uint8_t)(1u << (i % 8));
		assert_int_equal(
		    cry_chunk_open(&key, buf_slice(&c), &p), ERR_AUTH);
		c.p[i / 8] ^= (uint8_t)(1u << (i % 8));
	}
	assert_int_equal(p.n, 0);
	for (i = 0; i < c.n; i++)
		assert_int_equal(
		    cry_chunk_open(&key, slice_of(c.p, i), &p), ERR_AUTH);
	assert_int_equal(cry_chunk_open(&other, buf_slice(&c), &p), ERR_AUTH);
	assert_int_equal(cry_chunk_open(&key, buf_slice(&c), &p), 0);
	assert_true(slice_eq(buf_slice(&p), SLICE_LIT("plain bytes")));
	buf_fini(&c);
	buf_fini(&p);
}

/* RFC 8439 2.8.2 has a nonce, ours is zero: the answer below was made with an
 * independent implementation (Python cryptography 38, key 01 02 03 00..). */
static void
test_chunk_is_chacha20_poly1305_with_nonce_zero(void **state)
{
	struct buf c = BUF_MAX(64);
	char hex[ENC_HEX_LEN(3 + CRY_TAG_BYTES) + 1];

	(void)state;
	cry_chunk_seal(&key, SLICE_LIT("abc"), &c);
	enc_hex(buf_slice(&c), hex);
	assert_string_equal(hex, "1e2de736579ef35cd6dd899eb5fd79a7fba7a5");
	buf_fini(&c);
}

static void
test_aead_binds_key_nonce_and_context(void **state)
{
	struct buf c = BUF_MAX(1024), p = BUF_MAX(1024);
	uint8_t n2[CRY_NONCE_BYTES];
	size_t i;

	(void)state;
	cry_aead_seal(&key, nonce, SLICE_LIT("ad"), SLICE_LIT("text"), &c);
	memcpy(n2, nonce, sizeof(n2));
	n2[23] ^= 1;
	assert_int_equal(
	    cry_aead_open(&key, n2, SLICE_LIT("ad"), buf_slice(&c), &p),
	    ERR_AUTH);
	assert_int_equal(
	    cry_aead_open(&other, nonce, SLICE_LIT("ad"), buf_slice(&c), &p),
	    ERR_AUTH);
	assert_int_equal(
	    cry_aead_open(&key, nonce, SLICE_LIT("ae"), buf_slice(&c), &p),
	    ERR_AUTH);
	assert_int_equal(
	    cry_aead_open(&key, nonce, (struct slice){ 0 }, buf_slice(&c), &p),
	    ERR_AUTH);
	for (i = 0; i < c.n; i++) {
		c.p[i] ^= 0x80;
		assert_int_equal(cry_aead_open(&key, nonce, SLICE_LIT("ad"),
				     buf_slice(&c), &p),
		    ERR_AUTH);
		c.p[i] ^= 0x80;
	}
	assert_int_equal(
	    cry_aead_open(&key, nonce, SLICE_LIT("ad"), buf_slice(&c), &p), 0);
	assert_true(slice_eq(buf_slice(&p), SLICE_LIT("text")));
	buf_fini(&c);
	buf_fini(&p);
}

static void
test_local_rows_get_fresh_nonces(void **state)
{
	struct buf a = BUF_MAX(1024), b = BUF_MAX(1024), p = BUF_MAX(1024);
	size_t i;

	(void)state;
	cry_box_local_seal(&key, SLICE_LIT("t"), SLICE_LIT("row"), &a);
	cry_box_local_seal(&key, SLICE_LIT("t"), SLICE_LIT("row"), &b);
	assert_int_equal(a.n, CRY_NONCE_BYTES + 3 + CRY_TAG_BYTES);
	assert_memory_not_equal(a.p, b.p, CRY_NONCE_BYTES);
	for (i = 0; i < a.n; i++) {
		a.p[i] ^= 1;
		assert_int_equal(
		    cry_box_local_open(&key, SLICE_LIT("t"), buf_slice(&a), &p),
		    ERR_AUTH);
		a.p[i] ^= 1;
		assert_int_equal(cry_box_local_open(&key, SLICE_LIT("t"),
				     slice_of(a.p, i), &p),
		    ERR_AUTH);
	}
	assert_int_equal(
	    cry_box_local_open(&key, SLICE_LIT("t"), buf_slice(&a), &p), 0);
	assert_true(slice_eq(buf_slice(&p), SLICE_LIT("row")));
	buf_fini(&a);
	buf_fini(&b);
	buf_fini(&p);
}

static void
test_output_above_the_buffer_limit_is_an_error(void **state)
{
	struct buf c = BUF_MAX(3 + CRY_TAG_BYTES), p = BUF_MAX(2);

	(void)state;
	cry_chunk_seal(&key, SLICE_LIT("abcd"), &c);
	assert_int_equal(buf_err(&c), ERR_LIMIT);
	assert_int_equal(c.n, 0);
	buf_reset(&c);
	cry_chunk_seal(&key, SLICE_LIT("abc"), &c);
	assert_int_equal(buf_err(&c), 0);
	assert_int_equal(cry_chunk_open(&key, buf_slice(&c), &p), ERR_LIMIT);
	buf_fini(&c);
	buf_fini(&p);
}

static void
test_out_of_memory_is_reported_by_every_opener(void **state)
{
	struct buf c = BUF_MAX(256), p = BUF_MAX(256);
	struct cry_box_pk pk;
	struct cry_box_sk sk;
	enum err e;

	(void)state;
	cry_box_keypair(&pk, &sk);
	cry_chunk_seal(&key, SLICE_LIT("abc"), &c);
	mem_fail_at(0);
	e = cry_chunk_open(&key, buf_slice(&c), &p);
	assert_int_equal(e, ERR_NOMEM);
	buf_fini(&p);
	buf_reset(&c);
	p = BUF_MAX(256);
	cry_seal(&pk, SLICE_LIT("abc"), &c);
	mem_fail_at(0);
	e = cry_unseal(&pk, &sk, buf_slice(&c), &p);
	assert_int_equal(e, ERR_NOMEM);
	buf_fini(&p);
	buf_fini(&c);
	p = BUF_MAX(256);
	mem_fail_at(0);
	cry_seal(&pk, SLICE_LIT("abc"), &p);
	mem_fail_at(-1);
	assert_int_equal(buf_err(&p), ERR_NOMEM);
	buf_fini(&p);
}

static void
test_sealed_box_opens_for_its_receiver_only(void **state)
{
	struct buf c = BUF_MAX(1024), p = BUF_MAX(1024);
	struct cry_box_pk pk, pk2, low = { { 0 } };
	struct cry_box_sk sk, sk2;
	size_t i;

	(void)state;
	cry_box_keypair(&pk, &sk);
	cry_box_keypair(&pk2, &sk2);
	cry_seal(&pk, SLICE_LIT("epoch key"), &c);
	assert_int_equal(c.n, 9 + CRY_SEAL_BYTES);
	assert_int_equal(cry_unseal(&pk2, &sk2, buf_slice(&c), &p), ERR_AUTH);
	for (i = 0; i < c.n; i++) {
		c.p[i] ^= 4;
		assert_int_equal(
		    cry_unseal(&pk, &sk, buf_slice(&c), &p), ERR_AUTH);
		c.p[i] ^= 4;
		assert_int_equal(
		    cry_unseal(&pk, &sk, slice_of(c.p, i), &p), ERR_AUTH);
	}
	assert_int_equal(cry_unseal(&pk, &sk, buf_slice(&c), &p), 0);
	assert_true(slice_eq(buf_slice(&p), SLICE_LIT("epoch key")));
	/* Nothing is sealed to a key of low order. */
	buf_reset(&c);
	cry_seal(&low, SLICE_LIT("epoch key"), &c);
	assert_int_equal(buf_err(&c), ERR_AUTH);
	assert_int_equal(c.n, 0);
	buf_fini(&c);
	buf_fini(&p);
}

static void
test_signature_fits_one_key_domain_and_text(void **state)
{
	static const uint8_t seed[32] = { 5 }, seed2[32] = { 6 };
	struct cry_sign_pk pk, pk2;
	struct cry_sign_sk sk, sk2;
	struct cry_sig sig;
	size_t i;

	(void)state;
	cry_sign_keypair_seed(seed, &pk, &sk);
	cry_sign_keypair_seed(seed2, &pk2, &sk2);
	cry_sign(&sk, "op", SLICE_LIT("text"), &sig);
	assert_int_equal(cry_verify(&pk, "op", SLICE_LIT("text"), &sig), 0);
	assert_int_equal(
	    cry_verify(&pk2, "op", SLICE_LIT("text"), &sig), ERR_AUTH);
	assert_int_equal(
	    cry_verify(&pk, "head", SLICE_LIT("text"), &sig), ERR_AUTH);
	assert_int_equal(
	    cry_verify(&pk, "op", SLICE_LIT("texu"), &sig), ERR_AUTH);
	assert_int_equal(
	    cry_verify(&pk, "op", (struct slice){ 0 }, &sig), ERR_AUTH);
	for (i = 0; i < sizeof(sig.b) * 8; i++) {
		sig.b[i / 8] ^= (uint8_t)(1u << (i % 8));
		assert_int_equal(
		    cry_verify(&pk, "op", SLICE_LIT("text"), &sig), ERR_AUTH);
		sig.b[i / 8] ^= (uint8_t)(1u << (i % 8));
	}
}

/* Golden: made by an independent Ed25519 and BLAKE2b (Python) from seed
 * 05 00.. over "psc.sig.op" NUL BLAKE2b-512("text"). */
static void
test_signature_is_plain_ed25519_over_the_documented_bytes(void **state)
{
	static const uint8_t seed[32] = { 5 };
	struct cry_sign_pk pk;
	struct cry_sign_sk sk;
	struct cry_sig sig;
	char hex[ENC_HEX_LEN(64) + 1];

	(void)state;
	cry_sign_keypair_seed(seed, &pk, &sk);
	cry_sign(&sk, "op", SLICE_LIT("text"), &sig);
	enc_hex(slice_of(sig.b, 64), hex);
	assert_string_equal(hex,
	    "303190b15290156ed200d3fbe5a3ba64e576347dd570f6bca5195d6b4ad7185b"
	    "63aa46643cc56cf40eec0be9c56e6203104aa030994ac0f68838ab0cc0b19705");
}

static int
setup(void **state)
{
	(void)state;
	return cry_init() == ERR_OK ? 0 : -1;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_chunk_round_trip_and_every_flip_refused),
		cmocka_unit_test(
		    test_chunk_is_chacha20_poly1305_with_nonce_zero),
		cmocka_unit_test(test_aead_binds_key_nonce_and_context),
		cmocka_unit_test(test_local_rows_get_fresh_nonces),
		cmocka_unit_test(
		    test_output_above_the_buffer_limit_is_an_error),
		cmocka_unit_test(
		    test_out_of_memory_is_reported_by_every_opener),
		cmocka_unit_test(test_sealed_box_opens_for_its_receiver_only),
		cmocka_unit_test(test_signature_fits_one_key_domain_and_text),
		cmocka_unit_test(
		    test_signature_is_plain_ed25519_over_the_documented_bytes),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
