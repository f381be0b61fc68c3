/* walk: every length is checked against its level before it is used; what
 * is well-formed is found, nested or not. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "node/imaging/helper/walk.h"
#include "store/base/mem.h"
#include "tests/lib/dcm_build.h"

static enum err
open_of(const struct dcm_build *d, struct dcm_file **f)
{
	struct errmsg em;

	*f = NULL;
	return dcm_open(buf_slice(&d->b), f, &em);
}

static enum err
verdict(const struct dcm_build *d)
{
	struct dcm_file *f;
	enum err e = open_of(d, &f);

	dcm_close(f);
	return e;
}

static void
test_reads_both_little_endian_syntaxes_alike(void **state)
{
	static const char *const syntax[] = { DCM_IMPLICIT, DCM_EXPLICIT };

	(void)state;
	for (int k = 0; k < 2; k++) {
		struct dcm_build d;
		struct dcm_file *f;
		char t[65];

		dcm_build_init(&d, syntax[k]);
		dcm_build_ct(&d, 4, 6);
		assert_int_equal(open_of(&d, &f), ERR_OK);
		assert_string_equal(dcm_transfer_syntax(f), syntax[k]);
		dcm_text(f, TAG_PATIENT_ID, t, sizeof(t));
		assert_string_equal(t, "MRN-7740");
		assert_int_equal(dcm_u16(f, 0x00280010, 0), 4);
		assert_int_equal(f->e[f->pixels].len, 48);
		assert_int_equal(f->end, d.b.n);
		dcm_close(f);
		dcm_build_fini(&d);
	}
}

/* SQ { item { LO, SQ { item { PN } } }, item { } }, lengths defined or not. */
static void
put_nested(struct dcm_build *d, bool undefined)
{
	uint32_t u = DCM_UNDEFINED;
	uint32_t head = d->implicit ? 8 : 12;

	dcm_build_head(d, 0x00400275, "SQ", undefined ? u : head + 44);
	dcm_build_item(d, undefined ? u : head + 28);
	dcm_build_str(d, 0x00080104, "LO", "ab");
	dcm_build_head(d, 0x00081110, "SQ", undefined ? u : 18);
	dcm_build_item(d, undefined ? u : 10);
	dcm_build_str(d, 0x00100010, "PN", "X ");
	if (undefined) {
		dcm_build_item_end(d);
		dcm_build_seq_end(d);
		dcm_build_item_end(d);
	}
	dcm_build_item(d, undefined ? u : 0);
	if (undefined) {
		dcm_build_item_end(d);
		dcm_build_seq_end(d);
	}
}

static void
test_walks_nested_sequences_of_both_length_kinds(void **state)
{
	(void)state;
	for (int k = 0; k < 4; k++) {
		struct dcm_build d;
		struct dcm_file *f;
		uint32_t sq;

		dcm_build_init(&d, k % 2 == 0 ? DCM_IMPLICIT : DCM_EXPLICIT);
		dcm_build_str(&d, 0x00080060, "CS", "CT");
		put_nested(&d, k >= 2);
		dcm_build_str(&d, 0x00401001, "SH", "z");
		assert_int_equal(open_of(&d, &f), ERR_OK);
		sq = dcm_find(f, 0x00400275);
		assert_int_not_equal(sq, DCM_NONE);
		assert_int_equal(f->e[sq + 1].tag, TAG_ITEM);
		assert_int_equal(f->e[sq + 2].tag, 0x00080104);
		assert_int_equal(f->e[sq + 3].tag, 0x00081110);
		assert_int_equal(f->e[sq + 5].tag, 0x00100010);
		assert_int_equal(f->e[sq + 5].depth, 2);
		assert_int_equal(f->e[sq].skip, sq + 7);
		assert_int_equal(f->e[f->e[sq].skip].tag, 0x00401001);
		assert_int_equal(dcm_find_in(f, sq + 1, 0x00081110), sq + 3);
		dcm_close(f);
		dcm_build_fini(&d);
	}
}

/* PS3.5 section 6.2.2: whatever the dataset's syntax. */
static void
test_un_of_undefined_length_is_implicit_little_endian(void **state)
{
	struct dcm_build d;
	struct dcm_file *f;
	uint32_t un;

	(void)state;
	dcm_build_init(&d, DCM_EXPLICIT);
	dcm_build_str(&d, 0x00080060, "CS", "CT");
	dcm_build_head(&d, 0x00091002, "UN", DCM_UNDEFINED);
	d.implicit = true;
	dcm_build_item(&d, DCM_UNDEFINED);
	dcm_build_str(&d, 0x00100010, "PN", "QUILL");
	dcm_build_item_end(&d);
	dcm_build_seq_end(&d);
	d.implicit = false;
	dcm_build_str(&d, 0x00100020, "LO", "after");
	assert_int_equal(open_of(&d, &f), ERR_OK);
	un = dcm_find(f, 0x00091002);
	assert_int_equal(f->e[un + 2].tag, 0x00100010);
	assert_int_equal(f->e[un + 2].vr, VR_PN);
	assert_int_equal(f->e[un + 2].len, 6);
	assert_int_not_equal(dcm_find(f, 0x00100020), DCM_NONE);
	dcm_close(f);
	dcm_build_fini(&d);
}

static void
test_unknown_vrs_have_the_long_form(void **state)
{
	struct dcm_build d;
	struct dcm_file *f;

	(void)state;
	dcm_build_init(&d, DCM_EXPLICIT);
	dcm_build_str(&d, 0x00080060, "CS", "CT");
	dcm_build_str(&d, 0x00091010, "XX", "abcd");
	dcm_build_str(&d, 0x00100020, "LO", "after");
	assert_int_equal(open_of(&d, &f), ERR_OK);
	assert_int_equal(f->e[dcm_find(f, 0x00091010)].len, 4);
	assert_int_not_equal(dcm_find(f, 0x00100020), DCM_NONE);
	dcm_close(f);
	dcm_build_fini(&d);
}

static void
test_a_claimed_two_gigabytes_are_too_short(void **state)
{
	static const uint32_t lie[] = { 0x7FFFFFFEu, 0xFFFFFFFEu, 3000 };

	(void)state;
	for (size_t k = 0; k < 3; k++) {
		struct dcm_build d;

		dcm_build_init(&d, DCM_EXPLICIT);
		dcm_build_str(&d, 0x00080060, "CS", "CT");
		dcm_build_head(&d, 0x00091010, "OB", lie[k]);
		buf_put_zero(&d.b, 100);
		assert_int_equal(verdict(&d), ERR_SHORT);
		dcm_build_fini(&d);
	}
}

static void
test_a_child_past_its_parent_is_malformed(void **state)
{
	struct dcm_build d;

	(void)state;
	dcm_build_init(&d, DCM_EXPLICIT);
	dcm_build_str(&d, 0x00080060, "CS", "CT");
	dcm_build_head(&d, 0x00400275, "SQ", 18);
	dcm_build_item(&d, 10);
	dcm_build_head(&d, 0x00100010, "PN", 40); /* item ends at 2 */
	buf_put_zero(&d.b, 100);
	assert_int_equal(verdict(&d), ERR_MALFORMED);
	dcm_build_fini(&d);
}

static void
test_undefined_length_where_none_can_be_is_malformed(void **state)
{
	struct dcm_build d;

	(void)state;
	dcm_build_init(&d, DCM_EXPLICIT);
	dcm_build_str(&d, 0x00080060, "CS", "CT");
	dcm_build_head(&d, 0x00091010, "UT", DCM_UNDEFINED);
	buf_put_zero(&d.b, 32);
	assert_int_equal(verdict(&d), ERR_MALFORMED);
	dcm_build_fini(&d);
}

static void
test_odd_lengths_are_read_as_they_stand(void **state)
{
	struct dcm_build d;
	struct dcm_file *f;

	(void)state;
	dcm_build_init(&d, DCM_EXPLICIT);
	dcm_build_head(&d, 0x00080060, "CS", 3);
	buf_put(&d.b, "CT ", 3);
	dcm_build_str(&d, 0x00100020, "LO", "after");
	assert_int_equal(open_of(&d, &f), ERR_OK);
	assert_int_not_equal(dcm_find(f, 0x00100020), DCM_NONE);
	assert_true(dcm_is_cs(f, TAG_MODALITY, 0, "CT"));
	dcm_close(f);
	dcm_build_fini(&d);
}

/* The first n bytes, in memory of exactly that size. */
static void
open_prefix(struct slice whole, size_t n)
{
	uint8_t *copy = mem_new(n + (n == 0));
	struct dcm_file *f = NULL;

	assert_non_null(copy);
	memcpy(copy, whole.p, n);
	if (dcm_open(slice_of(copy, n), &f, NULL) == ERR_OK)
		for (uint32_t i = 0; i < f->n; i++)
			assert_true(f->e[i].val + f->e[i].len <= n);
	dcm_close(f);
	mem_free(copy);
}

/* Every prefix is either an error or a table inside the prefix. */
static void
test_every_truncation_is_handled(void **state)
{
	struct dcm_build d;

	(void)state;
	for (int k = 0; k < 4; k++) {
		dcm_build_init(&d, k % 2 == 0 ? DCM_IMPLICIT : DCM_EXPLICIT);
		dcm_build_str(&d, 0x00080060, "CS", "CT");
		put_nested(&d, k >= 2);
		dcm_build_pixels(&d, 2, 2);
		for (size_t n = 0; n < d.b.n; n++)
			open_prefix(buf_slice(&d.b), n);
		dcm_build_fini(&d);
	}
}

static enum err
depth_verdict(uint32_t depth)
{
	struct dcm_build d;
	enum err e;

	dcm_build_init(&d, DCM_EXPLICIT);
	dcm_build_str(&d, 0x00080060, "CS", "CT");
	for (uint32_t k = 0; k < depth; k++) {
		dcm_build_head(&d, 0x00081110, "SQ", DCM_UNDEFINED);
		dcm_build_item(&d, DCM_UNDEFINED);
	}
	for (uint32_t k = 0; k < depth; k++) {
		dcm_build_item_end(&d);
		dcm_build_seq_end(&d);
	}
	e = verdict(&d);
	dcm_build_fini(&d);
	return e;
}

static void
test_depth_limit_holds_at_max_and_max_plus_one(void **state)
{
	(void)state;
	assert_int_equal(depth_verdict(WALK_DEPTH_MAX), ERR_OK);
	assert_int_equal(depth_verdict(WALK_DEPTH_MAX + 1), ERR_LIMIT);
}

static enum err
count_verdict(uint32_t n)
{
	struct dcm_build d;
	enum err e;

	dcm_build_init(&d, DCM_IMPLICIT);
	n -= 2; /* file meta */
	for (uint32_t k = 0; k < n; k++)
		dcm_build_head(&d, 0x00091000 + k, "UN", 0);
	e = verdict(&d);
	dcm_build_fini(&d);
	return e;
}

static void
test_element_limit_holds_at_max_and_max_plus_one(void **state)
{
	(void)state;
	assert_int_equal(count_verdict(WALK_ELEMS_MAX), ERR_OK);
	assert_int_equal(count_verdict(WALK_ELEMS_MAX + 1), ERR_LIMIT);
}

static void
test_bytes_after_pixel_data_are_no_error(void **state)
{
	static const char *const tail[] = { "\0\0\0\0\0\0\0\0\0", "Quill^Ott",
		"\x08" };

	(void)state;
	for (size_t k = 0; k < 3; k++) {
		struct dcm_build d;
		struct dcm_file *f;
		size_t end;

		dcm_build_init(&d, DCM_EXPLICIT);
		dcm_build_ct(&d, 2, 2);
		end = d.b.n;
		buf_put(&d.b, tail[k], k == 2 ? 1 : 9);
		assert_int_equal(open_of(&d, &f), ERR_OK);
		assert_int_equal(f->end, end);
		dcm_close(f);
		dcm_build_fini(&d);
	}
}

static void
test_fragments_are_items_and_their_bytes_are_not_parsed(void **state)
{
	struct dcm_build d;
	struct dcm_file *f;

	(void)state;
	dcm_build_init(&d, "1.2.840.10008.1.2.4.50");
	dcm_build_str(&d, 0x00080060, "CS", "CT");
	dcm_build_head(&d, TAG_PIXELS, "OB", DCM_UNDEFINED);
	dcm_build_item(&d, 0);
	dcm_build_item(&d, 8);
	buf_put(&d.b, "\xfe\xff\xdd\xe0\0\0\0\0", 8); /* a delimiter inside */
	dcm_build_seq_end(&d);
	assert_int_equal(open_of(&d, &f), ERR_OK);
	assert_int_equal(f->syntax, SYNTAX_ENCAPSULATED);
	assert_int_equal(f->e[f->pixels].skip, f->pixels + 3);
	assert_int_equal(f->e[f->pixels + 2].len, 8);
	assert_int_equal(f->end, d.b.n);
	dcm_close(f);
	dcm_build_fini(&d);
}

static void
test_a_bare_dataset_is_guessed_and_text_is_refused(void **state)
{
	struct dcm_build d;
	struct dcm_file *f = NULL;

	(void)state;
	for (int k = 0; k < 2; k++) {
		dcm_build_init(&d, k == 0 ? DCM_IMPLICIT : DCM_EXPLICIT);
		buf_reset(&d.b);
		dcm_build_ct(&d, 2, 2);
		assert_int_equal(open_of(&d, &f), ERR_OK);
		assert_false(f->part10);
		assert_string_equal(dcm_transfer_syntax(f),
		    k == 0 ? DCM_IMPLICIT : DCM_EXPLICIT);
		assert_int_not_equal(f->pixels, DCM_NONE);
		dcm_close(f);
		dcm_build_fini(&d);
	}
	assert_int_equal(dcm_open(SLICE_LIT("hello, this is text"), &f, NULL),
	    ERR_MALFORMED);
	assert_int_equal(dcm_open(SLICE_LIT(""), &f, NULL), ERR_SHORT);
}

static void
test_the_wrong_little_endian_syntax_in_the_meta_is_seen(void **state)
{
	struct dcm_build d;
	struct dcm_file *f;

	(void)state;
	dcm_build_init(&d, DCM_IMPLICIT);
	d.implicit = false;
	dcm_build_ct(&d, 2, 2);
	assert_int_equal(open_of(&d, &f), ERR_OK);
	assert_string_equal(dcm_transfer_syntax(f), DCM_EXPLICIT);
	dcm_close(f);
	dcm_build_fini(&d);
}

static void
test_values_split_at_backslashes_and_lose_padding(void **state)
{
	struct slice v;

	(void)state;
	assert_true(dcm_nth(SLICE_LIT(" a \\\\c\0"), 0, &v));
	assert_true(slice_eq(v, SLICE_LIT("a")));
	assert_true(dcm_nth(SLICE_LIT(" a \\\\c\0"), 1, &v));
	assert_int_equal(v.n, 0);
	assert_true(dcm_nth(SLICE_LIT(" a \\\\c\0"), 2, &v));
	assert_true(slice_eq(v, SLICE_LIT("c")));
	assert_false(dcm_nth(SLICE_LIT(" a \\\\c\0"), 3, &v));
}

static void
test_survives_every_failing_allocation(void **state)
{
	struct dcm_build d;
	enum err e = ERR_NOMEM;

	(void)state;
	dcm_build_init(&d, DCM_EXPLICIT);
	dcm_build_ct(&d, 2, 2);
	for (uint32_t k = 0; k < 400; k++)
		dcm_build_str(&d, 0x7FE10000 + k * 2, "LO", "x");
	for (long n = 0; e == ERR_NOMEM; n++) {
		assert_true(n < 100);
		mem_fail_at(n);
		e = verdict(&d);
	}
	mem_fail_at(-1);
	assert_int_equal(e, ERR_OK);
	dcm_build_fini(&d);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reads_both_little_endian_syntaxes_alike),
		cmocka_unit_test(
		    test_walks_nested_sequences_of_both_length_kinds),
		cmocka_unit_test(
		    test_un_of_undefined_length_is_implicit_little_endian),
		cmocka_unit_test(test_unknown_vrs_have_the_long_form),
		cmocka_unit_test(test_a_claimed_two_gigabytes_are_too_short),
		cmocka_unit_test(test_a_child_past_its_parent_is_malformed),
		cmocka_unit_test(
		    test_undefined_length_where_none_can_be_is_malformed),
		cmocka_unit_test(test_odd_lengths_are_read_as_they_stand),
		cmocka_unit_test(test_every_truncation_is_handled),
		cmocka_unit_test(
		    test_depth_limit_holds_at_max_and_max_plus_one),
		cmocka_unit_test(
		    test_element_limit_holds_at_max_and_max_plus_one),
		cmocka_unit_test(test_bytes_after_pixel_data_are_no_error),
		cmocka_unit_test(
		    test_fragments_are_items_and_their_bytes_are_not_parsed),
		cmocka_unit_test(
		    test_a_bare_dataset_is_guessed_and_text_is_refused),
		cmocka_unit_test(
		    test_the_wrong_little_endian_syntax_in_the_meta_is_seen),
		cmocka_unit_test(
		    test_values_split_at_backslashes_and_lose_padding),
		cmocka_unit_test(test_survives_every_failing_allocation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
