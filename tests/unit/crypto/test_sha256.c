/* sha256: parts of any size give the digest of the whole, and that is the
 * published one (FIPS 180-4 example "abc"). */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "crypto/crypto.h"
#include "store/base/enc.h"

static void
test_parts_give_the_digest_of_the_whole(void **state)
{
	uint8_t in[1000], whole[32], parts[32];
	struct cry_sha256_hasher h;
	size_t step, at;

	(void)state;
	for (at = 0; at < sizeof(in); at++)
		in[at] = (uint8_t)(at * 7);
	cry_sha256(slice_of(in, sizeof(in)), whole);
	for (step = 1; step < 200; step += 13) {
		cry_sha256_init(&h);
		for (at = 0; at < sizeof(in); at += step)
			cry_sha256_add(
			    &h, slice_of(in + at, step < sizeof(in) - at
						      ? step
						      : sizeof(in) - at));
		cry_sha256_end(&h, parts);
		assert_memory_equal(whole, parts, 32);
	}
}

static void
test_the_published_example(void **state)
{
	struct cry_sha256_hasher h;
	uint8_t out[32];
	char hex[65];

	(void)state;
	cry_sha256_init(&h);
	cry_sha256_add(&h, SLICE_LIT("abc"));
	cry_sha256_end(&h, out);
	enc_hex(slice_of(out, 32), hex);
	assert_string_equal(hex,
	    "ba7816bf8f01cfea414140de5dae2223b00361a396177a"
	    "9cb410ff61f20015ad");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parts_give_the_digest_of_the_whole),
		cmocka_unit_test(test_the_published_example),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
