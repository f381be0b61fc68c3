/* plan_nifti on any bytes: what it plans tiles them, and pieces of samples
 * are of the size that is aimed at. */
#include <stdlib.h>

#include "node/imaging/plan.h"
#include "store/base/limits.h"
#include "store/base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct img_piece *p = mem_array(IMG_PIECES_MAX, sizeof(*p));
	uint8_t *copy = malloc(size > 0 ? size : 1); /* its end is guarded */
	uint64_t at = 0;
	uint32_t n = 0, k;

	if (p == NULL || copy == NULL)
		abort();
	memcpy(copy, data, size);
	if (plan_nifti(slice_of(copy, size), p, IMG_PIECES_MAX, &n) == ERR_OK) {
		for (k = 0; k < n; k++) {
			REQUIRE(p[k].off == at && p[k].len > 0);
			REQUIRE(p[k].bits == 0 || p[k].len <= MIB);
			at += p[k].len;
		}
		REQUIRE(at == size);
	}
	free(copy);
	mem_free(p);
	return 0;
}
