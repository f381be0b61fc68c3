/* store/base/buf.h: bytes being written.
 *
 * A buf grows up to the max given at init.  The error is sticky: after the
 * first failure every put does nothing, so a writer puts its fields in order
 * and asks buf_err() once.  buf_fini() is NULL-safe on BUF_EMPTY. */
#ifndef PSC_BASE_BUF_H
#define PSC_BASE_BUF_H

#include "store/base/err.h"
#include "store/base/slice.h"

struct buf {
	uint8_t *p;
	size_t n;
	size_t cap;
	size_t max;
	enum err err;
};

#define BUF_EMPTY ((struct buf){ 0 })
/* An empty buf that may hold up to max_bytes. */
#define BUF_MAX(max_bytes) ((struct buf){ .max = (max_bytes) })

void buf_init(struct buf *b, size_t max_bytes);
void buf_fini(struct buf *b);  /* frees; leaves BUF_EMPTY */
void buf_wipe(struct buf *b);  /* zeroes, then frees: for secrets */
void buf_reset(struct buf *b); /* n = 0, error cleared, memory kept */

/* Room for n more bytes at p + this->n; NULL (sticky error) if it cannot
 * be had.  Follow with buf_grew(b, used). */
uint8_t *buf_room(struct buf *b, size_t n);
void buf_grew(struct buf *b, size_t used);

void buf_put(struct buf *b, const void *p, size_t n);
void buf_put_slice(struct buf *b, struct slice s);
void buf_put_str(struct buf *b, const char *s);
void buf_put_zero(struct buf *b, size_t n);
void buf_printf(struct buf *b, const char *fmt, ...) PSC_PRINTF(2, 3);
void buf_u8(struct buf *b, uint8_t v);
void buf_u16(struct buf *b, uint16_t v); /* little-endian */
void buf_u32(struct buf *b, uint32_t v);
void buf_u64(struct buf *b, uint64_t v);
void buf_be32(struct buf *b, uint32_t v); /* big-endian: LMDB keys */
void buf_be64(struct buf *b, uint64_t v);
/* Drop the first n bytes (n <= b->n), moving the rest down. */
void buf_shift(struct buf *b, size_t n);
/* NUL-terminate without counting the NUL; "" if that fails. */
const char *buf_cstr(struct buf *b);

static inline struct slice
buf_slice(const struct buf *b)
{
	return slice_of(b->p, b->n);
}

static inline enum err PSC_MUST_USE
buf_err(const struct buf *b)
{
	return b->err;
}

#endif
