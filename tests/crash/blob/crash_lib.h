/* tests/crash/blob/crash_lib.h: files with known bytes, put under a number
 * and looked for again: what the crash tests of the store share. */
#ifndef PSC_TESTS_CRASH_LIB_H
#define PSC_TESTS_CRASH_LIB_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/store_lib.h"
#include "lib/tmpdir.h"
#include "store/blob/blob.h"
#include "store/blob/store_internal.h"

#define FILE_MAX ((size_t)300000)

struct world {
	char dir[TMPDIR_MAX];
	struct store_opts o;
	struct store *s;
};

static inline void
world_opts(struct world *w)
{
	w->o.dir = w->dir;
	w->o.segment_bytes = 512 * KIB;
	w->o.map_bytes = 256 * MIB;
	memset(w->o.local.b, 1, 32);
	memset(w->o.convergence.b, 2, 32);
	assert_int_equal(cry_init(), ERR_OK);
}

static inline void
world_open(struct world *w)
{
	struct errmsg em = { .code = ERR_OK };

	if (store_open(&w->o, &w->s, &em) != ERR_OK)
		fail_msg("open: %s", em.cause);
}

/* File number no: its size and bytes follow from no alone. */
static inline struct slice
file_make(uint32_t no, uint8_t *room)
{
	struct prng p = { no };
	size_t n = 1 + prng_below(&p, no % 4 == 0 ? FILE_MAX : 5000);

	prng_fill(&p, room, n / 2);
	memset(room + n / 2, (int)(no % 251), n - n / 2);
	return slice_of(room, n);
}

struct file_put {
	uint32_t no;
	struct blob_batch *b;
	struct buf man;
	int ack_fd;
};

static inline struct slice
file_key(uint32_t no, uint8_t key[4])
{
	int i;

	for (i = 0; i < 4; i++)
		key[i] = (uint8_t)(no >> (24 - 8 * i));
	return slice_of(key, 4);
}

static inline enum err
file_job(struct store_txn *t, void *ctx)
{
	struct file_put *f = ctx;
	uint8_t key[4];
	enum err e = blob_batch_put(t, f->b);

	if (e != ERR_OK)
		return e;
	return store_row_put(
	    t, "file", file_key(f->no, key), buf_slice(&f->man));
}

static inline struct file_put *
file_prepare(struct store *s, uint32_t no)
{
	struct file_put *f = calloc(1, sizeof(*f));
	uint8_t *room = malloc(FILE_MAX + 1);
	enum err e = ERR_NOMEM;

	f->no = no;
	f->b = blob_batch_new(s);
	f->man = BUF_MAX(MIB);
	if (f->b != NULL)
		e = blob_batch_add(f->b, file_make(no, room), NULL, 0, &f->man);
	free(room);
	if (e != ERR_OK)
		abort();
	return f;
}

static inline void
file_put_free(struct file_put *f)
{
	blob_batch_free(f->b);
	buf_fini(&f->man);
	free(f);
}

static inline enum err
file_put(struct store *s, uint32_t no)
{
	struct file_put *f = file_prepare(s, no);
	enum err e = store_write(s, file_job, f);

	file_put_free(f);
	return e;
}

/* ERR_OK only if every byte is right; wrong bytes fail the test. */
static inline enum err
file_get(struct store *s, uint32_t no)
{
	struct buf man = BUF_MAX(MIB), out = BUF_MAX(FILE_MAX);
	struct blob_manifest m = { 0 };
	uint8_t *room = malloc(FILE_MAX + 1), key[4];
	struct db_txn *t;
	enum err e = store_read(s, &t);

	assert_int_equal(e, ERR_OK);
	e = store_row_get(s, t, "file", file_key(no, key), &man);
	db_abort(t);
	if (e == ERR_OK)
		e = blob_manifest_decode(buf_slice(&man), &m);
	if (e == ERR_OK)
		e = blob_join(s, &m, &out);
	if (e == ERR_OK)
		assert_true(slice_eq(buf_slice(&out), file_make(no, room)));
	else
		assert_int_equal(out.n, 0);
	blob_manifest_fini(&m);
	buf_fini(&man);
	buf_fini(&out);
	free(room);
	return e;
}

static bool bad_say; /* for tests that expect none */

static inline void
bad_count(void *ctx, const struct store_bad *bad)
{
	if (bad_say)
		print_message("damage: %s %s\n", bad->what, bad->where);
	(*(unsigned *)ctx)++;
}

static inline unsigned
deep_bad(struct store *s)
{
	unsigned n = 0;

	assert_int_equal(store_verify(s, true, bad_count, &n, NULL), ERR_OK);
	return n;
}

/* The last segment and where its indexed records end. */
static inline uint32_t
last_segment(struct store *s, uint64_t *used)
{
	struct seg_row row;
	struct db_txn *t;
	uint32_t seg = 0;

	assert_int_equal(store_read(s, &t), ERR_OK);
	while (store_seg_row_get(t, seg + 1, &row) == ERR_OK) {
		seg++;
		*used = row.used;
	}
	db_abort(t);
	return seg;
}

static inline int
segment_open(const struct world *w, uint32_t seg)
{
	char path[TMPDIR_MAX + 32];
	int fd;

	snprintf(
	    path, sizeof(path), "%s/segments/%08x.seg", w->dir, (unsigned)seg);
	fd = open(path, O_RDWR);
	assert_true(fd >= 0);
	return fd;
}

#endif
