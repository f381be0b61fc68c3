/* store/catalog/oplog_want.c: chunks that arrive, who may have them, and
 * what is still wanted.
 *
 * A CREF row's value says whether its op counts this chunk as missing, so an
 * arrival is settled exactly once for each op.  It settles the ops of the
 * compartment through which it came, and of those where the chunk was given
 * before; to the others it is missing until they are given it. */
#include "store/catalog/catalog_internal.h"

#define SETTLE_BATCH 64u

/* Given, named by an op that counts, and not let go: what waits for its
 * grace to end is nobody's copy to count on. */
static int
live_note(void *ctx, struct slice k, struct slice v)
{
	bool *live = ctx;
	struct cref c;
	enum err e = cref_read(k, v, &c);

	if (e != ERR_OK)
		return e;
	*live = c.given && !c.aside && !c.missing;
	return *live || !c.given; /* given or not: alike in all rows */
}

enum err
oplog_cref_check(struct db_txn *t, uint32_t share, uint16_t compartment,
    const struct cry_id *cid)
{
	bool live = false;
	struct key k;
	uint64_t no;
	enum err e = blob_chunk_number(t, cid, &no);

	if (e != ERR_OK)
		return e;
	k = cref_prefix_in(no, share, compartment);
	e = key_walk(t, DB_CREF, key_slice(&k), live_note, &live);
	return e == ERR_OK && !live ? ERR_NOTFOUND : e;
}

/* --- counting --- */

struct refs_walk {
	enum err (*fn)(void *ctx, uint64_t no);
	void *ctx;
};

static int
refs_visit(void *ctx, struct slice k, struct slice v)
{
	struct refs_walk *w = ctx;
	struct cref c;
	enum err e = cref_read(k, v, &c);

	return e != ERR_OK || c.missing ? (int)e : (int)w->fn(w->ctx, c.chunk);
}

enum err
oplog_refs_each(
    struct db_txn *t, enum err (*fn)(void *ctx, uint64_t no), void *ctx)
{
	struct refs_walk w = { fn, ctx };

	return key_walk(t, DB_CREF, (struct slice){ 0 }, refs_visit, &w);
}

/* --- settling an arrival --- */

static enum err
want_read(struct slice k, struct slice v, struct cref *c, uint32_t *c_len)
{
	struct rd rk = rd_init(k), rv = rd_init(v);

	c->chunk = rd_be64(&rk);
	c->share = rd_be32(&rk);
	c->compartment = key_rd_be16(&rk);
	c->lseq = 0;
	*c_len = rd_u32(&rv);
	if (rd_end(&rk) != ERR_OK)
		return ERR_CORRUPT;
	return key_decoded(&rv);
}

struct settle {
	struct db_txn *t;
	struct cref refs[SETTLE_BATCH];
	uint32_t n;
};

/* A want of a compartment that was given the chunk. */
static int
drop_note(void *ctx, struct slice k, struct slice v)
{
	struct settle *s = ctx;
	struct cref *c = &s->refs[s->n];
	bool given = false;
	uint32_t c_len;
	enum err e = want_read(k, v, c, &c_len);

	if (e == ERR_OK)
		e = cref_given(
		    s->t, c->chunk, c->share, c->compartment, &given);
	if (e != ERR_OK)
		return e;
	s->n += given;
	return s->n == SETTLE_BATCH;
}

static enum err
wants_drop(struct db_txn *t, uint64_t no)
{
	struct key k, prefix = cref_prefix(no);
	struct settle s = { .t = t };
	uint32_t i;
	enum err e;

	do {
		s.n = 0;
		e = key_walk(t, DB_WANT, key_slice(&prefix), drop_note, &s);
		for (i = 0; i < s.n && e == ERR_OK; i++) {
			k = cref_prefix_in(
			    no, s.refs[i].share, s.refs[i].compartment);
			e = db_del(t, DB_WANT, key_slice(&k));
		}
	} while (e == ERR_OK && s.n == SETTLE_BATCH);
	return e;
}

static int
settle_note(void *ctx, struct slice k, struct slice v)
{
	struct settle *s = ctx;
	struct cref *c = &s->refs[s->n];
	enum err e = cref_read(k, v, c);

	if (e != ERR_OK)
		return e;
	s->n += c->missing && c->given;
	return s->n == SETTLE_BATCH;
}

static enum err
settle_one(struct store_txn *st, struct cref *c, bool *whole)
{
	struct db_txn *t = store_txn_db(st);
	struct op_row row;
	enum err e;

	c->missing = false;
	e = cref_set(t, c);
	if (e == ERR_OK)
		e = store_ref_add_no(st, c->chunk);
	if (e == ERR_OK)
		e = oplog_row_get(t, c->lseq, &row);
	if (e != ERR_OK)
		return e;
	if (row.missing == 0)
		return ERR_CORRUPT;
	row.missing--;
	*whole = row.missing == 0;
	return oplog_row_put(t, c->lseq, &row);
}

/* The chunk is here: for all that were given it. */
enum err
oplog_chunk_settle(
    struct store_txn *st, uint64_t no, oplog_complete_fn complete, void *ctx)
{
	struct db_txn *t = store_txn_db(st);
	struct key prefix = cref_prefix(no);
	struct settle s = { .t = t };
	bool whole = false;
	uint32_t i;
	enum err e = wants_drop(t, no);

	if (e != ERR_OK)
		return e;
	do {
		s.n = 0;
		e = key_walk(t, DB_CREF, key_slice(&prefix), settle_note, &s);
		for (i = 0; i < s.n && e == ERR_OK; i++) {
			e = settle_one(st, &s.refs[i], &whole);
			if (e == ERR_OK && whole && complete != NULL)
				complete(ctx, s.refs[i].lseq);
		}
	} while (e == ERR_OK && s.n == SETTLE_BATCH);
	return e;
}

/* Given before it is stored: what is stored is then not taken for a chunk
 * that is only named (oplog_chunk_came). */
enum err
oplog_chunk_put(struct store_txn *t, struct oplog_arrival *a,
    oplog_complete_fn complete, void *ctx)
{
	struct db_txn *db = store_txn_db(t);
	struct key prefix, k = { 0 };
	uint64_t no = 0;
	enum err e = blob_chunk_number(db, &a->cid, &no);

	if (e == ERR_OK)
		e = cref_give(t, no, a->share, a->compartment);
	if (e != ERR_OK && e != ERR_NOTFOUND)
		return e;
	e = blob_chunk_put(t, &a->cid, a->ciphertext);
	if (e == ERR_OK)
		e = blob_chunk_number(db, &a->cid, &no);
	if (e == ERR_OK)
		e = oplog_chunk_settle(t, no, complete, ctx);
	if (e != ERR_OK)
		return e;
	prefix = cref_prefix(no);
	e = key_first(db, DB_WANT, key_slice(&prefix), NULL, &k);
	a->more = e == ERR_OK;
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

/* --- wants --- */

struct want_walk {
	struct db_txn *t;
	oplog_want_fn fn;
	void *ctx;
};

static int
want_visit(void *ctx, struct slice k, struct slice v)
{
	struct want_walk *w = ctx;
	struct oplog_want want;
	struct cref c;
	bool here;
	enum err e = want_read(k, v, &c, &want.c_len);

	if (e == ERR_OK)
		e = blob_chunk_numbered(w->t, c.chunk, &want.cid, &here);
	if (e != ERR_OK)
		return e == ERR_NOTFOUND ? ERR_CORRUPT : e;
	want.share = c.share;
	want.compartment = c.compartment;
	return w->fn(w->ctx, &want);
}

enum err
oplog_wants_each(struct db_txn *t, oplog_want_fn fn, void *ctx)
{
	struct want_walk w = { t, fn, ctx };

	return key_walk(t, DB_WANT, (struct slice){ 0 }, want_visit, &w);
}

enum err
oplog_wants_count(struct db_txn *t, uint64_t *n)
{
	return db_count(t, DB_WANT, n);
}

struct here_walk {
	struct db_txn *t;
	uint64_t no[SETTLE_BATCH];
	uint32_t n;
};

static int
here_note(void *ctx, struct slice k, struct slice v)
{
	struct here_walk *w = ctx;
	struct cry_id cid;
	struct cref c;
	uint32_t c_len;
	bool here = false, given = false;
	enum err e = want_read(k, v, &c, &c_len);

	if (e == ERR_OK)
		e = blob_chunk_numbered(w->t, c.chunk, &cid, &here);
	if (e == ERR_OK && here)
		e = cref_given(w->t, c.chunk, c.share, c.compartment, &given);
	if (e != ERR_OK)
		return e == ERR_NOTFOUND ? ERR_CORRUPT : e;
	if (given)
		w->no[w->n++] = c.chunk;
	return w->n == SETTLE_BATCH;
}

enum err
oplog_wants_settle(struct store_txn *t, oplog_complete_fn complete, void *ctx)
{
	struct here_walk w = { .t = store_txn_db(t) };
	uint32_t i;
	enum err e;

	do {
		w.n = 0;
		e = key_walk(w.t, DB_WANT, (struct slice){ 0 }, here_note, &w);
		for (i = 0; i < w.n && e == ERR_OK; i++)
			e = oplog_chunk_settle(t, w.no[i], complete, ctx);
	} while (e == ERR_OK && w.n == SETTLE_BATCH);
	return e;
}

/* --- chunks that were damaged --- */

#define LOST_PLACES 64u

struct lost_walk {
	struct cref c[LOST_PLACES];
	uint32_t n;
};

static int
lost_note(void *ctx, struct slice k, struct slice v)
{
	struct lost_walk *l = ctx;
	struct cref c;
	enum err e = cref_read(k, v, &c);

	if (e != ERR_OK)
		return e;
	if (c.missing || c.aside ||
	    (l->n > 0 && l->c[l->n - 1].share == c.share &&
		l->c[l->n - 1].compartment == c.compartment))
		return 0; /* it had none, or has no right, or another op of
			     the same compartment */
	l->c[l->n++] = c;
	return l->n == LOST_PLACES;
}

enum err
oplog_chunk_lost(
    struct store_txn *t, const struct cry_id *cid, uint32_t *wanted)
{
	struct db_txn *db = store_txn_db(t);
	struct lost_walk l = { .n = 0 };
	uint32_t i, c_len = 0;
	struct key prefix;
	uint64_t no;
	enum err e = blob_chunk_number(db, cid, &no);

	*wanted = 0;
	if (e != ERR_OK)
		return e == ERR_NOTFOUND ? ERR_OK : e;
	prefix = cref_prefix(no);
	e = key_walk(db, DB_CREF, key_slice(&prefix), lost_note, &l);
	if (e != ERR_OK || l.n == 0)
		return e;
	e = blob_chunk_lose(t, cid, &c_len);
	for (i = 0; e == ERR_OK && i < l.n; i++)
		e = oplog_want_put(db, &l.c[i], c_len);
	if (e == ERR_OK)
		*wanted = l.n;
	return e;
}
