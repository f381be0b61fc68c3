/* Claims: a query decides whose content is wanted; what is said later makes
 * an asset match or not; a changed query wants what now matches and lets go of
 * the rest; a want that was made is dropped; a pin is not narrowed; a query
 * that does not parse changes nothing; all of it outlives a restart. */
#include "lib/carry.h"
#include "node/share/share_edit.h"
#include "store/base/mem.h"

#define BYTES 60000u
#define N 3u

static struct site lab, site1;
static struct asset_id asset[N];
static uint8_t bytes[N][BYTES];

/* Three series at the site, whose ops came to the lab; none is wanted. */
static int
setup(void **state)
{
	static const char *const names[] = { "centre1" };
	static const char *const subject[N] = { "S-0", "S-1", "S-2" };
	struct errmsg em = { 0 };
	uint32_t i;

	(void)state;
	site_new(&lab, "lab");
	site_new(&site1, "centre-one");
	assert_ok(shares_create(lab.sh, "trial", names, 1, false, &em));
	carry_join(&lab, &site1, ROLE_WRITER, "centre1");
	assert_ok(shares_subscribe_where(
	    lab.sh, "trial", "centre1", SHARE_ALL, "tag:keep", &em));
	for (i = 0; i < N; i++) {
		struct prng g = { 77 + i };
		struct site_put p = { .s = &site1,
			.share = "trial",
			.compartment = "centre1",
			.subject = subject[i],
			.bytes = bytes[i],
			.n = BYTES };

		prng_fill(&g, bytes[i], BYTES);
		assert_ok(site_put(&p));
		asset[i] = p.asset;
	}
	assert_int_equal(carry_ops(&site1, &lab), N);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	site_end(&lab);
	site_end(&site1);
	return 0;
}

static enum err
choose(enum share_content content, const char *where)
{
	struct errmsg em = { 0 };

	return shares_subscribe_where(
	    lab.sh, "trial", "centre1", content, where, &em);
}

static void
settle(void)
{
	assert_ok(shares_settle(lab.sh, NULL, NULL));
	assert_false(shares_unsettled(lab.sh));
}

/* Said at the site, heard at the lab. */
static void
tag(uint32_t i, bool add)
{
	const struct share_by by = { .actor = "tester@site" };
	struct slice name = slice_str("keep");
	struct share_tags tags = {
		.add = &name, .n_add = add, .remove = &name, .n_remove = !add
	};
	struct errmsg em = { 0 };
	uint32_t done = 0;

	assert_ok(
	    shares_edit_tags(site1.sh, &by, &asset[i], &tags, &done, &em));
	assert_int_equal(done, 1);
	assert_true(carry_ops(&site1, &lab) > N);
}

static uint64_t
evict(void)
{
	const struct share_evict_opts o = { 0 };
	struct share_evicted out;

	assert_ok(shares_evict(lab.sh, &o, &out));
	return out.versions;
}

static bool
here(uint32_t i)
{
	return site_has(&lab, &asset[i], bytes[i], BYTES);
}

static void
what_matches_is_wanted_and_nothing_else(void **state)
{
	(void)state;
	settle();
	assert_int_equal(carry_chunks(&site1, &lab), 0);
	tag(1, true);
	assert_true(shares_unsettled(lab.sh));
	settle();
	assert_true(carry_chunks(&site1, &lab) > 0);
	assert_false(here(0));
	assert_true(here(1));
	assert_false(here(2));
	assert_int_equal(evict(), 0);
}

static void
a_changed_query_fetches_and_lets_go(void **state)
{
	(void)state;
	tag(1, true);
	settle();
	assert_true(carry_chunks(&site1, &lab) > 0);
	assert_ok(choose(SHARE_ALL, "level=series and not tag:keep"));
	settle();
	assert_true(carry_chunks(&site1, &lab) > 0);
	assert_true(here(0) && here(2));
	assert_int_equal(evict(), 1);
	assert_int_equal(evict(), 0);
	assert_true(here(0) && here(2));
	/* back within the grace: nothing is asked of anybody */
	assert_ok(choose(SHARE_ALL, "level=series"));
	settle();
	assert_int_equal(site_table(&lab, DB_WANT), 0);
	assert_true(here(1));
	assert_ok(choose(SHARE_ALL, NULL));
	assert_int_equal(site_table(&lab, DB_WANT), 0);
}

static void
a_want_that_matches_no_more_is_dropped(void **state)
{
	uint64_t gen;

	(void)state;
	tag(0, true);
	settle();
	assert_true(site_table(&lab, DB_WANT) > 0);
	gen = shares_drops_gen(lab.sh);
	tag(0, false);
	settle();
	assert_int_equal(site_table(&lab, DB_WANT), 0);
	assert_true(shares_drops_gen(lab.sh) > gen);
}

static void
it_outlives_a_restart(void **state)
{
	struct share_info i;

	(void)state;
	tag(2, true);
	site_close(&lab);
	site_open(&lab);
	i = site_share(&lab, "trial");
	assert_string_equal(i.c[0].where, "tag:keep");
	share_info_fini(&i);
	assert_true(shares_unsettled(lab.sh));
	settle();
	assert_true(carry_chunks(&site1, &lab) > 0);
	assert_true(here(2));
	assert_false(here(0));
}

static void
a_pin_is_not_narrowed(void **state)
{
	(void)state;
	assert_ok(choose(SHARE_PIN, "tag:keep"));
	assert_ok(choose(SHARE_PIN, "tag:keep"));
	assert_int_equal(choose(SHARE_ALL, "tag:other"), ERR_DENIED);
	assert_int_equal(choose(SHARE_LAZY, "tag:keep"), ERR_DENIED);
	assert_ok(choose(SHARE_ALL, NULL));
	assert_ok(choose(SHARE_ALL, "tag:other"));
}

static void
a_query_that_does_not_parse_changes_nothing(void **state)
{
	struct share_info i;
	struct errmsg em = { 0 };

	(void)state;
	assert_int_not_equal(shares_subscribe_where(lab.sh, "trial", "centre1",
				 SHARE_ALL, "tag:keep and (", &em),
	    ERR_OK);
	assert_non_null(strstr(em.cause, "column"));
	assert_int_equal(choose(SHARE_NONE, "tag:keep"), ERR_UNSUPPORTED);
	i = site_share(&lab, "trial");
	assert_string_equal(i.c[0].where, "tag:keep");
	share_info_fini(&i);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		TEST(what_matches_is_wanted_and_nothing_else),
		TEST(a_changed_query_fetches_and_lets_go),
		TEST(a_want_that_matches_no_more_is_dropped),
		TEST(it_outlives_a_restart),
		TEST(a_pin_is_not_narrowed),
		TEST(a_query_that_does_not_parse_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
