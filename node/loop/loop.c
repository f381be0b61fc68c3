/* node/loop/loop.c: the loop itself, its error codes and addresses. */
#include "node/loop/loop_internal.h"

#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>

enum err
loop_new(struct loop **out)
{
	struct loop *l = mem_new(sizeof(*l));
	int rc;

	if (l == NULL)
		return ERR_NOMEM;
	rc = uv_loop_init(&l->uv);
	if (rc != 0) {
		mem_free(l);
		return loop_err(rc);
	}
	*out = l;
	return ERR_OK;
}

void
loop_run(struct loop *l)
{
	sigset_t pipe;

	/* A write to a connection that is gone answers EPIPE; the signal that
	 * comes with it would end the process. */
	sigemptyset(&pipe);
	sigaddset(&pipe, SIGPIPE);
	(void)pthread_sigmask(SIG_BLOCK, &pipe, NULL);
	(void)uv_run(&l->uv, UV_RUN_DEFAULT);
}

void
loop_free(struct loop *l)
{
	if (l == NULL)
		return;
	/* Handles closed before the loop ever ran finish here. */
	(void)uv_run(&l->uv, UV_RUN_NOWAIT);
	REQUIRE(uv_loop_close(&l->uv) == 0);
	mem_free(l);
}

enum err
loop_err(int rc)
{
	if (rc >= 0)
		return ERR_OK;
	switch (rc) {
	case UV_ENOMEM: return ERR_NOMEM;
	case UV_EADDRINUSE: return ERR_BUSY;
	case UV_EACCES: return ERR_DENIED;
	case UV_ETIMEDOUT: return ERR_TIMEOUT;
	case UV_ECANCELED: return ERR_CANCELLED;
	case UV_EINVAL: return ERR_MALFORMED;
	case UV_EAGAIN: return ERR_NOTFOUND;
	default: return ERR_IO;
	}
}

enum err
loop_addr_numeric(const char *host, uint16_t port, struct sockaddr_storage *out)
{
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;

	memset(out, 0, sizeof(*out));
	if (uv_ip4_addr(host, port, &v4) == 0) {
		memcpy(out, &v4, sizeof(v4));
		return ERR_OK;
	}
	if (uv_ip6_addr(host, port, &v6) == 0) {
		memcpy(out, &v6, sizeof(v6));
		return ERR_OK;
	}
	return ERR_MALFORMED;
}

void
loop_addr_set_port(struct sockaddr_storage *sa, uint16_t port)
{
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;

	if (sa->ss_family == AF_INET) {
		memcpy(&v4, sa, sizeof(v4));
		v4.sin_port = htons(port);
		memcpy(sa, &v4, sizeof(v4));
	} else {
		memcpy(&v6, sa, sizeof(v6));
		v6.sin6_port = htons(port);
		memcpy(sa, &v6, sizeof(v6));
	}
}

void
loop_addr_text(const struct sockaddr *sa, char out[LOOP_ADDR_TEXT])
{
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
	char host[64];

	out[0] = '\0';
	if (sa->sa_family == AF_INET) {
		memcpy(&v4, sa, sizeof(v4));
		if (uv_ip4_name(&v4, host, sizeof(host)) == 0)
			(void)snprintf(out, LOOP_ADDR_TEXT, "%s:%u", host,
			    (unsigned)ntohs(v4.sin_port));
	} else if (sa->sa_family == AF_INET6) {
		memcpy(&v6, sa, sizeof(v6));
		if (uv_ip6_name(&v6, host, sizeof(host)) == 0)
			(void)snprintf(out, LOOP_ADDR_TEXT, "[%s]:%u", host,
			    (unsigned)ntohs(v6.sin6_port));
	}
}
