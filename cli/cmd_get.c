/* cli/cmd_get.c: the files of assets, onto the disk.
 *
 * Happy path: the directory gets its whole path; the node, its owner's on the
 * same machine, writes DIR/ASSET/NAME and says each file once it is whole.
 * Failure: a file that cannot be read is told and the others come; then the
 * command fails at its end. */
#include "cli/cli_internal.h"

#include <sys/stat.h>

struct get_run {
	struct cli *c;
	bool done;
};

static void
get_json(json_t *row)
{
	json_t *o = json_pack("{s:O, s:O, s:O, s:O}", "asset",
	    json_object_get(row, "asset"), "path", json_object_get(row, "path"),
	    "bytes", json_object_get(row, "bytes"), "sha256",
	    json_object_get(row, "sha256"));
	char *text = o != NULL ? json_dumps(o, JSON_COMPACT) : NULL;

	(void)printf("%s\n", text != NULL ? text : "");
	free(text);
	json_decref(o);
}

static int
get_row(void *ctx, json_t *row, const char *text)
{
	struct get_run *g = ctx;

	(void)text;
	if (json_object_get(row, "summary") != NULL) {
		g->done = true;
		return 0;
	}
	g->c->progress.done++;
	g->c->progress.bytes +=
	    (uint64_t)json_integer_value(json_object_get(row, "bytes"));
	if (g->c->args.json) {
		get_json(row);
		return 0;
	}
	cli_progress_clear(g->c);
	cli_print_text(stdout, cli_str(row, "path"));
	(void)fputc('\n', stdout);
	cli_progress_show(g->c);
	return 0;
}

/* NULL: an argument is not UTF-8.  SHA-256 costs more than all the rest: only
 * where it is printed. */
static json_t *
get_body(struct cli *c, const char *dir)
{
	json_t *o = json_object(), *what = json_array();
	mode_t mask = umask(0);
	uint32_t i;
	int rc = json_object_set_new(o, "what", what);

	(void)umask(mask);
	for (i = 0; i < c->args.n_words && rc == 0; i++)
		rc = json_array_append_new(what, json_string(cli_word(c, i)));
	if (rc == 0)
		rc = json_object_set_new(o, "dir", json_string(dir));
	if (rc == 0 && cli_opt(c, "as") != NULL)
		rc =
		    json_object_set_new(o, "as", json_string(cli_opt(c, "as")));
	if (rc == 0)
		rc = json_object_set_new(
		    o, "sum", json_string(c->args.json ? "sha256" : "blake2b"));
	if (rc == 0)
		rc = json_object_set_new(o, "umask", json_integer(mask));
	if (rc == 0)
		return o;
	json_decref(o);
	return NULL;
}

enum cli_exit
cmd_get(struct cli *c)
{
	struct get_run g = { .c = c };
	char *dir = cli_dir(c, cli_opt(c, "o") != NULL ? cli_opt(c, "o") : ".");
	enum cli_exit rc;

	if (dir == NULL)
		return CLI_FAILED;
	cli_progress_start(c, "files", 0);
	rc = cli_post(c, "/exports", get_body(c, dir), get_row, &g);
	cli_progress_end(c);
	if (rc == CLI_OK && !g.done)
		rc = cli_fail(
		    c, ERR_SHORT, "Run it again.", "it did not finish");
	free(dir);
	return rc;
}
