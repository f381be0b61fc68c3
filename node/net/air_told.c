/* node/net/air_told.c: what a peer said in its last file that it holds and
 * wants (local rows "air"), so that the next file for it is the difference.
 *
 * Row: {peer's box key 16, share 16, type u8, compartment u16, number u32},
 * the value is the message without its tag.  Losing them costs bytes only:
 * what a peer has it takes again without effect. */
#include <stdlib.h>

#include "node/net/air_internal.h"

#define KEY_PEER 16u
#define KEY_SHARE 16u

void
air_told_fini(struct air_told *t)
{
	mem_free(t->feed);
	mem_free(t->wish);
	memset(t, 0, sizeof(*t));
}

static int
feed_cmp(const void *a, const void *b)
{
	const struct air_feed *x = a, *y = b;

	return memcmp(x->id.b, y->id.b, sizeof(x->id.b));
}

uint64_t
air_told_seq(const struct air_told *t, const struct feed_id *f)
{
	struct air_feed key = { .id = *f };
	const struct air_feed *got;

	if (t->n_feeds == 0)
		return 0;
	got = bsearch(&key, t->feed, t->n_feeds, sizeof(key), feed_cmp);
	return got == NULL ? 0 : got->seq;
}

struct load {
	struct air_told *t;
	const struct share_id *share;
};

static enum err
load_front(struct load *l, uint16_t compartment, struct slice items)
{
	struct op_feed of = { .share = *l->share, .compartment = compartment };
	struct air_told *t = l->t;
	struct rd r = rd_init(items);
	struct air_feed *v;

	while (r.left > 0) {
		if (t->n_feeds == t->cap_feeds) {
			v = mem_grow(t->feed, t->cap_feeds + 512, sizeof(*v));
			if (v == NULL)
				return ERR_NOMEM;
			t->feed = v;
			t->cap_feeds += 512;
		}
		rd_copy(&r, of.device.b, sizeof(of.device.b));
		of.incarnation = rd_u64(&r);
		v = &t->feed[t->n_feeds];
		v->seq = rd_u64(&r);
		if (r.err != ERR_OK)
			return ERR_CORRUPT;
		op_feed_id(&of, &v->id);
		t->n_feeds++;
	}
	return ERR_OK;
}

static enum err
load_wishes(struct load *l, uint16_t compartment, struct slice items)
{
	struct air_told *t = l->t;
	struct rd r = rd_init(items);
	struct air_wish *v;

	while (r.left > 0) {
		if (t->n_wishes == t->cap_wishes) {
			v = mem_grow(t->wish, t->cap_wishes + 256, sizeof(*v));
			if (v == NULL)
				return ERR_NOMEM;
			t->wish = v;
			t->cap_wishes += 256;
		}
		v = &t->wish[t->n_wishes];
		v->compartment = compartment;
		rd_copy(&r, v->cid.b, sizeof(v->cid.b));
		if (r.err != ERR_OK)
			return ERR_CORRUPT;
		t->n_wishes++;
	}
	return ERR_OK;
}

static int
load_row(void *ctx, struct slice key, struct slice value)
{
	struct load *l = ctx;
	struct rd k = rd_init(key), v = rd_init(value);
	uint16_t compartment;
	uint8_t type;

	(void)rd_bytes(&k, KEY_PEER + KEY_SHARE);
	type = rd_u8(&k);
	compartment = rd_u16(&k);
	(void)rd_be32(&k);
	if (rd_end(&k) != ERR_OK)
		return ERR_CORRUPT;
	l->t->any = true;
	if (type == MSG_FRONT)
		return (int)load_front(l, compartment, value);
	if (type == MSG_GET)
		return (int)load_wishes(l, compartment, value);
	l->t->chain_seq = rd_u64(&v);
	return rd_end(&v);
}

static void
key_begin(struct buf *b, const struct cry_box_pk *peer)
{
	buf_put(b, peer->b, KEY_PEER);
}

enum err
air_told_load(struct store *s, const struct cry_box_pk *peer,
    const struct share_id *share, struct air_told *out)
{
	struct load l = { out, share };
	struct buf prefix = BUF_MAX(KEY_PEER + KEY_SHARE);
	struct db_txn *txn = NULL;
	enum err e;

	memset(out, 0, sizeof(*out));
	key_begin(&prefix, peer);
	buf_put(&prefix, share->b, KEY_SHARE);
	if ((e = buf_err(&prefix)) == ERR_OK)
		e = store_read(s, &txn);
	if (e == ERR_OK)
		e = store_row_each(
		    s, txn, NET_TAG_AIR, buf_slice(&prefix), load_row, &l);
	db_abort(txn);
	buf_fini(&prefix);
	if (e == ERR_OK && out->n_feeds > 1)
		qsort(out->feed, out->n_feeds, sizeof(*out->feed), feed_cmp);
	if (e != ERR_OK)
		air_told_fini(out);
	return e;
}

/* --- keeping --- */

void
air_rows_add(
    struct air_rows *r, const struct share_id *share, const struct msg *m)
{
	struct buf *b = &r->bytes;

	if (b->max == 0)
		*b = BUF_MAX(2 * AIR_TOLD_BYTES_MAX);
	if (b->n > AIR_TOLD_BYTES_MAX ||
	    (m->type == MSG_GET && r->wants + m->n > AIR_WANTS_MAX))
		return;
	if (m->type == MSG_GET)
		r->wants += m->n;
	buf_put(b, share->b, KEY_SHARE);
	buf_u8(b, m->type);
	buf_u16(b, m->compartment);
	if (m->type == MSG_OPEN) {
		buf_u32(b, 8);
		buf_u64(b, m->seq);
	} else {
		buf_u32(b, (uint32_t)m->items.n);
		buf_put_slice(b, m->items);
	}
	r->n++;
}

struct keep {
	const struct cry_box_pk *peer;
	const struct air_rows *rows;
	struct buf old; /* keys */
};

static int
keep_old(void *ctx, struct slice key, struct slice value)
{
	struct keep *k = ctx;

	(void)value;
	buf_u8(&k->old, (uint8_t)key.n);
	buf_put_slice(&k->old, key);
	return buf_err(&k->old);
}

static enum err
keep_put(struct store_txn *t, const struct keep *k)
{
	struct rd r = rd_init(buf_slice(&k->rows->bytes));
	struct buf key = BUF_MAX(64);
	enum err e = ERR_OK;

	for (uint32_t i = 0; i < k->rows->n && e == ERR_OK; i++) {
		buf_reset(&key);
		key_begin(&key, k->peer);
		buf_put_slice(&key, rd_bytes(&r, KEY_SHARE + 3u));
		buf_be32(&key, i);
		e = buf_err(&key);
		if (e == ERR_OK)
			e = store_row_put(t, NET_TAG_AIR, buf_slice(&key),
			    rd_bytes(&r, rd_u32(&r)));
	}
	buf_fini(&key);
	return e;
}

static enum err
keep_job(struct store_txn *t, void *ctx)
{
	struct keep *k = ctx;
	struct rd r;
	enum err e;

	buf_reset(&k->old);
	e = store_row_each(store_txn_store(t), store_txn_db(t), NET_TAG_AIR,
	    slice_of(k->peer->b, KEY_PEER), keep_old, k);
	r = rd_init(buf_slice(&k->old));
	while (e == ERR_OK && r.left > 0)
		e = store_row_del(t, NET_TAG_AIR, rd_bytes(&r, rd_u8(&r)));
	return e == ERR_OK ? keep_put(t, k) : e;
}

enum err
air_rows_keep(
    struct store *s, const struct cry_box_pk *peer, const struct air_rows *r)
{
	struct keep k = { peer, r, BUF_MAX(16 * MIB) };
	enum err e = buf_err(&r->bytes);

	if (e == ERR_OK)
		e = store_write(s, keep_job, &k);
	buf_fini(&k.old);
	return e;
}
