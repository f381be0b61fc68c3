/* mp_parse on any bytes; what parses is written again and parses to the same
 * bytes. */
#include <stdlib.h>

#include "store/base/mp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct mp_limits lim = {
		.bytes_max = 1 << 20, .count_max = 4096, .depth_max = 16
	};
	struct buf one = BUF_MAX(4 << 20), two = BUF_MAX(4 << 20);
	struct mp_doc d, again;

	if (mp_parse(slice_of(data, size), &lim, &d) != ERR_OK)
		return 0;
	mp_w_node(&one, d.root);
	if (mp_parse(buf_slice(&one), &lim, &again) != ERR_OK)
		abort();
	mp_w_node(&two, again.root);
	if (!slice_eq(buf_slice(&one), buf_slice(&two)))
		abort();
	mp_doc_fini(&again);
	mp_doc_fini(&d);
	buf_fini(&one);
	buf_fini(&two);
	return 0;
}
