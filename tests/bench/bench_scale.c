/* tests/bench/bench_scale.c: how the figures grow with what a node holds.
 *
 *   bench_scale FOLDER [IMAGES [CHUNKS_PER_IMAGE]]
 *
 * Makes a store in FOLDER (which must not exist) and fills it as a subscriber
 * is filled: series of 100 images, each one op with its packing list, its
 * member table and its chunks (random ciphertext of 48 bytes: small pixels).
 * At every power of ten of images the store is closed and opened again and
 * one line of figures is printed.  The defaults make a million images and ten
 * million chunks. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "store/base/clock.h"
#include "store/base/num.h"
#include "store/catalog/catalog.h"

#define SERIES_IMAGES 100u
#define C_BYTES 48u /* ciphertext: 32 bytes and the tag */
#define Z_BYTES 32u
#define RAW_BYTES 64u
#define IN_FLIGHT 4u
#define REPEAT 300u

struct series {
	struct world *w;
	struct blob_batch *batch;
	struct content_done content;
	struct buf payload;
	struct buf op;
	struct cry_id op_id;
	struct cry_id *cids;
	uint8_t *bytes; /* of all chunks */
	uint32_t n_chunks;
	uint64_t no;
};

struct world {
	const char *dir;
	struct store *s;
	struct store_opts o;
	struct cry_id share;
	uint32_t share_no;
	uint32_t feed_no;
	uint64_t chunks_per_image;
	uint64_t made; /* series */
	pthread_mutex_t lock;
	pthread_cond_t cond;
	unsigned in_flight;
	enum err err;
};

static void __attribute__((noreturn)) stop(const char *what, enum err e)
{
	fprintf(stderr, "bench_scale: %s: %s\n", what, err_text(e));
	exit(1);
}

static void
must(const char *what, enum err e)
{
	if (e != ERR_OK)
		stop(what, e);
}

/* --- one series, prepared on the caller's thread --- */

static void
uid_of(char out[64], unsigned kind, uint64_t n)
{
	(void)snprintf(out, 64, "1.2.826.0.1.3680043.8.498.%u.%llu", kind,
	    (unsigned long long)n);
}

static void
numbers(struct buf *b, const char *key, const double *v, uint32_t n)
{
	mp_kv_array(b, key, n);
	for (uint32_t i = 0; i < n; i++)
		mp_w_f64(b, v[i]);
}

/* What the helper takes from the header of an MR image. */
static void
image_fields(struct buf *b, const char *uid, uint32_t i)
{
	static const char *const type[] = { "ORIGINAL", "PRIMARY", "M", "ND" };
	static const double turn[] = { 1, 0, 0, 0, 0.98, -0.17 };
	double place[] = { -120.5, -98.25, -61.2 + 1.1 * i };

	mp_w_map(b, 13);
	mp_kv_cstr(b, "SOPInstanceUID", uid);
	mp_kv_array(b, "ImageType", 4);
	for (uint32_t k = 0; k < 4; k++)
		mp_w_cstr(b, type[k]);
	mp_kv_f64(b, "EchoTime", 2.98);
	mp_kv_u64(b, "EchoNumbers", 1);
	mp_kv_u64(b, "AcquisitionNumber", 1);
	mp_kv_u64(b, "InstanceNumber", i + 1);
	numbers(b, "ImagePositionPatient", place, 3);
	numbers(b, "ImageOrientationPatient", turn, 6);
	mp_kv_f64(b, "SliceLocation", place[2]);
	mp_kv_u64(b, "WindowCenter", 400 + i % 7);
	mp_kv_u64(b, "WindowWidth", 900 + i % 11);
	mp_kv_u64(b, "RescaleIntercept", 0);
	mp_kv_u64(b, "RescaleSlope", 1);
}

static void
add_image(struct series *x, struct content_writer *cw, uint32_t i)
{
	uint32_t per = (uint32_t)x->w->chunks_per_image, k;
	struct blob_entry *e = calloc(per, sizeof(*e));
	struct blob_manifest m = {
		.e = e, .n = per, .raw_len = (uint64_t)per * RAW_BYTES
	};
	struct buf body = BUF_MAX(MIB), fields = BUF_MAX(4096);
	char uid[64], name[80], header[160];
	struct cry_id hash;

	if (e == NULL)
		stop("image", ERR_NOMEM);
	for (k = 0; k < per; k++) {
		struct cry_id *cid = &x->cids[i * per + k];

		e[k].cid = *cid;
		e[k].ck = (struct cry_key){ { 1 } };
		e[k].hp = *cid;
		e[k].z_len = Z_BYTES;
		e[k].raw_len = RAW_BYTES;
		e[k].p_len = RAW_BYTES;
		e[k].c_len = C_BYTES;
		e[k].codec = BLOB_ZSTD;
	}
	must("manifest", blob_manifest_encode(&m, &body));
	uid_of(uid, 5, x->no * SERIES_IMAGES + i);
	(void)snprintf(name, sizeof(name), "%s.dcm", uid);
	(void)snprintf(header, sizeof(header),
	    "DICM SOPInstanceUID %s InstanceNumber %u", uid, i + 1);
	image_fields(&fields, uid, i);
	cry_hash(slice_str(uid), &hash);
	must("member",
	    content_writer_add(cw, &(struct content_add){
				       .name = name,
				       .header = slice_str(header),
				       .body = buf_slice(&body),
				       .len = strlen(header) + m.raw_len,
				       .hash = hash,
				       .fields = buf_slice(&fields),
				   }));
	buf_fini(&body);
	buf_fini(&fields);
	free(e);
}

static void
payload_make(struct series *x)
{
	static const char *const modality[] = { "CT", "MR", "PT" };
	struct buf f[3] = { BUF_MAX(4096), BUF_MAX(4096), BUF_MAX(4096) };
	char subject[64], exam[64], series[64], date[16];
	struct cat_node path[3];
	struct cat_put p = { .path = path,
		.n_path = 3,
		.actor = "bench@here",
		.site = "here",
		.manifest = buf_slice(&x->content.manifest),
		.hash = x->content.hash,
		.bytes = x->content.bytes,
		.members = x->content.members };

	(void)snprintf(subject, sizeof(subject), "S%07llu",
	    (unsigned long long)(x->no / 10));
	uid_of(exam, 3, x->no / 5);
	uid_of(series, 4, x->no);
	(void)snprintf(date, sizeof(date), "20%02u%02u%02u",
	    (unsigned)(x->no / 5 % 24), (unsigned)(x->no / 120 % 12 + 1),
	    (unsigned)(x->no / 1440 % 28 + 1));
	mp_w_map(&f[0], 1);
	mp_kv_cstr(&f[0], "PatientID", subject);
	mp_w_map(&f[1], 2);
	mp_kv_cstr(&f[1], "StudyInstanceUID", exam);
	mp_kv_cstr(&f[1], "StudyDate", date);
	mp_w_map(&f[2], 3);
	mp_kv_cstr(&f[2], "SeriesInstanceUID", series);
	mp_kv_cstr(&f[2], "Modality", modality[x->no % 3]);
	mp_kv_cstr(&f[2], "SeriesDescription", "t1 mprage sag");
	path[0] = (struct cat_node){ "subject", subject, buf_slice(&f[0]) };
	path[1] = (struct cat_node){ "exam", exam, buf_slice(&f[1]) };
	path[2] = (struct cat_node){ "series", series, buf_slice(&f[2]) };
	must("payload", cat_put_encode(&p, &x->payload));
	buf_fini(&f[0]);
	buf_fini(&f[1]);
	buf_fini(&f[2]);
}

static struct series *
series_make(struct world *w, uint64_t no)
{
	struct series *x = calloc(1, sizeof(*x));
	struct content_writer *cw;
	uint8_t head[300];
	uint32_t i;

	if (x == NULL)
		stop("series", ERR_NOMEM);
	x->w = w;
	x->no = no;
	x->n_chunks = SERIES_IMAGES * (uint32_t)w->chunks_per_image;
	x->cids = calloc(x->n_chunks, sizeof(*x->cids));
	x->bytes = calloc(x->n_chunks, C_BYTES);
	x->batch = blob_batch_new(w->s);
	cw = x->batch != NULL ? content_writer_new(x->batch) : NULL;
	if (x->cids == NULL || x->bytes == NULL || cw == NULL)
		stop("series", ERR_NOMEM);
	cry_random(x->bytes, (size_t)x->n_chunks * C_BYTES);
	for (i = 0; i < x->n_chunks; i++)
		cry_hash(slice_of(x->bytes + (size_t)i * C_BYTES, C_BYTES),
		    &x->cids[i]);
	for (i = 0; i < SERIES_IMAGES; i++)
		add_image(x, cw, i);
	must("content", content_writer_end(cw, &x->content));
	content_writer_free(cw);
	x->payload = BUF_MAX(LIM_OP_PAYLOAD_BYTES);
	x->op = BUF_MAX(8 * MIB);
	payload_make(x);
	cry_random(head, sizeof(head));
	buf_put(&x->op, head, sizeof(head));
	buf_put_slice(&x->op, buf_slice(&x->payload));
	buf_put_slice(&x->op, buf_slice(&x->content.packing));
	must("op", buf_err(&x->op));
	cry_hash(buf_slice(&x->op), &x->op_id);
	return x;
}

static void
series_free(struct series *x)
{
	blob_batch_free(x->batch);
	content_done_fini(&x->content);
	buf_fini(&x->payload);
	buf_fini(&x->op);
	free(x->cids);
	free(x->bytes);
	free(x);
}

/* --- in the writer's job --- */

static enum err
series_job(struct store_txn *t, void *ctx)
{
	struct series *x = ctx;
	size_t packing = x->content.packing.n;
	struct oplog_op op = { .share = x->w->share_no,
		.compartment = 1,
		.feed = x->w->feed_no,
		.seq = x->no + 1,
		.lamport = x->no + 1,
		.id = x->op_id,
		.bytes = buf_slice(&x->op),
		.packing = slice_of(x->op.p + x->op.n - packing, packing),
		.own = true };
	struct cat_origin o = { .share = x->w->share,
		.share_no = x->w->share_no,
		.compartment = 1,
		.lamport = x->no + 1,
		.wall_ms = 1700000000000u + x->no * 1000u,
		.op_id = x->op_id };
	struct asset_id asset;
	uint32_t missing, i;
	enum err e = blob_batch_put(t, x->batch);

	for (i = 0; e == ERR_OK && i < x->n_chunks; i++)
		e = blob_chunk_put(t, &x->cids[i],
		    slice_of(x->bytes + (size_t)i * C_BYTES, C_BYTES));
	if (e == ERR_OK)
		e = oplog_op_put(t, &op, &o.lseq, &missing);
	if (e == ERR_OK && missing != 0)
		e = ERR_CORRUPT;
	if (e == ERR_OK)
		e = cat_apply_put(t, &o, buf_slice(&x->payload), &asset);
	return e == ERR_OK ? cat_content_complete(t, &o, &asset) : e;
}

static void
series_done(enum err e, void *ctx)
{
	struct series *x = ctx;
	struct world *w = x->w;

	series_free(x);
	pthread_mutex_lock(&w->lock);
	if (w->err == ERR_OK)
		w->err = e;
	w->in_flight--;
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->lock);
}

static enum err
share_job(struct store_txn *t, void *ctx)
{
	struct world *w = ctx;
	struct oplog_feed f = { .compartment = 1, .incarnation = 1 };
	enum err e = oplog_share_add(t, &w->share, &w->share_no);

	f.share = w->share_no;
	f.id[0] = 1;
	if (e == ERR_OK)
		e = oplog_feed_add(t, &f);
	w->feed_no = f.no;
	return e;
}

static void
wait_below(struct world *w, unsigned n)
{
	pthread_mutex_lock(&w->lock);
	while (w->in_flight >= n)
		pthread_cond_wait(&w->cond, &w->lock);
	pthread_mutex_unlock(&w->lock);
	must("series", w->err);
}

static void
fill(struct world *w, uint64_t series)
{
	for (; w->made < series; w->made++) {
		struct series *x = series_make(w, w->made);

		wait_below(w, IN_FLIGHT);
		pthread_mutex_lock(&w->lock);
		w->in_flight++;
		pthread_mutex_unlock(&w->lock);
		must("submit", store_submit(w->s, series_job, series_done, x));
	}
	wait_below(w, 1);
}

/* --- asking --- */

static int
us_cmp(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

struct latency {
	uint64_t us[REPEAT];
	uint64_t found;
};

static int
count_asset(void *ctx, const struct cat_asset *a)
{
	(void)a;
	++*(uint64_t *)ctx;
	return 0;
}

static void
ask(struct world *w, const char *text, uint64_t limit, uint64_t *found)
{
	struct cat_find_opts o = { .limit = limit };
	struct cat_query *q = NULL;
	struct errmsg em;
	struct db_txn *t;

	must("query", cat_query_parse(slice_str(text), &q, &em));
	must("read", store_read(w->s, &t));
	must("find", cat_find(w->s, t, q, &o, count_asset, found));
	db_abort(t);
	cat_query_free(q);
}

enum question { Q_PATIENT, Q_SERIES, Q_IMAGE, Q_RANGE, Q_COUNT };
static const char *const question_name[Q_COUNT] = { "PatientID",
	"SeriesInstanceUID", "SOPInstanceUID", "Modality and StudyDate" };

static void
question_text(struct world *w, enum question q, char out[256])
{
	char uid[64];
	uint64_t n = (uint64_t)rand() % w->made;

	switch (q) {
	case Q_PATIENT:
		(void)snprintf(out, 256, "level=series and PatientID=S%07llu",
		    (unsigned long long)(n / 10));
		break;
	case Q_SERIES:
		uid_of(uid, 4, n);
		(void)snprintf(
		    out, 256, "level=series and SeriesInstanceUID=%s", uid);
		break;
	case Q_IMAGE:
		uid_of(uid, 5, n * SERIES_IMAGES + n % SERIES_IMAGES);
		(void)snprintf(
		    out, 256, "level=image and SOPInstanceUID=%s", uid);
		break;
	case Q_RANGE:
		(void)snprintf(out, 256,
		    "level=series and Modality=MR and StudyDate>=20%02u0101 "
		    "and StudyDate<=20%02u1231",
		    (unsigned)(n % 24), (unsigned)(n % 24));
		break;
	case Q_COUNT:
	default: break;
	}
}

static void
find_figures(struct world *w)
{
	struct latency *l = calloc(1, sizeof(*l));
	enum question q;
	char text[256];
	uint32_t i;

	if (l == NULL)
		stop("figures", ERR_NOMEM);
	for (q = Q_PATIENT; q < Q_COUNT; q++) {
		l->found = 0;
		for (i = 0; i < REPEAT; i++) {
			uint64_t t0;

			question_text(w, q, text);
			t0 = clock_mono_us();
			ask(w, text, 100, &l->found);
			l->us[i] = clock_mono_us() - t0;
		}
		qsort(l->us, REPEAT, sizeof(l->us[0]), us_cmp);
		printf(
		    "    find %-24s p50 %7.3f ms  p99 %7.3f ms  found %.1f\n",
		    question_name[q], (double)l->us[REPEAT / 2] / 1e3,
		    (double)l->us[REPEAT * 99 / 100] / 1e3,
		    (double)l->found / REPEAT);
	}
	free(l);
}

/* RssAnon of this process, KiB (proc(5)). */
static uint64_t
anon_kib(void)
{
	FILE *f = fopen("/proc/self/status", "re");
	unsigned long long kib = 0;
	char line[128];

	while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
		if (strncmp(line, "RssAnon:", 8) == 0)
			kib = strtoull(line + 8, NULL, 10);
	}
	if (f != NULL)
		(void)fclose(f);
	return kib;
}

static void
reopen(struct world *w, double *open_ms)
{
	struct errmsg em;
	uint64_t t0;

	store_close(w->s);
	w->s = NULL;
	t0 = clock_mono_us();
	if (store_open(&w->o, &w->s, &em) != ERR_OK) {
		fprintf(stderr, "bench_scale: %s\n", em.cause);
		exit(1);
	}
	*open_ms = (double)(clock_mono_us() - t0) / 1e3;
}

/* Rows an image, of the tables that image rows lie in. */
static void
rows_print(struct world *w, uint64_t images)
{
	static const struct {
		enum db_table table;
		const char *name;
	} tables[] = { { DB_ASSET, "ASSET" }, { DB_CHILD, "CHILD" },
		{ DB_FIELD, "FIELD" }, { DB_IX, "IX" }, { DB_CREF, "CREF" } };
	struct db_txn *t;
	uint64_t n;

	must("read", store_read(w->s, &t));
	printf("    rows an image:");
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
		must("count", db_count(t, tables[i].table, &n));
		printf("  %s %.2f", tables[i].name, (double)n / (double)images);
	}
	printf("\n");
	db_abort(t);
}

static void
step(struct world *w, uint64_t images)
{
	uint64_t before = w->made * SERIES_IMAGES, t0 = clock_mono_us();
	struct store_stats st;
	double s, open_ms, done;

	fill(w, images / SERIES_IMAGES);
	s = (double)(clock_mono_us() - t0) / 1e6;
	done = (double)(images - before);
	reopen(w, &open_ms);
	must("stats", store_stats(w->s, &st));
	printf("%8llu images %9llu chunks: %7.0f images/s %8.0f chunks/s  "
	       "index %6.0f B/image  log %6.0f B/image  open %6.1f ms  "
	       "RssAnon %5.1f MiB\n",
	    (unsigned long long)images, (unsigned long long)st.chunks, done / s,
	    done * (double)w->chunks_per_image / s,
	    (double)st.index_bytes / (double)images,
	    (double)st.segment_bytes / (double)images, open_ms,
	    (double)anon_kib() / 1024.0);
	rows_print(w, images);
	find_figures(w);
	(void)fflush(stdout);
}

int
main(int argc, char **argv)
{
	struct world w = { .chunks_per_image = 10 };
	uint64_t images = 1000000, n;
	double ms;
	struct errmsg em;

	if (argc < 2 || argc > 4 || cry_init() != ERR_OK ||
	    (argc > 2 && num_u64(slice_str(argv[2]), 1000, 100000000,
			     &images) != ERR_OK) ||
	    (argc > 3 && num_u64(slice_str(argv[3]), 1, 150,
			     &w.chunks_per_image) != ERR_OK)) {
		fprintf(stderr, "usage: bench_scale FOLDER [IMAGES (1000 or "
				"more) [CHUNKS_PER_IMAGE (1..150)]]\n");
		return 2;
	}
	w.o.dir = argv[1];
	cry_random(w.o.local.b, sizeof(w.o.local.b));
	cry_random(w.o.convergence.b, sizeof(w.o.convergence.b));
	cry_random(w.share.b, sizeof(w.share.b));
	pthread_mutex_init(&w.lock, NULL);
	pthread_cond_init(&w.cond, NULL);
	if (mkdir(w.o.dir, 0700) != 0) {
		perror(w.o.dir);
		return 1;
	}
	if (store_open(&w.o, &w.s, &em) != ERR_OK) {
		fprintf(stderr, "bench_scale: %s\n", em.cause);
		return 1;
	}
	must("share", store_write(w.s, share_job, &w));
	for (n = 1000; n < images; n *= 10)
		step(&w, n);
	step(&w, images);
	reopen(&w, &ms);
	store_close(w.s);
	return 0;
}
