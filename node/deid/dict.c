/* node/deid/dict.c: look-ups in the generated table.  Nothing here
 * can fail; an unknown tag is NULL. */
#include "node/deid/dict.h"

#define R(t, v, a, f) { 0x##t, VR_##v, ACT_##a, f },
static const struct dict_row dict_rows[] = {
#include "node/deid/tables/dict_table.inc"
};
#undef R

static const char *const dict_names[] = {
#include "node/deid/tables/dict_names.inc"
};
_Static_assert(sizeof(dict_names) / sizeof(dict_names[0]) ==
		   sizeof(dict_rows) / sizeof(dict_rows[0]),
    "a keyword for each row");

#define N_ROWS (sizeof(dict_rows) / sizeof(dict_rows[0]))

const struct dict_row *
dict_at(uint32_t i)
{
	return i < N_ROWS ? &dict_rows[i] : NULL;
}

const struct dict_row *
dict_find_keyword(const char *keyword)
{
	for (size_t i = 0; i < N_ROWS && *keyword != '\0'; i++)
		if (strcmp(dict_names[i], keyword) == 0)
			return &dict_rows[i];
	return NULL;
}

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
	size_t hi = N_ROWS;

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

static const uint32_t id_tags[] = { 0x00080050, 0x00080080, 0x00080081,
	0x00080092, 0x00080094, 0x00081010, 0x00081040, 0x00100020, 0x00100021,
	0x00100050, 0x00101000, 0x00101001, 0x00101040, 0x00101080, 0x00101090,
	0x00102154, 0x00102299, 0x00181000, 0x00181002, 0x00200010, 0x00321020,
	0x00321021, 0x00380010, 0x00380060, 0x00380300, 0x00400001, 0x00400009,
	0x00400242, 0x00400253, 0x00401001, 0x00401002, 0x00401103, 0x00401104,
	0x00402008, 0x00402009, 0x00402010, 0x00402016, 0x00402017, 0x00403001,
	0x0040050A, 0x00400551, 0x00400512 };

static const uint32_t fixed_uid_tags[] = { 0x00020002, 0x00020010, 0x00080016,
	0x0008001A, 0x0008001B, 0x00080062, 0x0008010C, 0x00080117, 0x00080118,
	0x0008040E, 0x00081150, 0x0008115A, 0x00083002, 0x00280304, 0x00281199,
	0x00340003, 0x00041510, 0x00041512, 0x0004151A, 0x04000010, 0x04000510,
	0x30100052, 0x30100053 };

static bool
in_list(uint32_t tag, const uint32_t *list, size_t n)
{
	for (size_t k = 0; k < n; k++)
		if (list[k] == tag)
			return true;
	return false;
}

bool
dict_is_id(uint32_t tag)
{
	return in_list(tag, id_tags, sizeof(id_tags) / sizeof(id_tags[0]));
}

bool
dict_fixed_uid(uint32_t tag)
{
	return in_list(tag, fixed_uid_tags,
	    sizeof(fixed_uid_tags) / sizeof(fixed_uid_tags[0]));
}
