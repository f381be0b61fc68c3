/* dcm_open on any bytes: what it lays out lies inside the input, subtrees
 * nest, and the split plan tiles [0, n). */
#include <stdlib.h>

#include "node/imaging/helper/walk.h"
#include "store/base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_table(const struct dcm_file *f, size_t size)
{
	for (uint32_t i = 0; i < f->n; i++) {
		const struct dcm_elem *e = &f->e[i];

		if (e->off > e->val || e->val > size || e->len > size - e->val)
			abort();
		if (e->skip <= i || e->skip > f->n)
			abort();
		if (e->skip > i + 1 && f->e[e->skip - 1].val > e->val + e->len)
			abort();
	}
	if (f->end > size || f->first > f->n)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dcm_file *f = NULL;
	struct img_piece *p;
	uint32_t n = 0;
	uint64_t at = 0;

	if (dcm_open(slice_of(data, size), &f, NULL) != ERR_OK)
		return 0;
	check_table(f, size);
	p = mem_array(IMG_PIECES_MAX, sizeof(*p));
	if (p == NULL)
		abort();
	if (dcm_plan(f, p, IMG_PIECES_MAX, &n) == ERR_OK) {
		for (uint32_t k = 0; k < n; k++) {
			if (p[k].off != at || p[k].len == 0)
				abort();
			at += p[k].len;
		}
		if (at != size)
			abort();
	}
	mem_free(p);
	dcm_close(f);
	return 0;
}
