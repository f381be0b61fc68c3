/* node/share/share_draft.c: records that wait for signatures of registrars.
 *
 * Happy path: where k of n registrars sign, an act of one becomes a draft (a
 * row, replication/member.h); the network carries it to the others; each who
 * approves adds its copy, and whoever then holds k copies puts the records
 * into the chain.  Failure modes: another record takes the number first: the
 * draft is void and its rows go.  A node never signs two records with one
 * number unless it is told to: two that both stood would halt the share. */
#include "node/share/share_internal.h"

#include "store/base/enc.h"

#define DRAFT_NAME_BYTES 16u
#define DRAFT_ROWS_MAX 512u

static enum err
row_key(struct buf *key, const struct share_id *id, const struct cry_id *draft,
    uint8_t signer)
{
	share_row_key(key, id);
	buf_put(key, draft->b, DRAFT_NAME_BYTES);
	buf_u8(key, signer);
	return buf_err(key);
}

static enum err
row_put(struct store_txn *t, const struct share_id *id,
    const struct member_draft *d, struct slice bytes)
{
	struct buf key;
	enum err e = row_key(&key, id, &d->id, d->signer);

	if (e == ERR_OK)
		e = store_row_put(t, SHARE_TAG_DRAFT, buf_slice(&key), bytes);
	buf_fini(&key);
	return e;
}

static enum err
row_del(struct store_txn *t, const struct share_id *id,
    const struct cry_id *draft, uint8_t signer)
{
	struct buf key;
	enum err e = row_key(&key, id, draft, signer);

	if (e == ERR_OK)
		e = store_row_del(t, SHARE_TAG_DRAFT, buf_slice(&key));
	buf_fini(&key);
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

void
share_draft_name(const struct member_draft *d, char out[33])
{
	enc_b32(slice_of(d->id.b, DRAFT_NAME_BYTES), out);
}

const char *
share_draft_word(enum member_kind kind)
{
	switch (kind) {
	case MEMBER_GRANT: return "grant";
	case MEMBER_REVOKE: return "revoke";
	case MEMBER_ROTATE: return "rotate";
	case MEMBER_REGISTRARS: return "registrars";
	case MEMBER_THAW: return "thaw";
	case MEMBER_ADOPT: return "adopt";
	case MEMBER_COMPARTMENT: return "compartment";
	case MEMBER_CHECKPOINT: return "checkpoint";
	case MEMBER_GENESIS:
	case MEMBER_FREEZE:
	case MEMBER_BRANCH:
	case MEMBER_DRAFT: break;
	}
	return "?";
}

/* --- walking --- */

struct walk {
	const struct member *m;
	share_draft_fn fn;
	void *ctx;
};

static int
walk_row(void *ctx, struct slice key, struct slice value)
{
	struct walk *w = ctx;
	struct member_draft d;
	enum err e = member_draft_read(w->m, value, &d);

	(void)key;
	if (e != ERR_OK)
		return e == ERR_NOMEM ? e : 0; /* void */
	return w->fn(w->ctx, &d, value);
}

enum err
share_drafts_each(struct shares *sh, struct db_txn *txn,
    const struct share_id *id, const struct member *m, share_draft_fn fn,
    void *ctx)
{
	struct walk w = { m, fn, ctx };
	struct buf prefix;
	enum err e;
	int rc = 0;

	share_row_key(&prefix, id);
	e = buf_err(&prefix);
	if (e == ERR_OK)
		rc = (int)store_row_each(sh->store, txn, SHARE_TAG_DRAFT,
		    buf_slice(&prefix), walk_row, &w);
	buf_fini(&prefix);
	return rc < 0 ? (enum err)rc : e;
}

/* --- rows of the past --- */

struct sweep {
	const struct member *m;
	struct buf keys; /* u8 length, key */
	uint32_t n;
};

static int
sweep_row(void *ctx, struct slice key, struct slice value)
{
	struct sweep *s = ctx;
	struct member_draft d;

	if (member_draft_read(s->m, value, &d) == ERR_OK)
		return 0;
	buf_u8(&s->keys, (uint8_t)key.n);
	buf_put_slice(&s->keys, key);
	return ++s->n == DRAFT_ROWS_MAX;
}

enum err
share_drafts_sweep(struct store_txn *t, struct shares *sh,
    const struct share_id *id, const struct member *m)
{
	struct sweep s = { .m = m, .keys = BUF_MAX(64 * KIB) };
	struct buf prefix;
	struct rd r;
	enum err e;
	int rc = 0;

	share_row_key(&prefix, id);
	if (buf_err(&prefix) == ERR_OK)
		rc = (int)store_row_each(sh->store, store_txn_db(t),
		    SHARE_TAG_DRAFT, buf_slice(&prefix), sweep_row, &s);
	e = buf_err(&prefix) != ERR_OK ? buf_err(&prefix) : buf_err(&s.keys);
	if (rc < 0)
		e = (enum err)rc;
	r = rd_init(buf_slice(&s.keys));
	while (e == ERR_OK && r.left > 0)
		e = store_row_del(t, SHARE_TAG_DRAFT, rd_bytes(&r, rd_u8(&r)));
	buf_fini(&prefix);
	buf_fini(&s.keys);
	return e;
}

/* --- enough signatures --- */

struct copies {
	struct cry_id id;
	uint32_t n, records;
	struct buf bytes;
	size_t end[MEMBER_REGISTRARS_MAX];
};

static enum err
copy_take(void *ctx, const struct member_draft *d, struct slice bytes)
{
	struct copies *c = ctx;

	if (memcmp(&d->id, &c->id, sizeof(d->id)) != 0 ||
	    c->n == MEMBER_REGISTRARS_MAX)
		return ERR_OK;
	buf_put_slice(&c->bytes, bytes);
	c->end[c->n++] = c->bytes.n;
	c->records = d->n;
	return buf_err(&c->bytes);
}

static enum err
records_put(struct store_txn *t, struct shares *sh, struct share_slot *slot,
    const struct copies *c)
{
	struct slice copy[MEMBER_REGISTRARS_MAX];
	struct buf rec = BUF_MAX(LIM_MEMBER_RECORD_BYTES);
	enum err e = ERR_OK;
	size_t at = 0;

	for (uint32_t i = 0; i < c->n; i++) {
		copy[i] = slice_of(c->bytes.p + at, c->end[i] - at);
		at = c->end[i];
	}
	for (uint32_t i = 0; i < c->records && e == ERR_OK; i++) {
		buf_reset(&rec);
		e = member_draft_join(copy, c->n, i, &rec);
		if (e == ERR_OK)
			e = share_record_put(t, sh, slot, buf_slice(&rec));
	}
	buf_fini(&rec);
	return e;
}

/* The records stand if this was the last signature. */
static enum err
draft_try(struct store_txn *t, struct shares *sh, struct share_slot *slot,
    const struct cry_id *id)
{
	struct copies c = { .id = *id,
		.bytes = BUF_MAX(
		    MEMBER_REGISTRARS_MAX * (size_t)LIM_MEMBER_RECORD_BYTES) };
	const struct member *m = slot->wrk->m;
	enum err e = ERR_OK;

	if (!slot->wrk->halted && member_is_registrar(m, &sh->me->pub.sign))
		e = share_drafts_each(
		    sh, store_txn_db(t), &slot->id, m, copy_take, &c);
	if (e == ERR_OK && c.n >= member_k(m) && c.n > 0) {
		e = records_put(t, sh, slot, &c);
		if (e == ERR_OK)
			e = share_drafts_sweep(t, sh, &slot->id, slot->wrk->m);
	}
	buf_fini(&c.bytes);
	return e;
}

/* --- from peers --- */

/* Does each record make sense after the one before it?  The working state has
 * them afterwards: it is loaded anew. */
static enum err
draft_stands(struct store_txn *t, struct shares *sh, struct share_slot *slot,
    struct slice bytes)
{
	struct share_slot *again;
	struct buf rec = BUF_MAX(LIM_MEMBER_RECORD_BYTES);
	enum err e = ERR_OK, back;

	for (uint32_t i = 0; e == ERR_OK; i++) {
		buf_reset(&rec);
		e = member_draft_join(&bytes, 1, i, &rec);
		if (e == ERR_OK)
			e = member_apply_draft(slot->wrk->m, buf_slice(&rec));
		else if (e == ERR_NOTFOUND && i > 0)
			break;
	}
	buf_fini(&rec);
	back = share_work(t, sh, &slot->id, &again);
	return e == ERR_NOTFOUND ? back : e;
}

enum err
share_draft_take(struct store_txn *t, struct shares *sh,
    const struct share_id *share, struct slice bytes)
{
	struct share_slot *slot;
	struct member_draft d;
	enum err e = share_work(t, sh, share, &slot);

	if (e != ERR_OK)
		return e;
	e = member_draft_read(slot->wrk->m, bytes, &d);
	if (e != ERR_OK) /* the chain moved on its way to us */
		return e == ERR_NOMEM ? e : ERR_OK;
	e = draft_stands(t, sh, slot, bytes);
	if (e == ERR_OK)
		e = row_put(t, share, &d, bytes);
	if (e == ERR_OK)
		e = draft_try(t, sh, slot, &d.id);
	sh->touched = true;
	sh->touched_members = true;
	return e;
}

/* --- signing --- */

struct mine {
	struct shares *sh;
	const struct member *m;
	const char *name;      /* looked for; NULL: any */
	struct cry_id id;      /* of what was found */
	struct buf bytes;      /* a copy of it */
	uint32_t found;        /* drafts */
	bool signed_it, other; /* by us; another one by us */
};

static enum err
mine_look(void *ctx, const struct member_draft *d, struct slice bytes)
{
	struct mine *n = ctx;
	char name[33];
	bool us = memcmp(&member_registrar(n->m, d->signer)->sign,
		      &n->sh->me->pub.sign, sizeof(struct cry_sign_pk)) == 0;

	share_draft_name(d, name);
	if (n->name == NULL || strncmp(name, n->name, strlen(n->name)) != 0) {
		n->other |= us;
		return ERR_OK;
	}
	if (n->found == 0 || memcmp(&n->id, &d->id, sizeof(d->id)) != 0)
		n->found++;
	n->signed_it |= us;
	n->id = d->id;
	buf_reset(&n->bytes);
	buf_put_slice(&n->bytes, bytes);
	return buf_err(&n->bytes);
}

static enum err
mine_check(const struct mine *n, bool instead, struct errmsg *em)
{
	if (n->found == 0)
		return ERR_NOTFOUND;
	if (n->found > 1)
		return errmsg_set(em, ERR_MALFORMED,
		    "give more characters of the id",
		    "more than one draft has this id");
	if (n->signed_it)
		return errmsg_set(em, ERR_EXISTS,
		    "other registrars sign it with `pesscara share approve`",
		    "this site has signed it already");
	if (n->other && !instead)
		return errmsg_set(em, ERR_DENIED,
		    "talk to the other registrars; if all of them let the "
		    "other one go, use --instead",
		    "this site has signed another draft that takes the same "
		    "place");
	return ERR_OK;
}

enum err
share_draft_approve(struct store_txn *t, struct shares *sh,
    const struct share_id *share, const char *name, bool instead,
    struct errmsg *em)
{
	struct mine n = { .sh = sh,
		.name = name,
		.bytes = BUF_MAX(LIM_MEMBER_RECORD_BYTES) };
	struct buf own = BUF_MAX(LIM_MEMBER_RECORD_BYTES);
	struct member_draft d;
	struct share_slot *slot;
	enum err e = share_work(t, sh, share, &slot);

	if (e == ERR_OK) {
		n.m = slot->wrk->m;
		e = share_drafts_each(
		    sh, store_txn_db(t), share, n.m, mine_look, &n);
	}
	if (e == ERR_OK)
		e = mine_check(&n, instead, em);
	if (e == ERR_OK && slot->wrk->halted)
		e = ERR_DENIED;
	if (e == ERR_OK)
		e = draft_stands(t, sh, slot, buf_slice(&n.bytes));
	if (e == ERR_OK)
		e = member_draft_sign(
		    slot->wrk->m, sh->me, buf_slice(&n.bytes), &own);
	if (e == ERR_OK)
		e = member_draft_read(slot->wrk->m, buf_slice(&own), &d);
	if (e == ERR_OK)
		e = row_put(t, share, &d, buf_slice(&own));
	if (e == ERR_OK)
		e = draft_try(t, sh, slot, &d.id);
	sh->touched = true;
	sh->touched_members = true;
	buf_fini(&n.bytes);
	buf_fini(&own);
	return e;
}

/* --- our own acts --- */

/* The first record of a draft: its number must be free of our signature. */
static enum err
draft_first(struct store_txn *t, struct shares *sh, struct share_slot *slot,
    struct errmsg *em)
{
	struct mine n = { .sh = sh, .m = slot->wrk->m };
	enum err e = share_drafts_each(
	    sh, store_txn_db(t), &slot->id, n.m, mine_look, &n);

	if (e == ERR_OK && n.other)
		return errmsg_set(em, ERR_DENIED,
		    "see `pesscara share requests`",
		    "a draft that this site signed waits for signatures; one "
		    "decision after the other");
	slot->wrk->draft = BUF_MAX(LIM_MEMBER_RECORD_BYTES);
	member_draft_begin(&slot->wrk->draft);
	return e;
}

static enum err
draft_grow(struct store_txn *t, struct shares *sh, struct share_slot *slot,
    struct slice record, uint8_t signer)
{
	struct share_state *s = slot->wrk;
	struct member_draft d = { .signer = signer };
	struct cry_id before = *member_head(s->m);
	enum err e = member_apply_draft(s->m, record);

	if (e != ERR_OK)
		return e;
	d.id = *member_head(s->m);
	member_draft_add(&s->draft, record);
	e = row_del(t, &slot->id, &before, signer);
	if (e == ERR_OK)
		e = buf_err(&s->draft);
	if (e == ERR_OK)
		e = row_put(t, &slot->id, &d, buf_slice(&s->draft));
	sh->touched = true;
	sh->touched_members = true;
	return e;
}

enum err
share_record_own(struct store_txn *t, struct shares *sh,
    struct share_slot *slot, struct slice record, struct errmsg *em)
{
	const struct member *m = slot->wrk->m;
	uint8_t who = 0;
	enum err e = ERR_OK;

	if (member_k(m) == 1)
		return share_record_put(t, sh, slot, record);
	if (slot->wrk->halted)
		return ERR_DENIED;
	while (who < member_n_registrars(m) &&
	       memcmp(&member_registrar(m, who)->sign, &sh->me->pub.sign,
		   sizeof(sh->me->pub.sign)) != 0)
		who++;
	if (slot->wrk->draft.n == 0)
		e = draft_first(t, sh, slot, em);
	return e == ERR_OK ? draft_grow(t, sh, slot, record, who) : e;
}
