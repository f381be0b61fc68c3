/* store/base/mp.c: bounded msgpack over msgpack-c.
 *
 * mp_check walks the raw bytes first: alone, msgpack-c would reserve memory
 * for counts that five hostile bytes claim.  Extension types and non-string
 * keys are refused; duplicate keys are refused after unpacking. */
#include "store/base/mp.h"

#include <msgpack.h>

#include "store/base/mem.h"
#include "store/base/rd.h"

#define MP_DEPTH_MAX 16u

static int
mp_write(void *ctx, const char *p, size_t n)
{
	buf_put(ctx, p, n);
	return 0; /* the error is kept in the buf */
}

static msgpack_packer
mp_packer(struct buf *b)
{
	msgpack_packer pk;

	msgpack_packer_init(&pk, b, mp_write);
	return pk;
}

void
mp_w_nil(struct buf *b)
{
	msgpack_packer pk = mp_packer(b);

	(void)msgpack_pack_nil(&pk);
}

void
mp_w_bool(struct buf *b, bool v)
{
	msgpack_packer pk = mp_packer(b);

	(void)(v ? msgpack_pack_true(&pk) : msgpack_pack_false(&pk));
}

void
mp_w_u64(struct buf *b, uint64_t v)
{
	msgpack_packer pk = mp_packer(b);

	(void)msgpack_pack_uint64(&pk, v);
}

void
mp_w_i64(struct buf *b, int64_t v)
{
	msgpack_packer pk = mp_packer(b);

	(void)msgpack_pack_int64(&pk, v);
}

void
mp_w_f64(struct buf *b, double v)
{
	msgpack_packer pk = mp_packer(b);

	(void)msgpack_pack_double(&pk, v);
}

void
mp_w_str(struct buf *b, struct slice s)
{
	msgpack_packer pk = mp_packer(b);

	(void)msgpack_pack_str(&pk, s.n);
	buf_put_slice(b, s);
}

void
mp_w_cstr(struct buf *b, const char *s)
{
	mp_w_str(b, slice_str(s));
}

void
mp_w_bin(struct buf *b, struct slice s)
{
	msgpack_packer pk = mp_packer(b);

	(void)msgpack_pack_bin(&pk, s.n);
	buf_put_slice(b, s);
}

void
mp_w_array(struct buf *b, size_t n)
{
	msgpack_packer pk = mp_packer(b);

	(void)msgpack_pack_array(&pk, n);
}

void
mp_w_map(struct buf *b, size_t n)
{
	msgpack_packer pk = mp_packer(b);

	(void)msgpack_pack_map(&pk, n);
}

void
mp_kv_bool(struct buf *b, const char *key, bool v)
{
	mp_w_cstr(b, key);
	mp_w_bool(b, v);
}

void
mp_kv_u64(struct buf *b, const char *key, uint64_t v)
{
	mp_w_cstr(b, key);
	mp_w_u64(b, v);
}

void
mp_kv_i64(struct buf *b, const char *key, int64_t v)
{
	mp_w_cstr(b, key);
	mp_w_i64(b, v);
}

void
mp_kv_f64(struct buf *b, const char *key, double v)
{
	mp_w_cstr(b, key);
	mp_w_f64(b, v);
}

void
mp_kv_str(struct buf *b, const char *key, struct slice s)
{
	mp_w_cstr(b, key);
	mp_w_str(b, s);
}

void
mp_kv_cstr(struct buf *b, const char *key, const char *s)
{
	mp_w_cstr(b, key);
	mp_w_cstr(b, s);
}

void
mp_kv_bin(struct buf *b, const char *key, struct slice s)
{
	mp_w_cstr(b, key);
	mp_w_bin(b, s);
}

void
mp_kv_array(struct buf *b, const char *key, size_t n)
{
	mp_w_cstr(b, key);
	mp_w_array(b, n);
}

void
mp_kv_map(struct buf *b, const char *key, size_t n)
{
	mp_w_cstr(b, key);
	mp_w_map(b, n);
}

/* --- checking raw bytes --- */

/* What a type byte announces: bytes to skip, or items to walk. */
struct mp_head {
	size_t skip;
	uint32_t items; /* array elements, or 2 * map pairs */
	bool is_map;
};

static size_t
mp_be(struct rd *r, size_t n)
{
	struct slice s = rd_bytes(r, n);
	size_t v = 0, i;

	for (i = 0; i < s.n; i++)
		v = v << 8 | s.p[i];
	return v;
}

static void
mp_head_items(
    struct rd *r, size_t n, bool is_map, uint32_t max, struct mp_head *h)
{
	size_t items = is_map ? 2 * n : n;

	if (n > max) {
		rd_fail(r, ERR_LIMIT);
	} else if (items > r->left) { /* each item takes a byte or more */
		rd_fail(r, ERR_SHORT);
	} else {
		h->items = (uint32_t)items;
		h->is_map = is_map;
	}
}

static struct mp_head
mp_head_read(struct rd *r, uint32_t max)
{
	struct mp_head h = { 0 };
	uint8_t t = rd_u8(r);

	if (t <= 0x7f || t >= 0xe0)
		return h; /* small integers */
	if (t <= 0x8f) {
		mp_head_items(r, t & 15u, true, max, &h);
	} else if (t <= 0x9f) {
		mp_head_items(r, t & 15u, false, max, &h);
	} else if (t <= 0xbf) {
		h.skip = t & 31u;
	} else if (t == 0xc0 || t == 0xc2 || t == 0xc3) {
		/* nil, false, true */
	} else if (t >= 0xc4 && t <= 0xc6) {
		h.skip = mp_be(r, (size_t)1 << (t - 0xc4));
	} else if (t >= 0xca && t <= 0xcb) {
		h.skip = t == 0xca ? 4 : 8;
	} else if (t >= 0xcc && t <= 0xcf) {
		h.skip = (size_t)1 << (t - 0xcc);
	} else if (t >= 0xd0 && t <= 0xd3) {
		h.skip = (size_t)1 << (t - 0xd0);
	} else if (t >= 0xd9 && t <= 0xdb) {
		h.skip = mp_be(r, (size_t)1 << (t - 0xd9));
	} else if (t == 0xdc || t == 0xdd) {
		mp_head_items(r, mp_be(r, t == 0xdc ? 2 : 4), false, max, &h);
	} else if (t == 0xde || t == 0xdf) {
		mp_head_items(r, mp_be(r, t == 0xde ? 2 : 4), true, max, &h);
	} else {
		rd_fail(r, ERR_MALFORMED); /* ext types, 0xc1 */
	}
	return h;
}

static enum err
mp_check(struct slice in, const struct mp_limits *lim)
{
	struct {
		uint32_t left;
		bool is_map;
	} stack[MP_DEPTH_MAX];
	struct rd r = rd_init(in);
	uint32_t depth = 0;
	bool key;

	REQUIRE(lim->depth_max <= MP_DEPTH_MAX);
	if (in.n > lim->bytes_max)
		return ERR_LIMIT;
	do {
		struct mp_head h;

		key = depth > 0 && stack[depth - 1].is_map &&
		      stack[depth - 1].left % 2 == 0;
		if (key && r.left > 0 &&
		    !((r.at[0] >= 0xa0 && r.at[0] <= 0xbf) ||
			(r.at[0] >= 0xd9 && r.at[0] <= 0xdb)))
			return ERR_MALFORMED;
		h = mp_head_read(&r, lim->count_max);
		(void)rd_bytes(&r, h.skip);
		if (r.err != ERR_OK)
			return r.err;
		if (depth > 0)
			stack[depth - 1].left--;
		if (h.items > 0) {
			if (depth >= lim->depth_max)
				return ERR_LIMIT;
			stack[depth].left = h.items;
			stack[depth].is_map = h.is_map;
			depth++;
		}
		while (depth > 0 && stack[depth - 1].left == 0)
			depth--;
	} while (depth > 0);
	return rd_end(&r);
}

/* --- reading --- */

static const msgpack_object *
mp_obj(const struct mp_node *v)
{
	return (const msgpack_object *)(const void *)v;
}

static const struct mp_node *
mp_node_of(const msgpack_object *o)
{
	return (const struct mp_node *)(const void *)o;
}

static struct slice
mp_key_at(const msgpack_object *map, uint32_t i)
{
	const msgpack_object *k = &map->via.map.ptr[i].key;

	return slice_of(k->via.str.ptr, k->via.str.size);
}

static int
mp_key_cmp(const void *a, const void *b)
{
	return slice_cmp(*(const struct slice *)a, *(const struct slice *)b);
}

/* Sorted first: a hostile map of thousands of keys must not buy millions of
 * comparisons. */
static enum err
mp_map_unique(const msgpack_object *map)
{
	struct slice few[16], *keys = few;
	uint32_t n = map->via.map.size, i;
	enum err e = ERR_OK;

	if (n > sizeof(few) / sizeof(few[0])) {
		keys = mem_array(n, sizeof(*keys));
		if (keys == NULL)
			return ERR_NOMEM;
	}
	for (i = 0; i < n; i++)
		keys[i] = mp_key_at(map, i);
	if (n > 1)
		qsort(keys, n, sizeof(*keys), mp_key_cmp);
	for (i = 1; i < n && e == ERR_OK; i++) {
		if (slice_eq(keys[i - 1], keys[i]))
			e = ERR_MALFORMED;
	}
	if (keys != few)
		mem_free(keys);
	return e;
}

static enum err
mp_tree_unique(const msgpack_object *o) /* depth <= MP_DEPTH_MAX */
{
	enum err e = ERR_OK;
	uint32_t i;

	if (o->type == MSGPACK_OBJECT_ARRAY) {
		for (i = 0; i < o->via.array.size && e == ERR_OK; i++)
			e = mp_tree_unique(&o->via.array.ptr[i]);
	} else if (o->type == MSGPACK_OBJECT_MAP) {
		e = mp_map_unique(o);
		for (i = 0; i < o->via.map.size && e == ERR_OK; i++)
			e = mp_tree_unique(&o->via.map.ptr[i].val);
	}
	return e;
}

static enum err
mp_unpack(struct slice in, msgpack_unpacked *u)
{
	size_t off = 0;

	switch ((int)msgpack_unpack_next(u, (const char *)in.p, in.n, &off)) {
	case MSGPACK_UNPACK_SUCCESS: return mp_tree_unique(&u->data);
	case MSGPACK_UNPACK_NOMEM_ERROR: return ERR_NOMEM;
	default: return ERR_MALFORMED;
	}
}

enum err
mp_parse(struct slice in, const struct mp_limits *lim, struct mp_doc *out)
{
	msgpack_unpacked *u;
	enum err e = mp_check(in, lim);

	if (e != ERR_OK)
		return e;
	u = mem_new(sizeof(*u));
	if (u == NULL)
		return ERR_NOMEM;
	msgpack_unpacked_init(u);
	e = mp_unpack(in, u);
	if (e != ERR_OK) {
		msgpack_unpacked_destroy(u);
		mem_free(u);
		return e;
	}
	*out = (struct mp_doc){ .root = mp_node_of(&u->data), .zone = u };
	return ERR_OK;
}

void
mp_doc_fini(struct mp_doc *d)
{
	if (d->zone != NULL) {
		msgpack_unpacked_destroy(d->zone);
		mem_free(d->zone);
	}
	*d = (struct mp_doc){ 0 };
}

void
mp_w_node(struct buf *b, const struct mp_node *v)
{
	msgpack_packer pk = mp_packer(b);

	if (v == NULL)
		(void)msgpack_pack_nil(&pk);
	else
		(void)msgpack_pack_object(&pk, *mp_obj(v));
}

enum mp_type
mp_type(const struct mp_node *v)
{
	if (v == NULL)
		return MP_NONE;
	switch ((int)mp_obj(v)->type) {
	case MSGPACK_OBJECT_NIL: return MP_NIL;
	case MSGPACK_OBJECT_BOOLEAN: return MP_BOOL;
	case MSGPACK_OBJECT_POSITIVE_INTEGER:
	case MSGPACK_OBJECT_NEGATIVE_INTEGER: return MP_INT;
	case MSGPACK_OBJECT_FLOAT32:
	case MSGPACK_OBJECT_FLOAT64: return MP_F64;
	case MSGPACK_OBJECT_STR: return MP_STR;
	case MSGPACK_OBJECT_BIN: return MP_BIN;
	case MSGPACK_OBJECT_ARRAY: return MP_ARRAY;
	case MSGPACK_OBJECT_MAP: return MP_MAP;
	default: return MP_NONE;
	}
}

const struct mp_node *
mp_get(const struct mp_node *map, const char *key)
{
	struct slice want = slice_str(key);
	uint32_t i;

	if (mp_type(map) != MP_MAP)
		return NULL;
	for (i = 0; i < mp_obj(map)->via.map.size; i++) {
		if (slice_eq(mp_key_at(mp_obj(map), i), want))
			return mp_node_of(&mp_obj(map)->via.map.ptr[i].val);
	}
	return NULL;
}

bool
mp_has(const struct mp_node *map, const char *key)
{
	return mp_get(map, key) != NULL;
}

uint32_t
mp_len(const struct mp_node *v)
{
	enum mp_type t = mp_type(v);

	if (t == MP_ARRAY)
		return mp_obj(v)->via.array.size;
	return t == MP_MAP ? mp_obj(v)->via.map.size : 0;
}

const struct mp_node *
mp_at(const struct mp_node *array, uint32_t i)
{
	if (mp_type(array) != MP_ARRAY || i >= mp_len(array))
		return NULL;
	return mp_node_of(&mp_obj(array)->via.array.ptr[i]);
}

const struct mp_node *
mp_member(const struct mp_node *map, uint32_t i, struct slice *key)
{
	*key = (struct slice){ 0 };
	if (mp_type(map) != MP_MAP || i >= mp_len(map))
		return NULL;
	*key = mp_key_at(mp_obj(map), i);
	return mp_node_of(&mp_obj(map)->via.map.ptr[i].val);
}

static void
mp_fail(struct mp_doc *d, enum err e)
{
	if (d->err == ERR_OK)
		d->err = e;
}

static bool
mp_want(struct mp_doc *d, const struct mp_node *v, enum mp_type t)
{
	if (mp_type(v) == t)
		return true;
	mp_fail(d, ERR_MALFORMED);
	return false;
}

uint64_t
mp_u64(struct mp_doc *d, const struct mp_node *v, uint64_t max)
{
	if (!mp_want(d, v, MP_INT))
		return 0;
	if (mp_obj(v)->type != MSGPACK_OBJECT_POSITIVE_INTEGER) {
		mp_fail(d, ERR_MALFORMED);
		return 0;
	}
	if (mp_obj(v)->via.u64 > max) {
		mp_fail(d, ERR_LIMIT);
		return 0;
	}
	return mp_obj(v)->via.u64;
}

int64_t
mp_i64(struct mp_doc *d, const struct mp_node *v)
{
	if (!mp_want(d, v, MP_INT))
		return 0;
	if (mp_obj(v)->type == MSGPACK_OBJECT_NEGATIVE_INTEGER)
		return mp_obj(v)->via.i64;
	if (mp_obj(v)->via.u64 > (uint64_t)INT64_MAX) {
		mp_fail(d, ERR_LIMIT);
		return 0;
	}
	return (int64_t)mp_obj(v)->via.u64;
}

double
mp_f64(struct mp_doc *d, const struct mp_node *v)
{
	if (mp_type(v) == MP_INT)
		return (double)mp_i64(d, v);
	if (!mp_want(d, v, MP_F64))
		return 0;
	return mp_obj(v)->via.f64;
}

bool
mp_bool(struct mp_doc *d, const struct mp_node *v)
{
	return mp_want(d, v, MP_BOOL) && mp_obj(v)->via.boolean;
}

static struct slice
mp_bounded(struct mp_doc *d, const char *p, size_t n, size_t max)
{
	if (n > max) {
		mp_fail(d, ERR_LIMIT);
		return (struct slice){ 0 };
	}
	return slice_of(p, n);
}

struct slice
mp_str(struct mp_doc *d, const struct mp_node *v, size_t max)
{
	if (!mp_want(d, v, MP_STR))
		return (struct slice){ 0 };
	return mp_bounded(
	    d, mp_obj(v)->via.str.ptr, mp_obj(v)->via.str.size, max);
}

struct slice
mp_bin(struct mp_doc *d, const struct mp_node *v, size_t max)
{
	if (!mp_want(d, v, MP_BIN))
		return (struct slice){ 0 };
	return mp_bounded(
	    d, mp_obj(v)->via.bin.ptr, mp_obj(v)->via.bin.size, max);
}

void
mp_fixed(struct mp_doc *d, const struct mp_node *v, void *out, size_t n)
{
	struct slice s = mp_bin(d, v, n);

	memset(out, 0, n);
	if (s.n != n) {
		mp_fail(d, ERR_MALFORMED);
		return;
	}
	memcpy(out, s.p, n);
}

void
mp_text(struct mp_doc *d, const struct mp_node *v, char *out, size_t cap)
{
	struct slice s = mp_str(d, v, cap - 1);

	out[0] = '\0';
	if (s.n > 0 && memchr(s.p, 0, s.n) != NULL) {
		mp_fail(d, ERR_LIMIT);
		return;
	}
	if (s.n > 0)
		memcpy(out, s.p, s.n);
	out[s.n] = '\0';
}
