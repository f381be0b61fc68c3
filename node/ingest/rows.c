/* node/ingest/rows.c: codecs of the vault's rows (msgpack, sealed by the
 * store).  A row that does not decode is ERR_CORRUPT: we wrote it. */
#include "node/ingest/ingest_internal.h"

#include <inttypes.h>

#include "store/base/enc.h"
#include "store/base/mem.h"
#include "store/base/num.h"

static const struct mp_limits row_limits = {
	.bytes_max = 64 * MIB,
	.count_max = 4096,
	.depth_max = 12,
};

void
q_key(uint64_t no, uint8_t key[8])
{
	enc_be64(no, key);
}

void
q_text(uint64_t no, char out[40])
{
	(void)snprintf(out, 40, "q%06" PRIu64, no);
}

enum err
q_parse(const char *text, uint64_t *no)
{
	if (text[0] != 'q')
		return ERR_MALFORMED;
	return num_u64(slice_str(text + 1), 1, UINT64_MAX, no);
}

void
key16_of(const struct ingest *g, const char *domain, const struct slice *parts,
    size_t n, struct key16 *out)
{
	struct cry_key k;

	cry_subkey(&g->o.me->local, "pscvault", 1, &k);
	cry_hash_parts(&k, domain, parts, n, out->b, sizeof(out->b));
	cry_wipe(&k, sizeof(k));
}

enum err
seq_next(struct store_txn *t, const char *tag, struct slice key, uint64_t *out)
{
	struct store *s = store_txn_store(t);
	struct buf b = BUF_MAX(8);
	uint8_t v[8];
	uint64_t n = 0;
	enum err e;

	e = store_row_get(s, store_txn_db(t), tag, key, &b);
	if (e == ERR_OK && b.n == 8) {
		n = dec_be64(b.p);
	} else if (e != ERR_NOTFOUND) {
		buf_fini(&b);
		return e == ERR_OK ? ERR_CORRUPT : e;
	}
	buf_fini(&b);
	n++;
	q_key(n, v);
	e = store_row_put(t, tag, key, slice_of(v, 8));
	if (e == ERR_OK)
		*out = n;
	return e;
}

static void
findings_encode(const struct q_item *q, struct buf *b)
{
	uint32_t i;

	mp_kv_array(b, "findings", q->n_findings);
	for (i = 0; i < q->n_findings; i++) {
		mp_w_array(b, 2);
		mp_w_cstr(b, q->findings[i].kind);
		mp_w_cstr(b, q->findings[i].detail);
	}
}

static void
tags_encode(const struct q_item *q, struct buf *b)
{
	uint32_t i;

	mp_kv_array(b, "tags", q->tags.n);
	for (i = 0; i < q->tags.n; i++)
		mp_w_cstr(b, q->tags.t[i]);
}

enum err
q_put(struct store_txn *t, const struct q_item *q)
{
	struct buf b = BUF_MAX(64 * KIB);
	uint8_t key[8];
	enum err e;

	mp_w_map(&b, 19);
	mp_kv_u64(&b, "no", q->no);
	mp_kv_cstr(&b, "state", q->state);
	mp_kv_u64(&b, "received", q->received_ms);
	mp_kv_bin(&b, "share", slice_of(q->share.b, 32));
	mp_kv_u64(&b, "comp", q->compartment);
	mp_kv_cstr(&b, "share_name", q->share_name);
	mp_kv_cstr(&b, "comp_name", q->compartment_name);
	mp_kv_cstr(&b, "ae", q->calling_ae);
	mp_kv_cstr(&b, "modality", q->modality);
	mp_kv_cstr(&b, "subject", q->subject);
	mp_kv_bin(&b, "series", slice_of(q->series.b, 16));
	mp_kv_bin(&b, "family", slice_of(q->family.b, 16));
	mp_kv_u64(&b, "instances", q->instances);
	mp_kv_u64(&b, "bytes", q->bytes);
	mp_kv_u64(&b, "flags", (q->review ? 1u : 0u) | (q->blocked ? 2u : 0u));
	mp_kv_bin(&b, "asset", slice_of(q->asset.b, 20));
	mp_kv_cstr(&b, "reason", q->reason);
	findings_encode(q, &b);
	tags_encode(q, &b);
	e = buf_err(&b);
	q_key(q->no, key);
	if (e == ERR_OK)
		e = store_row_put(t, "q", slice_of(key, 8), buf_slice(&b));
	buf_fini(&b);
	return e;
}

static void
findings_decode(struct mp_doc *d, struct q_item *out)
{
	const struct mp_node *list = mp_get(d->root, "findings");
	uint32_t i;

	out->n_findings = mp_len(list);
	if (out->n_findings > Q_FINDINGS)
		out->n_findings = Q_FINDINGS;
	for (i = 0; i < out->n_findings; i++) {
		const struct mp_node *f = mp_at(list, i);

		mp_text(d, mp_at(f, 0), out->findings[i].kind,
		    sizeof(out->findings[i].kind));
		mp_text(d, mp_at(f, 1), out->findings[i].detail,
		    sizeof(out->findings[i].detail));
	}
}

static void
tags_decode(struct mp_doc *d, struct q_item *out)
{
	const struct mp_node *list = mp_get(d->root, "tags");
	uint32_t i;

	out->tags.n = mp_len(list);
	if (out->tags.n > INGEST_TAGS_MAX)
		out->tags.n = INGEST_TAGS_MAX;
	for (i = 0; i < out->tags.n; i++)
		mp_text(
		    d, mp_at(list, i), out->tags.t[i], sizeof(out->tags.t[i]));
}

enum err
q_decode(struct slice value, struct q_item *out)
{
	struct mp_doc d = { 0 };
	const struct mp_node *r;
	uint64_t flags;
	enum err e = mp_parse(value, &row_limits, &d);

	if (e != ERR_OK)
		return ERR_CORRUPT;
	memset(out, 0, sizeof(*out));
	r = d.root;
	out->no = mp_u64(&d, mp_get(r, "no"), UINT64_MAX);
	mp_text(&d, mp_get(r, "state"), out->state, sizeof(out->state));
	out->received_ms = mp_u64(&d, mp_get(r, "received"), UINT64_MAX);
	mp_fixed(&d, mp_get(r, "share"), out->share.b, 32);
	out->compartment = (uint16_t)mp_u64(&d, mp_get(r, "comp"), UINT16_MAX);
	mp_text(&d, mp_get(r, "share_name"), out->share_name,
	    sizeof(out->share_name));
	mp_text(&d, mp_get(r, "comp_name"), out->compartment_name,
	    sizeof(out->compartment_name));
	mp_text(&d, mp_get(r, "ae"), out->calling_ae, sizeof(out->calling_ae));
	mp_text(
	    &d, mp_get(r, "modality"), out->modality, sizeof(out->modality));
	mp_text(&d, mp_get(r, "subject"), out->subject, sizeof(out->subject));
	mp_fixed(&d, mp_get(r, "series"), out->series.b, 16);
	mp_fixed(&d, mp_get(r, "family"), out->family.b, 16);
	out->instances = mp_u64(&d, mp_get(r, "instances"), UINT64_MAX);
	out->bytes = mp_u64(&d, mp_get(r, "bytes"), UINT64_MAX);
	flags = mp_u64(&d, mp_get(r, "flags"), 3);
	out->review = (flags & 1) != 0;
	out->blocked = (flags & 2) != 0;
	mp_fixed(&d, mp_get(r, "asset"), out->asset.b, 20);
	mp_text(&d, mp_get(r, "reason"), out->reason, sizeof(out->reason));
	findings_decode(&d, out);
	tags_decode(&d, out);
	e = d.err == ERR_OK ? ERR_OK : ERR_CORRUPT;
	mp_doc_fini(&d);
	return e;
}

enum err
q_get(struct store *s, struct db_txn *t, uint64_t no, struct q_item *out)
{
	struct buf b = BUF_MAX(64 * KIB);
	uint8_t key[8];
	enum err e;

	q_key(no, key);
	e = store_row_get(s, t, "q", slice_of(key, 8), &b);
	if (e == ERR_OK)
		e = q_decode(buf_slice(&b), out);
	buf_fini(&b);
	return e;
}

static void
vi_encode(const struct v_image *v, struct buf *out)
{
	mp_w_map(out, 11);
	mp_kv_bin(out, "name", slice_of(v->name.b, 16));
	mp_kv_bin(out, "original", v->original);
	mp_kv_bin(out, "deid", v->deid);
	mp_kv_u64(out, "len", v->deid_len);
	mp_kv_u64(out, "header", v->header_len);
	mp_kv_bin(out, "ohash", slice_of(v->original_hash.b, 32));
	mp_kv_bin(out, "dhash", slice_of(v->deid_hash.b, 32));
	mp_kv_str(out, "sop", v->sop_uid);
	mp_kv_str(out, "series", v->series_uid);
	mp_kv_str(out, "study", v->study_uid);
	mp_kv_bin(out, "fields", v->fields);
}

static void
vi_decode(struct mp_doc *d, const struct mp_node *r, struct v_image *out)
{
	mp_fixed(d, mp_get(r, "name"), out->name.b, 16);
	out->original = mp_bin(d, mp_get(r, "original"), V_PAGE_BYTES);
	out->deid = mp_bin(d, mp_get(r, "deid"), V_PAGE_BYTES);
	out->deid_len = mp_u64(d, mp_get(r, "len"), LIM_OBJECT_BYTES);
	out->header_len = mp_u64(d, mp_get(r, "header"), LIM_OBJECT_BYTES);
	mp_fixed(d, mp_get(r, "ohash"), out->original_hash.b, 32);
	mp_fixed(d, mp_get(r, "dhash"), out->deid_hash.b, 32);
	out->sop_uid = mp_str(d, mp_get(r, "sop"), IMG_UID_MAX);
	out->series_uid = mp_str(d, mp_get(r, "series"), IMG_UID_MAX);
	out->study_uid = mp_str(d, mp_get(r, "study"), IMG_UID_MAX);
	out->fields = mp_bin(d, mp_get(r, "fields"), V_PAGE_BYTES);
}

enum err
v_page_encode(const struct v_image *const *images, uint32_t n, struct buf *out)
{
	struct buf raw = BUF_MAX(V_PAGE_BYTES);
	uint32_t i;
	enum err e;

	mp_w_array(&raw, n);
	for (i = 0; i < n; i++)
		vi_encode(images[i], &raw);
	e = buf_err(&raw);
	if (e == ERR_OK)
		e = blob_pack(buf_slice(&raw), out);
	buf_wipe(&raw);
	return e;
}

void
v_page_fini(struct v_page *p)
{
	mp_doc_fini(&p->doc);
	mem_free(p->v);
	buf_wipe(&p->raw);
	*p = (struct v_page){ 0 };
}

enum err
v_page_decode(struct slice value, struct v_page *out)
{
	uint32_t i;

	*out = (struct v_page){ .raw = BUF_MAX(V_PAGE_BYTES) };
	if (blob_unpack(value, &out->raw) != ERR_OK ||
	    mp_parse(buf_slice(&out->raw), &row_limits, &out->doc) != ERR_OK)
		goto bad;
	out->n = mp_len(out->doc.root);
	if (mp_type(out->doc.root) != MP_ARRAY || out->n == 0 ||
	    out->n > V_PAGE_IMAGES)
		goto bad;
	out->v = mem_array(out->n, sizeof(*out->v));
	if (out->v == NULL) {
		v_page_fini(out);
		return ERR_NOMEM;
	}
	for (i = 0; i < out->n; i++)
		vi_decode(&out->doc, mp_at(out->doc.root, i), &out->v[i]);
	if (out->doc.err == ERR_OK)
		return ERR_OK;
bad:
	v_page_fini(out);
	return ERR_CORRUPT;
}

enum err
ingest_vault_chunks(struct store *s, struct db_txn *t, struct slice value,
    store_hold_fn hold, void *ctx)
{
	struct v_page p;
	uint32_t i;
	enum err e = v_page_decode(value, &p);

	for (i = 0; e == ERR_OK && i < p.n; i++) {
		e = blob_manifest_hold(s, t, p.v[i].original, hold, ctx);
		if (e == ERR_OK)
			e = blob_manifest_hold(s, t, p.v[i].deid, hold, ctx);
	}
	v_page_fini(&p);
	return e;
}

enum err
ingest_vault_learn(struct store_txn *t, struct slice row)
{
	struct v_page p;
	uint32_t i;
	enum err e = v_page_decode(row, &p);

	for (i = 0; e == ERR_OK && i < p.n; i++) {
		e = blob_manifest_learn(t, p.v[i].original, true);
		if (e == ERR_OK)
			e = blob_manifest_learn(t, p.v[i].deid, true);
	}
	v_page_fini(&p);
	return e == ERR_CORRUPT || e == ERR_AUTH ? ERR_OK : e;
}
