/* store/blob/store_rebuild.c: a new index from the log alone.
 *
 * Happy path: lock the old index, walk every segment in order, take each
 * record that is believed (place, CRC) into an index of its own beside the
 * old one, a whole commit at a time; ops, heads and membership records are
 * noted for the rooms above.  At the end the new index takes the old one's
 * name.
 * Failure modes: damage is told and skipped; a record of a commit that is
 * closed already, or whose commit does not end, was never acknowledged and is
 * left out; a crash leaves the old index, or none, and the rebuild is run
 * again.  A commit that lost records to damage counts as whole if a later one
 * follows it, or if what is damaged holds no sector of zeros: the log is zero
 * ahead of its end, so a write that was torn leaves such sectors, under a
 * header too, and bits that rot do not. */
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/blob/blob_internal.h"
#include "store/blob/store_internal.h"

#define PATH_BYTES 4096u
#define INDEX "db"
#define INDEX_NEW "db.new"
#define INDEX_OLD "db.old"
#define SECTOR ((uint64_t)512)
#define TAKE_RECORDS 20000u /* in one transaction */

/* One record, before its commit is known to have ended. */
struct found {
	struct store_loc loc;
	uint32_t crc;
	uint16_t kind;
	struct cry_id id;
};

/* For the rooms above; 16 bytes each, there may be millions. */
struct noted {
	uint32_t seg, at, len, kind; /* at: offset / STORE_ALIGN */
};

struct seg_live {
	uint32_t seg;
	struct seg_row row;
	bool cut; /* what lies behind row.used was never committed */
};

struct rebuild {
	struct store_rebuild_opts o;
	int lock_fd; /* of the old index; -1: there is none */
	char dir[PATH_BYTES];
	struct db_txn *txn;
	uint32_t taken;        /* records in txn */
	uint64_t closed;       /* number of the last commit that ended */
	uint64_t commit;       /* of the records in pend */
	struct seg_live *segs; /* ascending */
	uint32_t n_segs;
	struct found *pend;
	uint32_t n_pend, cap_pend;
	uint32_t begin_seg; /* where this commit began; 0: between commits */
	uint64_t begin_off;
	bool hurt; /* something damaged was met in this commit */
	bool gap;  /* zeros in this segment where it should go on */
	bool torn; /* a sector of zeros in it */
	struct noted *note;
	size_t n_note, cap_note;
	uint64_t rows_good, rows_alien;
	uint64_t done, bytes; /* for the progress */
	struct buf body;
	struct rebuild_bads bads;
};

void
store_rebuild_free(struct rebuild *r)
{
	if (r == NULL)
		return;
	db_abort(r->txn);
	if (r->lock_fd >= 0)
		close(r->lock_fd);
	mem_free(r->segs);
	mem_free(r->pend);
	mem_free(r->note);
	buf_fini(&r->body);
	rebuild_bads_fini(&r->bads);
	mem_free(r);
}

/* --- telling --- */

/* While a commit is open it is not known whether it ever ended: what is found
 * in it waits. */
static void
bad_tell(
    struct rebuild *r, const char *what, bool repairable, const char *where)
{
	struct store_bad bad = { .repairable = repairable };

	snprintf(bad.what, sizeof(bad.what), "%s", what);
	snprintf(bad.where, sizeof(bad.where), "%s", where);
	rebuild_bads_add(&r->bads, &bad, r->begin_seg != 0);
}

static void
bad_place(struct rebuild *r, uint32_t seg, uint64_t off, const char *why)
{
	char where[96];

	snprintf(where, sizeof(where), "%08x.seg offset %llu: %s",
	    (unsigned)seg, (unsigned long long)off, why);
	bad_tell(r, "segment", false, where);
}

void
store_rebuild_bad(struct store *s, const struct store_bad *bad)
{
	if (s->rebuild != NULL)
		rebuild_bads_add(&s->rebuild->bads, bad, false);
}

/* --- taking records into the index --- */

static enum err
txn_begin(struct store *s)
{
	struct rebuild *r = s->rebuild;

	if (r->txn != NULL)
		return ERR_OK;
	r->taken = 0;
	return db_write(s->db, &r->txn);
}

static enum err
txn_end(struct store *s)
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
	bad_tell(r, "row", false, hex);
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

static enum err
found_take(struct store *s, const struct found *f)
{
	static const struct store_loc none;
	struct rebuild *r = s->rebuild;
	enum err e = ERR_OK;

	if (r->txn == NULL || r->taken >= TAKE_RECORDS) {
		if ((e = txn_end(s)) != ERR_OK || (e = txn_begin(s)) != ERR_OK)
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
		bad_place(r, f->loc.seg, f->loc.off, "of a kind not known");
		return ERR_OK;
	}
}

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
		e = found_take(s, &r->pend[i]);
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
		bad_place(r, f->loc.seg, f->loc.off,
		    "left over from a commit that never was");
		return ERR_OK;
	}
	if (commit != r->commit && r->n_pend > 0) {
		if (commit < r->commit) {
			bad_place(r, f->loc.seg, f->loc.off,
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
		bad_place(r, w->seg, w->at, why);
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
	bad_tell(r, what, h->kind == REC_CHUNK || h->kind == REC_OP, hex);
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
		bad_place(r, seg, w.at, "cannot be read to its end");
		e = ERR_OK;
	}
	if (!born && w.met)
		bad_place(r, seg, 0, "header damaged");
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
		e = txn_begin(s);
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
		e = txn_begin(s);
	if (e == ERR_OK)
		e = db_put(r->txn, DB_META, SLICE_LIT("commit"), buf_slice(&b));
	buf_fini(&b);
	atomic_store(&s->commits, s->commit_no);
	return e == ERR_OK ? txn_end(s) : e;
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

static enum err
log_walk(struct store *s, struct errmsg *em)
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

/* --- begin and end --- */

static enum err
path_make(const struct rebuild *r, const char *name, char out[PATH_BYTES])
{
	int n = snprintf(out, PATH_BYTES, "%s/%s", r->dir, name);

	return n < 0 || (size_t)n >= PATH_BYTES - 16 ? ERR_LIMIT : ERR_OK;
}

/* An index is a folder of three files. */
static enum err
index_remove(const struct rebuild *r, const char *name)
{
	static const char *const files[] = { "data.mdb", "data.mdb.new",
		"lock.mdb", "LOCK" };
	char path[PATH_BYTES], file[PATH_BYTES];
	size_t i;
	enum err e = path_make(r, name, path);

	if (e != ERR_OK)
		return e;
	for (i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		if (snprintf(file, sizeof(file), "%.4000s/%s", path, files[i]) <
		    0)
			return ERR_LIMIT;
		if (unlink(file) != 0 && errno != ENOENT && errno != ENOTDIR)
			return db_err(errno);
	}
	if (rmdir(path) != 0 && errno != ENOENT)
		return db_err(errno);
	return ERR_OK;
}

/* Nobody may have the store open, not even with an index that is damaged. */
static enum err
old_lock(struct rebuild *r, struct errmsg *em)
{
	char path[PATH_BYTES];
	enum err e = path_make(r, INDEX "/LOCK", path);

	if (e != ERR_OK)
		return e;
	r->lock_fd = open(path, O_RDWR | O_CLOEXEC);
	if (r->lock_fd < 0)
		return errno == ENOENT ? ERR_OK : db_err(errno);
	if (flock(r->lock_fd, LOCK_EX | LOCK_NB) == 0)
		return ERR_OK;
	return errmsg_set(em, ERR_BUSY, "stop the node, then run it again",
	    "the store in %.100s is in use by another process", r->dir);
}

enum err
store_rebuild_begin(const struct store_opts *o,
    const struct store_rebuild_opts *ro, struct store **out, struct errmsg *em)
{
	struct rebuild *r = mem_new(sizeof(*r));
	struct errmsg why = { .code = ERR_OK };
	struct store *s = NULL;
	enum err e;

	if (r == NULL)
		return errmsg_set(em, ERR_NOMEM, "", "out of memory");
	r->o = *ro;
	r->bads = (struct rebuild_bads){ .fn = ro->bad, .ctx = ro->ctx };
	r->lock_fd = -1;
	r->body = BUF_MAX(STORE_BODY_MAX);
	snprintf(r->dir, sizeof(r->dir), "%s", o->dir);
	if ((e = old_lock(r, &why)) == ERR_OK)
		e = index_remove(r, INDEX_NEW);
	if (e == ERR_OK)
		e = store_init(o, INDEX_NEW, r, &s, &why);
	else
		store_rebuild_free(r);
	/* From here on s owns r. */
	if (e == ERR_OK)
		e = log_walk(s, &why);
	if (e == ERR_OK)
		e = store_seg_open_tail(s, &why);
	if (e == ERR_OK)
		e = store_writer_start(s);
	if (e == ERR_OK) {
		*out = s;
		return ERR_OK;
	}
	if (why.code == ERR_OK)
		errmsg_set(&why, e, "run it again when the cause is gone",
		    "the index cannot be rebuilt: %s", err_text(e));
	if (em != NULL)
		*em = why;
	store_close(s);
	return e;
}

enum err
store_rebuild_each(struct store *s, store_rebuild_fn fn, void *ctx)
{
	struct rebuild *r = s->rebuild;
	enum err e = ERR_OK;
	size_t i;

	REQUIRE(r != NULL);
	for (i = 0; i < r->n_note && e == ERR_OK; i++) {
		const struct noted *n = &r->note[i];
		struct store_loc l = { n->seg, (uint64_t)n->at * STORE_ALIGN,
			n->len };

		e = fn(ctx, (enum rec_kind)n->kind, &l);
	}
	return e;
}

static enum err
index_swap(const struct rebuild *r)
{
	char old[PATH_BYTES], now[PATH_BYTES], new[PATH_BYTES];
	enum err e;

	if ((e = path_make(r, INDEX_OLD, old)) != ERR_OK ||
	    (e = path_make(r, INDEX, now)) != ERR_OK ||
	    (e = path_make(r, INDEX_NEW, new)) != ERR_OK ||
	    (e = index_remove(r, INDEX_OLD)) != ERR_OK)
		return e;
	if (rename(now, old) != 0 && errno != ENOENT)
		return db_err(errno);
	if (rename(new, now) != 0) {
		e = db_err(errno);
		(void)rename(old, now);
		return e;
	}
	return store_dir_sync(r->dir, "");
}

enum err
store_rebuild_end(struct store *s, bool keep_old, struct errmsg *em)
{
	struct rebuild *r = s->rebuild;
	enum err e;

	REQUIRE(r != NULL);
	s->rebuild = NULL; /* outlives the store, and so does the lock */
	store_close(s);
	e = index_swap(r);
	if (e == ERR_OK && !keep_old)
		e = index_remove(r, INDEX_OLD);
	store_rebuild_free(r);
	if (e != ERR_OK)
		errmsg_set(em, e, "run it again when the cause is gone",
		    "the new index cannot take the old one's place: %s",
		    err_text(e));
	return e;
}
