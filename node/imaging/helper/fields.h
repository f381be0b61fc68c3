/* node/imaging/helper/fields.h: catalog fields of a (de-identified) object. */
#ifndef PSC_HELPER_FIELDS_H
#define PSC_HELPER_FIELDS_H

#include "node/imaging/helper/walk.h"

/* msgpack map {"subject": {..}, "exam": {..}, "series": {..}, "image":
 * {..}}; keys are DICOM keywords.  DS, IS and binary numbers become numbers,
 * several values an array, other text strings (valid UTF-8 only, <= 256
 * bytes); absent, empty and ill-formed values are left out. */
enum err fields_write(const struct dcm_file *f, struct buf *out) PSC_MUST_USE;

#endif
