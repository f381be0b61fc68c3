/* Claims: the plan of a NIfTI file tiles it, cuts at slices or volumes of 0.5
 * to 1 MiB, in both versions and byte orders; what the header does not
 * describe is not planned. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "node/imaging/plan.h"
#include "store/base/limits.h"

struct nii {
	bool two, big;
	uint16_t type, bits;
	uint64_t dim[8]; /* dim[0] of them */
	size_t at;       /* vox_offset */
	size_t voxels;   /* bytes after it */
};

static void
put(uint8_t *p, uint64_t v, size_t n, bool big)
{
	size_t i;

	for (i = 0; i < n; i++)
		p[i] = (uint8_t)(v >> 8 * (big ? n - 1 - i : i));
}

static struct slice
build(const struct nii *d)
{
	size_t n = d->at + d->voxels, i;
	uint8_t *p = calloc(1, n);
	float f = (float)d->at;
	uint32_t raw;

	memcpy(&raw, &f, 4);
	put(p, d->two ? 540 : 348, 4, d->big);
	memcpy(d->two ? p + 4 : p + 344, d->two ? "n+2\0\r\n\032\n" : "n+1",
	    d->two ? 8 : 4);
	put(p + (d->two ? 12 : 70), d->type, 2, d->big);
	put(p + (d->two ? 14 : 72), d->bits, 2, d->big);
	for (i = 0; i < 8; i++)
		put(p + (d->two ? 16 + 8 * i : 40 + 2 * i), d->dim[i],
		    d->two ? 8 : 2, d->big);
	if (d->two)
		put(p + 168, d->at, 8, d->big);
	else
		put(p + 108, raw, 4, d->big);
	return slice_of(p, n);
}

#define MAX 64u
struct got {
	struct img_piece p[MAX];
	uint32_t n;
	enum err e;
};

static void
plan_of(const struct nii *d, struct got *out)
{
	struct slice file = build(d);
	uint64_t at = 0;
	uint32_t k;

	out->n = 0;
	out->e = plan_nifti(file, out->p, MAX, &out->n);
	for (k = 0; k < out->n; k++) {
		assert_int_equal(out->p[k].off, at);
		assert_true(out->p[k].len > 0);
		at += out->p[k].len;
	}
	if (out->e == ERR_OK)
		assert_int_equal(at, file.n);
	free((void *)(uintptr_t)file.p);
}

static void
test_volume_is_cut_at_slices_evenly(void **state)
{
	struct nii d = { .type = 4,
		.bits = 16,
		.dim = { 3, 256, 256, 20 },
		.at = 352,
		.voxels = 256 * 256 * 20 * 2 };
	struct got g;
	int k;

	(void)state;
	for (k = 0; k < 4; k++) {
		d.two = k % 2 != 0;
		d.big = k / 2 != 0;
		d.at = d.two ? 544 : 352;
		plan_of(&d, &g);
		assert_int_equal(g.e, ERR_OK);
		assert_int_equal(g.n, 4);
		assert_int_equal(g.p[0].kind, IMG_P_HEADER);
		assert_int_equal(g.p[0].len, d.at);
		assert_int_equal(g.p[1].kind, IMG_P_FRAME);
		assert_int_equal(g.p[1].len, 7 * 131072);
		assert_int_equal(g.p[3].len, 6 * 131072);
		assert_int_equal(g.p[1].w, 256);
		assert_int_equal(g.p[1].bits, 16);
	}
}

static void
test_small_volumes_are_joined_and_large_ones_kept_apart(void **state)
{
	struct nii d = { .type = 4, .bits = 16, .at = 352 };
	struct got g;

	(void)state;
	/* 64 x 64 x 16 x 2 = 128 KiB a volume, 20 of them */
	memcpy(d.dim, (uint64_t[8]){ 4, 64, 64, 16, 20 }, sizeof(d.dim));
	d.voxels = 64 * 64 * 16 * 20 * 2;
	plan_of(&d, &g);
	assert_int_equal(g.n, 4);
	assert_int_equal(g.p[1].len, 7 * 131072);
	/* 128 x 128 x 40 x 2 = 1.25 MiB a volume: two pieces each */
	memcpy(d.dim, (uint64_t[8]){ 4, 128, 128, 40, 3 }, sizeof(d.dim));
	d.voxels = 128 * 128 * 40 * 3 * 2;
	plan_of(&d, &g);
	assert_int_equal(g.n, 1 + 3 * 2);
	assert_int_equal(g.p[1].len, 20 * 128 * 128 * 2);
	assert_int_equal(g.p[3].off, 352 + 128 * 128 * 40 * 2);
}

static void
test_colour_complex_and_what_follows(void **state)
{
	struct nii d = { .type = 128,
		.bits = 24,
		.dim = { 2, 100, 50 },
		.at = 352,
		.voxels = 100 * 50 * 3 + 77 };
	struct got g;

	(void)state;
	plan_of(&d, &g);
	assert_int_equal(g.n, 3);
	assert_int_equal(g.p[1].w, 300);
	assert_int_equal(g.p[1].bits, 8);
	assert_int_equal(g.p[2].kind, IMG_P_OTHER);
	assert_int_equal(g.p[2].len, 77);
	d.type = 32;
	d.bits = 64;
	d.voxels = 100 * 50 * 8;
	plan_of(&d, &g);
	assert_int_equal(g.n, 2);
	assert_int_equal(g.p[1].w, 200);
	assert_int_equal(g.p[1].bits, 32);
}

static void
test_header_that_lies_is_not_planned(void **state)
{
	static const struct {
		uint64_t dim[8];
		uint16_t bits;
		size_t at;
	} lies[] = {
		{ { 3, 10, 10, 11 }, 16, 352 },    /* more than is there */
		{ { 3, 10, 0, 10 }, 16, 352 },     /* nothing */
		{ { 3, 10, 65535, 10 }, 16, 352 }, /* negative */
		{ { 8, 1, 1, 1, 1, 1, 1, 1 }, 16, 352 }, { { 0, 10 }, 16, 352 },
		{ { 3, 10, 10, 10 }, 12, 352 }, { { 3, 10, 10, 10 }, 0, 352 },
		{ { 3, 10, 10, 10 }, 512, 352 },
		{ { 7, 32767, 32767, 32767, 32767, 32767, 32767, 32767 }, 16,
		    352 },
		{ { 3, 10, 10, 10 }, 16, 347 }, /* inside the header */
	};
	struct nii d = { .type = 4, .voxels = 2000 };
	struct got g;
	size_t k;

	(void)state;
	for (k = 0; k < sizeof(lies) / sizeof(*lies); k++) {
		memcpy(d.dim, lies[k].dim, sizeof(d.dim));
		d.bits = lies[k].bits;
		d.at = lies[k].at;
		plan_of(&d, &g);
		if (g.e != ERR_UNSUPPORTED)
			fail_msg("lie %zu", k);
	}
}

static void
test_other_files_and_short_ones_are_not_planned(void **state)
{
	static const uint8_t zero[600];
	struct nii d = { .type = 4,
		.bits = 16,
		.dim = { 3, 10, 10, 10 },
		.at = 352,
		.voxels = 2000 };
	struct slice file = build(&d);
	struct img_piece p[MAX];
	uint32_t n;
	size_t k;

	(void)state;
	assert_int_equal(
	    plan_nifti(slice_of(zero, 600), p, MAX, &n), ERR_UNSUPPORTED);
	for (k = 0; k < 352 + 2000; k++)
		assert_int_equal(plan_nifti(slice_of(file.p, k), p, MAX, &n),
		    ERR_UNSUPPORTED);
	assert_int_equal(plan_nifti(file, p, 2, &n), ERR_OK);
	assert_int_equal(plan_nifti(file, p, 1, &n), ERR_LIMIT);
	free((void *)(uintptr_t)file.p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_volume_is_cut_at_slices_evenly),
		cmocka_unit_test(
		    test_small_volumes_are_joined_and_large_ones_kept_apart),
		cmocka_unit_test(test_colour_complex_and_what_follows),
		cmocka_unit_test(test_header_that_lies_is_not_planned),
		cmocka_unit_test(
		    test_other_files_and_short_ones_are_not_planned),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
