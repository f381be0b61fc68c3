/* json_parse: any bytes give a tree or an error; what is written from a tree
 * parses again to the same text. */
#include "node/conf/json.h"
#include "store/base/limits.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct json *
again(const struct json *j, struct buf *text)
{
	struct json *back = NULL;
	struct jw w;

	buf_init(text, 64 * MIB);
	jw_init(&w, text);
	jw_json(&w, NULL, j);
	if (buf_err(text) == ERR_LIMIT)
		return NULL; /* nested deeper than we write */
	REQUIRE(json_parse(buf_slice(text), &back, NULL) == ERR_OK);
	return back;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf a = BUF_EMPTY, b = BUF_EMPTY;
	struct json *j = NULL, *k = NULL, *l = NULL;
	struct errmsg em = { 0 };

	if (json_parse(slice_of(data, size), &j, &em) != ERR_OK) {
		REQUIRE(em.cause[0] != '\0');
		return 0;
	}
	k = again(j, &a);
	if (k != NULL) {
		l = again(k, &b);
		REQUIRE(slice_eq(buf_slice(&a), buf_slice(&b)));
	}
	json_free(j);
	json_free(k);
	json_free(l);
	buf_fini(&a);
	buf_fini(&b);
	return 0;
}
