/* cli/ctp.c: a script's elements -> rules of a profile.
 *
 * Happy path: all checked elements are read; from what the script does to the
 * attributes of each option of PS3.15 annex E follows which options can be
 * claimed; then each element becomes a rule, if table_refusal() lets it, and
 * is told.  The profile extends basic: what the script does not say is done
 * by the standard's table, where CTP would leave it. */
#include "cli/ctp.h"

#include <stdio.h>

#include "store/base/mem.h"

struct ctp_rule {
	uint32_t line;
	uint32_t tag;
	const struct dict_row *row; /* NULL: private, or unknown to PS3.6 */
	struct ctp_act act;
	bool dead; /* named again below */
	char creator[TABLE_TEXT_MAX + 1];
	char name[72];
	char said[120];
};

struct ctp {
	struct ctp_param params[CTP_PARAMS_MAX];
	uint32_t n_params;
	struct ctp_rule *rules;
	uint32_t n_rules, cap;
	uint32_t options;
	bool groups[3]; /* 0018, 0020, 0028 are kept */
	bool telling;   /* second pass: of globals only */
	ctp_line_fn fn;
	void *ctx;
	struct buf *yaml;
	struct errmsg *em;
};

/* --- reading --- */

static bool
hex_take(const char **s, uint32_t digits, uint32_t *v)
{
	for (; digits > 0; digits--, (*s)++) {
		uint32_t d;

		if (**s >= '0' && **s <= '9')
			d = (uint32_t)(**s - '0');
		else if (**s >= 'a' && **s <= 'f')
			d = (uint32_t)(**s - 'a') + 10;
		else if (**s >= 'A' && **s <= 'F')
			d = (uint32_t)(**s - 'A') + 10;
		else
			return false;
		*v = *v << 4 | d;
	}
	return true;
}

/* ggggeeee, (gggg,eeee), [gggg,eeee], gggg[BLOCK]ee, gggg00[BLOCK]. */
static bool
tag_read(const char *s, struct ctp_rule *r)
{
	uint32_t group = 0, element = 0;
	const char *end;

	if (*s == '(' || *s == '[')
		s++;
	if (!hex_take(&s, 4, &group))
		return false;
	if (*s == ',')
		s++;
	if (*s != '[' &&
	    !hex_take(&s, *s == '0' && s[2] == '[' ? 2 : 4, &element))
		return false;
	r->tag = group << 16 | element;
	if (*s != '[')
		return true;
	end = strrchr(s, ']');
	if (end == NULL || end == s + 1 || end - s - 1 > (int)TABLE_TEXT_MAX)
		return false;
	(void)snprintf(
	    r->creator, sizeof(r->creator), "%.*s", (int)(end - s - 1), s + 1);
	s = end + 1;
	if (*s != '\0' && !hex_take(&s, 2, &element))
		return false;
	r->tag = group << 16 | (element & 0xFFu);
	return *s == '\0';
}

static enum err
rule_read(struct ctp *c, const struct ctp_elem *e)
{
	struct ctp_rule *r;

	if (c->n_rules == CTP_ELEMS_MAX)
		return errmsg_set(c->em, ERR_LIMIT, "Split it.",
		    "line %u: more than %u elements", e->line, CTP_ELEMS_MAX);
	if (c->n_rules == c->cap) {
		c->cap = c->cap == 0 ? 256 : c->cap * 2;
		r = mem_grow(c->rules, c->cap, sizeof(*r));
		if (r == NULL)
			return errmsg_set(c->em, ERR_NOMEM, "", "no memory");
		c->rules = r;
	}
	r = &c->rules[c->n_rules];
	*r = (struct ctp_rule){ .line = e->line };
	(void)snprintf(r->said, sizeof(r->said), "%.119s", e->text);
	(void)snprintf(r->name, sizeof(r->name), "%.71s", e->n);
	if (!tag_read(e->t, r))
		return errmsg_set(c->em, ERR_MALFORMED,
		    "Is it a DicomAnonymizer script of CTP?",
		    "line %u: this is no tag", e->line);
	if (r->creator[0] == '\0')
		r->row = dict_find(r->tag);
	if (r->row != NULL)
		(void)snprintf(
		    r->name, sizeof(r->name), "%s", dict_keyword(r->row));
	ctp_expr(e->text, c->params, c->n_params, &r->act);
	for (uint32_t k = 0; k < c->n_rules; k++)
		if (c->rules[k].tag == r->tag &&
		    strcmp(c->rules[k].creator, r->creator) == 0)
			c->rules[k].dead = true;
	c->n_rules++;
	return ERR_OK;
}

static enum err
param_read(struct ctp *c, const struct ctp_elem *e)
{
	struct ctp_param *p;

	if (c->n_params == CTP_PARAMS_MAX)
		return errmsg_set(c->em, ERR_LIMIT, "Split it.",
		    "line %u: more than %u parameters", e->line,
		    CTP_PARAMS_MAX);
	p = &c->params[c->n_params++];
	(void)snprintf(p->name, sizeof(p->name), "%.63s", e->t);
	(void)snprintf(p->value, sizeof(p->value), "%.64s", e->text);
	p->is_long = strlen(e->text) > TABLE_TEXT_MAX;
	return ERR_OK;
}

static void
tell_global(struct ctp *c, const struct ctp_elem *e, bool lost, const char *did)
{
	struct ctp_line l = { .line = e->line,
		.lost = lost,
		.element = e->t,
		.name = e->kind == 'k' ? "keep group" : "remove",
		.said = e->enabled ? "checked" : "not checked",
		.did = did };

	if (c->telling)
		c->fn(c->ctx, &l);
}

static void
global_read(struct ctp *c, const struct ctp_elem *e)
{
	static const char *const groups[] = { "0018", "0020", "0028" };

	for (size_t k = 0; e->kind == 'k' && k < 3; k++) {
		if (strcmp(e->t, groups[k]) != 0)
			continue;
		c->groups[k] = e->enabled;
		if (e->enabled)
			tell_global(c, e, false,
			    "kept, but for what cannot be: see below");
		return;
	}
	if (e->kind == 'k') {
		if (e->enabled)
			tell_global(c, e, true, "not done: name its elements");
		return;
	}
	if (strcmp(e->t, "privategroups") == 0)
		tell_global(c, e, !e->enabled,
		    e->enabled ? "done" : "private elements go unless named");
	else if (strcmp(e->t, "curves") == 0 || strcmp(e->t, "overlays") == 0)
		tell_global(
		    c, e, !e->enabled, e->enabled ? "done" : "they go anyway");
	else
		tell_global(c, e, true,
		    "what the script does not name is done by PS3.15 E.1-1 "
		    "and the keep set");
}

static enum err
script_read(struct ctp *c, struct ctp_xml *x)
{
	struct ctp_elem *e = mem_new(sizeof(*e));
	enum err err = e == NULL ? ERR_NOMEM : ERR_OK;

	while (err == ERR_OK) {
		err = ctp_xml_next(x, e, c->em);
		if (err != ERR_OK)
			break;
		if (e->kind == 'p' && !c->telling)
			err = param_read(c, e);
		else if (e->kind == 'e' && e->enabled && !c->telling)
			err = rule_read(c, e);
		else if (e->kind == 'k' || e->kind == 'r')
			global_read(c, e);
	}
	mem_free(e);
	return err == ERR_NOTFOUND ? ERR_OK : err;
}

/* --- options --- */

/* All attributes of the flag that the script names are kept, and some are. */
static bool
all_kept(const struct ctp *c, uint16_t flag)
{
	uint32_t kept = 0;

	for (uint32_t k = 0; k < c->n_rules; k++) {
		const struct ctp_rule *r = &c->rules[k];

		if (r->row == NULL || (r->row->flags & flag) == 0 || r->dead)
			continue;
		if (r->act.action != TABLE_KEEP)
			return false;
		kept += r->row->vr != VR_TM;
	}
	return kept > 0;
}

static void
choose_options(struct ctp *c)
{
	bool moved = false;

	for (uint32_t k = 0; k < c->n_rules; k++)
		moved = moved || (c->rules[k].act.action == TABLE_DATE &&
				     c->rules[k].row != NULL);
	if (moved)
		c->options |= TABLE_OPT_DATES;
	else if (all_kept(c, DICT_DATE))
		c->options |= TABLE_OPT_FULL_DATES;
	if (all_kept(c, DICT_PAT))
		c->options |= TABLE_OPT_PATIENT;
	if (all_kept(c, DICT_DEV))
		c->options |= TABLE_OPT_DEVICE;
	if (all_kept(c, DICT_INST))
		c->options |= TABLE_OPT_INST;
}

static void
put_head(struct ctp *c)
{
	const struct table_option *o;
	const char *comma = "";

	buf_put_str(c->yaml,
	    "# Made of a CTP script by pesscara deid import.  CTP leaves what "
	    "a script does\n"
	    "# not check; here the table of PS3.15 and the keep set decide on "
	    "it.\n"
	    "extends: basic\n");
	if (c->options == 0)
		return;
	buf_put_str(c->yaml, "options: [");
	for (uint32_t i = 0; (o = table_option_at(i)) != NULL; i++) {
		if ((o->bit & c->options) == 0)
			continue;
		buf_printf(c->yaml, "%s%s", comma, o->code);
		comma = ", ";
	}
	buf_put_str(c->yaml, "]\n");
}

/* --- rules --- */

static void
tell(struct ctp *c, const struct ctp_rule *r, bool lost, const char *did,
    const char *more)
{
	char element[TABLE_TEXT_MAX + 24], text[240];
	struct ctp_line l = { .line = r->line,
		.lost = lost,
		.element = element,
		.name = r->name,
		.said = r->said,
		.did = text };

	if (r->creator[0] != '\0')
		(void)snprintf(element, sizeof(element), "%04x[%s]%02x",
		    r->tag >> 16, r->creator, r->tag & 0xFFu);
	else
		(void)snprintf(element, sizeof(element), "(%04x,%04x)",
		    r->tag >> 16, r->tag & 0xFFFFu);
	(void)snprintf(text, sizeof(text), "%s%s%s", did,
	    more[0] != '\0' ? ": " : "", more);
	c->fn(c->ctx, &l);
}

/* What the program does by itself; NULL: it is not that. */
static const char *
done_anyway(const struct ctp_rule *r)
{
	enum table_action a = r->act.action;

	if (r->tag == 0x00100010 || r->tag == 0x00100020)
		return a != TABLE_KEEP ? "it becomes the pseudonym" : NULL;
	if (r->tag >= 0x00120062 && r->tag <= 0x00120064)
		return "the program writes what it did";
	if (r->tag == 0x00080018 || r->tag == 0x0020000D ||
	    r->tag == 0x0020000E)
		return a == TABLE_UID ? "UIDs are replaced anyway" : NULL;
	if (table_locked(r->tag))
		return a == TABLE_KEEP ? "it is kept anyway" : NULL;
	if (r->creator[0] == '\0' && r->row == NULL &&
	    (a == TABLE_REMOVE || a == TABLE_EMPTY))
		return "it goes anyway";
	if (r->tag >> 24 == 0x50 || r->tag >> 24 == 0x60)
		return a == TABLE_REMOVE ? "it goes anyway" : NULL;
	return NULL;
}

/* Under an option the rule would say again what the option does. */
static bool
option_does(const struct ctp *c, const struct ctp_rule *r)
{
	bool date = r->row != NULL && (r->row->flags & DICT_DATE) != 0;

	if ((c->options & TABLE_OPT_DATES) == 0 || !date)
		return false;
	return r->act.action == TABLE_DATE ||
	       (r->act.action == TABLE_KEEP && r->row->vr == VR_TM);
}

static void
put_key(struct ctp *c, const struct ctp_rule *r)
{
	buf_put_str(c->yaml, "  '");
	if (r->creator[0] == '\0') {
		buf_printf(
		    c->yaml, "(%04x,%04x)", r->tag >> 16, r->tag & 0xFFFFu);
	} else {
		buf_printf(c->yaml, "%04x[", r->tag >> 16);
		for (const char *s = r->creator; *s != '\0'; s++) {
			if (*s == '\'')
				buf_u8(c->yaml, '\'');
			buf_u8(c->yaml, (uint8_t)*s);
		}
		buf_printf(c->yaml, "]%02x", r->tag & 0xFFu);
	}
	buf_put_str(c->yaml, "': ");
}

static void
put_rule(struct ctp *c, const struct ctp_rule *r)
{
	enum table_action a = r->act.action;

	put_key(c, r);
	if (a == TABLE_REPLACE || a == TABLE_SET) {
		buf_printf(c->yaml, "{%s: \"", table_action_word(a));
		for (const char *s = r->act.value; *s != '\0'; s++) {
			if (*s == '"')
				buf_u8(c->yaml, '\\');
			buf_u8(c->yaml, (uint8_t)*s);
		}
		buf_put_str(c->yaml, "\"}");
	} else {
		buf_put_str(c->yaml, table_action_word(a));
	}
	if (r->row != NULL)
		buf_printf(c->yaml, " # %s", dict_keyword(r->row));
	buf_put_str(c->yaml, "\n");
}

static bool
is_creator(const char *s)
{
	for (; *s != '\0'; s++)
		if (*s < ' ' || *s > '~')
			return false;
	return true;
}

static void
private_done(struct ctp *c, const struct ctp_rule *r)
{
	if ((r->tag & 0xFFu) == 0) {
		tell(c, r, r->act.action != TABLE_REMOVE, "by its block",
		    "a creator stays with what is kept of its block");
	} else if (r->act.action == TABLE_REMOVE && is_creator(r->creator)) {
		put_rule(c, r);
		tell(c, r, false, "remove", "");
	} else if (r->act.action == TABLE_KEEP) {
		tell(c, r, true, "removed",
		    "add {keep: VR} by hand and option 113111");
	} else {
		tell(c, r, true, "removed",
		    "a private element is kept or removed");
	}
}

static void
rule_done(struct ctp *c, const struct ctp_rule *r)
{
	const char *why = done_anyway(r);

	if (r->dead) {
		tell(c, r, true, "not done", "it is named again below");
	} else if (why != NULL) {
		tell(c, r, false, why, "");
	} else if (r->creator[0] != '\0') {
		private_done(c, r);
	} else if (r->row == NULL) {
		tell(c, r, true, "removed",
		    r->tag >> 16 & 1 ? "a private element without its creator"
				     : "PS3.6 has no such attribute");
	} else if (r->act.action == 0) {
		tell(c, r, true, "by the table", r->act.why);
	} else if (option_does(c, r)) {
		tell(c, r, false, "done under 113107", r->act.note);
	} else if ((why = table_refusal(c->options, r->row, r->act.action,
			r->act.value)) != NULL) {
		tell(c, r, true, "by the table", why);
	} else {
		put_rule(c, r);
		tell(
		    c, r, false, table_action_word(r->act.action), r->act.note);
	}
}

static void
put_groups(struct ctp *c)
{
	static const char *const keys[] = { "(0018,xxxx)", "(0020,xxxx)",
		"(0028,xxxx)" };

	for (size_t k = 0; k < 3; k++)
		if (c->groups[k])
			buf_printf(c->yaml, "  '%s': keep\n", keys[k]);
}

enum err
ctp_script(struct slice in, ctp_line_fn fn, void *ctx, struct buf *yaml,
    struct errmsg *em)
{
	struct ctp_xml x = { .in = in, .line = 1 };
	struct ctp *c;
	enum err e;

	if (in.n > CTP_BYTES_MAX)
		return errmsg_set(em, ERR_LIMIT, "", "above 4 MiB");
	c = mem_new(sizeof(*c));
	if (c == NULL)
		return errmsg_set(em, ERR_NOMEM, "", "out of memory");
	c->fn = fn;
	c->ctx = ctx;
	c->yaml = yaml;
	c->em = em;
	e = script_read(c, &x);
	if (e == ERR_OK) {
		choose_options(c);
		put_head(c);
		buf_put_str(yaml, "rules:\n");
		put_groups(c);
		for (uint32_t k = 0; k < c->n_rules; k++)
			rule_done(c, &c->rules[k]);
		x = (struct ctp_xml){ .in = in, .line = 1 };
		c->telling = true;
		e = script_read(c, &x);
		if (buf_err(yaml) == ERR_OK && yaml->n > 7 &&
		    memcmp(yaml->p + yaml->n - 7, "rules:\n", 7) == 0)
			yaml->n -= 7;
		if (e == ERR_OK)
			e = buf_err(yaml);
	}
	mem_free(c->rules);
	mem_free(c);
	return e;
}
