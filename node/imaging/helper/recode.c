/* node/imaging/helper/recode.c: a deflated dataset inflated, a big endian one
 * written anew with each number turned, text written anew as UTF-8.
 *
 * Happy path: file meta, then the dataset, then the result is walked like any
 * other; a deflated object may go this way twice.  What is inside UN of
 * undefined length is implicit little endian already (PS3.5 section 6.2.2).
 * (0008,0005) of an item holds for the item (PS3.3 C.12.1.1.2); there is one
 * for all in what is written. */
#include "node/imaging/helper/recode.h"

#include <zlib.h>

#include "node/imaging/helper/emit.h"
#include "store/base/limits.h"
#include "store/base/mem.h"

#define DEFLATED "1.2.840.10008.1.2.1.99"
#define EXPLICIT "1.2.840.10008.1.2.1"
#define INFLATE_STEP (256 * KIB)

static void
put_meta(const struct dcm_file *f, const char *syntax, struct buf *b)
{
	static const uint32_t tags[] = { TAG_META_SOP_CLASS, TAG_META_SOP_UID };
	size_t start;

	buf_put_zero(b, 128);
	buf_put_str(b, "DICM");
	emit_head(b, false, 0x00020000, VR_UL, 4);
	buf_u32(b, 0);
	start = b->n;
	emit_value(b, false, 0x00020001, VR_OB, slice_of("\0\1", 2));
	for (size_t k = 0; k < 2; k++) {
		uint32_t i = dcm_find(f, tags[k]);

		if (i != DCM_NONE)
			emit_value(b, false, tags[k], VR_UI, dcm_trimmed(f, i));
	}
	emit_value(b, false, TAG_META_SYNTAX, VR_UI, slice_str(syntax));
	emit_close(b, start);
}

/* --- deflated --- */

static enum err
inflate_all(struct slice in, struct buf *b)
{
	union {
		const uint8_t *in;
		uint8_t *out;
	} u = { .in = in.p };
	z_stream z = { .next_in = u.out, .avail_in = (uInt)in.n };
	int code = inflateInit2(&z, -15); /* no zlib header: PS3.5 A.5 */

	if (code != Z_OK)
		return ERR_NOMEM;
	while (code == Z_OK) {
		size_t room = b->max - b->n;
		uint8_t *p;

		room = room < INFLATE_STEP ? room : INFLATE_STEP;
		p = room > 0 ? buf_room(b, room) : NULL;
		if (p == NULL)
			break;
		z.next_out = p;
		z.avail_out = (uInt)room;
		code = inflate(&z, Z_NO_FLUSH);
		buf_grew(b, room - z.avail_out);
		if (code == Z_BUF_ERROR)
			break;
	}
	(void)inflateEnd(&z);
	if (code == Z_STREAM_END)
		return ERR_OK;
	if (buf_err(b) == ERR_OK && code != Z_OK)
		return code == Z_MEM_ERROR ? ERR_NOMEM : ERR_MALFORMED;
	return buf_err(b) != ERR_OK ? buf_err(b) : ERR_LIMIT;
}

/* --- written anew --- */
struct anew {
	const struct dcm_file *f;
	struct buf *b;
	struct charset *c;
	bool big, implicit;
	bool text; /* to be converted */
	bool guessed;
};

/* Bytes of one number of this VR. */
static size_t
width_of(enum dcm_vr vr)
{
	switch (vr) {
	case VR_AT:
	case VR_OW:
	case VR_SS:
	case VR_US: return 2;
	case VR_FL:
	case VR_OF:
	case VR_OL:
	case VR_SL:
	case VR_UL: return 4;
	case VR_FD:
	case VR_OD:
	case VR_OV:
	case VR_SV:
	case VR_UV: return 8;
	case VR_AE:
	case VR_AS:
	case VR_CS:
	case VR_DA:
	case VR_DS:
	case VR_DT:
	case VR_IS:
	case VR_LO:
	case VR_LT:
	case VR_OB:
	case VR_PN:
	case VR_SH:
	case VR_SQ:
	case VR_ST:
	case VR_TM:
	case VR_UC:
	case VR_UI:
	case VR_UN:
	case VR_UR:
	case VR_UT:
	case VR_NONE:
	case VR_COUNT: break;
	}
	return 1;
}

static void
turn(uint8_t *p, size_t n, size_t width)
{
	for (; n >= width && width > 1; p += width, n -= width) {
		for (size_t k = 0; k < width / 2; k++) {
			uint8_t t = p[k];

			p[k] = p[width - 1 - k];
			p[width - 1 - k] = t;
		}
	}
}

static void
put_text(struct anew *w, uint32_t i, const struct charset_names *names)
{
	const struct dcm_elem *e = &w->f->e[i];
	struct slice v = dcm_value(w->f, i);
	struct buf t = BUF_MAX(v.n * 3 + 8);

	charset_convert(w->c, names, (enum dcm_vr)e->vr, v, &t, &w->guessed);
	emit_value(
	    w->b, w->implicit, e->tag, (enum dcm_vr)e->vr, buf_slice(&t));
	if (buf_err(&t) != ERR_OK && buf_err(w->b) == ERR_OK)
		w->b->err = buf_err(&t);
	buf_fini(&t);
}

static void
put_element(struct anew *w, uint32_t i, const struct charset_names *names)
{
	const struct dcm_elem *e = &w->f->e[i];
	enum dcm_vr vr = (enum dcm_vr)e->vr;
	struct slice v = dcm_value(w->f, i);

	if (w->big && vr == VR_UN && !e->implicit)
		return; /* nobody can say what is to be turned */
	if (w->text && e->tag == TAG_CHARSET)
		return;
	if (w->text && charset_vr(vr) && !charset_is_plain(v)) {
		put_text(w, i, names);
		return;
	}
	emit_value(w->b, w->implicit, e->tag, vr, v);
	if (buf_err(w->b) == ERR_OK && w->big && !e->implicit)
		turn(w->b->p + w->b->n - v.n - v.n % 2, v.n, width_of(vr));
}

static void
put_fragments(struct anew *w, uint32_t i)
{
	emit_head(w->b, w->implicit, w->f->e[i].tag, (enum dcm_vr)w->f->e[i].vr,
	    DCM_LEN_UNDEF);
	buf_put_slice(w->b, dcm_value(w->f, i));
	emit_head(w->b, w->implicit, TAG_SEQ_END, VR_NONE, 0);
}

/* Elements [i, end) of the table, sequences with their lengths.  The walker
 * bounds the depth (WALK_DEPTH_MAX). */
static void
put_range(
    struct anew *w, uint32_t i, uint32_t end, const struct charset_names *names)
{
	for (; i < end && buf_err(w->b) == ERR_OK; i = w->f->e[i].skip) {
		const struct dcm_elem *e = &w->f->e[i];
		struct charset_names own = *names;
		uint32_t at;
		size_t start;

		if (e->undefined && (e->vr == VR_OB || e->vr == VR_OW)) {
			put_fragments(w, i);
			continue;
		}
		if (e->vr != VR_SQ && e->vr != VR_NONE && !e->undefined) {
			put_element(w, i, names);
			continue;
		}
		if (e->vr == VR_NONE &&
		    (at = dcm_find_in(w->f, i, TAG_CHARSET)) != DCM_NONE)
			charset_names(dcm_trimmed(w->f, at), &own);
		emit_head(w->b, w->implicit, e->tag,
		    e->vr == VR_NONE ? VR_NONE : VR_SQ, 0);
		start = w->b->n;
		put_range(w, i + 1, e->skip, &own);
		emit_close(w->b, start);
	}
}

/* The whole dataset; where text is converted, with what it is in now. */
static enum err
put_dataset(struct anew *w)
{
	uint32_t from = w->f->first, i = from;
	struct charset_names names;

	charset_names(dcm_trimmed(w->f, dcm_find(w->f, TAG_CHARSET)), &names);
	while (i < w->f->n && w->f->e[i].tag < TAG_CHARSET)
		i = w->f->e[i].skip;
	put_range(w, from, i, &names);
	if (w->text)
		emit_value(w->b, w->implicit, TAG_CHARSET, VR_CS,
		    SLICE_LIT("ISO_IR 192"));
	put_range(w, i, w->f->n, &names);
	return buf_err(w->b);
}

/* OW is words of 16 bits: how wider samples lie in them is read in two ways.
 * Fragments are little endian only. */
static enum err
big_check(const struct dcm_file *f, struct errmsg *em)
{
	uint32_t i = f->pixels;

	if (i == DCM_NONE ||
	    (!f->e[i].undefined && (f->e[i].tag != TAG_PIXELS ||
				       dcm_u16(f, 0x00280100, 16) <= 16)))
		return ERR_OK;
	return errmsg_set(em, ERR_UNSUPPORTED,
	    "have the sender use little endian",
	    "big endian samples of this kind are ambiguous");
}

/* Text that is not what ASCII and ISO_IR 192 at the top say. */
static bool
text_is_foreign(const struct dcm_file *f)
{
	struct charset_names names;

	charset_names(dcm_trimmed(f, dcm_find(f, TAG_CHARSET)), &names);
	for (uint32_t i = f->first; i < f->n; i++) {
		const struct dcm_elem *e = &f->e[i];
		struct slice v;

		if (e->undefined || !charset_vr((enum dcm_vr)e->vr))
			continue;
		v = dcm_value(f, i);
		if (!charset_is_plain(v) &&
		    !(names.is_utf8 && charset_is_utf8(v)))
			return true;
	}
	return false;
}

static enum err
write_anew(const struct dcm_file *f, struct charset *c, struct recode *out,
    struct errmsg *em)
{
	bool big = f->syntax == SYNTAX_BIG;
	struct anew w = { .f = f,
		.b = &out->room,
		.c = c,
		.big = big,
		.implicit = f->syntax == SYNTAX_IMPLICIT,
		.text = text_is_foreign(f) };
	enum err e = big ? big_check(f, em) : ERR_OK;

	buf_init(&out->room, LIM_OBJECT_BYTES);
	if (e != ERR_OK || (!big && !w.text))
		return e;
	(void)buf_room(&out->room, f->in.n + 4096);
	put_meta(f, big ? EXPLICIT : f->transfer_syntax, &out->room);
	e = put_dataset(&w);
	out->syntax = out->syntax || big;
	out->text = w.text;
	out->guessed = w.guessed;
	if (e == ERR_OK)
		e = dcm_open(buf_slice(&out->room), &out->f, em);
	return e;
}

static enum err
unpack(const struct dcm_file *in, struct recode *out, struct errmsg *em)
{
	enum err e;

	buf_init(&out->room, RECODE_BYTES_MAX);
	put_meta(in, EXPLICIT, &out->room);
	e = inflate_all(
	    slice_of(in->in.p + in->data_off, in->in.n - (size_t)in->data_off),
	    &out->room);
	out->syntax = true;
	if (e == ERR_OK)
		e = dcm_open(buf_slice(&out->room), &out->f, em);
	return e;
}

static bool
is_deflated(const struct dcm_file *f)
{
	return f->syntax == SYNTAX_OPAQUE &&
	       strcmp(f->transfer_syntax, DEFLATED) == 0;
}

enum err
recode_plain(const struct dcm_file *in, struct charset *c, struct recode *out,
    struct errmsg *em)
{
	struct recode first = { 0 };
	const struct dcm_file *f = in;
	enum err e = ERR_OK;

	*out = (struct recode){ 0 };
	if (is_deflated(in)) {
		e = unpack(in, &first, em);
		f = first.f;
	} else if (in->syntax == SYNTAX_OPAQUE) {
		return ERR_OK;
	}
	if (e == ERR_OK)
		e = write_anew(f, c, out, em);
	if (e == ERR_OK && out->f == NULL && first.f != NULL) {
		*out = first;
		first = (struct recode){ 0 };
	}
	out->syntax = out->syntax || is_deflated(in);
	recode_fini(&first);
	if (e == ERR_OK)
		return ERR_OK;
	recode_fini(out);
	if (em != NULL && em->cause[0] == '\0')
		(void)errmsg_set(
		    em, e, "", "it cannot be written anew: %s", err_text(e));
	return e;
}

void
recode_fini(struct recode *r)
{
	dcm_close(r->f);
	buf_wipe(&r->room);
	*r = (struct recode){ 0 };
}
