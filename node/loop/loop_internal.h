/* node/loop/loop_internal.h: shared inside the room. */
#ifndef PSC_LOOP_INTERNAL_H
#define PSC_LOOP_INTERNAL_H

#include <uv.h>

#include "node/loop/loop.h"
#include "store/base/mem.h"

struct loop {
	uv_loop_t uv;
};

/* libuv's codes to ours; 0 and above are ERR_OK. */
enum err loop_err(int rc);
/* "127.0.0.1:7433", "[::1]:7433"; "" if it cannot be told. */
void loop_addr_text(const struct sockaddr *sa, char out[LOOP_ADDR_TEXT]);
/* Numeric host only.  ERR_MALFORMED: a name. */
enum err loop_addr_numeric(
    const char *host, uint16_t port, struct sockaddr_storage *out) PSC_MUST_USE;
void loop_addr_set_port(struct sockaddr_storage *sa, uint16_t port);

#endif
