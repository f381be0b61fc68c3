/* node/imaging/helper/nifti_out.c: header and voxels through one deflate
 * stream, slice by slice.
 *
 * Layout as dcm2niix writes it: columns left to right as stored, rows bottom
 * up, so that the determinant is negative.  sform always holds the true
 * grid, shear of a tilted gantry included; qform cannot say shear and then
 * is marked unknown.  pixdim[3] is the perpendicular distance, so that the
 * product of pixdims is the volume of a voxel.
 *
 * Samples keep their integers with scl_slope and scl_inter when all images
 * share them; else they are scaled one by one into float32.  Bits outside
 * BitsStored (overlays live there) are masked.  The gzip header carries no
 * time and no name; descrip, aux_file, db_name and intent_name stay empty
 * (domain.md 10). */
#include "node/imaging/helper/nifti_out.h"

#include <math.h>
#include <nifti/nifti1.h>
#include <zlib.h>

#include "node/imaging/helper/decode.h"
#include "node/imaging/sealed.h"
#include "store/base/mem.h"
#include "store/base/num.h"

#define OUT_STEP (64 * KIB)
#define OUT_LEVEL 3
#define OUT_HEADER 352u /* header and four bytes "no extension" */
#define TAG_REPETITION 0x00180080u

_Static_assert(sizeof(struct nifti_1_header) == 348, "NIfTI-1 header");

struct nifti_out {
	const struct volume *v;
	int fd;
	int type;
	size_t width; /* of a written sample */
	uint64_t bytes;
	z_stream z;
	uint8_t *raw; /* one decoded image */
	size_t raw_n;
	uint8_t *row;  /* one row as written */
	uint8_t *room; /* deflate output */
};

int
nifti_out_type(const struct volume *v)
{
	const struct volume_format *m = &v->format;

	if (v->slopes_differ)
		return DT_FLOAT32;
	if (m->bits_allocated == 8)
		return m->is_signed ? DT_INT8 : DT_UINT8;
	if (m->bits_allocated == 32)
		return m->is_signed ? DT_INT32 : DT_UINT32;
	return m->is_signed || m->bits_stored < 16 ? DT_INT16 : DT_UINT16;
}

static size_t
nifti_out_width(int type)
{
	switch (type) {
	case DT_INT8:
	case DT_UINT8: return 1;
	case DT_INT16:
	case DT_UINT16: return 2;
	default: return 4;
	}
}

static enum err
nifti_out_put(struct nifti_out *o, struct slice s, int flush)
{
	union {
		const uint8_t *in;
		uint8_t *out;
	} u = { .in = s.p };
	enum err e = ERR_OK;
	size_t got;
	int code;

	o->z.next_in = u.out;
	o->z.avail_in = (uInt)s.n;
	do {
		o->z.next_out = o->room;
		o->z.avail_out = (uInt)OUT_STEP;
		code = deflate(&o->z, flush);
		if (code == Z_STREAM_ERROR)
			return ERR_FOREIGN;
		got = OUT_STEP - o->z.avail_out;
		e = sealed_write(o->fd, slice_of(o->room, got));
		o->bytes += got;
	} while (e == ERR_OK && o->z.avail_out == 0);
	return e;
}

static double
nifti_out_interval(const struct volume *v)
{
	struct dcm_file *f = NULL;
	double ms = NAN;

	if (dcm_open(v->images[0].file, &f, NULL) == ERR_OK)
		ms = volume_number(f, TAG_REPETITION, 0);
	dcm_close(f);
	return isnan(ms) || ms < 0 ? 0 : ms / 1000.0;
}

/* Unit quaternion of a proper rotation, its real part not negative: the
 * largest component is taken from the diagonal, the others follow. */
static void
nifti_out_rotation(const double r[3][3], double q[4])
{
	double t[4] = { 1 + r[0][0] + r[1][1] + r[2][2],
		1 + r[0][0] - r[1][1] - r[2][2],
		1 - r[0][0] + r[1][1] - r[2][2],
		1 - r[0][0] - r[1][1] + r[2][2] };
	double n[4][4] = { { t[0], r[2][1] - r[1][2], r[0][2] - r[2][0],
			       r[1][0] - r[0][1] },
		{ r[2][1] - r[1][2], t[1], r[1][0] + r[0][1],
		    r[0][2] + r[2][0] },
		{ r[0][2] - r[2][0], r[1][0] + r[0][1], t[2],
		    r[2][1] + r[1][2] },
		{ r[1][0] - r[0][1], r[0][2] + r[2][0], r[2][1] + r[1][2],
		    t[3] } };
	int i, best = 0;
	double scale;

	for (i = 1; i < 4; i++) {
		if (t[i] > t[best])
			best = i;
	}
	scale = 0.5 / sqrt(t[best]);
	if (n[best][0] < 0)
		scale = -scale;
	for (i = 0; i < 4; i++)
		q[i] = n[best][i] * scale;
}

/* qform only where it can tell the truth. */
static void
nifti_out_quatern(
    const struct volume *v, const double a[3][4], struct nifti_1_header *h)
{
	double r[3][3], q[4];
	int i;

	if (v->sheared)
		return;
	for (i = 0; i < 3; i++) {
		r[i][0] = a[i][0] / v->format.spacing[1];
		r[i][1] = a[i][1] / v->format.spacing[0];
		r[i][2] = -a[i][2] / v->gap; /* qfac -1: ours is a mirror */
	}
	nifti_out_rotation((const double(*)[3])r, q);
	h->pixdim[0] = -1;
	h->quatern_b = (float)q[1];
	h->quatern_c = (float)q[2];
	h->quatern_d = (float)q[3];
	h->qoffset_x = (float)a[0][3];
	h->qoffset_y = (float)a[1][3];
	h->qoffset_z = (float)a[2][3];
	h->qform_code = NIFTI_XFORM_SCANNER_ANAT;
}

static void
nifti_out_header(const struct volume *v, int type, struct nifti_1_header *h)
{
	const struct volume_format *m = &v->format;
	double a[3][4];
	int i;

	memset(h, 0, sizeof(*h));
	h->sizeof_hdr = 348;
	h->regular = 'r';
	h->dim[0] = v->n_volumes > 1 ? 4 : 3;
	h->dim[1] = (short)m->cols;
	h->dim[2] = (short)m->rows;
	h->dim[3] = (short)v->n_slices;
	h->dim[4] = (short)v->n_volumes;
	h->dim[5] = h->dim[6] = h->dim[7] = 1;
	h->datatype = (short)type;
	h->bitpix = (short)(nifti_out_width(type) * 8);
	h->pixdim[0] = 1;
	h->pixdim[1] = (float)m->spacing[1];
	h->pixdim[2] = (float)m->spacing[0];
	h->pixdim[3] = (float)v->gap;
	if (v->n_volumes > 1)
		h->pixdim[4] = (float)nifti_out_interval(v);
	h->vox_offset = OUT_HEADER;
	h->scl_slope = v->slopes_differ ? 1 : (float)v->images[0].slope;
	h->scl_inter = v->slopes_differ ? 0 : (float)v->images[0].inter;
	h->xyzt_units = NIFTI_UNITS_MM | NIFTI_UNITS_SEC;
	volume_affine(v, a);
	for (i = 0; i < 4; i++) {
		h->srow_x[i] = (float)a[0][i];
		h->srow_y[i] = (float)a[1][i];
		h->srow_z[i] = (float)a[2][i];
	}
	h->sform_code = NIFTI_XFORM_SCANNER_ANAT;
	nifti_out_quatern(v, (const double(*)[4])a, h);
	memcpy(h->magic, "n+1", 4);
}

/* Stored bits of one sample as the number they mean. */
static int64_t
nifti_out_sample(const struct volume_format *m, const uint8_t *p)
{
	uint32_t v = 0, i, w = m->bits_allocated / 8u;
	uint64_t one = 1, mask = (one << m->bits_stored) - 1, x;

	for (i = 0; i < w; i++)
		v |= (uint32_t)p[i] << (8 * i);
	x = (v >> (m->high_bit + 1u - m->bits_stored)) & mask;
	if (m->is_signed && (x >> (m->bits_stored - 1u)) != 0)
		return (int64_t)x - (int64_t)(mask + 1);
	return (int64_t)x;
}

static void
nifti_out_store(const struct nifti_out *o, const struct volume_image *im,
    int64_t sample, uint8_t *to)
{
	uint32_t bits = (uint32_t)sample;
	float scaled;
	size_t i;

	if (o->type == DT_FLOAT32) {
		scaled = (float)((double)sample * im->slope + im->inter);
		memcpy(&bits, &scaled, sizeof(bits));
	}
	for (i = 0; i < o->width; i++)
		to[i] = (uint8_t)(bits >> (8 * i));
}

static enum err
nifti_out_image(
    struct nifti_out *o, const struct volume_image *im, struct errmsg *em)
{
	const struct volume_format *m = &o->v->format;
	size_t w = m->bits_allocated / 8u, x;
	const uint8_t *from;
	uint32_t y;
	enum err e = decode_image(im->file, m, o->raw, o->raw_n, em);

	for (y = 0; y < m->rows && e == ERR_OK; y++) {
		from = o->raw + (size_t)(m->rows - 1 - y) * m->cols * w;
		for (x = 0; x < m->cols; x++)
			nifti_out_store(o, im,
			    nifti_out_sample(m, from + x * w),
			    o->row + x * o->width);
		e = nifti_out_put(
		    o, slice_of(o->row, m->cols * o->width), Z_NO_FLUSH);
	}
	return e;
}

static enum err
nifti_out_rooms(struct nifti_out *o)
{
	const struct volume_format *m = &o->v->format;

	o->raw_n = (size_t)m->rows * m->cols * (m->bits_allocated / 8u);
	o->raw = mem_new(o->raw_n);
	o->row = mem_array(m->cols, o->width);
	o->room = mem_new(OUT_STEP);
	if (o->raw == NULL || o->row == NULL || o->room == NULL)
		return ERR_NOMEM;
	/* 15 bits of window, 16: a gzip header, without time and name. */
	if (deflateInit2(&o->z, OUT_LEVEL, Z_DEFLATED, 15 + 16, 9,
		Z_DEFAULT_STRATEGY) != Z_OK)
		return ERR_NOMEM;
	return ERR_OK;
}

enum err
nifti_out_write(
    const struct volume *v, int fd, uint64_t *bytes, struct errmsg *em)
{
	struct nifti_out o = { .v = v, .fd = fd };
	uint8_t head[OUT_HEADER] = { 0 };
	struct nifti_1_header h;
	uint32_t i;
	enum err e;

	o.type = nifti_out_type(v);
	o.width = nifti_out_width(o.type);
	e = nifti_out_rooms(&o);
	if (e == ERR_OK) {
		nifti_out_header(v, o.type, &h);
		memcpy(head, &h, sizeof(h));
		e = nifti_out_put(&o, slice_of(head, sizeof(head)), Z_NO_FLUSH);
	}
	for (i = 0; i < v->n && e == ERR_OK; i++)
		e = nifti_out_image(&o, &v->images[i], em);
	if (e == ERR_OK)
		e = nifti_out_put(&o, (struct slice){ 0 }, Z_FINISH);
	*bytes = o.bytes;
	(void)deflateEnd(&o.z);
	mem_free(o.raw);
	mem_free(o.row);
	mem_free(o.room);
	if (e != ERR_OK && em->cause[0] == '\0')
		(void)errmsg_set(
		    em, e, "", "writing the volume: %s", err_text(e));
	return e;
}
