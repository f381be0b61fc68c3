/* charset: text in each character set of DICOM becomes the UTF-8 it means;
 * what is wrong or undeclared is told, and 5C inside a character is no
 * delimiter. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "node/imaging/helper/charset.h"

static struct charset *charset;

struct sample {
	const char *names; /* (0008,0005) */
	enum dcm_vr vr;
	const char *in;
	const char *want;
	bool guessed;
};

/* PS3.5 annexes H to K, and what senders make of them. */
static const struct sample samples[] = {
	{ "ISO_IR 100", VR_LO,
	    "B\xFC"
	    "chler",
	    "B\xC3\xBC"
	    "chler",
	    false },
	{ "ISO_IR 101", VR_LO, "W\xB3odarczyk",
	    "W\xC5\x82"
	    "odarczyk",
	    false },
	{ "ISO_IR 144", VR_PN, "\xBB\xEE\xDA", "\xD0\x9B\xD1\x8E\xD0\xBA",
	    false },
	{ "ISO_IR 126", VR_PN, "\xC4\xE9\xEF", "\xCE\x94\xCE\xB9\xCE\xBF",
	    false },
	{ "ISO_IR 127", VR_PN, "\xE2", "\xD9\x82", false },
	{ "ISO_IR 138", VR_PN, "\xF9", "\xD7\xA9", false },
	{ "ISO_IR 166", VR_LO, "\xA1\xD2", "\xE0\xB8\x81\xE0\xB8\xB2", false },
	{ "ISO_IR 192", VR_LO, "\xE5\xB1\xB1", "\xE5\xB1\xB1", false },
	{ "ISO_IR 13", VR_PN, "\xD4\xCF\xC0\xDE",
	    "\xEF\xBE\x94\xEF\xBE\x8F\xEF\xBE\x80\xEF\xBE\x9E", false },
	/* Yamada^Tarou=..=.. of annex H.3.1, its second group */
	{ "\\ISO 2022 IR 87", VR_PN,
	    "Yamada^Tarou=\x1B$B;3ED\x1B(B^\x1B$BB@O:\x1B(B",
	    "Yamada^Tarou=\xE5\xB1\xB1\xE7\x94\xB0^\xE5\xA4\xAA\xE9\x83\x8E",
	    false },
	/* a pair whose second byte is 5C: no delimiter */
	{ "\\ISO 2022 IR 87", VR_LO, "\x1B$B%\\\x1B(B\\x", "\xE3\x83\x9C\\x",
	    false },
	/* annex I.2: Hong^Gildong, hangul in G1 */
	{ "\\ISO 2022 IR 149", VR_PN,
	    "Hong=\x1B$)C\xFB\xF3^\x1B$)C\xD1\xCE\xD4\xD7",
	    "Hong=\xE6\xB4\xAA^\xE5\x90\x89\xE6\xB4\x9E", false },
	{ "\\ISO 2022 IR 58", VR_LO, "\x1B$)A\xCD\xF5", "\xE7\x8E\x8B", false },
	{ "GB18030", VR_PN, "Wang=\xCD\xF5^\xD0\xA1\xB6\xAB",
	    "Wang=\xE7\x8E\x8B^\xE5\xB0\x8F\xE4\xB8\x9C", false },
	/* 5C as the second byte (U+5B5B is 8C DC; 81 5C is U+4E5A) */
	{ "GB18030", VR_LO,
	    "a\x81\x5C"
	    "b\\c",
	    "a\xE4\xB9\x97"
	    "b\\c",
	    false },
	{ "GBK", VR_LO, "\x81\x30\x81\x30", "\xC2\x80", false },
	/* undeclared, wrong, ill-formed */
	{ "", VR_LO, "B\xC3\xBC", "B\xC3\xBC", true },
	{ "", VR_LO, "B\xFC", "B\xC3\xBC", true },
	{ "ISO_IR 999", VR_LO, "B\xFC", "B\xC3\xBC", true },
	{ "ISO_IR 192", VR_LO, "B\xFC", "B\xC3\xBC", true },
	{ "ISO_IR 127", VR_LO, "a\xA1", "a?", true },
	{ "GB18030", VR_LO, "a\xFF", "a?", true },
	{ "ISO_IR 13", VR_LO, "\x83\x5C\x83\x65", "\xE3\x82\xBD\xE3\x83\x86",
	    true }, /* Shift-JIS, 5C inside */
	{ "ISO 2022 IR 6", VR_LO, "a\x1Bz", "az", true },
	/* escapes end with the value, and with the component of a name */
	{ "ISO 2022 IR 100\\ISO 2022 IR 126", VR_LO, "\x1B-F\xC4\\\xFC",
	    "\xCE\x94\\\xC3\xBC", false },
	{ "ISO 2022 IR 100\\ISO 2022 IR 126", VR_PN, "\x1B-F\xC4^\xFC",
	    "\xCE\x94^\xC3\xBC", false },
};

static void
test_each_set_becomes_what_it_means(void **state)
{
	(void)state;
	for (size_t k = 0; k < sizeof(samples) / sizeof(samples[0]); k++) {
		const struct sample *s = &samples[k];
		struct buf b = BUF_MAX(256);
		struct charset_names names;
		bool guessed = false;

		charset_names(slice_str(s->names), &names);
		charset_convert(
		    charset, &names, s->vr, slice_str(s->in), &b, &guessed);
		if (strcmp(buf_cstr(&b), s->want) != 0 || guessed != s->guessed)
			fail_msg("sample %zu (%s): \"%s\" guessed=%d", k,
			    s->names, buf_cstr(&b), guessed);
		assert_true(charset_is_utf8(buf_slice(&b)));
		buf_fini(&b);
	}
}

/* Whatever the bytes: the output is UTF-8 and not without bound. */
static void
test_any_bytes_become_utf8(void **state)
{
	static const char *const names[] = { "", "ISO_IR 13", "ISO_IR 100",
		"ISO_IR 127", "ISO_IR 192", "GB18030", "\\ISO 2022 IR 87",
		"\\ISO 2022 IR 149", "\\ISO 2022 IR 58", "nonsense" };
	uint32_t x = 1;

	(void)state;
	for (uint32_t round = 0; round < 4000; round++) {
		struct buf b = BUF_MAX(1024);
		struct charset_names n;
		bool guessed = false;
		uint8_t in[64];

		for (size_t k = 0; k < sizeof(in); k++) {
			x = x * 1664525u + 1013904223u;
			in[k] = (uint8_t)(x >> 24);
			if (round % 2 == 1 && in[k] % 8 == 0)
				in[k] = 0x1B;
		}
		charset_names(slice_str(names[round % 10]), &n);
		charset_convert(
		    charset, &n, VR_LO, slice_of(in, sizeof(in)), &b, &guessed);
		assert_int_equal(buf_err(&b), ERR_OK);
		assert_true(b.n <= 3 * sizeof(in));
		assert_true(charset_is_utf8(buf_slice(&b)));
		buf_fini(&b);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_set_becomes_what_it_means),
		cmocka_unit_test(test_any_bytes_become_utf8),
	};
	int rc;

	if (charset_open(&charset) != ERR_OK)
		return 1;
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	charset_close(charset);
	return rc;
}
