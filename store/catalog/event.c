/* store/catalog/event.c: what happened, in order, and how far each consumer
 * has come.  Events and what they tell of are in one transaction. */
#include "store/catalog/catalog_internal.h"

#define EVENT_FORMAT 1u

static void
event_text(struct buf *b, const char *s, size_t cap)
{
	size_t n = strnlen(s, cap - 1);

	buf_u8(b, (uint8_t)n);
	buf_put(b, s, n);
}

static void
event_text_read(struct rd *r, char *out, size_t cap)
{
	struct slice s = rd_bytes(r, rd_u8(r));

	if (s.n >= cap) {
		rd_fail(r, ERR_LIMIT);
		s.n = 0;
	}
	if (s.n > 0)
		memcpy(out, s.p, s.n);
	out[s.n] = '\0';
}

enum err
cat_event_append(struct store_txn *t, const struct cat_event *ev)
{
	struct db_txn *db = store_txn_db(t);
	struct buf b = BUF_MAX(512);
	struct key k = { 0 };
	uint64_t last;
	enum err e = key_last_be64(db, DB_EVENT, &last);

	if (e != ERR_OK)
		return e;
	key_be64(&k, last + 1);
	buf_u8(&b, EVENT_FORMAT);
	buf_u8(&b, ev->has_asset ? 1 : 0);
	buf_u64(&b, ev->wall_ms);
	event_text(&b, ev->type, sizeof(ev->type));
	buf_put(&b, ev->asset.b, sizeof(ev->asset.b));
	buf_put(&b, ev->share.b, sizeof(ev->share.b));
	buf_u16(&b, ev->compartment);
	buf_u64(&b, ev->lseq);
	event_text(&b, ev->detail, sizeof(ev->detail));
	return key_store_last(db, DB_EVENT, &k, &b);
}

static enum err
event_read(struct slice k, struct slice v, struct cat_event *out)
{
	struct rd rk = rd_init(k), r = rd_init(v);
	uint8_t format;

	memset(out, 0, sizeof(*out));
	out->no = rd_be64(&rk);
	format = rd_u8(&r);
	out->has_asset = rd_u8(&r) != 0;
	out->wall_ms = rd_u64(&r);
	event_text_read(&r, out->type, sizeof(out->type));
	rd_copy(&r, out->asset.b, sizeof(out->asset.b));
	rd_copy(&r, out->share.b, sizeof(out->share.b));
	out->compartment = rd_u16(&r);
	out->lseq = rd_u64(&r);
	event_text_read(&r, out->detail, sizeof(out->detail));
	if (format != EVENT_FORMAT || rd_end(&rk) != ERR_OK)
		return ERR_CORRUPT;
	return key_decoded(&r);
}

enum err
cat_events_each(struct db_txn *t, uint64_t after, cat_event_fn fn, void *ctx)
{
	struct db_cur *c = NULL;
	struct key from = { 0 };
	struct cat_event ev;
	struct slice k, v;
	enum err e;
	int stop = 0;

	if (after == UINT64_MAX)
		return ERR_OK;
	key_be64(&from, after + 1);
	e = db_cur_open(t, DB_EVENT, (struct slice){ 0 }, &c);
	if (e != ERR_OK)
		return e;
	e = db_cur_seek(c, key_slice(&from), &k, &v);
	while (e == ERR_OK && stop == 0) {
		e = event_read(k, v, &ev);
		if (e == ERR_OK)
			stop = fn(ctx, &ev);
		if (e == ERR_OK && stop == 0)
			e = db_cur_next(c, &k, &v);
	}
	db_cur_close(c);
	if (stop < 0)
		return (enum err)stop;
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

/* --- cursors --- */

enum err
cat_cursor_get(struct db_txn *t, const char *consumer, uint64_t *event)
{
	struct slice v;
	struct rd r;
	enum err e = db_get(t, DB_CURSOR, slice_str(consumer), &v);

	if (e == ERR_NOTFOUND) {
		*event = 0;
		return ERR_OK;
	}
	if (e != ERR_OK)
		return e;
	r = rd_init(v);
	*event = rd_u64(&r);
	return key_decoded(&r);
}

enum err
cat_cursor_put(struct store_txn *t, const char *consumer, uint64_t event)
{
	struct buf b = BUF_MAX(8);
	struct key k = { 0 };
	size_t n = strlen(consumer);

	if (n == 0 || n > DB_KEY_MAX)
		return ERR_LIMIT;
	key_put(&k, consumer, n);
	buf_u64(&b, event);
	return key_store(store_txn_db(t), DB_CURSOR, &k, &b);
}
