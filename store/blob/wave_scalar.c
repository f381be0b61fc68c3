/* store/blob/wave_scalar.c: the pixel loops in plain C.  The reference for the
 * other paths, and what a machine without vectors runs.
 *
 * Neighbours are read from the frame itself; errors of the last 128 rows, more
 * than twice the lanes, are kept in rings. */
#include "store/blob/wave_internal.h"

#define RING 128u

static bool
scalar_usable(void)
{
	return true;
}

static void
scalar_range(const uint16_t *px, size_t n, uint16_t u[2], int16_t s[2])
{
	size_t i;

	u[0] = u[1] = px[0];
	s[0] = s[1] = (int16_t)px[0];
	for (i = 0; i < n; i++) {
		int16_t v = (int16_t)px[i];

		u[0] = px[i] < u[0] ? px[i] : u[0];
		u[1] = px[i] > u[1] ? px[i] : u[1];
		s[0] = v < s[0] ? v : s[0];
		s[1] = v > s[1] ? v : s[1];
	}
}

/* --- the fit's sums --- */

static void
scalar_gram(const struct wave_span *a, int32_t sum[8][8], uint32_t *n)
{
	/* L TL TR TT LL TTR TLL and the pixel: rows up, columns to the right */
	static const int8_t dy[8] = { 0, 1, 1, 2, 0, 2, 1, 0 };
	static const int8_t dx[8] = { -1, -1, 1, 0, -2, 1, -2, 0 };
	const uint16_t base = a->base;
	unsigned i, j;
	uint32_t x;

	for (x = a->x; x < a->end; x++) {
		const uint16_t *at = a->px + x;
		int t = (int16_t)(uint16_t)(*(at - a->w) - base);
		int d[8], act = 8, s, round;

		for (i = 0; i < 8; i++) {
			uint16_t v = *(at - (ptrdiff_t)a->w * dy[i] + dx[i]);

			d[i] = (int16_t)(uint16_t)(v - base) - t;
			if (i < 7)
				act += d[i] < 0 ? -d[i] : d[i];
		}
		if (act == 8 && d[7] == 0)
			continue; /* flat: says nothing */
		s = wave_log2((uint32_t)act);
		round = 1 << s >> 1;
		for (i = 0; i < 8; i++)
			d[i] = (d[i] * 256 + round) >> s;
		d[7] = d[7] < -1023 ? -1023 : d[7] > 1023 ? 1023 : d[7];
		for (i = 0; i < 8; i++)
			for (j = i; j < 8; j++)
				sum[i][j] += d[i] * d[j];
		++*n;
	}
}

/* --- prediction --- */

struct scan {
	struct wave *c;
	const uint16_t *px;
	const struct wave_geom *g;
	const struct wave_model *m;
};

struct guess {
	int best, med, ls;
	uint32_t ctx;
};

static inline int
pixel_at(const struct scan *s, uint32_t x, int64_t y)
{
	if (y < 0)
		return s->m->lo;
	return (int16_t)(uint16_t)(s->px[(size_t)y * s->g->w + x] - s->m->base);
}

/* What was kept of the left, above, above left and above right neighbour. */
struct around {
	int l, t, tl, tr;
};

static inline struct around
around_at(const struct scan *s, const int16_t *ring, uint32_t x, uint32_t y)
{
	uint32_t w = s->g->w;
	const int16_t *a = ring + (size_t)(y % RING) * w;
	const int16_t *t = ring + (size_t)((y + RING - 1) % RING) * w;
	struct around o;

	o.t = t[x];
	o.l = x > 0 ? a[x - 1] : o.t;
	o.tl = x > 0 ? t[x - 1] : o.t;
	o.tr = x + 1 < w ? t[x + 1] : o.t;
	return o;
}

static inline uint32_t
energy_of(const struct around *e)
{
	return (uint32_t)(2 * (e->l + e->t) + e->tl + e->tr);
}

static inline uint32_t
context_of(const struct around *e)
{
	uint32_t n = energy_of(e) + 1;
	uint32_t k = (uint32_t)wave_log2(n);

	return k == 0 ? 0 : 2 * k + (n >> (k - 1) & 1);
}

static inline int
ls_of(const int16_t wt[8], const int n[8])
{
	uint32_t s = 2048;
	unsigned i;
	int v;

	for (i = 0; i < 8; i++)
		s += (uint32_t)(wt[i] * n[i]); /* modulo 2^32 */
	v = (int32_t)s >> 12;
	return v < INT16_MIN ? INT16_MIN : v > INT16_MAX ? INT16_MAX : v;
}

static inline struct guess
guess_at(const struct scan *s, uint32_t x, uint32_t yy)
{
	int64_t y = yy;
	bool in = x + 1 < s->g->w;
	int t = pixel_at(s, x, y - 1);
	int l = x > 0 ? pixel_at(s, x - 1, y) : t;
	int tl = x > 0 ? pixel_at(s, x - 1, y - 1) : t;
	int lo = l < t ? l : t, hi = l < t ? t : l;
	struct around e = around_at(s, s->c->err, x, yy);
	struct guess o;
	struct around d;
	int n[8];

	o.ctx = context_of(&e);
	o.best = o.med = o.ls = tl >= hi ? lo : tl <= lo ? hi : l + t - tl;
	if (s->m->method == WAVE_MED)
		return o;
	n[0] = l;
	n[1] = t;
	n[2] = tl;
	n[3] = in ? pixel_at(s, x + 1, y - 1) : t;
	n[4] = pixel_at(s, x, y - 2);
	n[5] = x > 1 ? pixel_at(s, x - 2, y) : pixel_at(s, 0, y - 1);
	n[6] = in ? pixel_at(s, x + 1, y - 2) : n[4];
	n[7] = x > 1 ? pixel_at(s, x - 2, y - 1) : pixel_at(s, 0, y - 1);
	o.best = o.ls = t == tl && t == l ? t : ls_of(s->m->wt, n);
	d = around_at(s, s->c->dif, x, yy);
	if (d.l + d.t + d.tl + d.tr + (int)(energy_of(&e) >> 2) < 0)
		o.best = o.med;
	return o;
}

static inline int
error_of(int r)
{
	int v = (int16_t)(uint16_t)r;

	v = v < 0 ? -v : v;
	return v > WAVE_ERROR_MAX ? WAVE_ERROR_MAX : v;
}

/* The pixel was v. */
static inline void
learn(
    const struct scan *s, uint32_t x, uint32_t y, const struct guess *p, int v)
{
	size_t i = (size_t)(y % RING) * s->g->w + x;

	s->c->err[i] = (int16_t)error_of(v - p->best);
	if (s->m->method == WAVE_SWITCH)
		s->c->dif[i] =
		    (int16_t)(error_of(v - p->med) - error_of(v - p->ls));
}

static void
scan_start(const struct scan *s)
{
	size_t n = (size_t)s->g->w * RING * sizeof(*s->c->err);

	memset(s->c->err, 0, n);
	memset(s->c->dif, 0, n);
}

/* Where lane k is at step q of block b. */
static inline uint32_t
lane_at(
    const struct wave_geom *g, uint32_t b, uint32_t q, uint32_t k, uint32_t *y)
{
	if (q >= 2 * k) {
		*y = b * g->lanes + k;
		return q - 2 * k;
	}
	*y = (b - 1) * g->lanes + k;
	return q + g->period - 2 * k;
}

/* --- both ways --- */

static void
scalar_model(struct wave *c, const uint16_t *px, const struct wave_geom *g,
    const struct wave_model *m, struct wave_bits_out *extra)
{
	struct scan s = { c, px, g, m };
	uint32_t t, b = 0, q = 0, x, y;
	uint64_t act;

	scan_start(&s);
	for (t = 0; t < g->steps; t++) {
		uint16_t *sym = c->symbols + (size_t)t * g->lanes;

		for (act = wave_active(g, b, q); act != 0; act &= act - 1) {
			uint32_t k = (uint32_t)__builtin_ctzll(act), z;
			struct guess p;
			int v;

			x = lane_at(g, b, q, k, &y);
			p = guess_at(&s, x, y);
			v = pixel_at(&s, x, y);
			learn(&s, x, y, &p, v);
			z = wave_zigzag(v - p.best);
			if (z >= WAVE_ESCAPE)
				z = wave_escape_put(extra, z);
			sym[k] = (uint16_t)(p.ctx << 8 | z);
			c->tab.hist[0][sym[k]]++;
		}
		if (++q == g->period) {
			q = 0;
			b++;
		}
	}
}

static uint8_t *
scalar_code(
    struct wave *c, const struct wave_geom *g, uint32_t *states, uint8_t *end)
{
	uint32_t t = g->steps;

	while (t-- > 0) {
		const uint16_t *sym = c->symbols + (size_t)t * g->lanes;
		uint64_t act = wave_active(g, t / g->period, t % g->period);

		while (act != 0) {
			uint32_t k = 63 - (uint32_t)__builtin_clzll(act);
			uint32_t e = c->tab.enc[sym[k]], f = e >> 16;
			uint32_t x = states[k];

			act &= ~((uint64_t)1 << k);
			if (x >> (32 - WAVE_BITS) >= f) {
				*--end = (uint8_t)(x >> 8);
				*--end = (uint8_t)x;
				x >>= 16;
			}
			states[k] = (x / f << WAVE_BITS) + x % f + (e & 0xffff);
		}
	}
	return end;
}

/* One symbol of lane k: the top byte of its table entry, a signed number. */
static inline bool
symbol_get(const struct wave *c, struct wave_src *src, uint32_t k, uint32_t ctx,
    int16_t *out)
{
	uint32_t x = src->x[k];
	uint32_t e = c->tab.dec[ctx << WAVE_BITS | (x & (WAVE_ONE - 1))];

	*out = (int16_t)((int32_t)e >> 24);
	x = (x >> WAVE_BITS) * (e & 4095) + (e >> 12 & 4095);
	if (x < WAVE_STATE_MIN) {
		if (src->end - src->words < 2)
			return false;
		x = x << 16 | (uint32_t)(src->words[0] | src->words[1] << 8);
		src->words += 2;
	}
	src->x[k] = x;
	return true;
}

/* All lanes of a step; words and extra bits are apart, so that one pass in
 * lane order does. */
static bool
step_get(const struct scan *s, uint16_t *px, uint32_t b, uint32_t q,
    struct wave_src *src)
{
	uint64_t act = wave_active(s->g, b, q);

	for (; act != 0; act &= act - 1) {
		uint32_t k = (uint32_t)__builtin_ctzll(act), x, y;
		struct guess p;
		int16_t r, v;

		x = lane_at(s->g, b, q, k, &y);
		p = guess_at(s, x, y);
		if (!symbol_get(s->c, src, k, p.ctx, &r))
			return false;
		if (r > 63 && !wave_escape_get(src, (uint32_t)r - 64, &r))
			return false;
		v = (int16_t)(uint16_t)(p.best + r);
		px[(size_t)y * s->g->w + x] = (uint16_t)(v + s->m->base);
		learn(s, x, y, &p, v);
	}
	return true;
}

static bool
scalar_decode(struct wave *c, uint16_t *px, const struct wave_geom *g,
    const struct wave_model *m, struct wave_src *src)
{
	struct scan s = { c, px, g, m };
	uint32_t t, b = 0, q = 0;

	scan_start(&s);
	for (t = 0; t < g->steps; t++) {
		if (!step_get(&s, px, b, q, src))
			return false;
		if (++q == g->period) {
			q = 0;
			b++;
		}
	}
	return true;
}

const struct wave_path wave_path_scalar = {
	.name = "scalar",
	.usable = scalar_usable,
	.range = scalar_range,
	.gram = scalar_gram,
	.model = scalar_model,
	.code = scalar_code,
	.decode = scalar_decode,
};
