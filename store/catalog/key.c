/* store/catalog/key.c: building keys and walking tables.
 *
 * Keys are built in a fixed array: their parts are ours and bounded, so an
 * overflow is a programmer's error.  Every decode failure of a stored row is
 * ERR_CORRUPT: it passed its checksum, so it was written wrong. */
#include "store/catalog/catalog_internal.h"

void
key_put(struct key *k, const void *p, size_t n)
{
	REQUIRE(n <= sizeof(k->b) - k->n);
	if (n > 0)
		memcpy(k->b + k->n, p, n);
	k->n += n;
}

void
key_u8(struct key *k, uint8_t v)
{
	key_put(k, &v, 1);
}

void
key_be16(struct key *k, uint16_t v)
{
	uint8_t b[2] = { (uint8_t)(v >> 8), (uint8_t)v };

	key_put(k, b, sizeof(b));
}

void
key_be32(struct key *k, uint32_t v)
{
	key_be16(k, (uint16_t)(v >> 16));
	key_be16(k, (uint16_t)v);
}

void
key_be64(struct key *k, uint64_t v)
{
	key_be32(k, (uint32_t)(v >> 32));
	key_be32(k, (uint32_t)v);
}

uint16_t
key_rd_be16(struct rd *r)
{
	uint8_t hi = rd_u8(r);
	uint8_t lo = rd_u8(r);

	return (uint16_t)(hi << 8 | lo);
}

enum err
key_walk(struct db_txn *t, enum db_table tab, struct slice prefix,
    key_walk_fn fn, void *ctx)
{
	struct db_cur *c = NULL;
	struct slice k, v;
	enum err e = db_cur_open(t, tab, prefix, &c);
	int stop = 0;

	if (e != ERR_OK)
		return e;
	e = db_cur_seek(c, prefix, &k, &v);
	while (e == ERR_OK && stop == 0) {
		stop = fn(ctx, k, v);
		if (stop == 0)
			e = db_cur_next(c, &k, &v);
	}
	db_cur_close(c);
	if (stop < 0)
		return (enum err)stop;
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

enum err
key_first(struct db_txn *t, enum db_table tab, struct slice prefix,
    const struct key *from, struct key *out)
{
	struct db_cur *c = NULL;
	struct slice k, v;
	enum err e = db_cur_open(t, tab, prefix, &c);

	if (e != ERR_OK)
		return e;
	e = db_cur_seek(c, from != NULL ? key_slice(from) : prefix, &k, &v);
	if (e == ERR_OK) {
		out->n = 0;
		key_put(out, k.p, k.n);
	}
	db_cur_close(c);
	return e;
}

static enum err
last_key(
    struct db_txn *t, enum db_table tab, struct slice prefix, struct key *out)
{
	struct db_cur *c = NULL;
	struct slice k, v;
	enum err e = db_cur_open(t, tab, prefix, &c);

	if (e != ERR_OK)
		return e;
	e = db_cur_last(c, &k, &v);
	if (e == ERR_OK) {
		out->n = 0;
		key_put(out, k.p, k.n);
	}
	db_cur_close(c);
	return e;
}

enum err
key_last_be64(struct db_txn *t, enum db_table tab, uint64_t *out)
{
	struct key k = { 0 };
	struct rd r;
	enum err e = last_key(t, tab, (struct slice){ 0 }, &k);

	if (e == ERR_NOTFOUND) {
		*out = 0;
		return ERR_OK;
	}
	if (e != ERR_OK)
		return e;
	r = rd_init(key_slice(&k));
	*out = rd_be64(&r);
	return key_decoded(&r);
}

enum err
key_last_be32(
    struct db_txn *t, enum db_table tab, struct slice prefix, uint32_t *out)
{
	struct key k = { 0 };
	struct rd r;
	enum err e = last_key(t, tab, prefix, &k);

	if (e == ERR_NOTFOUND) {
		*out = 0;
		return ERR_OK;
	}
	if (e != ERR_OK)
		return e;
	r = rd_init(key_slice(&k));
	(void)rd_bytes(&r, prefix.n);
	*out = rd_be32(&r);
	return key_decoded(&r);
}

enum err
key_there(struct db_txn *t, enum db_table tab, const struct key *k, bool *there)
{
	struct slice v;
	enum err e = db_get(t, tab, key_slice(k), &v);

	*there = e == ERR_OK;
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

static enum err
store_buf(struct db_txn *t, enum db_table tab, const struct key *k,
    struct buf *value, bool last)
{
	enum err e = buf_err(value);

	if (e == ERR_OK && last)
		e = db_append(t, tab, key_slice(k), buf_slice(value));
	else if (e == ERR_OK)
		e = db_put(t, tab, key_slice(k), buf_slice(value));
	buf_fini(value);
	return e;
}

enum err
key_store(
    struct db_txn *t, enum db_table tab, const struct key *k, struct buf *value)
{
	return store_buf(t, tab, k, value, false);
}

enum err
key_store_last(
    struct db_txn *t, enum db_table tab, const struct key *k, struct buf *value)
{
	return store_buf(t, tab, k, value, true);
}
