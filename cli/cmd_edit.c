/* cli/cmd_edit.c: what is said of assets: set, tag, untag, note, link,
 * retire, undo, lock, group, context.
 *
 * Where several assets are named every one is tried; one failure makes the
 * whole a failure. */
#include "cli/cli_internal.h"

#include "store/base/num.h"

static int
done_row(void *ctx, json_t *row, const char *text)
{
	const struct cli *c = ctx;

	if (c->args.json)
		(void)printf("%s\n", text);
	else if (*cli_str(row, "asset") != '\0')
		(void)printf("%s done\n", cli_str(row, "asset"));
	else
		(void)printf("done\n");
	return 0;
}

static json_t *
body_new(struct cli *c)
{
	json_t *o = json_object();
	const char *reason = cli_opt(c, "reason");

	if (o != NULL && reason != NULL)
		(void)json_object_set_new(o, "reason", json_string(reason));
	return o;
}

static void
body_text(json_t *o, const char *key, const char *value)
{
	if (value != NULL)
		(void)json_object_set_new(o, key, json_string(value));
}

static void
body_words(struct cli *c, json_t *o, const char *key, uint32_t from)
{
	json_t *list = json_array();

	for (; from < c->args.n_words; from++)
		(void)json_array_append_new(
		    list, json_string(cli_word(c, from)));
	(void)json_object_set_new(o, key, list);
}

/* POST /assets/ASSET/act; body is released. */
static enum cli_exit
edit_post(struct cli *c, const char *asset, const char *act, json_t *body)
{
	struct buf path = BUF_MAX(4096);
	enum cli_exit rc;

	buf_put_str(&path, "/assets");
	cli_path_add(&path, asset);
	cli_path_add(&path, act);
	rc = body == NULL ? cli_fail(c, ERR_MALFORMED, "Give text in UTF-8.",
				"a word is not text")
			  : cli_post(c, buf_cstr(&path), body, done_row, c);
	buf_fini(&path);
	return rc;
}

/* The same act on every asset among the words, up to the last `tail`. */
static enum cli_exit
edit_each(struct cli *c, const char *act, const json_t *body, uint32_t tail)
{
	enum cli_exit rc = CLI_OK;
	uint32_t i;

	for (i = 0; i + tail < c->args.n_words; i++) {
		if (edit_post(c, cli_word(c, i), act, json_deep_copy(body)) !=
		    CLI_OK)
			rc = CLI_FAILED;
	}
	return rc;
}

enum cli_exit
cmd_set(struct cli *c)
{
	json_t *o = body_new(c);

	body_words(c, o, "fields", 1);
	body_text(o, "type", cli_opt(c, "type"));
	return edit_post(c, cli_word(c, 0), "fields", o);
}

static enum cli_exit
tag_each(struct cli *c, const char *key)
{
	json_t *o = body_new(c);
	enum cli_exit rc;

	body_words(c, o, key, c->args.n_words - 1);
	rc = edit_each(c, "tags", o, 1);
	json_decref(o);
	return rc;
}

enum cli_exit
cmd_tag(struct cli *c)
{
	return tag_each(c, "add");
}

enum cli_exit
cmd_untag(struct cli *c)
{
	return tag_each(c, "remove");
}

enum cli_exit
cmd_note(struct cli *c)
{
	json_t *o = body_new(c);

	body_text(o, "text", cli_word(c, 1));
	return edit_post(c, cli_word(c, 0), "notes", o);
}

/* --- links and groups --- */

static enum cli_exit
link_post(struct cli *c, const char *from, const char *to, const char *as,
    bool remove)
{
	json_t *o = body_new(c);

	body_text(o, "to", to);
	body_text(o, "as", as);
	if (remove)
		(void)json_object_set_new(o, "remove", json_true());
	return edit_post(c, from, "links", o);
}

static enum cli_exit
link_two(struct cli *c, bool remove)
{
	const char *as = cli_opt(c, "as");

	if (as == NULL)
		return cli_usage(
		    c, "%s needs --as TYPE", remove ? "unlink" : "link");
	return link_post(c, cli_word(c, 0), cli_word(c, 1), as, remove);
}

enum cli_exit
cmd_link(struct cli *c)
{
	return link_two(c, false);
}

enum cli_exit
cmd_unlink(struct cli *c)
{
	return link_two(c, true);
}

static enum cli_exit
group_members(struct cli *c, bool remove)
{
	enum cli_exit rc = CLI_OK;
	uint32_t i;

	for (i = 1; i < c->args.n_words; i++) {
		if (link_post(c, cli_word(c, 0), cli_word(c, i), "member",
			remove) != CLI_OK)
			rc = CLI_FAILED;
	}
	return rc;
}

enum cli_exit
cmd_group_add(struct cli *c)
{
	return group_members(c, false);
}

enum cli_exit
cmd_group_remove(struct cli *c)
{
	return group_members(c, true);
}

enum cli_exit
cmd_group_create(struct cli *c)
{
	json_t *o = json_object();

	if (cli_opt(c, "share") == NULL) {
		json_decref(o);
		return cli_usage(c, "group create needs --share SHARE");
	}
	body_text(o, "name", cli_word(c, 0));
	body_text(o, "share", cli_opt(c, "share"));
	body_text(o, "compartment", cli_opt(c, "compartment"));
	return cli_post(c, "/groups", o, done_row, c);
}

/* --- retire, undo --- */

static enum cli_exit
retire_each(struct cli *c, const char *act)
{
	json_t *o;
	enum cli_exit rc;

	if (cli_opt(c, "reason") == NULL)
		return cli_usage(c, "%s needs --reason TEXT", act);
	o = body_new(c);
	rc = edit_each(c, act, o, 0);
	json_decref(o);
	return rc;
}

enum cli_exit
cmd_retire(struct cli *c)
{
	return retire_each(c, "retire");
}

enum cli_exit
cmd_unretire(struct cli *c)
{
	return retire_each(c, "unretire");
}

enum cli_exit
cmd_undo(struct cli *c)
{
	json_t *o = body_new(c);

	body_text(o, "to", cli_opt(c, "to"));
	return edit_post(c, cli_word(c, 0), "undo", o);
}

/* --- locks --- */

enum cli_exit
cmd_lock_take(struct cli *c)
{
	const char *text = cli_opt(c, "for");
	uint64_t s = 28800; /* 8 hours */
	json_t *o;
	enum cli_exit rc;

	if (text != NULL &&
	    num_duration_s(slice_str(text), UINT32_MAX, &s) != ERR_OK)
		return cli_usage(c, "--for takes 30m, 8h, 2d");
	o = body_new(c);
	(void)json_object_set_new(o, "for_s", json_integer((json_int_t)s));
	body_text(o, "note", cli_opt(c, "note"));
	rc = edit_each(c, "lock", o, 0);
	json_decref(o);
	return rc;
}

enum cli_exit
cmd_lock_drop(struct cli *c)
{
	json_t *o = json_object();
	enum cli_exit rc;

	if (cli_flag(c, "all"))
		(void)json_object_set_new(o, "all", json_true());
	rc = edit_each(c, "unlock", o, 0);
	json_decref(o);
	return rc;
}

enum cli_exit
cmd_lock_list(struct cli *c)
{
	return cli_list(c, "/locks",
	    "ASSET=asset,LEVEL=level,SHARE=share,HOLDER=holder,UNTIL=until,"
	    "EXPIRED=expired,NOTE=note");
}

/* --- contexts --- */

static void
context_path(struct cli *c, struct buf *path)
{
	buf_put_str(path, "/shares");
	cli_path_add(path, cli_word(c, 0));
	cli_path_add(path, "contexts");
}

enum cli_exit
cmd_context_show(struct cli *c)
{
	struct buf path = BUF_MAX(4096);
	enum cli_exit rc;

	context_path(c, &path);
	rc = cli_list(c, buf_cstr(&path),
	    "COMPARTMENT=compartment,LEVEL=level,WHAT=what,NAME=name,"
	    "VALUE=value,STANDS=stands,ACTOR=actor,CREATED=created");
	buf_fini(&path);
	return rc;
}

static enum cli_exit
context_post(struct cli *c, json_t *o)
{
	struct buf path = BUF_MAX(4096);
	enum cli_exit rc;

	body_text(o, "level", cli_word(c, 1));
	body_text(o, "compartment", cli_opt(c, "compartment"));
	context_path(c, &path);
	rc = cli_post(c, buf_cstr(&path), o, done_row, c);
	buf_fini(&path);
	return rc;
}

/* "a,b": those; "all": everything again; "none": nothing. */
static void
context_names(struct cli *c, json_t *o, const char *key, const char *all)
{
	const char *s = cli_opt(c, key);
	json_t *list;

	if (s == NULL)
		return;
	if (all != NULL && strcmp(s, "all") == 0) {
		(void)json_object_set_new(o, all, json_true());
		return;
	}
	list = json_array();
	while (strcmp(s, "none") != 0 && *s != '\0') {
		size_t n = strcspn(s, ",");

		if (n > 0)
			(void)json_array_append_new(list, json_stringn(s, n));
		s += n;
		s += *s == ',';
		if (*s == '\0')
			break;
	}
	(void)json_object_set_new(o, key, list);
}

enum cli_exit
cmd_context_set(struct cli *c)
{
	json_t *o;

	if (cli_opt(c, "workflows") == NULL && cli_opt(c, "methods") == NULL &&
	    cli_opt(c, "reasons") == NULL)
		return cli_usage(c, "context set needs --workflows, --methods "
				    "or --reasons");
	o = body_new(c);
	context_names(c, o, "workflows", "all_workflows");
	context_names(c, o, "methods", "all_methods");
	context_names(c, o, "reasons", NULL);
	return context_post(c, o);
}

enum cli_exit
cmd_context_type(struct cli *c)
{
	json_t *o = body_new(c);

	body_text(o, "field", cli_word(c, 2));
	body_text(o, "type", cli_word(c, 3));
	return context_post(c, o);
}
