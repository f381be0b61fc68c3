/* store/blob/wave.c: the container of the wavefront codec.
 *
 *   u8 version  u8 kind  u16 w | planes | rows that do not end
 *
 * Samples that are not 16-bit little-endian go through a plane of such.  RGB
 * is three planes G, R - G, B - G: what two colours have in common is coded
 * once.  The lengths of planes but the last are in front of them.  The number
 * of rows follows from the raw length, which the reader knows. */
#include "store/blob/wave_internal.h"

#include "store/base/mem.h"

#define VERSION 1u
#define HEADER_BYTES 4u
#define ROOM_PLANE 7u
#define ORDER_SAMPLES 1024u

enum kind { KIND_16LE, KIND_16BE, KIND_8, KIND_RGB, KIND_N };

static const uint8_t bytes_of[KIND_N] = { 2, 2, 1, 3 };

#if defined(__x86_64__)
static const struct wave_path *const paths[] = { &wave_path_scalar,
	&wave_path_avx2, &wave_path_avx512 };
#else
static const struct wave_path *const paths[] = { &wave_path_scalar };
#endif

const struct wave_path *
wave_path_at(unsigned i)
{
	unsigned k;

	for (k = 0; k < sizeof(paths) / sizeof(paths[0]); k++)
		if (paths[k]->usable() && i-- == 0)
			return paths[k];
	return NULL;
}

void
wave_path_force(struct wave *c, const struct wave_path *p)
{
	c->path = p;
}

struct wave *
wave_new(void)
{
	struct wave *c = mem_new(sizeof(*c));
	unsigned i;

	if (c == NULL)
		return NULL;
	for (i = 0; wave_path_at(i) != NULL; i++)
		c->path = wave_path_at(i);
	wave_table_init(&c->tab);
	return c;
}

void
wave_free(struct wave *c)
{
	unsigned i;

	if (c == NULL)
		return;
	for (i = 0; i < sizeof(c->room) / sizeof(*c->room); i++)
		mem_free(c->room[i].p);
	mem_free(c);
}

size_t
wave_bytes(const struct wave *c)
{
	size_t n = sizeof(*c);
	unsigned i;

	for (i = 0; i < sizeof(c->room) / sizeof(*c->room); i++)
		n += c->room[i].n;
	return n;
}

/* --- samples to planes and back; n pixels --- */

static void
plane_from(
    const uint8_t *in, size_t n, enum kind kind, unsigned plane, uint16_t *out)
{
	size_t i;

	switch (kind) {
	case KIND_16LE:
		for (i = 0; i < n; i++)
			out[i] = (uint16_t)(in[2 * i] | in[2 * i + 1] << 8);
		break;
	case KIND_16BE:
		for (i = 0; i < n; i++)
			out[i] = (uint16_t)(in[2 * i] << 8 | in[2 * i + 1]);
		break;
	case KIND_8:
		for (i = 0; i < n; i++)
			out[i] = in[i];
		break;
	case KIND_RGB: /* R - G and B - G around 128, modulo 256 */
		for (i = 0; i < n; i++, in += 3)
			out[i] =
			    plane == 0
				? in[1]
				: (uint8_t)(in[2 * plane - 2] - in[1] + 128);
		break;
	case KIND_N:
	default: REQUIRE(!"kind");
	}
}

/* False: a sample that is not a byte where it has to be one. */
static bool
plane_to(
    const uint16_t *in, size_t n, enum kind kind, unsigned plane, uint8_t *out)
{
	uint16_t all = 0;
	size_t i;

	switch (kind) {
	case KIND_16LE:
		for (i = 0; i < n; i++) {
			out[2 * i] = (uint8_t)in[i];
			out[2 * i + 1] = (uint8_t)(in[i] >> 8);
		}
		return true;
	case KIND_16BE:
		for (i = 0; i < n; i++) {
			out[2 * i] = (uint8_t)(in[i] >> 8);
			out[2 * i + 1] = (uint8_t)in[i];
		}
		return true;
	case KIND_8:
		for (i = 0; i < n; i++) {
			out[i] = (uint8_t)in[i];
			all |= in[i];
		}
		return all < 256;
	case KIND_RGB:
		for (i = 0; i < n; i++, out += 3) {
			all |= in[i];
			if (plane == 0)
				out[1] = (uint8_t)in[i];
			else
				out[2 * plane - 2] =
				    (uint8_t)(in[i] - 128 + out[1]);
		}
		return all < 256;
	case KIND_N:
	default: REQUIRE(!"kind");
	}
	return false;
}

/* Are neighbours closer if the bytes are read the other way round? */
static bool
big_endian(struct slice raw)
{
	size_t n = raw.n / 2, step = n > ORDER_SAMPLES ? n / ORDER_SAMPLES : 1;
	const uint8_t *p = raw.p;
	uint64_t le = 0, be = 0;
	size_t i;

	for (i = 0; i + 1 < n; i += step) {
		const uint8_t *a = p + 2 * i;
		int d = (int16_t)(uint16_t)((a[2] | a[3] << 8) -
					    (a[0] | a[1] << 8));
		int e = (int16_t)(uint16_t)((a[3] | a[2] << 8) -
					    (a[1] | a[0] << 8));

		le += (uint64_t)(d < 0 ? -d : d);
		be += (uint64_t)(e < 0 ? -e : e);
	}
	return be < le;
}

/* The bytes as samples, if that is what they are on this machine. */
static const uint16_t *
samples_in_place(enum kind kind, const uint8_t *p)
{
	const uint16_t one = 1;
	uint8_t low;

	memcpy(&low, &one, 1);
	if (kind != KIND_16LE || low != 1 ||
	    (uintptr_t)p % _Alignof(uint16_t) != 0)
		return NULL;
	return (const void *)p;
}

/* --- encoding --- */

static enum err
encode_planes(struct wave *c, const struct wave_shape *sh, enum kind kind,
    struct slice raw, struct buf *out)
{
	unsigned planes = kind == KIND_RGB ? 3 : 1, i;
	uint32_t h = (uint32_t)(raw.n / bytes_of[kind] / sh->w);
	size_t n = (size_t)sh->w * h;
	struct wave_how how = { kind < KIND_8 ? 2 : 1, sh->fast };
	const uint16_t *px = samples_in_place(kind, raw.p);
	uint16_t *plane = NULL;

	if (px == NULL) {
		plane = wave_room_get(c, ROOM_PLANE, 2 * n);
		if ((px = plane) == NULL)
			return ERR_NOMEM;
	}
	for (i = 0; i < planes; i++) {
		size_t at = out->n;
		enum err e;

		if (plane != NULL)
			plane_from(raw.p, n, kind, i, plane);
		if (i + 1 < planes)
			buf_u32(out, 0);
		e = wave_frame_encode(c, px, sh->w, h, how, out);
		if (e != ERR_OK)
			return e;
		if (i + 1 < planes) {
			uint32_t len = (uint32_t)(out->n - at - 4);
			unsigned k;

			for (k = 0; k < 4; k++)
				out->p[at + k] = (uint8_t)(len >> 8 * k);
		}
	}
	return buf_err(out);
}

enum err
wave_encode(struct wave *c, const struct wave_shape *sh, struct slice raw,
    struct buf *out)
{
	enum kind kind = KIND_8;
	size_t row, start = out->n, h;
	enum err e;

	if (sh->samples == WAVE_16)
		kind = big_endian(raw) ? KIND_16BE : KIND_16LE;
	else if (sh->samples == WAVE_RGB)
		kind = KIND_RGB;
	row = (size_t)sh->w * bytes_of[kind];
	if (sh->w == 0 || sh->w > WAVE_SIDE_MAX || raw.n < row ||
	    raw.n > LIM_PIECE_BYTES)
		return ERR_UNSUPPORTED;
	h = raw.n / row;
	if (sh->w < 32 && h > 4096)
		return ERR_UNSUPPORTED; /* most lanes would idle */
	buf_u8(out, VERSION);
	buf_u8(out, (uint8_t)kind);
	buf_u16(out, sh->w);
	e = encode_planes(c, sh, kind, raw, out);
	if (e == ERR_OK) {
		buf_put(out, raw.p + h * row, raw.n - h * row);
		e = buf_err(out);
	}
	if (e != ERR_OK)
		out->n = start;
	return e;
}

/* --- decoding --- */

static enum err
decode_planes(struct wave *c, enum kind kind, uint16_t w, uint32_t h,
    struct rd *r, uint8_t *out)
{
	unsigned planes = kind == KIND_RGB ? 3 : 1, i;
	size_t n = (size_t)w * h;
	bool in_place = samples_in_place(kind, out) != NULL;
	uint16_t *px =
	    in_place ? (void *)out : wave_room_get(c, ROOM_PLANE, 2 * n);

	if (px == NULL)
		return ERR_NOMEM;
	for (i = 0; i < planes; i++) {
		struct slice in;
		enum err e;

		in = i + 1 < planes ? rd_bytes(r, rd_u32(r)) : rd_rest(r);
		if (r->err != ERR_OK)
			return ERR_MALFORMED;
		e = wave_frame_decode(c, in, kind < KIND_8 ? 2 : 1, px, w, h);
		if (e != ERR_OK)
			return e;
		if (!in_place && !plane_to(px, n, kind, i, out))
			return ERR_MALFORMED;
	}
	return ERR_OK;
}

enum err
wave_decode(struct wave *c, struct slice z, uint32_t raw_len, struct buf *out)
{
	struct rd r = rd_init(z);
	unsigned version = rd_u8(&r), kind = rd_u8(&r);
	uint16_t w = rd_u16(&r);
	size_t row, h, tail;
	uint8_t *to;
	enum err e;

	if (r.err != ERR_OK || version != VERSION || kind >= KIND_N || w == 0 ||
	    w > WAVE_SIDE_MAX || raw_len > LIM_PIECE_BYTES)
		return ERR_MALFORMED;
	row = (size_t)w * bytes_of[kind];
	h = raw_len / row;
	tail = raw_len - h * row;
	if (h == 0 || tail > r.left)
		return ERR_MALFORMED;
	if ((to = buf_room(out, raw_len)) == NULL)
		return buf_err(out);
	memcpy(to + h * row, r.at + r.left - tail, tail);
	r.left -= tail;
	e = decode_planes(c, (enum kind)kind, w, (uint32_t)h, &r, to);
	if (e == ERR_OK)
		buf_grew(out, raw_len);
	return e;
}
