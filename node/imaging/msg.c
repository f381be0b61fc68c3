/* node/imaging/msg.c: small messages, and the frame around all of them.
 *
 * A get reads its members in order; the doc's sticky error is asked once at
 * the end.  Texts are bounded by the struct they land in, and everything
 * that the node would show or use as a name is held to printable ASCII. */
#include "node/imaging/msg.h"

#include "store/base/mem.h"

enum err
msg_open(struct slice frame, struct mp_doc *doc, uint32_t *kind)
{
	static const struct mp_limits lim = { .bytes_max = IMG_FRAME_BYTES,
		.count_max = IMG_UIDS_MAX,
		.depth_max = 4 };
	enum err e;

	*doc = (struct mp_doc){ 0 };
	*kind = 0;
	e = mp_parse(frame, &lim, doc);
	if (e != ERR_OK)
		return e == ERR_NOMEM ? e : ERR_MALFORMED;
	*kind = (uint32_t)mp_u64(doc, mp_get(doc->root, "k"), 255);
	return doc->err == ERR_OK ? ERR_OK : ERR_MALFORMED;
}

static bool
msg_printable(const char *s)
{
	for (; *s != '\0'; s++) {
		if (*s < 0x20 || *s > 0x7e)
			return false;
	}
	return true;
}

bool
msg_uid_ok(const char *uid)
{
	size_t n;

	for (n = 0; uid[n] != '\0'; n++) {
		if (uid[n] != '.' && (uid[n] < '0' || uid[n] > '9'))
			return false;
	}
	return n > 0 && n <= IMG_UID_MAX;
}

static enum err
msg_end(const struct mp_doc *d)
{
	if (d->err == ERR_OK || d->err == ERR_NOMEM)
		return d->err;
	return ERR_MALFORMED;
}

static void
msg_begin(struct buf *b, uint32_t kind, size_t members)
{
	mp_w_map(b, members + 1);
	mp_kv_u64(b, "k", kind);
}

static const struct mp_node *
msg_at(const struct mp_doc *d, const char *key)
{
	return mp_get(d->root, key);
}

void
msg_put_config(struct buf *b, const struct msg_config *c)
{
	msg_begin(b, MSG_CONFIG, 8);
	mp_kv_u64(b, "v", MSG_VERSION);
	mp_kv_u64(b, "mode", c->mode);
	mp_kv_cstr(b, "called", c->called_ae);
	mp_kv_cstr(b, "profile", c->profile);
	mp_kv_u64(b, "mem", c->memory_bytes_max);
	mp_kv_u64(b, "obj", c->object_bytes_max);
	mp_kv_u64(b, "idle", c->idle_ms);
	mp_kv_bin(b, "table", c->table);
}

enum err
msg_get_config(struct mp_doc *d, struct msg_config *out)
{
	uint64_t mode;

	*out = (struct msg_config){ 0 };
	if (mp_u64(d, msg_at(d, "v"), UINT32_MAX) != MSG_VERSION)
		return ERR_MALFORMED;
	mode = mp_u64(d, msg_at(d, "mode"), IMAGING_PULL);
	if (mode < IMAGING_RECEIVE)
		return ERR_MALFORMED;
	out->mode = (enum imaging_mode)mode;
	mp_text(d, msg_at(d, "called"), out->called_ae, sizeof(out->called_ae));
	mp_text(d, msg_at(d, "profile"), out->profile, sizeof(out->profile));
	out->memory_bytes_max = mp_u64(d, msg_at(d, "mem"), UINT64_MAX);
	out->object_bytes_max = mp_u64(d, msg_at(d, "obj"), UINT64_MAX);
	out->idle_ms = (uint32_t)mp_u64(d, msg_at(d, "idle"), UINT32_MAX);
	out->table = mp_bin(d, msg_at(d, "table"), MSG_TABLE_MAX);
	return msg_end(d);
}

void
msg_put_assoc(struct buf *b, const struct img_assoc *a)
{
	msg_begin(b, IMG_ASSOC, 4);
	mp_kv_cstr(b, "calling", a->calling_ae);
	mp_kv_cstr(b, "called", a->called_ae);
	mp_kv_cstr(b, "addr", a->address);
	mp_kv_u64(b, "window", a->window);
}

enum err
msg_get_assoc(struct mp_doc *d, struct img_assoc *out)
{
	*out = (struct img_assoc){ 0 };
	mp_text(
	    d, msg_at(d, "calling"), out->calling_ae, sizeof(out->calling_ae));
	mp_text(d, msg_at(d, "called"), out->called_ae, sizeof(out->called_ae));
	mp_text(d, msg_at(d, "addr"), out->address, sizeof(out->address));
	out->window = (uint32_t)mp_u64(d, msg_at(d, "window"), IMG_WINDOW_MAX);
	if (!msg_printable(out->calling_ae) || !msg_printable(out->called_ae) ||
	    !msg_printable(out->address) || out->window == 0)
		return ERR_MALFORMED;
	return msg_end(d);
}

void
msg_put_admit(struct buf *b, enum img_admit answer, struct slice table)
{
	msg_begin(b, MSG_ADMIT, 2);
	mp_kv_u64(b, "answer", (uint64_t)answer);
	mp_kv_bin(b, "table", table);
}

enum err
msg_get_admit(struct mp_doc *d, enum img_admit *answer, struct slice *table)
{
	*table = mp_bin(d, msg_at(d, "table"), MSG_TABLE_MAX);
	*answer = (enum img_admit)mp_u64(
	    d, msg_at(d, "answer"), IMG_REFUSED_CALLED_AE);
	return msg_end(d);
}

void
msg_put_stored(struct buf *b, uint16_t status)
{
	msg_begin(b, MSG_STORED, 1);
	mp_kv_u64(b, "status", status);
}

enum err
msg_get_stored(struct mp_doc *d, uint16_t *status)
{
	*status = (uint16_t)mp_u64(d, msg_at(d, "status"), UINT16_MAX);
	return msg_end(d);
}

void
msg_put_file(struct buf *b, uint64_t bytes)
{
	msg_begin(b, MSG_FILE, 1);
	mp_kv_u64(b, "n", bytes);
}

enum err
msg_get_file(struct mp_doc *d, uint64_t *bytes)
{
	*bytes = mp_u64(d, msg_at(d, "n"), UINT64_MAX);
	return msg_end(d);
}

void
msg_put_series(struct buf *b, uint64_t bytes)
{
	msg_begin(b, MSG_SERIES, 1);
	mp_kv_u64(b, "n", bytes);
}

enum err
msg_get_series(struct mp_doc *d, uint64_t *bytes)
{
	*bytes = mp_u64(d, msg_at(d, "n"), UINT64_MAX);
	return msg_end(d);
}

void
msg_put_done(struct buf *b, const struct img_done *done)
{
	msg_begin(b, IMG_DONE, 3);
	mp_kv_u64(b, "stored", done->stored);
	mp_kv_u64(b, "refused", done->refused);
	mp_kv_cstr(b, "reason", done->reason);
}

enum err
msg_get_done(struct mp_doc *d, struct img_done *out)
{
	*out = (struct img_done){ 0 };
	out->stored = (uint32_t)mp_u64(d, msg_at(d, "stored"), UINT32_MAX);
	out->refused = (uint32_t)mp_u64(d, msg_at(d, "refused"), UINT32_MAX);
	mp_text(d, msg_at(d, "reason"), out->reason, sizeof(out->reason));
	if (!msg_printable(out->reason))
		return ERR_MALFORMED;
	return msg_end(d);
}

void
msg_put_result(struct buf *b, const struct img_result *r)
{
	uint32_t i;

	msg_begin(b, IMG_RESULT, 4);
	mp_kv_bool(b, "ok", r->ok);
	mp_kv_cstr(b, "reason", r->reason);
	mp_kv_bin(b, "fields", r->fields);
	mp_kv_array(b, "files", r->n_files);
	for (i = 0; i < r->n_files; i++) {
		mp_w_array(b, 2);
		mp_w_cstr(b, r->files[i].name);
		mp_w_u64(b, r->files[i].bytes.n);
	}
}

/* A plain file name: no path, no dot in front, nothing a shell would eat. */
static bool
msg_name_ok(const char *s)
{
	size_t i;

	for (i = 0; s[i] != '\0'; i++) {
		if (!((s[i] >= 'a' && s[i] <= 'z') ||
			(s[i] >= '0' && s[i] <= '9') || s[i] == '_' ||
			s[i] == '-' || (s[i] == '.' && i > 0)))
			return false;
	}
	return i > 0;
}

enum err
msg_get_result(struct mp_doc *d, struct img_result *out)
{
	const struct mp_node *files = msg_at(d, "files");
	const struct mp_node *f;
	uint32_t i, n = mp_len(files);

	*out = (struct img_result){ 0 };
	out->ok = mp_bool(d, msg_at(d, "ok"));
	mp_text(d, msg_at(d, "reason"), out->reason, sizeof(out->reason));
	out->fields = mp_bin(d, msg_at(d, "fields"), IMG_FRAME_BYTES);
	if (n > MSG_FILES_MAX || mp_type(files) != MP_ARRAY ||
	    !msg_printable(out->reason) || (out->ok && n == 0))
		return ERR_MALFORMED;
	for (i = 0; i < n; i++) {
		f = mp_at(files, i);
		mp_text(d, mp_at(f, 0), out->files[i].name,
		    sizeof(out->files[i].name));
		out->files[i].bytes.n = mp_u64(d, mp_at(f, 1), SIZE_MAX);
		if (!msg_name_ok(out->files[i].name))
			return ERR_MALFORMED;
	}
	out->n_files = n;
	return msg_end(d);
}

void
msg_put_verdict(struct buf *b, const struct img_verdict *v)
{
	msg_begin(b, IMG_VERDICT, 8);
	mp_kv_u64(b, "kind", v->kind);
	mp_kv_cstr(b, "blocked", v->blocked);
	mp_kv_cstr(b, "review", v->review);
	mp_kv_cstr(b, "pid", v->patient_id);
	mp_kv_cstr(b, "name", v->patient_name);
	mp_kv_cstr(b, "packed", v->packed_name);
	mp_kv_bool(b, "comment", v->packed_text);
	mp_kv_bin(b, "text", v->text);
}

enum err
msg_get_verdict(struct mp_doc *d, struct img_verdict *out)
{
	*out = (struct img_verdict){ .kind = IMG_CHECK_OTHER };
	out->kind =
	    (enum img_check_kind)mp_u64(d, msg_at(d, "kind"), IMG_CHECK_NIFTI);
	mp_text(d, msg_at(d, "blocked"), out->blocked, sizeof(out->blocked));
	mp_text(d, msg_at(d, "review"), out->review, sizeof(out->review));
	mp_text(d, msg_at(d, "pid"), out->patient_id, sizeof(out->patient_id));
	mp_text(
	    d, msg_at(d, "name"), out->patient_name, sizeof(out->patient_name));
	mp_text(
	    d, msg_at(d, "packed"), out->packed_name, sizeof(out->packed_name));
	out->packed_text = mp_bool(d, msg_at(d, "comment"));
	out->text = mp_bin(d, msg_at(d, "text"), IMG_CHECK_TEXT_MAX);
	if (!msg_printable(out->blocked) || !msg_printable(out->review))
		return ERR_MALFORMED;
	return msg_end(d);
}

void
msg_put_identity(struct buf *b, const struct img_identity *id)
{
	uint32_t i;

	msg_begin(b, IMG_IDENTITY, 4);
	mp_kv_cstr(b, "pid", id->patient_id);
	mp_kv_cstr(b, "issuer", id->issuer);
	mp_kv_cstr(b, "name", id->patient_name);
	mp_kv_array(b, "uids", id->n_uids);
	for (i = 0; i < id->n_uids; i++)
		mp_w_cstr(b, id->uids[i]);
}

enum err
msg_get_identity(struct mp_doc *d, struct img_identity *out)
{
	const struct mp_node *uids = msg_at(d, "uids");
	uint32_t i, n = mp_len(uids);
	enum err e;

	*out = (struct img_identity){ 0 };
	if (mp_type(uids) != MP_ARRAY || n > IMG_UIDS_MAX)
		return ERR_MALFORMED;
	if (n > 0) {
		out->uids = mem_array(n, sizeof(*out->uids));
		if (out->uids == NULL)
			return ERR_NOMEM;
	}
	mp_text(d, msg_at(d, "pid"), out->patient_id, sizeof(out->patient_id));
	mp_text(d, msg_at(d, "issuer"), out->issuer, sizeof(out->issuer));
	mp_text(
	    d, msg_at(d, "name"), out->patient_name, sizeof(out->patient_name));
	for (i = 0; i < n; i++)
		mp_text(d, mp_at(uids, i), out->uids[i], sizeof(out->uids[i]));
	out->n_uids = n;
	if ((e = msg_end(d)) != ERR_OK)
		msg_identity_fini(out);
	return e;
}

void
msg_identity_fini(struct img_identity *id)
{
	mem_free(id->uids);
	*id = (struct img_identity){ 0 };
}

void
msg_put_context(struct buf *b, const struct img_context *ctx)
{
	uint32_t i;

	if (ctx == NULL) {
		msg_begin(b, MSG_CONTEXT, 1);
		mp_kv_bool(b, "skip", true);
		return;
	}
	msg_begin(b, MSG_CONTEXT, 6);
	mp_kv_bool(b, "skip", false);
	mp_kv_cstr(b, "profile", ctx->profile);
	mp_kv_cstr(b, "subject", ctx->subject);
	mp_kv_i64(b, "shift", ctx->shift_days);
	mp_kv_bool(b, "nodeid", ctx->no_deid);
	mp_kv_array(b, "uids", ctx->n_uids);
	for (i = 0; i < ctx->n_uids; i++) {
		if (ctx->new_uids[i] == NULL)
			mp_w_nil(b);
		else
			mp_w_cstr(b, ctx->new_uids[i]);
	}
}

static enum err
msg_get_new_uids(struct mp_doc *d, struct msg_context *out)
{
	const struct mp_node *uids = msg_at(d, "uids"), *v;
	uint32_t i, n = mp_len(uids);

	if (mp_type(uids) != MP_ARRAY || n > IMG_UIDS_MAX)
		return ERR_MALFORMED;
	if (n == 0)
		return ERR_OK;
	out->uids = mem_array(n, sizeof(*out->uids));
	out->new_uids = mem_array(n, sizeof(*out->new_uids));
	if (out->uids == NULL || out->new_uids == NULL)
		return ERR_NOMEM;
	for (i = 0; i < n; i++) {
		v = mp_at(uids, i);
		if (mp_type(v) == MP_NIL)
			continue;
		mp_text(d, v, out->uids[i], sizeof(out->uids[i]));
		out->new_uids[i] = out->uids[i];
	}
	out->ctx.new_uids = out->new_uids;
	out->ctx.n_uids = n;
	return ERR_OK;
}

enum err
msg_get_context(struct mp_doc *d, struct msg_context *out)
{
	int64_t shift;
	enum err e;

	*out = (struct msg_context){ 0 };
	out->skip = mp_bool(d, msg_at(d, "skip"));
	if (out->skip)
		return msg_end(d);
	mp_text(d, msg_at(d, "profile"), out->profile, sizeof(out->profile));
	mp_text(d, msg_at(d, "subject"), out->subject, sizeof(out->subject));
	shift = mp_i64(d, msg_at(d, "shift"));
	out->ctx.no_deid = mp_bool(d, msg_at(d, "nodeid"));
	out->ctx.profile = out->profile;
	out->ctx.subject = out->subject;
	out->ctx.shift_days = (int32_t)shift;
	if (shift < INT32_MIN || shift > INT32_MAX)
		return ERR_MALFORMED;
	e = msg_get_new_uids(d, out);
	if (e == ERR_OK)
		e = msg_end(d);
	if (e != ERR_OK)
		msg_context_fini(out);
	return e;
}

void
msg_context_fini(struct msg_context *c)
{
	mem_free(c->uids);
	mem_free(c->new_uids);
	*c = (struct msg_context){ 0 };
}

/* --- PULL --- */

void
msg_put_dial(struct buf *b, const struct img_dial *d)
{
	uint32_t i;

	msg_begin(b, MSG_DIAL, 5);
	mp_kv_u64(b, "event", d->event);
	mp_kv_u64(b, "op", d->op);
	mp_kv_cstr(b, "calling", d->calling_ae);
	mp_kv_cstr(b, "called", d->called_ae);
	mp_kv_array(b, "classes", d->n_classes);
	for (i = 0; i < d->n_classes; i++)
		mp_w_cstr(b, d->classes[i]);
}

enum err
msg_get_dial(struct mp_doc *d, struct img_dial *out)
{
	const struct mp_node *list = msg_at(d, "classes");
	uint32_t i;

	*out = (struct img_dial){ 0 };
	out->op = (enum img_pull_op)mp_u64(d, msg_at(d, "op"), IMG_REPORT);
	out->event = (uint16_t)mp_u64(d, msg_at(d, "event"), UINT16_MAX);
	mp_text(
	    d, msg_at(d, "calling"), out->calling_ae, sizeof(out->calling_ae));
	mp_text(d, msg_at(d, "called"), out->called_ae, sizeof(out->called_ae));
	out->n_classes = mp_len(list);
	if (out->n_classes > IMG_PULL_CLASSES || out->op < IMG_FIND)
		return ERR_MALFORMED;
	for (i = 0; i < out->n_classes; i++)
		mp_text(d, mp_at(list, i), out->classes[i],
		    sizeof(out->classes[i]));
	return msg_end(d);
}

void
msg_put_query(struct buf *b, const struct img_query *q)
{
	msg_begin(b, MSG_QUERY, 8);
	mp_kv_u64(b, "level", q->level);
	mp_kv_cstr(b, "patient", q->patient);
	mp_kv_cstr(b, "accession", q->accession);
	mp_kv_cstr(b, "date", q->date);
	mp_kv_cstr(b, "modality", q->modality);
	mp_kv_cstr(b, "study", q->study);
	mp_kv_cstr(b, "series", q->series);
	mp_kv_cstr(b, "to", q->destination);
}

enum err
msg_get_query(struct mp_doc *d, struct img_query *out)
{
	*out = (struct img_query){ 0 };
	out->level = (enum img_level)mp_u64(d, msg_at(d, "level"), IMG_IMAGE);
	mp_text(d, msg_at(d, "patient"), out->patient, sizeof(out->patient));
	mp_text(
	    d, msg_at(d, "accession"), out->accession, sizeof(out->accession));
	mp_text(d, msg_at(d, "date"), out->date, sizeof(out->date));
	mp_text(d, msg_at(d, "modality"), out->modality, sizeof(out->modality));
	mp_text(d, msg_at(d, "study"), out->study, sizeof(out->study));
	mp_text(d, msg_at(d, "series"), out->series, sizeof(out->series));
	mp_text(d, msg_at(d, "to"), out->destination, sizeof(out->destination));
	return out->level < IMG_STUDY ? ERR_MALFORMED : msg_end(d);
}

void
msg_put_row(struct buf *b, const struct img_row *r)
{
	msg_begin(b, IMG_ROW, 5);
	mp_kv_cstr(b, "study", r->study);
	mp_kv_cstr(b, "series", r->series);
	mp_kv_cstr(b, "sop", r->sop);
	mp_kv_cstr(b, "class", r->sop_class);
	mp_kv_cstr(b, "modality", r->modality);
}

static bool
msg_uid_or_none(const char *uid)
{
	return *uid == '\0' || msg_uid_ok(uid);
}

enum err
msg_get_row(struct mp_doc *d, struct img_row *out)
{
	*out = (struct img_row){ 0 };
	mp_text(d, msg_at(d, "study"), out->study, sizeof(out->study));
	mp_text(d, msg_at(d, "series"), out->series, sizeof(out->series));
	mp_text(d, msg_at(d, "sop"), out->sop, sizeof(out->sop));
	mp_text(d, msg_at(d, "class"), out->sop_class, sizeof(out->sop_class));
	mp_text(d, msg_at(d, "modality"), out->modality, sizeof(out->modality));
	if (!msg_uid_ok(out->study) || !msg_uid_or_none(out->series) ||
	    !msg_uid_or_none(out->sop) || !msg_uid_or_none(out->sop_class) ||
	    !msg_printable(out->modality))
		return ERR_MALFORMED;
	return msg_end(d);
}

void
msg_put_answer(struct buf *b, const struct img_answer *a)
{
	msg_begin(b, IMG_ANSWER, 6);
	mp_kv_cstr(b, "reason", a->reason);
	mp_kv_u64(b, "status", a->status);
	mp_kv_u64(b, "completed", a->completed);
	mp_kv_u64(b, "failed", a->failed);
	mp_kv_u64(b, "warned", a->warned);
	mp_kv_u64(b, "others", a->others);
}

enum err
msg_get_answer(struct mp_doc *d, struct img_answer *out)
{
	*out = (struct img_answer){ 0 };
	mp_text(d, msg_at(d, "reason"), out->reason, sizeof(out->reason));
	out->status = (uint16_t)mp_u64(d, msg_at(d, "status"), UINT16_MAX);
	out->completed =
	    (uint16_t)mp_u64(d, msg_at(d, "completed"), UINT16_MAX);
	out->failed = (uint16_t)mp_u64(d, msg_at(d, "failed"), UINT16_MAX);
	out->warned = (uint16_t)mp_u64(d, msg_at(d, "warned"), UINT16_MAX);
	out->others = (uint32_t)mp_u64(d, msg_at(d, "others"), UINT32_MAX);
	return msg_printable(out->reason) ? msg_end(d) : ERR_MALFORMED;
}

/* Class and instance in turn. */
void
msg_put_commit(struct buf *b, const struct img_commit *c)
{
	uint32_t i;

	msg_begin(b, IMG_COMMIT, 3);
	mp_kv_cstr(b, "tx", c->transaction);
	mp_kv_bool(b, "last", c->last);
	mp_kv_array(b, "refs", (size_t)c->n * 2);
	for (i = 0; i < c->n; i++) {
		mp_w_cstr(b, c->refs[i].sop_class);
		mp_w_cstr(b, c->refs[i].sop_uid);
	}
}

enum err
msg_get_commit(struct mp_doc *d, struct img_ref *refs, struct img_commit *out)
{
	const struct mp_node *list = msg_at(d, "refs");
	uint32_t i;

	*out = (struct img_commit){ .refs = refs, .n = mp_len(list) / 2 };
	mp_text(d, msg_at(d, "tx"), out->transaction, sizeof(out->transaction));
	out->last = mp_bool(d, msg_at(d, "last"));
	if (out->n > IMG_REFS_MAX || mp_len(list) % 2 != 0 ||
	    !msg_uid_ok(out->transaction))
		return ERR_MALFORMED;
	for (i = 0; i < out->n; i++) {
		mp_text(d, mp_at(list, 2 * i), refs[i].sop_class,
		    sizeof(refs[i].sop_class));
		mp_text(d, mp_at(list, 2 * i + 1), refs[i].sop_uid,
		    sizeof(refs[i].sop_uid));
		if (!msg_uid_ok(refs[i].sop_class) ||
		    !msg_uid_ok(refs[i].sop_uid))
			return ERR_MALFORMED;
	}
	return msg_end(d);
}
