/* cli/cli.c: from the command line to a verb.
 *
 * Happy path: arguments parsed, home known, verb run, its status returned.
 * Failure: wrong usage is 2 and says what is wrong. */
#include "cli/cli_internal.h"

#include <curl/curl.h>
#include <errno.h>
#include <libgen.h>
#include <locale.h>
#include <signal.h>
#include <unistd.h>

#include "store/base/mem.h"

#define CLI_NODE "pesscarad"

static bool
cli_group_help(const struct cli_args *a)
{
	size_t n = strlen(a->group);
	uint32_t i;

	for (i = 0; i < cli_n_verbs && n > 0; i++) {
		if (strncmp(cli_verbs[i].name, a->group, n) == 0 &&
		    cli_verbs[i].name[n] == ' ')
			return true;
	}
	return false;
}

static enum cli_exit
cli_help(const struct cli_args *a)
{
	if (a->verb != NULL)
		cli_help_verb(stdout, a->verb);
	else if (cli_group_help(a))
		cli_help_group(stdout, a->group);
	else
		cli_help_all(stdout);
	return fflush(stdout) == 0 ? CLI_OK : CLI_FAILED;
}

static enum cli_exit
cli_run(struct cli *c)
{
	const struct cli_args *a = &c->args;
	enum cli_exit rc;

	if (a->home == NULL || *a->home == '\0')
		return cli_usage(c,
		    "no home is named: give --home DIR or set PESSCARA_HOME");
	if ((size_t)snprintf(c->home, sizeof(c->home), "%s", a->home) >=
	    sizeof(c->home))
		return cli_usage(c, "the home's path is too long");
	rc = cli_signs(a->verb) ? cli_person(c) : CLI_OK;
	if (rc == CLI_OK)
		rc = a->verb->run(c);
	buf_wipe(&c->person);
	cli_progress_end(c);
	if (c->curl != NULL)
		curl_easy_cleanup(c->curl);
	/* Output that could not be written is a failure, too. */
	if (fflush(stdout) != 0 && rc == CLI_OK)
		return cli_fail(c, ERR_IO, "", "standard output: %s",
		    strerrordesc_np(errno));
	return rc;
}

int
cli_main(int argc, char **argv)
{
	struct cli *c = mem_new(sizeof(*c));
	struct errmsg em = { 0 };
	enum cli_exit rc;
	enum err e;

	if (c == NULL)
		return CLI_FAILED;
	(void)signal(SIGPIPE, SIG_IGN);
	e = cli_args_parse(argc, argv, &c->args, &em);
	if (e == ERR_OK && c->args.version) {
		rc = printf("pesscara %s\n", PSC_VERSION) > 0 ? CLI_OK
							      : CLI_FAILED;
	} else if (c->args.help) {
		rc = cli_help(&c->args);
	} else if (e != ERR_OK) {
		cli_error_print(c->args.json, "wrong usage", em.cause, em.next);
		rc = CLI_USAGE;
	} else {
		rc = cli_run(c);
	}
	mem_free(c);
	return (int)rc;
}

/* --- verbs without a node (rulings.md 29) --- */
#define EXEC_ARGS_MAX (2u * CLI_VALUES_MAX + CLI_WORDS_MAX + 16u)

static void
exec_options(const struct cli *c, const char **argv, uint32_t *n)
{
	static const struct {
		const char *name, *arg;
	} pass[] = { { "site", "--site" },
		{ "recovery-file", "--recovery-file" },
		{ "passphrase-file", "--passphrase-file" } };
	const char *v;
	size_t k;
	uint32_t i;

	for (k = 0; k < sizeof(pass) / sizeof(pass[0]); k++) {
		v = cli_opt(c, pass[k].name);
		if (v != NULL) {
			argv[(*n)++] = pass[k].arg;
			argv[(*n)++] = v;
		}
	}
	if (cli_flag(c, "unattended"))
		argv[(*n)++] = "--unattended";
	for (i = 0; (v = cli_opt_at(c, "set", i)) != NULL; i++) {
		argv[(*n)++] = "--set";
		argv[(*n)++] = v;
	}
	if (c->args.json)
		argv[(*n)++] = "--json";
}

enum cli_exit
cli_exec_node(struct cli *c, const char *verb)
{
	const char **argv = mem_array(EXEC_ARGS_MAX, sizeof(*argv));
	char path[4200];
	ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - 16);
	char *slash;
	uint32_t i, n = 0;

	if (argv == NULL || len <= 0)
		return cli_fail(c, ERR_NOMEM, "", "out of memory");
	path[len] = '\0';
	slash = strrchr(path, '/');
	(void)snprintf(
	    slash + 1, sizeof(path) - (size_t)(slash + 1 - path), CLI_NODE);
	argv[n++] = CLI_NODE;
	argv[n++] = "--home";
	argv[n++] = c->home;
	argv[n++] = "--do";
	argv[n++] = verb;
	exec_options(c, argv, &n);
	argv[n++] = "--"; /* a word is never an option */
	for (i = 0; i < c->args.n_words; i++)
		argv[n++] = c->args.word[i];
	argv[n] = NULL;
	(void)fflush(stdout);
	(void)execv(path, (char *const *)(uintptr_t)argv);
	mem_free(argv);
	return cli_fail(c, ERR_NOTFOUND, "Install it beside this program.",
	    CLI_NODE " cannot be run: %s", strerrordesc_np(errno));
}

char *
cli_absolute(struct cli *c, const char *path)
{
	char *full = realpath(path, NULL);

	if (full == NULL)
		(void)cli_fail(c, errno == ENOENT ? ERR_NOTFOUND : ERR_IO,
		    "Check the path.", "%.200s: %s", path,
		    strerrordesc_np(errno));
	return full;
}

char *
cli_dir(struct cli *c, const char *dir)
{
	char *copy = mem_strdup(dir), *last = mem_strdup(dir);
	char *there = realpath(dir, NULL), *above;
	struct buf b = BUF_MAX(8 * KIB);

	if (there == NULL && copy != NULL && last != NULL) {
		above = cli_absolute(c, dirname(copy));
		if (above != NULL) {
			buf_printf(&b, "%s/%s",
			    strcmp(above, "/") == 0 ? "" : above,
			    basename(last));
			there = strdup(buf_cstr(&b));
		}
		free(above);
	}
	buf_fini(&b);
	mem_free(copy);
	mem_free(last);
	return there;
}
