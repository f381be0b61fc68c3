/* node/conf/conf_set.c: the file at rest, and changing one key in it.
 *
 * Happy path: the new value replaces the extent of the old one in the text,
 * or is added to its section; comments and all other keys stay as they were.
 * The new text is parsed and checked whole before it replaces the file, so a
 * wrong value (or a mistake here) never reaches the disk. */
#include "node/conf/conf_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/base/mem.h"

#define CONF_FILE "pesscara.yaml"
#define CONF_TEMP "pesscara.yaml.tmp"
#define CONF_KEY_TEXT 64u

static enum err
conf_home_open(const char *home, int *fd, struct errmsg *em)
{
	*fd = open(home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*fd >= 0)
		return ERR_OK;
	return errmsg_set(em, errno == ENOENT ? ERR_NOTFOUND : ERR_IO,
	    "Run: pesscara --home DIR init --site NAME",
	    "the node's directory cannot be opened: %s",
	    strerrordesc_np(errno));
}

static enum err
conf_fd_read(int fd, struct buf *out)
{
	for (;;) {
		uint8_t *at = buf_room(out, 4096);
		ssize_t n;

		if (at == NULL)
			return buf_err(out);
		n = read(fd, at, 4096);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return ERR_IO;
		if (n == 0)
			return ERR_OK;
		buf_grew(out, (size_t)n);
	}
}

enum err
conf_file_read(const char *home, struct buf *out, struct errmsg *em)
{
	int dir = -1, fd = -1;
	enum err e = conf_home_open(home, &dir, em);

	if (e != ERR_OK)
		return e;
	fd = openat(dir, CONF_FILE, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		e = errmsg_set(em, errno == ENOENT ? ERR_NOTFOUND : ERR_IO,
		    "Run: pesscara --home DIR init --site NAME",
		    CONF_FILE ": %s", strerrordesc_np(errno));
	} else {
		e = conf_fd_read(fd, out);
		if (e != ERR_OK)
			(void)errmsg_set(em, e, "Check the file.",
			    CONF_FILE ": %s", err_text(e));
		(void)close(fd);
	}
	(void)close(dir);
	return e;
}

static bool
conf_write_all(int fd, struct slice s)
{
	while (s.n > 0) {
		ssize_t n = write(fd, s.p, s.n);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		s = slice_of(s.p + n, s.n - (size_t)n);
	}
	return fsync(fd) == 0;
}

static enum err
conf_replace(int dir, struct slice text)
{
	int fd, rc;

	fd = openat(dir, CONF_TEMP,
	    O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return ERR_IO;
	rc = conf_write_all(fd, text) ? 0 : -1;
	if (close(fd) != 0)
		rc = -1;
	if (rc == 0)
		rc = renameat(dir, CONF_TEMP, dir, CONF_FILE);
	if (rc == 0)
		rc = fsync(dir);
	return rc == 0 ? ERR_OK : errno == ENOSPC ? ERR_FULL : ERR_IO;
}

enum err
conf_file_write(const char *home, struct slice text, struct errmsg *em)
{
	int dir;
	enum err e = conf_home_open(home, &dir, em);

	if (e != ERR_OK)
		return e;
	e = conf_replace(dir, text);
	(void)close(dir);
	if (e != ERR_OK)
		return errmsg_set(em, e, "Check the disk and the directory.",
		    CONF_FILE " cannot be written: %s", err_text(e));
	return ERR_OK;
}

/* The value as it goes into the file; lists are JSON and stay one line. */
static enum err
conf_new_value(const struct conf_key *k, const char *value, struct buf *out,
    struct errmsg *em)
{
	struct json *v = NULL;
	struct conf *c = mem_new(sizeof(*c));
	struct errmsg jm = { 0 };
	char why[160] = "";
	enum err e;

	if (c == NULL)
		return errmsg_set(em, ERR_NOMEM, "", "out of memory");
	if (k->kind != CONF_SCHEDULE && conf_list_of(k->kind) == NULL) {
		conf_text_put(out, value);
		e = buf_err(out);
		if (e == ERR_OK)
			e = yaml_parse(buf_slice(out), &v, &jm);
	} else {
		e = yaml_parse(slice_str(value), &v, &jm);
	}
	if (e != ERR_OK) {
		(void)errmsg_set(em, e, "Quote the value for the shell.",
		    "%s: %.150s", k->name, jm.cause);
		goto out;
	}
	e = conf_value_set(c, k, v, why, sizeof(why));
	if (e != ERR_OK) {
		(void)errmsg_set(
		    em, e, "See docs/config.md.", "%s %s", k->name, why);
		goto out;
	}
	buf_reset(out);
	conf_value_put(c, k, out);
	e = buf_err(out);
out:
	mem_free(c);
	json_free(v);
	return e;
}

/* Spaces and newlines that a block value's extent drags behind it. */
static size_t
conf_trim_end(struct slice text, size_t start, size_t end)
{
	while (end > start && strchr(" \t\r\n", text.p[end - 1]) != NULL)
		end--;
	return end;
}

/* A block value starts on its own line; the new one goes behind the colon
 * of its key, or deeper than the key where a comment stands between. */
static void
conf_put_before(struct slice text, const struct yaml_mark *m, struct buf *out)
{
	size_t at = text.n > 0 ? conf_trim_end(text, 0, m->start) : 0;

	if (m->end == m->start) { /* an empty value: "key:" */
		buf_put(out, text.p, m->start);
		buf_put_str(out, " ");
	} else if (m->flow) {
		buf_put(out, text.p, m->start);
	} else if (at > 0 && text.p[at - 1] == ':') {
		buf_put(out, text.p, at);
		buf_put_str(out, " ");
	} else {
		buf_put(out, text.p, m->start);
		buf_put_str(out, "  ");
	}
}

static const struct json *
conf_value_of(const struct json *root, const char *section, const char *key,
    const char *dotted)
{
	const struct json *v = NULL;

	if (*section != '\0')
		v = json_get(json_get(root, section), key);
	return v != NULL ? v : json_get(root, dotted);
}

/* Byte offset behind the given line, counted from 1. */
static size_t
conf_behind_line(struct slice text, uint32_t line)
{
	size_t at = 0;

	for (; line > 0 && at < text.n; at++)
		line -= text.p[at] == '\n';
	return at;
}

/* Add "key: value" as the first line of a block section, with the indent of
 * what stands there; comments stay with the keys they stand above. */
static void
conf_add_to_section(struct slice text, const struct yaml_mark *section,
    const char *key, struct slice value, struct buf *out)
{
	size_t at = conf_behind_line(text, section->line);
	size_t line = section->start;

	while (line > 0 && text.p[line - 1] != '\n')
		line--;
	buf_put(out, text.p, at);
	buf_put(out, text.p + line, section->start - line); /* the indent */
	buf_printf(out, "%s: ", key);
	buf_put_slice(out, value);
	buf_put_str(out, "\n");
	buf_put(out, text.p + at, text.n - at);
}

static void
conf_add_at_end(struct slice text, const char *section, const char *key,
    struct slice value, struct buf *out)
{
	buf_put_slice(out, text);
	if (text.n > 0 && text.p[text.n - 1] != '\n')
		buf_put_str(out, "\n");
	if (*section != '\0')
		buf_printf(out, "%s:\n  ", section);
	buf_printf(out, "%s: ", key);
	buf_put_slice(out, value);
	buf_put_str(out, "\n");
}

static enum err
conf_edit(struct slice text, const struct conf_key *k, struct slice value,
    struct buf *out, struct errmsg *em)
{
	struct yaml_marks marks = { 0 };
	struct json *root = NULL;
	char section[CONF_KEY_TEXT] = "";
	const char *dot = strchr(k->name, '.');
	const char *key = dot != NULL ? dot + 1 : k->name;
	const struct yaml_mark *m, *sm;
	size_t end;
	enum err e = yaml_load(text, &marks, &root, em);

	if (e != ERR_OK)
		goto out;
	if (dot != NULL)
		(void)snprintf(section, sizeof(section), "%.*s",
		    (int)(dot - k->name), k->name);
	m = yaml_mark_of(&marks, conf_value_of(root, section, key, k->name));
	sm = yaml_mark_of(&marks, json_get(root, section));
	if (m != NULL) {
		conf_put_before(text, m, out);
		buf_put_slice(out, value);
		end = conf_trim_end(text, m->start, m->end);
		buf_put(out, text.p + end, text.n - end);
	} else if (sm != NULL && !sm->flow && json_len(sm->value) > 0) {
		conf_add_to_section(text, sm, key, value, out);
	} else if (json_get(root, section) == NULL) {
		conf_add_at_end(text, section, key, value, out);
	} else {
		e = errmsg_set(em, ERR_UNSUPPORTED,
		    "Write the section as a block, or set the key by hand.",
		    CONF_FILE ":%u: section %s is not in block form",
		    sm != NULL ? sm->line : 1, section);
	}
	if (e == ERR_OK)
		e = buf_err(out);
out:
	json_free(root);
	yaml_marks_fini(&marks);
	return e;
}

enum err
conf_set(const char *home, const char *assignment, struct errmsg *em)
{
	struct buf text = BUF_MAX(CONF_FILE_BYTES);
	struct buf fresh = BUF_MAX(CONF_FILE_BYTES);
	struct buf value = BUF_MAX(64 * KIB);
	const char *eq = strchr(assignment, '=');
	char name[CONF_KEY_TEXT + 1];
	const struct conf_key *k;
	struct conf *c = mem_new(sizeof(*c));
	enum err e = ERR_NOMEM;

	if (c == NULL)
		goto out;
	if (eq == NULL || (size_t)(eq - assignment) > CONF_KEY_TEXT) {
		e = errmsg_set(em, ERR_MALFORMED, "Write key=value.",
		    "an assignment needs the form key=value");
		goto out;
	}
	(void)snprintf(
	    name, sizeof(name), "%.*s", (int)(eq - assignment), assignment);
	k = conf_key_find(name);
	if (k == NULL) {
		e = errmsg_set(em, ERR_NOTFOUND, "See docs/config.md.",
		    "unknown key \"%s\"; the nearest known key is %s", name,
		    conf_key_nearest(name));
		goto out;
	}
	if ((e = conf_file_read(home, &text, em)) != ERR_OK ||
	    (e = conf_new_value(k, eq + 1, &value, em)) != ERR_OK ||
	    (e = conf_edit(buf_slice(&text), k, buf_slice(&value), &fresh,
		 em)) != ERR_OK ||
	    (e = conf_parse(buf_slice(&fresh), CONF_FILE, c, em)) != ERR_OK)
		goto out;
	e = conf_file_write(home, buf_slice(&fresh), em);
out:
	mem_free(c);
	buf_fini(&text);
	buf_fini(&fresh);
	buf_fini(&value);
	return e;
}
