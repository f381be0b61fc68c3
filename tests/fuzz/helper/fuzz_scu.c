/* tests/fuzz/helper/fuzz_scu.c: what an archive answers to our request.  What
 * is believed has an end and is of the characters of no more than a UID's
 * length. */
#include "node/imaging/helper/scu.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct scu_accepted a;
	uint32_t i;

	if (scu_get_accept(slice_of(data, size), &a) != ERR_OK)
		return 0;
	for (i = 0; i < SCU_CONTEXTS_MAX; i++)
		REQUIRE(
		    strnlen(a.syntax[i], sizeof(a.syntax[i])) <= IMG_UID_MAX);
	return 0;
}
