/* node/conf/json.c: JSON text -> tree, and reading trees.
 *
 * Happy path: one scan over the bytes counts depth and nodes without
 * allocating, then jansson parses (it refuses duplicate keys, NaN, numbers
 * out of range and bad UTF-8).  Failure: line and column and what kind of
 * thing is wrong; the text itself is never repeated in a message, because it
 * may be about a patient. */
#include "node/conf/conf_internal.h"

#include <jansson.h>
#undef json_is_array /* ours is a function */

static const json_t *
json_in(const struct json *j)
{
	return (const json_t *)(const void *)j;
}

static const struct json *
json_out(const json_t *j)
{
	return (const struct json *)(const void *)j;
}

/* Depth and nodes of what looks like JSON; a string hides its brackets. */
static enum err
json_scan(struct slice text, uint32_t nodes_max)
{
	uint32_t depth = 0, nodes = 1;
	bool in_text = false;
	size_t i;

	for (i = 0; i < text.n; i++) {
		uint8_t c = text.p[i];

		if (in_text) {
			if (c == '\\')
				i++;
			else if (c == '"')
				in_text = false;
			continue;
		}
		if (c == '"') {
			in_text = true;
		} else if (c == '[' || c == '{') {
			nodes++;
			if (++depth > TREE_DEPTH_MAX)
				return ERR_LIMIT;
		} else if (c == ']' || c == '}') {
			depth -= depth > 0 ? 1 : 0;
		} else if (c == ',') {
			nodes++;
		}
		if (nodes > nodes_max)
			return ERR_LIMIT;
	}
	return ERR_OK;
}

static const char *
json_why(const json_error_t *je)
{
	switch ((int)json_error_code(je)) {
	case json_error_duplicate_key: return "a key occurs twice";
	case json_error_invalid_utf8: return "text is not UTF-8";
	case json_error_null_character:
	case json_error_null_byte_in_key: return "text holds a NUL";
	case json_error_numeric_overflow: return "a number is out of range";
	case json_error_premature_end_of_input: return "it ends too early";
	case json_error_end_of_input_expected:
		return "something follows the end";
	default: return "not valid JSON";
	}
}

/* No map wider than TREE_MEMBERS_MAX: json_member() walks from the start. */
static bool
json_narrow(const json_t *j)
{
	const char *key;
	json_t *v;
	size_t i;

	if (json_is_object(j)) {
		if (json_object_size(j) > TREE_MEMBERS_MAX)
			return false;
		json_object_foreach((json_t *)(uintptr_t)j, key, v)
		{
			if (!json_narrow(v))
				return false;
		}
	}
	for (i = 0; i < json_array_size(j); i++) {
		if (!json_narrow(json_array_get(j, i)))
			return false;
	}
	return true;
}

enum err
json_parse(struct slice text, struct json **out, struct errmsg *em)
{
	return json_parse_max(text, TREE_NODES_MAX, out, em);
}

enum err
json_parse_max(struct slice text, uint32_t values_max, struct json **out,
    struct errmsg *em)
{
	json_error_t je;
	json_t *j;

	if (text.p == NULL)
		text = SLICE_LIT(""); /* jansson tells no place for NULL */
	if (json_scan(text, values_max) != ERR_OK)
		return errmsg_set(em, ERR_LIMIT, "Send less at once.",
		    "JSON is deeper than %u or has more than %u values",
		    TREE_DEPTH_MAX, values_max);
	j = json_loadb((const char *)text.p, text.n,
	    JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &je);
	if (j == NULL)
		return errmsg_set(em, ERR_MALFORMED, "Correct the JSON text.",
		    "line %d col %d: %s", je.line, je.column, json_why(&je));
	if (!json_narrow(j)) {
		json_decref(j);
		return errmsg_set(em, ERR_LIMIT, "Send less at once.",
		    "JSON has a map of more than %u members", TREE_MEMBERS_MAX);
	}
	*out = (struct json *)(void *)j;
	return ERR_OK;
}

void
json_free(struct json *j)
{
	json_decref((json_t *)(void *)j);
}

const struct json *
json_get(const struct json *j, const char *key)
{
	return json_out(json_object_get(json_in(j), key));
}

const char *
json_str(const struct json *j)
{
	return json_string_value(json_in(j));
}

const char *
json_get_str(const struct json *j, const char *key, const char *def)
{
	const char *s = json_str(json_get(j, key));

	return s != NULL ? s : def;
}

bool
json_get_bool(const struct json *j, const char *key, bool def)
{
	const json_t *v = json_object_get(json_in(j), key);

	return v != NULL && json_is_boolean(v) ? json_is_true(v) : def;
}

int64_t
json_get_int(const struct json *j, const char *key, int64_t def)
{
	const json_t *v = json_object_get(json_in(j), key);

	return v != NULL && json_is_integer(v) ? json_integer_value(v) : def;
}

double
json_get_f64(const struct json *j, const char *key, double def)
{
	const json_t *v = json_object_get(json_in(j), key);

	return v != NULL && json_is_number(v) ? json_number_value(v) : def;
}

bool
json_is_map(const struct json *j)
{
	return json_is_object(json_in(j));
}

bool
json_is_array(const struct json *j)
{
	return j != NULL && json_typeof(json_in(j)) == JSON_ARRAY;
}

size_t
json_len(const struct json *j)
{
	return json_is_array(j) ? json_array_size(json_in(j))
				: json_object_size(json_in(j));
}

const struct json *
json_at(const struct json *j, size_t i)
{
	return json_out(json_array_get(json_in(j), i));
}

const struct json *
json_member(const struct json *j, size_t i, const char **key)
{
	json_t *o = (json_t *)(uintptr_t)j;
	void *it = json_object_iter(o);

	while (it != NULL && i > 0) {
		it = json_object_iter_next(o, it);
		i--;
	}
	*key = it != NULL ? json_object_iter_key(it) : NULL;
	return it != NULL ? json_out(json_object_iter_value(it)) : NULL;
}

static void
jw_jansson(struct jw *w, const char *key, const json_t *j)
{
	const char *k;
	json_t *v;
	size_t i;

	switch (json_typeof(j)) {
	case JSON_OBJECT:
		jw_obj(w, key);
		json_object_foreach((json_t *)(uintptr_t)j, k, v)
		    jw_jansson(w, k, v);
		jw_end(w);
		break;
	case JSON_ARRAY:
		jw_arr(w, key);
		for (i = 0; i < json_array_size(j); i++)
			jw_jansson(w, NULL, json_array_get(j, i));
		jw_end(w);
		break;
	case JSON_STRING: jw_str(w, key, json_string_value(j)); break;
	case JSON_INTEGER: jw_i64(w, key, json_integer_value(j)); break;
	case JSON_REAL: jw_f64(w, key, json_real_value(j)); break;
	case JSON_TRUE:
	case JSON_FALSE: jw_bool(w, key, json_is_true(j)); break;
	case JSON_NULL: jw_null(w, key); break;
	}
}

void
jw_json(struct jw *w, const char *key, const struct json *j)
{
	if (j == NULL)
		jw_null(w, key);
	else
		jw_jansson(w, key, json_in(j));
}
