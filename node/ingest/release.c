/* node/ingest/release.c: a held series becomes a version in a share.
 *
 * All images of the series that were released before, plus this item's, make
 * the new version: headers in one bundle, pixel chunks by reference.  One job
 * writes the new chunks, appends the signed op, closes the item and records
 * who did it; the originals stay in the vault.  One release at a time: two
 * items of one series (two senders) must build on each other.
 * rulings.md 7, 10, 11. */
#include "node/ingest/ingest_internal.h"
#include "store/base/clock.h"
#include "store/base/enc.h"
#include "store/base/mem.h"

struct chosen {
	char sop[IMG_UID_MAX + 1];
	uint8_t key[12]; /* of the "vi" row */
	uint32_t at;     /* its place in the page */
	bool superseded;
};

struct release {
	struct ingest *g;
	struct q_item q;
	const char *actor;
	const char *reason;
	struct chosen *list;
	uint32_t n, cap;
	enum err err;
	struct blob_batch *batch;
	struct blob_reader *reader; /* of the vault */
	struct content_writer *writer;
	struct content_done content;
	struct cry_hasher inputs; /* over the originals' hashes */
	/* path, from the first image of the item */
	struct buf subject_fields, exam_fields, series_fields;
	char study[IMG_UID_MAX + 1];
	char series[IMG_UID_MAX + 1];
	struct buf provenance;
	struct cry_id parents[4]; /* all heads: one version joins them */
	uint32_t n_parents;
	struct share_info share;
};

/* --- which images --- */

static enum err
choose_image(
    struct release *r, struct slice key, uint32_t at, const struct v_image *v)
{
	struct chosen *c;

	if (v->deid.n == 0 || v->sop_uid.n == 0)
		return ERR_OK;
	if (r->n == r->cap) {
		uint32_t cap = r->cap == 0 ? 256 : r->cap * 2;

		c = cap > 2 * LIM_SERIES_MEMBERS
			? NULL
			: mem_grow(r->list, cap, sizeof(*c));
		if (c == NULL)
			return ERR_LIMIT;
		r->list = c;
		r->cap = cap;
	}
	c = &r->list[r->n++];
	memset(c, 0, sizeof(*c));
	memcpy(c->sop, v->sop_uid.p, v->sop_uid.n);
	memcpy(c->key, key.p, 12);
	c->at = at;
	return ERR_OK;
}

static int
choose_row(void *ctx, struct slice key, struct slice value)
{
	struct release *r = ctx;
	struct v_page page = { 0 };
	uint32_t i;

	r->err = key.n == 12 ? v_page_decode(value, &page) : ERR_CORRUPT;
	for (i = 0; r->err == ERR_OK && i < page.n; i++)
		r->err = choose_image(r, key, i, &page.v[i]);
	v_page_fini(&page);
	return r->err != ERR_OK;
}

static int
choose_item(void *ctx, struct slice key, struct slice value)
{
	struct release *r = ctx;
	struct store *s = r->g->o.store;
	struct db_txn *t = NULL;
	struct q_item q;
	uint64_t no;

	(void)value;
	if (key.n != 24) {
		r->err = ERR_CORRUPT;
		return 1;
	}
	no = dec_be64(key.p + 16);
	r->err = store_read(s, &t);
	if (r->err == ERR_OK)
		r->err = q_get(s, t, no, &q);
	if (r->err == ERR_OK &&
	    (no == r->q.no || strcmp(q.state, "released") == 0)) {
		enum err e = store_row_each(
		    s, t, "vi", slice_of(key.p + 16, 8), choose_row, r);

		if (r->err == ERR_OK)
			r->err = e;
		/* Released as another patient's: never joined to this. */
		if (r->err == ERR_OK && strcmp(q.subject, r->q.subject) != 0)
			r->err = ERR_DENIED;
	}
	db_abort(t);
	return r->err != ERR_OK;
}

static int
chosen_by_arrival(const void *a, const void *b)
{
	const struct chosen *x = a, *y = b;
	int c = memcmp(x->key, y->key, sizeof(x->key));

	return c != 0 ? c : (x->at > y->at) - (x->at < y->at);
}

static int
chosen_by_uid(const void *a, const void *b)
{
	const struct chosen *x = a, *y = b;
	int c = strcmp(x->sop, y->sop);

	return c != 0 ? c : chosen_by_arrival(a, b);
}

static enum err
release_choose(struct release *r)
{
	struct db_txn *t;
	uint32_t i, n = 0;
	enum err e = store_read(r->g->o.store, &t);

	if (e != ERR_OK)
		return e;
	e = store_row_each(r->g->o.store, t, "qser",
	    slice_of(r->q.family.b, 16), choose_item, r);
	db_abort(t);
	if (e == ERR_OK)
		e = r->err;
	if (e != ERR_OK)
		return e;
	if (r->n == 0)
		return ERR_NOTFOUND;
	/* The latest bytes of one UID stand; the earlier version keeps its
	 * own in the share's history. */
	qsort(r->list, r->n, sizeof(*r->list), chosen_by_uid);
	for (i = 0; i + 1 < r->n; i++)
		r->list[i].superseded =
		    strcmp(r->list[i].sop, r->list[i + 1].sop) == 0;
	for (i = 0; i < r->n; i++) {
		if (!r->list[i].superseded)
			r->list[n++] = r->list[i];
	}
	r->n = n;
	qsort(r->list, r->n, sizeof(*r->list), chosen_by_arrival);
	return r->n > LIM_SERIES_MEMBERS ? ERR_LIMIT : ERR_OK;
}

/* --- content --- */

/* A small piece of the vault lies in a bundle with what other images have:
 * it leaves in a chunk of its own. */
static enum err
entry_apart(struct release *r, struct blob_entry *entry)
{
	struct buf bytes = BUF_MAX(LIM_PIECE_BYTES), man = BUF_MAX(64 * KIB);
	struct blob_piece whole = { .len = entry->raw_len };
	struct blob_manifest m = { 0 };
	enum err e;

	if (!blob_entry_is_part(entry) || blob_entry_is_base(entry))
		return ERR_OK;
	e = blob_reader_read(r->reader, NULL, entry, &bytes);
	if (e == ERR_OK)
		e = blob_batch_add(
		    r->batch, buf_slice(&bytes), &whole, 1, &man);
	if (e == ERR_OK)
		e = blob_manifest_decode(buf_slice(&man), &m);
	if (e == ERR_OK)
		*entry = m.e[0];
	blob_manifest_fini(&m);
	buf_fini(&bytes);
	buf_fini(&man);
	return e;
}

/* Header bytes and the manifest of the rest. */
static enum err
split_header(struct release *r, const struct v_image *v, struct buf *header,
    struct buf *body)
{
	struct blob_manifest m = { 0 }, rest = { 0 };
	uint64_t at = 0;
	uint32_t i, k;
	enum err e = blob_manifest_decode(v->deid, &m);

	if (e == ERR_OK && m.depth > 0) /* no object is that large */
		e = ERR_LIMIT;
	for (i = 0; e == ERR_OK && i < m.n && at < v->header_len; i++) {
		e = blob_reader_read(r->reader, NULL, &m.e[i], header);
		at += m.e[i].raw_len;
	}
	if (e == ERR_OK && at != v->header_len)
		e = ERR_CORRUPT;
	for (k = i; e == ERR_OK && k < m.n; k++)
		e = entry_apart(r, &m.e[k]);
	/* Bases of what has left its bundle. */
	for (k = i; e == ERR_OK && k < m.n; k++) {
		if (!blob_entry_is_base(&m.e[k]))
			m.e[i + rest.n++] = m.e[k];
	}
	if (e == ERR_OK) {
		rest.e = m.e + i;
		rest.raw_len = m.raw_len - at;
		e = blob_manifest_encode(&rest, body);
	}
	blob_manifest_fini(&m);
	return e;
}

static void
sub_map(const struct mp_doc *d, const char *level, struct buf *out)
{
	const struct mp_node *v = mp_get(d->root, level);

	buf_reset(out);
	if (mp_type(v) == MP_MAP)
		mp_w_node(out, v);
	else
		mp_w_map(out, 0);
}

static enum err
add_member(struct release *r, const struct v_image *v, bool first)
{
	struct mp_limits lim = { 256 * KIB, 4096, 8 };
	struct buf header = BUF_MAX(64 * MIB), body = BUF_MAX(2 * MIB);
	struct buf fields = BUF_MAX(64 * KIB);
	struct mp_doc d = { 0 };
	char name[IMG_UID_MAX + 8];
	enum err e;

	(void)snprintf(name, sizeof(name), "%.*s.dcm", (int)v->sop_uid.n,
	    (const char *)v->sop_uid.p);
	if ((e = split_header(r, v, &header, &body)) != ERR_OK)
		goto out;
	if ((e = mp_parse(v->fields, &lim, &d)) != ERR_OK)
		goto out;
	sub_map(&d, "image", &fields);
	if (first) {
		sub_map(&d, "subject", &r->subject_fields);
		sub_map(&d, "exam", &r->exam_fields);
		sub_map(&d, "series", &r->series_fields);
		memcpy(r->study, v->study_uid.p, v->study_uid.n);
		memcpy(r->series, v->series_uid.p, v->series_uid.n);
	}
	cry_hasher_add(&r->inputs, slice_of(v->original_hash.b, 32));
	e = content_writer_add(r->writer, &(struct content_add){
					      .name = name,
					      .header = buf_slice(&header),
					      .body = buf_slice(&body),
					      .len = v->deid_len,
					      .hash = v->deid_hash,
					      .fields = buf_slice(&fields),
					  });
out:
	mp_doc_fini(&d);
	buf_fini(&header);
	buf_fini(&body);
	buf_fini(&fields);
	return e;
}

/* The page that holds r->list[i], unless it is open already. */
static enum err
release_page(struct release *r, uint32_t i, struct v_page *page)
{
	struct store *s = r->g->o.store;
	struct buf row = BUF_MAX(V_PAGE_BYTES);
	const struct chosen *c = &r->list[i];
	struct db_txn *t;
	enum err e;

	if (i > 0 && memcmp(c->key, c[-1].key, sizeof(c->key)) == 0)
		return c->at < page->n ? ERR_OK : ERR_CORRUPT;
	v_page_fini(page);
	if ((e = store_read(s, &t)) != ERR_OK)
		return e;
	e = store_row_get(s, t, "vi", slice_of(c->key, 12), &row);
	db_abort(t);
	if (e == ERR_OK)
		e = v_page_decode(buf_slice(&row), page);
	if (e == ERR_OK && c->at >= page->n)
		e = ERR_CORRUPT;
	buf_fini(&row);
	return e;
}

static enum err
release_content(struct release *r)
{
	struct v_page page = { 0 };
	uint32_t i;
	enum err e = ERR_OK;

	r->batch = blob_batch_new(r->g->o.store);
	r->reader = blob_reader_new(r->g->o.store);
	r->writer = r->batch ? content_writer_new(r->batch) : NULL;
	if (r->writer == NULL || r->reader == NULL)
		return ERR_NOMEM;
	cry_hasher_init(&r->inputs);
	for (i = 0; e == ERR_OK && i < r->n; i++) {
		e = release_page(r, i, &page);
		if (e == ERR_OK)
			e = add_member(r, &page.v[r->list[i].at], i == 0);
	}
	v_page_fini(&page);
	if (e == ERR_OK)
		e = content_writer_end(r->writer, &r->content);
	return e;
}

/* Names the input by a keyed hash, never by its own (rulings.md 10). */
static enum err
release_provenance(struct release *r)
{
	struct cry_id all;
	struct cry_key key;
	struct slice part = slice_of(all.b, 32);
	uint8_t mac[32];
	enum err e = id_project_key(r->g, &r->q.share, &key);

	if (e != ERR_OK)
		return e;
	cry_hasher_end(&r->inputs, &all);
	cry_hash_parts(&key, "psc.input.1", &part, 1, mac, sizeof(mac));
	cry_wipe(&key, sizeof(key));
	mp_w_map(&r->provenance, 4);
	mp_kv_cstr(&r->provenance, "act", "release");
	mp_kv_bin(&r->provenance, "input", slice_of(mac, 32));
	mp_kv_cstr(&r->provenance, "by", r->actor);
	mp_kv_cstr(&r->provenance, "software", "pesscara " PSC_VERSION);
	return buf_err(&r->provenance);
}

/* --- the job --- */

/* Tags that the inbox's owner wanted on everything that came through it. */
static uint32_t
release_tags(const struct release *r, const char *tags[INGEST_TAGS_MAX])
{
	uint32_t i;

	for (i = 0; i < r->q.tags.n; i++)
		tags[i] = r->q.tags.t[i];
	return r->q.tags.n;
}

static enum err
release_append(struct store_txn *t, struct release *r, struct asset_id *asset)
{
	const char *tags[INGEST_TAGS_MAX] = { NULL };
	uint32_t n_tags = release_tags(r, tags);
	struct cat_node path[3] = {
		{ "subject", r->q.subject, buf_slice(&r->subject_fields) },
		{ "exam", r->study, buf_slice(&r->exam_fields) },
		{ "series", r->series, buf_slice(&r->series_fields) },
	};
	struct cat_put put = {
		.path = path,
		.n_path = 3,
		.manifest = buf_slice(&r->content.manifest),
		.hash = r->content.hash,
		.bytes = r->content.bytes,
		.members = r->content.members,
		.actor = r->actor,
		.site = r->g->o.conf->site,
		.parents = r->parents,
		.n_parents = r->n_parents,
		.provenance = buf_slice(&r->provenance),
		.tags = tags,
		.n_tags = n_tags,
	};

	return shares_append_put(t, r->g->o.shares, r->share.no,
	    r->q.compartment, &put, buf_slice(&r->content.packing), asset);
}

static enum err
release_job(struct store_txn *t, void *ctx)
{
	struct release *r = ctx;
	struct cat_event ev = {
		.type = "release", .has_asset = true, .wall_ms = clock_wall_ms()
	};
	struct q_item now;
	char id[40], asset[ASSET_ID_TEXT + 1], object[80];
	enum err e;

	e = q_get(store_txn_store(t), store_txn_db(t), r->q.no, &now);
	if (e != ERR_OK)
		return e;
	if (strcmp(now.state, "held") != 0)
		return ERR_EXISTS;
	if (now.instances != r->q.instances)
		return ERR_AGAIN; /* an image came in since we looked */
	if ((e = blob_batch_put(t, r->batch)) != ERR_OK)
		return e;
	if ((e = release_append(t, r, &now.asset)) != ERR_OK)
		return e;
	(void)snprintf(now.state, sizeof(now.state), "released");
	(void)snprintf(now.reason, sizeof(now.reason), "%s",
	    r->reason == NULL ? "" : r->reason);
	if ((e = q_put(t, &now)) != ERR_OK)
		return e;
	e = store_row_del(t, "qopen", slice_of(now.series.b, 16));
	if (e != ERR_OK && e != ERR_NOTFOUND)
		return e;
	q_text(now.no, id);
	ev.asset = now.asset;
	memcpy(ev.share.b, now.share.b, 32);
	ev.compartment = now.compartment;
	(void)snprintf(ev.detail, sizeof(ev.detail), "%s", id);
	if ((e = cat_event_append(t, &ev)) != ERR_OK)
		return e;
	r->q = now;
	enc_b32(slice_of(now.asset.b, sizeof(now.asset.b)), asset);
	(void)snprintf(object, sizeof(object), "%s %s", id, asset);
	return cat_audit_append(
	    t, r->actor, "quarantine.release", object, now.reason);
}

/* --- checks before any work --- */

static enum err
release_check(struct release *r, const char *id, struct errmsg *em)
{
	struct db_txn *t;
	enum err e = store_read(r->g->o.store, &t);
	uint64_t no;

	if (e != ERR_OK)
		return errmsg_set(em, e, "", "%s", err_text(e));
	e = q_parse(id, &no);
	if (e == ERR_OK)
		e = q_get(r->g->o.store, t, no, &r->q);
	db_abort(t);
	if (e != ERR_OK)
		return errmsg_set(em, ERR_NOTFOUND,
		    "see `pesscara quarantine list`",
		    "no quarantine item is called %.32s", id);
	if (strcmp(r->q.state, "held") != 0)
		return errmsg_set(em, ERR_EXISTS,
		    "see `pesscara quarantine list`", "item %s is %s already",
		    id, r->q.state);
	if (r->q.blocked)
		return errmsg_set(em, ERR_DENIED,
		    "reject it, or send it again in a form that can be "
		    "de-identified",
		    "item %s cannot be released: %.100s", id,
		    r->q.n_findings > 0 ? r->q.findings[0].kind
					: "no de-identified form");
	if (r->q.review && (r->reason == NULL || r->reason[0] == '\0'))
		return errmsg_set(em, ERR_DENIED,
		    "look at the images, then add --reason TEXT",
		    "item %s needs a person's review: %.100s", id,
		    r->q.n_findings > 0 ? r->q.findings[0].kind : "finding");
	return ERR_OK;
}

/* The versions that this one replaces, if the series was released before. */
static enum err
release_parents(struct release *r)
{
	struct cry_id share;
	struct asset_id id;
	struct db_txn *t;
	enum err e;

	memcpy(share.b, r->q.share.b, 32);
	cat_asset_id(&share, r->q.compartment, "series", r->series, &id);
	e = store_read(r->g->o.store, &t);
	if (e == ERR_OK) {
		e = cat_heads(
		    r->g->o.store, t, &id, r->parents, 4, &r->n_parents);
		db_abort(t);
	}
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

static void
release_fini(struct release *r)
{
	content_done_fini(&r->content);
	content_writer_free(r->writer);
	blob_reader_free(r->reader);
	blob_batch_free(r->batch);
	share_info_fini(&r->share);
	buf_fini(&r->subject_fields);
	buf_fini(&r->exam_fields);
	buf_fini(&r->series_fields);
	buf_fini(&r->provenance);
	mem_free(r->list);
}

/* By id: a share of the same name may have come since. */
static enum err
release_share(struct release *r, struct errmsg *em)
{
	char id[ENC_B32_LEN(32) + 1];

	enc_b32(slice_of(r->q.share.b, 32), id);
	return shares_find(r->g->o.shares, id, &r->share, em);
}

static const char *
release_why(enum err e)
{
	if (e == ERR_AGAIN)
		return "images are still arriving";
	if (e == ERR_DENIED)
		return "its series was released as another patient's, or this "
		       "site may not write there";
	return err_text(e);
}

enum err
ingest_release(struct ingest *g, const char *id, const char *actor,
    const char *reason, struct ingest_item *out, struct errmsg *em)
{
	struct release *r = mem_new(sizeof(*r));
	enum err e;

	if (r == NULL)
		return errmsg_set(em, ERR_NOMEM, "", "out of memory");
	r->g = g;
	r->actor = actor;
	r->reason = reason;
	r->subject_fields = BUF_MAX(64 * KIB);
	r->exam_fields = BUF_MAX(64 * KIB);
	r->series_fields = BUF_MAX(64 * KIB);
	r->provenance = BUF_MAX(4 * KIB);
	pthread_mutex_lock(&g->release_mu);
	if ((e = release_check(r, id, em)) != ERR_OK)
		goto out;
	if ((e = release_share(r, em)) != ERR_OK)
		goto out;
	e = release_choose(r);
	if (e == ERR_OK)
		e = release_content(r);
	if (e == ERR_OK)
		e = release_provenance(r);
	if (e == ERR_OK)
		e = release_parents(r);
	if (e == ERR_OK)
		e = store_write(g->o.store, release_job, r);
	if (e == ERR_OK)
		q_public(&r->q, out);
	else
		(void)errmsg_set(em, e,
		    e == ERR_AGAIN ? "wait until the sender is done, then "
				     "release again"
				   : "run `pesscara verify`; the item is still "
				     "held",
		    "release of %s failed: %s", id, release_why(e));
out:
	pthread_mutex_unlock(&g->release_mu);
	release_fini(r);
	mem_free(r);
	return e;
}
