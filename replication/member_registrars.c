/* replication/member_registrars.c: who signs the chain.
 *
 * A registrars record names all of them, and how many signatures a record
 * needs from the next one on.  Who comes in is a member already, so its name
 * and its keys are known; it gets all keys that are current.  Who leaves loses
 * this right and no other; what it said as a registrar stands.  More than half
 * must sign: two records with one number then need a registrar that signed
 * both. */
#include "replication/member_internal.h"

#include "store/base/mem.h"

enum err
registrars_set(
    struct member *m, uint64_t from, const struct member_registrars *r)
{
	enum err e =
	    member_room(&m->sets, m->n_sets, 1, &m->cap_sets, sizeof(*m->sets));

	if (e != ERR_OK)
		return e;
	m->sets[m->n_sets].from = from;
	m->sets[m->n_sets++].r = *r;
	return ERR_OK;
}

const struct member_registrars *
registrars_at(const struct member *m, uint64_t seq)
{
	uint32_t i = m->n_sets - 1;

	while (i > 0 && m->sets[i].from > seq)
		i--;
	return &m->sets[i].r;
}

static const struct member_registrars *
now(const struct member *m)
{
	return &m->sets[m->n_sets - 1].r;
}

uint8_t
member_k(const struct member *m)
{
	return now(m)->k;
}

uint8_t
member_n_registrars(const struct member *m)
{
	return now(m)->n;
}

const struct cry_device_pub *
member_registrar(const struct member *m, uint8_t i)
{
	REQUIRE(i < now(m)->n);
	return &now(m)->device[i];
}

/* The first grant of exactly this device. */
static const struct grant_state *
grant_of(const struct member *m, const struct cry_device_pub *d)
{
	for (uint32_t i = 0; i < m->n_grants; i++) {
		if (memcmp(&m->grants[i].g.device, d, sizeof(*d)) == 0)
			return &m->grants[i];
	}
	return NULL;
}

static bool
holds_hub(const struct member *m, const struct cry_sign_pk *d)
{
	for (uint32_t i = 0; i < m->n_grants; i++) {
		if (m->grants[i].g.role == ROLE_HUB &&
		    same_sign(&m->grants[i].g.device.sign, d))
			return true;
	}
	return false;
}

static bool
listed(
    const struct member_registrars *r, uint8_t n, const struct cry_sign_pk *d)
{
	for (uint8_t i = 0; i < n; i++) {
		if (same_sign(&r->device[i].sign, d))
			return true;
	}
	return false;
}

static enum err
registrars_check(const struct member *m, const struct member_registrars *r)
{
	if (r->n == 0 || r->n > MEMBER_SIGNERS_MAX || r->k > r->n ||
	    2 * r->k <= r->n)
		return ERR_MALFORMED;
	for (uint8_t i = 0; i < r->n; i++) {
		if (listed(r, i, &r->device[i].sign))
			return ERR_MALFORMED;
		if (grant_of(m, &r->device[i]) == NULL ||
		    holds_hub(m, &r->device[i].sign))
			return ERR_NOTFOUND;
	}
	return ERR_OK;
}

/* Grants of those who leave go to the past, so that what they said stands. */
static void
leave(struct member *m, const struct member_registrars *r)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < m->n_grants; i++) {
		const struct grant_state *g = &m->grants[i];

		if (g->g.role == ROLE_REGISTRAR &&
		    !listed(r, r->n, &g->g.device.sign))
			m->past[m->n_past++] = *g;
		else
			m->grants[kept++] = *g;
	}
	m->n_grants = kept;
}

static void
come(struct member *m, const struct cry_device_pub *d, uint64_t seq)
{
	const struct grant_state *had = grant_of(m, d);
	struct grant_state g;

	REQUIRE(had != NULL); /* registrars_check found it */
	g = *had;
	freezes_thaw(m, &d->sign, seq);
	if (g.g.role == ROLE_REGISTRAR)
		return;
	for (uint32_t i = 0; i < m->n_grants; i++) {
		if (m->grants[i].g.role == ROLE_REGISTRAR &&
		    same_sign(&m->grants[i].g.device.sign, &d->sign))
			return;
	}
	g.g.role = ROLE_REGISTRAR;
	g.g.compartment = COMPARTMENT_ALL;
	g.g.no_history = false;
	m->grants[m->n_grants++] = g; /* its record holds its name */
}

/* Their freezes ended here, whenever they are heard. */
static void
unheld_note(struct member *m, const struct member_registrars *was, uint64_t seq)
{
	for (uint8_t i = 0; i < was->n; i++) {
		if (!member_may_freeze(m, &was->device[i].sign))
			m->unheld[m->n_unheld++] =
			    (struct unheld_state){ .by = was->device[i].sign,
				    .seq = seq };
	}
}

enum err
apply_registrars(
    struct member *m, const struct member_record *r, struct slice raw)
{
	struct member_registrars was;
	struct registrars_rec v;
	enum err e;

	if ((e = registrars_decode(r->content, &v)) != ERR_OK ||
	    (e = registrars_check(m, &v.to)) != ERR_OK ||
	    (e = member_room(&m->past, m->n_past, m->n_grants, &m->cap_past,
		 sizeof(*m->past))) != ERR_OK ||
	    (e = member_room(&m->grants, m->n_grants, v.to.n, &m->cap_grants,
		 sizeof(*m->grants))) != ERR_OK ||
	    (e = member_room(&m->sets, m->n_sets, 1, &m->cap_sets,
		 sizeof(*m->sets))) != ERR_OK ||
	    (e = member_room(&m->thaws, m->n_thaws, v.to.n, &m->cap_thaws,
		 sizeof(*m->thaws))) != ERR_OK ||
	    (e = member_room(&m->unheld, m->n_unheld, MEMBER_SIGNERS_MAX,
		 &m->cap_unheld, sizeof(*m->unheld))) != ERR_OK ||
	    (e = member_record_add(m, r, raw)) != ERR_OK)
		return e;
	for (uint8_t i = 0; i < v.to.n; i++)
		come(m, &v.to.device[i], r->seq);
	was = *now(m);
	leave(m, &v.to);
	e = registrars_set(m, m->n_records, &v.to);
	if (e == ERR_OK) {
		unheld_note(m, &was, r->seq);
		freezes_end_unheld(m);
	}
	return e;
}

enum err
member_build_registrars(const struct member *m, const struct cry_identity *me,
    const struct member_keys *keys, const struct member_registrars *v,
    struct buf *out)
{
	struct seals seals = { .body = BUF_MAX(LIM_MEMBER_RECORD_BYTES) };
	struct buf content = BUF_MAX(LIM_MEMBER_RECORD_BYTES);
	struct member_record r = next_record(m, MEMBER_REGISTRARS);
	enum err e = registrars_check(m, v);

	buf_u8(&content, v->k);
	buf_u8(&content, v->n);
	for (uint8_t i = 0; i < v->n && e == ERR_OK; i++) {
		struct member_grant g = { v->device[i], ROLE_REGISTRAR,
			COMPARTMENT_ALL, false };

		device_put(&content, &v->device[i]);
		if (!member_is_registrar(m, &v->device[i].sign))
			e = grant_seal(&seals, m, keys, &g);
	}
	if (e == ERR_OK) {
		seals_put(&seals, &content);
		e = build_finish(m, &r, &content, me, out);
	}
	buf_fini(&content);
	buf_fini(&seals.body);
	return e;
}
