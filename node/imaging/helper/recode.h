/* node/imaging/helper/recode.h: objects that are not de-identified as they
 * came.  Those of two transfer syntaxes become explicit little endian (PS3.5
 * annex A): explicit big endian (retired) and deflated.  Those with text that
 * is neither ASCII nor UTF-8 as they say become ISO_IR 192 as a whole.
 * Lossless: the same elements with the same values, samples too, but for UN in
 * big endian, which is left out.  Pure. */
#ifndef PSC_HELPER_RECODE_H
#define PSC_HELPER_RECODE_H

#include "node/imaging/helper/charset.h"
#include "node/imaging/helper/walk.h"

/* An object that inflates to more is a bomb or not for us. */
#define RECODE_BYTES_MAX (512 * MIB)

struct recode {
	struct buf room;
	struct dcm_file *f; /* borrows room; NULL: none was needed */
	bool syntax;        /* another transfer syntax */
	bool text;          /* text is UTF-8 now */
	bool guessed;       /* some was in no set that the object names */
};
/* Leaves out->f NULL where in is good as it is.  ERR_UNSUPPORTED (samples of
 * more than 16 bits in big endian), ERR_LIMIT, ERR_MALFORMED, ERR_NOMEM. */
enum err recode_plain(const struct dcm_file *in, struct charset *c,
    struct recode *out, struct errmsg *em) PSC_MUST_USE;
void recode_fini(struct recode *r);

#endif
