/* store/catalog/query_internal.h: a parsed query, shared by the files that
 * parse, plan and run it. */
#ifndef PSC_CATALOG_QUERY_INTERNAL_H
#define PSC_CATALOG_QUERY_INTERNAL_H

#include "store/catalog/catalog_internal.h"

#define QUERY_TEXT_MAX 4096u
#define QUERY_NODES_MAX 256u
#define QUERY_DEPTH_MAX 32u /* parentheses and nots */
#define QUERY_PREFIX_MIN 8u /* characters of an id */

enum query_kind {
	QUERY_ALL,
	QUERY_AND,
	QUERY_OR,
	QUERY_NOT,
	QUERY_CMP,
	QUERY_TAG
};
enum query_op { QOP_EQ, QOP_NE, QOP_LT, QOP_LE, QOP_GT, QOP_GE, QOP_HAS };
enum query_of {
	OF_FIELD,
	OF_LEVEL,
	OF_ID,
	OF_SHARE,
	OF_COMPARTMENT,
	OF_CREATED,
	OF_RETIRED
};

struct query_lit {
	struct slice text; /* unescaped; borrows the query's copy */
	bool quoted;
	struct val v;
	bool num_ok; /* reads as a number, leading zeros or not */
	double num;
	bool dated; /* ISO, or unquoted DICOM form */
};

struct query_node {
	enum query_kind kind;
	uint16_t a, b; /* AND, OR: both; NOT: a */
	enum query_op op;
	enum query_of of;
	struct field_hash field;
	char level[CAT_LEVEL_MAX + 1]; /* "subject.Age": only there; or "" */
	struct slice tag;
	bool has_lit; /* tag:NAME without a value has none */
	struct query_lit lit;
};

struct cat_query {
	uint8_t *text;
	struct query_node *nodes;
	uint32_t n;
	uint16_t root;
	bool says_retired; /* else what is retired is not looked at */
	bool says_context; /* as well: what is said of levels */
};

/* Does one value satisfy op (not QOP_NE) against the literal? */
bool query_value_match(
    enum query_op op, const struct query_lit *lit, const struct val *v);

/* One asset under test; the rows above it are read when asked for. */
#define QUERY_CHAIN_MAX 8u
struct query_run {
	struct db_txn *t;
	const struct cat_query *q;
	struct asset_row rows[QUERY_CHAIN_MAX]; /* [0]: the asset */
	uint32_t nos[QUERY_CHAIN_MAX];
	uint32_t n;
};
enum err query_eval(struct query_run *r, uint16_t node, bool *out) PSC_MUST_USE;
/* Is the asset, or one above it, retired? */
enum err query_retired(struct query_run *r, bool *out) PSC_MUST_USE;
/* Not looked at unless the query asks: retired (if anything is), or about a
 * level. */
enum err query_hidden(
    struct query_run *r, bool retired, bool *out) PSC_MUST_USE;
enum err query_any_retired(struct db_txn *t, bool *out) PSC_MUST_USE;

/* --- planning (query_plan.c) --- */
enum range_kind {
	RANGE_TEXT,
	RANGE_NUM,
	RANGE_DATE,
	RANGE_LEVEL,
	RANGE_TAG,
	RANGE_RETIRED,
	RANGE_ID
};
struct query_range {
	uint16_t node; /* UINT16_MAX: the level of the options */
	enum range_kind kind;
};
#define PLAN_RANGES_MAX 16u
struct query_plan {
	struct query_range r[PLAN_RANGES_MAX];
	uint32_t n;
	uint64_t cost; /* index entries, counted up to a bound */
	bool ok;
};
enum err query_plan(struct db_txn *t, const struct cat_query *q,
    const char *level, struct query_plan *out) PSC_MUST_USE;
/* "level=X" that every match must satisfy; NULL if there is none. */
const char *query_level(const struct cat_query *q, char buf[CAT_LEVEL_MAX + 1]);
/* Calls fn with each asset number in a range. */
typedef int (*query_range_fn)(void *ctx, uint32_t no);
struct query_index {
	struct db_txn *t;
	const struct cat_query *q;
	const char *level;
};
enum err query_range_walk(const struct query_index *x,
    const struct query_range *r, query_range_fn fn, void *ctx) PSC_MUST_USE;
/* Only the asset itself, or also what lies below it? */
bool query_range_inherits(const struct query_range *r);

#endif
