/* node/api/air.c: what a session would carry, into a file and out of one. */
#include "node/api/api_internal.h"

#define AIR_PREFIX_MIN 12u

static bool
air_gone(void *ctx)
{
	struct api_call *c = ctx;

	return c->out->gone(c->out->ctx);
}

static bool
key_begins(const struct cry_device_pub *d, const char *name)
{
	char text[CRY_KEY_TEXT_LEN + 1];

	cry_key_text(d, text);
	return strlen(name) >= AIR_PREFIX_MIN &&
	       strncmp(text, name, strlen(name)) == 0;
}

/* Peers that are known by their whole key. */
static enum err
by_peers(struct api_call *c, const char *name, struct cry_device_pub *out)
{
	struct net_peer *list = NULL;
	uint32_t n = 0;
	enum err e = net_peers(c->a->o.net, &list, &n);
	bool found = false;

	for (uint32_t i = 0; e == ERR_OK && i < n && !found; i++) {
		found = api_peer_is(&list[i], name) &&
			!api_zero(&list[i].device.sign, 32);
		if (found)
			*out = list[i].device;
	}
	net_peers_free(list);
	return e != ERR_OK ? e : found ? ERR_OK : ERR_NOTFOUND;
}

static enum err
by_members(struct api_call *c, const char *name, struct cry_device_pub *out)
{
	struct share_member_info *list = NULL;
	struct api_shares s = { 0 };
	enum err e = api_shares_load(c, &s), found = ERR_NOTFOUND;
	uint32_t n = 0;

	for (uint32_t i = 0; e == ERR_OK && i < s.n; i++) {
		e = shares_members(c->a->o.shares, &s.list[i].id, &list, &n);
		for (uint32_t k = 0; e == ERR_OK && k < n; k++) {
			if (!key_begins(&list[k].device, name))
				continue;
			*out = list[k].device;
			found = ERR_OK;
		}
		shares_members_free(list);
		list = NULL;
		if (e == ERR_NOTFOUND)
			e = ERR_OK; /* a share whose join waits */
	}
	api_shares_free(&s);
	return e != ERR_OK ? e : found;
}

static enum err
air_reader(struct api_call *c, const char *name, struct cry_device_pub *out)
{
	enum err e;

	if (cry_key_parse(slice_str(name), out) == ERR_OK)
		return ERR_OK;
	e = by_peers(c, name, out);
	if (e == ERR_NOTFOUND)
		e = by_members(c, name, out);
	return e == ERR_NOTFOUND
		   ? errmsg_set(&c->em, e,
			 "Give the key that `pesscara id` prints there.",
			 "no such peer or member")
		   : e;
}

static enum err
air_answer(struct api_call *c, const struct net_air_done *d, bool in)
{
	struct buf b = BUF_MAX(4096);
	struct jw w;
	enum err e;

	jw_init(&w, &b);
	jw_obj(&w, NULL);
	api_jw_device(&w, "peer", &d->peer);
	jw_u64(&w, "shares", d->shares);
	jw_u64(&w, "records", d->records);
	jw_u64(&w, "ops", d->ops);
	jw_u64(&w, "chunks", d->chunks);
	jw_u64(&w, "bytes", d->bytes);
	if (in) {
		jw_u64(&w, "new_ops", d->new_ops);
		jw_u64(&w, "new_chunks", d->new_chunks);
	}
	jw_end(&w);
	e = api_answer(c, &b);
	buf_fini(&b);
	return e;
}

struct air_audit {
	char actor[API_ACTOR_BYTES];
	const char *what;
};

static enum err
air_audit(struct store_txn *t, void *ctx)
{
	const struct air_audit *a = ctx;

	return cat_audit_append(t, a->actor, a->what, "file", "");
}

/* Before it begins: who carries data out is on record. */
static enum err
air_record(struct api_call *c, const char *what)
{
	struct air_audit a = { .what = what };

	api_actor(c, a.actor);
	return store_write(c->a->o.store, air_audit, &a);
}

enum err
api_h_air_export(struct api_call *c)
{
	static const char *const keys[] = { "s:path", "s:peer", "b:all",
		"b:no_content", NULL };
	struct net_air_opts o = { .stop = air_gone, .stop_ctx = c };
	struct net_air_done d;
	const char *peer;
	enum err e;

	if ((e = api_body(c)) != ERR_OK || (e = api_only(c, keys)) != ERR_OK ||
	    (e = api_need(c, "path", &o.path)) != ERR_OK ||
	    (e = api_need(c, "peer", &peer)) != ERR_OK ||
	    (e = air_reader(c, peer, &o.to)) != ERR_OK)
		return e;
	o.all = json_get_bool(c->body, "all", false);
	o.no_content = json_get_bool(c->body, "no_content", false);
	if ((e = air_record(c, "sync export")) == ERR_OK)
		e = net_air_export(c->a->o.net, &o, &d, &c->em);
	return e == ERR_OK ? air_answer(c, &d, false) : e;
}

enum err
api_h_air_import(struct api_call *c)
{
	static const char *const keys[] = { "s:path", NULL };
	struct net_air_opts o = { .stop = air_gone, .stop_ctx = c };
	struct net_air_done d;
	enum err e;

	if ((e = api_body(c)) != ERR_OK || (e = api_only(c, keys)) != ERR_OK ||
	    (e = api_need(c, "path", &o.path)) != ERR_OK)
		return e;
	if ((e = air_record(c, "sync import")) == ERR_OK)
		e = net_air_import(c->a->o.net, &o, &d, &c->em);
	return e == ERR_OK ? air_answer(c, &d, true) : e;
}
