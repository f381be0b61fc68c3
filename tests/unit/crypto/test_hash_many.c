/* Many hashes at once are the hashes one by one, on every path a processor
 * may take. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "crypto/crypto_internal.h"
#include "crypto/hash_lanes.h"

#define ROOM ((size_t)200000)
#define MANY 150u

static uint8_t room[ROOM];
static const enum hash_path wide[] = { HASH_AVX2, HASH_AVX512 };

static int
room_fill(void **state)
{
	size_t i;
	uint64_t x = 1;

	(void)state;
	for (i = 0; i < ROOM; i++) {
		x = x * 6364136223846793005u + 1442695040888963407u;
		room[i] = (uint8_t)(x >> 56);
	}
	return cry_init() == ERR_OK ? 0 : 1;
}

static void
assert_same(const struct slice *in, size_t n, const struct cry_id *got)
{
	struct cry_id want;
	size_t i;

	for (i = 0; i < n; i++) {
		assert_int_equal(crypto_generichash(want.b, sizeof(want.b),
				     in[i].p, in[i].n, NULL, 0),
		    0);
		if (memcmp(&want, &got[i], sizeof(want)) != 0)
			fail_msg(
			    "message %zu of %zu, %zu bytes", i, n, in[i].n);
	}
}

/* By each wide path this machine has, and by the one it would take. */
static void
assert_all_paths(const struct slice *in, size_t n)
{
	struct cry_id got[MANY];
	size_t i;

	assert_true(n <= MANY);
	for (i = 0; i < sizeof(wide) / sizeof(wide[0]); i++) {
		memset(got, 0, sizeof(got));
		if (hash_many_by(wide[i], in, n, got))
			assert_same(in, n, got);
	}
	memset(got, 0, sizeof(got));
	cry_hash_many(in, n, got);
	assert_same(in, n, got);
}

static void
test_every_length_to_1000_beside_others(void **state)
{
	struct slice in[11];
	size_t len, i;

	(void)state;
	for (len = 0; len <= 1000; len++) {
		for (i = 0; i < 11; i++) {
			in[i] = slice_of(room + 13 * i, len);
			if (i % 3 == 1)
				in[i].n = 1000 - len;
		}
		assert_all_paths(in, 11);
	}
}

static void
test_every_count_of_equal_messages(void **state)
{
	struct slice in[MANY];
	size_t n;

	(void)state;
	for (n = 0; n < MANY; n++) {
		in[n] = slice_of(room + n, 300);
		assert_all_paths(in, n);
	}
}

static uint32_t
below(uint64_t *x, uint32_t n)
{
	*x = *x * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(*x >> 33) % n;
}

/* Lengths of all sizes, at any address, overlapping. */
static void
test_random_sets(void **state)
{
	struct slice in[MANY];
	uint64_t x = 7;
	size_t i, round;

	(void)state;
	for (round = 0; round < 4000; round++) {
		uint32_t n = below(&x, round % 100 == 0 ? MANY : 24);
		uint32_t bits = round % 20 == 0 ? 17 : 11;
		uint32_t like = 1u << below(&x, bits);

		for (i = 0; i < n; i++) {
			uint32_t at, max = 1u << below(&x, bits);

			if (round % 2 == 0) /* of one size */
				max = like;
			in[i].n = max / 2 + below(&x, max / 2 + 1);
			at = below(&x, (uint32_t)(ROOM - in[i].n));
			in[i].p = in[i].n == 0 ? NULL : room + at;
		}
		assert_all_paths(in, n);
	}
}

/* Exactly the bytes of a message are read: it lies at the end of its own
 * allocation, where the address sanitizer watches. */
static void
test_nothing_beside_a_message_is_read(void **state)
{
	struct slice in[9];
	uint8_t *own[9];
	size_t i, len;

	(void)state;
	for (len = 1; len < 400; len += 7) {
		for (i = 0; i < 9; i++) {
			in[i].n = len + (i * 129) % 400;
			own[i] = test_malloc(in[i].n);
			memcpy(own[i], room + i, in[i].n);
			in[i].p = own[i];
		}
		assert_all_paths(in, 9);
		for (i = 0; i < 9; i++)
			test_free(own[i]);
	}
}

static void
test_one_path_at_a_time_has_no_lanes(void **state)
{
	struct slice in = SLICE_LIT("abc");
	struct cry_id out;
	unsigned lanes = 0;

	(void)state;
	assert_null(hash_lanes_of(HASH_ONE, &lanes));
	assert_false(hash_many_by(HASH_ONE, &in, 1, &out));
}

/* What ran is said, so that a run on a small machine does not look like
 * proof of the wide paths. */
static void
test_says_which_paths_ran(void **state)
{
	unsigned lanes;

	(void)state;
	print_message("lanes: avx2 %s, avx512 %s\n",
	    hash_lanes_of(HASH_AVX2, &lanes) != NULL ? "ran" : "absent",
	    hash_lanes_of(HASH_AVX512, &lanes) != NULL ? "ran" : "absent");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_length_to_1000_beside_others),
		cmocka_unit_test(test_every_count_of_equal_messages),
		cmocka_unit_test(test_random_sets),
		cmocka_unit_test(test_nothing_beside_a_message_is_read),
		cmocka_unit_test(test_one_path_at_a_time_has_no_lanes),
		cmocka_unit_test(test_says_which_paths_ran),
	};

	return cmocka_run_group_tests(tests, room_fill, NULL);
}
