/* tests/unit/helper/test_volume.c: geometry of made-up series, where the
 * right answer is known by construction.
 *
 * Claims (domain.md 21): order by position only; tilt of both signs ends as
 * shear of the affine; uneven, partial, doubled and mixed series are
 * refused; time points are told apart by what the objects say. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "unit/helper/made.h"
#include "node/imaging/helper/volume.h"
#include "store/base/mem.h"

#define SLICES 5

static enum err
build(struct made *m, struct volume *v, struct errmsg *em)
{
	enum err e = ERR_OK;
	uint32_t i;

	volume_init(v);
	memset(em, 0, sizeof(*em));
	for (i = 0; i < m->n && e == ERR_OK; i++)
		e = volume_add(v, buf_slice(&m->file[i]), em);
	return e == ERR_OK ? volume_build(v, em) : e;
}

static void
refuses(struct made *m, const char *why)
{
	struct errmsg em;
	struct volume v;

	assert_int_equal(build(m, &v, &em), ERR_UNSUPPORTED);
	if (strstr(em.cause, why) == NULL)
		fail_msg("refused for another reason: %s", em.cause);
	volume_fini(&v);
	made_fini(m);
}

static void
near_to(double a, double b)
{
	if (fabs(a - b) > 1e-6)
		fail_msg("%.9g instead of %.9g", a, b);
}

static void
test_slices_are_ordered_by_position_not_by_instance(void **state)
{
	struct made m = { .n = 0 };
	struct errmsg em;
	struct volume v;
	double a[3][4];
	int i;

	(void)state;
	for (i = 0; i < SLICES; i++)
		make(&m, &(struct plan){ .z = 4.0 * ((i * 2) % SLICES),
			     .instance = i + 1 });
	assert_int_equal(build(&m, &v, &em), ERR_OK);
	assert_int_equal(v.n_slices, SLICES);
	assert_int_equal(v.n_volumes, 1);
	for (i = 0; i < SLICES; i++)
		near_to(v.images[i].depth, 4.0 * i);
	near_to(v.gap, 4);
	assert_false(v.sheared);
	volume_affine(&v, a);
	/* Columns 1.5 mm to the left, rows bottom up 2 mm, slices 4 mm up;
	 * LPS -10, 0 + one row of 2 mm becomes RAS 10, -2. */
	near_to(a[0][0], -1.5);
	near_to(a[1][1], 2);
	near_to(a[2][2], 4);
	near_to(a[0][3], 10);
	near_to(a[1][3], -2);
	near_to(a[2][3], 0);
	volume_fini(&v);
	made_fini(&m);
}

static void
check_tilt(double lean)
{
	struct made m = { .n = 0 };
	struct errmsg em;
	struct volume v;
	double a[3][4];
	int i;

	for (i = 0; i < SLICES; i++)
		make(&m, &(struct plan){ .y = lean * i, .z = 4.0 * i });
	assert_int_equal(build(&m, &v, &em), ERR_OK);
	assert_true(v.sheared);
	near_to(v.gap, 4);
	near_to(v.tilt_deg, atan2(lean, 4) * 180 / acos(-1.0));
	volume_affine(&v, a);
	near_to(a[1][2], -lean); /* LPS y -> RAS -y */
	near_to(a[2][2], 4);
	volume_fini(&v);
	made_fini(&m);
}

static void
test_gantry_tilt_of_both_signs_is_shear(void **state)
{
	(void)state;
	check_tilt(1.25);
	check_tilt(-1.25);
}

static void
test_uneven_spacing_is_refused(void **state)
{
	struct made m = { .n = 0 };
	int i;

	(void)state;
	for (i = 0; i < SLICES; i++)
		make(&m, &(struct plan){ .z = i == 2 ? 8.3 : 4.0 * i });
	refuses(&m, "not evenly spaced");
}

static void
test_bent_stack_is_refused(void **state)
{
	struct made m = { .n = 0 };
	int i;

	(void)state;
	for (i = 0; i < SLICES; i++)
		make(&m, &(struct plan){ .y = i == 2 ? 1 : 0, .z = 4.0 * i });
	refuses(&m, "one line");
}

static void
make_4d(struct made *m, bool temporal, bool declared)
{
	int i, t;

	for (t = 0; t < 2; t++) {
		for (i = 0; i < SLICES; i++)
			make(m, &(struct plan){ .z = 4.0 * i,
				    .instance = t * SLICES + i + 1,
				    .temporal = temporal ? 2 - t : 0,
				    .temporal_positions = declared ? 2 : 0 });
	}
}

static void
test_time_points_become_volumes(void **state)
{
	struct made m = { .n = 0 };
	struct errmsg em;
	struct volume v;

	(void)state;
	make_4d(&m, true, false);
	assert_int_equal(build(&m, &v, &em), ERR_OK);
	assert_int_equal(v.n_volumes, 2);
	assert_int_equal(v.n_slices, SLICES);
	assert_int_equal(v.key, VOLUME_KEY_TEMPORAL);
	/* Temporal position 1 was sent second. */
	assert_string_equal(v.images[0].sop_uid, "1.2.3.6");
	assert_string_equal(v.images[SLICES].sop_uid, "1.2.3.1");
	volume_fini(&v);
	made_fini(&m);
}

static void
test_instance_blocks_count_only_when_declared(void **state)
{
	struct made m = { .n = 0 };
	struct errmsg em;
	struct volume v;

	(void)state;
	make_4d(&m, false, true);
	assert_int_equal(build(&m, &v, &em), ERR_OK);
	assert_int_equal(v.key, VOLUME_KEY_INSTANCE);
	assert_string_equal(v.images[0].sop_uid, "1.2.3.1");
	volume_fini(&v);
	made_fini(&m);
	make_4d(&m, false, false);
	refuses(&m, "nothing that orders them");
}

static void
test_partial_last_volume_is_refused(void **state)
{
	struct made m = { .n = 0 };

	(void)state;
	make_4d(&m, true, false);
	m.n--;
	buf_fini(&m.file[m.n]);
	refuses(&m, "not repeated evenly");
}

static void
test_mixed_series_are_refused(void **state)
{
	struct made m = { .n = 0 };

	(void)state;
	make(&m, &(struct plan){ .z = 0 });
	make(&m, &(struct plan){ .z = 4, .rows = 4 });
	refuses(&m, "different size");
	make(&m, &(struct plan){ .z = 0, .echo = 10 });
	make(&m, &(struct plan){ .z = 4, .echo = 20 });
	refuses(&m, "mixes echo times");
	make(&m, &(struct plan){ .z = 0 });
	make(&m, &(struct plan){ .z = 4, .orientation = "0\\1\\0\\0\\0\\-1" });
	refuses(&m, "different orientation");
	make(&m, &(struct plan){ .orientation = "1\\0\\0\\1\\0\\0" });
	refuses(&m, "not two unit axes");
}

static void
test_slopes_that_differ_are_noticed(void **state)
{
	struct made m = { .n = 0 };
	struct errmsg em;
	struct volume v;

	(void)state;
	make(&m, &(struct plan){ .z = 0, .slope = 2 });
	make(&m, &(struct plan){ .z = 4, .slope = 3 });
	assert_int_equal(build(&m, &v, &em), ERR_OK);
	assert_true(v.slopes_differ);
	volume_fini(&v);
	made_fini(&m);
}

static void
test_out_of_memory_at_every_step(void **state)
{
	struct made m = { .n = 0 };
	struct errmsg em;
	struct volume v;
	enum err e = ERR_NOMEM;
	long k;

	(void)state;
	make_4d(&m, true, false);
	for (k = 0; k < 1000 && e == ERR_NOMEM; k++) {
		mem_fail_at(k);
		e = build(&m, &v, &em);
		mem_fail_at(-1);
		volume_fini(&v);
	}
	assert_int_equal(e, ERR_OK);
	assert_true(k > 2);
	made_fini(&m);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(
		    test_slices_are_ordered_by_position_not_by_instance),
		cmocka_unit_test(test_gantry_tilt_of_both_signs_is_shear),
		cmocka_unit_test(test_uneven_spacing_is_refused),
		cmocka_unit_test(test_bent_stack_is_refused),
		cmocka_unit_test(test_time_points_become_volumes),
		cmocka_unit_test(test_instance_blocks_count_only_when_declared),
		cmocka_unit_test(test_partial_last_volume_is_refused),
		cmocka_unit_test(test_mixed_series_are_refused),
		cmocka_unit_test(test_slopes_that_differ_are_noticed),
		cmocka_unit_test(test_out_of_memory_at_every_step),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
