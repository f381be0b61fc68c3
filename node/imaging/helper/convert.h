/* node/imaging/helper/convert.h: one DICOM series to NIfTI. */
#ifndef PSC_HELPER_CONVERT_H
#define PSC_HELPER_CONVERT_H

#include "node/imaging/helper/link.h"

/* Wait for MSG_SERIES, answer IMG_RESULT.  An error means that the node is
 * gone; a series that cannot be converted is a result with a reason. */
enum err convert_run(struct link *l) PSC_MUST_USE;

#endif
