/* Range-based reconciliation: two ends find every difference and nothing
 * else, in few rounds and bytes; broken messages are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "crypto/crypto.h"
#include "replication/rbsr.h"
#include "store/base/mem.h"

#define MAX 70000u

struct side {
	struct rbsr_item *it;
	struct rbsr_set set;
	uint32_t only_mine, only_theirs, other;
};

static uint64_t seed = 1;

static uint64_t
rnd(void)
{
	seed ^= seed >> 12;
	seed ^= seed << 25;
	seed ^= seed >> 27;
	return seed * 0x2545F4914F6CDD1Du;
}

static void
key_of(uint64_t n, uint8_t *key)
{
	struct cry_id id;

	cry_hash(slice_of(&n, sizeof(n)), &id);
	memcpy(key, id.b, RBSR_KEY_BYTES);
}

static int
by_key(const void *a, const void *b)
{
	return memcmp(a, b, RBSR_KEY_BYTES);
}

static void
sort(struct side *s)
{
	if (s->set.n > 0)
		qsort(s->it, s->set.n, sizeof(*s->it), by_key);
	s->set.items = s->it;
	s->set.salt = SLICE_LIT("salt");
}

static void
on_diff(void *ctx, const struct rbsr_item *mine, const struct rbsr_item *theirs)
{
	struct side *s = ctx;

	s->only_mine += theirs == NULL;
	s->only_theirs += mine == NULL;
	s->other += mine != NULL && theirs != NULL;
	assert_true(mine != NULL || theirs != NULL);
}

struct cost {
	uint32_t rounds;
	size_t bytes;
};

/* Messages to and fro until one needs no answer. */
static struct cost
talk(struct side *a, struct side *b)
{
	struct buf m = BUF_MAX(RBSR_MESSAGE_MAX);
	struct cost c = { 0 };

	rbsr_begin(&a->set, &m);
	while (m.n > 0) {
		struct side *to = c.rounds % 2 == 0 ? b : a;
		struct buf next = BUF_MAX(RBSR_MESSAGE_MAX);

		c.rounds++;
		c.bytes += m.n;
		assert_int_equal(buf_err(&m), ERR_OK);
		assert_int_equal(
		    rbsr_answer(&to->set, buf_slice(&m), &next, on_diff, to),
		    ERR_OK);
		buf_fini(&m);
		m = next;
		assert_true(c.rounds < 500);
	}
	buf_fini(&m);
	return c;
}

/* n items in both, and so many of each kind of difference. */
static struct cost
run(uint32_t n, uint32_t only_a, uint32_t only_b, uint32_t other)
{
	struct side a = { .it = mem_array(MAX, sizeof(struct rbsr_item)) };
	struct side b = { .it = mem_array(MAX, sizeof(struct rbsr_item)) };
	uint64_t base = rnd();
	struct cost c;

	assert_non_null(a.it);
	assert_non_null(b.it);
	for (uint32_t i = 0; i < n + only_a + only_b; i++) {
		struct rbsr_item it = { .val = { 1 } };

		key_of(base + i, it.key);
		if (i < n + only_a)
			a.it[a.set.n++] = it;
		it.val[0] = i < other ? 2 : 1;
		if (i < n || i >= n + only_a)
			b.it[b.set.n++] = it;
	}
	sort(&a);
	sort(&b);
	c = talk(&a, &b);
	/* who gets the items of a range sees the differences in it */
	assert_int_equal(a.only_mine + b.only_theirs, only_a);
	assert_int_equal(a.only_theirs + b.only_mine, only_b);
	assert_int_equal(a.other + b.other, other);
	mem_free(a.it);
	mem_free(b.it);
	return c;
}

static void
test_finds_every_difference_of_any_size(void **state)
{
	static const uint32_t n[] = { 0, 1, 31, 32, 33, 300, 5000 };
	static const uint32_t d[] = { 0, 1, 7, 40, 600 };

	(void)state;
	for (size_t i = 0; i < sizeof(n) / sizeof(n[0]); i++) {
		for (size_t k = 0; k < 40; k++) {
			uint32_t other = d[rnd() % 5];

			(void)run(n[i], d[rnd() % 5], d[rnd() % 5],
			    other < n[i] ? other : n[i]);
		}
	}
}

static void
test_cost_is_that_of_the_difference(void **state)
{
	struct cost none = run(60000, 0, 0, 0);
	struct cost one = run(60000, 1, 0, 0);
	struct cost some = run(60000, 10, 10, 10);

	(void)state;
	assert_int_equal(none.rounds, 1);
	assert_true(none.bytes < 500);
	assert_true(one.rounds <= 6);
	assert_true(one.bytes < 3000);
	assert_true(some.rounds <= 6);
	assert_true(some.bytes < 60000);
}

/* The wrong tool for it, and still an end: every message comes further. */
static void
test_everything_different_still_ends(void **state)
{
	struct cost c = run(60000, 100, 100, 60000);

	(void)state;
	assert_true(c.bytes / c.rounds <= RBSR_MESSAGE_MAX);
}

static void
drop_diff(
    void *ctx, const struct rbsr_item *mine, const struct rbsr_item *theirs)
{
	(void)ctx;
	(void)mine;
	(void)theirs;
}

static enum err
answer(struct slice in)
{
	struct rbsr_item it = { .key = { 7 } };
	struct rbsr_set set = { .items = &it, .n = 1 };
	struct buf out = BUF_MAX(RBSR_MESSAGE_MAX);
	enum err e = rbsr_answer(&set, in, &out, drop_diff, NULL);

	buf_fini(&out);
	return e;
}

static void
test_broken_messages_are_refused(void **state)
{
	static const uint8_t bad[][8] = {
		{ 3, 0, 255, 0 },          /* no such mode */
		{ 2, 255, 255, 0 },        /* begins at the end */
		{ 2, 1, 5, 1, 5, 0 },      /* empty range */
		{ 2, 1, 6, 1, 5, 0 },      /* backwards */
		{ 2, 2, 5, 0, 255, 0 },    /* a bound with zeros at its end */
		{ 2, 17, 5, 0, 255, 0 },   /* a bound longer than a key */
		{ 2, 0, 255, 33 },         /* too many items */
		{ 2, 0, 255, 1, 1, 1, 1 }, /* cut */
	};
	struct buf b = BUF_MAX(2 * RBSR_MESSAGE_MAX);

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_not_equal(
		    answer(slice_of(bad[i], sizeof(bad[i]))), ERR_OK);
	/* a key outside its range; keys that do not ascend; ranges that
	 * overlap */
	buf_put(&b, (uint8_t[]){ 2, 1, 5, 1, 6, 1, 9 }, 7);
	buf_put_zero(&b, 31);
	assert_int_equal(answer(buf_slice(&b)), ERR_MALFORMED);
	buf_reset(&b);
	buf_put(&b, (uint8_t[]){ 2, 0, 255, 2 }, 4);
	buf_put_zero(&b, 64);
	assert_int_equal(answer(buf_slice(&b)), ERR_MALFORMED);
	buf_reset(&b);
	buf_put(&b, (uint8_t[]){ 2, 0, 1, 9, 0, 2, 1, 8, 255, 0 }, 10);
	assert_int_equal(answer(buf_slice(&b)), ERR_MALFORMED);
	buf_reset(&b);
	buf_put_zero(&b, RBSR_MESSAGE_MAX + 1);
	assert_int_equal(answer(buf_slice(&b)), ERR_LIMIT);
	buf_fini(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_finds_every_difference_of_any_size),
		cmocka_unit_test(test_cost_is_that_of_the_difference),
		cmocka_unit_test(test_everything_different_still_ends),
		cmocka_unit_test(test_broken_messages_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
