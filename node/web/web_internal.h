/* node/web/web_internal.h: what the files of this room share.
 *
 * A request moves: HEAD (checked, perhaps refused) -> BODY (collected) ->
 * handled, either on the connection's thread into one buffer, or by a
 * producer thread through a bounded queue that MHD's reader drains. */
#ifndef PSC_WEB_INTERNAL_H
#define PSC_WEB_INTERNAL_H

#include <pthread.h>
#include <microhttpd.h>

#include "node/web/web.h"

#define WEB_SOCKET "pesscara.sock"
#define WEB_TOKEN_FILE "rest-token"
#define WEB_TOKEN_TEXT 64u  /* hex digits of 32 random bytes */
#define WEB_CONNECTIONS 64u /* at each of the two sockets */
#define WEB_CONNECTIONS_PER_IP 32u
#define WEB_IDLE_S 60u
#define WEB_STACK_BYTES (1 * MIB)
#define WEB_QUEUE_BYTES (256 * KIB) /* of one stream */
#define WEB_ANSWER_BYTES (16 * MIB) /* of one answer that does not stream */
#define WEB_BLOCK_BYTES (32 * KIB)
#define WEB_PULSE_MS 1000u  /* between looks whether a client is still there */
#define WEB_BEAT_PULSES 10u /* silent pulses before a sign of life is sent */

struct web_side { /* one listening socket, as the callbacks see it */
	struct web *w;
	bool local;
	struct MHD_Daemon *daemon;
};

struct web {
	struct api *api;
	char home[4096];
	char token[WEB_TOKEN_TEXT + 1];
	uid_t owner;
	struct web_side local;
	struct web_side tcp;
	pthread_mutex_t mu; /* live, stopping */
	struct web_req *live;
	bool stopping;
};

/* The answer of one request: a queue between who makes it and who sends it.
 * mu guards all of it. */
struct web_answer {
	pthread_mutex_t mu;
	pthread_cond_t more; /* bytes, begun, done or aborted */
	pthread_cond_t room;
	unsigned status;
	char type[64];
	bool begun;
	bool done;    /* the handler returned */
	bool aborted; /* the handler could not finish */
	bool gone;    /* nobody reads any more */
	bool bounded; /* stream: writes wait at WEB_QUEUE_BYTES */
	struct buf q;
	size_t at; /* q.p[at..n) is still to be sent */
	char trailer_name[32];
	char trailer_value[128];
};

struct web_req {
	struct web *w;
	struct web_req *next;
	struct web_req *prev;
	struct MHD_Connection *conn;
	struct MHD_Response *response; /* of a stream, for its trailer */
	const char *url;
	const char *method;
	uid_t uid;
	bool local;
	bool event_stream;
	bool too_big;
	bool handled;
	bool threaded;
	uint32_t silent; /* pulses without a byte */
	pthread_t thread;
	struct buf body;
	struct web_answer a;
};

/* web_answer.c */
enum err web_answer_init(struct web_answer *a) PSC_MUST_USE;
void web_answer_fini(struct web_answer *a);
struct api_out web_answer_out(struct web_answer *a);
void web_answer_done(struct web_answer *a); /* the handler returned */
void web_answer_drop(struct web_answer *a); /* nobody reads any more */
/* Up to cap bytes; 0: none within a pulse; <0: ended, *e says how. */
ssize_t web_answer_take(
    struct web_answer *a, char *to, size_t cap, enum err *e);
/* Waits until the status is known. */
void web_answer_await(struct web_answer *a);

/* web_http.c: MHD's callbacks; cls is a struct web_side. */
enum MHD_Result web_access(void *cls, struct MHD_Connection *conn,
    const char *url, const char *method, const char *version,
    const char *upload, size_t *upload_n, void **req);
void web_completed(void *cls, struct MHD_Connection *conn, void **req,
    enum MHD_RequestTerminationCode why);

/* web_listen.c */
enum err web_listen_unix(
    const char *home, int *fd, struct errmsg *em) PSC_MUST_USE;
void web_unlink_socket(const char *home);
enum err web_listen_tcp(const char *address, int *fd, char *text, size_t cap,
    struct errmsg *em) PSC_MUST_USE;
/* Reads HOME/rest-token or makes it. */
enum err web_token_load(const char *home, char token[WEB_TOKEN_TEXT + 1],
    struct errmsg *em) PSC_MUST_USE;
/* Constant time in what is given, for equal lengths. */
bool web_token_equal(const char *want, const char *given);

#endif
