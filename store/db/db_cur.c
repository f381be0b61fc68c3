/* store/db/db_cur.c: walking a table in key order, inside a prefix. */
#include "store/db/db_internal.h"

enum err
db_cur_open(struct db_txn *t, enum db_table tab, struct slice prefix,
    struct db_cur **out)
{
	struct db_cur *c;
	int rc;

	if (prefix.n > DB_KEY_MAX)
		return ERR_LIMIT;
	if ((c = mem_new(sizeof(*c))) == NULL)
		return ERR_NOMEM;
	c->txn = t;
	c->prefix_n = prefix.n;
	if (prefix.n > 0)
		memcpy(c->prefix, prefix.p, prefix.n);
	rc = mdb_cursor_open(t->t, t->d->dbi[tab], &c->c);
	if (rc != 0) {
		mem_free(c);
		return db_err(rc);
	}
	*out = c;
	return ERR_OK;
}

void
db_cur_close(struct db_cur *c)
{
	if (c == NULL)
		return;
	mdb_cursor_close(c->c);
	mem_free(c);
}

static enum err
cur_take(struct db_cur *c, const MDB_val *mk, const MDB_val *mv,
    struct slice *k, struct slice *v)
{
	struct slice key = slice_of(mk->mv_data, mk->mv_size);

	c->placed = true;
	if (key.n < c->prefix_n ||
	    (c->prefix_n > 0 && memcmp(key.p, c->prefix, c->prefix_n) != 0))
		return ERR_NOTFOUND;
	*k = key;
	return db_value_open(key, mv, v);
}

enum err
db_cur_seek(
    struct db_cur *c, struct slice key, struct slice *k, struct slice *v)
{
	struct slice prefix = slice_of(c->prefix, c->prefix_n);
	uint8_t copy[DB_KEY_MAX];
	MDB_val mk, mv;
	int rc;

	if (key.n > DB_KEY_MAX)
		return ERR_LIMIT;
	if (slice_cmp(key, prefix) < 0)
		key = prefix;
	if (key.n > 0)
		memcpy(copy, key.p, key.n);
	mk.mv_data = copy;
	mk.mv_size = key.n;
	rc = mdb_cursor_get(
	    c->c, &mk, &mv, key.n > 0 ? MDB_SET_RANGE : MDB_FIRST);
	if (rc != 0)
		return db_err(rc);
	return cur_take(c, &mk, &mv, k, v);
}

enum err
db_cur_next(struct db_cur *c, struct slice *k, struct slice *v)
{
	MDB_val mk, mv;
	int rc;

	if (!c->placed)
		return db_cur_seek(c, slice_of(c->prefix, c->prefix_n), k, v);
	rc = mdb_cursor_get(c->c, &mk, &mv, MDB_NEXT);
	if (rc != 0)
		return db_err(rc);
	return cur_take(c, &mk, &mv, k, v);
}

/* The smallest key above every key with the prefix; false: there is none. */
static bool
prefix_after(const struct db_cur *c, uint8_t *out, size_t *n)
{
	size_t i = c->prefix_n;

	while (i > 0 && c->prefix[i - 1] == 0xff)
		i--;
	if (i == 0)
		return false;
	memcpy(out, c->prefix, i);
	out[i - 1]++;
	*n = i;
	return true;
}

enum err
db_cur_last(struct db_cur *c, struct slice *k, struct slice *v)
{
	uint8_t after[DB_KEY_MAX];
	MDB_val mk, mv;
	size_t n;
	int rc = MDB_NOTFOUND;

	if (prefix_after(c, after, &n)) {
		mk.mv_data = after;
		mk.mv_size = n;
		rc = mdb_cursor_get(c->c, &mk, &mv, MDB_SET_RANGE);
		if (rc == 0)
			rc = mdb_cursor_get(c->c, &mk, &mv, MDB_PREV);
		else if (rc == MDB_NOTFOUND)
			rc = mdb_cursor_get(c->c, &mk, &mv, MDB_LAST);
	} else {
		rc = mdb_cursor_get(c->c, &mk, &mv, MDB_LAST);
	}
	if (rc != 0)
		return db_err(rc);
	return cur_take(c, &mk, &mv, k, v);
}
