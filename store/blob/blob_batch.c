/* store/blob/blob_batch.c: preparing files for the store, off the writer.
 *
 * Happy path: cut, hash each piece, take the entry that is already known (in
 * this batch or the store), else code, encrypt and keep the ciphertext; the
 * writer's job then only copies and indexes.
 * The re-join is proven before anything is committed: the pieces tile the
 * file, and each new one is taken apart again and compared byte by byte. */
#include "store/blob/blob_internal.h"
#include "store/blob/gc.h"
#include "store/blob/store_internal.h"

#define WHOLE_BELOW (64 * KIB)
#define CUT_BYTES (1 * MIB) /* parts of a piece that is too large */
#define AVG_BITS 18u        /* 256 KiB */

struct item {
	struct blob_entry e;
	uint8_t *c; /* ciphertext, e.c_len bytes; NULL: already stored */
};

struct blob_batch {
	struct store *s;
	struct store_lease lease; /* what it found stored stays */
	struct codec *codec;
	struct item *items;
	uint32_t n, cap;
	uint32_t *slots; /* hp -> item + 1; power of two, at most half full */
	uint32_t slots_n;
	uint64_t bytes;
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
	b->codec = codec_new();
	if (b->codec == NULL) {
		mem_free(b);
		return NULL;
	}
	store_lease_begin(s, &b->lease);
	return b;
}

void
blob_batch_free(struct blob_batch *b)
{
	uint32_t i;

	if (b == NULL)
		return;
	store_lease_end(b->s, &b->lease);
	for (i = 0; i < b->n; i++)
		mem_free(b->items[i].c);
	if (b->items != NULL)
		cry_wipe(b->items, b->n * sizeof(*b->items));
	mem_free(b->items);
	mem_free(b->slots);
	codec_free(b->codec);
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

/* --- what this batch knows already --- */

static uint32_t *
slot_of(const struct blob_batch *b, const struct cry_id *hp)
{
	uint32_t mask = b->slots_n - 1;
	uint32_t i;

	memcpy(&i, hp->b, sizeof(i));
	for (i &= mask; b->slots[i] != 0; i = (i + 1) & mask) {
		const struct item *it = &b->items[b->slots[i] - 1];

		if (memcmp(it->e.hp.b, hp->b, sizeof(hp->b)) == 0)
			break;
	}
	return &b->slots[i];
}

static const struct item *
item_find(const struct blob_batch *b, const struct cry_id *hp)
{
	uint32_t *slot;

	if (b->slots_n == 0)
		return NULL;
	slot = slot_of(b, hp);
	return *slot == 0 ? NULL : &b->items[*slot - 1];
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
		*slot_of(b, &b->items[i].e.hp) = i + 1;
	return ERR_OK;
}

static enum err
item_add(struct blob_batch *b, const struct blob_entry *e, struct slice c)
{
	struct item it = { .e = *e };
	enum err err;

	if (b->n >= b->slots_n / 2 && (err = slots_grow(b)) != ERR_OK)
		return err;
	if (b->items == NULL || b->n == b->cap) {
		uint32_t cap = b->cap == 0 ? 32 : b->cap * 2;
		void *p = mem_grow(b->items, cap, sizeof(*b->items));

		if (p == NULL)
			return ERR_NOMEM;
		b->items = p;
		b->cap = cap;
	}
	if (c.n > 0) {
		if ((it.c = mem_new(c.n)) == NULL)
			return ERR_NOMEM;
		memcpy(it.c, c.p, c.n);
		b->bytes += c.n;
	}
	b->items[b->n] = it;
	*slot_of(b, &e->hp) = b->n + 1;
	b->n++;
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
	    (err = codec_decode(
		 used, buf_slice(&b->z), (uint32_t)p.n, &b->back)) != ERR_OK)
		return err;
	if (!slice_eq(buf_slice(&b->back), p))
		return ERR_CORRUPT;
	e->codec = (uint8_t)used.id;
	e->row = used.row;
	e->p_len = e->raw_len = (uint32_t)p.n;
	e->off = 0;
	e->z_len = (uint32_t)b->z.n;
	return ERR_OK;
}

/* Z -> C: key from Z, pad, seal, name (protocol.md section 7). */
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
	if (buf_err(&b->c) != ERR_OK)
		return buf_err(&b->c);
	e->c_len = (uint32_t)b->c.n;
	cry_hash(buf_slice(&b->c), &e->cid);
	return blob_entry_check(e);
}

static enum err
stored_find(
    struct blob_batch *b, const struct cry_id *hp, struct blob_entry *out)
{
	struct db_txn *txn;
	enum err e = store_read(b->s, &txn);

	if (e != ERR_OK)
		return e;
	e = blob_pidx_get(b->s, txn, hp, BLOB_PIDX_WHOLE, out);
	db_abort(txn);
	return e;
}

static enum err
piece_add(struct blob_batch *b, struct slice p, struct codec_hint hint,
    struct blob_entry *out)
{
	struct blob_entry e = { .codec = BLOB_RAW };
	const struct item *known;
	struct cry_id hp;
	enum err err;

	cry_hash(p, &hp);
	known = item_find(b, &hp);
	if (known != NULL) {
		*out = known->e;
		return ERR_OK;
	}
	err = stored_find(b, &hp, out);
	if (err == ERR_OK)
		return item_add(b, out, slice_of(NULL, 0));
	if (err != ERR_NOTFOUND && err != ERR_CORRUPT)
		return err; /* a rotten index entry is simply made anew */
	e.hp = hp;
	if ((err = piece_code(b, p, hint, &e)) != ERR_OK ||
	    (err = piece_seal(b, &e)) != ERR_OK ||
	    (err = item_add(b, &e, buf_slice(&b->c))) != ERR_OK)
		return err;
	*out = e;
	return ERR_OK;
}

/* --- one file --- */

struct cutter {
	struct blob_batch *b;
	struct slice file;
	struct buf *entries;
	uint32_t n;
};

static enum err
cut_add(struct cutter *c, uint64_t off, size_t len, struct codec_hint hint)
{
	struct blob_entry e;
	enum err err;

	if (c->n == LIM_MANIFEST_ENTRIES)
		return ERR_LIMIT;
	err = piece_add(c->b, slice_of(c->file.p + off, len), hint, &e);
	if (err != ERR_OK)
		return err;
	blob_entry_put(c->entries, &e);
	c->n++;
	return buf_err(c->entries);
}

/* Parts of an oversized piece end at rows, if they are known. */
static size_t
cut_step(const struct blob_piece *p)
{
	size_t row = (size_t)p->w * (p->bits / 8u);

	if (p->len <= LIM_PIECE_BYTES)
		return (size_t)p->len;
	if (row == 0 || row > CUT_BYTES)
		return CUT_BYTES;
	return CUT_BYTES / row * row;
}

static enum err
cut_planned(struct cutter *c, const struct blob_piece *plan, uint32_t n)
{
	uint64_t at = 0;
	uint32_t i;

	for (i = 0; i < n; i++) {
		const struct blob_piece *p = &plan[i];
		struct codec_hint hint = { p->bits, p->w };
		uint64_t left = p->len;
		size_t step;

		for (step = cut_step(p); left > 0; left -= step) {
			enum err e;

			if (step > left)
				step = (size_t)left;
			e = cut_add(c, at, step, hint);
			if (e != ERR_OK)
				return e;
			at += step;
		}
	}
	return ERR_OK;
}

static enum err
cut_by_content(struct cutter *c)
{
	struct codec_hint none = { 0, 0 };
	/* Beyond 1 GiB twice the length, so that a manifest holds it. */
	unsigned bits = c->file.n > GIB ? AVG_BITS + 1 : AVG_BITS;
	size_t at = 0;

	while (at < c->file.n) {
		struct slice rest = slice_of(c->file.p + at, c->file.n - at);
		size_t n = c->file.n < WHOLE_BELOW
			       ? rest.n
			       : cdc_cut(c->b->s->gear, rest, bits);
		enum err e = cut_add(c, at, n, none);

		if (e != ERR_OK)
			return e;
		at += n;
	}
	return ERR_OK;
}

/* Does the plan cover the file once, in order?  Asked before any work. */
static enum err
plan_check(struct slice file, const struct blob_piece *plan, uint32_t n)
{
	uint64_t at = 0;
	uint32_t i;

	for (i = 0; i < n; i++) {
		if (plan[i].off != at || plan[i].len == 0 ||
		    plan[i].len > file.n - at)
			return ERR_MALFORMED;
		at += plan[i].len;
	}
	return at == file.n ? ERR_OK : ERR_MALFORMED;
}

enum err
blob_batch_add(struct blob_batch *b, struct slice file,
    const struct blob_piece *plan, uint32_t n_plan, struct buf *manifest_out)
{
	struct buf entries =
	    BUF_MAX((size_t)LIM_MANIFEST_ENTRIES * BLOB_ENTRY_BYTES);
	struct cutter c = { .b = b, .file = file, .entries = &entries };
	size_t start = manifest_out->n;
	enum err e;

	if (file.n > LIM_OBJECT_BYTES || n_plan > LIM_MANIFEST_ENTRIES)
		return ERR_LIMIT;
	if (n_plan > 0 && (e = plan_check(file, plan, n_plan)) != ERR_OK)
		return e;
	e = n_plan > 0 ? cut_planned(&c, plan, n_plan) : cut_by_content(&c);
	if (e == ERR_OK) {
		blob_manifest_put(
		    manifest_out, c.n, file.n, buf_slice(&entries));
		e = buf_err(manifest_out);
	}
	if (e != ERR_OK)
		manifest_out->n = start;
	buf_wipe(&entries);
	return e;
}

/* --- in the writer's job --- */

enum err
blob_batch_put(struct store_txn *t, struct blob_batch *b)
{
	enum err e = ERR_OK;
	uint32_t i;

	for (i = 0; i < b->n && e == ERR_OK; i++) {
		const struct item *it = &b->items[i];

		if (it->c == NULL) { /* the lease kept it */
			e = blob_chunk_have(store_txn_db(t), &it->e.cid);
			if (e == ERR_NOTFOUND)
				return ERR_AGAIN;
			continue;
		}
		e = blob_chunk_store(
		    t, &it->e.cid, slice_of(it->c, it->e.c_len));
		if (e == ERR_OK)
			e = blob_entry_learn(t, &it->e);
	}
	return e;
}
