/* Ops, packing lists and heads from hostile bytes: a decoder that accepts
 * must re-encode what it read. */
#include "replication/op.h"
#include "store/base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void
packing(struct slice in)
{
	struct buf again = BUF_MAX(MIB);
	struct op_chunk *c;
	uint32_t count;

	if (op_packing_check(in, &count) != ERR_OK)
		return;
	if ((c = mem_array(count, sizeof(*c))) == NULL)
		return;
	for (uint32_t i = 0; i < count; i++)
		c[i] = op_packing_at(in, i);
	REQUIRE(op_packing_encode(c, count, &again) == ERR_OK);
	REQUIRE(slice_eq(in, buf_slice(&again)));
	mem_free(c);
	buf_fini(&again);
}

static void
head(struct slice in)
{
	static const struct cry_sign_pk nobody = { .b = { 1 } };
	struct buf again = BUF_MAX(KIB);
	struct op_head h;

	if (op_head_decode(in, &h) != ERR_OK)
		return;
	op_head_encode(&h, &again);
	REQUIRE(slice_eq(in, buf_slice(&again)));
	REQUIRE(op_head_verify(&h, &nobody) != ERR_OK);
	buf_fini(&again);
}

/* Give the decoder an op whose hashes fit, so that it gets past them. */
static void
op_repaired(struct slice in)
{
	struct buf own = BUF_MAX(4 * MIB);
	struct buf plain = BUF_MAX(MIB);
	struct cry_key k = { .b = { 1 } };
	struct op_view v;
	size_t pay, pack, hdr;
	uint8_t *b;

	if (in.n < 154 + 104)
		return;
	buf_put_slice(&own, in);
	b = own.p;
	if (b == NULL)
		return;
	b[0] = 1;
	b[153] = 0;
	b[152] %= 17;
	hdr = 154 + 32u * b[152];
	pack = b[148] % 100;
	if (hdr + pack + 104 > own.n)
		goto out;
	pay = own.n - hdr - pack;
	for (int i = 0; i < 4; i++) {
		b[144 + i] = (uint8_t)(pay >> (8 * i));
		b[148 + i] = (uint8_t)(pack >> (8 * i));
	}
	memset(b + 112, 0, 32);
	cry_hash(slice_of(b + hdr, pay), (struct cry_id *)(void *)(b + 80));
	if (pack > 0)
		cry_hash(slice_of(b + hdr + pay, pack),
		    (struct cry_id *)(void *)(b + 112));
	if (op_decode(buf_slice(&own), &v) == ERR_OK)
		REQUIRE(op_open(&v, &k, &plain) != ERR_OK);
out:
	buf_fini(&own);
	buf_fini(&plain);
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct op_view v;

	if (op_decode(slice_of(p, n), &v) == ERR_OK)
		REQUIRE(v.header.n + v.payload.n + v.packing.n == n);
	packing(slice_of(p, n));
	head(slice_of(p, n));
	op_repaired(slice_of(p, n));
	return 0;
}
