/* tests/unit/share/test_request.c: a claim is granted as its invite says, and
 * opens nothing that a grant of the same device keeps closed. */
#include "lib/carry.h"
#include "store/base/mem.h"

static struct site lab, two, who;

static int
setup(void **state)
{
	static const char *const names[] = { "images" };
	struct errmsg em = { 0 };

	(void)state;
	site_new(&lab, "lab");
	site_new(&two, "two");
	site_new(&who, "who");
	assert_ok(shares_create(lab.sh, "trial", names, 1, false, &em));
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	site_end(&lab);
	site_end(&two);
	site_end(&who);
	return 0;
}

/* `who` claims an invite; what the registrar's node says of it. */
static enum err
claim(enum role role, bool approve, bool no_history)
{
	struct invite_addr a = { .host = "127.0.0.1", .port = 1 };
	struct share_invite_opts o = { .role = role,
		.compartment = role == ROLE_HUB ? NULL : "images",
		.expires_in_s = 60,
		.approve = approve,
		.no_history = no_history,
		.addrs = &a,
		.n_addrs = 1 };
	struct buf text = BUF_MAX(4096), bytes = BUF_MAX(4096);
	struct share_info i = site_share(&lab, "trial");
	struct carry c = { .to = &lab, .share = i.id };
	struct errmsg em = { 0 };
	struct invite v;
	enum err e;

	assert_ok(shares_invite(lab.sh, "trial", &o, &text, &em));
	assert_ok(shares_join(who.sh, buf_cstr(&text), &v, &em));
	assert_ok(shares_joins_each(who.sh, claim_take, &bytes));
	c.bytes = buf_slice(&bytes);
	e = store_write(lab.st, claim_job, &c);
	share_info_fini(&i);
	buf_fini(&text);
	buf_fini(&bytes);
	return e;
}

static enum err
grant(enum role role, bool no_history)
{
	struct share_grant_opts o = { who.me.pub, role,
		role == ROLE_HUB ? NULL : "images", no_history };
	struct errmsg em = { 0 };

	return shares_grant_with(lab.sh, "trial", &o, &em);
}

static uint32_t
requests(struct share_request *first)
{
	struct share_request *list;
	struct errmsg em = { 0 };
	uint32_t n;

	memset(first, 0, sizeof(*first));
	assert_ok(shares_requests(lab.sh, "trial", &list, &n, &em));
	if (n > 0)
		*first = list[0];
	shares_requests_free(list);
	return n;
}

static enum err
approve(const char *id)
{
	struct errmsg em = { 0 };

	return shares_approve(lab.sh, "trial", id, SHARE_YES, &em);
}

/* Of the grants that `who` has, with history or without. */
static uint32_t
grants(bool no_history)
{
	struct share_info i = site_share(&lab, "trial");
	struct db_txn *txn = NULL;
	struct buf rec = BUF_MAX(MIB);
	struct member *m = NULL;
	uint32_t n = 0;
	enum err e = ERR_OK;

	assert_ok(store_read(lab.st, &txn));
	for (uint64_t seq = 0; e == ERR_OK; seq++) {
		buf_reset(&rec);
		e = oplog_member_get(lab.st, txn, i.no, seq, &rec);
		if (e == ERR_OK && seq == 0)
			assert_ok(member_new(buf_slice(&rec), &m));
		else if (e == ERR_OK)
			assert_ok(member_apply(m, buf_slice(&rec)));
	}
	db_abort(txn);
	for (uint32_t k = 0; k < member_n_grants(m); k++) {
		const struct member_grant *g = member_grant(m, k);

		n += memcmp(&g->device, &who.me.pub, sizeof(g->device)) == 0 &&
		     g->no_history == no_history;
	}
	member_free(m);
	buf_fini(&rec);
	share_info_fini(&i);
	return n;
}

static void
approval_does_not_open_what_a_grant_keeps_closed(void **state)
{
	struct share_request r;

	(void)state;
	assert_ok(grant(ROLE_READER, true));
	assert_int_equal(claim(ROLE_READER, true, false), ERR_OK);
	assert_int_equal(requests(&r), 1);
	assert_string_equal(r.role, "reader");
	assert_string_equal(r.compartment, "images");
	assert_string_equal(r.history, "all");
	assert_true(r.widens);
	assert_int_equal(approve(r.id), ERR_DENIED);
	assert_int_equal(grants(false), 0);
	/* nor by way of another role */
	assert_int_equal(claim(ROLE_WRITER, true, false), ERR_OK);
	assert_int_equal(requests(&r), 2);
	assert_int_equal(approve(r.id), ERR_DENIED);
	assert_int_equal(grants(false), 0);
	/* it is opened by an act of its own */
	assert_ok(grant(ROLE_READER, false));
	assert_int_equal(grants(false), 1);
	assert_int_equal(requests(&r), 1);
	assert_string_equal(r.role, "writer");
	assert_false(r.widens);
	assert_ok(approve(r.id));
	assert_int_equal(requests(&r), 0);
}

static void
a_claim_that_would_open_it_waits_for_a_person(void **state)
{
	struct share_request r;

	(void)state;
	assert_ok(grant(ROLE_READER, true));
	assert_int_equal(claim(ROLE_WRITER, false, false), ERR_OK);
	assert_int_equal(grants(false), 0);
	assert_int_equal(requests(&r), 1);
	assert_true(r.widens);
}

static void
an_invite_without_history_grants_none(void **state)
{
	struct share_request r;

	(void)state;
	assert_int_equal(claim(ROLE_READER, true, true), ERR_OK);
	assert_int_equal(requests(&r), 1);
	assert_string_equal(r.history, "none");
	assert_ok(approve(r.id));
	assert_int_equal(grants(false), 0);
	assert_int_equal(grants(true), 1);
	assert_int_equal(claim(ROLE_WRITER, false, true), ERR_OK);
	assert_int_equal(grants(true), 2);
}

static void
a_hub_has_no_other_role(void **state)
{
	struct share_request r;

	(void)state;
	assert_ok(grant(ROLE_HUB, false));
	assert_int_equal(grant(ROLE_READER, false), ERR_DENIED);
	assert_int_equal(claim(ROLE_READER, false, false), ERR_DENIED);
	assert_int_equal(claim(ROLE_READER, true, false), ERR_DENIED);
	assert_int_equal(requests(&r), 0);
	assert_int_equal(grants(false), 1);
}

static void
a_member_becomes_no_hub(void **state)
{
	(void)state;
	assert_ok(grant(ROLE_READER, false));
	assert_int_equal(grant(ROLE_HUB, false), ERR_DENIED);
	assert_int_equal(claim(ROLE_HUB, false, false), ERR_DENIED);
	assert_int_equal(grants(false), 1);
}

/* Two of two sign: what is drafted of a claim may be overtaken. */
static void
an_overtaken_draft_leaves_the_claim(void **state)
{
	struct member_registrars to = { .k = 2, .n = 2 };
	struct share_request r;
	struct errmsg em = { 0 };
	char id[33];

	(void)state;
	carry_join(&lab, &two, ROLE_WRITER, "images");
	to.device[0] = lab.me.pub;
	to.device[1] = two.me.pub;
	assert_ok(shares_registrars(lab.sh, "trial", &to, &em));
	carry_members(&lab, &two);
	assert_int_equal(claim(ROLE_READER, false, false), ERR_OK);
	assert_int_equal(requests(&r), 1);
	memcpy(id, r.id, sizeof(id));
	assert_ok(approve(id)); /* a draft */
	assert_int_equal(grants(false), 0);
	assert_ok(shares_rotate(two.sh, "trial", NULL, &em));
	carry_said(&two, &lab);
	{
		struct share_request *list;
		uint32_t n;

		assert_ok(shares_requests(lab.sh, "trial", &list, &n, &em));
		for (uint32_t k = 0; k < n; k++) {
			if (strcmp(list[k].what, "rotate") == 0)
				assert_ok(shares_approve(lab.sh, "trial",
				    list[k].id, SHARE_INSTEAD, &em));
		}
		shares_requests_free(list);
	}
	/* the draft is void; the claim is there, and is drafted again */
	assert_int_equal(requests(&r), 1);
	assert_string_equal(r.what, "claim");
	assert_string_equal(r.id, id);
	assert_ok(approve(id));
	carry_members(&lab, &two);
	carry_said(&lab, &two);
	{
		struct share_request *list;
		uint32_t n;

		assert_ok(shares_requests(two.sh, "trial", &list, &n, &em));
		assert_int_equal(n, 1);
		assert_string_equal(list[0].what, "grant");
		assert_string_equal(list[0].history, "all");
		assert_ok(shares_approve(
		    two.sh, "trial", list[0].id, SHARE_YES, &em));
		shares_requests_free(list);
	}
	carry_members(&two, &lab);
	assert_int_equal(grants(false), 1);
	assert_int_equal(requests(&r), 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(approval_does_not_open_what_a_grant_keeps_closed),
		T(a_claim_that_would_open_it_waits_for_a_person),
		T(an_invite_without_history_grants_none),
		T(a_hub_has_no_other_role),
		T(a_member_becomes_no_hub),
		T(an_overtaken_draft_leaves_the_claim),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
