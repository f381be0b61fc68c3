/* node/ingest/admit.c: one received object into the vault.
 *
 * The original and the de-identified file are split, hashed, compressed and
 * sealed on the association's thread; one job then writes the chunks, the
 * vault row and the quarantine item, and returns when that is durable.  Their
 * pixel pieces are the same bytes, so they are stored once.  The same bytes
 * again change nothing, unless the item that holds them was rejected; other
 * bytes under a known SOP Instance UID are kept beside the first and marked
 * (domain.md 15).  Both are decided inside the job: two senders may bring one
 * image at the same moment. */
#include "node/ingest/ingest_internal.h"
#include "store/base/clock.h"
#include "store/base/enc.h"
#include "store/base/mem.h"

struct admit {
	struct ingest *g;
	const struct sink *k;
	const struct img_object *o;
	const char *subject;
	struct blob_batch *batch;
	struct buf original;
	struct buf deid;
	struct buf row;
	struct v_image v;
	struct key16 sop;
	struct key16 seen;
	struct key16 series;
	struct key16 family;
	bool conflict;
	struct admitted *out;
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

static enum err
plan_add(struct admit *a, struct slice file, const struct img_piece *plan,
    uint32_t n, struct buf *manifest)
{
	struct blob_piece *p = NULL;
	uint32_t i;
	enum err e;

	if (n > 0) {
		p = mem_array(n, sizeof(*p));
		if (p == NULL)
			return ERR_NOMEM;
	}
	for (i = 0; i < n; i++) {
		p[i] = (struct blob_piece){
			.off = plan[i].off,
			.len = plan[i].len,
			.bits = plan[i].kind == IMG_P_FRAME ? plan[i].bits : 0,
			.w = plan[i].w,
		};
	}
	e = blob_batch_add(a->batch, file, p, n, manifest);
	mem_free(p);
	return e;
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

/* Content work, off the writer thread. */
static enum err
admit_prepare(struct admit *a)
{
	const struct img_object *o = a->o;
	enum err e;

	a->batch = blob_batch_new(a->g->o.store);
	if (a->batch == NULL)
		return ERR_NOMEM;
	e = plan_add(
	    a, o->original, o->original_plan, o->n_original_plan, &a->original);
	if (e == ERR_OK && o->deid.n > 0)
		e = plan_add(
		    a, o->deid, o->deid_plan, o->n_deid_plan, &a->deid);
	if (e != ERR_OK)
		return e;
	if (o->deid.n > 0)
		cry_hash(o->deid, &a->v.deid_hash);
	a->v.original = buf_slice(&a->original);
	a->v.deid = buf_slice(&a->deid);
	a->v.deid_len = o->deid.n;
	a->v.header_len = plan_header_len(o);
	a->v.sop_uid = slice_str(o->deid_sop_uid);
	a->v.series_uid = slice_str(o->deid_series_uid);
	a->v.study_uid = slice_str(o->deid_study_uid);
	a->v.fields = o->fields;
	return vi_encode(&a->v, &a->row);
}

static void
q_begin(struct admit *a, uint64_t no, struct q_item *q)
{
	const struct sink *k = a->k;

	memset(q, 0, sizeof(*q));
	q->no = no;
	(void)snprintf(q->state, sizeof(q->state), "held");
	q->received_ms = clock_wall_ms();
	q->share = k->share;
	q->compartment = k->compartment;
	q->series = a->series;
	q->family = a->family;
	memcpy(q->share_name, k->share_name, sizeof(q->share_name));
	memcpy(q->compartment_name, k->compartment_name,
	    sizeof(q->compartment_name));
	memcpy(q->calling_ae, k->calling_ae, sizeof(q->calling_ae));
	memcpy(q->modality, a->o->modality, sizeof(q->modality));
	(void)snprintf(q->subject, sizeof(q->subject), "%s", a->subject);
}

static enum err
q_open_row(struct store_txn *t, struct admit *a, struct q_item *q)
{
	uint8_t key[24], no[8];
	uint64_t n;
	enum err e;

	e = seq_next(t, "qseq", SLICE_LIT("n"), &n);
	if (e != ERR_OK)
		return e;
	q_begin(a, n, q);
	q_key(n, no);
	memcpy(key, a->family.b, 16);
	memcpy(key + 16, no, 8);
	e = store_row_put(
	    t, "qopen", slice_of(a->series.b, 16), slice_of(no, 8));
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
q_of_series(struct store_txn *t, struct admit *a, struct q_item *q)
{
	struct store *s = store_txn_store(t);
	uint64_t no;
	enum err e = row_item(s, store_txn_db(t), "qopen", &a->series, &no);

	if (e == ERR_OK)
		return q_get(s, store_txn_db(t), no, q);
	return e == ERR_NOTFOUND ? q_open_row(t, a, q) : e;
}

/* ERR_EXISTS: these very bytes are held or were released for this target. */
static enum err
admit_seen(struct admit *a, struct store *s, struct db_txn *t)
{
	struct q_item q;
	enum err e = row_item(s, t, "seen", &a->seen, &a->out->item);

	if (e == ERR_OK)
		e = q_get(s, t, a->out->item, &q);
	else if (e == ERR_NOTFOUND)
		return ERR_OK;
	if (e != ERR_OK || strcmp(q.state, "rejected") == 0)
		return e;
	return ERR_EXISTS;
}

/* Is another image kept under this SOP Instance UID? */
static enum err
admit_conflict(struct admit *a, struct store *s, struct db_txn *t)
{
	struct buf b = BUF_MAX(32);
	enum err e = store_row_get(s, t, "sop", slice_of(a->sop.b, 16), &b);

	a->conflict = e == ERR_OK &&
		      (b.n != 32 || memcmp(b.p, a->v.original_hash.b, 32) != 0);
	buf_fini(&b);
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

static void
q_count_in(struct admit *a, struct q_item *q)
{
	static const struct img_finding conflict = { "same-uid-other-bytes",
		"an image with this SOP Instance UID but other bytes is held" };
	static const struct img_finding mixed = { "two-patients",
		"this series has images of more than one patient" };
	uint32_t i;

	if (a->o->parsed && strcmp(q->subject, a->subject) != 0)
		q_add_finding(q, &mixed);
	q->instances++;
	q->bytes += a->o->original.n;
	for (i = 0; i < a->o->n_findings; i++)
		q_add_finding(q, &a->o->findings[i]);
	if (!a->o->releasable)
		q->review = true;
	if (a->o->deid.n == 0)
		q->blocked = true;
	if (a->conflict)
		q_add_finding(q, &conflict);
}

static enum err
admit_rows(struct store_txn *t, struct admit *a, const struct q_item *q)
{
	uint8_t key[12];
	enum err e;

	q_key(q->no, key);
	key[8] = (uint8_t)(q->instances >> 24);
	key[9] = (uint8_t)(q->instances >> 16);
	key[10] = (uint8_t)(q->instances >> 8);
	key[11] = (uint8_t)q->instances;
	e = store_row_put(t, "vi", slice_of(key, 12), buf_slice(&a->row));
	if (e == ERR_OK)
		e = store_row_put(t, "sop", slice_of(a->sop.b, 16),
		    slice_of(a->v.original_hash.b, 32));
	if (e == ERR_OK)
		e = store_row_put(
		    t, "seen", slice_of(a->seen.b, 16), slice_of(key, 8));
	return e;
}

static enum err
admit_job(struct store_txn *t, void *ctx)
{
	struct admit *a = ctx;
	struct store *s = store_txn_store(t);
	struct q_item q;
	enum err e;

	if ((e = admit_seen(a, s, store_txn_db(t))) != ERR_OK)
		return e;
	if ((e = admit_conflict(a, s, store_txn_db(t))) != ERR_OK)
		return e;
	if ((e = blob_batch_put(t, a->batch)) != ERR_OK)
		return e;
	if ((e = q_of_series(t, a, &q)) != ERR_OK)
		return e;
	if ((e = admit_rows(t, a, &q)) != ERR_OK)
		return e;
	q_count_in(a, &q);
	e = q_put(t, &q);
	if (e == ERR_OK) {
		a->out->item = q.no;
		a->out->state =
		    q.blocked || q.review ? ADMIT_QUARANTINED : ADMIT_STORED;
	}
	return e;
}

/* Before the work: most images that are sent again end here. */
static enum err
admit_known(struct admit *a)
{
	struct store *s = a->g->o.store;
	struct db_txn *t;
	enum err e = store_read(s, &t);

	if (e != ERR_OK)
		return e;
	e = admit_seen(a, s, t);
	db_abort(t);
	return e;
}

static void
admit_keys(struct admit *a)
{
	uint8_t comp[2] = { (uint8_t)(a->k->compartment >> 8),
		(uint8_t)a->k->compartment };
	/* What is kept as it is never counts as the de-identified form. */
	struct slice parts[5] = { slice_of(a->k->share.b, 32),
		slice_of(comp, 2), slice_str(a->k->no_deid ? "identified" : ""),
		slice_str(a->o->series_uid), slice_str(a->k->calling_ae) };

	key16_of(a->g, "psc.qser.1", parts, 5, &a->series);
	key16_of(a->g, "psc.qfam.1", parts, 4, &a->family);
	/* What cannot be parsed has no UID: its bytes stand for it. */
	parts[3] = a->o->parsed && a->o->sop_uid[0] != '\0'
		       ? slice_str(a->o->sop_uid)
		       : slice_of(a->v.original_hash.b, 32);
	key16_of(a->g, "psc.sop.1", parts, 4, &a->sop);
	parts[4] = slice_of(a->v.original_hash.b, 32);
	key16_of(a->g, "psc.seen.1", parts, 5, &a->seen);
}

enum err
admit_object(struct ingest *g, const struct sink *k, const struct img_object *o,
    const char *subject, struct admitted *out)
{
	struct admit a = { .g = g, .k = k, .o = o, .subject = subject };
	enum err e;

	a.out = out;
	a.original = BUF_MAX(2 * MIB);
	a.deid = BUF_MAX(2 * MIB);
	a.row = BUF_MAX(8 * MIB);
	cry_hash(o->original, &a.v.original_hash);
	admit_keys(&a);
	e = admit_known(&a);
	if (e == ERR_OK)
		e = admit_prepare(&a);
	if (e == ERR_OK)
		e = store_write(g->o.store, admit_job, &a);
	if (e == ERR_EXISTS) {
		out->state = ADMIT_DUPLICATE;
		e = ERR_OK;
	}
	blob_batch_free(a.batch);
	buf_fini(&a.original);
	buf_fini(&a.deid);
	buf_fini(&a.row);
	return e;
}
