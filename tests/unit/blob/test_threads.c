/* Claims: several threads prepare, submit and read at once while the writer
 * commits; nobody sees half a file; submitting from a done callback works.
 * Meant to be run with the thread sanitizer too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/store_lib.h"
#include "lib/tmpdir.h"
#include "store/base/limits.h"
#include "store/base/mem.h"
#include "store/blob/blob.h"

#define WRITERS 2u
#define READERS 2u
#define FILES 25u
#define SIZE ((size_t)150000)

struct world {
	char dir[TMPDIR_MAX];
	struct store_opts o;
	struct store *s;
	atomic_uint done; /* files acknowledged, per writer in order */
	atomic_uint wrong;
	atomic_bool stop;
};

struct writer {
	struct world *w;
	uint8_t no;
};

static void
bytes_of(uint8_t writer, uint8_t file, uint8_t *out)
{
	struct prng p = { (uint64_t)writer << 8 | file };

	prng_fill(&p, out, SIZE);
}

struct put {
	struct blob_batch *b;
	struct buf man;
	uint8_t key[2];
};

static enum err
put_job(struct store_txn *t, void *ctx)
{
	struct put *p = ctx;
	enum err e = blob_batch_put(t, p->b);

	if (e != ERR_OK)
		return e;
	return store_row_put(
	    t, "file", slice_of(p->key, 2), buf_slice(&p->man));
}

static void *
writer_main(void *arg)
{
	struct writer *me = arg;
	uint8_t *data = malloc(SIZE), i;

	for (i = 0; i < FILES; i++) {
		struct put p = { blob_batch_new(me->w->s), BUF_MAX(MIB),
			{ me->no, i } };

		bytes_of(me->no, i, data);
		if (blob_batch_add(
			p.b, slice_of(data, SIZE), NULL, 0, &p.man) != ERR_OK ||
		    store_write(me->w->s, put_job, &p) != ERR_OK)
			atomic_fetch_add(&me->w->wrong, 1);
		atomic_fetch_add(&me->w->done, 1);
		blob_batch_free(p.b);
		buf_fini(&p.man);
	}
	free(data);
	return NULL;
}

/* Whatever row is there, its file is there whole. */
static bool
file_whole(struct world *w, uint8_t writer, uint8_t file, bool *there)
{
	uint8_t key[2] = { writer, file }, *want = malloc(SIZE);
	struct buf man = BUF_MAX(MIB), out = BUF_MAX(SIZE);
	struct blob_manifest m = { 0 };
	struct db_txn *t;
	enum err e = store_read(w->s, &t);

	if (e == ERR_OK) {
		e = store_row_get(w->s, t, "file", slice_of(key, 2), &man);
		db_abort(t);
	}
	*there = e == ERR_OK;
	bytes_of(writer, file, want);
	if (e == ERR_OK)
		e = blob_manifest_decode(buf_slice(&man), &m);
	if (e == ERR_OK)
		e = blob_join(w->s, &m, &out);
	if (e == ERR_OK && !slice_eq(buf_slice(&out), slice_of(want, SIZE)))
		e = ERR_CORRUPT;
	blob_manifest_fini(&m);
	buf_fini(&man);
	buf_fini(&out);
	free(want);
	return e == ERR_OK || (e == ERR_NOTFOUND && !*there);
}

static void *
reader_main(void *arg)
{
	struct world *w = arg;
	struct prng p = { (uint64_t)(uintptr_t)&p };

	while (!atomic_load(&w->stop)) {
		uint8_t writer = (uint8_t)prng_below(&p, WRITERS);
		uint8_t file = (uint8_t)prng_below(&p, FILES);
		struct store_stats st;
		bool there;

		if (!file_whole(w, writer, file, &there) ||
		    store_stats(w->s, &st) != ERR_OK)
			atomic_fetch_add(&w->wrong, 1);
	}
	return NULL;
}

static void
test_readers_and_writers_at_once(void **state)
{
	struct world w = { .o = { .segment_bytes = MIB } };
	struct writer me[WRITERS];
	pthread_t wt[WRITERS], rt[READERS];
	uint8_t i, k;
	bool there;

	(void)state;
	tmpdir_make(w.dir);
	w.o.dir = w.dir;
	assert_int_equal(cry_init(), ERR_OK);
	assert_int_equal(store_open(&w.o, &w.s, NULL), ERR_OK);
	for (i = 0; i < READERS; i++)
		pthread_create(&rt[i], NULL, reader_main, &w);
	for (i = 0; i < WRITERS; i++) {
		me[i] = (struct writer){ &w, i };
		pthread_create(&wt[i], NULL, writer_main, &me[i]);
	}
	for (i = 0; i < WRITERS; i++)
		pthread_join(wt[i], NULL);
	assert_int_equal(store_verify(w.s, true, NULL, NULL, NULL), ERR_OK);
	atomic_store(&w.stop, true);
	for (i = 0; i < READERS; i++)
		pthread_join(rt[i], NULL);
	assert_int_equal(atomic_load(&w.wrong), 0);
	assert_int_equal(atomic_load(&w.done), WRITERS * FILES);
	for (i = 0; i < WRITERS; i++) {
		for (k = 0; k < FILES; k++) {
			assert_true(file_whole(&w, i, k, &there));
			assert_true(there);
		}
	}
	store_close(w.s);
	tmpdir_remove(w.dir);
}

struct chain {
	struct store *s;
	atomic_uint left, ran;
};

static enum err
chain_job(struct store_txn *t, void *ctx)
{
	struct chain *c = ctx;

	atomic_fetch_add(&c->ran, 1);
	return store_row_put(t, "t", SLICE_LIT("k"), SLICE_LIT("v"));
}

static void
chain_done(enum err e, void *ctx)
{
	struct chain *c = ctx;

	if (e == ERR_OK && atomic_fetch_sub(&c->left, 1) > 1 &&
	    store_submit(c->s, chain_job, chain_done, c) != ERR_OK)
		abort();
}

static void
test_a_done_callback_may_submit_the_next_job(void **state)
{
	char dir[TMPDIR_MAX];
	struct store_opts o = { .dir = dir, .segment_bytes = MIB };
	struct chain c = { .s = NULL };

	(void)state;
	tmpdir_make(dir);
	assert_int_equal(store_open(&o, &c.s, NULL), ERR_OK);
	atomic_store(&c.left, 10);
	assert_int_equal(store_submit(c.s, chain_job, chain_done, &c), ERR_OK);
	while (atomic_load(&c.left) > 0)
		sched_yield();
	store_close(c.s);
	assert_int_equal(atomic_load(&c.ran), 10);
	tmpdir_remove(dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_readers_and_writers_at_once),
		cmocka_unit_test(test_a_done_callback_may_submit_the_next_job),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
