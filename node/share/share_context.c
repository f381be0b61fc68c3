/* node/share/share_context.c: groups, types of fields, and what is permitted.
 *
 * These are said of an asset that the act makes if it is not there: the group
 * of that name, the context of that level.  Which series an exam is expected
 * to have, and whom to ask at a site, is said of the context of exams. */
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

/* What only those who run the share may say. */
static enum err
context_say(struct share_act *act)
{
	enum err e = store_write(act->sh->store, share_act_job, act);

	if (e == ERR_DENIED)
		return errmsg_set(act->em, e,
		    "it takes a registrar or admin of the share whose site "
		    "may write into the compartment",
		    "this site may not say what is permitted here");
	if (e != ERR_OK)
		return errmsg_set(act->em, e, "use short plain texts",
		    "nothing was changed: %s", err_text(e));
	return ERR_OK;
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
			? context_say(act)
			: errmsg_set(em, ERR_LIMIT,
			      "use short plain names, at most 64",
			      "these are too many or too long");
	}
	buf_fini(&value);
	share_act_free(act);
	return e;
}

/* --- what exams are expected to have --- */

static enum err
query_check(const char *what, const char *text, struct errmsg *em)
{
	struct cat_query *q = NULL;
	struct errmsg why = { 0 };
	enum err e = cat_query_parse(slice_str(text), &q, &why);

	cat_query_free(q);
	if (e == ERR_OK)
		return ERR_OK;
	return errmsg_set(em, e, why.next, "%s: %s", what, why.cause);
}

static enum err
expect_check(const char *name, const struct cat_expect *x, struct errmsg *em)
{
	enum err e;

	if (!cat_edit_name_ok(CAT_EXPECT, slice_str(name)))
		return errmsg_set(em, ERR_MALFORMED,
		    "use letters, digits, _ and -, a letter first, at most 64",
		    "this is not a name for a rule");
	if (x == NULL)
		return ERR_OK;
	if (x->where[0] == '\0')
		return errmsg_set(em, ERR_MALFORMED,
		    "say which series count, as SeriesDescription~\"t1\"",
		    "a rule needs a query");
	if (x->series == 0 || x->series > CAT_EXPECT_SERIES ||
	    x->images > CAT_EXPECT_IMAGES)
		return errmsg_set(em, ERR_LIMIT,
		    "1 to 1,000 series, at most 1,000,000 images each",
		    "so many series or images cannot be expected");
	e = query_check("the series' query", x->where, em);
	if (e == ERR_OK && x->exams[0] != '\0')
		e = query_check("the exams' query", x->exams, em);
	return e;
}

/* Is there room for one more rule; is there one of this name? */
static enum err
expect_look(struct shares *sh, const struct share_where *w, const char *name,
    bool *there, uint32_t *n)
{
	struct cat_expects *x = NULL;
	struct db_txn *t = NULL;
	enum err e = store_read(sh->store, &t);

	if (e == ERR_OK)
		e = cat_expects_load(t, &w->share, w->compartment, &x);
	db_abort(t);
	if (e != ERR_OK)
		return e;
	*n = cat_expects_count(x);
	*there = false;
	for (uint32_t i = 0; i < *n; i++)
		*there |= strcmp(cat_expects_rule(x, i)->name, name) == 0;
	cat_expects_free(x);
	return ERR_OK;
}

static enum err
expect_room(struct shares *sh, const struct share_where *w, const char *name,
    bool remove, struct errmsg *em)
{
	bool there = false;
	uint32_t n = 0;
	enum err e = expect_look(sh, w, name, &there, &n);

	if (e != ERR_OK)
		return errmsg_set(em, e, "run `pesscara verify`",
		    "the rules cannot be read: %s", err_text(e));
	if (remove && !there)
		return errmsg_set(em, ERR_NOTFOUND,
		    "see `pesscara expect list SHARE`",
		    "there is no rule of this name");
	if (!remove && !there && n >= CAT_EXPECT_RULES)
		return errmsg_set(em, ERR_LIMIT, "remove one first",
		    "a compartment has at most %u rules", CAT_EXPECT_RULES);
	return ERR_OK;
}

static enum err
exams_say(struct shares *sh, const struct share_by *by,
    const struct share_where *w, const struct cat_edit *what, struct errmsg *em)
{
	struct cat_edit *x = NULL;
	struct share_act *act = NULL;
	enum err e = context_at(sh, by, w, em, &act);

	if (e == ERR_OK)
		e = context_of(act, "exam");
	if (e == ERR_OK)
		e = share_act_add(act, what->kind, &x);
	if (e == ERR_OK) {
		x->name = what->name;
		x->value = what->value;
		e = context_say(act);
	}
	share_act_free(act);
	return e;
}

enum err
shares_edit_expect(struct shares *sh, const struct share_by *by,
    const struct share_where *w, const char *name, const struct cat_expect *x,
    struct errmsg *em)
{
	struct buf value = BUF_MAX(CAT_EDIT_VALUE_MAX);
	struct cat_edit what = { .kind = CAT_EXPECT, .name = slice_str(name) };
	enum err e = expect_check(name, x, em);

	if (e == ERR_OK)
		e = expect_room(sh, w, name, x == NULL, em);
	if (e == ERR_OK && x != NULL) {
		cat_expect_encode(x, &value);
		if (buf_err(&value) != ERR_OK)
			e = errmsg_set(em, ERR_LIMIT, "make it shorter",
			    "the rule is too long");
		what.value = buf_slice(&value);
	}
	if (e == ERR_OK)
		e = exams_say(sh, by, w, &what, em);
	buf_fini(&value);
	return e;
}

enum err
shares_edit_contact(struct shares *sh, const struct share_by *by,
    const struct share_where *w, const char *site, const char *text,
    struct errmsg *em)
{
	struct buf value = BUF_MAX(CAT_EDIT_VALUE_MAX);
	struct cat_edit what = { .kind = CAT_CONTACT, .name = slice_str(site) };
	enum err e = ERR_OK;

	if (!cat_edit_name_ok(CAT_CONTACT, what.name))
		return errmsg_set(em, ERR_MALFORMED,
		    "see `pesscara share members SHARE`",
		    "this is not the name of a site");
	if (strlen(text) > CAT_CONTACT_MAX)
		return errmsg_set(em, ERR_LIMIT, "make it shorter",
		    "a contact has at most %u bytes", CAT_CONTACT_MAX);
	if (text[0] != '\0') {
		mp_w_cstr(&value, text);
		what.value = buf_slice(&value);
		e = buf_err(&value);
	}
	if (e == ERR_OK)
		e = exams_say(sh, by, w, &what, em);
	buf_fini(&value);
	return e;
}
