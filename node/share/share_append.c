/* node/share/share_append.c: our own ops go in.
 *
 * Next place in our feed, dependency on the op that set the highest lamport
 * seen (rulings.md 16), sealed under the epoch key, put, signed head, applied
 * to the catalog: all in the job of the caller. */
#include "node/share/share_internal.h"
#include "store/base/clock.h"

/* No honest clock comes here.  One that a member inflated beyond is not
 * followed: at the end of the range nobody could write any more. */
#define LAMPORT_BELIEVED (UINT64_MAX / 2)

struct append {
	struct shares *sh;
	struct share_slot *slot;
	struct op_feed feed;
	struct oplog_feed row;
	struct op_header h;
	struct slice plain;
	struct slice packing; /* as the op carries it */
	uint64_t lseq;
	struct cry_id id;
	uint32_t missing;
	bool own; /* content made here, not that of another's op */
};

struct seen {
	const struct append *a;
	uint64_t lamport;
	struct cry_id id;
};

static int
append_see(void *ctx, const struct oplog_feed *f, const struct oplog_head *head)
{
	struct seen *s = ctx;

	if (head == NULL || f->share != s->a->slot->no ||
	    f->compartment != s->a->feed.compartment ||
	    head->lamport <= s->lamport)
		return 0;
	if (head->lamport > LAMPORT_BELIEVED &&
	    memcmp(f->device, s->a->row.device, sizeof(f->device)) != 0)
		return 0;
	s->lamport = head->lamport;
	s->id = head->op_id;
	return 0;
}

/* Place in the feed, lamport and dependency. */
static enum err
append_place(struct store_txn *t, struct append *a)
{
	struct oplog_head mine = { 0 };
	struct seen s = { .a = a };
	enum err e;

	if ((e = oplog_feed_add(t, &a->row)) != ERR_OK)
		return e;
	e = oplog_feed_head(store_txn_db(t), a->row.no, &mine);
	if (e != ERR_OK && e != ERR_NOTFOUND)
		return e;
	a->h.seq = mine.seq + 1;
	a->h.prev = mine.op_id; /* zero before the first op */
	s.lamport = mine.lamport;
	e = oplog_feeds_each(store_txn_db(t), append_see, &s);
	if (e != ERR_OK)
		return e;
	if (s.lamport > mine.lamport) {
		a->h.deps[0] = s.id;
		a->h.n_deps = 1;
	}
	if (s.lamport == UINT64_MAX)
		return ERR_LIMIT;
	a->h.lamport = s.lamport + 1;
	return ERR_OK;
}

static enum err
append_head(struct store_txn *t, const struct append *a)
{
	struct op_head h = { .feed = a->h.feed,
		.seq = a->h.seq,
		.id = a->id,
		.lamport = a->h.lamport };
	struct oplog_head row = {
		.seq = h.seq, .op_id = h.id, .lamport = h.lamport
	};
	struct buf b = BUF_MAX(OP_HEAD_BYTES);
	enum err e;

	op_head_sign(&h, &a->sh->me->sign_sk);
	op_head_encode(&h, &b);
	e = buf_err(&b);
	REQUIRE(e != ERR_OK || b.n == sizeof(row.bytes));
	if (e == ERR_OK) {
		memcpy(row.bytes, b.p, sizeof(row.bytes));
		e = oplog_head_put(t, a->row.no, &row);
	}
	buf_fini(&b);
	return e;
}

static enum err
append_write(struct store_txn *t, struct append *a)
{
	const struct member_epoch_key *k =
	    share_key(a->slot->wrk, a->feed.compartment, a->h.epoch);
	struct buf op = BUF_MAX(SHARE_OP_BYTES_MAX);
	struct oplog_op row = { 0 };
	struct op_view v;
	enum err e;

	if (k == NULL)
		return ERR_DENIED;
	e = op_build(&a->h, &k->content, a->plain, a->packing, &op, &a->id);
	if (e == ERR_OK)
		e = op_decode(buf_slice(&op), &v);
	if (e == ERR_OK)
		e = share_packing_items(v.packing, &row.packing);
	if (e == ERR_OK) {
		row.share = a->slot->no;
		row.compartment = a->feed.compartment;
		row.feed = a->row.no;
		row.seq = a->h.seq;
		row.lamport = a->h.lamport;
		row.id = a->id;
		row.bytes = buf_slice(&op);
		row.want_content = true;
		row.own = a->own;
		e = oplog_op_put(t, &row, &a->lseq, &a->missing);
	}
	if (e == ERR_OK)
		e = append_head(t, a);
	buf_fini(&op);
	return e;
}

static enum err
append_right(const struct append *a, bool derived)
{
	const struct cry_sign_pk *me = &a->sh->me->pub.sign;
	const struct member *m = a->slot->wrk->m;
	uint16_t c = a->feed.compartment;

	if (derived ? member_may_write(m, me, c)
		    : member_may_write_original(m, me, c))
		return ERR_OK;
	return ERR_DENIED;
}

/* {cid, c_len} items of the content writer to the op's packing list. */
static enum err
append_packing(struct slice items, struct buf *out)
{
	uint32_t i, n = (uint32_t)(items.n / SHARE_PACKING_ITEM);
	struct rd r = rd_init(items);
	struct op_chunk *c;
	enum err e;

	if (items.n % SHARE_PACKING_ITEM != 0)
		return ERR_MALFORMED;
	if (n == 0)
		return ERR_OK;
	if ((c = mem_array(n, sizeof(*c))) == NULL)
		return ERR_NOMEM;
	for (i = 0; i < n; i++) {
		rd_copy(&r, c[i].cid.b, sizeof(c[i].cid.b));
		c[i].c_len = rd_u32(&r);
	}
	e = rd_end(&r);
	if (e == ERR_OK)
		e = op_packing_encode(c, n, out);
	mem_free(c);
	return e;
}

static void
append_init(struct append *a, uint16_t compartment)
{
	struct shares *sh = a->sh;

	a->feed.share = a->slot->id;
	a->feed.compartment = compartment;
	a->feed.device = sh->me->pub.sign;
	a->feed.incarnation = sh->incarnation;
	a->row.share = a->slot->no;
	a->row.compartment = compartment;
	memcpy(a->row.device, sh->me->pub.sign.b, sizeof(a->row.device));
	a->row.incarnation = sh->incarnation;
	a->h.epoch = member_epoch(a->slot->wrk->m, compartment);
	op_feed_id(&a->feed, &a->h.feed);
	memcpy(a->row.id, a->h.feed.b, sizeof(a->row.id));
	a->h.wall_ms = clock_wall_ms();
}

static void
append_origin(const struct append *a, struct cat_origin *o)
{
	o->share = share_cry_id(&a->slot->id);
	o->share_no = a->slot->no;
	o->compartment = a->feed.compartment;
	o->lseq = a->lseq;
	o->lamport = a->h.lamport;
	o->wall_ms = a->h.wall_ms;
	o->op_id = a->id;
}

static enum err
append_open(struct store_txn *t, struct shares *sh, uint32_t share_no,
    uint16_t compartment, struct append **out)
{
	struct append *a = mem_new(sizeof(*a));
	enum err e;

	if (a == NULL)
		return ERR_NOMEM;
	a->sh = sh;
	e = share_work_no(t, sh, share_no, &a->slot);
	if (e != ERR_OK) {
		mem_free(a);
		return e;
	}
	append_init(a, compartment);
	*out = a;
	return ERR_OK;
}

/* Written, signed and in the log; *o: where it comes from. */
static enum err
append_log(struct store_txn *t, struct append *a, struct cat_origin *o)
{
	enum err e = ERR_DENIED; /* what one might write once is not enough */

	if (member_may_write(
		a->slot->wrk->m, &a->feed.device, a->feed.compartment))
		e = append_place(t, a);
	if (e == ERR_OK)
		e = append_write(t, a);
	if (e != ERR_OK)
		return e;
	append_origin(a, o);
	a->sh->touched = true;
	return ERR_OK;
}

/* a->plain and a->packing are set. */
static enum err
append_put(struct store_txn *t, struct append *a, struct asset_id *asset)
{
	const struct member *m = a->slot->wrk->m;
	struct cat_origin o = { 0 };
	bool content = false;
	enum err e;

	a->h.kind = OP_ASSET_PUT;
	if (share_put_fault(m, &a->feed, a->plain, &content) != NULL)
		return ERR_DENIED;
	if ((e = append_log(t, a, &o)) != ERR_OK)
		return e;
	e = cat_apply_put(t, &o, a->plain, asset);
	if (e == ERR_OK && a->missing == 0 && content)
		e = cat_content_complete(t, &o, asset);
	else if (e == ERR_OK && a->missing > 0)
		a->sh->touched_wants = true;
	return e;
}

enum err
/* NOLINTNEXTLINE(readability-function-size): one act, six inputs */
shares_append_put(struct store_txn *t, struct shares *sh, uint32_t share_no,
    uint16_t compartment, const struct cat_put *put, struct slice packing,
    struct asset_id *asset)
{
	struct append *a = NULL;
	struct buf plain = BUF_MAX(LIM_OP_PAYLOAD_BYTES);
	struct buf list = BUF_MAX(SHARE_OP_BYTES_MAX);
	enum err e = append_open(t, sh, share_no, compartment, &a);

	if (e == ERR_OK)
		e = append_right(a, put->derived);
	if (e == ERR_OK)
		e = cat_put_encode(put, &plain);
	if (e == ERR_OK)
		e = append_packing(packing, &list);
	if (e == ERR_OK) {
		a->plain = buf_slice(&plain);
		a->packing = buf_slice(&list);
		a->own = true;
		e = append_put(t, a, asset);
	}
	buf_wipe(&plain);
	buf_fini(&list);
	mem_free(a);
	return e;
}

/* --- edits --- */

/* Who adds derived versions only says something of those only: of what is
 * here already this is known. */
static enum err
edit_of_derived(
    struct store_txn *t, const struct append *a, const struct cat_edit *edit)
{
	struct cry_id share = share_cry_id(&a->slot->id);
	struct cat_asset *asset;
	struct asset_id id;
	enum err e;

	if (member_may_write_original(
		a->slot->wrk->m, &a->feed.device, a->feed.compartment))
		return ERR_OK;
	if ((asset = mem_new(sizeof(*asset))) == NULL)
		return ERR_NOMEM;
	cat_asset_id(&share, a->feed.compartment, edit->level, edit->key, &id);
	e = cat_asset_get(store_txn_store(t), store_txn_db(t), &id, asset);
	if (e == ERR_OK && asset->n_versions > 0 && !asset->head.derived)
		e = ERR_DENIED;
	mem_free(asset);
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

enum err
/* NOLINTNEXTLINE(readability-function-size): one act, six inputs */
shares_append_edit(struct store_txn *t, struct shares *sh, uint32_t share_no,
    uint16_t compartment, const struct cat_edit *edit, struct asset_id *asset)
{
	struct append *a = NULL;
	struct buf plain = BUF_MAX(LIM_OP_PAYLOAD_BYTES);
	struct cat_seen *seen = mem_new(sizeof(*seen));
	struct cat_origin o = { 0 };
	const char *fault = NULL;
	struct cry_id share;
	enum err e = seen == NULL ? ERR_NOMEM : ERR_OK;

	if (e == ERR_OK)
		e = append_open(t, sh, share_no, compartment, &a);
	if (e != ERR_OK)
		goto out;
	share = share_cry_id(&a->slot->id);
	e = cat_edit_see(store_txn_db(t), &share, compartment, edit, seen);
	if (e == ERR_OK)
		e = cat_edit_encode(edit, seen, &plain);
	if (e != ERR_OK)
		goto out;
	a->plain = buf_slice(&plain);
	a->h.kind = OP_EDIT;
	e = share_edit_fault(a->slot->wrk->m, &a->feed, a->plain, &fault);
	if (e == ERR_OK)
		e = fault != NULL ? ERR_DENIED : edit_of_derived(t, a, edit);
	if (e == ERR_OK)
		e = append_log(t, a, &o);
	if (e == ERR_OK)
		e = cat_apply_edit(t, &o, a->plain, asset);
out:
	buf_wipe(&plain);
	mem_free(seen);
	mem_free(a);
	return e;
}

/* --- undo --- */

/* The op of an earlier version: its packing list, and what it says. */
static enum err
undo_open(struct store_txn *t, struct shares *sh, uint64_t lseq, struct buf *op,
    struct op_view *v)
{
	enum err e = oplog_op_get_lseq(sh->store, store_txn_db(t), lseq, op);

	if (e == ERR_OK)
		e = op_decode(buf_slice(op), v);
	if (e == ERR_OK && v->h.kind != OP_ASSET_PUT)
		e = ERR_NOTFOUND;
	return e;
}

static enum err
undo_append(struct store_txn *t, struct append *a, const struct op_view *v,
    const struct cat_again *by, struct asset_id *asset)
{
	struct buf was = BUF_MAX(LIM_OP_PAYLOAD_BYTES);
	struct buf plain = BUF_MAX(LIM_OP_PAYLOAD_BYTES);
	enum err e = share_open(a->slot->wrk, a->feed.compartment, v, &was);

	if (e == ERR_NOTFOUND)
		e = ERR_DENIED;

	if (e == ERR_OK)
		e = cat_put_again(buf_slice(&was), by, &plain);
	if (e == ERR_OK) {
		a->plain = buf_slice(&plain);
		a->packing = v->packing;
		e = append_put(t, a, asset);
	}
	buf_wipe(&was);
	buf_wipe(&plain);
	return e;
}

enum err
shares_append_again(struct store_txn *t, struct shares *sh, uint64_t lseq,
    const struct cat_again *by, struct asset_id *asset)
{
	struct buf op = BUF_MAX(SHARE_OP_BYTES_MAX);
	struct op_view *v = mem_new(sizeof(*v));
	struct append *a = NULL;
	struct oplog_feed f;
	enum err e = v == NULL ? ERR_NOMEM : undo_open(t, sh, lseq, &op, v);

	if (e == ERR_OK)
		e = oplog_feed_find(store_txn_db(t), v->h.feed.b, &f);
	if (e == ERR_OK)
		e = append_open(t, sh, f.share, f.compartment, &a);
	if (e == ERR_OK)
		e = undo_append(t, a, v, by, asset);
	mem_free(a);
	mem_free(v);
	buf_fini(&op);
	return e;
}
