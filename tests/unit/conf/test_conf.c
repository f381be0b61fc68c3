/* conf: what is wrong is named by file, line, key and nearest key; setting
 * one key keeps the rest of the file; docs/config.md is what the list says. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "node/conf/conf.h"
#include "store/base/mem.h"

static struct conf c; /* 15 KB: not on the stack */

struct home {
	char dir[64];
};

static int
setup(void **state)
{
	static struct home h;

	(void)snprintf(h.dir, sizeof(h.dir), "/tmp/psc_conf_XXXXXX");
	assert_non_null(mkdtemp(h.dir));
	*state = &h;
	return 0;
}

static int
teardown(void **state)
{
	const struct home *h = *state;
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/pesscara.yaml", h->dir);
	(void)unlink(path);
	return rmdir(h->dir); /* fails if a temporary file was left */
}

static void
put_file(const struct home *h, const char *text)
{
	char path[128];
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/pesscara.yaml", h->dir);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
	assert_int_equal(fclose(f), 0);
}

static const char *
get_file(const char *path)
{
	static char text[16384];
	FILE *f = fopen(path, "r");
	size_t n;

	assert_non_null(f);
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = '\0';
	assert_int_equal(fclose(f), 0);
	return text;
}

static const char *
home_file(const struct home *h)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/pesscara.yaml", h->dir);
	return get_file(path);
}

static void
expect_bad(const char *text, const char *cause)
{
	struct errmsg em = { 0 };

	assert_int_not_equal(
	    conf_parse(slice_str(text), "f.yaml", &c, &em), ERR_OK);
	if (strstr(em.cause, cause) == NULL)
		fail_msg("\"%s\" lacks \"%s\"", em.cause, cause);
}

static void
test_errors_name_file_line_and_key(void **state)
{
	(void)state;
	expect_bad("site: a\ndicom:\n  listn: 1\n",
	    "f.yaml:3: unknown key \"dicom.listn\"; the nearest known key is "
	    "dicom.listen");
	expect_bad("site: a\nsit: b\n", "f.yaml:2: unknown key \"sit\"; the "
					"nearest known key is site");
	expect_bad("site: a\n\nrest:\n  listen: here\n",
	    "f.yaml:4: rest.listen must be HOST:PORT or off");
	expect_bad("site: a\nrest: {listen: 'h:70000'}\n", "f.yaml:2");
	expect_bad("dicom:\n  listen: off\n", "site is missing");
	expect_bad("site: a b\n", "f.yaml:1: site may hold");
	expect_bad("site: a\nsite.x: 1\n", "unknown key");
	expect_bad("[]\n", "must be a map");
	expect_bad("site: a\n  b: c\n", "line 2");
	expect_bad("site: a\nrest.listen: off\nrest:\n  listen: off\n",
	    "rest.listen is set twice");
	expect_bad("site: a\nlimits: {associations: 0}\n", "from 1 to 256");
	expect_bad("site: a\nlimits: {associations: 257}\n", "from 1 to 256");
	expect_bad("site: a\nlimits: {associations: [1]}\n", "number");
	expect_bad("site: a\nstore: {segment_bytes: 1x}\n", "bytes");
	expect_bad("site: a\ndicom: {ae_title: SEVENTEEN_LETTERS}\n", "16");
	expect_bad("site: a\ndicom: {ae_title: 'A\\B'}\n", "AE title");
	expect_bad("site: a\ndicom:\n  inboxes:\n  - share: s\n",
	    "f.yaml:3: dicom.inboxes an inbox lacks calling_ae");
	expect_bad("site: a\ndicom:\n  inboxes:\n  - calling: s\n",
	    "inbox has no \"calling\"");
	expect_bad("site: a\ndicom: {inboxes: [{calling_ae: A, share: s},"
		   "{calling_ae: A, share: t}]}",
	    "twice");
	expect_bad("site: a\ndicom: {inboxes: {}}\n", "list");
	expect_bad("site: a\ndicom: {inboxes: [{calling_ae: A, share: s, "
		   "called_ae: 'A\\B'}]}",
	    "called_ae must be an AE title");
}

static void
test_folders_are_checked_and_shown(void **state)
{
	struct buf b = BUF_MAX(64 * KIB);

	(void)state;
	assert_int_equal(
	    conf_parse(
		SLICE_LIT("site: a\nfolders:\n"
			  "  - {path: /srv/in, share: s}\n"
			  "  - {path: /srv/in2, share: s, after: remove, "
			  "quiet: 2m, tags: [x]}\n"),
		"f", &c, NULL),
	    ERR_OK);
	assert_string_equal(c.folders[0].after, "done");
	assert_int_equal(c.folders[0].quiet_s, 10);
	assert_string_equal(c.folders[0].to.profile, "trial-imaging");
	assert_int_equal(c.folders[1].quiet_s, 120);
	assert_int_equal(conf_show(&c, &b), ERR_OK);
	assert_int_equal(conf_parse(buf_slice(&b), "f", &c, NULL), ERR_OK);
	assert_int_equal(c.n_folders, 2);
	assert_int_equal(c.folders[1].quiet_s, 120);
	assert_string_equal(c.folders[1].after, "remove");
	buf_fini(&b);
	expect_bad("site: a\ndicom: {archives: [{name: a, ae: A, share: s, "
		   "address: 'h'}]}\n",
	    "address must be HOST:PORT");
	expect_bad("site: a\ndicom: {archives: [{name: a, ae: A, share: s}]}\n",
	    "an archive lacks address");
	expect_bad("site: a\nfolders: [{path: in, share: s}]\n",
	    "path must be an absolute path");
	expect_bad("site: a\nfolders: [{path: /a/../b, share: s}]\n",
	    "path must be an absolute path");
	expect_bad("site: a\nfolders: [{path: /a, share: s, quiet: 0s}]\n",
	    "quiet must be a time like 10s");
	expect_bad("site: a\nfolders: [{path: /a, share: s, after: x}]\n",
	    "after must be done or remove");
	expect_bad("site: a\nfolders: [{path: /a}]\n", "a folder lacks share");
	expect_bad("site: a\nfolders: [{path: /a, share: s}, "
		   "{path: /a/b, share: s}]\n",
	    "names a folder inside another");
}

static void
expect_from(const char *from, const char *what)
{
	char text[256];

	(void)snprintf(text, sizeof(text),
	    "site: a\ndicom:\n  inboxes:\n"
	    "  - {calling_ae: A, share: s, from: %s}\n",
	    from);
	expect_bad(text, what);
}

/* domain.md 4: what cannot give each patient a name of its own is refused. */
static void
test_projects_say_how_subjects_are_named(void **state)
{
	struct conf_project p;
	struct errmsg em = { 0 };
	struct conf c;

	(void)state;
	assert_int_equal(
	    conf_parse(SLICE_LIT("site: a\ndeid:\n  projects:\n"
				 "  - {share: s, pseudonyms: random, "
				 "pattern: 'X{n:07}'}\n"
				 "  - {share: t}\n"
				 "dicom: {inboxes: [{calling_ae: A, share: s, "
				 "domain: north.example}]}\n"),
		"f.yaml", &c, &em),
	    ERR_OK);
	conf_project_of(&c, "s", &p);
	assert_string_equal(p.pseudonyms, "random");
	assert_string_equal(p.pattern, "X{n:07}");
	conf_project_of(&c, "t", &p);
	assert_string_equal(p.pseudonyms, "sequential");
	assert_string_equal(p.pattern, "{site}-{n:04}");
	conf_project_of(&c, "of no row", &p);
	assert_string_equal(p.pseudonyms, "sequential");
	assert_string_equal(c.inboxes[0].to.domain, "north.example");
	expect_bad("site: a\ndeid: {projects: [{pattern: '{n}'}]}\n",
	    "a project lacks share");
	expect_bad("site: a\ndeid: {projects: [{share: s}, {share: s}]}\n",
	    "names one share twice");
	expect_bad(
	    "site: a\ndeid: {projects: [{share: s, pseudonyms: hash}]}\n",
	    "sequential, random or keyed");
	expect_bad("site: a\ndeid: {projects: [{share: s, pattern: 'none'}]}\n",
	    "{n}");
	expect_bad(
	    "site: a\ndeid: {projects: [{share: s, pseudonyms: random}]}\n",
	    "{n:06}");
	expect_bad("site: a\ndeid: {projects: [{share: s, pseudonyms: keyed, "
		   "pattern: 'K{n:04}'}]}\n",
	    "{n}");
}

static void
test_inboxes_know_their_senders_addresses(void **state)
{
	static const char text[] =
	    "site: a\ndicom:\n  inboxes:\n"
	    "  - calling_ae: CT\n    share: s\n    data_type: clinical\n"
	    "    from: [10.1.2.3, 10.2.0.0/16, 'fd00::/8', '::1']\n"
	    "  - {calling_ae: CT, share: t, from: [10.2.1.0/24, 10.3.0.1]}\n"
	    "  - {calling_ae: CT, called_ae: OTHER, share: u, tls: true}\n";
	static const struct {
		const char *address;
		uint32_t net;
		bool in;
	} want[] = { { "10.1.2.3", 0, true }, { "10.1.2.2", 0, false },
		{ "10.2.255.1", 1, true }, { "10.3.0.0", 1, false },
		{ "fdab::1", 2, true }, { "fe00::1", 2, false },
		{ "::1", 3, true }, { "::ffff:10.1.2.3", 0, true } };
	struct buf b = BUF_MAX(64 * KIB);
	struct conf_net one;
	size_t i;

	(void)state;
	assert_int_equal(conf_parse(SLICE_LIT(text), "f", &c, NULL), ERR_OK);
	assert_int_equal(c.n_inboxes, 3);
	assert_int_equal(c.inboxes[0].n_from, 4);
	assert_string_equal(c.inboxes[0].to.data_type, "clinical");
	for (i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		assert_int_equal(conf_net_parse(want[i].address, &one), ERR_OK);
		assert_int_equal(
		    conf_net_holds(&c.inboxes[0].from[want[i].net], one.ip),
		    want[i].in);
	}
	assert_int_equal(conf_show(&c, &b), ERR_OK);
	assert_non_null(strstr(buf_cstr(&b),
	    "\"from\":[\"10.1.2.3\",\"10.2.0.0/16\",\"fd00::/8\",\"::1\"]"));
	assert_int_equal(conf_parse(buf_slice(&b), "f", &c, NULL), ERR_OK);
	assert_int_equal(c.inboxes[2].n_from, 0);
	assert_true(c.inboxes[2].tls && !c.inboxes[1].tls);
	buf_fini(&b);
	expect_from("10.1.2.3", "must be a list of 1 to 16");
	expect_from("[]", "must be a list of 1 to 16");
	expect_from("[10.1.2]", "addresses like 10.1.2.3");
	expect_from("[10.1.2.3/33]", "addresses like 10.1.2.3");
	expect_from("[10.1.2.3/8]", "addresses like 10.1.2.3");
	expect_from("[ct.hospital.org]", "addresses like 10.1.2.3");
	expect_bad("site: a\ndicom:\n  inboxes:\n"
		   "  - {calling_ae: A, share: s, from: [10.0.0.0/8]}\n"
		   "  - {calling_ae: A, share: t, from: [10.9.0.0/16]}\n",
	    "twice");
}

static void
test_pseudonym_patterns_cannot_give_one_name_to_two_subjects(void **state)
{
	static const char *const bad[] = { "{site}", "fixed", "{n}{n}",
		"{n:00}", "{n:04", "{x}{n}", "a b{n}", "{site}{site}{n}",
		"a\\\\{n}" };
	char text[128];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		(void)snprintf(text, sizeof(text),
		    "site: a\ndeid: {pseudonym_pattern: \"%s\"}\n", bad[i]);
		expect_bad(text, "f.yaml:2: deid.pseudonym_pattern");
	}
	assert_int_equal(
	    conf_parse(SLICE_LIT("site: a\ndeid: {pseudonym_pattern: "
				 "'{site}.T-{n:06}'}\n"),
		"f", &c, NULL),
	    ERR_OK);
	assert_string_equal(c.pseudonym_pattern, "{site}.T-{n:06}");
}

static void
test_defaults_are_loopback_and_shown_text_loads_again(void **state)
{
	struct buf a = BUF_MAX(64 * KIB), b = BUF_MAX(64 * KIB);
	struct json *j = NULL;

	(void)state;
	assert_int_equal(
	    conf_parse(SLICE_LIT("site: centre-a\ndicom:\n  inboxes:\n"
				 "  - calling_ae: \"*\"\n    share: trial\n"
				 "    tags: [mr, 7t]\n"
				 "store: {segment_bytes: 16m}\n"),
		"f", &c, NULL),
	    ERR_OK);
	assert_string_equal(c.dicom_listen, "127.0.0.1:11112");
	assert_string_equal(c.peers_listen, "127.0.0.1:7433");
	assert_string_equal(c.rest_listen, "127.0.0.1:8470");
	assert_string_equal(c.release_policy, "manual");
	assert_string_equal(c.inboxes[0].to.profile, "trial-imaging");
	assert_string_equal(c.inboxes[0].to.tags[1], "7t");
	assert_int_equal(c.store_segment_bytes, 16 * MIB);
	assert_int_equal(conf_show(&c, &a), ERR_OK);
	assert_int_equal(conf_parse(buf_slice(&a), "f", &c, NULL), ERR_OK);
	assert_int_equal(conf_show(&c, &b), ERR_OK);
	assert_true(slice_eq(buf_slice(&a), buf_slice(&b)));
	buf_reset(&b);
	assert_int_equal(conf_show_json(&c, &b), ERR_OK);
	assert_int_equal(json_parse(buf_slice(&b), &j, NULL), ERR_OK);
	assert_string_equal(
	    json_get_str(json_get(j, "rest"), "listen", ""), "127.0.0.1:8470");
	json_free(j);
	buf_fini(&a);
	buf_fini(&b);
}

static void
test_set_keeps_comments_and_other_keys(void **state)
{
	const struct home *h = *state;
	struct errmsg em = { 0 };

	put_file(h, "# \xc3\xa4 first\nsite: a # the site\ndicom:\n"
		    "  # listening\n  listen: off # why\n  inboxes:\n"
		    "  - calling_ae: X\n    share: s\n\n# end\n");
	assert_int_equal(
	    conf_set(h->dir, "dicom.listen=127.0.0.1:0", &em), ERR_OK);
	assert_int_equal(conf_set(h->dir, "dicom.ae_title=LAB", &em), ERR_OK);
	assert_int_equal(conf_set(h->dir, "rest.listen=off", &em), ERR_OK);
	assert_int_equal(
	    conf_set(h->dir,
		"dicom.inboxes=[{\"calling_ae\":\"Y\",\"share\":\"t\"}]", &em),
	    ERR_OK);
	assert_string_equal(home_file(h),
	    "# \xc3\xa4 first\nsite: a # the site\ndicom:\n"
	    "  ae_title: LAB\n  # listening\n"
	    "  listen: \"127.0.0.1:0\" # why\n"
	    "  inboxes: [{\"calling_ae\":\"Y\",\"share\":\"t\","
	    "\"profile\":\"trial-imaging\",\"tags\":[]}]\n\n# end\n"
	    "rest:\n  listen: off\n");
	assert_int_equal(conf_load(h->dir, &c, &em), ERR_OK);
	assert_string_equal(c.inboxes[0].calling_ae, "Y");
	assert_int_equal(
	    conf_set(h->dir,
		"peers.schedule=[{\"from\": \"07:00\", \"to\": \"19:00\", "
		"\"up\": \"500k\"}]",
		&em),
	    ERR_OK);
	assert_int_equal(conf_set(h->dir, "peers.schedule=[]", &em), ERR_OK);
}

static void
test_set_refuses_wrong_values_and_changes_nothing(void **state)
{
	static const char text[] = "site: a\nrest: {listen: off}\n";
	const struct home *h = *state;
	struct errmsg em = { 0 };

	put_file(h, text);
	assert_int_equal(
	    conf_set(h->dir, "peers.schedule=[{\"days\": \"x\"}]", &em),
	    ERR_MALFORMED);
	assert_int_equal(conf_set(h->dir, "rest.lisen=off", &em), ERR_NOTFOUND);
	assert_non_null(strstr(em.cause, "nearest known key is rest.listen"));
	assert_int_equal(conf_set(h->dir, "rest.listen", &em), ERR_MALFORMED);
	assert_int_equal(conf_set(h->dir, "rest.listen=x", &em), ERR_MALFORMED);
	assert_int_equal(conf_set(h->dir, "site=a\nb: c", &em), ERR_MALFORMED);
	assert_int_equal(
	    conf_set(h->dir, "dicom.inboxes=[{", &em), ERR_MALFORMED);
	assert_int_equal(
	    conf_set(h->dir, "limits.associations=999", &em), ERR_LIMIT);
	assert_string_equal(home_file(h), text);
	assert_int_equal(
	    conf_set(h->dir, "rest.listen=localhost:0", &em), ERR_OK);
	assert_string_equal(
	    home_file(h), "site: a\nrest: {listen: \"localhost:0\"}\n");
}

static void
test_first_file_holds_every_key(void **state)
{
	const struct home *h = *state;
	struct errmsg em = { 0 };

	assert_int_equal(conf_create(h->dir, "../x", &em), ERR_MALFORMED);
	assert_int_equal(conf_create(h->dir, "lab", &em), ERR_OK);
	assert_int_equal(conf_load(h->dir, &c, &em), ERR_OK);
	assert_string_equal(c.site, "lab");
	assert_int_equal(conf_set(h->dir, "store.map_bytes=1g", &em), ERR_OK);
	assert_int_equal(conf_load(h->dir, &c, &em), ERR_OK);
	assert_int_equal(c.store_map_bytes, GIB);
}

static void
test_addresses(void **state)
{
	char host[16];
	uint16_t port;

	(void)state;
	assert_int_equal(conf_address("off", host, 16, &port), ERR_NOTFOUND);
	assert_int_equal(conf_address("[::1]:7", host, 16, &port), ERR_OK);
	assert_string_equal(host, "::1");
	assert_int_equal(port, 7);
	assert_int_equal(conf_address("a:0", host, 16, &port), ERR_OK);
	assert_int_equal(conf_address("::1:7", host, 16, &port), ERR_MALFORMED);
	assert_int_equal(conf_address(":7", host, 16, &port), ERR_MALFORMED);
	assert_int_equal(conf_address("a:", host, 16, &port), ERR_MALFORMED);
	assert_int_equal(
	    conf_address("a:65536", host, 16, &port), ERR_MALFORMED);
	assert_int_equal(
	    conf_address("abcdefghijklmnop:1", host, 16, &port), ERR_MALFORMED);
}

/* The n-th allocation fails, for every n until all of it passes. */
static void
test_no_memory_is_an_error_and_never_a_wrong_configuration(void **state)
{
	static const char text[] =
	    "site: a\ndicom:\n  inboxes:\n  - calling_ae: A\n    share: s\n"
	    "    tags: [t]\nrest: {listen: off}\n";
	const struct home *h = *state;
	struct errmsg em;
	long n;
	enum err e = ERR_NOMEM;

	for (n = 0; e != ERR_OK; n++) {
		assert_true(n < 10000);
		mem_fail_at(n);
		em = (struct errmsg){ 0 };
		e = conf_parse(SLICE_LIT(text), "f", &c, &em);
		mem_fail_at(-1);
		assert_true(e == ERR_OK || e == ERR_NOMEM);
		assert_int_equal(em.code, e);
	}
	assert_string_equal(c.inboxes[0].to.tags[0], "t");
	assert_string_equal(c.dicom_listen, "127.0.0.1:11112");
	put_file(h, text);
	for (e = ERR_NOMEM, n = 0; e != ERR_OK; n++) {
		assert_true(n < 10000);
		mem_fail_at(n);
		e = conf_set(h->dir, "rest.listen=a:1", &em);
		mem_fail_at(-1);
		if (e != ERR_OK)
			assert_string_equal(home_file(h), text);
	}
	assert_non_null(strstr(home_file(h), "{listen: \"a:1\"}"));
}

static void
test_docs_config_md_is_current(void **state)
{
	const char *path = PSC_SOURCE_DIR "/docs/config.md";
	struct buf b = BUF_MAX(64 * KIB);
	FILE *f;

	(void)state;
	assert_int_equal(conf_doc(&b), ERR_OK);
	if (getenv("PSC_UPDATE_DOCS") != NULL) {
		f = fopen(path, "w");
		assert_non_null(f);
		assert_int_equal(fwrite(b.p, 1, b.n, f), b.n);
		assert_int_equal(fclose(f), 0);
	}
	assert_string_equal(get_file(path), buf_cstr(&b));
	buf_fini(&b);
}

int
main(void)
{
#define HOME(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_projects_say_how_subjects_are_named),
		cmocka_unit_test(test_inboxes_know_their_senders_addresses),
		cmocka_unit_test(test_folders_are_checked_and_shown),
		cmocka_unit_test(test_errors_name_file_line_and_key),
		cmocka_unit_test(
		    test_pseudonym_patterns_cannot_give_one_name_to_two_subjects),
		cmocka_unit_test(
		    test_defaults_are_loopback_and_shown_text_loads_again),
		HOME(test_set_keeps_comments_and_other_keys),
		HOME(test_set_refuses_wrong_values_and_changes_nothing),
		HOME(test_first_file_holds_every_key),
		HOME(
		    test_no_memory_is_an_error_and_never_a_wrong_configuration),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_docs_config_md_is_current),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
