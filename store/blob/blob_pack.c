/* store/blob/blob_pack.c: a value of many alike parts, made small.
 *
 * u8 1, u32 LE length, zstd frame; or u8 0 and the bytes, where that is not
 * shorter.  Reading is bounded by the caller before anything is allocated. */
#include <zstd.h>

#include "store/base/rd.h"
#include "store/blob/blob.h"

#define PACK_LEVEL 3

enum { PACK_PLAIN = 0, PACK_ZSTD = 1 };

enum err
blob_pack(struct slice in, struct buf *out)
{
	size_t start = out->n, room = ZSTD_compressBound(in.n), got;
	uint8_t *p;

	if (in.n > UINT32_MAX)
		return ERR_LIMIT;
	buf_u8(out, PACK_ZSTD);
	buf_u32(out, (uint32_t)in.n);
	p = buf_room(out, room);
	if (p == NULL)
		return buf_err(out);
	got = ZSTD_compress(p, room, in.p, in.n, PACK_LEVEL);
	if (!ZSTD_isError(got) && got < in.n) {
		buf_grew(out, got);
		return ERR_OK;
	}
	out->n = start;
	buf_u8(out, PACK_PLAIN);
	buf_put_slice(out, in);
	return buf_err(out);
}

enum err
blob_unpack(struct slice in, struct buf *out)
{
	struct rd r = rd_init(in);
	uint8_t how = rd_u8(&r);
	uint32_t n = how == PACK_ZSTD ? rd_u32(&r) : 0;
	struct slice body = rd_rest(&r);
	uint8_t *p;
	size_t got;

	if (rd_end(&r) != ERR_OK || how > PACK_ZSTD)
		return ERR_MALFORMED;
	if (how == PACK_PLAIN) {
		buf_put_slice(out, body);
		return buf_err(out);
	}
	p = buf_room(out, n);
	if (p == NULL)
		return buf_err(out);
	got = ZSTD_decompress(p, n, body.p, body.n);
	if (ZSTD_isError(got) || got != n)
		return ERR_MALFORMED;
	buf_grew(out, n);
	return ERR_OK;
}
