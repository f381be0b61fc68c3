/* node/imaging/helper/check.h: what a file that a person made says of a
 * patient, as far as it can be told.  Pure: bytes in, verdict out. */
#ifndef PSC_HELPER_CHECK_H
#define PSC_HELPER_CHECK_H

#include "node/imaging/helper/link.h"

/* text: scratch, at least IMG_CHECK_TEXT_MAX; out->text borrows it. */
enum err check_file(
    struct slice file, struct buf *text, struct img_verdict *out) PSC_MUST_USE;
enum err check_run(struct link *l) PSC_MUST_USE;

#endif
