/* node/share/share_root.c: one hash over all that a store holds and that
 * cannot be derived, and over what was derived from it.
 *
 * Two stores with the same root hold the same records: local rows as they are
 * sealed, membership, frontiers; and their catalogs say the same.  Local
 * numbers, places in segments and the order of arrival stay out, and so do
 * chunks: rows and ops name those that are needed, and one that was let go
 * may be there again after a rebuild, until it is let go once more. */
#include <stdlib.h>

#include "node/share/share_internal.h"

struct front { /* a feed, and how far it goes */
	struct cry_id share;
	uint32_t share_no;
	uint16_t compartment;
	uint8_t feed[16];
	uint64_t seq;
	struct cry_id op;
};

struct root {
	struct store *s;
	struct db_txn *t;
	struct cry_hasher h;
	struct front *f;
	uint32_t n, cap;
	struct share_no {
		uint32_t no;
		struct cry_id id;
	} * share;
	uint32_t n_shares;
};

static void
hash_u64(struct root *r, uint64_t v)
{
	uint8_t b[8];
	int i;

	for (i = 0; i < 8; i++)
		b[i] = (uint8_t)(v >> (8 * i));
	cry_hasher_add(&r->h, slice_of(b, sizeof(b)));
}

static int
share_note(void *ctx, uint32_t no, const struct cry_id *share)
{
	struct root *r = ctx;
	struct share_no *v =
	    mem_grow(r->share, (size_t)r->n_shares + 1, sizeof(*v));

	if (v == NULL)
		return ERR_NOMEM;
	r->share = v;
	v[r->n_shares++] = (struct share_no){ no, *share };
	return 0;
}

static int
share_cmp(const void *a, const void *b)
{
	const struct share_no *x = a, *y = b;

	return memcmp(x->id.b, y->id.b, sizeof(x->id.b));
}

static int
front_note(void *ctx, const struct oplog_feed *f, const struct oplog_head *head)
{
	struct root *r = ctx;
	struct front *v;
	uint32_t i;

	if (r->n == r->cap) {
		v = mem_grow(r->f, (size_t)r->cap + 64, sizeof(*v));
		if (v == NULL)
			return ERR_NOMEM;
		r->f = v;
		r->cap += 64;
	}
	v = &r->f[r->n++];
	memset(v, 0, sizeof(*v));
	for (i = 0; i < r->n_shares; i++) {
		if (r->share[i].no == f->share)
			v->share = r->share[i].id;
	}
	v->share_no = f->share;
	v->compartment = f->compartment;
	memcpy(v->feed, f->id, sizeof(v->feed));
	if (head != NULL) {
		v->seq = head->seq;
		v->op = head->op_id;
	}
	return 0;
}

static int
front_cmp(const void *a, const void *b)
{
	const struct front *x = a, *y = b;
	int c = memcmp(x->share.b, y->share.b, sizeof(x->share.b));

	if (c == 0)
		c = (int)x->compartment - (int)y->compartment;
	return c != 0 ? c : memcmp(x->feed, y->feed, sizeof(x->feed));
}

static enum err
root_members(struct root *r, const struct share_no *s)
{
	struct buf rec = BUF_MAX(LIM_MEMBER_RECORD_BYTES);
	struct cry_id id;
	uint64_t seq;
	enum err e = ERR_OK;

	cry_hasher_add(&r->h, slice_of(s->id.b, sizeof(s->id.b)));
	for (seq = 0; e == ERR_OK; seq++) {
		buf_reset(&rec);
		e = oplog_member_get(r->s, r->t, s->no, seq, &rec);
		if (e != ERR_OK)
			break;
		cry_hash(buf_slice(&rec), &id);
		cry_hasher_add(&r->h, slice_of(id.b, sizeof(id.b)));
	}
	hash_u64(r, seq);
	buf_fini(&rec);
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

static enum err
root_front(struct root *r, uint32_t i)
{
	const struct front *f = &r->f[i];
	struct cry_id cat;
	enum err e = ERR_OK;

	if (i == 0 || r->f[i - 1].compartment != f->compartment ||
	    r->f[i - 1].share_no != f->share_no) {
		e = cat_hash(r->s, r->t, f->share_no, f->compartment, &cat);
		if (e == ERR_OK)
			cry_hasher_add(&r->h, slice_of(cat.b, sizeof(cat.b)));
	}
	hash_u64(r, f->compartment);
	cry_hasher_add(&r->h, slice_of(f->feed, sizeof(f->feed)));
	hash_u64(r, f->seq);
	cry_hasher_add(&r->h, slice_of(f->op.b, sizeof(f->op.b)));
	return e;
}

static enum err
root_walk(struct root *r)
{
	struct cry_id part;
	uint32_t i;
	enum err e = oplog_shares_each(r->t, share_note, r);

	if (e == ERR_OK)
		e = oplog_feeds_each(r->t, front_note, r);
	if (r->n_shares > 1)
		qsort(r->share, r->n_shares, sizeof(*r->share), share_cmp);
	if (r->n > 1)
		qsort(r->f, r->n, sizeof(*r->f), front_cmp);
	for (i = 0; i < r->n_shares && e == ERR_OK; i++)
		e = root_members(r, &r->share[i]);
	for (i = 0; i < r->n && e == ERR_OK; i++)
		e = root_front(r, i);
	if (e == ERR_OK)
		e = store_rows_hash(r->s, r->t, &part);
	if (e == ERR_OK)
		cry_hasher_add(&r->h, slice_of(part.b, sizeof(part.b)));
	return e;
}

enum err
shares_root(struct store *s, struct db_txn *t, struct cry_id *out)
{
	struct root r = { .s = s, .t = t };
	enum err e;

	cry_hasher_init(&r.h);
	cry_hasher_add(&r.h, SLICE_LIT("psc.store.root.1"));
	e = root_walk(&r);
	if (e == ERR_OK)
		cry_hasher_end(&r.h, out);
	mem_free(r.f);
	mem_free(r.share);
	return e;
}
