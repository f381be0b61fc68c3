/* node/conf/conf_list.c: keys that hold a list of maps: inboxes, archives,
 * folders.
 *
 * Happy path: each map's members find their row in the list's table, are
 * checked and copied; then the entry as a whole is checked against those
 * before it.  Failure: as conf_value_set(), half a sentence in why. */
#include <arpa/inet.h>

#include "node/conf/conf_internal.h"

#include "store/base/num.h"

#define LIST_TEXT_MAX 256u

enum list_kind {
	LIST_TEXT, /* one line */
	LIST_AE,
	LIST_ANY_AE, /* or "*" */
	LIST_TAGS,
	LIST_NETS,
	LIST_NAME,
	LIST_ADDRESS,
	LIST_PATH,
	LIST_AFTER,    /* done or remove */
	LIST_FLAG,     /* true or false */
	LIST_DURATION, /* a uint32_t of seconds */
	LIST_NAMING,   /* sequential, random or keyed */
	LIST_PATTERN,  /* of pseudonyms */
};

struct list_field {
	const char *name;
	enum list_kind kind;
	bool needed;
	size_t offset; /* in the row */
	size_t size;   /* of a text, with its end */
};

#define LIST_NO_TARGET SIZE_MAX
struct conf_list {
	const char *what; /* one of them */
	const struct list_field *f;
	uint32_t n_fields;
	size_t row;    /* bytes */
	size_t rows;   /* offset in struct conf */
	size_t n;      /* likewise, a uint32_t */
	size_t target; /* offset in the row; LIST_NO_TARGET */
	uint32_t max;
	void (*defaults)(void *row); /* NULL: none of its own */
	/* Against the i entries before; NULL: it is fine. */
	const char *(*check)(const struct conf *c, uint32_t i);
};

#define FIELD(type, name, member, kind, needed)                                \
	{                                                                      \
		name, kind, needed, offsetof(type, member),                    \
		    sizeof(((type *)NULL)->member)                             \
	}
#define TARGET_FIELDS(type)                                                    \
	FIELD(type, "share", to.share, LIST_TEXT, true),                       \
	    FIELD(type, "compartment", to.compartment, LIST_TEXT, false),      \
	    FIELD(type, "profile", to.profile, LIST_TEXT, false),              \
	    FIELD(type, "data_type", to.data_type, LIST_TEXT, false),          \
	    FIELD(type, "domain", to.domain, LIST_NAME, false),                \
	    FIELD(type, "tags", to.tags, LIST_TAGS, false)
#define COUNT(list) (uint32_t)(sizeof(list) / sizeof((list)[0]))

static const struct list_field inbox_fields[] = {
	FIELD(struct conf_inbox, "calling_ae", calling_ae, LIST_ANY_AE, true),
	FIELD(struct conf_inbox, "called_ae", called_ae, LIST_AE, false),
	FIELD(struct conf_inbox, "from", from, LIST_NETS, false),
	FIELD(struct conf_inbox, "tls", tls, LIST_FLAG, false),
	FIELD(struct conf_inbox, "commit", commit, LIST_ADDRESS, false),
	TARGET_FIELDS(struct conf_inbox),
};

static const struct list_field archive_fields[] = {
	FIELD(struct conf_archive, "name", name, LIST_NAME, true),
	FIELD(struct conf_archive, "address", address, LIST_ADDRESS, true),
	FIELD(struct conf_archive, "ae", ae, LIST_AE, true),
	FIELD(struct conf_archive, "calling_ae", calling_ae, LIST_AE, false),
	TARGET_FIELDS(struct conf_archive),
};

static const struct list_field folder_fields[] = {
	FIELD(struct conf_folder, "path", path, LIST_PATH, true),
	FIELD(struct conf_folder, "after", after, LIST_AFTER, false),
	FIELD(struct conf_folder, "quiet", quiet_s, LIST_DURATION, false),
	TARGET_FIELDS(struct conf_folder),
};
#define QUIET_MAX_S 86400u

static const struct list_field project_fields[] = {
	FIELD(struct conf_project, "share", share, LIST_TEXT, true),
	FIELD(
	    struct conf_project, "pseudonyms", pseudonyms, LIST_NAMING, false),
	FIELD(struct conf_project, "pattern", pattern, LIST_PATTERN, false),
};

/* --- addresses --- */

enum err
conf_net_parse(const char *text, struct conf_net *out)
{
	char host[64];
	const char *slash = strchr(text, '/');
	size_t n = slash != NULL ? (size_t)(slash - text) : strlen(text);
	uint64_t bits;
	uint32_t skip = 0, i;

	memset(out, 0, sizeof(*out));
	if (n == 0 || n >= sizeof(host))
		return ERR_MALFORMED;
	memcpy(host, text, n);
	host[n] = '\0';
	if (inet_pton(AF_INET, host, out->ip + 12) == 1) {
		out->ip[10] = out->ip[11] = 0xff;
		skip = 96;
	} else if (inet_pton(AF_INET6, host, out->ip) != 1) {
		return ERR_MALFORMED;
	}
	bits = 128 - skip;
	if (slash != NULL &&
	    num_u64(slice_str(slash + 1), 0, 128 - skip, &bits) != ERR_OK)
		return ERR_MALFORMED;
	out->bits = (uint8_t)(bits + skip);
	for (i = out->bits; i < 128; i++) /* 10.1.2.3/8 is a slip of a pen */
		if ((out->ip[i / 8] >> (7 - i % 8) & 1) != 0)
			return ERR_MALFORMED;
	return ERR_OK;
}

bool
conf_net_holds(const struct conf_net *n, const uint8_t ip[16])
{
	uint32_t whole = n->bits / 8u, rest = n->bits % 8u;

	if (memcmp(n->ip, ip, whole) != 0)
		return false;
	return rest == 0 || (n->ip[whole] ^ ip[whole]) >> (8 - rest) == 0;
}

static void
net_text(const struct conf_net *n, char *out, size_t cap)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	bool v4 = n->bits >= 96 && memcmp(n->ip, mapped, 12) == 0;
	char host[INET6_ADDRSTRLEN] = "";
	uint32_t skip = v4 ? 96 : 0;

	(void)inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? n->ip + 12 : n->ip, host,
	    sizeof(host));
	if (n->bits == 128)
		(void)snprintf(out, cap, "%s", host);
	else
		(void)snprintf(out, cap, "%s/%u", host, n->bits - skip);
}

/* --- whole entries --- */

/* Does a take all that b would? */
static bool
inbox_covers(const struct conf_inbox *a, const struct conf_inbox *b)
{
	uint32_t i, k;

	if (strcmp(a->calling_ae, b->calling_ae) != 0 ||
	    strcmp(a->called_ae, b->called_ae) != 0)
		return false;
	if (a->n_from == 0)
		return true;
	for (i = 0; i < b->n_from; i++) {
		for (k = 0; k < a->n_from; k++) {
			if (a->from[k].bits <= b->from[i].bits &&
			    conf_net_holds(&a->from[k], b->from[i].ip))
				break;
		}
		if (k == a->n_from)
			return false;
	}
	return b->n_from > 0;
}

static const char *
inbox_check(const struct conf *c, uint32_t i)
{
	uint32_t k;

	for (k = 0; k < i; k++) {
		if (inbox_covers(&c->inboxes[k], &c->inboxes[i]))
			return "names one calling_ae twice; give each a from "
			       "or called_ae of its own";
	}
	return NULL;
}

static const struct conf_list list_inboxes = {
	.what = "inbox",
	.f = inbox_fields,
	.n_fields = COUNT(inbox_fields),
	.row = sizeof(struct conf_inbox),
	.rows = offsetof(struct conf, inboxes),
	.n = offsetof(struct conf, n_inboxes),
	.target = offsetof(struct conf_inbox, to),
	.max = COUNT(((struct conf *)NULL)->inboxes),
	.check = inbox_check,
};

static const char *
archive_check(const struct conf *c, uint32_t i)
{
	uint32_t k;

	for (k = 0; k < i; k++) {
		if (strcmp(c->archives[k].name, c->archives[i].name) == 0)
			return "has one name twice";
	}
	return NULL;
}

static const struct conf_list list_archives = {
	.what = "archive",
	.f = archive_fields,
	.n_fields = COUNT(archive_fields),
	.row = sizeof(struct conf_archive),
	.rows = offsetof(struct conf, archives),
	.n = offsetof(struct conf, n_archives),
	.target = offsetof(struct conf_archive, to),
	.max = COUNT(((struct conf *)NULL)->archives),
	.check = archive_check,
};

static void
folder_defaults(void *row)
{
	struct conf_folder *f = row;

	(void)snprintf(f->after, sizeof(f->after), "done");
	f->quiet_s = 10;
}

static bool
folder_inside(const char *path, const char *other)
{
	size_t n = strlen(other);

	return strncmp(path, other, n) == 0 &&
	       (path[n] == '/' || path[n] == '\0');
}

static const char *
folder_check(const struct conf *c, uint32_t i)
{
	const char *path = c->folders[i].path;
	uint32_t k;

	for (k = 0; k < i; k++) {
		if (folder_inside(path, c->folders[k].path) ||
		    folder_inside(c->folders[k].path, path))
			return "names a folder inside another";
	}
	return NULL;
}

static const struct conf_list list_folders = {
	.what = "folder",
	.f = folder_fields,
	.n_fields = COUNT(folder_fields),
	.row = sizeof(struct conf_folder),
	.rows = offsetof(struct conf, folders),
	.n = offsetof(struct conf, n_folders),
	.target = offsetof(struct conf_folder, to),
	.max = COUNT(((struct conf *)NULL)->folders),
	.defaults = folder_defaults,
	.check = folder_check,
};

static void
project_defaults(void *row)
{
	struct conf_project *p = row;

	(void)snprintf(p->pseudonyms, sizeof(p->pseudonyms), "sequential");
}

/* A random number needs room, or the second patient may wait for ever; what
 * is no number needs a place without digits. */
static const char *
project_check(const struct conf *c, uint32_t i)
{
	const struct conf_project *p = &c->projects[i];
	bool random = strcmp(p->pseudonyms, "random") == 0;
	const char *n = strstr(p->pattern, "{n:0");
	uint32_t k;

	for (k = 0; k < i; k++) {
		if (strcmp(c->projects[k].share, p->share) == 0)
			return "names one share twice";
	}
	if (random && (n == NULL || n[4] < '6'))
		return "is random: its pattern needs {n:06} or more digits";
	if (strcmp(p->pseudonyms, "keyed") == 0 &&
	    strstr(p->pattern, "{n}") == NULL)
		return "is keyed: its pattern needs {n}";
	return NULL;
}

static const struct conf_list list_projects = {
	.what = "project",
	.f = project_fields,
	.n_fields = COUNT(project_fields),
	.row = sizeof(struct conf_project),
	.rows = offsetof(struct conf, projects),
	.n = offsetof(struct conf, n_projects),
	.target = LIST_NO_TARGET,
	.max = COUNT(((struct conf *)NULL)->projects),
	.defaults = project_defaults,
	.check = project_check,
};

void
conf_project_of(
    const struct conf *c, const char *share, struct conf_project *out)
{
	uint32_t i;

	memset(out, 0, sizeof(*out));
	project_defaults(out);
	for (i = 0; i < c->n_projects; i++) {
		if (strcmp(c->projects[i].share, share) == 0)
			*out = c->projects[i];
	}
	if (out->pattern[0] == '\0')
		(void)snprintf(out->pattern, sizeof(out->pattern), "%s",
		    c->pseudonym_pattern);
}

const struct conf_list *
conf_list_of(enum conf_kind k)
{
	if (k == CONF_PROJECTS)
		return &list_projects;
	if (k == CONF_INBOXES)
		return &list_inboxes;
	if (k == CONF_ARCHIVES)
		return &list_archives;
	return k == CONF_FOLDERS ? &list_folders : NULL;
}

/* --- members --- */

static enum err
list_why(char *why, size_t cap, enum err e, const char *text)
{
	(void)snprintf(why, cap, "%s", text);
	return e;
}

static enum err
list_tags(struct conf_target *to, const struct json *v, char *why, size_t cap)
{
	size_t i, n = json_len(v);

	if (!json_is_array(v) || n > CONF_TAGS_MAX)
		return list_why(
		    why, cap, ERR_LIMIT, "tags must be a list of at most 4");
	for (i = 0; i < n; i++) {
		const char *s = json_str(json_at(v, i));

		if (s == NULL || *s == '\0' || !conf_is_line(s) ||
		    strlen(s) >= sizeof(to->tags[0]))
			return list_why(why, cap, ERR_MALFORMED,
			    "a tag must be a text of 1 to 63 characters");
		(void)snprintf(to->tags[i], sizeof(to->tags[i]), "%s", s);
	}
	to->n_tags = (uint32_t)n;
	return ERR_OK;
}

static enum err
list_nets(struct conf_inbox *in, const struct json *v, char *why, size_t cap)
{
	size_t i, n = json_len(v);

	if (!json_is_array(v) || n == 0 || n > CONF_NETS_MAX)
		return list_why(why, cap, ERR_LIMIT,
		    "from must be a list of 1 to 16 addresses");
	for (i = 0; i < n; i++) {
		const char *s = json_str(json_at(v, i));

		if (s == NULL || conf_net_parse(s, &in->from[i]) != ERR_OK)
			return list_why(why, cap, ERR_MALFORMED,
			    "from must hold addresses like 10.1.2.3 or "
			    "networks like 10.2.0.0/16 or 'fd00::/8'");
	}
	in->n_from = (uint32_t)n;
	return ERR_OK;
}

static bool
list_path_ok(const char *s)
{
	size_t n = strlen(s);

	return n > 1 && s[0] == '/' && s[n - 1] != '/' &&
	       strstr(s, "//") == NULL && strstr(s, "/./") == NULL &&
	       strstr(s, "/../") == NULL &&
	       (n < 3 || strcmp(s + n - 3, "/..") != 0) &&
	       strcmp(s + n - 2, "/.") != 0;
}

static enum err
list_duration(const struct list_field *f, void *row, const struct json *v,
    char *why, size_t cap)
{
	char room[LIST_TEXT_MAX];
	const char *s = conf_scalar(v, room, sizeof(room));
	uint32_t *out = (void *)((uint8_t *)row + f->offset);
	uint64_t seconds = 0;

	if (s == NULL ||
	    num_duration_s(slice_str(s), QUIET_MAX_S, &seconds) != ERR_OK ||
	    seconds == 0) {
		(void)snprintf(why, cap,
		    "%s must be a time like 10s or 5m, at most a day", f->name);
		return ERR_MALFORMED;
	}
	*out = (uint32_t)seconds;
	return ERR_OK;
}

static enum err
list_flag(const struct list_field *f, void *row, const struct json *v,
    char *why, size_t cap)
{
	char room[LIST_TEXT_MAX];
	const char *s = conf_scalar(v, room, sizeof(room));
	bool *out = (void *)((uint8_t *)row + f->offset);

	*out = s != NULL && strcmp(s, "true") == 0;
	if (*out || (s != NULL && strcmp(s, "false") == 0))
		return ERR_OK;
	(void)snprintf(why, cap, "%s must be true or false", f->name);
	return ERR_MALFORMED;
}

static const char *
list_text_form(const struct list_field *f, const char *s)
{
	char host[128];
	uint16_t port;

	switch (f->kind) {
	case LIST_ANY_AE:
	case LIST_AE: return conf_is_ae(s) ? NULL : "an AE title";
	case LIST_NAME:
		return conf_is_name(s) ? NULL : "letters, digits, '-_.'";
	case LIST_ADDRESS:
		if (conf_address(s, host, sizeof(host), &port) != ERR_OK ||
		    port == 0)
			return "HOST:PORT";
		break;
	case LIST_PATH:
		if (!list_path_ok(s))
			return "an absolute path without '..', no '/' at its "
			       "end";
		break;
	case LIST_AFTER:
		if (strcmp(s, "done") != 0 && strcmp(s, "remove") != 0)
			return "done or remove";
		break;
	case LIST_NAMING:
		if (strcmp(s, "sequential") != 0 && strcmp(s, "random") != 0 &&
		    strcmp(s, "keyed") != 0)
			return "sequential, random or keyed";
		break;
	case LIST_PATTERN:
		if (!conf_is_pattern(s))
			return "text with one {n} or {n:0W}, W from 1 to 9";
		break;
	case LIST_TEXT:
	case LIST_TAGS:
	case LIST_NETS:
	case LIST_FLAG:
	case LIST_DURATION: break;
	}
	return conf_is_line(s) ? NULL : "one line of text";
}

static enum err
list_text(const struct list_field *f, void *row, const struct json *v,
    char *why, size_t cap)
{
	char room[LIST_TEXT_MAX];
	const char *s = conf_scalar(v, room, sizeof(room));
	const char *form;

	if (s == NULL || strlen(s) >= f->size) {
		(void)snprintf(why, cap,
		    "%s must be a text of at most %zu characters", f->name,
		    f->size - 1);
		return ERR_MALFORMED;
	}
	form = list_text_form(f, s);
	if (form != NULL) {
		(void)snprintf(why, cap, "%s must be %s", f->name, form);
		return ERR_MALFORMED;
	}
	(void)snprintf((char *)row + f->offset, f->size, "%s", s);
	return ERR_OK;
}

static void
list_unknown(const struct conf_list *l, const char *key, char *why, size_t cap)
{
	struct buf b = BUF_MAX(1 * KIB);
	uint32_t i;

	for (i = 0; i < l->n_fields; i++)
		buf_printf(&b, "%s%s", i > 0 ? ", " : "", l->f[i].name);
	(void)snprintf(why, cap, "%s has no \"%.32s\"; it has %s", l->what, key,
	    buf_cstr(&b));
	buf_fini(&b);
}

static enum err
list_member(const struct conf_list *l, void *row, const char *key,
    const struct json *v, char *why, size_t cap)
{
	uint32_t i;

	for (i = 0; i < l->n_fields; i++) {
		const struct list_field *f = &l->f[i];

		if (strcmp(f->name, key) != 0)
			continue;
		if (f->kind == LIST_TAGS)
			return list_tags(
			    (void *)((uint8_t *)row + l->target), v, why, cap);
		if (f->kind == LIST_NETS)
			return list_nets(row, v, why, cap);
		if (f->kind == LIST_FLAG)
			return list_flag(f, row, v, why, cap);
		if (f->kind == LIST_DURATION)
			return list_duration(f, row, v, why, cap);
		return list_text(f, row, v, why, cap);
	}
	list_unknown(l, key, why, cap);
	return ERR_MALFORMED;
}

static enum err
list_row(const struct conf_list *l, void *row, const struct json *v, char *why,
    size_t cap)
{
	struct conf_target *to;
	enum err e = ERR_OK;
	size_t i;

	memset(row, 0, l->row);
	if (l->target != LIST_NO_TARGET) {
		to = (void *)((uint8_t *)row + l->target);
		(void)snprintf(
		    to->profile, sizeof(to->profile), "trial-imaging");
	}
	if (l->defaults != NULL)
		l->defaults(row);
	if (!json_is_map(v)) {
		(void)snprintf(why, cap, "each %s must be a map", l->what);
		return ERR_MALFORMED;
	}
	for (i = 0; i < json_len(v) && e == ERR_OK; i++) {
		const char *key;
		const struct json *m = json_member(v, i, &key);

		e = list_member(l, row, key, m, why, cap);
	}
	for (i = 0; i < l->n_fields && e == ERR_OK; i++) {
		if (!l->f[i].needed ||
		    *((const char *)row + l->f[i].offset) != '\0')
			continue;
		(void)snprintf(why, cap, "%s %s lacks %s",
		    strchr("aeiou", l->what[0]) != NULL ? "an" : "a", l->what,
		    l->f[i].name);
		e = ERR_MALFORMED;
	}
	return e;
}

enum err
conf_list_set(struct conf *c, const struct conf_list *l, const struct json *v,
    char *why, size_t cap)
{
	uint8_t *rows = (uint8_t *)c + l->rows;
	size_t i, n = json_len(v);
	const char *wrong;
	enum err e;

	if (!json_is_array(v))
		return list_why(why, cap, ERR_MALFORMED, "must be a list");
	if (n > l->max) {
		(void)snprintf(why, cap, "may have at most %u items", l->max);
		return ERR_LIMIT;
	}
	for (i = 0; i < n; i++) {
		e = list_row(l, rows + i * l->row, json_at(v, i), why, cap);
		if (e != ERR_OK)
			return e;
		wrong = l->check(c, (uint32_t)i);
		if (wrong != NULL)
			return list_why(why, cap, ERR_EXISTS, wrong);
	}
	memcpy(
	    (uint8_t *)c + l->n, &(uint32_t){ (uint32_t)n }, sizeof(uint32_t));
	return ERR_OK;
}

/* --- showing --- */

static void
list_put_tags(const struct conf_target *to, struct jw *w)
{
	uint32_t i;

	jw_arr(w, "tags");
	for (i = 0; i < to->n_tags; i++)
		jw_str(w, NULL, to->tags[i]);
	jw_end(w);
}

static void
list_put_nets(const struct conf_inbox *in, struct jw *w)
{
	char text[64];
	uint32_t i;

	if (in->n_from == 0)
		return;
	jw_arr(w, "from");
	for (i = 0; i < in->n_from; i++) {
		net_text(&in->from[i], text, sizeof(text));
		jw_str(w, NULL, text);
	}
	jw_end(w);
}

static void
list_put_duration(const char *name, const uint8_t *at, struct jw *w)
{
	char text[24];
	uint32_t seconds;

	memcpy(&seconds, at, sizeof(seconds));
	(void)snprintf(text, sizeof(text), "%us", seconds);
	jw_str(w, name, text);
}

static void
list_put_row(const struct conf_list *l, const uint8_t *row, struct jw *w)
{
	uint32_t i;

	for (i = 0; i < l->n_fields; i++) {
		const struct list_field *f = &l->f[i];
		const char *text = (const char *)row + f->offset;

		if (f->kind == LIST_TAGS)
			list_put_tags((const void *)(row + l->target), w);
		else if (f->kind == LIST_NETS)
			list_put_nets((const void *)row, w);
		else if (f->kind == LIST_FLAG && *text != 0)
			jw_bool(w, f->name, true);
		else if (f->kind == LIST_DURATION)
			list_put_duration(f->name, row + f->offset, w);
		else if (*text != '\0')
			jw_str(w, f->name, text);
	}
}

void
conf_list_put(const struct conf *c, const struct conf_list *l, struct jw *w,
    const char *key)
{
	uint32_t i, n;

	memcpy(&n, (const uint8_t *)c + l->n, sizeof(n));
	jw_arr(w, key);
	for (i = 0; i < n; i++) {
		jw_obj(w, NULL);
		list_put_row(
		    l, (const uint8_t *)c + l->rows + (size_t)i * l->row, w);
		jw_end(w);
	}
	jw_end(w);
}
