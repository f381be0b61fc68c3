/* node/imaging/helper/decode.c: pixel data to plain samples.
 *
 * Native data are copied (big endian ones turned around).  Encapsulated ones
 * go by transfer syntax: JPEG 2000 to openjpeg, JPEG, JPEG-LS and RLE to
 * dcmtk behind the shim; anything else is refused by name.  The size asked
 * for is known from Rows and Columns before any codec runs, and a codec that
 * yields another size is an error. */
#include "node/imaging/helper/decode.h"

#include <openjpeg.h>

#include "node/imaging/helper/dcm_shim.h"

#define DECODE_J2K "1.2.840.10008.1.2.4.90"
#define DECODE_J2K_LOSSY "1.2.840.10008.1.2.4.91"

static enum err
decode_native(const struct dcm_file *f, const struct volume_format *m,
    uint8_t *out, size_t n)
{
	struct slice v = dcm_value(f, f->pixels);
	size_t w = m->bits_allocated / 8u, i, j;

	if (v.n < n)
		return ERR_SHORT;
	if (f->syntax != SYNTAX_BIG || w == 1) {
		memcpy(out, v.p, n);
		return ERR_OK;
	}
	for (i = 0; i + w <= n; i += w) {
		for (j = 0; j < w; j++)
			out[i + j] = v.p[i + w - 1 - j];
	}
	return ERR_OK;
}

/* All fragments after the offset table, joined: one frame (PS3.5 A.4). */
static enum err
decode_fragments(const struct dcm_file *f, struct buf *out)
{
	uint32_t from, to, i;
	bool table = true;

	dcm_level(f, f->pixels, &from, &to);
	for (i = from; i < to; i = f->e[i].skip) {
		if (f->e[i].tag != TAG_ITEM)
			continue;
		if (!table)
			buf_put_slice(out, dcm_value(f, i));
		table = false;
	}
	if (buf_err(out) != ERR_OK)
		return buf_err(out);
	return out->n > 0 ? ERR_OK : ERR_SHORT;
}

struct decode_stream {
	struct slice in;
	size_t at;
};

static OPJ_SIZE_T
decode_read(void *to, OPJ_SIZE_T n, void *ctx)
{
	struct decode_stream *s = ctx;
	size_t left = s->in.n - s->at;

	if (left == 0)
		return (OPJ_SIZE_T)-1;
	if (n > left)
		n = left;
	memcpy(to, s->in.p + s->at, n);
	s->at += n;
	return n;
}

static OPJ_OFF_T
decode_skip(OPJ_OFF_T n, void *ctx)
{
	struct decode_stream *s = ctx;

	if (n < 0 || (uint64_t)n > s->in.n - s->at)
		return -1;
	s->at += (size_t)n;
	return n;
}

static OPJ_BOOL
decode_seek(OPJ_OFF_T to, void *ctx)
{
	struct decode_stream *s = ctx;

	if (to < 0 || (uint64_t)to > s->in.n)
		return OPJ_FALSE;
	s->at = (size_t)to;
	return OPJ_TRUE;
}

static bool
decode_j2k_fits(const opj_image_t *im, const struct volume_format *m)
{
	return im->numcomps == 1 && im->comps[0].w == m->cols &&
	       im->comps[0].h == m->rows &&
	       im->comps[0].prec <= m->bits_allocated;
}

static void
decode_j2k_store(const opj_image_t *im, size_t width, uint8_t *out, size_t n)
{
	size_t i, j;
	uint32_t v;

	for (i = 0; i < n / width; i++) {
		v = (uint32_t)im->comps[0].data[i];
		for (j = 0; j < width; j++)
			out[i * width + j] = (uint8_t)(v >> (8 * j));
	}
}

static opj_stream_t *
decode_j2k_stream(struct decode_stream *s)
{
	opj_stream_t *st =
	    opj_stream_create(OPJ_J2K_STREAM_CHUNK_SIZE, OPJ_TRUE);

	if (st == NULL)
		return NULL;
	opj_stream_set_read_function(st, decode_read);
	opj_stream_set_skip_function(st, decode_skip);
	opj_stream_set_seek_function(st, decode_seek);
	opj_stream_set_user_data(st, s, NULL);
	opj_stream_set_user_data_length(st, s->in.n);
	return st;
}

/* Header first: the size is checked before samples are decoded. */
static enum err
decode_j2k(
    struct slice in, const struct volume_format *m, uint8_t *out, size_t n)
{
	struct decode_stream s = { .in = in };
	opj_stream_t *st = decode_j2k_stream(&s);
	opj_codec_t *codec = opj_create_decompress(OPJ_CODEC_J2K);
	opj_dparameters_t par;
	opj_image_t *im = NULL;
	enum err e = ERR_NOMEM;

	if (st == NULL || codec == NULL)
		goto out;
	opj_set_default_decoder_parameters(&par);
	e = ERR_MALFORMED;
	if (!opj_setup_decoder(codec, &par) ||
	    !opj_read_header(st, codec, &im) || !decode_j2k_fits(im, m) ||
	    !opj_decode(codec, st, im) || !decode_j2k_fits(im, m) ||
	    im->comps[0].data == NULL)
		goto out;
	decode_j2k_store(im, m->bits_allocated / 8u, out, n);
	e = ERR_OK;
out:
	opj_image_destroy(im);
	opj_destroy_codec(codec);
	opj_stream_destroy(st);
	return e;
}

static enum err
decode_encapsulated(const struct dcm_file *f, const struct volume_format *m,
    uint8_t *out, size_t n)
{
	const char *ts = f->transfer_syntax;
	struct buf b = BUF_MAX(f->in.n);
	enum err e;

	if (strcmp(ts, DECODE_J2K) != 0 && strcmp(ts, DECODE_J2K_LOSSY) != 0)
		return shim_decode(f->in.p, f->in.n, out, n);
	e = decode_fragments(f, &b);
	if (e == ERR_OK)
		e = decode_j2k(buf_slice(&b), m, out, n);
	buf_fini(&b);
	return e;
}

enum err
decode_image(struct slice file, const struct volume_format *m, uint8_t *out,
    size_t out_n, struct errmsg *em)
{
	struct dcm_file *f = NULL;
	enum err e = dcm_open(file, &f, em);

	REQUIRE(out_n == (size_t)m->rows * m->cols * (m->bits_allocated / 8u));
	if (e != ERR_OK)
		return e;
	if (f->pixels == DCM_NONE)
		e = ERR_SHORT;
	else if (f->syntax == SYNTAX_ENCAPSULATED)
		e = decode_encapsulated(f, m, out, out_n);
	else
		e = decode_native(f, m, out, out_n);
	if (e == ERR_UNSUPPORTED)
		(void)errmsg_set(em, e, "",
		    "pixel data in transfer syntax %s are not decoded",
		    f->transfer_syntax);
	else if (e != ERR_OK)
		(void)errmsg_set(
		    em, e, "", "pixel data broken: %s", err_text(e));
	dcm_close(f);
	return e;
}
