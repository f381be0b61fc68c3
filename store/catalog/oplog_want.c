/* store/catalog/oplog_want.c: chunks that arrive, who may have them, and
 * what is still wanted.
 *
 * A CREF row's value says whether its op counts this chunk as missing, so an
 * arrival is settled exactly once for each op, whichever way it came in:
 * from a peer, or because the same bytes were imported here. */
#include "store/catalog/catalog_internal.h"

#define SETTLE_BATCH 64u

static int
cref_found(void *ctx, struct slice k, struct slice v)
{
	(void)k;
	(void)v;
	*(bool *)ctx = true;
	return 1;
}

enum err
oplog_cref_check(struct db_txn *t, uint32_t share, uint16_t compartment,
    const struct cry_id *cid)
{
	struct key k = { 0 };
	bool found = false;
	enum err e;

	key_put(&k, cid->b, 16);
	key_be32(&k, share);
	key_be16(&k, compartment);
	e = key_walk(t, DB_CREF, key_slice(&k), cref_found, &found);
	if (e != ERR_OK)
		return e;
	return found ? ERR_OK : ERR_NOTFOUND;
}

/* --- counting --- */

struct refs_walk {
	enum err (*fn)(void *ctx, const uint8_t cid16[16]);
	void *ctx;
};

static int
refs_visit(void *ctx, struct slice k, struct slice v)
{
	struct refs_walk *w = ctx;

	if (k.n < 16 || v.n != 1)
		return ERR_CORRUPT;
	return v.p[0] == 0 ? (int)w->fn(w->ctx, k.p) : 0;
}

enum err
oplog_refs_each(struct db_txn *t,
    enum err (*fn)(void *ctx, const uint8_t cid16[16]), void *ctx)
{
	struct refs_walk w = { fn, ctx };

	return key_walk(t, DB_CREF, (struct slice){ 0 }, refs_visit, &w);
}

/* --- settling an arrival --- */

static enum err
wants_drop(struct db_txn *t, const struct cry_id *cid)
{
	struct slice prefix = slice_of(cid->b, sizeof(cid->b));
	struct key k = { 0 };
	enum err e = key_first(t, DB_WANT, prefix, NULL, &k);

	while (e == ERR_OK) { /* one row for each compartment that wants it */
		e = db_del(t, DB_WANT, key_slice(&k));
		if (e == ERR_OK)
			e = key_first(t, DB_WANT, prefix, NULL, &k);
	}
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

struct settle {
	struct key keys[SETTLE_BATCH];
	uint32_t n;
};

static int
settle_note(void *ctx, struct slice k, struct slice v)
{
	struct settle *s = ctx;

	if (v.n != 1)
		return ERR_CORRUPT;
	if (v.p[0] != 0) {
		s->keys[s->n] = (struct key){ 0 };
		key_put(&s->keys[s->n++], k.p, k.n);
	}
	return s->n == SETTLE_BATCH;
}

static enum err
settle_one(struct store_txn *st, const struct cry_id *cid, const struct key *k,
    uint64_t *lseq, bool *whole)
{
	static const uint8_t here = 0;
	struct db_txn *t = store_txn_db(st);
	struct rd r = rd_init(key_slice(k));
	struct op_row row;
	enum err e;

	(void)rd_bytes(&r, 16 + 4 + 2);
	*lseq = rd_be64(&r);
	if (key_decoded(&r) != ERR_OK)
		return ERR_CORRUPT;
	e = db_put(t, DB_CREF, key_slice(k), slice_of(&here, 1));
	if (e == ERR_OK)
		e = store_ref_add(st, cid);
	if (e == ERR_OK)
		e = oplog_row_get(t, *lseq, &row);
	if (e != ERR_OK)
		return e;
	if (row.missing == 0)
		return ERR_CORRUPT;
	row.missing--;
	*whole = row.missing == 0;
	return oplog_row_put(t, *lseq, &row);
}

static enum err
refs_settle(struct store_txn *st, const struct cry_id *cid,
    oplog_complete_fn complete, void *ctx)
{
	struct db_txn *t = store_txn_db(st);
	struct settle s = { 0 };
	uint64_t lseq = 0;
	bool whole = false;
	uint32_t i;
	enum err e;

	do {
		s.n = 0;
		e = key_walk(t, DB_CREF, slice_of(cid->b, 16), settle_note, &s);
		for (i = 0; i < s.n && e == ERR_OK; i++) {
			e = settle_one(st, cid, &s.keys[i], &lseq, &whole);
			if (e == ERR_OK && whole && complete != NULL)
				complete(ctx, lseq);
		}
	} while (e == ERR_OK && s.n == SETTLE_BATCH);
	return e;
}

enum err
oplog_chunk_put(struct store_txn *t, const struct cry_id *cid,
    struct slice ciphertext, oplog_complete_fn complete, void *ctx)
{
	struct db_txn *db = store_txn_db(t);
	enum err e = blob_chunk_put(t, cid, ciphertext);

	if (e != ERR_OK && e != ERR_EXISTS)
		return e;
	e = wants_drop(db, cid);
	return e == ERR_OK ? refs_settle(t, cid, complete, ctx) : e;
}

/* --- wants --- */

static enum err
want_read(struct slice k, struct slice v, struct oplog_want *out)
{
	struct rd rk = rd_init(k), rv = rd_init(v);

	rd_copy(&rk, out->cid.b, sizeof(out->cid.b));
	out->share = rd_be32(&rk);
	out->compartment = key_rd_be16(&rk);
	out->c_len = rd_u32(&rv);
	if (rd_end(&rk) != ERR_OK)
		return ERR_CORRUPT;
	return key_decoded(&rv);
}

struct want_walk {
	oplog_want_fn fn;
	void *ctx;
};

static int
want_visit(void *ctx, struct slice k, struct slice v)
{
	struct want_walk *w = ctx;
	struct oplog_want want;
	enum err e = want_read(k, v, &want);

	return e != ERR_OK ? (int)e : w->fn(w->ctx, &want);
}

enum err
oplog_wants_each(struct db_txn *t, oplog_want_fn fn, void *ctx)
{
	struct want_walk w = { fn, ctx };

	return key_walk(t, DB_WANT, (struct slice){ 0 }, want_visit, &w);
}

enum err
oplog_wants_count(struct db_txn *t, uint64_t *n)
{
	return db_count(t, DB_WANT, n);
}

struct here_walk {
	struct db_txn *t;
	struct cry_id cids[SETTLE_BATCH];
	uint32_t n;
};

static int
here_note(void *ctx, struct slice k, struct slice v)
{
	struct here_walk *w = ctx;
	struct oplog_want want;
	enum err e = want_read(k, v, &want);

	if (e != ERR_OK)
		return e;
	e = blob_chunk_have(w->t, &want.cid);
	if (e == ERR_OK)
		w->cids[w->n++] = want.cid;
	else if (e != ERR_NOTFOUND)
		return e;
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
		for (i = 0; i < w.n && e == ERR_OK; i++) {
			e = wants_drop(w.t, &w.cids[i]);
			if (e == ERR_OK)
				e = refs_settle(t, &w.cids[i], complete, ctx);
		}
	} while (e == ERR_OK && w.n == SETTLE_BATCH);
	return e;
}

/* --- chunks that were damaged --- */

#define LOST_PLACES 64u

struct lost_walk {
	struct oplog_want w[LOST_PLACES];
	uint32_t n;
};

static int
lost_note(void *ctx, struct slice k, struct slice v)
{
	struct lost_walk *l = ctx;
	struct rd r = rd_init(k);
	struct oplog_want w = { 0 };

	(void)v;
	(void)rd_bytes(&r, 16);
	w.share = rd_be32(&r);
	w.compartment = key_rd_be16(&r);
	if (r.err != ERR_OK)
		return ERR_CORRUPT;
	if (l->n > 0 && l->w[l->n - 1].share == w.share &&
	    l->w[l->n - 1].compartment == w.compartment)
		return 0; /* another op of the same compartment */
	l->w[l->n++] = w;
	return l->n == LOST_PLACES;
}

enum err
oplog_chunk_lost(
    struct store_txn *t, const struct cry_id *cid, uint32_t *wanted)
{
	struct db_txn *db = store_txn_db(t);
	struct lost_walk l = { .n = 0 };
	uint32_t i, c_len = 0;
	enum err e = key_walk(db, DB_CREF, slice_of(cid->b, 16), lost_note, &l);

	*wanted = 0;
	if (e != ERR_OK || l.n == 0)
		return e;
	e = blob_chunk_lose(t, cid, &c_len);
	for (i = 0; e == ERR_OK && i < l.n; i++) {
		l.w[i].cid = *cid;
		l.w[i].c_len = c_len;
		e = oplog_want_put(db, &l.w[i]);
	}
	if (e == ERR_OK)
		*wanted = l.n;
	return e;
}
