/* node/imaging/helper/recode.h: objects of the two transfer syntaxes that are
 * not rewritten in place, as explicit little endian (PS3.5 annex A): explicit
 * big endian (retired) and deflated.  Lossless: the same elements with the
 * same values, samples too, but for UN in big endian, which is left out.
 * Pure. */
#ifndef PSC_HELPER_RECODE_H
#define PSC_HELPER_RECODE_H

#include "node/imaging/helper/walk.h"

/* An object that inflates to more is a bomb or not for us. */
#define RECODE_BYTES_MAX (512 * MIB)

struct recode {
	struct buf room;
	struct dcm_file *f; /* borrows room; NULL: none was needed */
};
/* Leaves *out empty where in is readable as it is.  ERR_UNSUPPORTED (samples
 * of more than 16 bits in big endian), ERR_LIMIT, ERR_MALFORMED, ERR_NOMEM. */
enum err recode_plain(const struct dcm_file *in, struct recode *out,
    struct errmsg *em) PSC_MUST_USE;
void recode_fini(struct recode *r);

#endif
