/* node/api/deid.c: de-identification profiles, as the node would use them
 * now.  A profile that cannot be used is listed with the reason. */
#include "node/api/api_internal.h"

#include "store/base/mem.h"

static void
profile_members(struct jw *w, const struct ingest_profile *p)
{
	jw_str(w, "name", p->name);
	jw_str(w, "extends", p->parent[0] != '\0' ? p->parent : NULL);
	jw_str(w, "hash", p->hash[0] != '\0' ? p->hash : NULL);
	jw_str(w, "options", p->options);
	jw_u64(w, "rules", p->rules);
	jw_bool(w, "departs", p->departs);
	jw_str(w, "description", p->description);
	jw_str(w, "wrong", p->wrong[0] != '\0' ? p->wrong : NULL);
}

static int
profile_row(void *ctx, const struct ingest_profile *p)
{
	struct api_rows *s = ctx;

	profile_members(api_row(s), p);
	api_row_end(s);
	return buf_err(&s->b) == ERR_OK ? 0 : 1;
}

enum err
api_h_profiles(struct api_call *c)
{
	struct api_rows s;
	enum err e;

	api_rows_init(&s, c, API_LIST_BYTES);
	e = ingest_profiles_each(c->a->o.ingest, profile_row, &s);
	if (e == ERR_OK)
		e = api_rows_flush(&s);
	api_rows_fini(&s);
	return e;
}

static int
rule_row(void *ctx, const struct ingest_rule *r)
{
	struct api_rows *s = ctx;
	struct jw *w = api_row(s);

	jw_str(w, "element", r->element);
	jw_str(w, "name", r->name);
	jw_str(w, "now", r->now);
	jw_str(w, "parent", r->parent);
	api_row_end(s);
	return buf_err(&s->b) == ERR_OK ? 0 : 1;
}

enum err
api_h_profile(struct api_call *c)
{
	struct ingest_profile *p = mem_new(sizeof(*p));
	struct api_rows s;
	enum err e;

	if (p == NULL)
		return ERR_NOMEM;
	api_rows_init(&s, c, API_LIST_BYTES);
	e = ingest_profile_get(c->a->o.ingest, c->param[0], p, &c->em);
	if (e == ERR_OK) {
		(void)profile_row(&s, p);
		e = ingest_profile_rules(
		    c->a->o.ingest, c->param[0], rule_row, &s, &c->em);
	}
	if (e == ERR_OK)
		e = api_rows_flush(&s);
	api_rows_fini(&s);
	mem_free(p);
	return e;
}

/* --- the way back --- */

static int
person_row(void *ctx, const struct ingest_person *p)
{
	struct api_rows *s = ctx;
	struct jw *w = api_row(s);

	jw_str(w, "share", p->share);
	jw_str(w, "pseudonym", p->subject);
	jw_str(w, "patient_id", p->patient_id);
	jw_str(w, "issuer", p->issuer[0] != '\0' ? p->issuer : NULL);
	jw_str(w, "patient_name", p->patient_name);
	jw_str(w, "domain", p->domain[0] != '\0' ? p->domain : NULL);
	api_row_end(s);
	return buf_err(&s->b) == ERR_OK ? 0 : 1;
}

enum err
api_h_reidentify(struct api_call *c)
{
	static const char *const keys[] = { "s:pseudonym", "s:share",
		"s:reason", NULL };
	struct ingest_look o = { .share = NULL };
	char actor[API_ACTOR_BYTES];
	struct api_rows s;
	enum err e;

	if ((e = api_body(c)) != ERR_OK || (e = api_only(c, keys)) != ERR_OK ||
	    (e = api_need(c, "pseudonym", &o.pseudonym)) != ERR_OK ||
	    (e = api_need(c, "reason", &o.reason)) != ERR_OK)
		return e;
	api_actor(c, actor);
	api_rows_init(&s, c, API_LIST_BYTES);
	o.actor = actor;
	o.share = json_get_str(c->body, "share", NULL);
	e = ingest_reidentify(c->a->o.ingest, &o, person_row, &s, &c->em);
	if (e == ERR_OK)
		e = api_rows_flush(&s);
	api_rows_fini(&s);
	return e;
}
