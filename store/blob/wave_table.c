/* store/blob/wave_table.c: how often each token comes in each context, as the
 * entropy coder wants it: frequencies with a sum of 2048.
 *
 * A context uses its preset or a table of the frame; the encoder takes what is
 * cheaper, counted in integers.  A sent table holds levels, four an octave,
 * each as the difference to what the two before it promise.  Both sides make
 * the frequencies from the levels, so both sides have the same. */
#include "store/blob/wave_internal.h"

#define LEVEL_MAX 40
#define LEVEL_FIRST 24 /* what the first level is compared with */
#define UNARY 6u       /* longer differences: six zeros and seven bits */
#define NEVER ((uint64_t)1 << 50)

/* --- bits --- */

uint8_t *
wave_bits_flush(struct wave_bits_out *b)
{
	while (b->n > 0) {
		*b->p++ = (uint8_t)b->acc;
		b->acc >>= 8;
		b->n = b->n > 8 ? b->n - 8 : 0;
	}
	return b->p;
}

uint32_t
wave_bits_get(struct wave_bits_in *b, unsigned n)
{
	uint32_t v = 0;
	unsigned i;

	if (n > b->bits - b->pos) {
		b->bad = true;
		return 0;
	}
	for (i = 0; i < n; i++, b->pos++)
		v |= (uint32_t)(b->p[b->pos >> 3] >> (b->pos & 7) & 1) << i;
	return v;
}

/* --- levels --- */

/* 0..7 stand for themselves, then 8 10 12 14 16 20 24 28 32 40 ... */
uint32_t
wave_unlevel(uint32_t l)
{
	return l < 8 ? l : (4 + l % 4) << (l / 4 - 1);
}

static uint32_t
level_of(uint32_t f)
{
	uint32_t e;

	if (f < 8)
		return f;
	f += 1u << (wave_log2(f) - 3); /* to the nearest */
	e = (uint32_t)wave_log2(f);
	return 4 * (e - 1) + (f >> (e - 2) & 3);
}

/* Counts of n tokens to frequencies with a sum of WAVE_ONE, none of them lost.
 * Some count is not zero, and their sum is below 2^32. */
void
wave_normalise(const uint32_t *h, uint32_t n, uint16_t *f)
{
	uint32_t tot = 0, s, top;
	int sum = 0;

	for (s = 0; s < n; s++)
		tot += h[s];
	for (s = 0; s < n; s++) {
		uint64_t v = (uint64_t)h[s] * WAVE_ONE + tot / 2;

		if (h[s] == 0) {
			f[s] = 0;
			continue;
		}
		v = v <= UINT32_MAX ? (uint32_t)v / tot : v / tot;
		f[s] = (uint16_t)(v == 0 ? 1 : v);
		sum += f[s];
	}
	memset(f + n, 0, (WAVE_TOKENS - n) * sizeof(*f));
	while (sum != (int)WAVE_ONE) { /* the largest pays or gains */
		int d = (int)WAVE_ONE - sum;

		for (top = 0, s = 1; s < n; s++)
			top = f[s] > f[top] ? s : top;
		if (-d > f[top] / 2)
			d = -(f[top] / 2);
		f[top] = (uint16_t)(f[top] + d);
		sum += d;
	}
}

/* --- the coder's view --- */

static void
enc_fill(const uint16_t *f, uint32_t n, uint32_t *out)
{
	uint32_t start = 0, s;

	for (s = 0; s < n; s++) {
		out[s] = (uint32_t)f[s] << 16 | start;
		start += f[s];
	}
}

/* The top byte of an entry is the residual as int8, or 64 + n for escape n:
 * residuals of tokens end at 63. */
static uint32_t
dec_symbol(unsigned s)
{
	if (s >= WAVE_ESCAPE)
		return 64 + s - WAVE_ESCAPE;
	return (uint8_t)wave_unzigzag((uint16_t)s);
}

static void
dec_fill(const uint16_t *f, uint32_t *out)
{
	unsigned s;
	uint32_t k;

	for (s = 0; s < WAVE_TOKENS; s++) {
		uint32_t entry = f[s] | dec_symbol(s) << 24;

		for (k = 0; k < f[s]; k++)
			*out++ = entry + (k << 12);
	}
}

static void
lanes_fill(struct wave_tables *t)
{
	unsigned set, i, n;

	for (set = 0; set < 256; set++) {
		for (i = 0, n = 0; i < 8; i++) {
			t->rank_of[set] |= (uint64_t)n << 8 * i;
			if ((set >> i & 1) != 0)
				t->lanes_in[set] |= (uint64_t)i << 8 * n++;
		}
	}
}

void
wave_table_init(struct wave_tables *t)
{
	uint32_t v;
	int i;

	lanes_fill(t);
	wave_preset_fill(t->preset);
	for (v = 1; v <= WAVE_ONE;
	     v++) { /* log2 by squaring, 8 binary digits */
		uint32_t k = (uint32_t)wave_log2(v), r = k << 8;
		uint64_t m = (uint64_t)v << (31 - k);

		for (i = 7; i >= 0; i--) {
			m = m * m >> 31;
			if (m >> 32) {
				r |= 1u << i;
				m >>= 1;
			}
		}
		t->lg[v] = (uint16_t)r;
	}
}

/* --- encoder --- */

struct own {
	uint16_t f[WAVE_TOKENS];
	uint8_t code[WAVE_TOKENS]; /* zigzag of level - prediction */
	uint32_t n;                /* tokens sent */
};

/* Cost of the n symbols counted in h, in 1/256 bit. */
static uint64_t
cost_of(const struct wave_tables *t, const uint32_t *h, const uint16_t *f,
    uint32_t n)
{
	uint64_t cost = 0;
	uint32_t s;

	for (s = 0; s < n; s++) {
		if (h[s] == 0)
			continue;
		if (f[s] == 0)
			return NEVER;
		cost += (uint64_t)h[s] * (WAVE_BITS * 256u - t->lg[f[s]]);
	}
	return cost;
}

/* The table that the counts of n tokens ask for, as the decoder will see it;
 * its cost. */
static uint64_t
own_make(
    const struct wave_tables *t, const uint32_t *h, uint32_t n, struct own *o)
{
	uint32_t u[WAVE_TOKENS], s;
	int l1 = LEVEL_FIRST, l2 = LEVEL_FIRST;
	uint64_t cost = UINT64_C(9) * 256;

	o->n = n;
	wave_normalise(h, n, o->f);
	for (s = 0; s < n; s++) {
		int level = (int)level_of(o->f[s]);
		int d = level - (s > 1 ? (l1 + l2 + 1) / 2 : l1);

		o->code[s] = (uint8_t)(d < 0 ? -2 * d - 1 : 2 * d);
		cost += UINT64_C(256) *
			(o->code[s] < UNARY ? o->code[s] + 1u : UNARY + 7u);
		u[s] = wave_unlevel((uint32_t)level);
		l2 = l1;
		l1 = level;
	}
	wave_normalise(u, n, o->f);
	return cost + cost_of(t, h, o->f, n);
}

static void
own_put(const struct own *o, struct wave_bits_out *b)
{
	uint32_t s;

	wave_bits_put(b, o->n - 1, 8);
	for (s = 0; s < o->n; s++) {
		if (o->code[s] < UNARY) {
			wave_bits_put(b, 1u << o->code[s], o->code[s] + 1u);
		} else {
			wave_bits_put(b, 0, UNARY);
			wave_bits_put(b, o->code[s] - UNARY, 7);
		}
	}
}

/* Adds up the two counts of a context; returns last token + 1, 0: unused. */
static uint32_t
count_join(struct wave_tables *t, size_t c)
{
	uint32_t *h = t->hist[0] + c * WAVE_ROW, n = 0, s;
	const uint32_t *h2 = t->hist[1] + c * WAVE_ROW;

	for (s = 0; s < WAVE_TOKENS; s++) {
		h[s] += h2[s];
		n = h[s] != 0 ? s + 1 : n;
	}
	return n;
}

/* Is a table of the frame worth it?  A token of it costs a bit or more. */
static bool
own_better(const struct wave_tables *t, const uint32_t *h, uint32_t n,
    const uint16_t *preset, struct own *own)
{
	uint64_t cost;

	if (n == 0)
		return false;
	cost = cost_of(t, h, preset, n);
	return cost > UINT64_C(256) * (9 + n) && own_make(t, h, n, own) < cost;
}

/* Takes the counts, leaves the encoder's tables; b: up to WAVE_CTX *
 * (2 + 2 * WAVE_TOKENS) bytes. */
void
wave_table_put(struct wave_tables *t, struct wave_bits_out *b)
{
	struct own own;
	size_t c;

	for (c = 0; c < WAVE_CTX; c++) {
		const uint32_t *h = t->hist[0] + c * WAVE_ROW;
		uint32_t n = count_join(t, c);
		uint32_t *enc = t->enc + c * WAVE_ROW;

		if (own_better(t, h, n, t->preset[c], &own)) {
			wave_bits_put(b, 1, 1);
			own_put(&own, b);
			enc_fill(own.f, n, enc);
		} else {
			wave_bits_put(b, 0, 1);
			enc_fill(t->preset[c], n, enc);
		}
	}
}

/* --- decoder --- */

static bool
own_get(struct wave_bits_in *b, uint16_t f[WAVE_TOKENS])
{
	uint32_t u[WAVE_TOKENS] = { 0 }, any = 0, n, s;
	int l1 = LEVEL_FIRST, l2 = LEVEL_FIRST;

	n = wave_bits_get(b, 8) + 1;
	if (n > WAVE_TOKENS)
		return false;
	for (s = 0; s < n; s++) {
		uint32_t code = 0;
		int level = s > 1 ? (l1 + l2 + 1) / 2 : l1;

		while (code < UNARY && !b->bad && wave_bits_get(b, 1) == 0)
			code++;
		if (code == UNARY)
			code += wave_bits_get(b, 7);
		if (b->bad)
			return false;
		level += code % 2 != 0 ? -(int)(code + 1) / 2 : (int)code / 2;
		if (level < 0 || level > LEVEL_MAX)
			return false;
		l2 = l1;
		l1 = level;
		u[s] = wave_unlevel((uint32_t)level);
		any |= u[s];
	}
	if (any == 0)
		return false;
	wave_normalise(u, n, f);
	return true;
}

/* Leaves the decoder's tables; a preset that is there is left alone. */
bool
wave_table_get(struct wave_tables *t, struct wave_bits_in *b)
{
	uint16_t f[WAVE_TOKENS];
	unsigned c;

	for (c = 0; c < WAVE_CTX; c++) {
		uint32_t *dec = t->dec + (c << WAVE_BITS);

		if (wave_bits_get(b, 1) != 0) {
			t->dec_preset[c] = false;
			if (!own_get(b, f))
				return false;
			dec_fill(f, dec);
		} else if (!t->dec_preset[c]) {
			dec_fill(t->preset[c], dec);
			t->dec_preset[c] = true;
		}
	}
	return !b->bad;
}
