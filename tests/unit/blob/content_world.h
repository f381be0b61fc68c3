/* tests/unit/blob/content_world.h: a store of its own for each test, and files
 * put into it and read again. */
#ifndef PSC_TESTS_BLOB_CONTENT_WORLD_H
#define PSC_TESTS_BLOB_CONTENT_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/store_lib.h"
#include "lib/tmpdir.h"
#include "store/base/limits.h"
#include "store/blob/blob_internal.h"

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
	w->p.s = 1;
	w->o.dir = w->dir;
	w->o.segment_bytes = 4 * MIB;
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

static inline enum err
put_job(struct store_txn *t, void *ctx)
{
	return blob_batch_put(t, ctx);
}

struct put {
	const struct blob_piece *plan;
	uint32_t n;
};

/* Stores data; the manifest is appended to man.  Ciphertext bytes added. */
static inline uint64_t
put_file(struct world *w, struct slice data, struct put how, struct buf *man)
{
	struct blob_batch *b = blob_batch_new(w->s);
	uint64_t added;

	assert_non_null(b);
	assert_int_equal(blob_batch_add(b, data, how.plan, how.n, man), ERR_OK);
	added = blob_batch_new_bytes(b);
	assert_int_equal(store_write(w->s, put_job, b), ERR_OK);
	blob_batch_free(b);
	return added;
}

static inline void
expect_join(struct world *w, struct slice man, struct slice data)
{
	struct blob_manifest m;
	struct buf out = BUF_MAX(data.n);

	assert_int_equal(blob_manifest_decode(man, &m), ERR_OK);
	assert_int_equal(m.raw_len, data.n);
	assert_int_equal(blob_join(w->s, &m, &out), ERR_OK);
	assert_true(slice_eq(buf_slice(&out), data));
	buf_fini(&out);
	blob_manifest_fini(&m);
}

/* One stored piece and its entry. */
static inline struct blob_entry
one_entry(struct world *w, uint8_t *data, size_t n)
{
	struct buf man = BUF_MAX(MIB);
	struct blob_manifest m;
	struct blob_entry e;

	prng_fill(&w->p, data, n / 2);
	memset(data + n / 2, 7, n - n / 2);
	put_file(w, slice_of(data, n), (struct put){ 0 }, &man);
	assert_int_equal(blob_manifest_decode(buf_slice(&man), &m), ERR_OK);
	assert_int_equal(m.n, 1);
	e = m.e[0];
	blob_manifest_fini(&m);
	buf_fini(&man);
	return e;
}

#endif
