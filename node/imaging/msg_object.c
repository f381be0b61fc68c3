/* node/imaging/msg_object.c: the object frame.
 *
 * The two split plans and the catalog fields together are the "detail": in
 * the frame when small (the usual case), in a memfd of its own otherwise.
 * Piece record, little endian: off u64, len u64, kind u8, bits u8, w u16,
 * h u16, zero u16. */
#include "node/imaging/msg.h"

#include "store/base/mem.h"
#include "store/base/rd.h"

static void
msg_put_plan(struct buf *b, const struct img_piece *p, uint32_t n)
{
	uint32_t i;

	for (i = 0; i < n; i++) {
		buf_u64(b, p[i].off);
		buf_u64(b, p[i].len);
		buf_u8(b, p[i].kind);
		buf_u8(b, p[i].bits);
		buf_u16(b, p[i].w);
		buf_u16(b, p[i].h);
		buf_u16(b, 0);
	}
}

void
msg_put_detail(struct buf *b, const struct img_object *o)
{
	msg_put_plan(b, o->original_plan, o->n_original_plan);
	msg_put_plan(b, o->deid_plan, o->n_deid_plan);
	buf_put_slice(b, o->fields);
}

static void
msg_put_uids(struct buf *b, const struct img_object *o)
{
	mp_kv_cstr(b, "class", o->sop_class);
	mp_kv_cstr(b, "ts", o->transfer_syntax);
	mp_kv_cstr(b, "sop", o->sop_uid);
	mp_kv_cstr(b, "series", o->series_uid);
	mp_kv_cstr(b, "study", o->study_uid);
	mp_kv_cstr(b, "dsop", o->deid_sop_uid);
	mp_kv_cstr(b, "dseries", o->deid_series_uid);
	mp_kv_cstr(b, "dstudy", o->deid_study_uid);
	mp_kv_cstr(b, "mod", o->modality);
}

void
msg_put_object(struct buf *b, const struct img_object *o, struct slice detail,
    bool *by_memfd)
{
	uint32_t i;

	*by_memfd = detail.n > MSG_DETAIL_INLINE;
	mp_w_map(b, *by_memfd ? 20 : 21);
	mp_kv_u64(b, "k", IMG_OBJECT);
	mp_kv_bool(b, "parsed", o->parsed);
	mp_kv_bool(b, "rel", o->releasable);
	mp_kv_u64(b, "orig", o->original.n);
	mp_kv_u64(b, "deid", o->deid.n);
	mp_kv_bool(b, "same", o->deid.p != NULL && o->deid.p == o->original.p);
	mp_kv_u64(b, "detail", detail.n);
	mp_kv_u64(b, "plan", o->n_original_plan);
	mp_kv_u64(b, "dplan", o->n_deid_plan);
	mp_kv_u64(b, "fields", o->fields.n);
	if (!*by_memfd)
		mp_kv_bin(b, "d", detail);
	msg_put_uids(b, o);
	mp_kv_array(b, "find", o->n_findings);
	for (i = 0; i < o->n_findings; i++) {
		mp_w_array(b, 2);
		mp_w_cstr(b, o->findings[i].kind);
		mp_w_cstr(b, o->findings[i].detail);
	}
}

static bool
msg_uid_or_empty(const char *uid)
{
	return uid[0] == '\0' || msg_uid_ok(uid);
}

static void
msg_get_text(struct mp_doc *d, const char *key, char *out, size_t cap)
{
	mp_text(d, mp_get(d->root, key), out, cap);
}

static enum err
msg_get_uids(struct mp_doc *d, struct img_object *o)
{
	const char *p;

	msg_get_text(d, "class", o->sop_class, sizeof(o->sop_class));
	msg_get_text(d, "ts", o->transfer_syntax, sizeof(o->transfer_syntax));
	msg_get_text(d, "sop", o->sop_uid, sizeof(o->sop_uid));
	msg_get_text(d, "series", o->series_uid, sizeof(o->series_uid));
	msg_get_text(d, "study", o->study_uid, sizeof(o->study_uid));
	msg_get_text(d, "dsop", o->deid_sop_uid, sizeof(o->deid_sop_uid));
	msg_get_text(
	    d, "dseries", o->deid_series_uid, sizeof(o->deid_series_uid));
	msg_get_text(d, "dstudy", o->deid_study_uid, sizeof(o->deid_study_uid));
	msg_get_text(d, "mod", o->modality, sizeof(o->modality));
	for (p = o->modality; *p != '\0'; p++) {
		if (*p < 0x20 || *p > 0x7e)
			return ERR_MALFORMED;
	}
	if (!msg_uid_or_empty(o->sop_class) ||
	    !msg_uid_or_empty(o->transfer_syntax) ||
	    !msg_uid_or_empty(o->sop_uid) || !msg_uid_or_empty(o->series_uid) ||
	    !msg_uid_or_empty(o->study_uid) ||
	    !msg_uid_or_empty(o->deid_sop_uid) ||
	    !msg_uid_or_empty(o->deid_series_uid) ||
	    !msg_uid_or_empty(o->deid_study_uid))
		return ERR_MALFORMED;
	return d->err;
}

static enum err
msg_get_findings(struct mp_doc *d, struct msg_object *out)
{
	const struct mp_node *list = mp_get(d->root, "find");
	uint32_t i, n = mp_len(list);
	struct img_finding *f;

	if (mp_type(list) != MP_ARRAY || n > IMG_FINDINGS_MAX)
		return ERR_MALFORMED;
	if (n == 0)
		return ERR_OK;
	out->findings = mem_array(n, sizeof(*out->findings));
	if (out->findings == NULL)
		return ERR_NOMEM;
	for (i = 0; i < n; i++) {
		f = &out->findings[i];
		mp_text(d, mp_at(mp_at(list, i), 0), f->kind, sizeof(f->kind));
		mp_text(
		    d, mp_at(mp_at(list, i), 1), f->detail, sizeof(f->detail));
	}
	out->object.findings = out->findings;
	out->object.n_findings = n;
	return d->err;
}

/* Sizes must agree with each other before a byte of bulk is looked at. */
static enum err
msg_get_sizes(struct mp_doc *d, struct msg_object *out)
{
	struct img_object *o = &out->object;
	const struct mp_node *root = d->root;

	o->original.n = mp_u64(d, mp_get(root, "orig"), LIM_OBJECT_BYTES);
	o->deid.n = mp_u64(d, mp_get(root, "deid"), LIM_OBJECT_BYTES);
	out->detail_n = mp_u64(d, mp_get(root, "detail"), SIZE_MAX);
	o->n_original_plan =
	    (uint32_t)mp_u64(d, mp_get(root, "plan"), IMG_PIECES_MAX);
	o->n_deid_plan =
	    (uint32_t)mp_u64(d, mp_get(root, "dplan"), IMG_PIECES_MAX);
	out->fields_n =
	    (uint32_t)mp_u64(d, mp_get(root, "fields"), MSG_FIELDS_MAX);
	out->same = mp_bool(d, mp_get(root, "same"));
	if (out->same && (o->deid.n != o->original.n || o->n_deid_plan != 0))
		return ERR_MALFORMED;
	if (mp_has(root, "d"))
		out->detail = mp_bin(d, mp_get(root, "d"), IMG_FRAME_BYTES);
	if (d->err != ERR_OK)
		return d->err;
	if (out->detail_n !=
	    (uint64_t)MSG_PIECE_BYTES * (o->n_original_plan + o->n_deid_plan) +
		out->fields_n)
		return ERR_MALFORMED;
	if (mp_has(root, "d") && out->detail.n != out->detail_n)
		return ERR_MALFORMED;
	return ERR_OK;
}

/* What parsed and releasable promise. */
static bool
msg_object_consistent(const struct img_object *o)
{
	if (!o->parsed)
		return !o->releasable && o->deid.n == 0;
	if (!msg_uid_ok(o->sop_uid) || !msg_uid_ok(o->sop_class) ||
	    !msg_uid_ok(o->series_uid) || !msg_uid_ok(o->study_uid) ||
	    o->original.n == 0)
		return false;
	if (o->deid.n == 0)
		return !o->releasable;
	return msg_uid_ok(o->deid_sop_uid) && msg_uid_ok(o->deid_series_uid) &&
	       msg_uid_ok(o->deid_study_uid);
}

enum err
msg_get_object(struct mp_doc *d, struct msg_object *out)
{
	enum err e;

	*out = (struct msg_object){ 0 };
	out->object.parsed = mp_bool(d, mp_get(d->root, "parsed"));
	out->object.releasable = mp_bool(d, mp_get(d->root, "rel"));
	e = msg_get_sizes(d, out);
	if (e == ERR_OK)
		e = msg_get_uids(d, &out->object);
	if (e == ERR_OK)
		e = msg_get_findings(d, out);
	if (e == ERR_OK && !msg_object_consistent(&out->object))
		e = ERR_MALFORMED;
	if (e == ERR_OK)
		return ERR_OK;
	msg_object_fini(out);
	return e == ERR_NOMEM ? e : ERR_MALFORMED;
}

/* Loose check: inside the file and of a known kind.  store/blob asks for an
 * exact tiling. */
static enum err
msg_get_plan(struct rd *r, struct img_piece *out, uint32_t n, uint64_t bytes)
{
	uint32_t i;

	for (i = 0; i < n; i++) {
		out[i].off = rd_u64(r);
		out[i].len = rd_u64(r);
		out[i].kind = rd_u8(r);
		out[i].bits = rd_u8(r);
		out[i].w = rd_u16(r);
		out[i].h = rd_u16(r);
		if (rd_u16(r) != 0 || out[i].kind < IMG_P_HEADER ||
		    out[i].kind > IMG_P_OTHER || out[i].off > bytes ||
		    out[i].len > bytes - out[i].off)
			return ERR_MALFORMED;
	}
	return r->err;
}

/* {"subject": {..}, "exam": ..}: maps of scalars or arrays, bounded. */
static enum err
msg_check_fields(struct slice s)
{
	static const struct mp_limits lim = {
		.bytes_max = MSG_FIELDS_MAX, .count_max = 4096, .depth_max = 6
	};
	struct mp_doc d;
	enum err e;

	if (s.n == 0)
		return ERR_OK;
	e = mp_parse(s, &lim, &d);
	if (e != ERR_OK)
		return e == ERR_NOMEM ? e : ERR_MALFORMED;
	if (mp_type(d.root) != MP_MAP)
		e = ERR_MALFORMED;
	mp_doc_fini(&d);
	return e;
}

enum err
msg_get_detail(struct slice detail, struct msg_object *m)
{
	struct img_object *o = &m->object;
	uint32_t n = o->n_original_plan + o->n_deid_plan;
	struct rd r = rd_init(detail);
	enum err e = ERR_OK;

	if (n > 0) {
		m->plans = mem_array(n, sizeof(*m->plans));
		if (m->plans == NULL)
			return ERR_NOMEM;
		o->original_plan = m->plans;
		o->deid_plan = m->plans + o->n_original_plan;
		e = msg_get_plan(
		    &r, m->plans, o->n_original_plan, o->original.n);
	}
	if (e == ERR_OK && o->n_deid_plan > 0)
		e = msg_get_plan(&r, m->plans + o->n_original_plan,
		    o->n_deid_plan, o->deid.n);
	if (m->same) {
		o->deid_plan = o->original_plan;
		o->n_deid_plan = o->n_original_plan;
	}
	o->fields = rd_bytes(&r, m->fields_n);
	if (e == ERR_OK)
		e = rd_end(&r);
	if (e == ERR_OK)
		e = msg_check_fields(o->fields);
	return e == ERR_OK || e == ERR_NOMEM ? e : ERR_MALFORMED;
}

void
msg_object_fini(struct msg_object *m)
{
	mem_free(m->plans);
	mem_free(m->findings);
	*m = (struct msg_object){ 0 };
}
