/* node/imaging/helper/link.h: the helper's end of the pair to the node. */
#ifndef PSC_HELPER_LINK_H
#define PSC_HELPER_LINK_H

#include "node/imaging/frame.h"
#include "node/imaging/msg.h"

#define LINK_FD 3

struct link {
	int sock;
	struct frame in;
	struct mp_doc doc; /* last frame; borrows in.bytes */
	struct msg_config config;
	int accepted;             /* RECEIVE: the DICOM socket; -1 */
	struct deid_table *table; /* the profile; NULL: our own by name */
	struct charset *charset;  /* where objects are de-identified */
	/* A verdict that comes while something else is awaited; NULL: none
	 * may. */
	enum err (*on_stored)(void *ctx, uint16_t status);
	void *ctx;
};

/* Wait for the config frame.  ERR_FOREIGN: the node is gone. */
enum err link_open(struct link *l, int sock) PSC_MUST_USE;
void link_close(struct link *l);
/* Send and free b; fds stay the caller's. */
enum err link_send(
    struct link *l, struct buf *b, const int *fds, uint32_t n_fds) PSC_MUST_USE;
/* A profile from the config or the admit frame; empty: none. */
enum err link_take_table(struct link *l, struct slice bytes) PSC_MUST_USE;
/* Next frame from the node; ERR_MALFORMED unless it is of this kind. */
enum err link_wait(struct link *l, uint32_t kind) PSC_MUST_USE;

#endif
