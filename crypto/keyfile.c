/* crypto/keyfile.c: small secret files on disk.
 *
 * Happy path of a write: path.new (0600) is filled and synced, then renamed
 * over path, then the folder is synced, so a crash leaves the old file or the
 * new one.  A path.new left by a crash is replaced.  Reads check the modes on
 * the open descriptor, not on the name. */
#include "crypto/keyfile.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/base/mem.h"

static enum err
keyfile_errno(struct errmsg *em, const char *what, const char *path)
{
	int no = errno;
	enum err e = ERR_IO;
	char text[64];

	if (no == ENOENT)
		e = ERR_NOTFOUND;
	else if (no == ENOSPC || no == EDQUOT)
		e = ERR_FULL;
	else if (no == EACCES || no == EPERM || no == ELOOP)
		e = ERR_DENIED;
	return errmsg_set(em, e, "check the path and its permissions",
	    "%s %s: %s", what, path, strerror_r(no, text, sizeof(text)));
}

static enum err
write_all(int fd, struct slice in)
{
	while (in.n > 0) {
		ssize_t n = write(fd, in.p, in.n);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return ERR_IO;
		in = slice_of(in.p + n, in.n - (size_t)n);
	}
	return fsync(fd) == 0 ? ERR_OK : ERR_IO;
}

static enum err
write_temp(const char *temp, struct slice in, struct errmsg *em)
{
	enum err e = ERR_OK;
	int fd;

	if (unlink(temp) != 0 && errno != ENOENT)
		return keyfile_errno(em, "replace", temp);
	fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return keyfile_errno(em, "create", temp);
	if (write_all(fd, in) != ERR_OK)
		e = keyfile_errno(em, "write", temp);
	if (close(fd) != 0 && e == ERR_OK)
		e = keyfile_errno(em, "write", temp);
	return e;
}

/* Make the rename durable. */
static enum err
sync_folder(const char *path, struct errmsg *em)
{
	const char *slash = strrchr(path, '/');
	struct buf dir = BUF_MAX(4096);
	enum err e = ERR_OK;
	int fd;

	if (slash == NULL)
		buf_put_str(&dir, ".");
	else if (slash == path)
		buf_put_str(&dir, "/");
	else
		buf_put(&dir, path, (size_t)(slash - path));
	(void)buf_cstr(&dir);
	if ((e = buf_err(&dir)) != ERR_OK)
		goto out;
	fd = open((const char *)dir.p, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) != 0)
		e = keyfile_errno(em, "sync folder of", path);
	if (fd >= 0)
		(void)close(fd);
out:
	buf_fini(&dir);
	return e;
}

enum err
keyfile_write(const char *path, struct slice in, struct errmsg *em)
{
	struct buf temp = BUF_MAX(4096);
	enum err e;

	buf_printf(&temp, "%s.new", path);
	if ((e = buf_err(&temp)) != ERR_OK)
		goto out;
	e = write_temp((const char *)temp.p, in, em);
	if (e == ERR_OK && rename((const char *)temp.p, path) != 0)
		e = keyfile_errno(em, "rename to", path);
	if (e != ERR_OK)
		(void)unlink((const char *)temp.p);
	else
		e = sync_folder(path, em);
out:
	buf_fini(&temp);
	return e;
}

static enum err
check_modes(int fd, const char *path, struct errmsg *em)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return keyfile_errno(em, "stat", path);
	if (!S_ISREG(st.st_mode))
		return errmsg_set(em, ERR_DENIED, "name a regular file",
		    "%s is not a regular file", path);
	if (st.st_uid != geteuid() && st.st_uid != 0)
		return errmsg_set(em, ERR_DENIED,
		    "give the file to the user that runs the node",
		    "%s belongs to another user", path);
	if ((st.st_mode & 077) != 0)
		return errmsg_set(em, ERR_DENIED, "chmod 600 the file",
		    "%s can be read or written by others (mode %04o)", path,
		    (unsigned)(st.st_mode & 07777));
	return ERR_OK;
}

static enum err
read_all(int fd, struct buf *out)
{
	uint8_t part[512];
	ssize_t n;

	for (;;) {
		n = read(fd, part, sizeof(part));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		buf_put(out, part, (size_t)n);
		if (buf_err(out) != ERR_OK) /* bounds the loop */
			break;
	}
	explicit_bzero(part, sizeof(part));
	return n < 0 ? ERR_IO : buf_err(out);
}

enum err
keyfile_read(const char *path, struct buf *out, struct errmsg *em)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	enum err e;

	if (fd < 0)
		return keyfile_errno(em, "open", path);
	e = check_modes(fd, path, em);
	if (e == ERR_OK) {
		e = read_all(fd, out);
		if (e == ERR_IO)
			e = keyfile_errno(em, "read", path);
	}
	(void)close(fd);
	return e;
}
