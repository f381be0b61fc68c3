/* node/share/share_freeze.c: what is said beside the chain: freezes, and
 * records that prove that a registrar signed two with one number.
 *
 * A row each, so that a restart knows them; the state of a share has them
 * applied.  Which freezes a thaw ended the chain itself tells: their rows may
 * stay. */
#include "node/share/share_internal.h"

#define SAID_HASH_BYTES 16u

/* --- rows --- */

enum err
share_said_put(struct store_txn *t, struct shares *sh,
    const struct share_id *share, struct slice bytes)
{
	struct cry_id id;
	struct buf key;
	enum err e;

	cry_hash(bytes, &id);
	share_row_key(&key, share);
	buf_put(&key, id.b, SAID_HASH_BYTES);
	e = buf_err(&key);
	if (e == ERR_OK)
		e = store_row_put(t, SHARE_TAG_SAID, buf_slice(&key), bytes);
	buf_fini(&key);
	sh->touched = true;
	sh->touched_members = true;
	return e;
}

enum err
shares_put_statement(struct store_txn *t, struct shares *sh,
    const struct share_id *share, struct slice bytes)
{
	if (member_is_draft(bytes))
		return share_draft_take(t, sh, share, bytes);
	if (member_is_branch(bytes))
		return share_branch_take(t, sh, share, bytes);
	return share_said_put(t, sh, share, bytes);
}

struct said {
	shares_statement_fn fn;
	void *ctx;
	const struct share_id *share;
};

static int
said_row(void *ctx, struct slice key, struct slice value)
{
	struct said *s = ctx;

	(void)key;
	return s->fn(s->ctx, s->share, value);
}

static enum err
said_each(
    struct shares *sh, struct db_txn *txn, struct said *s, const char *tag)
{
	struct buf prefix;
	enum err e;
	int rc = 0;

	share_row_key(&prefix, s->share);
	e = buf_err(&prefix);
	if (e == ERR_OK)
		rc = (int)store_row_each(
		    sh->store, txn, tag, buf_slice(&prefix), said_row, s);
	buf_fini(&prefix);
	return rc < 0 ? (enum err)rc : e;
}

enum err
shares_statements_each(struct shares *sh, const struct share_id *share,
    shares_statement_fn fn, void *ctx)
{
	struct said s = { fn, ctx, share };
	struct db_txn *txn = NULL;
	enum err e = store_read(sh->store, &txn);

	if (e == ERR_OK)
		e = said_each(sh, txn, &s, SHARE_TAG_SAID);
	if (e == ERR_OK)
		e = said_each(sh, txn, &s, SHARE_TAG_DRAFT);
	db_abort(txn);
	return e;
}

static int
said_apply(void *ctx, const struct share_id *share, struct slice bytes)
{
	struct share_state *s = ctx;
	bool freeze = member_is_statement(bytes);
	struct share_id id;
	uint64_t seq;
	enum err e;

	(void)share;
	if (member_is_branch(bytes))
		return 0; /* to choose from; what it proves has its own row */
	/* A proof is never the next record: it would be one of the chain. */
	if (!freeze &&
	    (member_record_place(bytes, &id, &seq) != ERR_OK ||
		(seq > member_seq(s->m) + 1 && !member_is_checkpoint(bytes))))
		return 0;
	e = freeze ? member_freeze(s->m, bytes) : member_apply(s->m, bytes);
	if (!freeze && e == ERR_DENIED)
		s->halted = true;
	return e == ERR_NOMEM ? e : 0;
}

enum err
share_said_load(struct shares *sh, struct db_txn *txn,
    const struct share_id *id, struct share_state *s)
{
	struct said said = { said_apply, s, id };

	return said_each(sh, txn, &said, SHARE_TAG_SAID);
}

/* --- freeze, thaw --- */

struct act {
	struct shares *sh;
	struct share_id id;
	struct member_freeze_opts o;
	bool thaw;
	struct errmsg *em;
};

static enum err
act_check(const struct act *a, const struct share_slot *slot)
{
	const struct member *m = slot->wrk->m;
	const struct cry_sign_pk *me = &a->sh->me->pub.sign;

	if (a->thaw ? !member_is_registrar(m, me) : !member_may_freeze(m, me))
		return errmsg_set(a->em, ERR_DENIED,
		    a->thaw ? "ask a registrar" : "ask an admin",
		    "this site is no %s of the share",
		    a->thaw ? "registrar" : "admin or registrar");
	if (member_is_registrar(m, &a->o.device))
		return errmsg_set(a->em, ERR_DENIED,
		    "take it out of the registrars first",
		    "a registrar cannot be frozen");
	if (a->thaw && !member_is_frozen(m, &a->o.device))
		return errmsg_set(a->em, ERR_NOTFOUND,
		    "see `pesscara share members`", "it is not frozen");
	if (!a->thaw && member_is_frozen(m, &a->o.device))
		return errmsg_set(a->em, ERR_EXISTS,
		    "see `pesscara share members`", "it is frozen already");
	return ERR_OK;
}

static enum err
act_job(struct store_txn *t, void *ctx)
{
	struct act *a = ctx;
	struct buf rec = BUF_MAX(LIM_MEMBER_RECORD_BYTES);
	struct share_slot *slot;
	enum err e = share_work(t, a->sh, &a->id, &slot);

	if (e == ERR_OK)
		e = act_check(a, slot);
	if (e != ERR_OK)
		return e;
	e = a->thaw ? member_build_thaw(slot->wrk->m, a->sh->me,
			  &slot->wrk->keys, &a->o, &rec)
		    : member_build_freeze(slot->wrk->m, a->sh->me,
			  &slot->wrk->keys, &a->o, &rec);
	if (e == ERR_OK && a->thaw)
		e = share_record_own(t, a->sh, slot, buf_slice(&rec), a->em);
	else if (e == ERR_OK)
		e = member_freeze(slot->wrk->m, buf_slice(&rec));
	if (e == ERR_OK && !a->thaw)
		e = shares_put_statement(t, a->sh, &a->id, buf_slice(&rec));
	buf_fini(&rec);
	if (e == ERR_DENIED)
		return errmsg_set(a->em, e, "see `pesscara share members`",
		    "no such device is a member of the share");
	return e;
}

static enum err
act_run(struct act *a, const char *share)
{
	struct share_slot *slot;
	enum err e;

	if (a->o.reason != NULL && strlen(a->o.reason) > LIM_NAME_BYTES)
		return errmsg_set(a->em, ERR_LIMIT, "say it shorter",
		    "a reason has at most %u bytes", LIM_NAME_BYTES);
	pthread_mutex_lock(&a->sh->lock);
	e = share_slot_named(a->sh, share, &slot, a->em);
	if (e == ERR_OK)
		a->id = slot->id;
	pthread_mutex_unlock(&a->sh->lock);
	if (e == ERR_OK)
		e = store_write(a->sh->store, act_job, a);
	if (e != ERR_OK && (a->em == NULL || a->em->code != e))
		return errmsg_set(
		    a->em, e, "", "nothing was changed: %s", err_text(e));
	return e;
}

enum err
shares_freeze(struct shares *sh, const char *share,
    const struct cry_device_pub *device, const char *reason, struct errmsg *em)
{
	struct act a = { .sh = sh,
		.o = { .device = device->sign, .reason = reason },
		.em = em };

	return act_run(&a, share);
}

enum err
shares_thaw(struct shares *sh, const char *share,
    const struct cry_device_pub *device, const char *reason, struct errmsg *em)
{
	struct act a = { .sh = sh,
		.o = { .device = device->sign, .reason = reason },
		.thaw = true,
		.em = em };

	return act_run(&a, share);
}
