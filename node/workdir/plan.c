/* node/workdir/plan.c: from changed files to the versions they become.
 *
 * What was derived gets a new version when its files change, files that are
 * parts of it by name ("a.bval" beside "a.nii.gz") included.  What came is
 * never changed (protocol.md section 4): a changed or added file there becomes
 * a derived asset of it, one for each thing ("seg.nii.gz" and "seg.json" are
 * one), DICOM files all in one.  Which is which says the store, not the
 * manifest.
 * Failure modes: an asset or version this node does not know, a file that
 * cannot be read whole, a file of no asset: named, and nothing is checked
 * in.  Links, devices and folders are left out, and said. */
#include "node/workdir/checkin.h"

#include <strings.h>

#include "store/base/enc.h"
#include "store/base/mem.h"

/* --- what the store says --- */

struct find_version {
	const struct cry_id *op;
	struct ci_base *out;
};

static int
find_version(void *ctx, const struct cat_version *v)
{
	struct find_version *f = ctx;

	if (memcmp(&v->op_id, f->op, sizeof(*f->op)) != 0)
		return 0;
	f->out->v = *v;
	f->out->known = true;
	return 1;
}

static enum err
base_load(struct checkin *k, struct db_txn *t, uint32_t i)
{
	struct ci_base *b = k->base[i] = mem_new(sizeof(*b));
	struct find_version f = { &k->m.a[i].version, b };
	enum err e;

	if (b == NULL)
		return ERR_NOMEM;
	e = cat_asset_get(k->env->store, t, &k->m.a[i].id, &b->a);
	if (e == ERR_OK)
		e = cat_versions_each(
		    k->env->store, t, &k->m.a[i].id, find_version, &f);
	if (e == ERR_NOTFOUND)
		e = ERR_OK;
	k->m.a[i].derived = b->known && b->v.derived;
	return e;
}

static enum err
base_source(struct checkin *k, struct db_txn *t)
{
	struct ci_base *b = k->base[k->n_base] = mem_new(sizeof(*b));
	struct asset_id id;
	enum err e;

	if (b == NULL)
		return ERR_NOMEM;
	if (k->o->source == NULL)
		return ERR_OK;
	e = cat_asset_resolve(t, slice_str(k->o->source), &id);
	if (e == ERR_OK)
		e = cat_asset_get(k->env->store, t, &id, &b->a);
	if (e == ERR_OK && b->a.n_versions == 0)
		e = ERR_NOTFOUND;
	if (e == ERR_NOTFOUND || e == ERR_LIMIT)
		return errmsg_set(k->em, e, "Find it with: pesscara find QUERY",
		    "--source %.40s: %s", k->o->source,
		    e == ERR_LIMIT ? "several assets begin so"
				   : "no asset with content has this id");
	b->v = b->a.head;
	b->known = e == ERR_OK;
	return e;
}

static enum err
plan_bases(struct checkin *k)
{
	struct db_txn *t = NULL;
	uint32_t i;
	enum err e;

	k->base = mem_array((size_t)k->m.n + 1, sizeof(struct ci_base *));
	if (k->base == NULL)
		return ERR_NOMEM;
	k->n_base = k->m.n;
	for (i = 0; i < k->m.n; i++) {
		if ((e = store_read(k->env->store, &t)) != ERR_OK)
			return e;
		e = base_load(k, t, i);
		db_abort(t);
		if (e != ERR_OK)
			return e;
	}
	if ((e = store_read(k->env->store, &t)) != ERR_OK)
		return e;
	e = base_source(k, t);
	db_abort(t);
	return e;
}

/* --- what lies in DIR --- */

static enum err
plan_refused(struct checkin *k, const struct wd_found *f)
{
	struct workdir_item it = { .state = f->state,
		.folder = f->folder,
		.name = f->name,
		.why = f->why };

	if (!f->is_file)
		return k->fns->left(k->fns->ctx, &it) == 0 ? ERR_OK
							   : ERR_CANCELLED;
	return errmsg_set(k->em, f->changing ? ERR_AGAIN : ERR_UNSUPPORTED,
	    f->changing ? "Check in again once your program is done."
			: "Rename it or move it away, then check in again.",
	    "%.60s/%.80s: %s", f->folder,
	    content_name_good(f->name) ? f->name : "(a name)", f->why);
}

static enum err
plan_add(struct checkin *k, const struct wd_found *f)
{
	struct ci_file *c;

	if (k->n == CI_FILES_MAX)
		return errmsg_set(k->em, ERR_LIMIT, "Check in fewer at once.",
		    "more than %u files changed", CI_FILES_MAX);
	if (k->n == k->cap) {
		uint32_t cap = k->cap == 0 ? 64 : k->cap * 2;
		void *p = mem_grow(k->f, cap, sizeof(*k->f));

		if (p == NULL)
			return ERR_NOMEM;
		k->f = p;
		k->cap = cap;
	}
	c = &k->f[k->n];
	*c = (struct ci_file){ .state = f->state,
		.asset = f->asset,
		.file = f->file,
		.bytes = f->bytes,
		.hash = f->hash };
	(void)snprintf(c->folder, sizeof(c->folder), "%s", f->folder);
	if ((c->name = mem_strdup(f->name)) == NULL)
		return ERR_NOMEM;
	k->n++;
	if (f->bytes > LIM_OBJECT_BYTES)
		return errmsg_set(k->em, ERR_LIMIT, "Cut it into parts.",
		    "%.80s/%.80s is larger than 2 GiB", f->folder, f->name);
	return ERR_OK;
}

static int
plan_found(void *ctx, const struct wd_found *f)
{
	struct checkin *k = ctx;

	if (f->state == WORKDIR_REFUSED)
		k->walk_err = plan_refused(k, f);
	else if (f->state != WORKDIR_SAME)
		k->walk_err = plan_add(k, f);
	return k->walk_err == ERR_OK ? 0 : 1;
}

/* --- groups --- */

static void
stem_of(const char *name, char out[CONTENT_NAME_MAX + 1])
{
	(void)snprintf(
	    out, CONTENT_NAME_MAX + 1, "%.*s", (int)strcspn(name, "."), name);
}

static bool
ends_with(const char *name, const char *end)
{
	size_t n = strlen(name), m = strlen(end);

	return n >= m && strcasecmp(name + n - m, end) == 0;
}

const char *
ci_level(const char *name)
{
	static const struct {
		const char *end, *level;
	} types[] = { { ".nii", "nifti" }, { ".nii.gz", "nifti" },
		{ ".hdr", "nifti" }, { ".img", "nifti" }, { ".dcm", "dicom" },
		{ ".csv", "table" }, { ".tsv", "table" }, { ".xlsx", "table" },
		{ ".parquet", "table" }, { ".ipynb", "notebook" },
		{ ".pdf", "document" }, { ".txt", "document" },
		{ ".md", "document" }, { ".html", "document" },
		{ ".docx", "document" } };
	static const char *const labels[] = { "seg", "mask", "label", "roi" };
	const char *level = "file";
	size_t i;

	for (i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (ends_with(name, types[i].end))
			level = types[i].level;
	}
	for (i = 0; i < sizeof(labels) / sizeof(labels[0]); i++) {
		if (strcmp(level, "nifti") == 0 &&
		    strcasestr(name, labels[i]) != NULL)
			level = "segmentation";
	}
	return level;
}

/* Does a file change the asset it lies beside, or make one of its own? */
static bool
file_is_part(const struct checkin *k, const struct ci_file *f)
{
	const struct wd_asset *a;
	uint32_t i;

	if (f->asset == WD_NONE)
		return false;
	a = &k->m.a[f->asset];
	if (!a->derived)
		return false;
	if (f->state != WORKDIR_ADDED)
		return true;
	for (i = 0; i < a->n; i++) {
		if (wd_same_stem(a->f[i].name, f->name))
			return true;
	}
	return false;
}

static bool
group_fits(const struct ci_group *g, const struct ci_group *want)
{
	return g->derived == want->derived && g->base == want->base &&
	       strcmp(g->folder, want->folder) == 0 &&
	       (!g->derived || strcmp(g->stem, want->stem) == 0);
}

static enum err
group_of(struct checkin *k, const struct ci_group *want, uint32_t *out)
{
	uint32_t i;

	for (i = k->n_g; i > 0; i--) {
		if (group_fits(&k->g[i - 1], want)) {
			*out = i - 1;
			return ERR_OK;
		}
	}
	if (k->n_g == k->cap_g) {
		uint32_t cap = k->cap_g == 0 ? 8 : k->cap_g * 2;
		void *p = cap > WD_ASSETS_MAX
			      ? NULL
			      : mem_grow(k->g, cap, sizeof(*k->g));

		if (p == NULL)
			return ERR_LIMIT;
		k->g = p;
		k->cap_g = cap;
	}
	k->g[k->n_g] = *want;
	*out = k->n_g++;
	return ERR_OK;
}

static enum err
file_homeless(const struct checkin *k, const struct ci_file *f)
{
	return errmsg_set(k->em, ERR_UNSUPPORTED,
	    "Give --source ASSET, or move it into an asset's folder.",
	    "%.120s belongs to no asset", f->name);
}

/* A file removed from what came is kept there: nothing to do. */
static bool
file_idle(const struct checkin *k, const struct ci_file *f)
{
	return f->state == WORKDIR_REMOVED && !k->m.a[f->asset].derived;
}

static enum err
plan_file(struct checkin *k, struct ci_file *f)
{
	struct ci_group want = { .derived = false };
	const struct ci_base *b;

	f->group = WD_NONE;
	if (file_idle(k, f))
		return ERR_OK;
	if (f->asset == WD_NONE && k->o->source == NULL)
		return file_homeless(k, f);
	want.base = f->asset == WD_NONE ? k->n_base : f->asset;
	b = k->base[want.base];
	if (!b->known)
		return errmsg_set(k->em, ERR_NOTFOUND,
		    "Check out anew and copy your files there.",
		    "%.100s: the manifest names a version that this node does "
		    "not have",
		    f->folder);
	if (!wd_may_write(k->shares, k->n_shares, &b->a, false))
		return errmsg_set(k->em, ERR_DENIED,
		    "Ask for a grant as runner or writer.",
		    "%.100s: this site may read there, but not write",
		    f->folder);
	memcpy(want.folder, f->folder, sizeof(want.folder));
	if (!file_is_part(k, f)) {
		want.derived = true;
		stem_of(f->name, want.stem);
		if (strcmp(ci_level(f->name), "dicom") == 0)
			(void)snprintf(want.stem, sizeof(want.stem), ".dicom");
	}
	return group_of(k, &want, &f->group);
}

/* --- where a version hangs --- */

/* The path down to the asset: only the last may be of a free level. */
static enum err
group_above(struct checkin *k, struct db_txn *t, struct ci_group *g)
{
	static const struct asset_id none;
	const struct cat_asset *base = &k->base[g->base]->a;
	struct asset_id at =
	    cat_level_is_free(base->level) ? base->parent : base->id;
	struct ci_node tmp[CI_ABOVE_MAX];
	struct cat_asset *a = mem_new(sizeof(*a));
	uint32_t n = 0, i;
	enum err e = a == NULL ? ERR_NOMEM : ERR_OK;

	while (e == ERR_OK && n < CI_ABOVE_MAX &&
	       memcmp(&at, &none, sizeof(at)) != 0) {
		if ((e = cat_asset_get(k->env->store, t, &at, a)) != ERR_OK)
			break;
		memcpy(tmp[n].level, a->level, sizeof(tmp[n].level));
		memcpy(tmp[n].key, a->key, sizeof(tmp[n].key));
		at = a->parent;
		n++;
	}
	mem_free(a);
	for (i = 0; e == ERR_OK && i < n; i++)
		g->path[i] = tmp[n - 1 - i];
	g->n_path = n;
	return e;
}

/* A new version keeps what the version before said of the asset. */
static enum err
group_fields(struct checkin *k, struct db_txn *t, struct ci_group *g)
{
	struct buf op = BUF_MAX(LIM_OP_PAYLOAD_BYTES);
	const struct mp_node *path;
	struct mp_doc d = { 0 };
	enum err e =
	    shares_open_op(k->env->shares, t, k->base[g->base]->v.lseq, &op);

	if (e == ERR_OK)
		e = cat_put_parse(buf_slice(&op), &d);
	if (e == ERR_OK) {
		path = mp_get(d.root, "path");
		mp_w_node(&g->fields,
		    mp_get(mp_at(path, mp_len(path) - 1), "fields"));
		e = buf_err(&g->fields);
		mp_doc_fini(&d);
	}
	buf_fini(&op);
	return e;
}

static const char *
group_level(const struct checkin *k, uint32_t g)
{
	const char *level = NULL, *one;
	uint32_t i;

	if (k->o->level != NULL)
		return k->o->level;
	/* An image names the group, whatever lies beside it. */
	for (i = 0; i < k->n; i++) {
		if (k->f[i].group != g)
			continue;
		one = ci_level(k->f[i].name);
		if (level == NULL || strcmp(one, "segmentation") == 0 ||
		    strcmp(one, "nifti") == 0)
			level = one;
	}
	return level;
}

static enum err
plan_group(struct checkin *k, uint32_t i)
{
	struct ci_group *g = &k->g[i];
	const struct ci_base *b = k->base[g->base];
	struct ci_node *last;
	struct db_txn *t = NULL;
	enum err e = store_read(k->env->store, &t);

	if (e != ERR_OK)
		return e;
	g->fields = BUF_MAX(64 * KIB);
	g->provenance = BUF_MAX(16 * KIB);
	e = group_above(k, t, g);
	last = &g->path[g->n_path];
	g->n_path++;
	if (g->derived) {
		g->source = b->a.id;
		mp_w_map(&g->fields, 0);
		(void)snprintf(
		    last->level, sizeof(last->level), "%s", group_level(k, i));
	} else {
		g->source = b->a.source;
		memcpy(last->level, b->a.level, sizeof(last->level));
		memcpy(last->key, b->a.key, sizeof(last->key));
		if (e == ERR_OK)
			e = group_fields(k, t, g);
	}
	db_abort(t);
	return e;
}

enum err
ci_plan(struct checkin *k)
{
	uint32_t i;
	enum err e = plan_bases(k);

	if (e == ERR_OK)
		e = wd_walk(k->dir, &k->m, plan_found, k);
	if (k->walk_err != ERR_OK)
		e = k->walk_err;
	for (i = 0; e == ERR_OK && i < k->n; i++)
		e = plan_file(k, &k->f[i]);
	for (i = 0; e == ERR_OK && i < k->n_g; i++)
		e = plan_group(k, i);
	return e;
}
