/* dates: days and back for every day of four centuries, and each writing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "node/imaging/helper/dates.h"

static const char *
moved(const char *in, enum dcm_vr vr, int32_t days)
{
	static char out[DATES_VALUE_MAX + 1];

	return dates_shift(slice_str(in), vr, days, out) ? out : "refused";
}

/* Each day follows the day before, leap years by the Gregorian rule. */
static void
test_every_day_of_four_centuries(void **state)
{
	static const int month[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30,
		31 };
	int32_t last = 0, at = 0;
	char text[16];

	(void)state;
	assert_true(dates_parse(SLICE_LIT("17991231"), &last));
	for (int y = 1800; y < 2200; y++) {
		int leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;

		for (int m = 1; m <= 12; m++) {
			int n = month[m - 1] + (m == 2 && leap);

			for (int d = 1; d <= n; d++) {
				(void)snprintf(text, sizeof(text),
				    "%04d%02d%02d", y, m, d);
				assert_true(dates_parse(slice_str(text), &at));
				assert_int_equal(at, last + 1);
				last = at;
				assert_string_equal(
				    moved(text, VR_DA, 0), text);
			}
			(void)snprintf(
			    text, sizeof(text), "%04d%02d%02d", y, m, n + 1);
			assert_false(dates_parse(slice_str(text), &at));
		}
	}
	assert_true(dates_parse(SLICE_LIT("19700101"), &at));
	assert_int_equal(at, 0);
}

static void
test_values_move_or_are_refused(void **state)
{
	static const struct {
		const char *in;
		enum dcm_vr vr;
		const char *out; /* a year later */
	} v[] = {
		{ "20230301", VR_DA, "20240229" },
		{ "2023.03.01", VR_DA, "20240229" },
		{ "", VR_DA, "" },
		{ "19000101", VR_DA, "19000101" },
		{ "19000101000000", VR_DT, "19000101000000" },
		{ "20230301", VR_DT, "20240229" },
		{ "2023030112", VR_DT, "2024022912" },
		{ "20230301121314.999999-1130", VR_DT,
		    "20240229121314.999999-1130" },
		{ "12", VR_TM, "12" },
		{ "121314.1", VR_TM, "121314.1" },
		{ "12:13:14", VR_TM, "12:13:14" },
		{ "+0100", VR_SH, "+0100" },
		{ "2023", VR_DA, "refused" },
		{ "20230301-20230302", VR_DA, "refused" },
		{ "20231301", VR_DA, "refused" },
		{ "20230229", VR_DA, "refused" },
		{ "00000000", VR_DA, "refused" },
		{ "2023030a", VR_DA, "refused" },
		{ "202303011213149", VR_DT, "refused" },
		{ "20230301+01", VR_DT, "refused" },
		{ "20230301.5", VR_DT, "refused" },
		{ "20230301121314.9999999", VR_DT, "refused" },
		{ "1213-1400", VR_TM, "refused" },
		{ "240000", VR_TM, "refused" },
		{ "12345678", VR_TM, "refused" },
		{ "121314.", VR_TM, "121314." },
		{ "Smith", VR_TM, "refused" },
		{ "Berlin", VR_SH, "refused" },
		{ "20230301121314.999999-11301234567", VR_DT, "refused" },
	};

	(void)state;
	for (size_t k = 0; k < sizeof(v) / sizeof(v[0]); k++)
		assert_string_equal(moved(v[k].in, v[k].vr, 365), v[k].out);
	assert_string_equal(moved("20240229", VR_DA, -3652), "20140301");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_day_of_four_centuries),
		cmocka_unit_test(test_values_move_or_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
