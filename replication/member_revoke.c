/* replication/member_revoke.c: who is out, what of it stands, and new keys.
 *
 * A revoked device's feeds count up to their cuts, each the head that the
 * registrar had accepted last, as the device signed it: so every node can
 * pass on the ops below it, and a node that holds more sets the rest aside
 * (rulings.md 17).  Cuts only grow: an adoption puts a later head in place. */
#include "replication/member_internal.h"

#include "store/base/mem.h"

static struct member_cut *
cut_find(const struct member *m, const struct op_feed *f)
{
	for (uint32_t i = 0; i < m->n_cuts; i++) {
		struct member_cut *c = &m->cuts[i];

		if (c->feed.compartment == f->compartment &&
		    c->feed.incarnation == f->incarnation &&
		    same_sign(&c->feed.device, &f->device))
			return c;
	}
	return NULL;
}

uint64_t
member_revoked_by(const struct member *m, const struct cry_sign_pk *d)
{
	for (uint32_t i = 0; i < m->n_revoked; i++) {
		if (same_sign(&m->revoked[i].device, d))
			return m->revoked[i].seq;
	}
	return 0;
}

bool
member_is_revoked(const struct member *m, const struct cry_sign_pk *d)
{
	return member_revoked_by(m, d) != 0;
}

enum member_feed
member_feed(
    const struct member *m, const struct op_feed *f, struct op_head *cut)
{
	const struct member_cut *c;

	memset(cut, 0, sizeof(*cut));
	if (!member_might_write(m, &f->device, f->compartment))
		return MEMBER_FEED_NONE;
	if (!member_is_revoked(m, &f->device))
		return member_is_frozen(m, &f->device) ? MEMBER_FEED_HELD
						       : MEMBER_FEED_OPEN;
	if ((c = cut_find(m, f)) != NULL)
		*cut = c->head;
	return MEMBER_FEED_CUT;
}

uint64_t
member_feeds_gen(const struct member *m)
{
	return m->feeds_gen;
}

bool
member_cut_at(const struct member *m, const struct cry_sign_pk *d, uint32_t i,
    struct member_cut *out)
{
	for (uint32_t k = 0; k < m->n_cuts; k++) {
		if (!same_sign(&m->cuts[k].feed.device, d) || i-- > 0)
			continue;
		*out = m->cuts[k];
		return true;
	}
	return false;
}

enum err
member_record_device(struct slice record, struct cry_sign_pk *out)
{
	struct member_record r;
	struct revoke_rec v;
	enum err e = record_decode(record, &r);

	if (e == ERR_OK && r.kind != MEMBER_REVOKE && r.kind != MEMBER_ADOPT)
		e = ERR_MALFORMED;
	if (e == ERR_OK)
		e = revoke_decode(r.content, &v);
	if (e == ERR_OK)
		*out = v.device.sign;
	return e;
}

/* --- revoke, adopt --- */

/* Of this device's feeds, in order, each once, signed by it. */
static enum err
cuts_check(const struct member *m, const struct revoke_rec *v)
{
	struct rd r = rd_init(v->cuts);
	struct op_feed last = { 0 };
	struct member_cut c;
	struct feed_id id;

	for (uint16_t i = 0; i < v->n; i++) {
		cut_read(&r, &m->share, &v->device.sign, &c);
		if (r.err != ERR_OK)
			return r.err;
		if (c.feed.compartment < last.compartment ||
		    (c.feed.compartment == last.compartment && i > 0 &&
			c.feed.incarnation <= last.incarnation))
			return ERR_MALFORMED;
		op_feed_id(&c.feed, &id);
		if (memcmp(&c.head.feed, &id, sizeof(id)) != 0 ||
		    c.head.seq == 0 || c.feed.compartment == 0 ||
		    c.feed.compartment > m->n_compartments)
			return ERR_MALFORMED;
		if (op_head_verify(&c.head, &v->device.sign) != ERR_OK)
			return ERR_AUTH;
		last = c.feed;
	}
	return rd_end(&r);
}

static enum err
cuts_room(struct member *m, uint32_t more)
{
	if (m->n_cuts + more > CUTS_TOTAL_MAX)
		return ERR_LIMIT;
	return member_room(
	    &m->cuts, m->n_cuts, more, &m->cap_cuts, sizeof(*m->cuts));
}

static void
cuts_take(struct member *m, const struct revoke_rec *v)
{
	struct rd r = rd_init(v->cuts);
	struct member_cut c, *had;

	for (uint16_t i = 0; i < v->n; i++) {
		cut_read(&r, &m->share, &v->device.sign, &c);
		had = cut_find(m, &c.feed);
		if (had == NULL)
			m->cuts[m->n_cuts++] = c;
		else if (c.head.seq > had->head.seq)
			*had = c;
	}
	m->feeds_gen++;
}

/* Frozen or not. */
static bool
granted(const struct member *m, const struct cry_device_pub *d)
{
	for (uint32_t i = 0; i < m->n_grants; i++) {
		if (memcmp(&m->grants[i].g.device, d, sizeof(*d)) == 0)
			return true;
	}
	return false;
}

static enum err
revoke_check(const struct member *m, const struct revoke_rec *v)
{
	if (member_is_registrar(m, &v->device.sign))
		return ERR_DENIED; /* a REGISTRARS record comes first */
	if (!granted(m, &v->device))
		return ERR_NOTFOUND;
	return cuts_check(m, v);
}

enum err
apply_revoke(struct member *m, const struct member_record *r, struct slice raw)
{
	struct revoke_rec v;
	uint32_t kept = 0;
	enum err e;

	if ((e = revoke_decode(r->content, &v)) != ERR_OK ||
	    (e = revoke_check(m, &v)) != ERR_OK ||
	    (e = cuts_room(m, v.n)) != ERR_OK ||
	    (e = member_room(&m->past, m->n_past, m->n_grants, &m->cap_past,
		 sizeof(*m->past))) != ERR_OK ||
	    (e = member_room(&m->revoked, m->n_revoked, 1, &m->cap_revoked,
		 sizeof(*m->revoked))) != ERR_OK ||
	    (e = member_record_add(m, r, raw)) != ERR_OK)
		return e;
	for (uint32_t i = 0; i < m->n_grants; i++) {
		if (same_sign(&m->grants[i].g.device.sign, &v.device.sign))
			m->past[m->n_past++] = m->grants[i];
		else
			m->grants[kept++] = m->grants[i];
	}
	m->n_grants = kept;
	m->revoked[m->n_revoked++] =
	    (struct revoked_state){ .device = v.device.sign, .seq = r->seq };
	freezes_end(m, &v.device.sign);
	freezes_end_unheld(m);
	cuts_take(m, &v);
	return ERR_OK;
}

enum err
apply_adopt(struct member *m, const struct member_record *r, struct slice raw)
{
	struct revoke_rec v;
	enum err e;

	if ((e = revoke_decode(r->content, &v)) != ERR_OK)
		return e;
	if (!member_is_revoked(m, &v.device.sign) || v.n == 0)
		return ERR_MALFORMED;
	if ((e = cuts_check(m, &v)) != ERR_OK ||
	    (e = cuts_room(m, v.n)) != ERR_OK ||
	    (e = member_record_add(m, r, raw)) != ERR_OK)
		return e;
	cuts_take(m, &v);
	return ERR_OK;
}

static int
cut_cmp(const void *a, const void *b)
{
	const struct op_feed *x = &((const struct member_cut *)a)->feed;
	const struct op_feed *y = &((const struct member_cut *)b)->feed;

	if (x->compartment != y->compartment)
		return x->compartment < y->compartment ? -1 : 1;
	return x->incarnation < y->incarnation
		   ? -1
		   : x->incarnation > y->incarnation;
}

static enum err
cuts_write(const struct member_revoke *v, struct buf *content)
{
	struct member_cut *c = mem_array(v->n_cuts + 1, sizeof(*c));

	if (c == NULL)
		return ERR_NOMEM;
	if (v->n_cuts > 0)
		memcpy(c, v->cuts, v->n_cuts * sizeof(*c));
	qsort(c, v->n_cuts, sizeof(*c), cut_cmp);
	buf_u16(content, (uint16_t)v->n_cuts);
	for (uint32_t i = 0; i < v->n_cuts; i++)
		cut_write(&c[i], content);
	mem_free(c);
	return buf_err(content);
}

/* No reason is one, too: texts are never empty. */
static enum err
build_cuts(enum member_kind kind, const struct member *m,
    const struct cry_identity *me, const struct member_keys *keys,
    const struct member_revoke *v, struct buf *out)
{
	struct buf content = BUF_MAX(LIM_MEMBER_RECORD_BYTES);
	struct member_record r = next_record(m, kind);
	const char *why =
	    v->reason != NULL && v->reason[0] != '\0' ? v->reason : "-";
	enum err e;

	if (v->n_cuts > MEMBER_CUTS_MAX || !name_ok(why))
		return ERR_LIMIT;
	device_put(&content, &v->device);
	if ((e = cuts_write(v, &content)) == ERR_OK) {
		text_seal(&keys->name, why, &content);
		e = build_finish(m, &r, &content, me, out);
	}
	buf_fini(&content);
	return e;
}

enum err
member_build_revoke(const struct member *m, const struct cry_identity *me,
    const struct member_keys *keys, const struct member_revoke *v,
    struct buf *out)
{
	return build_cuts(MEMBER_REVOKE, m, me, keys, v, out);
}

enum err
member_build_adopt(const struct member *m, const struct cry_identity *me,
    const struct member_keys *keys, const struct member_revoke *v,
    struct buf *out)
{
	return build_cuts(MEMBER_ADOPT, m, me, keys, v, out);
}

/* --- rotate --- */

enum err
apply_rotate(struct member *m, const struct member_record *r, struct slice raw)
{
	struct compartment_state *c;
	struct rotate_rec v;
	enum err e;

	if ((e = rotate_decode(r->content, &v)) != ERR_OK)
		return e;
	c = compartment_find(m, v.compartment);
	if (c == NULL || c->epoch == UINT32_MAX || v.epoch != c->epoch + 1)
		return ERR_MALFORMED;
	if ((e = member_record_add(m, r, raw)) == ERR_OK)
		c->epoch = v.epoch;
	return e;
}

/* One seal a device, however many grants it has; with the way down if one of
 * them gives history. */
static bool
reads(const struct member *m, uint32_t i, uint16_t no, bool *history)
{
	const struct cry_device_pub *d = &m->grants[i].g.device;
	bool any = false;

	*history = false;
	for (uint32_t k = 0; k < m->n_grants; k++) {
		const struct member_grant *g = &m->grants[k].g;

		if (g->role == ROLE_HUB ||
		    !same_sign(&g->device.sign, &d->sign))
			continue;
		if (g->compartment != COMPARTMENT_ALL && g->compartment != no)
			continue;
		if (!any && k < i)
			return false; /* had its seal */
		any = true;
		*history |= !g->no_history;
	}
	return any && m->grants[i].g.role != ROLE_HUB &&
	       (m->grants[i].g.compartment == COMPARTMENT_ALL ||
		   m->grants[i].g.compartment == no);
}

static enum err
rotate_seals(struct seals *s, const struct member *m,
    const struct cry_identity *me, const struct member_keys *fresh)
{
	struct member_epoch_key bare = fresh->k[0];
	struct member_keys forward = {
		.name = fresh->name, .n = 1, .k = &bare
	};
	enum err e = seals_own(s, &m->share, me, fresh);
	bool history;

	memset(&bare.ladder, 0, sizeof(bare.ladder));
	for (uint32_t i = 0; i < m->n_grants && e == ERR_OK; i++) {
		const struct cry_device_pub *d = &m->grants[i].g.device;

		if (same_sign(&d->sign, &me->pub.sign) ||
		    !reads(m, i, bare.compartment, &history))
			continue;
		e = seals_add(
		    s, &m->share, &d->box, history ? fresh : &forward);
	}
	cry_wipe(&bare, sizeof(bare));
	return e;
}

enum err
member_build_rotate(const struct member *m, const struct cry_identity *me,
    const struct member_keys *keys, uint16_t compartment, struct buf *out)
{
	uint32_t epoch = member_epoch(m, compartment);
	const struct member_epoch_key *had =
	    member_key(keys, compartment, epoch);
	struct seals seals = { .body = BUF_MAX(LIM_MEMBER_RECORD_BYTES) };
	struct buf content = BUF_MAX(LIM_MEMBER_RECORD_BYTES);
	struct member_record r = next_record(m, MEMBER_ROTATE);
	struct member_epoch_key now = { .compartment = compartment,
		.epoch = epoch + 1 };
	struct member_keys fresh = { .name = keys->name, .n = 1, .k = &now };
	enum err e;

	if (had == NULL)
		return ERR_NOTFOUND;
	cry_random(now.content.b, sizeof(now.content.b));
	cry_random(now.ladder.b, sizeof(now.ladder.b));
	buf_u16(&content, compartment);
	buf_u32(&content, now.epoch);
	if ((e = ladder_seal(&m->share, &now, had, &content)) != ERR_OK ||
	    (e = rotate_seals(&seals, m, me, &fresh)) != ERR_OK)
		goto out;
	seals_put(&seals, &content);
	e = build_finish(m, &r, &content, me, out);
out:
	cry_wipe(&now, sizeof(now));
	buf_fini(&content);
	buf_fini(&seals.body);
	return e;
}
