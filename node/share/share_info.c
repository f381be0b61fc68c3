/* node/share/share_info.c: what a person or a script sees of the shares. */
#include "node/share/share_internal.h"
#include "store/base/enc.h"

#define SHARE_PREFIX_MIN 8u /* characters of an id that name a share */

void
share_id_name(const char *word, struct slice id, char out[LIM_NAME_BYTES + 1])
{
	char text[ENC_B32_LEN(32) + 1];

	REQUIRE(id.n == 32);
	enc_b32(id, text);
	(void)snprintf(out, LIM_NAME_BYTES + 1, "%s-%.8s", word, text);
}

void
share_name(const struct share_state *s, const struct share_id *id,
    char out[LIM_NAME_BYTES + 1])
{
	if (s == NULL || !s->has_name ||
	    member_share_name(s->m, &s->keys.name, out) != ERR_OK)
		share_id_name("share", slice_of(id->b, sizeof(id->b)), out);
}

void
share_compartment_text(
    const struct share_state *s, uint16_t no, char out[LIM_NAME_BYTES + 1])
{
	if (!s->has_name ||
	    member_compartment_name(s->m, no, &s->keys.name, out) != ERR_OK)
		out[0] = '\0';
}

bool
share_is_hub(const struct shares *sh, const struct share_state *s)
{
	const struct member_grant *g;
	bool hub = false;
	uint32_t i;

	for (i = 0; i < member_n_grants(s->m); i++) {
		g = member_grant(s->m, i);
		if (memcmp(g->device.sign.b, sh->me->pub.sign.b,
			sizeof(g->device.sign.b)) != 0)
			continue;
		if (g->role != ROLE_HUB)
			return false;
		hub = true;
	}
	return hub;
}

static const char *
my_role(const struct shares *sh, const struct share_state *s)
{
	const struct member_grant *g;
	enum role best = ROLE_HUB;
	bool any = false;
	uint32_t i;

	for (i = 0; i < member_n_grants(s->m); i++) {
		g = member_grant(s->m, i);
		if (memcmp(g->device.sign.b, sh->me->pub.sign.b,
			sizeof(g->device.sign.b)) != 0)
			continue;
		any = true;
		if (g->role < best)
			best = g->role;
	}
	return any ? role_text(best) : "";
}

/* Compartments whose ops we may receive. */
static enum err
info_compartments(const struct shares *sh, const struct share_state *s,
    struct share_info *out)
{
	const struct cry_sign_pk *me = &sh->me->pub.sign;
	uint32_t i, n = member_n_compartments(s->m);
	struct share_compartment *c;
	uint16_t no;

	if (n == 0)
		return ERR_OK;
	if ((out->c = mem_array(n, sizeof(*out->c))) == NULL)
		return ERR_NOMEM;
	for (i = 0; i < n; i++) {
		no = member_compartment(s->m, i);
		if (!member_may_receive(s->m, me, no))
			continue;
		c = &out->c[out->n_compartments++];
		c->no = no;
		share_compartment_text(s, no, c->name);
		c->may_read = member_may_read(s->m, me, no);
		c->may_write = member_may_write(s->m, me, no);
		c->may_write_original = member_may_write_original(s->m, me, no);
		c->content = out->hub || no > LIM_COMPARTMENTS ||
			     !(s->no_content[no] || s->lazy[no]);
		c->lazy = no <= LIM_COMPARTMENTS && s->lazy[no];
		c->pinned = no <= LIM_COMPARTMENTS && s->pinned[no];
		if (no > LIM_COMPARTMENTS || s->where[no] == NULL || out->hub)
			continue;
		if ((c->where = mem_array(strlen(s->where[no]) + 1, 1)) == NULL)
			return ERR_NOMEM;
		memcpy(c->where, s->where[no], strlen(s->where[no]));
	}
	return ERR_OK;
}

static enum err
info_fill(const struct shares *sh, const struct share_slot *slot,
    struct share_info *out)
{
	const struct share_state *s = slot->pub;

	memset(out, 0, sizeof(*out));
	out->id = slot->id;
	out->no = slot->no;
	share_name(s, &slot->id, out->name);
	out->registrar = member_is_registrar(s->m, &sh->me->pub.sign);
	out->k = member_k(s->m);
	out->n_registrars = member_n_registrars(s->m);
	out->hub = share_is_hub(sh, s);
	out->pending = !member_is_member(s->m, &sh->me->pub.sign) &&
		       !member_is_frozen(s->m, &sh->me->pub.sign) &&
		       !member_is_revoked(s->m, &sh->me->pub.sign);
	out->halted = s->halted;
	out->frozen = member_is_frozen(s->m, &sh->me->pub.sign);
	out->revoked = member_is_revoked(s->m, &sh->me->pub.sign);
	out->allow_identified = member_allow_identified(s->m);
	(void)snprintf(out->role, sizeof(out->role), "%s", my_role(sh, s));
	return info_compartments(sh, s, out);
}

void
share_info_fini(struct share_info *i)
{
	uint32_t k;

	for (k = 0; i->c != NULL && k < i->n_compartments; k++)
		mem_free(i->c[k].where);
	mem_free(i->c);
	i->c = NULL;
	i->n_compartments = 0;
}

void
shares_list_free(struct share_info *list, uint32_t n)
{
	uint32_t i;

	for (i = 0; list != NULL && i < n; i++)
		share_info_fini(&list[i]);
	mem_free(list);
}

struct list_build {
	struct shares *sh;
	struct share_info *v;
	uint32_t n, cap;
	enum err e;
};

static struct share_info *
list_room(struct list_build *l)
{
	struct share_info *v;

	if (l->n == l->cap) {
		v = mem_grow(l->v, l->cap + 16, sizeof(*v));
		if (v == NULL) {
			l->e = ERR_NOMEM;
			return NULL;
		}
		l->v = v;
		l->cap += 16;
	}
	memset(&l->v[l->n], 0, sizeof(l->v[0]));
	return &l->v[l->n++];
}

static int
list_join(void *ctx, const struct share_id *share,
    const struct cry_sign_pk *registrar, struct slice claim)
{
	struct list_build *l = ctx;
	struct share_info *i;
	uint32_t k;

	(void)registrar;
	(void)claim;
	for (k = 0; k < l->n; k++) {
		if (memcmp(l->v[k].id.b, share->b, sizeof(share->b)) == 0)
			return 0;
	}
	if ((i = list_room(l)) == NULL)
		return 1;
	i->id = *share;
	i->pending = true;
	share_name(NULL, share, i->name);
	return 0;
}

enum err
shares_list(struct shares *sh, struct share_info **list, uint32_t *n)
{
	struct list_build l = { .sh = sh };
	struct share_info *i;
	enum err e;
	uint32_t k;

	pthread_mutex_lock(&sh->lock);
	for (k = 0; k < sh->n && l.e == ERR_OK; k++) {
		if (sh->slot[k]->pub == NULL)
			continue;
		if ((i = list_room(&l)) != NULL)
			l.e = info_fill(sh, sh->slot[k], i);
	}
	pthread_mutex_unlock(&sh->lock);
	if (l.e == ERR_OK) {
		e = shares_joins_each(sh, list_join, &l);
		if (l.e == ERR_OK)
			l.e = e;
	}
	if (l.e != ERR_OK) {
		shares_list_free(l.v, l.n);
		return l.e;
	}
	*list = l.v;
	*n = l.n;
	return ERR_OK;
}

static bool
id_prefix(const struct share_id *id, const char *text)
{
	char full[ENC_B32_LEN(32) + 1];
	size_t n = strlen(text);

	enc_b32(slice_of(id->b, sizeof(id->b)), full);
	return n >= SHARE_PREFIX_MIN && strncmp(full, text, n) == 0;
}

enum err
share_slot_named(struct shares *sh, const char *name, struct share_slot **out,
    struct errmsg *em)
{
	char text[LIM_NAME_BYTES + 1];
	struct share_slot *found = NULL;
	uint32_t i, n = 0;

	for (i = 0; i < sh->n; i++) {
		if (sh->slot[i]->pub == NULL)
			continue;
		share_name(sh->slot[i]->pub, &sh->slot[i]->id, text);
		if (strcmp(text, name) != 0 &&
		    !id_prefix(&sh->slot[i]->id, name))
			continue;
		found = sh->slot[i];
		n++;
	}
	if (n == 0)
		return errmsg_set(em, ERR_NOTFOUND, "see `pesscara share list`",
		    "no share is called \"%s\"", name);
	if (n > 1)
		return errmsg_set(em, ERR_LIMIT,
		    "use the id that `pesscara share list` shows",
		    "%u shares are called \"%s\"", n, name);
	*out = found;
	return ERR_OK;
}

enum err
shares_find(struct shares *sh, const char *name, struct share_info *out,
    struct errmsg *em)
{
	struct share_slot *slot = NULL;
	enum err e;

	pthread_mutex_lock(&sh->lock);
	e = share_slot_named(sh, name, &slot, em);
	if (e == ERR_OK && slot != NULL) {
		e = info_fill(sh, slot, out);
		if (e != ERR_OK)
			(void)errmsg_set(em, e, "", "no memory");
	}
	pthread_mutex_unlock(&sh->lock);
	return e;
}

enum err
share_compartment_find(const struct share_info *i, const char *name,
    uint16_t *no, struct errmsg *em)
{
	uint32_t k, n = 0;

	for (k = 0; k < i->n_compartments; k++) {
		if (name == NULL ? !i->c[k].may_write
				 : strcmp(i->c[k].name, name) != 0)
			continue;
		*no = i->c[k].no;
		n++;
	}
	if (n == 1)
		return ERR_OK;
	if (name != NULL)
		return errmsg_set(em, ERR_NOTFOUND, "see `pesscara share show`",
		    "share \"%s\" has no compartment \"%s\" for this site",
		    i->name, name);
	if (n == 0)
		return errmsg_set(em, ERR_DENIED,
		    "ask the registrar for a grant",
		    "this site may write into no compartment of \"%s\"",
		    i->name);
	return errmsg_set(em, ERR_LIMIT, "name one with --compartment",
	    "this site may write into %u compartments of \"%s\"", n, i->name);
}

/* The site's name: a grant by key carries none, another grant of the same
 * site may. */
static void
member_site(const struct share_state *s, const struct member_grant *g,
    char out[LIM_NAME_BYTES + 1])
{
	uint32_t i;

	for (i = 0; s->has_name && i < member_n_grants(s->m); i++) {
		if (memcmp(&member_grant(s->m, i)->device.site, &g->device.site,
			sizeof(g->device.site)) == 0 &&
		    member_grant_name(s->m, i, &s->keys.name, out) == ERR_OK &&
		    out[0] != '\0')
			return;
	}
	share_id_name(
	    "site", slice_of(g->device.site.b, sizeof(g->device.site.b)), out);
}

static void
member_fill(
    const struct share_state *s, uint32_t i, struct share_member_info *out)
{
	const struct member_grant *g = member_grant(s->m, i);

	out->device = g->device;
	(void)snprintf(out->role, sizeof(out->role), "%s", role_text(g->role));
	member_site(s, g, out->site);
	out->frozen = member_is_frozen(s->m, &g->device.sign);
	if (g->compartment == COMPARTMENT_ALL)
		(void)snprintf(out->compartment, sizeof(out->compartment), "*");
	else
		share_compartment_text(s, g->compartment, out->compartment);
}

enum err
shares_members(struct shares *sh, const struct share_id *id,
    struct share_member_info **list, uint32_t *n)
{
	struct share_member_info *v = NULL;
	struct share_slot *slot;
	enum err e = ERR_OK;
	uint32_t i, count = 0;

	pthread_mutex_lock(&sh->lock);
	slot = share_slot_find(sh, id);
	if (slot == NULL || slot->pub == NULL) {
		e = ERR_NOTFOUND;
	} else {
		count = member_n_grants(slot->pub->m);
		v = mem_array(count > 0 ? count : 1, sizeof(*v));
		e = v == NULL ? ERR_NOMEM : ERR_OK;
	}
	for (i = 0; e == ERR_OK && i < count; i++)
		member_fill(slot->pub, i, &v[i]);
	pthread_mutex_unlock(&sh->lock);
	if (e != ERR_OK)
		return e;
	*list = v;
	*n = count;
	return ERR_OK;
}

void
shares_members_free(struct share_member_info *list)
{
	mem_free(list);
}

static bool
holder_twice(const struct share_member_info *v, uint32_t n,
    const struct cry_device_pub *d)
{
	for (uint32_t i = 0; i < n; i++) {
		if (memcmp(&v[i].device.sign, &d->sign, sizeof(d->sign)) == 0)
			return true;
	}
	return false;
}

enum err
shares_holders(struct shares *sh, const struct share_id *id, uint16_t no,
    struct share_member_info **list, uint32_t *n)
{
	struct share_member_info *v = NULL;
	struct share_slot *slot;
	uint32_t i, count = 0;

	*n = 0;
	pthread_mutex_lock(&sh->lock);
	slot = share_slot_find(sh, id);
	if (slot != NULL && slot->pub != NULL) {
		count = member_n_grants(slot->pub->m);
		v = mem_array(count > 0 ? count : 1, sizeof(*v));
	}
	for (i = 0; v != NULL && i < count; i++) {
		const struct member *m = slot->pub->m;
		const struct member_grant *g = member_grant(m, i);

		if (member_may_fetch(m, &g->device.sign, no) &&
		    !holder_twice(v, *n, &g->device))
			member_fill(slot->pub, i, &v[(*n)++]);
	}
	pthread_mutex_unlock(&sh->lock);
	*list = v;
	return v != NULL ? ERR_OK : slot == NULL ? ERR_NOTFOUND : ERR_NOMEM;
}

enum share_content
shares_content(struct shares *sh, const struct share_id *id, uint16_t no)
{
	const struct share_state *s = NULL;
	enum share_content out = SHARE_ALL;
	struct share_slot *slot;

	pthread_mutex_lock(&sh->lock);
	slot = share_slot_find(sh, id);
	if (slot != NULL)
		s = slot->pub;
	if (s != NULL && no <= LIM_COMPARTMENTS && !share_is_hub(sh, s))
		out = s->no_content[no] ? SHARE_NONE
		      : s->lazy[no]     ? SHARE_LAZY
		      : s->pinned[no]   ? SHARE_PIN
					: SHARE_ALL;
	pthread_mutex_unlock(&sh->lock);
	return out;
}
