/* Many nodes from one seed: convergence, durability, rights, no waste.
 * PSC_SIM_SEED=n runs one seed alone; PSC_SIM_RUNS=n runs that many. */
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
#include "store/base/num.h"

static const struct sim_opts usual = {
	.sites = 44,
	.hubs = 3,
	.joiners = 3,
	.writes = 48,
	.active_ms = 40000,
	.crashes = 8,
	.partitions = 4,
	.fault_per_mille_x10 = 20,
};

static uint64_t
env_number(const char *name, uint64_t otherwise)
{
	const char *v = getenv(name);
	uint64_t n = otherwise;

	if (v != NULL && num_u64(slice_str(v), 0, UINT32_MAX, &n) != ERR_OK)
		fail_msg("%s is not a number", name);
	return n;
}

static void
report(const struct sim_result *r, uint64_t seed)
{
	print_message("seed %llu: %u nodes, %llu events, %llu messages, "
		      "%u crashes, %u partitions, %u breaks, %u acks, "
		      "%llu chunks (%llu twice), whole after %llu ms\n",
	    (unsigned long long)seed, r->nodes, (unsigned long long)r->events,
	    (unsigned long long)r->messages, r->crashes, r->partitions,
	    r->breaks, r->acked, (unsigned long long)r->chunk_deliveries,
	    (unsigned long long)r->chunk_repeats,
	    (unsigned long long)r->converged_ms);
	if (r->failed[0] != '\0')
		fail_msg("seed %llu: %s (replay: PSC_SIM_SEED=%llu)",
		    (unsigned long long)seed, r->failed,
		    (unsigned long long)seed);
}

static void
test_fifty_nodes_converge_under_faults(void **state)
{
	uint64_t one = env_number("PSC_SIM_SEED", 0);
	uint64_t runs = one != 0 ? 1 : env_number("PSC_SIM_RUNS", 20);

	(void)state;
	for (uint64_t i = 0; i < runs; i++) {
		struct sim_opts o = usual;
		struct sim_result r;

		o.seed = one != 0 ? one : 1000 + i;
		o.hubs = 2 + (uint32_t)(o.seed % 3);
		o.big_chunk = o.seed % 5 == 0;
		sim_run(&o, &r);
		report(&r, o.seed);
		assert_true(r.nodes >= 50);
		assert_true(r.acked > 0 && r.chunk_deliveries > 0);
	}
}

static void
test_calm_world_converges_at_once(void **state)
{
	struct sim_opts o = usual;
	struct sim_result r;

	(void)state;
	o.seed = 7;
	o.crashes = o.partitions = o.fault_per_mille_x10 = 0;
	sim_run(&o, &r);
	report(&r, o.seed);
	assert_true(r.converged_ms <= 3000);
	assert_int_equal(r.breaks, 0);
	assert_int_equal(r.chunk_repeats, 0);
}

static void
test_same_seed_same_run(void **state)
{
	struct sim_opts o = usual;
	struct sim_result a, b;

	(void)state;
	o.seed = 4242;
	o.sites = 12;
	o.writes = 20;
	sim_run(&o, &a);
	sim_run(&o, &b);
	assert_int_equal(a.trace, b.trace);
	assert_int_equal(a.events, b.events);
	o.seed = 4243;
	sim_run(&o, &b);
	assert_int_not_equal(a.trace, b.trace);
}

/* The checks must bite: a fault in a host is found in most of a few runs. */
static void
bites(enum sim_bug bug, const char *expect)
{
	struct sim_opts o = usual;
	struct sim_result r;

	o.bug = bug;
	o.sites = 16;
	o.joiners = 1;
	o.seed = 99;
	sim_run(&o, &r);
	print_message("planted %d: %s\n", (int)bug, r.failed);
	if (strstr(r.failed, expect) == NULL)
		fail_msg("planted fault %d gave '%s'", (int)bug, r.failed);
}

static void
test_planted_lost_ack_is_found(void **state)
{
	(void)state;
	bites(BUG_DROP_ACKED, "acknowledged op lost");
}

static void
test_planted_false_durability_is_found(void **state)
{
	(void)state;
	bites(BUG_LIE_PERSIST, "chunk");
}

static void
test_planted_leak_is_found(void **state)
{
	(void)state;
	bites(BUG_LEAK, "holds ops of");
}

static void
test_planted_refetch_is_found(void **state)
{
	(void)state;
	bites(BUG_REFETCH, "came twice");
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_calm_world_converges_at_once),
		cmocka_unit_test(test_same_seed_same_run),
		cmocka_unit_test(test_planted_lost_ack_is_found),
		cmocka_unit_test(test_planted_false_durability_is_found),
		cmocka_unit_test(test_planted_leak_is_found),
		cmocka_unit_test(test_planted_refetch_is_found),
		cmocka_unit_test(test_fifty_nodes_converge_under_faults),
	};

	const struct CMUnitTest replay[] = {
		cmocka_unit_test(test_fifty_nodes_converge_under_faults),
	};

	if (argc > 1) /* test_sim SEED */
		setenv("PSC_SIM_SEED", argv[1], 1);
	if (cry_init() != ERR_OK)
		return 1;
	if (getenv("PSC_SIM_SEED") != NULL)
		return cmocka_run_group_tests(replay, NULL, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
