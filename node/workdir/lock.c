/* node/workdir/lock.c: advisory locks: who works on an asset, for peers to
 * see (store/catalog/edit.h).
 *
 * A lock keeps nobody from anything.  A site that may not say something of an
 * asset (a reader; a runner, of what came) checks out without one.  It ends
 * by itself after LOCK_DAYS, so that a forgotten directory holds no asset. */
#include "node/workdir/checkout.h"
#include "store/base/clock.h"
#include "store/base/mem.h"
#include "store/catalog/edit.h"

#define LOCK_DAYS 30u
#define DAY_MS ((uint64_t)86400 * 1000)

struct look {
	const char *actor;
	struct wd_lock *out;
	uint64_t now_ms;
};

static int
look_fact(void *ctx, const struct cat_fact *f)
{
	struct look *l = ctx;

	if (f->until_ms != 0 && f->until_ms <= l->now_ms)
		return 0;
	if (slice_eq(f->name, slice_str(l->actor))) {
		l->out->mine = true;
	} else if (f->created_ms >= l->out->since_ms) {
		l->out->since_ms = f->created_ms;
		(void)snprintf(l->out->by, sizeof(l->out->by), "%.*s",
		    (int)f->name.n, (const char *)f->name.p);
	}
	return 0;
}

enum err
wd_lock_look(struct db_txn *t, const struct asset_id *id, const char *actor,
    struct wd_lock *out)
{
	struct look l = { actor, out, clock_wall_ms() };

	*out = (struct wd_lock){ .id = *id };
	return cat_facts_each(t, id, CAT_LOCK, true, look_fact, &l);
}

bool
wd_may_write(const struct share_info *shares, uint32_t n,
    const struct cat_asset *a, bool original)
{
	uint32_t i, c;

	for (i = 0; i < n; i++) {
		const struct share_info *s = &shares[i];

		if (memcmp(&s->id, &a->share, sizeof(a->share)) != 0)
			continue;
		for (c = 0; c < s->n_compartments; c++) {
			if (s->c[c].no == a->compartment)
				return original ? s->c[c].may_write_original
						: s->c[c].may_write;
		}
	}
	return false;
}

enum err
wd_lock_edit(struct store_txn *t, const struct workdir_env *env,
    const struct wd_lock_act *act)
{
	struct cat_asset *a = mem_new(sizeof(*a));
	struct cat_edit edit = { .kind = act->release ? CAT_UNLOCK : CAT_LOCK,
		.name = slice_str(act->actor),
		.actor = act->actor,
		.site = env->site };
	struct asset_id out;
	enum err e;

	if (a == NULL)
		return ERR_NOMEM;
	if (!act->release)
		edit.until_ms = clock_wall_ms() + LOCK_DAYS * DAY_MS;
	e = cat_asset_get(env->store, store_txn_db(t), act->id, a);
	if (e == ERR_OK) {
		edit.level = a->level;
		edit.key = a->key;
		e = shares_append_edit(
		    t, env->shares, a->share_no, a->compartment, &edit, &out);
	}
	mem_free(a);
	return e;
}

/* --- of a check-out --- */

static enum err
take_job(struct store_txn *t, void *ctx)
{
	struct checkout *k = ctx;
	uint32_t i;
	enum err e = ERR_OK;

	for (i = 0; e == ERR_OK && i < k->ids.n; i++) {
		struct wd_lock_act act = { &k->locks[i].id, k->o->actor,
			false };

		if (!k->locks[i].wanted)
			continue;
		e = wd_lock_edit(t, k->env, &act);
	}
	return e;
}

enum err
wd_lock_plan(struct checkout *k, struct db_txn *t, uint32_t i)
{
	struct wd_lock *l = &k->locks[i];
	const struct cat_asset *a = &k->job.a;
	enum err e = wd_lock_look(t, &a->id, k->o->actor, l);

	l->wanted = e == ERR_OK && k->o->lock && !l->mine &&
		    wd_may_write(k->shares, k->n_shares, a, !a->head.derived);
	k->n_wanted += l->wanted;
	return e;
}

enum err
wd_lock_take(struct checkout *k)
{
	enum err e;

	if (k->n_wanted == 0)
		return ERR_OK;
	e = store_write(k->env->store, take_job, k);
	if (e != ERR_OK)
		return errmsg_set(k->em, e, "Or check out with --no-lock.",
		    "the locks could not be set: %s", err_text(e));
	return ERR_OK;
}
