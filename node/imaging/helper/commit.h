/* node/imaging/helper/commit.h: a request for storage commitment, from the
 * bytes of an N-ACTION to the node. */
#ifndef PSC_HELPER_COMMIT_H
#define PSC_HELPER_COMMIT_H

#include "node/imaging/helper/dimse.h"
#include "node/imaging/helper/link.h"

#define COMMIT_DATA_MAX ((size_t)8 * MIB)

/* What goes before the dataset, so that the one walker reads it. */
void commit_put_head(struct buf *b, const char *transfer_syntax);
/* data: head and dataset; *status: what the sender is answered.  An error
 * means that the node is gone. */
enum err commit_offer(struct link *l, const struct dimse_command *cmd,
    const struct buf *data, uint16_t *status) PSC_MUST_USE;

#endif
