/* tests/fuzz/blob/fuzz_manifest.c: any bytes as a manifest.  What decodes is
 * within limits, and encodes to the very same bytes. */
#include <stdlib.h>

#include "store/blob/blob_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct blob_manifest m;
	struct buf out = BUF_MAX(n);
	uint8_t *copy = malloc(n + 1); /* its end is guarded */
	uint64_t sum = 0;
	uint32_t i;

	memcpy(copy, data, n);
	if (blob_manifest_decode(slice_of(copy, n), &m) == ERR_OK) {
		REQUIRE(m.n <= LIM_MANIFEST_ENTRIES);
		for (i = 0; i < m.n; i++)
			sum += m.e[i].raw_len;
		REQUIRE(m.depth <= LIM_MANIFEST_DEPTH);
		REQUIRE(m.depth > 0 || sum == m.raw_len);
		REQUIRE(blob_manifest_encode(&m, &out) == ERR_OK);
		REQUIRE(slice_eq(buf_slice(&out), slice_of(data, n)));
		blob_manifest_fini(&m);
	}
	buf_fini(&out);
	free(copy);
	return 0;
}
