/* tests/fuzz/catalog/fuzz_query.c: any text as a query: it parses or is
 * refused with a column, and what parsed compares with any value. */
#include "store/catalog/query_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
node_try(const struct query_node *n)
{
	static const char *const texts[] = { "", "MR", "1.5", "003", "20240131",
		"2024-01-31", "2024-01-31T10:00:00Z" };
	struct ix_code codes[IX_CODES_MAX];
	struct val v;
	size_t i;

	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		bool lt, eq, gt;

		val_of_text(slice_str(texts[i]), &v);
		REQUIRE(ix_codes(&v, codes) <= IX_CODES_MAX);
		lt = query_value_match(QOP_LT, &n->lit, &v);
		eq = query_value_match(QOP_EQ, &n->lit, &v);
		gt = query_value_match(QOP_GT, &n->lit, &v);
		REQUIRE(lt + eq + gt <= 1);
		REQUIRE(query_value_match(QOP_LE, &n->lit, &v) == (lt || eq));
		REQUIRE(query_value_match(QOP_GE, &n->lit, &v) == (gt || eq));
		(void)query_value_match(QOP_HAS, &n->lit, &v);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cat_query *q = NULL;
	struct errmsg em = { 0 };
	uint32_t i;
	enum err e;

	if (cry_init() != ERR_OK)
		return 0;
	e = cat_query_parse(slice_of(data, size), &q, &em);
	if (e != ERR_OK) {
		REQUIRE(e == ERR_MALFORMED || e == ERR_LIMIT || e == ERR_NOMEM);
		REQUIRE(e == ERR_NOMEM || em.cause[0] != '\0');
		return 0;
	}
	for (i = 0; i < q->n; i++) {
		if (q->nodes[i].kind == QUERY_CMP)
			node_try(&q->nodes[i]);
	}
	cat_query_free(q);
	return 0;
}
