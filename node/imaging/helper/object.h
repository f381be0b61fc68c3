/* node/imaging/helper/object.h: one received object, from bytes to the
 * node's verdict: identity -> context -> de-identified form -> stored. */
#ifndef PSC_HELPER_OBJECT_H
#define PSC_HELPER_OBJECT_H

#include "node/imaging/helper/link.h"

struct object_work; /* buffers kept from object to object */

enum err object_work_new(struct object_work **out) PSC_MUST_USE;
void object_work_free(struct object_work *w); /* NULL ok */

struct object_in {
	int fd; /* memfd of ours, not sealed yet */
	uint64_t bytes;
	/* C-STORE: what the command said; NULL: do not compare. */
	const char *sop_class;
	const char *sop_uid;
};

/* *offered: it is at the node, whose verdict is object_verdict()'s.  Mismatch
 * and lack of memory are decided here and never reach the node: then *status
 * is what the sender is to be told.  An error return means that the node is
 * gone or broken: end the process. */
enum err object_offer(struct link *l, struct object_work *w,
    const struct object_in *in, uint16_t *status, bool *offered) PSC_MUST_USE;
/* The node's verdict on the first object offered that has had none. */
enum err object_verdict(struct link *l, uint16_t *status) PSC_MUST_USE;

#endif
