/* node/workdir/checkout.c: files of assets, written into a directory.
 *
 * Happy path: the assets are named, what lies in DIR is looked at, locks are
 * set, each file is streamed to a file without a name and gets its own once its
 * hash fits; when all are on the disk the manifest is written, last and
 * atomically.  A first manifest without assets marks DIR as ours before the
 * first file, so that a check-out which was killed can be repeated: files
 * that are there already are kept when their hash is right.
 * Failure: a file of yours that would be overwritten is named before anything
 * is written, and stays. */
#include "node/workdir/checkout.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "store/base/enc.h"
#include "store/base/mem.h"

/* --- which assets --- */

struct chosen {
	struct checkout *k;
	struct db_txn *t;
	enum err e;
};

static int
chosen_row(void *ctx, const struct cat_asset *a)
{
	struct chosen *c = ctx;

	if (strcmp(a->level, "image") == 0)
		return 0; /* its series has the file */
	c->e = workdir_collect(
	    c->k->env->store, c->t, &a->id, c->k->o->as, &c->k->ids, c->k->em);
	return c->e == ERR_OK ? 0 : 1;
}

static enum err
choose_query(struct checkout *k, struct db_txn *t, const char *text)
{
	static const struct cat_find_opts all = { .limit = 0 };
	struct chosen c = { .k = k, .t = t };
	struct cat_query *q = NULL;
	enum err e = cat_query_parse(slice_str(text), &q, k->em);

	if (e == ERR_OK)
		e = cat_find(k->env->store, t, q, &all, chosen_row, &c);
	cat_query_free(q);
	return c.e != ERR_OK ? c.e : e;
}

static bool
looks_like_id(const char *s)
{
	return strspn(s, "abcdefghijklmnopqrstuvwxyz234567") == strlen(s);
}

static enum err
choose_one(struct checkout *k, struct db_txn *t, const char *text)
{
	struct asset_id id;
	enum err e = cat_asset_resolve(t, slice_str(text), &id);

	if (e == ERR_OK)
		return workdir_collect(
		    k->env->store, t, &id, k->o->as, &k->ids, k->em);
	if (e == ERR_LIMIT)
		return errmsg_set(k->em, e, "Give more characters (8 or more).",
		    "several assets begin so");
	if (e != ERR_NOTFOUND)
		return e;
	if (k->o->n_what == 1 && !looks_like_id(text))
		return choose_query(k, t, text);
	return errmsg_set(k->em, e, "Find it with: pesscara find QUERY",
	    "no asset has the id %.40s", text);
}

static enum err
checkout_choose(struct checkout *k)
{
	struct db_txn *t = NULL;
	uint32_t i;
	enum err e = store_read(k->env->store, &t);

	for (i = 0; e == ERR_OK && i < k->o->n_what; i++)
		e = choose_one(k, t, k->o->what[i]);
	db_abort(t);
	workdir_ids_unique(&k->ids);
	if (e == ERR_OK && k->ids.n == 0)
		e = errmsg_set(k->em, ERR_NOTFOUND,
		    "Look with: pesscara find QUERY",
		    "nothing with files of that kind was found");
	return e;
}

/* --- the directory --- */

/* Ours, or empty (then it is marked as ours). */
static enum err
checkout_dir(struct checkout *k)
{
	enum err e = wd_manifest_read(k->dir, &k->m, k->em);
	bool empty;

	if (e == ERR_OK)
		return wd_manifest_ours(k->env, &k->m, k->em);
	if (e != ERR_NOTFOUND)
		return e;
	if ((e = wd_dir_empty(k->dir, &empty)) != ERR_OK)
		return e;
	if (!empty)
		return errmsg_set(k->em, ERR_EXISTS,
		    "Name an empty directory or a new one.",
		    "the directory is not empty and not a check-out");
	(void)snprintf(k->m.site, sizeof(k->m.site), "%s", k->env->site);
	return wd_manifest_write(k->dir, &k->m, k->em);
}

/* --- one asset: open, check, write --- */

static void
job_close(struct checkout *k)
{
	struct checkout_job *j = &k->job;

	content_close(j->content);
	j->content = NULL;
	if (j->fd >= 0)
		(void)close(j->fd);
	j->fd = -1;
}

static enum err
job_open(struct checkout *k, uint32_t n)
{
	const struct asset_id *id = &k->ids.id[n];
	struct buf manifest = BUF_MAX(LIM_OP_PAYLOAD_BYTES);
	struct checkout_job *j = &k->job;
	struct db_txn *t = NULL;
	enum err e = store_read(k->env->store, &t);

	if (e != ERR_OK)
		return e;
	j->fd = -1;
	e = cat_asset_get(k->env->store, t, id, &j->a);
	if (e == ERR_OK && j->a.is_member)
		e = errmsg_set(k->em, ERR_UNSUPPORTED,
		    "Check out its series (parent in `pesscara show`).",
		    "an image has no versions of its own");
	if (e == ERR_OK)
		e = cat_manifest(k->env->store, t, id, &manifest);
	if (e == ERR_OK)
		e = wd_folder_name(k, t, &j->a, j->path);
	if (e == ERR_OK && !k->locked)
		e = wd_lock_plan(k, t, n);
	db_abort(t);
	if (e == ERR_OK)
		e = content_open(
		    k->env->store, buf_slice(&manifest), &j->content);
	buf_fini(&manifest);
	if (e == ERR_NOTFOUND)
		return errmsg_set(k->em, e,
		    "Fetch it: pesscara subscribe SHARE --content all",
		    "the content of %s is not on this node", j->path);
	return e;
}

/* Versions list their files in much the same order: begin at the hint. */
static const struct wd_file *
old_file(const struct wd_asset *old, const char *name, uint32_t hint)
{
	uint32_t i, at;

	for (i = 0; old != NULL && i < old->n; i++) {
		at = (uint32_t)(((uint64_t)hint + i) % old->n);
		if (strcmp(old->f[at].name, name) == 0)
			return &old->f[at];
	}
	return NULL;
}

static bool
hash_is(const struct cry_id *a, const struct cry_id *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

/* What lies where a file shall be written. */
enum there { THERE_NOTHING, THERE_RIGHT, THERE_OLD, THERE_YOURS };

struct look {
	const struct wd_asset *old;
	const char *name;
	uint32_t hint;
	const struct cry_id *want; /* NULL: none */
};

static enum err
file_there(const struct checkout *k, struct look l, enum there *out)
{
	const struct wd_file *was = old_file(l.old, l.name, l.hint);
	struct cry_id have;
	uint64_t bytes;
	enum err e;

	*out = THERE_NOTHING;
	if (k->job.fd < 0)
		return ERR_OK;
	e = wd_file_hash(k->job.fd, l.name, &have, &bytes);
	if (e == ERR_NOTFOUND)
		return ERR_OK;
	*out = THERE_YOURS;
	if (e == ERR_NOMEM)
		return e;
	if (e == ERR_OK && l.want != NULL && hash_is(&have, l.want))
		*out = THERE_RIGHT;
	else if (e == ERR_OK && was != NULL && hash_is(&have, &was->hash))
		*out = THERE_OLD;
	return ERR_OK;
}

static enum err
file_yours(const struct checkout *k, const char *name)
{
	return errmsg_set(k->em, ERR_EXISTS,
	    "Check it in, or move it away; then check out again.",
	    "yours would be overwritten: %.70s/%.110s", k->job.path, name);
}

static bool
old_is_current(const struct checkout *k, const struct wd_asset *old)
{
	return old != NULL && hash_is(&old->version, &k->job.a.head.op_id);
}

/* Before anything is written: would a file of yours be lost? */
static enum err
job_check(struct checkout *k)
{
	struct checkout_job *j = &k->job;
	const struct wd_asset *old = wd_asset_find(&k->m, &j->a.id);
	struct content_member m;
	enum there there = THERE_NOTHING;
	uint32_t i;
	enum err e = wd_folder_open(k->dir, j->path, &j->fd);

	if (e == ERR_NOTFOUND || old_is_current(k, old))
		return ERR_OK;
	for (i = 0; e == ERR_OK && i < content_n(j->content); i++) {
		content_member(j->content, i, &m);
		e = file_there(
		    k, (struct look){ old, m.name, i, &m.hash }, &there);
		if (e == ERR_OK && there == THERE_YOURS)
			e = file_yours(k, m.name);
	}
	for (i = 0; e == ERR_OK && old != NULL && i < old->n; i++) {
		if (content_find(j->content, old->f[i].name, i) != UINT32_MAX)
			continue;
		e = file_there(
		    k, (struct look){ old, old->f[i].name, i, NULL }, &there);
		if (e == ERR_OK && there == THERE_YOURS)
			e = file_yours(k, old->f[i].name);
	}
	return e;
}

static enum err
checkout_check(struct checkout *k)
{
	uint32_t i;
	enum err e = ERR_OK;

	k->locks = mem_array(k->ids.n, sizeof(*k->locks));
	if (k->locks == NULL)
		return ERR_NOMEM;
	for (i = 0; e == ERR_OK && i < k->ids.n; i++) {
		e = job_open(k, i);
		if (e == ERR_OK)
			e = job_check(k);
		job_close(k);
	}
	return e;
}

/* --- writing --- */

struct sink {
	struct wd_part part;
	struct checkout *k;
};

static enum err
sink_part(void *ctx, struct slice part)
{
	struct sink *s = ctx;
	struct checkout *k = s->k;
	enum err e = wd_part_write(&s->part, part);

	k->bytes += part.n;
	if (e != ERR_OK)
		return e;
	return k->fns->progress(k->fns->ctx, k->files, k->bytes) == 0
		   ? ERR_OK
		   : ERR_CANCELLED;
}

static enum err
file_write(struct checkout *k, uint32_t i, const char *name)
{
	struct sink s = { .k = k };
	enum err e = wd_part_open(k->job.fd, WD_MASK, &s.part);

	if (e != ERR_OK)
		return e;
	e = content_stream(k->job.content, i, sink_part, &s);
	if (e == ERR_OK)
		return wd_part_give(k->job.fd, &s.part, name);
	wd_part_drop(k->job.fd, &s.part);
	return e;
}

static enum err
file_place(struct checkout *k, const struct wd_asset *old, uint32_t i)
{
	struct content_member m;
	enum there there;
	enum err e;

	content_member(k->job.content, i, &m);
	if (!content_name_good(m.name))
		return errmsg_set(k->em, ERR_UNSUPPORTED,
		    "Ask the site that made it for a new version.",
		    "a file of %.80s has a name that cannot be written",
		    k->job.path);
	e = file_there(k, (struct look){ old, m.name, i, &m.hash }, &there);
	if (e == ERR_OK && there == THERE_YOURS && !old_is_current(k, old))
		return file_yours(k, m.name);
	if (e == ERR_OK && (there == THERE_NOTHING || there == THERE_OLD)) {
		e = file_write(k, i, m.name);
		k->job.written += e == ERR_OK;
	}
	k->files++;
	if (e != ERR_OK && e != ERR_CANCELLED)
		return errmsg_set(k->em, e,
		    "Check the disk and the rights of the directory.",
		    "writing %.60s/%.80s: %s", k->job.path, m.name,
		    err_text(e));
	return e;
}

/* Files that the new version has no more. */
static enum err
job_prune(struct checkout *k, const struct wd_asset *old)
{
	enum there there;
	uint32_t i;
	enum err e = ERR_OK;

	for (i = 0; e == ERR_OK && old != NULL && i < old->n; i++) {
		const char *name = old->f[i].name;

		if (content_find(k->job.content, name, i) != UINT32_MAX)
			continue;
		e = file_there(k, (struct look){ old, name, i, NULL }, &there);
		if (e == ERR_OK && there == THERE_OLD &&
		    unlinkat(k->job.fd, name, 0) != 0)
			e = wd_errno(errno);
	}
	return e;
}

/* The manifest's entry as the new version has it. */
static enum err
job_entry(struct checkout *k, uint32_t n)
{
	struct checkout_job *j = &k->job;
	struct wd_asset *w = wd_asset_find(&k->m, &j->a.id);
	struct content_member m;
	uint32_t i;
	enum err e = ERR_OK;

	if (w == NULL && (w = wd_asset_add(&k->m)) == NULL)
		return ERR_LIMIT;
	wd_files_clear(w);
	w->id = j->a.id;
	w->version = j->a.head.op_id;
	w->derived = j->a.head.derived;
	w->lock = k->locks[n].wanted || (k->o->lock && k->locks[n].mine);
	memcpy(w->level, j->a.level, sizeof(w->level));
	memcpy(w->path, j->path, sizeof(w->path));
	wd_names_of(k->shares, k->n_shares, &j->a, w);
	for (i = 0; e == ERR_OK && i < content_n(j->content); i++) {
		content_member(j->content, i, &m);
		e = wd_file_add(w, m.name, m.len, &m.hash);
	}
	return e;
}

static enum err
job_say(struct checkout *k, uint32_t n, const char *state)
{
	const struct wd_lock *l = &k->locks[n];
	struct workdir_out o = { .id = k->job.a.id,
		.level = k->job.a.level,
		.path = k->job.path,
		.state = state,
		.version = k->job.a.head.op_id,
		.files = content_n(k->job.content),
		.bytes = k->job.a.head.bytes,
		.lock = l->wanted ? "taken"
			: l->mine ? "yours"
				  : "none",
		.locked_by = l->by[0] != '\0' ? l->by : NULL,
		.locked_ms = l->since_ms };

	return k->fns->out(k->fns->ctx, &o) == 0 ? ERR_OK : ERR_CANCELLED;
}

static enum err
job_write(struct checkout *k, uint32_t n)
{
	struct checkout_job *j = &k->job;
	const struct wd_asset *old = wd_asset_find(&k->m, &j->a.id);
	bool was = old != NULL, current = old_is_current(k, old);
	uint32_t i;
	enum err e = ERR_OK;

	j->written = 0;
	if (mkdirat(k->dir, j->path, 0777) != 0 && errno != EEXIST)
		e = wd_errno(errno);
	if (e == ERR_OK)
		e = wd_folder_open(k->dir, j->path, &j->fd);
	if (e != ERR_OK)
		return errmsg_set(k->em, e,
		    "Check the rights of the directory.",
		    "the folder %.100s cannot be made: %s", j->path,
		    err_text(e));
	for (i = 0; e == ERR_OK && i < content_n(j->content); i++)
		e = file_place(k, old, i);
	if (e == ERR_OK)
		e = job_prune(k, old);
	if (e == ERR_OK)
		e = job_entry(k, n);
	if (e == ERR_OK)
		e = job_say(k, n,
		    !was      ? "new"
		    : current ? "current"
			      : "updated");
	return e;
}

static enum err
checkout_write(struct checkout *k)
{
	uint32_t i;
	enum err e = ERR_OK;

	for (i = 0; e == ERR_OK && i < k->ids.n; i++) {
		e = job_open(k, i);
		if (e == ERR_OK)
			e = job_write(k, i);
		job_close(k);
	}
	/* One sync for all: a sync a file costs more than the copying. */
	if (e == ERR_OK && syncfs(k->dir) != 0)
		e = errmsg_set(k->em, wd_errno(errno), "Check the disk.",
		    "the files did not reach the disk");
	return e == ERR_OK ? wd_manifest_write(k->dir, &k->m, k->em) : e;
}

enum err
workdir_checkout(const struct workdir_env *env,
    const struct workdir_checkout_opts *o, const struct workdir_fns *fns,
    struct errmsg *em)
{
	struct checkout *k = mem_new(sizeof(*k));
	enum err e;

	if (k == NULL)
		return errmsg_set(em, ERR_NOMEM, "", "out of memory");
	k->env = env;
	k->o = o;
	k->fns = fns;
	k->em = em;
	k->dir = k->job.fd = -1;
	e = checkout_choose(k);
	if (e == ERR_OK)
		e = shares_list(env->shares, &k->shares, &k->n_shares);
	if (e == ERR_OK)
		e = wd_dir_open(o->dir, true, &k->dir, em);
	if (e == ERR_OK)
		e = checkout_dir(k);
	if (e == ERR_OK)
		e = checkout_check(k);
	if (e == ERR_OK)
		e = wd_lock_take(k);
	k->locked = true;
	if (e == ERR_OK)
		e = checkout_write(k);
	if (k->dir >= 0)
		(void)close(k->dir);
	if (k->shares != NULL)
		shares_list_free(k->shares, k->n_shares);
	workdir_ids_fini(&k->ids);
	wd_manifest_fini(&k->m);
	mem_free(k->locks);
	mem_free(k);
	return e;
}
