/* cli/cmd_pull.c: images from an archive. */
#include "cli/cli_internal.h"

struct pull_run {
	struct cli *c;
	json_t *summary;
};

static long long
pull_num(const json_t *map, const char *key)
{
	return (long long)json_integer_value(json_object_get(map, key));
}

static void
pull_print(const json_t *row)
{
	(void)printf("%s %-4s %lld found, %lld here", cli_str(row, "series"),
	    cli_str(row, "modality"), pull_num(row, "found"),
	    pull_num(row, "here"));
	if (pull_num(row, "missing") > 0)
		(void)printf(", %lld missing", pull_num(row, "missing"));
	if (*cli_str(row, "reason") != '\0') {
		(void)printf(": ");
		cli_print_text(stdout, cli_str(row, "reason"));
	}
	(void)fputc('\n', stdout);
}

static int
pull_row(void *ctx, json_t *row, const char *text)
{
	struct pull_run *run = ctx;
	const json_t *far = json_object_get(row, "progress");
	json_t *summary = json_object_get(row, "summary");

	if (far != NULL) {
		run->c->progress.done = (uint64_t)pull_num(far, "images");
		cli_progress_show(run->c);
		return 0;
	}
	if (summary != NULL)
		run->summary = json_incref(summary);
	if (run->c->args.json)
		(void)printf("%s\n", text);
	else if (summary == NULL)
		pull_print(row);
	return fflush(stdout) == 0 ? 0 : 1;
}

static enum cli_exit
pull_end(const struct pull_run *run)
{
	const json_t *s = run->summary;
	long long missing = pull_num(s, "missing");
	bool dry_run = json_is_true(json_object_get(s, "dry_run"));

	if (s == NULL)
		return cli_fail(run->c, ERR_SHORT, "Run it again.",
		    "the pull did not finish");
	if (!run->c->args.json)
		(void)printf("%lld series, %lld images found, %lld here, "
			     "%.1f s\n",
		    pull_num(s, "series"), pull_num(s, "found"),
		    pull_num(s, "here"),
		    json_number_value(json_object_get(s, "seconds")));
	if (dry_run || missing == 0)
		return CLI_OK;
	return cli_fail(run->c, ERR_SHORT,
	    "The reason stands beside each series; run it again.",
	    "%lld images are not here", missing);
}

enum cli_exit
cmd_pull(struct cli *c)
{
	static const char *const pass[] = { "patient", "study", "series",
		"accession", "date", "modality" };
	json_t *o = json_pack("{s:s}", "archive", cli_word(c, 0));
	struct pull_run run = { .c = c };
	enum cli_exit rc;
	uint32_t i;

	for (i = 0; i < sizeof(pass) / sizeof(pass[0]); i++) {
		if (cli_opt(c, pass[i]) != NULL)
			(void)json_object_set_new(
			    o, pass[i], json_string(cli_opt(c, pass[i])));
	}
	if (cli_flag(c, "dry-run"))
		(void)json_object_set_new(o, "dry_run", json_true());
	if (cli_flag(c, "move"))
		(void)json_object_set_new(o, "move", json_true());
	cli_progress_start(c, "images", 0);
	rc = cli_post(c, "/pulls", o, pull_row, &run);
	cli_progress_end(c);
	if (rc == CLI_OK)
		rc = pull_end(&run);
	json_decref(run.summary);
	return rc;
}
