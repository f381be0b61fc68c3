/* node/imaging/helper/dict.c: look-ups in the generated table.  Nothing here
 * can fail; an unknown tag is NULL. */
#include "node/imaging/helper/dict.h"

#define R(t, v, a, f) { 0x##t, VR_##v, ACT_##a, f },
static const struct dict_row dict_rows[] = {
#include "node/imaging/helper/dict/dict_table.inc"
};
#undef R

static const char *const dict_names[] = {
#include "node/imaging/helper/dict/dict_names.inc"
};
_Static_assert(sizeof(dict_names) / sizeof(dict_names[0]) ==
		   sizeof(dict_rows) / sizeof(dict_rows[0]),
    "a keyword for each row");

const char *
dict_keyword(const struct dict_row *r)
{
	return dict_names[r - dict_rows];
}

static const char vr_names[VR_COUNT][3] = {
	"AE",
	"AS",
	"AT",
	"CS",
	"DA",
	"DS",
	"DT",
	"FD",
	"FL",
	"IS",
	"LO",
	"LT",
	"OB",
	"OD",
	"OF",
	"OL",
	"OV",
	"OW",
	"PN",
	"SH",
	"SL",
	"SQ",
	"SS",
	"ST",
	"SV",
	"TM",
	"UC",
	"UI",
	"UL",
	"UN",
	"UR",
	"US",
	"UT",
	"UV",
	"--",
};

const struct dict_row *
dict_find(uint32_t tag)
{
	size_t lo = 0;
	size_t hi = sizeof(dict_rows) / sizeof(dict_rows[0]);

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (dict_rows[mid].tag == tag)
			return &dict_rows[mid];
		if (dict_rows[mid].tag < tag)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

enum dcm_vr
dict_vr(const uint8_t *two)
{
	for (unsigned i = 0; i < VR_NONE; i++)
		if (memcmp(vr_names[i], two, 2) == 0)
			return (enum dcm_vr)i;
	return VR_COUNT;
}

const char *
dict_vr_name(enum dcm_vr vr)
{
	return vr_names[vr < VR_COUNT ? vr : VR_NONE];
}

/* One bit a VR. */
#define BIT(v) (UINT64_C(1) << (v))
#define LONG_VRS                                                               \
	(BIT(VR_OB) | BIT(VR_OD) | BIT(VR_OF) | BIT(VR_OL) | BIT(VR_OV) |      \
	    BIT(VR_OW) | BIT(VR_SQ) | BIT(VR_SV) | BIT(VR_UC) | BIT(VR_UN) |   \
	    BIT(VR_UR) | BIT(VR_UT) | BIT(VR_UV))
#define TEXT_VRS                                                               \
	(BIT(VR_AE) | BIT(VR_AS) | BIT(VR_CS) | BIT(VR_DA) | BIT(VR_DS) |      \
	    BIT(VR_DT) | BIT(VR_IS) | BIT(VR_LO) | BIT(VR_LT) | BIT(VR_PN) |   \
	    BIT(VR_SH) | BIT(VR_ST) | BIT(VR_TM) | BIT(VR_UC) | BIT(VR_UI) |   \
	    BIT(VR_UR) | BIT(VR_UT))

bool
dict_vr_long(enum dcm_vr vr)
{
	return (LONG_VRS & BIT(vr)) != 0;
}

bool
dict_vr_text(enum dcm_vr vr)
{
	return (TEXT_VRS & BIT(vr)) != 0;
}
