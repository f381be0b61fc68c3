/* node/ingest/turned.c: callers that are turned away, without a helper.
 *
 * Happy path: an address has as many associations as it may; its next
 * connection waits here until it says something, which is thrown away unread,
 * and gets A-ASSOCIATE-RJ: transient, local limit exceeded (PS3.8 9.3.4), so
 * that it tries again.  Then it may close.
 * Failure modes: who says nothing, or does not close, is cut off; when too
 * many are here the oldest is. */
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node/ingest/ingest_internal.h"
#include "node/ops/log.h"
#include "store/base/clock.h"

#define TURNED_MS 5000u
#define TURNED_LOG_MS 1000u

/* Rejected, transient, by the presentation provider: local limit exceeded. */
static const uint8_t reject_pdu[] = { 3, 0, 0, 0, 0, 4, 0, 2, 3, 2 };

static void
turned_drop(struct turned *t, uint32_t i)
{
	(void)close(t->c[i].fd);
	t->n--;
	memmove(&t->c[i], &t->c[i + 1], (t->n - i) * sizeof(t->c[0]));
}

void
turned_add(struct turned *t, int fd)
{
	if (t->n == TURNED_MAX)
		turned_drop(t, 0);
	t->c[t->n++] = (struct turned_one){ .fd = fd,
		.until_ms = clock_mono_ms() + TURNED_MS };
}

/* It said something, or is gone; false: there is no more to come. */
static bool
turned_read(struct turned_one *c)
{
	uint8_t unread[4096];
	ssize_t n = recv(c->fd, unread, sizeof(unread), MSG_DONTWAIT);

	if (n <= 0)
		return false;
	if (c->told)
		return true;
	c->told = true;
	n = send(
	    c->fd, reject_pdu, sizeof(reject_pdu), MSG_NOSIGNAL | MSG_DONTWAIT);
	return n == (ssize_t)sizeof(reject_pdu) &&
	       shutdown(c->fd, SHUT_WR) == 0;
}

uint32_t
turned_poll(const struct turned *t, struct pollfd *p)
{
	uint32_t i;

	for (i = 0; i < t->n; i++)
		p[i] = (struct pollfd){ .fd = t->c[i].fd, .events = POLLIN };
	return t->n;
}

void
turned_tick(struct turned *t, const struct pollfd *p)
{
	uint64_t now = clock_mono_ms();
	uint32_t i;

	for (i = t->n; i > 0; i--) {
		struct turned_one *c = &t->c[i - 1];

		if ((p[i - 1].revents != 0 && !turned_read(c)) ||
		    now >= c->until_ms)
			turned_drop(t, i - 1);
	}
}

void
turned_fini(struct turned *t)
{
	while (t->n > 0)
		turned_drop(t, 0);
}

/* A flood of them is one line a second. */
void
turned_log(struct turned *t, const char *from, uint64_t may)
{
	uint64_t now = clock_mono_ms();

	t->unsaid++;
	if (t->said_ms != 0 && now - t->said_ms < TURNED_LOG_MS)
		return;
	log_warn("ingest", "association refused",
	    "from=%s cause=\"this address has its %llu associations open\" "
	    "next=\"raise limits.associations_address if it is one that "
	    "sends for many\" times=%u",
	    from, (unsigned long long)may, t->unsaid);
	t->said_ms = now;
	t->unsaid = 0;
}
