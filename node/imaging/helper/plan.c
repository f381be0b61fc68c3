/* node/imaging/helper/plan.c: where to cut an object so that the same pixels
 * make the same pieces whatever the header says (store.md, Splitting).
 *
 *   header | pieces of pixel data, each some frames or some rows | rest
 *
 * Pieces aim at 1 MiB and start at the first byte of the pixel value, so a
 * re-tagged copy shares them.  ERR_LIMIT when max pieces do not suffice. */
#include "node/imaging/helper/walk.h"
#include "store/base/limits.h"

#define PLAN_PIECE_BYTES (1 * MIB)

struct planner {
	struct img_piece *out;
	uint32_t max;
	uint32_t n;
	uint64_t at;
	enum err err;
};

struct grid {
	uint64_t row;  /* bytes */
	uint64_t rows; /* of one frame */
	uint64_t frames;
	uint16_t w; /* samples */
	uint8_t bits;
};

/* One piece of len bytes; nothing for len 0. */
static void
put(struct planner *p, uint64_t len, enum img_piece_kind kind,
    const struct grid *g)
{
	struct img_piece *o;
	uint64_t h = 0;

	if (len == 0 || p->err != ERR_OK)
		return;
	if (p->n == p->max) {
		p->err = ERR_LIMIT;
		return;
	}
	o = &p->out[p->n++];
	*o = (struct img_piece){ .off = p->at, .len = len };
	o->kind = (uint8_t)kind;
	if (g != NULL) {
		h = len / g->row;
		o->bits = g->bits;
		o->w = g->w;
		o->h = h <= UINT16_MAX ? (uint16_t)h : 0;
	}
	p->at += len;
}

/* len bytes of no known inner layout. */
static void
put_plain(struct planner *p, uint64_t len, enum img_piece_kind kind)
{
	while (len > 0 && p->err == ERR_OK) {
		uint64_t n = len < PLAN_PIECE_BYTES ? len : PLAN_PIECE_BYTES;

		put(p, n, kind, NULL);
		len -= n;
	}
}

/* False: the header does not describe the pixel bytes that are there. */
static bool
read_grid(const struct dcm_file *f, struct grid *g)
{
	uint64_t bits = dcm_u16(f, 0x00280100, 0);
	uint64_t spp = dcm_u16(f, 0x00280002, 1);
	bool planar = spp > 1 && dcm_u16(f, 0x00280006, 0) == 1;
	uint64_t w = dcm_u16(f, 0x00280011, 0);

	if (f->e[f->pixels].tag == TAG_FLOAT_PIXELS)
		bits = 32;
	if (f->e[f->pixels].tag == TAG_DOUBLE_PIXELS)
		bits = 64;
	g->rows = dcm_u16(f, 0x00280010, 0);
	if (planar)
		g->rows *= spp;
	else
		w *= spp;
	if (w == 0 || w > UINT16_MAX || g->rows == 0)
		return false;
	if (bits == 0 || bits % 8 != 0 || bits > 64)
		return false;
	g->bits = (uint8_t)bits;
	g->w = (uint16_t)w;
	g->row = w * bits / 8;
	g->frames = dcm_is(f, 0x00280008, 1);
	/* 2^16 * 8 * 2^32 rows * 2^32 frames could wrap: divide. */
	return g->frames > 0 &&
	       g->frames <= f->e[f->pixels].len / g->row / g->rows;
}

static void
plan_native(const struct dcm_file *f, struct planner *p)
{
	uint64_t len = f->e[f->pixels].len;
	struct grid g = { 0 };
	uint64_t frame;
	uint64_t step;

	if (!read_grid(f, &g)) {
		put_plain(p, len, IMG_P_FRAME);
		return;
	}
	frame = g.row * g.rows;
	len -= frame * g.frames;
	if (frame <= PLAN_PIECE_BYTES) {
		step = PLAN_PIECE_BYTES / frame;
		for (uint64_t k = 0; k < g.frames; k += step) {
			if (step > g.frames - k)
				step = g.frames - k;
			put(p, frame * step, IMG_P_FRAME, &g);
		}
		put_plain(p, len, IMG_P_OTHER);
		return;
	}
	step = g.row < PLAN_PIECE_BYTES ? PLAN_PIECE_BYTES / g.row : 1;
	for (uint64_t k = 0; k < g.frames && p->err == ERR_OK; k++)
		for (uint64_t r = 0; r < g.rows; r += step)
			put(p, g.row * (g.rows - r < step ? g.rows - r : step),
			    IMG_P_FRAME, &g);
	put_plain(p, len, IMG_P_OTHER);
}

/* Fragments with their item headers, joined up to the aim. */
static void
plan_fragments(const struct dcm_file *f, struct planner *p)
{
	const struct dcm_elem *px = &f->e[f->pixels];

	for (uint32_t i = f->pixels + 1; i < px->skip; i++) {
		const struct dcm_elem *q = &f->e[i];
		uint64_t end = q->val + q->len;

		if (i + 1 < px->skip &&
		    q[1].val + q[1].len - p->at <= PLAN_PIECE_BYTES)
			continue;
		put_plain(p, end - p->at, IMG_P_FRAME);
	}
}

enum err
dcm_plan(
    const struct dcm_file *f, struct img_piece *out, uint32_t max, uint32_t *n)
{
	struct planner p = { .out = out, .max = max };

	if (f->pixels == DCM_NONE || f->syntax == SYNTAX_OPAQUE) {
		put_plain(&p, f->in.n,
		    f->syntax == SYNTAX_OPAQUE ? IMG_P_OTHER : IMG_P_HEADER);
	} else {
		put_plain(&p, f->e[f->pixels].val, IMG_P_HEADER);
		if (f->e[f->pixels].undefined)
			plan_fragments(f, &p);
		else
			plan_native(f, &p);
		put_plain(&p, f->in.n - p.at, IMG_P_OTHER);
	}
	if (p.err == ERR_OK)
		*n = p.n;
	return p.err;
}
