/* node/share/share_rebuild.c: shares, feeds, ops and the catalog, out of a
 * log whose index was lost.
 *
 * Happy path: membership records by share and number, feeds from their rows,
 * then ops and heads in log order, applied by the code that applies an op on
 * arrival.  Events are rows and are there already: applying tells only what
 * was never told.  An op that was set aside then stays aside, so the views
 * come out as they were, whatever rights were given since.
 * Failure modes: what damage took is listed.  A feed with a hole keeps what
 * lies behind the hole, but its heads from there on are forgotten: peers are
 * asked for the rest and it is whole again after the next sync. */
#include <stdlib.h>

#include "node/share/share_internal.h"
#include "store/base/enc.h"

#define OPS_A_JOB 128u

static void
bad_tell(struct store *s, const char *what, bool repairable, struct slice id,
    const char *why)
{
	struct store_bad bad = { .repairable = repairable };
	char hex[ENC_HEX_LEN(32) + 1];

	enc_hex(id.n > 16 ? slice_of(id.p, 16) : id, hex);
	(void)snprintf(bad.what, sizeof(bad.what), "%s", what);
	(void)snprintf(bad.where, sizeof(bad.where), "%s: %s", hex, why);
	store_rebuild_bad(s, &bad);
}

/* Ours to fail for; anything else is damage, told and left. */
static bool
own_trouble(enum err e)
{
	return e == ERR_NOMEM || e == ERR_IO || e == ERR_FULL || e == ERR_BUSY;
}

/* --- membership --- */

struct record {
	struct share_id share;
	uint64_t seq;
	struct store_loc loc;
	struct cry_id id, prev;
	uint32_t era;
	bool dropped; /* of a branch that a checkpoint ended */
};

struct records {
	struct store *s;
	struct record *v;
	uint32_t n, cap;
};

static enum err
record_note(void *ctx, enum rec_kind kind, const struct store_loc *l)
{
	struct records *r = ctx;
	struct buf body = BUF_MAX(LIM_MEMBER_RECORD_BYTES);
	struct record one = { .loc = *l }, *v;
	enum err e;

	if (kind != REC_MEMBER)
		return ERR_OK;
	e = store_rec_get(r->s, l, REC_MEMBER, &body);
	if (e == ERR_OK)
		e = member_record_place(buf_slice(&body), &one.share, &one.seq);
	if (e == ERR_OK)
		e = member_record_link(
		    buf_slice(&body), &one.id, &one.prev, &one.era);
	buf_fini(&body);
	if (e != ERR_OK)
		return own_trouble(e) ? e : ERR_OK; /* told by the scan */
	if (r->n == r->cap) {
		v = mem_grow(r->v, (size_t)r->cap + 64, sizeof(*v));
		if (v == NULL)
			return ERR_NOMEM;
		r->v = v;
		r->cap += 64;
	}
	r->v[r->n++] = one;
	return ERR_OK;
}

static int
record_cmp(const void *a, const void *b)
{
	const struct record *x = a, *y = b;
	int c = memcmp(x->share.b, y->share.b, sizeof(x->share.b));

	if (c != 0)
		return c;
	return x->seq < y->seq ? -1 : x->seq > y->seq;
}

/* In place of what has its number, all before it that it names, and none of
 * what does not grow on it: v[0..n) are of one share, by number. */
static void
branches_drop(struct record *v, uint32_t n)
{
	const struct record *last = NULL;
	struct cry_id want;
	uint32_t i;

	for (i = 0; i < n; i++) {
		if (v[i].era > 0 && (last == NULL || v[i].era > last->era))
			last = &v[i];
	}
	if (last == NULL)
		return;
	want = last->id;
	for (i = n; i-- > 0;) {
		if (v[i].seq > last->seq)
			continue;
		v[i].dropped = memcmp(&v[i].id, &want, sizeof(want)) != 0;
		if (!v[i].dropped)
			want = v[i].prev;
	}
	want = last->id;
	for (i = 0; i < n; i++) {
		if (v[i].seq <= last->seq)
			continue;
		v[i].dropped = memcmp(&v[i].prev, &want, sizeof(want)) != 0;
		if (!v[i].dropped)
			want = v[i].id;
	}
}

static void
records_drop(struct records *r)
{
	uint32_t i = 0, k;

	for (; i < r->n; i = k) {
		for (k = i + 1;
		     k < r->n && memcmp(&r->v[k].share, &r->v[i].share,
				     sizeof(r->v[i].share)) == 0;
		     k++)
			continue;
		branches_drop(r->v + i, k - i);
	}
}

static enum err
records_job(struct store_txn *t, void *ctx)
{
	struct records *r = ctx;
	enum err e = ERR_OK;
	uint32_t i, no;

	for (i = 0; i < r->n && e == ERR_OK; i++) {
		struct cry_id id = share_cry_id(&r->v[i].share);

		if (r->v[i].dropped)
			continue;
		e = oplog_share_add(t, &id, &no);
		if (e == ERR_OK)
			e = oplog_member_index(
			    t, no, r->v[i].seq, &r->v[i].loc);
		if (e == ERR_AGAIN)
			bad_tell(r->s, "op", true, slice_of(id.b, sizeof(id.b)),
			    "a membership record before this is lost");
		if (e == ERR_AGAIN || e == ERR_EXISTS)
			e = ERR_OK;
	}
	if (e == ERR_OK)
		e = oplog_feeds_restore(t);
	return e == ERR_OK ? cat_audit_restore(t) : e;
}

static enum err
records_restore(struct store *s)
{
	struct records r = { .s = s };
	enum err e = store_rebuild_each(s, record_note, &r);

	if (e == ERR_OK && r.n > 1)
		qsort(r.v, r.n, sizeof(*r.v), record_cmp);
	if (e == ERR_OK)
		records_drop(&r);
	if (e == ERR_OK)
		e = store_write(s, records_job, &r);
	mem_free(r.v);
	return e;
}

/* --- ops and heads --- */

struct place {
	enum rec_kind kind;
	struct store_loc loc;
};

struct replay {
	struct shares *sh;
	struct store *s;
	struct cat_told *told;
	struct place at[OPS_A_JOB];
	uint32_t n;
};

static enum err
replay_op(struct store_txn *t, struct replay *r, const struct store_loc *l)
{
	struct buf body = BUF_MAX(SHARE_OP_BYTES_MAX);
	struct cry_id id;
	enum err e = store_rec_get_id(r->s, l, REC_OP, &id, &body);

	if (e == ERR_OK)
		e = share_op_replay(
		    t, r->sh, &id, buf_slice(&body), l, r->told);
	buf_fini(&body);
	if (e == ERR_OK || own_trouble(e))
		return e;
	bad_tell(r->s, "op", true, slice_of(id.b, sizeof(id.b)),
	    "cannot be placed: its feed or share is lost");
	return ERR_OK;
}

/* A head is believed for its signature: a feed's row names the device. */
static enum err
replay_head(struct store_txn *t, struct replay *r, const struct store_loc *l)
{
	struct buf body = BUF_MAX(OP_HEAD_BYTES);
	struct oplog_head row = { 0 };
	struct cry_sign_pk device;
	struct oplog_feed f;
	struct op_head h;
	enum err e = store_rec_get(r->s, l, REC_HEAD, &body);

	if (e == ERR_OK)
		e = op_head_decode(buf_slice(&body), &h);
	if (e == ERR_OK)
		e = oplog_feed_find(store_txn_db(t), h.feed.b, &f);
	if (e == ERR_OK) {
		memcpy(device.b, f.device, sizeof(device.b));
		e = op_head_verify(&h, &device);
	}
	if (e == ERR_OK) {
		row.seq = h.seq;
		row.op_id = h.id;
		row.lamport = h.lamport;
		memcpy(row.bytes, body.p, sizeof(row.bytes));
		e = oplog_head_index(t, f.no, &row);
	}
	buf_fini(&body);
	return own_trouble(e) ? e : ERR_OK;
}

static enum err
replay_job(struct store_txn *t, void *ctx)
{
	struct replay *r = ctx;
	enum err e = ERR_OK;
	uint32_t i;

	for (i = 0; i < r->n && e == ERR_OK; i++)
		e = r->at[i].kind == REC_OP ? replay_op(t, r, &r->at[i].loc)
					    : replay_head(t, r, &r->at[i].loc);
	return e;
}

static enum err
replay_flush(struct replay *r)
{
	enum err e = r->n == 0 ? ERR_OK : store_write(r->s, replay_job, r);

	r->n = 0;
	return e;
}

static enum err
replay_note(void *ctx, enum rec_kind kind, const struct store_loc *l)
{
	struct replay *r = ctx;

	if (kind != REC_OP && kind != REC_HEAD)
		return ERR_OK;
	r->at[r->n++] = (struct place){ kind, *l };
	return r->n == OPS_A_JOB ? replay_flush(r) : ERR_OK;
}

static enum err
replay_all(struct replay *r)
{
	struct db_txn *txn = NULL;
	enum err e = store_read(r->s, &txn);

	if (e == ERR_OK)
		e = cat_told_load(r->s, txn, &r->told);
	db_abort(txn);
	if (e == ERR_OK)
		e = store_rebuild_each(r->s, replay_note, r);
	return e == ERR_OK ? replay_flush(r) : e;
}

/* --- keys and holes --- */

struct hole {
	struct replay *r;
	struct store_txn *t;
	uint32_t feed[64];
	uint64_t seq[64];
	uint32_t n;
};

static int
hole_find(void *ctx, const struct oplog_feed *f, const struct oplog_head *head)
{
	struct hole *h = ctx;
	uint64_t seq;

	if (head == NULL)
		return 0;
	for (seq = 1; seq <= head->seq; seq++) {
		if (!oplog_op_there(store_txn_db(h->t), f->no, seq))
			break;
	}
	if (seq > head->seq)
		return 0;
	bad_tell(h->r->s, "op", true, slice_of(f->id, sizeof(f->id)),
	    "ops of this feed are lost; peers are asked for them");
	h->feed[h->n] = f->no;
	h->seq[h->n++] = seq;
	return h->n == sizeof(h->feed) / sizeof(h->feed[0]);
}

static enum err
holes_cut(struct store_txn *t, struct replay *r)
{
	struct hole h = { .r = r, .t = t };
	uint32_t i;
	enum err e;

	do {
		h.n = 0;
		e = oplog_feeds_each(store_txn_db(t), hole_find, &h);
		for (i = 0; i < h.n && e == ERR_OK; i++)
			e = oplog_heads_cut(t, h.feed[i], h.seq[i]);
	} while (e == ERR_OK && h.n > 0);
	return e;
}

static enum err
ends_job(struct store_txn *t, void *ctx)
{
	struct replay *r = ctx;
	struct share_slot *slot;
	uint32_t i;
	enum err e = holes_cut(t, r);

	/* Rows of keys that damage took come out of the chain again. */
	for (i = 0; i < r->sh->n && e == ERR_OK; i++) {
		e = share_work(t, r->sh, &r->sh->slot[i]->id, &slot);
		if (e == ERR_OK)
			e = share_keys_keep(t, r->sh, &slot->id, slot->wrk);
		if (!own_trouble(e))
			e = ERR_OK; /* a chain that is lost was told of */
	}
	return e;
}

enum err
shares_rebuild(const struct shares_opts *o, struct errmsg *em)
{
	struct replay *r = mem_new(sizeof(*r));
	enum err e = ERR_NOMEM;

	if (r != NULL) {
		r->s = o->store;
		e = records_restore(r->s);
	}
	if (e == ERR_OK)
		e = shares_open(o, &r->sh, em);
	if (e == ERR_OK)
		e = replay_all(r);
	if (e == ERR_OK)
		e = store_write(r->s, ends_job, r);
	if (r != NULL) {
		cat_told_free(r->told);
		shares_close(r->sh);
	}
	mem_free(r);
	if (e != ERR_OK && (em == NULL || em->code == ERR_OK))
		errmsg_set(em, e, "run it again when the cause is gone",
		    "the shares cannot be rebuilt: %s", err_text(e));
	return e;
}
