/* node/imaging/helper/write.c: one pass over the element table.
 *
 * Levels are written in tag order whatever order they came in; lengths of
 * sequences and items are written as defined lengths and patched once known.
 * Group lengths, padding and what follows the dataset are not copied.  The
 * only failure is the output buffer's. */
#include "node/imaging/helper/write.h"
#include "node/imaging/helper/content.h"
#include "node/imaging/helper/csa.h"
#include "node/imaging/helper/dates.h"
#include "node/imaging/helper/emit.h"
#include "node/imaging/helper/pixels.h"
#include "node/imaging/helper/words.h"
#include "store/base/mem.h"

static void put_level(struct writer *w, uint32_t parent);
static void put_dummy(struct writer *w, uint32_t i);

static void
put_tag(struct writer *w, uint32_t tag)
{
	buf_u16(w->b, (uint16_t)(tag >> 16));
	buf_u16(w->b, (uint16_t)(tag & 0xFFFFu));
}

static bool
is_implicit(const struct writer *w)
{
	return w->f->syntax == SYNTAX_IMPLICIT;
}

static void
put_head(struct writer *w, uint32_t tag, enum dcm_vr vr, uint32_t len)
{
	emit_head(w->b, is_implicit(w), tag, vr, len);
}

static void
put_value(struct writer *w, uint32_t tag, enum dcm_vr vr, struct slice v)
{
	emit_value(w->b, is_implicit(w), tag, vr, v);
}

static void
put_str(struct writer *w, uint32_t tag, enum dcm_vr vr, const char *s)
{
	put_value(w, tag, vr, slice_str(s));
}

/* A head whose length is patched by close_len(); returns where. */
static size_t
open_len(struct writer *w, uint32_t tag, enum dcm_vr vr)
{
	put_head(w, tag, vr, 0);
	return w->b->n;
}

static void
close_len(struct writer *w, size_t start)
{
	emit_close(w->b, start);
}

static void
put_code(struct writer *w, const char *value, const char *scheme,
    const char *meaning)
{
	size_t item = open_len(w, TAG_ITEM, VR_NONE);

	put_str(w, 0x00080100, VR_SH, value);
	put_str(w, 0x00080102, VR_SH, scheme);
	put_str(w, 0x00080104, VR_LO, meaning);
	close_len(w, item);
}

/* Only what was really done is stamped (domain.md 3): not the basic profile
 * where a rule lets stay what it takes, not moved dates without days. */
static void
put_methods(struct writer *w)
{
	uint32_t done = w->rules.table->options;
	const struct table_option *o;
	size_t sq;

	if (!w->rules.dates)
		done &= ~TABLE_OPT_DATES;
	if (w->rules.table->departs && done == 0)
		return; /* type 1C: (0012,0063) says it */
	sq = open_len(w, 0x00120064, VR_SQ);
	if (!w->rules.table->departs)
		put_code(w, "113100", "DCM",
		    "Basic Application Confidentiality Profile");
	for (uint32_t i = 0; (o = table_option_at(i)) != NULL; i++)
		if ((o->bit & done) != 0)
			put_code(w, o->code, "DCM", o->name);
	close_len(w, sq);
}

static void
put_method_text(struct writer *w)
{
	char text[130];

	(void)snprintf(text, sizeof(text), "Pesscara " PSC_VERSION " %s\\%s",
	    w->rules.table->name,
	    w->rules.table->departs ? "rules of its own, not PS3.15 basic"
				    : "PS3.15 E.1-1");
	put_str(w, 0x00120063, VR_LO, text);
}

static void
put_ours(struct writer *w, uint32_t tag)
{
	switch (tag) {
	case TAG_PATIENT_NAME: put_str(w, tag, VR_PN, w->ctx->subject); break;
	case TAG_PATIENT_ID: put_str(w, tag, VR_LO, w->ctx->subject); break;
	case 0x00120062: put_str(w, tag, VR_CS, "YES"); break;
	case 0x00120063: put_method_text(w); break;
	case 0x00120064: put_methods(w); break;
	case 0x00280303:
		put_str(w, tag, VR_CS,
		    w->rules.full_dates ? "UNMODIFIED"
		    : w->rules.dates    ? "MODIFIED"
					: "REMOVED");
		break;
	default:
		put_str(w, tag, (enum dcm_vr)dict_find(tag)->vr,
		    rules_value(&w->rules, tag));
		break;
	}
}

static const uint32_t ours[] = { TAG_PATIENT_NAME, TAG_PATIENT_ID, 0x00120062,
	0x00120063, 0x00120064, 0x00280303 };
#define N_OURS (sizeof(ours) / sizeof(ours[0]))

/* Ours and those the profile sets, in order of tags. */
static void
list_ours(struct writer *w)
{
	const struct table_rule *set = rules_set(&w->rules, 0);
	size_t k = 0;

	w->n_ours = 0;
	while (set != NULL || k < N_OURS) {
		REQUIRE(w->n_ours < sizeof(w->ours) / sizeof(w->ours[0]));
		if (set == NULL || (k < N_OURS && ours[k] < set->tag)) {
			w->ours[w->n_ours++] = ours[k++];
		} else {
			w->ours[w->n_ours++] = set->tag;
			set = rules_set(&w->rules, set->tag + 1);
		}
	}
}

bool
write_map_uid(const struct writer *w, struct slice uid, struct slice *out)
{
	uint32_t at;

	*out = uid;
	if (uid.n == 0)
		return true;
	if (!uids_mappable(uid)) {
		const struct slice standard = SLICE_LIT("1.2.840.10008.");

		return uid.n <= IMG_UID_MAX && uid.n > standard.n &&
		       memcmp(uid.p, standard.p, standard.n) == 0;
	}
	if (w->rules.uids)
		return true;
	at = uids_find(w->uids, uid);
	if (at == UIDS_NONE || at >= w->ctx->n_uids)
		return false;
	if (w->ctx->new_uids[at] != NULL)
		*out = slice_str(w->ctx->new_uids[at]);
	return true;
}

static void
put_uids(struct writer *w, uint32_t i)
{
	struct buf v = BUF_MAX(w->f->e[i].len / 2 * (IMG_UID_MAX + 1) + 256);
	struct slice all = dcm_value(w->f, i);
	bool fixed = dict_fixed_uid(w->f->e[i].tag);
	struct slice one;

	for (uint32_t k = 0; dcm_nth(all, k, &one); k++) {
		if (k > 0)
			buf_u8(&v, '\\');
		if (fixed ? one.n == 0 || content_is_uid(one)
			  : write_map_uid(w, one, &one))
			buf_put_slice(&v, one);
		else
			w->unmapped = true;
	}
	if (v.err != ERR_OK)
		w->err = v.err;
	put_value(w, w->f->e[i].tag, VR_UI, buf_slice(&v));
	buf_fini(&v);
}

/* Each value moved by the subject's days; what is no whole date is emptied.
 * A type 1 attribute left with nothing gets the dummy. */
static void
put_dates(struct writer *w, uint32_t i)
{
	const struct dcm_elem *e = &w->f->e[i];
	struct slice all = dcm_value(w->f, i);
	struct buf v = BUF_MAX(all.n * 2 + DATES_VALUE_MAX);
	struct rules removed = w->rules;
	char moved[DATES_VALUE_MAX + 1];
	bool none = true;
	struct slice one;

	for (uint32_t k = 0; dcm_nth(all, k, &one); k++) {
		if (!dates_shift(
			one, (enum dcm_vr)e->vr, w->ctx->shift_days, moved))
			w->ill_formed = true;
		if (k > 0)
			buf_u8(&v, '\\');
		buf_put_str(&v, moved);
		none = none && moved[0] == '\0';
	}
	if (v.err != ERR_OK)
		w->err = v.err;
	removed.dates = false;
	if (none && rules_fate(&removed, w->f, i) == FATE_DUMMY)
		put_dummy(w, i);
	else
		put_value(w, e->tag, (enum dcm_vr)e->vr, buf_slice(&v));
	buf_fini(&v);
}

static void
put_cleaned(struct writer *w, uint32_t i, enum dcm_vr vr)
{
	const struct dcm_elem *e = &w->f->e[i];
	struct slice v = dcm_trimmed(w->f, i);
	struct buf t = BUF_MAX(v.n + 1);
	struct slice out = v;
	bool meaning = e->tag == TAG_CODE_MEANING && !words_only(v);
	bool coded = e->tag >= 0x00080100 && e->tag <= 0x00080122;

	/* Coded values are never cleaned: the search at the end decides.  A
	 * meaning that names somebody goes as a whole: the code still says it.
	 */
	if ((meaning || !coded) && scrub_clean(w->scrub, v, &t)) {
		w->cleaned = true;
		out = dcm_trim(buf_slice(&t));
		if (meaning || out.n == 0)
			out = SLICE_LIT("REMOVED");
	}
	if (t.err != ERR_OK)
		w->err = t.err;
	put_value(w, e->tag, vr, out);
	buf_fini(&t);
}

static void
put_text(struct writer *w, uint32_t i)
{
	put_cleaned(w, i, (enum dcm_vr)w->f->e[i].vr);
}

/* A description: its words of imaging, names of this object excepted. */
static void
put_words(struct writer *w, uint32_t i)
{
	struct slice v = dcm_trimmed(w->f, i);
	struct buf words = BUF_MAX(v.n + 1);
	struct buf t = BUF_MAX(v.n + 1);

	words_clean(v, &words);
	(void)scrub_clean(w->scrub, buf_slice(&words), &t);
	if (words.err != ERR_OK)
		w->err = words.err;
	buf_reset(&words);
	words_clean(buf_slice(&t), &words); /* closes the gaps */
	if (words.n > 0)
		put_value(w, w->f->e[i].tag, (enum dcm_vr)w->f->e[i].vr,
		    buf_slice(&words));
	if (words.err != ERR_OK || t.err != ERR_OK)
		w->err = words.err != ERR_OK ? words.err : t.err;
	buf_fini(&words);
	buf_fini(&t);
}

static void
put_items(struct writer *w, uint32_t i)
{
	const struct dcm_elem *e = &w->f->e[i];
	size_t sq = open_len(w, e->tag, VR_SQ);

	for (uint32_t k = i + 1; k < e->skip; k = w->f->e[k].skip) {
		size_t item = open_len(w, TAG_ITEM, VR_NONE);

		put_level(w, k);
		close_len(w, item);
	}
	close_len(w, sq);
}

/* Values that say nothing, well-formed for their VR. */
static struct slice
dummy_of(enum dcm_vr vr)
{
	static const uint8_t zero[8];

	if (vr == VR_DA)
		return SLICE_LIT("19000101");
	if (vr == VR_DT)
		return SLICE_LIT("19000101000000");
	if (vr == VR_TM)
		return SLICE_LIT("000000");
	if (vr == VR_AS)
		return SLICE_LIT("000Y");
	if (vr == VR_DS || vr == VR_IS)
		return SLICE_LIT("0");
	if (dict_vr_text(vr))
		return SLICE_LIT("REMOVED");
	if (vr == VR_FD || vr == VR_OD || vr == VR_OV || vr == VR_SV ||
	    vr == VR_UV)
		return slice_of(zero, 8);
	if (vr == VR_US || vr == VR_SS || vr == VR_OB || vr == VR_OW ||
	    vr == VR_UN)
		return slice_of(zero, 2);
	return slice_of(zero, 4);
}

static void
put_dummy(struct writer *w, uint32_t i)
{
	const struct dcm_elem *e = &w->f->e[i];
	size_t sq;

	if (e->vr != VR_SQ) {
		put_value(w, e->tag, (enum dcm_vr)e->vr,
		    dummy_of((enum dcm_vr)e->vr));
		return;
	}
	/* A code that names a person is replaced as a whole; in other
	 * sequences each element of each item has a rule of its own. */
	if (e->tag != 0x00401101) {
		put_items(w, i);
		return;
	}
	sq = open_len(w, e->tag, VR_SQ);
	put_code(w, "REMOVED", "99REMOVED", "Removed");
	close_len(w, sq);
}

/* The fragments of encapsulated pixel data, as they are. */
static void
put_fragments(struct writer *w, uint32_t i)
{
	const struct dcm_elem *e = &w->f->e[i];

	put_head(w, e->tag, (enum dcm_vr)e->vr, DCM_LEN_UNDEF);
	buf_put_slice(w->b, dcm_value(w->f, i));
	put_tag(w, TAG_SEQ_END);
	buf_u32(w->b, 0);
}

/* Samples without the bits that they have no use for (domain.md 8). */
static void
put_masked(struct writer *w, uint32_t i)
{
	struct slice v = dcm_value(w->f, i);

	put_value(w, w->f->e[i].tag, (enum dcm_vr)w->f->e[i].vr, v);
	if (w->b->err == ERR_OK)
		pixels_mask(w->f, w->b->p + w->b->n - v.n - v.n % 2, v.n);
}

/* A UID that stays, if it is one. */
static void
put_kept_uid(struct writer *w, uint32_t i)
{
	struct slice v = dcm_trimmed(w->f, i);

	if (v.n > 0 && !content_is_uid(v)) {
		w->ill_formed = true;
		v = (struct slice){ 0 };
	}
	put_value(w, w->f->e[i].tag, VR_UI, v);
}

/* Kept by its tag, if the bytes are what the VR says; free text in a code
 * is cleaned like text, and elsewhere emptied. */
static void
put_kept(struct writer *w, uint32_t i)
{
	const struct dcm_elem *e = &w->f->e[i];
	struct slice v = dcm_value(w->f, i);
	enum dcm_vr vr = (enum dcm_vr)e->vr;
	char age[5] = "";

	if (vr == VR_SQ) {
		put_items(w, i);
	} else if (e->undefined) {
		put_fragments(w, i);
	} else if (i == w->f->pixels && w->mask) {
		put_masked(w, i);
	} else if (vr == VR_AS) {
		if (dcm_trim(v).n > 0 && !content_age(dcm_trim(v), age))
			w->ill_formed = true;
		put_str(w, e->tag, vr, age);
	} else if ((vr == VR_DS || vr == VR_IS) && !content_is_number(v)) {
		w->ill_formed = true;
		put_value(w, e->tag, vr, (struct slice){ 0 });
	} else if (vr == VR_UI && !dict_fixed_uid(e->tag)) {
		put_kept_uid(w, i);
	} else if (vr == VR_CS && !content_is_code(v)) {
		put_text(w, i);
	} else {
		put_value(w, e->tag, vr, v);
	}
}

static void
put_standard(struct writer *w, uint32_t i)
{
	const struct dcm_elem *e = &w->f->e[i];

	switch (rules_fate(&w->rules, w->f, i)) {
	case FATE_DROP:
		if (e->tag >> 24 == 0x60)
			w->overlays = true;
		break;
	case FATE_EMPTY:
		put_value(w, e->tag, (enum dcm_vr)e->vr, (struct slice){ 0 });
		break;
	case FATE_DUMMY: put_dummy(w, i); break;
	case FATE_KEEP: put_kept(w, i); break;
	case FATE_TEXT: put_text(w, i); break;
	case FATE_WORDS: put_words(w, i); break;
	case FATE_DATE: put_dates(w, i); break;
	case FATE_UID: put_uids(w, i); break;
	case FATE_VALUE:
		put_str(w, e->tag, (enum dcm_vr)dict_find(e->tag)->vr,
		    rules_value(&w->rules, e->tag));
		break;
	}
}

/* One level of elements in tag order. */
struct level {
	uint32_t *at;
	uint32_t n;
	uint32_t creator[256]; /* of the group at hand, by block; 0 none */
	uint32_t group;
};

static enum dcm_vr
private_vr(const struct writer *w, const struct level *l, uint32_t i)
{
	uint32_t block = w->f->e[i].tag >> 8 & 0xFFu;

	if (block < 0x10 || l->creator[block] == 0)
		return VR_NONE;
	return rules_private(&w->rules, dcm_trimmed(w->f, l->creator[block]),
	    w->f->e[i].tag, dcm_value(w->f, i), (enum dcm_vr)w->f->e[i].vr);
}

/* A creator stays when something of its block does. */
static bool
creator_used(const struct writer *w, const struct level *l, uint32_t k)
{
	uint32_t tag = w->f->e[l->at[k]].tag;

	for (uint32_t j = k + 1; j < l->n; j++) {
		uint32_t t = w->f->e[l->at[j]].tag;

		if (t >> 16 != tag >> 16)
			return false;
		if ((t >> 8 & 0xFFu) == (tag & 0xFFu) &&
		    private_vr(w, l, l->at[j]) != VR_NONE)
			return true;
	}
	return false;
}

static void
put_csa(struct writer *w, uint32_t i)
{
	struct buf v = BUF_MAX(CSA_ROOM(dcm_value(w->f, i).n));

	if (csa_reduce(dcm_value(w->f, i), &v))
		put_value(w, w->f->e[i].tag, VR_OB, buf_slice(&v));
	if (v.err != ERR_OK)
		w->err = v.err;
	buf_fini(&v);
}

static void
put_private(struct writer *w, struct level *l, uint32_t k)
{
	uint32_t i = l->at[k];
	uint32_t tag = w->f->e[i].tag;
	uint32_t el = tag & 0xFFFFu;
	enum dcm_vr vr;

	if (!w->rules.safe_private)
		return;
	if (tag >> 16 != l->group) {
		memset(l->creator, 0, sizeof(l->creator));
		l->group = tag >> 16;
	}
	if (el >= 0x10 && el <= 0xFF) {
		l->creator[el] = i;
		if (creator_used(w, l, k))
			put_value(w, tag, VR_LO, dcm_trimmed(w->f, i));
		return;
	}
	vr = private_vr(w, l, i);
	if (vr == VR_OB)
		put_csa(w, i);
	else if (vr == VR_LO || vr == VR_SH || vr == VR_ST || vr == VR_LT ||
		 vr == VR_UC || vr == VR_UT)
		put_cleaned(w, i, vr);
	else if (vr != VR_NONE)
		put_value(w, tag, vr, dcm_value(w->f, i));
}

static int
by_tag(const void *a, const void *b, void *ctx)
{
	const struct dcm_file *f = ctx;
	uint32_t i = *(const uint32_t *)a;
	uint32_t j = *(const uint32_t *)b;

	if (f->e[i].tag != f->e[j].tag)
		return f->e[i].tag < f->e[j].tag ? -1 : 1;
	return i < j ? -1 : i > j;
}

static bool
read_level(struct writer *w, uint32_t parent, struct level *l)
{
	uint32_t from;
	uint32_t to;

	dcm_level(w->f, parent, &from, &to);
	for (uint32_t i = from; i < to; i = w->f->e[i].skip)
		l->n++;
	if (l->n == 0)
		return true;
	l->at = mem_array(l->n, sizeof(*l->at));
	if (l->at == NULL) {
		w->err = ERR_NOMEM;
		return false;
	}
	l->n = 0;
	for (uint32_t i = from; i < to; i = w->f->e[i].skip)
		l->at[l->n++] = i;
	if (w->f->unsorted)
		qsort_r(l->at, l->n, sizeof(*l->at), by_tag,
		    (struct dcm_file *)(uintptr_t)w->f);
	return true;
}

static void
put_level(struct writer *w, uint32_t parent)
{
	struct level l = { 0 };
	size_t mine = parent == DCM_NONE ? 0 : w->n_ours;
	uint32_t last = DCM_NONE;

	if (w->err != ERR_OK || !read_level(w, parent, &l))
		return;
	for (uint32_t k = 0; k < l.n && w->b->err == ERR_OK; k++) {
		uint32_t tag = w->f->e[l.at[k]].tag;
		bool twice = tag == last;

		last = tag;
		while (mine < w->n_ours && w->ours[mine] < tag)
			put_ours(w, w->ours[mine++]);
		if (mine < w->n_ours && w->ours[mine] == tag)
			continue; /* ours comes before the next tag */
		w->duplicates = w->duplicates || twice;
		if (twice)
			continue;
		if (dcm_tag_private(tag))
			put_private(w, &l, k);
		else
			put_standard(w, l.at[k]);
	}
	while (mine < w->n_ours)
		put_ours(w, w->ours[mine++]);
	mem_free(l.at);
}

static void
put_meta(struct writer *w)
{
	struct dcm_file explicit_file = { .syntax = SYNTAX_EXPLICIT };
	struct writer m = { .f = &explicit_file, .b = w->b };
	struct slice class = dcm_trimmed(w->f, dcm_find(w->f, TAG_SOP_CLASS));
	size_t start;

	if (class.n == 0)
		class = dcm_trimmed(w->f, dcm_find(w->f, TAG_META_SOP_CLASS));
	buf_put_zero(w->b, 128);
	buf_put_str(w->b, "DICM");
	put_head(&m, 0x00020000, VR_UL, 4);
	buf_u32(w->b, 0);
	start = w->b->n;
	put_value(&m, 0x00020001, VR_OB, slice_of("\0\1", 2));
	if (content_is_uid(class))
		put_value(&m, TAG_META_SOP_CLASS, VR_UI, class);
	if (w->sop_uid[0] != '\0')
		put_str(&m, TAG_META_SOP_UID, VR_UI, w->sop_uid);
	put_str(&m, TAG_META_SYNTAX, VR_UI, w->f->transfer_syntax);
	put_str(&m, 0x00020012, VR_UI, WRITE_IMPLEMENTATION_UID);
	put_str(&m, 0x00020013, VR_SH, WRITE_IMPLEMENTATION_NAME);
	close_len(&m, start);
}

enum err
write_object(struct writer *w)
{
	list_ours(w);
	put_meta(w);
	put_level(w, DCM_NONE);
	w->duplicates = w->duplicates || w->f->duplicates;
	return w->err != ERR_OK ? w->err : w->b->err;
}
