/* store/catalog/catalog.h: what exists, who changed it, how it is found.
 *
 * Everything here is a view of ops (rebuildable), except audit and events,
 * which are rows of their own.  Levels: project, subject, exam, series,
 * image, and free types such as nifti.  docs/store-format.md lists keys. */
#ifndef PSC_CATALOG_CATALOG_H
#define PSC_CATALOG_CATALOG_H

#include "store/base/mp.h"
#include "store/catalog/content.h"
#include "store/catalog/oplog.h"

struct asset_id {
	uint8_t b[20];
};
#define ASSET_ID_TEXT 32u /* base32 */
#define CAT_LEVEL_MAX 24u
#define CAT_KEY_MAX 128u  /* natural key */
#define CAT_FIELD_MAX 64u /* field name */
#define CAT_VALUE_MAX 1024u

/* The order of versions and registers, the same at every node. */
struct stamp {
	uint64_t lamport;
	struct cry_id op;
};

/* base32 of BLAKE2b-160("psc.asset.1", share, compartment, level, key). */
void cat_asset_id(const struct cry_id *share, uint16_t compartment,
    const char *level, const char *key, struct asset_id *out);

/* --- the payload of OP_ASSET_PUT (plaintext, msgpack) --- */
struct cat_node { /* an asset on the path from subject down */
	const char *level;
	const char *key;     /* natural key */
	struct slice fields; /* msgpack map KEYWORD -> scalar or array */
};
struct cat_put {
	const struct cat_node *path; /* top first; last = the asset itself */
	uint32_t n_path;             /* 1..5 */
	bool derived;
	struct asset_id source; /* derived: the asset it was made from */
	struct slice manifest;  /* of the content table */
	struct cry_id hash;     /* content hash (content_done.hash) */
	uint64_t bytes;
	uint32_t members;
	const char *actor; /* user@site, printable */
	const char *site;
	const struct cry_id *parents; /* op ids of versions it replaces */
	uint32_t n_parents;
	struct slice provenance; /* msgpack map */
	const char *const *tags;
	uint32_t n_tags;
};
enum err cat_put_encode(const struct cat_put *p, struct buf *out) PSC_MUST_USE;
/* The payload of a new version with the content, place and own fields of an
 * earlier one; tags and what that one said of the assets above stay as they
 * are now. */
struct cat_again {
	const char *actor;
	const char *site;
	const struct cry_id *parents;
	uint32_t n_parents;
	struct slice provenance;
};
enum err cat_put_again(struct slice payload, const struct cat_again *by,
    struct buf *out) PSC_MUST_USE;
/* Does a parsed put stand beside the data as they came: of a level of its
 * own, and without a word on the assets above it? */
bool cat_put_beside(const struct mp_doc *put);

struct cat_told; /* below */
/* A level that people and programs may name: [a-z][a-z0-9_-]*, none of those
 * that images come in. */
bool cat_level_is_free(const char *level);

/* Where an op to apply comes from. */
struct cat_origin {
	struct cry_id share;
	uint32_t share_no;
	uint16_t compartment;
	uint64_t lseq;
	uint64_t lamport;
	uint64_t wall_ms;
	struct cry_id op_id;
	const struct cat_told *told; /* in a rebuild: no event twice */
	bool quiet;                  /* applied again: no event at all */
};
/* Apply a decrypted OP_ASSET_PUT payload: rows for the path, the version,
 * fields and indexes; appends event "asset.put".  ERR_MALFORMED leaves
 * nothing behind (the op stays in the log, set aside). */
enum err cat_apply_put(struct store_txn *t, const struct cat_origin *o,
    struct slice payload, struct asset_id *asset) PSC_MUST_USE;
/* All chunks of the version are here: index its images as children (level
 * image, from the member table) and append event "content.complete". */
enum err cat_content_complete(struct store_txn *t, const struct cat_origin *o,
    const struct asset_id *asset) PSC_MUST_USE;
/* Which asset an op put; ERR_NOTFOUND if none. */
/* Content of a version was let go: it is not complete any more.  Its images
 * stay in the catalog. */
enum err cat_content_gone(struct store_txn *t, const struct cat_origin *o,
    const struct asset_id *asset) PSC_MUST_USE;
enum err cat_asset_of_op(
    struct db_txn *t, uint64_t lseq, struct asset_id *out) PSC_MUST_USE;

/* --- reading --- */
/* A whole id or a unique prefix of >= 8 characters.  ERR_NOTFOUND,
 * ERR_LIMIT: several match. */
enum err cat_asset_resolve(
    struct db_txn *t, struct slice text, struct asset_id *out) PSC_MUST_USE;

struct cat_version {
	uint32_t number; /* 1, 2, ... local order of (lamport, op id) */
	struct cry_id op_id;
	uint64_t lseq;
	uint64_t lamport;
	uint64_t created_ms;
	struct cry_id hash;
	uint64_t bytes;
	uint32_t members;
	bool complete; /* content is here */
	bool derived;
	char actor[96];
	char site[64];
	struct cry_id parents[4];
	uint32_t n_parents;
};
struct cat_asset {
	struct asset_id id;
	char level[CAT_LEVEL_MAX + 1];
	char key[CAT_KEY_MAX + 1];
	struct asset_id parent; /* zero: none */
	struct asset_id source; /* zero: not derived */
	struct cry_id share;
	uint32_t share_no;
	uint16_t compartment;
	uint64_t created_ms;
	bool retired; /* itself; see cat_is_retired */
	uint32_t n_versions;
	struct cat_version head; /* default head: max (lamport, op id) */
	/* level image, known from its series' table: head tells of this one
	 * member, cat_manifest gives the series' table, and this is its place
	 * there (content_member, content_stream). */
	bool is_member;
	uint32_t member;
};
enum err cat_asset_get(struct store *s, struct db_txn *t,
    const struct asset_id *id, struct cat_asset *out) PSC_MUST_USE;
typedef int (*cat_version_fn)(void *ctx, const struct cat_version *v);
enum err cat_versions_each(struct store *s, struct db_txn *t,
    const struct asset_id *id, cat_version_fn fn, void *ctx) PSC_MUST_USE;
/* The decoded put of a version (lseq), payload decrypted by the caller. */
enum err cat_put_parse(struct slice payload, struct mp_doc *doc) PSC_MUST_USE;
/* The content table's manifest of the default head (a local view, so that
 * reading needs no share key). Appended to out. */
enum err cat_manifest(struct store *s, struct db_txn *t,
    const struct asset_id *id, struct buf *out) PSC_MUST_USE;
/* Provenance (msgpack map) of the default head, appended to out. */
enum err cat_provenance(struct store *s, struct db_txn *t,
    const struct asset_id *id, struct buf *out) PSC_MUST_USE;
/* Fields, own and inherited: fn(name, value as msgpack scalar or array). */
typedef int (*cat_field_fn)(void *ctx, struct slice name, struct slice value);
enum err cat_fields_each(struct db_txn *t, const struct asset_id *id,
    cat_field_fn fn, void *ctx) PSC_MUST_USE;
typedef int (*cat_tag_fn)(void *ctx, struct slice tag);
enum err cat_tags_each(struct db_txn *t, const struct asset_id *id,
    cat_tag_fn fn, void *ctx) PSC_MUST_USE;
typedef int (*cat_child_fn)(void *ctx, const struct asset_id *child);
enum err cat_children_each(struct db_txn *t, const struct asset_id *id,
    cat_child_fn fn, void *ctx) PSC_MUST_USE;
/* Sum of bytes of all live versions, and assets. */
enum err cat_totals(
    struct db_txn *t, uint64_t *logical_bytes, uint64_t *assets) PSC_MUST_USE;

/* --- query: `level=series and Modality=MR and (A>1 or B~"x")` ---
 * comparison: = != < <= > >= ~ (substring, case-insensitive); not, and, or,
 * parentheses; tag:NAME[=VALUE]; pseudo fields level, id, share, compartment,
 * created, retired.  Fields are inherited downward.  What is retired, or lies
 * in what is, matches only a query that says `retired`. */
struct cat_query;
enum err cat_query_parse(struct slice text, struct cat_query **out,
    struct errmsg *em) PSC_MUST_USE;      /* em names the column */
void cat_query_free(struct cat_query *q); /* NULL ok */
struct cat_find_opts {
	const struct cry_id *share; /* NULL: all */
	const char *level;          /* NULL: any */
	uint64_t limit;             /* 0: none */
	bool retired;               /* what is retired, too */
};
/* Uses the most selective index; fn returns non-zero to stop. */
typedef int (*cat_find_fn)(void *ctx, const struct cat_asset *a);
enum err cat_find(struct store *s, struct db_txn *t, const struct cat_query *q,
    const struct cat_find_opts *o, cat_find_fn fn, void *ctx) PSC_MUST_USE;
/* Does one asset match?  (workflow triggers, release policy) */
enum err cat_match(struct store *s, struct db_txn *t, const struct cat_query *q,
    const struct asset_id *id, bool *out) PSC_MUST_USE;

/* --- events and audit: appended by the job that changes things --- */
struct cat_event {
	uint64_t no;
	uint64_t wall_ms;
	char type[32]; /* "asset.put", "content.complete", "release", ... */
	bool has_asset;
	struct asset_id asset;
	struct cry_id share; /* zero: none */
	uint16_t compartment;
	struct cry_id op; /* it tells of; zero: none */
	char detail[200]; /* no patient data */
};
enum err cat_event_append(struct store_txn *t,
    const struct cat_event *e) PSC_MUST_USE; /* no is assigned */
typedef int (*cat_event_fn)(void *ctx, const struct cat_event *e);
enum err cat_events_each(struct store *s, struct db_txn *t, uint64_t after,
    cat_event_fn fn, void *ctx) PSC_MUST_USE;
enum err cat_cursor_get(struct store *s, struct db_txn *t, const char *consumer,
    uint64_t *event) PSC_MUST_USE; /* 0 when new */
enum err cat_cursor_put(
    struct store_txn *t, const char *consumer, uint64_t event) PSC_MUST_USE;
/* Which ops have had which event: to apply them again without a word.  Held
 * in memory, 16 bytes an event. */
struct cat_told;
enum err cat_told_load(
    struct store *s, struct db_txn *t, struct cat_told **out) PSC_MUST_USE;
bool cat_told_has(
    const struct cat_told *x, const char *type, const struct cry_id *op);
void cat_told_free(struct cat_told *x); /* NULL ok */
/* Hash-chained; rows also go into the segment (sealed). */
enum err cat_audit_append(struct store_txn *t, const char *actor,
    const char *act, const char *object, const char *reason) PSC_MUST_USE;

/* In a rebuild: plaintext hashes of a version's content, from its row (tag
 * "version"), so that what comes in again is found. */
enum err cat_version_learn(struct store_txn *t, struct slice row) PSC_MUST_USE;
/* In a rebuild: table AUDIT from the rows.  Gaps stay gaps. */
enum err cat_audit_restore(struct store_txn *t) PSC_MUST_USE;

struct cat_audit {
	uint64_t no;
	uint64_t wall_ms;
	char actor[401], act[401], object[401], reason[401];
};
typedef int (*cat_audit_fn)(void *ctx, const struct cat_audit *a);
/* In order, each checked against the chain before fn (NULL: only check) is
 * called.  ERR_CORRUPT: a row was changed, removed or moved. */
enum err cat_audit_each(
    struct store *s, struct db_txn *t, cat_audit_fn fn, void *ctx) PSC_MUST_USE;

/* Hash over all derived views, to compare nodes in tests. */
enum err cat_hash(struct store *s, struct db_txn *t, uint32_t share,
    uint16_t compartment, struct cry_id *out) PSC_MUST_USE;

#endif
