/* store/blob/store_rebuild_take.c: records of the log into the new index.
 *
 * Happy path: a chunk gets its place, a row is replayed, ops, heads and
 * membership records are noted for the rooms above; each makes the record
 * before it dead space.
 * Failure modes: a row that does not open, and a kind that nobody knows, are
 * told and left out. */
#include "store/blob/blob_internal.h"
#include "store/blob/store_rebuild_internal.h"

#define TAKE_RECORDS 20000u /* in one transaction */

/* --- telling --- */

void
rebuild_bad(
    struct rebuild *r, const char *what, bool repairable, const char *where)
{
	struct store_bad bad = { .repairable = repairable };

	snprintf(bad.what, sizeof(bad.what), "%s", what);
	snprintf(bad.where, sizeof(bad.where), "%s", where);
	rebuild_bads_add(&r->bads, &bad, r->begin_seg != 0);
}

void
rebuild_bad_at(struct rebuild *r, uint32_t seg, uint64_t off, const char *why)
{
	char where[96];

	snprintf(where, sizeof(where), "%08x.seg offset %llu: %s",
	    (unsigned)seg, (unsigned long long)off, why);
	rebuild_bad(r, "segment", false, where);
}

void
store_rebuild_bad(struct store *s, const struct store_bad *bad)
{
	if (s->rebuild != NULL)
		rebuild_bads_add(&s->rebuild->bads, bad, false);
}

/* --- taking records into the index --- */

enum err
rebuild_txn_begin(struct store *s)
{
	struct rebuild *r = s->rebuild;

	if (r->txn != NULL)
		return ERR_OK;
	r->taken = 0;
	return db_write(s->db, &r->txn);
}

enum err
rebuild_txn_end(struct store *s)
{
	struct rebuild *r = s->rebuild;
	struct db_txn *t = r->txn;

	r->txn = NULL;
	return t == NULL ? ERR_OK : db_commit(t);
}

static enum err
note_add(struct rebuild *r, const struct found *f)
{
	struct noted *v;

	if (r->n_note == r->cap_note) {
		size_t cap = r->cap_note == 0 ? 1024 : r->cap_note * 2;

		v = mem_grow(r->note, cap, sizeof(*v));
		if (v == NULL)
			return ERR_NOMEM;
		r->note = v;
		r->cap_note = cap;
	}
	r->note[r->n_note++] = (struct noted){ f->loc.seg,
		(uint32_t)(f->loc.off / STORE_ALIGN), f->loc.len, f->kind };
	return ERR_OK;
}

static struct seg_live *
live_of(struct rebuild *r, uint32_t seg)
{
	uint32_t lo = 0, hi = r->n_segs;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (r->segs[mid].seg < seg)
			lo = mid + 1;
		else
			hi = mid;
	}
	REQUIRE(lo < r->n_segs && r->segs[lo].seg == seg);
	return &r->segs[lo];
}

/* The record at l is needed, the one at was (seg 0: none) no more. */
static void
live_move(
    struct rebuild *r, const struct store_loc *l, const struct store_loc *was)
{
	live_of(r, l->seg)->row.live += store_rec_bytes(l->len);
	if (was->seg != 0)
		live_of(r, was->seg)->row.live -= store_rec_bytes(was->len);
}

static enum err
row_take(struct store *s, const struct found *f)
{
	struct rebuild *r = s->rebuild;
	struct store_txn t = { .s = s, .db = r->txn };
	struct buf body = BUF_MAX(STORE_BODY_MAX);
	char hex[ENC_HEX_LEN(32) + 1];
	struct store_loc was;
	enum err e = store_rec_get(s, &f->loc, REC_ROW, &body);

	if (e == ERR_OK)
		e = store_row_replay(&t, buf_slice(&body), &f->loc, &was);
	buf_fini(&body);
	if (e == ERR_OK) {
		live_move(r, &f->loc, &was);
		r->rows_good++;
	}
	if (e != ERR_AUTH && e != ERR_CORRUPT)
		return e;
	r->rows_alien += e == ERR_AUTH;
	enc_hex(slice_of(f->id.b, sizeof(f->id.b)), hex);
	rebuild_bad(r, "row", false, hex);
	return ERR_OK;
}

static enum err
chunk_take(struct store *s, const struct found *f)
{
	struct store_txn t = { .s = s, .db = s->rebuild->txn };
	struct store_loc was;
	enum err e = blob_chunk_place(&t, &f->id, &f->loc, &was);

	if (e == ERR_OK)
		live_move(s->rebuild, &f->loc, &was);
	return e;
}

enum err
rebuild_take(struct store *s, const struct found *f)
{
	static const struct store_loc none;
	struct rebuild *r = s->rebuild;
	enum err e = ERR_OK;

	if (r->txn == NULL || r->taken >= TAKE_RECORDS) {
		if ((e = rebuild_txn_end(s)) != ERR_OK ||
		    (e = rebuild_txn_begin(s)) != ERR_OK)
			return e;
	}
	r->taken++;
	switch (f->kind) {
	case REC_CHUNK: return chunk_take(s, f);
	case REC_ROW: return row_take(s, f);
	case REC_OP:
	case REC_HEAD:
	case REC_MEMBER: live_move(r, &f->loc, &none); return note_add(r, f);
	case REC_END: return ERR_OK;
	default:
		rebuild_bad_at(
		    r, f->loc.seg, f->loc.off, "of a kind not known");
		return ERR_OK;
	}
}
