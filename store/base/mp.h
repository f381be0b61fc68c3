/* store/base/mp.h: msgpack, bounded.
 *
 * Writing: mp_w_* append to a struct buf (sticky error there).
 * Reading: mp_parse() first walks the raw bytes without allocating (depth,
 * counts, lengths against the input and the limits), then unpacks into a
 * tree owned by struct mp_doc.  Strings and bins borrow the input, which must
 * outlive the doc.  Map keys are strings and unique.  Getters are total:
 * a missing key or a wrong type yields an error through the sticky doc->err,
 * or the caller asks with mp_has(). */
#ifndef PSC_BASE_MP_H
#define PSC_BASE_MP_H

#include "store/base/buf.h"

/* --- writing --- */
void mp_w_nil(struct buf *b);
void mp_w_bool(struct buf *b, bool v);
void mp_w_u64(struct buf *b, uint64_t v);
void mp_w_i64(struct buf *b, int64_t v);
void mp_w_f64(struct buf *b, double v);
void mp_w_str(struct buf *b, struct slice s);
void mp_w_cstr(struct buf *b, const char *s);
void mp_w_bin(struct buf *b, struct slice s);
void mp_w_array(struct buf *b, size_t n);
void mp_w_map(struct buf *b, size_t n);

struct mp_node;
/* A value that was read, written again (NULL: nil). */
void mp_w_node(struct buf *b, const struct mp_node *v);

/* Map member in one line: key, then value. */
void mp_kv_bool(struct buf *b, const char *key, bool v);
void mp_kv_u64(struct buf *b, const char *key, uint64_t v);
void mp_kv_i64(struct buf *b, const char *key, int64_t v);
void mp_kv_f64(struct buf *b, const char *key, double v);
void mp_kv_str(struct buf *b, const char *key, struct slice s);
void mp_kv_cstr(struct buf *b, const char *key, const char *s);
void mp_kv_bin(struct buf *b, const char *key, struct slice s);
void mp_kv_array(struct buf *b, const char *key, size_t n);
void mp_kv_map(struct buf *b, const char *key, size_t n);

/* --- reading --- */
struct mp_limits {
	size_t bytes_max;
	uint32_t count_max; /* items of any one array or map */
	uint32_t depth_max; /* <= 16 */
};

enum mp_type {
	MP_NONE,
	MP_NIL,
	MP_BOOL,
	MP_INT,
	MP_F64,
	MP_STR,
	MP_BIN,
	MP_ARRAY,
	MP_MAP
};

struct mp_node; /* a value in a doc; NULL stands for "absent" everywhere */

struct mp_doc {
	const struct mp_node *root;
	void *zone;
	enum err err; /* first getter failure, or ERR_OK */
};

enum err mp_parse(struct slice in, const struct mp_limits *lim,
    struct mp_doc *out) PSC_MUST_USE;
void mp_doc_fini(struct mp_doc *d);

enum mp_type mp_type(const struct mp_node *v);
const struct mp_node *mp_get(const struct mp_node *map, const char *key);
bool mp_has(const struct mp_node *map, const char *key);
uint32_t mp_len(const struct mp_node *v); /* array or map; else 0 */
const struct mp_node *mp_at(const struct mp_node *array, uint32_t i);
/* Key and value of the i-th map member; key is empty if out of range. */
const struct mp_node *mp_member(
    const struct mp_node *map, uint32_t i, struct slice *key);

/* Required members: on a missing key or wrong type or range, d->err is set
 * (first one wins) and zero is returned. */
uint64_t mp_u64(struct mp_doc *d, const struct mp_node *v, uint64_t max);
int64_t mp_i64(struct mp_doc *d, const struct mp_node *v);
double mp_f64(struct mp_doc *d, const struct mp_node *v); /* ints too */
bool mp_bool(struct mp_doc *d, const struct mp_node *v);
struct slice mp_str(struct mp_doc *d, const struct mp_node *v, size_t max);
struct slice mp_bin(struct mp_doc *d, const struct mp_node *v, size_t max);
/* A bin of exactly n bytes, copied to out (zeroed on failure). */
void mp_fixed(struct mp_doc *d, const struct mp_node *v, void *out, size_t n);
/* A string copied to out[0..cap), NUL-terminated; LIMIT if it does not fit
 * or holds a NUL. */
void mp_text(struct mp_doc *d, const struct mp_node *v, char *out, size_t cap);

#endif
