/* cli/cmd_air.c: what a connection would carry, into a file and out of it. */
#include "cli/cli_internal.h"

#include <unistd.h>

struct air {
	struct cli *c;
	bool in;
};

static json_int_t
num(const json_t *doc, const char *key)
{
	return json_integer_value(json_object_get(doc, key));
}

static int
air_row(void *ctx, json_t *row, const char *text)
{
	const struct air *a = ctx;
	char bytes[16];

	if (a->c->args.json) {
		(void)printf("%s\n", text);
		return 0;
	}
	cli_bytes_text((uint64_t)num(row, "bytes"), bytes);
	(void)printf("%lld shares, %lld ops, %lld chunks, %s in the file\n",
	    (long long)num(row, "shares"), (long long)num(row, "ops"),
	    (long long)num(row, "chunks"), bytes);
	if (a->in)
		(void)printf("%lld ops and %lld chunks are new here\n",
		    (long long)num(row, "new_ops"),
		    (long long)num(row, "new_chunks"));
	return 0;
}

/* The node has another working directory. */
static enum cli_exit
air_path(struct cli *c, const char *word, struct buf *out)
{
	char here[2048];

	if (word[0] != '/') {
		if (getcwd(here, sizeof(here)) == NULL)
			return cli_fail(c, ERR_IO, "Give the whole path.",
			    "the current folder has no name");
		buf_put_str(out, here);
		buf_u8(out, '/');
	}
	buf_put_str(out, word);
	return CLI_OK;
}

static enum cli_exit
air_send(struct cli *c, const char *route, bool in, json_t *more)
{
	struct air a = { c, in };
	struct buf path = BUF_MAX(8192);
	enum cli_exit rc = air_path(c, cli_word(c, 0), &path);

	if (rc == CLI_OK) {
		(void)json_object_set_new(
		    more, "path", json_string(buf_cstr(&path)));
		cli_progress_start(c, in ? "taking in" : "writing", 0);
		rc = cli_post(c, route, json_incref(more), air_row, &a);
		cli_progress_end(c);
	}
	json_decref(more);
	buf_fini(&path);
	return rc;
}

enum cli_exit
cmd_sync_export(struct cli *c)
{
	const char *peer = cli_opt(c, "peer");

	if (peer == NULL)
		return cli_usage(c, "sync export needs --peer P");
	return air_send(c, "/sync/export", false,
	    json_pack("{s:s, s:b, s:b}", "peer", peer, "all",
		cli_flag(c, "all") ? 1 : 0, "no_content",
		cli_flag(c, "no-content") ? 1 : 0));
}

enum cli_exit
cmd_sync_import(struct cli *c)
{
	return air_send(c, "/sync/import", true, json_object());
}
