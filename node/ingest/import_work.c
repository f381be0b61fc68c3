/* node/ingest/import_work.c: files of one import, on every core.
 *
 * Happy path of a worker: take a run of paths; for each: open, hand to the
 * helper, answer its question who this is, keep what it made of the file;
 * when the group is full or the run ends, admit_many() stores the group in
 * one commit and each file gets its state.  The next file is sent while the
 * helper still ends the last one.
 * Failure modes: a file that kills the helper costs only itself: the objects
 * held are in the node's memory, and a new helper serves the next file. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/ingest/folder.h"
#include "node/ingest/import.h"
#include "store/base/mem.h"

#define WORK_WAIT_MS 120000u
#define WORKERS_MAX 8u
#define RUN_FILES ADMIT_MANY
#define QUEUE_FILES ((size_t)WORKERS_MAX * RUN_FILES)
/* So many wait for each worker that is there: one more is worth its helper. */
#define GROW_FILES 8u

/* One file on its way: in the queue, at a worker, told. */
struct file {
	struct file *next;
	char *path;
	const char *state;
	uint64_t bytes;
	uint64_t item;
	char reason[160];
	bool again;
	struct file_stamp stamp;
	/* at the worker */
	struct img_held *held;
	char subject[CAT_KEY_MAX + 1];
};

struct files {
	struct file *first, *last;
	size_t n;
};

struct work_pool {
	struct ingest *g;
	const struct sink *sink;
	int root; /* -1: paths are whole */
	ingest_imported_fn fn;
	void *ctx;
	bool stop;
	pthread_mutex_t mu;
	pthread_cond_t more; /* for workers */
	pthread_cond_t less; /* for the owner */
	struct files todo;
	struct files done;
	bool ending;
	enum err e; /* what stopped all of it */
	uint32_t cores;
	uint32_t n_workers;
	uint32_t running;
	pthread_t worker[WORKERS_MAX];
	uint64_t live_item; /* not rejected when last looked at; 0: none */
};

struct worker {
	struct work_pool *p;
	struct imaging *im;
	bool open; /* the helper has not said DONE of the last file */
	struct file *group[ADMIT_MANY];
	uint32_t n;
	uint64_t bytes;
};

static void
files_put(struct files *l, struct file *f)
{
	f->next = NULL;
	if (l->last != NULL)
		l->last->next = f;
	else
		l->first = f;
	l->last = f;
	l->n++;
}

static struct file *
files_take(struct files *l)
{
	struct file *f = l->first;

	if (f == NULL)
		return NULL;
	l->first = f->next;
	if (l->first == NULL)
		l->last = NULL;
	l->n--;
	return f;
}

static void
file_free(struct file *f)
{
	img_held_free(f->held);
	mem_free(f->path);
	mem_free(f);
}

static void
file_say(struct file *f, const char *state, const char *reason)
{
	f->state = state;
	(void)snprintf(f->reason, sizeof(f->reason), "%s", reason);
}

/* Not its fault: the same file may be taken another time. */
static bool
err_passes(enum err e)
{
	return e == ERR_FULL || e == ERR_NOMEM || e == ERR_BUSY ||
	       e == ERR_IO || e == ERR_CANCELLED;
}

static void
file_refuse(struct file *f, enum err e)
{
	file_say(f, "refused",
	    e == ERR_FULL
		? "no space, or the quota store.quota_bytes is reached"
		: err_text(e));
	f->again = err_passes(e);
}

/* The helper could not read it whole. */
static void
file_unfit(struct file *f, const char *reason)
{
	file_say(f, "refused", reason);
	f->again =
	    strcmp(reason, "too-large") != 0 && strcmp(reason, "file") != 0;
}

/* --- a worker: its helper --- */

static enum err
worker_helper(struct worker *w)
{
	struct imaging_opts o = {
		.program = w->p->g->o.helper,
		.mode = IMAGING_IMPORT,
		.accepted_fd = -1,
		.called_ae = w->p->g->o.conf->dicom_ae_title,
		.memory_bytes_max = w->p->g->o.conf->limits_helper_memory,
		.idle_ms = WORK_WAIT_MS,
		.table = w->p->sink->table,
	};

	w->open = false;
	return imaging_spawn(&o, &w->im, NULL);
}

static void
worker_drop_helper(struct worker *w)
{
	imaging_close(w->im);
	w->im = NULL;
	w->open = false;
}

static enum err
worker_identity(struct worker *w, struct file *f, const struct img_identity *id)
{
	struct id_answer ans;
	enum err e = id_answer_make(w->p->g, w->p->sink, id, &ans);

	if (e != ERR_OK)
		return e;
	memcpy(f->subject, ans.subject, sizeof(f->subject));
	e = imaging_answer_identity(w->im, &ans.ctx);
	id_answer_fini(&ans);
	return e;
}

static enum err
worker_object(struct worker *w, struct file *f, const struct img_object *o)
{
	uint16_t status = IMG_STATUS_OK;

	if (!o->parsed && o->n_findings > 0 &&
	    strcmp(o->findings[0].kind, "not-dicom") == 0) {
		file_say(f, "refused", "not a DICOM file");
		status = IMG_STATUS_REFUSED;
	} else if (imaging_hold(w->im, &f->held) != ERR_OK) {
		file_refuse(f, ERR_NOMEM);
		status = IMG_STATUS_OUT_OF_RESOURCES;
	}
	w->open = true;
	return imaging_answer_stored(w->im, status);
}

/* The frames of one file, until it is held or refused. */
static enum err
worker_frames(struct worker *w, struct file *f)
{
	struct img_msg m;
	enum err e = ERR_OK;

	while (e == ERR_OK && f->held == NULL && f->state == NULL) {
		e = imaging_next(w->im, WORK_WAIT_MS, &m);
		if (e != ERR_OK)
			break;
		if (m.kind == IMG_DONE && w->open)
			w->open = false; /* of the file before */
		else if (m.kind == IMG_DONE)
			file_unfit(f, m.done.reason);
		else if (!w->open && m.kind == IMG_IDENTITY)
			e = worker_identity(w, f, &m.identity);
		else if (!w->open && m.kind == IMG_OBJECT)
			e = worker_object(w, f, &m.object);
		else
			e = ERR_MALFORMED;
	}
	return e;
}

/* A helper that died before it ended the last file did not die of this. */
static enum err
worker_talk(struct worker *w, struct file *f, int fd)
{
	enum err e = ERR_OK;
	bool others = w->im != NULL && w->open;

	if (w->im == NULL)
		e = worker_helper(w);
	if (e == ERR_OK)
		e = imaging_send_file(w->im, fd, f->bytes);
	if (e == ERR_OK)
		e = worker_frames(w, f);
	if (e == ERR_OK || f->held != NULL)
		return ERR_OK;
	others = others && w->open;
	worker_drop_helper(w);
	return others ? worker_talk(w, f, fd) : e;
}

/* Cause, and what to do about it. */
static void
file_unreadable(struct file *f, int code)
{
	f->again = code != ELOOP;
	if (code == ELOOP)
		file_say(f, "refused",
		    "a symbolic link, which is not followed; import the file "
		    "it points to");
	else if (code == EACCES || code == EPERM)
		file_say(f, "refused",
		    "the node may not read it; let the node's user read it");
	else
		file_say(f, "refused",
		    "the node cannot read it; check the path and the disk");
}

static void
worker_file(struct worker *w, struct file *f)
{
	struct stat st;
	int flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
	int root = w->p->root;
	int fd =
	    root < 0 ? open(f->path, flags) : folder_open(root, f->path, flags);
	enum err e;

	if (fd < 0 || fstat(fd, &st) != 0) {
		file_unreadable(f, errno);
	} else if (!S_ISREG(st.st_mode)) {
		file_say(f, "refused", "not a regular file");
	} else if ((uint64_t)st.st_size > LIM_OBJECT_BYTES) {
		file_say(f, "refused", "larger than 2 GiB");
	} else {
		f->bytes = (uint64_t)st.st_size;
		file_stamp_make(w->p->g, w->p->sink, f->path, &st, &f->stamp);
		e = worker_talk(w, f, fd);
		if (e == ERR_FOREIGN)
			file_say(f, "refused",
			    "the parser died on it; the file was not taken");
		else if (e != ERR_OK)
			file_refuse(f, e);
	}
	if (fd >= 0)
		(void)close(fd);
}

/* --- a worker: its group --- */

static void
file_answer(struct file *f, const struct admit_one *one)
{
	const struct img_object *o = img_held_object(f->held);

	if (one->e != ERR_OK) {
		file_refuse(f, one->e);
		return;
	}
	f->item = one->out.item;
	if (one->out.state == ADMIT_DUPLICATE)
		file_say(f, "duplicate",
		    one->out.mended ? "the damaged copy was replaced" : "");
	else if (one->out.state == ADMIT_STORED)
		file_say(f, "stored", "");
	else
		file_say(f, "quarantined",
		    o->n_findings > 0 ? o->findings[0].kind
				      : "findings in its series");
}

static void
worker_commit(struct worker *w)
{
	struct admit_one list[ADMIT_MANY] = { 0 };
	uint32_t i;

	if (w->n == 0)
		return;
	for (i = 0; i < w->n; i++) {
		list[i].o = img_held_object(w->group[i]->held);
		list[i].subject = w->group[i]->subject;
		if (w->p->root < 0)
			list[i].stamp = &w->group[i]->stamp;
	}
	admit_many(w->p->g, w->p->sink, list, w->n);
	for (i = 0; i < w->n; i++) {
		file_answer(w->group[i], &list[i]);
		img_held_free(w->group[i]->held);
		w->group[i]->held = NULL;
	}
}

/* What is in the group and done with goes back. */
static void
worker_give(struct worker *w, struct file *refused)
{
	struct work_pool *p = w->p;
	uint32_t i;

	pthread_mutex_lock(&p->mu);
	for (i = 0; i < w->n; i++)
		files_put(&p->done, w->group[i]);
	if (refused != NULL)
		files_put(&p->done, refused);
	pthread_cond_signal(&p->less);
	pthread_mutex_unlock(&p->mu);
	w->n = 0;
	w->bytes = 0;
}

static void
worker_flush(struct worker *w)
{
	worker_commit(w);
	worker_give(w, NULL);
}

static void
worker_take(struct worker *w, struct file *f)
{
	worker_file(w, f);
	if (f->held == NULL) {
		struct worker none = { .p = w->p };

		worker_give(&none, f);
		return;
	}
	w->group[w->n++] = f;
	w->bytes += img_held_object(f->held)->original.n;
	if (w->n == ADMIT_MANY || w->bytes >= ADMIT_MANY_BYTES)
		worker_flush(w);
}

/* The next run: a fair part of what waits.  Before it sleeps, the group is
 * stored: nobody waits for an answer that needs more files. */
static bool
worker_run(struct worker *w, struct files *run)
{
	struct work_pool *p = w->p;
	struct file *f;
	size_t want;

	*run = (struct files){ 0 };
	pthread_mutex_lock(&p->mu);
	if (p->todo.n == 0 && w->n > 0) {
		pthread_mutex_unlock(&p->mu);
		worker_flush(w);
		pthread_mutex_lock(&p->mu);
	}
	while (p->todo.n == 0 && !p->ending)
		pthread_cond_wait(&p->more, &p->mu);
	want = 1 + p->todo.n / p->cores;
	if (want > RUN_FILES)
		want = RUN_FILES;
	while (run->n < want && (f = files_take(&p->todo)) != NULL)
		files_put(run, f);
	pthread_cond_signal(&p->less);
	pthread_mutex_unlock(&p->mu);
	return run->n > 0;
}

static void *
worker_main(void *arg)
{
	struct work_pool *p = arg;
	struct worker w = { .p = p };
	struct files run;
	struct file *f;

	while (worker_run(&w, &run)) {
		while ((f = files_take(&run)) != NULL)
			worker_take(&w, f);
	}
	imaging_close(w.im);
	pthread_mutex_lock(&p->mu);
	p->running--;
	pthread_cond_signal(&p->less);
	pthread_mutex_unlock(&p->mu);
	return NULL;
}

/* --- the owner --- */

enum err
work_pool_new(struct ingest *g, const struct sink *sink, int root,
    ingest_imported_fn fn, void *ctx, struct work_pool **out)
{
	struct work_pool *p = mem_new(sizeof(*p));
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	if (p == NULL)
		return ERR_NOMEM;
	p->g = g;
	p->sink = sink;
	p->root = root;
	p->fn = fn;
	p->ctx = ctx;
	p->cores = cores < 1 ? 1 : (uint32_t)cores;
	if (p->cores > WORKERS_MAX)
		p->cores = WORKERS_MAX;
	(void)pthread_mutex_init(&p->mu, NULL);
	(void)pthread_cond_init(&p->more, NULL);
	(void)pthread_cond_init(&p->less, NULL);
	*out = p;
	return ERR_OK;
}

static void
pool_tell(struct work_pool *p, struct file *f)
{
	char item[40] = "";
	struct ingest_imported now = { .path = f->path,
		.state = f->state,
		.item = item,
		.reason = f->reason,
		.bytes = f->bytes,
		.again = f->again };

	if (f->item != 0)
		q_text(f->item, item);
	if (!p->stop && p->fn(p->ctx, &now) != 0)
		p->stop = true;
	file_free(f);
}

/* Tells what is done; mu is held on entry and exit, not while telling. */
static void
pool_drain(struct work_pool *p)
{
	struct files done = p->done;
	struct file *f;

	p->done = (struct files){ 0 };
	pthread_mutex_unlock(&p->mu);
	while ((f = files_take(&done)) != NULL)
		pool_tell(p, f);
	pthread_mutex_lock(&p->mu);
}

static enum err
pool_grow(struct work_pool *p)
{
	if (p->n_workers == p->cores ||
	    p->todo.n < (size_t)p->n_workers * GROW_FILES)
		return ERR_OK;
	if (pthread_create(&p->worker[p->n_workers], NULL, worker_main, p) != 0)
		return p->n_workers > 0 ? ERR_OK : ERR_NOMEM;
	p->n_workers++;
	p->running++;
	return ERR_OK;
}

static struct file *
file_new(const char *path)
{
	struct file *f = mem_new(sizeof(*f));

	if (f != NULL && (f->path = mem_strdup(path)) == NULL) {
		mem_free(f);
		f = NULL;
	}
	return f;
}

static enum err
pool_item_live(struct work_pool *p, struct db_txn *t, uint64_t item)
{
	struct q_item q;
	enum err e;

	if (item == p->live_item)
		return ERR_OK;
	e = q_get(p->g->o.store, t, item, &q);
	if (e == ERR_OK && strcmp(q.state, "rejected") == 0)
		e = ERR_NOTFOUND;
	if (e == ERR_OK)
		p->live_item = item;
	return e;
}

/* Was this file taken in as it stands there?  Then nobody opens it, unless
 * something here is damaged: its bytes may be what is missing. */
static bool
pool_knows(struct work_pool *p, const char *path)
{
	struct ingest_imported now = {
		.path = path, .state = "duplicate", .reason = ""
	};
	struct file_stamp stamp;
	char item[40];
	struct stat st;
	struct db_txn *t;
	uint64_t no;
	enum err e;

	if (blob_any_suspect(p->g->o.store) || lstat(path, &st) != 0 ||
	    !S_ISREG(st.st_mode) || store_read(p->g->o.store, &t) != ERR_OK)
		return false;
	file_stamp_make(p->g, p->sink, path, &st, &stamp);
	e = file_known(t, &stamp, &no);
	if (e == ERR_OK)
		e = pool_item_live(p, t, no);
	db_abort(t);
	if (e != ERR_OK)
		return false;
	q_text(no, item);
	now.item = item;
	now.bytes = (uint64_t)st.st_size;
	if (!p->stop && p->fn(p->ctx, &now) != 0)
		p->stop = true;
	return true;
}

enum err
work_pool_add(struct work_pool *p, const char *path)
{
	struct file *f;
	enum err e;

	if (p->root < 0 && pool_knows(p, path))
		return p->stop ? ERR_CANCELLED : ERR_OK;
	if ((f = file_new(path)) == NULL)
		return ERR_NOMEM;
	pthread_mutex_lock(&p->mu);
	files_put(&p->todo, f);
	p->e = e = pool_grow(p);
	pthread_cond_signal(&p->more);
	if (p->done.n > 0)
		pool_drain(p);
	while (e == ERR_OK && p->todo.n >= QUEUE_FILES) {
		pthread_cond_wait(&p->less, &p->mu);
		pool_drain(p);
	}
	pthread_mutex_unlock(&p->mu);
	return e == ERR_OK && p->stop ? ERR_CANCELLED : e;
}

enum err
work_pool_say(struct work_pool *p, const char *path, const char *reason)
{
	struct file *f = file_new(path);

	if (f == NULL)
		return ERR_NOMEM;
	file_say(f, "refused", reason);
	pool_tell(p, f);
	return p->stop ? ERR_CANCELLED : ERR_OK;
}

enum err
work_pool_end(struct work_pool *p)
{
	struct file *f;
	uint32_t i;
	enum err e;

	pthread_mutex_lock(&p->mu);
	p->ending = true;
	/* Nobody listens: what no worker has begun is not begun. */
	while (p->stop && (f = files_take(&p->todo)) != NULL)
		file_free(f);
	pthread_cond_broadcast(&p->more);
	/* While it tells, mu is free: the last worker may end meanwhile, and
	 * leave files behind. */
	while (p->running > 0 || p->done.n > 0) {
		if (p->done.n == 0)
			pthread_cond_wait(&p->less, &p->mu);
		pool_drain(p);
	}
	pthread_mutex_unlock(&p->mu);
	for (i = 0; i < p->n_workers; i++)
		(void)pthread_join(p->worker[i], NULL);
	while ((f = files_take(&p->todo)) != NULL)
		file_free(f);
	e = p->e;
	(void)pthread_cond_destroy(&p->more);
	(void)pthread_cond_destroy(&p->less);
	(void)pthread_mutex_destroy(&p->mu);
	mem_free(p);
	return e;
}
