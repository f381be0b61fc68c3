/* node/app/run.c: start every room in order, wait for a signal, stop them in
 * the other order.
 *
 * Whatever fails to start is named with its cause and next act, and what had
 * started is stopped again.  SIGTERM and SIGINT drain: associations finish,
 * the writer commits what it has, sockets close. */
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "node/api/api.h"
#include "node/app/app.h"
#include "node/app/gc.h"
#include "node/app/lay.h"
#include "node/app/home.h"
#include "node/backup/scrub.h"
#include "node/ops/log.h"
#include "node/web/web.h"
#include "store/base/passphrase.h"

struct node {
	struct conf conf;
	struct cry_identity id;
	struct store *store;
	struct shares *shares;
	struct net *net;
	struct ingest *ingest;
	struct workflows *workflows;
	struct api *api;
	struct web *web;
	struct app_gc *gc;
	struct app_lay *lay;
	struct scrub *scrub;
	bool unattended;
	pthread_mutex_t person_mu;
	char keystore[APP_PATH_MAX];
	char helper[APP_PATH_MAX];
};

static enum err
node_store(struct node *n, const struct app_args *a, struct errmsg *em)
{
	struct app_store o;
	enum err e;

	app_store_opts(a, &n->conf, &n->id, &o);
	e = store_open(&o.opts, &n->store, em);
	cry_wipe(&o, sizeof(o));
	return e;
}

static void
node_committed(void *ctx)
{
	workflows_wake(ctx);
}

static enum err
node_net(struct node *n, const struct app_args *a, struct errmsg *em)
{
	struct net_opts o = { n->store, n->shares, &n->id, n->conf.peers_listen,
		n->conf.peers_proxy, NULL, &n->conf };
	struct buf login = BUF_MAX(2 * KIB);
	char path[APP_PATH_MAX];
	enum err e = ERR_OK;

	app_path(a->home, APP_PROXY, path);
	if (app_exists(path)) {
		e = passphrase_file(path, "keys/proxy", &login, em);
		o.proxy_login = buf_cstr(&login);
	}
	if (e == ERR_OK)
		e = net_start(&o, &n->net, em);
	buf_wipe(&login);
	return e;
}

static enum err
node_rooms(struct node *n, const struct app_args *a, struct errmsg *em)
{
	enum err e;

	e = shares_open(&(struct shares_opts){ n->store, &n->id, n->conf.site },
	    &n->shares, em);
	if (e != ERR_OK)
		return e;
	e = node_net(n, a, em);
	if (e != ERR_OK)
		return e;
	e = ingest_start(&(struct ingest_opts){ n->store, n->shares, &n->conf,
			     n->helper, a->home, &n->id },
	    &n->ingest, em);
	if (e != ERR_OK)
		return e;
	e = workflows_start(&(struct workflows_opts){ n->store, n->shares,
				n->helper, n->conf.site },
	    &n->workflows, em);
	if (e == ERR_OK)
		e = store_on_commit(n->store, node_committed, n->workflows);
	return e;
}

/* Signing acts ask for the passphrase again each time (domain.md 25).  The
 * key derivation is slow on purpose; the lock lets one guess run at a time. */
static enum err
node_person(void *ctx, const char *passphrase)
{
	struct node *n = ctx;
	struct cry_identity id;
	enum err e;

	pthread_mutex_lock(&n->person_mu);
	e = cry_keystore_load(n->keystore, passphrase, NULL, &id, NULL);
	cry_identity_wipe(&id);
	pthread_mutex_unlock(&n->person_mu);
	return e;
}

static enum err
node_web(struct node *n, const struct app_args *a, struct errmsg *em)
{
	struct api_opts o = { .conf = &n->conf,
		.me = &n->id,
		.store = n->store,
		.shares = n->shares,
		.net = n->net,
		.ingest = n->ingest,
		.workflows = n->workflows,
		.helper = n->helper,
		.home = a->home,
		.scrub = n->scrub,
		.unattended = n->unattended,
		.person = node_person,
		.person_ctx = n };
	enum err e = api_new(&o, &n->api);

	if (e != ERR_OK)
		return errmsg_set(
		    em, e, "", "the API did not start: %s", err_text(e));
	return web_start(
	    &(struct web_opts){ a->home, n->conf.rest_listen, n->api }, &n->web,
	    em);
}

static void
node_stop(struct node *n)
{
	web_stop(n->web);
	app_gc_stop(n->gc);
	app_lay_stop(n->lay);
	scrub_stop(n->scrub);
	if (!ingest_stop(n->ingest))
		_exit(0); /* all that was acknowledged is durable */
	if (n->workflows != NULL)
		store_off_commit(n->store, node_committed, n->workflows);
	workflows_stop(n->workflows);
	net_stop(n->net);
	api_free(n->api);
	shares_close(n->shares);
	store_close(n->store);
	cry_identity_wipe(&n->id);
}

static void
node_ready(struct node *n)
{
	char dicom[80], peers[80];

	ingest_listen_text(n->ingest, dicom, sizeof(dicom));
	net_listen_text(n->net, peers, sizeof(peers));
	log_info("app", "node is ready",
	    "version=%s dicom=%s peers=%s rest=%s unattended=%d", PSC_VERSION,
	    dicom, peers, n->conf.rest_listen, n->unattended);
}

static void
block_signals(sigset_t *set)
{
	(void)sigemptyset(set);
	(void)sigaddset(set, SIGTERM);
	(void)sigaddset(set, SIGINT);
	(void)pthread_sigmask(SIG_BLOCK, set, NULL); /* threads inherit it */
	(void)signal(SIGPIPE, SIG_IGN);
}

enum err
app_run(const struct app_args *a, struct errmsg *em)
{
	/* too large for a stack frame */
	static struct node n = { .person_mu = PTHREAD_MUTEX_INITIALIZER };
	struct rlimit no_core = { 0, 0 };
	sigset_t set;
	int sig = 0;
	enum err e;

	(void)setrlimit(RLIMIT_CORE, &no_core); /* keys are in memory */
	block_signals(&set);
	if ((e = app_home_whole(a, em)) != ERR_OK ||
	    (e = conf_load(a->home, &n.conf, em)) != ERR_OK)
		return e;
	if ((e = app_sibling("pesscara-imaging", n.helper, em)) != ERR_OK)
		return e;
	app_path(a->home, APP_KEYSTORE, n.keystore);
	if ((e = app_keys(a, &n.id, &n.unattended, em)) != ERR_OK)
		return e;
	e = node_store(&n, a, em);
	if (e == ERR_OK)
		e = node_rooms(&n, a, em);
	if (e == ERR_OK)
		e = scrub_start(
		    n.store, n.conf.store_scrub_bytes, &n.scrub, em);
	if (e == ERR_OK)
		e = node_web(&n, a, em);
	if (e == ERR_OK)
		e = app_gc_start(n.store, n.shares, n.net, &n.conf, &n.gc);
	if (e == ERR_OK)
		e = app_lay_start(n.store, &n.lay);
	if (e == ERR_OK) {
		node_ready(&n);
		(void)sigwait(&set, &sig);
		log_info("app", "stopping", "signal=%d", sig);
	}
	node_stop(&n);
	return e;
}
