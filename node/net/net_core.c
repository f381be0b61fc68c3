/* node/net/net_core.c: events into the core, effects out of it. */
#include "node/net/net_internal.h"

#include "node/ops/log.h"
#include "replication/witness.h"
#include "store/base/clock.h"

void
net_todo_add(struct net *n, const struct net_todo *what)
{
	struct net_todo *t = mem_new(sizeof(*t));

	if (t == NULL) {
		n->broken = true;
		return;
	}
	*t = *what;
	t->next = NULL;
	*n->todo_end = t;
	n->todo_end = &t->next;
}

static void
core_broke(struct net *n)
{
	struct net_link *l;

	if (!n->broken)
		log_error("net", "replication stopped", "reason=\"no memory\"");
	n->broken = true;
	for (l = n->links; l != NULL; l = l->next)
		net_link_close(l, "no memory");
}

static void
core_effect(struct net *n, const struct repl_effect *fx)
{
	struct net_link *l;
	struct net_todo t = { 0 };

	switch (fx->kind) {
	case RX_SEND:
		if (net_air_is(n, fx->conn))
			net_air_heard(n, fx);
		else if ((l = net_link_find(n, fx->conn)) != NULL)
			net_link_send(l, fx);
		break;
	case RX_CLOSE:
		if (net_air_is(n, fx->conn))
			net_air_closed(n, fx->why);
		if ((l = net_link_find(n, fx->conn)) == NULL)
			break;
		log_warn("net", "connection closed", "error=\"%s\" why=\"%s\"",
		    err_text(fx->err), fx->why == NULL ? "" : fx->why);
		net_link_close(l, fx->why == NULL ? "" : fx->why);
		break;
	case RX_FETCH_OPS:
		t.kind = DUE_FETCH_OPS;
		t.token = fx->token;
		t.feed = fx->feed;
		t.from_seq = fx->from_seq;
		t.bytes_max = fx->bytes_max;
		net_todo_add(n, &t);
		break;
	case RX_SIGN:
		t.kind = DUE_SIGN;
		t.share = fx->share;
		t.compartment = fx->compartment;
		t.bytes = BUF_MAX(WITNESS_BYTES_MAX);
		buf_put_slice(&t.bytes, fx->bytes);
		net_todo_add(n, &t);
		break;
	case RX_FETCH_CHUNK: net_store_fetch_chunk(n, fx); break;
	case RX_PERSIST_OPS:
	case RX_PERSIST_CHUNK:
	case RX_PERSIST_MEMBER:
	case RX_STATEMENT:
	case RX_WITNESS:
	case RX_CLAIM: net_store_persist(n, fx); break;
	case RX_PROOF: net_prove_came(n, fx); break;
	}
}

void
net_step(struct net *n, struct repl_event *ev)
{
	struct repl_effects fx = { 0 };
	uint32_t i;

	if (n->broken)
		return;
	ev->now_ms = clock_mono_ms();
	if (repl_step(n->core, ev, &fx) != ERR_OK) {
		core_broke(n);
		return;
	}
	for (i = 0; i < fx.n; i++)
		core_effect(n, &fx.fx[i]);
	n->snap_stale = true;
}

static void
sign_do(struct net *n, struct net_todo *t)
{
	struct repl_event ev = { .kind = RE_SIGNED,
		.share = t->share,
		.compartment = t->compartment };

	ev.err = buf_err(&t->bytes);
	if (ev.err == ERR_OK)
		ev.err =
		    witness_sign(&t->bytes, clock_wall_ms(), &n->me->sign_sk);
	ev.bytes = buf_slice(&t->bytes);
	net_step(n, &ev);
}

static void
todo_do(struct net *n, struct net_todo *t)
{
	struct repl_event ev = {
		.token = t->token, .err = t->err, .conn = t->conn
	};

	switch (t->kind) {
	case DUE_FETCH_OPS: net_store_fetch_ops(n, t); return;
	case DUE_SIGN: sign_do(n, t); return;
	case DUE_AIR: net_air_answer(n); return;
	case DUE_FETCH_FAILED: ev.kind = RE_FETCHED; break;
	case DUE_PERSIST_FAILED: ev.kind = RE_PERSISTED; break;
	case DUE_SENT: ev.kind = RE_SENT; break;
	case DUE_DOWN: ev.kind = RE_CONN_DOWN; break;
	}
	net_step(n, &ev);
}

static bool
todo_next(struct net *n)
{
	struct net_todo *t = n->todo;

	if (t == NULL)
		return false;
	n->todo = t->next;
	if (n->todo == NULL)
		n->todo_end = &n->todo;
	todo_do(n, t);
	buf_fini(&t->bytes);
	mem_free(t);
	return true;
}

void
net_todo_run(struct net *n)
{
	while (todo_next(n))
		;
}

static void
run_timer(struct net *n)
{
	uint64_t now = clock_mono_ms(), at = UINT64_MAX, next;

	if (!n->broken)
		at = repl_deadline_ms(n->core);
	next = net_link_deadlines(n, now);
	at = next < at ? next : at;
	if (!n->stopping) {
		next = net_book_dial(n, now);
		at = next < at ? next : at;
	}
	next = net_limit_due(n);
	at = next < at ? next : at;
	if (n->snap_stale && n->snap_ms + NET_SNAP_MS < at)
		at = n->snap_ms + NET_SNAP_MS;
	if (n->wants_more && n->wants_next_ms < at)
		at = n->wants_next_ms;
	if (n->stopping && n->stop_ms < at)
		at = n->stop_ms;
	if (at == UINT64_MAX)
		loop_timer_stop(n->timer);
	else
		loop_timer_start(n->timer, at > now ? at - now : 0);
}

void
net_run(struct net *n)
{
	struct net_link *l;
	bool again = true;

	if (n->running)
		return;
	n->running = true;
	while (again) {
		again = todo_next(n);
		for (l = n->links; l != NULL; l = l->next) {
			if (!l->dirty)
				continue;
			l->dirty = false;
			net_link_pump(l);
			again = true;
		}
		again = again || n->todo != NULL;
	}
	n->running = false;
	net_link_pause(n);
	net_stop_step(n);
	if (n->closed)
		return;
	if (n->snap_stale && clock_mono_ms() >= n->snap_ms + NET_SNAP_MS)
		net_status_refresh(n);
	run_timer(n);
}

void
net_post(struct net *n, struct net_mail *m)
{
	m->next = NULL;
	pthread_mutex_lock(&n->box_lock);
	*n->box_end = m;
	n->box_end = &m->next;
	/* Under the lock: the loop closes the wake only after it has read
	 * the last mail. */
	loop_wake_send(n->wake);
	pthread_mutex_unlock(&n->box_lock);
}
