/* node/ingest/pull.c: images out of an archive, and proof that all came.
 *
 * Happy path: one association asks by C-FIND for studies, their series and
 * the images of each; then each series is fetched in an association of its
 * own, whose presentation contexts are those that its images need: by C-GET
 * they come back through it and go where the archive's entry in the config
 * says; by C-MOVE the archive sends them to our own door, where they are
 * like those of any sender.  At the end every image that C-FIND named is
 * looked for here: what was found and what is here stand side by side
 * (domain.md 16).
 * Failure modes: a series that does not come whole costs the others nothing;
 * an archive that cannot be reached any more ends the pull, what came stays. */
#include <inttypes.h>
#include <unistd.h>

#include "node/ingest/ingest_internal.h"
#include "node/ops/log.h"
#include "store/base/mem.h"

#define PULL_IDLE_MS 120000u
/* The helper watches for an idle archive itself. */
#define PULL_FRAME_MS 1800000u
#define PULL_TICK_MS 1000u
#define STUDIES_MAX 2000u
#define SERIES_MAX 20000u
#define IMAGES_MAX 500000u

typedef char uid_text[IMG_UID_MAX + 1];

struct series {
	uid_text study, series;
	char modality[IMG_AE_MAX + 1];
	char classes[IMG_PULL_CLASSES][IMG_UID_MAX + 1];
	uint32_t n_classes; /* above IMG_PULL_CLASSES: more than are listed */
	uint32_t first, n;  /* in images */
};

struct pull {
	struct ingest *g;
	const struct ingest_pull_opts *o;
	const struct conf_archive *archive;
	struct sink sink;
	struct buf table; /* sink.table */
	ingest_pulled_fn fn;
	void *ctx;
	struct errmsg *em;
	struct imaging *im;
	struct img_query q;
	uid_text *studies;
	uint32_t n_studies, cap_studies;
	struct series *series;
	uint32_t n_series, cap_series;
	uid_text *images;
	uint32_t n_images, cap_images;
	/* of the series at hand */
	char subject[CAT_KEY_MAX + 1];
	struct assoc_tally tally;
	uint32_t came; /* images, of all series */
	bool stop;     /* nobody listens any more */
};

/* --- what there is --- */

/* Room for one more; NULL: too many, or no memory (em says). */
static void *
list_more(struct pull *p, void **list, uint32_t n, uint32_t *cap, size_t size,
    uint32_t max)
{
	uint32_t more = *cap == 0 ? 64 : *cap * 2;
	void *grown;

	if (n >= max) {
		(void)errmsg_set(p->em, ERR_LIMIT,
		    "ask for less: one study, or a range of --date",
		    "the archive has more than %u that fit", max);
		return NULL;
	}
	if (n == *cap) {
		grown = mem_grow(*list, more, size);
		if (grown == NULL) {
			(void)errmsg_set(p->em, ERR_NOMEM, "", "out of memory");
			return NULL;
		}
		*list = grown;
		*cap = more;
	}
	return (uint8_t *)*list + (size_t)n * size;
}

static enum err
row_study(struct pull *p, const struct img_row *r)
{
	void *list = p->studies;
	char *out = list_more(p, &list, p->n_studies, &p->cap_studies,
	    sizeof(uid_text), STUDIES_MAX);

	p->studies = list;
	if (out == NULL)
		return p->em->code;
	memcpy(out, r->study, sizeof(r->study));
	p->n_studies++;
	return ERR_OK;
}

static enum err
row_series(struct pull *p, const struct img_row *r)
{
	void *list = p->series;
	struct series *out = list_more(
	    p, &list, p->n_series, &p->cap_series, sizeof(*out), SERIES_MAX);

	p->series = list;
	if (out == NULL)
		return p->em->code;
	memset(out, 0, sizeof(*out));
	memcpy(out->study, r->study, sizeof(out->study));
	memcpy(out->series, r->series, sizeof(out->series));
	memcpy(out->modality, r->modality, sizeof(out->modality));
	p->n_series++;
	return ERR_OK;
}

/* The series at hand is the last one that has images. */
static enum err
row_image(struct pull *p, struct series *s, const struct img_row *r)
{
	void *list = p->images;
	char *out = list_more(p, &list, p->n_images, &p->cap_images,
	    sizeof(uid_text), IMAGES_MAX);
	uint32_t i;

	p->images = list;
	if (out == NULL)
		return p->em->code;
	memcpy(out, r->sop, sizeof(r->sop));
	p->n_images++;
	s->n++;
	for (i = 0; i < s->n_classes && i < IMG_PULL_CLASSES; i++) {
		if (strcmp(s->classes[i], r->sop_class) == 0)
			return ERR_OK;
	}
	if (r->sop_class[0] == '\0' || s->n_classes >= IMG_PULL_CLASSES)
		s->n_classes = IMG_PULL_CLASSES + 1;
	else
		memcpy(s->classes[s->n_classes++], r->sop_class,
		    sizeof(r->sop_class));
	return ERR_OK;
}

/* --- an association --- */

static enum err
pull_broken(struct pull *p, const struct img_answer *a)
{
	if (strcmp(a->reason, "ok") != 0)
		return errmsg_set(p->em, ERR_FOREIGN,
		    "see the archive's log, and its entry in dicom.archives",
		    "archive %s: %s", p->archive->name, a->reason);
	return errmsg_set(p->em, ERR_FOREIGN, "see the archive's log",
	    "archive %s ended the query with status %04X", p->archive->name,
	    a->status);
}

static const char *
pull_calling(const struct pull *p)
{
	return p->archive->calling_ae[0] != '\0' ? p->archive->calling_ae
						 : p->g->o.conf->dicom_ae_title;
}

/* Does anybody still listen? */
static bool
pull_tick(struct pull *p)
{
	const struct ingest_pulled far = { .stored = p->came };

	p->stop = p->stop || p->fn(p->ctx, &far) != 0;
	return !p->stop;
}

static enum err
pull_next(struct pull *p, struct img_msg *m)
{
	enum err e = ERR_TIMEOUT;
	uint32_t waited;

	for (waited = 0; e == ERR_TIMEOUT && waited < PULL_FRAME_MS;
	     waited += PULL_TICK_MS) {
		e = imaging_next(p->im, PULL_TICK_MS, m);
		if (e == ERR_TIMEOUT && !pull_tick(p))
			return ERR_CANCELLED;
	}
	return e == ERR_OK ? e
			   : errmsg_set(p->em, e, "run it again",
				 "the helper that asks archive %s ended",
				 p->archive->name);
}

/* s: the series to be fetched; NULL for C-FIND. */
static enum err
pull_dial(struct pull *p, enum img_pull_op op, const struct series *s)
{
	struct imaging_opts o = { .program = p->g->o.helper,
		.mode = IMAGING_PULL,
		.called_ae = p->archive->ae,
		.table = p->sink.table,
		.memory_bytes_max = p->g->o.conf->limits_helper_memory,
		.idle_ms = PULL_IDLE_MS };
	struct img_dial d = { .op = op };
	struct img_msg m;
	enum err e;

	(void)snprintf(
	    d.calling_ae, sizeof(d.calling_ae), "%s", pull_calling(p));
	(void)snprintf(d.called_ae, sizeof(d.called_ae), "%s", p->archive->ae);
	if (s != NULL && s->n_classes <= IMG_PULL_CLASSES) {
		d.n_classes = s->n_classes;
		memcpy(d.classes, s->classes, sizeof(d.classes));
	}
	e = dial_archive(p->archive->address, &o.accepted_fd, p->em);
	if (e != ERR_OK)
		return e;
	e = imaging_spawn(&o, &p->im, p->em);
	(void)close(o.accepted_fd);
	if (e != ERR_OK)
		return e;
	e = imaging_dial(p->im, &d);
	if (e == ERR_OK)
		e = pull_next(p, &m);
	if (e == ERR_OK && m.kind != IMG_ANSWER)
		e = ERR_MALFORMED;
	if (e == ERR_OK && strcmp(m.answer.reason, "ok") != 0)
		e = pull_broken(p, &m.answer);
	return e;
}

static void
pull_hang_up(struct pull *p)
{
	imaging_close(p->im);
	p->im = NULL;
}

/* --- C-FIND --- */

static enum err
pull_row(struct pull *p, struct series *s, const struct img_row *r)
{
	if (p->q.level == IMG_STUDY)
		return row_study(p, r);
	return p->q.level == IMG_SERIES ? row_series(p, r) : row_image(p, s, r);
}

/* p->q is asked; s: whose images come. */
static enum err
pull_find(struct pull *p, struct series *s)
{
	struct img_msg m;
	enum err e = imaging_query(p->im, &p->q);

	while (e == ERR_OK) {
		e = pull_next(p, &m);
		if (e == ERR_OK && m.kind == IMG_ANSWER)
			break;
		if (e == ERR_OK)
			e = m.kind == IMG_ROW ? pull_row(p, s, &m.row)
					      : ERR_MALFORMED;
	}
	if (e != ERR_OK)
		return e;
	if (m.answer.others > 0)
		log_warn("pull", "answers that were not asked for are left out",
		    "archive=%s n=%u", p->archive->name, m.answer.others);
	if (strcmp(m.answer.reason, "ok") != 0 || m.answer.status != 0)
		return pull_broken(p, &m.answer);
	return ERR_OK;
}

static int
uid_order(const void *a, const void *b)
{
	return strcmp(a, b);
}

static enum err
pull_images_of(struct pull *p, struct series *s)
{
	uint32_t i, n = 0;
	uid_text *at;
	enum err e;

	p->q = (struct img_query){ .level = IMG_IMAGE };
	memcpy(p->q.study, s->study, sizeof(s->study));
	memcpy(p->q.series, s->series, sizeof(s->series));
	s->first = p->n_images;
	e = pull_find(p, s);
	if (e != ERR_OK || s->n == 0)
		return e;
	at = p->images + s->first; /* said twice is one */
	qsort(at, s->n, sizeof(*at), uid_order);
	for (i = 0; i < s->n; i++) {
		if (i == 0 || strcmp(at[i], at[n - 1]) != 0)
			memmove(at[n++], at[i], sizeof(*at));
	}
	s->n = n;
	p->n_images = s->first + n;
	return ERR_OK;
}

static void
key_set(char *out, size_t cap, const char *text)
{
	(void)snprintf(out, cap, "%s", text != NULL ? text : "");
}

static enum err
pull_look(struct pull *p)
{
	const struct ingest_pull_opts *o = p->o;
	uint32_t i;
	enum err e = pull_dial(p, IMG_FIND, NULL);

	p->q = (struct img_query){ .level = IMG_STUDY };
	key_set(p->q.patient, sizeof(p->q.patient), o->patient);
	key_set(p->q.study, sizeof(p->q.study), o->study);
	key_set(p->q.accession, sizeof(p->q.accession), o->accession);
	key_set(p->q.date, sizeof(p->q.date), o->date);
	key_set(p->q.modality, sizeof(p->q.modality), o->modality);
	if (e == ERR_OK)
		e = pull_find(p, NULL);
	for (i = 0; e == ERR_OK && i < p->n_studies; i++) {
		p->q = (struct img_query){ .level = IMG_SERIES };
		memcpy(p->q.study, p->studies[i], sizeof(p->studies[i]));
		key_set(p->q.series, sizeof(p->q.series), o->series);
		key_set(p->q.modality, sizeof(p->q.modality), o->modality);
		e = pull_find(p, NULL);
	}
	for (i = 0; e == ERR_OK && i < p->n_series; i++)
		e = pull_images_of(p, &p->series[i]);
	pull_hang_up(p);
	if (e == ERR_OK && p->n_series == 0)
		e = errmsg_set(p->em, ERR_NOTFOUND,
		    "check the keys; archives match them exactly",
		    "archive %s has nothing that fits", p->archive->name);
	return e;
}

/* --- C-GET and C-MOVE --- */

static enum err
pull_identity(struct pull *p, const struct img_identity *id)
{
	struct id_answer ans;
	enum err e = id_answer_make(p->g, &p->sink, id, &ans);

	if (e != ERR_OK)
		return e;
	memcpy(p->subject, ans.subject, sizeof(p->subject));
	e = imaging_answer_identity(p->im, &ans.ctx);
	id_answer_fini(&ans);
	return e;
}

static enum err
pull_object(struct pull *p, const struct img_object *o)
{
	struct admitted in = { 0 };
	enum err e = admit_object(p->g, &p->sink, o, p->subject, &in);
	uint16_t status = assoc_count(&p->tally, &p->sink, e, &in);

	p->subject[0] = '\0'; /* of this object alone */
	p->came++;
	e = imaging_answer_stored(p->im, status);
	return e == ERR_OK && !pull_tick(p) ? ERR_CANCELLED : e;
}

static enum err
pull_fetch(struct pull *p, const struct series *s, struct img_answer *a)
{
	struct img_msg m;
	enum err e;

	p->q = (struct img_query){ .level = IMG_SERIES };
	memcpy(p->q.study, s->study, sizeof(s->study));
	memcpy(p->q.series, s->series, sizeof(s->series));
	key_set(p->q.destination, sizeof(p->q.destination),
	    p->g->o.conf->dicom_ae_title);
	e = imaging_query(p->im, &p->q);
	while (e == ERR_OK) {
		e = pull_next(p, &m);
		if (e != ERR_OK)
			break;
		if (m.kind == IMG_ANSWER) {
			*a = m.answer;
			break;
		}
		if (m.kind == IMG_IDENTITY)
			e = pull_identity(p, &m.identity);
		else if (m.kind == IMG_OBJECT)
			e = pull_object(p, &m.object);
		else
			e = ERR_MALFORMED;
	}
	return e;
}

static enum err
pull_count(struct pull *p, const struct series *s, uint32_t *here)
{
	struct db_txn *t;
	struct key16 name;
	bool live;
	uint32_t i;
	enum err e = store_read(p->g->o.store, &t);

	*here = 0;
	if (e != ERR_OK)
		return e;
	for (i = 0; e == ERR_OK && i < s->n; i++) {
		held_name(
		    p->g, &p->sink, slice_str(p->images[s->first + i]), &name);
		e = held_live(p->g->o.store, t, &name, &live);
		*here += e == ERR_OK && live;
	}
	db_abort(t);
	return e;
}

static void
pull_reason(const struct pull *p, const struct img_answer *a, enum err e,
    char *out, size_t cap)
{
	if (e != ERR_OK)
		(void)snprintf(out, cap, "%s", p->em->cause);
	else if (strcmp(a->reason, "ok") != 0)
		(void)snprintf(out, cap, "%s", a->reason);
	else if (a->status != 0)
		(void)snprintf(out, cap,
		    "the archive ended with status %04X, %u failed", a->status,
		    a->failed);
	else
		(void)snprintf(out, cap,
		    "the archive counts all as sent, but they are not here");
}

/* One series, told.  An error ends the pull: the archive is gone, or we. */
static enum err
pull_series(struct pull *p, const struct series *s)
{
	struct ingest_pulled r = { .study = s->study,
		.series = s->series,
		.modality = s->modality,
		.found = s->n,
		.reason = "" };
	struct img_answer a = { 0 };
	char why[200] = "";
	enum err e = ERR_OK, counted;

	p->tally = (struct assoc_tally){ 0 };
	if (!p->o->dry_run) {
		e = pull_dial(p, p->o->move ? IMG_MOVE : IMG_GET, s);
		if (e == ERR_OK)
			e = pull_fetch(p, s, &a);
		pull_hang_up(p);
	}
	counted = pull_count(p, s, &r.here);
	if (counted != ERR_OK)
		return errmsg_set(p->em, counted, "run pesscara verify",
		    "the vault's rows cannot be read");
	r.stored = (uint32_t)p->tally.stored;
	r.duplicates = (uint32_t)p->tally.duplicates;
	r.refused = (uint32_t)p->tally.refused;
	if (!p->o->dry_run && (e != ERR_OK || r.here < r.found))
		pull_reason(p, &a, e, why, sizeof(why));
	r.reason = why;
	p->stop = p->stop || p->fn(p->ctx, &r) != 0;
	return e == ERR_OK && p->stop ? ERR_CANCELLED : e;
}

/* --- around it --- */

static bool
key_plain(const char *s, size_t max)
{
	size_t n = 0;

	if (s == NULL)
		return true;
	/* '*' and '?' would ask for more than is meant, '\' for several. */
	for (; s[n] != '\0'; n++) {
		if (s[n] < ' ' || s[n] > '~' || strchr("*?\\", s[n]) != NULL)
			return false;
	}
	return n > 0 && n <= max;
}

static bool
key_of(const char *s, const char *of, size_t max)
{
	return s == NULL ||
	       (*s != '\0' && strlen(s) <= max && strspn(s, of) == strlen(s));
}

static enum err
pull_check(const struct ingest_pull_opts *o, struct errmsg *em)
{
	static const char digits[] = "0123456789-", uid[] = "0123456789.";

	if (o->patient == NULL && o->study == NULL && o->accession == NULL)
		return errmsg_set(em, ERR_MALFORMED,
		    "give --patient, --study or --accession",
		    "a pull of everything is refused");
	if (o->series != NULL && o->study == NULL)
		return errmsg_set(em, ERR_MALFORMED, "give --study, too",
		    "a series is asked for with its study");
	if (!key_plain(o->patient, IMG_KEY_MAX) ||
	    !key_plain(o->accession, IMG_AE_MAX) ||
	    !key_plain(o->modality, IMG_AE_MAX))
		return errmsg_set(em, ERR_MALFORMED,
		    "write it as the archive has it, without * and ?",
		    "patient, accession or modality cannot be asked for");
	if (!key_of(o->study, uid, IMG_UID_MAX) ||
	    !key_of(o->series, uid, IMG_UID_MAX))
		return errmsg_set(em, ERR_MALFORMED, "digits and dots",
		    "study or series is no UID");
	if (!key_of(o->date, digits, 17))
		return errmsg_set(em, ERR_MALFORMED,
		    "write 20240131 or 20240101-20240131",
		    "date is no day and no range of days");
	return ERR_OK;
}

/* Where C-MOVE's images go is their inbox's business. */
static enum err
pull_sink(struct pull *p)
{
	const struct conf_archive *a = p->archive;
	const struct conf *c = p->g->o.conf;
	const struct conf_inbox *in;
	struct peer_address from;
	/* Whether it sends by TLS is seen when it does. */
	struct sender_claim s = { a->ae, c->dicom_ae_title, &from, true };
	enum img_admit answer;
	enum err e;
	int fd;

	if (!p->o->move)
		return sink_for_target(p->g, &a->to, a->ae, &p->sink, p->em);
	if (p->g->listen_fd < 0)
		return errmsg_set(p->em, ERR_UNSUPPORTED,
		    "set dicom.listen, or leave --move away",
		    "C-MOVE needs dicom.listen, which is off");
	e = dial_archive(a->address, &fd, p->em);
	if (e != ERR_OK)
		return e;
	peer_address_of(fd, &from);
	(void)close(fd);
	in = sender_inbox(c, &s, &answer, p->em);
	return in == NULL
		   ? ERR_DENIED
		   : sink_for_target(p->g, &in->to, a->ae, &p->sink, p->em);
}

static enum err
pull_audit_job(struct store_txn *t, void *ctx)
{
	const struct pull *p = ctx;

	return cat_audit_append(t, p->o->actor,
	    p->o->dry_run ? "pull.look" : "pull", p->archive->name,
	    p->o->move ? "C-MOVE" : "C-GET");
}

static const struct conf_archive *
archive_named(const struct conf *c, const char *name)
{
	uint32_t i;

	for (i = 0; i < c->n_archives; i++) {
		if (strcmp(c->archives[i].name, name) == 0)
			return &c->archives[i];
	}
	return NULL;
}

static bool
pull_slot(struct ingest *g, bool take)
{
	bool ok = true;

	pthread_mutex_lock(&g->mu);
	if (take)
		ok =
		    !g->stopping && g->running < g->o.conf->limits_associations;
	if (take && ok)
		g->running++;
	if (!take) {
		g->running--;
		pthread_cond_broadcast(&g->slot_free);
	}
	pthread_mutex_unlock(&g->mu);
	return ok;
}

static enum err
pull_run(struct pull *p)
{
	uint32_t i;
	enum err e = pull_sink(p);

	if (e == ERR_OK)
		e = ingest_profile_table(
		    p->g, p->sink.profile, &p->table, p->em);
	p->sink.table = buf_slice(&p->table);
	if (e == ERR_OK)
		e = store_write(p->g->o.store, pull_audit_job, p);
	if (e == ERR_OK)
		e = pull_look(p);
	for (i = 0; e == ERR_OK && i < p->n_series; i++)
		e = pull_series(p, &p->series[i]);
	if (e == ERR_OK || p->n_series > 0)
		log_info("pull", p->o->dry_run ? "looked" : "ended",
		    "archive=%s studies=%u series=%u images=%u",
		    p->archive->name, p->n_studies, p->n_series, p->n_images);
	return e;
}

enum err
ingest_pull(struct ingest *g, const struct ingest_pull_opts *o,
    ingest_pulled_fn fn, void *ctx, struct errmsg *em)
{
	struct pull *p;
	enum err e = pull_check(o, em);

	if (e != ERR_OK)
		return e;
	p = mem_new(sizeof(*p));
	if (p == NULL)
		return errmsg_set(em, ERR_NOMEM, "", "out of memory");
	*p = (struct pull){ .g = g, .o = o, .fn = fn, .ctx = ctx, .em = em };
	p->archive = archive_named(g->o.conf, o->archive);
	if (p->archive == NULL) {
		e = errmsg_set(em, ERR_NOTFOUND,
		    "see dicom.archives in pesscara.yaml",
		    "no archive has this name");
	} else if (!pull_slot(g, true)) {
		e = errmsg_set(em, ERR_BUSY, "try again, or raise it",
		    "limits.associations are all in use");
	} else {
		e = pull_run(p);
		pull_hang_up(p);
		buf_fini(&p->table);
		(void)pull_slot(g, false);
	}
	mem_free(p->studies);
	mem_free(p->series);
	mem_free(p->images);
	mem_free(p);
	return e;
}
