/* check: what the gate is told of a file that a person made. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <zlib.h>

#include "node/imaging/helper/check.h"
#include "store/base/mem.h"
#include "tests/lib/dcm_build.h"

#define N 600u /* bytes of a made file: header, extender, voxels */

static uint8_t file[64 * 1024];
static struct img_verdict v;
static struct buf text;

static void
check(size_t n)
{
	buf_fini(&text);
	text = BUF_MAX(IMG_CHECK_TEXT_MAX);
	assert_int_equal(check_file(slice_of(file, n), &text, &v), ERR_OK);
}

/* kind: "n+1", "ni1", "n+2" */
static void
make_nifti(const char *kind)
{
	bool two = kind[2] == '2';
	float off = 352;

	memset(file, 0, sizeof(file));
	file[0] = two ? 540 & 0xff : 348 & 0xff;
	file[1] = two ? 540 >> 8 : 348 >> 8;
	if (two) {
		memcpy(file + 4, "n+2\0\r\n\032\n", 8);
		file[168] = 544 & 0xff;
		file[169] = 544 >> 8;
	} else {
		memcpy(file + 108, &off, 4);
		memcpy(file + 344, kind, 4);
	}
	memset(file + 560, 'v', 40); /* voxels may look like anything */
}

static void
test_each_text_of_a_nifti_header_is_told(void **state)
{
	static const struct {
		const char *kind;
		size_t off;
	} where[] = { { "n+1", 4 }, { "n+1", 14 }, { "n+1", 31 },
		{ "n+1", 148 }, { "n+1", 227 }, { "n+1", 228 }, { "n+1", 251 },
		{ "n+1", 328 }, { "n+1", 343 }, { "ni1", 148 }, { "n+2", 240 },
		{ "n+2", 343 }, { "n+2", 508 }, { "n+2", 539 } };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(where) / sizeof(where[0]); i++) {
		make_nifti(where[i].kind);
		check(strcmp(where[i].kind, "ni1") == 0 ? 352 : N);
		assert_int_equal(v.kind, IMG_CHECK_NIFTI);
		assert_int_equal(v.text.n, 0);
		assert_string_equal(v.blocked, "");
		file[where[i].off] = 'D';
		check(strcmp(where[i].kind, "ni1") == 0 ? 352 : N);
		assert_true(v.text.n > 0);
	}
}

static void
test_extensions_are_told(void **state)
{
	float off = 400;

	(void)state;
	make_nifti("n+1");
	memcpy(file + 108, &off, 4);
	check(N);
	assert_int_equal(v.text.n, 0);
	file[399] = 'x';
	check(N);
	assert_true(v.text.n > 0);
	file[399] = 0;
	file[348] = 1; /* the extender alone */
	check(N);
	assert_true(v.text.n > 0);
	make_nifti("ni1");
	file[500] = 'x'; /* the header file ends with them */
	check(N);
	assert_true(v.text.n > 0);
	off = 60000;
	make_nifti("n+1");
	memcpy(file + 108, &off, 4);
	check(sizeof(file));
	assert_string_not_equal(v.blocked, "");
}

static void
test_offsets_that_lie_block_nothing_else(void **state)
{
	static const uint32_t odd[] = { 0x7fc00000, 0xff800000, 0xbf800000, 0,
		0x7f7fffff };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		make_nifti("n+1");
		memcpy(file + 108, &odd[i], 4);
		check(352); /* all of it is header */
		assert_int_equal(v.kind, IMG_CHECK_NIFTI);
		assert_int_equal(v.text.n, 0);
	}
}

static size_t
pack(const char *name, const char *comment)
{
	static uint8_t in[N], copy[32];
	gz_header h = { .name = copy };
	static uint8_t say[32];
	z_stream z = { .next_in = in };
	size_t n;

	memcpy(in, file, N);
	(void)snprintf((char *)copy, sizeof(copy), "%s", name);
	(void)snprintf((char *)say, sizeof(say), "%s", comment);
	h.name = name[0] != '\0' ? copy : NULL;
	h.comment = comment[0] != '\0' ? say : NULL;
	assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 31, 8, 0), Z_OK);
	assert_int_equal(deflateSetHeader(&z, &h), Z_OK);
	z.avail_in = N;
	z.next_out = file;
	z.avail_out = sizeof(file);
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	n = sizeof(file) - z.avail_out;
	assert_int_equal(deflateEnd(&z), Z_OK);
	return n;
}

static void
test_what_is_packed_is_seen_and_what_gzip_kept(void **state)
{
	(void)state;
	make_nifti("n+1");
	check(pack("", ""));
	assert_int_equal(v.kind, IMG_CHECK_NIFTI);
	assert_int_equal(v.text.n, 0);
	assert_string_equal(v.packed_name, "");
	make_nifti("n+1");
	file[150] = 'D';
	check(pack("Doe\nJane.nii", "born 1961"));
	assert_int_equal(v.kind, IMG_CHECK_NIFTI);
	assert_true(v.text.n > 0);
	assert_string_equal(v.packed_name, "Doe?Jane.nii");
	assert_true(v.packed_text);
	make_nifti("n+1");
	check(pack("", "") / 2); /* cut short */
	assert_true(v.kind == IMG_CHECK_OTHER || v.blocked[0] == '\0');
}

static void
dicom(const char *removed, const char *burned)
{
	struct dcm_build d;

	dcm_build_init(&d, DCM_EXPLICIT);
	dcm_build_str(&d, 0x00080016, "UI", DCM_CT);
	dcm_build_str(&d, 0x00080018, "UI", "1.2.3");
	dcm_build_str(&d, 0x00080060, "CS", "CT");
	dcm_build_str(&d, 0x00100010, "PN", "lab-0001");
	dcm_build_str(&d, 0x00100020, "LO", "lab-0001");
	if (removed != NULL)
		dcm_build_str(&d, 0x00120062, "CS", removed);
	dcm_build_u16(&d, 0x00280002, 1);
	if (burned != NULL)
		dcm_build_str(&d, 0x00280301, "CS", burned);
	dcm_build_pixels(&d, 4, 4);
	assert_true(d.b.n < sizeof(file));
	memcpy(file, d.b.p, d.b.n);
	check(d.b.n);
	dcm_build_fini(&d);
}

static void
test_dicom_says_whether_identity_was_removed(void **state)
{
	(void)state;
	dicom("YES", NULL);
	assert_int_equal(v.kind, IMG_CHECK_DICOM);
	assert_string_equal(v.blocked, "");
	assert_string_equal(v.review, "");
	assert_string_equal(v.patient_id, "lab-0001");
	assert_string_equal(v.patient_name, "lab-0001");
	dicom("NO", NULL);
	assert_string_not_equal(v.blocked, "");
	dicom(NULL, NULL);
	assert_string_not_equal(v.blocked, "");
	dicom("YES", "YES");
	assert_string_equal(v.blocked, "");
	assert_string_not_equal(v.review, "");
	memset(file + 132, 0xff, 200); /* no dataset behind DICM */
	check(400);
	assert_string_not_equal(v.blocked, "");
}

static void
test_anything_else_is_of_no_kind(void **state)
{
	(void)state;
	memset(file, 0, sizeof(file));
	check(0);
	assert_int_equal(v.kind, IMG_CHECK_OTHER);
	check(1);
	check(sizeof(file));
	assert_int_equal(v.kind, IMG_CHECK_OTHER);
	memcpy(file, "\x1f\x8b\x08 and not packed at all", 26);
	check(100);
	assert_int_equal(v.kind, IMG_CHECK_OTHER);
}

static int
teardown(void **state)
{
	(void)state;
	buf_fini(&text);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_text_of_a_nifti_header_is_told),
		cmocka_unit_test(test_extensions_are_told),
		cmocka_unit_test(test_offsets_that_lie_block_nothing_else),
		cmocka_unit_test(
		    test_what_is_packed_is_seen_and_what_gzip_kept),
		cmocka_unit_test(test_dicom_says_whether_identity_was_removed),
		cmocka_unit_test(test_anything_else_is_of_no_kind),
	};

	return cmocka_run_group_tests(tests, NULL, teardown);
}
