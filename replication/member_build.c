/* replication/member_build.c: records written by a registrar.
 *
 * Texts are sealed under the share's name key; keys are sealed, record by
 * record, to each member that may read them and to the registrar's recovery
 * key. */
#include "replication/member_internal.h"

#include "store/base/clock.h"
#include "store/base/mem.h"

void
device_put(struct buf *b, const struct cry_device_pub *d)
{
	buf_put(b, d->site.b, sizeof(d->site.b));
	buf_put(b, d->sign.b, sizeof(d->sign.b));
	buf_put(b, d->box.b, sizeof(d->box.b));
}

enum err
seals_add(struct seals *s, const struct share_id *share,
    const struct cry_box_pk *to, const struct member_keys *keys)
{
	struct buf plain = BUF_MAX(LIM_MEMBER_RECORD_BYTES);
	struct buf box = BUF_MAX(LIM_MEMBER_RECORD_BYTES);
	enum err e;

	keys_encode(share, keys, &plain);
	if ((e = buf_err(&plain)) != ERR_OK)
		goto out;
	cry_seal(to, buf_slice(&plain), &box);
	if ((e = buf_err(&box)) != ERR_OK)
		goto out;
	if (box.n > UINT16_MAX || s->n == MEMBER_SEALS_MAX) {
		e = ERR_LIMIT;
		goto out;
	}
	buf_put(&s->body, to->b, sizeof(to->b));
	buf_u16(&s->body, (uint16_t)box.n);
	buf_put_slice(&s->body, buf_slice(&box));
	s->n++;
	e = buf_err(&s->body);
out:
	buf_wipe(&plain);
	buf_fini(&box);
	return e;
}

void
seals_put(const struct seals *s, struct buf *out)
{
	buf_u16(out, s->n);
	buf_put_slice(out, buf_slice(&s->body));
}

/* To the registrar itself and to its site's recovery key. */
enum err
seals_own(struct seals *s, const struct share_id *share,
    const struct cry_identity *me, const struct member_keys *keys)
{
	enum err e;

	if ((e = seals_add(s, share, &me->pub.box, keys)) != ERR_OK)
		return e;
	return seals_add(s, share, &me->recovery, keys);
}

static enum err
finish(struct member_record *r, struct buf *content, uint8_t signer,
    const struct cry_identity *me, struct buf *out)
{
	struct buf rec = BUF_MAX(LIM_MEMBER_RECORD_BYTES + KIB);
	enum err e;

	if ((e = buf_err(content)) != ERR_OK)
		return e;
	r->wall_ms = clock_wall_ms();
	record_begin(r, &rec);
	e = record_finish(&rec, buf_slice(content), signer, &me->sign_sk);
	if (e == ERR_OK) {
		buf_put_slice(out, buf_slice(&rec));
		e = buf_err(out);
	}
	buf_fini(&rec);
	return e;
}

enum err
build_finish(const struct member *m, struct member_record *r,
    struct buf *content, const struct cry_identity *me, struct buf *out)
{
	for (uint8_t i = 0; i < member_n_registrars(m); i++) {
		if (same_sign(&member_registrar(m, i)->sign, &me->pub.sign))
			return finish(r, content, i, me, out);
	}
	return ERR_DENIED;
}

enum err
member_build_genesis(const struct cry_identity *me, const char *share_name,
    const char *site_name, bool allow_identified, struct buf *out)
{
	struct seals seals = { .body = BUF_MAX(LIM_MEMBER_RECORD_BYTES) };
	struct buf content = BUF_MAX(LIM_MEMBER_RECORD_BYTES);
	struct member_record r = { .kind = MEMBER_GENESIS };
	struct member_keys keys = { 0 };
	enum err e;

	if (!name_ok(share_name) || !name_ok(site_name))
		return ERR_LIMIT;
	cry_random(keys.name.b, sizeof(keys.name.b));
	if ((e = seals_own(&seals, &r.share, me, &keys)) != ERR_OK)
		goto out;
	buf_u8(&content, allow_identified ? GENESIS_IDENTIFIED : 0);
	buf_u8(&content, 1); /* k */
	buf_u8(&content, 1); /* n */
	device_put(&content, &me->pub);
	text_seal(&keys.name, share_name, &content);
	text_seal(&keys.name, site_name, &content);
	seals_put(&seals, &content);
	e = finish(&r, &content, 0, me, out);
out:
	member_keys_fini(&keys);
	buf_fini(&content);
	buf_fini(&seals.body);
	return e;
}

struct member_record
next_record(const struct member *m, enum member_kind kind)
{
	return (struct member_record){ .kind = (uint8_t)kind,
		.share = *member_share(m),
		.seq = member_seq(m) + 1,
		.prev = *member_head(m) };
}

/* Everybody whose grant covers compartments to come. */
static enum err
seals_wide(struct seals *s, const struct member *m,
    const struct cry_identity *me, const struct member_keys *keys)
{
	enum err e;

	for (uint32_t i = 0; i < m->n_grants; i++) {
		const struct member_grant *g = &m->grants[i].g;

		if (g->compartment != COMPARTMENT_ALL || g->role == ROLE_HUB ||
		    memcmp(&g->device.box, &me->pub.box,
			sizeof(g->device.box)) == 0)
			continue;
		e = seals_add(s, &m->share, &g->device.box, keys);
		if (e != ERR_OK)
			return e;
	}
	return ERR_OK;
}

enum err
member_build_compartment(const struct member *m, const struct cry_identity *me,
    const struct member_keys *keys, const char *name, struct buf *out)
{
	struct seals seals = { .body = BUF_MAX(LIM_MEMBER_RECORD_BYTES) };
	struct buf content = BUF_MAX(LIM_MEMBER_RECORD_BYTES);
	struct member_record r = next_record(m, MEMBER_COMPARTMENT);
	uint16_t number = (uint16_t)(m->n_compartments + 1);
	struct member_epoch_key first = { .compartment = number, .epoch = 1 };
	struct member_keys fresh = { .name = keys->name, .n = 1, .k = &first };
	enum err e;

	if (!name_ok(name) || m->n_compartments == LIM_COMPARTMENTS)
		return ERR_LIMIT;
	if (!member_is_registrar(m, &me->pub.sign))
		return ERR_DENIED;
	cry_random(first.content.b, sizeof(first.content.b));
	cry_random(first.ladder.b, sizeof(first.ladder.b));
	if ((e = seals_own(&seals, &m->share, me, &fresh)) != ERR_OK ||
	    (e = seals_wide(&seals, m, me, &fresh)) != ERR_OK)
		goto out;
	buf_u16(&content, number);
	buf_u32(&content, 1);
	text_seal(&keys->name, name, &content);
	seals_put(&seals, &content);
	e = build_finish(m, &r, &content, me, out);
out:
	cry_wipe(&first, sizeof(first));
	buf_fini(&content);
	buf_fini(&seals.body);
	return e;
}

/* The keys a grant hands over: those of each current epoch it covers.  With
 * history the ladder leads down from them. */
static enum err
keys_for(const struct member *m, const struct member_keys *all,
    const struct member_grant *g, struct member_keys *out)
{
	enum err e = ERR_OK;

	out->name = all->name;
	for (uint32_t i = 0; i < all->n && e == ERR_OK; i++) {
		struct member_epoch_key k = all->k[i];

		if ((g->compartment != COMPARTMENT_ALL &&
			k.compartment != g->compartment) ||
		    k.epoch != member_epoch(m, k.compartment))
			continue;
		if (g->no_history)
			memset(&k.ladder, 0, sizeof(k.ladder));
		e = member_keys_add(out, &k);
		cry_wipe(&k, sizeof(k));
	}
	return e;
}

enum err
grant_seal(struct seals *s, const struct member *m,
    const struct member_keys *keys, const struct member_grant *g)
{
	struct member_keys part = { 0 };
	enum err e;

	if (g->role == ROLE_HUB)
		return ERR_OK;
	if ((e = keys_for(m, keys, g, &part)) == ERR_OK)
		e = seals_add(s, &m->share, &g->device.box, &part);
	member_keys_fini(&part);
	return e;
}

enum err
member_build_grant(const struct member *m, const struct cry_identity *me,
    const struct member_keys *keys, const struct member_grant *grant,
    const char *site_name, struct buf *out)
{
	struct seals seals = { .body = BUF_MAX(LIM_MEMBER_RECORD_BYTES) };
	struct buf content = BUF_MAX(LIM_MEMBER_RECORD_BYTES);
	struct member_record r = next_record(m, MEMBER_GRANT);
	enum err e;

	if (!name_ok(site_name))
		return ERR_LIMIT;
	if (!member_is_registrar(m, &me->pub.sign))
		return ERR_DENIED;
	if ((e = member_grant_check(m, grant)) != ERR_OK ||
	    (e = grant_seal(&seals, m, keys, grant)) != ERR_OK)
		goto out;
	device_put(&content, &grant->device);
	buf_u8(&content, (uint8_t)grant->role);
	buf_u16(&content, grant->compartment);
	buf_u8(&content, grant->no_history ? 1 : 0);
	text_seal(&keys->name, site_name, &content);
	seals_put(&seals, &content);
	e = build_finish(m, &r, &content, me, out);
out:
	buf_fini(&content);
	buf_fini(&seals.body);
	return e;
}
