/* cli/cmd_share.c: share, subscribe. */
#include "cli/cli_internal.h"
#include "store/base/num.h"

/* Sets key only when there is a value. */
static void
put_opt(json_t *o, const char *key, const char *value)
{
	if (value != NULL)
		(void)json_object_set_new(o, key, json_string(value));
}

static int
print_line(void *ctx, json_t *row, const char *text)
{
	const struct cli *c = ctx;

	if (c->args.json)
		(void)printf("%s\n", text);
	else if (json_is_true(json_object_get(row, "waits")))
		(void)printf("drafted; it needs the signature of another "
			     "registrar: `pesscara share requests`\n");
	else
		(void)printf("done\n");
	return 0;
}

static int
share_row(void *ctx, json_t *row, const char *text)
{
	const struct cli *c = ctx;
	const json_t *list = json_object_get(row, "compartments");
	size_t i;

	if (c->args.json) {
		(void)printf("%s\n", text);
		return 0;
	}
	(void)printf("share        ");
	cli_print_text(stdout, cli_str(row, "name"));
	(void)printf("\nid           %s\nrole         %s (%s)\n",
	    cli_str(row, "id"), cli_str(row, "role"), cli_str(row, "state"));
	(void)printf("identified   %s\n",
	    json_is_true(json_object_get(row, "allow_identified"))
		? "allowed"
		: "not allowed");
	(void)printf("registrars   %lld of %lld sign\n",
	    (long long)json_integer_value(json_object_get(row, "signatures")),
	    (long long)json_integer_value(json_object_get(row, "registrars")));
	if (json_object_get(row, "alarm") != NULL)
		(void)printf("ALARM        %s\n", cli_str(row, "alarm"));
	for (i = 0; i < json_array_size(list); i++) {
		const json_t *p = json_array_get(list, i);
		const char *root = cli_str(p, "root");

		if (root[strspn(root, "0")] == '\0') /* of nothing */
			root = "-";
		(void)printf("compartment  ");
		cli_print_text(stdout, cli_str(p, "name"));
		(void)printf(": %lld ops, content %s, root %s\n",
		    (long long)json_integer_value(json_object_get(p, "ops")),
		    cli_str(p, "content"), root);
	}
	return 0;
}

/* "/shares/NAME" + tail */
static enum cli_exit
share_send(struct cli *c, const char *method, const char *tail, json_t *body,
    cli_row_fn row)
{
	struct buf path = BUF_MAX(4096);
	struct cli_request q = {
		.method = method, .json = body, .row = row, .ctx = c
	};
	enum cli_exit rc;

	buf_put_str(&path, "/shares");
	cli_path_add(&path, cli_word(c, 0));
	buf_put_str(&path, tail);
	q.path = buf_cstr(&path);
	rc = cli_send(c, &q);
	buf_fini(&path);
	return rc;
}

enum cli_exit
cmd_share_create(struct cli *c)
{
	json_t *o = json_pack("{s:s, s:b, s:[]}", "name", cli_word(c, 0),
	    "allow_identified", cli_flag(c, "allow-identified") ? 1 : 0,
	    "compartments");
	json_t *list = json_object_get(o, "compartments");
	const char *name;
	uint32_t i;

	for (i = 0; (name = cli_opt_at(c, "compartment", i)) != NULL; i++)
		(void)json_array_append_new(list, json_string(name));
	return cli_post(c, "/shares", o, share_row, c);
}

enum cli_exit
cmd_share_list(struct cli *c)
{
	return cli_list(c, "/shares", "NAME=name,ROLE=role,STATE=state,ID=id");
}

enum cli_exit
cmd_share_show(struct cli *c)
{
	return share_send(c, "GET", "", NULL, share_row);
}

enum cli_exit
cmd_share_members(struct cli *c)
{
	struct buf path = BUF_MAX(4096);
	enum cli_exit rc;

	buf_put_str(&path, "/shares");
	cli_path_add(&path, cli_word(c, 0));
	buf_put_str(&path, "/members");
	rc = cli_list(c, buf_cstr(&path),
	    "SITE=site,ROLE=role,COMPARTMENT=compartment,KEY=key");
	buf_fini(&path);
	return rc;
}

static int
invite_row(void *ctx, json_t *row, const char *text)
{
	const struct cli *c = ctx;

	(void)printf("%s\n", c->args.json ? text : cli_str(row, "invite"));
	return 0;
}

enum cli_exit
cmd_share_invite(struct cli *c)
{
	const char *role = cli_opt(c, "role");
	json_t *o;

	if (role == NULL)
		return cli_usage(c, "share invite needs --role ROLE");
	o = json_pack("{s:s}", "role", role);
	put_opt(o, "compartment", cli_opt(c, "compartment"));
	put_opt(o, "expires", cli_opt(c, "expires"));
	put_opt(o, "address", cli_opt(c, "address"));
	put_opt(o, "history", cli_opt(c, "history"));
	if (cli_flag(c, "approve"))
		(void)json_object_set_new(o, "approve", json_true());
	return share_send(c, "POST", "/invites", o, invite_row);
}

static int
join_row(void *ctx, json_t *row, const char *text)
{
	const struct cli *c = ctx;

	if (c->args.json)
		(void)printf("%s\n", text);
	else
		(void)printf("joining %s; `pesscara share list` says when it "
			     "is granted\n",
		    cli_str(row, "id"));
	return 0;
}

enum cli_exit
cmd_share_join(struct cli *c)
{
	return cli_post(c, "/joins",
	    json_pack("{s:s}", "invite", cli_word(c, 0)), join_row, c);
}

enum cli_exit
cmd_share_grant(struct cli *c)
{
	const char *role = cli_opt(c, "role");
	json_t *o;

	if (role == NULL)
		return cli_usage(c, "share grant needs --role ROLE");
	o = json_pack("{s:s, s:s}", "key", cli_word(c, 1), "role", role);
	put_opt(o, "compartment", cli_opt(c, "compartment"));
	put_opt(o, "history", cli_opt(c, "history"));
	return share_send(c, "POST", "/grants", o, print_line);
}

enum cli_exit
cmd_share_requests(struct cli *c)
{
	struct buf path = BUF_MAX(4096);
	enum cli_exit rc;

	buf_put_str(&path, "/shares");
	cli_path_add(&path, cli_word(c, 0));
	buf_put_str(&path, "/requests");
	rc = cli_list(c, buf_cstr(&path),
	    "ID=id,WHAT=what,SIGNED=signed,SITE=site,ROLE=role,"
	    "COMPARTMENT=compartment,HISTORY=history,KEY=key");
	buf_fini(&path);
	return rc;
}

enum cli_exit
cmd_share_approve(struct cli *c)
{
	json_t *o = json_pack("{s:s}", "id", cli_word(c, 1));

	if (cli_flag(c, "reject"))
		(void)json_object_set_new(o, "reject", json_true());
	if (cli_flag(c, "instead"))
		(void)json_object_set_new(o, "instead", json_true());
	return share_send(c, "POST", "/approvals", o, print_line);
}

enum cli_exit
cmd_share_registrars(struct cli *c)
{
	const char *sign = cli_opt(c, "sign");
	uint64_t k = 0;
	json_t *o = json_pack("{s:[]}", "keys");
	json_t *list = json_object_get(o, "keys");

	for (uint32_t i = 1; i < c->args.n_words; i++)
		(void)json_array_append_new(list, json_string(cli_word(c, i)));
	if (sign != NULL &&
	    num_u64(slice_str(sign), 1, UINT8_MAX, &k) != ERR_OK) {
		json_decref(o);
		return cli_usage(c, "--sign is a number");
	}
	if (sign != NULL)
		(void)json_object_set_new(
		    o, "sign", json_integer((json_int_t)k));
	return share_send(c, "PUT", "/registrars", o, print_line);
}

static enum cli_exit
device_send(struct cli *c, const char *tail)
{
	json_t *o = json_pack("{s:s}", "key", cli_word(c, 1));

	put_opt(o, "reason", cli_opt(c, "reason"));
	return share_send(c, "POST", tail, o, print_line);
}

enum cli_exit
cmd_share_revoke(struct cli *c)
{
	return device_send(c, "/revocations");
}

enum cli_exit
cmd_share_adopt(struct cli *c)
{
	return device_send(c, "/adoptions");
}

enum cli_exit
cmd_share_checkpoint(struct cli *c)
{
	const char *keep = cli_opt(c, "keep");
	struct buf path = BUF_MAX(4096);
	enum cli_exit rc;
	json_t *o;

	if (keep != NULL) {
		o = json_pack("{s:s}", "keep", keep);
		if (cli_flag(c, "instead"))
			(void)json_object_set_new(o, "instead", json_true());
		return share_send(c, "POST", "/checkpoints", o, print_line);
	}
	buf_put_str(&path, "/shares");
	cli_path_add(&path, cli_word(c, 0));
	buf_put_str(&path, "/branches");
	rc = cli_list(c, buf_cstr(&path),
	    "ID=id,FIRST=first,LAST=last,WHAT=what,HERE=here,SIGNED=signed");
	buf_fini(&path);
	return rc;
}

enum cli_exit
cmd_share_freeze(struct cli *c)
{
	return device_send(c, "/freezes");
}

enum cli_exit
cmd_share_thaw(struct cli *c)
{
	return device_send(c, "/thaws");
}

enum cli_exit
cmd_share_rotate(struct cli *c)
{
	json_t *o = json_object();

	put_opt(o, "compartment", cli_opt(c, "compartment"));
	return share_send(c, "POST", "/rotations", o, print_line);
}

enum cli_exit
cmd_subscribe(struct cli *c)
{
	const char *content = cli_opt(c, "content");
	json_t *o =
	    json_pack("{s:s}", "content", content != NULL ? content : "all");

	put_opt(o, "compartment", cli_opt(c, "compartment"));
	put_opt(o, "where", cli_opt(c, "where"));
	return share_send(c, "PUT", "/subscription", o, share_row);
}
