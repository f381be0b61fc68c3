/* cli/args.c: the command line against the table of verbs.
 *
 * Happy path: global options may stand anywhere, the words that do not begin
 * with '-' name the verb (the longest match wins) and then its arguments.
 * `--name value` and `--name=value` are the same; `--` ends options.
 * Failure: ERR_MALFORMED and what is wrong, with the nearest known name. */
#include "cli/cli_internal.h"

#include "store/base/mem.h"

#define ARGS_NEAR 64u /* "group verb" that may be meant */

struct args_scan {
	int argc, at;
	char **argv;
	struct cli_args *a;
	struct errmsg *em;
	const char *word[CLI_WORDS_MAX + 4]; /* verb words and arguments */
	uint32_t n_words;
	bool only_words;
};

static uint32_t
args_distance(const char *x, const char *y)
{
	uint32_t row[33], prev, keep, best;
	size_t nx = strnlen(x, 32), ny = strnlen(y, 32), i, j;

	for (j = 0; j <= ny; j++)
		row[j] = (uint32_t)j;
	for (i = 1; i <= nx; i++) {
		prev = row[0];
		row[0] = (uint32_t)i;
		for (j = 1; j <= ny; j++) {
			keep = row[j];
			best = prev + (x[i - 1] != y[j - 1]);
			best = row[j] + 1 < best ? row[j] + 1 : best;
			row[j] = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
			prev = keep;
		}
	}
	return row[ny];
}

/* How many of the given words the verb's name takes; 0: it does not fit. */
static uint32_t
args_verb_fits(const char *name, const char *const *word, uint32_t n)
{
	uint32_t used = 0;

	while (*name != '\0') {
		size_t len = strcspn(name, " ");

		if (used == n || strlen(word[used]) != len ||
		    strncmp(word[used], name, len) != 0)
			return 0;
		used++;
		name += len;
		name += *name == ' ';
	}
	return used;
}

static const struct cli_verb *
args_verb(const char *const *word, uint32_t n, uint32_t *used)
{
	const struct cli_verb *best = NULL;
	uint32_t i, k;

	*used = 0;
	for (i = 0; i < cli_n_verbs; i++) {
		k = args_verb_fits(cli_verbs[i].name, word, n);
		if (k > *used) {
			*used = k;
			best = &cli_verbs[i];
		}
	}
	return best;
}

static const struct cli_option *
args_option(const struct cli_verb *v, const char *name, size_t n)
{
	uint32_t i;

	for (i = 0; v != NULL && i < CLI_OPTIONS_MAX; i++) {
		const struct cli_option *o = &v->options[i];

		if (o->name == NULL)
			break;
		if (strlen(o->name) == n && strncmp(o->name, name, n) == 0)
			return o;
	}
	return NULL;
}

static enum err
args_unknown_option(struct args_scan *s, const char *text)
{
	const struct cli_verb *v = s->a->verb;
	const char *best = NULL;
	uint32_t i, d, best_d = 4;

	for (i = 0; v != NULL && i < CLI_OPTIONS_MAX; i++) {
		if (v->options[i].name == NULL)
			break;
		d = args_distance(text, v->options[i].name);
		if (d < best_d) {
			best_d = d;
			best = v->options[i].name;
		}
	}
	return errmsg_set(s->em, ERR_MALFORMED, "See --help.",
	    best != NULL ? "unknown option --%.40s; did you mean --%s?"
			 : "unknown option --%.40s",
	    text, best);
}

static enum err
args_keep(struct args_scan *s, const struct cli_option *o, const char *value)
{
	struct cli_args *a = s->a;

	if (a->n_values == CLI_VALUES_MAX)
		return errmsg_set(s->em, ERR_MALFORMED, "Give fewer.",
		    "more than %u options", CLI_VALUES_MAX);
	a->value[a->n_values++] = (struct cli_value){ o->name, value };
	return ERR_OK;
}

/* Global options; true: taken. */
static bool
args_global(struct cli_args *a, const char *name, size_t n)
{
	if (n == 4 && strncmp(name, "json", n) == 0)
		a->json = true;
	else if (n == 4 && strncmp(name, "help", n) == 0)
		a->help = true;
	else if (n == 7 && strncmp(name, "version", n) == 0)
		a->version = true;
	else
		return false;
	return true;
}

static enum err
args_take(struct args_scan *s, const char *name)
{
	static const struct cli_option home = { "home", "DIR", "" };
	size_t n = strcspn(name, "=");
	const char *value = name[n] == '=' ? name + n + 1 : NULL;
	const struct cli_option *o = args_option(s->a->verb, name, n);

	if (n == 4 && strncmp(name, "home", n) == 0)
		o = &home;
	if (o == NULL)
		return args_unknown_option(s, name);
	if (o->value == NULL) {
		if (value != NULL)
			return errmsg_set(s->em, ERR_MALFORMED, "See --help.",
			    "--%s takes no value", o->name);
		return args_keep(s, o, "");
	}
	if (value == NULL) {
		if (s->at + 1 >= s->argc)
			return errmsg_set(s->em, ERR_MALFORMED, "See --help.",
			    "--%s needs a value", o->name);
		value = s->argv[++s->at];
	}
	if (o != &home)
		return args_keep(s, o, value);
	s->a->home = value;
	return ERR_OK;
}

static enum err
args_short(struct args_scan *s, const char *text)
{
	const struct cli_option *o = args_option(s->a->verb, text, 1);

	if (text[0] == 'h' && text[1] == '\0') {
		s->a->help = true;
		return ERR_OK;
	}
	if (o == NULL)
		return errmsg_set(s->em, ERR_MALFORMED, "See --help.",
		    "unknown option -%.1s", text);
	if (text[1] != '\0')
		return args_keep(s, o, text + 1);
	return args_take(s, text);
}

static enum err
args_one(struct args_scan *s)
{
	const char *t = s->argv[s->at];

	if (!s->only_words && strcmp(t, "--") == 0) {
		s->only_words = true;
		return ERR_OK;
	}
	if (!s->only_words && strncmp(t, "--", 2) == 0)
		return args_global(s->a, t + 2, strlen(t + 2))
			   ? ERR_OK
			   : args_take(s, t + 2);
	if (!s->only_words && t[0] == '-' && t[1] != '\0')
		return args_short(s, t + 1);
	if (s->n_words == sizeof(s->word) / sizeof(s->word[0]))
		return errmsg_set(s->em, ERR_MALFORMED, "Give fewer.",
		    "more than %u arguments", CLI_WORDS_MAX);
	s->word[s->n_words++] = t;
	return ERR_OK;
}

/* The verb decides what options mean, so it is looked for first: the first
 * words that are neither options nor the value of --home. */
static void
args_find_verb(struct args_scan *s)
{
	const char *word[3] = { NULL };
	uint32_t n = 0, used;
	int i;

	for (i = 1; i < s->argc && n < 3; i++) {
		const char *t = s->argv[i];

		if (strcmp(t, "--home") == 0)
			i++;
		else if (t[0] != '-')
			word[n++] = t;
		else if (n > 0 && strcmp(t, "--json") != 0)
			break;
	}
	s->a->verb = args_verb(word, n, &used);
	if (n > 0)
		(void)snprintf(s->a->group, sizeof(s->a->group), "%s", word[0]);
}

static bool
args_is_group(const char *group)
{
	size_t n = strlen(group);
	uint32_t i;

	for (i = 0; i < cli_n_verbs && n > 0; i++) {
		if (strncmp(cli_verbs[i].name, group, n) == 0 &&
		    cli_verbs[i].name[n] == ' ')
			return true;
	}
	return false;
}

/* The verb or group nearest to what was typed, or NULL.  group: the word
 * before it, "" for none. */
static const char *
args_nearest(const char *group, const char *word, char out[ARGS_NEAR])
{
	size_t skip = strlen(group);
	uint32_t i, d, best_d = 4;
	char part[32];

	skip += skip > 0;
	for (i = 0; i < cli_n_verbs; i++) {
		const char *name = cli_verbs[i].name;

		if (skip > 0 && (strncmp(name, group, skip - 1) != 0 ||
				    name[skip - 1] != ' '))
			continue;
		(void)snprintf(part, sizeof(part), "%.*s",
		    (int)strcspn(name + skip, " "), name + skip);
		d = args_distance(word, part);
		if (d < best_d) {
			best_d = d;
			(void)snprintf(out, ARGS_NEAR, "%.30s%s%.30s", group,
			    skip > 0 ? " " : "", part);
		}
	}
	return best_d < 4 ? out : NULL;
}

static enum err
args_unknown_verb(struct args_scan *s)
{
	const char *best, *word = s->word[0];
	const char *second = s->n_words > 1 ? s->word[1] : "";
	char near[ARGS_NEAR];

	if (s->n_words == 0)
		return errmsg_set(s->em, ERR_MALFORMED, "See: pesscara --help",
		    "no command is named");
	if (!args_is_group(word))
		second = "";
	else if (*second == '\0')
		return errmsg_set(s->em, ERR_MALFORMED, "See its --help.",
		    "\"%.32s\" needs another word", word);
	best = *second != '\0' ? args_nearest(word, second, near)
			       : args_nearest("", word, near);
	if (best != NULL && *second != '\0' &&
	    strcmp(best + strlen(word) + 1, second) == 0)
		return errmsg_set(s->em, ERR_MALFORMED, "See its --help.",
		    "\"%.64s\" needs another word", best);
	return errmsg_set(s->em, ERR_MALFORMED, "See: pesscara --help",
	    best != NULL ? "unknown command \"%.40s%s%.40s\"; did you mean %s?"
			 : "unknown command \"%.40s%s%.40s\"",
	    word, *second != '\0' ? " " : "", second, best);
}

static enum err
args_words(struct args_scan *s)
{
	struct cli_args *a = s->a;
	uint32_t i, used;
	const struct cli_verb *v = args_verb(s->word, s->n_words, &used);

	if (a->help || a->version)
		return ERR_OK;
	if (v == NULL && s->n_words > 0 && strcmp(s->word[0], "help") == 0) {
		a->help = true; /* as many programs have it */
		return ERR_OK;
	}
	if (v == NULL || v != a->verb)
		return args_unknown_verb(s);
	for (i = used; i < s->n_words && a->n_words < CLI_WORDS_MAX; i++)
		a->word[a->n_words++] = s->word[i];
	if (a->n_words < v->min)
		return errmsg_set(s->em, ERR_MALFORMED, "See its --help.",
		    "%s needs %s", v->name, v->args);
	if (a->n_words > v->max)
		return errmsg_set(s->em, ERR_MALFORMED, "See its --help.",
		    v->max == 0 ? "%s takes no arguments" : "%s takes only %s",
		    v->name, v->args);
	return ERR_OK;
}

/* Arguments travel as JSON.  An option must never be lost on the way. */
static enum err
args_utf8(const struct args_scan *s)
{
	int i;

	for (i = 1; i < s->argc; i++) {
		json_t *text = json_string(s->argv[i]);

		if (text == NULL)
			return errmsg_set(s->em, ERR_MALFORMED,
			    "Write it in UTF-8.",
			    "argument %d is not UTF-8 text", i);
		json_decref(text);
	}
	return ERR_OK;
}

static enum err
args_scan_all(struct args_scan *s)
{
	enum err e = args_utf8(s);

	if (e != ERR_OK)
		return e;
	args_find_verb(s);
	for (s->at = 1; s->at < s->argc && e == ERR_OK; s->at++)
		e = args_one(s);
	if (e != ERR_OK && s->a->verb == NULL && s->a->group[0] != '\0' &&
	    !s->a->help) {
		s->word[0] = s->a->group;
		s->n_words = 1;
		e = args_unknown_verb(s);
	}
	return e == ERR_OK ? args_words(s) : e;
}

enum err
cli_args_parse(int argc, char **argv, struct cli_args *out, struct errmsg *em)
{
	struct args_scan *s = mem_new(sizeof(*s));
	enum err e;

	*out = (struct cli_args){ .home = getenv("PESSCARA_HOME") };
	if (s == NULL)
		return errmsg_set(em, ERR_NOMEM, "", "out of memory");
	s->argc = argc;
	s->argv = argv;
	s->a = out;
	s->em = em;
	e = args_scan_all(s);
	mem_free(s);
	return e;
}

bool
cli_flag(const struct cli *c, const char *name)
{
	return cli_opt(c, name) != NULL;
}

const char *
cli_opt_at(const struct cli *c, const char *name, uint32_t i)
{
	uint32_t k;

	for (k = 0; k < c->args.n_values; k++) {
		if (strcmp(c->args.value[k].name, name) != 0)
			continue;
		if (i-- == 0)
			return c->args.value[k].value;
	}
	return NULL;
}

/* The last one given wins. */
const char *
cli_opt(const struct cli *c, const char *name)
{
	uint32_t k;

	for (k = c->args.n_values; k-- > 0;) {
		if (strcmp(c->args.value[k].name, name) == 0)
			return c->args.value[k].value;
	}
	return NULL;
}

const char *
cli_word(const struct cli *c, uint32_t i)
{
	return i < c->args.n_words ? c->args.word[i] : NULL;
}
