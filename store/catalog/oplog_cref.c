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

#define CREF_MISSING 1u
#define CREF_GIVEN 2u
#define CREF_ASIDE 4u

enum err
cref_read(struct slice key, struct slice value, struct cref *out)
{
	struct rd r = rd_init(key);

	out->chunk = rd_be64(&r);
	out->share = rd_be32(&r);
	out->compartment = key_rd_be16(&r);
	out->lseq = rd_be64(&r);
	if (value.n != 1)
		return ERR_CORRUPT;
	out->missing = (value.p[0] & CREF_MISSING) != 0;
	out->given = (value.p[0] & CREF_GIVEN) != 0;
	out->aside = (value.p[0] & CREF_ASIDE) != 0;
	return key_decoded(&r);
}

enum err
cref_get(struct db_txn *t, struct cref *c)
{
	struct key k;
	struct slice v;
	enum err e;

	cref_key(c, &k);
	e = db_get(t, DB_CREF, key_slice(&k), &v);
	if (e != ERR_OK)
		return e == ERR_NOTFOUND ? ERR_CORRUPT : e;
	return cref_read(key_slice(&k), v, c);
}

enum err
cref_set(struct db_txn *t, const struct cref *c)
{
	uint8_t v = (uint8_t)((c->missing ? CREF_MISSING : 0) |
			      (c->given ? CREF_GIVEN : 0) |
			      (c->aside ? CREF_ASIDE : 0));
	struct key k;

	cref_key(c, &k);
	return db_put(t, DB_CREF, key_slice(&k), slice_of(&v, 1));
}

static int
first_note(void *ctx, struct slice k, struct slice v)
{
	enum err e = cref_read(k, v, ctx);

	return e != ERR_OK ? (int)e : 1;
}

enum err
cref_first(struct db_txn *t, struct cref *c)
{
	struct key k = cref_prefix_in(c->chunk, c->share, c->compartment);
	struct cref first = { .lseq = 0 };
	enum err e = key_walk(t, DB_CREF, key_slice(&k), first_note, &first);

	c->given = first.given;
	if (e == ERR_OK && first.lseq == 0)
		return ERR_NOTFOUND;
	return e;
}

enum err
cref_given(struct db_txn *t, uint64_t chunk, uint32_t share,
    uint16_t compartment, bool *given)
{
	struct cref c = {
		.chunk = chunk, .share = share, .compartment = compartment
	};
	enum err e = cref_first(t, &c);

	*given = c.given;
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

/* --- giving --- */

#define GIVE_BATCH 64u

struct giving {
	struct cref c[GIVE_BATCH];
	uint32_t n;
};

static int
giving_note(void *ctx, struct slice k, struct slice v)
{
	struct giving *g = ctx;
	enum err e = cref_read(k, v, &g->c[g->n]);

	if (e != ERR_OK)
		return e;
	g->n += !g->c[g->n].given;
	return g->n == GIVE_BATCH;
}

enum err
cref_give(
    struct store_txn *t, uint64_t chunk, uint32_t share, uint16_t compartment)
{
	struct db_txn *db = store_txn_db(t);
	struct key k = cref_prefix_in(chunk, share, compartment);
	struct giving g;
	uint32_t i;
	enum err e;

	do {
		g.n = 0;
		e = key_walk(db, DB_CREF, key_slice(&k), giving_note, &g);
		for (i = 0; e == ERR_OK && i < g.n; i++) {
			g.c[i].given = true;
			e = cref_set(db, &g.c[i]);
		}
	} while (e == ERR_OK && g.n == GIVE_BATCH);
	if (e == ERR_OK)
		e = cref_alien_del(t, chunk, share, compartment);
	return e;
}

/* --- rows: here, named in a compartment, and not given there --- */

#define TAG_ALIEN "notgiven"

static enum err
alien_key(struct db_txn *t, uint64_t chunk, uint32_t share,
    uint16_t compartment, struct key *out)
{
	struct cry_id cid, share_id;
	bool here;
	enum err e = blob_chunk_numbered(t, chunk, &cid, &here);

	if (e == ERR_OK)
		e = oplog_share_id(t, share, &share_id);
	if (e != ERR_OK)
		return e == ERR_NOTFOUND ? ERR_CORRUPT : e;
	*out = (struct key){ 0 };
	key_put(out, cid.b, 16);
	key_put(out, share_id.b, sizeof(share_id.b));
	key_be16(out, compartment);
	return ERR_OK;
}

enum err
cref_alien(struct db_txn *t, uint64_t chunk, uint32_t share,
    uint16_t compartment, bool *yes)
{
	struct key k;
	enum err e = alien_key(t, chunk, share, compartment, &k);

	if (e == ERR_OK)
		e = store_row_there(t, TAG_ALIEN, key_slice(&k));
	*yes = e == ERR_OK;
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

enum err
cref_alien_put(
    struct store_txn *t, uint64_t chunk, uint32_t share, uint16_t compartment)
{
	static const uint8_t format = 1;
	struct db_txn *db = store_txn_db(t);
	struct key k;
	enum err e = alien_key(db, chunk, share, compartment, &k);

	if (e == ERR_OK)
		e = store_row_there(db, TAG_ALIEN, key_slice(&k));
	if (e != ERR_NOTFOUND)
		return e;
	return store_row_put(t, TAG_ALIEN, key_slice(&k), slice_of(&format, 1));
}

enum err
cref_alien_del(
    struct store_txn *t, uint64_t chunk, uint32_t share, uint16_t compartment)
{
	struct key k;
	enum err e = alien_key(store_txn_db(t), chunk, share, compartment, &k);

	if (e == ERR_OK)
		e = store_row_del(t, TAG_ALIEN, key_slice(&k));
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

struct aliens {
	struct cref c[GIVE_BATCH]; /* one for each compartment */
	uint32_t n;
	struct cref last; /* of the batch before; share 0: none */
};

/* In the order of keys. */
static bool
alien_seen(const struct cref *c, const struct cref *last)
{
	return c->share < last->share ||
	       (c->share == last->share && c->compartment <= last->compartment);
}

static int
aliens_note(void *ctx, struct slice k, struct slice v)
{
	struct aliens *a = ctx;
	struct cref c;
	enum err e = cref_read(k, v, &c);

	if (e != ERR_OK)
		return e;
	if (c.given || alien_seen(&c, a->n > 0 ? &a->c[a->n - 1] : &a->last))
		return 0;
	a->c[a->n++] = c;
	return a->n == GIVE_BATCH;
}

enum err
oplog_chunk_came(struct store_txn *t, uint64_t chunk)
{
	struct key k = cref_prefix(chunk);
	struct aliens a = { .n = 0 };
	uint32_t i;
	enum err e;

	do {
		a.n = 0;
		e = key_walk(
		    store_txn_db(t), DB_CREF, key_slice(&k), aliens_note, &a);
		for (i = 0; e == ERR_OK && i < a.n; i++)
			e = cref_alien_put(
			    t, chunk, a.c[i].share, a.c[i].compartment);
		if (a.n > 0)
			a.last = a.c[a.n - 1];
	} while (e == ERR_OK && a.n == GIVE_BATCH);
	return e;
}

/* --- wants --- */

enum err
oplog_want_put(struct db_txn *t, const struct cref *c, uint32_t c_len)
{
	struct key k = cref_prefix_in(c->chunk, c->share, c->compartment);
	struct buf v = BUF_MAX(4);

	buf_u32(&v, c_len);
	return key_store(t, DB_WANT, &k, &v);
}
