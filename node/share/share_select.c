/* node/share/share_select.c: a query decides which content is kept.
 *
 * Happy path: ops that came are looked at in short read transactions; of
 * those that lack content and whose asset matches, the chunks are wanted by a
 * bounded job.  What is said of an asset later (an edit) may change what
 * matches anywhere, as fields are inherited and tags reach over groups: then
 * all ops that lack content are looked at again, once for all edits that came
 * until the walk began.  So it is at start and after a change of the chain or
 * of a subscription, too; nothing but the subscription itself is kept.
 * What no longer matches is let go by shares_evict, which asks share_selects.
 * Each job asks the subscription again, so a change of mind ends it. */
#include "node/share/share_internal.h"
#include "store/base/clock.h"

#define SELECT_BATCH 16u /* ops in a job */
#define SELECT_LOOKS 64u /* matched in a read transaction */
#define SELECT_ROWS 2048u

struct selector {
	struct share_id id;
	uint32_t share;
	uint16_t no;
	char *where;
	struct cat_query *q;
	struct selector *next;
};

struct select_item {
	const struct selector *s;
	uint64_t lseq;
	bool want;
};

struct select {
	struct shares *sh;
	struct selector *list;
	struct db_txn *t; /* while ops are read */
	uint64_t next;    /* op to go on with */
	bool all;         /* a walk over all ops */
	bool edits;       /* after the last walk over all ops began */
	bool wants;       /* there are wants that might be dropped */
	bool more;
	uint32_t rows, looks;
	struct select_item item[SELECT_BATCH];
	uint32_t n;
};

/* --- the selectors --- */

static void
selectors_free(struct selector *s)
{
	while (s != NULL) {
		struct selector *next = s->next;

		cat_query_free(s->q);
		mem_free(s->where);
		mem_free(s);
		s = next;
	}
}

static enum err
selector_add(struct select *x, const struct share_slot *slot, uint16_t no)
{
	struct slice text = slice_str(slot->pub->where[no]);
	struct selector *s = mem_new(sizeof(*s));
	struct errmsg em = { 0 };

	if (s == NULL)
		return ERR_NOMEM;
	s->next = x->list;
	x->list = s;
	s->id = slot->id;
	s->share = slot->no;
	s->no = no;
	if ((s->where = mem_array(text.n + 1, 1)) == NULL)
		return ERR_NOMEM;
	memcpy(s->where, text.p, text.n);
	return cat_query_parse(text, &s->q, &em);
}

static enum err
selectors_load(struct select *x)
{
	const struct share_state *s;
	uint32_t i, no;
	enum err e = ERR_OK;

	pthread_mutex_lock(&x->sh->lock);
	for (i = 0; e == ERR_OK && i < x->sh->n; i++) {
		s = x->sh->slot[i]->pub;
		if (s == NULL || share_is_hub(x->sh, s))
			continue;
		for (no = 0; e == ERR_OK && no <= LIM_COMPARTMENTS; no++) {
			if (s->where[no] != NULL && !s->lazy[no])
				e = selector_add(
				    x, x->sh->slot[i], (uint16_t)no);
		}
	}
	pthread_mutex_unlock(&x->sh->lock);
	return e;
}

/* --- looking --- */

enum err
share_selects(struct shares *sh, struct db_txn *t, const struct cat_query *q,
    uint64_t lseq, bool *out)
{
	struct asset_id asset;
	enum err e = cat_asset_of_op(t, lseq, &asset);

	*out = false;
	if (e == ERR_OK)
		e = cat_match(sh->store, t, q, &asset, out);
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

static const struct selector *
selector_of(const struct select *x, const struct oplog_at *at)
{
	const struct selector *s = x->list;

	while (s != NULL && (s->share != at->share || s->no != at->compartment))
		s = s->next;
	return s;
}

static enum err
select_look(struct select *x, const struct selector *s, uint64_t lseq)
{
	struct oplog_op_wants w = { 0 };
	bool match;
	enum err e = share_selects(x->sh, x->t, s->q, lseq, &match);

	x->looks++;
	if (e == ERR_OK && (match || (x->all && x->wants)))
		e = oplog_op_wants(x->sh->store, x->t, lseq, &w);
	if (e == ERR_OK && (match ? w.wanted < w.missing : w.alone > 0))
		x->item[x->n++] = (struct select_item){ s, lseq, match };
	return e;
}

static int
select_one(void *ctx, const struct oplog_at *at)
{
	struct select *x = ctx;
	const struct selector *s = selector_of(x, at);
	enum err e = ERR_OK;

	x->next = at->lseq + 1;
	if (s != NULL && !at->content && at->lseq > x->sh->select_edits)
		x->edits = true;
	if (s != NULL && at->missing > 0)
		e = select_look(x, s, at->lseq);
	x->more = ++x->rows == SELECT_ROWS || x->looks == SELECT_LOOKS ||
		  x->n == SELECT_BATCH;
	return e != ERR_OK ? (int)e : x->more;
}

static enum err
select_read(struct select *x)
{
	uint64_t wants = 0;
	enum err e = store_read(x->sh->store, &x->t);

	x->n = x->rows = x->looks = 0;
	x->more = false;
	if (e != ERR_OK)
		return e;
	e = oplog_wants_count(x->t, &wants);
	x->wants = wants > 0;
	if (e == ERR_OK)
		e = oplog_ops_from(x->t, x->next, select_one, x);
	db_abort(x->t);
	x->t = NULL;
	return e;
}

/* --- jobs --- */

static enum err
select_still(
    struct store_txn *t, struct select *x, const struct selector *s, bool *out)
{
	struct buf where = BUF_MAX(SHARE_SUB_MAX);
	enum share_content c;
	enum err e =
	    share_sub_get(x->sh, store_txn_db(t), &s->id, s->no, &c, &where);

	*out = e == ERR_OK && (c == SHARE_ALL || c == SHARE_PIN) &&
	       slice_eq(buf_slice(&where), slice_str(s->where));
	buf_fini(&where);
	return e;
}

static enum err
select_job(struct store_txn *t, void *ctx)
{
	struct select *x = ctx;
	uint32_t i;
	enum err e = ERR_OK;

	for (i = 0; e == ERR_OK && i < x->n; i++) {
		const struct select_item *v = &x->item[i];
		bool still;

		e = select_still(t, x, v->s, &still);
		if (e != ERR_OK || !still)
			continue;
		e = v->want ? share_want_op(t, x->sh, v->lseq)
			    : oplog_unwant_op(t, v->lseq);
		x->sh->touched_drops |= !v->want;
	}
	x->sh->touched = true;
	x->sh->touched_wants = true;
	return e;
}

/* --- a walk --- */

static enum err
select_walk(struct select *x, bool (*stop)(void *ctx), void *ctx)
{
	enum err e = ERR_OK;

	do {
		uint64_t t0 = clock_mono_us();

		if (stop != NULL && stop(ctx))
			return ERR_CANCELLED;
		e = select_read(x);
		if (e == ERR_OK && x->n > 0)
			e = store_write(x->sh->store, select_job, x);
		if (e == ERR_OK && x->more && x->all)
			share_rest(clock_mono_us() - t0);
	} while (e == ERR_OK && x->more);
	return e;
}

static enum err
select_last(struct shares *sh, uint64_t *lseq)
{
	struct db_txn *t;
	enum err e = store_read(sh->store, &t);

	if (e != ERR_OK)
		return e;
	e = oplog_ops_last(t, lseq);
	db_abort(t);
	return e;
}

/* From where it stands to the end.  What moved meanwhile is for the next. */
static enum err
select_pass(struct shares *sh, bool (*stop)(void *ctx), void *ctx)
{
	uint64_t from = atomic_load(&sh->select_from), last = 0;
	struct select x = { .sh = sh, .next = from, .all = from == 0 };
	enum err e = select_last(sh, &last);

	if (e == ERR_OK)
		e = selectors_load(&x);
	if (e == ERR_OK && x.list == NULL)
		x.next = last + 1;
	else if (e == ERR_OK)
		e = select_walk(&x, stop, ctx);
	selectors_free(x.list);
	if (e != ERR_OK)
		return e;
	if (x.all)
		sh->select_edits = last;
	(void)atomic_compare_exchange_strong(
	    &sh->select_from, &from, x.edits && !x.all ? 0 : x.next);
	return ERR_OK;
}

bool
share_select_due(struct shares *sh)
{
	uint64_t last = 0;

	return atomic_load(&sh->selects) && select_last(sh, &last) == ERR_OK &&
	       atomic_load(&sh->select_from) <= last && last > 0;
}

enum err
share_select_run(struct shares *sh, bool (*stop)(void *ctx), void *ctx)
{
	enum err e = ERR_OK;

	while (e == ERR_OK && share_select_due(sh))
		e = select_pass(sh, stop, ctx);
	return e;
}
