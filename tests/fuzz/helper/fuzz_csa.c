/* csa_reduce on any bytes: nothing where nothing stays, else a header that
 * fits and that reduces to itself. */
#include "node/imaging/helper/csa.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf out = BUF_MAX(CSA_ROOM(size));
	struct buf again = BUF_MAX(CSA_ROOM(CSA_ROOM(size)));

	if (csa_reduce(slice_of(data, size), &out)) {
		REQUIRE(csa_reduce(buf_slice(&out), &again));
		REQUIRE(slice_eq(buf_slice(&out), buf_slice(&again)));
	} else {
		REQUIRE(out.n == 0 && out.err == ERR_OK);
	}
	buf_fini(&out);
	buf_fini(&again);
	return 0;
}
