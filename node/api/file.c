/* node/api/file.c: the files of an asset, out of the store.
 *
 * Happy path: a list of what would be written (asset, number, name, bytes),
 * then each file's bytes by number, checked against their hash by the content
 * reader while they stream, followed by their SHA-256 in a trailer.  An asset
 * without content of its own (exam, subject) stands for the series below it.
 * Failure in mid-stream cuts the answer, so a client never takes a part for
 * the whole.  For its own machine the node writes files itself, on all cores:
 * a row for each; one that cannot be read has {error, cause, next} in its
 * row and the others go on. */
#include "node/api/api_internal.h"

#include "store/base/clock.h"
#include "store/base/enc.h"
#include "store/base/mem.h"
#include "store/base/num.h"

enum err
api_files_as(struct api_call *c, const char *as, enum workdir_as *out)
{
	*out = WORKDIR_ORIGINAL;
	if (as == NULL || strcmp(as, "original") == 0)
		return ERR_OK;
	if (strcmp(as, "dicom") == 0)
		*out = WORKDIR_DICOM;
	else if (strcmp(as, "nifti") == 0)
		*out = WORKDIR_NIFTI;
	else
		return errmsg_set(&c->em, ERR_UNSUPPORTED,
		    "One of: original dicom nifti",
		    "files cannot be had as \"%.16s\"", as);
	return ERR_OK;
}

/* Takes the kept table if it is this version's; it belongs to the caller
 * until slot_put(). */
static struct content *
slot_take(struct api *a, const struct cry_id *op)
{
	struct content *k = NULL;

	(void)pthread_mutex_lock(&a->mu);
	if (a->slot.content != NULL &&
	    memcmp(&a->slot.op, op, sizeof(*op)) == 0) {
		k = a->slot.content;
		a->slot.content = NULL;
	}
	(void)pthread_mutex_unlock(&a->mu);
	return k;
}

/* Keeps k (NULL ok) in place of what was kept. */
static void
slot_put(struct api *a, const struct cry_id *op, struct content *k)
{
	struct content *old;

	if (k == NULL)
		return;
	(void)pthread_mutex_lock(&a->mu);
	old = a->slot.content;
	a->slot.content = k;
	a->slot.op = *op;
	(void)pthread_mutex_unlock(&a->mu);
	content_close(old);
}

/* Head and content table of an asset, in a transaction of its own.  The table
 * goes back by slot_put(&a->head.op_id). */
static enum err
content_absent(struct api_call *c)
{
	return errmsg_set(&c->em, ERR_NOTFOUND,
	    "Fetch it: pesscara subscribe SHARE --content all",
	    "the content of this asset is not on this node");
}

static enum err
files_open(struct api_call *c, const struct asset_id *id, struct cat_asset *a,
    struct content **out)
{
	struct store *s = c->a->o.store;
	struct buf manifest = BUF_MAX(LIM_PIECE_BYTES);
	struct db_txn *t = NULL;
	enum err e = store_read(s, &t);

	if (e != ERR_OK)
		return e;
	e = cat_asset_get(s, t, id, a);
	if (e == ERR_OK && a->n_versions == 0)
		e = ERR_NOTFOUND;
	if (e == ERR_OK)
		*out = slot_take(c->a, &a->head.op_id);
	if (e == ERR_OK && *out == NULL)
		e = cat_manifest(s, t, id, &manifest);
	db_abort(t);
	if (e == ERR_OK && *out == NULL)
		e = content_open(s, buf_slice(&manifest), out);
	if (e == ERR_NOTFOUND)
		e = content_absent(c);
	buf_fini(&manifest);
	return e;
}

static void
files_row(struct api_rows *rows, const struct asset_id *id,
    const struct content *k, uint32_t i)
{
	struct content_member m = { 0 };
	struct jw *w = api_row(rows);

	content_member(k, i, &m);
	api_jw_asset(w, "asset", id);
	jw_u64(w, "n", i);
	jw_str(w, "name", m.name);
	jw_u64(w, "bytes", m.len);
	api_jw_id32(w, "hash", m.hash.b);
	api_row_end(rows);
}

static enum err
files_list_one(
    struct api_call *c, struct api_rows *rows, const struct asset_id *id)
{
	struct cat_asset *a = mem_new(sizeof(*a));
	struct content *k = NULL;
	uint32_t i, first = 0, end;
	enum err e;

	if (a == NULL)
		return ERR_NOMEM;
	e = files_open(c, id, a, &k);
	if (e != ERR_OK)
		goto out;
	end = content_n(k);
	if (a->is_member) {
		first = a->member;
		end = first < end ? first + 1 : first;
	}
	for (i = first; i < end; i++)
		files_row(rows, id, k, i);
	e = api_rows_flush(rows);
out:
	slot_put(c->a, &a->head.op_id, k);
	mem_free(a);
	return e;
}

enum err
api_h_files(struct api_call *c)
{
	struct store *s = c->a->o.store;
	struct workdir_ids ids = { .n = 0 };
	struct db_txn *t = NULL;
	struct api_rows rows;
	enum workdir_as as;
	struct asset_id id;
	uint32_t i;
	enum err e = api_files_as(c, api_arg(c, "as"), &as);

	if (e != ERR_OK || (e = store_read(s, &t)) != ERR_OK)
		return e;
	e = api_resolve(c, t, c->param[0], &id);
	if (e == ERR_OK)
		e = workdir_collect(s, t, &id, as, &ids, &c->em);
	db_abort(t);
	api_rows_init(&rows, c, API_LIST_BYTES);
	if (e == ERR_OK && ids.n == 0)
		e = errmsg_set(&c->em, ERR_NOTFOUND, "See: pesscara show ASSET",
		    "this asset has no files of that kind");
	for (i = 0; i < ids.n && e == ERR_OK; i++)
		e = files_list_one(c, &rows, &ids.id[i]);
	if (e == ERR_OK)
		e = api_rows_flush(&rows);
	api_rows_fini(&rows);
	workdir_ids_fini(&ids);
	return e;
}

/* --- one file --- */
struct file_out {
	struct api_call *c;
	bool want_sha;
	struct cry_sha256_hasher sha;
};

static enum err
file_part(void *ctx, struct slice part)
{
	struct file_out *o = ctx;
	enum err e = api_begin(o->c, API_BYTES);

	if (e != ERR_OK)
		return e;
	if (o->want_sha)
		cry_sha256_add(&o->sha, part);
	return o->c->out->write(o->c->out->ctx, part);
}

struct sha_row {
	struct cry_id op;
	uint8_t sha[32];
};

static enum err
file_sha_job(struct store_txn *t, void *ctx)
{
	const struct sha_row *r = ctx;

	return store_row_put(t, API_SHA_TAG, slice_of(r->op.b, sizeof(r->op.b)),
	    slice_of(r->sha, 32));
}

/* rulings.md 6: a version of one file has its SHA-256 once it was exported.
 * Keeping it may fail (disk full); the export stands all the same. */
static void
file_sha_keep(
    struct api_call *c, const struct cry_id *version, const uint8_t sha[32])
{
	struct store *s = c->a->o.store;
	struct sha_row r = { .op = *version };
	struct buf b = BUF_MAX(64);
	struct db_txn *t = NULL;
	enum err e;

	if (store_read(s, &t) != ERR_OK)
		return;
	e = store_row_get(s, t, API_SHA_TAG, slice_of(r.op.b, 32), &b);
	db_abort(t);
	buf_fini(&b);
	if (e != ERR_NOTFOUND)
		return;
	memcpy(r.sha, sha, 32);
	(void)!store_write(s, file_sha_job, &r);
}

static enum err
sum_unknown(struct api_call *c, const char *sum)
{
	return errmsg_set(&c->em, ERR_UNSUPPORTED, "One of: sha256 blake2b",
	    "there is no sum \"%.16s\"", sum);
}

/* What follows the bytes: their SHA-256, or the BLAKE2b-256 that the store
 * checked them against, which costs nothing more. */
static enum err
file_sum(struct api_call *c, bool *want_sha)
{
	const char *sum = api_arg(c, "sum");

	*want_sha = sum == NULL || strcmp(sum, "sha256") == 0;
	if (*want_sha || strcmp(sum, "blake2b") == 0)
		return ERR_OK;
	return sum_unknown(c, sum);
}

static enum err
file_send(struct api_call *c, const struct cat_asset *a, struct content *k,
    uint32_t n)
{
	struct file_out o = { .c = c };
	struct content_member m = { 0 };
	uint8_t sha[32];
	char hex[65];
	enum err e = file_sum(c, &o.want_sha);

	if (e != ERR_OK)
		return e;
	cry_sha256_init(&o.sha);
	e = content_stream(k, n, file_part, &o);
	if (e == ERR_NOTFOUND) /* let go since its table was read */
		return content_absent(c);
	if (e == ERR_OK)
		e = api_begin(c, API_BYTES); /* a file may be empty */
	if (e != ERR_OK)
		return e;
	if (!o.want_sha) {
		content_member(k, n, &m);
		enc_hex(slice_of(m.hash.b, 32), hex);
		c->out->trailer(c->out->ctx, "X-Blake2b", hex);
		return ERR_OK;
	}
	cry_sha256_end(&o.sha, sha);
	enc_hex(slice_of(sha, 32), hex);
	c->out->trailer(c->out->ctx, "X-Sha256", hex);
	if (!a->is_member && a->head.members == 1)
		file_sha_keep(c, &a->head.op_id, sha);
	return ERR_OK;
}

enum err
api_h_file(struct api_call *c)
{
	struct cat_asset *a = mem_new(sizeof(*a));
	struct content *k = NULL;
	struct db_txn *t = NULL;
	struct asset_id id;
	uint64_t n = 0;
	enum err e;

	if (a == NULL)
		return ERR_NOMEM;
	if (num_u64(slice_str(c->param[1]), 0, UINT32_MAX, &n) != ERR_OK) {
		e = errmsg_set(&c->em, ERR_MALFORMED, "Give a number.",
		    "files are numbered from 0");
		goto out;
	}
	if ((e = store_read(c->a->o.store, &t)) != ERR_OK)
		goto out;
	e = api_resolve(c, t, c->param[0], &id);
	db_abort(t);
	if (e == ERR_OK)
		e = api_fetch(c, &id);
	if (e == ERR_OK)
		e = files_open(c, &id, a, &k);
	if (e == ERR_OK &&
	    (n >= content_n(k) || (a->is_member && n != a->member)))
		e = errmsg_set(&c->em, ERR_NOTFOUND, "See its /files.",
		    "this asset has no file of that number");
	if (e == ERR_OK)
		e = file_send(c, a, k, (uint32_t)n);
out:
	slot_put(c->a, &a->head.op_id, k);
	mem_free(a);
	return e;
}

/* --- into a directory of this machine --- */
#define GET_TELL_MS 100u
struct get_run {
	struct api_call *c;
	struct api_rows rows;
	const char *dir;
	uint64_t files, bytes, failed;
	uint64_t told_ms; /* when rows went out last */
	bool unfetched;   /* c->em says why content did not come */
	enum err e;       /* why rows could not be written */
};

/* What a person does about it; never what the bytes are. */
static void
got_error(struct get_run *r, const struct workdir_got *f, struct jw *w)
{
	bool absent = f->err == ERR_NOTFOUND;
	char cause[400];

	(void)snprintf(cause, sizeof(cause), "%.60s%s%.140s: %s", f->folder,
	    f->name != NULL ? "/" : "", f->name != NULL ? f->name : "",
	    absent ? "the content is not on this node" : err_text(f->err));
	jw_str(w, "error", err_text(f->err));
	if (absent && r->unfetched) {
		jw_str(w, "cause", r->c->em.cause);
		jw_str(w, "next", r->c->em.next);
	} else {
		jw_str(w, "cause", cause);
		jw_str(w, "next",
		    absent ? "Fetch it: pesscara subscribe SHARE --content all"
			   : "See: pesscara verify --deep; then: pesscara "
			     "repair");
	}
	r->failed++;
}

static void
got_path(struct get_run *r, const struct workdir_got *f, struct jw *w)
{
	struct buf path = BUF_MAX(16 * KIB);
	bool root = strcmp(r->dir, "/") == 0;

	buf_printf(&path, "%s/%s", root ? "" : r->dir, f->folder);
	if (f->name != NULL)
		buf_printf(&path, "/%s", f->name);
	jw_str(w, "path", buf_cstr(&path));
	buf_fini(&path);
}

static int
got_row(void *ctx, const struct workdir_got *f)
{
	struct get_run *r = ctx;
	struct jw *w = api_row(&r->rows);

	api_jw_asset(w, "asset", &f->id);
	got_path(r, f, w);
	if (f->err != ERR_OK) {
		got_error(r, f, w);
	} else {
		r->files++;
		r->bytes += f->bytes;
		jw_u64(w, "bytes", f->bytes);
		if (f->sha256 != NULL)
			api_jw_id32(w, "sha256", f->sha256);
		else
			api_jw_id32(w, "hash", f->hash.b);
	}
	api_row_end(&r->rows);
	/* A packet a file costs as much as writing a small one. */
	if (clock_mono_ms() - r->told_ms >= GET_TELL_MS) {
		r->e = api_rows_flush(&r->rows);
		r->told_ms = clock_mono_ms();
	}
	if (f->err == ERR_OK && f->sha256 != NULL && f->alone)
		file_sha_keep(r->c, &f->version, f->sha256);
	return r->e == ERR_OK ? 0 : 1;
}

static enum err
get_ids(struct api_call *c, enum workdir_as as, struct workdir_ids *ids)
{
	const struct json *list = json_get(c->body, "what");
	size_t i, n = json_len(list);
	struct db_txn *t = NULL;
	enum err e;

	if (!json_is_array(list) || n == 0)
		return errmsg_set(&c->em, ERR_MALFORMED, "Name assets.",
		    "what must be a list of asset ids");
	e = store_read(c->a->o.store, &t);
	for (i = 0; e == ERR_OK && i < n; i++) {
		const char *text = json_str(json_at(list, i));
		uint32_t before = ids->n;
		struct asset_id id;

		e = text == NULL ? ERR_MALFORMED : api_resolve(c, t, text, &id);
		if (e == ERR_OK)
			e = workdir_collect(
			    c->a->o.store, t, &id, as, ids, &c->em);
		if (e == ERR_OK && ids->n == before)
			e = errmsg_set(&c->em, ERR_NOTFOUND,
			    "See: pesscara show ASSET",
			    "this asset has no files of that kind");
	}
	db_abort(t);
	workdir_ids_unique(ids);
	return e;
}

static enum err
get_opts(struct api_call *c, struct workdir_get_opts *o, enum workdir_as *as)
{
	static const char *const keys[] = { "s:dir", "l:what", "s:as", "s:sum",
		"i:umask", NULL };
	const char *sum;
	enum err e;

	if ((e = api_body(c)) != ERR_OK || (e = api_only(c, keys)) != ERR_OK ||
	    (e = api_need(c, "dir", &o->dir)) != ERR_OK ||
	    (e = api_files_as(c, json_get_str(c->body, "as", NULL), as)) !=
		ERR_OK)
		return e;
	sum = json_get_str(c->body, "sum", "blake2b");
	o->sha256 = strcmp(sum, "sha256") == 0;
	o->umask = (unsigned)json_get_int(c->body, "umask", 077) & 0777u;
	if (o->sha256 || strcmp(sum, "blake2b") == 0)
		return ERR_OK;
	return sum_unknown(c, sum);
}

/* After the first that did not come the others are not waited for: each
 * file that is not here says so with its row. */
static void
get_fetch(struct get_run *r, const struct workdir_ids *ids)
{
	uint32_t i;

	for (i = 0; i < ids->n && !r->unfetched; i++)
		r->unfetched = api_fetch(r->c, &ids->id[i]) != ERR_OK;
}

enum err
api_h_get(struct api_call *c)
{
	struct workdir_env env = { .store = c->a->o.store };
	struct workdir_ids ids = { .n = 0 };
	struct workdir_get_opts o = { .ids = &ids };
	struct get_run r = { .c = c };
	struct workdir_get_fns fns = { got_row, &r };
	enum workdir_as as;
	struct jw *w;
	enum err e = get_opts(c, &o, &as);

	if (e == ERR_OK)
		e = get_ids(c, as, &ids);
	r.dir = o.dir;
	api_rows_init(&r.rows, c, API_ROW_BYTES);
	if (e == ERR_OK) {
		get_fetch(&r, &ids);
		e = workdir_get(&env, &o, &fns, &c->em);
	}
	if (r.e != ERR_OK)
		e = r.e;
	else if (e != ERR_OK && r.told_ms > 0)
		(void)!api_rows_flush(&r.rows); /* what was written */
	if (e == ERR_OK) {
		w = api_row(&r.rows);
		jw_obj(w, "summary");
		jw_u64(w, "files", r.files);
		jw_u64(w, "bytes", r.bytes);
		jw_u64(w, "failed", r.failed);
		jw_end(w);
		api_row_end(&r.rows);
		e = api_rows_flush(&r.rows);
	}
	api_rows_fini(&r.rows);
	workdir_ids_fini(&ids);
	return e;
}
