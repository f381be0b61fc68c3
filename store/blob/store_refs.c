/* store/blob/store_refs.c: every reference counted anew.
 *
 * One read transaction, so that the counts belong to one moment; one number
 * in memory for each chunk.  A recount that differs is a fault of ours: it is
 * reported, and `rebuild` writes the true counts.  References to chunks that
 * are not here count nothing: they are counted when the chunk comes. */
#include "store/blob/blob_internal.h"
#include "store/blob/store_internal.h"

#define WRITE_ROWS 512u

struct recount {
	struct store *s;
	struct db_txn *t;
	uint32_t *refs; /* by chunk number */
	uint64_t n;
	struct buf value;
};

static enum err
count_no(void *ctx, uint64_t no)
{
	struct recount *r = ctx;

	if (no >= r->n)
		return ERR_CORRUPT;
	r->refs[no]++;
	return ERR_OK;
}

static enum err
count_cid(void *ctx, const struct cry_id *cid)
{
	struct recount *r = ctx;
	uint64_t no;
	enum err e = blob_chunk_number(r->t, cid, &no);

	if (e == ERR_OK)
		return count_no(r, no);
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

struct row_count {
	struct recount *r;
	const struct store_row_owner *own;
	enum err e;
};

static int
count_row(void *ctx, struct slice key, struct slice value)
{
	struct row_count *c = ctx;

	(void)key;
	c->e = c->own->chunks(c->r->s, c->r->t, value, count_cid, c->r);
	return c->e != ERR_OK;
}

static enum err
count_rows(struct recount *r, const struct store_row_owner *own)
{
	struct row_count c = { r, own, ERR_OK };
	enum err e = store_row_each(
	    r->s, r->t, own->tag, slice_of(NULL, 0), count_row, &c);

	return e == ERR_OK ? c.e : e;
}

static enum err
recount_begin(struct recount *r, struct store *s)
{
	struct db_cur *c = NULL;
	struct slice k, v;
	enum err e;

	*r = (struct recount){ .s = s };
	if (s->owners == NULL)
		return ERR_UNSUPPORTED;
	if ((e = store_read(s, &r->t)) != ERR_OK ||
	    (e = db_cur_open(r->t, DB_CHUNK, slice_of(NULL, 0), &c)) != ERR_OK)
		return e;
	e = db_cur_last(c, &k, &v);
	if (e == ERR_OK && k.n != 8)
		e = ERR_CORRUPT;
	if (e == ERR_OK)
		r->n = dec_be64(k.p) + 1;
	db_cur_close(c);
	r->refs = mem_array((size_t)r->n + 1, sizeof(*r->refs));
	if (r->refs == NULL)
		return ERR_NOMEM;
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

static enum err
recount_run(struct recount *r)
{
	const struct store_owners *o = r->s->owners;
	enum err e = ERR_OK;
	uint32_t i;

	for (i = 0; e == ERR_OK && i < o->n_rows; i++)
		e = count_rows(r, &o->rows[i]);
	if (e == ERR_OK && o->refs_each != NULL)
		e = o->refs_each(r->t, count_no, r);
	return e;
}

static void
recount_end(struct recount *r)
{
	db_abort(r->t);
	mem_free(r->refs);
}

/* --- comparing --- */

static void
report(store_bad_fn fn, void *ctx, const struct chunk_row *row, uint32_t is)
{
	struct store_bad bad = { .what = "refs" };
	char hex[ENC_HEX_LEN(8) + 1];

	enc_hex(slice_of(row->cid.b, 8), hex);
	snprintf(bad.where, sizeof(bad.where),
	    "chunk %s: %u counted, %u are there", hex, (unsigned)row->refs,
	    (unsigned)is);
	if (fn != NULL)
		fn(ctx, &bad);
}

/* What waits has a row in the queue; what is referred to, or is not here, has
 * none. */
static enum err
grace_check(
    struct recount *r, uint64_t no, const struct chunk_row *row, bool *right)
{
	uint8_t key[16];
	struct slice v;
	enum err e;

	*right = (row->refs == 0 && row->loc.seg != 0) == (row->since != 0);
	if (row->since == 0)
		return ERR_OK;
	enc_be64(row->since, key);
	enc_be64(no, key + 8);
	e = db_get(r->t, DB_GRACE, slice_of(key, sizeof(key)), &v);
	if (e == ERR_NOTFOUND)
		*right = false;
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

static enum err
recount_compare(struct recount *r, store_bad_fn fn, void *ctx, uint64_t *n)
{
	struct db_cur *c;
	struct slice k, v;
	enum err e = db_cur_open(r->t, DB_CHUNK, slice_of(NULL, 0), &c);

	while (e == ERR_OK && (e = db_cur_next(c, &k, &v)) == ERR_OK) {
		struct chunk_row row;
		uint64_t no = k.n == 8 ? dec_be64(k.p) : UINT64_MAX;
		bool right = false;

		e = no < r->n ? blob_chunk_row_read(v, &row) : ERR_CORRUPT;
		if (e == ERR_OK)
			e = grace_check(r, no, &row, &right);
		if (e == ERR_OK && (!right || row.refs != r->refs[no]))
			report(fn, ctx, &row, r->refs[no]);
		(*n)++;
	}
	db_cur_close(c);
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

enum err
store_refs_check(struct store *s, store_bad_fn fn, void *ctx, uint64_t *checked)
{
	struct recount r;
	uint64_t n = 0;
	enum err e = recount_begin(&r, s);

	if (e == ERR_OK)
		e = recount_run(&r);
	if (e == ERR_OK)
		e = recount_compare(&r, fn, ctx, &n);
	recount_end(&r);
	if (checked != NULL)
		*checked = n;
	return e;
}

/* --- writing --- */

struct rewrite {
	const struct recount *r;
	uint64_t next;
};

static enum err
rewrite_one(struct store_txn *t, const struct rewrite *w, uint64_t no)
{
	struct chunk_row row;
	enum err e = blob_chunk_row_no(t->db, no, &row);

	if (e != ERR_OK)
		return e == ERR_NOTFOUND ? ERR_OK : e;
	if (row.since != 0)
		e = store_grace_leave(t, no, &row);
	row.refs = w->r->refs[no];
	if (e == ERR_OK && row.refs == 0 && row.loc.seg != 0)
		e = store_grace_enter(t, no, &row);
	return e == ERR_OK ? blob_chunk_row_put(t->db, no, &row) : e;
}

static enum err
rewrite_job(struct store_txn *t, void *ctx)
{
	struct rewrite *w = ctx;
	uint64_t no, end = w->next + WRITE_ROWS;
	enum err e = ERR_OK;

	if (end > w->r->n)
		end = w->r->n;
	for (no = w->next; e == ERR_OK && no < end; no++)
		e = rewrite_one(t, w, no);
	return e;
}

enum err
store_refs_rebuild(struct store *s)
{
	struct recount r;
	struct rewrite w = { .r = &r };
	enum err e = recount_begin(&r, s);

	if (e == ERR_OK)
		e = recount_run(&r);
	db_abort(r.t);
	r.t = NULL;
	for (; e == ERR_OK && w.next < r.n; w.next += WRITE_ROWS)
		e = store_write(s, rewrite_job, &w);
	recount_end(&r);
	return e;
}
