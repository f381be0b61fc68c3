/* node/imaging/helper/scrub.c: identifiers known from the object itself
 * (domain.md 5).
 *
 * Normalised form: letters small, those beyond ASCII too, digits and bytes
 * above 0x7F kept, all else dropped, so "MRN-12 345" and "mrn12345" are one.
 * Short names (2 and 3 letters) match whole tokens only.  Coded values and CS
 * are searched for ids and dates, never for names: Head, May and Long are
 * surnames. */
#include "node/imaging/helper/scrub.h"
#include "node/imaging/helper/content.h"
#include "node/imaging/helper/dates.h"
#include "node/imaging/helper/words.h"
#include "store/base/limits.h"
#include "store/base/mem.h"

#define NEEDLE_MAX ((size_t)128)

static bool
is_token(uint8_t c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
	       (c >= 'A' && c <= 'Z') || c >= 0x80;
}

static uint8_t
lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c;
}

/* The small letter of a letter of two UTF-8 bytes: Latin, Greek, Cyrillic. */
static uint32_t
small_letter(uint32_t u)
{
	if (u >= 0xC0 && u <= 0xDE && u != 0xD7)
		return u + 0x20;
	if ((u >= 0x100 && u <= 0x137) || (u >= 0x14A && u <= 0x177))
		return u | 1;
	if ((u >= 0x139 && u <= 0x148) || (u >= 0x179 && u <= 0x17E))
		return u + (u & 1);
	if ((u >= 0x391 && u <= 0x3A9) || (u >= 0x410 && u <= 0x42F))
		return u + 0x20;
	return u >= 0x400 && u <= 0x40F ? u + 0x50 : u;
}

/* In place: none of them changes its length.  What is no UTF-8 stays. */
static void
fold(uint8_t *p, size_t n)
{
	for (size_t k = 0; k + 1 < n; k++) {
		uint32_t u;

		if (p[k] < 0xC3 || p[k] > 0xD3 || (p[k + 1] & 0xC0) != 0x80)
			continue;
		u = small_letter(
		    (uint32_t)(p[k] & 0x1F) << 6 | (p[k + 1] & 0x3Fu));
		p[k++] = (uint8_t)(0xC0 | u >> 6);
		p[k] = (uint8_t)(0x80 | (u & 0x3F));
	}
}

static void
normalise(struct slice s, struct buf *out)
{
	uint8_t *p = buf_room(out, s.n);
	size_t n = 0;

	if (p == NULL)
		return;
	for (size_t k = 0; k < s.n; k++)
		if (is_token(s.p[k]))
			p[n++] = lower(s.p[k]);
	fold(p, n);
	buf_grew(out, n);
}

static struct slice
needle_text(const struct scrub *s, const struct needle *d)
{
	return slice_of(s->text.p + d->off, d->n);
}

/* Values that say nothing: they stand where a name or id was removed. */
static bool
is_filler(struct slice n)
{
	static const char *const words[] = { "anonymous", "anonymized",
		"anonymised", "anon", "unknown", "none", "removed",
		"deidentified" };

	for (size_t k = 0; k < sizeof(words) / sizeof(words[0]); k++)
		if (slice_eq(n, slice_str(words[k])))
			return true;
	return false;
}

static bool
is_known(const struct scrub *s, struct slice n, enum needle_kind kind)
{
	for (uint32_t k = 0; k < s->n; k++)
		if (s->v[k].kind == kind &&
		    slice_eq(needle_text(s, &s->v[k]), n))
			return true;
	return false;
}

static enum err
add(struct scrub *s, struct slice raw, enum needle_kind kind)
{
	size_t off = s->text.n;
	struct slice n;
	struct needle *v;

	if (raw.n > 4 * NEEDLE_MAX)
		raw.n = 4 * NEEDLE_MAX;
	normalise(raw, &s->text);
	if (s->text.err != ERR_OK)
		return s->text.err;
	n = slice_of(s->text.p + off, s->text.n - off);
	if (n.n > NEEDLE_MAX)
		n.n = NEEDLE_MAX;
	s->text.n = off;
	if (n.n < 2 || is_filler(n) || is_known(s, n, kind))
		return ERR_OK;
	if (s->n == SCRUB_NEEDLES_MAX) {
		s->full = true;
		return ERR_OK;
	}
	if (s->n == s->cap) {
		s->cap = s->cap == 0 ? 32 : s->cap * 2;
		v = mem_grow(s->v, s->cap, sizeof(*v));
		if (v == NULL)
			return ERR_NOMEM;
		s->v = v;
	}
	s->text.n = off + n.n;
	v = &s->v[s->n++];
	*v = (struct needle){
		.off = (uint32_t)off, .n = (uint16_t)n.n, .kind = (uint8_t)kind
	};
	for (size_t k = 0; k < n.n; k++)
		if (n.p[k] >= '0' && n.p[k] <= '9')
			v->digits = true;
	return ERR_OK;
}

/* One part of a name.  Mere digits are a number, not a name, and two or
 * three of them would match every version string. */
static enum err
add_part(struct scrub *s, struct slice part)
{
	bool letters = false;

	for (size_t k = 0; k < part.n; k++)
		letters = letters || part.p[k] < '0' || part.p[k] > '9';
	if (part.n < 2 || (!letters && part.n < 4))
		return ERR_OK;
	return add(s, part, letters ? NEEDLE_NAME : NEEDLE_ID);
}

/* Each run of letters and digits of a person name is a part; prefix and
 * suffix ("Dr", "Jr") are none. */
static enum err
add_name(struct scrub *s, struct slice pn)
{
	size_t from = 0;
	unsigned component = 0;
	enum err e;

	for (size_t k = 0; k <= pn.n; k++) {
		size_t n = k - from;

		if (k < pn.n && is_token(pn.p[k]))
			continue;
		if ((component < 3 || n > 4) &&
		    (e = add_part(s, slice_of(pn.p + from, n))) != ERR_OK)
			return e;
		if (k < pn.n && pn.p[k] == '^')
			component++;
		if (k < pn.n && (pn.p[k] == '=' || pn.p[k] == '\\'))
			component = 0;
		from = k + 1;
	}
	return ERR_OK;
}

static const char *const months[] = { "january", "february", "march", "april",
	"may", "june", "july", "august", "september", "october", "november",
	"december" };

/* YYYYMMDD in the writings people use; separators fall to normalising. */
static enum err
add_date(struct scrub *s, struct slice da)
{
	char t[8][32];
	unsigned d[8];
	unsigned m;
	unsigned day;
	uint8_t plain[8];
	enum err e = ERR_OK;

	if (da.n < 8)
		return ERR_OK;
	if (da.n == 10 && da.p[4] == '.' && da.p[7] == '.') { /* ACR-NEMA */
		memcpy(plain, da.p, 4);
		memcpy(plain + 4, da.p + 5, 2);
		memcpy(plain + 6, da.p + 8, 2);
		da = slice_of(plain, 8);
	}
	for (size_t k = 0; k < 8; k++) {
		if (da.p[k] < '0' || da.p[k] > '9')
			return ERR_OK;
		d[k] = da.p[k] - (unsigned)'0';
	}
	if (memcmp(da.p, DATES_DUMMY, 8) == 0)
		return ERR_OK; /* the dummy */
	m = d[4] * 10 + d[5];
	day = d[6] * 10 + d[7];
	if (m < 1 || m > 12 || day < 1 || day > 31)
		return ERR_OK;
#define YEAR "%u%u%u%u"
#define Y d[0], d[1], d[2], d[3]
	(void)snprintf(t[0], 32, YEAR "%02u%02u", Y, m, day);
	(void)snprintf(t[1], 32, "%02u%02u" YEAR, day, m, Y);
	(void)snprintf(t[2], 32, "%02u%02u" YEAR, m, day, Y);
	(void)snprintf(t[3], 32, "%u%.3s" YEAR, day, months[m - 1], Y);
	(void)snprintf(t[4], 32, "%u%s" YEAR, day, months[m - 1], Y);
	(void)snprintf(t[5], 32, "%.3s%u" YEAR, months[m - 1], day, Y);
	(void)snprintf(t[6], 32, "%s%u" YEAR, months[m - 1], day, Y);
	(void)snprintf(t[7], 32, "%.3s%02u" YEAR, months[m - 1], day, Y);
#undef YEAR
#undef Y
	for (size_t k = 0; k < 8 && e == ERR_OK; k++)
		e = add(s, slice_str(t[k]), NEEDLE_DATE);
	return e;
}

/* The profile asks for it: it is no survivor, but all else is looked for in
 * it.  What names the patient is never kept (table_refusal). */
static bool
is_asked_for(const struct dcm_file *f, const struct rules *r, uint32_t i)
{
	if (rules_fate(r, f, i) != FATE_KEEP)
		return false;
	return dict_is_id(f->e[i].tag) || !r->full_dates;
}

static enum err
collect_one(const struct dcm_file *f, const struct rules *r, uint32_t i,
    struct scrub *s)
{
	const struct dict_row *d = dict_find(f->e[i].tag);
	uint8_t vr = d != NULL ? d->vr : f->e[i].vr;
	struct slice all = dcm_value(f, i);
	struct slice v;
	enum err e = ERR_OK;

	if (f->e[i].vr == VR_NONE || f->e[i].vr == VR_SQ)
		return ERR_OK;
	if (vr == VR_PN)
		return add_name(s, all);
	if (!dict_is_id(f->e[i].tag) && vr != VR_DA && vr != VR_DT)
		return ERR_OK;
	if (is_asked_for(f, r, i))
		return ERR_OK;
	for (uint32_t k = 0; e == ERR_OK && dcm_nth(all, k, &v); k++) {
		if (k == 64)
			break;
		e = vr == VR_DA || vr == VR_DT ? add_date(s, v)
					       : add(s, v, NEEDLE_ID);
	}
	/* A study id such as "1" is no needle: add() wants two, searches 4. */
	return e;
}

enum err
scrub_collect(
    const struct dcm_file *f, const struct rules *r, struct scrub *out)
{
	enum err e = ERR_OK;

	*out = (struct scrub){ 0 };
	buf_init(&out->text, (size_t)SCRUB_NEEDLES_MAX * NEEDLE_MAX * 5);
	for (uint32_t i = f->first; i < f->n && e == ERR_OK; i++)
		e = collect_one(f, r, i, out);
	if (e != ERR_OK)
		scrub_fini(out);
	return e;
}

void
scrub_fini(struct scrub *s)
{
	buf_wipe(&s->text);
	mem_free(s->v);
	*s = (struct scrub){ 0 };
}

/* Contains as a substring; short needles count only when exact. */
static bool
holds(struct slice hay, struct slice needle)
{
	return needle.n >= 4 && hay.n >= needle.n &&
	       memmem(hay.p, hay.n, needle.p, needle.n) != NULL;
}

/* The run of token bytes at the start of s, lower-cased, is a needle. */
static bool
token_hits(const struct scrub *s, struct slice token)
{
	uint8_t t[NEEDLE_MAX];

	if (token.n < 2 || token.n > NEEDLE_MAX)
		return false;
	for (size_t k = 0; k < token.n; k++)
		t[k] = lower(token.p[k]);
	fold(t, token.n);
	for (uint32_t k = 0; k < s->n; k++)
		if (slice_eq(needle_text(s, &s->v[k]), slice_of(t, token.n)))
			return true;
	return false;
}

static size_t
token_len(struct slice s)
{
	size_t n = 0;

	while (n < s.n && is_token(s.p[n]))
		n++;
	return n;
}

static bool
any_token_hits(const struct scrub *s, struct slice text)
{
	while (text.n > 0) {
		size_t n = token_len(text);

		if (token_hits(s, slice_of(text.p, n)))
			return true;
		if (n == 0)
			n = 1;
		text.p += n;
		text.n -= n;
	}
	return false;
}

/* Any needle inside the normalised text. */
static bool
any_holds(const struct scrub *s, struct slice text)
{
	struct buf norm = BUF_MAX(text.n + 1);
	bool hit = false;

	normalise(text, &norm);
	for (uint32_t k = 0; k < s->n && !hit; k++)
		hit = holds(buf_slice(&norm), needle_text(s, &s->v[k]));
	hit = hit || norm.err != ERR_OK; /* can't tell: treat as a hit */
	buf_fini(&norm);
	return hit;
}

bool
scrub_clean(const struct scrub *s, struct slice text, struct buf *out)
{
	size_t start = out->n;
	bool hit = false;

	while (text.n > 0) {
		size_t n = token_len(text);

		if (n == 0)
			buf_put(out, text.p, n = 1);
		else if (token_hits(s, slice_of(text.p, n)))
			hit = true;
		else
			buf_put(out, text.p, n);
		text.p += n;
		text.n -= n;
	}
	if (out->err == ERR_OK &&
	    any_holds(s, slice_of(out->p + start, out->n - start))) {
		out->n = start;
		hit = true;
	}
	return hit;
}

static bool
is_coded(uint32_t tag)
{
	return (tag >= 0x00080100 && tag <= 0x00080104) || tag == 0x00080119 ||
	       tag == 0x00080122;
}

/* Ids and dates in values that can't hold prose. */
static bool
exact_hits(const struct scrub *s, struct slice norm, bool whole)
{
	for (uint32_t k = 0; k < s->n; k++) {
		const struct needle *d = &s->v[k];

		if (d->kind == NEEDLE_NAME || !d->digits || d->n < 6)
			continue;
		if (whole ? slice_eq(norm, needle_text(s, d))
			  : holds(norm, needle_text(s, d)))
			return true;
	}
	return false;
}

static bool
names_uid(const struct scrub_search *q, struct slice text)
{
	for (uint32_t k = 0; k < q->uids->n; k++) {
		struct slice u = slice_str(q->uids->v[k]);

		if (!q->keep[k] && u.n >= 8 && u.n <= text.n &&
		    memmem(text.p, text.n, u.p, u.n) != NULL)
			return true;
	}
	return false;
}

static bool
uid_hits(
    const struct scrub_search *q, const struct dcm_elem *e, struct slice all)
{
	struct slice v;

	for (uint32_t k = 0; dcm_nth(all, k, &v); k++) {
		uint32_t at = uids_find(q->uids, v);

		/* "0" as an instance and as a class is nobody's name. */
		if (v.n < 8 && dict_fixed_uid(e->tag))
			continue;
		if (at != UIDS_NONE && !q->keep[at])
			return true;
	}
	return false;
}

/* Text that may hold a name: no code, no number. */
static bool
is_prose(const struct dcm_elem *e, struct slice v)
{
	if (e->vr == VR_CS)
		return !content_is_code(v);
	if (e->tag == TAG_CODE_MEANING)
		return !words_only(v);
	return e->vr != VR_IS && e->vr != VR_DS && !is_coded(e->tag);
}

/* A date that was moved goes back to one the original has, or it was not
 * moved at all.  Ids are looked for as whole values: four digits of one are
 * found in every tenth date. */
static bool
date_hits(
    const struct scrub_search *q, const struct dcm_elem *e, struct slice all)
{
	char back[DATES_VALUE_MAX + 1];
	struct slice v;

	for (uint32_t k = 0; dcm_nth(all, k, &v); k++) {
		if (v.n >= 6 && is_known(q->s, v, NEEDLE_ID))
			return true;
		if (e->vr == VR_TM || v.n == 0 || q->dates_stay)
			continue;
		if (!dates_shift(v, (enum dcm_vr)e->vr, -q->shift_days, back))
			return true;
		if (memcmp(back, DATES_DUMMY, 8) != 0 &&
		    !is_known(q->s, slice_of(back, 8), NEEDLE_DATE))
			return true;
	}
	return false;
}

static bool
text_hits(
    const struct scrub_search *q, const struct dcm_elem *e, struct slice v)
{
	struct buf norm = BUF_MAX(v.n + 1);
	bool number = e->vr == VR_IS || e->vr == VR_DS;
	bool hit;

	if (v.n >= 8 && memchr(v.p, '.', v.n) != NULL && names_uid(q, v))
		return true;
	if (e->vr == VR_TM || e->vr == VR_AS)
		return false;
	if (is_prose(e, v))
		return any_token_hits(q->s, v) || any_holds(q->s, v);
	normalise(v, &norm);
	hit = exact_hits(q->s, buf_slice(&norm), number);
	hit = hit || norm.err != ERR_OK; /* can't tell: treat as a hit */
	buf_fini(&norm);
	return hit;
}

/* Opaque bytes that stay (profiles, tables): long needles in any case, and
 * those of 8 characters and more whatever separates them. */
static bool
bytes_hit(const struct scrub_search *q, struct slice v)
{
	struct buf low = BUF_MAX(v.n + 1);
	struct buf norm = BUF_MAX(v.n + 1);
	bool hit = names_uid(q, v);

	for (size_t k = 0; k < v.n && low.err == ERR_OK; k++)
		buf_u8(&low, lower(v.p[k]));
	if (low.err == ERR_OK)
		fold(low.p, low.n);
	normalise(v, &norm);
	for (uint32_t k = 0; k < q->s->n && !hit; k++) {
		struct slice n = needle_text(q->s, &q->s->v[k]);

		hit = (n.n >= 5 && holds(buf_slice(&low), n)) ||
		      (n.n >= 8 && holds(buf_slice(&norm), n));
	}
	hit = hit || low.err != ERR_OK || norm.err != ERR_OK;
	buf_fini(&low);
	buf_fini(&norm);
	return hit;
}

static bool
element_hits(const struct scrub_search *q, const struct dcm_file *f, uint32_t i)
{
	const struct dcm_elem *e = &f->e[i];
	struct slice v = dcm_value(f, i);
	enum dcm_vr vr = (enum dcm_vr)e->vr;

	if (v.n == 0 || vr == VR_SQ || vr == VR_NONE || i == f->pixels)
		return false;
	if (vr == VR_UI)
		return uid_hits(q, e, v);
	if ((q->shift_days != 0 || q->dates_stay) &&
	    (vr == VR_DA || vr == VR_DT || vr == VR_TM))
		return date_hits(q, e, v);
	if (dict_vr_text(vr))
		return text_hits(q, e, v);
	if (vr == VR_OB || vr == VR_OW || vr == VR_UN)
		return bytes_hit(q, v);
	return false;
}

enum err
scrub_search(
    const struct scrub_search *q, const struct dcm_file *f, uint32_t *tag)
{
	*tag = 0;
	for (uint32_t i = 0; i < f->n; i++) {
		uint32_t t = f->e[i].tag;

		/* Ours: the pseudonym and what we say of ourselves. */
		if (f->e[i].depth == 0 &&
		    (t == TAG_PATIENT_NAME || t == TAG_PATIENT_ID ||
			t == 0x00120063))
			continue;
		if (f->e[i].depth == 0 && t == 0x00120064) {
			i = f->e[i].skip - 1;
			continue;
		}
		if (i == f->pixels) {
			i = f->e[i].skip - 1;
			continue;
		}
		if (element_hits(q, f, i)) {
			*tag = t;
			return ERR_OK;
		}
	}
	return ERR_OK;
}
