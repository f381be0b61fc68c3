/* Claims: manifests are bounded and each field is checked; above the limit of
 * entries they are lists of manifests, which join the same and whose lies are
 * refused. */
#include "content_world.h"

static void
test_manifest_limits_and_lies(void **state)
{
	struct world *w = *state;
	static uint8_t data[20000];
	struct blob_entry e = one_entry(w, data, sizeof(data));
	struct blob_entry *many =
	    calloc(LIM_MANIFEST_ENTRIES + 1, sizeof(*many));
	struct blob_manifest m = { .e = many, .n = LIM_MANIFEST_ENTRIES }, back;
	struct buf b = BUF_MAX(4 * MIB);
	size_t i;

	for (i = 0; i <= LIM_MANIFEST_ENTRIES; i++)
		many[i] = e;
	m.raw_len = (uint64_t)LIM_MANIFEST_ENTRIES * e.raw_len;
	assert_int_equal(blob_manifest_encode(&m, &b), ERR_OK);
	assert_int_equal(blob_manifest_decode(buf_slice(&b), &back), ERR_OK);
	assert_int_equal(back.n, m.n);
	assert_memory_equal(back.e[m.n - 1].ck.b, e.ck.b, 32);
	blob_manifest_fini(&back);
	b.p[8] ^= 1; /* the total no longer fits */
	assert_int_equal(
	    blob_manifest_decode(buf_slice(&b), &back), ERR_MALFORMED);
	b.p[8] ^= 1;
	assert_int_equal(
	    blob_manifest_decode(slice_of(b.p, b.n - 1), &back), ERR_SHORT);
	buf_u8(&b, 0);
	assert_int_equal(
	    blob_manifest_decode(buf_slice(&b), &back), ERR_TRAILING);
	buf_reset(&b);
	m.n++;
	m.raw_len += e.raw_len;
	assert_int_equal(blob_manifest_encode(&m, &b), ERR_LIMIT);
	buf_fini(&b);
	free(many);
}

/* Each field of an entry and of the header, wrong by a little. */
static void
test_manifest_with_one_wrong_field_is_refused(void **state)
{
	static const struct {
		size_t at;
		uint8_t set;
		enum err want;
	} lies[] = {
		{ 0, 2, ERR_UNSUPPORTED }, /* version */
		{ 1, 1, ERR_MALFORMED },   /* no manifest is 20,000 bytes */
		{ 1, 4, ERR_UNSUPPORTED }, /* depth */
		{ 2, 1, ERR_MALFORMED },   /* zero */
		{ 4, 2, ERR_SHORT },       /* count */
		{ 5, 0x20, ERR_SHORT },    /* 8,193 .. */
		{ 5, 0x21, ERR_LIMIT },
		{ 16 + 99, 1, ERR_MALFORMED },  /* z_len */
		{ 16 + 103, 1, ERR_LIMIT },     /* p_len */
		{ 16 + 104, 1, ERR_MALFORMED }, /* c_len */
		{ 16 + 108, 1, ERR_MALFORMED }, /* off */
		{ 16 + 111, 0x80, ERR_MALFORMED },
		{ 16 + 113, 0, ERR_MALFORMED }, /* raw_len: not the sum */
		{ 16 + 115, 0x80, ERR_MALFORMED },
		{ 16 + 116, 7, ERR_UNSUPPORTED }, /* codec */
		{ 16 + 116, 4, ERR_UNSUPPORTED },
		{ 16 + 116, 0, ERR_MALFORMED }, /* but z is short */
		{ 16 + 117, 1, ERR_MALFORMED }, /* zero */
		{ 16 + 118, 1, ERR_MALFORMED },
	};
	struct world *w = *state;
	static uint8_t data[20000];
	struct blob_entry e = one_entry(w, data, sizeof(data));
	struct blob_manifest m = { .e = &e, .n = 1, .raw_len = e.raw_len },
			     back;
	struct buf b = BUF_MAX(MIB);
	size_t i;

	assert_int_equal(blob_manifest_encode(&m, &b), ERR_OK);
	for (i = 0; i < sizeof(lies) / sizeof(*lies); i++) {
		uint8_t was = b.p[lies[i].at];

		if (lies[i].at == 5 && lies[i].set == 0x20)
			b.p[4] = 0; /* 8,192: within the limit */
		b.p[lies[i].at] = lies[i].set;
		if (blob_manifest_decode(buf_slice(&b), &back) != lies[i].want)
			fail_msg("lie %zu", i);
		b.p[lies[i].at] = was;
		b.p[4] = 1;
	}
	m.raw_len++;
	buf_reset(&b);
	assert_int_equal(blob_manifest_encode(&m, &b), ERR_MALFORMED);
	m.raw_len--;
	e.codec = 9;
	buf_reset(&b);
	assert_int_equal(blob_manifest_encode(&m, &b), ERR_UNSUPPORTED);
	buf_fini(&b);
}

/* data of n pieces of 3 bytes, the last of which is len. */
static struct blob_piece *
tiny_plan(uint32_t n, size_t len)
{
	struct blob_piece *plan = calloc(n, sizeof(*plan));
	uint32_t i;

	for (i = 0; i < n; i++)
		plan[i] = (struct blob_piece){ 3u * i, 3, 0, 0 };
	plan[n - 1].len = len;
	return plan;
}

static enum err
count_entry(void *ctx, const struct blob_entry *e, uint8_t depth)
{
	uint32_t *n = ctx;

	(void)e;
	n[depth]++;
	return ERR_OK;
}

/* At the limit the manifest is flat, one piece more makes it a list of two;
 * so does a piece that has to be cut. */
static void
test_manifest_above_its_limit_is_a_list_of_manifests(void **state)
{
	struct world *w = *state;
	static const struct {
		uint32_t n;
		size_t last;
		uint32_t depth, inner;
	} cases[] = {
		{ LIM_MANIFEST_ENTRIES, 3, 0, 0 },
		{ LIM_MANIFEST_ENTRIES + 1, 3, 1, 2 },
		{ LIM_MANIFEST_ENTRIES, LIM_PIECE_BYTES + 1, 1, 2 },
		{ 2 * LIM_MANIFEST_ENTRIES + 7, 3, 1, 3 },
	};
	size_t k;

	for (k = 0; k < sizeof(cases) / sizeof(*cases); k++) {
		uint32_t n = cases[k].n, seen[LIM_MANIFEST_DEPTH + 1] = { 0 };
		struct blob_piece *plan = tiny_plan(n, cases[k].last);
		size_t size = 3 * (size_t)(n - 1) + cases[k].last;
		struct blob_reader *r = blob_reader_new(w->s);
		uint8_t *data = malloc(size);
		struct buf man = BUF_MAX(2 * MIB);
		struct blob_manifest m;

		prng_fill(&w->p, data, size);
		put_file(
		    w, slice_of(data, size), (struct put){ plan, n }, &man);
		expect_join(w, buf_slice(&man), slice_of(data, size));
		assert_int_equal(
		    blob_manifest_decode(buf_slice(&man), &m), ERR_OK);
		assert_int_equal(m.depth, cases[k].depth);
		assert_int_equal(
		    blob_reader_each(r, NULL, &m, count_entry, seen), ERR_OK);
		assert_true(seen[0] >= n);
		assert_int_equal(seen[1], cases[k].inner);
		blob_manifest_fini(&m);
		blob_reader_free(r);
		buf_fini(&man);
		free(plan);
		free(data);
	}
}

/* One piece whose bytes are given, stored. */
static struct blob_entry
piece_entry(struct world *w, struct slice bytes)
{
	struct blob_piece p = { 0, bytes.n, 0, 0 };
	struct buf man = BUF_MAX(MIB);
	struct blob_manifest m;
	struct blob_entry e;

	put_file(w, bytes, (struct put){ &p, 1 }, &man);
	assert_int_equal(blob_manifest_decode(buf_slice(&man), &m), ERR_OK);
	e = m.e[0];
	blob_manifest_fini(&m);
	buf_fini(&man);
	return e;
}

/* A manifest of depth over one entry, as a piece. */
static struct blob_entry
wrap(struct world *w, struct blob_entry e, uint8_t depth, uint64_t raw_len)
{
	struct blob_manifest m = {
		.e = &e, .n = 1, .depth = depth, .raw_len = raw_len
	};
	struct buf b = BUF_MAX(MIB);

	assert_int_equal(blob_manifest_encode(&m, &b), ERR_OK);
	e = piece_entry(w, buf_slice(&b));
	buf_fini(&b);
	return e;
}

static enum err
try_join(struct world *w, struct blob_entry e, uint8_t depth, uint64_t raw_len)
{
	struct blob_manifest m = {
		.e = &e, .n = 1, .depth = depth, .raw_len = raw_len
	};
	struct buf out = BUF_MAX(MIB);
	enum err err = blob_join(w->s, &m, &out);

	if (err != ERR_OK)
		assert_int_equal(out.n, 0);
	buf_fini(&out);
	return err;
}

static void
test_deep_manifests_join_and_their_lies_are_refused(void **state)
{
	struct world *w = *state;
	static uint8_t data[5000];
	struct blob_entry one, two, three, empty;
	struct buf b = BUF_MAX(MIB);

	prng_fill(&w->p, data, sizeof(data));
	one = wrap(w, piece_entry(w, slice_of(data, 5000)), 0, 5000);
	two = wrap(w, one, 1, 5000);
	three = wrap(w, two, 2, 5000);
	assert_int_equal(try_join(w, one, 1, 5000), ERR_OK);
	assert_int_equal(try_join(w, two, 2, 5000), ERR_OK);
	assert_int_equal(try_join(w, three, 3, 5000), ERR_OK);
	/* lengths that do not agree, at the top and inside */
	assert_int_equal(try_join(w, one, 1, 4999), ERR_AUTH);
	assert_int_equal(try_join(w, one, 1, 5001), ERR_AUTH);
	assert_int_equal(try_join(w, wrap(w, one, 1, 4000), 2, 4000), ERR_AUTH);
	/* one level too few or too many */
	assert_int_equal(try_join(w, three, 2, 5000), ERR_AUTH);
	assert_int_equal(try_join(w, one, 2, 5000), ERR_AUTH);
	assert_int_equal(
	    try_join(w, piece_entry(w, slice_of(data, 136)), 1, 5), ERR_AUTH);
	/* an inner manifest without entries would be work for nothing */
	blob_manifest_put(&b, 0, 0, 0);
	empty = piece_entry(w, buf_slice(&b));
	assert_int_equal(try_join(w, empty, 1, 0), ERR_AUTH);
	buf_fini(&b);
}

static enum err
count_to_the_end(void *ctx, const struct blob_entry *e, uint8_t depth)
{
	uint32_t *n = ctx;

	(void)e;
	*n += depth == 0;
	return *n > LIM_FILE_PIECES ? ERR_LIMIT : ERR_OK;
}

/* Two chunks that tell of 2^26 pieces, three would of 2^39: who walks them
 * stops where no file goes on. */
static void
test_few_chunks_that_tell_of_endless_pieces_are_refused(void **state)
{
	struct world *w = *state;
	static uint8_t data[2];
	struct blob_entry one = one_entry(w, data, sizeof(data));
	struct blob_entry *e = calloc(LIM_MANIFEST_ENTRIES, sizeof(*e));
	struct blob_manifest m = { e, LIM_MANIFEST_ENTRIES, 0, 0 }, outer;
	struct buf inner = BUF_MAX(4 * MIB), man = BUF_MAX(MIB);
	struct blob_reader *r = blob_reader_new(w->s);
	struct blob_piece whole = { 0 };
	uint32_t i, n = 0;

	for (i = 0; i < m.n; i++)
		e[i] = one;
	m.raw_len = (uint64_t)m.n * sizeof(data);
	assert_int_equal(blob_manifest_encode(&m, &inner), ERR_OK);
	whole.len = inner.n;
	put_file(w, buf_slice(&inner), (struct put){ &whole, 1 }, &man);
	assert_int_equal(blob_manifest_decode(buf_slice(&man), &outer), ERR_OK);
	assert_int_equal(outer.n, 1);
	for (i = 0; i < m.n; i++)
		e[i] = outer.e[0];
	m.depth = 1;
	m.raw_len *= m.n;
	assert_int_equal(
	    blob_reader_each(r, NULL, &m, count_to_the_end, &n), ERR_AUTH);
	assert_int_equal(n, LIM_FILE_PIECES);
	blob_reader_free(r);
	blob_manifest_fini(&outer);
	buf_fini(&inner);
	buf_fini(&man);
	free(e);
}

static void
test_file_of_too_many_pieces_or_bytes_is_refused(void **state)
{
	static const uint8_t data[3];
	static const struct blob_piece plan[1] = { { 0, 3, 0, 0 } };
	struct world *w = *state;
	struct blob_batch *b = blob_batch_new(w->s);
	struct buf man = BUF_MAX(MIB);

	assert_int_equal(blob_batch_add(b, slice_of(data, 3), plan,
			     LIM_FILE_PIECES + 1, &man),
	    ERR_LIMIT);
	assert_int_equal(blob_batch_add(b, slice_of(data, LIM_FILE_BYTES + 1),
			     plan, 1, &man),
	    ERR_LIMIT);
	assert_int_equal(man.n, 0);
	buf_fini(&man);
	blob_batch_free(b);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_manifest_limits_and_lies),
		T(test_manifest_with_one_wrong_field_is_refused),
		T(test_manifest_above_its_limit_is_a_list_of_manifests),
		T(test_deep_manifests_join_and_their_lies_are_refused),
		T(test_few_chunks_that_tell_of_endless_pieces_are_refused),
		T(test_file_of_too_many_pieces_or_bytes_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
