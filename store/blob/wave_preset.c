/* store/blob/wave_preset.c: frequency tables that need not be sent, one a
 * context.  They were fitted on CT and MR images of several vendors and are
 * part of the format: table set 0 never changes, a better one gets a number.
 *
 * A row holds levels (wave_unlevel) at 13 sizes of a residual, linear between
 * them, and then at nine octaves of escapes; level 0 means never.  A frame
 * whose symbols a preset lacks sends a table of its own. */
#include "store/blob/wave_internal.h"

#define SIZES 13u
#define OCTAVES 9u

/* |residual| of each level; the last is one more than a token can hold. */
static const uint8_t size_at[SIZES + 1] = { 0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32,
	48, 64, 65 };

/* clang-format off */
static const uint8_t level_at[WAVE_CTX][SIZES + OCTAVES] = {
	{ 56, 32, 21, 12, 5, 0, 0, 0, 0, 0, 0, 0, 0,
	  0, 0, 0, 0, 0, 0, 0, 0, 0 },
	{ 52, 45, 38, 29, 20, 8, 2, 1, 1, 1, 0, 0, 0,
	  0, 0, 0, 0, 0, 0, 0, 0, 0 },
	{ 52, 45, 38, 29, 20, 8, 2, 1, 1, 1, 0, 0, 0,
	  0, 0, 0, 0, 0, 0, 0, 0, 0 },
	{ 51, 46, 39, 31, 23, 12, 3, 1, 1, 1, 0, 0, 0,
	  0, 0, 0, 0, 0, 0, 0, 0, 0 },
	{ 50, 47, 41, 34, 26, 14, 4, 1, 1, 1, 0, 0, 0,
	  0, 0, 0, 0, 0, 0, 0, 0, 0 },
	{ 49, 47, 42, 36, 28, 18, 8, 2, 1, 1, 1, 0, 0,
	  0, 0, 0, 0, 0, 0, 0, 0, 0 },
	{ 48, 46, 43, 38, 32, 23, 14, 6, 2, 1, 1, 1, 0,
	  0, 0, 0, 0, 0, 0, 0, 0, 0 },
	{ 46, 45, 43, 40, 36, 29, 22, 16, 9, 3, 1, 1, 1,
	  0, 0, 0, 0, 0, 0, 0, 0, 0 },
	{ 44, 43, 42, 40, 38, 34, 29, 25, 19, 12, 3, 1, 1,
	  1, 0, 0, 0, 0, 0, 0, 0, 0 },
	{ 40, 40, 40, 39, 38, 36, 33, 30, 25, 18, 9, 1, 1,
	  2, 1, 0, 0, 0, 0, 0, 0, 0 },
	{ 38, 37, 37, 37, 37, 36, 35, 32, 28, 22, 13, 3, 1,
	  4, 1, 1, 0, 0, 0, 0, 0, 0 },
	{ 37, 36, 36, 36, 36, 36, 35, 33, 30, 24, 16, 6, 2,
	  9, 1, 1, 1, 0, 0, 0, 0, 0 },
	{ 36, 35, 35, 35, 35, 34, 34, 33, 31, 27, 20, 12, 5,
	  16, 3, 1, 1, 1, 0, 0, 0, 0 },
	{ 34, 33, 33, 33, 33, 33, 33, 32, 31, 29, 25, 18, 13,
	  24, 11, 1, 1, 1, 0, 0, 0, 0 },
	{ 32, 31, 31, 30, 30, 30, 30, 30, 29, 29, 28, 23, 18,
	  31, 19, 3, 1, 1, 1, 0, 0, 0 },
	{ 30, 28, 28, 28, 28, 28, 28, 28, 28, 27, 27, 26, 24,
	  36, 26, 11, 1, 1, 1, 0, 0, 0 },
	{ 29, 26, 26, 26, 26, 26, 26, 26, 26, 26, 25, 25, 25,
	  40, 32, 18, 3, 1, 1, 1, 0, 0 },
	{ 29, 24, 24, 24, 24, 24, 24, 24, 24, 24, 24, 24, 24,
	  41, 36, 24, 7, 1, 1, 1, 0, 0 },
	{ 28, 23, 23, 23, 23, 23, 23, 23, 23, 23, 23, 22, 22,
	  41, 39, 30, 14, 3, 1, 1, 1, 0 },
	{ 28, 22, 21, 21, 21, 21, 21, 21, 21, 21, 21, 21, 21,
	  40, 41, 36, 21, 8, 1, 1, 1, 0 },
	{ 27, 19, 19, 19, 19, 18, 19, 19, 19, 19, 19, 19, 19,
	  39, 41, 39, 28, 15, 2, 1, 1, 1 },
	{ 25, 17, 17, 16, 17, 17, 17, 17, 17, 17, 17, 17, 16,
	  36, 41, 41, 34, 23, 8, 1, 1, 1 },
	{ 28, 18, 17, 18, 18, 16, 16, 16, 14, 15, 15, 16, 15,
	  35, 39, 41, 38, 30, 16, 1, 1, 9 },
	{ 28, 14, 16, 15, 14, 14, 13, 13, 15, 13, 14, 14, 14,
	  34, 37, 40, 40, 35, 21, 6, 1, 12 },
	{ 32, 19, 18, 16, 14, 15, 16, 13, 13, 12, 13, 13, 12,
	  32, 36, 39, 41, 38, 28, 13, 7, 17 },
	{ 32, 22, 21, 18, 20, 16, 14, 11, 9, 10, 8, 9, 10,
	  31, 35, 37, 40, 40, 32, 16, 9, 22 },
	{ 35, 18, 20, 18, 20, 18, 15, 11, 10, 9, 12, 8, 11,
	  28, 33, 35, 40, 41, 33, 24, 20, 28 },
};
/* clang-format on */

/* Between sizes k and k + 1. */
static uint32_t
level_between(const uint8_t *row, unsigned k, uint32_t size)
{
	uint32_t a = row[k], b = row[k + 1];
	uint32_t past = size - size_at[k], left = size_at[k + 1] - size;

	if (a == 0 || past == 0)
		return a;
	return b == 0
		   ? 0
		   : (a * left + b * past + (past + left) / 2) / (past + left);
}

void
wave_preset_fill(uint16_t preset[WAVE_CTX][WAVE_TOKENS])
{
	uint32_t h[WAVE_TOKENS];
	unsigned c, s, k;

	for (c = 0; c < WAVE_CTX; c++) {
		const uint8_t *row = level_at[c];

		for (s = 0, k = 0; s < WAVE_ESCAPE; s++) {
			uint32_t size = (s + 1) / 2;

			if (size >= size_at[k + 1])
				k++;
			h[s] = wave_unlevel(level_between(row, k, size));
		}
		for (; s < WAVE_TOKENS; s++)
			h[s] = wave_unlevel(row[SIZES + (s - WAVE_ESCAPE) / 4]);
		wave_normalise(h, WAVE_TOKENS, preset[c]);
	}
}
