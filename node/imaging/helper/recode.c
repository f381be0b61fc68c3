/* node/imaging/helper/recode.c: a deflated dataset inflated, a big endian one
 * written anew with each number turned.
 *
 * Happy path: file meta that names explicit little endian, then the dataset,
 * then the result is walked like any other.  What is inside UN of undefined
 * length is implicit little endian already (PS3.5 section 6.2.2). */
#include "node/imaging/helper/recode.h"

#include <zlib.h>

#include "node/imaging/helper/emit.h"
#include "store/base/mem.h"

#define DEFLATED "1.2.840.10008.1.2.1.99"
#define EXPLICIT "1.2.840.10008.1.2.1"
#define INFLATE_STEP (256 * KIB)

static void
put_meta(const struct dcm_file *f, struct buf *b)
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
	emit_value(b, false, TAG_META_SYNTAX, VR_UI, SLICE_LIT(EXPLICIT));
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

/* --- big endian --- */

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
put_element(const struct dcm_file *f, uint32_t i, struct buf *b)
{
	const struct dcm_elem *e = &f->e[i];
	enum dcm_vr vr = (enum dcm_vr)e->vr;
	struct slice v = dcm_value(f, i);

	if (vr == VR_UN && !e->implicit)
		return; /* nobody can say what is to be turned */
	emit_value(b, false, e->tag, vr, v);
	if (buf_err(b) == ERR_OK && !e->implicit)
		turn(b->p + b->n - v.n - v.n % 2, v.n, width_of(vr));
}

/* Elements [i, end) of the table, sequences with their lengths.  The walker
 * bounds the depth (WALK_DEPTH_MAX). */
static void
put_range(const struct dcm_file *f, uint32_t i, uint32_t end, struct buf *b)
{
	for (; i < end && buf_err(b) == ERR_OK; i = f->e[i].skip) {
		const struct dcm_elem *e = &f->e[i];
		size_t start;

		if (e->vr != VR_SQ && e->vr != VR_NONE && !e->undefined) {
			put_element(f, i, b);
			continue;
		}
		emit_head(
		    b, false, e->tag, e->vr == VR_NONE ? VR_NONE : VR_SQ, 0);
		start = b->n;
		put_range(f, i + 1, e->skip, b);
		emit_close(b, start);
	}
}

static enum err
big_to_little(const struct dcm_file *f, struct buf *b, struct errmsg *em)
{
	uint32_t i = f->pixels;

	/* OW is words of 16 bits: how wider samples lie in them is read in
	 * two ways.  Fragments are little endian only. */
	if (i != DCM_NONE &&
	    (f->e[i].undefined ||
		(f->e[i].tag == TAG_PIXELS && dcm_u16(f, 0x00280100, 16) > 16)))
		return errmsg_set(em, ERR_UNSUPPORTED,
		    "have the sender use little endian",
		    "big endian samples of this kind are ambiguous");
	put_range(f, f->first, f->n, b);
	return buf_err(b);
}

enum err
recode_plain(const struct dcm_file *in, struct recode *out, struct errmsg *em)
{
	bool deflated = in->syntax == SYNTAX_OPAQUE &&
			strcmp(in->transfer_syntax, DEFLATED) == 0;
	enum err e;

	*out = (struct recode){ .room = BUF_MAX(RECODE_BYTES_MAX) };
	if (!deflated && in->syntax != SYNTAX_BIG)
		return ERR_OK;
	put_meta(in, &out->room);
	if (deflated)
		e = inflate_all(slice_of(in->in.p + in->data_off,
				    in->in.n - (size_t)in->data_off),
		    &out->room);
	else
		e = big_to_little(in, &out->room, em);
	if (e == ERR_OK)
		e = dcm_open(buf_slice(&out->room), &out->f, em);
	if (e != ERR_OK) {
		recode_fini(out);
		if (em != NULL && em->cause[0] == '\0')
			(void)errmsg_set(em, e, "",
			    "it cannot be turned into explicit little endian: "
			    "%s",
			    err_text(e));
	}
	return e;
}

void
recode_fini(struct recode *r)
{
	dcm_close(r->f);
	buf_wipe(&r->room);
	r->f = NULL;
}
