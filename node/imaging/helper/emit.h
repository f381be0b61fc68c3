/* node/imaging/helper/emit.h: elements as bytes, little endian. */
#ifndef PSC_HELPER_EMIT_H
#define PSC_HELPER_EMIT_H

#include "node/deid/dict.h"
#include "store/base/buf.h"

/* Head of an element, or of an item (VR_NONE).  A text that is too long for
 * its VR's length goes as UN (PS3.5 section 6.2.2 note 5). */
void emit_head(
    struct buf *b, bool implicit, uint32_t tag, enum dcm_vr vr, uint32_t len);
/* Whole, padded to even length. */
void emit_value(
    struct buf *b, bool implicit, uint32_t tag, enum dcm_vr vr, struct slice v);
/* The length of what follows a head at start, which was the end of b then. */
void emit_close(struct buf *b, size_t start);

#endif
