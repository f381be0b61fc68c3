/* store/blob/store_ref.c: references to chunks, the grace queue, leases.
 *
 * The count lies in the CHUNK row; a chunk at zero also has a GRACE row,
 * which the CHUNK row names, so that a new reference finds and removes it.
 * Most chunks get their first reference in the job that adds them: they are
 * queued only at the job's end, if it left them without one.  A chunk that is
 * not here is not queued either. */
#include "store/base/clock.h"
#include "store/blob/blob_internal.h"
#include "store/blob/store_internal.h"

/* --- the grace queue --- */

static void
grace_key(uint64_t since, uint64_t no, uint8_t key[16])
{
	enc_be64(since, key);
	enc_be64(no, key + 8);
}

enum err
store_grace_enter(struct store_txn *t, uint64_t no, struct chunk_row *row)
{
	struct buf v = BUF_MAX(16);
	uint8_t key[16];
	enum err e;

	row->since = clock_wall_ms();
	grace_key(row->since, no, key);
	buf_u32(&v, row->loc.len);
	buf_u64(&v, t->s->commit_no + 1);
	e = buf_err(&v);
	if (e == ERR_OK)
		e = db_put(
		    t->db, DB_GRACE, slice_of(key, sizeof(key)), buf_slice(&v));
	buf_fini(&v);
	t->grace_chunks++;
	t->grace_bytes += row->loc.len;
	return e;
}

enum err
store_grace_leave(struct store_txn *t, uint64_t no, struct chunk_row *row)
{
	uint8_t key[16];
	enum err e;

	grace_key(row->since, no, key);
	e = db_del(t->db, DB_GRACE, slice_of(key, sizeof(key)));
	row->since = 0;
	t->grace_chunks--;
	t->grace_bytes -= row->loc.len;
	return e == ERR_NOTFOUND ? ERR_CORRUPT : e;
}

enum err
store_chunk_sums_get(struct db_txn *t, struct store_chunk_sums *out)
{
	struct slice v;
	struct rd r;
	enum err e = db_get(t, DB_META, SLICE_LIT("chunks"), &v);

	*out = (struct store_chunk_sums){ 0 };
	if (e != ERR_OK)
		return e == ERR_NOTFOUND ? ERR_OK : e;
	r = rd_init(v);
	out->grace_chunks = rd_u64(&r);
	out->grace_bytes = rd_u64(&r);
	out->absent = rd_u64(&r);
	return rd_end(&r) == ERR_OK ? ERR_OK : ERR_CORRUPT;
}

static enum err
chunk_sums_add(struct store_txn *t)
{
	struct store_chunk_sums sum;
	struct buf v = BUF_MAX(24);
	enum err e = store_chunk_sums_get(t->db, &sum);

	if (e != ERR_OK)
		return e;
	buf_u64(&v, sum.grace_chunks + (uint64_t)t->grace_chunks);
	buf_u64(&v, sum.grace_bytes + (uint64_t)t->grace_bytes);
	buf_u64(&v, sum.absent + (uint64_t)t->absent);
	e = buf_err(&v);
	if (e == ERR_OK)
		e = db_put(t->db, DB_META, SLICE_LIT("chunks"), buf_slice(&v));
	buf_fini(&v);
	return e;
}

/* --- references --- */

static enum err
ref_add(struct store_txn *t, uint64_t no, struct chunk_row *row)
{
	enum err e = ERR_OK;

	if (row->refs == 0 && row->loc.seg == 0)
		return ERR_NOTFOUND; /* a lost one is still referred to */
	if (row->refs == UINT32_MAX)
		return ERR_LIMIT;
	if (row->refs == 0 && row->since != 0)
		e = store_grace_leave(t, no, row);
	else if (row->refs == 0 && no >= t->fresh_first && no < t->fresh_end)
		t->fresh_zero--;
	row->refs++;
	return e == ERR_OK ? blob_chunk_row_put(t->db, no, row) : e;
}

static enum err
ref_drop(struct store_txn *t, uint64_t no, struct chunk_row *row)
{
	enum err e = ERR_OK;

	if (row->refs == 0)
		return row->loc.seg == 0 ? ERR_OK : ERR_CORRUPT;
	row->refs--;
	if (row->refs == 0 && row->loc.seg != 0)
		e = store_grace_enter(t, no, row);
	return e == ERR_OK ? blob_chunk_row_put(t->db, no, row) : e;
}

enum err
store_ref_add(struct store_txn *t, const struct cry_id *cid)
{
	struct chunk_row row;
	uint64_t no;
	enum err e = blob_chunk_row(t->db, cid, &no, &row);

	return e == ERR_OK ? ref_add(t, no, &row) : e;
}

enum err
store_ref_add_no(struct store_txn *t, uint64_t no)
{
	struct chunk_row row;
	enum err e = blob_chunk_row_no(t->db, no, &row);

	return e == ERR_OK ? ref_add(t, no, &row) : e;
}

enum err
store_ref_drop(struct store_txn *t, const struct cry_id *cid)
{
	struct chunk_row row;
	uint64_t no;
	enum err e = blob_chunk_row(t->db, cid, &no, &row);

	if (e != ERR_OK)
		return e == ERR_NOTFOUND ? ERR_OK : e;
	return ref_drop(t, no, &row);
}

enum err
store_ref_drop_no(struct store_txn *t, uint64_t no)
{
	struct chunk_row row;
	enum err e = blob_chunk_row_no(t->db, no, &row);

	return e == ERR_OK ? ref_drop(t, no, &row) : e;
}

enum err
store_ref_count(struct db_txn *t, const struct cry_id *cid, uint32_t *refs)
{
	struct chunk_row row;
	uint64_t no;
	enum err e = blob_chunk_row(t, cid, &no, &row);

	if (e == ERR_OK)
		*refs = row.refs;
	return e;
}

void
store_ref_fresh(struct store_txn *t, uint64_t no)
{
	if (t->fresh_end == 0)
		t->fresh_first = no;
	t->fresh_end = no + 1;
	t->fresh_zero++;
}

static enum err
fresh_enter(struct store_txn *t)
{
	uint64_t no;
	enum err e = ERR_OK;

	for (no = t->fresh_first; e == ERR_OK && no < t->fresh_end; no++) {
		struct chunk_row row;

		e = blob_chunk_row_no(t->db, no, &row);
		if (e != ERR_OK || row.refs > 0 || row.since != 0 ||
		    row.loc.seg == 0)
			continue;
		e = store_grace_enter(t, no, &row);
		if (e == ERR_OK)
			e = blob_chunk_row_put(t->db, no, &row);
	}
	return e;
}

enum err
store_ref_settle(struct store_txn *t)
{
	enum err e = ERR_OK;

	if (t->fresh_zero > 0 && t->s->owners != NULL) /* else nobody counts */
		e = fresh_enter(t);
	if (e == ERR_OK &&
	    (t->grace_chunks != 0 || t->grace_bytes != 0 || t->absent != 0))
		e = chunk_sums_add(t);
	return e;
}

/* --- rows that hold chunks --- */

const struct store_row_owner *
store_row_owner(const struct store *s, const char *tag)
{
	uint32_t i;

	for (i = 0; s->owners != NULL && i < s->owners->n_rows; i++) {
		if (strcmp(s->owners->rows[i].tag, tag) == 0)
			return &s->owners->rows[i];
	}
	return NULL;
}

static enum err
hold_add(void *ctx, const struct cry_id *cid)
{
	return store_ref_add(ctx, cid);
}

static enum err
hold_drop(void *ctx, const struct cry_id *cid)
{
	return store_ref_drop(ctx, cid);
}

enum err
store_row_hold(
    struct store_txn *t, const struct store_row_owner *o, struct slice value)
{
	enum err e = o->chunks(t->s, t->db, value, hold_add, t);

	/* What it names went since it was looked up: prepare it again. */
	return e == ERR_NOTFOUND ? ERR_AGAIN : e;
}

enum err
store_row_release(
    struct store_txn *t, const struct store_row_owner *o, struct slice value)
{
	return o->chunks(t->s, t->db, value, hold_drop, t);
}

/* --- leases --- */

void
store_lease_begin(struct store *s, struct store_lease *l)
{
	pthread_mutex_lock(&s->lease_lock);
	l->commit = atomic_load(&s->commits);
	l->next = NULL;
	l->prev = s->lease_last;
	if (s->lease_last != NULL)
		s->lease_last->next = l;
	else
		s->lease_first = l;
	s->lease_last = l;
	pthread_mutex_unlock(&s->lease_lock);
}

void
store_lease_end(struct store *s, struct store_lease *l)
{
	pthread_mutex_lock(&s->lease_lock);
	if (l->prev != NULL)
		l->prev->next = l->next;
	else
		s->lease_first = l->next;
	if (l->next != NULL)
		l->next->prev = l->prev;
	else
		s->lease_last = l->prev;
	pthread_mutex_unlock(&s->lease_lock);
}

uint64_t
store_lease_oldest(struct store *s)
{
	uint64_t commit;

	pthread_mutex_lock(&s->lease_lock);
	/* Counted up only: the first to begin has the smallest. */
	commit = s->lease_first != NULL ? s->lease_first->commit : UINT64_MAX;
	pthread_mutex_unlock(&s->lease_lock);
	return commit;
}
