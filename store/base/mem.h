/* store/base/mem.h: the one place memory comes from.
 *
 * Every allocation can fail and returns NULL then; callers return ERR_NOMEM.
 * Tests make the n-th allocation fail with mem_fail_at(). */
#ifndef PSC_BASE_MEM_H
#define PSC_BASE_MEM_H

#include <stddef.h>

void *mem_new(size_t n);                    /* zeroed; n > 0 */
void *mem_array(size_t count, size_t size); /* zeroed; product checked */
/* Grow to count * size; on failure NULL and p stays valid. */
void *mem_grow(void *p, size_t count, size_t size);
char *mem_strdup(const char *s);
void mem_free(void *p); /* NULL ok */

/* Test hook: let n allocations pass, fail the next one; -1 turns it off. */
void mem_fail_at(long n);

#endif
