/* node/imaging/helper/volume.h: the geometry of one series (domain.md 21).
 *
 * Files are added one by one, then volume_build() puts them in order: by
 * depth along the slice normal, and by time where depths repeat.  Refusals
 * are ERR_UNSUPPORTED with the reason in em, fit for a person: no patient
 * data in it.  Borrows the files' bytes. */
#ifndef PSC_HELPER_VOLUME_H
#define PSC_HELPER_VOLUME_H

#include "node/imaging/helper/walk.h"
#include "node/imaging/msg.h"

/* What may tell images at one position apart, best first. */
enum volume_key {
	VOLUME_KEY_TEMPORAL,    /* (0020,0100) */
	VOLUME_KEY_BVALUE,      /* (0018,9087) */
	VOLUME_KEY_ACQUISITION, /* (0020,0012) */
	VOLUME_KEY_TRIGGER,     /* (0018,1060) */
	VOLUME_KEY_TIME,        /* (0008,0032) */
	VOLUME_KEY_INSTANCE,    /* (0020,0013), see volume_may_use() */
	VOLUME_KEYS,
};

struct volume_image {
	struct slice file;
	double origin[3]; /* ImagePositionPatient, LPS, mm */
	double depth;     /* along the normal */
	double slope;
	double inter;
	double key[VOLUME_KEYS]; /* NaN: absent */
	double sort;
	uint32_t temporal_positions; /* (0020,0105), 0: not said */
	char sop_uid[IMG_UID_MAX + 1];
};

/* Must be the same in every image. */
struct volume_format {
	uint32_t rows;
	uint32_t cols;
	uint16_t bits_allocated;
	uint16_t bits_stored;
	uint16_t high_bit;
	bool is_signed;
	double spacing[2];              /* between rows, between columns, mm */
	double axes[6];                 /* ImageOrientationPatient */
	double echo_ms;                 /* NaN: absent */
	char component[IMG_AE_MAX + 1]; /* ImageType value 3 */
};

struct volume {
	struct volume_image *images; /* built: volume by volume, by depth */
	uint32_t n;
	uint32_t cap;
	struct volume_format format;
	double normal[3];
	uint32_t n_slices;
	uint32_t n_volumes;
	int key;        /* enum volume_key of a 4D volume, or -1 */
	double step[3]; /* from slice to slice, LPS mm, shear included */
	double gap;     /* perpendicular part of step */
	bool sheared;
	double tilt_deg;
	bool slopes_differ;
};

void volume_init(struct volume *v);
void volume_fini(struct volume *v);
enum err volume_add(
    struct volume *v, struct slice file, struct errmsg *em) PSC_MUST_USE;
enum err volume_build(struct volume *v, struct errmsg *em) PSC_MUST_USE;
/* Voxel (column, row counted from the bottom, slice) to RAS mm, 3 rows. */
void volume_affine(const struct volume *v, double out[3][4]);

/* k-th value of a top-level DS or IS; NaN when absent or ill-formed. */
double volume_number(const struct dcm_file *f, uint32_t tag, uint32_t k);

#endif
