/* store/blob/blob_bundle.c: small pieces that become one, and are told by
 * former ones.
 *
 * Happy path: pieces gather in b->bundle; at its end that is coded as a piece
 * and its items learn which.  A piece whose former version is known is
 * compared with it when it comes, and proven by putting it together again; if
 * half of the bundle is copies, the steps are stored in its place, and name
 * the bundles they copy from.  What holds a copy has none to copy from, so
 * that one chunk more is all that a reader needs.
 * Failure modes: a former version that cannot be read is none. */
#include "store/blob/blob_batch_internal.h"

/* --- sets of bases --- */

static bool
set_is(const struct base_set *s, const struct blob_entry *base, uint32_t n)
{
	uint32_t i;

	for (i = 0; i < n && i < s->n; i++) {
		if (memcmp(&s->base[i].cid, &base[i].cid, 32) != 0)
			return false;
	}
	return s->n == n;
}

enum err
bundle_set_add(struct blob_batch *b, const struct blob_entry *base, uint32_t n,
    uint32_t *no)
{
	void *p = b->sets;
	uint32_t i;
	enum err err;

	REQUIRE(n > 0 && n <= BLOB_BASES_MAX);
	for (i = 0; i < b->n_sets; i++) {
		if (set_is(&b->sets[i], base, n)) {
			*no = i + 1;
			return ERR_OK;
		}
	}
	err = batch_grow(&p, &b->cap_sets, b->n_sets, sizeof(*b->sets));
	if (err != ERR_OK)
		return err;
	b->sets = p;
	memcpy(b->sets[i].base, base, n * sizeof(*base));
	b->sets[i].n = n;
	*no = ++b->n_sets;
	return ERR_OK;
}

/* --- the former version of a part --- */

struct former {
	struct blob_entry e; /* of the part, then of its bundle as a base */
	struct slice piece;  /* the bundle */
	struct slice bytes;  /* the part in it */
	uint32_t slot;       /* of the base; n_bases: one more */
};

static uint32_t
base_slot(const struct blob_batch *b, const struct blob_entry *e)
{
	uint32_t i;

	for (i = 0; i < b->told.n; i++) {
		if (memcmp(&b->told.base[i].cid, &e->cid, 32) == 0)
			break;
	}
	return i;
}

static enum err
former_find(struct blob_batch *b, const struct blob_place *at, struct former *f)
{
	struct db_txn *txn;
	uint32_t off;
	enum err err;

	if (b->reader == NULL)
		b->reader = blob_reader_new(b->s);
	if (b->reader == NULL)
		return ERR_NOMEM;
	if ((err = store_read(b->s, &txn)) != ERR_OK)
		return err;
	err = blob_pidx_place(b->s, txn, at, &f->e);
	if (err == ERR_OK)
		err = blob_reader_piece(b->reader, txn, &f->e, &f->piece);
	db_abort(txn);
	if (err != ERR_OK)
		return err;
	off = f->e.off;
	f->bytes = slice_of(f->piece.p + off, f->e.raw_len);
	f->e.off = f->e.raw_len = 0;
	memset(&f->e.hp, 0, sizeof(f->e.hp));
	f->slot = base_slot(b, &f->e);
	return ERR_OK;
}

/* --- telling --- */

static void
told_forget(struct blob_batch *b)
{
	buf_reset(&b->delta.steps);
	b->delta.at = 0;
	b->delta.copied = 0;
	b->told.n = 0;
	b->told_n = 0;
}

/* The steps from mark on yield now. */
static bool
steps_prove(struct blob_batch *b, size_t mark, uint32_t at,
    const struct delta_base *base, struct slice now)
{
	struct buf *s = &b->delta.steps;
	struct slice steps = slice_of(s->p + mark, s->n - mark);

	buf_reset(&b->back);
	return delta_apply(steps, at, base, 1, &b->back) == ERR_OK &&
	       slice_eq(buf_slice(&b->back), now);
}

/* The part is half of the former one or more. */
static enum err
told_by(
    struct blob_batch *b, const struct former *f, struct slice now, bool *yes)
{
	struct delta *d = &b->delta;
	bool more = f->slot == b->told.n;
	struct delta_base base = { more ? b->told_n : b->told_at[f->slot],
		f->piece };
	size_t mark = d->steps.n;
	uint32_t at = d->at;
	uint64_t copied = d->copied;

	*yes = false;
	delta_part(d, f->bytes,
	    (uint32_t)(base.start + (uint64_t)(f->bytes.p - f->piece.p)), now);
	if (buf_err(&d->steps) == ERR_OK && d->copied - copied >= now.n / 2) {
		if (!steps_prove(b, mark, at, &base, now))
			return ERR_CORRUPT;
		*yes = true;
	} else {
		d->steps.n = mark;
		d->steps.err = ERR_OK;
		d->at = at;
		d->copied = copied;
	}
	if (*yes && more) {
		b->told.base[b->told.n] = f->e;
		b->told_at[b->told.n++] = base.start;
		b->told_n += f->piece.n;
	}
	return ERR_OK;
}

/* The last part of the bundle, in steps. */
static enum err
bundle_tell(struct blob_batch *b, const struct former *f, struct slice now)
{
	bool yes = false;
	enum err err = ERR_OK;

	if (b->told.n == 0 && f == NULL)
		return ERR_OK;
	if (b->told.n == 0 && b->bundle.n > now.n)
		delta_literal(
		    &b->delta, slice_of(b->bundle.p, b->bundle.n - now.n));
	if (f != NULL)
		err = told_by(b, f, now, &yes);
	if (err == ERR_OK && !yes)
		delta_literal(&b->delta, now);
	if (b->told.n == 0)
		told_forget(b);
	return err;
}

/* --- the end of a bundle --- */

/* Steps in place of the bundle, if they are shorter by far. */
static enum err
told_code(struct blob_batch *b, struct blob_entry *e, bool *yes)
{
	struct buf d = BUF_MAX(b->bundle.n);
	enum err err;

	*yes = false;
	if (b->told.n == 0 || b->delta.copied < b->bundle.n / 2 ||
	    buf_err(&b->delta.steps) != ERR_OK)
		return ERR_OK;
	delta_head_put(&d, b->told.base, b->told.n);
	buf_put_slice(&d, buf_slice(&b->delta.steps));
	buf_reset(&b->z);
	buf_reset(&b->back);
	err = buf_err(&d);
	if (err == ERR_OK)
		err = codec_squeeze(b->codec, buf_slice(&d), &b->z);
	if (err == ERR_OK)
		err = codec_unsqueeze(b->codec, buf_slice(&b->z),
		    (uint32_t)b->bundle.n, &b->back);
	if (err == ERR_OK && !slice_eq(buf_slice(&b->back), buf_slice(&d)))
		err = ERR_CORRUPT;
	buf_wipe(&d);
	if (err == ERR_LIMIT)
		return ERR_OK; /* the steps are no shorter */
	*yes = err == ERR_OK && b->z.n < b->bundle.n;
	e->codec = BLOB_DELTA;
	e->p_len = (uint32_t)b->bundle.n;
	e->z_len = (uint32_t)b->z.n;
	return err;
}

static enum err
bundle_code(struct blob_batch *b, struct blob_entry *e, uint32_t *set)
{
	struct codec_hint none = { 0, 0 };
	bool told;
	enum err err = told_code(b, e, &told);

	*set = 0;
	if (err == ERR_OK && told)
		err = bundle_set_add(b, b->told.base, b->told.n, set);
	else if (err == ERR_OK)
		err = batch_piece_code(b, buf_slice(&b->bundle), none, e);
	return err == ERR_OK ? batch_piece_seal(b, e) : err;
}

enum err
bundle_end(struct blob_batch *b)
{
	struct blob_entry e = { .codec = BLOB_RAW };
	uint32_t i, set;
	enum err err;

	if (b->bundle.n == 0)
		return ERR_OK;
	err = bundle_code(b, &e, &set);
	if (err == ERR_OK)
		err = batch_chunk_add(b, b->bundle_item, b->bundle_no);
	if (err != ERR_OK)
		return err;
	for (i = b->bundle_item; i < b->n; i++) {
		struct blob_entry *to = &b->items[i].e;

		if (b->items[i].bundle != b->bundle_no)
			continue;
		b->items[i].set = set;
		to->ck = e.ck;
		to->codec = e.codec;
		to->row = e.row;
		to->z_len = e.z_len;
		to->p_len = e.p_len;
		to->c_len = e.c_len;
	}
	cry_wipe(&e, sizeof(e));
	buf_reset(&b->bundle);
	told_forget(b);
	b->bundle_no++;
	return ERR_OK;
}

/* --- adding --- */

static enum err
bundle_put(
    struct blob_batch *b, struct slice bytes, struct item *it, uint32_t *no)
{
	enum err err;

	if (b->bundle.n == 0)
		b->bundle_item = b->n;
	it->fresh = true;
	it->bundle = b->bundle_no;
	it->e.off = (uint32_t)b->bundle.n;
	it->e.raw_len = (uint32_t)bytes.n;
	buf_put_slice(&b->bundle, bytes);
	if ((err = buf_err(&b->bundle)) != ERR_OK) {
		b->bundle.err = ERR_OK; /* what it holds is whole */
		return err;
	}
	err = batch_item_add(b, it, no);
	if (err != ERR_OK)
		b->bundle.n = it->e.off;
	return err;
}

enum err
bundle_add(struct blob_batch *b, const struct cut *cut, struct item *it,
    struct blob_place *at, uint32_t *no)
{
	struct former f = { 0 };
	bool told = at != NULL && former_find(b, at, &f) == ERR_OK;
	enum err err = ERR_OK;

	if (at != NULL && !told)
		at->raw_len = 0;
	if (b->bundle.n + cut->p.n > BUNDLE_BYTES ||
	    (told && f.slot == BLOB_BASES_MAX))
		err = bundle_end(b);
	if (told)
		f.slot = base_slot(b, &f.e);
	if (err == ERR_OK)
		err = bundle_put(b, cut->p, it, no);
	if (err == ERR_OK)
		err = bundle_tell(b, told ? &f : NULL, cut->p);
	cry_wipe(&f.e, sizeof(f.e));
	return err;
}
