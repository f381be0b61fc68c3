/* tests/unit/share/test_late.c: ops that came before their key: kept unread,
 * and shown, with their events, when a grant brings the key. */
#include "lib/carry.h"
#include "store/base/mem.h"

static struct site lab, rd;

static int
setup(void **state)
{
	static const char *const names[] = { "images" };
	struct errmsg em = { 0 };

	(void)state;
	site_new(&lab, "lab");
	site_new(&rd, "reader");
	assert_ok(shares_create(lab.sh, "trial", names, 1, false, &em));
	assert_ok(shares_grant(
	    lab.sh, "trial", &lab.me.pub, ROLE_WRITER, "images", &em));
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	site_end(&lab);
	site_end(&rd);
	return 0;
}

static struct asset_id
put(struct site *s, const char *subject)
{
	struct site_put p = { .s = s,
		.share = "trial",
		.compartment = "images",
		.subject = subject,
		.bytes = (const uint8_t *)subject,
		.n = strlen(subject) };

	assert_ok(site_put(&p));
	return p.asset;
}

static bool
shows(struct site *s, const struct asset_id *id)
{
	struct db_txn *txn = NULL;
	struct cat_asset a;
	enum err e;

	assert_ok(store_read(s->st, &txn));
	e = cat_asset_get(s->st, txn, id, &a);
	db_abort(txn);
	return e == ERR_OK;
}

static void
same_views(void)
{
	struct share_info i = site_share(&lab, "trial");
	struct cry_id x, y;
	struct db_txn *txn = NULL;

	assert_ok(store_read(lab.st, &txn));
	assert_ok(cat_hash(lab.st, txn, i.no, 1, &x));
	db_abort(txn);
	share_info_fini(&i);
	i = site_share(&rd, "trial");
	assert_ok(store_read(rd.st, &txn));
	assert_ok(cat_hash(rd.st, txn, i.no, 1, &y));
	db_abort(txn);
	share_info_fini(&i);
	assert_memory_equal(x.b, y.b, sizeof(x.b));
}

static void
join_without_history(void)
{
	struct invite_addr a = { .host = "127.0.0.1", .port = 1 };
	struct share_invite_opts o = { .role = ROLE_READER,
		.compartment = "images",
		.expires_in_s = 60,
		.no_history = true,
		.addrs = &a,
		.n_addrs = 1 };
	struct buf text = BUF_MAX(4096), claim = BUF_MAX(4096);
	struct share_info i = site_share(&lab, "trial");
	struct carry c = { .to = &lab, .share = i.id };
	struct errmsg em = { 0 };
	struct invite v;

	assert_ok(shares_invite(lab.sh, "trial", &o, &text, &em));
	assert_ok(shares_join(rd.sh, buf_cstr(&text), &v, &em));
	assert_ok(shares_joins_each(rd.sh, claim_take, &claim));
	c.bytes = buf_slice(&claim);
	assert_ok(store_write(lab.st, claim_job, &c));
	carry_members(&lab, &rd);
	share_info_fini(&i);
	buf_fini(&text);
	buf_fini(&claim);
}

static void
grant_history(void)
{
	struct share_grant_opts o = { .device = rd.me.pub,
		.role = ROLE_READER,
		.compartment = "images" };
	struct errmsg em = { 0 };

	assert_ok(shares_grant_with(lab.sh, "trial", &o, &em));
	carry_members(&lab, &rd);
}

static void
test_a_later_grant_of_history_shows_what_was_passed_over(void **state)
{
	struct asset_id before, after;
	struct errmsg em = { 0 };
	uint64_t told;

	(void)state;
	before = put(&lab, "S-BEFORE");
	assert_ok(shares_rotate(lab.sh, "trial", NULL, &em));
	join_without_history();
	after = put(&lab, "S-AFTER");
	assert_true(carry_ops(&lab, &rd) >= 2);
	assert_ok(shares_settle(rd.sh, NULL, NULL));
	assert_false(shows(&rd, &before));
	assert_true(shows(&rd, &after));
	assert_false(shares_unsettled(rd.sh));
	told = site_events(&rd, "asset.put").n;

	grant_history();
	assert_true(shares_unsettled(rd.sh));
	site_close(&rd); /* what is to do is known after a restart */
	site_open(&rd);
	assert_true(shares_unsettled(rd.sh));
	assert_ok(shares_settle(rd.sh, NULL, NULL));
	assert_true(shows(&rd, &before));
	same_views();
	assert_true(site_events(&rd, "asset.put").n > told);
	told = site_events(&rd, "asset.put").n;
	assert_false(shares_unsettled(rd.sh));
	assert_ok(shares_settle(rd.sh, NULL, NULL));
	assert_int_equal(site_events(&rd, "asset.put").n, told);
}

static void
test_a_rotation_leaves_nothing_to_look_for(void **state)
{
	struct errmsg em = { 0 };

	(void)state;
	carry_join(&lab, &rd, ROLE_READER, "images");
	(void)put(&lab, "S-1");
	(void)carry_ops(&lab, &rd);
	assert_ok(shares_settle(rd.sh, NULL, NULL));
	assert_false(shares_unsettled(rd.sh));
	assert_ok(shares_rotate(lab.sh, "trial", NULL, &em));
	carry_members(&lab, &rd);
	assert_false(shares_unsettled(rd.sh));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
		    test_a_later_grant_of_history_shows_what_was_passed_over,
		    setup, teardown),
		cmocka_unit_test_setup_teardown(
		    test_a_rotation_leaves_nothing_to_look_for, setup,
		    teardown),
	};

	if (cry_init() != ERR_OK)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
