/* store/catalog/audit.c: who did what to what and why, hash-chained.
 *
 * A row = format, wall time, hash of the row before, then four texts; it is
 * kept sealed as a local row ("audit", so it survives the loss of the
 * index).  AUDIT holds number -> hash of the row, in the same transaction
 * as the change.  An edited, missing or reordered row breaks the chain. */
#include "store/base/clock.h"
#include "store/catalog/catalog_internal.h"

#define AUDIT_FORMAT 1u
#define AUDIT_TEXT_MAX 400u

static enum err
audit_last(struct db_txn *t, uint64_t *no, struct cry_id *hash)
{
	struct key k = { 0 };
	struct slice v;
	struct rd r;
	enum err e = key_last_be64(t, DB_AUDIT, no);

	memset(hash, 0, sizeof(*hash));
	if (e != ERR_OK || *no == 0)
		return e;
	key_be64(&k, *no);
	e = db_get(t, DB_AUDIT, key_slice(&k), &v);
	if (e != ERR_OK)
		return e;
	r = rd_init(v);
	rd_copy(&r, hash->b, sizeof(hash->b));
	return key_decoded(&r);
}

static void
audit_text(struct buf *b, const char *s)
{
	size_t n = s != NULL ? strnlen(s, AUDIT_TEXT_MAX) : 0;

	buf_u16(b, (uint16_t)n);
	buf_put(b, s, n);
}

static void
audit_hash(uint64_t no, struct slice row, struct cry_id *out)
{
	uint8_t b[8];
	struct slice parts[2] = { slice_of(b, sizeof(b)), row };
	size_t i;

	for (i = 0; i < 8; i++)
		b[i] = (uint8_t)(no >> (8 * i));
	cry_hash_parts(NULL, "psc.audit.1", parts, 2, out->b, sizeof(out->b));
}

enum err
cat_audit_append(struct store_txn *t, const char *actor, const char *act,
    const char *object, const char *reason)
{
	struct db_txn *db = store_txn_db(t);
	struct buf b = BUF_MAX(4 * KIB);
	struct key k = { 0 };
	struct cry_id hash;
	uint64_t no;
	enum err e = audit_last(db, &no, &hash);

	if (e != ERR_OK)
		return e;
	key_be64(&k, no + 1);
	buf_u8(&b, AUDIT_FORMAT);
	buf_u64(&b, clock_wall_ms());
	buf_put(&b, hash.b, sizeof(hash.b));
	audit_text(&b, actor);
	audit_text(&b, act);
	audit_text(&b, object);
	audit_text(&b, reason);
	e = buf_err(&b);
	if (e == ERR_OK)
		e = store_row_put(t, "audit", key_slice(&k), buf_slice(&b));
	if (e == ERR_OK) {
		audit_hash(no + 1, buf_slice(&b), &hash);
		e = db_append(db, DB_AUDIT, key_slice(&k),
		    slice_of(hash.b, sizeof(hash.b)));
	}
	buf_fini(&b);
	return e;
}

static int
audit_restore(void *ctx, struct slice key, struct slice value)
{
	struct db_txn *db = ctx;
	struct rd r = rd_init(key);
	uint64_t no = rd_be64(&r);
	struct cry_id hash;

	if (key_decoded(&r) != ERR_OK)
		return ERR_CORRUPT;
	audit_hash(no, value, &hash);
	return db_append(db, DB_AUDIT, key, slice_of(hash.b, sizeof(hash.b)));
}

enum err
cat_audit_restore(struct store_txn *t)
{
	return store_row_each(store_txn_store(t), store_txn_db(t), "audit",
	    (struct slice){ 0 }, audit_restore, store_txn_db(t));
}

/* --- reading and checking --- */

static void
audit_text_read(struct rd *r, char *out)
{
	struct slice s = rd_bytes(r, rd_u16(r));

	if (s.n > AUDIT_TEXT_MAX) {
		rd_fail(r, ERR_LIMIT);
		s.n = 0;
	}
	if (s.n > 0)
		memcpy(out, s.p, s.n);
	out[s.n] = '\0';
}

struct audit_walk {
	struct db_txn *t;
	uint64_t next;
	struct cry_id prev;
	cat_audit_fn fn;
	void *ctx;
};

static enum err
audit_row(
    struct audit_walk *w, uint64_t no, struct slice row, struct cat_audit *out)
{
	struct key k = { 0 };
	struct cry_id prev, hash;
	struct slice v;
	struct rd r = rd_init(row);
	uint8_t format = rd_u8(&r);
	enum err e;

	out->no = no;
	out->wall_ms = rd_u64(&r);
	rd_copy(&r, prev.b, sizeof(prev.b));
	audit_text_read(&r, out->actor);
	audit_text_read(&r, out->act);
	audit_text_read(&r, out->object);
	audit_text_read(&r, out->reason);
	if (rd_end(&r) != ERR_OK || format != AUDIT_FORMAT || no != w->next ||
	    memcmp(&prev, &w->prev, sizeof(prev)) != 0)
		return ERR_CORRUPT;
	audit_hash(no, row, &hash);
	key_be64(&k, no);
	e = db_get(w->t, DB_AUDIT, key_slice(&k), &v);
	if (e == ERR_OK && !slice_eq(v, slice_of(hash.b, sizeof(hash.b))))
		e = ERR_CORRUPT;
	w->prev = hash;
	w->next++;
	return e == ERR_NOTFOUND ? ERR_CORRUPT : e;
}

static int
audit_visit(void *ctx, struct slice key, struct slice value)
{
	struct audit_walk *w = ctx;
	struct rd r = rd_init(key);
	struct cat_audit a = { 0 };
	uint64_t no = rd_be64(&r);
	enum err e = audit_row(w, no, value, &a);

	if (e != ERR_OK)
		return e;
	return w->fn != NULL ? w->fn(w->ctx, &a) : 0;
}

enum err
cat_audit_each(struct store *s, struct db_txn *t, cat_audit_fn fn, void *ctx)
{
	struct audit_walk w = { .t = t, .next = 1, .fn = fn, .ctx = ctx };
	uint64_t last;
	enum err e =
	    store_row_each(s, t, "audit", (struct slice){ 0 }, audit_visit, &w);

	if ((int)e != 0)
		return (int)e < 0 ? e : ERR_OK; /* fn stopped */
	e = key_last_be64(t, DB_AUDIT, &last);
	if (e == ERR_OK && last != w.next - 1)
		e = ERR_CORRUPT; /* rows at the end are gone */
	return e;
}
