/* store/blob/blob_batch_end.c: from pieces to manifests, and into the store.
 *
 * A manifest names first the bases that its bundles are told by, so that who
 * keeps the manifest keeps them too. */
#include "store/blob/blob_batch_internal.h"

/* --- manifests --- */

/* The bases of the pieces of m, appended if out is not NULL; how many. */
static uint32_t
bases_each(const struct blob_batch *b, const struct made *m, struct buf *out)
{
	uint32_t i, k, n = 0, last = 0;

	for (i = 0; i < m->n; i++) {
		uint32_t set = b->items[b->refs[m->first + i]].set;

		if (set == 0 || set == last)
			continue;
		last = set;
		n += b->sets[set - 1].n;
		for (k = 0; out != NULL && k < b->sets[set - 1].n; k++)
			blob_entry_put(out, &b->sets[set - 1].base[k]);
	}
	return n;
}

static void
manifest_put(const struct blob_batch *b, const struct made *m, struct buf *out)
{
	uint32_t n = m->n + bases_each(b, m, NULL), i;

	if (n > LIM_MANIFEST_ENTRIES) {
		out->err = ERR_LIMIT;
		return;
	}
	blob_manifest_put(out, n, m->raw_len, m->depth);
	(void)bases_each(b, m, out);
	for (i = 0; i < m->n; i++)
		blob_entry_put(out, &b->items[b->refs[m->first + i]].e);
}

/* One inner manifest, for n refs from first on, becomes a piece and a ref. */
static enum err
inner_add(struct blob_batch *b, uint32_t first, uint32_t n, struct buf *scratch)
{
	struct made inner = { .first = first, .n = n };
	struct cut cut = { .hint = { 0, 0 } };
	uint32_t i, no;
	enum err err;

	for (i = 0; i < n; i++)
		inner.raw_len += b->items[b->refs[first + i]].e.raw_len;
	buf_reset(scratch);
	manifest_put(b, &inner, scratch);
	if ((err = buf_err(scratch)) != ERR_OK)
		return err;
	cut.p = buf_slice(scratch);
	cry_hash(cut.p, &cut.hp);
	err = batch_piece_item(b, &cut, &no);
	return err == ERR_OK ? batch_ref_add(b, no) : err;
}

/* Too many refs for one manifest: a list of manifests takes their place. */
static enum err
made_deepen(struct blob_batch *b, struct made *m)
{
	/* One level suffices for the pieces a file may have. */
	_Static_assert(
	    LIM_FILE_PIECES / LIM_MANIFEST_ENTRIES <= LIM_MANIFEST_ENTRIES,
	    "two levels");
	struct buf scratch = BUF_MAX(LIM_PIECE_BYTES);
	uint32_t first = b->n_refs, i, n;
	enum err err = ERR_OK;

	for (i = 0; i < m->n && err == ERR_OK; i += n) {
		n = m->n - i;
		n = n < LIM_MANIFEST_ENTRIES ? n : LIM_MANIFEST_ENTRIES;
		err = inner_add(b, m->first + i, n, &scratch);
	}
	buf_wipe(&scratch);
	if (err != ERR_OK)
		return err;
	m->first = first;
	m->n = b->n_refs - first;
	m->depth++;
	return ERR_OK;
}

enum err
blob_batch_seal(struct blob_batch *b)
{
	uint32_t i;
	enum err err = bundle_end(b);

	batch_chunks_name(b);
	for (i = 0; i < b->n_made && err == ERR_OK; i++) {
		if (b->made[i].n > LIM_MANIFEST_ENTRIES)
			err = made_deepen(b, &b->made[i]);
	}
	batch_chunks_name(b);
	return err;
}

enum err
blob_batch_manifest(struct blob_batch *b, uint32_t no, struct buf *out)
{
	size_t start = out->n;

	REQUIRE(no < b->n_made && b->bundle.n == 0);
	REQUIRE(b->made[no].n <= LIM_MANIFEST_ENTRIES);
	manifest_put(b, &b->made[no], out);
	if (buf_err(out) != ERR_OK)
		out->n = start;
	return buf_err(out);
}

enum err
blob_batch_add(struct blob_batch *b, struct slice file,
    const struct blob_piece *plan, uint32_t n_plan, struct buf *manifest_out)
{
	struct blob_file f = { .bytes = file,
		.plan = plan,
		.n_plan = n_plan,
		.apart = true,
		.has_hash = true };
	uint32_t refs = b->n_refs;
	struct made *m;
	enum err err = blob_batch_add_many(b, &f, 1);

	if (err != ERR_OK)
		return err;
	m = &b->made[f.no];
	if (m->n > LIM_MANIFEST_ENTRIES) {
		err = made_deepen(b, m);
		batch_chunks_name(b);
	}
	if (err == ERR_OK) {
		size_t start = manifest_out->n;

		manifest_put(b, m, manifest_out);
		err = buf_err(manifest_out);
		if (err != ERR_OK)
			manifest_out->n = start;
	}
	/* Its manifest is out: nobody asks for it by number. */
	b->n_refs = refs;
	b->n_made--;
	return err;
}

/* --- in the writer's job --- */

/* What was found stored and is counted on: the lease kept it. */
static enum err
still_here(struct store_txn *t, const struct blob_entry *e)
{
	enum err err = blob_chunk_have(store_txn_db(t), &e->cid);

	return err == ERR_NOTFOUND ? ERR_AGAIN : err;
}

/* The headers that are known for these pixels from now on; *news: some are. */
static enum err
headers_place(struct store_txn *t, const struct blob_batch *b,
    const struct item *it, struct blob_found *f, bool *news)
{
	struct blob_place p;
	uint32_t i;
	enum err e = ERR_OK;

	*news = false;
	memcpy(f->header, it->header, sizeof(f->header));
	for (i = 0; i < BLOB_FORMS && e == ERR_OK; i++) {
		if (it->with[i] == 0)
			continue;
		e = blob_place_of(
		    store_txn_db(t), &b->items[it->with[i] - 1].e, &p);
		if (e != ERR_OK || p.raw_len == 0)
			continue;
		f->header[i] = p;
		*news = true;
	}
	return e;
}

static enum err
item_learn(
    struct store_txn *t, const struct blob_batch *b, const struct item *it)
{
	struct blob_found f = { .e = it->e };
	bool news;
	enum err e = headers_place(t, b, it, &f, &news);

	if (e == ERR_OK && it->set > 0) {
		f.n_bases = b->sets[it->set - 1].n;
		memcpy(f.base, b->sets[it->set - 1].base, sizeof(f.base));
	}
	if (e == ERR_OK && (it->fresh || news))
		e = blob_found_learn(t, &f, !it->fresh);
	/* A bundle of one looks like a whole piece. */
	if (e == ERR_OK && it->fresh && it->bundle > 0 &&
	    !blob_entry_is_part(&it->e)) {
		f.e.raw_len = 0;
		memset(&f.e.hp, 0, sizeof(f.e.hp));
		e = blob_found_learn(t, &f, false);
	}
	cry_wipe(&f, sizeof(f));
	return e;
}

enum err
blob_batch_put(struct store_txn *t, struct blob_batch *b)
{
	enum err e = ERR_OK;
	uint32_t i, k;

	REQUIRE(b->bundle.n == 0 && b->n_named == b->n_chunks);
	for (i = 0; i < b->n_chunks && e == ERR_OK; i++) {
		const struct chunk *ch = &b->chunks[i];

		e = blob_chunk_store(t, &ch->cid, slice_of(ch->c, ch->c_len));
	}
	for (i = 0; i < b->n_sets; i++) {
		for (k = 0; k < b->sets[i].n && e == ERR_OK; k++)
			e = still_here(t, &b->sets[i].base[k]);
	}
	for (i = 0; i < b->n && e == ERR_OK; i++) {
		if (!b->items[i].fresh)
			e = still_here(t, &b->items[i].e);
		if (e == ERR_OK)
			e = item_learn(t, b, &b->items[i]);
	}
	return e;
}
