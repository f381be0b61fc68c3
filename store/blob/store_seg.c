/* store/blob/store_seg.c: segment files and the open end of the log.
 *
 * Happy path: records gather in the stage and reach the file in large calls
 * at block boundaries; a full segment is written out, synced and marked
 * sealed, and the next one is allocated whole before a record goes there.
 * Failure modes: no space for the next segment is ERR_FULL and changes
 * nothing; a failed write or sync stops the process (rulings.md 3), since
 * after it nobody knows what the disk holds. */
#include "store/blob/store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define SEG_NAME_BYTES 16u

static void
seg_name(uint32_t seg, char out[SEG_NAME_BYTES])
{
	snprintf(out, SEG_NAME_BYTES, "%08x.seg", (unsigned)seg);
}

static int
seg_file_open(const struct store *s, uint32_t seg, int flags)
{
	char name[SEG_NAME_BYTES];

	seg_name(seg, name);
	return openat(s->dir_fd, name, flags | O_CLOEXEC, 0600);
}

/* --- writing bytes --- */

static void
write_all(struct store *s, const uint8_t *p, size_t n, uint64_t off)
{
	int sys = store_fault(s, STORE_AT_PWRITE);

	if (sys != 0)
		store_die("writing a segment", sys);
	while (n > 0) {
		ssize_t w = pwrite(s->tail.fd, p, n, (off_t)off);

		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0)
			store_die("writing a segment", w < 0 ? errno : EIO);
		p += w;
		n -= (size_t)w;
		off += (uint64_t)w;
	}
	if (off > s->tail.dirty)
		s->tail.dirty = off;
	s->tail.unsynced = true;
}

static void
write_zeros(struct store *s, uint64_t from, uint64_t to)
{
	static const uint8_t zeros[65536];

	while (from < to) {
		size_t n = to - from < sizeof(zeros) ? (size_t)(to - from)
						     : sizeof(zeros);

		write_all(s, zeros, n, from);
		from += n;
	}
}

static void
tail_sync(struct store *s)
{
	int sys = store_fault(s, STORE_AT_SYNC);

	if (sys != 0)
		store_die("syncing a segment", sys);
	if (fdatasync(s->tail.fd) != 0)
		store_die("syncing a segment", errno);
	s->tail.unsynced = false;
}

void
store_seg_stage_flush(struct store *s, bool all)
{
	struct seg_tail *t = &s->tail;
	size_t n = t->stage.n / STORE_BLOCK * STORE_BLOCK;

	if (all) {
		size_t pad =
		    (size_t)(store_round(t->pos, STORE_BLOCK) - t->pos);

		/* Cannot fail: the stage keeps a block of room for this. */
		if (pad > 0)
			buf_put_zero(&t->stage, pad);
		REQUIRE(t->stage.err == ERR_OK);
		n = t->stage.n;
	}
	if (n > 0)
		write_all(s, t->stage.p, n, t->flushed);
	buf_shift(&t->stage, n);
	t->flushed += n;
	/* A job that failed may have left longer bytes behind: a rebuild
	 * must not meet them after the end of this commit. */
	if (all && t->dirty > t->flushed) {
		write_zeros(s, t->flushed, t->dirty);
		t->dirty = t->flushed;
	}
}

/* --- making a segment --- */

static enum err
space_ask(int fd, uint64_t n)
{
	struct statvfs vfs;

	if (fstatvfs(fd, &vfs) != 0)
		return ERR_IO;
	if ((uint64_t)vfs.f_bavail * vfs.f_frsize < n)
		return ERR_FULL;
	return ftruncate(fd, (off_t)n) == 0 ? ERR_OK : ERR_FULL;
}

static enum err
seg_allocate(struct store *s, int fd, uint64_t cap)
{
	int sys = store_fault(s, STORE_AT_RESERVE);

	if (sys != 0)
		return db_err(sys);
	while (fallocate(fd, 0, 0, (off_t)cap) != 0) {
		if (errno == EOPNOTSUPP)
			return space_ask(fd, cap);
		if (errno != EINTR)
			return db_err(errno);
	}
	return ERR_OK;
}

static void
header_make(uint8_t raw[STORE_REC_HEADER], uint32_t seg, uint64_t cap)
{
	uint8_t *end = raw + STORE_REC_HEADER - 4;
	uint32_t crc;
	int i;

	memset(raw, 0, STORE_REC_HEADER);
	memcpy(raw, STORE_SEG_MAGIC, 8);
	for (i = 0; i < 4; i++) {
		raw[8 + i] = (uint8_t)(STORE_FORMAT >> (8 * i));
		raw[12 + i] = (uint8_t)(seg >> (8 * i));
	}
	for (i = 0; i < 8; i++)
		raw[16 + i] = (uint8_t)(cap >> (8 * i));
	crc = crc32c(0, slice_of(raw, STORE_REC_HEADER - 4));
	for (i = 0; i < 4; i++)
		end[i] = (uint8_t)(crc >> (8 * i));
}

enum err
store_seg_header_check(struct store *s, uint32_t seg)
{
	uint8_t raw[STORE_BLOCK], want[STORE_REC_HEADER];
	uint64_t cap = 0;
	enum err e = store_seg_read(s, seg, 0, raw, sizeof(raw));
	size_t i;

	if (e != ERR_OK)
		return e;
	for (i = 0; i < 8; i++)
		cap |= (uint64_t)raw[16 + i] << (8 * i);
	header_make(want, seg, cap);
	if (memcmp(raw, want, sizeof(want)) != 0)
		return ERR_CORRUPT;
	for (i = sizeof(want); i < sizeof(raw); i++) {
		if (raw[i] != 0)
			return ERR_CORRUPT;
	}
	return ERR_OK;
}

/* The file exists, allocated and durable, when this returns ERR_OK. */
static enum err
seg_create(struct store *s, uint32_t seg, uint64_t cap, int *out)
{
	uint8_t raw[STORE_REC_HEADER];
	char name[SEG_NAME_BYTES];
	enum err e;
	int fd = seg_file_open(s, seg, O_RDWR | O_CREAT | O_TRUNC);

	if (fd < 0)
		return db_err(errno);
	e = seg_allocate(s, fd, cap);
	if (e != ERR_OK) {
		close(fd);
		seg_name(seg, name);
		unlinkat(s->dir_fd, name, 0);
		return e;
	}
	header_make(raw, seg, cap);
	if (pwrite(fd, raw, sizeof(raw), 0) != (ssize_t)sizeof(raw))
		store_die("writing a segment header", errno);
	if (fsync(fd) != 0 || fsync(s->dir_fd) != 0)
		store_die("syncing a new segment", errno);
	*out = fd;
	return ERR_OK;
}

/* --- rows of the SEG table --- */

static struct slice
seg_key(uint32_t seg, uint8_t key[4])
{
	int i;

	for (i = 0; i < 4; i++)
		key[i] = (uint8_t)(seg >> (24 - 8 * i));
	return slice_of(key, 4);
}

enum err
store_seg_row_put(struct db_txn *txn, uint32_t seg, const struct seg_row *row)
{
	uint8_t key[4], v[33];
	int i;

	v[0] = row->state;
	for (i = 0; i < 8; i++) {
		v[1 + i] = (uint8_t)(row->cap >> (8 * i));
		v[9 + i] = (uint8_t)(row->used >> (8 * i));
		v[17 + i] = (uint8_t)(row->live >> (8 * i));
		v[25 + i] = (uint8_t)(row->moved >> (8 * i));
	}
	return db_put(txn, DB_SEG, seg_key(seg, key), slice_of(v, sizeof(v)));
}

static enum err
seg_row_read(struct slice v, struct seg_row *out)
{
	struct rd r = rd_init(v);

	out->state = rd_u8(&r);
	out->cap = rd_u64(&r);
	out->used = rd_u64(&r);
	out->live = rd_u64(&r);
	out->moved = rd_u64(&r);
	return rd_end(&r) == ERR_OK ? ERR_OK : ERR_CORRUPT;
}

enum err
store_seg_row_get(struct db_txn *txn, uint32_t seg, struct seg_row *out)
{
	uint8_t key[4];
	struct slice v;
	enum err e = db_get(txn, DB_SEG, seg_key(seg, key), &v);

	return e == ERR_OK ? seg_row_read(v, out) : e;
}

enum err
store_seg_row_from(
    struct db_txn *txn, uint32_t seg, uint32_t *no, struct seg_row *out)
{
	uint8_t key[4];
	struct db_cur *c;
	struct slice k = slice_of(NULL, 0), v;
	struct rd r;
	enum err e = db_cur_open(txn, DB_SEG, slice_of(NULL, 0), &c);

	if (e != ERR_OK)
		return e;
	e = db_cur_seek(c, seg_key(seg, key), &k, &v);
	r = rd_init(k);
	if (k.n == 4) /* also when its value is damaged */
		*no = rd_be32(&r);
	if (e == ERR_OK)
		e = seg_row_read(v, out);
	db_cur_close(c);
	return e;
}

/* --- the open end --- */

static void
tail_close(struct seg_tail *t)
{
	if (t->fd >= 0)
		close(t->fd);
	t->fd = -1;
}

/* Leave the current segment for good: all of it on disk, row sealed. */
static enum err
tail_seal(struct store *s, struct db_txn *txn)
{
	struct seg_tail *t = &s->tail;
	struct seg_row row = { SEG_SEALED, t->cap, t->pos, t->live, 0 };

	if (t->seg == 0)
		return ERR_OK;
	if (t->fd >= 0) {
		store_seg_stage_flush(s, true);
		if (t->unsynced)
			tail_sync(s);
	}
	return store_seg_row_put(txn, t->seg, &row);
}

static enum err
tail_next(struct store *s, struct db_txn *txn, uint64_t need)
{
	struct seg_tail *t = &s->tail;
	uint32_t seg = t->seg + 1;
	uint64_t cap = store_round(s->segment_bytes, STORE_BLOCK);
	enum err e;
	int fd = -1;

	if (cap < STORE_BLOCK + need)
		cap = store_round(STORE_BLOCK + need, STORE_BLOCK);
	/* First the new file: with no space nothing has changed yet. */
	e = seg_create(s, seg, cap, &fd);
	if (e != ERR_OK)
		return e;
	REQUIRE(fd >= 0);
	e = tail_seal(s, txn);
	if (e != ERR_OK) {
		close(fd);
		return e;
	}
	if (!s->left) {
		s->left = true;
		s->left_seg = t->seg;
		s->left_end = t->dirty;
	}
	tail_close(t);
	t->seg = seg;
	t->fd = fd;
	t->cap = cap;
	t->pos = t->flushed = t->dirty = STORE_BLOCK;
	t->live = 0;
	buf_reset(&t->stage);
	return ERR_OK;
}

void
store_seg_begin(struct store *s)
{
	struct seg_tail *t = &s->tail;

	REQUIRE(t->stage.n == 0);
	t->pos = t->flushed = store_round(t->pos, STORE_BLOCK);
	t->recs = t->sum = 0;
}

enum err
store_seg_room(struct store *s, struct db_txn *txn, uint64_t n)
{
	const struct seg_tail *t = &s->tail;

	n += STORE_END_BYTES; /* so that the commit can always be ended */
	if (t->fd >= 0 && t->pos <= t->cap && n <= t->cap - t->pos)
		return ERR_OK;
	return tail_next(s, txn, n);
}

static void
fd_forget(struct store *s, uint32_t seg)
{
	struct seg_slot *f = &s->fds[seg % STORE_FD_SLOTS];

	pthread_mutex_lock(&s->fd_lock);
	if (f->seg == seg && f->users == 0) {
		close(f->fd);
		f->seg = 0;
	}
	pthread_mutex_unlock(&s->fd_lock);
}

/* What a job that failed had in the file already goes before anything else is
 * written there: the log is zero ahead of its end, also where a power cut tears
 * what comes next.  By that a rebuild tells a torn write from rot. */
static void
tail_blank(struct store *s)
{
	struct seg_tail *t = &s->tail;

	if (t->dirty <= t->pos)
		return;
	write_zeros(s, t->pos, t->dirty);
	tail_sync(s);
	t->dirty = t->pos;
}

/* Back over a switch of segments: the newer files were never indexed. */
static void
tail_return(struct store *s, const struct seg_tail *mark)
{
	struct seg_tail *t = &s->tail;
	char name[SEG_NAME_BYTES];
	uint32_t seg;

	tail_close(t);
	for (seg = mark->seg + 1; seg <= t->seg; seg++) {
		fd_forget(s, seg);
		seg_name(seg, name);
		unlinkat(s->dir_fd, name, 0);
	}
	t->seg = mark->seg;
	t->cap = mark->cap;
	t->dirty = s->left_end;
	t->pos = t->flushed = mark->pos;
	t->live = mark->live;
	buf_reset(&t->stage);
	if (mark->fd < 0)
		return;
	t->fd = seg_file_open(s, t->seg, O_RDWR);
	if (t->fd < 0)
		store_die("opening a segment again", errno);
	tail_blank(s);
}

void
store_seg_rollback(struct store *s, const struct seg_tail *mark)
{
	struct seg_tail *t = &s->tail;

	t->recs = mark->recs;
	t->sum = mark->sum;
	if (t->seg != mark->seg) {
		REQUIRE(s->left && s->left_seg == mark->seg);
		tail_return(s, mark);
		return;
	}
	t->pos = mark->pos;
	t->live = mark->live;
	t->stage.err = ERR_OK;
	if (t->pos >= t->flushed) {
		t->stage.n = (size_t)(t->pos - t->flushed);
		return;
	}
	/* Part of it reached the file, in blocks of this very commit. */
	t->flushed = t->pos;
	buf_reset(&t->stage);
	tail_blank(s);
}

enum err
store_seg_finish(struct store *s, struct db_txn *txn)
{
	struct seg_tail *t = &s->tail;
	struct seg_row row = { SEG_OPEN, t->cap, 0, t->live, 0 };

	if (t->fd < 0)
		return ERR_OK;
	store_rec_end(s);
	row.used = t->pos;
	store_seg_stage_flush(s, true);
	if (t->unsynced)
		tail_sync(s);
	return store_seg_row_put(txn, t->seg, &row);
}

/* Cut the tail at its last indexed record and allocate it again.  If that
 * cannot be done the segment simply counts as full. */
static void
tail_cut(struct store *s)
{
	struct seg_tail *t = &s->tail;
	uint64_t end = store_round(t->pos, STORE_BLOCK);
	struct stat st;

	if (fstat(t->fd, &st) != 0 || (uint64_t)st.st_size < t->pos ||
	    store_seg_header_check(s, t->seg) != ERR_OK) {
		tail_close(t); /* damaged: verify reports it */
		return;
	}
	if (ftruncate(t->fd, (off_t)end) != 0 ||
	    seg_allocate(s, t->fd, t->cap) != ERR_OK)
		t->cap = end;
	if (fsync(t->fd) != 0)
		store_die("syncing the open segment", errno);
}

enum err
store_seg_open_tail(struct store *s, struct errmsg *em)
{
	struct seg_tail *t = &s->tail;
	struct db_txn *txn = NULL;
	struct db_cur *c = NULL;
	struct seg_row row;
	struct slice k, v;
	struct rd r;
	enum err e;

	t->fd = -1;
	t->pos = t->flushed = t->dirty = 0;
	if ((e = db_read(s->db, &txn)) != ERR_OK ||
	    (e = db_cur_open(txn, DB_SEG, slice_of(NULL, 0), &c)) != ERR_OK)
		goto out;
	e = db_cur_last(c, &k, &v);
	if (e == ERR_NOTFOUND) {
		e = ERR_OK; /* a new store */
		goto out;
	}
	if (e != ERR_OK || (e = seg_row_read(v, &row)) != ERR_OK)
		goto out;
	r = rd_init(k);
	t->seg = rd_be32(&r);
	t->cap = row.cap;
	t->pos = t->flushed = row.used;
	t->live = row.live;
	t->dirty = store_round(row.used, STORE_BLOCK);
	if (row.state == SEG_OPEN &&
	    (t->fd = seg_file_open(s, t->seg, O_RDWR)) >= 0)
		tail_cut(s);
out:
	db_cur_close(c);
	db_abort(txn);
	if (e != ERR_OK)
		errmsg_set(em, e, "run `pesscara rebuild`",
		    "cannot read the segment table: %s", err_text(e));
	return e;
}

/* --- reading --- */

/* A descriptor for seg; *slot is where to give it back, or NULL: close it. */
static int
fd_acquire(struct store *s, uint32_t seg, struct seg_slot **slot)
{
	struct seg_slot *f = &s->fds[seg % STORE_FD_SLOTS];
	int fd;

	pthread_mutex_lock(&s->fd_lock);
	if (f->seg != seg && f->users == 0) {
		if (f->seg != 0)
			close(f->fd);
		f->fd = seg_file_open(s, seg, O_RDONLY);
		f->seg = f->fd < 0 ? 0 : seg;
	}
	*slot = NULL;
	fd = -1;
	if (f->seg == seg) {
		f->users++;
		*slot = f;
		fd = f->fd;
	} else if (f->users > 0) {
		fd = seg_file_open(s, seg, O_RDONLY);
	}
	pthread_mutex_unlock(&s->fd_lock);
	return fd;
}

static void
fd_release(struct store *s, int fd, struct seg_slot *slot)
{
	if (slot == NULL) {
		close(fd);
		return;
	}
	pthread_mutex_lock(&s->fd_lock);
	slot->users--;
	pthread_mutex_unlock(&s->fd_lock);
}

static enum err
read_file(struct store *s, uint32_t seg, uint64_t off, uint8_t *out, size_t n)
{
	struct seg_slot *slot;
	enum err e = ERR_OK;
	int fd = fd_acquire(s, seg, &slot);

	if (fd < 0)
		return errno == ENOENT ? ERR_CORRUPT : ERR_IO;
	while (n > 0 && e == ERR_OK) {
		ssize_t r = pread(fd, out, n, (off_t)off);

		if (r > 0) {
			out += r;
			n -= (size_t)r;
			off += (uint64_t)r;
		} else if (r == 0) {
			e = ERR_CORRUPT; /* shorter than the index says */
		} else if (errno != EINTR) {
			e = ERR_IO;
		}
	}
	fd_release(s, fd, slot);
	return e;
}

enum err
store_seg_read(
    struct store *s, uint32_t seg, uint64_t off, uint8_t *out, size_t n)
{
	const struct seg_tail *t = &s->tail;
	size_t staged = 0;

	/* A job may read what it has just appended. */
	if (s->started && pthread_equal(pthread_self(), s->writer) &&
	    seg == t->seg && t->stage.n > 0 && off + n > t->flushed) {
		uint64_t from = off > t->flushed ? off : t->flushed;

		if (off + n > t->flushed + t->stage.n)
			return ERR_CORRUPT;
		staged = (size_t)(off + n - from);
		memcpy(out + (n - staged), t->stage.p + (from - t->flushed),
		    staged);
	}
	if (staged == n)
		return ERR_OK;
	return read_file(s, seg, off, out, n - staged);
}

enum err
store_seg_remove(struct store *s, uint32_t seg)
{
	char name[SEG_NAME_BYTES];

	fd_forget(s, seg);
	seg_name(seg, name);
	if (unlinkat(s->dir_fd, name, 0) != 0 && errno != ENOENT)
		return ERR_IO;
	return fsync(s->dir_fd) == 0 ? ERR_OK : ERR_IO;
}

enum err
store_seg_cut(struct store *s, uint32_t seg, uint64_t end)
{
	int fd = seg_file_open(s, seg, O_RDWR);
	enum err e = ERR_OK;

	if (fd < 0)
		return db_err(errno);
	if (ftruncate(fd, (off_t)end) != 0 || fsync(fd) != 0)
		e = db_err(errno);
	close(fd);
	return e;
}

void
store_seg_close_all(struct store *s)
{
	size_t i;

	tail_close(&s->tail);
	buf_fini(&s->tail.stage);
	for (i = 0; i < STORE_FD_SLOTS; i++) {
		if (s->fds[i].seg != 0)
			close(s->fds[i].fd);
		s->fds[i].seg = 0;
	}
}
