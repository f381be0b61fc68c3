/* ctp: a CTP script becomes a profile, every checked element of it is told,
 * and nothing that cannot be done is passed over in silence. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>

#include "cli/ctp.h"

struct told {
	struct buf lost, done;
};

static void
note(void *ctx, const struct ctp_line *l)
{
	struct told *t = ctx;

	buf_printf(l->lost ? &t->lost : &t->done, "%u %s %s: %s\n", l->line,
	    l->element, l->name, l->did);
}

struct run {
	struct told told;
	struct buf yaml;
	struct errmsg em;
	enum err e;
};

static void
run(struct run *r, const char *script)
{
	*r = (struct run){ 0 };
	r->told.lost = BUF_MAX(1 << 20);
	r->told.done = BUF_MAX(1 << 20);
	r->yaml = BUF_MAX(CTP_YAML_MAX);
	r->e = ctp_script(slice_str(script), note, &r->told, &r->yaml, &r->em);
}

static void
done(struct run *r)
{
	buf_fini(&r->told.lost);
	buf_fini(&r->told.done);
	buf_fini(&r->yaml);
}

static void
has(struct buf *b, const char *text)
{
	if (strstr(buf_cstr(b), text) == NULL)
		fail_msg("no \"%s\" in:\n%s", text, buf_cstr(b));
}

static void
has_not(struct buf *b, const char *text)
{
	if (strstr(buf_cstr(b), text) != NULL)
		fail_msg("\"%s\" in:\n%s", text, buf_cstr(b));
}

static void
test_each_function_becomes_its_rule(void **state)
{
	struct run r;

	(void)state;
	run(&r,
	    "<?xml version=\"1.0\"?>\n<!-- ours -->\n<script>\n"
	    "<p t=\"SITEID\">07</p>\n"
	    "<e en=\"T\" t=\"00080070\" n=\"Manufacturer\">@keep()</e>\n"
	    "<e en=\"T\" t=\"(0008,1010)\" n=\"x\">@remove()</e>\n"
	    "<e en=\"T\" t=\"[00081090]\" n=\"x\">@empty()</e>\n"
	    "<e en=\"T\" t=\"00120030\" n=\"x\">SITE-@param(@SITEID)</e>\n"
	    "<e en=\"T\" t=\"00120031\" n=\"x\">@always()A &quot;B&quot;</e>\n"
	    "<e en=\"T\" t=\"00200052\" n=\"x\">@hashuid(@UIDROOT,this)</e>\n"
	    "<e en=\"F\" t=\"00104000\" n=\"unchecked\">@keep()</e>\n"
	    "<e en=\"T\" t=\"00180015\" n=\"x\">@require()</e>\n"
	    "<e en=\"T\" t=\"00180010\" n=\"x\"></e>\n"
	    "<e en=\"T\" t=\"0019[SIEMENS MR HEADER]0c\" n=\"x\">@remove()</e>"
	    "\n<k en=\"T\" t=\"0018\">Keep group 0018</k>\n"
	    "<r en=\"T\" t=\"privategroups\">Remove</r>\n"
	    "</script>\n");
	assert_int_equal(r.e, ERR_OK);
	has(&r.yaml, "extends: basic\n");
	has(&r.yaml, "  '(0018,xxxx)': keep\n");
	has(&r.yaml, "  '(0008,0070)': keep # Manufacturer\n");
	has(&r.yaml, "  '(0008,1010)': remove # StationName\n");
	has(&r.yaml, "  '(0008,1090)': empty # ManufacturerModelName\n");
	has(&r.yaml, "  '(0012,0030)': {replace: \"SITE-07\"}");
	has(&r.yaml, "  '(0012,0031)': {set: \"A \\\"B\\\"\"}");
	has(&r.yaml, "  '(0020,0052)': hash-uid");
	has(&r.yaml, "  '(0018,0015)': keep # BodyPartExamined");
	has(&r.yaml, "  '(0018,0010)': empty");
	has(&r.yaml, "  '0019[SIEMENS MR HEADER]0c': remove\n");
	has_not(&r.yaml, "0010,4000");
	assert_string_equal(buf_cstr(&r.told.lost), "");
	has(&r.told.done, "BodyPartExamined: keep: kept where it is there");
	done(&r);
}

static void
test_what_cannot_be_done_is_told_with_its_line(void **state)
{
	struct run r;

	(void)state;
	run(&r,
	    "<script>\n"
	    "<e en=\"T\" t=\"00080050\" n=\"x\">@hash(this,16)</e>\n"
	    "<e en=\"T\" t=\"00080008\" n=\"x\">@if(ImageType,contains,\"S(\")"
	    "{@quarantine()}{@keep()}</e>\n"
	    "<e en=\"T\" t=\"00081030\" n=\"x\">@contents(this,\"a\",\"b\")"
	    "</e>\n"
	    "<e en=\"T\" t=\"00101000\" n=\"x\">@keep()</e>\n"
	    "<e en=\"T\" t=\"0019[X]01\" n=\"x\">@keep()</e>\n"
	    "<e en=\"T\" t=\"00131010\" n=\"ProjectName\">P</e>\n"
	    "<e en=\"T\" t=\"00120040\" n=\"x\">@param(@NONE)</e>\n"
	    "<e en=\"T\" t=\"00120042\" n=\"x\">@frobnicate()</e>\n"
	    "<e en=\"T\" t=\"00120020\" n=\"x\">@append(){a}</e>\n"
	    "<e en=\"T\" t=\"0020000d\" n=\"x\">@keep()</e>\n"
	    "<k en=\"T\" t=\"0028\">k</k>\n"
	    "<k en=\"T\" t=\"0040\">k</k>\n"
	    "<r en=\"F\" t=\"privategroups\">r</r>\n"
	    "<r en=\"T\" t=\"unspecifiedelements\">r</r>\n"
	    "</script>");
	assert_int_equal(r.e, ERR_OK);
	has(&r.told.lost, "2 (0008,0050) AccessionNumber: by the table: hash");
	has(&r.told.lost, "3 (0008,0008) ImageType: by the table: it depends");
	has(&r.told.lost, "4 (0008,1030) StudyDescription: by the table: par");
	has(&r.told.lost,
	    "5 (0010,1000) OtherPatientIDs: by the table: it may");
	has(&r.told.lost, "6 0019[X]01 x: removed: add {keep: VR} by hand");
	has(&r.told.lost, "7 (0013,1010) ProjectName: removed: a private");
	has(&r.told.lost, "8 (0012,0040) ClinicalTrialSubjectID: by the table");
	has(&r.told.lost, "9 (0012,0042)");
	has(&r.told.lost, "no such function is known here");
	has(&r.told.lost, "10 (0012,0020)");
	has(&r.told.lost, "11 (0020,000d) StudyInstanceUID: by the table: the "
			  "program itself");
	has(&r.told.lost, "13 0040 keep group: not done");
	has(&r.told.lost, "14 privategroups");
	has(&r.told.lost, "15 unspecifiedelements");
	has(&r.yaml, "(0028,xxxx)': keep\n");
	done(&r);
}

static void
test_branches_that_agree_are_done(void **state)
{
	struct run r;

	(void)state;
	run(&r, "<script><e en=\"T\" t=\"00081010\" n=\"x\">@if(StationName,"
		"isblank){@remove()}{@select(){@remove()}{@remove()}}</e>"
		"</script>");
	assert_int_equal(r.e, ERR_OK);
	has(&r.yaml, "'(0008,1010)': remove");
	done(&r);
}

static void
test_options_are_claimed_only_when_all_of_the_script_fits(void **state)
{
	struct run r;

	(void)state;
	run(&r,
	    "<script>\n"
	    "<e en=\"T\" t=\"00080020\" n=\"x\">@incrementdate(this,@D)</e>\n"
	    "<e en=\"T\" t=\"00080030\" n=\"x\">@keep()</e>\n"
	    "<e en=\"T\" t=\"00080021\" n=\"x\">@remove()</e>\n"
	    "<e en=\"T\" t=\"00100040\" n=\"x\">@keep()</e>\n"
	    "<e en=\"T\" t=\"00101010\" n=\"x\">@keep()</e>\n"
	    "<e en=\"T\" t=\"00181000\" n=\"x\">@keep()</e>\n"
	    "<e en=\"T\" t=\"00081010\" n=\"x\">@remove()</e>\n"
	    "</script>");
	assert_int_equal(r.e, ERR_OK);
	has(&r.yaml, "options: [113107, 113108]\n");
	has(&r.yaml, "'(0008,0021)': remove");
	has(&r.yaml, "'(0018,1000)': keep");
	has_not(&r.yaml, "0008,0020");
	has(&r.told.done, "StudyDate: done under 113107: by the days");
	assert_string_equal(buf_cstr(&r.told.lost), "");
	done(&r);
	run(&r, "<script>"
		"<e en=\"T\" t=\"00080020\" n=\"x\">@keep()</e>"
		"<e en=\"T\" t=\"00080080\" n=\"x\">@keep()</e>"
		"<e en=\"T\" t=\"00081010\" n=\"x\">@keep()</e>"
		"</script>");
	has(&r.yaml, "options: [113106, 113109, 113112]\n");
	done(&r);
}

static void
test_what_is_no_script_is_refused_by_line(void **state)
{
	static const char *const bads[] = { "", "<scripts>", "hello",
		"<script><e>", "<script>", "<script></e></script>",
		"<!DOCTYPE x [<!ENTITY a \"b\">]><script></script>",
		"<script>&a;</script>",
		"<script><e en=\"T\" t=\"00080050\">&bomb;</e></script>",
		"<script><e en=\"T\" t=\"00080050\"><b/></e></script>",
		"<script><e en=\"T\" t=\"zz\">@keep()</e></script>",
		"<script><e en=T t=\"00080050\">@keep()</e></script>",
		"<script><x t=\"1\">a</x></script>",
		"<script>\n\n<!-- no end </script>" };
	struct run r;

	(void)state;
	for (size_t k = 0; k < sizeof(bads) / sizeof(bads[0]); k++) {
		run(&r, bads[k]);
		if (r.e == ERR_OK)
			fail_msg("taken: %s", bads[k]);
		assert_non_null(strstr(r.em.cause, "line "));
		done(&r);
	}
	run(&r, "<script>\n\n\n<e en=\"T\" t=\"0008\">@keep()</e></script>");
	assert_non_null(strstr(r.em.cause, "line 4"));
	done(&r);
}

static void
test_lookup_tables_become_lists_and_keys_are_not_told(void **state)
{
	static const char table[] = "# patients\n"
				    "ptid/MRN-1 = 003-0001\n"
				    "ptid/MRN\\ 2=003-0002\r\n"
				    "acc/77 = 88\n"
				    "ptid/Secret,Name = 3\n"
				    "nothing here\n";
	struct told t = { BUF_MAX(4096), BUF_MAX(4096) };
	struct buf csv = BUF_MAX(4096);
	struct errmsg em = { 0 };

	(void)state;
	assert_int_equal(
	    ctp_lookup(SLICE_LIT(table), "ptid", note, &t, &csv, &em), ERR_OK);
	assert_string_equal(buf_cstr(&csv), "MRN-1,003-0001\nMRN 2,003-0002\n");
	has(&t.lost, "4  : of another type");
	has(&t.lost, "5  : key or value");
	has(&t.lost, "6  : no TYPE/key");
	has_not(&t.lost, "Secret");
	buf_reset(&csv);
	assert_int_equal(
	    ctp_lookup(SLICE_LIT(table), "other", note, &t, &csv, &em),
	    ERR_NOTFOUND);
	buf_fini(&csv);
	buf_fini(&t.lost);
	buf_fini(&t.done);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_function_becomes_its_rule),
		cmocka_unit_test(
		    test_what_cannot_be_done_is_told_with_its_line),
		cmocka_unit_test(test_branches_that_agree_are_done),
		cmocka_unit_test(
		    test_options_are_claimed_only_when_all_of_the_script_fits),
		cmocka_unit_test(test_what_is_no_script_is_refused_by_line),
		cmocka_unit_test(
		    test_lookup_tables_become_lists_and_keys_are_not_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
