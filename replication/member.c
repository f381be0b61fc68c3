/* replication/member.c: the state a chain of membership records leads to.
 *
 * A record is applied only if it continues the chain, carries signatures of k
 * registrars and makes sense; everything is checked before anything changes,
 * so an error leaves the state as it was. */
#include "replication/member_internal.h"

#include "store/base/mem.h"

bool
same_sign(const struct cry_sign_pk *a, const struct cry_sign_pk *b)
{
	return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

#define SIGS_KNOWN UINT8_MAX /* they were looked at before */

/* So many different registrars of those who sign this number did. */
static enum err
signatures_check(
    const struct member *m, const struct member_record *r, uint8_t need)
{
	const struct member_registrars *by = registrars_at(m, r->seq);
	struct rd s = rd_init(r->sigs);
	uint32_t seen = 0, good = 0;

	if (need == SIGS_KNOWN)
		return ERR_OK;
	if (r->kind == MEMBER_CHECKPOINT)
		return checkpoint_signed(m, r, need);
	for (uint8_t i = 0; i < r->n_sigs; i++) {
		uint8_t who = rd_u8(&s);
		struct cry_sig sig;

		rd_copy(&s, sig.b, sizeof(sig.b));
		if (who >= by->n || (seen & 1u << who) != 0)
			return ERR_MALFORMED;
		seen |= 1u << who;
		if (cry_verify(&by->device[who].sign, MEMBER_SIG_DOMAIN,
			r->body, &sig) != ERR_OK)
			return ERR_AUTH;
		good++;
	}
	return good >= (need == 0 ? by->k : need) ? ERR_OK : ERR_AUTH;
}

enum err
member_room(void *p, uint32_t n, uint32_t more, uint32_t *cap, size_t size)
{
	uint32_t want = *cap == 0 ? 8 : *cap;
	void **at = p, *q;

	while (want < n + more)
		want *= 2;
	if (want == *cap)
		return ERR_OK;
	if ((q = mem_grow(*at, want, size)) == NULL)
		return ERR_NOMEM;
	*at = q;
	*cap = want;
	return ERR_OK;
}

/* Room for one more, so that the change itself cannot fail. */
static enum err
reserve(struct member *m)
{
	enum err e;

	if (m->n_records == MEMBER_RECORDS_MAX)
		return ERR_LIMIT;
	e = member_room(
	    &m->records, m->n_records, 1, &m->cap_records, sizeof(*m->records));
	return e == ERR_OK ? member_room(&m->grants, m->n_grants, 1,
				 &m->cap_grants, sizeof(*m->grants))
			   : e;
}

enum err
member_record_add(
    struct member *m, const struct member_record *r, struct slice raw)
{
	struct record_bytes *b = &m->records[m->n_records];
	uint8_t *p = mem_new(raw.n);

	if (p == NULL)
		return ERR_NOMEM;
	memcpy(p, raw.p, raw.n);
	b->p = p;
	b->n = raw.n;
	b->id = r->id;
	m->n_records++;
	return ERR_OK;
}

static void
grant_add(struct member *m, const struct member_grant *g, uint32_t record)
{
	for (uint32_t i = 0; i < m->n_grants; i++) {
		struct member_grant *o = &m->grants[i].g;

		if (!same_sign(&o->device.sign, &g->device.sign) ||
		    o->role != g->role || o->compartment != g->compartment)
			continue;
		o->no_history &= g->no_history;
		return; /* granted again: keys may be new */
	}
	m->grants[m->n_grants].g = *g;
	m->grants[m->n_grants].record = record;
	m->n_grants++;
}

enum err
member_new(struct slice genesis, struct member **out)
{
	static const struct share_id no_share;
	static const struct cry_id no_prev;
	struct member_registrars first = { 0 };
	struct member_record r;
	struct member_grant own;
	struct member *m;
	struct genesis g;
	enum err e;

	if ((e = record_decode(genesis, &r)) != ERR_OK)
		return e;
	if (r.kind != MEMBER_GENESIS || r.seq != 0 ||
	    memcmp(&r.share, &no_share, sizeof(no_share)) != 0 ||
	    memcmp(&r.prev, &no_prev, sizeof(no_prev)) != 0)
		return ERR_MALFORMED;
	if ((e = genesis_decode(r.content, &g)) != ERR_OK)
		return e;
	if ((m = mem_new(sizeof(*m))) == NULL)
		return ERR_NOMEM;
	memcpy(m->share.b, r.id.b, sizeof(m->share.b));
	m->identified = (g.policy & GENESIS_IDENTIFIED) != 0;
	first.k = g.k;
	first.n = g.n;
	memcpy(first.device, g.registrar, sizeof(first.device));
	if ((e = registrars_set(m, 0, &first)) != ERR_OK ||
	    (e = signatures_check(m, &r, 0)) != ERR_OK ||
	    (e = reserve(m)) != ERR_OK ||
	    (e = member_record_add(m, &r, genesis)) != ERR_OK)
		goto fail;
	own = (struct member_grant){ .device = g.registrar[0],
		.role = ROLE_REGISTRAR,
		.compartment = COMPARTMENT_ALL };
	grant_add(m, &own, 0);
	*out = m;
	return ERR_OK;
fail:
	member_free(m);
	return e;
}

void
member_free(struct member *m)
{
	if (m == NULL)
		return;
	for (uint32_t i = 0; i < m->n_records; i++)
		mem_free(m->records[i].p);
	mem_free(m->records);
	mem_free(m->sets);
	mem_free(m->grants);
	mem_free(m->past);
	mem_free(m->revoked);
	mem_free(m->cuts);
	mem_free(m->freezes);
	mem_free(m->thaws);
	mem_free(m->unheld);
	mem_free(m);
}

/* Seen this number already: the same record again, or proof that a registrar
 * signed two (rulings.md 21). */
static enum err
seen_before(const struct member *m, const struct member_record *r)
{
	enum err e;

	if (memcmp(&m->records[r->seq].id, &r->id, sizeof(r->id)) == 0)
		return ERR_EXISTS;
	if (r->seq == 0)
		return ERR_MALFORMED;
	if (r->seq <= m->settled)
		return ERR_EXISTS; /* a checkpoint told which one holds */
	if (m->settled > 0 &&
	    memcmp(&m->records[r->seq - 1].id, &r->prev, sizeof(r->prev)) != 0)
		return ERR_AGAIN; /* of a branch that was dropped, perhaps */
	if ((e = signatures_check(m, r, 0)) != ERR_OK)
		return e;
	return ERR_DENIED;
}

struct compartment_state *
compartment_find(struct member *m, uint16_t no)
{
	for (uint32_t i = 0; i < m->n_compartments; i++) {
		if (m->compartments[i].number == no)
			return &m->compartments[i];
	}
	return NULL;
}

static bool
compartment_there(const struct member *m, uint16_t no)
{
	return no >= 1 && no <= m->n_compartments; /* dense */
}

static enum err
compartment_check(const struct member *m, const struct compartment_rec *c)
{
	if (m->n_compartments == LIM_COMPARTMENTS)
		return ERR_LIMIT;
	if (c->number != m->n_compartments + 1 || c->epoch != 1)
		return ERR_MALFORMED;
	return ERR_OK;
}

/* A hub holds no key, whatever else it were: so it is nothing else. */
bool
member_hub_alone(
    const struct member *m, const struct cry_sign_pk *d, enum role role)
{
	for (uint32_t i = 0; i < m->n_grants; i++) {
		const struct member_grant *o = &m->grants[i].g;

		if (same_sign(&o->device.sign, d) &&
		    (o->role == ROLE_HUB) != (role == ROLE_HUB))
			return false;
	}
	return true;
}

/* Would it let the device read what a grant of it keeps closed? */
bool
member_grant_widens(const struct member *m, const struct member_grant *g)
{
	bool closed = false;

	if (g->no_history || g->role == ROLE_HUB)
		return false;
	for (uint32_t i = 0; i < m->n_grants; i++) {
		const struct member_grant *o = &m->grants[i].g;

		if (!same_sign(&o->device.sign, &g->device.sign))
			continue;
		if (!o->no_history && (o->compartment == COMPARTMENT_ALL ||
					  o->compartment == g->compartment))
			return false; /* it reads all of that already */
		closed |=
		    o->no_history && (o->compartment == g->compartment ||
					 o->compartment == COMPARTMENT_ALL ||
					 g->compartment == COMPARTMENT_ALL);
	}
	return closed;
}

static bool
role_is_wide(enum role role)
{
	return role == ROLE_ADMIN || role == ROLE_HUB;
}

enum err
member_grant_check(const struct member *m, const struct member_grant *g)
{
	if (g->role == ROLE_REGISTRAR)
		return ERR_UNSUPPORTED; /* needs a REGISTRARS record */
	if (g->role < ROLE_ADMIN || g->role > ROLE_HUB)
		return ERR_UNSUPPORTED;
	if (member_is_revoked(m, &g->device.sign))
		return ERR_DENIED; /* for good: it comes back with new keys */
	if (!member_hub_alone(m, &g->device.sign, g->role))
		return ERR_DENIED;
	if (g->compartment == COMPARTMENT_ALL)
		return ERR_OK;
	if (role_is_wide(g->role))
		return ERR_MALFORMED;
	return compartment_there(m, g->compartment) ? ERR_OK : ERR_MALFORMED;
}

static enum err
apply_compartment(
    struct member *m, const struct member_record *r, struct slice raw)
{
	struct compartment_rec c;
	enum err e;

	if ((e = compartment_decode(r->content, &c)) != ERR_OK ||
	    (e = compartment_check(m, &c)) != ERR_OK ||
	    (e = member_record_add(m, r, raw)) != ERR_OK)
		return e;
	m->compartments[m->n_compartments++] = (struct compartment_state){
		.number = c.number, .epoch = c.epoch, .record = m->n_records - 1
	};
	return ERR_OK;
}

static enum err
apply_grant(struct member *m, const struct member_record *r, struct slice raw)
{
	struct member_grant out;
	struct grant_rec g;
	enum err e;

	if ((e = grant_decode(r->content, &g)) != ERR_OK)
		return e;
	out = (struct member_grant){ .device = g.device,
		.role = (enum role)g.role,
		.compartment = g.compartment,
		.no_history = g.no_history };
	if ((e = member_grant_check(m, &out)) != ERR_OK ||
	    (e = member_record_add(m, r, raw)) != ERR_OK)
		return e;
	grant_add(m, &out, m->n_records - 1);
	return ERR_OK;
}

static enum err
apply_kind(struct member *m, const struct member_record *r, struct slice raw)
{
	switch (r->kind) {
	case MEMBER_COMPARTMENT: return apply_compartment(m, r, raw);
	case MEMBER_GRANT: return apply_grant(m, r, raw);
	case MEMBER_REVOKE: return apply_revoke(m, r, raw);
	case MEMBER_ROTATE: return apply_rotate(m, r, raw);
	case MEMBER_REGISTRARS: return apply_registrars(m, r, raw);
	case MEMBER_THAW: return apply_thaw(m, r, raw);
	case MEMBER_ADOPT: return apply_adopt(m, r, raw);
	case MEMBER_CHECKPOINT: return apply_checkpoint(m, r, raw);
	default: return ERR_UNSUPPORTED;
	}
}

/* need: signatures; 0: as many as the chain asks for. */
static enum err
apply(struct member *m, struct slice raw, uint8_t need)
{
	struct member_record r;
	enum err e;

	if ((e = record_decode(raw, &r)) != ERR_OK)
		return e;
	/* First: a registrar's record of another share is no equivocation.
	 * A genesis names no share; it is told by its hash. */
	if (r.seq > 0 && memcmp(&r.share, &m->share, sizeof(m->share)) != 0)
		return ERR_MALFORMED;
	if (checkpoint_other(m, &r))
		return ERR_DENIED;
	if (r.seq < m->n_records)
		return seen_before(m, &r);
	if (r.seq > m->n_records)
		return ERR_AGAIN;
	if ((e = signatures_check(m, &r, need)) != ERR_OK)
		return e;
	/* On another branch, but signed. */
	if (memcmp(&r.prev, member_head(m), sizeof(r.prev)) != 0)
		return m->settled > 0 ? ERR_AGAIN : ERR_DENIED;
	if ((e = reserve(m)) != ERR_OK)
		return e;
	e = apply_kind(m, &r, raw);
	/* Signed and in its place, but it makes no sense: no other record of
	 * that number is proven by that. */
	return e == ERR_DENIED || e == ERR_NOTFOUND ? ERR_MALFORMED : e;
}

enum err
member_apply(struct member *m, struct slice record)
{
	return apply(m, record, 0);
}

enum err
member_apply_known(struct member *m, struct slice record)
{
	return apply(m, record, SIGS_KNOWN);
}

enum err
member_apply_draft(struct member *m, struct slice record)
{
	return apply(m, record, 1);
}

/* --- questions --- */

const struct share_id *
member_share(const struct member *m)
{
	return &m->share;
}

uint64_t
member_seq(const struct member *m)
{
	return m->n_records - 1;
}

const struct cry_id *
member_head(const struct member *m)
{
	return &m->records[m->n_records - 1].id;
}

bool
member_is_ours(const struct member *m, uint64_t seq, const struct cry_id *id)
{
	return seq < m->n_records &&
	       memcmp(&m->records[seq].id, id, sizeof(*id)) == 0;
}

struct slice
member_record(const struct member *m, uint64_t i)
{
	REQUIRE(i < m->n_records);
	return slice_of(m->records[i].p, m->records[i].n);
}

uint32_t
member_n_compartments(const struct member *m)
{
	return m->n_compartments;
}

uint16_t
member_compartment(const struct member *m, uint32_t i)
{
	REQUIRE(i < m->n_compartments);
	return m->compartments[i].number;
}

uint32_t
member_epoch(const struct member *m, uint16_t compartment)
{
	return compartment_there(m, compartment)
		   ? m->compartments[compartment - 1].epoch
		   : 0;
}

uint32_t
member_n_grants(const struct member *m)
{
	return m->n_grants;
}

const struct member_grant *
member_grant(const struct member *m, uint32_t i)
{
	REQUIRE(i < m->n_grants);
	return &m->grants[i].g;
}

bool
member_allow_identified(const struct member *m)
{
	return m->identified;
}

bool
member_is_registrar(const struct member *m, const struct cry_sign_pk *d)
{
	for (uint8_t i = 0; i < member_n_registrars(m); i++) {
		if (same_sign(&member_registrar(m, i)->sign, d))
			return true;
	}
	return false;
}

#define R(role) (1u << (role))
#define ROLES_ANY 0xFFFFFFFFu
#define ROLES_READ                                                             \
	(R(ROLE_REGISTRAR) | R(ROLE_ADMIN) | R(ROLE_WRITER) | R(ROLE_RUNNER) | \
	    R(ROLE_READER) | R(ROLE_AUDITOR))
#define ROLES_FETCH ((ROLES_READ | R(ROLE_HUB)) & ~R(ROLE_AUDITOR))
#define ROLES_WRITE (R(ROLE_WRITER) | R(ROLE_RUNNER))

/* Has d one of these roles in this compartment?  0: in any. */
static bool
list_has(const struct grant_state *list, uint32_t n,
    const struct cry_sign_pk *d, uint16_t compartment, uint32_t roles)
{
	for (uint32_t i = 0; i < n; i++) {
		const struct member_grant *g = &list[i].g;

		if ((roles & R(g->role)) == 0)
			continue;
		if (compartment != 0 && g->compartment != COMPARTMENT_ALL &&
		    g->compartment != compartment)
			continue;
		if (same_sign(&g->device.sign, d))
			return true;
	}
	return false;
}

static bool
has_role(const struct member *m, const struct cry_sign_pk *d,
    uint16_t compartment, uint32_t roles)
{
	return (compartment == 0 || compartment_there(m, compartment)) &&
	       !member_is_frozen(m, d) &&
	       list_has(m->grants, m->n_grants, d, compartment, roles);
}

/* Now, or before it was revoked. */
static bool
had_role(const struct member *m, const struct cry_sign_pk *d,
    uint16_t compartment, uint32_t roles)
{
	return compartment_there(m, compartment) &&
	       (list_has(m->grants, m->n_grants, d, compartment, roles) ||
		   list_has(m->past, m->n_past, d, compartment, roles));
}

bool
member_is_member(const struct member *m, const struct cry_sign_pk *d)
{
	return has_role(m, d, 0, ROLES_ANY);
}

bool
member_is_device(const struct member *m, const struct cry_device_pub *d)
{
	if (member_is_frozen(m, &d->sign))
		return false;
	for (uint32_t i = 0; i < m->n_grants; i++) {
		if (memcmp(&m->grants[i].g.device, d, sizeof(*d)) == 0)
			return true;
	}
	return false;
}

bool
member_may_receive(
    const struct member *m, const struct cry_sign_pk *d, uint16_t compartment)
{
	return compartment != 0 &&
	       has_role(m, d, compartment, ROLES_READ | R(ROLE_HUB));
}

bool
member_may_fetch(
    const struct member *m, const struct cry_sign_pk *d, uint16_t compartment)
{
	return compartment != 0 && has_role(m, d, compartment, ROLES_FETCH);
}

bool
member_may_read(
    const struct member *m, const struct cry_sign_pk *d, uint16_t compartment)
{
	return compartment != 0 && has_role(m, d, compartment, ROLES_READ);
}

bool
member_may_write(
    const struct member *m, const struct cry_sign_pk *d, uint16_t compartment)
{
	return compartment != 0 && has_role(m, d, compartment, ROLES_WRITE);
}

bool
member_may_write_original(
    const struct member *m, const struct cry_sign_pk *d, uint16_t compartment)
{
	return compartment != 0 && has_role(m, d, compartment, R(ROLE_WRITER));
}

bool
member_may_admin(
    const struct member *m, const struct cry_sign_pk *d, uint16_t compartment)
{
	return member_may_write(m, d, compartment) &&
	       has_role(m, d, compartment, R(ROLE_REGISTRAR) | R(ROLE_ADMIN));
}

bool
member_might_write(
    const struct member *m, const struct cry_sign_pk *d, uint16_t compartment)
{
	return had_role(m, d, compartment, ROLES_WRITE);
}

bool
member_might_write_original(
    const struct member *m, const struct cry_sign_pk *d, uint16_t compartment)
{
	return had_role(m, d, compartment, R(ROLE_WRITER));
}

bool
member_might_admin(
    const struct member *m, const struct cry_sign_pk *d, uint16_t compartment)
{
	return had_role(m, d, compartment, ROLES_WRITE) &&
	       had_role(m, d, compartment, R(ROLE_REGISTRAR) | R(ROLE_ADMIN));
}

bool
member_is_hub(const struct member *m, const struct cry_sign_pk *d)
{
	return has_role(m, d, 0, R(ROLE_HUB));
}
