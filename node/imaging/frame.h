/* node/imaging/frame.h: one frame over the pair between node and helper.
 *
 * SOCK_SEQPACKET keeps frame borders; file descriptors ride along by
 * SCM_RIGHTS.  Used by both ends; knows nothing about what a frame says
 * (see msg.h).  Blocking with a deadline, one thread at a time. */
#ifndef PSC_IMAGING_FRAME_H
#define PSC_IMAGING_FRAME_H

#include "node/imaging/imaging.h"

#define FRAME_FDS_MAX 8u

struct frame {
	uint8_t *bytes; /* IMG_FRAME_BYTES, owned */
	size_t n;
	int fds[FRAME_FDS_MAX]; /* owned; -1 once taken */
	uint32_t n_fds;
};

enum err frame_init(struct frame *f) PSC_MUST_USE; /* ERR_NOMEM */
void frame_fini(struct frame *f);                  /* closes fds left */
void frame_drop_fds(struct frame *f);
/* Take ownership of the i-th descriptor; -1 if there is none. */
int frame_take_fd(struct frame *f, uint32_t i);

/* Send b and n_fds descriptors (they stay the caller's).  ERR_TIMEOUT,
 * ERR_FOREIGN (the other end is gone), ERR_LIMIT, or b's own error. */
enum err frame_send(int sock, const struct buf *b, const int *fds,
    uint32_t n_fds, uint32_t timeout_ms) PSC_MUST_USE;
/* Wait for the next frame; descriptors of the frame before are closed.
 * ERR_TIMEOUT, ERR_FOREIGN (the other end is gone), ERR_MALFORMED (cut off,
 * empty, or too many descriptors).  timeout_ms UINT32_MAX: no deadline. */
enum err frame_recv(
    int sock, uint32_t timeout_ms, struct frame *f) PSC_MUST_USE;

#endif
