/* Claims: a deep verify tells of each op, head and membership record of the
 * log that the index has lost, or takes another for, though every checksum of
 * the index is right: the rows are deleted or overwritten by its own calls. */
#include "lib/carry.h"
#include "store/base/mem.h"

#define BYTES 2000u
#define KEY_MAX 64u
#define VALUE_MAX 2048u

static struct site lab;

static int
setup(void **state)
{
	static const char *const names[] = { "centre1", "centre2" };
	struct errmsg em = { 0 };
	struct prng g = { 5 };
	uint8_t bytes[BYTES];
	struct site_put p = { .s = &lab,
		.share = "trial",
		.compartment = "centre1",
		.bytes = bytes,
		.n = BYTES };

	(void)state;
	site_new(&lab, "lab");
	assert_ok(shares_create(lab.sh, "trial", names, 2, false, &em));
	assert_ok(shares_grant(
	    lab.sh, "trial", &lab.me.pub, ROLE_WRITER, "centre1", &em));
	prng_fill(&g, bytes, BYTES);
	p.subject = "S-1";
	assert_ok(site_put(&p));
	prng_fill(&g, bytes, BYTES);
	p.subject = "S-2";
	assert_ok(site_put(&p));
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	site_end(&lab);
	return 0;
}

struct found {
	uint32_t ops; /* told of as unknown to the index */
	uint32_t all;
};

static void
note_bad(void *ctx, const struct store_bad *bad)
{
	struct found *f = ctx;

	f->all++;
	f->ops += strcmp(bad->what, "op") == 0 &&
		  strstr(bad->where, "not in the index") != NULL;
}

static struct found
verify(void)
{
	struct found f = { 0 };

	assert_ok(store_verify(lab.st, true, note_bad, &f, NULL));
	return f;
}

struct row {
	uint8_t key[KEY_MAX], value[VALUE_MAX];
	size_t key_n, value_n;
};

struct damage {
	enum db_table table;
	bool swap; /* the first row gets the value of the last */
	struct row first, last;
};

static void
row_keep(struct row *r, struct slice k, struct slice v)
{
	assert_true(k.n <= sizeof(r->key) && v.n <= sizeof(r->value));
	memcpy(r->key, k.p, k.n);
	memcpy(r->value, v.p, v.n);
	r->key_n = k.n;
	r->value_n = v.n;
}

static enum err
damage_job(struct store_txn *t, void *ctx)
{
	struct damage *d = ctx;
	struct db_txn *db = store_txn_db(t);
	struct slice k, v, key;
	struct db_cur *c;

	assert_ok(db_cur_open(db, d->table, slice_of(NULL, 0), &c));
	assert_ok(db_cur_next(c, &k, &v));
	row_keep(&d->first, k, v);
	assert_ok(db_cur_last(c, &k, &v));
	row_keep(&d->last, k, v);
	db_cur_close(c);
	key = slice_of(d->first.key, d->first.key_n);
	if (!d->swap)
		return db_del(db, d->table, key);
	assert_memory_not_equal(d->first.key, d->last.key, d->first.key_n);
	return db_put(
	    db, d->table, key, slice_of(d->last.value, d->last.value_n));
}

static enum err
heal_job(struct store_txn *t, void *ctx)
{
	struct damage *d = ctx;

	return db_put(store_txn_db(t), d->table,
	    slice_of(d->first.key, d->first.key_n),
	    slice_of(d->first.value, d->first.value_n));
}

/* Told while it is there, and only then. */
static void
told(enum db_table table, bool swap)
{
	struct damage *d = mem_new(sizeof(*d));

	assert_non_null(d);
	d->table = table;
	d->swap = swap;
	assert_int_equal(verify().all, 0);
	assert_ok(store_write(lab.st, damage_job, d));
	assert_true(verify().ops > 0);
	assert_ok(store_write(lab.st, heal_job, d));
	assert_int_equal(verify().all, 0);
	mem_free(d);
}

static void
a_lost_op_is_told(void **state)
{
	(void)state;
	told(DB_OPID, false);
}

static void
an_op_taken_for_another_is_told(void **state)
{
	(void)state;
	told(DB_OPID, true);
}

static void
a_lost_head_is_told(void **state)
{
	(void)state;
	told(DB_HEAD, false);
}

static void
a_head_taken_for_another_is_told(void **state)
{
	(void)state;
	told(DB_HEAD, true);
}

static void
a_lost_membership_record_is_told(void **state)
{
	(void)state;
	told(DB_MLOG, false);
}

static void
a_membership_record_taken_for_another_is_told(void **state)
{
	(void)state;
	told(DB_MLOG, true);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		TEST(a_lost_op_is_told),
		TEST(an_op_taken_for_another_is_told),
		TEST(a_lost_head_is_told),
		TEST(a_head_taken_for_another_is_told),
		TEST(a_lost_membership_record_is_told),
		TEST(a_membership_record_taken_for_another_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
