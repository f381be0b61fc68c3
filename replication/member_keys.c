/* replication/member_keys.c: what the chain seals to us.
 *
 * Every record may carry seals {box key, crypto_box_seal}; ours hold the
 * share's name key and content and ladder keys of the compartments we were
 * granted.  A seal that does not open is passed over: only a registrar could
 * have put it there, and the rest of the chain still counts. */
#include "replication/member_internal.h"

#include "store/base/mem.h"

#define KEYS_VERSION 1u
#define LADDER_DOMAIN "psc.ladder.1"
#define KEY_ITEM_BYTES (2u + 4u + 64u)

void
member_keys_fini(struct member_keys *k)
{
	if (k->k != NULL)
		cry_wipe(k->k, k->cap * sizeof(*k->k));
	mem_free(k->k);
	cry_wipe(k, sizeof(*k));
}

const struct member_epoch_key *
member_key(const struct member_keys *k, uint16_t compartment, uint32_t epoch)
{
	for (uint32_t i = k->n; i-- > 0;) { /* the newest are asked for most */
		if (k->k[i].compartment == compartment &&
		    k->k[i].epoch == epoch)
			return &k->k[i];
	}
	return NULL;
}

/* Memory that held keys is wiped before it is given back. */
static enum err
keys_room(struct member_keys *k)
{
	uint32_t cap = k->cap == 0 ? 8 : k->cap * 2;
	struct member_epoch_key *p;

	if (k->n < k->cap)
		return ERR_OK;
	if (k->n >= MEMBER_KEYS_MAX)
		return ERR_LIMIT;
	if ((p = mem_array(cap, sizeof(*p))) == NULL)
		return ERR_NOMEM;
	if (k->k != NULL) {
		memcpy(p, k->k, k->n * sizeof(*p));
		cry_wipe(k->k, k->cap * sizeof(*p));
		mem_free(k->k);
	}
	k->k = p;
	k->cap = cap;
	return ERR_OK;
}

enum err
member_keys_add(struct member_keys *k, const struct member_epoch_key *key)
{
	enum err e = keys_room(k);

	if (e == ERR_OK)
		k->k[k->n++] = *key;
	return e;
}

/* --- ladder: AEAD under L_e of {E_(e-1), L_(e-1)} --- */

static void
ladder_ad(const struct share_id *share, const struct member_epoch_key *now,
    struct buf *ad)
{
	buf_put_str(ad, LADDER_DOMAIN);
	buf_put(ad, share->b, sizeof(share->b));
	buf_u16(ad, now->compartment);
	buf_u32(ad, now->epoch);
}

enum err
ladder_seal(const struct share_id *share, const struct member_epoch_key *now,
    const struct member_epoch_key *before, struct buf *out)
{
	struct buf ad = BUF_MAX(128);
	uint8_t nonce[CRY_NONCE_BYTES], plain[64];

	memcpy(plain, before->content.b, 32);
	memcpy(plain + 32, before->ladder.b, 32);
	cry_random(nonce, sizeof(nonce));
	ladder_ad(share, now, &ad);
	buf_put(out, nonce, sizeof(nonce));
	if (buf_err(&ad) == ERR_OK)
		cry_aead_seal(&now->ladder, nonce, buf_slice(&ad),
		    slice_of(plain, sizeof(plain)), out);
	cry_wipe(plain, sizeof(plain));
	buf_fini(&ad);
	return buf_err(out);
}

enum err
ladder_open(const struct share_id *share, const struct member_epoch_key *now,
    struct slice sealed, struct member_epoch_key *before)
{
	struct buf ad = BUF_MAX(128), plain = BUF_MAX(64);
	enum err e;

	ladder_ad(share, now, &ad);
	if (sealed.n != LADDER_BYTES)
		e = ERR_MALFORMED;
	else if ((e = buf_err(&ad)) == ERR_OK)
		e = cry_aead_open(&now->ladder, sealed.p, buf_slice(&ad),
		    slice_of(
			sealed.p + CRY_NONCE_BYTES, sealed.n - CRY_NONCE_BYTES),
		    &plain);
	if (e == ERR_OK && plain.n != 64)
		e = ERR_MALFORMED;
	if (e == ERR_OK) {
		before->compartment = now->compartment;
		before->epoch = now->epoch - 1;
		memcpy(before->content.b, plain.p, 32);
		memcpy(before->ladder.b, plain.p + 32, 32);
	}
	buf_wipe(&plain);
	buf_fini(&ad);
	return e;
}

void
keys_encode(
    const struct share_id *share, const struct member_keys *k, struct buf *out)
{
	buf_u8(out, KEYS_VERSION);
	buf_put(out, share->b, sizeof(share->b));
	buf_put(out, k->name.b, sizeof(k->name.b));
	buf_u32(out, k->n);
	for (uint32_t i = 0; i < k->n; i++) {
		buf_u16(out, k->k[i].compartment);
		buf_u32(out, k->k[i].epoch);
		buf_put(out, k->k[i].content.b, sizeof(k->k[i].content.b));
		buf_put(out, k->k[i].ladder.b, sizeof(k->k[i].ladder.b));
	}
}

enum err
keys_decode(
    struct slice in, const struct share_id *share, struct member_keys *out)
{
	struct rd r = rd_init(in);
	struct share_id s;
	enum err e = ERR_OK;
	uint32_t n;

	if (rd_u8(&r) != KEYS_VERSION)
		rd_fail(&r, ERR_UNSUPPORTED);
	rd_copy(&r, s.b, sizeof(s.b));
	if (r.err == ERR_OK && memcmp(&s, share, sizeof(s)) != 0)
		return ERR_AUTH; /* sealed for another share */
	rd_copy(&r, out->name.b, sizeof(out->name.b));
	n = rd_count(&r, LIM_COMPARTMENTS, KEY_ITEM_BYTES);
	out->n = 0;
	for (uint32_t i = 0; i < n && e == ERR_OK; i++) {
		struct member_epoch_key k;

		k.compartment = rd_u16(&r);
		k.epoch = rd_u32(&r);
		rd_copy(&r, k.content.b, sizeof(k.content.b));
		rd_copy(&r, k.ladder.b, sizeof(k.ladder.b));
		e = member_keys_add(out, &k);
		cry_wipe(&k, sizeof(k));
	}
	return e != ERR_OK ? e : rd_end(&r);
}

static bool
key_zero(const struct cry_key *k)
{
	static const struct cry_key none;

	return cry_equal(k->b, none.b, sizeof(none.b));
}

/* The name's key and those of compartments we may read; what leads down the
 * ladder is kept over what does not. */
static enum err
merge_one(struct member_keys *into, const struct member_epoch_key *k)
{
	for (uint32_t i = 0; i < into->n; i++) {
		if (into->k[i].compartment != k->compartment ||
		    into->k[i].epoch != k->epoch)
			continue;
		if (!key_zero(&k->ladder))
			into->k[i] = *k;
		return ERR_OK;
	}
	return member_keys_add(into, k);
}

static enum err
merge(const struct member *m, const struct cry_sign_pk *me,
    const struct member_keys *from, struct member_keys *into)
{
	enum err e = ERR_OK;

	into->name = from->name;
	for (uint32_t i = 0; i < from->n && e == ERR_OK; i++) {
		if (member_may_read(m, me, from->k[i].compartment))
			e = merge_one(into, &from->k[i]);
	}
	return e;
}

/* From the last rotation to the first: each opens the one before it. */
static enum err
ladder_walk(const struct member *m, struct member_keys *keys)
{
	enum err e = ERR_OK;

	for (uint32_t i = m->n_records; i-- > 0 && e == ERR_OK;) {
		const struct member_epoch_key *now;
		struct member_epoch_key before;
		struct member_record r;
		struct rotate_rec ro;

		if (record_decode(member_record(m, i), &r) != ERR_OK ||
		    r.kind != MEMBER_ROTATE ||
		    rotate_decode(r.content, &ro) != ERR_OK)
			continue;
		now = member_key(keys, ro.compartment, ro.epoch);
		if (now == NULL || key_zero(&now->ladder) ||
		    ladder_open(&m->share, now, ro.ladder, &before) != ERR_OK)
			continue;
		e = merge_one(keys, &before);
		cry_wipe(&before, sizeof(before));
	}
	return e;
}

/* Opens our seals of one record into out; true if there was one. */
static bool
open_record(const struct member *m, uint32_t i, const struct cry_device_pub *me,
    const struct cry_box_sk *sk, struct member_keys *scratch,
    struct member_keys *out)
{
	static const struct share_id none;
	struct buf plain = BUF_MAX(LIM_MEMBER_RECORD_BYTES);
	struct member_record r;
	struct seal_rec s;
	struct slice seals;
	struct rd walk;
	bool found = false;

	if (record_decode(member_record(m, i), &r) != ERR_OK ||
	    record_seals(&r, &seals) != ERR_OK)
		return false;
	walk = rd_init(seals);
	while (seals_next(&walk, &s)) {
		if (memcmp(&s.to, &me->box, sizeof(s.to)) != 0)
			continue;
		buf_reset(&plain);
		if (cry_unseal(&me->box, sk, s.box, &plain) != ERR_OK)
			continue;
		if (keys_decode(buf_slice(&plain), i == 0 ? &none : &m->share,
			scratch) != ERR_OK)
			continue;
		if (merge(m, &me->sign, scratch, out) == ERR_OK)
			found = true;
	}
	buf_wipe(&plain);
	return found;
}

enum err
member_open_keys(const struct member *m, const struct cry_device_pub *me,
    const struct cry_box_sk *sk, struct member_keys *out)
{
	struct member_keys scratch = { 0 };
	bool found = false;

	out->n = 0;
	memset(&out->name, 0, sizeof(out->name));
	for (uint32_t i = 0; i < m->n_records; i++)
		found |= open_record(m, i, me, sk, &scratch, out);
	member_keys_fini(&scratch);
	return found ? ladder_walk(m, out) : ERR_NOTFOUND;
}

enum err
member_share_name(const struct member *m, const struct cry_key *name,
    char out[LIM_NAME_BYTES + 1])
{
	struct member_record r;
	struct genesis g;
	enum err e;

	if ((e = record_decode(member_record(m, 0), &r)) != ERR_OK ||
	    (e = genesis_decode(r.content, &g)) != ERR_OK)
		return e;
	return text_open(name, g.share_name, out);
}

enum err
member_compartment_name(const struct member *m, uint16_t compartment,
    const struct cry_key *name, char out[LIM_NAME_BYTES + 1])
{
	struct compartment_rec c;
	struct member_record r;
	enum err e;

	for (uint32_t i = 0; i < m->n_compartments; i++) {
		if (m->compartments[i].number != compartment)
			continue;
		e = record_decode(
		    member_record(m, m->compartments[i].record), &r);
		if (e != ERR_OK ||
		    (e = compartment_decode(r.content, &c)) != ERR_OK)
			return e;
		return text_open(name, c.name, out);
	}
	return ERR_NOTFOUND;
}

enum err
member_grant_name(const struct member *m, uint32_t i,
    const struct cry_key *name, char out[LIM_NAME_BYTES + 1])
{
	struct member_record r;
	struct grant_rec gr;
	struct genesis g;
	enum err e;

	REQUIRE(i < m->n_grants);
	e = record_decode(member_record(m, m->grants[i].record), &r);
	if (e != ERR_OK)
		return e;
	if (r.kind == MEMBER_GENESIS) {
		if ((e = genesis_decode(r.content, &g)) != ERR_OK)
			return e;
		return text_open(name, g.site_name, out);
	}
	if ((e = grant_decode(r.content, &gr)) != ERR_OK)
		return e;
	return text_open(name, gr.site_name, out);
}
