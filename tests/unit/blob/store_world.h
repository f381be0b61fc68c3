/* tests/unit/blob/store_world.h: an open store in a folder of its own, for
 * the tests of records, rows and opening. */
#ifndef PSC_TESTS_STORE_WORLD_H
#define PSC_TESTS_STORE_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/store_lib.h"
#include "lib/tmpdir.h"
#include "store/blob/store_internal.h"

struct world {
	char dir[TMPDIR_MAX];
	struct store_opts o;
	struct store *s;
	struct prng p;
};

static inline int
setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct errmsg em;

	tmpdir_make(w->dir);
	w->p.s = 5;
	w->o.dir = w->dir;
	w->o.segment_bytes = 256 * KIB;
	w->o.queue_max = 8;
	memset(w->o.local.b, 1, 32);
	memset(w->o.convergence.b, 2, 32);
	assert_int_equal(cry_init(), ERR_OK);
	assert_int_equal(store_open(&w->o, &w->s, &em), ERR_OK);
	*state = w;
	return 0;
}

static inline int
teardown(void **state)
{
	struct world *w = *state;

	store_close(w->s);
	tmpdir_remove(w->dir);
	free(w);
	return 0;
}

static inline void
reopen(struct world *w)
{
	struct errmsg em;

	store_close(w->s);
	assert_int_equal(store_open(&w->o, &w->s, &em), ERR_OK);
}

static inline void
print_bad(void *ctx, const struct store_bad *bad)
{
	unsigned *n = ctx;

	fprintf(stderr, "bad %s %s\n", bad->what, bad->where);
	(*n)++;
}

static inline uint64_t
expect_clean(struct world *w, bool deep)
{
	unsigned bad = 0;
	uint64_t checked;

	assert_int_equal(
	    store_verify(w->s, deep, print_bad, &bad, &checked), ERR_OK);
	assert_int_equal(bad, 0);
	return checked;
}

struct row {
	const char *tag;
	struct slice key, value;
};

static inline enum err
put_row(struct store_txn *t, void *ctx)
{
	struct row *r = ctx;
	struct buf b = BUF_MAX(STORE_ROW_VALUE_MAX);
	enum err e = store_row_put(t, r->tag, r->key, r->value);

	if (e == ERR_OK)
		e = store_row_get(
		    store_txn_store(t), store_txn_db(t), r->tag, r->key, &b);
	if (e == ERR_OK && !slice_eq(buf_slice(&b), r->value))
		e = ERR_CORRUPT;
	buf_fini(&b);
	return e;
}

static inline enum err
get_row(struct world *w, const struct row *r)
{
	struct buf b = BUF_MAX(STORE_ROW_VALUE_MAX);
	struct db_txn *t;
	enum err e;

	assert_int_equal(store_read(w->s, &t), ERR_OK);
	e = store_row_get(w->s, t, r->tag, r->key, &b);
	db_abort(t);
	if (e == ERR_OK)
		assert_true(slice_eq(buf_slice(&b), r->value));
	buf_fini(&b);
	return e;
}

#endif
