/* replication/member_keys.c: what the chain seals to us.
 *
 * Every record may carry seals {box key, crypto_box_seal}; ours hold the
 * share's name key and content and ladder keys of the compartments we were
 * granted.  A seal that does not open is passed over: only a registrar could
 * have put it there, and the rest of the chain still counts. */
#include "replication/member_internal.h"

#include "store/base/mem.h"

#define KEYS_VERSION 1u
#define KEY_ITEM_BYTES (2u + 4u + 64u)

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

	if (rd_u8(&r) != KEYS_VERSION)
		rd_fail(&r, ERR_UNSUPPORTED);
	rd_copy(&r, s.b, sizeof(s.b));
	if (r.err == ERR_OK && memcmp(&s, share, sizeof(s)) != 0)
		return ERR_AUTH; /* sealed for another share */
	rd_copy(&r, out->name.b, sizeof(out->name.b));
	out->n = rd_count(&r, LIM_COMPARTMENTS, KEY_ITEM_BYTES);
	for (uint32_t i = 0; i < out->n; i++) {
		out->k[i].compartment = rd_u16(&r);
		out->k[i].epoch = rd_u32(&r);
		rd_copy(&r, out->k[i].content.b, sizeof(out->k[i].content.b));
		rd_copy(&r, out->k[i].ladder.b, sizeof(out->k[i].ladder.b));
	}
	return rd_end(&r);
}

static void
merge(const struct member *m, const struct cry_sign_pk *me,
    const struct member_keys *from, struct member_keys *into)
{
	into->name = from->name;
	for (uint32_t i = 0; i < from->n; i++) {
		const struct member_epoch_key *k = &from->k[i];
		uint32_t at = 0;

		if (!member_may_read(m, me, k->compartment))
			continue;
		while (at < into->n &&
		       (into->k[at].compartment != k->compartment ||
			   into->k[at].epoch != k->epoch))
			at++;
		if (at == LIM_COMPARTMENTS)
			return;
		into->k[at] = *k;
		if (at == into->n)
			into->n++;
	}
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
		merge(m, &me->sign, scratch, out);
		found = true;
	}
	buf_wipe(&plain);
	return found;
}

enum err
member_open_keys(const struct member *m, const struct cry_device_pub *me,
    const struct cry_box_sk *sk, struct member_keys *out)
{
	struct member_keys *scratch = mem_new(sizeof(*scratch));
	bool found = false;

	if (scratch == NULL)
		return ERR_NOMEM;
	memset(out, 0, sizeof(*out));
	for (uint32_t i = 0; i < m->n_records; i++)
		found |= open_record(m, i, me, sk, scratch, out);
	cry_wipe(scratch, sizeof(*scratch));
	mem_free(scratch);
	return found ? ERR_OK : ERR_NOTFOUND;
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
