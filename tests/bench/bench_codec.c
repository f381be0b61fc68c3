/* tests/bench/bench_codec.c: lossless codecs on frames of real images.
 *
 *   bench_codec FRAMES [SECONDS]      FRAMES: see frames.py
 *
 * Each codec codes and decodes every frame alone, all frames in turn with the
 * other codecs, until SECONDS of CPU a codec have passed; the first round of
 * each is compared with the frame.  Prints ratio, and raw MB a second of CPU
 * both ways. Frames above the largest piece of a store are cut at rows first.
 */
#include <lzma.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <zlib.h>
#include <zstd.h>
#if defined(HAVE_CHARLS)
#include <charls/charls.h>
#endif

#include "store/base/buf.h"
#include "store/base/limits.h"
#include "store/base/num.h"
#include "store/blob/wave_internal.h"

struct frame {
	uint32_t w, h, samples, n;
	uint8_t *p;
	uint32_t bits; /* that its samples need: JPEG-LS wants to know */
};

struct codec_run;
/* False: cannot.  A coder puts to z, a decoder to back (f->n bytes). */
typedef bool (*code_fn)(struct codec_run *, const struct frame *);

struct codec_run {
	const char *name;
	code_fn encode, decode;
	int level;
	const struct wave_path *path; /* NULL: the best */
	struct wave *wave;
	uint8_t *z, *back, *tmp;
	size_t z_max, z_n;
	size_t raw, coded, done; /* first round; all rounds */
	double te, td;
};

static void __attribute__((noreturn)) stop(const char *what)
{
	fprintf(stderr, "bench_codec: %s\n", what);
	exit(1);
}

static double
cpu_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* --- codecs --- */

static bool
wave_enc(struct codec_run *r, const struct frame *f)
{
	struct wave_shape sh = { (enum wave_samples)f->samples, (uint16_t)f->w,
		r->level != 0 };
	struct buf out = { .p = r->z, .cap = r->z_max, .max = r->z_max };

	if (wave_encode(r->wave, &sh, slice_of(f->p, f->n), &out) != ERR_OK)
		return false;
	r->z_n = out.n;
	return true;
}

static bool
wave_dec(struct codec_run *r, const struct frame *f)
{
	struct buf out = { .p = r->back, .cap = f->n, .max = f->n };

	return wave_decode(r->wave, slice_of(r->z, r->z_n), f->n, &out) ==
	       ERR_OK;
}

static bool
zstd_enc(struct codec_run *r, const struct frame *f)
{
	r->z_n = ZSTD_compress(r->z, r->z_max, f->p, f->n, r->level);
	return !ZSTD_isError(r->z_n);
}

static bool
zstd_dec(struct codec_run *r, const struct frame *f)
{
	return ZSTD_decompress(r->back, f->n, r->z, r->z_n) == f->n;
}

/* Bytes of 16-bit samples apart, then zstd; other frames as they are. */
static bool
shuffle_enc(struct codec_run *r, const struct frame *f)
{
	size_t m = f->n / 2, i;

	if (f->samples != WAVE_16)
		return zstd_enc(r, f);
	for (i = 0; i < m; i++) {
		r->tmp[i] = f->p[2 * i];
		r->tmp[m + i] = f->p[2 * i + 1];
	}
	r->z_n = ZSTD_compress(r->z, r->z_max, r->tmp, f->n, r->level);
	return !ZSTD_isError(r->z_n);
}

static bool
shuffle_dec(struct codec_run *r, const struct frame *f)
{
	size_t m = f->n / 2, i;

	if (f->samples != WAVE_16)
		return zstd_dec(r, f);
	if (ZSTD_decompress(r->tmp, f->n, r->z, r->z_n) != f->n)
		return false;
	for (i = 0; i < m; i++) {
		r->back[2 * i] = r->tmp[i];
		r->back[2 * i + 1] = r->tmp[m + i];
	}
	return true;
}

static bool
zlib_enc(struct codec_run *r, const struct frame *f)
{
	uLongf n = r->z_max;

	if (compress2(r->z, &n, f->p, f->n, r->level) != Z_OK)
		return false;
	r->z_n = n;
	return true;
}

static bool
zlib_dec(struct codec_run *r, const struct frame *f)
{
	uLongf n = f->n;

	return uncompress(r->back, &n, r->z, r->z_n) == Z_OK && n == f->n;
}

static bool
xz_enc(struct codec_run *r, const struct frame *f)
{
	r->z_n = 0;
	return lzma_easy_buffer_encode((uint32_t)r->level, LZMA_CHECK_NONE,
		   NULL, f->p, f->n, r->z, &r->z_n, r->z_max) == LZMA_OK;
}

static bool
xz_dec(struct codec_run *r, const struct frame *f)
{
	uint64_t memory = UINT64_MAX;
	size_t in = 0, out = 0;

	return lzma_stream_buffer_decode(&memory, 0, NULL, r->z, &in, r->z_n,
		   r->back, &out, f->n) == LZMA_OK &&
	       out == f->n;
}

#if defined(HAVE_CHARLS)
static bool
jls_enc(struct codec_run *r, const struct frame *f)
{
	charls_jpegls_encoder *e = charls_jpegls_encoder_create();
	charls_frame_info info = { f->w, f->h, (int32_t)f->bits,
		f->samples == WAVE_RGB ? 3 : 1 };
	bool ok;

	ok = charls_jpegls_encoder_set_frame_info(e, &info) == 0 &&
	     (info.component_count == 1 ||
		 (charls_jpegls_encoder_set_interleave_mode(
		      e, CHARLS_INTERLEAVE_MODE_SAMPLE) == 0 &&
		     charls_jpegls_encoder_set_color_transformation(
			 e, CHARLS_COLOR_TRANSFORMATION_HP1) == 0)) &&
	     charls_jpegls_encoder_set_destination_buffer(e, r->z, r->z_max) ==
		 0 &&
	     charls_jpegls_encoder_encode_from_buffer(e, f->p, f->n, 0) == 0 &&
	     charls_jpegls_encoder_get_bytes_written(e, &r->z_n) == 0;
	charls_jpegls_encoder_destroy(e);
	return ok;
}

static bool
jls_dec(struct codec_run *r, const struct frame *f)
{
	charls_jpegls_decoder *d = charls_jpegls_decoder_create();
	bool ok;

	ok = charls_jpegls_decoder_set_source_buffer(d, r->z, r->z_n) == 0 &&
	     charls_jpegls_decoder_read_header(d) == 0 &&
	     charls_jpegls_decoder_decode_to_buffer(d, r->back, f->n, 0) == 0;
	charls_jpegls_decoder_destroy(d);
	return ok;
}
#endif

/* --- rounds --- */

static struct frame *frames; /* grown by load */
static size_t frames_n;

static uint32_t
bits_of(const struct frame *f)
{
	uint32_t max = 0, i;

	if (f->samples != WAVE_16)
		return 8;
	for (i = 0; i + 1 < f->n; i += 2) {
		uint32_t v = (uint32_t)(f->p[i] | f->p[i + 1] << 8);

		max = v > max ? v : max;
	}
	return max < 512 ? 9 : (uint32_t)wave_log2(max) + 1;
}

static void
frame_add(struct frame f)
{
	f.bits = bits_of(&f);
	frames = realloc(frames, (frames_n + 1) * sizeof(*frames));
	if (frames == NULL)
		stop("no memory");
	frames[frames_n++] = f;
}

/* Frames that no piece holds become several. */
static void
load(const char *path)
{
	FILE *in = fopen(path, "rb");
	uint32_t head[4];

	if (in == NULL)
		stop("cannot read the frames");
	while (fread(head, sizeof(*head), 4, in) == 4) {
		uint32_t row = head[1] > 0 ? head[3] / head[1] : 0, y = 0;

		if (row == 0 || row > LIM_PIECE_BYTES || head[0] == 0)
			stop("a frame of no size");
		while (y < head[1]) {
			uint32_t h = (uint32_t)LIM_PIECE_BYTES / row;
			struct frame f;

			h = h < head[1] - y ? h : head[1] - y;
			f = (struct frame){ head[0], h, head[2], row * h,
				malloc(row * h), 0 };
			if (f.p == NULL || fread(f.p, 1, f.n, in) != f.n)
				stop("the frames end too soon");
			frame_add(f);
			y += h;
		}
	}
	fclose(in);
}

static void
one(struct codec_run *r, const struct frame *f, bool first)
{
	double t0, t1, t2;

	if (r->path != NULL)
		wave_path_force(r->wave, r->path);
	t0 = cpu_now();
	if (!r->encode(r, f))
		stop(r->name);
	t1 = cpu_now();
	if (!r->decode(r, f))
		stop(r->name);
	t2 = cpu_now();
	r->te += t1 - t0;
	r->td += t2 - t1;
	r->done += f->n;
	if (!first)
		return;
	r->raw += f->n;
	r->coded += r->z_n;
	if (memcmp(r->back, f->p, f->n) != 0)
		stop("a round trip is wrong");
}

static void
rounds(struct codec_run *r, size_t n, double seconds)
{
	bool first = true, more = true;
	size_t i, k;

	while (more) {
		more = false;
		for (k = 0; k < n; k++) {
			if (!first && r[k].te + r[k].td >= seconds)
				continue;
			for (i = 0; i < frames_n; i++)
				one(&r[k], &frames[i], first);
			more |= r[k].te + r[k].td < seconds;
		}
		first = false;
	}
}

static void
print(const struct codec_run *r)
{
	char name[64];

	snprintf(name, sizeof(name), "%s%s%s%s", r->name,
	    r->path != NULL ? " (" : "", r->path != NULL ? r->path->name : "",
	    r->path != NULL ? ")" : "");
	printf("%-30s %7.3f %9.1f %9.1f\n", name,
	    (double)r->raw / (double)r->coded, (double)r->done / r->te / 1e6,
	    (double)r->done / r->td / 1e6);
}

int
main(int argc, char **argv)
{
	struct codec_run r[20] = { { .name = "zstd -1", .level = 1 },
		{ .name = "zstd -3", .level = 3 },
		{ .name = "zstd -9", .level = 9 },
		{ .name = "zlib -6",
		    .encode = zlib_enc,
		    .decode = zlib_dec,
		    .level = 6 },
		{ .name = "xz -1",
		    .encode = xz_enc,
		    .decode = xz_dec,
		    .level = 1 },
		{ .name = "shuffle + zstd -1",
		    .encode = shuffle_enc,
		    .decode = shuffle_dec,
		    .level = 1 } };
	const struct wave_path *p;
	uint64_t seconds = 2;
	size_t n = 6, i, max = 3 * LIM_PIECE_BYTES;

	if (argc < 2 || argc > 3 ||
	    (argc == 3 && num_u64(slice_str(argv[2]), 1, 600, &seconds) != 0))
		stop("usage: bench_codec FRAMES [SECONDS]");
#if defined(HAVE_CHARLS)
	r[n++] = (struct codec_run){
		.name = "JPEG-LS (CharLS)", .encode = jls_enc, .decode = jls_dec
	};
#endif
	for (i = 0; (p = wave_path_at((unsigned)i)) != NULL; i++) {
		r[n++] = (struct codec_run){ .name = "wave fast",
			.path = p,
			.encode = wave_enc,
			.decode = wave_dec,
			.level = 1 };
		r[n++] = (struct codec_run){ .name = "wave",
			.path = p,
			.encode = wave_enc,
			.decode = wave_dec };
	}
	load(argv[1]);
	for (i = 0; i < n; i++) {
		r[i].encode = r[i].encode == NULL ? zstd_enc : r[i].encode;
		r[i].decode = r[i].decode == NULL ? zstd_dec : r[i].decode;
		r[i].z_max = max;
		r[i].z = malloc(max);
		r[i].back = malloc(LIM_PIECE_BYTES);
		r[i].tmp = malloc(LIM_PIECE_BYTES);
		r[i].wave = wave_new();
		if (r[i].z == NULL || r[i].back == NULL || r[i].tmp == NULL ||
		    r[i].wave == NULL)
			stop("no memory");
	}
	rounds(r, n, (double)seconds);
	printf("%-30s %7s %9s %9s\n", "lossless, frame by frame", "ratio",
	    "enc MB/s", "dec MB/s");
	for (i = 0; i < n; i++)
		print(&r[i]);
	return 0;
}
