/* node/imaging/helper/content.c: see content.h; PS3.5 table 6.2-1.  Nothing
 * here fails: what is not well-formed is false. */
#include "node/imaging/helper/content.h"

#define CODE_MAX 16u
#define NUMBER_MAX 32u /* 16 by the standard; real writers go beyond */

static bool
only(struct slice s, size_t max, const char *set)
{
	if (s.n > max)
		return false;
	for (size_t k = 0; k < s.n; k++)
		if (s.p[k] == 0 || strchr(set, s.p[k]) == NULL)
			return false;
	return true;
}

bool
content_is_number(struct slice all)
{
	struct slice v;

	for (uint32_t k = 0; dcm_nth(all, k, &v); k++)
		if (!only(v, NUMBER_MAX, "0123456789+-.eE"))
			return false;
	return true;
}

bool
content_is_code(struct slice all)
{
	struct slice v;

	for (uint32_t k = 0; dcm_nth(all, k, &v); k++)
		if (!only(
			v, CODE_MAX, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_ "))
			return false;
	return true;
}

bool
content_is_uid(struct slice one)
{
	return one.n > 0 && only(one, IMG_UID_MAX, "0123456789.");
}

bool
content_age(struct slice one, char *out)
{
	static const char units[] = "DWMY";
	static const unsigned a_year[] = { 365, 52, 12, 1 };
	const char *unit;
	unsigned n = 0;

	if (one.n != 4)
		return false;
	for (size_t k = 0; k < 3; k++) {
		if (one.p[k] < '0' || one.p[k] > '9')
			return false;
		n = n * 10 + (one.p[k] - (unsigned)'0');
	}
	unit = one.p[3] == 0 ? NULL : strchr(units, one.p[3]);
	if (unit == NULL)
		return false;
	memcpy(out, one.p, 4);
	/* 999 months are below 90 years, so only years can be above. */
	if (n / a_year[unit - units] > 89)
		memcpy(out, "090Y", 4);
	out[4] = '\0';
	return true;
}
