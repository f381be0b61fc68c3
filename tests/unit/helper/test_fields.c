/* fields: values become numbers, texts and arrays by VR; what is ill-formed
 * or not UTF-8 is left out. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "node/imaging/helper/fields.h"
#include "tests/lib/dcm_build.h"

struct fix {
	struct dcm_build d;
	struct dcm_file *f;
	struct buf b;
	struct mp_doc doc;
};

static void
read_fields(struct fix *x)
{
	static const struct mp_limits lim = {
		.bytes_max = 1 << 20, .count_max = 256, .depth_max = 4
	};

	assert_int_equal(dcm_open(buf_slice(&x->d.b), &x->f, NULL), ERR_OK);
	buf_init(&x->b, 1 << 20);
	assert_int_equal(fields_write(x->f, &x->b), ERR_OK);
	assert_int_equal(mp_parse(buf_slice(&x->b), &lim, &x->doc), ERR_OK);
}

static void
fix_fini(struct fix *x)
{
	mp_doc_fini(&x->doc);
	buf_fini(&x->b);
	dcm_close(x->f);
	dcm_build_fini(&x->d);
}

static const struct mp_node *
field(const struct fix *x, const char *level, const char *key)
{
	return mp_get(mp_get(x->doc.root, level), key);
}

static void
test_every_level_is_there_and_values_have_types(void **state)
{
	struct fix x = { 0 };
	const struct mp_node *v;

	(void)state;
	dcm_build_init(&x.d, DCM_EXPLICIT);
	dcm_build_str(&x.d, 0x00080008, "CS", "ORIGINAL\\PRIMARY");
	dcm_build_str(&x.d, 0x00080018, "UI", "1.2.3");
	dcm_build_str(&x.d, 0x00080070, "LO", "Acme");
	dcm_build_str(&x.d, 0x00100020, "LO", "003-0142");
	dcm_build_str(&x.d, 0x00180050, "DS", "1.25");
	dcm_build_str(&x.d, 0x00180080, "DS", " 2000 ");
	dcm_build_str(&x.d, 0x0020000D, "UI", "1.2.4");
	dcm_build_str(&x.d, 0x00200013, "IS", "+7");
	dcm_build_str(&x.d, 0x00200032, "DS", "-1\\0\\2.5e1");
	dcm_build_u16(&x.d, 0x00280010, 512);
	read_fields(&x);
	assert_int_equal(mp_len(x.doc.root), 4);
	assert_true(
	    slice_eq(mp_str(&x.doc, field(&x, "subject", "PatientID"), 64),
		SLICE_LIT("003-0142")));
	assert_true(mp_has(mp_get(x.doc.root, "exam"), "StudyInstanceUID"));
	assert_true(
	    mp_f64(&x.doc, field(&x, "series", "SliceThickness")) == 1.25);
	assert_int_equal(
	    mp_i64(&x.doc, field(&x, "series", "RepetitionTime")), 2000);
	assert_int_equal(mp_i64(&x.doc, field(&x, "series", "Rows")), 512);
	assert_int_equal(
	    mp_i64(&x.doc, field(&x, "image", "InstanceNumber")), 7);
	v = field(&x, "image", "ImagePositionPatient");
	assert_int_equal(mp_len(v), 3);
	assert_int_equal(mp_i64(&x.doc, mp_at(v, 2)), 25);
	assert_int_equal(mp_len(field(&x, "image", "ImageType")), 2);
	assert_int_equal(x.doc.err, ERR_OK);
	fix_fini(&x);
}

static void
test_ill_formed_and_empty_values_are_left_out(void **state)
{
	static const char *const bad[] = { "\xE9toile", "\xC0\x80",
		"\xED\xA0\x80", "tab\there", "", "\xF5\x80\x80\x80" };
	struct fix x;

	(void)state;
	for (size_t k = 0; k < sizeof(bad) / sizeof(bad[0]); k++) {
		x = (struct fix){ 0 };
		dcm_build_init(&x.d, DCM_EXPLICIT);
		dcm_build_str(&x.d, 0x00080070, "LO", bad[k]);
		dcm_build_str(&x.d, 0x00180050, "DS", "1.2.3");
		dcm_build_str(&x.d, 0x00200013, "IS", "7.5");
		dcm_build_str(&x.d, 0x00200032, "DS", "1\\\\2");
		read_fields(&x);
		assert_int_equal(mp_len(mp_get(x.doc.root, "series")), 0);
		assert_int_equal(mp_len(mp_get(x.doc.root, "image")), 0);
		fix_fini(&x);
	}
	x = (struct fix){ 0 };
	dcm_build_init(&x.d, DCM_EXPLICIT);
	dcm_build_str(&x.d, 0x00080070, "LO", "\xC3\xA9toile");
	read_fields(&x);
	assert_true(mp_has(mp_get(x.doc.root, "series"), "Manufacturer"));
	fix_fini(&x);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    test_every_level_is_there_and_values_have_types),
		cmocka_unit_test(test_ill_formed_and_empty_values_are_left_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
