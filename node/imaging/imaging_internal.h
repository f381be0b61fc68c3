/* node/imaging/imaging_internal.h: a running helper, seen from the node. */
#ifndef PSC_IMAGING_INTERNAL_H
#define PSC_IMAGING_INTERNAL_H

#include <stdatomic.h>
#include <sys/types.h>

#include "node/imaging/frame.h"
#include "node/imaging/msg.h"

/* The helper reads what we send at once unless it is stuck. */
#define IMAGING_SEND_MS 10000u
#define IMAGING_CLOSE_MS 1000u

struct imaging {
	enum imaging_mode mode;
	int sock;
	pid_t pid;
	int pidfd;
	atomic_bool dead; /* killed for lying, or gone */
	struct frame in;
	struct mp_doc doc; /* of the last frame; borrows in.bytes */
	struct img_identity identity;
	struct msg_object object;
	struct slice original; /* mapped memfds of the last object */
	struct slice deid;
	struct slice detail;
	struct img_result result; /* files mapped until close */
	struct img_ref *refs;     /* of the last COMMIT; IMG_REFS_MAX */
};

/* Run opts->program with the pair's other end as descriptor 3 and nothing
 * else open but stderr; sets im->sock, pid and pidfd. */
enum err spawn_helper(const struct imaging_opts *opts, struct imaging *im,
    struct errmsg *em) PSC_MUST_USE;
/* Wait up to wait_ms for the helper to end, then kill it; reap it. */
void spawn_reap(struct imaging *im, uint32_t wait_ms);

#endif
