/* Claim: whatever the disk kept of unsynced writes when the power went, all
 * that was acknowledged is there and the store is whole.
 *
 * The program records its own writes, truncations, allocations, creations and
 * syncs below one folder (LMDB's too: the functions below stand before
 * libc's).  Then, for a random moment of that history, a folder is built that
 * holds everything synced by then and a random part, torn at 512-byte
 * sectors, of what was not; it is opened and looked through.
 *
 * PSC_CRASH_STATES sets how many states are tried. */
#include "crash_lib.h"

#include <limits.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "store/base/num.h"

#define EVENTS_MAX 20000u
#define FILES_MAX 64u
#define SECTOR ((size_t)512)
#define SIZE_MAX_STATE ((size_t)8 * MIB)
#define STATES_DEFAULT 200u

enum kind { EV_WRITE, EV_SIZE, EV_SYNC, EV_DIRSYNC, EV_ACK };

struct event {
	enum kind kind;
	unsigned file; /* index, or the acknowledged number */
	bool durable;  /* written through O_DSYNC */
	off_t off;     /* EV_SIZE: the new size; -n: at least n */
	size_t n;
	uint8_t *data;
};

struct file {
	char path[128];   /* below the root */
	unsigned created; /* event index */
	unsigned removed; /* event index, or UINT_MAX */
};

static struct recorder {
	pthread_mutex_t lock;
	bool on;
	char root[TMPDIR_MAX];
	struct event ev[EVENTS_MAX];
	unsigned n;
	struct file file[FILES_MAX];
	unsigned files;
} rec = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* --- recording --- */

static struct event *
event_add(enum kind kind, unsigned file)
{
	struct event *e = &rec.ev[rec.n++];

	if (rec.n >= EVENTS_MAX)
		abort();
	*e = (struct event){ .kind = kind, .file = file };
	return e;
}

/* The path of fd below the root, or NULL. */
static const char *
path_below(int fd, char room[512])
{
	char link[64];
	size_t root = strlen(rec.root);
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, room, 511);
	if (n < 0)
		return NULL;
	room[n] = '\0';
	if ((size_t)n < root || memcmp(room, rec.root, root) != 0)
		return NULL;
	return room[root] == '/' ? room + root + 1 : "";
}

static unsigned
file_index(const char *path)
{
	unsigned i;

	for (i = 0; i < rec.files; i++) {
		if (rec.file[i].removed == UINT_MAX &&
		    strcmp(rec.file[i].path, path) == 0)
			return i;
	}
	if (rec.files == FILES_MAX)
		abort();
	snprintf(rec.file[i].path, sizeof(rec.file[i].path), "%s", path);
	rec.file[i].created = rec.n;
	rec.file[i].removed = UINT_MAX;
	rec.files++;
	return i;
}

static void
note_write(int fd, const void *p, size_t n, off_t off)
{
	char room[512];
	const char *path;
	struct event *e;

	pthread_mutex_lock(&rec.lock);
	if (rec.on && (path = path_below(fd, room)) != NULL) {
		e = event_add(EV_WRITE, file_index(path));
		e->durable = (fcntl(fd, F_GETFL) & O_DSYNC) != 0;
		e->off = off;
		e->n = n;
		e->data = malloc(n + 1);
		memcpy(e->data, p, n);
	}
	pthread_mutex_unlock(&rec.lock);
}

static void
note_size(int fd, off_t size)
{
	char room[512];
	const char *path;

	pthread_mutex_lock(&rec.lock);
	if (rec.on && (path = path_below(fd, room)) != NULL)
		event_add(EV_SIZE, file_index(path))->off = size;
	pthread_mutex_unlock(&rec.lock);
}

static void
note_sync(int fd)
{
	char room[512];
	const char *path;
	struct stat st;

	pthread_mutex_lock(&rec.lock);
	if (rec.on && (path = path_below(fd, room)) != NULL &&
	    fstat(fd, &st) == 0) {
		if (S_ISDIR(st.st_mode))
			event_add(EV_DIRSYNC, 0)->data =
			    (uint8_t *)strdup(path);
		else
			event_add(EV_SYNC, file_index(path));
	}
	pthread_mutex_unlock(&rec.lock);
}

static void
note_ack(uint32_t no)
{
	pthread_mutex_lock(&rec.lock);
	event_add(EV_ACK, no);
	pthread_mutex_unlock(&rec.lock);
}

/* --- in front of libc; visible, so that LMDB finds them too --- */

#define SHOWN __attribute__((visibility("default")))

SHOWN ssize_t
pwrite(int fd, const void *p, size_t n, off_t off)
{
	note_write(fd, p, n, off);
	return syscall(SYS_pwrite64, fd, p, n, off);
}

SHOWN ssize_t
writev(int fd, const struct iovec *v, int count)
{
	off_t at = lseek(fd, 0, SEEK_CUR);
	int i;

	for (i = 0; i < count && at >= 0; i++) {
		note_write(fd, v[i].iov_base, v[i].iov_len, at);
		at += (off_t)v[i].iov_len;
	}
	return syscall(SYS_writev, fd, v, count);
}

SHOWN int
ftruncate(int fd, off_t size)
{
	note_size(fd, size);
	return (int)syscall(SYS_ftruncate, fd, size);
}

SHOWN int
fallocate(int fd, int mode, off_t off, off_t n)
{
	if (mode != 0)
		abort(); /* not modelled */
	note_size(fd, -(off + n));
	return (int)syscall(SYS_fallocate, fd, mode, off, n);
}

SHOWN int
fsync(int fd)
{
	int rc = (int)syscall(SYS_fsync, fd);

	note_sync(fd);
	return rc;
}

SHOWN int
fdatasync(int fd)
{
	int rc = (int)syscall(SYS_fdatasync, fd);

	note_sync(fd);
	return rc;
}

SHOWN int
unlinkat(int dir, const char *name, int flags)
{
	char room[512], path[700];
	const char *below;

	pthread_mutex_lock(&rec.lock);
	if (rec.on && (below = path_below(dir, room)) != NULL) {
		snprintf(path, sizeof(path), "%s/%s", below, name);
		rec.file[file_index(path)].removed = rec.n;
	}
	pthread_mutex_unlock(&rec.lock);
	return (int)syscall(SYS_unlinkat, dir, name, flags);
}

/* --- building one state --- */

struct state {
	struct prng p;
	unsigned cut;               /* events before this one happened */
	unsigned synced[FILES_MAX]; /* the last sync of each file */
};

static void
state_scan(struct state *s)
{
	unsigned i;

	memset(s->synced, 0, sizeof(s->synced));
	for (i = 0; i < s->cut; i++) {
		if (rec.ev[i].kind == EV_SYNC)
			s->synced[rec.ev[i].file] = i;
	}
}

static void
apply_write(struct state *s, const struct event *e, bool sure, uint8_t *img,
    size_t *size)
{
	unsigned fate = sure ? 0 : prng_below(&s->p, 3);
	size_t at = (size_t)e->off, end = at + e->n;

	if (fate == 1)
		return; /* lost */
	if (end > SIZE_MAX_STATE)
		abort();
	if (end > *size)
		*size = end;
	while (at < end) {
		size_t n = SECTOR - at % SECTOR;

		if (n > end - at)
			n = end - at;
		if (fate == 0 || prng_below(&s->p, 2) == 0)
			memcpy(img + at, e->data + (at - (size_t)e->off), n);
		at += n;
	}
}

static void
apply_size(struct state *s, const struct event *e, bool sure, uint8_t *img,
    size_t *size)
{
	size_t n = (size_t)(e->off < 0 ? -e->off : e->off);

	if (!sure && prng_below(&s->p, 2) == 0)
		return;
	if (n > SIZE_MAX_STATE)
		abort();
	if (e->off >= 0 && n < *size)
		memset(img + n, 0, *size - n);
	if (e->off >= 0 || n > *size)
		*size = n;
}

/* Was the folder of file f synced after event ev and before the cut? */
static bool
entry_synced(const struct state *s, unsigned f, unsigned ev)
{
	const char *path = rec.file[f].path;
	size_t n = (size_t)(strrchr(path, '/') - path);
	unsigned i;

	for (i = ev; i < s->cut; i++) {
		const char *dir = (const char *)rec.ev[i].data;

		if (rec.ev[i].kind == EV_DIRSYNC && strlen(dir) == n &&
		    memcmp(dir, path, n) == 0)
			return true;
	}
	return false;
}

/* Does the entry of file f exist?  Without a sync of its folder: perhaps. */
static bool
file_exists(struct state *s, unsigned f)
{
	const struct file *x = &rec.file[f];

	if (x->created >= s->cut)
		return false;
	if (x->removed < s->cut &&
	    (entry_synced(s, f, x->removed) || prng_below(&s->p, 2) == 0))
		return false;
	return entry_synced(s, f, x->created) || prng_below(&s->p, 2) == 0;
}

static void
file_write(const char *path, const uint8_t *img, size_t size)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	size_t at;

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	for (at = 0; at < size; at += 4096) {
		static const uint8_t zero[4096];
		size_t n = size - at < 4096 ? size - at : 4096;

		if (memcmp(img + at, zero, n) != 0)
			assert_int_equal(pwrite(fd, img + at, n, (off_t)at), n);
	}
	close(fd);
}

static void
file_build(struct state *s, unsigned f, const char *dir, uint8_t *img)
{
	char path[TMPDIR_MAX + 160];
	size_t size = 0;
	unsigned i;

	memset(img, 0, SIZE_MAX_STATE);
	for (i = rec.file[f].created; i < s->cut; i++) {
		const struct event *e = &rec.ev[i];
		bool sure = e->durable || i < s->synced[f];

		if (e->kind > EV_SIZE || e->file != f)
			continue;
		if (e->kind == EV_WRITE)
			apply_write(s, e, sure, img, &size);
		else
			apply_size(s, e, sure, img, &size);
	}
	snprintf(path, sizeof(path), "%s/%s", dir, rec.file[f].path);
	file_write(path, img, size);
}

static void
state_build(struct state *s, const char *dir, uint8_t *img)
{
	char path[TMPDIR_MAX + 16];
	unsigned f;

	snprintf(path, sizeof(path), "%s/db", dir);
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "%s/segments", dir);
	assert_int_equal(mkdir(path, 0700), 0);
	state_scan(s);
	for (f = 0; f < rec.files; f++) {
		if (file_exists(s, f))
			file_build(s, f, dir, img);
	}
}

/* --- the run that is recorded --- */

#define NUMBERS 24u

static enum err
refused_job(struct store_txn *t, void *ctx)
{
	enum err e = file_job(t, ctx);

	return e == ERR_OK ? ERR_CANCELLED : e;
}

/* A job that fails after it wrote: its bytes must never come back. */
static void
put_refused(struct store *s, uint32_t no)
{
	struct file_put *f = file_prepare(s, no);

	assert_int_equal(store_write(s, refused_job, f), ERR_CANCELLED);
	file_put_free(f);
}

#define GROUP 6u
#define GROUP_FIRST 100u

static enum err
group_job(struct store_txn *t, void *ctx)
{
	struct file_put **f = ctx;
	enum err e = ERR_OK;
	unsigned i;

	for (i = 0; i < GROUP && e == ERR_OK; i++)
		e = file_job(t, f[i]);
	return e;
}

/* One job over several segments: all of it is there, or nothing. */
static void
put_group(struct store *s)
{
	struct file_put *f[GROUP];
	unsigned i;

	for (i = 0; i < GROUP; i++)
		f[i] = file_prepare(s, GROUP_FIRST + 4 * i);
	assert_int_equal(store_write(s, group_job, f), ERR_OK);
	for (i = 0; i < GROUP; i++)
		file_put_free(f[i]);
	note_ack(GROUP_FIRST);
}

static unsigned
workload(struct world *w)
{
	unsigned start;
	uint32_t no;

	snprintf(rec.root, sizeof(rec.root), "%s", w->dir);
	rec.on = true;
	world_open(w);
	start = rec.n;
	for (no = 1; no <= NUMBERS; no++) {
		assert_int_equal(file_put(w->s, no), ERR_OK);
		note_ack(no);
		if (no % 5 == 0)
			put_refused(w->s, 1000 + no * 4);
		if (no == 7)
			put_group(w->s);
		if (no == NUMBERS / 2) { /* a restart in between */
			store_close(w->s);
			world_open(w);
		}
	}
	store_close(w->s);
	rec.on = false;
	return start;
}

static bool
acked_before(uint32_t no, unsigned cut)
{
	unsigned i;

	for (i = 0; i < cut; i++) {
		if (rec.ev[i].kind == EV_ACK && rec.ev[i].file == no)
			return true;
	}
	return false;
}

static void
state_check(struct state *s, const struct world *like, uint8_t *img)
{
	struct world w = { .o = like->o };
	enum err group = ERR_OK;
	uint32_t no;

	snprintf(w.dir, sizeof(w.dir), "/dev/shm/psc_power_XXXXXX");
	if (mkdtemp(w.dir) == NULL)
		tmpdir_make(w.dir);
	w.o.dir = w.dir;
	state_build(s, w.dir, img);
	world_open(&w);
	if (deep_bad(w.s) != 0)
		fail_msg("cut %u: damage", s->cut);
	for (no = 1; no <= NUMBERS; no++) {
		enum err e = file_get(w.s, no);

		if (e != ERR_OK &&
		    (e != ERR_NOTFOUND || acked_before(no, s->cut)))
			fail_msg("cut %u: file %u: %s", s->cut, (unsigned)no,
			    err_text(e));
	}
	for (no = 0; no < GROUP; no++) {
		enum err e = file_get(w.s, GROUP_FIRST + 4 * no);

		if (no == 0)
			group = e;
		assert_int_equal(e, group);
	}
	if (group != ERR_OK && acked_before(GROUP_FIRST, s->cut))
		fail_msg("cut %u: group: %s", s->cut, err_text(group));
	for (no = 5; no <= NUMBERS; no += 5)
		assert_int_equal(file_get(w.s, 1000 + no * 4), ERR_NOTFOUND);
	assert_int_equal(file_put(w.s, 3), ERR_OK);
	assert_int_equal(file_get(w.s, 3), ERR_OK);
	store_close(w.s);
	tmpdir_remove(w.dir);
}

static void
test_no_power_cut_loses_what_was_acknowledged(void **state)
{
	const char *want = getenv("PSC_CRASH_STATES");
	struct world w = { .s = NULL };
	uint64_t states = STATES_DEFAULT, i;
	uint8_t *img = malloc(SIZE_MAX_STATE);
	struct prng p = { 11 };
	unsigned start;

	(void)state;
	if (want != NULL)
		assert_int_equal(
		    num_u64(slice_str(want), 1, 1000000, &states), ERR_OK);
	tmpdir_make(w.dir);
	world_opts(&w);
	w.o.segment_bytes = 128 * KIB;
	start = workload(&w);
	tmpdir_remove(w.dir);
	for (i = 0; i < states; i++) {
		struct state s = { .p = { prng_next(&p) } };

		s.cut = start + prng_below(&p, rec.n - start + 1);
		state_check(&s, &w, img);
	}
	print_message("%u events, %u files, %u states\n", rec.n, rec.files,
	    (unsigned)states);
	assert_true(rec.files >= 4); /* segments were changed */
	for (i = 0; i < rec.n; i++)
		free(rec.ev[i].data);
	free(img);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_power_cut_loses_what_was_acknowledged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
