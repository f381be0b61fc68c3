/* check_file on any bytes: a verdict whose texts are bounded, and that can be
 * sent and read as it is. */
#include "node/imaging/helper/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf text = BUF_MAX(IMG_CHECK_TEXT_MAX);
	struct buf b = BUF_MAX(IMG_FRAME_BYTES);
	struct img_verdict v, back;
	struct mp_doc d;
	uint32_t kind;

	if (check_file(slice_of(data, size), &text, &v) == ERR_OK) {
		REQUIRE(v.text.n <= IMG_CHECK_TEXT_MAX);
		msg_put_verdict(&b, &v);
		REQUIRE(buf_err(&b) == ERR_OK);
		REQUIRE(msg_open(buf_slice(&b), &d, &kind) == ERR_OK);
		REQUIRE(kind == IMG_VERDICT);
		REQUIRE(msg_get_verdict(&d, &back) == ERR_OK);
		REQUIRE(back.kind == v.kind && slice_eq(back.text, v.text));
		mp_doc_fini(&d);
	}
	buf_fini(&text);
	buf_fini(&b);
	return 0;
}
