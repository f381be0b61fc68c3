/* store/catalog/value.c: what a field's value means when it is compared.
 *
 * A scalar is a number or a text.  A text may also read as a number ("1.5",
 * as DICOM's DS and IS are written; not "003", which is an identifier) and
 * as a date ("20240131", "20240131093000.1", "2024-01-31",
 * "2024-01-31T09:30:00Z").  The index holds one code for each reading, so a
 * query literal of any kind finds its values; query_value.c then decides. */
#include "store/catalog/catalog_internal.h"

static bool
digits(const uint8_t *p, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		if (p[i] < '0' || p[i] > '9')
			return false;
	}
	return true;
}

static unsigned
two(const char *p)
{
	return (unsigned)(p[0] - '0') * 10 + (unsigned)(p[1] - '0');
}

static bool
date_real(const char *d)
{
	unsigned century = two(d), month = two(d + 4), day = two(d + 6);

	return century >= 10 && month >= 1 && month <= 12 && day >= 1 &&
	       day <= 31;
}

static void
date_set(struct val *v, const char *d, size_t n)
{
	if (!date_real(d))
		return;
	memcpy(v->date, d, n);
	v->date[n] = '\0';
}

/* YYYYMMDD, YYYYMMDDHHMMSS with fraction or offset (PS3.5 DA, DT). */
static void
date_dicom(struct val *v, struct slice s)
{
	char d[VAL_DATE_MAX + 1] = "";
	bool day = s.n == 8 && digits(s.p, 8);
	bool time =
	    s.n >= 14 && s.n <= 26 && digits(s.p, 14) &&
	    (s.n == 14 || s.p[14] == '.' || s.p[14] == '+' || s.p[14] == '-');

	if (!day && !time)
		return;
	memcpy(d, s.p, day ? 8 : 14);
	date_set(v, d, day ? 8 : 14);
}

static bool
iso_day(struct slice s)
{
	return s.n >= 10 && digits(s.p, 4) && s.p[4] == '-' &&
	       digits(s.p + 5, 2) && s.p[7] == '-' && digits(s.p + 8, 2);
}

static bool
iso_time(struct slice s)
{
	return s.n >= 19 && s.n <= 32 && (s.p[10] == 'T' || s.p[10] == ' ') &&
	       digits(s.p + 11, 2) && s.p[13] == ':' && digits(s.p + 14, 2) &&
	       s.p[16] == ':' && digits(s.p + 17, 2);
}

static void
date_iso(struct val *v, struct slice s)
{
	char d[VAL_DATE_MAX + 1] = "";
	bool time;

	if (!iso_day(s))
		return;
	time = iso_time(s);
	if (s.n != 10 && !time)
		return;
	memcpy(d, s.p, 4);
	memcpy(d + 4, s.p + 5, 2);
	memcpy(d + 6, s.p + 8, 2);
	if (time) {
		memcpy(d + 8, s.p + 11, 2);
		memcpy(d + 10, s.p + 14, 2);
		memcpy(d + 12, s.p + 17, 2);
	}
	date_set(v, d, time ? 14 : 8);
	v->iso = v->date[0] != '\0';
}

static bool
leading_zero(struct slice s)
{
	size_t i = s.n > 0 && (s.p[0] == '-' || s.p[0] == '+') ? 1 : 0;

	return s.n > i + 1 && s.p[i] == '0' && s.p[i + 1] >= '0' &&
	       s.p[i + 1] <= '9';
}

void
val_of_text(struct slice text, struct val *out)
{
	memset(out, 0, sizeof(*out));
	out->kind = VAL_TEXT;
	out->text = text;
	out->plain = text.n > 0 && text.n <= 64 && !leading_zero(text) &&
		     num_f64(text, &out->plain_num) == ERR_OK;
	date_dicom(out, text);
	if (out->date[0] == '\0')
		date_iso(out, text);
}

static void
val_of_num(double v, struct val *out)
{
	char d[32];
	int n;

	out->kind = VAL_NUM;
	out->num = v;
	if (v < 10000101 || v > 99991231 || v != (double)(uint32_t)v)
		return;
	n = snprintf(d, sizeof(d), "%u", (unsigned)v);
	if (n == 8)
		date_set(out, d, 8);
}

void
val_of_node(const struct mp_node *scalar, struct val *out)
{
	struct mp_doc d = { 0 };

	memset(out, 0, sizeof(*out));
	switch (mp_type(scalar)) {
	case MP_STR: val_of_text(mp_str(&d, scalar, CAT_VALUE_MAX), out); break;
	case MP_INT:
	case MP_F64: val_of_num(mp_f64(&d, scalar), out); break;
	case MP_BOOL:
		val_of_text(mp_bool(&d, scalar) ? SLICE_LIT("true")
						: SLICE_LIT("false"),
		    out);
		break;
	case MP_NONE:
	case MP_NIL:
	case MP_BIN:
	case MP_ARRAY:
	case MP_MAP: break;
	}
}

double
val_date_num(const struct val *v)
{
	uint64_t n = 0;
	size_t i;

	for (i = 0; i < 8 && v->date[i] != '\0'; i++)
		n = n * 10 + (uint64_t)(v->date[i] - '0');
	return (double)n;
}

/* --- index codes --- */

/* Doubles sort as their bits do, once the sign is dealt with. */
static uint64_t
num_order(double v)
{
	uint64_t bits;
	double x = v == 0.0 ? 0.0 : v; /* -0 is 0 */

	memcpy(&bits, &x, sizeof(bits));
	return bits >> 63 != 0 ? ~bits : bits | (uint64_t)1 << 63;
}

void
ix_code_num(uint8_t kind, double v, struct ix_code *out)
{
	uint64_t o = num_order(v);
	size_t i;

	out->b[0] = kind;
	for (i = 0; i < 8; i++)
		out->b[1 + i] = (uint8_t)(o >> (56 - 8 * i));
	out->n = 9;
}

void
ix_code_text(struct slice s, struct ix_code *out)
{
	size_t n = s.n < IX_TEXT_BYTES ? s.n : IX_TEXT_BYTES;

	out->b[0] = 't';
	if (n > 0)
		memcpy(out->b + 1, s.p, n);
	out->b[1 + n] = 0; /* texts hold no NUL: the shorter sorts first */
	out->n = n + 2;
}

uint32_t
ix_codes(const struct val *v, struct ix_code out[IX_CODES_MAX])
{
	uint32_t n = 0;

	if (v->kind == VAL_TEXT)
		ix_code_text(v->text, &out[n++]);
	if (v->kind == VAL_NUM)
		ix_code_num('n', v->num, &out[n++]);
	else if (v->kind == VAL_TEXT && v->plain)
		ix_code_num('n', v->plain_num, &out[n++]);
	else if (v->kind == VAL_TEXT && v->iso)
		ix_code_num('n', val_date_num(v), &out[n++]);
	if (v->date[0] != '\0')
		ix_code_num('d', val_date_num(v), &out[n++]);
	return n;
}
