/* store/catalog/query_parse.c: from text to a tree.
 *
 *   query  = [ or ]                     (empty: everything)
 *   or     = and { "or" and }
 *   and    = unary { "and" unary }
 *   unary  = "not" unary | "(" or ")" | test
 *   test   = name op value | "tag:" name [ "=" value ]
 *   name   = [ level "." ] field | level | id | share | compartment | created
 *        | retired
 *   op     = "=" | "!=" | "<" | "<=" | ">" | ">=" | "~"
 *
 * Values are words or quoted ("..." or '...', backslash escapes).  Length,
 * nodes and nesting are bounded; an error names its column. */
#include "store/catalog/query_internal.h"

enum tok { TOK_END, TOK_OPEN, TOK_CLOSE, TOK_OP, TOK_WORD, TOK_TEXT };

struct parser {
	struct cat_query *q;
	size_t n;   /* of q->text */
	size_t at;  /* next byte to read */
	size_t col; /* where the current token starts, from 0 */
	enum tok tok;
	enum query_op op;
	struct slice text; /* of a word or quoted text */
	uint32_t depth;
	struct errmsg *em;
	enum err err;
};

static bool
fail(struct parser *p, enum err e, const char *what)
{
	if (p->err == ERR_OK)
		p->err = errmsg_set(p->em, e,
		    "example: level=series and Modality=MR and tag:qc=passed",
		    "query, column %zu: %s", p->col + 1, what);
	return false;
}

/* --- tokens --- */

static bool
is_space(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool
is_word(uint8_t c)
{
	return c > ' ' && c != 0x7f && strchr("()\"'=!<>~", c) == NULL;
}

/* Unescapes in place: the text only gets shorter. */
static bool
lex_quoted(struct parser *p, uint8_t quote)
{
	uint8_t *text = p->q->text;
	size_t from = p->at;
	size_t to = from;

	while (p->at < p->n && text[p->at] != quote) {
		if (text[p->at] == '\\' && p->at + 1 < p->n)
			p->at++;
		if (text[p->at] == 0)
			return fail(p, ERR_MALFORMED, "a NUL byte");
		text[to++] = text[p->at++];
	}
	if (p->at == p->n)
		return fail(p, ERR_MALFORMED, "the quote is not closed");
	p->at++;
	p->tok = TOK_TEXT;
	p->text = slice_of(text + from, to - from);
	return true;
}

static bool
lex_op(struct parser *p, uint8_t c)
{
	bool eq = p->at < p->n && p->q->text[p->at] == '=';

	p->tok = TOK_OP;
	switch (c) {
	case '=': p->op = QOP_EQ; break;
	case '~':
		p->op = QOP_HAS;
		eq = false;
		break;
	case '<': p->op = eq ? QOP_LE : QOP_LT; break;
	case '>': p->op = eq ? QOP_GE : QOP_GT; break;
	default:
		p->op = QOP_NE;
		if (!eq)
			return fail(p, ERR_MALFORMED, "'!' without '='");
	}
	if (eq)
		p->at++;
	return true;
}

static bool
lex(struct parser *p)
{
	const uint8_t *text = p->q->text;
	uint8_t c;

	while (p->at < p->n && is_space(text[p->at]))
		p->at++;
	p->col = p->at;
	p->tok = TOK_END;
	if (p->at == p->n)
		return true;
	c = text[p->at++];
	if (c == '(' || c == ')') {
		p->tok = c == '(' ? TOK_OPEN : TOK_CLOSE;
		return true;
	}
	if (c == '"' || c == '\'')
		return lex_quoted(p, c);
	if (c == '=' || c == '!' || c == '<' || c == '>' || c == '~')
		return lex_op(p, c);
	if (!is_word(c))
		return fail(
		    p, ERR_MALFORMED, "a character that cannot be here");
	while (p->at < p->n && is_word(text[p->at]))
		p->at++;
	p->tok = TOK_WORD;
	p->text = slice_of(text + p->col, p->at - p->col);
	return true;
}

static uint8_t
lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c - 'A' + 'a') : c;
}

static bool
at_word(const struct parser *p, const char *word)
{
	size_t i, n = strlen(word);

	if (p->tok != TOK_WORD || p->text.n != n)
		return false;
	for (i = 0; i < n; i++) {
		if (lower(p->text.p[i]) != (uint8_t)word[i])
			return false;
	}
	return true;
}

/* --- nodes --- */

static struct query_node *
node_new(struct parser *p, enum query_kind kind, uint16_t *at)
{
	struct cat_query *q = p->q;
	struct query_node *n;

	if (q->n == QUERY_NODES_MAX) {
		(void)fail(p, ERR_LIMIT, "the query has too many parts");
		return NULL;
	}
	*at = (uint16_t)q->n;
	n = &q->nodes[q->n++];
	n->kind = kind;
	return n;
}

static bool
lit_take(struct parser *p, struct query_lit *lit)
{
	if (p->tok != TOK_WORD && p->tok != TOK_TEXT)
		return fail(p, ERR_MALFORMED, "a value is missing");
	if (p->text.n > CAT_VALUE_MAX)
		return fail(p, ERR_LIMIT, "the value is too long");
	lit->text = p->text;
	lit->quoted = p->tok == TOK_TEXT;
	val_of_text(lit->text, &lit->v);
	lit->num_ok = lit->text.n > 0 && lit->text.n <= 64 &&
		      num_f64(lit->text, &lit->num) == ERR_OK;
	lit->dated = lit->v.iso || (!lit->quoted && lit->v.date[0] != '\0');
	return lex(p);
}

static enum query_of
pseudo(struct slice name)
{
	if (slice_eq(name, SLICE_LIT("level")))
		return OF_LEVEL;
	if (slice_eq(name, SLICE_LIT("id")))
		return OF_ID;
	if (slice_eq(name, SLICE_LIT("share")))
		return OF_SHARE;
	if (slice_eq(name, SLICE_LIT("compartment")))
		return OF_COMPARTMENT;
	if (slice_eq(name, SLICE_LIT("created")))
		return OF_CREATED;
	if (slice_eq(name, SLICE_LIT("retired")))
		return OF_RETIRED;
	return OF_FIELD;
}

static bool
field_word(struct slice s)
{
	size_t i;

	if (s.n == 0 || s.n > CAT_FIELD_MAX)
		return false;
	for (i = 0; i < s.n; i++) {
		uint8_t c = lower(s.p[i]);

		if (!((c >= 'a' && c <= 'z') || c == '_' ||
			(i > 0 && ((c >= '0' && c <= '9') || c == '-'))))
			return false;
	}
	return true;
}

static bool
name_take(struct parser *p, struct query_node *n)
{
	const uint8_t *dot = memchr(p->text.p, '.', p->text.n);
	struct slice field = p->text;
	char level[CAT_LEVEL_MAX + 1] = "";

	if (dot != NULL) {
		size_t k = (size_t)(dot - p->text.p);

		if (k > CAT_LEVEL_MAX)
			return fail(p, ERR_MALFORMED, "not a level");
		memcpy(level, p->text.p, k);
		if (!level_valid(level))
			return fail(p, ERR_MALFORMED, "not a level");
		field = slice_of(dot + 1, p->text.n - k - 1);
	}
	if (!field_word(field))
		return fail(p, ERR_MALFORMED, "not a field name");
	n->of = dot == NULL ? pseudo(field) : OF_FIELD;
	field_hash(field, &n->field);
	memcpy(n->level, level_canonical(level),
	    strlen(level_canonical(level)) + 1);
	return lex(p);
}

static bool
retired_check(struct parser *p, struct query_node *n)
{
	p->q->says_retired = true;
	if (n->op != QOP_EQ && n->op != QOP_NE)
		return fail(p, ERR_MALFORMED, "retired takes = or !=");
	if (!slice_eq(n->lit.text, SLICE_LIT("true")) &&
	    !slice_eq(n->lit.text, SLICE_LIT("false")))
		return fail(p, ERR_MALFORMED, "retired is true or false");
	return true;
}

/* Literals of the fields that every asset has. */
static bool
pseudo_check(struct parser *p, struct query_node *n)
{
	bool equality = n->op == QOP_EQ || n->op == QOP_NE;

	if (n->of == OF_LEVEL && slice_eq(n->lit.text, SLICE_LIT("study"))) {
		n->lit.text = SLICE_LIT("project");
		val_of_text(n->lit.text, &n->lit.v);
	}
	p->q->says_context |=
	    n->of == OF_ID ||
	    (n->of == OF_LEVEL &&
		slice_eq(n->lit.text, SLICE_LIT(CAT_LEVEL_CONTEXT)));
	if (n->of == OF_RETIRED)
		return retired_check(p, n);
	if (n->of != OF_ID && n->of != OF_SHARE)
		return true;
	if (!equality)
		return fail(p, ERR_MALFORMED, "id and share take = or !=");
	if (n->lit.text.n < QUERY_PREFIX_MIN || n->lit.text.n > 64)
		return fail(
		    p, ERR_MALFORMED, "an id is given by 8 characters or more");
	return true;
}

static bool
parse_cmp(struct parser *p, uint16_t *out)
{
	struct query_node *n = node_new(p, QUERY_CMP, out);
	size_t col, next;

	if (n == NULL || !name_take(p, n))
		return false;
	if (p->tok != TOK_OP)
		return fail(p, ERR_MALFORMED,
		    "a comparison (= != < <= > >= ~) is missing");
	n->op = p->op;
	if (!lex(p))
		return false;
	col = p->col;
	if (!lit_take(p, &n->lit))
		return false;
	n->has_lit = true;
	next = p->col;
	p->col = col; /* what is wrong with the literal is wrong there */
	if (!pseudo_check(p, n))
		return false;
	p->col = next;
	return true;
}

static bool
parse_tag(struct parser *p, uint16_t *out)
{
	struct query_node *n = node_new(p, QUERY_TAG, out);

	if (n == NULL)
		return false;
	n->tag = slice_of(p->text.p + 4, p->text.n - 4);
	if (n->tag.n == 0 || n->tag.n > PUT_TAG_BYTES)
		return fail(p, ERR_MALFORMED, "tag:NAME needs a name");
	if (!lex(p))
		return false;
	if (p->tok != TOK_OP)
		return true;
	if (p->op != QOP_EQ)
		return fail(p, ERR_MALFORMED,
		    "a tag takes '=' (or: not tag:NAME=VALUE)");
	n->has_lit = true;
	return lex(p) && lit_take(p, &n->lit);
}

/* --- grammar; recursion is bounded by p->depth --- */

static bool parse_or(struct parser *p, uint16_t *out);

static bool
parse_nested(struct parser *p, uint16_t *out)
{
	if (!lex(p) || !parse_or(p, out))
		return false;
	if (p->tok != TOK_CLOSE)
		return fail(p, ERR_MALFORMED, "')' is missing");
	return lex(p);
}

static bool parse_not(struct parser *p, uint16_t *out);

static bool
parse_unary(struct parser *p, uint16_t *out)
{
	bool ok;

	if (++p->depth > QUERY_DEPTH_MAX)
		return fail(p, ERR_LIMIT, "nested too deeply");
	if (p->tok == TOK_OPEN)
		ok = parse_nested(p, out);
	else if (p->tok != TOK_WORD)
		ok = fail(p, ERR_MALFORMED, "a field, a tag or '(' is missing");
	else if (at_word(p, "not"))
		ok = parse_not(p, out);
	else if (p->text.n >= 4 && memcmp(p->text.p, "tag:", 4) == 0)
		ok = parse_tag(p, out);
	else
		ok = parse_cmp(p, out);
	p->depth--;
	return ok;
}

static bool
parse_not(struct parser *p, uint16_t *out)
{
	struct query_node *n;
	uint16_t a = 0;

	if (!lex(p) || !parse_unary(p, &a))
		return false;
	n = node_new(p, QUERY_NOT, out);
	if (n != NULL)
		n->a = a;
	return n != NULL;
}

static bool
join(struct parser *p, enum query_kind kind, uint16_t *left, uint16_t right)
{
	uint16_t at = 0;
	struct query_node *n = node_new(p, kind, &at);

	if (n == NULL)
		return false;
	n->a = *left;
	n->b = right;
	*left = at;
	return true;
}

static bool
parse_and(struct parser *p, uint16_t *out)
{
	uint16_t right = 0;

	if (!parse_unary(p, out))
		return false;
	while (at_word(p, "and")) {
		if (!lex(p) || !parse_unary(p, &right) ||
		    !join(p, QUERY_AND, out, right))
			return false;
	}
	return true;
}

static bool
parse_or(struct parser *p, uint16_t *out)
{
	uint16_t right = 0;

	if (!parse_and(p, out))
		return false;
	while (at_word(p, "or")) {
		if (!lex(p) || !parse_and(p, &right) ||
		    !join(p, QUERY_OR, out, right))
			return false;
	}
	return true;
}

static bool
parse_whole(struct parser *p)
{
	struct cat_query *q = p->q;

	if (!lex(p))
		return false;
	if (p->tok == TOK_END)
		return node_new(p, QUERY_ALL, &q->root) != NULL;
	if (!parse_or(p, &q->root))
		return false;
	if (p->tok != TOK_END)
		return fail(
		    p, ERR_MALFORMED, "'and' or 'or' is missing before this");
	return true;
}

void
cat_query_free(struct cat_query *q)
{
	if (q == NULL)
		return;
	mem_free(q->text);
	mem_free(q->nodes);
	mem_free(q);
}

enum err
cat_query_parse(struct slice text, struct cat_query **out, struct errmsg *em)
{
	struct parser p = { .n = text.n, .em = em };
	struct cat_query *q;

	if (text.n > QUERY_TEXT_MAX)
		return errmsg_set(
		    em, ERR_LIMIT, "ask in parts", "the query is too long");
	q = mem_new(sizeof(*q));
	if (q == NULL)
		return ERR_NOMEM;
	q->text = mem_new(text.n + 1);
	q->nodes = mem_array(QUERY_NODES_MAX, sizeof(*q->nodes));
	if (q->text == NULL || q->nodes == NULL) {
		cat_query_free(q);
		return ERR_NOMEM;
	}
	if (text.n > 0)
		memcpy(q->text, text.p, text.n);
	p.q = q;
	if (!parse_whole(&p)) {
		cat_query_free(q);
		return p.err;
	}
	*out = q;
	return ERR_OK;
}
