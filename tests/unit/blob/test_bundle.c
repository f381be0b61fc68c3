/* Claims: small files of one batch share a chunk and join bit for bit; the
 * same files again make no chunk; bytes that two files have in common are
 * stored once; whole-file hashes are right; files added apart have no bundle;
 * what a batch holds in memory is bounded. */
#include "content_world.h"

#define FILES 150u

/* Bytes as a DICOM header has them, 3 to 12 KiB; no differs from no. */
static struct slice
header_make(uint32_t no, uint8_t *room)
{
	size_t n = 3000 + no * 7919 % 9000, at = 0;
	uint32_t i;

	for (i = 0; at + 40 < n; i++)
		at += (size_t)snprintf((char *)room + at, 40,
		    "\b%c%cLO element %u is %u ", 'a' + (char)(i % 26),
		    'a' + (char)(i % 7), i, i % 9 == 0 ? no : i);
	memset(room + at, ' ', n - at);
	return slice_of(room, n);
}

struct many {
	struct blob_file f[FILES];
	uint8_t *bytes[FILES];
};

static struct many *
many_new(uint32_t first)
{
	struct many *m = calloc(1, sizeof(*m));
	uint32_t i;

	for (i = 0; i < FILES; i++) {
		m->bytes[i] = malloc(12040);
		m->f[i].bytes = header_make(first + i, m->bytes[i]);
	}
	return m;
}

static void
many_free(struct many *m)
{
	uint32_t i;

	for (i = 0; i < FILES; i++)
		free(m->bytes[i]);
	free(m);
}

static void
expect_file(struct world *w, struct blob_batch *b, const struct blob_file *f)
{
	struct buf man = BUF_MAX(2 * MIB);
	struct cry_id hash;

	cry_hash(f->bytes, &hash);
	assert_memory_equal(f->hash.b, hash.b, 32);
	assert_int_equal(blob_batch_manifest(b, f->no, &man), ERR_OK);
	expect_join(w, buf_slice(&man), f->bytes);
	buf_fini(&man);
}

/* Adds all, seals, puts and reads again; ciphertext bytes added. */
static uint64_t
store_all(struct world *w, struct blob_file *f, uint32_t n)
{
	struct blob_batch *b = blob_batch_new(w->s);
	uint64_t added;
	uint32_t i;

	assert_int_equal(blob_batch_add_many(b, f, n), ERR_OK);
	assert_int_equal(blob_batch_seal(b), ERR_OK);
	added = blob_batch_new_bytes(b);
	assert_int_equal(store_write(w->s, put_job, b), ERR_OK);
	for (i = 0; i < n; i++)
		expect_file(w, b, &f[i]);
	blob_batch_free(b);
	return added;
}

static uint64_t
chunks(struct world *w)
{
	struct store_stats st;

	assert_int_equal(store_stats(w->s, &st), ERR_OK);
	return st.chunks;
}

static void
test_small_files_share_a_chunk_and_join(void **state)
{
	struct world *w = *state;
	struct many *m = many_new(0);
	uint64_t added, bytes = 0;
	uint32_t i;

	for (i = 0; i < FILES; i++)
		bytes += m->f[i].bytes.n;
	assert_true(bytes > 1 * MIB && bytes <= 2 * MIB); /* one bundle */
	added = store_all(w, m->f, FILES);
	assert_int_equal(chunks(w), 1);
	assert_true(added * 20 < bytes);
	many_free(m);
}

static void
test_the_same_small_files_make_no_new_chunk(void **state)
{
	struct world *w = *state;
	struct many *m = many_new(0), *half = many_new(FILES / 2);
	uint64_t had;

	store_all(w, m->f, FILES);
	had = chunks(w);
	assert_int_equal(store_all(w, m->f, FILES), 0);
	assert_int_equal(chunks(w), had);
	/* in one call, in another, half of them new */
	assert_true(store_all(w, half->f, FILES) > 0);
	assert_int_equal(chunks(w), had + 1);
	many_free(m);
	many_free(half);
}

static void
test_files_added_in_several_calls_share_a_bundle_too(void **state)
{
	struct world *w = *state;
	struct many *m = many_new(0);
	struct blob_batch *b = blob_batch_new(w->s);
	uint32_t i;

	for (i = 0; i < 20; i++)
		assert_int_equal(blob_batch_add_many(b, &m->f[i], 1), ERR_OK);
	assert_true(blob_batch_held(b) > 0);
	assert_int_equal(blob_batch_seal(b), ERR_OK);
	/* sealed twice, and another file later */
	assert_int_equal(blob_batch_seal(b), ERR_OK);
	assert_int_equal(blob_batch_add_many(b, &m->f[20], 1), ERR_OK);
	assert_int_equal(blob_batch_seal(b), ERR_OK);
	assert_int_equal(store_write(w->s, put_job, b), ERR_OK);
	assert_int_equal(chunks(w), 2);
	for (i = 0; i <= 20; i++)
		expect_file(w, b, &m->f[i]);
	blob_batch_free(b);
	many_free(m);
}

/* An original and its de-identified copy: other header, same pixels. */
static void
test_pixels_of_a_copy_are_stored_once(void **state)
{
	struct world *w = *state;
	size_t px = 256 * 256 * 2;
	uint8_t *a = malloc(px + 2000), *c = malloc(px + 2000);
	struct blob_piece pa[2] = { { 0, 1000, 0, 0 }, { 1000, px, 16, 256 } };
	struct blob_piece pc[2] = { { 0, 1700, 0, 0 }, { 1700, px, 16, 256 } };
	struct blob_file f[2] = {
		{ .bytes = slice_of(a, 1000 + px), .plan = pa, .n_plan = 2 },
		{ .bytes = slice_of(c, 1700 + px), .plan = pc, .n_plan = 2 },
	};

	prng_fill(&w->p, a, 1000);
	prng_fill(&w->p, c, 1700);
	prng_image(&w->p, a + 1000, px, 256, 0);
	memcpy(c + 1700, a + 1000, px);
	store_all(w, f, 2);
	assert_int_equal(chunks(w), 2); /* the pixels, the bundle */
	/* a last byte that differs is seen although the rest is equal */
	c[1700 + px - 1] ^= 1;
	f[0].has_hash = true; /* given: not computed again */
	store_all(w, f, 2);
	assert_int_equal(chunks(w), 3);
	free(a);
	free(c);
}

static void
test_empty_and_odd_files_among_others(void **state)
{
	struct world *w = *state;
	static uint8_t data[200000];
	struct blob_file f[6] = {
		{ .bytes = slice_of(data, 0) },
		{ .bytes = slice_of(data, 1) },
		{ .bytes = slice_of(data, 65535) },
		{ .bytes = slice_of(data, 65536) },
		{ .bytes = slice_of(data, 200000) },
		{ .bytes = slice_of(data, 1) },
	};

	prng_fill(&w->p, data, sizeof(data));
	store_all(w, f, 6);
	assert_int_equal(store_all(w, f, 6), 0);
	assert_int_equal(store_all(w, f, 0), 0);
}

static enum err
no_parts(void *ctx, const struct blob_entry *e, uint8_t depth)
{
	(void)ctx;
	(void)depth;
	return blob_entry_is_part(e) ? ERR_DENIED : ERR_OK;
}

static enum err
entries_of(struct blob_batch *b, uint32_t no)
{
	struct blob_reader *r = blob_reader_over(b);
	struct buf man = BUF_MAX(2 * MIB);
	struct blob_manifest m;
	enum err e;

	assert_int_equal(blob_batch_manifest(b, no, &man), ERR_OK);
	assert_int_equal(blob_manifest_decode(buf_slice(&man), &m), ERR_OK);
	e = blob_reader_each(r, NULL, &m, no_parts, NULL);
	blob_manifest_fini(&m);
	buf_fini(&man);
	blob_reader_free(r);
	return e;
}

/* Even where the store knows the bytes as part of a bundle. */
static void
test_files_added_apart_are_never_in_a_bundle(void **state)
{
	struct world *w = *state;
	struct many *m = many_new(0);
	struct blob_batch *b = blob_batch_new(w->s);
	struct blob_piece alone = { .apart = true };

	store_all(w, m->f, FILES);
	m->f[3].apart = true;
	m->f[5].plan = &alone;
	m->f[5].n_plan = 1;
	alone.len = m->f[5].bytes.n;
	assert_int_equal(blob_batch_add_many(b, m->f, 10), ERR_OK);
	assert_int_equal(blob_batch_seal(b), ERR_OK);
	assert_int_equal(entries_of(b, m->f[3].no), ERR_OK);
	assert_int_equal(entries_of(b, m->f[4].no), ERR_DENIED);
	assert_int_equal(entries_of(b, m->f[5].no), ERR_OK);
	assert_int_equal(store_write(w->s, put_job, b), ERR_OK);
	expect_file(w, b, &m->f[3]);
	blob_batch_free(b);
	many_free(m);
}

static void
test_bad_plan_among_good_files_adds_none(void **state)
{
	struct world *w = *state;
	static const struct blob_piece bad[1] = { { 0, 5, 0, 0 } };
	struct many *m = many_new(0);
	struct blob_batch *b = blob_batch_new(w->s);

	m->f[7].plan = bad;
	m->f[7].n_plan = 1;
	assert_int_equal(blob_batch_add_many(b, m->f, 10), ERR_MALFORMED);
	m->f[7].n_plan = 0;
	assert_int_equal(blob_batch_add_many(b, m->f, 10), ERR_OK);
	assert_int_equal(m->f[0].no, 0);
	assert_int_equal(blob_batch_seal(b), ERR_OK);
	assert_int_equal(store_write(w->s, put_job, b), ERR_OK);
	expect_file(w, b, &m->f[7]);
	blob_batch_free(b);
	many_free(m);
}

/* 40 MiB that do not compress, headers between them. */
static void
test_large_batch_holds_little_and_joins(void **state)
{
	struct world *w = *state;
	struct blob_batch *b = blob_batch_new(w->s);
	size_t n = 5 * MIB;
	uint8_t *data = malloc(8 * n);
	struct blob_file f[16];
	uint32_t i;

	prng_fill(&w->p, data, 8 * n);
	for (i = 0; i < 16; i++) {
		f[i] = (struct blob_file){ .bytes = slice_of(data + i / 2 * n,
					       i % 2 == 0 ? 5000 : n) };
		assert_int_equal(blob_batch_add_many(b, &f[i], 1), ERR_OK);
		assert_true(blob_batch_held(b) <= BLOB_HELD_MAX + 2 * MIB);
	}
	assert_true(blob_batch_new_bytes(b) > 40 * MIB);
	assert_int_equal(blob_batch_seal(b), ERR_OK);
	assert_int_equal(store_write(w->s, put_job, b), ERR_OK);
	for (i = 0; i < 16; i++)
		expect_file(w, b, &f[i]);
	blob_batch_free(b);
	free(data);
}

static void
test_reader_over_a_batch_sees_what_is_not_put(void **state)
{
	struct world *w = *state;
	struct many *m = many_new(0);
	struct blob_batch *b = blob_batch_new(w->s);
	struct blob_reader *r = blob_reader_over(b), *s = blob_reader_new(w->s);
	struct buf man = BUF_MAX(MIB), out = BUF_MAX(MIB);
	struct blob_manifest one;

	assert_int_equal(blob_batch_add_many(b, m->f, 3), ERR_OK);
	assert_int_equal(blob_batch_seal(b), ERR_OK);
	assert_int_equal(blob_batch_manifest(b, 1, &man), ERR_OK);
	assert_int_equal(blob_manifest_decode(buf_slice(&man), &one), ERR_OK);
	assert_int_equal(
	    blob_reader_read(s, NULL, &one.e[0], &out), ERR_NOTFOUND);
	assert_int_equal(blob_reader_read(r, NULL, &one.e[0], &out), ERR_OK);
	assert_true(slice_eq(buf_slice(&out), m->f[1].bytes));
	/* kept now; an entry that lies about a kept bundle is refused too */
	one.e[0].off++;
	assert_int_equal(blob_reader_read(r, NULL, &one.e[0], &out), ERR_AUTH);
	one.e[0].off = one.e[0].p_len;
	assert_int_equal(blob_reader_read(r, NULL, &one.e[0], &out), ERR_AUTH);
	blob_manifest_fini(&one);
	blob_reader_free(r);
	blob_reader_free(s);
	blob_batch_free(b);
	buf_fini(&man);
	buf_fini(&out);
	many_free(m);
}

static void
test_adding_many_answers_when_memory_runs_out(void **state)
{
	struct world *w = *state;
	static uint8_t data[100000];
	struct blob_piece plan[3] = { { 0, 3000, 0, 0 },
		{ 3000, 70000, 16, 100 }, { 73000, 27000, 0, 0 } };
	enum err e = ERR_NOMEM;
	long n;

	prng_image(&w->p, data, sizeof(data), 100, 0);
	for (n = 0; n < 400 && e != ERR_OK; n++) {
		struct blob_file f[2] = {
			{ .bytes = slice_of(data, 100000),
			    .plan = plan,
			    .n_plan = 3 },
			{ .bytes = slice_of(data, 40) },
		};
		struct buf man = BUF_MAX(MIB);
		struct blob_batch *b;

		mem_fail_at(n);
		b = blob_batch_new(w->s);
		e = b == NULL ? ERR_NOMEM : blob_batch_add_many(b, f, 2);
		if (e == ERR_OK)
			e = blob_batch_seal(b);
		if (e == ERR_OK)
			e = blob_batch_manifest(b, f[1].no, &man);
		mem_fail_at(-1);
		assert_true(e == ERR_OK || e == ERR_NOMEM);
		blob_batch_free(b);
		buf_fini(&man);
	}
	assert_int_equal(e, ERR_OK);
	assert_true(n > 10);
}

/* The batch can be used on after a failure. */
static void
test_batch_that_failed_once_is_whole_later(void **state)
{
	struct world *w = *state;
	long n;

	for (n = 0; n < 60; n++) {
		struct many *m = many_new(1000 + (uint32_t)n * 10);
		struct blob_batch *b = blob_batch_new(w->s);
		uint32_t i;
		enum err e;

		mem_fail_at(n);
		e = blob_batch_add_many(b, m->f, 5);
		if (e == ERR_OK)
			e = blob_batch_seal(b);
		mem_fail_at(-1);
		if (e != ERR_OK)
			assert_int_equal(
			    blob_batch_add_many(b, m->f, 5), ERR_OK);
		assert_int_equal(blob_batch_seal(b), ERR_OK);
		assert_int_equal(store_write(w->s, put_job, b), ERR_OK);
		for (i = 0; i < 5; i++)
			expect_file(w, b, &m->f[i]);
		blob_batch_free(b);
		many_free(m);
	}
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_small_files_share_a_chunk_and_join),
		T(test_the_same_small_files_make_no_new_chunk),
		T(test_files_added_in_several_calls_share_a_bundle_too),
		T(test_pixels_of_a_copy_are_stored_once),
		T(test_empty_and_odd_files_among_others),
		T(test_files_added_apart_are_never_in_a_bundle),
		T(test_bad_plan_among_good_files_adds_none),
		T(test_large_batch_holds_little_and_joins),
		T(test_reader_over_a_batch_sees_what_is_not_put),
		T(test_adding_many_answers_when_memory_runs_out),
		T(test_batch_that_failed_once_is_whole_later),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
