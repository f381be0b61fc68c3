/* plan: pieces tile the file, pixel pieces follow frames and rows, and a
 * re-tagged copy is cut at the same pixels. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "node/imaging/helper/walk.h"
#include "store/base/limits.h"
#include "store/base/mem.h"
#include "tests/lib/dcm_build.h"

struct plan {
	struct img_piece p[64];
	uint32_t n;
	size_t pixels; /* offset */
};

static enum err
plan_of(const struct dcm_build *d, uint32_t max, struct plan *out)
{
	struct dcm_file *f = NULL;
	enum err e;

	assert_int_equal(dcm_open(buf_slice(&d->b), &f, NULL), ERR_OK);
	out->pixels = f->pixels == DCM_NONE ? 0 : f->e[f->pixels].val;
	e = dcm_plan(f, out->p, max, &out->n);
	dcm_close(f);
	return e;
}

static void
assert_tiles(const struct plan *p, size_t n)
{
	uint64_t at = 0;

	for (uint32_t k = 0; k < p->n; k++) {
		assert_int_equal(p->p[k].off, at);
		assert_true(p->p[k].len > 0);
		if (p->p[k].bits > 0)
			assert_true(p->p[k].len <= MIB);
		at += p->p[k].len;
	}
	assert_int_equal(at, n);
}

/* A volume of frames; extra bytes of header before it. */
static void
build(struct dcm_build *d, uint16_t side, const char *frames, size_t n_frames,
    const char *comment)
{
	size_t n = (size_t)side * side * 2 * n_frames;

	dcm_build_init(d, DCM_EXPLICIT);
	dcm_build_str(d, 0x00080060, "CS", "MR");
	dcm_build_str(d, 0x00204000, "LT", comment);
	dcm_build_u16(d, 0x00280002, 1);
	dcm_build_str(d, 0x00280008, "IS", frames);
	dcm_build_u16(d, 0x00280010, side);
	dcm_build_u16(d, 0x00280011, side);
	dcm_build_u16(d, 0x00280100, 16);
	dcm_build_head(d, TAG_PIXELS, "OW", (uint32_t)n);
	buf_put_zero(&d->b, n);
}

static void
test_small_frames_are_joined_up_to_one_mebibyte(void **state)
{
	struct dcm_build d;
	struct plan p;

	(void)state;
	build(&d, 256, "20", 20, "x"); /* 128 KiB a frame: 7, 7, 6 */
	assert_int_equal(plan_of(&d, 64, &p), ERR_OK);
	assert_tiles(&p, d.b.n);
	assert_int_equal(p.n, 1 + 3);
	assert_int_equal(p.p[0].kind, IMG_P_HEADER);
	assert_int_equal(p.p[1].kind, IMG_P_FRAME);
	assert_int_equal(p.p[1].off, p.pixels);
	assert_int_equal(p.p[1].len, 7 * 131072);
	assert_int_equal(p.p[1].w, 256);
	assert_int_equal(p.p[1].h, 7 * 256);
	assert_int_equal(p.p[1].bits, 16);
	assert_int_equal(p.p[3].len, 6 * 131072);
	dcm_build_fini(&d);
}

static void
test_large_frames_are_cut_by_rows_and_never_across(void **state)
{
	struct dcm_build d;
	struct plan p;

	(void)state;
	build(&d, 1000, "2", 2, "x"); /* 2,000,000 bytes a frame */
	assert_int_equal(plan_of(&d, 64, &p), ERR_OK);
	assert_tiles(&p, d.b.n);
	assert_int_equal(p.n, 1 + 4);
	assert_int_equal(p.p[1].len, 500 * 2000);
	assert_int_equal(p.p[2].len, 500 * 2000);
	assert_int_equal(p.p[3].off, p.pixels + 2000000);
	dcm_build_fini(&d);
}

static void
test_a_retagged_copy_is_cut_at_the_same_pixels(void **state)
{
	struct dcm_build a;
	struct dcm_build b;
	struct plan p;
	struct plan q;

	(void)state;
	build(&a, 512, "5", 5, "x");
	build(&b, 512, "5", 5, "a much longer comment than before");
	buf_put_zero(&b.b, 10); /* trailing padding is a piece of its own */
	assert_int_equal(plan_of(&a, 64, &p), ERR_OK);
	assert_int_equal(plan_of(&b, 64, &q), ERR_OK);
	assert_tiles(&q, b.b.n);
	assert_int_equal(q.n, p.n + 1);
	assert_int_equal(q.p[q.n - 1].kind, IMG_P_OTHER);
	for (uint32_t k = 1; k < p.n; k++) {
		assert_int_equal(p.p[k].len, q.p[k].len);
		assert_int_equal(p.p[k].off - p.pixels, q.p[k].off - q.pixels);
	}
	dcm_build_fini(&a);
	dcm_build_fini(&b);
}

static void
test_a_header_that_lies_gives_plain_pieces(void **state)
{
	static const char *const frames[] = { "3", "0", "4294967295", "x",
		"99999999999999999999" };

	(void)state;
	for (size_t k = 0; k < 5; k++) {
		struct dcm_build d;
		struct plan p;

		build(&d, 64, frames[k], 1, "x");
		assert_int_equal(plan_of(&d, 64, &p), ERR_OK);
		assert_tiles(&p, d.b.n);
		/* "x" and the overlong number fall back to one frame */
		if (k < 3)
			assert_int_equal(p.p[1].w, 0);
		dcm_build_fini(&d);
	}
}

static void
test_fragments_are_joined_and_every_byte_is_covered(void **state)
{
	struct dcm_build d;
	struct plan p;

	(void)state;
	dcm_build_init(&d, "1.2.840.10008.1.2.4.90");
	dcm_build_str(&d, 0x00080060, "CS", "MR");
	dcm_build_head(&d, TAG_PIXELS, "OB", DCM_UNDEFINED);
	dcm_build_item(&d, 0);
	for (int k = 0; k < 30; k++) {
		dcm_build_item(&d, 100000);
		buf_put_zero(&d.b, 100000);
	}
	dcm_build_item(&d, 3 * MIB);
	buf_put_zero(&d.b, 3 * MIB);
	dcm_build_seq_end(&d);
	assert_int_equal(plan_of(&d, 64, &p), ERR_OK);
	assert_tiles(&p, d.b.n);
	assert_int_equal(p.p[1].off, p.pixels);
	assert_int_equal(p.p[1].len, 8 + 10 * 100008);
	dcm_build_fini(&d);
}

static void
test_more_pieces_than_room_is_a_limit(void **state)
{
	struct dcm_build d;
	struct plan p;

	(void)state;
	build(&d, 256, "20", 20, "x");
	assert_int_equal(plan_of(&d, 4, &p), ERR_OK);
	assert_int_equal(plan_of(&d, 3, &p), ERR_LIMIT);
	dcm_build_fini(&d);
}

static void
test_objects_without_pixels_and_opaque_ones_tile_too(void **state)
{
	struct dcm_build d;
	struct plan p;

	(void)state;
	dcm_build_init(&d, DCM_EXPLICIT);
	dcm_build_str(&d, 0x00080060, "CS", "SR");
	assert_int_equal(plan_of(&d, 64, &p), ERR_OK);
	assert_tiles(&p, d.b.n);
	dcm_build_fini(&d);
	dcm_build_init(&d, "1.2.840.10008.1.2.1.99");
	buf_put_zero(&d.b, 3 * MIB);
	assert_int_equal(plan_of(&d, 64, &p), ERR_OK);
	assert_tiles(&p, d.b.n);
	assert_int_equal(p.p[0].kind, IMG_P_OTHER);
	dcm_build_fini(&d);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    test_small_frames_are_joined_up_to_one_mebibyte),
		cmocka_unit_test(
		    test_large_frames_are_cut_by_rows_and_never_across),
		cmocka_unit_test(
		    test_a_retagged_copy_is_cut_at_the_same_pixels),
		cmocka_unit_test(test_a_header_that_lies_gives_plain_pieces),
		cmocka_unit_test(
		    test_fragments_are_joined_and_every_byte_is_covered),
		cmocka_unit_test(test_more_pieces_than_room_is_a_limit),
		cmocka_unit_test(
		    test_objects_without_pixels_and_opaque_ones_tile_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
