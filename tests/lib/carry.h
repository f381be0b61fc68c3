/* tests/lib/carry.h: membership records, ops and chunks carried from site to
 * site by hand, as the network would: jobs of the share room. */
#ifndef PSC_TESTS_CARRY_H
#define PSC_TESTS_CARRY_H

#include "lib/site.h"

struct carry {
	struct site *to;
	struct share_id share;
	uint64_t seq;
	struct slice bytes;
	const struct repl_ops *ops;
	struct cry_id cid;
	uint16_t compartment;
	enum err e;
};

static UNUSED_FN enum err
member_job(struct store_txn *t, void *ctx)
{
	struct carry *c = ctx;

	return shares_put_member(t, c->to->sh, &c->share, c->seq, c->bytes);
}

static UNUSED_FN enum err
claim_job(struct store_txn *t, void *ctx)
{
	struct carry *c = ctx;

	return shares_claim(t, c->to->sh, &c->share, c->bytes);
}

static UNUSED_FN enum err
ops_job(struct store_txn *t, void *ctx)
{
	struct carry *c = ctx;

	return shares_put_ops(t, c->to->sh, c->ops);
}

static UNUSED_FN enum err
chunk_job(struct store_txn *t, void *ctx)
{
	struct carry *c = ctx;

	return shares_put_chunk(
	    t, c->to->sh, &c->share, c->compartment, &c->cid, c->bytes);
}

static UNUSED_FN void
carry_members(struct site *from, struct site *to)
{
	struct share_info i = site_share(from, "trial");
	struct carry c = { .to = to, .share = i.id };
	struct buf rec = BUF_MAX(LIM_MEMBER_RECORD_BYTES);
	struct db_txn *txn = NULL;
	enum err e = ERR_OK;

	for (c.seq = 0; e == ERR_OK; c.seq++) {
		buf_reset(&rec);
		assert_ok(store_read(from->st, &txn));
		e = oplog_member_get(from->st, txn, i.no, c.seq, &rec);
		db_abort(txn);
		c.bytes = buf_slice(&rec);
		if (e == ERR_OK)
			assert_ok(store_write(to->st, member_job, &c));
	}
	assert_int_equal(e, ERR_NOTFOUND);
	buf_fini(&rec);
	share_info_fini(&i);
}

static UNUSED_FN int
claim_take(void *ctx, const struct share_id *share,
    const struct cry_sign_pk *registrar, struct slice claim)
{
	struct buf *b = ctx;

	(void)share;
	(void)registrar;
	buf_reset(b);
	buf_put_slice(b, claim);
	return 0;
}

/* `s` joins lab's share "trial" by an invite: claim there, records back. */
static UNUSED_FN void
carry_join(
    struct site *lab, struct site *s, enum role role, const char *compartment)
{
	struct invite_addr a = { .host = "127.0.0.1", .port = 1 };
	struct share_invite_opts o = { .role = role,
		.compartment = compartment,
		.expires_in_s = 60,
		.addrs = &a,
		.n_addrs = 1 };
	struct buf text = BUF_MAX(4096), claim = BUF_MAX(4096);
	struct share_info i = site_share(lab, "trial");
	struct carry c = { .to = lab, .share = i.id };
	struct errmsg em = { 0 };
	struct invite v;

	assert_ok(shares_invite(lab->sh, "trial", &o, &text, &em));
	assert_ok(shares_join(s->sh, buf_cstr(&text), &v, &em));
	assert_ok(shares_joins_each(s->sh, claim_take, &claim));
	c.bytes = buf_slice(&claim);
	assert_ok(store_write(lab->st, claim_job, &c));
	carry_members(lab, s);
	share_info_fini(&i);
	buf_fini(&text);
	buf_fini(&claim);
}

/* Freezes, proofs, drafts: what is said beside the chain. */
static UNUSED_FN enum err
carry_statement_job(struct store_txn *t, void *ctx)
{
	struct carry *c = ctx;

	return shares_put_statement(t, c->to->sh, &c->share, c->bytes);
}

struct carry_said {
	struct buf b[8];
	uint32_t n;
};

static UNUSED_FN int
carry_said_take(void *ctx, const struct share_id *share, struct slice bytes)
{
	struct carry_said *s = ctx;

	(void)share;
	assert_true(s->n < 8);
	s->b[s->n] = BUF_MAX(MIB);
	buf_put_slice(&s->b[s->n++], bytes);
	return 0;
}

static UNUSED_FN void
carry_said(struct site *from, struct site *to)
{
	struct share_info i = site_share(from, "trial");
	struct carry c = { .to = to, .share = i.id };
	struct carry_said s = { .n = 0 };

	assert_ok(shares_statements_each(from->sh, &i.id, carry_said_take, &s));
	for (uint32_t k = 0; k < s.n; k++) {
		c.bytes = buf_slice(&s.b[k]);
		assert_ok(store_write(to->st, carry_statement_job, &c));
		buf_fini(&s.b[k]);
	}
	share_info_fini(&i);
}

struct carry_feed {
	struct site *from, *to;
	struct share_info *i;
	const struct cry_sign_pk *only; /* feeds of this device; NULL: all */
	uint32_t count;
};

static UNUSED_FN int
carry_feed_one(
    void *ctx, const struct oplog_feed *f, const struct oplog_head *head)
{
	struct carry_feed *cf = ctx;
	struct buf op[16];
	struct slice ops[16];
	struct repl_ops run = { .ops = ops };
	struct carry c = { .to = cf->to, .ops = &run };
	struct db_txn *txn = NULL;
	uint64_t s;

	if (f->share != cf->i->no || head == NULL ||
	    (cf->only != NULL && memcmp(f->device, cf->only->b, 32) != 0))
		return 0;
	assert_true(head->seq <= 16);
	assert_ok(store_read(cf->from->st, &txn));
	for (s = 1; s <= head->seq; s++) {
		op[s - 1] = BUF_MAX(MIB);
		assert_ok(
		    oplog_op_get(cf->from->st, txn, f->no, s, &op[s - 1]));
		ops[s - 1] = buf_slice(&op[s - 1]);
	}
	db_abort(txn);
	run.n_ops = (uint32_t)head->seq;
	run.feed.share = cf->i->id;
	run.feed.compartment = f->compartment;
	memcpy(run.feed.device.b, f->device, 32);
	run.feed.incarnation = f->incarnation;
	assert_ok(op_head_decode(slice_of(head->bytes, 128), &run.head));
	assert_ok(store_write(cf->to->st, ops_job, &c));
	for (s = 1; s <= head->seq; s++)
		buf_fini(&op[s - 1]);
	cf->count += run.n_ops;
	return 0;
}

static UNUSED_FN uint32_t
carry_ops_of(struct site *from, struct site *to, const struct cry_sign_pk *only)
{
	struct share_info i = site_share(from, "trial");
	struct carry_feed cf = {
		.from = from, .to = to, .i = &i, .only = only
	};
	struct db_txn *txn = NULL;

	assert_ok(store_read(from->st, &txn));
	assert_ok(oplog_feeds_each(txn, carry_feed_one, &cf));
	db_abort(txn);
	share_info_fini(&i);
	return cf.count;
}

static UNUSED_FN uint32_t
carry_ops(struct site *from, struct site *to)
{
	return carry_ops_of(from, to, NULL);
}

struct wants {
	struct oplog_want v[64];
	uint32_t n;
};

static UNUSED_FN int
want_one(void *ctx, const struct oplog_want *w)
{
	struct wants *s = ctx;

	assert_true(s->n < 64);
	s->v[s->n++] = *w;
	return 0;
}

/* Fetches what `to` wants from `from`; how many chunks. */
static UNUSED_FN uint32_t
carry_chunks(struct site *from, struct site *to)
{
	struct wants w = { .n = 0 };
	struct share_info si = site_share(from, "trial");
	struct carry c = { .to = to, .share = si.id };
	struct buf b = BUF_MAX(8 * MIB);
	struct db_txn *txn = NULL;
	uint32_t i;

	assert_ok(store_read(to->st, &txn));
	assert_ok(oplog_wants_each(txn, want_one, &w));
	db_abort(txn);
	for (i = 0; i < w.n; i++) {
		buf_reset(&b);
		assert_ok(store_read(from->st, &txn));
		assert_ok(blob_chunk_get(from->st, txn, &w.v[i].cid, &b));
		db_abort(txn);
		c.compartment = w.v[i].compartment;
		c.cid = w.v[i].cid;
		c.bytes = buf_slice(&b);
		assert_ok(store_write(to->st, chunk_job, &c));
	}
	buf_fini(&b);
	share_info_fini(&si);
	return w.n;
}

#endif
