/* tests/unit/share/test_hostile.c: a member with modified software: its ops
 * are signed and well-formed, and still must not stop or overwrite others. */
#include "lib/carry.h"
#include "store/base/mem.h"

static struct site lab, liar;

static int
setup(void **state)
{
	static const char *const names[] = { "centre1" };
	struct errmsg em = { 0 };

	(void)state;
	site_new(&lab, "lab");
	site_new(&liar, "liar");
	assert_ok(shares_create(lab.sh, "trial", names, 1, false, &em));
	assert_ok(shares_grant(
	    lab.sh, "trial", &lab.me.pub, ROLE_WRITER, "centre1", &em));
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	site_end(&lab);
	site_end(&liar);
	return 0;
}

static void
grant_liar(enum role role)
{
	struct errmsg em = { 0 };

	assert_ok(shares_grant(lab.sh, "trial", &liar.me.pub, role,
	    role == ROLE_ADMIN ? NULL : "centre1", &em));
}

static void
epoch_key(struct cry_key *out)
{
	struct share_info i = site_share(&lab, "trial");
	struct member_keys *keys = mem_new(sizeof(*keys));
	struct buf rec = BUF_MAX(LIM_MEMBER_RECORD_BYTES);
	struct member *m = NULL;
	struct db_txn *txn = NULL;
	uint64_t seq;

	assert_non_null(keys);
	assert_ok(store_read(lab.st, &txn));
	for (seq = 0; oplog_member_get(lab.st, txn, i.no, seq, &rec) == ERR_OK;
	     seq++) {
		assert_ok(seq == 0 ? member_new(buf_slice(&rec), &m)
				   : member_apply(m, buf_slice(&rec)));
		buf_reset(&rec);
	}
	db_abort(txn);
	assert_ok(member_open_keys(m, &liar.me.pub, &liar.me.box_sk, keys));
	assert_int_equal(keys->n, 1);
	*out = keys->k[0].content;
	member_free(m);
	member_keys_fini(keys);
	mem_free(keys);
	buf_fini(&rec);
	share_info_fini(&i);
}

/* The liar's first op of a new feed reaches the lab. */
static void
tell_bytes(enum op_kind kind, struct slice plain, uint64_t incarnation,
    uint64_t lamport)
{
	struct share_info i = site_share(&lab, "trial");
	struct op_header h = {
		.kind = (uint8_t)kind, .epoch = 1, .seq = 1, .lamport = lamport
	};
	struct buf op = BUF_MAX(MIB);
	struct repl_ops run = { .n_ops = 1 };
	struct carry c = { .to = &lab, .ops = &run };
	struct cry_key key;
	struct slice bytes;
	struct cry_id id;

	epoch_key(&key);
	run.feed = (struct op_feed){ .share = i.id,
		.compartment = i.c[0].no,
		.device = liar.me.pub.sign,
		.incarnation = incarnation };
	op_feed_id(&run.feed, &h.feed);
	assert_ok(op_build(&h, &key, plain, (struct slice){ 0 }, &op, &id));
	bytes = buf_slice(&op);
	run.ops = &bytes;
	run.head = (struct op_head){
		.feed = h.feed, .seq = 1, .id = id, .lamport = lamport
	};
	op_head_sign(&run.head, &liar.me.sign_sk);
	assert_ok(store_write(lab.st, ops_job, &c));
	buf_fini(&op);
	share_info_fini(&i);
}

static void
tell(const struct cat_put *put, uint64_t incarnation, uint64_t lamport)
{
	struct buf plain = BUF_MAX(LIM_OP_PAYLOAD_BYTES);

	assert_ok(cat_put_encode(put, &plain));
	tell_bytes(OP_ASSET_PUT, buf_slice(&plain), incarnation, lamport);
	buf_fini(&plain);
}

/* n: how many were set aside then, and why the last. */
static void
tell_edit(const struct cat_edit *edit, const struct cat_seen *seen, uint64_t no,
    uint64_t n, const char *why)
{
	struct buf plain = BUF_MAX(LIM_OP_PAYLOAD_BYTES);
	struct site_count ev;

	assert_ok(cat_edit_encode(edit, seen, &plain));
	tell_bytes(OP_EDIT, buf_slice(&plain), no, 1000 + no);
	ev = site_events(&lab, "op.aside");
	assert_int_equal(ev.n, n);
	assert_string_equal(ev.detail, why);
	buf_fini(&plain);
}

static void
inflated_clock_stops_nobody_from_writing(void **state)
{
	struct cat_node path[1] = { { .level = "subject", .key = "X" } };
	struct cat_put put = {
		.path = path, .n_path = 1, .actor = "a@b", .site = "x"
	};
	static const uint64_t clocks[] = { UINT64_MAX, UINT64_MAX - 1,
		UINT64_MAX / 2 + 1, UINT64_MAX / 2, UINT64_MAX / 2 - 1 };
	uint8_t bytes[10] = { 1 };
	struct site_put p = { .s = &lab,
		.share = "trial",
		.compartment = "centre1",
		.subject = "S-1",
		.bytes = bytes,
		.n = sizeof(bytes) };
	size_t i;

	(void)state;
	grant_liar(ROLE_WRITER);
	for (i = 0; i < sizeof(clocks) / sizeof(clocks[0]); i++) {
		tell(&put, i + 1, clocks[i]);
		assert_ok(site_put(&p));
		bytes[0]++;
		assert_ok(site_put(&p));
		bytes[0]++;
	}
	assert_int_equal(site_events(&lab, "asset.put").n, 15);
}

static void
assert_head_stays(
    struct asset_id *id, const struct cry_id *head, const char *says)
{
	struct db_txn *txn = NULL;
	struct site_count ev = site_events(&lab, "op.aside");
	struct cat_asset a;

	assert_string_equal(ev.n == 0 ? "" : ev.detail, says);
	assert_ok(store_read(lab.st, &txn));
	assert_ok(cat_asset_get(lab.st, txn, id, &a));
	db_abort(txn);
	assert_memory_equal(a.head.op_id.b, head->b, 32);
}

/* "derived" is the author's own word. */
static void
runner_changes_nothing_it_was_given(void **state)
{
	static const uint8_t none[] = { 0x80 };
	static const uint8_t said[] = { 0x81, 0xa1, 'A', 0xa1, 'B' };
	struct slice empty = slice_of(none, sizeof(none));
	struct slice fields = slice_of(said, sizeof(said));
	struct cat_node path[3] = { { "subject", "S-1", empty },
		{ "series", "S-1", empty }, { "nifti", "n", fields } };
	struct cat_put put = { .path = path,
		.n_path = 2,
		.derived = true,
		.actor = "a@b",
		.site = "x" };
	uint8_t bytes[10] = { 1 };
	struct site_put p = { .s = &lab,
		.share = "trial",
		.compartment = "centre1",
		.subject = "S-1",
		.bytes = bytes,
		.n = sizeof(bytes) };
	struct db_txn *txn = NULL;
	struct cat_asset a;

	(void)state;
	grant_liar(ROLE_RUNNER);
	assert_ok(site_put(&p));
	assert_ok(store_read(lab.st, &txn));
	assert_ok(cat_asset_get(lab.st, txn, &p.asset, &a));
	db_abort(txn);
	/* a "derived" version of the very series */
	tell(&put, 1, 100);
	assert_head_stays(&p.asset, &a.head.op_id,
	    "the author may not change what it was given");
	/* beside it, but with news of the subject */
	put.n_path = 3;
	path[0].fields = fields;
	tell(&put, 2, 101);
	assert_int_equal(site_events(&lab, "op.aside").n, 2);
	/* control: beside it */
	path[0].fields = empty;
	tell(&put, 3, 102);
	assert_int_equal(site_events(&lab, "op.aside").n, 2);
	assert_int_equal(site_events(&lab, "asset.put").n, 2);
	assert_head_stays(&p.asset, &a.head.op_id,
	    "the author may not change what it was given");
}

static void
edits_beyond_a_right_are_set_aside(void **state)
{
	static const char mine[] = "the author may not say this here";
	static const char bad[] = "payload does not parse";
	struct cat_edit tag = { .kind = CAT_TAG_ADD,
		.level = "series",
		.key = "S-1",
		.name = SLICE_LIT("x"),
		.actor = "a@b",
		.site = "x" };
	struct cat_edit permit = { .kind = CAT_CONTEXT,
		.level = CAT_LEVEL_CONTEXT,
		.key = "series",
		.name = SLICE_LIT("methods"),
		.actor = "a@b",
		.site = "x" };
	struct cat_edit expect = { .kind = CAT_CONTACT,
		.level = CAT_LEVEL_CONTEXT,
		.key = "exam",
		.name = SLICE_LIT("x"),
		.value = SLICE_LIT("\xa1y"),
		.actor = "a@b",
		.site = "x" };
	struct cat_seen ahead = { .n = 1, .v = { { 1000 + 6, { { 1 } } } } };

	(void)state;
	grant_liar(ROLE_RUNNER);
	tell_edit(&tag, NULL, 1, 1, mine);
	tag.level = "nifti"; /* control: what may be derived */
	tell_edit(&tag, NULL, 2, 1, mine);
	assert_int_equal(site_events(&lab, "tag.add").n, 1);
	tell_bytes(OP_EDIT, SLICE_LIT("\x81\xa1v\x01"), 3, 9000);
	assert_int_equal(site_events(&lab, "op.aside").n, 2);
	assert_string_equal(site_events(&lab, "op.aside").detail, bad);
	grant_liar(ROLE_WRITER);
	tag.level = "series";
	tell_edit(&tag, NULL, 4, 2, bad);
	assert_int_equal(site_events(&lab, "tag.add").n, 2);
	tell_edit(&permit, NULL, 5, 3, mine);
	/* it has seen what cannot have been there */
	tell_edit(&tag, &ahead, 6, 4, "payload does not fit the catalog");
	ahead.v[0].lamport = 1000;
	tell_edit(&tag, &ahead, 7, 4, "payload does not fit the catalog");
	assert_int_equal(site_events(&lab, "tag.add").n, 3);
	tell_edit(&expect, NULL, 8, 5, mine);
	grant_liar(ROLE_ADMIN);
	tell_edit(&permit, NULL, 9, 5, mine);
	assert_int_equal(site_events(&lab, "context.set").n, 1);
	tell_edit(&expect, NULL, 10, 5, mine);
	assert_int_equal(site_events(&lab, "contact.set").n, 1);
}

int
main(void)
{
#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(inflated_clock_stops_nobody_from_writing),
		T(runner_changes_nothing_it_was_given),
		T(edits_beyond_a_right_are_set_aside),
	};

	if (cry_init() != ERR_OK)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
