/* The bucket in virtual time: what leaves follows the clock, a debt is paid
 * before more goes, and a pause saves up a tenth of a second. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "replication/bucket.h"

#define RATE 1000000u

static void
test_bytes_follow_the_clock(void **state)
{
	struct bucket b = { 0 };
	uint64_t now = 5000, bytes = 0;

	(void)state;
	bucket_set(&b, RATE, now);
	for (uint32_t step = 0; step < 10000; step++, now += 1 + step % 3) {
		size_t room = bucket_room(&b, now);

		if (room == 0)
			continue;
		bucket_take(&b, 30000); /* more than there may be */
		bytes += 30000;
		assert_true(bytes <= (now - 5000) * RATE / 1000 + 30000);
	}
	assert_true(bytes + 30000 >= (now - 5003) * RATE / 1000);
}

static void
test_a_debt_is_paid_before_more_goes(void **state)
{
	struct bucket b = { 0 };

	(void)state;
	bucket_set(&b, RATE, 0);
	assert_int_equal(bucket_room(&b, 0), 0);
	bucket_take(&b, 4000000);
	assert_int_equal(bucket_open_ms(&b), 4001);
	assert_int_equal(bucket_room(&b, 4000), 0);
	assert_true(bucket_room(&b, 4001) > 0);
	bucket_take(&b, 2000000);
	bucket_give(&b, 2000000);
	assert_true(bucket_room(&b, 4001) > 0);
}

static void
test_a_pause_saves_little_up(void **state)
{
	struct bucket b = { 0 };

	(void)state;
	bucket_set(&b, RATE, 0);
	assert_int_equal(bucket_room(&b, (uint64_t)1 << 60), RATE / 10);
	assert_int_equal(bucket_room(&b, 7), RATE / 10); /* back in time */
	bucket_set(&b, 0, 8);
	assert_true(bucket_room(&b, 8) == SIZE_MAX);
	bucket_take(&b, 1000);
	bucket_set(&b, RATE, 9);
	assert_int_equal(bucket_room(&b, 10), 1000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bytes_follow_the_clock),
		cmocka_unit_test(test_a_debt_is_paid_before_more_goes),
		cmocka_unit_test(test_a_pause_saves_little_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
