/* node/net/net_scan.c: what is new in the store that the core must know.
 *
 * At start everything, after a notice only what moved: shares the core does
 * not have, records past its chain, our own feeds past what it was told,
 * joins, wants.  Data is collected in one short read transaction, which ends
 * before the core is stepped.  While a record is on its way to disk the core
 * knows of it already, so records wait until that is over. */
#include "node/net/net_internal.h"

#include "node/ops/log.h"
#include "store/base/clock.h"

static void
scan_failed(const char *what, enum err e)
{
	log_error("net", "cannot read what to replicate",
	    "what=%s error=\"%s\"", what, err_text(e));
}

/* --- shares and records --- */

struct scan_share {
	uint32_t no;
	struct share_id id;
};
struct scan_shares {
	struct scan_share *v;
	uint32_t n, cap;
};

static int
scan_share_one(void *ctx, uint32_t no, const struct cry_id *share)
{
	struct scan_shares *s = ctx;
	struct scan_share *v;

	if (s->n == s->cap) {
		v = mem_grow(s->v, s->cap + 16, sizeof(*v));
		if (v == NULL)
			return ERR_NOMEM;
		s->v = v;
		s->cap += 16;
	}
	s->v[s->n].no = no;
	memcpy(s->v[s->n].id.b, share->b, sizeof(share->b));
	s->n++;
	return 0;
}

struct scan_records {
	struct buf bytes;
	struct slice *v;
	uint32_t n;
};

static enum err
scan_record_add(struct scan_records *r, size_t at)
{
	struct slice *v;

	if (r->n % 64 == 0) {
		v = mem_grow(r->v, (size_t)r->n + 64, sizeof(*v));
		if (v == NULL)
			return ERR_NOMEM;
		r->v = v;
	}
	r->v[r->n++] = slice_of(NULL, r->bytes.n - at);
	return ERR_OK;
}

/* All records from seq on, in one transaction. */
static enum err
scan_records_read(
    struct net *n, uint32_t share, uint64_t seq, struct scan_records *r)
{
	struct db_txn *txn = NULL;
	size_t at = 0;
	uint32_t i;
	enum err e;

	r->bytes = BUF_MAX(GIB);
	if ((e = store_read(n->store, &txn)) != ERR_OK)
		return e;
	while (e == ERR_OK) {
		at = r->bytes.n;
		e = oplog_member_get(n->store, txn, share, seq++, &r->bytes);
		if (e == ERR_OK)
			e = scan_record_add(r, at);
	}
	db_abort(txn);
	if (e != ERR_NOTFOUND)
		return e;
	for (i = 0, at = 0; i < r->n; i++) {
		r->v[i].p = r->bytes.p + at;
		at += r->v[i].n;
	}
	return ERR_OK;
}

static int
scan_statement(void *ctx, const struct share_id *share, struct slice bytes)
{
	struct repl_event ev = {
		.kind = RE_STATEMENT, .share = *share, .bytes = bytes
	};

	net_step(ctx, &ev);
	return 0;
}

/* A checkpoint of ours: the core drops a branch before it goes on. */
static void
scan_settled(struct net *n, const struct scan_share *s)
{
	const struct member *m = repl_member(n->core, &s->id);
	struct buf b = BUF_MAX(LIM_MEMBER_RECORD_BYTES);
	enum err e = ERR_OK;

	if (m != NULL)
		e = shares_settled(n->shares, &s->id, member_era(m), &b);
	if (e != ERR_OK)
		scan_failed("checkpoints", e);
	else if (b.n > 0)
		(void)scan_statement(n, &s->id, buf_slice(&b));
	buf_fini(&b);
}

static void
scan_share(struct net *n, const struct scan_share *s)
{
	const struct member *m;
	struct repl_event ev = { .share = s->id };
	struct scan_records r = { 0 };
	uint32_t i;
	enum err e;

	scan_settled(n, s);
	m = repl_member(n->core, &s->id);
	e = scan_records_read(n, s->no, m == NULL ? 0 : member_seq(m) + 1, &r);
	if (e != ERR_OK) {
		scan_failed("membership", e);
	} else if (m == NULL && r.n > 0) {
		ev.kind = RE_SHARE;
		ev.records = r.v;
		ev.n_records = r.n;
		net_step(n, &ev);
	} else {
		for (i = 0; i < r.n; i++) {
			ev.kind = RE_MEMBER;
			ev.bytes = r.v[i];
			net_step(n, &ev);
		}
	}
	buf_fini(&r.bytes);
	mem_free(r.v);
	e = shares_statements_each(n->shares, &s->id, scan_statement, n);
	if (e != ERR_OK)
		scan_failed("freezes", e);
}

/* --- our own feeds --- */

static struct net_own *
own_find(struct net *n, const struct share_id *share, uint16_t compartment)
{
	struct net_own *o;
	uint32_t i;

	for (i = 0; i < n->n_own; i++) {
		o = &n->own[i];
		if (o->compartment == compartment &&
		    memcmp(o->share.b, share->b, sizeof(share->b)) == 0)
			return o;
	}
	o = mem_grow(n->own, (size_t)n->n_own + 1, sizeof(*o));
	if (o == NULL)
		return NULL;
	n->own = o;
	o = &n->own[n->n_own++];
	memset(o, 0, sizeof(*o));
	o->share = *share;
	o->compartment = compartment;
	o->feed.share = *share;
	o->feed.compartment = compartment;
	o->feed.device = n->me->pub.sign;
	o->feed.incarnation = shares_incarnation(n->shares);
	op_feed_id(&o->feed, &o->id);
	return o;
}

static uint64_t
own_head(struct net *n, const struct net_own *o)
{
	struct oplog_head h = { 0 };
	struct db_txn *txn = NULL;
	struct oplog_feed f;
	enum err e;

	if ((e = store_read(n->store, &txn)) != ERR_OK) {
		scan_failed("feeds", e);
		return 0;
	}
	e = oplog_feed_find(txn, o->id.b, &f);
	if (e == ERR_OK)
		e = oplog_feed_head(txn, f.no, &h);
	db_abort(txn);
	if (e != ERR_OK && e != ERR_NOTFOUND)
		scan_failed("feeds", e);
	return e == ERR_OK ? h.seq : 0;
}

static void
scan_own(struct net *n, const struct share_id *share, uint16_t compartment)
{
	struct net_own *o = own_find(n, share, compartment);
	struct repl_event ev = { .kind = RE_LOCAL, .share = *share };
	struct net_run_ops run;
	uint64_t head;
	enum err e;

	if (o == NULL)
		return;
	head = own_head(n, o);
	while (o->seq < head) {
		e = net_store_run(n, &o->id, o->seq + 1, NET_LOCAL_BYTES, &run);
		if (e != ERR_OK) {
			scan_failed("ops", e);
			return;
		}
		ev.compartment = compartment;
		ev.ops.feed = o->feed;
		ev.ops.ops = run.ops;
		ev.ops.n_ops = run.n_ops;
		ev.ops.head = run.head;
		net_step(n, &ev);
		o->seq = run.head.seq;
		net_run_ops_fini(&run);
	}
}

static void
scan_owns(struct net *n, const struct share_id *share)
{
	const struct member *m = repl_member(n->core, share);
	uint16_t no;
	uint32_t i;

	if (m == NULL)
		return;
	for (i = 0; i < member_n_compartments(m); i++) {
		no = member_compartment(m, i);
		if (member_may_write(m, &n->me->pub.sign, no))
			scan_own(n, share, no);
	}
}

/* --- joins --- */

static int
scan_join_one(void *ctx, const struct share_id *share,
    const struct cry_sign_pk *registrar, struct slice claim)
{
	struct net *n = ctx;
	struct repl_event ev = { .kind = RE_JOIN,
		.share = *share,
		.registrar = *registrar,
		.bytes = claim };
	struct share_id *v;
	uint32_t i;

	for (i = 0; i < n->n_joins; i++) {
		if (memcmp(n->join[i].b, share->b, sizeof(share->b)) == 0)
			return 0;
	}
	v = mem_grow(n->join, (size_t)n->n_joins + 1, sizeof(*v));
	if (v == NULL)
		return ERR_NOMEM;
	n->join = v;
	n->join[n->n_joins++] = *share;
	net_step(n, &ev);
	return 0;
}

/* --- wants --- */

struct scan_wants {
	struct oplog_want *v;
	uint32_t n, cap;
	bool more;
};

static int
scan_want_one(void *ctx, const struct oplog_want *w)
{
	struct scan_wants *s = ctx;
	struct oplog_want *v;

	if (s->n == NET_WANTS_MAX) {
		s->more = true;
		return 1;
	}
	if (s->n == s->cap) {
		v = mem_grow(s->v, s->cap + 256, sizeof(*v));
		if (v == NULL)
			return ERR_NOMEM;
		s->v = v;
		s->cap += 256;
	}
	s->v[s->n++] = *w;
	return 0;
}

/* What is subscribed to no more is not asked for any more; where a selector
 * dropped some, what is left is told anew. */
static void
scan_unwanted(struct net *n, const struct share_id *share, bool dropped)
{
	const struct member *m = repl_member(n->core, share);
	struct repl_event ev = {
		.kind = RE_UNWANT, .share = *share, .all = true
	};
	enum share_content c;
	uint64_t bytes;
	uint32_t i;

	if (m == NULL || repl_wanted(n->core, &bytes) == 0)
		return;
	for (i = 0; i < member_n_compartments(m); i++) {
		ev.compartment = member_compartment(m, i);
		c = shares_content(n->shares, share, ev.compartment);
		if (dropped || c == SHARE_NONE || c == SHARE_LAZY)
			net_step(n, &ev);
	}
}

static void
scan_wants(struct net *n, const struct scan_shares *shares)
{
	struct repl_event ev = { .kind = RE_WANT, .cls = REPL_BACKFILL };
	struct scan_wants s = { 0 };
	struct db_txn *txn = NULL;
	bool full = store_quota_full(n->store); /* nothing is fetched */
	uint64_t drops = shares_drops_gen(n->shares);
	uint32_t i, k;
	enum err e;

	if ((e = store_read(n->store, &txn)) == ERR_OK) {
		if (!full)
			e = oplog_wants_each(txn, scan_want_one, &s);
		if (e == ERR_OK)
			e = oplog_wants_count(txn, &n->db_wants);
		db_abort(txn);
	}
	if (e != ERR_OK)
		scan_failed("wants", e);
	for (k = 0; k < shares->n; k++)
		scan_unwanted(n, &shares->v[k].id, drops != n->drops_gen);
	n->drops_gen = drops;
	net_fetch_again(n);
	for (i = 0; e == ERR_OK && i < s.n; i++) {
		for (k = 0; k < shares->n; k++) {
			if (shares->v[k].no == s.v[i].share)
				break;
		}
		if (k == shares->n)
			continue;
		ev.share = shares->v[k].id;
		ev.compartment = s.v[i].compartment;
		ev.cid = s.v[i].cid;
		ev.c_len = s.v[i].c_len;
		net_step(n, &ev);
	}
	n->wants_more = s.more || (full && n->db_wants > 0);
	mem_free(s.v);
}

/* A scan reads the whole list: not for every commit while there is plenty
 * to fetch. */
static bool
wants_due(struct net *n, uint64_t now_ms)
{
	uint64_t bytes, gen = shares_wants_gen(n->shares);
	bool moved = gen != n->wants_gen || !n->wants_told;

	if (!moved && !n->wants_more)
		return false;
	if (n->wants_told && now_ms < n->wants_next_ms &&
	    repl_wanted(n->core, &bytes) >= NET_WANTS_LOW) {
		n->wants_more = true; /* look again by the timer */
		return false;
	}
	n->wants_gen = gen;
	n->wants_told = true;
	n->wants_next_ms = now_ms + NET_WANTS_MS;
	return true;
}

/* --- all of it --- */

static enum err
scan_list(struct net *n, struct scan_shares *s)
{
	struct db_txn *txn = NULL;
	enum err e;

	if ((e = store_read(n->store, &txn)) != ERR_OK)
		return e;
	e = oplog_shares_each(txn, scan_share_one, s);
	db_abort(txn);
	return e;
}

void
net_scan(struct net *n, uint64_t now_ms)
{
	struct scan_shares s = { 0 };
	uint32_t i;
	enum err e;

	if ((e = scan_list(n, &s)) != ERR_OK) {
		scan_failed("shares", e);
		goto out;
	}
	for (i = 0; i < s.n && n->member_jobs == 0; i++)
		scan_share(n, &s.v[i]);
	if ((e = shares_joins_each(n->shares, scan_join_one, n)) != ERR_OK)
		scan_failed("joins", e);
	for (i = 0; i < s.n; i++)
		scan_owns(n, &s.v[i].id);
	if (wants_due(n, now_ms))
		scan_wants(n, &s);
out:
	n->snap_stale = true;
	mem_free(s.v);
	net_settle(n); /* selectors look at what came */
}

/* --- start --- */

struct scan_feed {
	struct oplog_feed f;
	struct oplog_head h;
};
struct scan_feeds {
	struct net *n;
	struct scan_feed *v;
	uint32_t n_v, cap;
};

static int
scan_feed_one(
    void *ctx, const struct oplog_feed *f, const struct oplog_head *head)
{
	struct scan_feeds *s = ctx;
	struct scan_feed *v;

	if (head == NULL)
		return 0;
	/* Ours of this run is told as local ops. */
	if (f->incarnation == shares_incarnation(s->n->shares) &&
	    memcmp(f->device, s->n->me->pub.sign.b, sizeof(f->device)) == 0)
		return 0;
	if (s->n_v == s->cap) {
		v = mem_grow(s->v, s->cap + 64, sizeof(*v));
		if (v == NULL)
			return ERR_NOMEM;
		s->v = v;
		s->cap += 64;
	}
	s->v[s->n_v].f = *f;
	s->v[s->n_v++].h = *head;
	return 0;
}

static enum err
scan_feed_tell(
    struct net *n, const struct scan_feed *v, const struct scan_shares *shares)
{
	struct repl_event ev = { .kind = RE_FEED };
	uint32_t k;
	enum err e;

	for (k = 0; k < shares->n; k++) {
		if (shares->v[k].no == v->f.share)
			break;
	}
	if (k == shares->n)
		return ERR_OK;
	ev.share = shares->v[k].id;
	ev.compartment = v->f.compartment;
	ev.ops.feed.share = ev.share;
	ev.ops.feed.compartment = v->f.compartment;
	memcpy(ev.ops.feed.device.b, v->f.device, sizeof(v->f.device));
	ev.ops.feed.incarnation = v->f.incarnation;
	e = op_head_decode(
	    slice_of(v->h.bytes, sizeof(v->h.bytes)), &ev.ops.head);
	if (e == ERR_OK)
		net_step(n, &ev);
	return e;
}

static int
scan_witness(void *ctx, const struct share_witness *w)
{
	struct repl_event ev = { .kind = RE_WITNESS,
		.share = w->share,
		.compartment = w->compartment,
		.bytes = w->kept };

	ev.ops.feed.device = w->device;
	net_step(ctx, &ev);
	return 0;
}

enum err
net_scan_start(struct net *n)
{
	struct scan_feeds feeds = { .n = n };
	struct scan_shares s = { 0 };
	struct db_txn *txn = NULL;
	uint32_t i;
	enum err e;

	if ((e = scan_list(n, &s)) != ERR_OK)
		goto out;
	for (i = 0; i < s.n; i++)
		scan_share(n, &s.v[i]);
	if ((e = store_read(n->store, &txn)) != ERR_OK)
		goto out;
	e = oplog_feeds_each(txn, scan_feed_one, &feeds);
	db_abort(txn);
	for (i = 0; e == ERR_OK && i < feeds.n_v; i++)
		e = scan_feed_tell(n, &feeds.v[i], &s);
	if (e == ERR_OK)
		e = shares_witnesses_each(n->shares, scan_witness, n);
out:
	mem_free(s.v);
	mem_free(feeds.v);
	return e;
}
