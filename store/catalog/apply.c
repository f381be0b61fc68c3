/* store/catalog/apply.c: from an asset.put op to the views.
 *
 * Happy path: check the whole payload, find or make an asset for each node
 * of the path, set the registers of the upper ones, add the version, and if
 * it is the new default head replace the asset's own fields.
 * Failure modes: a payload that does not decode is ERR_MALFORMED before
 * anything is written; the same op again changes nothing.
 *
 * Everything decided here depends on the set of ops and not on their order:
 * maxima and minima over (lamport, op id) or wall time, sums, and unions. */
#include "store/catalog/catalog_internal.h"
#include "store/catalog/images.h"

void
cat_asset_id(const struct cry_id *share, uint16_t compartment,
    const char *level, const char *key, struct asset_id *out)
{
	uint8_t c[2] = { (uint8_t)compartment, (uint8_t)(compartment >> 8) };
	struct slice parts[4] = {
		slice_of(share->b, sizeof(share->b)),
		slice_of(c, sizeof(c)),
		slice_str(level_canonical(level)),
		slice_str(key),
	};

	cry_hash_parts(NULL, "psc.asset.1", parts, 4, out->b, sizeof(out->b));
}

/* --- assets --- */

static enum err
asset_new(struct db_txn *t, const struct asset_row *row, uint32_t *no)
{
	struct key by_id = { 0 };
	struct buf x = BUF_MAX(4);
	struct field_hash h;
	struct ix_code c;
	uint32_t last;
	enum err e = row_asset_last(t, &last);

	if (e != ERR_OK)
		return e;
	if (last == UINT32_MAX)
		return ERR_LIMIT;
	e = row_asset_put(t, last + 1, row, true);
	if (e != ERR_OK)
		return e;
	key_put(&by_id, row->id.b, sizeof(row->id.b));
	buf_u32(&x, last + 1);
	e = key_store(t, DB_ASSETX, &by_id, &x);
	if (e != ERR_OK)
		return e;
	field_hash_pseudo("level", &h);
	ix_code_text(slice_str(row->level), &c);
	e = ix_put(t, &h, &c, last + 1, FIELD_OWN);
	if (e == ERR_OK)
		e = fact_adopt(t, last + 1, &row->id);
	if (e == ERR_OK)
		*no = last + 1;
	return e;
}

static enum err
asset_touch(struct db_txn *t, const struct apply_at *at, uint32_t no)
{
	struct asset_row row = { 0 };
	enum err e = row_asset_get(t, no, &row);

	if (e != ERR_OK || !at->mentioned)
		return e;
	if (row.mentioned && row.created_ms <= at->created_ms)
		return ERR_OK;
	row.created_ms = at->created_ms;
	row.mentioned = true;
	return row_asset_put(t, no, &row, false);
}

enum err
apply_asset(struct db_txn *t, const struct apply_at *at, const char *level,
    const char *key, uint32_t *no)
{
	struct asset_row row = { .share_no = at->share_no,
		.share = *at->share,
		.compartment = at->compartment,
		.created_ms = at->created_ms,
		.mentioned = at->mentioned };
	enum err e;

	cat_asset_id(at->share, at->compartment, level, key, &row.id);
	e = row_asset_no(t, &row.id, no);
	if (e == ERR_OK)
		return asset_touch(t, at, *no);
	if (e != ERR_NOTFOUND)
		return e;
	REQUIRE(strlen(level) <= CAT_LEVEL_MAX && strlen(key) <= CAT_KEY_MAX);
	memcpy(row.level, level, strlen(level) + 1);
	memcpy(row.key, key, strlen(key) + 1);
	return asset_new(t, &row, no);
}

enum err
apply_parent(
    struct db_txn *t, uint32_t no, struct asset_row *row, uint32_t parent)
{
	enum level_rank rank = level_rank(row->level);
	struct key k = { 0 };
	enum err e = ERR_OK;

	if (row->parent == parent)
		return ERR_OK;
	if (row->parent != 0) {
		row_child_key(row->parent, rank, no, &k);
		e = db_del(t, DB_CHILD, key_slice(&k));
	}
	if (e == ERR_OK && parent != 0) {
		row_child_key(parent, rank, no, &k);
		e = db_put(t, DB_CHILD, key_slice(&k), (struct slice){ 0 });
	}
	if (e == ERR_OK && row->is_member) {
		/* Its place in the old series' table means nothing here. */
		row->is_member = false;
		e = field_replace(t, no, FIELD_MEMBER, NULL, NULL);
	}
	if (e == ERR_OK)
		row->parent = parent;
	return e;
}

enum err
apply_remove(struct db_txn *t, uint32_t no, const struct asset_row *row)
{
	struct asset_row gone = *row;
	struct field_hash h;
	struct ix_code c;
	struct key k = { 0 };
	enum err e = apply_parent(t, no, &gone, 0);

	if (e == ERR_OK)
		e = field_replace(t, no, FIELD_MEMBER, NULL, NULL);
	if (e != ERR_OK)
		return e;
	field_hash_pseudo("level", &h);
	ix_code_text(slice_str(row->level), &c);
	e = ix_del(t, &h, &c, no, FIELD_OWN);
	if (e == ERR_OK)
		e = db_del(
		    t, DB_ASSETX, slice_of(row->id.b, sizeof(row->id.b)));
	key_be32(&k, no);
	return e == ERR_OK ? db_del(t, DB_ASSET, key_slice(&k)) : e;
}

/* --- one put --- */

struct apply {
	struct store_txn *t;
	struct db_txn *db;
	const struct cat_origin *o;
	const struct put_view *v;
	struct stamp by;
	uint32_t no; /* the node at hand; in the end the asset itself */
	struct asset_row row;
};

static enum err
apply_node(struct apply *a, uint32_t i, uint32_t above)
{
	const struct put_node *n = &a->v->path[i];
	struct apply_at at = { .share_no = a->o->share_no,
		.share = &a->o->share,
		.compartment = a->o->compartment,
		.created_ms = a->o->wall_ms,
		.mentioned = true };
	struct asset_row row = { 0 };
	enum err e = apply_asset(a->db, &at, n->level, n->key, &a->no);

	if (e == ERR_OK)
		e = row_asset_get(a->db, a->no, &row);
	if (e == ERR_OK && above != 0 &&
	    stamp_cmp(&a->by, &row.parent_by) > 0) {
		row.parent_by = a->by;
		e = apply_parent(a->db, a->no, &row, above);
		if (e == ERR_OK)
			e = row_asset_put(a->db, a->no, &row, false);
	}
	if (e == ERR_OK && i + 1 < a->v->n_path)
		e = field_register(a->db, a->no, &a->by, n->fields);
	return e;
}

static enum err
apply_version_row(struct apply *a)
{
	const struct put_view *v = a->v;
	struct cat_version ver = { .op_id = a->o->op_id,
		.lseq = a->o->lseq,
		.lamport = a->o->lamport,
		.created_ms = a->o->wall_ms,
		.hash = v->hash,
		.bytes = v->bytes,
		.members = v->members,
		.complete = v->manifest.n == 0,
		.derived = v->derived,
		.n_parents = v->n_parents };
	struct buf prov = BUF_MAX(LIM_OP_PAYLOAD_BYTES);
	enum err e;

	memcpy(ver.actor, v->actor, sizeof(ver.actor));
	memcpy(ver.site, v->site, sizeof(ver.site));
	memcpy(ver.parents, v->parents, sizeof(ver.parents));
	mp_w_node(&prov, v->provenance);
	e = buf_err(&prov);
	if (e == ERR_OK)
		e = row_version_put(a->db, a->no, &ver);
	if (e == ERR_OK)
		e = row_body_put(
		    a->t, &ver.op_id, v->manifest, buf_slice(&prov));
	if (e == ERR_OK)
		e = row_totals_add(a->db, ver.bytes);
	buf_fini(&prov);
	return e;
}

static enum err
apply_head(struct apply *a)
{
	struct asset_row *row = &a->row;
	bool head = row->n_versions == 0 || stamp_cmp(&a->by, &row->head) > 0;

	row->n_versions++;
	if (head) {
		row->head = a->by;
		row->has_source = a->v->derived;
		row->source = a->v->source;
	}
	if (head) {
		enum err e = field_replace(a->db, a->no, FIELD_OWN, &a->by,
		    a->v->path[a->v->n_path - 1].fields);

		if (e != ERR_OK)
			return e;
	}
	return row_asset_put(a->db, a->no, row, false);
}

/* Tags that come with a version are facts as those that are added. */
static enum err
apply_tags(struct apply *a)
{
	struct edit_view *v = mem_new(sizeof(*v));
	struct fact_new f = {
		.t = a->db, .o = a->o, .no = a->no, .by_put = true, .v = v
	};
	struct mp_doc d = { 0 };
	bool fresh;
	uint32_t i;
	enum err e = ERR_OK;

	if (v == NULL)
		return ERR_NOMEM;
	v->kind = CAT_TAG_ADD;
	memcpy(v->level, a->row.level, sizeof(v->level));
	memcpy(v->actor, a->v->actor, sizeof(v->actor));
	memcpy(v->site, a->v->site, sizeof(v->site));
	for (i = 0; i < mp_len(a->v->tags) && e == ERR_OK; i++) {
		v->name = mp_str(&d, mp_at(a->v->tags, i), PUT_TAG_BYTES);
		e = fact_apply(&f, &fresh);
	}
	mem_free(v);
	return e;
}

/* Ops that were not logged here (a test, a rebuild) have no row. */
static enum err
apply_op_row(struct apply *a)
{
	struct op_row op;
	enum err e = oplog_row_get(a->db, a->o->lseq, &op);

	if (e != ERR_OK)
		return e == ERR_NOTFOUND ? ERR_OK : e;
	op.asset = a->no;
	return oplog_row_put(a->db, a->o->lseq, &op);
}

enum err
apply_event(struct store_txn *t, const struct cat_origin *o,
    const struct asset_id *asset, const char *type, struct slice detail)
{
	struct cat_event ev = { .wall_ms = o->wall_ms,
		.has_asset = true,
		.asset = *asset,
		.share = o->share,
		.compartment = o->compartment,
		.op = o->op_id };

	if (o->quiet || cat_told_has(o->told, type, &o->op_id))
		return ERR_OK;
	(void)snprintf(ev.type, sizeof(ev.type), "%s", type);
	if (detail.n > 0 && detail.n < sizeof(ev.detail))
		memcpy(ev.detail, detail.p, detail.n);
	return cat_event_append(t, &ev);
}

static enum err
apply_version(struct apply *a)
{
	static const struct slice none;
	enum err e = apply_version_row(a);

	if (e == ERR_OK)
		e = apply_head(a);
	if (e == ERR_OK)
		e = apply_tags(a);
	if (e == ERR_OK)
		e = apply_op_row(a);
	if (e == ERR_OK)
		e = apply_event(a->t, a->o, &a->row.id, "asset.put", none);
	if (e == ERR_OK && a->v->manifest.n == 0)
		e = apply_event(
		    a->t, a->o, &a->row.id, "content.complete", none);
	return e;
}

static enum err
apply_view(struct apply *a, struct asset_id *asset)
{
	struct cat_version old;
	uint32_t i;
	enum err e = ERR_OK;

	for (i = 0; i < a->v->n_path && e == ERR_OK; i++)
		e = apply_node(a, i, a->no);
	if (e != ERR_OK)
		return e;
	e = row_asset_get(a->db, a->no, &a->row);
	if (e != ERR_OK)
		return e;
	e = row_version_get(a->db, a->no, &a->by, &old);
	if (e == ERR_NOTFOUND)
		e = apply_version(a);
	if (e == ERR_OK)
		*asset = a->row.id;
	return e;
}

enum err
cat_apply_put(struct store_txn *t, const struct cat_origin *o,
    struct slice payload, struct asset_id *asset)
{
	struct apply a = { .t = t, .db = store_txn_db(t), .o = o };
	struct mp_doc doc = { 0 };
	struct put_view *v = mem_new(sizeof(*v));
	enum err e;

	if (v == NULL)
		return ERR_NOMEM;
	e = mp_parse(payload, &put_limits, &doc);
	if (e == ERR_OK)
		e = put_view(&doc, v);
	if (e != ERR_OK && e != ERR_NOMEM)
		e = ERR_MALFORMED;
	if (e == ERR_OK) {
		a.v = v;
		a.by = (struct stamp){ .lamport = o->lamport, .op = o->op_id };
		e = apply_view(&a, asset);
	}
	mp_doc_fini(&doc);
	mem_free(v);
	return e;
}

/* --- content arrived --- */

bool
images_table_bad(enum err e)
{
	return e == ERR_MALFORMED || e == ERR_LIMIT || e == ERR_SHORT ||
	       e == ERR_TRAILING || e == ERR_AUTH || e == ERR_UNSUPPORTED;
}

/* Too much for the writer?  One that does not decode is found bad at once. */
static bool
table_large(struct slice manifest)
{
	struct blob_manifest m = { 0 };
	bool large = blob_manifest_decode(manifest, &m) == ERR_OK &&
		     m.raw_len > CAT_TABLE_NOW;

	blob_manifest_fini(&m);
	return large;
}

/* *later: the images come in steps of their own. */
static enum err
complete_images(struct store_txn *t, uint32_t no, struct asset_row *row,
    const struct cat_version *v, bool *later)
{
	struct stamp by = { .lamport = v->lamport, .op = v->op_id };
	struct db_txn *db = store_txn_db(t);
	struct buf manifest = BUF_MAX(LIM_OP_PAYLOAD_BYTES);
	struct content *c = NULL;
	enum err e;

	if (level_rank(row->level) != LEVEL_SERIES)
		return ERR_OK;
	e = row_body_get(store_txn_store(t), db, &v->op_id, &manifest, NULL);
	*later = e == ERR_OK && table_large(buf_slice(&manifest));
	if (e == ERR_OK && !*later)
		e = content_open_in(
		    store_txn_store(t), db, buf_slice(&manifest), &c);
	if (e == ERR_OK && !*later)
		e = image_index(db, no, row, c, &by);
	content_close(c);
	buf_fini(&manifest);
	return e;
}

enum err
cat_content_complete(struct store_txn *t, const struct cat_origin *o,
    const struct asset_id *asset)
{
	static const struct slice none;
	struct stamp by = { .lamport = o->lamport, .op = o->op_id };
	struct db_txn *db = store_txn_db(t);
	struct asset_row row = { 0 };
	struct cat_version v;
	const char *type = "content.complete";
	bool later = false;
	uint32_t no = 0;
	enum err e = row_asset_no(db, asset, &no);

	if (e == ERR_OK)
		e = row_asset_get(db, no, &row);
	if (e == ERR_OK)
		e = row_version_get(db, no, &by, &v);
	if (e != ERR_OK || v.complete)
		return e;
	e = complete_images(t, no, &row, &v, &later);
	if (e == ERR_OK && later)
		return images_later(db, no, o);
	if (images_table_bad(e)) {
		type = "content.bad";
		e = ERR_OK;
	}
	if (e != ERR_OK)
		return e;
	v.complete = true;
	e = row_version_put(db, no, &v);
	return e == ERR_OK ? apply_event(t, o, asset, type, none) : e;
}

enum err
cat_content_gone(struct store_txn *t, const struct cat_origin *o,
    const struct asset_id *asset)
{
	struct stamp by = { .lamport = o->lamport, .op = o->op_id };
	struct db_txn *db = store_txn_db(t);
	struct cat_version v;
	uint32_t no = 0;
	enum err e = row_asset_no(db, asset, &no);

	if (e == ERR_OK)
		e = row_version_get(db, no, &by, &v);
	if (e == ERR_OK)
		e = images_not(db, no, &by);
	if (e != ERR_OK || !v.complete)
		return e;
	v.complete = false;
	return row_version_put(db, no, &v);
}
