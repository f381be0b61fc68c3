/* store/blob/wave_tile.h: pixels between the frame and the vector paths. */
#ifndef PSC_BLOB_WAVE_TILE_H
#define PSC_BLOB_WAVE_TILE_H

#include "store/blob/wave_internal.h"

/* Loops whose state has to stay in registers. */
#if defined(__clang__)
#define WAVE_UNROLL _Pragma("unroll")
#else
#define WAVE_UNROLL _Pragma("GCC unroll 8")
#endif

/* n <= WAVE_TILE steps from step q of block b on. */
struct wave_steps {
	const struct wave_geom *g;
	uint32_t b, q, n;
	uint16_t base;
};

/* Row i of the tile has the pixel, less base, of every lane at step q + i.
 * Lanes outside the frame get anything.  Up to 7 steps more may be written to
 * the tile, and are read by wave_tile_out: nothing inside the frame is there.
 */
void wave_tile_in(
    const uint16_t *px, const struct wave_steps *s, uint16_t *tile);
void wave_tile_out(
    uint16_t *px, const struct wave_steps *s, const uint16_t *tile);

#endif
