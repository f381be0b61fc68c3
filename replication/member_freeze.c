/* replication/member_freeze.c: statements of admins beside the chain, and the
 * records that end them.
 *
 * A freeze has the form of a record.  It names the last record its author
 * knew of, so that a thaw, which is a record, ends the freezes made before it
 * and no later ones: no clock is asked (rulings.md 20).  Whether its author
 * is frozen itself does not matter: of two who freeze each other both are. */
#include "replication/member_internal.h"

#include "store/base/clock.h"

#define FREEZE_DOMAIN "freeze.1"
#define FREEZES_MAX 256u   /* of a share */
#define FREEZES_BY_MAX 32u /* of one author */
#define SIGNER_BESIDE                                                          \
	255u /* no registrar's index: content names the author                 \
	      */

struct freeze_rec {
	struct cry_sign_pk device, by;
	struct slice reason;
};

static enum err
freeze_decode(struct slice content, struct freeze_rec *out)
{
	struct rd r = rd_init(content);
	struct freeze_rec f = { 0 };
	uint16_t n;

	rd_copy(&r, f.device.b, sizeof(f.device.b));
	rd_copy(&r, f.by.b, sizeof(f.by.b));
	n = rd_u16(&r);
	if (n > MEMBER_SEALED_TEXT_MAX)
		rd_fail(&r, ERR_LIMIT);
	f.reason = rd_bytes(&r, n);
	if (rd_end(&r) == ERR_OK)
		*out = f;
	return rd_end(&r);
}

bool
member_is_frozen(const struct member *m, const struct cry_sign_pk *d)
{
	if (member_is_registrar(m, d))
		return false;
	for (uint32_t i = 0; i < m->n_freezes; i++) {
		if (same_sign(&m->freezes[i].device, d))
			return true;
	}
	return false;
}

/* By the grants alone, frozen or not. */
bool
member_may_freeze(const struct member *m, const struct cry_sign_pk *by)
{
	for (uint32_t i = 0; i < m->n_grants; i++) {
		const struct member_grant *g = &m->grants[i].g;

		if ((g->role == ROLE_ADMIN || g->role == ROLE_REGISTRAR) &&
		    same_sign(&g->device.sign, by))
			return true;
	}
	return member_is_registrar(m, by);
}

static bool
is_grantee(const struct member *m, const struct cry_sign_pk *d)
{
	for (uint32_t i = 0; i < m->n_grants; i++) {
		if (same_sign(&m->grants[i].g.device.sign, d))
			return true;
	}
	return false;
}

static enum err
freeze_signed(const struct member_record *r, const struct freeze_rec *f)
{
	struct rd s = rd_init(r->sigs);
	uint8_t who = rd_u8(&s);
	struct cry_sig sig;

	rd_copy(&s, sig.b, sizeof(sig.b));
	if (r->n_sigs != 1 || who != SIGNER_BESIDE || s.err != ERR_OK)
		return ERR_MALFORMED;
	return cry_verify(&f->by, FREEZE_DOMAIN, r->body, &sig) == ERR_OK
		   ? ERR_OK
		   : ERR_AUTH;
}

/* The record it names is ours, and neither a thaw came after nor an end of its
 * author's right: so it does not matter when it is heard. */
static enum err
freeze_place(const struct member *m, const struct member_record *r,
    const struct freeze_rec *f)
{
	if (memcmp(&r->share, &m->share, sizeof(m->share)) != 0)
		return ERR_MALFORMED;
	if (r->seq >= m->n_records)
		return ERR_AGAIN;
	if (memcmp(&m->records[r->seq].id, &r->prev, sizeof(r->prev)) != 0)
		return ERR_DENIED;
	for (uint32_t i = 0; i < m->n_thaws; i++) {
		if (m->thaws[i].seq > r->seq &&
		    same_sign(&m->thaws[i].device, &f->device))
			return ERR_DENIED;
	}
	for (uint32_t i = 0; i < m->n_unheld; i++) {
		if (m->unheld[i].seq > r->seq &&
		    same_sign(&m->unheld[i].by, &f->by))
			return ERR_DENIED;
	}
	return ERR_OK;
}

static enum err
freeze_add(
    struct member *m, const struct member_record *r, const struct freeze_rec *f)
{
	uint32_t by = 0;
	enum err e;

	for (uint32_t i = 0; i < m->n_freezes; i++) {
		if (!same_sign(&m->freezes[i].by, &f->by))
			continue;
		if (same_sign(&m->freezes[i].device, &f->device))
			return ERR_EXISTS; /* once is enough until a thaw */
		by++;
	}
	if (by >= FREEZES_BY_MAX || m->n_freezes >= FREEZES_MAX)
		return ERR_LIMIT;
	e = member_room(
	    &m->freezes, m->n_freezes, 1, &m->cap_freezes, sizeof(*m->freezes));
	if (e != ERR_OK)
		return e;
	m->freezes[m->n_freezes++] = (struct freeze_state){
		.device = f->device, .by = f->by, .seq = r->seq
	};
	m->feeds_gen++;
	return ERR_OK;
}

enum err
member_freeze(struct member *m, struct slice statement)
{
	struct member_record r;
	struct freeze_rec f;
	enum err e;

	if (statement.n > MEMBER_STATEMENT_MAX)
		return ERR_LIMIT;
	if ((e = record_decode(statement, &r)) != ERR_OK ||
	    (e = freeze_decode(r.content, &f)) != ERR_OK)
		return e;
	if (r.kind != MEMBER_FREEZE)
		return ERR_MALFORMED;
	if ((e = freeze_signed(&r, &f)) != ERR_OK ||
	    (e = freeze_place(m, &r, &f)) != ERR_OK)
		return e;
	if (!member_may_freeze(m, &f.by) || member_is_registrar(m, &f.device) ||
	    !is_grantee(m, &f.device))
		return ERR_DENIED;
	return freeze_add(m, &r, &f);
}

bool
member_is_statement(struct slice bytes)
{
	return bytes.n > 1 && bytes.p[1] == MEMBER_FREEZE;
}

/* --- thaw --- */

void
freezes_end(struct member *m, const struct cry_sign_pk *device)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < m->n_freezes; i++) {
		if (!same_sign(&m->freezes[i].device, device))
			m->freezes[kept++] = m->freezes[i];
	}
	m->n_freezes = kept;
	m->feeds_gen++;
}

void
freezes_thaw(struct member *m, const struct cry_sign_pk *device, uint64_t seq)
{
	m->thaws[m->n_thaws++] =
	    (struct freeze_state){ .device = *device, .seq = seq };
	freezes_end(m, device);
}

void
freezes_end_unheld(struct member *m)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < m->n_freezes; i++) {
		if (member_may_freeze(m, &m->freezes[i].by))
			m->freezes[kept++] = m->freezes[i];
	}
	m->n_freezes = kept;
	m->feeds_gen++;
}

enum err
apply_thaw(struct member *m, const struct member_record *r, struct slice raw)
{
	struct freeze_rec f;
	enum err e;

	if ((e = freeze_decode(r->content, &f)) != ERR_OK ||
	    (e = member_room(&m->thaws, m->n_thaws, 1, &m->cap_thaws,
		 sizeof(*m->thaws))) != ERR_OK ||
	    (e = member_record_add(m, r, raw)) != ERR_OK)
		return e;
	m->thaws[m->n_thaws++] = (struct freeze_state){
		.device = f.device, .by = f.by, .seq = r->seq
	};
	freezes_end(m, &f.device);
	return ERR_OK;
}

/* --- writing --- */

static enum err
content_put(const struct member_keys *keys, const struct member_freeze_opts *o,
    const struct cry_identity *me, struct buf *content)
{
	const char *why =
	    o->reason != NULL && o->reason[0] != '\0' ? o->reason : "-";

	if (!name_ok(why))
		return ERR_LIMIT;
	buf_put(content, o->device.b, sizeof(o->device.b));
	buf_put(content, me->pub.sign.b, sizeof(me->pub.sign.b));
	text_seal(&keys->name, why, content);
	return buf_err(content);
}

enum err
member_build_freeze(const struct member *m, const struct cry_identity *me,
    const struct member_keys *keys, const struct member_freeze_opts *o,
    struct buf *out)
{
	struct member_record r = { .kind = MEMBER_FREEZE,
		.share = *member_share(m),
		.seq = member_seq(m),
		.prev = *member_head(m),
		.wall_ms = clock_wall_ms() };
	struct buf content = BUF_MAX(MEMBER_STATEMENT_MAX);
	struct buf rec = BUF_MAX(MEMBER_STATEMENT_MAX);
	struct cry_sig sig;
	enum err e = content_put(keys, o, me, &content);

	if (e == ERR_OK) {
		record_begin(&r, &rec);
		buf_u32(&rec, (uint32_t)content.n);
		buf_put_slice(&rec, buf_slice(&content));
		e = buf_err(&rec);
	}
	if (e == ERR_OK) {
		cry_sign(&me->sign_sk, FREEZE_DOMAIN, buf_slice(&rec), &sig);
		buf_u8(&rec, 1);
		buf_u8(&rec, SIGNER_BESIDE);
		buf_put(&rec, sig.b, sizeof(sig.b));
		buf_put_slice(out, buf_slice(&rec));
		e = buf_err(&rec) != ERR_OK ? buf_err(&rec) : buf_err(out);
	}
	buf_fini(&content);
	buf_fini(&rec);
	return e;
}

enum err
member_build_thaw(const struct member *m, const struct cry_identity *me,
    const struct member_keys *keys, const struct member_freeze_opts *o,
    struct buf *out)
{
	struct member_record r = next_record(m, MEMBER_THAW);
	struct buf content = BUF_MAX(MEMBER_STATEMENT_MAX);
	enum err e = content_put(keys, o, me, &content);

	if (e == ERR_OK)
		e = build_finish(m, &r, &content, me, out);
	buf_fini(&content);
	return e;
}
