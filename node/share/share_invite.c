/* node/share/share_invite.c: invites, claims, joins, records from peers.
 *
 * Registrar: an invite is a row with its secret and what it grants; a valid
 * claim turns it into a grant record at once (rulings.md 22), or, if it was
 * made so, waits (share_request.c) until a person approves.  Joiner: the
 * claim is a row until the chain that grants us has arrived. */
#include "node/share/share_internal.h"
#include "store/base/clock.h"
#include "store/base/enc.h"

/* An invite lives at most a year. */
#define INVITE_MAX_S ((uint64_t)366 * 86400)
#define CLAIM_MAX ((size_t)64 * KIB)

/* {version, role u8, flags u8 (used, needs approval, no history), compartment
 * u16, expires u64, secret 16, used by 32} */
#define INVITE_USED 1u
#define INVITE_APPROVE 2u
#define INVITE_NO_HISTORY 4u
struct invite_row {
	enum role role;
	uint16_t compartment;
	bool used;
	bool approve;
	bool no_history;
	uint64_t expires_s;
	uint8_t secret[16];
	struct cry_sign_pk used_by;
};

static uint64_t
now_s(void)
{
	return clock_wall_ms() / 1000;
}

static enum err
invite_row_put(
    struct store_txn *t, struct slice key, const struct invite_row *r)
{
	struct buf b = BUF_MAX(128);
	enum err e;

	buf_u8(&b, SHARE_ROW_VERSION);
	buf_u8(&b, (uint8_t)r->role);
	buf_u8(&b, (uint8_t)((r->used ? INVITE_USED : 0) |
			     (r->approve ? INVITE_APPROVE : 0) |
			     (r->no_history ? INVITE_NO_HISTORY : 0)));
	buf_u16(&b, r->compartment);
	buf_u64(&b, r->expires_s);
	buf_put(&b, r->secret, sizeof(r->secret));
	buf_put(&b, r->used_by.b, sizeof(r->used_by.b));
	e = buf_err(&b);
	if (e == ERR_OK)
		e = store_row_put(t, SHARE_TAG_INVITE, key, buf_slice(&b));
	buf_wipe(&b);
	return e;
}

static enum err
invite_row_get(struct store_txn *t, struct slice key, struct invite_row *r)
{
	struct buf b = BUF_MAX(128);
	struct rd rd;
	uint8_t flags;
	enum err e;

	e = store_row_get(
	    store_txn_store(t), store_txn_db(t), SHARE_TAG_INVITE, key, &b);
	if (e != ERR_OK) {
		buf_wipe(&b);
		return e;
	}
	rd = rd_init(buf_slice(&b));
	if (rd_u8(&rd) != SHARE_ROW_VERSION)
		rd_fail(&rd, ERR_UNSUPPORTED);
	r->role = (enum role)rd_u8(&rd);
	flags = rd_u8(&rd);
	r->used = (flags & INVITE_USED) != 0;
	r->approve = (flags & INVITE_APPROVE) != 0;
	r->no_history = (flags & INVITE_NO_HISTORY) != 0;
	r->compartment = rd_u16(&rd);
	r->expires_s = rd_u64(&rd);
	rd_copy(&rd, r->secret, sizeof(r->secret));
	rd_copy(&rd, r->used_by.b, sizeof(r->used_by.b));
	e = rd_end(&rd) == ERR_OK ? ERR_OK : ERR_CORRUPT;
	buf_wipe(&b);
	return e;
}

static void
invite_row_key(
    struct buf *b, const struct share_id *share, const struct invite_id *id)
{
	share_row_key(b, share);
	buf_put(b, id->b, sizeof(id->b));
}

/* --- issuing --- */

struct invite_job {
	struct shares *sh;
	const struct share_invite_opts *o;
	struct invite v;
	struct errmsg *em;
};

static enum err
invite_write(struct store_txn *t, void *ctx)
{
	struct invite_job *j = ctx;
	struct invite_row r = { .role = j->o->role,
		.approve = j->o->approve,
		.no_history = j->o->no_history };
	struct share_slot *slot;
	struct invite_id id;
	struct buf key;
	enum err e;

	if ((e = share_work(t, j->sh, &j->v.share, &slot)) != ERR_OK)
		return e;
	if (!member_is_registrar(slot->wrk->m, &j->sh->me->pub.sign))
		return errmsg_set(j->em, ERR_DENIED, "ask the registrar",
		    "this site is no registrar of the share");
	e = share_grant_compartment(
	    slot->wrk, j->o->role, j->o->compartment, &r.compartment, j->em);
	if (e != ERR_OK)
		return e;
	r.expires_s = j->v.expires_s;
	memcpy(r.secret, j->v.secret, sizeof(r.secret));
	invite_id(&j->v, &id);
	invite_row_key(&key, &j->v.share, &id);
	e = buf_err(&key);
	if (e == ERR_OK)
		e = invite_row_put(t, buf_slice(&key), &r);
	cry_wipe(&r, sizeof(r));
	buf_fini(&key);
	return e;
}

enum err
shares_invite(struct shares *sh, const char *share,
    const struct share_invite_opts *o, struct buf *out, struct errmsg *em)
{
	struct invite_job j = { .sh = sh, .o = o, .em = em };
	struct share_slot *slot;
	enum err e;

	if ((o->n_addrs == 0 && o->role != ROLE_HUB) ||
	    o->n_addrs > sizeof(j.v.addrs) / sizeof(j.v.addrs[0]))
		return errmsg_set(em, ERR_LIMIT,
		    "set peers.listen or add a hub as peer first",
		    "an invite carries 1 to 4 addresses");
	if (o->expires_in_s == 0 || o->expires_in_s > INVITE_MAX_S)
		return errmsg_set(em, ERR_LIMIT, "use --expires 7d",
		    "an invite lives between 1 second and 366 days");
	pthread_mutex_lock(&sh->lock);
	e = share_slot_named(sh, share, &slot, em);
	if (e == ERR_OK)
		j.v.share = slot->id;
	pthread_mutex_unlock(&sh->lock);
	if (e != ERR_OK)
		return e;
	j.v.registrar = sh->me->pub.sign;
	/* Rounded up: one second is one at least. */
	j.v.expires_s = (clock_wall_ms() + 999) / 1000 + o->expires_in_s;
	cry_random(j.v.secret, sizeof(j.v.secret));
	j.v.n_addrs = o->n_addrs;
	memcpy(j.v.addrs, o->addrs, o->n_addrs * sizeof(o->addrs[0]));
	e = store_write(sh->store, invite_write, &j);
	if (e == ERR_OK)
		e = invite_encode(&j.v, out);
	cry_wipe(&j.v, sizeof(j.v));
	if (e != ERR_OK && (em == NULL || em->code != e))
		return errmsg_set(
		    em, e, "", "the invite was not made: %s", err_text(e));
	return e;
}

/* --- claims --- */

/* What a claim turned out to be. */
struct claimed {
	struct invite_row row;
	struct member_grant grant;
	char site[LIM_NAME_BYTES + 1];
};

/* Is the claim's invite one of ours, and what does it grant? */
static enum err
claim_check(struct store_txn *t, struct slice key, struct slice claim,
    const struct invite *base, struct claimed *c)
{
	struct invite v = *base;
	enum err e;

	e = invite_row_get(t, key, &c->row);
	if (e == ERR_NOTFOUND)
		return ERR_DENIED;
	if (e != ERR_OK)
		return e;
	memcpy(v.secret, c->row.secret, sizeof(v.secret));
	v.expires_s = c->row.expires_s;
	e = claim_open(claim, &v, &c->grant.device, c->site);
	cry_wipe(&v, sizeof(v));
	if (e != ERR_OK)
		return ERR_AUTH;
	if (c->row.used)
		return cry_equal(c->row.used_by.b, c->grant.device.sign.b,
			   sizeof(c->row.used_by.b))
			   ? ERR_EXISTS
			   : ERR_DENIED;
	if (now_s() >= c->row.expires_s)
		return ERR_DENIED;
	c->grant.role = c->row.role;
	c->grant.compartment = c->row.compartment;
	c->grant.no_history = c->row.no_history;
	return ERR_OK;
}

enum err
share_claim_grant(struct store_txn *t, struct shares *sh,
    struct share_slot *slot, const struct member_grant *grant, const char *site,
    struct errmsg *em)
{
	struct buf rec = BUF_MAX(LIM_MEMBER_RECORD_BYTES);
	enum err e;

	e = member_build_grant(
	    slot->wrk->m, sh->me, &slot->wrk->keys, grant, site, &rec);
	if (e == ERR_OK)
		e = share_record_own(t, sh, slot, buf_slice(&rec), em);
	buf_fini(&rec);
	return e;
}

enum err
share_invite_spend(
    struct store_txn *t, struct slice key, const struct cry_sign_pk *by)
{
	struct invite_row inv = { 0 };
	enum err e = invite_row_get(t, key, &inv);

	inv.used = true;
	inv.used_by = *by;
	if (e == ERR_OK)
		e = invite_row_put(t, key, &inv);
	cry_wipe(&inv, sizeof(inv));
	return e;
}

enum err
shares_claim(struct store_txn *t, struct shares *sh,
    const struct share_id *share, struct slice claim)
{
	struct invite base = { .share = *share };
	struct claimed c = { 0 };
	struct share_slot *slot;
	struct invite_id id;
	struct buf key = BUF_EMPTY;
	enum err e;

	if ((e = share_work(t, sh, share, &slot)) != ERR_OK)
		return e == ERR_NOTFOUND ? ERR_DENIED : e;
	if (!member_is_registrar(slot->wrk->m, &sh->me->pub.sign))
		return ERR_DENIED;
	if ((e = claim_invite(claim, &id)) != ERR_OK)
		return e;
	base.registrar = sh->me->pub.sign;
	invite_row_key(&key, share, &id);
	e = buf_err(&key);
	if (e == ERR_OK)
		e = claim_check(t, buf_slice(&key), claim, &base, &c);
	if (e != ERR_OK)
		goto out;
	if (!member_hub_alone(
		slot->wrk->m, &c.grant.device.sign, c.grant.role)) {
		e = ERR_DENIED;
		goto out;
	}
	/* Signed by several: a person drafts it; nor is what a person closed
	 * opened without one. */
	if ((c.row.approve || member_k(slot->wrk->m) > 1 ||
		member_grant_widens(slot->wrk->m, &c.grant)) &&
	    !share_has_grant(slot->wrk, &c.grant)) {
		e = share_request_put(t, buf_slice(&key), &c.grant, c.site);
		goto out;
	}
	if (!share_has_grant(slot->wrk, &c.grant))
		e = share_claim_grant(t, sh, slot, &c.grant, c.site, NULL);
	c.row.used = true;
	c.row.used_by = c.grant.device.sign;
	if (e == ERR_OK)
		e = invite_row_put(t, buf_slice(&key), &c.row);
out:
	cry_wipe(&c, sizeof(c));
	buf_fini(&key);
	return e;
}

/* --- joining --- */

struct join_job {
	struct shares *sh;
	const struct invite *v;
	struct slice claim;
};

static enum err
join_write(struct store_txn *t, void *ctx)
{
	struct join_job *j = ctx;
	struct buf key, val = BUF_MAX(CLAIM_MAX);
	struct share_slot *slot;
	enum err e;

	e = share_work(t, j->sh, &j->v->share, &slot);
	if (e == ERR_OK && member_is_member(slot->wrk->m, &j->sh->me->pub.sign))
		return ERR_EXISTS;
	if (e != ERR_OK && e != ERR_NOTFOUND)
		return e;
	share_row_key(&key, &j->v->share);
	buf_u8(&val, SHARE_ROW_VERSION);
	buf_u64(&val, j->v->expires_s);
	buf_put(&val, j->v->registrar.b, sizeof(j->v->registrar.b));
	buf_put_slice(&val, j->claim);
	e = buf_err(&key) != ERR_OK ? buf_err(&key) : buf_err(&val);
	if (e == ERR_OK)
		e = store_row_put(
		    t, SHARE_TAG_JOIN, buf_slice(&key), buf_slice(&val));
	j->sh->touched = true;
	buf_fini(&key);
	buf_fini(&val);
	return e;
}

enum err
shares_join(struct shares *sh, const char *invite_text, struct invite *out,
    struct errmsg *em)
{
	struct buf claim = BUF_MAX(CLAIM_MAX);
	struct join_job j = { .sh = sh };
	struct invite v;
	enum err e;

	if (invite_decode(slice_str(invite_text), &v) != ERR_OK)
		return errmsg_set(em, ERR_MALFORMED,
		    "copy the whole text, from psi1 to its end",
		    "this is not a whole invite");
	if (now_s() >= v.expires_s) {
		cry_wipe(&v, sizeof(v));
		return errmsg_set(em, ERR_DENIED,
		    "ask the registrar for a new one",
		    "the invite has expired");
	}
	e = claim_build(&v, sh->me, sh->site, &claim);
	j.v = &v;
	j.claim = buf_slice(&claim);
	if (e == ERR_OK)
		e = store_write(sh->store, join_write, &j);
	if (e == ERR_OK)
		*out = v;
	else if (e == ERR_EXISTS)
		(void)errmsg_set(em, e, "see `pesscara share list`",
		    "this site is a member of the share already");
	else
		(void)errmsg_set(
		    em, e, "", "the join was not kept: %s", err_text(e));
	cry_wipe(&v, sizeof(v));
	buf_wipe(&claim);
	return e;
}

struct joins {
	shares_join_fn fn;
	void *ctx;
};

static int
join_row(void *ctx, struct slice key, struct slice value)
{
	struct joins *j = ctx;
	struct rd rk = rd_init(key), rv = rd_init(value);
	struct cry_sign_pk registrar;
	struct share_id id;
	struct slice claim;

	rd_copy(&rk, id.b, sizeof(id.b));
	if (rd_u8(&rv) != SHARE_ROW_VERSION)
		rd_fail(&rv, ERR_UNSUPPORTED);
	(void)rd_u64(&rv);
	rd_copy(&rv, registrar.b, sizeof(registrar.b));
	claim = rd_rest(&rv);
	if (rd_end(&rk) != ERR_OK || rd_end(&rv) != ERR_OK)
		return ERR_CORRUPT;
	return j->fn(j->ctx, &id, &registrar, claim);
}

enum err
shares_joins_each(struct shares *sh, shares_join_fn fn, void *ctx)
{
	struct joins j = { fn, ctx };
	struct db_txn *txn = NULL;
	enum err e;
	int rc;

	if ((e = store_read(sh->store, &txn)) != ERR_OK)
		return e;
	rc = (int)store_row_each(
	    sh->store, txn, SHARE_TAG_JOIN, (struct slice){ 0 }, join_row, &j);
	db_abort(txn);
	return rc < 0 ? (enum err)rc : ERR_OK;
}

/* --- records from peers --- */

static enum err
join_end(struct store_txn *t, const struct share_id *share)
{
	struct buf key;
	enum err e;

	share_row_key(&key, share);
	e = buf_err(&key);
	if (e == ERR_OK)
		e = store_row_del(t, SHARE_TAG_JOIN, buf_slice(&key));
	buf_fini(&key);
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

/* The first record of a share: only one that we asked to join. */
static enum err
genesis_put(struct store_txn *t, struct shares *sh,
    const struct share_id *share, struct slice record)
{
	struct buf key, row = BUF_MAX(CLAIM_MAX);
	struct cry_id cid = share_cry_id(share);
	struct share_slot *slot;
	struct member *m = NULL;
	uint32_t no;
	enum err e;

	share_row_key(&key, share);
	e = store_row_get(
	    sh->store, store_txn_db(t), SHARE_TAG_JOIN, buf_slice(&key), &row);
	if (e != ERR_OK) {
		e = e == ERR_NOTFOUND ? ERR_DENIED : e;
		goto out;
	}
	if ((e = member_new(record, &m)) != ERR_OK)
		goto out;
	if (memcmp(member_share(m)->b, share->b, sizeof(share->b)) != 0) {
		e = ERR_AUTH;
		goto out;
	}
	if ((e = oplog_share_add(t, &cid, &no)) != ERR_OK)
		goto out;
	if ((e = oplog_member_put(t, no, 0, record)) != ERR_OK)
		goto out;
	if ((e = share_work(t, sh, share, &slot)) != ERR_OK)
		goto out;
	sh->touched = true;
	sh->touched_members = true;
	e = share_keys_keep(t, sh, share, slot->wrk);
out:
	member_free(m);
	buf_fini(&key);
	buf_wipe(&row);
	return e;
}

enum err
shares_put_member(struct store_txn *t, struct shares *sh,
    const struct share_id *share, uint64_t seq, struct slice record)
{
	struct share_slot *slot;
	enum err e;

	e = share_work(t, sh, share, &slot);
	if (e == ERR_NOTFOUND)
		return seq == 0 ? genesis_put(t, sh, share, record) : ERR_AGAIN;
	if (e != ERR_OK)
		return e;
	if (seq <= member_seq(slot->wrk->m))
		return member_apply(slot->wrk->m, record) == ERR_EXISTS
			   ? ERR_OK /* perhaps signed by others */
			   : ERR_DENIED;
	if ((e = share_record_put(t, sh, slot, record)) != ERR_OK)
		return e;
	if (member_is_member(slot->wrk->m, &sh->me->pub.sign))
		e = join_end(t, share);
	return e;
}
