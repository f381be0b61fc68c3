/* cli/ctp_xml.c: the XML that CTP scripts are, and no more of XML.
 *
 * Happy path: declaration and comments are passed over, <script> opens, its
 * children come one by one, </script> ends.  All else is ERR_MALFORMED with
 * its line: a DTD above all, so there is nothing to expand. */
#include <stdio.h>

#include "cli/ctp.h"
#include "store/base/num.h"

static enum err
xml_fail(
    const struct ctp_xml *x, enum err e, const char *what, struct errmsg *em)
{
	return errmsg_set(em, e, "Is it a DicomAnonymizer script of CTP?",
	    "line %u: %s", x->line, what);
}

static int
xml_peek(const struct ctp_xml *x)
{
	return x->at < x->in.n ? x->in.p[x->at] : -1;
}

static int
xml_take(struct ctp_xml *x)
{
	int c = xml_peek(x);

	if (c >= 0)
		x->at++;
	if (c == '\n')
		x->line++;
	return c;
}

static bool
xml_starts(const struct ctp_xml *x, const char *s)
{
	size_t n = strlen(s);

	return x->in.n - x->at >= n && memcmp(x->in.p + x->at, s, n) == 0;
}

/* Past the next end; false: there is none. */
static bool
xml_skip_to(struct ctp_xml *x, const char *end)
{
	while (x->at < x->in.n && !xml_starts(x, end))
		(void)xml_take(x);
	if (x->at == x->in.n)
		return false;
	for (size_t n = strlen(end); n > 0; n--)
		(void)xml_take(x);
	return true;
}

static bool
xml_is_space(int c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void
xml_spaces(struct ctp_xml *x)
{
	while (xml_is_space(xml_peek(x)))
		(void)xml_take(x);
}

/* "lt", "#65", "#x41" behind '&' and up to ';'.  -1: none of these. */
static int
xml_entity(struct slice s)
{
	static const char *const names[] = { "lt", "gt", "amp", "quot",
		"apos" };
	static const char chars[] = "<>&\"'";
	uint64_t v = 0;

	for (size_t k = 0; k < 5; k++)
		if (slice_eq(s, slice_str(names[k])))
			return chars[k];
	if (s.n < 2 || s.p[0] != '#' ||
	    num_u64(slice_of(s.p + 1, s.n - 1), 1, 0x7E, &v) != ERR_OK)
		return -1;
	return (int)v;
}

/* Text up to, not with, the character stop. */
static bool
xml_text(struct ctp_xml *x, int stop, char out[CTP_TEXT_MAX + 1])
{
	size_t n = 0;
	int c;

	while ((c = xml_peek(x)) >= 0 && c != stop) {
		(void)xml_take(x);
		if (c == '&') {
			size_t from = x->at;

			while (xml_peek(x) >= 0 && xml_peek(x) != ';' &&
			       x->at - from < 8)
				(void)xml_take(x);
			c = xml_entity(slice_of(x->in.p + from, x->at - from));
			if (c < 0 || xml_take(x) != ';')
				return false;
		}
		if (c == 0 || n == CTP_TEXT_MAX)
			return false;
		out[n++] = (char)c;
	}
	out[n] = '\0';
	return c == stop;
}

static void
xml_name(struct ctp_xml *x, char out[16])
{
	size_t n = 0;
	int c;

	while ((c = xml_peek(x)) >= 0 && n < 15 &&
	       ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))) {
		out[n++] = (char)c;
		(void)xml_take(x);
	}
	out[n] = '\0';
}

/* Attributes up to '>' or '/'; those we do not know are passed over. */
static bool
xml_attributes(struct ctp_xml *x, struct ctp_elem *e)
{
	char skipped[CTP_TEXT_MAX + 1] = "";
	char name[16];
	char *to;
	int quote;

	for (;;) {
		xml_spaces(x);
		if (xml_peek(x) == '>' || xml_peek(x) == '/')
			return true;
		xml_name(x, name);
		xml_spaces(x);
		if (name[0] == '\0' || xml_take(x) != '=')
			return false;
		xml_spaces(x);
		quote = xml_take(x);
		if (quote != '"' && quote != '\'')
			return false;
		to = strcmp(name, "t") == 0   ? e->t
		     : strcmp(name, "n") == 0 ? e->n
					      : skipped;
		if (!xml_text(x, quote, to))
			return false;
		(void)xml_take(x);
		if (strcmp(name, "en") == 0)
			e->enabled = skipped[0] == 'T' || skipped[0] == 't';
	}
}

static enum err
xml_child(struct ctp_xml *x, struct ctp_elem *e, struct errmsg *em)
{
	char name[16], end[20];

	xml_name(x, name);
	if (strlen(name) != 1 || strchr("pekr", name[0]) == NULL)
		return xml_fail(x, ERR_MALFORMED, "no element of a script", em);
	e->kind = name[0];
	if (!xml_attributes(x, e))
		return xml_fail(
		    x, ERR_MALFORMED, "attributes are ill-formed or long", em);
	if (xml_take(x) == '/')
		return xml_take(x) == '>'
			   ? ERR_OK
			   : xml_fail(x, ERR_MALFORMED, "a lone /", em);
	if (!xml_text(x, '<', e->text))
		return xml_fail(
		    x, ERR_MALFORMED, "a text is ill-formed or long", em);
	(void)snprintf(end, sizeof(end), "</%s>", name);
	if (!xml_starts(x, end))
		return xml_fail(
		    x, ERR_MALFORMED, "an element holds another", em);
	(void)xml_skip_to(x, end);
	return ERR_OK;
}

/* What may stand between elements. */
static bool
xml_between(struct ctp_xml *x)
{
	for (;;) {
		xml_spaces(x);
		if (xml_starts(x, "<!--")) {
			if (!xml_skip_to(x, "-->"))
				return false;
		} else if (xml_starts(x, "<?xml")) {
			if (x->inside || !xml_skip_to(x, "?>"))
				return false;
		} else {
			return true;
		}
	}
}

enum err
ctp_xml_next(struct ctp_xml *x, struct ctp_elem *out, struct errmsg *em)
{
	*out = (struct ctp_elem){ 0 };
	if (x->at == 0 && xml_starts(x, "\xef\xbb\xbf"))
		x->at = 3;
	if (!xml_between(x))
		return xml_fail(x, ERR_MALFORMED, "a comment has no end", em);
	if (!x->inside) {
		if (!xml_starts(x, "<script>"))
			return xml_fail(
			    x, ERR_MALFORMED, "<script> is missing", em);
		(void)xml_skip_to(x, "<script>");
		x->inside = true;
		if (!xml_between(x))
			return xml_fail(
			    x, ERR_MALFORMED, "a comment has no end", em);
	}
	if (xml_starts(x, "</script>"))
		return ERR_NOTFOUND;
	out->line = x->line;
	if (xml_take(x) != '<')
		return xml_fail(
		    x, ERR_MALFORMED, "text where an element was due", em);
	return xml_child(x, out, em);
}
