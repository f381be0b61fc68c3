/* store/blob/store_rebuild_bad.c: what a rebuild finds damaged, told when it is
 * known to be damage.
 *
 * What lies in a commit that is still open waits until that one is closed
 * (told) or cut off as one that never ended (forgotten).  A row is told when
 * the log is read: only then it is known whether an earlier record of it
 * holds in place of the damaged one.
 * Failure modes: without memory a damage is told at once, so nothing is
 * hidden, but a cut tail may then be told as damage. */
#include "store/blob/store_internal.h"

#include "store/base/enc.h"

void
rebuild_bads_fini(struct rebuild_bads *b)
{
	mem_free(b->held);
	mem_free(b->rows);
	b->held = NULL;
	b->rows = NULL;
}

static void
tell(const struct rebuild_bads *b, const struct store_bad *bad)
{
	if (b->fn != NULL)
		b->fn(b->ctx, bad);
}

static bool
list_add(
    struct store_bad **v, uint32_t *n, uint32_t *cap, const struct store_bad *x)
{
	struct store_bad *more;

	if (*n == *cap) {
		more = mem_grow(*v, (size_t)*cap * 2 + 16, sizeof(**v));
		if (more == NULL)
			return false;
		*v = more;
		*cap = *cap * 2 + 16;
	}
	(*v)[(*n)++] = *x;
	return true;
}

/* Rows that the walk met wait for its end. */
static void
settle(struct rebuild_bads *b, const struct store_bad *bad)
{
	if (b->rows_done || strcmp(bad->what, "row") != 0 ||
	    !list_add(&b->rows, &b->n_rows, &b->cap_rows, bad))
		tell(b, bad);
}

void
rebuild_bads_add(struct rebuild_bads *b, const struct store_bad *bad, bool hold)
{
	if (!hold || !list_add(&b->held, &b->n_held, &b->cap_held, bad))
		settle(b, bad);
}

void
rebuild_bads_flush(struct rebuild_bads *b)
{
	uint32_t i;

	for (i = 0; i < b->n_held; i++)
		settle(b, &b->held[i]);
	b->n_held = 0;
}

void
rebuild_bads_drop(struct rebuild_bads *b)
{
	b->n_held = 0;
}

/* Of each row that is there: was a record of it damaged? */
static enum err
rows_match(struct rebuild_bads *b, struct slice rkey)
{
	char hex[ENC_HEX_LEN(32) + 1], id[ENC_HEX_LEN(32) + 1];
	struct cry_id is = store_row_id(rkey);
	uint32_t i;

	enc_hex(slice_of(is.b, sizeof(is.b)), id);
	for (i = 0; i < b->n_rows; i++) {
		struct store_bad *bad = &b->rows[i];

		if (strcmp(bad->where, id) != 0)
			continue;
		enc_hex(slice_of(rkey.p, rkey.n > 24 ? 24 : rkey.n), hex);
		(void)snprintf(bad->where, sizeof(bad->where),
		    "%.46s: a change is lost, one before or after it holds",
		    hex);
	}
	return ERR_OK;
}

enum err
rebuild_bads_rows(struct store *s, struct rebuild_bads *b)
{
	struct db_txn *t = NULL;
	struct db_cur *c = NULL;
	struct slice k, v;
	uint32_t i;
	enum err e = b->n_rows == 0 ? ERR_NOTFOUND : store_read(s, &t);

	if (e == ERR_OK)
		e = db_cur_open(t, DB_ROW, slice_of(NULL, 0), &c);
	if (e == ERR_OK)
		e = db_cur_seek(c, slice_of(NULL, 0), &k, &v);
	while (e == ERR_OK && (e = rows_match(b, k)) == ERR_OK)
		e = db_cur_next(c, &k, &v);
	db_cur_close(c);
	db_abort(t);
	for (i = 0; i < b->n_rows; i++)
		tell(b, &b->rows[i]);
	b->n_rows = 0;
	b->rows_done = true;
	return e == ERR_NOTFOUND ? ERR_OK : e;
}
