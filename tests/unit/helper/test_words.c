/* words: descriptions keep words of imaging and nothing else. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "node/imaging/helper/words.h"

static void
test_only_known_words_and_small_measures_stay(void **state)
{
	static const char *const v[][2] = {
		{ "Accelerated SAG IR-SPGR", "Accelerated SAG IR SPGR" },
		{ "STD BRAIN 5MM", "STD BRAIN 5MM" },
		{ "t1_mprage_sag_p2_iso", "t1 mprage sag iso" },
		{ "ep2d_diff_b1000 TE90 64dir", "ep2d diff b1000 TE90 64dir" },
		{ "Head of Ottoline Quill", "Head of" },
		{ "axial MRN-7740318", "axial" },
		{ "scan 2019-08-07 12 run2", "scan run2" },
		{ "brain0142 mr2019 b20190807", "" },
		{ "M\xC3\xBCller brain", "brain" },
		{ "", "" },
		{ "thisisonelongwordofbrain", "" },
	};

	(void)state;
	for (size_t k = 0; k < sizeof(v) / sizeof(v[0]); k++) {
		struct buf b = BUF_MAX(200);

		words_clean(slice_str(v[k][0]), &b);
		assert_string_equal(buf_cstr(&b), v[k][1]);
		buf_fini(&b);
	}
}

/* Binary search needs order; names that are words must not be in. */
static void
test_the_vocabulary_is_searched_whole_and_holds_no_names(void **state)
{
	static const char *const in[] = { "abd", "xr", "2d", "wrist", "brain",
		"mprage", "perf", "perfusion" };
	static const char *const out[] = { "may", "long", "young", "king",
		"rose", "smith", "a", "zzz", "april", "august" };
	struct buf b = BUF_MAX(2000);

	(void)state;
	for (size_t k = 0; k < sizeof(in) / sizeof(in[0]); k++) {
		buf_reset(&b);
		words_clean(slice_str(in[k]), &b);
		assert_string_equal(buf_cstr(&b), in[k]);
	}
	for (size_t k = 0; k < sizeof(out) / sizeof(out[0]); k++) {
		buf_reset(&b);
		words_clean(slice_str(out[k]), &b);
		assert_string_equal(buf_cstr(&b), "");
	}
	buf_fini(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_only_known_words_and_small_measures_stay),
		cmocka_unit_test(
		    test_the_vocabulary_is_searched_whole_and_holds_no_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
