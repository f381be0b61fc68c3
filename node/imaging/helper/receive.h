/* node/imaging/helper/receive.h: serve one DICOM association. */
#ifndef PSC_HELPER_RECEIVE_H
#define PSC_HELPER_RECEIVE_H

#include "node/imaging/helper/link.h"

/* From A-ASSOCIATE-RQ to release, abort or idle time; ends with IMG_DONE.
 * An error means that the node is gone. */
enum err receive_run(struct link *l) PSC_MUST_USE;

#endif
