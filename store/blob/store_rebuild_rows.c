/* store/blob/store_rebuild_rows.c: all rows of a tag, in jobs of a bounded
 * number of rows: for what is learnt again from them. */
#include "store/blob/store_internal.h"

#define ROWS_A_JOB 32u

struct rows_job {
	const char *tag;
	store_learn_fn fn;
	struct store_txn *t;
	uint8_t from[DB_KEY_MAX];
	size_t from_n;
	uint32_t n;
	bool more;
};

static int
rows_visit(void *ctx, struct slice key, struct slice value)
{
	struct rows_job *j = ctx;

	if (j->n == ROWS_A_JOB) {
		memcpy(j->from, key.p, key.n);
		j->from_n = key.n;
		j->more = true;
		return 1;
	}
	j->n++;
	return (int)j->fn(j->t, value);
}

static enum err
rows_run(struct store_txn *t, void *ctx)
{
	struct rows_job *j = ctx;

	j->t = t;
	j->n = 0;
	j->more = false;
	return store_row_from(
	    t->s, t->db, j->tag, slice_of(j->from, j->from_n), rows_visit, j);
}

enum err
store_rebuild_rows(struct store *s, const char *tag, store_learn_fn fn)
{
	struct rows_job j = { .tag = tag, .fn = fn, .more = true };
	enum err e = ERR_OK;

	while (e == ERR_OK && j.more)
		e = store_write(s, rows_run, &j);
	return e;
}
