/* profile: a YAML profile compiles to the table its words say, each wrong one
 * is refused by file, line and cause, and nothing the program guarantees can
 * be ruled away. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/conf/profile.h"
#include "store/base/mem.h"

static char home[64];

static void
put(const char *name, const char *text)
{
	char path[128];
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/profiles/%s.yaml", home, name);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
	assert_int_equal(fclose(f), 0);
}

static void
gone(const char *name)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/profiles/%s.yaml", home, name);
	(void)unlink(path);
}

static int
setup(void **state)
{
	char path[128];

	(void)state;
	(void)snprintf(home, sizeof(home), "/tmp/psc_profile_XXXXXX");
	assert_non_null(mkdtemp(home));
	(void)snprintf(path, sizeof(path), "%s/profiles", home);
	return mkdir(path, 0700);
}

static int
teardown(void **state)
{
	static const char *const names[] = { "a", "b", "c", "basic", "l0", "l1",
		"l2", "l3", "l4", "l5", "l6", "l7", "l8", "l9" };
	char path[128];

	(void)state;
	for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++)
		gone(names[k]);
	(void)snprintf(path, sizeof(path), "%s/profiles", home);
	(void)rmdir(path);
	return rmdir(home);
}

static struct profile *
good(const char *name)
{
	struct errmsg em = { 0 };
	struct profile *p = NULL;
	enum err e = profile_load(home, name, &p, &em);

	if (e != ERR_OK)
		fail_msg("%s: %s", name, em.cause);
	return p;
}

static int
action(const struct profile *p, uint32_t tag)
{
	const struct table_rule *r = table_find(&p->table, tag);

	return r != NULL ? r->action : 0;
}

static void
test_own_profiles_are_their_options(void **state)
{
	struct profile *p = good("basic");

	(void)state;
	assert_int_equal(p->table.options, 0);
	assert_int_equal(p->table.n_rules, 0);
	assert_string_equal(p->parent, "");
	profile_free(p);
	p = good("trial-imaging");
	assert_int_equal(
	    p->table.options, TABLE_OPT_DESCRIPTORS | TABLE_OPT_DATES |
				  TABLE_OPT_PATIENT | TABLE_OPT_PRIVATE);
	profile_free(p);
}

static void
test_a_child_adds_to_its_parent_and_has_the_last_word(void **state)
{
	struct profile *p;
	const struct table_private *v;

	(void)state;
	put("a", "extends: trial-imaging\n"
		 "options: [113109]\n"
		 "rules:\n"
		 "  (0018,11xx): remove\n"
		 "  ExposureTime: keep\n"
		 "  ClinicalTrialSiteID: {replace: \"SITE-07\"}\n"
		 "  0019[SIEMENS MR HEADER]0C: remove\n");
	put("b", "extends: a\n"
		 "description: of ours\n"
		 "without: [113109, Retain Patient Characteristics]\n"
		 "options: [Retain Institution Identity Option]\n"
		 "rules:\n"
		 "  StationName: keep\n"
		 "  (0012,0040): {set: \"SUBJ\"}\n"
		 "  '00181151': empty\n"
		 "  0019[SIEMENS MR HEADER]0C: {keep: IS}\n"
		 "  ClinicalTrialSiteID: keep\n");
	p = good("b");
	assert_string_equal(p->parent, "a");
	assert_string_equal(p->description, "of ours");
	assert_int_equal(
	    p->table.options, TABLE_OPT_DESCRIPTORS | TABLE_OPT_DATES |
				  TABLE_OPT_PRIVATE | TABLE_OPT_INST);
	assert_int_equal(action(p, 0x00181150), TABLE_KEEP);
	assert_int_equal(action(p, 0x00181151), TABLE_EMPTY);
	assert_int_equal(action(p, 0x00181152), TABLE_REMOVE);
	assert_int_equal(action(p, 0x00081010), TABLE_KEEP);
	assert_int_equal(action(p, 0x00120030), TABLE_KEEP);
	assert_int_equal(action(p, 0x00120040), TABLE_SET);
	assert_int_equal(action(p, 0x00100040), 0);
	v = table_find_private(
	    &p->table, SLICE_LIT("SIEMENS MR HEADER"), 0x0019100C);
	assert_non_null(v);
	assert_int_equal(v->vr, VR_IS);
	assert_true(p->table.departs); /* StationName without 113109 */
	profile_free(p);
	p = good("a");
	assert_false(p->table.departs);
	profile_free(p);
}

static struct buf
bytes_of(const char *name)
{
	struct buf b = BUF_MAX(TABLE_BYTES_MAX);
	struct profile *p = good(name);

	table_encode(&p->table, &b);
	assert_int_equal(buf_err(&b), ERR_OK);
	profile_free(p);
	return b;
}

static void
test_same_rules_are_the_same_bytes(void **state)
{
	struct deid_table *t = mem_new(sizeof(*t));
	struct buf a, b;

	(void)state;
	put("a", "extends: basic\nrules:\n  StationName: keep\n"
		 "  (0012,0030): {set: \"S\"}\n  Manufacturer: empty\n");
	put("b", "extends: basic\ndescription: other words\nrules:\n"
		 "  Manufacturer: empty\n  ClinicalTrialSiteID: {set: 'S'}\n"
		 "  (0008,1010): keep\n");
	put("c", "extends: b\nrules:\n  Manufacturer: keep\n");
	a = bytes_of("a");
	b = bytes_of("b");
	assert_true(slice_eq(buf_slice(&a), buf_slice(&b)));
	assert_int_equal(table_decode(buf_slice(&a), t), ERR_OK);
	buf_reset(&b);
	table_encode(t, &b);
	assert_true(slice_eq(buf_slice(&a), buf_slice(&b)));
	buf_fini(&b);
	b = bytes_of("c");
	assert_false(slice_eq(buf_slice(&a), buf_slice(&b)));
	buf_fini(&a);
	buf_fini(&b);
	mem_free(t);
}

struct bad {
	const char *text;
	const char *says;
};
static const struct bad bads[] = {
	{ "options: [113109]\n", "profiles/a.yaml:1: extends is missing" },
	{ "extends: nowhere\n", "profile is called nowhere; it is extended" },
	{ "extends: a\n", "profiles/a.yaml:1: a extends itself" },
	{ "extends: basic\nrule: {}\n", "a.yaml:2: unknown key \"rule\"" },
	{ "extends: basic\nrules:\n  StationNam: keep\n",
	    "a.yaml:3: no attribute is called \"StationNam\"; the nearest is "
	    "StationName" },
	{ "extends: basic\nrules:\n  (0009,1001): keep\n",
	    "a.yaml:3: a private element needs its creator" },
	{ "extends: basic\nrules:\n  (0008,9999): keep\n",
	    "PS3.6 has no such attribute" },
	{ "extends: basic\nrules:\n  (7778,xxxx): remove\n",
	    "no attribute of PS3.6 is like this pattern" },
	{ "extends: basic\nrules:\n  Manufacturer: hide\n",
	    "a.yaml:3: Manufacturer: the action is keep, remove" },
	{ "extends: basic\nrules:\n  Manufacturer: replace\n",
	    "the action is" },
	{ "extends: basic\nrules:\n  Manufacturer: {replace: 7}\n",
	    "the action is" },
	{ "extends: basic\nrules:\n  Manufacturer: keep\n"
	  "  Manufacturer: remove\n",
	    "a key occurs twice" },
	{ "extends: basic\nrules:\n  Modality: {replace: \"mr\"}\n",
	    "a code has capitals" },
	{ "extends: basic\nrules:\n  StudyDate: {replace: \"2024\"}\n",
	    "a date is YYYYMMDD" },
	{ "extends: basic\nrules:\n  StationName: {set: \"seventeen letters"
	  "\"}\n",
	    "too long" },
	{ "extends: basic\nrules:\n  Rows: {replace: \"4\"}\n",
	    "the program itself decides" },
	{ "extends: basic\noptions: [113106, 113107]\n",
	    "a.yaml:2: 113106 and 113107 exclude each other" },
	{ "extends: trial-imaging\noptions: [113106]\n", "exclude each other" },
	{ "extends: basic\noptions: [113101]\n",
	    "a.yaml:2: 113101 (Clean Pixel Data Option) is not done" },
	{ "extends: basic\noptions: [113102]\n", "is not done" },
	{ "extends: basic\noptions: [113103]\n", "is not done" },
	{ "extends: basic\noptions: [Clean Structured Content]\n",
	    "is not done" },
	{ "extends: basic\noptions: [113999]\n", "is no option of PS3.15" },
	{ "extends: basic\nwithout: [113107]\n", "that basic does not claim" },
	{ "extends: trial-imaging\nrules:\n  PatientSex: remove\n",
	    "a claimed option says that it stays" },
	{ "extends: basic\nrules:\n  StudyDate: shift-date\n",
	    "dates move only under option 113107" },
	{ "extends: trial-imaging\nrules:\n  PatientBirthDate: shift-date\n",
	    "no date that may be moved" },
	{ "extends: trial-imaging\nrules:\n  StudyDate: keep\n",
	    "dates stay only under option 113106" },
	{ "extends: basic\noptions: [113106]\nrules:\n"
	  "  PatientBirthDate: keep\n",
	    "this date is never kept" },
	{ "extends: basic\nrules:\n  StudyDescription: words\n",
	    "words stay only under option 113105" },
	{ "extends: basic\nrules:\n  0019[X]0C: {keep: IS}\n",
	    "option 113111 is not claimed" },
	{ "extends: trial-imaging\nrules:\n  0019[X]0C: {keep: OB}\n",
	    "a private element is removed or kept" },
	{ "extends: trial-imaging\nrules:\n  0018[X]0C: remove\n",
	    "a private element is written gggg[CREATOR]ee" },
	{ "extends: basic\nrules: &x {}\n", "anchors and tags" },
	{ "- extends\n", "extends is missing" },
	{ "", "the text is empty" },
};

static void
test_each_wrong_profile_is_refused_with_file_line_and_cause(void **state)
{
	struct errmsg em;
	struct profile *p = NULL;

	(void)state;
	for (size_t k = 0; k < sizeof(bads) / sizeof(bads[0]); k++) {
		em = (struct errmsg){ 0 };
		put("a", bads[k].text);
		if (profile_load(home, "a", &p, &em) == ERR_OK)
			fail_msg("taken: %s", bads[k].text);
		if (strstr(em.cause, bads[k].says) == NULL)
			fail_msg("%s\nsays: %s", bads[k].text, em.cause);
		assert_true(em.next[0] != '\0');
	}
}

/* What the search and the program's own statements rest on. */
static void
test_no_rule_touches_what_the_program_guarantees(void **state)
{
	static const char *const locked[] = { "PatientName", "PatientID",
		"SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID",
		"PatientIdentityRemoved", "DeidentificationMethod",
		"DeidentificationMethodCodeSequence", "PixelData",
		"SpecificCharacterSet",
		"LongitudinalTemporalInformationModified", "SOPClassUID" };
	static const char *const never_kept[] = { "OtherPatientIDs",
		"AccessionNumber", "PatientBirthName", "ReferringPhysicianName",
		"OperatorsName", "StudyID", "FrameOfReferenceUID",
		"EncapsulatedDocument", "PatientBirthDate" };
	char text[256];
	struct errmsg em;
	struct profile *p = NULL;

	(void)state;
	for (size_t k = 0; k < sizeof(locked) / sizeof(locked[0]); k++) {
		(void)snprintf(text, sizeof(text),
		    "extends: basic\nrules:\n  %s: keep\n", locked[k]);
		put("a", text);
		if (profile_load(home, "a", &p, &em) == ERR_OK)
			fail_msg("%s was ruled", locked[k]);
	}
	for (size_t k = 0; k < sizeof(never_kept) / sizeof(never_kept[0]);
	     k++) {
		(void)snprintf(text, sizeof(text),
		    "extends: basic\nrules:\n  %s: keep\n", never_kept[k]);
		put("a", text);
		if (profile_load(home, "a", &p, &em) == ERR_OK)
			fail_msg("%s was kept", never_kept[k]);
	}
	/* A pattern over them passes them by. */
	put("a", "extends: basic\nrules:\n  (0010,xxxx): keep\n"
		 "  (0008,xxxx): remove\n");
	p = good("a");
	assert_int_equal(action(p, 0x00100010), 0);
	assert_int_equal(action(p, 0x00100030), 0);
	assert_int_equal(action(p, 0x00101000), 0);
	assert_int_equal(action(p, 0x00101001), 0);
	assert_int_equal(action(p, 0x00080018), 0);
	assert_int_equal(action(p, 0x00080060), TABLE_REMOVE);
	profile_free(p);
}

static void
test_chains_that_are_rings_or_too_long_end(void **state)
{
	char name[8], text[64];
	struct errmsg em = { 0 };
	struct profile *p = NULL;

	(void)state;
	put("a", "extends: b\n");
	put("b", "extends: c\n");
	put("c", "extends: a\n");
	assert_int_equal(profile_load(home, "a", &p, &em), ERR_MALFORMED);
	assert_non_null(strstr(em.cause, "profiles/c.yaml:1: a extends"));
	for (int k = 0; k < 10; k++) {
		(void)snprintf(name, sizeof(name), "l%d", k);
		(void)snprintf(text, sizeof(text), "extends: l%d\n", k + 1);
		put(name, text);
	}
	assert_int_equal(profile_load(home, "l0", &p, &em), ERR_LIMIT);
}

static void
test_an_inherited_rule_that_no_longer_holds_names_both(void **state)
{
	struct errmsg em = { 0 };
	struct profile *p = NULL;

	(void)state;
	put("b", "extends: trial-imaging\nrules:\n"
		 "  TimezoneOffsetFromUTC: shift-date\n");
	put("a", "extends: b\nwithout: [113107]\n");
	assert_int_equal(profile_load(home, "a", &p, &em), ERR_UNSUPPORTED);
	assert_non_null(strstr(em.cause, "profiles/b.yaml:3"));
	assert_non_null(strstr(em.cause, "extended by a"));
}

static int
collect(void *ctx, const char *name)
{
	struct buf *b = ctx;

	buf_printf(b, "%s ", name);
	return 0;
}

static void
test_names_are_listed_and_hold_no_path(void **state)
{
	struct buf b = BUF_MAX(4096);
	struct errmsg em = { 0 };
	struct profile *p = NULL;

	(void)state;
	teardown(NULL);
	assert_int_equal(setup(NULL), 0);
	put("b", "extends: basic\n");
	put("a", "wrong\n");
	put("basic", "extends: trial-imaging\n");
	assert_int_equal(profile_each(home, collect, &b), ERR_OK);
	assert_string_equal(buf_cstr(&b), "basic trial-imaging a b ");
	buf_fini(&b);
	assert_int_equal(profile_load(home, "basic", &p, &em), ERR_EXISTS);
	assert_non_null(strstr(em.cause, "the program's own"));
	gone("basic");
	assert_int_equal(
	    profile_load(home, "../profiles/b", &p, &em), ERR_NOTFOUND);
	assert_int_equal(profile_load(home, "", &p, &em), ERR_NOTFOUND);
	assert_int_equal(profile_load(home, ".b", &p, &em), ERR_NOTFOUND);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_own_profiles_are_their_options),
		cmocka_unit_test(
		    test_a_child_adds_to_its_parent_and_has_the_last_word),
		cmocka_unit_test(test_same_rules_are_the_same_bytes),
		cmocka_unit_test(
		    test_each_wrong_profile_is_refused_with_file_line_and_cause),
		cmocka_unit_test(
		    test_no_rule_touches_what_the_program_guarantees),
		cmocka_unit_test(test_chains_that_are_rings_or_too_long_end),
		cmocka_unit_test(
		    test_an_inherited_rule_that_no_longer_holds_names_both),
		cmocka_unit_test(test_names_are_listed_and_hold_no_path),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
