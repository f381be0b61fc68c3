/* node/net/net_link.c: one connection: bytes to a session, messages to the
 * core.
 *
 * dial or accept -> handshake (10 s) -> up: matched to a record by its key,
 * one of two connections between the same nodes is kept -> messages ->
 * close.  A session's error is final.  The socket's write queue is kept as
 * short as the link allows, so control overtakes bulk. */
#include "node/net/net_internal.h"

#include "node/ops/log.h"
#include "store/base/clock.h"

#define WRONG_KEY "the other side's key is not the one expected"
#define NO_VERSION "no version of the protocol in common: update the older node"

struct net_link *
net_link_find(struct net *n, repl_conn conn)
{
	struct net_link *l;

	for (l = n->links; l != NULL; l = l->next) {
		if (l->conn == conn && !l->closing)
			return l;
	}
	return NULL;
}

static void
link_down(struct net_link *l)
{
	struct net_todo t = { .kind = DUE_DOWN, .conn = l->conn };

	if (l->up)
		net_todo_add(l->net, &t);
	else
		l->net->n_strangers -= !l->initiator;
	l->up = false;
}

/* Detach from the record and say why; the record may dial again. */
static void
link_leave(struct net_link *l, const char *why)
{
	struct net_rec *r = l->rec;
	bool good = l->up && clock_mono_ms() - l->since_ms >= NET_GOOD_MS;

	l->rec = NULL;
	if (r == NULL)
		return;
	r->rx += l->rx;
	r->tx += l->tx;
	if (r->dialling == l)
		r->dialling = NULL;
	if (r->link == l)
		r->link = NULL;
	net_book_failed(l->net, r, good, why);
}

void
net_link_close(struct net_link *l, const char *why)
{
	struct repl_peer_status st;
	uint32_t i;

	if (l->closing)
		return;
	l->closing = true;
	for (i = 0; l->rec != NULL && i < repl_n_peers(l->net->core); i++) {
		repl_peer(l->net->core, i, &st);
		if (st.conn == l->conn) {
			l->rec->chunks_rx += st.chunks_rx;
			l->rec->chunks_tx += st.chunks_tx;
		}
	}
	link_leave(l, why);
	link_down(l);
	loop_conn_close(l->tcp);
	l->net->snap_stale = true;
}

/* --- up --- */

/* Of two connections between the same nodes both sides keep the one that the
 * smaller key dialled; of two by the same dialler, the newer. */
static bool
link_wins(const struct net_link *l, const struct net_link *old)
{
	const struct cry_sign_pk *me = &l->net->me->pub.sign;
	bool mine_small =
	    memcmp(me->b, sess_peer(l->sess)->sign.b, sizeof(me->b)) < 0;

	if (l->initiator == old->initiator)
		return true;
	return l->initiator == mine_small;
}

static bool
key_known(const struct cry_sign_pk *k)
{
	static const struct cry_sign_pk zero;

	return memcmp(k->b, zero.b, sizeof(zero.b)) != 0;
}

/* NULL: may stay; else why not. */
static const char *
link_admit(struct net_link *l)
{
	const struct cry_device_pub *d = sess_peer(l->sess);
	struct net *n = l->net;
	struct net_rec *r;

	if (memcmp(&d->sign, &n->me->pub.sign, sizeof(d->sign)) == 0)
		return "this is our own address";
	r = net_book_find(n, &d->box);
	if (r == NULL)
		r = net_book_add(n, d);
	if (r == NULL)
		return "too many peers";
	if (key_known(&r->device.sign) &&
	    memcmp(&r->device.sign, &d->sign, sizeof(d->sign)) != 0)
		return WRONG_KEY;
	if (r->link != NULL && r->link != l) {
		if (!link_wins(l, r->link))
			return "a second connection to the same node";
		net_link_close(r->link, "replaced by another connection");
	}
	if (r->dialling == l)
		r->dialling = NULL;
	r->device = *d;
	r->link = l;
	r->error[0] = '\0';
	l->rec = r;
	return NULL;
}

static bool
link_is_guest(const struct net_link *l)
{
	return l->up && !l->closing && !l->initiator && !l->rec->kept &&
	       !repl_speaks(l->net->core, l->conn);
}

/* The newest stay, so that nobody is kept out by who came before. */
static void
guests_bound(struct net *n)
{
	struct net_link *l, *oldest = NULL;
	uint32_t guests = 0;

	for (l = n->links; l != NULL; l = l->next) {
		if (!link_is_guest(l))
			continue;
		oldest = l; /* links are in order of coming, newest first */
		guests++;
	}
	if (guests > NET_GUESTS_MAX)
		net_link_close(oldest, "too many guests");
}

static void
link_up(struct net_link *l)
{
	struct repl_event ev = {
		.kind = RE_CONN_UP, .conn = l->conn, .initiator = l->initiator
	};
	const char *why = link_admit(l);
	char addr[LOOP_ADDR_TEXT];

	if (why != NULL) {
		net_link_close(l, why);
		return;
	}
	l->net->n_strangers -= !l->initiator;
	l->up = true;
	loop_conn_unsent(l->tcp, l->queue);
	l->since_ms = clock_mono_ms();
	net_todo_run(l->net); /* the end of the one it replaces comes first */
	if (l->closing)
		return;
	ev.peer = *sess_peer(l->sess);
	ev.hash = sess_hash(l->sess);
	loop_conn_addr(l->tcp, addr);
	log_info("net", "connected", "addr=%s dialled=%d", addr, l->initiator);
	net_step(l->net, &ev);
	guests_bound(l->net);
}

/* --- bytes --- */

static void
link_fail(struct net_link *l, enum err e)
{
	const char *why = err_text(e);
	char addr[LOOP_ADDR_TEXT];

	if (!l->up && l->initiator &&
	    (e == ERR_AUTH || e == ERR_SHORT || e == ERR_MALFORMED))
		why = WRONG_KEY;
	if (!l->up && e == ERR_UNSUPPORTED)
		why = NO_VERSION;
	loop_conn_addr(l->tcp, addr);
	if (l->up || l->initiator || e == ERR_UNSUPPORTED)
		log_warn("net", "connection failed", "addr=%s why=\"%s\"", addr,
		    why);
	net_link_close(l, why);
}

static void
link_messages(struct net_link *l)
{
	struct repl_event ev = { .kind = RE_MSG, .conn = l->conn };
	struct sess_msg m;
	enum err e = ERR_OK;

	while (e == ERR_OK && !l->closing) {
		e = sess_next(l->sess, &m);
		if ((e == ERR_OK || e == ERR_AGAIN) && !l->up &&
		    sess_up(l->sess))
			link_up(l);
		if (e != ERR_OK || l->closing)
			break;
		ev.type = m.type;
		ev.bytes = m.body;
		net_step(l->net, &ev);
	}
	if (e != ERR_OK && e != ERR_AGAIN && !l->closing)
		link_fail(l, e);
}

/* Is it news for the log that this dial failed?  Until it gets through, the
 * same cause is told once; `sync status` has it all the time. */
static bool
link_news(const struct net_link *l, const char *why)
{
	return l->rec == NULL ||
	       strncmp(l->rec->error, why, sizeof(l->rec->error) - 1) != 0;
}

/* --- a proxy on the way --- */

/* What a person reads names the proxy, not the peer: that is what to mend. */
static void
proxy_failed(struct net_link *l, const char *why)
{
	if (link_news(l, why))
		log_warn("net", "no way through the proxy",
		    "proxy=%s port=%u peer=%s why=\"%s\"", l->net->proxy.host,
		    l->net->proxy.port, l->rec == NULL ? "" : l->rec->host,
		    why);
	net_link_close(l, why);
}

static void
proxy_send(struct net_link *l, struct buf *b)
{
	if (loop_conn_write(l->tcp, b) != ERR_OK)
		proxy_failed(l, "the proxy closed the connection");
	buf_fini(b);
}

static void
proxy_up(struct net_link *l)
{
	struct buf b = BUF_MAX(KIB);
	enum err e = proxy_begin(
	    l->proxy, l->net->proxy.kind, l->rec->host, l->rec->port, &b);

	if (e == ERR_OK)
		proxy_send(l, &b);
	else
		proxy_failed(l, err_text(e));
	buf_fini(&b);
}

/* True: the tunnel is open, *in is what came through it. */
static bool
proxy_read(struct net_link *l, struct slice *in)
{
	struct buf b = BUF_MAX(KIB);
	enum err e;

	if (l->proxy == NULL)
		return true;
	e = proxy_feed(l->proxy, in, &b);
	if (e != ERR_OK && e != ERR_AGAIN)
		proxy_failed(l, l->proxy->why);
	else if (b.n > 0)
		proxy_send(l, &b);
	buf_fini(&b);
	if (e != ERR_OK)
		return false;
	mem_free(l->proxy);
	l->proxy = NULL;
	return true;
}

static void
link_read_cb(void *ctx, struct slice in)
{
	struct net_link *l = ctx;
	enum err e;

	if (l->closing || !proxy_read(l, &in)) {
		net_run(l->net);
		return;
	}
	l->rx += in.n;
	if (l->rec != NULL)
		l->rec->contact_ms = clock_wall_ms();
	e = sess_recv(l->sess, in);
	if (e != ERR_OK)
		link_fail(l, e);
	else
		link_messages(l);
	l->dirty = true;
	net_run(l->net);
}

static void
link_wrote_cb(void *ctx)
{
	struct net_link *l = ctx;

	l->dirty = true;
	net_run(l->net);
}

static void
link_tcp_up_cb(void *ctx)
{
	struct net_link *l = ctx;

	if (!l->net->paused)
		loop_conn_read(l->tcp, true);
	if (l->proxy != NULL)
		proxy_up(l);
	l->dirty = true;
	net_run(l->net);
}

static void
link_free(struct net_link *l)
{
	struct net_link **at = &l->net->links;

	while (*at != NULL && *at != l)
		at = &(*at)->next;
	if (*at == l) {
		*at = l->next;
		l->net->n_links--;
	}
	sess_free(l->sess);
	mem_free(l->proxy);
	mem_free(l);
}

static void
link_closed_cb(void *ctx, enum err why, const char *text)
{
	struct net_link *l = ctx;
	struct net *n = l->net;
	char why_proxy[120];

	(void)why;
	/* A responder that cannot read our first message hangs up: with XK
	 * that is all a dialler with the wrong key ever sees. */
	if (!l->closing && l->initiator && !l->up && l->tx > 0) {
		text = n->proxy.kind == CONF_PROXY_OFF ? WRONG_KEY
						       : WRONG_KEY
			   ", or the proxy cannot reach it";
		if (link_news(l, text))
			log_warn(
			    "net", "handshake refused", "why=\"%s\"", text);
	}
	if (!l->closing && l->proxy != NULL) {
		(void)snprintf(
		    why_proxy, sizeof(why_proxy), "peers.proxy: %s", text);
		proxy_failed(l, why_proxy);
	}
	l->tcp = NULL;
	net_link_close(l, text);
	link_free(l);
	net_run(n);
}

static const struct loop_conn_cb link_cb = {
	.up = link_tcp_up_cb,
	.read = link_read_cb,
	.wrote = link_wrote_cb,
	.closed = link_closed_cb,
};

/* Up at once: a link that takes all it is given is faster than that. */
static void
link_meter(struct net_link *l)
{
	uint64_t now = clock_mono_ms(), dt = now - l->meter_ms;
	size_t queue;

	if (dt < NET_METER_MS)
		return;
	queue = (size_t)((l->tx - l->meter_tx) * NET_QUEUE_MS / dt);
	l->meter_ms = now;
	l->meter_tx = l->tx;
	if (queue < l->queue)
		queue = (7 * l->queue + queue) / 8;
	if (queue < NET_QUEUE_MIN)
		queue = NET_QUEUE_MIN;
	if (queue > NET_QUEUE_MAX)
		queue = NET_QUEUE_MAX;
	if (queue == l->queue)
		return;
	l->queue = queue;
	loop_conn_unsent(l->tcp, queue);
}

void
net_link_pump(struct net_link *l)
{
	struct net_todo t = { .kind = DUE_SENT, .conn = l->conn };
	struct buf b;
	size_t got, room;
	enum err e;

	if (l->proxy != NULL)
		return;
	link_meter(l);
	while (!l->closing && loop_conn_pending(l->tcp) < l->queue) {
		if ((room = net_limit_room(l)) == 0)
			break;
		b = BUF_MAX(2 * NET_QUEUE_MAX);
		e = sess_pull(l->sess, room < l->queue ? room : l->queue, &b);
		got = b.n;
		if (e == ERR_OK && got > 0)
			e = loop_conn_write(l->tcp, &b);
		buf_fini(&b);
		l->tx += got;
		net_limit_sent(l, got);
		if (e != ERR_OK) {
			link_fail(l, e);
			return;
		}
		if (got == 0)
			break;
	}
	if (!l->closing && l->sent && l->up &&
	    sess_queued(l->sess, SESS_BULK) < NET_BACKLOG_LOW) {
		l->sent = false;
		net_todo_add(l->net, &t);
	}
}

void
net_link_send(struct net_link *l, const struct repl_effect *fx)
{
	enum err e;

	if (l->closing)
		return;
	e = sess_send(l->sess, fx->cls, fx->type, fx->bytes);
	if (e != ERR_OK) {
		link_fail(l, e);
		return;
	}
	l->sent = true;
	l->dirty = true;
}

/* --- making links --- */

static struct net_link *
link_new(struct net *n, const struct sess_params *p)
{
	struct net_link *l = mem_new(sizeof(*l));

	if (l == NULL)
		return NULL;
	if (sess_new(p, &l->sess) != ERR_OK) {
		mem_free(l);
		return NULL;
	}
	if (++n->last_conn == 0)
		n->last_conn = 1;
	l->net = n;
	l->conn = n->last_conn;
	l->initiator = p->initiator;
	l->since_ms = l->meter_ms = clock_mono_ms();
	l->queue = NET_QUEUE_MIN;
	return l;
}

/* Likewise of those that have not said who they are. */
static void
strangers_bound(struct net *n)
{
	struct net_link *l, *oldest = NULL;

	if (n->n_strangers <= NET_STRANGERS_MAX)
		return;
	for (l = n->links; l != NULL; l = l->next) {
		if (!l->up && !l->closing && !l->initiator)
			oldest = l;
	}
	if (oldest != NULL)
		net_link_close(oldest, "too many connections");
}

static void
link_add(struct net_link *l)
{
	struct net *n = l->net;

	l->next = n->links;
	n->links = l;
	n->n_links++;
	n->n_strangers += !l->initiator;
}

void
net_link_accept(void *ctx)
{
	struct net *n = ctx;
	struct sess_params p = { .me = n->me };
	struct net_link *l = link_new(n, &p);
	char addr[LOOP_ADDR_TEXT];
	enum err e;

	if (l == NULL)
		return;
	e = loop_listen_take(n->listen, &link_cb, l, &l->tcp);
	if (e != ERR_OK) {
		sess_free(l->sess);
		mem_free(l);
		return;
	}
	link_add(l);
	loop_conn_addr(l->tcp, addr);
	if (!net_gate_knock(n, addr, l->since_ms)) {
		/* Before strangers_bound(): it puts out nobody. */
		net_link_close(l, "its address knocks too often");
		net_run(n);
		return;
	}
	strangers_bound(n);
	if (n->n_links > NET_LINKS_MAX || n->stopping)
		net_link_close(l, "too many connections");
	else if (!n->paused)
		loop_conn_read(l->tcp, true);
	net_run(n);
}

void
net_link_dial(struct net *n, struct net_rec *r)
{
	struct sess_params p = {
		.initiator = true, .me = n->me, .remote_static = r->device.box
	};
	struct loop_dial d = {
		.host = r->host, .port = r->port, .attempt = r->attempts
	};
	struct net_link *l = link_new(n, &p);

	if (l == NULL)
		return;
	if (n->proxy.kind != CONF_PROXY_OFF) {
		d.host = n->proxy.host;
		d.port = n->proxy.port;
		l->proxy = mem_new(sizeof(*l->proxy));
		if (l->proxy != NULL && n->proxy_login[0] != '\0')
			l->proxy->login = n->proxy_login;
	}
	if ((n->proxy.kind != CONF_PROXY_OFF && l->proxy == NULL) ||
	    loop_conn_dial(n->loop, &d, &link_cb, l, &l->tcp) != ERR_OK) {
		sess_free(l->sess);
		mem_free(l->proxy);
		mem_free(l);
		return;
	}
	l->rec = r;
	r->dialling = l;
	r->attempts++;
	r->tried_ms = clock_mono_ms();
	link_add(l);
}

uint64_t
net_link_deadlines(struct net *n, uint64_t now_ms)
{
	uint64_t at = UINT64_MAX, due;
	struct net_link *l;

	for (l = n->links; l != NULL; l = l->next) {
		if (l->up || l->closing)
			continue;
		due = l->since_ms + NET_HANDSHAKE_MS;
		if (due <= now_ms)
			net_link_close(l, l->proxy == NULL
					      ? "no answer in 10 s"
					      : "no answer through "
						"peers.proxy in 10 s");
		else if (due < at)
			at = due;
	}
	return at;
}

void
net_link_pause(struct net *n)
{
	struct net_link *l;
	bool pause = n->paused;

	if (n->persist_bytes > NET_PERSIST_HIGH)
		pause = true;
	else if (n->persist_bytes < NET_PERSIST_LOW)
		pause = false;
	if (n->stopping)
		pause = true;
	if (pause == n->paused)
		return;
	n->paused = pause;
	for (l = n->links; l != NULL; l = l->next) {
		if (!l->closing)
			loop_conn_read(l->tcp, !pause);
	}
}
