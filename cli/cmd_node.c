/* cli/cmd_node.c: init, config, id, status, peer, sync, verify. */
#include "cli/cli_internal.h"

#include <inttypes.h>
#include <unistd.h>

#include "store/base/clock.h"
#include "store/base/num.h"

enum cli_exit
cmd_init(struct cli *c)
{
	if (cli_opt(c, "site") == NULL)
		return cli_usage(c, "init needs --site NAME");
	return cli_exec_node(c, "init");
}

enum cli_exit
cmd_config_set(struct cli *c)
{
	return cli_exec_node(c, "config-set");
}

enum cli_exit
cmd_config_check(struct cli *c)
{
	return cli_exec_node(c, "config-check");
}

enum cli_exit
cmd_rebuild(struct cli *c)
{
	return cli_exec_node(c, "rebuild");
}

/* A document as it came (--json), or by a printer of its own. */
struct doc {
	struct cli *c;
	void (*print)(struct cli *c, const json_t *doc);
	json_t *keep; /* the document, when asked for */
	bool silent;
};

static int
doc_row(void *ctx, json_t *row, const char *text)
{
	struct doc *d = ctx;

	if (d->silent)
		d->keep = json_incref(row);
	else if (d->c->args.json)
		(void)printf("%s\n", text);
	else
		d->print(d->c, row);
	return 0;
}

static void
print_field(const char *label, const json_t *v)
{
	struct buf b = BUF_MAX(64 * KIB);

	cli_cell(&b, v);
	(void)printf("%-14s ", label);
	cli_print_text(stdout, buf_cstr(&b));
	(void)fputc('\n', stdout);
	buf_fini(&b);
}

/* Nested maps indented, as in the file. */
static void
print_map(const json_t *map, const char *indent)
{
	const char *key;
	json_t *v;

	json_object_foreach((json_t *)(uintptr_t)map, key, v)
	{
		char label[96];

		(void)snprintf(label, sizeof(label), "%s%s:", indent, key);
		if (json_is_object(v)) {
			(void)printf("%s\n", label);
			print_map(v, "  ");
		} else {
			print_field(label, v);
		}
	}
}

static void
print_config(struct cli *c, const json_t *doc)
{
	(void)c;
	print_map(doc, "");
}

enum cli_exit
cmd_config_show(struct cli *c)
{
	struct doc d = { .c = c, .print = print_config };

	return cli_get(c, "/config", doc_row, &d);
}

static void
print_id(struct cli *c, const json_t *doc)
{
	(void)c;
	print_field("site", json_object_get(doc, "site"));
	print_field("key", json_object_get(doc, "key"));
	print_field("fingerprint", json_object_get(doc, "fingerprint"));
}

enum cli_exit
cmd_id(struct cli *c)
{
	struct doc d = { .c = c, .print = print_id };

	return cli_get(c, "/id", doc_row, &d);
}

/* --- status --- */
static uint64_t
num(const json_t *map, const char *key)
{
	json_int_t v = json_integer_value(json_object_get(map, key));

	return v > 0 ? (uint64_t)v : 0;
}

static void
print_store(const json_t *store)
{
	char logical[16], stored[16];

	cli_bytes_text(num(store, "logical_bytes"), logical);
	cli_bytes_text(num(store, "stored_bytes"), stored);
	(void)printf("%-14s %" PRIu64 " assets, %s of content in %s on disk "
		     "(%" PRIu64 " chunks)\n",
	    "store", num(store, "assets"), logical, stored,
	    num(store, "chunks"));
	if (json_is_true(json_object_get(store, "quota_full")))
		(void)printf("%-14s store.quota_bytes is reached: new content "
			     "is refused and none is fetched\n",
		    "");
}

static void
print_shares(const json_t *list)
{
	size_t i, k;

	for (i = 0; i < json_array_size(list); i++) {
		const json_t *s = json_array_get(list, i);
		const json_t *cs = json_object_get(s, "compartments");

		(void)printf("%-14s ", "share");
		cli_print_text(stdout, cli_str(s, "name"));
		(void)printf(
		    " (%s)\n", strcmp(cli_str(s, "state"), "pending") == 0
				   ? "waits for the invitation to be granted"
				   : cli_str(s, "role"));
		for (k = 0; k < json_array_size(cs); k++) {
			const json_t *p = json_array_get(cs, k);

			(void)printf("%-14s   ", "");
			cli_print_text(stdout, cli_str(p, "name"));
			(void)printf(": %" PRIu64 " ops, root %.16s\n",
			    num(p, "ops"), cli_str(p, "root"));
		}
	}
}

static void
print_peer(const json_t *p)
{
	const char *address = cli_str(p, "address");

	(void)printf("%-14s ", "peer");
	cli_print_text(stdout, *address != '\0' ? address : "(it dials us)");
	if (json_is_true(json_object_get(p, "connected")))
		(void)printf(", connected, %s\n",
		    json_is_true(json_object_get(p, "in_sync")) ? "in sync"
								: "behind");
	else {
		(void)printf(", not connected");
		if (*cli_str(p, "error") != '\0') {
			(void)printf(": ");
			cli_print_text(stdout, cli_str(p, "error"));
		}
		(void)fputc('\n', stdout);
	}
}

static void
print_status(struct cli *c, const json_t *doc)
{
	const json_t *listen = json_object_get(doc, "listen");
	const json_t *peers = json_object_get(doc, "peers");
	size_t i;

	print_id(c, doc);
	print_field("version", json_object_get(doc, "version"));
	(void)printf("%-14s %" PRIu64 " s\n", "up for", num(doc, "uptime_s"));
	print_field("unlocked by", json_object_get(doc, "unlock"));
	print_field("DICOM", json_object_get(listen, "dicom"));
	print_field("peers at", json_object_get(listen, "peers"));
	print_field("REST", json_object_get(listen, "rest"));
	print_store(json_object_get(doc, "store"));
	if (num(json_object_get(doc, "scrub"), "bad") > 0)
		(void)printf("%-14s the store is damaged: run pesscara "
			     "repair\n",
		    "scrub");
	print_shares(json_object_get(doc, "shares"));
	for (i = 0; i < json_array_size(peers); i++)
		print_peer(json_array_get(peers, i));
	(void)printf("%-14s %" PRIu64 " assets: pesscara lock list\n", "locks",
	    num(json_object_get(doc, "locks"), "assets"));
	(void)printf("%-14s %" PRIu64 " held\n", "quarantine",
	    num(json_object_get(doc, "quarantine"), "held"));
}

enum cli_exit
cmd_status(struct cli *c)
{
	struct doc d = { .c = c, .print = print_status };

	return cli_get(c, "/status", doc_row, &d);
}

/* --- backup --- */
static void
print_backup(struct cli *c, const json_t *doc)
{
	char bytes[16], copied[16];

	(void)c;
	cli_bytes_text(num(doc, "bytes"), bytes);
	cli_bytes_text(num(doc, "copied_bytes"), copied);
	(void)printf("%s in the backup, %s of it copied now\n", bytes, copied);
	print_field("root hash", json_object_get(doc, "root"));
}

enum cli_exit
cmd_backup(struct cli *c)
{
	struct doc d = { .c = c, .print = print_backup };
	const char *word = cli_word(c, 0);
	char here[2048], path[4352];
	enum cli_exit rc;

	if (word[0] == '\0')
		return cli_fail(c, ERR_MALFORMED,
		    "Name a folder for the backup.", "the folder has no name");
	if (word[0] == '/')
		(void)snprintf(path, sizeof(path), "%s", word);
	else if (getcwd(here, sizeof(here)) != NULL)
		(void)snprintf(path, sizeof(path), "%s/%s", here, word);
	else
		return cli_fail(c, ERR_IO, "Give the whole path.",
		    "the current folder has no name");
	cli_progress_start(c, "copying", 0);
	rc = cli_post(
	    c, "/backup", json_pack("{s:s}", "dir", path), doc_row, &d);
	cli_progress_end(c);
	return rc;
}

enum cli_exit
cmd_restore(struct cli *c)
{
	return cli_exec_node(c, "restore");
}

/* --- peers --- */
static void
print_done(struct cli *c, const json_t *doc)
{
	(void)c;
	(void)doc;
	(void)printf("done\n");
}

enum cli_exit
cmd_peer_add(struct cli *c)
{
	struct doc d = { .c = c, .print = print_done };
	const char *key = cli_opt(c, "key");

	if (key == NULL)
		return cli_usage(c, "peer add needs --key KEY (`pesscara id` "
				    "on the other node prints it)");
	return cli_post(c, "/peers",
	    json_pack("{s:s, s:s}", "address", cli_word(c, 0), "key", key),
	    doc_row, &d);
}

enum cli_exit
cmd_peer_list(struct cli *c)
{
	return cli_list(c, "/peers",
	    "ADDRESS=address,CONNECTED=connected,IN SYNC=in_sync,"
	    "LAST CONTACT=last_contact,LAG OPS=lag_ops,ERROR=error");
}

enum cli_exit
cmd_peer_remove(struct cli *c)
{
	struct doc d = { .c = c, .print = print_done };
	struct buf path = BUF_MAX(4096);
	struct cli_request q = {
		.method = "DELETE", .row = doc_row, .ctx = &d
	};
	enum cli_exit rc;

	buf_put_str(&path, "/peers");
	cli_path_add(&path, cli_word(c, 0));
	q.path = buf_cstr(&path);
	rc = cli_send(c, &q);
	buf_fini(&path);
	return rc;
}

/* --- sync --- */
static void
print_lag(const json_t *l)
{
	const char *compartment = cli_str(l, "compartment");
	const char *why = cli_str(l, "why");

	(void)printf("%-14s   ", "");
	cli_print_text(stdout, cli_str(l, "share"));
	if (*compartment != '\0') {
		(void)fputc('/', stdout);
		cli_print_text(stdout, compartment);
	}
	if (json_is_true(json_object_get(l, "in_sync")))
		(void)printf(": in sync\n");
	else
		(void)printf(": %" PRIu64 " ops to get, %" PRIu64
			     " to give: %s\n",
		    num(l, "lag_ops"), num(l, "ahead_ops"), why);
}

static void
print_sync_peer(const json_t *p)
{
	const json_t *shares = json_object_get(p, "shares");
	const char *why = cli_str(p, "why");
	char bytes[16];
	size_t i;

	print_peer(p);
	cli_bytes_text(num(p, "rate"), bytes);
	(void)printf("%-14s   last contact ", "");
	cli_print_text(stdout, *cli_str(p, "last_contact") != '\0'
				   ? cli_str(p, "last_contact")
				   : "never");
	(void)printf(", %s/s", bytes);
	if (json_is_integer(json_object_get(p, "eta_s")))
		(void)printf(", about %" PRIu64 " s left", num(p, "eta_s"));
	(void)fputc('\n', stdout);
	if (*why != '\0') {
		(void)printf("%-14s   ", "");
		cli_print_text(stdout, why);
		(void)fputc('\n', stdout);
	}
	for (i = 0; i < json_array_size(shares); i++)
		print_lag(json_array_get(shares, i));
}

/* What a member signed and is not so. */
static void
print_finding(const json_t *f)
{
	const json_t *level = json_object_get(f, "level_with");

	(void)printf("%-14s ", "finding");
	cli_print_text(stdout, cli_str(f, "site"));
	(void)fputs(", ", stdout);
	cli_print_text(stdout, cli_str(f, "share"));
	(void)fputc('/', stdout);
	cli_print_text(stdout, cli_str(f, "compartment"));
	(void)printf(": %s", cli_str(f, "finding"));
	if (num(f, "missing") > 0)
		(void)printf(" (%" PRIu64 ")", num(f, "missing"));
	if (*cli_str(f, "said") != '\0')
		(void)printf(", said %s", cli_str(f, "said"));
	for (size_t i = 0; i < json_array_size(level); i++) {
		(void)fputs(i == 0 ? "; as here it is at " : ", ", stdout);
		cli_print_text(
		    stdout, json_string_value(json_array_get(level, i)));
	}
	(void)fputc('\n', stdout);
}

static void
print_sync(struct cli *c, const json_t *doc)
{
	const json_t *peers = json_object_get(doc, "peers");
	const json_t *found = json_object_get(doc, "findings");
	char bytes[16];
	size_t i;

	(void)c;
	cli_bytes_text(num(doc, "wanted_bytes"), bytes);
	(void)printf("%-14s %s\n", "in sync",
	    json_is_true(json_object_get(doc, "in_sync")) ? "yes" : "no");
	(void)printf("%-14s %" PRIu64 "\n", "connected", num(doc, "connected"));
	(void)printf("%-14s %" PRIu64 " chunks, %s\n", "wanted",
	    num(doc, "wanted_chunks"), bytes);
	for (i = 0; i < json_array_size(peers); i++)
		print_sync_peer(json_array_get(peers, i));
	for (i = 0; i < json_array_size(found); i++)
		print_finding(json_array_get(found, i));
}

enum cli_exit
cmd_sync_status(struct cli *c)
{
	struct doc d = { .c = c, .print = print_sync };
	const char *peer = cli_opt(c, "peer");
	struct buf path = BUF_MAX(KIB);
	enum cli_exit rc;

	if (peer != NULL && *peer == '\0')
		return cli_usage(c, "--peer must be HOST:PORT or a key (see "
				    "pesscara peer list)");
	buf_put_str(&path, "/sync");
	cli_path_arg(&path, "peer", peer);
	rc = cli_get(c, buf_cstr(&path), doc_row, &d);
	buf_fini(&path);
	return rc;
}

enum cli_exit
cmd_sync_now(struct cli *c)
{
	struct doc d = { .c = c, .print = print_done };

	return cli_post(c, "/sync/now", json_object(), doc_row, &d);
}

static int
received_row(void *ctx, json_t *row, const char *text)
{
	const struct cli *c = ctx;

	if (c->args.json) {
		(void)printf("%s\n", text);
		return 0;
	}
	cli_print_text(stdout, cli_str(row, "site"));
	(void)fputs(", ", stdout);
	cli_print_text(stdout, cli_str(row, "share"));
	(void)fputc('/', stdout);
	cli_print_text(stdout, cli_str(row, "compartment"));
	(void)printf(
	    ": %s; ops %" PRIu64, cli_str(row, "verdict"), num(row, "ops"));
	if (!json_is_null(json_object_get(row, "sent_ops")))
		(void)printf(" of %" PRIu64 " by %s", num(row, "sent_ops"),
		    cli_str(row, "said"));
	(void)printf(", whole versions %" PRIu64 " of %" PRIu64 "\n",
	    num(row, "whole"), num(row, "versions"));
	if (!json_is_null(json_object_get(row, "missing")))
		(void)printf("  the first that lacks content: %s\n",
		    cli_str(row, "missing"));
	return 0;
}

enum cli_exit
cmd_sync_received(struct cli *c)
{
	return cli_get(c, "/sync/received", received_row, c);
}

static enum cli_exit
sync_slice(struct cli *c, uint64_t ms, json_t **doc)
{
	struct doc d = { .c = c, .silent = true };
	enum cli_exit rc = cli_post(c, "/sync/wait",
	    json_pack("{s:I}", "timeout_ms", (json_int_t)ms), doc_row, &d);

	json_decref(*doc);
	*doc = d.keep;
	if (rc == CLI_OK && d.keep == NULL)
		return cli_fail(c, ERR_MALFORMED, "", "the node said nothing");
	return rc;
}

static void
sync_progress(struct cli *c, const json_t *doc)
{
	uint64_t left = num(doc, "wanted_chunks");
	struct cli_progress *p = &c->progress;

	if (p->total < left)
		p->total = left;
	p->done = p->total - left;
	cli_progress_show(c);
}

enum cli_exit
cmd_sync_wait(struct cli *c)
{
	const char *text = cli_opt(c, "timeout");
	uint64_t s = 60, until, now;
	json_t *doc = NULL;
	enum cli_exit rc = CLI_OK;
	struct doc d = { .c = c, .print = print_sync };

	if (text != NULL &&
	    num_duration_s(slice_str(text), 86400, &s) != ERR_OK &&
	    num_u64(slice_str(text), 0, 86400, &s) != ERR_OK)
		return cli_usage(c, "--timeout must be a duration like 60s");
	until = clock_mono_ms() + s * 1000;
	cli_progress_start(c, "chunks", 0);
	do {
		now = clock_mono_ms();
		now = until > now ? until - now : 0;
		rc = sync_slice(c, now < 1000 ? now : 1000, &doc);
		if (rc == CLI_OK)
			sync_progress(c, doc);
	} while (rc == CLI_OK && clock_mono_ms() < until &&
		 !json_is_true(json_object_get(doc, "in_sync")));
	cli_progress_end(c);
	if (rc == CLI_OK && json_is_true(json_object_get(doc, "in_sync"))) {
		char *line = json_dumps(doc, JSON_COMPACT);

		(void)doc_row(&d, doc, line != NULL ? line : "");
		free(line);
	} else if (rc == CLI_OK) {
		rc = cli_fail(c, ERR_TIMEOUT, "See: pesscara sync status",
		    "not in sync after %" PRIu64 " s: %" PRIu64
		    " peers connected, %" PRIu64 " chunks wanted",
		    s, num(doc, "connected"), num(doc, "wanted_chunks"));
	}
	json_decref(doc);
	return rc;
}

/* --- verify --- */
static void
print_bad(const json_t *bad)
{
	size_t i;

	for (i = 0; i < json_array_size(bad); i++) {
		const json_t *b = json_array_get(bad, i);

		(void)printf("  %s %s%s\n", cli_str(b, "what"),
		    cli_str(b, "where"),
		    json_is_true(json_object_get(b, "repairable"))
			? " (a peer may have it)"
			: "");
	}
}

static void
print_verify(struct cli *c, const json_t *doc)
{
	(void)c;
	(void)printf("checked %" PRIu64 " records, %" PRIu64 " bad\n",
	    num(doc, "checked"), num(doc, "bad_count"));
	print_bad(json_object_get(doc, "bad"));
}

static void
print_root(struct cli *c, const json_t *doc)
{
	(void)c;
	print_field("root", json_object_get(doc, "root"));
}

static enum cli_exit
verify_root(struct cli *c)
{
	struct doc d = { .c = c, .print = print_root };

	return cli_get(c, "/store/root", doc_row, &d);
}

enum cli_exit
cmd_verify(struct cli *c)
{
	struct doc d = { .c = c, .silent = true };
	uint64_t bad;
	char *line;
	enum cli_exit rc;

	if (cli_flag(c, "root"))
		return verify_root(c);
	cli_progress_start(c, "checking the store", 0);
	rc = cli_post(c, "/verify",
	    json_pack("{s:b}", "deep", cli_flag(c, "deep") ? 1 : 0), doc_row,
	    &d);
	cli_progress_end(c);
	if (rc != CLI_OK || d.keep == NULL)
		return CLI_FAILED;
	bad = num(d.keep, "bad_count");
	line = json_dumps(d.keep, JSON_COMPACT);
	if (c->args.json)
		(void)printf("%s\n", line != NULL ? line : "");
	else
		print_verify(c, d.keep);
	free(line);
	json_decref(d.keep);
	return bad == 0 ? CLI_OK
			: cli_fail(c, ERR_CORRUPT, "Run: pesscara repair",
			      "%" PRIu64 " records are damaged", bad);
}

/* --- repair --- */
enum cli_exit
cmd_repair(struct cli *c)
{
	struct doc d = { .c = c, .silent = true };
	const char *text = cli_opt(c, "timeout");
	uint64_t s = 10, left;
	const json_t *done;
	char *line;
	enum cli_exit rc;

	if (text != NULL && num_duration_s(slice_str(text), 120, &s) != ERR_OK)
		return cli_usage(c, "--timeout must be a duration like 10s");
	cli_progress_start(c, "checking the store", 0);
	rc = cli_post(c, "/repair",
	    json_pack("{s:I}", "wait_ms", (json_int_t)s * 1000), doc_row, &d);
	cli_progress_end(c);
	if (rc != CLI_OK || d.keep == NULL)
		return CLI_FAILED;
	done = json_object_get(d.keep, "repaired");
	left = num(d.keep, "bad_count");
	line = json_dumps(d.keep, JSON_COMPACT);
	if (c->args.json)
		(void)printf("%s\n", line != NULL ? line : "");
	else
		(void)printf("repaired %" PRIu64 " chunks and %" PRIu64
			     " rows; %" PRIu64 " still bad\n",
		    num(done, "chunks"), num(done, "rows"), left);
	if (!c->args.json && left > 0)
		print_bad(json_object_get(d.keep, "bad"));
	free(line);
	json_decref(d.keep);
	return left == 0 ? CLI_OK
			 : cli_fail(c, ERR_CORRUPT,
			       "Connect a peer that holds the chunks and run "
			       "it again; for ops and the index stop the node "
			       "and run: pesscara rebuild",
			       "%" PRIu64 " records are damaged still", left);
}
