/* replication/packing.c: the clear list of chunks an op names.
 *
 * {version u8, count u32, count * {cid 32, c_len u32}}, strictly ascending by
 * cid, so that one set of chunks has one encoding (rulings.md 18). */
#include "replication/op_layout.h"

#include "store/base/mem.h"
#include "store/base/rd.h"

static int
chunk_cmp(const void *a, const void *b)
{
	const struct op_chunk *x = a, *y = b;

	return memcmp(x->cid.b, y->cid.b, sizeof(x->cid.b));
}

static bool
len_ok(uint32_t c_len)
{
	return c_len > 0 && c_len <= OP_CHUNK_BYTES_MAX;
}

/* Sorted copy without doubles.  One cid with two lengths is a lie. */
static enum err
unique(struct op_chunk *c, uint32_t *n)
{
	uint32_t kept = 0;

	qsort(c, *n, sizeof(*c), chunk_cmp);
	for (uint32_t i = 0; i < *n; i++) {
		if (!len_ok(c[i].c_len))
			return ERR_LIMIT;
		if (kept == 0 || chunk_cmp(&c[kept - 1], &c[i]) != 0)
			c[kept++] = c[i];
		else if (c[kept - 1].c_len != c[i].c_len)
			return ERR_MALFORMED;
	}
	*n = kept;
	return ERR_OK;
}

enum err
op_packing_encode(const struct op_chunk *c, uint32_t n, struct buf *out)
{
	struct op_chunk *own;
	enum err e;

	if (n == 0)
		return ERR_OK; /* no list at all */
	if ((own = mem_array(n, sizeof(*own))) == NULL)
		return ERR_NOMEM;
	memcpy(own, c, n * sizeof(*own));
	if ((e = unique(own, &n)) != ERR_OK)
		goto out;
	if (n > OP_CHUNKS_MAX) {
		e = ERR_LIMIT;
		goto out;
	}
	buf_u8(out, PACKING_VERSION);
	buf_u32(out, n);
	for (uint32_t i = 0; i < n; i++) {
		buf_put(out, own[i].cid.b, sizeof(own[i].cid.b));
		buf_u32(out, own[i].c_len);
	}
	e = buf_err(out);
out:
	mem_free(own);
	return e;
}

enum err
op_packing_check(struct slice packing, uint32_t *n)
{
	struct rd r = rd_init(packing);
	struct op_chunk last = { 0 }, c;
	uint32_t count;

	if (rd_u8(&r) != PACKING_VERSION)
		rd_fail(&r, ERR_UNSUPPORTED);
	count = rd_count(&r, OP_CHUNKS_MAX, PACKING_ITEM_BYTES);
	if (r.err == ERR_OK && count == 0)
		rd_fail(&r, ERR_MALFORMED);
	for (uint32_t i = 0; i < count; i++) {
		rd_copy(&r, c.cid.b, sizeof(c.cid.b));
		c.c_len = rd_u32(&r);
		if (!len_ok(c.c_len))
			return ERR_LIMIT;
		if (i > 0 && chunk_cmp(&last, &c) >= 0)
			return ERR_MALFORMED;
		last = c;
	}
	if (rd_end(&r) == ERR_OK)
		*n = count;
	return rd_end(&r);
}

struct op_chunk
op_packing_at(struct slice packing, uint32_t i)
{
	struct op_chunk c;
	size_t at = PACKING_FIXED_BYTES + (size_t)i * PACKING_ITEM_BYTES;
	struct rd r;

	REQUIRE(at + PACKING_ITEM_BYTES <= packing.n);
	r = rd_init(slice_of(packing.p + at, PACKING_ITEM_BYTES));
	rd_copy(&r, c.cid.b, sizeof(c.cid.b));
	c.c_len = rd_u32(&r);
	return c;
}
