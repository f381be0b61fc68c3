/* BLAKE2b against published answers; framing of hashed parts; subkeys. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "crypto/crypto_internal.h"
#include "store/base/enc.h"

static void
assert_hex(const uint8_t *got, size_t n, const char *hex)
{
	uint8_t want[64];

	assert_true(n <= sizeof(want));
	assert_int_equal(dec_hex(slice_str(hex), want, n), 0);
	assert_memory_equal(got, want, n);
}

/* RFC 7693 appendix A, and the empty input: the primitive under our calls. */
static void
test_blake2b_512_gives_the_answers_of_rfc7693(void **state)
{
	uint8_t out[64];

	(void)state;
	assert_int_equal(
	    crypto_generichash(out, 64, (const uint8_t *)"abc", 3, NULL, 0), 0);
	assert_hex(out, 64,
	    "ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d1"
	    "7d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923");
	assert_int_equal(crypto_generichash(out, 64, NULL, 0, NULL, 0), 0);
	assert_hex(out, 64,
	    "786a02f742015903c6c6fd852552d272912f4740e15847618a86e217f71f5419"
	    "d25e1031afee585313896444934eb04b903a685b1448b755d56f701afe9be2ce");
}

static void
test_cry_hash_is_blake2b_256(void **state)
{
	struct cry_id id;

	(void)state;
	cry_hash(SLICE_LIT("abc"), &id);
	assert_hex(id.b, 32,
	    "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319");
	cry_hash((struct slice){ 0 }, &id);
	assert_hex(id.b, 32,
	    "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8");
}

/* RFC 7693 appendix E: a self test over many lengths and keys. */
static void
selftest_seq(uint8_t *out, size_t len, uint32_t seed)
{
	uint32_t a = 0xDEAD4BAD * seed, b = 1, t;
	size_t i;

	for (i = 0; i < len; i++) {
		t = a + b;
		a = b;
		b = t;
		out[i] = (uint8_t)(t >> 24);
	}
}

static void
test_rfc7693_selftest_over_lengths_and_keys(void **state)
{
	static const size_t md_len[] = { 20, 32, 48, 64 };
	static const size_t in_len[] = { 0, 3, 128, 129, 255, 1024 };
	crypto_generichash_state st;
	uint8_t in[1024], md[64], key[64];
	size_t i, j;

	(void)state;
	assert_int_equal(crypto_generichash_init(&st, NULL, 0, 32), 0);
	for (i = 0; i < 4; i++) {
		for (j = 0; j < 6; j++) {
			selftest_seq(in, in_len[j], (uint32_t)in_len[j]);
			(void)crypto_generichash(
			    md, md_len[i], in, in_len[j], NULL, 0);
			(void)crypto_generichash_update(&st, md, md_len[i]);
			selftest_seq(key, md_len[i], (uint32_t)md_len[i]);
			(void)crypto_generichash(
			    md, md_len[i], in, in_len[j], key, md_len[i]);
			(void)crypto_generichash_update(&st, md, md_len[i]);
		}
	}
	(void)crypto_generichash_final(&st, md, 32);
	assert_hex(md, 32,
	    "c23a7800d98123bd10f506c61e29da5603d763b8bbad2e737f5e765a7bccd475");
}

static void
test_streaming_equals_one_shot_at_every_split(void **state)
{
	uint8_t in[700], room[sizeof(struct cry_hasher) + 3];
	struct cry_hasher h, copy;
	struct cry_id want, got;
	size_t cut;

	(void)state;
	for (cut = 0; cut < sizeof(in); cut++)
		in[cut] = (uint8_t)(cut * 7);
	cry_hash(slice_of(in, sizeof(in)), &want);
	for (cut = 0; cut <= sizeof(in); cut++) {
		cry_hasher_init(&h);
		cry_hasher_add(&h, slice_of(in, cut));
		/* The state may be moved to any address. */
		memcpy(room + 3, &h, sizeof(h));
		memcpy(&copy, room + 3, sizeof(copy));
		cry_hasher_add(&copy, slice_of(in + cut, sizeof(in) - cut));
		cry_hasher_end(&copy, &got);
		assert_memory_equal(got.b, want.b, 32);
	}
}

static void
parts_of(const char *domain, const char *a, const char *b, uint8_t out[32])
{
	const struct slice parts[2] = { slice_str(a), slice_str(b) };

	cry_hash_parts(NULL, domain, parts, 2, out, 32);
}

static void
test_parts_are_framed_so_moved_bytes_change_the_hash(void **state)
{
	uint8_t x[32], y[32];
	const struct slice one = SLICE_LIT("ab");
	const struct cry_key k = { { 1 } };

	(void)state;
	parts_of("d", "ab", "c", x);
	parts_of("d", "a", "bc", y);
	assert_memory_not_equal(x, y, 32);
	parts_of("da", "b", "c", y);
	assert_memory_not_equal(x, y, 32);
	cry_hash_parts(NULL, "d", &one, 1, x, 32);
	cry_hash_parts(&k, "d", &one, 1, y, 32);
	assert_memory_not_equal(x, y, 32);
}

/* Layout of the contract, byte for byte. */
static void
test_parts_hash_the_documented_bytes(void **state)
{
	static const uint8_t text[] = "\x03"
				      "dom"
				      "\x02\0\0\0\0\0\0\0"
				      "xy"
				      "\0\0\0\0\0\0\0\0";
	const struct slice parts[2] = { SLICE_LIT("xy"), { NULL, 0 } };
	uint8_t got[20], want[20];

	(void)state;
	cry_hash_parts(NULL, "dom", parts, 2, got, sizeof(got));
	(void)crypto_generichash(
	    want, sizeof(want), text, sizeof(text) - 1, NULL, 0);
	assert_memory_equal(got, want, sizeof(got));
}

static void
test_sha256_gives_the_fips_answer(void **state)
{
	uint8_t out[32];

	(void)state;
	cry_sha256(SLICE_LIT("abc"), out);
	assert_hex(out, 32,
	    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void
test_subkeys_differ_by_id_context_and_key(void **state)
{
	struct cry_key k = { { 7 } }, k2 = { { 8 } }, a, b;

	(void)state;
	cry_subkey(&k, "contextA", 1, &a);
	cry_subkey(&k, "contextA", 1, &b);
	assert_true(cry_equal(a.b, b.b, 32));
	cry_subkey(&k, "contextA", 2, &b);
	assert_false(cry_equal(a.b, b.b, 32));
	cry_subkey(&k, "contextB", 1, &b);
	assert_false(cry_equal(a.b, b.b, 32));
	cry_subkey(&k2, "contextA", 1, &b);
	assert_false(cry_equal(a.b, b.b, 32));
}

static void
test_random_and_wipe(void **state)
{
	uint8_t a[32] = { 0 }, b[32] = { 0 }, zero[32] = { 0 };

	(void)state;
	cry_random(a, sizeof(a));
	cry_random(b, sizeof(b));
	assert_memory_not_equal(a, b, 32);
	assert_memory_not_equal(a, zero, 32);
	cry_wipe(a, sizeof(a));
	assert_memory_equal(a, zero, 32);
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
		cmocka_unit_test(test_blake2b_512_gives_the_answers_of_rfc7693),
		cmocka_unit_test(test_cry_hash_is_blake2b_256),
		cmocka_unit_test(test_rfc7693_selftest_over_lengths_and_keys),
		cmocka_unit_test(test_streaming_equals_one_shot_at_every_split),
		cmocka_unit_test(
		    test_parts_are_framed_so_moved_bytes_change_the_hash),
		cmocka_unit_test(test_parts_hash_the_documented_bytes),
		cmocka_unit_test(test_sha256_gives_the_fips_answer),
		cmocka_unit_test(test_subkeys_differ_by_id_context_and_key),
		cmocka_unit_test(test_random_and_wipe),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
