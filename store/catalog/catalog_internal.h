/* store/catalog/catalog_internal.h: keys and rows of the op log and the
 * catalog, shared by the files of this room.  docs/store-format.md, section
 * Catalog, lists every key and row. */
#ifndef PSC_CATALOG_INTERNAL_H
#define PSC_CATALOG_INTERNAL_H

#include <pthread.h>

#include "store/base/mem.h"
#include "store/base/num.h"
#include "store/base/rd.h"
#include "store/catalog/catalog.h"
#include "store/catalog/edit.h"
#include "store/catalog/expect.h"

/* --- keys: big-endian, so that order is meaning (key.c) --- */
struct key {
	uint8_t b[DB_KEY_MAX];
	size_t n;
};
void key_put(struct key *k, const void *p, size_t n);
void key_u8(struct key *k, uint8_t v);
void key_be16(struct key *k, uint16_t v);
void key_be32(struct key *k, uint32_t v);
void key_be64(struct key *k, uint64_t v);

static inline struct slice
key_slice(const struct key *k)
{
	return slice_of(k->b, k->n);
}

uint16_t key_rd_be16(struct rd *r);

/* Walk a prefix: non-zero from fn stops; a negative value is returned as the
 * error, a positive one is ERR_OK.  fn must not write. */
typedef int (*key_walk_fn)(void *ctx, struct slice k, struct slice v);
enum err key_walk(struct db_txn *t, enum db_table tab, struct slice prefix,
    key_walk_fn fn, void *ctx) PSC_MUST_USE;
/* First key at or after from inside prefix, copied.  ERR_NOTFOUND. */
enum err key_first(struct db_txn *t, enum db_table tab, struct slice prefix,
    const struct key *from, struct key *out) PSC_MUST_USE;
/* The number in the last be32/be64 key of a table; 0: empty. */
enum err key_last_be64(
    struct db_txn *t, enum db_table tab, uint64_t *out) PSC_MUST_USE;
enum err key_last_be32(struct db_txn *t, enum db_table tab, struct slice prefix,
    uint32_t *out) PSC_MUST_USE;
/* ERR_OK with *there; other errors pass. */
enum err key_there(struct db_txn *t, enum db_table tab, const struct key *k,
    bool *there) PSC_MUST_USE;
/* db_put of a finished buf, then frees it. */
enum err key_store(struct db_txn *t, enum db_table tab, const struct key *k,
    struct buf *value) PSC_MUST_USE;
enum err key_store_last(struct db_txn *t, enum db_table tab,
    const struct key *k, struct buf *value) PSC_MUST_USE; /* db_append */
/* "Stored bytes do not decode" is the disk's fault. */
static inline enum err
key_decoded(const struct rd *r)
{
	return rd_end(r) == ERR_OK ? ERR_OK : ERR_CORRUPT;
}

/* --- levels (level.c) --- */
enum level_rank {
	LEVEL_PROJECT = 1,
	LEVEL_SUBJECT = 2,
	LEVEL_EXAM = 3,
	LEVEL_SERIES = 4,
	LEVEL_IMAGE = 5,
	LEVEL_FREE = 255, /* nifti, segmentation, table ... */
};
/* "study" is "project" (domain.md, Words); others as they are. */
const char *level_canonical(const char *level);
enum level_rank level_rank(const char *level);
bool level_valid(const char *level); /* [a-z][a-z0-9_-]*, bounded */

/* --- OP rows (oplog_op.c) --- */
struct op_row {
	struct store_loc loc;
	uint32_t share;
	uint16_t compartment;
	uint32_t feed;
	uint64_t seq;
	uint64_t lamport;
	struct cry_id id;
	uint32_t missing; /* chunks of its packing list not here */
	uint32_t asset;   /* asset number it put; 0: none */
	uint32_t packing; /* bytes of its packing list, the end of the record */
	bool want;
};
enum err oplog_row_get(
    struct db_txn *t, uint64_t lseq, struct op_row *out) PSC_MUST_USE;
enum err oplog_row_decode(struct slice v, struct op_row *out) PSC_MUST_USE;
enum err oplog_row_put(
    struct db_txn *t, uint64_t lseq, const struct op_row *row) PSC_MUST_USE;

/* --- CREF and WANT rows (oplog_cref.c) --- */
struct cref { /* an op names a chunk; keys lie by chunk number */
	uint64_t chunk;
	uint32_t share;
	uint16_t compartment;
	uint64_t lseq;
	bool missing; /* its op counts the chunk as missing */
	bool given;   /* in this compartment: not only named */
	bool aside;   /* its op counts for nothing */
};
void cref_key(const struct cref *c, struct key *out);
/* All rows of a chunk, or of a chunk in a compartment. */
struct key cref_prefix(uint64_t chunk);
struct key cref_prefix_in(uint64_t chunk, uint32_t share, uint16_t compartment);
enum err cref_read(
    struct slice key, struct slice value, struct cref *out) PSC_MUST_USE;
/* Sets missing and given. */
enum err cref_get(struct db_txn *t,
    struct cref *c) PSC_MUST_USE; /* ERR_CORRUPT: there is no such row */
enum err cref_set(struct db_txn *t, const struct cref *c) PSC_MUST_USE;
/* Sets given, as all rows of the chunk and compartment of *c have it.
 * ERR_NOTFOUND: no op there names it. */
enum err cref_first(struct db_txn *t, struct cref *c) PSC_MUST_USE;
/* Was the chunk given in the compartment?  Not, if nothing there names it. */
enum err cref_given(struct db_txn *t, uint64_t chunk, uint32_t share,
    uint16_t compartment, bool *given) PSC_MUST_USE;
/* It is, from now on. */
enum err cref_give(struct store_txn *t, uint64_t chunk, uint32_t share,
    uint16_t compartment) PSC_MUST_USE;
/* The local row that says: here, named there, not given there. */
enum err cref_alien(struct db_txn *t, uint64_t chunk, uint32_t share,
    uint16_t compartment, bool *yes) PSC_MUST_USE;
enum err cref_alien_put(struct store_txn *t, uint64_t chunk, uint32_t share,
    uint16_t compartment) PSC_MUST_USE;
enum err cref_alien_del(struct store_txn *t, uint64_t chunk, uint32_t share,
    uint16_t compartment) PSC_MUST_USE;
enum err oplog_share_id(struct db_txn *t, uint32_t no,
    struct cry_id *out) PSC_MUST_USE; /* ERR_NOTFOUND */
enum err oplog_want_put(
    struct db_txn *t, const struct cref *c, uint32_t c_len) PSC_MUST_USE;
/* The chunk is here: for all ops that were given it. */
enum err oplog_chunk_settle(struct store_txn *t, uint64_t chunk,
    oplog_complete_fn complete, void *ctx) PSC_MUST_USE;

int stamp_cmp(const struct stamp *a, const struct stamp *b);

/* --- ASSET rows (row.c) --- */
struct asset_row {
	struct asset_id id;
	char level[CAT_LEVEL_MAX + 1];
	char key[CAT_KEY_MAX + 1];
	uint32_t share_no;
	struct cry_id share;
	uint16_t compartment;
	uint32_t parent;        /* asset number; 0: none */
	struct stamp parent_by; /* the mention that decided it */
	bool has_source;
	struct asset_id source;
	uint64_t created_ms;
	uint32_t n_versions;
	struct stamp head;
	bool mentioned;         /* by an op, and not only by a table */
	bool retired;           /* the register says so */
	struct stamp images_by; /* series: whose member table is indexed */
	bool is_member;         /* image: a row of its series' table */
	uint32_t member;
	struct cry_id member_hash;
	uint64_t member_bytes;
};
enum err row_asset_get(
    struct db_txn *t, uint32_t no, struct asset_row *out) PSC_MUST_USE;
enum err row_asset_put(struct db_txn *t, uint32_t no,
    const struct asset_row *row, bool fresh) PSC_MUST_USE;
enum err row_asset_no(struct db_txn *t, const struct asset_id *id,
    uint32_t *no) PSC_MUST_USE; /* ERR_NOTFOUND */
enum err row_asset_last(struct db_txn *t, uint32_t *no) PSC_MUST_USE;

/* VERSION key: asset be32, lamport be64, op id. */
void row_version_key(uint32_t no, const struct stamp *s, struct key *out);
enum err row_version_read(
    struct slice key, struct slice value, struct cat_version *out) PSC_MUST_USE;
enum err row_version_get(struct db_txn *t, uint32_t no, const struct stamp *s,
    struct cat_version *out) PSC_MUST_USE;
enum err row_version_put(
    struct db_txn *t, uint32_t no, const struct cat_version *v) PSC_MUST_USE;
/* Manifest and provenance of a version: a sealed local row, named by the op
 * (local numbers do not survive a rebuild). */
enum err row_body_put(struct store_txn *t, const struct cry_id *op,
    struct slice manifest, struct slice provenance) PSC_MUST_USE;
enum err row_body_read(struct slice row, struct slice *manifest,
    struct slice *prov) PSC_MUST_USE; /* prov may be NULL */
enum err row_body_get(struct store *s, struct db_txn *t,
    const struct cry_id *op, struct buf *manifest,
    struct buf *provenance) PSC_MUST_USE;

void row_child_key(
    uint32_t parent, enum level_rank rank, uint32_t child, struct key *out);
enum err row_totals_add(struct db_txn *t, uint64_t bytes) PSC_MUST_USE;

/* --- a checked asset.put (put.c) --- */
#define PUT_PATH_MAX 5u
#define PUT_PARENTS_MAX 4u
#define PUT_TAGS_MAX 64u
#define PUT_FIELDS_MAX 512u
#define PUT_VALUE_BYTES 1600u /* one field, encoded, arrays included */
#define PUT_TAG_BYTES 128u
extern const struct mp_limits put_limits;
struct put_node {
	char level[CAT_LEVEL_MAX + 1];
	char key[CAT_KEY_MAX + 1];
	const struct mp_node *fields;
};
struct put_view {
	struct put_node path[PUT_PATH_MAX];
	uint32_t n_path;
	bool derived;
	struct asset_id source;
	struct slice manifest;
	struct cry_id hash;
	uint64_t bytes;
	uint32_t members;
	char actor[96];
	char site[64];
	struct cry_id parents[PUT_PARENTS_MAX];
	uint32_t n_parents;
	const struct mp_node *provenance;
	const struct mp_node *tags;
};
/* ERR_MALFORMED, ERR_LIMIT, ERR_NOMEM.  Slices borrow doc and payload. */
enum err put_view(struct mp_doc *doc, struct put_view *out) PSC_MUST_USE;
/* A field map as ops and content tables carry it. */
bool put_fields_valid(const struct mp_node *map);
bool put_value_valid(const struct mp_node *v);
bool put_name_valid(struct slice field);
/* Of an edit CAT_EXPECT. */
bool expect_value_valid(const struct mp_node *value);
bool put_lines_valid(struct slice s); /* UTF-8, line breaks and tabs too */
bool put_text_valid(struct slice s, size_t max);

/* --- fields and their index (field.c, value.c) --- */
enum field_src {
	FIELD_EDIT = 0,   /* set by an edit; an empty value: gone */
	FIELD_OWN = 1,    /* of the default head's put */
	FIELD_PATH = 2,   /* register set by puts below it */
	FIELD_MEMBER = 3, /* image: from the content table */
	FIELD_TAG = 4,    /* the name is the tag */
	FIELD_GROUP = 5,  /* index only: a tag of a group it is a member of */
	FIELD_COMMON = 6, /* series: what all images of its table have alike */
};
#define FIELD_HASH_BYTES 8u
struct field_hash {
	uint8_t b[FIELD_HASH_BYTES];
};
void field_hash(struct slice name, struct field_hash *out);
/* Names of indexed things that are not fields. */
void field_hash_pseudo(const char *what, struct field_hash *out);

/* One scalar of a field, taken apart for comparison. */
enum val_kind { VAL_NONE, VAL_NUM, VAL_TEXT };
#define VAL_DATE_MAX 14u
struct val {
	enum val_kind kind;
	double num;        /* VAL_NUM */
	struct slice text; /* VAL_TEXT */
	bool plain;        /* text that reads as a number, no leading zero */
	double plain_num;
	bool iso;                    /* text in ISO 8601 form */
	char date[VAL_DATE_MAX + 1]; /* digits, 8 or 14; "" if no date */
};
void val_of_node(const struct mp_node *scalar, struct val *out);
void val_of_text(struct slice text, struct val *out);
double val_date_num(const struct val *v); /* yyyymmdd */

/* Codes of a value in the index: kind byte, then order-preserving bytes. */
#define IX_TEXT_BYTES 40u
struct ix_code {
	uint8_t b[1 + IX_TEXT_BYTES + 1];
	size_t n;
};
void ix_code_num(uint8_t kind, double v, struct ix_code *out); /* 'n', 'd' */
void ix_code_text(struct slice s, struct ix_code *out);        /* 't' */
#define IX_CODES_MAX 3u
uint32_t ix_codes(const struct val *v, struct ix_code out[IX_CODES_MAX]);
void ix_key(const struct field_hash *h, const struct ix_code *c, uint32_t no,
    enum field_src src, struct key *out);
enum err ix_put(struct db_txn *t, const struct field_hash *h,
    const struct ix_code *c, uint32_t no, enum field_src src) PSC_MUST_USE;
enum err ix_del(struct db_txn *t, const struct field_hash *h,
    const struct ix_code *c, uint32_t no, enum field_src src) PSC_MUST_USE;

struct field_row {
	struct slice name;
	struct stamp by;    /* zero: of a member table */
	struct slice value; /* msgpack */
};
enum err field_row_read(
    uint8_t src, struct slice value, struct field_row *out) PSC_MUST_USE;
/* Sets one field and its index entries, replacing what is there. */
enum err field_set(struct db_txn *t, uint32_t no, enum field_src src,
    const struct stamp *by, struct slice name,
    const struct mp_node *value) PSC_MUST_USE;
/* As field_set, if by is later than what is there. */
enum err field_register(struct db_txn *t, uint32_t no, const struct stamp *by,
    const struct mp_node *fields) PSC_MUST_USE;
/* All fields of one source replaced by a map (NULL: none). */
enum err field_replace(struct db_txn *t, uint32_t no, enum field_src src,
    const struct stamp *by, const struct mp_node *fields) PSC_MUST_USE;
/* As field_set with an encoded value, which may be empty. */
enum err field_set_raw(struct db_txn *t, uint32_t no, enum field_src src,
    const struct stamp *by, struct slice name, struct slice value) PSC_MUST_USE;
enum err field_unset(struct db_txn *t, uint32_t no, enum field_src src,
    struct slice name) PSC_MUST_USE; /* also when it is not there */
enum err field_tag_add(
    struct db_txn *t, uint32_t no, struct slice tag) PSC_MUST_USE;
enum err field_tag_remove(
    struct db_txn *t, uint32_t no, struct slice tag) PSC_MUST_USE;
typedef int (*field_tag_fn)(void *ctx, struct slice tag);
enum err field_tags(
    struct db_txn *t, uint32_t no, field_tag_fn fn, void *ctx) PSC_MUST_USE;
bool field_tag_split(struct slice tag, struct slice *name,
    struct slice *value); /* "name" or "name=value" */
/* The asset's own value of a field (not inherited; for an image of a table,
 * also what all images of the table have alike).  ERR_NOTFOUND. */
enum err field_get(struct db_txn *t, uint32_t no, const struct asset_row *row,
    const struct field_hash *h, struct slice *value) PSC_MUST_USE;
/* The same without what edits say. */
enum err field_get_came(struct db_txn *t, uint32_t no,
    const struct asset_row *row, const struct field_hash *h,
    struct slice *value) PSC_MUST_USE;
/* fn(value) for each scalar of an encoded value; non-zero stops and is
 * returned. */
typedef int (*field_scalar_fn)(void *ctx, const struct val *v);
enum err field_scalars(struct slice value, field_scalar_fn fn, void *ctx,
    int *result) PSC_MUST_USE;

/* --- finding or making assets (apply.c, image.c) --- */
struct apply_at { /* where in a share an asset lies */
	uint32_t share_no;
	const struct cry_id *share;
	uint16_t compartment;
	uint64_t created_ms;
	bool mentioned;
};
enum err apply_asset(struct db_txn *t, const struct apply_at *at,
    const char *level, const char *key, uint32_t *no) PSC_MUST_USE;
/* Hang an asset below another, moving its CHILD row. */
enum err apply_parent(struct db_txn *t, uint32_t no, struct asset_row *row,
    uint32_t parent) PSC_MUST_USE;
enum err apply_remove(
    struct db_txn *t, uint32_t no, const struct asset_row *row) PSC_MUST_USE;
/* Replace a series' image rows by those of a member table. */
enum err image_index(struct db_txn *t, uint32_t series, struct asset_row *row,
    const struct content *c, const struct stamp *by) PSC_MUST_USE;
/* They are laid step by step, or not any more (images.h). */
enum err images_later(
    struct db_txn *t, uint32_t no, const struct cat_origin *o) PSC_MUST_USE;
enum err images_not(
    struct db_txn *t, uint32_t no, const struct stamp *by) PSC_MUST_USE;
/* The author's fault, not the disk's: the version stands, without images. */
bool images_table_bad(enum err e);
/* The image rows that a member table made. */
enum err images_drop(struct db_txn *t, uint32_t series) PSC_MUST_USE;
enum err asset_fill(struct db_txn *t, uint32_t no, const struct asset_row *row,
    struct cat_asset *out) PSC_MUST_USE;

enum err apply_event(struct store_txn *t, const struct cat_origin *o,
    const struct asset_id *asset, const char *type,
    struct slice detail) PSC_MUST_USE;

/* --- a checked edit (edit.c) --- */
struct edit_view {
	enum cat_edit_kind kind;
	char level[CAT_LEVEL_MAX + 1];
	char key[CAT_KEY_MAX + 1];
	struct slice name;
	struct buf value; /* encoded again; freed by the caller */
	enum cat_type type;
	struct asset_id to;
	uint64_t until_ms;
	char actor[96];
	char site[64];
	char reason[CAT_EDIT_REASON_MAX + 1];
	struct cat_seen seen;
};
/* Slices borrow payload.  ERR_MALFORMED, ERR_NOMEM. */
enum err edit_parse(struct slice payload, struct edit_view *out) PSC_MUST_USE;

/* --- facts and the views of them (fact.c) --- */
struct fact_at { /* one place: registers and sets live there */
	uint32_t no;
	uint8_t place;
	struct field_hash h;
};
void fact_at_edit(uint32_t no, enum cat_edit_kind kind, struct slice name,
    const struct asset_id *to, struct fact_at *out);
enum err fact_seen(struct db_txn *t, const struct fact_at *at,
    struct cat_seen *out) PSC_MUST_USE;
/* One edit's (or put tag's) change of facts and views.  *fresh: it was not
 * here before. */
struct fact_new {
	struct db_txn *t;
	const struct cat_origin *o;
	uint32_t no;
	bool by_put;
	const struct edit_view *v;
};
enum err fact_apply(const struct fact_new *f, bool *fresh) PSC_MUST_USE;
/* An asset came that links may name already. */
enum err fact_adopt(
    struct db_txn *t, uint32_t no, const struct asset_id *id) PSC_MUST_USE;
#define FACT_LSEQ_AT 3u /* in its row: the only local number there */
/* A key of FACT apart, and its value. */
struct fact_row {
	uint8_t place;
	bool live;
	struct stamp by; /* op: whole when the row has a body */
	bool marker;     /* ended before it came: there is nothing to say */
	struct cat_fact f;
};
enum err fact_row_read(
    struct slice key, struct slice value, struct fact_row *out) PSC_MUST_USE;
/* The fact that stands in a place; it borrows out.  ERR_NOTFOUND. */
enum err fact_stands(struct db_txn *t, const struct fact_at *at,
    struct buf *out, struct fact_row *row) PSC_MUST_USE;
/* Is the live fact of this key the last of its place? */
enum err fact_row_stands(
    struct db_txn *t, struct slice key, bool *out) PSC_MUST_USE;
/* Links to an asset: who links (its number) and the link's name; only the
 * links of one name if only.n > 0. */
typedef int (*fact_link_fn)(
    void *ctx, const struct asset_row *from, uint32_t no, struct slice name);
enum err fact_links(struct db_txn *t, const struct asset_id *id,
    struct slice only, fact_link_fn fn, void *ctx) PSC_MUST_USE;
/* Groups that an asset is a member of. */
typedef int (*fact_group_fn)(void *ctx, uint32_t group);
enum err fact_groups(struct db_txn *t, const struct asset_id *id,
    fact_group_fn fn, void *ctx) PSC_MUST_USE;

/* --- content, inside a transaction (content_reader.c) --- */
enum err content_open_in(struct store *s, struct db_txn *t,
    struct slice manifest, struct content **out) PSC_MUST_USE;
#define CONTENT_TABLE_BYTES_MAX (128 * MIB)
#define CONTENT_BUNDLE_BYTES_MAX (1 * GIB)
struct content_row {
	const char *name;
	uint64_t len;
	struct cry_id hash;
	uint64_t head_off; /* in the bundle */
	uint64_t head_n;
	struct slice body;
	struct slice fields;
};

struct content {
	struct store *s;
	struct buf table; /* members borrow it */
	struct mp_doc doc;
	struct content_row *m;
	uint32_t n;
	char *names;
	struct blob_manifest bundle;
	pthread_mutex_t mu; /* piece, piece_no */
	struct buf piece;   /* of the bundle: the last one read */
	uint32_t piece_no;  /* + 1; 0: none */
};
/* Header bytes of m, in parts; with c->mu held. */
enum err content_header(struct content *c, const struct content_row *m,
    blob_part_fn fn, void *ctx) PSC_MUST_USE;
/* Takes the table's bytes, also when it fails. */
enum err content_table_take(
    struct buf *table, struct content **out) PSC_MUST_USE;

#endif
