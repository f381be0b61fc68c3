/* tests/lib/gc_lib.h: a store whose rows of tag "man" hold what the manifest
 * in their value names. */
#ifndef PSC_TESTS_GC_LIB_H
#define PSC_TESTS_GC_LIB_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/store_lib.h"
#include "lib/tmpdir.h"
#include "store/blob/blob_internal.h"
#include "store/blob/gc.h"
#include "store/blob/store_internal.h"

struct gcw {
	char dir[TMPDIR_MAX];
	struct store_opts o;
	struct store *s;
};

static const struct store_row_owner gcw_rows[] = { { "man",
    blob_manifest_hold } };
static const struct store_owners gcw_owners = { .rows = gcw_rows, .n_rows = 1 };

static inline void
gcw_open(struct gcw *w)
{
	struct errmsg em = { .code = ERR_OK };

	w->o.dir = w->dir;
	if (w->o.segment_bytes == 0)
		w->o.segment_bytes = 256 * KIB;
	w->o.map_bytes = 256 * MIB;
	if (w->o.owners == NULL)
		w->o.owners = &gcw_owners;
	memset(w->o.local.b, 1, 32);
	memset(w->o.convergence.b, 2, 32);
	assert_int_equal(cry_init(), ERR_OK);
	if (store_open(&w->o, &w->s, &em) != ERR_OK)
		fail_msg("open: %s", em.cause);
}

static inline void
gcw_reopen(struct gcw *w)
{
	store_close(w->s);
	gcw_open(w);
}

static inline int
gcw_setup(void **state)
{
	struct gcw *w = calloc(1, sizeof(*w));

	tmpdir_make(w->dir);
	gcw_open(w);
	*state = w;
	return 0;
}

static inline int
gcw_teardown(void **state)
{
	struct gcw *w = *state;

	store_close(w->s);
	tmpdir_remove(w->dir);
	free(w);
	return 0;
}

/* Bytes of file number no; two numbers share a piece if they share no / 2
 * and plan says so: the first half follows from no / 2 alone. */
#define GCW_FILE 20000u
static inline struct slice
gcw_file(uint32_t no, uint8_t *room)
{
	struct prng a = { no / 2 + 1000 }, b = { no + 500000 };

	prng_fill(&a, room, GCW_FILE / 2);
	prng_fill(&b, room + GCW_FILE / 2, GCW_FILE / 2);
	return slice_of(room, GCW_FILE);
}

struct gcw_put {
	struct blob_batch *b;
	struct buf man;
	const char *tag;
	uint8_t key[4];
	enum err end; /* what the job returns after its work */
	bool row;     /* false: only the chunks */
};

static inline void
gcw_prepare(struct gcw *w, struct gcw_put *p, uint32_t no)
{
	static const struct blob_piece plan[2] = {
		{ .off = 0, .len = GCW_FILE / 2 },
		{ .off = GCW_FILE / 2, .len = GCW_FILE / 2 },
	};
	uint8_t *room = malloc(GCW_FILE);

	*p = (struct gcw_put){ .tag = "man", .row = true };
	p->man = BUF_MAX(MIB);
	p->b = blob_batch_new(w->s);
	p->key[2] = (uint8_t)(no >> 8);
	p->key[3] = (uint8_t)no;
	assert_non_null(p->b);
	assert_int_equal(
	    blob_batch_add(p->b, gcw_file(no, room), plan, 2, &p->man), ERR_OK);
	free(room);
}

static inline enum err
gcw_put_job(struct store_txn *t, void *ctx)
{
	struct gcw_put *p = ctx;
	enum err e = blob_batch_put(t, p->b);

	if (e == ERR_OK && p->row)
		e = store_row_put(
		    t, p->tag, slice_of(p->key, 4), buf_slice(&p->man));
	return e == ERR_OK ? p->end : e;
}

static inline void
gcw_put_free(struct gcw_put *p)
{
	blob_batch_free(p->b);
	buf_fini(&p->man);
}

static inline void
gcw_file_put(struct gcw *w, uint32_t no)
{
	struct gcw_put p;

	gcw_prepare(w, &p, no);
	assert_int_equal(store_write(w->s, gcw_put_job, &p), ERR_OK);
	gcw_put_free(&p);
}

static inline enum err
gcw_del_job(struct store_txn *t, void *ctx)
{
	return store_row_del(t, "man", slice_of(ctx, 4));
}

static inline enum err
gcw_file_del(struct gcw *w, uint32_t no)
{
	uint8_t key[4] = { 0, 0, (uint8_t)(no >> 8), (uint8_t)no };

	return store_write(w->s, gcw_del_job, key);
}

/* ERR_OK only if every byte is right; wrong bytes fail the test. */
static inline enum err
gcw_file_get(struct gcw *w, uint32_t no)
{
	struct buf man = BUF_MAX(MIB), out = BUF_MAX(GCW_FILE);
	struct blob_manifest m = { 0 };
	uint8_t *room = malloc(GCW_FILE);
	uint8_t key[4] = { 0, 0, (uint8_t)(no >> 8), (uint8_t)no };
	struct db_txn *t;
	enum err e;

	assert_int_equal(store_read(w->s, &t), ERR_OK);
	e = store_row_get(w->s, t, "man", slice_of(key, 4), &man);
	db_abort(t);
	if (e == ERR_OK)
		e = blob_manifest_decode(buf_slice(&man), &m);
	if (e == ERR_OK)
		e = blob_join(w->s, &m, &out);
	if (e == ERR_OK)
		assert_true(slice_eq(buf_slice(&out), gcw_file(no, room)));
	blob_manifest_fini(&m);
	buf_fini(&man);
	buf_fini(&out);
	free(room);
	return e;
}

static inline void
gcw_bad(void *ctx, const struct store_bad *bad)
{
	fprintf(stderr, "bad %s %s\n", bad->what, bad->where);
	(*(unsigned *)ctx)++;
}

static inline unsigned
gcw_refs_bad(struct gcw *w)
{
	unsigned n = 0;

	assert_int_equal(store_refs_check(w->s, gcw_bad, &n, NULL), ERR_OK);
	return n;
}

static inline struct store_stats
gcw_stats(struct gcw *w)
{
	struct store_stats st;

	assert_int_equal(store_stats(w->s, &st), ERR_OK);
	return st;
}

/* References of the k-th chunk of a file. */
static inline uint32_t
gcw_refs(struct gcw *w, const struct buf *man, uint32_t k)
{
	struct blob_manifest m = { 0 };
	uint32_t refs = UINT32_MAX;
	struct db_txn *t;

	assert_int_equal(blob_manifest_decode(buf_slice(man), &m), ERR_OK);
	assert_int_equal(store_read(w->s, &t), ERR_OK);
	assert_int_equal(store_ref_count(t, &m.e[k].cid, &refs), ERR_OK);
	db_abort(t);
	blob_manifest_fini(&m);
	return refs;
}

#endif
