/* A thousand sites behind four hubs: what is written at one is soon at all,
 * and comes to each about once.  The figures are of virtual time and the same
 * on every machine.  PSC_SIM_SITES=n: another number of sites. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "sim/replication/sim_world.c"
#include "sim/replication/sim_host.c"
#include "sim/replication/sim_check.c"
#include "sim/replication/sim_run.c"
#include "sim/replication/sim_fault.c"
#include "sim/replication/sim_evil.c"
#include "store/base/num.h"

#define SECOND_MS 1000u

static struct sim_result result; /* large */

static uint32_t
n_sites(void)
{
	const char *v = getenv("PSC_SIM_SITES");
	uint64_t n = 1000;

	if (v != NULL && num_u64(slice_str(v), 1, 8000, &n) != ERR_OK)
		fail_msg("PSC_SIM_SITES is not a number of sites");
	return (uint32_t)n;
}

/* The least time within which so many of a thousand came. */
static uint32_t
within(const struct sim_result *r, uint32_t per_mille)
{
	uint64_t sum = 0;

	for (uint32_t ms = 0; ms <= SIM_LATE_MS; ms++) {
		sum += r->late[ms];
		if (sum * 1000 >= r->news * per_mille)
			return ms;
	}
	return SIM_LATE_MS;
}

static void
crowd(const char *name, uint32_t lost, uint32_t gone)
{
	struct sim_opts o = { .seed = 8,
		.sites = n_sites(),
		.hubs = 4,
		.comps = 1,
		.writes = 16,
		.writes_from_ms = 8000,
		.active_ms = 20000,
		.crowd = true,
		.no_chunks = true,
		.lost_per_mille = lost,
		.gone_per_mille = gone };
	const struct sim_result *r = &result;

	sim_run(&o, &result);
	print_message("%s: %u nodes, %u runs, %.3f payloads a node, %.2f "
		      "IHAVE, %.3f GRAFT (%.2f payloads while the tree "
		      "formed); 50 %% within %u ms, 99 %% within %u "
		      "ms, all within %u ms (%llu events)\n",
	    name, r->nodes - 1, r->acked, (double)r->payloads / (double)r->news,
	    (double)r->ihaves / (double)r->news,
	    (double)r->grafts / (double)r->news, r->forming, within(r, 500),
	    within(r, 990), within(r, 1000), (unsigned long long)r->events);
	if (r->failed[0] != '\0')
		fail_msg("%s", r->failed);
	assert_int_equal(r->acked, o.writes + 1);
	assert_true(r->news == (uint64_t)o.writes * (r->nodes - 2));
}

static void
test_every_payload_comes_about_once_and_soon(void **state)
{
	(void)state;
	crowd("no loss", 0, 0);
	assert_true(within(&result, 990) < SECOND_MS);
	assert_true(result.payloads * 100 <= result.news * 107);
}

/* What a network loses TCP sends again, and all behind it waits. */
static void
test_with_5_percent_of_segments_lost(void **state)
{
	(void)state;
	crowd("5 % sent again by TCP", 50, 0);
	assert_true(within(&result, 990) < SECOND_MS);
	assert_true(result.payloads * 100 <= result.news * 120);
}

/* Worse than any session allows: gossip that is simply gone. */
static void
test_with_5_percent_of_gossip_gone(void **state)
{
	(void)state;
	crowd("5 % of gossip gone", 0, 50);
	assert_true(within(&result, 990) < SECOND_MS);
	assert_true(result.payloads * 100 <= result.news * 120);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_payload_comes_about_once_and_soon),
		cmocka_unit_test(test_with_5_percent_of_segments_lost),
		cmocka_unit_test(test_with_5_percent_of_gossip_gone),
	};

	if (cry_init() != ERR_OK)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
