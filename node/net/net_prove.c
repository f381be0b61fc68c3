/* node/net/net_prove.c: before a copy goes, others prove that they hold it.
 *
 * Happy path: a challenge for each chunk goes out under a nonce of its own;
 * what comes back is collected on the loop and compared by the caller with
 * what the chunk here gives.  It ends when everybody asked has answered.
 * Failure modes: a peer that says nothing, or lies, is no proof; a chunk that
 * cannot be read here is never let go. */
#include "node/net/net_internal.h"

#include <errno.h>
#include <time.h>

#include "store/base/clock.h"

#define PROVE_QUIET_MS ((uint64_t)3000)
#define ANSWERS_MAX 8u /* kept of a chunk; more are not asked for */

struct prove_chunk {
	struct cry_id nonce;
	uint32_t asked, answered, n;
	struct cry_sign_pk device[ANSWERS_MAX];
	struct cry_id hash[ANSWERS_MAX];
};

/* Guarded by box_lock once it is begun, until it is ended. */
struct net_prove {
	struct net_prove *next;
	const struct net_prove_opts *o;
	struct prove_chunk *chunk; /* o->n */
	uint32_t asked, answered;
	bool begun;
};

/* --- on the loop --- */

void
net_prove_begin(struct net *n, struct net_prove *p)
{
	struct repl_event ev = { .kind = RE_PROVE,
		.share = p->o->share,
		.compartment = p->o->compartment };

	p->next = n->proves;
	n->proves = p;
	for (uint32_t i = 0; i < p->o->n; i++) {
		struct prove_chunk *c = &p->chunk[i];

		pthread_mutex_lock(&n->box_lock);
		c->asked =
		    repl_provers(n->core, &p->o->share, p->o->compartment);
		p->asked += c->asked;
		pthread_mutex_unlock(&n->box_lock);
		ev.cid = p->o->cid[i];
		ev.nonce = c->nonce;
		net_step(n, &ev);
	}
	pthread_mutex_lock(&n->box_lock);
	p->begun = true;
	pthread_mutex_unlock(&n->box_lock);
	pthread_cond_broadcast(&n->box_cond);
}

void
net_prove_end(struct net *n, struct net_prove *p)
{
	struct net_prove **at = &n->proves;

	while (*at != NULL && *at != p)
		at = &(*at)->next;
	if (*at != NULL)
		*at = p->next;
}

static void
prove_take(
    struct net_prove *p, struct prove_chunk *c, const struct repl_effect *fx)
{
	static const struct cry_id none;

	for (uint32_t i = 0; i < c->n; i++)
		if (memcmp(c->device[i].b, fx->device.b, 32) == 0)
			return; /* one vote a device */
	p->answered++;
	c->answered++;
	if (c->n == ANSWERS_MAX || memcmp(fx->hash.b, none.b, 32) == 0)
		return;
	c->device[c->n] = fx->device;
	c->hash[c->n++] = fx->hash;
}

void
net_prove_came(struct net *n, const struct repl_effect *fx)
{
	pthread_mutex_lock(&n->box_lock);
	for (struct net_prove *p = n->proves; p != NULL; p = p->next)
		for (uint32_t i = 0; i < p->o->n; i++)
			if (memcmp(p->chunk[i].nonce.b, fx->nonce.b, 32) == 0 &&
			    memcmp(p->o->cid[i].b, fx->cid.b, 32) == 0)
				prove_take(p, &p->chunk[i], fx);
	pthread_mutex_unlock(&n->box_lock);
	pthread_cond_broadcast(&n->box_cond);
}

/* --- the caller --- */

/* Under box_lock. */
static void
prove_wait(struct net *n, const struct net_prove *p)
{
	uint64_t at = clock_mono_ms() + p->o->quiet_ms;
	uint32_t answered = 0;

	while (!p->begun || p->answered < p->asked) {
		struct timespec until = { .tv_sec = (time_t)(at / 1000),
			.tv_nsec = (long)(at % 1000) * 1000000 };

		if (pthread_cond_timedwait(
			&n->box_cond, &n->box_lock, &until) == ETIMEDOUT)
			return;
		if (p->answered != answered)
			at = clock_mono_ms() + p->o->quiet_ms;
		answered = p->answered;
	}
}

/* Are the answers for chunk i what the bytes here give? */
static enum err
prove_compare(struct net *n, const struct net_prove *p, uint32_t i)
{
	const struct prove_chunk *c = &p->chunk[i];
	struct buf body = BUF_MAX(OP_CHUNK_BYTES_MAX);
	struct cry_id want;
	struct db_txn *t;
	uint32_t good = 0;
	enum err e;

	if (c->n < p->o->copies)
		return ERR_DENIED;
	if ((e = store_read(n->store, &t)) != ERR_OK)
		return e;
	e = blob_chunk_get(n->store, t, &p->o->cid[i], &body);
	db_abort(t);
	for (uint32_t k = 0; e == ERR_OK && k < c->n; k++) {
		repl_proof_hash(
		    &c->nonce, &c->device[k], buf_slice(&body), &want);
		good += memcmp(want.b, c->hash[k].b, 32) == 0;
	}
	buf_fini(&body);
	if (e != ERR_OK && e != ERR_NOMEM)
		return ERR_DENIED; /* damaged here: for repair, not for gc */
	return e == ERR_OK && good < p->o->copies ? ERR_DENIED : e;
}

static void
prove_post(struct net *n, enum net_mail_kind kind, struct net_prove *p,
    struct net_mail *m, bool *done)
{
	m->kind = kind;
	m->prove = p;
	m->done = done;
	net_post(n, m);
}

enum err
net_prove(struct net *n, const struct net_prove_opts *o)
{
	struct net_prove p = { .o = o };
	struct net_mail *begin = mem_new(sizeof(*begin));
	struct net_mail *end = mem_new(sizeof(*end));
	bool done = false;
	enum err e = ERR_OK;

	REQUIRE(o->n > 0 && o->n <= NET_PROVE_CHUNKS);
	p.chunk = mem_array(o->n, sizeof(*p.chunk));
	if (begin == NULL || end == NULL || p.chunk == NULL) {
		mem_free(begin);
		mem_free(end);
		mem_free(p.chunk);
		return ERR_NOMEM;
	}
	for (uint32_t i = 0; i < o->n; i++)
		cry_random(p.chunk[i].nonce.b, 32);
	prove_post(n, MAIL_PROVE, &p, begin, NULL);
	pthread_mutex_lock(&n->box_lock);
	prove_wait(n, &p);
	pthread_mutex_unlock(&n->box_lock);
	prove_post(n, MAIL_PROVE_END, &p, end, &done);
	pthread_mutex_lock(&n->box_lock);
	while (!done)
		pthread_cond_wait(&n->box_cond, &n->box_lock);
	pthread_mutex_unlock(&n->box_lock);
	if (p.answered == 0)
		e = ERR_TIMEOUT;
	for (uint32_t i = 0; e == ERR_OK && i < o->n; i++)
		e = prove_compare(n, &p, i);
	mem_free(p.chunk);
	return e;
}

enum err
net_proven(void *ctx, const struct share_id *share, uint16_t compartment,
    const struct cry_id *cid, uint32_t n)
{
	const struct net_proven *k = ctx;
	const struct net_prove_opts o = { .share = *share,
		.compartment = compartment,
		.cid = cid,
		.n = n,
		.copies = k->copies,
		.quiet_ms = PROVE_QUIET_MS };

	return net_prove(k->net, &o);
}
