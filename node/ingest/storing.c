/* node/ingest/storing.c: an association whose sender goes on while we store.
 *
 * Happy path: the association's thread puts objects in a short queue and goes
 * back to the helper; a second thread takes all that wait, stores them in one
 * commit and answers each.  The longer a commit takes, the more share the
 * next one.
 * Failure modes: a helper that is gone makes the answers fail, and with the
 * first that does the queue refuses more.  What was not begun is dropped at
 * the end: nobody was told that it is here. */
#include "node/ingest/ingest_internal.h"
#include "node/ops/log.h"
#include "store/base/mem.h"

_Static_assert(IMG_WINDOW_MAX <= ADMIT_MANY, "one commit takes them all");

struct waiting {
	struct img_held *held;
	char subject[CAT_KEY_MAX + 1];
};

struct storing {
	struct ingest *g;
	const struct sink *sink;
	struct imaging *im;
	pthread_t thread;
	pthread_mutex_t mu;
	pthread_cond_t more; /* for the thread */
	pthread_cond_t less; /* for who puts */
	struct waiting queue[IMG_WINDOW_MAX];
	uint32_t n;
	uint64_t bytes;
	bool ending;
	enum err e; /* the first answer that failed */
	struct assoc_tally tally;
};

uint16_t
assoc_count(struct assoc_tally *t, const struct sink *k, enum err e,
    const struct admitted *in)
{
	if (e != ERR_OK) {
		t->refused++;
		log_error("ingest", "object refused", "ae=\"%s\" cause=\"%s\"",
		    k->calling_ae, err_text(e));
	} else if (in->state == ADMIT_DUPLICATE) {
		t->duplicates++;
	} else {
		t->stored++;
	}
	switch ((int)e) {
	case ERR_OK: return IMG_STATUS_OK;
	case ERR_FULL:
	case ERR_BUSY:
	case ERR_NOMEM:
	case ERR_CANCELLED:
	case ERR_LIMIT: return IMG_STATUS_OUT_OF_RESOURCES;
	default: return 0xC000u; /* cannot understand (PS3.4 B.2.3) */
	}
}

/* All of them in one commit, each with its answer. */
static enum err
group_store(struct storing *s, struct waiting *group, uint32_t n)
{
	struct admit_one list[IMG_WINDOW_MAX] = { 0 };
	enum err e = ERR_OK;
	uint32_t i;

	for (i = 0; i < n; i++) {
		list[i].o = img_held_object(group[i].held);
		list[i].subject = group[i].subject;
	}
	admit_many(s->g, s->sink, list, n);
	for (i = 0; i < n; i++) {
		uint16_t status =
		    assoc_count(&s->tally, s->sink, list[i].e, &list[i].out);

		if (e == ERR_OK)
			e = imaging_answer_stored(s->im, status);
		img_held_free(group[i].held);
	}
	return e;
}

/* Takes all that wait; false: nothing does, and nothing will. */
static bool
group_take(struct storing *s, struct waiting *group, uint32_t *n)
{
	pthread_mutex_lock(&s->mu);
	while (s->n == 0 && !s->ending)
		pthread_cond_wait(&s->more, &s->mu);
	*n = s->n;
	memcpy(group, s->queue, s->n * sizeof(*group));
	s->n = 0;
	s->bytes = 0;
	pthread_cond_signal(&s->less);
	pthread_mutex_unlock(&s->mu);
	return *n > 0;
}

static void *
storing_main(void *arg)
{
	struct waiting group[IMG_WINDOW_MAX];
	struct storing *s = arg;
	uint32_t n;
	enum err e;

	while (group_take(s, group, &n)) {
		e = group_store(s, group, n);
		pthread_mutex_lock(&s->mu);
		if (s->e == ERR_OK)
			s->e = e;
		pthread_cond_signal(&s->less);
		pthread_mutex_unlock(&s->mu);
	}
	return NULL;
}

enum err
storing_new(struct ingest *g, const struct sink *k, struct imaging *im,
    struct storing **out)
{
	struct storing *s = mem_new(sizeof(*s));

	if (s == NULL)
		return ERR_NOMEM;
	s->g = g;
	s->sink = k;
	s->im = im;
	(void)pthread_mutex_init(&s->mu, NULL);
	(void)pthread_cond_init(&s->more, NULL);
	(void)pthread_cond_init(&s->less, NULL);
	if (pthread_create(&s->thread, NULL, storing_main, s) != 0) {
		mem_free(s);
		return ERR_NOMEM;
	}
	*out = s;
	return ERR_OK;
}

/* One large object waits alone: the bytes are in memory. */
static bool
storing_full(const struct storing *s)
{
	return s->n == IMG_WINDOW_MAX ||
	       (s->n > 0 && s->bytes >= ADMIT_MANY_BYTES);
}

enum err
storing_put(struct storing *s, struct img_held *held, const char *subject)
{
	struct waiting *w;
	enum err e;

	pthread_mutex_lock(&s->mu);
	while (s->e == ERR_OK && storing_full(s))
		pthread_cond_wait(&s->less, &s->mu);
	e = s->e;
	if (e == ERR_OK) {
		w = &s->queue[s->n++];
		w->held = held;
		(void)snprintf(w->subject, sizeof(w->subject), "%s", subject);
		s->bytes += img_held_object(held)->original.n;
		pthread_cond_signal(&s->more);
	}
	pthread_mutex_unlock(&s->mu);
	return e;
}

void
storing_end(struct storing *s, struct assoc_tally *tally)
{
	uint32_t i;

	if (s == NULL)
		return;
	pthread_mutex_lock(&s->mu);
	for (i = 0; i < s->n; i++)
		img_held_free(s->queue[i].held);
	s->n = 0;
	s->ending = true;
	pthread_cond_signal(&s->more);
	pthread_mutex_unlock(&s->mu);
	(void)pthread_join(s->thread, NULL);
	*tally = s->tally;
	(void)pthread_cond_destroy(&s->less);
	(void)pthread_cond_destroy(&s->more);
	(void)pthread_mutex_destroy(&s->mu);
	mem_free(s);
}
