/* replication/head.c: one signature for a feed's chain up to seq. */
#include "replication/op.h"

#include "store/base/rd.h"

#define HEAD_SIGNED_BYTES (OP_HEAD_BYTES - 64u)
#define HEAD_DOMAIN "head.1"

static void
put_le64(uint8_t *p, uint64_t v)
{
	for (int i = 0; i < 8; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

static void
head_bytes(const struct op_head *h, uint8_t out[HEAD_SIGNED_BYTES])
{
	memcpy(out, h->feed.b, 16);
	put_le64(out + 16, h->seq);
	memcpy(out + 24, h->id.b, 32);
	put_le64(out + 56, h->lamport);
}

void
op_head_sign(struct op_head *h, const struct cry_sign_sk *sk)
{
	uint8_t b[HEAD_SIGNED_BYTES];

	head_bytes(h, b);
	cry_sign(sk, HEAD_DOMAIN, slice_of(b, sizeof(b)), &h->sig);
}

enum err
op_head_verify(const struct op_head *h, const struct cry_sign_pk *device)
{
	uint8_t b[HEAD_SIGNED_BYTES];

	head_bytes(h, b);
	return cry_verify(device, HEAD_DOMAIN, slice_of(b, sizeof(b)), &h->sig);
}

void
op_head_encode(const struct op_head *h, struct buf *out)
{
	uint8_t b[HEAD_SIGNED_BYTES];

	head_bytes(h, b);
	buf_put(out, b, sizeof(b));
	buf_put(out, h->sig.b, sizeof(h->sig.b));
}

enum err
op_head_decode(struct slice in, struct op_head *out)
{
	struct rd r = rd_init(in);
	struct op_head h;

	rd_copy(&r, h.feed.b, sizeof(h.feed.b));
	h.seq = rd_u64(&r);
	rd_copy(&r, h.id.b, sizeof(h.id.b));
	h.lamport = rd_u64(&r);
	rd_copy(&r, h.sig.b, sizeof(h.sig.b));
	if (rd_end(&r) != ERR_OK)
		return rd_end(&r);
	if (h.seq == 0 || h.lamport < h.seq)
		return ERR_MALFORMED;
	*out = h;
	return ERR_OK;
}
