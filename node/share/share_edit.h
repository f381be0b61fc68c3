/* node/share/share_edit.h: what people do to assets, each act one job.
 *
 * Checked here, with a cause and a next act for a person: names, types of
 * fields, what the level permits, what this site may.  Each act writes its
 * edits, and an audit row, in one transaction.  All block until durable and
 * must not be called from the loop or the writer thread.  The caller has
 * checked texts against the site's identifiers (ingest_gate). */
#ifndef PSC_SHARE_SHARE_EDIT_H
#define PSC_SHARE_SHARE_EDIT_H

#include "node/share/share.h"
#include "store/catalog/expect.h"

#define SHARE_EDITS_MAX 256u  /* of one act */
#define SHARE_VALUES_MAX 256u /* of one field */
#define SHARE_LOCK_DAYS_MAX 90u

struct share_by {
	const char *actor;  /* user@site */
	const char *reason; /* NULL or "": none */
};

struct share_field {
	struct slice name;
	const struct slice *text; /* values as texts; n 0: take it away */
	uint32_t n;
};
/* type: CAT_TYPE_NONE: as declared, else as the values look.  The first use
 * of a field declares its type for the level. */
enum err shares_edit_fields(struct shares *sh, const struct share_by *by,
    const struct asset_id *id, const struct share_field *f, uint32_t n,
    enum cat_type type, struct errmsg *em) PSC_MUST_USE;
/* Tags are "NAME" or "NAME=VALUE".  Removing "NAME" takes every value of it
 * away. *done: how many changed. */
struct share_tags {
	const struct slice *add;
	uint32_t n_add;
	const struct slice *remove;
	uint32_t n_remove;
};
enum err shares_edit_tags(struct shares *sh, const struct share_by *by,
    const struct asset_id *id, const struct share_tags *tags, uint32_t *done,
    struct errmsg *em) PSC_MUST_USE;
/* Both lie in one share.  Of a group: name "member". */
struct share_link {
	struct asset_id to;
	struct slice name;
	bool remove;
};
enum err shares_edit_link(struct shares *sh, const struct share_by *by,
    const struct asset_id *id, const struct share_link *l,
    struct errmsg *em) PSC_MUST_USE;
enum err shares_edit_note(struct shares *sh, const struct share_by *by,
    const struct asset_id *id, struct slice text,
    struct errmsg *em) PSC_MUST_USE;
/* Needs a reason. ERR_EXISTS: it is so already. */
enum err shares_edit_retire(struct shares *sh, const struct share_by *by,
    const struct asset_id *id, bool retire, struct errmsg *em) PSC_MUST_USE;
/* Advisory, seen by peers after a sync; a new one of the same actor takes
 * the place of the old. */
enum err shares_edit_lock(struct shares *sh, const struct share_by *by,
    const struct asset_id *id, struct slice note, uint64_t for_s,
    struct errmsg *em) PSC_MUST_USE;
/* all: also those that others hold. ERR_NOTFOUND: there is none. */
enum err shares_edit_unlock(struct shares *sh, const struct share_by *by,
    const struct asset_id *id, bool all, struct errmsg *em) PSC_MUST_USE;
/* A new version with the content of an earlier one.  to: NULL: the one that
 * the default head replaced; else the number of a version or 8 or more
 * characters of its id. */
enum err shares_edit_undo(struct shares *sh, const struct share_by *by,
    const struct asset_id *id, const char *to, struct cry_id *was,
    struct errmsg *em) PSC_MUST_USE;

/* --- what is said of a compartment --- */
struct share_where {
	uint32_t share_no;
	struct cry_id share;
	uint16_t compartment;
};
/* A group is made by giving it a title: its name. */
enum err shares_edit_group(struct shares *sh, const struct share_by *by,
    const struct share_where *w, const char *name, struct asset_id *out,
    struct errmsg *em) PSC_MUST_USE;
enum err shares_edit_type(struct shares *sh, const struct share_by *by,
    const struct share_where *w, const char *level, struct slice field,
    enum cat_type type, struct errmsg *em) PSC_MUST_USE;
struct share_permit {
	const char *level;
	const char *what; /* "workflows", "methods", "reasons" */
	const struct slice *names;
	uint32_t n;
	bool all; /* everything is permitted (again) */
};
enum err shares_edit_permit(struct shares *sh, const struct share_by *by,
    const struct share_where *w, const struct share_permit *p,
    struct errmsg *em) PSC_MUST_USE;

/* A rule of what exams are expected to have; x NULL takes it away
 * (ERR_NOTFOUND), else its name is that of the parameter.  Registrars and
 * admins whose site may write. */
enum err shares_edit_expect(struct shares *sh, const struct share_by *by,
    const struct share_where *w, const char *name, const struct cat_expect *x,
    struct errmsg *em) PSC_MUST_USE;
/* Whom to ask at a site; "": nobody. */
enum err shares_edit_contact(struct shares *sh, const struct share_by *by,
    const struct share_where *w, const char *site, const char *text,
    struct errmsg *em) PSC_MUST_USE;

/* May this be done at a level?  method: set tag untag link unlink note retire
 * lock undo group checkin.  ERR_DENIED with em. */
enum err shares_permit(struct db_txn *t, const struct cat_place *p,
    const char *method, struct errmsg *em) PSC_MUST_USE;

#endif
