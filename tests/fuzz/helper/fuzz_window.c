/* tests/fuzz/helper/fuzz_window.c: association PDUs from the network.  What is
 * granted is read again, unless something of the kind was there before. */
#include "node/imaging/helper/window.h"
#include "store/base/err.h"
#include "store/base/mem.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *out = mem_new(size + WINDOW_BYTES);
	uint16_t had, has;
	size_t n;

	REQUIRE(out != NULL);
	n = window_grant(data, size, 5, out);
	REQUIRE(n == 0 || n == size + WINDOW_BYTES);
	if (n > 0) {
		out[0] = 1; /* now a request */
		has = window_asked(out, n);
		memcpy(out, data, size);
		out[0] = 1;
		had = window_asked(out, size);
		REQUIRE(has == 5 || has == had);
	}
	(void)window_asked(data, size);
	mem_free(out);
	return 0;
}
