/* store/blob/blob_cdc.c: cutting unknown content where the content says so
 * (FastCDC, Xia et al. 2016, normalised chunking level 2).
 *
 * Before the average length a cut needs two bits more, after it two bits
 * less, so that lengths gather around the average.  The gear table is keyed
 * by the site: same content and site, same cuts, for ever; the constants
 * here are part of the format in that sense. */
#include "store/blob/blob_internal.h"

#define CDC_MIN (64 * KIB)
#define CDC_MAX (1 * MIB)

/* High bits: they depend on the last 64 bytes, low bits on few. */
static uint64_t
mask_bits(unsigned bits)
{
	return ~(uint64_t)0 << (64 - bits);
}

static size_t
cdc_scan(const uint64_t gear[256], struct slice in, size_t avg, unsigned bits)
{
	uint64_t strict = mask_bits(bits + 2), loose = mask_bits(bits - 2);
	uint64_t h = 0;
	size_t i = CDC_MIN;

	for (; i < in.n && i < avg; i++) {
		h = (h << 1) + gear[in.p[i]];
		if ((h & strict) == 0)
			return i + 1;
	}
	for (; i < in.n; i++) {
		h = (h << 1) + gear[in.p[i]];
		if ((h & loose) == 0)
			return i + 1;
	}
	return in.n;
}

size_t
cdc_cut(const uint64_t gear[256], struct slice in, unsigned avg_bits)
{
	size_t max = CDC_MAX << (avg_bits - 18);

	if (in.n <= CDC_MIN)
		return in.n;
	if (in.n > max)
		in.n = max;
	return cdc_scan(gear, in, (size_t)1 << avg_bits, avg_bits);
}
