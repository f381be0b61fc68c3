/* node/workdir/dir.c: folders and files of a working directory.
 *
 * Everything below DIR is opened relative to its descriptor, one component at
 * a time and never through a symbolic link, so that no name leads outside. */
#include "node/workdir/workdir_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "store/base/mem.h"

#define READ_BYTES (256 * KIB)

enum err
wd_errno(int e)
{
	switch (e) {
	case ENOENT: return ERR_NOTFOUND;
	case EACCES:
	case EPERM:
	case EROFS: return ERR_DENIED;
	case ENOSPC:
	case EDQUOT: return ERR_FULL;
	case ENOMEM: return ERR_NOMEM;
	case EEXIST: return ERR_EXISTS;
	case ELOOP:
	case ENOTDIR:
	case EISDIR:
	case ENXIO: return ERR_UNSUPPORTED;
	default: return ERR_IO;
	}
}

/* made: was it? */
static enum err
dir_open(const char *path, bool make, bool *made, int *out, struct errmsg *em)
{
	static const char next[] = "Check the path.";

	*made = false;
	*out = -1;
	if (path[0] != '/')
		return errmsg_set(em, ERR_MALFORMED, "Give an absolute path.",
		    "the directory's path is not absolute");
	*made = make && mkdir(path, 0777) == 0;
	if (make && !*made && errno != EEXIST)
		return errmsg_set(em, wd_errno(errno), next,
		    "the directory cannot be made: %s", strerrordesc_np(errno));
	*out = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (*out < 0)
		return errmsg_set(em, wd_errno(errno), next,
		    "the node cannot open the directory: %s",
		    strerrordesc_np(errno));
	return ERR_OK;
}

enum err
wd_dir_open(const char *path, bool make, int *out, struct errmsg *em)
{
	bool made;
	int fd;
	enum err e = dir_open(path, make, &made, &fd, em);

	if (e != ERR_OK)
		return e;
	/* A file system without locks has one user at a time. */
	if (flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
		(void)close(fd);
		return errmsg_set(em, ERR_BUSY, "Wait for it.",
		    "another check-out or check-in works in this directory");
	}
	*out = fd;
	return ERR_OK;
}

enum err
wd_dir_make(const char *path, unsigned mask, int *out, struct errmsg *em)
{
	bool made;
	enum err e = dir_open(path, true, &made, out, em);

	if (e == ERR_OK && made)
		(void)!fchmod(*out, (mode_t)(0777u & ~mask));
	return e;
}

enum err
wd_folder_make(int dir, const char *path, unsigned mask, int *out)
{
	bool made = mkdirat(dir, path, 0777) == 0;
	enum err e;

	if (!made && errno != EEXIST)
		return wd_errno(errno);
	e = wd_folder_open(dir, path, out);
	if (e == ERR_OK && made)
		(void)!fchmod(*out, (mode_t)(0777u & ~mask));
	return e;
}

enum err
wd_folder_open(int dir, const char *path, int *out)
{
	int fd =
	    openat(dir, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return wd_errno(errno);
	*out = fd;
	return ERR_OK;
}

/* Looked at first: opening a device can do things.  O_NONBLOCK: nor may a
 * pipe that took the file's place meanwhile hold the node. */
enum err
wd_file_open(int folder, const char *name, int *out, struct stat *st)
{
	int fd;

	if (fstatat(folder, name, st, AT_SYMLINK_NOFOLLOW) != 0)
		return wd_errno(errno);
	if (!S_ISREG(st->st_mode))
		return ERR_UNSUPPORTED;
	fd = openat(folder, name,
	    O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return wd_errno(errno);
	if (fstat(fd, st) != 0 || !S_ISREG(st->st_mode)) {
		(void)close(fd);
		return ERR_UNSUPPORTED;
	}
	*out = fd;
	return ERR_OK;
}

static bool
time_same(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

bool
wd_stat_same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino &&
	       a->st_size == b->st_size &&
	       time_same(&a->st_mtim, &b->st_mtim) &&
	       time_same(&a->st_ctim, &b->st_ctim);
}

static enum err
hash_all(int fd, struct cry_id *hash, uint64_t *bytes)
{
	uint8_t *room = mem_new(READ_BYTES);
	struct cry_hasher h;
	enum err e = room == NULL ? ERR_NOMEM : ERR_OK;

	cry_hasher_init(&h);
	*bytes = 0;
	while (e == ERR_OK) {
		ssize_t n = read(fd, room, READ_BYTES);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			e = wd_errno(errno);
		if (n <= 0)
			break;
		cry_hasher_add(&h, slice_of(room, (size_t)n));
		*bytes += (uint64_t)n;
	}
	cry_hasher_end(&h, hash);
	mem_free(room);
	return e;
}

enum err
wd_file_hash(int folder, const char *name, struct cry_id *hash, uint64_t *bytes)
{
	struct stat before, after;
	int fd = -1;
	enum err e = wd_file_open(folder, name, &fd, &before);

	if (e != ERR_OK)
		return e;
	e = hash_all(fd, hash, bytes);
	if (e == ERR_OK &&
	    (fstat(fd, &after) != 0 || !wd_stat_same(&before, &after)))
		e = ERR_AGAIN;
	(void)close(fd);
	return e;
}

static int
names_shown(const struct dirent *d)
{
	return d->d_name[0] != '.';
}

static int
names_other(const struct dirent *d)
{
	return strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0 &&
	       strcmp(d->d_name, WD_MANIFEST_PART) != 0;
}

static int
names_cmp(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

enum err
wd_names_read(int folder, struct wd_names *out)
{
	int n = scandirat(folder, ".", &out->d, names_shown, names_cmp);

	if (n < 0)
		return wd_errno(errno);
	out->n = (uint32_t)n;
	if (out->n <= WD_FILES_MAX)
		return ERR_OK;
	wd_names_fini(out);
	return ERR_LIMIT;
}

void
wd_names_fini(struct wd_names *l)
{
	uint32_t i;

	for (i = 0; i < l->n; i++)
		free(l->d[i]);
	free(l->d);
	*l = (struct wd_names){ 0 };
}

/* What a check-out that was killed at its very start left counts as nothing. */
enum err
wd_dir_empty(int dir, bool *out)
{
	struct wd_names l = { .n = 0 };
	int n = scandirat(dir, ".", &l.d, names_other, NULL);

	if (n < 0)
		return wd_errno(errno);
	l.n = (uint32_t)n;
	*out = n == 0;
	wd_names_fini(&l);
	return ERR_OK;
}
