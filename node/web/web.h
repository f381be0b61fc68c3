/* node/web/web.h: the HTTP server: the unix socket HOME/pesscara.sock and,
 * when rest.listen is an address, TCP.
 *
 * The socket admits the uid that owns the daemon (SO_PEERCRED), TCP a bearer
 * token: HOME/rest-token (mode 0600), made at start when absent.  Connections
 * are bounded in number and in idle time, bodies by LIM_REST_BODY_BYTES.
 * Each connection has a thread; an answer that streams has one more, with a
 * bounded queue between the two, so that a slow client holds back its own
 * producer and nobody else's.
 *
 * The process must ignore SIGPIPE. */
#ifndef PSC_WEB_WEB_H
#define PSC_WEB_WEB_H

#include "node/api/api.h"

struct web;
struct web_opts {
	const char *home;
	const char *listen; /* conf.rest_listen: HOST:PORT, port 0, "off" */
	struct api *api;
};
/* Listens on both before it returns; calls api_set_rest_listen().  A stale
 * socket file is replaced, one that a daemon answers on is ERR_BUSY, as is a
 * taken port. */
enum err web_start(
    const struct web_opts *o, struct web **out, struct errmsg *em) PSC_MUST_USE;
/* Cancels running streams, waits for the connections, removes the socket
 * file.  Call it before the rooms that api uses are stopped.  NULL ok. */
void web_stop(struct web *w);

#endif
