/* node/deid/table.c: what a profile may say, and its bytes.
 *
 * The same checks serve the one who writes a profile (conf, with words) and
 * the one who obeys it (the helper): a table that fails them is refused
 * whole, so nothing that the program guarantees can be ruled away. */
#include "node/deid/table.h"

#include <stdio.h>

#include "store/base/rd.h"

#define TABLE_VERSION 1u

static const struct table_option options[] = {
	{ 0, "113101", "Clean Pixel Data Option" },
	{ 0, "113102", "Clean Recognizable Visual Features Option" },
	{ 0, "113103", "Clean Graphics Option" },
	{ 0, "113104", "Clean Structured Content Option" },
	{ TABLE_OPT_DESCRIPTORS, "113105", "Clean Descriptors Option" },
	{ TABLE_OPT_FULL_DATES, "113106",
	    "Retain Longitudinal Temporal Information Full Dates Option" },
	{ TABLE_OPT_DATES, "113107",
	    "Retain Longitudinal Temporal Information Modified Dates Option" },
	{ TABLE_OPT_PATIENT, "113108",
	    "Retain Patient Characteristics Option" },
	{ TABLE_OPT_DEVICE, "113109", "Retain Device Identity Option" },
	{ TABLE_OPT_UIDS, "113110", "Retain UIDs Option" },
	{ TABLE_OPT_PRIVATE, "113111", "Retain Safe Private Option" },
	{ TABLE_OPT_INST, "113112", "Retain Institution Identity Option" },
};

const struct table_option *
table_option_at(uint32_t i)
{
	return i < sizeof(options) / sizeof(options[0]) ? &options[i] : NULL;
}

const char *
table_action_word(enum table_action a)
{
	static const char *const words[TABLE_ACTIONS + 1] = { "", "keep",
		"remove", "empty", "dummy", "replace", "set", "hash-uid",
		"shift-date", "clean", "words" };

	return a >= 1 && a <= TABLE_ACTIONS ? words[a] : "";
}

bool
table_builtin(const char *name, struct deid_table *out)
{
	bool trial = strcmp(name, "trial-imaging") == 0;

	if (!trial && strcmp(name, "basic") != 0)
		return false;
	*out = (struct deid_table){ 0 };
	(void)snprintf(out->name, sizeof(out->name), "%s", name);
	if (trial)
		out->options = TABLE_OPT_DESCRIPTORS | TABLE_OPT_DATES |
			       TABLE_OPT_PATIENT | TABLE_OPT_PRIVATE;
	return true;
}

const struct table_rule *
table_find(const struct deid_table *t, uint32_t tag)
{
	uint32_t lo = 0, hi = t->n_rules;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (t->rules[mid].tag == tag)
			return &t->rules[mid];
		if (t->rules[mid].tag < tag)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

const struct table_private *
table_find_private(
    const struct deid_table *t, struct slice creator, uint32_t tag)
{
	for (uint32_t k = 0; k < t->n_private; k++) {
		const struct table_private *p = &t->priv[k];

		if (p->group == tag >> 16 && p->low == (tag & 0xFFu) &&
		    slice_eq(creator, slice_str(p->creator)))
			return p;
	}
	return NULL;
}

bool
table_locked(uint32_t tag)
{
	static const uint32_t own[] = { 0x00080005, 0x00080016, 0x00080018,
		0x00100010, 0x00100020, 0x00120062, 0x00120063, 0x00120064,
		0x0020000D, 0x0020000E, 0x00280303 };
	uint32_t group = tag >> 16;

	for (size_t k = 0; k < sizeof(own) / sizeof(own[0]); k++)
		if (own[k] == tag)
			return true;
	/* File meta and commands, pixels and how they are stored, items. */
	return group < 8 || group == 0x7FE0 || group == 0xFFFE ||
	       (tag >= 0x00280002 && tag <= 0x00280107);
}

static bool
is_free_text(enum dcm_vr vr)
{
	return vr == VR_LO || vr == VR_SH || vr == VR_ST || vr == VR_LT ||
	       vr == VR_UC || vr == VR_UT;
}

bool
table_private_vr(enum dcm_vr vr)
{
	return is_free_text(vr) || vr == VR_CS || vr == VR_DS || vr == VR_IS ||
	       vr == VR_FD || vr == VR_FL || vr == VR_SL || vr == VR_SS ||
	       vr == VR_UL || vr == VR_US;
}

static bool
is_opaque(enum dcm_vr vr)
{
	return vr == VR_OB || vr == VR_OW || vr == VR_OD || vr == VR_OF ||
	       vr == VR_OL || vr == VR_OV || vr == VR_UN;
}

static bool
is_date(const struct dict_row *d)
{
	return d->vr == VR_DA || d->vr == VR_DT || (d->flags & DICT_DATE) != 0;
}

/* A claimed option says that the attribute stays as it is. */
static bool
retained(uint32_t opts, const struct dict_row *d)
{
	return ((opts & TABLE_OPT_PATIENT) != 0 && (d->flags & DICT_PAT)) ||
	       ((opts & TABLE_OPT_DEVICE) != 0 && (d->flags & DICT_DEV)) ||
	       ((opts & TABLE_OPT_INST) != 0 && (d->flags & DICT_INST)) ||
	       ((opts & TABLE_OPT_UIDS) != 0 && d->act == ACT_U) ||
	       ((opts & TABLE_OPT_FULL_DATES) != 0 && (d->flags & DICT_DATE));
}

static const char *
keep_refusal(uint32_t opts, const struct dict_row *d)
{
	enum dcm_vr vr = (enum dcm_vr)d->vr;

	if (retained(opts, d))
		return NULL;
	if (vr == VR_PN ||
	    (dict_is_id(d->tag) && (d->flags & (DICT_DEV | DICT_INST)) == 0))
		return "it may name or number the patient, and the search at "
		       "the end would hold every object";
	if (is_date(d) && (d->flags & DICT_DEV) == 0)
		return d->tag >> 16 == 0x0010 || (d->flags & DICT_DATE) == 0
			   ? "this date is never kept"
			   : "dates stay only under option 113106";
	if (vr == VR_UI && !dict_fixed_uid(d->tag))
		return "UIDs stay only under option 113110";
	if (is_opaque(vr))
		return "its bytes can hold anything and cannot be checked";
	return NULL;
}

static bool
is_digits(const char *s, size_t n)
{
	return strlen(s) == n && strspn(s, "0123456789") == n;
}

/* PS3.5 table 6.2-1: what a single value of this VR can be. */
static const char *
value_refusal(enum dcm_vr vr, const char *v)
{
	size_t n = strlen(v), most = TABLE_TEXT_MAX;

	for (size_t k = 0; k < n; k++)
		if (v[k] < ' ' || v[k] > '~' || v[k] == '\\')
			return "a value is printable ASCII without a backslash";
	if (vr == VR_SH || vr == VR_AE || vr == VR_CS || vr == VR_DS)
		most = 16;
	if (vr == VR_IS)
		most = 12;
	if (n == 0 || n > most)
		return "the value is empty (say: empty) or too long for it";
	if (vr == VR_CS)
		return strspn(v, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 _") == n
			   ? NULL
			   : "a code has capitals, digits, spaces and _ only";
	if (vr == VR_DA)
		return is_digits(v, 8) ? NULL : "a date is YYYYMMDD";
	if (vr == VR_TM)
		return is_digits(v, 6) ? NULL : "a time is HHMMSS";
	if (vr == VR_DT)
		return is_digits(v, 14) ? NULL : "it is YYYYMMDDHHMMSS";
	if (vr == VR_AS)
		return n == 4 && strspn(v, "0123456789") == 3 &&
			       strchr("DWMY", v[3]) != NULL
			   ? NULL
			   : "an age is like 042Y";
	if (vr == VR_IS)
		return strspn(v, "0123456789-+") == n ? NULL : "not a number";
	if (vr == VR_DS)
		return strspn(v, "0123456789-+.eE") == n ? NULL
							 : "not a number";
	return is_free_text(vr) || vr == VR_PN || vr == VR_AE
		   ? NULL
		   : "an attribute of this kind cannot be replaced by a text";
}

static const char *
made_refusal(uint32_t opts, const struct dict_row *d, enum table_action a)
{
	enum dcm_vr vr = (enum dcm_vr)d->vr;

	if (a == TABLE_UID)
		return vr == VR_UI && !dict_fixed_uid(d->tag)
			   ? NULL
			   : "it is no UID of this object's";
	if (a == TABLE_DATE && (!is_date(d) || d->tag >> 16 == 0x0010))
		return "it is no date that may be moved";
	if (a == TABLE_DATE)
		return (opts & TABLE_OPT_DATES) == 0
			   ? "dates move only under option 113107"
			   : NULL;
	if (!is_free_text(vr) || dict_is_id(d->tag))
		return "only free text that is no identifier can be cleaned";
	if (a == TABLE_WORDS && (opts & TABLE_OPT_DESCRIPTORS) == 0)
		return "words stay only under option 113105";
	return NULL;
}

const char *
table_refusal(uint32_t opts, const struct dict_row *d, enum table_action a,
    const char *value)
{
	if (table_locked(d->tag))
		return "the program itself decides on it";
	if (d->tag >> 24 == 0x50 || d->tag >> 24 == 0x60)
		return "curves and overlays always go";
	if (a != TABLE_KEEP && retained(opts, d))
		return "a claimed option says that it stays";
	switch (a) {
	case TABLE_KEEP: return keep_refusal(opts, d);
	case TABLE_REMOVE:
	case TABLE_EMPTY:
	case TABLE_DUMMY: return NULL;
	case TABLE_REPLACE:
	case TABLE_SET: return value_refusal((enum dcm_vr)d->vr, value);
	case TABLE_UID:
	case TABLE_DATE:
	case TABLE_CLEAN:
	case TABLE_WORDS: return made_refusal(opts, d, a);
	}
	return "no such action";
}

const char *
table_options_refusal(uint32_t opts)
{
	if ((opts & ~TABLE_OPT_ALL) != 0)
		return "unknown option";
	if ((opts & TABLE_OPT_FULL_DATES) != 0 && (opts & TABLE_OPT_DATES) != 0)
		return "113106 and 113107 exclude each other";
	return NULL;
}

bool
table_departs(uint32_t opts, const struct dict_row *d, enum table_action a)
{
	if (d->act == ACT_NONE || retained(opts, d))
		return false;
	switch (a) {
	case TABLE_KEEP: return d->act != ACT_XZU;
	case TABLE_DATE: return (d->flags & DICT_DATE) == 0;
	case TABLE_CLEAN:
	case TABLE_WORDS:
		return (opts & TABLE_OPT_DESCRIPTORS) == 0 ||
		       (d->flags & DICT_DESC) == 0;
	case TABLE_UID: return d->act != ACT_U && d->act != ACT_D;
	case TABLE_REMOVE:
	case TABLE_EMPTY:
	case TABLE_DUMMY:
	case TABLE_REPLACE:
	case TABLE_SET: break;
	}
	return false;
}

/* --- bytes --- */

static void
put_text(struct buf *out, const char *s)
{
	buf_u8(out, (uint8_t)strlen(s));
	buf_put_str(out, s);
}

void
table_encode(const struct deid_table *t, struct buf *out)
{
	buf_u8(out, TABLE_VERSION);
	buf_u8(out, t->departs);
	buf_u32(out, t->options);
	buf_u16(out, (uint16_t)t->n_rules);
	for (uint32_t k = 0; k < t->n_rules; k++) {
		const struct table_rule *r = &t->rules[k];

		buf_u32(out, r->tag);
		buf_u8(out, r->action);
		if (r->action == TABLE_REPLACE || r->action == TABLE_SET)
			put_text(out, t->texts[r->text]);
	}
	buf_u16(out, (uint16_t)t->n_private);
	for (uint32_t k = 0; k < t->n_private; k++) {
		buf_u16(out, t->priv[k].group);
		buf_u8(out, t->priv[k].low);
		buf_u8(out, t->priv[k].vr);
		put_text(out, t->priv[k].creator);
	}
}

static void
get_text(struct rd *r, char out[TABLE_TEXT_MAX + 1])
{
	size_t n = rd_u8(r);
	struct slice s;

	if (n > TABLE_TEXT_MAX)
		rd_fail(r, ERR_LIMIT);
	s = rd_bytes(r, n);
	for (size_t k = 0; k < s.n && r->err == ERR_OK; k++)
		if (s.p[k] < ' ' || s.p[k] > '~')
			rd_fail(r, ERR_MALFORMED);
	if (r->err == ERR_OK && s.n > 0)
		memcpy(out, s.p, s.n);
	out[r->err == ERR_OK ? s.n : 0] = '\0';
}

static void
get_rule(struct rd *r, struct deid_table *t)
{
	struct table_rule *q = &t->rules[t->n_rules];
	const struct dict_row *d;
	const char *value = "";

	q->tag = rd_u32(r);
	q->action = rd_u8(r);
	q->text = 0;
	if (q->action == TABLE_REPLACE || q->action == TABLE_SET) {
		if (t->n_texts == TABLE_TEXTS_MAX) {
			rd_fail(r, ERR_LIMIT);
			return;
		}
		q->text = (uint8_t)t->n_texts;
		get_text(r, t->texts[t->n_texts]);
		value = t->texts[t->n_texts++];
		t->n_set += q->action == TABLE_SET;
	}
	d = dict_find(q->tag);
	if (d == NULL || t->n_set > TABLE_SET_MAX ||
	    (t->n_rules > 0 && q->tag <= q[-1].tag) ||
	    table_refusal(t->options, d, (enum table_action)q->action, value) !=
		NULL ||
	    (!t->departs &&
		table_departs(t->options, d, (enum table_action)q->action)))
		rd_fail(r, ERR_MALFORMED);
	t->n_rules++;
}

static void
get_private(struct rd *r, struct deid_table *t)
{
	struct table_private *p = &t->priv[t->n_private];
	bool kept;

	p->group = rd_u16(r);
	p->low = rd_u8(r);
	p->vr = rd_u8(r);
	get_text(r, p->creator);
	kept = p->vr != VR_NONE;
	if (p->group % 2 == 0 || p->creator[0] == '\0' || p->vr > VR_NONE ||
	    (kept && ((t->options & TABLE_OPT_PRIVATE) == 0 ||
			 !table_private_vr((enum dcm_vr)p->vr))))
		rd_fail(r, ERR_MALFORMED);
	t->n_private++;
}

enum err
table_decode(struct slice in, struct deid_table *out)
{
	struct rd r = rd_init(in);
	uint32_t n;

	out->n_rules = out->n_private = out->n_texts = out->n_set = 0;
	if (rd_u8(&r) != TABLE_VERSION)
		rd_fail(&r, ERR_MALFORMED);
	out->departs = rd_u8(&r) != 0;
	out->options = rd_u32(&r);
	if (r.err == ERR_OK && table_options_refusal(out->options) != NULL)
		rd_fail(&r, ERR_MALFORMED);
	n = rd_u16(&r);
	if (n > TABLE_RULES_MAX)
		rd_fail(&r, ERR_LIMIT);
	for (; n > 0 && r.err == ERR_OK; n--)
		get_rule(&r, out);
	n = rd_u16(&r);
	if (n > TABLE_PRIVATE_MAX)
		rd_fail(&r, ERR_LIMIT);
	for (; n > 0 && r.err == ERR_OK; n--)
		get_private(&r, out);
	if (r.err != ERR_OK)
		out->n_rules = out->n_private = out->n_set = 0;
	return rd_end(&r);
}
