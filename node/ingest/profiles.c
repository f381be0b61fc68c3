/* node/ingest/profiles.c: de-identification profiles by name.
 *
 * A profile is read when an association or an import begins and holds until
 * its end; its table goes to the confined helper.  What is told to people are
 * names, the hash over the table's bytes, and the rules that differ from its
 * parent's. */
#include "node/conf/profile.h"
#include "node/ingest/ingest_internal.h"
#include "store/base/enc.h"
#include "store/base/mem.h"

enum err
ingest_profile_table(const struct ingest *g, const char *name, struct buf *out,
    struct errmsg *em)
{
	struct profile *p = NULL;
	enum err e = profile_load(g->o.home, name, &p, em);

	if (e != ERR_OK)
		return e;
	buf_init(out, TABLE_BYTES_MAX);
	table_encode(&p->table, out);
	e = buf_err(out);
	if (e != ERR_OK)
		(void)errmsg_set(em, e, "Split it.",
		    "the profile %s is larger than can be used", name);
	profile_free(p);
	return e;
}

/* --- telling --- */

static void
put_options(uint32_t bits, char *out, size_t cap)
{
	const struct table_option *o;
	size_t n = 0;

	out[0] = '\0';
	for (uint32_t i = 0; (o = table_option_at(i)) != NULL; i++)
		if ((o->bit & bits) != 0 && n + 8 < cap)
			n += (size_t)snprintf(out + n, cap - n, "%s%s",
			    n > 0 ? " " : "", o->code);
}

static enum err
describe(const struct profile *p, struct ingest_profile *out)
{
	struct buf b = BUF_MAX(TABLE_BYTES_MAX);
	struct cry_id hash;
	enum err e;

	table_encode(&p->table, &b);
	e = buf_err(&b);
	if (e == ERR_OK) {
		cry_hash(buf_slice(&b), &hash);
		enc_hex(slice_of(hash.b, 32), out->hash);
	}
	(void)snprintf(out->parent, sizeof(out->parent), "%s", p->parent);
	(void)snprintf(
	    out->description, sizeof(out->description), "%s", p->description);
	put_options(p->table.options, out->options, sizeof(out->options));
	out->rules = p->table.n_rules + p->table.n_private;
	out->departs = p->table.departs;
	buf_fini(&b);
	return e;
}

enum err
ingest_profile_get(const struct ingest *g, const char *name,
    struct ingest_profile *out, struct errmsg *em)
{
	struct profile *p = NULL;
	enum err e = profile_load(g->o.home, name, &p, em);

	*out = (struct ingest_profile){ 0 };
	(void)snprintf(out->name, sizeof(out->name), "%s", name);
	if (e == ERR_OK)
		e = describe(p, out);
	profile_free(p);
	return e;
}

struct each {
	const struct ingest *g;
	ingest_profile_fn fn;
	void *ctx;
};

static int
each_one(void *ctx, const char *name)
{
	const struct each *q = ctx;
	struct ingest_profile one;
	struct errmsg em = { 0 };

	if (ingest_profile_get(q->g, name, &one, &em) != ERR_OK)
		(void)snprintf(one.wrong, sizeof(one.wrong), "%s", em.cause);
	return q->fn(q->ctx, &one);
}

enum err
ingest_profiles_each(const struct ingest *g, ingest_profile_fn fn, void *ctx)
{
	struct each q = { g, fn, ctx };

	return profile_each(g->o.home, each_one, &q);
}

static void
rule_text(const struct deid_table *t, const struct table_rule *r, char *out,
    size_t cap)
{
	enum table_action a;

	if (r == NULL) {
		(void)snprintf(out, cap, "by the table");
		return;
	}
	a = (enum table_action)r->action;
	if (a == TABLE_REPLACE || a == TABLE_SET)
		(void)snprintf(out, cap, "%s \"%s\"", table_action_word(a),
		    t->texts[r->text]);
	else
		(void)snprintf(out, cap, "%s", table_action_word(a));
}

static void
private_text(const struct table_private *p, char *out, size_t cap)
{
	if (p == NULL)
		(void)snprintf(out, cap, "by the table");
	else if (p->vr == VR_NONE)
		(void)snprintf(out, cap, "remove");
	else
		(void)snprintf(
		    out, cap, "keep %s", dict_vr_name((enum dcm_vr)p->vr));
}

/* A rule of one or both; stops when fn asks for it. */
static int
tell_rule(const struct deid_table *mine, const struct deid_table *theirs,
    uint32_t tag, ingest_rule_fn fn, void *ctx)
{
	struct ingest_rule out = { 0 };

	rule_text(mine, table_find(mine, tag), out.now, sizeof(out.now));
	rule_text(
	    theirs, table_find(theirs, tag), out.parent, sizeof(out.parent));
	if (strcmp(out.now, out.parent) == 0)
		return 0;
	profile_tag_text(tag, NULL, out.element, sizeof(out.element));
	(void)snprintf(
	    out.name, sizeof(out.name), "%s", dict_keyword(dict_find(tag)));
	return fn(ctx, &out);
}

static int
tell_private(const struct deid_table *mine, const struct deid_table *theirs,
    const struct table_private *p, ingest_rule_fn fn, void *ctx)
{
	struct slice creator = slice_str(p->creator);
	uint32_t tag = (uint32_t)p->group << 16 | p->low;
	struct ingest_rule out = { 0 };

	private_text(
	    table_find_private(mine, creator, tag), out.now, sizeof(out.now));
	private_text(table_find_private(theirs, creator, tag), out.parent,
	    sizeof(out.parent));
	if (strcmp(out.now, out.parent) == 0)
		return 0;
	profile_tag_text(tag, p->creator, out.element, sizeof(out.element));
	return fn(ctx, &out);
}

/* A child has every rule of its parent's, so its own list is all there is. */
static void
tell_all(const struct deid_table *mine, const struct deid_table *theirs,
    ingest_rule_fn fn, void *ctx)
{
	int stop = 0;

	for (uint32_t k = 0; k < mine->n_rules && stop == 0; k++)
		stop = tell_rule(mine, theirs, mine->rules[k].tag, fn, ctx);
	for (uint32_t k = 0; k < mine->n_private && stop == 0; k++)
		stop = tell_private(mine, theirs, &mine->priv[k], fn, ctx);
}

enum err
ingest_profile_rules(const struct ingest *g, const char *name,
    ingest_rule_fn fn, void *ctx, struct errmsg *em)
{
	struct profile *p = NULL, *up = NULL;
	enum err e = profile_load(g->o.home, name, &p, em);

	if (e == ERR_OK && p->parent[0] != '\0') {
		e = profile_load(g->o.home, p->parent, &up, em);
		if (e == ERR_OK)
			tell_all(&p->table, &up->table, fn, ctx);
	}
	profile_free(up);
	profile_free(p);
	return e;
}
