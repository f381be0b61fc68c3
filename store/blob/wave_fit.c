/* store/blob/wave_fit.c: the weights of the least-squares predictor of a
 * frame (after Wu, Barthel, Zhang, "Piecewise 2D autoregression", 1998).
 *
 * A pixel is predicted from eight neighbours.  Differences to the one above
 * make the weights sum to one; dividing each sample by a power of two near its
 * activity keeps edges from outvoting the rest.  Rows are sampled.  Everything
 * is in integers, so that every machine finds the same weights. */
#include "store/blob/wave_internal.h"

#define TAPS 7     /* free weights; that of T follows */
#define VARS 8     /* and the pixel itself */
#define SPAN 1024u /* pixels whose sums fit in 32 bits */
#define ROWS_MAX 23u
#define SAMPLES_MIN 64u
#define RIDGE ((int64_t)1 << 16)
#define PIVOT_MIN ((int64_t)1 << 12)
#define WEIGHT_MAX 14335 /* 3.5 in Q12 */

static void
gram_add(int64_t gram[VARS][VARS], int32_t sum[VARS][VARS])
{
	unsigned i, j;

	for (i = 0; i < VARS; i++)
		for (j = i; j < VARS; j++)
			gram[i][j] += sum[i][j];
}

/* Gram matrix of the sampled rows; its upper triangle is filled. */
static uint32_t
gram_rows(const struct wave_path *path, const uint16_t *px,
    const struct wave_geom *g, uint16_t base, int64_t gram[VARS][VARS])
{
	uint64_t step = (uint64_t)g->w * g->h / 4096;
	uint32_t n = 0, x;
	uint64_t y;

	step = step < 1 ? 1 : step > ROWS_MAX ? ROWS_MAX : step;
	for (y = 2; y < g->h; y += step) {
		for (x = 2; x + 1 < g->w; x += SPAN) {
			int32_t sum[VARS][VARS] = { { 0 } };
			uint32_t end = g->w - 1;
			struct wave_span row = { px + y * g->w, g->w, x,
				end - x < SPAN ? end : x + SPAN, base };

			path->gram(&row, sum, &n);
			gram_add(gram, sum);
		}
	}
	return n;
}

/* The largest diagonal to [2^29, 2^30), so that nothing below overflows. */
static void
gram_scale(int64_t gram[VARS][VARS], int64_t top)
{
	int up = 0;
	unsigned i, j;

	for (; top >= (int64_t)1 << 30; top >>= 1)
		up--;
	for (; top < (int64_t)1 << 29; top <<= 1)
		up++;
	for (i = 0; i < VARS; i++) {
		for (j = i; j < VARS; j++) {
			int64_t v = gram[i][j];

			v = up < 0 ? v >> -up : v * ((int64_t)1 << up);
			gram[i][j] = gram[j][i] = v;
		}
	}
}

/* Gauss elimination and back substitution: s in Q12. */
static bool
gram_solve(int64_t gram[VARS][VARS], int64_t s[TAPS])
{
	int i, j, r;

	for (i = 0; i < TAPS; i++)
		gram[i][i] += RIDGE;
	for (i = 0; i < TAPS; i++) {
		if (gram[i][i] < PIVOT_MIN)
			return false;
		for (r = i + 1; r < TAPS; r++) {
			int64_t m = gram[r][i];

			for (j = i; j < VARS; j++)
				gram[r][j] -= m * gram[i][j] / gram[i][i];
		}
	}
	for (i = TAPS - 1; i >= 0; i--) {
		int64_t v = gram[i][TAPS] * 4096;

		for (j = i + 1; j < TAPS; j++)
			v -= gram[i][j] * s[j];
		s[i] = v / gram[i][i];
		if (s[i] > WEIGHT_MAX || s[i] < -WEIGHT_MAX)
			return false;
	}
	return true;
}

bool
wave_fit(const struct wave_path *path, const uint16_t *px,
    const struct wave_geom *g, uint16_t base, int16_t wt[8])
{
	static const uint8_t at[TAPS] = { 0, 2, 3, 4, 5, 6, 7 }; /* wt[1]: T */
	int64_t gram[VARS][VARS] = { { 0 } }, s[TAPS], top = 0, sum = 0;
	unsigned i;

	if (g->w < 4 || g->h < 3 ||
	    gram_rows(path, px, g, base, gram) < SAMPLES_MIN)
		return false;
	for (i = 0; i < VARS; i++)
		top = gram[i][i] > top ? gram[i][i] : top;
	if (top == 0)
		return false;
	gram_scale(gram, top);
	if (!gram_solve(gram, s))
		return false;
	for (i = 0; i < TAPS; i++) {
		wt[at[i]] = (int16_t)s[i];
		sum += s[i];
	}
	if (4096 - sum < INT16_MIN || 4096 - sum > INT16_MAX)
		return false;
	wt[1] = (int16_t)(4096 - sum);
	return true;
}
