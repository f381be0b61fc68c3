/* replication/witness.c: one statement as bytes; see witness.h. */
#include "replication/witness.h"

#include "store/base/rd.h"

#define VERSION 1u
#define DOMAIN "witness.1"
#define WALL_AT                                                                \
	76u /* behind version, flags, share, compartment, device, no           \
	     */

void
witness_encode(const struct witness *w, struct buf *out)
{
	buf_u8(out, VERSION);
	buf_u8(out, w->flags);
	buf_put(out, w->share.b, sizeof(w->share.b));
	buf_u16(out, w->compartment);
	buf_put(out, w->device.b, sizeof(w->device.b));
	buf_u64(out, w->no);
	buf_u64(out, w->wall_ms);
	buf_u64(out, w->chain_seq);
	buf_put(out, w->chain_head.b, sizeof(w->chain_head.b));
	buf_put(out, w->root.b, sizeof(w->root.b));
	buf_u64(out, w->ops);
	buf_u64(out, w->own_ops);
	buf_u64(out, w->incarnation);
	buf_u64(out, w->seq);
	buf_put(out, w->head.b, sizeof(w->head.b));
	buf_u8(out, w->n_heard);
	for (uint8_t i = 0; i < w->n_heard; i++) {
		buf_put(out, w->heard[i].device, sizeof(w->heard[i].device));
		buf_u64(out, w->heard[i].no);
	}
}

enum err
witness_sign(struct buf *bytes, uint64_t wall_ms, const struct cry_sign_sk *sk)
{
	struct cry_sig sig;

	REQUIRE(bytes->n >= WITNESS_BYTES_MIN - sizeof(sig.b));
	for (unsigned i = 0; i < 8; i++)
		bytes->p[WALL_AT + i] = (uint8_t)(wall_ms >> (8 * i));
	cry_sign(sk, DOMAIN, buf_slice(bytes), &sig);
	buf_put(bytes, sig.b, sizeof(sig.b));
	return buf_err(bytes);
}

static void
body_get(struct rd *r, struct witness *w)
{
	w->flags = rd_u8(r);
	rd_copy(r, w->share.b, sizeof(w->share.b));
	w->compartment = rd_u16(r);
	rd_copy(r, w->device.b, sizeof(w->device.b));
	w->no = rd_u64(r);
	w->wall_ms = rd_u64(r);
	w->chain_seq = rd_u64(r);
	rd_copy(r, w->chain_head.b, sizeof(w->chain_head.b));
	rd_copy(r, w->root.b, sizeof(w->root.b));
	w->ops = rd_u64(r);
	w->own_ops = rd_u64(r);
	w->incarnation = rd_u64(r);
	w->seq = rd_u64(r);
	rd_copy(r, w->head.b, sizeof(w->head.b));
	w->n_heard = rd_u8(r);
	if (r->err == ERR_OK && w->n_heard > WITNESS_HEARD_MAX)
		rd_fail(r, ERR_LIMIT);
	for (uint8_t i = 0; r->err == ERR_OK && i < w->n_heard; i++) {
		rd_copy(r, w->heard[i].device, sizeof(w->heard[i].device));
		w->heard[i].no = rd_u64(r);
	}
}

enum err
witness_decode(struct slice in, struct witness *out)
{
	struct rd r = rd_init(in);
	struct witness w = { 0 };

	if (rd_u8(&r) != VERSION)
		rd_fail(&r, ERR_UNSUPPORTED);
	body_get(&r, &w);
	(void)rd_bytes(&r, sizeof(struct cry_sig));
	if (rd_end(&r) != ERR_OK)
		return rd_end(&r);
	if ((w.flags & ~WITNESS_PUT_BACK) != 0)
		return ERR_UNSUPPORTED;
	if (w.no == 0 || w.compartment == 0 || w.own_ops > w.ops ||
	    w.seq > w.own_ops)
		return ERR_MALFORMED;
	*out = w;
	return ERR_OK;
}

enum err
witness_verify(struct slice in, const struct witness *w)
{
	struct cry_sig sig;

	REQUIRE(in.n >= WITNESS_BYTES_MIN);
	memcpy(sig.b, in.p + in.n - sizeof(sig.b), sizeof(sig.b));
	return cry_verify(
	    &w->device, DOMAIN, slice_of(in.p, in.n - sizeof(sig.b)), &sig);
}

/* Own ops and the chain only ever grow. */
bool
witness_takes_back(const struct witness *earlier, const struct witness *later)
{
	return later->own_ops < earlier->own_ops ||
	       later->chain_seq < earlier->chain_seq ||
	       (later->incarnation == earlier->incarnation &&
		   later->seq < earlier->seq) ||
	       (later->incarnation == earlier->incarnation &&
		   later->seq == earlier->seq && later->seq > 0 &&
		   memcmp(&later->head, &earlier->head, sizeof(later->head)) !=
		       0);
}
