/* node/conf/profile.c: find a profile, its parents, and compile them.
 *
 * Happy path: the chain of names is followed from the profile asked for up to
 * one of the program's own; then the files are read again from the top down,
 * so that a child's words come last.  Failure: what is wrong, by file and
 * line; nothing half-compiled is handed out. */
#include "node/conf/profile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/conf/profile_internal.h"
#include "store/base/mem.h"

#define PROFILE_PATH_MAX 4096u

uint32_t
prof_line(const struct prof *c, const struct json *v)
{
	const struct yaml_mark *m = yaml_mark_of(c->marks, v);

	return m != NULL ? m->line : 1;
}

enum err
prof_fail(struct prof *c, enum err e, uint32_t level, uint32_t line,
    const char *cause_fmt, ...)
{
	char cause[160];
	va_list ap;

	va_start(ap, cause_fmt);
	(void)vsnprintf(cause, sizeof(cause), cause_fmt, ap);
	va_end(ap);
	return errmsg_set(c->em, e, PROFILE_NEXT, "profiles/%s.yaml:%u: %s",
	    c->names[level], line, cause);
}

bool
profile_name_ok(const char *s)
{
	size_t n = strlen(s);

	return n > 0 && n <= TABLE_NAME_MAX && *s != '.' && *s != '-' &&
	       strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
			 "0123456789-_.") == n;
}

bool
profile_is_own(const char *name)
{
	return strcmp(name, "basic") == 0 || strcmp(name, "trial-imaging") == 0;
}

static int
file_open(const struct prof *c, uint32_t level)
{
	char path[PROFILE_PATH_MAX];

	(void)snprintf(path, sizeof(path), "%s/profiles/%s" PROFILE_SUFFIX,
	    c->home, c->names[level]);
	return open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
}

static enum err
file_read(struct prof *c, uint32_t level, struct buf *out)
{
	int fd = file_open(c, level);
	uint8_t *p;
	ssize_t n;

	if (fd < 0 && errno == ENOENT)
		return errmsg_set(c->em, ERR_NOTFOUND,
		    "See the names: pesscara deid profiles",
		    "no de-identification profile is called %s%s%s",
		    c->names[level], level > 0 ? "; it is extended by " : "",
		    level > 0 ? c->names[level - 1] : "");
	if (fd < 0)
		return prof_fail(c, ERR_IO, level, 1, "it cannot be read");
	do {
		p = buf_room(out, 4096);
		n = p != NULL ? read(fd, p, 4096) : -1;
		if (n > 0)
			buf_grew(out, (size_t)n);
	} while (n > 0);
	(void)close(fd);
	if (buf_err(out) != ERR_OK)
		return prof_fail(c, buf_err(out), level, 1, "it is too large");
	return n < 0 ? prof_fail(c, ERR_IO, level, 1, "it cannot be read")
		     : ERR_OK;
}

static enum err
file_parse(
    struct prof *c, uint32_t level, struct yaml_marks *marks, struct json **out)
{
	struct buf text = BUF_MAX(CONF_FILE_BYTES);
	struct errmsg why = { 0 };
	enum err e = file_read(c, level, &text);

	if (e == ERR_OK &&
	    (e = yaml_load(buf_slice(&text), marks, out, &why)) != ERR_OK)
		(void)errmsg_set(c->em, e, PROFILE_NEXT,
		    "profiles/%s.yaml: %.120s", c->names[level], why.cause);
	buf_fini(&text);
	return e;
}

/* One member of the file; extends was read by the one who came here. */
static enum err
member_read(struct prof *c, const char *key, const struct json *v)
{
	struct profile *p = c->p;
	const char *text = json_str(v);
	uint32_t bits = 0;
	enum err e;

	if (strcmp(key, "extends") == 0)
		return ERR_OK;
	if (strcmp(key, "rules") == 0)
		return prof_rules(c, v);
	if (strcmp(key, "description") == 0) {
		if (text == NULL || strlen(text) > PROFILE_TEXT_MAX)
			return prof_fail(c, ERR_MALFORMED, c->level,
			    prof_line(c, v),
			    "description is a text of up to %u characters",
			    PROFILE_TEXT_MAX);
		(void)snprintf(
		    p->description, sizeof(p->description), "%s", text);
		return ERR_OK;
	}
	if (strcmp(key, "options") != 0 && strcmp(key, "without") != 0)
		return prof_fail(c, ERR_MALFORMED, c->level, prof_line(c, v),
		    "unknown key \"%.40s\"; there are extends, description, "
		    "options, without, rules",
		    key);
	e = prof_options(c, v, &bits);
	c->options_line = prof_line(c, v);
	if (*key == 'o')
		p->table.options |= bits;
	return e;
}

/* Options go before they come: "without" and "options" in any order. */
static enum err
without_read(struct prof *c, const struct json *root)
{
	const struct json *v = json_get(root, "without");
	uint32_t bits = 0;
	enum err e = v != NULL ? prof_options(c, v, &bits) : ERR_OK;

	if (e == ERR_OK && (bits & ~c->p->table.options) != 0)
		e = prof_fail(c, ERR_MALFORMED, c->level, prof_line(c, v),
		    "without names an option that %s does not claim",
		    c->names[c->level + 1]);
	c->p->table.options &= ~bits;
	return e;
}

static enum err
level_read(struct prof *c, uint32_t level)
{
	struct yaml_marks marks = { 0 };
	struct json *root = NULL;
	enum err e = file_parse(c, level, &marks, &root);

	c->level = level;
	c->marks = &marks;
	c->options_line = 1;
	if (e == ERR_OK)
		e = without_read(c, root);
	c->p->description[0] = '\0';
	for (size_t i = 0; e == ERR_OK && i < json_len(root); i++) {
		const char *key;
		const struct json *v = json_member(root, i, &key);

		e = member_read(c, key, v);
	}
	json_free(root);
	yaml_marks_fini(&marks);
	c->marks = NULL;
	return e;
}

/* The name behind "extends" of one level into the next. */
static enum err
parent_read(struct prof *c, uint32_t level)
{
	struct yaml_marks marks = { 0 };
	struct json *root = NULL;
	const char *parent;
	enum err e = file_parse(c, level, &marks, &root);

	if (e != ERR_OK)
		goto out;
	c->marks = &marks;
	parent = json_get_str(root, "extends", NULL);
	if (!json_is_map(root) || parent == NULL || !profile_name_ok(parent)) {
		e = prof_fail(c, ERR_MALFORMED, level, 1,
		    "extends is missing: basic, trial-imaging or a profile "
		    "beside this one");
		goto out;
	}
	for (uint32_t k = 0; e == ERR_OK && k <= level; k++)
		if (strcmp(c->names[k], parent) == 0)
			e = prof_fail(c, ERR_MALFORMED, level,
			    prof_line(c, json_get(root, "extends")),
			    "%s extends itself in the end", parent);
	if (e == ERR_OK && level + 1 == PROFILE_DEPTH_MAX)
		e = prof_fail(c, ERR_LIMIT, level, 1,
		    "more than %u profiles extend each other",
		    PROFILE_DEPTH_MAX);
	if (e == ERR_OK)
		(void)snprintf(
		    c->names[level + 1], sizeof(c->names[0]), "%s", parent);
out:
	c->marks = NULL;
	json_free(root);
	yaml_marks_fini(&marks);
	return e;
}

/* A file that has the name of one of the program's own would be passed over
 * without a word. */
static enum err
shadow_check(struct prof *c)
{
	int fd = file_open(c, c->depth);

	if (fd < 0)
		return ERR_OK;
	(void)close(fd);
	return prof_fail(c, ERR_EXISTS, c->depth, 1,
	    "this name is the program's own: give the file another");
}

static enum err
compile(struct prof *c)
{
	struct profile *p = c->p;
	char name[TABLE_NAME_MAX + 1];
	enum err e = ERR_OK;

	while (e == ERR_OK && !table_builtin(c->names[c->depth], &p->table)) {
		e = parent_read(c, c->depth);
		c->depth++;
	}
	if (e == ERR_OK)
		e = shadow_check(c);
	for (uint32_t k = c->depth; e == ERR_OK && k > 0; k--)
		e = level_read(c, k - 1);
	if (e == ERR_OK)
		e = prof_finish(c);
	if (e == ERR_OK && c->depth > 0)
		(void)snprintf(p->parent, sizeof(p->parent), "%s", c->names[1]);
	(void)snprintf(name, sizeof(name), "%s", c->names[0]);
	memcpy(p->table.name, name, sizeof(name));
	return e;
}

enum err
profile_load(
    const char *home, const char *name, struct profile **out, struct errmsg *em)
{
	struct prof *c;
	enum err e = ERR_NOMEM;

	if (!profile_name_ok(name))
		return errmsg_set(em, ERR_NOTFOUND,
		    "See the names: pesscara deid profiles",
		    "no de-identification profile is called %.32s", name);
	c = mem_new(sizeof(*c));
	if (c == NULL)
		return errmsg_set(em, ERR_NOMEM, "", "out of memory");
	c->home = home;
	c->em = em;
	(void)snprintf(c->names[0], sizeof(c->names[0]), "%s", name);
	while (dict_at(c->n_slots) != NULL)
		c->n_slots++;
	c->slots = mem_array(c->n_slots, sizeof(*c->slots));
	c->p = mem_new(sizeof(*c->p));
	if (c->slots != NULL && c->p != NULL)
		e = compile(c);
	else
		(void)errmsg_set(em, ERR_NOMEM, "", "out of memory");
	if (e == ERR_OK)
		*out = c->p;
	else
		mem_free(c->p);
	mem_free(c->slots);
	mem_free(c);
	return e;
}

static enum err
target_check(const char *home, const struct conf_target *to, const char *who,
    struct errmsg *em)
{
	struct errmsg why = { 0 };
	struct profile *p = NULL;
	enum err e = profile_load(home, to->profile, &p, &why);

	profile_free(p);
	if (e == ERR_OK)
		return ERR_OK;
	return errmsg_set(em, e, why.next, "for %.40s: %.150s", who, why.cause);
}

enum err
profile_check_conf(const char *home, const struct conf *c, struct errmsg *em)
{
	enum err e = ERR_OK;

	for (uint32_t i = 0; e == ERR_OK && i < c->n_inboxes; i++)
		e = target_check(
		    home, &c->inboxes[i].to, c->inboxes[i].calling_ae, em);
	for (uint32_t i = 0; e == ERR_OK && i < c->n_folders; i++)
		e = target_check(
		    home, &c->folders[i].to, c->folders[i].path, em);
	return e;
}

void
profile_free(struct profile *p)
{
	mem_free(p);
}

static int
is_profile_file(const struct dirent *d)
{
	char name[TABLE_NAME_MAX + 1];
	size_t n = strlen(d->d_name), tail = strlen(PROFILE_SUFFIX);

	if (n <= tail || n - tail > TABLE_NAME_MAX ||
	    strcmp(d->d_name + n - tail, PROFILE_SUFFIX) != 0)
		return 0;
	(void)snprintf(name, sizeof(name), "%.*s", (int)(n - tail), d->d_name);
	return profile_name_ok(name);
}

enum err
profile_each(const char *home, profile_name_fn fn, void *ctx)
{
	char path[PROFILE_PATH_MAX];
	struct dirent **list = NULL;
	bool stop = fn(ctx, "basic") != 0 || fn(ctx, "trial-imaging") != 0;
	int n;

	(void)snprintf(path, sizeof(path), "%s/profiles", home);
	n = scandir(path, &list, is_profile_file, alphasort);
	for (int i = 0; i < n; i++) {
		char *name = list[i]->d_name;

		name[strlen(name) - strlen(PROFILE_SUFFIX)] = '\0';
		if (!stop && (uint32_t)i < PROFILE_LIST_MAX &&
		    !profile_is_own(name))
			stop = fn(ctx, name) != 0;
		free(list[i]);
	}
	free(list);
	return n >= 0 || errno == ENOENT ? ERR_OK : ERR_IO;
}

void
profile_tag_text(uint32_t tag, const char *creator, char *out, size_t cap)
{
	if (creator != NULL && *creator != '\0')
		(void)snprintf(
		    out, cap, "%04x[%s]%02x", tag >> 16, creator, tag & 0xFFu);
	else
		(void)snprintf(
		    out, cap, "(%04x,%04x)", tag >> 16, tag & 0xFFFFu);
}
