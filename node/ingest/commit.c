/* node/ingest/commit.c: storage commitment: our word that objects are here.
 *
 * Happy path: a request (N-ACTION) becomes a row before it is answered; a
 * thread looks for each object it names and reports in an association of our
 * own (N-EVENT-REPORT, PS3.4 J.3.3): "all here" only if every one is durable
 * in the inbox's place and was not rejected.  Once the sender took the
 * report, the row goes, and the audit gets one.
 * Failure modes: a sender that cannot be reached is tried again, ever more
 * rarely, for a week; a kill in between costs nothing.  Originals are what the
 * word is given for: an inbox keeps them as long as the item is not
 * rejected. */
#include <errno.h>
#include <unistd.h>

#include "node/imaging/sealed.h"
#include "node/ingest/ingest_internal.h"
#include "node/ops/log.h"
#include "store/base/clock.h"
#include "store/base/mem.h"

#define PENDING_MAX 1000u
#define ROW_MAX (4 * MIB)
#define DATA_MAX (8 * MIB)
#define IDLE_MS 30000u
#define FRAME_MS 120000u
#define RETRY_MS ((uint64_t)15 * 1000)
#define RETRY_MS_MAX ((uint64_t)3600 * 1000)
#define GIVE_UP_MS ((uint64_t)7 * 24 * 3600 * 1000)
#define LOOK_S 1
#define REASON_NOT_HERE 0x0112u /* no such object instance */

struct commit_asked {
	char transaction[IMG_UID_MAX + 1];
	struct img_ref *refs;
	uint32_t n, cap;
};

struct pending {
	struct key16 key;
	uint64_t next_ms;
	uint32_t tries;
};

struct commits {
	struct ingest *g;
	pthread_t thread;
	pthread_mutex_t mu;
	pthread_cond_t wake;
	bool stopping;
	struct pending p[PENDING_MAX];
	uint32_t n;
};

/* A row, read. */
struct request {
	char transaction[IMG_UID_MAX + 1];
	char ae[IMG_AE_MAX + 1];     /* who asked */
	char called[IMG_AE_MAX + 1]; /* as whom we were asked */
	char to[80];
	struct sink sink; /* share and compartment only */
	uint64_t asked_ms;
	struct buf raw;
	struct mp_doc doc;
	const struct mp_node *refs; /* class and instance in turn */
	uint32_t n, here;
};

/* --- taking a request --- */

enum err
commit_more(struct commit_asked **all, const struct img_commit *c)
{
	struct commit_asked *a = *all;
	struct img_ref *more;

	if (a == NULL) {
		*all = a = mem_new(sizeof(*a));
		if (a == NULL)
			return ERR_NOMEM;
		memcpy(a->transaction, c->transaction, sizeof(a->transaction));
	}
	if (strcmp(a->transaction, c->transaction) != 0 ||
	    a->n + c->n > IMG_COMMIT_REFS)
		return ERR_MALFORMED;
	if (a->n + c->n > a->cap) {
		more = mem_grow(
		    a->refs, (size_t)a->cap + IMG_REFS_MAX, sizeof(*more));
		if (more == NULL)
			return ERR_NOMEM;
		a->refs = more;
		a->cap += IMG_REFS_MAX;
	}
	if (c->n > 0)
		memcpy(a->refs + a->n, c->refs, c->n * sizeof(*c->refs));
	a->n += c->n;
	return ERR_OK;
}

void
commit_asked_free(struct commit_asked *a)
{
	if (a == NULL)
		return;
	mem_free(a->refs);
	mem_free(a);
}

static void
request_encode(const struct sink *k, const struct conf_inbox *in,
    const char *called, const struct commit_asked *a, struct buf *b)
{
	uint32_t i;

	mp_w_map(b, 8);
	mp_kv_cstr(b, "tx", a->transaction);
	mp_kv_cstr(b, "ae", k->calling_ae);
	mp_kv_cstr(b, "called", called);
	mp_kv_cstr(b, "to", in->commit);
	mp_kv_bin(b, "share", slice_of(k->share.b, 32));
	mp_kv_u64(b, "comp", k->compartment);
	mp_kv_u64(b, "asked", clock_wall_ms());
	mp_kv_array(b, "refs", (size_t)a->n * 2);
	for (i = 0; i < a->n; i++) {
		mp_w_cstr(b, a->refs[i].sop_class);
		mp_w_cstr(b, a->refs[i].sop_uid);
	}
}

struct take_job {
	const struct key16 *key;
	struct slice row;
};

static enum err
take_job(struct store_txn *t, void *ctx)
{
	const struct take_job *j = ctx;

	return store_row_put(t, "commit", slice_of(j->key->b, 16), j->row);
}

/* Asked again under one transaction is asked once. */
static enum err
pending_add(struct commits *c, const struct key16 *key)
{
	enum err e = ERR_OK;
	uint32_t i;

	pthread_mutex_lock(&c->mu);
	for (i = 0; i < c->n; i++) {
		if (memcmp(&c->p[i].key, key, sizeof(*key)) == 0)
			break;
	}
	if (i == PENDING_MAX)
		e = ERR_BUSY;
	else if (i == c->n)
		c->p[c->n++] = (struct pending){ .key = *key };
	pthread_cond_broadcast(&c->wake);
	pthread_mutex_unlock(&c->mu);
	return e;
}

enum err
commit_take(struct ingest *g, const struct sink *k, const struct conf_inbox *in,
    const struct commit_asked *a)
{
	struct slice parts[2] = { slice_str(k->calling_ae),
		slice_str(a->transaction) };
	const char *called = in->called_ae[0] != '\0'
				 ? in->called_ae
				 : g->o.conf->dicom_ae_title;
	struct buf row = BUF_MAX(ROW_MAX);
	struct key16 key;
	struct take_job j = { .key = &key };
	enum err e;

	if (g->commits == NULL || a->n == 0)
		return ERR_UNSUPPORTED;
	key16_of(g, "psc.commit.1", parts, 2, &key);
	request_encode(k, in, called, a, &row);
	j.row = buf_slice(&row);
	e = buf_err(&row);
	if (e == ERR_OK)
		e = store_write(g->o.store, take_job, &j);
	if (e == ERR_OK)
		e = pending_add(g->commits, &key);
	buf_fini(&row);
	return e;
}

/* --- reading it again --- */

static void
request_fini(struct request *r)
{
	mp_doc_fini(&r->doc);
	buf_fini(&r->raw);
}

static enum err
request_decode(struct request *r)
{
	static const struct mp_limits lim = { ROW_MAX, IMG_COMMIT_REFS * 2, 3 };
	const struct mp_node *m;
	enum err e = mp_parse(buf_slice(&r->raw), &lim, &r->doc);

	if (e != ERR_OK)
		return ERR_CORRUPT;
	m = r->doc.root;
	mp_text(
	    &r->doc, mp_get(m, "tx"), r->transaction, sizeof(r->transaction));
	mp_text(&r->doc, mp_get(m, "ae"), r->ae, sizeof(r->ae));
	mp_text(&r->doc, mp_get(m, "called"), r->called, sizeof(r->called));
	mp_text(&r->doc, mp_get(m, "to"), r->to, sizeof(r->to));
	mp_fixed(&r->doc, mp_get(m, "share"), r->sink.share.b, 32);
	r->sink.compartment =
	    (uint16_t)mp_u64(&r->doc, mp_get(m, "comp"), UINT16_MAX);
	r->asked_ms = mp_u64(&r->doc, mp_get(m, "asked"), UINT64_MAX);
	r->refs = mp_get(m, "refs");
	r->n = mp_len(r->refs) / 2;
	return r->doc.err == ERR_OK ? ERR_OK : ERR_CORRUPT;
}

static void
ref_text(struct request *r, uint32_t i, char uid[IMG_UID_MAX + 1])
{
	mp_text(&r->doc, mp_at(r->refs, i), uid, IMG_UID_MAX + 1);
}

static enum err
ref_here(struct request *r, struct ingest *g, struct db_txn *t, uint32_t i,
    bool *here)
{
	char uid[IMG_UID_MAX + 1];
	struct key16 name;

	ref_text(r, 2 * i + 1, uid);
	held_name(g, &r->sink, slice_str(uid), &name);
	return held_live(g->o.store, t, &name, here);
}

/* --- the report's dataset, implicit VR little endian --- */

static void
put_tag(struct buf *b, uint16_t group, uint16_t elem, uint32_t len)
{
	buf_u16(b, group);
	buf_u16(b, elem);
	buf_u32(b, len);
}

static void
put_uid(struct buf *b, uint16_t elem, const char *uid)
{
	size_t n = strlen(uid);

	put_tag(b, 0x0008, elem, (uint32_t)(n + n % 2));
	buf_put(b, uid, n);
	buf_put_zero(b, n % 2);
}

static void
put_item(struct request *r, uint32_t i, bool here, struct buf *b)
{
	char class_uid[IMG_UID_MAX + 1], uid[IMG_UID_MAX + 1];
	struct buf item = BUF_MAX(512);

	ref_text(r, 2 * i, class_uid);
	ref_text(r, 2 * i + 1, uid);
	put_uid(&item, 0x1150, class_uid);
	put_uid(&item, 0x1155, uid);
	if (!here) {
		put_tag(&item, 0x0008, 0x1197, 2);
		buf_u16(&item, REASON_NOT_HERE);
	}
	put_tag(b, 0xFFFE, 0xE000, (uint32_t)item.n);
	buf_put_slice(b, buf_slice(&item));
	if (buf_err(&item) != ERR_OK && b->err == ERR_OK)
		b->err = buf_err(&item);
	buf_fini(&item);
}

/* Those that are here, or those that are not; none: no sequence. */
static enum err
put_sequence(struct request *r, struct ingest *g, struct db_txn *t, bool want,
    struct buf *b)
{
	uint32_t i, n = 0;
	bool here;
	enum err e = ERR_OK;

	for (i = 0; e == ERR_OK && i < r->n; i++) {
		e = ref_here(r, g, t, i, &here);
		if (e != ERR_OK || here != want)
			continue;
		if (n++ == 0)
			put_tag(b, 0x0008, want ? 0x1199 : 0x1198, UINT32_MAX);
		put_item(r, i, here, b);
	}
	if (n > 0)
		put_tag(b, 0xFFFE, 0xE0DD, 0);
	if (want)
		r->here = n;
	return e;
}

/* One look at the store: both sequences are of the same moment. */
static enum err
report_build(struct request *r, struct ingest *g, struct buf *b)
{
	struct db_txn *t;
	enum err e = store_read(g->o.store, &t);

	if (e != ERR_OK)
		return e;
	put_uid(b, 0x1195, r->transaction);
	e = put_sequence(r, g, t, false, b);
	if (e == ERR_OK)
		e = put_sequence(r, g, t, true, b);
	db_abort(t);
	return e == ERR_OK ? buf_err(b) : e;
}

/* --- sending it --- */

static enum err
report_answer(struct imaging *im, struct errmsg *em)
{
	struct img_msg m;
	enum err e = imaging_next(im, FRAME_MS, &m);

	if (e == ERR_OK && m.kind != IMG_ANSWER)
		e = ERR_MALFORMED;
	if (e != ERR_OK)
		return errmsg_set(em, e, "", "the helper ended");
	if (strcmp(m.answer.reason, "ok") != 0)
		return errmsg_set(em, ERR_FOREIGN, "", "%s", m.answer.reason);
	if (m.answer.status != 0)
		return errmsg_set(em, ERR_FOREIGN, "",
		    "the report was answered with %04X", m.answer.status);
	return ERR_OK;
}

static enum err
report_hand(struct imaging *im, struct slice data, struct errmsg *em)
{
	int fd = sealed_new();
	enum err e = fd >= 0 ? sealed_write(fd, data) : ERR_NOMEM;

	if (e == ERR_OK)
		e = sealed_close_writes(fd);
	if (e == ERR_OK)
		e = imaging_send_file(im, fd, data.n);
	if (fd >= 0)
		(void)close(fd);
	return e == ERR_OK ? report_answer(im, em) : e;
}

static enum err
report_send(struct ingest *g, const struct request *r, struct slice data,
    struct errmsg *em)
{
	struct imaging_opts o = { .program = g->o.helper,
		.mode = IMAGING_PULL,
		.called_ae = r->ae,
		.memory_bytes_max = g->o.conf->limits_helper_memory,
		.idle_ms = IDLE_MS };
	struct img_dial d = { .op = IMG_REPORT,
		.event = r->here == r->n ? 1 : 2 };
	struct imaging *im = NULL;
	enum err e = dial_archive(r->to, &o.accepted_fd, em);

	if (e != ERR_OK)
		return e;
	memcpy(d.calling_ae, r->called, sizeof(d.calling_ae));
	memcpy(d.called_ae, r->ae, sizeof(d.called_ae));
	e = imaging_spawn(&o, &im, em);
	(void)close(o.accepted_fd);
	if (e == ERR_OK)
		e = imaging_dial(im, &d);
	if (e == ERR_OK)
		e = report_answer(im, em);
	if (e == ERR_OK)
		e = report_hand(im, data, em);
	imaging_close(im);
	return e;
}

struct done_job {
	const struct key16 *key;
	const struct request *r;
	bool taken;
};

static enum err
done_job(struct store_txn *t, void *ctx)
{
	const struct done_job *j = ctx;
	char what[96];
	enum err e;

	(void)snprintf(what, sizeof(what), "%u of %u here%s", j->r->here,
	    j->r->n, j->taken ? "" : "; the report was not taken");
	e = store_row_del(t, "commit", slice_of(j->key->b, 16));
	if (e == ERR_OK)
		e = cat_audit_append(
		    t, "node", "commitment.report", j->r->ae, what);
	return e;
}

/* true: it is done with. */
static bool
commit_report(struct commits *c, const struct pending *p)
{
	struct request r = { .raw = BUF_MAX(ROW_MAX) };
	struct buf data = BUF_MAX(DATA_MAX);
	struct done_job j = { .key = &p->key, .r = &r };
	struct errmsg em = { 0 };
	struct db_txn *t;
	bool done = false;
	enum err e = store_read(c->g->o.store, &t);

	if (e == ERR_OK) {
		e = store_row_get(
		    c->g->o.store, t, "commit", slice_of(p->key.b, 16), &r.raw);
		db_abort(t);
	}
	if (e == ERR_OK)
		e = request_decode(&r);
	if (e == ERR_OK)
		e = report_build(&r, c->g, &data);
	if (e == ERR_OK)
		e = report_send(c->g, &r, buf_slice(&data), &em);
	j.taken = e == ERR_OK;
	if (j.taken ||
	    (r.asked_ms != 0 && clock_wall_ms() - r.asked_ms > GIVE_UP_MS))
		done = store_write(c->g->o.store, done_job, &j) == ERR_OK;
	if (j.taken)
		log_info("commit", "storage commitment reported",
		    "ae=\"%s\" here=%u of=%u", r.ae, r.here, r.n);
	else
		log_warn("commit", "a report was not taken",
		    "ae=\"%s\" to=%s cause=\"%s\" next=\"%s\"", r.ae, r.to,
		    em.cause[0] != '\0' ? em.cause : err_text(e),
		    done ? "a week has passed: the sender must ask again"
			 : "it is tried again; correct commit of its inbox");
	buf_fini(&data);
	request_fini(&r);
	return done;
}

/* --- the thread --- */

/* One that is due, or false.  Its place may move meanwhile: by key later. */
static bool
pending_due(struct commits *c, struct pending *out)
{
	uint64_t now = clock_mono_ms();
	uint32_t i;

	for (i = 0; i < c->n; i++) {
		if (c->p[i].next_ms <= now) {
			*out = c->p[i];
			return true;
		}
	}
	return false;
}

static void
pending_settle(struct commits *c, const struct pending *p, bool done)
{
	uint64_t wait = RETRY_MS << (p->tries < 8 ? p->tries : 8);
	uint32_t i;

	for (i = 0; i < c->n; i++) {
		if (memcmp(&c->p[i].key, &p->key, sizeof(p->key)) != 0)
			continue;
		if (done) {
			c->p[i] = c->p[--c->n];
			return;
		}
		c->p[i].tries++;
		c->p[i].next_ms = clock_mono_ms() +
				  (wait < RETRY_MS_MAX ? wait : RETRY_MS_MAX);
	}
}

static void *
commits_main(void *arg)
{
	struct commits *c = arg;
	struct pending p;
	struct timespec t;
	bool done;

	pthread_mutex_lock(&c->mu);
	while (!c->stopping) {
		if (pending_due(c, &p)) {
			pthread_mutex_unlock(&c->mu);
			done = commit_report(c, &p);
			pthread_mutex_lock(&c->mu);
			pending_settle(c, &p, done);
			continue;
		}
		(void)clock_gettime(CLOCK_MONOTONIC, &t);
		t.tv_sec += LOOK_S;
		(void)pthread_cond_timedwait(&c->wake, &c->mu, &t);
	}
	pthread_mutex_unlock(&c->mu);
	return NULL;
}

static int
commits_row(void *ctx, struct slice key, struct slice value)
{
	struct commits *c = ctx;

	(void)value;
	if (key.n != 16)
		return ERR_CORRUPT;
	if (c->n == PENDING_MAX)
		return 1; /* these first; the others at the next start */
	memcpy(c->p[c->n++].key.b, key.p, 16);
	return 0;
}

static bool
commits_wanted(const struct conf *conf)
{
	bool any = false;
	uint32_t i;

	for (i = 0; i < conf->n_inboxes; i++) {
		if (conf->inboxes[i].commit[0] == '\0')
			continue;
		log_warn("commit", "storage commitment is on",
		    "ae=\"%s\" note=\"the sender may delete its only copy "
		    "once this node says that it has it\"",
		    conf->inboxes[i].calling_ae);
		any = true;
	}
	return any;
}

static void
commits_free(struct commits *c)
{
	(void)pthread_cond_destroy(&c->wake);
	(void)pthread_mutex_destroy(&c->mu);
	mem_free(c);
}

enum err
commits_start(struct ingest *g, struct errmsg *em)
{
	bool wanted = commits_wanted(g->o.conf);
	struct commits *c = mem_new(sizeof(*c));
	pthread_condattr_t mono;
	struct db_txn *t;
	enum err e;

	if (c == NULL)
		return errmsg_set(em, ERR_NOMEM, "", "out of memory");
	c->g = g;
	(void)pthread_mutex_init(&c->mu, NULL);
	(void)pthread_condattr_init(&mono);
	(void)pthread_condattr_setclock(&mono, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&c->wake, &mono);
	(void)pthread_condattr_destroy(&mono);
	e = store_read(g->o.store, &t);
	if (e == ERR_OK) {
		e = store_row_each(g->o.store, t, "commit", (struct slice){ 0 },
		    commits_row, c);
		db_abort(t);
	}
	if (e != ERR_OK)
		(void)errmsg_set(em, e, "run `pesscara verify --deep`",
		    "requests for commitment cannot be read");
	else if (wanted || c->n > 0) {
		if (pthread_create(&c->thread, NULL, commits_main, c) == 0) {
			g->commits = c;
			return ERR_OK;
		}
		e = errmsg_set(em, ERR_NOMEM, "", "no thread left");
	}
	commits_free(c);
	return e;
}

bool
commits_stop(struct ingest *g, const struct timespec *until)
{
	struct commits *c = g->commits;

	if (c == NULL)
		return true;
	pthread_mutex_lock(&c->mu);
	c->stopping = true;
	pthread_cond_broadcast(&c->wake);
	pthread_mutex_unlock(&c->mu);
	if (pthread_timedjoin_np(c->thread, NULL, until) != 0)
		return false; /* it still waits for a sender */
	commits_free(c);
	g->commits = NULL;
	return true;
}
