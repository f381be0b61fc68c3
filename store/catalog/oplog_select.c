/* store/catalog/oplog_select.c: wants of single ops, where a selector decides
 * which content a compartment keeps.
 *
 * Happy path: ops are looked through from a place on; of those that lack
 * chunks each is wanted whole, or not at all.  A chunk that was let go and is
 * not gone is settled at once.  A want that another op of the compartment may
 * have made is left alone: too much is let go again by the eviction, too
 * little would never come. */
#include "store/catalog/catalog_internal.h"

struct at_walk {
	oplog_at_fn fn;
	void *ctx;
};

static enum err
at_visit(const struct at_walk *w, struct slice k, struct slice v, int *stop)
{
	struct rd r = rd_init(k);
	struct oplog_at at = { .lseq = rd_be64(&r) };
	struct op_row row;
	enum err e = oplog_row_decode(v, &row);

	if (e == ERR_OK && rd_end(&r) != ERR_OK)
		e = ERR_CORRUPT;
	if (e != ERR_OK)
		return e;
	at.share = row.share;
	at.compartment = row.compartment;
	at.content = row.packing > 0;
	at.missing = row.missing;
	*stop = w->fn(w->ctx, &at);
	return *stop < 0 ? (enum err) * stop : ERR_OK;
}

enum err
oplog_ops_from(struct db_txn *t, uint64_t lseq, oplog_at_fn fn, void *ctx)
{
	const struct at_walk w = { fn, ctx };
	struct db_cur *c = NULL;
	struct key from = { 0 };
	struct slice k, v;
	int stop = 0;
	enum err e = db_cur_open(t, DB_OP, slice_of(NULL, 0), &c);

	if (e != ERR_OK)
		return e;
	key_be64(&from, lseq);
	e = db_cur_seek(c, key_slice(&from), &k, &v);
	while (e == ERR_OK && stop == 0) {
		e = at_visit(&w, k, v, &stop);
		if (e == ERR_OK && stop == 0)
			e = db_cur_next(c, &k, &v);
	}
	db_cur_close(c);
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

enum err
oplog_ops_last(struct db_txn *t, uint64_t *lseq)
{
	return key_last_be64(t, DB_OP, lseq);
}

/* --- the chunks of one op --- */

struct item {
	struct cref c;
	uint32_t c_len;
	bool wanted, here, alone;
};
typedef enum err (*item_fn)(void *ctx, const struct item *i);

static int
other_note(void *ctx, struct slice k, struct slice v)
{
	struct item *i = ctx;
	struct cref c;
	enum err e = cref_read(k, v, &c);

	if (e != ERR_OK || c.aside)
		return e;
	i->alone = c.lseq == i->c.lseq;
	return !i->alone;
}

static enum err
item_read(struct db_txn *t, struct rd *r, struct item *i)
{
	struct cry_id cid;
	struct key k, row;
	enum err e;

	rd_copy(r, cid.b, sizeof(cid.b));
	i->c_len = rd_u32(r);
	if (r->err != ERR_OK)
		return ERR_CORRUPT;
	e = blob_chunk_number(t, &cid, &i->c.chunk);
	if (e == ERR_OK)
		e = cref_get(t, &i->c);
	if (e == ERR_OK)
		e = blob_chunk_numbered(t, i->c.chunk, &cid, &i->here);
	if (e != ERR_OK || !i->c.missing)
		return e == ERR_NOTFOUND ? ERR_CORRUPT : e;
	k = cref_prefix_in(i->c.chunk, i->c.share, i->c.compartment);
	e = key_first(t, DB_WANT, key_slice(&k), NULL, &row);
	i->wanted = e == ERR_OK;
	if (e != ERR_OK && e != ERR_NOTFOUND)
		return e;
	i->alone = true;
	return key_walk(t, DB_CREF, key_slice(&k), other_note, i);
}

/* Each chunk that the op counts as missing. */
static enum err
items_each(
    struct store *s, struct db_txn *t, uint64_t lseq, item_fn fn, void *ctx)
{
	struct buf op = BUF_MAX(64 * MIB);
	struct item i = { .c = { .lseq = lseq } };
	struct op_row row;
	struct rd r;
	enum err e = oplog_row_get(t, lseq, &row);

	if (e == ERR_OK)
		e = store_rec_get(s, &row.loc, REC_OP, &op);
	if (e == ERR_OK && row.packing > op.n)
		e = ERR_CORRUPT;
	if (e == ERR_OK)
		r = rd_init(slice_of(op.p + op.n - row.packing, row.packing));
	while (e == ERR_OK && r.left > 0) {
		i.c.share = row.share;
		i.c.compartment = row.compartment;
		e = item_read(t, &r, &i);
		if (e == ERR_OK && i.c.missing)
			e = fn(ctx, &i);
	}
	buf_fini(&op);
	return e;
}

static enum err
wants_count(void *ctx, const struct item *i)
{
	struct oplog_op_wants *out = ctx;

	out->missing++;
	out->wanted += i->wanted;
	out->alone += i->wanted && i->alone;
	return ERR_OK;
}

enum err
oplog_op_wants(struct store *s, struct db_txn *t, uint64_t lseq,
    struct oplog_op_wants *out)
{
	*out = (struct oplog_op_wants){ 0 };
	return items_each(s, t, lseq, wants_count, out);
}

struct want_op {
	struct store_txn *t;
	oplog_complete_fn complete;
	void *ctx;
};

static enum err
want_it(void *ctx, const struct item *i)
{
	const struct want_op *w = ctx;

	if (i->c.aside)
		return ERR_OK;
	if (i->here && i->c.given)
		return oplog_chunk_settle(
		    w->t, i->c.chunk, w->complete, w->ctx);
	return i->wanted ? ERR_OK
			 : oplog_want_put(store_txn_db(w->t), &i->c, i->c_len);
}

enum err
oplog_want_op(
    struct store_txn *t, uint64_t lseq, oplog_complete_fn complete, void *ctx)
{
	struct want_op w = { t, complete, ctx };

	return items_each(
	    store_txn_store(t), store_txn_db(t), lseq, want_it, &w);
}

static enum err
unwant_it(void *ctx, const struct item *i)
{
	struct key k = cref_prefix_in(i->c.chunk, i->c.share, i->c.compartment);

	if (!i->wanted || !i->alone)
		return ERR_OK;
	return db_del(ctx, DB_WANT, key_slice(&k));
}

static enum err
aside_each(struct db_txn *db, struct cref *c, struct rd *r, bool aside)
{
	enum err e = ERR_OK;
	struct cry_id cid;

	while (e == ERR_OK && r->left > 0) {
		rd_copy(r, cid.b, sizeof(cid.b));
		(void)rd_u32(r);
		if (r->err != ERR_OK)
			return ERR_CORRUPT;
		e = blob_chunk_number(db, &cid, &c->chunk);
		if (e == ERR_OK)
			e = cref_get(db, c);
		if (e != ERR_OK || c->aside == aside)
			continue;
		c->aside = aside;
		e = cref_set(db, c);
	}
	return e == ERR_NOTFOUND ? ERR_CORRUPT : e;
}

enum err
oplog_op_aside(struct store_txn *t, uint64_t lseq, bool aside)
{
	struct db_txn *db = store_txn_db(t);
	struct buf op = BUF_MAX(64 * MIB);
	struct cref c = { .lseq = lseq };
	struct op_row row;
	struct rd r;
	enum err e = oplog_row_get(db, lseq, &row);

	if (e != ERR_OK || row.packing == 0)
		return e;
	c.share = row.share;
	c.compartment = row.compartment;
	e = store_rec_get(store_txn_store(t), &row.loc, REC_OP, &op);
	if (e == ERR_OK && row.packing > op.n)
		e = ERR_CORRUPT;
	if (e == ERR_OK) {
		r = rd_init(slice_of(op.p + op.n - row.packing, row.packing));
		e = aside_each(db, &c, &r, aside);
	}
	buf_fini(&op);
	return e == ERR_OK && aside ? oplog_unwant_op(t, lseq) : e;
}

enum err
oplog_unwant_op(struct store_txn *t, uint64_t lseq)
{
	struct db_txn *db = store_txn_db(t);

	return items_each(store_txn_store(t), db, lseq, unwant_it, db);
}
