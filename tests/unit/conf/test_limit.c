/* peers.schedule: which limit holds at a given moment, over midnight, at the
 * changes of the clocks, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>

#include "node/conf/conf.h"

static struct conf c; /* not on the stack */

static enum err
parse(const char *schedule, struct errmsg *em)
{
	char text[600];

	(void)snprintf(text, sizeof(text),
	    "site: here\npeers:\n  limit.up: 1m\n  limit.down: 2m\n"
	    "  schedule: %s\n",
	    schedule);
	return conf_parse(slice_str(text), "pesscara.yaml", &c, em);
}

/* 2026-03-29 and 2026-10-25 are the Sundays of the changes; offset of the
 * moment's local time from UTC in hours. */
static int64_t
at(int day_of_2026, int hour, int min, int offset)
{
	return 1767225600 + (int64_t)(day_of_2026 - 1) * 86400 +
	       (hour - offset) * 3600 + min * 60;
}

static uint64_t
up(int64_t when)
{
	struct conf_limits l;

	conf_limits_at(&c, when, &l);
	return l.up;
}

static void
test_first_entry_that_holds_decides(void **state)
{
	struct conf_limits l;
	struct errmsg em;

	(void)state;
	assert_int_equal(
	    parse("[{days: 'mon-fri', from: '07:00', to: '19:00', up: 500k}, "
		  "{from: '00:00', to: '24:00', up: 0, down: 0}]",
		&em),
	    ERR_OK);
	/* day 5 of 2026 is a Monday */
	assert_int_equal(up(at(5, 6, 59, 1)), 0);
	assert_int_equal(up(at(5, 7, 0, 1)), 500 * KIB);
	assert_int_equal(up(at(5, 18, 59, 1)), 500 * KIB);
	assert_int_equal(up(at(5, 19, 0, 1)), 0);
	assert_int_equal(up(at(4, 12, 0, 1)), 0); /* Sunday */
	conf_limits_at(&c, at(5, 12, 0, 1), &l);
	assert_int_equal(l.down, 2 * MIB); /* the entry does not say */
	assert_int_equal(
	    conf_limits_until(&c, at(5, 12, 0, 1)), at(5, 19, 0, 1));
	assert_int_equal(
	    conf_limits_until(&c, at(9, 20, 0, 1)), at(12, 7, 0, 1));
}

static void
test_over_midnight_belongs_to_the_day_it_begins_on(void **state)
{
	struct errmsg em;

	(void)state;
	assert_int_equal(
	    parse("[{days: fri, from: '22:00', to: '06:00', up: 0}]", &em),
	    ERR_OK);
	/* Friday is day 9 */
	assert_int_equal(up(at(9, 5, 0, 1)), MIB);
	assert_int_equal(up(at(9, 22, 0, 1)), 0);
	assert_int_equal(up(at(10, 5, 59, 1)), 0);
	assert_int_equal(up(at(10, 6, 0, 1)), MIB);
	assert_int_equal(up(at(10, 22, 0, 1)), MIB);
	assert_int_equal(
	    conf_limits_until(&c, at(9, 23, 0, 1)), at(10, 6, 0, 1));
}

/* 01:30 to 02:30.  In spring 02:00 is 03:00; in autumn 02:00 comes twice. */
static void
test_at_a_change_of_the_clocks_the_wall_clock_counts(void **state)
{
	struct errmsg em;

	(void)state;
	assert_int_equal(
	    parse("[{from: '01:30', to: '02:30', up: 0}]", &em), ERR_OK);
	/* spring, day 88: from 01:30 to what is 02:00 and 03:00 at once */
	assert_int_equal(up(at(88, 1, 29, 1)), MIB);
	assert_int_equal(up(at(88, 1, 30, 1)), 0);
	assert_int_equal(up(at(88, 1, 59, 1)), 0);
	assert_int_equal(up(at(88, 3, 0, 2)), MIB);
	assert_int_equal(
	    conf_limits_until(&c, at(88, 1, 30, 1)), at(88, 3, 0, 2));
	/* autumn, day 298: 02:00 to 02:30 twice */
	assert_int_equal(up(at(298, 2, 15, 2)), 0);
	assert_int_equal(up(at(298, 2, 45, 2)), MIB);
	assert_int_equal(up(at(298, 2, 15, 1)), 0);
	assert_int_equal(up(at(298, 2, 30, 1)), MIB);
	assert_int_equal(
	    conf_limits_until(&c, at(298, 2, 15, 2)), at(298, 2, 30, 2));
}

static void
test_what_is_wrong_is_named(void **state)
{
	static const struct {
		const char *schedule, *why;
	} bad[] = {
		{ "daily", "must be a list" },
		{ "[5]", "must be a map" },
		{ "[{days: foo, from: '01:00', to: '02:00', up: 5m}]",
		    "days must be daily" },
		{ "[{from: '25:00', to: '02:00', up: 5m}]",
		    "from must be a time" },
		{ "[{from: '24:01', to: '02:00', up: 5m}]",
		    "from must be a time" },
		{ "[{from: '02:00', up: 5m}]", "needs from and to" },
		{ "[{from: '02:00', to: '02:00', up: 5m}]",
		    "needs from and to" },
		{ "[{from: '02:00', to: '03:00'}]", "needs up or down" },
		{ "[{from: '02:00', to: '03:00', up: 5}]", "up must be 0" },
		{ "[{from: '02:00', to: '03:00', down: x}]", "down must be 0" },
		{ "[{form: '02:00'}]", "has no \"form\"" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct errmsg em = { 0 };

		assert_int_not_equal(parse(bad[i].schedule, &em), ERR_OK);
		if (strstr(em.cause, bad[i].why) == NULL ||
		    strstr(em.cause, "yaml:5: peers.schedule") == NULL)
			fail_msg("%s: %s", bad[i].schedule, em.cause);
	}
}

/* What is shown is read again as the same. */
static void
test_shown_and_read_again(void **state)
{
	struct buf shown = BUF_MAX(65536), again = BUF_MAX(65536);
	struct errmsg em;

	(void)state;
	assert_int_equal(parse("[{days: 'sat,sun-mon', from: '22:00', "
			       "to: '06:00', up: 0, down: 5m}]",
			     &em),
	    ERR_OK);
	assert_int_equal(conf_show(&c, &shown), ERR_OK);
	assert_non_null(strstr(buf_cstr(&shown), "mon,sat,sun"));
	assert_int_equal(
	    conf_parse(buf_slice(&shown), "pesscara.yaml", &c, &em), ERR_OK);
	assert_int_equal(conf_show(&c, &again), ERR_OK);
	assert_string_equal(buf_cstr(&shown), buf_cstr(&again));
	buf_fini(&shown);
	buf_fini(&again);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first_entry_that_holds_decides),
		cmocka_unit_test(
		    test_over_midnight_belongs_to_the_day_it_begins_on),
		cmocka_unit_test(
		    test_at_a_change_of_the_clocks_the_wall_clock_counts),
		cmocka_unit_test(test_what_is_wrong_is_named),
		cmocka_unit_test(test_shown_and_read_again),
	};

	(void)setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
	tzset();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
