/* node/imaging/helper/walk.c: walk a DICOM object once, bounded, into a flat
 * table of elements.
 *
 * Happy path: file meta (explicit little endian, PS3.10 section 7.1), then
 * the dataset in the syntax it names, down through sequences, to the end.
 * Length fields are compared with what is left of the enclosing level before
 * they are used.  Failure: ERR_SHORT (a value ends past the file),
 * ERR_MALFORMED, ERR_LIMIT (depth, count), ERR_NOMEM.  What is wrong after
 * top-level pixel data is padding, not an error: f->end says where. */
#include "node/imaging/helper/walk.h"
#include "store/base/limits.h"
#include "store/base/mem.h"

struct walker {
	struct dcm_file *f;
	size_t at;
	uint32_t cap;
	uint32_t depth;
	bool implicit;
	bool big;
};

struct head {
	uint32_t tag;
	uint32_t len;
	enum dcm_vr vr;
	bool implicit;
};

static uint32_t
get16(const struct walker *w, size_t at)
{
	const uint8_t *p = w->f->in.p + at;

	return w->big ? (uint32_t)(p[0] << 8 | p[1])
		      : (uint32_t)(p[1] << 8 | p[0]);
}

static uint32_t
get32(const struct walker *w, size_t at)
{
	uint32_t a = get16(w, at);
	uint32_t b = get16(w, at + 2);

	return w->big ? a << 16 | b : b << 16 | a;
}

/* VR of an element that has none in the file.  A private creator is LO. */
static enum dcm_vr
implied_vr(uint32_t tag)
{
	const struct dict_row *d = dict_find(tag);
	uint32_t el = tag & 0xFFFFu;

	if (d != NULL)
		return (enum dcm_vr)d->vr;
	if (el == 0)
		return VR_UL;
	if (dcm_tag_private(tag) && el >= 0x10 && el <= 0xFF)
		return VR_LO;
	return VR_UN;
}

static bool
is_upper(uint8_t c)
{
	return c >= 'A' && c <= 'Z';
}

/* Tag, VR and length at w->at, which moves to the value. */
static enum err
read_head(struct walker *w, size_t end, struct head *h)
{
	const uint8_t *p = w->f->in.p;
	size_t at = w->at;

	if (end - at < 8)
		return ERR_SHORT;
	h->tag = get16(w, at) << 16 | get16(w, at + 2);
	h->implicit =
	    w->implicit || !is_upper(p[at + 4]) || !is_upper(p[at + 5]);
	if (h->tag >> 16 == 0xFFFEu || h->implicit) {
		h->vr = h->tag >> 16 == 0xFFFEu ? VR_NONE : implied_vr(h->tag);
		h->len = get32(w, at + 4);
		w->at = at + 8;
		return ERR_OK;
	}
	h->vr = dict_vr(p + at + 4);
	if (h->vr < VR_NONE && !dict_vr_long(h->vr)) {
		h->len = get16(w, at + 6);
		w->at = at + 8;
		return ERR_OK;
	}
	/* VRs to come have the long form too (PS3.5 section 7.1.2). */
	if (h->vr >= VR_NONE)
		h->vr = VR_UN;
	if (end - at < 12)
		return ERR_SHORT;
	h->len = get32(w, at + 8);
	w->at = at + 12;
	return ERR_OK;
}

static enum err
push(struct walker *w, const struct head *h, size_t off, uint32_t *out)
{
	struct dcm_file *f = w->f;
	struct dcm_elem *e;

	if (f->n >= WALK_ELEMS_MAX)
		return ERR_LIMIT;
	if (f->n == w->cap) {
		uint32_t cap = w->cap == 0 ? 256 : w->cap * 2;

		e = mem_grow(f->e, cap, sizeof(*f->e));
		if (e == NULL)
			return ERR_NOMEM;
		f->e = e;
		w->cap = cap;
	}
	e = &f->e[f->n];
	*e = (struct dcm_elem){ .off = off,
		.val = w->at,
		.len = h->len,
		.tag = h->tag,
		.skip = f->n + 1,
		.vr = (uint8_t)h->vr,
		.depth = (uint8_t)w->depth,
		.undefined = h->len == DCM_LEN_UNDEF,
		.implicit = h->implicit };
	*out = f->n++;
	return ERR_OK;
}

static enum err walk_element(struct walker *w, size_t end, uint32_t *out);

/* Elements of one item up to end, or to the item delimiter. */
static enum err
walk_item(struct walker *w, size_t end, bool undefined)
{
	uint32_t last = 0;
	uint32_t i;
	enum err e;

	while (undefined || w->at < end) {
		size_t at = w->at;

		if (undefined && end - at >= 8 && get16(w, at) == 0xFFFEu &&
		    get16(w, at + 2) == 0xE00Du)
			return ERR_OK;
		if ((e = walk_element(w, end, &i)) != ERR_OK)
			return e;
		if (w->f->e[i].tag == last)
			w->f->duplicates = true;
		if (w->f->e[i].tag < last)
			w->f->unsorted = true;
		last = w->f->e[i].tag;
	}
	return ERR_OK;
}

/* One item whose header h was read at off. */
static enum err
walk_one_item(struct walker *w, size_t end, const struct head *h, size_t off)
{
	bool undefined = h->len == DCM_LEN_UNDEF;
	size_t item_end = end;
	uint32_t i;
	enum err e;

	if (!undefined && h->len > end - w->at)
		return end == w->f->in.n ? ERR_SHORT : ERR_MALFORMED;
	if (!undefined)
		item_end = w->at + h->len;
	if ((e = push(w, h, off, &i)) != ERR_OK)
		return e;
	if ((e = walk_item(w, item_end, undefined)) != ERR_OK)
		return e;
	w->f->e[i].len = w->at - w->f->e[i].val;
	w->f->e[i].skip = w->f->n;
	if (undefined)
		w->at += 8; /* the delimiter walk_item saw */
	return ERR_OK;
}

/* A fragment of encapsulated pixel data: an item without elements. */
static enum err
walk_fragment(struct walker *w, size_t end, const struct head *h, size_t off)
{
	uint32_t i;
	enum err e;

	if (h->len == DCM_LEN_UNDEF)
		return ERR_MALFORMED;
	if (h->len > end - w->at)
		return end == w->f->in.n ? ERR_SHORT : ERR_MALFORMED;
	if ((e = push(w, h, off, &i)) != ERR_OK)
		return e;
	w->at += h->len;
	return ERR_OK;
}

/* Items of sequence s up to end, or to the sequence delimiter. */
static enum err
walk_items(struct walker *w, size_t end, uint32_t s, bool fragments)
{
	bool undefined = w->f->e[s].undefined;

	while (undefined || w->at < end) {
		size_t off = w->at;
		struct head h;
		enum err e = read_head(w, end, &h);

		if (e != ERR_OK)
			return e;
		if (h.tag == TAG_SEQ_END) {
			if (!undefined && w->at != end)
				return ERR_MALFORMED;
			w->f->e[s].len = off - w->f->e[s].val;
			return ERR_OK;
		}
		if (h.tag != TAG_ITEM)
			return ERR_MALFORMED;
		e = fragments ? walk_fragment(w, end, &h, off)
			      : walk_one_item(w, end, &h, off);
		if (e != ERR_OK)
			return e;
	}
	return ERR_OK;
}

static enum err
walk_sequence(struct walker *w, size_t end, uint32_t s, bool fragments)
{
	struct walker outer = *w;
	const struct dcm_elem *q = &w->f->e[s];
	enum err e;

	if (w->depth >= WALK_DEPTH_MAX)
		return ERR_LIMIT;
	if (!q->undefined)
		end = w->at + (size_t)q->len;
	/* PS3.5 section 6.2.2: UN of undefined length is implicit LE. */
	if (q->vr == VR_UN) {
		w->implicit = true;
		w->big = false;
	}
	w->depth++;
	e = walk_items(w, end, s, fragments);
	w->depth--;
	w->implicit = outer.implicit;
	w->big = outer.big;
	w->f->e[s].skip = w->f->n;
	return e;
}

static bool
holds_fragments(const struct dcm_elem *q)
{
	return q->undefined && (q->vr == VR_OB || q->vr == VR_OW);
}

static enum err
walk_element(struct walker *w, size_t end, uint32_t *out)
{
	size_t off = w->at;
	const struct dcm_elem *q;
	struct head h;
	enum err e;

	if ((e = read_head(w, end, &h)) != ERR_OK)
		return e;
	if (h.vr == VR_NONE)
		return ERR_MALFORMED; /* an item where none can be */
	if (h.len != DCM_LEN_UNDEF && h.len > end - w->at)
		return end == w->f->in.n ? ERR_SHORT : ERR_MALFORMED;
	if ((e = push(w, &h, off, out)) != ERR_OK)
		return e;
	q = &w->f->e[*out];
	if (q->vr == VR_SQ || (q->vr == VR_UN && q->undefined))
		return walk_sequence(w, end, *out, false);
	if (holds_fragments(q))
		return walk_sequence(w, end, *out, true);
	if (q->undefined)
		return ERR_MALFORMED;
	w->at += h.len;
	return ERR_OK;
}

/* What can't be an element of a dataset any more: zero padding. */
static bool
is_padding(const struct walker *w)
{
	size_t left = w->f->in.n - w->at;

	for (size_t k = 0; k < left && k < 8; k++)
		if (w->f->in.p[w->at + k] != 0 && (left < 8 || k < 2))
			return false;
	return true;
}

static enum err
walk_dataset(struct walker *w)
{
	struct dcm_file *f = w->f;
	uint32_t last = 0;
	enum err e = ERR_OK;

	while (w->at < f->in.n) {
		size_t at = w->at;
		uint32_t n = f->n;
		uint32_t i;

		if (is_padding(w))
			break;
		e = walk_element(w, f->in.n, &i);
		if (e != ERR_OK) {
			w->at = at;
			w->depth = 0;
			f->n = n;
			break;
		}
		if (f->e[i].tag == last)
			f->duplicates = true;
		if (f->e[i].tag < last)
			f->unsorted = true;
		last = f->e[i].tag;
		if (last == TAG_PIXELS || last == TAG_FLOAT_PIXELS ||
		    last == TAG_DOUBLE_PIXELS)
			f->pixels = i;
	}
	f->end = w->at;
	if (f->pixels != DCM_NONE && (e == ERR_SHORT || e == ERR_MALFORMED))
		e = ERR_OK;
	return e;
}

static enum err
walk_meta(struct walker *w)
{
	struct dcm_file *f = w->f;
	uint32_t i;
	enum err e;

	while (f->in.n - w->at >= 8 && get16(w, w->at) == 2) {
		w->implicit = !is_upper(f->in.p[w->at + 4]);
		if ((e = walk_element(w, f->in.n, &i)) != ERR_OK)
			return e;
	}
	f->first = f->n;
	f->data_off = w->at;
	return ERR_OK;
}

struct syntax_row {
	const char *uid;
	enum dcm_syntax syntax;
};

static const struct syntax_row syntaxes[] = {
	{ "1.2.840.10008.1.2", SYNTAX_IMPLICIT },
	{ "1.2.840.10008.1.2.1", SYNTAX_EXPLICIT },
	{ "1.2.840.10008.1.2.2", SYNTAX_BIG },
	{ "1.2.840.10008.1.2.1.99", SYNTAX_OPAQUE },    /* deflated */
	{ "1.2.840.10008.1.2.8.1", SYNTAX_OPAQUE },     /* deflated frames */
	{ "1.2.840.10008.1.2.5", SYNTAX_ENCAPSULATED }, /* RLE */
};

static const char *const encapsulated[] = {
	"1.2.840.10008.1.2.4.", /* JPEG, JPEG-LS, J2K, MPEG, HTJ2K */
};

static enum dcm_syntax
syntax_of(const char *uid)
{
	for (size_t k = 0; k < sizeof(syntaxes) / sizeof(syntaxes[0]); k++)
		if (strcmp(uid, syntaxes[k].uid) == 0)
			return syntaxes[k].syntax;
	if (strncmp(uid, encapsulated[0], strlen(encapsulated[0])) == 0)
		return SYNTAX_ENCAPSULATED;
	return SYNTAX_OPAQUE;
}

/* What the first element of the dataset looks like: senders that name one
 * little endian syntax and write the other exist. */
static enum dcm_syntax
peek_syntax(const struct walker *w)
{
	const struct slice in = w->f->in;

	if (in.n - w->at < 8)
		return SYNTAX_OPAQUE;
	if (is_upper(in.p[w->at + 4]) && is_upper(in.p[w->at + 5]) &&
	    dict_vr(in.p + w->at + 4) < VR_NONE) {
		/* A group is small: its low byte comes first. */
		return in.p[w->at] == 0 && in.p[w->at + 1] != 0
			   ? SYNTAX_BIG
			   : SYNTAX_EXPLICIT;
	}
	return SYNTAX_IMPLICIT;
}

static void
set_syntax(struct dcm_file *f, enum dcm_syntax s)
{
	for (size_t k = 0; k < sizeof(syntaxes) / sizeof(syntaxes[0]); k++)
		if (syntaxes[k].syntax == s) {
			(void)snprintf(f->transfer_syntax,
			    sizeof(f->transfer_syntax), "%s", syntaxes[k].uid);
			break;
		}
	f->syntax = s;
}

static void
choose_syntax(struct walker *w)
{
	struct dcm_file *f = w->f;
	enum dcm_syntax seen = peek_syntax(w);
	uint32_t i = dcm_find(f, TAG_META_SYNTAX);

	if (i == DCM_NONE || f->e[i].len == 0) {
		set_syntax(f, seen);
		return;
	}
	dcm_text(
	    f, TAG_META_SYNTAX, f->transfer_syntax, sizeof(f->transfer_syntax));
	f->syntax = syntax_of(f->transfer_syntax);
	if ((f->syntax <= SYNTAX_EXPLICIT && seen <= SYNTAX_EXPLICIT) ||
	    (f->syntax == SYNTAX_BIG && seen == SYNTAX_EXPLICIT))
		set_syntax(f, seen);
}

/* PS3.10 section 7.1; without a preamble a dataset starts in a low group. */
static enum err
find_start(struct walker *w)
{
	const struct slice in = w->f->in;

	if (in.n >= 132 && memcmp(in.p + 128, "DICM", 4) == 0) {
		w->f->part10 = true;
		w->at = 132;
		return ERR_OK;
	}
	if (in.n < 8)
		return ERR_SHORT;
	if ((in.p[0] == 2 || in.p[0] == 8) && in.p[1] == 0)
		return ERR_OK;
	if (in.p[0] == 0 && in.p[1] == 8 && in.p[2] == 0 && is_upper(in.p[4]))
		return ERR_OK;
	return ERR_MALFORMED;
}

static enum err
walk_file(struct walker *w)
{
	enum err e;

	if ((e = find_start(w)) != ERR_OK)
		return e;
	if ((e = walk_meta(w)) != ERR_OK)
		return e;
	choose_syntax(w);
	w->implicit = w->f->syntax == SYNTAX_IMPLICIT;
	w->big = w->f->syntax == SYNTAX_BIG;
	if (w->f->syntax == SYNTAX_OPAQUE) {
		w->f->end = w->f->in.n;
		return ERR_OK;
	}
	return walk_dataset(w);
}

enum err
dcm_open(struct slice file, struct dcm_file **out, struct errmsg *em)
{
	struct walker w = { 0 };
	struct dcm_file *f;
	enum err e;

	if (file.n > LIM_OBJECT_BYTES)
		return errmsg_set(em, ERR_LIMIT, "",
		    "object of %zu bytes is above the limit", file.n);
	f = mem_new(sizeof(*f));
	if (f == NULL)
		return ERR_NOMEM;
	f->in = file;
	f->pixels = DCM_NONE;
	w.f = f;
	e = walk_file(&w);
	if (e != ERR_OK) {
		(void)errmsg_set(em, e, "",
		    "not a readable DICOM object: %s at byte %zu", err_text(e),
		    w.at);
		dcm_close(f);
		return e;
	}
	*out = f;
	return ERR_OK;
}

void
dcm_close(struct dcm_file *f)
{
	if (f == NULL)
		return;
	mem_free(f->e);
	mem_free(f);
}
