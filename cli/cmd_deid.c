/* cli/cmd_deid.c: de-identification profiles. */
#include "cli/cli_internal.h"

/* The first line is the profile, the others its rules. */
struct profile_run {
	struct cli *c;
	uint32_t rules;
	bool head_done;
};

static void
profile_head(const json_t *p)
{
	const char *wrong = cli_str(p, "wrong");

	(void)printf("profile     %s\n", cli_str(p, "name"));
	(void)printf(
	    "extends     %s\n", json_is_string(json_object_get(p, "extends"))
				    ? cli_str(p, "extends")
				    : "nothing; it is built in");
	(void)printf("options     %s\n", cli_str(p, "options"));
	(void)printf("hash        %s\n", cli_str(p, "hash"));
	(void)printf("description ");
	cli_print_text(stdout, cli_str(p, "description"));
	(void)printf("\n");
	if (json_is_true(json_object_get(p, "departs")))
		(void)printf("It keeps more than the basic profile of PS3.15 "
			     "and its options do: 113100 is not stamped.\n");
	if (*wrong != '\0')
		(void)printf("It cannot be used: %s\n", wrong);
}

static int
profile_row(void *ctx, json_t *row, const char *text)
{
	struct profile_run *p = ctx;

	if (p->c->args.json) {
		(void)printf("%s\n", text);
		return 0;
	}
	if (!p->head_done) {
		p->head_done = true;
		profile_head(row);
		return 0;
	}
	p->rules++;
	(void)printf("%s %s: ", cli_str(row, "element"), cli_str(row, "name"));
	cli_print_text(stdout, cli_str(row, "now"));
	(void)printf(" (parent: ");
	cli_print_text(stdout, cli_str(row, "parent"));
	(void)printf(")\n");
	return 0;
}

enum cli_exit
cmd_deid_profiles(struct cli *c)
{
	struct buf path = BUF_MAX(4096);
	struct profile_run run = { .c = c };
	enum cli_exit rc;

	if (c->args.n_words == 0)
		return cli_list(c, "/deid/profiles",
		    "NAME=name,EXTENDS=extends,OPTIONS=options,RULES=rules,"
		    "HASH=hash,WRONG=wrong");
	buf_put_str(&path, "/deid/profiles");
	cli_path_add(&path, cli_word(c, 0));
	rc = cli_get(c, buf_cstr(&path), profile_row, &run);
	if (rc == CLI_OK && !c->args.json)
		(void)printf("%u rules differ from the parent's\n", run.rules);
	buf_fini(&path);
	return rc;
}
