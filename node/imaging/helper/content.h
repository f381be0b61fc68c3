/* node/imaging/helper/content.h: is a value what its VR says?  A VR that
 * "cannot hold free text" is a promise only when the bytes keep it. Pure. */
#ifndef PSC_HELPER_CONTENT_H
#define PSC_HELPER_CONTENT_H

#include "node/imaging/helper/walk.h"

/* DS, IS: digits, signs, point, exponent in each value. */
bool content_is_number(struct slice all);
/* CS: upper case, digits, space, underscore, up to 16 in each value. */
bool content_is_code(struct slice all);
/* UI: digits and points, up to 64. */
bool content_is_uid(struct slice one);
/* AS to out[5]: as it is, or 090Y above 89 years (domain.md 7).  False when
 * it is no age. */
bool content_age(struct slice one, char *out);

#endif
