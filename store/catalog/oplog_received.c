/* store/catalog/oplog_received.c: what came of whom, counted.
 *
 * Happy path: the feeds tell which rows are one author's; then every op is
 * looked at, some thousands a read transaction, so that no writer's pages are
 * held for long. */
#include "store/base/enc.h"
#include "store/base/mem.h"
#include "store/catalog/catalog_internal.h"

#define RECEIVED_ROWS 4096u

struct received_feed {
	uint32_t feed;
	uint32_t at; /* in out */
};

struct received {
	struct received_feed *feed; /* ascending by feed */
	uint32_t n_feeds, cap_feeds;
	struct oplog_received *out;
	uint32_t n, cap;
};

static enum err
row_of(struct received *r, const struct oplog_feed *f, uint32_t *at)
{
	struct oplog_received *v;

	for (*at = 0; *at < r->n; (*at)++) {
		v = &r->out[*at];
		if (v->share == f->share && v->compartment == f->compartment &&
		    memcmp(v->device, f->device, sizeof(v->device)) == 0)
			return ERR_OK;
	}
	if (r->n == r->cap) {
		v = mem_grow(r->out, r->cap + 32, sizeof(*v));
		if (v == NULL)
			return ERR_NOMEM;
		r->out = v;
		r->cap += 32;
	}
	v = &r->out[r->n++];
	*v = (struct oplog_received){ .share = f->share,
		.compartment = f->compartment };
	memcpy(v->device, f->device, sizeof(v->device));
	return ERR_OK;
}

static int
received_feed(
    void *ctx, const struct oplog_feed *f, const struct oplog_head *head)
{
	struct received *r = ctx;
	struct received_feed *list;
	enum err e;

	(void)head;
	if (r->n_feeds == r->cap_feeds) {
		list = mem_grow(r->feed, r->cap_feeds + 64, sizeof(*list));
		if (list == NULL)
			return ERR_NOMEM;
		r->feed = list;
		r->cap_feeds += 64;
	}
	r->feed[r->n_feeds].feed = f->no;
	e = row_of(r, f, &r->feed[r->n_feeds].at);
	r->n_feeds += e == ERR_OK;
	return e;
}

static int
by_feed(const void *a, const void *b)
{
	const struct received_feed *x = a, *y = b;

	return x->feed < y->feed ? -1 : x->feed > y->feed;
}

static void
received_op(struct received *r, uint64_t lseq, const struct op_row *row)
{
	const struct received_feed want = { .feed = row->feed }, *hit;
	struct oplog_received *v;

	hit = r->n_feeds == 0
		  ? NULL
		  : bsearch(&want, r->feed, r->n_feeds, sizeof(want), by_feed);
	if (hit == NULL)
		return; /* a feed that came after we looked */
	v = &r->out[hit->at];
	v->ops++;
	if (row->packing == 0)
		return;
	v->versions++;
	v->whole += row->missing == 0;
	if (row->missing > 0 && v->first == 0)
		v->first = lseq;
}

/* Some rows from *lseq on; !*more: those were the last. */
static enum err
received_step(struct db_txn *t, struct received *r, uint64_t *lseq, bool *more)
{
	struct key from = { 0 };
	struct db_cur *c = NULL;
	struct slice k, val;
	struct op_row row;
	enum err e = db_cur_open(t, DB_OP, slice_of(NULL, 0), &c);

	*more = false;
	key_be64(&from, *lseq);
	if (e == ERR_OK)
		e = db_cur_seek(c, key_slice(&from), &k, &val);
	for (uint32_t i = 0; e == ERR_OK; i++, e = db_cur_next(c, &k, &val)) {
		if (k.n != 8 || oplog_row_decode(val, &row) != ERR_OK) {
			e = ERR_CORRUPT;
			break;
		}
		*lseq = dec_be64(k.p);
		*more = i == RECEIVED_ROWS;
		if (*more)
			break;
		received_op(r, *lseq, &row);
	}
	db_cur_close(c);
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

enum err
oplog_received(struct store *s, struct oplog_received **out, uint32_t *n)
{
	struct received r = { 0 };
	uint64_t lseq = 0;
	bool more = true;
	struct db_txn *t;
	enum err e = store_read(s, &t);

	*out = NULL;
	*n = 0;
	if (e == ERR_OK) {
		e = oplog_feeds_each(t, received_feed, &r);
		db_abort(t);
	}
	if (e == ERR_OK && r.n_feeds > 0)
		qsort(r.feed, r.n_feeds, sizeof(*r.feed), by_feed);
	while (e == ERR_OK && more) {
		if ((e = store_read(s, &t)) != ERR_OK)
			break;
		e = received_step(t, &r, &lseq, &more);
		db_abort(t);
	}
	mem_free(r.feed);
	if (e != ERR_OK) {
		mem_free(r.out);
		return e;
	}
	*out = r.out;
	*n = r.n;
	return ERR_OK;
}
