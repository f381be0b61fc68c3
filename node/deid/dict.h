/* node/deid/dict.h: what the standard says of an attribute: its VR
 * (PS3.6) and what the basic profile does with it (PS3.15 table E.1-1). */
#ifndef PSC_DEID_DICT_H
#define PSC_DEID_DICT_H

#include "store/base/slice.h"

enum dcm_vr {
	VR_AE,
	VR_AS,
	VR_AT,
	VR_CS,
	VR_DA,
	VR_DS,
	VR_DT,
	VR_FD,
	VR_FL,
	VR_IS,
	VR_LO,
	VR_LT,
	VR_OB,
	VR_OD,
	VR_OF,
	VR_OL,
	VR_OV,
	VR_OW,
	VR_PN,
	VR_SH,
	VR_SL,
	VR_SQ,
	VR_SS,
	VR_ST,
	VR_SV,
	VR_TM,
	VR_UC,
	VR_UI,
	VR_UL,
	VR_UN,
	VR_UR,
	VR_US,
	VR_UT,
	VR_UV,
	VR_NONE, /* items and delimiters */
	VR_COUNT,
};

enum dict_act {
	ACT_NONE, /* not named by table E.1-1 */
	ACT_X,    /* remove */
	ACT_Z,    /* empty */
	ACT_D,    /* dummy */
	ACT_U,    /* replace the UID */
	ACT_XZ,   /* by IOD type: see rules.c */
	ACT_XD,
	ACT_XZD,
	ACT_ZD,
	ACT_XZU,
};

#define DICT_RET 0x01u /* retired */
#define DICT_PAT 0x02u /* K under Retain Patient Characteristics */
#define DICT_XS 0x04u  /* US or SS, by PixelRepresentation */
#define DICT_DATE                                                              \
	0x08u /* C under Retain Long. Modified Dates, K under Full             \
	       */
/* Reviewed by hand, tables/keep_text.tsv: */
#define DICT_KEEP 0x10u
#define DICT_EMPTY 0x20u
#define DICT_DUMMY 0x40u
#define DICT_DROP 0x80u
#define DICT_DEV 0x100u  /* K under Retain Device Identity */
#define DICT_INST 0x200u /* K under Retain Institution Identity */
#define DICT_DESC 0x400u /* C under Clean Descriptors */

struct dict_row {
	uint32_t tag;
	uint8_t vr;  /* enum dcm_vr */
	uint8_t act; /* enum dict_act */
	uint16_t flags;
};

/* NULL when the standard does not know the tag (private ones included). */
const struct dict_row *dict_find(uint32_t tag);
/* The same by keyword; NULL. */
const struct dict_row *dict_find_keyword(const char *keyword);
/* All rows in order of their tags: NULL behind the last. */
const struct dict_row *dict_at(uint32_t i);
/* The keyword of a row; "" where the standard gives none. */
const char *dict_keyword(const struct dict_row *r);
/* Attributes that number or locate the patient, the visit or the site. */
bool dict_is_id(uint32_t tag);
/* Tags whose UIDs are never replaced: classes, syntaxes, coding schemes,
 * context groups, palettes (domain.md 6). */
bool dict_fixed_uid(uint32_t tag);
/* VR_COUNT when the two letters are no VR. */
enum dcm_vr dict_vr(const uint8_t *two);
const char *dict_vr_name(enum dcm_vr vr); /* two letters */
/* Explicit encoding with two reserved bytes and a 32-bit length. */
bool dict_vr_long(enum dcm_vr vr);
/* Character data. */
bool dict_vr_text(enum dcm_vr vr);

#endif
