/* store/base/mem.c: allocation with a checked product and a failure hook.
 * The hook's counter is atomic because tests run worker threads too. */
#include "store/base/mem.h"

#include <stdatomic.h>

#include "store/base/err.h"
#include "store/base/num.h"

static atomic_long mem_countdown = -1;

void
mem_fail_at(long n)
{
	atomic_store(&mem_countdown, n);
}

static bool
mem_must_fail(void)
{
	long n = atomic_load(&mem_countdown);

	if (n < 0)
		return false;
	return atomic_fetch_sub(&mem_countdown, 1) == 0;
}

void *
mem_new(size_t n)
{
	return mem_array(1, n);
}

void *
mem_array(size_t count, size_t size)
{
	REQUIRE(count > 0 && size > 0);
	if (mem_must_fail())
		return NULL;
	return calloc(count, size);
}

void *
mem_grow(void *p, size_t count, size_t size)
{
	size_t n;

	if (mem_must_fail() || !num_mul(count, size, &n) || n == 0)
		return NULL;
	return realloc(p, n);
}

char *
mem_strdup(const char *s)
{
	size_t n = strlen(s) + 1;
	char *p = mem_new(n);

	if (p != NULL)
		memcpy(p, s, n);
	return p;
}

void
mem_free(void *p)
{
	free(p);
}
