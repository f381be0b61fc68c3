/* enc: hex, base32 in one spelling, CRC-32C of the standards. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "store/base/clock.h"
#include "store/base/enc.h"

static void
test_base32_gives_the_answers_of_rfc4648(void **state)
{
	/* section 10, lower case, padding removed */
	static const struct {
		const char *in, *out;
	} v[] = { { "", "" }, { "f", "my" }, { "fo", "mzxq" },
		{ "foo", "mzxw6" }, { "foob", "mzxw6yq" },
		{ "fooba", "mzxw6ytb" }, { "foobar", "mzxw6ytboi" } };
	char text[32];
	uint8_t back[8];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		size_t n = strlen(v[i].in);

		enc_b32(slice_str(v[i].in), text);
		assert_string_equal(text, v[i].out);
		assert_int_equal(strlen(text), ENC_B32_LEN(n));
		assert_int_equal(dec_b32(slice_str(text), back, n), 0);
		assert_memory_equal(back, v[i].in, n);
	}
}

static void
test_base32_accepts_one_spelling_only(void **state)
{
	static const char *const bad[] = { "MY", "mZ", "mz", "m=", "m1", "m8",
		"m", "myy", "m ", "m\xc3" };
	uint8_t out[1];
	size_t i;

	(void)state;
	assert_int_equal(dec_b32(SLICE_LIT("my"), out, 1), 0);
	assert_int_equal(out[0], 'f');
	/* "mz" has bits set beyond the last byte */
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(
		    dec_b32(slice_str(bad[i]), out, 1), ERR_MALFORMED);
}

/* Every text of four characters decodes to a value that prints the same. */
static void
test_base32_decoding_is_injective(void **state)
{
	static const char set[] = "abcdefghijklmnopqrstuvwxyz234567AZ1";
	size_t a, b, good = 0;
	char text[8], again[8];
	uint8_t out[2];

	(void)state;
	for (a = 0; a < sizeof(set); a++) {
		for (b = 0; b < sizeof(set); b++) {
			text[0] = 'c';
			text[1] = set[a];
			text[2] = set[35 - a];
			text[3] = set[b];
			if (dec_b32(slice_of(text, 4), out, 2) != ERR_OK)
				continue;
			enc_b32(slice_of(out, 2), again);
			assert_memory_equal(text, again, 4);
			good++;
		}
	}
	assert_true(good > 20);
}

static void
test_hex_round_trip_and_refusals(void **state)
{
	static const uint8_t in[] = { 0x00, 0x9f, 0xa0, 0xff };
	char text[9];
	uint8_t out[4];

	(void)state;
	enc_hex(slice_of(in, 4), text);
	assert_string_equal(text, "009fa0ff");
	assert_int_equal(dec_hex(SLICE_LIT("009FA0ff"), out, 4), 0);
	assert_memory_equal(out, in, 4);
	assert_int_equal(dec_hex(SLICE_LIT("009fa0f"), out, 4), ERR_MALFORMED);
	assert_int_equal(
	    dec_hex(SLICE_LIT("009fa0fff"), out, 4), ERR_MALFORMED);
	assert_int_equal(dec_hex(SLICE_LIT("009fa0fg"), out, 4), ERR_MALFORMED);
	assert_int_equal(dec_hex(SLICE_LIT("009fa0/0"), out, 4), ERR_MALFORMED);
}

/* RFC 3720 appendix B.4. */
static void
test_crc32c_gives_the_answers_of_rfc3720(void **state)
{
	uint8_t b[32];
	size_t i;

	(void)state;
	assert_int_equal(crc32c(0, SLICE_LIT("123456789")), 0xE3069283);
	assert_int_equal(crc32c(0, (struct slice){ 0 }), 0);
	memset(b, 0, 32);
	assert_int_equal(crc32c(0, slice_of(b, 32)), 0x8A9136AA);
	memset(b, 0xff, 32);
	assert_int_equal(crc32c(0, slice_of(b, 32)), 0x62A8AB43);
	for (i = 0; i < 32; i++)
		b[i] = (uint8_t)i;
	assert_int_equal(crc32c(0, slice_of(b, 32)), 0x46DD794E);
	for (i = 0; i < 32; i++)
		b[i] = (uint8_t)(31 - i);
	assert_int_equal(crc32c(0, slice_of(b, 32)), 0x113FDB5C);
}

static void
test_crc32c_continues_over_any_split(void **state)
{
	uint8_t b[100];
	uint32_t whole;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(b); i++)
		b[i] = (uint8_t)(i * 31);
	whole = crc32c(0, slice_of(b, sizeof(b)));
	for (i = 0; i <= sizeof(b); i++) {
		uint32_t c = crc32c(0, slice_of(b, i));

		c = crc32c(c, slice_of(b + i, sizeof(b) - i));
		assert_int_equal(c, whole);
	}
}

static void
test_wall_clock_prints_as_utc(void **state)
{
	char text[CLOCK_TEXT_LEN + 1];

	(void)state;
	clock_text(0, text);
	assert_string_equal(text, "1970-01-01T00:00:00Z");
	clock_text(1709210096789u, text);
	assert_string_equal(text, "2024-02-29T12:34:56Z");
	clock_text(UINT64_MAX, text); /* no such year: empty, no overrun */
	assert_string_equal(text, "");
	assert_true(clock_mono_us() / 1000 <= clock_mono_ms() + 1);
	assert_true(clock_wall_ms() > 1700000000000u);
}

static void
test_be64_sorts_as_numbers_do_and_reads_back(void **state)
{
	static const uint8_t want[8] = { 1, 2, 3, 4, 5, 6, 7, 0xff };
	uint8_t a[8], b[8];

	(void)state;
	enc_be64(0x01020304050607ffu, a);
	assert_memory_equal(a, want, 8);
	assert_true(dec_be64(a) == 0x01020304050607ffu);
	enc_be64(0x0102030405060800u, b);
	assert_true(memcmp(a, b, 8) < 0);
	enc_be64(UINT64_MAX, a);
	assert_true(dec_be64(a) == UINT64_MAX);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_be64_sorts_as_numbers_do_and_reads_back),
		cmocka_unit_test(test_base32_gives_the_answers_of_rfc4648),
		cmocka_unit_test(test_base32_accepts_one_spelling_only),
		cmocka_unit_test(test_base32_decoding_is_injective),
		cmocka_unit_test(test_hex_round_trip_and_refusals),
		cmocka_unit_test(test_crc32c_gives_the_answers_of_rfc3720),
		cmocka_unit_test(test_crc32c_continues_over_any_split),
		cmocka_unit_test(test_wall_clock_prints_as_utc),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
