/* node/api/text.c: ids, times and names in rows. */
#include "node/api/api_internal.h"

#include "store/base/clock.h"
#include "store/base/enc.h"

bool
api_zero(const void *p, size_t n)
{
	const uint8_t *b = p;
	size_t i;

	for (i = 0; i < n; i++) {
		if (b[i] != 0)
			return false;
	}
	return true;
}

void
api_jw_id32(struct jw *w, const char *key, const uint8_t id[32])
{
	char hex[ENC_HEX_LEN(32) + 1];

	enc_hex(slice_of(id, 32), hex);
	jw_str(w, key, hex);
}

void
api_jw_b32(struct jw *w, const char *key, const uint8_t *p, size_t n)
{
	char text[ENC_B32_LEN(32) + 1];

	REQUIRE(n <= 32);
	enc_b32(slice_of(p, n), text);
	jw_str(w, key, text);
}

void
api_jw_asset(struct jw *w, const char *key, const struct asset_id *id)
{
	if (api_zero(id, sizeof(*id)))
		jw_null(w, key);
	else
		api_jw_b32(w, key, id->b, sizeof(id->b));
}

void
api_jw_time(struct jw *w, const char *key, uint64_t wall_ms)
{
	char text[CLOCK_TEXT_LEN + 1];

	if (wall_ms == 0) {
		jw_null(w, key);
		return;
	}
	clock_text(wall_ms, text);
	jw_str(w, key, text);
}

/* The printable key needs all three parts; an invite tells one only. */
void
api_jw_device(struct jw *w, const char *key, const struct cry_device_pub *d)
{
	char text[CRY_KEY_TEXT_LEN + 1];

	if (api_zero(&d->sign, sizeof(d->sign))) {
		jw_null(w, key);
		return;
	}
	cry_key_text(d, text);
	jw_str(w, key, text);
}

enum err
api_shares_load(struct api_call *c, struct api_shares *s)
{
	*s = (struct api_shares){ 0 };
	return shares_list(c->a->o.shares, &s->list, &s->n);
}

void
api_shares_free(struct api_shares *s)
{
	if (s->list != NULL)
		shares_list_free(s->list, s->n);
	*s = (struct api_shares){ 0 };
}

static const struct share_info *
api_share_of(const struct api_shares *s, const struct cry_id *id)
{
	uint32_t i;

	for (i = 0; i < s->n; i++) {
		if (memcmp(s->list[i].id.b, id->b, sizeof(id->b)) == 0)
			return &s->list[i];
	}
	return NULL;
}

const char *
api_share_name(const struct api_shares *s, const struct cry_id *id)
{
	const struct share_info *i = api_share_of(s, id);

	return i != NULL ? i->name : NULL;
}

const char *
api_compartment_name(
    const struct api_shares *s, const struct cry_id *id, uint16_t no)
{
	const struct share_info *i = api_share_of(s, id);
	uint32_t k;

	for (k = 0; i != NULL && k < i->n_compartments; k++) {
		if (i->c[k].no == no)
			return i->c[k].name;
	}
	return NULL;
}

static const struct net_root *
api_root_of(
    const struct api_roots *roots, const struct share_id *share, uint16_t no)
{
	uint32_t i;

	for (i = 0; i < roots->n; i++) {
		if (roots->list[i].compartment == no &&
		    memcmp(&roots->list[i].share, share, sizeof(*share)) == 0)
			return &roots->list[i];
	}
	return NULL;
}

static void
api_jw_compartment(struct jw *w, const struct share_info *i,
    const struct share_compartment *k, const struct api_roots *roots)
{
	const struct net_root *root = api_root_of(roots, &i->id, k->no);

	jw_obj(w, NULL);
	jw_str(w, "name", k->name);
	jw_u64(w, "no", k->no);
	jw_u64(w, "ops", root != NULL ? root->ops : 0);
	if (root != NULL)
		api_jw_id32(w, "root", root->root.b);
	else
		jw_null(w, "root");
	jw_bool(w, "read", k->may_read);
	jw_bool(w, "write", k->may_write);
	jw_str(w, "content",
	    k->pinned    ? "pin"
	    : k->content ? "all"
	    : k->lazy    ? "lazy"
			 : "none");
	if (k->where != NULL)
		jw_str(w, "where", k->where);
	jw_end(w);
}

static const char *
share_state_text(const struct share_info *i)
{
	if (i->revoked)
		return "revoked";
	if (i->frozen)
		return "frozen";
	return i->pending ? "pending" : "member";
}

void
api_jw_share(struct jw *w, const char *key, const struct share_info *i,
    const struct api_roots *roots)
{
	uint32_t k;

	if (key != NULL)
		jw_obj(w, key);
	jw_str(w, "name", i->name);
	api_jw_b32(w, "id", i->id.b, sizeof(i->id.b));
	jw_str(w, "role", i->role);
	jw_str(w, "state", share_state_text(i));
	if (i->halted)
		jw_str(w, "alarm",
		    "a registrar signed two records with one number: its "
		    "membership stands still");
	jw_u64(w, "registrars", i->n_registrars);
	jw_u64(w, "signatures", i->k);
	jw_bool(w, "allow_identified", i->allow_identified);
	jw_arr(w, "compartments");
	for (k = 0; k < i->n_compartments; k++)
		api_jw_compartment(w, i, &i->c[k], roots);
	jw_end(w);
	if (key != NULL)
		jw_end(w);
}
