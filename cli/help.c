/* cli/help.c: help texts, made from the table of verbs. */
#include "cli/cli_internal.h"

static const char help_globals[] =
    "Everywhere:\n"
    "  --home DIR    the node's directory (or PESSCARA_HOME)\n"
    "  --json        JSON, one object a line for lists; errors as JSON on "
    "stderr\n"
    "  --help        of the program, a group or a command\n"
    "  --version\n"
    "Exit status: 0 done, 1 the act failed, 2 wrong usage.\n";

static void
help_line(FILE *to, const struct cli_verb *v)
{
	char left[64];

	(void)snprintf(left, sizeof(left), "%s %s", v->name, v->args);
	(void)fprintf(to, "  %-28s %s\n", left, v->help);
}

void
cli_help_all(FILE *to)
{
	uint32_t i;

	(void)fprintf(to, "usage: pesscara [--home DIR] [--json] COMMAND ...\n"
			  "\nCommands:\n");
	for (i = 0; i < cli_n_verbs; i++)
		help_line(to, &cli_verbs[i]);
	(void)fprintf(to, "\n%s", help_globals);
}

void
cli_help_group(FILE *to, const char *group)
{
	size_t n = strlen(group);
	uint32_t i;

	(void)fprintf(
	    to, "usage: pesscara %s COMMAND ...\n\nCommands:\n", group);
	for (i = 0; i < cli_n_verbs; i++) {
		if (strncmp(cli_verbs[i].name, group, n) == 0 &&
		    cli_verbs[i].name[n] == ' ')
			help_line(to, &cli_verbs[i]);
	}
	(void)fprintf(to, "\n%s", help_globals);
}

void
cli_help_verb(FILE *to, const struct cli_verb *v)
{
	uint32_t i;

	(void)fprintf(to, "usage: pesscara %s%s%s%s\n\n%s\n", v->name,
	    *v->args != '\0' ? " " : "", v->args,
	    v->options[0].name != NULL ? " [OPTIONS]" : "", v->help);
	if (v->options[0].name != NULL)
		(void)fprintf(to, "\nOptions:\n");
	for (i = 0; i < CLI_OPTIONS_MAX && v->options[i].name != NULL; i++) {
		const struct cli_option *o = &v->options[i];
		char left[64];

		(void)snprintf(left, sizeof(left), "%s%s %s",
		    o->name[1] == '\0' ? "-" : "--", o->name,
		    o->value != NULL ? o->value : "");
		(void)fprintf(to, "  %-28s %s\n", left, o->help);
	}
	(void)fprintf(to, "\n%s", help_globals);
}

static void
doc_options(FILE *to, const struct cli_verb *v)
{
	uint32_t i;

	for (i = 0; i < CLI_OPTIONS_MAX && v->options[i].name != NULL; i++) {
		const struct cli_option *o = &v->options[i];

		(void)fprintf(to, "- `%s%s%s%s`: %s\n",
		    o->name[1] == '\0' ? "-" : "--", o->name,
		    o->value != NULL ? " " : "",
		    o->value != NULL ? o->value : "", o->help);
	}
	if (v->options[0].name != NULL)
		(void)fputc('\n', to);
}

void
cli_doc(FILE *to)
{
	uint32_t i;

	(void)fprintf(to,
	    "# Commands\n\n"
	    "`pesscara [--home DIR] [--json] COMMAND ...` talks to the node of "
	    "the home DIR (or\n`PESSCARA_HOME`) over its socket. `--json` "
	    "prints one JSON document, or one object a line\nfor lists, and "
	    "errors as `{error, cause, next}` on stderr. Exit status: 0 done, "
	    "1 the act\nfailed, 2 wrong usage. Long work shows a bar on a "
	    "terminal, plain lines elsewhere.\n\nThis page is made from the "
	    "table of commands in `cli/verbs.c`.\n\n");
	for (i = 0; i < cli_n_verbs; i++) {
		const struct cli_verb *v = &cli_verbs[i];

		(void)fprintf(to, "## %s%s%s\n\n%s\n\n", v->name,
		    *v->args != '\0' ? " " : "", v->args, v->help);
		doc_options(to, v);
	}
}
