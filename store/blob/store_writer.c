/* store/blob/store_writer.c: the one thread that writes.
 *
 * Happy path: take what waits, run each job in a child transaction, write
 * and sync the segment, commit the index, answer.  A batch is whatever came
 * while the last commit ran, so an idle writer commits at once.
 * Failure modes: a job that fails is undone alone; no space refuses jobs
 * (ERR_FULL) and the store lives on; anything that fails once the commit has
 * begun stops the process, and the next open starts from the last commit. */
#include "store/blob/store_internal.h"

#include <errno.h>

void
store_die(const char *what, int sys)
{
	fprintf(stderr,
	    "pesscara: store: %s failed: %s; stopping, so that nothing is "
	    "acknowledged that is not on disk\n",
	    what, strerror(sys));
	abort();
}

/* --- one batch --- */

struct batch {
	struct store_job *first, *last;
	uint32_t jobs;
	uint32_t good;
};

static void
batch_add(struct batch *b, struct store_job *j)
{
	j->next = NULL;
	if (b->last != NULL)
		b->last->next = j;
	else
		b->first = j;
	b->last = j;
	b->jobs++;
}

static struct store_job *
queue_pop(struct store *s)
{
	struct store_job *j;

	pthread_mutex_lock(&s->lock);
	j = s->head;
	if (j != NULL) {
		s->head = j->next;
		if (s->head == NULL)
			s->last = NULL;
		s->queued--;
	}
	pthread_mutex_unlock(&s->lock);
	return j;
}

static void
job_run(struct store *s, struct db_txn *parent, struct store_job *j)
{
	struct seg_tail mark = s->tail;
	struct store_txn t = { .s = s };

	s->left = false;
	j->e = db_child(parent, &t.db);
	if (j->e != ERR_OK)
		return;
	j->e = j->fn(&t, j->ctx);
	if (j->e == ERR_OK)
		j->e = t.e;
	if (j->e == ERR_OK)
		j->e = store_ref_settle(&t);
	if (j->e == ERR_OK)
		j->e = db_commit(t.db);
	else
		db_abort(t.db);
	if (j->e != ERR_OK)
		store_seg_rollback(s, &mark);
}

static enum err
commit_no_put(struct store *s, struct db_txn *txn)
{
	uint8_t no[8];
	int i;

	for (i = 0; i < 8; i++)
		no[i] = (uint8_t)((s->commit_no + 1) >> (8 * i));
	return db_put(
	    txn, DB_META, SLICE_LIT("commit"), slice_of(no, sizeof(no)));
}

/* From here on there is no way back: all or the process.  Nothing of ours is
 * allocated in here. */
static void
batch_commit(struct store *s, struct db_txn *txn)
{
	enum err e;
	int sys;

	db_ending(txn);
	e = store_seg_finish(s, txn);
	sys = store_fault(s, STORE_AT_COMMIT);
	if (e == ERR_OK)
		e = commit_no_put(s, txn);
	if (sys != 0 || e != ERR_OK)
		store_die("committing the index", sys != 0 ? sys : EIO);
	e = db_commit(txn);
	if (e != ERR_OK)
		store_die("committing the index", e == ERR_FULL ? ENOSPC : EIO);
	s->commit_no++;
	atomic_store(&s->commits, s->commit_no);
}

static void
batch_tell(struct store *s)
{
	uint32_t i;

	pthread_mutex_lock(&s->hook_lock);
	for (i = 0; i < STORE_HOOKS_MAX; i++) {
		if (s->hook[i].fn != NULL)
			s->hook[i].fn(s->hook[i].ctx);
	}
	pthread_mutex_unlock(&s->hook_lock);
}

static void
batch_answer(struct batch *b)
{
	struct store_job *j = b->first, *next;

	for (; j != NULL; j = next) {
		next = j->next;
		if (j->done != NULL)
			j->done(j->e, j->ctx);
		mem_free(j);
	}
}

/* No transaction can be had: everything that waits is refused. */
static void
batch_refuse(struct store *s, struct batch *b, enum err e)
{
	struct store_job *j;

	while (b->jobs < STORE_BATCH_JOBS && (j = queue_pop(s)) != NULL) {
		j->e = e;
		batch_add(b, j);
	}
}

static enum err
batch_begin(struct store *s, struct db_txn **txn)
{
	int sys = store_fault(s, STORE_AT_RESERVE);

	if (sys != 0)
		return db_err(sys);
	return db_write(s->db, txn);
}

static void
batch_run(struct store *s)
{
	struct batch b = { 0 };
	struct db_txn *txn = NULL;
	struct store_job *j;
	enum err e = batch_begin(s, &txn);

	if (e != ERR_OK) {
		batch_refuse(s, &b, e);
		batch_answer(&b);
		return;
	}
	s->batch_bytes = 0;
	store_seg_begin(s);
	while (b.jobs < STORE_BATCH_JOBS &&
	       s->batch_bytes < STORE_BATCH_BYTES &&
	       (j = queue_pop(s)) != NULL) {
		job_run(s, txn, j);
		b.good += j->e == ERR_OK;
		batch_add(&b, j);
	}
	if (b.good > 0) {
		batch_commit(s, txn);
		batch_tell(s);
	} else {
		db_abort(txn);
	}
	batch_answer(&b);
}

static void *
writer_main(void *arg)
{
	struct store *s = arg;
	bool more = true;

	while (more) {
		pthread_mutex_lock(&s->lock);
		if (s->head == NULL)
			buf_fini(&s->tail.stage); /* idle holds no memory */
		while (s->head == NULL && !s->closing)
			pthread_cond_wait(&s->wake, &s->lock);
		more = s->head != NULL;
		pthread_mutex_unlock(&s->lock);
		if (more)
			batch_run(s);
	}
	return NULL;
}

/* --- who wants to know of commits --- */

enum err
store_on_commit(struct store *s, store_commit_fn fn, void *ctx)
{
	enum err e = ERR_LIMIT;
	uint32_t i;

	pthread_mutex_lock(&s->hook_lock);
	for (i = 0; i < STORE_HOOKS_MAX && e != ERR_OK; i++) {
		if (s->hook[i].fn != NULL)
			continue;
		s->hook[i].fn = fn;
		s->hook[i].ctx = ctx;
		e = ERR_OK;
	}
	pthread_mutex_unlock(&s->hook_lock);
	return e;
}

void
store_off_commit(struct store *s, store_commit_fn fn, void *ctx)
{
	uint32_t i;

	pthread_mutex_lock(&s->hook_lock);
	for (i = 0; i < STORE_HOOKS_MAX; i++) {
		if (s->hook[i].fn == fn && s->hook[i].ctx == ctx)
			s->hook[i].fn = NULL;
	}
	pthread_mutex_unlock(&s->hook_lock);
}

/* --- the queue --- */

enum err
store_submit(struct store *s, store_job_fn job, store_done_fn done, void *ctx)
{
	struct store_job *j = mem_new(sizeof(*j));
	enum err e = ERR_OK;

	if (j == NULL)
		return ERR_NOMEM;
	j->fn = job;
	j->done = done;
	j->ctx = ctx;
	pthread_mutex_lock(&s->lock);
	if (s->closing) {
		e = ERR_CANCELLED;
	} else if (s->queued >= s->queue_max) {
		e = ERR_BUSY;
	} else {
		if (s->last != NULL)
			s->last->next = j;
		else
			s->head = j;
		s->last = j;
		s->queued++;
		pthread_cond_signal(&s->wake);
	}
	pthread_mutex_unlock(&s->lock);
	if (e != ERR_OK)
		mem_free(j);
	return e;
}

struct waiter {
	store_job_fn fn;
	void *ctx;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool done;
	enum err e;
};

static enum err
waiter_job(struct store_txn *t, void *ctx)
{
	struct waiter *w = ctx;

	return w->fn(t, w->ctx);
}

static void
waiter_done(enum err e, void *ctx)
{
	struct waiter *w = ctx;

	pthread_mutex_lock(&w->lock);
	w->e = e;
	w->done = true;
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->lock);
}

enum err
store_write(struct store *s, store_job_fn job, void *ctx)
{
	struct waiter w = { .fn = job, .ctx = ctx };
	enum err e;

	REQUIRE(!pthread_equal(pthread_self(), s->writer));
	pthread_mutex_init(&w.lock, NULL);
	pthread_cond_init(&w.cond, NULL);
	e = store_submit(s, waiter_job, waiter_done, &w);
	if (e == ERR_OK) {
		pthread_mutex_lock(&w.lock);
		while (!w.done)
			pthread_cond_wait(&w.cond, &w.lock);
		e = w.e;
		pthread_mutex_unlock(&w.lock);
	}
	pthread_cond_destroy(&w.cond);
	pthread_mutex_destroy(&w.lock);
	return e;
}

enum err
store_writer_start(struct store *s)
{
	if (pthread_create(&s->writer, NULL, writer_main, s) != 0)
		return ERR_NOMEM;
	s->started = true;
	return ERR_OK;
}

void
store_writer_stop(struct store *s)
{
	if (!s->started)
		return;
	pthread_mutex_lock(&s->lock);
	s->closing = true;
	pthread_cond_signal(&s->wake);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->writer, NULL);
	s->started = false;
}
