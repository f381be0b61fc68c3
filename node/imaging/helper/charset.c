/* node/imaging/helper/charset.c: one pass over a value, with the two code
 * elements G0 (bytes 21 to 7E) and G1 (A0 to FF) that escapes switch.
 *
 * Escapes hold up to a delimiter of the value (PS3.5 section 6.1.2.5.3), then
 * the sets of the first name are back.  A byte pair of a multi-byte set is
 * one character whatever its second byte is: 5C there is no delimiter. */
#include "node/imaging/helper/charset.h"

#include <iconv.h>

#include "store/base/mem.h"

enum set {
	SET_NONE, /* nothing: '?' */
	SET_ASCII,
	SET_KANA,   /* JIS X 0201, G1 */
	SET_KANJI,  /* JIS X 0208, two bytes */
	SET_KANJI2, /* JIS X 0212, two bytes */
	SET_HANGUL, /* KS X 1001, two bytes */
	SET_HANZI,  /* GB 2312, two bytes */
	SET_GB18030,
	SET_UTF8,
	SET_LATIN, /* + the row of the table */
};

static const uint16_t latin[][96] = {
#include "node/imaging/helper/charsets/latin.inc"
};
#define N_LATIN (sizeof(latin) / sizeof(latin[0]))

struct charset {
	iconv_t jp, sjis, kr, cn;
};

/* Defined terms without "ISO_IR " or "ISO 2022 IR ". */
static const struct {
	uint16_t number;
	uint8_t g0, g1;
} terms[] = {
	{ 6, SET_ASCII, SET_NONE },
	{ 100, SET_ASCII, SET_LATIN + 0 },
	{ 101, SET_ASCII, SET_LATIN + 1 },
	{ 109, SET_ASCII, SET_LATIN + 2 },
	{ 110, SET_ASCII, SET_LATIN + 3 },
	{ 144, SET_ASCII, SET_LATIN + 4 },
	{ 127, SET_ASCII, SET_LATIN + 5 },
	{ 126, SET_ASCII, SET_LATIN + 6 },
	{ 138, SET_ASCII, SET_LATIN + 7 },
	{ 148, SET_ASCII, SET_LATIN + 8 },
	{ 166, SET_ASCII, SET_LATIN + 9 },
	{ 203, SET_ASCII, SET_LATIN + 10 },
	{ 13, SET_ASCII, SET_KANA },
	{ 87, SET_ASCII, SET_NONE },
	{ 159, SET_ASCII, SET_NONE },
	{ 149, SET_ASCII, SET_HANGUL },
	{ 58, SET_ASCII, SET_HANZI },
	{ 192, SET_ASCII, SET_UTF8 },
};

enum err
charset_open(struct charset **out)
{
	struct charset *c = mem_new(sizeof(*c));
	iconv_t none = (iconv_t)-1;

	if (c == NULL)
		return ERR_NOMEM;
	c->jp = iconv_open("UTF-8", "EUC-JP");
	c->sjis = iconv_open("UTF-8", "CP932");
	c->kr = iconv_open("UTF-8", "EUC-KR");
	c->cn = iconv_open("UTF-8", "GB18030");
	if (c->jp == none || c->sjis == none || c->kr == none ||
	    c->cn == none) {
		charset_close(c);
		return ERR_FOREIGN;
	}
	*out = c;
	return ERR_OK;
}

void
charset_close(struct charset *c)
{
	iconv_t none = (iconv_t)-1;

	if (c == NULL)
		return;
	if (c->jp != none)
		(void)iconv_close(c->jp);
	if (c->sjis != none)
		(void)iconv_close(c->sjis);
	if (c->kr != none)
		(void)iconv_close(c->kr);
	if (c->cn != none)
		(void)iconv_close(c->cn);
	mem_free(c);
}

/* The number of "ISO_IR 100" or "ISO 2022 IR 100"; -1. */
static int
term_number(struct slice s)
{
	int n = 0;
	size_t at = s.n;

	while (at > 0 && s.p[at - 1] >= '0' && s.p[at - 1] <= '9')
		at--;
	if (at == s.n || s.n - at > 3)
		return -1;
	for (size_t k = at; k < s.n; k++)
		n = n * 10 + (s.p[k] - '0');
	s.n = at;
	return slice_eq(s, SLICE_LIT("ISO_IR ")) ||
		       slice_eq(s, SLICE_LIT("ISO 2022 IR "))
		   ? n
		   : -1;
}

void
charset_names(struct slice values, struct charset_names *out)
{
	const uint8_t *bar =
	    values.n > 0 ? memchr(values.p, '\\', values.n) : NULL;
	struct slice first =
	    bar != NULL ? slice_of(values.p, (size_t)(bar - values.p)) : values;
	int n;

	while (first.n > 0 && first.p[first.n - 1] == ' ')
		first.n--;
	*out = (struct charset_names){ .g0 = SET_ASCII, .g1 = SET_NONE };
	if (slice_eq(first, SLICE_LIT("GB18030")) ||
	    slice_eq(first, SLICE_LIT("GBK"))) {
		out->g1 = SET_GB18030;
		return;
	}
	if (first.n == 0) {
		out->undeclared = bar == NULL;
		return;
	}
	n = term_number(first);
	for (size_t k = 0; k < sizeof(terms) / sizeof(terms[0]); k++) {
		if (terms[k].number != n)
			continue;
		out->g0 = terms[k].g0;
		out->g1 = terms[k].g1;
		out->is_utf8 = n == 192;
		out->undeclared = n == 6 && bar == NULL;
		return;
	}
	out->unknown = true;
}

bool
charset_vr(enum dcm_vr vr)
{
	return vr == VR_LO || vr == VR_LT || vr == VR_PN || vr == VR_SH ||
	       vr == VR_ST || vr == VR_UC || vr == VR_UT;
}

bool
charset_is_plain(struct slice text)
{
	for (size_t k = 0; k < text.n; k++)
		if (text.p[k] >= 0x80 || text.p[k] == 0x1B)
			return false;
	return true;
}

/* Bytes of the UTF-8 character at p (RFC 3629); 0: none. */
static size_t
utf8_len(const uint8_t *p, size_t n)
{
	size_t more = p[0] < 0x80   ? 0
		      : p[0] < 0xC2 ? 4
		      : p[0] < 0xE0 ? 1
		      : p[0] < 0xF0 ? 2
		      : p[0] < 0xF5 ? 3
				    : 4;

	if (more == 4 || more >= n)
		return 0;
	for (size_t k = 1; k <= more; k++)
		if ((p[k] & 0xC0) != 0x80)
			return 0;
	if ((p[0] == 0xE0 && p[1] < 0xA0) || (p[0] == 0xED && p[1] > 0x9F) ||
	    (p[0] == 0xF0 && p[1] < 0x90) || (p[0] == 0xF4 && p[1] > 0x8F))
		return 0;
	return more + 1;
}

bool
charset_is_utf8(struct slice text)
{
	for (size_t k = 0; k < text.n;) {
		size_t n = utf8_len(text.p + k, text.n - k);

		if (n == 0)
			return false;
		k += n;
	}
	return true;
}

/* --- converting --- */
struct conv {
	struct charset *c;
	struct slice in;
	size_t at;
	uint8_t g0, g1;
	struct buf *out;
	bool *guessed;
};

/* Of the basic plane. */
static void
put_char(struct conv *v, uint32_t u)
{
	if (u == 0) {
		*v->guessed = true;
		buf_u8(v->out, '?');
	} else if (u < 0x80) {
		buf_u8(v->out, (uint8_t)u);
	} else if (u < 0x800) {
		buf_u8(v->out, (uint8_t)(0xC0 | u >> 6));
		buf_u8(v->out, (uint8_t)(0x80 | (u & 0x3F)));
	} else {
		buf_u8(v->out, (uint8_t)(0xE0 | u >> 12));
		buf_u8(v->out, (uint8_t)(0x80 | (u >> 6 & 0x3F)));
		buf_u8(v->out, (uint8_t)(0x80 | (u & 0x3F)));
	}
}

/* One character of n bytes; false: it is none. */
static bool
put_foreign(struct conv *v, iconv_t with, const uint8_t *p, size_t n)
{
	char in[4], out[8];
	char *from = in, *to = out;
	size_t left = n, room = sizeof(out);

	memcpy(in, p, n);
	(void)iconv(with, NULL, NULL, NULL, NULL);
	if (iconv(with, &from, &left, &to, &room) == (size_t)-1 || left > 0)
		return false;
	buf_put(v->out, out, sizeof(out) - room);
	return true;
}

/* Two bytes of a 94 x 94 set, as its EUC form wants them. */
static bool
put_pair(struct conv *v, uint8_t set, const uint8_t *p)
{
	uint8_t euc[3] = { 0x8F, (uint8_t)(p[0] | 0x80),
		(uint8_t)(p[1] | 0x80) };

	if (v->c == NULL)
		return false;
	if (set == SET_KANJI)
		return put_foreign(v, v->c->jp, euc + 1, 2);
	if (set == SET_KANJI2)
		return put_foreign(v, v->c->jp, euc, 3);
	return put_foreign(
	    v, set == SET_HANGUL ? v->c->kr : v->c->cn, euc + 1, 2);
}

static bool
is_pair(uint8_t set)
{
	return set == SET_KANJI || set == SET_KANJI2 || set == SET_HANGUL ||
	       set == SET_HANZI;
}

/* The character at hand in a set of bytes above 7F. */
static void
put_high(struct conv *v)
{
	const uint8_t *p = v->in.p + v->at;
	size_t left = v->in.n - v->at, n = 1;
	bool ok = false;

	if (v->g1 == SET_UTF8 && (n = utf8_len(p, left)) > 0) {
		buf_put(v->out, p, n);
		ok = true;
	} else if (v->g1 == SET_GB18030 && left >= 4 && p[1] >= '0' &&
		   p[1] <= '9') {
		ok = v->c != NULL && put_foreign(v, v->c->cn, p, n = 4);
	} else if (v->g1 == SET_GB18030 && left >= 2) {
		ok = v->c != NULL && put_foreign(v, v->c->cn, p, n = 2);
	} else if (is_pair(v->g1) && left >= 2 && p[1] >= 0xA1) {
		ok = put_pair(v, v->g1, p);
		n = 2;
	} else if (v->g1 == SET_KANA && p[0] >= 0xA1 && p[0] <= 0xDF) {
		put_char(v, 0xFF61u + p[0] - 0xA1u);
		ok = true;
	} else if (v->g1 == SET_KANA && left >= 2 && p[1] >= 0x40) {
		/* No DICOM set, but sent under ISO_IR 13: Shift-JIS.  Its
		 * first bytes are those that JIS X 0201 does not use. */
		*v->guessed = true;
		ok = v->c != NULL && put_foreign(v, v->c->sjis, p, n = 2);
	} else if (v->g1 >= SET_LATIN && p[0] >= 0xA0) {
		put_char(v, latin[v->g1 - SET_LATIN][p[0] - 0xA0]);
		ok = true;
	}
	if (!ok) {
		put_char(v, 0);
		n = 1;
	}
	v->at += n;
}

static const struct {
	const char *bytes; /* behind ESC */
	uint8_t g0, g1;    /* SET_NONE: stays */
} escapes[] = {
	{ "(B", SET_ASCII, SET_NONE },
	{ "(J", SET_ASCII, SET_NONE },
	{ "$B", SET_KANJI, SET_NONE },
	{ "$@", SET_KANJI, SET_NONE },
	{ "$(D", SET_KANJI2, SET_NONE },
	{ "$)C", SET_NONE, SET_HANGUL },
	{ "$)A", SET_NONE, SET_HANZI },
	{ ")I", SET_NONE, SET_KANA },
	{ "-A", SET_NONE, SET_LATIN + 0 },
	{ "-B", SET_NONE, SET_LATIN + 1 },
	{ "-C", SET_NONE, SET_LATIN + 2 },
	{ "-D", SET_NONE, SET_LATIN + 3 },
	{ "-L", SET_NONE, SET_LATIN + 4 },
	{ "-G", SET_NONE, SET_LATIN + 5 },
	{ "-F", SET_NONE, SET_LATIN + 6 },
	{ "-H", SET_NONE, SET_LATIN + 7 },
	{ "-M", SET_NONE, SET_LATIN + 8 },
	{ "-T", SET_NONE, SET_LATIN + 9 },
	{ "-b", SET_NONE, SET_LATIN + 10 },
};

static void
take_escape(struct conv *v)
{
	v->at++;
	for (size_t k = 0; k < sizeof(escapes) / sizeof(escapes[0]); k++) {
		size_t n = strlen(escapes[k].bytes);

		if (v->in.n - v->at < n ||
		    memcmp(v->in.p + v->at, escapes[k].bytes, n) != 0)
			continue;
		if (escapes[k].g0 != SET_NONE)
			v->g0 = escapes[k].g0;
		if (escapes[k].g1 != SET_NONE)
			v->g1 = escapes[k].g1;
		v->at += n;
		return;
	}
	*v->guessed = true;
}

static bool
is_delimiter(enum dcm_vr vr, uint8_t c)
{
	if (c == '\r' || c == '\n' || c == '\f' || c == '\t')
		return true;
	if (vr == VR_PN && (c == '^' || c == '='))
		return true;
	return c == '\\' && vr != VR_ST && vr != VR_LT && vr != VR_UT;
}

/* Bytes nobody has said anything of. */
static void
guess_sets(struct conv *v, const struct charset_names *names)
{
	if ((!names->unknown && !names->undeclared && !names->is_utf8) ||
	    charset_is_plain(v->in))
		return;
	if (charset_is_utf8(v->in)) {
		v->g1 = SET_UTF8;
		*v->guessed = *v->guessed || !names->is_utf8;
		return;
	}
	if (v->g1 == SET_NONE || v->g1 == SET_UTF8) {
		v->g1 = SET_LATIN;
		*v->guessed = true;
	}
}

void
charset_convert(struct charset *c, const struct charset_names *names,
    enum dcm_vr vr, struct slice text, struct buf *out, bool *guessed)
{
	struct conv v = { .c = c,
		.in = text,
		.g0 = names->g0,
		.g1 = names->g1,
		.out = out,
		.guessed = guessed };
	uint8_t g1;

	guess_sets(&v, names);
	g1 = v.g1;
	while (v.at < text.n && buf_err(out) == ERR_OK) {
		uint8_t b = text.p[v.at];

		if (b == 0x1B) {
			take_escape(&v);
		} else if (b >= 0x80) {
			put_high(&v);
		} else if (is_pair(v.g0) && b > 0x20 && b < 0x7F &&
			   text.n - v.at >= 2) {
			if (!put_pair(&v, v.g0, text.p + v.at))
				put_char(&v, 0);
			v.at += 2;
		} else {
			if (is_delimiter(vr, b)) {
				v.g0 = names->g0;
				v.g1 = g1;
			}
			buf_u8(out, b);
			v.at++;
		}
	}
}
