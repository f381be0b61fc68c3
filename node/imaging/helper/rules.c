/* node/imaging/helper/rules.c: PS3.15 table E.1-1, the choice its X/Z/D
 * cells leave to the IOD type, and the keep set of domain.md 1.
 *
 * What table E.1-1 does not name is kept only when the standard knows it, it
 * is not retired, and its VR can't hold free text; text and opaque bytes
 * need a reviewed line in node/deid/tables/keep_text.tsv. */
#include "node/imaging/helper/rules.h"
#include "node/imaging/helper/content.h"
#include "node/imaging/helper/csa.h"

void
rules_profile(const struct deid_table *table, struct rules *r)
{
	uint32_t o = table->options;

	r->patient = (o & TABLE_OPT_PATIENT) != 0;
	r->descriptors = (o & TABLE_OPT_DESCRIPTORS) != 0;
	r->safe_private = (o & TABLE_OPT_PRIVATE) != 0;
	r->dates = (o & TABLE_OPT_DATES) != 0;
	r->full_dates = (o & TABLE_OPT_FULL_DATES) != 0;
	r->device = (o & TABLE_OPT_DEVICE) != 0;
	r->institution = (o & TABLE_OPT_INST) != 0;
	r->uids = (o & TABLE_OPT_UIDS) != 0;
	r->table = table;
}

const struct table_rule *
rules_set(const struct rules *r, uint32_t from)
{
	for (uint32_t k = 0; k < r->table->n_rules; k++)
		if (r->table->rules[k].tag >= from &&
		    r->table->rules[k].action == TABLE_SET)
			return &r->table->rules[k];
	return NULL;
}

const char *
rules_value(const struct rules *r, uint32_t tag)
{
	const struct table_rule *q = table_find(r->table, tag);

	return q != NULL ? r->table->texts[q->text] : "";
}

static bool
in_list(uint32_t tag, const uint32_t *list, size_t n)
{
	for (size_t k = 0; k < n; k++)
		if (list[k] == tag)
			return true;
	return false;
}
#define IN(tag, list) in_list((tag), (list), sizeof(list) / sizeof((list)[0]))

/* X/Z: Z where some module says type 2, else X. */
static enum fate
choose_xz(const struct rules *r, uint32_t tag)
{
	static const uint32_t type2[] = { 0x00102203, 0x00400555, 0x22000002,
		0x22000005, 0x300A00B2, 0x300E0008, 0x30080105 };
	static const uint32_t pet2[] = { 0x00080022, 0x00080032 };

	if (IN(tag, type2) || (r->family == FAM_PET && IN(tag, pet2)))
		return FATE_EMPTY;
	return FATE_DROP;
}

/* X/D: type 1 in radiotherapy records and structured reports only. */
static enum fate
choose_xd(const struct rules *r, uint32_t tag)
{
	static const uint32_t rt1[] = { 0x30080054, 0x30080056, 0x30080250,
		0x30080251, 0x300A0006, 0x300A0007, 0x3010004C, 0x3010004D,
		0x30100056, 0x30100077 };
	/* General Series: type 3; Enhanced RT Series: type 1. */
	static const uint32_t rt_series1[] = { 0x00080021, 0x00080031 };

	if (r->family == FAM_RT && (IN(tag, rt1) || IN(tag, rt_series1)))
		return FATE_DUMMY;
	if (r->family == FAM_SR && tag == 0x0040A032)
		return FATE_DUMMY;
	return FATE_DROP;
}

/* X/Z/D: outside the classic image modules two of them are type 1 or 1C;
 * Operators' Name is type 2 in radiotherapy. */
static enum fate
choose_xzd(const struct rules *r, uint32_t tag)
{
	bool classic = r->family == FAM_CLASSIC || r->family == FAM_PET;

	if (tag == 0x0008002A && !classic)
		return FATE_DUMMY;
	if (tag == 0x00181000 &&
	    (r->family == FAM_ENHANCED || r->family == FAM_OTHER))
		return FATE_DUMMY;
	if (tag == 0x00081070 && r->family == FAM_RT)
		return FATE_EMPTY;
	if (tag == 0x00081111 && r->family == FAM_SR)
		return FATE_EMPTY;
	return FATE_DROP;
}

/* Z/D: Content Date and Time are type 1 where there are no General Image
 * attributes; nested and other ones are type 2. */
static enum fate
choose_zd(const struct rules *r, uint32_t tag)
{
	bool classic = r->family == FAM_CLASSIC || r->family == FAM_PET;

	if ((tag == 0x00080023 || tag == 0x00080033) && !classic)
		return FATE_DUMMY;
	if (tag == 0x00189919)
		return FATE_DUMMY;
	return FATE_EMPTY;
}

/* X/Z/U*: references are kept with their UIDs replaced; Source Image
 * Sequence outside a derivation is type 3. */
static enum fate
choose_xzu(const struct rules *r, const struct dcm_elem *q)
{
	if (q->tag == 0x00082112 && q->depth == 0 && r->family != FAM_ENHANCED)
		return FATE_DROP;
	return FATE_KEEP;
}

/* What the table leaves alone. */
static enum fate
unnamed_fate(const struct dict_row *d, const struct dcm_elem *q)
{
	enum dcm_vr vr = (enum dcm_vr)d->vr;

	if ((d->flags & DICT_DROP) != 0)
		return FATE_DROP;
	if ((d->flags & DICT_EMPTY) != 0)
		return FATE_EMPTY;
	if ((d->flags & DICT_DUMMY) != 0)
		return FATE_DUMMY;
	if (vr == VR_UI)
		return FATE_UID;
	if ((d->flags & DICT_KEEP) != 0) {
		if (vr == VR_LO || vr == VR_SH || vr == VR_ST || vr == VR_LT ||
		    vr == VR_UC || vr == VR_UT)
			return FATE_TEXT;
		return FATE_KEEP;
	}
	switch (vr) {
	case VR_AT:
	case VR_CS:
	case VR_DS:
	case VR_FD:
	case VR_FL:
	case VR_IS:
	case VR_OD:
	case VR_OF:
	case VR_OL:
	case VR_OV:
	case VR_SL:
	case VR_SQ:
	case VR_SS:
	case VR_SV:
	case VR_UL:
	case VR_US:
	case VR_UV: break;
	case VR_AE:
	case VR_AS:
	case VR_DA:
	case VR_DT:
	case VR_LO:
	case VR_LT:
	case VR_OB:
	case VR_OW:
	case VR_PN:
	case VR_SH:
	case VR_ST:
	case VR_TM:
	case VR_UC:
	case VR_UI:
	case VR_UN:
	case VR_UR:
	case VR_UT:
	case VR_NONE:
	case VR_COUNT: return FATE_DROP;
	}
	/* A sender that puts text where the standard has a number or a code
	 * gets no pass. */
	return q->vr == vr || (d->flags & DICT_XS) != 0 ? FATE_KEEP : FATE_DROP;
}

/* Descriptions kept under 113105, reduced; of the other attributes the
 * option lets stay cleaned, none does. */
static const uint32_t descriptions[] = { 0x00081030, 0x0008103E, 0x00181030,
	0x00400254 };

/* What 113107 cleans: dates, times, and the offset that belongs to them.  The
 * two opaque time stamps of the column are not taken apart: they go. */
static bool
is_date(const struct dict_row *d, const struct dcm_elem *q)
{
	return (d->flags & DICT_DATE) != 0 && d->vr == q->vr && d->vr != VR_OB;
}

/* What an option says stays; device dates under 113107 move with the others.
 */
static bool
is_retained(const struct rules *r, const struct dict_row *d)
{
	if ((r->patient && (d->flags & DICT_PAT) != 0) ||
	    (r->institution && (d->flags & DICT_INST) != 0) ||
	    (r->full_dates && (d->flags & DICT_DATE) != 0))
		return true;
	return r->device && (d->flags & DICT_DEV) != 0 &&
	       !(r->dates && (d->flags & DICT_DATE) != 0);
}

static enum fate
named_fate(
    const struct rules *r, const struct dict_row *d, const struct dcm_elem *q)
{
	if (is_retained(r, d) && d->vr == q->vr)
		return FATE_KEEP;
	if (r->descriptors && IN(d->tag, descriptions) && d->vr == q->vr)
		return FATE_WORDS;
	if (r->dates && is_date(d, q))
		return FATE_DATE;
	switch ((enum dict_act)d->act) {
	case ACT_X: return FATE_DROP;
	case ACT_Z: return FATE_EMPTY;
	case ACT_D: return d->vr == VR_UI ? FATE_UID : FATE_DUMMY;
	case ACT_U: return FATE_UID;
	case ACT_XZ: return choose_xz(r, d->tag);
	case ACT_XD: return choose_xd(r, d->tag);
	case ACT_XZD: return choose_xzd(r, d->tag);
	case ACT_ZD: return choose_zd(r, d->tag);
	case ACT_XZU: return choose_xzu(r, q);
	case ACT_NONE: break;
	}
	return FATE_DROP;
}

/* By the profile's own rule.  What keeps something of the original needs the
 * VR of the standard: else false, and the table decides. */
static bool
ruled_fate(const struct rules *r, const struct dict_row *d,
    const struct dcm_elem *q, enum fate *out)
{
	const struct table_rule *rule = table_find(r->table, d->tag);
	bool sound = d->vr == q->vr || (d->flags & DICT_XS) != 0;

	if (rule == NULL)
		return false;
	switch ((enum table_action)rule->action) {
	case TABLE_REMOVE: *out = FATE_DROP; return true;
	case TABLE_EMPTY: *out = FATE_EMPTY; return true;
	case TABLE_DUMMY: *out = FATE_DUMMY; return true;
	case TABLE_REPLACE:
	case TABLE_SET: *out = FATE_VALUE; return true;
	case TABLE_KEEP: *out = FATE_KEEP; return sound;
	case TABLE_UID: *out = FATE_UID; return sound;
	case TABLE_DATE: *out = FATE_DATE; return sound && r->dates;
	case TABLE_CLEAN: *out = FATE_TEXT; return sound;
	case TABLE_WORDS: *out = FATE_WORDS; return sound;
	}
	return false;
}

enum fate
rules_fate(const struct rules *r, const struct dcm_file *f, uint32_t i)
{
	enum fate ruled;
	const struct dcm_elem *q = &f->e[i];
	const struct dict_row *d = dict_find(q->tag);
	uint32_t top = q->tag >> 24;

	if (d == NULL || (q->tag & 0xFFFFu) == 0)
		return FATE_DROP; /* unknown, group lengths */
	if (top == 0x50 || top == 0x60 || q->tag >> 16 < 8)
		return FATE_DROP; /* curves, overlays, media directory */
	if (ruled_fate(r, d, q, &ruled))
		return ruled;
	if (q->vr == VR_UN && d->vr != VR_UN)
		return FATE_DROP; /* content that was not walked */
	if (d->act != ACT_NONE)
		return named_fate(r, d, q);
	if ((d->flags & DICT_RET) != 0)
		return FATE_DROP;
	return unnamed_fate(d, q);
}

static const char *
kept_why(const struct rules *r, const struct dict_row *d)
{
	if (r->patient && (d->flags & DICT_PAT) != 0)
		return "113108: patient characteristics stay";
	if (r->institution && (d->flags & DICT_INST) != 0)
		return "113112: the institution stays";
	if (r->full_dates && (d->flags & DICT_DATE) != 0)
		return "113106: dates stay";
	if (r->device && (d->flags & DICT_DEV) != 0)
		return "113109: the device stays";
	return "PS3.15 E.1-1: U*, its UIDs are replaced";
}

static const char *
named_why(
    const struct rules *r, const struct dict_row *d, const struct dcm_elem *q)
{
	static const char *const cell[] = {
		[ACT_NONE] = "",
		[ACT_X] = "PS3.15 E.1-1: X, remove",
		[ACT_Z] = "PS3.15 E.1-1: Z, no value",
		[ACT_D] = "PS3.15 E.1-1: D, a dummy",
		[ACT_U] = "PS3.15 E.1-1: U, another UID",
		[ACT_XZ] = "PS3.15 E.1-1: X/Z, by the type in this IOD",
		[ACT_XD] = "PS3.15 E.1-1: X/D, by the type in this IOD",
		[ACT_XZD] = "PS3.15 E.1-1: X/Z/D, by the type in this IOD",
		[ACT_ZD] = "PS3.15 E.1-1: Z/D, by the type in this IOD",
		[ACT_XZU] = "PS3.15 E.1-1: X/Z/U*",
	};

	switch (named_fate(r, d, q)) {
	case FATE_KEEP: return kept_why(r, d);
	case FATE_WORDS: return "113105: only words of imaging stay";
	case FATE_DATE: return "113107: dates move by the subject's days";
	case FATE_DROP:
	case FATE_EMPTY:
	case FATE_DUMMY:
	case FATE_TEXT:
	case FATE_VALUE:
	case FATE_UID: break;
	}
	if (d->act == ACT_U && r->uids)
		return "113110: UIDs stay";
	return cell[d->act];
}

static const char *
unnamed_why(const struct dict_row *d, const struct dcm_elem *q)
{
	if ((d->flags & (DICT_DROP | DICT_EMPTY | DICT_DUMMY | DICT_KEEP)) != 0)
		return "reviewed list of texts (keep_text.tsv)";
	switch (unnamed_fate(d, q)) {
	case FATE_UID: return "not in E.1-1; UIDs are replaced";
	case FATE_KEEP: return "not in E.1-1; its VR holds no free text";
	case FATE_DROP:
		return d->vr == q->vr ? "not in E.1-1; its VR may hold anything"
				      : "not the VR the standard gives it";
	case FATE_EMPTY:
	case FATE_DUMMY:
	case FATE_TEXT:
	case FATE_WORDS:
	case FATE_VALUE:
	case FATE_DATE: break;
	}
	return "";
}

static const char *
ruled_why(enum table_action a)
{
	switch (a) {
	case TABLE_KEEP: return "profile: keep";
	case TABLE_REMOVE: return "profile: remove";
	case TABLE_EMPTY: return "profile: empty";
	case TABLE_DUMMY: return "profile: dummy";
	case TABLE_REPLACE: return "profile: replace";
	case TABLE_SET: return "profile: set";
	case TABLE_UID: return "profile: hash-uid";
	case TABLE_DATE: return "profile: shift-date";
	case TABLE_CLEAN: return "profile: clean";
	case TABLE_WORDS: return "profile: words";
	}
	return "";
}

const char *
rules_why(const struct rules *r, const struct dcm_file *f, uint32_t i)
{
	const struct dcm_elem *q = &f->e[i];
	const struct dict_row *d = dict_find(q->tag);
	uint32_t top = q->tag >> 24;
	enum fate ruled;

	if (dcm_tag_private(q->tag))
		return r->safe_private ? "private: only what is listed stays"
				       : "private: none stays";
	if (top == 0x50 || top == 0x60)
		return "curves and overlays go";
	if (d == NULL)
		return "not in PS3.6";
	if ((q->tag & 0xFFFFu) == 0 || q->tag >> 16 < 8)
		return "group length or no image attribute";
	if (ruled_fate(r, d, q, &ruled))
		return ruled_why(
		    (enum table_action)table_find(r->table, d->tag)->action);
	if (q->vr == VR_UN && d->vr != VR_UN)
		return "sent as UN: not looked into";
	if (d->act != ACT_NONE)
		return named_why(r, d, q);
	if ((d->flags & DICT_RET) != 0)
		return "retired";
	return unnamed_why(d, q);
}

struct safe_row {
	const char *creator;
	uint16_t group;
	uint8_t low;
	uint8_t vr;
};

/* By (group, creator, element): what conversion to NIfTI with correct
 * scaling and diffusion needs.  All numeric, but for three CS, which are
 * directions and kinds, and an LO that content_fits() reads. */
static const struct safe_row safe[] = {
	{ "GEMS_ACQU_01", 0x0019, 0x9F, VR_SS }, /* transmitting coil */
	{ "GEMS_ACQU_01", 0x0019, 0xBB, VR_DS }, /* gradient x */
	{ "GEMS_ACQU_01", 0x0019, 0xBC, VR_DS }, /* gradient y */
	{ "GEMS_ACQU_01", 0x0019, 0xBD, VR_DS }, /* gradient z */
	{ "GEMS_ACQU_01", 0x0019, 0xE0, VR_DS }, /* directions */
	{ "GEMS_RELA_01", 0x0021, 0x4F, VR_SS }, /* locations */
	{ "GEMS_RELA_01", 0x0021, 0x5E, VR_DS }, /* slice timer */
	{ "GEMS_SERS_01", 0x0025, 0x07, VR_SL }, /* images in series */
	{ "GEMS_PARM_01", 0x0043, 0x2C, VR_SS }, /* echo spacing */
	{ "GEMS_PARM_01", 0x0043, 0x2F, VR_SS }, /* magnitude, phase .. */
	{ "GEMS_PARM_01", 0x0043, 0x39, VR_IS }, /* b-value */
	{ "Philips Imaging DD 001", 0x2001, 0x03, VR_FL },    /* b-factor */
	{ "Philips Imaging DD 001", 0x2001, 0x04, VR_CS },    /* direction */
	{ "Philips Imaging DD 001", 0x2001, 0x08, VR_IS },    /* phase */
	{ "Philips Imaging DD 001", 0x2001, 0x0A, VR_IS },    /* slice */
	{ "Philips Imaging DD 001", 0x2001, 0x13, VR_SL },    /* EPI factor */
	{ "Philips Imaging DD 001", 0x2001, 0x14, VR_SL },    /* echoes */
	{ "Philips Imaging DD 001", 0x2001, 0x17, VR_SL },    /* phases */
	{ "Philips Imaging DD 001", 0x2001, 0x18, VR_SL },    /* slices */
	{ "Philips Imaging DD 001", 0x2001, 0x22, VR_FL },    /* fat shift */
	{ "Philips MR Imaging DD 001", 0x2005, 0x0D, VR_FL }, /* intercept */
	{ "Philips MR Imaging DD 001", 0x2005, 0x0E, VR_FL }, /* slope */
	{ "Philips MR Imaging DD 001", 0x2005, 0x11, VR_CS }, /* image type */
	{ "Philips MR Imaging DD 001", 0x2005, 0xB0, VR_FL }, /* gradient */
	{ "Philips MR Imaging DD 001", 0x2005, 0xB1, VR_FL },
	{ "Philips MR Imaging DD 001", 0x2005, 0xB2, VR_FL },
	{ "Philips MR Imaging DD 005", 0x2005, 0x09, VR_DS }, /* intercept */
	{ "Philips MR Imaging DD 005", 0x2005, 0x0A, VR_DS }, /* slope */
	{ "Philips MR Imaging DD 005", 0x2005, 0x12, VR_IS }, /* b number */
	{ "Philips MR Imaging DD 005", 0x2005, 0x13, VR_IS }, /* direction */
	{ "Philips PET Private Group", 0x7053, 0x00, VR_DS }, /* SUV */
	{ "Philips PET Private Group", 0x7053, 0x09, VR_DS },
	{ "SIEMENS CSA HEADER", 0x0029, 0x10, VR_OB }, /* by csa.h */
	{ "SIEMENS MR HEADER", 0x0019, 0x0A, VR_US },  /* mosaic count */
	{ "SIEMENS MR HEADER", 0x0019, 0x0B, VR_DS },  /* slice duration */
	{ "SIEMENS MR HEADER", 0x0019, 0x0C, VR_IS },  /* b-value */
	{ "SIEMENS MR HEADER", 0x0019, 0x0D, VR_CS },  /* directionality */
	{ "SIEMENS MR HEADER", 0x0019, 0x0E, VR_FD },  /* direction */
	{ "SIEMENS MR HEADER", 0x0019, 0x16, VR_DS },  /* time after start */
	{ "SIEMENS MR HEADER", 0x0019, 0x18, VR_IS },  /* dwell time */
	{ "SIEMENS MR HEADER", 0x0019, 0x27, VR_FD },  /* B matrix */
	{ "SIEMENS MR HEADER", 0x0019, 0x28, VR_FD },  /* bandwidth */
	{ "SIEMENS MR HEADER", 0x0019, 0x29, VR_FD },  /* slice times */
	{ "SIEMENS MR HEADER", 0x0051, 0x11, VR_LO },  /* p2, p2s2 */
};

/* Acceleration in plane and across slices, as Siemens writes it: p2, p2s3,
 * s3.  Without it a reader takes the echo spacing to be too long. */
static bool
is_acceleration(struct slice s)
{
	size_t k = 0, parts = 0;

	for (; k < s.n && (s.p[k] == 'p' || s.p[k] == 's'); parts++) {
		size_t from = ++k;

		while (
		    k < s.n && k < from + 2 && s.p[k] >= '0' && s.p[k] <= '9')
			k++;
		if (k == from)
			return false;
	}
	return k == s.n && parts > 0 && parts <= 2;
}

static bool
content_fits(struct slice s, enum dcm_vr vr)
{
	if (vr == VR_OB) { /* rewritten: does anything stay? */
		struct buf b = BUF_MAX(CSA_ROOM(s.n));
		bool stays = csa_reduce(s, &b);

		buf_fini(&b);
		return stays;
	}
	if (s.n > 8192)
		return false;
	if (vr == VR_DS || vr == VR_IS)
		return content_is_number(s);
	if (vr == VR_LO)
		return is_acceleration(dcm_trim(s));
	if (vr == VR_CS) { /* a direction has no digits; an id does */
		for (size_t k = 0; k < s.n; k++)
			if (s.p[k] >= '0' && s.p[k] <= '9')
				return false;
		return content_is_code(s);
	}
	if (vr == VR_SS || vr == VR_US)
		return s.n % 2 == 0;
	return s.n % (vr == VR_FD ? 8 : 4) == 0;
}

/* The profile's: numbers and codes are held to their VR, text is cleaned. */
static enum dcm_vr
private_named(const struct table_private *p, struct slice value, enum dcm_vr vr)
{
	enum dcm_vr said = (enum dcm_vr)p->vr;
	bool code = said == VR_CS || !dict_vr_text(said) || said == VR_DS ||
		    said == VR_IS;

	if (said == VR_NONE || (vr != said && vr != VR_UN))
		return VR_NONE;
	return !code || content_fits(value, said) ? said : VR_NONE;
}

enum dcm_vr
rules_private(const struct rules *r, struct slice creator, uint32_t tag,
    struct slice value, enum dcm_vr vr)
{
	const struct table_private *p =
	    table_find_private(r->table, creator, tag);

	if (p != NULL)
		return private_named(p, value, vr);
	for (size_t k = 0; k < sizeof(safe) / sizeof(safe[0]); k++) {
		const struct safe_row *s = &safe[k];

		if (tag >> 16 != s->group || (tag & 0xFFu) != s->low ||
		    !slice_eq(creator, slice_str(s->creator)))
			continue;
		if (vr != s->vr && vr != VR_UN)
			return VR_NONE;
		return content_fits(value, (enum dcm_vr)s->vr)
			   ? (enum dcm_vr)s->vr
			   : VR_NONE;
	}
	return VR_NONE;
}
