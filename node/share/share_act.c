/* node/share/share_act.c: one act on an asset, from start to end.
 *
 * Happy path: read the asset, check what can be checked without writing, then
 * one job appends the edits and the audit row.  Failure: nothing is written
 * and em says why and what to do. */
#include "node/share/share_internal.h"
#include "store/base/enc.h"

enum err
shares_permit(struct db_txn *t, const struct cat_place *p, const char *method,
    struct errmsg *em)
{
	bool ok = false;
	enum err e = cat_permitted(t, p, "methods", slice_str(method), &ok);

	if (e != ERR_OK)
		return errmsg_set(em, e, "run `pesscara verify`",
		    "what is permitted cannot be read: %s", err_text(e));
	if (ok)
		return ERR_OK;
	return errmsg_set(em, ERR_DENIED,
	    "see `pesscara context show SHARE`; a registrar or admin of the "
	    "share may permit it",
	    "\"%s\" is not permitted for level %s in this compartment", method,
	    p->level);
}

enum err
share_act_new(struct shares *sh, const struct share_by *by, struct errmsg *em,
    struct share_act **out)
{
	struct share_act *act = mem_new(sizeof(*act));

	if (act == NULL)
		return errmsg_set(em, ERR_NOMEM, "", "out of memory");
	act->sh = sh;
	act->by = by;
	act->em = em;
	*out = act;
	return ERR_OK;
}

void
share_act_free(struct share_act *act)
{
	if (act == NULL)
		return;
	mem_free(act->e);
	mem_free(act);
}

struct cat_place
share_act_place(const struct share_act *act)
{
	return (struct cat_place){ .share = &act->a.share,
		.compartment = act->a.compartment,
		.level = act->a.level };
}

static enum err
act_reason(struct db_txn *t, const struct share_act *act, const char *method)
{
	struct cat_place place = share_act_place(act);
	bool needed = false;
	enum err e = cat_reason_needed(t, &place, slice_str(method), &needed);

	if (e != ERR_OK || !needed ||
	    (act->by->reason != NULL && act->by->reason[0] != '\0'))
		return e;
	return errmsg_set(act->em, ERR_MALFORMED, "add --reason TEXT",
	    "\"%s\" must say why for level %s in this compartment", method,
	    act->a.level);
}

enum err
share_act_load(
    struct share_act *act, const struct asset_id *id, const char *method)
{
	struct cat_place place;
	struct db_txn *t = NULL;
	enum err e = store_read(act->sh->store, &t);

	if (e == ERR_OK)
		e = cat_asset_get(act->sh->store, t, id, &act->a);
	if (e == ERR_NOTFOUND)
		e = errmsg_set(act->em, e, "find it with: pesscara find QUERY",
		    "no asset has this id");
	if (e == ERR_OK && strcmp(act->a.level, CAT_LEVEL_CONTEXT) == 0)
		e = errmsg_set(act->em, ERR_UNSUPPORTED,
		    "see `pesscara context --help`",
		    "this holds what is said of a level, and is no data");
	if (e == ERR_OK) {
		place = share_act_place(act);
		e = shares_permit(t, &place, method, act->em);
	}
	if (e == ERR_OK)
		e = act_reason(t, act, method);
	db_abort(t);
	return e;
}

enum err
share_act_add(
    struct share_act *act, enum cat_edit_kind kind, struct cat_edit **out)
{
	struct cat_edit *e;

	if (act->n == SHARE_EDITS_MAX)
		return errmsg_set(act->em, ERR_LIMIT, "do it in parts",
		    "more than %u changes at once", SHARE_EDITS_MAX);
	if (act->n == act->cap) {
		e = mem_grow(act->e, act->cap + 16, sizeof(*e));
		if (e == NULL)
			return errmsg_set(
			    act->em, ERR_NOMEM, "", "out of memory");
		act->e = e;
		act->cap += 16;
	}
	e = &act->e[act->n++];
	memset(e, 0, sizeof(*e));
	e->kind = kind;
	e->level = act->a.level;
	e->key = act->a.key;
	e->actor = act->by->actor;
	e->site = act->sh->site;
	e->reason = act->by->reason;
	*out = e;
	return ERR_OK;
}

static enum err
act_audit(
    struct store_txn *t, const struct share_act *act, const struct cat_edit *e)
{
	char id[ASSET_ID_TEXT + 1], object[ASSET_ID_TEXT + 200];

	enc_b32(slice_of(act->out.b, sizeof(act->out.b)), id);
	(void)snprintf(object, sizeof(object), "%s %.*s", id, (int)e->name.n,
	    (const char *)e->name.p);
	return cat_audit_append(
	    t, act->by->actor, cat_edit_text(e->kind), object, act->by->reason);
}

enum err
share_act_job(struct store_txn *t, void *ctx)
{
	struct share_act *act = ctx;
	uint32_t i;
	enum err e = ERR_OK;

	for (i = 0; i < act->n && e == ERR_OK; i++) {
		e = shares_append_edit(t, act->sh, act->a.share_no,
		    act->a.compartment, &act->e[i], &act->out);
		if (e == ERR_OK)
			e = act_audit(t, act, &act->e[i]);
	}
	return e;
}

enum err
share_act_denied(const struct share_act *act)
{
	return errmsg_set(act->em, ERR_DENIED,
	    "a writer of the compartment may, a runner only what was derived; "
	    "ask the registrar for a grant",
	    "this site may not say this of level %s in this compartment",
	    act->a.level);
}

enum err
share_act_run(struct share_act *act)
{
	enum err e = store_write(act->sh->store, share_act_job, act);

	if (e == ERR_OK)
		return e;
	if (e == ERR_DENIED)
		return share_act_denied(act);
	if (e == ERR_MALFORMED || e == ERR_LIMIT)
		return errmsg_set(act->em, e,
		    "use shorter texts, UTF-8 without controls",
		    "a text is too long or has characters that are not taken");
	return errmsg_set(
	    act->em, e, "try again", "nothing was changed: %s", err_text(e));
}

enum err
share_act_name_bad(struct share_act *act, const char *what, struct slice name,
    const char *next)
{
	/* What a person typed may hold anything: it is shown only if plain. */
	return errmsg_set(act->em, ERR_MALFORMED, next,
	    name.n > 0 && name.n < 64 ? "this is not a name for a %s"
				      : "a %s needs a name of 1 to 64 bytes",
	    what);
}
