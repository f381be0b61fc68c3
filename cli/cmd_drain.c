/* cli/cmd_drain.c: may this hub be switched off? */
#include "cli/cli_internal.h"

#include "store/base/num.h"

static int
drain_row(void *ctx, json_t *row, const char *text)
{
	json_t **keep = ctx;

	(void)text;
	*keep = json_incref(row);
	return 0;
}

static long long
num(const json_t *doc, const char *key)
{
	return (long long)json_integer_value(json_object_get(doc, key));
}

static enum cli_exit
drain_tell(struct cli *c, json_t *doc)
{
	char *line;

	if (!json_is_true(json_object_get(doc, "safe")))
		return cli_fail(c, ERR_TIMEOUT,
		    "Leave it on. See: pesscara sync status",
		    "%lld of %lld chunks were not proven to be elsewhere, and "
		    "%lld compartments are level with nobody",
		    num(doc, "alone"), num(doc, "chunks"), num(doc, "behind"));
	line = json_dumps(doc, JSON_COMPACT);
	if (c->args.json)
		(void)printf("%s\n", line != NULL ? line : "");
	else
		(void)printf("safe to switch off: others hold all %lld "
			     "chunks, and every op\n",
		    num(doc, "chunks"));
	free(line);
	return CLI_OK;
}

enum cli_exit
cmd_peer_drain(struct cli *c)
{
	const char *text = cli_opt(c, "timeout");
	json_t *doc = NULL;
	uint64_t s = 60;
	enum cli_exit rc;

	if (text != NULL &&
	    num_duration_s(slice_str(text), 86400, &s) != ERR_OK)
		return cli_usage(c, "--timeout must be a duration like 60s");
	cli_progress_start(c, "asking others", 0);
	rc = cli_post(c, "/peers/drain",
	    json_pack("{s:I}", "timeout_ms", (json_int_t)s * 1000), drain_row,
	    &doc);
	cli_progress_end(c);
	if (rc == CLI_OK && doc != NULL)
		rc = drain_tell(c, doc);
	json_decref(doc);
	return rc;
}
