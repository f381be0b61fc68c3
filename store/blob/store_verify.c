/* store/blob/store_verify.c: is what is on disk what was written?
 *
 * Both begin with the pages of the index (db_check), quick with the inner ones;
 * while they are damaged nothing else is looked at.
 * Quick: every segment's header and length, the place and record header of
 * every chunk, row, op and membership record.  Deep: besides, every byte up to
 * the last indexed record (CRC, cid, zero padding), every value of the index
 * (its checksum), every row opened, and every op, head and membership record of
 * the log looked up in the index by who owns it (store_owners).  Damage is
 * reported and the walk goes on: after a header that cannot be believed, at the
 * next block where a record starts. No read transaction lives longer than one
 * slice of keys. */
#include "store/blob/blob_internal.h"
#include "store/blob/store_internal.h"

#define SLICE_KEYS 128u
#define PAGES_TRIES 20u /* commits that may come between */

struct verify {
	struct store *s;
	bool deep;
	store_bad_fn fn;
	void *ctx;
	uint64_t checked;
	struct buf body;
};

static void
bad_report(
    struct verify *v, const char *what, bool repairable, const char *where)
{
	struct store_bad bad = { .repairable = repairable };

	snprintf(bad.what, sizeof(bad.what), "%s", what);
	snprintf(bad.where, sizeof(bad.where), "%s", where);
	if (v->fn != NULL)
		v->fn(v->ctx, &bad);
}

static void
bad_segment(struct verify *v, uint32_t seg, uint64_t off, const char *why)
{
	char where[96];

	snprintf(where, sizeof(where), "%08x.seg offset %llu: %s",
	    (unsigned)seg, (unsigned long long)off, why);
	bad_report(v, "segment", false, where);
}

static void
bad_id(struct verify *v, uint16_t kind, const struct cry_id *id)
{
	char hex[ENC_HEX_LEN(32) + 1];
	const char *what = "segment";

	enc_hex(slice_of(id->b, sizeof(id->b)), hex);
	if (kind == REC_CHUNK) {
		what = "chunk";
		blob_suspect_note(v->s, id);
	} else if (kind == REC_OP || kind == REC_HEAD || kind == REC_MEMBER) {
		what = "op";
	} else if (kind == REC_ROW) {
		what = "row";
	}
	bad_report(v, what, kind == REC_CHUNK || kind == REC_OP, hex);
}

/* --- deep: the bytes of one segment --- */

struct scan {
	uint32_t seg;
	uint64_t at;
	uint64_t used;
	bool lost; /* looking for the next believable record */
};

/* [from, to) must be padding; at most one block. */
static enum err
padding_check(struct verify *v, struct scan *c, uint64_t from, uint64_t to)
{
	uint8_t raw[STORE_BLOCK];
	enum err e;

	if (from == to)
		return ERR_OK;
	e = store_seg_read(v->s, c->seg, from, raw, (size_t)(to - from));
	if (e != ERR_OK)
		return e;
	if (!store_all_zero(raw, (size_t)(to - from)))
		bad_segment(v, c->seg, from, "padding is not zero");
	return ERR_OK;
}

static void
scan_lose(struct verify *v, struct scan *c, const char *why)
{
	if (!c->lost)
		bad_segment(v, c->seg, c->at, why);
	c->lost = true;
	c->at = store_round(c->at + 1, STORE_BLOCK);
}

/* A chunk that was stored again elsewhere has left its damaged record
 * behind; nothing reads it any more.  One that no row tells of is told here. */
static bool
still_needed(struct verify *v, const struct scan *c, const struct rec_header *h)
{
	struct chunk_row row;
	struct db_txn *t;
	uint64_t no;
	enum err e;

	if (h->kind != REC_CHUNK || store_read(v->s, &t) != ERR_OK)
		return true;
	e = blob_chunk_row(t, &h->id, &no, &row);
	db_abort(t);
	return e != ERR_OK || (row.loc.seg == c->seg && row.loc.off == c->at);
}

/* An op, head or membership record that is sound: does the index know it? */
static enum err
known_check(struct verify *v, const struct scan *c, const struct rec_header *h)
{
	const struct store_owners *o = v->s->owners;
	const struct store_loc at = { c->seg, c->at, h->len };
	char hex[ENC_HEX_LEN(32) + 1], where[96];
	struct db_txn *t;
	enum err e;

	if (o == NULL || o->rec_known == NULL)
		return ERR_OK;
	if ((e = store_read(v->s, &t)) != ERR_OK)
		return e;
	e = o->rec_known(
	    v->s, t, (enum rec_kind)h->kind, &h->id, buf_slice(&v->body), &at);
	db_abort(t);
	if (e == ERR_OK || e == ERR_NOMEM || e == ERR_IO)
		return e;
	enc_hex(slice_of(h->id.b, sizeof(h->id.b)), hex);
	(void)snprintf(where, sizeof(where), "%s: not in the index", hex);
	bad_report(v, "op", false, where);
	return ERR_OK;
}

static enum err
scan_body(struct verify *v, struct scan *c, const uint8_t *raw,
    const struct rec_header *h)
{
	uint64_t body = c->at + STORE_REC_HEADER;
	uint64_t end = body + h->len;
	struct cry_id is;
	uint8_t *p;
	enum err e;

	buf_reset(&v->body);
	if ((p = buf_room(&v->body, h->len)) == NULL)
		return buf_err(&v->body);
	e = store_seg_read(v->s, c->seg, body, p, h->len);
	if (e != ERR_OK)
		return e;
	buf_grew(&v->body, h->len);
	v->checked += h->kind != REC_END;
	if (h->kind == REC_CHUNK)
		cry_hash(slice_of(p, h->len), &is);
	else
		is = h->id;
	if ((h->crc != store_rec_crc(raw, slice_of(p, h->len)) ||
		memcmp(is.b, h->id.b, sizeof(is.b)) != 0) &&
	    still_needed(v, c, h))
		bad_id(v, h->kind, &h->id);
	else if (h->kind == REC_OP || h->kind == REC_HEAD ||
		 h->kind == REC_MEMBER)
		e = known_check(v, c, h);
	if (e != ERR_OK)
		return e;
	c->at = store_round(end, STORE_ALIGN);
	c->lost = false;
	return padding_check(v, c, end, c->at);
}

static enum err
scan_step(struct verify *v, struct scan *c)
{
	uint8_t raw[STORE_REC_HEADER];
	uint64_t next = store_round(c->at + 1, STORE_BLOCK);
	struct rec_header h;
	enum err e = store_seg_read(v->s, c->seg, c->at, raw, sizeof(raw));

	if (e != ERR_OK)
		return e;
	if (store_all_zero(raw, sizeof(raw)) && c->at % STORE_BLOCK != 0) {
		/* The end of a commit. */
		e = padding_check(v, c, c->at, next);
		c->at = next;
		return e;
	}
	if (store_rec_header_read(raw, c->seg, c->at, &h) != ERR_OK) {
		scan_lose(v, c, "no record where one should start");
		return ERR_OK;
	}
	if (h.len > c->used - c->at - STORE_REC_HEADER) {
		scan_lose(v, c, "record runs past the end");
		return ERR_OK;
	}
	return scan_body(v, c, raw, &h);
}

static enum err
segment_scan(struct verify *v, uint32_t seg, const struct seg_row *row)
{
	struct scan c = { .seg = seg, .at = STORE_BLOCK, .used = row->used };
	uint64_t end = store_round(row->used, STORE_BLOCK);
	enum err e = ERR_OK;

	while (
	    c.at < c.used && c.used - c.at >= STORE_REC_HEADER && e == ERR_OK)
		e = scan_step(v, &c);
	if (e == ERR_OK && c.at < end && c.at >= row->used)
		e = padding_check(v, &c, c.at, end);
	if (e == ERR_CORRUPT) {
		bad_segment(v, seg, c.at, "shorter than the index says");
		e = ERR_OK;
	}
	return e;
}

/* --- segments --- */

static enum err
segment_check(struct verify *v, uint32_t seg, const struct seg_row *row)
{
	uint8_t last;
	enum err e = store_seg_header_check(v->s, seg);

	if (e == ERR_CORRUPT)
		bad_segment(v, seg, 0, "header damaged or file missing");
	else if (e != ERR_OK)
		return e;
	if (row->used > STORE_BLOCK) {
		e = store_seg_read(v->s, seg, row->used - 1, &last, 1);
		if (e == ERR_CORRUPT) {
			bad_segment(
			    v, seg, row->used, "shorter than the index says");
			return ERR_OK; /* its records are reported one by one */
		}
		if (e != ERR_OK)
			return e;
	}
	return v->deep ? segment_scan(v, seg, row) : ERR_OK;
}

/* The rows are few: one transaction each. */
static enum err
segments_check(struct verify *v)
{
	uint32_t seg = 0, last = 0;

	for (;; last = seg) {
		struct seg_hold hold;
		struct seg_row row;
		struct db_txn *t;
		enum err e = store_read(v->s, &t);

		if (e != ERR_OK)
			return e;
		e = store_seg_row_from(t, seg + 1, &seg, &row);
		store_seg_hold(v->s, seg, &hold);
		db_abort(t);
		if (e == ERR_OK && row.state != SEG_DEAD)
			e = segment_check(v, seg, &row);
		else if (e == ERR_CORRUPT)
			bad_segment(v, seg, 0, "its row in the index");
		store_seg_release(v->s, &hold);
		if (e == ERR_NOTFOUND)
			return ERR_OK;
		if (e == ERR_CORRUPT && seg == last)
			return ERR_OK; /* the tree itself is damaged */
		if (e != ERR_OK && e != ERR_CORRUPT)
			return e;
	}
}

/* --- tables --- */

/* Looks at one row; an error that is not about the row ends the walk. */
typedef enum err (*row_fn)(
    struct verify *v, struct db_txn *t, struct slice key, struct slice value);

struct walk {
	enum db_table tab;
	row_fn fn;
	uint8_t key[DB_KEY_MAX + 1]; /* where the next slice starts */
	size_t n;
};

static enum err
walk_slice(struct verify *v, struct walk *w, struct db_txn *t, bool *more)
{
	struct slice k = slice_of(NULL, 0), val;
	struct db_cur *c;
	unsigned i;
	enum err e = db_cur_open(t, w->tab, slice_of(NULL, 0), &c);

	if (e != ERR_OK)
		return e;
	e = db_cur_seek(c, slice_of(w->key, w->n), &k, &val);
	for (i = 0; e == ERR_OK || e == ERR_CORRUPT; i++) {
		char hex[ENC_HEX_LEN(DB_KEY_MAX) + 1];

		/* no row: the tree itself is damaged */
		if (k.n == 0 || k.n > DB_KEY_MAX) {
			bad_report(v, "index", false, "pages of a table");
			break;
		}
		memcpy(w->key, k.p, k.n);
		w->n = k.n;
		if (i == SLICE_KEYS) {
			*more = true; /* this row comes first next time */
			break;
		}
		if (e == ERR_CORRUPT) {
			enc_hex(k.n > 32 ? slice_of(k.p, 32) : k, hex);
			bad_report(v, "index", false, hex);
		} else if (w->fn != NULL) {
			e = w->fn(v, t, k, val);
			if (e != ERR_OK)
				break;
		}
		k = slice_of(NULL, 0);
		e = db_cur_next(c, &k, &val);
	}
	db_cur_close(c);
	return e == ERR_NOTFOUND || e == ERR_CORRUPT ? ERR_OK : e;
}

static enum err
table_walk(struct verify *v, enum db_table tab, row_fn fn)
{
	struct walk w = { .tab = tab, .fn = fn };
	bool more = true;

	while (more) {
		struct db_txn *t;
		enum err e = store_read(v->s, &t);

		if (e != ERR_OK)
			return e;
		more = false;
		e = walk_slice(v, &w, t, &more);
		db_abort(t);
		if (e != ERR_OK)
			return e;
	}
	return ERR_OK;
}

/* Place inside its segment, header there, and it is the right record. */
static enum err
place_check(struct verify *v, struct db_txn *t, const struct store_loc *l,
    struct rec_header *h)
{
	uint8_t raw[STORE_REC_HEADER];
	struct seg_row seg;
	enum err e = store_seg_row_get(t, l->seg, &seg);

	if (e == ERR_NOTFOUND)
		return ERR_CORRUPT;
	if (e != ERR_OK)
		return e;
	if (l->off > seg.used || l->off % STORE_ALIGN != 0 ||
	    seg.used - l->off < (uint64_t)STORE_REC_HEADER + l->len)
		return ERR_CORRUPT;
	e = store_seg_read(v->s, l->seg, l->off, raw, sizeof(raw));
	if (e == ERR_OK)
		e = store_rec_header_read(raw, l->seg, l->off, h);
	if (e == ERR_OK && h->len != l->len)
		e = ERR_CORRUPT;
	return e;
}

static enum err
chunk_check(
    struct verify *v, struct db_txn *t, struct slice key, struct slice value)
{
	struct rec_header h = { .kind = 0 };
	struct chunk_row row = { .refs = 0 };
	struct store_loc found;
	enum err e = blob_chunk_row_read(value, &row);

	(void)key;
	if (e == ERR_OK && row.loc.seg == 0 && row.refs == 0)
		return ERR_OK; /* not here, and nothing here needs it */
	if (e == ERR_OK)
		e = place_check(v, t, &row.loc, &h);
	if (e == ERR_OK && (h.kind != REC_CHUNK || memcmp(h.id.b, row.cid.b,
						       sizeof(row.cid.b)) != 0))
		e = ERR_CORRUPT;
	if (e == ERR_OK)
		e = blob_chunk_find(t, &row.cid, &found);
	if (!v->deep)
		v->checked++;
	if (e != ERR_CORRUPT && e != ERR_NOTFOUND)
		return e;
	bad_id(v, REC_CHUNK, &row.cid);
	return ERR_OK;
}

static enum err
row_check(
    struct verify *v, struct db_txn *t, struct slice key, struct slice value)
{
	struct rd r = rd_init(value);
	struct store_loc loc = store_loc_read(&r);
	struct rec_header h = { .kind = 0 };
	char hex[ENC_HEX_LEN(DB_KEY_MAX) + 1];
	enum err e;

	e = r.err == ERR_OK ? place_check(v, t, &loc, &h) : ERR_CORRUPT;
	if (e == ERR_OK && h.kind != REC_ROW)
		e = ERR_CORRUPT;
	if (e == ERR_OK && v->deep)
		e = store_row_check(v->s, key, value);
	if (!v->deep)
		v->checked++;
	if (e != ERR_CORRUPT && e != ERR_AUTH && e != ERR_NOTFOUND)
		return e;
	enc_hex(key.n > 32 ? slice_of(key.p, 32) : key, hex);
	bad_report(v, "row", false, hex);
	return ERR_OK;
}

/* A value that begins with the place of a record. */
static enum err
place_row_check(struct verify *v, struct db_txn *t, struct slice key,
    struct slice value, enum rec_kind kind)
{
	struct rd r = rd_init(value);
	struct store_loc loc = store_loc_read(&r);
	struct rec_header h = { .kind = 0 };
	char hex[ENC_HEX_LEN(DB_KEY_MAX) + 1], where[96];
	enum err e;

	e = r.err == ERR_OK ? place_check(v, t, &loc, &h) : ERR_CORRUPT;
	if (e == ERR_OK && h.kind != kind)
		e = ERR_CORRUPT;
	if (e != ERR_CORRUPT)
		return e;
	enc_hex(key.n > 32 ? slice_of(key.p, 32) : key, hex);
	(void)snprintf(
	    where, sizeof(where), "%.64s: no record at its place", hex);
	bad_report(v, "op", false, where);
	return ERR_OK;
}

static enum err
op_check(
    struct verify *v, struct db_txn *t, struct slice key, struct slice value)
{
	return place_row_check(v, t, key, value, REC_OP);
}

static enum err
member_check(
    struct verify *v, struct db_txn *t, struct slice key, struct slice value)
{
	return place_row_check(v, t, key, value, REC_MEMBER);
}

static enum err
tables_check(struct verify *v)
{
	enum err e = table_walk(v, DB_CHUNK, chunk_check);
	int tab;

	if (e == ERR_OK)
		e = table_walk(v, DB_ROW, row_check);
	if (e == ERR_OK)
		e = table_walk(v, DB_OP, op_check);
	if (e == ERR_OK)
		e = table_walk(v, DB_MLOG, member_check);
	for (tab = 0; v->deep && e == ERR_OK && tab < DB_TABLE_COUNT; tab++) {
		if (tab != DB_CHUNK && tab != DB_ROW && tab != DB_OP &&
		    tab != DB_MLOG)
			e = table_walk(v, (enum db_table)tab, NULL);
	}
	return e;
}

/* The pages of the index, before LMDB walks them. */
static enum err
pages_check(struct verify *v, bool *good)
{
	unsigned tries = 0;
	struct db_txn *t;
	enum err e;

	do {
		if ((e = store_read(v->s, &t)) != ERR_OK)
			return e;
		e = db_check(t, v->deep);
		db_abort(t);
	} while (e == ERR_AGAIN && ++tries < PAGES_TRIES);
	*good = e != ERR_CORRUPT;
	if (e == ERR_CORRUPT)
		bad_report(v, "index", false, "pages; rebuild the index");
	return e == ERR_CORRUPT || e == ERR_AGAIN ? ERR_OK : e;
}

enum err
store_verify(
    struct store *s, bool deep, store_bad_fn fn, void *ctx, uint64_t *checked)
{
	struct verify v = { .s = s,
		.deep = deep,
		.fn = fn,
		.ctx = ctx,
		.body = BUF_MAX(STORE_BODY_MAX) };
	bool good = true;
	enum err e = pages_check(&v, &good);

	if (e == ERR_OK && good)
		e = segments_check(&v);
	if (e == ERR_OK && good)
		e = tables_check(&v);
	buf_fini(&v.body);
	if (checked != NULL)
		*checked = v.checked;
	return e;
}

/* --- scrub --- */

/* The segment to read, held; its row.  ERR_NOTFOUND: the end of the log. */
static enum err
scrub_open(struct store *s, struct store_scrub *at, struct seg_row *row,
    struct seg_hold *h)
{
	uint32_t seg = at->seg;
	struct db_txn *t;
	enum err e = store_read(s, &t);

	if (e != ERR_OK)
		return e;
	do {
		e = store_seg_row_from(t, seg, &seg, row);
	} while (e == ERR_OK && row->state == SEG_DEAD && ++seg != 0);
	if (e == ERR_OK)
		store_seg_hold(s, seg, h);
	db_abort(t);
	if (e == ERR_OK && (seg != at->seg || at->off < STORE_BLOCK)) {
		at->seg = seg;
		at->off = STORE_BLOCK;
	}
	return e;
}

enum err
store_scrub_step(struct store *s, struct store_scrub *at, uint64_t bytes,
    store_bad_fn fn, void *ctx, uint64_t *read)
{
	struct verify v = { .s = s,
		.deep = true,
		.fn = fn,
		.ctx = ctx,
		.body = BUF_MAX(STORE_BODY_MAX) };
	struct seg_hold hold;
	struct seg_row row;
	struct scan c = { 0 };
	enum err e = scrub_open(s, at, &row, &hold);

	*read = 0;
	if (e == ERR_NOTFOUND) {
		*at = (struct store_scrub){ .rounds = at->rounds + 1 };
		return ERR_OK;
	}
	if (e != ERR_OK)
		return e;
	c = (struct scan){ .seg = at->seg, .at = at->off, .used = row.used };
	while (e == ERR_OK && c.at < c.used && c.at - at->off < bytes &&
	       c.used - c.at >= STORE_REC_HEADER)
		e = scan_step(&v, &c);
	if (e == ERR_CORRUPT) {
		bad_segment(&v, c.seg, c.at, "shorter than the index says");
		c.at = c.used;
		e = ERR_OK;
	}
	store_seg_release(s, &hold);
	*read = c.at - at->off;
	at->off = c.at;
	if (c.at >= c.used || c.used - c.at < STORE_REC_HEADER) {
		at->seg++;
		at->off = 0;
	}
	buf_fini(&v.body);
	return e;
}
