/* store/blob/wave_lanes.inc.h: the pixel loops on vectors of any width;
 * included once by each vector path, which says before
 *
 *   VFN                 static inline, with the target of the path
 *   VLANES, vec         16-bit lanes of a vector, and its type
 *   v_load v_store v_set1 v_zero v_add v_sub v_min v_max v_minu v_abs v_or
 *   v_shl v_sra v_unlo v_unhi v_madd v_add32 v_sra32 v_packs
 *   v_shift(v, prev)    lane k gets lane k - 1, lane 0 the last of prev
 *   v_pick(bits, a, b)  per lane a where bits has a one, else b
 *   v_pick_neg(c, a, b) a where c < 0
 *   v_pick_eq(c, d, e, a, b) a where c == d and c == e
 *   v_over(v, n)        bits of the lanes with v > n, signed
 *   v_big(z)            bits of the lanes with z >= 128, unsigned
 *   v_same(v)           all lanes equal the first
 *   v_context(energy)   context of each lane
 *   xvec, XLANES        32-bit lanes that hold coder states
 *   x_load x_store x_context(energy, i) x_get x_put x_symbols
 *
 * WAVE_LANES_MAX / VLANES vectors stand side by side: between two of them
 * there is no dependency within a step, so that the latency of one hides
 * behind the other.  Lanes outside the frame compute anything; no lane inside
 * reads it, and the coder does not move for them. */
#include "store/blob/wave_tile.h"

#define VECS_MAX (WAVE_LANES_MAX / VLANES)
#define XPV (VLANES / XLANES) /* state vectors a pixel vector */

/* Of the step before: pixel p, its error e, difference d; neighbours. */
struct lanes {
	vec p, l, t, tl, tr, ttr;
	vec e, et, etr;
	vec d, dt, dtr;
};

/* What the lane above held one step ago; of lane 0: the block above. */
struct above {
	vec p, t, e, d;
};

struct guess {
	vec best, med, ls, energy;
};

/* Lanes at the left and at the right end of their rows. */
struct ends {
	uint64_t left, right;
};

VFN struct ends
ends_at(const struct wave_geom *g, uint32_t q)
{
	uint32_t r = q + 1 >= g->w ? q + 1 - g->w : q + 1 - g->w + g->period;
	struct ends e = { 0, 0 };

	if ((q & 1) == 0 && q < 2 * g->lanes)
		e.left = (uint64_t)1 << q / 2;
	if ((r & 1) == 0 && r < 2 * g->lanes)
		e.right = (uint64_t)1 << r / 2;
	return e;
}

VFN struct above
above_block(const struct wave_feed *f)
{
	struct above u = { v_set1(f->p), v_set1(f->t), v_set1(f->e),
		v_set1(f->d) };

	return u;
}

VFN void
lanes_start(struct lanes *s, const struct wave_model *m, uint32_t n)
{
	uint32_t i;

	for (i = 0; i < n; i++)
		s[i].p = s[i].l = s[i].t = s[i].tl = s[i].tr = s[i].ttr =
		    s[i].e = s[i].et = s[i].etr = s[i].d = s[i].dt = s[i].dtr =
			v_zero();
	/* Lane 0 begins right of what it would have read. */
	s[0].tr = s[0].ttr = v_pick(1, v_set1(m->lo), v_zero());
}

/* Weighted sum of eight neighbours, rounded: pairs by multiply-and-add. */
VFN vec
lanes_ls(const vec n[8], const vec wt[4])
{
	vec lo = v_set32(2048), hi = lo;

	WAVE_UNROLL
	for (size_t i = 0; i < 4; i++) {
		lo = v_add32(lo, v_madd(v_unlo(n[2 * i], n[2 * i + 1]), wt[i]));
		hi = v_add32(hi, v_madd(v_unhi(n[2 * i], n[2 * i + 1]), wt[i]));
	}
	return v_packs(v_sra32(lo, 12), v_sra32(hi, 12));
}

/* Moves every lane one pixel on and says what to expect there. */
VFN struct guess
lanes_guess(struct lanes *s, const struct above *u, uint32_t left,
    uint32_t right, const vec wt[4], const enum wave_method method)
{
	vec ll = s->l, tll = s->tl, tt = s->ttr, ttr, tr, lo, hi, sum;
	vec el = s->e, etl = s->et, etr, dl = s->d, dtl = s->dt, dtr;
	struct guess o;

	s->ttr = ttr = v_shift(s->t, u->t);
	s->l = s->p;
	s->tl = s->t;
	s->t = s->tr;
	s->tr = tr = v_shift(s->p, u->p);
	s->et = s->etr;
	s->etr = etr = v_shift(s->e, u->e);
	s->dt = s->dtr;
	s->dtr = dtr = v_shift(s->d, u->d);
	if (left != 0) {
		s->l = v_pick(left, s->t, s->l);
		s->tl = v_pick(left, s->t, s->tl);
		ll = v_pick(left, s->t, ll);
		tll = v_pick(left, s->t, tll);
		el = v_pick(left, s->et, el);
		etl = v_pick(left, s->et, etl);
		dl = v_pick(left, s->dt, dl);
		dtl = v_pick(left, s->dt, dtl);
	}
	if (right != 0) {
		tr = v_pick(right, s->t, tr);
		ttr = v_pick(right, tt, ttr);
		etr = v_pick(right, s->et, etr);
		dtr = v_pick(right, s->dt, dtr);
	}
	sum = v_add(el, s->et);
	o.energy = v_add(v_add(sum, sum), v_add(etl, etr));
	/* median of L, T and L + T - TL, without overflow */
	lo = v_min(s->l, s->t);
	hi = v_max(s->l, s->t);
	o.med = v_sub(v_add(lo, hi), v_max(lo, v_min(hi, s->tl)));
	o.best = o.ls = o.med;
	if (method == WAVE_MED)
		return o;
	vec n[8] = { s->l, s->t, s->tl, tr, tt, ll, ttr, tll };
	o.ls = v_pick_eq(s->t, s->tl, s->l, s->t, lanes_ls(n, wt));
	/* MED only where it has been better by a quarter of the error */
	sum = v_add(v_add(dl, s->dt), v_add(dtl, dtr));
	o.best = v_pick_neg(v_add(sum, v_sra(o.energy, 2)), o.med, o.ls);
	return o;
}

/* The pixels were a = guess + r. */
VFN void
lanes_learn(struct lanes *s, const struct guess *p, vec a, vec r,
    const enum wave_method method)
{
	vec most = v_set1(WAVE_ERROR_MAX);

	s->p = a;
	s->e = v_minu(v_abs(r), most);
	if (method == WAVE_SWITCH)
		s->d = v_sub(v_minu(v_abs(v_sub(a, p->med)), most),
		    v_minu(v_abs(v_sub(a, p->ls)), most));
}

/* Constants of the function that a loop is compiled into. */
struct kind {
	enum wave_method method;
	uint32_t nv; /* vectors side by side */
};

struct walk {
	struct wave *c;
	const struct wave_geom *g;
	struct wave_feed *feed;
	vec wt[4];
	uint32_t t, b, q; /* step; and the same as block and step of it */
};

VFN void
walk_start(struct walk *k, struct wave *c, const struct wave_geom *g,
    const struct wave_model *m)
{
	size_t i;

	k->c = c;
	k->g = g;
	k->feed = c->feed;
	k->t = k->b = k->q = 0;
	for (i = 0; i <= g->period; i++)
		c->feed[i] = (struct wave_feed){ m->lo, m->lo, 0, 0 };
	for (i = 0; i < 4; i++)
		k->wt[i] =
		    v_set32((int)((uint16_t)m->wt[2 * i] |
				  (uint32_t)(uint16_t)m->wt[2 * i + 1] << 16));
}

VFN const struct wave_feed *
walk_feed(const struct walk *k)
{
	return &k->feed[k->q + 1 == k->g->period ? 0 : k->q + 1];
}

VFN uint64_t
walk_active(const struct walk *k)
{
	if (k->t - k->g->full_from < k->g->full_to - k->g->full_from)
		return k->g->lanes == 64 ? ~(uint64_t)0 : 0xffffffff;
	return wave_active(k->g, k->b, k->q);
}

/* The last lane leaves its pixel for lane 0 of the next block. */
VFN void
walk_on(struct walk *k, const struct lanes *last)
{
	uint32_t back = 2 * (k->g->lanes - 1);
	uint32_t x = k->q >= back ? k->q - back : k->q + k->g->period - back;

	if (k->t >= back)
		v_store_last(&k->feed[x], last->p, last->t, last->e, last->d);
	k->t++;
	if (++k->q == k->g->period) {
		k->q = 0;
		k->b++;
	}
}

/* What a tile holds: the steps from here on. */
VFN struct wave_steps
walk_steps(const struct walk *k, const struct wave_model *m)
{
	uint32_t left = k->g->steps - k->t;
	struct wave_steps now = { k->g, k->b, k->q,
		left < WAVE_TILE ? left : WAVE_TILE, m->base };

	return now;
}

VFN void
count(uint32_t hist[2][WAVE_CTX * WAVE_ROW], const uint16_t *sym, uint32_t n,
    uint64_t act, uint64_t all)
{
	uint32_t i;

	if (act == all) {
		for (i = 0; i < n; i += 2) { /* two tables: equal neighbours */
			hist[0][sym[i]]++;   /* do not wait for each other */
			hist[1][sym[i + 1]]++;
		}
		return;
	}
	for (; act != 0; act &= act - 1)
		hist[0][sym[__builtin_ctzll(act)]]++;
}

/* Residuals that no token holds: lane by lane. */
VFN void
escapes_put(vec z[VECS_MAX], uint64_t big, struct wave_bits_out *extra,
    const uint32_t nv)
{
	uint16_t few[WAVE_LANES_MAX];
	uint32_t v;

	for (v = 0; v < nv; v++)
		v_store(few + (size_t)v * VLANES, z[v]);
	for (; big != 0; big &= big - 1) {
		uint32_t l = (uint32_t)__builtin_ctzll(big);

		few[l] = (uint16_t)wave_escape_put(extra, few[l]);
	}
	for (v = 0; v < nv; v++)
		z[v] = v_load(few + (size_t)v * VLANES);
}

/* One step: pixels in row, symbols to sym. */
VFN void
model_step(struct walk *k, struct lanes s[VECS_MAX], const uint16_t *row,
    struct wave_bits_out *extra, const struct kind kind)
{
	const uint32_t nv = kind.nv;
	const uint64_t all = nv * VLANES == 64 ? ~(uint64_t)0 : 0xffffffff;
	uint16_t *sym = k->c->symbols + (size_t)k->t * nv * VLANES;
	struct above u = above_block(walk_feed(k)), next;
	struct ends ends = ends_at(k->g, k->q);
	uint64_t act = walk_active(k), big = 0;
	vec z[VECS_MAX], ctx[VECS_MAX], a, r;
	struct guess p;

	WAVE_UNROLL
	for (uint32_t v = 0; v < nv; v++) {
		next.p = s[v].p;
		next.t = s[v].t;
		next.e = s[v].e;
		next.d = s[v].d;
		a = v_load(row + (size_t)v * VLANES);
		p = lanes_guess(&s[v], &u, (uint32_t)(ends.left >> v * VLANES),
		    (uint32_t)(ends.right >> v * VLANES), k->wt, kind.method);
		u = next;
		r = v_sub(a, p.best);
		lanes_learn(&s[v], &p, a, r, kind.method);
		z[v] = v_xor(v_shl(r, 1), v_sra(r, 15));
		ctx[v] = v_shl(v_context(p.energy), 8);
		big |= (uint64_t)v_big(z[v]) << v * VLANES;
	}
	if ((big & act) != 0)
		escapes_put(z, big & act, extra, nv);
	WAVE_UNROLL
	for (uint32_t v = 0; v < nv; v++)
		v_store(sym + (size_t)v * VLANES, v_or(z[v], ctx[v]));
	count(k->c->tab.hist, sym, nv * VLANES, act, all);
	walk_on(k, &s[nv - 1]);
}

VFN void
model_run(struct wave *c, const uint16_t *px, const struct wave_geom *g,
    const struct wave_model *m, struct wave_bits_out *extra,
    const struct kind kind)
{
	struct lanes s[VECS_MAX];
	struct walk k;
	size_t i;

	walk_start(&k, c, g, m);
	lanes_start(s, m, kind.nv);
	while (k.t < g->steps) {
		const struct wave_steps now = walk_steps(&k, m);
		const uint32_t n = now.n;

		wave_tile_in(px, &now, c->tile);
		for (i = 0; i < n; i++)
			model_step(
			    &k, s, c->tile + i * kind.nv * VLANES, extra, kind);
	}
}

/* --- the coder, backwards --- */

VFN uint8_t *
code_run(struct wave *c, const struct wave_geom *g, uint32_t *states,
    uint8_t *end, const uint32_t nx)
{
	uint32_t t = g->steps, b = t / g->period, q = t % g->period;
	xvec x[WAVE_LANES_MAX / XLANES];
	size_t i;

	for (i = 0; i < nx; i++)
		x[i] = x_load(states + i * XLANES);
	while (t-- > 0) {
		const uint16_t *sym = c->symbols + (size_t)t * nx * XLANES;
		uint64_t act = ~(uint64_t)0;

		if (q == 0) {
			q = g->period;
			b--;
		}
		q--;
		if (t - g->full_from >= g->full_to - g->full_from)
			act = wave_active(g, b, q);
		WAVE_UNROLL
		for (size_t v = nx; v-- > 0;)
			x[v] = x_put(x[v], sym + v * XLANES,
			    (uint32_t)(act >> v * XLANES), &c->tab, &end);
	}
	for (i = 0; i < nx; i++)
		x_store(states + i * XLANES, x[i]);
	return end;
}

/* --- decoding --- */

VFN bool
escapes_get(vec *r, uint32_t big, struct wave_src *src)
{
	int16_t few[VLANES];

	v_store(few, *r);
	for (; big != 0; big &= big - 1) {
		uint32_t l = (uint32_t)__builtin_ctz(big);

		if (!wave_escape_get(src, (uint32_t)few[l] - 64, &few[l]))
			return false;
	}
	*r = v_load(few);
	return true;
}

/* One step: pixels to row.  False: the input ends too soon. */
VFN bool
decode_step(struct walk *k, struct lanes s[VECS_MAX],
    xvec x[WAVE_LANES_MAX / XLANES], uint16_t *row, struct wave_src *src,
    const struct kind kind)
{
	const uint32_t nv = kind.nv;
	struct above u = above_block(walk_feed(k));
	struct ends ends = ends_at(k->g, k->q);
	uint64_t act = walk_active(k);
	struct guess p[VECS_MAX];

	WAVE_UNROLL
	for (uint32_t v = 0; v < nv; v++) {
		struct above next = { s[v].p, s[v].t, s[v].e, s[v].d };

		p[v] = lanes_guess(&s[v], &u,
		    (uint32_t)(ends.left >> v * VLANES),
		    (uint32_t)(ends.right >> v * VLANES), k->wt, kind.method);
		u = next;
	}
	WAVE_UNROLL
	for (uint32_t v = 0; v < nv; v++) {
		uint32_t in = (uint32_t)(act >> v * VLANES), big;
		xvec e[XPV];
		vec a, r;

		WAVE_UNROLL
		for (uint32_t i = 0; i < XPV; i++)
			if (!x_get(&x[v * XPV + i], x_context(p[v].energy, i),
				in >> i * XLANES, &k->c->tab, src, &e[i]))
				return false;
		r = x_residuals(e);
		big = v_over(r, 63) & in;
		if (big != 0 && !escapes_get(&r, big, src))
			return false;
		a = v_add(p[v].best, r);
		v_store(row + (size_t)v * VLANES, a);
		lanes_learn(&s[v], &p[v], a, r, kind.method);
	}
	walk_on(k, &s[nv - 1]);
	return true;
}

VFN bool
decode_run(struct wave *c, uint16_t *px, const struct wave_geom *g,
    const struct wave_model *m, struct wave_src *from, const struct kind kind)
{
	const size_t nx = (size_t)kind.nv * XPV;
	xvec x[WAVE_LANES_MAX / XLANES];
	struct lanes s[VECS_MAX];
	struct wave_src src = *from;
	struct walk k;
	size_t i;

	walk_start(&k, c, g, m);
	lanes_start(s, m, kind.nv);
	for (i = 0; i < nx; i++)
		x[i] = x_load(src.x + i * XLANES);
	while (k.t < g->steps) {
		const struct wave_steps now = walk_steps(&k, m);
		const uint32_t n = now.n;

		for (i = 0; i < n; i++)
			if (!decode_step(&k, s, x,
				c->tile + i * kind.nv * VLANES, &src, kind))
				return false;
		wave_tile_out(px, &now, c->tile);
	}
	for (i = 0; i < nx; i++)
		x_store(src.x + i * XLANES, x[i]);
	*from = src;
	return true;
}

/* --- one function for each method and number of vectors --- */

#define MODEL(name, method, lanes)                                             \
	static VTARGET void name(struct wave *c, const uint16_t *px,           \
	    const struct wave_geom *g, const struct wave_model *m,             \
	    struct wave_bits_out *extra)                                       \
	{                                                                      \
		const struct kind kind = { method, (lanes) / VLANES };         \
                                                                               \
		model_run(c, px, g, m, extra, kind);                           \
	}
#define DECODE(name, method, lanes)                                            \
	static VTARGET bool name(struct wave *c, uint16_t *px,                 \
	    const struct wave_geom *g, const struct wave_model *m,             \
	    struct wave_src *src)                                              \
	{                                                                      \
		const struct kind kind = { method, (lanes) / VLANES };         \
                                                                               \
		return decode_run(c, px, g, m, src, kind);                     \
	}
MODEL(model_med_32, WAVE_MED, 32)
MODEL(model_switch_32, WAVE_SWITCH, 32)
MODEL(model_med_64, WAVE_MED, 64)
MODEL(model_switch_64, WAVE_SWITCH, 64)
DECODE(decode_med_32, WAVE_MED, 32)
DECODE(decode_switch_32, WAVE_SWITCH, 32)
DECODE(decode_med_64, WAVE_MED, 64)
DECODE(decode_switch_64, WAVE_SWITCH, 64)

static void
lanes_model(struct wave *c, const uint16_t *px, const struct wave_geom *g,
    const struct wave_model *m, struct wave_bits_out *extra)
{
	static void (*const run[2][2])(struct wave *, const uint16_t *,
	    const struct wave_geom *, const struct wave_model *,
	    struct wave_bits_out *) = {
		{ model_med_32, model_switch_32 },
		{ model_med_64, model_switch_64 },
	};

	run[g->lanes == 64][m->method == WAVE_SWITCH](c, px, g, m, extra);
}

static bool
lanes_decode(struct wave *c, uint16_t *px, const struct wave_geom *g,
    const struct wave_model *m, struct wave_src *src)
{
	static bool (*const run[2][2])(struct wave *, uint16_t *,
	    const struct wave_geom *, const struct wave_model *,
	    struct wave_src *) = {
		{ decode_med_32, decode_switch_32 },
		{ decode_med_64, decode_switch_64 },
	};

	return run[g->lanes == 64][m->method == WAVE_SWITCH](c, px, g, m, src);
}

static VTARGET uint8_t *
lanes_code(
    struct wave *c, const struct wave_geom *g, uint32_t *states, uint8_t *end)
{
	return g->lanes == 64 ? code_run(c, g, states, end, 64 / XLANES)
			      : code_run(c, g, states, end, 32 / XLANES);
}
