/* node/share/share_edit.c: fields, tags, links, notes, retired, locks.
 *
 * Each collects its edits in a share_act and runs it; share_act.c has the
 * rules that hold for all. */
#include "node/share/share_internal.h"
#include "store/base/clock.h"

/* --- fields --- */

static enum err
field_type(struct share_act *act, const struct share_field *f,
    enum cat_type asked, enum cat_type *type, bool *declare)
{
	struct cat_place place = share_act_place(act);
	struct db_txn *t = NULL;
	enum cat_type had = CAT_TYPE_NONE, looks;
	uint32_t i;
	enum err e = store_read(act->sh->store, &t);

	if (e == ERR_OK)
		e = cat_field_type(t, &place, f->name, &had);
	db_abort(t);
	if (e != ERR_OK)
		return errmsg_set(act->em, e, "run `pesscara verify`",
		    "the field's type cannot be read: %s", err_text(e));
	if (had != CAT_TYPE_NONE && asked != CAT_TYPE_NONE && had != asked)
		return errmsg_set(act->em, ERR_EXISTS,
		    "declare it anew with `pesscara context type`, or leave "
		    "--type away",
		    "this field is declared as %s at level %s",
		    cat_type_text(had), act->a.level);
	*declare = had == CAT_TYPE_NONE;
	*type = had != CAT_TYPE_NONE ? had : asked;
	if (*type != CAT_TYPE_NONE)
		return ERR_OK;
	*type = cat_type_guess(f->text[0]);
	for (i = 1; i < f->n; i++) {
		looks = cat_type_guess(f->text[i]);
		if (looks != *type)
			*type = CAT_TYPE_TEXT;
	}
	return ERR_OK;
}

/* A type is said of the level, by the first that uses the field. */
static enum err
field_declare(struct share_act *act, struct slice name, enum cat_type type)
{
	struct cat_edit *x = NULL;
	enum err e = share_act_add(act, CAT_FIELD_TYPE, &x);

	if (e != ERR_OK)
		return e;
	x->level = CAT_LEVEL_CONTEXT;
	x->key = act->a.level;
	x->name = name;
	x->type = type;
	return ERR_OK;
}

static enum err
field_one(struct share_act *act, const struct share_field *f,
    enum cat_type asked, struct buf *value)
{
	enum cat_type type = CAT_TYPE_NONE;
	struct cat_edit *x = NULL;
	struct errmsg why = { 0 };
	bool declare = false;
	enum err e;

	if (!cat_edit_name_ok(CAT_FIELD_SET, f->name))
		return share_act_name_bad(act, "field", f->name,
		    "letters, digits, _ and -; not level, id, tags and the "
		    "other words of find");
	if (f->n > SHARE_VALUES_MAX)
		return errmsg_set(act->em, ERR_LIMIT, "use several fields",
		    "a field has at most %u values", SHARE_VALUES_MAX);
	if (f->n > 0) {
		e = field_type(act, f, asked, &type, &declare);
		if (e == ERR_OK && declare)
			e = field_declare(act, f->name, type);
		if (e != ERR_OK)
			return e;
		e = cat_type_value(type, f->text, f->n, value, &why);
		if (e != ERR_OK)
			return errmsg_set(act->em, e, why.next,
			    "%.*s is a %s at level %s: %s", (int)f->name.n,
			    (const char *)f->name.p, cat_type_text(type),
			    act->a.level,
			    e == ERR_LIMIT ? why.cause
					   : "the value given is not one");
	}
	e = share_act_add(act, CAT_FIELD_SET, &x);
	if (e != ERR_OK)
		return e;
	x->name = f->name;
	x->type = type;
	x->value = buf_slice(value);
	return ERR_OK;
}

enum err
/* NOLINTNEXTLINE(readability-function-size): one act, its parts */
shares_edit_fields(struct shares *sh, const struct share_by *by,
    const struct asset_id *id, const struct share_field *f, uint32_t n,
    enum cat_type type, struct errmsg *em)
{
	struct share_act *act = NULL;
	struct buf *value = mem_array((size_t)n + 1, sizeof(*value));
	uint32_t i;
	enum err e;

	if (value == NULL)
		return errmsg_set(em, ERR_NOMEM, "", "out of memory");
	e = share_act_new(sh, by, em, &act);
	if (e == ERR_OK)
		e = share_act_load(act, id, "set");
	for (i = 0; i < n && e == ERR_OK; i++) {
		value[i] = BUF_MAX(64 * KIB);
		e = field_one(act, &f[i], type, &value[i]);
	}
	if (e == ERR_OK)
		e = share_act_run(act);
	for (i = 0; i < n; i++)
		buf_fini(&value[i]);
	mem_free(value);
	share_act_free(act);
	return e;
}

/* --- tags --- */

#define TAG_NAMES_BYTES ((size_t)SHARE_EDITS_MAX * 128) /* longest tags */
struct tags_off {
	struct share_act *act;
	const struct share_tags *tags;
	struct buf names; /* the texts the edits borrow; fixed size */
	enum err e;
};

static bool
tag_named(const struct share_tags *tags, struct slice tag)
{
	uint32_t i;

	for (i = 0; i < tags->n_remove; i++) {
		struct slice r = tags->remove[i];

		if (slice_eq(r, tag) || (tag.n > r.n && tag.p[r.n] == '=' &&
					    memcmp(tag.p, r.p, r.n) == 0))
			return true;
	}
	return false;
}

static int
tag_off(void *ctx, struct slice tag)
{
	struct tags_off *o = ctx;
	struct cat_edit *x = NULL;
	uint8_t *at;

	if (!tag_named(o->tags, tag))
		return 0;
	o->e = share_act_add(o->act, CAT_TAG_REMOVE, &x);
	at = o->e == ERR_OK ? buf_room(&o->names, tag.n) : NULL;
	if (at == NULL)
		return 1;
	memcpy(at, tag.p, tag.n);
	buf_grew(&o->names, tag.n);
	x->name = slice_of(at, tag.n);
	return 0;
}

static enum err
tags_off(struct tags_off *o, const struct asset_id *id)
{
	struct db_txn *t = NULL;
	enum err e;

	/* Room once: the edits keep pointers into it. */
	if (buf_room(&o->names, TAG_NAMES_BYTES) == NULL)
		return errmsg_set(o->act->em, ERR_NOMEM, "", "out of memory");
	e = store_read(o->act->sh->store, &t);
	if (e == ERR_OK)
		e = cat_tags_each(t, id, tag_off, o);
	db_abort(t);
	return e == ERR_OK ? o->e : e;
}

static enum err
tag_on(struct share_act *act, struct slice tag)
{
	struct cat_edit *x = NULL;
	enum err e;

	if (!cat_edit_name_ok(CAT_TAG_ADD, tag))
		return share_act_name_bad(act, "tag", tag,
		    "NAME or NAME=VALUE, at most 128 bytes of UTF-8 without "
		    "controls");
	e = share_act_add(act, CAT_TAG_ADD, &x);
	if (e == ERR_OK)
		x->name = tag;
	return e;
}

enum err
/* NOLINTNEXTLINE(readability-function-size): one act, its parts */
shares_edit_tags(struct shares *sh, const struct share_by *by,
    const struct asset_id *id, const struct share_tags *tags, uint32_t *done,
    struct errmsg *em)
{
	struct tags_off off = { .tags = tags,
		.names = BUF_MAX(TAG_NAMES_BYTES) };
	struct share_act *act = NULL;
	uint32_t i;
	enum err e = share_act_new(sh, by, em, &act);

	if (e == ERR_OK)
		e = share_act_load(act, id, tags->n_add > 0 ? "tag" : "untag");
	off.act = act;
	if (e == ERR_OK && tags->n_remove > 0)
		e = tags_off(&off, id);
	for (i = 0; i < tags->n_add && e == ERR_OK; i++)
		e = tag_on(act, tags->add[i]);
	if (e == ERR_OK && act->n == 0)
		e = errmsg_set(em, ERR_NOTFOUND,
		    "see its tags: pesscara show ASSET",
		    "the asset has no such tag");
	if (e == ERR_OK)
		e = share_act_run(act);
	*done = e == ERR_OK ? act->n : 0;
	buf_fini(&off.names);
	share_act_free(act);
	return e;
}

/* --- links --- */

static enum err
link_ends(struct share_act *act, const struct share_link *l)
{
	struct cat_asset *to = mem_new(sizeof(*to));
	struct db_txn *t = NULL;
	enum err e = to == NULL ? ERR_NOMEM : store_read(act->sh->store, &t);

	if (e == ERR_OK)
		e = cat_asset_get(act->sh->store, t, &l->to, to);
	db_abort(t);
	if (e != ERR_OK)
		e = errmsg_set(act->em, e, "find it with: pesscara find QUERY",
		    "the asset to link to: %s", err_text(e));
	else if (memcmp(&to->share, &act->a.share, sizeof(to->share)) != 0)
		e = errmsg_set(act->em, ERR_DENIED,
		    "link inside one project space",
		    "the two lie in different project spaces, and a link "
		    "would tell one of the other");
	else if (memcmp(&l->to, &act->a.id, sizeof(l->to)) == 0)
		e = errmsg_set(act->em, ERR_MALFORMED, "name another asset",
		    "an asset is not linked to itself");
	mem_free(to);
	return e;
}

enum err
shares_edit_link(struct shares *sh, const struct share_by *by,
    const struct asset_id *id, const struct share_link *l, struct errmsg *em)
{
	struct cat_edit *x = NULL;
	struct share_act *act = NULL;
	enum err e = share_act_new(sh, by, em, &act);

	if (e == ERR_OK)
		e = share_act_load(act, id, l->remove ? "unlink" : "link");
	if (e == ERR_OK && !cat_edit_name_ok(CAT_LINK_ADD, l->name))
		e = share_act_name_bad(act, "link", l->name,
		    "one word of small letters, digits, _ and -, at most 24, "
		    "for example --as segments");
	if (e == ERR_OK && !l->remove)
		e = link_ends(act, l);
	if (e == ERR_OK)
		e = share_act_add(
		    act, l->remove ? CAT_LINK_REMOVE : CAT_LINK_ADD, &x);
	if (e == ERR_OK) {
		x->name = l->name;
		x->to = l->to;
		e = share_act_run(act);
	}
	share_act_free(act);
	return e;
}

/* --- notes --- */

enum err
shares_edit_note(struct shares *sh, const struct share_by *by,
    const struct asset_id *id, struct slice text, struct errmsg *em)
{
	struct buf value = BUF_MAX(CAT_EDIT_VALUE_MAX);
	struct cat_edit *x = NULL;
	struct share_act *act = NULL;
	enum err e = share_act_new(sh, by, em, &act);

	if (e == ERR_OK)
		e = share_act_load(act, id, "note");
	if (e == ERR_OK && (text.n == 0 || text.n > CAT_NOTE_MAX))
		e = errmsg_set(em, ERR_LIMIT,
		    "keep long texts as a document: pesscara import",
		    "a note has 1 to %u bytes", CAT_NOTE_MAX);
	if (e == ERR_OK)
		e = share_act_add(act, CAT_NOTE, &x);
	if (e == ERR_OK) {
		mp_w_str(&value, text);
		x->value = buf_slice(&value);
		e = buf_err(&value) == ERR_OK ? share_act_run(act)
					      : buf_err(&value);
	}
	buf_fini(&value);
	share_act_free(act);
	return e;
}

/* --- retire --- */

enum err
shares_edit_retire(struct shares *sh, const struct share_by *by,
    const struct asset_id *id, bool retire, struct errmsg *em)
{
	struct cat_edit *x = NULL;
	struct share_act *act = NULL;
	enum err e = share_act_new(sh, by, em, &act);

	if (e == ERR_OK)
		e = share_act_load(act, id, "retire");
	if (e == ERR_OK && act->a.retired == retire)
		e = errmsg_set(em, ERR_EXISTS,
		    "see `pesscara show ASSET --history`",
		    retire ? "the asset is retired already"
			   : "the asset is not retired");
	if (e == ERR_OK && (by->reason == NULL || by->reason[0] == '\0'))
		e = errmsg_set(em, ERR_MALFORMED, "add --reason TEXT",
		    "this needs a reason");
	if (e == ERR_OK)
		e = share_act_add(act, retire ? CAT_RETIRE : CAT_UNRETIRE, &x);
	if (e == ERR_OK)
		e = share_act_run(act);
	share_act_free(act);
	return e;
}

/* --- locks --- */

enum err
/* NOLINTNEXTLINE(readability-function-size): one act, its parts */
shares_edit_lock(struct shares *sh, const struct share_by *by,
    const struct asset_id *id, struct slice note, uint64_t for_s,
    struct errmsg *em)
{
	struct buf value = BUF_MAX(CAT_EDIT_VALUE_MAX);
	struct cat_edit *x = NULL;
	struct share_act *act = NULL;
	enum err e = share_act_new(sh, by, em, &act);

	if (e == ERR_OK)
		e = share_act_load(act, id, "lock");
	if (e == ERR_OK &&
	    (for_s == 0 || for_s / 86400u >= SHARE_LOCK_DAYS_MAX))
		e = errmsg_set(em, ERR_LIMIT, "for example --for 8h",
		    "a lock holds for 1 second to less than %u days",
		    SHARE_LOCK_DAYS_MAX);
	if (e == ERR_OK)
		e = share_act_add(act, CAT_LOCK, &x);
	if (e == ERR_OK) {
		if (note.n > 0)
			mp_w_str(&value, note);
		x->name = slice_str(by->actor);
		x->value = buf_slice(&value);
		x->until_ms = clock_wall_ms() + for_s * 1000u;
		e = buf_err(&value) == ERR_OK
			? share_act_run(act)
			: errmsg_set(em, ERR_LIMIT, "make it shorter",
			      "the note is too long");
	}
	buf_fini(&value);
	share_act_free(act);
	return e;
}

struct locks_off {
	struct share_act *act;
	const char *only; /* NULL: all */
	char name[16][CAT_HOLDER_MAX + 1];
	enum err e;
};

static int
lock_off(void *ctx, const struct cat_fact *f)
{
	struct locks_off *o = ctx;
	struct cat_edit *x = NULL;
	uint32_t i = o->act->n;

	if (f->name.n > CAT_HOLDER_MAX || i == 16)
		return 0;
	if (o->only != NULL && !slice_eq(f->name, slice_str(o->only)))
		return 0;
	o->e = share_act_add(o->act, CAT_UNLOCK, &x);
	if (o->e != ERR_OK)
		return 1;
	memcpy(o->name[i], f->name.p, f->name.n);
	x->name = slice_of(o->name[i], f->name.n);
	return 0;
}

enum err
shares_edit_unlock(struct shares *sh, const struct share_by *by,
    const struct asset_id *id, bool all, struct errmsg *em)
{
	struct locks_off *o = mem_new(sizeof(*o));
	struct db_txn *t = NULL;
	enum err e;

	if (o == NULL)
		return errmsg_set(em, ERR_NOMEM, "", "out of memory");
	e = share_act_new(sh, by, em, &o->act);
	if (e == ERR_OK)
		e = share_act_load(o->act, id, "lock");
	if (e == ERR_OK && (e = store_read(sh->store, &t)) == ERR_OK) {
		o->only = all ? NULL : by->actor;
		e = cat_facts_each(t, id, CAT_LOCK, true, lock_off, o);
		db_abort(t);
		if (e == ERR_OK)
			e = o->e;
	}
	if (e == ERR_OK && o->act->n == 0)
		e = errmsg_set(em, ERR_NOTFOUND,
		    "see who holds one: pesscara show ASSET; --all ends the "
		    "locks of others",
		    all ? "nobody holds a lock" : "you hold no lock on it");
	if (e == ERR_OK)
		e = share_act_run(o->act);
	share_act_free(o->act);
	mem_free(o);
	return e;
}
