/* table: any bytes are refused or are a profile that writes itself again as
 * the same bytes; none of its rules is one that may not be. */
#include <stdlib.h>

#include "node/deid/table.h"
#include "store/base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(const struct deid_table *t, struct slice in)
{
	struct buf b = BUF_MAX(TABLE_BYTES_MAX);

	table_encode(t, &b);
	if (buf_err(&b) != ERR_OK || b.n != in.n ||
	    memcmp(b.p + 2, in.p + 2, in.n - 2) != 0)
		abort();
	buf_fini(&b);
	if (table_options_refusal(t->options) != NULL)
		abort();
	for (uint32_t k = 0; k < t->n_rules; k++)
		if (table_locked(t->rules[k].tag) ||
		    table_find(t, t->rules[k].tag) != &t->rules[k])
			abort();
	for (uint32_t k = 0; k < t->n_private; k++)
		if (table_find_private(t, slice_str(t->priv[k].creator),
			(uint32_t)t->priv[k].group << 16 | t->priv[k].low) ==
		    NULL)
			abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct deid_table t;
	struct slice in = slice_of(data, size);

	if (size <= TABLE_BYTES_MAX && table_decode(in, &t) == ERR_OK)
		check(&t, in);
	return 0;
}
