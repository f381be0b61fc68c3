/* store/blob/blob_pool.c: codecs between two uses.  A codec has tables and
 * scratch that take longer to make than a small piece takes to code, so a few
 * are kept; one that has grown large on a large piece is not. */
#include "store/blob/blob_internal.h"

#include <pthread.h>

#define IDLE_MAX 3u               /* two workers and a reader */
#define IDLE_BYTES_MAX (12 * MIB) /* after pieces of 1 MiB: 7 to 11 */

struct codec_pool {
	pthread_mutex_t lock;
	struct codec *idle[IDLE_MAX];
	unsigned n;
};

struct codec_pool *
codec_pool_new(void)
{
	struct codec_pool *p = mem_new(sizeof(*p));

	if (p != NULL)
		pthread_mutex_init(&p->lock, NULL);
	return p;
}

void
codec_pool_free(struct codec_pool *p)
{
	if (p == NULL)
		return;
	while (p->n > 0)
		codec_free(p->idle[--p->n]);
	pthread_mutex_destroy(&p->lock);
	mem_free(p);
}

struct codec *
codec_take(struct codec_pool *p)
{
	struct codec *c = NULL;

	pthread_mutex_lock(&p->lock);
	if (p->n > 0)
		c = p->idle[--p->n];
	pthread_mutex_unlock(&p->lock);
	return c != NULL ? c : codec_new();
}

void
codec_give(struct codec_pool *p, struct codec *c)
{
	if (c == NULL)
		return;
	if (codec_bytes(c) <= IDLE_BYTES_MAX) {
		pthread_mutex_lock(&p->lock);
		if (p->n < IDLE_MAX) {
			p->idle[p->n++] = c;
			c = NULL;
		}
		pthread_mutex_unlock(&p->lock);
	}
	codec_free(c);
}
