/* cli/cmd_get.c: the files of assets, onto the disk.
 *
 * Happy path: the node lists the files of each asset; each file is streamed
 * to DIR/ASSET/.NAME.part and takes its name once all of it is there and the
 * node has told its sum; at the end the file system is synced once.
 * Failure: the part is removed; a file that has its name is whole. */
#include "cli/cli_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/base/mem.h"

#define GET_FILES_MAX 1000000u /* of one call */

struct get_file {
	char *asset;
	char *name;
	uint64_t n;
	uint64_t bytes;
};

struct get_run {
	struct cli *c;
	struct get_file *file;
	uint32_t n, cap;
	char *dir; /* absolute */
	int fd;    /* of the file being written */
	uint64_t written;
};

static bool
get_name_safe(const char *s)
{
	return *s != '\0' && *s != '.' && strchr(s, '/') == NULL &&
	       strlen(s) < 200;
}

static int
get_list_row(void *ctx, json_t *row, const char *text)
{
	struct get_run *g = ctx;
	struct get_file f = { .asset = NULL };

	(void)text;
	if (g->n == g->cap && g->n < GET_FILES_MAX) {
		uint32_t cap = g->cap == 0 ? 64 : g->cap * 2;
		void *p = mem_grow(g->file, cap, sizeof(*g->file));

		if (p != NULL) {
			g->file = p;
			g->cap = cap;
		}
	}
	if (!get_name_safe(cli_str(row, "asset")) ||
	    !get_name_safe(cli_str(row, "name"))) {
		(void)cli_fail(g->c, ERR_MALFORMED, "",
		    "the node named a file that cannot be written here");
		return 1;
	}
	f.asset = mem_strdup(cli_str(row, "asset"));
	f.name = mem_strdup(cli_str(row, "name"));
	f.n = (uint64_t)json_integer_value(json_object_get(row, "n"));
	f.bytes = (uint64_t)json_integer_value(json_object_get(row, "bytes"));
	if (g->n == g->cap || f.asset == NULL || f.name == NULL) {
		mem_free(f.asset);
		mem_free(f.name);
		(void)cli_fail(
		    g->c, ERR_NOMEM, "Get fewer at once.", "too many files");
		return 1;
	}
	g->file[g->n++] = f;
	return 0;
}

static enum cli_exit
get_list(struct get_run *g)
{
	enum cli_exit rc = CLI_OK;
	uint32_t i;

	for (i = 0; i < g->c->args.n_words && rc == CLI_OK; i++) {
		struct buf path = BUF_MAX(4096);

		buf_put_str(&path, "/assets");
		cli_path_add(&path, cli_word(g->c, i));
		buf_put_str(&path, "/files");
		cli_path_arg(&path, "as", cli_opt(g->c, "as"));
		rc = cli_get(g->c, buf_cstr(&path), get_list_row, g);
		buf_fini(&path);
	}
	return rc;
}

static int
get_bytes(void *ctx, struct slice part)
{
	struct get_run *g = ctx;

	g->c->progress.bytes += part.n;
	g->written += part.n;
	while (part.n > 0) {
		ssize_t n = write(g->fd, part.p, part.n);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			cli_progress_end(g->c);
			(void)cli_fail(g->c,
			    errno == ENOSPC ? ERR_FULL : ERR_IO,
			    "Check the disk.", "writing a file: %s",
			    strerrordesc_np(errno));
			return 1;
		}
		part = slice_of(part.p + n, part.n - (size_t)n);
	}
	return 0;
}

static enum cli_exit
get_disk(struct get_run *g, const char *what)
{
	cli_progress_end(g->c);
	return cli_fail(g->c, errno == ENOSPC ? ERR_FULL : ERR_IO,
	    "Check the disk and the rights of the directory.", "%.300s: %s",
	    what, strerrordesc_np(errno));
}

static enum cli_exit
get_stream(struct get_run *g, const struct get_file *f, char sum[65])
{
	struct buf path = BUF_MAX(4096);
	struct cli_request q = {
		.method = "GET", .bytes = get_bytes, .ctx = g, .sum = sum
	};
	enum cli_exit rc;

	buf_put_str(&path, "/assets");
	cli_path_add(&path, f->asset);
	buf_printf(&path, "/files/%llu", (unsigned long long)f->n);
	/* SHA-256 costs more than all the rest: only where it is printed. */
	cli_path_arg(&path, "sum", g->c->args.json ? "sha256" : "blake2b");
	q.path = buf_cstr(&path);
	g->written = 0;
	rc = cli_send(g->c, &q);
	buf_fini(&path);
	if (rc == CLI_OK && (sum[0] == '\0' || g->written != f->bytes))
		rc = cli_fail(
		    g->c, ERR_SHORT, "Run it again.", "a file came incomplete");
	return rc;
}

static void
get_print(struct get_run *g, const struct get_file *f, const char *path,
    const char *sha)
{
	json_t *o;
	char *text;

	if (!g->c->args.json) {
		cli_progress_clear(g->c);
		cli_print_text(stdout, path);
		(void)fputc('\n', stdout);
		return;
	}
	o = json_pack("{s:s, s:s, s:I, s:s}", "asset", f->asset, "path", path,
	    "bytes", (json_int_t)g->written, "sha256", sha);
	text = o != NULL ? json_dumps(o, JSON_COMPACT) : NULL;
	(void)printf("%s\n", text != NULL ? text : "");
	free(text);
	json_decref(o);
}

/* part: DIR/ASSET/.NAME.part, path: DIR/ASSET/NAME */
static enum cli_exit
get_into(struct get_run *g, const struct get_file *f, const char *part,
    const char *path)
{
	char sum[65] = "";
	enum cli_exit rc;

	g->fd = open(
	    part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
	if (g->fd < 0)
		return get_disk(g, part);
	rc = get_stream(g, f, sum);
	if (close(g->fd) != 0 && rc == CLI_OK)
		rc = get_disk(g, part);
	if (rc == CLI_OK && rename(part, path) != 0)
		rc = get_disk(g, path);
	if (rc != CLI_OK)
		(void)unlink(part);
	else
		get_print(g, f, path, sum);
	return rc;
}

static enum cli_exit
get_one(struct get_run *g, const struct get_file *f)
{
	struct buf dir = BUF_MAX(8192), part = BUF_MAX(8192),
		   path = BUF_MAX(8192);
	enum cli_exit rc;

	buf_printf(&dir, "%s/%s", g->dir, f->asset);
	buf_printf(&part, "%s/%s/.%s.part", g->dir, f->asset, f->name);
	buf_printf(&path, "%s/%s/%s", g->dir, f->asset, f->name);
	if (mkdir(buf_cstr(&dir), 0777) != 0 && errno != EEXIST)
		rc = get_disk(g, buf_cstr(&dir));
	else
		rc = get_into(g, f, buf_cstr(&part), buf_cstr(&path));
	buf_fini(&dir);
	buf_fini(&part);
	buf_fini(&path);
	return rc;
}

/* One sync for all: a sync a file costs more than the copying. */
static enum cli_exit
get_sync(struct get_run *g)
{
	int fd = open(g->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc = fd >= 0 ? syncfs(fd) : -1;

	if (fd >= 0)
		(void)close(fd);
	return rc == 0 ? CLI_OK : get_disk(g, g->dir);
}

static enum cli_exit
get_all(struct get_run *g)
{
	enum cli_exit rc = CLI_OK;
	uint32_t i;

	cli_progress_start(g->c, "files", g->n);
	for (i = 0; i < g->n && rc == CLI_OK; i++) {
		rc = get_one(g, &g->file[i]);
		g->c->progress.done++;
		cli_progress_show(g->c);
	}
	cli_progress_end(g->c);
	return rc == CLI_OK ? get_sync(g) : rc;
}

/* The directory is made once the node knows the assets. */
static enum cli_exit
get_dir(struct get_run *g)
{
	const char *dir = cli_opt(g->c, "o") != NULL ? cli_opt(g->c, "o") : ".";

	if (mkdir(dir, 0777) != 0 && errno != EEXIST) {
		(void)get_disk(g, dir);
		return CLI_FAILED;
	}
	g->dir = cli_absolute(g->c, dir);
	return g->dir != NULL ? CLI_OK : CLI_FAILED;
}

enum cli_exit
cmd_get(struct cli *c)
{
	struct get_run g = { .c = c, .fd = -1 };
	enum cli_exit rc;
	uint32_t i;

	rc = get_list(&g);
	if (rc == CLI_OK)
		rc = get_dir(&g);
	if (rc == CLI_OK)
		rc = get_all(&g);
	for (i = 0; i < g.n; i++) {
		mem_free(g.file[i].asset);
		mem_free(g.file[i].name);
	}
	mem_free(g.file);
	free(g.dir);
	return rc;
}
