/* tests/unit/helper/test_dimse.c: command sets and file meta, byte for byte. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "node/imaging/helper/dimse.h"
#include "node/imaging/helper/ident.h"
#include "node/imaging/helper/walk.h"

static const uint8_t echo_rq[] = { 0, 0, 0, 0, 4, 0, 0, 0, 56, 0, 0, 0, 0, 0, 2,
	0, 18, 0, 0, 0, '1', '.', '2', '.', '8', '4', '0', '.', '1', '0', '0',
	'0', '8', '.', '1', '.', '1', 0, 0, 0, 0, 1, 2, 0, 0, 0, 0x30, 0, 0, 0,
	0x10, 1, 2, 0, 0, 0, 7, 0, 0, 0, 0, 8, 2, 0, 0, 0, 1, 1 };

static void
test_echo_request_is_read(void **state)
{
	struct dimse_command c;

	(void)state;
	assert_int_equal(
	    dimse_parse(slice_of(echo_rq, sizeof(echo_rq)), &c), ERR_OK);
	assert_int_equal(c.field, DIMSE_C_ECHO_RQ);
	assert_int_equal(c.message_id, 7);
	assert_int_equal(c.data_type, DIMSE_NO_DATA);
	assert_string_equal(c.sop_class, "1.2.840.10008.1.1");
}

static void
test_every_cut_is_refused_or_shorter(void **state)
{
	struct dimse_command c;
	size_t n;

	(void)state;
	for (n = 0; n < sizeof(echo_rq); n++) {
		if (dimse_parse(slice_of(echo_rq, n), &c) == ERR_OK)
			assert_int_equal(c.field, DIMSE_C_ECHO_RQ);
	}
	assert_int_equal(dimse_parse(slice_of(echo_rq, 37), &c), ERR_MALFORMED);
}

static void
test_lies_are_refused(void **state)
{
	static const uint8_t other_group[] = { 8, 0, 0, 1, 2, 0, 0, 0, 1, 0 };
	static const uint8_t too_long[] = { 0, 0, 0, 1, 255, 255, 255, 255, 1 };
	static const uint8_t wrong_size[] = { 0, 0, 0, 1, 3, 0, 0, 0, 1, 0, 0 };
	uint8_t uid[8 + 66] = { 0, 0, 2, 0, 66, 0, 0, 0 };
	struct dimse_command c;

	(void)state;
	memset(uid + 8, '1', 66);
	assert_int_equal(
	    dimse_parse(slice_of(other_group, sizeof(other_group)), &c),
	    ERR_MALFORMED);
	assert_int_equal(dimse_parse(slice_of(too_long, sizeof(too_long)), &c),
	    ERR_MALFORMED);
	assert_int_equal(
	    dimse_parse(slice_of(wrong_size, sizeof(wrong_size)), &c),
	    ERR_MALFORMED);
	assert_int_equal(
	    dimse_parse(slice_of(uid, sizeof(uid)), &c), ERR_MALFORMED);
}

static void
test_response_says_what_the_request_said(void **state)
{
	struct dimse_command c, back;
	struct buf b = BUF_MAX(1024);

	(void)state;
	assert_int_equal(
	    dimse_parse(slice_of(echo_rq, sizeof(echo_rq)), &c), ERR_OK);
	dimse_put_response(&b, &c, 5, 0xA900);
	assert_int_equal(buf_err(&b), ERR_OK);
	assert_int_equal(b.p[0], 4);
	assert_int_equal(
	    b.p[2] << 24 | b.p[3] << 16 | b.p[4] << 8 | b.p[5], b.n - 6);
	assert_int_equal(
	    b.p[6] << 24 | b.p[7] << 16 | b.p[8] << 8 | b.p[9], b.n - 10);
	assert_int_equal(b.p[10], 5);
	assert_int_equal(b.p[11], 3);
	assert_int_equal(
	    dimse_parse(slice_of(b.p + 12, b.n - 12), &back), ERR_OK);
	assert_int_equal(back.field, 0x8030);
	assert_string_equal(back.sop_class, c.sop_class);
	/* group length counts what follows it */
	assert_int_equal(b.p[20] | b.p[21] << 8, b.n - 12 - 12);
	assert_non_null(memmem(b.p, b.n, "\0\0\0\x09\2\0\0\0\0\xa9", 10));
	assert_non_null(memmem(b.p, b.n, "\0\0\x20\1\2\0\0\0\7\0", 10));
	buf_fini(&b);
}

static void
test_meta_header_is_walked(void **state)
{
	struct dimse_meta m = { .sop_class = "1.2.840.10008.5.1.4.1.1.2",
		.sop_uid = "1.2.3",
		.transfer_syntax = "1.2.840.10008.1.2.1",
		.calling_ae = "SCANNER" };
	struct buf b = BUF_MAX(2048);
	char text[IMG_UID_MAX + 1];
	struct dcm_file *f;

	(void)state;
	dimse_put_meta(&b, &m);
	buf_put(&b, "\x08\0\x60\0CS\2\0MR", 10);
	assert_int_equal(dcm_open(buf_slice(&b), &f, NULL), ERR_OK);
	assert_string_equal(dcm_transfer_syntax(f), m.transfer_syntax);
	dcm_text(f, 0x00020002, text, sizeof(text));
	assert_string_equal(text, m.sop_class);
	dcm_text(f, 0x00020003, text, sizeof(text));
	assert_string_equal(text, m.sop_uid);
	dcm_text(f, 0x00020012, text, sizeof(text));
	assert_string_equal(text, IDENT_CLASS_UID);
	dcm_text(f, 0x00020016, text, sizeof(text));
	assert_string_equal(text, "SCANNER");
	dcm_text(f, 0x00080060, text, sizeof(text));
	assert_string_equal(text, "MR");
	dcm_close(f);
	buf_fini(&b);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_echo_request_is_read),
		cmocka_unit_test(test_every_cut_is_refused_or_shorter),
		cmocka_unit_test(test_lies_are_refused),
		cmocka_unit_test(test_response_says_what_the_request_said),
		cmocka_unit_test(test_meta_header_is_walked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
