/* node/imaging/helper/pixels.c: one pass over the samples, no allocation;
 * a header that makes no sense is not judged here. */
#include "node/imaging/helper/pixels.h"

struct mask {
	uint16_t outside; /* bits that must be 0 .. */
	uint16_t sign;    /* .. or equal above when this bit is set */
	uint16_t above;
};

static bool
read_mask(const struct dcm_file *f, unsigned allocated, struct mask *m)
{
	unsigned stored = dcm_u16(f, 0x00280101, 0);
	unsigned high = dcm_u16(f, 0x00280102, 0);
	uint32_t inside;

	if (stored == 0 || stored >= allocated || high >= allocated ||
	    high + 1 < stored)
		return false;
	inside = ((1u << stored) - 1) << (high + 1 - stored);
	m->outside = (uint16_t)(~inside & ((1u << allocated) - 1));
	m->above = (uint16_t)(m->outside & ~((2u << high) - 1u));
	m->sign = 0;
	if (dcm_u16(f, 0x00280103, 0) == 1)
		m->sign = (uint16_t)(1u << high);
	return true;
}

static bool
is_hidden(const struct mask *m, uint16_t v)
{
	uint16_t out = v & m->outside;

	return out != 0 && !((v & m->sign) != 0 && out == m->above);
}

bool
pixels_hidden_bits(const struct dcm_file *f)
{
	unsigned allocated = dcm_u16(f, 0x00280100, 0);
	struct slice v = dcm_value(f, f->pixels);
	struct mask m;

	if (f->pixels == DCM_NONE || f->e[f->pixels].undefined ||
	    f->e[f->pixels].tag != TAG_PIXELS ||
	    (allocated != 8 && allocated != 16) || !read_mask(f, allocated, &m))
		return false;
	if (allocated == 8) {
		for (size_t k = 0; k < v.n; k++)
			if (is_hidden(&m, v.p[k]))
				return true;
		return false;
	}
	for (size_t k = 0; k + 1 < v.n; k += 2)
		if (is_hidden(&m, (uint16_t)(v.p[k] | v.p[k + 1] << 8)))
			return true;
	return false;
}
