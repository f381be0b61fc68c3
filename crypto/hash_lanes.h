/* crypto/hash_lanes.h: BLAKE2b compression of several messages side by side.
 * Inside the room, and for its tests. */
#ifndef PSC_CRYPTO_HASH_LANES_H
#define PSC_CRYPTO_HASH_LANES_H

#include "crypto/crypto.h"

#define HASH_LANES_MAX 8u
#define HASH_BLOCK_BYTES 128u

enum hash_path { HASH_ONE, HASH_AVX2, HASH_AVX512 };

/* Message l has the chain value h[..][l] after t[l] bytes; its blocks that
 * follow lie at p[l]. */
struct hash_lanes {
	uint64_t h[8][HASH_LANES_MAX];
	uint64_t t[HASH_LANES_MAX];
	uint64_t step[HASH_LANES_MAX]; /* bytes of the message a block holds */
	uint64_t last[HASH_LANES_MAX]; /* all ones: the final block; else 0 */
	const uint8_t *p[HASH_LANES_MAX];
};

/* Compresses the next blocks of every lane: h, t and p move on. */
typedef void (*hash_lanes_fn)(struct hash_lanes *l, size_t blocks);

/* The compression of a path, or NULL where this machine cannot run it or
 * needs none (HASH_ONE); its lanes go to *lanes. */
hash_lanes_fn hash_lanes_of(enum hash_path path, unsigned *lanes);
/* cry_hash_many by one path; false: this machine cannot. */
bool hash_many_by(enum hash_path path, const struct slice *in, size_t n,
    struct cry_id *out) PSC_MUST_USE;

#endif
