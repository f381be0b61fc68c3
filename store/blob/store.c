/* store/blob/store.c: opening and closing a store, its keys and figures.
 *
 * Happy path: make the folders, open the index (which takes the lock), check
 * format and key, cut the open segment at its last indexed record, start the
 * writer.  Failure modes: another process (ERR_BUSY), a newer format
 * (ERR_UNSUPPORTED), the wrong key (ERR_AUTH), no memory, no space. */
#include "store/blob/blob_internal.h"
#include "store/blob/store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_BYTES 4096u
#define KEYCHECK "pesscara store"

void
store_set_fault(struct store *s, store_fault_fn fn, void *ctx)
{
	s->fault_ctx = ctx;
	atomic_store(&s->fault, fn);
}

int
store_fault(struct store *s, enum store_point at)
{
	store_fault_fn fn = atomic_load(&s->fault);

	return fn == NULL ? 0 : fn(s->fault_ctx, at);
}

static enum err
dir_make(const char *dir, const char *sub, char *out, struct errmsg *em)
{
	int n = snprintf(out, PATH_BYTES, "%s%s%s", dir, *sub ? "/" : "", sub);

	if (n < 0 || (size_t)n >= PATH_BYTES - 16)
		return errmsg_set(em, ERR_LIMIT, "choose a shorter path",
		    "the path of the store is too long");
	if (mkdir(out, 0700) != 0 && errno != EEXIST)
		return errmsg_set(em, db_err(errno),
		    "check that the folder above exists and is writable",
		    "cannot make %s: %s", out, strerror(errno));
	return ERR_OK;
}

/* A folder's new entries are durable only once the folder is. */
enum err
store_dir_sync(const char *dir, const char *sub)
{
	char path[PATH_BYTES];
	int n = snprintf(path, sizeof(path), "%s%s", dir, sub);
	int fd, rc;

	if (n < 0 || (size_t)n >= sizeof(path))
		return ERR_LIMIT;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return ERR_IO;
	rc = fsync(fd);
	close(fd);
	return rc == 0 ? ERR_OK : ERR_IO;
}

static enum err
dirs_open(struct store *s, const struct store_opts *o, const char *index,
    char *db_dir, struct errmsg *em)
{
	char path[PATH_BYTES];
	enum err e;

	if ((e = dir_make(o->dir, "", path, em)) != ERR_OK ||
	    (e = dir_make(o->dir, index, db_dir, em)) != ERR_OK ||
	    (e = dir_make(o->dir, "segments", path, em)) != ERR_OK)
		return e;
	s->dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->dir_fd < 0 || store_dir_sync(o->dir, "") != ERR_OK ||
	    store_dir_sync(o->dir, "/..") != ERR_OK)
		return errmsg_set(em, ERR_IO, "", "cannot open %s: %s", path,
		    strerror(errno));
	return ERR_OK;
}

static void
keys_derive(struct store *s, const struct store_opts *o)
{
	uint8_t i = 0;

	cry_subkey(&o->local, "pscstore", 1, &s->row_key);
	cry_subkey(&o->local, "pscstore", 2, &s->pidx_key);
	cry_subkey(&o->local, "pscstore", 3, &s->pent_key);
	s->convergence = o->convergence;
	/* One gear table a site: cut points tell strangers nothing. */
	do {
		struct slice part = slice_of(&i, 1);
		uint8_t out[16];
		int k;

		cry_hash_parts(
		    &s->convergence, "psc.gear.1", &part, 1, out, sizeof(out));
		for (k = 0; k < 8; k++)
			s->gear[i] |= (uint64_t)out[k] << (8 * k);
	} while (++i != 0);
}

/* --- format and key of an existing store --- */

static enum err
meta_create(struct store *s, struct db_txn *t)
{
	struct buf b = BUF_MAX(256);
	enum err e;

	buf_u32(&b, STORE_FORMAT);
	e = buf_err(&b);
	if (e == ERR_OK)
		e = db_put(t, DB_META, SLICE_LIT("format"), buf_slice(&b));
	buf_reset(&b);
	cry_box_local_seal(
	    &s->row_key, SLICE_LIT("keycheck"), SLICE_LIT(KEYCHECK), &b);
	if (e == ERR_OK)
		e = buf_err(&b);
	if (e == ERR_OK)
		e = db_put(t, DB_META, SLICE_LIT("keycheck"), buf_slice(&b));
	buf_fini(&b);
	return e;
}

static enum err
key_check(struct store *s, struct db_txn *t)
{
	struct buf b = BUF_MAX(256);
	struct slice v;
	enum err e = db_get(t, DB_META, SLICE_LIT("keycheck"), &v);

	if (e == ERR_OK)
		e = cry_box_local_open(
		    &s->row_key, SLICE_LIT("keycheck"), v, &b);
	buf_fini(&b);
	return e;
}

enum err
store_commit_no(struct db_txn *txn, uint64_t *out)
{
	struct slice v;
	struct rd r;
	enum err e = db_get(txn, DB_META, SLICE_LIT("commit"), &v);

	*out = 0;
	if (e != ERR_OK)
		return e == ERR_NOTFOUND ? ERR_OK : e;
	r = rd_init(v);
	*out = rd_u64(&r);
	return rd_end(&r) == ERR_OK ? ERR_OK : ERR_CORRUPT;
}

static enum err
meta_read(struct store *s, struct db_txn *t, struct errmsg *em)
{
	struct slice v;
	struct rd r;
	enum err e = db_get(t, DB_META, SLICE_LIT("format"), &v);

	if (e != ERR_OK)
		return e;
	r = rd_init(v);
	if (rd_u32(&r) != STORE_FORMAT || rd_end(&r) != ERR_OK)
		return errmsg_set(em, ERR_UNSUPPORTED,
		    "use the release that wrote it",
		    "this store has another format than version %u",
		    STORE_FORMAT);
	e = key_check(s, t);
	if (e != ERR_OK)
		return errmsg_set(em, e, "open it with its own keystore",
		    "the keystore does not fit this store");
	return store_commit_no(t, &s->commit_no);
}

/* An empty index beside a log is a lost one: to go on would write over it. */
static enum err
meta_missing(struct store *s, struct errmsg *em)
{
	uint32_t *list = NULL, n = 0;
	enum err e;

	if (s->rebuild != NULL)
		return ERR_OK;
	e = store_seg_list(s, &list, &n);
	mem_free(list);
	if (e == ERR_OK && n > 0)
		e = errmsg_set(em, ERR_CORRUPT, "run `pesscara rebuild`",
		    "the index of this store is missing");
	return e;
}

static enum err
meta_open(struct store *s, struct errmsg *em)
{
	struct db_txn *t;
	enum err e;

	if ((e = db_read(s->db, &t)) != ERR_OK)
		return e;
	e = meta_read(s, t, em);
	db_abort(t);
	if (e == ERR_NOTFOUND) { /* new */
		if ((e = meta_missing(s, em)) != ERR_OK)
			return e;
		if ((e = db_write(s->db, &t)) != ERR_OK)
			return e;
		if ((e = meta_create(s, t)) != ERR_OK) {
			db_abort(t);
			return e;
		}
		e = db_commit(t);
	}
	atomic_store(&s->commits, s->commit_no);
	return e;
}

static size_t
reserve_of(size_t segment_bytes)
{
	size_t r = segment_bytes / 16;

	if (r < MIB)
		return MIB;
	return r > 32 * MIB ? 32 * MIB : r;
}

enum err
store_init(const struct store_opts *o, const char *index, struct rebuild *r,
    struct store **out, struct errmsg *em)
{
	struct store *s = mem_new(sizeof(*s));
	char db_dir[PATH_BYTES];
	struct db_opts dbo = { .dir = db_dir };
	enum err e;

	if (s == NULL) {
		store_rebuild_free(r);
		return errmsg_set(em, ERR_NOMEM, "", "out of memory");
	}
	s->dir_fd = s->tail.fd = -1;
	s->rebuild = r;
	s->segment_bytes = o->segment_bytes != 0 ? o->segment_bytes : GIB;
	s->queue_max = o->queue_max != 0 ? o->queue_max : 4096;
	dbo.map_bytes = o->map_bytes != 0 ? o->map_bytes : 64 * GIB;
	dbo.reserve_bytes = reserve_of(s->segment_bytes);
	pthread_mutex_init(&s->fd_lock, NULL);
	pthread_mutex_init(&s->lock, NULL);
	pthread_mutex_init(&s->hook_lock, NULL);
	pthread_mutex_init(&s->lease_lock, NULL);
	pthread_mutex_init(&s->gc_lock, NULL);
	pthread_mutex_init(&s->suspects.lock, NULL);
	s->owners = o->owners;
	s->quota_bytes = o->quota_bytes;
	pthread_cond_init(&s->wake, NULL);
	keys_derive(s, o);
	s->codecs = codec_pool_new();
	if (s->codecs == NULL) {
		store_close(s);
		return errmsg_set(em, ERR_NOMEM, "", "out of memory");
	}
	if ((e = dirs_open(s, o, index, db_dir, em)) != ERR_OK ||
	    (e = db_open(&dbo, &s->db, em)) != ERR_OK ||
	    (e = meta_open(s, em)) != ERR_OK) {
		store_close(s);
		return e;
	}
	*out = s;
	return ERR_OK;
}

enum err
store_open(const struct store_opts *o, struct store **out, struct errmsg *em)
{
	struct errmsg why = { .code = ERR_OK };
	struct store *s = NULL;
	enum err e = store_init(o, "db", NULL, &s, &why);

	if (e == ERR_OK)
		e = store_seg_open_tail(s, &why);
	if (e == ERR_OK)
		e = store_seg_bury_open(s);
	if (e == ERR_OK)
		e = store_writer_start(s);
	if (e == ERR_OK) {
		*out = s;
		return ERR_OK;
	}
	if (why.code == ERR_OK)
		errmsg_set(&why, e, "", "cannot open the store in %s: %s",
		    o->dir, err_text(e));
	if (em != NULL)
		*em = why;
	store_close(s);
	return e;
}

void
store_close(struct store *s)
{
	if (s == NULL)
		return;
	store_writer_stop(s);
	store_seg_close_all(s);
	store_rebuild_free(s->rebuild);
	codec_pool_free(s->codecs);
	db_close(s->db);
	if (s->dir_fd >= 0)
		close(s->dir_fd);
	pthread_cond_destroy(&s->wake);
	pthread_mutex_destroy(&s->lock);
	pthread_mutex_destroy(&s->hook_lock);
	pthread_mutex_destroy(&s->lease_lock);
	pthread_mutex_destroy(&s->gc_lock);
	pthread_mutex_destroy(&s->suspects.lock);
	pthread_mutex_destroy(&s->fd_lock);
	cry_wipe(s, sizeof(*s));
	mem_free(s);
}

struct db_txn *
store_txn_db(struct store_txn *t)
{
	return t->db;
}

struct store *
store_txn_store(struct store_txn *t)
{
	return t->s;
}

enum err
store_read(struct store *s, struct db_txn **out)
{
	return db_read(s->db, out);
}

/* --- figures --- */

static enum err
segments_sum(struct db_txn *t, struct store_stats *st)
{
	struct seg_row row;
	uint32_t seg = 0;
	enum err e;

	while ((e = store_seg_row_from(t, seg + 1, &seg, &row)) == ERR_OK) {
		if (row.state == SEG_DEAD)
			continue;
		st->segment_bytes += row.used;
		st->live_bytes += row.live;
		st->dead_bytes += row.used - row.live - STORE_BLOCK;
	}
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

enum err
store_stats(struct store *s, struct store_stats *out)
{
	struct store_stats st = { 0 };
	struct store_chunk_sums sum = { 0 };
	struct db_txn *t;
	enum err e = store_read(s, &t);

	if (e != ERR_OK)
		return e;
	if ((e = db_count(t, DB_CHUNK, &st.chunks)) == ERR_OK)
		e = segments_sum(t, &st);
	if (e == ERR_OK)
		e = store_chunk_sums_get(t, &sum);
	db_abort(t);
	if (e != ERR_OK)
		return e;
	st.chunks -= sum.absent;
	st.grace_chunks = sum.grace_chunks;
	st.grace_bytes = sum.grace_bytes;
	st.index_bytes = db_disk_bytes(s->db);
	st.stored_bytes = st.segment_bytes + st.index_bytes;
	st.commits = atomic_load(&s->commits);
	*out = st;
	return ERR_OK;
}

bool
store_quota_full(struct store *s)
{
	struct store_stats st;

	if (s->quota_bytes == 0)
		return false;
	return store_stats(s, &st) == ERR_OK &&
	       st.live_bytes + st.index_bytes >= s->quota_bytes;
}
