/* Ranges from a hostile peer: nothing crashes, an answer is bounded, and an
 * honest end reads it. */
#include "crypto/crypto.h"
#include "replication/rbsr.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

#define ITEMS 300u

static struct rbsr_item items[ITEMS];

static void
drop(void *ctx, const struct rbsr_item *mine, const struct rbsr_item *theirs)
{
	uint32_t *n = ctx;

	REQUIRE(mine != NULL || theirs != NULL);
	(*n)++;
}

int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct rbsr_set set = { .items = items, .n = ITEMS };
	struct buf out = BUF_MAX(RBSR_MESSAGE_MAX);
	struct buf more = BUF_MAX(RBSR_MESSAGE_MAX);
	uint32_t diffs = 0;

	for (uint32_t i = 0; i < ITEMS; i++)
		items[i].key[0] = (uint8_t)(i / 4), items[i].key[15] = i % 4;
	if (rbsr_answer(&set, slice_of(p, n), &out, drop, &diffs) == ERR_OK) {
		REQUIRE(diffs <= n / 32 + ITEMS);
		REQUIRE(rbsr_answer(&set, buf_slice(&out), &more, drop,
			    &diffs) == ERR_OK);
	}
	buf_fini(&out);
	buf_fini(&more);
	return 0;
}
