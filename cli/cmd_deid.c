/* cli/cmd_deid.c: de-identification profiles, and what CTP has for them.
 *
 * A script or table is read here, with the rights of whoever asks and no
 * node; what comes out is a new file that only its owner reads, or goes to
 * standard output. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli_internal.h"
#include "cli/ctp.h"

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

/* --- CTP --- */
struct import_lines {
	const struct cli *c;
	FILE *to;
	uint32_t n, lost;
};

static void
import_line(void *ctx, const struct ctp_line *l)
{
	struct import_lines *run = ctx;
	json_t *o;
	char *text;

	run->n++;
	run->lost += l->lost;
	if (run->c->args.json) {
		o = json_pack("{s:i,s:b,s:s%,s:s%,s:s%,s:s%}", "line",
		    (int)l->line, "mapped", !l->lost, "element", l->element,
		    strlen(l->element), "name", l->name, strlen(l->name),
		    "said", l->said, strlen(l->said), "did", l->did,
		    strlen(l->did));
		text = o != NULL ? json_dumps(o, 0) : NULL;
		(void)fprintf(run->to, "%s\n", text != NULL ? text : "{}");
		free(text);
		json_decref(o);
		return;
	}
	if (!l->lost && !cli_flag(run->c, "all"))
		return;
	(void)fprintf(
	    run->to, "line %u: %s", l->line, l->lost ? "NOT MAPPED " : "");
	cli_print_text(run->to, l->element);
	(void)fprintf(run->to, " ");
	cli_print_text(run->to, l->name);
	(void)fprintf(run->to, " [");
	cli_print_text(run->to, l->said);
	(void)fprintf(run->to, "] -> %s\n", l->did);
}

static enum cli_exit
import_read(struct cli *c, struct buf *out)
{
	int fd = open(cli_word(c, 0), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t n = fd < 0 ? -1 : 1;
	uint8_t *p;

	while (n > 0) {
		p = buf_room(out, 65536);
		n = p != NULL ? read(fd, p, 65536) : -1;
		if (n > 0)
			buf_grew(out, (size_t)n);
	}
	if (fd >= 0)
		(void)close(fd);
	if (n == 0)
		return CLI_OK;
	return cli_fail(c, buf_err(out) != ERR_OK ? buf_err(out) : ERR_IO,
	    "Name a script or a table of CTP, 4 MiB at most.",
	    "the file cannot be read");
}

/* A new file; what is there stays. */
static enum cli_exit
import_write(struct cli *c, const char *path, struct slice text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	bool ok = fd >= 0;

	if (fd < 0)
		return cli_fail(c, errno == EEXIST ? ERR_EXISTS : ERR_IO,
		    "Choose another name, or move the file away.",
		    "cannot make %s", path);
	while (ok && text.n > 0) {
		ssize_t n = write(fd, text.p, text.n);

		ok = n > 0 || (n < 0 && errno == EINTR);
		if (n > 0)
			text = slice_of(text.p + n, text.n - (size_t)n);
	}
	ok = fsync(fd) == 0 && ok;
	ok = close(fd) == 0 && ok;
	if (ok)
		return CLI_OK;
	(void)unlink(path);
	return cli_fail(
	    c, ERR_IO, "Look at the disk.", "cannot write %s", path);
}

static enum cli_exit
import_put(struct cli *c, struct slice text)
{
	const char *name = cli_opt(c, "name"), *out = cli_opt(c, "out");
	struct buf path = BUF_MAX(4096);
	enum cli_exit rc;

	if (name == NULL && out == NULL) {
		(void)fwrite(text.p, 1, text.n, stdout);
		return CLI_OK;
	}
	if (name != NULL) {
		if (*name == '\0' || strchr(name, '/') != NULL)
			return cli_usage(c, "--name takes a name, no path");
		buf_printf(&path, "%s/profiles", c->home);
		(void)mkdir(buf_cstr(&path), 0700);
		buf_printf(&path, "/%s.yaml", name);
		out = buf_cstr(&path);
	}
	rc = import_write(c, out, text);
	buf_fini(&path);
	return rc;
}

static enum cli_exit
import_end(struct cli *c, const struct import_lines *run, const char *what)
{
	if (c->args.json)
		(void)fprintf(run->to,
		    "{\"summary\": {\"lines\": %u, \"not_mapped\": %u}}\n",
		    run->n, run->lost);
	else
		(void)fprintf(run->to, "%u %s told, %u of them not mapped\n",
		    run->n, what, run->lost);
	return CLI_OK;
}

enum cli_exit
cmd_deid_import(struct cli *c)
{
	const char *type = cli_opt(c, "lookup");
	bool file = cli_opt(c, "name") != NULL || cli_opt(c, "out") != NULL;
	struct import_lines run = { .c = c, .to = file ? stdout : stderr };
	struct buf in = BUF_MAX(CTP_BYTES_MAX), out = BUF_MAX(CTP_YAML_MAX);
	struct errmsg em = { 0 };
	enum cli_exit rc;
	enum err e;

	if (type != NULL && cli_opt(c, "name") != NULL)
		return cli_usage(c, "--lookup makes no profile: use --out");
	rc = import_read(c, &in);
	if (rc == CLI_OK) {
		e = type != NULL ? ctp_lookup(buf_slice(&in), type, import_line,
				       &run, &out, &em)
				 : ctp_script(buf_slice(&in), import_line, &run,
				       &out, &em);
		if (e != ERR_OK)
			rc = cli_fail(c, e, em.next, "%s",
			    em.cause[0] != '\0' ? em.cause : err_text(e));
	}
	if (rc == CLI_OK)
		rc = import_put(c, buf_slice(&out));
	if (rc == CLI_OK)
		rc = import_end(c, &run, type != NULL ? "lines" : "elements");
	buf_wipe(&in);
	buf_wipe(&out);
	return rc;
}
