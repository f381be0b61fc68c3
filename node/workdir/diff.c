/* node/workdir/diff.c: what changed in a working directory, and where the
 * node is ahead of it. */
#include "node/workdir/workdir_internal.h"

#include <unistd.h>

#include "store/base/mem.h"

const char *
workdir_state_text(enum workdir_state s)
{
	switch (s) {
	case WORKDIR_SAME: return "unchanged";
	case WORKDIR_CHANGED: return "changed";
	case WORKDIR_ADDED: return "added";
	case WORKDIR_REMOVED: return "removed";
	case WORKDIR_REFUSED: return "refused";
	}
	return "";
}

enum err
wd_manifest_ours(const struct workdir_env *env, const struct wd_manifest *m,
    struct errmsg *em)
{
	if (strcmp(m->site, env->site) == 0)
		return ERR_OK;
	return errmsg_set(em, ERR_EXISTS, "Ask the node it came from (--home).",
	    "this directory was checked out from the node %.64s", m->site);
}

struct diff {
	const struct wd_manifest *m;
	const struct workdir_diff_fns *fns;
};

static int
diff_found(void *ctx, const struct wd_found *f)
{
	const struct diff *d = ctx;
	struct workdir_item it = { .state = f->state,
		.folder = f->folder,
		.name = f->name,
		.bytes = f->bytes,
		.hash = f->hashed ? &f->hash : NULL,
		.why = f->why };

	if (f->asset != WD_NONE)
		it.asset = &d->m->a[f->asset].id;
	return d->fns->item(d->fns->ctx, &it);
}

/* An asset that this node does not know (any more) is nothing to be behind
 * of; check-in says so. */
static enum err
diff_behind(const struct workdir_env *env, const struct diff *d)
{
	struct cat_asset *a = mem_new(sizeof(*a));
	struct db_txn *t = NULL;
	uint32_t i;
	enum err e = a == NULL ? ERR_NOMEM : ERR_OK;

	for (i = 0; e == ERR_OK && i < d->m->n; i++) {
		const struct wd_asset *w = &d->m->a[i];
		struct workdir_behind b = { w->id, w->path, &a->head };

		if ((e = store_read(env->store, &t)) != ERR_OK)
			break;
		e = cat_asset_get(env->store, t, &w->id, a);
		db_abort(t);
		if (e == ERR_OK && memcmp(&a->head.op_id, &w->version,
				       sizeof(w->version)) != 0)
			e = d->fns->behind(d->fns->ctx, &b) == 0
				? ERR_OK
				: ERR_CANCELLED;
		else if (e == ERR_NOTFOUND)
			e = ERR_OK;
	}
	mem_free(a);
	return e;
}

enum err
workdir_diff(const struct workdir_env *env, const char *dir,
    const struct workdir_diff_fns *fns, struct errmsg *em)
{
	struct wd_manifest m = { .n = 0 };
	struct diff d = { &m, fns };
	int fd = -1;
	enum err e = wd_dir_open(dir, false, &fd, em);

	if (e != ERR_OK)
		return e;
	e = wd_manifest_read(fd, &m, em);
	if (e == ERR_OK)
		e = wd_manifest_ours(env, &m, em);
	if (e == ERR_OK)
		e = wd_walk(fd, &m, diff_found, &d);
	if (e == ERR_OK)
		e = diff_behind(env, &d);
	(void)close(fd);
	wd_manifest_fini(&m);
	return e;
}
