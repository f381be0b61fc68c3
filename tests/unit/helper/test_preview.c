/* preview: each element of the input is told once, with what the output says
 * of it, and the whole is bounded and printable. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

#include "node/imaging/helper/preview.h"
#include "node/imaging/helper/walk.h"
#include "tests/lib/dcm_build.h"

struct shown {
	struct buf b;
	struct mp_doc d;
};

static void
show(struct shown *s, struct dcm_build *in, const char *profile)
{
	static const struct mp_limits lim = { PREVIEW_BYTES_MAX,
		PREVIEW_ROWS_MAX, 4 };
	struct errmsg em = { 0 };

	*s = (struct shown){ .b = BUF_MAX(PREVIEW_BYTES_MAX) };
	assert_int_equal(
	    preview_make(buf_slice(&in->b), profile, NULL, NULL, &s->b, &em),
	    ERR_OK);
	assert_int_equal(mp_parse(buf_slice(&s->b), &lim, &s->d), ERR_OK);
}

static void
shown_fini(struct shown *s)
{
	mp_doc_fini(&s->d);
	buf_fini(&s->b);
}

/* The row at a path holds this under key; NULL: there is none. */
static void
assert_row(struct shown *s, const char *at, const char *key, const char *want)
{
	const struct mp_node *rows = mp_get(s->d.root, "rows");
	char text[1024];
	uint32_t hits = 0;

	for (uint32_t i = 0; i < mp_len(rows); i++) {
		const struct mp_node *row = mp_at(rows, i);

		mp_text(&s->d, mp_get(row, "at"), text, sizeof(text));
		if (strcmp(text, at) != 0)
			continue;
		hits++;
		mp_text(&s->d, mp_get(row, key), text, sizeof(text));
		if (want != NULL)
			assert_string_equal(text, want);
	}
	assert_int_equal(s->d.err, ERR_OK);
	assert_int_equal(hits, want == NULL ? 0 : 1);
}

static void
build(struct dcm_build *d)
{
	dcm_build_init(d, DCM_EXPLICIT);
	dcm_build_str(d, 0x00080008, "CS", "ORIGINAL\\PRIMARY");
	dcm_build_str(d, 0x00080016, "UI", DCM_CT);
	dcm_build_str(d, 0x00080018, "UI", "1.2.3.4.5.6.7");
	dcm_build_str(d, 0x00080020, "DA", "20200301");
	dcm_build_str(d, 0x00081030, "LO", "BRAIN of Quill");
	dcm_build_head(d, 0x00081140, "SQ", DCM_UNDEFINED);
	dcm_build_item(d, DCM_UNDEFINED);
	dcm_build_str(d, 0x00081155, "UI", "1.2.3.4.5.6.8");
	dcm_build_str(d, 0x00100010, "PN", "Quill^Ottoline");
	dcm_build_item_end(d);
	dcm_build_seq_end(d);
	dcm_build_str(d, 0x00091010, "LO", "private");
	dcm_build_str(d, 0x00100010, "PN", "Quill^Ott\x01line");
	dcm_build_str(d, 0x00180050, "DS", "2.5");
	dcm_build_pixels(d, 2, 2);
}

static void
test_each_element_is_told_with_its_fate_and_why(void **state)
{
	struct dcm_build d;
	struct shown s;

	(void)state;
	build(&d);
	show(&s, &d, "trial-imaging");
	assert_row(&s, "(0008,0020)", "did", "moved");
	assert_row(&s, "(0008,0020)", "name", "StudyDate");
	assert_row(&s, "(0008,0020)", "was", "20200301");
	assert_row(&s, "(0008,0020)", "now", "20170605");
	assert_row(&s, "(0008,0020)", "why",
	    "113107: dates move by the subject's days");
	assert_row(&s, "(0008,1030)", "did", "cleaned");
	assert_row(&s, "(0008,1030)", "now", "BRAIN of");
	assert_row(&s, "(0008,1140)[1](0008,1155)", "did", "replaced");
	assert_row(&s, "(0008,1140)[1](0010,0010)", "did", "emptied");
	assert_row(&s, "(0009,1010)", "did", "removed");
	assert_row(&s, "(0010,0010)", "was", "Quill^Ott?line");
	assert_row(&s, "(0010,0010)", "now", "SUBJECT");
	assert_row(&s, "(0018,0050)", "did", "kept");
	assert_row(&s, "(7fe0,0010)", "did", "kept");
	assert_row(&s, "(0012,0062)", "did", "added");
	assert_row(&s, "(0012,0062)", "now", "YES");
	assert_true(mp_bool(&s.d, mp_get(s.d.root, "releasable")));
	assert_false(mp_bool(&s.d, mp_get(s.d.root, "more")));
	shown_fini(&s);
	show(&s, &d, "basic");
	assert_row(&s, "(0008,0020)", "did", "emptied");
	assert_row(&s, "(0008,1030)", "did", "removed");
	assert_row(&s, "(0008,1030)", "why", "PS3.15 E.1-1: X, remove");
	shown_fini(&s);
	dcm_build_fini(&d);
}

static void
test_what_is_no_object_or_profile_is_an_error(void **state)
{
	struct errmsg em = { 0 };
	struct buf b = BUF_MAX(PREVIEW_BYTES_MAX);
	struct dcm_build d;

	(void)state;
	build(&d);
	assert_int_not_equal(
	    preview_make(SLICE_LIT("no image"), "basic", NULL, NULL, &b, &em),
	    ERR_OK);
	assert_int_equal(
	    preview_make(buf_slice(&d.b), "secret", NULL, NULL, &b, &em),
	    ERR_UNSUPPORTED);
	assert_int_equal(b.n, 0);
	dcm_build_fini(&d);
	buf_fini(&b);
}

/* More rows than are told: it says so. */
static void
test_an_object_of_many_elements_is_cut_and_says_so(void **state)
{
	struct dcm_build d;
	struct shown s;

	(void)state;
	dcm_build_init(&d, DCM_EXPLICIT);
	dcm_build_str(&d, 0x00080016, "UI", DCM_CT);
	dcm_build_str(&d, 0x00080018, "UI", "1.2.3.4.5.6.7");
	dcm_build_head(&d, 0x00081140, "SQ", DCM_UNDEFINED);
	for (uint32_t i = 0; i < PREVIEW_ROWS_MAX; i++) {
		dcm_build_item(&d, DCM_UNDEFINED);
		dcm_build_str(&d, 0x00081155, "UI", "1.2.3.4.5.6.8");
		dcm_build_item_end(&d);
	}
	dcm_build_seq_end(&d);
	show(&s, &d, "basic");
	assert_true(mp_bool(&s.d, mp_get(s.d.root, "more")));
	assert_int_equal(mp_len(mp_get(s.d.root, "rows")), PREVIEW_ROWS_MAX);
	shown_fini(&s);
	dcm_build_fini(&d);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    test_each_element_is_told_with_its_fate_and_why),
		cmocka_unit_test(test_what_is_no_object_or_profile_is_an_error),
		cmocka_unit_test(
		    test_an_object_of_many_elements_is_cut_and_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
