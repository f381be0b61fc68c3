/* tests/unit/catalog/test_edit.c: edits as bytes, types of fields, and what
 * one node sees of them: registers, sets, groups, retired, undo's payload. */
#include "lib/catalog_lib.h"
#include "store/base/enc.h"
#include "store/base/mem.h"
#include "store/catalog/catalog_internal.h"

static struct cat_edit
edit_of(enum cat_edit_kind kind, const char *name)
{
	struct cat_edit e = { .kind = kind,
		.level = "series",
		.key = "2.25.2",
		.name = slice_str(name),
		.actor = "ada@north",
		.site = "north" };

	return e;
}

static enum err
encode(const struct cat_edit *e)
{
	struct buf b = BUF_MAX(64 * KIB);
	enum err err = cat_edit_encode(e, NULL, &b);

	if (err != ERR_OK)
		assert_int_equal(b.n, 0);
	buf_fini(&b);
	return err;
}

static void
test_the_bytes_are_these(void **state)
{
	struct cat_edit e = edit_of(CAT_TAG_ADD, "qc=passed");
	struct cat_seen seen = { .n = 1, .v = { { 7, { { 0xaa } } } } };
	struct buf b = BUF_MAX(4096);
	char hex[1024];
	static const char want[] =
	    "8da17601a46b696e6402a56c6576656ca6736572696573a36b6579a6322e3235"
	    "2e32a46e616d65a971633d706173736564a576616c7565c0a47479706500a274"
	    "6fc4140000000000000000000000000000000000000000a5756e74696c00a561"
	    "63746f72a9616461406e6f727468a473697465a56e6f727468a6726561736f6e"
	    "a0a47365656e919207c420aa";
	size_t n = strlen(want);

	(void)state;
	assert_int_equal(cat_edit_encode(&e, &seen, &b), ERR_OK);
	assert_true(b.n < sizeof(hex) / 2);
	enc_hex(buf_slice(&b), hex);
	assert_memory_equal(hex, want, n);
	assert_int_equal(b.n, n / 2 + 31); /* zeros of the op id */
	buf_fini(&b);
}

static void
fill(char *s, size_t n)
{
	memset(s, 'x', n);
	s[n] = '\0';
}

static void
test_bounds_at_max_and_above(void **state)
{
	char text[2048];
	struct cat_edit e = edit_of(CAT_TAG_ADD, "");
	struct buf v = BUF_MAX(4096);

	(void)state;
	fill(text, PUT_TAG_BYTES);
	e.name = slice_str(text);
	assert_int_equal(encode(&e), ERR_OK);
	fill(text, PUT_TAG_BYTES + 1);
	e.name = slice_str(text);
	assert_int_equal(encode(&e), ERR_MALFORMED);
	e = edit_of(CAT_LINK_ADD, "");
	fill(text, CAT_LINK_NAME_MAX);
	e.name = slice_str(text);
	assert_int_equal(encode(&e), ERR_OK);
	fill(text, CAT_LINK_NAME_MAX + 1);
	e.name = slice_str(text);
	assert_int_equal(encode(&e), ERR_MALFORMED);
	e = edit_of(CAT_NOTE, "");
	fill(text, CAT_NOTE_MAX);
	mp_w_cstr(&v, text);
	e.value = buf_slice(&v);
	assert_int_equal(encode(&e), ERR_OK);
	fill(text, CAT_NOTE_MAX + 1);
	buf_reset(&v);
	mp_w_cstr(&v, text);
	e.value = buf_slice(&v);
	assert_int_equal(encode(&e), ERR_MALFORMED);
	e = edit_of(CAT_RETIRE, "");
	fill(text, CAT_EDIT_REASON_MAX);
	e.reason = text;
	assert_int_equal(encode(&e), ERR_OK);
	text[CAT_EDIT_REASON_MAX] = 'x';
	text[CAT_EDIT_REASON_MAX + 1] = '\0';
	assert_int_equal(encode(&e), ERR_MALFORMED);
	buf_fini(&v);
}

static void
test_what_makes_no_sense_is_refused(void **state)
{
	static const char *const fields[] = { "", "level", "tags", "1st", "a b",
		"retired", "a=b" };
	struct cat_edit e;
	struct buf v = BUF_MAX(64);
	size_t i;

	(void)state;
	mp_w_u64(&v, 1);
	for (i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		e = edit_of(CAT_FIELD_SET, fields[i]);
		assert_int_equal(encode(&e), ERR_MALFORMED);
	}
	e = edit_of(CAT_FIELD_SET, "grade");
	assert_int_equal(encode(&e), ERR_OK); /* it is gone */
	e.value = buf_slice(&v);
	assert_int_equal(encode(&e), ERR_MALFORMED); /* of no type */
	e.type = CAT_TYPE_NUMBER;
	assert_int_equal(encode(&e), ERR_OK);
	e = edit_of(CAT_RETIRE, "");
	assert_int_equal(encode(&e), ERR_MALFORMED); /* no reason */
	e = edit_of(CAT_TAG_ADD, "a\nb");
	assert_int_equal(encode(&e), ERR_MALFORMED);
	e = edit_of(CAT_TAG_ADD, "\xff");
	assert_int_equal(encode(&e), ERR_MALFORMED);
	e = edit_of(CAT_TAG_ADD, "a");
	e.level = CAT_LEVEL_CONTEXT;
	assert_int_equal(encode(&e), ERR_MALFORMED);
	e = edit_of(CAT_FIELD_TYPE, "grade");
	e.type = CAT_TYPE_NUMBER;
	assert_int_equal(encode(&e), ERR_MALFORMED); /* not of a context */
	e.level = CAT_LEVEL_CONTEXT;
	e.key = "series";
	assert_int_equal(encode(&e), ERR_OK);
	e.key = "study"; /* canonical names only */
	assert_int_equal(encode(&e), ERR_MALFORMED);
	buf_fini(&v);
}

/* --- types --- */

static enum err
typed(enum cat_type t, const char *text, const char *hex)
{
	struct slice s = slice_str(text);
	struct buf b = BUF_MAX(4096);
	struct errmsg em = { 0 };
	char got[256];
	enum err e = cat_type_value(t, &s, 1, &b, &em);

	if (e == ERR_OK) {
		enc_hex(buf_slice(&b), got);
		assert_string_equal(got, hex);
	} else {
		assert_true(em.cause[0] != '\0' && em.next[0] != '\0');
	}
	buf_fini(&b);
	return e;
}

static void
test_values_take_the_form_of_their_type(void **state)
{
	(void)state;
	assert_int_equal(typed(CAT_TYPE_NUMBER, "12", "0c"), ERR_OK);
	assert_int_equal(
	    typed(CAT_TYPE_NUMBER, "-1.5", "cbbff8000000000000"), ERR_OK);
	assert_int_equal(typed(CAT_TYPE_NUMBER, "12a", ""), ERR_MALFORMED);
	assert_int_equal(typed(CAT_TYPE_NUMBER, "", ""), ERR_MALFORMED);
	assert_int_equal(typed(CAT_TYPE_NUMBER, "nan", ""), ERR_MALFORMED);
	assert_int_equal(
	    typed(CAT_TYPE_DATE, "20240131", "aa323032342d30312d3331"), ERR_OK);
	assert_int_equal(
	    typed(CAT_TYPE_DATE, "2024-01-31", "aa323032342d30312d3331"),
	    ERR_OK);
	assert_int_equal(typed(CAT_TYPE_DATE, "2024-13-31", ""), ERR_MALFORMED);
	assert_int_equal(typed(CAT_TYPE_DATE, "soon", ""), ERR_MALFORMED);
	assert_int_equal(typed(CAT_TYPE_UID, "1.2.3", "a5312e322e33"), ERR_OK);
	assert_int_equal(typed(CAT_TYPE_UID, "1..3", ""), ERR_MALFORMED);
	assert_int_equal(typed(CAT_TYPE_UID, ".1", ""), ERR_MALFORMED);
	assert_int_equal(typed(CAT_TYPE_CODE, "C-71", "a4432d3731"), ERR_OK);
	assert_int_equal(typed(CAT_TYPE_CODE, "a b", ""), ERR_MALFORMED);
	assert_int_equal(typed(CAT_TYPE_TEXT, "a b", "a3612062"), ERR_OK);
	assert_int_equal(typed(CAT_TYPE_TEXT, "\x01", ""), ERR_MALFORMED);
	assert_int_equal(cat_type_guess(SLICE_LIT("12")), CAT_TYPE_NUMBER);
	assert_int_equal(cat_type_guess(SLICE_LIT("012")), CAT_TYPE_TEXT);
	assert_int_equal(cat_type_guess(SLICE_LIT("1.2.3")), CAT_TYPE_UID);
	assert_int_equal(
	    cat_type_guess(SLICE_LIT("2024-01-31")), CAT_TYPE_DATE);
	assert_int_equal(
	    cat_type_guess(SLICE_LIT("20240131")), CAT_TYPE_NUMBER);
}

/* --- applying --- */

struct one {
	struct cat_origin o;
	struct slice payload;
	long fail_at;
};

static enum err
apply_one(struct store_txn *t, void *ctx)
{
	struct one *x = ctx;
	struct asset_id id;
	enum err e;

	mem_fail_at(x->fail_at);
	e = oplog_share_add(t, &x->o.share, &x->o.share_no);
	if (e == ERR_OK)
		e = cat_apply_edit(t, &x->o, x->payload, &id);
	mem_fail_at(-1);
	return e;
}

/* Says it as somebody who has seen all that is there. */
static void
say(struct cl *c, struct cat_edit *e, uint64_t lamport, bool blind)
{
	struct one x = { .o = { .share = cl_id("share", 1),
			     .compartment = 1,
			     .lseq = lamport,
			     .lamport = lamport,
			     .op_id = cl_id("op", lamport) },
		.fail_at = -1 };
	struct buf b = BUF_MAX(64 * KIB);
	struct cat_seen seen = { 0 };
	struct db_txn *t = cl_read(c);

	if (!blind)
		assert_int_equal(
		    cat_edit_see(t, &x.o.share, 1, e, &seen), ERR_OK);
	db_abort(t);
	assert_int_equal(cat_edit_encode(e, &seen, &b), ERR_OK);
	x.payload = buf_slice(&b);
	assert_int_equal(store_write(c->s, apply_one, &x), ERR_OK);
	buf_fini(&b);
}

static int
count_live(void *ctx, const struct cat_fact *f)
{
	assert_true(f->live);
	++*(uint32_t *)ctx;
	return 0;
}

static uint32_t
live(struct cl *c, const char *level, const char *key, enum cat_edit_kind kind)
{
	struct cry_id share = cl_id("share", 1);
	struct db_txn *t = cl_read(c);
	struct asset_id id;
	uint32_t n = 0;

	cat_asset_id(&share, 1, level, key, &id);
	assert_int_equal(
	    cat_facts_each(t, &id, kind, true, count_live, &n), ERR_OK);
	db_abort(t);
	return n;
}

static int
count_found(void *ctx, const struct cat_asset *a)
{
	(void)a;
	++*(uint32_t *)ctx;
	return 0;
}

static uint32_t
found(struct cl *c, const char *text)
{
	struct db_txn *t = cl_read(c);
	struct cat_query *q = NULL;
	struct errmsg em = { 0 };
	uint32_t n = 0;

	assert_int_equal(cat_query_parse(slice_str(text), &q, &em), ERR_OK);
	assert_int_equal(cat_find(c->s, t, q, NULL, count_found, &n), ERR_OK);
	cat_query_free(q);
	db_abort(t);
	return n;
}

static void
test_concurrent_values_live_until_both_are_seen(void **state)
{
	struct cat_edit e = edit_of(CAT_FIELD_SET, "grade");
	uint8_t one[] = { 1 }, two[] = { 2 }, three[] = { 3 };
	struct cl c;

	(void)state;
	cl_init(&c);
	e.type = CAT_TYPE_NUMBER;
	e.value = slice_of(one, 1);
	say(&c, &e, 5, true);
	e.value = slice_of(two, 1);
	say(&c, &e, 4, true); /* came later, stands below */
	assert_int_equal(live(&c, "series", "2.25.2", CAT_FIELD_SET), 2);
	assert_int_equal(found(&c, "grade=1"), 1);
	assert_int_equal(found(&c, "grade=2"), 0);
	e.value = slice_of(three, 1);
	say(&c, &e, 6, false);
	assert_int_equal(live(&c, "series", "2.25.2", CAT_FIELD_SET), 1);
	assert_int_equal(found(&c, "grade=3"), 1);
	e.value = (struct slice){ 0 };
	say(&c, &e, 7, false);
	assert_int_equal(found(&c, "grade>0"), 0);
	cl_fini(&c);
}

static void
test_an_add_that_was_not_seen_wins(void **state)
{
	struct cat_edit add = edit_of(CAT_TAG_ADD, "qc=ok");
	struct cat_edit off = edit_of(CAT_TAG_REMOVE, "qc=ok");
	struct cl c;

	(void)state;
	cl_init(&c);
	say(&c, &add, 1, false);
	say(&c, &off, 3, false);
	assert_int_equal(found(&c, "tag:qc"), 0);
	say(&c, &add, 2, true); /* said before the remove, not seen by it */
	assert_int_equal(found(&c, "tag:qc=ok"), 1);
	say(&c, &off, 4, false);
	assert_int_equal(found(&c, "tag:qc"), 0);
	cl_fini(&c);
}

/* Tag, link and member come in any order: m says when each. */
static void
group_in_order(const uint32_t m[3])
{
	struct cry_id share = cl_id("share", 1);
	struct cat_edit tag = edit_of(CAT_TAG_ADD, "cohort");
	struct cat_edit link = edit_of(CAT_LINK_ADD, CAT_LINK_MEMBER);
	struct cat_edit note = edit_of(CAT_RETIRE, ""); /* makes the member */
	struct cat_edit back = edit_of(CAT_UNRETIRE, "");
	struct cl c;
	uint64_t i;

	cl_init(&c);
	tag.level = link.level = CAT_LEVEL_GROUP;
	tag.key = link.key = "G";
	note.reason = "x";
	cat_asset_id(&share, 1, "series", "2.25.2", &link.to);
	for (i = 1; i <= 3; i++) {
		if (m[i - 1] == 0)
			say(&c, &tag, i, false);
		else if (m[i - 1] == 1)
			say(&c, &link, i, false);
		else
			say(&c, &note, i, false);
	}
	assert_int_equal(found(&c, "tag:cohort and level=series"), 0);
	assert_int_equal(found(&c, "tag:cohort and retired=true"), 1);
	say(&c, &back, 4, false);
	assert_int_equal(found(&c, "tag:cohort and level=series"), 1);
	assert_int_equal(found(&c, "tag:cohort"), 2);
	link.kind = CAT_LINK_REMOVE;
	say(&c, &link, 5, false);
	assert_int_equal(found(&c, "tag:cohort"), 1);
	cl_fini(&c);
}

static void
test_a_groups_tags_hold_for_its_members(void **state)
{
	static const uint32_t orders[6][3] = { { 0, 1, 2 }, { 0, 2, 1 },
		{ 1, 0, 2 }, { 1, 2, 0 }, { 2, 0, 1 }, { 2, 1, 0 } };
	size_t i;

	(void)state;
	for (i = 0; i < 6; i++)
		group_in_order(orders[i]);
}

static void
test_what_is_permitted_for_a_level(void **state)
{
	struct cry_id share = cl_id("share", 1);
	struct cat_place p = { &share, 1, "series" };
	struct cat_edit e = edit_of(CAT_CONTEXT, "methods");
	struct buf v = BUF_MAX(64);
	struct db_txn *t;
	struct cl c;
	bool set = false, tag = false;

	(void)state;
	cl_init(&c);
	e.level = CAT_LEVEL_CONTEXT;
	e.key = "series";
	mp_w_array(&v, 1);
	mp_w_cstr(&v, "tag");
	e.value = buf_slice(&v);
	t = cl_read(&c);
	assert_int_equal(
	    cat_permitted(t, &p, "methods", SLICE_LIT("set"), &set), ERR_OK);
	assert_true(set);
	db_abort(t);
	say(&c, &e, 1, false);
	t = cl_read(&c);
	assert_int_equal(
	    cat_permitted(t, &p, "methods", SLICE_LIT("set"), &set), ERR_OK);
	assert_int_equal(
	    cat_permitted(t, &p, "methods", SLICE_LIT("tag"), &tag), ERR_OK);
	db_abort(t);
	assert_true(tag && !set);
	assert_int_equal(found(&c, ""), 0); /* contexts are not data */
	assert_int_equal(found(&c, "level=context"), 1);
	buf_fini(&v);
	cl_fini(&c);
}

static void
test_wherever_memory_ends_nothing_is_left(void **state)
{
	struct cat_edit e = edit_of(CAT_TAG_ADD, "qc=ok");
	struct one x = { .o = { .share = cl_id("share", 1),
			     .compartment = 1,
			     .lamport = 9,
			     .op_id = cl_id("op", 9) } };
	struct buf b = BUF_MAX(4096);
	struct cl c;
	enum err err = ERR_NOMEM;

	(void)state;
	cl_init(&c);
	assert_int_equal(cat_edit_encode(&e, NULL, &b), ERR_OK);
	x.payload = buf_slice(&b);
	for (x.fail_at = 0; x.fail_at < 1000 && err != ERR_OK; x.fail_at++) {
		err = store_write(c.s, apply_one, &x);
		assert_true(err == ERR_OK || err == ERR_NOMEM);
		assert_int_equal(found(&c, ""), err == ERR_OK ? 1 : 0);
	}
	assert_true(x.fail_at > 5 && x.fail_at < 1000);
	buf_fini(&b);
	cl_fini(&c);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_bytes_are_these),
		cmocka_unit_test(test_bounds_at_max_and_above),
		cmocka_unit_test(test_what_makes_no_sense_is_refused),
		cmocka_unit_test(test_values_take_the_form_of_their_type),
		cmocka_unit_test(
		    test_concurrent_values_live_until_both_are_seen),
		cmocka_unit_test(test_an_add_that_was_not_seen_wins),
		cmocka_unit_test(test_a_groups_tags_hold_for_its_members),
		cmocka_unit_test(test_what_is_permitted_for_a_level),
		cmocka_unit_test(test_wherever_memory_ends_nothing_is_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
