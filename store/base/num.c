/* store/base/num.c: whole-input number parsing without locale. */
#include "store/base/num.h"

#include <errno.h>
#include <math.h>

enum err
num_u64(struct slice s, uint64_t min, uint64_t max, uint64_t *out)
{
	uint64_t v = 0;
	size_t i;

	if (s.n == 0)
		return ERR_MALFORMED;
	for (i = 0; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return ERR_MALFORMED;
		if (__builtin_mul_overflow(v, 10u, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(s.p[i] - '0'), &v))
			return ERR_LIMIT;
	}
	if (v < min || v > max)
		return ERR_LIMIT;
	*out = v;
	return ERR_OK;
}

enum err
num_i64(struct slice s, int64_t min, int64_t max, int64_t *out)
{
	bool neg = s.n > 0 && s.p[0] == '-';
	const uint64_t most = (uint64_t)INT64_MAX + (neg ? 1u : 0u);
	uint64_t u;
	int64_t v;
	enum err e;

	if (neg)
		s = slice_of(s.p + 1, s.n - 1);
	e = num_u64(s, 0, most, &u);
	if (e != ERR_OK)
		return e;
	/* -INT64_MIN does not exist: step over it. */
	v = neg && u > 0 ? -(int64_t)(u - 1) - 1 : (int64_t)u;
	if (v < min || v > max)
		return ERR_LIMIT;
	*out = v;
	return ERR_OK;
}

enum err
num_f64(struct slice s, double *out)
{
	char text[64];
	char *end;
	double v;
	size_t i;

	if (s.n == 0 || s.n >= sizeof(text))
		return ERR_MALFORMED;
	for (i = 0; i < s.n; i++) {
		/* strtod would also take hex, inf, nan and spaces */
		if (memchr("0123456789+-.eE", s.p[i], 15) == NULL)
			return ERR_MALFORMED;
	}
	memcpy(text, s.p, s.n);
	text[s.n] = '\0';
	errno = 0;
	v = strtod(text, &end);
	if (end != text + s.n || !isfinite(v))
		return ERR_MALFORMED;
	*out = v;
	return ERR_OK;
}

static enum err
num_scaled(struct slice s, uint64_t scale, uint64_t max, uint64_t *out)
{
	uint64_t v = 0;
	enum err e = num_u64(s, 0, max / scale, &v);

	if (e == ERR_OK)
		*out = v * scale;
	return e;
}

enum err
num_duration_s(struct slice s, uint64_t max, uint64_t *out)
{
	struct slice head;

	if (s.n < 2)
		return ERR_MALFORMED;
	head = slice_of(s.p, s.n - 1);
	switch (s.p[s.n - 1]) {
	case 's': return num_scaled(head, 1, max, out);
	case 'm': return num_scaled(head, 60, max, out);
	case 'h': return num_scaled(head, 3600, max, out);
	case 'd': return num_scaled(head, 86400, max, out);
	default: return ERR_MALFORMED;
	}
}

enum err
num_bytes(struct slice s, uint64_t max, uint64_t *out)
{
	struct slice head;

	if (s.n == 0)
		return ERR_MALFORMED;
	head = slice_of(s.p, s.n - 1);
	switch (s.p[s.n - 1]) {
	case 'k': return num_scaled(head, 1024, max, out);
	case 'm': return num_scaled(head, 1048576, max, out);
	case 'g': return num_scaled(head, 1073741824, max, out);
	default: return num_u64(s, 0, max, out);
	}
}

bool
num_add(size_t a, size_t b, size_t *out)
{
	return !__builtin_add_overflow(a, b, out);
}

bool
num_mul(size_t a, size_t b, size_t *out)
{
	return !__builtin_mul_overflow(a, b, out);
}
