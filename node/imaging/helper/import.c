/* node/imaging/helper/import.c: the import run.
 *
 * Happy path: MSG_FILE with a descriptor -> copy into a memfd (the file may
 * change or shrink under a mapping; a copy cannot) -> object_offer() ->
 * IMG_DONE, and again.  A file above the limit or one that ends early is
 * reported by IMG_DONE alone. */
#include "node/imaging/helper/import.h"

#include <errno.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include "node/imaging/helper/object.h"
#include "node/imaging/sealed.h"

#define IMPORT_ANSWER_MAX (1 * KIB)
#define IMPORT_STEP (1 * MIB)
#define IMPORT_BUFFER (8 * KIB)

/* Where sendfile() does not know the file system. */
static enum err
import_copy_plain(int from, int to, uint64_t n)
{
	uint8_t room[IMPORT_BUFFER];
	enum err e = ERR_OK;
	ssize_t got;

	while (n > 0 && e == ERR_OK) {
		got = read(from, room, n < sizeof(room) ? n : sizeof(room));
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got == 0 ? ERR_SHORT : ERR_IO;
		e = sealed_write(to, slice_of(room, (size_t)got));
		n -= (uint64_t)got;
	}
	return e;
}

static enum err
import_copy(int from, int to, uint64_t n)
{
	ssize_t got;

	if (lseek(from, 0, SEEK_SET) < 0)
		return ERR_IO;
	while (n > 0) {
		got =
		    sendfile(to, from, NULL, n < IMPORT_STEP ? n : IMPORT_STEP);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 && (errno == EINVAL || errno == ENOSYS))
			return import_copy_plain(from, to, n);
		if (got < 0)
			return errno == ENOMEM || errno == ENOSPC ? ERR_NOMEM
								  : ERR_IO;
		if (got == 0)
			return ERR_SHORT;
		n -= (uint64_t)got;
	}
	return ERR_OK;
}

static const char *
import_reason(enum err e, uint16_t status)
{
	if (e == ERR_LIMIT)
		return "too-large";
	if (e == ERR_SHORT)
		return "short-read";
	if (e == ERR_NOMEM || status == IMG_STATUS_OUT_OF_RESOURCES)
		return "out-of-memory";
	return e == ERR_OK ? "file" : "io";
}

static enum err
import_done(struct link *l, enum err e, uint16_t status)
{
	struct buf b = BUF_MAX(IMPORT_ANSWER_MAX);
	bool ok = e == ERR_OK && status == IMG_STATUS_OK;
	struct img_done d = { .stored = ok, .refused = !ok };

	(void)snprintf(
	    d.reason, sizeof(d.reason), "%s", import_reason(e, status));
	msg_put_done(&b, &d);
	return link_send(l, &b, NULL, 0);
}

static enum err
import_file(struct link *l, struct object_work *w)
{
	struct object_in in = { .fd = -1 };
	uint16_t status = IMG_STATUS_OK;
	bool offered = false;
	int from = frame_take_fd(&l->in, 0);
	enum err e = msg_get_file(&l->doc, &in.bytes), gone = ERR_OK;

	if (e != ERR_OK || from < 0) {
		if (from >= 0)
			(void)close(from);
		return ERR_MALFORMED;
	}
	if (in.bytes > l->config.object_bytes_max)
		e = ERR_LIMIT;
	if (e == ERR_OK && (in.fd = sealed_new()) < 0)
		e = ERR_NOMEM;
	if (e == ERR_OK)
		e = import_copy(from, in.fd, in.bytes);
	if (e == ERR_OK)
		gone = object_offer(l, w, &in, &status, &offered);
	if (gone == ERR_OK && offered)
		gone = object_verdict(l, &status);
	if (in.fd >= 0)
		(void)close(in.fd);
	(void)close(from);
	return gone != ERR_OK ? gone : import_done(l, e, status);
}

enum err
import_run(struct link *l)
{
	struct object_work *w = NULL;
	enum err e = object_work_new(&w);

	while (e == ERR_OK) {
		e = link_wait(l, MSG_FILE);
		if (e == ERR_FOREIGN) { /* no more files */
			e = ERR_OK;
			break;
		}
		if (e == ERR_OK)
			e = import_file(l, w);
	}
	object_work_free(w);
	return e;
}
