/* store/blob/store_collect.c: chunks that nothing refers to go.
 *
 * The queue is walked from its oldest end in short read transactions; each
 * batch goes to the writer, which looks at everything again: a chunk that got
 * a reference meanwhile is not in the queue any more.  Its bytes become dead
 * bytes of their segment. */
#include "store/base/clock.h"
#include "store/blob/gc_internal.h"

#define GRACE_KEY 16u

struct due {
	uint8_t key[GRACE_KEY];
	uint64_t no;
	uint64_t commit; /* that dropped the last reference */
	uint32_t len;
};

struct collect {
	struct gc *g;
	struct due due[STORE_GC_JOB_RECORDS];
	uint32_t n;
	uint8_t next[GRACE_KEY + 1]; /* where the next batch starts */
	size_t next_n;
	struct gc_cost cost;
	uint64_t chunks, bytes; /* this job */
};

static bool
due_read(struct slice k, struct slice v, struct due *d)
{
	struct rd r = rd_init(v);

	if (k.n != GRACE_KEY)
		return false;
	memcpy(d->key, k.p, GRACE_KEY);
	d->no = dec_be64(k.p + 8);
	d->len = rd_u32(&r);
	d->commit = rd_u64(&r);
	return rd_end(&r) == ERR_OK;
}

static bool
due_now(const struct gc *g, const struct due *d)
{
	uint64_t since = dec_be64(d->key);

	return since <= g->now_ms && g->now_ms - since >= g->o->grace_ms;
}

/* Up to a job's worth of chunks that are due.  *more: there may be others. */
static enum err
due_find(struct collect *c, struct db_txn *t, bool *more)
{
	uint64_t oldest = store_lease_oldest(c->g->s);
	struct slice k, v;
	struct db_cur *cur;
	struct due d;
	enum err e = db_cur_open(t, DB_GRACE, slice_of(NULL, 0), &cur);

	if (e != ERR_OK)
		return e;
	c->n = 0;
	*more = false;
	e = db_cur_seek(cur, slice_of(c->next, c->next_n), &k, &v);
	for (; e == ERR_OK; e = db_cur_next(cur, &k, &v)) {
		if (!due_read(k, v, &d)) {
			e = ERR_CORRUPT;
			break;
		}
		if (!due_now(c->g, &d))
			break; /* the rest is younger */
		if (c->n == STORE_GC_JOB_RECORDS) {
			*more = true;
			break;
		}
		memcpy(c->next, k.p, GRACE_KEY);
		c->next[GRACE_KEY] = 0;
		c->next_n = GRACE_KEY + 1;
		if (d.commit <= oldest)
			c->due[c->n++] = d;
	}
	db_cur_close(cur);
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

static enum err
chunk_forget(struct store_txn *t, uint64_t no, struct chunk_row *row)
{
	uint8_t key[8];
	enum err e = store_grace_leave(t, no, row);

	enc_be64(no, key);
	if (e == ERR_OK)
		e = blob_cidx_del(t->db, &row->cid, no);
	return e == ERR_OK ? db_del(t->db, DB_CHUNK, slice_of(key, 8)) : e;
}

/* One that ops name keeps its number. */
static enum err
chunk_collect(struct store_txn *t, struct collect *c, const struct due *d)
{
	struct chunk_row row;
	struct slice v;
	enum err e = db_get(t->db, DB_GRACE, slice_of(d->key, GRACE_KEY), &v);

	if (e != ERR_OK) /* referred to again */
		return e == ERR_NOTFOUND ? ERR_OK : e;
	e = blob_chunk_row_no(t->db, d->no, &row);
	if (e == ERR_OK && (row.refs != 0 || row.since != dec_be64(d->key)))
		e = ERR_CORRUPT;
	if (e != ERR_OK)
		return e == ERR_NOTFOUND ? ERR_CORRUPT : e;
	c->chunks++;
	c->bytes += store_rec_bytes(row.loc.len);
	if ((e = store_rec_dead(t, &row.loc)) == ERR_OK)
		e = row.named ? blob_chunk_gone(t, d->no, &row)
			      : chunk_forget(t, d->no, &row);
	return e == ERR_NOTFOUND ? ERR_CORRUPT : e;
}

static enum err
collect_job(struct store_txn *t, void *ctx)
{
	struct collect *c = ctx;
	uint64_t t0 = clock_mono_us(), oldest = store_lease_oldest(t->s);
	uint32_t i;
	enum err e = ERR_OK;

	c->chunks = c->bytes = 0;
	for (i = 0; i < c->n && e == ERR_OK; i++) {
		if (c->due[i].commit <= oldest)
			e = chunk_collect(t, c, &c->due[i]);
	}
	c->cost.us = clock_mono_us() - t0;
	return e;
}

static void
collect_count(struct collect *c)
{
	uint32_t i;

	for (i = 0; i < c->n; i++)
		c->g->rep->bytes += store_rec_bytes(c->due[i].len);
	c->g->rep->chunks += c->n;
}

enum err
gc_collect(struct gc *g)
{
	struct collect *c = mem_new(sizeof(*c));
	bool more = true;
	enum err e = ERR_OK;

	if (c == NULL)
		return ERR_NOMEM;
	c->g = g;
	while (e == ERR_OK && more) {
		struct db_txn *t;

		if ((e = store_read(g->s, &t)) != ERR_OK)
			break;
		e = due_find(c, t, &more);
		db_abort(t);
		if (e != ERR_OK || c->n == 0)
			continue;
		if (g->o->dry_run) {
			collect_count(c);
			continue;
		}
		c->cost.records = c->n;
		e = gc_job(g, collect_job, c, &c->cost);
		if (e != ERR_OK)
			break;
		g->rep->chunks += c->chunks;
		g->rep->bytes += c->bytes;
		g->s->gc_stale += c->chunks;
	}
	mem_free(c);
	return e;
}

/* --- entries of plaintext hashes whose chunk is gone --- */

#define PIDX_KEY 16u
#define SWEEP_LOOK 2048u /* rows of one read transaction */

struct sweep {
	uint8_t key[STORE_GC_JOB_RECORDS][PIDX_KEY];
	uint32_t n;
	uint8_t next[PIDX_KEY + 1];
	size_t next_n;
	struct gc_cost cost;
};

/* The chunk number stands in front of the sealed entry. */
static enum err
entry_stale(struct db_txn *t, struct slice v, bool *stale)
{
	struct slice row;
	enum err e;

	if (v.n < 8)
		return ERR_CORRUPT;
	e = db_get(t, DB_CHUNK, slice_of(v.p, 8), &row);
	*stale = e == ERR_NOTFOUND;
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

static enum err
sweep_find(struct sweep *w, struct db_txn *t, bool *more)
{
	struct slice k, v;
	struct db_cur *cur;
	uint32_t i = 0;
	bool stale;
	enum err e = db_cur_open(t, DB_PIDX, slice_of(NULL, 0), &cur);

	if (e != ERR_OK)
		return e;
	w->n = 0;
	e = db_cur_seek(cur, slice_of(w->next, w->next_n), &k, &v);
	for (; e == ERR_OK; e = db_cur_next(cur, &k, &v)) {
		if (k.n != PIDX_KEY)
			e = ERR_CORRUPT;
		if (e != ERR_OK || i++ == SWEEP_LOOK ||
		    w->n == STORE_GC_JOB_RECORDS)
			break;
		memcpy(w->next, k.p, PIDX_KEY);
		w->next[PIDX_KEY] = 0;
		w->next_n = PIDX_KEY + 1;
		e = entry_stale(t, v, &stale);
		if (e != ERR_OK)
			break;
		if (stale)
			memcpy(w->key[w->n++], k.p, PIDX_KEY);
	}
	db_cur_close(cur);
	*more = e == ERR_OK;
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

static enum err
sweep_job(struct store_txn *t, void *ctx)
{
	struct sweep *w = ctx;
	uint64_t t0 = clock_mono_us();
	uint32_t i;
	enum err e = ERR_OK;

	for (i = 0; i < w->n && e == ERR_OK; i++) {
		struct slice key = slice_of(w->key[i], PIDX_KEY), v;
		bool stale = false;

		e = db_get(t->db, DB_PIDX, key, &v);
		if (e == ERR_OK)
			e = entry_stale(t->db, v, &stale);
		if (e == ERR_OK && stale)
			e = db_del(t->db, DB_PIDX, key);
		if (e == ERR_NOTFOUND)
			e = ERR_OK;
	}
	w->cost.us = clock_mono_us() - t0;
	return e;
}

/* A stale entry does no harm, so they may gather: one walk over the whole
 * table serves many collections. */
static bool
sweep_due(struct gc *g)
{
	struct db_txn *t;
	uint64_t n = 0;

	if (g->o->dry_run || g->s->gc_stale == 0)
		return false;
	if (store_read(g->s, &t) != ERR_OK)
		return false;
	if (db_count(t, DB_PIDX, &n) != ERR_OK)
		n = UINT64_MAX;
	db_abort(t);
	return g->s->gc_stale >= n / 16;
}

enum err
gc_sweep(struct gc *g)
{
	struct sweep *w;
	bool more = true;
	enum err e = ERR_OK;

	if (!sweep_due(g))
		return ERR_OK;
	if ((w = mem_new(sizeof(*w))) == NULL)
		return ERR_NOMEM;
	while (e == ERR_OK && more) {
		struct db_txn *t;

		if ((e = store_read(g->s, &t)) != ERR_OK)
			break;
		e = sweep_find(w, t, &more);
		db_abort(t);
		w->cost.records = w->n;
		if (e == ERR_OK && w->n > 0)
			e = gc_job(g, sweep_job, w, &w->cost);
	}
	if (e == ERR_OK)
		g->s->gc_stale = 0;
	mem_free(w);
	return e;
}
