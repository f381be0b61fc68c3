/* cry_key_parse on any text: what is accepted prints back the same. */
#include <stdlib.h>

#include "crypto/identity.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char text[CRY_KEY_TEXT_LEN + 1];
	struct cry_device_pub d;

	if (cry_init() != ERR_OK)
		abort();
	if (cry_key_parse(slice_of(data, size), &d) != ERR_OK)
		return 0;
	cry_key_text(&d, text);
	if (size != CRY_KEY_TEXT_LEN || memcmp(text, data, size) != 0)
		abort();
	return 0;
}
