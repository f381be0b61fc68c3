/* node/imaging/helper/rules.h: what becomes of one element.  Pure. */
#ifndef PSC_HELPER_RULES_H
#define PSC_HELPER_RULES_H

#include "node/deid/table.h"
#include "node/imaging/helper/classes.h"

enum fate {
	FATE_DROP,
	FATE_EMPTY, /* kept with no value (Z) */
	FATE_DUMMY, /* a value that says nothing (D) */
	FATE_KEEP,  /* as it is; a sequence: its items by these rules */
	FATE_TEXT,  /* kept after identifiers are taken out */
	FATE_WORDS, /* reduced to words of imaging */
	FATE_DATE,  /* moved by the days of the subject */
	FATE_UID,   /* each value by the map; fixed tags: well-formed ones */
	FATE_VALUE, /* the profile's own value */
};

struct rules {
	enum iod_family family;
	bool patient;      /* 113108: patient characteristics kept */
	bool descriptors;  /* 113105: words of imaging kept in descriptions */
	bool safe_private; /* 113111: numeric private elements kept */
	bool dates;        /* 113107: dates moved, not removed */
	bool full_dates;   /* 113106: dates kept */
	bool device;       /* 113109: identity of the device kept */
	bool institution;  /* 113112: identity of the site kept */
	bool uids;         /* 113110: UIDs kept */
	const struct deid_table *table;
};

/* table outlives r. */
void rules_profile(const struct deid_table *table, struct rules *r);
/* Standard (even group) elements. */
enum fate rules_fate(
    const struct rules *r, const struct dcm_file *f, uint32_t i);

/* Why that is the fate of element i: the cell of table E.1-1, the option or
 * the rule, for a person to read. */
const char *rules_why(
    const struct rules *r, const struct dcm_file *f, uint32_t i);

/* What the profile writes at the top if it is not there; NULL behind the last.
 * Its value for a tag, for FATE_VALUE. */
const struct table_rule *rules_set(const struct rules *r, uint32_t from);
const char *rules_value(const struct rules *r, uint32_t tag);

/* Private elements kept under 113111: those the profile names, and by creator,
 * group and low byte those of rules.c, which have numeric content.  VR_NONE:
 * not kept; VR_OB: what csa_reduce() leaves of it; free text: cleaned. */
enum dcm_vr rules_private(const struct rules *r, struct slice creator,
    uint32_t tag, struct slice value, enum dcm_vr vr);

#endif
