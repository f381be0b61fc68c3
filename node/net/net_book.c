/* node/net/net_book.c: the nodes we know, and when to dial them.
 *
 * Records with a row come from peer add or an invite; the others dialled us
 * and last as long as the process, the oldest idle one making room. */
#include "node/net/net_internal.h"

#include "node/ops/log.h"
#include "store/base/clock.h"

#define PEER_ROW_VERSION 1u

struct net_rec *
net_book_find(struct net *n, const struct cry_box_pk *box)
{
	uint32_t i;

	for (i = 0; i < n->n_recs; i++) {
		if (memcmp(n->rec[i]->device.box.b, box->b, sizeof(box->b)) ==
		    0)
			return n->rec[i];
	}
	return NULL;
}

static void
book_remove(struct net *n, uint32_t i)
{
	struct net_rec *r = n->rec[i];

	if (r->link != NULL)
		net_link_close(r->link, "peer removed");
	if (r->dialling != NULL)
		net_link_close(r->dialling, "peer removed");
	mem_free(r);
	n->rec[i] = n->rec[--n->n_recs];
}

static bool
book_make_room(struct net *n)
{
	uint32_t i, best = UINT32_MAX;

	for (i = 0; i < n->n_recs; i++) {
		if (n->rec[i]->kept || n->rec[i]->link != NULL)
			continue;
		if (best == UINT32_MAX ||
		    n->rec[i]->contact_ms < n->rec[best]->contact_ms)
			best = i;
	}
	if (best == UINT32_MAX)
		return false;
	book_remove(n, best);
	return true;
}

struct net_rec *
net_book_add(struct net *n, const struct cry_device_pub *d)
{
	struct net_rec *r, **v;

	if (n->n_recs >= NET_PEERS_MAX && !book_make_room(n))
		return NULL;
	if (n->n_recs == n->cap_recs) {
		v = mem_grow(
		    n->rec, n->cap_recs + 16, sizeof(struct net_rec *));
		if (v == NULL)
			return NULL;
		n->rec = v;
		n->cap_recs += 16;
	}
	if ((r = mem_new(sizeof(*r))) == NULL)
		return NULL;
	r->device = *d;
	r->backoff_ms = NET_BACKOFF_MIN_MS;
	n->rec[n->n_recs++] = r;
	return r;
}

void
net_book_free(struct net *n)
{
	uint32_t i;

	for (i = 0; i < n->n_recs; i++)
		mem_free(n->rec[i]);
	mem_free(n->rec);
}

/* --- dialling --- */

/* base +- 25 %, xorshift: only to spread the dials of many nodes. */
static uint64_t
jitter(struct net *n, uint64_t base_ms)
{
	n->rng ^= n->rng << 13;
	n->rng ^= n->rng >> 7;
	n->rng ^= n->rng << 17;
	return base_ms - base_ms / 4 + n->rng % (base_ms / 2 + 1);
}

void
net_book_failed(struct net *n, struct net_rec *r, bool good, const char *why)
{
	if (r->link == NULL)
		(void)snprintf(r->error, sizeof(r->error), "%s", why);
	if (good)
		r->backoff_ms = NET_BACKOFF_MIN_MS;
	r->next_ms = clock_mono_ms() + jitter(n, r->backoff_ms);
	r->backoff_ms *= 2;
	if (r->backoff_ms > NET_BACKOFF_MAX_MS)
		r->backoff_ms = NET_BACKOFF_MAX_MS;
}

uint64_t
net_book_dial(struct net *n, uint64_t now_ms)
{
	uint64_t at = UINT64_MAX;
	struct net_rec *r;
	uint32_t i;

	for (i = 0; i < n->n_recs; i++) {
		r = n->rec[i];
		if (r->port == 0 || r->link != NULL || r->dialling != NULL)
			continue;
		if (r->next_ms <= now_ms)
			net_link_dial(n, r);
		else if (r->next_ms < at)
			at = r->next_ms;
	}
	return at;
}

void
net_book_now(struct net *n)
{
	uint32_t i;

	for (i = 0; i < n->n_recs; i++) {
		n->rec[i]->next_ms = n->rec[i]->tried_ms == 0
					 ? 0
					 : n->rec[i]->tried_ms + NET_NOW_MS;
		n->rec[i]->backoff_ms = NET_BACKOFF_MIN_MS;
	}
}

/* --- rows --- */

static void
row_encode(struct buf *b, const struct net_rec *r)
{
	buf_u8(b, PEER_ROW_VERSION);
	buf_u16(b, r->port);
	buf_put(b, r->device.site.b, sizeof(r->device.site.b));
	buf_put(b, r->device.sign.b, sizeof(r->device.sign.b));
	buf_put_str(b, r->host);
}

static enum err
row_decode(struct slice key, struct slice value, struct net_rec *r)
{
	struct rd rk = rd_init(key), rv = rd_init(value);
	struct slice host;

	memset(r, 0, sizeof(*r));
	rd_copy(&rk, r->device.box.b, sizeof(r->device.box.b));
	if (rd_u8(&rv) != PEER_ROW_VERSION)
		rd_fail(&rv, ERR_UNSUPPORTED);
	r->port = rd_u16(&rv);
	rd_copy(&rv, r->device.site.b, sizeof(r->device.site.b));
	rd_copy(&rv, r->device.sign.b, sizeof(r->device.sign.b));
	host = rd_rest(&rv);
	if (host.n >= sizeof(r->host))
		rd_fail(&rv, ERR_LIMIT);
	else if (host.n > 0)
		memcpy(r->host, host.p, host.n);
	return rd_end(&rk) != ERR_OK ? rd_end(&rk) : rd_end(&rv);
}

static int
book_row(void *ctx, struct slice key, struct slice value)
{
	struct net *n = ctx;
	struct net_rec row, *r;

	if (row_decode(key, value, &row) != ERR_OK)
		return ERR_CORRUPT;
	r = net_book_find(n, &row.device.box);
	if (r == NULL)
		r = net_book_add(n, &row.device);
	if (r == NULL)
		return ERR_NOMEM;
	if (strcmp(r->host, row.host) != 0 || r->port != row.port) {
		memcpy(r->host, row.host, sizeof(r->host));
		r->port = row.port;
		r->next_ms = 0;
		r->backoff_ms = NET_BACKOFF_MIN_MS;
	}
	r->kept = true;
	r->drop = false;
	return 0;
}

/* Rows as they are now; records whose row is gone lose it. */
enum err
net_book_load(struct net *n)
{
	struct db_txn *txn = NULL;
	uint32_t i;
	enum err e;
	int rc;

	if ((e = store_read(n->store, &txn)) != ERR_OK)
		return e;
	for (i = 0; i < n->n_recs; i++)
		n->rec[i]->drop = n->rec[i]->kept;
	rc = (int)store_row_each(
	    n->store, txn, NET_TAG_PEER, (struct slice){ 0 }, book_row, n);
	db_abort(txn);
	if (rc < 0)
		return (enum err)rc;
	for (i = n->n_recs; i > 0; i--) {
		if (n->rec[i - 1]->drop)
			book_remove(n, i - 1);
	}
	return ERR_OK;
}

struct row_job {
	struct net_rec row;
	const char *text; /* remove: address or key */
	struct cry_box_pk box;
	bool found;
};

/*
 * ERR_EXISTS: the row stays as it is.  An invite names only the box key: it
 * does not replace an address that a person gave with the whole key, for the
 * inviter may be reached elsewhere from here.
 */
static enum err
row_join(struct net_rec *r, const struct net_rec *had)
{
	static const struct cry_sign_pk unknown;
	bool invited = memcmp(&r->device.sign, &unknown, sizeof(unknown)) == 0;
	bool named = memcmp(&had->device.sign, &unknown, sizeof(unknown)) != 0;

	if (had->port == r->port && strcmp(had->host, r->host) == 0)
		return ERR_EXISTS;
	if (!invited || !named)
		return ERR_OK;
	if (had->port != 0)
		return ERR_EXISTS;
	r->device = had->device;
	return ERR_OK;
}

static enum err
add_job(struct store_txn *t, void *ctx)
{
	struct row_job *j = ctx;
	struct slice key =
	    slice_of(j->row.device.box.b, sizeof(j->row.device.box.b));
	struct buf old = BUF_MAX(512), val = BUF_MAX(512);
	struct net_rec had;
	enum err e;

	e = store_row_get(
	    store_txn_store(t), store_txn_db(t), NET_TAG_PEER, key, &old);
	if (e == ERR_OK && row_decode(key, buf_slice(&old), &had) == ERR_OK)
		e = row_join(&j->row, &had);
	else if (e == ERR_NOTFOUND)
		e = ERR_OK;
	if (e == ERR_OK) {
		row_encode(&val, &j->row);
		e = buf_err(&val);
	}
	if (e == ERR_OK)
		e = store_row_put(t, NET_TAG_PEER, key, buf_slice(&val));
	buf_fini(&old);
	buf_fini(&val);
	return e;
}

enum err
net_peer_add(struct net *n, const char *host, uint16_t port,
    const struct cry_device_pub *device, struct errmsg *em)
{
	struct row_job j = { .row = { .port = port, .device = *device } };
	size_t len = host == NULL ? 0 : strlen(host);
	enum err e;

	if (len >= sizeof(j.row.host) || (port != 0 && len == 0))
		return errmsg_set(em, ERR_LIMIT, "write it as HOST:PORT",
		    "the address has no or too long a host");
	if (memcmp(&device->box, &n->me->pub.box, sizeof(device->box)) == 0)
		return errmsg_set(em, ERR_EXISTS, "give the key of the peer",
		    "this is the key of this node");
	if (len > 0)
		memcpy(j.row.host, host, len + 1);
	e = store_write(n->store, add_job, &j);
	if (e == ERR_EXISTS)
		return errmsg_set(em, e, "see `pesscara peer list`",
		    "this peer is known already");
	if (e != ERR_OK)
		return errmsg_set(
		    em, e, "", "the peer was not kept: %s", err_text(e));
	net_call(n, MAIL_PEERS);
	return ERR_OK;
}

static int
remove_match(void *ctx, struct slice key, struct slice value)
{
	struct row_job *j = ctx;
	char text[160];
	struct net_rec r;

	if (row_decode(key, value, &r) != ERR_OK)
		return 0;
	(void)snprintf(text, sizeof(text), "%s:%u", r.host, (unsigned)r.port);
	if (j->text != NULL
		? strcmp(text, j->text) != 0
		: memcmp(&r.device.box, &j->box, sizeof(j->box)) != 0)
		return 0;
	j->box = r.device.box;
	j->found = true;
	return 1;
}

static enum err
remove_job(struct store_txn *t, void *ctx)
{
	struct row_job *j = ctx;
	int rc;

	rc = (int)store_row_each(store_txn_store(t), store_txn_db(t),
	    NET_TAG_PEER, (struct slice){ 0 }, remove_match, j);
	if (rc < 0)
		return (enum err)rc;
	if (!j->found)
		return ERR_NOTFOUND;
	return store_row_del(
	    t, NET_TAG_PEER, slice_of(j->box.b, sizeof(j->box.b)));
}

enum err
net_peer_remove(struct net *n, const char *address_or_key, struct errmsg *em)
{
	struct row_job j = { .text = address_or_key };
	struct cry_device_pub d;
	enum err e;

	if (cry_key_parse(slice_str(address_or_key), &d) == ERR_OK) {
		j.text = NULL;
		j.box = d.box;
	}
	e = store_write(n->store, remove_job, &j);
	if (e == ERR_NOTFOUND)
		return errmsg_set(
		    em, e, "see `pesscara peer list`", "no such peer is known");
	if (e != ERR_OK)
		return errmsg_set(
		    em, e, "", "the peer was not removed: %s", err_text(e));
	net_call(n, MAIL_PEERS);
	return ERR_OK;
}
