/* node/api/share_routes.c: project spaces: list, create, invite, join,
 * grant, subscribe. */
#include "node/api/api_internal.h"

#include <time.h>

#include "store/base/mem.h"
#include "store/base/num.h"

#define CHAIN_FETCH_TRIES 60 /* of 50 ms */
#define INVITE_S_MAX ((uint64_t)365 * 86400)
#define INVITE_ADDRS_MAX 4u

static enum err
share_named(struct api_call *c, struct share_info *i)
{
	return shares_find(c->a->o.shares, c->param[0], i, &c->em);
}

enum err
api_h_shares(struct api_call *c)
{
	struct api_shares list;
	struct api_roots roots = { 0 };
	struct api_rows s;
	enum err e = api_shares_load(c, &list);
	uint32_t i;

	api_rows_init(&s, c, API_LIST_BYTES);
	if (e == ERR_OK)
		e = net_roots(c->a->o.net, &roots.list, &roots.n);
	if (e != ERR_OK)
		goto out;
	for (i = 0; i < list.n; i++) {
		api_jw_share(api_row(&s), NULL, &list.list[i], &roots);
		api_row_end(&s);
	}
	net_roots_free(roots.list);
	e = api_rows_flush(&s);
out:
	api_rows_fini(&s);
	api_shares_free(&list);
	return e;
}

static enum err
share_answer(struct api_call *c, const char *name)
{
	struct buf b = BUF_MAX(API_ROW_BYTES);
	struct api_roots roots = { 0 };
	struct share_info i = { 0 };
	struct jw w;
	enum err e = shares_find(c->a->o.shares, name, &i, &c->em);

	if (e != ERR_OK)
		return e;
	e = net_roots(c->a->o.net, &roots.list, &roots.n);
	if (e == ERR_OK) {
		jw_init(&w, &b);
		jw_obj(&w, NULL);
		api_jw_share(&w, NULL, &i, &roots);
		jw_end(&w);
		net_roots_free(roots.list);
		e = api_answer(c, &b);
	}
	buf_fini(&b);
	share_info_fini(&i);
	return e;
}

enum err
api_h_share(struct api_call *c)
{
	return share_answer(c, c->param[0]);
}

enum err
api_h_share_create(struct api_call *c)
{
	static const char *const keys[] = { "s:name", "l:compartments",
		"b:allow_identified", NULL };
	const char *names[LIM_COMPARTMENTS] = { "main" };
	const struct json *list;
	const char *name;
	size_t i, n = 1;
	enum err e;

	if ((e = api_body(c)) != ERR_OK || (e = api_only(c, keys)) != ERR_OK ||
	    (e = api_need(c, "name", &name)) != ERR_OK)
		return e;
	list = json_get(c->body, "compartments");
	if (json_len(list) > LIM_COMPARTMENTS)
		return errmsg_set(&c->em, ERR_LIMIT, "Name fewer.",
		    "a share has at most %u compartments", LIM_COMPARTMENTS);
	for (i = 0; i < json_len(list); i++) {
		names[i] = json_str(json_at(list, i));
		if (names[i] == NULL)
			return errmsg_set(&c->em, ERR_MALFORMED, "Give names.",
			    "compartments must be a list of names");
		n = i + 1;
	}
	e = shares_create(c->a->o.shares, name, names, (uint32_t)n,
	    json_get_bool(c->body, "allow_identified", false), &c->em);
	return e == ERR_OK ? share_answer(c, name) : e;
}

enum err
api_h_members(struct api_call *c)
{
	struct share_member_info *list = NULL;
	struct share_info i = { 0 };
	struct api_rows s;
	uint32_t k, n = 0;
	enum err e = share_named(c, &i);

	if (e != ERR_OK)
		return e;
	api_rows_init(&s, c, API_LIST_BYTES);
	e = shares_members(c->a->o.shares, &i.id, &list, &n);
	if (e == ERR_OK) {
		for (k = 0; k < n; k++) {
			struct jw *w = api_row(&s);

			api_jw_device(w, "key", &list[k].device);
			jw_str(w, "site", list[k].site);
			jw_str(w, "role", list[k].role);
			jw_str(w, "compartment", list[k].compartment);
			jw_bool(w, "frozen", list[k].frozen);
			api_row_end(&s);
		}
		shares_members_free(list);
		e = api_rows_flush(&s);
	}
	api_rows_fini(&s);
	share_info_fini(&i);
	return e;
}

/* --- invites --- */
struct addr_list {
	struct invite_addr a[INVITE_ADDRS_MAX];
	uint32_t n;
};

static void
addr_add(struct addr_list *l, const char *host, uint16_t port,
    const struct cry_box_pk *key)
{
	struct invite_addr *a;

	if (l->n == INVITE_ADDRS_MAX || port == 0)
		return;
	a = &l->a[l->n++];
	*a = (struct invite_addr){ .port = port, .key = *key };
	(void)snprintf(a->host, sizeof(a->host), "%s", host);
}

static bool
is_member(const struct share_member_info *m, uint32_t n,
    const struct cry_device_pub *d)
{
	uint32_t i;

	for (i = 0; i < n; i++) {
		if (memcmp(&m[i].device.box, &d->box, sizeof(d->box)) == 0)
			return true;
	}
	return false;
}

/* Where the share can be met: ourselves, then members that have addresses
 * (hubs, mostly). */
static enum err
invite_addrs(
    struct api_call *c, const struct share_info *i, struct addr_list *l)
{
	struct share_member_info *members = NULL;
	struct net_peer *peers = NULL;
	uint32_t k, n_members = 0, n_peers = 0;
	const char *own = json_get_str(c->body, "address", NULL);
	char text[160], host[128];
	uint16_t port;
	enum err e;

	net_listen_text(c->a->o.net, text, sizeof(text));
	e = conf_address(own != NULL ? own : text, host, sizeof(host), &port);
	if (e == ERR_OK)
		addr_add(l, host, port, &c->a->o.me->pub.box);
	else if (own != NULL)
		return errmsg_set(&c->em, ERR_MALFORMED, "Give HOST:PORT.",
		    "address is not HOST:PORT");
	e = shares_members(c->a->o.shares, &i->id, &members, &n_members);
	if (e != ERR_OK)
		return e;
	e = net_peers(c->a->o.net, &peers, &n_peers);
	if (e == ERR_OK) {
		for (k = 0; k < n_peers; k++) {
			if (is_member(members, n_members, &peers[k].device))
				addr_add(l, peers[k].host, peers[k].port,
				    &peers[k].device.box);
		}
		net_peers_free(peers);
	}
	shares_members_free(members);
	return e;
}

static enum err
body_history(struct api_call *c, bool *none)
{
	const char *history = json_get_str(c->body, "history", "all");

	*none = strcmp(history, "none") == 0;
	if (!*none && strcmp(history, "all") != 0)
		return errmsg_set(&c->em, ERR_MALFORMED,
		    "Use --history all or none.",
		    "history must be all or none");
	return ERR_OK;
}

static enum err
invite_opts(struct api_call *c, struct share_invite_opts *o)
{
	static const char *const keys[] = { "s:role", "s:compartment",
		"s:expires", "s:address", "s:history", "b:approve", NULL };
	const char *role, *expires;
	enum err e;

	if ((e = api_body(c)) != ERR_OK || (e = api_only(c, keys)) != ERR_OK ||
	    (e = api_need(c, "role", &role)) != ERR_OK)
		return e;
	if (role_parse(slice_str(role), &o->role) != ERR_OK)
		return errmsg_set(&c->em, ERR_MALFORMED,
		    "One of: admin writer runner reader auditor hub",
		    "role \"%.32s\" is not known", role);
	o->compartment = json_get_str(c->body, "compartment", NULL);
	o->approve = json_get_bool(c->body, "approve", false);
	if ((e = body_history(c, &o->no_history)) != ERR_OK)
		return e;
	expires = json_get_str(c->body, "expires", "7d");
	if (num_duration_s(
		slice_str(expires), INVITE_S_MAX, &o->expires_in_s) != ERR_OK)
		return errmsg_set(&c->em, ERR_MALFORMED,
		    "Write 12h or 7d; at most 365d.",
		    "expires is not a duration");
	return ERR_OK;
}

enum err
api_h_invite(struct api_call *c)
{
	struct share_invite_opts o = { 0 };
	struct addr_list addrs = { 0 };
	struct share_info i = { 0 };
	struct buf text = BUF_MAX(16 * KIB), b = BUF_MAX(32 * KIB);
	struct jw w;
	enum err e = invite_opts(c, &o);

	if (e != ERR_OK || (e = share_named(c, &i)) != ERR_OK)
		return e;
	e = invite_addrs(c, &i, &addrs);
	/* A hub that joins is met by whoever dials it: us, for one. */
	if (e == ERR_OK && addrs.n == 0 && o.role != ROLE_HUB)
		e = errmsg_set(&c->em, ERR_NOTFOUND,
		    "Set peers.listen, or add a peer that is a hub of the "
		    "share.",
		    "nobody could meet the share: this node listens nowhere");
	o.addrs = addrs.a;
	o.n_addrs = addrs.n;
	if (e == ERR_OK)
		e = shares_invite(
		    c->a->o.shares, c->param[0], &o, &text, &c->em);
	if (e == ERR_OK) {
		jw_init(&w, &b);
		jw_obj(&w, NULL);
		jw_strn(&w, "invite", buf_slice(&text));
		jw_end(&w);
		e = api_answer(c, &b);
	}
	buf_wipe(&text);
	buf_wipe(&b);
	share_info_fini(&i);
	return e;
}

enum err
api_h_join(struct api_call *c)
{
	static const char *const keys[] = { "s:invite", NULL };
	struct buf b = BUF_MAX(4096);
	struct invite v = { 0 };
	const char *text;
	struct jw w;
	uint32_t k;
	enum err e;

	if ((e = api_body(c)) != ERR_OK || (e = api_only(c, keys)) != ERR_OK ||
	    (e = api_need(c, "invite", &text)) != ERR_OK ||
	    (e = shares_join(c->a->o.shares, text, &v, &c->em)) != ERR_OK)
		return e;
	for (k = 0; k < v.n_addrs && e == ERR_OK; k++) {
		struct cry_device_pub d = { .box = v.addrs[k].key };

		e = net_peer_add(
		    c->a->o.net, v.addrs[k].host, v.addrs[k].port, &d, &c->em);
		if (e == ERR_EXISTS)
			e = ERR_OK;
	}
	explicit_bzero(v.secret, sizeof(v.secret));
	if (e != ERR_OK)
		return e;
	net_sync_now(c->a->o.net);
	jw_init(&w, &b);
	jw_obj(&w, NULL);
	api_jw_b32(&w, "id", v.share.b, sizeof(v.share.b));
	jw_str(&w, "state", "pending");
	jw_end(&w);
	e = api_answer(c, &b);
	buf_fini(&b);
	return e;
}

/* Is a connected peer's chain another than ours? */
static bool
chain_moves(struct api_call *c, const struct share_id *id)
{
	struct net_lag *list = NULL;
	bool moves = false;
	uint32_t n = 0;

	if (c->a->o.net == NULL || net_lags(c->a->o.net, &list, &n) != ERR_OK)
		return false;
	for (uint32_t k = 0; k < n; k++)
		moves |= memcmp(&list[k].lag.share, id, sizeof(*id)) == 0 &&
			 !list[k].lag.in_sync &&
			 list[k].lag.why == REPL_WHY_CHAIN;
	net_lags_free(list);
	return moves;
}

/* Before a record is signed: what connected peers have of the chain comes
 * first, so that no number is signed twice (rulings.md 21).  One that says it
 * has more, and brings nothing, is waited for no longer than this. */
void
api_chain_fetch(struct api_call *c)
{
	const struct timespec pause = { .tv_nsec = 50000000 };
	struct share_info i = { 0 };
	struct errmsg em = { 0 };

	if (shares_find(c->a->o.shares, c->param[0], &i, &em) != ERR_OK)
		return;
	for (int k = 0;
	     k < CHAIN_FETCH_TRIES && !i.halted && chain_moves(c, &i.id); k++)
		(void)nanosleep(&pause, NULL);
	share_info_fini(&i);
}

/* Done; or drafted, if other registrars sign, too. */
enum err
api_signed_answer(struct api_call *c)
{
	struct share_info i = { 0 };
	struct share_request *list = NULL;
	struct buf b = BUF_MAX(64);
	uint32_t n = 0;
	bool waits = false;
	enum err e = shares_find(c->a->o.shares, c->param[0], &i, &c->em);

	if (e == ERR_OK && i.k > 1)
		e = shares_requests(
		    c->a->o.shares, c->param[0], &list, &n, &c->em);
	for (uint32_t k = 0; k < n; k++)
		waits |= list[k].ours;
	shares_requests_free(list);
	share_info_fini(&i);
	if (e != ERR_OK)
		return e;
	buf_put_str(
	    &b, waits ? "{\"ok\":true,\"waits\":true}" : "{\"ok\":true}");
	e = api_answer(c, &b);
	buf_fini(&b);
	return e;
}

enum err
api_h_grant(struct api_call *c)
{
	static const char *const keys[] = { "s:key", "s:role", "s:compartment",
		"s:history", NULL };
	struct share_grant_opts o = { 0 };
	const char *key, *role;
	enum err e;

	if ((e = api_body(c)) != ERR_OK || (e = api_only(c, keys)) != ERR_OK ||
	    (e = api_need(c, "key", &key)) != ERR_OK ||
	    (e = api_need(c, "role", &role)) != ERR_OK)
		return e;
	if (cry_key_parse(slice_str(key), &o.device) != ERR_OK)
		return errmsg_set(&c->em, ERR_MALFORMED,
		    "Copy the whole key that `pesscara id` prints there.",
		    "key is not a Pesscara key");
	if (role_parse(slice_str(role), &o.role) != ERR_OK)
		return errmsg_set(&c->em, ERR_MALFORMED,
		    "One of: admin writer runner reader auditor hub",
		    "role \"%.32s\" is not known", role);
	if ((e = body_history(c, &o.no_history)) != ERR_OK)
		return e;
	o.compartment = json_get_str(c->body, "compartment", NULL);
	api_chain_fetch(c);
	e = shares_grant_with(c->a->o.shares, c->param[0], &o, &c->em);
	return e == ERR_OK ? api_signed_answer(c) : e;
}

/* The device that "key" names. */
static enum err
body_device(struct api_call *c, struct cry_device_pub *out)
{
	const char *key;
	enum err e = api_need(c, "key", &key);

	if (e != ERR_OK)
		return e;
	if (cry_key_parse(slice_str(key), out) != ERR_OK)
		return errmsg_set(&c->em, ERR_MALFORMED,
		    "Copy the whole key that `pesscara share members` shows.",
		    "key is not a Pesscara key");
	return ERR_OK;
}

enum err
api_h_requests(struct api_call *c)
{
	static const struct cry_device_pub none;
	struct share_request *list = NULL;
	struct api_rows s;
	uint32_t k, n = 0;
	enum err e =
	    shares_requests(c->a->o.shares, c->param[0], &list, &n, &c->em);

	if (e != ERR_OK)
		return e;
	api_rows_init(&s, c, API_LIST_BYTES);
	for (k = 0; k < n; k++) {
		struct jw *w = api_row(&s);

		jw_str(w, "id", list[k].id);
		jw_str(w, "what", list[k].what);
		jw_str(w, "signed", list[k].signed_by);
		jw_bool(w, "ours", list[k].ours);
		jw_str(w, "site", list[k].site);
		jw_str(w, "role", list[k].role);
		jw_str(w, "compartment", list[k].compartment);
		jw_str(w, "history", list[k].history);
		jw_bool(w, "widens", list[k].widens);
		if (memcmp(&list[k].device, &none, sizeof(none)) != 0)
			api_jw_device(w, "key", &list[k].device);
		api_row_end(&s);
	}
	shares_requests_free(list);
	e = api_rows_flush(&s);
	api_rows_fini(&s);
	return e;
}

enum err
api_h_approve(struct api_call *c)
{
	static const char *const keys[] = { "s:id", "b:reject", "b:instead",
		NULL };
	enum share_answer answer = SHARE_YES;
	const char *id;
	enum err e;

	if ((e = api_body(c)) != ERR_OK || (e = api_only(c, keys)) != ERR_OK ||
	    (e = api_need(c, "id", &id)) != ERR_OK)
		return e;
	if (json_get_bool(c->body, "reject", false))
		answer = SHARE_NO;
	else if (json_get_bool(c->body, "instead", false))
		answer = SHARE_INSTEAD;
	api_chain_fetch(c);
	e = shares_approve(c->a->o.shares, c->param[0], id, answer, &c->em);
	return e == ERR_OK ? api_signed_answer(c) : e;
}

typedef enum err (*device_act_fn)(struct shares *sh, const char *share,
    const struct cry_device_pub *device, const char *reason, struct errmsg *em);

static enum err
device_act(struct api_call *c, device_act_fn fn)
{
	static const char *const keys[] = { "s:key", "s:reason", NULL };
	struct cry_device_pub device;
	enum err e;

	if ((e = api_body(c)) != ERR_OK || (e = api_only(c, keys)) != ERR_OK ||
	    (e = body_device(c, &device)) != ERR_OK)
		return e;
	if (fn != shares_freeze) /* that one is for at once */
		api_chain_fetch(c);
	e = fn(c->a->o.shares, c->param[0], &device,
	    json_get_str(c->body, "reason", NULL), &c->em);
	return e == ERR_OK ? api_signed_answer(c) : e;
}

enum err
api_h_revoke(struct api_call *c)
{
	return device_act(c, shares_revoke);
}

enum err
api_h_adopt(struct api_call *c)
{
	return device_act(c, shares_adopt);
}

enum err
api_h_freeze(struct api_call *c)
{
	return device_act(c, shares_freeze);
}

enum err
api_h_thaw(struct api_call *c)
{
	return device_act(c, shares_thaw);
}

enum err
api_h_rotate(struct api_call *c)
{
	static const char *const keys[] = { "s:compartment", NULL };
	enum err e;

	if ((e = api_body(c)) != ERR_OK || (e = api_only(c, keys)) != ERR_OK)
		return e;
	api_chain_fetch(c);
	e = shares_rotate(c->a->o.shares, c->param[0],
	    json_get_str(c->body, "compartment", NULL), &c->em);
	return e == ERR_OK ? api_signed_answer(c) : e;
}

enum err
api_h_registrars(struct api_call *c)
{
	static const char *const keys[] = { "l:keys", "i:sign", NULL };
	struct member_registrars to = { 0 };
	const struct json *list;
	int64_t sign;
	enum err e;

	if ((e = api_body(c)) != ERR_OK || (e = api_only(c, keys)) != ERR_OK)
		return e;
	list = json_get(c->body, "keys");
	if (json_len(list) == 0 || json_len(list) > MEMBER_REGISTRARS_MAX)
		return errmsg_set(&c->em, ERR_LIMIT,
		    "Name the KEY of each, after the share.",
		    "a share has 1 to %u registrars", MEMBER_REGISTRARS_MAX);
	to.n = (uint8_t)json_len(list);
	for (uint8_t i = 0; i < to.n; i++) {
		const char *key = json_str(json_at(list, i));

		if (key == NULL ||
		    cry_key_parse(slice_str(key), &to.device[i]) != ERR_OK)
			return errmsg_set(&c->em, ERR_MALFORMED,
			    "Copy whole keys that `pesscara share members` "
			    "shows.",
			    "keys must be a list of Pesscara keys");
	}
	sign = json_get_int(c->body, "sign", to.n / 2 + 1);
	if (sign < 1 || sign > to.n)
		return errmsg_set(&c->em, ERR_MALFORMED,
		    "Leave --sign out: more than half then sign.",
		    "sign must be 1 to the number of registrars");
	to.k = (uint8_t)sign;
	api_chain_fetch(c);
	e = shares_registrars(c->a->o.shares, c->param[0], &to, &c->em);
	return e == ERR_OK ? api_signed_answer(c) : e;
}

enum err
api_h_subscribe(struct api_call *c)
{
	static const char *const keys[] = { "s:compartment", "s:content",
		"s:where", NULL };
	static const char *const words[] = { "none", "all", "pin", "lazy" };
	const char *content;
	uint32_t i;
	enum err e;

	if ((e = api_body(c)) != ERR_OK || (e = api_only(c, keys)) != ERR_OK ||
	    (e = api_need(c, "content", &content)) != ERR_OK)
		return e;
	for (i = 0; i < 4 && strcmp(content, words[i]) != 0; i++)
		;
	if (i == 4)
		return errmsg_set(&c->em, ERR_UNSUPPORTED,
		    "Use --content none, lazy, all or pin.",
		    "content must be none, lazy, all or pin");
	e = shares_subscribe_where(c->a->o.shares, c->param[0],
	    json_get_str(c->body, "compartment", NULL), (enum share_content)i,
	    json_get_str(c->body, "where", NULL), &c->em);
	return e == ERR_OK ? share_answer(c, c->param[0]) : e;
}
