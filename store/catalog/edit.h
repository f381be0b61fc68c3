/* store/catalog/edit.h: what people and programs say of assets after they
 * came: fields, tags, notes, links, retired or not, advisory locks, types of
 * fields, and which methods and workflows are permitted.
 *
 * An edit is an op of its own (OP_EDIT) and never touches what came: it lays
 * a *fact* beside it.  A fact lives until a later edit that saw it says
 * otherwise; edits that did not see each other both live, and where one value
 * is wanted the largest (lamport, op id) stands.  So any order of arrival
 * gives the same facts, and every fact ever said stays readable
 * (cat_facts_each).  docs/store-format.md, Edits. */
#ifndef PSC_CATALOG_EDIT_H
#define PSC_CATALOG_EDIT_H

#include "store/catalog/catalog.h"

enum cat_edit_kind {
	CAT_FIELD_SET = 1, /* name, type, value; no value: the field is gone,
			      from here down */
	CAT_TAG_ADD = 2,   /* name: "NAME" or "NAME=VALUE" */
	CAT_TAG_REMOVE = 3,
	CAT_LINK_ADD = 4, /* name: how (member, segments ...); to */
	CAT_LINK_REMOVE = 5,
	CAT_NOTE = 6,        /* value: text */
	CAT_RETIRE = 7,      /* hidden from find; bytes stay */
	CAT_UNRETIRE = 8,    /* back */
	CAT_LOCK = 9,        /* name: who holds it; value: note; until_ms */
	CAT_UNLOCK = 10,     /* name: whose lock ends */
	CAT_FIELD_TYPE = 11, /* of the context asset: name of a field, type */
	CAT_CONTEXT = 12,    /* of the context asset: name "workflows" or
				"methods", value: array of what is permitted,
				no value: everything is; or name "reasons",
				value: methods that must say why */
	CAT_EXPECT = 13,     /* of the context asset of exams: name of a rule,
				value: expect.h; no value: it is gone */
	CAT_CONTACT = 14,    /* of the same: name of a site, value: text */
};
#define CAT_EDIT_KIND_MAX 14u
/* "field.set", "tag.add" ...: also the type of its event. */
const char *cat_edit_text(enum cat_edit_kind k);

/* Is this the name of a field (not one that find keeps for itself), a tag, a
 * link, a holder of a lock? */
bool cat_edit_name_ok(enum cat_edit_kind k, struct slice name);

enum cat_type { /* of a field */
	CAT_TYPE_NONE = 0,
	CAT_TYPE_TEXT = 1,
	CAT_TYPE_NUMBER = 2,
	CAT_TYPE_DATE = 3, /* 2024-01-31, or with a time: 2024-01-31T09:30:00 */
	CAT_TYPE_CODE = 4, /* one word of letters, digits, . _ : + - / */
	CAT_TYPE_UID = 5,  /* digits and dots, as DICOM's UI */
};
const char *cat_type_text(enum cat_type t); /* "number"; "" for none */
enum err cat_type_parse(struct slice text, enum cat_type *out) PSC_MUST_USE;
/* What a text looks like, for the first use of a field. */
enum cat_type cat_type_guess(struct slice text);
/* Texts as one value of a type: a scalar, or an array of several, appended.
 * ERR_MALFORMED with em: one does not fit. */
enum err cat_type_value(enum cat_type t, const struct slice *text, uint32_t n,
    struct buf *out, struct errmsg *em) PSC_MUST_USE;

#define CAT_EDIT_VALUE_MAX 1400u /* encoded: a row of the index holds it */
#define CAT_EDIT_REASON_MAX 200u
#define CAT_NOTE_MAX 1300u
#define CAT_HOLDER_MAX 95u
#define CAT_LINK_NAME_MAX 24u
#define CAT_SEEN_MAX 32u

/* A group is an asset of this level; its members are its links "member".
 * Their queries see its tags: tag:NAME holds for what is a member of a group
 * that has the tag.  Fields are not shared, and groups do not nest. */
#define CAT_LEVEL_GROUP "group"
#define CAT_LINK_MEMBER "member"
/* What is permitted and declared for assets of level L in a compartment is
 * said of the asset of this level with the natural key L. */
#define CAT_LEVEL_CONTEXT "context"

struct cat_edit {
	enum cat_edit_kind kind;
	const char *level; /* which asset: with share and compartment these */
	const char *key;   /* two make its id */
	struct slice name;
	struct slice value; /* msgpack, as the kind says; or empty */
	enum cat_type type;
	struct asset_id to;
	uint64_t until_ms;
	const char *actor; /* user@site */
	const char *site;
	const char *reason; /* NULL or "": none given */
};
struct cat_seen { /* facts that an edit takes the place of */
	uint32_t n;
	struct stamp v[CAT_SEEN_MAX]; /* the latest */
};
/* ERR_MALFORMED, ERR_LIMIT: not an edit that nodes accept. */
enum err cat_edit_encode(const struct cat_edit *e, const struct cat_seen *seen,
    struct buf *out) PSC_MUST_USE;
/* The facts that live now in the place an edit speaks of. */
enum err cat_edit_see(struct db_txn *t, const struct cry_id *share,
    uint16_t compartment, const struct cat_edit *e,
    struct cat_seen *out) PSC_MUST_USE;

/* What its author must be allowed to, decided by the edit alone. */
enum cat_edit_right {
	CAT_BY_RUNNER, /* says something of what was derived (free levels) */
	CAT_BY_WRITER, /* of what came */
	CAT_BY_ADMIN,  /* what is permitted; the author may write, too */
};
enum err cat_edit_right(
    struct slice payload, enum cat_edit_right *out) PSC_MUST_USE;
/* Apply a decrypted OP_EDIT payload; the asset is made if it is not known.
 * ERR_MALFORMED leaves nothing behind.  The same op again changes nothing. */
enum err cat_apply_edit(struct store_txn *t, const struct cat_origin *o,
    struct slice payload, struct asset_id *asset) PSC_MUST_USE;

/* --- reading --- */
/* Where something is permitted or declared. */
struct cat_place {
	const struct cry_id *share;
	uint16_t compartment;
	const char *level;
};
struct cat_fact {
	enum cat_edit_kind kind;
	bool live;
	bool stands; /* the one of its place where one value is wanted */
	bool by_put; /* a tag that came with a version */
	struct cry_id op;
	uint64_t lamport;
	uint64_t lseq;
	uint64_t created_ms;
	struct slice name;
	struct slice value;
	enum cat_type type;
	struct asset_id to;
	uint64_t until_ms;
	char actor[96];
	char site[64];
	char reason[CAT_EDIT_REASON_MAX + 1];
};
/* Facts of an asset, of one kind's place or of all (kind 0), by place and
 * then oldest first; live: only those that still hold. */
typedef int (*cat_fact_fn)(void *ctx, const struct cat_fact *f);
enum err cat_facts_each(struct db_txn *t, const struct asset_id *id,
    enum cat_edit_kind kind, bool live, cat_fact_fn fn, void *ctx) PSC_MUST_USE;
/* Links to an asset: fn(from, name). */
typedef int (*cat_link_fn)(
    void *ctx, const struct asset_id *from, struct slice name);
enum err cat_links_in_each(struct db_txn *t, const struct asset_id *id,
    cat_link_fn fn, void *ctx) PSC_MUST_USE;
/* The value that came, under one that was set. ERR_NOTFOUND. */
enum err cat_field_original(struct db_txn *t, const struct asset_id *id,
    struct slice name, struct buf *out) PSC_MUST_USE;
/* Op ids of versions that no other version replaces; *n up to max. */
enum err cat_heads(struct store *s, struct db_txn *t, const struct asset_id *id,
    struct cry_id *out, uint32_t max, uint32_t *n) PSC_MUST_USE;
/* Retired itself, or something it lies in is. */
enum err cat_is_retired(
    struct db_txn *t, const struct asset_id *id, bool *out) PSC_MUST_USE;
/* What stands for a level is of the context asset's id. */
void cat_context_id(const struct cat_place *p, struct asset_id *out);
/* Assets with a lock that was not given back, expired ones included. */
typedef int (*cat_asset_fn)(void *ctx, const struct asset_id *id);
enum err cat_locked_each(
    struct db_txn *t, cat_asset_fn fn, void *ctx) PSC_MUST_USE;

/* CAT_TYPE_NONE: nobody has declared it. */
enum err cat_field_type(struct db_txn *t, const struct cat_place *p,
    struct slice name, enum cat_type *out) PSC_MUST_USE;
/* what: "workflows" or "methods". */
enum err cat_permitted(struct db_txn *t, const struct cat_place *p,
    const char *what, struct slice name, bool *out) PSC_MUST_USE;

/* Must it say why?  By the list "reasons", which is empty at first. */
enum err cat_reason_needed(struct db_txn *t, const struct cat_place *p,
    struct slice method, bool *out) PSC_MUST_USE;

#endif
