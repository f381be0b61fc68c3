/* cli/out.c: errors, cells, tables, progress.
 *
 * What a node holds came from other sites: control characters never reach
 * the terminal. */
#include "cli/cli_internal.h"

#include <stdarg.h>
#include <unistd.h>

#include "store/base/clock.h"
#include "store/base/mem.h"

#define PROGRESS_TERMINAL_MS 200u
#define PROGRESS_PLAIN_MS 5000u

/* C0 and DEL, and C1 in UTF-8 (C2 80..9F), become '?'. */
void
cli_print_text(FILE *to, const char *s)
{
	for (; *s != '\0'; s++) {
		unsigned char ch = (unsigned char)*s;

		if (ch == 0xc2 && (unsigned char)s[1] >= 0x80 &&
		    (unsigned char)s[1] < 0xa0) {
			s++;
			ch = '?';
		}
		(void)fputc(ch < ' ' || ch == 0x7f ? '?' : ch, to);
	}
}

void
cli_error_print(
    bool json, const char *error, const char *cause, const char *next)
{
	json_t *o;
	char *text;

	(void)fflush(stdout); /* what was said before comes before */
	if (!json) {
		(void)fprintf(stderr, "pesscara: ");
		cli_print_text(stderr, cause);
		if (*next != '\0') {
			(void)fprintf(stderr, "\nnext: ");
			cli_print_text(stderr, next);
		}
		(void)fputc('\n', stderr);
		return;
	}
	o = json_pack(
	    "{s:s, s:s, s:s}", "error", error, "cause", cause, "next", next);
	text = o != NULL ? json_dumps(o, JSON_COMPACT) : NULL;
	(void)fprintf(stderr, "%s\n",
	    text != NULL ? text : "{\"error\":\"out of memory\"}");
	free(text);
	json_decref(o);
}

enum cli_exit
cli_fail(const struct cli *c, enum err e, const char *next,
    const char *cause_fmt, ...)
{
	char cause[512];
	va_list ap;

	va_start(ap, cause_fmt);
	(void)vsnprintf(cause, sizeof(cause), cause_fmt, ap);
	va_end(ap);
	cli_error_print(c->args.json, err_text(e), cause, next);
	return CLI_FAILED;
}

enum cli_exit
cli_usage(const struct cli *c, const char *cause_fmt, ...)
{
	char cause[512], next[96];
	va_list ap;

	va_start(ap, cause_fmt);
	(void)vsnprintf(cause, sizeof(cause), cause_fmt, ap);
	va_end(ap);
	(void)snprintf(next, sizeof(next), "See: pesscara %s%s--help",
	    c->args.verb != NULL ? c->args.verb->name : "",
	    c->args.verb != NULL ? " " : "");
	cli_error_print(c->args.json, "wrong usage", cause, next);
	return CLI_USAGE;
}

/* --- cells --- */
const char *
cli_str(const json_t *row, const char *key)
{
	const char *s = json_string_value(json_object_get(row, key));

	return s != NULL ? s : "";
}

static void
cell_list(struct buf *out, const json_t *v)
{
	size_t i;

	for (i = 0; i < json_array_size(v); i++) {
		if (i > 0)
			buf_put_str(out, ",");
		cli_cell(out, json_array_get(v, i));
	}
	if (json_array_size(v) == 0)
		buf_put_str(out, "-");
}

static void
cell_map(struct buf *out, const json_t *v)
{
	char *text = json_dumps(v, JSON_COMPACT);

	buf_put_str(out, text != NULL ? text : "?");
	free(text);
}

void
cli_cell(struct buf *out, const json_t *v)
{
	if (v == NULL) {
		buf_put_str(out, "-");
		return;
	}
	switch (json_typeof(v)) {
	case JSON_STRING:
		buf_put_str(out,
		    *json_string_value(v) != '\0' ? json_string_value(v) : "-");
		break;
	case JSON_INTEGER:
		buf_printf(out, "%lld", (long long)json_integer_value(v));
		break;
	case JSON_REAL: buf_printf(out, "%g", json_real_value(v)); break;
	case JSON_TRUE: buf_put_str(out, "yes"); break;
	case JSON_FALSE: buf_put_str(out, "no"); break;
	case JSON_NULL: buf_put_str(out, "-"); break;
	case JSON_ARRAY: cell_list(out, v); break;
	case JSON_OBJECT: cell_map(out, v); break;
	}
}

void
cli_bytes_text(uint64_t n, char out[16])
{
	static const char *const unit[] = { "B", "KB", "MB", "GB", "TB", "PB" };
	double v = (double)n;
	size_t i = 0;

	while (v >= 1000.0 && i < 5) {
		v /= 1000.0;
		i++;
	}
	(void)snprintf(
	    out, 16, i == 0 || v >= 100 ? "%.0f %s" : "%.1f %s", v, unit[i]);
}

/* --- tables --- */
enum err
cli_table_init(struct cli_table *t, const struct cli *c, const char *columns)
{
	*t = (struct cli_table){ .json = c->args.json };
	if (!t->json) {
		t->cell = mem_array(
		    (size_t)CLI_TABLE_ROWS * CLI_COLUMNS_MAX, sizeof(*t->cell));
		if (t->cell == NULL)
			return ERR_NOMEM;
	}
	while (*columns != '\0' && t->n < CLI_COLUMNS_MAX) {
		size_t n = strcspn(columns, ",");

		t->title[t->n] = columns;
		t->key[t->n] = columns + strcspn(columns, "=") + 1;
		t->n++;
		columns += n;
		columns += *columns == ',';
	}
	return ERR_OK;
}

void
cli_table_add(struct cli_table *t, const char *title, const char *key)
{
	if (t->n == CLI_COLUMNS_MAX)
		return;
	t->title[t->n] = title;
	t->key[t->n] = key;
	t->n++;
}

/* Characters, not bytes. */
static size_t
table_width(const char *s, size_t n)
{
	size_t w = 0, i;

	for (i = 0; i < n; i++)
		w += ((unsigned char)s[i] & 0xc0) != 0x80;
	return w;
}

static void
table_print(const struct cli_table *t, uint32_t col, const char *s, size_t n)
{
	char text[512];
	size_t w;

	(void)snprintf(text, sizeof(text), "%.*s", (int)n, s);
	cli_print_text(stdout, text);
	if (col + 1 == t->n) {
		(void)fputc('\n', stdout);
		return;
	}
	for (w = table_width(text, strlen(text)); w < t->width[col] + 2; w++)
		(void)fputc(' ', stdout);
}

static void
table_settle(struct cli_table *t)
{
	uint32_t r, i;

	t->settled = true;
	for (i = 0; i < t->n; i++) {
		size_t n = strcspn(t->title[i], "=");

		if (table_width(t->title[i], n) > t->width[i])
			t->width[i] = table_width(t->title[i], n);
	}
	for (i = 0; i < t->n && t->rows > 0; i++)
		table_print(t, i, t->title[i], strcspn(t->title[i], "="));
	for (r = 0; r < t->rows; r++) {
		for (i = 0; i < t->n; i++) {
			char *s = t->cell[r * CLI_COLUMNS_MAX + i];

			table_print(t, i, s != NULL ? s : "?",
			    s != NULL ? strlen(s) : 1);
			mem_free(s);
		}
	}
	t->rows = 0;
}

static void
table_cell(struct cli_table *t, uint32_t i, const json_t *row)
{
	struct buf b = BUF_MAX(4096);
	char key[96];
	size_t w;

	(void)snprintf(
	    key, sizeof(key), "%.*s", (int)strcspn(t->key[i], ","), t->key[i]);
	cli_cell(&b, json_object_get(row, key));
	if (t->settled) {
		table_print(t, i, buf_cstr(&b), b.n);
	} else {
		w = table_width(buf_cstr(&b), b.n);
		if (w > t->width[i])
			t->width[i] = w;
		t->cell[t->rows * CLI_COLUMNS_MAX + i] =
		    mem_strdup(buf_cstr(&b));
	}
	buf_fini(&b);
}

int
cli_table_row(void *ctx, json_t *row, const char *text)
{
	struct cli_table *t = ctx;
	uint32_t i;

	if (t->json) {
		(void)printf("%s\n", text);
		return fflush(stdout) == 0 ? 0 : 1;
	}
	for (i = 0; i < t->n; i++)
		table_cell(t, i, row);
	if (!t->settled && ++t->rows == CLI_TABLE_ROWS)
		table_settle(t);
	return 0;
}

void
cli_table_end(struct cli_table *t)
{
	if (!t->json && !t->settled)
		table_settle(t);
	mem_free(t->cell);
	t->cell = NULL;
}

enum cli_exit
cli_list(struct cli *c, const char *path, const char *columns)
{
	struct cli_table t;
	enum cli_exit rc;

	if (cli_table_init(&t, c, columns) != ERR_OK)
		return cli_fail(c, ERR_NOMEM, "", "out of memory");
	rc = cli_get(c, path, cli_table_row, &t);
	cli_table_end(&t);
	return rc;
}

/* --- progress --- */
void
cli_progress_start(struct cli *c, const char *what, uint64_t total)
{
	c->progress = (struct cli_progress){
		.what = what,
		.total = total,
		.started_ms = clock_mono_ms(),
		.terminal = isatty(STDERR_FILENO) == 1,
		.off = c->args.json,
	};
	c->progress.shown_ms = c->progress.started_ms;
}

static void
progress_bar(const struct cli_progress *p)
{
	uint64_t part = p->done < p->total ? p->done * 24 / p->total : 24;
	uint64_t i;

	(void)fputc('[', stderr);
	for (i = 0; i < 24; i++)
		(void)fputc(i < part ? '#' : '.', stderr);
	(void)fprintf(stderr, "] %3llu %%  ",
	    (unsigned long long)(p->done < p->total ? p->done * 100 / p->total
						    : 100));
}

static void
progress_line(const struct cli_progress *p)
{
	uint64_t ms = clock_mono_ms() - p->started_ms;
	char bytes[16];

	if (p->terminal)
		(void)fprintf(stderr, "\r\033[K");
	if (p->terminal && p->total > 0)
		progress_bar(p);
	if (p->total > 0 || p->done > 0)
		(void)fprintf(stderr, "%llu ", (unsigned long long)p->done);
	if (p->total > 0)
		(void)fprintf(stderr, "of %llu ", (unsigned long long)p->total);
	(void)fprintf(stderr, "%s", p->what);
	if (p->bytes > 0) {
		cli_bytes_text(p->bytes, bytes);
		(void)fprintf(stderr, ", %s", bytes);
	}
	(void)fprintf(stderr, ", %llu s%s", (unsigned long long)ms / 1000,
	    p->terminal ? "" : "\n");
}

void
cli_progress_show(struct cli *c)
{
	struct cli_progress *p = &c->progress;
	uint64_t now;

	if (p->what == NULL || p->off)
		return;
	now = clock_mono_ms();
	if (now - p->shown_ms <
	    (p->terminal ? PROGRESS_TERMINAL_MS : PROGRESS_PLAIN_MS))
		return;
	p->shown_ms = now;
	p->shown = true;
	progress_line(p);
}

void
cli_progress_clear(struct cli *c)
{
	struct cli_progress *p = &c->progress;

	if (p->shown && p->terminal)
		(void)fprintf(stderr, "\r\033[K");
	p->shown = false;
}

void
cli_progress_end(struct cli *c)
{
	cli_progress_clear(c);
	c->progress.what = NULL;
}
