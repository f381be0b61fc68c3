/* node/imaging/helper/dates.c: see dates.h; PS3.5 table 6.2-1 for the
 * writings.  Nothing here fails: what is not well-formed is false. */
#include "node/imaging/helper/dates.h"

#include <stdio.h>

#define DAYS_PER_ERA 146097 /* 400 years */

static bool
digits(struct slice s, size_t at, size_t n, int32_t *out)
{
	if (at + n > s.n)
		return false;
	*out = 0;
	for (size_t k = at; k < at + n; k++) {
		if (s.p[k] < '0' || s.p[k] > '9')
			return false;
		*out = *out * 10 + (s.p[k] - '0');
	}
	return true;
}

/* Howard Hinnant, "chrono-compatible low-level date algorithms": a year
 * begins in March, so that the leap day is its last. */
static int32_t
to_days(int32_t y, int32_t m, int32_t d)
{
	int32_t era, yoe, doy;

	y -= m <= 2;
	era = y / 400;
	yoe = y - era * 400;
	doy = (153 * (m > 2 ? m - 3 : m + 9) + 2) / 5 + d - 1;
	return era * DAYS_PER_ERA + yoe * 365 + yoe / 4 - yoe / 100 + doy -
	       719468;
}

static void
from_days(int32_t days, int32_t *y, int32_t *m, int32_t *d)
{
	int32_t z = days + 719468;
	int32_t era = z / DAYS_PER_ERA;
	int32_t doe = z - era * DAYS_PER_ERA;
	int32_t yoe =
	    (doe - doe / 1460 + doe / 36524 - doe / (DAYS_PER_ERA - 1)) / 365;
	int32_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	int32_t mp = (5 * doy + 2) / 153;

	*d = doy - (153 * mp + 2) / 5 + 1;
	*m = mp < 10 ? mp + 3 : mp - 9;
	*y = yoe + era * 400 + (*m <= 2);
}

bool
dates_parse(struct slice s, int32_t *days)
{
	bool dots = s.n == 10 && s.p[4] == '.' && s.p[7] == '.';
	int32_t y, m, d, y2, m2, d2;

	if (s.n != 8 && !dots)
		return false;
	if (!digits(s, 0, 4, &y) || !digits(s, dots ? 5 : 4, 2, &m) ||
	    !digits(s, dots ? 8 : 6, 2, &d))
		return false;
	if (y < 1000 || m < 1 || m > 12 || d < 1 || d > 31)
		return false;
	*days = to_days(y, m, d);
	from_days(*days, &y2, &m2, &d2);
	return y == y2 && m == m2 && d == d2; /* no 30 February */
}

/* HH[MM[SS[.F]]], and ACR-NEMA's HH:MM:SS. */
static bool
is_time(struct slice s)
{
	static const int32_t most[] = { 23, 59, 60 };
	size_t at = 0;
	int32_t v;

	for (size_t part = 0; part < 3 && at < s.n && s.p[at] != '.'; part++) {
		if (part > 0 && s.p[at] == ':')
			at++;
		if (!digits(s, at, 2, &v) || v > most[part])
			return false;
		at += 2;
	}
	if (at == s.n)
		return at > 0;
	return s.p[at] == '.' && at >= 6 && s.n - at <= 7 &&
	       digits(s, at + 1, s.n - at - 1, &v);
}

/* What follows the eight digits of a DT: time, offset from UTC. */
static bool
is_dt_tail(struct slice s)
{
	int32_t zone;

	if (s.n >= 5 && (s.p[s.n - 5] == '+' || s.p[s.n - 5] == '-')) {
		if (!digits(s, s.n - 4, 4, &zone))
			return false;
		s.n -= 5;
	}
	return s.n == 0 || is_time(s);
}

/* Values that stay as they are: times, the offset of (0008,0201), nothing,
 * the dummy. */
static bool
stays(struct slice one, enum dcm_vr vr)
{
	if (one.n == 0 || slice_eq(one, SLICE_LIT(DATES_DUMMY)))
		return true;
	return vr == VR_TM || vr == VR_SH;
}

bool
dates_shift(struct slice one, enum dcm_vr vr, int32_t days,
    char out[DATES_VALUE_MAX + 1])
{
	struct slice date = one;
	struct slice tail = { 0 };
	int32_t at, y, m, d;

	out[0] = '\0';
	if (one.n > DATES_VALUE_MAX)
		return false;
	if (vr == VR_TM && one.n > 0 && !is_time(one))
		return false;
	if (vr == VR_SH && one.n > 0 && (one.n != 5 || !is_dt_tail(one)))
		return false;
	if (vr == VR_DT && one.n > 8) {
		date.n = 8;
		tail = slice_of(one.p + 8, one.n - 8);
		if (!is_dt_tail(tail))
			return false;
	}
	if (stays(date, vr)) {
		(void)snprintf(out, DATES_VALUE_MAX + 1, "%.*s", (int)one.n,
		    (const char *)one.p);
		return true;
	}
	if (!dates_parse(date, &at))
		return false;
	from_days(at + days, &y, &m, &d);
	(void)snprintf(out, DATES_VALUE_MAX + 1, "%04d%02d%02d%.*s", y, m, d,
	    (int)tail.n, tail.n > 0 ? (const char *)tail.p : "");
	return true;
}
