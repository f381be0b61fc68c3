/* node/net/air_link.c: the session that a file has with the core.
 *
 * To the core it is a peer like any other: what it says is checked the same
 * way and under the same credit.  What the core says to it is not written
 * anywhere: only what it asks for is answered, from the file, by the thread
 * that reads it.  That thread posts messages and waits for credit; the loop
 * steps the core. */
#include <errno.h>
#include <time.h>

#include "node/net/air_internal.h"
#include "store/base/clock.h"

/* Half of what the core takes: it gives a quarter back at a time. */
static const uint64_t air_window[SESS_CLASSES] = {
	[SESS_CONTROL] = 32 * KIB,
	[SESS_OPS] = 512 * KIB,
	[SESS_BULK] = 4 * MIB,
	[SESS_RELAY] = 0,
};

/* --- on the loop --- */

void
net_air_mail(struct net *n, struct net_mail *m)
{
	struct net_air *a = m->air;
	struct repl_event ev = { .conn = a->conn };

	if (m->kind == MAIL_AIR_UP) {
		if (++n->last_conn == 0)
			n->last_conn = 1;
		a->conn = ev.conn = n->last_conn;
		n->air = a;
		ev.kind = RE_CONN_UP;
		ev.peer = a->peer;
		ev.hash = a->hash;
		ev.all = true; /* no limit of the line holds for it */
	} else if (m->kind == MAIL_AIR_MSG) {
		ev.kind = RE_MSG;
		ev.type = m->type;
		ev.bytes = buf_slice(&m->body);
	} else {
		ev.kind = RE_CONN_DOWN;
		n->air = NULL;
	}
	net_step(n, &ev);
	buf_fini(&m->body);
}

bool
net_air_is(const struct net *n, repl_conn conn)
{
	return n->air != NULL && n->air->conn == conn;
}

/* A GET is within what the core has under way, far below the ring. */
static void
heard_get(struct net_air *a, const struct msg *m)
{
	for (uint32_t i = 0; i < m->n && a->n_asks < AIR_ASKS_MAX; i++) {
		struct air_ask *k =
		    &a->ask[(a->ask_at + a->n_asks++) % AIR_ASKS_MAX];

		k->tag = m->tag;
		k->compartment = m->compartment;
		k->cid = msg_cid_at(m, i);
	}
}

/* Between the effects of a step: the core is not stepped here. */
void
net_air_heard(struct net *n, const struct repl_effect *fx)
{
	struct net_todo t = { .kind = DUE_AIR };
	struct net_air *a = n->air;
	struct msg m;

	if (!msg_is_free(fx->type))
		a->owed[fx->cls] += (uint32_t)fx->bytes.n;
	if (msg_decode(fx->type, fx->bytes, &m) != ERR_OK)
		return; /* our own words: cannot be */
	pthread_mutex_lock(&n->box_lock);
	for (int c = 0; fx->type == MSG_CREDIT && c < SESS_CLASSES; c++)
		a->used[c] -=
		    m.credit[c] < a->used[c] ? m.credit[c] : a->used[c];
	if (fx->type == MSG_GET)
		heard_get(a, &m);
	pthread_cond_broadcast(&n->box_cond);
	pthread_mutex_unlock(&n->box_lock);
	if (fx->type == MSG_PING) {
		a->ping = true;
		a->ping_no = m.seq;
	}
	if (!a->due)
		net_todo_add(n, &t);
	a->due = true;
}

void
net_air_closed(struct net *n, const char *why)
{
	pthread_mutex_lock(&n->box_lock);
	n->air->why = why;
	pthread_cond_broadcast(&n->box_cond);
	pthread_mutex_unlock(&n->box_lock);
}

static void
answer(struct net *n, const struct msg *m)
{
	struct repl_event ev = {
		.kind = RE_MSG, .conn = n->air->conn, .type = m->type
	};
	struct buf b = BUF_MAX(KIB);

	if (msg_encode(m, &b) == ERR_OK) {
		ev.bytes = buf_slice(&b);
		net_step(n, &ev);
	}
	buf_fini(&b);
}

/* Credit for what the core said, and that somebody is there. */
void
net_air_answer(struct net *n)
{
	struct net_air *a = n->air;
	struct msg credit = { .type = MSG_CREDIT };
	struct msg pong = { .type = MSG_PONG };

	if (a == NULL)
		return;
	a->due = false;
	memcpy(credit.credit, a->owed, sizeof(a->owed));
	memset(a->owed, 0, sizeof(a->owed));
	pong.seq = a->ping_no;
	answer(n, &credit);
	if (a->ping)
		answer(n, &pong);
	a->ping = false;
}

/* --- in the reader's thread --- */

static enum err
post(struct net_air *a, enum net_mail_kind kind, uint8_t type, struct buf *body)
{
	struct net_mail *m = mem_new(sizeof(*m));

	if (m == NULL)
		return ERR_NOMEM;
	m->kind = kind;
	m->air = a;
	m->type = type;
	if (body != NULL) {
		m->body = *body;
		*body = BUF_EMPTY;
	}
	net_post(a->n, m);
	return ERR_OK;
}

/* Under box_lock. */
static void
wait_ms(struct net *n, uint64_t ms)
{
	uint64_t at = clock_mono_ms() + ms;
	struct timespec until = { .tv_sec = (time_t)(at / 1000),
		.tv_nsec = (long)(at % 1000) * 1000000 };

	(void)pthread_cond_timedwait(&n->box_cond, &n->box_lock, &until);
}

static enum err
link_state(struct net_air *a)
{
	if (a->why != NULL)
		return ERR_DENIED;
	return a->stop(a->stop_ctx) ? ERR_CANCELLED : ERR_OK;
}

enum err
air_link_open(struct net_air *a)
{
	struct net *n = a->n;
	bool busy;
	enum err e;

	pthread_mutex_lock(&n->box_lock);
	busy = n->air_busy;
	n->air_busy = true;
	pthread_mutex_unlock(&n->box_lock);
	if (busy)
		return ERR_BUSY;
	if ((e = post(a, MAIL_AIR_UP, 0, NULL)) == ERR_OK)
		return ERR_OK;
	pthread_mutex_lock(&n->box_lock);
	n->air_busy = false;
	pthread_mutex_unlock(&n->box_lock);
	return e;
}

void
air_link_close(struct net_air *a)
{
	struct net *n = a->n;

	while (post(a, MAIL_AIR_DOWN, 0, NULL) != ERR_OK)
		;                  /* the core must let go of it */
	net_call(n, MAIL_BARRIER); /* and has, now */
	pthread_mutex_lock(&n->box_lock);
	n->air_busy = false;
	pthread_mutex_unlock(&n->box_lock);
}

enum err
air_link_send(struct net_air *a, uint8_t type, struct buf *body)
{
	enum sess_class c = msg_class(type);
	enum err e;

	pthread_mutex_lock(&a->n->box_lock);
	while ((e = link_state(a)) == ERR_OK && a->used[c] >= air_window[c])
		wait_ms(a->n, 250);
	if (e == ERR_OK)
		a->used[c] += body->n;
	pthread_mutex_unlock(&a->n->box_lock);
	if (e == ERR_OK)
		e = post(a, MAIL_AIR_MSG, type, body);
	buf_fini(body);
	return e;
}

static enum err
nothing_job(struct store_txn *t, void *ctx)
{
	(void)t;
	(void)ctx;
	return ERR_OK;
}

/* Jobs are done in order: ours comes after those of the messages.  Twice, for
 * records on disk make the core say and ask more. */
enum err
air_link_flush(struct net_air *a)
{
	enum err e = ERR_OK;

	for (int i = 0; i < 2 && e == ERR_OK; i++) {
		net_call(a->n, MAIL_BARRIER);
		e = store_write(a->n->store, nothing_job, NULL);
	}
	net_call(a->n, MAIL_BARRIER);
	return e;
}

enum err
air_link_asked(struct net_air *a, uint32_t ms, struct air_ask *out)
{
	enum err e;

	pthread_mutex_lock(&a->n->box_lock);
	e = link_state(a);
	if (e == ERR_OK && a->n_asks == 0 && ms > 0)
		wait_ms(a->n, ms);
	if (e == ERR_OK && a->n_asks == 0)
		e = ERR_TIMEOUT;
	if (e == ERR_OK) {
		*out = a->ask[a->ask_at];
		a->ask_at = (a->ask_at + 1) % AIR_ASKS_MAX;
		a->n_asks--;
	}
	pthread_mutex_unlock(&a->n->box_lock);
	return e;
}
