/* cli/cmd_asset.c: find, show, events, workflow. */
#include "cli/cli_internal.h"

#include <fcntl.h>
#include <unistd.h>

#include "store/base/mem.h"

/* --- find --- */
static int
count_row(void *ctx, json_t *row, const char *text)
{
	const struct cli *c = ctx;

	if (c->args.json)
		(void)printf("%s\n", text);
	else
		(void)printf("%lld\n", (long long)json_integer_value(
					   json_object_get(row, "count")));
	return 0;
}

static void
find_path(struct cli *c, struct buf *path)
{
	static const char *const pass[] = { "share", "level", "fields",
		"limit" };
	size_t i;

	buf_put_str(path, "/assets");
	cli_path_arg(path, "query", cli_word(c, 0));
	for (i = 0; i < sizeof(pass) / sizeof(pass[0]); i++)
		cli_path_arg(path, pass[i], cli_opt(c, pass[i]));
	if (cli_flag(c, "count"))
		cli_path_arg(path, "count", "1");
	if (cli_flag(c, "retired"))
		cli_path_arg(path, "retired", "1");
}

enum cli_exit
cmd_find(struct cli *c)
{
	struct buf path = BUF_MAX(64 * KIB);
	const char *fields = cli_opt(c, "fields");
	char *copy = mem_strdup(fields != NULL ? fields : ""), *at, *field;
	struct cli_table t;
	enum cli_exit rc;

	find_path(c, &path);
	if (buf_err(&path) != ERR_OK || copy == NULL ||
	    cli_table_init(&t, c,
		"ID=id,LEVEL=level,SHARE=share,"
		"COMPARTMENT=compartment,"
		"CREATED=created,BYTES=bytes,TAGS=tags") != ERR_OK) {
		rc = cli_fail(
		    c, ERR_LIMIT, "Ask in parts.", "the query is too long");
		goto out;
	}
	for (at = copy; (field = strsep(&at, ",")) != NULL;) {
		if (*field != '\0')
			cli_table_add(&t, field, field);
	}
	if (cli_flag(c, "count"))
		rc = cli_get(c, buf_cstr(&path), count_row, c);
	else
		rc = cli_get(c, buf_cstr(&path), cli_table_row, &t);
	cli_table_end(&t);
out:
	mem_free(copy);
	buf_fini(&path);
	return rc;
}

/* --- show --- */
static void
show_line(const char *label, const json_t *v)
{
	struct buf b = BUF_MAX(64 * KIB);

	cli_cell(&b, v);
	cli_print_text(stdout, label);
	(void)printf(
	    "%*s ", strlen(label) < 24 ? (int)(24 - strlen(label)) : 0, "");
	cli_print_text(stdout, buf_cstr(&b));
	(void)fputc('\n', stdout);
	buf_fini(&b);
}

static void
show_version(const json_t *v)
{
	static const char *const keys[] = { "version", "created", "actor",
		"site", "bytes", "members", "complete", "head", "hash",
		"sha256", "parents", "provenance" };
	size_t i;

	(void)printf("version %lld\n",
	    (long long)json_integer_value(json_object_get(v, "number")));
	for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		char label[32];

		(void)snprintf(label, sizeof(label), "  %s", keys[i]);
		show_line(label, json_object_get(v, keys[i]));
	}
}

/* "name: cell cell ..." for each item of a list. */
static void
show_items(const json_t *row, const char *key, const char *const *cells)
{
	const json_t *list = json_object_get(row, key);
	const json_t *v;
	size_t i, k;

	if (json_array_size(list) > 0)
		(void)printf("%s\n", key);
	json_array_foreach(list, i, v)
	{
		(void)printf(" ");
		for (k = 0; cells[k] != NULL; k++) {
			struct buf b = BUF_MAX(64 * KIB);

			cli_cell(&b, json_object_get(v, cells[k]));
			(void)printf(" ");
			cli_print_text(stdout, buf_cstr(&b));
			buf_fini(&b);
		}
		(void)fputc('\n', stdout);
	}
}

static void
show_said(const json_t *row)
{
	static const char *const set[] = { "name", "value", "type", "actor",
		"created", "reason", "original", "stands", NULL };
	static const char *const notes[] = { "created", "actor", "text", NULL };
	static const char *const links[] = { "as", "to", "actor", NULL };
	static const char *const in[] = { "as", "from", NULL };
	static const char *const locks[] = { "holder", "until", "expired",
		"note", NULL };

	show_items(row, "set", set);
	show_items(row, "notes", notes);
	show_items(row, "links", links);
	show_items(row, "linked_from", in);
	show_items(row, "locks", locks);
}

struct said {
	json_t *row;
};

static int
by_lamport(const void *a, const void *b)
{
	const struct said *x = a, *y = b;
	json_int_t p = json_integer_value(json_object_get(x->row, "lamport"));
	json_int_t q = json_integer_value(json_object_get(y->row, "lamport"));

	return p < q ? -1 : p > q;
}

/* By place in the answer; by time for a person. */
static void
show_history(const json_t *list)
{
	static const char *const cells[] = { "created", "actor", "kind", "name",
		"value", "to", "reason", "live", NULL };
	size_t n = json_array_size(list), i;
	struct said *sorted = mem_array(n + 1, sizeof(*sorted));
	json_t *row = json_object(), *copy = json_array();

	for (i = 0; sorted != NULL && i < n; i++)
		sorted[i].row = json_array_get(list, i);
	if (sorted != NULL && n > 0)
		qsort(sorted, n, sizeof(*sorted), by_lamport);
	for (i = 0; sorted != NULL && i < n; i++)
		(void)json_array_append(copy, sorted[i].row);
	(void)json_object_set_new(row, "history", copy);
	show_items(row, "history", cells);
	json_decref(row);
	mem_free(sorted);
}

static int
show_row(void *ctx, json_t *row, const char *text)
{
	static const char *const keys[] = { "id", "level", "key", "parent",
		"source", "share", "compartment", "created", "retired",
		"tags" };
	const struct cli *c = ctx;
	const json_t *list = json_object_get(row, "versions");
	const char *name;
	json_t *v;
	size_t i;

	if (c->args.json) {
		(void)printf("%s\n", text);
		return 0;
	}
	for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		show_line(keys[i], json_object_get(row, keys[i]));
	(void)printf("fields\n");
	json_object_foreach(json_object_get(row, "fields"), name, v)
	{
		char label[96];

		(void)snprintf(label, sizeof(label), "  %.80s", name);
		show_line(label, v);
	}
	show_said(row);
	if (cli_flag(c, "history"))
		show_history(json_object_get(row, "history"));
	i = json_array_size(json_object_get(row, "heads"));
	if (i > 1)
		(void)printf("%zu heads: versions that do not know of each "
			     "other; the last one stands\n",
		    i);
	i = json_array_size(list);
	if (!cli_flag(c, "history") && i > 0)
		show_version(json_array_get(list, i - 1));
	for (i = 0; cli_flag(c, "history") && i < json_array_size(list); i++)
		show_version(json_array_get(list, i));
	return 0;
}

enum cli_exit
cmd_show(struct cli *c)
{
	struct buf path = BUF_MAX(4096);
	enum cli_exit rc;

	buf_put_str(&path, "/assets");
	cli_path_add(&path, cli_word(c, 0));
	if (cli_flag(c, "history"))
		cli_path_arg(&path, "history", "1");
	rc = cli_get(c, buf_cstr(&path), show_row, c);
	buf_fini(&path);
	return rc;
}

/* --- events --- */
static int
event_row(void *ctx, json_t *row, const char *text)
{
	const struct cli *c = ctx;

	if (c->args.json) {
		(void)printf("%s\n", text);
	} else {
		(void)printf("%6lld  %s  %-18s %s  ",
		    (long long)json_integer_value(json_object_get(row, "no")),
		    cli_str(row, "time"), cli_str(row, "type"),
		    *cli_str(row, "asset") != '\0' ? cli_str(row, "asset")
						   : "-");
		cli_print_text(stdout, cli_str(row, "detail"));
		(void)fputc('\n', stdout);
	}
	return fflush(stdout) == 0 ? 0 : 1;
}

enum cli_exit
cmd_events(struct cli *c)
{
	struct buf path = BUF_MAX(4096);
	enum cli_exit rc;

	buf_put_str(&path, "/events");
	cli_path_arg(&path, "after", cli_opt(c, "after"));
	cli_path_arg(&path, "follow", cli_flag(c, "follow") ? "1" : NULL);
	rc = cli_get(c, buf_cstr(&path), event_row, c);
	buf_fini(&path);
	return rc;
}

/* --- workflow --- */
static enum cli_exit
workflow_read(struct cli *c, const char *path, struct buf *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = -1;

	while (fd >= 0) {
		uint8_t *at = buf_room(out, 4096);

		if (at == NULL)
			break;
		n = read(fd, at, 4096);
		if (n <= 0)
			break;
		buf_grew(out, (size_t)n);
	}
	if (fd >= 0)
		(void)close(fd);
	if (buf_err(out) != ERR_OK)
		return cli_fail(c, ERR_LIMIT, "Make it smaller.",
		    "%.200s is larger than %zu bytes", path, CLI_FILE_BYTES);
	if (fd < 0 || n != 0)
		return cli_fail(c, ERR_IO, "Check the path.",
		    "%.200s cannot be read", path);
	return CLI_OK;
}

static int
workflow_row(void *ctx, json_t *row, const char *text)
{
	const struct cli *c = ctx;

	if (c->args.json)
		(void)printf("%s\n", text);
	else {
		cli_print_text(stdout, cli_str(row, "name"));
		(void)printf(
		    cli_opt(c, "share") != NULL ? ": added\n" : ": good\n");
	}
	return 0;
}

static enum cli_exit
workflow_send(struct cli *c, const char *path)
{
	struct buf yaml = BUF_MAX(CLI_FILE_BYTES);
	struct cli_request q = {
		.method = "POST", .path = path, .row = workflow_row, .ctx = c
	};
	enum cli_exit rc = workflow_read(c, cli_word(c, 0), &yaml);

	if (rc == CLI_OK) {
		q.body = buf_slice(&yaml);
		rc = cli_send(c, &q);
	}
	buf_fini(&yaml);
	return rc;
}

enum cli_exit
cmd_workflow_add(struct cli *c)
{
	struct buf path = BUF_MAX(4096);
	enum cli_exit rc;

	if (cli_opt(c, "share") == NULL)
		return cli_usage(c, "workflow add needs --share SHARE");
	buf_put_str(&path, "/workflows");
	cli_path_arg(&path, "share", cli_opt(c, "share"));
	rc = workflow_send(c, buf_cstr(&path));
	buf_fini(&path);
	return rc;
}

enum cli_exit
cmd_workflow_check(struct cli *c)
{
	return workflow_send(c, "/workflows/check");
}

enum cli_exit
cmd_workflow_list(struct cli *c)
{
	return cli_list(
	    c, "/workflows", "NAME=name,SHARE=share,ADDED=added,HASH=hash");
}

enum cli_exit
cmd_workflow_runs(struct cli *c)
{
	return cli_list(c, "/runs",
	    "ID=id,WORKFLOW=workflow,STATE=state,INPUT=input,OUTPUT=output,"
	    "STARTED=started,ENDED=ended,REASON=reason");
}
