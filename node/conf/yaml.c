/* node/conf/yaml.c: YAML text -> the same tree as JSON.
 *
 * Happy path: libyaml's events are turned into jansson values as they come;
 * a stack of open maps and lists says where the next value goes.  Plain
 * scalars follow the YAML 1.2 core schema: null, ~, true, false, integers,
 * floats; `no` and `on` are texts.  Anchors, aliases and tags are refused (no
 * billion laughs), so are duplicate keys, a second document, depth and node
 * counts above the bounds.  Every error names line and column, none repeats
 * the text. */
#include "node/conf/conf_internal.h"

#include <jansson.h>
#include <yaml.h>

#include "store/base/mem.h"
#include "store/base/num.h"

struct yl_frame {
	json_t *v; /* map or list; owned by its parent, the lowest by yl */
	char *key; /* map: the key read last, waiting for its value */
	size_t key_line;
	bool flow;
};

struct yl {
	yaml_parser_t p;
	struct slice text;
	struct yaml_marks *marks;
	struct errmsg *em;
	json_t *root;
	struct yl_frame st[TREE_DEPTH_MAX];
	uint32_t depth;
	uint32_t nodes;
	bool done;
	size_t content_end; /* chars: end of the last scalar or flow value */
	size_t at_chars;    /* yl_bytes(): where the last answer stood */
	size_t at_bytes;
};

static enum err
yl_fail(struct yl *y, enum err e, yaml_mark_t at, const char *what)
{
	return errmsg_set(y->em, e, "Correct the YAML text.",
	    "line %zu col %zu: %s", at.line + 1, at.column + 1, what);
}

/* libyaml counts characters; marks are kept in bytes.  Questions come in
 * order of the text, nearly: the walk goes on from the last answer. */
static size_t
yl_bytes(struct yl *y, size_t chars)
{
	size_t i = y->at_bytes, left = chars - y->at_chars;

	if (chars < y->at_chars || i == 0) {
		i = 0;
		left = chars;
		if (y->text.n >= 3 && memcmp(y->text.p, "\xef\xbb\xbf", 3) == 0)
			i = 3;
	}
	for (; i < y->text.n && left > 0; left--) {
		i++;
		while (i < y->text.n && (y->text.p[i] & 0xc0) == 0x80)
			i++;
	}
	y->at_chars = chars;
	y->at_bytes = i;
	return i;
}

static enum err
yl_mark(struct yl *y, const struct yaml_mark *m)
{
	struct yaml_marks *ms = y->marks;

	if (ms == NULL)
		return ERR_OK;
	if (ms->n == ms->cap) {
		uint32_t cap = ms->cap == 0 ? 64 : ms->cap * 2;
		void *p = mem_grow(ms->m, cap, sizeof(*ms->m));

		if (p == NULL)
			return ERR_NOMEM;
		ms->m = p;
		ms->cap = cap;
	}
	ms->m[ms->n++] = *m;
	return ERR_OK;
}

void
yaml_marks_fini(struct yaml_marks *m)
{
	mem_free(m->m);
	*m = (struct yaml_marks){ 0 };
}

const struct yaml_mark *
yaml_mark_of(const struct yaml_marks *m, const struct json *value)
{
	uint32_t i;

	for (i = 0; i < m->n; i++) {
		if (m->m[i].value == value)
			return &m->m[i];
	}
	return NULL;
}

/* Put v (owned) where the stack says; frees it on failure. */
static enum err
yl_place(struct yl *y, json_t *v, const yaml_event_t *ev, bool flow)
{
	struct yl_frame *f = y->depth > 0 ? &y->st[y->depth - 1] : NULL;
	size_t line = ev->start_mark.line;
	struct yaml_mark m;
	int rc;

	if (v == NULL)
		return ERR_NOMEM;
	if (f == NULL) {
		y->root = v;
	} else if (json_is_array(f->v)) {
		if (json_array_append_new(f->v, v) != 0)
			return ERR_NOMEM;
	} else {
		line = f->key_line;
		if (json_object_size(f->v) >= TREE_MEMBERS_MAX) {
			json_decref(v);
			return yl_fail(y, ERR_LIMIT, ev->start_mark,
			    "a map has too many members");
		}
		rc = json_object_set_new(f->v, f->key, v);
		mem_free(f->key);
		f->key = NULL;
		if (rc != 0) /* jansson refuses bad UTF-8 */
			return yl_fail(y, ERR_MALFORMED, ev->start_mark,
			    "a key is not UTF-8");
	}
	m = (struct yaml_mark){
		.value = (const struct json *)(const void *)v,
		.line = (uint32_t)line + 1,
		.start = y->marks ? yl_bytes(y, ev->start_mark.index) : 0,
		.end = y->marks ? yl_bytes(y, ev->end_mark.index) : 0,
		.flow = flow,
	};
	return yl_mark(y, &m);
}

static json_t *
yl_number(struct slice s)
{
	int64_t i;
	double d;
	size_t k;
	bool digits = false;

	if (s.n > 1 && s.p[0] == '+')
		s = slice_of(s.p + 1, s.n - 1);
	if (num_i64(s, INT64_MIN, INT64_MAX, &i) == ERR_OK)
		return json_integer(i);
	for (k = 0; k < s.n; k++) {
		if (s.p[k] >= '0' && s.p[k] <= '9')
			digits = true;
		else if (strchr("+-.eE", s.p[k]) == NULL || s.p[k] == 0)
			return NULL;
	}
	if (!digits || num_f64(s, &d) != ERR_OK)
		return NULL;
	return json_real(d);
}

static json_t *
yl_scalar_value(const yaml_event_t *ev)
{
	struct slice s =
	    slice_of(ev->data.scalar.value, ev->data.scalar.length);
	json_t *v;

	if (ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE) {
		if (s.n == 0 || slice_eq(s, SLICE_LIT("null")) ||
		    slice_eq(s, SLICE_LIT("~")))
			return json_null();
		if (slice_eq(s, SLICE_LIT("true")))
			return json_true();
		if (slice_eq(s, SLICE_LIT("false")))
			return json_false();
		v = yl_number(s);
		if (v != NULL)
			return v;
	}
	return json_stringn((const char *)s.p, s.n);
}

static enum err
yl_key(struct yl *y, struct yl_frame *f, const yaml_event_t *ev)
{
	const char *s = (const char *)ev->data.scalar.value;

	if (memchr(s, 0, ev->data.scalar.length) != NULL)
		return yl_fail(
		    y, ERR_MALFORMED, ev->start_mark, "a key holds a NUL");
	if (json_object_get(f->v, s) != NULL)
		return yl_fail(
		    y, ERR_MALFORMED, ev->start_mark, "a key occurs twice");
	f->key = mem_strdup(s);
	f->key_line = ev->start_mark.line;
	return f->key != NULL ? ERR_OK : ERR_NOMEM;
}

static enum err
yl_scalar(struct yl *y, const yaml_event_t *ev)
{
	struct yl_frame *f = y->depth > 0 ? &y->st[y->depth - 1] : NULL;
	json_t *v;

	y->content_end = ev->end_mark.index;
	if (ev->data.scalar.anchor != NULL || ev->data.scalar.tag != NULL)
		return yl_fail(y, ERR_UNSUPPORTED, ev->start_mark,
		    "anchors and tags are not allowed");
	if (f != NULL && json_is_object(f->v) && f->key == NULL)
		return yl_key(y, f, ev);
	if (memchr(ev->data.scalar.value, 0, ev->data.scalar.length) != NULL)
		return yl_fail(
		    y, ERR_MALFORMED, ev->start_mark, "a text holds a NUL");
	v = yl_scalar_value(ev);
	return yl_place(y, v, ev, true);
}

static enum err
yl_open(struct yl *y, const yaml_event_t *ev, bool map)
{
	struct yl_frame *f = y->depth > 0 ? &y->st[y->depth - 1] : NULL;
	bool tagged = map ? ev->data.mapping_start.anchor != NULL ||
				ev->data.mapping_start.tag != NULL
			  : ev->data.sequence_start.anchor != NULL ||
				ev->data.sequence_start.tag != NULL;
	bool flow =
	    map ? ev->data.mapping_start.style == YAML_FLOW_MAPPING_STYLE
		: ev->data.sequence_start.style == YAML_FLOW_SEQUENCE_STYLE;
	json_t *v;
	enum err e;

	if (tagged)
		return yl_fail(y, ERR_UNSUPPORTED, ev->start_mark,
		    "anchors and tags are not allowed");
	if (f != NULL && json_is_object(f->v) && f->key == NULL)
		return yl_fail(y, ERR_UNSUPPORTED, ev->start_mark,
		    "a key must be a plain text");
	if (y->depth == TREE_DEPTH_MAX)
		return yl_fail(y, ERR_LIMIT, ev->start_mark, "nested too deep");
	v = map ? json_object() : json_array();
	e = yl_place(y, v, ev, flow);
	if (e != ERR_OK)
		return e;
	y->st[y->depth++] = (struct yl_frame){ .v = v, .flow = flow };
	return ERR_OK;
}

/* A block collection ends where its last content does: libyaml's own end mark
 * lies behind the comments that follow. */
static enum err
yl_close(struct yl *y, const yaml_event_t *ev)
{
	const struct yl_frame *f = &y->st[--y->depth];
	struct yaml_mark *m;
	uint32_t i;

	if (f->flow)
		y->content_end = ev->end_mark.index;
	if (y->marks == NULL)
		return ERR_OK;
	for (i = y->marks->n; i-- > 0;) {
		m = &y->marks->m[i];
		if ((const void *)m->value == (const void *)f->v) {
			m->end = yl_bytes(y, y->content_end);
			break;
		}
	}
	return ERR_OK;
}

static enum err
yl_event(struct yl *y, const yaml_event_t *ev)
{
	switch (ev->type) {
	case YAML_NO_EVENT:
	case YAML_STREAM_START_EVENT:
	case YAML_DOCUMENT_END_EVENT: return ERR_OK;
	case YAML_STREAM_END_EVENT: y->done = true; return ERR_OK;
	case YAML_DOCUMENT_START_EVENT:
		if (y->root != NULL)
			return yl_fail(y, ERR_UNSUPPORTED, ev->start_mark,
			    "a second document follows");
		return ERR_OK;
	case YAML_ALIAS_EVENT:
		return yl_fail(y, ERR_UNSUPPORTED, ev->start_mark,
		    "aliases are not allowed");
	case YAML_SCALAR_EVENT: return yl_scalar(y, ev);
	case YAML_SEQUENCE_START_EVENT: return yl_open(y, ev, false);
	case YAML_MAPPING_START_EVENT: return yl_open(y, ev, true);
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT: return yl_close(y, ev);
	}
	return ERR_MALFORMED;
}

static enum err
yl_run(struct yl *y)
{
	enum err e = ERR_OK;

	while (!y->done && e == ERR_OK) {
		yaml_event_t ev;

		if (!yaml_parser_parse(&y->p, &ev))
			return yl_fail(y,
			    y->p.error == YAML_MEMORY_ERROR ? ERR_NOMEM
							    : ERR_MALFORMED,
			    y->p.problem_mark,
			    y->p.problem != NULL ? y->p.problem
						 : "not valid YAML");
		if (++y->nodes > 2 * TREE_NODES_MAX)
			e = yl_fail(
			    y, ERR_LIMIT, ev.start_mark, "too many values");
		else
			e = yl_event(y, &ev);
		yaml_event_delete(&ev);
	}
	return e;
}

enum err
yaml_load(struct slice text, struct yaml_marks *marks, struct json **out,
    struct errmsg *em)
{
	struct yl *y = mem_new(sizeof(*y));
	enum err e;

	if (text.p == NULL)
		text = SLICE_LIT(""); /* libyaml aborts on NULL */
	if (y == NULL)
		return errmsg_set(em, ERR_NOMEM, "", "out of memory");
	y->text = text;
	y->marks = marks;
	y->em = em;
	if (!yaml_parser_initialize(&y->p)) {
		mem_free(y);
		return errmsg_set(em, ERR_NOMEM, "", "out of memory");
	}
	yaml_parser_set_encoding(&y->p, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&y->p, text.p, text.n);
	e = yl_run(y);
	if (e == ERR_NOMEM)
		e = errmsg_set(em, e, "", "out of memory");
	if (e == ERR_OK && y->root == NULL)
		e = errmsg_set(em, ERR_MALFORMED, "Put something in.",
		    "line 1 col 1: the text is empty");
	while (y->depth > 0)
		mem_free(y->st[--y->depth].key);
	yaml_parser_delete(&y->p);
	if (e == ERR_OK)
		*out = (struct json *)(void *)y->root;
	else
		json_decref(y->root);
	mem_free(y);
	return e;
}

enum err
yaml_parse(struct slice text, struct json **out, struct errmsg *em)
{
	return yaml_load(text, NULL, out, em);
}
