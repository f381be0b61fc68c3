/* node/api/api.h: the REST routes under /api/v1, without HTTP.
 *
 * The web room takes requests off sockets and hands them here; one const
 * table of routes says method, path, permission, handler and the text from
 * which /api/v1/openapi.json is made.  Answers leave through struct api_out:
 * a status, a content type, then bytes; writes block while the client is
 * slow, so no answer needs more memory than its bounded pieces, and no read
 * transaction is open while a write blocks.
 *
 * Threads: api_handle may run on any number of threads at once (never on the
 * loop or the store's writer thread: handlers block). */
#ifndef PSC_API_API_H
#define PSC_API_API_H

#include <sys/types.h>

#include "node/backup/scrub.h"
#include "node/conf/conf.h"
#include "node/ingest/ingest.h"
#include "node/net/net.h"
#include "node/share/share.h"
#include "node/workdir/workdir.h"
#include "node/workflow/workflow.h"

struct api;
struct api_opts { /* all outlive the api */
	const struct conf *conf;
	const struct cry_identity *me;
	struct store *store;
	struct shares *shares;
	struct net *net;
	struct ingest *ingest;
	struct workflows *workflows;
	struct scrub *scrub; /* NULL: off */
	const char *helper;  /* path of pesscara-imaging */
	const char *home;
	bool unattended; /* opened by a credential file: status says so */
	/* Is this the owner's passphrase?  ERR_AUTH if not.  Not asked when
	 * unattended: the credential file stands for the owner then. */
	enum err (*person)(void *ctx, const char *passphrase);
	void *person_ctx;
};
enum err api_new(const struct api_opts *o, struct api **out) PSC_MUST_USE;
void api_free(struct api *a); /* NULL ok; after web_stop */
/* Shown as listen.rest in status.  web_start() calls it once it is bound. */
void api_set_rest_listen(struct api *a, const char *text);

/* --- a request, as web hands it over; all of it borrowed --- */
struct api_request {
	const char *method; /* "GET", "POST", "PUT", "DELETE" */
	const char *path;   /* whole, percent-decoded, "/api/v1/status" */
	/* Value of a query argument, NULL if absent. */
	const char *(*arg)(void *ctx, const char *name);
	void *arg_ctx;
	struct slice body;
	bool local;             /* came over the unix socket */
	const char *passphrase; /* of the person who acts; NULL: none */
	bool event_stream;      /* Accept: text/event-stream */
	uid_t uid; /* local: who (the owner); else the owner of the node */
};

/* --- where the answer goes; implemented by web (and by tests) --- */
struct api_out {
	/* Exactly once, before the first write. */
	enum err (*begin)(void *ctx, unsigned status, const char *type);
	/* Blocks while the client is slow; ERR_CANCELLED: it is gone or the
	 * node stops, give up. */
	enum err (*write)(void *ctx, struct slice bytes);
	/* After the last write: a name and value that follow the body. */
	void (*trailer)(void *ctx, const char *name, const char *value);
	/* True once nobody waits for the answer any more. */
	bool (*gone)(void *ctx);
	/* The answer cannot be finished: cut it so that the client sees. */
	void (*abort)(void *ctx);
	void *ctx;
};

/* Does this request's answer stream (bounded pieces over an unknown time)?
 * Web runs such a handler on a thread of its own. */
bool api_streams(const char *method, const char *path);
/* Carries out the request; every failure becomes an answer
 * {error, cause, next} with a fitting status. */
void api_handle(
    struct api *a, const struct api_request *r, struct api_out *out);
/* HTTP status for an error code. */
unsigned api_status_of(enum err e);
/* {error, cause, next} appended to out. */
void api_error_json(const struct errmsg *em, struct buf *out);
/* The OpenAPI 3.0 document, made from the table of routes. */
enum err api_openapi(struct buf *out) PSC_MUST_USE;

/* docs/rest.md. */
enum err api_doc(struct buf *out) PSC_MUST_USE;
/* For tests: the i-th route; false past the end. */
bool api_route_at(uint32_t i, const char **method, const char **pattern);

#define API_ROOT "/api/v1"

#endif
