/* tests/unit/helper/test_nifti.c: voxels and header of made-up series.
 *
 * Claims: bits outside BitsStored never reach a voxel; sign follows
 * PixelRepresentation; one slope for all is kept in the header, slopes that
 * differ are applied; rows lie bottom up; free text fields stay empty. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <nifti/nifti1.h>
#include <unistd.h>
#include <zlib.h>

#include "node/imaging/helper/nifti_out.h"
#include "node/imaging/sealed.h"
#include "unit/helper/made.h"

#define HEAD 352u

struct nii {
	uint8_t b[4096];
	size_t n;
	struct nifti_1_header h;
};

static void
unzip(int fd, uint64_t bytes, struct nii *out)
{
	z_stream z = { 0 };
	struct slice s;

	assert_int_equal(sealed_map_own(fd, bytes, &s), ERR_OK);
	assert_int_equal(inflateInit2(&z, 15 + 16), Z_OK);
	z.next_in = (uint8_t *)(uintptr_t)s.p;
	z.avail_in = (uInt)s.n;
	z.next_out = out->b;
	z.avail_out = sizeof(out->b);
	assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
	assert_int_equal(z.avail_in, 0);
	out->n = z.total_out;
	(void)inflateEnd(&z);
	sealed_unmap(&s);
	assert_true(out->n > HEAD);
	memcpy(&out->h, out->b, sizeof(out->h));
}

static void
convert(struct made *m, struct nii *out)
{
	struct errmsg em = { 0 };
	struct volume v;
	uint64_t bytes;
	uint32_t i;
	int fd = sealed_new();

	assert_true(fd >= 0);
	volume_init(&v);
	for (i = 0; i < m->n; i++)
		assert_int_equal(
		    volume_add(&v, buf_slice(&m->file[i]), &em), ERR_OK);
	assert_int_equal(volume_build(&v, &em), ERR_OK);
	assert_int_equal(nifti_out_write(&v, fd, &bytes, &em), ERR_OK);
	unzip(fd, bytes, out);
	volume_fini(&v);
	made_fini(m);
	(void)close(fd);
}

static int16_t
voxel16(const struct nii *f, size_t i)
{
	int16_t v;

	memcpy(&v, f->b + HEAD + i * 2, sizeof(v));
	return v;
}

static float
voxel32(const struct nii *f, size_t i)
{
	float v;

	memcpy(&v, f->b + HEAD + i * 4, sizeof(v));
	return v;
}

static void
test_header_and_row_order(void **state)
{
	static const char nothing[80];
	struct made m = { .n = 0 };
	struct nii f;

	(void)state;
	make(&m,
	    &(struct plan){ .z = 0, .pixel = 100, .slope = 2, .inter = -7 });
	make(&m,
	    &(struct plan){ .z = 4, .pixel = 200, .slope = 2, .inter = -7 });
	convert(&m, &f);
	assert_int_equal(f.n, HEAD + 2 * 3 * 2 * 2);
	assert_int_equal(f.h.sizeof_hdr, 348);
	assert_int_equal(f.h.dim[0], 3);
	assert_int_equal(f.h.dim[1], 3);
	assert_int_equal(f.h.dim[2], 2);
	assert_int_equal(f.h.dim[3], 2);
	assert_int_equal(f.h.datatype, DT_INT16);
	assert_true(f.h.pixdim[1] == 1.5f && f.h.pixdim[2] == 2.0f &&
		    f.h.pixdim[3] == 4.0f);
	assert_true(f.h.scl_slope == 2.0f && f.h.scl_inter == -7.0f);
	assert_memory_equal(f.h.descrip, nothing, sizeof(f.h.descrip));
	assert_memory_equal(f.h.aux_file, nothing, sizeof(f.h.aux_file));
	assert_memory_equal(f.h.db_name, nothing, sizeof(f.h.db_name));
	assert_memory_equal(f.h.intent_name, nothing, sizeof(f.h.intent_name));
	/* Row 0 of the file is the image's last. */
	assert_int_equal(voxel16(&f, 0), 101);
	assert_int_equal(voxel16(&f, 3), 100);
	assert_int_equal(voxel16(&f, 6), 201);
	assert_int_equal(voxel16(&f, 9), 200);
}

static void
test_overlay_bits_are_masked(void **state)
{
	struct made m = { .n = 0 };
	struct nii f;

	(void)state;
	make(&m, &(struct plan){ .z = 0, .pixel = 0xF123 });
	make(&m, &(struct plan){ .z = 4, .pixel = 0x8FFE });
	convert(&m, &f);
	assert_int_equal(voxel16(&f, 3), 0x123);
	assert_int_equal(voxel16(&f, 6), 0xFFF);
	assert_int_equal(voxel16(&f, 9), 0xFFE);
}

static void
test_sign_is_taken_from_the_stored_bits(void **state)
{
	struct made m = { .n = 0 };
	struct nii f;

	(void)state;
	make(&m, &(struct plan){ .z = 0, .pixel = 0x0FFE, .is_signed = 1 });
	make(&m, &(struct plan){ .z = 4, .pixel = 0x07FE, .is_signed = 1 });
	convert(&m, &f);
	assert_int_equal(voxel16(&f, 3), -2);
	assert_int_equal(voxel16(&f, 0), -1);
	assert_int_equal(voxel16(&f, 9), 0x7FE);
}

static void
test_full_unsigned_range_stays_unsigned(void **state)
{
	struct made m = { .n = 0 };
	struct nii f;

	(void)state;
	make(&m, &(struct plan){ .z = 0, .pixel = 65534, .bits_stored = 16 });
	make(&m, &(struct plan){ .z = 4, .pixel = 1, .bits_stored = 16 });
	convert(&m, &f);
	assert_int_equal(f.h.datatype, DT_UINT16);
	assert_int_equal((uint16_t)voxel16(&f, 3), 65534);
}

static void
test_slopes_that_differ_are_applied(void **state)
{
	struct made m = { .n = 0 };
	struct nii f;

	(void)state;
	make(&m, &(struct plan){ .z = 0, .pixel = 10, .slope = 2, .inter = 1 });
	make(&m, &(struct plan){ .z = 4, .pixel = 10, .slope = 0.5 });
	convert(&m, &f);
	assert_int_equal(f.h.datatype, DT_FLOAT32);
	assert_true(f.h.scl_slope == 1.0f && f.h.scl_inter == 0.0f);
	assert_true(voxel32(&f, 3) == 21.0f);
	assert_true(voxel32(&f, 9) == 5.0f);
}

static void
test_shear_is_said_by_sform_only(void **state)
{
	struct made m = { .n = 0 };
	struct nii f;

	(void)state;
	make(&m, &(struct plan){ .z = 0, .y = 0 });
	make(&m, &(struct plan){ .z = 4, .y = 1 });
	convert(&m, &f);
	assert_int_equal(f.h.qform_code, 0);
	assert_true(f.h.sform_code > 0);
	assert_true(f.h.srow_y[2] == -1.0f && f.h.srow_z[2] == 4.0f);
	make(&m, &(struct plan){ .z = 0 });
	make(&m, &(struct plan){ .z = 4 });
	convert(&m, &f);
	assert_true(f.h.qform_code > 0 && f.h.pixdim[0] == -1.0f);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_header_and_row_order),
		cmocka_unit_test(test_overlay_bits_are_masked),
		cmocka_unit_test(test_sign_is_taken_from_the_stored_bits),
		cmocka_unit_test(test_full_unsigned_range_stays_unsigned),
		cmocka_unit_test(test_slopes_that_differ_are_applied),
		cmocka_unit_test(test_shear_is_said_by_sform_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
