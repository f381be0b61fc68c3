/* Witness statements from hostile bytes: what decodes encodes to the same
 * bytes, and nobody signed it. */
#include "crypto/crypto.h"
#include "replication/witness.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct slice in = slice_of(p, n);
	struct buf again = BUF_MAX(WITNESS_BYTES_MAX);
	struct witness w;

	if (witness_decode(in, &w) != ERR_OK)
		return 0;
	REQUIRE(w.n_heard <= WITNESS_HEARD_MAX);
	witness_encode(&w, &again);
	REQUIRE(buf_err(&again) == ERR_OK);
	REQUIRE(again.n + sizeof(struct cry_sig) == n);
	REQUIRE(memcmp(again.p, p, again.n) == 0);
	REQUIRE(witness_verify(in, &w) != ERR_OK);
	REQUIRE(!witness_takes_back(&w, &w));
	buf_fini(&again);
	return 0;
}
