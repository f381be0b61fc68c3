/* node/imaging/plan_nifti.c: the plan of a NIfTI file, from fields at fixed
 * offsets of its header (nifti1.h, nifti2.h).
 *
 * Happy path: size of the header tells version and byte order, dim[] and
 * bitpix the grid, vox_offset where it begins.  Every product is compared by
 * division with the bytes that are there; bytes the header does not speak of
 * are a piece of their own. */
#include "node/imaging/plan.h"
#include "store/base/limits.h"

#define NIFTI1_BYTES 348u
#define NIFTI2_BYTES 540u
#define NIFTI_DIMS 7u

struct nifti {
	struct slice in;
	bool big;
	bool two;
};

static uint64_t
get(const struct nifti *f, size_t at, size_t n)
{
	uint64_t v = 0;
	size_t i;

	for (i = 0; i < n; i++)
		v = v << 8 | f->in.p[at + (f->big ? i : n - 1 - i)];
	return v;
}

/* Version and byte order; false: no single-file NIfTI. */
static bool
open_header(struct nifti *f)
{
	static const uint8_t magic1[4] = { 'n', '+', '1', 0 };
	static const uint8_t magic2[8] = { 'n', '+', '2', 0, '\r', '\n', 26,
		'\n' };
	uint64_t size;

	if (f->in.n < NIFTI1_BYTES)
		return false;
	size = get(f, 0, 4);
	f->big = size != NIFTI1_BYTES && size != NIFTI2_BYTES;
	size = get(f, 0, 4);
	f->two = size == NIFTI2_BYTES;
	if (f->two)
		return f->in.n >= NIFTI2_BYTES &&
		       memcmp(f->in.p + 4, magic2, sizeof(magic2)) == 0;
	return size == NIFTI1_BYTES &&
	       memcmp(f->in.p + 344, magic1, sizeof(magic1)) == 0;
}

/* dim[i]; 0 if it is negative or larger than any file. */
static uint64_t
dim(const struct nifti *f, size_t i)
{
	uint64_t v = f->two ? get(f, 16 + 8 * i, 8) : get(f, 40 + 2 * i, 2);
	uint64_t most = f->two ? UINT32_MAX : INT16_MAX;

	return v <= most ? v : 0;
}

/* A float that is a whole number below 2^24, as vox_offset is; 0 else. */
static uint64_t
float_value(uint64_t raw)
{
	float v;
	uint32_t bits = (uint32_t)raw;

	memcpy(&v, &bits, sizeof(v));
	return v >= 0 && v < 16777216.0f ? (uint64_t)v : 0;
}

static uint64_t
voxels_at(const struct nifti *f)
{
	return f->two ? get(f, 168, 8) : float_value(get(f, 108, 4));
}

/* Samples of one voxel: RGB and complex ones have more than one. */
static bool
read_samples(const struct nifti *f, uint64_t *bytes, struct plan_grid *g)
{
	uint64_t type = f->two ? get(f, 12, 2) : get(f, 70, 2);
	uint64_t bits = f->two ? get(f, 14, 2) : get(f, 72, 2);

	if (bits == 0 || bits % 8 != 0 || bits > 256)
		return false;
	*bytes = bits / 8;
	switch (type) {
	case 128: /* RGB24 */
	case 2304: /* RGBA32 */ g->bits = 8; return true;
	case 32: /* complex of two floats, doubles, long doubles */
	case 1792:
	case 2048: g->bits = (uint8_t)(bits / 2); return true;
	default: g->bits = bits > 128 ? 0 : (uint8_t)bits; return true;
	}
}

struct volume {
	struct plan_grid grid; /* frames: slices of a volume */
	uint64_t n;            /* volumes */
};

/* *total *= by, unless it gets above most. */
static bool
times(uint64_t *total, uint64_t by, uint64_t most)
{
	if (by == 0 || *total > most / by)
		return false;
	*total *= by;
	return true;
}

/* False: the header does not describe the bytes that are there. */
static bool
read_volumes(const struct nifti *f, uint64_t room, struct volume *v)
{
	struct plan_grid *g = &v->grid;
	uint64_t n = dim(f, 0), total, bytes, samples;
	size_t i;

	if (n < 1 || n > NIFTI_DIMS || !read_samples(f, &bytes, g))
		return false;
	total = bytes;
	if (!times(&total, dim(f, 1), room))
		return false;
	g->row = total;
	g->rows = n >= 2 ? dim(f, 2) : 1;
	g->frames = n >= 3 ? dim(f, 3) : 1;
	if (!times(&total, g->rows, room) || !times(&total, g->frames, room))
		return false;
	v->n = 1;
	for (i = 4; i <= n; i++) {
		if (!times(&total, dim(f, i), room) ||
		    !times(&v->n, dim(f, i), room))
			return false;
	}
	samples = g->bits >= 8 ? g->row / (g->bits / 8u) : 0;
	g->w = samples <= UINT16_MAX ? (uint16_t)samples : 0;
	return true;
}

static void
plan_volumes(struct plan *p, struct volume *v)
{
	struct plan_grid *g = &v->grid;
	uint64_t k;

	/* Small volumes are joined like frames, and so is a flat series. */
	if (g->row * g->rows * g->frames <= MIB) {
		g->rows *= g->frames;
		g->frames = v->n;
		v->n = 1;
	}
	for (k = 0; k < v->n && p->err == ERR_OK; k++)
		plan_frames(p, g);
}

enum err
plan_nifti(struct slice file, struct img_piece *out, uint32_t max, uint32_t *n)
{
	struct nifti f = { .in = file };
	struct plan p = { .out = out, .max = max };
	struct volume v = { .n = 0 };
	uint64_t at;

	if (!open_header(&f))
		return ERR_UNSUPPORTED;
	at = voxels_at(&f);
	if (at < (f.two ? NIFTI2_BYTES : NIFTI1_BYTES) || at >= file.n ||
	    !read_volumes(&f, file.n - at, &v))
		return ERR_UNSUPPORTED;
	plan_bytes(&p, at, IMG_P_HEADER);
	plan_volumes(&p, &v);
	plan_bytes(&p, file.n - p.at, IMG_P_OTHER);
	if (p.err == ERR_OK)
		*n = p.n;
	return p.err;
}
