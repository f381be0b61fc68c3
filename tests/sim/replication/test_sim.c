/* Many nodes from one seed: convergence, durability, rights, no waste.
 * `test_sim n` or PSC_SIM_SEED=n runs one seed alone, PSC_SIM_RUNS=n so many
 * from PSC_SIM_FROM=n, PSC_LONG=1 very many. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "sim/replication/sim_world.c"
#include "sim/replication/sim_host.c"
#include "sim/replication/sim_check.c"
#include "sim/replication/sim_run.c"
#include "sim/replication/sim_fault.c"
#include "sim/replication/sim_evil.c"
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

#define SEEDS 120
#define SEEDS_LONG 3000

/* The world of a seed: most are small, each 30th is large; which faults and
 * which adversary there are follows from the seed too. */
static struct sim_opts
world_of(uint64_t seed)
{
	struct sim die = { .rng = seed * 0xD1342543DE82EF95u | 1 };
	struct sim_opts o = usual;

	(void)sim_rand(&die, 2);
	if (seed % 30 != 0) {
		o.sites = 4 + (uint32_t)sim_rand(&die, 6);
		o.joiners = (uint32_t)sim_rand(&die, 2);
		o.writes = 16;
		o.active_ms = 20000;
		o.crashes = (uint32_t)sim_rand(&die, 6);
		o.partitions = (uint32_t)sim_rand(&die, 3);
	}
	o.seed = seed;
	o.hubs = 2 + (uint32_t)sim_rand(&die, 2);
	o.big_chunk = sim_rand(&die, 5) == 0;
	o.lost_per_mille = (uint32_t)sim_rand(&die, 2) * 20;
	o.rewinds = (uint32_t)sim_rand(&die, 3);
	o.losses = (uint32_t)sim_rand(&die, 2);
	o.fulls = (uint32_t)sim_rand(&die, 3);
	o.rots = (uint32_t)sim_rand(&die, 4);
	o.jumps = (uint32_t)sim_rand(&die, 3);
	if (sim_rand(&die, 2) == 0)
		o.evil = (enum sim_evil)(1 + sim_rand(&die, EVIL_KINDS - 1));
	o.freezes = (uint32_t)sim_rand(&die, 3);
	return o;
}

static uint64_t
env_number(const char *name, uint64_t otherwise)
{
	const char *v = getenv(name);
	uint64_t n = otherwise;

	if (v != NULL && num_u64(slice_str(v), 0, UINT32_MAX, &n) != ERR_OK)
		fail_msg("%s is not a number", name);
	return n;
}

static const char *const evils[EVIL_KINDS] = { "nobody", "twins",
	"a withholding hub", "a liar", "a flooder", "a revoked writer" };

static void
report(const struct sim_result *r, const struct sim_opts *o)
{
	if (r->nodes > 30 || r->failed[0] != '\0')
		print_message(
		    "seed %llu: %u nodes, %s, %llu events, %llu messages, "
		    "%u crashes, %u partitions, %u breaks, %u rewound, %u "
		    "lost, %u full, %u rotten, %u jumps, %u shut out, %u "
		    "acks, %llu chunks (%llu twice), whole after %llu ms\n",
		    (unsigned long long)o->seed, r->nodes, evils[o->evil],
		    (unsigned long long)r->events,
		    (unsigned long long)r->messages, r->crashes, r->partitions,
		    r->breaks, r->rewinds, r->losses, r->fulls, r->rots,
		    r->jumps, r->shut, r->acked,
		    (unsigned long long)r->chunk_deliveries,
		    (unsigned long long)r->chunk_repeats,
		    (unsigned long long)r->converged_ms);
	if (r->failed[0] != '\0')
		fail_msg("seed %llu: %s (replay: test_sim %llu)",
		    (unsigned long long)o->seed, r->failed,
		    (unsigned long long)o->seed);
}

/* What all runs together met, so that nobody thinks a fault was tried that
 * was not. */
static void
sum_up(const struct sim_result *r, struct sim_result *sum)
{
	sum->crashes += r->crashes;
	sum->partitions += r->partitions;
	sum->breaks += r->breaks;
	sum->rewinds += r->rewinds;
	sum->losses += r->losses;
	sum->fulls += r->fulls;
	sum->rots += r->rots;
	sum->jumps += r->jumps;
	sum->shut += r->shut;
	sum->freezes += r->freezes;
	sum->rotations += r->rotations;
	sum->acked += r->acked;
	sum->left_out += r->left_out;
	sum->put_back += r->put_back;
	sum->named += r->named;
	sum->events += r->events;
	if (r->converged_ms > sum->converged_ms)
		sum->converged_ms = r->converged_ms;
}

static void
run_seed(uint64_t seed, struct sim_result *sum)
{
	struct sim_opts o = world_of(seed);
	struct sim_result *r = must(mem_new(sizeof(*r)));

	sim_run(&o, r);
	if (r->failed[0] == '\0' && r->acked == 0)
		snprintf(r->failed, sizeof(r->failed), "nothing was written");
	sum_up(r, sum);
	report(r, &o);
	mem_free(r);
}

static void
test_worlds_converge_under_all_faults(void **state)
{
	uint64_t one = env_number("PSC_SIM_SEED", 0);
	const char *all = getenv("PSC_LONG");
	bool many = all != NULL && *all != '\0';
	uint64_t from = one != 0 ? one : env_number("PSC_SIM_FROM", 1);
	uint64_t runs =
	    one != 0 ? 1
		     : env_number("PSC_SIM_RUNS", many ? SEEDS_LONG : SEEDS);
	struct sim_result *sum = must(mem_new(sizeof(*sum)));

	(void)state;
	for (uint64_t i = 0; i < runs; i++)
		run_seed(from + i, sum);
	print_message("%llu seeds: %llu events, %u acks, %u crashes, %u "
		      "partitions, %u breaks, %u rewound, %u disks lost, %u "
		      "full, %u chunks rotten, %u clock jumps, %u sessions of "
		      "adversaries shut, %llu ops of revoked writers left "
		      "out, %u of %u nodes that were put back named, %u "
		      "freezes, %u rotations, whole "
		      "after at most %llu ms\n",
	    (unsigned long long)runs, (unsigned long long)sum->events,
	    sum->acked, sum->crashes, sum->partitions, sum->breaks,
	    sum->rewinds, sum->losses, sum->fulls, sum->rots, sum->jumps,
	    sum->shut, (unsigned long long)sum->left_out, sum->named,
	    sum->put_back, sum->freezes, sum->rotations,
	    (unsigned long long)sum->converged_ms);
	assert_true(runs < SEEDS || sum->left_out > 0);
	assert_true(runs < SEEDS || sum->named * 2 > sum->put_back);
	assert_true(runs < SEEDS || sum->freezes * sum->rotations > 0);
	mem_free(sum);
}

/* Seeds that once found something: "SEED why" a line. */
static void
test_named_seeds(void **state)
{
	FILE *f = fopen(PSC_SOURCE_DIR "/tests/sim/replication/seeds", "r");
	struct sim_result *sum = must(mem_new(sizeof(*sum)));
	char line[256];

	(void)state;
	assert_non_null(f);
	while (fgets(line, sizeof(line), f) != NULL) {
		if (line[0] >= '1' && line[0] <= '9')
			run_seed(strtoull(line, NULL, 10), sum);
	}
	fclose(f);
	mem_free(sum);
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
	report(&r, &o);
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

static void
test_planted_reuse_of_numbers_is_found(void **state)
{
	struct sim_opts o = usual;
	struct sim_result *r = must(mem_new(sizeof(*r)));
	bool found = false;

	(void)state;
	o.bug = BUG_REUSE;
	o.sites = 8;
	o.joiners = 0;
	o.writes = 60;
	o.rewinds = 6;
	for (o.seed = 1; o.seed < 10 && !found; o.seed++) {
		sim_run(&o, r);
		found = strstr(r->failed, "differs") != NULL ||
			strstr(r->failed, "acknowledged op lost") != NULL ||
			strstr(r->failed, "let a gap through") != NULL;
	}
	print_message("planted %d: %s\n", (int)o.bug, r->failed);
	assert_true(found);
	mem_free(r);
}

static void
test_planted_rot_that_is_served_is_found(void **state)
{
	struct sim_opts o = usual;
	struct sim_result *r = must(mem_new(sizeof(*r)));

	(void)state;
	o.bug = BUG_SERVE_ROT;
	o.sites = 16;
	o.rots = 200;
	o.seed = 3;
	sim_run(&o, r);
	print_message("planted %d: %s\n", (int)o.bug, r->failed);
	assert_non_null(strstr(r->failed, "closed an honest peer"));
	mem_free(r);
}

static void
test_planted_key_is_found(void **state)
{
	(void)state;
	bites(BUG_KEYS, "reads plaintext of");
}

static void
test_planted_excess_is_found(void **state)
{
	(void)state;
	bites(BUG_QUEUE, "above its bound");
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
		cmocka_unit_test(test_planted_reuse_of_numbers_is_found),
		cmocka_unit_test(test_planted_rot_that_is_served_is_found),
		cmocka_unit_test(test_planted_key_is_found),
		cmocka_unit_test(test_planted_excess_is_found),
		cmocka_unit_test(test_named_seeds),
		cmocka_unit_test(test_worlds_converge_under_all_faults),
	};

	const struct CMUnitTest replay[] = {
		cmocka_unit_test(test_worlds_converge_under_all_faults),
	};

	if (argc > 1) /* test_sim SEED */
		setenv("PSC_SIM_SEED", argv[1], 1);
	if (cry_init() != ERR_OK)
		return 1;
	if (getenv("PSC_SIM_SEED") != NULL)
		return cmocka_run_group_tests(replay, NULL, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
