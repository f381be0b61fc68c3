/* node/conf/conf.c: load, check, show, document.
 *
 * Happy path: the file becomes a tree, every value of the tree finds its row
 * in conf.def, is checked and copied; what the file does not say keeps its
 * default.  Failure: file:line, the key and what is wrong with it; an unknown
 * key names the nearest known one. */
#include "node/conf/conf_internal.h"

#include "store/base/mem.h"

#define CONF_NEXT "Correct the file, then run: pesscara config check"

struct conf_walk {
	const struct yaml_marks *marks;
	const char *name;
	struct conf *c;
	struct errmsg *em;
	bool seen[64];
};

/* The defaults are ours and pass their own checks (a test tries them). */
void
conf_defaults(struct conf *c)
{
	char why[160];
	uint32_t i;

	*c = (struct conf){ 0 };
	for (i = 0; i < conf_n_keys; i++) {
		const struct conf_key *k = &conf_keys[i];

		if (*k->def == '\0' || k->kind == CONF_SCHEDULE ||
		    conf_list_of(k->kind) != NULL)
			continue;
		REQUIRE(
		    conf_value_text(c, k, k->def, why, sizeof(why)) == ERR_OK);
	}
}

static uint32_t
conf_line(const struct conf_walk *w, const struct json *v)
{
	const struct yaml_mark *m = yaml_mark_of(w->marks, v);

	return m != NULL ? m->line : 1;
}

static bool
conf_is_section(const char *name)
{
	size_t n = strlen(name);
	uint32_t i;

	for (i = 0; i < conf_n_keys; i++) {
		if (strncmp(conf_keys[i].name, name, n) == 0 &&
		    conf_keys[i].name[n] == '.')
			return true;
	}
	return false;
}

static enum err
conf_walk_value(struct conf_walk *w, const char *name, const struct json *v)
{
	const struct conf_key *k = conf_key_find(name);
	char why[160] = "";
	enum err e;

	if (k == NULL)
		return errmsg_set(w->em, ERR_MALFORMED, CONF_NEXT,
		    "%s:%u: unknown key \"%.64s\"; the nearest known key is "
		    "%s",
		    w->name, conf_line(w, v), name, conf_key_nearest(name));
	if (w->seen[k - conf_keys])
		return errmsg_set(w->em, ERR_EXISTS, CONF_NEXT,
		    "%s:%u: %s is set twice", w->name, conf_line(w, v), name);
	w->seen[k - conf_keys] = true;
	e = conf_value_set(w->c, k, v, why, sizeof(why));
	if (e != ERR_OK)
		return errmsg_set(w->em, e, CONF_NEXT, "%s:%u: %s %s", w->name,
		    conf_line(w, v), name, why);
	return ERR_OK;
}

/* prefix: "" at the top, "dicom." inside a section. */
static enum err
conf_walk_map(struct conf_walk *w, const char *prefix, const struct json *map)
{
	size_t i, n = json_len(map);
	enum err e = ERR_OK;

	for (i = 0; i < n && e == ERR_OK; i++) {
		const char *key;
		const struct json *v = json_member(map, i, &key);
		char name[160];

		(void)snprintf(name, sizeof(name), "%s%.100s", prefix, key);
		if (*prefix == '\0' && json_is_map(v) &&
		    conf_is_section(name)) {
			(void)snprintf(name, sizeof(name), "%.100s.", key);
			e = conf_walk_map(w, name, v);
		} else {
			e = conf_walk_value(w, name, v);
		}
	}
	return e;
}

enum err
conf_check_tree(const struct json *root, const struct yaml_marks *m,
    const char *name, struct conf *out, struct errmsg *em)
{
	struct conf_walk w = { .marks = m, .name = name, .c = out, .em = em };
	enum err e;

	REQUIRE(conf_n_keys <= sizeof(w.seen));
	conf_defaults(out);
	if (!json_is_map(root))
		return errmsg_set(em, ERR_MALFORMED, CONF_NEXT,
		    "%s:1: the file must be a map of keys", name);
	e = conf_walk_map(&w, "", root);
	if (e == ERR_OK && out->site[0] == '\0')
		return errmsg_set(em, ERR_MALFORMED, CONF_NEXT,
		    "%s:1: site is missing", name);
	if (e == ERR_OK && !(conf_rate_ok(out->peers_limit_up) &&
			       conf_rate_ok(out->peers_limit_down)))
		return errmsg_set(em, ERR_LIMIT, CONF_NEXT,
		    "%s:1: peers.limit.up and peers.limit.down must be 0 or "
		    "4k and more",
		    name);
	return e;
}

enum err
conf_parse(
    struct slice text, const char *name, struct conf *out, struct errmsg *em)
{
	struct yaml_marks marks = { 0 };
	struct json *root = NULL;
	struct errmsg why = { 0 };
	enum err e;

	e = yaml_load(text, &marks, &root, &why);
	if (e != ERR_OK)
		(void)errmsg_set(
		    em, e, CONF_NEXT, "%s: %.160s", name, why.cause);
	else
		e = conf_check_tree(root, &marks, name, out, em);
	json_free(root);
	yaml_marks_fini(&marks);
	return e;
}

enum err
conf_load(const char *home, struct conf *out, struct errmsg *em)
{
	struct buf text = BUF_MAX(CONF_FILE_BYTES);
	enum err e = conf_file_read(home, &text, em);

	if (e == ERR_OK)
		e = conf_parse(buf_slice(&text), "pesscara.yaml", out, em);
	buf_fini(&text);
	return e;
}

/* --- showing --- */
void
conf_text_put(struct buf *out, const char *text)
{
	struct jw w;
	const char *s;
	bool plain =
	    (*text >= 'a' && *text <= 'z') || (*text >= 'A' && *text <= 'Z');

	for (s = text; *s != '\0' && plain; s++) {
		plain = (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') ||
			(*s >= '0' && *s <= '9') || strchr("-_.", *s) != NULL;
	}
	if (plain && strcmp(text, "null") != 0 && strcmp(text, "true") != 0 &&
	    strcmp(text, "false") != 0) {
		buf_put_str(out, text);
		return;
	}
	/* A JSON text is a YAML text (YAML 1.2, section 7.3.1). */
	jw_init(&w, out);
	jw_str(&w, NULL, text);
}

static uint64_t
conf_number(const struct conf *c, const struct conf_key *k)
{
	uint64_t n;

	memcpy(&n, (const uint8_t *)c + k->offset, sizeof(n));
	return n;
}

void
conf_value_put(const struct conf *c, const struct conf_key *k, struct buf *out)
{
	struct jw w;

	if (conf_list_of(k->kind) != NULL) {
		jw_init(&w, out);
		conf_list_put(c, conf_list_of(k->kind), &w, NULL);
	} else if (k->kind == CONF_SCHEDULE) {
		jw_init(&w, out);
		conf_schedule_put(c, &w, NULL);
	} else if (k->kind == CONF_COUNT || k->kind == CONF_BYTES) {
		buf_printf(out, "%llu", (unsigned long long)conf_number(c, k));
	} else {
		conf_text_put(out, (const char *)c + k->offset);
	}
}

/* Opens the section of a key when it differs from the one before; returns
 * the key inside it. */
static const char *
conf_section(const char *name, char *section, size_t cap, bool *fresh)
{
	const char *dot = strchr(name, '.');
	size_t n = dot != NULL ? (size_t)(dot - name) : 0;

	*fresh = strlen(section) != n || strncmp(section, name, n) != 0;
	(void)snprintf(section, cap, "%.*s", (int)n, name);
	return dot != NULL ? dot + 1 : name;
}

static void
conf_text(const struct conf *c, bool help, struct buf *out)
{
	char section[32] = "";
	uint32_t i;

	for (i = 0; i < conf_n_keys; i++) {
		const struct conf_key *k = &conf_keys[i];
		bool fresh;
		const char *key =
		    conf_section(k->name, section, sizeof(section), &fresh);
		const char *pad = *section != '\0' ? "  " : "";

		if (fresh && *section != '\0')
			buf_printf(out, "%s%s:\n", help ? "\n" : "", section);
		if (help)
			buf_printf(out, "%s# %s\n", pad, k->help);
		buf_printf(out, "%s%s: ", pad, key);
		conf_value_put(c, k, out);
		buf_put_str(out, "\n");
	}
}

enum err
conf_show(const struct conf *c, struct buf *out)
{
	conf_text(c, false, out);
	return buf_err(out);
}

enum err
conf_show_json(const struct conf *c, struct buf *out)
{
	char section[32] = "";
	struct jw w;
	uint32_t i;

	jw_init(&w, out);
	jw_obj(&w, NULL);
	for (i = 0; i < conf_n_keys; i++) {
		const struct conf_key *k = &conf_keys[i];
		bool fresh, open = *section != '\0';
		const char *key =
		    conf_section(k->name, section, sizeof(section), &fresh);

		if (fresh && open)
			jw_end(&w);
		if (fresh && *section != '\0')
			jw_obj(&w, section);
		if (conf_list_of(k->kind) != NULL)
			conf_list_put(c, conf_list_of(k->kind), &w, key);
		else if (k->kind == CONF_SCHEDULE)
			conf_schedule_put(c, &w, key);
		else if (k->kind == CONF_COUNT || k->kind == CONF_BYTES)
			jw_u64(&w, key, conf_number(c, k));
		else
			jw_str(&w, key, (const char *)c + k->offset);
	}
	if (*section != '\0')
		jw_end(&w);
	jw_end(&w);
	return buf_err(out);
}

enum err
conf_doc(struct buf *out)
{
	uint32_t i;

	buf_put_str(out,
	    "# Configuration\n\n"
	    "One file, `HOME/pesscara.yaml`. `pesscara init` writes it with "
	    "every key and its default;\n`pesscara config set KEY=VALUE` "
	    "changes one key and keeps the rest of the text;\n"
	    "`pesscara config check` says what is wrong with it, by line. A "
	    "change takes effect when\nthe node starts. An unknown key is an "
	    "error. This page is made from `node/conf/conf.def`.\n\n"
	    "| Key | Value | Default | Bounds | Meaning |\n"
	    "|---|---|---|---|---|\n");
	for (i = 0; i < conf_n_keys; i++) {
		const struct conf_key *k = &conf_keys[i];

		buf_printf(
		    out, "| `%s` | %s | ", k->name, conf_kind_text(k->kind));
		if (*k->def != '\0')
			buf_printf(out, "`%s`", k->def);
		buf_printf(out, " | %llu to %llu%s | %s |\n",
		    (unsigned long long)k->min, (unsigned long long)k->max,
		    k->kind == CONF_COUNT || k->kind == CONF_BYTES ? ""
		    : k->kind == CONF_SCHEDULE || conf_list_of(k->kind) != NULL
			? " items"
			: " characters",
		    k->help);
	}
	return buf_err(out);
}

enum err
conf_create(const char *home, const char *site, struct errmsg *em)
{
	struct buf text = BUF_MAX(CONF_FILE_BYTES);
	struct conf *c = mem_new(sizeof(*c));
	enum err e = ERR_NOMEM;

	if (c == NULL)
		goto out;
	if (strlen(site) >= sizeof(c->site)) {
		e = errmsg_set(em, ERR_LIMIT, "Choose a shorter name.",
		    "site name is longer than %u characters", LIM_NAME_BYTES);
		goto out;
	}
	conf_defaults(c);
	(void)snprintf(c->site, sizeof(c->site), "%s", site);
	buf_put_str(&text, "# Configuration of this Pesscara node. "
			   "docs/config.md explains every key.\n");
	conf_text(c, true, &text);
	e = buf_err(&text);
	if (e != ERR_OK)
		(void)errmsg_set(em, e, "", "out of memory");
	else
		e = conf_parse(buf_slice(&text), "pesscara.yaml", c, em);
	if (e == ERR_OK)
		e = conf_file_write(home, buf_slice(&text), em);
out:
	mem_free(c);
	buf_fini(&text);
	return e;
}
