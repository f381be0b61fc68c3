/* deid: each rule of the basic profile on hand-made objects. */
#include "tests/unit/helper/deid_fixture.h"

static void
test_a_plain_image_is_releasable_and_says_what_was_done(void **state)
{
	static const char *const syntax[] = { DCM_IMPLICIT, DCM_EXPLICIT };

	(void)state;
	for (int k = 0; k < 2; k++) {
		struct run *t = run_new(syntax[k]);
		uint32_t sq;

		dcm_build_ct(&t->d, 4, 4);
		run_basic(t);
		assert_true(t->r.releasable);
		assert_int_equal(t->r.n_findings, 0);
		assert_string_equal(dcm_transfer_syntax(t->out), syntax[k]);
		assert_text(t, TAG_PATIENT_NAME, "S-01");
		assert_text(t, TAG_PATIENT_ID, "S-01");
		assert_text(t, 0x00120062, "YES");
		assert_text(t, 0x00280303, "REMOVED");
		assert_text(t, TAG_META_SOP_UID, "2.25.1000000");
		assert_string_equal(t->r.sop_uid, "2.25.1000000");
		sq = dcm_find(t->out, 0x00120064);
		assert_int_equal(t->out->e[sq].skip, sq + 5); /* one code */
		assert_true(
		    slice_eq(dcm_value(t->out, sq + 2), SLICE_LIT("113100")));
		run_free(t);
	}
}

static void
test_dates_are_emptied_or_removed_by_type(void **state)
{
	struct run *t = run_new(DCM_EXPLICIT);

	(void)state;
	dcm_build_str(&t->d, 0x00080008, "CS", "ORIGINAL\\PRIMARY");
	dcm_build_str(&t->d, 0x00080012, "DA", "20190807");
	dcm_build_str(&t->d, 0x00080016, "UI", DCM_CT);
	dcm_build_str(&t->d, 0x00080018, "UI", "1.2.3.4.5.6.7");
	dcm_build_str(&t->d, 0x00080020, "DA", "20190807");
	dcm_build_str(&t->d, 0x00080021, "DA", "20190807");
	dcm_build_str(&t->d, 0x00080023, "DA", "20190807");
	dcm_build_str(&t->d, 0x00100030, "DA", "19570613");
	dcm_build_pixels(&t->d, 2, 2);
	run_basic(t);
	assert_int_equal(dcm_find(t->out, 0x00080012), DCM_NONE); /* X */
	assert_text(t, 0x00080020, "");                           /* Z */
	assert_int_equal(dcm_find(t->out, 0x00080021), DCM_NONE); /* X/D: 3 */
	assert_text(t, 0x00080023, "");                           /* Z/D: 2C */
	assert_text(t, 0x00100030, "");
	assert_false(out_has(t, "20190807"));
	run_free(t);
}

static void
test_type_1_dates_of_enhanced_objects_get_a_dummy(void **state)
{
	struct run *t = run_new(DCM_EXPLICIT);

	(void)state;
	dcm_build_str(&t->d, 0x00080008, "CS", "ORIGINAL\\PRIMARY");
	dcm_build_str(&t->d, 0x00080016, "UI", "1.2.840.10008.5.1.4.1.1.4.1");
	dcm_build_str(&t->d, 0x00080018, "UI", "1.2.3.4.5.6.7");
	dcm_build_str(&t->d, 0x00080023, "DA", "20190807");
	dcm_build_str(&t->d, 0x0008002A, "DT", "20190807101112");
	dcm_build_str(&t->d, 0x00080033, "TM", "101112");
	dcm_build_str(&t->d, 0x00181000, "LO", "SN-99");
	dcm_build_pixels(&t->d, 2, 2);
	run_basic(t);
	assert_text(t, 0x00080023, "19000101");
	assert_text(t, 0x0008002A, "19000101000000");
	assert_text(t, 0x00080033, "000000");
	assert_text(t, 0x00181000, "REMOVED");
	assert_true(t->r.releasable);
	run_free(t);
}

static void
shifted(struct run *t, int32_t days)
{
	struct img_context c = { .profile = "trial-imaging",
		.subject = "S-01",
		.shift_days = days };

	assert_int_equal(run_with(t, &c), ERR_OK);
}

/* domain.md 7: whole days, the same for all dates of an object at any depth,
 * times and offsets untouched, BirthDate removed. */
static void
test_dates_move_by_the_days_of_the_subject(void **state)
{
	struct run *t = run_new(DCM_EXPLICIT);
	uint32_t sq;

	(void)state;
	dcm_build_str(&t->d, 0x00080008, "CS", "ORIGINAL\\PRIMARY");
	dcm_build_str(&t->d, 0x00080016, "UI", DCM_CT);
	dcm_build_str(&t->d, 0x00080018, "UI", "1.2.3.4.5.6.7");
	dcm_build_str(&t->d, 0x00080020, "DA", "20200301");
	dcm_build_str(&t->d, 0x00080021, "DA", "2020.03.02");
	dcm_build_str(&t->d, 0x0008002A, "DT", "20200301101112.123456+0100");
	dcm_build_str(&t->d, 0x00080030, "TM", "101112.5");
	dcm_build_str(&t->d, 0x00080201, "SH", "+0100");
	dcm_build_str(&t->d, 0x00100030, "DA", "19570613");
	dcm_build_head(&t->d, 0x00400260, "SQ", DCM_UNDEFINED);
	dcm_build_item(&t->d, DCM_UNDEFINED);
	dcm_build_str(&t->d, 0x00080106, "DT", "20200229");
	dcm_build_str(&t->d, 0x00400244, "DA", "20200302\\20200303");
	dcm_build_item_end(&t->d);
	dcm_build_seq_end(&t->d);
	dcm_build_pixels(&t->d, 2, 2);
	shifted(t, -1);
	assert_true(t->r.releasable);
	assert_text(t, 0x00080020, "20200229");
	assert_text(t, 0x00080021, "20200301");
	assert_text(t, 0x0008002A, "20200229101112.123456+0100");
	assert_text(t, 0x00080030, "101112.5");
	assert_text(t, 0x00080201, "+0100");
	assert_text(t, 0x00100030, "");
	assert_text(t, 0x00280303, "MODIFIED");
	assert_true(out_has(t, "20200301\\20200302"));
	sq = dcm_find(t->out, 0x00120064);
	assert_true(slice_eq(dcm_value(t->out, sq + 10), SLICE_LIT("113107")));
	run_free(t);
}

static void
test_what_is_no_whole_date_is_emptied_and_told(void **state)
{
	static const char *const v[][2] = { { "DT", "2024" },
		{ "DT", "202403" }, { "DT", "20240301-20240401" },
		{ "DT", "20240230" }, { "DT", "20240301 Smith" },
		{ "DT", "20240301101112+01" } };

	(void)state;
	for (size_t k = 0; k < sizeof(v) / sizeof(v[0]); k++) {
		struct run *t = run_new(DCM_EXPLICIT);

		dcm_build_str(&t->d, 0x00080008, "CS", "ORIGINAL\\PRIMARY");
		dcm_build_str(&t->d, 0x00080016, "UI", DCM_CT);
		dcm_build_str(&t->d, 0x00080018, "UI", "1.2.3.4.5.6.7");
		dcm_build_str(&t->d, 0x0008002A, v[k][0], v[k][1]);
		dcm_build_str(&t->d, 0x00080030, "TM", "Smith");
		dcm_build_pixels(&t->d, 2, 2);
		shifted(t, 77);
		assert_true(t->r.releasable);
		assert_true(finds(t, "ill-formed-value"));
		assert_text(t, 0x0008002A, "");
		assert_text(t, 0x00080030, "");
		run_free(t);
	}
}

/* Type 1: a dummy where nothing could be moved. */
static void
test_a_required_date_that_cannot_move_gets_a_dummy(void **state)
{
	struct run *t = run_new(DCM_EXPLICIT);

	(void)state;
	dcm_build_str(&t->d, 0x00080008, "CS", "ORIGINAL\\PRIMARY");
	dcm_build_str(&t->d, 0x00080016, "UI", "1.2.840.10008.5.1.4.1.1.4.1");
	dcm_build_str(&t->d, 0x00080018, "UI", "1.2.3.4.5.6.7");
	dcm_build_str(&t->d, 0x00080023, "DA", "2019");
	dcm_build_str(&t->d, 0x0008002A, "DT", "20190807101112");
	dcm_build_pixels(&t->d, 2, 2);
	shifted(t, -30);
	assert_text(t, 0x00080023, "19000101");
	assert_text(t, 0x0008002A, "20190708101112");
	run_free(t);
}

/* The same days would be the original's dates: nothing claims otherwise. */
static void
test_without_days_the_dates_are_removed(void **state)
{
	struct run *t = run_new(DCM_EXPLICIT);

	(void)state;
	dcm_build_str(&t->d, 0x00080008, "CS", "ORIGINAL\\PRIMARY");
	dcm_build_str(&t->d, 0x00080016, "UI", DCM_CT);
	dcm_build_str(&t->d, 0x00080018, "UI", "1.2.3.4.5.6.7");
	dcm_build_str(&t->d, 0x00080020, "DA", "20200301");
	dcm_build_pixels(&t->d, 2, 2);
	shifted(t, 0);
	assert_text(t, 0x00080020, "");
	assert_text(t, 0x00280303, "REMOVED");
	assert_false(out_has(t, "113107"));
	run_free(t);
}

/* An accession number that is a moved date: a person looks. */
static void
test_an_id_that_equals_a_moved_date_holds_the_object(void **state)
{
	struct run *t = run_new(DCM_EXPLICIT);

	(void)state;
	dcm_build_str(&t->d, 0x00080008, "CS", "ORIGINAL\\PRIMARY");
	dcm_build_str(&t->d, 0x00080016, "UI", DCM_CT);
	dcm_build_str(&t->d, 0x00080018, "UI", "1.2.3.4.5.6.7");
	dcm_build_str(&t->d, 0x00080020, "DA", "20200301");
	dcm_build_str(&t->d, 0x00080050, "SH", "20200229");
	dcm_build_pixels(&t->d, 2, 2);
	shifted(t, -1);
	assert_true(finds(t, "identifier-survived"));
	assert_false(t->r.releasable);
	run_free(t);
}

/* A private text that is read as a code, or not at all. */
static void
test_a_private_acceleration_stays_and_prose_in_its_place_goes(void **state)
{
	static const struct {
		const char *text;
		bool stays;
	} v[] = { { "p2", true }, { "p2s3", true }, { "s8 ", true },
		{ "p2 Smith", false }, { "p", false }, { "p123", false },
		{ "p1s2p3", false }, { "2p", false }, { "", false } };

	(void)state;
	for (size_t k = 0; k < sizeof(v) / sizeof(v[0]); k++) {
		struct run *t = run_new(DCM_EXPLICIT);
		uint32_t tag = 0x00511011;

		dcm_build_str(&t->d, 0x00080016, "UI", DCM_CT);
		dcm_build_str(&t->d, 0x00080018, "UI", "1.2.3.4.5.6.7");
		dcm_build_str(&t->d, 0x00510010, "LO", "SIEMENS MR HEADER");
		dcm_build_str(&t->d, tag, "LO", v[k].text);
		dcm_build_head(&t->d, TAG_PIXELS, "OW", 2);
		buf_put_zero(&t->d.b, 2);
		shifted(t, -1);
		assert_int_equal(dcm_find(t->out, tag) != DCM_NONE, v[k].stays);
		assert_int_equal(
		    dcm_find(t->out, 0x00510010) != DCM_NONE, v[k].stays);
		run_free(t);
	}
}

/* domain.md 5: Head is a surname and a body part; a meaning made of words of
 * imaging is no name, any other that names the patient goes. */
static void
test_a_code_meaning_that_names_the_patient_goes(void **state)
{
	static const char *const v[][2] = { { "Head", "Head" },
		{ "Brain of Quill", "REMOVED" }, { "MRN-774031", "REMOVED" },
		{ "Entire spine", "Entire spine" } };

	(void)state;
	for (size_t k = 0; k < sizeof(v) / sizeof(v[0]); k++) {
		struct run *t = run_new(DCM_EXPLICIT);

		dcm_build_str(&t->d, 0x00080016, "UI", DCM_CT);
		dcm_build_str(&t->d, 0x00080018, "UI", "1.2.3.4.5.6.7");
		dcm_build_head(&t->d, 0x00082218, "SQ", DCM_UNDEFINED);
		dcm_build_item(&t->d, DCM_UNDEFINED);
		dcm_build_str(&t->d, 0x00080100, "SH", "T-A0100");
		dcm_build_str(&t->d, 0x00080102, "SH", "SRT");
		dcm_build_str(&t->d, TAG_CODE_MEANING, "LO", v[k][0]);
		dcm_build_item_end(&t->d);
		dcm_build_seq_end(&t->d);
		dcm_build_str(&t->d, TAG_PATIENT_NAME, "PN", "Quill^Head");
		dcm_build_str(&t->d, TAG_PATIENT_ID, "LO", "MRN-774031");
		dcm_build_pixels(&t->d, 2, 2);
		run_basic(t);
		assert_true(t->r.releasable);
		assert_true(out_has(t, v[k][1]));
		assert_int_equal(
		    strcmp(v[k][0], v[k][1]) == 0, out_has(t, v[k][0]));
		run_free(t);
	}
}

static void
test_only_the_keep_set_survives(void **state)
{
	struct run *t = run_new(DCM_EXPLICIT);

	(void)state;
	dcm_build_str(&t->d, 0x00080016, "UI", DCM_CT);
	dcm_build_str(&t->d, 0x00080018, "UI", "1.2.3.4.5.6.7");
	dcm_build_str(&t->d, 0x00080070, "LO", "Acme Scanners");
	dcm_build_str(&t->d, 0x00081030, "LO", "brain of someone");
	dcm_build_str(&t->d, 0x00091010, "LO", "private");
	dcm_build_str(&t->d, 0x00180015, "CS", "HEAD");
	dcm_build_str(&t->d, 0x00180050, "DS", "1.25");
	dcm_build_str(&t->d, 0x00189423, "LO", "protocol of Dr X"); /* text */
	dcm_build_str(&t->d, 0x00185000, "SH", "retired"); /* unlisted text */
	dcm_build_str(&t->d, 0x00281040, "CS", "LIN");     /* not text */
	dcm_build_str(&t->d, 0x00287FFE, "CS", "UNKNOWN"); /* no such tag */
	dcm_build_u16(&t->d, 0x60000010, 4);
	dcm_build_str(&t->d, 0x60000022, "LO", "overlay of someone");
	dcm_build_head(&t->d, TAG_PIXELS, "OW", 2);
	buf_put_zero(&t->d.b, 2);
	run_basic(t);
	assert_text(t, 0x00080070, "Acme Scanners");
	assert_text(t, 0x00180015, "HEAD");
	assert_text(t, 0x00180050, "1.25");
	assert_text(t, 0x00281040, "LIN");
	assert_int_equal(dcm_find(t->out, 0x00081030), DCM_NONE);
	assert_int_equal(dcm_find(t->out, 0x00091010), DCM_NONE);
	assert_int_equal(dcm_find(t->out, 0x00189423), DCM_NONE);
	assert_int_equal(dcm_find(t->out, 0x00185000), DCM_NONE);
	assert_int_equal(dcm_find(t->out, 0x00287FFE), DCM_NONE);
	assert_int_equal(dcm_find(t->out, 0x60000010), DCM_NONE);
	assert_false(out_has(t, "someone"));
	run_free(t);
}

/* A number or a code that is text in the file gets no pass. */
static void
test_text_in_a_numeric_attribute_is_removed(void **state)
{
	struct run *t = run_new(DCM_EXPLICIT);

	(void)state;
	dcm_build_str(&t->d, 0x00080016, "UI", DCM_CT);
	dcm_build_str(&t->d, 0x00080018, "UI", "1.2.3.4.5.6.7");
	dcm_build_str(&t->d, 0x00180050, "LT", "secret remark");
	dcm_build_str(&t->d, 0x00180060, "UN", "secret remark");
	dcm_build_pixels(&t->d, 2, 2);
	run_basic(t);
	assert_false(out_has(t, "secret"));
	run_free(t);
}

/* "Cannot hold free text" is a promise of the VR that files break. */
static void
test_values_that_break_their_vr_are_cleaned_or_emptied(void **state)
{
	struct run *t = run_new(DCM_EXPLICIT);
	struct img_context c = { .profile = "trial-imaging", .subject = "S" };

	(void)state;
	dcm_build_str(&t->d, 0x00080016, "UI", DCM_CT);
	dcm_build_str(&t->d, 0x00080018, "UI", "1.2.3.4.5.6.7");
	dcm_build_str(&t->d, 0x00080062, "UI", "Quill was here");
	dcm_build_str(&t->d, 0x00100010, "PN", "Quill^Ottoline");
	dcm_build_str(&t->d, 0x00101010, "AS", "094Y");
	dcm_build_str(&t->d, 0x00180015, "CS", "Ottoline, her brain");
	dcm_build_str(&t->d, 0x00180050, "DS", "Quill 3");
	dcm_build_str(&t->d, 0x00180081, "DS", "2.5\\-1e3 ");
	dcm_build_pixels(&t->d, 2, 2);
	assert_int_equal(run_with(t, &c), ERR_OK);
	assert_text(t, 0x00080062, "");
	assert_text(t, 0x00101010, "090Y");
	assert_text(t, 0x00180015, ", her brain");
	assert_text(t, 0x00180050, "");
	assert_text(t, 0x00180081, "2.5\\-1e3");
	assert_false(out_has(t, "Quill"));
	assert_true(finds(t, "ill-formed-value"));
	assert_true(finds(t, "unmapped-uid"));
	run_free(t);
}

static void
test_ages_above_89_are_one_class(void **state)
{
	static const char *const v[][2] = { { "089Y", "089Y" },
		{ "090Y", "090Y" }, { "103Y", "090Y" }, { "999M", "999M" },
		{ "42", "" }, { "x01Y", "" } };

	(void)state;
	for (size_t k = 0; k < sizeof(v) / sizeof(v[0]); k++) {
		struct run *t = run_new(DCM_EXPLICIT);
		struct img_context c = { .profile = "trial-imaging",
			.subject = "S" };

		dcm_build_str(&t->d, 0x00080016, "UI", DCM_CT);
		dcm_build_str(&t->d, 0x00080018, "UI", "1.2.3.4.5.6.7");
		dcm_build_str(&t->d, 0x00101010, "AS", v[k][0]);
		dcm_build_pixels(&t->d, 2, 2);
		assert_int_equal(run_with(t, &c), ERR_OK);
		assert_text(t, 0x00101010, v[k][1]);
		run_free(t);
	}
}

static void
test_sequences_are_cleaned_at_every_depth(void **state)
{
	struct run *t = run_new(DCM_EXPLICIT);
	uint32_t sq;

	(void)state;
	dcm_build_str(&t->d, 0x00080016, "UI", DCM_CT);
	dcm_build_str(&t->d, 0x00080018, "UI", "1.2.3.4.5.6.7");
	dcm_build_head(&t->d, 0x00081140, "SQ", DCM_UNDEFINED);
	dcm_build_item(&t->d, DCM_UNDEFINED);
	dcm_build_str(&t->d, 0x00081150, "UI", DCM_CT);
	dcm_build_str(&t->d, 0x00081155, "UI", "1.2.3.4.5.6.7");
	dcm_build_str(&t->d, 0x00100010, "PN", "Quill^Ottoline");
	dcm_build_head(&t->d, 0x0040A170, "SQ", DCM_UNDEFINED);
	dcm_build_item(&t->d, DCM_UNDEFINED);
	dcm_build_str(&t->d, 0x00080100, "SH", "121322");
	dcm_build_str(&t->d, 0x00104000, "LT", "Ottoline again");
	dcm_build_item_end(&t->d);
	dcm_build_seq_end(&t->d);
	dcm_build_item_end(&t->d);
	dcm_build_seq_end(&t->d);
	dcm_build_pixels(&t->d, 2, 2);
	run_basic(t);
	sq = dcm_find(t->out, 0x00081140);
	assert_int_not_equal(sq, DCM_NONE);
	/* class kept, instance mapped like the object itself */
	assert_true(slice_eq(
	    dcm_trimmed(t->out, dcm_find_in(t->out, sq + 1, 0x00081150)),
	    slice_str(DCM_CT)));
	assert_true(slice_eq(
	    dcm_trimmed(t->out, dcm_find_in(t->out, sq + 1, 0x00081155)),
	    slice_str(t->r.sop_uid)));
	assert_false(out_has(t, "Ottoline"));
	assert_true(out_has(t, "121322"));
	assert_true(t->r.releasable);
	run_free(t);
}

/* A small picture of the image: faces and burned-in names in it escape every
 * look at the pixel data. */
static void
test_icon_images_are_dropped(void **state)
{
	struct run *t = run_new(DCM_EXPLICIT);

	(void)state;
	dcm_build_ct(&t->d, 2, 2);
	t->d.b.n -= 12 + 8; /* the icon stands before the pixel data */
	dcm_build_head(&t->d, 0x00880200, "SQ", DCM_UNDEFINED);
	dcm_build_item(&t->d, DCM_UNDEFINED);
	dcm_build_u16(&t->d, 0x00280010, 1);
	dcm_build_u16(&t->d, 0x00280011, 8);
	dcm_build_bytes(&t->d, 0x7FE00010, "OW", "ICONFACE", 8);
	dcm_build_item_end(&t->d);
	dcm_build_seq_end(&t->d);
	dcm_build_bytes(&t->d, 0x7FE00010, "OW", "\0\0\0\0\0\0\0\0", 8);
	run_basic(t);
	assert_int_equal(dcm_find(t->out, 0x00880200), DCM_NONE);
	assert_false(out_has(t, "ICONFACE"));
	assert_int_not_equal(t->out->pixels, DCM_NONE);
	run_free(t);
}

static void
test_identity_lists_each_uid_once_and_the_object_first(void **state)
{
	struct run *t = run_new(DCM_EXPLICIT);

	(void)state;
	dcm_build_str(&t->d, 0x00080016, "UI", DCM_CT);
	dcm_build_str(&t->d, 0x00080018, "UI", "1.2.3.4.5.6.7");
	dcm_build_head(&t->d, 0x00081140, "SQ", DCM_UNDEFINED);
	dcm_build_item(&t->d, DCM_UNDEFINED);
	dcm_build_str(&t->d, 0x00081150, "UI", DCM_CT);
	dcm_build_str(&t->d, 0x00081155, "UI", "9.8.7.6");
	dcm_build_item_end(&t->d);
	dcm_build_seq_end(&t->d);
	dcm_build_str(&t->d, 0x00100020, "LO", " MRN-7740 ");
	dcm_build_str(&t->d, 0x00100021, "LO", "Brennagh");
	dcm_build_str(&t->d, 0x0020000D, "UI", "1.2.3.4.5.6.1");
	dcm_build_str(&t->d, 0x0020000E, "UI", "1.2.3.4.5.6.7");
	assert_int_equal(dcm_open(buf_slice(&t->d.b), &t->in, NULL), ERR_OK);
	assert_int_equal(deid_identity(t->in, &t->id), ERR_OK);
	assert_string_equal(t->id.patient_id, "MRN-7740");
	assert_string_equal(t->id.issuer, "Brennagh");
	assert_int_equal(t->id.n_uids, 3);
	assert_string_equal(t->id.uids[0], "1.2.3.4.5.6.7");
	assert_string_equal(t->id.uids[1], "1.2.3.4.5.6.1");
	assert_string_equal(t->id.uids[2], "9.8.7.6");
	run_free(t);
}

static void
test_a_null_map_entry_keeps_the_uid(void **state)
{
	struct run *t = run_new(DCM_EXPLICIT);
	const char *none[3] = { NULL, NULL, NULL };
	struct img_context c = { .profile = "basic",
		.subject = "S",
		.new_uids = none,
		.n_uids = 3 };

	(void)state;
	dcm_build_ct(&t->d, 2, 2);
	assert_int_equal(dcm_open(buf_slice(&t->d.b), &t->in, NULL), ERR_OK);
	assert_int_equal(deid_identity(t->in, &t->id), ERR_OK);
	assert_int_equal(t->id.n_uids, 3);
	assert_int_equal(deid_apply(t->in, &t->id, &c, &t->r, &t->em), ERR_OK);
	assert_string_equal(t->r.sop_uid, "1.2.3.4.5.6.7");
	assert_true(t->r.releasable);
	run_free(t);
}

static enum err
many_uids(uint32_t n, bool *releasable, bool *found)
{
	struct run *t = run_new(DCM_EXPLICIT);
	struct img_context c = { .profile = "basic", .subject = "S" };
	enum err e;

	dcm_build_str(&t->d, 0x00080016, "UI", DCM_CT);
	dcm_build_str(&t->d, 0x00080018, "UI", "1.2.3.4.5.6.7");
	dcm_build_head(&t->d, 0x00081140, "SQ", DCM_UNDEFINED);
	for (uint32_t k = 1; k < n; k++) {
		char uid[32];

		(void)snprintf(uid, sizeof(uid), "1.2.3.9.%u", 1000 + k);
		dcm_build_item(&t->d, DCM_UNDEFINED);
		dcm_build_str(&t->d, 0x00081155, "UI", uid);
		dcm_build_item_end(&t->d);
	}
	dcm_build_seq_end(&t->d);
	dcm_build_pixels(&t->d, 2, 2);
	e = run_with(t, &c);
	*releasable = t->r.releasable;
	*found = finds(t, "unmapped-uid");
	assert_false(out_has(t, "1.2.3.9."));
	run_free(t);
	return e;
}

static void
test_uid_limit_holds_at_max_and_blocks_at_max_plus_one(void **state)
{
	bool releasable;
	bool found;

	(void)state;
	assert_int_equal(many_uids(IMG_UIDS_MAX, &releasable, &found), ERR_OK);
	assert_true(releasable);
	assert_int_equal(
	    many_uids(IMG_UIDS_MAX + 1, &releasable, &found), ERR_OK);
	assert_true(found);
	assert_false(releasable);
}

static void
put_private(struct dcm_build *d)
{
	dcm_build_str(d, 0x00430010, "LO", "GEMS_PARM_01");
	dcm_build_str(d, 0x00430011, "LO", "SOMEONE ELSE");
	dcm_build_str(d, 0x00431039, "IS", "1000\\8\\0\\0");
	dcm_build_str(d, 0x0043106F, "DS", "1.5");
	dcm_build_str(d, 0x00431139, "IS", "2000");
	dcm_build_str(d, 0x00431239, "IS", "3000"); /* no creator */
}

static void
test_private_elements_stay_only_by_creator_and_profile(void **state)
{
	static const char *const profile[] = { "basic", "trial-imaging" };

	(void)state;
	for (int k = 0; k < 2; k++) {
		struct run *t = run_new(DCM_EXPLICIT);
		struct img_context c = { .profile = profile[k],
			.subject = "S" };
		bool kept = k == 1;

		dcm_build_str(&t->d, 0x00080016, "UI", DCM_CT);
		dcm_build_str(&t->d, 0x00080018, "UI", "1.2.3.4.5.6.7");
		put_private(&t->d);
		dcm_build_head(&t->d, TAG_PIXELS, "OW", 2);
		buf_put_zero(&t->d.b, 2);
		assert_int_equal(run_with(t, &c), ERR_OK);
		assert_int_equal(
		    dcm_find(t->out, 0x00431039) != DCM_NONE, kept);
		assert_int_equal(
		    dcm_find(t->out, 0x00430010) != DCM_NONE, kept);
		assert_int_equal(dcm_find(t->out, 0x00430011), DCM_NONE);
		assert_int_equal(dcm_find(t->out, 0x0043106F), DCM_NONE);
		assert_int_equal(dcm_find(t->out, 0x00431139), DCM_NONE);
		assert_int_equal(dcm_find(t->out, 0x00431239), DCM_NONE);
		assert_int_equal(out_has(t, "113111"), kept);
		run_free(t);
	}
}

static void
test_descriptions_keep_words_of_imaging(void **state)
{
	static const char *const profile[] = { "basic", "trial-imaging" };

	(void)state;
	for (int k = 0; k < 2; k++) {
		struct run *t = run_new(DCM_EXPLICIT);
		struct img_context c = { .profile = profile[k],
			.subject = "S" };

		dcm_build_str(&t->d, 0x00080016, "UI", DCM_CT);
		dcm_build_str(&t->d, 0x00080018, "UI", "1.2.3.4.5.6.7");
		dcm_build_str(&t->d, 0x00081030, "LO", "Zebulon Ngata");
		dcm_build_str(&t->d, 0x0008103E, "LO", "t1 brain of Dr Head");
		dcm_build_str(&t->d, 0x00100010, "PN", "Brain^Of");
		dcm_build_pixels(&t->d, 2, 2);
		assert_int_equal(run_with(t, &c), ERR_OK);
		assert_int_equal(dcm_find(t->out, 0x00081030), DCM_NONE);
		if (k == 0)
			assert_int_equal(
			    dcm_find(t->out, 0x0008103E), DCM_NONE);
		else /* the patient's own name is no word of imaging */
			assert_text(t, 0x0008103E, "t1 Head");
		assert_int_equal(out_has(t, "113105"), k == 1);
		assert_true(t->r.releasable);
		run_free(t);
	}
}

static void
test_private_text_in_a_numeric_slot_is_dropped(void **state)
{
	struct run *t = run_new(DCM_EXPLICIT);
	struct img_context c = { .profile = "trial-imaging", .subject = "S" };

	(void)state;
	dcm_build_str(&t->d, 0x00080016, "UI", DCM_CT);
	dcm_build_str(&t->d, 0x00080018, "UI", "1.2.3.4.5.6.7");
	dcm_build_str(&t->d, 0x00190010, "LO", "GEMS_ACQU_01");
	dcm_build_str(&t->d, 0x001910BB, "DS", "seen by Dr X");
	dcm_build_pixels(&t->d, 2, 2);
	assert_int_equal(run_with(t, &c), ERR_OK);
	assert_false(out_has(t, "Dr X"));
	assert_int_equal(dcm_find(t->out, 0x00190010), DCM_NONE);
	run_free(t);
}

static void
test_no_deid_gives_the_bytes_as_they_are(void **state)
{
	struct run *t = run_new(DCM_EXPLICIT);
	struct img_context c = {
		.profile = "basic", .subject = "S", .no_deid = true
	};

	(void)state;
	dcm_build_ct(&t->d, 2, 2);
	assert_int_equal(run_with(t, &c), ERR_OK);
	assert_true(t->r.same);
	assert_int_equal(t->r.file.n, 0); /* not copied */
	assert_string_equal(t->r.sop_uid, "1.2.3.4.5.6.7");
	assert_int_equal(t->r.n_findings, 0);
	run_free(t);
}

static void
test_levels_out_of_order_are_sorted_and_twins_block(void **state)
{
	struct run *t = run_new(DCM_EXPLICIT);

	(void)state;
	dcm_build_str(&t->d, 0x00080018, "UI", "1.2.3.4.5.6.7");
	dcm_build_str(&t->d, 0x00080016, "UI", DCM_CT);
	dcm_build_str(&t->d, 0x00180050, "DS", "2");
	dcm_build_str(&t->d, 0x00180015, "CS", "HEAD");
	dcm_build_str(&t->d, 0x00180050, "DS", "3");
	dcm_build_pixels(&t->d, 2, 2);
	run_basic(t);
	assert_false(t->out->unsorted);
	assert_false(t->out->duplicates);
	assert_text(t, 0x00180050, "2");
	assert_true(finds(t, "duplicate-element"));
	assert_false(t->r.releasable);
	run_free(t);
}

static void
test_compressed_pixels_are_copied_bit_by_bit(void **state)
{
	struct run *t = run_new("1.2.840.10008.1.2.4.90");
	struct slice a;
	struct slice b;

	(void)state;
	dcm_build_str(&t->d, 0x00080016, "UI", DCM_CT);
	dcm_build_str(&t->d, 0x00080018, "UI", "1.2.3.4.5.6.7");
	dcm_build_head(&t->d, TAG_PIXELS, "OB", DCM_UNDEFINED);
	dcm_build_item(&t->d, 0);
	dcm_build_item(&t->d, 6);
	buf_put(&t->d.b, "\xff\x4f\xff\x51\1\2", 6);
	dcm_build_seq_end(&t->d);
	buf_put_str(&t->d.b, "Quill");
	run_basic(t);
	a = dcm_value(t->in, t->in->pixels);
	b = dcm_value(t->out, t->out->pixels);
	assert_true(slice_eq(a, b));
	assert_true(finds(t, "trailing-bytes"));
	assert_false(out_has(t, "Quill"));
	assert_true(t->r.releasable);
	run_free(t);
}

static void
test_survives_every_failing_allocation(void **state)
{
	enum err e = ERR_NOMEM;

	(void)state;
	for (long n = 0; e == ERR_NOMEM; n++) {
		struct run *t = run_new(DCM_EXPLICIT);
		struct img_context c = { .profile = "basic", .subject = "S" };

		assert_true(n < 1000);
		dcm_build_ct(&t->d, 2, 2);
		mem_fail_at(n);
		e = run_with(t, &c);
		mem_fail_at(-1);
		if (e == ERR_OK)
			assert_true(t->r.releasable);
		run_free(t);
	}
	assert_int_equal(e, ERR_OK);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    test_a_plain_image_is_releasable_and_says_what_was_done),
		cmocka_unit_test(test_dates_are_emptied_or_removed_by_type),
		cmocka_unit_test(
		    test_type_1_dates_of_enhanced_objects_get_a_dummy),
		cmocka_unit_test(test_dates_move_by_the_days_of_the_subject),
		cmocka_unit_test(
		    test_what_is_no_whole_date_is_emptied_and_told),
		cmocka_unit_test(
		    test_a_required_date_that_cannot_move_gets_a_dummy),
		cmocka_unit_test(test_without_days_the_dates_are_removed),
		cmocka_unit_test(
		    test_an_id_that_equals_a_moved_date_holds_the_object),
		cmocka_unit_test(
		    test_a_code_meaning_that_names_the_patient_goes),
		cmocka_unit_test(test_only_the_keep_set_survives),
		cmocka_unit_test(
		    test_a_private_acceleration_stays_and_prose_in_its_place_goes),
		cmocka_unit_test(test_text_in_a_numeric_attribute_is_removed),
		cmocka_unit_test(
		    test_values_that_break_their_vr_are_cleaned_or_emptied),
		cmocka_unit_test(test_ages_above_89_are_one_class),
		cmocka_unit_test(test_sequences_are_cleaned_at_every_depth),
		cmocka_unit_test(test_icon_images_are_dropped),
		cmocka_unit_test(
		    test_identity_lists_each_uid_once_and_the_object_first),
		cmocka_unit_test(test_a_null_map_entry_keeps_the_uid),
		cmocka_unit_test(
		    test_uid_limit_holds_at_max_and_blocks_at_max_plus_one),
		cmocka_unit_test(
		    test_private_elements_stay_only_by_creator_and_profile),
		cmocka_unit_test(test_descriptions_keep_words_of_imaging),
		cmocka_unit_test(
		    test_private_text_in_a_numeric_slot_is_dropped),
		cmocka_unit_test(test_no_deid_gives_the_bytes_as_they_are),
		cmocka_unit_test(
		    test_levels_out_of_order_are_sorted_and_twins_block),
		cmocka_unit_test(test_compressed_pixels_are_copied_bit_by_bit),
		cmocka_unit_test(test_survives_every_failing_allocation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
