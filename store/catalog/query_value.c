/* store/catalog/query_value.c: one value against one literal.
 *
 * Dates: an ISO date, or an unquoted one in DICOM form, is compared with
 * whatever reads as a date, to the precision of the literal.  Numbers: an
 * unquoted number is compared with numbers and with texts that read as one.
 * Anything else, and anything quoted, is compared with texts byte by byte.
 * What cannot be compared does not match. */
#include "store/catalog/query_internal.h"

#define INCOMPARABLE 2

static int
num_cmp(double a, double b)
{
	return a < b ? -1 : a > b;
}

static int
date_cmp(const struct val *v, const struct query_lit *lit)
{
	int c = strncmp(v->date, lit->v.date, strlen(lit->v.date));

	return c < 0 ? -1 : c > 0;
}

/* v <=> literal */
static int
lit_cmp(const struct query_lit *lit, const struct val *v)
{
	int c;

	if (lit->dated && v->date[0] != '\0')
		return date_cmp(v, lit);
	if (lit->v.iso || v->kind == VAL_NONE)
		return INCOMPARABLE;
	if (v->kind == VAL_NUM)
		return lit->num_ok ? num_cmp(v->num, lit->num) : INCOMPARABLE;
	if (lit->v.plain && !lit->quoted) {
		if (v->plain)
			return num_cmp(v->plain_num, lit->v.plain_num);
		if (v->iso)
			return num_cmp(val_date_num(v), lit->v.plain_num);
		return INCOMPARABLE;
	}
	c = slice_cmp(v->text, lit->text); /* any size, not only its sign */
	return c < 0 ? -1 : c > 0;
}

static uint8_t
lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c - 'A' + 'a') : c;
}

static bool
text_has(struct slice in, struct slice part)
{
	size_t i, k;

	for (i = 0; part.n <= in.n && i <= in.n - part.n; i++) {
		for (k = 0; k < part.n; k++) {
			if (lower(in.p[i + k]) != lower(part.p[k]))
				break;
		}
		if (k == part.n)
			return true;
	}
	return false;
}

static bool
value_has(const struct query_lit *lit, const struct val *v)
{
	char num[40];

	if (v->kind == VAL_NONE)
		return false;
	if (v->kind == VAL_TEXT)
		return text_has(v->text, lit->text);
	(void)snprintf(num, sizeof(num), "%.15g", v->num);
	return text_has(slice_str(num), lit->text);
}

bool
query_value_match(
    enum query_op op, const struct query_lit *lit, const struct val *v)
{
	int c;

	if (op == QOP_HAS)
		return value_has(lit, v);
	c = lit_cmp(lit, v);
	if (c == INCOMPARABLE)
		return false;
	switch (op) {
	case QOP_EQ: return c == 0;
	case QOP_LT: return c < 0;
	case QOP_LE: return c <= 0;
	case QOP_GT: return c > 0;
	case QOP_GE: return c >= 0;
	case QOP_NE:
	case QOP_HAS: break;
	}
	return false;
}
