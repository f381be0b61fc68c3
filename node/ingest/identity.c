/* node/ingest/identity.c: which pseudonym a patient gets, and new UIDs.
 *
 * Order: the map (what this patient was called before), the imported lookup
 * list, a new name by the project's pattern: the next number, a random one,
 * or a keyed hash of the patient's id.  A patient is a PatientID with its
 * issuer and the sender's domain: equal numbers of two hospitals are two
 * people.  The map's row is durable
 * before the name is used.  UIDs are 2.25.<UUID> with 122 keyed bits, so that
 * every object of a site maps the same UID alike, for years, and references
 * resolve even if the target arrives later.  Days by which dates are moved
 * are keyed by the share and the subject.  domain.md 4, 6, 7; rulings.md 12. */
#include <ctype.h>

#include "node/ingest/ingest_internal.h"
#include "store/base/enc.h"
#include "store/base/mem.h"

#define SHIFT_DAYS_MAX 3652u
#define RANDOM_TRIES 10000u
#define KEYED_BYTES 10u /* 80 bits, 16 characters */
/* PatientIDs of one person; more come under one name by a mistake. */
#define PEOPLE_BYTES (64 * sizeof(struct key16))

struct name_job {
	struct ingest *g;
	const struct sink *k;
	const struct img_identity *id;
	struct key16 map_key;
	struct key16 list_key;
	struct conf_project project;
	const char *how; /* the name was found: "list", "random" .. */
	char *out;       /* CAT_KEY_MAX + 1 */
};

/* Upper case, no spaces at the ends or doubled inside: PatientIDs differ by
 * typing only. */
void
id_normalise(const char *in, char *out, size_t cap)
{
	size_t n = 0;
	bool space = false;

	for (; *in != '\0' && n + 2 < cap; in++) {
		if (isspace((unsigned char)*in)) {
			space = n > 0;
			continue;
		}
		if (space)
			out[n++] = ' ';
		space = false;
		out[n++] = (char)toupper((unsigned char)*in);
	}
	out[n] = '\0';
}

/* The pseudonym a row of "pmap" or "plist" holds; t is a job's or a read. */
static enum err
row_subject(struct name_job *j, struct db_txn *t, const char *tag,
    const struct key16 *key)
{
	struct buf b = BUF_MAX(4 * KIB);
	struct mp_limits lim = { 4 * KIB, 16, 4 };
	struct mp_doc d = { 0 };
	enum err e =
	    store_row_get(j->g->o.store, t, tag, slice_of(key->b, 16), &b);

	if (e == ERR_OK && mp_parse(buf_slice(&b), &lim, &d) != ERR_OK)
		e = ERR_CORRUPT;
	if (e == ERR_OK) {
		mp_text(&d, mp_get(d.root, "subject"), j->out, CAT_KEY_MAX + 1);
		e = d.err == ERR_OK ? ERR_OK : ERR_CORRUPT;
	}
	mp_doc_fini(&d);
	buf_wipe(&b);
	return e;
}

/* "{site}-{n:04}" for the number n; text, if it is not "", for {n}. */
static enum err
pattern_fill(struct name_job *j, uint64_t n, const char *text)
{
	const char *p = j->project.pattern;
	struct buf b = BUF_MAX(PSEUDONYM_BYTES_MAX);
	enum err e;

	while (*p != '\0' && buf_err(&b) == ERR_OK) {
		if (strncmp(p, "{site}", 6) == 0) {
			buf_put_str(&b, j->g->o.conf->site);
			p += 6;
		} else if (strncmp(p, "{n:0", 4) == 0 &&
			   isdigit((unsigned char)p[4]) && p[5] == '}') {
			buf_printf(
			    &b, "%0*llu", p[4] - '0', (unsigned long long)n);
			p += 6;
		} else if (strncmp(p, "{n}", 3) == 0) {
			if (*text != '\0')
				buf_put_str(&b, text);
			else
				buf_printf(&b, "%llu", (unsigned long long)n);
			p += 3;
		} else {
			buf_u8(&b, (uint8_t)*p++);
		}
	}
	e = buf_err(&b);
	if (e == ERR_OK) {
		memcpy(j->out, b.p, b.n);
		j->out[b.n] = '\0';
	}
	buf_fini(&b);
	return e;
}

/* By as many digits as the pattern has room for. */
static enum err
name_random(struct name_job *j)
{
	const char *at = strstr(j->project.pattern, "{n:0");
	uint64_t n = 0, range = 1;
	uint8_t r[8];
	int digits = at != NULL ? at[4] - '0' : 9;

	for (; digits > 0; digits--)
		range *= 10;
	cry_random(r, sizeof(r));
	for (size_t k = 0; k < sizeof(r); k++)
		n = n << 8 | r[k];
	return pattern_fill(j, n % range, "");
}

void
id_name_key(const struct ingest *g, const char *name, struct key16 *out)
{
	struct slice part = slice_str(name);

	key16_of(g, "psc.pname.1", &part, 1, out);
}

void
id_list_key(const struct ingest *g, const char *domain, const char *patient_id,
    struct key16 *out)
{
	char norm[IMG_TEXT_MAX + 2];
	struct slice parts[2];

	id_normalise(patient_id, norm, sizeof(norm));
	parts[0] = slice_str(domain);
	parts[1] = slice_str(norm);
	key16_of(g, "psc.plist.2", parts, 2, out);
}

enum err
id_domain_check(const char *domain, struct errmsg *em)
{
	if (domain == NULL || strlen(domain) <= ID_DOMAIN_MAX)
		return ERR_OK;
	return errmsg_set(em, ERR_LIMIT, "give the name of the inboxes' domain",
	    "a domain has at most %u characters", ID_DOMAIN_MAX);
}

/* Of a row "psub". */
static void
sub_key(const struct ingest *g, const struct share_id *share,
    const char *subject, struct key16 *out)
{
	struct slice parts[2] = { slice_of(share->b, 32), slice_str(subject) };

	key16_of(g, "psc.psub.1", parts, 2, out);
}

/* Does a lookup list or this share give the name to somebody? */
static enum err
name_taken(struct store_txn *t, const struct name_job *j, bool *taken)
{
	struct db_txn *db = store_txn_db(t);
	struct key16 key;
	enum err e;

	id_name_key(j->g, j->out, &key);
	e = store_row_there(db, "plname", slice_of(key.b, 16));
	if (e == ERR_NOTFOUND) {
		sub_key(j->g, &j->k->share, j->out, &key);
		e = store_row_there(db, "psub", slice_of(key.b, 16));
	}
	*taken = e == ERR_OK;
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

static enum err
name_sequential(struct store_txn *t, struct name_job *j)
{
	uint64_t n;
	enum err e = seq_next(t, "pseq", slice_of(j->k->share.b, 32), &n);

	return e == ERR_OK ? pattern_fill(j, n, "") : e;
}

static enum err key_job(struct store_txn *t, void *ctx);
struct key_job {
	const struct share_id *share;
	struct cry_key *out;
};

/* Whoever has the key can tell the name of any PatientID: it stays here. */
static enum err
name_keyed(struct store_txn *t, struct name_job *j)
{
	struct slice part = slice_of(j->map_key.b, sizeof(j->map_key.b));
	char text[ENC_B32_LEN(KEYED_BYTES) + 1];
	struct cry_key key;
	struct key_job kj = { &j->k->share, &key };
	uint8_t h[16];
	enum err e = key_job(t, &kj);

	if (e != ERR_OK)
		return e;
	cry_hash_parts(&key, "psc.pseudonym.1", &part, 1, h, sizeof(h));
	cry_wipe(&key, sizeof(key));
	enc_b32(slice_of(h, KEYED_BYTES), text);
	return pattern_fill(j, 0, text);
}

/* A name that nobody has; it is marked as taken, so that no later list can
 * give it either. */
static enum err
name_from_pattern(struct store_txn *t, struct name_job *j)
{
	bool random = strcmp(j->project.pseudonyms, "random") == 0;
	bool keyed = strcmp(j->project.pseudonyms, "keyed") == 0;
	bool taken = true;
	uint32_t tries;
	struct key16 key;
	enum err e = ERR_OK;

	for (tries = 0; e == ERR_OK && taken; tries++) {
		if (tries == RANDOM_TRIES || (keyed && tries > 0))
			return ERR_LIMIT;
		if (keyed)
			e = name_keyed(t, j);
		else
			e = random ? name_random(j) : name_sequential(t, j);
		if (e == ERR_OK)
			e = name_taken(t, j, &taken);
	}
	if (e != ERR_OK)
		return e;
	id_name_key(j->g, j->out, &key);
	return store_row_put(t, "pused", slice_of(key.b, 16), SLICE_LIT("1"));
}

/* The way back: from the name to whom it stands for. */
static enum err
sub_keep(struct store_txn *t, const struct name_job *j)
{
	struct buf b = BUF_MAX(PEOPLE_BYTES);
	struct key16 key;
	enum err e;

	sub_key(j->g, &j->k->share, j->out, &key);
	e = store_row_get(store_txn_store(t), store_txn_db(t), "psub",
	    slice_of(key.b, 16), &b);
	if (e == ERR_OK || e == ERR_NOTFOUND) {
		buf_put(&b, j->map_key.b, sizeof(j->map_key.b));
		e = buf_err(&b);
	}
	if (e == ERR_OK)
		e = store_row_put(
		    t, "psub", slice_of(key.b, 16), buf_slice(&b));
	buf_fini(&b);
	return e;
}

static enum err
name_keep(struct store_txn *t, const struct name_job *j)
{
	struct buf b = BUF_MAX(4 * KIB);
	enum err e;

	mp_w_map(&b, 6);
	mp_kv_cstr(&b, "subject", j->out);
	mp_kv_cstr(&b, "domain", j->k->domain);
	mp_kv_cstr(&b, "how", j->how);
	mp_kv_cstr(&b, "patient_id", j->id->patient_id);
	mp_kv_cstr(&b, "issuer", j->id->issuer);
	mp_kv_cstr(&b, "patient_name", j->id->patient_name);
	e = buf_err(&b);
	if (e == ERR_OK)
		e = store_row_put(
		    t, "pmap", slice_of(j->map_key.b, 16), buf_slice(&b));
	buf_wipe(&b);
	if (e == ERR_OK)
		e = sub_keep(t, j);
	if (e == ERR_OK)
		e = gate_keep(t, j->g, j->id);
	if (e == ERR_OK)
		e = cat_audit_append(
		    t, "node", "pseudonym.new", j->out, j->how);
	return e;
}

static enum err
name_job(struct store_txn *t, void *ctx)
{
	struct name_job *j = ctx;
	enum err e;

	e = row_subject(j, store_txn_db(t), "pmap", &j->map_key);
	if (e != ERR_NOTFOUND)
		return e;
	e = row_subject(j, store_txn_db(t), "plist", &j->list_key);
	j->how = "list";
	if (e == ERR_NOTFOUND) {
		j->how = j->project.pseudonyms;
		e = name_from_pattern(t, j);
	}
	if (e == ERR_OK)
		e = name_keep(t, j);
	return e;
}

/* The map is read first: a write is needed once a patient. */
static enum err
name_known(struct name_job *j)
{
	struct db_txn *t;
	enum err e = store_read(j->g->o.store, &t);

	if (e != ERR_OK)
		return e;
	e = row_subject(j, t, "pmap", &j->map_key);
	db_abort(t);
	return e;
}

static enum err
id_subject(struct ingest *g, const struct sink *k,
    const struct img_identity *id, char out[CAT_KEY_MAX + 1])
{
	struct name_job j = { .g = g, .k = k, .id = id, .out = out };
	char norm[IMG_TEXT_MAX + 2], issuer[IMG_TEXT_MAX + 2];
	struct slice parts[5];
	enum err e;

	id_normalise(id->patient_id, norm, sizeof(norm));
	id_normalise(id->issuer, issuer, sizeof(issuer));
	parts[0] = slice_of(k->share.b, 32);
	parts[1] = slice_str(norm);
	parts[2] = slice_str(issuer);
	/* Without a PatientID the name is all that tells patients apart. */
	parts[3] =
	    norm[0] == '\0' ? slice_str(id->patient_name) : (struct slice){ 0 };
	parts[4] = slice_str(k->domain);
	key16_of(g, "psc.pmap.2", parts, 5, &j.map_key);
	id_list_key(g, k->domain, id->patient_id, &j.list_key);
	e = name_known(&j);
	if (e == ERR_NOTFOUND) {
		conf_project_of(g->o.conf, k->share_name, &j.project);
		e = store_write(g->o.store, name_job, &j);
	}
	return e;
}

/* --- back --- */

static enum err
person_get(struct ingest *g, struct db_txn *t, const uint8_t *map_key,
    struct ingest_person *out)
{
	struct buf b = BUF_MAX(4 * KIB);
	struct mp_limits lim = { 4 * KIB, 16, 4 };
	struct mp_doc d = { 0 };
	const struct mp_node *r;
	enum err e =
	    store_row_get(g->o.store, t, "pmap", slice_of(map_key, 16), &b);

	if (e == ERR_OK && mp_parse(buf_slice(&b), &lim, &d) != ERR_OK)
		e = ERR_CORRUPT;
	if (e == ERR_OK) {
		r = d.root;
		mp_text(&d, mp_get(r, "subject"), out->subject,
		    sizeof(out->subject));
		mp_text(&d, mp_get(r, "patient_id"), out->patient_id,
		    sizeof(out->patient_id));
		mp_text(
		    &d, mp_get(r, "issuer"), out->issuer, sizeof(out->issuer));
		mp_text(&d, mp_get(r, "patient_name"), out->patient_name,
		    sizeof(out->patient_name));
		mp_text(
		    &d, mp_get(r, "domain"), out->domain, sizeof(out->domain));
		e = d.err == ERR_OK ? ERR_OK : ERR_CORRUPT;
	}
	mp_doc_fini(&d);
	buf_wipe(&b);
	return e;
}

enum err
id_people(struct ingest *g, struct db_txn *t, const struct share_id *share,
    const char *subject, ingest_person_fn fn, void *ctx)
{
	struct buf b = BUF_MAX(PEOPLE_BYTES);
	struct ingest_person p = { .share = "" };
	struct key16 key;
	size_t at;
	enum err e;

	sub_key(g, share, subject, &key);
	e = store_row_get(g->o.store, t, "psub", slice_of(key.b, 16), &b);
	if (e == ERR_OK && b.n % 16 != 0)
		e = ERR_CORRUPT;
	for (at = 0; e == ERR_OK && at < b.n; at += 16) {
		e = person_get(g, t, b.p + at, &p);
		if (e == ERR_OK && fn(ctx, &p) != 0)
			break;
	}
	explicit_bzero(&p, sizeof(p));
	buf_fini(&b);
	return e;
}

__extension__ typedef unsigned __int128 uint128;

static enum err
key_get(struct store *s, struct db_txn *t, const struct share_id *share,
    struct cry_key *out)
{
	struct buf b = BUF_MAX(32);
	enum err e = store_row_get(s, t, "pkey", slice_of(share->b, 32), &b);

	if (e == ERR_OK && b.n != 32)
		e = ERR_CORRUPT;
	if (e == ERR_OK)
		memcpy(out->b, b.p, 32);
	buf_wipe(&b);
	return e;
}

static enum err
key_job(struct store_txn *t, void *ctx)
{
	struct key_job *j = ctx;
	enum err e =
	    key_get(store_txn_store(t), store_txn_db(t), j->share, j->out);

	if (e != ERR_NOTFOUND)
		return e;
	cry_random(j->out->b, 32);
	return store_row_put(
	    t, "pkey", slice_of(j->share->b, 32), slice_of(j->out->b, 32));
}

enum err
id_project_key(
    struct ingest *g, const struct share_id *share, struct cry_key *out)
{
	struct key_job j = { share, out };
	struct db_txn *t;
	enum err e = store_read(g->o.store, &t);

	if (e != ERR_OK)
		return e;
	e = key_get(g->o.store, t, share, out);
	db_abort(t);
	return e == ERR_NOTFOUND ? store_write(g->o.store, key_job, &j) : e;
}

/* "2.25." and the decimal value of a version 8 UUID (RFC 9562) with 122
 * keyed bits; PS3.5 section B.2 allows any UUID there. */
static void
uid_new(const struct cry_key *key, const char *old, char out[IMG_UID_MAX + 1])
{
	struct slice part = slice_str(old);
	uint128 v = 0;
	uint8_t u[16];
	char digits[40];
	int i, n = 0;

	cry_hash_parts(key, "psc.uid.1", &part, 1, u, sizeof(u));
	u[6] = (uint8_t)((u[6] & 0x0f) | 0x80);
	u[8] = (uint8_t)((u[8] & 0x3f) | 0x80);
	for (i = 0; i < 16; i++)
		v = v << 8 | u[i];
	do {
		digits[n++] = (char)('0' + (int)(v % 10));
		v /= 10;
	} while (v != 0);
	memcpy(out, "2.25.", 5);
	for (i = 0; i < n; i++)
		out[5 + i] = digits[n - 1 - i];
	out[5 + n] = '\0';
}

/* Whole days, the same for a subject for years, 1 to 3,652 (ten years) back:
 * no date of a trial lies in the future, and never 0.  domain.md 7. */
static int32_t
shift_of(const struct cry_key *key, const char *subject)
{
	struct slice part = slice_str(subject);
	uint8_t h[16];
	uint64_t v = 0;

	cry_hash_parts(key, "psc.shift.1", &part, 1, h, sizeof(h));
	for (size_t k = 0; k < 8; k++)
		v = v << 8 | h[k];
	return -(int32_t)(1 + v % SHIFT_DAYS_MAX);
}

enum err
id_answer_make(struct ingest *g, const struct sink *k,
    const struct img_identity *id, struct id_answer *out)
{
	struct cry_key key;
	uint32_t i;
	enum err e;

	memset(out, 0, sizeof(*out));
	e = id_subject(g, k, id, out->subject);
	if (e == ERR_OK)
		e = id_project_key(g, &k->share, &key);
	if (e != ERR_OK)
		return e;
	out->uids = mem_array(id->n_uids + 1, sizeof(*out->uids));
	out->uid_ptrs = mem_array(id->n_uids + 1, sizeof(*out->uid_ptrs));
	if (out->uids == NULL || out->uid_ptrs == NULL) {
		id_answer_fini(out);
		cry_wipe(&key, sizeof(key));
		return ERR_NOMEM;
	}
	for (i = 0; i < id->n_uids; i++) {
		uid_new(&key, id->uids[i], out->uids[i]);
		out->uid_ptrs[i] = out->uids[i];
	}
	out->ctx = (struct img_context){
		.profile = k->profile,
		.subject = out->subject,
		.shift_days = shift_of(&key, out->subject),
		.new_uids = out->uid_ptrs,
		.n_uids = id->n_uids,
		.no_deid = k->no_deid,
	};
	cry_wipe(&key, sizeof(key));
	return ERR_OK;
}

void
id_answer_fini(struct id_answer *a)
{
	mem_free(a->uids);
	mem_free(a->uid_ptrs);
	a->uids = NULL;
	a->uid_ptrs = NULL;
}
