/* node/imaging/helper/sidecar.h: the BIDS sidecar of a converted volume, and
 * the catalog fields of the new asset. */
#ifndef PSC_HELPER_SIDECAR_H
#define PSC_HELPER_SIDECAR_H

#include "node/imaging/helper/volume.h"

/* JSON: numbers and coded values only, never free text. */
enum err sidecar_json(const struct volume *v, struct buf *out) PSC_MUST_USE;
/* msgpack map KEYWORD -> value. */
enum err sidecar_fields(const struct volume *v, struct buf *out) PSC_MUST_USE;

#endif
