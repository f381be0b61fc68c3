/* store/blob/blob_batch.c: preparing files for the store, off the writer.
 *
 * Happy path: cut, hash all of it in one pass, take the entry that is already
 * known (in this batch or the store), else code, encrypt and keep the
 * ciphertext; the writer's job then only copies and indexes.
 * The re-join is proven before anything is committed: the pieces tile the
 * file, and each new one is taken apart again and compared byte by byte.
 *
 *   files -> refs (numbers of items) -> items (entries) -> chunks (bytes)
 *
 * An item of the open bundle has no chunk until the bundle ends, and a chunk
 * has no name until a few of them are hashed together: entries are complete
 * only after batch_chunks_name() and bundle_end(). */
#include "store/blob/blob_batch_internal.h"

struct blob_batch *
blob_batch_new(struct store *s)
{
	struct blob_batch *b = mem_new(sizeof(*b));

	if (b == NULL)
		return NULL;
	b->s = s;
	b->z = b->c = BUF_MAX(2 * BLOB_C_MAX);
	b->back = BUF_MAX(LIM_PIECE_BYTES);
	b->bundle = BUF_MAX(BUNDLE_BYTES);
	b->delta.steps = BUF_MAX(BUNDLE_BYTES);
	b->bundle_no = 1;
	b->codec = codec_take(s->codecs);
	if (b->codec == NULL) {
		mem_free(b);
		return NULL;
	}
	store_lease_begin(s, &b->lease);
	return b;
}

void
batch_chunks_drop(struct blob_batch *b)
{
	uint32_t i;

	for (i = 0; i < b->n_chunks; i++)
		mem_free(b->chunks[i].c);
	b->n_chunks = b->n_named = 0;
	b->held = 0;
}

void
blob_batch_free(struct blob_batch *b)
{
	if (b == NULL)
		return;
	store_lease_end(b->s, &b->lease);
	batch_chunks_drop(b);
	if (b->items != NULL)
		cry_wipe(b->items, b->n * sizeof(*b->items));
	mem_free(b->items);
	mem_free(b->slots);
	mem_free(b->chunks);
	mem_free(b->refs);
	mem_free(b->made);
	codec_give(b->s->codecs, b->codec);
	if (b->sets != NULL)
		cry_wipe(b->sets, b->n_sets * sizeof(*b->sets));
	mem_free(b->sets);
	blob_reader_free(b->reader);
	buf_wipe(&b->delta.steps);
	buf_wipe(&b->bundle);
	buf_wipe(&b->z);
	buf_fini(&b->c);
	buf_wipe(&b->back);
	cry_wipe(b, sizeof(*b));
	mem_free(b);
}

uint64_t
blob_batch_new_bytes(const struct blob_batch *b)
{
	return b->bytes;
}

uint64_t
blob_batch_held(const struct blob_batch *b)
{
	return b->held + b->bundle.n;
}

struct store *
blob_batch_store(const struct blob_batch *b)
{
	return b->s;
}

enum err
batch_grow(void **p, uint32_t *cap, uint32_t n, size_t size)
{
	uint32_t to = *cap == 0 ? 32 : *cap * 2;
	void *q;

	if (n < *cap)
		return ERR_OK;
	if (*cap > UINT32_MAX / 2 || (q = mem_grow(*p, to, size)) == NULL)
		return ERR_NOMEM;
	*p = q;
	*cap = to;
	return ERR_OK;
}

/* --- what this batch knows already --- */

static uint32_t *
slot_of(const struct blob_batch *b, const struct cry_id *hp, enum blob_pidx k)
{
	uint32_t mask = b->slots_n - 1;
	uint32_t i;

	memcpy(&i, hp->b, sizeof(i));
	for (i &= mask; b->slots[i] != 0; i = (i + 1) & mask) {
		const struct item *it = &b->items[b->slots[i] - 1];

		if (it->kind == k &&
		    memcmp(it->e.hp.b, hp->b, sizeof(hp->b)) == 0)
			break;
	}
	return &b->slots[i];
}

static bool
item_find(const struct blob_batch *b, const struct cry_id *hp,
    enum blob_pidx kind, uint32_t *no)
{
	uint32_t *slot;

	if (b->slots_n == 0)
		return false;
	slot = slot_of(b, hp, kind);
	if (*slot == 0)
		return false;
	*no = *slot - 1;
	return true;
}

static enum err
slots_grow(struct blob_batch *b)
{
	uint32_t n = b->slots_n == 0 ? 64 : b->slots_n * 2, i;
	uint32_t *p = mem_array(n, sizeof(*p));

	if (p == NULL)
		return ERR_NOMEM;
	mem_free(b->slots);
	b->slots = p;
	b->slots_n = n;
	for (i = 0; i < b->n; i++)
		*slot_of(b, &b->items[i].e.hp, b->items[i].kind) = i + 1;
	return ERR_OK;
}

enum err
batch_item_add(struct blob_batch *b, const struct item *it, uint32_t *no)
{
	void *p = b->items;
	enum err err;

	if (b->n >= b->slots_n / 2 && (err = slots_grow(b)) != ERR_OK)
		return err;
	if ((err = batch_grow(&p, &b->cap, b->n, sizeof(*it))) != ERR_OK)
		return err;
	b->items = p;
	b->items[b->n] = *it;
	*slot_of(b, &it->e.hp, it->kind) = b->n + 1;
	*no = b->n++;
	return ERR_OK;
}

/* The last one in is on nobody's way to a slot. */
static void
item_drop_last(struct blob_batch *b)
{
	const struct item *it = &b->items[b->n - 1];

	*slot_of(b, &it->e.hp, it->kind) = 0;
	b->n--;
}

/* --- chunks --- */

static void
chunk_name(struct blob_batch *b, const struct chunk *ch)
{
	uint32_t i, end = ch->bundle == 0 ? ch->item + 1 : b->n;

	for (i = ch->item; i < end; i++) {
		struct item *it = &b->items[i];

		if (it->bundle != ch->bundle)
			continue;
		it->e.cid = ch->cid;
		REQUIRE(blob_entry_check(&it->e) == ERR_OK);
	}
}

void
batch_chunks_name(struct blob_batch *b)
{
	struct slice in[NAME_AT_ONCE];
	struct cry_id id[NAME_AT_ONCE];
	uint32_t i, n;

	while (b->n_named < b->n_chunks) {
		struct chunk *ch = &b->chunks[b->n_named];

		n = b->n_chunks - b->n_named;
		n = n < NAME_AT_ONCE ? n : NAME_AT_ONCE;
		for (i = 0; i < n; i++)
			in[i] = slice_of(ch[i].c, ch[i].c_len);
		cry_hash_many(in, n, id);
		for (i = 0; i < n; i++) {
			ch[i].cid = id[i];
			chunk_name(b, &ch[i]);
		}
		b->n_named += n;
	}
}

enum err
batch_chunk_add(struct blob_batch *b, uint32_t item, uint32_t bundle)
{
	struct chunk ch = {
		.item = item, .bundle = bundle, .c_len = (uint32_t)b->c.n
	};
	void *p = b->chunks;
	enum err err = batch_grow(&p, &b->cap_chunks, b->n_chunks, sizeof(ch));

	if (err != ERR_OK)
		return err;
	b->chunks = p;
	if ((ch.c = mem_new(b->c.n)) == NULL)
		return ERR_NOMEM;
	memcpy(ch.c, b->c.p, b->c.n);
	b->chunks[b->n_chunks++] = ch;
	b->bytes += ch.c_len;
	b->held += ch.c_len;
	return ERR_OK;
}

bool
blob_batch_chunk(
    const struct blob_batch *b, const struct cry_id *cid, struct slice *out)
{
	uint32_t i;

	for (i = 0; i < b->n_named; i++) {
		const struct chunk *ch = &b->chunks[i];

		if (memcmp(ch->cid.b, cid->b, sizeof(cid->b)) != 0)
			continue;
		*out = slice_of(ch->c, ch->c_len);
		return true;
	}
	return false;
}

static enum err
spill_job(struct store_txn *t, void *ctx)
{
	return blob_batch_put(t, ctx);
}

/* More than may be held: what there is goes to the store now. */
static enum err
spill(struct blob_batch *b)
{
	enum err err;
	uint32_t i;

	if (b->held < BLOB_HELD_MAX)
		return ERR_OK;
	if ((err = bundle_end(b)) != ERR_OK)
		return err;
	batch_chunks_name(b);
	if ((err = store_write(b->s, spill_job, b)) != ERR_OK)
		return err;
	batch_chunks_drop(b);
	for (i = 0; i < b->n; i++)
		b->items[i].fresh = false;
	return ERR_OK;
}

/* --- one piece --- */

enum err
batch_piece_code(struct blob_batch *b, struct slice p, struct codec_hint hint,
    struct blob_entry *e)
{
	struct codec_choice used;
	enum err err;

	buf_reset(&b->z);
	buf_reset(&b->back);
	if ((err = codec_encode(b->codec, p, hint, &used, &b->z)) != ERR_OK ||
	    (err = codec_decode(b->codec, used, buf_slice(&b->z), (uint32_t)p.n,
		 &b->back)) != ERR_OK)
		return err;
	if (!slice_eq(buf_slice(&b->back), p))
		return ERR_CORRUPT;
	e->codec = (uint8_t)used.id;
	e->row = used.row;
	e->p_len = (uint32_t)p.n;
	e->z_len = (uint32_t)b->z.n;
	return ERR_OK;
}

/* Key from Z, pad, seal (protocol.md section 7). */
enum err
batch_piece_seal(struct blob_batch *b, struct blob_entry *e)
{
	uint8_t how[3] = { e->codec, (uint8_t)e->row, (uint8_t)(e->row >> 8) };
	struct slice parts[2] = { slice_of(how, sizeof(how)),
		buf_slice(&b->z) };

	cry_hash_parts(&b->s->convergence, "psc.chunk.1", parts, 2, e->ck.b,
	    sizeof(e->ck.b));
	buf_put_zero(&b->z, blob_padded(e->z_len) - e->z_len);
	if (buf_err(&b->z) != ERR_OK)
		return buf_err(&b->z);
	buf_reset(&b->c);
	cry_chunk_seal(&e->ck, buf_slice(&b->z), &b->c);
	e->c_len = (uint32_t)b->c.n;
	return buf_err(&b->c);
}

static enum err
piece_whole(
    struct blob_batch *b, const struct cut *cut, struct item *it, uint32_t *no)
{
	enum err err;

	it->fresh = true;
	it->e.raw_len = (uint32_t)cut->p.n;
	if ((err = spill(b)) != ERR_OK ||
	    (err = batch_piece_code(b, cut->p, cut->hint, &it->e)) != ERR_OK ||
	    (err = batch_piece_seal(b, &it->e)) != ERR_OK ||
	    (err = batch_item_add(b, it, no)) != ERR_OK)
		return err;
	err = batch_chunk_add(b, *no, 0);
	if (err != ERR_OK)
		item_drop_last(b);
	return err;
}

/* --- pieces of files --- */

/* What the store has of it. */
static enum err
stored_find(struct blob_batch *b, const struct cut *cut, enum blob_pidx kind,
    struct item *it)
{
	struct blob_found f;
	struct db_txn *txn;
	enum err e = store_read(b->s, &txn);

	if (e != ERR_OK)
		return e;
	e = blob_pidx_find(b->s, txn, &cut->hp, kind, &f);
	db_abort(txn);
	if (e != ERR_OK)
		return e;
	it->e = f.e;
	memcpy(it->header, f.header, sizeof(it->header));
	if (f.n_bases > 0)
		e = bundle_set_add(b, f.base, f.n_bases, &it->set);
	cry_wipe(&f, sizeof(f));
	return e;
}

/* Where a piece of a file may go. */
struct where {
	size_t below; /* bundled if smaller; 0: never */
	bool first;   /* the only one that may be told by others */
	struct blob_place *former;
};

static enum err
piece_item(struct blob_batch *b, const struct cut *cut, const struct where *w,
    uint32_t *no)
{
	bool small = cut->p.n < w->below && cut->hint.bits == 0 && !cut->apart;
	struct item it = { .e.hp = cut->hp,
		.kind = small ? BLOB_PIDX_PART : BLOB_PIDX_WHOLE };
	enum err err;

	if (item_find(b, &cut->hp, it.kind, no))
		return ERR_OK;
	err = stored_find(b, cut, it.kind, &it);
	if (err == ERR_OK && (it.set == 0 || w->first))
		return batch_item_add(b, &it, no);
	/* A rotten index entry is simply made anew. */
	if (err != ERR_OK && err != ERR_NOTFOUND && err != ERR_CORRUPT)
		return err;
	it = (struct item){ .e.hp = cut->hp, .kind = it.kind };
	return it.kind == BLOB_PIDX_PART
		   ? bundle_add(b, cut, &it, w->former, no)
		   : piece_whole(b, cut, &it, no);
}

enum err
batch_piece_item(struct blob_batch *b, const struct cut *cut, uint32_t *no)
{
	struct where alone = { 0 };

	return piece_item(b, cut, &alone, no);
}

enum err
batch_ref_add(struct blob_batch *b, uint32_t item)
{
	void *p = b->refs;
	enum err err =
	    batch_grow(&p, &b->cap_refs, b->n_refs, sizeof(*b->refs));

	if (err != ERR_OK)
		return err;
	b->refs = p;
	b->refs[b->n_refs++] = item;
	return ERR_OK;
}

/* The pixels that a header stands before; 0: not such a file. */
static uint32_t
pixels_of(const struct blob_file *f, const struct cut *cut, uint32_t n)
{
	uint32_t i;

	if (f->apart || n < 2 || n > TOLD_PIECES_MAX || cut[0].apart)
		return 0;
	for (i = 1; i < n && !cut[i].apart; i++)
		;
	return i < n ? i : 0;
}

/* The header, then, which is told by the one that is known for its pixels, if
 * there is one; else it is the one to be known for them. */
static enum err
header_add(struct blob_batch *b, const struct blob_file *f,
    const struct cut *cut, struct where *w, uint32_t pixels, uint32_t *no)
{
	struct blob_place former = b->items[pixels].header[f->form];
	enum err err;

	w->first = true;
	w->former = former.raw_len > 0 ? &former : NULL;
	err = piece_item(b, cut, w, no);
	w->first = false;
	w->former = NULL;
	if (err == ERR_OK && former.raw_len == 0 &&
	    b->items[pixels].with[f->form] == 0)
		b->items[pixels].with[f->form] = *no + 1;
	return err;
}

static enum err
pieces_add(struct blob_batch *b, const struct blob_file *f,
    const struct cut *cut, uint32_t n, uint32_t first)
{
	struct where w = { .below = f->n_plan > 0 ? BUNDLE_PLANNED_BELOW
						  : BUNDLE_BELOW };
	uint32_t pixels = pixels_of(f, cut, n), i, no;
	enum err err = ERR_OK;

	if (f->apart)
		w.below = 0;
	if (pixels > 0) {
		err = piece_item(b, &cut[pixels], &w, &no);
		if (err == ERR_OK)
			b->refs[first + pixels] = no;
	}
	for (i = 0; i < n && err == ERR_OK; i++) {
		if (pixels > 0 && i == pixels)
			continue;
		err = pixels > 0 && i == 0 ? header_add(b, f, cut, &w,
						 b->refs[first + pixels], &no)
					   : piece_item(b, &cut[i], &w, &no);
		if (err == ERR_OK)
			b->refs[first + i] = no;
	}
	return err;
}

static enum err
file_add(struct blob_batch *b, struct blob_file *f, const struct cut *cut,
    uint32_t n)
{
	struct made m = { .first = b->n_refs, .n = n, .raw_len = f->bytes.n };
	void *p = b->made;
	uint32_t i;
	enum err err = batch_grow(&p, &b->cap_made, b->n_made, sizeof(m));

	if (err != ERR_OK)
		return err;
	b->made = p;
	for (i = 0; i < n && err == ERR_OK; i++)
		err = batch_ref_add(b, 0);
	if (err == ERR_OK)
		err = pieces_add(b, f, cut, n, m.first);
	if (err != ERR_OK)
		return err;
	f->no = b->n_made;
	b->made[b->n_made++] = m;
	return ERR_OK;
}

/* --- hashing --- */

/* A file that is one piece has the piece's hash. */
static bool
file_hash_needed(const struct blob_file *f, uint32_t n_cuts)
{
	return !f->has_hash && n_cuts != 1;
}

static void
file_hash_set(struct blob_file *f, const struct cut *cut, uint32_t n_cuts,
    const struct cry_id *hash)
{
	if (f->has_hash)
		return;
	f->hash = n_cuts == 1 ? cut->hp : *hash;
}

struct adding {
	struct blob_file *f;
	uint32_t n;
	struct cuts cuts;
	uint32_t *n_cuts; /* of each file */
};

/* Whole files and the pieces that differ, all in one pass. */
static enum err
hash_all(struct adding *a)
{
	struct slice *in = mem_array(a->cuts.n + a->n, sizeof(*in));
	struct cry_id *id = mem_array(a->cuts.n + a->n, sizeof(*id));
	struct cut *cut = a->cuts.c;
	size_t n = 0, k = 0;
	uint32_t i;
	enum err err = ERR_NOMEM;

	if (in == NULL || id == NULL)
		goto out;
	for (i = 0; i < a->n; i++) {
		if (file_hash_needed(&a->f[i], a->n_cuts[i]))
			in[n++] = a->f[i].bytes;
	}
	for (i = 0; i < a->cuts.n; i++) {
		if (cut[i].same == i)
			in[n++] = cut[i].p;
	}
	cry_hash_many(in, n, id);
	for (i = 0; i < a->n; i++)
		k += file_hash_needed(&a->f[i], a->n_cuts[i]);
	for (i = 0; i < a->cuts.n; i++)
		cut[i].hp = cut[i].same == i ? id[k++] : cut[cut[i].same].hp;
	for (i = 0, k = 0; i < a->n; cut += a->n_cuts[i++]) {
		file_hash_set(&a->f[i], cut, a->n_cuts[i], &id[k]);
		k += file_hash_needed(&a->f[i], a->n_cuts[i]);
	}
	err = ERR_OK;
out:
	mem_free(in);
	mem_free(id);
	return err;
}

/* --- files --- */

static enum err
cut_all(struct blob_batch *b, struct adding *a)
{
	enum err err = ERR_OK;
	uint32_t i, had;

	if ((a->n_cuts = mem_array(a->n, sizeof(*a->n_cuts))) == NULL)
		return ERR_NOMEM;
	for (i = 0; i < a->n && err == ERR_OK; i++) {
		had = a->cuts.n;
		err = cuts_add_file(&a->cuts, b->s->gear, &a->f[i]);
		a->n_cuts[i] = a->cuts.n - had;
	}
	return err == ERR_OK ? cuts_find_equal(&a->cuts) : err;
}

enum err
blob_batch_add_many(struct blob_batch *b, struct blob_file *files, uint32_t n)
{
	struct adding a = { .f = files, .n = n };
	uint32_t refs = b->n_refs, made = b->n_made, i, at = 0;
	enum err err;

	if (n == 0)
		return ERR_OK;
	if ((err = cut_all(b, &a)) != ERR_OK || (err = hash_all(&a)) != ERR_OK)
		goto out;
	for (i = 0; i < n && err == ERR_OK; at += a.n_cuts[i++])
		err = file_add(b, &files[i], a.cuts.c + at, a.n_cuts[i]);
	batch_chunks_name(b);
out:
	if (err != ERR_OK) {
		b->n_refs = refs;
		b->n_made = made;
	}
	cuts_fini(&a.cuts);
	mem_free(a.n_cuts);
	return err;
}
