/* store/blob/blob_reader.c: many entries in a row, and whole files.
 *
 * Happy path: a whole piece is read and given on; for a part the piece it
 * lies in is kept, because its neighbours are asked for next.  A bundle that
 * is told by others is put together of them: they are in the store, never
 * in the batch at hand, and are told by none themselves.  Manifests of
 * manifests are read as they are come to, one a level at a time.
 * Failure modes: as blob_read; a tree whose lengths do not agree, or that is
 * deeper than it says, is ERR_AUTH, and so is one of more pieces than a file
 * may have: a few chunks that name each other again and again could tell of
 * 2^40.  An inner manifest holds one entry at least, so the pieces bound the
 * steps. */
#include "store/blob/blob_internal.h"
#include "store/blob/store_internal.h"

#define KEPT 2u /* bundles: headers of originals, headers of copies */

struct kept {
	struct blob_entry e; /* of any part of it; p_len 0: empty */
	struct buf piece;
};

struct blob_reader {
	struct store *s;
	const struct blob_batch *b;
	struct kept kept[KEPT];
	uint32_t last; /* the one used last */
	struct buf c;
	struct buf many[BLOB_MANY]; /* ciphertexts of blob_reader_many */
};

struct blob_reader *
blob_reader_new(struct store *s)
{
	struct blob_reader *r = mem_new(sizeof(*r));
	uint32_t i;

	if (r == NULL)
		return NULL;
	r->s = s;
	r->c = BUF_MAX(BLOB_C_MAX + STORE_REC_HEADER);
	for (i = 0; i < KEPT; i++)
		r->kept[i].piece = BUF_MAX(LIM_PIECE_BYTES);
	for (i = 0; i < BLOB_MANY; i++)
		r->many[i] = BUF_MAX(BLOB_C_MAX + STORE_REC_HEADER);
	return r;
}

struct blob_reader *
blob_reader_over(struct blob_batch *b)
{
	struct blob_reader *r = blob_reader_new(blob_batch_store(b));

	if (r != NULL)
		r->b = b;
	return r;
}

void
blob_reader_free(struct blob_reader *r)
{
	uint32_t i;

	if (r == NULL)
		return;
	for (i = 0; i < KEPT; i++) {
		buf_wipe(&r->kept[i].piece);
		cry_wipe(&r->kept[i].e, sizeof(r->kept[i].e));
	}
	for (i = 0; i < BLOB_MANY; i++)
		buf_fini(&r->many[i]);
	buf_fini(&r->c);
	mem_free(r);
}

/* The ciphertext of e; borrowed until the next read. */
static enum err
chunk_load(struct blob_reader *r, struct db_txn *txn,
    const struct blob_entry *e, struct slice *c)
{
	struct db_txn *own = NULL;
	enum err err = ERR_OK;

	if (r->b != NULL && blob_batch_chunk(r->b, &e->cid, c))
		return ERR_OK;
	if (txn == NULL)
		err = store_read(r->s, &own);
	buf_reset(&r->c);
	if (err == ERR_OK)
		err = blob_chunk_get(
		    r->s, txn == NULL ? own : txn, &e->cid, &r->c);
	db_abort(own);
	*c = buf_slice(&r->c);
	return err;
}

static bool
same_piece(const struct blob_entry *a, const struct blob_entry *b)
{
	return a->p_len == b->p_len && a->z_len == b->z_len &&
	       a->codec == b->codec && a->row == b->row &&
	       memcmp(a->cid.b, b->cid.b, sizeof(a->cid.b)) == 0 &&
	       memcmp(a->ck.b, b->ck.b, sizeof(a->ck.b)) == 0;
}

/* --- bundles told by others --- */

/* Each base whole; they come with the store's own checks. */
static enum err
bases_load(struct blob_reader *r, struct db_txn *txn,
    const struct blob_entry *e, uint32_t n, struct buf *piece)
{
	struct slice c;
	uint32_t i;
	enum err err = ERR_OK;

	for (i = 0; i < n && err == ERR_OK; i++) {
		piece[i] = BUF_MAX(LIM_PIECE_BYTES);
		err = chunk_load(r, txn, &e[i], &c);
		if (err == ERR_OK)
			err = blob_open_piece(r->s, &e[i], c, &piece[i]);
	}
	return err;
}

/* d: head and steps. */
static enum err
delta_open(
    struct blob_reader *r, struct db_txn *txn, struct slice d, struct buf *out)
{
	struct blob_entry e[BLOB_BASES_MAX];
	struct delta_base base[BLOB_BASES_MAX];
	struct buf piece[BLOB_BASES_MAX] = { 0 };
	struct rd rd = rd_init(d);
	uint64_t start = 0;
	uint32_t n = 0, i;
	enum err err = delta_head_read(&rd, e, &n);

	if (err == ERR_OK)
		err = bases_load(r, txn, e, n, piece);
	for (i = 0; err == ERR_OK && i < n; i++) {
		base[i].start = start;
		base[i].bytes = buf_slice(&piece[i]);
		start += piece[i].n;
	}
	if (err == ERR_OK)
		err = delta_apply(rd_rest(&rd), 0, base, n, out);
	for (i = 0; i < n; i++)
		buf_wipe(&piece[i]);
	cry_wipe(e, sizeof(e));
	return err;
}

static enum err
piece_open_delta(struct blob_reader *r, struct db_txn *txn,
    const struct blob_entry *e, struct slice c, struct buf *out)
{
	struct codec *codec = codec_take(r->s->codecs);
	struct buf z = BUF_MAX(BLOB_C_MAX), d = BUF_MAX(e->p_len);
	size_t max = out->max;
	enum err err = codec == NULL ? ERR_NOMEM : blob_open_z(e, c, &z);

	if (err == ERR_OK)
		err = codec_unsqueeze(codec, buf_slice(&z), e->p_len, &d);
	codec_give(r->s->codecs, codec);
	out->max = e->p_len;
	if (err == ERR_OK)
		err = delta_open(r, txn, buf_slice(&d), out);
	out->max = max;
	if (err == ERR_OK && out->n != e->p_len)
		err = ERR_MALFORMED;
	buf_wipe(&z);
	buf_wipe(&d);
	return err == ERR_MALFORMED || err == ERR_UNSUPPORTED ? ERR_AUTH : err;
}

static enum err
piece_open(struct blob_reader *r, struct db_txn *txn,
    const struct blob_entry *e, struct slice c, struct buf *out)
{
	return e->codec == BLOB_DELTA ? piece_open_delta(r, txn, e, c, out)
				      : blob_open_piece(r->s, e, c, out);
}

/* --- pieces --- */

enum err
blob_reader_piece(struct blob_reader *r, struct db_txn *txn,
    const struct blob_entry *e, struct slice *out)
{
	struct kept *k;
	struct slice c;
	uint32_t i;
	enum err err;

	for (i = 0; i < KEPT; i++) {
		if (!same_piece(&r->kept[i].e, e))
			continue;
		r->last = i;
		*out = buf_slice(&r->kept[i].piece);
		return ERR_OK;
	}
	r->last = (r->last + 1) % KEPT;
	k = &r->kept[r->last];
	k->e.p_len = 0;
	buf_reset(&k->piece);
	if ((err = chunk_load(r, txn, e, &c)) != ERR_OK ||
	    (err = piece_open(r, txn, e, c, &k->piece)) != ERR_OK)
		return err;
	k->e = *e;
	*out = buf_slice(&k->piece);
	return ERR_OK;
}

enum err
blob_reader_read(struct blob_reader *r, struct db_txn *txn,
    const struct blob_entry *e, struct buf *out)
{
	struct slice s;
	enum err err;

	if (blob_entry_check(e) != ERR_OK)
		return ERR_AUTH;
	if (blob_entry_is_base(e))
		return ERR_OK;
	if (!blob_entry_is_part(e)) {
		err = chunk_load(r, txn, e, &s);
		return err == ERR_OK ? blob_open(r->s, e, s, out) : err;
	}
	err = blob_reader_piece(r, txn, e, &s);
	return err == ERR_OK ? blob_open_part(e, s, out) : err;
}

/* --- many at once --- */

/* Ciphertexts of up to BLOB_MANY whole pieces, each what its cid says. */
static void
many_load(struct blob_reader *r, struct blob_want *w, uint32_t n)
{
	struct slice in[BLOB_MANY];
	struct cry_id is[BLOB_MANY];
	struct db_txn *txn = NULL;
	uint32_t i;
	enum err e = store_read(r->s, &txn);

	for (i = 0; i < n; i++) {
		buf_reset(&r->many[i]);
		w[i].err = blob_entry_check(w[i].e) == ERR_OK ? e : ERR_AUTH;
		if (w[i].err == ERR_OK)
			w[i].err = blob_chunk_load(
			    r->s, txn, &w[i].e->cid, &r->many[i]);
		in[i] = buf_slice(&r->many[i]);
	}
	db_abort(txn);
	cry_hash_many(in, n, is);
	for (i = 0; i < n; i++) {
		if (w[i].err == ERR_OK &&
		    memcmp(&is[i], &w[i].e->cid, sizeof(is[i])) != 0) {
			w[i].err = ERR_CORRUPT;
			blob_suspect_note(r->s, &w[i].e->cid);
		}
	}
}

/* Whole pieces; what fails is taken back. */
static void
many_whole(struct blob_reader *r, struct blob_want *w, uint32_t n)
{
	struct slice in[BLOB_MANY] = { 0 };
	struct cry_id is[BLOB_MANY];
	size_t start[BLOB_MANY];
	uint32_t i;

	many_load(r, w, n);
	for (i = 0; i < n; i++) {
		start[i] = w[i].out->n;
		if (w[i].err == ERR_OK)
			w[i].err = blob_open_piece(
			    r->s, w[i].e, buf_slice(&r->many[i]), w[i].out);
		if (w[i].err != ERR_OK)
			w[i].out->n = start[i];
	}
	/* Now that no out moves any more. */
	for (i = 0; i < n; i++) {
		if (w[i].err == ERR_OK)
			in[i] =
			    slice_of(w[i].out->p + start[i], w[i].e->raw_len);
	}
	cry_hash_many(in, n, is);
	for (i = n; i-- > 0;) {
		if (w[i].err == ERR_OK &&
		    memcmp(&is[i], &w[i].e->hp, sizeof(is[i])) != 0)
			w[i].err = ERR_AUTH;
		if (w[i].err != ERR_OK)
			w[i].out->n = start[i];
	}
}

void
blob_reader_many(struct blob_reader *r, struct blob_want *w, uint32_t n)
{
	uint32_t i = 0, k;

	while (i < n) {
		for (k = 0; i + k < n && k < BLOB_MANY && r->b == NULL &&
			    !blob_entry_is_part(w[i + k].e);
		     k++)
			;
		if (k > 0) {
			many_whole(r, &w[i], k);
			i += k;
			continue;
		}
		w[i].err = blob_reader_read(r, NULL, w[i].e, w[i].out);
		i++;
	}
}

/* --- manifests of manifests --- */

struct walk {
	struct blob_reader *r;
	struct db_txn *txn;
	blob_entry_fn fn;
	void *ctx;
	uint32_t pieces;
};

static enum err
inner_load(struct walk *w, const struct blob_entry *e, uint8_t depth,
    struct blob_manifest *out)
{
	struct buf raw = BUF_MAX(LIM_PIECE_BYTES);
	enum err err = blob_reader_read(w->r, w->txn, e, &raw);

	if (err == ERR_OK)
		err = blob_manifest_decode(buf_slice(&raw), out);
	buf_wipe(&raw);
	if (err == ERR_OK && (out->depth != depth || out->n == 0)) {
		blob_manifest_fini(out);
		return ERR_AUTH;
	}
	return err == ERR_OK || err == ERR_NOMEM || err == ERR_NOTFOUND ||
		       err == ERR_CORRUPT
		   ? err
		   : ERR_AUTH;
}

static enum err
walk_level(struct walk *w, const struct blob_manifest *m)
{
	uint64_t left = m->raw_len;
	uint32_t i;
	enum err err;

	for (i = 0; i < m->n; i++) {
		struct blob_manifest inner = { .raw_len = m->e[i].raw_len };

		if (m->depth == 0 && w->pieces++ == LIM_FILE_PIECES)
			return ERR_AUTH;
		err = w->fn(w->ctx, &m->e[i], m->depth);
		if (err == ERR_OK && m->depth > 0)
			err = inner_load(
			    w, &m->e[i], (uint8_t)(m->depth - 1), &inner);
		if (err == ERR_OK && inner.raw_len > left)
			err = ERR_AUTH;
		left -= err == ERR_OK ? inner.raw_len : 0;
		if (err == ERR_OK && m->depth > 0)
			err = walk_level(w, &inner);
		blob_manifest_fini(&inner);
		if (err != ERR_OK)
			return err;
	}
	return left == 0 ? ERR_OK : ERR_AUTH;
}

enum err
blob_reader_each(struct blob_reader *r, struct db_txn *txn,
    const struct blob_manifest *m, blob_entry_fn fn, void *ctx)
{
	struct walk w = { .r = r, .txn = txn, .fn = fn, .ctx = ctx };

	REQUIRE(m->depth <= LIM_MANIFEST_DEPTH);
	return walk_level(&w, m);
}

/* --- whole files --- */

struct joining {
	struct blob_reader *r;
	struct blob_entry e[BLOB_MANY]; /* wait to be read together */
	uint32_t n;
	uint64_t bytes;
	struct buf part;
	blob_part_fn fn;
	void *ctx;
};

/* What waits, in many-lane passes, and on to fn. */
static enum err
join_flush(struct joining *j)
{
	struct blob_want w[BLOB_MANY];
	uint32_t i, n = j->n;

	j->n = 0;
	j->bytes = 0;
	if (n == 0)
		return ERR_OK;
	buf_reset(&j->part);
	for (i = 0; i < n; i++)
		w[i] = (struct blob_want){ &j->e[i], &j->part, ERR_OK };
	/* Short transactions: none is held while fn works or waits. */
	blob_reader_many(j->r, w, n);
	for (i = 0; i < n; i++) {
		if (w[i].err != ERR_OK)
			return w[i].err;
	}
	return j->fn(j->ctx, buf_slice(&j->part));
}

static enum err
join_entry(void *ctx, const struct blob_entry *e, uint8_t depth)
{
	struct joining *j = ctx;
	enum err err = ERR_OK;

	if (depth > 0 || blob_entry_is_base(e))
		return ERR_OK;
	if (j->n == BLOB_MANY || j->bytes + e->raw_len > LIM_PIECE_BYTES)
		err = join_flush(j);
	j->e[j->n++] = *e;
	j->bytes += e->raw_len;
	return err;
}

enum err
blob_stream(
    struct store *s, const struct blob_manifest *m, blob_part_fn fn, void *ctx)
{
	struct joining j = { .r = blob_reader_new(s), .fn = fn, .ctx = ctx };
	enum err e;

	if (j.r == NULL)
		return ERR_NOMEM;
	j.part = BUF_MAX(LIM_PIECE_BYTES);
	e = blob_reader_each(j.r, NULL, m, join_entry, &j);
	if (e == ERR_OK)
		e = join_flush(&j);
	buf_wipe(&j.part);
	cry_wipe(j.e, sizeof(j.e));
	blob_reader_free(j.r);
	return e;
}

static enum err
join_part(void *ctx, struct slice part)
{
	struct buf *out = ctx;

	buf_put_slice(out, part);
	return buf_err(out);
}

enum err
blob_join(struct store *s, const struct blob_manifest *m, struct buf *out)
{
	size_t start = out->n;
	enum err e;

	if (m->raw_len > out->max - out->n)
		return ERR_LIMIT;
	e = blob_stream(s, m, join_part, out);
	if (e != ERR_OK)
		out->n = start;
	return e;
}
