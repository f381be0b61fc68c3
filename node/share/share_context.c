/* node/share/share_context.c: groups, types of fields, and what is permitted.
 *
 * These are said of an asset that the act makes if it is not there: the group
 * of that name, the context of that level. */
#include "node/share/share_internal.h"

static enum err
context_at(struct shares *sh, const struct share_by *by,
    const struct share_where *w, struct errmsg *em, struct share_act **out)
{
	enum err e = share_act_new(sh, by, em, out);

	if (e != ERR_OK)
		return e;
	(*out)->a.share_no = w->share_no;
	(*out)->a.share = w->share;
	(*out)->a.compartment = w->compartment;
	return ERR_OK;
}

static enum err
context_name(struct share_act *act, const char *level, const char *key)
{
	size_t n = strlen(key);

	if (n == 0 || n > CAT_KEY_MAX)
		return errmsg_set(act->em, ERR_MALFORMED, "use a short name",
		    "a name has 1 to %u bytes", CAT_KEY_MAX);
	(void)snprintf(act->a.level, sizeof(act->a.level), "%s", level);
	memcpy(act->a.key, key, n + 1);
	return ERR_OK;
}

static enum err
group_permit(struct share_act *act)
{
	struct cat_place place = share_act_place(act);
	struct db_txn *t = NULL;
	enum err e = store_read(act->sh->store, &t);

	if (e == ERR_OK)
		e = shares_permit(t, &place, "group", act->em);
	db_abort(t);
	return e;
}

enum err
/* NOLINTNEXTLINE(readability-function-size): one act, its parts */
shares_edit_group(struct shares *sh, const struct share_by *by,
    const struct share_where *w, const char *name, struct asset_id *out,
    struct errmsg *em)
{
	struct buf value = BUF_MAX(256);
	struct cat_edit *x = NULL;
	struct share_act *act = NULL;
	enum err e = context_at(sh, by, w, em, &act);

	if (e == ERR_OK)
		e = context_name(act, CAT_LEVEL_GROUP, name);
	if (e == ERR_OK)
		e = group_permit(act);
	if (e == ERR_OK)
		e = share_act_add(act, CAT_FIELD_SET, &x);
	if (e == ERR_OK) {
		mp_w_cstr(&value, name);
		x->name = SLICE_LIT("title");
		x->type = CAT_TYPE_TEXT;
		x->value = buf_slice(&value);
		e = share_act_run(act);
	}
	if (e == ERR_OK)
		*out = act->out;
	buf_fini(&value);
	share_act_free(act);
	return e;
}

static enum err
context_of(struct share_act *act, const char *level)
{
	enum err e = context_name(act, CAT_LEVEL_CONTEXT,
	    strcmp(level, "study") == 0 ? "project" : level);

	if (e == ERR_OK && strlen(act->a.key) > CAT_LEVEL_MAX)
		e = errmsg_set(act->em, ERR_MALFORMED,
		    "for example series, exam, nifti",
		    "a level has at most %u letters", CAT_LEVEL_MAX);
	return e;
}

enum err
/* NOLINTNEXTLINE(readability-function-size): one act, its parts */
shares_edit_type(struct shares *sh, const struct share_by *by,
    const struct share_where *w, const char *level, struct slice field,
    enum cat_type type, struct errmsg *em)
{
	struct cat_edit *x = NULL;
	struct share_act *act = NULL;
	enum err e = context_at(sh, by, w, em, &act);

	if (e == ERR_OK)
		e = context_of(act, level);
	if (e == ERR_OK && !cat_edit_name_ok(CAT_FIELD_TYPE, field))
		e = share_act_name_bad(act, "field", field,
		    "letters, digits, _ and -; not level, id, tags and the "
		    "other words of find");
	if (e == ERR_OK)
		e = share_act_add(act, CAT_FIELD_TYPE, &x);
	if (e == ERR_OK) {
		x->name = field;
		x->type = type;
		e = share_act_run(act);
	}
	share_act_free(act);
	return e;
}

enum err
shares_edit_permit(struct shares *sh, const struct share_by *by,
    const struct share_where *w, const struct share_permit *p,
    struct errmsg *em)
{
	struct buf value = BUF_MAX(CAT_EDIT_VALUE_MAX);
	struct cat_edit *x = NULL;
	struct share_act *act = NULL;
	uint32_t i;
	enum err e = context_at(sh, by, w, em, &act);

	if (e == ERR_OK)
		e = context_of(act, p->level);
	if (e == ERR_OK)
		e = share_act_add(act, CAT_CONTEXT, &x);
	if (e == ERR_OK) {
		if (!p->all)
			mp_w_array(&value, p->n);
		for (i = 0; !p->all && i < p->n; i++)
			mp_w_str(&value, p->names[i]);
		x->name = slice_str(p->what);
		x->value = buf_slice(&value);
		e = buf_err(&value) == ERR_OK
			? store_write(sh->store, share_act_job, act)
			: ERR_LIMIT;
	}
	if (e == ERR_DENIED)
		e = errmsg_set(em, e,
		    "it takes a registrar or admin of the share whose site "
		    "may write into the compartment",
		    "this site may not say what is permitted here");
	else if (e != ERR_OK && (em == NULL || em->code == ERR_OK))
		e = errmsg_set(em, e, "use short plain names, at most 64",
		    "nothing was changed: %s", err_text(e));
	buf_fini(&value);
	share_act_free(act);
	return e;
}
