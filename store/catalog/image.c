/* store/catalog/image.c: the images of a series, as rows.
 *
 * rulings.md 7: the series version is the op; image rows are views of its
 * member table, made when its content is here and replaced when a later
 * version's is.  An image that ops name too keeps what they say. */
#include "store/catalog/catalog_internal.h"

#define IMAGE_BATCH 64u

static const struct mp_limits image_limits = {
	.bytes_max = 64 * KIB,
	.count_max = 1024,
	.depth_max = 3,
};

struct image_batch {
	struct db_txn *t;
	uint32_t no[IMAGE_BATCH];
	uint32_t n;
	uint32_t after; /* child numbers up to here are done */
};

static int
image_note(void *ctx, struct slice k, struct slice v)
{
	struct image_batch *b = ctx;
	struct rd r = rd_init(k);
	uint32_t no;

	(void)v;
	(void)rd_bytes(&r, 4 + 1);
	no = rd_be32(&r);
	if (key_decoded(&r) != ERR_OK)
		return ERR_CORRUPT;
	if (no <= b->after)
		return 0;
	b->no[b->n++] = no;
	return b->n == IMAGE_BATCH;
}

static enum err
image_drop(struct db_txn *t, uint32_t no)
{
	struct asset_row row = { 0 };
	enum err e = row_asset_get(t, no, &row);

	if (e != ERR_OK || !row.is_member)
		return e;
	if (!row.mentioned)
		return apply_remove(t, no, &row);
	row.is_member = false;
	row.member = 0;
	row.member_bytes = 0;
	memset(&row.member_hash, 0, sizeof(row.member_hash));
	e = field_replace(t, no, FIELD_MEMBER, NULL, NULL);
	return e == ERR_OK ? row_asset_put(t, no, &row, false) : e;
}

enum err
images_drop(struct db_txn *t, uint32_t series)
{
	struct image_batch b = { .t = t };
	struct key prefix = { 0 };
	uint32_t i;
	enum err e;

	key_be32(&prefix, series);
	key_u8(&prefix, LEVEL_IMAGE);
	do {
		b.n = 0;
		e = key_walk(t, DB_CHILD, key_slice(&prefix), image_note, &b);
		for (i = 0; i < b.n && e == ERR_OK; i++) {
			b.after = b.no[i];
			e = image_drop(t, b.no[i]);
		}
	} while (e == ERR_OK && b.n == IMAGE_BATCH);
	return e;
}

/* The image's natural key: its SOP instance UID (rulings.md 9). */
static bool
image_key(const struct mp_node *fields, char *out, size_t cap)
{
	struct mp_doc d = { 0 };

	if (!put_fields_valid(fields))
		return false;
	mp_text(&d, mp_get(fields, "SOPInstanceUID"), out, cap);
	return d.err == ERR_OK && put_text_valid(slice_str(out), CAT_KEY_MAX);
}

struct image_at {
	struct db_txn *t;
	struct apply_at at;
	uint32_t series;
	const struct stamp *by;
};

static enum err
image_put(const struct image_at *x, uint32_t i, const struct content_member *m,
    const struct mp_node *fields)
{
	static const struct stamp nobody = { 0 };
	struct asset_row row = { 0 };
	char key[CAT_KEY_MAX + 1];
	uint32_t no;
	enum err e;

	if (!image_key(fields, key, sizeof(key)))
		return ERR_OK; /* a file, but no image we know */
	e = apply_asset(x->t, &x->at, "image", key, &no);
	if (e == ERR_OK)
		e = row_asset_get(x->t, no, &row);
	/* An edit names an image, but not where it lies. */
	if (e == ERR_OK && stamp_cmp(&row.parent_by, &nobody) == 0)
		e = apply_parent(x->t, no, &row, x->series);
	if (e != ERR_OK)
		return e;
	if (row.parent != x->series)
		return ERR_OK; /* an op says that it belongs elsewhere */
	row.is_member = true;
	row.member = i;
	row.member_hash = m->hash;
	row.member_bytes = m->len;
	e = row_asset_put(x->t, no, &row, false);
	return e == ERR_OK
		   ? field_replace(x->t, no, FIELD_MEMBER, x->by, fields)
		   : e;
}

static enum err
image_member(
    const struct image_at *x, uint32_t i, const struct content_member *m)
{
	struct mp_doc doc = { 0 };
	enum err e;

	if (m->fields.n == 0)
		return ERR_OK;
	e = mp_parse(m->fields, &image_limits, &doc);
	if (e == ERR_OK)
		e = image_put(x, i, m, doc.root);
	else if (e != ERR_NOMEM)
		e = ERR_OK; /* not a map: the file is still there to export */
	mp_doc_fini(&doc);
	return e;
}

enum err
image_index(struct db_txn *t, uint32_t series, struct asset_row *row,
    const struct content *c, const struct stamp *by)
{
	struct image_at x = { .t = t,
		.at = { .share_no = row->share_no,
		    .share = &row->share,
		    .compartment = row->compartment,
		    .created_ms = row->created_ms },
		.series = series,
		.by = by };
	struct content_member m;
	uint32_t i, n = content_n(c);
	enum err e;

	if (stamp_cmp(by, &row->images_by) <= 0)
		return ERR_OK; /* a later version's images are shown */
	e = images_drop(t, series);
	for (i = 0; i < n && e == ERR_OK; i++) {
		content_member(c, i, &m);
		e = image_member(&x, i, &m);
	}
	row->images_by = *by;
	return e == ERR_OK ? row_asset_put(t, series, row, false) : e;
}
