/* node/ingest/admit.c: received objects into the vault.
 *
 * Originals and de-identified files are split, hashed, compressed and sealed
 * on the caller's thread; one job then writes the chunks, the vault rows and
 * the quarantine items of all of them, and returns when that is durable.
 * The pixel pieces of the two forms are the same bytes, so they are stored
 * once.  The same bytes again change nothing, unless the item that holds them
 * was rejected; other bytes under a known SOP Instance UID are kept beside
 * the first and marked (domain.md 15).  Both are decided inside the job: two
 * senders may bring one image at the same moment.  Bytes that are here but
 * were found damaged take the place of what is damaged (mend.c).
 * When a job of several fails, each is tried alone. */
#include "node/ingest/ingest_internal.h"
#include "store/base/clock.h"
#include "store/base/enc.h"
#include "store/base/mem.h"

struct image {
	const struct img_object *o;
	const char *subject;
	struct buf original;
	struct buf deid;
	struct v_image v; /* v.name: its row of HELD */
	struct held_hash hash;
	struct key16 series;
	struct key16 family;
	uint32_t no[2]; /* of its two forms in the batch */
	bool hashed;    /* v.original_hash is known */
	bool ready;     /* prepared: the job is to take it */
	bool conflict;
	bool mend;     /* here, but damaged: its row gets these manifests */
	uint32_t work; /* its item, in the job */
	struct admit_one *one;
};

/* An item that the job at hand changes. */
struct work {
	struct q_item q;
	uint64_t first; /* index of its first new image */
};

struct admit {
	struct ingest *g;
	const struct sink *k;
	struct image *im;
	uint32_t n;
	struct blob_batch *batch;
	struct work *work; /* as many as images */
	uint32_t n_work;
};

static bool
finding_is(const struct img_finding *f, const char *kind)
{
	return strcmp(f->kind, kind) == 0;
}

/* Findings that no person's reason can overrule. */
static bool
finding_blocks(const struct img_finding *f)
{
	return finding_is(f, "identifier-survived") ||
	       finding_is(f, "unsupported-syntax") ||
	       finding_is(f, "unparsable") || finding_is(f, "not-dicom") ||
	       finding_is(f, "two-patients");
}

/* Findings that only tell what de-identification did. */
static bool
finding_tells(const struct img_finding *f)
{
	return finding_is(f, "text-cleaned") ||
	       finding_is(f, "ill-formed-value") ||
	       finding_is(f, "overlay-dropped") ||
	       finding_is(f, "trailing-bytes");
}

static void
q_add_finding(struct q_item *q, const struct img_finding *f)
{
	uint32_t i;

	if (!finding_tells(f))
		q->review = true;
	if (finding_blocks(f))
		q->blocked = true;
	for (i = 0; i < q->n_findings; i++) {
		if (finding_is(&q->findings[i], f->kind))
			return;
	}
	if (q->n_findings < Q_FINDINGS)
		q->findings[q->n_findings++] = *f;
}

static uint64_t
plan_header_len(const struct img_object *o)
{
	uint64_t n = 0;
	uint32_t i;

	for (i = 0; i < o->n_deid_plan; i++) {
		if (o->deid_plan[i].kind != IMG_P_HEADER)
			break;
		n += o->deid_plan[i].len;
	}
	return n;
}

/* no_deid: the helper gave the original for both. */
static bool
object_same(const struct img_object *o)
{
	return o->deid.n > 0 && o->deid.p == o->original.p;
}

/* --- content work, off the writer thread --- */

static struct blob_piece *
pieces_of(const struct img_piece *plan, uint32_t n)
{
	struct blob_piece *p = mem_array(n == 0 ? 1 : n, sizeof(*p));
	uint32_t i;

	for (i = 0; p != NULL && i < n; i++) {
		p[i] = (struct blob_piece){
			.off = plan[i].off,
			.len = plan[i].len,
			.bits = plan[i].kind == IMG_P_FRAME ? plan[i].bits : 0,
			.w = plan[i].w,
			.apart = plan[i].kind == IMG_P_FRAME,
		};
	}
	return p;
}

/* Original and de-identified form of some images, as files of a batch. */
struct forms {
	struct blob_file file[2 * ADMIT_MANY];
	struct blob_piece *plan[2 * ADMIT_MANY];
	uint32_t n;
};

static enum err
forms_add(struct forms *f, struct slice bytes, const struct img_piece *plan,
    uint32_t n_plan)
{
	struct blob_piece *p = pieces_of(plan, n_plan);

	if (p == NULL)
		return ERR_NOMEM;
	f->plan[f->n] = p;
	f->file[f->n++] =
	    (struct blob_file){ .bytes = bytes, .plan = p, .n_plan = n_plan };
	return ERR_OK;
}

static enum err
forms_of(struct forms *f, struct image *im)
{
	const struct img_object *o = im->o;
	uint32_t first = f->n;
	enum err e;

	e = forms_add(f, o->original, o->original_plan, o->n_original_plan);
	if (e != ERR_OK)
		return e;
	f->file[first].has_hash = im->hashed;
	f->file[first].hash = im->v.original_hash;
	if (o->deid.n == 0 || object_same(o))
		return ERR_OK;
	e = forms_add(f, o->deid, o->deid_plan, o->n_deid_plan);
	if (e == ERR_OK)
		f->file[first + 1].form = 1;
	return e;
}

static void
image_hash_is(
    const struct admit *a, struct image *im, const struct cry_id *hash)
{
	im->hashed = true;
	im->v.original_hash = *hash;
	held_hash_of(a->g, &im->v.name, hash, &im->hash);
}

/* What the batch said, to the images that the forms were made of. */
static void
forms_take(
    const struct admit *a, const struct forms *f, struct image *im, uint32_t n)
{
	uint32_t i, k = 0;

	for (i = 0; i < n; i++) {
		if (im[i].one->e != ERR_OK)
			continue;
		im[i].no[0] = im[i].no[1] = f->file[k].no;
		image_hash_is(a, &im[i], &f->file[k].hash);
		im[i].v.deid_hash = f->file[k++].hash;
		if (im[i].o->deid.n > 0 && !object_same(im[i].o)) {
			im[i].no[1] = f->file[k].no;
			im[i].v.deid_hash = f->file[k++].hash;
		}
		im[i].ready = true;
	}
}

/* All of them, or none. */
static enum err
forms_prepare(struct admit *a, struct image *im, uint32_t n)
{
	struct forms *f = mem_new(sizeof(*f));
	uint32_t i;
	enum err e = f == NULL ? ERR_NOMEM : ERR_OK;

	for (i = 0; i < n && e == ERR_OK; i++) {
		if (im[i].one->e == ERR_OK)
			e = forms_of(f, &im[i]);
	}
	if (e == ERR_OK)
		e = blob_batch_add_many(a->batch, f->file, f->n);
	if (e == ERR_OK)
		forms_take(a, f, im, n);
	for (i = 0; f != NULL && i < f->n; i++)
		mem_free(f->plan[i]);
	mem_free(f);
	return e;
}

static enum err
image_manifests(struct admit *a, struct image *im)
{
	const struct img_object *o = im->o;
	struct buf *deid = &im->original;
	enum err e = blob_batch_manifest(a->batch, im->no[0], &im->original);

	if (e == ERR_OK && im->no[1] != im->no[0]) {
		deid = &im->deid;
		e = blob_batch_manifest(a->batch, im->no[1], deid);
	}
	if (e != ERR_OK)
		return e;
	im->v.original = buf_slice(&im->original);
	if (o->deid.n > 0)
		im->v.deid = buf_slice(deid);
	im->v.deid_len = o->deid.n;
	im->v.header_len = plan_header_len(o);
	im->v.sop_uid = slice_str(o->deid_sop_uid);
	im->v.series_uid = slice_str(o->deid_series_uid);
	im->v.study_uid = slice_str(o->deid_study_uid);
	im->v.fields = o->fields;
	return ERR_OK;
}

/* Together; if that fails each alone, so that a bad one costs only itself. */
static enum err
admit_prepare(struct admit *a)
{
	uint32_t i;
	enum err e = forms_prepare(a, a->im, a->n);

	for (i = 0; e != ERR_OK && i < a->n; i++) {
		if (a->im[i].one->e == ERR_OK)
			a->im[i].one->e = forms_prepare(a, &a->im[i], 1);
	}
	e = blob_batch_seal(a->batch);
	for (i = 0; i < a->n && e == ERR_OK; i++) {
		if (a->im[i].ready)
			e = image_manifests(a, &a->im[i]);
	}
	return e;
}

/* --- in the job --- */

static void
q_begin(const struct admit *a, const struct image *im, uint64_t no,
    struct q_item *q)
{
	const struct sink *k = a->k;

	memset(q, 0, sizeof(*q));
	q->no = no;
	(void)snprintf(q->state, sizeof(q->state), "held");
	q->received_ms = clock_wall_ms();
	q->share = k->share;
	q->compartment = k->compartment;
	q->series = im->series;
	q->family = im->family;
	memcpy(q->share_name, k->share_name, sizeof(q->share_name));
	memcpy(q->compartment_name, k->compartment_name,
	    sizeof(q->compartment_name));
	memcpy(q->calling_ae, k->calling_ae, sizeof(q->calling_ae));
	memcpy(q->modality, im->o->modality, sizeof(q->modality));
	(void)snprintf(q->subject, sizeof(q->subject), "%s", im->subject);
	q->tags = k->tags;
}

static enum err
q_open_row(struct store_txn *t, const struct admit *a, const struct image *im,
    struct q_item *q)
{
	uint8_t key[24], no[8];
	uint64_t n;
	enum err e;

	e = seq_next(t, "qseq", SLICE_LIT("n"), &n);
	if (e != ERR_OK)
		return e;
	q_begin(a, im, n, q);
	q_key(n, no);
	memcpy(key, im->family.b, 16);
	memcpy(key + 16, no, 8);
	e = store_row_put(
	    t, "qopen", slice_of(im->series.b, 16), slice_of(no, 8));
	if (e == ERR_OK)
		e = store_row_put(t, "qser", slice_of(key, 24), SLICE_LIT("1"));
	return e;
}

/* The item number that a row holds. */
static enum err
row_item(struct store *s, struct db_txn *t, const char *tag,
    const struct key16 *key, uint64_t *no)
{
	struct buf b = BUF_MAX(8);
	enum err e = store_row_get(s, t, tag, slice_of(key->b, 16), &b);

	if (e == ERR_OK && b.n != 8)
		e = ERR_CORRUPT;
	*no = e == ERR_OK ? dec_be64(b.p) : 0;
	buf_fini(&b);
	return e;
}

/* The item held for this series, or a new one (rulings.md 11). */
static enum err
work_of_series(struct store_txn *t, struct admit *a, struct image *im)
{
	struct store *s = store_txn_store(t);
	struct work *w;
	uint64_t no;
	enum err e;

	for (im->work = 0; im->work < a->n_work; im->work++) {
		if (memcmp(a->work[im->work].q.series.b, im->series.b, 16) == 0)
			return ERR_OK;
	}
	w = &a->work[im->work];
	e = row_item(s, store_txn_db(t), "qopen", &im->series, &no);
	if (e == ERR_OK)
		e = q_get(s, store_txn_db(t), no, &w->q);
	else if (e == ERR_NOTFOUND)
		e = q_open_row(t, a, im, &w->q);
	w->first = w->q.instances;
	if (e == ERR_OK)
		a->n_work++;
	return e;
}

/* ERR_EXISTS: these very bytes are held or were released for this target. */
static enum err
image_seen(struct image *im, struct store *s, struct db_txn *t)
{
	enum err e = held_find(
	    s, t, &im->v.name, &im->hash, &im->one->out.item, &im->conflict);

	if (e == ERR_NOTFOUND)
		return ERR_OK;
	return e == ERR_OK ? ERR_EXISTS : e;
}

/* The same, off the writer: one that is here but damaged is prepared. */
static enum err
image_seen_whole(struct image *im, struct store *s, struct db_txn *t)
{
	enum err e = image_seen(im, s, t);

	if (e != ERR_EXISTS)
		return e;
	e = mend_needed(s, t, im->one->out.item, &im->v, &im->mend);
	return e == ERR_OK && !im->mend ? ERR_EXISTS : e;
}

static void
q_count_in(const struct image *im, struct q_item *q)
{
	static const struct img_finding conflict = { "same-uid-other-bytes",
		"an image with this SOP Instance UID but other bytes is held" };
	static const struct img_finding mixed = { "two-patients",
		"this series has images of more than one patient" };
	uint32_t i;

	if (im->o->parsed && strcmp(q->subject, im->subject) != 0)
		q_add_finding(q, &mixed);
	q->instances++;
	q->bytes += im->o->original.n;
	for (i = 0; i < im->o->n_findings; i++)
		q_add_finding(q, &im->o->findings[i]);
	if (!im->o->releasable)
		q->review = true;
	if (im->o->deid.n == 0)
		q->blocked = true;
	if (im->conflict)
		q_add_finding(q, &conflict);
}

/* ERR_EXISTS: nothing is to be kept of it. */
static enum err
image_take(struct store_txn *t, struct admit *a, struct image *im)
{
	struct q_item *q;
	enum err e;

	e = image_seen(im, store_txn_store(t), store_txn_db(t));
	if (e != ERR_OK)
		return e;
	if ((e = work_of_series(t, a, im)) != ERR_OK)
		return e;
	q = &a->work[im->work].q;
	q_count_in(im, q);
	im->one->out.item = q->no;
	return held_put(t, &im->v.name, &im->hash, q->no);
}

/* Images from index on, in one row. */
static enum err
page_put(struct store_txn *t, const struct work *w, uint64_t index,
    const struct v_image *const *list, uint32_t n)
{
	struct buf row = BUF_MAX(V_PAGE_BYTES);
	uint8_t key[12];
	enum err e = v_page_encode(list, n, &row);

	q_key(w->q.no, key);
	key[8] = (uint8_t)(index >> 24);
	key[9] = (uint8_t)(index >> 16);
	key[10] = (uint8_t)(index >> 8);
	key[11] = (uint8_t)index;
	if (e == ERR_OK)
		e = store_row_put(t, "vi", slice_of(key, 12), buf_slice(&row));
	buf_wipe(&row);
	return e;
}

static size_t
image_row_bytes(const struct v_image *v)
{
	return v->original.n + v->deid.n + v->fields.n + 1024;
}

/* The new images of one item into pages, then the item itself. */
static enum err
work_put(struct store_txn *t, struct admit *a, uint32_t no)
{
	const struct v_image *list[ADMIT_MANY];
	struct work *w = &a->work[no];
	uint64_t index = w->first;
	uint32_t i, n = 0;
	size_t bytes = 0;
	enum err e = ERR_OK;

	for (i = 0; e == ERR_OK && i < a->n; i++) {
		const struct image *im = &a->im[i];

		if (!im->ready || im->one->e != ERR_OK || im->work != no)
			continue;
		if (n > 0 && bytes + image_row_bytes(&im->v) > 2 * MIB) {
			e = page_put(t, w, index, list, n);
			index += n;
			n = 0;
			bytes = 0;
		}
		list[n++] = &im->v;
		bytes += image_row_bytes(&im->v);
	}
	if (e == ERR_OK)
		e = page_put(t, w, index, list, n);
	return e == ERR_OK ? q_put(t, &w->q) : e;
}

/* Files whose images are here now are known by their inode next time. */
static enum err
stamps_put(struct store_txn *t, const struct admit *a, uint32_t *n)
{
	uint32_t i;
	enum err e = ERR_OK;

	*n = 0;
	for (i = 0; e == ERR_OK && i < a->n; i++) {
		const struct admit_one *one = a->im[i].one;

		if (one->stamp == NULL || !one->stamp->settled ||
		    (one->e != ERR_OK && one->e != ERR_EXISTS))
			continue;
		e = file_put(t, one->stamp, one->out.item);
		(*n)++;
	}
	return e;
}

static enum err
mends_put(struct store_txn *t, const struct admit *a)
{
	uint32_t i;
	enum err e = ERR_OK;

	for (i = 0; e == ERR_OK && i < a->n; i++) {
		const struct image *im = &a->im[i];

		if (im->ready && im->mend && im->one->e == ERR_EXISTS)
			e = mend_put(t, im->one->out.item, &im->v);
	}
	return e;
}

static enum err
admit_job(struct store_txn *t, void *ctx)
{
	struct admit *a = ctx;
	uint32_t i, n_stamps, n_mends = 0;
	enum err e = ERR_OK;

	a->n_work = 0;
	for (i = 0; i < a->n; i++) {
		struct image *im = &a->im[i];

		if (!im->ready)
			continue;
		im->one->e = e = image_take(t, a, im);
		if (e != ERR_OK && e != ERR_EXISTS)
			return e;
		n_mends += im->mend;
	}
	e = stamps_put(t, a, &n_stamps);
	if (e == ERR_OK && a->n_work == 0 && n_mends == 0)
		return n_stamps > 0 ? ERR_OK : ERR_EXISTS; /* no commit */
	if (e == ERR_OK)
		e = blob_batch_put(t, a->batch);
	for (i = 0; e == ERR_OK && i < a->n_work; i++)
		e = work_put(t, a, i);
	return e == ERR_OK ? mends_put(t, a) : e;
}

/* --- around it --- */

/* By its UID.  What cannot be parsed has none: its bytes stand for it. */
static bool
image_named(const struct image *im)
{
	return im->o->parsed && im->o->sop_uid[0] != '\0';
}

static void
image_keys(const struct admit *a, struct image *im)
{
	uint8_t comp[2] = { (uint8_t)(a->k->compartment >> 8),
		(uint8_t)a->k->compartment };
	/* What is kept as it is never counts as the de-identified form. */
	struct slice parts[5] = { slice_of(a->k->share.b, 32),
		slice_of(comp, 2), slice_str(a->k->no_deid ? "identified" : ""),
		slice_str(im->o->series_uid), slice_str(a->k->calling_ae) };

	key16_of(a->g, "psc.qser.1", parts, 5, &im->series);
	key16_of(a->g, "psc.qfam.1", parts, 4, &im->family);
	held_name(a->g, a->k,
	    image_named(im) ? slice_str(im->o->sop_uid)
			    : slice_of(im->v.original_hash.b, 32),
	    &im->v.name);
}

/* Those whose bytes may be here: all but images of names never met, which
 * are hashed together with their pieces (blob_batch_add_many). */
static enum err
known_candidates(struct admit *a, struct image **out, uint32_t *n)
{
	struct db_txn *t;
	uint32_t i;
	bool any;
	enum err e = store_read(a->g->o.store, &t);

	*n = 0;
	if (e != ERR_OK)
		return e;
	for (i = 0; i < a->n; i++) {
		struct image *im = &a->im[i];

		im->one->e = ERR_OK;
		any = true;
		if (image_named(im)) {
			image_keys(a, im);
			any = held_any(t, &im->v.name);
		}
		if (any)
			out[(*n)++] = im;
	}
	db_abort(t);
	return ERR_OK;
}

/* Most images that are sent again end here. */
static enum err
admit_known(struct admit *a)
{
	struct image *list[ADMIT_MANY];
	struct slice in[ADMIT_MANY];
	struct cry_id hash[ADMIT_MANY];
	struct store *s = a->g->o.store;
	struct db_txn *t;
	uint32_t i, n;
	enum err e = known_candidates(a, list, &n);

	if (e != ERR_OK || n == 0)
		return e;
	for (i = 0; i < n; i++)
		in[i] = list[i]->o->original;
	cry_hash_many(in, n, hash);
	if ((e = store_read(s, &t)) != ERR_OK)
		return e;
	for (i = 0; i < n; i++) {
		list[i]->v.original_hash = hash[i];
		image_keys(a, list[i]);
		image_hash_is(a, list[i], &hash[i]);
		list[i]->one->e = image_seen_whole(list[i], s, t);
	}
	db_abort(t);
	return ERR_OK;
}

/* What every image gets when nothing can be done. */
static void
admit_fail(struct admit *a, enum err e)
{
	uint32_t i;

	for (i = 0; i < a->n; i++) {
		if (a->im[i].ready || a->im[i].one->e == ERR_OK)
			a->im[i].one->e = e;
		a->im[i].ready = false;
	}
}

/* false: a job of several failed for a reason that one of them may be. */
static bool
admit_write(struct admit *a)
{
	uint32_t i, n = 0;
	bool known = true;
	enum err e = ERR_OK;

	for (i = 0; i < a->n; i++)
		known = known && a->im[i].one->e != ERR_OK;
	if (!known && store_quota_full(a->g->o.store))
		e = ERR_FULL;
	if (!known && e == ERR_OK)
		e = admit_prepare(a);
	for (i = 0; i < a->n; i++)
		n += a->im[i].ready || a->im[i].one->stamp != NULL;
	if (e == ERR_OK && n > 0)
		e = store_write(a->g->o.store, admit_job, a);
	if (e == ERR_OK || e == ERR_EXISTS)
		return true;
	if (n > 1 && e != ERR_FULL && e != ERR_BUSY && e != ERR_CANCELLED)
		return false;
	admit_fail(a, e);
	return true;
}

/* One answer an image, in the caller's words. */
static void
admit_answer(struct admit *a)
{
	const struct q_item *q;
	uint32_t i;

	for (i = 0; i < a->n; i++) {
		struct image *im = &a->im[i];

		if (im->one->e == ERR_EXISTS) {
			im->one->out.state = ADMIT_DUPLICATE;
			im->one->out.mended = im->mend;
			im->one->e = ERR_OK;
		} else if (im->one->e == ERR_OK) {
			q = &a->work[im->work].q;
			im->one->out.state = q->blocked || q->review
						 ? ADMIT_QUARANTINED
						 : ADMIT_STORED;
		}
	}
}

static void
admit_fini(struct admit *a)
{
	uint32_t i;

	for (i = 0; a->im != NULL && i < a->n; i++) {
		buf_fini(&a->im[i].original);
		buf_fini(&a->im[i].deid);
	}
	blob_batch_free(a->batch);
	mem_free(a->im);
	mem_free(a->work);
}

static enum err
admit_init(struct admit *a, struct admit_one *list)
{
	uint32_t i;

	a->im = mem_array(a->n, sizeof(*a->im));
	a->work = mem_array(a->n, sizeof(*a->work));
	a->batch = blob_batch_new(a->g->o.store);
	if (a->im == NULL || a->work == NULL || a->batch == NULL)
		return ERR_NOMEM;
	for (i = 0; i < a->n; i++) {
		a->im[i].o = list[i].o;
		a->im[i].subject = list[i].subject;
		a->im[i].one = &list[i];
		a->im[i].original = BUF_MAX(2 * MIB);
		a->im[i].deid = BUF_MAX(2 * MIB);
	}
	return ERR_OK;
}

void
admit_many(
    struct ingest *g, const struct sink *k, struct admit_one *list, uint32_t n)
{
	struct admit a = { .g = g, .k = k, .n = n };
	bool done = true;
	uint32_t i;
	enum err e;

	REQUIRE(n > 0 && n <= ADMIT_MANY);
	e = admit_init(&a, list);
	if (e == ERR_OK)
		e = admit_known(&a);
	if (e == ERR_OK)
		done = admit_write(&a);
	for (i = 0; e != ERR_OK && i < n; i++)
		list[i].e = e;
	if (e == ERR_OK && done)
		admit_answer(&a);
	admit_fini(&a);
	for (i = 0; !done && i < n; i++)
		admit_many(g, k, &list[i], 1);
}

enum err
admit_object(struct ingest *g, const struct sink *k, const struct img_object *o,
    const char *subject, struct admitted *out)
{
	struct admit_one one = { .o = o, .subject = subject };

	admit_many(g, k, &one, 1);
	*out = one.out;
	return one.e;
}
