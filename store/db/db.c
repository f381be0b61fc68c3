/* store/db/db.c: opening the environment, its lock and its space.
 *
 * Happy path: lock the folder, open the environment, open every table, make
 * sure that blocks exist on disk ahead of the pages in use.
 * Failure modes: a second opener meets the lock (ERR_BUSY); a full disk is
 * met by fallocate here, before a transaction starts, and not by a page
 * write in the middle of a commit (ERR_FULL). */
#include "store/db/db_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define DB_PATH_BYTES 4096u

static const char *const table_names[DB_TABLE_COUNT] = {
#define X(name, what) #name,
	DB_TABLES(X)
#undef X
};

enum err
db_err(int rc)
{
	switch (rc) {
	case MDB_SUCCESS: return ERR_OK;
	case MDB_NOTFOUND: return ERR_NOTFOUND;
	case MDB_KEYEXIST: return ERR_EXISTS;
	case MDB_PAGE_NOTFOUND:
	case MDB_CORRUPTED:
	case MDB_INVALID:
	case MDB_VERSION_MISMATCH: return ERR_CORRUPT;
	case MDB_MAP_FULL:
	case MDB_TXN_FULL:
	case ENOSPC:
	case EDQUOT:
	case EFBIG: return ERR_FULL;
	case MDB_READERS_FULL: return ERR_BUSY;
	case MDB_BAD_VALSIZE: return ERR_LIMIT;
	case ENOMEM: return ERR_NOMEM;
	case EACCES:
	case EPERM: return ERR_DENIED;
	default: return ERR_IO;
	}
}

/* One process may have the environment open: flock also catches a second
 * open inside the same process, which LMDB must never see. */
static enum err
lock_take(struct db *d, const char *dir, struct errmsg *em)
{
	char path[DB_PATH_BYTES];
	int n = snprintf(path, sizeof(path), "%s/LOCK", dir);

	if (n < 0 || (size_t)n >= sizeof(path))
		return errmsg_set(em, ERR_LIMIT, "choose a shorter path",
		    "the path of the store is too long");
	d->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (d->lock_fd < 0)
		return errmsg_set(em, db_err(errno),
		    "check that the folder exists and is writable",
		    "cannot open %s: %s", path, strerror(errno));
	if (flock(d->lock_fd, LOCK_EX | LOCK_NB) == 0)
		return ERR_OK;
	if (errno == EWOULDBLOCK)
		return errmsg_set(em, ERR_BUSY,
		    "stop the other process, or give another folder",
		    "the store in %s is in use by another process", dir);
	return errmsg_set(
	    em, ERR_IO, "", "cannot lock %s: %s", path, strerror(errno));
}

static uint64_t
used_bytes(const struct db *d)
{
	MDB_envinfo info;
	MDB_stat st;

	if (mdb_env_info(d->env, &info) != 0 || mdb_env_stat(d->env, &st) != 0)
		return 0;
	return ((uint64_t)info.me_last_pgno + 1) * st.ms_psize;
}

uint64_t
db_disk_bytes(const struct db *d)
{
	return used_bytes(d);
}

/* File systems without fallocate: ask how much is free instead. */
static enum err
space_ask(int fd, uint64_t more)
{
	struct statvfs vfs;

	if (fstatvfs(fd, &vfs) != 0)
		return ERR_IO;
	if ((uint64_t)vfs.f_bavail * vfs.f_frsize < more)
		return ERR_FULL;
	return ERR_OK;
}

static enum err
space_allocate(struct db *d, uint64_t upto)
{
	mdb_filehandle_t fd;
	int rc = mdb_env_get_fd(d->env, &fd);

	if (rc != 0)
		return db_err(rc);
	do {
		rc = fallocate(
		    fd, 0, (off_t)d->allocated, (off_t)(upto - d->allocated));
	} while (rc != 0 && errno == EINTR);
	if (rc != 0 && errno == EOPNOTSUPP) {
		enum err e = space_ask(fd, upto - d->allocated);

		if (e != ERR_OK)
			return e;
	} else if (rc != 0) {
		return db_err(errno);
	}
	d->allocated = upto;
	return ERR_OK;
}

enum err
db_space_reserve(struct db *d, uint64_t need)
{
	/* 5 % of the map stay free: deleting needs pages too. */
	uint64_t limit = d->map_bytes - d->map_bytes / 20;
	uint64_t want = d->base + need;

	if (want > limit)
		return ERR_FULL;
	if (want <= d->allocated)
		return ERR_OK;
	if (want + d->reserve_bytes <= limit &&
	    space_allocate(d, want + d->reserve_bytes) == ERR_OK)
		return ERR_OK;
	return space_allocate(d, want);
}

static const char *
open_next(enum err e)
{
	if (e == ERR_CORRUPT)
		return "run `pesscara rebuild`";
	if (e == ERR_FULL)
		return "free some space there, then run it again";
	return "check the folder and its disk, then run it again";
}

static enum err
tables_open(struct db *d)
{
	MDB_txn *t;
	size_t i;
	int rc = mdb_txn_begin(d->env, NULL, 0, &t);

	if (rc != 0)
		return db_err(rc);
	for (i = 0; i < DB_TABLE_COUNT; i++) {
		rc = mdb_dbi_open(t, table_names[i], MDB_CREATE, &d->dbi[i]);
		if (rc != 0) {
			mdb_txn_abort(t);
			return db_err(rc);
		}
	}
	return db_err(mdb_txn_commit(t));
}

/* A page beyond the end of a file that was cut would be a bus error. */
static enum err
env_whole(struct db *d)
{
	mdb_filehandle_t fd;
	MDB_envinfo info;
	struct stat st;
	MDB_stat pages;
	int rc;

	if ((rc = mdb_env_get_fd(d->env, &fd)) != 0 ||
	    (rc = mdb_env_info(d->env, &info)) != 0 ||
	    (rc = mdb_env_stat(d->env, &pages)) != 0)
		return db_err(rc);
	if (fstat(fd, &st) != 0)
		return ERR_IO;
	if ((uint64_t)st.st_size / pages.ms_psize <= info.me_last_pgno)
		return ERR_CORRUPT;
	return ERR_OK;
}

static enum err
env_new(const struct db_opts *o, MDB_env **out)
{
	int rc = mdb_env_create(out);

	if (rc == 0)
		rc = mdb_env_set_maxdbs(*out, DB_TABLE_COUNT);
	if (rc == 0)
		rc = mdb_env_set_maxreaders(*out, 1024);
	if (rc == 0)
		rc = mdb_env_set_mapsize(*out, o->map_bytes);
	return db_err(rc);
}

static enum err
dir_sync(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc;

	if (fd < 0)
		return ERR_IO;
	rc = fsync(fd);
	close(fd);
	return rc == 0 ? ERR_OK : ERR_IO;
}

/* LMDB writes the first pages of a new file without a sync, and cannot open
 * half of them: they are made under another name, which counts for nothing
 * until it is renamed. */
static enum err
env_make(const struct db_opts *o, const char *path)
{
	char part[DB_PATH_BYTES + 8];
	MDB_env *env = NULL;
	enum err e;

	snprintf(part, sizeof(part), "%s.new", path);
	if (unlink(part) != 0 && errno != ENOENT)
		return db_err(errno);
	e = env_new(o, &env);
	if (e == ERR_OK)
		e = db_err(
		    mdb_env_open(env, part, MDB_NOSUBDIR | MDB_NOLOCK, 0600));
	if (e == ERR_OK)
		e = db_err(mdb_env_sync(env, 1));
	if (env != NULL)
		mdb_env_close(env);
	if (e == ERR_OK && rename(part, path) != 0)
		e = db_err(errno);
	return e == ERR_OK ? dir_sync(o->dir) : e;
}

/* The index exists, and LMDB can be let on it. */
static enum err
env_begin(const struct db_opts *o)
{
	char path[DB_PATH_BYTES];
	int n = snprintf(path, sizeof(path), "%s/data.mdb", o->dir);
	enum err e;
	int fd;

	if (n < 0 || (size_t)n >= sizeof(path))
		return ERR_LIMIT;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? env_make(o, path) : db_err(errno);
	e = db_check_roots(fd);
	close(fd);
	return e;
}

static enum err
env_open(struct db *d, const struct db_opts *o)
{
	enum err e = env_begin(o);
	int rc;

	if (e == ERR_OK)
		e = env_new(o, &d->env);
	if (e != ERR_OK)
		return e;
	/* No NOSYNC, no WRITEMAP: a commit that returned is on disk. */
	rc = mdb_env_open(d->env, o->dir, MDB_NOTLS | MDB_NORDAHEAD, 0600);
	return rc != 0 ? db_err(rc) : env_whole(d);
}

enum err
db_open(const struct db_opts *o, struct db **out, struct errmsg *em)
{
	struct db *d = mem_new(sizeof(*d));
	enum err e;

	if (d == NULL)
		return errmsg_set(em, ERR_NOMEM, "", "out of memory");
	d->lock_fd = -1;
	pthread_mutex_init(&d->reads_lock, NULL);
	d->map_bytes = o->map_bytes;
	d->reserve_bytes = o->reserve_bytes;
	if ((e = lock_take(d, o->dir, em)) != ERR_OK)
		goto out;
	if ((e = env_open(d, o)) != ERR_OK || (e = tables_open(d)) != ERR_OK ||
	    (e = dir_sync(o->dir)) != ERR_OK) {
		errmsg_set(em, e, open_next(e),
		    "cannot open the index in %s: %s", o->dir, err_text(e));
		goto out;
	}
	*out = d;
	d = NULL;
out:
	db_close(d);
	return e;
}

void
db_close(struct db *d)
{
	if (d == NULL)
		return;
	if (d->env != NULL)
		mdb_env_close(d->env);
	if (d->lock_fd >= 0)
		close(d->lock_fd); /* releases the lock */
	pthread_mutex_destroy(&d->reads_lock);
	mem_free(d);
}

/* Counted before it begins: one that is not counted at a mark sees what was
 * committed before the mark. */
static void
read_enter(struct db *d, struct db_txn *t)
{
	pthread_mutex_lock(&d->reads_lock);
	t->no = ++d->reads_begun;
	t->prev = d->read_last;
	if (d->read_last != NULL)
		d->read_last->next = t;
	else
		d->read_first = t;
	d->read_last = t;
	pthread_mutex_unlock(&d->reads_lock);
}

static void
read_leave(struct db *d, struct db_txn *t)
{
	if (t->no == 0)
		return; /* a write */
	pthread_mutex_lock(&d->reads_lock);
	if (t->prev != NULL)
		t->prev->next = t->next;
	else
		d->read_first = t->next;
	if (t->next != NULL)
		t->next->prev = t->prev;
	else
		d->read_last = t->prev;
	pthread_mutex_unlock(&d->reads_lock);
}

uint64_t
db_reads_mark(struct db *d)
{
	uint64_t mark;

	pthread_mutex_lock(&d->reads_lock);
	mark = d->reads_begun;
	pthread_mutex_unlock(&d->reads_lock);
	return mark;
}

bool
db_reads_over(struct db *d, uint64_t mark)
{
	bool over;

	pthread_mutex_lock(&d->reads_lock);
	over = d->read_first == NULL || d->read_first->no > mark;
	pthread_mutex_unlock(&d->reads_lock);
	return over;
}

enum err
db_read(struct db *d, struct db_txn **out)
{
	struct db_txn *t = mem_new(sizeof(*t));
	int rc;

	if (t == NULL)
		return ERR_NOMEM;
	t->d = d;
	read_enter(d, t);
	rc = mdb_txn_begin(d->env, NULL, MDB_RDONLY, &t->t);
	if (rc != 0) {
		read_leave(d, t);
		mem_free(t);
		return db_err(rc);
	}
	*out = t;
	return ERR_OK;
}

static enum err
write_begin(struct db *d, MDB_txn *parent, struct db_txn **out)
{
	struct db_txn *t = mem_new(sizeof(*t));
	int rc;

	if (t == NULL)
		return ERR_NOMEM;
	t->d = d;
	t->write = true;
	t->cost = d->cost;
	rc = mdb_txn_begin(d->env, parent, 0, &t->t);
	if (rc != 0) {
		mem_free(t);
		return db_err(rc);
	}
	*out = t;
	return ERR_OK;
}

enum err
db_write(struct db *d, struct db_txn **out)
{
	uint64_t need = d->reserve_bytes;
	enum err e;

	d->base = used_bytes(d);
	d->cost = 0;
	d->ending = false;
	if (need < DB_SLACK)
		need = DB_SLACK;
	if ((e = db_space_reserve(d, need)) != ERR_OK)
		return e;
	return write_begin(d, NULL, out);
}

enum err
db_child(struct db_txn *parent, struct db_txn **out)
{
	REQUIRE(parent->write);
	return write_begin(parent->d, parent->t, out);
}

void
db_ending(struct db_txn *t)
{
	REQUIRE(t->write);
	t->d->ending = true;
}

enum err
db_commit(struct db_txn *t)
{
	int rc = mdb_txn_commit(t->t);

	read_leave(t->d, t);
	mem_free(t);
	return db_err(rc);
}

void
db_abort(struct db_txn *t)
{
	if (t == NULL)
		return;
	mdb_txn_abort(t->t);
	if (t->write)
		t->d->cost = t->cost;
	read_leave(t->d, t);
	mem_free(t);
}
