/* cli/ctp_expr.c: the little language of a CTP script, element by element.
 *
 * A script is a text, a call, or texts and @param calls in a row, behind an
 * optional @always().  @if and @select have two branches in braces: they can
 * be done only where both come to the same.  All else is told as such. */
#include <stdio.h>

#include "cli/ctp.h"

struct ctp_call {
	char name[24];
	struct slice args;
};

/* Index behind the bracket that closes the one at s[at]; 0: none.  Quotes
 * hide brackets. */
static size_t
close_of(struct slice s, size_t at)
{
	uint8_t open = s.p[at], close = open == '(' ? ')' : '}';
	uint32_t depth = 0;
	bool quoted = false;

	for (size_t k = at; k < s.n; k++) {
		if (s.p[k] == '"')
			quoted = !quoted;
		if (quoted)
			continue;
		depth += s.p[k] == open;
		if (s.p[k] == close && --depth == 0)
			return k + 1;
	}
	return 0;
}

/* "@name(args)" at the start of *s, which moves behind it. */
static bool
take_call(struct slice *s, struct ctp_call *out)
{
	size_t n = 0, end;

	*out = (struct ctp_call){ 0 };
	if (s->n < 3 || s->p[0] != '@')
		return false;
	while (1 + n < s->n && s->p[1 + n] != '(') {
		if (n == sizeof(out->name) - 1 || s->p[1 + n] < 'A' ||
		    s->p[1 + n] > 'z')
			return false;
		out->name[n] = (char)s->p[1 + n];
		n++;
	}
	if (1 + n >= s->n)
		return false;
	end = close_of(*s, 1 + n);
	if (end == 0)
		return false;
	out->args = slice_of(s->p + 2 + n, end - 3 - n);
	*s = slice_of(s->p + end, s->n - end);
	return true;
}

static bool
take_braces(struct slice *s, struct slice *out)
{
	size_t end = s->n > 0 && s->p[0] == '{' ? close_of(*s, 0) : 0;

	if (end == 0)
		return false;
	*out = slice_of(s->p + 1, end - 2);
	*s = slice_of(s->p + end, s->n - end);
	return true;
}

static void
cannot(struct ctp_act *out, const char *why)
{
	*out = (struct ctp_act){ .why = why, .note = "" };
}

static void
plain(struct ctp_act *out, enum table_action a, const char *note)
{
	*out = (struct ctp_act){ .action = a, .why = "", .note = note };
}

/* Functions that stand alone. */
static const struct {
	const char *name;
	enum table_action action;
	const char *note; /* or why not, if there is no action */
} functions[] = {
	{ "keep", TABLE_KEEP, "" },
	{ "remove", TABLE_REMOVE, "" },
	{ "empty", TABLE_EMPTY, "" },
	{ "blank", TABLE_EMPTY, "emptied, not filled with spaces" },
	{ "require", TABLE_KEEP, "kept where it is there, not made" },
	{ "process", TABLE_KEEP, "" },
	{ "hashuid", TABLE_UID, "" },
	{ "incrementdate", TABLE_DATE, "by the days of the subject" },
	{ "modifydate", TABLE_DATE, "by the days of the subject" },
	{ "hashdate", TABLE_DATE, "by the days of the subject" },
	{ "hash", 0, "hashes of identifiers are not offered" },
	{ "hashname", 0, "hashes of identifiers are not offered" },
	{ "hashptid", 0, "hashes of identifiers are not offered" },
	{ "lookup", 0, "only the patient is looked up: deid import --lookup" },
	{ "contents", 0, "parts of the value cannot be replaced" },
	{ "value", 0, "a value cannot come from another element" },
	{ "truncate", 0, "parts of the value cannot be kept" },
	{ "initials", 0, "initials identify" },
	{ "scramble", 0, "a scrambled value identifies" },
	{ "alphahash", 0, "hashes of identifiers are not offered" },
	{ "numerichash", 0, "hashes of identifiers are not offered" },
	{ "append", 0, "values cannot be added" },
	{ "integer", 0, "numbering is not offered" },
	{ "date", 0, "the time of intake is not written" },
	{ "time", 0, "the time of intake is not written" },
	{ "dateinterval", 0, "intervals are not offered" },
	{ "round", 0, "rounding is not offered" },
	{ "lowercase", 0, "case cannot be changed" },
	{ "uppercase", 0, "case cannot be changed" },
	{ "quarantine", 0, "classes are held for a person, see the findings" },
	{ "skip", 0, "an object is held or released as a whole" },
	{ "call", 0, "no program of another's is called" },
};

static void
one_call(const struct ctp_call *c, struct ctp_act *out)
{
	for (size_t k = 0; k < sizeof(functions) / sizeof(functions[0]); k++) {
		if (strcmp(functions[k].name, c->name) != 0)
			continue;
		if (functions[k].action == 0)
			cannot(out, functions[k].note);
		else
			plain(out, functions[k].action, functions[k].note);
		return;
	}
	cannot(out, "no such function is known here");
}

static bool
add_value(struct ctp_act *out, const char *text, size_t n)
{
	size_t have = strlen(out->value);

	if (have + n > TABLE_TEXT_MAX)
		return false;
	memcpy(out->value + have, text, n);
	out->value[have + n] = '\0';
	return true;
}

static bool
add_param(struct ctp_act *out, struct slice name,
    const struct ctp_param *params, uint32_t n)
{
	if (name.n > 0 && name.p[0] == '@')
		name = slice_of(name.p + 1, name.n - 1);
	for (uint32_t k = 0; k < n; k++)
		if (slice_eq(name, slice_str(params[k].name)))
			return !params[k].is_long &&
			       add_value(out, params[k].value,
				   strlen(params[k].value));
	return false;
}

/* Texts and parameters in a row. */
static void
make_value(struct slice s, const struct ctp_param *params, uint32_t n,
    struct ctp_act *out)
{
	struct ctp_call c;
	bool fits = true;

	*out =
	    (struct ctp_act){ .action = TABLE_REPLACE, .why = "", .note = "" };
	while (s.n > 0 && fits) {
		if (s.p[0] != '@') {
			fits = add_value(out, (const char *)s.p, 1);
			s = slice_of(s.p + 1, s.n - 1);
			continue;
		}
		if (!take_call(&s, &c) || strcmp(c.name, "param") != 0) {
			cannot(out, "only texts and parameters make a value");
			return;
		}
		fits = add_param(out, c.args, params, n);
	}
	if (!fits)
		cannot(out, "a parameter is missing, or the value is longer "
			    "than 64 characters");
}

static bool
same_act(const struct ctp_act *a, const struct ctp_act *b)
{
	return a->action == b->action && a->action != 0 &&
	       strcmp(a->value, b->value) == 0;
}

static void expr(struct slice s, const struct ctp_param *params, uint32_t n,
    uint32_t depth, struct ctp_act *out);

static void
two_branches(struct slice rest, const struct ctp_param *params, uint32_t n,
    uint32_t depth, struct ctp_act *out)
{
	struct slice yes, no = { 0 };
	struct ctp_act other;

	if (depth == CTP_NEST_MAX || !take_braces(&rest, &yes) ||
	    !take_braces(&rest, &no) || rest.n > 0) {
		cannot(out, "its two branches in braces are not understood");
		return;
	}
	expr(yes, params, n, depth + 1, out);
	expr(no, params, n, depth + 1, &other);
	if (!same_act(out, &other))
		cannot(out, "it depends on what the object says");
}

static struct slice
trim(struct slice s)
{
	while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\n' || s.p[0] == '\r' ||
			      s.p[0] == '\t'))
		s = slice_of(s.p + 1, s.n - 1);
	while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\n' ||
			      s.p[s.n - 1] == '\r' || s.p[s.n - 1] == '\t'))
		s.n--;
	return s;
}

static void
expr(struct slice s, const struct ctp_param *params, uint32_t n, uint32_t depth,
    struct ctp_act *out)
{
	struct slice rest = s = trim(s);
	struct ctp_call c;

	if (s.n == 0) {
		plain(out, TABLE_EMPTY, "");
		return;
	}
	if (!take_call(&rest, &c)) {
		make_value(s, params, n, out);
		return;
	}
	if (strcmp(c.name, "if") == 0 || strcmp(c.name, "select") == 0)
		two_branches(rest, params, n, depth, out);
	else if (rest.n > 0 ? rest.p[0] == '{' /* @append(){..} */
			    : strcmp(c.name, "param") != 0)
		one_call(&c, out);
	else
		make_value(s, params, n, out);
}

void
ctp_expr(const char *script, const struct ctp_param *params, uint32_t n_params,
    struct ctp_act *out)
{
	const struct slice mark = SLICE_LIT("@always()");
	struct slice s = trim(slice_str(script));
	bool always = s.n >= mark.n && memcmp(s.p, mark.p, mark.n) == 0;

	if (always)
		s = slice_of(s.p + mark.n, s.n - mark.n);
	expr(s, params, n_params, 0, out);
	if (always && out->action == TABLE_REPLACE)
		out->action = TABLE_SET;
	else if (always && out->action != 0 && out->note[0] == '\0')
		out->note = "where it is there";
}
