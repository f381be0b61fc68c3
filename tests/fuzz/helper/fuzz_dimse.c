/* tests/fuzz/helper/fuzz_dimse.c: command sets from the network.  What was
 * understood can be answered, and the answer is understood again. */
#include "node/imaging/helper/dimse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dimse_command c, back;
	struct buf b = BUF_MAX(KIB);

	if (dimse_parse(slice_of(data, size), &c) != ERR_OK)
		return 0;
	dimse_put_response(&b, &c, 1, 0);
	REQUIRE(buf_err(&b) == ERR_OK && b.n > 12);
	REQUIRE(dimse_parse(slice_of(b.p + 12, b.n - 12), &back) == ERR_OK);
	REQUIRE(back.field == (uint16_t)(c.field | DIMSE_RSP));
	REQUIRE(strcmp(back.sop_uid, c.sop_uid) == 0);
	buf_fini(&b);
	return 0;
}
