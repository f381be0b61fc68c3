/* node/imaging/helper/volume.c: from single images to one grid.
 *
 * Order comes from ImagePositionPatient alone, never from InstanceNumber or
 * SliceLocation.  The step between slices is the difference of positions, so
 * a gantry tilt shows as shear: the affine then is sheared too (an sform can
 * say that), no voxel is resampled, and both signs of tilt come out right.
 * Spacing that is not even cannot be said by an affine and is refused, as
 * are depths that repeat without a time or b-value that orders them. */
#include "node/imaging/helper/volume.h"

#include <math.h>

#include "store/base/mem.h"
#include "store/base/num.h"

#define TAG_IMAGE_TYPE 0x00080008u
#define TAG_ACQUISITION_TIME 0x00080032u
#define TAG_SLICE_THICKNESS 0x00180050u
#define TAG_ECHO_TIME 0x00180081u
#define TAG_SLICE_SPACING 0x00180088u
#define TAG_TRIGGER_TIME 0x00181060u
#define TAG_B_VALUE 0x00189087u
#define TAG_ACQUISITION_NUMBER 0x00200012u
#define TAG_POSITION 0x00200032u
#define TAG_ORIENTATION 0x00200037u
#define TAG_INSTANCE_NUMBER 0x00200013u
#define TAG_TEMPORAL_POSITION 0x00200100u
#define TAG_TEMPORAL_POSITIONS 0x00200105u
#define TAG_SAMPLES 0x00280002u
#define TAG_PHOTOMETRIC 0x00280004u
#define TAG_FRAMES 0x00280008u
#define TAG_ROWS 0x00280010u
#define TAG_COLUMNS 0x00280011u
#define TAG_PIXEL_SPACING 0x00280030u
#define TAG_BITS_ALLOCATED 0x00280100u
#define TAG_BITS_STORED 0x00280101u
#define TAG_HIGH_BIT 0x00280102u
#define TAG_SIGNED 0x00280103u
#define TAG_INTERCEPT 0x00281052u
#define TAG_SLOPE 0x00281053u

#define VOLUME_SAME_MM 0.005  /* depths this close are one position */
#define VOLUME_PLANE_MM 0.05  /* drift in the plane at one depth */
#define VOLUME_EVEN_PART 0.01 /* of the spacing */
#define VOLUME_EVEN_MM 0.01
#define VOLUME_SHEAR_PART 1e-3 /* of the step */
#define VOLUME_AXES_TOLERANCE 1e-3
#define VOLUME_GROW 64u

static enum err
volume_refuse(struct errmsg *em, const char *why)
{
	return errmsg_set(em, ERR_UNSUPPORTED, "", "%s", why);
}

static double
dot(const double *a, const double *b)
{
	return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

static double
distance(const double *a, const double *b)
{
	double d[3] = { a[0] - b[0], a[1] - b[1], a[2] - b[2] };

	return sqrt(dot(d, d));
}

void
volume_init(struct volume *v)
{
	*v = (struct volume){ .key = -1 };
}

void
volume_fini(struct volume *v)
{
	mem_free(v->images);
	volume_init(v);
}

double
volume_number(const struct dcm_file *f, uint32_t tag, uint32_t k)
{
	struct slice one;
	double out;

	if (!dcm_nth(dcm_trimmed(f, dcm_find(f, tag)), k, &one) || one.n == 0)
		return NAN;
	if (one.n > 1 && one.p[0] == '+') {
		one.p++;
		one.n--;
	}
	return num_f64(one, &out) == ERR_OK ? out : (double)NAN;
}

/* FD, little endian on every machine we build for; big endian swapped. */
static double
volume_double(const struct dcm_file *f, uint32_t tag)
{
	struct slice s = dcm_value(f, dcm_find(f, tag));
	uint8_t b[8];
	double out;
	size_t i;

	if (s.n < sizeof(b))
		return NAN;
	for (i = 0; i < sizeof(b); i++)
		b[i] = f->syntax == SYNTAX_BIG ? s.p[7 - i] : s.p[i];
	memcpy(&out, b, sizeof(out));
	return isfinite(out) ? out : (double)NAN;
}

/* TM "hhmmss.ffffff" as seconds of the day. */
static double
volume_time(const struct dcm_file *f, uint32_t tag)
{
	struct slice s = dcm_trimmed(f, dcm_find(f, tag));
	uint64_t h, m;
	double sec;

	if (s.n < 6 || num_u64(slice_of(s.p, 2), 0, 23, &h) != ERR_OK ||
	    num_u64(slice_of(s.p + 2, 2), 0, 59, &m) != ERR_OK ||
	    num_f64(slice_of(s.p + 4, s.n - 4), &sec) != ERR_OK)
		return NAN;
	return (double)(h * 3600 + m * 60) + sec;
}

static enum err
volume_vector(const struct dcm_file *f, uint32_t tag, double *out, uint32_t n)
{
	uint32_t i;

	for (i = 0; i < n; i++) {
		out[i] = volume_number(f, tag, i);
		if (isnan(out[i]))
			return ERR_MALFORMED;
	}
	return ERR_OK;
}

/* What we convert at all: one grey frame with its pixels. */
static enum err
volume_check_kind(const struct dcm_file *f, struct errmsg *em)
{
	uint32_t i;

	if (f->syntax == SYNTAX_OPAQUE)
		return volume_refuse(
		    em, "dataset not readable in its transfer syntax");
	if (f->pixels == DCM_NONE)
		return volume_refuse(em, "an object without pixel data");
	if (dcm_is(f, TAG_FRAMES, 1) > 1)
		return volume_refuse(
		    em, "multi-frame objects are not converted yet");
	if (dcm_u16(f, TAG_SAMPLES, 1) != 1)
		return volume_refuse(em, "colour images are not converted");
	if (!dcm_is_cs(f, TAG_PHOTOMETRIC, 0, "MONOCHROME1") &&
	    !dcm_is_cs(f, TAG_PHOTOMETRIC, 0, "MONOCHROME2"))
		return volume_refuse(em, "not a grey scale image");
	for (i = 0; i < 16; i++) {
		if (dcm_is_cs(f, TAG_IMAGE_TYPE, i, "MOSAIC"))
			return volume_refuse(
			    em, "Siemens mosaic images are not converted yet");
	}
	return ERR_OK;
}

static enum err
volume_check_axes(const struct volume_format *m, struct errmsg *em)
{
	const double *r = m->axes, *c = m->axes + 3;

	if (fabs(dot(r, r) - 1) > VOLUME_AXES_TOLERANCE ||
	    fabs(dot(c, c) - 1) > VOLUME_AXES_TOLERANCE ||
	    fabs(dot(r, c)) > VOLUME_AXES_TOLERANCE)
		return volume_refuse(
		    em, "ImageOrientationPatient is not two unit axes");
	return ERR_OK;
}

static enum err
volume_check_pixels(const struct volume_format *m, struct errmsg *em)
{
	if (m->rows == 0 || m->cols == 0 || m->rows > INT16_MAX ||
	    m->cols > INT16_MAX)
		return volume_refuse(em, "rows or columns out of range");
	if (m->bits_allocated != 8 && m->bits_allocated != 16 &&
	    m->bits_allocated != 32)
		return volume_refuse(em, "bits allocated is not 8, 16 or 32");
	if (m->bits_stored == 0 || m->bits_stored > m->bits_allocated ||
	    m->high_bit >= m->bits_allocated ||
	    m->high_bit + 1 < m->bits_stored)
		return volume_refuse(em, "bits stored and high bit disagree");
	return ERR_OK;
}

static enum err
volume_read_format(
    const struct dcm_file *f, struct volume_format *m, struct errmsg *em)
{
	struct slice third = { 0 };

	memset(m, 0, sizeof(*m)); /* padding too: images are compared */
	m->rows = dcm_u16(f, TAG_ROWS, 0);
	m->cols = dcm_u16(f, TAG_COLUMNS, 0);
	m->bits_allocated = dcm_u16(f, TAG_BITS_ALLOCATED, 0);
	m->bits_stored = dcm_u16(f, TAG_BITS_STORED, m->bits_allocated);
	m->high_bit = dcm_u16(f, TAG_HIGH_BIT, (uint16_t)(m->bits_stored - 1u));
	m->is_signed = dcm_u16(f, TAG_SIGNED, 0) == 1;
	m->echo_ms = volume_number(f, TAG_ECHO_TIME, 0);
	if (dcm_nth(dcm_trimmed(f, dcm_find(f, TAG_IMAGE_TYPE)), 2, &third) &&
	    third.n < sizeof(m->component) && third.n > 0)
		memcpy(m->component, third.p, third.n);
	if (volume_vector(f, TAG_ORIENTATION, m->axes, 6) != ERR_OK)
		return volume_refuse(em, "no ImageOrientationPatient");
	if (volume_vector(f, TAG_PIXEL_SPACING, m->spacing, 2) != ERR_OK ||
	    m->spacing[0] <= 0 || m->spacing[1] <= 0)
		return volume_refuse(em, "no PixelSpacing");
	if (volume_check_axes(m, em) != ERR_OK)
		return ERR_UNSUPPORTED;
	return volume_check_pixels(m, em);
}

static enum err
volume_read_image(
    const struct dcm_file *f, struct volume_image *im, struct errmsg *em)
{
	im->slope = volume_number(f, TAG_SLOPE, 0);
	im->inter = volume_number(f, TAG_INTERCEPT, 0);
	if (isnan(im->slope))
		im->slope = 1;
	if (isnan(im->inter))
		im->inter = 0;
	if (im->slope == 0)
		return volume_refuse(em, "RescaleSlope is zero");
	dcm_text(f, TAG_SOP_UID, im->sop_uid, sizeof(im->sop_uid));
	if (!msg_uid_ok(im->sop_uid))
		return volume_refuse(em, "an image without SOPInstanceUID");
	if (volume_vector(f, TAG_POSITION, im->origin, 3) != ERR_OK)
		return volume_refuse(em, "no ImagePositionPatient");
	im->key[VOLUME_KEY_TEMPORAL] =
	    volume_number(f, TAG_TEMPORAL_POSITION, 0);
	im->key[VOLUME_KEY_BVALUE] = volume_double(f, TAG_B_VALUE);
	im->key[VOLUME_KEY_ACQUISITION] =
	    volume_number(f, TAG_ACQUISITION_NUMBER, 0);
	im->key[VOLUME_KEY_TRIGGER] = volume_number(f, TAG_TRIGGER_TIME, 0);
	im->key[VOLUME_KEY_TIME] = volume_time(f, TAG_ACQUISITION_TIME);
	im->key[VOLUME_KEY_INSTANCE] = volume_number(f, TAG_INSTANCE_NUMBER, 0);
	im->temporal_positions = dcm_is(f, TAG_TEMPORAL_POSITIONS, 0);
	return ERR_OK;
}

static bool
volume_close(const double *a, const double *b, uint32_t n, double tolerance)
{
	uint32_t i;

	for (i = 0; i < n; i++) {
		if (fabs(a[i] - b[i]) > tolerance)
			return false;
	}
	return true;
}

static bool
volume_same_echo(double a, double b)
{
	return (isnan(a) && isnan(b)) || fabs(a - b) < 1e-3;
}

static enum err
volume_compare(const struct volume_format *a, const struct volume_format *b,
    struct errmsg *em)
{
	if (a->rows != b->rows || a->cols != b->cols)
		return volume_refuse(em, "images of different size");
	if (a->bits_allocated != b->bits_allocated ||
	    a->bits_stored != b->bits_stored || a->high_bit != b->high_bit ||
	    a->is_signed != b->is_signed)
		return volume_refuse(em, "images of different pixel format");
	if (!volume_close(a->axes, b->axes, 6, VOLUME_AXES_TOLERANCE))
		return volume_refuse(em, "images of different orientation");
	if (!volume_close(a->spacing, b->spacing, 2, 1e-4))
		return volume_refuse(em, "images of different pixel spacing");
	if (!volume_same_echo(a->echo_ms, b->echo_ms))
		return volume_refuse(em, "the series mixes echo times");
	if (strcmp(a->component, b->component) != 0)
		return volume_refuse(
		    em, "the series mixes image types (ImageType value 3)");
	return ERR_OK;
}

static enum err
volume_room(struct volume *v)
{
	uint32_t cap = v->cap == 0 ? VOLUME_GROW : v->cap * 2;
	struct volume_image *p;

	if (v->n < v->cap)
		return ERR_OK;
	if (v->n >= MSG_SERIES_MAX)
		return ERR_LIMIT;
	p = mem_grow(v->images, cap, sizeof(*p));
	if (p == NULL)
		return ERR_NOMEM;
	v->images = p;
	v->cap = cap;
	return ERR_OK;
}

/* A single slice has no neighbour to measure from. */
static void
volume_single_gap(struct volume *v, const struct dcm_file *f)
{
	double gap = volume_number(f, TAG_SLICE_SPACING, 0);

	if (isnan(gap) || gap <= 0)
		gap = volume_number(f, TAG_SLICE_THICKNESS, 0);
	v->gap = gap;
}

enum err
volume_add(struct volume *v, struct slice file, struct errmsg *em)
{
	struct volume_image im = { .file = file };
	struct volume_format m;
	struct dcm_file *f = NULL;
	enum err e = dcm_open(file, &f, em);

	if (e == ERR_OK)
		e = volume_check_kind(f, em);
	if (e == ERR_OK)
		e = volume_read_format(f, &m, em);
	if (e == ERR_OK)
		e = volume_read_image(f, &im, em);
	if (e == ERR_OK && v->n > 0)
		e = volume_compare(&v->format, &m, em);
	if (e == ERR_OK)
		e = volume_room(v);
	if (e == ERR_OK) {
		if (v->n == 0) {
			v->format = m;
			volume_single_gap(v, f);
		}
		v->images[v->n++] = im;
	}
	dcm_close(f);
	return e;
}

static int
volume_by_sort(const void *pa, const void *pb)
{
	const struct volume_image *a = pa, *b = pb;

	if (a->sort != b->sort)
		return a->sort < b->sort ? -1 : 1;
	return strcmp(a->sop_uid, b->sop_uid); /* same input, same order */
}

static void
volume_measure(struct volume *v)
{
	const double *r = v->format.axes, *c = r + 3;
	uint32_t i;

	v->normal[0] = r[1] * c[2] - r[2] * c[1];
	v->normal[1] = r[2] * c[0] - r[0] * c[2];
	v->normal[2] = r[0] * c[1] - r[1] * c[0];
	for (i = 0; i < v->n; i++) {
		v->images[i].depth = dot(v->images[i].origin, v->normal);
		v->images[i].sort = v->images[i].depth;
		if (v->images[i].slope != v->images[0].slope ||
		    v->images[i].inter != v->images[0].inter)
			v->slopes_differ = true;
	}
	qsort(v->images, v->n, sizeof(*v->images), volume_by_sort);
}

/* How many images share the first depth; every depth must have as many. */
static enum err
volume_count(struct volume *v, struct errmsg *em)
{
	const struct volume_image *im = v->images;
	uint32_t i, run = 0;

	v->n_slices = 1;
	v->n_volumes = 0;
	for (i = 0; i < v->n; i++) {
		if (i > 0 && im[i].depth - im[i - 1].depth > VOLUME_SAME_MM) {
			if (v->n_volumes == 0)
				v->n_volumes = run;
			if (run != v->n_volumes)
				break;
			v->n_slices++;
			run = 0;
		}
		run++;
	}
	if (v->n_volumes == 0)
		v->n_volumes = run;
	if (i < v->n || run != v->n_volumes)
		return volume_refuse(em,
		    "positions are not repeated evenly: a partial volume "
		    "or a duplicate");
	return ERR_OK;
}

static enum err
volume_check_plane(const struct volume *v, struct errmsg *em)
{
	const struct volume_image *im = v->images;
	uint32_t s, t;

	for (s = 0; s < v->n_slices; s++, im += v->n_volumes) {
		for (t = 1; t < v->n_volumes; t++) {
			if (distance(im[0].origin, im[t].origin) >
			    VOLUME_PLANE_MM)
				return volume_refuse(
				    em, "images of one depth lie side by side");
		}
	}
	return ERR_OK;
}

/* Does key k put the images of each depth in one and the same order, volume
 * after volume without overlap?  Leaves each depth sorted by it. */
static bool
volume_try_key(struct volume *v, int k)
{
	uint32_t s, t, per = v->n_volumes;
	struct volume_image *im;
	double last = -INFINITY, low, high;

	for (s = 0; s < v->n; s++) {
		v->images[s].sort = v->images[s].key[k];
		if (isnan(v->images[s].sort))
			return false;
	}
	for (s = 0; s < v->n_slices; s++)
		qsort(v->images + (size_t)s * per, per, sizeof(*im),
		    volume_by_sort);
	for (t = 0; t < per; t++) {
		low = INFINITY;
		high = -INFINITY;
		for (s = 0; s < v->n_slices; s++) {
			im = &v->images[s * per + t];
			low = fmin(low, im->sort);
			high = fmax(high, im->sort);
		}
		if (low <= last)
			return false;
		last = high;
	}
	return true;
}

/* InstanceNumber orders volumes only where the series itself says how many
 * time points it has, and has as many; slices it never orders. */
static bool
volume_may_use(const struct volume *v, int k)
{
	uint32_t i;

	if (k != VOLUME_KEY_INSTANCE)
		return true;
	for (i = 0; i < v->n; i++) {
		if (v->images[i].temporal_positions != v->n_volumes)
			return false;
	}
	return true;
}

/* Depth by depth becomes volume by volume. */
static enum err
volume_transpose(struct volume *v)
{
	struct volume_image *to = mem_array(v->n, sizeof(*to));
	uint32_t s, t;

	if (to == NULL)
		return ERR_NOMEM;
	for (t = 0; t < v->n_volumes; t++) {
		for (s = 0; s < v->n_slices; s++)
			to[t * v->n_slices + s] =
			    v->images[s * v->n_volumes + t];
	}
	mem_free(v->images);
	v->images = to;
	v->cap = v->n;
	return ERR_OK;
}

static enum err
volume_split(struct volume *v, struct errmsg *em)
{
	int k;

	if (v->n_volumes == 1)
		return ERR_OK;
	if (volume_check_plane(v, em) != ERR_OK)
		return ERR_UNSUPPORTED;
	for (k = 0; k < VOLUME_KEYS; k++) {
		if (volume_may_use(v, k) && volume_try_key(v, k)) {
			v->key = k;
			return volume_transpose(v);
		}
	}
	return volume_refuse(
	    em, "several images at each position and nothing that orders them");
}

/* One step for all slices of the first volume, or a refusal. */
static enum err
volume_space(struct volume *v, struct errmsg *em)
{
	const struct volume_image *im = v->images;
	uint32_t i, last = v->n_slices - 1;
	double want[3], off, limit, in_plane;

	if (last == 0) {
		if (isnan(v->gap) || v->gap <= 0)
			return volume_refuse(
			    em, "one slice without SliceThickness");
		for (i = 0; i < 3; i++)
			v->step[i] = v->normal[i] * v->gap;
		return ERR_OK;
	}
	for (i = 0; i < 3; i++)
		v->step[i] =
		    (im[last].origin[i] - im[0].origin[i]) / (double)last;
	v->gap = dot(v->step, v->normal);
	limit = fmax(VOLUME_EVEN_MM, VOLUME_EVEN_PART * v->gap);
	for (i = 1; i < last; i++) {
		want[0] = im[0].origin[0] + i * v->step[0];
		want[1] = im[0].origin[1] + i * v->step[1];
		want[2] = im[0].origin[2] + i * v->step[2];
		off = distance(want, im[i].origin);
		if (off > limit)
			return volume_refuse(
			    em, "slices are not evenly spaced along one line");
	}
	in_plane = sqrt(fmax(0, dot(v->step, v->step) - v->gap * v->gap));
	v->sheared = in_plane > VOLUME_SHEAR_PART * v->gap;
	/* Sign: a positive tilt leans towards the image's own rows. */
	if (v->sheared)
		v->tilt_deg = atan2(dot(v->step, v->format.axes + 3), v->gap) *
			      180.0 / acos(-1.0);
	return ERR_OK;
}

enum err
volume_build(struct volume *v, struct errmsg *em)
{
	enum err e;

	if (v->n == 0)
		return volume_refuse(em, "no images");
	volume_measure(v);
	e = volume_count(v, em);
	if (e == ERR_OK)
		e = volume_split(v, em);
	if (e == ERR_OK)
		e = volume_space(v, em);
	if (e == ERR_OK &&
	    (v->n_slices > INT16_MAX || v->n_volumes > INT16_MAX))
		e = volume_refuse(em, "more slices than NIfTI-1 can hold");
	return e;
}

/* LPS -> RAS negates x and y.  Rows are stored bottom up, so the second
 * column is negated and the origin moves to the last row. */
void
volume_affine(const struct volume *v, double out[3][4])
{
	const struct volume_format *m = &v->format;
	double sign, row, col;
	uint32_t i;

	for (i = 0; i < 3; i++) {
		sign = i < 2 ? -1 : 1;
		col = m->axes[i] * m->spacing[1];
		row = m->axes[3 + i] * m->spacing[0];
		out[i][0] = sign * col;
		out[i][1] = -sign * row;
		out[i][2] = sign * v->step[i];
		out[i][3] = sign * (v->images[0].origin[i] +
				       row * (double)(m->rows - 1));
	}
}
