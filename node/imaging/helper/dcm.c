/* node/imaging/helper/dcm.c: reading the table dcm_open() made.  Nothing
 * here allocates or fails: what is absent is empty or DCM_NONE. */
#include "node/imaging/helper/walk.h"
#include "store/base/num.h"

void
dcm_level(
    const struct dcm_file *f, uint32_t parent, uint32_t *from, uint32_t *to)
{
	*from = parent == DCM_NONE ? f->first : parent + 1;
	*to = parent == DCM_NONE ? f->n : f->e[parent].skip;
}

static uint32_t
find_between(const struct dcm_file *f, uint32_t from, uint32_t to, uint32_t tag)
{
	for (uint32_t i = from; i < to; i = f->e[i].skip)
		if (f->e[i].tag == tag)
			return i;
	return DCM_NONE;
}

uint32_t
dcm_find(const struct dcm_file *f, uint32_t tag)
{
	if (tag >> 16 == 2)
		return find_between(f, 0, f->first, tag);
	return find_between(f, f->first, f->n, tag);
}

uint32_t
dcm_find_in(const struct dcm_file *f, uint32_t parent, uint32_t tag)
{
	uint32_t from;
	uint32_t to;

	dcm_level(f, parent, &from, &to);
	return find_between(f, from, to, tag);
}

struct slice
dcm_value(const struct dcm_file *f, uint32_t i)
{
	if (i == DCM_NONE)
		return (struct slice){ 0 };
	return slice_of(f->in.p + f->e[i].val, (size_t)f->e[i].len);
}

struct slice
dcm_trim(struct slice s)
{
	while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == 0))
		s.n--;
	while (s.n > 0 && s.p[0] == ' ') {
		s.p++;
		s.n--;
	}
	return s;
}

struct slice
dcm_trimmed(const struct dcm_file *f, uint32_t i)
{
	return dcm_trim(dcm_value(f, i));
}

bool
dcm_nth(struct slice text, uint32_t k, struct slice *out)
{
	while (true) {
		const uint8_t *bar =
		    text.n == 0 ? NULL : memchr(text.p, '\\', text.n);
		size_t n = bar == NULL ? text.n : (size_t)(bar - text.p);

		if (k == 0) {
			*out = dcm_trim(slice_of(text.p, n));
			return true;
		}
		if (bar == NULL)
			return false;
		text.p += n + 1;
		text.n -= n + 1;
		k--;
	}
}

void
dcm_text(const struct dcm_file *f, uint32_t tag, char *out, size_t cap)
{
	struct slice s = dcm_trimmed(f, dcm_find(f, tag));
	size_t n = s.n < cap ? s.n : cap - 1;

	REQUIRE(cap > 0);
	if (n > 0)
		memcpy(out, s.p, n);
	/* A NUL inside must not make two values one. */
	for (size_t k = 0; k < n; k++)
		if (out[k] == '\0')
			out[k] = '?';
	out[n] = '\0';
}

const char *
dcm_transfer_syntax(const struct dcm_file *f)
{
	return f->transfer_syntax;
}

uint16_t
dcm_u16(const struct dcm_file *f, uint32_t tag, uint16_t dflt)
{
	struct slice s = dcm_value(f, dcm_find(f, tag));

	if (s.n < 2)
		return dflt;
	if (f->syntax == SYNTAX_BIG)
		return (uint16_t)(s.p[0] << 8 | s.p[1]);
	return (uint16_t)(s.p[1] << 8 | s.p[0]);
}

uint32_t
dcm_is(const struct dcm_file *f, uint32_t tag, uint32_t dflt)
{
	struct slice s;
	uint64_t v;

	(void)dcm_nth(dcm_value(f, dcm_find(f, tag)), 0, &s);
	if (num_u64(s, 0, UINT32_MAX, &v) != ERR_OK)
		return dflt;
	return (uint32_t)v;
}

bool
dcm_is_cs(const struct dcm_file *f, uint32_t tag, uint32_t k, const char *text)
{
	struct slice s;

	return dcm_nth(dcm_value(f, dcm_find(f, tag)), k, &s) &&
	       slice_eq(s, slice_str(text));
}
