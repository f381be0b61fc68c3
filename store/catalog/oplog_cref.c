/* store/catalog/oplog_cref.c: rows of CREF and WANT.
 *
 * Both begin with the chunk's number, which is given when an op first names
 * the chunk: what an op adds lies together, in few pages, and in the order in
 * which ops came.  The prefixes of a CREF key answer which ops name a chunk,
 * and which of a compartment's do. */
#include "store/catalog/catalog_internal.h"

struct key
cref_prefix(uint64_t chunk)
{
	struct key k = { 0 };

	key_be64(&k, chunk);
	return k;
}

struct key
cref_prefix_in(uint64_t chunk, uint32_t share, uint16_t compartment)
{
	struct key k = cref_prefix(chunk);

	key_be32(&k, share);
	key_be16(&k, compartment);
	return k;
}

void
cref_key(const struct cref *c, struct key *out)
{
	*out = cref_prefix_in(c->chunk, c->share, c->compartment);
	key_be64(out, c->lseq);
}

enum err
cref_read(struct slice key, struct slice value, struct cref *out, bool *missing)
{
	struct rd r = rd_init(key);

	out->chunk = rd_be64(&r);
	out->share = rd_be32(&r);
	out->compartment = key_rd_be16(&r);
	out->lseq = rd_be64(&r);
	if (value.n != 1)
		return ERR_CORRUPT;
	*missing = value.p[0] != 0;
	return key_decoded(&r);
}

enum err
cref_missing(struct db_txn *t, const struct cref *c, bool *missing)
{
	struct key k;
	struct slice v;
	enum err e;

	cref_key(c, &k);
	e = db_get(t, DB_CREF, key_slice(&k), &v);
	*missing = e == ERR_OK && v.n == 1 && v.p[0] != 0;
	return e == ERR_NOTFOUND ? ERR_CORRUPT : e;
}

enum err
cref_set(struct db_txn *t, const struct cref *c, bool missing)
{
	uint8_t v = missing ? 1 : 0;
	struct key k;

	cref_key(c, &k);
	return db_put(t, DB_CREF, key_slice(&k), slice_of(&v, 1));
}

enum err
oplog_want_put(struct db_txn *t, const struct cref *c, uint32_t c_len)
{
	struct key k = cref_prefix_in(c->chunk, c->share, c->compartment);
	struct buf v = BUF_MAX(4);

	buf_u32(&v, c_len);
	return key_store(t, DB_WANT, &k, &v);
}
