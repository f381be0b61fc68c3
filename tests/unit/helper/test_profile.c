/* profile: what a profile's rules do to an object, what is stamped then, and
 * that the search at the end looks into what they keep. */
#include "tests/unit/helper/deid_fixture.h"

#include "node/deid/table.h"

static struct deid_table table;

static void
begin(uint32_t options)
{
	table = (struct deid_table){ .name = "site", .options = options };
}

/* In order of tags; value of REPLACE and SET. */
static void
rule(uint32_t tag, enum table_action a, const char *value)
{
	struct table_rule *r = &table.rules[table.n_rules++];

	*r = (struct table_rule){ .tag = tag, .action = (uint8_t)a };
	if (a == TABLE_REPLACE || a == TABLE_SET) {
		r->text = (uint8_t)table.n_texts;
		(void)snprintf(table.texts[table.n_texts++],
		    sizeof(table.texts[0]), "%s", value);
	}
	assert_null(table_refusal(table.options, dict_find(tag), a, value));
	table.departs =
	    table.departs || table_departs(table.options, dict_find(tag), a);
}

static void
run_site(struct run *t)
{
	struct img_context c = { .profile = "site",
		.table = &table,
		.subject = "S-01",
		.shift_days = -100 };

	assert_int_equal(run_with(t, &c), ERR_OK);
}

static void
put_front(struct run *t, const char *station, const char *name)
{
	dcm_build_str(&t->d, 0x00080008, "CS", "ORIGINAL\\PRIMARY\\AXIAL");
	dcm_build_str(&t->d, 0x00080016, "UI", DCM_CT);
	dcm_build_str(&t->d, 0x00080018, "UI", "1.2.3.4.5.6.7");
	dcm_build_str(&t->d, 0x00080020, "DA", "20190807");
	dcm_build_str(&t->d, 0x00080060, "CS", "CT");
	dcm_build_str(&t->d, 0x00080070, "LO", "Acme");
	dcm_build_str(&t->d, 0x00081010, "SH", station);
	dcm_build_str(&t->d, 0x00081090, "LO", "Model 7");
	dcm_build_str(&t->d, 0x00100010, "PN", name);
	dcm_build_str(&t->d, 0x00100020, "LO", "MRN-7740");
	dcm_build_str(&t->d, 0x00120030, "LO", "Old site");
}

static void
put_end(struct run *t)
{
	dcm_build_str(&t->d, 0x0020000D, "UI", "1.2.3.4.5.6.1");
	dcm_build_str(&t->d, 0x0020000E, "UI", "1.2.3.4.5.6.2");
	dcm_build_str(&t->d, 0x00200052, "UI", "1.2.3.4.5.6.9");
	dcm_build_pixels(&t->d, 2, 2);
}

static void
test_rules_keep_empty_remove_replace_and_set(void **state)
{
	struct run *t = run_new(DCM_EXPLICIT);

	(void)state;
	begin(0);
	rule(0x00080070, TABLE_EMPTY, "");
	rule(0x00081010, TABLE_KEEP, "");
	rule(0x00081090, TABLE_REMOVE, "");
	rule(0x00120030, TABLE_REPLACE, "SITE-07");
	rule(0x00120031, TABLE_REPLACE, "not there, not written");
	rule(0x00120040, TABLE_SET, "SUBJECT-1");
	put_front(t, "CT-ROOM-4", "Quill^Ottoline");
	put_end(t);
	run_site(t);
	assert_true(t->r.releasable);
	assert_text(t, 0x00080070, "");
	assert_text(t, 0x00081010, "CT-ROOM-4");
	assert_int_equal(dcm_find(t->out, 0x00081090), DCM_NONE);
	assert_text(t, 0x00120030, "SITE-07");
	assert_int_equal(dcm_find(t->out, 0x00120031), DCM_NONE);
	assert_text(t, 0x00120040, "SUBJECT-1");
	assert_false(out_has(t, "Ottoline"));
	run_free(t);
}

/* domain.md 3: exactly what was done. */
static void
test_stamps_say_exactly_what_was_done(void **state)
{
	struct run *t = run_new(DCM_EXPLICIT);

	(void)state;
	begin(0);
	rule(0x00081010, TABLE_KEEP, "");
	assert_true(table.departs);
	put_front(t, "CT-ROOM-4", "Quill^Ottoline");
	put_end(t);
	run_site(t);
	assert_false(out_has(t, "113100"));
	assert_int_equal(dcm_find(t->out, 0x00120064), DCM_NONE);
	assert_text(t, 0x00120063,
	    "Pesscara " PSC_VERSION
	    " site\\rules of its own, not PS3.15 basic");
	assert_text(t, 0x00120062, "YES");
	run_free(t);

	t = run_new(DCM_EXPLICIT);
	begin(TABLE_OPT_DEVICE | TABLE_OPT_DATES);
	put_front(t, "CT-ROOM-4", "Quill^Ottoline");
	put_end(t);
	run_site(t);
	assert_text(t, 0x00081010, "CT-ROOM-4");
	assert_text(
	    t, 0x00120063, "Pesscara " PSC_VERSION " site\\PS3.15 E.1-1");
	assert_true(out_has(t, "113100"));
	assert_true(out_has(t, "113109"));
	assert_true(out_has(t, "113107"));
	assert_false(out_has(t, "113108"));
	assert_text(t, 0x00280303, "MODIFIED");
	assert_text(t, 0x00080020, "20190429");
	assert_true(t->r.releasable);
	run_free(t);
}

static void
test_a_kept_element_that_names_the_patient_is_found(void **state)
{
	struct run *t = run_new(DCM_EXPLICIT);

	(void)state;
	begin(TABLE_OPT_DEVICE);
	put_front(t, "QUILL ROOM", "Quill^Ottoline");
	put_end(t);
	run_site(t);
	assert_true(finds(t, "identifier-survived"));
	assert_false(t->r.releasable);
	run_free(t);

	/* So is the patient's id in a constant of the profile. */
	t = run_new(DCM_EXPLICIT);
	begin(0);
	rule(0x00120040, TABLE_SET, "mrn7740");
	put_front(t, "CT-ROOM-4", "Quill^Ottoline");
	put_end(t);
	run_site(t);
	assert_true(finds(t, "identifier-survived"));
	run_free(t);
}

static void
test_full_dates_stay_but_not_in_text_nor_as_birth_date(void **state)
{
	struct run *t = run_new(DCM_EXPLICIT);

	(void)state;
	begin(TABLE_OPT_FULL_DATES);
	put_front(t, "CT-ROOM-4", "Quill^Ottoline");
	put_end(t);
	run_site(t);
	assert_text(t, 0x00080020, "20190807");
	assert_text(t, 0x00280303, "UNMODIFIED");
	assert_true(out_has(t, "113106"));
	assert_true(t->r.releasable);
	run_free(t);

	t = run_new(DCM_EXPLICIT);
	begin(TABLE_OPT_FULL_DATES);
	rule(0x00080070, TABLE_KEEP, "");
	dcm_build_str(&t->d, 0x00080016, "UI", DCM_CT);
	dcm_build_str(&t->d, 0x00080018, "UI", "1.2.3.4.5.6.7");
	dcm_build_str(&t->d, 0x00080020, "DA", "20190807");
	dcm_build_str(&t->d, 0x00080070, "LO", "seen 7 Aug 2019");
	dcm_build_str(&t->d, 0x00100030, "DA", "19500102");
	dcm_build_pixels(&t->d, 2, 2);
	run_site(t);
	assert_false(out_has(t, "19500102"));
	assert_true(finds(t, "identifier-survived"));
	run_free(t);
}

static void
test_uids_stay_under_their_option_only(void **state)
{
	struct run *t = run_new(DCM_EXPLICIT);

	(void)state;
	begin(TABLE_OPT_UIDS);
	put_front(t, "CT-ROOM-4", "Quill^Ottoline");
	put_end(t);
	run_site(t);
	assert_text(t, 0x00080018, "1.2.3.4.5.6.7");
	assert_text(t, 0x00200052, "1.2.3.4.5.6.9");
	assert_true(out_has(t, "113110"));
	assert_true(t->r.releasable);
	run_free(t);
}

static void
test_private_elements_by_the_profile(void **state)
{
	static const struct table_private want[] = {
		{ 0x0029, 0x05, VR_LO, "OUR SCANNER" },
		{ 0x0029, 0x06, VR_DS, "OUR SCANNER" },
		{ 0x0043, 0x39, VR_NONE, "GEMS_PARM_01" },
	};
	struct run *t = run_new(DCM_EXPLICIT);

	(void)state;
	begin(TABLE_OPT_PRIVATE);
	memcpy(table.priv, want, sizeof(want));
	table.n_private = 3;
	dcm_build_str(&t->d, 0x00080016, "UI", DCM_CT);
	dcm_build_str(&t->d, 0x00080018, "UI", "1.2.3.4.5.6.7");
	dcm_build_str(&t->d, 0x00100010, "PN", "Quill^Ottoline");
	dcm_build_str(&t->d, 0x00290010, "LO", "OUR SCANNER");
	dcm_build_str(&t->d, 0x00291005, "LO", "mode of Quill fast");
	dcm_build_str(&t->d, 0x00291006, "DS", "not a number");
	dcm_build_str(&t->d, 0x00291007, "LO", "not listed");
	dcm_build_str(&t->d, 0x00430010, "LO", "GEMS_PARM_01");
	dcm_build_str(&t->d, 0x00431039, "IS", "1000\\8\\0\\0");
	dcm_build_pixels(&t->d, 2, 2);
	run_site(t);
	assert_text(t, 0x00291005, "mode of  fast");
	assert_int_equal(dcm_find(t->out, 0x00291006), DCM_NONE);
	assert_int_equal(dcm_find(t->out, 0x00291007), DCM_NONE);
	assert_int_equal(dcm_find(t->out, 0x00431039), DCM_NONE);
	assert_int_equal(dcm_find(t->out, 0x00430010), DCM_NONE);
	assert_true(t->r.releasable);
	run_free(t);
}

/* What the node sends is checked again by the one who obeys it. */
static void
test_a_table_with_a_forbidden_rule_is_refused(void **state)
{
	static struct deid_table back;
	struct buf b = BUF_MAX(TABLE_BYTES_MAX);

	(void)state;
	begin(0);
	rule(0x00080070, TABLE_EMPTY, "");
	table_encode(&table, &b);
	assert_int_equal(table_decode(buf_slice(&b), &back), ERR_OK);
	b.p[10] = 0x10; /* (0010,0070) is nothing of PS3.6 */
	assert_int_equal(table_decode(buf_slice(&b), &back), ERR_MALFORMED);
	buf_reset(&b);
	table.rules[0].tag = TAG_PATIENT_NAME;
	table_encode(&table, &b);
	assert_int_equal(table_decode(buf_slice(&b), &back), ERR_MALFORMED);
	buf_reset(&b);
	table.rules[0] =
	    (struct table_rule){ .tag = 0x00081010, .action = TABLE_KEEP };
	table_encode(&table, &b); /* departs, and does not say so */
	assert_int_equal(table_decode(buf_slice(&b), &back), ERR_MALFORMED);
	for (size_t n = 0; n < b.n; n++)
		assert_int_not_equal(
		    table_decode(slice_of(b.p, n), &back), ERR_OK);
	buf_fini(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rules_keep_empty_remove_replace_and_set),
		cmocka_unit_test(test_stamps_say_exactly_what_was_done),
		cmocka_unit_test(
		    test_a_kept_element_that_names_the_patient_is_found),
		cmocka_unit_test(
		    test_full_dates_stay_but_not_in_text_nor_as_birth_date),
		cmocka_unit_test(test_uids_stay_under_their_option_only),
		cmocka_unit_test(test_private_elements_by_the_profile),
		cmocka_unit_test(test_a_table_with_a_forbidden_rule_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
