/* node/imaging/plan.h: split plans: where to cut a file so that the same
 * samples make the same pieces whatever stands before them (store.md,
 * Splitting).  A plan tiles its file; pieces of samples are some whole frames
 * or some whole rows, 0.5 to 1 MiB where frames allow it; bytes of no known
 * layout are one piece, which store/blob cuts by content. */
#ifndef PSC_IMAGING_PLAN_H
#define PSC_IMAGING_PLAN_H

#include "node/imaging/imaging.h"

struct plan {
	struct img_piece *out;
	uint32_t max; /* ERR_LIMIT above */
	uint32_t n;
	uint64_t at;  /* planned up to here */
	enum err err; /* sticky */
};

/* Frames of rows of samples. */
struct plan_grid {
	uint64_t row;  /* bytes, > 0 */
	uint64_t rows; /* of one frame, > 0 */
	uint64_t frames;
	uint16_t w; /* samples a row, 0: more than that */
	uint8_t bits;
};

/* len bytes of no known layout. */
void plan_bytes(struct plan *p, uint64_t len, enum img_piece_kind kind);
/* The bytes of all frames of g, which the caller found to be there. */
void plan_frames(struct plan *p, const struct plan_grid *g);

/* A single-file NIfTI-1 or -2, not compressed, of either byte order:
 *   [0, vox_offset) | slices or volumes | what follows
 * ERR_UNSUPPORTED: no such file, or its header does not describe its bytes;
 * ERR_LIMIT: more than max pieces. */
enum err plan_nifti(struct slice file, struct img_piece *out, uint32_t max,
    uint32_t *n) PSC_MUST_USE;

#endif
