/* node/workdir/checkin.c: what changed in a working directory, as versions.
 *
 * Happy path: the plan says which versions there will be, their content is
 * prepared, the files are looked at once more, and one job writes the chunks,
 * appends an op for each version, gives the locks back and writes the audit;
 * then the manifest says the new versions.
 * Failure modes: anything before the job changes nothing.  A crash after the
 * job, before the manifest: the same check-in again finds the versions it
 * made (same parent, same bytes) and only writes the manifest.
 * Somebody else's version in between is no failure: both are heads. */
#include "node/workdir/checkin.h"

#include <unistd.h>

#include "store/base/clock.h"
#include "store/base/enc.h"
#include "store/base/mem.h"
#include "store/catalog/edit.h"

#define HEADS_MAX 16u

/* --- the job --- */

struct same {
	const struct ci_group *g;
	const struct cry_id *base;
	struct cry_id *version;
	bool found;
};

static int
same_version(void *ctx, const struct cat_version *v)
{
	struct same *s = ctx;
	bool from = v->n_parents == 0;
	uint32_t i;

	for (i = 0; !s->g->derived && i < v->n_parents; i++)
		from |= memcmp(&v->parents[i], s->base, sizeof(*s->base)) == 0;
	if (!from || memcmp(&v->hash, &s->g->done.hash, sizeof(v->hash)) != 0)
		return 0;
	*s->version = v->op_id;
	s->found = true;
	return 1;
}

/* Was this very version made before (and the manifest not written)? */
static enum err
group_known(struct store_txn *t, const struct checkin *k, struct ci_group *g)
{
	const struct ci_base *b = k->base[g->base];
	const struct ci_node *last = &g->path[g->n_path - 1];
	struct same s = { g, &b->v.op_id, &g->version, false };
	enum err e;

	cat_asset_id(
	    &b->a.share, b->a.compartment, last->level, last->key, &g->id);
	e = cat_versions_each(
	    store_txn_store(t), store_txn_db(t), &g->id, same_version, &s);
	g->was_there = s.found;
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

static enum err
group_append(struct store_txn *t, const struct checkin *k, struct ci_group *g)
{
	static const uint8_t empty_map = 0x80;
	const struct ci_base *b = k->base[g->base];
	struct cat_node path[CI_ABOVE_MAX + 2];
	struct cat_put put = { .path = path,
		.n_path = g->n_path,
		.derived = true,
		.source = g->source,
		.manifest = buf_slice(&g->done.manifest),
		.hash = g->done.hash,
		.bytes = g->done.bytes,
		.members = g->done.members,
		.actor = k->o->actor,
		.site = k->env->site,
		.parents = &b->v.op_id,
		.n_parents = g->derived ? 0 : 1,
		.provenance = buf_slice(&g->provenance) };
	struct cat_asset *a;
	uint32_t i;
	enum err e;

	for (i = 0; i < g->n_path; i++)
		path[i] = (struct cat_node){ g->path[i].level, g->path[i].key,
			slice_of(&empty_map, 1) };
	path[g->n_path - 1].fields = buf_slice(&g->fields);
	e = shares_append_put(t, k->env->shares, b->a.share_no,
	    b->a.compartment, &put, buf_slice(&g->done.packing), &g->id);
	if (e != ERR_OK)
		return e;
	if ((a = mem_new(sizeof(*a))) == NULL)
		return ERR_NOMEM;
	/* Our lamport is above all that was seen: ours is the head. */
	e = cat_asset_get(store_txn_store(t), store_txn_db(t), &g->id, a);
	if (e == ERR_OK)
		g->version = a->head.op_id;
	mem_free(a);
	return e;
}

static enum err
group_audit(
    struct store_txn *t, const struct checkin *k, const struct ci_group *g)
{
	char id[ASSET_ID_TEXT + 1];

	enc_b32(slice_of(g->id.b, sizeof(g->id.b)), id);
	return cat_audit_append(t, k->o->actor, "checkin", id,
	    *k->o->reason != '\0' ? k->o->reason : k->o->note);
}

static enum err
group_job(struct store_txn *t, const struct checkin *k, struct ci_group *g)
{
	struct cry_id heads[HEADS_MAX];
	enum err e = group_known(t, k, g);

	if (e == ERR_OK && !g->was_there)
		e = group_append(t, k, g);
	if (e == ERR_OK && !g->was_there)
		e = group_audit(t, k, g);
	if (e == ERR_OK)
		e = cat_heads(store_txn_store(t), store_txn_db(t), &g->id,
		    heads, HEADS_MAX, &g->heads);
	return e;
}

/* A right that was lost meanwhile must not hold up the work. */
static enum err
unlock_job(struct store_txn *t, struct checkin *k)
{
	uint32_t i;
	enum err e = ERR_OK;

	k->unlocked = 0;
	for (i = 0; e == ERR_OK && !k->o->keep_lock && i < k->m.n; i++) {
		struct wd_lock_act act = { &k->m.a[i].id, k->o->actor, true };
		struct wd_lock l = { .mine = false };

		if (!k->m.a[i].lock)
			continue;
		e = wd_lock_look(
		    store_txn_db(t), &k->m.a[i].id, k->o->actor, &l);
		if (e == ERR_OK && l.mine)
			e = wd_lock_edit(t, k->env, &act);
		if (e == ERR_DENIED || e == ERR_NOTFOUND)
			e = ERR_OK;
		else if (e == ERR_OK && l.mine)
			k->unlocked++;
	}
	return e;
}

static enum err
checkin_job(struct store_txn *t, void *ctx)
{
	struct checkin *k = ctx;
	uint32_t i;
	enum err e = k->batch != NULL ? blob_batch_put(t, k->batch) : ERR_OK;

	for (i = 0; e == ERR_OK && i < k->n_g; i++)
		e = group_job(t, k, &k->g[i]);
	return e == ERR_OK ? unlock_job(t, k) : e;
}

/* --- the manifest after it --- */

/* What became an asset of its own is no change of what came any more. */
static void
entry_without(struct wd_asset *a, const char *name)
{
	uint32_t i;

	for (i = 0; i < a->n; i++) {
		if (strcmp(a->f[i].name, name) != 0)
			continue;
		mem_free(a->f[i].name);
		a->n--;
		memmove(&a->f[i], &a->f[i + 1], (a->n - i) * sizeof(*a->f));
		return;
	}
}

static void
entry_fill(
    const struct checkin *k, const struct ci_group *g, struct wd_asset *e)
{
	e->id = g->id;
	e->version = g->version;
	e->derived = true;
	memcpy(e->level, g->path[g->n_path - 1].level, sizeof(e->level));
	memcpy(e->path, g->folder, sizeof(e->path));
	wd_names_of(k->shares, k->n_shares, &k->base[g->base]->a, e);
}

static enum err
manifest_group(struct checkin *k, uint32_t n)
{
	struct ci_group *g = &k->g[n];
	struct wd_asset *w;
	uint32_t i;

	entry_fill(k, g, &g->entry);
	for (i = 0; g->derived && i < k->n; i++) {
		const struct ci_file *f = &k->f[i];

		if (f->group == n && f->state == WORKDIR_CHANGED)
			entry_without(&k->m.a[f->asset], f->name);
	}
	w = wd_asset_find(&k->m, &g->id);
	if (w == NULL)
		w = wd_asset_add(&k->m);
	if (w == NULL)
		return ERR_LIMIT;
	g->entry.lock = w->lock;
	wd_files_clear(w);
	*w = g->entry;
	g->entry = (struct wd_asset){ .n = 0 };
	return ERR_OK;
}

static enum err
checkin_manifest(struct checkin *k)
{
	uint32_t i;
	enum err e = ERR_OK;

	for (i = 0; !k->o->keep_lock && i < k->m.n; i++)
		k->m.a[i].lock = false;
	for (i = 0; e == ERR_OK && i < k->n_g; i++)
		e = manifest_group(k, i);
	if (e == ERR_OK)
		e = wd_manifest_write(k->dir, &k->m, NULL);
	if (e != ERR_OK)
		return errmsg_set(k->em, e,
		    "Make room, then check in again: nothing is made twice.",
		    "it is checked in, but the manifest could not be written: "
		    "%s",
		    err_text(e));
	return ERR_OK;
}

/* --- all of it --- */

static enum err
checkin_commit(struct checkin *k)
{
	bool locks = false;
	uint32_t i;
	enum err e;

	for (i = 0; i < k->m.n; i++)
		locks |= k->m.a[i].lock && !k->o->keep_lock;
	if (k->o->dry_run || (k->n_g == 0 && !locks))
		return ERR_OK;
	if ((e = ci_still(k)) != ERR_OK)
		return e;
	e = store_write(k->env->store, checkin_job, k);
	if (e != ERR_OK)
		return errmsg_set(k->em, e,
		    e == ERR_AGAIN ? "Check in again." : "",
		    "the check-in failed, nothing was changed: %s",
		    err_text(e));
	return checkin_manifest(k);
}

static enum err
checkin_say(struct checkin *k, uint32_t n)
{
	const struct ci_group *g = &k->g[n];
	struct workdir_in v = { .asset =
				    k->o->dry_run && g->derived ? NULL : &g->id,
		.source = &g->source,
		.level = g->path[g->n_path - 1].level,
		.folder = g->folder,
		.state = g->was_there ? "known"
			 : g->derived ? "derived"
				      : "version",
		.version = k->o->dry_run ? NULL : &g->version,
		.files = g->done.members,
		.bytes = g->done.bytes,
		.heads = g->heads };

	return k->fns->in(k->fns->ctx, &v) == 0 ? ERR_OK : ERR_CANCELLED;
}

static enum err
checkin_texts(struct checkin *k)
{
	const struct workdir_checkin_opts *o = k->o;

	if (o->level != NULL && !cat_level_is_free(o->level))
		return errmsg_set(k->em, ERR_UNSUPPORTED,
		    "One word like segmentation, table, document.",
		    "nothing can be checked in as level \"%.24s\"", o->level);
	if (strlen(o->note) > CI_TEXT_MAX || strlen(o->reason) > CI_TEXT_MAX ||
	    (o->tool != NULL && strlen(o->tool) > CI_TEXT_MAX))
		return errmsg_set(k->em, ERR_LIMIT, "Make it shorter.",
		    "note, reason and tool hold %u bytes each", CI_TEXT_MAX);
	return ERR_OK;
}

static void
checkin_free(struct checkin *k)
{
	uint32_t i;

	for (i = 0; i < k->n; i++)
		mem_free(k->f[i].name);
	mem_free(k->f);
	for (i = 0; i < k->n_g; i++) {
		buf_fini(&k->g[i].fields);
		buf_fini(&k->g[i].provenance);
		content_done_fini(&k->g[i].done);
		wd_files_clear(&k->g[i].entry);
	}
	mem_free(k->g);
	for (i = 0; k->base != NULL && i <= k->n_base; i++)
		mem_free(k->base[i]);
	mem_free(k->base);
	blob_batch_free(k->batch);
	if (k->shares != NULL)
		shares_list_free(k->shares, k->n_shares);
	if (k->dir >= 0)
		(void)close(k->dir);
	wd_manifest_fini(&k->m);
	mem_free(k);
}

static enum err
checkin_run(struct checkin *k)
{
	uint32_t i;
	enum err e = checkin_texts(k);

	if (store_quota_full(k->env->store))
		return errmsg_set(k->em, ERR_FULL,
		    "raise it, or let content go: `pesscara gc`",
		    "the quota store.quota_bytes is reached");
	if (e == ERR_OK)
		e = shares_list(k->env->shares, &k->shares, &k->n_shares);
	if (e == ERR_OK)
		e = wd_dir_open(k->o->dir, false, &k->dir, k->em);
	if (e == ERR_OK)
		e = wd_manifest_read(k->dir, &k->m, k->em);
	if (e == ERR_OK)
		e = wd_manifest_ours(k->env, &k->m, k->em);
	if (e == ERR_OK)
		e = ci_plan(k);
	if (e == ERR_OK)
		e = ci_take(k);
	if (e == ERR_OK)
		e = checkin_commit(k);
	for (i = 0; e == ERR_OK && i < k->n_g; i++)
		e = checkin_say(k, i);
	return e;
}

enum err
workdir_checkin(const struct workdir_env *env,
    const struct workdir_checkin_opts *o, const struct workdir_checkin_fns *fns,
    struct workdir_checkin_sum *out, struct errmsg *em)
{
	struct checkin *k = mem_new(sizeof(*k));
	enum err e;

	if (k == NULL)
		return errmsg_set(em, ERR_NOMEM, "", "out of memory");
	k->env = env;
	k->o = o;
	k->fns = fns;
	k->em = em;
	k->dir = -1;
	e = checkin_run(k);
	*out = (struct workdir_checkin_sum){ .versions = k->n_g,
		.unlocked = k->unlocked,
		.files = k->done_files,
		.bytes = k->done_bytes };
	checkin_free(k);
	return e;
}
