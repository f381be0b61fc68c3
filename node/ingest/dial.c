/* node/ingest/dial.c: connect to an archive.
 *
 * The helper may not make connections, so the node does, and hands it the
 * socket.  Every address of the name is tried, each for a bounded time. */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node/ingest/ingest_internal.h"

#define DIAL_MS 10000

/* 0, or an errno. */
static int
dial_wait(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	socklen_t n = sizeof(int);
	int code = 0, rc;

	do
		rc = poll(&p, 1, DIAL_MS);
	while (rc < 0 && errno == EINTR);
	if (rc == 0)
		return ETIMEDOUT;
	if (rc < 0 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &n) != 0)
		return errno;
	return code;
}

static int
dial_one(const struct addrinfo *ai, int *fd)
{
	int on = 1, code;

	*fd = socket(
	    ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (*fd < 0)
		return errno;
	code = connect(*fd, ai->ai_addr, ai->ai_addrlen) == 0 ? 0 : errno;
	if (code == EINPROGRESS)
		code = dial_wait(*fd);
	/* A query is two small sends: Nagle would hold the second back. */
	if (code == 0 &&
	    (setsockopt(*fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0))
		code = errno;
	if (code != 0) {
		(void)close(*fd);
		*fd = -1;
	}
	return code;
}

enum err
dial_archive(const char *address, int *fd, struct errmsg *em)
{
	struct addrinfo hint = { .ai_socktype = SOCK_STREAM,
		.ai_flags = AI_NUMERICSERV };
	struct addrinfo *all = NULL, *ai;
	char host[128], port_text[8];
	int code = EADDRNOTAVAIL;
	uint16_t port;
	enum err e = conf_address(address, host, sizeof(host), &port);

	*fd = -1;
	if (e != ERR_OK)
		return errmsg_set(em, e, "correct dicom.archives",
		    "%s is not an address", address);
	(void)snprintf(port_text, sizeof(port_text), "%u", port);
	if (getaddrinfo(host, port_text, &hint, &all) != 0)
		return errmsg_set(em, ERR_NOTFOUND,
		    "correct its address in dicom.archives",
		    "host %s is not known", host);
	for (ai = all; ai != NULL && code != 0; ai = ai->ai_next)
		code = dial_one(ai, fd);
	freeaddrinfo(all);
	if (code == 0)
		return ERR_OK;
	return errmsg_set(em, code == ETIMEDOUT ? ERR_TIMEOUT : ERR_IO,
	    "is it running, and may this machine reach it?",
	    "cannot connect to %s: %s", address, strerrordesc_np(code));
}
