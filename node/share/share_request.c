/* node/share/share_request.c: what waits for a person: claims of invites made
 * so, and drafts of registrars.
 *
 * An approval grants what the invite stated, and no more than a person saw in
 * the list.  A claim that would open what a grant of the same device keeps
 * closed is refused: that is an act of its own (shares_grant_with). */
#include "node/share/share_internal.h"
#include "store/base/clock.h"
#include "store/base/enc.h"

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
	r->grant.no_history = rd_u8(&rd) != 0;
	n = rd_u8(&rd);
	if (n > LIM_NAME_BYTES)
		rd_fail(&rd, ERR_LIMIT);
	else
		rd_copy(&rd, r->site, n);
	return rd_end(&rd) == ERR_OK ? ERR_OK : ERR_CORRUPT;
}

/* The first device that claims an invite holds it. */
enum err
share_request_put(struct store_txn *t, struct slice key,
    const struct member_grant *g, const char *site)
{
	struct buf b = BUF_MAX(512), old = BUF_MAX(512);
	struct request_row had;
	enum err e = store_row_get(
	    store_txn_store(t), store_txn_db(t), SHARE_TAG_REQUEST, key, &old);

	if (e == ERR_OK)
		e = request_read(buf_slice(&old), &had);
	if (e == ERR_OK)
		e = memcmp(&had.grant.device, &g->device,
			sizeof(had.grant.device)) == 0
			? ERR_EXISTS
			: ERR_DENIED;
	buf_fini(&old);
	if (e != ERR_NOTFOUND)
		return e;
	buf_u8(&b, SHARE_ROW_VERSION);
	buf_u64(&b, clock_wall_ms());
	buf_put(&b, g->device.site.b, 32);
	buf_put(&b, g->device.sign.b, 32);
	buf_put(&b, g->device.box.b, 32);
	buf_u8(&b, (uint8_t)g->role);
	buf_u16(&b, g->compartment);
	buf_u8(&b, g->no_history ? 1 : 0);
	buf_u8(&b, (uint8_t)strlen(site));
	buf_put(&b, site, strlen(site));
	e = buf_err(&b);
	if (e == ERR_OK)
		e = store_row_put(t, SHARE_TAG_REQUEST, key, buf_slice(&b));
	buf_fini(&b);
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

static void
request_grant(const struct member *m, const struct member_grant *g,
    struct share_request *r)
{
	(void)snprintf(r->role, sizeof(r->role), "%s", role_text(g->role));
	(void)snprintf(r->history, sizeof(r->history), "%s",
	    g->role == ROLE_HUB ? ""
	    : g->no_history     ? "none"
				: "all");
	r->widens = member_grant_widens(m, g);
}

/* A claim that was drafted is the draft, as long as that is not void. */
static void
claim_drafted(struct requests *q, struct share_request *r)
{
	for (uint32_t i = 0; i + 1 < q->n; i++) {
		struct share_request *c = &q->v[i];

		if (strcmp(c->what, "claim") != 0 ||
		    memcmp(&c->device, &r->device, sizeof(r->device)) != 0 ||
		    strcmp(c->role, r->role) != 0 ||
		    strcmp(c->compartment, r->compartment) != 0)
			continue;
		memcpy(r->site, c->site, sizeof(r->site));
		memmove(c, c + 1, (q->n - i - 1) * sizeof(*c));
		q->n--;
		return;
	}
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
		request_where(q, d->compartment, r);
		if (d->kind == MEMBER_GRANT) {
			request_grant(m,
			    &(struct member_grant){ d->device, d->role,
				d->compartment, d->no_history },
			    r);
			claim_drafted(q, r);
		}
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
	if (share_has_grant(q->s, &row.grant))
		return 0; /* several signed it */
	if ((e = request_room(q, &r)) != ERR_OK)
		return e;
	request_id(key, r->id);
	r->device = row.grant.device;
	memcpy(r->site, row.site, sizeof(r->site));
	(void)snprintf(r->what, sizeof(r->what), "claim");
	request_grant(q->s->m, &row.grant, r);
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
approve_check(const struct requests *q, const struct share_slot *slot)
{
	const struct member_grant *g = &q->row.grant;
	const struct member *m = slot->wrk->m;

	if (member_grant_widens(m, g))
		return errmsg_set(q->em, ERR_DENIED,
		    "open it with `pesscara share grant SHARE KEY --role ROLE "
		    "--history all`, or let the claim go with --reject",
		    "the device holds this with history none; the claim's "
		    "invite says all");
	return share_hub_check(m, g, q->em);
}

/* Where several sign, a draft is made that another may overtake: the claim
 * waits on until its grant stands. */
static enum err
approve_one(struct store_txn *t, struct requests *q, struct share_slot *slot)
{
	const struct member_grant *g = &q->row.grant;
	bool has = share_has_grant(slot->wrk, g);
	enum err e = ERR_OK;

	if (q->grant && !has) {
		if ((e = approve_check(q, slot)) == ERR_OK)
			e = share_claim_grant(
			    t, q->sh, slot, g, q->row.site, q->em);
		if (e != ERR_OK || slot->wrk->draft.n > 0)
			return e;
	}
	e = share_invite_spend(t, buf_slice(&q->key), &g->device.sign);
	return e == ERR_OK
		   ? store_row_del(t, SHARE_TAG_REQUEST, buf_slice(&q->key))
		   : e;
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
