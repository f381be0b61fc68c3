/* node/imaging/helper/object.c: the dance around one object.
 *
 * Happy path: seal -> walk -> IMG_IDENTITY -> MSG_CONTEXT -> de-identify ->
 * IMG_OBJECT -> MSG_STORED.  A file that cannot be walked goes to the node
 * as an original with a finding (domain.md 14); one whose de-identification
 * fails goes with its plan but without a de-identified form.  Only when the
 * node said "stored" is there a status to answer. */
#include "node/imaging/helper/object.h"

#include <unistd.h>

#include "node/imaging/helper/walk.h"
#include "node/imaging/plan.h"
#include "node/imaging/helper/recode.h"
#include "node/imaging/sealed.h"
#include "store/base/mem.h"

#define OBJECT_DICOMDIR "1.2.840.10008.1.3.10" /* PS3.4 annex I */

struct object_work {
	struct img_piece original_plan[IMG_PIECES_MAX];
	struct img_piece deid_plan[IMG_PIECES_MAX];
	struct img_finding findings[IMG_FINDINGS_MAX];
	struct img_object o;
	struct img_identity identity;
	struct msg_context context;
	struct deid_result deid;
	int deid_fd;
};

enum err
object_work_new(struct object_work **out)
{
	*out = mem_new(sizeof(**out));
	return *out == NULL ? ERR_NOMEM : ERR_OK;
}

void
object_work_free(struct object_work *w)
{
	mem_free(w);
}

static void
object_text(char *out, size_t cap, const char *in)
{
	size_t n = strlen(in);

	if (n >= cap)
		n = cap - 1;
	memcpy(out, in, n);
	out[n] = '\0';
}

static void
object_finding(struct object_work *w, const char *kind, const char *detail)
{
	struct img_finding *f;

	if (w->o.n_findings >= IMG_FINDINGS_MAX)
		return;
	f = &w->findings[w->o.n_findings++];
	object_text(f->kind, sizeof(f->kind), kind);
	object_text(f->detail, sizeof(f->detail), detail);
}

/* Why a file could not be walked; an import may meet anything. */
static void
object_unparsed(struct object_work *w, struct slice file, enum err e,
    const struct errmsg *em)
{
	bool dicom = file.n >= 132 && memcmp(file.p + 128, "DICM", 4) == 0;
	const char *kind = "unparsable";

	if (!dicom)
		kind = "not-dicom";
	else if (e == ERR_SHORT)
		kind = "truncated";
	w->o.parsed = false;
	w->o.releasable = false;
	object_finding(w, kind, em->cause[0] != '\0' ? em->cause : err_text(e));
}

/* The plan of what is no DICOM object: volumes are cut at slices too. */
static uint32_t
object_plain_plan(struct img_piece *out, struct slice file)
{
	struct plan p = { .out = out, .max = 1 };
	uint32_t n;

	if (plan_nifti(file, out, IMG_PIECES_MAX, &n) == ERR_OK)
		return n;
	plan_bytes(&p, file.n, IMG_P_OTHER);
	return p.n;
}

static uint32_t
object_plan(const struct dcm_file *f, struct img_piece *out, struct slice file)
{
	uint32_t n;

	if (dcm_plan(f, out, IMG_PIECES_MAX, &n) == ERR_OK)
		return n;
	return object_plain_plan(out, file);
}

/* Memory of ours that an object lacks: the sender is told to retry. */
static bool
object_out_of_room(enum err e)
{
	return e == ERR_NOMEM || e == ERR_FULL;
}

static enum err
object_send(struct link *l, struct object_work *w, int original_fd)
{
	struct buf b = BUF_MAX(IMG_FRAME_BYTES);
	struct buf detail = BUF_MAX(
	    (size_t)2 * IMG_PIECES_MAX * MSG_PIECE_BYTES + MSG_FIELDS_MAX);
	int fds[3] = { original_fd, -1, -1 }, detail_fd = -1;
	uint32_t n = 1;
	bool by_memfd;
	enum err e;

	if (w->deid_fd >= 0)
		fds[n++] = w->deid_fd;
	msg_put_detail(&detail, &w->o);
	if ((e = buf_err(&detail)) != ERR_OK)
		goto out;
	msg_put_object(&b, &w->o, buf_slice(&detail), &by_memfd);
	if (by_memfd) {
		if ((detail_fd = sealed_new()) < 0) {
			e = ERR_NOMEM;
			goto out;
		}
		fds[n++] = detail_fd;
		if ((e = sealed_write(detail_fd, buf_slice(&detail))) !=
			ERR_OK ||
		    (e = sealed_close_writes(detail_fd)) != ERR_OK)
			goto out;
	}
	e = frame_send(l->sock, &b, fds, n, UINT32_MAX);
out:
	if (detail_fd >= 0)
		(void)close(detail_fd);
	buf_fini(&detail);
	buf_fini(&b);
	return e;
}

/* Read the index fields; false if one that identifies the object is not
 * there or is no UID. */
static bool
object_describe(struct object_work *w, const struct dcm_file *f)
{
	struct img_object *o = &w->o;
	char *p;

	dcm_text(f, TAG_SOP_CLASS, o->sop_class, sizeof(o->sop_class));
	dcm_text(f, TAG_SOP_UID, o->sop_uid, sizeof(o->sop_uid));
	dcm_text(f, TAG_STUDY_UID, o->study_uid, sizeof(o->study_uid));
	dcm_text(f, TAG_SERIES_UID, o->series_uid, sizeof(o->series_uid));
	dcm_text(f, TAG_MODALITY, o->modality, sizeof(o->modality));
	for (p = o->modality; *p != '\0'; p++) {
		if (*p < 0x20 || *p > 0x7e)
			*p = '?';
	}
	if (msg_uid_ok(dcm_transfer_syntax(f)))
		object_text(o->transfer_syntax, sizeof(o->transfer_syntax),
		    dcm_transfer_syntax(f));
	return msg_uid_ok(o->sop_class) && msg_uid_ok(o->sop_uid) &&
	       msg_uid_ok(o->study_uid) && msg_uid_ok(o->series_uid);
}

/* Walked, but not an instance of a series.  Nothing half-read may look like
 * an identifier. */
static void
object_nameless(struct object_work *w, const struct dcm_file *f)
{
	struct img_object *o = &w->o;
	char class_uid[IMG_UID_MAX + 1];

	o->sop_class[0] = o->sop_uid[0] = o->series_uid[0] = '\0';
	o->study_uid[0] = o->modality[0] = o->transfer_syntax[0] = '\0';
	dcm_text(f, TAG_META_SOP_CLASS, class_uid, sizeof(class_uid));
	if (strcmp(class_uid, OBJECT_DICOMDIR) == 0)
		object_finding(w, "dicomdir", "a directory, not an image");
	else if (f->syntax == SYNTAX_OPAQUE)
		object_finding(w, "unsupported-syntax",
		    "dataset not readable in this transfer syntax");
	else
		object_finding(w, "unparsable",
		    "SOP, study or series identifier missing or ill-formed");
}

/* Identity and context; *asked says whether there is a context to use.  An
 * object whose identifiers cannot be listed keeps its original only. */
static enum err
object_ask(struct link *l, struct object_work *w, const struct dcm_file *f,
    bool *asked)
{
	struct buf b = BUF_MAX(IMG_FRAME_BYTES);
	enum err e = deid_identity(f, &w->identity);

	*asked = false;
	if (e != ERR_OK) {
		if (!object_out_of_room(e))
			object_finding(w, "deid-failed", err_text(e));
		return object_out_of_room(e) ? e : ERR_OK;
	}
	msg_put_identity(&b, &w->identity);
	if (link_send(l, &b, NULL, 0) != ERR_OK ||
	    link_wait(l, MSG_CONTEXT) != ERR_OK ||
	    msg_get_context(&l->doc, &w->context) != ERR_OK)
		return ERR_FOREIGN;
	if (l->table != NULL) { /* the name is the context's */
		(void)snprintf(l->table->name, sizeof(l->table->name), "%.31s",
		    w->context.profile);
		w->context.ctx.table = l->table;
	}
	if (!w->context.skip && w->context.ctx.n_uids != w->identity.n_uids)
		return ERR_FOREIGN;
	*asked = !w->context.skip;
	return ERR_OK;
}

static void
object_take_deid(struct object_work *w)
{
	struct img_object *o = &w->o;
	const struct deid_result *d = &w->deid;
	uint32_t i;

	object_text(o->deid_sop_uid, sizeof(o->deid_sop_uid), d->sop_uid);
	object_text(
	    o->deid_series_uid, sizeof(o->deid_series_uid), d->series_uid);
	object_text(o->deid_study_uid, sizeof(o->deid_study_uid), d->study_uid);
	for (i = 0; i < d->n_findings; i++)
		object_finding(w, d->findings[i].kind, d->findings[i].detail);
	o->releasable = d->releasable && (d->same || d->file.n > 0);
	o->fields = buf_slice(&d->fields);
	if (d->fields.n > MSG_FIELDS_MAX) {
		o->fields = (struct slice){ 0 };
		o->releasable = false;
		object_finding(
		    w, "too-many-fields", "catalog fields above limit");
	}
}

/* The de-identified file into its memfd, with its own plan. */
static enum err
object_seal_deid(struct object_work *w)
{
	struct slice file = buf_slice(&w->deid.file);
	struct dcm_file *f = NULL;
	enum err e;

	if (w->deid.same)
		w->o.deid = w->o.original;
	if (file.n == 0)
		return ERR_OK;
	e = dcm_open(file, &f, NULL);
	if (e != ERR_OK)
		return e;
	w->o.deid_plan = w->deid_plan;
	w->o.n_deid_plan = object_plan(f, w->deid_plan, file);
	dcm_close(f);
	if ((w->deid_fd = sealed_new()) < 0)
		return ERR_NOMEM;
	e = sealed_write(w->deid_fd, file);
	if (e == ERR_OK)
		e = sealed_close_writes(w->deid_fd);
	if (e == ERR_OK)
		w->o.deid = file; /* the size; the bytes go by descriptor */
	return e;
}

/* Names that the node will believe; values of VR UN, say, leave none. */
static bool
object_named(const struct deid_result *d)
{
	return (d->file.n == 0 && !d->same) ||
	       (msg_uid_ok(d->sop_uid) && msg_uid_ok(d->series_uid) &&
		   msg_uid_ok(d->study_uid));
}

/* From here on the node waits for the object: whatever fails is a finding. */
static void
object_deid(struct object_work *w, const struct dcm_file *f)
{
	struct errmsg em = { 0 };
	enum err e =
	    deid_apply(f, &w->identity, &w->context.ctx, &w->deid, &em);

	if (e == ERR_OK && !object_named(&w->deid))
		e = errmsg_set(&em, ERR_UNSUPPORTED, "",
		    "an identifier is gone with its element");
	if (e == ERR_OK) {
		object_take_deid(w);
		e = object_seal_deid(w);
	}
	if (e == ERR_OK)
		return;
	w->o.releasable = false;
	w->o.deid = (struct slice){ 0 };
	w->o.n_deid_plan = 0;
	if (w->deid_fd >= 0)
		(void)close(w->deid_fd);
	w->deid_fd = -1;
	object_finding(
	    w, "deid-failed", em.cause[0] != '\0' ? em.cause : err_text(e));
}

static bool
object_matches(const struct object_work *w, const struct object_in *in)
{
	return in->sop_class == NULL ||
	       (strcmp(in->sop_class, w->o.sop_class) == 0 &&
		   strcmp(in->sop_uid, w->o.sop_uid) == 0);
}

/* f: the object as it came; plain: the same in explicit little endian, where
 * it is de-identified from that. */
static enum err
object_walked(struct link *l, struct object_work *w, const struct object_in *in,
    const struct dcm_file *f, const struct recode *plain, uint16_t *status)
{
	const struct dcm_file *g = plain->f != NULL ? plain->f : f;
	bool asked;
	enum err e;

	if (!object_describe(w, g)) {
		object_nameless(w, g);
		return ERR_OK;
	}
	if (!object_matches(w, in)) {
		*status = IMG_STATUS_MISMATCH;
		return ERR_OK;
	}
	if (plain->syntax) {
		object_text(w->o.transfer_syntax, sizeof(w->o.transfer_syntax),
		    dcm_transfer_syntax(f));
		object_finding(w, "recoded",
		    "the de-identified copy is explicit little endian");
	}
	if (plain->guessed)
		object_finding(w, "charset-guessed",
		    "text is in no character set that the object names");
	w->o.parsed = true;
	w->o.n_original_plan = object_plan(f, w->original_plan, w->o.original);
	e = object_ask(l, w, g, &asked);
	if (e == ERR_OK && asked)
		object_deid(w, g);
	return e;
}

/* Parsed as far as possible; *status other than OK: do not offer. */
static enum err
object_build(struct link *l, struct object_work *w, const struct object_in *in,
    uint16_t *status)
{
	struct dcm_file *f = NULL;
	struct recode plain = { 0 };
	struct errmsg em = { 0 };
	enum err e = dcm_open(w->o.original, &f, &em);

	/* Whatever happens, the original can be stored. */
	w->o.original_plan = w->original_plan;
	w->o.n_original_plan =
	    object_plain_plan(w->original_plan, w->o.original);
	if (object_out_of_room(e))
		goto out;
	if (e != ERR_OK) {
		object_unparsed(w, w->o.original, e, &em);
		e = ERR_OK;
		goto out;
	}
	/* Where that fails the object is what it was: kept, not released. */
	if (recode_plain(f, l->charset, &plain, &em) != ERR_OK)
		object_finding(w, "unsupported-syntax", em.cause);
	e = object_walked(l, w, in, f, &plain, status);
out:
	recode_fini(&plain);
	dcm_close(f);
	if (object_out_of_room(e)) {
		*status = IMG_STATUS_OUT_OF_RESOURCES;
		e = ERR_OK;
	}
	return e;
}

static void
object_work_clear(struct object_work *w)
{
	sealed_unmap(&w->o.original);
	deid_identity_fini(&w->identity);
	msg_context_fini(&w->context);
	deid_result_fini(&w->deid);
	if (w->deid_fd >= 0)
		(void)close(w->deid_fd);
	w->deid_fd = -1;
}

enum err
object_offer(struct link *l, struct object_work *w, const struct object_in *in,
    uint16_t *status, bool *offered)
{
	enum err e;

	memset(&w->o, 0, sizeof(w->o));
	memset(&w->identity, 0, sizeof(w->identity));
	memset(&w->context, 0, sizeof(w->context));
	memset(&w->deid, 0, sizeof(w->deid));
	w->o.findings = w->findings;
	w->deid_fd = -1;
	*offered = false;
	*status = IMG_STATUS_OK;
	if (sealed_close_writes(in->fd) != ERR_OK ||
	    sealed_map_own(in->fd, in->bytes, &w->o.original) != ERR_OK) {
		*status = IMG_STATUS_OUT_OF_RESOURCES;
		return ERR_OK;
	}
	e = object_build(l, w, in, status);
	if (e == ERR_OK && *status == IMG_STATUS_OK) {
		*offered = true;
		e = object_send(l, w, in->fd);
	}
	object_work_clear(w);
	return e;
}

enum err
object_verdict(struct link *l, uint16_t *status)
{
	enum err e = link_wait(l, MSG_STORED);

	return e == ERR_OK ? msg_get_stored(&l->doc, status) : e;
}
