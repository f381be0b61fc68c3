/* node/conf/jw.c: the JSON writer.
 *
 * Happy path: values are appended to the buf as they come; a stack of two
 * flags a level knows whether a comma is due and which bracket closes.
 * Failure: the buf's sticky error; nesting beyond JW_DEPTH_MAX sets it too,
 * since what is nested may come from outside. */
#include "node/conf/json.h"

#include <math.h>

#include "store/base/enc.h"
#include "store/base/limits.h"
#include "store/base/mem.h"
#include "store/base/mp.h"
#include "store/base/num.h"

void
jw_init(struct jw *w, struct buf *b)
{
	*w = (struct jw){ .b = b };
}

/* Length of the UTF-8 sequence at s, 0 if it is not well-formed
 * (RFC 3629: no overlong form, no surrogate, up to U+10FFFF). */
static size_t
jw_utf8(struct slice s)
{
	static const uint32_t least[5] = { 0, 0, 0x80, 0x800, 0x10000 };
	uint32_t c = s.p[0];
	size_t n, i;

	if (c < 0x80)
		return 1;
	n = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 0;
	if (n == 0 || c > 0xf4 || n > s.n)
		return 0;
	c &= 0xffu >> (n + 1);
	for (i = 1; i < n; i++) {
		if ((s.p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s.p[i] & 0x3fu);
	}
	if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return 0;
	return n;
}

static void
jw_escaped(struct buf *b, uint8_t c)
{
	switch (c) {
	case '"': buf_put_str(b, "\\\""); break;
	case '\\': buf_put_str(b, "\\\\"); break;
	case '\n': buf_put_str(b, "\\n"); break;
	case '\r': buf_put_str(b, "\\r"); break;
	case '\t': buf_put_str(b, "\\t"); break;
	default: buf_printf(b, "\\u%04x", c); break;
	}
}

static void
jw_text(struct buf *b, struct slice s)
{
	size_t run = 0, n;

	buf_u8(b, '"');
	while (run < s.n) {
		uint8_t c = s.p[run];

		n = jw_utf8(slice_of(s.p + run, s.n - run));
		if (n > 0 && c >= ' ' && c != '"' && c != '\\' && c != 0x7f) {
			run += n;
			continue;
		}
		buf_put(b, s.p, run);
		if (n == 0)
			buf_put_str(b, "\xef\xbf\xbd");
		else
			jw_escaped(b, c);
		s = slice_of(s.p + run + 1, s.n - run - 1);
		run = 0;
	}
	buf_put(b, s.p, run);
	buf_u8(b, '"');
}

/* Comma and key of the next value. */
static void
jw_next(struct jw *w, const char *key)
{
	if (w->comma[w->depth])
		buf_u8(w->b, ',');
	w->comma[w->depth] = w->depth > 0;
	if (key != NULL) {
		jw_text(w->b, slice_str(key));
		buf_u8(w->b, ':');
	}
}

static void
jw_open(struct jw *w, const char *key, bool array)
{
	jw_next(w, key);
	buf_u8(w->b, array ? '[' : '{');
	if (w->depth + 1 >= JW_DEPTH_MAX) {
		if (w->b->err == ERR_OK)
			w->b->err = ERR_LIMIT;
		return;
	}
	w->depth++;
	w->comma[w->depth] = false;
	w->array[w->depth] = array;
}

void
jw_obj(struct jw *w, const char *key)
{
	jw_open(w, key, false);
}

void
jw_arr(struct jw *w, const char *key)
{
	jw_open(w, key, true);
}

void
jw_end(struct jw *w)
{
	if (w->depth == 0) {
		REQUIRE(w->b->err != ERR_OK); /* more ends than beginnings */
		return;
	}
	buf_u8(w->b, w->array[w->depth] ? ']' : '}');
	w->depth--;
}

void
jw_strn(struct jw *w, const char *key, struct slice v)
{
	jw_next(w, key);
	jw_text(w->b, v);
}

void
jw_str(struct jw *w, const char *key, const char *v)
{
	if (v == NULL)
		jw_null(w, key);
	else
		jw_strn(w, key, slice_str(v));
}

void
jw_u64(struct jw *w, const char *key, uint64_t v)
{
	jw_next(w, key);
	buf_printf(w->b, "%llu", (unsigned long long)v);
}

void
jw_i64(struct jw *w, const char *key, int64_t v)
{
	jw_next(w, key);
	buf_printf(w->b, "%lld", (long long)v);
}

void
jw_f64(struct jw *w, const char *key, double v)
{
	char text[40];
	double back;

	if (!isfinite(v)) {
		jw_null(w, key);
		return;
	}
	jw_next(w, key);
	if (v == floor(v) && fabs(v) < 1e15) {
		buf_printf(w->b, "%.1f", v);
		return;
	}
	/* The shorter form if it reads back as the same number. */
	(void)snprintf(text, sizeof(text), "%.15g", v);
	if (num_f64(slice_str(text), &back) != ERR_OK || back != v)
		(void)snprintf(text, sizeof(text), "%.17g", v);
	buf_put_str(w->b, text);
}

void
jw_bool(struct jw *w, const char *key, bool v)
{
	jw_next(w, key);
	buf_put_str(w->b, v ? "true" : "false");
}

void
jw_null(struct jw *w, const char *key)
{
	jw_next(w, key);
	buf_put_str(w->b, "null");
}

static void
jw_bin(struct jw *w, const char *key, struct slice v)
{
	char hex[2 * 64 + 1];

	jw_next(w, key);
	buf_u8(w->b, '"');
	while (v.n > 0) {
		struct slice part = slice_of(v.p, v.n < 64 ? v.n : 64);

		enc_hex(part, hex);
		buf_put_str(w->b, hex);
		v = slice_of(v.p + part.n, v.n - part.n);
	}
	buf_u8(w->b, '"');
}

static void
jw_int(struct jw *w, const char *key, struct mp_doc *d, const struct mp_node *v)
{
	int64_t i = mp_i64(d, v);

	if (d->err == ERR_OK) {
		jw_i64(w, key, i);
		return;
	}
	d->err = ERR_OK;
	jw_u64(w, key, mp_u64(d, v, UINT64_MAX));
}

static void jw_node(
    struct jw *w, const char *key, struct mp_doc *d, const struct mp_node *v);

static void
jw_map(struct jw *w, const char *key, struct mp_doc *d, const struct mp_node *v)
{
	uint32_t i, n = mp_len(v);

	jw_obj(w, key);
	for (i = 0; i < n; i++) {
		struct slice k;
		const struct mp_node *m = mp_member(v, i, &k);
		struct buf name = BUF_MAX(k.n + 1);

		buf_put_slice(&name, k);
		jw_node(w, buf_cstr(&name), d, m);
		buf_fini(&name);
	}
	jw_end(w);
}

static void
jw_node(
    struct jw *w, const char *key, struct mp_doc *d, const struct mp_node *v)
{
	uint32_t i;

	switch (mp_type(v)) {
	case MP_NONE:
	case MP_NIL: jw_null(w, key); break;
	case MP_BOOL: jw_bool(w, key, mp_bool(d, v)); break;
	case MP_INT: jw_int(w, key, d, v); break;
	case MP_F64: jw_f64(w, key, mp_f64(d, v)); break;
	case MP_STR: jw_strn(w, key, mp_str(d, v, SIZE_MAX)); break;
	case MP_BIN: jw_bin(w, key, mp_bin(d, v, SIZE_MAX)); break;
	case MP_ARRAY:
		jw_arr(w, key);
		for (i = 0; i < mp_len(v); i++)
			jw_node(w, NULL, d, mp_at(v, i));
		jw_end(w);
		break;
	case MP_MAP: jw_map(w, key, d, v); break;
	}
}

void
jw_mp(struct jw *w, const char *key, struct slice mp)
{
	static const struct mp_limits lim = { 1u << 20, 65536, 16 };
	struct mp_doc d = { 0 };

	if (mp.n == 0 || mp_parse(mp, &lim, &d) != ERR_OK) {
		jw_null(w, key);
		return;
	}
	jw_node(w, key, &d, d.root);
	mp_doc_fini(&d);
}
