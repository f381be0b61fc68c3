/* node/api/sync.c: how far this node is from its peers, and why. */
#include "node/api/api_internal.h"

#include "store/base/clock.h"

struct sync_view {
	struct net_sync s;
	struct net_peer *peer;
	uint32_t n_peers;
	struct net_lag *lag;
	uint32_t n_lags;
	struct api_shares shares;
};

static void
view_fini(struct sync_view *v)
{
	net_peers_free(v->peer);
	net_lags_free(v->lag);
	api_shares_free(&v->shares);
}

static enum err
view_load(struct api_call *c, struct sync_view *v)
{
	enum err e = net_peers(c->a->o.net, &v->peer, &v->n_peers);

	if (e == ERR_OK)
		e = net_lags(c->a->o.net, &v->lag, &v->n_lags);
	if (e == ERR_OK)
		e = api_shares_load(c, &v->shares);
	return e;
}

static bool
lag_of(const struct net_lag *l, const struct net_peer *p)
{
	return memcmp(&l->device.box, &p->device.box, sizeof(p->device.box)) ==
	       0;
}

static void
jw_lag(struct jw *w, const struct sync_view *v, const struct repl_lag *l)
{
	const struct api_shares *s = &v->shares;
	struct cry_id id;

	memcpy(id.b, l->share.b, sizeof(id.b));
	jw_obj(w, NULL);
	jw_str(w, "share", api_share_name(s, &id));
	jw_str(w, "compartment",
	    l->compartment == 0 ? NULL
				: api_compartment_name(s, &id, l->compartment));
	jw_bool(w, "in_sync", l->in_sync);
	jw_u64(w, "lag_ops", l->lag_ops);
	jw_u64(w, "ahead_ops", l->ahead_ops);
	jw_u64(w, "forked_feeds", l->forked);
	jw_str(w, "why", l->in_sync ? NULL : repl_why_text(l->why));
	jw_end(w);
}

/* Why this peer and we are not level; NULL: we are. */
static const char *
peer_why(const struct sync_view *v, const struct net_peer *p)
{
	bool any = false;

	if (!p->connected && p->error[0] != '\0')
		return p->error;
	if (!p->connected)
		return p->port == 0 ? "it dials us, and has not come"
				    : "it is being dialled";
	if (v->s.disk != ERR_OK)
		return v->s.disk == ERR_FULL ? "no space: nothing is stored"
					     : "the disk fails";
	for (uint32_t i = 0; i < v->n_lags; i++) {
		if (!lag_of(&v->lag[i], p))
			continue;
		any = true;
		if (!v->lag[i].lag.in_sync)
			return repl_why_text(v->lag[i].lag.why);
	}
	if (!any)
		return "no share that both are members of";
	if (v->s.wanted_chunks == 0)
		return NULL;
	return v->s.held_down ? v->s.held : "content is on its way";
}

static void
jw_peer(struct jw *w, const struct sync_view *v, const struct net_peer *p)
{
	jw_obj(w, NULL);
	api_jw_peer(w, p);
	jw_str(w, "why", peer_why(v, p));
	jw_u64(w, "rate", p->rate);
	if (p->rate > 0 && p->lag_bytes > 0)
		jw_u64(w, "eta_s", (p->lag_bytes + p->rate - 1) / p->rate);
	else
		jw_null(w, "eta_s");
	jw_arr(w, "shares");
	for (uint32_t i = 0; i < v->n_lags; i++) {
		if (lag_of(&v->lag[i], p))
			jw_lag(w, v, &v->lag[i].lag);
	}
	jw_end(w);
	jw_end(w);
}

bool
api_peer_is(const struct net_peer *p, const char *name)
{
	char text[CRY_KEY_TEXT_LEN + 1], address[160];
	size_t n = strlen(name);

	cry_key_text(&p->device, text);
	(void)snprintf(address, sizeof(address),
	    strchr(p->host, ':') ? "[%s]:%u" : "%s:%u", p->host,
	    (unsigned)p->port);
	return (n >= 12 && strncmp(text, name, n) == 0) ||
	       (p->port != 0 &&
		   (strcmp(address, name) == 0 || strcmp(p->host, name) == 0));
}

static enum err
sync_answer(struct api_call *c, const struct net_sync *s)
{
	const char *only = api_arg(c, "peer");
	struct buf b = BUF_MAX(API_LIST_BYTES);
	struct sync_view v = { .s = *s };
	struct jw w;
	uint32_t shown = 0;
	enum err e;

	if ((e = view_load(c, &v)) != ERR_OK)
		goto out;
	jw_init(&w, &b);
	jw_obj(&w, NULL);
	jw_bool(&w, "in_sync", s->in_sync);
	jw_u64(&w, "connected", s->connected);
	jw_u64(&w, "wanted_chunks", s->wanted_chunks);
	jw_u64(&w, "wanted_bytes", s->wanted_bytes);
	jw_str(&w, "held", s->held[0] != '\0' ? s->held : NULL);
	jw_arr(&w, "peers");
	for (uint32_t i = 0; i < v.n_peers; i++) {
		if (only != NULL && !api_peer_is(&v.peer[i], only))
			continue;
		jw_peer(&w, &v, &v.peer[i]);
		shown++;
	}
	jw_end(&w);
	if ((e = api_jw_words(c, &w, &v.shares)) != ERR_OK)
		goto out;
	jw_end(&w);
	e = only != NULL && shown == 0
		? errmsg_set(&c->em, ERR_NOTFOUND, "See: pesscara peer list",
		      "no such peer")
		: api_answer(c, &b);
out:
	buf_fini(&b);
	view_fini(&v);
	return e;
}

enum err
api_h_sync(struct api_call *c)
{
	struct net_sync s = { 0 };

	net_sync_status(c->a->o.net, &s);
	return sync_answer(c, &s);
}

enum err
api_h_sync_now(struct api_call *c)
{
	net_sync_now(c->a->o.net);
	return api_answer_ok(c);
}

/* Waits in slices, so that a client that goes away is noticed. */
enum err
api_h_sync_wait(struct api_call *c)
{
	static const char *const keys[] = { "i:timeout_ms", NULL };
	struct net_sync s = { 0 };
	uint64_t until;
	int64_t ms;
	enum err e;

	if ((e = api_body(c)) != ERR_OK || (e = api_only(c, keys)) != ERR_OK)
		return e;
	ms = json_get_int(c->body, "timeout_ms", 60000);
	if (ms < 0 || ms > (int64_t)API_WAIT_MS)
		return errmsg_set(&c->em, ERR_LIMIT, "Wait less long.",
		    "timeout_ms must be from 0 to %u", API_WAIT_MS);
	until = clock_mono_ms() + (uint64_t)ms;
	do {
		uint64_t now = clock_mono_ms();
		uint64_t left = until > now ? until - now : 0;

		e = net_sync_wait(c->a->o.net, left < 500 ? left : 500, &s);
	} while (e == ERR_TIMEOUT && clock_mono_ms() < until &&
		 !c->out->gone(c->out->ctx));
	if (e != ERR_OK && e != ERR_TIMEOUT)
		return e;
	return sync_answer(c, &s);
}
