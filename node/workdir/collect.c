/* node/workdir/collect.c: which assets have the files that were asked for.
 *
 * An asset without content of its own (exam, subject) stands for the series
 * below it. */
#include "node/workdir/workdir_internal.h"

#include "store/base/mem.h"

#define COLLECT_ASSETS_MAX 10000u /* of one call */
#define COLLECT_DEPTH_MAX 6u      /* project .. image, derived */

struct collect {
	struct store *s;
	struct db_txn *t;
	enum workdir_as as;
	struct workdir_ids *out;
	uint32_t depth;
	struct errmsg *em;
	enum err e;
};

void
workdir_ids_fini(struct workdir_ids *l)
{
	mem_free(l->id);
	*l = (struct workdir_ids){ 0 };
}

static int
id_cmp(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct asset_id));
}

/* An asset that several words or levels lead to is written once. */
void
workdir_ids_unique(struct workdir_ids *l)
{
	uint32_t i, n = 0;

	if (l->n == 0)
		return;
	qsort(l->id, l->n, sizeof(*l->id), id_cmp);
	for (i = 0; i < l->n; i++) {
		if (n == 0 || id_cmp(&l->id[n - 1], &l->id[i]) != 0)
			l->id[n++] = l->id[i];
	}
	l->n = n;
}

static enum err
collect_add(struct collect *f, const struct asset_id *id)
{
	struct workdir_ids *l = f->out;

	if (l->n == COLLECT_ASSETS_MAX)
		return errmsg_set(f->em, ERR_LIMIT,
		    "Ask for its parts one by one.",
		    "more than %u assets lie below this one",
		    COLLECT_ASSETS_MAX);
	if (l->n == l->cap) {
		uint32_t cap = l->cap == 0 ? 16 : l->cap * 2;
		void *p = mem_grow(l->id, cap, sizeof(*l->id));

		if (p == NULL)
			return ERR_NOMEM;
		l->id = p;
		l->cap = cap;
	}
	l->id[l->n++] = *id;
	return ERR_OK;
}

static bool
collect_wanted(const struct collect *f, const struct cat_asset *a)
{
	bool nifti = strcmp(a->level, "nifti") == 0;

	if (a->n_versions == 0 || a->head.members == 0)
		return false;
	if (f->as == WORKDIR_NIFTI)
		return nifti;
	/* Below the asset itself: the images that came in, not what was
	 * made from them. */
	if (f->depth > 0 || f->as == WORKDIR_DICOM)
		return strcmp(a->level, "series") == 0 ||
		       (f->depth == 0 && strcmp(a->level, "image") == 0);
	return true;
}

static int collect_child(void *ctx, const struct asset_id *id);

static enum err
collect_from(struct collect *f, const struct asset_id *id)
{
	struct cat_asset *a = mem_new(sizeof(*a));
	bool image, take;
	enum err e;

	if (a == NULL)
		return ERR_NOMEM;
	e = cat_asset_get(f->s, f->t, id, a);
	image = strcmp(a->level, "image") == 0;
	take = e == ERR_OK && collect_wanted(f, a);
	mem_free(a);
	if (e != ERR_OK)
		return e;
	if (take)
		return collect_add(f, id);
	if (image || f->depth == COLLECT_DEPTH_MAX)
		return ERR_OK;
	f->depth++;
	e = cat_children_each(f->t, id, collect_child, f);
	f->depth--;
	return f->e != ERR_OK ? f->e : e;
}

static int
collect_child(void *ctx, const struct asset_id *id)
{
	struct collect *f = ctx;

	if (f->e == ERR_OK)
		f->e = collect_from(f, id);
	return f->e == ERR_OK ? 0 : 1;
}

enum err
workdir_collect(struct store *s, struct db_txn *t, const struct asset_id *id,
    enum workdir_as as, struct workdir_ids *out, struct errmsg *em)
{
	struct collect f = { .s = s, .t = t, .as = as, .out = out, .em = em };

	return collect_from(&f, id);
}
