/* node/workdir/gate.c: what may go into a share by check-in (domain.md 10,
 * 11): no de-identification runs here, so a file must show that it needs
 * none.
 *
 * The confined helper looks at the copy.  DICOM: identity removed, and the
 * object names nobody but the pseudonym it belongs to; a risky class needs a
 * person's reason.  NIfTI: the header's texts and extensions are empty, or
 * what the files that were checked out hold.  What no program here can check
 * needs a reason, which is kept with the version and audited.  A share that
 * allows identified data takes all with a reason.  Notes, file names and files
 * of text are searched for patients that this site knows. */
#include "node/workdir/checkin.h"

#include <fcntl.h>
#include <strings.h>
#include <unistd.h>

#include "node/share/share_edit.h"
#include "store/base/mem.h"

#define GATE_WAIT_MS 120000u
#define GATE_MEMORY (4 * GIB)
/* Files of text up to this size are searched for patients of this site, some
 * words at a time; steps overlap, so that no name lies between two. */
#define GATE_TEXT_BYTES (1 * MIB)
#define GATE_STEP (8 * KIB)
#define GATE_OVERLAP 256u

static enum err
gate_no(const struct checkin *k, const struct ci_file *f, const char *next,
    const char *why)
{
	return errmsg_set(k->em, ERR_DENIED, next, "%.50s/%.60s: %.80s",
	    f->folder, f->name, why);
}

static enum err
gate_helper(struct checkin *k)
{
	struct imaging_opts o = { .program = k->env->helper,
		.mode = IMAGING_CHECK,
		.accepted_fd = -1,
		.called_ae = "PESSCARA",
		.memory_bytes_max = GATE_MEMORY,
		.idle_ms = GATE_WAIT_MS };

	return k->helper != NULL ? ERR_OK
				 : imaging_spawn(&o, &k->helper, k->em);
}

/* The helper gets a descriptor that can only be read. */
static enum err
gate_ask(struct checkin *k, int fd, uint64_t bytes, struct img_msg *m)
{
	char path[64];
	int ro;
	enum err e = gate_helper(k);

	if (e != ERR_OK)
		return e;
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ro = open(path, O_RDONLY | O_CLOEXEC);
	if (ro < 0)
		return ERR_IO;
	e = imaging_send_file(k->helper, ro, bytes);
	(void)close(ro);
	if (e == ERR_OK)
		e = imaging_next(k->helper, GATE_WAIT_MS, m);
	if (e == ERR_OK && m->kind != IMG_VERDICT)
		e = ERR_MALFORMED;
	return e;
}

/* --- texts --- */

static enum err
gate_text(const struct checkin *k, const struct ci_group *g, struct slice text)
{
	return k->env->gate(
	    k->env->gate_ctx, &k->base[g->base]->a.share, text, k->em);
}

enum err
ci_gate_group(struct checkin *k, const struct ci_group *g)
{
	const struct cat_asset *a = &k->base[g->base]->a;
	struct cat_place place = { .share = &a->share,
		.compartment = a->compartment,
		.level = g->path[g->n_path - 1].level };
	struct db_txn *t = NULL;
	bool needed = false;
	enum err e = store_read(k->env->store, &t);

	if (e != ERR_OK)
		return e;
	e = shares_permit(t, &place, "checkin", k->em);
	if (e == ERR_OK)
		e = cat_reason_needed(t, &place, SLICE_LIT("checkin"), &needed);
	db_abort(t);
	if (e == ERR_OK && needed && *k->o->reason == '\0')
		return errmsg_set(k->em, ERR_MALFORMED, "Add --reason TEXT.",
		    "a check-in of level %s must say why", place.level);
	if (e == ERR_OK)
		e = gate_text(k, g, slice_str(k->o->note));
	if (e == ERR_OK)
		e = gate_text(k, g, slice_str(k->o->reason));
	if (e == ERR_OK && k->o->tool != NULL)
		e = gate_text(k, g, slice_str(k->o->tool));
	return e;
}

/* As it is, and its parts as words. */
static enum err
gate_name(
    const struct checkin *k, const struct ci_group *g, const struct ci_file *f)
{
	char words[CONTENT_NAME_MAX + 1];
	char *s;
	enum err e = gate_text(k, g, slice_str(f->name));

	(void)snprintf(words, sizeof(words), "%s", f->name);
	for (s = words; *s != '\0'; s++) {
		if (*s == '_' || *s == '-' || *s == '.')
			*s = ' ';
	}
	return e == ERR_OK ? gate_text(k, g, slice_str(words)) : e;
}

static enum err
gate_read(const struct ci_file *f, int fd, struct buf *out)
{
	uint8_t *at = buf_room(out, (size_t)f->bytes);
	size_t n = 0;

	if (at == NULL)
		return buf_err(out);
	while (n < f->bytes) {
		ssize_t got = pread(fd, at + n, (size_t)f->bytes - n, (off_t)n);

		if (got <= 0)
			return ERR_IO;
		n += (size_t)got;
	}
	buf_grew(out, n);
	return ERR_OK;
}

/* What a person looked at is searched all the same, if it is text. */
static enum err
gate_words(const struct checkin *k, const struct ci_group *g,
    const struct ci_file *f, int fd)
{
	struct buf b = BUF_MAX(GATE_TEXT_BYTES);
	size_t at, n;
	enum err e = ERR_OK;

	if (f->bytes == 0 || f->bytes > GATE_TEXT_BYTES)
		return ERR_OK;
	e = gate_read(f, fd, &b);
	if (e == ERR_OK && memchr(b.p, 0, b.n) == NULL) {
		for (at = 0; e == ERR_OK && at < b.n; at += GATE_STEP) {
			n = b.n - at < GATE_STEP + GATE_OVERLAP
				? b.n - at
				: GATE_STEP + GATE_OVERLAP;
			e = gate_text(k, g, slice_of(b.p + at, n));
		}
	}
	buf_fini(&b);
	return e;
}

/* --- NIfTI: texts as the files that were checked out hold them --- */

static enum err
spool_part(void *ctx, struct slice part)
{
	return ci_spool_write(*(const int *)ctx, part);
}

static enum err
texts_of(struct checkin *k, struct content *c, uint32_t i, struct buf *out)
{
	struct content_member cm;
	struct img_msg m;
	int fd = -1;
	enum err e = ci_spool_new(k->env->home, &fd);

	content_member(c, i, &cm);
	if (e == ERR_OK)
		e = content_stream(c, i, spool_part, &fd);
	if (e == ERR_OK)
		e = gate_ask(k, fd, cm.len, &m);
	if (fd >= 0)
		(void)close(fd);
	if (e == ERR_OK && m.verdict.kind == IMG_CHECK_NIFTI &&
	    m.verdict.blocked[0] == '\0')
		buf_put_slice(out, m.verdict.text);
	return e == ERR_OK ? buf_err(out) : e;
}

/* Does a NIfTI file of the version that was checked out have these texts? */
static enum err
texts_known(struct checkin *k, const struct ci_group *g, struct slice texts,
    bool *known)
{
	struct buf want = BUF_MAX(IMG_CHECK_TEXT_MAX);
	struct buf have = BUF_MAX(IMG_CHECK_TEXT_MAX);
	struct content_member cm;
	struct content *c = NULL;
	uint32_t i;
	enum err e = ci_base_open(k, k->base[g->base], &c);

	*known = false;
	buf_put_slice(&want, texts); /* the next verdict takes its place */
	for (i = 0; e == ERR_OK && !*known && i < content_n(c); i++) {
		content_member(c, i, &cm);
		if (cm.len > LIM_OBJECT_BYTES ||
		    (strcmp(ci_level(cm.name), "nifti") != 0 &&
			strcmp(ci_level(cm.name), "segmentation") != 0))
			continue;
		buf_reset(&have);
		e = texts_of(k, c, i, &have);
		*known = e == ERR_OK && have.n > 0 &&
			 slice_eq(buf_slice(&have), buf_slice(&want));
	}
	content_close(c);
	buf_fini(&want);
	buf_fini(&have);
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

static enum err
gate_nifti(struct checkin *k, const struct ci_group *g, const struct ci_file *f,
    const struct img_verdict *v)
{
	bool known = false;
	enum err e;

	if (v->text.n == 0)
		return ERR_OK;
	e = texts_known(k, g, v->text, &known);
	if (e != ERR_OK || known)
		return e;
	return gate_no(k, f,
	    "Empty descrip, aux_file, db_name, intent_name and extensions, "
	    "then check in again.",
	    "its NIfTI header holds text that the source has not");
}

/* --- DICOM --- */

static const char *
group_subject(const struct ci_group *g)
{
	uint32_t i;

	for (i = 0; i < g->n_path; i++) {
		if (strcmp(g->path[i].level, "subject") == 0)
			return g->path[i].key;
	}
	return "";
}

static enum err
gate_dicom(const struct checkin *k, const struct ci_group *g,
    const struct ci_file *f, const struct img_verdict *v)
{
	const char *subject = group_subject(g);

	if ((v->patient_id[0] != '\0' && strcmp(v->patient_id, subject) != 0) ||
	    (v->patient_name[0] != '\0' &&
		strcmp(v->patient_name, subject) != 0))
		return gate_no(k, f,
		    "Write the pseudonym into PatientID and PatientName.",
		    "it names somebody else than the subject it belongs to");
	if (v->review[0] != '\0' && *k->o->reason == '\0')
		return gate_no(k, f,
		    "Look at its pixels and texts, then add --reason TEXT.",
		    v->review);
	return ERR_OK;
}

/* gzip keeps a name: that of the file itself tells nothing more. */
static bool
packed_name_tells(const struct img_verdict *v, const char *name)
{
	size_t n = strlen(v->packed_name), m = strlen(name);

	if (v->packed_text)
		return true;
	if (n == 0 || strcmp(v->packed_name, name) == 0)
		return false;
	return !(m == n + 3 && strncmp(name, v->packed_name, n) == 0 &&
		 strcasecmp(name + n, ".gz") == 0);
}

static enum err
gate_verdict(struct checkin *k, const struct ci_group *g,
    const struct ci_file *f, const struct img_verdict *v)
{
	static const char again[] = "Correct it, then check in again.";

	if (v->blocked[0] != '\0')
		return gate_no(k, f, again, v->blocked);
	if (v->kind != IMG_CHECK_DICOM &&
	    strcmp(ci_level(f->name), "dicom") == 0)
		return gate_no(k, f, again, "not a DICOM file (PS3.10)");
	if (packed_name_tells(v, f->name) &&
	    (v->kind == IMG_CHECK_NIFTI || *k->o->reason == '\0'))
		return gate_no(k, f, "Pack it anew with: gzip -n",
		    "gzip kept another file name or a comment in it");
	if (v->kind == IMG_CHECK_DICOM)
		return gate_dicom(k, g, f, v);
	if (v->kind == IMG_CHECK_NIFTI)
		return gate_nifti(k, g, f, v);
	if (*k->o->reason != '\0')
		return ERR_OK;
	return gate_no(k, f,
	    "Look at it for names and dates, then add --reason TEXT.",
	    "nothing here can check such a file for a patient");
}

static bool
gate_identified(const struct checkin *k, const struct ci_group *g)
{
	const struct cat_asset *a = &k->base[g->base]->a;
	uint32_t i;

	for (i = 0; i < k->n_shares; i++) {
		if (memcmp(&k->shares[i].id, &a->share, sizeof(a->share)) == 0)
			return k->shares[i].allow_identified;
	}
	return false;
}

enum err
ci_gate(struct checkin *k, const struct ci_group *g, const struct ci_file *f,
    int fd)
{
	struct img_msg *m;
	enum err e = gate_name(k, g, f);

	if (e != ERR_OK || (gate_identified(k, g) && *k->o->reason != '\0'))
		return e;
	if ((m = mem_new(sizeof(*m))) == NULL)
		return ERR_NOMEM;
	e = gate_ask(k, fd, f->bytes, m);
	if (e == ERR_FOREIGN || e == ERR_MALFORMED || e == ERR_TIMEOUT) {
		e = gate_no(k, f, "Correct it, then check in again.",
		    "the program that looks at it died on it");
		goto out;
	}
	if (e == ERR_OK)
		e = gate_verdict(k, g, f, &m->verdict);
	if (e == ERR_OK && m->verdict.kind == IMG_CHECK_OTHER)
		e = gate_words(k, g, f, fd);
out:
	mem_free(m);
	return e;
}

void
ci_gate_end(struct checkin *k)
{
	imaging_close(k->helper);
	k->helper = NULL;
}
