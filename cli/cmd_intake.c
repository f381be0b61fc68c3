/* cli/cmd_intake.c: import, quarantine, deid lookup. */
#include "cli/cli_internal.h"

#include <fts.h>
#include <inttypes.h>
#include <unistd.h>

/* --- import --- */
struct import_run {
	struct cli *c;
	json_t *summary;
};

static uint64_t
import_num(const json_t *map, const char *key)
{
	json_int_t v = json_integer_value(json_object_get(map, key));

	return v > 0 ? (uint64_t)v : 0;
}

static void
import_print(const json_t *row)
{
	const char *state = cli_str(row, "state");

	if (strcmp(state, "refused") != 0 && strcmp(state, "quarantined") != 0)
		return;
	(void)printf("%-12s ", state);
	cli_print_text(stdout, cli_str(row, "path"));
	if (*cli_str(row, "reason") != '\0') {
		(void)printf(": ");
		cli_print_text(stdout, cli_str(row, "reason"));
	}
	(void)fputc('\n', stdout);
}

static int
import_row(void *ctx, json_t *row, const char *text)
{
	struct import_run *run = ctx;
	struct cli_progress *p = &run->c->progress;
	json_t *summary = json_object_get(row, "summary");
	const json_t *far = json_object_get(row, "progress");

	if (far != NULL) {
		p->done = import_num(far, "files");
		p->bytes = import_num(far, "bytes");
		cli_progress_show(run->c);
		return 0;
	}
	if (summary != NULL)
		run->summary = json_incref(summary);
	if (run->c->args.json) {
		(void)printf("%s\n", text);
		return fflush(stdout) == 0 ? 0 : 1;
	}
	p->done++;
	p->bytes += import_num(row, "bytes");
	cli_progress_show(run->c);
	/* On a terminal the bar stands there: only what needs a person. */
	if (summary == NULL && !p->terminal)
		import_print(row);
	return 0;
}

static enum cli_exit
import_end(struct import_run *run)
{
	const json_t *s = run->summary;
	uint64_t files = import_num(s, "files");
	uint64_t refused = import_num(s, "refused");
	char bytes[16];

	if (s == NULL)
		return cli_fail(run->c, ERR_SHORT, "Run it again.",
		    "the import did not finish");
	cli_bytes_text(import_num(s, "bytes"), bytes);
	if (!run->c->args.json)
		(void)printf("%" PRIu64 " files, %s: %" PRIu64
			     " stored, %" PRIu64 " duplicate, %" PRIu64
			     " quarantined, %" PRIu64 " refused, %.1f s\n",
		    files, bytes, import_num(s, "stored"),
		    import_num(s, "duplicate"), import_num(s, "quarantined"),
		    refused, json_number_value(json_object_get(s, "seconds")));
	if (files == 0)
		return cli_fail(run->c, ERR_NOTFOUND, "Check the paths.",
		    "there was no file to import");
	if (refused == files)
		return cli_fail(run->c, ERR_UNSUPPORTED,
		    "The reason stands beside each file (--json).",
		    "every file was refused");
	return CLI_OK;
}

/* How many files lie below, for the bar; what cannot be read counts nothing. */
static uint64_t
import_count(char *path)
{
	char *const paths[] = { path, NULL };
	FTS *walk = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
	uint64_t files = 0;
	const FTSENT *f;

	while (walk != NULL && (f = fts_read(walk)) != NULL)
		files += f->fts_info == FTS_F;
	if (walk != NULL)
		(void)fts_close(walk);
	return files;
}

static json_t *
import_body(struct cli *c, uint64_t *files)
{
	json_t *o = json_object(), *list = json_array();
	static const char *const pass[] = { "share", "compartment", "profile",
		"domain", "reason" };
	uint32_t i;

	(void)json_object_set_new(o, "paths", list);
	for (i = 0; i < c->args.n_words; i++) {
		char *full = cli_absolute(c, cli_word(c, i));

		if (full == NULL) {
			json_decref(o);
			return NULL;
		}
		if (json_array_append_new(list, json_string(full)) != 0) {
			(void)cli_fail(c, ERR_MALFORMED, "Rename it.",
			    "a path is not UTF-8");
			free(full);
			json_decref(o);
			return NULL;
		}
		if (!c->args.json && isatty(STDERR_FILENO) == 1)
			*files += import_count(full);
		free(full);
	}
	for (i = 0; i < sizeof(pass) / sizeof(pass[0]); i++) {
		if (cli_opt(c, pass[i]) != NULL)
			(void)json_object_set_new(
			    o, pass[i], json_string(cli_opt(c, pass[i])));
	}
	if (cli_flag(c, "no-deid"))
		(void)json_object_set_new(o, "no_deid", json_true());
	if (!c->args.json)
		(void)json_object_set_new(o, "brief", json_true());
	return o;
}

enum cli_exit
cmd_import(struct cli *c)
{
	struct import_run run = { .c = c };
	uint64_t files = 0;
	json_t *o;
	enum cli_exit rc;

	if (cli_opt(c, "share") == NULL)
		return cli_usage(c, "import needs --share SHARE");
	if (cli_flag(c, "no-deid") && cli_opt(c, "reason") == NULL)
		return cli_usage(c, "--no-deid needs --reason TEXT");
	if (cli_flag(c, "no-deid") && (rc = cli_person(c)) != CLI_OK)
		return rc;
	o = import_body(c, &files);
	if (o == NULL)
		return CLI_FAILED;
	cli_progress_start(c, "files", files);
	rc = cli_post(c, "/imports", o, import_row, &run);
	cli_progress_end(c);
	if (rc == CLI_OK)
		rc = import_end(&run);
	json_decref(run.summary);
	return rc;
}

static int
lookup_row(void *ctx, json_t *row, const char *text)
{
	const struct cli *c = ctx;

	if (c->args.json)
		(void)printf("%s\n", text);
	else
		(void)printf(
		    "%" PRIu64 " pseudonyms added\n", import_num(row, "added"));
	return 0;
}

enum cli_exit
cmd_lookup_import(struct cli *c)
{
	char *full = cli_absolute(c, cli_word(c, 0));
	enum cli_exit rc;
	json_t *body;

	if (full == NULL)
		return CLI_FAILED;
	body = json_pack("{s:s}", "path", full);
	if (cli_opt(c, "domain") != NULL)
		(void)json_object_set_new(
		    body, "domain", json_string(cli_opt(c, "domain")));
	rc = cli_post(c, "/deid/lookup", body, lookup_row, c);
	free(full);
	return rc;
}

/* --- preview --- */

struct preview_run {
	struct cli *c;
	uint64_t kept, other;
};

static void
preview_end(const struct preview_run *p, const json_t *s)
{
	const json_t *list = json_object_get(s, "findings"), *f;
	size_t i;

	(void)printf("%" PRIu64 " elements change, %" PRIu64
		     " stay as they are\n",
	    p->other, p->kept);
	if (json_is_true(json_object_get(s, "more")))
		(void)printf("there are more elements than are shown\n");
	json_array_foreach(list, i, f)(void) printf(
	    "finding: %s: %s\n", cli_str(f, "kind"), cli_str(f, "detail"));
	(void)printf(json_is_true(json_object_get(s, "releasable"))
			 ? "it could be released\n"
			 : "it would be held for a person\n");
}

static int
preview_row(void *ctx, json_t *row, const char *text)
{
	struct preview_run *p = ctx;
	const json_t *summary = json_object_get(row, "summary");
	const char *did = cli_str(row, "did");
	bool kept = strcmp(did, "kept") == 0;

	if (p->c->args.json) {
		(void)printf("%s\n", text);
		return 0;
	}
	if (summary != NULL) {
		preview_end(p, summary);
		return 0;
	}
	p->kept += kept;
	p->other += !kept;
	if (kept && !cli_flag(p->c, "all"))
		return 0;
	(void)printf("%s %s %s: %s", cli_str(row, "at"), cli_str(row, "vr"),
	    cli_str(row, "name"), did);
	if (!kept)
		(void)printf(
		    " [%s] -> [%s]", cli_str(row, "was"), cli_str(row, "now"));
	(void)printf("; %s\n", cli_str(row, "why"));
	return 0;
}

enum cli_exit
cmd_deid_preview(struct cli *c)
{
	char *full = cli_absolute(c, cli_word(c, 0));
	struct preview_run p = { .c = c };
	enum cli_exit rc;
	json_t *body;

	if (full == NULL)
		return CLI_FAILED;
	body = json_pack("{s:s}", "path", full);
	if (cli_opt(c, "profile") != NULL)
		(void)json_object_set_new(
		    body, "profile", json_string(cli_opt(c, "profile")));
	rc = cli_post(c, "/deid/preview", body, preview_row, &p);
	free(full);
	return rc;
}

/* --- the way back --- */

static int
person_row(void *ctx, json_t *row, const char *text)
{
	static const char *const keys[] = { "share", "pseudonym", "patient_id",
		"issuer", "domain", "patient_name" };
	const struct cli *c = ctx;
	size_t i;

	if (c->args.json) {
		(void)printf("%s\n", text);
		return 0;
	}
	for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		(void)printf("%-13s", keys[i]);
		cli_print_text(stdout, cli_str(row, keys[i]));
		(void)fputc('\n', stdout);
	}
	return 0;
}

enum cli_exit
cmd_deid_reidentify(struct cli *c)
{
	json_t *body;

	if (cli_opt(c, "reason") == NULL)
		return cli_usage(c, "deid reidentify needs --reason TEXT");
	body = json_pack("{s:s,s:s}", "pseudonym", cli_word(c, 0), "reason",
	    cli_opt(c, "reason"));
	if (cli_opt(c, "share") != NULL)
		(void)json_object_set_new(
		    body, "share", json_string(cli_opt(c, "share")));
	return cli_post(c, "/deid/reidentify", body, person_row, c);
}

/* --- quarantine --- */
enum cli_exit
cmd_quarantine_list(struct cli *c)
{
	return cli_list(c,
	    cli_flag(c, "all") ? "/quarantine?state=all" : "/quarantine",
	    "ID=id,STATE=state,RECEIVED=received,AE=calling_ae,"
	    "MODALITY=modality,INSTANCES=instances,SHARE=share,"
	    "SUBJECT=subject");
}

static int
item_row(void *ctx, json_t *row, const char *text)
{
	const struct cli *c = ctx;
	const char *key;
	json_t *v;

	if (c->args.json) {
		(void)printf("%s\n", text);
		return 0;
	}
	json_object_foreach(row, key, v)
	{
		struct buf b = BUF_MAX(64 * KIB);

		cli_cell(&b, v);
		(void)printf("%-12s ", key);
		cli_print_text(stdout, buf_cstr(&b));
		(void)fputc('\n', stdout);
		buf_fini(&b);
	}
	return 0;
}

enum cli_exit
cmd_quarantine_show(struct cli *c)
{
	struct buf path = BUF_MAX(4096);
	enum cli_exit rc;

	buf_put_str(&path, "/quarantine");
	cli_path_add(&path, cli_word(c, 0));
	rc = cli_get(c, buf_cstr(&path), item_row, c);
	buf_fini(&path);
	return rc;
}

static int
acted_row(void *ctx, json_t *row, const char *text)
{
	const struct cli *c = ctx;

	if (c->args.json)
		(void)printf("%s\n", text);
	else
		(void)printf("%s %s %s\n", cli_str(row, "id"),
		    cli_str(row, "state"), cli_str(row, "asset"));
	return 0;
}

/* Every id is tried; one failure makes the whole a failure. */
static enum cli_exit
quarantine_act(struct cli *c, const char *act)
{
	const char *reason = cli_opt(c, "reason");
	enum cli_exit rc = CLI_OK;
	uint32_t i;

	for (i = 0; i < c->args.n_words; i++) {
		struct buf path = BUF_MAX(4096);

		buf_put_str(&path, "/quarantine");
		cli_path_add(&path, cli_word(c, i));
		cli_path_add(&path, act);
		if (cli_post(c, buf_cstr(&path),
			json_pack(
			    "{s:s}", "reason", reason != NULL ? reason : ""),
			acted_row, c) != CLI_OK)
			rc = CLI_FAILED;
		buf_fini(&path);
	}
	return rc;
}

enum cli_exit
cmd_quarantine_release(struct cli *c)
{
	return quarantine_act(c, "release");
}

enum cli_exit
cmd_quarantine_reject(struct cli *c)
{
	if (cli_opt(c, "reason") == NULL)
		return cli_usage(c, "quarantine reject needs --reason TEXT");
	return quarantine_act(c, "reject");
}
