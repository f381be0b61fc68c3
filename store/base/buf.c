/* store/base/buf.c: growing byte buffer with a sticky error.
 *
 * Growth doubles up to max.  When a put does not fit, the buffer keeps what
 * it had and every later put is ignored, so that no half field is ever
 * followed by a whole one. */
#include "store/base/buf.h"

#include <stdarg.h>

#include "store/base/mem.h"

void
buf_init(struct buf *b, size_t max_bytes)
{
	*b = BUF_MAX(max_bytes);
}

void
buf_fini(struct buf *b)
{
	mem_free(b->p);
	*b = BUF_EMPTY;
}

void
buf_wipe(struct buf *b)
{
	if (b->p != NULL)
		explicit_bzero(b->p, b->cap);
	buf_fini(b);
}

void
buf_reset(struct buf *b)
{
	b->n = 0;
	b->err = ERR_OK;
}

static void
buf_fail(struct buf *b, enum err e)
{
	if (b->err == ERR_OK)
		b->err = e;
}

uint8_t *
buf_room(struct buf *b, size_t n)
{
	size_t want, cap;
	uint8_t *p;

	if (b->err != ERR_OK)
		return NULL;
	if (n > b->max - b->n) {
		buf_fail(b, ERR_LIMIT);
		return NULL;
	}
	want = b->n + n;
	if (want > b->cap || b->p == NULL) {
		cap = b->cap > b->max / 2 ? b->max : b->cap * 2;
		if (cap < want)
			cap = want;
		if (cap < 64)
			cap = b->max < 64 ? b->max : 64;
		if (cap == 0)
			cap = 1;
		p = mem_grow(b->p, cap, 1);
		if (p == NULL) {
			buf_fail(b, ERR_NOMEM);
			return NULL;
		}
		b->p = p;
		b->cap = cap;
	}
	return b->p + b->n;
}

void
buf_grew(struct buf *b, size_t used)
{
	REQUIRE(used <= b->cap - b->n);
	b->n += used;
}

void
buf_put(struct buf *b, const void *p, size_t n)
{
	uint8_t *at = buf_room(b, n);

	if (at == NULL || n == 0)
		return;
	memcpy(at, p, n);
	b->n += n;
}

void
buf_put_slice(struct buf *b, struct slice s)
{
	buf_put(b, s.p, s.n);
}

void
buf_put_str(struct buf *b, const char *s)
{
	buf_put(b, s, strlen(s));
}

void
buf_put_zero(struct buf *b, size_t n)
{
	uint8_t *at = buf_room(b, n);

	if (at == NULL)
		return;
	memset(at, 0, n);
	b->n += n;
}

void
buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	uint8_t *at;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0) {
		buf_fail(b, ERR_MALFORMED);
		return;
	}
	if (b->err == ERR_OK && b->max - b->n == (size_t)n) {
		buf_fail(b, ERR_LIMIT); /* vsnprintf needs the NUL too */
		return;
	}
	at = buf_room(b, (size_t)n + 1);
	if (at == NULL)
		return;
	va_start(ap, fmt);
	(void)vsnprintf((char *)at, (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->n += (size_t)n;
}

void
buf_u8(struct buf *b, uint8_t v)
{
	buf_put(b, &v, 1);
}

static void
put_le(struct buf *b, uint64_t v, size_t n)
{
	uint8_t t[8];
	size_t i;

	for (i = 0; i < n; i++)
		t[i] = (uint8_t)(v >> (8 * i));
	buf_put(b, t, n);
}

static void
put_be(struct buf *b, uint64_t v, size_t n)
{
	uint8_t t[8];
	size_t i;

	for (i = 0; i < n; i++)
		t[n - 1 - i] = (uint8_t)(v >> (8 * i));
	buf_put(b, t, n);
}

void
buf_u16(struct buf *b, uint16_t v)
{
	put_le(b, v, 2);
}

void
buf_u32(struct buf *b, uint32_t v)
{
	put_le(b, v, 4);
}

void
buf_u64(struct buf *b, uint64_t v)
{
	put_le(b, v, 8);
}

void
buf_be32(struct buf *b, uint32_t v)
{
	put_be(b, v, 4);
}

void
buf_be64(struct buf *b, uint64_t v)
{
	put_be(b, v, 8);
}

void
buf_shift(struct buf *b, size_t n)
{
	REQUIRE(n <= b->n);
	if (n > 0 && n < b->n)
		memmove(b->p, b->p + n, b->n - n);
	b->n -= n;
}

const char *
buf_cstr(struct buf *b)
{
	uint8_t *at = buf_room(b, 1);

	if (at == NULL)
		return "";
	*at = 0;
	return (const char *)b->p;
}
