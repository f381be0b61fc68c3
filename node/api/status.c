/* node/api/status.c: what the node is and how it does. */
#include "node/api/api_internal.h"

#include "store/base/clock.h"

static enum err
status_store(struct api_call *c, struct jw *w)
{
	struct store *s = c->a->o.store;
	struct store_stats st;
	struct db_txn *t = NULL;
	uint64_t logical = 0, assets = 0;
	enum err e = store_read(s, &t);

	if (e != ERR_OK)
		return e;
	e = cat_totals(t, &logical, &assets);
	db_abort(t);
	if (e == ERR_OK)
		e = store_stats(s, &st);
	if (e != ERR_OK)
		return e;
	jw_obj(w, "store");
	jw_u64(w, "logical_bytes", logical);
	jw_u64(w, "stored_bytes", st.stored_bytes);
	jw_u64(w, "segment_bytes", st.segment_bytes);
	jw_u64(w, "index_bytes", st.index_bytes);
	jw_u64(w, "chunks", st.chunks);
	jw_u64(w, "assets", assets);
	jw_u64(w, "commits", st.commits);
	jw_u64(w, "live_bytes", st.live_bytes);
	jw_u64(w, "dead_bytes", st.dead_bytes);
	jw_u64(w, "grace_bytes", st.grace_bytes);
	jw_u64(w, "quota_bytes", c->a->o.conf->store_quota_bytes);
	jw_bool(w, "quota_full", store_quota_full(s));
	jw_end(w);
	return ERR_OK;
}

static enum err
status_shares(struct api_call *c, struct jw *w)
{
	struct api_shares s;
	struct api_roots roots = { 0 };
	enum err e = api_shares_load(c, &s);
	uint32_t i;

	if (e == ERR_OK)
		e = net_roots(c->a->o.net, &roots.list, &roots.n);
	if (e == ERR_OK) {
		jw_arr(w, "shares");
		for (i = 0; i < s.n; i++) {
			jw_obj(w, NULL);
			api_jw_share(w, NULL, &s.list[i], &roots);
			jw_end(w);
		}
		jw_end(w);
		net_roots_free(roots.list);
	}
	api_shares_free(&s);
	return e;
}

void
api_jw_peer(struct jw *w, const struct net_peer *p)
{
	char address[160];

	api_jw_device(w, "key", &p->device);
	if (p->port == 0)
		jw_null(w, "address");
	else {
		(void)snprintf(address, sizeof(address),
		    strchr(p->host, ':') ? "[%s]:%u" : "%s:%u", p->host,
		    (unsigned)p->port);
		jw_str(w, "address", address);
	}
	jw_bool(w, "connected", p->connected);
	api_jw_time(w, "last_contact", p->last_contact_ms);
	jw_u64(w, "lag_ops", p->lag_ops);
	jw_u64(w, "lag_bytes", p->lag_bytes);
	jw_bool(w, "in_sync", p->in_sync);
	jw_u64(w, "bytes_rx", p->bytes_rx);
	jw_u64(w, "bytes_tx", p->bytes_tx);
	jw_u64(w, "chunks_rx", p->chunks_rx);
	jw_u64(w, "chunks_tx", p->chunks_tx);
	jw_str(w, "error", p->error[0] != '\0' ? p->error : NULL);
}

static enum err
status_peers(struct api_call *c, struct jw *w)
{
	struct net_peer *list = NULL;
	uint32_t i, n = 0;
	enum err e = net_peers(c->a->o.net, &list, &n);

	if (e != ERR_OK)
		return e;
	jw_arr(w, "peers");
	for (i = 0; i < n; i++) {
		jw_obj(w, NULL);
		api_jw_peer(w, &list[i]);
		jw_end(w);
	}
	jw_end(w);
	net_peers_free(list);
	return ERR_OK;
}

static void
status_listen(struct api_call *c, struct jw *w)
{
	struct api *a = c->a;
	char text[160];

	jw_obj(w, "listen");
	ingest_listen_text(a->o.ingest, text, sizeof(text));
	jw_str(w, "dicom", text);
	ingest_tls_text(a->o.ingest, text, sizeof(text));
	jw_str(w, "dicom_tls", text);
	net_listen_text(a->o.net, text, sizeof(text));
	jw_str(w, "peers", text);
	(void)pthread_mutex_lock(&a->mu);
	jw_str(w, "rest", a->rest_listen);
	(void)pthread_mutex_unlock(&a->mu);
	jw_end(w);
}

static void
status_who(struct api_call *c, struct jw *w)
{
	const struct cry_identity *me = c->a->o.me;
	char text[CRY_FINGERPRINT_LEN + 1];

	jw_str(w, "site", c->a->o.conf->site);
	api_jw_device(w, "key", &me->pub);
	cry_fingerprint(&me->pub.site, text);
	jw_str(w, "fingerprint", text);
}

static int
status_lock(void *ctx, const struct asset_id *id)
{
	(void)id;
	++*(uint64_t *)ctx;
	return 0;
}

/* GET /locks has them one by one. */
static enum err
status_locks(struct api_call *c, struct jw *w)
{
	struct db_txn *t = NULL;
	uint64_t n = 0;
	enum err e = store_read(c->a->o.store, &t);

	if (e != ERR_OK)
		return e;
	e = cat_locked_each(t, status_lock, &n);
	db_abort(t);
	jw_obj(w, "locks");
	jw_u64(w, "assets", n);
	jw_end(w);
	return e;
}

static void
status_scrub(struct api_call *c, struct jw *w)
{
	struct scrub_status st;

	scrub_status(c->a->o.scrub, &st);
	jw_obj(w, "scrub");
	jw_bool(w, "on", st.on);
	jw_u64(w, "rounds", st.rounds);
	jw_u64(w, "bytes", st.bytes);
	jw_u64(w, "bad", st.bad);
	jw_str(w, "last_bad", st.last[0] != '\0' ? st.last : NULL);
	jw_end(w);
}

enum err
api_h_status(struct api_call *c)
{
	struct buf b = BUF_MAX(API_ROW_BYTES);
	struct jw w;
	enum err e;

	jw_init(&w, &b);
	jw_obj(&w, NULL);
	status_who(c, &w);
	jw_str(&w, "version", PSC_VERSION);
	jw_u64(&w, "uptime_s", (clock_mono_ms() - c->a->started_ms) / 1000);
	jw_str(&w, "unlock",
	    c->a->o.unattended ? "credential file" : "passphrase");
	status_listen(c, &w);
	if ((e = status_store(c, &w)) != ERR_OK ||
	    (e = status_shares(c, &w)) != ERR_OK ||
	    (e = status_peers(c, &w)) != ERR_OK)
		goto out;
	if ((e = status_locks(c, &w)) != ERR_OK)
		goto out;
	status_scrub(c, &w);
	jw_obj(&w, "quarantine");
	jw_u64(&w, "held", ingest_quarantine_held(c->a->o.ingest));
	jw_end(&w);
	jw_end(&w);
	e = api_answer(c, &b);
out:
	buf_fini(&b);
	return e;
}

enum err
api_h_id(struct api_call *c)
{
	struct buf b = BUF_MAX(4096);
	struct jw w;
	enum err e;

	jw_init(&w, &b);
	jw_obj(&w, NULL);
	status_who(c, &w);
	jw_end(&w);
	e = api_answer(c, &b);
	buf_fini(&b);
	return e;
}

enum err
api_h_config(struct api_call *c)
{
	struct buf b = BUF_MAX(API_ROW_BYTES);
	enum err e = conf_show_json(c->a->o.conf, &b);

	if (e == ERR_OK)
		e = api_answer(c, &b);
	buf_fini(&b);
	return e;
}

/* --- peers and sync --- */
enum err
api_h_peers(struct api_call *c)
{
	struct net_peer *list = NULL;
	struct api_rows s;
	uint32_t i, n = 0;
	enum err e = net_peers(c->a->o.net, &list, &n);

	if (e != ERR_OK)
		return e;
	api_rows_init(&s, c, API_LIST_BYTES);
	for (i = 0; i < n; i++) {
		jw_init(&s.w, &s.b);
		jw_obj(&s.w, NULL);
		api_jw_peer(&s.w, &list[i]);
		jw_end(&s.w);
		buf_put_str(&s.b, "\n");
	}
	e = api_rows_flush(&s);
	api_rows_fini(&s);
	net_peers_free(list);
	return e;
}

enum err
api_h_peer_add(struct api_call *c)
{
	static const char *const keys[] = { "s:address", "s:key", NULL };
	struct cry_device_pub device = { 0 };
	const char *address, *key;
	char host[128];
	uint16_t port;
	enum err e;

	if ((e = api_body(c)) != ERR_OK || (e = api_only(c, keys)) != ERR_OK ||
	    (e = api_need(c, "address", &address)) != ERR_OK ||
	    (e = api_need(c, "key", &key)) != ERR_OK)
		return e;
	if (conf_address(address, host, sizeof(host), &port) != ERR_OK)
		return errmsg_set(&c->em, ERR_MALFORMED, "Give HOST:PORT.",
		    "address is not HOST:PORT");
	if (cry_key_parse(slice_str(key), &device) != ERR_OK)
		return errmsg_set(&c->em, ERR_MALFORMED,
		    "Copy the whole key that `pesscara id` prints there.",
		    "key is not a Pesscara key");
	e = net_peer_add(c->a->o.net, host, port, &device, &c->em);
	return e == ERR_OK ? api_answer_ok(c) : e;
}

enum err
api_h_peer_remove(struct api_call *c)
{
	enum err e = net_peer_remove(c->a->o.net, c->param[0], &c->em);

	return e == ERR_OK ? api_answer_ok(c) : e;
}
