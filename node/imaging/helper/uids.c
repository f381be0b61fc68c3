/* node/imaging/helper/uids.c: open addressing over at most IMG_UIDS_MAX
 * entries, a quarter full.  Fails only with ERR_NOMEM. */
#include "node/imaging/helper/uids.h"

#include "node/imaging/helper/content.h"
#include "store/base/mem.h"

#define SLOTS (4 * IMG_UIDS_MAX)

static uint32_t
hash(struct slice s)
{
	uint32_t h = 2166136261u; /* FNV-1a */

	for (size_t k = 0; k < s.n; k++)
		h = (h ^ s.p[k]) * 16777619u;
	return h ^ h >> 15;
}

/* The slot of uid, or the free one where it would go. */
static uint32_t
probe(const struct uids *u, struct slice uid)
{
	uint32_t k = hash(uid) % SLOTS;

	while (
	    u->slot[k] != 0 && !slice_eq(slice_str(u->v[u->slot[k] - 1]), uid))
		k = (k + 1) % SLOTS;
	return k;
}

uint32_t
uids_find(const struct uids *u, struct slice uid)
{
	uint16_t at = u->slot[probe(u, uid)];

	return at == 0 ? UIDS_NONE : at - 1u;
}

enum err
uids_add(struct uids *u, struct slice uid)
{
	uint32_t k = probe(u, uid);
	uint32_t cap;
	void *v;

	REQUIRE(uid.n <= IMG_UID_MAX);
	if (u->slot[k] != 0)
		return ERR_OK;
	if (u->n == IMG_UIDS_MAX) {
		u->full = true;
		return ERR_OK;
	}
	if (u->n == u->cap) {
		cap = u->cap == 0 ? 16 : u->cap * 2;
		v = mem_grow(u->v, cap, sizeof(*u->v));
		if (v == NULL)
			return ERR_NOMEM;
		u->v = v;
		u->cap = cap;
	}
	memcpy(u->v[u->n], uid.p, uid.n);
	u->v[u->n][uid.n] = '\0';
	u->slot[k] = (uint16_t)++u->n;
	return ERR_OK;
}

void
uids_fini(struct uids *u)
{
	mem_free(u->v);
	u->v = NULL;
	u->n = 0;
	u->cap = 0;
}

bool
uids_mappable(struct slice uid)
{
	const struct slice standard = SLICE_LIT("1.2.840.10008.");

	if (!content_is_uid(uid))
		return false;
	return uid.n < standard.n || memcmp(uid.p, standard.p, standard.n) != 0;
}
