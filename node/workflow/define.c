/* node/workflow/define.c: the YAML of a workflow.
 *
 *   name: to-nifti
 *   version: 1
 *   trigger:
 *     arrival:
 *       where: level=series and Modality=MR
 *   steps:
 *     - id: nifti
 *       builtin: convert
 *       with:
 *         to: nifti
 *
 * The loader is the validator (rulings.md 30): an unknown key, trigger or
 * step is an error that names it. */
#include <ctype.h>

#include "node/workflow/workflow_internal.h"

static enum err
only_keys(const struct json *j, const char *where, const char *const *known,
    struct errmsg *em)
{
	const char *key;
	size_t i, k;

	if (!json_is_map(j))
		return errmsg_set(em, ERR_MALFORMED, "see docs/workflow.md",
		    "%s must be a map", where);
	for (i = 0; i < json_len(j); i++) {
		(void)json_member(j, i, &key);
		for (k = 0; known[k] != NULL; k++) {
			if (strcmp(known[k], key) == 0)
				break;
		}
		if (known[k] == NULL)
			return errmsg_set(em, ERR_MALFORMED,
			    "remove it, or see docs/workflow.md",
			    "unknown key `%.64s` in %s", key, where);
	}
	return ERR_OK;
}

static enum err
copy_text(const struct json *j, const char *key, char *out, size_t cap,
    struct errmsg *em)
{
	const char *v = json_get_str(j, key, NULL);

	if (v == NULL || v[0] == '\0' || strlen(v) >= cap)
		return errmsg_set(em, ERR_MALFORMED, "see docs/workflow.md",
		    "`%s` must be a text of 1 to %zu bytes", key, cap - 1);
	(void)snprintf(out, cap, "%s", v);
	return ERR_OK;
}

static enum err
name_check(const char *name, struct errmsg *em)
{
	const char *p;

	for (p = name; *p != '\0'; p++) {
		if (!isalnum((unsigned char)*p) && strchr("-_.", *p) == NULL)
			return errmsg_set(em, ERR_MALFORMED,
			    "use letters, digits, - _ and .",
			    "the name `%.64s` holds another character", name);
	}
	return ERR_OK;
}

static enum err
parse_trigger(const struct json *root, struct wf_def *out, struct errmsg *em)
{
	static const char *const kinds[] = { "arrival", NULL };
	static const char *const keys[] = { "where", NULL };
	const struct json *t = json_get(root, "trigger");
	struct cat_query *q = NULL;
	enum err e;

	if ((e = only_keys(t, "trigger", kinds, em)) != ERR_OK)
		return e;
	t = json_get(t, "arrival");
	if ((e = only_keys(t, "trigger.arrival", keys, em)) != ERR_OK)
		return e;
	e = copy_text(t, "where", out->where, sizeof(out->where), em);
	if (e != ERR_OK)
		return e;
	e = cat_query_parse(slice_str(out->where), &q, em);
	cat_query_free(q);
	return e;
}

static enum err
parse_steps(const struct json *root, struct wf_def *out, struct errmsg *em)
{
	static const char *const keys[] = { "id", "builtin", "with", NULL };
	static const char *const with_keys[] = { "to", NULL };
	const struct json *steps = json_get(root, "steps"), *s, *with;
	enum err e;

	if (!json_is_array(steps) || json_len(steps) != 1)
		return errmsg_set(em, ERR_UNSUPPORTED,
		    "write one step of kind `builtin: convert`",
		    "`steps` must be a list of one step");
	s = json_at(steps, 0);
	if ((e = only_keys(s, "the step", keys, em)) != ERR_OK)
		return e;
	e = copy_text(s, "id", out->step, sizeof(out->step), em);
	if (e != ERR_OK)
		return e;
	if (strcmp(json_get_str(s, "builtin", ""), "convert") != 0)
		return errmsg_set(em, ERR_UNSUPPORTED,
		    "write `builtin: convert`",
		    "the step's builtin `%.32s` is not known",
		    json_get_str(s, "builtin", ""));
	with = json_get(s, "with");
	if (with == NULL)
		return ERR_OK;
	if ((e = only_keys(with, "with", with_keys, em)) != ERR_OK)
		return e;
	if (strcmp(json_get_str(with, "to", "nifti"), "nifti") != 0)
		return errmsg_set(em, ERR_UNSUPPORTED, "write `to: nifti`",
		    "convert cannot write `%.32s`",
		    json_get_str(with, "to", ""));
	return ERR_OK;
}

enum err
wf_parse(struct slice yaml, struct wf_def *out, struct errmsg *em)
{
	static const char *const keys[] = { "name", "version", "description",
		"trigger", "steps", NULL };
	struct json *j = NULL;
	enum err e;

	memset(out, 0, sizeof(*out));
	if (yaml.n > WF_YAML_MAX)
		return errmsg_set(em, ERR_LIMIT, "make it shorter",
		    "a workflow is at most 64 KiB");
	if ((e = yaml_parse(yaml, &j, em)) != ERR_OK)
		return e;
	if ((e = only_keys(j, "the workflow", keys, em)) != ERR_OK)
		goto out;
	if (json_get_int(j, "version", 0) != 1) {
		e = errmsg_set(em, ERR_UNSUPPORTED, "write `version: 1`",
		    "`version` must be 1");
		goto out;
	}
	if ((e = copy_text(j, "name", out->name, sizeof(out->name), em)) !=
	    ERR_OK)
		goto out;
	if ((e = name_check(out->name, em)) != ERR_OK)
		goto out;
	if ((e = parse_trigger(j, out, em)) != ERR_OK)
		goto out;
	if ((e = parse_steps(j, out, em)) != ERR_OK)
		goto out;
	cry_hash(yaml, &out->hash);
out:
	json_free(j);
	return e;
}

enum err
workflow_check(
    struct slice yaml, char name[LIM_NAME_BYTES + 1], struct errmsg *em)
{
	struct wf_def d;
	enum err e = wf_parse(yaml, &d, em);

	if (e == ERR_OK)
		memcpy(name, d.name, sizeof(d.name));
	return e;
}
