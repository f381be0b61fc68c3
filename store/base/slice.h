/* store/base/slice.h: borrowed bytes. */
#ifndef PSC_BASE_SLICE_H
#define PSC_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Borrows p[0..n).  p may be NULL when n is 0. */
struct slice {
	const uint8_t *p;
	size_t n;
};

#define SLICE_LIT(s) ((struct slice){ (const uint8_t *)(s), sizeof(s) - 1 })

static inline struct slice
slice_of(const void *p, size_t n)
{
	struct slice s = { (const uint8_t *)p, n };

	return s;
}

static inline struct slice
slice_str(const char *s)
{
	return slice_of(s, strlen(s));
}

static inline bool
slice_eq(struct slice a, struct slice b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* Lexicographic, shorter first: the order LMDB uses for keys. */
int slice_cmp(struct slice a, struct slice b);

#endif
