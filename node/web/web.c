/* node/web/web.c: start and stop.
 *
 * Happy path: token, socket, TCP port, then one MHD daemon a socket, each
 * connection on a thread of its own.  Failure: what was opened is closed
 * again and em says which address could not be had.  Stopping first drops
 * every running answer, so that no handler waits for a client while MHD joins
 * the threads. */
#include "node/web/web_internal.h"

#include <stdarg.h>
#include <unistd.h>

#include "node/ops/log.h"
#include "store/base/mem.h"

static void
web_mhd_log(void *cls, const char *fmt, va_list ap)
{
	(void)cls;
	(void)fmt;
	(void)ap; /* may hold what a client sent */
	log_info("web", "an HTTP connection was refused or broken", "%s", "");
}

static enum err
web_serve(struct web *w, struct web_side *side, int *fd, bool local)
{
	unsigned per_ip = local ? 0 : WEB_CONNECTIONS_PER_IP;

	side->w = w;
	side->local = local;
	side->daemon = MHD_start_daemon(
	    MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD |
		MHD_USE_POLL | MHD_USE_ITC | MHD_USE_ERROR_LOG,
	    0, NULL, NULL, web_access, side, MHD_OPTION_EXTERNAL_LOGGER,
	    web_mhd_log, NULL, MHD_OPTION_LISTEN_SOCKET, *fd,
	    MHD_OPTION_NOTIFY_COMPLETED, web_completed, side,
	    MHD_OPTION_CONNECTION_LIMIT, WEB_CONNECTIONS,
	    MHD_OPTION_PER_IP_CONNECTION_LIMIT, per_ip,
	    MHD_OPTION_CONNECTION_TIMEOUT, WEB_IDLE_S,
	    MHD_OPTION_THREAD_STACK_SIZE, (size_t)WEB_STACK_BYTES,
	    MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)(64 * KIB),
	    MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
	if (side->daemon == NULL)
		return ERR_FOREIGN;
	*fd = -1; /* the daemon closes it */
	return ERR_OK;
}

static enum err
web_start_tcp(struct web *w, const char *listen, struct errmsg *em)
{
	char text[160] = "off";
	int fd = -1;
	enum err e;

	if (strcmp(listen, "off") != 0) {
		e = web_listen_tcp(listen, &fd, text, sizeof(text), em);
		if (e == ERR_OK) {
			e = web_serve(w, &w->tcp, &fd, false);
			if (e != ERR_OK)
				(void)errmsg_set(em, e, "",
				    "HTTP over TCP "
				    "cannot start");
		}
		if (fd >= 0)
			(void)close(fd);
		if (e != ERR_OK)
			return e;
	}
	api_set_rest_listen(w->api, text);
	return ERR_OK;
}

static enum err
web_start_unix(struct web *w, struct errmsg *em)
{
	int fd = -1;
	enum err e = web_listen_unix(w->home, &fd, em);

	if (e != ERR_OK)
		return e;
	e = web_serve(w, &w->local, &fd, true);
	if (e != ERR_OK) {
		(void)close(fd);
		web_unlink_socket(w->home);
		return errmsg_set(em, e, "", "HTTP on the socket cannot start");
	}
	return ERR_OK;
}

enum err
web_start(const struct web_opts *o, struct web **out, struct errmsg *em)
{
	struct web *w = mem_new(sizeof(*w));
	enum err e;

	if (w == NULL || pthread_mutex_init(&w->mu, NULL) != 0) {
		mem_free(w);
		return errmsg_set(em, ERR_NOMEM, "", "out of memory");
	}
	w->api = o->api;
	w->owner = geteuid();
	if ((size_t)snprintf(w->home, sizeof(w->home), "%s", o->home) >=
	    sizeof(w->home))
		e = errmsg_set(
		    em, ERR_LIMIT, "", "the home's path is too long");
	else
		e = web_token_load(w->home, w->token, em);
	if (e == ERR_OK)
		e = web_start_unix(w, em);
	if (e == ERR_OK)
		e = web_start_tcp(w, o->listen, em);
	if (e != ERR_OK) {
		web_stop(w);
		return e;
	}
	*out = w;
	return ERR_OK;
}

void
web_stop(struct web *w)
{
	struct web_req *r;

	if (w == NULL)
		return;
	(void)pthread_mutex_lock(&w->mu);
	w->stopping = true;
	for (r = w->live; r != NULL; r = r->next)
		web_answer_drop(&r->a);
	(void)pthread_mutex_unlock(&w->mu);
	if (w->tcp.daemon != NULL)
		MHD_stop_daemon(w->tcp.daemon);
	if (w->local.daemon != NULL) {
		MHD_stop_daemon(w->local.daemon);
		web_unlink_socket(w->home);
	}
	explicit_bzero(w->token, sizeof(w->token));
	(void)pthread_mutex_destroy(&w->mu);
	mem_free(w);
}
