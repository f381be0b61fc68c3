/* tests/bench/bench_store.c: what a store does here, on files of yours.
 *
 *   bench_store FOLDER FILE...
 *
 * Makes a store in FOLDER (which must not exist), puts every file as one
 * piece plan of rows if its name ends in .wWIDTH.raw16 (16-bit samples), else
 * cut by content, reads all of it back and compares, then counts commits of
 * small rows: alone, and many in flight.  Prints one figure a line. */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/base/clock.h"
#include "store/base/limits.h"
#include "store/base/num.h"
#include "store/blob/blob.h"

#define PIECE_BYTES ((uint64_t)768 * KIB)
#define PIECES_MAX 8192u
#define ALONE 300u
#define CROWD 20000u

struct bench {
	struct store *s;
	struct blob_piece plan[PIECES_MAX];
	struct buf *manifests;
	uint64_t raw;
	uint64_t stored;
	uint64_t prepare_us;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	unsigned in_flight;
};

static void __attribute__((noreturn)) stop(const char *what, enum err e)
{
	fprintf(stderr, "bench_store: %s: %s\n", what, err_text(e));
	exit(1);
}

static struct slice
file_map(const char *path)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	void *p;

	if (fd < 0 || fstat(fd, &st) != 0)
		stop(path, ERR_IO);
	p = st.st_size == 0
		? NULL
		: mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (p == MAP_FAILED)
		stop(path, ERR_IO);
	return slice_of(p, (size_t)st.st_size);
}

/* The row length in a name like head.w512.raw16, or 0. */
static uint16_t
name_width(const char *path)
{
	const char *end = strstr(path, ".raw16"), *w = end;
	uint64_t v;

	if (end == NULL)
		return 0;
	while (w > path && w[-1] != 'w')
		w--;
	if (num_u64(slice_of(w, (size_t)(end - w)), 1, 65535, &v) != ERR_OK)
		return 0;
	return (uint16_t)v;
}

static uint32_t
plan_make(struct bench *b, size_t n, uint16_t w)
{
	uint64_t step = PIECE_BYTES / (2u * w) * (2u * w), at = 0;
	uint32_t k = 0;

	for (; at < n && k < PIECES_MAX; at += step) {
		uint64_t len = n - at < step ? n - at : step;

		b->plan[k++] = (struct blob_piece){ at, len, 16, w };
	}
	return k;
}

static enum err
put_job(struct store_txn *t, void *ctx)
{
	return blob_batch_put(t, ctx);
}

static void
put_file(struct bench *b, const char *path, struct buf *man)
{
	struct slice file = file_map(path);
	uint16_t w = name_width(path);
	struct blob_batch *batch = blob_batch_new(b->s);
	uint32_t n = w != 0 ? plan_make(b, file.n, w) : 0;
	uint64_t t0 = clock_mono_us();
	enum err e;

	*man = BUF_MAX(MIB);
	if (batch == NULL)
		stop("batch", ERR_NOMEM);
	e = blob_batch_add(batch, file, b->plan, n, man);
	if (e != ERR_OK)
		stop(path, e);
	b->prepare_us += clock_mono_us() - t0;
	b->raw += file.n;
	b->stored += blob_batch_new_bytes(batch);
	e = store_write(b->s, put_job, batch);
	if (e != ERR_OK)
		stop("put", e);
	blob_batch_free(batch);
	if (file.n > 0)
		munmap((void *)(uintptr_t)file.p, file.n);
}

static enum err
part_compare(void *ctx, struct slice part)
{
	struct slice *rest = ctx;

	if (part.n > rest->n || memcmp(part.p, rest->p, part.n) != 0)
		return ERR_CORRUPT;
	*rest = slice_of(rest->p + part.n, rest->n - part.n);
	return ERR_OK;
}

static void
get_file(struct bench *b, const char *path, const struct buf *man)
{
	struct slice file = file_map(path), rest = file;
	struct blob_manifest m;
	enum err e = blob_manifest_decode(buf_slice(man), &m);

	if (e == ERR_OK)
		e = blob_stream(b->s, &m, part_compare, &rest);
	if (e != ERR_OK || rest.n != 0)
		stop(path, e != ERR_OK ? e : ERR_SHORT);
	blob_manifest_fini(&m);
	if (file.n > 0)
		munmap((void *)(uintptr_t)file.p, file.n);
}

/* --- commits --- */

static enum err
row_job(struct store_txn *t, void *ctx)
{
	uint8_t key[8];
	uint64_t n = clock_mono_us();

	(void)ctx;
	memcpy(key, &n, sizeof(key));
	return store_row_put(t, "bench", slice_of(key, 8), slice_of(key, 8));
}

static void
row_done(enum err e, void *ctx)
{
	struct bench *b = ctx;

	if (e != ERR_OK)
		stop("row", e);
	pthread_mutex_lock(&b->lock);
	b->in_flight--;
	pthread_cond_signal(&b->cond);
	pthread_mutex_unlock(&b->lock);
}

static void
commits_crowd(struct bench *b)
{
	unsigned i;

	for (i = 0; i < CROWD; i++) {
		pthread_mutex_lock(&b->lock);
		while (b->in_flight >= 2000)
			pthread_cond_wait(&b->cond, &b->lock);
		b->in_flight++;
		pthread_mutex_unlock(&b->lock);
		if (store_submit(b->s, row_job, row_done, b) != ERR_OK)
			stop("submit", ERR_BUSY);
	}
	pthread_mutex_lock(&b->lock);
	while (b->in_flight > 0)
		pthread_cond_wait(&b->cond, &b->lock);
	pthread_mutex_unlock(&b->lock);
}

static void
commits_run(struct bench *b)
{
	struct store_stats before, after;
	uint64_t t0 = clock_mono_us(), us;
	unsigned i;

	for (i = 0; i < ALONE; i++) {
		if (store_write(b->s, row_job, NULL) != ERR_OK)
			stop("row", ERR_IO);
	}
	us = clock_mono_us() - t0;
	printf("commits alone      %10.0f /s\n", ALONE * 1e6 / (double)us);
	if (store_stats(b->s, &before) != ERR_OK)
		stop("stats", ERR_IO);
	t0 = clock_mono_us();
	commits_crowd(b);
	us = clock_mono_us() - t0;
	if (store_stats(b->s, &after) != ERR_OK)
		stop("stats", ERR_IO);
	printf("jobs in a crowd    %10.0f /s in %llu commits\n",
	    CROWD * 1e6 / (double)us,
	    (unsigned long long)(after.commits - before.commits));
}

static double
rate(uint64_t bytes, uint64_t us)
{
	return us == 0 ? 0.0 : (double)bytes / (double)us;
}

static void
figures(struct bench *b, uint64_t put_us, uint64_t get_us)
{
	struct store_stats st;
	struct rusage ru;

	if (store_stats(b->s, &st) != ERR_OK)
		stop("stats", ERR_IO);
	printf("raw                %10.1f MB\n", (double)b->raw / 1e6);
	printf("ciphertext         %10.1f MB  ratio %.2f\n",
	    (double)b->stored / 1e6,
	    b->stored == 0 ? 0.0 : (double)b->raw / (double)b->stored);
	printf("on disk            %10.1f MB  index %.1f MB  chunks %llu\n",
	    (double)st.stored_bytes / 1e6, (double)st.index_bytes / 1e6,
	    (unsigned long long)st.chunks);
	printf("put                %10.1f MB/s  (prepare alone %.1f)\n",
	    rate(b->raw, put_us), rate(b->raw, b->prepare_us));
	printf("get and compare    %10.1f MB/s\n", rate(b->raw, get_us));
	if (getrusage(RUSAGE_SELF, &ru) == 0)
		printf("peak memory        %10.1f MB\n",
		    (double)ru.ru_maxrss / 1024.0);
}

int
main(int argc, char **argv)
{
	struct bench *b = calloc(1, sizeof(*b));
	struct store_opts o = { .dir = argc > 1 ? argv[1] : "" };
	struct errmsg em;
	uint64_t t0, put_us, get_us;
	int i;

	if (b == NULL || argc < 3 || cry_init() != ERR_OK) {
		fprintf(stderr, "usage: bench_store FOLDER FILE...\n");
		return 2;
	}
	cry_random(o.local.b, sizeof(o.local.b));
	cry_random(o.convergence.b, sizeof(o.convergence.b));
	pthread_mutex_init(&b->lock, NULL);
	pthread_cond_init(&b->cond, NULL);
	b->manifests = calloc((size_t)argc, sizeof(*b->manifests));
	if (b->manifests == NULL || mkdir(o.dir, 0700) != 0) {
		perror(o.dir);
		return 1;
	}
	if (store_open(&o, &b->s, &em) != ERR_OK) {
		fprintf(stderr, "bench_store: %s\n", em.cause);
		return 1;
	}
	t0 = clock_mono_us();
	for (i = 2; i < argc; i++)
		put_file(b, argv[i], &b->manifests[i]);
	put_us = clock_mono_us() - t0;
	t0 = clock_mono_us();
	for (i = 2; i < argc; i++)
		get_file(b, argv[i], &b->manifests[i]);
	get_us = clock_mono_us() - t0;
	figures(b, put_us, get_us);
	commits_run(b);
	store_close(b->s);
	for (i = 2; i < argc; i++)
		buf_fini(&b->manifests[i]);
	free(b->manifests);
	free(b);
	return 0;
}
