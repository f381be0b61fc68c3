/* store/blob/store_rebuild_log.c: which records of the log are believed.
 *
 * Happy path: walk the segments in order; records wait until their commit
 * ends, then they are taken together.
 * Failure modes: damage is told and skipped; a record of a commit that is
 * closed already, or whose commit does not end, was never acknowledged and is
 * left out.  A commit that lost records to damage counts as whole if a later
 * one follows it, or if what is damaged holds no sector of zeros: the log is
 * zero ahead of its end, so a write that was torn leaves such sectors, under a
 * header too, and bits that rot do not. */
#include "store/blob/blob_internal.h"
#include "store/blob/store_rebuild_internal.h"

#define SECTOR ((uint64_t)512)

/* --- commits --- */

static enum err
pend_take(struct store *s)
{
	struct rebuild *r = s->rebuild;
	uint32_t i;
	enum err e = ERR_OK;

	rebuild_bads_flush(&r->bads);
	r->begin_seg = 0;
	for (i = 0; i < r->n_pend && e == ERR_OK; i++)
		e = rebuild_take(s, &r->pend[i]);
	r->n_pend = 0;
	r->hurt = r->gap = r->torn = false;
	r->closed = r->commit;
	return e;
}

/* Does this end record tell of exactly the records that wait? */
static bool
pend_ends(struct rebuild *r, struct slice body)
{
	struct rd rd = rd_init(body);
	uint32_t n = rd_u32(&rd), want = rd_u32(&rd), sum = 0, i;

	for (i = 0; i < r->n_pend; i++) {
		uint32_t crc = r->pend[i].crc;
		uint8_t raw[4] = { (uint8_t)crc, (uint8_t)(crc >> 8),
			(uint8_t)(crc >> 16), (uint8_t)(crc >> 24) };

		sum = crc32c(sum, slice_of(raw, sizeof(raw)));
	}
	return rd_end(&rd) == ERR_OK && n == r->n_pend && want == sum;
}

static void
commit_begins(struct rebuild *r, uint32_t seg, uint64_t off)
{
	if (r->begin_seg != 0)
		return;
	r->begin_seg = seg;
	r->begin_off = off;
}

static enum err
pend_add(struct rebuild *r, const struct found *f)
{
	struct found *v;

	commit_begins(r, f->loc.seg, f->loc.off);
	if (r->n_pend == r->cap_pend) {
		uint32_t cap = r->cap_pend == 0 ? 256 : r->cap_pend * 2;

		v = mem_grow(r->pend, cap, sizeof(*v));
		if (v == NULL)
			return ERR_NOMEM;
		r->pend = v;
		r->cap_pend = cap;
	}
	r->pend[r->n_pend++] = *f;
	return ERR_OK;
}

/* A believed record of the log; its body is in r->body. */
static enum err
commit_feed(struct store *s, const struct found *f, uint64_t commit)
{
	struct rebuild *r = s->rebuild;
	enum err e;

	if (commit <= r->closed) {
		rebuild_bad_at(r, f->loc.seg, f->loc.off,
		    "left over from a commit that never was");
		return ERR_OK;
	}
	if (commit != r->commit && r->n_pend > 0) {
		if (commit < r->commit) {
			rebuild_bad_at(r, f->loc.seg, f->loc.off,
			    "left over from a commit that never was");
			return ERR_OK;
		}
		if ((e = pend_take(s)) != ERR_OK)
			return e;
	}
	r->commit = commit;
	if (f->kind != REC_END)
		return pend_add(r, f);
	if (pend_ends(r, buf_slice(&r->body)))
		return pend_take(s);
	return ERR_OK; /* torn, or damaged: what follows decides */
}

/* --- one segment --- */

struct walk {
	uint32_t seg;
	uint64_t at;
	uint64_t end;  /* of the file */
	uint64_t used; /* end of the last believed record */
	bool lost;
	bool met; /* something that is not zero */
};

static void
walk_lose(struct rebuild *r, struct walk *w, const char *why)
{
	commit_begins(r, w->seg, w->at);
	if (!w->lost)
		rebuild_bad_at(r, w->seg, w->at, why);
	w->lost = r->hurt = true;
	w->at = store_round(w->at + 1, STORE_BLOCK);
}

/* Is all that a sector holds of it zero?  No ciphertext is. */
static bool
is_torn(uint64_t off, struct slice body)
{
	uint64_t at = off, next, end = off + body.n;

	for (; at < end; at = next) {
		next = store_round(at + 1, SECTOR);
		if (next > end)
			next = end;
		if (store_all_zero(body.p + (at - off), (size_t)(next - at)))
			return true;
	}
	return false;
}

static void
walk_damaged(struct rebuild *r, const struct rec_header *h)
{
	char hex[ENC_HEX_LEN(32) + 1];
	const char *what = "segment";

	if (h->kind == REC_CHUNK)
		what = "chunk";
	else if (h->kind == REC_OP || h->kind == REC_HEAD ||
		 h->kind == REC_MEMBER)
		what = "op";
	else if (h->kind == REC_ROW)
		what = "row";
	enc_hex(slice_of(h->id.b, sizeof(h->id.b)), hex);
	rebuild_bad(r, what, h->kind == REC_CHUNK || h->kind == REC_OP, hex);
}

static enum err
walk_record(struct store *s, struct walk *w, const uint8_t *raw,
    const struct rec_header *h)
{
	struct rebuild *r = s->rebuild;
	struct found f = { .loc = { w->seg, w->at, h->len },
		.crc = h->crc,
		.kind = h->kind,
		.id = h->id };
	uint64_t body = w->at + STORE_REC_HEADER;
	uint8_t *p;
	enum err e;

	buf_reset(&r->body);
	if ((p = buf_room(&r->body, h->len)) == NULL)
		return buf_err(&r->body);
	e = store_seg_read(s, w->seg, body, p, h->len);
	if (e != ERR_OK)
		return e;
	buf_grew(&r->body, h->len);
	w->at = store_round(body + h->len, STORE_ALIGN);
	w->lost = false;
	if (h->crc != store_rec_crc(raw, buf_slice(&r->body))) {
		commit_begins(r, f.loc.seg, f.loc.off);
		r->hurt = true;
		r->torn |= is_torn(body, buf_slice(&r->body));
		walk_damaged(r, h);
		return ERR_OK;
	}
	w->used = w->at;
	return commit_feed(s, &f, h->commit);
}

static enum err
walk_step(struct store *s, struct walk *w)
{
	struct rebuild *r = s->rebuild;
	uint8_t raw[STORE_REC_HEADER];
	struct rec_header h;
	enum err e = store_seg_read(s, w->seg, w->at, raw, sizeof(raw));

	if (e != ERR_OK)
		return e;
	if (store_all_zero(
		raw, sizeof(raw))) { /* the end of a commit, or unused */
		r->gap |= r->begin_seg != 0;
		w->at = store_round(w->at + 1, STORE_BLOCK);
		return ERR_OK;
	}
	w->met = true;
	r->torn |= r->gap;
	if (store_rec_header_read(raw, w->seg, w->at, &h) != ERR_OK)
		walk_lose(r, w, "no record where one should start");
	else if (h.len > w->end - w->at - STORE_REC_HEADER)
		walk_lose(r, w, "record runs past the end");
	else
		return walk_record(s, w, raw, &h);
	return ERR_OK;
}

/* row->cap 0: a file without header and without a record. */
static enum err
segment_walk(struct store *s, uint32_t seg, struct seg_row *row)
{
	struct rebuild *r = s->rebuild;
	struct walk w = { .seg = seg,
		.at = STORE_BLOCK,
		.end = store_seg_file_bytes(s, seg),
		.used = STORE_BLOCK };
	enum err e = ERR_OK;
	bool born = store_seg_header_check(s, seg) == ERR_OK;

	r->gap = false;
	if (!born)
		row->state = SEG_SEALED; /* nothing more is written there */
	while (
	    e == ERR_OK && w.at < w.end && w.end - w.at >= STORE_REC_HEADER) {
		uint64_t from = w.at;

		e = walk_step(s, &w);
		r->done += w.at - from;
		if (r->o.progress != NULL &&
		    r->done / MIB != (r->done - (w.at - from)) / MIB)
			r->o.progress(r->o.ctx, r->done, r->bytes);
	}
	if (e == ERR_CORRUPT) { /* shorter than when it was measured */
		rebuild_bad_at(r, seg, w.at, "cannot be read to its end");
		e = ERR_OK;
	}
	if (!born && w.met)
		rebuild_bad_at(r, seg, 0, "header damaged");
	row->cap = born || w.met ? w.end : 0;
	row->used = w.used;
	return e;
}

/* What waits now belongs to a commit that never ended, as after a crash: that
 * is no damage.  The log is cut where it began.  Its number is given again, so
 * what lies in segments that are full goes too (cuts_make), as opening cuts the
 * open one. */
static enum err
pend_drop(struct store *s)
{
	struct rebuild *r = s->rebuild;
	uint32_t i;

	if (r->begin_seg == 0)
		return ERR_OK;
	if (r->hurt && !r->torn)
		return pend_take(s);
	rebuild_bads_drop(&r->bads);
	if (r->o.cut != NULL)
		r->o.cut(r->o.ctx, r->begin_seg, r->begin_off);
	for (i = 0; i < r->n_segs; i++) {
		struct seg_live *g = &r->segs[i];
		uint64_t end = g->seg > r->begin_seg    ? STORE_BLOCK
			       : g->seg == r->begin_seg ? r->begin_off
							: UINT64_MAX;

		if (g->row.used <= end)
			continue;
		g->row.used = end;
		if (g->row.state == SEG_SEALED) {
			g->row.cap = end;
			g->cut = true;
		}
	}
	r->n_pend = 0;
	r->begin_seg = 0;
	return ERR_OK;
}

static enum err
segments_walk(struct store *s)
{
	struct rebuild *r = s->rebuild;
	uint32_t i;
	enum err e = ERR_OK;

	for (i = 0; i < r->n_segs && e == ERR_OK; i++) {
		struct seg_live *g = &r->segs[i];
		bool last = i + 1 == r->n_segs;

		g->row.state = last ? SEG_OPEN : SEG_SEALED;
		e = segment_walk(s, g->seg, &g->row);
		if (g->row.cap == 0 && last)
			r->n_segs--; /* the power went while it was made */
	}
	if (e == ERR_OK)
		e = pend_drop(s);
	for (i = 0; i < r->n_segs && e == ERR_OK; i++) {
		e = rebuild_txn_begin(s);
		if (e == ERR_OK)
			e = store_seg_row_put(
			    r->txn, r->segs[i].seg, &r->segs[i].row);
	}
	return e;
}

static enum err
segments_find(struct store *s)
{
	struct rebuild *r = s->rebuild;
	uint32_t *list = NULL, i;
	enum err e = store_seg_list(s, &list, &r->n_segs);

	if (e != ERR_OK)
		return e;
	r->segs = mem_array((size_t)r->n_segs + 1, sizeof(*r->segs));
	for (i = 0; i < r->n_segs && r->segs != NULL; i++) {
		r->segs[i].seg = list[i];
		r->bytes += store_seg_file_bytes(s, list[i]);
	}
	mem_free(list);
	return r->segs != NULL ? ERR_OK : ERR_NOMEM;
}

static enum err
commit_keep(struct store *s)
{
	struct rebuild *r = s->rebuild;
	struct buf b = BUF_MAX(8);
	enum err e;

	s->commit_no = r->closed;
	buf_u64(&b, r->closed);
	e = buf_err(&b);
	if (e == ERR_OK)
		e = rebuild_txn_begin(s);
	if (e == ERR_OK)
		e = db_put(r->txn, DB_META, SLICE_LIT("commit"), buf_slice(&b));
	buf_fini(&b);
	atomic_store(&s->commits, s->commit_no);
	return e == ERR_OK ? rebuild_txn_end(s) : e;
}

static enum err
cuts_make(struct store *s)
{
	const struct rebuild *r = s->rebuild;
	uint32_t i;
	enum err e = ERR_OK;

	for (i = 0; i < r->n_segs && e == ERR_OK; i++) {
		const struct seg_live *g = &r->segs[i];

		if (g->cut)
			e = store_seg_cut(s, g->seg, g->row.used);
	}
	return e;
}

enum err
rebuild_log_walk(struct store *s, struct errmsg *em)
{
	struct rebuild *r = s->rebuild;
	enum err e = segments_find(s);

	if (e == ERR_OK)
		e = segments_walk(s);
	if (e == ERR_OK && r->rows_good == 0 && r->rows_alien > 0)
		return errmsg_set(em, ERR_AUTH, "use the store's own keystore",
		    "the keystore does not fit this store");
	if (e == ERR_OK)
		e = cuts_make(s);
	if (e == ERR_OK)
		e = commit_keep(s);
	return e == ERR_OK ? rebuild_bads_rows(s, &r->bads) : e;
}
