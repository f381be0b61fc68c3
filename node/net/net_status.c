/* node/net/net_status.c: what other threads see.
 *
 * The loop builds a snapshot at most every NET_SNAP_MS and swaps it in under
 * a mutex.  Waiting for sync first passes a barrier through the loop, which
 * scans the store, so that what the caller wrote before is counted. */
#include "node/net/net_internal.h"

#include <errno.h>

#include "store/base/clock.h"

void
net_snap_fini(struct net_snap *s)
{
	mem_free(s->peer);
	mem_free(s->lag);
	mem_free(s->root);
	mem_free(s->word);
	s->peer = NULL;
	s->lag = NULL;
	s->root = NULL;
	s->word = NULL;
}

/* Bytes a second since the last look a second or more ago. */
static void
rate_look(struct net_rec *r, uint64_t rx)
{
	uint64_t now = clock_mono_ms(), ms = now - r->rate_ms;

	if (r->rate_ms != 0 && ms < 1000)
		return;
	r->rate = r->rate_ms == 0 ? 0 : (rx - r->rate_rx) * 1000 / ms;
	r->rate_rx = rx;
	r->rate_ms = now;
}

static enum err
snap_lags(struct net_snap *s, const struct repl *core, uint32_t i,
    const struct cry_device_pub *device)
{
	uint32_t n = repl_lags(core, i, NULL, 0);
	struct repl_lag *rows;
	struct net_lag *v;

	if (n == 0)
		return ERR_OK;
	v = mem_grow(s->lag, (size_t)s->n_lags + n, sizeof(*v));
	if (v == NULL)
		return ERR_NOMEM;
	s->lag = v;
	if ((rows = mem_array(n, sizeof(*rows))) == NULL)
		return ERR_NOMEM;
	(void)repl_lags(core, i, rows, n);
	for (uint32_t k = 0; k < n; k++)
		v[s->n_lags++] =
		    (struct net_lag){ .device = *device, .lag = rows[k] };
	mem_free(rows);
	return ERR_OK;
}

static enum err
snap_peer(
    struct net *n, struct net_rec *r, struct net_snap *s, struct net_peer *p)
{
	struct repl_peer_status st = { 0 };
	uint64_t wanted = 0;
	enum err e = ERR_OK;
	uint32_t i;

	memcpy(p->host, r->host, sizeof(p->host));
	p->port = r->port;
	p->device = r->device;
	p->last_contact_ms = r->contact_ms;
	p->bytes_rx = r->rx;
	p->bytes_tx = r->tx;
	p->chunks_rx = r->chunks_rx;
	p->chunks_tx = r->chunks_tx;
	memcpy(p->error, r->error, sizeof(p->error));
	if (r->link == NULL)
		return ERR_OK;
	p->connected = true;
	p->bytes_rx += r->link->rx;
	p->bytes_tx += r->link->tx;
	rate_look(r, p->bytes_rx);
	p->rate = r->rate;
	for (i = 0; e == ERR_OK && i < repl_n_peers(n->core); i++) {
		repl_peer(n->core, i, &st);
		if (st.conn != r->link->conn)
			continue;
		p->lag_ops = st.lag_ops;
		p->in_sync = st.in_sync;
		p->chunks_rx += st.chunks_rx;
		p->chunks_tx += st.chunks_tx;
		e = snap_lags(s, n->core, i, &r->device);
	}
	(void)repl_wanted(n->core, &wanted);
	p->lag_bytes = wanted;
	return e;
}

static enum err
snap_peers(struct net *n, struct net_snap *s)
{
	enum err e = ERR_OK;
	uint32_t i;

	s->peer = mem_array(n->n_recs + 1, sizeof(*s->peer));
	if (s->peer == NULL)
		return ERR_NOMEM;
	for (i = 0; e == ERR_OK && i < n->n_recs; i++) {
		e = snap_peer(n, n->rec[i], s, &s->peer[s->n_peers]);
		s->sync.connected += s->peer[s->n_peers].connected;
		s->n_peers++;
	}
	return e;
}

static enum err
snap_roots_share(struct net *n, const struct share_info *in, struct net_snap *s)
{
	struct net_root *v;
	uint32_t i;

	if (in->n_compartments == 0 || repl_member(n->core, &in->id) == NULL)
		return ERR_OK;
	v = mem_grow(
	    s->root, (size_t)s->n_roots + in->n_compartments, sizeof(*v));
	if (v == NULL)
		return ERR_NOMEM;
	s->root = v;
	for (i = 0; i < in->n_compartments; i++) {
		v = &s->root[s->n_roots++];
		memset(v, 0, sizeof(*v));
		v->share = in->id;
		v->compartment = in->c[i].no;
		repl_root(n->core, &in->id, in->c[i].no, &v->root, &v->ops);
	}
	return ERR_OK;
}

static enum err
snap_roots(struct net *n, struct net_snap *s)
{
	struct share_info *list = NULL;
	uint32_t i, count = 0;
	enum err e;

	if ((e = shares_list(n->shares, &list, &count)) != ERR_OK)
		return e;
	for (i = 0; e == ERR_OK && i < count; i++)
		e = snap_roots_share(n, &list[i], s);
	shares_list_free(list, count);
	return e;
}

/* Comparing all words costs more than the rest: once a second will do. */
static enum err
snap_words(struct net *n, struct net_snap *s)
{
	const struct net_snap *was = &n->snap;
	bool fresh = was->words_ms == 0 || n->snap_ms >= was->words_ms + 1000;
	uint32_t count = fresh ? repl_words(n->core, NULL, 0) : was->n_words;

	s->word = mem_array(count + 1u, sizeof(*s->word));
	if (s->word == NULL)
		return ERR_NOMEM;
	if (fresh)
		(void)repl_words(n->core, s->word, count);
	else if (count > 0)
		memcpy(s->word, was->word, count * sizeof(*s->word));
	s->n_words = count;
	s->words_ms = fresh ? n->snap_ms : was->words_ms;
	return ERR_OK;
}

void
net_status_refresh(struct net *n)
{
	struct net_snap s = { 0 }, old;
	bool busy = n->jobs > 0 || n->todo != NULL || n->wants_more ||
		    atomic_load(&n->news);

	n->snap_ms = clock_mono_ms();
	n->snap_stale = false;
	if (n->broken || snap_peers(n, &s) != ERR_OK ||
	    snap_roots(n, &s) != ERR_OK || snap_words(n, &s) != ERR_OK) {
		net_snap_fini(&s);
		return;
	}
	s.sync.wanted_chunks = repl_wanted(n->core, &s.sync.wanted_bytes);
	s.sync.disk = n->disk;
	net_limit_text(n, &s.sync);
	/* who is known and not here may lack anything of ours */
	s.sync.in_sync = !busy && repl_in_sync(n->core) &&
			 (s.sync.connected > 0 || n->n_recs == 0);
	pthread_mutex_lock(&n->snap_lock);
	old = n->snap;
	n->snap = s;
	n->snap_no++;
	pthread_cond_broadcast(&n->snap_cond);
	pthread_mutex_unlock(&n->snap_lock);
	net_snap_fini(&old);
}

/* --- questions from other threads --- */

enum err
net_peers(struct net *n, struct net_peer **list, uint32_t *count)
{
	struct net_peer *v;

	pthread_mutex_lock(&n->snap_lock);
	v = mem_array(n->snap.n_peers + 1, sizeof(*v));
	if (v != NULL) {
		if (n->snap.n_peers > 0)
			memcpy(v, n->snap.peer, n->snap.n_peers * sizeof(*v));
		*list = v;
		*count = n->snap.n_peers;
	}
	pthread_mutex_unlock(&n->snap_lock);
	return v == NULL ? ERR_NOMEM : ERR_OK;
}

void
net_peers_free(struct net_peer *list)
{
	mem_free(list);
}

enum err
net_lags(struct net *n, struct net_lag **list, uint32_t *count)
{
	struct net_lag *v;

	pthread_mutex_lock(&n->snap_lock);
	v = mem_array(n->snap.n_lags + 1, sizeof(*v));
	if (v != NULL) {
		if (n->snap.n_lags > 0)
			memcpy(v, n->snap.lag, n->snap.n_lags * sizeof(*v));
		*list = v;
		*count = n->snap.n_lags;
	}
	pthread_mutex_unlock(&n->snap_lock);
	return v == NULL ? ERR_NOMEM : ERR_OK;
}

void
net_lags_free(struct net_lag *list)
{
	mem_free(list);
}

enum err
net_words(struct net *n, struct repl_words_row **list, uint32_t *count)
{
	struct repl_words_row *v;

	pthread_mutex_lock(&n->snap_lock);
	v = mem_array(n->snap.n_words + 1, sizeof(*v));
	if (v != NULL) {
		if (n->snap.n_words > 0)
			memcpy(v, n->snap.word, n->snap.n_words * sizeof(*v));
		*list = v;
		*count = n->snap.n_words;
	}
	pthread_mutex_unlock(&n->snap_lock);
	return v == NULL ? ERR_NOMEM : ERR_OK;
}

void
net_words_free(struct repl_words_row *list)
{
	mem_free(list);
}

enum err
net_roots(struct net *n, struct net_root **list, uint32_t *count)
{
	struct net_root *v;

	pthread_mutex_lock(&n->snap_lock);
	v = mem_array(n->snap.n_roots + 1, sizeof(*v));
	if (v != NULL) {
		if (n->snap.n_roots > 0)
			memcpy(v, n->snap.root, n->snap.n_roots * sizeof(*v));
		*list = v;
		*count = n->snap.n_roots;
	}
	pthread_mutex_unlock(&n->snap_lock);
	return v == NULL ? ERR_NOMEM : ERR_OK;
}

void
net_roots_free(struct net_root *list)
{
	mem_free(list);
}

void
net_sync_status(struct net *n, struct net_sync *out)
{
	pthread_mutex_lock(&n->snap_lock);
	*out = n->snap.sync;
	pthread_mutex_unlock(&n->snap_lock);
}

static struct timespec
time_in(uint64_t ms)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	ts.tv_sec += (time_t)(ms / 1000);
	ts.tv_nsec += (long)(ms % 1000) * 1000000;
	if (ts.tv_nsec >= 1000000000) {
		ts.tv_sec++;
		ts.tv_nsec -= 1000000000;
	}
	return ts;
}

enum err
net_sync_wait(struct net *n, uint64_t timeout_ms, struct net_sync *out)
{
	struct timespec until = time_in(timeout_ms);
	enum err e = ERR_OK;

	net_call(n, MAIL_BARRIER);
	pthread_mutex_lock(&n->snap_lock);
	while (e == ERR_OK &&
	       !(n->snap.sync.in_sync && n->snap.sync.connected > 0)) {
		if (pthread_cond_timedwait(
			&n->snap_cond, &n->snap_lock, &until) == ETIMEDOUT)
			e = ERR_TIMEOUT;
	}
	*out = n->snap.sync;
	pthread_mutex_unlock(&n->snap_lock);
	return e;
}

void
net_sync_now(struct net *n)
{
	net_call(n, MAIL_NOW);
}
