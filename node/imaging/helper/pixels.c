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

/* Samples that can be looked into: native, 8 or 16 bits. */
static bool
read_samples(const struct dcm_file *f, unsigned *allocated, struct mask *m)
{
	*allocated = dcm_u16(f, 0x00280100, 0);
	return f->pixels != DCM_NONE && !f->e[f->pixels].undefined &&
	       f->e[f->pixels].tag == TAG_PIXELS &&
	       (*allocated == 8 || *allocated == 16) &&
	       read_mask(f, *allocated, m);
}

bool
pixels_hidden_bits(const struct dcm_file *f)
{
	struct slice v = dcm_value(f, f->pixels);
	unsigned allocated;
	struct mask m;

	if (!read_samples(f, &allocated, &m))
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

/* (60xx,0102) of an overlay without data of its own: a bit of the samples. */
static bool
overlays_outside(const struct dcm_file *f, const struct mask *m)
{
	for (uint32_t i = f->first; i < f->n; i = f->e[i].skip) {
		uint32_t group = f->e[i].tag & 0xFFFF0000u;
		unsigned bit;

		if (f->e[i].tag >> 24 != 0x60 ||
		    (f->e[i].tag & 0xFFFFu) != 0x0102 ||
		    dcm_find(f, group | 0x3000) != DCM_NONE)
			continue;
		bit = dcm_u16(f, f->e[i].tag, 0);
		if (bit > 15 || (m->outside >> bit & 1) == 0)
			return false;
	}
	return true;
}

bool
pixels_can_mask(const struct dcm_file *f)
{
	unsigned allocated;
	struct mask m;

	return read_samples(f, &allocated, &m) && overlays_outside(f, &m) &&
	       !is_hidden(&m, dcm_u16(f, 0x00280120, 0)) &&
	       !is_hidden(&m, dcm_u16(f, 0x00280121, 0));
}

static uint16_t
masked(const struct mask *m, uint16_t v)
{
	if (!is_hidden(m, v))
		return v;
	return (
	    uint16_t)((v & ~m->outside) | ((v & m->sign) != 0 ? m->above : 0));
}

void
pixels_mask(const struct dcm_file *f, uint8_t *p, size_t n)
{
	unsigned allocated;
	struct mask m;

	if (!read_samples(f, &allocated, &m))
		return;
	for (size_t k = 0; allocated == 8 && k < n; k++)
		p[k] = (uint8_t)masked(&m, p[k]);
	for (size_t k = 0; allocated == 16 && k + 1 < n; k += 2) {
		uint16_t v = masked(&m, (uint16_t)(p[k] | p[k + 1] << 8));

		p[k] = (uint8_t)v;
		p[k + 1] = (uint8_t)(v >> 8);
	}
}
