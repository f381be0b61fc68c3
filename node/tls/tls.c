/* node/tls/tls.c: TLS ended in the node, by GnuTLS.
 *
 * Happy path: handshake on the caller's thread, then a thread of its own
 * copies records one way and bytes the other, between the peer's socket and
 * our end of a socket pair, until one side ends.
 * Failure modes: a peer that stalls in the handshake is left after 10 s; one
 * that stalls later holds the thread until tls_close() cuts its socket. */
#include <errno.h>
#include <gnutls/gnutls.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "node/tls/tls.h"
#include "store/base/mem.h"

#define HANDSHAKE_MS 10000u
#define SEND_S 60
#define LINGER_MS 5000
#define COPY_BYTES 16384u
#define PRIORITIES                                                             \
	"SECURE128:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-RSA:"                  \
	"%SERVER_PRECEDENCE"

struct tls_server {
	gnutls_certificate_credentials_t creds;
	gnutls_priority_t priorities;
	bool clients; /* they must show a certificate */
};

struct tls_conn {
	gnutls_session_t session;
	int fd;   /* the caller's */
	int near; /* our end of the pair */
	pthread_t thread;
	uint8_t up[COPY_BYTES];
	uint8_t down[COPY_BYTES];
};

/* --- the server --- */

static enum err
key_mode(const char *path, struct errmsg *em)
{
	struct stat st;

	if (stat(path, &st) != 0)
		return errmsg_set(em, ERR_NOTFOUND, "put it there",
		    "the TLS key cannot be read: %s", strerrordesc_np(errno));
	if ((st.st_mode & (S_IRWXG | S_IRWXO)) != 0)
		return errmsg_set(em, ERR_DENIED, "chmod 600 it",
		    "the TLS key may be read by others");
	return ERR_OK;
}

static enum err
server_files(struct tls_server *s, const struct tls_files *f, struct errmsg *em)
{
	int rc;
	enum err e = key_mode(f->key, em);

	if (e != ERR_OK)
		return e;
	rc = gnutls_certificate_set_x509_key_file(
	    s->creds, f->cert, f->key, GNUTLS_X509_FMT_PEM);
	if (rc != 0)
		return errmsg_set(em, ERR_MALFORMED,
		    "both in PEM; the key must be that of the certificate",
		    "TLS certificate and key: %s", gnutls_strerror(rc));
	if (f->clients == NULL)
		return ERR_OK;
	s->clients = true;
	rc = gnutls_certificate_set_x509_trust_file(
	    s->creds, f->clients, GNUTLS_X509_FMT_PEM);
	if (rc > 0)
		return ERR_OK;
	return errmsg_set(em, ERR_MALFORMED,
	    "put the certificates of those who sign the senders' there (PEM)",
	    "TLS certificates of clients: %s",
	    rc == 0 ? "none in the file" : gnutls_strerror(rc));
}

enum err
tls_server_new(
    const struct tls_files *f, struct tls_server **out, struct errmsg *em)
{
	struct tls_server *s = mem_new(sizeof(*s));
	enum err e = ERR_OK;

	if (s == NULL)
		return errmsg_set(em, ERR_NOMEM, "", "out of memory");
	if (gnutls_certificate_allocate_credentials(&s->creds) != 0 ||
	    gnutls_priority_init(&s->priorities, PRIORITIES, NULL) != 0)
		e = errmsg_set(em, ERR_FOREIGN, "check the installation",
		    "TLS cannot be set up");
	if (e == ERR_OK)
		e = server_files(s, f, em);
	if (e != ERR_OK) {
		tls_server_free(s);
		return e;
	}
	*out = s;
	return ERR_OK;
}

void
tls_server_free(struct tls_server *s)
{
	if (s == NULL)
		return;
	if (s->creds != NULL)
		gnutls_certificate_free_credentials(s->creds);
	if (s->priorities != NULL)
		gnutls_priority_deinit(s->priorities);
	mem_free(s);
}

/* --- the copying thread --- */

static bool
near_write(struct tls_conn *c, const uint8_t *p, size_t n)
{
	while (n > 0) {
		ssize_t sent = send(c->near, p, n, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent <= 0)
			return false;
		p += sent;
		n -= (size_t)sent;
	}
	return true;
}

/* A record of the peer's; false: it ended, or broke the rules. */
static bool
copy_up(struct tls_conn *c)
{
	ssize_t n = gnutls_record_recv(c->session, c->up, sizeof(c->up));

	if (n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED)
		return true;
	if (n > 0)
		return near_write(c, c->up, (size_t)n);
	/* What came before may be whole; the other side sees an end. */
	(void)shutdown(c->near, SHUT_WR);
	return false;
}

static bool
copy_down(struct tls_conn *c)
{
	ssize_t n = recv(c->near, c->down, sizeof(c->down), 0), at = 0, sent;

	if (n < 0 && errno == EINTR)
		return true;
	if (n <= 0) {
		(void)gnutls_bye(c->session, GNUTLS_SHUT_WR);
		return false;
	}
	while (at < n) {
		sent = gnutls_record_send(
		    c->session, c->down + at, (size_t)(n - at));
		if (sent == GNUTLS_E_INTERRUPTED)
			continue;
		if (sent <= 0)
			return false;
		at += sent;
	}
	return true;
}

static void *
conn_main(void *arg)
{
	struct tls_conn *c = arg;
	struct pollfd p[2] = { { .fd = c->fd, .events = POLLIN },
		{ .fd = c->near, .events = POLLIN } };
	bool up = true;

	for (;;) {
		bool held = up && gnutls_record_check_pending(c->session) > 0;

		if (poll(p, 2, held ? 0 : -1) < 0 && errno != EINTR)
			break;
		if (up && (held || p[0].revents != 0) && !copy_up(c)) {
			up = false;
			p[0].fd = -1;
		}
		if (p[1].revents != 0 && !copy_down(c))
			break;
	}
	(void)shutdown(c->near, SHUT_RDWR);
	(void)shutdown(c->fd, SHUT_WR);
	return NULL;
}

/* --- a connection --- */

static enum err
conn_verify(const struct tls_server *s, struct tls_conn *c, struct errmsg *em)
{
	unsigned status = 0;
	int rc;

	if (!s->clients)
		return ERR_OK;
	rc = gnutls_certificate_verify_peers2(c->session, &status);
	if (rc == 0 && status == 0)
		return ERR_OK;
	return errmsg_set(em, ERR_AUTH,
	    "if it is the real one, add who signed its certificate to "
	    "keys/dicom/clients.pem",
	    "the caller's certificate is not signed by one we trust, or not "
	    "good now");
}

static enum err
conn_handshake(struct tls_server *s, struct tls_conn *c, struct errmsg *em)
{
	const struct timeval tv = { .tv_sec = SEND_S };
	enum err e;
	int rc;

	(void)setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	if (gnutls_init(&c->session, GNUTLS_SERVER | GNUTLS_NO_SIGNAL) != 0)
		return errmsg_set(em, ERR_NOMEM, "", "out of memory");
	if (gnutls_priority_set(c->session, s->priorities) != 0 ||
	    gnutls_credentials_set(
		c->session, GNUTLS_CRD_CERTIFICATE, s->creds) != 0)
		return errmsg_set(em, ERR_FOREIGN, "", "TLS cannot be set up");
	gnutls_certificate_server_set_request(
	    c->session, s->clients ? GNUTLS_CERT_REQUIRE : GNUTLS_CERT_IGNORE);
	gnutls_handshake_set_timeout(c->session, HANDSHAKE_MS);
	gnutls_transport_set_int(c->session, c->fd);
	do
		rc = gnutls_handshake(c->session);
	while (rc < 0 && gnutls_error_is_fatal(rc) == 0);
	if (rc < 0)
		return errmsg_set(em, ERR_AUTH,
		    "it must speak TLS 1.2 or 1.3, and show a certificate if "
		    "dicom.tls_clients says required",
		    "no TLS with the caller: %s", gnutls_strerror(rc));
	e = conn_verify(s, c, em);
	if (e != ERR_OK)
		(void)gnutls_alert_send(
		    c->session, GNUTLS_AL_FATAL, GNUTLS_A_BAD_CERTIFICATE);
	return e;
}

static void
conn_free(struct tls_conn *c)
{
	if (c->session != NULL)
		gnutls_deinit(c->session);
	if (c->near >= 0)
		(void)close(c->near);
	mem_free(c);
}

enum err
tls_open(struct tls_server *s, int fd, int *plain, struct tls_conn **out,
    struct errmsg *em)
{
	struct tls_conn *c = mem_new(sizeof(*c));
	int sv[2];
	enum err e;

	if (c == NULL)
		return errmsg_set(em, ERR_NOMEM, "", "out of memory");
	c->fd = fd;
	c->near = -1;
	e = conn_handshake(s, c, em);
	if (e != ERR_OK) {
		conn_free(c);
		return e;
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) != 0) {
		conn_free(c);
		return errmsg_set(em, ERR_IO, "", "no socket left");
	}
	c->near = sv[0];
	if (pthread_create(&c->thread, NULL, conn_main, c) != 0) {
		(void)close(sv[1]);
		conn_free(c);
		return errmsg_set(em, ERR_NOMEM, "", "no thread left");
	}
	*plain = sv[1];
	*out = c;
	return ERR_OK;
}

void
tls_close(struct tls_conn *c)
{
	struct timespec t;

	if (c == NULL)
		return;
	/* The plain side is closed by now: the thread sends what is left. */
	(void)clock_gettime(CLOCK_REALTIME, &t);
	t.tv_sec += LINGER_MS / 1000;
	if (pthread_timedjoin_np(c->thread, NULL, &t) != 0) {
		(void)shutdown(c->fd, SHUT_RDWR);
		(void)shutdown(c->near, SHUT_RDWR);
		(void)pthread_join(c->thread, NULL);
	}
	conn_free(c);
}
