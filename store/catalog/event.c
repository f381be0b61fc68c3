/* store/catalog/event.c: what happened, in order, and how far each consumer
 * has come.  Events and what they tell of are in one transaction.
 *
 * Both are local rows ("event", "cursor"), so they are in the log: a rebuilt
 * index has the same events under the same numbers and the same cursors, and
 * nothing is done twice or forgotten.  Applying ops again, as a rebuild does,
 * tells only what cat_told says was never told. */
#include "store/base/enc.h"
#include "store/catalog/catalog_internal.h"

#define EVENT_FORMAT 1u
#define EVENT_TAG "event"
#define CURSOR_TAG "cursor"
#define CURSOR_NAME_MAX 48u

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

static enum err
event_last(struct db_txn *t, uint64_t *no)
{
	struct buf key = BUF_MAX(DB_KEY_MAX);
	enum err e = store_row_last(t, EVENT_TAG, &key);

	*no = 0;
	if (e == ERR_OK && key.n != 8)
		e = ERR_CORRUPT;
	if (e == ERR_OK)
		*no = dec_be64(key.p);
	buf_fini(&key);
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

enum err
cat_event_append(struct store_txn *t, const struct cat_event *ev)
{
	struct buf b = BUF_MAX(512);
	uint8_t key[8];
	uint64_t last;
	enum err e = event_last(store_txn_db(t), &last);

	if (e != ERR_OK)
		return e;
	enc_be64(last + 1, key);
	buf_u8(&b, EVENT_FORMAT);
	buf_u8(&b, ev->has_asset ? 1 : 0);
	buf_u64(&b, ev->wall_ms);
	event_text(&b, ev->type, sizeof(ev->type));
	buf_put(&b, ev->asset.b, sizeof(ev->asset.b));
	buf_put(&b, ev->share.b, sizeof(ev->share.b));
	buf_u16(&b, ev->compartment);
	buf_put(&b, ev->op.b, sizeof(ev->op.b));
	event_text(&b, ev->detail, sizeof(ev->detail));
	e = buf_err(&b);
	if (e == ERR_OK)
		e = store_row_put(
		    t, EVENT_TAG, slice_of(key, sizeof(key)), buf_slice(&b));
	buf_fini(&b);
	return e;
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
	rd_copy(&r, out->op.b, sizeof(out->op.b));
	event_text_read(&r, out->detail, sizeof(out->detail));
	if (format != EVENT_FORMAT || rd_end(&rk) != ERR_OK)
		return ERR_CORRUPT;
	return key_decoded(&r);
}

struct event_walk {
	cat_event_fn fn;
	void *ctx;
};

static int
event_visit(void *ctx, struct slice key, struct slice value)
{
	struct event_walk *w = ctx;
	struct cat_event ev;
	enum err e = event_read(key, value, &ev);

	return e != ERR_OK ? (int)e : w->fn(w->ctx, &ev);
}

enum err
cat_events_each(struct store *s, struct db_txn *t, uint64_t after,
    cat_event_fn fn, void *ctx)
{
	struct event_walk w = { fn, ctx };
	uint8_t from[8];

	if (after == UINT64_MAX)
		return ERR_OK;
	enc_be64(after + 1, from);
	return store_row_from(
	    s, t, EVENT_TAG, slice_of(from, sizeof(from)), event_visit, &w);
}

/* --- cursors --- */

enum err
cat_cursor_get(
    struct store *s, struct db_txn *t, const char *consumer, uint64_t *event)
{
	struct buf b = BUF_MAX(8);
	enum err e = store_row_get(s, t, CURSOR_TAG, slice_str(consumer), &b);

	if (e == ERR_OK && b.n != 8)
		e = ERR_CORRUPT;
	if (e == ERR_OK)
		*event = dec_be64(b.p);
	else if (e == ERR_NOTFOUND)
		*event = 0;
	buf_fini(&b);
	return e == ERR_NOTFOUND ? ERR_OK : e;
}

enum err
cat_cursor_put(struct store_txn *t, const char *consumer, uint64_t event)
{
	uint8_t v[8];
	size_t n = strlen(consumer);

	if (n == 0 || n > CURSOR_NAME_MAX)
		return ERR_LIMIT;
	enc_be64(event, v);
	return store_row_put(
	    t, CURSOR_TAG, slice_of(consumer, n), slice_of(v, sizeof(v)));
}

/* --- told before --- */

struct told_mark {
	uint8_t b[16];
};

struct cat_told {
	struct told_mark *v; /* sorted once it is loaded */
	size_t n, cap;
};

static void
told_mark(const char *type, const struct cry_id *op, struct told_mark *out)
{
	struct slice parts[2] = { slice_str(type),
		slice_of(op->b, sizeof(op->b)) };

	cry_hash_parts(NULL, "psc.told.1", parts, 2, out->b, sizeof(out->b));
}

static int
told_cmp(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct told_mark));
}

static int
told_note(void *ctx, const struct cat_event *ev)
{
	static const struct cry_id none;
	struct cat_told *x = ctx;
	struct told_mark *v;

	if (memcmp(&ev->op, &none, sizeof(none)) == 0)
		return 0;
	if (x->n == x->cap) {
		size_t cap = x->cap == 0 ? 256 : x->cap * 2;

		v = mem_grow(x->v, cap, sizeof(*v));
		if (v == NULL)
			return ERR_NOMEM;
		x->v = v;
		x->cap = cap;
	}
	told_mark(ev->type, &ev->op, &x->v[x->n++]);
	return 0;
}

enum err
cat_told_load(struct store *s, struct db_txn *t, struct cat_told **out)
{
	struct cat_told *x = mem_new(sizeof(*x));
	enum err e;

	if (x == NULL)
		return ERR_NOMEM;
	e = cat_events_each(s, t, 0, told_note, x);
	if (e != ERR_OK) {
		cat_told_free(x);
		return e;
	}
	if (x->n > 1)
		qsort(x->v, x->n, sizeof(*x->v), told_cmp);
	*out = x;
	return ERR_OK;
}

bool
cat_told_has(
    const struct cat_told *x, const char *type, const struct cry_id *op)
{
	struct told_mark m;

	if (x == NULL || x->n == 0)
		return false;
	told_mark(type, op, &m);
	return bsearch(&m, x->v, x->n, sizeof(m), told_cmp) != NULL;
}

void
cat_told_free(struct cat_told *x)
{
	if (x == NULL)
		return;
	mem_free(x->v);
	mem_free(x);
}
