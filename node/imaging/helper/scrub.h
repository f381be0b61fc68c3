/* node/imaging/helper/scrub.h: the identifiers one object names, cleaning
 * them out of text that stays, and the search that proves they are gone. */
#ifndef PSC_HELPER_SCRUB_H
#define PSC_HELPER_SCRUB_H

#include "node/imaging/helper/rules.h"
#include "node/imaging/helper/uids.h"

#define SCRUB_NEEDLES_MAX 2048u

enum needle_kind { NEEDLE_NAME, NEEDLE_ID, NEEDLE_DATE };

struct needle {
	uint32_t off; /* normalised bytes in text */
	uint16_t n;
	uint8_t kind;
	bool digits; /* holds a digit */
};

struct scrub {
	struct buf text;
	struct needle *v;
	uint32_t n;
	uint32_t cap;
	bool full; /* more identifiers than SCRUB_NEEDLES_MAX */
};

/* Every name part, id and date of f, nested and private ones included; not
 * the ids that the profile lets stay as they are (a station's, a site's). */
enum err scrub_collect(const struct dcm_file *f, const struct rules *r,
    struct scrub *out) PSC_MUST_USE;
void scrub_fini(struct scrub *s);

/* Append text to out with every token that is a name part or an id taken
 * out; true when something was. */
bool scrub_clean(const struct scrub *s, struct slice text, struct buf *out);

/* Search a de-identified object.  uids: the original ones that must be gone
 * (keep[i] true: asked to stay).  Returns the tag of the first element that
 * still names one, or 0. */
struct scrub_search {
	const struct scrub *s;
	const struct uids *uids;
	const bool *keep;
	int32_t shift_days; /* dates of the output were moved; 0: removed */
	bool dates_stay;    /* 113106: where the standard has dates */
};
enum err scrub_search(const struct scrub_search *q, const struct dcm_file *f,
    uint32_t *tag) PSC_MUST_USE;

#endif
