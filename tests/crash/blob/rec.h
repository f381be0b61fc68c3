/* tests/crash/blob/rec.h: records what a program does to one folder and
 * builds that folder again as a power cut could leave it; or makes one of its
 * calls fail.
 *
 * The functions at the end stand before libc's, so LMDB's calls are seen too.
 * What a disk may do with what was not synced: keep it, lose it, keep some of
 * its sectors; each write, each change of size and each directory entry for
 * itself, so every order is met.  What was synced it keeps. */
#ifndef PSC_TESTS_REC_H
#define PSC_TESTS_REC_H

#include "crash_lib.h"

#include <limits.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#define EVENTS_MAX 20000u
#define NAMES_MAX 256u
#define REC_PATH 128u
#define FILE_MAX_STATE ((size_t)8 * MIB)

enum ev_kind {
	EV_WRITE,
	EV_SIZE,
	EV_SYNC,
	EV_DIRSYNC,
	EV_NAME,
	EV_BEGIN,
	EV_ACK
};

struct event {
	enum ev_kind kind;
	unsigned file; /* whose bytes; or the number of a step */
	bool durable;  /* written through O_DSYNC */
	off_t off;     /* EV_SIZE: the new size; -n: at least n */
	size_t n;
	uint8_t *data; /* EV_DIRSYNC: the folder */
};

/* A directory entry, from the event that made it to the one that took it. */
struct name {
	char path[REC_PATH]; /* below the root */
	unsigned file;
	bool dir;
	unsigned made, gone; /* event index; UINT_MAX: it is there */
};

static struct recorder {
	pthread_mutex_t lock;
	bool on;
	char root[TMPDIR_MAX];
	struct event ev[EVENTS_MAX];
	unsigned n;
	struct name name[NAMES_MAX];
	unsigned names, files;
} rec = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* --- recording --- */

static struct event *
event_add(enum ev_kind kind, unsigned file)
{
	struct event *e = &rec.ev[rec.n++];

	if (rec.n >= EVENTS_MAX)
		abort();
	*e = (struct event){ .kind = kind, .file = file };
	return e;
}

/* The path below the root, or NULL: elsewhere, or deleted already. */
static const char *
below_root(const char *path)
{
	size_t root = strlen(rec.root);

	if (strncmp(path, rec.root, root) != 0)
		return NULL;
	if (strstr(path, " (deleted)") != NULL)
		return NULL;
	return path[root] == '/' ? path + root + 1 : "";
}

static const char *
path_of_fd(int fd, char room[512])
{
	char link[64];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, room, 511);
	if (n < 0)
		return NULL;
	room[n] = '\0';
	return below_root(room);
}

/* The path of an entry named as in openat(2). */
static const char *
path_of_entry(int dir, const char *entry, char room[1024])
{
	char at[512];
	const char *below;

	if (entry[0] == '/')
		return below_root(entry);
	if (dir == AT_FDCWD || (below = path_of_fd(dir, at)) == NULL)
		return NULL;
	snprintf(
	    room, 1024, "%s%s%s", below, below[0] != '\0' ? "/" : "", entry);
	return room;
}

static struct name *
name_find(const char *path)
{
	unsigned i;

	for (i = 0; i < rec.names; i++) {
		if (rec.name[i].gone == UINT_MAX &&
		    strcmp(rec.name[i].path, path) == 0)
			return &rec.name[i];
	}
	return NULL;
}

static void
name_add(const char *path, unsigned file, bool dir, unsigned made)
{
	struct name *x = &rec.name[rec.names++];

	if (rec.names >= NAMES_MAX || strlen(path) >= REC_PATH)
		abort();
	snprintf(x->path, REC_PATH, "%s", path);
	x->file = file;
	x->dir = dir;
	x->made = made;
	x->gone = UINT_MAX;
}

static void
note_create(const char *path, bool dir)
{
	if (name_find(path) != NULL)
		return;
	name_add(path, rec.files++, dir, rec.n);
	event_add(EV_NAME, 0);
}

static void
note_unlink(const char *path)
{
	struct name *x = name_find(path);

	if (x == NULL)
		abort();
	x->gone = rec.n;
	event_add(EV_NAME, 0);
}

static void
note_rename(const char *from, const char *to)
{
	struct name *x = name_find(from), *over = name_find(to);

	if (x == NULL || x->dir)
		abort(); /* not modelled */
	x->gone = rec.n;
	if (over != NULL)
		over->gone = rec.n;
	name_add(to, x->file, false, rec.n);
	event_add(EV_NAME, 0);
}

static bool
rec_enter(void)
{
	pthread_mutex_lock(&rec.lock);
	if (rec.on)
		return true;
	pthread_mutex_unlock(&rec.lock);
	return false;
}

static void
rec_leave(void)
{
	pthread_mutex_unlock(&rec.lock);
}

/* The number of the file fd is open on; UINT_MAX: not below the root. */
static unsigned
file_of_fd(int fd)
{
	char room[512];
	const char *path = path_of_fd(fd, room);
	struct name *x = path == NULL ? NULL : name_find(path);

	return x == NULL ? UINT_MAX : x->file;
}

static void
note_write(int fd, const void *p, size_t n, off_t off)
{
	unsigned f = file_of_fd(fd);
	struct event *e;

	if (f == UINT_MAX)
		return;
	e = event_add(EV_WRITE, f);
	e->durable = (fcntl(fd, F_GETFL) & O_DSYNC) != 0;
	e->off = off;
	e->n = n;
	e->data = malloc(n + 1);
	memcpy(e->data, p, n);
}

static void
note_size(int fd, off_t size)
{
	unsigned f = file_of_fd(fd);

	if (f != UINT_MAX)
		event_add(EV_SIZE, f)->off = size;
}

static void
note_sync(int fd)
{
	char room[512];
	const char *path = path_of_fd(fd, room);
	struct stat st;

	if (path == NULL || fstat(fd, &st) != 0)
		return;
	if (S_ISDIR(st.st_mode))
		event_add(EV_DIRSYNC, 0)->data = (uint8_t *)strdup(path);
	else
		event_add(EV_SYNC, file_of_fd(fd));
}

static void
note_step(enum ev_kind kind, unsigned step)
{
	if (!rec_enter())
		return;
	event_add(kind, step);
	rec_leave();
}

static void
rec_free(void)
{
	unsigned i;

	for (i = 0; i < rec.n; i++)
		free(rec.ev[i].data);
}

/* --- building one state --- */

enum fate {
	FATE_ALL,    /* a prefix: all that was done before the cut */
	FATE_SYNCED, /* nothing that was not synced */
	FATE_512,    /* by chance, torn at sectors of 512 bytes */
	FATE_4096,
	FATES
};

struct state {
	struct prng p;
	uint64_t salt;
	enum fate fate;
	unsigned cut;               /* events before this one happened */
	unsigned synced[NAMES_MAX]; /* the last sync of each file */
	uint8_t *img;               /* FILE_MAX_STATE, all zero */
};

/* Did the disk keep an unsynced thing?  The same answer for the two ends of a
 * rename, which is one event. */
static bool
kept(const struct state *s, unsigned ev)
{
	struct prng p = { s->salt + ev };

	if (s->fate == FATE_ALL || s->fate == FATE_SYNCED)
		return s->fate == FATE_ALL;
	return prng_below(&p, 2) == 0;
}

/* Did the entry change of event ev, in the folder of path, last? */
static bool
name_changed(const struct state *s, const char *path, unsigned ev)
{
	const char *slash = strrchr(path, '/');
	size_t n = slash == NULL ? 0 : (size_t)(slash - path);
	unsigned i;

	if (ev >= s->cut)
		return false;
	for (i = ev; i < s->cut; i++) {
		const char *dir = (const char *)rec.ev[i].data;

		if (rec.ev[i].kind == EV_DIRSYNC && strlen(dir) == n &&
		    memcmp(dir, path, n) == 0)
			return true;
	}
	return kept(s, ev);
}

static void
apply_write(struct state *s, const struct event *e, unsigned ev, bool sure,
    size_t *size)
{
	size_t sector = s->fate == FATE_4096 ? 4096 : 512;
	size_t at = (size_t)e->off, end = at + e->n;
	bool whole = sure || (kept(s, ev) && prng_below(&s->p, 2) == 0);

	if (!sure && !kept(s, ev))
		return;
	whole = whole || s->fate == FATE_ALL;
	if (end > FILE_MAX_STATE)
		abort();
	if (end > *size)
		*size = end;
	while (at < end) {
		size_t n = sector - at % sector;

		if (n > end - at)
			n = end - at;
		if (whole || prng_below(&s->p, 2) == 0)
			memcpy(s->img + at, e->data + (at - (size_t)e->off), n);
		at += n;
	}
}

static void
apply_size(struct state *s, const struct event *e, unsigned ev, bool sure,
    size_t *size)
{
	size_t n = (size_t)(e->off < 0 ? -e->off : e->off);

	if (!sure && !kept(s, ev))
		return;
	if (n > FILE_MAX_STATE)
		abort();
	if (e->off >= 0 && n < *size)
		memset(s->img + n, 0, *size - n);
	if (e->off >= 0 || n > *size)
		*size = n;
}

/* Holes stay holes; the image is zero again afterwards. */
static void
file_write(const char *path, uint8_t *img, size_t size)
{
	static const uint8_t zero[4096];
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	size_t at;

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	for (at = 0; at < size; at += 4096) {
		size_t n = size - at < 4096 ? size - at : 4096;

		if (memcmp(img + at, zero, n) == 0)
			continue;
		assert_int_equal(pwrite(fd, img + at, n, (off_t)at), n);
		memset(img + at, 0, n);
	}
	close(fd);
}

static void
file_build(struct state *s, const struct name *x, const char *path)
{
	size_t size = 0;
	unsigned i;

	for (i = 0; i < s->cut; i++) {
		const struct event *e = &rec.ev[i];
		/* the very last may be on its way still */
		bool sure =
		    (e->durable && i + 1 < s->cut) || i < s->synced[x->file];

		if (e->kind > EV_SIZE || e->file != x->file)
			continue;
		if (e->kind == EV_WRITE)
			apply_write(s, e, i, sure, &size);
		else
			apply_size(s, e, i, sure, &size);
	}
	file_write(path, s->img, size);
}

static void
state_build(struct state *s, const char *dir)
{
	char path[TMPDIR_MAX + REC_PATH + 2];
	unsigned i;

	memset(s->synced, 0, sizeof(s->synced));
	for (i = 0; i < s->cut; i++) {
		if (rec.ev[i].kind == EV_SYNC)
			s->synced[rec.ev[i].file] = i;
	}
	for (i = 0; i < rec.names; i++) { /* folders before what is inside */
		const struct name *x = &rec.name[i];
		char *slash;

		if (!name_changed(s, x->path, x->made) ||
		    name_changed(s, x->path, x->gone))
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, x->path);
		slash = strrchr(path, '/');
		*slash = '\0';
		if (access(path, F_OK) != 0)
			continue; /* the folder itself was lost */
		*slash = '/';
		if (x->dir)
			assert_int_equal(mkdir(path, 0700), 0);
		else
			file_build(s, x, path);
	}
}

/* --- failing calls --- */

static struct {
	bool on;
	bool stay;   /* all calls from then on fail */
	unsigned at; /* the call that fails, from 1 */
	int sys;     /* its errno; 0: it writes only a part */
	_Atomic unsigned calls;
} fault;

static bool
fault_call(const char *call, const char *path)
{
	unsigned no = ++fault.calls;

	if (no != fault.at && !(fault.stay && no > fault.at))
		return false;
	if (no == fault.at)
		dprintf(STDERR_FILENO, "call %u: %s of %s\n", no, call, path);
	errno = fault.sys;
	return true;
}

static bool
fault_counts(const char *call, int fd, const char *entry)
{
	char room[1024];
	const char *path;

	if (!fault.on)
		return false;
	path = entry == NULL ? path_of_fd(fd, room)
			     : path_of_entry(fd, entry, room);
	return path != NULL && fault_call(call, path);
}

/* Does this call fail, with errno?  entry NULL: fd itself. */
static bool
fault_at(const char *call, int fd, const char *entry)
{
	return fault.sys != 0 && fault_counts(call, fd, entry);
}

/* The bytes this write may write; -1: none, it fails. */
static ssize_t
fault_write(const char *call, int fd, size_t n)
{
	if (!fault_counts(call, fd, NULL))
		return (ssize_t)n;
	return fault.sys != 0 ? -1 : (ssize_t)(n / 2);
}

/* --- in front of libc; visible, so that LMDB finds them too --- */

#define SHOWN __attribute__((visibility("default")))

SHOWN ssize_t
pwrite(int fd, const void *p, size_t n, off_t off)
{
	ssize_t w;

	if ((w = fault_write("pwrite", fd, n)) < 0)
		return -1;
	n = (size_t)w;
	if (rec_enter()) {
		note_write(fd, p, n, off);
		rec_leave();
	}
	return syscall(SYS_pwrite64, fd, p, n, off);
}

SHOWN ssize_t
pread(int fd, void *p, size_t n, off_t off)
{
	if (fault_at("pread", fd, NULL))
		return -1;
	return syscall(SYS_pread64, fd, p, n, off);
}

SHOWN ssize_t
writev(int fd, const struct iovec *v, int count)
{
	off_t at = lseek(fd, 0, SEEK_CUR);
	ssize_t part;
	int i;

	if ((part = fault_write("writev", fd, v[0].iov_len)) < 0)
		return -1;
	if ((size_t)part < v[0].iov_len)
		return syscall(SYS_write, fd, v[0].iov_base, part);
	if (at >= 0 && rec_enter()) {
		for (i = 0; i < count; i++) {
			note_write(fd, v[i].iov_base, v[i].iov_len, at);
			at += (off_t)v[i].iov_len;
		}
		rec_leave();
	}
	return syscall(SYS_writev, fd, v, count);
}

SHOWN ssize_t
write(int fd, const void *p, size_t n)
{
	off_t at = lseek(fd, 0, SEEK_CUR);

	if (fault_at("write", fd, NULL))
		return -1;
	if (at >= 0 && rec_enter()) {
		note_write(fd, p, n, at);
		rec_leave();
	}
	return syscall(SYS_write, fd, p, n);
}

SHOWN int
ftruncate(int fd, off_t size)
{
	if (fault_at("ftruncate", fd, NULL))
		return -1;
	if (rec_enter()) {
		note_size(fd, size);
		rec_leave();
	}
	return (int)syscall(SYS_ftruncate, fd, size);
}

SHOWN int
fallocate(int fd, int mode, off_t off, off_t n)
{
	if (fault_at("fallocate", fd, NULL))
		return -1;
	if (mode != 0)
		abort(); /* not modelled */
	if (rec_enter()) {
		note_size(fd, -(off + n));
		rec_leave();
	}
	return (int)syscall(SYS_fallocate, fd, mode, off, n);
}

static int
sync_noted(long call, int fd)
{
	int rc;

	if (fault_at("sync", fd, NULL))
		return -1;
	rc = (int)syscall(call, fd);
	if (rc == 0 && rec_enter()) {
		note_sync(fd);
		rec_leave();
	}
	return rc;
}

SHOWN int
fsync(int fd)
{
	return sync_noted(SYS_fsync, fd);
}

SHOWN int
fdatasync(int fd)
{
	return sync_noted(SYS_fdatasync, fd);
}

static int
open_noted(int dir, const char *entry, int flags, mode_t mode)
{
	char room[1024];
	const char *path;
	int fd;

	if (fault_at("open", dir, entry))
		return -1;
	fd = (int)syscall(SYS_openat, dir, entry, flags, mode);
	if (fd < 0 || (flags & O_CREAT) == 0 || !rec_enter())
		return fd;
	path = path_of_entry(dir, entry, room);
	if (path != NULL) {
		note_create(path, false);
		if ((flags & O_TRUNC) != 0)
			note_size(fd, 0);
	}
	rec_leave();
	return fd;
}

static mode_t
open_mode(int flags, va_list ap)
{
	return (flags & O_CREAT) != 0 ? (mode_t)va_arg(ap, int) : 0;
}

SHOWN int
open(const char *path, int flags, ...)
{
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = open_mode(flags, ap);
	va_end(ap);
	return open_noted(AT_FDCWD, path, flags, mode);
}

SHOWN int
openat(int dir, const char *entry, int flags, ...)
{
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = open_mode(flags, ap);
	va_end(ap);
	return open_noted(dir, entry, flags, mode);
}

SHOWN int
mkdir(const char *path, mode_t mode)
{
	const char *below;
	int rc;

	if (fault_at("mkdir", AT_FDCWD, path))
		return -1;
	rc = (int)syscall(SYS_mkdir, path, mode);
	if (rc == 0 && rec_enter()) {
		if ((below = below_root(path)) != NULL)
			note_create(below, true);
		rec_leave();
	}
	return rc;
}

SHOWN int
unlinkat(int dir, const char *entry, int flags)
{
	char room[1024];
	const char *path;
	int rc;

	if (fault_at("unlink", dir, entry))
		return -1;
	rc = (int)syscall(SYS_unlinkat, dir, entry, flags);
	if (rc == 0 && rec_enter()) {
		if ((path = path_of_entry(dir, entry, room)) != NULL)
			note_unlink(path);
		rec_leave();
	}
	return rc;
}

SHOWN int
unlink(const char *path)
{
	return unlinkat(AT_FDCWD, path, 0);
}

SHOWN int
renameat(int from, const char *old, int to, const char *new)
{
	char a[1024], b[1024];
	const char *x, *y;
	int rc;

	if (fault_at("rename", from, old))
		return -1;
	rc = (int)syscall(SYS_renameat, from, old, to, new);
	if (rc == 0 && rec_enter()) {
		x = path_of_entry(from, old, a);
		y = path_of_entry(to, new, b);
		if (x != NULL && y != NULL)
			note_rename(x, y);
		rec_leave();
	}
	return rc;
}

SHOWN int
rename(const char *old, const char *new)
{
	return renameat(AT_FDCWD, old, AT_FDCWD, new);
}

#endif
