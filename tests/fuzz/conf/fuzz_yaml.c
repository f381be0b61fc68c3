/* yaml_parse and conf_parse: any bytes give a tree (a configuration) or an
 * error that says where; a configuration that was shown loads again. */
#include "node/conf/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct conf c;

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf text = BUF_MAX(MIB);
	struct json *j = NULL;
	struct errmsg em = { 0 };

	if (yaml_parse(slice_of(data, size), &j, &em) != ERR_OK) {
		REQUIRE(strstr(em.cause, "line ") != NULL);
		return 0;
	}
	json_free(j);
	if (conf_parse(slice_of(data, size), "f", &c, &em) == ERR_OK) {
		REQUIRE(conf_show(&c, &text) == ERR_OK);
		REQUIRE(conf_parse(buf_slice(&text), "f", &c, &em) == ERR_OK);
		buf_fini(&text);
	}
	return 0;
}
