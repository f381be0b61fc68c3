/* node/ingest/reidentify.c: who is behind a pseudonym?
 *
 * Happy path: one job looks in the map of each share, and writes who asked and
 * why into the audit; only after that is durable is anybody told.  A look that
 * finds nobody is audited as well: guessing leaves a trace.
 * domain.md 4, 25, 28: the site that has the map alone can do this. */
#include "node/ingest/ingest_internal.h"
#include "store/base/mem.h"

#define FOUND_MAX 64u

struct look {
	struct ingest *g;
	const struct ingest_look *o;
	const struct share_info *shares;
	uint32_t n_shares;
	const struct share_info *at; /* the share at hand */
	struct ingest_person *found;
	uint32_t n;
};

static int
look_person(void *ctx, const struct ingest_person *p)
{
	struct look *l = ctx;

	if (l->n == FOUND_MAX)
		return 1;
	l->found[l->n] = *p;
	memcpy(l->found[l->n++].share, l->at->name, sizeof(l->at->name));
	return 0;
}

static enum err
look_job(struct store_txn *t, void *ctx)
{
	struct look *l = ctx;
	uint32_t i;
	enum err e = ERR_OK;

	l->n = 0;
	for (i = 0; e == ERR_OK && i < l->n_shares; i++) {
		l->at = &l->shares[i];
		e = id_people(l->g, store_txn_db(t), &l->at->id,
		    l->o->pseudonym, look_person, l);
		if (e == ERR_NOTFOUND)
			e = ERR_OK;
	}
	return e == ERR_OK ? cat_audit_append(t, l->o->actor,
				 l->n > 0 ? "map.lookup" : "map.lookup.nobody",
				 l->o->pseudonym, l->o->reason)
			   : e;
}

static enum err
look_run(struct look *l, struct errmsg *em)
{
	enum err e;

	l->found = mem_array(FOUND_MAX, sizeof(*l->found));
	if (l->found == NULL)
		return errmsg_set(em, ERR_NOMEM, "", "out of memory");
	e = store_write(l->g->o.store, look_job, l);
	if (e != ERR_OK)
		return errmsg_set(em, e, "run `pesscara verify`",
		    "the map cannot be read: %s", err_text(e));
	if (l->n == 0)
		return errmsg_set(em, ERR_NOTFOUND,
		    "ask the site that the subject is of, it alone can tell; "
		    "`pesscara find level=subject` lists the names",
		    "this site gave nobody this pseudonym");
	return ERR_OK;
}

enum err
ingest_reidentify(struct ingest *g, const struct ingest_look *o,
    ingest_person_fn fn, void *ctx, struct errmsg *em)
{
	struct look l = { .g = g, .o = o };
	struct share_info *all = NULL, one = { 0 };
	uint32_t n_all = 0, i;
	enum err e;

	if (o->reason == NULL || o->reason[strspn(o->reason, " \t")] == '\0')
		return errmsg_set(em, ERR_MALFORMED, "add --reason TEXT",
		    "looking up a patient needs a reason");
	if (o->share != NULL)
		e = shares_find(g->o.shares, o->share, &one, em);
	else
		e = shares_list(g->o.shares, &all, &n_all);
	if (e != ERR_OK)
		return e;
	l.shares = o->share != NULL ? &one : all;
	l.n_shares = o->share != NULL ? 1 : n_all;
	e = look_run(&l, em);
	for (i = 0; e == ERR_OK && i < l.n; i++) {
		if (fn(ctx, &l.found[i]) != 0)
			break;
	}
	if (l.found != NULL)
		explicit_bzero(l.found, FOUND_MAX * sizeof(*l.found));
	mem_free(l.found);
	share_info_fini(&one);
	shares_list_free(all, n_all);
	return e;
}
