/* node/imaging/frame.c: frames and descriptors over a SEQPACKET pair.
 *
 * Happy path: poll, one sendmsg or recvmsg.  A frame longer than the buffer
 * is flagged by MSG_TRUNC and refused; so is a control message cut short
 * (descriptors that arrived with it are closed).  End of file and a reset
 * both mean that the other process is gone. */
#include "node/imaging/frame.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "store/base/clock.h"
#include "store/base/mem.h"

union frame_control {
	struct cmsghdr head;
	uint8_t room[CMSG_SPACE(sizeof(int) * FRAME_FDS_MAX)];
};

enum err
frame_init(struct frame *f)
{
	uint32_t i;

	*f = (struct frame){ 0 };
	for (i = 0; i < FRAME_FDS_MAX; i++)
		f->fds[i] = -1;
	f->bytes = mem_new(IMG_FRAME_BYTES);
	return f->bytes == NULL ? ERR_NOMEM : ERR_OK;
}

void
frame_drop_fds(struct frame *f)
{
	uint32_t i;

	for (i = 0; i < f->n_fds; i++) {
		if (f->fds[i] >= 0)
			(void)close(f->fds[i]);
		f->fds[i] = -1;
	}
	f->n_fds = 0;
}

void
frame_fini(struct frame *f)
{
	frame_drop_fds(f);
	mem_free(f->bytes);
	*f = (struct frame){ 0 };
}

int
frame_take_fd(struct frame *f, uint32_t i)
{
	int fd;

	if (i >= f->n_fds)
		return -1;
	fd = f->fds[i];
	f->fds[i] = -1;
	return fd;
}

static enum err
frame_gone(int code)
{
	if (code == EPIPE || code == ECONNRESET || code == ENOTCONN)
		return ERR_FOREIGN;
	return code == ENOMEM || code == ENOBUFS ? ERR_NOMEM : ERR_IO;
}

/* Until events or the deadline. */
static enum err
frame_wait(int sock, short events, uint32_t timeout_ms)
{
	uint64_t end = clock_mono_ms() + timeout_ms;
	struct pollfd p = { .fd = sock, .events = events };
	int left, n;

	for (;;) {
		uint64_t now = clock_mono_ms();

		left = -1;
		if (timeout_ms != UINT32_MAX)
			left = now >= end ? 0 : (int)(end - now);
		n = poll(&p, 1, left);
		if (n > 0)
			return ERR_OK;
		if (n == 0)
			return ERR_TIMEOUT;
		if (errno != EINTR)
			return ERR_IO;
	}
}

static void
frame_attach(
    struct msghdr *m, union frame_control *c, const int *fds, uint32_t n_fds)
{
	struct cmsghdr *h;

	if (n_fds == 0)
		return;
	m->msg_control = c->room;
	m->msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
	h = CMSG_FIRSTHDR(m);
	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
	memcpy(CMSG_DATA(h), fds, sizeof(int) * n_fds);
}

enum err
frame_send(int sock, const struct buf *b, const int *fds, uint32_t n_fds,
    uint32_t timeout_ms)
{
	struct iovec v = { .iov_base = b->p, .iov_len = b->n };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };
	union frame_control c = { 0 };
	enum err e;

	REQUIRE(n_fds <= FRAME_FDS_MAX);
	if (buf_err(b) != ERR_OK)
		return buf_err(b);
	if (b->n > IMG_FRAME_BYTES)
		return ERR_LIMIT;
	frame_attach(&m, &c, fds, n_fds);
	for (;;) {
		if (sendmsg(sock, &m, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
			return ERR_OK;
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return frame_gone(errno);
		if ((e = frame_wait(sock, POLLOUT, timeout_ms)) != ERR_OK)
			return e;
	}
}

/* Keep what fits; anything else in the control part is a lie. */
static enum err
frame_collect(struct msghdr *m, struct frame *f)
{
	enum err e = ERR_OK;
	struct cmsghdr *h;
	size_t n;

	for (h = CMSG_FIRSTHDR(m); h != NULL; h = CMSG_NXTHDR(m, h)) {
		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS ||
		    h->cmsg_len < CMSG_LEN(0)) {
			e = ERR_MALFORMED;
			continue;
		}
		n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		if (n > FRAME_FDS_MAX - f->n_fds)
			return ERR_MALFORMED; /* the room has no place for it */
		memcpy(&f->fds[f->n_fds], CMSG_DATA(h), n * sizeof(int));
		f->n_fds += (uint32_t)n;
	}
	return e;
}

static enum err
frame_accept(struct msghdr *m, ssize_t got, struct frame *f)
{
	enum err e = frame_collect(m, f);

	if (e == ERR_OK && got == 0)
		e = f->n_fds == 0 ? ERR_FOREIGN : ERR_MALFORMED;
	if ((m->msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0)
		e = ERR_MALFORMED;
	if (e != ERR_OK)
		frame_drop_fds(f);
	f->n = e == ERR_OK ? (size_t)got : 0;
	return e;
}

enum err
frame_recv(int sock, uint32_t timeout_ms, struct frame *f)
{
	struct iovec v = { .iov_base = f->bytes, .iov_len = IMG_FRAME_BYTES };
	union frame_control c;
	int flags =
	    MSG_CMSG_CLOEXEC | (timeout_ms != UINT32_MAX ? MSG_DONTWAIT : 0);
	struct msghdr m;
	ssize_t got;
	enum err e;

	frame_drop_fds(f);
	f->n = 0;
	for (;;) {
		if (timeout_ms != UINT32_MAX &&
		    (e = frame_wait(sock, POLLIN, timeout_ms)) != ERR_OK)
			return e;
		m = (struct msghdr){ .msg_iov = &v,
			.msg_iovlen = 1,
			.msg_control = c.room,
			.msg_controllen = sizeof(c.room) };
		got = recvmsg(sock, &m, flags);
		if (got >= 0)
			return frame_accept(&m, got, f);
		if (errno != EINTR && errno != EAGAIN)
			return frame_gone(errno);
	}
}
