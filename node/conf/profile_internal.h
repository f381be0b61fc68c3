/* node/conf/profile_internal.h: a profile while it is compiled. */
#ifndef PSC_CONF_PROFILE_INTERNAL_H
#define PSC_CONF_PROFILE_INTERNAL_H

#include "node/conf/conf_internal.h"
#include "node/conf/profile.h"

#define PROFILE_NEXT "Correct the file, then run: pesscara deid profiles"

/* What an element key names. */
struct prof_key {
	uint32_t tag;
	uint32_t mask; /* bits that count: all for one attribute */
	uint8_t xs;    /* digits that do not */
	char creator[TABLE_TEXT_MAX + 1]; /* private: its creator, else "" */
};

/* The rule that won for one row of the dictionary so far; action 0: none. */
struct prof_slot {
	uint8_t action;
	uint8_t text;
	uint8_t xs;
	uint8_t level; /* of the chain; 0 is the profile asked for */
	uint32_t line;
};

struct prof {
	const char *home;
	struct errmsg *em;
	char names[PROFILE_DEPTH_MAX][TABLE_NAME_MAX + 1];
	uint32_t depth;
	uint32_t level; /* being read */
	uint32_t options_line;
	struct prof_slot *slots; /* one a row of the dictionary */
	uint32_t n_slots;
	const struct yaml_marks *marks;
	struct profile *p;
};

uint32_t prof_line(const struct prof *c, const struct json *v);
enum err prof_fail(struct prof *c, enum err e, uint32_t level, uint32_t line,
    const char *cause_fmt, ...) PSC_PRINTF(5, 6);
/* Keyword, tag, tag with x for any digit, or gggg[CREATOR]ee.  why: half a
 * sentence. */
bool prof_key_parse(
    const char *text, struct prof_key *out, char *why, size_t cap);
/* Reads "rules" of one file into slots and private rules. */
enum err prof_rules(struct prof *c, const struct json *map) PSC_MUST_USE;
/* Reads a list of options; *bits: which. */
enum err prof_options(
    struct prof *c, const struct json *list, uint32_t *bits) PSC_MUST_USE;
/* Checks slots against the final options and fills the table. */
enum err prof_finish(struct prof *c) PSC_MUST_USE;

#endif
