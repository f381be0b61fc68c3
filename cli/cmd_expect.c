/* cli/cmd_expect.c: which series an exam is expected to have; what is
 * missing. */
#include "cli/cli_internal.h"

#include "store/base/num.h"

static void
expect_path(struct cli *c, struct buf *path, const char *what)
{
	buf_put_str(path, "/shares");
	cli_path_add(path, cli_word(c, 0));
	cli_path_add(path, what);
}

static void
body_opt(struct cli *c, json_t *o, const char *key)
{
	if (cli_opt(c, key) != NULL)
		(void)json_object_set_new(o, key, json_string(cli_opt(c, key)));
}

static int
expect_done(void *ctx, json_t *row, const char *text)
{
	const struct cli *c = ctx;

	(void)row;
	(void)printf("%s\n", c->args.json ? text : "done");
	return 0;
}

static enum cli_exit
expect_post(struct cli *c, const char *what, json_t *o)
{
	struct buf path = BUF_MAX(4096);
	enum cli_exit rc;

	body_opt(c, o, "compartment");
	body_opt(c, o, "reason");
	expect_path(c, &path, what);
	rc = cli_post(c, buf_cstr(&path), o, expect_done, c);
	buf_fini(&path);
	return rc;
}

/* false: not a count. */
static bool
body_count(struct cli *c, json_t *o, const char *key)
{
	const char *s = cli_opt(c, key);
	uint64_t v;

	if (s == NULL)
		return true;
	if (num_u64(slice_str(s), 0, 1000000, &v) != ERR_OK)
		return false;
	(void)json_object_set_new(o, key, json_integer((json_int_t)v));
	return true;
}

enum cli_exit
cmd_expect_set(struct cli *c)
{
	json_t *o = json_object();

	(void)json_object_set_new(o, "name", json_string(cli_word(c, 1)));
	body_opt(c, o, "where");
	body_opt(c, o, "exams");
	if (!body_count(c, o, "series") || !body_count(c, o, "images")) {
		json_decref(o);
		return cli_usage(c, "--series and --images are counts");
	}
	return expect_post(c, "expected", o);
}

enum cli_exit
cmd_expect_remove(struct cli *c)
{
	json_t *o = json_object();

	(void)json_object_set_new(o, "name", json_string(cli_word(c, 1)));
	(void)json_object_set_new(o, "remove", json_true());
	return expect_post(c, "expected", o);
}

enum cli_exit
cmd_expect_contact(struct cli *c)
{
	json_t *o = json_object();

	(void)json_object_set_new(o, "site", json_string(cli_word(c, 1)));
	(void)json_object_set_new(o, "contact", json_string(cli_word(c, 2)));
	return expect_post(c, "contacts", o);
}

static enum cli_exit
expect_list(struct cli *c, const char *what, bool ask, const char *columns)
{
	struct buf path = BUF_MAX(4096);
	enum cli_exit rc;

	expect_path(c, &path, what);
	if (ask)
		cli_path_arg(
		    &path, "all", cli_opt(c, "all") != NULL ? "1" : NULL);
	if (ask)
		cli_path_arg(&path, "site", cli_opt(c, "site"));
	rc = cli_list(c, buf_cstr(&path), columns);
	buf_fini(&path);
	return rc;
}

enum cli_exit
cmd_expect_list(struct cli *c)
{
	return expect_list(c, "expected", false,
	    "COMPARTMENT=compartment,NAME=name,SERIES=series,IMAGES=images,"
	    "WHERE=where,EXAMS=exams");
}

enum cli_exit
cmd_expect_missing(struct cli *c)
{
	return expect_list(c, "missing", true,
	    "EXAM=exam,PATIENT=PatientID,DATE=StudyDate,SITE=site,"
	    "CONTACT=contact,SERIES=series,MISSING=detail,NEWEST=newest");
}
