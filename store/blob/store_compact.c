/* store/blob/store_compact.c: segments that are under half live are emptied.
 *
 * Happy path: walk a sealed segment from where the last job stopped, read and
 * check the records that the index needs, give a job's worth of them to the
 * writer.  The job asks the index again, appends each record to the open end
 * of the log and changes its place, all in one transaction that also notes
 * how far the segment is done.  When all is done and the count of live bytes
 * has come down to zero as well, the segment is dead; its file goes once no
 * reader can have a place in it (store_seg_bury).
 * Failure modes: a crash leaves the old copy indexed or the new one, never
 * none.  A record that is damaged cannot be copied: the segment stays, and
 * verify reports it.  If walk and count disagree, the segment stays too. */
#include "store/base/clock.h"
#include "store/blob/gc_internal.h"

/* Finding a membership record's place walks their table: a few a job. */
#define MEMBER_COST 16u

struct moved {
	struct rec_header h;
	struct store_loc from;
	size_t body; /* offset in compact.bodies */
	bool live;   /* false: only to be counted as dead */
};

struct compact {
	struct gc *g;
	uint32_t seg;
	uint64_t used;
	uint64_t at;    /* the walk */
	uint64_t moved; /* what the last job noted */
	struct moved m[STORE_GC_JOB_RECORDS];
	uint32_t n;
	uint32_t weight; /* records, some counting more */
	struct buf bodies;
	bool dead; /* the last job declared the segment so */
	struct gc_cost cost;
	uint64_t copied;
};

/* --- does the index need it? --- */

static enum err
chunk_live(struct db_txn *t, const struct moved *m, bool *live)
{
	struct chunk_row row;
	uint64_t no;
	enum err e = blob_chunk_row(t, &m->h.id, &no, &row);

	*live = e == ERR_OK && row.loc.seg == m->from.seg &&
		row.loc.off == m->from.off;
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

static enum err
foreign_live(
    struct compact *c, struct db_txn *t, const struct moved *m, bool *live)
{
	const struct store_owners *o = c->g->s->owners;
	enum err e = ERR_UNSUPPORTED;

	if (o->rec_move != NULL)
		e = o->rec_move(
		    t, (enum rec_kind)m->h.kind, &m->h.id, &m->from, NULL);
	*live = e == ERR_OK;
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

static struct slice
body_of(const struct compact *c, const struct moved *m)
{
	return slice_of(c->bodies.p + m->body, m->h.len);
}

/* Rows are asked with their body, which has been read. */
static enum err
rec_live(struct compact *c, struct db_txn *t, const struct moved *m, bool *live)
{
	switch ((enum rec_kind)m->h.kind) {
	case REC_CHUNK: return chunk_live(t, m, live);
	case REC_ROW:
		return store_row_rec_live(
		    c->g->s, t, body_of(c, m), &m->from, live);
	case REC_OP:
	case REC_HEAD:
	case REC_MEMBER: return foreign_live(c, t, m, live);
	case REC_END: break; /* a mark; nothing needs it */
	}
	*live = false;
	return ERR_OK;
}

static enum err
rec_live_now(struct compact *c, const struct moved *m, bool *live)
{
	struct db_txn *t;
	enum err e = store_read(c->g->s, &t);

	if (e != ERR_OK)
		return e;
	e = rec_live(c, t, m, live);
	db_abort(t);
	return e;
}

/* --- the walk --- */

/* Chunks and rows are counted as dead when they die.  Deletions, ops, heads
 * and membership records count as live wherever they are, so one that is not
 * needed has to be counted as dead when it is left behind. */
static bool
counts_on(const struct compact *c, const struct moved *m)
{
	if (m->h.kind == REC_ROW)
		return m->h.len > 0 && body_of(c, m).p[0] == 2;
	return m->h.kind == REC_OP || m->h.kind == REC_HEAD ||
	       m->h.kind == REC_MEMBER;
}

static enum err
record_take(struct compact *c, struct moved *m)
{
	struct rec_header h;
	bool row = m->h.kind == REC_ROW;
	enum err e = ERR_OK;

	m->body = c->bodies.n;
	if (row)
		e = store_rec_load(c->g->s, &m->from, &h, &c->bodies);
	if (e == ERR_OK)
		e = rec_live_now(c, m, &m->live);
	if (e == ERR_OK && m->live && !row)
		e = store_rec_load(c->g->s, &m->from, &h, &c->bodies);
	if (e != ERR_OK || (!m->live && !counts_on(c, m))) {
		c->bodies.n = m->body;
		return e;
	}
	c->m[c->n++] = *m;
	c->weight += m->h.kind == REC_MEMBER ? MEMBER_COST : 1;
	return ERR_OK;
}

static enum err
walk_step(struct compact *c)
{
	uint8_t raw[STORE_REC_HEADER];
	struct moved m = { .from = { c->seg, c->at, 0 } };
	enum err e = store_seg_read(c->g->s, c->seg, c->at, raw, sizeof(raw));

	if (e != ERR_OK)
		return e;
	if (store_all_zero(
		raw, sizeof(raw))) { /* the rest of a commit's block */
		c->at = store_round(c->at + 1, STORE_BLOCK);
		return ERR_OK;
	}
	e = store_rec_header_read(raw, c->seg, c->at, &m.h);
	if (e == ERR_OK && m.h.len > c->used - c->at - STORE_REC_HEADER)
		e = ERR_CORRUPT;
	if (e != ERR_OK)
		return e;
	m.from.len = m.h.len;
	e = record_take(c, &m);
	if (e == ERR_OK)
		c->at += store_rec_bytes(m.h.len);
	return e;
}

/* A job's worth, or up to the end of the segment. */
static enum err
walk_fill(struct compact *c)
{
	enum err e = ERR_OK;

	c->n = c->weight = 0;
	buf_reset(&c->bodies);
	while (e == ERR_OK && c->at < c->used &&
	       c->used - c->at >= STORE_REC_HEADER &&
	       c->weight < STORE_GC_JOB_RECORDS &&
	       c->bodies.n < STORE_GC_JOB_BYTES) {
		if (c->g->o->stop != NULL && c->g->o->stop(c->g->o->ctx))
			e = ERR_CANCELLED;
		else
			e = walk_step(c);
	}
	return e;
}

/* --- the job --- */

static enum err
place_change(struct store_txn *t, const struct compact *c,
    const struct moved *m, const struct store_loc *to)
{
	const struct store_owners *o = t->s->owners;
	struct chunk_row row;
	uint64_t no;
	enum err e;

	if (m->h.kind == REC_ROW)
		return store_row_rec_move(t, body_of(c, m), to);
	if (m->h.kind != REC_CHUNK)
		return o->rec_move(
		    t->db, (enum rec_kind)m->h.kind, &m->h.id, &m->from, to);
	e = blob_chunk_row(t->db, &m->h.id, &no, &row);
	row.loc = *to;
	return e == ERR_OK ? blob_chunk_row_put(t->db, no, &row) : e;
}

static enum err
record_copy(struct store_txn *t, struct compact *c, const struct moved *m)
{
	struct store_loc to;
	bool live;
	enum err e = rec_live(c, t->db, m, &live);

	if (e == ERR_OK && live && !m->live && m->h.kind != REC_ROW)
		e = ERR_CORRUPT; /* none comes back to life */
	if (e != ERR_OK)
		return e;
	if (live) {
		e = store_rec_put(
		    t, (enum rec_kind)m->h.kind, &m->h.id, body_of(c, m), &to);
		if (e == ERR_OK)
			e = place_change(t, c, m, &to);
		c->copied += store_rec_bytes(m->h.len);
	} else if (!counts_on(c, m)) {
		return ERR_OK; /* died since the walk, and was counted */
	}
	return e == ERR_OK ? store_rec_dead(t, &m->from) : e;
}

/* How far it is done; dead, if that is all and nothing is live there. */
static enum err
progress_note(struct store_txn *t, struct compact *c)
{
	struct seg_row row;
	enum err e = store_seg_row_get(t->db, c->seg, &row);

	if (e != ERR_OK)
		return e;
	if (row.state != SEG_SEALED || row.moved != c->moved)
		return ERR_CORRUPT; /* one pass at a time */
	row.moved = c->at;
	c->dead = c->used - c->at < STORE_REC_HEADER || c->at >= c->used;
	c->dead = c->dead && row.live == 0;
	if (c->dead)
		row.state = SEG_DEAD;
	return store_seg_row_put(t->db, c->seg, &row);
}

static enum err
compact_job(struct store_txn *t, void *ctx)
{
	struct compact *c = ctx;
	uint64_t t0 = clock_mono_us();
	uint32_t i;
	enum err e = ERR_OK;

	c->copied = 0;
	for (i = 0; i < c->n && e == ERR_OK; i++)
		e = record_copy(t, c, &c->m[i]);
	if (e == ERR_OK)
		e = progress_note(t, c);
	c->cost.us = clock_mono_us() - t0;
	return e;
}

static enum err
compact_segment(struct gc *g, struct compact *c, const struct seg_row *row)
{
	enum err e = ERR_OK;

	c->g = g;
	c->used = row->used;
	c->moved = row->moved;
	c->at = row->moved != 0 ? row->moved : STORE_BLOCK;
	c->dead = false;
	do {
		e = walk_fill(c);
		if (e != ERR_OK)
			break;
		c->cost =
		    (struct gc_cost){ .bytes = c->bodies.n, .records = c->n };
		e = gc_job(g, compact_job, c, &c->cost);
		if (e != ERR_OK)
			break;
		c->moved = c->at;
		g->rep->copied_bytes += c->copied;
	} while (c->at < c->used && c->used - c->at >= STORE_REC_HEADER);
	if (e == ERR_CORRUPT || e == ERR_AUTH || (e == ERR_OK && !c->dead)) {
		g->rep->damaged++; /* verify says what; go on with others */
		e = ERR_OK;
	}
	return e;
}

/* --- which segments --- */

static bool
worth_it(const struct seg_row *row)
{
	return row->state == SEG_SEALED && row->used > STORE_BLOCK &&
	       (row->moved != 0 || row->live < (row->used - STORE_BLOCK) / 2);
}

/* The next after *seg, up to the last there was when the pass began: what is
 * copied forward is not looked at again. */
static enum err
segment_next(struct gc *g, uint32_t *seg, struct seg_row *row)
{
	struct db_txn *t;
	enum err e = store_read(g->s, &t);

	if (e != ERR_OK)
		return e;
	do {
		e = store_seg_row_from(t, *seg + 1, seg, row);
	} while (e == ERR_OK && !worth_it(row));
	db_abort(t);
	return e;
}

static enum err
segment_last(struct gc *g, uint32_t *last)
{
	struct seg_row row;
	struct db_txn *t;
	enum err e = store_read(g->s, &t);

	if (e != ERR_OK)
		return e;
	*last = 0;
	do {
		e = store_seg_row_from(t, *last + 1, last, &row);
	} while (e == ERR_OK);
	db_abort(t);
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

enum err
gc_compact(struct gc *g)
{
	struct compact *c = mem_new(sizeof(*c));
	struct seg_row row;
	uint32_t seg = 0, last = 0;
	enum err e = c == NULL ? ERR_NOMEM : segment_last(g, &last);

	if (e != ERR_OK)
		goto out;
	c->bodies = BUF_MAX(STORE_GC_JOB_BYTES + STORE_BODY_MAX);
	while ((e = segment_next(g, &seg, &row)) == ERR_OK && seg <= last) {
		if (g->o->dry_run) {
			g->rep->segments++;
			g->rep->freed_bytes += row.used;
			g->rep->copied_bytes += row.live;
			continue;
		}
		c->seg = seg;
		e = compact_segment(g, c, &row);
		if (e != ERR_OK)
			break;
	}
	if (e == ERR_NOTFOUND)
		e = ERR_OK;
	buf_fini(&c->bodies);
out:
	mem_free(c);
	return e;
}
