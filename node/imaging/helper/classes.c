/* node/imaging/helper/classes.c: an allow-list.  A class not listed as plain
 * is risky: unknown classes are never released by themselves. */
#include "node/imaging/helper/classes.h"

#include "node/imaging/helper/content.h"

struct class_row {
	const char *uid; /* a trailing '.' matches every class below */
	enum iod_family family;
	const char *risk; /* NULL: plain image */
};

#define S "1.2.840.10008.5.1.4.1.1."
static const struct class_row rows[] = {
	{ S "2", FAM_CLASSIC, NULL },      /* CT */
	{ S "2.1", FAM_ENHANCED, NULL },   /* Enhanced CT */
	{ S "2.2", FAM_ENHANCED, NULL },   /* Legacy Converted CT */
	{ S "4", FAM_CLASSIC, NULL },      /* MR */
	{ S "4.1", FAM_ENHANCED, NULL },   /* Enhanced MR */
	{ S "4.4", FAM_ENHANCED, NULL },   /* Legacy Converted MR */
	{ S "128", FAM_PET, NULL },        /* PET */
	{ S "128.1", FAM_ENHANCED, NULL }, /* Legacy Converted PET */
	{ S "130", FAM_ENHANCED, NULL },   /* Enhanced PET */
	{ S "20", FAM_CLASSIC, NULL },     /* NM */
	{ S "30", FAM_ENHANCED, NULL },    /* Parametric Map */
	{ S "66.4", FAM_ENHANCED, NULL },  /* Segmentation */
	{ S "66.7", FAM_ENHANCED, NULL },  /* Label Map Segmentation */
	{ S "66", FAM_OTHER, "raw data" },
	{ S "66.", FAM_OTHER, "spatial objects" },
	{ S "7", FAM_CLASSIC, "secondary capture" },
	{ S "7.", FAM_CLASSIC, "secondary capture" },
	{ S "3.", FAM_CLASSIC, "ultrasound" },
	{ S "6.", FAM_CLASSIC, "ultrasound" },
	{ S "1", FAM_CLASSIC, "radiograph: scanned labels" },
	{ S "1.", FAM_CLASSIC, "radiograph: scanned labels" },
	{ S "12.", FAM_CLASSIC, "angiography or fluoroscopy" },
	{ S "13.1.", FAM_ENHANCED, "breast or 3D X-ray" },
	{ S "9.", FAM_OTHER, "waveform" },
	{ S "11.", FAM_OTHER, "presentation state" },
	{ S "77.1.", FAM_ENHANCED, "photograph or slide" },
	{ S "88.59", FAM_SR, "key object selection" },
	{ S "88.", FAM_SR, "structured report" },
	{ S "104.", FAM_OTHER, "encapsulated document" },
	{ S "481.", FAM_RT, "radiotherapy object" },
	{ S "4.2", FAM_ENHANCED, "spectroscopy: no image" },
	{ S "4.3", FAM_ENHANCED, "colour image" },
	{ "1.2.840.10008.5.1.4.34.", FAM_RT, "radiotherapy object" },
	{ "1.2.840.10008.1.3.10", FAM_OTHER, "media directory" },
};
#undef S

static const struct class_row *
class_of(const struct dcm_file *f)
{
	char uid[IMG_UID_MAX + 1];

	dcm_text(f, TAG_SOP_CLASS, uid, sizeof(uid));
	if (uid[0] == '\0')
		dcm_text(f, TAG_META_SOP_CLASS, uid, sizeof(uid));
	if (!content_is_uid(slice_str(uid)))
		return NULL;
	for (size_t k = 0; k < sizeof(rows) / sizeof(rows[0]); k++) {
		size_t n = strlen(rows[k].uid);

		if (rows[k].uid[n - 1] == '.'
			? strncmp(uid, rows[k].uid, n) == 0
			: strcmp(uid, rows[k].uid) == 0)
			return &rows[k];
	}
	return NULL;
}

enum iod_family
classes_family(const struct dcm_file *f)
{
	const struct class_row *c = class_of(f);

	return c == NULL ? FAM_OTHER : c->family;
}

static const char *
risk_class(const struct dcm_file *f)
{
	const struct class_row *c = class_of(f);

	return c == NULL ? "unknown SOP class" : c->risk;
}

static const char *
risk_burned(const struct dcm_file *f)
{
	return dcm_is_cs(f, 0x00280301, 0, "YES") ? "burned-in annotation"
						  : NULL;
}

static const char *
risk_secondary(const struct dcm_file *f)
{
	if (dcm_is_cs(f, 0x00080008, 0, "DERIVED") &&
	    dcm_is_cs(f, 0x00080008, 1, "SECONDARY"))
		return "derived secondary image";
	return NULL;
}

/* CT scouts often carry a name or a label in the pixels; the writer that
 * says they do not is believed. */
static const char *
risk_scout(const struct dcm_file *f)
{
	if (dcm_is_cs(f, TAG_MODALITY, 0, "CT") &&
	    dcm_is_cs(f, 0x00080008, 2, "LOCALIZER") &&
	    !dcm_is_cs(f, 0x00280301, 0, "NO"))
		return "scout: text may be burned in";
	return NULL;
}

/* Dose sheets, protocol pages and screenshots inside CT or MR series. */
static const char *
risk_screen(const struct dcm_file *f)
{
	static const char *const words[] = { "SCREEN SAVE", "SCREENSAVE",
		"DOSE_INFO", "DOSE", "PROTOCOL", "REPORT", "PASTED",
		"CSA REPORT" };
	struct slice s;

	for (uint32_t k = 2; k < 8; k++) {
		if (!dcm_nth(dcm_value(f, dcm_find(f, 0x00080008)), k, &s))
			break;
		for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
			if (slice_eq(s, slice_str(words[i])))
				return "screen or dose page";
	}
	if (dcm_find(f, 0x00080064) != DCM_NONE &&
	    dcm_trimmed(f, dcm_find(f, 0x00080064)).n > 0)
		return "secondary capture (conversion type)";
	return NULL;
}

static const char *
risk_colour(const struct dcm_file *f)
{
	if (f->pixels != DCM_NONE && dcm_u16(f, 0x00280002, 1) > 1)
		return "colour pixels";
	return NULL;
}

static const char *
risk_no_image(const struct dcm_file *f)
{
	if (dcm_find(f, 0x00420011) != DCM_NONE)
		return "encapsulated document";
	return f->pixels == DCM_NONE ? "no pixel data" : NULL;
}

/* Overlay planes that live in unused bits of the pixel data. */
static const char *
risk_overlay_bits(const struct dcm_file *f)
{
	for (uint32_t i = f->first; i < f->n; i = f->e[i].skip) {
		uint32_t tag = f->e[i].tag;
		uint32_t group = tag & 0xFFFF0000u;

		if (tag >> 24 != 0x60 || (tag & 0xFFFFu) != 0x0102)
			continue;
		if (dcm_find(f, group | 0x3000) == DCM_NONE &&
		    dcm_u16(f, group | 0x0100, 1) > 1)
			return "overlay in unused bits of the pixel data";
	}
	return NULL;
}

const char *
classes_risk(const struct dcm_file *f, uint32_t k)
{
	switch (k) {
	case 0: return risk_class(f);
	case 1: return risk_burned(f);
	case 2: return risk_secondary(f);
	case 3: return risk_screen(f);
	case 4: return risk_colour(f);
	case 5: return risk_no_image(f);
	case 6: return risk_scout(f);
	case 7: return risk_overlay_bits(f);
	default: return NULL;
	}
}
