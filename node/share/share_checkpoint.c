/* node/share/share_checkpoint.c: the way on for a share whose chain stands
 * still.
 *
 * Happy path: nodes told each other their branches, a row each; a registrar
 * names the one that holds, and its checkpoint goes out with that branch.
 * Where several sign, each names it; whoever holds k signatures has the
 * checkpoint.  Every node that hears of it puts the branch in place of its
 * own, in one job: records, keys, and the views of devices whose standing is
 * another now.  Failure modes: a branch that does not fit a message cannot be
 * named as a whole; what was written under keys of a dropped branch stays
 * closed to those who were not given them. */
#include "node/share/share_internal.h"

#include "store/base/enc.h"

#define BRANCH_ROWS_MAX 64u
#define BRANCH_ID_BYTES 16u

/* --- rows --- */

struct branches {
	const struct member *m;
	struct branch {
		struct buf bytes; /* without a checkpoint: what may be named */
		struct member_branch b;
		bool here;
	} v[BRANCH_ROWS_MAX + 1];
	uint32_t n;
	uint64_t fork; /* where the first of them leaves our chain */
	enum err e;
};

static void
branches_free(struct branches *l)
{
	if (l == NULL)
		return;
	for (uint32_t i = 0; i < l->n; i++)
		buf_fini(&l->v[i].bytes);
	mem_free(l);
}

static enum err
branch_add(struct branches *l, struct slice bytes)
{
	struct branch *o = &l->v[l->n];
	enum err e;

	if (l->n == BRANCH_ROWS_MAX)
		return ERR_OK;
	memset(o, 0, sizeof(*o));
	e = member_branch_read(l->m, bytes, &o->b);
	if (e != ERR_OK) /* settled since, or of no use */
		return e == ERR_NOMEM ? e : ERR_OK;
	o->bytes = BUF_MAX(LIM_MEMBER_RECORD_BYTES);
	buf_put_slice(&o->bytes, bytes);
	l->n++;
	if (o->b.fork < l->fork)
		l->fork = o->b.fork;
	return buf_err(&o->bytes);
}

static int
branch_row(void *ctx, struct slice key, struct slice value)
{
	struct buf one = BUF_MAX(LIM_MEMBER_RECORD_BYTES);
	struct branches *l = ctx;
	struct share_id id;
	uint64_t seq;
	enum err e = ERR_OK;

	(void)key;
	if (member_is_branch(value))
		e = branch_add(l, value);
	else if (!member_is_statement(value) &&
		 member_record_place(value, &id, &seq) == ERR_OK &&
		 member_branch_of(l->m, value, &one) == ERR_OK)
		e = branch_add(l, buf_slice(&one));
	buf_fini(&one);
	return e;
}

/* Ours, from where the others leave it. */
static enum err
branch_ours(struct branches *l)
{
	struct branch *o = &l->v[l->n];
	uint64_t last = member_seq(l->m);
	struct cry_id prev;
	uint32_t era;
	enum err e;

	if (l->fork > last)
		return ERR_OK;
	memset(o, 0, sizeof(*o));
	o->bytes = BUF_MAX(LIM_MEMBER_RECORD_BYTES);
	o->here = true;
	o->b.first = o->b.fork = l->fork;
	o->b.last = last;
	l->n++;
	e = member_record_link(
	    member_record(l->m, last), &o->b.head, &prev, &era);
	if (e == ERR_OK)
		e = member_branch_build(l->m, l->fork, true, &o->bytes);
	o->b.kind = (enum member_kind)member_record(l->m, last).p[1];
	return e;
}

static enum err
branches_load(struct shares *sh, struct db_txn *txn, const struct share_id *id,
    const struct member *m, struct branches **out)
{
	struct branches *l = mem_new(sizeof(*l));
	struct buf prefix;
	enum err e;
	int rc = 0;

	*out = l;
	if (l == NULL)
		return ERR_NOMEM;
	l->m = m;
	l->fork = UINT64_MAX;
	share_row_key(&prefix, id);
	if ((e = buf_err(&prefix)) == ERR_OK)
		rc = (int)store_row_each(sh->store, txn, SHARE_TAG_SAID,
		    buf_slice(&prefix), branch_row, l);
	buf_fini(&prefix);
	if (rc < 0)
		e = (enum err)rc;
	return e == ERR_OK ? branch_ours(l) : e;
}

/* --- taking the place of ours --- */

/* Does it stand as it did? */
static bool
stands(
    const struct member *a, const struct member *b, const struct cry_sign_pk *d)
{
	struct member_cut x, y;
	uint32_t i = 0;
	bool more;

	if (member_is_revoked(a, d) != member_is_revoked(b, d))
		return false;
	for (uint16_t c = 1; c <= LIM_COMPARTMENTS; c++) {
		if (member_might_write(a, d, c) != member_might_write(b, d, c))
			return false;
	}
	do {
		more = member_cut_at(a, d, i, &x);
		if (member_cut_at(b, d, i++, &y) != more)
			return false;
		if (more && memcmp(&x.head, &y.head, sizeof(x.head)) != 0)
			return false;
	} while (more);
	return true;
}

struct moved {
	struct store_txn *t;
	struct shares *sh;
	struct share_slot *slot;
	const struct member *was;
};

static int
moved_feed(void *ctx, const struct oplog_feed *f, const struct oplog_head *head)
{
	struct moved *mv = ctx;
	struct cry_sign_pk d;

	(void)head;
	memcpy(d.b, f->device, sizeof(d.b));
	if (f->share != mv->slot->no || stands(mv->was, mv->slot->wrk->m, &d))
		return 0;
	return share_aside_mark(mv->t, mv->sh, mv->slot, &d);
}

struct past {
	struct buf del; /* u8 length, key */
};

static int
said_past(void *ctx, struct slice key, struct slice value)
{
	struct past *k = ctx;

	if (member_is_statement(value))
		return 0; /* a freeze holds on */
	buf_u8(&k->del, (uint8_t)key.n);
	buf_put_slice(&k->del, key);
	return buf_err(&k->del);
}

/* Branches and proofs; freezes hold on. */
static enum err
said_forget(struct store_txn *t, const struct share_slot *slot)
{
	struct past k = { .del = BUF_MAX(MIB) };
	struct buf prefix;
	struct rd r;
	enum err e;
	int rc = 0;

	share_row_key(&prefix, &slot->id);
	if ((e = buf_err(&prefix)) == ERR_OK)
		rc = (int)store_row_each(store_txn_store(t), store_txn_db(t),
		    SHARE_TAG_SAID, buf_slice(&prefix), said_past, &k);
	if (rc < 0)
		e = (enum err)rc;
	r = rd_init(buf_slice(&k.del));
	while (e == ERR_OK && r.left > 0)
		e = store_row_del(t, SHARE_TAG_SAID, rd_bytes(&r, rd_u8(&r)));
	buf_fini(&prefix);
	buf_fini(&k.del);
	return e;
}

static enum err
records_replace(struct store_txn *t, struct share_slot *slot,
    const struct member *was, const struct member *m, uint64_t *fork)
{
	enum err e = ERR_OK;
	uint64_t i = 0;

	while (i <= member_seq(was) && i <= member_seq(m) &&
	       slice_eq(member_record(was, i), member_record(m, i)))
		i++;
	*fork = i;
	if (i <= member_seq(was))
		e = oplog_member_cut(t, slot->no, i);
	for (; e == ERR_OK && i <= member_seq(m); i++)
		e = oplog_member_put(t, slot->no, i, member_record(m, i));
	return e;
}

/* Ops that did not open with the keys of the former branch. */
static enum err
keys_late(
    struct store_txn *t, const struct share_slot *slot, const struct member *at)
{
	const struct member *m = slot->wrk->m;
	enum err e = ERR_OK;

	for (uint32_t i = 0; i < member_n_compartments(m); i++) {
		uint16_t no = member_compartment(m, i);
		uint32_t epoch = member_epoch(at, no) + 1;

		for (; e == ERR_OK && epoch <= member_epoch(m, no); epoch++)
			e = share_late_mark(t, &slot->id, no, epoch);
	}
	return e;
}

/* m is the chain from now on. */
static enum err
branch_hold(struct store_txn *t, struct shares *sh, struct share_slot *slot,
    const struct member *m)
{
	struct moved mv = { .t = t, .sh = sh };
	struct member *was = NULL, *at = NULL;
	uint64_t fork = 0;
	enum err e =
	    member_prefix(slot->wrk->m, member_seq(slot->wrk->m) + 1, &was);

	if (e == ERR_OK)
		e = records_replace(t, slot, was, m, &fork);
	if (e == ERR_OK)
		e = member_prefix(was, fork, &at);
	if (e == ERR_OK && fork <= member_seq(was))
		e = share_keys_drop(t, &slot->id, at, member_era(m));
	if (e == ERR_OK)
		e = said_forget(t, slot);
	if (e == ERR_OK)
		e = share_work(t, sh, &slot->id, &mv.slot);
	if (e == ERR_OK)
		e = share_keys_keep(t, sh, &slot->id, mv.slot->wrk);
	if (e == ERR_OK && fork <= member_seq(was))
		e = keys_late(t, mv.slot, at);
	mv.was = was;
	if (e == ERR_OK)
		e = oplog_feeds_each(store_txn_db(t), moved_feed, &mv);
	if (e == ERR_OK)
		e = share_drafts_sweep(t, sh, &slot->id, mv.slot->wrk->m);
	sh->touched = true;
	sh->touched_members = true;
	member_free(was);
	member_free(at);
	return e;
}

/* --- what came, and what we signed --- */

/* A branch that leaves our chain halts it, also after a restart. */
static enum err
branch_proof(struct store_txn *t, struct shares *sh, struct share_slot *slot,
    struct slice bytes, const struct member_branch *b)
{
	struct slice rec;
	/* Of two checkpoints with one count, that is the proof. */
	bool two = b->checkpoint && b->era == member_era(slot->wrk->m);
	enum err e = member_branch_at(bytes, two ? b->last : b->fork, &rec);

	if (e != ERR_OK || (b->fork > member_seq(slot->wrk->m) && !two))
		return e;
	return share_said_put(t, sh, &slot->id, rec);
}

/* Signatures of another copy, if it has some that we lack. */
static enum err
branch_merge(const struct branches *l, const struct member_branch *b,
    struct slice bytes, struct buf *out)
{
	buf_put_slice(out, bytes);
	for (uint32_t i = 0; i < l->n; i++) {
		struct buf more = BUF_MAX(LIM_MEMBER_RECORD_BYTES);
		const struct branch *o = &l->v[i];
		enum err e = ERR_OK;

		if (o->here || !o->b.orders ||
		    memcmp(&o->b.id, &b->id, sizeof(b->id)) != 0)
			continue;
		e = member_branch_join(
		    buf_slice(out), buf_slice(&o->bytes), &more);
		if (e == ERR_OK) {
			buf_reset(out);
			buf_put_slice(out, buf_slice(&more));
		}
		buf_fini(&more);
		if (e != ERR_OK)
			return e;
	}
	return buf_err(out);
}

static enum err
branch_keep(struct store_txn *t, struct shares *sh, struct share_slot *slot,
    struct slice bytes, bool *stands_now)
{
	struct buf all = BUF_MAX(LIM_MEMBER_RECORD_BYTES);
	struct member_branch b = { 0 };
	struct branches *l = NULL;
	struct member *m = NULL;
	enum err e = member_branch_read(slot->wrk->m, bytes, &b);

	*stands_now = false;
	if (e == ERR_OK)
		e = branches_load(
		    sh, store_txn_db(t), &slot->id, slot->wrk->m, &l);
	if (e == ERR_OK)
		e = b.orders ? branch_merge(l, &b, bytes, &all)
			     : (buf_put_slice(&all, bytes), buf_err(&all));
	if (e != ERR_OK)
		goto out;
	e = member_branch_take(slot->wrk->m, buf_slice(&all), &m);
	if (e == ERR_OK) {
		*stands_now = true;
		e = branch_hold(t, sh, slot, m);
		goto out;
	}
	if (e != ERR_NOTFOUND && e != ERR_DENIED && e != ERR_UNSUPPORTED)
		goto out;
	e = branch_proof(t, sh, slot, bytes, &b);
	if (e == ERR_OK && l->n < BRANCH_ROWS_MAX)
		e = share_said_put(t, sh, &slot->id, bytes);
out:
	member_free(m);
	branches_free(l);
	buf_fini(&all);
	return e;
}

enum err
share_branch_take(struct store_txn *t, struct shares *sh,
    const struct share_id *share, struct slice bytes)
{
	struct share_slot *slot;
	bool now;
	enum err e = share_work(t, sh, share, &slot);

	if (e == ERR_OK)
		e = branch_keep(t, sh, slot, bytes, &now);
	/* Settled on its way to us, or of a chain we have not. */
	return e == ERR_EXISTS || e == ERR_AGAIN ? ERR_OK : e;
}

/* --- a registrar's act --- */

struct checkpoint {
	struct shares *sh;
	struct share_id id;
	const char *keep;
	bool instead, waits;
	struct errmsg *em;
};

static void
branch_name(const struct member_branch *b, char out[33])
{
	enc_b32(slice_of(b->head.b, BRANCH_ID_BYTES), out);
}

static bool
same_branch(const struct branch *a, const struct branch *b)
{
	return memcmp(&a->b.head, &b->b.head, sizeof(a->b.head)) == 0;
}

/* "fork" is NULL: none of them. */
static enum err
keep_find(const struct checkpoint *c, const struct branches *l,
    const struct branch **out)
{
	uint32_t found = 0;
	char name[33];

	*out = NULL;
	if (strcmp(c->keep, "fork") == 0)
		return ERR_OK;
	for (uint32_t i = 0; i < l->n; i++) {
		branch_name(&l->v[i].b, name);
		if (strncmp(name, c->keep, strlen(c->keep)) != 0)
			continue;
		found += *out == NULL || !same_branch(*out, &l->v[i]);
		/* One that others signed is signed, too. */
		if (*out == NULL || l->v[i].b.orders)
			*out = &l->v[i];
	}
	if (found == 1)
		return ERR_OK;
	return errmsg_set(c->em, ERR_NOTFOUND,
	    "see `pesscara share checkpoint SHARE`", "%s branch has this id",
	    found == 0 ? "no" : "more than one");
}

/* Did we sign for another one? */
static bool
signed_other(const struct checkpoint *c, const struct branches *l,
    const struct branch *keep)
{
	struct buf tmp = BUF_MAX(LIM_MEMBER_RECORD_BYTES);
	bool other = false;

	for (uint32_t i = 0; i < l->n && !other; i++) {
		const struct branch *o = &l->v[i];

		if (o == keep || !o->b.orders)
			continue;
		buf_reset(&tmp);
		other = member_checkpoint_sign(l->m, c->sh->me,
			    buf_slice(&o->bytes), &tmp) == ERR_EXISTS;
	}
	buf_fini(&tmp);
	return other;
}

static enum err
checkpoint_sign(struct checkpoint *c, const struct branches *l,
    const struct branch *keep, struct buf *out)
{
	struct slice none = { 0 };
	enum err e;

	if (!c->instead && signed_other(c, l, keep))
		return errmsg_set(c->em, ERR_DENIED,
		    "talk to the other registrars; if all of them let the "
		    "other one go, use --instead",
		    "this site has signed for another branch");
	if (keep != NULL && keep->b.orders)
		e = member_checkpoint_sign(
		    l->m, c->sh->me, buf_slice(&keep->bytes), out);
	else
		e = member_build_checkpoint(l->m, c->sh->me,
		    keep == NULL ? none : buf_slice(&keep->bytes), l->fork,
		    out);
	if (e == ERR_EXISTS)
		return errmsg_set(c->em, e,
		    "other registrars sign it with the same command",
		    "this site has signed for this branch already");
	if (e == ERR_DENIED)
		return errmsg_set(c->em, e, "ask a registrar",
		    "this site was no registrar of the share where the "
		    "branches part");
	return e;
}

static enum err
checkpoint_job(struct store_txn *t, void *ctx)
{
	struct buf out = BUF_MAX(LIM_MEMBER_RECORD_BYTES);
	struct checkpoint *c = ctx;
	const struct branch *keep;
	struct branches *l = NULL;
	struct share_slot *slot;
	bool now = false;
	enum err e = share_work(t, c->sh, &c->id, &slot);

	if (e == ERR_OK && !slot->wrk->halted)
		return errmsg_set(c->em, ERR_NOTFOUND,
		    "see `pesscara share show`",
		    "the share's membership does not stand still");
	if (e == ERR_OK)
		e = branches_load(
		    c->sh, store_txn_db(t), &c->id, slot->wrk->m, &l);
	if (e == ERR_OK && l->fork > member_seq(slot->wrk->m))
		e = errmsg_set(c->em, ERR_AGAIN,
		    "let this node meet one that has the other branch",
		    "this node knows of no other branch");
	if (e == ERR_OK)
		e = keep_find(c, l, &keep);
	if (e == ERR_OK)
		e = checkpoint_sign(c, l, keep, &out);
	if (e == ERR_OK)
		e = branch_keep(t, c->sh, slot, buf_slice(&out), &now);
	c->waits = !now;
	branches_free(l);
	buf_fini(&out);
	return e;
}

enum err
shares_checkpoint(struct shares *sh, const char *share, const char *keep,
    bool instead, bool *waits, struct errmsg *em)
{
	struct checkpoint c = {
		.sh = sh, .keep = keep, .instead = instead, .em = em
	};
	struct share_slot *slot;
	enum err e;

	if (strcmp(keep, "fork") != 0 && strlen(keep) < 8)
		return errmsg_set(em, ERR_MALFORMED,
		    "see `pesscara share checkpoint SHARE`",
		    "give at least 8 characters of the branch's id");
	pthread_mutex_lock(&sh->lock);
	e = share_slot_named(sh, share, &slot, em);
	if (e == ERR_OK)
		c.id = slot->id;
	pthread_mutex_unlock(&sh->lock);
	if (e != ERR_OK)
		return e;
	e = store_write(sh->store, checkpoint_job, &c);
	*waits = c.waits;
	if (e == ERR_OK && !c.waits)
		e = shares_settle(sh, NULL, NULL);
	if (e != ERR_OK && (em == NULL || em->code != e))
		return errmsg_set(
		    em, e, "", "nothing was changed: %s", err_text(e));
	return e;
}

/* --- looking --- */

static void
branch_tell(
    const struct member *m, const struct branch *o, struct share_branch *out)
{
	memset(out, 0, sizeof(*out));
	branch_name(&o->b, out->id);
	out->first = o->b.fork;
	out->last = o->b.last - (o->b.orders ? 1 : 0);
	out->here = o->here || member_is_ours(m, out->last, &o->b.head);
	out->wall_ms = o->b.wall_ms;
	(void)snprintf(
	    out->what, sizeof(out->what), "%s", share_draft_word(o->b.kind));
	if (o->b.orders)
		(void)snprintf(out->signed_by, sizeof(out->signed_by),
		    "%u of %u", o->b.n_sigs, o->b.k);
}

enum err
shares_branches(struct shares *sh, const char *share,
    struct share_branch **list, uint32_t *n, struct errmsg *em)
{
	struct branches *l = NULL;
	struct share_slot *slot = NULL;
	struct db_txn *txn = NULL;
	enum err e = store_read(sh->store, &txn);

	*n = 0;
	*list = NULL;
	if (e != ERR_OK)
		return e;
	pthread_mutex_lock(&sh->lock);
	e = share_slot_named(sh, share, &slot, em);
	if (e == ERR_OK && slot->pub != NULL && slot->pub->halted)
		e = branches_load(sh, txn, &slot->id, slot->pub->m, &l);
	if (e == ERR_OK && l != NULL && l->n > 0 &&
	    (*list = mem_array(l->n, sizeof(**list))) == NULL)
		e = ERR_NOMEM;
	for (uint32_t i = 0; e == ERR_OK && l != NULL && i < l->n; i++)
		branch_tell(l->m, &l->v[i], &(*list)[(*n)++]);
	branches_free(l);
	pthread_mutex_unlock(&sh->lock);
	db_abort(txn);
	return e;
}

void
shares_branches_free(struct share_branch *list)
{
	mem_free(list);
}

enum err
shares_settled(struct shares *sh, const struct share_id *share, uint32_t era,
    struct buf *out)
{
	struct share_slot *slot;
	enum err e = ERR_OK;

	pthread_mutex_lock(&sh->lock);
	slot = share_slot_find(sh, share);
	if (slot != NULL && slot->pub != NULL && member_era(slot->pub->m) > era)
		e = member_branch_build(
		    slot->pub->m, member_branch_from(slot->pub->m), false, out);
	pthread_mutex_unlock(&sh->lock);
	return e;
}
