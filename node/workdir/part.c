/* node/workdir/part.c: a file being written, without its name until it is
 * whole.
 *
 * Where the file system can (O_TMPFILE) it has no name at all, so a node that
 * dies leaves nothing; elsewhere it is ".RANDOM.part".  Two that write the
 * same file at once do not meet: the last one to finish stays. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "node/workdir/workdir_internal.h"
#include "store/base/enc.h"

static void
part_name(struct wd_part *p)
{
	uint8_t r[10];
	char text[17];

	cry_random(r, sizeof(r));
	enc_b32(slice_of(r, sizeof(r)), text);
	(void)snprintf(p->name, sizeof(p->name), ".%s.part", text);
}

enum err
wd_part_open(int folder, unsigned mask, struct wd_part *p)
{
	mode_t mode = (mode_t)(0666u & ~mask);

	p->name[0] = '\0';
	p->fd = openat(folder, ".", O_WRONLY | O_TMPFILE | O_CLOEXEC, mode);
	if (p->fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR)) {
		part_name(p);
		p->fd = openat(folder, p->name,
		    O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
	}
	if (p->fd < 0)
		return wd_errno(errno);
	/* The node's own mask is strict. */
	if (fchmod(p->fd, mode) == 0 || errno == EPERM)
		return ERR_OK;
	wd_part_drop(folder, p);
	return ERR_IO;
}

enum err
wd_part_write(struct wd_part *p, struct slice in)
{
	while (in.n > 0) {
		ssize_t n = write(p->fd, in.p, in.n);

		if (n < 0 && errno != EINTR)
			return wd_errno(errno);
		if (n > 0)
			in = slice_of(in.p + n, in.n - (size_t)n);
	}
	return ERR_OK;
}

/* A link does not replace what has the name: then it gets one to be renamed
 * from. */
static enum err
part_link(int folder, struct wd_part *p, const char *name)
{
	char fd[32];

	(void)snprintf(fd, sizeof(fd), "/proc/self/fd/%d", p->fd);
	if (linkat(AT_FDCWD, fd, folder, name, AT_SYMLINK_FOLLOW) == 0)
		return ERR_OK;
	if (errno != EEXIST)
		return wd_errno(errno);
	part_name(p);
	if (linkat(AT_FDCWD, fd, folder, p->name, AT_SYMLINK_FOLLOW) == 0)
		return ERR_OK;
	p->name[0] = '\0';
	return wd_errno(errno);
}

enum err
wd_part_give(int folder, struct wd_part *p, const char *name)
{
	enum err e = p->name[0] == '\0' ? part_link(folder, p, name) : ERR_OK;

	if (e == ERR_OK && p->name[0] != '\0' &&
	    renameat(folder, p->name, folder, name) != 0)
		e = wd_errno(errno);
	else if (e == ERR_OK)
		p->name[0] = '\0';
	if (e == ERR_OK) {
		int rc = close(p->fd);

		p->fd = -1;
		if (rc == 0)
			return ERR_OK;
		e = wd_errno(errno);
		(void)unlinkat(folder, name, 0);
	}
	wd_part_drop(folder, p);
	return e;
}

void
wd_part_drop(int folder, struct wd_part *p)
{
	if (p->name[0] != '\0')
		(void)unlinkat(folder, p->name, 0);
	if (p->fd >= 0)
		(void)close(p->fd);
	p->fd = -1;
}
