/* node/workflow/convert.c: the built-in step `convert`: a DICOM series in,
 * NIfTI out.
 *
 * The series' files go to a confined helper; what it returns becomes a
 * derived asset (level nifti) in the compartment of its source, with
 * provenance.  Chunks, op, run row and event are one job. */
#include "node/workflow/workflow_internal.h"
#include "store/base/clock.h"
#include "store/base/enc.h"
#include "store/base/mem.h"

/* Files of a series are handed over in memory; a larger one is refused. */
#define CONVERT_BYTES_MAX (2 * GIB)
#define CONVERT_WAIT_MS 600000u
#define CONVERT_PATH_MAX 4u

struct path_node {
	char level[CAT_LEVEL_MAX + 1];
	char key[CAT_KEY_MAX + 1];
};

struct convert {
	struct workflows *w;
	struct wf_run *r;
	struct cat_asset source;
	struct wf_def def;
	struct content *content;
	struct slice *files;
	struct buf *bufs;
	uint32_t n;
	struct imaging *im;
	struct img_msg msg;
	struct blob_batch *batch;
	struct content_writer *writer;
	struct content_done done;
	struct path_node up[CONVERT_PATH_MAX]; /* top first */
	uint32_t n_up;
	char key[CAT_KEY_MAX + 1];
	char actor[96];
	struct buf provenance;
};

static enum err
convert_why(struct convert *c, enum err e, const char *why)
{
	(void)snprintf(c->r->reason, sizeof(c->r->reason), "%s", why);
	return e;
}

/* The assets above the source, so that the result hangs at the same place. */
static enum err
convert_path(struct convert *c, struct db_txn *t)
{
	static const struct asset_id none;
	struct cat_asset *a = mem_new(sizeof(*a));
	struct path_node tmp[CONVERT_PATH_MAX];
	struct asset_id at = c->source.id;
	uint32_t n = 0, i;
	enum err e = a == NULL ? ERR_NOMEM : ERR_OK;

	while (e == ERR_OK && memcmp(&at, &none, sizeof(none)) != 0 &&
	       n < CONVERT_PATH_MAX) {
		e = cat_asset_get(c->w->o.store, t, &at, a);
		if (e != ERR_OK)
			break;
		memcpy(tmp[n].level, a->level, sizeof(tmp[n].level));
		memcpy(tmp[n].key, a->key, sizeof(tmp[n].key));
		n++;
		at = a->parent;
	}
	mem_free(a);
	for (i = 0; e == ERR_OK && i < n; i++)
		c->up[i] = tmp[n - 1 - i];
	c->n_up = n;
	return e;
}

struct def_find {
	struct wf_key key;
	struct wf_def *out;
	enum err err;
};

static int
def_row(void *ctx, struct slice key, struct slice value)
{
	struct def_find *f = ctx;

	f->err = wf_def_decode(key, value, f->out);
	return 1;
}

static enum err
convert_load(struct convert *c)
{
	struct def_find f = { c->r->def, &c->def, ERR_NOTFOUND };
	struct buf manifest = BUF_MAX(2 * MIB);
	struct db_txn *t;
	enum err e = store_read(c->w->o.store, &t);

	if (e != ERR_OK)
		return e;
	e = cat_asset_get(c->w->o.store, t, &c->r->input, &c->source);
	if (e == ERR_OK)
		e = store_row_each(c->w->o.store, t, "wf",
		    slice_of(c->r->def.b, 16), def_row, &f);
	if (e == ERR_OK)
		e = f.err;
	if (e == ERR_OK)
		e = convert_path(c, t);
	if (e == ERR_OK)
		e = cat_manifest(c->w->o.store, t, &c->r->input, &manifest);
	db_abort(t);
	if (e == ERR_OK)
		e = content_open(
		    c->w->o.store, buf_slice(&manifest), &c->content);
	buf_fini(&manifest);
	return e;
}

static enum err
convert_read(struct convert *c)
{
	struct content_member m;
	uint64_t total = 0;
	uint32_t i;
	enum err e = ERR_OK;

	c->n = content_n(c->content);
	if (c->n == 0)
		return convert_why(c, ERR_UNSUPPORTED, "the series is empty");
	c->files = mem_array(c->n, sizeof(*c->files));
	c->bufs = mem_array(c->n, sizeof(*c->bufs));
	if (c->files == NULL || c->bufs == NULL)
		return ERR_NOMEM;
	for (i = 0; e == ERR_OK && i < c->n; i++) {
		content_member(c->content, i, &m);
		total += m.len;
		if (m.len > CONVERT_BYTES_MAX || total > CONVERT_BYTES_MAX)
			return convert_why(c, ERR_UNSUPPORTED,
			    "the series is larger than 2 GiB");
		c->bufs[i] = BUF_MAX(m.len + 1);
		e = content_read(c->content, i, &c->bufs[i]);
		c->files[i] = buf_slice(&c->bufs[i]);
	}
	return e;
}

/* A stop must not wait for a long conversion: workflows_stop() kills the
 * helper that is named here. */
static bool
convert_watch(struct convert *c, int pid)
{
	bool stopping;

	pthread_mutex_lock(&c->w->mu);
	c->w->helper = pid;
	stopping = c->w->stopping;
	pthread_mutex_unlock(&c->w->mu);
	return stopping;
}

static enum err
convert_ask(struct convert *c)
{
	enum err e = ERR_CANCELLED;

	if (!convert_watch(c, imaging_pid(c->im)))
		e = imaging_send_series(c->im, c->files, c->n);
	if (e == ERR_OK)
		e = imaging_next(c->im, CONVERT_WAIT_MS, &c->msg);
	return convert_watch(c, 0) ? ERR_CANCELLED : e;
}

static enum err
convert_run(struct convert *c)
{
	struct imaging_opts o = {
		.program = c->w->o.helper,
		.mode = IMAGING_CONVERT,
		.accepted_fd = -1,
		.called_ae = "PESSCARA",
		.memory_bytes_max = 8 * GIB,
		.idle_ms = CONVERT_WAIT_MS,
	};
	enum err e = imaging_spawn(&o, &c->im, NULL);

	if (e == ERR_OK)
		e = convert_ask(c);
	if (e == ERR_FOREIGN)
		return convert_why(c, e, "the converter died");
	if (e != ERR_OK)
		return e;
	if (c->msg.kind != IMG_RESULT)
		return ERR_MALFORMED;
	if (!c->msg.result.ok)
		return convert_why(c, ERR_UNSUPPORTED, c->msg.result.reason);
	return c->msg.result.n_files > 0 ? ERR_OK : ERR_MALFORMED;
}

static enum err
convert_content(struct convert *c)
{
	const struct img_result *res = &c->msg.result;
	struct buf body = BUF_MAX(2 * MIB);
	uint32_t i;
	enum err e = ERR_OK;

	c->batch = blob_batch_new(c->w->o.store);
	c->writer = c->batch ? content_writer_new(c->batch) : NULL;
	if (c->writer == NULL)
		return ERR_NOMEM;
	for (i = 0; e == ERR_OK && i < res->n_files; i++) {
		struct content_add add = { .name = res->files[i].name,
			.len = res->files[i].bytes.n };

		buf_reset(&body);
		cry_hash(res->files[i].bytes, &add.hash);
		e = blob_batch_add(
		    c->batch, res->files[i].bytes, NULL, 0, &body);
		add.body = buf_slice(&body);
		if (e == ERR_OK)
			e = content_writer_add(c->writer, &add);
	}
	buf_fini(&body);
	return e == ERR_OK ? content_writer_end(c->writer, &c->done) : e;
}

static enum err
convert_provenance(struct convert *c)
{
	struct buf *b = &c->provenance;
	char source[ASSET_ID_TEXT + 1];

	enc_b32(slice_of(c->source.id.b, 20), source);
	mp_w_map(b, 7);
	mp_kv_cstr(b, "act", "convert");
	mp_kv_cstr(b, "workflow", c->def.name);
	mp_kv_bin(b, "definition", slice_of(c->def.hash.b, 32));
	mp_kv_cstr(b, "step", c->def.step);
	mp_kv_u64(b, "run", c->r->no);
	mp_kv_array(b, "inputs", 1);
	mp_w_map(b, 3);
	mp_kv_cstr(b, "asset", source);
	/* What was read: a later version than the one that started the run,
	 * if that came meanwhile. */
	mp_kv_bin(b, "version", slice_of(c->source.head.op_id.b, 32));
	mp_kv_bin(b, "hash", slice_of(c->source.head.hash.b, 32));
	mp_kv_cstr(b, "software", "pesscara " PSC_VERSION);
	(void)snprintf(c->key, sizeof(c->key), "%s/%s/%s", source, c->def.name,
	    c->def.step);
	(void)snprintf(c->actor, sizeof(c->actor), "workflow@%s", c->w->o.site);
	return buf_err(b);
}

/* The version this one replaces, if the asset exists. */
static enum err
convert_parent(struct store_txn *t, const struct convert *c,
    struct cry_id *parent, bool *has)
{
	struct cat_asset *a = mem_new(sizeof(*a));
	struct asset_id id;
	enum err e;

	*has = false;
	if (a == NULL)
		return ERR_NOMEM;
	cat_asset_id(
	    &c->source.share, c->source.compartment, "nifti", c->key, &id);
	e = cat_asset_get(store_txn_store(t), store_txn_db(t), &id, a);
	if (e == ERR_OK) {
		*parent = a->head.op_id;
		*has = true;
	}
	mem_free(a);
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

static enum err
convert_append(struct store_txn *t, struct convert *c)
{
	struct cat_node path[CONVERT_PATH_MAX + 1];
	static const uint8_t empty_map = 0x80;
	struct cry_id parent;
	bool has_parent;
	uint32_t i;
	enum err e = convert_parent(t, c, &parent, &has_parent);

	if (e != ERR_OK)
		return e;
	for (i = 0; i < c->n_up; i++)
		path[i] = (struct cat_node){ c->up[i].level, c->up[i].key,
			slice_of(&empty_map, 1) };
	path[i] = (struct cat_node){ "nifti", c->key,
		c->msg.result.fields.n > 0 ? c->msg.result.fields
					   : slice_of(&empty_map, 1) };
	return shares_append_put(t, c->w->o.shares, c->source.share_no,
	    c->source.compartment,
	    &(struct cat_put){
		.path = path,
		.n_path = c->n_up + 1,
		.derived = true,
		.source = c->source.id,
		.manifest = buf_slice(&c->done.manifest),
		.hash = c->done.hash,
		.bytes = c->done.bytes,
		.members = c->done.members,
		.actor = c->actor,
		.site = c->w->o.site,
		.parents = &parent,
		.n_parents = has_parent ? 1 : 0,
		.provenance = buf_slice(&c->provenance),
	    },
	    buf_slice(&c->done.packing), &c->r->output);
}

static enum err
convert_job(struct store_txn *t, void *ctx)
{
	struct convert *c = ctx;
	struct cat_event ev = { .type = "run.done",
		.has_asset = true,
		.wall_ms = clock_wall_ms() };
	uint8_t key[8];
	enum err e;

	if ((e = blob_batch_put(t, c->batch)) != ERR_OK)
		return e;
	if ((e = convert_append(t, c)) != ERR_OK)
		return e;
	(void)snprintf(c->r->state, sizeof(c->r->state), "done");
	c->r->reason[0] = '\0';
	c->r->ended_ms = clock_wall_ms();
	wf_no_key(c->r->no, key);
	if ((e = wf_run_put(t, c->r)) != ERR_OK)
		return e;
	if ((e = store_row_del(t, "runq", slice_of(key, 8))) != ERR_OK)
		return e;
	ev.asset = c->r->output;
	ev.share = c->source.share;
	ev.compartment = c->source.compartment;
	(void)snprintf(ev.detail, sizeof(ev.detail), "%s", c->r->workflow);
	return cat_event_append(t, &ev);
}

static void
convert_free(struct convert *c)
{
	uint32_t i;

	imaging_close(c->im);
	content_done_fini(&c->done);
	content_writer_free(c->writer);
	blob_batch_free(c->batch);
	content_close(c->content);
	for (i = 0; c->bufs != NULL && i < c->n; i++)
		buf_fini(&c->bufs[i]);
	mem_free(c->bufs);
	mem_free(c->files);
	buf_fini(&c->provenance);
	mem_free(c);
}

enum err
wf_convert(struct workflows *w, struct wf_run *r)
{
	struct convert *c = mem_new(sizeof(*c));
	enum err e;

	if (c == NULL)
		return ERR_NOMEM;
	c->w = w;
	c->r = r;
	c->provenance = BUF_MAX(8 * KIB);
	e = convert_load(c);
	if (e == ERR_OK)
		e = convert_read(c);
	if (e == ERR_OK)
		e = convert_run(c);
	if (e == ERR_OK)
		e = convert_content(c);
	if (e == ERR_OK)
		e = convert_provenance(c);
	if (e == ERR_OK)
		e = store_write(w->o.store, convert_job, c);
	convert_free(c);
	return e;
}
