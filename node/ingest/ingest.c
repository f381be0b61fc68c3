/* node/ingest/ingest.c: listen, accept, bound the associations.
 *
 * When all slots are taken the accept thread waits; the kernel's backlog
 * holds further callers, who see a slow answer and not a permanent refusal.
 * One address does not get them all: what it asks for above its part is
 * rejected for the time being (turned.c).
 * Stop: no new connections, running associations end by themselves (10 s),
 * then their helpers are gone with their threads. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node/conf/profile.h"
#include "node/ingest/folder.h"
#include "node/ops/log.h"
#include "store/base/clock.h"
#include "store/base/mem.h"

#define STOP_WAIT_S 10
#define LISTEN_TEXT sizeof(((struct ingest *)NULL)->listen_text)
#define ACCEPT_POLL_MS 200
#define SLOT_WAIT_NS 50000000L

static enum err
listen_text_set(int fd, const char *host, char *out, size_t cap)
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} sa;
	socklen_t len = sizeof(sa);
	uint16_t port;

	memset(&sa, 0, sizeof(sa));
	if (getsockname(fd, &sa.any, &len) != 0)
		return ERR_IO;
	port = sa.any.sa_family == AF_INET ? sa.v4.sin_port : sa.v6.sin6_port;
	(void)snprintf(out, cap, "%s:%u", host, ntohs(port));
	return ERR_OK;
}

static int
listen_socket(const struct addrinfo *ai)
{
	int one = 1;
	int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, ai->ai_addr, ai->ai_addrlen) == 0 && listen(fd, 64) == 0)
		return fd;
	(void)close(fd);
	return -1;
}

/* shown: holds LISTEN_TEXT bytes. */
static enum err
listen_on(
    const char *key, const char *text, int *fd, char *shown, struct errmsg *em)
{
	struct addrinfo hint = { .ai_socktype = SOCK_STREAM,
		.ai_flags = AI_PASSIVE | AI_NUMERICSERV };
	struct addrinfo *ai = NULL;
	char host[128], port_text[8];
	uint16_t port;
	enum err e;

	if (strcmp(text, "off") == 0)
		return ERR_OK;
	e = conf_address(text, host, sizeof(host), &port);
	if (e != ERR_OK)
		return errmsg_set(em, e, "write HOST:PORT or off",
		    "%s is not an address", key);
	(void)snprintf(port_text, sizeof(port_text), "%u", port);
	if (getaddrinfo(host, port_text, &hint, &ai) != 0)
		return errmsg_set(em, ERR_NOTFOUND,
		    "use an address of this machine in dicom.listen",
		    "%s: host %s is not known", key, host);
	*fd = listen_socket(ai);
	freeaddrinfo(ai);
	if (*fd >= 0)
		return listen_text_set(*fd, host, shown, LISTEN_TEXT);
	return errmsg_set(em, errno == EADDRINUSE ? ERR_BUSY : ERR_IO,
	    "stop the program that uses it, or set dicom.listen to a free "
	    "port",
	    "cannot listen for DICOM on %s: %s", text,
	    errno == EADDRINUSE ? "the port is taken" : "bind failed");
}

static enum err
ingest_tls(struct ingest *g, struct errmsg *em)
{
	const struct conf *c = g->o.conf;
	bool clients = strcmp(c->dicom_tls_clients, "required") == 0;
	char cert[512], key[512], signers[512];
	struct tls_files f = { cert, key, clients ? signers : NULL };

	if (strcmp(c->dicom_tls_listen, "off") == 0)
		return ERR_OK;
	(void)snprintf(cert, sizeof(cert), "%s/keys/dicom/cert.pem", g->o.home);
	(void)snprintf(key, sizeof(key), "%s/keys/dicom/key.pem", g->o.home);
	(void)snprintf(
	    signers, sizeof(signers), "%s/keys/dicom/clients.pem", g->o.home);
	return tls_server_new(&f, &g->tls, em);
}

static enum err
ingest_listen(struct ingest *g, struct errmsg *em)
{
	const struct conf *c = g->o.conf;
	enum err e = ingest_tls(g, em);

	if (e == ERR_OK)
		e = listen_on("dicom.listen", c->dicom_listen, &g->listen_fd,
		    g->listen_text, em);
	if (e == ERR_OK)
		e = listen_on("dicom.tls_listen", c->dicom_tls_listen,
		    &g->tls_fd, g->tls_text, em);
	return e;
}

/* Takes a slot; without one, waits a while for it.  false: stopping. */
static bool
slot_take(struct ingest *g, bool *taken)
{
	struct timespec until;
	bool ok;

	(void)clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += SLOT_WAIT_NS;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	pthread_mutex_lock(&g->mu);
	if (!g->stopping && g->running >= g->o.conf->limits_associations)
		(void)pthread_cond_timedwait(&g->slot_free, &g->mu, &until);
	*taken = g->running < g->o.conf->limits_associations;
	ok = !g->stopping;
	if (ok && *taken)
		g->running++;
	pthread_mutex_unlock(&g->mu);
	return ok;
}

static void
slot_give(struct ingest *g)
{
	pthread_mutex_lock(&g->mu);
	g->running--;
	pthread_cond_broadcast(&g->slot_free);
	pthread_mutex_unlock(&g->mu);
}

/* What one address may have of the slots. */
static uint64_t
slots_of_address(const struct conf *c)
{
	uint64_t all = c->limits_associations;

	if (c->limits_associations_address != 0)
		return c->limits_associations_address;
	return all > 1 ? all - (all + 3) / 4 : all;
}

/* Somebody calls; the slot is his or goes back. */
static void
accept_one(struct ingest *g, bool tls)
{
	int fd =
	    accept4(tls ? g->tls_fd : g->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	uint64_t may = slots_of_address(g->o.conf);
	struct peer_address from;
	bool room;

	if (fd < 0) {
		slot_give(g);
		return;
	}
	peer_address_of(fd, &from);
	pthread_mutex_lock(&g->mu);
	room = assoc_count_from(g, &from) < may || assoc_cut_silent(g, &from);
	pthread_mutex_unlock(&g->mu);
	if (room) {
		assoc_start(g, fd, &from, tls);
		return;
	}
	slot_give(g);
	turned_log(&g->turned, from.text, may);
	if (tls) /* it would not read a rejection in the clear */
		(void)close(fd);
	else
		turned_add(&g->turned, fd);
}

static void *
accept_main(void *arg)
{
	struct pollfd p[2 + TURNED_MAX];
	struct ingest *g = arg;
	uint32_t n;
	bool slot;

	while (slot_take(g, &slot)) {
		p[0] = (struct pollfd){ .fd = slot ? g->listen_fd : -1,
			.events = POLLIN };
		p[1] = (struct pollfd){ .fd = slot ? g->tls_fd : -1,
			.events = POLLIN };
		n = 2 + turned_poll(&g->turned, p + 2);
		/* Not for long: look at stopping, or for a slot, again. */
		if (poll(p, n, slot ? ACCEPT_POLL_MS : 0) < 0)
			memset(p, 0, sizeof(p));
		turned_tick(&g->turned, p + 2);
		if (slot && p[0].revents != 0)
			accept_one(g, false);
		else if (slot && p[1].revents != 0)
			accept_one(g, true);
		else if (slot)
			slot_give(g);
	}
	turned_fini(&g->turned);
	return NULL;
}

enum err
ingest_start(
    const struct ingest_opts *o, struct ingest **out, struct errmsg *em)
{
	struct ingest *g = mem_new(sizeof(*g));
	enum err e;

	if (g == NULL)
		return errmsg_set(em, ERR_NOMEM, "", "out of memory");
	g->o = *o;
	g->listen_fd = g->tls_fd = -1;
	(void)snprintf(g->listen_text, sizeof(g->listen_text), "off");
	(void)snprintf(g->tls_text, sizeof(g->tls_text), "off");
	(void)pthread_mutex_init(&g->mu, NULL);
	(void)pthread_mutex_init(&g->release_mu, NULL);
	(void)pthread_cond_init(&g->slot_free, NULL);
	e = profile_check_conf(g->o.home, g->o.conf, em);
	if (e != ERR_OK) {
		(void)ingest_stop(g);
		return e;
	}
	e = held_restore(g);
	if (e != ERR_OK)
		(void)errmsg_set(em, e, "run `pesscara verify --deep`",
		    "the vault's rows cannot be read: %s", err_text(e));
	else
		reject_resume(g);
	if (e == ERR_OK)
		e = ingest_listen(g, em);
	if (e == ERR_OK && (g->listen_fd >= 0 || g->tls_fd >= 0)) {
		if (pthread_create(&g->accept_thread, NULL, accept_main, g) ==
		    0)
			g->accepting = true;
		else
			e = errmsg_set(em, ERR_NOMEM, "", "no thread left");
	}
	if (e == ERR_OK)
		e = folders_start(g, em);
	if (e == ERR_OK)
		e = commits_start(g, em);
	if (e != ERR_OK) {
		(void)ingest_stop(g);
		return e;
	}
	*out = g;
	return ERR_OK;
}

bool
ingest_stop(struct ingest *g)
{
	struct timespec until;

	if (g == NULL)
		return true;
	pthread_mutex_lock(&g->mu);
	g->stopping = true;
	pthread_cond_broadcast(&g->slot_free);
	pthread_mutex_unlock(&g->mu);
	if (g->accepting)
		(void)pthread_join(g->accept_thread, NULL);
	if (g->listen_fd >= 0)
		(void)close(g->listen_fd);
	if (g->tls_fd >= 0)
		(void)close(g->tls_fd);
	(void)clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += STOP_WAIT_S;
	if (!folders_stop(g, &until) || !commits_stop(g, &until))
		return false;
	pthread_mutex_lock(&g->mu);
	while (g->running > 0 &&
	       pthread_cond_timedwait(&g->slot_free, &g->mu, &until) == 0)
		;
	if (g->running > 0) {
		/* Their threads still use g: leave it to the exiting process.
		 */
		pthread_mutex_unlock(&g->mu);
		log_warn("ingest", "associations cut off", "n=%u", g->running);
		return false; /* their threads still use g */
	}
	pthread_mutex_unlock(&g->mu);
	(void)pthread_mutex_destroy(&g->mu);
	(void)pthread_mutex_destroy(&g->release_mu);
	(void)pthread_cond_destroy(&g->slot_free);
	tls_server_free(g->tls);
	mem_free(g);
	return true;
}

void
ingest_listen_text(struct ingest *g, char *out, size_t cap)
{
	(void)snprintf(out, cap, "%s", g->listen_text);
}

void
ingest_tls_text(struct ingest *g, char *out, size_t cap)
{
	(void)snprintf(out, cap, "%s", g->tls_text);
}
