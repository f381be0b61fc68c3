/* node/web/web_listen.c: the two listening sockets and the token.
 *
 * Happy path: bind HOME/pesscara.sock with mode 0600, bind the TCP address,
 * read or make HOME/rest-token.  Failure: a daemon that answers on the socket
 * or a taken port is ERR_BUSY; a token file that others may read is refused.
 * A path too long for sun_path (108 bytes) is bound through
 * /proc/self/fd/N of its folder. */
#include "node/web/web_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "store/base/enc.h"

#define WEB_BACKLOG 64

static enum err
web_sock_err(struct errmsg *em, const char *what, const char *next)
{
	return errmsg_set(em, errno == EADDRINUSE ? ERR_BUSY : ERR_IO, next,
	    "%s: %s", what, strerrordesc_np(errno));
}

/* Is somebody accepting there? */
static bool
web_answers(const struct sockaddr_un *at)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int rc, why;

	if (fd < 0)
		return true;
	rc = connect(fd, (const struct sockaddr *)at, sizeof(*at));
	why = errno;
	(void)close(fd);
	return rc == 0 || (why != ECONNREFUSED && why != ENOENT);
}

static enum err
web_bind_unix(int dir, int *fd, struct errmsg *em)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	struct stat st;
	int s;

	(void)snprintf(at.sun_path, sizeof(at.sun_path),
	    "/proc/self/fd/%d/" WEB_SOCKET, dir);
	if (fstatat(dir, WEB_SOCKET, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		if (!S_ISSOCK(st.st_mode) || web_answers(&at))
			return errmsg_set(em, ERR_BUSY,
			    "Stop the other pesscarad, or use another --home.",
			    "another node answers on " WEB_SOCKET);
		(void)unlinkat(dir, WEB_SOCKET, 0);
	}
	s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* unix(7): the mode of the socket before bind() becomes the file's. */
	if (s < 0 || fchmod(s, 0600) != 0 ||
	    bind(s, (const struct sockaddr *)&at, sizeof(at)) != 0 ||
	    listen(s, WEB_BACKLOG) != 0) {
		enum err e = web_sock_err(em, WEB_SOCKET,
		    "Check the rights and the file system of the home.");

		if (s >= 0)
			(void)close(s);
		return e;
	}
	*fd = s;
	return ERR_OK;
}

enum err
web_listen_unix(const char *home, int *fd, struct errmsg *em)
{
	int dir = open(home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	enum err e;

	if (dir < 0)
		return web_sock_err(em, "the node's home", "Run: init");
	e = web_bind_unix(dir, fd, em);
	(void)close(dir);
	return e;
}

void
web_unlink_socket(const char *home)
{
	int dir = open(home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0)
		return;
	(void)unlinkat(dir, WEB_SOCKET, 0);
	(void)close(dir);
}

static int
web_bind_tcp(const struct addrinfo *a)
{
	int one = 1;
	int s =
	    socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (s < 0)
		return -1;
	if (setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0 &&
	    bind(s, a->ai_addr, a->ai_addrlen) == 0 &&
	    listen(s, WEB_BACKLOG) == 0)
		return s;
	(void)close(s);
	return -1;
}

static enum err
web_bound_text(int fd, const char *host, char *text, size_t cap)
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} at = { 0 };
	socklen_t n = sizeof(at);
	uint16_t port;

	if (getsockname(fd, &at.any, &n) != 0)
		return ERR_IO;
	port = at.any.sa_family == AF_INET6 ? at.v6.sin6_port : at.v4.sin_port;
	(void)snprintf(text, cap, strchr(host, ':') ? "[%s]:%u" : "%s:%u", host,
	    (unsigned)ntohs(port));
	return ERR_OK;
}

enum err
web_listen_tcp(
    const char *address, int *fd, char *text, size_t cap, struct errmsg *em)
{
	struct addrinfo want = { .ai_socktype = SOCK_STREAM,
		.ai_flags = AI_PASSIVE | AI_NUMERICSERV };
	struct addrinfo *list = NULL, *a;
	char host[128], port_text[8];
	uint16_t port;
	int s = -1;

	if (conf_address(address, host, sizeof(host), &port) != ERR_OK)
		return errmsg_set(em, ERR_MALFORMED, "Correct rest.listen.",
		    "rest.listen is not HOST:PORT");
	(void)snprintf(port_text, sizeof(port_text), "%u", (unsigned)port);
	if (getaddrinfo(host, port_text, &want, &list) != 0)
		return errmsg_set(em, ERR_NOTFOUND, "Correct rest.listen.",
		    "rest.listen: unknown host");
	for (a = list; a != NULL && s < 0; a = a->ai_next)
		s = web_bind_tcp(a);
	freeaddrinfo(list);
	if (s < 0)
		return web_sock_err(em, "rest.listen",
		    "Choose another port: config set rest.listen=HOST:0");
	*fd = s;
	return web_bound_text(s, host, text, cap);
}

/* --- the token --- */
static enum err
web_token_make(int dir, char token[WEB_TOKEN_TEXT + 1])
{
	uint8_t raw[WEB_TOKEN_TEXT / 2];
	ssize_t n;
	int fd;

	if (getrandom(raw, sizeof(raw), 0) != (ssize_t)sizeof(raw))
		return ERR_IO;
	enc_hex(slice_of(raw, sizeof(raw)), token);
	explicit_bzero(raw, sizeof(raw));
	fd = openat(dir, WEB_TOKEN_FILE,
	    O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return ERR_IO;
	n = write(fd, token, WEB_TOKEN_TEXT);
	if (n == (ssize_t)WEB_TOKEN_TEXT)
		n = write(fd, "\n", 1);
	if (fsync(fd) != 0 || n != 1) {
		(void)close(fd);
		(void)unlinkat(dir, WEB_TOKEN_FILE, 0);
		return ERR_IO;
	}
	return close(fd) == 0 ? ERR_OK : ERR_IO;
}

static enum err
web_token_read(int fd, char token[WEB_TOKEN_TEXT + 1])
{
	uint8_t raw[WEB_TOKEN_TEXT / 2];
	struct stat st;

	if (fstat(fd, &st) != 0 || (st.st_mode & 077) != 0)
		return ERR_DENIED;
	if (read(fd, token, WEB_TOKEN_TEXT) != (ssize_t)WEB_TOKEN_TEXT)
		return ERR_MALFORMED;
	token[WEB_TOKEN_TEXT] = '\0';
	return dec_hex(slice_str(token), raw, sizeof(raw));
}

enum err
web_token_load(
    const char *home, char token[WEB_TOKEN_TEXT + 1], struct errmsg *em)
{
	int dir = open(home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int fd = -1;
	enum err e = ERR_IO;

	if (dir >= 0)
		fd = openat(
		    dir, WEB_TOKEN_FILE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd >= 0) {
		e = web_token_read(fd, token);
		(void)close(fd);
	} else if (dir >= 0 && errno == ENOENT) {
		e = web_token_make(dir, token);
	}
	if (dir >= 0)
		(void)close(dir);
	if (e != ERR_OK)
		return errmsg_set(em, e,
		    "Remove the file; the node makes a new one (mode 0600).",
		    WEB_TOKEN_FILE " cannot be used: %s", err_text(e));
	return ERR_OK;
}

bool
web_token_equal(const char *want, const char *given)
{
	unsigned diff = 0;
	size_t i;

	if (strlen(given) != WEB_TOKEN_TEXT)
		return false;
	for (i = 0; i < WEB_TOKEN_TEXT; i++)
		diff |= (unsigned)(want[i] ^ given[i]);
	return diff == 0;
}
