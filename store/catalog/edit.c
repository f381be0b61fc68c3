/* store/catalog/edit.c: the payload of an edit op, and applying it.
 *
 * msgpack map, keys: v kind level key name value type to until actor site
 * reason seen (docs/store-format.md, Edits).  The writer runs the reader's
 * checks over what it wrote; unknown keys are skipped.  An edit says itself
 * which asset it speaks of, by level and natural key: so it can be checked
 * and applied before anything else of that asset has come. */
#include "store/catalog/catalog_internal.h"

#define EDIT_VERSION 1u
#define EDIT_UNTIL_MAX ((uint64_t)1 << 53)

static const struct mp_limits edit_limits = {
	.bytes_max = 16 * KIB,
	.count_max = 1024,
	.depth_max = 4,
};

static const char *const kind_text[CAT_EDIT_KIND_MAX + 1] = {
	[CAT_FIELD_SET] = "field.set",
	[CAT_TAG_ADD] = "tag.add",
	[CAT_TAG_REMOVE] = "tag.remove",
	[CAT_LINK_ADD] = "link.add",
	[CAT_LINK_REMOVE] = "link.remove",
	[CAT_NOTE] = "note.add",
	[CAT_RETIRE] = "asset.retire",
	[CAT_UNRETIRE] = "asset.unretire",
	[CAT_LOCK] = "lock.take",
	[CAT_UNLOCK] = "lock.drop",
	[CAT_FIELD_TYPE] = "field.type",
	[CAT_CONTEXT] = "context.set",
	[CAT_EXPECT] = "expect.set",
	[CAT_CONTACT] = "contact.set",
};

const char *
cat_edit_text(enum cat_edit_kind k)
{
	return k >= 1 && k <= CAT_EDIT_KIND_MAX ? kind_text[k] : "";
}

/* --- writing --- */

static void
edit_seen(struct buf *out, const struct cat_seen *seen)
{
	uint32_t i;

	mp_kv_array(out, "seen", seen->n);
	for (i = 0; i < seen->n; i++) {
		mp_w_array(out, 2);
		mp_w_u64(out, seen->v[i].lamport);
		mp_w_bin(out, slice_of(seen->v[i].op.b, 32));
	}
}

enum err
cat_edit_encode(
    const struct cat_edit *e, const struct cat_seen *seen, struct buf *out)
{
	static const struct cat_seen none;
	struct edit_view *v;
	size_t start = out->n;
	enum err err;

	mp_w_map(out, 13);
	mp_kv_u64(out, "v", EDIT_VERSION);
	mp_kv_u64(out, "kind", (uint64_t)e->kind);
	mp_kv_cstr(out, "level", level_canonical(e->level));
	mp_kv_cstr(out, "key", e->key);
	mp_kv_str(out, "name", e->name);
	mp_w_cstr(out, "value");
	if (e->value.n > 0)
		buf_put_slice(out, e->value);
	else
		mp_w_nil(out);
	mp_kv_u64(out, "type", (uint64_t)e->type);
	mp_kv_bin(out, "to", slice_of(e->to.b, sizeof(e->to.b)));
	mp_kv_u64(out, "until", e->until_ms);
	mp_kv_cstr(out, "actor", e->actor);
	mp_kv_cstr(out, "site", e->site);
	mp_kv_cstr(out, "reason", e->reason != NULL ? e->reason : "");
	edit_seen(out, seen != NULL ? seen : &none);
	if ((err = buf_err(out)) != ERR_OK)
		return err;
	if ((v = mem_new(sizeof(*v))) == NULL)
		return ERR_NOMEM;
	err = edit_parse(slice_of(out->p + start, out->n - start), v);
	buf_fini(&v->value);
	mem_free(v);
	if (err != ERR_OK)
		out->n = start;
	return err;
}

/* --- checking --- */

/* What find and show call by these names is not a field. */
static bool
field_reserved(struct slice name)
{
	static const char *const words[] = { "level", "id", "share",
		"compartment", "created", "retired", "tags", "key", "version",
		"parent", "source", "derived", "bytes", "members", "complete" };
	size_t i;

	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (slice_eq(name, slice_str(words[i])))
			return true;
	}
	return false;
}

static bool
field_ok(struct slice name)
{
	return put_name_valid(name) && !field_reserved(name);
}

static bool
link_ok(struct slice name)
{
	char text[CAT_LINK_NAME_MAX + 1] = "";

	if (name.n == 0 || name.n > CAT_LINK_NAME_MAX)
		return false;
	memcpy(text, name.p, name.n);
	return level_valid(text);
}

static bool
tag_ok(struct slice tag)
{
	struct slice name, value;

	return put_text_valid(tag, PUT_TAG_BYTES) &&
	       field_tag_split(tag, &name, &value);
}

static bool
text_ok(const struct mp_node *v, size_t max, bool needed)
{
	struct mp_doc d = { 0 };
	struct slice s;

	if (mp_type(v) == MP_NIL)
		return !needed;
	s = mp_str(&d, v, max);
	return d.err == ERR_OK && s.n > 0 && put_lines_valid(s);
}

static bool
names_ok(const struct mp_node *v)
{
	struct mp_doc d = { 0 };
	uint32_t i;

	if (mp_type(v) == MP_NIL)
		return true;
	if (mp_type(v) != MP_ARRAY || mp_len(v) > 64)
		return false;
	for (i = 0; i < mp_len(v); i++) {
		struct slice s = mp_str(&d, mp_at(v, i), LIM_NAME_BYTES);

		if (d.err != ERR_OK || !put_text_valid(s, LIM_NAME_BYTES))
			return false;
	}
	return true;
}

static bool
context_name_ok(struct slice name)
{
	return slice_eq(name, SLICE_LIT("workflows")) ||
	       slice_eq(name, SLICE_LIT("methods")) ||
	       slice_eq(name, SLICE_LIT("reasons"));
}

/* The context asset takes what is about its level, and only that. */
static bool
level_ok(const struct edit_view *v)
{
	bool exams = v->kind == CAT_EXPECT || v->kind == CAT_CONTACT;
	bool about =
	    exams || v->kind == CAT_FIELD_TYPE || v->kind == CAT_CONTEXT;
	bool context = strcmp(v->level, CAT_LEVEL_CONTEXT) == 0;

	if (about != context || (exams && strcmp(v->key, "exam") != 0))
		return false;
	return !context || (level_valid(v->key) &&
			       strcmp(level_canonical(v->key), v->key) == 0);
}

bool
cat_edit_name_ok(enum cat_edit_kind k, struct slice name)
{
	switch (k) {
	case CAT_FIELD_SET:
	case CAT_FIELD_TYPE: return field_ok(name);
	case CAT_TAG_ADD:
	case CAT_TAG_REMOVE: return tag_ok(name);
	case CAT_LINK_ADD:
	case CAT_LINK_REMOVE: return link_ok(name);
	case CAT_LOCK:
	case CAT_UNLOCK: return put_text_valid(name, CAT_HOLDER_MAX);
	case CAT_CONTEXT: return context_name_ok(name);
	case CAT_EXPECT: return put_name_valid(name);
	case CAT_CONTACT: return put_text_valid(name, LIM_NAME_BYTES);
	case CAT_NOTE:
	case CAT_RETIRE:
	case CAT_UNRETIRE: break;
	}
	return name.n == 0;
}

static bool
kind_ok(const struct edit_view *v, const struct mp_node *value)
{
	bool typed = v->type != CAT_TYPE_NONE;
	bool gone = mp_type(value) == MP_NIL;

	if (!cat_edit_name_ok(v->kind, v->name))
		return false;
	switch (v->kind) {
	case CAT_FIELD_SET: return gone || (typed && put_value_valid(value));
	case CAT_TAG_ADD:
	case CAT_TAG_REMOVE:
	case CAT_LINK_ADD:
	case CAT_LINK_REMOVE:
	case CAT_UNRETIRE:
	case CAT_UNLOCK: return gone;
	case CAT_NOTE: return text_ok(value, CAT_NOTE_MAX, true);
	case CAT_RETIRE: return gone && v->reason[0] != '\0';
	case CAT_LOCK: return text_ok(value, CAT_NOTE_MAX, false);
	case CAT_FIELD_TYPE: return typed && gone;
	case CAT_CONTEXT: return names_ok(value);
	case CAT_EXPECT: return gone || expect_value_valid(value);
	case CAT_CONTACT: return text_ok(value, CAT_CONTACT_MAX, false);
	}
	return false;
}

static void
view_fail(struct mp_doc *doc)
{
	if (doc->err == ERR_OK)
		doc->err = ERR_MALFORMED;
}

static void
view_seen(struct mp_doc *doc, struct edit_view *v)
{
	const struct mp_node *a = mp_get(doc->root, "seen");
	uint32_t i;

	if (mp_type(a) != MP_ARRAY || mp_len(a) > CAT_SEEN_MAX) {
		view_fail(doc);
		return;
	}
	v->seen.n = mp_len(a);
	for (i = 0; i < v->seen.n; i++) {
		const struct mp_node *s = mp_at(a, i);

		v->seen.v[i].lamport = mp_u64(doc, mp_at(s, 0), UINT64_MAX);
		mp_fixed(doc, mp_at(s, 1), v->seen.v[i].op.b, 32);
	}
}

static void
view_texts(struct mp_doc *doc, struct edit_view *v)
{
	const struct mp_node *m = doc->root;

	mp_text(doc, mp_get(m, "level"), v->level, sizeof(v->level));
	mp_text(doc, mp_get(m, "key"), v->key, sizeof(v->key));
	mp_text(doc, mp_get(m, "actor"), v->actor, sizeof(v->actor));
	mp_text(doc, mp_get(m, "site"), v->site, sizeof(v->site));
	mp_text(doc, mp_get(m, "reason"), v->reason, sizeof(v->reason));
	v->name = mp_str(doc, mp_get(m, "name"), PUT_TAG_BYTES);
	if (!level_valid(v->level) ||
	    strcmp(level_canonical(v->level), v->level) != 0 ||
	    !put_text_valid(slice_str(v->key), CAT_KEY_MAX) ||
	    !put_text_valid(slice_str(v->actor), sizeof(v->actor)) ||
	    !put_text_valid(slice_str(v->site), sizeof(v->site)) ||
	    !put_lines_valid(slice_str(v->reason)))
		view_fail(doc);
}

static void
view_value(struct mp_doc *doc, struct edit_view *v)
{
	const struct mp_node *value = mp_get(doc->root, "value");

	if (!level_ok(v) || !kind_ok(v, value)) {
		view_fail(doc);
		return;
	}
	if (mp_type(value) == MP_NIL)
		return;
	mp_w_node(&v->value, value);
	if (buf_err(&v->value) == ERR_NOMEM)
		doc->err = ERR_NOMEM;
	else if (buf_err(&v->value) != ERR_OK)
		view_fail(doc);
}

static enum err
edit_view(struct mp_doc *doc, struct edit_view *v)
{
	const struct mp_node *m = doc->root;

	v->value = BUF_MAX(CAT_EDIT_VALUE_MAX);
	if (mp_u64(doc, mp_get(m, "v"), UINT32_MAX) != EDIT_VERSION)
		view_fail(doc);
	v->kind = (enum cat_edit_kind)mp_u64(
	    doc, mp_get(m, "kind"), CAT_EDIT_KIND_MAX);
	v->type = (enum cat_type)mp_u64(doc, mp_get(m, "type"), CAT_TYPE_UID);
	v->until_ms = mp_u64(doc, mp_get(m, "until"), EDIT_UNTIL_MAX);
	mp_fixed(doc, mp_get(m, "to"), v->to.b, sizeof(v->to.b));
	view_texts(doc, v);
	view_seen(doc, v);
	if (doc->err == ERR_OK)
		view_value(doc, v);
	return doc->err;
}

enum err
edit_parse(struct slice payload, struct edit_view *out)
{
	struct mp_doc doc = { 0 };
	enum err e;

	memset(out, 0, sizeof(*out));
	e = mp_parse(payload, &edit_limits, &doc);
	if (e == ERR_OK)
		e = edit_view(&doc, out);
	mp_doc_fini(&doc);
	if (e != ERR_OK)
		buf_fini(&out->value);
	return e == ERR_OK || e == ERR_NOMEM ? e : ERR_MALFORMED;
}

/* --- rights --- */

static enum cat_edit_right
right_of(const struct edit_view *v)
{
	const char *level = v->kind == CAT_FIELD_TYPE ? v->key : v->level;

	if (v->kind == CAT_CONTEXT || v->kind == CAT_EXPECT ||
	    v->kind == CAT_CONTACT)
		return CAT_BY_ADMIN;
	return level_rank(level) == LEVEL_FREE ? CAT_BY_RUNNER : CAT_BY_WRITER;
}

enum err
cat_edit_right(struct slice payload, enum cat_edit_right *out)
{
	struct edit_view *v = mem_new(sizeof(*v));
	enum err e;

	if (v == NULL)
		return ERR_NOMEM;
	e = edit_parse(payload, v);
	if (e == ERR_OK)
		*out = right_of(v);
	buf_fini(&v->value);
	mem_free(v);
	return e;
}

/* --- applying --- */

enum err
cat_edit_see(struct db_txn *t, const struct cry_id *share, uint16_t compartment,
    const struct cat_edit *e, struct cat_seen *out)
{
	struct asset_id id;
	struct fact_at at;
	uint32_t no;
	enum err err;

	out->n = 0;
	if (e->kind == CAT_NOTE)
		return ERR_OK; /* notes stand beside each other */
	cat_asset_id(share, compartment, e->level, e->key, &id);
	err = row_asset_no(t, &id, &no);
	if (err != ERR_OK)
		return err == ERR_NOTFOUND ? ERR_OK : err;
	fact_at_edit(no, e->kind, e->name, &e->to, &at);
	return fact_seen(t, &at, out);
}

/* Nothing can have seen what comes after it. */
static bool
seen_before(const struct edit_view *v, uint64_t lamport)
{
	uint32_t i;

	for (i = 0; i < v->seen.n; i++) {
		if (v->seen.v[i].lamport >= lamport)
			return false;
	}
	return true;
}

static enum err
edit_apply(struct store_txn *t, const struct cat_origin *o,
    const struct edit_view *v, struct asset_id *asset)
{
	struct apply_at at = { .share_no = o->share_no,
		.share = &o->share,
		.compartment = o->compartment,
		.created_ms = o->wall_ms,
		.mentioned = true };
	struct fact_new f = { .t = store_txn_db(t), .o = o, .v = v };
	bool fresh = false;
	enum err e = apply_asset(f.t, &at, v->level, v->key, &f.no);

	if (e == ERR_OK)
		e = fact_apply(&f, &fresh);
	if (e != ERR_OK)
		return e;
	cat_asset_id(&o->share, o->compartment, v->level, v->key, asset);
	return fresh ? apply_event(t, o, asset, cat_edit_text(v->kind), v->name)
		     : ERR_OK;
}

enum err
cat_apply_edit(struct store_txn *t, const struct cat_origin *o,
    struct slice payload, struct asset_id *asset)
{
	struct edit_view *v = mem_new(sizeof(*v));
	enum err e;

	if (v == NULL)
		return ERR_NOMEM;
	e = edit_parse(payload, v);
	if (e == ERR_OK && !seen_before(v, o->lamport))
		e = ERR_MALFORMED;
	if (e == ERR_OK)
		e = edit_apply(t, o, v, asset);
	buf_fini(&v->value);
	mem_free(v);
	return e;
}
