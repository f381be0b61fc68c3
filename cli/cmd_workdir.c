/* cli/cmd_workdir.c: checkout, diff, checkin.
 *
 * The node does the work, as its owner and on the same machine; here the
 * directory gets its whole path and the node's rows are shown. */
#include "cli/cli_internal.h"

#include <errno.h>
#include <inttypes.h>

#include "store/base/mem.h"

struct workdir_run {
	struct cli *c;
	json_t *summary;
};

static uint64_t
workdir_num(const json_t *map, const char *key)
{
	json_int_t v = json_integer_value(json_object_get(map, key));

	return v > 0 ? (uint64_t)v : 0;
}

/* Progress and summary are kept; true: the row was one of them, or --json. */
static bool
workdir_common(struct workdir_run *r, json_t *row, const char *text)
{
	const json_t *p = json_object_get(row, "progress");
	json_t *summary = json_object_get(row, "summary");

	if (p != NULL) {
		r->c->progress.done = workdir_num(p, "files");
		r->c->progress.bytes = workdir_num(p, "bytes");
		cli_progress_show(r->c);
		return true;
	}
	if (summary != NULL)
		r->summary = json_incref(summary);
	if (r->c->args.json)
		(void)printf("%s\n", text);
	else
		cli_progress_clear(r->c);
	return r->c->args.json || summary != NULL;
}

/* Sends {dir, ...more} and frees more. */
static enum cli_exit
workdir_send(struct workdir_run *r, const char *route, const char *dir,
    json_t *more, cli_row_fn row)
{
	char *full = cli_dir(r->c, dir);
	enum cli_exit rc;

	if (full == NULL) {
		json_decref(more);
		return CLI_FAILED;
	}
	if (more != NULL &&
	    json_object_set_new(more, "dir", json_string(full)) != 0) {
		json_decref(more);
		free(full);
		return cli_fail(r->c, ERR_MALFORMED, "Rename it.",
		    "the directory's path is not UTF-8");
	}
	cli_progress_start(r->c, "files", 0);
	rc = cli_post(r->c, route, more, row, r);
	cli_progress_end(r->c);
	if (rc == CLI_OK && r->summary == NULL)
		rc = cli_fail(
		    r->c, ERR_SHORT, "Run it again.", "it did not finish");
	free(full);
	return rc;
}

/* --- checkout --- */
static int
checkout_row(void *ctx, json_t *row, const char *text)
{
	struct workdir_run *r = ctx;

	if (workdir_common(r, row, text))
		return 0;
	(void)printf("%-8s %6" PRIu64 " files  ", cli_str(row, "state"),
	    workdir_num(row, "files"));
	cli_print_text(stdout, cli_str(row, "path"));
	if (*cli_str(row, "locked_by") != '\0') {
		(void)printf("  (locked by ");
		cli_print_text(stdout, cli_str(row, "locked_by"));
		(void)printf(" since %s)", cli_str(row, "locked"));
	}
	(void)fputc('\n', stdout);
	return 0;
}

enum cli_exit
cmd_checkout(struct cli *c)
{
	struct workdir_run r = { .c = c };
	uint32_t i, n = c->args.n_words;
	json_t *o = json_object(), *what = json_array();
	char bytes[16];
	enum cli_exit rc;

	(void)json_object_set_new(o, "what", what);
	for (i = 0; i + 1 < n; i++) {
		if (json_array_append_new(what, json_string(cli_word(c, i))) !=
		    0) {
			json_decref(o);
			o = NULL; /* cli_post says that it is not UTF-8 */
			break;
		}
	}
	if (o != NULL && cli_opt(c, "as") != NULL)
		(void)json_object_set_new(
		    o, "as", json_string(cli_opt(c, "as")));
	if (o != NULL && cli_flag(c, "no-lock"))
		(void)json_object_set_new(o, "no_lock", json_true());
	rc = workdir_send(
	    &r, "/workdirs/checkout", cli_word(c, n - 1), o, checkout_row);
	if (rc == CLI_OK && !c->args.json) {
		cli_bytes_text(workdir_num(r.summary, "bytes"), bytes);
		(void)printf("%" PRIu64 " assets, %" PRIu64 " files, %s\n",
		    workdir_num(r.summary, "assets"),
		    workdir_num(r.summary, "files"), bytes);
	}
	json_decref(r.summary);
	return rc;
}

/* --- diff --- */
static int
diff_row(void *ctx, json_t *row, const char *text)
{
	struct workdir_run *r = ctx;
	const char *state = cli_str(row, "state");

	if (workdir_common(r, row, text) || strcmp(state, "unchanged") == 0)
		return 0;
	(void)printf("%-9s ", state);
	cli_print_text(stdout, cli_str(row, "path"));
	if (*cli_str(row, "cause") != '\0') {
		(void)printf(": ");
		cli_print_text(stdout, cli_str(row, "cause"));
	}
	if (strcmp(state, "behind") == 0) {
		(void)printf(": a version of ");
		cli_print_text(stdout, cli_str(row, "actor"));
		(void)printf(", %s", cli_str(row, "created"));
	}
	(void)fputc('\n', stdout);
	return 0;
}

enum cli_exit
cmd_diff(struct cli *c)
{
	static const char *const keys[] = { "unchanged", "changed", "added",
		"removed", "refused", "behind" };
	struct workdir_run r = { .c = c };
	enum cli_exit rc = workdir_send(
	    &r, "/workdirs/diff", cli_word(c, 0), json_object(), diff_row);
	size_t i;

	for (i = 0; rc == CLI_OK && !c->args.json &&
		    i < sizeof(keys) / sizeof(keys[0]);
	     i++)
		(void)printf("%s%" PRIu64 " %s", i > 0 ? ", " : "",
		    workdir_num(r.summary, keys[i]), keys[i]);
	if (rc == CLI_OK && !c->args.json)
		(void)fputc('\n', stdout);
	json_decref(r.summary);
	return rc;
}

/* --- checkin --- */
static int
checkin_row(void *ctx, json_t *row, const char *text)
{
	struct workdir_run *r = ctx;
	const char *state = cli_str(row, "state");

	if (strcmp(state, "refused") == 0 ||
	    json_object_get(row, "progress") != NULL ||
	    json_object_get(row, "summary") != NULL || r->c->args.json)
		return diff_row(ctx, row, text);
	cli_progress_clear(r->c);
	(void)printf("%-8s %s  %s  %" PRIu64 " files  ", state,
	    *cli_str(row, "asset") != '\0' ? cli_str(row, "asset") : "-",
	    cli_str(row, "level"), workdir_num(row, "files"));
	cli_print_text(stdout, cli_str(row, "path"));
	if (workdir_num(row, "heads") > 1)
		(void)printf("  (another version was made meanwhile: both are "
			     "kept, see pesscara show --history)");
	(void)fputc('\n', stdout);
	return 0;
}

static json_t *
checkin_body(struct cli *c)
{
	static const char *const texts[] = { "note", "reason", "tool", "level",
		"source" };
	json_t *o = json_object();
	size_t i;

	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		if (cli_opt(c, texts[i]) != NULL &&
		    json_object_set_new(
			o, texts[i], json_string(cli_opt(c, texts[i]))) != 0) {
			json_decref(o);
			return NULL; /* not UTF-8 */
		}
	}
	if (cli_flag(c, "dry-run"))
		(void)json_object_set_new(o, "dry_run", json_true());
	if (cli_flag(c, "keep-lock"))
		(void)json_object_set_new(o, "keep_lock", json_true());
	return o;
}

enum cli_exit
cmd_checkin(struct cli *c)
{
	struct workdir_run r = { .c = c };
	enum cli_exit rc = workdir_send(&r, "/workdirs/checkin", cli_word(c, 0),
	    checkin_body(c), checkin_row);

	if (rc == CLI_OK && !c->args.json) {
		if (workdir_num(r.summary, "versions") == 0)
			(void)printf("nothing to check in");
		else
			(void)printf("%" PRIu64 " version%s%s",
			    workdir_num(r.summary, "versions"),
			    workdir_num(r.summary, "versions") == 1 ? "" : "s",
			    cli_flag(c, "dry-run") ? " would be made" : "");
		(void)printf(", locks given back: %" PRIu64 "\n",
		    workdir_num(r.summary, "unlocked"));
	}
	json_decref(r.summary);
	return rc;
}
