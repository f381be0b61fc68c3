/* tests/unit/workdir/test_manifest.c: the manifest of a check-out, as written
 * and as it may come back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <fcntl.h>
#include <unistd.h>

#include "lib/tmpdir.h"
#include "node/workdir/workdir_internal.h"
#include "store/base/mem.h"

#define ID_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define ID_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define HEX "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static enum err
parse(const char *text)
{
	struct wd_manifest m = { .n = 0 };
	struct errmsg em = { 0 };
	enum err e = wd_manifest_parse(slice_str(text), &m, &em);

	if (e != ERR_OK) {
		assert_int_equal(m.n, 0);
		assert_true(em.cause[0] != '\0');
	}
	wd_manifest_fini(&m);
	return e;
}

/* One asset with one file; each part may be bent. */
static enum err
parse_with(const char *id, const char *path, const char *name, const char *rest)
{
	char text[2048];

	(void)snprintf(text, sizeof(text),
	    "{\"format\":1,\"site\":\"lab\",\"assets\":[{\"id\":\"%s\","
	    "\"level\":\"series\",\"share\":\"s\",\"compartment\":\"c\","
	    "\"version\":\"" HEX "\",\"path\":\"%s\",\"files\":["
	    "{\"name\":\"%s\",\"bytes\":1,\"hash\":\"" HEX "\"}%s]}]}",
	    id, path, name, rest);
	return parse(text);
}

static void
test_what_is_written_is_read(void **state)
{
	struct wd_manifest m = { .site = "lab" }, back = { .n = 0 };
	struct cry_id hash = { { 7 } };
	struct buf text = BUF_MAX(MIB);
	struct errmsg em = { 0 };
	struct wd_asset *a = wd_asset_add(&m);
	uint32_t i;

	(void)state;
	assert_non_null(a);
	a->id.b[3] = 9;
	a->version.b[5] = 4;
	a->lock = a->derived = true;
	(void)snprintf(a->level, sizeof(a->level), "nifti");
	(void)snprintf(a->share, sizeof(a->share), "trial \"x\"");
	(void)snprintf(a->compartment, sizeof(a->compartment), "images");
	(void)snprintf(a->path, sizeof(a->path), "S1_nifti");
	for (i = 0; i < 3; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "f%u.nii", i);
		assert_int_equal(wd_file_add(a, name, i, &hash), ERR_OK);
	}
	assert_int_equal(wd_manifest_encode(&m, &text), ERR_OK);
	assert_int_equal(
	    wd_manifest_parse(buf_slice(&text), &back, &em), ERR_OK);
	assert_string_equal(back.site, "lab");
	assert_int_equal(back.n, 1);
	assert_memory_equal(&back.a[0].id, &a->id, sizeof(a->id));
	assert_memory_equal(&back.a[0].version, &a->version, 32);
	assert_string_equal(back.a[0].share, a->share);
	assert_true(back.a[0].lock && back.a[0].derived);
	assert_int_equal(back.a[0].n, 3);
	assert_string_equal(back.a[0].f[2].name, "f2.nii");
	assert_int_equal(back.a[0].f[2].bytes, 2);
	assert_memory_equal(&back.a[0].f[1].hash, &hash, 32);
	wd_manifest_fini(&m);
	wd_manifest_fini(&back);
	buf_fini(&text);
}

static void
test_names_that_lead_elsewhere_are_refused(void **state)
{
	static const char *const bad[] = { "", "..", ".x", "a/b", "/etc", "-f",
		"a\\nb", "a\\u0000b", "a\\\\b", "\\ud800" };
	size_t i;

	(void)state;
	assert_int_equal(parse_with(ID_A, "p", "f", ""), ERR_OK);
	assert_int_equal(parse_with(ID_A, ".", "f", ""), ERR_OK);
	assert_int_not_equal(parse_with(ID_A, "p", ".", ""), ERR_OK);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_not_equal(parse_with(ID_A, bad[i], "f", ""), ERR_OK);
		assert_int_not_equal(parse_with(ID_A, "p", bad[i], ""), ERR_OK);
	}
}

static void
test_doubles_and_half_values_are_refused(void **state)
{
	(void)state;
	assert_int_equal(parse_with("aaaa", "p", "f", ""), ERR_MALFORMED);
	assert_int_equal(
	    parse_with(ID_A, "p", "f",
		",{\"name\":\"f\",\"bytes\":2,\"hash\":\"" HEX "\"}"),
	    ERR_MALFORMED);
	assert_int_equal(
	    parse_with(ID_A, "p", "f",
		"]},{\"id\":\"" ID_A "\",\"level\":\"x\",\"share\":\"s\","
		"\"compartment\":\"c\",\"version\":\"" HEX
		"\",\"path\":\"q\",\"files\":["),
	    ERR_MALFORMED);
	assert_int_equal(
	    parse_with(ID_A, "p", "f",
		"]},{\"id\":\"" ID_B "\",\"level\":\"x\",\"share\":\"s\","
		"\"compartment\":\"c\",\"version\":\"" HEX
		"\",\"path\":\"p\",\"files\":["),
	    ERR_OK); /* two assets may share a folder */
	assert_int_equal(parse(""), ERR_MALFORMED);
	assert_int_equal(parse("[]"), ERR_UNSUPPORTED);
	assert_int_equal(parse("{\"format\":2}"), ERR_UNSUPPORTED);
	assert_int_equal(
	    parse("{\"format\":1,\"site\":\"\",\"assets\":[]}"), ERR_MALFORMED);
}

static void
test_too_many_files_are_refused_before_they_are_read(void **state)
{
	struct buf text = BUF_MAX(256 * MIB);
	uint32_t i;

	(void)state;
	buf_put_str(&text, "{\"format\":1,\"site\":\"l\",\"assets\":[");
	for (i = 0; i <= WD_ASSETS_MAX; i++)
		buf_put_str(&text, i == 0 ? "0" : ",0");
	buf_put_str(&text, "]}");
	assert_int_equal(parse(buf_cstr(&text)), ERR_LIMIT);
	buf_reset(&text);
	buf_put_str(&text, "[0");
	for (i = 0; i < WD_VALUES_MAX; i++)
		buf_put_str(&text, ",0");
	buf_put_str(&text, "]");
	assert_int_equal(parse(buf_cstr(&text)), ERR_LIMIT);
	buf_fini(&text);
}

static void
test_no_memory_is_an_error_at_every_allocation(void **state)
{
	enum err e = ERR_NOMEM;
	long n;

	(void)state;
	for (n = 0; e != ERR_OK && n < 200; n++) {
		mem_fail_at(n);
		e = parse_with(ID_A, "p", "f",
		    ",{\"name\":\"g\",\"bytes\":2,\"hash\":\"" HEX "\"}");
		mem_fail_at(-1);
		assert_true(e == ERR_OK || e == ERR_NOMEM);
	}
	assert_true(n > 3 && n < 200);
}

static void
test_stems_tell_what_belongs_together(void **state)
{
	(void)state;
	assert_true(wd_same_stem("a.nii.gz", "a.json"));
	assert_true(wd_same_stem("a", "a.bval"));
	assert_false(wd_same_stem("a.nii", "ab.nii"));
	assert_false(wd_same_stem("", ""));
}

static void
test_it_is_written_whole_or_not_at_all(void **state)
{
	struct wd_manifest m = { .site = "lab" }, back = { .n = 0 };
	struct errmsg em = { 0 };
	char dir[TMPDIR_MAX];
	bool empty;
	int fd;

	(void)state;
	tmpdir_make(dir);
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(wd_manifest_read(fd, &back, &em), ERR_NOTFOUND);
	assert_int_equal(
	    close(openat(fd, WD_MANIFEST_PART, O_WRONLY | O_CREAT, 0600)), 0);
	assert_int_equal(wd_dir_empty(fd, &empty), ERR_OK);
	assert_true(empty); /* killed before its first manifest */
	assert_int_equal(wd_manifest_write(fd, &m, &em), ERR_OK);
	assert_int_equal(wd_manifest_read(fd, &back, &em), ERR_OK);
	assert_string_equal(back.site, "lab");
	assert_int_not_equal(faccessat(fd, WD_MANIFEST_PART, F_OK, 0), 0);
	assert_int_equal(wd_dir_empty(fd, &empty), ERR_OK);
	assert_false(empty);
	(void)close(fd);
	wd_manifest_fini(&back);
	tmpdir_remove(dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_written_is_read),
		cmocka_unit_test(test_names_that_lead_elsewhere_are_refused),
		cmocka_unit_test(test_doubles_and_half_values_are_refused),
		cmocka_unit_test(
		    test_too_many_files_are_refused_before_they_are_read),
		cmocka_unit_test(
		    test_no_memory_is_an_error_at_every_allocation),
		cmocka_unit_test(test_stems_tell_what_belongs_together),
		cmocka_unit_test(test_it_is_written_whole_or_not_at_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
