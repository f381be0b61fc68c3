/* node/imaging/helper/pixels.h: what the samples themselves give away. */
#ifndef PSC_HELPER_PIXELS_H
#define PSC_HELPER_PIXELS_H

#include "node/imaging/helper/walk.h"

/* Native 8 and 16 bit samples only: some sample has bits set outside
 * (HighBit - BitsStored, HighBit] that are no sign extension.  Overlays of
 * old scanners live there, declared or not (domain.md 8).  Other pixels:
 * false. */
bool pixels_hidden_bits(const struct dcm_file *f);
/* They can be taken out: declared overlays lie outside the stored bits, and
 * so does no padding value (it would become another). */
bool pixels_can_mask(const struct dcm_file *f);
/* The pixel bytes of f without them, in place; what is a sign extension stays
 * one.  All other samples stay bit by bit. */
void pixels_mask(const struct dcm_file *f, uint8_t *p, size_t n);

#endif
