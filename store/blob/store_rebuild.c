/* store/blob/store_rebuild.c: a new index from the log alone.
 *
 * Happy path: lock the old index, walk every segment in order, take each
 * record that is believed (place, CRC) into an index of its own beside the
 * old one, a whole commit at a time; ops, heads and membership records are
 * noted for the rooms above.  At the end the new index takes the old one's
 * name.
 * Failure modes: what is damaged or was never acknowledged is left out
 * (store_rebuild_log.c); a crash leaves the old index, or none, and the
 * rebuild is run again. */
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/blob/store_rebuild_internal.h"

#define INDEX "db"
#define INDEX_NEW "db.new"
#define INDEX_OLD "db.old"

void
store_rebuild_free(struct rebuild *r)
{
	if (r == NULL)
		return;
	db_abort(r->txn);
	if (r->lock_fd >= 0)
		close(r->lock_fd);
	mem_free(r->segs);
	mem_free(r->pend);
	mem_free(r->note);
	buf_fini(&r->body);
	rebuild_bads_fini(&r->bads);
	mem_free(r);
}

/* --- begin and end --- */

static enum err
path_make(const struct rebuild *r, const char *name, char out[PATH_BYTES])
{
	int n = snprintf(out, PATH_BYTES, "%s/%s", r->dir, name);

	return n < 0 || (size_t)n >= PATH_BYTES - 16 ? ERR_LIMIT : ERR_OK;
}

/* An index is a folder of three files. */
static enum err
index_remove(const struct rebuild *r, const char *name)
{
	static const char *const files[] = { "data.mdb", "data.mdb.new",
		"lock.mdb", "LOCK" };
	char path[PATH_BYTES], file[PATH_BYTES];
	size_t i;
	enum err e = path_make(r, name, path);

	if (e != ERR_OK)
		return e;
	for (i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		if (snprintf(file, sizeof(file), "%.4000s/%s", path, files[i]) <
		    0)
			return ERR_LIMIT;
		if (unlink(file) != 0 && errno != ENOENT && errno != ENOTDIR)
			return db_err(errno);
	}
	if (rmdir(path) != 0 && errno != ENOENT)
		return db_err(errno);
	return ERR_OK;
}

/* Nobody may have the store open, not even with an index that is damaged. */
static enum err
old_lock(struct rebuild *r, struct errmsg *em)
{
	char path[PATH_BYTES];
	enum err e = path_make(r, INDEX "/LOCK", path);

	if (e != ERR_OK)
		return e;
	r->lock_fd = open(path, O_RDWR | O_CLOEXEC);
	if (r->lock_fd < 0)
		return errno == ENOENT ? ERR_OK : db_err(errno);
	if (flock(r->lock_fd, LOCK_EX | LOCK_NB) == 0)
		return ERR_OK;
	return errmsg_set(em, ERR_BUSY, "stop the node, then run it again",
	    "the store in %.100s is in use by another process", r->dir);
}

enum err
store_rebuild_begin(const struct store_opts *o,
    const struct store_rebuild_opts *ro, struct store **out, struct errmsg *em)
{
	struct rebuild *r = mem_new(sizeof(*r));
	struct errmsg why = { .code = ERR_OK };
	struct store *s = NULL;
	enum err e;

	if (r == NULL)
		return errmsg_set(em, ERR_NOMEM, "", "out of memory");
	r->o = *ro;
	r->bads = (struct rebuild_bads){ .fn = ro->bad, .ctx = ro->ctx };
	r->lock_fd = -1;
	r->body = BUF_MAX(STORE_BODY_MAX);
	snprintf(r->dir, sizeof(r->dir), "%s", o->dir);
	if ((e = old_lock(r, &why)) == ERR_OK)
		e = index_remove(r, INDEX_NEW);
	if (e == ERR_OK)
		e = store_init(o, INDEX_NEW, r, &s, &why);
	else
		store_rebuild_free(r);
	/* From here on s owns r. */
	if (e == ERR_OK)
		e = rebuild_log_walk(s, &why);
	if (e == ERR_OK)
		e = store_seg_open_tail(s, &why);
	if (e == ERR_OK)
		e = store_writer_start(s);
	if (e == ERR_OK) {
		*out = s;
		return ERR_OK;
	}
	if (why.code == ERR_OK)
		errmsg_set(&why, e, "run it again when the cause is gone",
		    "the index cannot be rebuilt: %s", err_text(e));
	if (em != NULL)
		*em = why;
	store_close(s);
	return e;
}

enum err
store_rebuild_each(struct store *s, store_rebuild_fn fn, void *ctx)
{
	struct rebuild *r = s->rebuild;
	enum err e = ERR_OK;
	size_t i;

	REQUIRE(r != NULL);
	for (i = 0; i < r->n_note && e == ERR_OK; i++) {
		const struct noted *n = &r->note[i];
		struct store_loc l = { n->seg, (uint64_t)n->at * STORE_ALIGN,
			n->len };

		e = fn(ctx, (enum rec_kind)n->kind, &l);
	}
	return e;
}

static enum err
index_swap(const struct rebuild *r)
{
	char old[PATH_BYTES], now[PATH_BYTES], new[PATH_BYTES];
	enum err e;

	if ((e = path_make(r, INDEX_OLD, old)) != ERR_OK ||
	    (e = path_make(r, INDEX, now)) != ERR_OK ||
	    (e = path_make(r, INDEX_NEW, new)) != ERR_OK ||
	    (e = index_remove(r, INDEX_OLD)) != ERR_OK)
		return e;
	if (rename(now, old) != 0 && errno != ENOENT)
		return db_err(errno);
	if (rename(new, now) != 0) {
		e = db_err(errno);
		(void)rename(old, now);
		return e;
	}
	return store_dir_sync(r->dir, "");
}

enum err
store_rebuild_end(struct store *s, bool keep_old, struct errmsg *em)
{
	struct rebuild *r = s->rebuild;
	enum err e;

	REQUIRE(r != NULL);
	s->rebuild = NULL; /* outlives the store, and so does the lock */
	store_close(s);
	e = index_swap(r);
	if (e == ERR_OK && !keep_old)
		e = index_remove(r, INDEX_OLD);
	store_rebuild_free(r);
	if (e != ERR_OK)
		errmsg_set(em, e, "run it again when the cause is gone",
		    "the new index cannot take the old one's place: %s",
		    err_text(e));
	return e;
}
