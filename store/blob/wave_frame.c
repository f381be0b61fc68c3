/* store/blob/wave_frame.c: one frame of 16-bit samples, to bytes and back
 * (docs/store-format.md, "Codec 5", gives the layout).
 *
 * Encoding: range, weights, then one pass that turns pixels into symbols and
 * counts them, tables from the counts, and the entropy coder backwards.
 * Decoding: nothing is believed.  Sections must fit the input and be used up,
 * padding must be zero, every coder state must end where the encoder began;
 * indices into tables cannot leave them because energies are capped and
 * frequencies have a fixed sum by construction. */
#include "store/blob/wave_internal.h"

#include "store/base/mem.h"

#define TABLE_SET 0u
#define SLACK 64u /* vector paths read and write past an end by this much */
#define BITS_MAX (WAVE_CTX * (2 + 2 * WAVE_TOKENS) + 8)
#define TILE_BYTES (sizeof(uint16_t) * WAVE_TILE * WAVE_LANES_MAX)
#define HEAD_MED 10u
#define HEAD_LS 24u

_Static_assert(WAVE_TOKENS - WAVE_ESCAPE + 64 <= 127, "symbol fits int8");

struct wave_geom
wave_geometry(uint32_t w, uint32_t h)
{
	struct wave_geom g = { .w = w, .h = h };
	uint32_t blocks;

	g.lanes = w >= 128 && h >= 64 && w * h >= 65536 ? 64 : 32;
	g.period = w < 2 * g.lanes ? 2 * g.lanes : w;
	blocks = (h + g.lanes - 1) / g.lanes;
	g.steps = (blocks - 1) * g.period + 2 * ((h - 1) % g.lanes) + w;
	if (w == g.period && h >= g.lanes) {
		g.full_from = 2 * (g.lanes - 1);
		g.full_to = h / g.lanes * g.period;
	}
	return g;
}

/* --- scratch --- */

enum room_slot {
	ROOM_SYMBOLS,
	ROOM_EXTRA,
	ROOM_WORDS,
	ROOM_BITS,
	ROOM_FEED,
	ROOM_TILE,
	ROOM_ERR,
	ROOM_PLANE,
};

void *
wave_room_get(struct wave *c, unsigned i, size_t n)
{
	struct wave_room *r = &c->room[i];

	REQUIRE(i < sizeof(c->room) / sizeof(*c->room));
	n += (size_t)2 * SLACK;
	if (r->n < n) {
		mem_free(r->p);
		r->n = 0;
		r->p = mem_new(n);
		if (r->p == NULL)
			return NULL;
		r->n = n;
	}
	return (uint8_t *)r->p + (SLACK - (uintptr_t)r->p % SLACK) % SLACK;
}

/* What the pixel loops of a path need besides the frame. */
static bool
room_pixels(struct wave *c, const struct wave_geom *g)
{
	if (!c->path->vector) {
		size_t n = (size_t)g->w * 128;

		c->err = wave_room_get(c, ROOM_ERR, 2 * n * sizeof(*c->err));
		c->dif = c->err == NULL ? NULL : c->err + n;
		return c->err != NULL;
	}
	c->feed =
	    wave_room_get(c, ROOM_FEED, (g->period + 1) * sizeof(*c->feed));
	c->tile = wave_room_get(c, ROOM_TILE, TILE_BYTES);
	if (c->tile == NULL || c->feed == NULL)
		return false;
	memset(c->tile, 0, TILE_BYTES);
	return true;
}

static bool
room_encode(struct wave *c, const struct wave_geom *g)
{
	size_t n = (size_t)g->w * g->h;

	c->symbols = wave_room_get(
	    c, ROOM_SYMBOLS, (size_t)g->steps * g->lanes * sizeof(uint16_t));
	c->extra = wave_room_get(c, ROOM_EXTRA, 2 * n);
	c->words = wave_room_get(c, ROOM_WORDS, 2 * n + SLACK);
	c->bits = wave_room_get(c, ROOM_BITS, BITS_MAX);
	return c->symbols != NULL && c->extra != NULL && c->words != NULL &&
	       c->bits != NULL && room_pixels(c, g);
}

/* --- encoding --- */

/* Samples as they are; of bytes the low half. */
static void
put_stored(enum wave_method how, unsigned bytes, const uint16_t *px, size_t n,
    struct buf *out)
{
	size_t i;

	buf_u8(out, (uint8_t)how);
	buf_u8(out, TABLE_SET);
	for (i = 0; i < n; i++) {
		buf_u8(out, (uint8_t)px[i]);
		if (bytes == 2)
			buf_u8(out, (uint8_t)(px[i] >> 8));
	}
}

/* Middle of the range, signed or unsigned, whichever is narrower: samples
 * across the wrap of the other would look far apart.  False: one value. */
static bool
choose_base(const struct wave_path *path, const uint16_t *px, size_t n,
    struct wave_model *m)
{
	uint16_t u[2];
	int16_t s[2];
	int spread;

	path->range(px, n, u, s);
	if (u[1] - u[0] <= s[1] - s[0]) {
		spread = u[1] - u[0];
		m->base = (uint16_t)(u[0] + spread / 2);
	} else {
		spread = s[1] - s[0];
		m->base = (uint16_t)(s[0] + spread / 2);
	}
	m->lo = (int16_t)(-(spread / 2));
	return spread > 0;
}

static void
put_model(const struct wave_model *m, uint32_t n_extra, struct buf *out)
{
	unsigned i;

	buf_u8(out, (uint8_t)m->method);
	buf_u8(out, TABLE_SET);
	buf_u16(out, m->base);
	buf_u16(out, (uint16_t)m->lo);
	buf_u32(out, n_extra);
	for (i = 0; i < 8 && m->method != WAVE_MED; i++)
		if (i != 1) /* that of T makes the sum 4096 */
			buf_u16(out, (uint16_t)m->wt[i]);
}

static enum err
code_frame(struct wave *c, const uint16_t *px, const struct wave_geom *g,
    const struct wave_model *m, unsigned bytes, struct buf *out)
{
	size_t n = (size_t)g->w * g->h, n_extra, n_bits, start = out->n;
	struct wave_bits_out extra = { c->extra, 0, 0 };
	struct wave_bits_out bits = { c->bits, 0, 0 };
	uint32_t x[WAVE_LANES_MAX], lanes = g->h < g->lanes ? g->h : g->lanes;
	uint8_t *end = c->words + SLACK + 2 * n, *words;
	uint32_t i;

	memset(c->tab.hist, 0, sizeof(c->tab.hist));
	c->path->model(c, px, g, m, &extra);
	wave_table_put(&c->tab, &bits);
	n_extra = (size_t)(wave_bits_flush(&extra) - c->extra);
	n_bits = (size_t)(wave_bits_flush(&bits) - c->bits);
	for (i = 0; i < WAVE_LANES_MAX; i++)
		x[i] = WAVE_STATE_MIN;
	words = c->path->code(c, g, x, end);
	put_model(m, (uint32_t)n_extra, out);
	buf_put(out, c->bits, n_bits);
	buf_put(out, c->extra, n_extra);
	for (i = 0; i < lanes; i++)
		buf_u32(out, x[i]);
	buf_put(out, words, (size_t)(end - words));
	if (buf_err(out) == ERR_OK && out->n - start > 2 + bytes * n) {
		out->n = start;
		put_stored(WAVE_STORED, bytes, px, n, out);
	}
	return buf_err(out);
}

enum err
wave_frame_encode(struct wave *c, const uint16_t *px, uint32_t w, uint32_t h,
    struct wave_how how, struct buf *out)
{
	struct wave_geom g = wave_geometry(w, h);
	struct wave_model m = { .method = WAVE_MED };

	if (!choose_base(c->path, px, (size_t)w * h, &m)) {
		put_stored(WAVE_CONSTANT, how.bytes, px, 1, out);
		return buf_err(out);
	}
	if (!room_encode(c, &g))
		return ERR_NOMEM;
	if (!how.fast && wave_fit(c->path, px, &g, m.base, m.wt))
		m.method = WAVE_SWITCH;
	return code_frame(c, px, &g, &m, how.bytes, out);
}

/* --- decoding --- */

static enum err
get_stored(
    enum wave_method how, unsigned bytes, struct rd *r, uint16_t *px, size_t n)
{
	size_t stored = how == WAVE_STORED ? n : 1, i;

	if (r->left != bytes * stored)
		return ERR_MALFORMED;
	for (i = 0; i < stored; i++)
		px[i] = bytes == 2 ? rd_u16(r) : rd_u8(r);
	for (; i < n; i++)
		px[i] = px[0];
	return ERR_OK;
}

static void
get_model(struct rd *r, struct wave_model *m, uint32_t *n_extra)
{
	int sum = 0;
	unsigned i;

	m->base = rd_u16(r);
	m->lo = (int16_t)rd_u16(r);
	*n_extra = rd_u32(r);
	if (m->method == WAVE_MED)
		return;
	for (i = 0; i < 8; i++) {
		if (i == 1)
			continue;
		m->wt[i] = (int16_t)rd_u16(r);
		sum += m->wt[i];
	}
	m->wt[1] = (int16_t)(4096 - sum);
}

static bool
get_tables(struct wave *c, struct rd *r)
{
	struct wave_bits_in b = { r->at, 0, 8 * r->left, false };

	if (r->err != ERR_OK || !wave_table_get(&c->tab, &b))
		return false;
	while ((b.pos & 7) != 0)
		if (wave_bits_get(&b, 1) != 0)
			return false;
	(void)rd_bytes(r, b.pos / 8);
	return true;
}

/* Everything was used, and the coder is back where it began. */
static bool
src_done(const struct wave_src *s, uint32_t lanes)
{
	size_t bytes = (s->extra_pos + 7) / 8;
	uint32_t i;

	for (i = 0; i < lanes; i++)
		if (s->x[i] != WAVE_STATE_MIN)
			return false;
	if (s->words != s->end || 8 * bytes != s->extra_bits)
		return false;
	return (s->extra_pos & 7) == 0 ||
	       s->extra[bytes - 1] >> (s->extra_pos & 7) == 0;
}

enum err
wave_frame_decode(struct wave *c, struct slice in, unsigned bytes, uint16_t *px,
    uint32_t w, uint32_t h)
{
	struct wave_geom g = wave_geometry(w, h);
	uint32_t lanes = h < g.lanes ? h : g.lanes, n_extra, i;
	struct rd r = rd_init(in);
	struct wave_model m = { .method = (enum wave_method)rd_u8(&r) };
	struct wave_src src = { 0 };

	if (rd_u8(&r) != TABLE_SET || r.err != ERR_OK)
		return ERR_MALFORMED;
	if (m.method == WAVE_STORED || m.method == WAVE_CONSTANT)
		return get_stored(m.method, bytes, &r, px, (size_t)w * h);
	if (m.method > WAVE_SWITCH)
		return ERR_MALFORMED;
	get_model(&r, &m, &n_extra);
	if (!get_tables(c, &r))
		return ERR_MALFORMED;
	src.extra = rd_bytes(&r, n_extra).p;
	src.extra_bits = 8 * (size_t)n_extra;
	for (i = 0; i < lanes; i++)
		src.x[i] = rd_u32(&r);
	for (; i < WAVE_LANES_MAX; i++)
		src.x[i] = WAVE_STATE_MIN;
	if (r.err != ERR_OK || r.left % 2 != 0)
		return ERR_MALFORMED;
	src.words = r.at;
	src.end = r.at + r.left;
	if (!room_pixels(c, &g))
		return ERR_NOMEM;
	return c->path->decode(c, px, &g, &m, &src) && src_done(&src, lanes)
		   ? ERR_OK
		   : ERR_MALFORMED;
}
