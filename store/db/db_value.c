/* store/db/db_value.c: reading and changing single values.
 *
 * A value is stored as CRC-32C(key, value) and the value, so that a page that
 * rotted, or one that belongs elsewhere, is noticed by the reader: LMDB has
 * no checksums of its own. */
#include "store/db/db_internal.h"

static uint32_t
value_crc(struct slice key, struct slice val)
{
	return crc32c(crc32c(0, key), val);
}

enum err
db_value_open(struct slice key, const MDB_val *stored, struct slice *val)
{
	const uint8_t *p = stored->mv_data;
	struct slice v;
	uint32_t crc;

	if (stored->mv_size < DB_CRC_BYTES)
		return ERR_CORRUPT;
	crc = (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
	      (uint32_t)p[3] << 24;
	v = slice_of(p + DB_CRC_BYTES, stored->mv_size - DB_CRC_BYTES);
	if (crc != value_crc(key, v))
		return ERR_CORRUPT;
	*val = v;
	return ERR_OK;
}

static bool
key_fits(struct slice key)
{
	return key.n >= 1 && key.n <= DB_KEY_MAX;
}

/* LMDB takes keys as void *, though it does not change them. */
static MDB_val
val_of(struct slice s)
{
	MDB_val v;

	v.mv_size = s.n;
	memcpy(&v.mv_data, &s.p, sizeof(v.mv_data));
	return v;
}

enum err
db_get(struct db_txn *t, enum db_table tab, struct slice key, struct slice *val)
{
	MDB_val k = val_of(key), v;
	int rc;

	if (!key_fits(key))
		return ERR_LIMIT;
	rc = mdb_get(t->t, t->d->dbi[tab], &k, &v);
	if (rc != 0)
		return db_err(rc);
	return db_value_open(key, &v, val);
}

static enum err
change_reserve(struct db *d)
{
	return d->ending ? ERR_OK : db_space_reserve(d, d->cost + DB_SLACK);
}

static enum err
put(struct db_txn *t, enum db_table tab, struct slice key, struct slice val,
    unsigned flags)
{
	uint8_t stored[DB_CRC_BYTES + DB_VALUE_MAX];
	MDB_val k = val_of(key), v;
	uint32_t crc;
	enum err e;
	size_t i;

	REQUIRE(t->write);
	if (!key_fits(key) || val.n > DB_VALUE_MAX)
		return ERR_LIMIT;
	t->d->cost += flags == MDB_APPEND ? DB_COST_APPEND + 2 * (key.n + val.n)
					  : DB_COST_RANDOM;
	e = change_reserve(t->d);
	if (e != ERR_OK)
		return e;
	crc = value_crc(key, val);
	for (i = 0; i < DB_CRC_BYTES; i++)
		stored[i] = (uint8_t)(crc >> (8 * i));
	if (val.n > 0)
		memcpy(stored + DB_CRC_BYTES, val.p, val.n);
	v.mv_data = stored;
	v.mv_size = DB_CRC_BYTES + val.n;
	return db_err(mdb_put(t->t, t->d->dbi[tab], &k, &v, flags));
}

enum err
db_put(struct db_txn *t, enum db_table tab, struct slice key, struct slice val)
{
	return put(t, tab, key, val, 0);
}

enum err
db_append(
    struct db_txn *t, enum db_table tab, struct slice key, struct slice val)
{
	return put(t, tab, key, val, MDB_APPEND);
}

enum err
db_del(struct db_txn *t, enum db_table tab, struct slice key)
{
	MDB_val k = val_of(key);
	enum err e;

	REQUIRE(t->write);
	if (!key_fits(key))
		return ERR_LIMIT;
	t->d->cost += DB_COST_RANDOM;
	e = change_reserve(t->d);
	if (e != ERR_OK)
		return e;
	return db_err(mdb_del(t->t, t->d->dbi[tab], &k, NULL));
}

enum err
db_count(struct db_txn *t, enum db_table tab, uint64_t *out)
{
	MDB_stat st;
	int rc = mdb_stat(t->t, t->d->dbi[tab], &st);

	if (rc != 0)
		return db_err(rc);
	*out = st.ms_entries;
	return ERR_OK;
}
