/* cli/ctp_lookup.c: a lookup table of CTP, a Java properties file of lines
 * TYPE/key = value, into lines "key,value".
 *
 * Keys are patients: what is told of a line is its number and a reason. */
#include <stdio.h>

#include "cli/ctp.h"

static struct slice
trim(struct slice s)
{
	while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t'))
		s = slice_of(s.p + 1, s.n - 1);
	while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t' ||
			      s.p[s.n - 1] == '\r'))
		s.n--;
	return s;
}

/* Up to the first '=' or ':' that is not escaped; s moves behind it. */
static bool
take_key(struct slice *s, struct slice *key)
{
	for (size_t k = 0; k < s->n; k++) {
		if (s->p[k] == '\\') {
			k++;
			continue;
		}
		if (s->p[k] != '=' && s->p[k] != ':')
			continue;
		*key = trim(slice_of(s->p, k));
		*s = trim(slice_of(s->p + k + 1, s->n - k - 1));
		return true;
	}
	return false;
}

/* Without the escapes of properties files; false: what a line "a,b" cannot
 * hold. */
static bool
plain_text(struct slice s, char out[TABLE_TEXT_MAX + 1])
{
	size_t n = 0;

	for (size_t k = 0; k < s.n; k++) {
		uint8_t c = s.p[k];

		if (c == '\\' && ++k < s.n)
			c = s.p[k];
		if (c < ' ' || c > '~' || c == ',' || c == '"' ||
		    n == TABLE_TEXT_MAX)
			return false;
		if (s.p[k] == 'u' && k > 0 && s.p[k - 1] == '\\')
			return false; /* \uXXXX */
		out[n++] = (char)c;
	}
	out[n] = '\0';
	return n > 0;
}

static const char *
line_take(struct slice line, const char *type, struct buf *csv)
{
	char key[TABLE_TEXT_MAX + 1], value[TABLE_TEXT_MAX + 1];
	size_t n = strlen(type);
	struct slice k = { 0 };

	if (!take_key(&line, &k))
		return "no TYPE/key = value";
	if (k.n <= n + 1 || memcmp(k.p, type, n) != 0 || k.p[n] != '/')
		return "of another type";
	if (!plain_text(slice_of(k.p + n + 1, k.n - n - 1), key) ||
	    !plain_text(line, value))
		return "key or value is empty, too long, not ASCII, or has a "
		       "comma";
	buf_printf(csv, "%s,%s\n", key, value);
	return NULL;
}

enum err
ctp_lookup(struct slice in, const char *type, ctp_line_fn fn, void *ctx,
    struct buf *csv, struct errmsg *em)
{
	struct ctp_line l = {
		.lost = true, .element = "", .name = "", .said = ""
	};

	if (in.n > CTP_BYTES_MAX)
		return errmsg_set(em, ERR_LIMIT, "Split it.", "above 4 MiB");
	while (in.n > 0) {
		const uint8_t *end = memchr(in.p, '\n', in.n);
		size_t n = end != NULL ? (size_t)(end - in.p) : in.n;
		struct slice line = trim(slice_of(in.p, n));

		l.line++;
		in = slice_of(in.p + n, in.n - n);
		if (in.n > 0)
			in = slice_of(in.p + 1, in.n - 1);
		if (line.n == 0 || line.p[0] == '#' || line.p[0] == '!')
			continue;
		l.did = line_take(line, type, csv);
		if (l.did != NULL)
			fn(ctx, &l);
	}
	if (buf_err(csv) == ERR_OK && csv->n == 0)
		return errmsg_set(em, ERR_NOTFOUND,
		    "Name the type that the table has before its slashes.",
		    "no line of this type can be taken");
	return buf_err(csv);
}
