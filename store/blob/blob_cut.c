/* store/blob/blob_cut.c: where files are cut into pieces.
 *
 * Happy path: the plan is checked to tile the file, then each of its pieces
 * is one cut, or several where it is too large: at rows of samples, else, and
 * without a plan, where the content decides.  Nothing is read but by FastCDC,
 * nothing is copied. Failure modes: a plan that does not tile (ERR_MALFORMED),
 * more bytes or pieces than a file may have (ERR_LIMIT). */
#include "store/blob/blob_internal.h"

#define WHOLE_BELOW (64 * KIB)
#define CUT_BYTES (1 * MIB) /* parts of a piece that is too large */
#define AVG_BITS 18u        /* 256 KiB */

void
cuts_fini(struct cuts *c)
{
	mem_free(c->c);
	*c = (struct cuts){ 0 };
}

static enum err
cut_add(struct cuts *c, struct slice p, struct codec_hint hint)
{
	if (c->n - c->first >= LIM_FILE_PIECES)
		return ERR_LIMIT;
	if (c->n == c->cap) {
		uint32_t cap = c->cap == 0 ? 32 : c->cap * 2;
		void *to = mem_grow(c->c, cap, sizeof(*c->c));

		if (to == NULL)
			return ERR_NOMEM;
		c->c = to;
		c->cap = cap;
	}
	c->c[c->n++] = (struct cut){ .p = p, .hint = hint };
	return ERR_OK;
}

static enum err
cut_by_content(struct cuts *c, const uint64_t gear[256], struct slice in)
{
	struct codec_hint none = { 0, 0 };
	size_t at = 0;

	while (at < in.n) {
		struct slice rest = slice_of(in.p + at, in.n - at);
		size_t n =
		    in.n < WHOLE_BELOW ? rest.n : cdc_cut(gear, rest, AVG_BITS);
		enum err e = cut_add(c, slice_of(rest.p, n), none);

		if (e != ERR_OK)
			return e;
		at += n;
	}
	return ERR_OK;
}

/* Parts of an oversized piece end at rows, if they are known. */
static size_t
cut_step(const struct blob_piece *p)
{
	size_t row = (size_t)p->w * (p->bits / 8u);

	if (p->len <= LIM_PIECE_BYTES)
		return (size_t)p->len;
	if (row == 0 || row > CUT_BYTES)
		return CUT_BYTES;
	return CUT_BYTES / row * row;
}

static enum err
cut_planned(struct cuts *c, const uint64_t gear[256], struct slice file,
    const struct blob_piece *p)
{
	struct codec_hint hint = { p->bits, p->w };
	const uint8_t *at = file.p + p->off;
	uint64_t left = p->len;
	size_t step;
	enum err e;

	if (p->bits == 0 && p->len > CUT_BYTES)
		return cut_by_content(c, gear, slice_of(at, (size_t)p->len));
	for (step = cut_step(p); left > 0; left -= step) {
		if (step > left)
			step = (size_t)left;
		e = cut_add(c, slice_of(at, step), hint);
		if (e != ERR_OK)
			return e;
		at += step;
	}
	return ERR_OK;
}

/* Does the plan cover the file once, in order?  Asked before any work. */
static enum err
plan_check(struct slice file, const struct blob_piece *plan, uint32_t n)
{
	uint64_t at = 0;
	uint32_t i;

	for (i = 0; i < n; i++) {
		if (plan[i].off != at || plan[i].len == 0 ||
		    plan[i].len > file.n - at)
			return ERR_MALFORMED;
		at += plan[i].len;
	}
	return at == file.n ? ERR_OK : ERR_MALFORMED;
}

enum err
cuts_add_file(
    struct cuts *c, const uint64_t gear[256], const struct blob_file *f)
{
	uint32_t i;
	enum err e;

	if (f->bytes.n > LIM_FILE_BYTES || f->n_plan > LIM_FILE_PIECES)
		return ERR_LIMIT;
	c->first = c->n;
	if (f->n_plan == 0)
		return cut_by_content(c, gear, f->bytes);
	e = plan_check(f->bytes, f->plan, f->n_plan);
	for (i = 0; i < f->n_plan && e == ERR_OK; i++) {
		uint32_t k = c->n;

		e = cut_planned(c, gear, f->bytes, &f->plan[i]);
		for (; k < c->n; k++)
			c->c[k].apart = f->plan[i].apart;
	}
	return e;
}

/* --- equal pieces: the pixels of a de-identified copy are the original's ---
 */

#define PROBES 4u /* then it is hashed like any other */

static uint64_t
print_at(struct slice p, size_t at)
{
	uint64_t v = 0;
	size_t n = p.n - at < sizeof(v) ? p.n - at : sizeof(v);

	memcpy(&v, p.p + at, n);
	return v;
}

/* Of the length and a few bytes: tells where comparing is worth a try. */
static uint64_t
print_of(struct slice p)
{
	uint64_t h = p.n * 0x9e3779b97f4a7c15u;

	h = (h ^ print_at(p, 0)) * 0xbf58476d1ce4e5b9u;
	h = (h ^ print_at(p, p.n / 2)) * 0x94d049bb133111ebu;
	h = (h ^ print_at(p, p.n - p.n / 8)) * 0x9e3779b97f4a7c15u;
	return h ^ h >> 29;
}

enum err
cuts_find_equal(struct cuts *c)
{
	uint32_t size = 16, i, k;
	uint32_t *slots;

	while (size < 2 * c->n)
		size *= 2;
	slots = mem_array(size, sizeof(*slots));
	if (slots == NULL)
		return ERR_NOMEM;
	for (i = 0; i < c->n; i++) {
		uint64_t h = print_of(c->c[i].p);

		c->c[i].same = i;
		for (k = 0; k < PROBES; k++) {
			uint32_t *slot = &slots[(h + k) & (size - 1)];

			if (*slot == 0)
				*slot = i + 1;
			if (slice_eq(c->c[*slot - 1].p, c->c[i].p)) {
				c->c[i].same = *slot - 1;
				break;
			}
		}
	}
	mem_free(slots);
	return ERR_OK;
}
