/* node/imaging/helper/deid.c: identity of an object, and its de-identified
 * form: PS3.15 basic profile by table E.1-1 plus the keep set of domain.md.
 *
 * Happy path: risks noted, object rewritten (write.c), the result walked
 * again and searched for every identifier of the original (scrub.c), catalog
 * fields read from the result.  A finding that blocks release leaves the
 * file in place but releasable false. */
#include "node/imaging/helper/deid.h"

#include "node/imaging/helper/fields.h"
#include "node/imaging/helper/pixels.h"
#include "node/imaging/helper/write.h"
#include "store/base/limits.h"
#include "store/base/mem.h"

static enum err
add_uids(const struct dcm_file *f, uint32_t i, struct uids *u)
{
	struct slice all = dcm_value(f, i);
	struct slice v;
	enum err e = ERR_OK;

	for (uint32_t k = 0; e == ERR_OK && dcm_nth(all, k, &v); k++)
		if (uids_mappable(v))
			e = uids_add(u, v);
	return e;
}

/* The four that name the object come first, so that a full table never
 * lacks them. */
static enum err
collect_uids(const struct dcm_file *f, struct uids *u)
{
	static const uint32_t first[] = { TAG_SOP_UID, TAG_STUDY_UID,
		TAG_SERIES_UID, TAG_FRAME_UID };
	enum err e = ERR_OK;

	for (size_t k = 0; k < 4 && e == ERR_OK; k++) {
		uint32_t i = dcm_find(f, first[k]);

		if (i != DCM_NONE)
			e = add_uids(f, i, u);
	}
	for (uint32_t i = 0; i < f->n && e == ERR_OK; i++) {
		uint32_t tag = f->e[i].tag;

		if (f->e[i].vr == VR_UI && !dcm_tag_private(tag) &&
		    !dict_fixed_uid(tag) &&
		    (tag >> 16 != 2 || tag == TAG_META_SOP_UID))
			e = add_uids(f, i, u);
	}
	return e;
}

enum err
deid_identity(const struct dcm_file *f, struct img_identity *out)
{
	struct uids *u = mem_new(sizeof(*u));
	enum err e;

	if (u == NULL)
		return ERR_NOMEM;
	e = collect_uids(f, u);
	if (e != ERR_OK) {
		uids_fini(u);
		mem_free(u);
		return e;
	}
	*out = (struct img_identity){ .n_uids = u->n, .uids = u->v };
	mem_free(u);
	dcm_text(f, TAG_PATIENT_ID, out->patient_id, sizeof(out->patient_id));
	dcm_text(f, TAG_PATIENT_ISSUER, out->issuer, sizeof(out->issuer));
	dcm_text(
	    f, TAG_PATIENT_NAME, out->patient_name, sizeof(out->patient_name));
	return ERR_OK;
}

void
deid_identity_fini(struct img_identity *id)
{
	mem_free(id->uids);
	*id = (struct img_identity){ 0 };
}

void
deid_result_fini(struct deid_result *r)
{
	buf_fini(&r->file);
	buf_fini(&r->fields);
	*r = (struct deid_result){ 0 };
}

static void
note(struct deid_result *r, const char *kind, const char *detail)
{
	struct img_finding *d;

	if (r->n_findings == IMG_FINDINGS_MAX)
		return;
	d = &r->findings[r->n_findings++];
	(void)snprintf(d->kind, sizeof(d->kind), "%s", kind);
	(void)snprintf(d->detail, sizeof(d->detail), "%s", detail);
}

static void
block(struct deid_result *r, const char *kind, const char *detail)
{
	r->releasable = false;
	note(r, kind, detail);
}

/* Overlays in unused bits of the samples, declared or not: true when they are
 * to be masked. */
static bool
note_overlays(const struct dcm_file *f, struct deid_result *r)
{
	const char *declared = classes_risk(f, CLASSES_RISK_OVERLAY);
	bool hidden = pixels_hidden_bits(f);

	if (declared == NULL && !hidden)
		return false;
	if (pixels_can_mask(f)) {
		note(r, "overlay-masked",
		    hidden ? "bits of samples outside the stored ones are out"
			   : "an overlay was declared in unused bits: empty");
		return hidden;
	}
	block(r, "overlay-in-pixels",
	    declared != NULL ? declared
			     : "samples have bits set outside the stored "
			       "ones");
	return false;
}

static void
note_risks(const struct dcm_file *f, struct deid_result *r)
{
	for (uint32_t k = 0; k < CLASSES_RISKS; k++) {
		const char *why = classes_risk(f, k);

		if (why != NULL && k != CLASSES_RISK_OVERLAY)
			block(r, "risky-class", why);
	}
}

static void
note_writer(const struct writer *w, const struct uids *u, const struct scrub *s,
    struct deid_result *r)
{
	if (w->unmapped || u->full)
		block(r, "unmapped-uid",
		    "a UID is ill-formed or had no place in the map");
	if (w->duplicates)
		block(r, "duplicate-element", "a tag stands twice in a level");
	if (s->full)
		block(r, "too-many-identifiers", "the search was not complete");
	if (w->cleaned)
		note(r, "text-cleaned", "identifiers were taken out of text");
	if (w->ill_formed)
		note(r, "ill-formed-value",
		    "a value that breaks its VR is gone");
	if (w->overlays)
		note(r, "overlay-dropped", "overlay planes were dropped");
	if (w->f->end < w->f->in.n)
		note(r, "trailing-bytes", "bytes after the dataset dropped");
}

/* UIDs by tag from a walked object. */
static void
read_names(const struct dcm_file *f, struct deid_result *r)
{
	dcm_text(f, TAG_SOP_UID, r->sop_uid, sizeof(r->sop_uid));
	dcm_text(f, TAG_SERIES_UID, r->series_uid, sizeof(r->series_uid));
	dcm_text(f, TAG_STUDY_UID, r->study_uid, sizeof(r->study_uid));
}

struct job {
	const struct dcm_file *f;
	const struct img_context *ctx;
	struct uids uids;
	struct scrub scrub;
	bool keep[IMG_UIDS_MAX]; /* original UIDs asked to stay */
	struct rules rules;
	struct deid_table own; /* where the node sent none */
};

/* UIDs that an option or the profile lets stay: all, or the device's. */
static void
keep_uids(struct job *j, uint32_t i)
{
	struct slice all = dcm_value(j->f, i);
	struct slice v;
	uint32_t at;

	if (j->f->e[i].vr != VR_UI || dcm_tag_private(j->f->e[i].tag) ||
	    rules_fate(&j->rules, j->f, i) != FATE_KEEP)
		return;
	for (uint32_t k = 0; dcm_nth(all, k, &v); k++)
		if ((at = uids_find(&j->uids, v)) != UIDS_NONE)
			j->keep[at] = true;
}

static enum err
job_init(struct job *j, const struct img_identity *id)
{
	enum err e = collect_uids(j->f, &j->uids);

	if (e != ERR_OK)
		return e;
	REQUIRE(id->n_uids == j->uids.n);
	for (uint32_t k = 0; k < j->uids.n; k++)
		j->keep[k] = j->rules.uids || (k < j->ctx->n_uids &&
						  j->ctx->new_uids[k] == NULL);
	for (uint32_t i = j->f->first; i < j->f->n; i++)
		keep_uids(j, i);
	return scrub_collect(j->f, &j->rules, &j->scrub);
}

static void
job_free(struct job *j)
{
	if (j == NULL)
		return;
	uids_fini(&j->uids);
	scrub_fini(&j->scrub);
	mem_free(j);
}

static enum err
rewrite(struct job *j, struct writer *w, struct deid_result *r)
{
	uint32_t i = dcm_find(j->f, TAG_SOP_UID);
	char sop[IMG_UID_MAX + 1] = "";
	struct slice uid;

	if (i == DCM_NONE || j->f->e[i].len == 0)
		i = dcm_find(j->f, TAG_META_SOP_UID);
	if (write_map_uid(w, dcm_trimmed(j->f, i), &uid) &&
	    uid.n <= IMG_UID_MAX && uid.n > 0)
		memcpy(sop, uid.p, uid.n);
	else
		block(r, "no-sop-instance-uid", "the object has no name");
	buf_init(&r->file, LIM_OBJECT_BYTES);
	(void)buf_room(&r->file, j->f->in.n + 4096);
	w->sop_uid = sop;
	w->b = &r->file;
	return write_object(w);
}

/* The result is walked again: what it says is taken from it alone. */
static enum err
check_result(struct job *j, struct deid_result *r, struct errmsg *em)
{
	struct scrub_search q = { .s = &j->scrub,
		.uids = &j->uids,
		.keep = j->keep,
		.shift_days = j->rules.dates ? j->ctx->shift_days : 0,
		.dates_stay = j->rules.full_dates };
	struct dcm_file *f = NULL;
	char detail[80];
	uint32_t tag = 0;
	enum err e;

	if ((e = dcm_open(buf_slice(&r->file), &f, em)) != ERR_OK)
		return e;
	if ((e = scrub_search(&q, f, &tag)) != ERR_OK)
		goto out;
	if (tag != 0) {
		(void)snprintf(detail, sizeof(detail),
		    "an identifier of the original is in (%04x,%04x)",
		    tag >> 16, tag & 0xFFFFu);
		block(r, "identifier-survived", detail);
	}
	if ((f->pixels == DCM_NONE) != (j->f->pixels == DCM_NONE))
		block(r, "pixels-lost", "the pixel data could not be kept");
	read_names(f, r);
	e = fields_write(f, &r->fields);
out:
	dcm_close(f);
	return e;
}

/* Fits PatientID and PatientName in every character set. */
static bool
is_plain(const char *subject)
{
	size_t n = strlen(subject);

	for (size_t k = 0; k < n; k++)
		if (subject[k] < 0x20 || subject[k] > 0x7E ||
		    strchr("\\^=", subject[k]) != NULL)
			return false;
	return n > 0 && n <= 64;
}

/* The profile for this object: the node's table, or one of our own. */
static enum err
choose_rules(struct job *j, struct errmsg *em)
{
	const struct deid_table *t = j->ctx->table;

	if (t == NULL && !table_builtin(j->ctx->profile, &j->own))
		return errmsg_set(em, ERR_UNSUPPORTED,
		    "use profile basic or trial-imaging",
		    "unknown de-identification profile");
	rules_profile(t != NULL ? t : &j->own, &j->rules);
	j->rules.family = classes_family(j->f);
	j->rules.dates = j->rules.dates && j->ctx->shift_days != 0;
	return ERR_OK;
}

static enum err
apply_profile(const struct dcm_file *f, const struct img_identity *id,
    const struct img_context *ctx, struct deid_result *out, struct errmsg *em)
{
	struct job *j = mem_new(sizeof(*j));
	struct writer w = { .f = f, .ctx = ctx };
	enum err e;

	if (j == NULL)
		return ERR_NOMEM;
	j->f = f;
	j->ctx = ctx;
	w.uids = &j->uids;
	w.scrub = &j->scrub;
	if (!is_plain(ctx->subject)) {
		e = errmsg_set(em, ERR_UNSUPPORTED, "choose another pseudonym",
		    "a pseudonym is 1 to 64 printable ASCII characters");
		goto out;
	}
	if ((e = choose_rules(j, em)) != ERR_OK ||
	    (e = job_init(j, id)) != ERR_OK)
		goto out;
	w.rules = j->rules;
	note_risks(f, out);
	w.mask = note_overlays(f, out);
	if (id->patient_id[0] == '\0' && id->patient_name[0] == '\0')
		note(out, "no-patient",
		    "no patient ID and no name: it may be anyone's");
	if ((e = rewrite(j, &w, out)) != ERR_OK)
		goto out;
	note_writer(&w, &j->uids, &j->scrub, out);
	e = check_result(j, out, em);
out:
	job_free(j);
	return e;
}

/* ctx->no_deid: the object as it is, fields from its own header. */
static enum err
apply_nothing(const struct dcm_file *f, struct deid_result *out)
{
	out->same = true;
	read_names(f, out);
	return fields_write(f, &out->fields);
}

enum err
deid_apply(const struct dcm_file *f, const struct img_identity *id,
    const struct img_context *ctx, struct deid_result *out, struct errmsg *em)
{
	struct deid_result r = { .releasable = true };
	enum err e;

	buf_init(&r.fields, 256 * KIB);
	if (ctx->no_deid) {
		e = apply_nothing(f, &r);
	} else if (f->syntax == SYNTAX_BIG || f->syntax == SYNTAX_OPAQUE) {
		block(&r, "unsupported-syntax", f->transfer_syntax);
		e = errmsg_set(em, ERR_UNSUPPORTED,
		    "have the sender use another transfer syntax",
		    "transfer syntax %s is not de-identified",
		    f->transfer_syntax);
	} else if (dcm_find(f, 0x00041220) != DCM_NONE) {
		block(&r, "risky-class", "media directory");
		e = errmsg_set(em, ERR_UNSUPPORTED, "import the files it lists",
		    "a media directory is not de-identified");
	} else {
		e = apply_profile(f, id, ctx, &r, em);
	}
	if (e != ERR_OK) { /* findings stay readable, nothing else does */
		buf_fini(&r.file);
		buf_fini(&r.fields);
		r.same = false;
		r.releasable = false;
	}
	*out = r;
	return e;
}
