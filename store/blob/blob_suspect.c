/* store/blob/blob_suspect.c: chunks whose bytes on disk were found wrong.
 *
 * Their place stays in the index: it may be the only copy, and the next look
 * may find it sound.  But nothing new is to rest on it, so a plaintext hash
 * does not find it, and when the same bytes come again they are stored again
 * in its place (blob_chunk_store). */
#include "store/blob/blob_internal.h"
#include "store/blob/store_internal.h"

static bool
known(const struct suspects *x, uint32_t n, const struct cry_id *cid)
{
	uint32_t i, have = n < STORE_SUSPECTS ? n : STORE_SUSPECTS;

	for (i = 0; i < have; i++) {
		if (memcmp(x->cid[i].b, cid->b, sizeof(cid->b)) == 0)
			return true;
	}
	return false;
}

void
blob_suspect_note(struct store *s, const struct cry_id *cid)
{
	struct suspects *x = &s->suspects;
	uint32_t n;

	pthread_mutex_lock(&x->lock);
	n = atomic_load(&x->n);
	if (n < UINT32_MAX && !known(x, n, cid)) {
		x->cid[n % STORE_SUSPECTS] = *cid;
		atomic_store(&x->n, n + 1);
	}
	pthread_mutex_unlock(&x->lock);
}

bool
blob_suspect(struct store *s, const struct cry_id *cid)
{
	struct suspects *x = &s->suspects;
	bool yes;

	if (atomic_load(&x->n) == 0)
		return false;
	pthread_mutex_lock(&x->lock);
	yes = known(x, atomic_load(&x->n), cid);
	pthread_mutex_unlock(&x->lock);
	return yes;
}

bool
blob_any_suspect(struct store *s)
{
	return atomic_load(&s->suspects.n) > 0;
}
