/* tests/unit/helper/test_import.c: files handed to the real confined helper;
 * the test plays the node.
 *
 * Claims: a file is stored as it is; odd, broken and foreign files come back
 * as originals with a finding that says what they are, and the run goes on
 * after them; a size that lies and one above the limit are reported. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/imaging/helper/dimse.h"
#include "node/imaging/imaging.h"
#include "store/base/mem.h"
#include "tests/lib/dcm_build.h"

#define DATA PSC_SOURCE_DIR "/tests/data/dicom/"
#define HELPER PSC_BIN_DIR "/pesscara-imaging"
#define WAIT_MS 20000u

static int
setup(void **state)
{
	struct imaging_opts o = { .program = HELPER,
		.mode = IMAGING_IMPORT,
		.object_bytes_max = 4 * MIB };
	struct imaging *im;
	struct errmsg em;

	assert_int_equal(imaging_spawn(&o, &im, &em), ERR_OK);
	*state = im;
	return 0;
}

static int
teardown(void **state)
{
	imaging_close(*state);
	return 0;
}

static void
answer(struct imaging *im, const struct img_identity *id)
{
	const char **map = mem_array(id->n_uids, sizeof(*map));
	char(*text)[IMG_UID_MAX + 1] = mem_array(id->n_uids, sizeof(*text));
	struct img_context ctx = {
		.profile = "basic", .subject = "003-0142", .n_uids = id->n_uids
	};
	uint32_t i;

	for (i = 0; i < id->n_uids; i++) {
		(void)snprintf(text[i], sizeof(text[i]), "2.25.7%u", i);
		map[i] = text[i];
	}
	ctx.new_uids = map;
	assert_int_equal(imaging_answer_identity(im, &ctx), ERR_OK);
	mem_free(map);
	mem_free(text);
}

/* The object frame of one file, with its identity answered before. */
static void
offer(struct imaging *im, int fd, uint64_t bytes, struct img_msg *m)
{
	assert_int_equal(imaging_send_file(im, fd, bytes), ERR_OK);
	assert_int_equal(imaging_next(im, WAIT_MS, m), ERR_OK);
	if (m->kind != IMG_IDENTITY)
		return;
	answer(im, &m->identity);
	assert_int_equal(imaging_next(im, WAIT_MS, m), ERR_OK);
}

static void
finish(struct imaging *im, uint16_t status)
{
	struct img_msg m;

	assert_int_equal(imaging_answer_stored(im, status), ERR_OK);
	assert_int_equal(imaging_next(im, WAIT_MS, &m), ERR_OK);
	assert_int_equal(m.kind, IMG_DONE);
	assert_int_equal(m.done.stored, status == IMG_STATUS_OK);
}

static int
open_file(const char *path, uint64_t *bytes)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	*bytes = (uint64_t)st.st_size;
	return fd;
}

static int
make_file(const void *p, size_t n)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, p, n), (ssize_t)n);
	return fd;
}

static bool
found(const struct img_object *o, const char *kind)
{
	uint32_t i;

	for (i = 0; i < o->n_findings; i++) {
		if (strcmp(o->findings[i].kind, kind) == 0)
			return true;
	}
	return false;
}

static void
check_not_parsed(struct imaging *im, int fd, uint64_t bytes, const char *kind)
{
	struct img_msg m;

	offer(im, fd, bytes, &m);
	assert_int_equal(m.kind, IMG_OBJECT);
	assert_false(m.object.parsed);
	assert_false(m.object.releasable);
	assert_int_equal(m.object.original.n, bytes);
	if (!found(&m.object, kind))
		fail_msg("no finding %s but %s", kind,
		    m.object.n_findings > 0 ? m.object.findings[0].kind
					    : "none");
	finish(im, IMG_STATUS_OK);
}

static void
check_same_bytes(int fd, struct slice s)
{
	uint8_t *p = mem_new(s.n);

	assert_int_equal(pread(fd, p, s.n, 0), (ssize_t)s.n);
	assert_memory_equal(p, s.p, s.n);
	mem_free(p);
}

static void
test_original_is_kept_bit_for_bit(void **state)
{
	struct imaging *im = *state;
	struct img_msg m;
	uint64_t n;
	int fd = open_file(DATA "ct_philips_head_tilt/in/IM001.dcm", &n);

	offer(im, fd, n, &m);
	assert_int_equal(m.kind, IMG_OBJECT);
	assert_true(m.object.parsed);
	assert_string_equal(m.object.modality, "CT");
	assert_int_equal(m.object.original.n, n);
	check_same_bytes(fd, m.object.original);
	assert_true(m.object.deid.n > 0);
	assert_true(strncmp(m.object.deid_sop_uid, "2.25.7", 6) == 0);
	finish(im, IMG_STATUS_OK);
	(void)close(fd);
}

static void
test_many_odd_files_in_one_run(void **state)
{
	static const char *const names[] = { "MR_small.dcm", "MR_small_RLE.dcm",
		"MR_small_padded.dcm", "ExplVR_LitEndNoMeta.dcm",
		"UN_sequence.dcm", "chrH32.dcm", "chrKoreanMulti.dcm",
		"chrX2.dcm", "badVR.dcm",
		"JPEG2000-embedded-sequence-delimiter.dcm", "enhanced_mr.dcm",
		"ge_dti.dcm", "reportsi.dcm", "rtplan.dcm",
		"siemens_mosaic.dcm", "MR_small_bigendian.dcm",
		"image_dfl.dcm" };
	struct imaging *im = *state;
	char path[512];
	struct img_msg m;
	uint64_t n;
	size_t i;
	int fd;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		(void)snprintf(path, sizeof(path), DATA "odd/%s", names[i]);
		fd = open_file(path, &n);
		offer(im, fd, n, &m);
		if (m.kind != IMG_OBJECT)
			fail_msg("%s: no object", names[i]);
		assert_int_equal(m.object.original.n, n);
		check_same_bytes(fd, m.object.original);
		if (!m.object.parsed)
			assert_true(m.object.n_findings > 0);
		if (strstr(names[i], "bigendian") != NULL ||
		    strstr(names[i], "_dfl") != NULL) {
			assert_true(m.object.parsed && m.object.deid.n > 0);
			assert_string_equal(
			    m.object.findings[0].kind, "recoded");
			assert_true(strcmp(m.object.transfer_syntax,
					DCM_EXPLICIT) != 0); /* what came in */
		}
		finish(im, IMG_STATUS_OK);
		(void)close(fd);
	}
}

static void
test_not_dicom(void **state)
{
	static const char text[] = "%PDF-1.4 not an image at all, only text";
	int fd = make_file(text, sizeof(text));

	check_not_parsed(*state, fd, sizeof(text), "not-dicom");
	(void)close(fd);
	fd = make_file("", 0);
	check_not_parsed(*state, fd, 0, "not-dicom");
	(void)close(fd);
}

static void
test_directory_of_a_disc(void **state)
{
	struct dimse_meta m = { .sop_class = "1.2.840.10008.1.3.10",
		.sop_uid = "1.2.3",
		.transfer_syntax = "1.2.840.10008.1.2.1",
		.calling_ae = "" };
	struct buf b = BUF_MAX(1024);
	int fd;

	dimse_put_meta(&b, &m);
	buf_put(&b,
	    "\x04\0\x30\x11"
	    "CS\4\0DISC",
	    12);
	assert_int_equal(buf_err(&b), ERR_OK);
	fd = make_file(b.p, b.n);
	check_not_parsed(*state, fd, b.n, "dicomdir");
	(void)close(fd);
	buf_fini(&b);
}

/* A converter wrote every value as UN: read by tag, but an element of VR UN
 * does not outlive de-identification, so the copy would have no name. */
static void
test_identifiers_of_vr_un_give_an_original_with_a_finding(void **state)
{
	struct imaging *im = *state;
	struct dcm_build d;
	struct img_msg m;
	int fd;

	dcm_build_init(&d, DCM_EXPLICIT);
	dcm_build_str(&d, 0x00080016, "UN", DCM_CT);
	dcm_build_str(&d, 0x00080018, "UN", "1.2.3.4");
	dcm_build_str(&d, 0x0020000D, "UN", "1.2.3.2");
	dcm_build_str(&d, 0x0020000E, "UN", "1.2.3.3");
	assert_int_equal(buf_err(&d.b), ERR_OK);
	fd = make_file(d.b.p, d.b.n);
	offer(im, fd, d.b.n, &m);
	assert_int_equal(m.kind, IMG_OBJECT);
	assert_true(m.object.parsed);
	assert_int_equal(m.object.deid.n, 0);
	assert_true(found(&m.object, "deid-failed"));
	finish(im, IMG_STATUS_OK);
	(void)close(fd);
	dcm_build_fini(&d);
}

static void
test_truncated(void **state)
{
	struct imaging *im = *state;
	uint8_t *p = mem_new(MIB);
	uint64_t n;
	int fd = open_file(DATA "mr_ge_t1_deidentified/in/IM001.dcm", &n);

	assert_int_equal(pread(fd, p, MIB, 0), (ssize_t)n);
	(void)close(fd);
	fd = make_file(p, (size_t)n / 2);
	check_not_parsed(im, fd, n / 2, "truncated");
	(void)close(fd);
	fd = make_file(p, 140); /* ends inside the file meta */
	check_not_parsed(im, fd, 140, "truncated");
	(void)close(fd);
	mem_free(p);
}

static void
check_done_only(struct imaging *im, int fd, uint64_t bytes, const char *why)
{
	struct img_msg m;

	assert_int_equal(imaging_send_file(im, fd, bytes), ERR_OK);
	assert_int_equal(imaging_next(im, WAIT_MS, &m), ERR_OK);
	assert_int_equal(m.kind, IMG_DONE);
	assert_int_equal(m.done.refused, 1);
	assert_string_equal(m.done.reason, why);
}

static void
test_size_that_lies_and_size_above_limit(void **state)
{
	int fd = make_file("abc", 3);

	check_done_only(*state, fd, 4000, "short-read");
	check_done_only(*state, fd, 4 * MIB + 1, "too-large");
	check_done_only(*state, fd, UINT64_MAX, "too-large");
	/* and the run goes on */
	check_not_parsed(*state, fd, 3, "not-dicom");
	(void)close(fd);
}

static void
test_refusal_is_counted(void **state)
{
	struct imaging *im = *state;
	struct img_msg m;
	uint64_t n;
	int fd = open_file(DATA "mr_ge_t1_deidentified/in/IM001.dcm", &n);

	offer(im, fd, n, &m);
	finish(im, IMG_STATUS_OUT_OF_RESOURCES);
	(void)close(fd);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		T(test_original_is_kept_bit_for_bit),
		T(test_many_odd_files_in_one_run),
		T(test_not_dicom),
		T(test_directory_of_a_disc),
		T(test_identifiers_of_vr_un_give_an_original_with_a_finding),
		T(test_truncated),
		T(test_size_that_lies_and_size_above_limit),
		T(test_refusal_is_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
