/* node/ingest/gate.c: texts that go into a share name no patient of this site.
 *
 * domain.md 11.  An index of keyed hashes (local rows "ident") is filled when
 * a patient is first seen, or listed: the PatientID, and each pair of parts of
 * the name, since one part alone is often a word.  A text is taken apart into
 * words; a word that is a PatientID of the map or of a lookup list, or two
 * words in a row that are parts of one name, refuse it.  Shares that allow
 * identified data are not checked.  Failure: what the index cannot be asked is
 * refused. */
#include <ctype.h>

#include "node/ingest/ingest_internal.h"
#include "store/base/enc.h"

#define GATE_WORD_MAX 64u
#define GATE_WORDS_MAX 8192u /* of one text */
#define GATE_ID_MIN 4u       /* shorter PatientIDs are numbers of anything */
#define GATE_PART_MIN 2u
#define GATE_PARTS_MAX 10u

struct word {
	char t[GATE_WORD_MAX + 1];
};

/* Bytes above ASCII belong to words: names are written in any script. */
static bool
word_byte(uint8_t c)
{
	return c >= 0x80 || isalnum(c) || c == '-' || c == '.' || c == '_' ||
	       c == '/' || c == '\'';
}

/* The next word, in upper case; what is longer is no name. */
static bool
word_next(struct slice *s, struct word *out)
{
	size_t i = 0, n = 0, end;

	while (i < s->n && !word_byte(s->p[i]))
		i++;
	for (end = i; end < s->n && word_byte(s->p[end]); end++) {
		if (n < GATE_WORD_MAX)
			out->t[n++] = (char)toupper(s->p[end]);
	}
	while (n > 0 && strchr("-._/'", out->t[n - 1]) != NULL)
		n--; /* the end of a sentence */
	out->t[n] = '\0';
	*s = slice_of(s->p + end, s->n - end);
	return end > i;
}

static void
pair_key(const struct ingest *g, const struct word *a, const struct word *b,
    struct key16 *out)
{
	bool first = strcmp(a->t, b->t) <= 0;
	struct slice parts[2] = { slice_str(first ? a->t : b->t),
		slice_str(first ? b->t : a->t) };

	key16_of(g, "psc.ident.2", parts, 2, out);
}

static void
id_key(const struct ingest *g, const char *id, struct key16 *out)
{
	struct slice part = slice_str(id);

	key16_of(g, "psc.ident.1", &part, 1, out);
}

/* --- filling --- */

static enum err
keep_pairs(struct store_txn *t, const struct ingest *g, const char *name)
{
	struct slice s = slice_str(name);
	struct word part[GATE_PARTS_MAX];
	struct key16 key;
	uint32_t n = 0, i, k;
	enum err e = ERR_OK;

	while (n < GATE_PARTS_MAX && word_next(&s, &part[n])) {
		if (strlen(part[n].t) >= GATE_PART_MIN)
			n++;
	}
	for (i = 0; i < n; i++) {
		for (k = i + 1; k < n && e == ERR_OK; k++) {
			pair_key(g, &part[i], &part[k], &key);
			e = store_row_put(
			    t, "ident", slice_of(key.b, 16), SLICE_LIT("1"));
		}
	}
	return e;
}

enum err
gate_keep(
    struct store_txn *t, const struct ingest *g, const struct img_identity *id)
{
	char norm[IMG_TEXT_MAX + 2];
	struct key16 key;
	enum err e = ERR_OK;

	id_normalise(id->patient_id, norm, sizeof(norm));
	if (strlen(norm) >= GATE_ID_MIN) {
		id_key(g, norm, &key);
		e = store_row_put(
		    t, "ident", slice_of(key.b, 16), SLICE_LIT("1"));
	}
	return e == ERR_OK ? keep_pairs(t, g, id->patient_name) : e;
}

/* --- asking --- */

struct gate {
	struct ingest *g;
	struct db_txn *t;
	bool hit;
};

static enum err
gate_row(struct gate *x, const struct key16 *key)
{
	enum err e = store_row_there(x->t, "ident", slice_of(key->b, 16));

	if (e == ERR_OK)
		x->hit = true;
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

static enum err
gate_id(struct gate *x, const char *id)
{
	struct key16 key;

	if (strlen(id) < GATE_ID_MIN)
		return ERR_OK;
	id_key(x->g, id, &key);
	return gate_row(x, &key);
}

static enum err
gate_text(struct gate *x, struct slice text)
{
	struct word w[2] = { { "" }, { "" } };
	char whole[IMG_TEXT_MAX + 2], raw[IMG_TEXT_MAX + 1];
	struct key16 key;
	uint32_t n;
	enum err e = ERR_OK;

	if (text.n <= IMG_TEXT_MAX) { /* a PatientID of several words */
		memcpy(raw, text.p, text.n);
		raw[text.n] = '\0';
		id_normalise(raw, whole, sizeof(whole));
		e = gate_id(x, whole);
	}
	for (n = 0; e == ERR_OK && !x->hit && word_next(&text, &w[n % 2]);
	     n++) {
		if (n == GATE_WORDS_MAX)
			return ERR_LIMIT;
		e = gate_id(x, w[n % 2].t);
		if (e != ERR_OK || x->hit || n == 0)
			continue;
		pair_key(x->g, &w[0], &w[1], &key);
		e = gate_row(x, &key);
	}
	return e;
}

static bool
gate_open(struct ingest *g, const struct cry_id *share)
{
	char id[ENC_B32_LEN(32) + 1];
	struct share_info i = { 0 };
	bool open = false;

	enc_b32(slice_of(share->b, 32), id);
	if (shares_find(g->o.shares, id, &i, NULL) == ERR_OK) {
		open = i.allow_identified;
		share_info_fini(&i);
	}
	return open;
}

enum err
ingest_gate(struct ingest *g, const struct cry_id *share, struct slice text,
    struct errmsg *em)
{
	struct gate x = { .g = g };
	enum err e;

	if (text.n == 0 || gate_open(g, share))
		return ERR_OK;
	e = store_read(g->o.store, &x.t);
	if (e != ERR_OK)
		return errmsg_set(em, e, "try again", "%s", err_text(e));
	e = gate_text(&x, text);
	db_abort(x.t);
	if (e != ERR_OK)
		return errmsg_set(em, e, "make it shorter",
		    "the text cannot be checked for names of patients: %s",
		    err_text(e));
	if (!x.hit)
		return ERR_OK;
	return errmsg_set(em, ERR_DENIED,
	    "use the pseudonym; share create --allow-identified is for spaces "
	    "that may hold such data",
	    "a text holds the name or id of a patient of this site");
}
