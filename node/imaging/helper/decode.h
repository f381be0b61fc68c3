/* node/imaging/helper/decode.h: the samples of a single-frame object, native
 * and little endian, whatever the transfer syntax. */
#ifndef PSC_HELPER_DECODE_H
#define PSC_HELPER_DECODE_H

#include "node/imaging/helper/volume.h"

/* Exactly rows * cols samples of bits_allocated into out.  ERR_UNSUPPORTED
 * (em says why), ERR_MALFORMED, ERR_SHORT, ERR_NOMEM. */
enum err decode_image(struct slice file, const struct volume_format *m,
    uint8_t *out, size_t out_n, struct errmsg *em) PSC_MUST_USE;

#endif
