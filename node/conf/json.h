/* node/conf/json.h: the one JSON and YAML room of the node.
 *
 * Trees are jansson values behind an opaque name.  YAML loads into the same
 * tree: anchors, aliases and duplicate keys refused, depth <= 64, nodes <=
 * 100,000, YAML 1.2 core scalars; errors name line and column. */
#ifndef PSC_CONF_JSON_H
#define PSC_CONF_JSON_H

#include "store/base/buf.h"

struct json; /* a tree; json_free the root only */

enum err json_parse(
    struct slice text, struct json **out, struct errmsg *em) PSC_MUST_USE;
/* The same for files of ours that are long lists. */
enum err json_parse_max(struct slice text, uint32_t values_max,
    struct json **out, struct errmsg *em) PSC_MUST_USE;
enum err yaml_parse(
    struct slice text, struct json **out, struct errmsg *em) PSC_MUST_USE;
void json_free(struct json *j); /* NULL ok */

/* Reading: NULL j or wrong type gives NULL / def / 0. */
const struct json *json_get(const struct json *j, const char *key);
const char *json_str(const struct json *j); /* NULL if not text */
const char *json_get_str(
    const struct json *j, const char *key, const char *def);
bool json_get_bool(const struct json *j, const char *key, bool def);
int64_t json_get_int(const struct json *j, const char *key, int64_t def);
bool json_is_map(const struct json *j);
bool json_is_array(const struct json *j);
size_t json_len(const struct json *j);                      /* map or array */
const struct json *json_at(const struct json *j, size_t i); /* array */
/* A number that is not an integer, too. */
double json_get_f64(const struct json *j, const char *key, double def);
/* The i-th member of a map, in source order; NULL past the end. */
const struct json *json_member(
    const struct json *j, size_t i, const char **key);

/* Writing: an append-only writer over a buf; commas are its business.  What
 * is not UTF-8 is written as U+FFFD, a number that is not finite as null.
 * Errors are the buf's: ask buf_err() once. */
#define JW_DEPTH_MAX 40u
struct jw {
	struct buf *b;
	uint32_t depth;
	bool comma[JW_DEPTH_MAX];
	bool array[JW_DEPTH_MAX];
};
void jw_init(struct jw *w, struct buf *b);
void jw_obj(struct jw *w, const char *key); /* key NULL: in array or root */
void jw_arr(struct jw *w, const char *key);
void jw_end(struct jw *w); /* closes object or array (keeps a stack) */
void jw_str(struct jw *w, const char *key, const char *v); /* NULL: null */
void jw_strn(struct jw *w, const char *key, struct slice v);
void jw_u64(struct jw *w, const char *key, uint64_t v);
void jw_i64(struct jw *w, const char *key, int64_t v);
void jw_f64(struct jw *w, const char *key, double v);
void jw_bool(struct jw *w, const char *key, bool v);
void jw_null(struct jw *w, const char *key);
/* A msgpack value as JSON (bins as hex); malformed: null. */
void jw_mp(struct jw *w, const char *key, struct slice mp);
/* A tree as JSON. */
void jw_json(struct jw *w, const char *key, const struct json *j);

#endif
