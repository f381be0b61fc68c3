/* store/base/rd.c: bounded reader.  Reads compare before they move: at + n
 * could wrap, left cannot lie. */
#include "store/base/rd.h"

struct rd
rd_init(struct slice in)
{
	struct rd r = { .at = in.p, .left = in.n, .err = ERR_OK };

	return r;
}

void
rd_fail(struct rd *r, enum err why)
{
	REQUIRE(why != ERR_OK);
	if (r->err == ERR_OK)
		r->err = why;
	r->left = 0; /* nothing more can be read */
}

struct slice
rd_bytes(struct rd *r, size_t n)
{
	struct slice out = { .p = r->at, .n = n };

	if (n > r->left) {
		rd_fail(r, ERR_SHORT);
		return (struct slice){ 0 };
	}
	if (n > 0) /* at may be NULL for an empty input */
		r->at += n;
	r->left -= n;
	return out;
}

void
rd_copy(struct rd *r, void *out, size_t n)
{
	struct slice s = rd_bytes(r, n);

	if (s.n == n && n > 0)
		memcpy(out, s.p, n);
	else
		memset(out, 0, n);
}

struct slice
rd_rest(struct rd *r)
{
	return rd_bytes(r, r->left);
}

static uint64_t
rd_le(struct rd *r, size_t n)
{
	struct slice s = rd_bytes(r, n);
	uint64_t v = 0;
	size_t i;

	for (i = 0; i < s.n; i++)
		v |= (uint64_t)s.p[i] << (8 * i);
	return v;
}

static uint64_t
rd_be(struct rd *r, size_t n)
{
	struct slice s = rd_bytes(r, n);
	uint64_t v = 0;
	size_t i;

	for (i = 0; i < s.n; i++)
		v = v << 8 | s.p[i];
	return v;
}

uint8_t
rd_u8(struct rd *r)
{
	return (uint8_t)rd_le(r, 1);
}

uint16_t
rd_u16(struct rd *r)
{
	return (uint16_t)rd_le(r, 2);
}

uint32_t
rd_u32(struct rd *r)
{
	return (uint32_t)rd_le(r, 4);
}

uint64_t
rd_u64(struct rd *r)
{
	return rd_le(r, 8);
}

uint32_t
rd_be32(struct rd *r)
{
	return (uint32_t)rd_be(r, 4);
}

uint64_t
rd_be64(struct rd *r)
{
	return rd_be(r, 8);
}

uint32_t
rd_count(struct rd *r, uint32_t max, size_t item_min)
{
	uint32_t n = rd_u32(r);

	REQUIRE(item_min > 0);
	if (n > max)
		rd_fail(r, ERR_LIMIT);
	else if (n > r->left / item_min) /* divide: the product could wrap */
		rd_fail(r, ERR_SHORT);
	return r->err == ERR_OK ? n : 0;
}

enum err
rd_end(const struct rd *r)
{
	if (r->err != ERR_OK)
		return r->err;
	return r->left == 0 ? ERR_OK : ERR_TRAILING;
}
