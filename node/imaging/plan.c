/* node/imaging/plan.c: pieces of frames and rows, evenly long. */
#include "node/imaging/plan.h"
#include "store/base/limits.h"

#define PIECE_BYTES (1 * MIB)

/* One piece of len bytes; nothing for len 0. */
static void
put(struct plan *p, uint64_t len, enum img_piece_kind kind,
    const struct plan_grid *g)
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

void
plan_bytes(struct plan *p, uint64_t len, enum img_piece_kind kind)
{
	put(p, len, kind, NULL);
}

/* n units of unit bytes, as many a piece as fit, evenly. */
static void
put_evenly(struct plan *p, uint64_t n, uint64_t unit, const struct plan_grid *g)
{
	uint64_t most = unit < PIECE_BYTES ? PIECE_BYTES / unit : 1;
	uint64_t pieces = (n + most - 1) / most;
	uint64_t step = (n + pieces - 1) / pieces;
	uint64_t k;

	for (k = 0; k < n && p->err == ERR_OK; k += step)
		put(p, unit * (n - k < step ? n - k : step), IMG_P_FRAME, g);
}

void
plan_frames(struct plan *p, const struct plan_grid *g)
{
	uint64_t frame = g->row * g->rows;
	uint64_t k;

	if (frame <= PIECE_BYTES) {
		if (g->frames > 0)
			put_evenly(p, g->frames, frame, g);
		return;
	}
	for (k = 0; k < g->frames && p->err == ERR_OK; k++)
		put_evenly(p, g->rows, g->row, g);
}
