/* node/share/share_subscribe.c: which content is kept here: a row a
 * compartment, and wants that follow it. */
#include "node/share/share_internal.h"

struct subscribe {
	struct shares *sh;
	struct share_id id;
	const char *compartment;
	enum share_content content;
	const char *where; /* "": all of it */
	uint32_t done;
};

static bool
keeps_all(enum share_content c)
{
	return c == SHARE_ALL || c == SHARE_PIN;
}

static enum err
subscribe_one(struct store_txn *t, struct subscribe *s,
    const struct share_slot *slot, uint16_t no)
{
	bool all = keeps_all(s->content) && s->where[0] == '\0';
	struct buf key, val = BUF_MAX(SHARE_SUB_MAX);
	enum err e;

	share_row_key(&key, &slot->id);
	buf_u8(&key, (uint8_t)(no >> 8));
	buf_u8(&key, (uint8_t)(no & 0xff));
	buf_u8(&val, (uint8_t)s->content);
	buf_put(&val, s->where, strlen(s->where));
	e = buf_err(&key) != ERR_OK ? buf_err(&key) : buf_err(&val);
	if (e == ERR_OK)
		e = store_row_put(
		    t, SHARE_TAG_SUB, buf_slice(&key), buf_slice(&val));
	if (e == ERR_OK)
		e = all ? oplog_want_all(t, slot->no, no)
			: oplog_want_none(t, slot->no, no);
	s->sh->touched_drops |= !all;
	buf_fini(&key);
	buf_fini(&val);
	s->done++;
	return e;
}

/* What is pinned may become more, not less. */
static enum err
subscribe_may(struct store_txn *t, struct subscribe *s, uint16_t no)
{
	struct buf where = BUF_MAX(SHARE_SUB_MAX);
	enum share_content was;
	bool narrower;
	enum err e =
	    share_sub_get(s->sh, store_txn_db(t), &s->id, no, &was, &where);

	narrower = !keeps_all(s->content) ||
		   (s->where[0] != '\0' &&
		       !slice_eq(slice_str(s->where), buf_slice(&where)));
	buf_fini(&where);
	return e == ERR_OK && was == SHARE_PIN && narrower ? ERR_DENIED : e;
}

static enum err
subscribe_job(struct store_txn *t, void *ctx)
{
	struct subscribe *s = ctx;
	char text[LIM_NAME_BYTES + 1];
	struct share_slot *slot;
	enum err e;
	uint32_t i;
	uint16_t no;

	s->done = 0;
	if ((e = share_work(t, s->sh, &s->id, &slot)) != ERR_OK)
		return e;
	for (i = 0; i < member_n_compartments(slot->wrk->m); i++) {
		no = member_compartment(slot->wrk->m, i);
		share_compartment_text(slot->wrk, no, text);
		if (s->compartment != NULL && strcmp(s->compartment, text) != 0)
			continue;
		if (!member_may_fetch(slot->wrk->m, &s->sh->me->pub.sign, no))
			continue;
		if ((e = subscribe_may(t, s, no)) != ERR_OK ||
		    (e = subscribe_one(t, s, slot, no)) != ERR_OK)
			return e;
	}
	if (keeps_all(s->content) && s->where[0] == '\0')
		e = share_wants_settle(t, s->sh);
	if (e != ERR_OK)
		return e;
	s->sh->touched = true;
	s->sh->touched_members = true;
	s->sh->touched_wants = true;
	return ERR_OK;
}

enum err
shares_subscribe(struct shares *sh, const char *share, const char *compartment,
    enum share_content content, struct errmsg *em)
{
	return shares_subscribe_where(
	    sh, share, compartment, content, NULL, em);
}

static enum err
where_check(enum share_content content, const char *where, struct errmsg *em)
{
	struct cat_query *q = NULL;
	enum err e;

	if (where == NULL || where[0] == '\0')
		return ERR_OK;
	if (content == SHARE_NONE)
		return errmsg_set(em, ERR_UNSUPPORTED,
		    "Use --content all, lazy or pin with --where.",
		    "a query chooses content that is kept, and none is");
	e = cat_query_parse(slice_str(where), &q, em);
	cat_query_free(q);
	return e;
}

enum err
/* NOLINTNEXTLINE(readability-function-size): one act, six inputs */
shares_subscribe_where(struct shares *sh, const char *share,
    const char *compartment, enum share_content content, const char *where,
    struct errmsg *em)
{
	struct subscribe s = { .sh = sh,
		.compartment = compartment,
		.content = content,
		.where = where == NULL ? "" : where };
	struct share_slot *slot;
	enum err e = where_check(content, where, em);

	if (e != ERR_OK)
		return e;
	pthread_mutex_lock(&sh->lock);
	e = share_slot_named(sh, share, &slot, em);
	if (e == ERR_OK)
		s.id = slot->id;
	pthread_mutex_unlock(&sh->lock);
	if (e != ERR_OK)
		return e;
	e = store_write(sh->store, subscribe_job, &s);
	if (e == ERR_DENIED)
		return errmsg_set(em, e,
		    "run `pesscara subscribe SHARE --content all` first",
		    "the content is pinned");
	if (e == ERR_OK && s.done == 0)
		return errmsg_set(em, ERR_NOTFOUND, "see `pesscara share show`",
		    "this site can read no such compartment");
	if (e != ERR_OK && (em == NULL || em->code != e))
		return errmsg_set(em, e,
		    e == ERR_FULL ? "free some disk space" : "",
		    "the subscription was not kept: %s", err_text(e));
	return e;
}
