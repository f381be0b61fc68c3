/* replication/rbsr.c: ranges and fingerprints; see rbsr.h.
 *
 * A message is a row of ranges, ascending, each {mode u8, lower bound, upper
 * bound, content}.  A bound is {length u8, the first bytes of a key; zeros
 * follow}; an upper bound of length 255 is the end of all keys.  Modes:
 * 1 fingerprint (16 bytes over the items in it), 2 items (count u8, each key
 * and value).  Ranges do not overlap.
 *
 * When an answer has reached its length, all that is left goes back as one
 * range: the other end takes it up, so no message is long and every round
 * comes further. */
#include "replication/rbsr.h"

#include "crypto/crypto.h"
#include "store/base/rd.h"

#define MODE_PRINT 1u
#define MODE_ITEMS 2u
#define BOUND_END 255u
#define PRINT_BYTES 16u
/* A range of fingerprints is never longer. */
#define PRINT_RANGE_MAX (1u + 2u * (1u + RBSR_KEY_BYTES) + PRINT_BYTES)
#define ITEM_BYTES (RBSR_KEY_BYTES + 16u)
/* A range in smaller parts, and the one for the rest. */
#define ROOM_BYTES (2u * PRINT_RANGE_MAX + 1u + RBSR_LEAF * ITEM_BYTES)

struct bound {
	uint8_t key[RBSR_KEY_BYTES];
	bool end;
};

struct range {
	struct bound lo, hi;
	uint32_t from, to; /* our items in it */
};

static int
bound_cmp(const struct bound *a, const struct bound *b)
{
	if (a->end || b->end)
		return (int)a->end - (int)b->end;
	return memcmp(a->key, b->key, sizeof(a->key));
}

/* The first of our items that is not below the bound. */
static uint32_t
lower(const struct rbsr_set *s, const struct bound *b)
{
	uint32_t lo = 0, hi = s->n;

	if (b->end)
		return s->n;
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (memcmp(s->items[mid].key, b->key, sizeof(b->key)) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static void
bound_put(const struct bound *b, struct buf *out)
{
	uint8_t n = RBSR_KEY_BYTES;

	if (b->end) {
		buf_u8(out, BOUND_END);
		return;
	}
	while (n > 0 && b->key[n - 1] == 0)
		n--;
	buf_u8(out, n);
	buf_put(out, b->key, n);
}

static void
bound_get(struct rd *r, struct bound *b)
{
	uint8_t n = rd_u8(r);

	*b = (struct bound){ .end = n == BOUND_END };
	if (b->end)
		return;
	if (n > RBSR_KEY_BYTES)
		rd_fail(r, ERR_MALFORMED);
	else
		rd_copy(r, b->key, n);
	if (r->err == ERR_OK && n > 0 && b->key[n - 1] == 0)
		rd_fail(r, ERR_MALFORMED);
}

/* The shortest bound between two neighbours. */
static struct bound
between(const struct rbsr_item *a, const struct rbsr_item *b)
{
	struct bound out = { 0 };
	size_t n = 0;

	while (a->key[n] == b->key[n])
		n++;
	memcpy(out.key, b->key, n + 1);
	return out;
}

static void
print_of(const struct rbsr_set *s, uint32_t from, uint32_t to, uint8_t *out)
{
	struct cry_hasher h;
	struct cry_id id;

	cry_hasher_init(&h);
	cry_hasher_add(&h, SLICE_LIT("psc.rbsr.1"));
	cry_hasher_add(&h, s->salt);
	if (to > from)
		cry_hasher_add(&h,
		    slice_of(s->items + from, (to - from) * sizeof(*s->items)));
	cry_hasher_end(&h, &id);
	memcpy(out, id.b, PRINT_BYTES);
}

static void
put_print(const struct rbsr_set *s, const struct range *g, struct buf *out)
{
	uint8_t print[PRINT_BYTES];

	print_of(s, g->from, g->to, print);
	buf_u8(out, MODE_PRINT);
	bound_put(&g->lo, out);
	bound_put(&g->hi, out);
	buf_put(out, print, sizeof(print));
}

static void
put_items(const struct rbsr_set *s, const struct range *g, struct buf *out)
{
	buf_u8(out, MODE_ITEMS);
	bound_put(&g->lo, out);
	bound_put(&g->hi, out);
	buf_u8(out, (uint8_t)(g->to - g->from));
	for (uint32_t i = g->from; i < g->to; i++) {
		buf_put(out, s->items[i].key, sizeof(s->items[i].key));
		buf_put(out, s->items[i].val, sizeof(s->items[i].val));
	}
}

static void
put_split(const struct rbsr_set *s, const struct range *g, struct buf *out)
{
	struct range part = { .hi = g->lo, .to = g->from };
	uint32_t n = g->to - g->from;

	for (uint32_t k = 1; k <= RBSR_BRANCH; k++) {
		part.lo = part.hi;
		part.from = part.to;
		part.to = g->from + (uint32_t)((uint64_t)n * k / RBSR_BRANCH);
		part.hi = k == RBSR_BRANCH ? g->hi
					   : between(&s->items[part.to - 1],
						 &s->items[part.to]);
		put_print(s, &part, out);
	}
}

static void
put_smaller(const struct rbsr_set *s, const struct range *g, struct buf *out)
{
	if (g->to - g->from <= RBSR_LEAF)
		put_items(s, g, out);
	else
		put_split(s, g, out);
}

void
rbsr_begin(const struct rbsr_set *s, struct buf *out)
{
	struct range all = { .hi = { .end = true }, .to = s->n };

	put_smaller(s, &all, out);
}

/* --- reading --- */

struct walk {
	const struct rbsr_set *s;
	struct rd r;
	struct bound last; /* upper bound of the range before */
	uint32_t ranges;
	struct bound rest_lo, rest_hi; /* passed back as one */
	bool rest;
	struct buf *out;
	rbsr_diff_fn diff;
	void *ctx;
};

static void
on_print(struct walk *w, const struct range *g)
{
	uint8_t theirs[PRINT_BYTES], mine[PRINT_BYTES];

	rd_copy(&w->r, theirs, sizeof(theirs));
	if (w->r.err != ERR_OK)
		return;
	print_of(w->s, g->from, g->to, mine);
	if (memcmp(mine, theirs, sizeof(mine)) == 0)
		return;
	if (!w->rest && w->out->n + ROOM_BYTES <= RBSR_MESSAGE_MAX) {
		put_smaller(w->s, g, w->out);
		return;
	}
	if (!w->rest)
		w->rest_lo = g->lo;
	w->rest = true;
	w->rest_hi = g->hi;
}

static void
put_rest(struct walk *w)
{
	struct range g = { .lo = w->rest_lo, .hi = w->rest_hi };

	if (!w->rest)
		return;
	g.from = lower(w->s, &g.lo);
	g.to = lower(w->s, &g.hi);
	put_print(w->s, &g, w->out);
}

static void
item_get(struct rd *r, struct rbsr_item *it)
{
	rd_copy(r, it->key, sizeof(it->key));
	rd_copy(r, it->val, sizeof(it->val));
}

/* Our items below key (all that are left: NULL) are ours alone. */
static void
pass_mine(struct walk *w, struct range *g, const uint8_t *key)
{
	for (; g->from < g->to; g->from++) {
		const struct rbsr_item *m = &w->s->items[g->from];

		if (key != NULL && memcmp(m->key, key, RBSR_KEY_BYTES) >= 0)
			return;
		w->diff(w->ctx, m, NULL);
	}
}

static bool
key_in(const struct range *g, const uint8_t *key)
{
	return memcmp(key, g->lo.key, RBSR_KEY_BYTES) >= 0 &&
	       (g->hi.end || memcmp(key, g->hi.key, RBSR_KEY_BYTES) < 0);
}

static void
on_item(struct walk *w, struct range *g, const struct rbsr_item *it)
{
	const struct rbsr_item *m;

	pass_mine(w, g, it->key);
	m = g->from < g->to ? &w->s->items[g->from] : NULL;
	if (m == NULL || memcmp(m->key, it->key, sizeof(m->key)) != 0) {
		w->diff(w->ctx, NULL, it);
		return;
	}
	if (memcmp(m->val, it->val, sizeof(m->val)) != 0)
		w->diff(w->ctx, m, it);
	g->from++;
}

static void
on_items(struct walk *w, struct range *g)
{
	uint8_t n = rd_u8(&w->r);
	struct rbsr_item it, before = { 0 };

	if (n > RBSR_LEAF)
		rd_fail(&w->r, ERR_LIMIT);
	for (uint8_t i = 0; w->r.err == ERR_OK && i < n; i++) {
		item_get(&w->r, &it);
		if (w->r.err == ERR_OK &&
		    (!key_in(g, it.key) ||
			(i > 0 && memcmp(before.key, it.key, 16) >= 0)))
			rd_fail(&w->r, ERR_MALFORMED);
		if (w->r.err == ERR_OK)
			on_item(w, g, &it);
		before = it;
	}
	if (w->r.err == ERR_OK)
		pass_mine(w, g, NULL);
}

static void
on_range(struct walk *w)
{
	uint8_t mode = rd_u8(&w->r);
	struct range g;

	bound_get(&w->r, &g.lo);
	bound_get(&w->r, &g.hi);
	if (w->r.err == ERR_OK &&
	    (g.lo.end || bound_cmp(&g.lo, &g.hi) >= 0 ||
		bound_cmp(&g.lo, &w->last) < 0 ||
		(mode != MODE_PRINT && mode != MODE_ITEMS)))
		rd_fail(&w->r, ERR_MALFORMED);
	if (++w->ranges > RBSR_RANGES_MAX)
		rd_fail(&w->r, ERR_LIMIT);
	if (w->r.err != ERR_OK)
		return;
	w->last = g.hi;
	g.from = lower(w->s, &g.lo);
	g.to = lower(w->s, &g.hi);
	if (mode == MODE_PRINT)
		on_print(w, &g);
	else
		on_items(w, &g);
}

enum err
rbsr_answer(const struct rbsr_set *s, struct slice in, struct buf *out,
    rbsr_diff_fn diff, void *ctx)
{
	struct walk w = {
		.s = s, .r = rd_init(in), .out = out, .diff = diff, .ctx = ctx
	};

	if (in.n > RBSR_MESSAGE_MAX)
		return ERR_LIMIT;
	while (w.r.err == ERR_OK && w.r.left > 0)
		on_range(&w);
	if (w.r.err == ERR_OK)
		put_rest(&w);
	return w.r.err == ERR_OK ? buf_err(out) : w.r.err;
}
