/* tests/bench/bench_hash.c: MB/s of hashing on one core, by path and by how
 * many messages are there at once.
 *
 *   bench_hash [BYTES EACH] */
#include <stdio.h>
#include <stdlib.h>

#include "crypto/hash_lanes.h"
#include "store/base/clock.h"
#include "store/base/limits.h"
#include "store/base/num.h"

#define MESSAGES 64u
#define RUN_US 2000u
#define RUNS 50u

static void
hash_alone(const struct slice *in, size_t n, struct cry_id *out)
{
	size_t i;

	for (i = 0; i < n; i++)
		cry_hash(in[i], &out[i]);
}

static void
hash_lanes(
    enum hash_path path, const struct slice *in, size_t n, struct cry_id *out)
{
	if (path == HASH_ONE)
		hash_alone(in, n, out);
	else if (!hash_many_by(path, in, n, out))
		memset(out, 0, sizeof(*out));
}

/* The best of many short runs: what the core does when nothing else is on
 * it. */
static double
measure(enum hash_path path, const struct slice *in, size_t n)
{
	struct cry_id out[MESSAGES];
	double best = 0;
	unsigned i;

	for (i = 0; i < RUNS; i++) {
		uint64_t t0 = clock_mono_us(), t = t0;
		double bytes = 0;

		while (t - t0 < RUN_US) {
			hash_lanes(path, in, n, out);
			bytes += (double)n * (double)in[0].n;
			t = clock_mono_us();
		}
		bytes /= (double)(t - t0);
		best = bytes > best ? bytes : best;
	}
	return best;
}

int
main(int argc, char **argv)
{
	static const char *const name[] = { "libsodium", "avx2 x4",
		"avx512 x8" };
	static const size_t many[] = { 1, 2, 3, 4, 8, 16, 64 };
	struct slice in[MESSAGES];
	uint64_t each = 512 * KIB;
	uint8_t *room;
	unsigned path;
	size_t i;

	if (argc > 1 &&
	    num_u64(slice_str(argv[1]), 1, 64 * MIB, &each) != ERR_OK)
		return 2;
	room = malloc(MESSAGES * (size_t)each);
	if (room == NULL || cry_init() != ERR_OK)
		return 1;
	cry_random(room, MESSAGES * (size_t)each);
	for (i = 0; i < MESSAGES; i++)
		in[i] = slice_of(room + i * each, (size_t)each);
	for (path = HASH_ONE; path <= HASH_AVX512; path++) {
		unsigned lanes;

		if (path != HASH_ONE && hash_lanes_of(path, &lanes) == NULL)
			continue;
		for (i = 0; i < sizeof(many) / sizeof(many[0]); i++)
			printf("hash %-9s %2zu at once: %5.0f MB/s\n",
			    name[path], many[i], measure(path, in, many[i]));
	}
	free(room);
	return 0;
}
