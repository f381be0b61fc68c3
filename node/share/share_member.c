/* node/share/share_member.c: acts of a registrar, and records from peers.
 *
 * Every record takes the same way: it is applied to the working state (which
 * checks it), put into the log, and the keys it brings us are kept, all in
 * one job. */
#include "node/share/share_internal.h"

static enum err
refuse(struct errmsg *em, enum err e, const char *what)
{
	if (e == ERR_OK)
		return e;
	if (em != NULL && em->code == e && em->cause[0] != '\0')
		return e; /* said already, closer to the cause */
	return errmsg_set(em, e, e == ERR_FULL ? "free some disk space" : "",
	    "%s: %s", what, err_text(e));
}

enum err
share_name_check(const char *what, const char *name, struct errmsg *em)
{
	size_t i, n = name == NULL ? 0 : strlen(name);

	if (n == 0 || n > LIM_NAME_BYTES)
		return errmsg_set(em, ERR_LIMIT, "choose another name",
		    "the name of a %s has 1 to %u bytes", what, LIM_NAME_BYTES);
	for (i = 0; i < n; i++) {
		if ((unsigned char)name[i] <= ' ' || name[i] == 0x7f ||
		    strchr("*/,\"\\", name[i]) != NULL)
			return errmsg_set(em, ERR_MALFORMED,
			    "use letters, digits, '-' and '_'; give each "
			    "compartment its own --compartment",
			    "the name of a %s has no spaces, commas, quotes, "
			    "'*' or '/'",
			    what);
	}
	return ERR_OK;
}

enum err
share_record_put(struct store_txn *t, struct shares *sh,
    struct share_slot *slot, struct slice record)
{
	uint64_t feeds = member_feeds_gen(slot->wrk->m);
	struct cry_sign_pk device;
	enum err e =
	    slot->wrk->halted ? ERR_DENIED : member_apply(slot->wrk->m, record);

	if (e == ERR_OK && member_feeds_gen(slot->wrk->m) != feeds) {
		/* Of a thaw there is nothing to make anew. */
		if (member_record_device(record, &device) == ERR_OK)
			e = share_aside_mark(t, sh, slot, &device);
	}
	if (e == ERR_OK)
		e = oplog_member_put(
		    t, slot->no, member_seq(slot->wrk->m), record);
	if (e == ERR_OK)
		e = share_keys_keep(t, sh, &slot->id, slot->wrk);
	if (e == ERR_OK) /* whose number this record took */
		e = share_drafts_sweep(t, sh, &slot->id, slot->wrk->m);
	sh->touched = true;
	sh->touched_members = true;
	return e;
}

/* --- create --- */

struct create {
	struct shares *sh;
	const char *name;
	const char *const *compartments;
	uint32_t n;
	bool allow_identified;
};

static enum err
create_compartments(
    struct store_txn *t, struct create *c, struct share_slot *slot)
{
	struct buf rec = BUF_MAX(LIM_MEMBER_RECORD_BYTES);
	enum err e = ERR_OK;
	uint32_t i;

	for (i = 0; e == ERR_OK && i < c->n; i++) {
		buf_reset(&rec);
		e = member_build_compartment(slot->wrk->m, c->sh->me,
		    &slot->wrk->keys, c->compartments[i], &rec);
		if (e == ERR_OK)
			e = share_record_put(t, c->sh, slot, buf_slice(&rec));
	}
	buf_fini(&rec);
	return e;
}

static enum err
create_job(struct store_txn *t, void *ctx)
{
	struct create *c = ctx;
	struct buf rec = BUF_MAX(LIM_MEMBER_RECORD_BYTES);
	struct share_slot *slot = NULL;
	struct member *m = NULL;
	struct share_id id;
	struct cry_id cid;
	uint32_t no;
	enum err e;

	e = member_build_genesis(
	    c->sh->me, c->name, c->sh->site, c->allow_identified, &rec);
	if (e == ERR_OK)
		e = member_new(buf_slice(&rec), &m);
	if (e != ERR_OK)
		goto out;
	id = *member_share(m);
	cid = share_cry_id(&id);
	if ((e = oplog_share_add(t, &cid, &no)) != ERR_OK)
		goto out;
	if ((e = oplog_member_put(t, no, 0, buf_slice(&rec))) != ERR_OK)
		goto out;
	if ((e = share_work(t, c->sh, &id, &slot)) != ERR_OK)
		goto out;
	if ((e = share_keys_keep(t, c->sh, &id, slot->wrk)) != ERR_OK)
		goto out;
	c->sh->touched = true;
	c->sh->touched_members = true;
	e = create_compartments(t, c, slot);
out:
	member_free(m);
	buf_fini(&rec);
	return e;
}

enum err
shares_create(struct shares *sh, const char *name,
    const char *const *compartments, uint32_t n, bool allow_identified,
    struct errmsg *em)
{
	struct create c = { sh, name, compartments, n, allow_identified };
	struct share_slot *slot;
	enum err e;
	uint32_t i, k;

	if ((e = share_name_check("share", name, em)) != ERR_OK)
		return e;
	if (n == 0 || n > LIM_COMPARTMENTS)
		return errmsg_set(em, ERR_LIMIT, "name at least one",
		    "a share has 1 to %u compartments", LIM_COMPARTMENTS);
	for (i = 0; i < n; i++) {
		e = share_name_check("compartment", compartments[i], em);
		if (e != ERR_OK)
			return e;
		for (k = 0; k < i; k++) {
			if (strcmp(compartments[i], compartments[k]) == 0)
				return errmsg_set(em, ERR_EXISTS,
				    "name each compartment once",
				    "compartment \"%s\" is given twice",
				    compartments[i]);
		}
	}
	pthread_mutex_lock(&sh->lock);
	e = share_slot_named(sh, name, &slot, NULL);
	pthread_mutex_unlock(&sh->lock);
	if (e != ERR_NOTFOUND)
		return errmsg_set(em, ERR_EXISTS, "choose another name",
		    "there is a share called \"%s\" already", name);
	return refuse(em, store_write(sh->store, create_job, &c),
	    "the share was not created");
}

/* --- grant --- */

enum err
share_grant_compartment(const struct share_state *s, enum role role,
    const char *name, uint16_t *no, struct errmsg *em)
{
	char text[LIM_NAME_BYTES + 1];
	uint32_t i;

	if (role == ROLE_REGISTRAR)
		return errmsg_set(em, ERR_UNSUPPORTED,
		    "grant it another role, then name all registrars with "
		    "`pesscara share registrars`",
		    "a grant makes no registrar");
	if (role == ROLE_HUB || role == ROLE_ADMIN) {
		if (name != NULL && strcmp(name, "*") != 0)
			return errmsg_set(em, ERR_MALFORMED,
			    "leave out --compartment",
			    "the role %s is for all compartments",
			    role_text(role));
		*no = COMPARTMENT_ALL;
		return ERR_OK;
	}
	if (name == NULL)
		return errmsg_set(em, ERR_MALFORMED, "add --compartment NAME",
		    "the role %s is for one compartment", role_text(role));
	for (i = 0; i < member_n_compartments(s->m); i++) {
		*no = member_compartment(s->m, i);
		share_compartment_text(s, *no, text);
		if (strcmp(text, name) == 0)
			return ERR_OK;
	}
	return errmsg_set(em, ERR_NOTFOUND, "see `pesscara share show`",
	    "the share has no compartment \"%s\"", name);
}

bool
share_has_grant(const struct share_state *s, const struct member_grant *g)
{
	const struct member_grant *have;
	uint32_t i;

	for (i = 0; i < member_n_grants(s->m); i++) {
		have = member_grant(s->m, i);
		if (have->role == g->role &&
		    have->compartment == g->compartment &&
		    memcmp(&have->device, &g->device, sizeof(g->device)) == 0 &&
		    (g->no_history || !have->no_history))
			return true;
	}
	return false;
}

enum err
share_hub_check(
    const struct member *m, const struct member_grant *g, struct errmsg *em)
{
	if (member_hub_alone(m, &g->device.sign, g->role))
		return ERR_OK;
	return errmsg_set(em, ERR_DENIED,
	    "use another home (pesscara init) for the hub",
	    g->role == ROLE_HUB
		? "the device has a role already, and a hub has no other"
		: "the device is a hub, which has no other role: it gets no "
		  "key");
}

struct grant {
	struct shares *sh;
	struct share_id id;
	struct member_grant g;
	const char *compartment;
	struct errmsg *em;
};

static enum err
grant_job(struct store_txn *t, void *ctx)
{
	struct grant *g = ctx;
	char site[LIM_NAME_BYTES + 1];
	struct buf rec = BUF_MAX(LIM_MEMBER_RECORD_BYTES);
	struct share_slot *slot;
	enum err e;

	if ((e = share_work(t, g->sh, &g->id, &slot)) != ERR_OK)
		return e;
	if (!member_is_registrar(slot->wrk->m, &g->sh->me->pub.sign))
		return errmsg_set(g->em, ERR_DENIED, "ask the registrar",
		    "this site is no registrar of the share");
	e = share_grant_compartment(
	    slot->wrk, g->g.role, g->compartment, &g->g.compartment, g->em);
	if (e != ERR_OK)
		return e;
	if (share_has_grant(slot->wrk, &g->g))
		return errmsg_set(g->em, ERR_EXISTS,
		    "see `pesscara share members`",
		    "the device has this grant already");
	if (member_is_revoked(slot->wrk->m, &g->g.device.sign))
		return errmsg_set(g->em, ERR_DENIED,
		    "have it make new keys (pesscara init) and grant those",
		    "the device was revoked, which is for good");
	if ((e = share_hub_check(slot->wrk->m, &g->g, g->em)) != ERR_OK)
		return e;
	/* A site's own name comes with a claim; a grant by key has none. */
	share_id_name("site",
	    slice_of(g->g.device.site.b, sizeof(g->g.device.site.b)), site);
	e = member_build_grant(
	    slot->wrk->m, g->sh->me, &slot->wrk->keys, &g->g, site, &rec);
	if (e == ERR_OK)
		e = share_record_own(t, g->sh, slot, buf_slice(&rec), g->em);
	buf_fini(&rec);
	return e;
}

enum err
shares_grant(struct shares *sh, const char *share,
    const struct cry_device_pub *device, enum role role,
    const char *compartment, struct errmsg *em)
{
	struct share_grant_opts o = { *device, role, compartment, false };

	return shares_grant_with(sh, share, &o, em);
}

enum err
shares_grant_with(struct shares *sh, const char *share,
    const struct share_grant_opts *o, struct errmsg *em)
{
	struct grant g = { .sh = sh, .compartment = o->compartment, .em = em };
	struct share_slot *slot;
	enum err e;

	pthread_mutex_lock(&sh->lock);
	e = share_slot_named(sh, share, &slot, em);
	if (e == ERR_OK)
		g.id = slot->id;
	pthread_mutex_unlock(&sh->lock);
	if (e != ERR_OK)
		return e;
	g.g.device = o->device;
	g.g.role = o->role;
	g.g.no_history = o->no_history;
	return refuse(em, store_write(sh->store, grant_job, &g),
	    "the grant was not written");
}

/* --- revoke, rotate --- */

struct revoke {
	struct shares *sh;
	struct share_id id;
	struct cry_device_pub device;
	const char *reason;
	const char *compartment; /* rotate; NULL: all */
	struct share_slot *slot;
	struct member_cut *cuts;
	uint32_t n, cap;
	enum err e;
	struct errmsg *em;
};

static int
cut_note(void *ctx, const struct oplog_feed *f, const struct oplog_head *head)
{
	struct revoke *v = ctx;
	struct member_cut *c;

	if (head == NULL || f->share != v->slot->no ||
	    memcmp(f->device, v->device.sign.b, sizeof(f->device)) != 0)
		return 0;
	if (v->n == v->cap) {
		c = mem_grow(v->cuts, (size_t)v->cap + 64, sizeof(*c));
		if (c == NULL)
			return ERR_NOMEM;
		v->cuts = c;
		v->cap += 64;
	}
	c = &v->cuts[v->n++];
	c->feed.share = v->slot->id;
	c->feed.compartment = f->compartment;
	c->feed.device = v->device.sign;
	c->feed.incarnation = f->incarnation;
	return op_head_decode(
	    slice_of(head->bytes, sizeof(head->bytes)), &c->head);
}

static enum err
rotate_one(struct store_txn *t, struct revoke *v, uint16_t no)
{
	struct buf rec = BUF_MAX(LIM_MEMBER_RECORD_BYTES);
	enum err e = member_build_rotate(
	    v->slot->wrk->m, v->sh->me, &v->slot->wrk->keys, no, &rec);

	if (e == ERR_OK)
		e = share_record_own(t, v->sh, v->slot, buf_slice(&rec), v->em);
	buf_fini(&rec);
	return e;
}

/* More feeds than one record holds: the others are adopted at once. */
static enum err
cuts_records(struct store_txn *t, struct revoke *v, enum member_kind first)
{
	struct member_revoke r = { .device = v->device, .reason = v->reason };
	struct buf rec = BUF_MAX(LIM_MEMBER_RECORD_BYTES);
	bool adopt = first == MEMBER_ADOPT;
	uint32_t at = 0;
	enum err e;

	do {
		r.cuts = v->cuts + at;
		r.n_cuts =
		    v->n - at < MEMBER_CUTS_MAX ? v->n - at : MEMBER_CUTS_MAX;
		buf_reset(&rec);
		e = at == 0 && !adopt
			? member_build_revoke(v->slot->wrk->m, v->sh->me,
			      &v->slot->wrk->keys, &r, &rec)
			: member_build_adopt(v->slot->wrk->m, v->sh->me,
			      &v->slot->wrk->keys, &r, &rec);
		if (e == ERR_OK)
			e = share_record_own(
			    t, v->sh, v->slot, buf_slice(&rec), v->em);
		at += r.n_cuts;
	} while (e == ERR_OK && at < v->n);
	buf_fini(&rec);
	return e;
}

/* Only feeds of which we hold more than counts. */
static int
cut_beyond(void *ctx, const struct oplog_feed *f, const struct oplog_head *head)
{
	struct op_feed feed = { .compartment = f->compartment,
		.incarnation = f->incarnation };
	struct revoke *v = ctx;
	struct op_head cut;

	feed.share = v->slot->id;
	feed.device = v->device.sign;
	if (head == NULL ||
	    member_feed(v->slot->wrk->m, &feed, &cut) != MEMBER_FEED_CUT ||
	    cut.seq >= head->seq)
		return 0;
	return cut_note(ctx, f, head);
}

static enum err
registrar_check(const struct revoke *v)
{
	if (member_is_registrar(v->slot->wrk->m, &v->sh->me->pub.sign))
		return ERR_OK;
	return errmsg_set(v->em, ERR_DENIED, "ask a registrar",
	    "this site is no registrar of the share");
}

/* Has it a grant, whose keys it was given?  Frozen or not: who is frozen has no
 * right, but its keys.  0: any compartment; a hub has no keys. */
static bool
device_given(
    const struct member *m, const struct cry_device_pub *d, uint16_t no)
{
	for (uint32_t i = 0; i < member_n_grants(m); i++) {
		const struct member_grant *g = member_grant(m, i);

		if (memcmp(&g->device, d, sizeof(*d)) != 0)
			continue;
		if (no == 0 || (g->role != ROLE_HUB &&
				   (g->compartment == COMPARTMENT_ALL ||
				       g->compartment == no)))
			return true;
	}
	return false;
}

static enum err
revoke_check(const struct revoke *v)
{
	const struct member *m = v->slot->wrk->m;
	enum err e = registrar_check(v);

	if (e == ERR_OK && member_is_registrar(m, &v->device.sign))
		return errmsg_set(v->em, ERR_DENIED,
		    "take it out of the registrars first",
		    "a registrar cannot be revoked");
	if (e == ERR_OK && !device_given(m, &v->device, 0))
		return errmsg_set(v->em, ERR_NOTFOUND,
		    "see `pesscara share members`",
		    "no such device is a member of the share");
	return e;
}

static enum err
revoke_job(struct store_txn *t, void *ctx)
{
	struct revoke *v = ctx;
	bool read[LIM_COMPARTMENTS + 1] = { false };
	struct member *m;
	enum err e = share_work(t, v->sh, &v->id, &v->slot);

	v->n = 0;
	if (e == ERR_OK)
		e = revoke_check(v);
	if (e == ERR_OK)
		e = oplog_feeds_each(store_txn_db(t), cut_note, v);
	if (e != ERR_OK)
		return e;
	m = v->slot->wrk->m;
	for (uint32_t i = 1; i <= member_n_compartments(m); i++)
		read[i] = device_given(m, &v->device, (uint16_t)i);
	e = cuts_records(t, v, MEMBER_REVOKE);
	for (uint32_t i = 1; e == ERR_OK && i <= LIM_COMPARTMENTS; i++) {
		if (read[i])
			e = rotate_one(t, v, (uint16_t)i);
	}
	return e;
}

static enum err
reason_check(const char *reason, struct errmsg *em)
{
	if (reason == NULL || strlen(reason) <= LIM_NAME_BYTES)
		return ERR_OK;
	return errmsg_set(em, ERR_LIMIT, "say it shorter",
	    "a reason has at most %u bytes", LIM_NAME_BYTES);
}

static enum err
act_find(struct revoke *v, const char *share)
{
	struct share_slot *slot;
	enum err e;

	pthread_mutex_lock(&v->sh->lock);
	e = share_slot_named(v->sh, share, &slot, v->em);
	if (e == ERR_OK)
		v->id = slot->id;
	pthread_mutex_unlock(&v->sh->lock);
	return e;
}

enum err
shares_revoke(struct shares *sh, const char *share,
    const struct cry_device_pub *device, const char *reason, struct errmsg *em)
{
	struct revoke v = {
		.sh = sh, .device = *device, .reason = reason, .em = em
	};
	enum err e = reason_check(reason, em);

	if (e == ERR_OK)
		e = act_find(&v, share);
	if (e != ERR_OK)
		return e;
	e = refuse(em, store_write(sh->store, revoke_job, &v),
	    "the device was not revoked");
	mem_free(v.cuts);
	if (e == ERR_OK)
		e = refuse(em, shares_settle(sh, NULL, NULL),
		    "it is revoked; its ops are set aside at the next start");
	return e;
}

static enum err
adopt_job(struct store_txn *t, void *ctx)
{
	struct revoke *v = ctx;
	enum err e = share_work(t, v->sh, &v->id, &v->slot);

	v->n = 0;
	if (e == ERR_OK)
		e = registrar_check(v);
	if (e == ERR_OK && !member_is_revoked(v->slot->wrk->m, &v->device.sign))
		return errmsg_set(v->em, ERR_NOTFOUND,
		    "what others write counts by itself",
		    "no such device was revoked");
	if (e == ERR_OK)
		e = oplog_feeds_each(store_txn_db(t), cut_beyond, v);
	if (e == ERR_OK && v->n == 0)
		return errmsg_set(v->em, ERR_NOTFOUND,
		    "adopt at a registrar's node that has what is missing",
		    "this node holds nothing of the device beyond what counts");
	return e == ERR_OK ? cuts_records(t, v, MEMBER_ADOPT) : e;
}

enum err
shares_adopt(struct shares *sh, const char *share,
    const struct cry_device_pub *device, const char *reason, struct errmsg *em)
{
	struct revoke v = {
		.sh = sh, .device = *device, .reason = reason, .em = em
	};
	enum err e = reason_check(reason, em);

	if (e == ERR_OK)
		e = act_find(&v, share);
	if (e != ERR_OK)
		return e;
	e = refuse(
	    em, store_write(sh->store, adopt_job, &v), "nothing was adopted");
	mem_free(v.cuts);
	if (e == ERR_OK)
		e = refuse(em, shares_settle(sh, NULL, NULL),
		    "it is adopted; its ops are shown at the next start");
	return e;
}

static enum err
rotate_job(struct store_txn *t, void *ctx)
{
	struct revoke *v = ctx;
	char text[LIM_NAME_BYTES + 1];
	enum err e = share_work(t, v->sh, &v->id, &v->slot);

	v->n = 0;
	if (e == ERR_OK)
		e = registrar_check(v);
	if (e != ERR_OK)
		return e;
	for (uint32_t i = 1;
	     e == ERR_OK && i <= member_n_compartments(v->slot->wrk->m); i++) {
		share_compartment_text(v->slot->wrk, (uint16_t)i, text);
		if (v->compartment != NULL && strcmp(v->compartment, text) != 0)
			continue;
		e = rotate_one(t, v, (uint16_t)i);
		v->n++;
	}
	if (e == ERR_OK && v->n == 0)
		return errmsg_set(v->em, ERR_NOTFOUND,
		    "see `pesscara share show`",
		    "the share has no such compartment");
	return e;
}

enum err
shares_rotate(struct shares *sh, const char *share, const char *compartment,
    struct errmsg *em)
{
	struct revoke v = { .sh = sh, .compartment = compartment, .em = em };
	enum err e = act_find(&v, share);

	return e != ERR_OK ? e
			   : refuse(em, store_write(sh->store, rotate_job, &v),
				 "no new keys were made");
}

/* --- registrars --- */

struct registrars {
	struct shares *sh;
	struct share_id id;
	struct member_registrars to;
	struct errmsg *em;
};

static enum err
registrars_job(struct store_txn *t, void *ctx)
{
	struct registrars *g = ctx;
	struct buf rec = BUF_MAX(LIM_MEMBER_RECORD_BYTES);
	struct share_slot *slot;
	enum err e = share_work(t, g->sh, &g->id, &slot);

	if (e != ERR_OK)
		return e;
	if (!member_is_registrar(slot->wrk->m, &g->sh->me->pub.sign))
		return errmsg_set(g->em, ERR_DENIED, "ask a registrar",
		    "this site is no registrar of the share");
	e = member_build_registrars(
	    slot->wrk->m, g->sh->me, &slot->wrk->keys, &g->to, &rec);
	if (e == ERR_NOTFOUND)
		e = errmsg_set(g->em, e,
		    "grant each a right first, e.g. reader; a hub cannot be "
		    "a registrar",
		    "a registrar must be a member of the share");
	else if (e == ERR_MALFORMED)
		e = errmsg_set(g->em, e,
		    "for 2 registrars use --sign 2, for 3 use --sign 2",
		    "more than half of the registrars must sign, and each is "
		    "named once");
	if (e == ERR_OK)
		e = share_record_own(t, g->sh, slot, buf_slice(&rec), g->em);
	buf_fini(&rec);
	return e;
}

enum err
shares_registrars(struct shares *sh, const char *share,
    const struct member_registrars *to, struct errmsg *em)
{
	struct registrars g = { .sh = sh, .to = *to, .em = em };
	struct share_slot *slot;
	enum err e;

	pthread_mutex_lock(&sh->lock);
	e = share_slot_named(sh, share, &slot, em);
	if (e == ERR_OK)
		g.id = slot->id;
	pthread_mutex_unlock(&sh->lock);
	return e != ERR_OK
		   ? e
		   : refuse(em, store_write(sh->store, registrars_job, &g),
			 "the registrars are as they were");
}
