/* Claims, over seeded random runs: any file with any plan that tiles it joins
 * to its own bytes; after any mix of writes, deletes, failing jobs and
 * reopenings the store holds exactly what a plain array says it should. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/store_lib.h"
#include "lib/tmpdir.h"
#include "store/base/limits.h"
#include "store/blob/blob.h"

struct world {
	char dir[TMPDIR_MAX];
	struct store_opts o;
	struct store *s;
};

static void
world_open(struct world *w)
{
	struct errmsg em;

	w->o.dir = w->dir;
	memset(w->o.local.b, 1, 32);
	memset(w->o.convergence.b, 2, 32);
	assert_int_equal(cry_init(), ERR_OK);
	assert_int_equal(store_open(&w->o, &w->s, &em), ERR_OK);
}

static enum err
put_job(struct store_txn *t, void *ctx)
{
	return blob_batch_put(t, ctx);
}

/* --- files and plans --- */

#define PLAN_MAX 40u

/* A random tiling of [0, n). */
static uint32_t
plan_make(struct prng *p, size_t n, struct blob_piece *plan)
{
	static const uint8_t bits[] = { 0, 8, 16, 32 };
	uint64_t at = 0;
	uint32_t k = 0;

	while (at < n) {
		uint64_t left = n - at;
		uint64_t len = 1 + prng_next(p) % left;

		if (k == PLAN_MAX - 1)
			len = left;
		plan[k++] = (struct blob_piece){ at, len,
			bits[prng_below(p, 4)], (uint16_t)prng_below(p, 700) };
		at += len;
	}
	return k;
}

static void
file_fill(struct prng *p, uint8_t *data, size_t n)
{
	switch (prng_below(p, 4)) {
	case 0: prng_fill(p, data, n); break;
	case 1: memset(data, (int)prng_below(p, 256), n); break;
	case 2: prng_image(p, data, n, 1 + prng_below(p, 600), 0); break;
	default: prng_image(p, data, n, 1 + prng_below(p, 600), 1); break;
	}
}

static void
file_run(struct world *w, uint64_t seed)
{
	struct prng p = { seed };
	struct blob_piece plan[PLAN_MAX];
	size_t n = prng_below(&p, prng_below(&p, 5) == 0 ? 5000000 : 70000);
	uint8_t *data = malloc(n + 1);
	uint32_t k = 0;
	struct blob_batch *b = blob_batch_new(w->s);
	struct buf man = BUF_MAX(2 * MIB), out = BUF_MAX(n);
	struct blob_manifest m;

	file_fill(&p, data, n);
	if (n > 0 && prng_below(&p, 3) != 0)
		k = plan_make(&p, n, plan);
	assert_int_equal(
	    blob_batch_add(b, slice_of(data, n), plan, k, &man), ERR_OK);
	assert_int_equal(store_write(w->s, put_job, b), ERR_OK);
	assert_int_equal(blob_manifest_decode(buf_slice(&man), &m), ERR_OK);
	assert_int_equal(blob_join(w->s, &m, &out), ERR_OK);
	if (!slice_eq(buf_slice(&out), slice_of(data, n)))
		fail_msg("seed %llu does not join", (unsigned long long)seed);
	blob_manifest_fini(&m);
	blob_batch_free(b);
	buf_fini(&man);
	buf_fini(&out);
	free(data);
}

static void
test_random_files_with_random_plans_join(void **state)
{
	struct world w = { .o = { .segment_bytes = 4 * MIB } };
	uint64_t seed, checked;

	(void)state;
	tmpdir_make(w.dir);
	world_open(&w);
	for (seed = 1; seed <= 60; seed++)
		file_run(&w, seed);
	assert_int_equal(store_verify(w.s, true, NULL, NULL, &checked), ERR_OK);
	assert_true(checked > 60);
	store_close(w.s);
	tmpdir_remove(w.dir);
}

/* --- model --- */

#define KEYS 40u
#define VALUE_MAX 3000u

struct model {
	bool there[KEYS];
	uint32_t len[KEYS];
	uint8_t salt[KEYS];
};

/* A few changes in one job; failing jobs change the model not at all. */
struct job {
	struct model *m; /* what the store should hold afterwards */
	struct prng p;
	bool fail;
};

static struct slice
value_of(const struct model *m, uint32_t k, uint8_t *room)
{
	struct prng p = { k * 1000u + m->salt[k] };

	prng_fill(&p, room, m->len[k]);
	return slice_of(room, m->len[k]);
}

static enum err
change_one(struct store_txn *t, struct job *j)
{
	uint8_t room[VALUE_MAX], k = (uint8_t)prng_below(&j->p, KEYS);
	struct slice key = slice_of(&k, 1);
	enum err e;

	if (prng_below(&j->p, 4) == 0) {
		e = store_row_del(t, "m", key);
		if (e != (j->m->there[k] ? ERR_OK : ERR_NOTFOUND))
			return ERR_MALFORMED;
		j->m->there[k] = false;
		return ERR_OK;
	}
	j->m->there[k] = true;
	j->m->len[k] = prng_below(&j->p, VALUE_MAX);
	j->m->salt[k]++;
	return store_row_put(t, "m", key, value_of(j->m, k, room));
}

static enum err
change_job(struct store_txn *t, void *ctx)
{
	struct job *j = ctx;
	uint32_t n = 1 + prng_below(&j->p, 5);
	enum err e = ERR_OK;

	while (n-- > 0 && e == ERR_OK)
		e = change_one(t, j);
	return e == ERR_OK && j->fail ? ERR_CANCELLED : e;
}

static void
model_compare(struct world *w, const struct model *m)
{
	uint8_t room[VALUE_MAX], k;
	struct db_txn *t;

	assert_int_equal(store_read(w->s, &t), ERR_OK);
	for (k = 0; k < KEYS; k++) {
		struct buf b = BUF_MAX(VALUE_MAX);
		enum err e = store_row_get(w->s, t, "m", slice_of(&k, 1), &b);

		assert_int_equal(e, m->there[k] ? ERR_OK : ERR_NOTFOUND);
		if (m->there[k])
			assert_true(
			    slice_eq(buf_slice(&b), value_of(m, k, room)));
		buf_fini(&b);
	}
	db_abort(t);
}

static void
model_run(uint64_t seed)
{
	struct world w = { .o = { .segment_bytes = 32 * KIB } };
	struct prng p = { seed };
	struct model m = { .there = { false } };
	struct store_stats st;
	int i;

	tmpdir_make(w.dir);
	world_open(&w);
	for (i = 0; i < 60; i++) {
		struct model next = m;
		struct job j = { &next, { prng_next(&p) },
			prng_below(&p, 4) == 0 };
		enum err e = store_write(w.s, change_job, &j);

		assert_int_equal(e, j.fail ? ERR_CANCELLED : ERR_OK);
		if (e == ERR_OK)
			m = next;
		if (prng_below(&p, 15) == 0) {
			store_close(w.s);
			world_open(&w);
		}
		if (i % 10 == 0)
			model_compare(&w, &m);
	}
	model_compare(&w, &m);
	assert_int_equal(store_verify(w.s, true, NULL, NULL, NULL), ERR_OK);
	assert_int_equal(store_stats(w.s, &st), ERR_OK);
	assert_true(st.segment_bytes > 64 * KIB); /* segments were changed */
	store_close(w.s);
	tmpdir_remove(w.dir);
}

static void
test_store_holds_what_the_model_says(void **state)
{
	uint64_t seed;

	(void)state;
	for (seed = 1; seed <= 3; seed++)
		model_run(seed);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_files_with_random_plans_join),
		cmocka_unit_test(test_store_holds_what_the_model_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
