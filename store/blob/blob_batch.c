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
 * only after chunks_name() and bundle_end(). */
#include "store/blob/blob_internal.h"
#include "store/blob/gc.h"
#include "store/blob/store_internal.h"

/* Smaller pieces share a chunk.  Planned ones are headers: with private blocks
 * they reach 100 KiB, and are alike. */
#define BUNDLE_BELOW (64 * KIB)
#define BUNDLE_PLANNED_BELOW (256 * KIB)
#define BUNDLE_BYTES (2 * MIB)
#define NAME_AT_ONCE 8u /* lanes of cry_hash_many, about */

struct item {
	struct blob_entry e;
	uint32_t bundle; /* number of its bundle, 0: none */
	enum blob_pidx kind;
	bool fresh; /* to be indexed */
};

struct chunk {
	struct cry_id cid;
	uint32_t item;   /* the one whose entry names it, or ... */
	uint32_t bundle; /* ... from item on those of this bundle; 0: none */
	uint32_t c_len;
	uint8_t *c;
};

struct made { /* one file */
	uint32_t first, n;
	uint64_t raw_len;
	uint8_t depth;
};

struct blob_batch {
	struct store *s;
	struct store_lease lease; /* what it found stored stays */
	struct codec *codec;
	struct item *items;
	uint32_t n, cap;
	uint32_t *slots; /* hp -> item + 1; power of two, at most half full */
	uint32_t slots_n;
	struct chunk *chunks; /* not put */
	uint32_t n_chunks, cap_chunks;
	uint32_t n_named;
	uint32_t *refs;
	uint32_t n_refs, cap_refs;
	struct made *made;
	uint32_t n_made, cap_made;
	struct buf bundle;    /* the open one */
	uint32_t bundle_no;   /* its number, from 1 */
	uint32_t bundle_item; /* its first item, or after */
	uint64_t bytes;
	uint64_t held;
	struct buf z, c, back; /* scratch */
};

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
	b->bundle_no = 1;
	b->codec = codec_take(s->codecs);
	if (b->codec == NULL) {
		mem_free(b);
		return NULL;
	}
	store_lease_begin(s, &b->lease);
	return b;
}

static void
chunks_drop(struct blob_batch *b)
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
	chunks_drop(b);
	if (b->items != NULL)
		cry_wipe(b->items, b->n * sizeof(*b->items));
	mem_free(b->items);
	mem_free(b->slots);
	mem_free(b->chunks);
	mem_free(b->refs);
	mem_free(b->made);
	codec_give(b->s->codecs, b->codec);
	buf_wipe(&b->bundle);
	buf_wipe(&b->z);
	buf_fini(&b->c);
	buf_wipe(&b->back);
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

/* Room for one more in an array that doubles. */
static enum err
grow(void **p, uint32_t *cap, uint32_t n, size_t size)
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

static enum err
item_add(struct blob_batch *b, const struct item *it, uint32_t *no)
{
	void *p = b->items;
	enum err err;

	if (b->n >= b->slots_n / 2 && (err = slots_grow(b)) != ERR_OK)
		return err;
	if ((err = grow(&p, &b->cap, b->n, sizeof(*it))) != ERR_OK)
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

static enum err bundle_end(struct blob_batch *b);

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

/* The ids of chunks that have none; several are hashed at once. */
static void
chunks_name(struct blob_batch *b)
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

/* Copies the ciphertext in b->c. */
static enum err
chunk_add(struct blob_batch *b, uint32_t item, uint32_t bundle)
{
	struct chunk ch = {
		.item = item, .bundle = bundle, .c_len = (uint32_t)b->c.n
	};
	void *p = b->chunks;
	enum err err = grow(&p, &b->cap_chunks, b->n_chunks, sizeof(ch));

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
	chunks_name(b);
	if ((err = store_write(b->s, spill_job, b)) != ERR_OK)
		return err;
	chunks_drop(b);
	for (i = 0; i < b->n; i++)
		b->items[i].fresh = false;
	return ERR_OK;
}

/* --- one piece --- */

/* P -> Z, and back again to prove it. */
static enum err
piece_code(struct blob_batch *b, struct slice p, struct codec_hint hint,
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

/* Z -> C in b->c: key from Z, pad, seal (protocol.md section 7). */
static enum err
piece_seal(struct blob_batch *b, struct blob_entry *e)
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
	    (err = piece_code(b, cut->p, cut->hint, &it->e)) != ERR_OK ||
	    (err = piece_seal(b, &it->e)) != ERR_OK ||
	    (err = item_add(b, it, no)) != ERR_OK)
		return err;
	err = chunk_add(b, *no, 0);
	if (err != ERR_OK)
		item_drop_last(b);
	return err;
}

/* --- bundles --- */

/* The bundle becomes one piece; its items learn which. */
static enum err
bundle_end(struct blob_batch *b)
{
	struct codec_hint none = { 0, 0 };
	struct blob_entry e = { .codec = BLOB_RAW };
	uint32_t i;
	enum err err;

	if (b->bundle.n == 0)
		return ERR_OK;
	err = piece_code(b, buf_slice(&b->bundle), none, &e);
	if (err == ERR_OK)
		err = piece_seal(b, &e);
	if (err == ERR_OK)
		err = chunk_add(b, b->bundle_item, b->bundle_no);
	if (err != ERR_OK)
		return err;
	for (i = b->bundle_item; i < b->n; i++) {
		struct blob_entry *to = &b->items[i].e;

		if (b->items[i].bundle != b->bundle_no)
			continue;
		to->ck = e.ck;
		to->codec = e.codec;
		to->row = e.row;
		to->z_len = e.z_len;
		to->p_len = e.p_len;
		to->c_len = e.c_len;
	}
	cry_wipe(&e, sizeof(e));
	buf_reset(&b->bundle);
	b->bundle_no++;
	return ERR_OK;
}

static enum err
piece_bundled(
    struct blob_batch *b, const struct cut *cut, struct item *it, uint32_t *no)
{
	enum err err;

	if (b->bundle.n + cut->p.n > BUNDLE_BYTES &&
	    (err = bundle_end(b)) != ERR_OK)
		return err;
	if (b->bundle.n == 0)
		b->bundle_item = b->n;
	it->fresh = true;
	it->bundle = b->bundle_no;
	it->e.off = (uint32_t)b->bundle.n;
	it->e.raw_len = (uint32_t)cut->p.n;
	buf_put_slice(&b->bundle, cut->p);
	if ((err = buf_err(&b->bundle)) != ERR_OK) {
		b->bundle.err = ERR_OK; /* what it holds is whole */
		return err;
	}
	err = item_add(b, it, no);
	if (err != ERR_OK)
		b->bundle.n = it->e.off;
	return err;
}

/* --- pieces of files --- */

static enum err
stored_find(struct blob_batch *b, const struct cry_id *hp, enum blob_pidx kind,
    struct blob_entry *out)
{
	struct db_txn *txn;
	enum err e = store_read(b->s, &txn);

	if (e != ERR_OK)
		return e;
	e = blob_pidx_get(b->s, txn, hp, kind, out);
	db_abort(txn);
	return e;
}

/* below: bundled if smaller; 0: never. */
static enum err
piece_item(
    struct blob_batch *b, const struct cut *cut, size_t below, uint32_t *no)
{
	bool small = cut->p.n < below && cut->hint.bits == 0 && !cut->apart;
	struct item it = { .e.hp = cut->hp,
		.kind = small ? BLOB_PIDX_PART : BLOB_PIDX_WHOLE };
	enum err err;

	if (item_find(b, &cut->hp, it.kind, no))
		return ERR_OK;
	err = stored_find(b, &cut->hp, it.kind, &it.e);
	if (err == ERR_OK)
		return item_add(b, &it, no);
	/* A rotten index entry is simply made anew. */
	if (err != ERR_NOTFOUND && err != ERR_CORRUPT)
		return err;
	return it.kind == BLOB_PIDX_PART ? piece_bundled(b, cut, &it, no)
					 : piece_whole(b, cut, &it, no);
}

static enum err
ref_add(struct blob_batch *b, uint32_t item)
{
	void *p = b->refs;
	enum err err = grow(&p, &b->cap_refs, b->n_refs, sizeof(*b->refs));

	if (err != ERR_OK)
		return err;
	b->refs = p;
	b->refs[b->n_refs++] = item;
	return ERR_OK;
}

static enum err
file_add(struct blob_batch *b, struct blob_file *f, const struct cut *cut,
    uint32_t n)
{
	struct made m = { .first = b->n_refs, .n = n, .raw_len = f->bytes.n };
	void *p = b->made;
	size_t below = f->n_plan > 0 ? BUNDLE_PLANNED_BELOW : BUNDLE_BELOW;
	uint32_t i, no;
	enum err err = grow(&p, &b->cap_made, b->n_made, sizeof(m));

	if (err != ERR_OK)
		return err;
	b->made = p;
	for (i = 0; i < n && err == ERR_OK; i++) {
		err = piece_item(b, &cut[i], f->apart ? 0 : below, &no);
		if (err == ERR_OK)
			err = ref_add(b, no);
	}
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
	chunks_name(b);
out:
	if (err != ERR_OK) {
		b->n_refs = refs;
		b->n_made = made;
	}
	cuts_fini(&a.cuts);
	mem_free(a.n_cuts);
	return err;
}

/* --- manifests --- */

static void
manifest_put(const struct blob_batch *b, const struct made *m, struct buf *out)
{
	uint32_t i;

	blob_manifest_put(out, m->n, m->raw_len, m->depth);
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
	err = piece_item(b, &cut, 0, &no);
	return err == ERR_OK ? ref_add(b, no) : err;
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

	chunks_name(b);
	for (i = 0; i < b->n_made && err == ERR_OK; i++) {
		if (b->made[i].n > LIM_MANIFEST_ENTRIES)
			err = made_deepen(b, &b->made[i]);
	}
	chunks_name(b);
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
		chunks_name(b);
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

enum err
blob_batch_put(struct store_txn *t, struct blob_batch *b)
{
	enum err e = ERR_OK;
	uint32_t i;

	REQUIRE(b->bundle.n == 0 && b->n_named == b->n_chunks);
	for (i = 0; i < b->n_chunks && e == ERR_OK; i++) {
		const struct chunk *ch = &b->chunks[i];

		e = blob_chunk_store(t, &ch->cid, slice_of(ch->c, ch->c_len));
	}
	for (i = 0; i < b->n && e == ERR_OK; i++) {
		const struct item *it = &b->items[i];

		if (it->fresh) {
			e = blob_entry_learn(t, &it->e);
			continue;
		}
		/* The lease kept it. */
		e = blob_chunk_have(store_txn_db(t), &it->e.cid);
		if (e == ERR_NOTFOUND)
			e = ERR_AGAIN;
	}
	return e;
}
