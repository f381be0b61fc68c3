/* node/deid/table.h: a de-identification profile as the helper gets it: the
 * options of PS3.15 annex E that are claimed, and what becomes of elements
 * that it names one by one.  Compiled by node/conf/profile.c from YAML, read
 * in the confined helper.  Pure.
 *
 * Bytes, little endian: u8 version, u8 departs, u32 options, u16 rules, each
 * u32 tag, u8 action [REPLACE and SET: u8 n, n bytes], in order of tags; u16
 * private rules, each u16 group, u8 low byte of the element, u8 VR, u8 n, n
 * bytes of creator.  Same rules, same bytes: what is hashed.  The name is
 * not among them. */
#ifndef PSC_DEID_TABLE_H
#define PSC_DEID_TABLE_H

#include "node/deid/dict.h"
#include "store/base/buf.h"

#define TABLE_RULES_MAX 6000u /* more than there are attributes */
#define TABLE_PRIVATE_MAX 256u
#define TABLE_SET_MAX 64u    /* written where they were not */
#define TABLE_TEXT_MAX 64u   /* characters of a value, of a creator */
#define TABLE_TEXTS_MAX 256u /* values */
#define TABLE_BYTES_MAX ((size_t)80 << 10)
#define TABLE_NAME_MAX 31u

/* Code values of the options (PS3.16 CID 7050) that are really done. */
#define TABLE_OPT_DESCRIPTORS 0x01u /* 113105 */
#define TABLE_OPT_FULL_DATES 0x02u  /* 113106 */
#define TABLE_OPT_DATES 0x04u       /* 113107 */
#define TABLE_OPT_PATIENT 0x08u     /* 113108 */
#define TABLE_OPT_DEVICE 0x10u      /* 113109 */
#define TABLE_OPT_UIDS 0x20u        /* 113110 */
#define TABLE_OPT_PRIVATE 0x40u     /* 113111 */
#define TABLE_OPT_INST 0x80u        /* 113112 */
#define TABLE_OPT_ALL 0xFFu

struct table_option {
	uint32_t bit; /* 0: not done by this program */
	const char *code;
	const char *name; /* code meaning */
};
/* In order of codes; NULL behind the last. */
const struct table_option *table_option_at(uint32_t i);

enum table_action {
	TABLE_KEEP = 1, /* as it is, if the bytes are what the VR says */
	TABLE_REMOVE,
	TABLE_EMPTY,
	TABLE_DUMMY,
	TABLE_REPLACE, /* by a value, where there is one */
	TABLE_SET,     /* by a value; at the top written if there is none */
	TABLE_UID,     /* each by another, the same one always alike */
	TABLE_DATE,    /* moved by the days of the subject */
	TABLE_CLEAN,   /* identifiers of the object are taken out */
	TABLE_WORDS,   /* only words of imaging stay */
};
#define TABLE_ACTIONS 10u
/* "keep", "remove" .. as a profile writes it. */
const char *table_action_word(enum table_action a);

struct table_rule {
	uint32_t tag;
	uint8_t action;
	uint8_t text; /* of REPLACE and SET */
};
struct table_private {
	uint16_t group;
	uint8_t low;
	uint8_t vr; /* VR_NONE: removed */
	char creator[TABLE_TEXT_MAX + 1];
};
struct deid_table {
	char name[TABLE_NAME_MAX + 1];
	uint32_t options;
	bool departs; /* a rule lets stay what the basic profile takes */
	uint32_t n_rules, n_private, n_texts, n_set;
	struct table_rule rules[TABLE_RULES_MAX];
	struct table_private priv[TABLE_PRIVATE_MAX];
	char texts[TABLE_TEXTS_MAX][TABLE_TEXT_MAX + 1];
};

/* basic and trial-imaging, which are their options; false: no such. */
bool table_builtin(const char *name, struct deid_table *out);
const struct table_rule *table_find(const struct deid_table *t, uint32_t tag);
/* NULL: the profile does not speak of it. */
const struct table_private *table_find_private(
    const struct deid_table *t, struct slice creator, uint32_t tag);

/* Why this may not be done to an attribute under these options, NULL: it may.
 * value: of REPLACE and SET, else "". */
const char *table_refusal(uint32_t options, const struct dict_row *d,
    enum table_action a, const char *value);
/* Options that exclude each other: why, or NULL. */
const char *table_options_refusal(uint32_t options);
/* True: something of the original stays that the basic profile takes and no
 * claimed option lets stay. */
bool table_departs(
    uint32_t options, const struct dict_row *d, enum table_action a);
/* VRs that a private element can be kept as; numbers, codes, texts. */
bool table_private_vr(enum dcm_vr vr);
/* What no rule is for: the program writes or needs it itself. */
bool table_locked(uint32_t tag);

void table_encode(const struct deid_table *t, struct buf *out);
/* Bounded, whole and consistent, or an error; the name stays as it was. */
enum err table_decode(struct slice in, struct deid_table *out) PSC_MUST_USE;

#endif
