/* store/catalog/oplog_subscribe.c: wants of a compartment that is subscribed
 * to, or no longer, after its ops came.
 *
 * Subscribing walks the op rows and reads the packing list of each op that
 * lacks chunks; unsubscribing drops the compartment's want rows.  Both run in
 * one job, so a crash leaves either state whole. */
#include "store/base/mem.h"
#include "store/catalog/catalog_internal.h"

#define DROP_BATCH 64u

struct lacking {
	uint32_t share;
	uint16_t compartment;
	uint64_t *lseqs;
	uint32_t n, cap;
};

static int
lacking_note(void *ctx, struct slice k, struct slice v)
{
	struct lacking *l = ctx;
	struct rd r = rd_init(k);
	struct op_row row;
	uint64_t *grown;
	enum err e = oplog_row_decode(v, &row);

	if (e != ERR_OK)
		return e;
	if (row.share != l->share || row.compartment != l->compartment ||
	    row.missing == 0)
		return 0;
	if (l->n == l->cap) {
		l->cap = l->cap == 0 ? 256 : l->cap * 2;
		grown = mem_grow(l->lseqs, l->cap, sizeof(*grown));
		if (grown == NULL)
			return ERR_NOMEM;
		l->lseqs = grown;
	}
	l->lseqs[l->n++] = rd_be64(&r);
	return rd_end(&r);
}

/* Also a chunk that is here may be missing to the op.  If it was let go here
 * and is not gone, its want is settled at once; else it came through another
 * compartment, and this one is asked. */
static enum err
want_item(struct db_txn *db, struct cref *c, struct rd *r)
{
	struct cry_id cid;
	uint32_t c_len;
	enum err e;

	rd_copy(r, cid.b, sizeof(cid.b));
	c_len = rd_u32(r);
	if (r->err != ERR_OK)
		return ERR_CORRUPT;
	e = blob_chunk_number(db, &cid, &c->chunk);
	if (e != ERR_OK)
		return e == ERR_NOTFOUND ? ERR_CORRUPT : e;
	e = cref_get(db, c);
	return e == ERR_OK && c->missing && !c->aside
		   ? oplog_want_put(db, c, c_len)
		   : e;
}

static enum err
want_lacking(struct store_txn *t, const struct lacking *l, uint64_t lseq)
{
	struct db_txn *db = store_txn_db(t);
	struct buf op = BUF_MAX(4 * MIB);
	struct cref c = {
		.share = l->share, .compartment = l->compartment, .lseq = lseq
	};
	struct op_row row;
	struct rd r;
	enum err e = oplog_row_get(db, lseq, &row);

	if (e == ERR_OK)
		e = store_rec_get(store_txn_store(t), &row.loc, REC_OP, &op);
	if (e == ERR_OK && row.packing > op.n)
		e = ERR_CORRUPT;
	if (e == ERR_OK)
		r = rd_init(slice_of(op.p + op.n - row.packing, row.packing));
	while (e == ERR_OK && r.left > 0)
		e = want_item(db, &c, &r);
	buf_fini(&op);
	return e;
}

enum err
oplog_want_all(struct store_txn *t, uint32_t share, uint16_t compartment)
{
	struct lacking l = { .share = share, .compartment = compartment };
	uint32_t i;
	enum err e = key_walk(
	    store_txn_db(t), DB_OP, (struct slice){ 0 }, lacking_note, &l);

	for (i = 0; e == ERR_OK && i < l.n; i++)
		e = want_lacking(t, &l, l.lseqs[i]);
	mem_free(l.lseqs);
	return e;
}

struct dropping {
	uint32_t share;
	uint16_t compartment;
	struct key keys[DROP_BATCH];
	uint32_t n;
};

static int
drop_note(void *ctx, struct slice k, struct slice v)
{
	struct dropping *d = ctx;
	struct rd r = rd_init(k);
	uint32_t share;

	(void)v;
	(void)rd_be64(&r);
	share = rd_be32(&r);
	if (share == d->share && key_rd_be16(&r) == d->compartment) {
		d->keys[d->n] = (struct key){ 0 };
		key_put(&d->keys[d->n++], k.p, k.n);
	}
	return d->n == DROP_BATCH;
}

enum err
oplog_want_none(struct store_txn *t, uint32_t share, uint16_t compartment)
{
	struct dropping d = { .share = share, .compartment = compartment };
	struct db_txn *db = store_txn_db(t);
	uint32_t i;
	enum err e;

	do {
		d.n = 0;
		e = key_walk(db, DB_WANT, (struct slice){ 0 }, drop_note, &d);
		for (i = 0; i < d.n && e == ERR_OK; i++)
			e = db_del(db, DB_WANT, key_slice(&d.keys[i]));
	} while (e == ERR_OK && d.n == DROP_BATCH);
	return e;
}
