/* node/imaging/helper/emit.c: PS3.5 section 7.1.  Fails only with the buffer,
 * whose error is sticky. */
#include "node/imaging/helper/emit.h"

void
emit_head(
    struct buf *b, bool implicit, uint32_t tag, enum dcm_vr vr, uint32_t len)
{
	buf_u16(b, (uint16_t)(tag >> 16));
	buf_u16(b, (uint16_t)(tag & 0xFFFFu));
	if (implicit || vr == VR_NONE) {
		buf_u32(b, len);
		return;
	}
	if (!dict_vr_long(vr) && len > UINT16_MAX)
		vr = VR_UN;
	buf_put(b, dict_vr_name(vr), 2);
	if (!dict_vr_long(vr)) {
		buf_u16(b, (uint16_t)len);
		return;
	}
	buf_u16(b, 0);
	buf_u32(b, len);
}

void
emit_value(
    struct buf *b, bool implicit, uint32_t tag, enum dcm_vr vr, struct slice v)
{
	bool odd = v.n % 2 != 0;

	emit_head(b, implicit, tag, vr, (uint32_t)(v.n + odd));
	buf_put_slice(b, v);
	if (odd)
		buf_u8(b, dict_vr_text(vr) && vr != VR_UI ? ' ' : 0);
}

void
emit_close(struct buf *b, size_t start)
{
	size_t n = b->n - start;

	if (b->err != ERR_OK)
		return;
	for (size_t k = 0; k < 4; k++)
		b->p[start - 4 + k] = (uint8_t)(n >> (8 * k));
}
