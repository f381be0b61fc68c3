/* store/blob/store_rec.c: one record in a segment: a 64-byte header that
 * knows its own place, then the body.  docs/store-format.md has the layout.
 *
 * A record is believed only if magic, place, kind, length and CRC fit: a
 * misdirected or torn write is ERR_CORRUPT, never data. */
#include "store/blob/store_internal.h"

#define REC_CRC_AT 12u

void
store_loc_put(struct buf *b, const struct store_loc *l)
{
	buf_u32(b, l->seg);
	buf_u64(b, l->off);
	buf_u32(b, l->len);
}

struct store_loc
store_loc_read(struct rd *r)
{
	struct store_loc l;

	l.seg = rd_u32(r);
	l.off = rd_u64(r);
	l.len = rd_u32(r);
	return l;
}

uint32_t
store_rec_crc(const uint8_t *raw, struct slice body)
{
	uint32_t c = crc32c(0, slice_of(raw, REC_CRC_AT));

	c = crc32c(c,
	    slice_of(raw + REC_CRC_AT + 4, STORE_REC_HEADER - REC_CRC_AT - 4));
	return crc32c(c, body);
}

static void
header_put(
    struct buf *b, const struct rec_header *h, uint32_t seg, uint64_t off)
{
	buf_u32(b, STORE_REC_MAGIC);
	buf_u16(b, STORE_FORMAT);
	buf_u16(b, h->kind);
	buf_u32(b, h->len);
	buf_u32(b, h->crc);
	buf_put(b, h->id.b, sizeof(h->id.b));
	buf_u32(b, seg);
	buf_u32(b, (uint32_t)(off / STORE_ALIGN));
	buf_u64(b, h->commit);
}

enum err
store_rec_header_read(
    const uint8_t *raw, uint32_t seg, uint64_t off, struct rec_header *out)
{
	struct rd r = rd_init(slice_of(raw, STORE_REC_HEADER));
	uint32_t magic = rd_u32(&r);
	uint16_t version = rd_u16(&r);
	uint32_t in_seg, at;

	out->kind = rd_u16(&r);
	out->len = rd_u32(&r);
	out->crc = rd_u32(&r);
	rd_copy(&r, out->id.b, sizeof(out->id.b));
	in_seg = rd_u32(&r);
	at = rd_u32(&r);
	out->commit = rd_u64(&r);
	if (rd_end(&r) != ERR_OK || magic != STORE_REC_MAGIC ||
	    version != STORE_FORMAT || in_seg != seg ||
	    (uint64_t)at * STORE_ALIGN != off || out->len > STORE_BODY_MAX)
		return ERR_CORRUPT;
	return ERR_OK;
}

uint64_t
store_rec_bytes(uint32_t body_len)
{
	return store_round((uint64_t)STORE_REC_HEADER + body_len, STORE_ALIGN);
}

/* Live bytes of the open segment are kept in memory and written by each
 * commit; those of the others are changed in their rows. */
enum err
store_rec_dead(struct store_txn *t, const struct store_loc *l)
{
	struct seg_tail *tail = &t->s->tail;
	uint64_t n = store_rec_bytes(l->len);
	struct seg_row row;
	enum err e;

	if (l->seg == 0)
		return ERR_OK; /* a lost chunk: it died when it was */
	if (l->seg == tail->seg) {
		if (tail->live < n)
			return ERR_CORRUPT;
		tail->live -= n;
		if (tail->fd >= 0)
			return ERR_OK;
	}
	e = store_seg_row_get(t->db, l->seg, &row);
	if (e == ERR_OK && row.live < n)
		e = ERR_CORRUPT;
	if (e != ERR_OK)
		return e == ERR_NOTFOUND ? ERR_CORRUPT : e;
	row.live -= n;
	return store_seg_row_put(t->db, l->seg, &row);
}

static enum err
rec_append(struct store *s, const struct rec_header *h, struct slice body,
    size_t room, struct store_loc *out)
{
	struct seg_tail *t = &s->tail;
	size_t start = t->stage.n;
	uint64_t n = store_rec_bytes((uint32_t)body.n);
	uint32_t crc;
	size_t i;

	t->stage.max = STORE_STAGE_BYTES + STORE_BODY_MAX + 3 * STORE_BLOCK;
	header_put(&t->stage, h, t->seg, t->pos);
	buf_put_slice(&t->stage, body);
	buf_put_zero(&t->stage, (size_t)n - STORE_REC_HEADER - body.n);
	/* Room stays, so that ending a commit and padding it cannot fail. */
	if (buf_room(&t->stage, room) == NULL) {
		enum err e = buf_err(&t->stage);

		t->stage.n = start;
		t->stage.err = ERR_OK;
		return e;
	}
	crc = store_rec_crc(t->stage.p + start, body);
	for (i = 0; i < 4; i++)
		t->stage.p[start + REC_CRC_AT + i] = (uint8_t)(crc >> (8 * i));
	*out = (struct store_loc){ t->seg, t->pos, (uint32_t)body.n };
	t->recs++;
	t->sum = crc32c(t->sum, slice_of(t->stage.p + start + REC_CRC_AT, 4));
	t->pos += n;
	if (h->kind != REC_END) /* needed by nothing but a rebuild */
		t->live += n;
	s->batch_bytes += n;
	if (t->stage.n >= STORE_STAGE_BYTES)
		store_seg_stage_flush(s, false);
	return ERR_OK;
}

enum err
store_rec_put(struct store_txn *t, enum rec_kind kind, const struct cry_id *id,
    struct slice body, struct store_loc *out)
{
	struct store *s = t->s;
	struct rec_header h = { .kind = (uint16_t)kind,
		.len = (uint32_t)body.n,
		.id = *id,
		.commit = s->commit_no + 1 };
	enum err e = t->e;

	if (e != ERR_OK)
		return e;
	if (body.n > STORE_BODY_MAX)
		return ERR_LIMIT;
	e = store_seg_room(s, t->db, store_rec_bytes(h.len));
	if (e == ERR_OK)
		e = rec_append(s, &h, body, 2 * STORE_BLOCK, out);
	t->e = e;
	return e;
}

void
store_rec_end(struct store *s)
{
	struct seg_tail *t = &s->tail;
	struct rec_header h = { .kind = REC_END,
		.len = STORE_END_BODY,
		.commit = s->commit_no + 1 };
	struct store_loc loc;
	uint8_t body[STORE_END_BODY];
	enum err e;
	int i;

	if (t->recs == 0)
		return;
	for (i = 0; i < 4; i++) {
		body[i] = (uint8_t)(t->recs >> (8 * i));
		body[4 + i] = (uint8_t)(t->sum >> (8 * i));
	}
	e = rec_append(s, &h, slice_of(body, sizeof(body)), STORE_BLOCK, &loc);
	REQUIRE(e == ERR_OK); /* each record left room for this */
}

static enum err
rec_read(struct store *s, const struct store_loc *l, uint8_t *p,
    struct rec_header *h)
{
	enum err e = store_seg_read(
	    s, l->seg, l->off, p, (size_t)STORE_REC_HEADER + l->len);

	if (e == ERR_OK)
		e = store_rec_header_read(p, l->seg, l->off, h);
	if (e == ERR_OK &&
	    (h->len != l->len ||
		h->crc !=
		    store_rec_crc(p, slice_of(p + STORE_REC_HEADER, l->len))))
		e = ERR_CORRUPT;
	return e;
}

enum err
store_rec_load(struct store *s, const struct store_loc *l, struct rec_header *h,
    struct buf *body)
{
	size_t n = (size_t)STORE_REC_HEADER + l->len;
	bool direct = body->max - body->n >= n;
	uint8_t *p;
	enum err e;

	if (l->len > STORE_BODY_MAX || l->seg == 0 || l->off < STORE_BLOCK ||
	    l->off % STORE_ALIGN != 0)
		return ERR_CORRUPT;
	/* Header and body in one read; the header is then moved away: in the
	 * buffer itself where it may be so large. */
	if (body->max - body->n < l->len)
		return ERR_LIMIT;
	p = direct ? buf_room(body, n) : mem_new(n);
	if (p == NULL)
		return ERR_NOMEM;
	e = rec_read(s, l, p, h);
	if (e == ERR_OK && direct) {
		memmove(p, p + STORE_REC_HEADER, l->len);
		buf_grew(body, l->len);
	} else if (e == ERR_OK) {
		buf_put(body, p + STORE_REC_HEADER, l->len);
		e = buf_err(body);
	}
	if (!direct)
		mem_free(p);
	return e;
}

enum err
store_rec_get_id(struct store *s, const struct store_loc *l, enum rec_kind kind,
    struct cry_id *id, struct buf *body)
{
	struct rec_header h;
	size_t start = body->n;
	enum err e = store_rec_load(s, l, &h, body);

	if (e == ERR_OK && h.kind != (uint16_t)kind) {
		body->n = start;
		e = ERR_CORRUPT;
	}
	if (e == ERR_OK)
		*id = h.id;
	return e;
}

enum err
store_rec_get(struct store *s, const struct store_loc *l, enum rec_kind kind,
    struct buf *body)
{
	struct cry_id id;

	return store_rec_get_id(s, l, kind, &id, body);
}
