/* node/imaging/helper/pull.h: ask an archive: C-FIND, C-GET, C-MOVE. */
#ifndef PSC_HELPER_PULL_H
#define PSC_HELPER_PULL_H

#include "node/imaging/helper/link.h"

/* One association on l->accepted, as MSG_DIAL and MSG_QUERY say, until the
 * node closes the pair.  An error means that the node is gone. */
enum err pull_run(struct link *l) PSC_MUST_USE;

#endif
