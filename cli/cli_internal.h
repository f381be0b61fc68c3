/* cli/cli_internal.h: verbs, arguments, requests and output. */
#ifndef PSC_CLI_INTERNAL_H
#define PSC_CLI_INTERNAL_H

#include <jansson.h>

#include "cli/cli.h"
#include "store/base/buf.h"
#include "store/base/limits.h"

enum cli_exit { CLI_OK = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

#define CLI_OPTIONS_MAX 12u       /* of one verb */
#define CLI_VALUES_MAX 256u       /* options given, all together */
#define CLI_WORDS_MAX 4096u       /* arguments of one call */
#define CLI_LINE_BYTES (64 * MIB) /* of one answer line */
#define CLI_ERROR_BYTES (64 * KIB)
#define CLI_FILE_BYTES (1 * MIB) /* a workflow sent as body */

/* --- verbs and arguments --- */
struct cli;
struct cli_option {
	const char *name;  /* "share"; one letter: "o" is -o */
	const char *value; /* name of its value in help; NULL: a flag */
	const char *help;
};
struct cli_verb {
	const char *name;  /* "share create" */
	const char *args;  /* "NAME" for help */
	uint32_t min, max; /* arguments */
	enum cli_exit (*run)(struct cli *c);
	struct cli_option options[CLI_OPTIONS_MAX];
	const char *help;
};
extern const struct cli_verb cli_verbs[];
extern const uint32_t cli_n_verbs;

struct cli_value {
	const char *name;
	const char *value; /* "" for a flag */
};
struct cli_args {
	const struct cli_verb *verb; /* NULL: none was named */
	const char *home;
	bool json, help, version;
	const char *word[CLI_WORDS_MAX];
	uint32_t n_words;
	struct cli_value value[CLI_VALUES_MAX];
	uint32_t n_values;
	char group[32]; /* first word, for the help of a group */
};
/* ERR_MALFORMED: wrong usage, em says what. argv[0] is skipped. */
enum err cli_args_parse(int argc, char **argv, struct cli_args *out,
    struct errmsg *em) PSC_MUST_USE;
bool cli_flag(const struct cli *c, const char *name);
const char *cli_opt(const struct cli *c, const char *name); /* NULL: none */
/* The i-th value of an option that may be repeated; NULL past the end. */
const char *cli_opt_at(const struct cli *c, const char *name, uint32_t i);
const char *cli_word(const struct cli *c, uint32_t i);

void cli_help_all(FILE *to);
void cli_help_group(FILE *to, const char *group);
void cli_help_verb(FILE *to, const struct cli_verb *v);
/* docs/cli.md. */
void cli_doc(FILE *to);

/* --- the running program --- */
struct cli_progress {
	const char *what;     /* "files", "chunks" */
	uint64_t done, total; /* total 0: not known */
	uint64_t bytes;
	uint64_t started_ms, shown_ms;
	bool terminal;
	bool off; /* --json */
	bool shown;
};
struct cli {
	struct cli_args args;
	void *curl;
	char home[4096];
	struct cli_progress progress;
	struct buf person; /* header with the owner's passphrase, or empty */
};

/* Asks for the owner's passphrase if the node needs it for what is signed. */
enum cli_exit cli_person(struct cli *c);
/* Is this verb always signed?  (init makes the passphrase, import is signed
 * with --no-deid only) */
bool cli_signs(const struct cli_verb *v);

/* --- requests --- */
/* One line of an answer; text is its source without the newline.  Non-zero
 * stops the request (CLI_FAILED without a message of its own). */
typedef int (*cli_row_fn)(void *ctx, json_t *row, const char *text);
struct cli_request {
	const char *method;
	const char *path;  /* below /api/v1, encoded */
	json_t *json;      /* body, or NULL */
	struct slice body; /* raw body when json is NULL */
	cli_row_fn row;    /* NULL: print lines or nothing */
	void *ctx;
};
/* Prints the error itself.  json is released. */
enum cli_exit cli_send(struct cli *c, struct cli_request *q);
/* GET path, rows to fn. */
enum cli_exit cli_get(
    struct cli *c, const char *path, cli_row_fn fn, void *ctx);
enum cli_exit cli_post(
    struct cli *c, const char *path, json_t *body, cli_row_fn fn, void *ctx);
/* Path parts: appended percent-encoded. */
void cli_path_add(struct buf *path, const char *segment);
/* "?name=value" or "&name=value"; value NULL: nothing. */
void cli_path_arg(struct buf *path, const char *name, const char *value);

/* --- output --- */
enum cli_exit cli_fail(const struct cli *c, enum err e, const char *next,
    const char *cause_fmt, ...) PSC_PRINTF(4, 5);
enum cli_exit cli_usage(const struct cli *c, const char *cause_fmt, ...)
    PSC_PRINTF(2, 3);
void cli_error_print(
    bool json, const char *error, const char *cause, const char *next);
/* Text for a terminal: control characters replaced. */
void cli_print_text(FILE *to, const char *s);
/* A JSON value as one cell; appended. */
void cli_cell(struct buf *out, const json_t *v);
const char *cli_str(const json_t *row, const char *key); /* "" if none */
void cli_bytes_text(uint64_t n, char out[16]);

#define CLI_COLUMNS_MAX 24u
#define CLI_TABLE_ROWS 500u /* widths are settled after so many */
struct cli_table {
	const char *title[CLI_COLUMNS_MAX];
	const char *key[CLI_COLUMNS_MAX];
	uint32_t n;
	size_t width[CLI_COLUMNS_MAX];
	char **cell; /* rows kept until the widths are settled */
	uint32_t rows;
	bool settled;
	bool json; /* print lines instead */
};
/* columns: "TITLE=key,TITLE=key"; borrowed. */
enum err cli_table_init(
    struct cli_table *t, const struct cli *c, const char *columns) PSC_MUST_USE;
void cli_table_add(struct cli_table *t, const char *title, const char *key);
int cli_table_row(void *ctx, json_t *row, const char *text); /* cli_row_fn */
void cli_table_end(struct cli_table *t); /* prints what is left; frees */
/* GET path as a table. */
enum cli_exit cli_list(struct cli *c, const char *path, const char *columns);

void cli_progress_start(struct cli *c, const char *what, uint64_t total);
void cli_progress_show(struct cli *c);  /* at most every 200 ms */
void cli_progress_clear(struct cli *c); /* before a line is printed */
void cli_progress_end(struct cli *c);   /* clears the bar */

/* --- verbs --- */
/* exec pesscarad --home DIR --do verb; returns only on failure. */
enum cli_exit cli_exec_node(struct cli *c, const char *verb);
/* Absolute form of an existing path; freed by free(). NULL: printed. */
char *cli_absolute(struct cli *c, const char *path);
/* The same of a directory that need not be there yet, if its parent is. */
char *cli_dir(struct cli *c, const char *dir);

enum cli_exit cmd_init(struct cli *c);
enum cli_exit cmd_config_show(struct cli *c);
enum cli_exit cmd_config_set(struct cli *c);
enum cli_exit cmd_config_check(struct cli *c);
enum cli_exit cmd_id(struct cli *c);
enum cli_exit cmd_status(struct cli *c);
enum cli_exit cmd_share_create(struct cli *c);
enum cli_exit cmd_share_list(struct cli *c);
enum cli_exit cmd_share_show(struct cli *c);
enum cli_exit cmd_share_members(struct cli *c);
enum cli_exit cmd_share_invite(struct cli *c);
enum cli_exit cmd_share_join(struct cli *c);
enum cli_exit cmd_share_grant(struct cli *c);
enum cli_exit cmd_share_revoke(struct cli *c);
enum cli_exit cmd_share_requests(struct cli *c);
enum cli_exit cmd_share_approve(struct cli *c);
enum cli_exit cmd_share_registrars(struct cli *c);
enum cli_exit cmd_share_adopt(struct cli *c);
enum cli_exit cmd_share_checkpoint(struct cli *c);
enum cli_exit cmd_share_freeze(struct cli *c);
enum cli_exit cmd_share_thaw(struct cli *c);
enum cli_exit cmd_share_rotate(struct cli *c);
enum cli_exit cmd_subscribe(struct cli *c);
enum cli_exit cmd_gc(struct cli *c);
enum cli_exit cmd_peer_add(struct cli *c);
enum cli_exit cmd_peer_list(struct cli *c);
enum cli_exit cmd_peer_remove(struct cli *c);
enum cli_exit cmd_import(struct cli *c);
enum cli_exit cmd_pull(struct cli *c);
enum cli_exit cmd_lookup_import(struct cli *c);
enum cli_exit cmd_deid_preview(struct cli *c);
enum cli_exit cmd_deid_reidentify(struct cli *c);
enum cli_exit cmd_deid_profiles(struct cli *c);
enum cli_exit cmd_deid_import(struct cli *c);
enum cli_exit cmd_quarantine_list(struct cli *c);
enum cli_exit cmd_quarantine_show(struct cli *c);
enum cli_exit cmd_quarantine_release(struct cli *c);
enum cli_exit cmd_quarantine_reject(struct cli *c);
enum cli_exit cmd_find(struct cli *c);
enum cli_exit cmd_show(struct cli *c);
enum cli_exit cmd_get(struct cli *c);
enum cli_exit cmd_set(struct cli *c);
enum cli_exit cmd_tag(struct cli *c);
enum cli_exit cmd_untag(struct cli *c);
enum cli_exit cmd_note(struct cli *c);
enum cli_exit cmd_link(struct cli *c);
enum cli_exit cmd_unlink(struct cli *c);
enum cli_exit cmd_group_create(struct cli *c);
enum cli_exit cmd_group_add(struct cli *c);
enum cli_exit cmd_group_remove(struct cli *c);
enum cli_exit cmd_retire(struct cli *c);
enum cli_exit cmd_unretire(struct cli *c);
enum cli_exit cmd_undo(struct cli *c);
enum cli_exit cmd_lock_take(struct cli *c);
enum cli_exit cmd_lock_drop(struct cli *c);
enum cli_exit cmd_lock_list(struct cli *c);
enum cli_exit cmd_audit_show(struct cli *c);
enum cli_exit cmd_audit_verify(struct cli *c);
enum cli_exit cmd_expect_set(struct cli *c);
enum cli_exit cmd_expect_remove(struct cli *c);
enum cli_exit cmd_expect_contact(struct cli *c);
enum cli_exit cmd_expect_list(struct cli *c);
enum cli_exit cmd_expect_missing(struct cli *c);
enum cli_exit cmd_context_show(struct cli *c);
enum cli_exit cmd_context_set(struct cli *c);
enum cli_exit cmd_context_type(struct cli *c);
enum cli_exit cmd_checkout(struct cli *c);
enum cli_exit cmd_checkin(struct cli *c);
enum cli_exit cmd_diff(struct cli *c);
enum cli_exit cmd_sync_status(struct cli *c);
enum cli_exit cmd_sync_now(struct cli *c);
enum cli_exit cmd_peer_drain(struct cli *c);
enum cli_exit cmd_sync_export(struct cli *c);
enum cli_exit cmd_sync_import(struct cli *c);
enum cli_exit cmd_sync_received(struct cli *c);
enum cli_exit cmd_sync_wait(struct cli *c);
enum cli_exit cmd_events(struct cli *c);
enum cli_exit cmd_verify(struct cli *c);
enum cli_exit cmd_rebuild(struct cli *c);
enum cli_exit cmd_backup(struct cli *c);
enum cli_exit cmd_repair(struct cli *c);
enum cli_exit cmd_restore(struct cli *c);
enum cli_exit cmd_workflow_add(struct cli *c);
enum cli_exit cmd_workflow_check(struct cli *c);
enum cli_exit cmd_workflow_list(struct cli *c);
enum cli_exit cmd_workflow_runs(struct cli *c);

#endif
