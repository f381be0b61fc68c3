/* store/catalog/put.c: the payload of an asset.put op.
 *
 * msgpack map, keys: v path derived source manifest hash bytes members actor
 * site parents prov tags (docs/store-format.md, Catalog).  The writer runs
 * the reader's checks over what it wrote, so a put that encodes here is
 * accepted by every node; unknown keys are skipped. */
#include "store/catalog/catalog_internal.h"

#include <math.h>

#define PUT_VERSION 1u
#define PUT_PROVENANCE_BYTES (64 * KIB)

const struct mp_limits put_limits = {
	.bytes_max = LIM_OP_PAYLOAD_BYTES,
	.count_max = 4096,
	.depth_max = 12,
};

/* --- writing --- */

static void
put_map(struct buf *out, const char *key, struct slice map)
{
	mp_w_cstr(out, key);
	if (map.n > 0)
		buf_put_slice(out, map);
	else
		mp_w_map(out, 0);
}

static void
put_node(struct buf *out, const struct cat_node *n)
{
	mp_w_map(out, 3);
	mp_kv_cstr(out, "level", level_canonical(n->level));
	mp_kv_cstr(out, "key", n->key);
	put_map(out, "fields", n->fields);
}

static void
put_lists(struct buf *out, const struct cat_put *p)
{
	uint32_t i;

	mp_kv_array(out, "path", p->n_path);
	for (i = 0; i < p->n_path; i++)
		put_node(out, &p->path[i]);
	mp_kv_array(out, "parents", p->n_parents);
	for (i = 0; i < p->n_parents; i++)
		mp_w_bin(out, slice_of(p->parents[i].b, 32));
	mp_kv_array(out, "tags", p->n_tags);
	for (i = 0; i < p->n_tags; i++)
		mp_w_cstr(out, p->tags[i]);
}

static enum err
put_check(struct slice payload)
{
	struct mp_doc doc = { 0 };
	enum err e = cat_put_parse(payload, &doc);

	mp_doc_fini(&doc);
	return e;
}

enum err
cat_put_encode(const struct cat_put *p, struct buf *out)
{
	size_t start = out->n;
	enum err e;

	mp_w_map(out, p->derived ? 13 : 12);
	mp_kv_u64(out, "v", PUT_VERSION);
	put_lists(out, p);
	mp_kv_bool(out, "derived", p->derived);
	if (p->derived)
		mp_kv_bin(out, "source", slice_of(p->source.b, 20));
	mp_kv_bin(out, "manifest", p->manifest);
	mp_kv_bin(out, "hash", slice_of(p->hash.b, 32));
	mp_kv_u64(out, "bytes", p->bytes);
	mp_kv_u64(out, "members", p->members);
	mp_kv_cstr(out, "actor", p->actor);
	mp_kv_cstr(out, "site", p->site);
	put_map(out, "prov", p->provenance);
	e = buf_err(out);
	if (e == ERR_OK)
		e = put_check(slice_of(out->p + start, out->n - start));
	if (e != ERR_OK && buf_err(out) == ERR_OK)
		out->n = start;
	return e;
}

/* --- checking --- */

/* Whole UTF-8 (RFC 3629) without NUL; controls only where DICOM texts have
 * them (tab, line feed, form feed, carriage return). */
static size_t
utf8_next(const uint8_t *p, size_t left)
{
	static const uint32_t least[5] = { 0, 0, 0x80, 0x800, 0x10000 };
	uint32_t v;
	size_t n, i;

	if (p[0] < 0x80)
		return 1;
	n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
	if (p[0] < 0xc2 || p[0] > 0xf4 || left < n)
		return 0;
	v = p[0] & (0xffu >> (n + 1));
	for (i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		v = v << 6 | (p[i] & 0x3fu);
	}
	if (v < least[n] || v > 0x10ffff || (v >= 0xd800 && v <= 0xdfff))
		return 0;
	return n;
}

static bool
text_walk(struct slice s, bool lines)
{
	size_t i = 0, n;

	while (i < s.n) {
		uint8_t c = s.p[i];
		bool line = c == '\t' || c == '\n' || c == '\f' || c == '\r';

		if (c == 0x7f || (c < 0x20 && !(lines && line)))
			return false;
		n = utf8_next(s.p + i, s.n - i);
		if (n == 0)
			return false;
		i += n;
	}
	return true;
}

bool
put_text_valid(struct slice s, size_t max)
{
	return s.n > 0 && s.n <= max && text_walk(s, false);
}

static bool
scalar_valid(const struct mp_node *v)
{
	struct mp_doc d = { 0 };
	struct slice s;

	switch (mp_type(v)) {
	case MP_STR:
		s = mp_str(&d, v, CAT_VALUE_MAX);
		return d.err == ERR_OK && text_walk(s, true);
	case MP_F64: return isfinite(mp_f64(&d, v)) != 0;
	case MP_INT: /* above the signed range there is no order with others */
		(void)mp_i64(&d, v);
		return d.err == ERR_OK;
	case MP_BOOL:
	case MP_NIL: return true;
	case MP_NONE:
	case MP_BIN:
	case MP_ARRAY:
	case MP_MAP: return false;
	}
	return false;
}

static bool
value_valid(const struct mp_node *v)
{
	uint32_t i;

	if (mp_type(v) != MP_ARRAY)
		return scalar_valid(v);
	for (i = 0; i < mp_len(v); i++) {
		if (!scalar_valid(mp_at(v, i)))
			return false;
	}
	return true;
}

/* An upper bound of a scalar's encoding, without memory: being short of it
 * must never look like a malformed op. */
static size_t
scalar_bytes(const struct mp_node *v)
{
	struct mp_doc d = { 0 };

	return mp_type(v) == MP_STR ? 3 + mp_str(&d, v, SIZE_MAX).n : 9;
}

bool
put_lines_valid(struct slice s)
{
	return text_walk(s, true);
}

static bool
value_fits(const struct mp_node *v)
{
	size_t n = 3; /* the header of an array */
	uint32_t i;

	if (mp_type(v) != MP_ARRAY)
		return scalar_bytes(v) <= PUT_VALUE_BYTES;
	for (i = 0; i < mp_len(v) && n <= PUT_VALUE_BYTES; i++)
		n += scalar_bytes(mp_at(v, i));
	return n <= PUT_VALUE_BYTES;
}

bool
put_value_valid(const struct mp_node *v)
{
	return value_valid(v) && value_fits(v);
}

bool
put_name_valid(struct slice name)
{
	size_t i;

	if (name.n == 0 || name.n > CAT_FIELD_MAX)
		return false;
	for (i = 0; i < name.n; i++) {
		uint8_t c = name.p[i];
		bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
		bool digit = c >= '0' && c <= '9';

		if (!letter && c != '_' && !(i > 0 && (digit || c == '-')))
			return false;
	}
	return true;
}

bool
put_fields_valid(const struct mp_node *map)
{
	struct slice name;
	uint32_t i;

	if (mp_type(map) != MP_MAP || mp_len(map) > PUT_FIELDS_MAX)
		return false;
	for (i = 0; i < mp_len(map); i++) {
		const struct mp_node *v = mp_member(map, i, &name);

		if (!put_name_valid(name) || !put_value_valid(v))
			return false;
	}
	return true;
}

/* --- reading --- */

static void
view_fail(struct mp_doc *doc)
{
	if (doc->err == ERR_OK)
		doc->err = ERR_MALFORMED;
}

static void
view_node(struct mp_doc *doc, const struct mp_node *n, struct put_node *out)
{
	mp_text(doc, mp_get(n, "level"), out->level, sizeof(out->level));
	mp_text(doc, mp_get(n, "key"), out->key, sizeof(out->key));
	out->fields = mp_get(n, "fields");
	if (!level_valid(out->level) ||
	    strcmp(level_canonical(out->level), out->level) != 0 ||
	    !put_text_valid(slice_str(out->key), CAT_KEY_MAX) ||
	    !put_fields_valid(out->fields))
		view_fail(doc);
}

/* Ranks rise from node to node and only the last may be of a free level, so
 * that "below" can never run in a circle. */
static void
view_path(struct mp_doc *doc, struct put_view *v)
{
	const struct mp_node *path = mp_get(doc->root, "path");
	enum level_rank before = 0, rank;
	uint32_t i;

	if (mp_type(path) != MP_ARRAY || mp_len(path) < 1 ||
	    mp_len(path) > PUT_PATH_MAX) {
		view_fail(doc);
		return;
	}
	v->n_path = mp_len(path);
	for (i = 0; i < v->n_path; i++) {
		view_node(doc, mp_at(path, i), &v->path[i]);
		rank = level_rank(v->path[i].level);
		if (rank <= before || (rank == LEVEL_FREE && i + 1 < v->n_path))
			view_fail(doc);
		before = rank;
	}
}

static void
view_parents(struct mp_doc *doc, struct put_view *v)
{
	const struct mp_node *a = mp_get(doc->root, "parents");
	uint32_t i;

	if (mp_type(a) != MP_ARRAY || mp_len(a) > PUT_PARENTS_MAX) {
		view_fail(doc);
		return;
	}
	v->n_parents = mp_len(a);
	for (i = 0; i < v->n_parents; i++)
		mp_fixed(doc, mp_at(a, i), v->parents[i].b, 32);
}

static void
view_tags(struct mp_doc *doc, struct put_view *v)
{
	struct slice name, value;
	uint32_t i;

	v->tags = mp_get(doc->root, "tags");
	if (mp_type(v->tags) != MP_ARRAY || mp_len(v->tags) > PUT_TAGS_MAX) {
		view_fail(doc);
		return;
	}
	for (i = 0; i < mp_len(v->tags); i++) {
		struct slice t = mp_str(doc, mp_at(v->tags, i), PUT_TAG_BYTES);

		if (!put_text_valid(t, PUT_TAG_BYTES) ||
		    !field_tag_split(t, &name, &value))
			view_fail(doc);
	}
}

static void
view_provenance(struct mp_doc *doc, struct put_view *v)
{
	struct buf b = BUF_MAX(PUT_PROVENANCE_BYTES);

	v->provenance = mp_get(doc->root, "prov");
	mp_w_node(&b, v->provenance);
	if (buf_err(&b) == ERR_NOMEM)
		doc->err = ERR_NOMEM;
	else if (mp_type(v->provenance) != MP_MAP || buf_err(&b) != ERR_OK)
		view_fail(doc);
	buf_fini(&b);
}

static void
view_content(struct mp_doc *doc, struct put_view *v)
{
	struct blob_manifest m = { 0 };

	v->manifest =
	    mp_bin(doc, mp_get(doc->root, "manifest"), LIM_OP_PAYLOAD_BYTES);
	mp_fixed(doc, mp_get(doc->root, "hash"), v->hash.b, 32);
	v->bytes = mp_u64(doc, mp_get(doc->root, "bytes"), (uint64_t)1 << 50);
	v->members = (uint32_t)mp_u64(
	    doc, mp_get(doc->root, "members"), LIM_SERIES_MEMBERS);
	if (v->manifest.n > 0 && doc->err == ERR_OK) {
		enum err e = blob_manifest_decode(v->manifest, &m);

		doc->err = e;
		blob_manifest_fini(&m);
	}
}

enum err
put_view(struct mp_doc *doc, struct put_view *v)
{
	memset(v, 0, sizeof(*v));
	if (mp_u64(doc, mp_get(doc->root, "v"), UINT32_MAX) != PUT_VERSION)
		view_fail(doc);
	view_path(doc, v);
	view_parents(doc, v);
	view_tags(doc, v);
	view_provenance(doc, v);
	view_content(doc, v);
	v->derived = mp_bool(doc, mp_get(doc->root, "derived"));
	if (v->derived)
		mp_fixed(doc, mp_get(doc->root, "source"), v->source.b, 20);
	mp_text(doc, mp_get(doc->root, "actor"), v->actor, sizeof(v->actor));
	mp_text(doc, mp_get(doc->root, "site"), v->site, sizeof(v->site));
	if (!put_text_valid(slice_str(v->actor), sizeof(v->actor)) ||
	    !put_text_valid(slice_str(v->site), sizeof(v->site)))
		view_fail(doc);
	return doc->err;
}

bool
cat_put_beside(const struct mp_doc *put)
{
	const struct mp_node *path = mp_get(put->root, "path");
	char level[CAT_LEVEL_MAX + 1];
	struct mp_doc d = { 0 };
	uint32_t i, n = mp_len(path);

	for (i = 0; i + 1 < n; i++) {
		if (mp_len(mp_get(mp_at(path, i), "fields")) > 0)
			return false;
	}
	mp_text(&d, mp_get(mp_at(path, i), "level"), level, sizeof(level));
	return d.err == ERR_OK && level_rank(level) == LEVEL_FREE;
}

enum err
cat_put_parse(struct slice payload, struct mp_doc *doc)
{
	struct put_view *v = mem_new(sizeof(*v));
	enum err e;

	if (v == NULL)
		return ERR_NOMEM;
	e = mp_parse(payload, &put_limits, doc);
	if (e == ERR_OK) {
		e = put_view(doc, v);
		if (e != ERR_OK)
			mp_doc_fini(doc);
	}
	mem_free(v);
	return e;
}

/* --- again --- */

static enum err
again_encode(const struct put_view *v, const struct cat_again *by,
    struct buf *fields, struct buf *out)
{
	const struct put_node *own = &v->path[v->n_path - 1];
	struct cat_node path[PUT_PATH_MAX] = { 0 };
	struct cat_put p = { .path = path,
		.n_path = v->n_path,
		.derived = v->derived,
		.source = v->source,
		.manifest = v->manifest,
		.hash = v->hash,
		.bytes = v->bytes,
		.members = v->members,
		.actor = by->actor,
		.site = by->site,
		.parents = by->parents,
		.n_parents = by->n_parents,
		.provenance = by->provenance };
	uint32_t i;

	mp_w_node(fields, own->fields);
	for (i = 0; i < v->n_path; i++)
		path[i] = (struct cat_node){ .level = v->path[i].level,
			.key = v->path[i].key };
	path[v->n_path - 1].fields = buf_slice(fields);
	return buf_err(fields) == ERR_OK ? cat_put_encode(&p, out)
					 : buf_err(fields);
}

enum err
cat_put_again(struct slice payload, const struct cat_again *by, struct buf *out)
{
	struct buf fields = BUF_MAX(LIM_OP_PAYLOAD_BYTES);
	struct put_view *v = mem_new(sizeof(*v));
	struct mp_doc doc = { 0 };
	enum err e =
	    v == NULL ? ERR_NOMEM : mp_parse(payload, &put_limits, &doc);

	if (e == ERR_OK) {
		e = put_view(&doc, v);
		if (e == ERR_OK)
			e = again_encode(v, by, &fields, out);
		mp_doc_fini(&doc);
	}
	buf_fini(&fields);
	mem_free(v);
	return e;
}
