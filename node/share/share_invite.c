/* node/share/share_invite.c: invites, claims, joins, records from peers.
 *
 * Registrar: an invite is a row with its secret and what it grants; a valid
 * claim turns it into a grant record at once (rulings.md 22), or, if it was
 * made so, waits as a row until a person approves.  Joiner: the
 * claim is a row until the chain that grants us has arrived. */
#include "node/share/share_internal.h"
#include "store/base/clock.h"
#include "store/base/enc.h"

/* An invite lives at most a year. */
#define INVITE_MAX_S ((uint64_t)366 * 86400)
#define CLAIM_MAX ((size_t)64 * KIB)

/* {version, role u8, used u8 (bit 1: needs approval), compartment u16, expires
 * u64, secret 16, used by 32} */
struct invite_row {
	enum role role;
	uint16_t compartment;
	bool used;
	bool approve;
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
	buf_u8(&b, (uint8_t)((r->used ? 1 : 0) | (r->approve ? 2 : 0)));
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
	r->used = (flags & 1) != 0;
	r->approve = (flags & 2) != 0;
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
	struct invite_row r = { .role = j->o->role, .approve = j->o->approve };
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
	return ERR_OK;
}

static enum err
claim_grant(struct store_txn *t, struct shares *sh, struct share_slot *slot,
    const struct member_grant *grant, const char *site)
{
	struct buf rec = BUF_MAX(LIM_MEMBER_RECORD_BYTES);
	enum err e;

	e = member_build_grant(
	    slot->wrk->m, sh->me, &slot->wrk->keys, grant, site, &rec);
	if (e == ERR_OK)
		e = share_record_own(t, sh, slot, buf_slice(&rec), NULL);
	buf_fini(&rec);
	return e;
}

/* --- what waits for a person --- */

struct request_row {
	uint64_t wall_ms;
	struct member_grant grant;
	char site[LIM_NAME_BYTES + 1];
};

static enum err
request_read(struct slice value, struct request_row *r)
{
	struct rd rd = rd_init(value);
	uint8_t n;

	memset(r, 0, sizeof(*r));
	if (rd_u8(&rd) != SHARE_ROW_VERSION)
		rd_fail(&rd, ERR_UNSUPPORTED);
	r->wall_ms = rd_u64(&rd);
	rd_copy(&rd, r->grant.device.site.b, 32);
	rd_copy(&rd, r->grant.device.sign.b, 32);
	rd_copy(&rd, r->grant.device.box.b, 32);
	r->grant.role = (enum role)rd_u8(&rd);
	r->grant.compartment = rd_u16(&rd);
	n = rd_u8(&rd);
	if (n > LIM_NAME_BYTES)
		rd_fail(&rd, ERR_LIMIT);
	else
		rd_copy(&rd, r->site, n);
	return rd_end(&rd) == ERR_OK ? ERR_OK : ERR_CORRUPT;
}

/* The first device that claims an invite holds it. */
static enum err
request_put(struct store_txn *t, struct slice key, const struct claimed *c)
{
	struct buf b = BUF_MAX(512), old = BUF_MAX(512);
	struct request_row had;
	enum err e = store_row_get(
	    store_txn_store(t), store_txn_db(t), SHARE_TAG_REQUEST, key, &old);

	if (e == ERR_OK)
		e = request_read(buf_slice(&old), &had);
	if (e == ERR_OK)
		e = memcmp(&had.grant.device, &c->grant.device,
			sizeof(had.grant.device)) == 0
			? ERR_EXISTS
			: ERR_DENIED;
	buf_fini(&old);
	if (e != ERR_NOTFOUND)
		return e;
	buf_u8(&b, SHARE_ROW_VERSION);
	buf_u64(&b, clock_wall_ms());
	buf_put(&b, c->grant.device.site.b, 32);
	buf_put(&b, c->grant.device.sign.b, 32);
	buf_put(&b, c->grant.device.box.b, 32);
	buf_u8(&b, (uint8_t)c->grant.role);
	buf_u16(&b, c->grant.compartment);
	buf_u8(&b, (uint8_t)strlen(c->site));
	buf_put(&b, c->site, strlen(c->site));
	e = buf_err(&b);
	if (e == ERR_OK)
		e = store_row_put(t, SHARE_TAG_REQUEST, key, buf_slice(&b));
	buf_fini(&b);
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
	/* Signed by several: a person drafts it. */
	if ((c.row.approve || member_k(slot->wrk->m) > 1) &&
	    !share_has_grant(slot->wrk, &c.grant)) {
		e = request_put(t, buf_slice(&key), &c);
		goto out;
	}
	if (!share_has_grant(slot->wrk, &c.grant))
		e = claim_grant(t, sh, slot, &c.grant, c.site);
	c.row.used = true;
	c.row.used_by = c.grant.device.sign;
	if (e == ERR_OK)
		e = invite_row_put(t, buf_slice(&key), &c.row);
out:
	cry_wipe(&c, sizeof(c));
	buf_fini(&key);
	return e;
}

/* --- approval --- */

struct requests {
	struct shares *sh;
	struct share_state *s; /* under the lock */
	struct share_request *v;
	uint32_t n, cap;
	struct cry_id draft; /* the last one listed */
	uint32_t signers;
	/* approving: the one whose id begins so */
	const char *id;
	struct share_id share;
	struct buf key;
	struct request_row row;
	uint32_t found;
	bool grant, instead;
	struct errmsg *em;
};

static void
request_id(struct slice key, char out[33])
{
	struct slice id = slice_of(
	    key.p + key.n - sizeof(struct invite_id), sizeof(struct invite_id));

	enc_b32(id, out);
}

static enum err
request_room(struct requests *q, struct share_request **out)
{
	struct share_request *r;

	if (q->n == q->cap) {
		r = mem_grow(q->v, (size_t)q->cap + 16, sizeof(*r));
		if (r == NULL)
			return ERR_NOMEM;
		q->v = r;
		q->cap += 16;
	}
	*out = &q->v[q->n++];
	memset(*out, 0, sizeof(**out));
	return ERR_OK;
}

static void
request_where(const struct requests *q, uint16_t no, struct share_request *r)
{
	if (no == COMPARTMENT_ALL)
		(void)snprintf(r->compartment, sizeof(r->compartment), "*");
	else if (no != 0)
		share_compartment_text(q->s, no, r->compartment);
}

/* Copies of one draft come one after the other: a row of all. */
static enum err
draft_list(void *ctx, const struct member_draft *d, struct slice bytes)
{
	struct requests *q = ctx;
	const struct member *m = q->s->m;
	struct share_request *r;
	enum err e;

	(void)bytes;
	if (q->n == 0 || memcmp(&q->draft, &d->id, sizeof(d->id)) != 0) {
		if ((e = request_room(q, &r)) != ERR_OK)
			return e;
		q->draft = d->id;
		q->signers = 0;
		share_draft_name(d, r->id);
		r->device = d->device;
		(void)snprintf(
		    r->what, sizeof(r->what), "%s", share_draft_word(d->kind));
		if (d->role != 0)
			(void)snprintf(
			    r->role, sizeof(r->role), "%s", role_text(d->role));
		request_where(q, d->compartment, r);
	}
	r = &q->v[q->n - 1];
	r->ours |= memcmp(&member_registrar(m, d->signer)->sign,
		       &q->sh->me->pub.sign, sizeof(struct cry_sign_pk)) == 0;
	(void)snprintf(r->signed_by, sizeof(r->signed_by), "%u of %u",
	    (unsigned)++q->signers, (unsigned)member_k(m));
	return ERR_OK;
}

static int
request_list(void *ctx, struct slice key, struct slice value)
{
	struct requests *q = ctx;
	struct share_request *r;
	struct request_row row;
	enum err e = request_read(value, &row);

	if (e != ERR_OK)
		return e;
	if ((e = request_room(q, &r)) != ERR_OK)
		return e;
	request_id(key, r->id);
	r->device = row.grant.device;
	memcpy(r->site, row.site, sizeof(r->site));
	(void)snprintf(r->what, sizeof(r->what), "claim");
	(void)snprintf(
	    r->role, sizeof(r->role), "%s", role_text(row.grant.role));
	request_where(q, row.grant.compartment, r);
	r->wall_ms = row.wall_ms;
	return 0;
}

static enum err
requests_walk(struct shares *sh, struct db_txn *txn,
    const struct share_id *share,
    int (*fn)(void *ctx, struct slice key, struct slice value), void *ctx)
{
	struct buf prefix;
	enum err e;
	int rc = 0;

	share_row_key(&prefix, share);
	e = buf_err(&prefix);
	if (e == ERR_OK)
		rc = (int)store_row_each(sh->store, txn, SHARE_TAG_REQUEST,
		    buf_slice(&prefix), fn, ctx);
	buf_fini(&prefix);
	return rc < 0 ? (enum err)rc : e;
}

enum err
shares_requests(struct shares *sh, const char *share,
    struct share_request **list, uint32_t *n, struct errmsg *em)
{
	struct requests q = { .sh = sh };
	struct share_slot *slot = NULL;
	struct db_txn *txn = NULL;
	enum err e = store_read(sh->store, &txn);

	if (e != ERR_OK)
		return e;
	pthread_mutex_lock(&sh->lock);
	e = share_slot_named(sh, share, &slot, em);
	if (e == ERR_OK && slot != NULL) {
		q.s = slot->pub;
		e = requests_walk(sh, txn, &slot->id, request_list, &q);
		if (e == ERR_OK)
			e = share_drafts_each(
			    sh, txn, &slot->id, q.s->m, draft_list, &q);
	}
	pthread_mutex_unlock(&sh->lock);
	db_abort(txn);
	if (e != ERR_OK) {
		mem_free(q.v);
		return e;
	}
	*list = q.v;
	*n = q.n;
	return ERR_OK;
}

void
shares_requests_free(struct share_request *list)
{
	mem_free(list);
}

static int
request_seek(void *ctx, struct slice key, struct slice value)
{
	struct requests *q = ctx;
	char id[33];
	enum err e;

	request_id(key, id);
	if (strncmp(id, q->id, strlen(q->id)) != 0)
		return 0;
	if ((e = request_read(value, &q->row)) != ERR_OK)
		return e;
	q->found++;
	buf_reset(&q->key);
	/* store_row_each gives the whole key */
	buf_put_slice(&q->key, key);
	return buf_err(&q->key);
}

static enum err
approve_one(struct store_txn *t, struct requests *q, struct share_slot *slot)
{
	struct invite_row inv = { 0 };
	struct slice key = buf_slice(&q->key);
	enum err e = invite_row_get(t, key, &inv);

	if (e == ERR_OK && q->grant &&
	    !share_has_grant(slot->wrk, &q->row.grant))
		e = claim_grant(t, q->sh, slot, &q->row.grant, q->row.site);
	inv.used = true;
	inv.used_by = q->row.grant.device.sign;
	if (e == ERR_OK)
		e = invite_row_put(t, key, &inv);
	if (e == ERR_OK)
		e = store_row_del(t, SHARE_TAG_REQUEST, key);
	cry_wipe(&inv, sizeof(inv));
	return e;
}

static enum err
approve_job(struct store_txn *t, void *ctx)
{
	struct requests *q = ctx;
	struct share_slot *slot;
	enum err e = share_work(t, q->sh, &q->share, &slot);

	q->found = 0;
	if (e == ERR_OK &&
	    !member_is_registrar(slot->wrk->m, &q->sh->me->pub.sign))
		return errmsg_set(q->em, ERR_DENIED, "ask the registrar",
		    "this site is no registrar of the share");
	if (e == ERR_OK)
		e = requests_walk(
		    q->sh, store_txn_db(t), &q->share, request_seek, q);
	if (e != ERR_OK)
		return e;
	if (q->found == 0 && q->grant) {
		e = share_draft_approve(
		    t, q->sh, &q->share, q->id, q->instead, q->em);
		if (e != ERR_NOTFOUND)
			return e;
	}
	if (q->found != 1)
		return errmsg_set(q->em, ERR_NOTFOUND,
		    "see `pesscara share requests`", "%s request has this id",
		    q->found == 0 ? "no" : "more than one");
	return approve_one(t, q, slot);
}

enum err
shares_approve(struct shares *sh, const char *share, const char *id,
    enum share_answer answer, struct errmsg *em)
{
	struct requests q = { .sh = sh,
		.id = id,
		.grant = answer != SHARE_NO,
		.instead = answer == SHARE_INSTEAD,
		.key = BUF_MAX(SHARE_KEY_MAX),
		.em = em };
	struct share_slot *slot;
	enum err e;

	if (strlen(id) < 8)
		return errmsg_set(em, ERR_MALFORMED,
		    "see `pesscara share requests`",
		    "give at least 8 characters of the request's id");
	pthread_mutex_lock(&sh->lock);
	e = share_slot_named(sh, share, &slot, em);
	if (e == ERR_OK)
		q.share = slot->id;
	pthread_mutex_unlock(&sh->lock);
	if (e == ERR_OK)
		e = store_write(sh->store, approve_job, &q);
	buf_fini(&q.key);
	if (e != ERR_OK && (em == NULL || em->code != e))
		return errmsg_set(
		    em, e, "", "nothing was changed: %s", err_text(e));
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
