/* node/app/app.c: pesscarad's arguments. */
#include <getopt.h>
#include <sys/stat.h>

#include "node/app/app.h"
#include "node/conf/profile.h"
#include "store/base/mem.h"

enum {
	OPT_HOME = 256,
	OPT_CHECK,
	OPT_DO,
	OPT_JSON,
	OPT_UNATTENDED,
	OPT_SITE,
	OPT_RECOVERY,
	OPT_PASSPHRASE,
	OPT_SET,
	OPT_HELP,
	OPT_VERSION
};

static const struct option app_options[] = {
	{ "home", required_argument, NULL, OPT_HOME },
	{ "check", no_argument, NULL, OPT_CHECK },
	{ "do", required_argument, NULL, OPT_DO },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "unattended", no_argument, NULL, OPT_UNATTENDED },
	{ "site", required_argument, NULL, OPT_SITE },
	{ "recovery-file", required_argument, NULL, OPT_RECOVERY },
	{ "passphrase-file", required_argument, NULL, OPT_PASSPHRASE },
	{ "set", required_argument, NULL, OPT_SET },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ NULL, 0, NULL, 0 },
};

static const char usage[] =
    "usage: pesscarad [--home DIR] [--check] [--passphrase-file F]\n"
    "\n"
    "Runs the node of the home DIR (or PESSCARA_HOME) until SIGTERM.\n"
    "  --home DIR           the node's folder: config, keys, store, socket\n"
    "  --check              read and check DIR/pesscara.yaml, then exit\n"
    "  --passphrase-file F  where the owner's passphrase is (mode 0600); else\n"
    "                       it is asked for on the terminal\n"
    "  --version, --help\n"
    "\n"
    "Make a home with `pesscara init`; talk to the node with `pesscara`.\n";

/* -1: go on; else the exit status. */
static int
args_one(struct app_args *a, int opt)
{
	switch (opt) {
	case OPT_HOME: a->home = optarg; break;
	case OPT_CHECK: a->check = true; break;
	case OPT_DO: a->verb = optarg; break;
	case OPT_JSON: a->json = true; break;
	case OPT_UNATTENDED: a->unattended = true; break;
	case OPT_SITE: a->site = optarg; break;
	case OPT_RECOVERY: a->recovery_file = optarg; break;
	case OPT_PASSPHRASE: a->passphrase_file = optarg; break;
	case OPT_SET:
		if (a->n_sets == APP_SETS_MAX)
			return 2;
		a->sets[a->n_sets++] = optarg;
		break;
	case OPT_HELP: printf("%s", usage); return 0;
	case OPT_VERSION: printf("pesscarad %s\n", PSC_VERSION); return 0;
	default: fprintf(stderr, "%s", usage); return 2;
	}
	return -1;
}

static int
args_read(int argc, char **argv, struct app_args *a)
{
	int opt, rc;

	memset(a, 0, sizeof(*a));
	a->home = getenv("PESSCARA_HOME");
	while ((opt = getopt_long(argc, argv, "", app_options, NULL)) != -1) {
		if ((rc = args_one(a, opt)) >= 0)
			return rc;
	}
	for (; optind < argc; optind++) { /* config-set key=value */
		if (a->verb == NULL || a->n_sets == APP_SETS_MAX) {
			fprintf(stderr, "%s", usage);
			return 2;
		}
		a->sets[a->n_sets++] = argv[optind];
	}
	if (a->home == NULL || a->home[0] == '\0') {
		fprintf(stderr, "pesscarad: no home is named\n"
				"next: give --home DIR or set PESSCARA_HOME\n");
		return 2;
	}
	return -1;
}

static enum err
do_config_set(const struct app_args *a, struct errmsg *em)
{
	uint32_t i;
	enum err e = ERR_OK;

	if (a->n_sets == 0)
		return errmsg_set(
		    em, ERR_MALFORMED, "give key=value", "nothing to set");
	for (i = 0; e == ERR_OK && i < a->n_sets; i++)
		e = conf_set(a->home, a->sets[i], em);
	if (e == ERR_OK)
		printf("%s\n", a->json
				   ? "{\"ok\": true}"
				   : "written; it takes effect when the node "
				     "starts");
	return e;
}

static enum err
do_check(const struct app_args *a, struct errmsg *em)
{
	struct conf *c = mem_new(sizeof(*c));
	enum err e;

	if (c == NULL)
		return errmsg_set(em, ERR_NOMEM, "", "out of memory");
	e = conf_load(a->home, c, em);
	if (e == ERR_OK)
		e = profile_check_conf(a->home, c, em);
	if (e == ERR_OK)
		printf("%s\n", a->json ? "{\"ok\": true}" : "config is good");
	mem_free(c);
	return e;
}

static enum err
app_verb(const struct app_args *a, struct errmsg *em)
{
	if (a->check)
		return do_check(a, em);
	if (a->verb == NULL)
		return app_run(a, em);
	if (strcmp(a->verb, "init") == 0)
		return app_init(a, em);
	if (strcmp(a->verb, "rebuild") == 0)
		return app_rebuild(a, em);
	if (strcmp(a->verb, "restore") == 0)
		return app_restore(a, em);
	if (strcmp(a->verb, "config-set") == 0)
		return do_config_set(a, em);
	if (strcmp(a->verb, "config-check") == 0)
		return do_check(a, em);
	return errmsg_set(em, ERR_UNSUPPORTED, "see `pesscara --help`",
	    "--do %.32s is not known", a->verb);
}

static void
say_text(const char *s)
{
	for (; *s != '\0'; s++) {
		if (*s == '"' || *s == '\\')
			(void)fputc('\\', stderr);
		(void)fputc((unsigned char)*s < ' ' ? ' ' : *s, stderr);
	}
}

static void
app_error(const struct app_args *a, enum err e, const struct errmsg *em)
{
	const char *cause = em->cause[0] != '\0' ? em->cause : err_text(e);

	if (!a->json) {
		fprintf(stderr, "pesscarad: %s\n", cause);
		if (em->next[0] != '\0')
			fprintf(stderr, "next: %s\n", em->next);
		return;
	}
	fprintf(stderr, "{\"error\": \"%s\", \"cause\": \"", err_text(e));
	say_text(cause);
	fprintf(stderr, "\", \"next\": \"");
	say_text(em->next);
	fprintf(stderr, "\"}\n");
}

int
app_main(int argc, char **argv)
{
	struct errmsg em = { 0 };
	struct app_args a;
	enum err e;
	int rc = args_read(argc, argv, &a);

	if (rc >= 0)
		return rc;
	(void)umask(077);
	e = cry_init();
	if (e == ERR_OK)
		e = app_verb(&a, &em);
	if (e == ERR_OK)
		return 0;
	app_error(&a, e, &em);
	return 1;
}
