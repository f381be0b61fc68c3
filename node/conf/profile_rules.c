/* node/conf/profile_rules.c: elements, actions and options of a profile.
 *
 * Each attribute of the dictionary has a slot: the most exact rule that names
 * it wins, of two equal ones the one read last (the child's, or the lower).
 * A pattern is spelt out here, so that the helper gets plain tags only; where
 * it meets an attribute to which its action cannot be done, it passes it by.
 * A rule for one attribute that cannot be done is an error. */
#include "node/conf/profile_internal.h"

#include <stdio.h>
#include <strings.h>

/* --- elements --- */

/* Hex digits, x for any; false: something else. */
static bool
hex_digits(const char *s, uint32_t n, struct prof_key *k)
{
	for (uint32_t i = 0; i < n; i++) {
		uint32_t v;

		k->tag <<= 4;
		k->mask <<= 4;
		if (s[i] == 'x' || s[i] == 'X') {
			k->xs++;
			continue;
		}
		if (s[i] >= '0' && s[i] <= '9')
			v = (uint32_t)(s[i] - '0');
		else if (s[i] >= 'a' && s[i] <= 'f')
			v = (uint32_t)(s[i] - 'a') + 10;
		else if (s[i] >= 'A' && s[i] <= 'F')
			v = (uint32_t)(s[i] - 'A') + 10;
		else
			return false;
		k->tag |= v;
		k->mask |= 15u;
	}
	return true;
}

/* gggg[CREATOR]ee, behind the group. */
static bool
private_rest(const char *s, struct prof_key *k, char *why, size_t cap)
{
	const char *end = strrchr(s, ']');
	size_t n = end != NULL ? (size_t)(end - s) - 1 : 0;

	if (n == 0 || n > TABLE_TEXT_MAX || strlen(end + 1) != 2 ||
	    !hex_digits(end + 1, 2, k) || k->xs > 0 || (k->tag >> 8) % 2 == 0) {
		(void)snprintf(why, cap,
		    "a private element is written gggg[CREATOR]ee with an odd "
		    "group");
		return false;
	}
	k->tag = k->tag >> 8 << 16 | (k->tag & 0xFFu);
	(void)snprintf(k->creator, sizeof(k->creator), "%.*s", (int)n, s + 1);
	return true;
}

static void
say_nearest(const char *text, char *why, size_t cap)
{
	const struct dict_row *d;
	const char *best = "";
	uint32_t least = UINT32_MAX;

	for (uint32_t i = 0; (d = dict_at(i)) != NULL; i++) {
		uint32_t n = conf_distance(text, dict_keyword(d));

		if (n < least && *dict_keyword(d) != '\0') {
			least = n;
			best = dict_keyword(d);
		}
	}
	(void)snprintf(why, cap,
	    "no attribute is called \"%.64s\"; the nearest is %s", text, best);
}

/* gggg,eeee with or without brackets, or ggggeeee. */
static bool
tag_parse(const char *text, struct prof_key *out, char *why, size_t cap)
{
	char s[TABLE_TEXT_MAX + 16];
	size_t n = strlen(text);
	const char *p = s;

	if (n >= 2 && text[0] == '(' && text[n - 1] == ')') {
		text++;
		n -= 2;
	}
	(void)snprintf(s, sizeof(s), "%.*s", (int)n, text);
	if (n < 8 || n >= sizeof(s) || !hex_digits(p, 4, out))
		return false;
	p += 4;
	if (*p == ',')
		p++;
	if (*p == '[')
		return private_rest(p, out, why, cap);
	return strlen(p) == 4 && hex_digits(p, 4, out);
}

bool
prof_key_parse(const char *text, struct prof_key *out, char *why, size_t cap)
{
	const struct dict_row *d = dict_find_keyword(text);

	*out = (struct prof_key){ 0 };
	*why = '\0';
	if (d != NULL) {
		out->tag = d->tag;
		out->mask = UINT32_MAX;
		return true;
	}
	if (!tag_parse(text, out, why, cap)) {
		if (*why == '\0')
			say_nearest(text, why, cap);
		return false;
	}
	if (out->creator[0] != '\0')
		return true;
	if ((out->mask & 0x10000u) != 0 && (out->tag & 0x10000u) != 0) {
		(void)snprintf(why, cap,
		    "a private element needs its creator: gggg[CREATOR]ee");
		return false;
	}
	if (out->xs == 0 && dict_find(out->tag) == NULL) {
		(void)snprintf(why, cap, "PS3.6 has no such attribute");
		return false;
	}
	return true;
}

/* --- actions --- */

/* An action with its value; a map of one member, or a word. */
struct prof_act {
	enum table_action action;
	const char *value; /* "" but for REPLACE and SET, and a private VR */
};

static bool
act_parse(const struct json *v, struct prof_act *out)
{
	const char *word = json_str(v);
	const struct json *value = NULL;

	*out = (struct prof_act){ .value = "" };
	if (json_is_map(v) && json_len(v) == 1) {
		value = json_member(v, 0, &word);
		out->value = json_str(value);
	}
	for (unsigned a = 1; word != NULL && a <= TABLE_ACTIONS; a++)
		if (strcmp(word, table_action_word((enum table_action)a)) == 0)
			out->action = (enum table_action)a;
	if (out->action == 0 || out->value == NULL)
		return false;
	return (value != NULL) ==
		   (out->action == TABLE_REPLACE || out->action == TABLE_SET) ||
	       (value != NULL && (out->action == TABLE_KEEP));
}

/* The value's place among the texts; they are few. */
static enum err
text_add(struct prof *c, const char *value, uint32_t line, uint8_t *out)
{
	struct deid_table *t = &c->p->table;
	uint32_t k = 0;

	while (k < t->n_texts && strcmp(t->texts[k], value) != 0)
		k++;
	if (k == TABLE_TEXTS_MAX || strlen(value) > TABLE_TEXT_MAX)
		return prof_fail(c, ERR_LIMIT, c->level, line,
		    "a value has up to %u characters, a profile up to %u "
		    "values",
		    TABLE_TEXT_MAX, TABLE_TEXTS_MAX);
	if (k == t->n_texts) {
		(void)snprintf(t->texts[k], sizeof(t->texts[k]), "%s", value);
		t->n_texts++;
	}
	*out = (uint8_t)k;
	return ERR_OK;
}

static enum err
private_add(struct prof *c, const struct prof_key *k, const struct prof_act *a,
    uint32_t line)
{
	struct deid_table *t = &c->p->table;
	enum dcm_vr vr = VR_NONE;
	uint32_t i = 0;

	if (a->action == TABLE_KEEP)
		vr = strlen(a->value) == 2 ? dict_vr((const uint8_t *)a->value)
					   : VR_COUNT;
	if ((a->action != TABLE_KEEP && a->action != TABLE_REMOVE) ||
	    (a->action == TABLE_KEEP && !table_private_vr(vr)))
		return prof_fail(c, ERR_UNSUPPORTED, c->level, line,
		    "a private element is removed or kept: {keep: VR} with a "
		    "VR of numbers, codes or texts");
	while (i < t->n_private &&
	       (t->priv[i].group != k->tag >> 16 ||
		   t->priv[i].low != (k->tag & 0xFFu) ||
		   strcmp(t->priv[i].creator, k->creator) != 0))
		i++;
	if (i == TABLE_PRIVATE_MAX)
		return prof_fail(c, ERR_LIMIT, c->level, line,
		    "a profile has up to %u private elements",
		    TABLE_PRIVATE_MAX);
	t->priv[i] = (struct table_private){
		.group = (uint16_t)(k->tag >> 16),
		.low = (uint8_t)k->tag,
		.vr = (uint8_t)vr,
	};
	memcpy(t->priv[i].creator, k->creator, sizeof(k->creator));
	t->n_private += i == t->n_private;
	return ERR_OK;
}

static enum err
standard_add(struct prof *c, const struct prof_key *k, const struct prof_act *a,
    uint32_t line)
{
	const struct dict_row *d;
	uint8_t text = 0;
	uint32_t hits = 0;
	enum err e = ERR_OK;

	if (a->action == TABLE_KEEP && *a->value != '\0')
		return prof_fail(c, ERR_MALFORMED, c->level, line,
		    "only a private element is kept with a VR");
	if (a->action == TABLE_REPLACE || a->action == TABLE_SET)
		e = text_add(c, a->value, line, &text);
	for (uint32_t i = 0; e == ERR_OK && (d = dict_at(i)) != NULL; i++) {
		struct prof_slot *s = &c->slots[i];

		if ((d->tag & k->mask) != k->tag)
			continue;
		hits++;
		if (s->action != 0 && s->xs < k->xs)
			continue;
		*s = (struct prof_slot){ .action = (uint8_t)a->action,
			.text = text,
			.xs = k->xs,
			.level = (uint8_t)c->level,
			.line = line };
	}
	if (e == ERR_OK && hits == 0)
		e = prof_fail(c, ERR_NOTFOUND, c->level, line,
		    "no attribute of PS3.6 is like this pattern");
	return e;
}

static enum err
rule_add(struct prof *c, const char *key, const struct json *v)
{
	uint32_t line = prof_line(c, v);
	struct prof_act act;
	struct prof_key k;
	char why[160];

	if (!prof_key_parse(key, &k, why, sizeof(why)))
		return prof_fail(c, ERR_MALFORMED, c->level, line, "%s", why);
	if (!act_parse(v, &act))
		return prof_fail(c, ERR_MALFORMED, c->level, line,
		    "%.64s: the action is keep, remove, empty, dummy, "
		    "hash-uid, shift-date, clean, words, {replace: \"TEXT\"} "
		    "or {set: \"TEXT\"}",
		    key);
	return k.creator[0] != '\0' ? private_add(c, &k, &act, line)
				    : standard_add(c, &k, &act, line);
}

enum err
prof_rules(struct prof *c, const struct json *map)
{
	size_t n = json_len(map);
	enum err e = ERR_OK;

	if (!json_is_map(map))
		return prof_fail(c, ERR_MALFORMED, c->level, prof_line(c, map),
		    "rules must be a map: ELEMENT: ACTION");
	for (size_t i = 0; i < n && e == ERR_OK; i++) {
		const char *key;
		const struct json *v = json_member(map, i, &key);

		e = rule_add(c, key, v);
	}
	return e;
}

/* --- options --- */

/* By code, or by code meaning with or without its last word. */
static const struct table_option *
option_find(const char *text)
{
	const struct table_option *o;
	size_t n = strlen(text);

	for (uint32_t i = 0; (o = table_option_at(i)) != NULL; i++) {
		if (strcmp(o->code, text) == 0 ||
		    strcasecmp(o->name, text) == 0)
			return o;
		if (n > 0 && strncasecmp(o->name, text, n) == 0 &&
		    strcmp(o->name + n, " Option") == 0)
			return o;
	}
	return NULL;
}

enum err
prof_options(struct prof *c, const struct json *list, uint32_t *bits)
{
	uint32_t line = prof_line(c, list);

	*bits = 0;
	if (!json_is_array(list))
		return prof_fail(c, ERR_MALFORMED, c->level, line,
		    "options and without are lists, such as [113109]");
	for (size_t i = 0; i < json_len(list); i++) {
		char room[64];
		const char *s =
		    conf_scalar(json_at(list, i), room, sizeof(room));
		const struct table_option *o =
		    s != NULL ? option_find(s) : NULL;

		if (o == NULL)
			return prof_fail(c, ERR_MALFORMED, c->level, line,
			    "\"%.64s\" is no option of PS3.15 annex E (113101 "
			    "to 113112)",
			    s != NULL ? s : "");
		if (o->bit == 0)
			return prof_fail(c, ERR_UNSUPPORTED, c->level, line,
			    "%s (%s) is not done by this program, so it "
			    "cannot be claimed",
			    o->code, o->name);
		*bits |= o->bit;
	}
	return ERR_OK;
}

/* --- the whole --- */

static enum err
slot_finish(struct prof *c, const struct dict_row *d, struct prof_slot *s)
{
	struct deid_table *t = &c->p->table;
	enum table_action a = (enum table_action)s->action;
	const char *why = table_refusal(t->options, d, a, t->texts[s->text]);
	struct table_rule *r = &t->rules[t->n_rules];

	if (why != NULL && s->xs > 0) {
		s->action = 0; /* a pattern passes it by */
		return ERR_OK;
	}
	if (why != NULL)
		return prof_fail(c, ERR_UNSUPPORTED, s->level, s->line,
		    "%s: %s: %s%s%s", dict_keyword(d), table_action_word(a),
		    why, s->level > 0 ? "; extended by " : "",
		    s->level > 0 ? c->names[0] : "");
	if (t->n_rules == TABLE_RULES_MAX ||
	    (a == TABLE_SET && t->n_set == TABLE_SET_MAX))
		return prof_fail(c, ERR_LIMIT, s->level, s->line,
		    "a profile has up to %u rules, %u of them set",
		    TABLE_RULES_MAX, TABLE_SET_MAX);
	t->n_set += a == TABLE_SET;
	t->departs = t->departs || table_departs(t->options, d, a);
	*r = (struct table_rule){
		.tag = d->tag, .action = s->action, .text = s->text
	};
	t->n_rules++;
	return ERR_OK;
}

static int
by_private(const void *a, const void *b)
{
	const struct table_private *x = a, *y = b;
	int order = strcmp(x->creator, y->creator);

	if (order == 0)
		order = (x->group > y->group) - (x->group < y->group);
	return order != 0 ? order : (x->low > y->low) - (x->low < y->low);
}

enum err
prof_finish(struct prof *c)
{
	struct deid_table *t = &c->p->table;
	const char *why = table_options_refusal(t->options);
	const struct dict_row *d;
	enum err e = ERR_OK;

	if (why != NULL)
		return prof_fail(
		    c, ERR_UNSUPPORTED, 0, c->options_line, "%s", why);
	for (uint32_t i = 0; e == ERR_OK && (d = dict_at(i)) != NULL; i++)
		if (c->slots[i].action != 0)
			e = slot_finish(c, d, &c->slots[i]);
	for (uint32_t i = 0; e == ERR_OK && i < t->n_private; i++)
		if (t->priv[i].vr != VR_NONE &&
		    (t->options & TABLE_OPT_PRIVATE) == 0)
			e = prof_fail(c, ERR_UNSUPPORTED, 0, c->options_line,
			    "a private element (%.40s) is kept, but option "
			    "113111 is not claimed",
			    t->priv[i].creator);
	qsort(t->priv, t->n_private, sizeof(t->priv[0]), by_private);
	return e;
}
