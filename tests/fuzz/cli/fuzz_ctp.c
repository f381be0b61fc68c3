/* ctp: any bytes as a script or as a lookup table: no crash, bounded output,
 * and an error names a line. */
#include <stdlib.h>

#include "cli/ctp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
look(void *ctx, const struct ctp_line *l)
{
	size_t *n = ctx;

	*n += l->line + strlen(l->element) + strlen(l->name) + strlen(l->said) +
	      strlen(l->did);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf out = BUF_MAX(CTP_YAML_MAX);
	struct errmsg em = { 0 };
	size_t n = 0;

	if (ctp_script(slice_of(data, size), look, &n, &out, &em) != ERR_OK &&
	    em.cause[0] == '\0' && buf_err(&out) == ERR_OK)
		abort();
	buf_reset(&out);
	(void)ctp_lookup(slice_of(data, size), "ptid", look, &n, &out, &em);
	buf_fini(&out);
	return n == SIZE_MAX;
}
