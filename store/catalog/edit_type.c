/* store/catalog/edit_type.c: types of fields, and texts as values of them.
 *
 * A type is declared for a level in a compartment, by a person or by the
 * first use of the field, and decides what `set` takes. */
#include "store/catalog/catalog_internal.h"

static const char *const type_names[] = {
	[CAT_TYPE_NONE] = "",
	[CAT_TYPE_TEXT] = "text",
	[CAT_TYPE_NUMBER] = "number",
	[CAT_TYPE_DATE] = "date",
	[CAT_TYPE_CODE] = "code",
	[CAT_TYPE_UID] = "uid",
};

const char *
cat_type_text(enum cat_type t)
{
	return t <= CAT_TYPE_UID ? type_names[t] : "";
}

enum err
cat_type_parse(struct slice text, enum cat_type *out)
{
	uint32_t i;

	for (i = CAT_TYPE_TEXT; i <= CAT_TYPE_UID; i++) {
		if (slice_eq(text, slice_str(type_names[i]))) {
			*out = (enum cat_type)i;
			return ERR_OK;
		}
	}
	return ERR_MALFORMED;
}

static bool
is_uid(struct slice s)
{
	size_t i, dots = 0;

	if (s.n == 0 || s.n > 64 || s.p[0] == '.' || s.p[s.n - 1] == '.')
		return false;
	for (i = 0; i < s.n; i++) {
		bool dot = s.p[i] == '.';

		if (!dot && (s.p[i] < '0' || s.p[i] > '9'))
			return false;
		if (dot && s.p[i - 1] == '.')
			return false;
		dots += dot ? 1 : 0;
	}
	return dots > 0;
}

static bool
is_code(struct slice s)
{
	size_t i;

	if (s.n == 0 || s.n > 64)
		return false;
	for (i = 0; i < s.n; i++) {
		uint8_t c = s.p[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			(c >= '0' && c <= '9') || c == '.' || c == '_' ||
			c == ':' || c == '+' || c == '-' || c == '/'))
			return false;
	}
	return true;
}

/* DICOM's form without a time is taken too, and written in ISO's. */
static bool
date_text(struct slice s, struct buf *out)
{
	struct val v;

	val_of_text(s, &v);
	if (v.iso) {
		buf_put_slice(out, s);
		return true;
	}
	if (s.n != 8 || v.date[0] == '\0')
		return false;
	buf_printf(out, "%.4s-%.2s-%.2s", v.date, v.date + 4, v.date + 6);
	return true;
}

static bool
fits(enum cat_type t, struct slice s)
{
	struct buf b = BUF_MAX(64);
	double num;
	bool ok = false;

	switch (t) {
	case CAT_TYPE_NONE: return false;
	case CAT_TYPE_TEXT: return s.n <= CAT_VALUE_MAX && put_lines_valid(s);
	case CAT_TYPE_NUMBER: return num_f64(s, &num) == ERR_OK;
	case CAT_TYPE_DATE:
		ok = date_text(s, &b);
		buf_fini(&b);
		return ok;
	case CAT_TYPE_CODE: return is_code(s);
	case CAT_TYPE_UID: return is_uid(s);
	}
	return false;
}

enum cat_type
cat_type_guess(struct slice text)
{
	struct val v;

	val_of_text(text, &v);
	if (v.plain)
		return CAT_TYPE_NUMBER;
	if (v.iso)
		return CAT_TYPE_DATE;
	return is_uid(text) ? CAT_TYPE_UID : CAT_TYPE_TEXT;
}

static void
value_one(enum cat_type t, struct slice s, struct buf *out)
{
	struct buf b = BUF_MAX(64);
	int64_t i;
	double d = 0;

	if (t == CAT_TYPE_NUMBER &&
	    num_i64(s, INT64_MIN, INT64_MAX, &i) == ERR_OK) {
		mp_w_i64(out, i);
	} else if (t == CAT_TYPE_NUMBER) {
		(void)(num_f64(s, &d) == ERR_OK);
		mp_w_f64(out, d);
	} else if (t == CAT_TYPE_DATE) {
		(void)date_text(s, &b);
		mp_w_str(out, buf_slice(&b));
	} else {
		mp_w_str(out, s);
	}
	buf_fini(&b);
}

static const char *
example(enum cat_type t)
{
	switch (t) {
	case CAT_TYPE_NUMBER: return "a number is written 12 or -1.5e3";
	case CAT_TYPE_DATE:
		return "a date is written 2024-01-31 or 2024-01-31T09:30:00";
	case CAT_TYPE_CODE:
		return "a code is one word of letters, digits and . _ : + - /";
	case CAT_TYPE_UID: return "a uid is digits and dots, as 1.2.840.10008";
	case CAT_TYPE_NONE:
	case CAT_TYPE_TEXT: break;
	}
	return "a text is UTF-8 of at most 1024 bytes, without controls";
}

enum err
cat_type_value(enum cat_type t, const struct slice *text, uint32_t n,
    struct buf *out, struct errmsg *em)
{
	size_t start = out->n;
	uint32_t i;

	for (i = 0; i < n; i++) {
		if (!fits(t, text[i]))
			return errmsg_set(em, ERR_MALFORMED, example(t),
			    "the value is not a %s", cat_type_text(t));
	}
	if (n != 1)
		mp_w_array(out, n);
	for (i = 0; i < n; i++)
		value_one(t, text[i], out);
	if (buf_err(out) == ERR_NOMEM)
		return ERR_NOMEM;
	if (buf_err(out) != ERR_OK || out->n - start > CAT_EDIT_VALUE_MAX)
		return errmsg_set(em, ERR_LIMIT,
		    "keep long texts as a document: pesscara import",
		    "a field holds at most %u bytes", CAT_EDIT_VALUE_MAX);
	return ERR_OK;
}
