/* node/ingest/folder_fs.c: files below a watched folder, without following a
 * symbolic link.
 *
 * Happy path: a path is walked name by name from the folder's descriptor,
 * each opened with O_NOFOLLOW; the last name is then acted on in the folder
 * that was reached.  Whoever may write there can rename things under our
 * feet, but not lead us out: no name is ".." and no link is followed.
 * Failure modes: what goes away meanwhile is ERR_NOTFOUND. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "node/ingest/folder.h"

#define NAMES_MAX 10000u
#define REASON_MORE ".reason.txt"

static enum err
folder_errno(int code)
{
	switch (code) {
	case ENOENT: return ERR_NOTFOUND;
	case EEXIST:
	case ENOTEMPTY: return ERR_EXISTS;
	case EACCES:
	case EPERM:
	case EROFS:
	case ELOOP:
	case ENOTDIR: return ERR_DENIED;
	case ENOSPC:
	case EDQUOT: return ERR_FULL;
	case ENAMETOOLONG: return ERR_LIMIT;
	default: return ERR_IO;
	}
}

/* A folder below at; closes at. */
static int
folder_step(int at, const char *name, bool make)
{
	int fd, code;

	if (make && mkdirat(at, name, 0770) != 0 && errno != EEXIST)
		fd = -1;
	else
		fd = openat(
		    at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	code = errno;
	(void)close(at);
	errno = code;
	return fd;
}

/* The folder of rel's last name, which *name then is; -1 with errno. */
static int
folder_parent(int root, const char *rel, bool make, const char **name)
{
	char one[NAME_MAX + 1];
	int at = fcntl(root, F_DUPFD_CLOEXEC, 3);
	const char *slash;

	while (at >= 0 && (slash = strchr(rel, '/')) != NULL) {
		size_t n = (size_t)(slash - rel);

		if (n == 0 || n > NAME_MAX) {
			(void)close(at);
			errno = ENAMETOOLONG;
			return -1;
		}
		memcpy(one, rel, n);
		one[n] = '\0';
		at = folder_step(at, one, make);
		rel = slash + 1;
	}
	*name = rel;
	return at;
}

int
folder_open(int root, const char *rel, int flags)
{
	const char *name;
	int fd, code, at = folder_parent(root, rel, false, &name);

	if (at < 0)
		return -1;
	fd = openat(at, name, flags | O_NOFOLLOW | O_CLOEXEC);
	code = errno;
	(void)close(at);
	errno = code;
	return fd;
}

enum err
folder_stat(int root, const char *rel, struct stat *out)
{
	const char *name;
	int at = folder_parent(root, rel, false, &name);
	enum err e = ERR_OK;

	if (at < 0)
		return folder_errno(errno);
	if (fstatat(at, name, out, AT_SYMLINK_NOFOLLOW) != 0)
		e = folder_errno(errno);
	(void)close(at);
	return e;
}

enum err
folder_remove(int root, const char *rel)
{
	const char *name;
	int at = folder_parent(root, rel, false, &name);
	enum err e = ERR_OK;

	if (at < 0)
		return folder_errno(errno);
	if (unlinkat(at, name, 0) != 0)
		e = folder_errno(errno);
	(void)close(at);
	return e;
}

/* Where the file system cannot rename without replacing (EINVAL), a second
 * name is made and the first one taken away. */
static enum err
folder_rename(int from, const char *a, int to, const char *b)
{
	if (renameat2(from, a, to, b, RENAME_NOREPLACE) == 0)
		return ERR_OK;
	if (errno != EINVAL && errno != ENOSYS)
		return folder_errno(errno);
	if (linkat(from, a, to, b, 0) != 0 || unlinkat(from, a, 0) != 0)
		return folder_errno(errno);
	return ERR_OK;
}

/* Both ends of a move. */
struct ends {
	int from, to;
	const char *was;
	const char *rel; /* its last name at the new place */
	char path[FOLDER_PATH_MAX];
};

static void
ends_close(struct ends *x)
{
	if (x->from >= 0)
		(void)close(x->from);
	if (x->to >= 0)
		(void)close(x->to);
}

static enum err
ends_open(int root, const char *from, const char *top, const char *rel,
    struct ends *x)
{
	x->from = x->to = -1;
	if (snprintf(x->path, sizeof(x->path), "%s/%s", top, rel) >=
	    (int)sizeof(x->path))
		return ERR_LIMIT;
	x->from = folder_parent(root, from, false, &x->was);
	if (x->from >= 0)
		x->to = folder_parent(root, x->path, true, &x->rel);
	return x->to >= 0 ? ERR_OK : folder_errno(errno);
}

enum err
folder_move(int root, const char *from, const char *top, const char *rel)
{
	struct ends x;
	enum err e = ends_open(root, from, top, rel, &x);

	if (e == ERR_OK)
		e = folder_rename(x.from, x.was, x.to, x.rel);
	ends_close(&x);
	return e;
}

static enum err
reason_write(int at, const char *name, const char *reason)
{
	char text[256];
	int n = snprintf(text, sizeof(text), "%s\n", reason);
	int fd = openat(at, name,
	    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0660);
	enum err e = ERR_OK;

	if (fd < 0)
		return folder_errno(errno);
	if (n >= (int)sizeof(text))
		n = (int)sizeof(text) - 1;
	if (write(fd, text, (size_t)n) != n)
		e = ERR_FULL;
	if (close(fd) != 0 && e == ERR_OK)
		e = folder_errno(errno);
	return e;
}

/* Under one name, with its reason. */
static enum err
away_as(const struct ends *x, const char *name, const char *reason)
{
	char beside[NAME_MAX + 1];
	enum err e = ERR_OK;

	if (reason != NULL) {
		if (snprintf(beside, sizeof(beside), "%s" REASON_MORE, name) >=
		    (int)sizeof(beside))
			return ERR_LIMIT;
		e = reason_write(x->to, beside, reason);
		if (e != ERR_OK)
			return e;
	}
	e = folder_rename(x->from, x->was, x->to, name);
	if (e != ERR_OK && reason != NULL)
		(void)unlinkat(x->to, beside, 0);
	return e;
}

enum err
folder_put_away(int root, const char *from, const char *top, const char *rel,
    const char *reason)
{
	/* Room for the number, and for the name of the reason. */
	const int most = NAME_MAX - (int)sizeof(REASON_MORE) - 8;
	char name[NAME_MAX + 1];
	struct ends x;
	uint32_t i;
	enum err e = ends_open(root, from, top, rel, &x);

	if (e == ERR_OK) {
		(void)snprintf(name, sizeof(name), "%.*s", most, x.rel);
		e = away_as(&x, name, reason);
	}
	for (i = 2; e == ERR_EXISTS && i < NAMES_MAX; i++) {
		(void)snprintf(name, sizeof(name), "%.*s~%u", most, x.rel, i);
		e = away_as(&x, name, reason);
	}
	ends_close(&x);
	return e;
}

/* --- walking --- */

struct walk {
	folder_file_fn fn;
	void *ctx;
	bool claimed; /* below FOLDER_CLAIMED: every name counts */
	bool stop;
	char path[FOLDER_PATH_MAX];
};

static bool
ends_with(const char *name, const char *end)
{
	size_t n = strlen(name), m = strlen(end);

	return n > m && strcmp(name + n - m, end) == 0;
}

static bool
walk_skips(const struct walk *w, const char *name, int depth)
{
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return true;
	if (w->claimed)
		return false;
	if (depth == 0 && (strcmp(name, FOLDER_DONE) == 0 ||
			      strcmp(name, FOLDER_FAILED) == 0))
		return true;
	return name[0] == '.' || ends_with(name, ".part") ||
	       ends_with(name, ".tmp");
}

static enum err walk_folder(struct walk *w, int fd, size_t len, int depth);

static enum err
walk_entry(struct walk *w, int dir, const char *name, size_t len, int depth)
{
	size_t n = strlen(name);
	struct stat st;
	int fd;

	if (len + n + 2 > sizeof(w->path))
		return ERR_LIMIT;
	if (len > 0)
		w->path[len++] = '/';
	memcpy(w->path + len, name, n + 1);
	len += n;
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return ERR_OK; /* it went */
	if (!S_ISDIR(st.st_mode)) {
		w->stop = !w->fn(w->ctx, w->path, &st);
		return ERR_OK;
	}
	if (depth + 1 >= FOLDER_DEPTH_MAX)
		return ERR_LIMIT;
	fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? ERR_OK : folder_errno(errno);
	return walk_folder(w, fd, len, depth + 1);
}

/* Takes fd.  What is wrong with one entry keeps nobody from the others. */
static enum err
walk_folder(struct walk *w, int fd, size_t len, int depth)
{
	DIR *d = fdopendir(fd);
	enum err first = ERR_OK, e;
	struct dirent *one;

	if (d == NULL) {
		(void)close(fd);
		return ERR_NOMEM;
	}
	while (!w->stop && (one = readdir(d)) != NULL) {
		if (walk_skips(w, one->d_name, depth))
			continue;
		e = walk_entry(w, dirfd(d), one->d_name, len, depth);
		first = first == ERR_OK ? e : first;
	}
	(void)closedir(d);
	return first;
}

enum err
folder_each(int root, const char *top, folder_file_fn fn, void *ctx)
{
	struct walk w = { .fn = fn, .ctx = ctx, .claimed = *top != '\0' };
	int fd =
	    folder_open(root, *top != '\0' ? top : ".", O_RDONLY | O_DIRECTORY);

	if (fd < 0)
		return errno == ENOENT && w.claimed ? ERR_OK
						    : folder_errno(errno);
	(void)snprintf(w.path, sizeof(w.path), "%s", top);
	return walk_folder(&w, fd, strlen(top), 0);
}
