/* node/ingest/held.c: what is here already, found without looking into it.
 *
 * Two tables of the index, both keyed by hashes that only this node can make,
 * so that they say nothing about a patient or a path to who has the disk.
 * HELD follows the vault's rows in their own transactions, and is made out of
 * them again when the index was lost.  FILE is a memory aid: a file whose
 * inode, size and times are the ones noted was not written since. */
#include <sys/stat.h>
#include <time.h>

#include "node/ingest/ingest_internal.h"
#include "store/base/enc.h"
#include "store/base/mem.h"

#define HELD_BYTES 17u
/* Versions of one image that are told apart; the oldest is forgotten. */
#define HELD_MAX 64u
#define FILE_BYTES 21u
/* Clocks of file systems tick in steps of up to two seconds (FAT). */
#define SETTLED_S 2
#define ITEM_MAX (((uint64_t)1 << 40) - 1)

static void
item_put(uint8_t out[5], uint64_t no)
{
	uint8_t b[8];

	enc_be64(no & ITEM_MAX, b);
	memcpy(out, b + 3, 5);
}

static uint64_t
item_get(const uint8_t in[5])
{
	uint8_t b[8] = { 0 };

	memcpy(b + 3, in, 5);
	return dec_be64(b);
}

/* --- images --- */

void
held_hash_of(const struct ingest *g, const struct key16 *name,
    const struct cry_id *original, struct held_hash *out)
{
	struct slice parts[2] = { slice_of(name->b, 16),
		slice_of(original->b, 32) };
	struct key16 k;

	key16_of(g, "psc.seen.1", parts, 2, &k);
	memcpy(out->b, k.b, sizeof(out->b));
}

static enum err
held_row(struct db_txn *t, const struct key16 *name, struct slice *out)
{
	enum err e = db_get(t, DB_HELD, slice_of(name->b, 16), out);

	if (e == ERR_OK && (out->n == 0 || out->n % HELD_BYTES != 0))
		return ERR_CORRUPT;
	return e;
}

void
held_name(const struct ingest *g, const struct sink *k, struct slice sop,
    struct key16 *out)
{
	uint8_t comp[2] = { (uint8_t)(k->compartment >> 8),
		(uint8_t)k->compartment };
	/* What is kept as it is never counts as the de-identified form. */
	struct slice parts[4] = { slice_of(k->share.b, 32), slice_of(comp, 2),
		slice_str(k->no_deid ? "identified" : ""), sop };

	key16_of(g, "psc.sop.1", parts, 4, out);
}

enum err
held_live(
    struct store *s, struct db_txn *t, const struct key16 *name, bool *live)
{
	struct q_item q;
	struct slice v;
	size_t at;
	enum err e = held_row(t, name, &v);

	*live = false;
	if (e == ERR_NOTFOUND)
		return ERR_OK;
	for (at = 0; e == ERR_OK && !*live && at < v.n; at += HELD_BYTES) {
		e = q_get(
		    s, t, item_get(v.p + at + sizeof(struct held_hash)), &q);
		*live = e == ERR_OK && strcmp(q.state, "rejected") != 0;
		if (e == ERR_NOTFOUND)
			e = ERR_OK;
	}
	return e;
}

bool
held_any(struct db_txn *t, const struct key16 *name)
{
	struct slice v;

	return held_row(t, name, &v) != ERR_NOTFOUND;
}

enum err
held_find(struct store *s, struct db_txn *t, const struct key16 *name,
    const struct held_hash *h, uint64_t *item, bool *other)
{
	struct q_item q;
	struct slice v;
	size_t at;
	enum err e = held_row(t, name, &v);

	*other = false;
	if (e != ERR_OK)
		return e;
	*other = memcmp(v.p + v.n - HELD_BYTES, h->b, sizeof(h->b)) != 0;
	for (at = v.n; at > 0; at -= HELD_BYTES) {
		const uint8_t *p = v.p + at - HELD_BYTES;

		if (memcmp(p, h->b, sizeof(h->b)) != 0)
			continue;
		*item = item_get(p + sizeof(h->b));
		e = q_get(s, t, *item, &q);
		/* An item that this very job opens has no row of its own. */
		if (e == ERR_NOTFOUND)
			return ERR_OK;
		if (e != ERR_OK || strcmp(q.state, "rejected") != 0)
			return e;
	}
	return ERR_NOTFOUND;
}

enum err
held_put(struct store_txn *t, const struct key16 *name,
    const struct held_hash *h, uint64_t item)
{
	struct db_txn *db = store_txn_db(t);
	uint8_t row[HELD_MAX * HELD_BYTES];
	struct slice v = { 0 };
	size_t n = 0;
	enum err e = held_row(db, name, &v);

	if (e != ERR_OK && e != ERR_NOTFOUND)
		return e;
	if (e == ERR_OK) {
		size_t keep = (size_t)(HELD_MAX - 1) * HELD_BYTES;

		n = v.n < keep ? v.n : keep;
		memcpy(row, v.p + v.n - n, n);
	}
	memcpy(row + n, h->b, sizeof(h->b));
	item_put(row + n + sizeof(h->b), item);
	return db_put(
	    db, DB_HELD, slice_of(name->b, 16), slice_of(row, n + HELD_BYTES));
}

struct restore {
	struct ingest *g;
	struct store_txn *t;
};

static int
restore_page(void *ctx, struct slice key, struct slice value)
{
	struct restore *r = ctx;
	struct v_page p = { 0 };
	struct held_hash h;
	uint32_t i;
	enum err e = key.n == 12 ? v_page_decode(value, &p) : ERR_CORRUPT;

	for (i = 0; e == ERR_OK && i < p.n; i++) {
		held_hash_of(r->g, &p.v[i].name, &p.v[i].original_hash, &h);
		e = held_put(r->t, &p.v[i].name, &h, dec_be64(key.p));
	}
	v_page_fini(&p);
	return (int)e;
}

static enum err
restore_job(struct store_txn *t, void *ctx)
{
	struct restore r = { .g = ctx, .t = t };

	return store_row_each(store_txn_store(t), store_txn_db(t), "vi",
	    (struct slice){ 0 }, restore_page, &r);
}

static int
restore_any(void *ctx, struct slice key, struct slice value)
{
	(void)key;
	(void)value;
	*(bool *)ctx = true;
	return 1;
}

enum err
held_restore(struct ingest *g)
{
	struct store *s = g->o.store;
	bool vault = false;
	uint64_t n = 0;
	struct db_txn *t;
	enum err e = store_read(s, &t);

	if (e != ERR_OK)
		return e;
	e = db_count(t, DB_HELD, &n);
	if (e == ERR_OK && n == 0)
		e = store_row_each(
		    s, t, "vi", (struct slice){ 0 }, restore_any, &vault);
	db_abort(t);
	return e == ERR_OK && vault ? store_write(s, restore_job, g) : e;
}

/* --- files --- */

void
file_stamp_make(const struct ingest *g, const struct sink *k, const char *path,
    const struct stat *st, struct file_stamp *out)
{
	uint8_t comp[2] = { (uint8_t)(k->compartment >> 8),
		(uint8_t)k->compartment };
	struct slice parts[5] = { slice_of(k->share.b, 32), slice_of(comp, 2),
		slice_str(k->no_deid ? "identified" : k->profile),
		slice_str(k->calling_ae), slice_str(path) };
	uint64_t fact[7] = { st->st_dev, st->st_ino, (uint64_t)st->st_size,
		(uint64_t)st->st_mtim.tv_sec, (uint64_t)st->st_mtim.tv_nsec,
		(uint64_t)st->st_ctim.tv_sec, (uint64_t)st->st_ctim.tv_nsec };
	struct slice facts;
	struct timespec now;

	facts = slice_of((const uint8_t *)fact, sizeof(fact));
	key16_of(g, "psc.path.1", parts, 5, &out->path);
	key16_of(g, "psc.stat.1", &facts, 1, &out->stat);
	(void)clock_gettime(CLOCK_REALTIME, &now);
	out->settled = st->st_ctim.tv_sec < now.tv_sec - SETTLED_S &&
		       st->st_mtim.tv_sec < now.tv_sec - SETTLED_S;
}

enum err
file_known(struct db_txn *t, const struct file_stamp *f, uint64_t *item)
{
	struct slice v;
	enum err e = db_get(t, DB_FILE, slice_of(f->path.b, 16), &v);

	if (e != ERR_OK)
		return e;
	if (v.n != FILE_BYTES)
		return ERR_CORRUPT;
	*item = item_get(v.p + 16);
	return memcmp(v.p, f->stat.b, 16) == 0 ? ERR_OK : ERR_NOTFOUND;
}

enum err
file_put(struct store_txn *t, const struct file_stamp *f, uint64_t item)
{
	uint8_t row[FILE_BYTES];

	memcpy(row, f->stat.b, 16);
	item_put(row + 16, item);
	return db_put(store_txn_db(t), DB_FILE, slice_of(f->path.b, 16),
	    slice_of(row, sizeof(row)));
}
