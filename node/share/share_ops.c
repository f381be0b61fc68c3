/* node/share/share_ops.c: others' ops come in.
 *
 * They are put as they are; where we hold the key they are opened and
 * applied.  An op that does not open, does not parse or that its author had
 * no right to is kept and set aside with an event: the log stays whole and
 * nothing of it shows. */
#include "node/share/share_internal.h"
#include "store/base/clock.h"

/* --- what may stand, ours and others' alike --- */

enum err
share_packing_items(struct slice packing, struct slice *out)
{
	size_t bytes;
	uint32_t n = 0;
	enum err e = ERR_OK;

	*out = (struct slice){ 0 };
	if (packing.n > 0)
		e = op_packing_check(packing, &n);
	bytes = (size_t)n * SHARE_PACKING_ITEM;
	if (e == ERR_OK && n > 0)
		*out = slice_of(packing.p + packing.n - bytes, bytes);
	return e;
}

/* Originals need the right to write them; who has not got
 * it adds derived versions beside them, and changes neither what came nor
 * what is said of it. */
const char *
share_put_fault(const struct member *m, const struct op_feed *f,
    struct slice payload, bool *content)
{
	bool original =
	    member_might_write_original(m, &f->device, f->compartment);
	struct mp_doc doc = { 0 };
	bool derived, beside;
	enum err e;

	if (cat_put_parse(payload, &doc) != ERR_OK)
		return "payload does not parse";
	derived = mp_bool(&doc, mp_get(doc.root, "derived"));
	beside = cat_put_beside(&doc);
	*content =
	    mp_bin(&doc, mp_get(doc.root, "manifest"), LIM_OP_PAYLOAD_BYTES).n >
	    0;
	e = doc.err;
	mp_doc_fini(&doc);
	if (e != ERR_OK)
		return "payload does not parse";
	if (!derived && !original)
		return "the author may write derived versions only";
	if (!beside && !original)
		return "the author may not change what it was given";
	return NULL;
}

/* What is said of data needs the rights of who may add such data; what is
 * permitted, those of who may change the share. */
enum err
share_edit_fault(const struct member *m, const struct op_feed *f,
    struct slice payload, const char **fault)
{
	const struct cry_sign_pk *d = &f->device;
	enum cat_edit_right need = CAT_BY_ADMIN;
	bool ok = false;
	enum err e = cat_edit_right(payload, &need);

	*fault = "payload does not parse";
	if (e != ERR_OK)
		return e == ERR_NOMEM ? e : ERR_OK;
	switch (need) {
	case CAT_BY_RUNNER:
		ok = member_might_write(m, d, f->compartment);
		break;
	case CAT_BY_WRITER:
		ok = member_might_write_original(m, d, f->compartment);
		break;
	case CAT_BY_ADMIN: ok = member_might_admin(m, d, f->compartment); break;
	}
	*fault = ok ? NULL : "the author may not say this here";
	return ERR_OK;
}

/* --- others' ops --- */

struct incoming {
	struct shares *sh;
	struct share_slot *slot;
	const struct op_feed *feed;
	struct oplog_feed row;
	bool want;
	bool reads;
	/* in a rebuild: where the record lies, and what was told before */
	const struct store_loc *at;
	const struct cat_told *told;
};

static enum err
incoming_want(struct store_txn *t, struct incoming *in)
{
	struct buf where = BUF_MAX(SHARE_SUB_MAX);
	uint16_t no = in->feed->compartment;
	enum share_content c = SHARE_ALL;
	enum err e;

	in->reads =
	    member_may_read(in->slot->wrk->m, &in->sh->me->pub.sign, no);
	/* Hubs keep all; readers do until they say no, or which. */
	in->want =
	    member_may_fetch(in->slot->wrk->m, &in->sh->me->pub.sign, no);
	if (!in->reads || !in->want)
		return ERR_OK;
	e = share_sub_get(
	    in->sh, store_txn_db(t), &in->slot->id, no, &c, &where);
	in->want = (c == SHARE_ALL || c == SHARE_PIN) && where.n == 0;
	buf_fini(&where);
	return e;
}

static enum err
event_say(struct store_txn *t, const struct cat_origin *o, const char *type,
    const char *why)
{
	struct cat_event ev = { .wall_ms = clock_wall_ms(),
		.share = o->share,
		.compartment = o->compartment,
		.op = o->op_id };

	if (o->quiet || cat_told_has(o->told, type, &o->op_id))
		return ERR_OK;
	(void)snprintf(ev.type, sizeof(ev.type), "%s", type);
	(void)snprintf(ev.detail, sizeof(ev.detail), "%s", why);
	return cat_event_append(t, &ev);
}

static enum err
set_aside(struct store_txn *t, const struct cat_origin *o, const char *why)
{
	return event_say(t, o, "op.aside", why);
}

/* Ours to fail for; anything else is what the author wrote. */
static bool
own_trouble(enum err e)
{
	return e == ERR_NOMEM || e == ERR_IO || e == ERR_FULL || e == ERR_BUSY;
}

enum err
share_content_complete(struct store_txn *t, const struct cat_origin *o,
    const struct asset_id *asset)
{
	enum err e = cat_content_complete(t, o, asset);

	if (e == ERR_OK || own_trouble(e))
		return e;
	return event_say(t, o, "content.bad", err_text(e));
}

static enum err
incoming_put(struct store_txn *t, const struct incoming *in,
    const struct cat_origin *o, struct slice plain, uint32_t missing)
{
	struct asset_id asset;
	bool content = false;
	const char *fault =
	    share_put_fault(in->slot->wrk->m, in->feed, plain, &content);
	enum err e;

	if (fault != NULL)
		return set_aside(t, o, fault);
	e = cat_apply_put(t, o, plain, &asset);
	if (e == ERR_MALFORMED || e == ERR_LIMIT)
		return set_aside(t, o, "payload does not fit the catalog");
	if (e == ERR_OK && missing == 0 && content)
		e = share_content_complete(t, o, &asset);
	return e;
}

static enum err
incoming_edit(struct store_txn *t, const struct incoming *in,
    const struct cat_origin *o, struct slice plain)
{
	struct asset_id asset;
	const char *fault = NULL;
	enum err e =
	    share_edit_fault(in->slot->wrk->m, in->feed, plain, &fault);

	if (e != ERR_OK)
		return e;
	if (fault != NULL)
		return set_aside(t, o, fault);
	e = cat_apply_edit(t, o, plain, &asset);
	if (e == ERR_MALFORMED || e == ERR_LIMIT)
		return set_aside(t, o, "payload does not fit the catalog");
	return e;
}

static enum err
incoming_apply(struct store_txn *t, const struct incoming *in,
    const struct op_view *v, const struct cat_origin *o, uint32_t missing)
{
	struct buf plain = BUF_MAX(LIM_OP_PAYLOAD_BYTES);
	enum err e;

	/* Of an epoch before we came, without history: kept, not read. */
	if (share_key(in->slot->wrk, o->compartment, v->h.epoch) == NULL)
		return ERR_OK;
	if (v->h.kind != OP_ASSET_PUT && v->h.kind != OP_EDIT)
		return set_aside(t, o, "of a kind this version does not know");
	e = share_open(in->slot->wrk, o->compartment, v, &plain);
	if (e == ERR_OK && v->h.kind == OP_ASSET_PUT)
		e = incoming_put(t, in, o, buf_slice(&plain), missing);
	else if (e == ERR_OK)
		e = incoming_edit(t, in, o, buf_slice(&plain));
	else if (e != ERR_NOMEM)
		e = set_aside(t, o, "payload does not open");
	buf_wipe(&plain);
	return e;
}

/* Below the cut of its feed, if there is one. */
static bool
op_counts(const struct incoming *in, const struct op_view *v)
{
	struct op_head cut;

	switch (member_feed(in->slot->wrk->m, in->feed, &cut)) {
	case MEMBER_FEED_HELD: /* what came before stands */
	case MEMBER_FEED_OPEN: return true;
	case MEMBER_FEED_CUT: return v->h.seq <= cut.seq;
	case MEMBER_FEED_NONE: break;
	}
	return false;
}

static bool
told_aside(const struct cat_told *told, const struct cry_id *op)
{
	return cat_told_has(told, "op.aside", op) &&
	       !cat_told_has(told, "op.adopted", op);
}

static enum err
incoming_op(struct store_txn *t, struct incoming *in, struct slice bytes)
{
	struct cat_origin o = { .share = share_cry_id(&in->slot->id),
		.share_no = in->slot->no,
		.compartment = in->feed->compartment,
		.told = in->told };
	struct oplog_op row = { .share = in->slot->no,
		.compartment = in->feed->compartment,
		.feed = in->row.no,
		.bytes = bytes,
		.want_content = in->want };
	struct op_view *v = mem_new(sizeof(*v));
	uint32_t missing = 0;
	enum err e;

	if (v == NULL)
		return ERR_NOMEM;
	if ((e = op_decode(bytes, v)) != ERR_OK)
		goto out;
	if ((e = share_packing_items(v->packing, &row.packing)) != ERR_OK)
		goto out;
	row.seq = v->h.seq;
	row.lamport = v->h.lamport;
	row.id = v->id;
	e = in->at != NULL ? oplog_op_index(t, &row, in->at, &o.lseq, &missing)
			   : oplog_op_put(t, &row, &o.lseq, &missing);
	if (e == ERR_EXISTS) { /* here already: nothing to do again */
		e = ERR_OK;
		goto out;
	}
	if (e != ERR_OK)
		goto out;
	in->sh->touched_wants |= in->want && missing > 0;
	o.lamport = v->h.lamport;
	o.wall_ms = v->h.wall_ms;
	o.op_id = v->id;
	/* What was set aside stays aside, whatever was granted since. */
	if (!op_counts(in, v))
		e = oplog_op_aside(t, o.lseq, true);
	else if (in->reads && !told_aside(in->told, &o.op_id))
		e = incoming_apply(t, in, v, &o, missing);
out:
	mem_free(v);
	return e;
}

static enum err
incoming_head(
    struct store_txn *t, const struct incoming *in, const struct op_head *h)
{
	struct oplog_head row = {
		.seq = h->seq, .op_id = h->id, .lamport = h->lamport
	};
	struct buf b = BUF_MAX(OP_HEAD_BYTES);
	enum err e;

	op_head_encode(h, &b);
	e = buf_err(&b);
	REQUIRE(e != ERR_OK || b.n == sizeof(row.bytes));
	if (e == ERR_OK) {
		memcpy(row.bytes, b.p, sizeof(row.bytes));
		e = oplog_head_put(t, in->row.no, &row);
	}
	buf_fini(&b);
	return e == ERR_EXISTS ? ERR_OK : e;
}

/* A run continues what is here, or repeats it.  Runs travel as jobs of their
 * own: when one failed, those behind it must not leave a hole that a restart
 * would take for the whole feed. */
static enum err
incoming_dense(
    struct store_txn *t, const struct incoming *in, const struct repl_ops *ops)
{
	struct oplog_head have = { 0 };
	enum err e = oplog_feed_head(store_txn_db(t), in->row.no, &have);

	if (e != ERR_OK && e != ERR_NOTFOUND)
		return e;
	if (ops->n_ops == 0 || ops->head.seq < ops->n_ops)
		return ERR_MALFORMED;
	return ops->head.seq - ops->n_ops > have.seq ? ERR_AGAIN : ERR_OK;
}

enum err
shares_put_ops(
    struct store_txn *t, struct shares *sh, const struct repl_ops *ops)
{
	struct incoming in = { .sh = sh, .feed = &ops->feed };
	struct op_head cut;
	struct feed_id id;
	uint32_t i;
	enum err e;

	e = share_work(t, sh, &ops->feed.share, &in.slot);
	if (e != ERR_OK)
		return e;
	switch (member_feed(in.slot->wrk->m, &ops->feed, &cut)) {
	case MEMBER_FEED_HELD:
	case MEMBER_FEED_NONE: return ERR_DENIED;
	case MEMBER_FEED_OPEN: break;
	case MEMBER_FEED_CUT:
		if (ops->head.seq > cut.seq)
			return ERR_DENIED;
		break;
	}
	if ((e = incoming_want(t, &in)) != ERR_OK)
		return e;
	op_feed_id(&ops->feed, &id);
	in.row.share = in.slot->no;
	in.row.compartment = ops->feed.compartment;
	in.row.incarnation = ops->feed.incarnation;
	memcpy(in.row.device, ops->feed.device.b, sizeof(in.row.device));
	memcpy(in.row.id, id.b, sizeof(in.row.id));
	e = oplog_feed_add(t, &in.row);
	if (e == ERR_OK)
		e = incoming_dense(t, &in, ops);
	for (i = 0; e == ERR_OK && i < ops->n_ops; i++)
		e = incoming_op(t, &in, ops->ops[i]);
	sh->touched = true;
	return e == ERR_OK ? incoming_head(t, &in, &ops->head) : e;
}

/* --- in a rebuild --- */

static enum err
replay_feed(
    const struct shares *sh, const struct oplog_feed *f, struct op_feed *out)
{
	uint32_t i;

	for (i = 0; i < sh->n; i++) {
		if (sh->slot[i]->no != f->share)
			continue;
		out->share = sh->slot[i]->id;
		out->compartment = f->compartment;
		out->incarnation = f->incarnation;
		memcpy(out->device.b, f->device, sizeof(out->device.b));
		return ERR_OK;
	}
	return ERR_NOTFOUND;
}

enum err
/* NOLINTNEXTLINE(readability-function-size): one act, six inputs */
share_op_replay(struct store_txn *t, struct shares *sh, const struct cry_id *id,
    struct slice bytes, const struct store_loc *at, const struct cat_told *told)
{
	struct op_feed feed = { 0 };
	struct incoming in = {
		.sh = sh, .feed = &feed, .at = at, .told = told
	};
	struct op_view *v = mem_new(sizeof(*v));
	enum err e = v == NULL ? ERR_NOMEM : op_decode(bytes, v);

	if (e == ERR_OK && memcmp(&v->id, id, sizeof(*id)) != 0)
		e = ERR_CORRUPT;
	if (e == ERR_OK)
		e = oplog_feed_find(store_txn_db(t), v->h.feed.b, &in.row);
	if (e == ERR_OK)
		e = replay_feed(sh, &in.row, &feed);
	if (e == ERR_OK)
		e = share_work(t, sh, &feed.share, &in.slot);
	if (e == ERR_OK)
		e = incoming_want(t, &in);
	/* Ours names what was stored before it: it is wanted always. */
	if (memcmp(&feed.device, &sh->me->pub.sign, sizeof(feed.device)) == 0)
		in.want = true;
	if (e == ERR_OK)
		e = incoming_op(t, &in, bytes);
	mem_free(v);
	return e;
}

/* --- applied again, or at last --- */

static enum err
op_from_log(struct store_txn *t, struct shares *sh, uint64_t lseq,
    const struct cat_told *told, bool quiet)
{
	struct op_feed feed = { 0 };
	struct incoming in = { .sh = sh, .feed = &feed, .told = told };
	struct cat_origin o = { 0 };
	struct buf op = BUF_MAX(SHARE_OP_BYTES_MAX);
	struct op_view *v = mem_new(sizeof(*v));
	uint32_t missing = 0;
	enum err e = v == NULL ? ERR_NOMEM : ERR_OK;

	if (e == ERR_OK)
		e = share_origin(store_txn_db(t), sh, lseq, &o);
	if (e == ERR_OK)
		e = oplog_op_get_lseq(sh->store, store_txn_db(t), lseq, &op);
	if (e == ERR_OK)
		e = op_decode(buf_slice(&op), v);
	if (e == ERR_OK)
		e = oplog_feed_find(store_txn_db(t), v->h.feed.b, &in.row);
	if (e == ERR_OK)
		e = replay_feed(sh, &in.row, &feed);
	if (e == ERR_OK)
		e = share_work(t, sh, &feed.share, &in.slot);
	if (e == ERR_OK)
		e = oplog_op_missing(store_txn_db(t), lseq, &missing);
	o.quiet = quiet;
	o.told = told;
	if (e == ERR_OK && op_counts(&in, v))
		e = incoming_apply(t, &in, v, &o, missing);
	mem_free(v);
	buf_fini(&op);
	return e;
}

enum err
share_op_again(struct store_txn *t, struct shares *sh, uint64_t lseq,
    const struct cat_told *told)
{
	return op_from_log(t, sh, lseq, told, true);
}

enum err
share_op_back(struct store_txn *t, struct shares *sh, uint64_t lseq)
{
	struct cat_origin o;
	struct op_feed feed = { 0 };
	struct incoming in = { .sh = sh, .feed = &feed };
	enum err e = share_origin(store_txn_db(t), sh, lseq, &o);

	if (e == ERR_OK)
		e = oplog_op_aside(t, lseq, false);
	if (e == ERR_OK)
		e = share_work_no(t, sh, o.share_no, &in.slot);
	feed.compartment = o.compartment;
	if (e == ERR_OK)
		e = incoming_want(t, &in);
	if (e != ERR_OK || !in.want)
		return e;
	sh->touched_wants = true;
	return share_want_op(t, sh, lseq);
}

enum err
share_op_late(struct store_txn *t, struct shares *sh, uint64_t lseq,
    const struct cat_told *told)
{
	struct cat_origin o;
	enum err e = share_origin(store_txn_db(t), sh, lseq, &o);

	/* What was set aside stays aside. */
	if (e == ERR_OK && told_aside(told, &o.op_id))
		return ERR_OK;
	return e == ERR_OK ? op_from_log(t, sh, lseq, told, false) : e;
}

/* --- reading an op --- */

static enum err
op_feed_row(struct db_txn *txn, const struct op_view *v, struct oplog_feed *out)
{
	enum err e = oplog_feed_find(txn, v->h.feed.b, out);

	return e == ERR_NOTFOUND ? ERR_CORRUPT : e;
}

enum err
share_origin(struct db_txn *txn, struct shares *sh, uint64_t lseq,
    struct cat_origin *out)
{
	struct buf op = BUF_MAX(SHARE_OP_BYTES_MAX);
	struct op_view *v = mem_new(sizeof(*v));
	struct oplog_feed f;
	uint32_t i;
	enum err e = ERR_NOMEM;

	if (v == NULL)
		goto out;
	if ((e = oplog_op_get_lseq(sh->store, txn, lseq, &op)) != ERR_OK)
		goto out;
	if ((e = op_decode(buf_slice(&op), v)) != ERR_OK)
		goto out;
	if ((e = op_feed_row(txn, v, &f)) != ERR_OK)
		goto out;
	memset(out, 0, sizeof(*out));
	e = ERR_NOTFOUND;
	for (i = 0; i < sh->n && e != ERR_OK; i++) {
		if (sh->slot[i]->no != f.share)
			continue;
		out->share = share_cry_id(&sh->slot[i]->id);
		e = ERR_OK;
	}
	out->share_no = f.share;
	out->compartment = f.compartment;
	out->lseq = lseq;
	out->lamport = v->h.lamport;
	out->wall_ms = v->h.wall_ms;
	out->op_id = v->id;
out:
	mem_free(v);
	buf_fini(&op);
	return e;
}

/* With what is durable. */
static enum err
open_durable(struct shares *sh, const struct oplog_feed *f,
    const struct op_view *v, struct buf *out)
{
	enum err e = ERR_DENIED;
	uint32_t i;

	pthread_mutex_lock(&sh->lock);
	for (i = 0; i < sh->n; i++) {
		if (sh->slot[i]->no != f->share || sh->slot[i]->pub == NULL)
			continue;
		e = share_open(sh->slot[i]->pub, f->compartment, v, out);
		if (e == ERR_NOTFOUND)
			e = ERR_DENIED;
	}
	pthread_mutex_unlock(&sh->lock);
	return e;
}

enum err
shares_open_op(
    struct shares *sh, struct db_txn *t, uint64_t lseq, struct buf *out)
{
	struct buf op = BUF_MAX(SHARE_OP_BYTES_MAX);
	struct op_view *v = mem_new(sizeof(*v));
	struct oplog_feed f;
	enum err e = ERR_NOMEM;

	if (v == NULL)
		goto out;
	if ((e = oplog_op_get_lseq(sh->store, t, lseq, &op)) != ERR_OK)
		goto out;
	if ((e = op_decode(buf_slice(&op), v)) != ERR_OK)
		goto out;
	if ((e = op_feed_row(t, v, &f)) != ERR_OK)
		goto out;
	e = open_durable(sh, &f, v, out);
out:
	mem_free(v);
	buf_fini(&op);
	return e;
}
