/* store/base/rd.h: bounded reader over untrusted bytes.
 *
 * The error is sticky: after the first failure every read yields zero, so a
 * decoder reads its fields in order and asks rd_end() once.  Nothing is
 * allocated or copied; slices borrow the input, which must outlive them. */
#ifndef PSC_BASE_RD_H
#define PSC_BASE_RD_H

#include "store/base/err.h"
#include "store/base/slice.h"

struct rd {
	const uint8_t *at; /* next unread byte; at[0..left) is readable */
	size_t left;
	enum err err; /* the first failure, or ERR_OK */
};

struct rd rd_init(struct slice in);
/* Make every later read fail with why (the first reason stays). */
void rd_fail(struct rd *r, enum err why);
struct slice rd_bytes(struct rd *r, size_t n); /* ERR_SHORT if not there */
/* Copy n bytes to out; zeroes it on failure. */
void rd_copy(struct rd *r, void *out, size_t n);
struct slice rd_rest(struct rd *r); /* all that is left */
uint8_t rd_u8(struct rd *r);
uint16_t rd_u16(struct rd *r); /* little-endian */
uint32_t rd_u32(struct rd *r);
uint64_t rd_u64(struct rd *r);
uint32_t rd_be32(struct rd *r); /* big-endian */
uint64_t rd_be64(struct rd *r);
/* A count of items, each at least item_min bytes long.  ERR_LIMIT above max,
 * ERR_SHORT if the rest can't hold them: a count licenses no malloc. */
uint32_t rd_count(struct rd *r, uint32_t max, size_t item_min);
/* ERR_OK only if every read succeeded and no byte is left over. */
enum err rd_end(const struct rd *r) PSC_MUST_USE;

#endif
