/* tests/unit/helper/test_convert.c: real series through the real confined
 * helper, compared in world space with another converter's result.
 *
 * Claims: voxels and affine agree (tilted gantry included); the same input
 * gives the same bytes; order of input is irrelevant; every codec yields the
 * same volume; what cannot be said faithfully is refused with a reason. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "node/imaging/imaging.h"
#include "store/base/mem.h"

#define DATA PSC_SOURCE_DIR "/tests/data/dicom/"
#define HELPER PSC_BIN_DIR "/pesscara-imaging"
#define FILES_MAX 64u
#define WAIT_MS 60000u

struct series {
	uint8_t *bytes[FILES_MAX];
	struct slice files[FILES_MAX];
	uint32_t n;
	struct imaging *im;
};

static void
series_add(struct series *s, const char *path)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0 && s->n < FILES_MAX);
	assert_int_equal(fstat(fd, &st), 0);
	s->bytes[s->n] = mem_new((size_t)st.st_size);
	assert_non_null(s->bytes[s->n]);
	assert_int_equal(
	    read(fd, s->bytes[s->n], (size_t)st.st_size), st.st_size);
	s->files[s->n] = slice_of(s->bytes[s->n], (size_t)st.st_size);
	s->n++;
	(void)close(fd);
}

static void
series_load(struct series *s, const char *set)
{
	char dir[512], path[1024];
	struct dirent **list;
	int i, n;

	*s = (struct series){ 0 };
	(void)snprintf(dir, sizeof(dir), DATA "%s/in", set);
	n = scandir(dir, &list, NULL, alphasort);
	assert_true(n > 2);
	for (i = 0; i < n; i++) {
		if (list[i]->d_name[0] != '.') {
			(void)snprintf(
			    path, sizeof(path), "%s/%s", dir, list[i]->d_name);
			series_add(s, path);
		}
		free(list[i]);
	}
	free(list);
}

static void
series_fini(struct series *s)
{
	uint32_t i;

	imaging_close(s->im);
	for (i = 0; i < s->n; i++)
		mem_free(s->bytes[i]);
	*s = (struct series){ 0 };
}

static void
series_convert(struct series *s, struct img_result *out)
{
	struct imaging_opts o = { .program = HELPER, .mode = IMAGING_CONVERT };
	struct errmsg em;
	struct img_msg m;

	assert_int_equal(imaging_spawn(&o, &s->im, &em), ERR_OK);
	assert_int_equal(imaging_send_series(s->im, s->files, s->n), ERR_OK);
	assert_int_equal(imaging_next(s->im, WAIT_MS, &m), ERR_OK);
	assert_int_equal(m.kind, IMG_RESULT);
	*out = m.result;
}

static void
save(const char *path, struct slice s)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, s.p, s.n), (ssize_t)s.n);
	(void)close(fd);
}

static void
same_world(const struct img_result *r, const char *ref)
{
	char dir[] = "/tmp/psc-convert-XXXXXX", path[128], cmd[1024];
	int st;

	assert_non_null(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/image.nii.gz", dir);
	save(path, r->files[0].bytes);
	(void)snprintf(cmd, sizeof(cmd),
	    "/usr/bin/python3 " PSC_SOURCE_DIR
	    "/tests/lib/nifti_same_world.py %s " DATA "%s",
	    path, ref);
	st = system(cmd); /* both paths are ours */
	(void)unlink(path);
	(void)rmdir(dir);
	assert_int_equal(st, 0);
}

static void
check_json(struct slice json, uint32_t images)
{
	const char *p = (const char *)json.p, *end = p + json.n;
	uint32_t uids = 0;

	assert_non_null(memmem(p, json.n, "\"SourceInstances\"", 17));
	p = memmem(p, json.n, "\"SourceInstances\"", 17);
	while ((p = memchr(p, '\n', (size_t)(end - p))) != NULL) {
		p++;
		if (end - p > 3 && memcmp(p, "\t\t\"", 3) == 0)
			uids++;
	}
	assert_int_equal(uids, images);
}

static void
check_set(const char *set, const char *ref)
{
	struct img_result r;
	struct series s;

	series_load(&s, set);
	series_convert(&s, &r);
	if (!r.ok)
		fail_msg("%s: %s", set, r.reason);
	assert_int_equal(r.n_files, 2);
	assert_string_equal(r.files[0].name, "image.nii.gz");
	assert_string_equal(r.files[1].name, "image.json");
	assert_true(r.fields.n > 0);
	check_json(r.files[1].bytes, s.n);
	same_world(&r, ref);
	series_fini(&s);
}

static void
test_ge_t1(void **state)
{
	(void)state;
	check_set(
	    "mr_ge_t1_deidentified", "mr_ge_t1_deidentified/ref/ref_10.nii.gz");
}

static void
test_7t_t1_implicit_vr(void **state)
{
	(void)state;
	check_set("mr_t1_axial_7t_defaced",
	    "mr_t1_axial_7t_defaced/ref/ref_401.nii.gz");
}

static void
test_ct_with_gantry_tilt(void **state)
{
	(void)state;
	check_set(
	    "ct_philips_head_tilt", "ct_philips_head_tilt/ref/ref_201.nii.gz");
}

static void
test_every_codec_gives_the_same_volume(void **state)
{
	static const char *const sets[] = { "compressed/jpeg_lossless",
		"compressed/jpeg_ls", "compressed/rle", "compressed/j2k" };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(sets) / sizeof(sets[0]); i++)
		check_set(sets[i], "compressed/ref/truth.nii.gz");
}

/* --- the same after de-identification (domain.md 2) --- */

static void
new_uid(const char *old, char *out, size_t cap)
{
	uint64_t h = 0xcbf29ce484222325u; /* FNV-1a: any stable map will do */

	for (; *old != '\0'; old++)
		h = (h ^ (uint8_t)*old) * 0x100000001b3u;
	(void)snprintf(out, cap, "2.25.%llu", (unsigned long long)h);
}

static void
answer(struct imaging *im, const struct img_identity *id, const char *profile)
{
	const char **map = mem_array(id->n_uids, sizeof(*map));
	char(*text)[IMG_UID_MAX + 1] = mem_array(id->n_uids, sizeof(*text));
	struct img_context ctx = { .profile = profile,
		.subject = "003-0142",
		.shift_days = strcmp(profile, "basic") == 0 ? 0 : -100,
		.n_uids = id->n_uids };
	uint32_t i;

	for (i = 0; i < id->n_uids; i++) {
		new_uid(id->uids[i], text[i], sizeof(text[i]));
		map[i] = text[i];
	}
	ctx.new_uids = map;
	assert_int_equal(imaging_answer_identity(im, &ctx), ERR_OK);
	mem_free(map);
	mem_free(text);
}

static void
replace(struct series *s, uint32_t i, struct slice by)
{
	mem_free(s->bytes[i]);
	s->bytes[i] = mem_new(by.n);
	assert_non_null(s->bytes[i]);
	memcpy(s->bytes[i], by.p, by.n);
	s->files[i] = slice_of(s->bytes[i], by.n);
}

static void
deidentify(struct series *s, const char *profile)
{
	struct imaging_opts o = { .program = HELPER, .mode = IMAGING_IMPORT };
	struct imaging *im;
	struct errmsg em;
	struct img_msg m;
	uint32_t i;
	int fd;

	assert_int_equal(imaging_spawn(&o, &im, &em), ERR_OK);
	for (i = 0; i < s->n; i++) {
		fd = memfd_create("test", MFD_CLOEXEC);
		assert_int_equal(write(fd, s->files[i].p, s->files[i].n),
		    (ssize_t)s->files[i].n);
		assert_int_equal(
		    imaging_send_file(im, fd, s->files[i].n), ERR_OK);
		(void)close(fd);
		assert_int_equal(imaging_next(im, WAIT_MS, &m), ERR_OK);
		assert_int_equal(m.kind, IMG_IDENTITY);
		answer(im, &m.identity, profile);
		assert_int_equal(imaging_next(im, WAIT_MS, &m), ERR_OK);
		assert_int_equal(m.kind, IMG_OBJECT);
		assert_true(m.object.deid.n > 0);
		replace(s, i, m.object.deid);
		assert_int_equal(
		    imaging_answer_stored(im, IMG_STATUS_OK), ERR_OK);
		assert_int_equal(imaging_next(im, WAIT_MS, &m), ERR_OK);
		assert_int_equal(m.kind, IMG_DONE);
	}
	imaging_close(im);
}

static void
check_deid(const char *set, const char *ref, const char *profile)
{
	struct img_result r;
	struct series s;

	series_load(&s, set);
	deidentify(&s, profile);
	series_convert(&s, &r);
	if (!r.ok)
		fail_msg("%s, %s: %s", set, profile, r.reason);
	check_json(r.files[1].bytes, s.n);
	same_world(&r, ref);
	series_fini(&s);
}

static void
test_deidentified_series_give_the_same_volume(void **state)
{
	static const char *const profiles[] = { "basic", "trial-imaging" };
	size_t i;

	(void)state;
	for (i = 0; i < 2; i++) {
		check_deid("mr_ge_t1_deidentified",
		    "mr_ge_t1_deidentified/ref/ref_10.nii.gz", profiles[i]);
		check_deid("ct_philips_head_tilt",
		    "ct_philips_head_tilt/ref/ref_201.nii.gz", profiles[i]);
		check_deid("compressed/j2k", "compressed/ref/truth.nii.gz",
		    profiles[i]);
	}
}

static void
test_input_order_does_not_matter(void **state)
{
	struct img_result a, b;
	struct series s, t;
	struct slice swap;
	uint32_t i;

	(void)state;
	series_load(&s, "mr_ge_t1_deidentified");
	series_load(&t, "mr_ge_t1_deidentified");
	for (i = 0; i < t.n / 2; i++) {
		swap = t.files[i];
		t.files[i] = t.files[t.n - 1 - i];
		t.files[t.n - 1 - i] = swap;
	}
	series_convert(&s, &a);
	series_convert(&t, &b);
	assert_true(a.ok && b.ok);
	assert_true(slice_eq(a.files[0].bytes, b.files[0].bytes));
	assert_true(slice_eq(a.files[1].bytes, b.files[1].bytes));
	/* gzip: no name (flags 0) and no time */
	assert_memory_equal(a.files[0].bytes.p, "\x1f\x8b\x08\0\0\0\0\0", 8);
	series_fini(&s);
	series_fini(&t);
}

static void
refused(struct series *s, const char *why)
{
	struct img_result r;

	series_convert(s, &r);
	assert_false(r.ok);
	assert_int_equal(r.n_files, 0);
	if (strstr(r.reason, why) == NULL)
		fail_msg("refused for another reason: %s", r.reason);
	series_fini(s);
}

static void
test_missing_slice_is_refused(void **state)
{
	struct series s;

	(void)state;
	series_load(&s, "mr_ge_t1_deidentified");
	mem_free(s.bytes[5]);
	s.files[5] = s.files[s.n - 1];
	s.bytes[5] = s.bytes[s.n - 1];
	s.n--;
	refused(&s, "evenly spaced");
}

static void
test_duplicate_position_is_refused(void **state)
{
	struct series s;

	(void)state;
	series_load(&s, "mr_ge_t1_deidentified");
	series_add(&s, DATA "mr_ge_t1_deidentified/in/IM003.dcm");
	refused(&s, "not repeated evenly");
}

static void
test_whole_series_twice_is_refused(void **state)
{
	struct series s;
	uint32_t i, n;
	char path[512];

	(void)state;
	series_load(&s, "mr_ge_t1_deidentified");
	n = s.n;
	for (i = 1; i <= n; i++) {
		(void)snprintf(path, sizeof(path),
		    DATA "mr_ge_t1_deidentified/in/IM%03u.dcm", i);
		series_add(&s, path);
	}
	refused(&s, "nothing that orders them");
}

static void
test_two_series_in_one_are_refused(void **state)
{
	struct series s;

	(void)state;
	series_load(&s, "mr_ge_t1_deidentified");
	series_add(&s, DATA "ct_philips_head_tilt/in/IM001.dcm");
	refused(&s, "images of different");
}

static void
refuse_one(const char *file, const char *why)
{
	struct series s = { 0 };

	series_add(&s, file);
	refused(&s, why);
}

static void
test_what_we_do_not_convert_says_so(void **state)
{
	(void)state;
	refuse_one(DATA "odd/siemens_mosaic.dcm", "mosaic");
	refuse_one(DATA "odd/enhanced_mr.dcm", "multi-frame");
	refuse_one(DATA "odd/reportsi.dcm", "without pixel data");
	refuse_one(DATA "odd/rtplan.dcm", "without pixel data");
}

/* Wipes the tag of an element so that it is not found. */
static void
hide_element(struct series *s, uint32_t i, const char *tag)
{
	uint8_t *p = memmem(s->bytes[i], s->files[i].n, tag, 4);

	assert_non_null(p);
	p[2] = 0x99; /* an unknown element of the same group */
}

static void
test_missing_orientation_is_refused(void **state)
{
	struct series s;

	(void)state;
	series_load(&s, "mr_ge_t1_deidentified");
	hide_element(&s, 0, "\x20\0\x37\0");
	refused(&s, "ImageOrientationPatient");
	series_load(&s, "mr_ge_t1_deidentified");
	hide_element(&s, 3, "\x20\0\x32\0");
	refused(&s, "ImagePositionPatient");
}

static void
test_truncated_pixels_are_refused(void **state)
{
	struct series s;

	(void)state;
	series_load(&s, "mr_ge_t1_deidentified");
	s.files[4].n -= 1000;
	refused(&s, "");
}

static void
test_garbage_and_nothing_are_refused(void **state)
{
	uint8_t junk[600];
	struct series s = { 0 };

	(void)state;
	memset(junk, 0xfe, sizeof(junk));
	s.files[0] = slice_of(junk, sizeof(junk));
	s.n = 1;
	refused(&s, "");
	s.n = 0;
	refused(&s, "no images");
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ge_t1),
		cmocka_unit_test(test_7t_t1_implicit_vr),
		cmocka_unit_test(test_ct_with_gantry_tilt),
		cmocka_unit_test(test_every_codec_gives_the_same_volume),
		cmocka_unit_test(test_deidentified_series_give_the_same_volume),
		cmocka_unit_test(test_input_order_does_not_matter),
		cmocka_unit_test(test_missing_slice_is_refused),
		cmocka_unit_test(test_duplicate_position_is_refused),
		cmocka_unit_test(test_whole_series_twice_is_refused),
		cmocka_unit_test(test_two_series_in_one_are_refused),
		cmocka_unit_test(test_what_we_do_not_convert_says_so),
		cmocka_unit_test(test_missing_orientation_is_refused),
		cmocka_unit_test(test_truncated_pixels_are_refused),
		cmocka_unit_test(test_garbage_and_nothing_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
