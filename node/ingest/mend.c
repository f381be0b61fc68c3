/* node/ingest/mend.c: the bytes of an image that is held came once more, and
 * what is here of them is damaged.
 *
 * Happy path: nothing was found damaged since the store was opened, and
 * nobody looks.  Else the image's place among the vault's rows is looked up;
 * if a chunk of it is damaged or gone, the image is prepared like a new one
 * and its row gets the new manifests.  Item, release and shares stay as they
 * are.
 * What was found before the last start is not known now: verify finds it
 * again. */
#include "node/ingest/ingest_internal.h"
#include "store/base/mem.h"

struct place {
	struct store *s;
	struct db_txn *t;
	const struct v_image *want; /* name, original_hash */
	uint8_t key[12];
	struct v_page page; /* kept if it is there */
	uint32_t at;
	bool found;
	bool damaged;
};

static enum err
place_look(struct place *p)
{
	const struct v_image *v = &p->page.v[p->at];
	enum err e = blob_manifest_sound(p->s, p->t, v->original);

	if (e == ERR_OK && v->deid.n > 0)
		e = blob_manifest_sound(p->s, p->t, v->deid);
	p->damaged = e == ERR_CORRUPT;
	return p->damaged ? ERR_OK : e;
}

static int
place_row(void *ctx, struct slice key, struct slice value)
{
	struct place *p = ctx;
	enum err e = key.n == sizeof(p->key) ? v_page_decode(value, &p->page)
					     : ERR_CORRUPT;

	for (p->at = 0; e == ERR_OK && p->at < p->page.n; p->at++) {
		const struct v_image *v = &p->page.v[p->at];

		if (memcmp(v->name.b, p->want->name.b, sizeof(v->name.b)) !=
			0 ||
		    memcmp(v->original_hash.b, p->want->original_hash.b,
			sizeof(v->original_hash.b)) != 0)
			continue;
		memcpy(p->key, key.p, sizeof(p->key));
		p->found = true;
		e = place_look(p);
		return e == ERR_OK ? 1 : (int)e;
	}
	v_page_fini(&p->page);
	return (int)e;
}

static enum err
place_find(struct place *p, uint64_t item)
{
	uint8_t key[8];

	q_key(item, key);
	return store_row_each(
	    p->s, p->t, "vi", slice_of(key, sizeof(key)), place_row, p);
}

enum err
mend_needed(struct store *s, struct db_txn *t, uint64_t item,
    const struct v_image *v, bool *yes)
{
	struct place p = { .s = s, .t = t, .want = v };
	enum err e = ERR_OK;

	if (blob_any_suspect(s))
		e = place_find(&p, item);
	*yes = e == ERR_OK && p.found && p.damaged;
	v_page_fini(&p.page);
	return e;
}

enum err
mend_put(struct store_txn *t, uint64_t item, const struct v_image *v)
{
	struct place p = {
		.s = store_txn_store(t), .t = store_txn_db(t), .want = v
	};
	const struct v_image *list[V_PAGE_IMAGES];
	struct buf row = BUF_MAX(V_PAGE_BYTES);
	uint32_t i;
	enum err e = place_find(&p, item);

	if (e == ERR_OK && p.found && p.damaged) {
		for (i = 0; i < p.page.n; i++)
			list[i] = i == p.at ? v : &p.page.v[i];
		e = v_page_encode(list, p.page.n, &row);
		if (e == ERR_OK)
			e = store_row_put(t, "vi",
			    slice_of(p.key, sizeof(p.key)), buf_slice(&row));
	}
	v_page_fini(&p.page);
	buf_wipe(&row);
	return e;
}
