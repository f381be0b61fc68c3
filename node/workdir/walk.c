/* node/workdir/walk.c: a directory beside its manifest.
 *
 * Happy path: each folder that the manifest names, and DIR itself, is listed;
 * what has its name and hash is the same, other bytes are a change, a name
 * nobody knows is added, one that is missing was removed.
 * Failure modes: what cannot become content (a link, a device, a folder in a
 * folder, a name no other system could write) is refused with the reason and
 * everything else goes on. */
#include "node/workdir/workdir_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "store/base/mem.h"

struct place { /* a file of the manifest, sorted by folder and name */
	const char *path;
	const char *name;
	uint32_t asset, file;
	bool seen;
};

struct walk {
	int dir;
	const struct wd_manifest *m;
	struct place *p;
	uint32_t n;
	wd_found_fn fn;
	void *ctx;
	bool stop;
	/* the folder at hand */
	int fd;
	const char *path;
	uint32_t owner; /* its first asset; WD_NONE */
};

bool
wd_same_stem(const char *a, const char *b)
{
	size_t n = strcspn(a, ".");

	return n > 0 && n == strcspn(b, ".") && strncmp(a, b, n) == 0;
}

static int
place_cmp(const void *a, const void *b)
{
	const struct place *x = a, *y = b;
	int c = strcmp(x->path, y->path);

	return c != 0 ? c : strcmp(x->name, y->name);
}

static enum err
walk_places(struct walk *w)
{
	uint32_t i, k;
	size_t n = 0;

	for (i = 0; i < w->m->n; i++)
		n += w->m->a[i].n;
	w->p = mem_array(n + 1, sizeof(*w->p));
	if (w->p == NULL)
		return ERR_NOMEM;
	for (i = 0; i < w->m->n; i++) {
		const struct wd_asset *a = &w->m->a[i];

		for (k = 0; k < a->n; k++)
			w->p[w->n++] = (struct place){
				.path = a->path,
				.name = a->f[k].name,
				.asset = i,
				.file = k,
			};
	}
	qsort(w->p, w->n, sizeof(*w->p), place_cmp);
	return ERR_OK;
}

static struct place *
walk_known(const struct walk *w, const char *name)
{
	struct place key = { .path = w->path, .name = name };

	return bsearch(&key, w->p, w->n, sizeof(*w->p), place_cmp);
}

static void
walk_say(struct walk *w, struct wd_found *f)
{
	f->folder = w->path;
	if (w->fn(w->ctx, f) != 0)
		w->stop = true;
}

static void
walk_refuse_file(struct walk *w, const char *name, enum err e, const char *why)
{
	struct wd_found f = { .state = WORKDIR_REFUSED,
		.asset = w->owner,
		.file = WD_NONE,
		.name = name,
		.why = why,
		.is_file = true,
		.changing = e == ERR_AGAIN };

	walk_say(w, &f);
}

static void
walk_refuse(struct walk *w, const char *name, const char *why)
{
	struct wd_found f = { .state = WORKDIR_REFUSED,
		.asset = w->owner,
		.file = WD_NONE,
		.name = name,
		.why = why };

	walk_say(w, &f);
}

/* Whose an added file is: the asset it is a part of by name ("a.bval" beside
 * "a.nii.gz"), else the one whose folder it lies in. */
static uint32_t
walk_owner(const struct walk *w, const char *name)
{
	uint32_t i, k;

	for (i = 0; i < w->m->n; i++) {
		const struct wd_asset *a = &w->m->a[i];

		if (!a->derived || strcmp(a->path, w->path) != 0)
			continue;
		for (k = 0; k < a->n; k++) {
			if (wd_same_stem(a->f[k].name, name))
				return i;
		}
	}
	return w->owner;
}

static const char *
walk_why(enum err e)
{
	if (e == ERR_AGAIN)
		return "it changed while it was read";
	if (e == ERR_DENIED)
		return "the node may not read it";
	return e == ERR_UNSUPPORTED ? "not a regular file" : err_text(e);
}

/* Memory and the like end the walk; what is wrong with one file does not. */
static enum err
walk_file(struct walk *w, const char *name)
{
	struct place *p = walk_known(w, name);
	struct wd_found f = { .asset = WD_NONE, .file = WD_NONE, .name = name };
	enum err e;

	if (p == NULL && !content_name_good(name)) {
		walk_refuse(
		    w, name, "no name for a file in a share: rename it");
		return ERR_OK;
	}
	if (p != NULL)
		p->seen = true;
	e = wd_file_hash(w->fd, name, &f.hash, &f.bytes);
	if (e == ERR_NOMEM)
		return e;
	if (e != ERR_OK) {
		walk_refuse_file(w, name, e, walk_why(e));
		return ERR_OK;
	}
	f.hashed = true;
	f.state = WORKDIR_ADDED;
	f.asset = p != NULL ? p->asset : walk_owner(w, name);
	if (p != NULL) {
		const struct wd_file *was = &w->m->a[p->asset].f[p->file];

		f.file = p->file;
		f.state = memcmp(&was->hash, &f.hash, sizeof(f.hash)) == 0
			      ? WORKDIR_SAME
			      : WORKDIR_CHANGED;
	}
	walk_say(w, &f);
	return ERR_OK;
}

static bool
walk_is_folder(const struct walk *w, const char *name)
{
	uint32_t i;

	for (i = 0; i < w->m->n; i++) {
		if (strcmp(w->m->a[i].path, name) == 0)
			return true;
	}
	return false;
}

static enum err
walk_entry(struct walk *w, const char *name)
{
	struct stat st;

	if (fstatat(w->fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return ERR_OK; /* gone since the listing */
	if (S_ISREG(st.st_mode))
		return walk_file(w, name);
	if (!S_ISDIR(st.st_mode))
		walk_refuse(w, name,
		    S_ISLNK(st.st_mode) ? "a symbolic link is not followed"
					: "not a regular file");
	else if (strcmp(w->path, WD_TOP) != 0)
		walk_refuse(w, name, "a folder in an asset's folder");
	else if (!walk_is_folder(w, name))
		walk_refuse(w, name, "a folder of no asset");
	return ERR_OK;
}

static enum err
walk_list(struct walk *w)
{
	struct wd_names names = { .n = 0 };
	uint32_t i;
	enum err e = wd_names_read(w->fd, &names);

	for (i = 0; e == ERR_OK && i < names.n && !w->stop; i++)
		e = walk_entry(w, names.d[i]->d_name);
	wd_names_fini(&names);
	return e;
}

static enum err
walk_folder(struct walk *w, const char *path, uint32_t owner)
{
	enum err e;

	w->path = path;
	w->owner = owner;
	e = wd_folder_open(w->dir, path, &w->fd);
	if (e == ERR_NOTFOUND)
		return ERR_OK; /* its files count as removed */
	if (e == ERR_UNSUPPORTED || e == ERR_DENIED) {
		w->path = WD_TOP;
		walk_refuse(w, path,
		    e == ERR_DENIED ? "the node may not read it"
				    : "an asset's folder is no folder now");
		return ERR_OK;
	}
	if (e != ERR_OK)
		return e;
	e = walk_list(w);
	(void)close(w->fd);
	w->fd = -1;
	return e;
}

static void
walk_missing(struct walk *w)
{
	uint32_t i;

	for (i = 0; i < w->n && !w->stop; i++) {
		struct wd_found f = { .state = WORKDIR_REMOVED,
			.asset = w->p[i].asset,
			.file = w->p[i].file,
			.name = w->p[i].name };

		w->path = w->p[i].path;
		if (!w->p[i].seen)
			walk_say(w, &f);
	}
}

/* Is this the first asset of the manifest with its folder? */
static bool
walk_first(const struct wd_manifest *m, uint32_t i)
{
	uint32_t k;

	for (k = 0; k < i; k++) {
		if (strcmp(m->a[k].path, m->a[i].path) == 0)
			return false;
	}
	return true;
}

enum err
wd_walk(int dir, const struct wd_manifest *m, wd_found_fn fn, void *ctx)
{
	struct walk w = { .dir = dir, .m = m, .fn = fn, .ctx = ctx, .fd = -1 };
	uint32_t i;
	enum err e = walk_places(&w);

	if (e == ERR_OK)
		e = walk_folder(&w, WD_TOP, WD_NONE);
	for (i = 0; e == ERR_OK && i < m->n && !w.stop; i++) {
		if (strcmp(m->a[i].path, WD_TOP) != 0 && walk_first(m, i))
			e = walk_folder(&w, m->a[i].path, i);
	}
	if (e == ERR_OK)
		walk_missing(&w);
	mem_free(w.p);
	if (e == ERR_OK && w.stop)
		e = ERR_CANCELLED;
	return e;
}
