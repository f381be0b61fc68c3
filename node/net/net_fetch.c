/* node/net/net_fetch.c: somebody waits for content that is not here.
 *
 * Happy path: the chunks are wanted in class interactive; each one that is
 * durable is ticked off, and the caller goes on when none is left.
 * Failure modes: nothing came for the time given: what is left is not wanted
 * any more, unless the subscription wants it too; a full store is told at
 * once.  Peers with an address that are not connected are dialled first. */
#include "node/net/net_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "store/base/clock.h"

struct net_fetch {
	struct net_fetch *next;
	const struct net_fetch_opts *o;
	bool *here;
	uint32_t left;
};

static int
fetch_cmp(const void *key, const void *item)
{
	return memcmp(
	    key, ((const struct op_chunk *)item)->cid.b, sizeof(struct cry_id));
}

static void
fetch_tell(struct net *n, const struct net_fetch *f, bool want)
{
	struct repl_event ev = { .kind = want ? RE_WANT : RE_UNWANT,
		.cls = REPL_INTERACTIVE,
		.share = f->o->share,
		.compartment = f->o->compartment };
	uint32_t i;

	for (i = 0; i < f->o->n; i++) {
		if (f->here[i])
			continue;
		ev.cid = f->o->chunk[i].cid;
		ev.c_len = f->o->chunk[i].c_len;
		net_step(n, &ev);
	}
}

/* --- on the loop --- */

void
net_fetch_begin(struct net *n, struct net_fetch *f)
{
	f->next = n->fetches;
	n->fetches = f;
	fetch_tell(n, f, true);
	net_book_now(n);
}

void
net_fetch_end(struct net *n, struct net_fetch *f)
{
	struct net_fetch **at = &n->fetches;

	while (*at != NULL && *at != f)
		at = &(*at)->next;
	if (*at != NULL)
		*at = f->next;
	if (f->left == 0)
		return;
	fetch_tell(n, f, false);
	n->wants_told = false; /* what is wanted all the same */
	atomic_store(&n->news, true);
}

void
net_fetch_again(struct net *n)
{
	const struct net_fetch *f;

	for (f = n->fetches; f != NULL; f = f->next)
		fetch_tell(n, f, true);
}

void
net_fetch_came(struct net *n, const struct cry_id *cid)
{
	struct net_fetch *f;
	bool any = false;

	for (f = n->fetches; f != NULL; f = f->next) {
		const struct op_chunk *c =
		    bsearch(cid, f->o->chunk, f->o->n, sizeof(*c), fetch_cmp);

		if (c == NULL || f->here[c - f->o->chunk])
			continue;
		pthread_mutex_lock(&n->box_lock);
		f->here[c - f->o->chunk] = true;
		f->left--;
		pthread_mutex_unlock(&n->box_lock);
		any = true;
	}
	if (any)
		pthread_cond_broadcast(&n->box_cond);
}

/* --- the caller --- */

static void
fetch_post(struct net *n, enum net_mail_kind kind, struct net_fetch *f,
    struct net_mail *m, bool *done)
{
	m->kind = kind;
	m->fetch = f;
	m->done = done;
	net_post(n, m);
}

/* Until nothing is left, or nothing came for so long. */
static enum err
fetch_wait(struct net *n, const struct net_fetch *f)
{
	uint64_t at = clock_mono_ms() + f->o->quiet_ms;
	uint32_t left = f->left;
	enum err e = ERR_OK;

	while (f->left > 0 && e == ERR_OK) {
		struct timespec until = { .tv_sec = (time_t)(at / 1000),
			.tv_nsec = (long)(at % 1000) * 1000000 };

		if (pthread_cond_timedwait(
			&n->box_cond, &n->box_lock, &until) == ETIMEDOUT)
			e = f->left > 0 ? ERR_TIMEOUT : ERR_OK;
		if (f->left != left)
			at = clock_mono_ms() + f->o->quiet_ms;
		left = f->left;
	}
	return e;
}

enum err
net_fetch(struct net *n, const struct net_fetch_opts *o, uint32_t *left)
{
	struct net_fetch f = { .o = o, .left = o->n };
	struct net_mail *begin = mem_new(sizeof(*begin));
	struct net_mail *end = mem_new(sizeof(*end));
	bool done = false;
	enum err e = ERR_NOMEM;

	*left = o->n;
	f.here = mem_array(o->n > 0 ? o->n : 1, sizeof(*f.here));
	if (begin == NULL || end == NULL || f.here == NULL) {
		mem_free(begin);
		mem_free(end);
		goto out;
	}
	fetch_post(n, MAIL_FETCH, &f, begin, NULL);
	pthread_mutex_lock(&n->box_lock);
	e = fetch_wait(n, &f);
	pthread_mutex_unlock(&n->box_lock);
	fetch_post(n, MAIL_FETCH_END, &f, end, &done);
	pthread_mutex_lock(&n->box_lock);
	while (!done)
		pthread_cond_wait(&n->box_cond, &n->box_lock);
	pthread_mutex_unlock(&n->box_lock);
	*left = f.left;
	if (e != ERR_OK && store_quota_full(n->store))
		e = ERR_FULL;
out:
	mem_free(f.here);
	return e;
}
