/* tests/bench/bench_gc.c: how long others wait for the writer while space is
 * given back.
 *
 *   bench_gc FOLDER
 *
 * Makes a store in FOLDER (which must not exist) with segments of 16 MiB,
 * fills it with 128 MB, lets three of four files go, and measures the wait of
 * one small write after the other: first with nothing else going on, then
 * while a pass collects and copies forward.  Prints one figure a line. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "store/base/clock.h"
#include "store/base/limits.h"
#include "store/base/mem.h"
#include "store/blob/gc.h"

#define FILES 256u
#define FILE_BYTES ((size_t)512 * KIB)
#define WAITS_MAX 200000u
#define QUIET_MS 1500u

static const struct store_row_owner rows[] = { { "man", blob_manifest_hold } };
static const struct store_owners owners = { .rows = rows, .n_rows = 1 };

struct bench {
	struct store *s;
	uint32_t *us; /* waits */
	uint32_t n;
	_Atomic bool over;
};

static void __attribute__((noreturn)) stop(const char *what, enum err e)
{
	fprintf(stderr, "bench_gc: %s: %s\n", what, err_text(e));
	exit(1);
}

struct put {
	struct blob_batch *b;
	struct buf man;
	uint32_t no;
};

static enum err
put_job(struct store_txn *t, void *ctx)
{
	struct put *p = ctx;
	enum err e = blob_batch_put(t, p->b);

	if (e == ERR_OK)
		e = store_row_put(t, "man", slice_of(&p->no, sizeof(p->no)),
		    buf_slice(&p->man));
	return e;
}

static enum err
del_job(struct store_txn *t, void *ctx)
{
	return store_row_del(t, "man", slice_of(ctx, sizeof(uint32_t)));
}

static enum err
small_job(struct store_txn *t, void *ctx)
{
	return store_row_put(
	    t, "small", slice_of(ctx, sizeof(uint32_t)), SLICE_LIT("v"));
}

static void
file_put(struct bench *b, uint32_t no)
{
	struct put p = { .no = no, .man = BUF_MAX(MIB) };
	uint64_t *bytes = mem_array(FILE_BYTES / 8, 8), x = no + 1;
	size_t i;
	enum err e = ERR_NOMEM;

	p.b = blob_batch_new(b->s);
	if (bytes == NULL || p.b == NULL)
		stop("memory", e);
	for (i = 0; i < FILE_BYTES / 8; i++) {
		x = x * 6364136223846793005u + 1442695040888963407u;
		bytes[i] = x ^ x >> 29;
	}
	e = blob_batch_add(
	    p.b, slice_of((uint8_t *)bytes, FILE_BYTES), NULL, 0, &p.man);
	if (e == ERR_OK)
		e = store_write(b->s, put_job, &p);
	if (e != ERR_OK)
		stop("put", e);
	blob_batch_free(p.b);
	buf_fini(&p.man);
	mem_free(bytes);
}

/* One small write after the other, as a lone sender does. */
static void *
sender(void *arg)
{
	struct bench *b = arg;

	for (b->n = 0; !atomic_load(&b->over) && b->n < WAITS_MAX; b->n++) {
		uint64_t t0 = clock_mono_us();
		enum err e = store_write(b->s, small_job, &b->n);

		if (e != ERR_OK)
			stop("write", e);
		b->us[b->n] = (uint32_t)(clock_mono_us() - t0);
	}
	return NULL;
}

static int
by_size(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void
waits_print(struct bench *b, const char *when)
{
	if (b->n == 0)
		return;
	qsort(b->us, b->n, sizeof(*b->us), by_size);
	printf("%s: %u writes, median %.1f ms, 99 of 100 within %.1f ms, "
	       "longest %.1f ms\n",
	    when, b->n, b->us[b->n / 2] / 1e3, b->us[b->n * 99u / 100u] / 1e3,
	    b->us[b->n - 1] / 1e3);
}

static void
quiet(struct bench *b)
{
	uint64_t until = clock_mono_ms() + QUIET_MS;
	pthread_t t;

	atomic_store(&b->over, false);
	if (pthread_create(&t, NULL, sender, b) != 0)
		stop("thread", ERR_NOMEM);
	while (clock_mono_ms() < until) {
		struct timespec ms = { .tv_nsec = 5000000 };

		(void)nanosleep(&ms, NULL);
	}
	atomic_store(&b->over, true);
	pthread_join(t, NULL);
	waits_print(b, "nothing else going on");
}

static void
collecting(struct bench *b)
{
	struct store_gc_opts o = { .grace_ms = 0 };
	struct store_gc_report r;
	uint64_t t0 = clock_mono_ms();
	pthread_t t;
	enum err e;

	atomic_store(&b->over, false);
	if (pthread_create(&t, NULL, sender, b) != 0)
		stop("thread", ERR_NOMEM);
	e = store_gc(b->s, &o, &r);
	t0 = clock_mono_ms() - t0;
	atomic_store(&b->over, true);
	pthread_join(t, NULL);
	if (e != ERR_OK)
		stop("gc", e);
	waits_print(b, "while space is given back");
	printf("pass: %.1f s, %llu chunks, %u segments (%.1f MB), %.1f MB "
	       "copied forward\n",
	    (double)t0 / 1e3, (unsigned long long)r.chunks, r.segments,
	    (double)r.freed_bytes / 1e6, (double)r.copied_bytes / 1e6);
	printf("its jobs: %llu, longest on the writer %.1f ms, largest %.2f MB "
	       "or %llu records\n",
	    (unsigned long long)r.jobs, (double)r.job_us_max / 1e3,
	    (double)r.job_bytes_max / 1e6,
	    (unsigned long long)r.job_records_max);
}

int
main(int argc, char **argv)
{
	struct store_opts o = {
		.segment_bytes = 16 * MIB, .map_bytes = GIB, .owners = &owners
	};
	struct bench b = { .us = mem_array(WAITS_MAX, sizeof(uint32_t)) };
	struct errmsg em;
	uint32_t no;

	if (argc != 2 || b.us == NULL) {
		fprintf(stderr, "usage: bench_gc FOLDER\n");
		return 2;
	}
	o.dir = argv[1];
	if (cry_init() != ERR_OK || store_open(&o, &b.s, &em) != ERR_OK)
		stop("open", ERR_IO);
	for (no = 0; no < FILES; no++)
		file_put(&b, no);
	for (no = 0; no < FILES; no++) {
		if (no % 4 != 0 && store_write(b.s, del_job, &no) != ERR_OK)
			stop("delete", ERR_IO);
	}
	quiet(&b);
	collecting(&b);
	store_close(b.s);
	mem_free(b.us);
	return 0;
}
