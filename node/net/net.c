/* node/net/net.c: start, stop, and the loop thread's reaction to mail.
 *
 * Stop: no new connections, no reading; what is on its way to disk and what
 * the sessions still hold gets NET_DRAIN_MS; then connections close, and the
 * loop ends when the last job and the last handle are gone. */
#include "node/net/net_internal.h"

#include "node/conf/conf.h"
#include "node/ops/log.h"
#include "store/base/clock.h"

/* --- the loop thread --- */

static bool
drained(const struct net *n)
{
	const struct net_link *l;

	if (n->jobs > 0 || n->works > 0)
		return false;
	for (l = n->links; l != NULL; l = l->next) {
		if (!l->closing && l->up &&
		    (sess_backlog(l->sess) > 0 ||
			loop_conn_pending(l->tcp) > 0))
			return false;
	}
	return true;
}

void
net_stop_step(struct net *n)
{
	struct net_link *l;

	if (!n->stopping || n->closed)
		return;
	if (!drained(n) && clock_mono_ms() < n->stop_ms)
		return;
	for (l = n->links; l != NULL; l = l->next)
		net_link_close(l, "stopping");
	if (n->jobs > 0 || n->works > 0 || n->links != NULL) {
		n->stop_ms = clock_mono_ms() + 5;
		return;
	}
	n->closed = true;
	loop_timer_close(n->timer);
	loop_wake_close(n->wake);
}

static void
stop_begin(struct net *n)
{
	struct net_link *l;

	if (n->stopping)
		return;
	n->stopping = true;
	atomic_store(&n->settle_stop, true);
	n->stop_ms = clock_mono_ms() + NET_DRAIN_MS;
	loop_listen_close(n->listen);
	n->listen = NULL;
	for (l = n->links; l != NULL; l = l->next) {
		if (!l->up)
			net_link_close(l, "stopping");
	}
}

static const char *
claim_why(enum err e)
{
	if (e == ERR_DENIED)
		return "its invite is unknown, expired or used by another node";
	if (e == ERR_AUTH)
		return "it was not made with the secret of its invite";
	return err_text(e);
}

static void
mail_persisted(struct net *n, const struct net_mail *m)
{
	struct repl_event ev = {
		.kind = RE_PERSISTED, .token = m->token, .err = m->err
	};

	n->jobs--;
	n->disk = m->err == ERR_FULL || m->err == ERR_IO ? m->err : ERR_OK;
	n->member_jobs -= m->member;
	n->persist_bytes -= m->bytes;
	n->snap_stale = true;
	if (m->statement) {
		if (m->err != ERR_OK)
			log_warn("net", "a freeze is not kept", "error=\"%s\"",
			    err_text(m->err));
		return;
	}
	if (m->claim) { /* no answer: a grant shows as a new record */
		if (m->err != ERR_OK && m->err != ERR_EXISTS)
			log_warn("net", "claim refused", "why=\"%s\"",
			    claim_why(m->err));
		return;
	}
	if (m->err != ERR_OK)
		log_warn("net", "not stored", "error=\"%s\"", err_text(m->err));
	net_step(n, &ev);
	if (m->chunk && m->err == ERR_OK)
		net_fetch_came(n, &m->cid);
	if (m->member) {
		atomic_store(&n->news, true);
		net_settle(n);
	}
}

static void
mail_do(struct net *n, struct net_mail *m)
{
	enum err e;

	switch (m->kind) {
	case MAIL_PERSISTED: mail_persisted(n, m); break;
	case MAIL_PEERS:
		e = net_book_load(n);
		if (e != ERR_OK)
			log_error("net", "cannot read the peers",
			    "error=\"%s\"", err_text(e));
		n->snap_stale = true;
		break;
	case MAIL_NOW: net_book_now(n); break;
	case MAIL_FETCH: net_fetch_begin(n, m->fetch); break;
	case MAIL_FETCH_END: net_fetch_end(n, m->fetch); break;
	case MAIL_PROVE: net_prove_begin(n, m->prove); break;
	case MAIL_PROVE_END: net_prove_end(n, m->prove); break;
	case MAIL_AIR_UP:
	case MAIL_AIR_MSG:
	case MAIL_AIR_DOWN: net_air_mail(n, m); break;
	case MAIL_BARRIER: atomic_store(&n->news, true); break;
	case MAIL_STOP: stop_begin(n); break;
	}
}

static struct net_mail *
mail_take(struct net *n)
{
	struct net_mail *m;

	pthread_mutex_lock(&n->box_lock);
	m = n->box;
	n->box = NULL;
	n->box_end = &n->box;
	pthread_mutex_unlock(&n->box_lock);
	return m;
}

static void
mail_answer(struct net *n, bool *done)
{
	net_status_refresh(n);
	pthread_mutex_lock(&n->box_lock);
	*done = true;
	pthread_cond_broadcast(&n->box_cond);
	pthread_mutex_unlock(&n->box_lock);
}

static void
loop_look(void *ctx)
{
	struct net *n = ctx;
	struct net_mail *m = mail_take(n), *next;

	/* Ends of jobs first: the scan must not find what is being told. */
	for (; m != NULL; m = next) {
		next = m->next;
		mail_do(n, m);
		if (m->done != NULL) {
			if (atomic_exchange(&n->news, false))
				net_scan(n, clock_mono_ms());
			net_run(n);
			mail_answer(n, m->done);
		}
		mem_free(m);
	}
	if (atomic_exchange(&n->news, false) ||
	    (n->wants_more && clock_mono_ms() >= n->wants_next_ms))
		net_scan(n, clock_mono_ms());
	net_run(n);
}

static void
loop_tick(void *ctx)
{
	struct net *n = ctx;
	struct repl_event ev = { .kind = RE_TICK };

	if (!n->broken && repl_deadline_ms(n->core) <= clock_mono_ms())
		net_step(n, &ev);
	net_limit_tick(n);
	loop_look(n);
}

static void *
net_main(void *ctx)
{
	struct net *n = ctx;

	net_settle(n);
	net_run(n);
	loop_run(n->loop);
	return NULL;
}

/* --- from other threads --- */

static void
net_notice(void *ctx)
{
	struct net *n = ctx;

	atomic_store(&n->news, true);
	loop_wake_send(n->wake);
}

void
net_call(struct net *n, enum net_mail_kind kind)
{
	struct net_mail *m = mem_new(sizeof(*m));
	bool done = false;

	if (m == NULL)
		return; /* the next look of the loop catches up */
	m->kind = kind;
	m->done = &done;
	net_post(n, m);
	pthread_mutex_lock(&n->box_lock);
	while (!done)
		pthread_cond_wait(&n->box_cond, &n->box_lock);
	pthread_mutex_unlock(&n->box_lock);
}

void
net_listen_text(struct net *n, char *out, size_t cap)
{
	(void)snprintf(out, cap, "%s", n->listen_text);
}

/* --- start --- */

static enum err
start_listen(struct net *n, const char *address, struct errmsg *em)
{
	char host[LOOP_ADDR_TEXT];
	uint16_t port;
	enum err e;

	if (strcmp(address, "off") == 0) {
		(void)snprintf(n->listen_text, sizeof(n->listen_text), "off");
		return ERR_OK;
	}
	e = conf_address(address, host, sizeof(host), &port);
	if (e != ERR_OK)
		return errmsg_set(em, e, "write it as HOST:PORT or off",
		    "peers.listen \"%s\" is no address", address);
	e = loop_listen_new(
	    n->loop, host, port, net_link_accept, n, &n->listen);
	if (e == ERR_BUSY)
		return errmsg_set(em, e, "choose another port in peers.listen",
		    "the address %s is taken", address);
	if (e != ERR_OK)
		return errmsg_set(em, e, "check peers.listen",
		    "cannot listen on %s: %s", address, err_text(e));
	loop_listen_addr(n->listen, n->listen_text);
	return ERR_OK;
}

static enum err
start_proxy(struct net *n, const struct net_opts *o, struct errmsg *em)
{
	if (o->proxy != NULL && conf_proxy(o->proxy, &n->proxy) != ERR_OK)
		return errmsg_set(em, ERR_MALFORMED,
		    "write it as http://HOST:PORT or socks5://HOST:PORT",
		    "peers.proxy is no address of a proxy");
	if (o->proxy_login == NULL)
		return ERR_OK;
	if (proxy_login_check(o->proxy_login) != ERR_OK)
		return errmsg_set(em, ERR_MALFORMED,
		    "write one line user:password into it",
		    "keys/proxy holds no user and password");
	(void)snprintf(
	    n->proxy_login, sizeof(n->proxy_login), "%s", o->proxy_login);
	return ERR_OK;
}

static enum err
start_core(struct net *n)
{
	struct repl_opts o = { .me = n->me->pub,
		.chunk_window = NET_CHUNK_WINDOW,
		.paced = true,
		.now_ms = clock_mono_ms() };
	enum err e;

	cry_random(&o.seed, sizeof(o.seed));
	cry_random(&n->rng, sizeof(n->rng));
	n->rng |= 1;
	if ((e = repl_new(&o, &n->core)) != ERR_OK)
		return e;
	net_limit_start(n);
	if ((e = net_scan_start(n)) != ERR_OK)
		return e;
	net_scan(n, clock_mono_ms());
	return net_book_load(n);
}

static enum err
start_loop(struct net *n)
{
	enum err e;

	if ((e = loop_new(&n->loop)) != ERR_OK)
		return e;
	if ((e = loop_wake_new(n->loop, loop_look, n, &n->wake)) != ERR_OK)
		return e;
	return loop_timer_new(n->loop, loop_tick, n, &n->timer);
}

static void
net_init(struct net *n, const struct net_opts *o)
{
	pthread_condattr_t mono;

	n->store = o->store;
	n->shares = o->shares;
	n->me = o->me;
	n->conf = o->conf;
	n->todo_end = &n->todo;
	n->box_end = &n->box;
	pthread_mutex_init(&n->box_lock, NULL);
	pthread_condattr_init(&mono);
	pthread_condattr_setclock(&mono, CLOCK_MONOTONIC);
	pthread_cond_init(&n->box_cond, &mono);
	pthread_mutex_init(&n->snap_lock, NULL);
	pthread_cond_init(&n->snap_cond, &mono);
	pthread_condattr_destroy(&mono);
}

static void
net_free(struct net *n)
{
	struct net_todo *t;

	while ((t = n->todo) != NULL) {
		n->todo = t->next;
		buf_fini(&t->bytes);
		mem_free(t);
	}
	repl_free(n->core);
	loop_free(n->loop);
	net_book_free(n);
	net_snap_fini(&n->snap);
	mem_free(n->own);
	mem_free(n->join);
	cry_wipe(n->proxy_login, sizeof(n->proxy_login));
	pthread_mutex_destroy(&n->box_lock);
	pthread_cond_destroy(&n->box_cond);
	pthread_mutex_destroy(&n->snap_lock);
	pthread_cond_destroy(&n->snap_cond);
	mem_free(n);
}

/* Nothing runs yet: close what was opened. */
static void
start_undo(struct net *n)
{
	loop_listen_close(n->listen);
	loop_timer_close(n->timer);
	loop_wake_close(n->wake);
	net_free(n);
}

enum err
net_start(const struct net_opts *o, struct net **out, struct errmsg *em)
{
	struct net *n = mem_new(sizeof(*n));
	enum err e;

	if (n == NULL)
		return errmsg_set(em, ERR_NOMEM, "", "no memory");
	net_init(n, o);
	if ((e = start_proxy(n, o, em)) != ERR_OK) {
		net_free(n);
		return e;
	}
	if ((e = start_loop(n)) != ERR_OK ||
	    (e = start_listen(n, o->listen, em)) != ERR_OK ||
	    (e = start_core(n)) != ERR_OK) {
		start_undo(n);
		if (em != NULL && em->code != e)
			(void)errmsg_set(em, e, "",
			    "replication does not start: %s", err_text(e));
		return e;
	}
	net_status_refresh(n);
	shares_set_notice(n->shares, net_notice, n);
	if (pthread_create(&n->thread, NULL, net_main, n) != 0) {
		shares_set_notice(n->shares, NULL, NULL);
		start_undo(n);
		return errmsg_set(em, ERR_NOMEM, "", "no thread");
	}
	log_info("net", "listening for peers", "addr=%s", n->listen_text);
	*out = n;
	return ERR_OK;
}

void
net_stop(struct net *n)
{
	struct net_mail *m;

	if (n == NULL)
		return;
	shares_set_notice(n->shares, NULL, NULL);
	while ((m = mem_new(sizeof(*m))) == NULL)
		; /* a stop must get through */
	m->kind = MAIL_STOP;
	net_post(n, m);
	pthread_join(n->thread, NULL);
	net_free(n);
}
