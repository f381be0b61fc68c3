/* cli/cmd_audit.c: who did what, and whether the record of it is whole. */
#include "cli/cli_internal.h"

#include "store/base/num.h"

enum cli_exit
cmd_audit_show(struct cli *c)
{
	struct buf path = BUF_MAX(4096);
	const char *after = cli_opt(c, "after");
	enum cli_exit rc;
	uint64_t n;

	if (after != NULL &&
	    num_u64(slice_str(after), 0, UINT64_MAX, &n) != ERR_OK)
		return cli_usage(c, "--after is the number of a row");
	buf_put_str(&path, "/audit");
	cli_path_arg(&path, "asset", cli_opt(c, "asset"));
	cli_path_arg(&path, "after", after);
	rc = cli_list(c, buf_cstr(&path),
	    "NO=no,TIME=time,ACTOR=actor,ACT=act,OBJECT=object,REASON=reason");
	buf_fini(&path);
	return rc;
}

static int
verify_row(void *ctx, json_t *row, const char *text)
{
	const struct cli *c = ctx;

	if (c->args.json)
		(void)printf("%s\n", text);
	else
		(void)printf("%lld rows, whole, from %s to %s\n",
		    (long long)json_integer_value(json_object_get(row, "rows")),
		    cli_str(row, "first"), cli_str(row, "last"));
	return 0;
}

enum cli_exit
cmd_audit_verify(struct cli *c)
{
	return cli_get(c, "/audit/verify", verify_row, c);
}
