/* node/imaging/helper/plan.c: the split plan of a DICOM object.
 *
 *   header | pieces of pixel data, each some frames or some rows | rest
 *
 * Pixel pieces start at the first byte of the pixel value, so a re-tagged
 * copy shares them.  ERR_LIMIT when max pieces do not suffice. */
#include "node/imaging/helper/walk.h"
#include "node/imaging/plan.h"
#include "store/base/limits.h"

#define FRAGMENTS_BYTES (1 * MIB)

/* False: the header does not describe the pixel bytes that are there. */
static bool
read_grid(const struct dcm_file *f, struct plan_grid *g)
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
plan_native(const struct dcm_file *f, struct plan *p)
{
	uint64_t len = f->e[f->pixels].len;
	struct plan_grid g = { 0 };

	if (!read_grid(f, &g)) {
		plan_bytes(p, len, IMG_P_FRAME);
		return;
	}
	plan_frames(p, &g);
	plan_bytes(p, len - g.row * g.rows * g.frames, IMG_P_OTHER);
}

/* Fragments with their item headers, joined up to the aim. */
static void
plan_fragments(const struct dcm_file *f, struct plan *p)
{
	const struct dcm_elem *px = &f->e[f->pixels];

	for (uint32_t i = f->pixels + 1; i < px->skip; i++) {
		const struct dcm_elem *q = &f->e[i];
		uint64_t end = q->val + q->len;

		if (i + 1 < px->skip &&
		    q[1].val + q[1].len - p->at <= FRAGMENTS_BYTES)
			continue;
		plan_bytes(p, end - p->at, IMG_P_FRAME);
	}
}

enum err
dcm_plan(
    const struct dcm_file *f, struct img_piece *out, uint32_t max, uint32_t *n)
{
	struct plan p = { .out = out, .max = max };

	if (f->pixels == DCM_NONE || f->syntax == SYNTAX_OPAQUE) {
		plan_bytes(&p, f->in.n,
		    f->syntax == SYNTAX_OPAQUE ? IMG_P_OTHER : IMG_P_HEADER);
	} else {
		plan_bytes(&p, f->e[f->pixels].val, IMG_P_HEADER);
		if (f->e[f->pixels].undefined)
			plan_fragments(f, &p);
		else
			plan_native(f, &p);
		plan_bytes(&p, f->in.n - p.at, IMG_P_OTHER);
	}
	if (p.err == ERR_OK)
		*n = p.n;
	return p.err;
}
