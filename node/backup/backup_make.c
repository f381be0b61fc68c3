/* node/backup/backup_make.c: copying what the log holds, while it grows.
 *
 * Happy path: one short look at the index says which bytes belong to the last
 * commit and what the root hash is then; the segments are held, so that none
 * goes while it is copied.  What an earlier backup in the same folder has is
 * not copied again.  backup.json is renamed into place last; only then files
 * of segments that are no longer needed go.
 * Failure modes: a cut anywhere leaves the backup before it: its ends name
 * fewer bytes than lie there now.  No space, or a folder of something else,
 * is said before or without harm. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "node/backup/backup_internal.h"
#include "node/conf/profile.h"
#include "node/share/share.h"
#include "store/base/clock.h"
#include "store/base/enc.h"

#define PAUSE_MS 100u

struct make {
	const struct backup_opts *o;
	struct store_snapshot *snap;
	struct backup_list old, now;
	int lock_fd;
	uint8_t *piece;
	struct backup_pace pace;
};

static const struct backup_seg *
old_seg(const struct make *m, uint32_t no)
{
	uint32_t i;

	for (i = 0; i < m->old.n_seg; i++) {
		if (m->old.seg[i].no == no)
			return &m->old.seg[i];
	}
	return NULL;
}

/* The block before end of the i-th segment are the same here and there. */
static enum err
seg_same(struct make *m, uint32_t i, int fd, uint64_t end, bool *same)
{
	uint8_t *there = m->piece, *here = m->piece + BACKUP_BLOCK;
	ssize_t got =
	    pread(fd, there, BACKUP_BLOCK, (off_t)(end - BACKUP_BLOCK));
	enum err e;

	*same = true;
	if (got < 0)
		return backup_errno();
	if (got < (ssize_t)BACKUP_BLOCK)
		return ERR_OK; /* cut short: it is copied anew */
	e = store_snapshot_read(
	    m->snap, i, end - BACKUP_BLOCK, here, BACKUP_BLOCK);
	*same = e != ERR_OK || memcmp(here, there, BACKUP_BLOCK) == 0;
	return e;
}

/* Segments only grow: what the backup before holds of one is what lies here,
 * or it was made of another node, or of another past of this one.  Looked at
 * in the first block of records and in the last that both have. */
static enum err
seg_ours(struct make *m, uint32_t i, struct errmsg *em)
{
	const struct store_snapshot_seg *s = &m->snap->seg[i];
	const struct backup_seg *old = old_seg(m, s->no);
	uint64_t end = old == NULL ? 0 : old->end < s->end ? old->end : s->end;
	char path[BACKUP_PATH_MAX];
	bool same = true;
	enum err e;
	int fd;

	end -= end % BACKUP_BLOCK;
	if (end < 2 * BACKUP_BLOCK)
		return ERR_OK;
	e = backup_seg_path(path, m->o->dir, s->no);
	if (e != ERR_OK)
		return e;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? ERR_OK : backup_errno();
	e = seg_same(m, i, fd, 2 * BACKUP_BLOCK, &same);
	if (e == ERR_OK && same)
		e = seg_same(m, i, fd, end, &same);
	(void)close(fd);
	if (e == ERR_OK && !same)
		e = errmsg_set(em, ERR_EXISTS, "name another folder",
		    "the folder holds a backup of another node, or of "
		    "another past of this one, or a damaged one");
	return e;
}

static enum err
all_ours(struct make *m, struct errmsg *em)
{
	enum err e = ERR_OK;
	uint32_t i;

	if (m->old.n_seg > 0 &&
	    memcmp(&m->old.node, &m->now.node, sizeof(m->now.node)) != 0)
		return errmsg_set(em, ERR_EXISTS, "name another folder",
		    "the folder holds a backup of another node");
	if (m->old.r.commit > m->now.r.commit)
		return errmsg_set(em, ERR_EXISTS, "name another folder",
		    "the folder holds a backup of another node, or one that "
		    "is newer than this node");
	for (i = 0; e == ERR_OK && i < m->snap->n; i++)
		e = seg_ours(m, i, em);
	return e;
}

static bool
stopped(const struct make *m)
{
	return m->o->stop != NULL && m->o->stop(m->o->ctx);
}

/* n bytes were read: waits for as long as they were too many.  False: it was
 * told to stop. */
static bool
paced(struct make *m, size_t n)
{
	uint64_t ms;

	m->pace.bytes += n;
	while (!stopped(m)) {
		ms = backup_pace_wait_ms(&m->pace, clock_mono_ms());
		if (ms == 0)
			return true;
		if (ms > PAUSE_MS)
			ms = PAUSE_MS; /* then it looks whether to stop */
		(void)nanosleep(
		    &(struct timespec){ 0, (long)ms * 1000000L }, NULL);
	}
	return false;
}

/* What the backup before holds of a segment, into h as it lies there: what
 * rotted here since must not make it a damaged one.  *from: where copying goes
 * on; 0: it is not what it was either. */
static enum err
seg_kept(struct make *m, int fd, const struct backup_seg *old,
    struct cry_hasher *h, uint64_t *from)
{
	struct cry_hasher was;
	struct cry_id is;
	uint64_t at = 0;

	cry_hasher_init(h);
	cry_hasher_init(&was);
	while (at < old->end) {
		uint64_t left = old->end - at;
		size_t n = left < BACKUP_PIECE ? (size_t)left : BACKUP_PIECE;
		ssize_t got = pread(fd, m->piece, n, (off_t)at);

		if (got <= 0)
			break;
		if (!paced(m, (size_t)got))
			return ERR_CANCELLED;
		cry_hasher_add(h, slice_of(m->piece, (size_t)got));
		cry_hasher_add(&was, slice_of(m->piece, (size_t)got));
		at += (uint64_t)got;
	}
	cry_hasher_end(&was, &is);
	*from = at;
	if (at < old->end || memcmp(&is, &old->hash, sizeof(is)) != 0) {
		cry_hasher_init(h);
		*from = 0;
	}
	return ERR_OK;
}

/* Bytes behind what is there are written; the hash is over [0, end). */
static enum err
seg_bytes(struct make *m, uint32_t i, int fd, const struct backup_seg *old,
    struct backup_seg *out)
{
	struct cry_hasher h;
	uint64_t at = 0;
	enum err e = ERR_OK;

	cry_hasher_init(&h);
	if (old != NULL && old->end <= out->end)
		e = seg_kept(m, fd, old, &h, &at);
	while (e == ERR_OK && at < out->end) {
		uint64_t left = out->end - at;
		size_t n = left < BACKUP_PIECE ? (size_t)left : BACKUP_PIECE;
		ssize_t w;

		if (!paced(m, n))
			return ERR_CANCELLED;
		e = store_snapshot_read(m->snap, i, at, m->piece, n);
		if (e != ERR_OK)
			break;
		cry_hasher_add(&h, slice_of(m->piece, n));
		w = pwrite(fd, m->piece, n, (off_t)at);
		if (w != (ssize_t)n)
			e = w < 0 ? backup_errno() : ERR_FULL;
		m->now.r.copied_bytes += n;
		at += n;
	}
	cry_hasher_end(&h, &out->hash);
	return e;
}

static enum err
seg_copy(struct make *m, uint32_t i)
{
	const struct store_snapshot_seg *s = &m->snap->seg[i];
	const struct backup_seg *old = old_seg(m, s->no);
	struct backup_seg *out = &m->now.seg[m->now.n_seg++];
	char path[BACKUP_PATH_MAX];
	off_t have;
	enum err e = backup_seg_path(path, m->o->dir, s->no);
	int fd;

	*out = (struct backup_seg){ .no = s->no, .end = s->end };
	m->now.r.bytes += s->end;
	if (e != ERR_OK)
		return e;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return backup_errno();
	have = lseek(fd, 0, SEEK_END);
	if (old != NULL && old->end == s->end && have >= (off_t)s->end)
		out->hash = old->hash; /* it is there as it was */
	else
		e = seg_bytes(m, i, fd, old, out);
	if (e == ERR_OK && fdatasync(fd) != 0)
		e = ERR_IO;
	(void)close(fd);
	return e;
}

static enum err
file_copy(struct make *m, const char *name, struct backup_file *f)
{
	char from[BACKUP_PATH_MAX], part[BACKUP_PATH_MAX], to[BACKUP_PATH_MAX];
	enum err e = backup_path(from, m->o->home, name);

	if (e == ERR_OK)
		e = backup_path(part, m->o->dir, "home/" BACKUP_PART);
	if (e != ERR_OK)
		return e;
	(void)snprintf(f->name, sizeof(f->name), "%s", name);
	e = backup_copy(from, part, UINT64_MAX, &f->hash, &f->bytes);
	if (e == ERR_OK)
		e = backup_file_path(to, m->o->dir, f);
	if (e == ERR_OK && rename(part, to) != 0)
		e = backup_errno();
	return e;
}

/* A home that names a profile starts only where the profile is. */
struct profiles {
	struct make *m;
	enum err e;
};

static int
profile_copy(void *ctx, const char *name)
{
	struct profiles *p = ctx;
	struct backup_list *l = &p->m->now;
	char file[64];

	if (profile_is_own(name))
		return 0; /* no file */
	(void)snprintf(
	    file, sizeof(file), BACKUP_PROFILES "/%.31s" PROFILE_SUFFIX, name);
	if (l->n_files == BACKUP_FILES_MAX)
		p->e = ERR_LIMIT;
	else
		p->e = file_copy(p->m, file, &l->file[l->n_files++]);
	return p->e != ERR_OK;
}

static enum err
files_copy(struct make *m)
{
	struct profiles p = { .m = m };
	enum err e = ERR_OK;
	size_t i;

	for (i = 0; e == ERR_OK && backup_home_files[i] != NULL; i++)
		e = file_copy(
		    m, backup_home_files[i], &m->now.file[m->now.n_files++]);
	if (e == ERR_OK)
		e = profile_each(m->o->home, profile_copy, &p);
	return e == ERR_OK ? p.e : e;
}

/* A folder that is not empty must be a backup. */
static enum err
folder_check(const char *dir, struct errmsg *em)
{
	DIR *d = opendir(dir);
	const struct dirent *de;
	enum err e = ERR_OK;

	if (d == NULL)
		return backup_errno();
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): only this thread has it */
	while (e == ERR_OK && (de = readdir(d)) != NULL) {
		if (strcmp(de->d_name, ".") != 0 &&
		    strcmp(de->d_name, "..") != 0 &&
		    strcmp(de->d_name, "LOCK") != 0 &&
		    strcmp(de->d_name, "home") != 0 &&
		    strcmp(de->d_name, "segments") != 0 &&
		    strcmp(de->d_name, BACKUP_LIST ".new") != 0)
			e = errmsg_set(em, ERR_EXISTS,
			    "name an empty folder, or that of a backup",
			    "the folder holds something else than a backup");
	}
	(void)closedir(d);
	return e;
}

/* The folder as the system knows it; one that is to be made: in its parent.
 * ERR_NOTFOUND: that is not there either. */
static enum err
folder_real(const char *dir, char out[PATH_MAX])
{
	char up[BACKUP_PATH_MAX];
	size_t n = strlen(dir);

	if (realpath(dir, out) != NULL)
		return ERR_OK;
	while (n > 1 && dir[n - 1] == '/')
		n--;
	while (n > 1 && dir[n - 1] != '/')
		n--;
	if (n == 0 || n >= sizeof(up))
		return ERR_NOTFOUND;
	memcpy(up, dir, n);
	up[n] = '\0';
	return realpath(up, out) != NULL ? ERR_OK : ERR_NOTFOUND;
}

/* A copy that goes when the home goes is none. */
static enum err
folder_outside(const char *dir, const char *home, struct errmsg *em)
{
	char at[PATH_MAX], in[PATH_MAX];
	size_t n;

	if (realpath(home, in) == NULL || folder_real(dir, at) != ERR_OK)
		return ERR_OK; /* what follows says why */
	n = strlen(in);
	if (strncmp(at, in, n) != 0 || (at[n] != '\0' && at[n] != '/'))
		return ERR_OK;
	return errmsg_set(em, ERR_DENIED,
	    "name a folder elsewhere, best on another disk",
	    "the folder is inside the home that is to be backed up");
}

static enum err
folder_begin(struct make *m, struct errmsg *em)
{
	char path[BACKUP_PATH_MAX];
	enum err e = folder_outside(m->o->dir, m->o->home, em);

	if (e == ERR_OK)
		e = backup_folder(m->o->dir, ".");
	if (e == ERR_NOTFOUND)
		e = backup_folder(m->o->dir, "");
	if (e == ERR_OK)
		e = backup_list_read(m->o->dir, &m->old, NULL);
	if (e == ERR_NOTFOUND || e == ERR_CORRUPT)
		e = e == ERR_CORRUPT ? ERR_OK : folder_check(m->o->dir, em);
	if (e == ERR_OK)
		e = backup_path(path, m->o->dir, "LOCK");
	if (e != ERR_OK)
		return e;
	m->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (m->lock_fd < 0)
		return backup_errno();
	if (flock(m->lock_fd, LOCK_EX | LOCK_NB) != 0)
		return errmsg_set(em, ERR_BUSY, "wait until it is done",
		    "another backup writes there");
	if ((e = backup_folder(m->o->dir, "segments")) != ERR_OK ||
	    (e = backup_folder(m->o->dir, "home")) != ERR_OK)
		return e;
	e = backup_folder(m->o->dir, "home/keys");
	return e == ERR_OK ? backup_folder(m->o->dir, "home/" BACKUP_PROFILES)
			   : e;
}

static enum err
snapshot_take(struct make *m)
{
	struct db_txn *t = NULL;
	enum err e = store_read(m->o->store, &t);

	if (e == ERR_OK)
		e = store_snapshot_open(m->o->store, t, &m->snap);
	if (e == ERR_OK)
		e = shares_root(m->o->store, t, &m->now.r.root);
	db_abort(t);
	if (e != ERR_OK)
		return e;
	m->now.r.commit = m->snap->commit;
	m->now.r.segments = m->snap->n;
	m->now.r.wall_ms = clock_wall_ms();
	m->now.seg = mem_array((size_t)m->snap->n + 1, sizeof(*m->now.seg));
	m->piece = mem_new(BACKUP_PIECE);
	return m->now.seg == NULL || m->piece == NULL ? ERR_NOMEM : ERR_OK;
}

static enum err
all_copy(struct make *m)
{
	uint32_t i;
	enum err e = files_copy(m);

	for (i = 0; e == ERR_OK && i < m->snap->n; i++)
		e = seg_copy(m, i);
	if (e == ERR_OK)
		e = backup_sync(m->o->dir, "segments");
	if (e == ERR_OK)
		e = backup_sync(m->o->dir, "home/keys");
	if (e == ERR_OK)
		e = backup_sync(m->o->dir, "home/" BACKUP_PROFILES);
	return e == ERR_OK ? backup_sync(m->o->dir, "home") : e;
}

static bool
seg_is_now(const struct make *m, uint32_t no)
{
	uint32_t lo = 0, hi = m->now.n_seg;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (m->now.seg[mid].no < no)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < m->now.n_seg && m->now.seg[lo].no == no;
}

/* "0000002a.seg" of a segment that is not in this backup. */
static bool
seg_is_left(const struct make *m, const char *name)
{
	uint8_t no[4];

	if (strlen(name) != 12 || strcmp(name + 8, ".seg") != 0 ||
	    dec_hex(slice_of(name, 8), no, sizeof(no)) != ERR_OK)
		return false;
	return !seg_is_now(m, (uint32_t)no[0] << 24 | (uint32_t)no[1] << 16 |
				  (uint32_t)no[2] << 8 | no[3]);
}

/* A file that a backup makes in home/ and that is not in this one; sub: the
 * name of its folder in a home, with a slash. */
static bool
file_is_left(const struct make *m, const char *sub, const char *name)
{
	char path[BACKUP_PATH_MAX], mine[BACKUP_PATH_MAX];
	bool ours = strcmp(name, BACKUP_PART) == 0 && sub[0] == '\0';
	int n =
	    snprintf(path, sizeof(path), "%s/home/%s%s", m->o->dir, sub, name);
	size_t i, len = strlen(name);

	if (n < 0 || (size_t)n >= sizeof(path))
		return false;
	if (!ours && len > 17 && name[len - 17] == '.') {
		(void)snprintf(
		    mine, sizeof(mine), "%s%.*s", sub, (int)(len - 17), name);
		ours = backup_holds(mine);
	}
	for (i = 0; i < m->now.n_files && ours; i++) {
		if (backup_file_path(mine, m->o->dir, &m->now.file[i]) ==
			ERR_OK &&
		    strcmp(mine, path) == 0)
			ours = false;
	}
	return ours;
}

/* What a backup before had alone, or one that was cut left behind.  What
 * cannot be removed does no harm. */
static void
folder_clean(const struct make *m, const char *folder, const char *sub)
{
	char path[BACKUP_PATH_MAX], file[BACKUP_PATH_MAX];
	const struct dirent *de;
	DIR *d;

	if (backup_path(path, m->o->dir, folder) != ERR_OK ||
	    (d = opendir(path)) == NULL)
		return;
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): only this thread has it */
	while ((de = readdir(d)) != NULL) {
		if ((sub == NULL ? seg_is_left(m, de->d_name)
				 : file_is_left(m, sub, de->d_name)) &&
		    backup_path(file, path, de->d_name) == ERR_OK)
			(void)unlink(file);
	}
	(void)closedir(d);
}

static void
old_drop(const struct make *m)
{
	folder_clean(m, "segments", NULL);
	folder_clean(m, "home", "");
	folder_clean(m, "home/keys", "keys/");
	folder_clean(m, "home/" BACKUP_PROFILES, BACKUP_PROFILES "/");
}

static const char *
make_next(enum err e)
{
	if (e == ERR_FULL)
		return "free some space there";
	if (e == ERR_CORRUPT)
		return "run `pesscara verify --deep` and repair, then again";
	return "check the folder, then run it again";
}

enum err
backup_make(
    const struct backup_opts *o, struct backup_report *out, struct errmsg *em)
{
	struct make *m = mem_new(sizeof(*m));
	enum err e;

	if (m == NULL)
		return errmsg_set(em, ERR_NOMEM, "", "out of memory");
	m->o = o;
	m->lock_fd = -1;
	m->pace = (struct backup_pace){ .bytes_per_s = o->bytes_per_s,
		.began_ms = clock_mono_ms() };
	m->now.node = *o->node;
	e = folder_begin(m, em);
	if (e == ERR_OK)
		e = snapshot_take(m);
	if (e == ERR_OK)
		e = all_ours(m, em);
	if (e == ERR_OK)
		e = all_copy(m);
	if (e == ERR_OK)
		e = backup_list_write(o->dir, &m->now, em);
	if (e == ERR_OK) {
		old_drop(m);
		*out = m->now.r;
	} else if (em == NULL || em->code == ERR_OK) {
		errmsg_set(em, e, make_next(e),
		    "the backup was not made: %s; the one before it, if "
		    "any, is good still",
		    err_text(e));
	}
	store_snapshot_close(m->snap);
	backup_list_fini(&m->old);
	backup_list_fini(&m->now);
	mem_free(m->piece);
	if (m->lock_fd >= 0)
		(void)close(m->lock_fd);
	mem_free(m);
	return e;
}
